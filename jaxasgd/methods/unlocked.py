"""Gates and unlocked reads: asynchronous SGD that keeps the workers together, or does without any lock."""

from __future__ import annotations

import optax

from .. import policies
from . import papers
from .base import Method
from .citations import published


@published("Hogwild!", papers.RECHT_2011, policy="hogwild")
def hogwild(learning_rate: optax.ScalarOrSchedule, groups: int, reading: float = 1.0) -> Method:
    """Asynchronous SGD in shared memory, without locks: a worker reads while others write.

        x[t+1] = x[t] - learning_rate * g(y),     y_c = x[read_c]_c    for every group c of coordinates

    Args:
        learning_rate: the step (the paper makes it 0.9 times smaller after every pass: an optax schedule).
        groups: consecutive runs of coordinates, read one after the other; at most the number of coordinates.
        reading: the share of a job's time that is reading, 0 (asynchronous SGD) to 1.

    The analysis is for sparse gradients: updates that have no coordinate in common do not meet at all, however old. A
    problem with sparse samples has that here too; the arithmetic is dense.

    Source: B. Recht, C. Re, S. Wright, F. Niu, NIPS 2011, arXiv 1106.5730. Differs from the paper: an update is written
    in one moment, not coordinate by coordinate.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.exponential(1.0, num_workers=8)
        >>> schedule = ja.simulate(ja.methods.hogwild(0.1, groups=3), times, num_updates=1000)
        >>> [round(delay) for delay in schedule.delay.mean(axis=0)]  # the first group's is n - 1
        [7, 5, 2]
    """
    return Method(policies.hogwild(groups, reading=reading), optax.sgd(learning_rate))


@published("stale synchronous parallel SGD", papers.HO_2013, policy="ssp", does="blocks")
def ssp_sgd(learning_rate: optax.ScalarOrSchedule, bound: int | None) -> Method:
    """Asynchronous SGD whose fast workers wait when they are more than `bound` gradients ahead of the slowest.

        x[t+1] = x[t] - learning_rate * g_i(x[read]),     i starts only if  clock_i - min_j clock_j <= bound

    Every gradient is added in full: with `bound` 0, n updates are one of synchronous SGD with n times the learning
    rate. Without bound (None) it is asynchronous SGD.

    Source: Q. Ho et al., NIPS 2013 (stale synchronous parallel parameter server).

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.fixed([1.0, 4.0])
        >>> ja.simulate(ja.methods.ssp_sgd(0.1, bound=1), times, until=8.0).worker.tolist()
        [0, 0, 1, 0, 1]
    """
    return Method(policies.ssp(bound), optax.sgd(learning_rate))
