"""Scale on paper: what an update costs as a function of parameters, workers and wave width, and what that predicts.

Claim     An update of ja.run costs a start, arithmetic for each parameter, and the bytes it moves over the bandwidth at
          the size of what is held: a model with six numbers, fitted on one problem, tells other settings within a
          quarter (median), and what more workers cost a network nearly exactly.
Command   python experiments/bench_model.py
Cost      about 6 minutes on 2 quiet CPU cores; --quick about 20 seconds; --page only writes model.md and model.svg
          anew from model.json.
Expected  median error on settings never fitted about 25 %; on the network with 2 to 1 000 workers a few percent.

Measured: a quadratic whose gradient costs one pass over the parameters, 100 to 10 million of them, 1 to 256 workers,
wave widths 1, 4 and 16, in random order; and, by itself, the bandwidth of moving rows within a table of a given size. A
quarter of the points is never fitted. The prediction for 64 devices puts their data sheets' figures into the formula.
"""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from pathlib import Path

import bench
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from bench_scan import mlp
from scipy.optimize import nnls

import jaxasgd as ja
from jaxasgd import program
from jaxasgd.figures import PALETTE, STYLE, legend, pyplot, tidy
from jaxasgd.tables import put, take

HERE = Path(__file__).parent
KEY = jax.random.key(0)
SIZES = [100, 1000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000]
WORKERS, WIDTHS = [1, 2, 4, 16, 64, 256], [1, 4, 16]
MOST = 1 << 31  # bytes of cells and gradients together
TABLES = [1 << k for k in range(14, 32)]  # bytes
NETWORK = [1, 2, 4, 16, 64, 256, 1000]  # workers of the MLP
ACCELERATOR = {  # figures of a data sheet: NVIDIA H100 SXM5 80 GB, and one 400 Gb/s network port for each
    "name": "NVIDIA H100 SXM5 (data sheet)", "memory_bytes": 80e9, "bandwidth": 3.35e12, "link": 50e9,
    "host_link": 64e9, "flops": 989e12, "utilisation": 0.4, "start": 5e-6,
}  # fmt: skip
PARAMETERS, DEVICES, TOKENS = 1_000_000_000, 64, 8192


@dataclasses.dataclass
class Options:
    """The cost of an update: model, error, prediction."""

    out: Path = Path("results/bench")
    """Folder for model.json, model.svg and model.md."""
    rounds: int = 5
    """Repetitions behind each median."""
    quick: bool = False
    """Few points, for tests."""
    page: bool = False
    """Measure nothing; write model.md and model.svg from model.json."""


# ------------------------------------------------------------------ measuring


def median_seconds(function, rounds) -> float:
    bench.seconds(function)  # compiles
    return float(np.median([bench.seconds(function)[0] for _ in range(rounds)]))


