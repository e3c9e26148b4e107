"""Figures of comparisons and schedules. They read results; they never train. matplotlib comes with the first figure."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import shorten
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import histograms, portrait
from .checks import flag, probability, shown, string, word
from .figures import GREY, SMALL, STYLE, columns, legend, looks, numbers, panel, pyplot, save, tidy
from .histograms import delays
from .lateness import staleness
from .portrait import timeline
from .results import interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .results import Comparison

__all__ = ["comparison", "delays", "overview", "save", "staleness", "timeline"]

AXIS = {"time": "Simulated seconds", "update": "Updates", "gradients": "Gradients arrived"}

# ------------------------------------------------------------------- curves


def check_table(table):
    if not hasattr(table, "curves"):
        raise ValueError(f"table is a ja.Comparison (ja.compare makes one); got {shown(table)}.")


def listed(name, words) -> list[str]:
    """One string, or several."""
    words = [words] if isinstance(words, str) else words
    if not isinstance(words, (list, tuple)) or not all(isinstance(one, str) for one in words):
        raise ValueError(f"{name} is a name, or a list of names; got {shown(words)}.")
    return list(words)


class Average(NamedTuple):
    """One method's curve: mean and interval of all seeds, the mean of the `rest` once some have diverged."""

    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    rest: np.ndarray
    first: float  # where every seed has had its first look after the start
    diverged: list
    seeds: int


