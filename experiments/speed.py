"""How fast is the engine: seconds per update as ratios, measured side by side in one run.

Claim     Exact staleness costs little: an update of simulated asynchronous SGD takes at most 1.25 times a bare
          `lax.scan` of SGD on the same batches (100 000 parameters; 1.5 times for 1 000), and at least 5 times less
          than an event loop in NumPy with a heap.
Command   python experiments/speed.py
Cost      about 2 minutes on 2 CPU cores; --quick about 40 seconds.
Expected  bare scan / engine, 16 workers: 1.25 or less at 101 770 parameters, 1.5 or less at 1 000; NumPy / engine: 5 or
          more. What came is in results/speed/speed.csv; machines are noisy, so look at the quartiles.

Both sides run the same batches in the same order, and are timed in turn; every ratio is of two neighbouring
measurements. Compilation is not in them (it is told apart); `ja.run` is timed whole, with its tracing and its looks.
"""

from __future__ import annotations

import csv
import dataclasses
import heapq
import os
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

import jaxasgd as ja
from jaxasgd import program

KEY = jax.random.key(0)


@dataclasses.dataclass
class Options:
    """Ratios of seconds per update, measured side by side."""

    out: Path = Path("results/speed")
    """Folder for speed.csv."""
    rounds: int = 9
    """Pairs of measurements behind each ratio."""
    quick: bool = False
    """Shorter runs and fewer rounds, for tests."""


def side_by_side(name, ours, theirs, updates, rounds) -> dict:
    """Time two functions in turn; the ratio theirs / ours and its quartiles."""
    first = [clock(f) for f in (ours, theirs)]  # compiles
    pairs = np.array([[clock(ours), clock(theirs)] for _ in range(rounds)])
    ratios = pairs[:, 0] / pairs[:, 1]
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    ours_us, theirs_us = np.median(pairs, axis=0) / updates * 1e6
    row = {
        "comparison": name,
        "ours_us_per_update": round(ours_us, 2),
        "theirs_us_per_update": round(theirs_us, 2),
        "ours_over_theirs": round(middle, 3),
        "quartiles": f"{low:.3f}-{high:.3f}",
        "theirs_over_ours": round(1 / middle, 2),
        "ours_first_call_s": round(first[0], 2),
        "updates": updates,
    }
    print("  ".join(f"{k} {v}" for k, v in row.items()), flush=True)
    return row


def clock(function) -> float:
    began = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - began


# ------------------------------------------------------------- a bare scan


def mlp(rng, batch):
    """784-128-10 on random images: (how to make the problem for an order of samples, number of samples)."""
    X, y = rng.random((20_000, 784), np.float32), rng.integers(0, 10, 20_000)
    make = lambda order: ja.problems.mlp(X, y, hidden=(128,), batch_size=batch, order=order, loss_samples=1)
    return make, len(y)


def linear(rng, dim, batch, samples):
    """Least squares on random features; the same pair."""
    X = rng.standard_normal((samples, dim), np.float32)
    y = rng.standard_normal(samples, np.float32)
    theta = np.zeros(dim, np.float32)
    error = ja.problems.squared_error
    make = lambda order: ja.problems.from_loss(error, theta, (X, y), batch_size=batch, order=order, loss_samples=1)
    return make, samples


def against_bare_scan(name, problem, num_workers, updates, rounds):
    make, samples = problem
    order = np.random.default_rng(1).integers(0, samples, (1, 1 << 18))
    problem = make(order)
    times = ja.times.exponential(1.0, num_workers=num_workers)
    schedule = ja.simulate(ja.policies.asgd(), times, num_updates=updates)
    plan = ja.plan(schedule, evaluate=updates)
    who = {column: jnp.asarray(getattr(schedule, column)) for column in program.WHO}
    (index,) = jax.jit(program.draw, static_argnums=(3, 4))(problem, KEY, who, 1, 1)
    start = problem.init(jax.random.fold_in(KEY, program.INIT_STREAM))

    @jax.jit
    def bare(params, index, problem):
        def step(params, i):
            gradient = problem.sample_gradient(params, (i,))
            return jax.tree.map(lambda p, g: p - 1e-3 * g, params, gradient), None

        return jax.lax.scan(step, params, index)[0]

    ours = lambda: ja.run(problem, plan, optax.sgd(1e-3), key=KEY, progress=False).params
    theirs = lambda: bare(start, index[:, 0], problem)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(start))
    label = f"bare scan, {name}, {parameters} parameters, {num_workers} workers"
    return side_by_side(label, ours, theirs, updates, rounds)


