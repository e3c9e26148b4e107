"""Synchronous against asynchronous SGD on images: test accuracy against simulated seconds, updates and gradients.

Claim     On a cluster with random worker times, asynchronous SGD reaches a given test accuracy in fewer simulated
          seconds than synchronous SGD, because nobody waits; it needs more updates and about as many gradients.
          Backup workers win back part of the time that waiting costs.
Command   python experiments/images.py --tune         (MNIST if JAXASGD_DATA has it, else scikit-learn's digits)
Cost      about 4 minutes on 2 CPU cores (1.5 without --tune); --quick about 15 seconds (digits, 2 seeds).
Expected  MNIST, 16 workers, lognormal times (mean 1 s, sigma 1): test accuracy 0.9 after about 28 s (asynchronous),
          52 s (4 backups) and 165 s (synchronous); at the end, after 300 s, 0.965, 0.95 and 0.92.

Setting: an MLP with one hidden layer of 128 ReLUs, 16 workers with i.i.d. shards, mini-batches of 32 drawn with
replacement, every method with the learning rate that was best for it on one grid (--tune repeats that; 2 other seeds).

Reference: J. Chen, X. Pan, R. Monga, S. Bengio, R. Jozefowicz, 2016, arXiv 1604.00981 (backup workers, which they find
faster than waiting for all and more accurate than asynchronous SGD); C. Xie, O. Koyejo, I. Gupta, 2019, arXiv
1903.03934 (steps that fall with the delay). Differs from the papers: a small network, simulated seconds.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import tyro
from common import apart, experiment, outcomes, overviews, tuned

import jaxasgd as ja

NUM_WORKERS, BATCH = 16, 32
GRID = [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2]
METHODS = {
    "synchronous": lambda lr: ja.methods.sync_sgd(lr),
    "synchronous + 4 backups": lambda lr: ja.methods.backup_sgd(lr, backup=4),
    "asynchronous": lambda lr: ja.methods.asgd(lr),
    "asynchronous / √(1 + delay)": lambda lr: ja.methods.polynomial_asgd(lr, power=0.5),
}
RATES = dict(zip(METHODS, (0.8, 0.8, 0.1, 0.4), strict=True))  # found by --tune on MNIST
DATA = {"mnist": "MNIST", "digits": "scikit-learn's digits"}


@dataclasses.dataclass
class Options:
    """Synchronous against asynchronous SGD on images."""

    out: Path = Path("results/images")
    """Folder for the results; what an earlier run wrote there is replaced."""
    seeds: int = 5
    """Independent repetitions; the intervals are over these."""
    quick: bool = False
    """A small version on digits, for tests."""
    tune: bool = False
    """Measure the grid of learning rates first, and use the best of each method."""
    redraw: bool = False
    """Only the figures and the page, from the numbers there are."""


def measure(options: Options):
    data = ja.problems.images("digits" if options.quick else "mnist")
    problem = ja.problems.mlp(
        data.X,
        data.y,
        hidden=(32,) if options.quick else (128,),
        test=(data.X_test, data.y_test),
        batch_size=BATCH,
        shards=ja.problems.shard(len(data.y), NUM_WORKERS, how="iid", seed=0),
        weigh="samples",
        loss_samples=min(len(data.y), 5000),
    )
    times = ja.times.lognormal(1.0, sigma=1.0, num_workers=NUM_WORKERS)
    until = 40.0 if options.quick else 300.0
    rates = RATES
    if options.tune:
        rates = tuned(problem, times, METHODS, GRID, "test_accuracy", options.out, until=until, seeds=[100, 101])
    methods = {name: make(rates[name]) for name, make in METHODS.items()}
    seeds = 2 if options.quick else options.seeds
    few = 8 if options.quick else 50
    looks = np.union1d(np.geomspace(1.0, until, few), np.linspace(0.0, until, few + 1))
    table = ja.compare(problem, times, methods, until=until, seeds=seeds, evaluate=looks)
    table.spec.update(
        experiment="images",
        data=data.name,
        problem={"model": "MLP", "hidden": 32 if options.quick else 128, "batch_size": BATCH, "shards": "iid"},
        learning_rates=rates,
    )
    table.save(options.out, overwrite=True)
    print(table)


def title(table) -> str:
    seeds = len(table.spec["seeds"])
    return f"{DATA[table.spec['data']]}: MLP, {NUM_WORKERS} workers, lognormal times (mean 1 s, σ = 1), {seeds} seeds"


def figures(out: Path) -> dict:
    return overviews(out, "test_accuracy", title, ("synchronous", "asynchronous"), (0.7, 1.0))


def values(out: Path) -> dict:
    table = ja.results.load(out)
    final = lambda one, other: apart(table, "test_accuracy", one, other)
    return outcomes(out, table, "test_accuracy", (0.9, 0.95), title) | {
        "backups": final("synchronous + 4 backups", "synchronous"),
        "alone": final("asynchronous", "synchronous + 4 backups"),
        "damped": final("asynchronous / √(1 + delay)", "asynchronous"),
    }


if __name__ == "__main__":
    options = tyro.cli(Options, description=__doc__)
    experiment(__file__, options, measure, figures, values)
