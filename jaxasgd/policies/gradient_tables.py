"""Policies of the methods whose server keeps a gradient of every worker, and updates with the mean of the table."""

from __future__ import annotations

from collections.abc import Sequence

from ..checks import word
from .base import GRADIENT, Decision, Policy


class Rounds:
    """Where a run of Ringleader ASGD stands; made afresh by every `init`."""

    def __init__(self, num_workers):
        self.num_workers = num_workers
        self.count = [[0] * num_workers, [0] * num_workers]  # gradients of each worker in each table
        self.filled = [0, 0]  # workers with a gradient in it
        self.oldest = [0, 0]  # the oldest version among its gradients
        self.current = 0  # the table of this round; the other one is for the next
        self.todo = None  # who has not updated yet in this round; None while the table fills

    def add(self, table, worker, read):
        """Note a gradient; the tags that tell the arrival rule where it goes."""
        count = self.count[table][worker]
        self.oldest[table] = min(self.oldest[table], read) if self.filled[table] else read
        self.filled[table] += count == 0
        self.count[table][worker] += 1
        return {"table": table, "count": count}

    def close(self):
        """The round is over: what was collected for the next one is its table now, and the old table is empty."""
        self.count[self.current] = [0] * self.num_workers
        self.filled[self.current] = 0
        self.current, self.todo = 1 - self.current, None


def ringleader() -> Policy:
    """Rounds of num_workers updates, one for each worker, with the mean of a table that has gradients of everybody.

    First the table fills: workers that deliver go on at the same version. The gradient of the last one makes an update.
    Then every worker whose gradient arrives for the first time since makes an update too, with its gradient in the
    table, and reads the result; what it delivers after that goes into the table of the next round. Nobody waits and
    nothing is thrown away; a gradient is at most 2 num_workers - 2 updates old when it is used for the last time, and
    where worker i needs at most h_i seconds a round lasts at most 2 max_i h_i.

    Tags: `table` (0 or 1: where the gradient goes), `count` (how many of this worker's are there already), and `delay`
    at an update (the age of the oldest gradient in its table). Meant for `Method(arrival=average_rounds(num_workers))`.

    Source: A. Maranjyan, P. Richtarik, ICLR 2026, arXiv 2509.22860.

    Example:
        >>> import jaxasgd as ja
        >>> schedule = ja.simulate(ja.policies.ringleader(), ja.times.fixed([1.0, 3.0]), num_updates=4)
        >>> schedule.worker.tolist(), schedule.step.tolist()
        ([0, 0, 0, 1, 0, 0, 0, 1, 0], [False, False, False, True, True, False, False, True, True])
        >>> for name in ("table", "count"):
        ...     print(schedule.tags[name].astype(int).tolist())
        [0, 0, 0, 0, 0, 1, 1, 1, 1]
        [0, 1, 2, 0, 3, 0, 1, 0, 2]
    """

    def init(num_workers, rng):
        return Rounds(num_workers), range(num_workers)

    def on(state, event):
        start = (event.worker,)
        if event.kind != GRADIENT:
            return state, Decision(start=start)
        if state.todo is not None and event.worker not in state.todo:
            tags = state.add(1 - state.current, event.worker, event.read)
            return state, Decision(use=True, weight=0.0, start=start, tags=tags)
        tags = state.add(state.current, event.worker, event.read)
        if state.filled[state.current] < state.num_workers:
            return state, Decision(use=True, weight=0.0, start=start, tags=tags)
        if state.todo is None:
            state.todo = set(range(state.num_workers))
        state.todo.remove(event.worker)
        tags["delay"] = event.version - state.oldest[state.current]
        if not state.todo:
            state.close()
        return state, Decision(use=True, step=True, start=start, tags=tags)

    return Policy(init, on, {"policy": "ringleader"}, tags=("table", "count", "delay"))


class Entries:
    """The version of every worker's entry, and the oldest of them in O(1) an update; made afresh by every `init`."""

    def __init__(self, num_workers):
        self.num_workers = num_workers
        self.read = {}  # worker -> version
        self.number = {}  # version -> how many entries
        self.oldest = 0

    def replace(self, worker, read):
        """An entry is replaced by a younger one, so the oldest version only grows."""
        before = self.read.get(worker)
        self.read[worker] = read
        self.number[read] = self.number.get(read, 0) + 1
        if before is not None:
            self.number[before] -= 1
            if not self.number[before]:
                del self.number[before]
        while self.oldest not in self.number:
            self.oldest += 1

    @property
    def full(self):
        return len(self.read) == self.num_workers


def aggregated(*, begin: str = "wait") -> Policy:
    """A table of everybody's latest gradient; once it is full, every gradient that arrives is an update with its mean.

        x[t+1] = x[t] - lr * (1/n) sum_i g_i(x[t - delay_i]),     delay_i the age of worker i's entry

    Args:
        begin: "wait": a worker that has delivered waits until everybody has; the last of them makes the first update,
            and all start at the result. "refresh": workers go on at version 0, and a later gradient replaces an
            earlier one; no update is made before the first arrival after the table is full.

    The tag `delay` is the age of the oldest entry, max_i delay_i. It grows by at most one from an update to the next.
    Meant for `Method(arrival=average_latest(num_workers))`.

    Source: "wait": A. Aytekin, H. R. Feyzmahdavian, M. Johansson, 2016, arXiv 1610.05507; X. Wu, S. Magnusson, H. R.
    Feyzmahdavian, M. Johansson, ICML 2022, arXiv 2202.08550 (PIAG; how its table begins was not checked there, and the
    papers let several gradients arrive at once). "refresh": the implementation of X. Wang, Y. Sun, H.-T. Wai, J.
    Zhang's method that accompanies Ringleader ASGD.

    Example:
        >>> import jaxasgd as ja
        >>> schedule = ja.simulate(ja.policies.aggregated(), ja.times.fixed([1.0, 3.0]), num_updates=6)
        >>> schedule.worker.tolist(), schedule.step.tolist()
        ([0, 1, 0, 0, 0, 1, 0], [False, True, True, True, True, True, True])
        >>> schedule.tags["delay"].tolist()
        [nan, 0.0, 1.0, 2.0, 3.0, 3.0, 4.0]
    """
    word("begin", begin, "wait", "refresh")

    def init(num_workers, rng):
        return Entries(num_workers), range(num_workers)

    def on(state, event):
        if event.kind != GRADIENT:
            return state, Decision(start=(event.worker,))
        was_full = state.full
        state.replace(event.worker, event.read)
        step = was_full or (state.full and begin == "wait")
        start: Sequence[int] = (event.worker,)
        if begin == "wait" and not was_full:
            start = range(state.num_workers) if state.full else ()
        tags = {"delay": event.version - state.oldest} if step else {}
        return state, Decision(use=True, weight=float(step), step=step, start=start, tags=tags)

    return Policy(init, on, {"policy": "aggregated", "begin": begin}, tags=("delay",))
