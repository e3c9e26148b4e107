"""Thousands of slow workers: Ringmaster, Rennala and delay-adaptive steps on the worst-case quadratic, two noises.

Claim     Where a few workers are fast and thousands are slow, using only gradients that are not too late (Ringmaster),
          or only fresh ones in batches (Rennala), gets further in the same seconds than using all of them with steps
          that shrink with the delay; and Ringmaster is the fastest of the three.
Command   python experiments/worst_case.py
Cost      about 5 minutes on 2 CPU cores; --quick about 15 seconds.
Expected  f - f* at the end. Shared noise, the authors' steps: Ringmaster 0.0045, Rennala 0.0059, delay-adaptive 0.070.
          Independent noise, their steps: Rennala 0.0153, Ringmaster 0.0251, delay-adaptive 0.070; tuned for it:
          Ringmaster 0.0103 (R = 385), Rennala 0.0111 (B = 24), delay-adaptive 0.037.

Setting (the authors'): f(x) = x'Ax/2 - b'x, A = tridiag(-1, 2, -1)/4, b = (-1, 0, ..., 0)/4, d = 1 729, start at
(sqrt(d), 0, ..., 0), n = 6 174 workers, times 1 + sqrt(i) + |N(0, i + 1)| seconds, 2 000 seconds; Ringmaster with stops
(step 0.25, R = 6), Rennala with restarts (1, B = 6), delay-adaptive steps (3.2e-4). The noise of a gradient has
sigma^2 = d 0.01^2 in two ways: one normal number added to all coordinates, as in the authors' code, or one number for
each coordinate. In the first, the noise is along the vector of ones, whose curvature is 1/d of the mean curvature.

Tuned: steps 2^-12 ... 2^1 for all methods, R and B from 6 174 / 4^k as in the paper, one other seed, chosen by f - f*
at the end (the criterion of the authors' code) and once more by the squared gradient norm.

Reference: A. Maranjyan, A. Tyurin, P. Richtarik, ICML 2025, arXiv 2501.16168 (the comparison); A. Tyurin, P. Richtarik,
NeurIPS 2023, arXiv 2305.12387 (Rennala). Differs from the paper: several seeds, each with other noise and other times;
Rennala starts all workers, the authors' code only the B fastest of a draw.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import tyro
from common import experiment, markdown, pick, read, write

import jaxasgd as ja
from jaxasgd.figures import STYLE, looks, pyplot, tidy
from jaxasgd.results import interval

NOISE = 0.01
NOISES = {"shared": "one number for all coordinates", "independent": "one number for each coordinate"}
METHODS = {  # name -> function of (learning_rate, threshold)
    "Ringmaster": lambda learning_rate, threshold: ja.methods.ringmaster(learning_rate, threshold, stops=True),
    "Rennala": lambda learning_rate, threshold: ja.methods.rennala(learning_rate, threshold, stale="restart"),
    "delay-adaptive": lambda learning_rate: ja.methods.delay_adaptive_asgd(learning_rate),
}
PUBLISHED = {"Ringmaster": "Ringmaster ASGD", "Rennala": "Rennala SGD", "delay-adaptive": "delay-adaptive ASGD"}
PUBLISHED |= {"synchronous": "synchronous SGD"}
LETTER = {"Ringmaster": "R", "Rennala": "B"}
AUTHORS = {"Ringmaster": (0.25, 6), "Rennala": (1.0, 6), "delay-adaptive": (3.2e-4, None)}
SYNCHRONOUS = ("synchronous", 1.0, None)
RATES = [2.0**k for k in range(-12, 2)]
THRESHOLDS = [1, 6, 24, 96, 385, 1543]
CRITERIA = {"loss": "f − f*", "square": "‖∇f‖²"}
SETTINGS = {"authors": "authors' steps", "loss": "tuned by f − f*", "square": "tuned by ‖∇f‖²"}


@dataclasses.dataclass
class Options:
    """Three ways to deal with thousands of slow workers."""

    out: Path = Path("results/worst_case")
    """Folder for the numbers, the page and the figures."""
    seeds: int = 5
    """Clocks and noises; intervals are over these."""
    quick: bool = False
    """Few workers, coordinates and seconds, for tests."""
    redraw: bool = False
    """Only the figures and the page, from the numbers there are."""


def clock(n):
    i = np.arange(n)
    return ja.times.half_normal(1 + np.sqrt(i), np.sqrt(i + 1))


def make(method, rate, threshold):
    if method == "synchronous":
        return ja.methods.sync_sgd(rate)
    return METHODS[method](rate) if threshold is None else METHODS[method](rate, threshold)


def measure(options: Options):
    quick = options.quick
    n, dim, until, seeds = (30, 30, 40.0, 2) if quick else (6174, 1729, 2000.0, options.seeds)
    rates = sorted(numbers[0] for numbers in AUTHORS.values()) if quick else RATES
    grid = {"learning_rate": rates, "threshold": [6] if quick else THRESHOLDS}
    times, tuning, ends, curves = clock(n), [], [], []
    write(options.out / "setting.csv", [{"workers": n, "dim": dim, "until": until, "seeds": seeds}])
    looks_at = until * np.linspace(0, 1, 41) ** 2
    for noise in NOISES:
        problem = ja.problems.tridiagonal(dim, noise=NOISE, shared=noise == "shared")
        ends_at = {"until": until, "target_gradient_norm": 1e-30}
        if quick:  # everything in one
            every = METHODS | {"synchronous": ja.methods.sync_sgd(1.0)}
            more = {"evaluate": looks_at, "how": "loop", "seeds": [*range(seeds), 100]}
            found = ja.sweep(problem, times, every, grid, **ends_at, **more).members
        else:
            found = ja.sweep(problem, times, METHODS, grid, seeds=[100], points=2, **ends_at).members
        rows = [{"noise": noise} | who(member) | final(member) for member in found if member.method in METHODS]
        tuning += [row for row in rows if row["seed"] == 100]
        chosen = settings([row for row in rows if row["seed"] == 100]) | {("authors", "synchronous"): SYNCHRONOUS}
        if not quick:
            methods = {str(one): make(*one) for one in dict.fromkeys(chosen.values())}
            found = ja.sweep(problem, times, methods, seeds=seeds, evaluate=looks_at, **ends_at).members
        for (setting, method), one in chosen.items():
            runs = [m for m in found if m.seed != 100 and str(one) in (m.method, str(tuple(who(m).values())[:3]))]
            told = {"noise": noise, "setting": setting, "method": method, "learning_rate": one[1], "threshold": one[2]}
            ends += [told | {"seed": run.seed, "updates": int(run.columns["update"][-1])} | final(run) for run in runs]
            curves += averages(told, runs, looks_at)
    for name, rows in (("tuning", tuning), ("ends", ends), ("curves", curves)):
        write(options.out / f"{name}.csv", rows)


def who(member) -> dict:
    rate = member.numbers.get("learning_rate", 1.0 if member.method == "synchronous" else None)
    numbers = {"learning_rate": rate, "threshold": member.numbers.get("threshold")}
    return {"method": member.method} | numbers | {"seed": member.seed}


def final(member) -> dict:
    """The last loss and squared gradient norm; nan where it diverged."""
    good = member.status != "diverged"
    loss, norm = (float(member.columns[name][-1]) for name in ("loss", "gradient_norm"))
    return {"loss": loss if good else np.nan, "square": norm**2 if good else np.nan}


def settings(tuning) -> dict:
    """(setting, method) -> (method, step, threshold): the authors', and the best by either criterion."""
    chosen = {("authors", method): (method, *numbers) for method, numbers in AUTHORS.items()}
    for criterion in CRITERIA:
        for method in METHODS:
            row = best(pick(tuning, method=method), criterion)
            chosen[criterion, method] = method, row["learning_rate"], row["threshold"]
    return chosen


