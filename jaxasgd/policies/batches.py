"""Policies that collect gradients at one version until the batch is large enough, and nobody waits meanwhile."""

from collections import Counter
from fractions import Fraction

import numpy as np

from ..checks import whole, word
from .base import GRADIENT, Decision, Policy, vectorized

NEAR = 1e-6  # relative distance to the threshold below which the harmonic mean is computed in fractions


def check_stale(stale):
    word("stale", stale, "ignore", "restart")


def starters(stale, num_workers, worker):
    """Who starts, and who is cancelled before, when a batch closes: `(start, cancel)`."""
    everybody = range(num_workers)
    return (everybody, everybody) if stale == "restart" else ((worker,), ())


class Batch:
    """The open batch of one run."""

    def __init__(self, num_workers):
        self.num_workers, self.number = num_workers, 0


def rennala(batch: int, *, stale: str = "ignore") -> Policy:
    """The server averages the first `batch` gradients that are computed at the current version.

        x[t+1] = x[t] - lr * (1/batch) sum of the first `batch` gradients at x[t]

    A worker that has delivered goes on at the newest version at once, which may be the one it had: fast workers give
    several gradients of a batch. No gradient of an older version counts. Where worker i needs h_i seconds, h_1 <= h_2
    <= ..., a batch of S takes from S / sum_i (1/h_i) to 2 min_m (S + m) / sum_{i<=m} (1/h_i) seconds.

    Args:
        batch: S, gradients in an update; the theory takes max(ceil(sigma^2 / eps), 1).
        stale: what becomes of the jobs that run when a batch closes. "ignore": they end in their own time, are thrown
            away, and their workers begin at the newest version then. "restart": they are stopped, and everybody starts
            at the new version.

    Source: A. Tyurin, P. Richtarik, NeurIPS 2023, arXiv 2305.12387 (Rennala SGD; "ignore"); "restart" is what the
    published code does, and S. Dutta et al., AISTATS 2018, arXiv 1803.01113 (K-batch-sync SGD). Differs from the
    published code: all workers start even where there are more of them than gradients in a batch.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.fixed([1.0, 2.0, 5.0])
        >>> schedule = ja.simulate(ja.policies.rennala(batch=3), times, num_updates=2)
        >>> schedule.worker.tolist(), schedule.use.tolist()
        ([0, 0, 1, 0, 0, 1, 0], [True, True, True, False, True, True, True])
    """
    batch = whole("batch", batch, 1, hint=": gradients in an update")
    check_stale(stale)

    def init(num_workers, rng):
        return Batch(num_workers), range(num_workers)

    def on(state, event):
        if event.kind != GRADIENT or event.delay:
            return state, Decision(start=(event.worker,))
        state.number += 1
        if state.number < batch:
            return state, Decision(use=True, weight=1 / batch, start=(event.worker,))
        state.number = 0
        start, cancel = starters(stale, state.num_workers, event.worker)
        return state, Decision(use=True, weight=1 / batch, step=True, start=start, cancel=cancel)

    def pure(num_workers, arrivals):
        known, version, number = [0], 0, 0  # known: what is read at the start, and after each row
        use, step = [], []
        after = arrivals.reads == "after"
        for before in (arrivals.before + 1).tolist():
            fresh = known[before] == version
            number += fresh
            full = number == batch
            known.append(version + (full if after else 0))
            if full:
                version, number = version + 1, 0
            use.append(fresh)
            step.append(full)
        return Decision(use=np.array(use, bool), weight=1 / batch, step=np.array(step, bool))

    info = {"policy": "rennala", "batch": batch, "stale": stale}
    return Policy(init, vectorized(on, pure) if stale == "ignore" else on, info)


class Counts:
    """How many gradients of the open batch each worker has given, and the sum of their inverses, kept up to date."""

    def __init__(self, num_workers):
        self.num_workers = num_workers
        self.clear()

    def clear(self):
        self.counts, self.members = [0] * self.num_workers, []
        self.missing, self.inverses = self.num_workers, 0.0

    def add(self, worker):
        before = self.counts[worker]
        self.counts[worker] = before + 1
        self.members.append(worker)
        self.missing -= before == 0
        self.inverses += 1 / (before + 1) - (1 / before if before else 0.0)

    def excess(self, batch):
        """Has the sign of (harmonic mean of the counts) - batch / num_workers, exactly."""
        if self.missing:
            return -1
        wanted = self.num_workers**2
        excess = wanted - batch * self.inverses
        if abs(excess) < NEAR * wanted:
            parts = (Fraction(times, count) for count, times in Counter(self.counts).items())
            excess = wanted - batch * sum(parts)
        return excess

    def weights(self):
        return 1 / (self.num_workers * np.array(self.counts)[self.members])


def malenia(batch: int, *, stale: str = "ignore", close: str = "reached") -> Policy:
    """Gradients at one version, until every worker has given enough; each worker's mean counts the same.

        x[t+1] = x[t] - lr * (1/n) sum_i (1/B_i) sum of the B_i gradients of worker i at x[t]

    where n is the number of workers, and the batch closes as soon as n / sum_i (1/B_i), the harmonic mean of the B_i,
    is at least batch / n. No gradient of an older version counts, nobody waits. Workers that hold different data are
    all heard, which `rennala` does not guarantee.

    With batch <= n the batch closes when everybody has given one gradient at least: this is what the published code
    does, whatever the batch.

    Args:
        batch: S; the theory takes max(ceil(sigma^2 / eps), n).
        stale: "ignore" lets the jobs that run when a batch closes end, and throws them away; "restart" stops them, and
            everybody starts at the new version.
        close: "reached": when the harmonic mean is batch / n or more; "exceeded": when it is more.

    Source: A. Tyurin, P. Richtarik, NeurIPS 2023, arXiv 2305.12387 (Malenia SGD). The listing of it in a later paper
    of A. Tyurin on the gap between homogeneous and heterogeneous data has "exceeded", and leaves `stale` open.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.fixed([1.0, 3.5])
        >>> schedule = ja.simulate(ja.policies.malenia(batch=2), times, num_updates=1)
        >>> schedule.worker.tolist(), (6 * schedule.weight).round(9).tolist()
        ([0, 0, 0, 1], [1.0, 1.0, 1.0, 3.0])
    """
    batch = whole("batch", batch, 1, hint=": the number of workers, or more")
    check_stale(stale)
    word("close", close, "reached", "exceeded")

    def init(num_workers, rng):
        return Counts(num_workers), range(num_workers)

    def on(state, event):
        if event.kind != GRADIENT or event.delay:
            return state, Decision(start=(event.worker,))
        state.add(event.worker)
        excess = state.excess(batch)
        if excess < 0 or (excess == 0 and close == "exceeded"):
            return state, Decision(use=True, start=(event.worker,))
        weights = state.weights()
        state.clear()
        start, cancel = starters(stale, state.num_workers, event.worker)
        return state, Decision(use=True, step=True, start=start, cancel=cancel, weights=weights)

    return Policy(init, on, {"policy": "malenia", "batch": batch, "stale": stale, "close": close})
