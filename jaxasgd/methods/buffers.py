"""Buffers: several stale gradients in one update."""

from __future__ import annotations

import optax

from .. import policies, rules
from ..checks import whole
from . import papers
from .base import Method, late
from .citations import published


@published("K-async SGD", papers.DUTTA_2018, policy="buffered", does="blocks aggregates")
def k_async_sgd(learning_rate: optax.ScalarOrSchedule, k: int) -> Method:
    """An update is the mean of the first `k` gradients of different workers; the late ones go on.

        x[t+1] = x[t] - learning_rate * (1/k) sum_{i in S_t} g_i(x[read_i]),     |S_t| = k

    Who has delivered waits for the update; nobody is cancelled, so that gradients may be stale. With exponential times
    of one mean m an update takes m (1/(n - k + 1) + ... + 1/n) seconds.

    Source: S. Dutta, G. Joshi, S. Ghosh, P. Dube, P. Nagpurkar, AISTATS 2018, arXiv 1803.01113.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.fixed([1.0, 1.0, 5.0])
        >>> ja.simulate(ja.methods.k_async_sgd(0.1, k=2), times, num_updates=5).worker.tolist()
        [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]
    """
    return Method(policies.buffered(whole("k", k, 1), hold=True), optax.sgd(learning_rate))


@published("K-batch-async SGD", papers.DUTTA_2018, policy="buffered", does="aggregates")
def k_batch_async_sgd(learning_rate: optax.ScalarOrSchedule, k: int) -> Method:
    """An update is the mean of the next `k` gradients, of whomever; who delivers goes on at once.

        x[t+1] = x[t] - learning_rate * (1/k) sum_{j=1}^k g_j(x[read_j])

    An update takes k / sum_i (1 / m_i) seconds, for workers of any laws with means m_i; the mean delay is (n - 1) / k.

    Source: S. Dutta, G. Joshi, S. Ghosh, P. Dube, P. Nagpurkar, AISTATS 2018, arXiv 1803.01113.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.exponential(1.0, num_workers=9)
        >>> round(ja.simulate(ja.methods.k_batch_async_sgd(0.1, k=4), times, num_updates=5000).mean_delay, 1)
        2.0
    """
    return Method(policies.buffered(whole("k", k, 1)), optax.sgd(learning_rate))


@published(
    "n-softsync SGD", papers.ZHANG_2016, policy="buffered", rule="sgd", arrival="divide_by_delay",
    does="rescales aggregates",
)  # fmt: skip
def softsync_sgd(learning_rate: optax.ScalarOrSchedule, splits: int = 1) -> Method:
    """Staleness-aware n-softsync: an update of c = floor(n / splits) gradients, each divided by its delay.

        x[t+1] = x[t] - learning_rate * (1/c) sum_{l=1}^c g_l(x[t - delay_l]) / max(delay_l, 1)

    The mean delay is (n - 1) / c, about `splits`.

    Args:
        learning_rate: that of a fresh gradient.
        splits: n in "n-softsync", updates for as many gradients as there are workers: 1 (about synchronous) to the
            number of workers (staleness-aware asynchronous SGD).

    Source: W. Zhang, S. Gupta, X. Lian, J. Liu, IJCAI 2016, arXiv 1511.05950. Differs from the paper: it claims delays
    of at most 2 splits, which holds for nearly equal times, not for exponential ones.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.gamma(1.0, cv=0.1, num_workers=30)
        >>> schedule = ja.simulate(ja.methods.softsync_sgd(0.1, splits=5), times, num_updates=2000)
        >>> round(schedule.mean_delay, 1), bool(schedule.delay.max() <= 10)
        (4.8, True)
    """
    splits = whole("splits", splits, 1, hint=": updates for as many gradients as there are workers")

    def policy(num_workers, times):
        if splits > num_workers:
            raise ValueError(f"splits is at most the number of workers ({num_workers}); got {splits}.")
        return policies.buffered(num_workers // splits)

    return Method(late(policy), optax.sgd(learning_rate), arrival=rules.divide_by_delay())
