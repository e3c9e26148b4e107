"""Accepting or rejecting a gradient by values, which only the device knows."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from ..checks import scalar, transformation
from .arrays import present, wide


def accept_near(inner: optax.GradientTransformation, radius: float) -> optax.GradientTransformationExtraArgs:
    """Apply a gradient only if the parameters are still near those that it was computed at.

        accept if ||params - stale||_2 <= radius        (over all leaves together)

    An accepted gradient goes through `inner`. A rejected one changes nothing: the update is zero, and the state of
    `inner` (momentum, counts) stays as it is. The server counts it as an update all the same, since the schedule is
    made before values are known: version and delay count attempts.

    Args:
        inner: an optax transformation, the whole rule: `optax.sgd(0.1)`.
        radius: 0 or more, or a traced scalar; inf accepts everything.

    Source: A. Cohen, A. Daniely, Y. Drori, T. Koren, M. Schain, NeurIPS 2021, arXiv 2106.11879 (Picky SGD).

    Example:
        >>> import jax.numpy as jnp, optax
        >>> import jaxasgd as ja
        >>> rule = ja.rules.accept_near(optax.sgd(0.5), radius=1.0)
        >>> params, g = jnp.zeros(1), jnp.ones(1)
        >>> [rule.update(g, rule.init(params), params, stale=params + away)[0].item() for away in (1.0, 1.5)]
        [-0.5, 0.0]
    """
    inner = transformation("inner, which accept_near wraps,", inner)
    scalar("radius", radius, "a distance, 0 or more (inf accepts everything)", lambda number: number >= 0)

    def update(updates, state, params=None, *, stale, **extra):
        present(params, "accept_near")
        apart = lambda p, s: jnp.sum(jnp.square(p.astype(wide(p)) - s.astype(wide(p))))
        distance = jnp.sqrt(sum(jax.tree.leaves(jax.tree.map(apart, params, stale))))
        accept = lambda u, s: inner.update(u, s, params, stale=stale, **extra)
        shapes, _ = jax.eval_shape(accept, updates, state)
        nothing = lambda u, s: (jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes), s)
        return jax.lax.cond(distance <= radius, accept, nothing, updates, state)

    return optax.GradientTransformationExtraArgs(inner.init, update)