def best(rows, criterion) -> dict:
    return min((row for row in rows if np.isfinite(row[criterion])), key=lambda row: row[criterion])


def averages(told, runs, looks_at) -> list[dict]:
    """Geometric means over seeds at every look, with 95 % intervals; a run holds its last value."""
    rows = []
    for k, time in enumerate(looks_at.tolist()):
        row = told | {"time": time}
        for name, column, power in (("loss", "loss", 1), ("square", "gradient_norm", 2)):
            last = [run.columns[column][min(k, len(run.columns[column]) - 1)] for run in runs]
            mean, low, high = np.exp(interval(power * np.log(last)))
            row |= {name: mean, f"{name}_low": low, f"{name}_high": high}
        rows.append(row)
    return rows


# ------------------------------------------------------------------- what is known exactly


def rennala_expected(dim, noise, rate, batch, updates) -> dict:
    """E[f - f*] and E ||grad f||^2 of SGD with fresh gradients, after so many updates, eigenvalue by eigenvalue."""
    k = np.arange(1, dim + 1)
    values = (1 - np.cos(np.pi * k / (dim + 1))) / 2
    at = lambda vector: np.sqrt(2 / (dim + 1)) * np.sin(np.pi * np.outer(k, k) / (dim + 1)) @ vector
    away = np.eye(1, dim)[0] * np.sqrt(dim) - (k / (dim + 1) - 1.0)
    power = np.ones(dim) if noise == "independent" else at(np.ones(dim)) ** 2
    shrink = (1 - rate * values) ** 2
    square = shrink**updates * at(away) ** 2 + power * (rate * NOISE) ** 2 / batch * (1 - shrink**updates) / (
        1 - shrink
    )
    return {"loss": float(values @ square / 2), "square": float(values**2 @ square)}


