"""Workers with data of their own and different speeds: Ringleader ASGD, IA2SGD and Malenia SGD over simulated time.

Claim     Where 100 workers hold different labels and the slowest needs 100 times the fastest's seconds, Ringleader ASGD
          is fastest in ||grad f||^2 over time, IA2SGD is hurt by old gradients in its table, Malenia SGD wastes
          gradients, and asynchronous SGD is biased. Tested: do intervals separate when all are tuned alike?
Command   python experiments/heterogeneous.py         (MNIST if JAXASGD_DATA has it, else scikit-learn's digits)
Cost      about 3 minutes on 2 CPU cores; --quick about 20 seconds.
Expected  loss in the last quarter of 8000 s: 0.15 (asynchronous), 0.26 (IA2SGD), 0.38 (Malenia with stops), 0.46
          (synchronous), 0.50 (Ringleader), 0.55 (Malenia). The claim does not hold in this setting.

Setting: 10 000 images of MNIST, 14 x 14 pixels (means of 2 x 2), split among 100 workers by Dirichlet(0.1), f the mean
of the workers' objectives; an MLP 196-32-10; a gradient is that of 4 samples; seconds of worker i: h + |N(0, h)|, h a
permutation of 1 ... 100. A seed draws the split, the permutation, the start and the samples.
Reference: A. Maranjyan, P. Richtarik, ICLR 2026, arXiv 2509.22860 (Ringleader ASGD; its figures on MNIST); A. Tyurin,
P. Richtarik, NeurIPS 2023, arXiv 2305.12387 (Malenia SGD).
Differs from the paper: fewer and smaller images and a hidden layer of 32 for 128, less time, fewer seeds; learning
rates are chosen by the loss; synchronous, asynchronous and Rescaled ASGD are there too, and Malenia SGD that stops late
jobs.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import tyro
from common import best_rate, draw_tuning, experiment, markdown, pick, plus_minus, ranking, read, tuned, write
from scipy.stats import spearmanr

import jaxasgd as ja
from jaxasgd.colours import looks
from jaxasgd.figures import STYLE, pyplot, tidy
from jaxasgd.results import interval

BATCH, ALPHA = 4, 0.1
STOPPED = "Malenia SGD with stops"


def methods(workers, quick=False):
    """Label -> function of a learning rate."""
    made = {
        "Ringleader ASGD": ja.methods.ringleader,
        "IA2SGD": ja.methods.ia2sgd,
        "Malenia SGD": lambda lr: ja.methods.malenia(lr, batch=workers),
        STOPPED: lambda lr: ja.methods.malenia(lr, batch=workers, stale="restart"),
        "synchronous SGD": ja.methods.sync_sgd,
        "asynchronous SGD": ja.methods.asgd,
        "Rescaled ASGD": ja.methods.rescaled_asgd,
    }
    return dict(list(made.items())[: 4 if quick else None])  # what is left out saves compiling


NAMES = {STOPPED: "Malenia SGD"}
GRID = [2.0**k for k in range(-10, 3)]
LEVELS = (1.0, 0.5)  # of the loss
WORK = ("updates", "gradients", "wasted", "oldest")
METRICS = {"square": "‖∇f‖²", "loss": "Loss", "test_accuracy": "Test accuracy"}


@dataclasses.dataclass
class Options:
    """Ringleader ASGD, IA2SGD, Malenia SGD, synchronous and asynchronous SGD on heterogeneous data."""

    out: Path = Path("results/heterogeneous")
    """Folder for the CSV files, README.md, heterogeneous.svg and tuning.svg."""
    seeds: int = 6
    """Independent repetitions: of the split, the workers' speeds, the start, the seconds and the samples."""
    seconds: float = 8000.0
    """Of each run."""
    quick: bool = False
    """Digits, 10 workers, few seconds, for tests."""
    redraw: bool = False
    """Only figures and page, from the CSV files that are there."""


def images(quick):
    """Training and test images of few pixels, with their labels, and the name of the set."""
    data = ja.problems.images("digits" if quick else "mnist")
    if data.name != "mnist":
        return (data.X, data.y), (data.X_test, data.y_test), data.name
    small = lambda X: X.reshape(-1, 14, 2, 14, 2).mean((2, 4)).reshape(-1, 196)
    return (small(data.X[:10_000]), data.y[:10_000]), (small(data.X_test), data.y_test), data.name


def setting(train, test, workers, hidden, seed):
    """The problem and the clock that belong to a seed."""
    shards = ja.problems.shard(train[1], workers, how="dirichlet", alpha=ALPHA, seed=seed)
    problem = ja.problems.mlp(*train, hidden=(hidden,), batch_size=BATCH, shards=shards, test=test)
    h = 1.0 + np.random.default_rng(seed).permutation(workers)
    return problem, ja.times.half_normal(h, np.sqrt(h))


