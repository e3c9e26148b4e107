"""Batches at one version: gradients of any worker, or of every worker, until they are enough."""

from __future__ import annotations

from collections.abc import Callable

import optax
from numpy.typing import ArrayLike

from .. import policies
from ..checks import shown, whole
from . import papers
from .base import Method, late
from .citations import published


@published("Rennala SGD", papers.TYURIN_2023, policy="rennala", does="discards aggregates")
def rennala(learning_rate: optax.ScalarOrSchedule, batch: int, *, stale: str = "ignore") -> Method:
    """Rennala SGD: average the first `batch` gradients at the current version; nobody waits, older ones don't count.

        x[t+1] = x[t] - learning_rate * (1/batch) sum of the first `batch` gradients at x[t]

    Theory: batch = max(ceil(sigma^2 / eps), 1), learning_rate = min(1/L, eps batch / (2 L sigma^2)).

    Args:
        stale: "ignore" lets the jobs that run when a batch closes end and throws them away; "restart" stops them, as
            the published code does.

    Source: A. Tyurin, P. Richtarik, NeurIPS 2023, arXiv 2305.12387, Method 4.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.exponential([1.0, 1.0, 10.0])
        >>> schedule = ja.simulate(ja.methods.rennala(0.1, batch=6), times, num_updates=10)
        >>> int(schedule.use.sum()), int(schedule.delay[schedule.use].max())
        (60, 0)
    """
    return Method(policies.rennala(batch, stale=stale), optax.sgd(learning_rate))


@published("K-batch-sync SGD", papers.DUTTA_2018, policy="rennala", does="discards aggregates")
def k_batch_sync_sgd(learning_rate: optax.ScalarOrSchedule, k: int) -> Method:
    """K-batch-sync SGD: workers go on at one version until k gradients are there; then everybody starts afresh.

        x[t+1] = x[t] - learning_rate * (1/k) sum of the first k gradients at x[t]

    An update takes k mean seconds over n, where n workers are exponential and alike. The same as Rennala SGD with
    stale="restart".

    Source: S. Dutta, G. Joshi, S. Ghosh, P. Dube, P. Nagpurkar, AISTATS 2018, arXiv 1803.01113.

    Example:
        >>> import jaxasgd as ja
        >>> schedule = ja.simulate(ja.methods.k_batch_sync_sgd(0.1, k=4), ja.times.fixed([1.0, 5.0]), num_updates=3)
        >>> schedule.worker.tolist()
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    """
    return Method(policies.rennala(whole("k", k, 1), stale="restart"), optax.sgd(learning_rate))


@published("asynchronous mini-batching", papers.ATTIA_2025, policy="rennala", does="discards aggregates")
def async_minibatch_sgd(learning_rate: optax.ScalarOrSchedule, batch: int, *, base: Callable = optax.sgd) -> Method:
    """Asynchronous mini-batching: any first-order method on batches of gradients of its current point.

        x[t+1] = x[t] - learning_rate * (1/batch) sum of the first `batch` gradients at x[t]      with base=optax.sgd

    A gradient that was asked for before the current point was made is left out: the timing is that of Rennala SGD, the
    step any method's. Theory: the batch is about a quantile of the delays, counted in gradients received.

    Args:
        base: the method that is fed with the batches, a function of the learning rate: optax.adam for example.

    Source: A. Attia, O. Gaash, T. Koren, ICML 2025, arXiv 2408.07503. The filter could not be checked there; the
    version with batches that grow, for unknown delays, is not here.

    Example:
        >>> import optax
        >>> import jaxasgd as ja
        >>> method = ja.methods.async_minibatch_sgd(0.1, batch=3, base=optax.adam)
        >>> ja.simulate(method, ja.times.fixed([1.0, 2.5]), num_updates=3).use.tolist()
        [True, True, True, False, True, True, True, False, True, True, True]
    """
    if not callable(base):
        raise ValueError(f"base is a function of the learning rate, optax.adam for example; got {shown(base)}.")
    return Method(policies.rennala(batch), base(learning_rate))


@published("Malenia SGD", papers.TYURIN_2023, policy="malenia", does="discards aggregates")
def malenia(
    learning_rate: optax.ScalarOrSchedule, batch: int, *, stale: str = "ignore", close: str = "reached"
) -> Method:
    """Malenia SGD: gradients at one version until every worker has given enough; each worker's mean counts the same.

        x[t+1] = x[t] - learning_rate * (1/n) sum_i (1/B_i) sum of the B_i gradients of worker i at x[t]

    as soon as n / sum_i (1/B_i), the harmonic mean of the B_i, is at least batch / n. For workers that hold different
    data: the direction is unbiased for the mean of all their objectives, however fast each is.
    Theory: batch = max(ceil(sigma^2 / eps), n), learning_rate = min(1/L, eps batch / (2 L sigma^2)).

    Args:
        batch: with n or less a batch closes when everybody has given a gradient, as it always does in the published
            code.
        stale: "ignore" lets the jobs that run when a batch closes end and throws them away; "restart" stops them.
        close: "reached" as above; "exceeded": as soon as the harmonic mean is more than batch / n.

    Source: A. Tyurin, P. Richtarik, NeurIPS 2023, arXiv 2305.12387, Method 6.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.fixed([1.0, 2.4])
        >>> schedule = ja.simulate(ja.methods.malenia(0.1, batch=5), times, num_updates=1)
        >>> schedule.worker.tolist(), schedule.weight.tolist()
        ([0, 0, 1, 0, 0, 1], [0.125, 0.125, 0.25, 0.125, 0.125, 0.25])
    """
    return Method(policies.malenia(batch, stale=stale, close=close), optax.sgd(learning_rate))


@published("MindFlayer SGD", papers.MARANJYAN_OMAR_2025, policy="mindflayer", does="discards blocks aggregates")
def mindflayer(
    learning_rate: optax.ScalarOrSchedule, trials: ArrayLike, timeouts: ArrayLike, success: ArrayLike | None = None
) -> Method:
    """MindFlayer SGD: every worker tries a fixed number of times at one version, each time for a limited time.

        x[t+1] = x[t] - learning_rate * (1/B) sum of the gradients that came in time,    B = sum_i success_i * trials_i

    A round lasts at most max_i trials_i * timeouts_i seconds, however heavy the tail of the workers' times.

    Args:
        trials: of worker i in a round, one whole number for all or one for each; `ja.policies.allocate_trials` computes
            the paper's.
        timeouts: seconds after which worker i gives a trial up, one number for all or one for each; inf: never.
        success: the probability that worker i needs at most timeouts_i seconds. None: estimated from 16384 draws of its
            law, apart from the run's own (`ja.policies.success_within`), with a standard error of 0.004 or less.

    Source: A. Maranjyan, O. S. Omar, P. Richtarik, UAI 2025, arXiv 2410.04285, Alg. 1 and 2. Differs from it: a
    time-out counts all seconds of a trial; there it counts those beyond the least that the worker needs.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.pareto(minimum=1.0, alpha=0.9, num_workers=4)  # without a mean
        >>> ja.simulate(ja.methods.mindflayer(0.1, trials=3, timeouts=1.5), times, num_updates=100).end < 450.0
        True
    """
    given = success is not None
    policy = lambda num_workers, times: policies.mindflayer(
        trials, timeouts, policies.success_within(times, timeouts) if success is None else success
    )
    return Method(late(policy, clock="" if given else "the law of the workers' seconds"), optax.sgd(learning_rate))
