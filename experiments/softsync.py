"""n-softsync: how late gradients are with 30 learners, and what dividing each step by its delay saves.

Claim     With learners of about equal speed the delays under n-softsync average n and stay below 2 n; at the learning
          rate of synchronous SGD, 15- and 30-softsync diverge with a fixed step and match it where each gradient is
          divided by its delay. (The paper's claim; with momentum it holds here at smaller rates only.)
Command   python experiments/softsync.py
Cost      about 3 minutes on 2 CPU cores; --quick about 15 seconds.
Expected  mean delays 0.97, 14.5 and 29 for n = 1, 15, 30, none above 2 n (exponential times: 8 to 13 % above). Momentum
          0.9: at the best rate of synchronous SGD, 1.28 (error 4.9 %), all n-softsync runs fail, divided or not; at
          0.08 divided ones have its 9 % and fixed ones fail. Without momentum divided ones match it at its best rate.

Setting: 30 learners, Gamma times with coefficient of variation 0.1 (delays: exponential ones too), MNIST with pixels
averaged two by two, a 196-64-10 network, batches of 128 a learner of all samples, momentum 0.9, as many gradients
for every method. Reference: W. Zhang, S. Gupta, X. Lian, J. Liu, IJCAI 2016, arXiv 1511.05950.

Differs from the paper: MNIST and a small network instead of CIFAR-10 and a convolutional one, no drops of the learning
rate; every method is also shown at the learning rate best for it, and without momentum.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import common
import numpy as np
import optax
import tyro
from common import Error, draw_tuning, markdown, paired, pick, plus_minus, read, seeds_of, small_images, write
from flax import linen
from stability import limit

import jaxasgd as ja
from jaxasgd.figures import DASHES, INK, PALETTE, STYLE, pyplot, tidy
from jaxasgd.problems.nets import classifier
from jaxasgd.results import interval

LEARNERS, SPLITS, BATCH = 30, (1, 15, 30), 128
GRID = [0.00125 * 2**k for k in range(12)]
MOMENTA, LOOKS = (0.9, 0.0), 8  # looks at each run
CLOSE, CHANCE = 0.02, 0.9  # of the test error: what counts as the same; that of a run that has diverged
SYNC = "synchronous SGD"
LAWS = {
    "gamma": lambda n: ja.times.gamma(1.0, cv=0.1, num_workers=n),
    "exponential": lambda n: ja.times.exponential(1.0, num_workers=n),
}


@dataclasses.dataclass
class Options:
    """n-softsync: delays, and steps divided by the delay."""

    out: Path = Path("results/softsync")
    """Folder for the CSV files, README.md and the figures."""
    seeds: int = 5
    """Independent repetitions; the intervals are over these."""
    gradients: int = 3600
    """Of each run, a multiple of 240."""
    arrivals: int = 60_000
    """Gradients of each schedule whose delays are counted."""
    quick: bool = False
    """A small version on scikit-learn's digits, for tests."""
    redraw: bool = False
    """Figures and page again, from the CSV files."""


# ------------------------------------------------------------------- delays


