"""Who gets the next job, where workers' data differ: the bias of pure dispatch, predicted, and two ways around it.

Claim     Asynchronous SGD whose workers start again at once (pure) goes to a stationary point of sum_i p_i f_i, p_i in
          proportion to 1 / h_i; so its ||grad f|| ends at a number that is known beforehand. Random and shuffled
          dispatch have no bias, shuffled the lower floor, at the pace of the slowest worker; longer steps for slow
          workers (rescaled) have none at the pace of pure.
Command   python experiments/dispatch.py              (w8a if JAXASGD_DATA has it, else scikit-learn's breast_cancer)
Cost      about 3 minutes on 2 CPU cores; --quick about 15 seconds.
Expected  ||grad f|| at the weighted point 0.0387, the floor of pure 0.0384 at step 2^-7; over 8 clocks and orders of
          the workers at most 2.6 % apart. Tuned, after 500 updates 0.0083 (shuffled), 0.014 (random), 0.015 (rescaled),
          0.041 (pure); after 300 s 0.013 (rescaled), 0.024 (shuffled), 0.035 (random), 0.037 (pure).

Setting: every fourth row of w8a in the order of the file (12 430 rows, half of the paper's w7a), cut into 10 equal
parts, one a worker: all 370 positives are with one worker, the fastest. Logistic loss + 0.1 sum x^2 / (1 + x^2), a
gradient is that of the worker's whole part, x starts at ones, 500 updates, seconds of worker i: 1 + |N(i, i^2)|, i = 1
to 10, steps 2^1 to 2^-10. References: R. Islamov, M. Safaryan, D. Alistarh, AISTATS 2024, arXiv 2310.20452 (AsGrad);
A. Mahran, A. Maranjyan, P. Richtarik, 2026, arXiv 2605.13434 (rescaled; bias of pure).
Differs from the paper: w8a for w7a; seconds are not rounded to whole ones; jobs at a busy worker wait in a queue and
use that worker's own data (see `ja.methods.random_asgd`); several seeds.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from common import draw_tuning, experiment, markdown, pick, plus_minus, ranking, read, tuned, write
from scipy.optimize import minimize

import jaxasgd as ja
from jaxasgd.colours import GREY, INK, looks
from jaxasgd.figures import STYLE, pyplot, tidy
from jaxasgd.results import interval

WORKERS, PENALTY, UPDATES, SECONDS = 10, 0.1, 500, (150, 300)
METHODS = {
    "pure": ja.methods.pure_asgd,
    "random": ja.methods.random_asgd,
    "shuffled": ja.methods.shuffled_asgd,
    "rescaled": ja.methods.rescaled_asgd,
}
NAMES = {name: f"{name} asynchronous SGD" for name in METHODS} | {"rescaled": "Rescaled ASGD"}
GRID = [2.0**-k for k in range(-1, 11)]
STEPS = [2.0**-k for k in range(1, 8)]  # of the floors
NORM = {"target_gradient_norm": 1e-30}  # never reached; asks for the metric
LAWS = {
    "1 + |N(h, h²)|": lambda h: ja.times.folded_normal(h, h, 1.0),
    "h": ja.times.fixed,
    "Poisson(h) + 1": lambda h: ja.times.poisson(h, 1.0),
    "U(0, h) + 1": lambda h: ja.times.uniform(np.ones(len(h)), h + 1),
}
PAPER = next(iter(LAWS))
ORDERS = {"fastest": 1, "slowest": -1}  # who holds the positives


@dataclasses.dataclass
class Options:
    """Pure, random, shuffled and rescaled dispatch on heterogeneous data."""

    out: Path = Path("results/dispatch")
    """Folder for the CSV files, README.md, dispatch.svg and tuning.svg."""
    seeds: int = 10
    """Independent repetitions (of the seconds and of the dispatch)."""
    quick: bool = False
    """A small version on breast_cancer, for tests."""
    redraw: bool = False
    """Only figures and page, from the CSV files that are there."""


def parts(quick):
    """Features [workers, rows, d] and labels [workers, rows], the positives first; and the name of the set."""
    home = ja.problems.folder()
    if quick or home is None or not (home / "libsvm" / "w8a.gz").is_file():
        X, y, _, _, name = ja.problems.sklearn_set("breast_cancer", test_fraction=0)
        y = ja.problems.binary_labels(y)
        first = np.argsort(-y, kind="stable")
        X, y = X[first], y[first]
    else:
        X, y = ja.problems.libsvm(home / "libsvm" / "w8a.gz", num_features=300)
        X, y, name = X[::4], y[::4], "w8a"
    rows = len(y) // WORKERS
    return X[: WORKERS * rows].reshape(WORKERS, rows, -1), y[: WORKERS * rows].reshape(WORKERS, rows), name


def loss(x, batch):
    """Logistic loss with a bounded penalty."""
    X, y = batch
    return jnp.mean(jax.nn.softplus(-y * (X @ x))) + PENALTY * jnp.sum(x**2 / (1 + x**2))


def problem_of(X, y, start):
    """A sample is the whole part of a worker: gradients without noise."""
    return ja.problems.from_loss(loss, jnp.full(X.shape[-1], start), (X, y), shards=[[i] for i in range(WORKERS)])


def weighted(X, y, shares):
    """x -> sum_i shares_i f_i and its gradient, in float64 and NumPy."""
    X, y = X.astype(np.float64), y.astype(np.float64)

    def value_and_gradient(x):
        z = -y * (X @ x)
        slope = np.einsum("nm,nmd->nd", -y / (1 + np.exp(-z)), X) / y.shape[1]
        square = x**2
        value = shares @ np.logaddexp(0, z).mean(1) + PENALTY * np.sum(square / (1 + square))
        return value, shares @ slope + PENALTY * 2 * x / (1 + square) ** 2

    return value_and_gradient


def predicted(X, y, times):
    """||grad f|| where sum_i p_i f_i is stationary, p_i in proportion to 1 / h_i, and how stationary it is there."""
    shares = 1 / times.mean / np.sum(1 / times.mean)
    found = minimize(weighted(X, y, shares), np.ones(X.shape[-1]), jac=True, method="BFGS", options={"gtol": 1e-9})
    norm = np.linalg.norm(weighted(X, y, np.full(WORKERS, 1 / WORKERS))(found.x)[1])
    return {"predicted": norm, "left": np.linalg.norm(found.jac), "fast_share": shares.max()}


def clock(law, order="fastest"):
    return LAWS[law](np.arange(1.0, WORKERS + 1)[:: ORDERS[order]])


def curves(table, axis, points):
    """Geometric mean of ||grad f|| along an axis, and the interval of its logarithm."""
    rows = []
    for method in table.methods:
        x, values = table.curves(method, "gradient_norm", axis, points)
        band = zip(x, *spread(values), strict=True)
        rows += [{"axis": axis, "method": method, "x": a, "mean": m, "low": lo, "high": hi} for a, m, lo, hi in band]
    return rows


def floor_rows(problem, methods, law, order, steps, seeds):
    """The mean ||grad f|| over the last third of runs of 60 / step updates, one number a seed."""
    rows = []
    for step in steps:
        updates = int(60 / step)
        found = ja.sweep(problem, clock(law, order), methods, {"learning_rate": [step]}, num_updates=updates,
                         seeds=seeds, evaluate=updates // 60, how="threads", **NORM)  # fmt: skip
        for one in found.members:
            late = one.columns["gradient_norm"][one.columns["update"] >= 2 * updates / 3]
            who = {"method": one.method, "law": law, "order": order, "learning_rate": step, "seed": one.seed}
            rows.append(who | {"floor": float(late.mean())})
    return rows


def measure(options):
    out, seeds = options.out, 2 if options.quick else options.seeds
    updates, seconds = (100, (100,)) if options.quick else (UPDATES, SECONDS)
    X, y, name = parts(options.quick)
    problem, near, times = problem_of(X, y, 1.0), problem_of(X, y, 0.0), clock(PAPER)
    lines, ends = [], []
    for axis, end in (("update", updates), *(("time", end) for end in seconds)):
        told = {"num_updates": end} if axis == "update" else {"until": float(end)}
        folder = out / f"{axis}-{end}"
        folder.mkdir(exist_ok=True)
        ways = {"seeds": [100, 101, 102, 103][: 2 * seeds - 2], "how": "threads"}
        rates = tuned(problem, times, METHODS, GRID, "gradient_norm", folder, **told, **ways)
        methods = {method: make(rates[method]) for method, make in METHODS.items()}
        table = ja.compare(problem, times, methods, seeds=seeds, points=100, **told, **NORM)
        lines += [{"end": end} | row for row in curves(table, axis, np.linspace(0, end, 101))]
        for run in table.runs:
            row = {"axis": axis, "end": end, "method": run.method, "learning_rate": rates[run.method]}
            pace = run.columns["update"][-1] / run.columns["time"][-1]
            row |= {"seed": run.seed, "gradient_norm": run.columns["gradient_norm"][-1], "updates_a_second": pace}
            ends.append(row)
    write(out / "curves.csv", lines, digits=4)
    write(out / "ends.csv", ends)
    steps = STEPS[:2] if options.quick else STEPS
    floors = floor_rows(near, METHODS, PAPER, "fastest", steps, seeds)
    foreseen, laws = [], list(LAWS)[: 1 if options.quick else None]
    for law in laws:
        for order in ORDERS:
            if (law, order) != (PAPER, "fastest"):
                pure = {"pure": METHODS["pure"]}
                floors += floor_rows(near, pure, law, order, steps[-2:-1], min(seeds, 5))
            foreseen.append({"law": law, "order": order} | predicted(X, y, clock(law, order)))
    write(out / "floors.csv", floors)
    write(out / "predicted.csv", foreseen)
    about = {"data": name, "rows": y.size, "features": X.shape[-1], "positives": int((y > 0).sum())}
    about |= {"with_first": int((y[0] > 0).sum()), "seeds": seeds}
    about |= {"pace_pure": float(np.sum(1 / times.mean)), "pace_slowest": WORKERS / float(times.mean.max())}
    write(out / "setting.csv", [about])


def figures(out):
    lines, floors, foreseen = (read(out / f"{name}.csv") for name in ("curves", "floors", "predicted"))
    bias = pick(foreseen, law=PAPER, order="fastest")[0]["predicted"]
    style = looks(METHODS, NAMES)
    with pyplot().rc_context(STYLE):
        figure, axes = pyplot().subplots(2, 2, figsize=(6.6, 4.9), layout="constrained")
        ends = columns(lines)
        for ax, (axis, end), label in zip(axes[0], ends, ("Updates", "Simulated seconds"), strict=False):
            for method, look in style.items():
                mine = pick(lines, axis=axis, end=end, method=method)
                x, mean, low, high = ([row[key] for row in mine] for key in ("x", "mean", "low", "high"))
                ax.fill_between(x, low, high, color=look["color"], alpha=0.15, linewidth=0)
                ax.plot(x, mean, linewidth=1.2, **look)
            ax.set(xlabel=label, xlim=(0, x[-1]))
        axes[0, 0].set_title("At equal updates")
        axes[0, 1].set_title("At equal seconds")
        ours = pick(floors, law=PAPER, order="fastest")
        for method, look in style.items():
            steps, mean, low, high = floor_line(pick(ours, method=method))
            half = [mean - low, high - mean]
            axes[1, 0].errorbar(steps, mean, half, marker=".", markersize=4, linewidth=1.1, elinewidth=0.8, **look)
        axes[1, 0].set(xscale="log", xlabel="Step", title="Floors")
        for ax in axes.flat[:3]:
            tidy(ax)
            ax.axhline(bias, color=GREY, linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
            ax.set(yscale="log", ylabel="‖∇f‖")
        draw_agreement(axes[1, 1], floors, foreseen)
        for ax in axes.flat:
            ax.set_title(ax.get_title(loc="left"), pad=6)
        line = pyplot().Line2D
        handles = [line([], [], label=method, linewidth=1.2, **look) for method, look in style.items()]
        handles += [line([], [], color=GREY, linewidth=0.8, linestyle=(0, (2, 2)), label="predicted bias of pure")]
        figure.legend(handles=handles, loc="outside upper center", ncols=5, borderaxespad=0.5)
    with pyplot().rc_context(STYLE):
        tuning, sides = pyplot().subplots(1, len(ends), figsize=(7.0, 2.7), layout="constrained", sharey=True)
        for side, (axis, end) in zip(sides, ends, strict=True):
            draw_tuning(out / f"{axis}-{end}" / "tuning.csv", NAMES, side)
            side.set(xlabel=f"Step, for {ending(axis, end)}", ylabel="" if side is not sides[0] else "Final ‖∇f‖")
    return {"dispatch.svg": figure, "tuning.svg": tuning}


def columns(rows):
    """The different (axis, end), in order."""
    return list(dict.fromkeys((row["axis"], row["end"]) for row in rows))


def ending(axis, end):
    return f"{end} updates" if axis == "update" else f"{end} s"


def draw_agreement(ax, floors, foreseen):
    """Measured floor of pure over the predicted one, for every law and order."""
    tidy(ax)
    for (order, marker), fill in zip(zip(ORDERS, "o^", strict=True), ("none", "full"), strict=True):
        rows = agreement(floors, pick(foreseen, order=order))
        x, mean, low, high = (np.array([row[key] for row in rows]) for key in ("predicted", "mean", "low", "high"))
        color = looks(["pure"], NAMES)["pure"]["color"]
        ax.errorbar(x, mean, [mean - low, high - mean], fmt=marker, color=color, markersize=4, linewidth=0.8,
                    fillstyle=fill, label=f"{order} worker has the positives")  # fmt: skip
    seen = [row[key] for row in agreement(floors, foreseen) for key in ("predicted", "mean")]
    ends = np.array([0.8 * min(seen), 1.25 * max(seen)])
    ax.plot(ends, ends, color=INK, linewidth=0.8, zorder=1)
    ax.set(xscale="log", yscale="log", xlabel="Predicted ‖∇f‖", ylabel="Floor of pure", title="Four laws of seconds")
    ax.set(xlim=ends, ylim=ends)
    ticks = [t for t in (0.01, 0.02, 0.03, 0.04, 0.06, 0.1, 0.2) if ends[0] <= t <= ends[1]]
    ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
    ax.set_yticks(ticks, [f"{t:g}" for t in ticks])
    ax.minorticks_off()
    ax.legend(loc="upper left")


def floor_line(rows):
    """Steps, and geometric mean and interval of the floors of one method."""
    steps = sorted({row["learning_rate"] for row in rows})
    found = [spread([row["floor"] for row in pick(rows, learning_rate=step)]) for step in steps]
    return np.array(steps), *np.array(found).T


def spread(values):
    """Geometric mean, and the 95 % interval of the logarithm."""
    return np.exp(interval(np.log(values)))


def agreement(floors, foreseen):
    """Predictions beside the floor of pure at the step that all laws have."""
    step = next(row["learning_rate"] for row in floors if row["order"] == "slowest")
    rows = []
    for one in foreseen:
        mine = pick(floors, method="pure", law=one["law"], order=one["order"], learning_rate=step)
        mean, low, high = interval([row["floor"] for row in mine])
        rows.append(one | {"mean": mean, "low": low, "high": high, "step": step})
    return rows


def values(out):
    ends, floors, foreseen = (read(out / f"{name}.csv") for name in ("ends", "floors", "predicted"))
    told = read(out / "setting.csv")[0]
    table, last, stops = [], {}, columns(ends)
    for method in METHODS:
        cells = [method]
        for axis, end in stops:
            mine = pick(ends, axis=axis, end=end, method=method)
            norms = [row["gradient_norm"] for row in mine]
            last[axis, end, method] = spread(norms)
            cells += [f"{mine[0]['learning_rate']:g}", plus_minus(norms)]
        pace = plus_minus([row["updates_a_second"] for row in mine])
        bound = told["pace_pure"] if method in ("pure", "rescaled") else told["pace_slowest"]
        table.append([*cells, pace, f"{'' if method in ('pure', 'rescaled') else 'at most '}{bound:.3g}"])
    heads = ["dispatch", *(head for stop in stops for head in ("step", f"‖∇f‖ after {ending(*stop)}"))]
    heads += ["updates a second", "predicted"]
    ours = pick(floors, law=PAPER, order="fastest")
    lines = {method: floor_line(pick(ours, method=method)) for method in METHODS}
    steps = lines["pure"][0]
    rows = [
        [f"{step:g}", *("{:.3g} ({:.3g} to {:.3g})".format(*(part[i] for part in lines[m][1:])) for m in METHODS)]
        for i, step in enumerate(steps)
    ]
    compared = agreement(floors, foreseen)
    laws = []
    for one in compared:
        span = f"{one['mean']:.4g} ({one['low']:.4g} to {one['high']:.4g})"
        law = one["law"].replace("|", "\\|")
        laws.append([law, one["order"], f"{one['predicted']:.4g}", span, f"{one['mean'] / one['predicted']:.3f}"])
    bias = pick(foreseen, law=PAPER, order="fastest")[0]
    ratio = lines["pure"][1] / bias["predicted"]
    below = lambda low, high: int(np.sum(lines[low][3] < lines[high][2]))  # at how many steps, intervals apart
    heads_of_laws = ["seconds of worker h", "worker with the positives", "predicted", "measured", "ratio"]
    first = [last[*stops[0], method] for method in ("shuffled", "random")]
    found = {
        "table": markdown(heads, table),
        "floors": markdown(["step", *METHODS], rows),
        "laws": markdown(heads_of_laws, laws),
        "law_step": compared[0]["step"],
        "settings": len(compared),
        "inside": sum(one["low"] <= one["predicted"] <= one["high"] for one in compared),
        "off": max(abs(one["mean"] / one["predicted"] - 1) for one in compared),
        "large": steps[-1],
        "large_ratio": ratio[-1],
        "small": steps[0],
        "small_ratio": ratio[0],
        "steps": len(steps),
        "not_below": ", ".join(f"{a:g}" for a in steps[lines["random"][3] >= lines["pure"][2]]) or "none",
        "apart": "apart" if first[0][2] < first[1][1] else "not apart",
        "ranks": "; ".join(f"after {ending(*s)} {ranking({m: last[*s, m] for m in METHODS})}" for s in stops),
        "first": ending(*stops[0]),
        "second": ending(*stops[1]),
        "slopes": ", ".join(f"{slope(lines[m]):.2f} ({m})" for m in ("random", "shuffled", "rescaled")),
    }
    return told | bias | found | {f"{low}_{high}": below(low, high) for low in METHODS for high in METHODS}


def slope(line):
    """Of log floor over log step, by least squares."""
    return float(np.polyfit(np.log(line[0]), np.log(line[1]), 1)[0])


def main(options: Options):
    experiment(__file__, options, measure, figures, values)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
