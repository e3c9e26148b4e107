"""What the experiments share: numbers in CSV files, learning rates on one grid, and pages made from the numbers."""

from __future__ import annotations

import csv
import dataclasses
import json
import shlex
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np

import jaxasgd as ja
from jaxasgd.colours import looks
from jaxasgd.figures import STYLE, legend, pyplot, tidy
from jaxasgd.problems.nets import Accuracy
from jaxasgd.results import environment, interval

# ------------------------------------------------------------------- numbers


def write(path: Path, rows: list[dict], digits=6) -> None:
    """Rows as CSV, floats to `digits` significant digits."""
    short = lambda value: f"{value:.{digits}g}" if isinstance(value, (float, np.floating)) else value
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: short(value) for key, value in row.items()} for row in rows)


def read(path: Path) -> list[dict]:
    """The rows again: numbers as int or float, anything else as text."""
    with open(path, newline="") as file:
        return [{key: value_of(text) for key, text in row.items()} for row in csv.DictReader(file)]


def value_of(text: str):
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"True": True, "False": False}.get(text, text)


def pick(rows: list[dict], **fixed) -> list[dict]:
    """The rows in which the named columns have these values."""
    return [row for row in rows if all(row[key] == value for key, value in fixed.items())]


def column(rows: list[dict], name: str) -> np.ndarray:
    return np.array([row[name] for row in rows], float)


def seen(rows: list[dict], name: str) -> list:
    """The different values of a column, in the order of the rows."""
    return list(dict.fromkeys(row[name] for row in rows))


def plus_minus(values) -> str:
    """Mean ± half its 95 % interval over seeds, to the digits that matter."""
    mean, _, high = interval(values)
    digits = max(0, 2 - int(np.floor(np.log10(max(abs(mean), 1e-12)))))
    return f"{mean:.{digits}f} ± {high - mean:.{digits}f}"


def ranking(found: dict) -> str:
    """Names from the lowest mean on, of name -> (mean, low, high): "<" where intervals are apart, "≈" where not."""
    order = sorted(found, key=lambda name: found[name][0])
    signs = ["<" if found[a][2] < found[b][1] else "≈" for a, b in pairwise(order)]
    return " ".join(word for pair in zip(order, [*signs, ""], strict=True) for word in pair if word)


def paired(one, other, digits="+.2f") -> tuple[int, str]:
    """`one` minus `other`, seed by seed: the sign of its 95 % interval (0 if that holds zero), and the numbers."""
    mean, low, high = (format(value, digits) for value in interval(np.asarray(one) - np.asarray(other)))
    return side(np.asarray(one) - np.asarray(other)), f"{mean} ({low} to {high})"


def side(values) -> int:
    """-1 or 1 where the 95 % interval over seeds lies below or above 0, else 0."""
    _, low, high = interval(values)
    return int(low > 0) - int(high < 0)


def markdown(heads: list[str], rows: list[list]) -> str:
    """A table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def seeds_of(rows: list[dict]) -> list:
    return sorted({row["seed"] for row in rows})


# ------------------------------------------------------------------- small images


@dataclasses.dataclass(frozen=True)
class Error:
    """Share of samples whose largest logit is not the label's: a metric of networks."""

    module: object

    def __call__(self, params, batch):
        return 1 - Accuracy(self.module)(params, batch)


def small_images(quick):
    """MNIST with its pixels averaged two by two, for networks that train in a second; quick: scikit-learn's digits."""
    data = ja.problems.images("digits" if quick else "mnist")
    square = lambda X: np.asarray(X).reshape(len(X), 14, 2, 14, 2).mean((2, 4)).reshape(len(X), -1)
    if data.name == "digits":
        return data
    return data._replace(X=square(data.X), X_test=square(data.X_test), name="MNIST")


# ------------------------------------------------------------------- an experiment


