"""Nesterov's momentum in the form that keeps old gradients small beside the look-ahead."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ..checks import share
from .arrays import zeros


class NesterovState(NamedTuple):
    """`count` updates so far; the last of them, `moved`; `ahead`: the parameters minus what is sent."""

    count: jax.Array
    moved: Any
    ahead: Any


def discounted_nesterov(momentum: float) -> optax.GradientTransformationExtraArgs:
    """Nesterov's momentum whose steps are discounted: all steps of an update weigh 1 together, whatever the momentum.

        ahead_t = momentum_t * (x_t - x_{t-1});     u <- ahead_t + (1 - momentum_t) * u

    It is for steps, after the learning rate. With `send=ja.rules.look_ahead` gradients are computed at x_t + ahead_t.
    A step is (1 - momentum) sum_k momentum^k = 1 times itself in the end, where it is applied first it is 1 - momentum
    of itself: that the parameters have moved since it was computed matters less, the nearer momentum is to 1.

    Args:
        momentum: 0 to 1, a number or a traced scalar, or a function of the number of updates so far (a schedule).

    Source: T. Ajanthan et al., ICML 2025, arXiv 2505.01099, from memory.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> rule = ja.rules.discounted_nesterov(momentum=0.5)
        >>> state, out = rule.init(jnp.zeros(1)), []
        >>> for step in (8.0, 0.0, 0.0):
        ...     update, state = rule.update(jnp.array([step]), state)
        ...     out.append(update.item())
        >>> out, ja.rules.look_ahead(jnp.zeros(1), state).tolist()
        ([4.0, 2.0, 1.0], [0.5])
    """
    if not callable(momentum):
        share("momentum", momentum)
    at = momentum if callable(momentum) else lambda count: momentum

    def init(params):
        return NesterovState(jnp.zeros((), jnp.int32), zeros(params), zeros(params))

    def update(updates, state, params=None, **extra):
        now, then = at(state.count), at(state.count + 1)
        moved = jax.tree.map(
            lambda m, u: (now * m + (1.0 - now) * u.astype(m.dtype)).astype(m.dtype), state.moved, updates
        )
        ahead = jax.tree.map(lambda m: (-then * m).astype(m.dtype), moved)
        out = jax.tree.map(lambda m, u: m.astype(u.dtype), moved, updates)
        return out, NesterovState(state.count + 1, moved, ahead)

    return optax.GradientTransformationExtraArgs(init, update)
