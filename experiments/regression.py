"""Linear regression, synchronous against asynchronous, with 1, 4 and 16 workers under three clocks.

Claim     With equal times, n workers with a step of n alpha on the mean of n gradients (synchronous) and of alpha
          on every gradient (asynchronous) learn equally fast. Where times are random, synchronous SGD is
          slower by the factor of its waiting: H_n = 1 + 1/2 + ... + 1/n for exponential times; where one of n workers
          needs ten times as long, by 10 (n - 1 + 1/10)/n.
Command   python experiments/regression.py
Cost      about 1 minute on 2 CPU cores; --quick about 20 seconds.
Expected  seconds to an excess loss of 0.02, synchronous over asynchronous, for n = 4 and 16: equal 1 and 1; exponential
          2.08 and 3.38; one straggler 7.75 and 9.44.

Setting: the data of the first experiment of this project: 100 samples, 2 features uniform in [0, 1),
y = 2 x1 + 3 x2 + N(0, 1), NumPy seed 0; J(theta) = |X theta - y|^2 / (2m); alpha = 0.01; single samples, drawn at
random. A run lasts until the synchronous workers have computed about 100 epochs of gradients (10 000).
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import tyro
from common import experiment, markdown, read, write

import jaxasgd as ja
from jaxasgd.figures import STYLE, TEXT, pyplot
from jaxasgd.results import interval

ALPHA, LEVEL = 0.01, 0.02
CLOCKS = {
    "equal": lambda n: ja.times.fixed(1.0, num_workers=n),
    "exponential": lambda n: ja.times.exponential(1.0, num_workers=n),
    "one straggler": lambda n: ja.times.fixed(np.where(np.arange(n) == n - 1, 10.0, 1.0) if n > 1 else [1.0]),
}
PREDICTED = {
    "equal": lambda n: 1.0,
    "exponential": lambda n: sum(1 / k for k in range(1, n + 1)),
    "one straggler": lambda n: 10 * (n - 0.9) / n if n > 1 else 1.0,
}


@dataclasses.dataclass
class Options:
    """Linear regression, synchronous against asynchronous, with 1, 4 and 16 workers under three clocks."""

    out: Path = Path("results/regression")
    """Folder for the results; what an earlier run wrote there is replaced."""
    seeds: int = 10
    """Independent repetitions; the intervals are over these."""
    quick: bool = False
    """A small version, for tests."""
    redraw: bool = False
    """Only the figure and the page, from the numbers there are."""


def measure(options: Options):
    problem = ja.problems.linear(*ja.problems.toy_regression())
    least = float(problem.loss(problem.optimum))
    seeds, gradients = (2, 2000) if options.quick else (options.seeds, 10_000)
    rows = []
    for clock, make in CLOCKS.items():
        for n in (1, 4, 16):
            methods = {
                "synchronous, α": ja.methods.sync_sgd(ALPHA),
                "synchronous, nα": ja.methods.sync_sgd(n * ALPHA),
                "asynchronous, α": ja.methods.asgd(ALPHA),
            }
            until = gradients / n * PREDICTED[clock](n)
            looks = np.geomspace(1.0, until, 60 if options.quick else 100)
            table = ja.compare(problem, make(n), methods, until=until, seeds=seeds, evaluate=looks)
            for run in table.runs:
                run.columns["excess_loss"] = np.maximum(run.columns["loss"] - np.float32(least), 0)
            table.spec.update(experiment="regression", alpha=ALPHA, clock=clock, optimal_loss=least)
            if n < 16:  # the schedules of the largest cluster are enough to look at
                table.schedules.clear()
            table.save(options.out / f"{clock.replace(' ', '-')}-{n}", overwrite=True)
            rows.append(measured(table, clock, n))
            print("  ".join(f"{k} {v}" for k, v in rows[-1].items()), flush=True)
    write(options.out / "ratios.csv", rows)


def measured(table, clock, n) -> dict:
    """Seconds to the level, synchronous (n alpha) over asynchronous, with a 95 % interval over seeds."""
    sync, asyn = (table.reach(m, LEVEL, of="excess_loss") for m in ("synchronous, nα", "asynchronous, α"))
    ratio, low, high = (math.exp(v) for v in interval(np.log(sync / asyn)))
    predicted = PREDICTED[clock](n)
    return {
        "clock": clock,
        "workers": n,
        "predicted": f"{predicted:.3g}",
        "ratio": f"{ratio:.3g}",
        "low": f"{low:.3g}",
        "high": f"{high:.3g}",
    }


def figures(out: Path) -> dict:
    tables, plt = tables_of(out), pyplot()
    seeds = len(tables["equal", 1].spec["seeds"])
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(3, 3, figsize=(7, 5.6), sharey=True, layout="constrained")
        for (clock, n), ax in zip(tables, axes.flat, strict=True):
            ja.plot.comparison(tables[clock, n], of="excess_loss", ax=ax, log=True)
            ax.axhline(LEVEL, color="0.5", linewidth=0.6, linestyle=(0, (2, 3)))
            ax.set_title(f"{clock}, {n} worker{'s' * (n > 1)}")
            ax.set(xscale="log", xlim=(1, None), ylim=(2e-4, 5), ylabel="")
            ax.set_xlabel("Simulated seconds" if ax in axes[-1] else "")
            ax.get_legend().remove()
        figure.supylabel("Excess loss J(θ) − J*", fontsize=TEXT)
        title = (
            f"Linear regression by single samples, α = {ALPHA}: mean of {seeds} seeds, 95 % t interval; dotted: {LEVEL}"
        )
        figure.legend(
            *axes[0, 0].get_legend_handles_labels(),
            loc="outside upper left",
            ncols=3,
            title=title,
            alignment="left",
            borderaxespad=0.4,
        )
    return {"regression.svg": figure}


def tables_of(out: Path) -> dict:
    return {(clock, n): ja.results.load(out / f"{clock.replace(' ', '-')}-{n}") for clock in CLOCKS for n in (1, 4, 16)}


def values(out: Path) -> dict:
    rows = read(out / "ratios.csv")
    cells = [[r["clock"], r["workers"], r["predicted"], r["ratio"], f"{r['low']} to {r['high']}"] for r in rows]
    return {
        "table": markdown(["clock", "workers", "predicted", "measured", "interval"], cells),
        "seeds": len(tables_of(out)["equal", 1].spec["seeds"]),
        "level": LEVEL,
        "off": f"{max(abs(row['ratio'] / row['predicted'] - 1) for row in rows):.1%}",
        "inside": f"{sum(row['low'] <= row['predicted'] <= row['high'] for row in rows)} of {len(rows)}",
    }


if __name__ == "__main__":
    options = tyro.cli(Options, description=__doc__)
    experiment(__file__, options, measure, figures, values)