def experiment(script: str, options, measure: Callable, figures: Callable, values: Callable) -> None:
    """Measure, then draw and write the page from the files that measuring left; with `options.redraw`, only the latter.

    Args:
        script: `__file__`. The page is the text beside it, NAME.md, with `{names}` filled in; `{made}` says how.
        options: has `out`, `quick` and `redraw`.
        measure: options -> None; writes CSV files into `options.out`.
        figures: out -> {file name: Figure}.
        values: out -> {name: text or number} for the page.
    """
    out, script = options.out, Path(script)
    if not options.redraw:
        ja.results.prepare(out, overwrite=True)
        began = time.perf_counter()
        measure(options)
        told = {"command": command(script.name), "minutes": round((time.perf_counter() - began) / 60, 1)}
        (out / "made.json").write_text(json.dumps(told | environment(), indent=2) + "\n")
    for name, figure in figures(out).items():
        ja.plot.save(figure, out / name)
    text = page(script, out, values)
    (out / "README.md").write_text(text)
    print(text)


def page(script: Path, out: Path, values: Callable) -> str:
    """The text beside the script, with its numbers."""
    return script.with_suffix(".md").read_text().format(**values(out), made=made(out))


def made(out: Path) -> str:
    """How the numbers of a folder were made, in a sentence."""
    told = json.loads((out / "made.json").read_text())
    text = "Made by `{command}` in {minutes:g} minutes on {device} ({cores} cores) with jax {versions[jax]}."
    return text.format(**told)


def command(script: str) -> str:
    """What was typed, without the folder it wrote to."""
    words = sys.argv[1:]
    if "--out" in words:
        at = words.index("--out")
        words = words[:at] + words[at + 2 :]
    return shlex.join(["python", f"experiments/{script}", *words])


# ------------------------------------------------------------------- learning rates


def tuned(
    problem,
    times,
    methods,
    grid,
    metric,
    out: Path,
    *,
    until=None,
    num_updates=None,
    points=4,
    seeds,
    how=None,
    also=(),
) -> dict:
    """The learning rate of each method with the best mean final `metric`, on one grid; all numbers to tuning.csv.

    One sweep. Seeds should be others than the experiment's. A diverged run counts as the worst.

    Args:
        methods: name -> function of a learning rate.
        metric: a loss, a norm or an error is to be small, anything else large.
        num_updates: or name -> number, where methods need different ones for the same gradients.
        points, how: see `ja.sweep`. also: further metrics that go to the file.
    """
    takes = {name: (lambda learning_rate, make=make: make(learning_rate)) for name, make in methods.items()}
    ends = {"until": until, "points": points, "seeds": seeds, "how": how}
    if "gradient_norm" in (metric, *also):  # of the whole objective: reported where it may end a run
        ends["target_gradient_norm"] = 1e-30
    numbers = num_updates if isinstance(num_updates, dict) else dict.fromkeys(methods, num_updates)
    found = []
    for number in dict.fromkeys(numbers.values()):
        alike = {name: take for name, take in takes.items() if numbers[name] == number}
        found += ja.sweep(problem, times, alike, {"learning_rate": list(grid)}, num_updates=number, **ends).rows()
    keys = ("method", "learning_rate", "seed")
    rows = [{key: row[key] for key in keys} | {f"final_{of}": row[of] for of in (metric, *also)} for row in found]
    write(out / "tuning.csv", rows)
    return {name: best_rate(pick(rows, method=name), f"final_{metric}") for name in methods}


def small_is_good(metric) -> bool:
    return "loss" in metric or "norm" in metric or "error" in metric


def means(rows, metric) -> tuple[list, np.ndarray]:
    """Learning rates of one method, and the mean over seeds (nan where one has diverged)."""
    rates = sorted({row["learning_rate"] for row in rows})
    return rates, np.array([np.mean([row[metric] for row in pick(rows, learning_rate=rate)]) for rate in rates])


def best_rate(rows, metric) -> float:
    """The learning rate of one method with the best mean over seeds."""
    rates, mean = means(rows, metric)
    score = -mean if small_is_good(metric) else mean
    return rates[int(np.where(np.isfinite(score), score, -np.inf).argmax())]


