"""What a schedule looks like: the distribution of its delays, and the timeline of its workers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from .figures import GREY, INK, SMALL, legend, looks, nice, numbers, panel, tidy
from .schedule import QUEUED, RUNNING, UNFINISHED, Schedule

MOST_UPDATES = 100  # more ticks than this are not drawn but counted
DISCARDED, LOST = -1, -2  # in the place of a delay; LOST - kind for unfinished jobs
RAMP = ("#edd07a", "#a5d29b", "#4fb3a9", "#2b7fa8", "#2c4d8f", "#1d1f4f")  # delay 0 to the largest; darker all the way

# ------------------------------------------------------------------- delays


def delays(schedules, *, ax=None):
    """The distribution of the delays of the gradients that were used: the share of them at each delay.

    Whole numbers have a step each up to a delay of 100; beyond, steps are bins of equal width, or, where a few delays
    lie far above all others, bins that widen geometrically on an axis of log(1 + delay). The y axis is logarithmic
    where tails are long or the peaks of methods differ much. Triangles are means. Methods with the same distribution
    share its line, in dashes.

    Args:
        schedules: name -> `Schedule`; names get their colours by their order.
        ax: draw into this Axes. None: a new figure, 3.4 inches wide.

    Returns:
        The new Figure, or `ax`.

    Example:
        >>> import jaxasgd as ja
        >>> from jaxasgd import plot
        >>> schedule = ja.simulate(ja.policies.asgd(), ja.times.fixed(1.0, num_workers=3), num_updates=6)
        >>> figure = plot.delays({"async": schedule})  # delays 0, 1, 2, 2, 2, 2
        >>> figure.axes[0].patches[-1].get_data().values.round(3).tolist()
        [0.167, 0.167, 0.667]
    """
    given = schedules.values() if isinstance(schedules, Mapping) else ()
    if not given or not all(isinstance(schedule, Schedule) for schedule in given):
        raise ValueError(f'schedules is a non-empty mapping, {{"async": schedule, ...}}; got {schedules!r}.')
    with panel(ax, (3.4, 2.1 + 0.13 * len(schedules))) as drawn:
        distributions(drawn, schedules)
        legend(drawn, handlelength=1.0)
    return drawn if ax is not None else drawn.figure


def distributions(ax, schedules, every=None):
    """All distributions, without a legend."""
    used = {name: schedule.delay[schedule.use].ravel() for name, schedule in schedules.items()}
    some = [values for values in used.values() if len(values)]
    largest = max((int(values.max()) for values in some), default=0)
    edges, per, geometric = bins(largest, max((np.quantile(values, 0.9) for values in some), default=0))
    shares = {name: np.histogram(values, edges)[0] / max(len(values), 1) for name, values in used.items()}
    to = np.log1p if geometric else np.asarray
    span, marks, room = to(edges[-1]) - to(edges[0]), [], 0.05
    for (name, share), look in zip(shares.items(), [(every or looks(shares))[name] for name in shares], strict=True):
        if not len(used[name]):
            ax.plot([], [], label=f"{name} (no gradient used)", **look)
            continue
        same = [other for other in shares if len(used[other]) and np.array_equal(shares[other], share)]
        if len(same) > 1:  # take turns along the one line
            look = look | {"linestyle": (4 * same.index(name), (4, 4 * (len(same) - 1)))}
        mean = used[name].mean()
        ax.stairs(share, edges, fill=True, color=look["color"], alpha=0.12 / len(same), linewidth=0, label="_fill")
        ax.stairs(share, edges, label="_share", linewidth=1.1, capstyle="butt", **look)
        level = sum(abs(to(mean) - to(other)) < 0.04 * span for other in marks)
        marks.append(mean)
        place = {"transform": ax.get_xaxis_transform(), "zorder": 5, "label": f"{name}, mean {mean:.3g}"}
        ax.plot([mean], [0.97 - 0.055 * level], "v", color=look["color"], markersize=4, markeredgewidth=0, **place)
        room = max(room, 0.05 + 0.055 * level)  # of the panel, above all shares
    peaks = [share.max() for share in shares.values() if share.any()]
    means = [values.mean() for values in some]
    if geometric or (some and (largest > 3 * max(means) + 5 or max(peaks) > 5 * min(peaks))):
        least = min(share[share > 0].min() for share in shares.values() if share.any())
        ax.set_yscale("log")
        ax.set_ylim(least / 2, max(peaks) * (2 * max(peaks) / least) ** (room / (1 - room)))
    else:
        ax.set_ylim(0, max(peaks, default=1) / (1 - room))
    if geometric:
        ax.set_xscale("function", functions=(np.log1p, np.expm1))
        ticks = [0] + [m * 10**k for k in range(9) for m in (1, 3) if m * 10**k <= largest]
        ax.set_xticks(ticks if len(ticks) < 7 else ticks[:1] + ticks[1::2], minor=False)
    else:
        numbers(ax.xaxis, largest)
    ax.set_xlim(edges[0] - (0 if geometric else 0.01 * span), edges[-1])
    ax.set_xlabel(f"Delay (updates{per})")
    ax.set_ylabel("Share of gradients")


def bins(largest, typical):
    """Edges between whole numbers; what a bin is, in words; and whether bins widen."""
    if largest <= 100:
        return np.arange(largest + 2) - 0.5, "", False
    if largest <= 8 * max(typical, 1):
        width = nice((largest + 1) / 60)
        number = -(-(largest + 1) // width)
        return width * np.arange(number + 1) - 0.5, f", bins of {width}", False
    edges = [0, 1, 2, 3]
    while edges[-1] <= largest:
        edges.append(max(edges[-1] + 1, round(edges[-1] * 2**0.5)))
    return np.array(edges) - 0.5, ", widening bins", True


# ----------------------------------------------------------------- timeline


def timeline(schedule, *, until=None, max_workers=32, ax=None):
    """Who computed when: a row per worker, a bar per job from its start to its end, coloured by its delay.

    Discarded gradients are hatched grey; jobs that never became a gradient (cancelled, lost, running at the end) are
    pale; where a worker is idle there is nothing. The server's updates are ticks in a row of their own, on top,
    unless there are more than 100. With more workers than `max_workers`, so many are shown, evenly from the
    fastest to the slowest by their seconds of work per gradient.

    Args:
        schedule: a `Schedule`, simulated or recorded.
        until: end of the window, in seconds; None: when the median worker's tenth gradient arrives.
        max_workers: rows at most, 2 or more.
        ax: draw into this Axes (the colour bar stands to its right). None: a new figure, 3.4 inches wide.

    Returns:
        The new Figure, or `ax`.

    Raises:
        ValueError: naming the rule, the value and the remedy.

    Example:
        >>> import jaxasgd as ja
        >>> from jaxasgd import plot
        >>> schedule = ja.simulate(ja.policies.asgd(), ja.times.exponential(1.0, num_workers=4), until=20.0)
        >>> [text.get_text() for text in plot.timeline(schedule).axes[0].get_yticklabels()]
        ['server', '0', '1', '2', '3']
    """
    if not isinstance(schedule, Schedule):
        raise ValueError(f"a timeline shows a ja.Schedule (ja.simulate makes one); got {schedule!r}.")
    if until is not None and not until > 0:
        raise ValueError(f"until is a number of seconds above 0, or None; got {until!r}.")
    if max_workers < 2:
        raise ValueError(f"max_workers is a number of rows, 2 or more; got {max_workers!r}.")
    jobs = find_jobs(schedule, window(schedule) if until is None else until, choose(schedule, max_workers))
    rows = len(jobs.workers)
    with panel(ax, (3.4, min(1.0 + 0.16 * min(rows, 8) + 0.045 * max(rows - 8, 0), 6.5))) as drawn:
        scale = colours(jobs.delay)
        kinds = draw(drawn, schedule, jobs, scale)
        delays = np.unique(jobs.delay[jobs.delay >= 0])
        if len(delays) == 1:
            kinds.insert(0, drawn.fill_between([], [], color=scale.to_rgba(delays[0]), label=f"delay {delays[0]}"))
        elif len(delays):
            colour_bar(scale, drawn)
        if kinds:
            legend(drawn, handles=kinds)
    return drawn if ax is not None else drawn.figure


class Jobs(NamedTuple):
    """The jobs within a window, cut off at its end: `delay` is `DISCARDED` or `LOST - kind` where there is none."""

    row: np.ndarray
    start: np.ndarray
    end: np.ndarray
    delay: np.ndarray
    workers: np.ndarray
    until: float


def find_jobs(schedule, until, workers) -> Jobs:
    """Arrived and unfinished jobs of these workers; `row` is a place in `workers`."""
    place = np.full(schedule.num_workers, -1)
    place[workers] = np.arange(len(workers))
    lost = schedule.unfinished
    delay = schedule.delay if schedule.delay.ndim == 1 else schedule.delay.max(axis=1)
    kept = (schedule.size > 0) & (schedule.start < until) & (place[schedule.worker] >= 0)
    more = (lost["kind"] != QUEUED) & (lost["start"] < until) & (place[lost["worker"]] >= 0)
    join = lambda name: np.concatenate([getattr(schedule, name)[kept], lost[name][more]])
    delay = np.concatenate([np.where(schedule.use, delay, DISCARDED)[kept], LOST - lost["kind"][more]])
    return Jobs(place[join("worker")], join("start"), np.minimum(join("time"), until), delay, workers, float(until))


def choose(schedule, most) -> np.ndarray:
    """The workers that get a row: all, or `most` of them evenly from the fastest to the slowest."""
    n, lost = schedule.num_workers, schedule.unfinished
    if n <= most:
        return np.arange(n)
    number = np.bincount(schedule.worker, schedule.size > 0, n)
    seconds = np.bincount(schedule.worker, schedule.time - schedule.start, n)
    counts = (lost["kind"] != RUNNING) | (number[lost["worker"]] == 0)  # the last job was merely cut off
    seconds += np.bincount(lost["worker"][counts], lost["seconds"][counts], n)
    mean = np.where(seconds > 0, seconds, np.inf) / np.maximum(number, 1)
    return np.argsort(mean, kind="stable")[np.linspace(0, n - 1, most).round().astype(int)]


def window(schedule, number=10) -> float:
    """When the median worker's `number`th gradient arrives, or the end."""
    n = schedule.num_workers
    order = np.argsort(schedule.worker, kind="stable")
    bounds = np.searchsorted(schedule.worker[order], np.arange(n + 1))
    last = bounds[:-1] + number - 1
    there = last < bounds[1:]
    times = np.full(n, np.inf)
    times[there] = schedule.time[order[last[there]]]
    return min(float(np.sort(times)[n // 2]), schedule.end) or schedule.end or 1.0


def colours(delays):
    """From a delay to a colour: a step for each up to 8, a ramp beyond, of log(1 + delay) where few are far above."""
    from matplotlib import cm, colors

    delays = delays[delays >= 0]
    largest = int(delays.max(initial=0))
    ramp = colors.LinearSegmentedColormap.from_list("delay", RAMP)
    if largest <= 8:
        ramp = colors.ListedColormap(ramp(np.arange(largest + 1) / max(largest, 4)))
        norm = colors.BoundaryNorm(np.arange(largest + 2) - 0.5, largest + 1)
    elif largest > 8 * max(np.quantile(delays, 0.9), 1):
        norm = colors.FuncNorm((np.log1p, np.expm1), vmin=0, vmax=largest)
    else:
        norm = colors.Normalize(0, largest)
    return cm.ScalarMappable(norm, ramp)


def colour_bar(scale, ax):
    """The key to the colours, beside the panel."""
    from matplotlib.colors import BoundaryNorm, FuncNorm

    bar = ax.figure.colorbar(scale, cax=ax.inset_axes([1.03, 0, 0.035, 1]), label="Delay (updates)")
    largest = int(scale.norm.vmax)
    if isinstance(scale.norm, BoundaryNorm):
        bar.set_ticks(np.arange(0, largest + 1, 1 if largest < 6 else 2))
    elif isinstance(scale.norm, FuncNorm):
        bar.set_ticks([0] + [m * 10**k for k in range(9) for m in (1, 3) if m * 10**k <= largest])
    else:
        numbers(bar.ax.yaxis, largest)
    bar.ax.minorticks_off()
    bar.outline.set_linewidth(0.4)
    bar.ax.tick_params(width=0.5, length=2, pad=1.5)


def draw(ax, schedule, jobs, scale) -> list:
    """The bars, ticks and labels; returns the legend's entries."""
    from matplotlib.collections import PolyCollection
    from matplotlib.patches import Patch

    rows = len(jobs.workers)
    tidy(ax, grid="")
    edge = 0.4 if len(jobs.row) < 40 * rows else 0.0
    low, high = jobs.row - 0.41, jobs.row + 0.41
    corners = np.stack(
        [np.stack([x, y], 1) for x, y in ((jobs.start, low), (jobs.end, low), (jobs.end, high), (jobs.start, high))], 1
    )
    discarded, lost = jobs.delay == DISCARDED, jobs.delay <= LOST
    used = ~(discarded | lost)
    grey = {"facecolor": "#d4d4d4", "edgecolor": "#8a8a8a", "hatch": "//////", "linewidth": 0.0}
    pale = {"facecolor": "#f4f4f4", "edgecolor": "#cccccc", "linewidth": edge}
    bars = [("jobs", used, {"edgecolor": "white", "linewidth": edge})]
    bars += [("discarded", discarded, grey), ("unfinished", lost, pale)]
    for name, chosen, style in bars:
        if chosen.any():
            colour = {"facecolor": scale.to_rgba(jobs.delay[chosen])} if name == "jobs" else {}
            ax.add_collection(PolyCollection(corners[chosen], label=name, **colour, **style), autolim=False)
    updates = schedule.time[schedule.step & (schedule.time <= jobs.until)]
    low, top = -0.8 - 0.02 * rows, -1.6 - min(0.1 * rows, 1.4 + 0.04 * rows)  # of the server's row
    if len(updates) <= MOST_UPDATES:
        ax.vlines(updates, top, low, color=INK, linewidth=0.5, label="updates")
    if not 0 < len(updates) <= MOST_UPDATES:
        told = f"{len(updates):,} updates" if len(updates) else "no update yet"
        ax.text(0, (top + low) / 2, told, fontsize=SMALL, color=GREY, va="center")
    ax.set_xlim(0, jobs.until)
    ax.set_ylim(rows - 0.4, top)
    numbers(ax.xaxis, jobs.until, whole=False)
    ax.set_xlabel("Simulated seconds" if "times" in schedule.info else "Seconds")
    label_rows(ax, schedule.num_workers, jobs.workers, (top + low) / 2)
    entries = [Patch(label="discarded", **grey)] if discarded.any() else []
    names = [UNFINISHED[kind] for kind in np.unique(LOST - jobs.delay[lost])]
    entries += [Patch(label=" or ".join(names), **pale)] if names else []
    return entries


def label_rows(ax, number, workers, server):
    rows = len(workers)
    if rows < number:
        shown, names = [0, (rows - 1) // 2, rows - 1], ["fastest", "median", "slowest"]
    else:
        shown = np.arange(0, rows, nice(rows / 8)).tolist()
        names = [str(row) for row in shown]
    ax.set_yticks([server, *shown], ["server", *names])
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.set_ylabel("Worker" if rows == number else f"Worker ({rows} of {number})")
