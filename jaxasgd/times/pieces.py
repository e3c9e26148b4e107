"""Functions of time made of pieces: how fast a worker is at each moment, and when it is not there."""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from .base import stream

POWER_STREAM, ABSENCE_STREAM = 1, 2  # last word of these streams' seeds; of what is combined with them, one but last
MOST_IDLE = 1_000_000  # pieces without any work after which a worker is taken to have stopped for good
SLACK = 1e-12  # of the time: by so much two moments may differ and be the same
KEPT = 256  # pieces of the past that a power keeps


class Pieces(NamedTuple):
    """How fast each worker is: `make(rng, worker)` yields pieces (seconds, power), one after the other from second 0.

    Power 1 does one second of work a second, 0 none: work pauses and goes on later. After the last piece, where there
    is one, its power holds for ever. `rng` belongs to the worker and the run, so that pieces may be random. Instead of
    pieces `make` may return a `Cycle`. `also` holds further makes, whose powers multiply the first one's; `constant`
    says that no worker's power ever changes.
    """

    make: Callable[[np.random.Generator, int], Any]
    also: tuple[Callable, ...] = ()
    constant: bool = False

    def of(self, seed: int, num_workers: int) -> Powers:
        """The functions of one run."""
        words = [(POWER_STREAM,), *((POWER_STREAM, k) for k in range(1, len(self.also) + 1))]
        made = list(zip((self.make, *self.also), words, strict=True))

        def power(worker):
            again = lambda: [make(stream(seed, worker, *word), worker) for make, word in made]
            first = again()
            if len(first) == 1 and isinstance(first[0], Cycle):
                return first[0]
            return Power(lambda: product([moments(part, worker) for part in again()]))

        return Powers([None] * num_workers, power)


class Powers(NamedTuple):
    """The power of every worker in one run, made when it is first asked for."""

    known: list
    make: Callable[[int], Any]

    def finish(self, worker: int, start: float, work: float) -> float:
        """When so many seconds of work at power 1 are done, if the worker begins at `start`; inf: never."""
        power = self.known[worker]
        if power is None:
            power = self.known[worker] = self.make(worker)
        return power.finish(start, work)


class Power:
    """One worker's power, made as far as needed: `make()` yields (until, power), `until` growing to inf.

    The end of a job solves  integral of the power from `start` to `end` = work. What comes out depends on `start` and
    `work` alone; only the latest pieces are kept, and an earlier start makes them again.
    """

    def __init__(self, make: Callable[[], Iterator[tuple[float, float]]]):
        self.make = make
        self.begin()

    def begin(self):
        """From second 0."""
        self.pieces = self.make()
        self.at = [0.0]  # where pieces begin, and the last one ends
        self.power = []  # of each piece
        self.ahead = None  # a piece that is made, but not yet in these lists

    def extend(self):
        """One more piece; those without work in a row are one."""
        until, power = self.ahead or next(self.pieces)
        self.ahead = None
        if not power:
            for _ in range(MOST_IDLE):
                if until == math.inf:
                    break
                self.ahead = next(self.pieces)
                if self.ahead[1]:
                    break
                until = self.ahead[0]
            else:
                until = math.inf
        self.at.append(until)
        self.power.append(power)

    def finish(self, start: float, work: float) -> float:
        """The first moment at which `work` is done."""
        if not work or start == math.inf or work == math.inf:
            return start if not work else math.inf
        if start < self.at[0]:
            self.begin()
        at, power = self.at, self.power
        while at[-1] <= start:
            self.extend()
            if len(power) > 2 * KEPT:
                del at[:KEPT], power[:KEPT]
        k = bisect_right(at, start) - 1
        if k > 2 * KEPT:
            del at[: k - KEPT], power[: k - KEPT]
            k = KEPT
        now, left = start, work
        while True:
            until, speed = at[k + 1], power[k]
            if speed and left <= speed * (until + SLACK * until - now):
                return min(until, now + left / speed)
            if until == math.inf:
                return math.inf
            left -= speed * (until - now)
            now, k = until, k + 1
            if k == len(power):
                self.extend()


class Cycle:
    """A power that repeats: `power[k]` from `at[k]` to `at[k + 1]` seconds, the last one to `period`, then the first.

    With `period` inf the last power holds for ever. `offset`: seconds of the cycle that are over at second 0. The same
    result as of `Power`, without making the periods one by one.
    """

    def __init__(self, at, power, period: float = math.inf, offset: float = 0.0):
        self.at, self.power = [float(x) for x in at] + [float(period)], [float(x) for x in power]
        self.period, self.offset = float(period), math.fmod(offset, period) if offset else 0.0
        lengths = np.diff(self.at)
        self.whole = float(np.dot(self.power, lengths)) if period < math.inf else 0.0  # the work of a cycle

    @property
    def mean(self) -> float:
        """The power in the long run."""
        return self.whole / self.period if self.period < math.inf else self.power[-1]

    def finish(self, start: float, work: float) -> float:
        """The first moment at which `work` is done, beginning at `start`; inf: never."""
        if not work or start == math.inf or work == math.inf:
            return start if not work else math.inf
        at, power, period = self.at, self.power, self.period
        first = -self.offset  # where this turn begins
        turn, phase = 0, start
        if period < math.inf:
            phase = math.fmod(start - first, period)
            turn = round((start - first - phase) / period)
            first = turn * period - self.offset
        k = bisect_right(at, phase) - 1
        now, left = start, work
        while True:
            until, speed = first + at[k + 1], power[k]
            if speed and left <= speed * (until + SLACK * until - now):
                return max(now, min(until, now + left / speed))
            if until == math.inf:
                return math.inf
            left -= speed * max(until - now, 0.0)
            now, k = until, k + 1
            if k == len(power):
                if not self.whole:
                    return math.inf
                turns = max(math.floor(left / self.whole) - 1, 0)
                turn, k, left = turn + 1 + turns, 0, left - turns * self.whole
                now = first = turn * period - self.offset

    def moments(self) -> Iterator[tuple[float, float]]:
        """The pieces as (until, power), from second 0 on."""
        turn, first = 0, -self.offset
        while True:
            for k, power in enumerate(self.power):
                until = first + self.at[k + 1]
                if until > 0:
                    yield until, power
            if self.period == math.inf:
                return
            turn += 1
            first = turn * self.period - self.offset


