"""Synchronous SGD, with or without backup workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..checks import whole, word
from .base import GRADIENT, Decision, Policy


class Round(NamedTuple):
    """The open round: who has delivered, and who still owes a gradient of an older one. Fresh sets every round."""

    num_workers: int
    wait_for: int
    delivered: set
    behind: set


def synchronous(*, backup: int = 0, late: str = "cancel") -> Policy:
    """All workers compute at one version; the server averages the first `num_workers - backup` gradients.

        x[t+1] = x[t] - lr * (1/K) sum_{i among the first K} g_i(x[t]),     K = num_workers - backup

    Args:
        backup: how many of the slowest gradients of a round are thrown away; 0 waits for all.
        late: "cancel" stops the slow workers when the round closes and starts everybody on the new version;
            "ignore" lets them finish: their gradients arrive late, are discarded, and they begin again then.

    Source: J. Chen, X. Pan, R. Monga, S. Bengio, R. Jozefowicz, 2016, arXiv 1604.00981, Alg. 3 and 4 (there a late
    worker drops its work: "cancel"); S. Dutta et al., AISTATS 2018, arXiv 1803.01113 (K-sync SGD).

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.fixed([1.0, 1.0, 5.0])
        >>> schedule = ja.simulate(ja.policies.synchronous(backup=1), times, num_updates=3)
        >>> schedule.worker.tolist(), schedule.step.tolist(), schedule.end
        ([0, 1, 0, 1, 0, 1], [False, True, False, True, False, True], 3.0)
    """
    backup = whole("backup", backup, hint=": workers that nobody waits for")
    word("late", late, "cancel", "ignore")

    def init(num_workers, rng):
        if backup >= num_workers:
            raise ValueError(f"backup is less than the number of workers ({num_workers}); got {backup}.")
        return Round(num_workers, num_workers - backup, set(), set()), range(num_workers)

    def on(state, event):
        if event.worker in state.behind or event.kind != GRADIENT:
            state.behind.discard(event.worker)
            return state, Decision(start=(event.worker,))
        state.delivered.add(event.worker)
        weight = 1 / state.wait_for
        if len(state.delivered) < state.wait_for:
            return state, Decision(use=True, weight=weight)
        everybody: Sequence[int] = range(state.num_workers)
        if late == "cancel":
            start, behind = everybody, set()
        else:
            start, behind = sorted(state.delivered), set(everybody) - state.delivered
        cancel = everybody if backup and late == "cancel" else ()
        state = state._replace(delivered=set(), behind=behind)
        return state, Decision(use=True, weight=weight, step=True, start=start, cancel=cancel)

    return Policy(init, on, {"policy": "synchronous", "backup": backup, "late": late})
