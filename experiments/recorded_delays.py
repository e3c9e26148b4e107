"""Delays measured in real runs with 8 workers: steps for the delay there is, against steps for the largest one.

Claim     Typical delays are far below the largest. Steps that adapt to every update's own delay (Adaptive 1 and 2 of Wu
          et al.) need fewer updates than the fixed step h / (L (largest delay + 1/2)), and need not know the largest
          delay; how many fewer follows from the delays alone, as the sum of the steps.
Command   python experiments/recorded_delays.py       (JAXASGD_DATA has delays/ and a9a; else both are stand-ins)
Cost      about 2 minutes on 2 CPU cores; --quick about 15 seconds.
Expected  Updates to the loss at which the fixed step ends, fixed over Adaptive 1 and over Adaptive 2: 2.6 and 2.1 on
          the delays of PIAG on RCV1, 2.2 and 1.7 on those of BCD on MNIST, 1.8 and 1.5 on those of BCD on CIFAR-100;
          the predictions differ by 3 % at most.

Setting: logistic regression with (weight/2) ||x||^2, weight = 1e-3, on a9a. PIAG: 8 workers with equal i.i.d. shards,
the whole shard in every gradient, and the measured ages of the table's entries. Asynchronous block-coordinate descent
(BCD): every update changes one of 8 blocks, drawn at random, along the whole gradient at the measured delay. h = 0.99,
alpha = 0.9. L^2 is the mean of the squared smoothness constants of the workers' losses (PIAG), or |M| max_b |M_bb|, a
bound on how much the gradient changes with one block (BCD); M = X'X / 4m + weight I, which no Hessian exceeds.

Source: X. Wu, S. Magnusson, H. R. Feyzmahdavian, M. Johansson, ICML 2022, arXiv 2202.08550, and the delays of its
experiments (github.com/xuyangwu/Delay-data: MPI, 8 workers on 10 cores). The step sizes are as commonly quoted. Differs
from the paper: other data, no l1 term, and all blocks are read at one version.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from common import experiment, markdown, pick, read, write

import jaxasgd as ja
from jaxasgd import schedules
from jaxasgd.figures import DASHES, INK, PALETTE, STYLE, TEXT, legend, looks, numbers, pyplot, tidy
from jaxasgd.results import interval

WORKERS, BLOCKS, H, ALPHA, WEIGHT = 8, 8, 0.99, 0.9, 1e-3
FILES = {"PIAG, RCV1": "PIAG_sun_RCV1", "BCD, MNIST": "BCD_Davis_MNIST", "BCD, CIFAR-100": "BCD_Adaptive1_CIFAR100"}
PUBLISHED = {"Adaptive 1": "asynchronous SGD, Adaptive 1", "Adaptive 2": "asynchronous SGD, Adaptive 2"}
STEPS = {"fixed": {"color": INK, "linestyle": "-"}} | looks(PUBLISHED, PUBLISHED)


@dataclasses.dataclass
class Options:
    """Delays measured in real runs with 8 workers: adaptive steps against a fixed one."""

    out: Path = Path("results/recorded_delays")
    """Folder for the results; what an earlier run wrote there is replaced."""
    seeds: int = 3
    """Independent draws of the blocks; the intervals are over these."""
    quick: bool = False
    """A small version, for tests."""
    redraw: bool = False
    """Only the figure and the page, from the numbers there are."""


def measure(options: Options):
    home = ja.problems.folder()
    measured = home is not None and (home / "delays").is_dir() and (home / "libsvm" / "a9a.gz").is_file()
    most = 300 if options.quick else None
    recorded = recordings(home, most) if measured else simulations(most or 1000)
    X, y = samples(home if measured else None, 2000 if options.quick else None)
    least, settings = minimum(X, y), {"PIAG": shards_of(X, y), "BCD": blocks_of(X, y)}
    seeds, rows, curves = 2 if options.quick else options.seeds, [], {}
    for name, schedule in recorded.items():
        kind = name.split(",")[0]
        problem, smoothness = settings[kind]
        delay = delays_of(schedule)
        for steps in STEPS:
            rate = H / smoothness / (delay.max() + 0.5 if steps == "fixed" else 1)
            losses = []
            for seed in range(1 if kind == "PIAG" else seeds):
                rule = piag(steps, rate) if kind == "PIAG" else descent(steps, rate)
                table = schedule if kind == "PIAG" else with_blocks(schedule, seed)
                history = ja.run(problem, table, rule, key=jax.random.key(0), evaluate=max(len(delay) // 50, 1))
                losses.append(np.asarray(history.loss, np.float64) - least)
            curves[name, steps] = history.update, np.array(losses)
            rows.append(ratio(name, steps, delay, curves))
            print("  ".join(f"{k} {v}" for k, v in rows[-1].items()), flush=True)
    counted = {name: np.bincount(delays_of(schedule)) for name, schedule in recorded.items()}
    share = [
        {"delays": name, "delay": k, "share": count / counts.sum()}
        for name, counts in counted.items()
        for k, count in enumerate(counts)
    ]
    looks = [
        {"delays": name, "steps": steps, "seed": seed, "update": u, "excess_loss": e}
        for (name, steps), (update, excess) in curves.items()
        for seed, one in enumerate(excess)
        for u, e in zip(update, one, strict=True)
    ]
    write(options.out / "ratios.csv", rows, digits=3)
    write(options.out / "curves.csv", looks, digits=5)
    write(options.out / "delays.csv", share, digits=4)


# ------------------------------------------------------------------ delays


def recordings(home, most) -> dict:
    """name -> schedule, from the measured delays."""
    read = lambda file: schedules.read_delays(home / "delays" / f"{file}.csv")[:most]
    return {name: schedules.from_delays(read(file)) for name, file in FILES.items()}


def simulations(num_updates) -> dict:
    """A stand-in where there are no files: 8 workers with lognormal times."""
    times = ja.times.lognormal(1.0, sigma=0.5, num_workers=WORKERS)
    table, single = (
        ja.simulate(policy(), times, num_updates=num_updates) for policy in (ja.policies.aggregated, ja.policies.asgd)
    )
    return {"PIAG, simulated": table, "BCD, simulated": schedules.from_delays(single.delay)}


def delays_of(schedule):
    """The delay of every update; of a table, the age of its oldest entry."""
    return schedule.tags.get("delay", schedule.delay)[schedule.step].astype(int)


def shares(delay, steps):
    """Step sizes in units of h / L, as the rules have them, one by one from the delays alone."""
    if steps == "fixed":
        return np.full(len(delay), 1 / (delay.max() + 0.5))
    out = []
    for t, d in enumerate(delay.tolist()):
        room, share = max(1 - sum(out[t - d :]), 0.0), 1 / (d + 1)
        out.append(ALPHA * room if steps == "Adaptive 1" else share * (share <= room + 1e-6))
    return np.array(out)


# ------------------------------------------------------------------ problem and methods


def samples(home, most):
    """a9a, or a small set that is on every machine; as many as can be split evenly."""
    if home is None:
        data = ja.problems.sklearn_set("breast_cancer", test_fraction=0)
        X, y = data.X, data.y
    else:
        X, y = ja.problems.libsvm(home / "libsvm" / "a9a.gz", num_features=123)
    number = len(y[:most]) // WORKERS * WORKERS
    return X[:number], ja.problems.binary_labels(y)[:number]


def loss(x, batch):
    features, labels = batch
    return jnp.mean(jax.nn.softplus(-labels * (features @ x))) + WEIGHT / 2 * x @ x


def curvature(X):
    """X'X / 4m + weight I, which no Hessian of the loss exceeds."""
    X = X.astype(np.float64)
    return X.T @ X / (4 * len(X)) + WEIGHT * np.eye(X.shape[1])


