"""How many workers to wait for: time to an accuracy over K, when a round closes with the first K of n gradients.

Claim     A K-sync update takes as long as the K-th order statistic of the n workers' times, and 1 + q/K says how many
          are needed at tuned learning rates. Their product says how many workers to wait for: about half under Pareto
          times with tail index 1.5, over 90 % where times vary by a few percent, and one where they are exponential.
Command   python experiments/backups.py                (MNIST if JAXASGD_DATA has it, else scikit-learn's digits)
Cost      about 3 minutes on 2 CPU cores; --quick about 17 seconds.
Expected  least times at K = 15, 15 (Pareto, tail index 1.5 and 2.5), 29 (24) and 1 (exponential), predicted 15, 18, 29
          and 1; updates within 11 % of c (1 + q/K), q about 20; waiting for all takes 11, 3.3, 1.0 and 9.7 times.

Setting: an MLP with one hidden layer of 32 ReLUs, 32 workers that draw mini-batches of 4 from all images, times of mean
1 s, the late jobs stopped when a round closes. The level is a test accuracy, reached when the mean of three looks in a
row is there. Order statistics: x Gamma(n+1) Gamma(n-K+1-1/a) / (Gamma(n-K+1) Gamma(n+1-1/a)) for Pareto times with the
least value x and tail index a, and 1/n + ... + 1/(n-K+1) for exponential ones of mean 1.

References: J. Chen, X. Pan, R. Monga, S. Bengio, R. Jozefowicz, 2016, arXiv 1604.00981 (backup workers; of 100
machines 96 were best); S. Dutta, G. Joshi, S. Ghosh, P. Dube, P. Nagpurkar, AISTATS 2018, arXiv 1803.01113 (K-sync).
Differs from the papers: simulated times; a small network; the learning rate is tuned for each K, where Chen et al.
scale it with K.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import tyro
from common import column, experiment, markdown, pick, plus_minus, read, seen, write
from scipy.special import gammaln

import jaxasgd as ja
from jaxasgd.advice_figure import logarithmic
from jaxasgd.figures import GREY, INK, PALETTE, STYLE, legend, pyplot, tidy
from jaxasgd.results import interval

NUM_WORKERS, BATCH, LEVEL = 32, 4, 0.85
WAIT_FOR = (1, 2, 4, 8, 12, 15, 18, 22, 26, 29, 31, 32)
RATES = np.geomspace(0.00625, 1.6, 13).round(5).tolist()
CLOCKS = {  # name: tail index
    "Pareto, tail index 1.5": 1.5,
    "Pareto, tail index 2.5": 2.5,
    "Pareto, tail index 24": 24.0,
    "exponential": None,
}
TUNING = (100, 101, 102)  # seeds
AVERAGED = 3  # looks


@dataclasses.dataclass
class Options:
    """Time to an accuracy over the number of workers waited for."""

    out: Path = Path("results/backups")
    """Folder for the CSV files, README.md and backups.svg."""
    seeds: int = 12
    """Runs of each K."""
    quick: bool = False
    """Digits, few K and seeds, for tests."""
    redraw: bool = False
    """Only the figures and the page, from the files that are there."""


# ------------------------------------------------------------------- what is run


def clock(alpha, num_workers=NUM_WORKERS):
    """Times of mean 1 s."""
    if alpha is None:
        return ja.times.exponential(1.0, num_workers=num_workers)
    return ja.times.pareto(1.0, alpha=alpha, num_workers=num_workers)


def image_problem(quick):
    data = ja.problems.images("digits" if quick else "mnist")
    test = (data.X_test[:1000], data.y_test[:1000])
    width = 16 if quick else 32
    return ja.problems.mlp(data.X, data.y, hidden=(width,), test=test, batch_size=BATCH, loss_samples=100)


def reached(member, level=LEVEL) -> dict:
    """Updates and seconds until the mean accuracy of a few looks in a row is at the level; nan: never."""
    accuracy = member.columns["test_accuracy"]
    mean = np.convolve(accuracy, np.full(AVERAGED, 1 / AVERAGED), "valid")
    passed = mean >= level
    at = int(passed.argmax()) + AVERAGED // 2
    value = lambda of: float(member.columns[of][at]) if passed.any() else math.nan
    return {"updates": value("update"), "seconds": value("time")}


def swept(problem, times, method, rates, seeds, number) -> list[dict]:
    """Runs of one method on one clock, and what `reached` says of each."""
    ends = {"num_updates": number, "evaluate": max(1, number // 120), "how": "threads"}
    found = ja.sweep(problem, times, {"one": method}, {"learning_rate": rates}, seeds=seeds, **ends)
    return [{"seed": member.seed, **member.numbers, **reached(member)} for member in found.members]


def on_clocks(rows, clocks, method, number) -> list[dict]:
    """The same runs on every clock: the same workers come first on all of them, only the seconds differ."""
    told = []
    for row in rows:
        schedules = {
            name: ja.simulate(method, times, num_updates=number, seed=row["seed"]) for name, times in clocks.items()
        }
        order = [schedule.worker for schedule in schedules.values()]
        assert all(np.array_equal(one, order[0]) for one in order)
        for name, schedule in schedules.items():
            ends = schedule.time[schedule.step]
            seconds = math.nan if math.isnan(row["updates"]) else ends[int(row["updates"]) - 1]
            told.append(row | {"clock": name, "seconds": seconds, "seconds_per_update": ends[-1] / number})
    return told


def best(rows) -> float:
    """The learning rate with the fewest updates on average; one that misses the level once is out."""
    mean = lambda rate: np.mean([row["updates"] for row in pick(rows, learning_rate=rate)])
    rates = sorted(seen(rows, "learning_rate"))
    return min(rates, key=lambda rate: (math.isnan(mean(rate)), mean(rate)))


def measure(options):
    problem = image_problem(options.quick)
    ks = (1, 32) if options.quick else WAIT_FOR
    rates = RATES[6:8] if options.quick else RATES
    clocks = {name: clock(alpha) for name, alpha in list(CLOCKS.items())[:: 3 if options.quick else 1]}
    seeds, tuning_seeds = (2, TUNING[:2]) if options.quick else (options.seeds, TUNING)
    length = lambda number: round((40 if options.quick else 70) * number)
    tuning, runs = [], []
    for k in ks:
        method = lambda learning_rate, k=k: ja.methods.k_sync_sgd(learning_rate, k=k)
        number = length(1 + 20 / k)
        found = swept(problem, clocks["exponential"], method, rates, tuning_seeds, number)
        tuning += [{"method": f"K = {k}", **row} for row in found]
        found = swept(problem, clocks["exponential"], method, [best(found)], seeds, number)
        runs += [{"k": k, **row} for row in on_clocks(found, clocks, method(0.1), number)]
    for name, times in clocks.items():
        number = length(52)
        found = swept(problem, times, ja.methods.asgd, rates, tuning_seeds, number)
        tuning += [{"method": f"ASGD, {name}", **row} for row in found]
        found = swept(problem, times, ja.methods.asgd, [best(found)], seeds, number)
        runs += [{"k": 0, **row} for row in on_clocks(found, {name: times}, ja.methods.asgd(0.1), number)]
    write(options.out / "tuning.csv", tuning)
    write(options.out / "runs.csv", runs)


# ------------------------------------------------------------------- what is predicted


def order_statistic(alpha, k, n=NUM_WORKERS) -> float:
    """Expected seconds until k of n jobs that begin together are done."""
    if alpha is None:
        return float((1 / np.arange(n - k + 1, n + 1)).sum())
    logs = gammaln(n + 1) + gammaln(n - k + 1 - 1 / alpha) - gammaln(n - k + 1) - gammaln(n + 1 - 1 / alpha)
    return float((alpha - 1) / alpha * np.exp(logs))


def law(rows) -> tuple[float, float]:
    """c and q of updates = c (1 + q/K), least squares of relative errors."""
    rows = [row for row in rows if row["k"] and math.isfinite(row["updates"])]
    k, updates = (column(rows, name) for name in ("k", "updates"))
    (c, slope), *_ = np.linalg.lstsq(np.stack([1 / updates, 1 / (k * updates)], axis=1), np.ones(len(k)))
    return float(c), float(slope / c)


def predicted(alpha, c, q) -> np.ndarray:
    """Seconds to the level for K = 1 ... n."""
    return np.array([c * (1 + q / k) * order_statistic(alpha, k) for k in range(1, NUM_WORKERS + 1)])


# ------------------------------------------------------------------- figures and page


def bars(ax, ks, samples, **look):
    """Means with 95 % intervals over seeds."""
    mean, low, high = np.array([interval(values) for values in samples]).T
    ax.errorbar(ks, mean, (mean - low, high - mean), linestyle="", markersize=2.8, elinewidth=0.8, **look)


MARKS = dict(zip(CLOCKS, zip(PALETTE, ("o", "s", "^", "D"), strict=False), strict=True))


def figures(out):
    rows, plt = read(out / "runs.csv"), pyplot()
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(7.0, 4.5), layout="constrained")
        top, below = figure.subfigures(2, 1)
        draw_parts(top.subplots(1, 2), rows)
        draw_times(below.subplots(1, len(CLOCKS), sharey=True), rows)
        line = lambda label, **look: plt.Line2D([], [], label=label, **{"linestyle": "", "color": INK, **look})
        marks = [line(name, color=color, marker=mark, markersize=3.5) for name, (color, mark) in MARKS.items()]
        marks.append(line("closed form", linestyle="-", linewidth=0.9))
        top.legend(handles=marks, loc="outside upper left", ncols=5, borderaxespad=0.6)
        told = [line("least by the closed form", marker="o", markersize=7, markerfacecolor="none")]
        told.append(line("asynchronous SGD", color=GREY, linewidth=0.9, linestyle="--"))
        below.legend(handles=told, loc="outside upper left", ncols=2, borderaxespad=0.6)
    return {"backups.svg": figure, "tuning.svg": draw_rates(read(out / "tuning.csv"))}


def draw_parts(axes, rows):
    """Seconds of an update, and updates to the level, over K."""
    every, (c, q) = np.arange(1, NUM_WORKERS + 1), law(rows)
    for name, (color, mark) in MARKS.items():
        mine = [row for row in pick(rows, clock=name) if row["k"]]
        ks, look = sorted(seen(mine, "k")), {"color": color, "marker": mark}
        if mine:
            bars(axes[0], ks, [column(pick(mine, k=k), "seconds_per_update") for k in ks], **look)
            axes[0].plot(every, [order_statistic(CLOCKS[name], k) for k in every], color=color, linewidth=0.9)
    bars(axes[1], ks, [column(pick(mine, k=k), "updates") for k in ks], color=INK, marker="o")
    axes[1].plot(every, c * (1 + q / every), color=INK, linewidth=0.9)
    titles = "Seconds of an update: the order statistic", f"Updates to accuracy {LEVEL:g}: {c:.0f} (1 + {q:.0f}/K)"
    for ax, title, label in zip(axes, titles, ("Simulated seconds", "Updates"), strict=True):
        tidy(ax)
        ax.set(yscale="log", xlabel=f"K, gradients waited for (of {NUM_WORKERS})", ylabel=label, title=title)
        logarithmic(ax.yaxis)


def draw_times(axes, rows):
    """Time to the level over K, on every clock."""
    every, (c, q) = np.arange(1, NUM_WORKERS + 1), law(rows)
    for ax, (name, (color, mark)) in zip(axes, MARKS.items(), strict=True):
        tidy(ax)
        mine, line = pick(rows, clock=name), predicted(CLOCKS[name], c, q)
        ax.plot(every, line, color=color, linewidth=0.9)
        at = int(line.argmin())
        ax.plot(every[at], line[at], "o", markersize=8, markerfacecolor="none", color=INK, markeredgewidth=0.8)
        if mine:
            ks = sorted(set(seen(mine, "k")) - {0})
            bars(ax, ks, [column(pick(mine, k=k), "seconds") for k in ks], color=color, marker=mark)
            mean, low, high = interval(column(pick(mine, k=0), "seconds"))
            ax.axhspan(low, high, color=GREY, alpha=0.25, linewidth=0)
            ax.axhline(mean, color=GREY, linewidth=0.9, linestyle="--")
        ax.set(yscale="log", xlabel="K", title=name, xlim=(-1.5, NUM_WORKERS + 1.5))
    axes[0].set_ylabel(f"Seconds to accuracy {LEVEL:g}")
    logarithmic(axes[0].yaxis)


def draw_rates(rows):
    """Updates to the level over the learning rate."""
    plt, names = pyplot(), seen(rows, "method")
    sync = [name for name in names if name.startswith("K")]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(7.0, 2.9), layout="constrained", sharey=True, sharex=True)
        colors = dict(zip(sync, plt.get_cmap("viridis")(np.linspace(0, 0.9, len(sync))), strict=True))
        colors |= {f"ASGD, {name}": color for name, (color, _) in MARKS.items()}
        for ax, shown in zip(axes, (sync, [name for name in names if name not in sync]), strict=True):
            tidy(ax)
            for name in shown:
                mine = pick(rows, method=name)
                rates = sorted(seen(mine, "learning_rate"))
                mean = [column(pick(mine, learning_rate=rate), "updates").mean() for rate in rates]
                ax.plot(rates, mean, ".-", markersize=4, linewidth=1.0, color=colors[name], label=name)
                at = rates.index(best(mine))
                ax.plot(rates[at], mean[at], "o", markersize=6, markerfacecolor="none", color=colors[name])
            ax.set(xscale="log", yscale="log", xlabel="Learning rate", xlim=(min(RATES) / 1.2, max(RATES) * 1.2))
            legend(ax, "Ringed: taken")
        axes[0].set_ylabel(f"Updates to accuracy {LEVEL:g}")
        logarithmic(axes[0].xaxis)
        logarithmic(axes[0].yaxis)
    return figure


def summary(rows, name, c, q) -> dict:
    """What one clock says."""
    alpha, mine = CLOCKS[name], pick(rows, clock=name)
    ks = sorted(set(seen(mine, "k")) - {0})
    seconds = {k: column(pick(mine, k=k), "seconds") for k in (0, *ks)}
    top = min(ks, key=lambda k: np.nan_to_num(seconds[k].mean(), nan=np.inf))
    alike = [k for k in ks if k == top or not interval(np.log(seconds[k] / seconds[top]))[1] > 0]
    line = predicted(alpha, c, q)
    near = min(ks, key=lambda k: abs(k - 1 - line.argmin()))
    ratio = lambda k: np.exp(np.array(interval(np.log(seconds[k] / seconds[top]))))
    return {
        "name": name, "best": top, "alike": alike, "predicted": int(line.argmin()) + 1, "near": near, "ratio": ratio,
        "limit": 1.0 if alpha is None else NUM_WORKERS * alpha / (1 + alpha), "seconds": seconds,
        "least": float(line.min()),
    }  # fmt: skip


def line_of(one) -> list:
    """A clock's line of the table."""
    span = lambda k: "{:.2f} ({:.2f} to {:.2f})".format(*one["ratio"](k))
    alike = f"{min(one['alike'])} to {max(one['alike'])}" if len(one["alike"]) > 1 else "none"
    cells = [one["name"], f"{one['limit']:.1f}", one["predicted"], one["best"], alike, f"{one['least']:.0f}"]
    return [*cells, plus_minus(one["seconds"][one["best"]]), span(one["near"]), span(NUM_WORKERS), span(0)]