def staleness(options, seeds, learners, splits):
    """Shares of the delays under both laws, and their mean, maximum and tail, a row a seed."""
    shares, rows = [], []
    for law, times in LAWS.items():
        for n in splits:
            size, method, seen, told = learners // n, ja.methods.softsync_sgd(0.1, n), [], {"law": law, "splits": n}
            for seed in range(seeds):
                late = ja.simulate(method, times(learners), num_updates=options.arrivals // size, seed=seed).delay
                row = told | {"seed": seed, "exact": (learners - 1) / size, "mean": late.mean()}
                rows.append(row | {"largest": late.max(), "beyond": np.mean(late > 2 * n)})
                seen.append(late)
            found = zip(*np.unique(np.concatenate(seen), return_counts=True), strict=True)
            shares += [told | {"delay": k, "share": c / sum(map(len, seen))} for k, c in found]
    return shares, rows


# ------------------------------------------------------------------- training


def make_problem(quick):
    data = small_images(quick)
    module = linen.Sequential([linen.Dense(64), linen.relu, linen.Dense(10)])
    given = {"batch_size": BATCH, "loss_samples": 1000, "metrics": {"error": Error(module)}}
    return classifier(module, data.X, data.y, test=(data.X_test, data.y_test), **given), data.name


def methods(momentum, splits):
    """label -> function of a learning rate."""
    with_momentum = lambda method, rate, **parts: dataclasses.replace(method, rule=optax.sgd(rate, momentum), **parts)
    softsync = ja.methods.softsync_sgd
    made = {SYNC: lambda rate: with_momentum(ja.methods.sync_sgd(rate), rate)}
    for n in splits:
        made[f"{n}-softsync, α₀"] = lambda rate, n=n: with_momentum(softsync(rate, n), rate, arrival=None)
        made[f"{n}-softsync, α₀ / τ"] = lambda rate, n=n: with_momentum(softsync(rate, n), rate)
    return made


def measure(options):
    learners, splits, seeds, gradients, momenta = LEARNERS, SPLITS, options.seeds, options.gradients, MOMENTA
    rates = GRID
    if options.quick:
        learners, splits, seeds, gradients, momenta, rates = 6, (3,), 2, 240, (0.9,), GRID[4::3]
        options = dataclasses.replace(options, arrivals=3000)
    shares, late = staleness(options, seeds, learners, splits)
    write(options.out / "delays.csv", shares)
    write(options.out / "late.csv", late)
    (problem, data), times, rows, curves = make_problem(options.quick), LAWS["gamma"](learners), [], []
    epochs = np.linspace(0, gradients, LOOKS + 1) * BATCH / problem.describe()["samples"]
    for momentum in momenta:
        made = methods(momentum, splits)
        updates = {name: gradients // learners * (1 if name == SYNC else int(name.split("-")[0])) for name in made}
        folder = options.out / f"momentum-{momentum:g}"
        folder.mkdir(exist_ok=True)
        ends, first = {"points": LOOKS, "how": "threads"}, {"num_updates": updates, "seeds": [100, 101]}
        best = common.tuned(problem, times, made, rates, "test_error", folder, **first, **ends)
        safe = largest_alike(read(folder / "tuning.csv"), splits)
        print(momentum, safe, best, flush=True)
        for name, make in made.items():
            taken = {"sync": best[SYNC], "safe": safe, "own": best[name]}
            grid = {"rate": list(dict.fromkeys(taken.values()))}
            found = ja.sweep(problem, times, {name: make}, grid, num_updates=updates[name], seeds=seeds, **ends)
            for at, member in ((at, m) for at in taken for m in found.members if m.numbers["rate"] == taken[at]):
                who = {"momentum": momentum, "method": name, "at": at, "seed": member.seed}
                rows.append(who | end_of(member) | {"data": data})
                curves += [] if at == "own" else [who | look for look in looks_of(member, epochs)]
    write(options.out / "runs.csv", rows)
    write(options.out / "curves.csv", curves, digits=4)


def largest_alike(rows, splits) -> float:
    """The largest learning rate at which all divided by their delay (of 2 and more) are as good as synchronous SGD."""
    alike = []
    for rate in sorted({row["learning_rate"] for row in rows}):
        mean = lambda name: np.mean([row["final_test_error"] for row in pick(rows, method=name, learning_rate=rate)])
        far = max(mean(f"{n}-softsync, α₀ / τ") - mean(SYNC) for n in splits if n > 1)
        alike += [rate] if mean(SYNC) < 0.5 and far < CLOSE else []
    return max(alike, default=min(row["learning_rate"] for row in rows))


def end_of(member) -> dict:
    last, gone = member.row(), member.status == "diverged"
    told = {"learning_rate": member.numbers["rate"], "diverged": gone, "error": CHANCE if gone else last["test_error"]}
    return told | {"seconds": last["time"]}


def looks_of(member, epochs) -> list[dict]:
    """Test errors on the way; from where a run has diverged, that of guessing."""
    error = member.columns["test_error"][np.isfinite(member.columns["loss"])].tolist()
    error += [CHANCE] * (len(epochs) - len(error))
    return [{"epochs": at, "error": e} for at, e in zip(epochs, error, strict=True)]


# ------------------------------------------------------------------- figures


def look_of(rows) -> dict:
    """A colour for each number of updates a round, dots where the step is fixed."""
    colors = {SYNC: INK, "30": PALETTE[0], "15": PALETTE[1]}
    dashes = lambda name: DASHES[2] if name.endswith("₀") else DASHES[0]
    names = dict.fromkeys(row["method"] for row in rows)
    return {n: {"color": colors.get(n.split("-soft")[0], PALETTE[3]), "linestyle": dashes(n)} for n in names}


def draw_delays(ax, shares, n):
    tidy(ax, grid="y")
    of = lambda law: zip(*((row["delay"], row["share"]) for row in pick(shares, law=law, splits=n)), strict=True)
    ax.bar(*of("gamma"), width=0.8, color=PALETTE[0], label="Gamma times, V = 0.1")
    ax.plot(*of("exponential"), color=PALETTE[1], marker=".", markersize=3, linewidth=1, label="exponential times")
    ax.axvline(2 * n, color=INK, linestyle=DASHES[1], linewidth=0.8, label="2 n, the paper's bound")
    ax.set(title=f"Delays, {n}-softsync", xlabel="Delay τ (updates)", ylabel="Share of gradients")
    ax.set_xlim(-0.7, 4.5 * n if n < 5 else 3 * n)


def draw_curves(ax, curves, rate, title):
    tidy(ax)
    for name, line in look_of(curves).items():
        mine = pick(curves, method=name)
        epochs = sorted({row["epochs"] for row in mine})
        mean, low, high = interval([[row["error"] for row in pick(mine, seed=s)] for s in seeds_of(mine)])
        ax.plot(epochs, mean, linewidth=1.1, label=name, **line)
        ax.fill_between(epochs, np.maximum(low, 1e-3), high, color=line["color"], alpha=0.15, linewidth=0)
    lowest = 0.7 * min(row["error"] for row in curves)
    ax.set(title=f"{title}, α₀ = {rate:g}", xlabel="Epochs", yscale="log", ylabel="Test error", ylim=(lowest, 1.1))


def draw(out):
    plt, shares, rows = pyplot(), read(out / "delays.csv"), read(out / "runs.csv")
    curves = pick(read(out / "curves.csv"), momentum=MOMENTA[0])
    splits = sorted({row["splits"] for row in shares})
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(7.0, 5.0), layout="constrained")
        top, below = figure.subfigures(2, 1, height_ratios=(1, 1.35))
        axes = top.subplots(1, len(splits), squeeze=False)[0]
        for ax, n in zip(axes, splits, strict=True):
            draw_delays(ax, shares, n)
        common.legend_below(top, axes[0], 3)
        axes = below.subplots(1, 3)
        for ax, at, title in zip(axes, ("sync", "safe"), ("Best for synchronous", "Smaller"), strict=False):
            draw_curves(ax, pick(curves, at=at), rate_at(rows, at), title)
        draw_rates(axes[2], out, MOMENTA[0])
        common.legend_below(below, axes[0], 4)
    return figure


def draw_rates(ax, out, momentum):
    path = out / f"momentum-{momentum:g}" / "tuning.csv"
    draw_tuning(path, ax=ax, look=look_of(read(path)))
    ax.get_legend().remove()
    ax.set(xlabel="Learning rate α₀", ylabel="Final test error", ylim=(None, 1.1))
    ax.set_title(f"After all epochs, momentum {momentum:g}")


def draw_both(out):
    plt = pyplot()
    momenta = [m for m in MOMENTA if (out / f"momentum-{m:g}").exists()]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(momenta), figsize=(7.0, 2.9), layout="constrained", squeeze=False)
        for ax, momentum in zip(axes[0], momenta, strict=True):
            draw_rates(ax, out, momentum)
        common.legend_below(figure, axes[0][0], 4)
    return figure