def minimum(X, y) -> float:
    """The least loss, by Newton's method in float64."""
    X, y, x = X.astype(np.float64), y.astype(np.float64), np.zeros(X.shape[1])
    for _ in range(12):
        wrong = 1 / (1 + np.exp(y * (X @ x)))
        hessian = (X.T * (wrong * (1 - wrong))) @ X / len(X) + WEIGHT * np.eye(len(x))
        x -= np.linalg.solve(hessian, WEIGHT * x - X.T @ (y * wrong) / len(X))
    return float(np.logaddexp(0, -y * (X @ x)).mean() + WEIGHT / 2 * x @ x)


def shards_of(X, y):
    """Every worker its own part of the samples, all of it in each gradient; and L."""
    shards = ja.problems.shard(len(y), WORKERS, how="iid")
    smoothness = [np.linalg.norm(curvature(X[shard]), 2) for shard in shards]
    problem = ja.problems.from_loss(loss, jnp.zeros(X.shape[1]), (X, y), batch_size=None, shards=shards)
    return problem, math.sqrt(np.mean(np.square(smoothness)))


def block_of(size):
    """Which block a coordinate is in."""
    return np.arange(size) * BLOCKS // size


def blocks_of(X, y):
    """The gradient of the whole loss; and L, for changes of one block: M = R'R has |R' R_b|^2 <= |M| |M_bb|."""
    most, block = curvature(X), block_of(X.shape[1])
    largest = max(np.linalg.norm(most[block == b][:, block == b], 2) for b in range(BLOCKS))
    problem = ja.problems.from_loss(loss, jnp.zeros(X.shape[1]), (X, y), batch_size=None)
    return problem, math.sqrt(np.linalg.norm(most, 2) * largest)


