"""Asynchronous DiLoCo on tiny Shakespeare: a character transformer on workers of very different speeds.

Claim     With workers of different speeds, asynchronous local SGD takes several times as many local steps in the same
          seconds as rounds that wait for the slowest. Nesterov's momentum at every arrival loses what that brings;
          delayed Nesterov keeps it, and a little more with local steps in proportion to the speed (DyLU). At this
          size, and tuned, no momentum at all is better still.
Command   python experiments/diloco.py --tune         (tiny Shakespeare if JAXASGD_DATA has it, else an excerpt)
Cost      about 15 minutes on 2 CPU cores, fewer without --tune; --quick about 20 seconds (an excerpt, 2 seeds).
Expected  After 1000 simulated seconds: test loss 2.50 in rounds, 2.40 with Nesterov at every arrival, 2.39 with delayed
          Nesterov, 2.37 with DyLU, 2.28 with outer SGD; 1200 gradients in rounds, some 4000 without.

Setting: the four speeds of the DeepMind notebook asyncdiloco (0.58, 0.75, 1.51 and 3.33 seconds a step, 20 local steps
of AdamW in a job), a transformer of 2 blocks (width 32, context 32), a piece of the text for every worker, outer
learning rates tuned for each method on one grid (--tune repeats that, with another seed).

Source: B. Liu et al., 2024, arXiv 2401.09135 (asynchronous local SGD, delayed Nesterov, DyLU).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import tyro
from common import apart, experiment, outcomes, overviews, tuned

import jaxasgd as ja

SECONDS = (0.58, 0.75, 1.51, 3.33)
STEPS, INNER = 20, 4e-3
TIMELINES = ("synchronous DiLoCo", "delayed Nesterov, DyLU")
GRID = [0.011, 0.022, 0.044, 0.0875, 0.175, 0.35, 0.7, 1.4]
METHODS = {
    "synchronous DiLoCo": lambda lr: ja.methods.diloco(lr, INNER, STEPS),
    "asynchronous, outer SGD": lambda lr: ja.methods.async_diloco(lr, INNER, STEPS, outer="sgd"),
    "asynchronous, Nesterov": lambda lr: ja.methods.async_diloco(lr, INNER, STEPS, outer="nesterov"),
    "delayed Nesterov": lambda lr: ja.methods.async_diloco(lr, INNER, STEPS),
    "delayed Nesterov, DyLU": lambda lr: ja.methods.async_diloco(lr, INNER, STEPS, dylu=True),
}
RATES = dict(zip(METHODS, (0.35, 0.35, 0.022, 0.35, 0.35), strict=True))  # found by --tune on tiny Shakespeare


@dataclasses.dataclass
class Options:
    """Asynchronous DiLoCo on tiny Shakespeare."""

    out: Path = Path("results/diloco")
    """Folder for the results; what an earlier run wrote there is replaced."""
    seeds: int = 3
    """Independent repetitions; the intervals are over these."""
    quick: bool = False
    """A small version on an excerpt, for tests."""
    tune: bool = False
    """Measure the grid of outer learning rates first, and use the best of each method."""
    redraw: bool = False
    """Only the figures and the page, from the numbers there are."""


def measure(options: Options):
    text = ja.problems.text(prefer="excerpt") if options.quick else ja.problems.text()
    sizes = {"width": 16, "depth": 1, "context": 16} if options.quick else {"width": 32, "depth": 2, "context": 32}
    problem = ja.problems.transformer(text, heads=2, batch_size=8, shards=len(SECONDS), **sizes)
    times = ja.times.fixed(SECONDS)
    until = 80.0 if options.quick else 1000.0
    rates = RATES
    if options.tune:
        rates = tuned(problem, times, METHODS, GRID, "test_loss", options.out, until=until, seeds=[100])
    methods = {name: make(rates[name]) for name, make in METHODS.items()}
    seeds = 2 if options.quick else options.seeds
    table = ja.compare(problem, times, methods, until=until, seeds=seeds, points=4 if options.quick else 40)
    table.spec.update(experiment="diloco", data=text.name, learning_rates=rates)
    table.save(options.out, overwrite=True)
    print(table)


def title(table) -> str:
    text = {"tinyshakespeare": "Tiny Shakespeare"}.get(table.spec["data"], "An excerpt of tiny Shakespeare")
    return f"{text}: character transformer, 4 workers (0.58 ... 3.33 s a step), {len(table.spec['seeds'])} seeds"


def figures(out: Path) -> dict:
    small = ja.results.load(out).spec["until"] < 100
    return overviews(out, "test_loss", title, TIMELINES, None if small else (2.1, 3.1))


def values(out: Path) -> dict:
    table = ja.results.load(out)
    against = lambda one, other: apart(table, "test_loss", one, other)
    local = lambda method: np.mean([run.columns["gradients"][-1] for run in table.of(method)])
    return outcomes(out, table, "test_loss", (2.6, 2.4), title) | {
        "steps": f"{local('asynchronous, Nesterov') / local('synchronous DiLoCo'):.1f}",
        "nesterov": against("asynchronous, Nesterov", "synchronous DiLoCo"),
        "delayed": against("delayed Nesterov", "asynchronous, Nesterov"),
        "dylu": against("delayed Nesterov, DyLU", "delayed Nesterov"),
        "plain": against("asynchronous, outer SGD", "delayed Nesterov, DyLU"),
    }


if __name__ == "__main__":
    options = tyro.cli(Options, description=__doc__)
    experiment(__file__, options, measure, figures, values)