def draw_tuning(path: Path, names=None, ax=None, chosen=None, look=None):
    """Final metric over the learning rate, a line a method, ringed where it was taken; diverged runs leave a gap.

    Args:
        path: tuning.csv. names: label -> published name (see `ja.figures.looks`). ax: draw here, not in a new figure.
        chosen: method -> learning rate, where it is not the best of the file. look: method -> colour and dashes.
    """
    rows = read(path)
    metric = next(key for key in rows[0] if key.startswith("final_"))
    with pyplot().rc_context(STYLE):
        figure = None if ax is not None else pyplot().figure(figsize=(3.4, 2.9), layout="constrained")
        ax = figure.subplots() if ax is None else ax
        tidy(ax)
        methods, seen = list(dict.fromkeys(row["method"] for row in rows)), []
        for method, line in (look or looks(methods, names)).items():
            mine = pick(rows, method=method)
            rates, mean = means(mine, metric)
            ax.plot(rates, mean, marker=".", markersize=4, linewidth=1.1, label=method, **line)
            at = rates.index((chosen or {}).get(method, best_rate(mine, metric)))
            seen += mean[: at + 1].tolist()
            ax.plot(rates[at], mean[at], "o", markersize=6, markerfacecolor="none", color=line["color"])
        ax.set(xscale="log", xlabel="Learning rate", ylabel=metric.replace("_", " ").capitalize())
        if small_is_good(metric):
            ax.set_yscale("log")
            ax.set_ylim(top=3 * np.nanmax(seen))  # what explodes leaves the panel
        legend(ax, "Ringed: taken")
    return figure


def legend_below(figure, ax, columns, **options):
    """One legend for all panels of a figure, below them, with what `ax` has: bars before lines."""
    pairs = sorted(zip(*ax.get_legend_handles_labels(), strict=True), key=lambda pair: "Bar" not in str(pair[0]))
    figure.legend(*zip(*pairs, strict=True), loc="outside lower center", ncols=columns, **options)


# ------------------------------------------------------------------- pages of a comparison


def reached(table, metric, level) -> str:
    """What each method had spent when it first reached a level of a metric: a table."""
    heads, rows = ["method", "simulated seconds", "updates", "gradients"], []
    for method in table.methods:
        cells = []
        for axis in ("time", "update", "gradients"):
            found = table.reach(method, level, of=metric, against=axis)
            missed = int(np.isnan(found).sum())
            cells.append(plus_minus(found) if not missed else f"missed by {missed} of {len(found)} seeds")
        rows.append([method, *cells])
    return markdown(heads, rows)


def ended(table, metric) -> str:
    """What each method did and where it came to: a table."""
    heads, rows = ["method", "learning rate", "updates", "gradients arrived", "mean delay", "final"], []
    for method in table.methods:
        mean = lambda name: np.mean([run.summary[name] for run in table.of(method)])
        gradients = np.mean([run.columns["gradients"][-1] for run in table.of(method)])
        counts = [f"{mean('updates'):.0f}", f"{gradients:.0f}", f"{mean('mean_delay'):.1f}"]
        rate = table.spec["learning_rates"][method]
        rows.append([method, f"{rate:g}", *counts, plus_minus(table.final(method, metric))])
    return markdown(heads, rows)


def apart(table, metric, one, other) -> str:
    """Difference of the final metric, `one` minus `other`, paired by seed, with its interval, in words and numbers."""
    sign, numbers = paired(table.final(one, metric), table.final(other, metric), "+.2g")
    better = -sign if small_is_good(metric) else sign
    return f"{('not to be told apart', 'better', 'worse')[better]}, {numbers}"


def overviews(out: Path, metric, title, timelines, limits=None) -> dict:
    """The figures of a comparison: its overview, `limits` along the metric, and the grid of learning rates."""
    table = ja.results.load(out)
    figure = ja.plot.overview(table, of=metric, title=title(table), timelines=timelines)
    if limits:
        figure.axes[0].set_ylim(*limits)  # the panels of a row share it
    if not (out / "tuning.csv").exists():
        return {"overview.svg": figure}
    grid = draw_tuning(out / "tuning.csv", ja.plot.published(table), chosen=table.spec["learning_rates"])
    return {"overview.svg": figure, "tuning.svg": grid}


def outcomes(out: Path, table, metric, levels, title) -> dict:
    """What the page of a comparison says of it."""
    first, second = (reached(table, metric, level) for level in levels)
    grid = "![learning rates](tuning.svg)\n\n" if (out / "tuning.csv").exists() else ""
    told = {"title": title(table), "until": f"{table.spec['until']:g}", "ended": ended(table, metric)}
    return told | {"first": first, "second": second, "tuning": grid}
