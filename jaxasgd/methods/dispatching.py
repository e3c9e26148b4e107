"""Dispatch: who gets the next job, and when."""

from __future__ import annotations

import optax

from .. import policies
from ..checks import flag
from . import papers
from .base import Method
from .citations import published


@published("pure asynchronous SGD", papers.ISLAMOV_2024, policy="dispatched")
def pure_asgd(learning_rate: optax.ScalarOrSchedule, waiting: int = 1) -> Method:
    """Asynchronous SGD in which those who deliver start again, `waiting` of them at a time.

        x[t+1] = x[t] - learning_rate * g_i(x[read])

    With `waiting` 1 it is asynchronous SGD; with `waiting` n, n updates are one of synchronous SGD with n times the
    learning rate.

    Source: R. Islamov, M. Safaryan, D. Alistarh, AISTATS 2024, arXiv 2310.20452 (AsGrad, pure assignment, waiting).

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.fixed([1.0, 2.0])
        >>> ja.simulate(ja.methods.pure_asgd(0.1, waiting=2), times, num_updates=6).delay.tolist()
        [0, 1, 0, 1, 0, 1]
    """
    return Method(policies.dispatched("pure", waiting=waiting), optax.sgd(learning_rate))


@published("random asynchronous SGD", papers.ISLAMOV_2024, papers.KOLOSKOVA_2022, policy="dispatched", does="blocks")
def random_asgd(learning_rate: optax.ScalarOrSchedule, waiting: int = 1, concurrency: int | None = None) -> Method:
    """Asynchronous SGD that hands every next job to a worker drawn at random, busy or not.

        x[t+1] = x[t] - learning_rate * g_i(x[read]);     the next job goes to k ~ Uniform{0, ..., n - 1}

    All workers have the same share of the updates, however slow, so that data of their own do not bias the result; the
    price is that jobs queue at the slow ones: at most n / h_n updates a second, h_n the mean seconds of the slowest.

    Args:
        learning_rate: the step.
        waiting: gradients that are applied before as many jobs are handed out at one version.
        concurrency: jobs in flight; the first are drawn like the later ones. None: one for every worker, at the start.

    Source: R. Islamov, M. Safaryan, D. Alistarh, AISTATS 2024, arXiv 2310.20452 (AsGrad, random assignment); A.
    Koloskova, S. Stich, M. Jaggi, NeurIPS 2022, arXiv 2206.08307, Alg. 2. Differs from AsGrad's published code, which
    takes the data of the worker that delivered, and never resumes a queue.

    Example:
        >>> import jaxasgd as ja
        >>> method, times = ja.methods.random_asgd(0.1, concurrency=3), ja.times.fixed([1.0, 2.0, 5.0])
        >>> ja.simulate(method, times, until=900.0).summary()["throughput"] < 3 / 5
        True
    """
    return Method(policies.dispatched("random", waiting=waiting, concurrency=concurrency), optax.sgd(learning_rate))


@published("shuffled asynchronous SGD", papers.ISLAMOV_2024, policy="dispatched", does="blocks")
def shuffled_asgd(
    learning_rate: optax.ScalarOrSchedule, waiting: int = 1, concurrency: int | None = None, *, reshuffle: bool = True
) -> Method:
    """Asynchronous SGD that hands jobs to the workers one after the other, in a random permutation.

        x[t+1] = x[t] - learning_rate * g_i(x[read]);     job t goes to worker permutation[t mod n]

    Args:
        learning_rate: the step.
        waiting: gradients that are applied before as many jobs are handed out at one version.
        concurrency: jobs in flight, dealt in the same order. None: one for every worker, before the first permutation.
        reshuffle: a new permutation every n jobs; False keeps the first (shuffle once).

    Source: R. Islamov, M. Safaryan, D. Alistarh, AISTATS 2024, arXiv 2310.20452 (AsGrad, worker shuffling).

    Example:
        >>> import jaxasgd as ja, numpy as np
        >>> times = ja.times.exponential([1.0, 2.0, 5.0])
        >>> schedule = ja.simulate(ja.methods.shuffled_asgd(0.1, concurrency=1), times, num_updates=30)
        >>> np.bincount(schedule.worker).tolist(), int(schedule.delay.max())
        ([10, 10, 10], 0)
    """
    order = "shuffled" if flag("reshuffle", reshuffle) else "shuffled once"
    return Method(policies.dispatched(order, waiting=waiting, concurrency=concurrency), optax.sgd(learning_rate))
