"""Runs whose workers start again at once: all arrivals by one sort, then all decisions over arrays.

Where a policy's dispatch is pure (who delivers gets the next job, nobody waits or is stopped) and jobs just take their
seconds, nothing that the server decides changes when gradients arrive. `Policy.pure` says what such a policy decides,
over arrays (`policies.base.vectorized`); the schedule equals that of the event loop to the bit.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .checks import shown
from .policies.base import Arrivals, Decision
from .schedule import RUNNING, UNFINISHED_COLUMNS, Schedule
from .times.base import BLOCK, Durations, checked

SAMPLED = 1000  # workers whose first jobs tell how fast all are, where the model does not


class Limits(NamedTuple):
    """Where a run ends."""

    num_updates: float
    until: float
    max_arrivals: int
    patience: float  # arrivals without an update


class Ends(NamedTuple):
    """The arrivals of every worker up to a moment, one worker after the other."""

    times: np.ndarray  # [arrivals]
    counts: np.ndarray  # [num_workers]
    alive: bool  # whether somebody arrives later


def at_once(policy, times, units, limits, seed, reads, info):
    """The schedule of a policy with pure dispatch; None where it has to be played event by event."""
    if policy.pure is None or not times.plain or limits.num_updates == 0 or not starts_all(policy, times.num_workers):
        return None
    durations = Durations(times, seed)
    horizon = limits.until
    rate = speed(times, durations, units)
    if limits.num_updates < math.inf and rate > 0:
        horizon = min(horizon, 1.02 * limits.num_updates / rate + 2 * times.num_workers / rate)
    if horizon == math.inf:
        return None
    while True:
        ends = arrivals(durations, units, horizon, limits.max_arrivals)
        if ends is None or len(ends.times) > limits.max_arrivals:
            return None
        if not len(ends.times) and ends.alive and horizon == limits.until:
            return None  # nothing to decide
        run = Run(policy, ends, reads, times.num_workers)
        updates = np.flatnonzero(run.step)
        if max(np.diff(updates, prepend=-1, append=len(run.step)), default=0) > limits.patience:
            return None
        if len(updates) >= limits.num_updates:
            rows = int(updates[int(limits.num_updates) - 1]) + 1
            return run.schedule(rows, run.time[rows - 1], "finished", units, info)
        if horizon == limits.until:
            return run.schedule(len(run.time), horizon, "finished" if ends.alive else "stalled", units, info)
        if not ends.alive:
            end = run.time[-1] if len(run.time) else 0.0
            return run.schedule(
                len(run.time), end if limits.until == math.inf else limits.until, "stalled", units, info
            )
        horizon = min(2 * horizon, limits.until)


def starts_all(policy, num_workers) -> bool:
    """Whether every worker begins with one job."""
    begin = policy.init(num_workers, np.random.default_rng(0))
    return type(begin) is tuple and len(begin) == 2 and begin[1] == range(num_workers)


def speed(times, durations, units) -> float:
    """About how many gradients arrive in a second."""
    seconds = times.mean * units
    if not ((seconds > 0) & (seconds < math.inf)).all():
        chosen = np.unique(np.linspace(0, times.num_workers - 1, SAMPLED).astype(int))
        first = np.array([np.median(next(durations.blocks(worker))) for worker in chosen.tolist()]) * np.take(
            units, chosen
        )
        first = first[(first > 0) & (first < math.inf)]
        return times.num_workers * float(np.mean(1 / first)) if len(first) else 0.0
    return float((1 / seconds).sum())


def arrivals(durations, units, horizon, most) -> Ends | None:
    """When every worker's jobs end, up to the horizon, if each begins where the one before ended; at most so many."""
    found, counts, alive = [], [], False
    for worker, size in enumerate(units):
        ends = until(durations, worker, size, horizon, most)
        if ends is None:
            return None
        count = int(ends.searchsorted(horizon, "right"))
        alive = alive or ends[count] < math.inf
        found.append(ends[:count])
        counts.append(count)
        most -= count
    return Ends(np.concatenate(found), np.array(counts), bool(alive))


def until(durations, worker, size, horizon, most):
    """The ends of a worker's jobs, in order, the last one beyond the horizon; None for more than `most`."""
    blocks, parts, last, number, total = durations.blocks(worker), [], 0.0, 1, 0
    while last <= horizon:
        if total > most:
            return None
        drawn = [next(blocks) for _ in range(number)]
        values = np.concatenate(drawn) if number > 1 else drawn[0]
        if not (isinstance(values, np.ndarray) and values.shape == (number * BLOCK,) and values.min() >= 0):
            for i, block in enumerate(drawn):
                checked(durations.times, block, worker, total + i * BLOCK)  # says what is wrong
        total += number * BLOCK
        seconds = size * values.astype(np.float64, copy=False)
        ends = np.cumsum(np.concatenate([[last], seconds]))[1:]  # one after the other, as the event loop adds them
        parts.append(ends)
        passed, last = ends[-1] - last, float(ends[-1])
        left = (horizon - last) / passed * number if 0 < passed < math.inf else 0.0
        number = min(max(math.ceil(1.05 * left), 1), 4096)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