# ------------------------------------------------------------------- figures


def figures(out: Path) -> dict:
    return {"worst_case.svg": draw(out), "tuning.svg": draw_tuning(out)}


PANELS = (("shared", "authors"), ("independent", "authors"), ("independent", "loss"))


def draw(out: Path):
    curves, (about,) = read(out / "curves.csv"), read(out / "setting.csv")
    look = looks([*METHODS, "synchronous"], PUBLISHED)
    with pyplot().rc_context(STYLE):
        figure, axes = pyplot().subplots(2, 3, figsize=(7.0, 4.2), layout="constrained", sharey="row", sharex=True)
        for column, (noise, setting) in zip(axes.T, PANELS, strict=True):
            for ax, measure in zip(column, CRITERIA, strict=True):
                tidy(ax)
                for method in look:
                    rows = pick(curves, noise=noise, method=method, setting=setting)
                    rows = rows or pick(curves, noise=noise, method=method, setting="authors")
                    seconds = [row["time"] for row in rows]
                    ax.plot(seconds, [row[measure] for row in rows], linewidth=1.2, label=method, **look[method])
                    band = [[row[f"{measure}_{end}"] for row in rows] for end in ("low", "high")]
                    ax.fill_between(seconds, *band, color=look[method]["color"], alpha=0.2, linewidth=0)
                ax.set(yscale="log", xlim=(0, about["until"]))
            column[0].set_title(f"{SETTINGS[setting]},\n{noise} noise")
            column[1].set_xlabel("Simulated seconds")
        for ax, measure in zip(axes[:, 0], CRITERIA.values(), strict=True):
            ax.set_ylabel(measure)
        figure.legend(handles=axes[0, 0].get_lines(), loc="outside upper left", ncols=4, borderaxespad=0.4)
    return figure


def draw_tuning(out: Path):
    """f - f* at the end over the step, a line for each threshold; ringed: the best of each method."""
    rows = read(out / "tuning.csv")
    look = looks(METHODS, PUBLISHED)
    with pyplot().rc_context(STYLE):
        figure, axes = pyplot().subplots(2, 3, figsize=(7.0, 3.8), layout="constrained", sharey=True, sharex=True)
        for panels, noise in zip(axes, NOISES, strict=True):
            for ax, method in zip(panels, METHODS, strict=True):
                tidy(ax)
                mine = pick(rows, noise=noise, method=method)
                levels = list(dict.fromkeys(row["threshold"] for row in mine))
                for shade, level in zip(np.linspace(1.0, 0.25, len(levels))[::-1], levels, strict=True):
                    some = pick(mine, threshold=level)
                    style = {"color": look[method]["color"], "alpha": shade, "linewidth": 0.7 + shade}
                    label = f"{LETTER[method]} = {level}" if method in LETTER else None
                    ax.plot(
                        [r["learning_rate"] for r in some], [r["loss"] for r in some], marker=".", label=label, **style
                    )
                row = best(mine, "loss")
                ax.plot(row["learning_rate"], row["loss"], "o", markersize=7, mfc="none", color=look[method]["color"])
                ax.set(xscale="log", yscale="log", title=f"{method}, {noise} noise")
                if method in LETTER:
                    ax.legend(loc="lower left" if method == "Rennala" else "upper right", handlelength=1.2)
        for ax in axes[:, 0]:
            ax.set(ylabel="f − f* at the end", ylim=(min(r["loss"] for r in rows) / 2, 60))
        for ax in axes[1]:
            ax.set_xlabel("Step")
    return figure


# ------------------------------------------------------------------- the page


