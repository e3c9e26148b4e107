"""A thousand workers beside sixteen: what a row costs where each worker has a row in a table.

Claim     An update with 1 000 workers takes at most 1.5 times one with 16, also for methods that keep a vector for
          every worker (the last gradient of each, or a momentum of each).
Command   python experiments/bench_workers.py
Cost      about 2 minutes on 2 CPU cores; --quick about 30 seconds.
Expected  1,000 workers / 16 workers: 1.5 or less, for every method.

Nothing is copied that a row does not touch: a table is written in place. What is left is memory that is farther away.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import bench
import jax
import tyro
from bench_scan import least_squares

import jaxasgd as ja

KEY = jax.random.key(0)
METHODS = {
    "asgd": lambda: ja.methods.asgd(1e-4),
    "ia2sgd": lambda: ja.methods.ia2sgd(1e-4),
    "dana_zero": lambda: ja.methods.dana_zero(1e-5, 0.9),
    "multi_asgd": lambda: ja.methods.multi_asgd(1e-5, 0.9),
}


def timed(name, problem, updates, rounds) -> dict:
    """One method with few and with many workers."""

    def side(num_workers):
        times, method = ja.times.exponential(1.0, num_workers=num_workers), METHODS[name]()
        plan = ja.plan(ja.simulate(method, times, num_updates=updates), evaluate=updates)
        return lambda: ja.run(problem, plan, METHODS[name](), key=KEY, progress=False).params

    sides = {"16 workers": side(16), "1,000 workers": side(1000)}
    targets = [("1,000 workers", "16 workers", "at most", 1.5)]
    case = f"{name}, least squares, d = 1,000, batch 16"
    return bench.measure(case, sides, updates=updates, rounds=rounds, targets=targets, apart={"1,000 workers"})


def measured(options) -> list[dict]:
    problem = least_squares(1000, 16, 4096)
    few, rounds = (20, 3) if options.quick else (1, options.rounds)
    return [timed(name, problem, 20_000 // few, rounds) for name in METHODS]


@dataclasses.dataclass
class Options(bench.Options):
    """1 000 workers beside 16."""


def main(options: Options):
    bench.run("workers", Path(__file__), measured, options, __doc__)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
