"""Inconsistent reads: a worker sees some coordinates before an update and others after it."""

import numpy as np

from ..checks import real, whole
from .base import GRADIENT, Decision, Policy, vectorized

SHORTEST = 64  # update times kept at least


class Past:
    """When the latest updates were applied: those that a job in flight may have seen in part. Fresh for every run."""

    def __init__(self, num_workers):
        self.read = [0] * num_workers  # of each worker's job
        self.times = np.empty(SHORTEST)
        self.begin = self.end = 0  # versions begin + 1 ... end were made at times[: end - begin]

    def since(self, version):
        """The times of the updates that came after a version."""
        return self.times[version - self.begin : self.end - self.begin]

    def append(self, time):
        if self.end - self.begin == len(self.times):
            kept = self.since(min(self.read)).copy()
            self.begin = self.end - len(kept)
            self.times = np.empty(max(SHORTEST, 2 * (len(kept) + len(self.read))))
            self.times[: len(kept)] = kept
        self.times[self.end - self.begin] = time
        self.end += 1


def hogwild(groups: int, *, reading: float = 1.0) -> Policy:
    """Asynchronous without locks: the groups of coordinates are read one after the other, while others write.

        x[t+1] = x[t] - lr * g(y),     y_c = x[read_c]_c    for every group c of coordinates
        read_c = the version at  start + reading * (c / groups) * (time - start),     0 <= c < groups

    An update at the very moment of a read is not seen. So delays differ within a gradient: that of group 0 is the
    delay of asynchronous SGD, those of later groups are smaller, none is negative. The engine splits the parameters
    into `groups` runs of consecutive coordinates as equal as can be (as many groups as leaves: a group is a leaf).

    Args:
        groups: how many pieces the parameters are read in; at most the number of coordinates.
        reading: the share of a job's seconds that the worker spends on reading, 0 to 1. 0: everything is read at the
            start, which is asynchronous SGD; 1: the last group is read just before the gradient is written.

    Source: B. Recht, C. Re, S. Wright, F. Niu, NIPS 2011, arXiv 1106.5730. Differs from the paper: an update is written
    in one moment (there coordinate by coordinate, each atomically); sparsity is the problem's affair: where a gradient
    is 0, what was read and what is written there makes no difference.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.fixed([4.0, 1.1])
        >>> ja.simulate(ja.policies.hogwild(groups=4), times, until=4.0).read.tolist()
        [[0, 0, 0, 0], [1, 1, 1, 1], [2, 2, 2, 2], [0, 0, 1, 2]]
    """
    groups = whole("groups", groups, 1, hint=" of coordinates")
    reading = real("reading", reading, 0, hint=", 1 at most: the share of a job that is reading")
    if reading > 1:
        raise ValueError(f"reading is the share of a job's time that is spent on reading, 0 to 1; got {reading}.")
    shares = np.arange(groups) / groups * reading

    def init(num_workers, rng):
        return Past(num_workers), range(num_workers)

    def on(past, event):
        if event.kind != GRADIENT:
            past.read[event.worker] = event.version
            return past, Decision(start=(event.worker,))
        moments = event.start + shares * (event.time - event.start)
        read = event.read + past.since(event.read).searchsorted(moments)  # an update at that very moment is not seen
        past.append(event.time)
        past.read[event.worker] = event.version  # at least: the job to come reads this version or the next
        return past, Decision(use=True, step=True, start=(event.worker,), read=read)

    def pure(num_workers, arrivals):
        moments = arrivals.start[:, None] + shares * (arrivals.time - arrivals.start)[:, None]
        seen = arrivals.time.searchsorted(moments.ravel()).reshape(moments.shape)
        return Decision(use=True, step=True, read=np.maximum(seen, arrivals.read(True)[:, None]))

    return Policy(init, vectorized(on, pure), {"policy": "hogwild", "groups": groups, "reading": reading})