def figures(out):
    return {"softsync.svg": draw(out), "tuning.svg": draw_both(out)}


# ------------------------------------------------------------------- page


def rate_at(rows, at, momentum=MOMENTA[0]) -> float:
    return pick(rows, momentum=momentum, method=SYNC, at=at)[0]["learning_rate"]


def errors(rows, method, at, momentum=MOMENTA[0]) -> np.ndarray:
    """In %, a seed an entry."""
    return 100 * np.array([row["error"] for row in pick(rows, momentum=momentum, method=method, at=at)])


def learns_up_to(rows, method) -> float:
    """The largest learning rate of the grid with which a method gets below half the samples wrong."""
    rates = {row["learning_rate"] for row in pick(rows, method=method)}
    mean = lambda rate: np.mean([row["final_test_error"] for row in pick(rows, method=method, learning_rate=rate)])
    return max((rate for rate in rates if mean(rate) < 0.5), default=float("nan"))


def delay_table(rows) -> str:
    lines = []
    for law, n in dict.fromkeys((row["law"], row["splits"]) for row in rows):
        mine = pick(rows, law=law, splits=n)
        cells = [plus_minus([row["mean"] for row in mine]), f"{mine[0]['exact']:.3g}"]
        cells += [max(row["largest"] for row in mine), f"{100 * np.mean([row['beyond'] for row in mine]):.2g} %"]
        lines.append([law, n, *cells])
    return markdown(["law", "n", "mean delay", "exact: 29 / c", "largest", "more than 2 n"], lines)


def error_table(rows, momentum) -> str:
    rates = {at: rate_at(rows, at, momentum) for at in ("sync", "safe")}
    ats, lines = ["sync", "safe"] if rates["sync"] != rates["safe"] else ["sync"], []
    for name in dict.fromkeys(row["method"] for row in rows):
        told = [plus_minus(errors(rows, name, at, momentum)) for at in (*ats, "own")]
        own = pick(rows, momentum=momentum, method=name, at="own")
        lines.append([name, *told, f"{own[0]['learning_rate']:g}", f"{np.mean([row['seconds'] for row in own]):.0f}"])
    heads = [
        "method",
        *(f"error % at α₀ = {rates[at]:g}" for at in ats),
        "at its own best",
        "that is",
        "simulated seconds",
    ]
    return markdown(heads, lines)


