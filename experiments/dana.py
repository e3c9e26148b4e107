"""DANA and its rivals over 1 to 32 workers: final accuracy, and the gap between where a gradient is made and applied.

Claim     With momentum and one learning rate for all numbers of workers, NAG-ASGD fails first, then DC-ASGD and
          Multi-ASGD, and DANA-Zero and DANA-DC degrade slowly; the gap of DANA is about that of asynchronous SGD
          without momentum, and that of NAG-ASGD far larger.
Command   python experiments/dana.py
Cost      about 10 minutes on 2 CPU cores; --quick about 15 seconds.
Expected  with one learning rate NAG-ASGD, DC-ASGD and Multi-ASGD stay within 2 points of one worker's accuracy up to 4
          workers, DANA up to 8, synchronous SGD up to 16; with 16 workers DANA-DC has 93.1 %, Multi-ASGD 61 %,
          NAG-ASGD 10 %. Tuned, with 32 workers: DANA 93.3 %, NAG-ASGD 90.9 %, synchronous SGD 93.9 %. Gap over that of
          asynchronous SGD: DANA 0.8 to 1.6, NAG-ASGD 4 to 13.

Setting: MNIST (pixels averaged two by two, 196-32-10 network), batches of 32 of all samples, momentum 0.9, Gamma times
with coefficient of variation 0.1, as many gradients for every number of workers, learning rates warmed up from 1/n of
themselves. Reference: I. Hakimi, S. Barkai, M. Gabel, A. Schuster, 2019, arXiv 1907.11612; Gap-Aware: S. Barkai,
I. Hakimi, A. Schuster, ICLR 2020, arXiv 1909.10802; DC-ASGD: S. Zheng et al., ICML 2017, arXiv 1609.08326.

Differs from the paper: MNIST and a small network instead of CIFAR and ResNets, 4 096 gradients instead of 160 epochs,
no weight decay, no drops of the learning rate; the methods are also compared at the learning rate best for each.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import common
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from common import Error, draw_tuning, markdown, paired, pick, plus_minus, read, seeds_of, small_images, write
from flax import linen

import jaxasgd as ja
from jaxasgd.figures import STYLE, looks, pyplot, tidy
from jaxasgd.problems.nets import CrossEntropy
from jaxasgd.results import interval

WORKERS, BATCH, MOMENTUM, STRENGTH = (1, 4, 8, 16, 32), 32, 0.9, 2.0
GRID = [0.00125 * 2**k for k in range(11)]
SYNC, GAP_AWARE = "synchronous SGD", "Gap-Aware ASGD"
NEAR = 2  # points of accuracy that are no failure
CLOCK = lambda n: ja.times.gamma(1.0, cv=0.1, num_workers=n)
CHANCE = 0.1  # the accuracy of a run that has diverged


@dataclasses.dataclass
class Options:
    """DANA and its rivals over the number of workers."""

    out: Path = Path("results/dana")
    """Folder for the CSV files, README.md and the figures."""
    seeds: int = 5
    """Independent repetitions; the intervals are over these."""
    gradients: int = 4096
    """Of each run, a multiple of 32."""
    quick: bool = False
    """A small version on scikit-learn's digits, for tests."""
    redraw: bool = False
    """Figures and page again, from the CSV files."""


# ------------------------------------------------------------------- problem, with a meter among its parameters


def make_problem(quick):
    """Its parameters are those of the network, and the sum of all gaps so far, which has no gradient."""
    data, module = small_images(quick), linen.Sequential([linen.Dense(32), linen.relu, linen.Dense(10)])
    of_net = lambda function: lambda params, batch: function(params["net"], batch)
    given = {"test": (data.X_test, data.y_test), "batch_size": BATCH, "loss_samples": 1000}
    given["metrics"] = {"error": of_net(Error(module)), "gap": lambda params, batch: params["gap"]}
    start = lambda key: {"net": module.init(key, data.X[:1]), "gap": jnp.zeros(())}
    return ja.problems.from_loss(of_net(CrossEntropy(module)), start, (data.X, data.y), **given), data.name


