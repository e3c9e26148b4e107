"""Momentum in order: a late gradient enters the momentum where it would have, had it come in time."""

from __future__ import annotations

import optax

from .. import policies, rules
from ..checks import positive
from . import papers
from .base import Method, late
from .citations import published


@published("OrMo", papers.SHI_2024, policy="asgd", rule="ordered_momentum", does="rescales")
def ormo(
    learning_rate: optax.ScalarOrSchedule, momentum: float = 0.9, *, group: int | None = None, rounding: str = "down"
) -> Method:
    """Asynchronous SGD with momentum over groups of K updates, in the order of what gradients were computed at.

        x[t+1] = x[0] - learning_rate * sum_{k<=t} (1 + momentum + ... + momentum^(J - j_k)) * g_k

    J = floor(t / K), and j_k = floor(read / K) of the version that g_k was computed at. `rules.ordered_momentum` does
    it with one momentum. Where no gradient crosses the border of a group it is SGD with momentum on the sums of groups.
    With rounding="up", J and j_k are rounded up: groups of K gradients where no worker waits.

    Args:
        learning_rate: of one gradient, K of which make a step; a number, a traced scalar or a schedule.
        momentum: a number from 0 to 1, less than 1; or a traced scalar.
        group: K, a whole number; None is the number of workers.
        rounding: "down" or "up".

    Source: C.-W. Shi, Y.-R. Yang, W.-J. Li, NeurIPS 2024, arXiv 2407.19234; see the rule for what is from memory, and
    for what the rounding does.

    Example:
        >>> import jaxasgd as ja
        >>> ja.methods.ormo(0.1).info
        {'learning_rate': 0.1, 'momentum': 0.9, 'group': None, 'rounding': 'down'}
    """
    make = lambda n: rules.ordered_momentum(learning_rate, momentum, n if group is None else group, rounding=rounding)
    make(1)  # what is wrong is said at once
    return Method(policies.asgd(), late(lambda num_workers, times: make(num_workers)))


@published(
    "OrMo-DA",
    papers.SHI_2024,
    papers.KOLOSKOVA_2022,
    policy="asgd",
    rule="scale_late, ordered_momentum",
    does="rescales",
)
def ormo_da(
    learning_rate: optax.ScalarOrSchedule,
    momentum: float = 0.9,
    smoothness: float | None = None,
    *,
    group: int | None = None,
    rounding: str = "down",
) -> Method:
    """OrMo, with the gradients that are more than two groups late made shorter.

        eta_t = learning_rate                                            where delay_t <= 2 K
                min(learning_rate, 1 / (4 * smoothness * delay_t))       elsewhere
                learning_rate / delay_t                                  elsewhere, where smoothness is None

    Args:
        learning_rate: of one gradient; a number, a traced scalar, or, without smoothness, a schedule.
        momentum: a number from 0 to 1, less than 1; or a traced scalar.
        smoothness: L, the largest eigenvalue of the Hessian; None if not known.
        group: K, a whole number; None is the number of workers.
        rounding: "down" or "up", as in `ormo`.

    Source: C.-W. Shi, Y.-R. Yang, W.-J. Li, NeurIPS 2024, arXiv 2407.19234 (delay-adaptive learning rates); the bound
    of 2 K and the form of late steps, which is that of `koloskova_asgd`, are from memory.

    Example:
        >>> import jaxasgd as ja
        >>> ja.methods.ormo_da(0.1).name
        'OrMo-DA'
    """
    cap = 1.0
    if smoothness is not None:
        positive("smoothness", smoothness, zero=False)
        if callable(learning_rate):
            raise ValueError("with smoothness=, learning_rate is a number; for a schedule leave smoothness out.")
        positive("with smoothness=, learning_rate", learning_rate, zero=False)
        cap = 1 / (4 * smoothness * learning_rate)

    def make(n):
        n = n if group is None else group
        ordered = rules.ordered_momentum(learning_rate, momentum, n, rounding=rounding)
        return optax.chain(rules.scale_late(2 * n, cap), ordered)

    make(1)  # what is wrong is said at once
    return Method(policies.asgd(), late(lambda num_workers, times: make(num_workers)))