class Run:
    """All rows up to the horizon, in order, and what the policy decides about them.

    Two orders: rows are in the order of their arrival, and `of_worker` goes from a place in the list of all workers'
    jobs, one worker after the other, to the row.
    """

    def __init__(self, policy, ends, reads, num_workers):
        self.policy, self.num_workers = policy, num_workers
        order = np.argsort(ends.times, kind="stable")  # ties: the smaller worker
        rows = len(order)
        self.first = np.cumsum(ends.counts) - ends.counts  # place of each worker's first job
        self.order, self.time = order, ends.times[order]
        row = np.empty(rows, np.int64)
        row[order] = np.arange(rows)
        before = np.empty(rows, np.int64)  # in places: the row of the worker's arrival before, -1: none
        before[1:] = row[:-1]
        before[self.first[ends.counts > 0]] = -1
        self.of_worker, self.before = row, before[order]
        start = np.empty(rows)
        start[1:] = ends.times[:-1]
        start[self.first[ends.counts > 0]] = 0.0
        self.start = start[order]
        self.worker = np.repeat(np.arange(num_workers, dtype=np.int32), ends.counts)[order]
        arrivals = Arrivals(self.time, self.start, self.worker, self.before, reads)
        decision = policy.pure(num_workers, arrivals)
        if not isinstance(decision, Decision):
            raise ValueError(f"a policy's `pure` returns a ja.Decision of arrays; got {shown(decision)}.")
        self.decision = decision
        column = lambda value, dtype: np.broadcast_to(np.asarray(value, dtype), (rows,))
        self.use, self.step = column(decision.use, bool), column(decision.step, bool)
        self.weight = np.where(self.use, column(decision.weight, np.float64), 0.0)
        self.known = arrivals.version(self.step) + (self.step if reads == "after" else 0)  # by who has delivered
        self.read = arrivals.read(self.step)

    def visits(self, rows, counts):
        """Visit and repeat of the first `rows` rows, and those of the job that each worker does then."""
        place = np.cumsum(counts + 1) - (counts + 1)  # of each worker's first job, with one more job for each
        total = rows + self.num_workers
        mine = np.ones(total, bool)
        mine[place + counts] = False
        read = np.zeros(total, np.int64)
        kept = self.of_worker[self.of_worker < rows]  # rows of each worker in order, one worker after the other
        read[mine] = self.read[kept]
        some = np.flatnonzero(counts)
        now = np.zeros(self.num_workers, np.int64)
        now[some] = self.known[self.of_worker[(self.first + counts)[some] - 1]]
        read[~mine] = now
        new = np.ones(total, bool)
        new[1:] = read[1:] != read[:-1]
        new[place] = True
        number = np.cumsum(new)
        visit = number - np.repeat(number[place], counts + 1)
        at = np.arange(total)
        repeat = at - np.maximum.accumulate(np.where(new, at, 0))
        return kept, mine, read, visit, repeat

    def schedule(self, rows, end, status, units, info) -> Schedule:
        """The first `rows` rows as a schedule that ends there."""
        counts = np.bincount(self.worker[:rows], minlength=self.num_workers)
        kept, mine, read, visit, repeat = self.visits(rows, counts)
        units = np.array(units, np.int32)
        table = {"visit": visit, "repeat": repeat}
        for name, column in table.items():
            table[name] = np.empty(rows, np.int32)
            table[name][kept] = column[mine]
        stamped = self.read[:rows]
        seen = stamped if self.decision.read is None else np.asarray(self.decision.read)[:rows]
        last = np.zeros(self.num_workers)
        last[self.worker[:rows]] = self.time[:rows]  # the latest of each worker
        version = int(self.step[:rows].sum())
        running = {"worker": np.arange(self.num_workers), "kind": RUNNING, "read": read[~mine], "start": last}
        running |= {"time": end, "size": units, "age": version - read[~mine], "count": 1, "seconds": end - last}
        given = self.decision.tags
        tags = {name: np.full(rows, np.nan) for name in dict.fromkeys((*self.policy.tags, *given))}
        for name, value in given.items():
            tags[name][:] = np.broadcast_to(value, len(self.time))[:rows]
        return Schedule(
            time=self.time[:rows],
            start=self.start[:rows],
            worker=self.worker[:rows],
            read=seen.astype(np.int32),
            size=units[self.worker[:rows]],
            use=self.use[:rows],
            weight=self.weight[:rows],
            step=self.step[:rows],
            **table,
            num_workers=self.num_workers,
            end=float(end),
            status=status,
            tags=tags,
            unfinished={
                name: np.broadcast_to(np.asarray(running[name], dtype), (self.num_workers,))
                for name, dtype in UNFINISHED_COLUMNS.items()
            },
            info=info,
        )
