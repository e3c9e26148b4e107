"""Statistics of a schedule, exact from its table: delays, jobs in flight, workers, waste, rates, seconds per update.

Everything here is counted or summed from the rows and the unfinished jobs; nothing is estimated. Quantiles are values
that occur: the q-quantile of n values is the ceil(q n)-th smallest (the smallest for q = 0). Where there is nothing to
average the answer is nan.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .checks import kind
from .schedule import CANCELLED, LOST, QUEUED, TIMEOUT, Schedule

__all__ = ["Concurrency", "Delays", "Intervals", "Rates", "Waste", "Workers"]
__all__ += ["concurrency", "delays", "intervals", "mean_concurrency", "rates", "waste", "workers"]

QUANTILES = (0.5, 0.9, 0.99)


class Delays(NamedTuple):
    """The distribution of the delays of used gradients.

    Attributes:
        counts: how many gradients had each delay, i8 [max + 1].
        mean: of all.
        quantiles: of the shares asked for, f8.
        max: the largest; 0 without any.
    """

    counts: np.ndarray
    mean: float
    quantiles: np.ndarray
    max: int


class Concurrency(NamedTuple):
    """Jobs in flight, a step function of time: `jobs[i]` from `edges[i]` to `edges[i + 1]`.

    Attributes:
        edges: seconds, increasing, f8 [k + 1].
        jobs: i8 [k].
        mean: over time.
        max: the largest of `jobs`.
        queued: jobs that still waited for their worker at the end; they are not in flight.
        unplaced: merged jobs, whose times are not known: not in `jobs`, but in `mean`.
    """

    edges: np.ndarray
    jobs: np.ndarray
    mean: float
    max: int
    queued: int
    unplaced: int


class Workers(NamedTuple):
    """What each worker did, one entry per worker: arrays [num_workers].

    Attributes:
        arrivals: gradients that arrived, i8.
        used: those that were used, i8.
        share: of all used gradients, f8.
        weight: sum of the weights, f8.
        weight_share: of the sum of all weights, f8.
        mean_delay: of its used gradients, f8.
        seconds: of work, on jobs that arrived or not, f8.
        idle: end - seconds, f8.
        utilisation: seconds / end, f8.
    """

    arrivals: np.ndarray
    used: np.ndarray
    share: np.ndarray
    weight: np.ndarray
    weight_share: np.ndarray
    mean_delay: np.ndarray
    seconds: np.ndarray
    idle: np.ndarray
    utilisation: np.ndarray


class Waste(NamedTuple):
    """Work whose gradient had no effect.

    Attributes:
        discarded: gradients that arrived and were not used.
        discarded_share: of all that arrived.
        stopped: jobs that ended without a gradient: cancelled, timed out, lost.
        seconds: of work on both.
        share: of all seconds of work.
    """

    discarded: int
    discarded_share: float
    stopped: int
    seconds: float
    share: float


class Rates(NamedTuple):
    """What happens per second of the run's clock, over the whole run.

    Attributes:
        updates: of the server.
        arrivals: gradients that arrived.
        used: gradients that were used.
        units: work units that arrived.
    """

    updates: float
    arrivals: float
    used: float
    units: float


class Intervals(NamedTuple):
    """Seconds per update.

    Attributes:
        seconds: since the update before, f8 [updates]; of the first: since second 0.
        mean: of all.
        quantiles: of the shares asked for, f8.
        max: the longest.
    """

    seconds: np.ndarray
    mean: float
    quantiles: np.ndarray
    max: float


def delays(schedule: Schedule, quantiles: Sequence[float] = QUANTILES) -> Delays:
    """How stale the used gradients were: delay = version - read, as in the table (a tag `delay` plays no part).

    A row that read several groups counts once for each of them.

    Args:
        schedule: a `Schedule`.
        quantiles: shares of the gradients, from 0 to 1.

    Returns:
        `Delays(counts, mean, quantiles, max)`.

    Example:
        >>> import jaxasgd as ja
        >>> schedule = ja.simulate(ja.policies.asgd(), ja.times.fixed(1.0, num_workers=3), num_updates=6)
        >>> ja.statistics.delays(schedule).counts.tolist()  # delays 0, 1, 2, 2, 2, 2
        [1, 1, 4]
    """
    shares, used = check(schedule, quantiles), schedule.delay[schedule.use].ravel()
    counts = np.bincount(used)
    places = np.searchsorted(np.cumsum(counts), ranks(shares, len(used)))
    chosen = places.astype(np.float64) if len(used) else np.full(len(shares), np.nan)
    return Delays(counts, float(used.mean()) if len(used) else float("nan"), chosen, max(len(counts) - 1, 0))


def concurrency(schedule: Schedule) -> Concurrency:
    """How many jobs were in flight at each moment: from a job's start to its arrival, or to where it was stopped.

    Jobs that wait in a worker's queue are not in flight; the table knows those that waited at the end. The mean is over
    the time from 0 to `end`, and holds the seconds of merged jobs too.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.fixed([1.0, 3.0], num_workers=2)
        >>> schedule = ja.simulate(ja.policies.synchronous(), times, until=6.0)
        >>> found = ja.statistics.concurrency(schedule)  # worker 0 waits for worker 1
        >>> found.edges.tolist(), found.jobs.tolist()
        ([0.0, 1.0, 3.0, 4.0, 6.0], [2, 1, 2, 1])
    """
    check(schedule)
    start, end, number, unplaced, _ = spans(schedule)
    queued = int(schedule.unfinished["count"][schedule.unfinished["kind"] == QUEUED].sum())
    bounds = window(start, end, schedule)
    times = np.concatenate([start, end, bounds])
    change = np.concatenate([number, -number, [0, 0]])
    order = np.argsort(times, kind="stable")
    times, level = times[order], np.cumsum(change[order])
    last = np.append(times[1:] != times[:-1], True)  # of those at one time
    times, level = times[last], level[last]
    keep = np.concatenate([[True], level[1:] != level[:-1]])
    keep[-1] = True
    edges, jobs = times[keep], level[keep][:-1]
    return Concurrency(edges, jobs, mean_concurrency(schedule), int(jobs.max(initial=0)), queued, unplaced)


def mean_concurrency(schedule: Schedule) -> float:
    """Time mean of the jobs in flight: the sum of what each lasted, over the run's time. Cheaper than `concurrency`.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.fixed([1.0, 3.0], num_workers=2)
        >>> ja.statistics.mean_concurrency(ja.simulate(ja.policies.synchronous(), times, until=6.0)) == (3 * 2 + 2) / 6
        True
    """
    check(schedule)
    start, end, number, _, merged = spans(schedule)
    first, last = window(start, end, schedule)
    return float((((end - start) * number).sum() + merged) / (last - first)) if last > first else float("nan")


def workers(schedule: Schedule) -> Workers:
    """What each worker did: gradients, their share, weight and delay; seconds of work and idle.

    Seconds are those computed (`schedule.seconds`, and those of unfinished jobs, merged ones included). Where a worker
    computes several jobs at once (a table of one's own may say so), `idle` can be below 0.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.fixed([1.0, 3.0], num_workers=2)
        >>> found = ja.statistics.workers(ja.simulate(ja.policies.asgd(), times, until=6.0))
        >>> found.used.tolist(), found.share.tolist(), found.idle.tolist()
        ([6, 2], [0.75, 0.25], [0.0, 0.0])
    """
    check(schedule)
    n, lost, use = schedule.num_workers, schedule.unfinished, schedule.use
    who, delay = schedule.worker[use], schedule.delay[use]
    arrivals, used = np.bincount(schedule.worker[schedule.size > 0], minlength=n), np.bincount(who, minlength=n)
    stale = np.bincount(who, delay if delay.ndim == 1 else delay.mean(axis=1), n)
    weight = np.bincount(schedule.worker, schedule.weight, n)
    seconds = np.bincount(schedule.worker, schedule.seconds, n) + np.bincount(lost["worker"], lost["seconds"], n)
    return Workers(
        arrivals=arrivals,
        used=used,
        share=ratio(used, used.sum()),
        weight=weight,
        weight_share=ratio(weight, weight.sum()),
        mean_delay=ratio(stale, used),
        seconds=seconds,
        idle=schedule.end - seconds,
        utilisation=ratio(seconds, schedule.end),
    )


def waste(schedule: Schedule) -> Waste:
    """Work without effect: gradients that were discarded, and jobs that were cancelled, timed out or lost.

    Jobs that still ran or waited at the end are no waste.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.fixed([1.0, 1.0, 4.0], num_workers=3)
        >>> schedule = ja.simulate(ja.policies.synchronous(backup=1), times, until=8.0)
        >>> ja.statistics.waste(schedule)
        Waste(discarded=0, discarded_share=0.0, stopped=8, seconds=8.0, share=0.333...)
    """
    check(schedule)
    lost, arrived = schedule.unfinished, schedule.size > 0
    none = arrived & ~schedule.use
    stopped = np.isin(lost["kind"], (CANCELLED, TIMEOUT, LOST))
    seconds = float(schedule.seconds[none].sum() + lost["seconds"][stopped].sum())
    total = float(schedule.seconds.sum() + lost["seconds"].sum())
    discarded = int(np.count_nonzero(none))
    return Waste(
        discarded=discarded,
        discarded_share=float(ratio(discarded, np.count_nonzero(arrived))),
        stopped=int(lost["count"][stopped].sum()),
        seconds=seconds,
        share=float(ratio(seconds, total)),
    )


def rates(schedule: Schedule) -> Rates:
    """Updates, gradients and work units per second, over the whole run (`end` seconds).

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.fixed([1.0, 3.0], num_workers=2)
        >>> ja.statistics.rates(ja.simulate(ja.policies.synchronous(), times, until=6.0))  # two rounds of two gradients
        Rates(updates=0.333..., arrivals=0.666..., used=0.666..., units=0.666...)
    """
    check(schedule)
    found = (schedule.step, schedule.size > 0, schedule.use, schedule.size)
    return Rates(*(float(ratio(column.sum(dtype=np.int64), schedule.end)) for column in found))


def intervals(schedule: Schedule, quantiles: Sequence[float] = QUANTILES) -> Intervals:
    """Seconds per update: from each update to the next, the first from second 0.

    Args:
        schedule: a `Schedule`.
        quantiles: shares of the updates, from 0 to 1.

    Returns:
        `Intervals(seconds, mean, quantiles, max)`.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.fixed([1.0, 3.0], num_workers=2)
        >>> ja.statistics.intervals(ja.simulate(ja.policies.asgd(), times, num_updates=5)).seconds.tolist()
        [1.0, 1.0, 1.0, 0.0, 1.0]
    """
    shares = check(schedule, quantiles)
    seconds = np.diff(schedule.time[schedule.step], prepend=0.0)
    if not len(seconds):
        return Intervals(seconds, float("nan"), np.full(len(shares), np.nan), float("nan"))
    ordered = np.sort(seconds)
    return Intervals(seconds, float(seconds.mean()), ordered[ranks(shares, len(seconds)) - 1], float(ordered[-1]))


# ------------------------------------------------------------------- parts


def check(schedule, quantiles=()) -> np.ndarray:
    """The shares that quantiles are asked for."""
    kind("schedule", schedule, Schedule, "a ja.Schedule, from ja.simulate for example")
    shares = np.asarray(quantiles)
    if (
        shares.ndim != 1
        or (shares.size and shares.dtype.kind not in "iuf")
        or not ((shares >= 0) & (shares <= 1)).all()
    ):
        raise ValueError(f"quantiles are numbers from 0 to 1, [0.5, 0.99] for example; got {quantiles!r}.")
    return shares.astype(np.float64)


def ranks(shares, number) -> np.ndarray:
    """ceil(q n), at least 1: 0.07 means 7 / 100, not the binary number a little above it."""
    return np.maximum(np.ceil(shares * number * (1 - 1e-15)), 1).astype(np.int64)


def ratio(above, below):
    """above / below, nan where that is 0."""
    above, below = np.asarray(above, np.float64), np.asarray(below, np.float64)
    return np.divide(above, below, out=np.full(np.broadcast(above, below).shape, np.nan), where=below != 0)


def spans(schedule):
    """Start, end and number of the jobs whose times are known; how many others there are, and their seconds."""
    lost, arrived = schedule.unfinished, schedule.size > 0
    known = np.isfinite(lost["start"]) & np.isfinite(lost["time"])
    running, merged = known & (lost["kind"] != QUEUED), ~known & (lost["kind"] != QUEUED)
    start = np.concatenate([schedule.start[arrived], lost["start"][running]])
    end = np.concatenate([schedule.time[arrived], lost["time"][running]])
    number = np.concatenate([np.ones(np.count_nonzero(arrived), np.int64), lost["count"][running]])
    return start, end, number, int(lost["count"][merged].sum()), float(lost["seconds"][merged].sum())


def window(start, end, schedule):
    """From second 0 to the end; further where a job is outside of it."""
    return np.array([min(start.min(initial=0.0), 0.0), max(end.max(initial=0.0), schedule.end)])
