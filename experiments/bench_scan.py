"""The floor: ja.run beside a bare jitted scan of SGD, which knows no staleness.

Claim     Exact staleness costs little: next to a `lax.scan` of SGD on the same batches, ja.run with 16 workers takes
          at most 1.1 times as long at 100 000 parameters, and at most 1.3 times at 1 000.
Command   python experiments/bench_scan.py
Cost      about 3 minutes on 2 CPU cores, more where others use them; --quick about 30 seconds.
Expected  ja.run / bare scan, 16 workers: 1.1 or less at 100 000 parameters and more, 1.3 or less at 1 000.

A second scan, with a table of what the workers hold and nothing else, says how much of the rest is staleness itself.
Both are handed their batches' sample numbers; ja.run draws the same ones. It must end at the second scan's parameters,
and with one worker, where nothing is stale, at the bare scan's: that is checked before anything is timed. "Unsplit" is
the bare scan compiled without the pass that cuts loops up for XLA's threads.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import bench
import bench_events
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from bench_torch import images

import jaxasgd as ja
from jaxasgd import program
from jaxasgd.tables import apart, put, take

KEY = jax.random.key(0)
UNSPLIT = {  # loops of a few microseconds are not cut up for threads, and what can run side by side need not
    "xla_disable_hlo_passes": "cpu-parallel-task-assigner",
    "xla_cpu_enable_concurrency_optimized_scheduler": False,
}
MANY = {(1000, 16), (101_770, 32)}  # parameters and batch of the cases with 1 000 workers too


def scan(lr, **options):
    """SGD over given batches, and nothing else."""

    def run(params, samples, problem):
        def step(params, sample):
            gradient = problem.sample_gradient(params, sample)
            return jax.tree.map(lambda p, g: p - lr * g, params, gradient), None

        return jax.lax.scan(step, params, samples)[0]

    return jax.jit(run, **options)


def stale_scan(lr, num_cells):
    """The same with the parameters that workers hold in a table of cells, by the plan of ja.run, and nothing else."""

    @jax.jit
    def run(params, samples, rows, last, problem):
        def step(cells, row):
            row, sample = row
            at = lambda cells: problem.sample_gradient(take(cells, row["read"]), sample)
            gradient = apart(row["read"], num_cells, at, cells)
            new = jax.tree.map(lambda p, g: p - lr * g, take(cells, row["current"]), gradient)
            return put(cells, row["write"], new), None

        cells = jax.tree.map(lambda p: jnp.zeros((num_cells, *p.shape), p.dtype).at[0].set(p), params)
        return take(jax.lax.scan(step, cells, (rows, samples))[0], last)

    return run


def planned(num_workers, updates):
    times = ja.times.exponential(1.0, num_workers=num_workers)
    schedule = ja.simulate(ja.policies.asgd(), times, num_updates=updates)
    return schedule, ja.plan(schedule, evaluate=updates)


def drawn(problem, schedule):
    """The samples of every row, as ja.run draws them."""
    who = {column: jnp.asarray(getattr(schedule, column)) for column in program.WHO}
    key = jax.random.fold_in(KEY, program.DATA_STREAM)
    samples = jax.jit(program.draw, static_argnums=(3, 4))(problem, key, who, 1, 1)
    return jax.tree.map(lambda a: a[:, 0], samples)


def timed(name, problem, lr, num_workers, updates, rounds, targets=(), **told) -> dict:
    """One row; first, without staleness, both must end at the same parameters."""
    bare, start = scan(lr), problem.init(jax.random.fold_in(KEY, program.INIT_STREAM))
    schedule, plan = planned(1, min(updates, 500))
    ours = ja.run(problem, plan, optax.sgd(lr), key=KEY, progress=False).params
    far = bench.same(name, ours, bare(start, drawn(problem, schedule), problem))
    schedule, plan = planned(num_workers, updates)
    samples = drawn(problem, schedule)
    stale = stale_scan(lr, plan.num_cells)
    rows = {name: jnp.asarray(plan.rows[name][:updates]) for name in ("read", "current", "write")}
    sides = {
        "ja.run": lambda: ja.run(problem, plan, optax.sgd(lr), key=KEY, progress=False).params,
        "scan with cells": lambda: stale(start, samples, rows, plan.cells[-1], problem),
        "bare scan": lambda: bare(start, samples, problem),
    }
    if jax.default_backend() == "cpu":
        unsplit = scan(lr, compiler_options=UNSPLIT)
        sides["bare scan, unsplit"] = lambda: unsplit(start, samples, problem)
    size = sum(leaf.size for leaf in jax.tree.leaves(start))
    told |= {"workers": num_workers, "parameters": size, "distance_without_staleness": far}
    return bench.measure(
        name, sides, updates=updates, rounds=rounds, targets=targets, apart={"bare scan", "bare scan, unsplit"}, **told
    )


def least_squares(dim, size, samples):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((samples, dim), np.float32)
    y = rng.standard_normal(samples, np.float32)
    order = rng.integers(0, samples, (1, 1 << 18))
    theta, error = np.zeros(dim, np.float32), ja.problems.squared_error
    return ja.problems.from_loss(error, theta, (X, y), batch_size=size, order=order, loss_samples=1)


def mlp(size):
    X, y, name = images()
    order = np.random.default_rng(1).integers(0, len(y), (1, 1 << 18))
    return f"MLP on {name}", ja.problems.mlp(X, y, batch_size=size, order=order, loss_samples=1)


def cases():
    """(name, batch, problem, learning rate, updates, bound of the ratio with 16 workers)"""
    yield "least squares", 1, least_squares(100, 1, 10_000), 1e-4, 200_000, None
    yield "least squares", 16, least_squares(1000, 16, 4096), 1e-4, 50_000, 1.3
    yield "least squares", 16, least_squares(100_000, 16, 1024), 1e-7, 500, 1.1
    if ja.problems.folder():
        adult = bench_events.adult(1)
        order = np.random.default_rng(1).integers(0, adult.samples, (1, 1 << 18))
        yield "logistic regression on a9a", adult.batch_size, adult.problem(order), adult.lr, 50_000, None
    for size, updates in ((32, 1500), (128, 600)):
        name, problem = mlp(size)
        yield name, size, problem, 0.01, updates, 1.1
    text = ja.problems.text()
    name = "transformer on " + {"tinyshakespeare": "tiny Shakespeare"}.get(text.name, text.name)
    problem = ja.problems.transformer(text, width=64, depth=2, heads=4, context=32, batch_size=8, windows=1)
    yield name, 8, problem, 0.01, 100, 1.1


def measured(options) -> list[dict]:
    few, rounds = (10, 3) if options.quick else (1, options.rounds)
    rows = []
    for name, size, problem, lr, updates, bound in cases():
        parameters = sum(leaf.size for leaf in jax.tree.leaves(program.initial_shapes(problem)))
        for n in (16, 1000) if (parameters, size) in MANY and not options.quick else (16,):
            label = f"{name}, d = {parameters:,}, batch {size}, {n:,} workers"
            targets = [("ja.run", "bare scan", "at most", bound)] if bound and n == 16 else []
            rows.append(timed(label, problem, lr, n, updates // few, rounds, targets, batch_size=size))
    return rows


@dataclasses.dataclass
class Options(bench.Options):
    """ja.run beside a bare scan of SGD."""


def main(options: Options):
    bench.run("scan", Path(__file__), measured, options, __doc__)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
