"""What it costs to keep the workers' parameters in fewer bits.

Claim     Cells in bfloat16 take half the memory, and what they change in the final loss of a network is less than what
          another seed changes; the server's own parameters stay in float32.
Command   python experiments/cells.py
Cost      about 4 minutes on 2 CPU cores; --quick about 30 seconds.
Expected  difference of the final loss, bfloat16 to float32, on the same seed: below the standard deviation over seeds,
          for 16 and 64 workers.

An MLP 784-128-10 on MNIST, batch 32, asynchronous SGD; every seed draws start, batches and durations anew, the same for
all dtypes.
"""

from __future__ import annotations

import csv
import dataclasses
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from bench_torch import images

import jaxasgd as ja
from jaxasgd.results import interval

KINDS = {"float32": None, "bfloat16": jnp.bfloat16, "float16": jnp.float16}


@dataclasses.dataclass
class Options:
    """Cells in float32, bfloat16 and float16."""

    out: Path = Path("results/cells")
    """Folder for cells.csv and README.md."""
    seeds: int = 5
    """How many."""
    updates: int = 3000
    """Of each run."""
    quick: bool = False
    """Few seeds and updates, for tests."""


def measured(options) -> list[dict]:
    X, y, name = images()
    problem = ja.problems.mlp(X, y, batch_size=32)
    rule, rows = optax.sgd(0.05), []
    for n in (16, 64):
        times = ja.times.exponential(1.0, num_workers=n)
        for seed in range(options.seeds):
            schedule = ja.simulate(ja.policies.asgd(), times, num_updates=options.updates, seed=seed)
            plan = ja.plan(schedule, evaluate=options.updates)
            ends = {}
            for kind, dtype in KINDS.items():
                run = lambda dtype=dtype: ja.run(
                    problem, plan, rule, key=jax.random.key(seed), cell_dtype=dtype, progress=False
                )
                history = run() if seed == 0 else None  # compiles
                began = time.perf_counter()
                history = jax.block_until_ready(run())
                took = (time.perf_counter() - began) / options.updates
                ends[kind] = history.params
                size = sum(leaf.size for leaf in jax.tree.leaves(history.params))
                rows.append(
                    {
                        "problem": f"MLP on {name}",
                        "workers": n,
                        "seed": seed,
                        "cells": kind,
                        "loss": float(history.loss[-1]),
                        "distance": distance(ends[kind], ends["float32"]),
                        "megabytes": plan.num_cells * size * (4 if dtype is None else 2) / 1e6,
                        "microseconds": took * 1e6,
                    }
                )
                print("  ".join(f"{k} {v:.5g}" if isinstance(v, float) else f"{k} {v}" for k, v in rows[-1].items()))
    return rows


def distance(a, b) -> float:
    """Relative, between parameters."""
    flat = lambda tree: np.concatenate([np.ravel(np.asarray(leaf, np.float64)) for leaf in jax.tree.leaves(tree)])
    return float(np.linalg.norm(flat(a) - flat(b)) / np.linalg.norm(flat(b)))


def page(rows) -> str:
    lines = ["# Cells in fewer bits", "", f"{rows[0]['problem']}, asynchronous SGD; means over seeds.", ""]
    lines += [
        "| workers | cells | MB | final loss | its deviation over seeds | difference to float32, same seed (95 %) | "
    ]
    lines[-1] += "distance of the parameters | us per update |"
    lines.append("|---|---|---|---|---|---|---|---|")
    for n in dict.fromkeys(row["workers"] for row in rows):
        column = lambda kind, name, n=n: np.array([r[name] for r in rows if r["workers"] == n and r["cells"] == kind])
        exact = column("float32", "loss")
        for kind in KINDS:
            mean, low, high = interval(column(kind, "loss") - exact)
            far = f"{mean:+.2g} ({low:+.2g} to {high:+.2g})" if kind != "float32" else ""
            loss = column(kind, "loss")
            microseconds = f"{np.median(column(kind, 'microseconds')):.3g}"
            told = [str(n), kind, f"{column(kind, 'megabytes').mean():.3g}", f"{loss.mean():.4f}"]
            told += [f"{loss.std(ddof=1):.2g}", far, f"{column(kind, 'distance').mean():.2g}"]
            lines.append(f"| {' | '.join([*told, microseconds])} |")
    lines += ["", "Made by `experiments/cells.py`; numbers: `cells.csv`."]
    return "\n".join(lines) + "\n"


def main(options: Options):
    if options.quick:
        options = dataclasses.replace(options, seeds=2, updates=200)
    ja.results.prepare(options.out, overwrite=True)
    rows = measured(options)
    with open(options.out / "cells.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    (options.out / "README.md").write_text(page(rows))
    print(f"\n{options.out / 'README.md'}")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
