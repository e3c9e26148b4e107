"""How late gradients are: their delays over a run, and from worker to worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .checks import known, word
from .figures import GREY, INK, PALETTE, SMALL, STYLE, check_axes, legend, nice, numbers, pyplot, tidy
from .histograms import equal, stretch
from .schedule import Schedule

if TYPE_CHECKING:
    from .times import Times

FEW_DOTS, FEW_WORKERS, FEW_GROUPS = 2000, 6, 6
MOST_RANGES = 100  # workers whose ranges are bars; beyond, a band
BLUE, RED, DUST = PALETTE[0], PALETTE[1], "#8a8a8a"
SHADES, GREYS = ("#d3e3ef", "#0b4f80"), ("#dedede", "#6a6a6a")
MARKERS = "os^Dvp"


def staleness(schedule: Schedule, *, against: str = "time", times: Times | None = None, ax: Any = None) -> Any:
    """How late every gradient was, over the run and from worker to worker.

    First panel: the delay of each gradient that arrived, at its arrival. Below 2000 gradients they are dots (up to six
    workers have looks of their own), with crosses for discarded ones and a running mean; above, counts per cell, grey
    where most were discarded, with mean, median, 5% and 95% of the used ones, each over as many gradients. Where a
    few delays lie far above all others, the axis is one of log(1 + delay). Where parts of the parameters have delays
    of their own (`read` of [rows, groups]), the largest of a row is shown, and a running mean for each of up to six.

    Second panel: the mean delay of each worker's used gradients, with the range from 5% to 95% of them, against its
    mean seconds per gradient; grey and hollow where all of a worker's gradients were discarded.

    Args:
        schedule: a `Schedule`, simulated or recorded. Jobs that never became a gradient have no delay.
        against: "time" (seconds) or "update" (how many updates there were before the gradient).
        times: the worker-time model, for asynchronous SGD in which every gradient is an update: the workers' means m_i
            predict their mean delays, m_i * sum over j != i of 1 / m_j, a line in the second panel.
        ax: draw into this Axes (the first panel alone), or into these two. None: a new figure, 3.4 inches wide.

    Returns:
        The new Figure, or `ax`.

    Raises:
        ValueError: naming the rule, the value and the remedy.

    Example:
        >>> import jaxasgd as ja
        >>> from jaxasgd import plot
        >>> times = ja.times.fixed([1.0, 2.0])
        >>> schedule = ja.simulate(ja.policies.asgd(), times, num_updates=300)
        >>> over_run, workers = plot.staleness(schedule, times=times).axes
        >>> [round(float(delay), 3) for delay in workers.lines[-1].get_ydata()[[0, -1]]]  # 1 / 2 and 2 / 1
        [0.5, 2.0]
    """
    if not isinstance(schedule, Schedule):
        raise ValueError(f"staleness is that of a ja.Schedule (ja.simulate makes one); got {schedule!r}.")
    word("against", against, "time", "update")
    law = None if times is None else means(times, schedule.num_workers)
    axes = [] if ax is None else list(np.ravel(np.array(ax, object)))
    if len(axes) > 2:
        raise ValueError(f"ax is one Axes (the run alone), or two (the run and the workers); got {len(axes)}.")
    for one in axes:
        check_axes(one)
    plt = pyplot()
    with plt.rc_context(STYLE):
        axes = axes or list(plt.subplots(2, figsize=(3.4, 4.3), layout="constrained")[1])
        for drawn in axes:
            tidy(drawn)
        over_run(axes[0], schedule, against)
        if len(axes) == 2:
            over_workers(axes[1], schedule, law)
    return axes[0].figure if ax is None else ax


def means(times, number):
    """The workers' mean seconds, where they have one."""
    mean = known(getattr(times, "mean", None))
    if mean is None or mean.shape != (number,):
        raise ValueError(
            f"times is the worker-time model (ja.times) of the schedule's {number} workers; got {times!r}."
        )
    if not (mean > 0).all() or not np.isfinite(mean).any():
        raise ValueError(f"delays follow from mean seconds above 0; got {mean}: give ja.times.custom its mean=.")
    return mean[np.isfinite(mean)]  # who has none delivers at a rate of 0