# ------------------------------------------------------------------- methods


def add_gap():
    """||params - stale|| / sqrt(d) as the update of the meter, which has no gradient of its own."""

    def update(updates, state, params=None, *, stale, **extra):
        moved = jax.tree.leaves(jax.tree.map(lambda p, s: p - s, params["net"], stale["net"]))
        square = sum(jnp.vdot(a, a) for a in moved) / sum(a.size for a in moved)
        return updates | {"gap": jnp.sqrt(square)}, state

    return optax.GradientTransformationExtraArgs(optax.init_empty_state, update)


def metered(method):
    """The method, with the gap of every gradient added to the meter."""
    rule = lambda n, times: optax.chain(method.bind(n, times).rule, add_gap())
    return dataclasses.replace(method, rule=ja.late(rule))


def methods(n, gradients, names=None):
    """label -> function of a learning rate, warmed up from 1/n of it; of all, or of these `names`."""

    def warm(rate, updates=gradients):
        steps = max(updates // 16, 1)
        return lambda count: rate * (1 / n + (1 - 1 / n) * jnp.minimum(count / steps, 1.0))

    def nag(rate, updates=gradients):
        return optax.sgd(warm(rate, updates), momentum=MOMENTUM, nesterov=True)

    def synchronous(rate):  # gradients are added up, as everywhere here
        return dataclasses.replace(ja.methods.sync_sgd(rate), rule=nag(n * rate, gradients // n))

    def dc(rate):
        rule = optax.chain(ja.rules.compensate_delay(STRENGTH), nag(rate))
        return dataclasses.replace(ja.methods.dc_asgd_c(rate), rule=rule)

    made = {
        "asynchronous SGD": lambda rate: ja.methods.asgd(warm(rate)),
        "NAG-ASGD": lambda rate: ja.methods.nag_asgd(warm(rate), MOMENTUM),
        "Multi-ASGD": lambda rate: ja.methods.multi_asgd(warm(rate), MOMENTUM),
        "DC-ASGD-c": dc,
        GAP_AWARE: lambda rate: ja.methods.gap_aware_asgd(warm(rate), MOMENTUM, largest=rate),
        "DANA-Zero": lambda rate: ja.methods.dana_zero(warm(rate), MOMENTUM),
        "DANA-DC": lambda rate: ja.methods.dana_dc(warm(rate), MOMENTUM, STRENGTH),
    }
    made = {name: (lambda rate, make=make: metered(make(rate))) for name, make in made.items()}
    made[SYNC] = synchronous
    return {name: made[name] for name in names or made}


# ------------------------------------------------------------------- measuring


def measure(options):
    workers, grid, seeds, gradients, names = WORKERS, GRID, options.seeds, options.gradients, None
    if options.quick:
        workers, grid, seeds, gradients, names = (4,), GRID[2::3], 2, 256, ("asynchronous SGD", "NAG-ASGD", "DANA-Zero")
    (problem, data), best, middle = make_problem(options.quick), {}, workers[-2:][0]
    for n in workers:
        folder = options.out / f"workers-{n}"
        folder.mkdir(exist_ok=True)
        made = methods(n, gradients, names)
        updates = {name: gradients // n if name == SYNC else gradients for name in made}
        ends = {"num_updates": updates, "points": 16 if n == middle else 4, "how": "threads", "seeds": [100, 101]}
        best[n] = common.tuned(problem, CLOCK(n), made, grid, "test_error", folder, **ends)
        print(n, best[n], flush=True)
    small, rows, curves = best[workers[-1]]["NAG-ASGD"], [], []
    for n in workers:
        protocols = {"tuned": best[n], "one": best[workers[0]], "gap": dict.fromkeys(best[n], small)}
        for name, make in methods(n, gradients, names).items():
            rates = {"rate": list(dict.fromkeys(protocol[name] for protocol in protocols.values()))}
            ends = {"num_updates": gradients // n if name == SYNC else gradients, "how": "threads", "seeds": seeds}
            found = ja.sweep(problem, CLOCK(n), {name: make}, rates, points=16 if n == middle else 4, **ends)
            for protocol, member in ((p, m) for m in found.members for p in protocols):
                if member.numbers["rate"] == protocols[protocol][name]:
                    rows.append({"workers": n, "method": name, "protocol": protocol} | row_of(member) | {"data": data})
                    curves += curve_of(member, n, name) if protocol == "gap" and n == middle else []
    write(options.out / "runs.csv", rows)
    write(options.out / "curves.csv", curves)


def row_of(member) -> dict:
    """The end of a run; one that has diverged has learnt nothing, and its gap is no number."""
    last, gone = member.row(), member.status == "diverged"
    told = {"learning_rate": member.numbers["rate"], "seed": member.seed, "diverged": gone}
    told["accuracy"] = CHANCE if gone else 1 - last["test_error"]
    return told | {"gap": last.get("gap", 0.0) / last["update"], "seconds": last["time"]}


def curve_of(member, n, name) -> list[dict]:
    """The mean gap between two looks."""
    who, columns = {"workers": n, "method": name, "seed": member.seed}, member.columns
    gaps = np.diff(columns["gap"]) / np.diff(columns["update"])
    return [who | {"gradients": g, "gap": gap} for g, gap in zip(columns["gradients"][1:], gaps, strict=True)]


# ------------------------------------------------------------------- figures

PROTOCOLS = ("one", "One learning rate, best with 1 worker"), ("tuned", "Tuned for each number of workers")
MARKS = {"NAG-ASGD": "s", "Multi-ASGD": "^", "DC-ASGD-c": "D", "DANA-Zero": "v", "DANA-DC": "P", SYNC: "x"}
TWINS = {"DC-ASGD-c": "NAG-ASGD", "DANA-DC": "DANA-Zero"}  # compensated: where all learn, their gaps are those of


def draw_means(ax, rows, x, y, span=(1e-9, np.inf)):
    """Mean and 95 % interval over seeds, a line a method; dashes above solid lines, where two coincide."""
    tidy(ax)
    for name, look in looks(dict.fromkeys(row["method"] for row in rows)).items():
        mine = pick(rows, method=name)
        groups = {at: [row[y] for row in pick(mine, **{x: at})] for at in sorted({row[x] for row in mine})}
        groups = {at: values for at, values in groups.items() if min(values) > 0}  # the axis is stretched
        found = np.clip(np.reshape([interval(values) for values in groups.values()], (-1, 3)), *span)
        dashed = look["linestyle"] != "-"
        line = {"linewidth": 1.1, "zorder": 2.5 if dashed else 2, "marker": MARKS.get(name, "."), "markersize": 3.5}
        ax.plot(list(groups), found[:, 0], label=name, **line, **look)
        ax.vlines(list(groups), found[:, 1], found[:, 2], color=look["color"], linewidth=0.8)


def draw_accuracy(ax, rows, title):
    draw_means(ax, rows, "workers", "accuracy", (0.02, 0.99))
    lowest = min(row["accuracy"] for row in rows)
    ticks = [0.1, 0.3, 0.5, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97]
    ax.set_yscale("logit")
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set(title=title, ylabel="Test accuracy", ylim=(0.07 if lowest < 0.8 else 0.84, 0.975))


def draw(out):
    plt, rows, curves = pyplot(), read(out / "runs.csv"), read(out / "curves.csv")
    same, workers = pick(rows, protocol="gap"), sorted({row["workers"] for row in rows})
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(2, 2, figsize=(7.0, 5.2), layout="constrained")
        for ax, (protocol, title) in zip(axes[0], PROTOCOLS, strict=True):
            draw_accuracy(ax, pick(rows, protocol=protocol), title)
        left, right = axes[1]
        draw_means(left, [row for row in same if row["method"] not in TWINS], "workers", "gap")
        left.set(title=f"Gap, all at learning rate {same[0]['learning_rate']:g}", yscale="log", ylabel="Gap")
        draw_means(right, [row for row in curves if row["method"] not in TWINS], "gradients", "gap")
        right.set(title=f"Gap over the run, {curves[0]['workers']} workers", yscale="log", xlabel="Gradients")
        for ax in (*axes[0], left):
            ax.set(xscale="log", xlabel="Workers")
            ax.set_xticks(workers, workers)
            ax.minorticks_off()
        common.legend_below(figure, axes[0][0], 4, handlelength=2.6)
    return figure


def draw_rates(out):
    """Tuning curves, a panel a number of workers; the last place is for the legend."""
    plt = pyplot()
    workers = sorted({row["workers"] for row in read(out / "runs.csv")})
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(2, 3, figsize=(7.0, 4.4), layout="constrained", sharex=True, sharey=True)
        for ax, n in zip(axes.flat, workers, strict=False):
            draw_tuning(out / f"workers-{n}" / "tuning.csv", ax=ax)
            ax.get_legend().remove()
            ax.set(title=f"{n} worker{'s' * (n > 1)}", ylabel="Final test error", ylim=(None, 1.0))
            ax.xaxis.set_tick_params(labelbottom=True)
        for ax in axes.flat[len(workers) :]:
            ax.set_axis_off()
        axes.flat[-1].legend(*axes.flat[0].get_legend_handles_labels(), loc="center left", title="Ringed: taken")
    return figure


def figures(out):
    return {"dana.svg": draw(out), "tuning.svg": draw_rates(out)}


# ------------------------------------------------------------------- page


def accuracies(rows, method, n) -> np.ndarray:
    """In %, a seed an entry."""
    return 100 * np.array([row["accuracy"] for row in pick(rows, method=method, workers=n)])


def kept(rows, method) -> int:
    """Up to how many workers a method stays within NEAR points of its accuracy with the fewest."""
    workers = sorted({row["workers"] for row in rows})
    mean = [accuracies(rows, method, n).mean() for n in workers]
    return [n for k, n in enumerate(workers) if min(mean[: k + 1]) >= mean[0] - NEAR][-1]


def accuracy_table(rows) -> str:
    workers, lines = sorted({row["workers"] for row in rows}), []
    for name in dict.fromkeys(row["method"] for row in rows):
        cells = []
        for n in workers:
            mine = pick(rows, method=name, workers=n)
            cells.append(f"{plus_minus(accuracies(rows, name, n))} ({mine[0]['learning_rate']:g})")
        lines.append([name, *cells, kept(rows, name)])
    return markdown(["method", *(f"{n} worker{'s' * (n > 1)}" for n in workers), f"within {NEAR} points up to"], lines)


def ratios(rows, method, n, to="asynchronous SGD") -> np.ndarray:
    gaps = lambda name: np.array([row["gap"] for row in pick(rows, method=name, workers=n)])
    return gaps(method) / gaps(to)


def gap_table(rows) -> str:
    workers, lines = [n for n in sorted({row["workers"] for row in rows}) if n > 1], []
    for name in dict.fromkeys(row["method"] for row in rows):
        if np.any([row["gap"] for row in pick(rows, method=name)]):
            lines.append([name, *(plus_minus(ratios(rows, name, n)) for n in workers)])
    return markdown(["gap / that of asynchronous SGD", *(f"{n} workers" for n in workers)], lines)


def lasting(rows) -> str:
    """Which methods stay near one worker's accuracy up to how many workers, in words."""
    last = {name: kept(rows, name) for name in dict.fromkeys(row["method"] for row in rows)}
    return "; ".join(f"{n}: {', '.join(m for m in last if last[m] == n)}" for n in sorted(set(last.values())))


def difference_table(cases) -> str:
    """How much more accurate one method is than each other, in points: of cases (head, rows, method, workers)."""
    names, lines = list(dict.fromkeys(row["method"] for row in cases[0][1])), []
    for name in names:
        cells = [paired(accuracies(rows, one, n), accuracies(rows, name, n))[1] for _, rows, one, n in cases]
        lines.append([name, *("" if name == case[2] else cell for cell, case in zip(cells, cases, strict=True))])
    return markdown(["over", *(case[0] for case in cases)], lines)


def independent_or_same(workers) -> dict:
    """DANA's gap over that of asynchronous SGD, were all gradients independent, or all the same: n -> two numbers."""
    own, same = MOMENTUM**2 / (1 - MOMENTUM**2), MOMENTUM / (1 - MOMENTUM)
    return {n: (np.sqrt((n - 1 + own) / (n - 1)), abs(n - 1 - same) / (n - 1)) for n in workers if n > 1}


def values(out):
    rows, curves = read(out / "runs.csv"), read(out / "curves.csv")
    one, best, same = (pick(rows, protocol=protocol) for protocol in ("one", "tuned", "gap"))
    workers = sorted({row["workers"] for row in rows})
    many, middle, names = workers[-1], curves[0]["workers"], list(dict.fromkeys(row["method"] for row in rows))
    dana = [name for name in names if name.startswith("DANA")]
    rivals = [name for name in ("NAG-ASGD", "Multi-ASGD", "DC-ASGD-c") if name in names]
    outlasts = min(kept(one, name) for name in dana) > max(kept(one, name) for name in rivals)
    nag, zero = ([ratios(same, m, n).mean() for n in workers if n > 1] for m in ("NAG-ASGD", "DANA-Zero"))
    seconds = [pick(best, method=name, workers=many)[0]["seconds"] for name in (names[-1], names[0])]
    tables = {"one": accuracy_table(one), "best": accuracy_table(best), "gaps": gap_table(same)}
    laws = independent_or_same(workers)
    lines = [[name, *(f"{law[k]:.2f}" for law in laws.values())] for k, name in enumerate(("independent", "the same"))]
    tables["laws"] = markdown(["DANA, if all gradients were", *(f"{n} workers" for n in laws)], lines)
    between = all(0.95 * min(law) < ratio < 1.05 * max(law) for law, ratio in zip(laws.values(), zero, strict=True))
    told = {
        "data": rows[0]["data"],
        "between": "lie" if between else "do not all lie",
        "rate": same[0]["learning_rate"],
        "near": NEAR,
    }
    told |= {"seeds": len(seeds_of(rows)), "gradients": max(row["gradients"] for row in curves)}
    told |= {"many": many, "middle": middle, "lasting": lasting(one), "rivals": ", ".join(rivals)}
    told |= {"last": dana[-1], "outlasts": "outlasts" if outlasts else "does not outlast"}
    cases = [(f"{dana[-1]}, one rate, {n} workers", one, dana[-1], n) for n in (middle, many)]
    tables["over"] = difference_table([*cases, (f"DANA-Zero, tuned, {many} workers", best, "DANA-Zero", many)])
    told["nag"] = f"{min(nag):.1f} to {max(nag):.1f}"
    told |= {"zero": f"{min(zero):.2f} to {max(zero):.2f}", "slower": f"{seconds[0] / seconds[1]:.2f}"}
    for at, mine in (("one", one), ("best", best)):
        found = {name: accuracies(mine, name, many).mean() for name in names}
        top = max((name for name in names if name != SYNC), key=found.get)
        told |= {f"top_{at}": f"{top} ({found[top]:.1f} %)", f"gap_aware_{at}": found.get(GAP_AWARE, np.nan)}
    told["lowest"] = min(accuracies(best, name, n).mean() for name in names for n in workers)
    twins = [ratios(same, a, n, b).mean() for a, b in TWINS.items() if a in names for n in workers if n > 1]
    told["twins"] = f"{100 * max((abs(ratio - 1) for ratio in twins), default=0):.1g}"
    within = all(0.5 < ratio < 2 for ratio in zero) and min(nag) > max(zero)
    return tables | told | {"holds": "holds within a factor of two" if within else "does not hold"}


def main(options: Options):
    common.experiment(__file__, options, measure, figures, values)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
