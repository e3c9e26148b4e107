"""The clock of one run: when each job ends, who is there, and how long the server takes."""

from __future__ import annotations

import math

from .base import Durations, Times

DOWN_STREAM, UP_STREAM, RECEIVE_STREAM, UPDATE_STREAM = 3, 4, 5, 6  # last word of these streams' seeds


class Clock:
    """Everything a run asks of a worker-time model, a pure function of the model and the seed.

    The j-th job that a worker starts needs the same seconds of work, and of messages, under every policy; so do the
    server's k-th gradient and its k-th update.
    """

    def __init__(self, times: Times, seed: int):
        n = times.num_workers
        law = lambda part, *words: None if part is None else Durations(part, seed, *words)
        self.num_workers, self.plain = n, times.plain
        self.work = times.durations(seed)
        self.power = None if times.power is None else times.power.of(self.work.seed, n)
        self.absences = None if times.absences is None else times.absences.of(self.work.seed, n)
        self.down, self.up = law(times.down, DOWN_STREAM), law(times.up, UP_STREAM)
        self.receive, self.update = law(times.receive, RECEIVE_STREAM), law(times.update, UPDATE_STREAM)
        self.serves = self.receive is not None or self.update is not None
        self.talks = self.serves or self.down is not None or self.up is not None

    def end(self, worker: int, job: int, size: int, start: float) -> tuple[float, float, float]:
        """Of a job of `size` units: when its gradient reaches the server, when computing begins, how long it takes.

        The message to the worker comes first, then the work at the worker's power, then the message to the server.
        """
        begin = start if self.down is None else start + self.down(worker, job)
        work = size * self.work(worker, job)
        until = begin + work if self.power is None else self.power.finish(worker, begin, work)
        busy = until - begin if until < math.inf else math.inf
        return (until if self.up is None else until + self.up(worker, job)), begin, busy
