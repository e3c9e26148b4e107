"""Synchronous rounds: all gradients of an update are computed at one version, and workers wait."""

from __future__ import annotations

import optax

from .. import policies
from ..checks import whole
from . import papers
from .base import Method
from .base import late as late_part
from .citations import published


@published("synchronous SGD", papers.CHEN_2016, policy="synchronous", does="blocks aggregates")
def sync_sgd(learning_rate: optax.ScalarOrSchedule) -> Method:
    """Synchronous minibatch SGD: wait for all workers, average, update.

        x[t+1] = x[t] - learning_rate * (1/n) sum_i g_i(x[t])

    The gradients are averaged: published comparisons that add them up take a learning rate n times smaller.

    Source: the baseline of J. Chen et al., 2016, arXiv 1604.00981 (the folklore is older).

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.exponential(1.0, num_workers=4)
        >>> ja.simulate(ja.methods.sync_sgd(0.1), times, num_updates=3).delay.tolist()
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    """
    return Method(policies.synchronous(), optax.sgd(learning_rate))


@published("SGD with backup workers", papers.CHEN_2016, policy="synchronous", does="discards blocks aggregates")
def backup_sgd(learning_rate: optax.ScalarOrSchedule, backup: int = 1, *, late: str = "cancel") -> Method:
    """Synchronous SGD with backup workers: average the first n - backup gradients of a round, drop the rest.

    Source: J. Chen, X. Pan, R. Monga, S. Bengio, R. Jozefowicz, 2016, arXiv 1604.00981, Alg. 3 and 4.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.fixed([1.0, 1.0, 100.0])
        >>> ja.simulate(ja.methods.backup_sgd(0.1, backup=1), times, num_updates=10).end
        10.0
    """
    return Method(policies.synchronous(backup=backup, late=late), optax.sgd(learning_rate))


@published("K-sync SGD", papers.DUTTA_2018, policy="synchronous", does="discards blocks aggregates")
def k_sync_sgd(learning_rate: optax.ScalarOrSchedule, k: int) -> Method:
    """K-sync SGD: average the gradients of the k fastest workers of a round, stop the others.

        x[t+1] = x[t] - learning_rate * (1/k) sum_{i among the first k} g_i(x[t])

    A round lasts as long as the k-th fastest of n jobs: (1/n + 1/(n-1) + ... + 1/(n-k+1)) mean seconds where all are
    exponential. With k = n it is `sync_sgd`, with k = n - b `backup_sgd` with b backup workers.

    Source: S. Dutta, G. Joshi, S. Ghosh, P. Dube, P. Nagpurkar, AISTATS 2018, arXiv 1803.01113.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.fixed([1.0, 2.0, 100.0])
        >>> ja.simulate(ja.methods.k_sync_sgd(0.1, k=2), times, num_updates=10).end
        20.0
    """
    return Method(first("k", k, "cancel"), optax.sgd(learning_rate))


@published("m-synchronous SGD", papers.BEGUNOV_2026, policy="synchronous", does="discards blocks aggregates")
def m_sync_sgd(learning_rate: optax.ScalarOrSchedule, m: int, *, late: str = "cancel") -> Method:
    """m-synchronous SGD: average the first m gradients of a round, whoever they come from, and go on.

        x[t+1] = x[t] - learning_rate * (1/m) sum_{i among the first m} g_i(x[t])

    Where worker i needs h_i seconds, h_1 <= h_2 <= ..., the m that is best for noise q = sigma^2 / eps minimises
    h_m (1 + q / m).

    Args:
        late: "cancel" stops the n - m late workers when a round closes; "ignore" lets them finish, throws their
            gradients away, and they may miss the beginning of the next rounds. Where times are fixed, rounds
            end at the same seconds either way.

    Source: G. Begunov, A. Tyurin, 2026, arXiv 2602.03802, Alg. 3. Which of the two it means could not be checked.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.fixed([1.0, 2.0, 2.5])
        >>> schedule = ja.simulate(ja.methods.m_sync_sgd(0.1, m=2), times, num_updates=4)
        >>> schedule.worker.tolist(), schedule.end
        ([0, 1, 0, 1, 0, 1, 0, 1], 8.0)
    """
    return Method(first("m", m, late), optax.sgd(learning_rate))


def first(name, number, late) -> policies.Policy:
    """The policy of rounds that close with the first so many gradients."""
    number = whole(name, number, 1)
    policies.synchronous(late=late)  # says what is wrong before anything is bound
    wanted = lambda num_workers: whole(name, number, 1, num_workers, ": not more than there are workers")
    return late_part(
        lambda num_workers, times: policies.synchronous(backup=num_workers - wanted(num_workers), late=late)
    )
