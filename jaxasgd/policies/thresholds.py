"""Asynchronous policies with a threshold: up to which delay, or from which workers, a gradient counts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from ..checks import flag, known, shown, whole
from .base import GRADIENT, Decision, Policy, vectorized


class Holders:
    """The version at which each worker computes, oldest first: who is too late is found without looking at all."""

    def __init__(self, num_workers):
        self.read = OrderedDict.fromkeys(range(num_workers), 0)

    def hand_out(self, worker, version):
        self.read[worker] = version
        self.read.move_to_end(worker)

    def late(self, version, bound):
        """Those whose delay has reached the bound."""
        found = []
        for worker, read in self.read.items():
            if version - read < bound:
                break
            found.append(worker)
        return found


def ringmaster(bound: int | Callable, *, stops: bool = False) -> Policy:
    """Asynchronous SGD that uses no gradient whose delay is `bound` or more.

        x[t+1] = x[t] - lr * g(x[t - delay_t]),     delay_t < bound

    Without stops a late gradient is thrown away when it arrives, and makes no new version. With stops a job is stopped
    as soon as its delay reaches the bound, and its worker starts again at the newest version. Where worker i needs h_i
    seconds, h_1 <= h_2 <= ..., any `bound` updates in a row take 2 min_m (bound + m) / sum_{i<=m} (1/h_i) seconds or
    less.

    The delay is that at the arrival, in versions: 0 is a fresh gradient, and bound = 1 takes fresh ones only. Others
    count differently: a distance of at most bound - 1 between the points of Birch SGD's tree is the same rule.

    Args:
        bound: the first delay that is too large, 1 or more; the theory takes max(1, ceil(sigma^2 / eps)). Or a function
            of the version (updates so far) that gives it.
        stops: whether late jobs are stopped.

    Source: A. Maranjyan, A. Tyurin, P. Richtarik, ICML 2025, arXiv 2501.16168 (Ringmaster ASGD, both variants).

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.fixed([1.0, 3.5])
        >>> schedule = ja.simulate(ja.policies.ringmaster(bound=2), times, num_updates=4)
        >>> schedule.worker.tolist(), schedule.delay.tolist(), schedule.use.tolist()
        ([0, 0, 0, 1, 0], [0, 0, 0, 3, 0], [True, True, True, False, True])
        >>> ja.simulate(ja.policies.ringmaster(bound=2, stops=True), times, num_updates=4).delay.tolist()
        [0, 0, 0, 0]
    """
    hint = ": the first delay that is too large"
    if callable(bound):
        name = getattr(bound, "__qualname__", type(bound).__name__)
        at = lambda version: whole(f"bound({version})", bound(version), 1, hint=hint)
    else:
        name = bound = whole("bound", bound, 1, hint=hint)
        at = lambda version: bound
    stops = flag("stops", stops)

    def init(num_workers, rng):
        return (Holders(num_workers) if stops else None), range(num_workers)

    def on(state, event):
        fresh = event.kind == GRADIENT and event.delay < at(event.version)
        start: Sequence[int] = (event.worker,)
        late: Sequence[int] = ()
        if stops:
            version = event.version + fresh
            state.hand_out(event.worker, version)
            found = state.late(version, at(version))
            if found:
                for worker in found:
                    state.hand_out(worker, version)
                late, start = found, [*found, event.worker]
        return state, Decision(use=fresh, step=fresh, start=start, cancel=late)

    def pure(num_workers, arrivals):
        known, version, fresh = [0], 0, []  # known: what is read at the start, and after each row
        after = arrivals.reads == "after"
        for before in (arrivals.before + 1).tolist():
            taken = version - known[before] < at(version)
            known.append(version + (taken if after else 0))
            version += taken
            fresh.append(taken)
        return Decision(use=np.array(fresh, bool), step=np.array(fresh, bool))

    info = {"policy": "ringmaster", "bound": name, "stops": stops}
    return Policy(init, on if stops else vectorized(on, pure), info)


def fastest(seconds: ArrayLike, workers: int) -> Policy:
    """Asynchronous SGD on the fastest workers; the others are never asked.

        x[t+1] = x[t] - lr * g(x[t - delay_t])

    Args:
        seconds: what a gradient takes at each worker, [num_workers]; inf for one that never delivers.
        workers: how many take part; of equally fast ones those with the smaller numbers.

    Source: the dispatch of Naive Optimal ASGD, A. Maranjyan, A. Tyurin, P. Richtarik, ICML 2025, arXiv 2501.16168.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.fixed([3.0, 1.0, 2.0])
        >>> policy = ja.policies.fastest(times.mean, workers=2)
        >>> ja.simulate(policy, times, num_updates=5).worker.tolist()
        [1, 1, 2, 1, 1]
    """
    means = known_seconds(seconds)
    workers = whole("workers", workers, 1, len(means), hint=": how many take part")
    chosen = np.sort(np.argsort(means, kind="stable")[:workers])

    def init(num_workers, rng):
        if num_workers != len(means):
            raise ValueError(f"seconds has one number for each of {num_workers} workers; got {len(means)}.")
        return None, chosen

    def on(state, event):
        arrived = event.kind == GRADIENT
        return state, Decision(use=arrived, step=arrived, start=(event.worker,))

    return Policy(init, on, {"policy": "fastest", "workers": workers})


def known_seconds(seconds):
    """Seconds of every worker, positive; inf is allowed, nan (a clock that doesn't tell) is not."""
    array = known(seconds)
    if array is None or array.ndim != 1 or not len(array) or not (array > 0).all():
        raise ValueError(
            f"seconds has a positive number for each worker, [num_workers]; got {shown(seconds)}. A clock of your own "
            "tells them with ja.times.custom(..., mean=)."
        )
    return array
