"""On a GPU or TPU: waves of a thousand workers, thousands of runs at once, and a network of GPT-2's size.

Claim     There asynchrony is parallelism: the gradients of a wave side by side take a tenth, or less, of the
          time that they take one by one.
Command   python experiments/bench_accelerator.py
Cost      about 10 minutes on one GPU; --quick about a minute, on a CPU too (for tests: nothing to learn from there).
Expected  width 1 / best width: 10 or more with 1 000 workers; runs a second that grow with the number of runs at once.
          --profile FOLDER leaves a trace of one wave loop for XProf or Perfetto.

Beside what the device reaches by itself, measured in the same run: bytes a second of a copy, operations a second of a
matrix product in float32 as JAX does it by default, and in full precision.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import bench
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from bench_scan import least_squares, mlp

import jaxasgd as ja
from jaxasgd import program

KEY = jax.random.key(0)


@dataclasses.dataclass
class Options:
    """Waves, many runs, and a large network on an accelerator."""

    out: Path = Path("results/bench")
    """Folder for accelerator.json and accelerator.md."""
    rounds: int = 5
    """Repetitions behind each median."""
    profile: str = ""
    """Folder for a trace of one run with waves."""
    quick: bool = False
    """Small sizes, for tests."""


def median_seconds(function, rounds) -> float:
    bench.seconds(function)  # compiles
    return float(np.median([bench.seconds(function)[0] for _ in range(rounds)]))


def ceilings(options) -> dict:
    """What the device reaches: bytes a second of a copy, operations a second of a matrix product."""
    numbers, side = (1 << 20, 256) if options.quick else (1 << 28, 8192)
    x, a = jnp.zeros(numbers, jnp.float32), jnp.ones((side, side), jnp.float32)
    copy = jax.jit(lambda x: x + 1)
    found = {"copy_bytes_per_second": 8 * numbers / median_seconds(lambda: copy(x), options.rounds)}
    for precision in ("default", "highest"):
        product = jax.jit(lambda a, precision=precision: jnp.matmul(a, a, precision=precision))
        found[f"matmul_{precision}_flops"] = 2 * side**3 / median_seconds(lambda f=product: f(a), options.rounds)
    return found


def planned(num_workers, updates, width):
    times = ja.times.exponential(1.0, num_workers=num_workers)
    schedule = ja.simulate(ja.policies.asgd(), times, num_updates=updates)
    return ja.plan(schedule, evaluate=updates, width=width)


def waves(options):
    """Seconds per update with 1 000 workers, over wave widths."""
    workers, updates, widths = (40, 200, [1, 8]) if options.quick else (1000, 20_000, [1, 4, 16, 64, 256, 1024])
    small = least_squares(100 if options.quick else 1000, 16, 4096)
    for name, problem in (("least squares, batch 16", small), mlp(32)):
        for width in widths:
            plan = planned(workers, updates, width)
            run = lambda plan=plan, problem=problem: (
                ja.run(problem, plan, optax.sgd(1e-4), key=KEY, progress=False).params
            )
            if options.profile and width == widths[-1]:
                run()
                with jax.profiler.trace(options.profile):
                    jax.block_until_ready(run())
            fill = updates / int(plan.bounds[-1])
            yield {"case": f"{name}, {workers:,} workers", "width": width, "fill": fill, **cost(run, updates, options)}


def many(options):
    """Seconds per update of all runs together, over the number of runs at once."""
    problem, updates = least_squares(100, 1, 10_000), 100 if options.quick else 2000
    plan = planned(16, updates, 1)
    final = jax.jit(jax.vmap(lambda lr: ja.run(problem, plan, optax.sgd(lr), key=KEY).loss[-1]))
    for number in (1, 8) if options.quick else (1, 64, 512, 4096):
        rates = jnp.linspace(1e-5, 1e-3, number)
        run = lambda rates=rates: final(rates)
        yield {"case": "least squares, d = 100, runs at once", "runs": number, **cost(run, updates * number, options)}


def large(options):
    """A transformer with about as many parameters as GPT-2 (124 M), 16 workers, float32."""
    shape = {"width": 768, "depth": 17, "heads": 12, "context": 256, "batch_size": 16}
    if options.quick:
        shape = {"width": 16, "depth": 1, "heads": 2, "context": 16, "batch_size": 2}
    problem = ja.problems.transformer(ja.problems.text(), windows=1, **shape)
    size = sum(leaf.size for leaf in jax.tree.leaves(program.initial_shapes(problem)))
    updates = 4 if options.quick else 64
    for width in (1, 4, 16):
        plan = planned(16, updates, width)
        run = lambda plan=plan: ja.run(problem, plan, optax.sgd(1e-4), key=KEY, progress=False).params
        told = cost(run, updates, options)
        told["flops"] = 6 * size * shape["batch_size"] * shape["context"] / told["seconds_per_update"]
        yield {"case": f"transformer, {size / 1e6:.0f} M parameters, 16 workers", "width": width, **told}


def cost(run, updates, options) -> dict:
    first = bench.seconds(run)[0]
    return {"seconds_per_update": median_seconds(run, options.rounds) / updates, "first_call_seconds": first}


def page(told) -> str:
    machine, top = told["machine"], told["ceilings"]
    lines = [f"# On {machine['device']}", ""]
    if told["quick"]:
        lines += ["**A quick run, for tests: too short to say anything.**", ""]
    lines += [
        f"A copy moves {top['copy_bytes_per_second'] / 1e9:.4g} GB/s; a matrix product makes "
        f"{top['matmul_default_flops'] / 1e12:.4g} TFLOP/s (float32 as JAX does it by default), "
        f"{top['matmul_highest_flops'] / 1e12:.4g} in full precision.",
        "",
        "| case | | us per update | width 1, or 1 run / this | share of the product's TFLOP/s |",
        "|---|---|---|---|---|",
    ]
    first = {}
    for row in told["rows"]:
        base = first.setdefault(row["case"], row["seconds_per_update"])
        what = f"{row['runs']:,} runs" if "runs" in row else f"width {row['width']:,}"
        share = f"{row['flops'] / top['matmul_default_flops']:.0%}" if "flops" in row else ""
        micro, ratio = row["seconds_per_update"] * 1e6, base / row["seconds_per_update"]
        lines.append(f"| {row['case']} | {what} | {micro:.3g} | {ratio:.3g} | {share} |")
    lines += [
        "",
        f"jax {machine['versions']['jax']}, {machine['when']} UTC. Made by `experiments/bench_accelerator.py`.",
    ]
    return "\n".join(lines) + "\n"


def main(options: Options):
    if jax.default_backend() == "cpu" and not options.quick:
        raise SystemExit(
            "this is for a GPU or TPU, and JAX sees a CPU only: see README, GPU and TPU (--quick tries it)."
        )
    ja.results.prepare(options.out, overwrite=True)
    told = {"ceilings": ceilings(options), "rows": [], "quick": options.quick, "machine": bench.machine("default")}
    for part in (waves, many, large):
        for row in part(options):
            print("  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()), flush=True)
            told["rows"].append(row)
            (options.out / "accelerator.json").write_text(json.dumps(told, indent=1) + "\n")
    (options.out / "accelerator.md").write_text(page(told))
    print(f"\n{options.out / 'accelerator.md'}")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
