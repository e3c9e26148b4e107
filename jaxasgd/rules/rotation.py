"""Adam in rotated coordinates: those in which the gradients of a matrix are uncorrelated."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from ..checks import scalar, whole, word
from .arrays import wide
from .lmo import as_matrix

ROUNDING = 4  # coordinates of a rotated matrix are off by so many eps of its norm


class Side(NamedTuple):
    """Of rows or of columns: the running mean of products of gradients, and the basis, a vector a column."""

    products: jax.Array
    basis: jax.Array


class LeafState(NamedTuple):
    """Of a leaf: the mean of gradients, the mean of their squares in the rotated coordinates, and its sides."""

    mean: jax.Array
    square: jax.Array
    rows: Side | None
    columns: Side | None


class RotationState(NamedTuple):
    """Updates so far, and a state for each leaf."""

    count: jax.Array
    leaves: tuple


def scale_by_rotated_adam(
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    *,
    decay: float | None = None,
    period: int = 10,
    sides: str = "both",
    largest: int = 10_000,
) -> optax.GradientTransformationExtraArgs:
    """Adam in the eigenvectors of the mean products of gradients, which stand for those of the Hessian.

        L <- decay * L + (1 - decay) * G G^T,     R <- decay * R + (1 - decay) * G^T G
        P, Q: eigenvectors of L and R, largest eigenvalue first, renewed every `period` updates
        m <- b1 * m + (1 - b1) * G,               v <- b2 * v + (1 - b2) * (P^T G Q)^2
        G <- P [ P^T m^ Q / (sqrt(v^) + eps) ] Q^T,      m^ = m / (1 - b1^t), v^ = v / (1 - b2^t)

    P and Q are computed from the first gradient; after that they are renewed by a step of orthogonal iteration: sorted
    by the diagonal of P^T L P (v is sorted with them), P <- the Q factor of L P. In the standard basis Adam takes the
    coordinates apart where the Hessian does not, and swings; stale gradients then point elsewhere than fresh ones.

    Vectors and scalars have plain Adam. Of arrays with more axes all but the last are merged into rows.

    Args:
        b1, b2, eps: as in Adam; numbers or traced scalars.
        decay: of L and R, a number, 0 or more and less than 1, or a traced scalar; None is b2.
        period: updates from one renewal of the basis to the next.
        sides: "both", or "smaller": only L, or only R, whichever is smaller (of a square: R).
        largest: a side with more rows than this is not rotated.

    A rotated coordinate that is less than the rounding of the rotation counts as 0 (a gradient of low rank has many).
    Products, moments and bases are float32 at least; memory is that of Adam and 2 (rows^2 + columns^2). Under `vmap`
    bases are computed at every update.

    Source: H. Jung, S. Shin, N. Lee, ICML 2026, arXiv 2602.03515 ("2nd" source, bilateral or unilateral), after their
    code; N. Vyas et al., ICLR 2025, arXiv 2409.11321 (SOAP, from which `largest` is). Differs from the code: eps is
    added to the root of v^, as in Adam, not of v; where only R is used it is renewed every `period` updates, not at
    every one; its "1st" source, the mean gradient in place of L and R, is not here. SOAP skips the first update.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> rule = ja.rules.scale_by_rotated_adam()
        >>> params = jnp.array([[3.0, 3.0], [1.0, 1.0]])  # of rank one: in its own basis one coordinate, 1 after Adam
        >>> updates, _ = rule.update(params, rule.init(params), params)
        >>> bool(jnp.allclose(updates, params / jnp.linalg.norm(params)))
        True
    """
    below_one = lambda number: 0 <= number < 1
    for name, value in {"b1": b1, "b2": b2, "decay": b2 if decay is None else decay}.items():
        scalar(name, value, "a number from 0 to 1, less than 1", below_one)
    scalar("eps", eps, "a finite number, 0 or more", lambda number: 0 <= number < float("inf"))
    period = whole("period", period, 1, hint=" updates from one renewal of the basis to the next")
    largest = whole("largest", largest, hint=": the number of rows up to which a side is rotated")
    word("sides", sides, "both", "smaller")

    def side(number, wanted, dtype):
        if not wanted or number > largest:
            return None
        return Side(jnp.zeros((number, number), dtype), jnp.eye(number, dtype=dtype))

    def leaf(p):
        p = jnp.asarray(p)
        zeros = jnp.zeros(p.shape, wide(p))
        if p.ndim < 2:
            return LeafState(zeros, zeros, None, None)
        rows, columns = as_matrix(p).shape
        left, right = sides == "both" or rows < columns, sides == "both" or rows >= columns
        return LeafState(
            as_matrix(zeros), as_matrix(zeros), side(rows, left, wide(p)), side(columns, right, wide(p))
        )  # fmt: skip

    def init(params):
        return RotationState(jnp.zeros((), jnp.int32), tuple(leaf(p) for p in jax.tree.leaves(params)))

    def update(updates, state, params=None, **extra):
        grads, tree = jax.tree.flatten(updates)
        count = state.count + 1
        pairs = [moved(g, s, count) for g, s in zip(grads, state.leaves, strict=True)]
        return jax.tree.unflatten(tree, [u for u, _ in pairs]), RotationState(count, tuple(s for _, s in pairs))

    def moved(gradient, state, count):
        dtype = state.mean.dtype
        g = (gradient if gradient.ndim < 2 else as_matrix(gradient)).astype(dtype)
        keep = b2 if decay is None else decay
        rows = added(state.rows, lambda: times(g, g.T), keep)
        columns = added(state.columns, lambda: times(g.T, g), keep)
        if rows is None and columns is None:
            square = state.square
        else:
            rows, columns, square = renewed(rows, columns, state.square, count, period)
        mean = (b1 * state.mean + (1 - b1) * g).astype(dtype)
        square = (b2 * square + (1 - b2) * jnp.square(into(g, rows, columns))).astype(dtype)
        corrected = into(mean, rows, columns) / (1 - power(b1, count)).astype(dtype)
        root = jnp.sqrt(square / (1 - power(b2, count)).astype(dtype))
        out = back((corrected / (root + eps)).astype(dtype), rows, columns)
        return out.reshape(gradient.shape).astype(gradient.dtype), LeafState(mean, square, rows, columns)

    return optax.GradientTransformationExtraArgs(init, update)


def power(b, count):
    """b^count, with one rounding of b."""
    return jnp.asarray(b, float) ** (1.0 * count)


def added(side, product, keep):
    if side is None:
        return None
    return side._replace(products=(keep * side.products + (1 - keep) * product()).astype(side.products.dtype))


def renewed(rows, columns, square, count, period):
    """Both bases, and the squares in their order: eigenvectors at first, then by iteration every `period` updates."""

    def same(bases, square):
        return bases, square

    def begin(bases, square):
        return [jnp.linalg.eigh(side.products)[1][:, ::-1] for side in sides], square

    def iterate(bases, square):
        out = []
        for basis, side, axis in zip(bases, sides, axes, strict=True):
            order = jnp.argsort(-jnp.sum(basis * times(side.products, basis), axis=0))
            square = jnp.take(square, order, axis=axis)
            out.append(jnp.linalg.qr(times(side.products, basis[:, order]))[0])
        return out, square

    present = [(side, axis) for axis, side in enumerate((rows, columns)) if side is not None]
    sides, axes = zip(*present, strict=True)
    when = jnp.where(count == 1, 1, jnp.where(count % period == 0, 2, 0))
    bases, square = jax.lax.switch(when, (same, begin, iterate), [side.basis for side in sides], square)
    fresh = dict(zip(axes, (side._replace(basis=basis) for side, basis in zip(sides, bases, strict=True)), strict=True))
    return fresh.get(0), fresh.get(1), square


def into(matrix, rows, columns):
    """P^T matrix Q; what is less than its rounding is 0, for Adam would make it as large as the rest."""
    if rows is None and columns is None:
        return matrix
    rotated = matrix if rows is None else times(rows.basis.T, matrix)
    rotated = rotated if columns is None else times(rotated, columns.basis)
    noise = ROUNDING * jnp.finfo(matrix.dtype).eps * jnp.linalg.norm(matrix)
    return jnp.where(jnp.abs(rotated) > noise, rotated, 0.0).astype(matrix.dtype)


def back(matrix, rows, columns):
    """P matrix Q^T."""
    matrix = matrix if rows is None else times(rows.basis, matrix)
    return matrix if columns is None else times(matrix, columns.basis.T)


def times(left, right):
    """The product in full precision, whatever the device's default."""
    return jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST)
