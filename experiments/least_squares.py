"""Which step sizes survive which clock: minibatch SGD, asynchronous SGD and delay-adaptive steps on least squares.

Claim     Asynchronous SGD, with or without steps that adapt to the delay, beats minibatch SGD in the same seconds. Its
          largest stable step is set by the law of the workers' times: with the same mean, and the same mean delay, it
          is six to eight times as large for exponential as for constant times.
Command   python experiments/least_squares.py
Cost      about 3 minutes on 2 CPU cores; --quick about 15 seconds.
Expected  Largest stable step times L of asynchronous SGD: 0.29 (exponential times; the law of the mean square says
          0.24), 0.063 (uniform), 0.041 (Gamma), 0.040 (constant), 0.042 (one 100 times slower); told from the law of
          the delays within 3 % for all clocks but the exponential. The loss at which synchronous SGD ends is
          reached 11, 2.3, 1.1 and 11 times sooner; under constant times it is not reached.

Setting: N = 10 000 samples, d = 400, A = U(0, 1) / sqrt(d), b = A x + 1e-5 N(0, 1), x ~ N(0, 1), start at 0, 40
workers, mini-batches of 256. Clocks with a mean of 1 second; Gamma times where one worker takes 100 times as long.
L is the largest eigenvalue of A'A / N, 0.25, along the vector of ones; all others are near 1 / (12 d), a thousand times
smaller. So the limit is that of one coordinate, and the loss is that of all others, which want the largest step.

Predictions of the limit, in units of 1/L. For asynchronous SGD from closed forms, written down before measuring:
2 sin(pi / (4 tau + 2)) with tau = n - 1 for constant, Gamma and uniform times; with tau = n - 2 where one is slow (the
other 39 go round, and what the slow one brings once in 3 900 updates is a small push, not a feedback); and
(1 + sqrt(1 + 8n)) / (2n), the limit of the mean square, for exponential ones. And from the law of the delays, made
after a first measurement of Gamma and uniform times: the smallest a for which z = 1 - a sum_k P(delay = k) s(k) z^-k
has a root with |z| = 1, s(k) = 1 or n / max(n, k); the delays are from schedules, without any gradient. For
exponential times it is a large number, and the mean square decides: computed from the second moments of an iterate and
of what workers hold, by the age of what they hold.

Reference: K. Mishchenko, F. Bach, M. Even, B. Woodworth, NeurIPS 2022, arXiv 2206.07638 (methods; setting from their
notebook); I. Mitliagkas et al. 2016, arXiv 1605.09774 (exponential times). Differs from the paper: simulated clocks in
place of a machine's, samples drawn with replacement, gradients averaged in minibatch SGD (theirs are added up: 0.19
there is 7.6 here), workers read after their own gradient is applied, 200 rounds' worth of gradients instead of 800.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import tyro
from common import best_rate, experiment, markdown, means, pick, read, write
from least_squares_limits import LATE, path_limits, predictions, single, square_limits

import jaxasgd as ja
from jaxasgd.figures import GREY, INK, PALETTE, STYLE, looks, pyplot, tidy
from jaxasgd.results import interval

METHODS = {"synchronous SGD": ja.methods.sync_sgd} | LATE
PLAIN, ADAPTIVE = LATE
OWN = {  # the same, each with a learning rate of its own name, for a sweep in which it has its own values
    "synchronous SGD": lambda synchronous: ja.methods.sync_sgd(synchronous),
    PLAIN: lambda plain: ja.methods.asgd(plain),
    ADAPTIVE: lambda adaptive: ja.methods.delay_adaptive_asgd(adaptive),
}
OWN_NAMES = ("synchronous", "plain", "adaptive")
CLOCKS = {
    "exponential": lambda n: ja.times.exponential(1.0, num_workers=n),
    "uniform": lambda n: ja.times.uniform(0.0, 2.0, num_workers=n),
    "Gamma": lambda n: ja.times.gamma(1.0, 0.1, num_workers=n),
    "constant": lambda n: ja.times.fixed(1.0, num_workers=n),
    "straggler": lambda n: ja.times.with_straggler(ja.times.gamma(1.0, 0.1, num_workers=n), n - 1, 100.0),
}
NAMES = {
    "exponential": "exponential",
    "uniform": "uniform (0, 2)",
    "Gamma": "Gamma, spread 0.1",
    "constant": "constant",
    "straggler": "one 100 x slower",
}
SHARE = {"sharex": "row", "sharey": "row"}
RATES = [2.0 ** (k / 4) for k in range(-14, 13)]


@dataclasses.dataclass
class Options:
    """Step sizes and clocks on least squares."""

    out: Path = Path("results/least_squares")
    """Folder for the numbers, the page and the figures."""
    seeds: int = 5
    """Clocks and samples; intervals are over these."""
    quick: bool = False
    """Few workers, samples and step sizes, for tests."""
    redraw: bool = False
    """Only the figures and the page, from the numbers there are."""


# ------------------------------------------------------------------- measurements


def matrix(quick):
    """A [samples, features], the noise of b, and the solution, as in the authors' notebook."""
    samples, dim = (500, 20) if quick else (10_000, 400)
    rng = np.random.default_rng(42)
    A = rng.uniform(size=(samples, dim)) / np.sqrt(dim)
    x = rng.normal(size=dim)
    return A, x, 1e-5 * rng.normal(size=samples)


