"""Steps of a fixed size: the direction in a ball that goes down most, for matrices, coordinates or all at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ..checks import share, whole, word
from .arrays import wide

BALLS = ("euclidean", "sign", "spectral")


class MeanState(NamedTuple):
    """Updates so far, and the running mean of gradients."""

    count: jax.Array
    mean: Any


def average_gradients(alpha: float | Callable) -> optax.GradientTransformationExtraArgs:
    """Replace the gradient by a running mean that begins with the first one.

        m <- alpha_k * u + (1 - alpha_k) * m,    alpha_0 = 1,    k = 0, 1, ... the updates before
        u <- m

    Args:
        alpha: the share of the new gradient, a number from 0 to 1 or a traced scalar; or a function k -> alpha_k, which
            is asked from k = 1 on.

    Unlike `optax.ema`, the share may change with k.

    Source: the momentum of A. Sadiev, A. Maranjyan, I. Ilin, P. Richtarik, 2026, arXiv 2605.18174.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> rule = ja.rules.average_gradients(alpha=lambda k: 1 / (k + 1))  # the plain mean
        >>> state = rule.init(jnp.zeros(()))
        >>> for g in (1.0, 2.0, 6.0):
        ...     updates, state = rule.update(jnp.asarray(g), state)
        >>> round(float(updates), 6)
        3.0
    """
    if not callable(alpha):
        share("alpha", alpha)

    def init(params):
        zeros = jax.tree.map(lambda p: jnp.zeros(jnp.shape(p), wide(jnp.asarray(p))), params)
        return MeanState(jnp.zeros((), jnp.int32), zeros)

    def update(updates, state, params=None, **extra):
        begins = state.count == 0
        given = alpha(jnp.maximum(state.count, 1)) if callable(alpha) else alpha
        new = jnp.where(begins, 1.0, given)
        mean = jax.tree.map(
            lambda m, u: new.astype(m.dtype) * u.astype(m.dtype) + (1.0 - new).astype(m.dtype) * m, state.mean, updates
        )
        return jax.tree.map(lambda m, u: m.astype(u.dtype), mean, updates), MeanState(state.count + 1, mean)

    return optax.GradientTransformationExtraArgs(init, update)


def scale_by_lmo(ball: str = "spectral", *, steps: int = 5) -> optax.GradientTransformationExtraArgs:
    """Replace the gradient by the point of a ball that has the largest inner product with it.

        u <- -lmo(u) = argmax_{||v|| <= 1} <u, v>

        ball="euclidean":  u / ||u||_2,      of all parameters together (normalised SGD)
        ball="sign":       sign(u),          ||v|| is the largest |coordinate|
        ball="spectral":   U V^T of the singular value decomposition U S V^T of each matrix, ||v|| is the largest
                           singular value of any (Muon without its momentum); a vector is a matrix of one row,
                           u / ||u||_2, a scalar is its sign; of more axes all but the last are merged

    Where u is 0, so is the result; singular values of 0 stay 0.

    Args:
        ball: the norm, a word.
        steps: of Newton and Schulz's iteration for U V^T (`optax.contrib.scale_by_muon`): after 5 the singular values
            are between 0.68 and 1.13 or so where they were not tiny beside the others; cheap on accelerators. None
            computes the decomposition, exactly.

    A learning rate follows: `optax.chain(scale_by_lmo(), optax.sgd(0.01))` is x <- x + 0.01 * lmo(g). It is computed in
    float32 at least.

    Source: A. Sadiev, A. Maranjyan, I. Ilin, P. Richtarik, 2026, arXiv 2605.18174. Its code treats a vector as a matrix
    of one row too (single parameters in a model are not normalised there), multiplies a matrix with more rows than
    columns by sqrt(rows / columns), and has other coefficients in Newton and Schulz's iteration.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> rule = ja.rules.scale_by_lmo("spectral", steps=None)
        >>> matrix = jnp.array([[0.0, -3.0], [2.0, 0.0]])
        >>> rule.update(matrix, rule.init(matrix))[0].round(6).tolist()
        [[0.0, -1.0], [1.0, 0.0]]
    """
    word("ball", ball, *BALLS)
    if steps is not None:
        steps = whole("steps", steps, 1, hint=" of Newton and Schulz's iteration, or None for the exact one")

    def direction(tree):
        if ball == "sign":
            return jax.tree.map(jnp.sign, tree)
        if ball == "euclidean":
            norm = jnp.sqrt(sum(jnp.sum(jnp.square(u)) for u in jax.tree.leaves(tree)))
            return jax.tree.map(lambda u: over(u, norm.astype(u.dtype)), tree)
        return jax.tree.map(lambda u: orthogonal(u, steps), tree)

    def update(updates, state, params=None, **extra):
        out = direction(jax.tree.map(lambda u: u.astype(wide(u)), updates))
        return jax.tree.map(lambda o, u: o.astype(u.dtype), out, updates), state

    return optax.GradientTransformationExtraArgs(optax.init_empty_state, update)


def over(u, norm):
    """u / norm, and 0 where the norm is."""
    return jnp.where(norm > 0, u / jnp.where(norm > 0, norm, 1.0), 0.0).astype(u.dtype)


def as_matrix(leaf):
    """All axes but the last merged: [rows, columns]."""
    return leaf.reshape(-1, leaf.shape[-1])


def orthogonal(u, steps):
    """U V^T of a matrix, for a leaf of any shape."""
    if u.ndim < 2:
        return jnp.sign(u) if u.ndim == 0 else over(u, jnp.linalg.norm(u))
    matrix = as_matrix(u)
    if steps is None:
        left, values, right = jnp.linalg.svd(matrix, full_matrices=False)
        smallest = values[0] * max(matrix.shape) * jnp.finfo(matrix.dtype).eps
        matrix = (left * (values > smallest)[None]) @ right
    else:
        axes = optax.contrib.MuonDimensionNumbers()
        newton_schulz = optax.contrib.scale_by_muon(
            beta=0.0, nesterov=False, ns_steps=steps, weight_dimension_numbers=axes
        )
        matrix, _ = newton_schulz.update(matrix, newton_schulz.init(matrix))
    return matrix.reshape(u.shape).astype(u.dtype)
