"""Proximal steps: a rule whose update ends in the proximal operator of a second, simple function."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from ..checks import positive, shown, transformation


def soft_threshold(strength: float) -> Callable:
    """The proximal operator of strength * ||x||_1: `prox(params, step)` draws every entry `step * strength` towards 0.

        prox(x, step) = sign(x) * max(|x| - step * strength, 0)

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> ja.rules.soft_threshold(0.5)(jnp.array([2.0, -2.0, 0.25]), 1.0).tolist()
        [1.5, -1.5, 0.0]
    """

    positive("strength", strength)

    def prox(params, step):
        less = lambda x: jnp.sign(x) * jnp.maximum(jnp.abs(x) - jnp.asarray(step * strength, x.dtype), 0)
        return jax.tree.map(less, params)

    return prox


def proximal(inner: optax.GradientTransformation, prox: Callable) -> optax.GradientTransformationExtraArgs:
    """End the update of `inner` in a proximal step, of the size of its own.

        x <- prox(x + u, step),     u the update of `inner`, step = its answer to a gradient of 1, with the other sign

    Args:
        inner: a rule that multiplies the gradient by a number: `optax.sgd(learning_rate)`, after rules that scale by
            the delay for example. It is given the pair (gradient, 1), so that what it scales by is found out.
        prox: `prox(params, step) -> params`, such as `soft_threshold(strength)`.

    Source: the proximal step of PIAG, A. Aytekin, H. R. Feyzmahdavian, M. Johansson, 2016, arXiv 1610.05507.

    Example:
        >>> import jax.numpy as jnp
        >>> import optax
        >>> import jaxasgd as ja
        >>> rule = ja.rules.proximal(optax.sgd(0.5), ja.rules.soft_threshold(1.0))
        >>> x = jnp.array([2.0, 0.25])
        >>> updates, _ = rule.update(jnp.array([1.0, 0.0]), rule.init(x), x)
        >>> optax.apply_updates(x, updates).tolist()
        [1.0, 0.0]
    """
    inner = transformation("inner", inner)
    if not callable(prox):
        raise ValueError(f"prox is a function (params, step), soft_threshold(0.1) for example; got {shown(prox)}.")
    probe = lambda of: of((), float)

    def init(params):
        return inner.init((params, probe(jnp.zeros)))

    def update(updates, state, params=None, **extra):
        if params is None:
            raise ValueError("a proximal step needs the parameters: update(updates, state, params).")
        (updates, down), state = inner.update((updates, probe(jnp.ones)), state, (params, probe(jnp.zeros)), **extra)
        moved = jax.tree.map(lambda x, u: x + u.astype(x.dtype), params, updates)
        ended = prox(moved, -down)
        return jax.tree.map(lambda y, x: (y - x).astype(x.dtype), ended, params), state

    return optax.GradientTransformationExtraArgs(init, update)
