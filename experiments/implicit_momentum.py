"""Asynchrony begets momentum: n equally fast workers with exponential times act, on average, like heavy ball.

Claim     With n workers whose times are exponential, gradients are geometrically late, P(delay = k) = (1 - 1/n)^k / n,
          the mean of the iterates moves like heavy ball with momentum 1 - 1/n and step size a/n, and with noise their
          variance settles at s^2 (1 + a n) / (a (2 + a - n a^2)), a = step x curvature, s = step x noise.
Command   python experiments/implicit_momentum.py
Cost      1 to 3 minutes on 2 CPU cores; --quick about 10 seconds.
Expected  measured momentum within 0.02 of 1 - 1/n; every 95 % interval of the variance about its law (nine of ten do).

Reference: I. Mitliagkas, C. Zhang, S. Hadjis, C. Re, Allerton 2016, arXiv 1605.09774 (theorem 1: the momentum); the
variance law follows from the second moments of an iterate and of what workers hold. The paper's figures train networks;
here is the statement itself, on f(x) = x^2 / 2, where nothing else is in it.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax
import numpy as np
import optax
import tyro
from common import experiment, markdown, read, write

import jaxasgd as ja
from jaxasgd.figures import PALETTE, STYLE, legend, pyplot, tidy
from jaxasgd.results import interval

STEP = 0.15


@dataclasses.dataclass
class Options:
    """Implicit momentum, staleness and variance, over the number of workers."""

    out: Path = Path("results/implicit_momentum")
    """Folder for laws.csv, delays.csv, README.md and implicit_momentum.svg."""
    workers: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    """Numbers of workers."""
    runs: int = 4000
    """Schedules behind the mean path."""
    length: int = 60
    """Updates of each of them."""
    seeds: int = 20
    """Long runs behind the variance."""
    quick: bool = False
    """Few runs, for tests."""
    redraw: bool = False
    """Only the figure and the page, from the numbers there are."""


def schedule(num_workers, updates, seed):
    times = ja.times.exponential(1.0, num_workers=num_workers)
    return ja.simulate(ja.policies.asgd(), times, num_updates=updates, seed=seed)


def paths(num_workers, runs, length):
    """x after every update, without noise, from x = 1: [runs, length + 1]."""
    problem = ja.problems.quadratic(spectrum=[1.0])
    plans = ja.stack([ja.plan(schedule(num_workers, length, seed), evaluate=1) for seed in range(runs)])
    params = ja.problems.Problem(problem.data, problem.start, Position(problem.kind), problem.optimum)
    rule, key = optax.sgd(STEP), jax.random.key(0)
    return np.asarray(jax.jit(jax.vmap(lambda plan: ja.run(params, plan, rule, key=key).loss))(plans))


@dataclasses.dataclass(frozen=True)
class Position:
    """A kind of problem whose "loss" is the parameter itself."""

    kind: object

    def draw(self, data, request):
        return self.kind.draw(data, request)

    def gradient(self, data, params, sample):
        return self.kind.gradient(data, params, sample)

    def evaluate(self, data, params):
        return {"loss": params[0]}


def momentum(x, num_workers) -> float:
    """mu in E x'' - E x' = mu (E x' - E x) - (a / n) E x', by least squares."""
    mean = x.mean(0)
    change = np.diff(mean)
    rest = change[1:] + STEP / num_workers * mean[1:-1]
    return float(rest @ change[:-1] / (change[:-1] @ change[:-1]))


def momentum_interval(x, num_workers, rng, draws=200):
    """The estimate and its bootstrap 95 % interval over runs."""
    again = [momentum(x[rng.integers(0, len(x), len(x))], num_workers) for _ in range(draws)]
    return momentum(x, num_workers), *np.quantile(again, [0.025, 0.975])