def comparison(
    table: Comparison,
    against: str = "time",
    of: str = "loss",
    *,
    ax: Any = None,
    level: float = 0.95,
    log: bool | None = None,
) -> Any:
    """Every method's mean over seeds, with a Student-t interval, against time, updates or gradients.

    Values are held from one evaluation to the next (steps), and a line ends where its first seed ran out. Where a
    seed has diverged (a cross on the upper edge; the legend says how many) the mean of all seeds does not exist any
    more: the line goes on dotted, without a band, as the mean of the others. A loss that grows a thousand times above
    the highest start leaves the panel.

    On a logarithmic axis the interval is that of the mean's logarithm, log m ± t s / (m sqrt(n)) (delta method): it
    belongs to the same mean m, is symmetric as drawn, and can't reach below zero as m ± t s / sqrt(n) would.
    The x axis is logarithmic, too, where methods differ tenfold in how many updates or gradients they made.

    Args:
        table: a `Comparison`.
        against: "time" (seconds), "update" or "gradients" (work units that arrived, discarded ones too).
        of: "loss", or another of `table.metrics`.
        ax: draw into this Axes. None: a new figure, 3.4 inches wide.
        level: of the interval.
        log: logarithmic y axis; None: for losses and norms that span more than a decade.

    Returns:
        The new Figure, or `ax`.

    Example:
        >>> import jaxasgd as ja
        >>> from jaxasgd import plot
        >>> methods = {"sync": ja.methods.sync_sgd(0.3), "async": ja.methods.asgd(0.1)}
        >>> times = ja.times.exponential(1.0, num_workers=4)
        >>> table = ja.compare(ja.problems.quadratic(dim=5), times, methods, until=20.0, seeds=2)
        >>> figure = plot.comparison(table, against="time")
        >>> figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()
        ('Simulated seconds', 'Loss')
    """
    check_table(table)
    word("against", against, *AXIS)
    string("of", of)
    log = log if log is None else flag("log", log)
    averages = {method: average(table, method, against, of, level) for method in table.methods}
    lines = sum(1 + len(with_count(method, one)) // 46 for method, one in averages.items())
    with panel(ax, (3.4, 2.2 + 0.13 * lines)) as drawn:
        curves(drawn, averages, against, of, log, names=published(table))
        legend(drawn, note(averages, level))
    return drawn if ax is not None else drawn.figure


def average(table, method, against, of, level) -> Average:
    probability("level", level)
    runs = table.of(method)
    table.curves(method, of, against, [0.0])  # checks the names
    ends = [run.columns[against][-1] for run in runs]
    budgets = [run.summary["seconds"] if against == "time" else end for end, run in zip(ends, runs, strict=True)]
    end = min((end for end, run in zip(budgets, runs, strict=True) if run.status == "finished"), default=max(ends))
    grid = np.unique(np.concatenate([run.columns[against] for run in runs] + [[end]])).astype(np.float64)
    grid = np.linspace(0, end, 1001) if len(grid) > 2000 else grid[grid <= end]
    _, values = table.curves(method, of, against, grid)
    values = np.where(np.isfinite(values), values, np.nan)
    there = np.isfinite(values)
    with np.errstate(all="ignore"):
        mean, low, high = interval(values, level)
        rest = np.where(there, values, 0).sum(axis=0) / there.sum(axis=0)
    whole = np.all(there, axis=0)
    rest[whole & ~np.append(~whole[1:], False)] = np.nan  # keep the last whole point: there the dotted line begins
    diverged = [end for end, run in zip(ends, runs, strict=True) if run.status == "diverged"]
    first = max(run.columns[against][:2][-1] for run in runs)
    return Average(grid, mean, low, high, rest, first, diverged, len(runs))


def note(averages, level) -> str:
    seeds = max(one.seeds for one in averages.values())
    return f"Mean of {seeds} seeds; bands: {100 * level:g}% t interval" if seeds > 1 else "One seed"


def with_count(method, one) -> str:
    """The method's name, and how many of its seeds diverged."""
    return f"{method} (× {len(one.diverged)} of {one.seeds} seeds diverged)" if one.diverged else method


def published(table) -> dict:
    """label -> the method's name on the page of the field."""
    return {label: info.get("name") for label, info in table.spec.get("methods", {}).items()}


def curves(ax, averages, against, of, log=None, names=None):
    """All curves and their axes, without a legend."""
    falls = "loss" in of or "norm" in of
    lines = np.concatenate([np.append(one.mean, one.rest) for one in averages.values()])
    lines = lines[np.isfinite(lines)]
    starts = [one.mean[0] for one in averages.values() if np.isfinite(one.mean[0])]
    if log is None:
        sane = lines[lines <= max(starts, default=0)]
        wide = len(sane) and sane.max() > 10 * sane[sane > 0].min(initial=np.inf)
        log = bool(falls and wide and lines.min() >= 0)
    if falls and lines.max(initial=0) > 1000 * max(starts, default=np.inf) > 0:
        lines = lines[lines <= (10 if log else 3) * max(starts)]  # what explodes leaves the panel
    if log and not (lines > 0).any():
        raise ValueError(f"a logarithmic axis needs positive values; {of!r} has none: leave log out, or log=False.")
    ends = [max(one.x[-1], *one.diverged, 0) for one in averages.values()]
    log_x = against != "time" and max(ends) > 10 * min(ends) > 0
    bands = []
    for (method, one), look in zip(averages.items(), looks(averages, names).values(), strict=True):
        low, high = one.low, one.high
        if log:
            with np.errstate(all="ignore"):
                factor = np.exp((one.high - one.mean) / one.mean)
                low, high = one.mean / factor, one.mean * factor
        shown = slice(int(np.searchsorted(one.x, one.first)) if log_x else 0, None)
        x = one.x[shown]
        ax.fill_between(x, low[shown], high[shown], step="post", color=look["color"], alpha=0.2, linewidth=0)
        ax.plot(x, one.mean[shown], drawstyle="steps-post", linewidth=1.2, label=with_count(method, one), **look)
        if one.diverged:
            dots = look | {"linestyle": ":"}
            ax.plot(x, one.rest[shown], drawstyle="steps-post", linewidth=1.0, label="_rest", **dots)
            place = {"transform": ax.get_xaxis_transform(), "clip_on": False, "zorder": 5, "label": "_diverged"}
            ax.plot(one.diverged, np.ones(len(one.diverged)), "x", color=look["color"], markersize=4.5, **place)
        bands += [low[shown], high[shown]]
    if log:
        ax.set_yscale("log")
    if len(lines):
        ax.set_ylim(*limits(lines, np.concatenate(bands), log))
    if log_x:
        ax.set_xscale("log")
    else:
        numbers(ax.xaxis, max(ends), whole=against != "time")
        ax.set_xlim(0, max(ends) or 1)
    ax.set_xlabel(AXIS[against])
    ax.set_ylabel(of.replace("_", " ").capitalize())


def limits(lines, bands, log):
    """All lines, and the bands as long as they do not squeeze them."""
    to, back = (np.log10, lambda y: 10.0**y) if log else (np.asarray, float)
    lines, bands = (to(values[(values > 0) | (not log)]) for values in (lines, bands[np.isfinite(bands)]))
    low, high = lines.min(), lines.max()
    room = (high - low) or abs(high) or 1.0
    bottom = max(bands.min(initial=low), low - 0.3 * room) - 0.05 * room
    if not log and low >= 0:
        bottom = max(bottom, -0.05 * room)
    return back(bottom), back(min(bands.max(initial=high), high + 0.3 * room) + 0.05 * room)


# ----------------------------------------------------------------- overview


def overview(
    table: Comparison,
    of: str | Sequence[str] = ("loss",),
    *,
    title: str | None = None,
    timelines: str | Sequence[str] | None = None,
    level: float = 0.95,
) -> Figure:
    """A comparison on one page, 7.2 inches wide: what was reached against all three axes, and why.

    A row of panels per metric, against time, updates and gradients; below them the delays of every method, and the
    workers' timelines of two methods, over the same window with the same colours. Delays and timelines are those of
    each method's first seed; the row is left out where the comparison has no schedules.

    Args:
        table: a `Comparison`.
        of: a metric, or several, from `table.metrics`.
        title: of the whole figure.
        timelines: names of the two methods (or one) whose timelines are shown; None: the first, and the next with
            another timeline.
        level: of the intervals, see `comparison`.

    Returns:
        A Figure.

    Example:
        >>> import jaxasgd as ja
        >>> from jaxasgd import plot
        >>> methods = {"sync": ja.methods.sync_sgd(0.3), "async": ja.methods.asgd(0.1)}
        >>> times = ja.times.exponential(1.0, num_workers=4)
        >>> table = ja.compare(ja.problems.quadratic(dim=5), times, methods, until=20.0, seeds=2)
        >>> figure = plot.overview(table, title="Four workers")
        >>> [axes.get_title(loc="left") for axes in figure.axes][3:6]
        ['Delays (triangles: means)', 'Workers: sync', 'Workers: async']
    """
    check_table(table)
    title = title if title is None else string("title", title)
    of, timelines = listed("of", of), timelines if timelines is None else listed("timelines", timelines)
    names = [name for name in table.methods if name in table.schedules]
    timelines = pair(table, names) if timelines is None else timelines
    wrong = [name for name in timelines if name not in names]
    if wrong or len(timelines) > 2 or not of:
        raise ValueError(
            f"an overview has one metric or more and one or two timelines, of methods with a schedule: {names}; "
            f"got of={of!r}, timelines={timelines!r}."
        )
    averages = {(m, x): {name: average(table, name, x, m, level) for name in table.methods} for m in of for x in AXIS}
    plt = pyplot()
    with plt.rc_context(STYLE):
        rows = len(of) + bool(timelines)
        figure = plt.figure(figsize=(7.2, 0.5 + 1.8 * rows), layout="constrained")
        panels = figure.subplots(rows, 3, squeeze=False)
        for axes, metric in zip(panels, of, strict=False):
            for ax, against in zip(axes, AXIS, strict=True):
                tidy(ax)
                log = None if ax is axes[0] else axes[0].get_yscale() == "log"
                curves(ax, averages[metric, against], against, metric, log, published(table))
                if against != "time":
                    ax.sharey(axes[0])
                    ax.set_ylabel("")
                    ax.tick_params(axis="y", labelleft=False)
        if timelines:
            causes(table, names, timelines, *panels[-1])
        lines = [line for line in panels[0][0].lines if not line.get_label().startswith("_")]
        place = {"loc": "outside upper left", "title": title, "alignment": "left", "borderaxespad": 0.6}
        top = figure.legend(handles=lines, ncols=columns([line.get_label() for line in lines], 7.0), **place)
        top.get_title().set_fontsize(9)
        told = note(averages[of[0], "time"], level)
        figure.supxlabel(told, x=0.005, ha="left", fontsize=SMALL, color=GREY)
    return figure


def causes(table, names, timelines, first, *others):
    """The lower row: delays, and one or two timelines of the same workers on one scale."""
    tidy(first)
    schedules = {name: table.schedules[name] for name in names}
    histograms.distributions(first, schedules, looks(table.methods, published(table)))
    shown = [table.schedules[name] for name in timelines]
    ends = [portrait.window(schedule) for schedule in shown]
    until = min(float(np.prod(ends)) ** (1 / len(ends)), 3 * min(ends))
    longest = max(shown, key=len)
    image = longest.num_workers > portrait.MOST_BARS
    workers = portrait.choose(longest, portrait.MOST_ROWS if image else 24, image)
    jobs = [portrait.find_jobs(schedule, until, workers) for schedule in shown]
    scale = portrait.colours(np.concatenate([one.delay for one in jobs]))
    show = portrait.paint if image else portrait.draw
    kinds = [show(*each, scale) for each in zip(others, shown, jobs, strict=False)]
    inches = others[0].get_position().width * first.figure.get_figwidth()
    labels = [[entry.get_label() for entry in entries] for entries in kinds]
    pad = 3 + 9 * max(-(-len(some) // columns(some, inches)) for some in labels)  # room for the larger legend
    first.set_title("Delays (triangles: means)", pad=pad)
    for ax, name, entries in zip(others, timelines, kinds, strict=False):
        ax.set_title(shorten(f"Workers: {name}", 36, placeholder=" …"), pad=pad)
        if entries:
            legend(ax, handles=entries, bbox_to_anchor=(0, 1.01))
    if len(shown) == 1:
        others[1].remove()
        others[0].set_subplotspec(others[0].get_gridspec()[-1, 1:])
    else:  # the same rows
        others[1].set_ylabel("")
        others[1].tick_params(axis="y", labelleft=False)
    portrait.colour_bar(scale, others[len(shown) - 1])


def pair(table, names) -> list:
    """The first method, and the next whose timeline is another."""
    rest = [name for name in names[1:] if not same(table.schedules[name], table.schedules[names[0]])]
    return names[:1] + rest[:1]


def same(one, other) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("time", "worker", "use", "step"))
