"""A sweep over learning rates: one vmapped ja.run beside the loop compiled with numba, run once for each rate.

Claim     A sweep is one program: an update of one of its runs costs less than in the loop compiled with numba, which
          goes through the rates one by one, or through as many at a time as there are cores.
Command   python experiments/bench_rates.py
Cost      about 3 minutes on 2 CPU cores; --quick about 15 seconds.
Expected  numba / vmap(ja.run) above 1, for 16 and for 64 rates; least squares, d = 100, batch 1, 16 workers.

Three sweeps: rates on one schedule (samples are fetched once for all of them); 8 rates times the schedules of 8 seeds,
whose plans are stacked and whose samples differ; and ja.run called once a rate. Final parameters of all runs are
compared.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import bench
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from bench_events import KEY, compiled, numba_loop, random_least_squares, squares_update

import jaxasgd as ja

SEEDS = 8


def final(rate, plan, problem):
    return ja.run(problem, plan, optax.sgd(rate), key=KEY, progress=False).params


def one_after_another(loop, update):
    """All rates on all inputs, in numba."""

    def sweep(start, inputs, num_workers, updates, data, rates, out):
        for k in range(len(inputs)):
            for r in range(len(rates)):
                out[k, r] = loop(start, inputs[k], num_workers, updates, update, data, rates[r])
        return out

    return sweep


def on_all_cores(numba, loop, update):
    def sweep(start, inputs, num_workers, updates, data, rates, out):
        for j in numba.prange(len(inputs) * len(rates)):
            k, r = j // len(rates), j % len(rates)
            out[k, r] = loop(start, inputs[k], num_workers, updates, update, data, rates[r])
        return out

    return sweep


def timed(number, seeds, updates, rounds, numba) -> dict:
    """`number` runs: number / seeds rates on the schedules of the seeds."""
    case = random_least_squares(updates)
    times = ja.times.exponential(1.0, num_workers=case.num_workers)
    schedules = [ja.simulate(ja.policies.asgd(), times, num_updates=updates, seed=s) for s in range(seeds)]
    turns = max(int(np.bincount(schedule.worker).max()) for schedule in schedules) + 1
    order = bench.samples_in_order(np.random.default_rng(1), case.num_workers, turns, case.samples)
    problem, data = case.problem(order), case.data(order)
    plans = [ja.plan(schedule, evaluate=updates) for schedule in schedules]
    rates = np.geomspace(1e-5, 3e-4, number // seeds).astype(np.float32)
    swept = jax.jit(jax.vmap(final, (0, None, None)))
    if seeds > 1:
        swept = jax.jit(jax.vmap(jax.vmap(final, (0, None, None)), (None, 0, None)))
    made = ja.stack(plans) if seeds > 1 else plans[0]
    device = jnp.asarray(rates)
    sides = {"vmap(ja.run)": lambda: swept(device, made, problem)}
    if seeds == 1 and number <= 16:
        sides["ja.run, rate by rate"] = lambda: [final(rate, made, problem) for rate in rates]
    if numba:
        inputs = np.stack([bench.durations_of(schedule) for schedule in schedules])
        out = np.zeros((seeds, len(rates), len(case.start)), np.float32)
        loop, update = compiled(numba, numba_loop), compiled(numba, squares_update)
        serial = compiled(numba, one_after_another(loop, update))
        parallel = compiled(numba, on_all_cores(numba, loop, update), parallel=True)
        rest = (case.start, inputs, case.num_workers, updates, data, rates, out)
        sides |= {"numba": lambda: serial(*rest), "numba, all cores": lambda: parallel(*rest)}
    name = f"{number} rates, one schedule" if seeds == 1 else f"{number // seeds} rates on {seeds} schedules"
    targets = [(name, "vmap(ja.run)", "at least", 1.0) for name in ("numba", "numba, all cores")]
    told = {"workers": case.num_workers, "parameters": len(case.start), "batch_size": 1}
    return bench.measure(name, sides, updates=updates, rounds=rounds, targets=targets, runs=number, **told)


def measured(options) -> list[dict]:
    updates, rounds = (2000, 3) if options.quick else (30_000, options.rounds)
    numba = bench.library("numba")
    return [timed(number, seeds, updates, rounds, numba) for number, seeds in ((16, 1), (64, 1), (64, SEEDS))]


@dataclasses.dataclass
class Options(bench.Options):
    """Sweeps of ja.run beside numba."""


def main(options: Options):
    bench.run("rates", Path(__file__), measured, options, __doc__)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
