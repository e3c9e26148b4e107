"""Thresholds: up to which delay, or from which workers, a gradient counts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import optax

from .. import policies
from ..checks import real, shown, whole
from ..complexity import optimum
from ..policies.thresholds import known_seconds
from . import papers
from .base import Method, late
from .citations import published


@published("Ringmaster ASGD", papers.MARANJYAN_2025, policy="ringmaster", does="discards")
def ringmaster(learning_rate: optax.ScalarOrSchedule, bound: int | Callable, *, stops: bool = False) -> Method:
    """Ringmaster ASGD: asynchronous SGD that uses no gradient whose delay is `bound` or more.

        x[t+1] = x[t] - learning_rate * g(x[t - delay_t]),     delay_t < bound

    A delay of 0 is a fresh gradient; with bound = 1 only those count. Theory: bound = max(1, ceil(sigma^2 / eps)),
    whatever the workers' times; learning_rate of the order of min(1 / (bound L), eps / (L sigma^2)).

    Args:
        stops: False: late gradients are thrown away when they arrive. True: a job is stopped as soon as its delay
            reaches the bound, and its worker starts again at the newest version.

    Source: A. Maranjyan, A. Tyurin, P. Richtarik, ICML 2025, arXiv 2501.16168, Alg. 4 (without stops), Alg. 5 (with).

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.exponential(1.0, num_workers=16)
        >>> schedule = ja.simulate(ja.methods.ringmaster(0.1, bound=4), times, num_updates=100)
        >>> int(schedule.delay[schedule.use].max())
        3
    """
    return Method(policies.ringmaster(bound, stops=stops), optax.sgd(learning_rate))


@published("Naive Optimal ASGD", papers.MARANJYAN_2025, policy="fastest", does="blocks")
def naive_optimal_asgd(
    learning_rate: optax.ScalarOrSchedule, workers: int | None = None, *, noise: float | None = None
) -> Method:
    """Naive Optimal ASGD: asynchronous SGD on the fastest workers only, by the clock's mean seconds.

        x[t+1] = x[t] - learning_rate * g(x[t - delay_t])

    Give either of

    Args:
        workers: how many take part.
        noise: q = sigma^2 / eps, the variance of a stochastic gradient over the squared norm of the gradient aimed at.
            With mean seconds h_1 <= h_2 <= ... the number is then the (smallest) m that minimises
            H_m (1 + q / m),    H_m = m / sum_{i<=m} (1/h_i).

    Source: A. Maranjyan, A. Tyurin, P. Richtarik, ICML 2025, arXiv 2501.16168, Alg. 3; the formula was not checked.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.fixed([1.0] * 5 + [1000.0] * 95)
        >>> schedule = ja.simulate(ja.methods.naive_optimal_asgd(0.1, noise=10.0), times, num_updates=100)
        >>> int(schedule.worker.max()), schedule.end
        (4, 20.0)
    """
    if (workers is None) == (noise is None):
        raise ValueError(
            "naive_optimal_asgd takes either workers, how many take part, or noise, from which it computes how many; "
            f"got workers={workers} and noise={noise}."
        )
    workers = None if workers is None else whole("workers", workers, 1)
    noise = None if noise is None else real("noise", noise, 0)

    def policy(num_workers, times):
        seconds = known_seconds(times.mean)
        if workers is None and not np.isfinite(seconds).any():
            raise ValueError(f"some worker has a finite mean, to choose by noise; got {shown(seconds)}: give workers=.")
        return policies.fastest(seconds, workers or optimum(seconds, noise)[1])

    return Method(late(policy, clock="the workers' mean seconds"), optax.sgd(learning_rate))
