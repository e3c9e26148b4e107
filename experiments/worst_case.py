"""Ringmaster, Rennala and delay-adaptive steps on the worst-case quadratic, with 6 174 very different workers.

Claim     Where a few workers are fast and thousands are slow, using only gradients that are not too late (Ringmaster),
          or only fresh ones in batches (Rennala), gets further in the same seconds than using all of them with steps
          that shrink with the delay.
Command   python experiments/worst_case.py
Cost      about 2 minutes on 2 CPU cores; --quick about 20 seconds.
Expected  squared norm of the gradient after 2 000 s: Ringmaster below Rennala, both far below delay-adaptive steps.

Reference: A. Maranjyan, A. Tyurin, P. Richtarik, ICML 2025, arXiv 2501.16168 (the comparison, with the settings of the
authors' code): f(x) = x'Ax/2 - b'x, A = tridiag(-1, 2, -1)/4, d = 1 729, noise 0.01 in every coordinate, n = 6 174,
times 1 + sqrt(i) + |N(0, i + 1)|, Ringmaster (0.25, bound 6), Rennala (1, batch 6), delay-adaptive 3.2e-4. Step sizes
are the authors', found by a search; they are not searched again here.
"""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import tyro

import jaxasgd as ja
from jaxasgd.results import interval

METHODS = {
    "Ringmaster": lambda: ja.methods.ringmaster(0.25, bound=6),
    "Rennala": lambda: ja.methods.rennala(1.0, batch=6),
    "delay-adaptive": lambda: ja.methods.delay_adaptive_asgd(3.2e-4),
}


@dataclasses.dataclass
class Options:
    """Three ways to deal with thousands of slow workers."""

    out: Path = Path("results/worst_case")
    """Folder for history.csv, README.md and worst_case.svg."""
    seeds: int = 5
    """Clocks and noises; intervals are over these."""
    quick: bool = False
    """Few workers and seconds, for tests."""


def page(table, until, n) -> str:
    text = ["# Thousands of slow workers", "", "![squared norm of the gradient over time](worst_case.svg)", ""]
    text += [
        f"Worst-case quadratic, {n:,} workers, {until:g} simulated seconds, means over seeds (95 % intervals):",
        "",
    ]
    text += [
        "| method | squared gradient norm at the end | loss - minimum | updates | mean delay | gradients arrived |"
    ]
    text += ["|---|---|---|---|---|---|"]
    for method in table.methods:
        squares = table.final(method, "gradient_norm") ** 2
        mean, low, high = interval(np.log10(squares))
        runs = table.of(method)
        average = lambda name, runs=runs: np.mean([run.summary[name] for run in runs])
        arrived = np.mean([run.columns["gradients"][-1] for run in runs])
        cells = [method, f"{10**mean:.3g} ({10**low:.3g} to {10**high:.3g})", f"{table.final(method).mean():.4g}"]
        cells += [f"{average('updates'):,.0f}", f"{average('mean_delay'):.1f}", f"{arrived:,.0f}"]
        text.append(f"| {' | '.join(cells)} |")
    text += ["", "Made by `experiments/worst_case.py`; numbers: `history.csv`."]
    return "\n".join(text) + "\n"


def main(options: Options):
    n, until, dim, seeds = (60, 60.0, 50, 2) if options.quick else (6174, 2000.0, 1729, options.seeds)
    ja.results.prepare(options.out, overwrite=True)
    i = np.arange(n)
    times = ja.times.half_normal(1 + np.sqrt(i), np.sqrt(i + 1))
    problem = ja.problems.tridiagonal(dim, noise=0.01)
    methods = {name: make() for name, make in METHODS.items()}
    table = ja.compare(problem, times, methods, until=until, seeds=seeds, points=60, target_gradient_norm=1e-30)
    with open(options.out / "history.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["method", "seed", "time", "update", "gradients", "loss", "gradient_norm"])
        for run in table.runs:
            columns = [run.columns[name] for name in ("time", "update", "gradients", "loss", "gradient_norm")]
            for line in zip(*columns, strict=True):
                writer.writerow([run.method, run.seed, *(f"{value:.6g}" for value in line)])
    (options.out / "README.md").write_text(page(table, until, n))
    ja.plot.save(table.plot("time", of="gradient_norm"), options.out / "worst_case.svg")
    print(table)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