def measure(options):
    workers, hidden, seeds, seconds, looks_at = 100, 32, range(options.seeds), options.seconds, 40
    grid, tuning = GRID, [100, 101]
    if options.quick:
        workers, hidden, seeds, seconds, looks_at, grid, tuning = 10, 8, range(2), 150.0, 4, GRID[3::3], [100]
    train, test, name = images(options.quick)
    made = methods(workers, options.quick)
    problem, times = setting(train, test, workers, hidden, 100)
    ways = {"until": seconds, "how": "threads"}
    also = ("gradient_norm", "test_accuracy")
    rates = tuned(problem, times, made, grid, "loss", options.out, seeds=tuning, also=also, **ways)
    chosen = {label: make(rates[label]) for label, make in made.items()}
    lines, ends = [], []
    for seed in seeds:
        problem, times = setting(train, test, workers, hidden, seed)
        found = ja.sweep(problem, times, chosen, seeds=[seed], points=looks_at, target_gradient_norm=1e-30, **ways)
        table = found.comparison()
        for label in chosen:
            lines += (mine := curves(table, label, seed, np.linspace(0.0, seconds, looks_at + 1)))
            schedule = ja.simulate(chosen[label], times, until=seconds, seed=seed)
            ends.append(end_of(mine, rates[label], schedule))
    write(options.out / "curves.csv", lines, digits=4)
    write(options.out / "ends.csv", ends)
    told = {"data": name, "images": len(train[1]), "workers": workers, "hidden": hidden, "seconds": seconds}
    write(options.out / "setting.csv", [told | {"seeds": len(seeds), "slowest": float(times.mean.max())}])


def curves(table, label, seed, times):
    """One row a look."""
    columns = {name: table.curves(label, name, "time", times)[1][0] for name in ("loss", "test_accuracy")}
    columns |= {"square": table.curves(label, "gradient_norm", "time", times)[1][0] ** 2}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return [{"method": label, "seed": seed, "time": t} | row for t, row in zip(times, rows, strict=True)]


