"""Momentum in the order of the versions that gradients were computed at, not of their arrival."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from ..checks import scalar, whole, word
from .arrays import zeros
from .lookahead import check_rate, rate_at


def ordered_momentum(
    learning_rate: optax.ScalarOrSchedule, momentum: float, group: int, *, rounding: str = "down"
) -> optax.GradientTransformationExtraArgs:
    """Momentum over groups of `group` updates, which late gradients enter where they belong.

    Version t is of the group J = floor(t / group), a gradient of the group j = floor(read / group) of what was read.
    With rounding="up" both are rounded up.

        where t is the first version of a group:   x <- x - momentum * u;    u <- momentum * u
        x <- x - learning_rate * (1 - momentum^(J - j + 1)) / (1 - momentum) * g
        u <- u + learning_rate * momentum^(J - j) * g

    So at every version x = x[0] - sum learning_rate * (1 + momentum + ... + momentum^(J - j)) g over all gradients that
    have arrived: each has moved the parameters as far as if it had come in time.

    Args:
        learning_rate: a number, a traced scalar or a schedule; a gradient keeps that of its arrival.
        momentum: a number from 0 to 1, less than 1; or a traced scalar.
        group: K, updates in a group: as many as workers.
        rounding: "down": synchronous rounds are groups, and momentum is SGD's on them; but asynchronous workers put
            2 K - 1 gradients into the first group. "up": of asynchronous workers every group has K gradients, the first
            of all that were computed at version 0; synchronous rounds are then one step of momentum ahead.

    Source: C.-W. Shi, Y.-R. Yang, W.-J. Li, NeurIPS 2024, arXiv 2407.19234 (OrMo). The formulas are from memory, and
    the paper's rounding was not seen; its Figure 1, of synchronous SGD with momentum, has the groups of "down".

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> rule = ja.rules.ordered_momentum(learning_rate=1.0, momentum=0.5, group=2)
        >>> state = rule.init(jnp.zeros(1))
        >>> [rule.update(jnp.ones(1), state, version=4, delay=delay)[0].item() for delay in (0, 1, 4)]
        [-1.0, -1.5, -1.75]
    """
    check_rate("ordered_momentum", learning_rate)
    scalar("momentum", momentum, "a number from 0 to 1, less than 1", lambda number: 0 <= number < 1)
    group = whole("group", group, 1, hint=" updates")
    word("rounding", rounding, "down", "up")
    number = (lambda t: t // group) if rounding == "down" else (lambda t: -(-t // group))

    def update(updates, state, params=None, *, version, delay, **extra):
        version = jnp.asarray(version)
        rate, late = rate_at(learning_rate, version), number(version) - number(version - delay)
        begins = number(version) > number(version - 1)
        kept = jnp.where(begins, momentum, 1.0)
        weight = momentum ** (1.0 * late)
        again = jnp.where(begins, momentum, 0.0)
        moved = rate * (1.0 - momentum * weight) / (1.0 - momentum)
        out = jax.tree.map(lambda g, u: (-again * u - moved * g.astype(u.dtype)).astype(g.dtype), updates, state)
        state = jax.tree.map(
            lambda g, u: (kept * u + rate * weight * g.astype(u.dtype)).astype(u.dtype), updates, state
        )
        return out, state

    return optax.GradientTransformationExtraArgs(zeros, update)
