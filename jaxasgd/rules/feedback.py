"""Feeding back what a step lacked because its gradient was one update late."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ..checks import scalar
from .arrays import wide


class FeedbackState(NamedTuple):
    """Updates so far, and the update of before, as it was before the correction."""

    count: jax.Array
    previous: Any


def error_feedback(strength: float = 1.0) -> optax.GradientTransformationExtraArgs:
    """Add to an update by how much the one before it was wrong.

        u_t <- u_t + strength * (u_t - u_{t-1}),     u_{t-1} as it came in; the first update is left alone

    With gradients that are one update late, u_t is what should have been added an update ago, where u_{t-1} was: the
    difference is the error, known one update later. Put it last, after learning rate and weight decay:
    `optax.chain(optax.adamw(1e-3), error_feedback())`. Any optimizer goes before it.

    Args:
        strength: c, a number or a traced scalar; 0 changes nothing. (With SGD on a quadratic of curvature h and
            a delay of 1 the run is stable for learning_rate * h < 1 without it and < 0.618 with strength 1, where it
            is nearer to the run without delay.)

    Source: the correction inspired by error feedback of P. Zmushko, E. Petrov, N. Abdullaev, M. Khrushchev,
    S. Horvath, 2026, arXiv 2606.30634, second-hand: as the code of others has it (RamTorch, from Algorithms 1 and 2 of
    the paper), the listing itself was not at hand.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> rule = ja.rules.error_feedback(strength=1.0)
        >>> state, out = rule.init(jnp.zeros(())), []
        >>> for u in (1.0, 3.0, 4.0):
        ...     update, state = rule.update(jnp.asarray(u), state)
        ...     out.append(float(update))
        >>> out
        [1.0, 5.0, 5.0]
    """
    scalar("strength", strength)

    def init(params):
        zeros = jax.tree.map(lambda p: jnp.zeros(jnp.shape(p), wide(jnp.asarray(p))), params)
        return FeedbackState(jnp.zeros((), jnp.int32), zeros)

    def update(updates, state, params=None, **extra):
        weight = jnp.where(state.count > 0, strength, 0.0)
        kept = jax.tree.map(lambda u, p: u.astype(p.dtype), updates, state.previous)
        out = jax.tree.map(
            lambda k, p, u: (k + weight.astype(k.dtype) * (k - p)).astype(u.dtype), kept, state.previous, updates
        )
        return out, FeedbackState(state.count + 1, kept)

    return optax.GradientTransformationExtraArgs(init, update)
