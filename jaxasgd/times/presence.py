"""Workers that come and go: they leave, lose their job, and may be back later."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from .base import Times, integer, model, spec
from .parts import array, endless, random_seconds
from .pieces import Absences


def with_absences(times: Times, absences: Mapping[int, Sequence[tuple[float, float]]]) -> Times:
    """The same times on the same luck, but some workers are away at known times; who leaves loses its job.

    A worker dies (back = inf), joins late (left = 0), or comes back; the server hears of each at that moment, and may
    hand it a job when it is back. A message on its way is lost with the job. Who leaves and returns while it has no job
    is not missed. On a model that has absences already a worker is there when both say so.

    The mean is that of the model, as a few absences change nothing in the long run; inf for who is gone for good.

    Args:
        times: a model.
        absences: {worker: [(left, back), ...]}, seconds with 0 <= left <= back, back inf: for good. In any order;
            absences of a worker do not overlap.

    Raises:
        ValueError: another worker, other numbers, absences that overlap.

    Example: worker 1 is away from 2.5 to 4 s, and worker 2 joins at 3 s.
        >>> import jaxasgd as ja
        >>> times = ja.times.with_absences(ja.times.fixed(1.0, num_workers=3), {1: [(2.5, 4.0)], 2: [(0.0, 3.0)]})
        >>> run = ja.simulate(ja.policies.asgd(), times, until=6.0)
        >>> [run.time[run.worker == i].tolist() for i in (1, 2)]
        [[1.0, 2.0, 5.0, 6.0], [4.0, 5.0, 6.0]]
    """
    model("with_absences", times)
    if not isinstance(absences, dict):
        raise ValueError(
            f"times.with_absences: absences is {{worker: [(left, back), ...]}}, e.g. {{3: [(500.0, math.inf)]}}; got "
            f"{absences!r}."
        )
    gone = {}
    for worker, each in absences.items():
        most = times.num_workers - 1
        worker = integer(worker, 0, "times.with_absences: worker", "a worker of the model", most)
        gone[worker] = known(worker, each)
    dead = np.array([math.inf in [back for _, back in gone.get(i, ())] for i in range(times.num_workers)])
    mean = np.where(dead, np.inf, times.mean)
    args = {"base": spec(times), "absences": {str(worker): [list(pair) for pair in gone[worker]] for worker in gone}}
    return changed(times, "with_absences", lambda rng, worker: iter(gone.get(worker, ())), mean, args)


def with_failures(times: Times, up: ArrayLike | Times, down: ArrayLike | Times) -> Times:
    """Failures at random: a worker is there for some seconds, then away for some, and each time loses its job.

    The seconds up and down alternate from second 0 on, all independent. (Where the job waits and goes on:
    `with_outages`.) The mean is not known, nan: long jobs are lost more often than short ones. With up exponential of
    mean u, work w with L = E exp(-w / u), and a worker that begins anew as soon as it is back, it is
    (u + d) (1 - L) / L seconds a gradient: (u + d) (exp(h / u) - 1) for `fixed(h)`, m (u + d) / u for `exponential(m)`.

    Args:
        times: a model.
        up: seconds between two failures: the mean of an exponential law, one number or one per worker; or a model with
            as many workers.
        down: seconds until a worker is back, likewise; inf in a model: never.

    Raises:
        ValueError: other numbers, or a model with another number of workers.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.with_failures(ja.times.exponential(1.0, num_workers=4), up=100.0, down=20.0)
        >>> run = ja.simulate(ja.policies.asgd(), times, until=1000.0)
        >>> lost = run.unfinished["kind"] == ja.schedule.LOST
        >>> bool(20 < lost.sum() < 50)
        True
    """
    model("with_failures", times)
    up, told_up = random_seconds("with_failures", "up", up, times.num_workers)
    down, told_down = random_seconds("with_failures", "down", down, times.num_workers)

    def make(rng, worker):
        back = 0.0
        for there, away in zip(endless(up, rng, worker), endless(down, rng, worker), strict=True):
            left = back + there
            back = left + away
            yield left, back

    args = {"base": spec(times), "up": told_up, "down": told_down}
    return changed(times, "with_failures", make, np.full(times.num_workers, np.nan), args)


def known(worker: int, absences) -> list[tuple[float, float]]:
    """A worker's absences in order, checked."""
    pairs = array(absences)
    if pairs.size and (pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iuf"):
        raise ValueError(
            f"times.with_absences: the absences of a worker are [(left, back), ...]; worker {worker} has {absences!r}. "
            f"Write e.g. {{{worker}: [(500.0, math.inf)]}}."
        )
    ordered = sorted((float(left), float(back)) for left, back in pairs.reshape(-1, 2).tolist())
    before = 0.0
    for left, back in ordered:
        if not before <= left <= back or left == math.inf:
            after = f" after one until {before}" if before else ""
            raise ValueError(
                f"times.with_absences: an absence is seconds (left, back), 0 <= left <= back, back inf: for good, and "
                f"absences do not overlap; worker {worker} has ({left}, {back}){after}. Join those that overlap."
            )
        before = back
    return ordered


def changed(times: Times, name: str, make, mean: np.ndarray, args: dict) -> Times:
    """The model with further absences."""
    before = times.absences
    absences = Absences(make) if before is None else before._replace(also=(*before.also, make))
    return replace(times, name=name, mean=mean, absences=absences, args=args)
