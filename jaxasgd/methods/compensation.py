"""Compensation: a gradient is corrected, or penalised, for how far the parameters have moved since it was begun."""

from __future__ import annotations

import optax

from .. import policies, rules
from ..checks import positive
from . import papers
from .base import Method
from .citations import published


@published("DC-ASGD-c", papers.ZHENG_2017, policy="asgd", rule="compensate_delay, sgd", does="compensates")
def dc_asgd_c(learning_rate: optax.ScalarOrSchedule, strength: float = 0.04) -> Method:
    """Delay-compensated asynchronous SGD with a constant strength.

        x[t+1] = x[t] - learning_rate * (g + strength * g * g * (x[t] - x[r])),     g = g(x[r]), r = t - delay_t

    Source: S. Zheng et al., ICML 2017, arXiv 1609.08326, Alg. 1 and 2; the strength is the default of MXNet's DCASGD.

    Example:
        >>> import jaxasgd as ja
        >>> ja.methods.dc_asgd_c(0.1).info
        {'learning_rate': 0.1, 'strength': 0.04}
    """
    return Method(policies.asgd(), optax.chain(rules.compensate_delay(strength), optax.sgd(learning_rate)))


@published("DC-ASGD-a", papers.ZHENG_2017, policy="asgd", rule="compensate_delay, sgd", does="compensates")
def dc_asgd_a(learning_rate: optax.ScalarOrSchedule, strength: float = 2.0, decay: float = 0.95) -> Method:
    """Delay-compensated asynchronous SGD whose strength adapts to the size of the gradients.

        MeanSquare <- decay * MeanSquare + (1 - decay) * g * g
        x[t+1] = x[t] - learning_rate * (g + strength / sqrt(MeanSquare + 1e-7) * g * g * (x[t] - x[r]))

    All by coordinates, with g = g(x[r]), r = t - delay_t; one MeanSquare for the server.

    Source: S. Zheng et al., ICML 2017, arXiv 1609.08326; the defaults are those of others' code, and see
    `rules.compensate_delay` for how published code differs.

    Example:
        >>> import jaxasgd as ja
        >>> ja.methods.dc_asgd_a(0.1).info
        {'learning_rate': 0.1, 'strength': 2.0, 'decay': 0.95}
    """
    rule = rules.compensate_delay(strength, decay=decay)
    return Method(policies.asgd(), optax.chain(rule, optax.sgd(learning_rate)))


@published("Gap-Aware ASGD", papers.BARKAI_2020, policy="asgd", rule="gap_aware, sgd", does="compensates")
def gap_aware_asgd(
    learning_rate: optax.ScalarOrSchedule, momentum: float = 0.9, *, largest: float | None = None
) -> Method:
    """Asynchronous SGD with momentum that divides every coordinate of a gradient by how many steps it is behind.

        v      <- momentum * v + g / (1 + |x[t] - x[r]| / C),     g = g(x[r]), r = t - delay_t
        x[t+1]  = x[t] - learning_rate * v

    C, per coordinate, is learning_rate times the root of a running average of v^2: see `rules.gap_aware`.

    Args:
        learning_rate: a number, a traced scalar, or a schedule together with `largest`.
        momentum: a number or a traced scalar; None is without (v = g / gap, and g^2 in the average).
        largest: the largest value of a learning-rate schedule.

    Source: S. Barkai, I. Hakimi, A. Schuster, ICLR 2020, arXiv 1909.10802, in the form of the code that
    `rules.gap_aware` names.

    Example:
        >>> import jaxasgd as ja
        >>> ja.methods.gap_aware_asgd(0.1).info["momentum"]
        0.9
    """
    if largest is not None:
        positive("largest", largest)
    rule = rules.gap_aware(learning_rate if largest is None else largest, momentum)
    return Method(policies.asgd(), optax.chain(rule, optax.sgd(learning_rate)))