def limit_table(tuning, splits) -> str:
    """Predicted and measured: the largest rate over that of synchronous SGD."""
    lines = []
    for momentum, rows in tuning.items():
        sync = learns_up_to(rows, SYNC)
        for n in splits:
            delay = int(np.ceil((LEARNERS - 1) / (LEARNERS // n)))
            bound = limit(delay, momentum) / limit(0, momentum)
            for name, predicted in ((f"{n}-softsync, α₀", bound), (f"{n}-softsync, α₀ / τ", bound * delay)):
                found = learns_up_to(rows, name) / sync
                lines.append([f"{momentum:g}", name, delay, f"{predicted:.2g}", f"{found:.2g}"])
    return markdown(["momentum", "method", "delay", "predicted", "measured"], lines)


def failing(rows, at, momentum=MOMENTA[0]) -> str:
    """Which methods get more than half of the samples wrong, in words."""
    names = dict.fromkeys(row["method"] for row in rows)
    return "; ".join(name for name in names if errors(rows, name, at, momentum).mean() > 50) or "none"


def beside(rows, pairs, at, momentum=MOMENTA[0]) -> str:
    """How far apart the errors of each pair of methods are, in points."""
    words, found = {1: "is worse than", 0: "is not to be told from", -1: "is better than"}, []
    for one, other in pairs:
        sign, numbers = paired(errors(rows, one, at, momentum), errors(rows, other, at, momentum))
        found.append(f"{one} {words[sign]} {other}, {numbers}")
    return "; ".join(found)


def notice(rows, fixed, divided) -> str:
    """What the last panel shows, if it does."""
    reach = {name: learns_up_to(rows, name) for name in (*fixed, *divided, SYNC)}
    together = max(reach[name] for name in divided) <= 2 * min(reach[name] for name in divided) < 4 * reach[SYNC]
    earlier = [reach[name] for name in fixed] == sorted((reach[name] for name in fixed), reverse=True)
    end = "solid lines reach about as far to the right for every n, dotted ones less far the larger n is"
    return f"What to notice: {end}; black reaches farthest." if together and earlier else ""


def values(out):
    late, rows, curves = (read(out / f"{name}.csv") for name in ("late", "runs", "curves"))
    splits, seeds = sorted({row["splits"] for row in late}), len(seeds_of(rows))
    momenta = list(dict.fromkeys(row["momentum"] for row in rows))
    tuning = {m: read(out / f"momentum-{m:g}" / "tuning.csv") for m in momenta}
    fixed, divided = ([f"{n}-softsync, α₀{end}" for n in splits] for end in ("", " / τ"))
    pairs = [(name, SYNC) for name in divided]
    gamma, slow = (pick(late, law=law) for law in LAWS)
    bounded = max(row["largest"] / row["splits"] for row in gamma) <= 2
    told = {name: error_table(rows, momentum) for name, momentum in (("errors", momenta[0]), ("plain", momenta[-1]))}
    told |= {"delays": delay_table(late), "limits": limit_table(tuning, splits), "seeds": seeds, "close": 100 * CLOSE}
    told["off"] = f"{100 * max(abs(row['mean'] / row['exact'] - 1) for row in late):.1f}"
    told["beyond"] = f"{100 * np.mean([row['beyond'] for row in slow if row['splits'] > 1]):.0f}"
    told |= {"bound": "holds" if bounded else "does not hold", "epochs": max(row["epochs"] for row in curves)}
    for name, at, m in (("sync", "sync", momenta[0]), ("safe", "safe", momenta[0]), ("plain", "sync", momenta[-1])):
        told |= {f"rate_{name}": rate_at(rows, at, m), f"failing_{name}": failing(rows, at, m)}
        told[f"beside_{name}"] = beside(rows, [pair for pair in pairs if not pair[0].startswith("1-")], at, m)
    told |= {"fair": beside(rows, zip(divided, fixed, strict=True), "own"), "best": beside(rows, pairs, "own")}
    lost = lambda name: [pair[0] in told[f"failing_{name}"] for pair in pairs if not pair[0].startswith("1-")]
    so = "So it is momentum that the claim depends on, as the next section explains."
    told["so"] = so if all(lost("sync")) and not any(lost("plain")) else ""
    return told | {"notice": notice(tuning[momenta[0]], fixed, divided), "data": rows[0]["data"]}


def main(options: Options):
    common.experiment(__file__, options, measure, figures, values)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
