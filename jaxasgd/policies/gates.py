"""Gates: a worker that is too far ahead of the slowest one waits."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..checks import whole
from .base import GRADIENT, Decision, Policy


class Gate:
    """How many gradients every worker has delivered, and who waits. Fresh for every run; O(1) an arrival."""

    def __init__(self, num_workers):
        self.clocks = [0] * num_workers
        self.slowest = 0
        self.standing = {0: num_workers}  # clock -> how many workers are there
        self.waiting = []  # all of them at clock slowest + bound + 1

    def advance(self, worker) -> bool:
        """Count a gradient; whether the slowest clock rose."""
        clock = self.clocks[worker]
        self.clocks[worker] = clock + 1
        self.standing[clock + 1] = self.standing.get(clock + 1, 0) + 1
        self.standing[clock] -= 1
        if self.standing[clock]:
            return False
        del self.standing[clock]
        if clock == self.slowest:
            self.slowest += 1  # where this worker is now
            return True
        return False


def ssp(bound: int | None) -> Policy:
    """Every gradient is an update, but nobody starts a job while more than `bound` gradients ahead of the slowest.

        worker i may start  iff  clock_i - min_j clock_j <= bound,     clock_i: gradients that it has delivered

    Who may not is idle until the slowest clock rises, and then reads the newest parameters. When worker i starts, every
    other worker has delivered between `clock_i - bound` and `clock_i + bound` gradients; a delay is at most
    `(2 bound + 1)(n - 1)`.

    Args:
        bound: how many gradients ahead of the slowest a worker may still start; 0 is a barrier, None no gate at all.

    Source: Q. Ho et al., NIPS 2013 (stale synchronous parallel parameter server). Differs from the paper: reads are
    the newest parameters, never an older copy that the bound would still allow.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.fixed([1.0, 10.0])
        >>> ja.simulate(ja.policies.ssp(bound=2), times, until=25.0).worker.tolist()
        [0, 0, 0, 1, 0, 1, 0]
    """
    if bound is not None:
        bound = whole("bound", bound, hint=" gradients ahead of the slowest, or None for no bound")
    ahead = math.inf if bound is None else bound

    def init(num_workers, rng):
        return Gate(num_workers), range(num_workers)

    def on(gate, event):
        worker = event.worker
        if event.kind != GRADIENT:
            return gate, Decision(start=(worker,))
        start: Sequence[int] = ()
        if gate.advance(worker):
            start, gate.waiting = gate.waiting, []
        if gate.clocks[worker] - gate.slowest <= ahead:
            start = (*start, worker)
        else:
            gate.waiting.append(worker)
        return gate, Decision(use=True, step=True, start=start)

    return Policy(init, on, {"policy": "ssp", "bound": bound})