def measure(options: Options):
    quick, n = options.quick, 8 if options.quick else 40
    seeds = list(range(2 if quick else options.seeds))
    batch, until = (16, 20.0) if quick else (256, 200.0)
    clocks = {clock: make(n) for clock, make in CLOCKS.items() if not quick or clock in ("exponential", "constant")}
    A, x, noise = matrix(quick)
    values = np.linalg.eigvalsh(A.T @ A / len(A))
    about = {"workers": n, "samples": A.shape[0], "features": A.shape[1], "batch": batch, "until": until}
    write(options.out / "problem.csv", [about | {"largest": values[-1], "second": values[-2], "smallest": values[0]}])
    predicted = predictions(clocks, n, 4000 if quick else 60_000)
    write(options.out / "predictions.csv", predicted)
    write(options.out / "limits.csv", path_limits(A, clocks, predicted, seeds, 600 if quick else 8000))
    write(options.out / "squares.csv", square_limits(n, *((200, 2) if quick else (2000, 5))))
    problem = ja.problems.linear(*single(A, A @ x + noise), batch_size=batch)
    tune = {"learning_rate": RATES[::4] if quick else RATES}
    ends = {"until": until, "points": 40 if quick else 4, "how": "loop" if quick else None}
    found = ja.sweep(problem, clocks, METHODS, tune, seeds=[100, *seeds] if quick else [100, 101], **ends)
    keys = ("method", "clock", "learning_rate", "seed")
    rows = [{key: row[key] for key in keys} | {"final_loss": row["loss"]} for row in found.rows()]
    rows = [row for row in rows if row["seed"] >= 100]
    write(options.out / "tuning.csv", rows)
    best = {(m, c): best_rate(pick(rows, method=m, clock=c), "final_loss") for m in METHODS for c in clocks}
    if not quick:
        chosen = {name: sorted({best[m, c] for c in clocks}) for m, name in zip(METHODS, OWN_NAMES, strict=True)}
        found = ja.sweep(problem, clocks, OWN, chosen, until=until, seeds=seeds, points=40)
    write(options.out / "curves.csv", curves(found, best, seeds, np.linspace(0, until, 41)))


def curves(found, best, seeds, looks_at) -> list[dict]:
    """Loss over time of the runs at the best rate of their method and clock; the last value is held."""
    rows = []
    for member in found.members:
        (rate,) = member.numbers.values()
        if member.seed in seeds and rate == best[member.method, member.clock]:
            who = {"clock": member.clock, "method": member.method, "learning_rate": rate, "seed": member.seed}
            last = len(member.columns["loss"]) - 1
            for k, time in enumerate(looks_at.tolist()):
                told = {name: member.columns[name][min(k, last)].item() for name in ("update", "loss")}
                rows += [who | {"time": time} | told] if k <= last or member.status != "diverged" else []
    return rows


# ------------------------------------------------------------------- figures


def shown(out: Path) -> dict:
    """The clocks that were measured, in order: key -> name."""
    return {row["clock"]: NAMES[row["clock"]] for row in read(out / "predictions.csv")}


def figures(out: Path) -> dict:
    return {"least_squares.svg": draw(out), "limits.svg": draw_limits(out)}


