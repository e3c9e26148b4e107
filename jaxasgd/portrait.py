"""The timeline of a schedule's workers: a bar per job for a few of them, an image of all for many."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .checks import scalar, shown, whole
from .figures import GREY, INK, SMALL, legend, nice, numbers, panel, tidy
from .histograms import stretch
from .schedule import QUEUED, UNFINISHED, Schedule

MOST_BARS, MOST_ROWS = 40, 2000  # workers that get a bar; that get a row of the image
COLUMNS = 800  # of the image
MOST_UPDATES = 100  # more ticks than this are not drawn but counted
DISCARDED, LOST = -1, -2  # in the place of a delay; LOST - kind for unfinished jobs
# From delay 0 to the largest, darker all the way; in grey too, lighter is what was not used: "discarded", "unfinished"
RAMP = ("#dfb145", "#83b77c", "#43a19d", "#2b7fa8", "#2c4d8f", "#1d1f4f")
WASTE, PALE = "#d0d0d0", "#e8e8e8"


def timeline(
    schedule: Schedule,
    *,
    until: float | None = None,
    how: str | None = None,
    max_workers: int | None = None,
    ax: Any = None,
) -> Any:
    """Who computed when: a row per worker, a bar per job from its start to its end, coloured by its delay.

    Discarded gradients are grey, hatched in bars; jobs that never became a gradient (cancelled, lost, running at the
    end) are pale; where a worker is idle there is nothing. Where the schedule knows how long its workers computed
    (`busy`), the rest of a job, messages and waiting at the server, is the thin end of its bar, wherever within the
    job it was. The server's updates are ticks in a row of their own, on top; above 100, their rate is drawn.

    Above 40 workers the rows become an image of all of them, from the fastest to the slowest by their seconds of work
    per gradient: its pixels show the job that covers their middle. The legend says which shares of the workers' time
    in the window were wasted or idle.

    Args:
        schedule: a `Schedule`, simulated or recorded.
        until: end of the window, in seconds; None: when the median worker's tenth gradient arrives.
        how: "bars" or "image"; None: bars up to 40 workers, or where `max_workers` is given.
        max_workers: rows at most, 2 or more. With more workers, so many are shown, evenly from the fastest to the
            slowest. None: 40 in bars, 2000 in an image.
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
    if until is not None:
        scalar("until", until, "a number of seconds above 0, or None", lambda number: 0 < number < np.inf)
    if not (how is None or (isinstance(how, str) and how in ("bars", "image"))):
        raise ValueError(f'how is "bars" or "image", or None: what suits the number of workers; got {shown(how)}.')
    if max_workers is not None:
        max_workers = whole("max_workers", max_workers, 2, hint=" rows")
    image = how == "image" or (how is None and max_workers is None and schedule.num_workers > MOST_BARS)
    workers = choose(schedule, max_workers or (MOST_ROWS if image else MOST_BARS), image)
    jobs = find_jobs(schedule, window(schedule) if until is None else until, workers)
    rows = len(jobs.workers)
    height = 2.5 if image else min(1.0 + 0.16 * min(rows, 8) + 0.045 * max(rows - 8, 0), 6.5)
    with panel(ax, (3.4, height)) as drawn:
        scale = colours(jobs.delay)
        kinds = (paint if image else draw)(drawn, schedule, jobs, scale)
        delays = np.unique(jobs.delay[jobs.delay >= 0])
        if len(delays) == 1:
            kinds.insert(0, drawn.fill_between([], [], color=scale.to_rgba(delays[0]), label=f"delay {delays[0]}"))
        elif len(delays):
            colour_bar(scale, drawn)
        if kinds:
            legend(drawn, handles=kinds)
    return drawn if ax is not None else drawn.figure


# --------------------------------------------------------------------- jobs


class Jobs(NamedTuple):
    """The jobs within a window, cut off at its end: `delay` is `DISCARDED` or `LOST - kind` where there is none.

    `done` is where the computing ends, as drawn: `end`, unless the schedule knows how long a worker was `busy`.
    """

    row: np.ndarray
    start: np.ndarray
    done: np.ndarray
    end: np.ndarray
    delay: np.ndarray
    workers: np.ndarray
    until: float


def find_jobs(schedule, until, workers) -> Jobs:
    """Arrived and unfinished jobs of these workers; `row` is a place in `workers`."""
    place = np.full(schedule.num_workers, -1)
    place[workers] = np.arange(len(workers))
    lost, busy = schedule.unfinished, getattr(schedule, "busy", None)
    delay = schedule.delay if schedule.delay.ndim == 1 else schedule.delay.max(axis=1)
    kept = (schedule.size > 0) & (schedule.start < until) & (place[schedule.worker] >= 0)
    more = (lost["kind"] != QUEUED) & (lost["start"] < until) & (place[lost["worker"]] >= 0)
    join = lambda name: np.concatenate([getattr(schedule, name)[kept], lost[name][more]])
    delay = np.concatenate([np.where(schedule.use, delay, DISCARDED)[kept], LOST - lost["kind"][more]])
    start, end = join("start"), np.minimum(join("time"), until)
    done = end
    if busy is not None:
        seconds = np.where(np.isfinite(busy), busy, np.inf)[kept]
        done = np.minimum(start + np.concatenate([seconds, np.full(int(more.sum()), np.inf)]), end)
    return Jobs(place[join("worker")], start, done, end, delay, workers, float(until))