# ------------------------------------------------------------------ the run


def over_run(ax, schedule, against):
    """Every gradient's delay, at its arrival."""
    from matplotlib.ticker import FixedLocator

    kept = schedule.size > 0
    x = (schedule.time if against == "time" else schedule.version)[kept]
    every = schedule.delay[kept].reshape(len(x), -1 if len(x) else 1)
    delay, use, worker = every.max(axis=1), schedule.use[kept], schedule.worker[kept]
    end = schedule.end if against == "time" else schedule.num_updates
    largest = int(delay.max(initial=0))
    scale, few = stretch(delay), len(x) < FEW_DOTS
    if few:
        known = schedule.num_workers <= FEW_WORKERS and every.shape[1] == 1  # else colours are for groups
        dots(ax, x, delay, use, worker if known else None)
    else:
        density(ax, x, delay, use, end, scale)
    running(ax, x[use], every[use], few)
    if not use.all():
        told = f"discarded ({1 - use.mean():.0%})"
        ax.plot([], [], "x" if few else "s", color=DUST, markersize=3.5, label=told)
    low, high = -0.5, max(largest + 0.5, 3.5)
    if scale:
        ax.set_yscale("function", functions=(scale.to, scale.back))
        low, high = scale.back(scale.to(largest) * np.array([-0.04, 1.04]))
    ax.set_ylim(low, high)
    numbers(ax.yaxis, largest)
    if scale:
        ticks: Any = scale.ticks(largest)
        ax.yaxis.set_major_locator(FixedLocator(ticks))
        ax.minorticks_off()
    ax.set_xlim(0 if against == "time" else -0.5, end or 1)
    numbers(ax.xaxis, end, whole=against == "update")
    seconds = "Simulated seconds" if "times" in schedule.info else "Seconds"
    ax.set_xlabel(seconds if against == "time" else "Updates")
    ax.set_ylabel("Delay (updates)")
    if len(delay):
        legend(ax, handlelength=1.2)
    else:
        ax.text(0.5, 0.5, "no gradient arrived", transform=ax.transAxes, ha="center", color=GREY)


def dots(ax, x, delay, use, worker):
    """A dot per used gradient, in the look of its worker if told; a cross per discarded one."""
    style = {"linestyle": "none", "clip_on": False}
    if not use.all():
        ax.plot(x[~use], delay[~use], "x", color=DUST, markersize=2.6, markeredgewidth=0.6, label="_discarded", **style)
    style |= {"markeredgewidth": 0, "alpha": 0.8}
    if worker is None and use.any():
        ax.plot(x[use], delay[use], "o", color=BLUE, markersize=2.0, label="gradients", **style)
    for i in [] if worker is None else np.unique(worker[use]).tolist():
        mine = use & (worker == i)
        ax.plot(x[mine], delay[mine], MARKERS[i], color=PALETTE[i], markersize=2.8, label=f"worker {i}", **style)


def density(ax, x, delay, use, end, scale):
    """How many gradients there are per cell, grey where most of them were discarded."""
    from matplotlib.colors import LinearSegmentedColormap, LogNorm

    largest = int(delay.max())
    wide = nice(end / 100)
    across = np.arange(0, end + 2 * wide, wide) - 0.5 if x.dtype.kind == "i" else np.linspace(0, end or 1, 101)
    up = scale.edges(largest, 60) if scale else equal(largest, 60)
    used, rest = (np.histogram2d(x[chosen], delay[chosen], (across, up))[0].T for chosen in (use, ~use))
    count = used + rest
    ramp = LinearSegmentedColormap.from_list
    most = max(count.max(), 10)
    looks = {"norm": LogNorm(1, most), "rasterized": True, "zorder": 1}
    shown = {"_gradients": (SHADES, used >= rest), "_discarded": (GREYS, used < rest)}
    for name, (colours, where) in shown.items():
        cells = np.ma.masked_where(~where | (count == 0), count)
        mesh = ax.pcolormesh(across, up, cells, cmap=ramp(name, colours), label=name, **looks)
        if name == "_gradients":
            bar = ax.figure.colorbar(mesh, cax=ax.inset_axes([1.03, 0, 0.035, 1]), label="Gradients per cell")
    bar.set_ticks([m * 10**k for k in range(10) for m in ((1, 2, 5) if most < 100 else (1,)) if m * 10**k <= most])
    bar.ax.yaxis.set_major_formatter(short)
    bar.ax.minorticks_off()
    bar.outline.set_linewidth(0.4)
    bar.ax.tick_params(width=0.5, length=2, pad=1.5)