def moments(pieces, worker: int) -> Iterator[tuple[float, float]]:
    """Pieces as (until, power), checked; `until` grows, and is inf in the last one."""
    if isinstance(pieces, Cycle):
        yield from pieces.moments()
        return
    at, power, stuck = 0.0, 1.0, 0
    for k, piece in enumerate(pieces):
        try:
            seconds, power = map(float, piece)
        except (TypeError, ValueError):
            seconds = math.nan
        if not (seconds >= 0 and 0 <= power < math.inf):
            raise ValueError(
                f"a piece of a power is (seconds, power): 0 seconds or more (inf: for ever), and a finite power, 0 or "
                f"more; worker {worker} has {piece!r} as its piece {k}. Clip it, e.g. max(power, 0.0)."
            )
        stuck = 0 if at + seconds > at else stuck + 1
        if stuck > MOST_IDLE:
            raise ValueError(
                f"pieces of a power lead on; worker {worker} is still at {at} seconds after {stuck} pieces of "
                f"{seconds} seconds. Make them longer."
            )
        if not stuck:
            at += seconds
            yield at, power
        if at == math.inf:
            return
    yield math.inf, power


def product(parts: list[Iterator[tuple[float, float]]]) -> Iterator[tuple[float, float]]:
    """The product of powers."""
    heads = [next(part) for part in parts]
    while True:
        until = min(head[0] for head in heads)
        yield until, math.prod(head[1] for head in heads)
        heads = [next(part, head) if head[0] <= until else head for part, head in zip(parts, heads, strict=True)]


class Absences(NamedTuple):
    """When each worker is not there: `make(rng, worker)` yields (left, back), in order; `back` inf: for good.

    A worker that leaves loses its job. One that joins later is away from 0 on. `also` holds further makes: a worker is
    there when all of them say so.
    """

    make: Callable[[np.random.Generator, int], Iterator[tuple[float, float]]]
    also: tuple[Callable, ...] = ()

    def of(self, seed: int, num_workers: int) -> Calendar:
        """The absences of one run."""
        words = [(ABSENCE_STREAM,), *((ABSENCE_STREAM, k) for k in range(1, len(self.also) + 1))]
        parts = list(zip((self.make, *self.also), words, strict=True))

        def made(worker):
            each = [ordered(make(stream(seed, worker, *word), worker), worker) for make, word in parts]
            return each[0] if len(each) == 1 else union(each)

        return Calendar([None] * num_workers, made)


class Calendar(NamedTuple):
    """The absences of every worker in one run; moments are asked for in the order of time."""

    known: list
    make: Callable[[int], Iterator[tuple[float, float]]]

    def next(self, worker: int, time: float) -> tuple[float, float]:
        """The first absence that ends after `time`, (left, back); (inf, inf) where there is none."""
        entry = self.known[worker]
        if entry is None:
            entry = self.known[worker] = [self.make(worker), (-1.0, 0.0)]
        pieces, (left, back) = entry
        while back <= time:
            left, back = next(pieces, (math.inf, math.inf))
            if left == math.inf:
                back = math.inf
                break
        entry[1] = (left, back)
        return left, back


def ordered(absences, worker: int) -> Iterator[tuple[float, float]]:
    """Absences, checked."""
    before, stuck = 0.0, 0
    for absence in absences:
        try:
            left, back = map(float, absence)
        except (TypeError, ValueError):
            left = back = math.nan
        stuck = stuck + 1 if back == before else 0
        if not (before <= left <= back) or stuck > MOST_IDLE:
            raise ValueError(
                f"absences are seconds (left, back) in order, 0 <= left <= back, none before the one before is over; "
                f"worker {worker} has {absence!r} after one until {before}. Sort them, and join those that overlap."
            )
        yield left, back
        before = back
        if back == math.inf:
            return


def union(parts: list[Iterator[tuple[float, float]]]) -> Iterator[tuple[float, float]]:
    """Away in any of them; absences that overlap or touch are one."""
    left, back = -1.0, -1.0
    for begin, end in heapq.merge(*parts):
        if begin > back and left >= 0:
            yield left, back
        if begin > back:
            left = begin
        back = max(back, end)
        if back == math.inf:
            break
    if left >= 0:
        yield left, back