def draw(out: Path):
    curve, tuning = read(out / "curves.csv"), read(out / "tuning.csv")
    predicted, (about,) = read(out / "predictions.csv"), read(out / "problem.csv")
    look, names = looks(METHODS), shown(out)
    with pyplot().rc_context(STYLE):
        figure, axes = pyplot().subplots(
            2, len(names), figsize=(7.0, 3.7), layout="constrained", sharey="row", sharex="row"
        )
        for (upper, lower), (clock, name) in zip(axes.T, names.items(), strict=True):
            tidy(upper), tidy(lower)
            for method in METHODS:
                seconds, logs = by_seed(pick(curve, clock=clock, method=method))
                mean, low, high = interval(logs)
                upper.plot(seconds, np.exp(mean), linewidth=1.2, label=method, **look[method])
                upper.fill_between(seconds, np.exp(low), np.exp(high), color=look[method]["color"], alpha=0.2, lw=0)
                mine = pick(tuning, clock=clock, method=method)
                rates, final = means(mine, "final_loss")
                lower.plot(rates, final, marker=".", markersize=2.5, linewidth=1.1, **look[method])
                at = rates.index(best_rate(mine, "final_loss"))
                lower.plot(rates[at], final[at], "o", markersize=5, mfc="none", color=look[method]["color"])
                law = 2.0 if method not in LATE else pick(predicted, clock=clock, method=method)[0]["law"]
                color, dash = look[method]["color"], (0, (2, 1.5))
                lower.axvline(law / about["largest"], color=color, linewidth=0.8, linestyle=dash)
            upper.set(title=name, yscale="log", xlabel="Simulated seconds", xlim=(0, about["until"]))
            lower.set(xscale="log", yscale="log", xlabel="Learning rate")
        first = axes[0, 0].get_lines()
        top = max(line.get_ydata()[0] for line in first)
        low = min(np.nanmin(line.get_ydata()) for ax in axes[0] for line in ax.get_lines())
        axes[0, 0].set(ylabel="F − F*", ylim=(low / 3, 1.5 * top))
        axes[1, 0].set(ylabel="F − F* at the end", ylim=(None, 3 * top), xlim=(rates[0] / 1.2, rates[-1] * 1.2))
        figure.legend(handles=first, loc="outside upper left", ncols=3, borderaxespad=0.4)
    return figure


def by_seed(rows):
    """`(seconds, log loss [seeds, looks])`; a run that diverged leaves a gap."""
    runs = [pick(rows, seed=seed) for seed in sorted({row["seed"] for row in rows})]
    longest = max(runs, key=len)
    held = [[row["loss"] for row in run] + [np.nan] * (len(longest) - len(run)) for run in runs]
    return [row["time"] for row in longest], np.log(np.array(held))


def draw_limits(out: Path):
    predicted, measured, names = read(out / "predictions.csv"), read(out / "limits.csv"), shown(out)
    squares = read(out / "squares.csv")
    with pyplot().rc_context(STYLE):
        figure, axes = pyplot().subplots(1, 2, figsize=(7.0, 2.0), layout="constrained", sharey=True, sharex=True)
        for ax, method in zip(axes, LATE, strict=True):
            tidy(ax, grid="x")
            for place, clock in enumerate(names):
                (row,) = pick(predicted, clock=clock, method=method)
                ax.plot(row["closed_form"], place, "|", color=INK, markersize=12, label="closed form")
                ax.plot(row["law"], place, "D", color=GREY, mfc="none", markersize=7, label="from the delays")
                mine = [one["limit"] for one in pick(measured, clock=clock, method=method)]
                dot(ax, mine, place + 0.15 * (clock == "exponential"), PALETTE[1], "o", "measured: a run grows (95 %)")
                if clock == "exponential":
                    mine = [one["limit"] for one in pick(squares, method=method)]
                    dot(ax, mine, place - 0.15, PALETTE[0], "s", "measured: the mean square grows (95 %)")
            ax.set(title=method, xscale="log", xlabel="Largest stable step × L")
            ax.set_yticks(range(len(names)), names.values())
            marks = [0.04, 0.06, 0.1, 0.2, 0.4]
            ax.set_xticks(marks, [f"{mark:g}" for mark in marks])
            ax.minorticks_off()
        axes[0].set_ylim(len(names) - 0.5, -0.5)
        handles, labels = axes[0].get_legend_handles_labels()
        once = dict(zip(labels, handles, strict=True))
        figure.legend(once.values(), once.keys(), loc="outside upper left", ncols=4, borderaxespad=0.4)
    return figure


def dot(ax, numbers, place, color, marker, label):
    """Their mean and its interval."""
    mean, low, high = interval(numbers)
    bars = [[mean - low], [high - mean]]
    ax.errorbar(mean, place, xerr=bars, fmt=marker, color=color, markersize=3, linewidth=1, label=label)


# ------------------------------------------------------------------- the page