def variances(num_workers, seeds, updates) -> np.ndarray:
    """E x^2 where it has settled, for unit noise: one number a long run, [seeds]."""
    problem = ja.problems.quadratic(spectrum=np.ones(64), noise=1.0)
    rule, found = optax.sgd(STEP), []
    for seed in range(seeds):
        plan = ja.plan(schedule(num_workers, updates, 10_000 + seed), evaluate=5)
        loss = ja.run(problem, plan, rule, key=jax.random.key(seed), progress=False).loss
        found.append(2 * np.mean(np.asarray(loss)[len(loss) // 5 :]) / 64)
    return np.array(found)


def law(n) -> float:
    return STEP**2 * (1 + STEP * n) / (STEP * (2 + STEP - n * STEP**2))


def measure(options: Options):
    if options.quick:
        options = dataclasses.replace(options, workers=(1, 4), runs=100, seeds=3)
    rng, rows, delays = np.random.default_rng(0), [], []
    for n in options.workers:
        mu, low, high = momentum_interval(paths(n, options.runs, options.length), n, rng)
        mean, down, up = interval(variances(n, options.seeds, 500 if options.quick else 6000))
        row = {"workers": n, "momentum": mu, "momentum_low": low, "momentum_high": high, "momentum_law": 1 - 1 / n}
        row |= {"variance": mean, "variance_low": down, "variance_high": up, "variance_law": law(n)}
        late = schedule(n, 2000 if options.quick else 200_000, 1).delay
        counts = np.bincount(late)[: 6 * n]
        delays += [
            {"workers": n, "delay": k, "share": c / len(late), "law": (1 - 1 / n) ** k / n}
            for k, c in enumerate(counts)
        ]
        row["mean_delay"] = late.mean()
        rows.append(row)
        print("  ".join(f"{key} {value:.4g}" for key, value in row.items()), flush=True)
    write(options.out / "laws.csv", rows)
    write(options.out / "delays.csv", delays)


def figures(out: Path) -> dict:
    rows, delays, plt = read(out / "laws.csv"), read(out / "delays.csv"), pyplot()
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 3, figsize=(7.0, 2.4), layout="constrained")
        for ax in axes:
            tidy(ax)
        n = [row["workers"] for row in rows]
        fine = np.geomspace(1, max(n), 200)
        for ax, name, formula in ((axes[0], "momentum", 1 - 1 / fine), (axes[2], "variance", [law(x) for x in fine])):
            ax.plot(fine, formula, color="black", linewidth=1, label="law")
            middle, low, high = (np.array([row[name + end] for row in rows]) for end in ("", "_low", "_high"))
            bars = np.maximum([middle - low, high - middle], 0)
            ax.errorbar(n, middle, bars, fmt="o", color=PALETTE[0], markersize=4, linewidth=1, label="measured (95 %)")
            ax.set(xscale="log", xlabel="Workers", xticks=n, xticklabels=n)
            ax.minorticks_off()
        axes[0].set(ylabel="Momentum of the mean", ylim=(-0.05, 1.05))
        axes[2].set(ylabel="Variance / noise variance", yscale="log")
        legend(axes[0])
        for color, number in zip(PALETTE[1:], [w for w in (4, 16) if w in n], strict=False):
            mine = [row for row in delays if row["workers"] == number]
            k = [row["delay"] for row in mine]
            axes[1].plot(k, [row["law"] for row in mine], color="black", linewidth=0.8, zorder=4)
            axes[1].plot(k, [row["share"] for row in mine], "o", color=color, markersize=2.5, label=f"{number} workers")
        axes[1].set(yscale="log", xlabel="Delay (updates)", ylabel="Share of updates", ylim=(1e-5, 1))
        legend(axes[1])
    return {"implicit_momentum.svg": figure}


def values(out: Path) -> dict:
    rows, table = read(out / "laws.csv"), []
    inside = lambda row: row["variance_low"] <= row["variance_law"] <= row["variance_high"]
    for row in rows:
        span = "{momentum:.4f} ({momentum_low:.4f} to {momentum_high:.4f})".format(**row)
        told = "{variance:.4g} ({variance_low:.4g} to {variance_high:.4g})".format(**row)
        cells = [row["workers"], span, f"{row['momentum_law']:.4f}", f"{row['mean_delay']:.3f}"]
        table.append([*cells, told + ("" if inside(row) else ", outside"), f"{row['variance_law']:.4g}"])
    heads = ["workers", "momentum of the mean (95 %)", "1 - 1/n", "mean delay", "variance (95 %)", "law"]
    return {
        "table": markdown(heads, table),
        "far": f"{max(abs(row['momentum'] - row['momentum_law']) for row in rows):.4f}",
        "inside": f"{sum(map(inside, rows))} of {len(rows)}",
        "step": STEP,
        "most": rows[-1]["workers"],
        "times": f"{rows[-1]['variance'] / rows[0]['variance']:.1f}",
    }


if __name__ == "__main__":
    options = tyro.cli(Options, description=__doc__)
    experiment(__file__, options, measure, figures, values)
