"""Momentum that makes up for gradients being late: a gradient's share of the steps that it missed comes at once."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from ..checks import positive, share
from ..groups import spread
from .arrays import zeros
from .delays import like_params


def spike_compensation(momentum: float, delay: Any = None) -> optax.GradientTransformationExtraArgs:
    """Momentum in which a gradient that comes `delay` updates late gives at once what it would have given since.

        v <- momentum * v + g
        u <- a * v + b * g,     a = momentum^delay,     b = (1 - momentum^delay) / (1 - momentum)

    It takes the place of `optax.trace(momentum)`: `optax.chain(spike_compensation(0.9, delay=4), optax.scale(-0.1))`.
    Every gradient's weights sum to 1 / (1 - momentum), whatever the delay. A delay of 0 is `optax.trace(momentum)`, 1
    is Nesterov's, `optax.trace(momentum, nesterov=True)`.

    Args:
        momentum: m, a number from 0 to 1, or a traced scalar. (At 1, b is the delay.)
        delay: D, in updates, 0 or more: a number or a traced scalar, or a pytree of them for each layer (of the
            structure of the parameters or the beginning of one); None: the delay of the gradient, which it asks for.

    The velocity is kept in float32 at least, as the `trace` of an `optax.TraceState`.

    Source: A. Kosson, V. Chiley, A. Venigalla, J. Hestness, U. Koster, MLSys 2021, arXiv 2003.11666 (spike
    compensation; formula second-hand, the listing was not at hand). Differs from the paper: there D is constant.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> rule = ja.rules.spike_compensation(momentum=0.5, delay=2)
        >>> state = rule.init(jnp.zeros(1))
        >>> for gradient in (4.0, 0.0, 0.0):  # 4 * (1 + 0.5 + 0.25) at once, the rest as ever
        ...     updates, state = rule.update(jnp.array([gradient]), state)
        ...     print(updates)
        [7.]
        [0.5]
        [0.25]
    """
    share("momentum", momentum)
    if delay is not None:
        jax.tree.map(lambda number: positive("a delay", number), delay)

    def init(params):
        if delay is not None:
            like_params("delay", delay, params)
        return optax.TraceState(zeros(params))

    def step(updates, state, delays):
        trace = jax.tree.map(lambda v, g: (momentum * v + g.astype(v.dtype)).astype(v.dtype), state.trace, updates)

        def compensate(g, v, number):
            a, b = (each.astype(v.dtype) for each in weights(momentum, number))
            return (a * v + b * g.astype(v.dtype)).astype(g.dtype)

        return jax.tree.map(compensate, updates, trace, delays), optax.TraceState(trace)

    def told(updates, state, params=None, *, delay, **extra):
        each = spread(delay, updates) if jnp.ndim(delay) else jax.tree.map(lambda g: delay, updates)
        return step(updates, state, each)

    def fixed(updates, state, params=None, **extra):
        return step(updates, state, like_params("delay", delay, updates))

    return optax.GradientTransformationExtraArgs(init, told if delay is None else fixed)


def weights(momentum, delay):
    """a and b: of the velocity, and of the gradient itself."""
    m, D = jnp.asarray(momentum, float), jnp.asarray(delay, float)
    left = m**D
    return left, jnp.where(m < 1, (1 - left) / jnp.where(m < 1, 1 - m, 1.0), D)