def values(out: Path) -> dict:
    predicted, measured, names = read(out / "predictions.csv"), read(out / "limits.csv"), shown(out)
    (about,) = read(out / "problem.csv")
    lines, over_closed, over_law, mean = [], {}, {}, {}
    for row in predicted:
        key = row["clock"], row["method"]
        mine = np.array([one["limit"] for one in pick(measured, clock=row["clock"], method=row["method"])])
        closed, law, mean[key] = row["closed_form"], row["law"], mine.mean()
        over_closed[key], over_law[key] = mean[key] / closed, mean[key] / law
        known = np.isfinite(closed)
        cells = [names[row["clock"]], row["method"], f"{row['spread']:.1f}", row["largest"]]
        cells += [f"{closed:.4f}" if known else "", f"{law:.4f}", around(mine)]
        lines.append(cells + [f"{over_closed[key]:.3f}" if known else "", around(mine / law, 3)])
    heads = ["times", "method", "spread of delays", "largest", "closed form", "from the delays", "measured"]
    heads += ["measured / closed form", "measured / from the delays"]
    step = 0.43 * about["largest"]
    survives = [names[clock] for clock in names if step < mean[clock, PLAIN]]
    regular = [over_law[key] for key in mean if key[0] != "exponential"]
    gain = {clock: mean[clock, ADAPTIVE] / mean[clock, PLAIN] for clock in names}
    fixed = {clock: over_closed[clock, PLAIN] for clock in names if clock != "exponential"}
    near = [f"{names[clock]} ({fixed[clock]:.3f})" for clock in fixed if abs(fixed[clock] - 1) < 0.05]
    far = [f"{names[clock]} ({fixed[clock]:.3f})" for clock in fixed if abs(fixed[clock] - 1) >= 0.05]
    told = {"limits": markdown(heads, lines), "squares": squares(out, predicted), **about}
    return (
        told
        | speeds(out, names, predicted)
        | {
            "near": ", ".join(near) or "none",
            "far": ", ".join(far) or "none",
            "slow": mean.get(("straggler", PLAIN), np.nan) / mean.get(("Gamma", PLAIN), np.nan),
            "step": step,
            "survives": ", ".join(survives) or "no",
            "regular": f"{min(regular):.3f} to {max(regular):.3f}",
            "apart": mean["exponential", PLAIN] / mean["constant", PLAIN],
            "paths": " and ".join(f"{over_law['exponential', method]:.2f} ({method})" for method in LATE),
            "gains": ", ".join(f"{gain[clock]:.2f} ({names[clock]})" for clock in names),
            "seeds": len({row["seed"] for row in measured}),
        }
    )


def around(values, digits=4) -> str:
    mean, _, high = interval(values)
    return f"{mean:.{digits}f} ± {high - mean:.{digits}f}"


def squares(out: Path, predicted) -> str:
    """Where the mean square grows, beside its law, in words."""
    told = []
    for method in LATE:
        (row,) = pick(predicted, clock="exponential", method=method)
        mine = [one["limit"] for one in pick(read(out / "squares.csv"), method=method)]
        told.append(f"{around(mine)} for {method} (law: {row['law']:.4f})")
    return " and ".join(told)


def speeds(out: Path, names, predicted) -> dict:
    """How much sooner the others are where synchronous SGD ends: told by the limits, and measured; and all ends."""
    curve, (about,) = read(out / "curves.csv"), read(out / "problem.csv")
    rows, ends, won, lost, over = [], [], [], [], []
    for clock, name in names.items():
        runs = {method: pick(curve, clock=clock, method=method) for method in METHODS}
        updates = {method: max(row["update"] for row in runs[method]) for method in METHODS}
        logs = {method: by_seed(runs[method])[1] for method in METHODS}
        aim, cells = logs["synchronous SGD"][:, -1], [name]
        for method in LATE:
            (row,) = pick(predicted, clock=clock, method=method)
            rounds = updates["synchronous SGD"]
            told = f"{row['law'] * updates[method] / (2.0 * rounds):.2g}" if rounds > 5 else f"({rounds} rounds)"
            seconds = by_seed(runs[method])[0]
            ratio = about["until"] / np.array([when(seconds, *pair) for pair in zip(logs[method], aim, strict=True)])
            sure = interval(ratio)
            cells += [told, f"{sure[0]:.3g}" if np.isfinite(ratio).all() else "not reached"]
            over.append(runs[method][0]["learning_rate"] * about["largest"] / row["law"])
            if method == PLAIN:
                (won if sure[1] > 1 else lost).append(name)
        rows.append(cells)
        for method in METHODS:
            mean, _, high = interval(np.exp(logs[method][:, -1]))
            rate = runs[method][0]["learning_rate"]
            ends.append([name, method, f"{rate:.3g}", updates[method], f"{mean:.3g} ± {high - mean:.1g}"])
    heads = ["times", *(f"{method}, {how}" for method in LATE for how in ("told by the limits", "measured"))]
    end = ["times", "method", "learning rate", "updates", "F − F* at the end"]
    text = f"faster under {', '.join(won) or 'none'} times" + (
        f", and not under {', '.join(lost)} times" if lost else ""
    )
    rates = f"{min(over):.2f} to {max(over):.2f}"
    return {"speeds": markdown(heads, rows), "ends": markdown(end, ends), "faster": text, "rates": rates}


def when(times, logs, level) -> float:
    """When a curve first is at the level, on a straight line between looks; nan: never."""
    below = logs <= level
    at = int(np.argmax(below))
    if not below[at]:
        return np.nan
    return float(times[1] if at == 0 else np.interp(-level, -logs[at - 1 : at + 1], times[at - 1 : at + 1]))


def main(options: Options):
    experiment(__file__, options, measure, figures, values)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
