"""The distribution of delays, and the axes and steps that suit delays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from .figures import legend, looks, nice, numbers, panel
from .schedule import Schedule


def delays(schedules: Mapping[str, Schedule], *, ax: Any = None) -> Any:
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
    span, room = to(edges[-1]) - to(edges[0]), 0.05
    marks: list[tuple] = []
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
        return equal(largest, largest + 1), "", False
    if largest <= 8 * max(typical, 1):
        edges = equal(largest, 60)
        return edges, f", bins of {edges[1] - edges[0]:.0f}", False
    return widening(largest), ", widening bins", True


def equal(largest, most) -> np.ndarray:
    """Edges of bins of equal width, about `most` of them, between whole numbers; delays from 0 to the largest."""
    width = nice((largest + 1) / most)
    return width * np.arange(-(-(largest + 1) // width) + 1) - 0.5


def widening(largest) -> np.ndarray:
    """Edges of bins that widen geometrically, between whole numbers."""
    edges = [0, 1, 2, 3]
    while edges[-1] <= largest:
        edges.append(max(edges[-1] + 1, round(edges[-1] * 2**0.5)))
    return np.array(edges) - 0.5


class Stretch(NamedTuple):
    """The scale log(1 + delay / typical): even up to the typical delay, logarithmic far above it."""

    typical: float

    def to(self, delay):
        return np.log1p(delay / self.typical)

    def back(self, y):
        return self.typical * np.expm1(y)

    def edges(self, largest, most) -> np.ndarray:
        """Edges between whole numbers of at most so many bins, about equally wide on this scale."""
        return np.unique(np.round(self.back(np.linspace(0, self.to(largest + 1), most + 1)))) - 0.5

    def ticks(self, largest) -> np.ndarray:
        """0 and a few round numbers, about evenly on this scale."""
        round_ones = np.array([m * 10**k for k in range(10) for m in (1, 2, 5) if m * 10**k <= largest])
        wanted = self.back(self.to(largest) * np.arange(1, 6) / 5)
        nearest = np.abs(np.log(round_ones / wanted[:, None])).argmin(axis=1)
        return np.unique(np.append(round_ones[nearest], 0))


def stretch(delays) -> Stretch | None:
    """The scale for these delays, where the largest are far above the median; None: an even one will do."""
    largest, typical = delays.max(initial=0), max(float(np.median(delays)), 1.0) if len(delays) else 1.0
    return Stretch(typical) if largest > max(4 * typical, 8) else None