def between(rows) -> str:
    rates = column(rows, "learning_rate")
    return f"{rates.min():.3g} to {rates.max():.3g}"


HEADS = ["times", "K if q is large", "K predicted", "K measured", "not told apart", "s predicted", "s measured"]
HEADS += ["K predicted over best", "waiting for all over best", "ASGD over best"]


def values(out):
    rows = read(out / "runs.csv")
    c, q = law(rows)
    found = [summary(rows, name, c, q) for name in seen(rows, "clock")]
    sync = [row for row in rows if row["k"]]
    ks, seeds = [sorted({row[name] for row in sync}) for name in ("k", "seed")]
    one = pick(sync, clock="exponential")
    off = {k: column(pick(one, k=k), "updates").mean() / (c * (1 + q / k)) - 1 for k in ks}
    pairs = [(name, k) for name in seen(sync, "clock") for k in ks]
    held = [
        interval(column(pick(sync, clock=name, k=k), "seconds_per_update") / order_statistic(CLOCKS[name], k))
        for name, k in pairs
    ]
    worst = max(range(len(pairs)), key=lambda i: abs(held[i][0] - 1))
    inside = [one for one in found if one["near"] in one["alike"]]
    outside = "; ".join(
        f"{one['name']} times, where K = {one['near']} takes {one['ratio'](one['near'])[0]:.2f} times the best"
        for one in found if one not in inside
    )  # fmt: skip
    late = {one["name"]: one["ratio"](0) for one in found}
    steady = next((one for one in found if CLOCKS[one["name"]] == 24.0), found[-1])
    return {
        "table": markdown(HEADS, [line_of(one) for one in found]),
        "seeds": len(seeds),
        "missed": sum(math.isnan(row["updates"]) for row in rows),
        "runs": len(rows),
        "q": plus_minus([law(pick(rows, seed=seed))[1] for seed in seeds]),
        "off": f"{max(map(abs, off.values())):.0%}",
        "off_at": max(off, key=lambda k: abs(off[k])),
        "covered": sum(low <= 1 <= high for _, low, high in held),
        "pairs": len(pairs),
        "worst": "{:.3f} ({:.3f} to {:.3f})".format(*held[worst]),
        "worst_at": "{} times, K = {}".format(*pairs[worst]),
        "inside": f"On {len(inside)} of the {len(found)} clocks" + (f" (not on {outside})" if outside else ""),
        "asgd_faster": "; ".join(name for name, (_, _, high) in late.items() if high < 1) or "none",
        "asgd_slower": "; ".join(name for name, (_, low, _) in late.items() if low > 1) or "none",
        "bests": ", ".join(str(one["best"]) for one in found),
        "predictions": ", ".join(str(one["predicted"]) for one in found),
        "exponential_best": found[-1]["best"],
        "asgd_rates": between(pick(rows, k=0)),
        "sync_rates": between(sync),
        "steady_best": f"{steady['predicted'] / NUM_WORKERS:.0%}",
        "steady_ratio": "{:.2f} ({:.2f} to {:.2f})".format(*steady["ratio"](NUM_WORKERS)),
        "steady_told": "gain" if steady["ratio"](NUM_WORKERS)[1] > 1 else "no certain gain",
    }


def main(options: Options):
    experiment(__file__, options, measure, figures, values)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
