"""Penalising a gradient by how far each coordinate has moved since it was begun."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ..checks import positive, scalar, share
from .arrays import present, zeros


class GapState(NamedTuple):
    """Updates so far, the running average of squared steps, and the velocity (None without momentum)."""

    count: jax.Array
    average: Any
    velocity: Any


def gap_aware(
    learning_rate: optax.ScalarOrSchedule, momentum: float | None = None, *, decay: float = 0.999, epsilon: float = 1e-8
) -> optax.GradientTransformationExtraArgs:
    """Divide every coordinate of the gradient by its gap, then add it to the momentum.

        average <- decay * average + (1 - decay) * v^2          (starts at 0; g^2 without momentum)
        C   = learning_rate * (sqrt(average / (1 - decay^t)) + epsilon),     t = 1, 2, ...
        gap = 1 + |params - stale| / C
        v   <- momentum * v + g / gap

    C is a typical step: the gap counts how many of them the parameters have gone since they were read. The result is v
    (or g / gap), which a learning rate follows: `optax.chain(gap_aware(0.1, 0.9), optax.sgd(0.1))`. A weight decay put
    in front of it, `optax.add_decayed_weights`, is divided by the gap too, as in the authors' code.

    Args:
        learning_rate: of the rule that follows, a number or a traced scalar; of a schedule, its largest value.
        momentum: None, a number from 0 to 1, or a traced scalar.
        decay, epsilon: numbers, 0 or more, decay less than 1; or traced scalars.

    It asks for `stale`: each update is one gradient.

    Source: S. Barkai, I. Hakimi, A. Schuster, ICLR 2020, arXiv 1909.10802; constants, and the order in which v enters
    the average before the new gradient enters v, are those of the authors' group's code (saareliad/FTPipe). There the
    first gradient is let through; here that comes of itself, as it is fresh and its gap is 1.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> rule = ja.rules.gap_aware(learning_rate=0.5)
        >>> params, g = jnp.array([0.0, 2.0]), jnp.ones(2)
        >>> updates, _ = rule.update(g, rule.init(params), params, stale=jnp.zeros(2))
        >>> bool(abs(updates[1] - 1 / (1 + 2.0 / 0.5)) < 1e-6)  # 2 is 4 steps of 0.5 * 1
        True
    """
    if callable(learning_rate):
        raise ValueError("gap_aware takes the learning rate as a number: the largest value of your schedule.")
    positive("learning_rate", learning_rate)
    if momentum is not None:
        share("momentum", momentum)
    scalar("decay", decay, "a number from 0 to 1, less than 1", lambda number: 0 <= number < 1)
    positive("epsilon", epsilon)

    def init(params):
        return GapState(jnp.zeros((), jnp.int32), zeros(params), None if momentum is None else zeros(params))

    def update(updates, state, params=None, *, stale, **extra):
        present(params, "gap_aware")
        count = state.count + 1
        typical = updates if momentum is None else state.velocity
        penalised, average = by_gap(
            updates, typical, state.average, count, params, stale, learning_rate, decay, epsilon
        )  # fmt: skip
        velocity = state.velocity
        if momentum is not None:
            penalised = velocity = jax.tree.map(
                lambda v, g: (momentum * v + g).astype(v.dtype), state.velocity, penalised
            )
        out = jax.tree.map(lambda u, g: u.astype(g.dtype), penalised, updates)
        return out, GapState(count, average, velocity)

    return optax.GradientTransformationExtraArgs(init, update)


def by_gap(updates, typical, average, count, params, stale, learning_rate, decay=0.999, epsilon=1e-8):
    """Updates divided by their gap, and the running average with `typical`^2 in it; `count` is 1 at the first."""
    keep = jnp.asarray(decay, float)  # one rounding of it for average and correction
    correction = 1.0 - keep ** (1.0 * count)
    average = jax.tree.map(
        lambda a, v: (keep * a + (1.0 - keep) * jnp.square(v.astype(a.dtype))).astype(a.dtype), average, typical
    )

    def penalise(g, a, p, s):
        step = learning_rate * (jnp.sqrt(a / correction.astype(a.dtype)) + epsilon)
        moved = jnp.abs(p.astype(a.dtype) - s.astype(a.dtype))
        gap = 1.0 + jnp.where(moved > 0, moved / step, 0.0)  # 0 / 0 where the learning rate is 0
        return (g.astype(a.dtype) / gap).astype(a.dtype)

    return jax.tree.map(penalise, updates, average, params, stale), average