def end_of(lines, rate, schedule):
    """What a run did with its gradients, and where it came to: the means of its last quarter."""
    late = lines[-(len(lines) // 4) :]
    ages = schedule.tags.get("delay", schedule.delay)
    row = {"method": lines[0]["method"], "learning_rate": rate, "seed": lines[0]["seed"]}
    row |= {"updates": schedule.num_updates, "gradients": len(schedule.time)}
    row |= {"wasted": schedule.summary()["wasted"], "oldest": float(np.mean(ages[schedule.step]))}
    return row | {metric: float(np.mean([line[metric] for line in late])) for metric in METRICS}


# ------------------------------------------------------------------- figures


def bands(rows, metric):
    """Times, and median and quartiles over seeds."""
    times = sorted({row["time"] for row in rows})
    values = np.array([[row[metric] for row in pick(rows, time=time)] for time in times])
    return np.array(times), *np.quantile(values, [0.5, 0.25, 0.75], axis=1)


def figures(out):
    lines = read(out / "curves.csv")
    style = looks(dict.fromkeys(row["method"] for row in lines), NAMES)
    with pyplot().rc_context(STYLE):
        figure, axes = pyplot().subplots(1, 3, figsize=(7.0, 2.7), layout="constrained")
        for ax, (metric, label) in zip(axes, METRICS.items(), strict=True):
            tidy(ax)
            for method, look in style.items():
                times, middle, low, high = bands(pick(lines, method=method), metric)
                ax.fill_between(times, low, high, color=look["color"], alpha=0.15, linewidth=0)
                ax.plot(times, middle, linewidth=1.2, **look)
            ax.set(xlabel="Simulated seconds", title=label, xlim=(0, times[-1]))
            if metric != "test_accuracy":
                ax.set_yscale("log")
            if metric == "loss":
                ax.set_yticks([t for t in (0.1, 0.2, 0.5, 1, 2, 5) if ax.get_ylim()[0] <= t <= ax.get_ylim()[1]])
                ax.yaxis.set_major_formatter("{x:g}")
                ax.minorticks_off()
        line = pyplot().Line2D
        handles = [line([], [], label=method, linewidth=1.2, **look) for method, look in style.items()]
        figure.legend(handles=handles, loc="outside upper center", ncols=4, borderaxespad=0.5)
    tuning = draw_tuning(out / "tuning.csv", NAMES)
    return {"heterogeneous.svg": figure, "tuning.svg": tuning}


# ------------------------------------------------------------------- the page


def reached(lines, method, level):
    """Seconds until the loss is first at a level, one number a seed; nan where it never is."""
    found = []
    for seed in sorted({row["seed"] for row in lines}):
        mine = pick(lines, method=method, seed=seed)
        found.append(next((row["time"] for row in mine if row["loss"] <= level), np.nan))
    return np.array(found)


def told(found):
    """Mean with its interval, or how many seeds missed."""
    missed = int(np.isnan(found).sum())
    return plus_minus(found) if not missed else f"missed by {missed} of {len(found)}"


def values(out):
    lines, ends, about = read(out / "curves.csv"), read(out / "ends.csv"), read(out / "setting.csv")[0]
    rows, work, last, speed, did = [], [], {}, {}, {}
    for method in dict.fromkeys(row["method"] for row in ends):
        mine = pick(ends, method=method)
        last[method] = {metric: [row[metric] for row in mine] for metric in METRICS}
        did[method] = {
            name: np.mean([row[name] for row in mine]) for name in ("updates", "gradients", "wasted", "oldest")
        }
        did[method]["rate"] = rate = mine[0]["learning_rate"]
        pace = did[method]["updates"] / about["seconds"]
        speed[method] = rate * pace
        cells = [plus_minus(last[method][metric]) for metric in METRICS]
        rows.append([method, f"{rate:.4g}", *cells, *(told(reached(lines, method, level)) for level in LEVELS)])
        work.append([method, *(f"{did[method][name]:.0f}" for name in ("updates", "gradients"))])
        ages = (did[method]["oldest"], did[method]["oldest"] / pace)
        work[-1] += [f"{did[method]['wasted']:.0%}", *(f"{age:.0f}" for age in ages), f"{speed[method]:.2g}"]
    heads = ["method", "learning rate", "‖∇f‖²", "loss", "test accuracy", *(f"seconds to loss {x:g}" for x in LEVELS)]
    counted = ["method", "updates", "gradients", "seconds wasted", "oldest gradient (updates)", "the same (seconds)"]
    ranks = {metric: {m: interval(last[m][metric]) for m in last} for metric in METRICS}
    errors = {m: interval([1 - share for share in last[m]["test_accuracy"]]) for m in last}
    table, dead = trap(read(out / "tuning.csv"))
    ours, other = did["Ringleader ASGD"], did["IA2SGD"]
    return about | {
        "table": markdown(heads, rows),
        "work": markdown([*counted, "learning rate × updates a second"], work),
        "by_loss": ranking(ranks["loss"]),
        "by_square": ranking(ranks["square"]),
        "by_error": ranking(errors),
        "by_speed": " > ".join(sorted(speed, key=speed.get, reverse=True)),
        "spearman": spearmanr([-speed[m] for m in last], [np.mean(last[m]["loss"]) for m in last]).statistic,
        "verdict": verdict(last),
        "slots": other["oldest"] / ours["oldest"],
        "rate": ours["rate"],
        "other_rate": other["rate"],
        "more": other["updates"] / ours["updates"],
        "wasted": did["Malenia SGD"]["wasted"],
        "wasted_stopped": did[STOPPED]["wasted"],
        "malenia": compared(ranks["loss"][STOPPED], ranks["loss"]["Malenia SGD"]),
        "biased": bias_text(last),
        "trap": table,
        "dead": dead,
        "of": len(last),
    }


def bias_text(last):
    """Whether asynchronous SGD is held back by its bias: beside the method that is the same without it."""
    if "Rescaled ASGD" not in last:
        return ""
    mine, other = (last[name]["loss"] for name in ("asynchronous SGD", "Rescaled ASGD"))
    said, better = ratio(mine, other)
    text = f"The bias of asynchronous SGD: its loss over that of Rescaled ASGD, which has none, is {said}. "
    if better != "better":
        return text
    return text + (
        "So the bias is not what counts here, and the long steps of slow workers cost more than it. A network that can "
        "fit the data of all workers at once does not care much who is heard how often. Where it can't, the bias is "
        "there, and as predicted: see [dispatch](../dispatch/README.md)."
    )


def verdict(last):
    """Ringleader ASGD over each of the others, in pairs of the same seed: geometric means with 95 % intervals."""
    mine, rows = "Ringleader ASGD", []
    for other in last:
        if other != mine:
            pairs = (ratio(last[mine][metric], last[other][metric]) for metric in ("loss", "square"))
            rows.append([other, *(": ".join(pair) for pair in pairs)])
    return markdown(["Ringleader ASGD over", "loss", "‖∇f‖²"], rows)


def ratio(mine, other):
    """A ratio with its interval as text, and whether it is below 1."""
    middle, low, high = np.exp(interval(np.log(mine) - np.log(other)))
    said = "better" if high < 1 else "worse" if low > 1 else "the interval holds 1"
    return f"{middle:.2f} ({low:.2f} to {high:.2f})", said


def compared(mine, other):
    """Whether the first is lower, with intervals apart."""
    return "lower" if mine[2] < other[1] else "higher" if mine[1] > other[2] else "intervals overlap"


def trap(rows):
    """What would have been taken by ||grad f||^2 instead of the loss: a table, and how many networks were dead."""
    lines, dead = [], 0
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = pick(rows, method=method)
        cells = [method]
        for of in ("final_loss", "final_gradient_norm"):
            rate = best_rate(mine, of)
            there = pick(mine, learning_rate=rate)
            mean = lambda name, there=there: np.mean([row[name] for row in there])
            square = np.mean([row["final_gradient_norm"] ** 2 for row in there])
            cells += [f"{rate:.4g}", f"{square:.2g}", f"{mean('final_loss'):.3g}", f"{mean('final_test_accuracy'):.2f}"]
        dead += mean("final_test_accuracy") < 0.2
        lines.append(cells)
    heads = ["‖∇f‖²", "loss", "test accuracy"]
    return markdown(["method", "best by loss", *heads, "best by ‖∇f‖²", *heads], lines), dead


def main(options: Options):
    experiment(__file__, options, measure, figures, values)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
