"""What a page shows of a comparison: the figure, the final values with their intervals, the methods, the settings."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np

from ..results import interval
from .blocks import Table
from .files import count
from .pictures import drawn
from .settings import inner, words


def about(table) -> str:
    """A line on what was compared."""
    spec = table.spec
    problem = spec.get("problem")
    if isinstance(problem, dict):
        problem = next((problem[key] for key in ("name", "model", "kind") if problem.get(key)), None)
    told = [count(len(table.methods), "method") + (f" on {problem}" if problem else "")]
    if spec.get("num_workers"):
        told.append(count(spec["num_workers"], "worker"))
    told.append(count(len({run.seed for run in table.runs}), "seed"))
    if spec.get("until"):
        told.append(f"{words(spec['until'])} simulated seconds")
    elif isinstance(spec.get("num_updates"), int):
        told.append(count(spec["num_updates"], "update"))
    if spec.get("complete") is False:
        told.append("stopped before all runs were made")
    return " ".join([", ".join(told) + ".", *(f"Doubtful: {doubt}" for doubt in spec.get("doubts", ()))])


def figure(table):
    """The overview, drawn anew from the numbers."""
    from .. import plot

    accuracy = [metric for metric in ("test_accuracy", "accuracy") if metric in table.metrics]
    of = ("loss", *accuracy[:1]) if "loss" in table.metrics else tuple(table.metrics[:1])
    told = " and ".join(metric.replace("_", " ") for metric in of)
    alt = f"{told.capitalize()} against simulated seconds, updates and gradients, for {', '.join(table.methods)}"
    below = "; below, delays and workers' timelines" if table.schedules else ""
    return drawn(plot.overview(table, of=of), alt + below)


def final(table, level=0.95) -> Table:
    """A row for each method: what it did, and its last values as mean (low to high) over seeds."""
    outcomes = [Counter(run.status for run in table.of(method)) for method in table.methods]
    odd = any(set(outcome) != {"finished"} for outcome in outcomes)
    head = ["method", "seeds", *(["ended"] if odd else []), "seconds", "updates", "mean delay", "discarded", "busy"]
    head += [f"final {metric.replace('_', ' ')}" for metric in table.metrics]
    rows = []
    for method, outcome in zip(table.methods, outcomes, strict=True):
        runs = table.of(method)
        mean = lambda name: np.mean([run.summary[name] for run in runs])
        ends = [(run.columns["time"][-1], run.ended) for run in runs if run.status != "finished"]
        ends += [(run.summary["seconds"], run.summary["updates"]) for run in runs if run.status == "finished"]
        seconds, updates = np.mean(ends, axis=0)
        told = ", ".join(f"{number} {status}" for status, number in outcome.items())
        row = [method, str(len(runs)), *([told] if odd else [])]
        row += [f"{seconds:.4g}", f"{updates:.0f}", f"{mean('mean_delay'):.1f}"]
        row += [f"{mean('discarded'):.0%}", f"{mean('utilisation'):.0%}"]
        rows.append(row + [spread(table.final(method, metric), outcome, level) for metric in table.metrics])
    seeds = max(len(table.of(method)) for method in table.methods)
    told = "One seed, so no intervals"
    if seeds > 1:
        told = f"Means over seeds at the end of the runs; in brackets {100 * level:g} % Student t intervals"
    return Table(told, head, rows)


def spread(values, outcome, level) -> str:
    """Mean and interval in words; a dash where a seed diverged and there is no mean."""
    return with_interval(*interval(values, level)) if np.isfinite(values).all() and not outcome["diverged"] else "—"


def with_interval(mean, low, high) -> str:
    """To the digits that the interval leaves certain, and one more.

    Example:
        >>> with_interval(0.951962, 0.949871, 0.954053), with_interval(1234.5, 1200.0, 1269.0)
        ('0.9520 (0.9499 to 0.9541)', '1234 (1200 to 1269)')
        >>> with_interval(3.21e-8, 3.1e-8, 3.32e-8), with_interval(2.0, math.nan, math.nan)
        ('3.21e-08 (3.10e-08 to 3.32e-08)', '2')
    """
    half = (high - low) / 2
    if not half > 0:
        return f"{mean:.4g}"
    largest = max(abs(mean), abs(low), abs(high))
    after = 1 - math.floor(math.log10(half))
    if 1e-3 <= largest < 1e6 and after <= 7:
        form = f".{max(0, after)}f"
    else:
        form = f".{max(1, math.floor(math.log10(largest)) + after)}e"
    return f"{mean:{form}} ({low:{form}} to {high:{form}})"


def methods(table) -> Table | None:
    """What each method was: published name, policy, and its numbers."""
    told = table.spec.get("methods")
    if not isinstance(told, dict) or not all(isinstance(info, dict) for info in told.values()):
        return None
    rows = []
    for label, info in told.items():
        rest = {key: value for key, value in info.items() if key not in ("name", "policy", "function", "arguments")}
        numbers = ", ".join(f"{key.replace('_', ' ')} = {inner(value)}" for key, value in rest.items())
        rows.append([label, words(info.get("name", "")), words(info.get("policy", "")), numbers])
    return Table("Methods", ["method", "published as", "policy", "settings"], rows)


def again(folder, spec) -> str:
    """What makes the numbers once more, or reads them where no command is on record."""
    if isinstance(spec.get("command"), str):
        return spec["command"]
    return f"import jaxasgd as ja\n\ntable = ja.results.load({Path(folder).name!r})\nprint(table.spec)"