def choose(schedule, most, by_speed=False) -> np.ndarray:
    """The workers that get a row: all, in their order or by speed; or `most`, evenly from fastest to slowest.

    Speed is all seconds of work over gradients that arrived. Workers that never rest and arrive as often are equally
    fast by that; among them the typical gradient decides.
    """
    n, lost, kept = schedule.num_workers, schedule.unfinished, schedule.size > 0
    if n <= most and not by_speed:
        return np.arange(n)
    worker, took = schedule.worker[kept], (schedule.time - schedule.start)[kept]
    number = np.bincount(worker, minlength=n)
    worked = np.bincount(worker, took, n) + np.bincount(lost["worker"], lost["seconds"], n)
    seconds = np.round(worked / (schedule.end or 1), 9)
    mean = np.where(seconds > 0, seconds, np.inf) / np.maximum(number, 1)
    middle = np.cumsum(number) - number + (number - 1) // 2
    median = np.append(took[np.lexsort((took, worker))], np.inf)[np.where(number > 0, middle, -1)]
    return np.lexsort((median, mean))[np.linspace(0, n - 1, min(n, most)).round().astype(int)]


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


# ------------------------------------------------------------------ colours


def colours(delays):
    """From a delay to a colour: steps up to 8; beyond, a ramp, stretched where a few are far above the median."""
    from matplotlib import cm, colors

    delays = delays[delays >= 0]
    largest, scale = int(delays.max(initial=0)), stretch(delays)
    ramp: colors.Colormap = colors.LinearSegmentedColormap.from_list("delay", RAMP)
    norm: colors.Normalize
    if largest <= 8:
        ramp = colors.ListedColormap(ramp(np.arange(largest + 1) / max(largest, 4)))
        norm = colors.BoundaryNorm(np.arange(largest + 2) - 0.5, largest + 1)
    elif scale:
        norm = colors.FuncNorm((scale.to, scale.back), vmin=0, vmax=largest)
    else:
        norm = colors.Normalize(0, largest)
    made = cm.ScalarMappable(norm, ramp)
    made.stretch = scale  # type: ignore[attr-defined]  # for `colour_bar`
    return made


def colour_bar(scale, ax):
    """The key to the colours, beside the panel."""
    from matplotlib.colors import BoundaryNorm
    from matplotlib.ticker import FixedLocator

    bar = ax.figure.colorbar(scale, cax=ax.inset_axes([1.03, 0, 0.035, 1]), label="Delay (updates)")
    largest = int(scale.norm.vmax)
    numbers(bar.ax.yaxis, largest)
    if isinstance(scale.norm, BoundaryNorm):
        bar.set_ticks(np.arange(0, largest + 1, 1 if largest < 6 else 2))
    elif scale.stretch:
        bar.ax.yaxis.set_major_locator(FixedLocator(scale.stretch.ticks(largest)))
    bar.ax.minorticks_off()
    bar.outline.set_linewidth(0.4)
    bar.ax.tick_params(width=0.5, length=2, pad=1.5)


# ------------------------------------------------------------------ drawing


def draw(ax, schedule, jobs, scale) -> list:
    """A bar per job; returns the legend's entries."""
    from matplotlib.collections import PolyCollection
    from matplotlib.patches import Patch

    rows = len(jobs.workers)
    tidy(ax, grid="")
    edge = 0.4 if len(jobs.row) < 40 * rows else 0.0
    discarded, lost = jobs.delay == DISCARDED, jobs.delay <= LOST
    shades = scale.to_rgba(np.maximum(jobs.delay, 0))
    shades[discarded] = 0.62, 0.62, 0.62, 1
    grey: dict[str, Any] = {"facecolor": "#d4d4d4", "edgecolor": "#8a8a8a", "hatch": "//////", "linewidth": 0.0}
    pale: dict[str, Any] = {"facecolor": "#f4f4f4", "edgecolor": "#cccccc", "linewidth": edge}
    used = {"facecolor": shades, "edgecolor": "white", "linewidth": edge}
    bars = [("jobs", ~(discarded | lost), used), ("discarded", discarded, grey), ("unfinished", lost, pale)]
    waits = jobs.done < jobs.end
    bars += [("waiting", waits, {"facecolor": shades, "linewidth": 0.0})]
    for name, chosen, style in bars:
        if chosen.any():
            thin = name == "waiting"
            x0, x1 = (jobs.done, jobs.end) if thin else (jobs.start, jobs.done)
            corners: Any = boxes(jobs.row[chosen], x0[chosen], x1[chosen], 0.09 if thin else 0.41)
            style = style | ({"facecolor": shades[chosen]} if style["facecolor"] is shades else {})
            ax.add_collection(PolyCollection(corners, label=name, **style), autolim=False)
    low, top = -0.8 - 0.02 * rows, -1.6 - min(0.1 * rows, 1.4 + 0.04 * rows)
    serve(ax, schedule, jobs.until, low, top)
    label_rows(ax, schedule.num_workers, rows, low, top)
    entries = [Patch(label="discarded", **grey)] if discarded.any() else []
    names = [UNFINISHED[kind] for kind in np.unique(LOST - jobs.delay[lost])]
    entries += [Patch(label=" or ".join(names), **pale)] if names else []
    return entries + ([ax.plot([], [], color=GREY, linewidth=1.5, label="messages, waiting")[0]] if waits.any() else [])