def running(ax, x, every, few):
    """The running mean and, of many gradients, quantiles; where there are a few groups, a mean for each."""
    from matplotlib.patheffects import Normal, Stroke

    pieces = min(len(x) // 10, 30 if few else 80)
    if pieces < 2:
        return
    halo: dict[str, Any] = {} if few else {"path_effects": [Stroke(linewidth=2.2, foreground="white"), Normal()]}
    halo |= {"zorder": 4, "linewidth": 1.1}
    edges = np.linspace(0, len(x), pieces + 1).astype(int)
    number = np.diff(edges)
    mean = lambda values: np.add.reduceat(values, edges[:-1]) / number
    middle, largest = mean(x), every.max(axis=1)
    if 1 < every.shape[1] <= FEW_GROUPS:
        for group, values in enumerate(every.T):
            ax.plot(middle, mean(values), color=PALETTE[group], label=f"mean, group {group}", **halo)
        return
    if not few:
        ordered = largest[np.lexsort((largest, np.repeat(np.arange(pieces), number)))]
        for share, dashes, label in ((0.05, ":", "_5%"), (0.95, ":", "5 and 95%"), (0.5, "-", "median")):
            level = ordered[edges[:-1] + np.round(share * (number - 1)).astype(int)]
            ax.plot(middle, level, color=INK, linestyle=dashes, label=label, **halo)
    ax.plot(middle, mean(largest), color=INK if few else RED, label="mean", **halo)


# -------------------------------------------------------------- the workers


class Workers(NamedTuple):
    """The workers that delivered anything: `used` is false where all was discarded, and `delay` is of that then."""

    who: np.ndarray
    seconds: np.ndarray  # mean, per gradient
    delay: np.ndarray  # mean
    used: np.ndarray


def over_workers(ax, schedule, law):
    """Every worker's mean delay, against its mean seconds per gradient."""
    n, worker, kept = schedule.num_workers, schedule.worker, schedule.size > 0
    used = np.bincount(worker, schedule.use, n) > 0
    shown = np.where(used[worker], schedule.use, kept)
    delay = schedule.delay.reshape(len(worker), -1 if len(worker) else 1).max(axis=1)[shown]
    number, arrived = np.bincount(worker, shown, n), np.bincount(worker, kept, n)
    who = np.flatnonzero(number)
    seconds = np.bincount(worker, (schedule.time - schedule.start) * kept, n)[who] / arrived[who]
    mean = np.bincount(worker[shown], delay, n)[who] / number[who]
    found = Workers(who, seconds, mean, used[who])
    top = ranges(ax, found, delay, worker[shown], n)
    dots_of_workers(ax, found, n)
    if law is not None:
        at = np.unique(np.concatenate([law, seconds]))
        delays = at * (1 / law).sum() - 1
        look = {"color": INK, "linewidth": 1.0, "zorder": 1.9 if n <= MOST_RANGES else 3}
        ax.plot(at[delays >= 0], delays[delays >= 0], "--", label="mᵢ Σ 1/mⱼ, j ≠ i", **look)
    if len(who) and seconds.min() > 0 and seconds.max() > 30 * seconds.min() and mean.min() > 0:
        ax.set(xscale="log", yscale="log")
        ax.xaxis.set_major_formatter(short)
        ax.yaxis.set_major_formatter(short)
    else:
        top = float(max(top, mean.max(initial=0)))
        numbers(ax.xaxis, 0, whole=False)
        numbers(ax.yaxis, top, whole=not top)
        ax.margins(x=0.08)
        ax.set_ylim(-0.04 * (top or 1), 1.05 * (top or 1))
    ax.set_xlabel("Mean seconds per gradient")
    ax.set_ylabel("Mean delay of a worker")
    if len(who):
        legend(ax, handlelength=1.2)
    else:
        ax.set_xlim(0, 1)
        ax.text(0.5, 0.5, "no gradient arrived", transform=ax.transAxes, ha="center", color=GREY)


def ranges(ax, found, delay, worker, number) -> float:
    """From 5% to 95% of the delays: a bar for each of a few workers, a band for many; returns the highest end."""
    if number <= MOST_RANGES:
        low, high = quantiles(delay, worker, number)[:, found.who]
        colours = colours_of(found, number)
        ax.vlines(found.seconds, low, high, color=colours, linewidth=0.9, alpha=0.7, label="_range", zorder=1.5)
        return high.max(initial=0)
    who, seconds, _, _ = (values[found.used] for values in found)
    parts = min(40, len(who))  # of workers of about the same speed
    order, part = np.argsort(seconds, kind="stable"), np.full(number, parts)
    part[who[order]] = np.arange(len(who)) * parts // max(len(who), 1)
    low, high = quantiles(delay, part[worker], parts + 1)[:, :parts]
    x = np.bincount(part[who], seconds, parts)[:parts] / np.bincount(part[who], minlength=parts)[:parts]
    ax.fill_between(x, low, high, color=BLUE, alpha=0.2, linewidth=0, label="_range", zorder=1.5)
    return high.max(initial=0)


def dots_of_workers(ax, found, number):
    """A dot per worker, with its number where there are few; and the entries of the legend."""
    size = 3.0 if number <= MOST_RANGES else 2.0
    for used, colour, face, label in ((True, BLUE, BLUE, "mean, 5 to 95%"), (False, DUST, "white", "all discarded")):
        _, seconds, delay, _ = (values[found.used == used] for values in found)
        if len(seconds):
            look = {"linestyle": "none", "markeredgecolor": colour, "markerfacecolor": face, "markeredgewidth": 0.5}
            if number > FEW_WORKERS:
                ax.plot(seconds, delay, "o", label="_workers" if used else "_all discarded", markersize=size, **look)
            ax.plot([], [], "o", markersize=3.5, label=label, **look)
    if number <= FEW_WORKERS:
        for i, seconds, delay, colour, used in zip(*found[:3], colours_of(found, number), found.used, strict=True):
            look = {"color": colour, "markersize": 4.5, "markerfacecolor": colour if used else "white"}
            ax.plot(seconds, delay, MARKERS[i], label=f"_worker {i}", **look)
            ax.annotate(f"{i}", (seconds, delay), (3.5, 2), textcoords="offset points", fontsize=SMALL)


def colours_of(found, number) -> list:
    names = PALETTE if number <= FEW_WORKERS else (BLUE,) * number
    return [names[i] if used else DUST for i, used in zip(found.who, found.used, strict=True)]


def short(value, _=None) -> str:
    """A tick's number: 20k for 20000."""
    return f"{value / 1000:g}k" if value >= 10_000 else f"{value:g}"


def quantiles(values, part, parts) -> np.ndarray:
    """5% and 95% of the values of each part, [2, parts]; 0 where there are none."""
    number = np.bincount(part, minlength=parts)
    ordered = np.append(values[np.lexsort((values, part))], 0)
    first = np.cumsum(number) - number
    places = [first + np.round(share * (number - 1)).astype(int) for share in (0.05, 0.95)]
    return ordered[np.where(number > 0, places, -1)]
