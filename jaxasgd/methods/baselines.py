"""The baselines: synchronous SGD, with backup workers, and asynchronous SGD."""

from __future__ import annotations

import optax

from .. import policies, rules
from .base import Method


def sync_sgd(learning_rate) -> Method:
    """Synchronous minibatch SGD: wait for all workers, average, update.

        x[t+1] = x[t] - learning_rate * (1/n) sum_i g_i(x[t])

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.exponential(1.0, num_workers=4)
        >>> ja.simulate(ja.methods.sync_sgd(0.1), times, num_updates=3).delay.tolist()
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    """
    return Method(
        policies.synchronous(), optax.sgd(learning_rate), name="synchronous SGD", info={"learning_rate": learning_rate}
    )


def backup_sgd(learning_rate, backup=1, *, late="cancel") -> Method:
    """Synchronous SGD with backup workers: average the first n - backup gradients of a round, drop the rest.

    Source: J. Chen, X. Pan, R. Monga, S. Bengio, R. Jozefowicz, 2016, arXiv 1604.00981, Alg. 3 and 4.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.fixed([1.0, 1.0, 100.0])
        >>> ja.simulate(ja.methods.backup_sgd(0.1, backup=1), times, num_updates=10).end
        10.0
    """
    policy = policies.synchronous(backup=backup, late=late)
    info = {"learning_rate": learning_rate, "backup": backup, "late": late}
    return Method(policy, optax.sgd(learning_rate), name="SGD with backup workers", info=info)


def asgd(learning_rate) -> Method:
    """Asynchronous SGD: apply every gradient when it arrives, however stale.

        x[t+1] = x[t] - learning_rate * g(x[t - delay_t])

    Source: J. Dean et al., NIPS 2012, "Large Scale Distributed Deep Networks" (Downpour SGD, n_fetch = n_push = 1).

    Example:
        >>> import jaxasgd as ja
        >>> ja.simulate(ja.methods.asgd(0.1), ja.times.fixed(1.0, num_workers=4), num_updates=5).delay.tolist()
        [0, 1, 2, 3, 3]
    """
    return Method(
        policies.asgd(), optax.sgd(learning_rate), name="asynchronous SGD", info={"learning_rate": learning_rate}
    )


def polynomial_asgd(learning_rate, power=0.5) -> Method:
    """Asynchronous SGD whose step shrinks with a power of the delay.

        x[t+1] = x[t] - learning_rate * (1 + delay_t)^(-power) * g(x[t - delay_t])

    Source: the weight of C. Xie, S. Koyejo, I. Gupta, 2019, arXiv 1903.03934, on gradients.

    Example:
        >>> import jaxasgd as ja
        >>> ja.methods.polynomial_asgd(0.1, power=0.5).name
        'asynchronous SGD, polynomial step'
    """
    rule = optax.chain(rules.scale_by_delay(power), optax.sgd(learning_rate))
    info = {"learning_rate": learning_rate, "power": power}
    return Method(policies.asgd(), rule, name="asynchronous SGD, polynomial step", info=info)