def boxes(row, x0, x1, half) -> np.ndarray:
    """The corners of bars, [bars, 4, 2]."""
    low, high = row - half, row + half
    return np.stack([np.stack(corner, 1) for corner in ((x0, low), (x1, low), (x1, high), (x0, high))], 1)


def paint(ax, schedule, jobs, scale) -> list:
    """A pixel per worker and moment; returns the legend's entries."""
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Patch

    tidy(ax, grid="")
    rows, found = len(jobs.workers), cells(jobs)
    shades = np.vstack([scale.to_rgba(np.maximum(jobs.delay, 0)), (1, 1, 1, 1)])  # the last one: idle
    shades[:-1][jobs.delay == DISCARDED] = to_rgba(WASTE)
    shades[:-1][jobs.delay <= LOST] = to_rgba(PALE)
    pixels = (255 * shades + 0.5).astype(np.uint8)[found]
    place = {"extent": (0, jobs.until, rows - 0.5, -0.5), "aspect": "auto", "interpolation": "none"}
    ax.imshow(pixels, label="jobs", **place)
    low, top = -0.5 - 0.03 * rows, -0.5 - 0.14 * rows
    serve(ax, schedule, jobs.until, low, top)
    label_rows(ax, schedule.num_workers, rows, low, top, by_speed=True)
    kinds = np.append(jobs.delay, 0)[found]
    kinds[found < 0] = LOST - len(UNFINISHED)
    names = {"discarded": (WASTE, kinds == DISCARDED)}
    names |= {name: (PALE, kinds == LOST - kind) for kind, name in enumerate(UNFINISHED)}
    names |= {"idle": ("white", found < 0)}
    entries = []
    for name, (colour, chosen) in names.items():
        if chosen.any():
            share = f"{chosen.mean():.0%}" if chosen.mean() >= 0.005 else "< 1%"
            entries.append(Patch(facecolor=colour, edgecolor="#b0b0b0", linewidth=0.4, label=f"{name} {share}"))
    return entries


def cells(jobs, columns=COLUMNS) -> np.ndarray:
    """Which job covers the middle of each of the window's columns, [workers, columns]; -1: none, the worker is idle."""
    edges = [np.ceil(x / jobs.until * columns - 0.5).astype(np.int64) for x in (jobs.start, jobs.end)]
    first, last = np.clip(edges, 0, columns)
    order = np.argsort(jobs.start, kind="stable")  # where jobs overlap, the later one is seen
    long = (last - first)[order]
    offset = np.arange(long.sum()) - np.repeat(np.cumsum(long) - long, long)
    found = np.full(len(jobs.workers) * columns, -1, np.int32)
    found[np.repeat((jobs.row * columns + first)[order], long) + offset] = np.repeat(order, long)
    return found.reshape(-1, columns)


def serve(ax, schedule, until, low, top):
    """The server's row, the time axis, and the limits: the rows of the workers are below."""
    updates = schedule.time[schedule.step & (schedule.time <= until)]
    told = f"{len(updates):,} updates" if len(updates) else "no update yet"
    if 0 < len(updates) <= MOST_UPDATES:
        ax.vlines(updates, top, low, color=INK, linewidth=0.5, label="updates")
    else:
        number, edges = np.histogram(updates, min(100, max(len(updates) // 10, 1)), (0, until))
        heights = low + 0.9 * (top - low) * number / max(number.max(), 1)
        ax.stairs(heights, edges, baseline=low, fill=True, color="#d6d6d6", label="rate")
        ax.text(0.01 * until, (top + low) / 2, told, fontsize=SMALL, color=INK, va="center")
    ax.set_xlim(0, until)
    numbers(ax.xaxis, until, whole=False)
    ax.set_xlabel("Simulated seconds" if "times" in schedule.info else "Seconds")


def label_rows(ax, number, rows, low, top, by_speed=False):
    """The names of the rows; the server's is from `low` to `top`, above them."""
    by_speed = by_speed or rows < number
    shown, names = [0, (rows - 1) // 2, rows - 1], ["fastest", "median", "slowest"]
    if rows == 2:
        shown, names = [0, 1], ["fastest", "slowest"]
    if not by_speed:
        shown = np.arange(0, rows, nice(rows / 8)).tolist()
        names = [str(row) for row in shown]
    ax.set_yticks([(top + low) / 2, *shown], ["server", *names])
    ax.set_ylim(rows - 0.4, top)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    whole = f"{number} workers, by speed" if by_speed else "Worker"
    ax.set_ylabel(whole if rows == number else f"Worker ({rows} of {number})")