def bandwidth(size, rounds) -> float:
    """Bytes a second, read and written, when rows move about in a table of `size` bytes."""
    row = min(1 << 16, size // 4) // 4  # floats
    rows = size // (4 * row)
    table = jnp.zeros((rows, row), jnp.float32)
    moves = max(int(3e8 // (4 * row)), 10)

    @partial(jax.jit, donate_argnums=0)
    def shuffled(table):
        def move(i, table):
            row = jax.lax.cond(i >= 0, take, lambda table, i: table[0], table, i % rows)
            return put(table, (i * 7 + 3) % rows, row)

        return jax.lax.fori_loop(0, moves, move, table)

    took = []
    for _ in range(rounds + 1):
        spent, _, table = bench.seconds(lambda table=table: shuffled(table))
        took.append(spent)
    return 2 * 4 * row * moves / float(np.median(took[1:]))


def planned(num_workers, updates, width):
    times = ja.times.exponential(1.0, num_workers=num_workers)
    schedule = ja.simulate(ja.policies.asgd(), times, num_updates=updates)
    return ja.plan(schedule, evaluate=updates, width=width)


def point(problem, num_workers, width, seconds, rounds, **told) -> dict:
    """Seconds per update of one setting; as many updates as take about `seconds`, and at least three a worker."""
    parameters = sum(leaf.size for leaf in jax.tree.leaves(program.initial_shapes(problem)))
    updates = int(np.clip(seconds / (3e-7 + parameters * 2e-9), 30, 200_000))
    plan = planned(num_workers, max(updates, 3 * num_workers), width)
    waves = int(plan.bounds[-1])
    updates = int(plan.update[-1])
    run = lambda: ja.run(problem, plan, optax.sgd(1e-6), key=KEY, progress=False).params
    took = median_seconds(run, rounds) / updates
    row = {"parameters": parameters, "workers": num_workers, "width": width, "seconds": took, "waves": waves / updates}
    row |= {"cells": plan.num_cells, "updates": updates, **told}
    print(f"{parameters:>10,} parameters, {num_workers:>4} workers, width {width:>2}: {took * 1e6:.4g} us", flush=True)
    return row


def measured(options) -> dict:
    sizes, workers, widths = (SIZES[:7:3], [1, 16], [1, 4]) if options.quick else (SIZES, WORKERS, WIDTHS)
    rounds, rng = (2 if options.quick else options.rounds), np.random.default_rng(0)
    tables = TABLES[:6:2] if options.quick else TABLES
    told = {"bandwidth": [[size, bandwidth(size, rounds)] for size in tables]}
    grid = [
        (p, n, w) for p in sizes for n in workers for w in widths if w <= n and 4 * p * (n + 2 * w) < MOST
    ]  # fmt: skip
    points = []
    for i in rng.permutation(len(grid)):
        size, n, width = grid[i]
        problem = ja.problems.quadratic(dim=size, condition=10.0)
        points.append(point(problem, n, width, 0.02 if options.quick else 0.15, rounds))
    _, network = mlp(32)
    about = 0.02 if options.quick else 0.4
    told |= {
        "points": points,
        "network": [point(network, n, 1, about, rounds) for n in NETWORK[:: 3 if options.quick else 1]],
    }
    return told | {"machine": bench.machine("default"), "quick": options.quick, "rounds": rounds}


# ------------------------------------------------------------------- the model


def speed(told, size):
    """Bytes a second at a table of so many bytes, between the measured ones on logarithmic axes."""
    sizes, speeds = np.log(np.array(told["bandwidth"])).T
    return np.exp(np.interp(np.log(size), sizes, speeds))


def terms(told, row) -> list[float]:
    """What the numbers multiply: starts of rows and waves; parameters, bytes over bandwidth; both again in waves."""
    size = row["parameters"]
    wide = row["width"] > 1
    held = 4 * size * (row["cells"] + 3 + 2 * wide * row["width"])  # and parameters, gradient, data; a wave's gradients
    moved = 4 * size / speed(told, held)
    return [1.0, wide * row["waves"], size, moved, wide * size, wide * moved]


def fitted(told) -> dict:
    """The six numbers by non-negative least squares of relative errors; every fourth point is left out."""
    points = told["points"]
    out = np.arange(len(points)) % 4 == 3
    X = np.array([terms(told, row) for row in points])
    y = np.array([row["seconds"] for row in points])
    numbers, _ = nnls(X[~out] / y[~out, None], np.ones((~out).sum()))
    guess = X @ numbers
    return {
        "numbers": numbers.tolist(),
        "guess": guess.tolist(),
        "held_out": out.tolist(),
        "errors": (guess / y - 1).tolist(),
    }


def network_errors(told, numbers) -> list[dict]:
    """The network from its run with one worker: what more workers add, by the model."""
    first = told["network"][0]
    base = first["seconds"] - np.dot(terms(told, first), numbers)
    guess = [float(base + np.dot(terms(told, row), numbers)) for row in told["network"]]
    return [row | {"guess": g, "error": g / row["seconds"] - 1} for row, g in zip(told["network"], guess, strict=True)]


def predicted(numbers, given=ACCELERATOR) -> list[dict]:
    """Seconds per update for a billion parameters on 64 devices, three ways to hold them."""
    size, n = 4.0 * PARAMETERS, DEVICES
    gradient = 6.0 * PARAMETERS * TOKENS / (given["flops"] * given["utilisation"])  # forward and backward, a worker
    passes = (numbers[3] + numbers[5]) * size  # arithmetic is free beside memory there
    one = {
        "way": "cells on every device (what run(devices=) does)",
        "bytes_per_device": size * (n + 3),
        "gradient": gradient / n, "server": passes / given["bandwidth"], "messages": size / given["link"],
    }  # fmt: skip
    host = {
        "way": "cells in the memory of one host (run(cell_memory=), one device)",
        "bytes_per_device": size * 4,
        "gradient": gradient, "server": numbers[3] * size / given["bandwidth"],
        "messages": 2 * size / given["host_link"],
    }  # fmt: skip
    split = {
        "way": "cells split over the devices (not built)",
        "bytes_per_device": size * (n + 3) / n + 2 * size,
        "gradient": gradient / n, "server": passes / given["bandwidth"] / n, "messages": 2 * size / given["link"] / n,
    }  # fmt: skip
    for way in (one, host, split):
        way["fits"] = bool(way["bytes_per_device"] <= given["memory_bytes"])
        way["seconds"] = way["gradient"] + way["server"] + way["messages"] + given["start"]
    return [one, host, split]


# ---------------------------------------------------------------- page, figure


def draw(told, fit, network):
    plt = pyplot()
    points, out = told["points"], np.array(fit["held_out"])
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 3, figsize=(7.0, 2.5), layout="constrained")
        for ax in axes:
            tidy(ax)
        sizes, speeds = np.array(told["bandwidth"]).T
        axes[0].plot(sizes / 1e6, speeds / 1e9, color=PALETTE[0], marker="o", markersize=3)
        axes[0].set(xscale="log", xlabel="table of cells (MB)", ylabel="rows moved (GB/s)", ylim=(0, None))
        y, guess = np.array([row["seconds"] for row in points]) * 1e6, np.array(fit["guess"]) * 1e6
        span = [y.min() / 1.5, y.max() * 1.5]
        axes[1].plot(span, span, color="#999999", linewidth=0.8)
        for mask, colour, mark, label in ((~out, PALETTE[0], "o", "fitted"), (out, PALETTE[1], "s", "held out")):
            axes[1].plot(y[mask], guess[mask], mark, color=colour, markersize=3, label=label)
        axes[1].set(xscale="log", yscale="log", xlim=span, ylim=span)
        axes[1].set(xlabel="measured (us per update)", ylabel="model (us per update)")
        legend(axes[1])
        n = [row["workers"] for row in network]
        axes[2].plot(
            n, [row["seconds"] * 1e6 for row in network], "s", color=PALETTE[1], markersize=4, label="measured"
        )
        axes[2].plot(n, [row["guess"] * 1e6 for row in network], color=PALETTE[0], label="model, from one worker")
        axes[2].set(xscale="log", xlabel="workers (MLP, batch 32)", ylabel="us per update", ylim=(0, None))
        legend(axes[2])
    return figure


def percent(errors) -> str:
    errors = np.abs(np.asarray(errors)) * 100
    middle, most = np.median(errors), np.quantile(errors, 0.9)
    return f"median {middle:.0f} %, nine of ten under {most:.0f} %, largest {errors.max():.0f} %"


def page(told, fit, network) -> str:
    """model.md: the text beside this script with the numbers in."""
    errors, out = np.array(fit["errors"]), np.array(fit["held_out"])
    sizes, speeds = np.array(told["bandwidth"]).T
    machine, given = told["machine"], ACCELERATOR
    in_units = np.array(fit["numbers"]) * [1e6, 1e6, 1e9, 1, 1e9, 1]
    ways = []
    for way in predicted(fit["numbers"]):
        costs = " | ".join(f"{way[part] * 1e3:.3g} ms" for part in ("gradient", "server", "messages"))
        held, fits = f"{way['bytes_per_device'] / 1e9:.3g}", "yes" if way["fits"] else "no"
        ways.append(f"| {way['way']} | {held} | {fits} | {costs} | {way['seconds']:.2g} |")
    return (
        (HERE / "bench_model.md")
        .read_text()
        .format(
            warning="\n**A quick run, for tests: too short to say anything.**\n" if told["quick"] else "",
            **dict(zip(("row", "wave", "each", "one", "each_more", "more"), in_units, strict=True)),
            best=speeds.max() / 1e9,
            far=speeds[-1] / 1e9,
            largest=sizes[-1] / 1e9,
            fitted=int((~out).sum()),
            held=int(out.sum()),
            rounds=told["rounds"],
            error_fitted=percent(errors[~out]),
            error_held=percent(errors[out]),
            error_network=percent([row["error"] for row in network[1:]]),
            few=network[1]["workers"],
            many=network[-1]["workers"],
            devices=DEVICES,
            tokens=TOKENS,
            name=given["name"],
            bandwidth=given["bandwidth"] / 1e12,
            link=given["link"] / 1e9,
            host=given["host_link"] / 1e9,
            flops=given["flops"] / 1e12,
            utilisation=given["utilisation"],
            memory=given["memory_bytes"] / 1e9,
            ways="\n".join(ways),
            processor=machine["processor"],
            cores=machine["usable_cores"],
            jax=machine["versions"]["jax"],
            when=machine["when"],
        )
    )


def main(options: Options):
    ja.results.prepare(options.out, overwrite=True)
    path = options.out / "model.json"
    if not options.page:
        path.write_text(json.dumps(measured(options), indent=1) + "\n")
    told = json.loads(path.read_text())
    fit = fitted(told)
    network = network_errors(told, fit["numbers"])
    (options.out / "model.md").write_text(page(told, fit, network))
    ja.plot.save(draw(told, fit, network), options.out / "model.svg")
    print(f"\n{options.out / 'model.md'}")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