def values(out: Path) -> dict:
    ends, (about,) = read(out / "ends.csv"), read(out / "setting.csv")
    told = {"at_edge": edges(read(out / "tuning.csv"))} | about
    for noise in NOISES:
        told[f"table_{noise}"] = table(pick(ends, noise=noise))
        for setting in SETTINGS:
            for criterion in CRITERIA:
                told[f"{noise}_{setting}_{criterion}"] = order(pick(ends, noise=noise, setting=setting), criterion)
    tuned = lambda method, name: pick(ends, noise="independent", setting="loss", method=method)[0][name]
    return told | {
        "expected": expected(ends, about["dim"]),
        "verdict_shared_authors": verdict(ends, "shared", ("authors", "authors")),
        "verdict_independent_authors": verdict(ends, "independent", ("authors", "authors")),
        "verdict_independent_tuned": verdict(ends, "independent", ("loss", "square")),
        "ringmaster_threshold": tuned("Ringmaster", "threshold"),
        "rennala_batch": tuned("Rennala", "threshold"),
        "adaptive_step": f"{tuned('delay-adaptive', 'learning_rate'):.2g}",
    }


def verdict(ends, noise, chosen) -> str:
    """Whether the paper's order holds by each criterion, in words; by `chosen` setting for each."""
    said = []
    for (criterion, name), setting in zip(CRITERIA.items(), chosen, strict=True):
        mine = pick(ends, noise=noise, setting=setting)
        log = {m: np.log([row[criterion] for row in pick(mine, method=m)]) for m in METHODS}
        ahead = lambda one, other, log=log: interval(log[other] - log[one])[1] > 0
        behind = ahead("Ringmaster", "delay-adaptive") and ahead("Rennala", "delay-adaptive")
        ring, renn = ahead("Ringmaster", "Rennala"), ahead("Rennala", "Ringmaster")
        first = "Ringmaster is first" if ring else "Rennala is first" if renn else "Ringmaster and Rennala are alike"
        if ahead("delay-adaptive", "Ringmaster") and ahead("delay-adaptive", "Rennala"):
            first, last = "delay-adaptive steps are first", ", against the paper"
        else:
            last = ", delay-adaptive steps are last" if behind else ", and delay-adaptive steps are not last"
        said.append(f"by {name} {first}{last}")
    return "; ".join(said)


def around(numbers) -> str:
    mean, _, high = interval(numbers)
    return f"{mean:.3g} ± {high - mean:.1g}"


def table(ends) -> str:
    rows = []
    for setting, title in SETTINGS.items():
        for method in [*METHODS, "synchronous"]:
            mine = pick(ends, setting=setting, method=method)
            if not mine:
                continue
            one = mine[0]
            step = f"{one['learning_rate']:.3g}" + (
                f", {LETTER[method]} = {one['threshold']}" if one["threshold"] else ""
            )
            cells = [title, method, step, f"{np.mean([row['updates'] for row in mine]):,.0f}"]
            for criterion in CRITERIA:
                cells.append(around([row[criterion] for row in mine]))
            rows.append(cells)
    return markdown(["steps", "method", "step", "updates", *CRITERIA.values()], rows)


def order(ends, criterion) -> str:
    """Methods from the best on, and how many times its number the others have, paired by seed, with 95 % intervals."""
    found = {m: np.log([row[criterion] for row in pick(ends, method=m)]) for m in METHODS}
    first, *others = sorted(found, key=lambda name: found[name].mean())
    told = [f"**{first}**"]
    for other in others:
        mean, low, high = np.exp(interval(found[other] - found[first]))
        alike = ", not told apart" if low < 1 else ""
        told.append(f"{other} {mean:.3g} times that ({low:.3g} to {high:.3g}{alike})")
    return "; ".join(told)


def edges(tuning) -> str:
    """Which best numbers lie at the end of the grid, in words."""
    at_end = []
    for noise in NOISES:
        for method in METHODS:
            mine = pick(tuning, noise=noise, method=method)
            for criterion in CRITERIA:
                row = best(mine, criterion)
                for name in ("learning_rate", "threshold"):
                    grid = sorted({r[name] for r in mine})
                    if len(grid) > 1 and row[name] in (grid[0], grid[-1]):
                        at_end.append(f"{method}'s {name.replace('_', ' ')} ({noise} noise, {CRITERIA[criterion]})")
    return f"At the end of the grid: {', '.join(at_end)}." if at_end else "No best value lies at the end of the grid."


def expected(ends, dim) -> str:
    rows = []
    for noise in NOISES:
        mine = pick(ends, noise=noise, setting="authors", method="Rennala")
        law = [rennala_expected(dim, noise, r["learning_rate"], r["threshold"], r["updates"]) for r in mine]
        for criterion, name in CRITERIA.items():
            told = f"{np.mean([one[criterion] for one in law]):.3g}"
            rows.append([noise, name, told, around([row[criterion] for row in mine])])
    return markdown(["noise", "Rennala, authors' steps", "exact expectation", "measured"], rows)


def main(options: Options):
    experiment(__file__, options, measure, figures, values)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