# ---------------------------------------------------- an event loop in NumPy


@dataclasses.dataclass(frozen=True)
class TabledNoise:
    """The tridiagonal quadratic with its noise read from a table: row (visit + 7919 worker) mod length."""

    def init(self, data, key):
        return data["start"]

    def draw(self, data, request):
        return (request.turn + 7919 * request.worker) % data["noise"].shape[0]

    def gradient(self, data, x, row):
        zero = jnp.zeros(1, x.dtype)
        left, right = jnp.concatenate([zero, x[:-1]]), jnp.concatenate([x[1:], zero])
        return (2 * x - left - right) / 4 - data["b"] + data["noise"][row]

    def evaluate(self, data, x):
        return {"loss": jnp.vdot(x, x)}


def against_numpy(dim, num_workers, updates, rounds, with_simulation):
    noise = (0.01 * np.random.default_rng(0).standard_normal((2048, dim))).astype(np.float32)
    b, start = np.zeros(dim, np.float32), np.zeros(dim, np.float32)
    b[0], start[0] = -0.25, np.sqrt(dim)
    lr = np.float32(1e-3)
    times = ja.times.exponential(1.0, num_workers=num_workers)
    problem = ja.problems.Problem(
        jax.tree.map(jnp.asarray, {"noise": noise, "b": b, "start": start}), None, TabledNoise()
    )

    def theirs():
        rng = np.random.default_rng(0)
        x, version = start, 0
        held, visits = [start] * num_workers, [0] * num_workers
        heap = [(duration, i) for i, duration in enumerate(rng.exponential(1.0, num_workers).tolist())]
        heapq.heapify(heap)
        durations = rng.exponential(1.0, updates).tolist()
        while version < updates:
            now, i = heapq.heappop(heap)
            read = held[i]
            g = 2 * read
            g[1:] -= read[:-1]
            g[:-1] -= read[1:]
            g /= 4
            g -= b
            g += noise[(visits[i] + 7919 * i) % 2048]
            g *= lr
            x = x - g
            held[i] = x
            visits[i] += 1
            heapq.heappush(heap, (now + durations[version], i))
            version += 1
        return x

    made = ja.plan(ja.simulate(ja.policies.asgd(), times, num_updates=updates), evaluate=updates)

    def ours():
        plan = made
        if with_simulation:
            plan = ja.plan(ja.simulate(ja.policies.asgd(), times, num_updates=updates), evaluate=updates)
        return ja.run(problem, plan, optax.sgd(1e-3), key=KEY, progress=False).params

    what = "simulate + plan + run" if with_simulation else "run"
    return side_by_side(f"NumPy heap loop, d = {dim}, {num_workers} workers ({what})", ours, theirs, updates, rounds)


def main(options: Options):
    rounds = 3 if options.quick else options.rounds
    few = 5 if options.quick else 1
    rng = np.random.default_rng(0)
    problems = {
        "MLP, batch 32": (mlp(rng, 32), 4000),
        "MLP, batch 128": (mlp(rng, 128), 1500),
        "linear, wide, batch 16": (linear(rng, 100_000, 16, 1024), 1500),
        "linear, batch 16": (linear(rng, 1000, 16, 4096), 100_000),
    }
    rows = []
    for num_workers in (16, 1000):
        for name, (problem, updates) in problems.items():
            rows.append(against_bare_scan(name, problem, num_workers, updates // few, rounds))
    for with_simulation in (False, True):
        rows.append(against_numpy(1729, 1000, 100_000 // few, rounds, with_simulation))
    ja.results.prepare(options.out, overwrite=True)
    with open(options.out / "speed.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0], "jax", "device", "cores", "PJRT_NPROC"], lineterminator="\n")
        writer.writeheader()
        here = ja.results.environment()
        told = {"jax": here["versions"]["jax"], "device": here["device"], "cores": here["cores"]}
        writer.writerows(row | told | {"PJRT_NPROC": os.environ.get("PJRT_NPROC", "")} for row in rows)
    print(f"\n{options.out / 'speed.csv'}")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