def with_blocks(schedule, seed):
    """The schedule with a block drawn for every update."""
    drawn = np.random.default_rng(seed).integers(0, BLOCKS, len(schedule))
    return dataclasses.replace(schedule, tags={"block": drawn})


def one_block():
    """u <- the part of u in the block that the row's tag names."""

    def update(updates, state, params=None, *, block, **extra):
        return jnp.where(block_of(len(updates)) == block, updates, 0), state

    return optax.GradientTransformationExtraArgs(optax.init_empty_state, update)


def piag(steps, rate):
    word = {"fixed": "constant", "Adaptive 1": "adaptive1", "Adaptive 2": "adaptive2"}[steps]
    return ja.methods.piag(rate, steps=word, alpha=ALPHA)


def descent(steps, rate):
    """Block-coordinate descent."""
    scale = {
        "fixed": optax.identity,
        "Adaptive 1": lambda: ja.rules.scale_by_adaptive1(ALPHA),
        "Adaptive 2": ja.rules.scale_by_adaptive2,
    }[steps]
    return optax.chain(scale(), one_block(), optax.sgd(rate))


# ------------------------------------------------------------------ what came out


def ratio(name, steps, delay, curves) -> dict:
    """Updates to the loss at which the fixed step ends, fixed over adaptive; and what the sums of steps predict."""
    share, whole = shares(delay, steps), np.cumsum(shares(delay, "fixed"))[-1]
    predicted = len(delay) / np.interp(whole, np.cumsum(share), np.arange(1, len(delay) + 1), right=np.nan)
    ratios = [len(delay) / reached(curves, name, steps, seed) for seed in range(len(curves[name, steps][1]))]
    mean, low, high = (math.exp(v) for v in interval(np.log(ratios)))
    row = {"delays": name, "steps": steps, "mean_delay": delay.mean(), "largest_delay": delay.max()}
    row |= {"mean_step": share.mean(), "predicted": predicted, "measured": mean, "low": low, "high": high}
    return row | {"final_excess_loss": curves[name, steps][1][:, -1].mean()}


def reached(curves, name, steps, seed) -> float:
    """The update at which the loss is that at which the fixed step ends (nan: never); log-linear between looks."""
    update, excess = curves[name, steps]
    best = np.maximum.accumulate(-np.log(excess[seed]))
    return np.interp(-np.log(level(curves, name)[seed]), best, update, right=np.nan)


def level(curves, name):
    """Where the fixed step ends, for every seed."""
    return curves[name, "fixed"][1][:, -1]


def figures(out: Path) -> dict:
    rows, curves, shares, plt = read(out / "ratios.csv"), curves_of(out), read(out / "delays.csv"), pyplot()
    names = list(dict.fromkeys(row["delays"] for row in rows))
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(2, 2, figsize=(6.4, 4.6), layout="constrained")
        first, *others = axes.flat
        tidy(first)
        for name, color, dash in zip(names, PALETTE, DASHES, strict=False):
            share = np.array([row["share"] for row in pick(shares, delays=name)])
            mean, last, known = share @ np.arange(len(share)), len(share) - 1, share > 0
            label = f"{name}{': oldest entry' if 'PIAG' in name else ''}, mean {mean:.3g}"
            look = {"color": color, "markersize": 4}
            first.plot(np.arange(len(share))[known], share[known], linestyle=dash, marker=".", label=label, **look)
            first.plot([last], [0.97], "v", transform=first.get_xaxis_transform(), markerfacecolor="none", **look)
        first.set(xlabel="Delay (updates; triangles: the largest)", ylabel="Share of updates", yscale="log")
        legend(first)
        for name, ax in zip(names, others, strict=False):
            tidy(ax)
            panel(ax, name, rows, curves)
            ax.sharey(others[0])
        excess = np.concatenate([excess.ravel() for _, excess in curves.values()])
        others[0].set_ylim(0.7 * excess.min(), 1.3 * excess.max())
        others[0].legend(loc="upper right", title="Steps (n×: so many times\nsooner than fixed)", alignment="left")
        for ax in others[len(names) :]:
            ax.remove()
    return {"recorded_delays.svg": figure}


