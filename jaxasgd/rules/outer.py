"""Outer optimizers: what a server does with the changes that workers send after many steps of their own."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ..checks import share, whole
from .arrays import zeros


class DelayedNesterovState(NamedTuple):
    """Updates since the buffer was emptied, their sum, and the velocity."""

    count: jax.Array
    total: Any
    velocity: Any


def delayed_nesterov(
    momentum: float = 0.9, buffer: int = 1, activation: float = 0.0
) -> optax.GradientTransformationExtraArgs:
    """Nesterov momentum whose velocity changes with every `buffer`-th update only; the gradients go through at once.

        total <- total + g
        at every `buffer`-th update:  v <- momentum * v + total / buffer;   total <- 0
                                      u  = (1 - (buffer - 1) * activation) * momentum * v + g / buffer
        at the others:                u  = activation * momentum * v + g / buffer

    `optax.sgd(learning_rate)` comes after it. With `buffer` 1 it is Nesterov momentum, `optax.trace(momentum,
    nesterov=True)`. Whatever `activation`, a gradient is taken (1 + momentum + momentum^2 + ...) / buffer times in all:
    1 / buffer when it arrives, and momentum^k / buffer for each k from the end of its period on, a period later each.

    Args:
        momentum: 0 to 1, a number or a traced scalar.
        buffer: N, gradients in a velocity; as many as workers is usual.
        activation: c, 0 to 1 / buffer, the share of the momentum that each update takes but the last of a period: 0,
            none; 1 / buffer, all take as much.

    Source: B. Liu et al., 2024, arXiv 2401.09135 (delayed Nesterov), in the form of the code of HALoS (utnslab/halos).

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> rule = ja.rules.delayed_nesterov(momentum=0.5, buffer=2)
        >>> state, out = rule.init(jnp.zeros(1)), []
        >>> for g in (4.0, 0.0, 0.0, 0.0):
        ...     update, state = rule.update(jnp.array([g]), state)
        ...     out.append(update.item())
        >>> out  # 4/2, then 0.5 * v with v = 2, then 0.5 * v with v = 1
        [2.0, 1.0, 0.0, 0.5]
    """
    share("momentum", momentum)
    buffer = whole("buffer", buffer, 1, hint=" gradients in a velocity")
    share("activation", activation)

    def init(params):
        return DelayedNesterovState(jnp.zeros((), jnp.int32), zeros(params), zeros(params))

    def update(updates, state, params=None, **extra):
        full = state.count + 1 == buffer
        ahead = momentum * jnp.where(full, 1.0 - (buffer - 1) * activation, activation)
        total = jax.tree.map(lambda t, g: t + g.astype(t.dtype), state.total, updates)
        velocity = jax.tree.map(
            lambda v, t: jnp.where(full, (momentum * v + t / buffer).astype(v.dtype), v), state.velocity, total
        )
        updates = jax.tree.map(
            lambda g, v: (ahead.astype(v.dtype) * v + g.astype(v.dtype) / buffer).astype(g.dtype), updates, velocity
        )
        total = jax.tree.map(lambda t: jnp.where(full, jnp.zeros_like(t), t), total)
        return updates, DelayedNesterovState(jnp.where(full, 0, state.count + 1), total, velocity)

    return optax.GradientTransformationExtraArgs(init, update)