def curves_of(out: Path) -> dict:
    """(delays, steps) -> (updates, excess losses [seeds, looks])."""
    rows, curves = read(out / "curves.csv"), {}
    for name, steps in dict.fromkeys((row["delays"], row["steps"]) for row in rows):
        mine = pick(rows, delays=name, steps=steps)
        seeds = sorted({row["seed"] for row in mine})
        excess = [[row["excess_loss"] for row in pick(mine, seed=seed)] for seed in seeds]
        curves[name, steps] = np.array([row["update"] for row in pick(mine, seed=0)]), np.array(excess)
    return curves


def panel(ax, name, rows, curves):
    """The loss above its minimum with the three steps, and how much sooner the level of the fixed one is reached."""
    line = math.exp(np.log(level(curves, name)).mean())
    ax.axhline(line, color="0.5", linewidth=0.6, linestyle=(0, (2, 3)))
    for row in (row for row in rows if row["delays"] == name):
        look, (update, excess) = STEPS[row["steps"]], curves[name, row["steps"]]
        color = look["color"]
        mean, low, high = (np.exp(v) for v in interval(np.log(excess)))
        ax.fill_between(update, low, high, color=color, alpha=0.2, linewidth=0)
        ax.plot(update, mean, linewidth=1.2, label=row["steps"], **look)
        if row["steps"] != "fixed":
            place, left = update[-1] / float(row["measured"]), row["steps"] == "Adaptive 1"
            ax.plot([place, place], [1e-9, line], color=color, linewidth=0.6, linestyle=(0, (2, 3)))
            ax.plot(place, line, "o", color=color, markersize=3)
            ax.annotate(
                f"{float(row['measured']):.2g}×",
                (place, 0.03),
                (-3 if left else 3, 0),
                xycoords=ax.get_xaxis_transform(),
                textcoords="offset points",
                fontsize=TEXT,
                ha="right" if left else "left",
            )
    ax.set(yscale="log", xlim=(0, update[-1]), xlabel="Updates", ylabel="Loss − minimum", title=f"Delays of {name}")
    numbers(ax.xaxis, update[-1])


def values(out: Path) -> dict:
    rows, table = read(out / "ratios.csv"), []
    seeds = max(len(excess) for _, excess in curves_of(out).values())
    for r in rows:
        told = ("delays", "steps", "mean_delay", "largest_delay", "mean_step", "predicted", "measured")
        span = "" if math.isnan(r["low"]) or r["low"] == r["high"] else f"{r['low']} to {r['high']}"
        table.append([*(r[name] for name in told), span, r["final_excess_loss"]])
    heads = [
        "delays",
        "steps",
        "mean delay",
        "largest",
        "mean step",
        "predicted",
        "measured",
        "interval",
        "final excess loss",
    ]
    adaptive = [row for row in rows if row["steps"] != "fixed"]
    of = lambda steps: [row["measured"] for row in pick(rows, steps=steps)]
    stand_in = "**Stand-ins**: no recorded delays and no a9a here; delays are simulated, the data is breast_cancer. "
    return {
        "table": markdown(heads, table),
        "seeds": seeds,
        "stand_in": stand_in * any("simulated" in row["delays"] for row in rows),
        "one": f"{min(of('Adaptive 1')):.2g} to {max(of('Adaptive 1')):.2g}",
        "two": f"{min(of('Adaptive 2')):.2g} to {max(of('Adaptive 2')):.2g}",
        "off": f"{max(abs(row['measured'] / row['predicted'] - 1) for row in adaptive):.1%}",
    }


if __name__ == "__main__":
    options = tyro.cli(Options, description=__doc__)
    experiment(__file__, options, measure, figures, values)
