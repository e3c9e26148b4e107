"""Correcting a gradient for how far the parameters have moved since it was begun, to first order."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from ..checks import scalar, share
from .arrays import present, wide


def compensate_delay(strength: float = 0.04, *, decay: float | None = None) -> optax.GradientTransformationExtraArgs:
    """Estimate the gradient at the current parameters from the one at the parameters that were read.

        g <- g + strength_t * g * g * (params - stale)

    g * g, by coordinates, stands for the diagonal of the Hessian. `strength_t` is constant, or, with `decay`, is taken
    down where gradients are large:

        MeanSquare <- decay * MeanSquare + (1 - decay) * g * g        (starts at 0)
        strength_t  = strength / sqrt(MeanSquare + 1e-7)

    Args:
        strength: lambda_0, a number or a traced scalar; 0 changes nothing. 0.04 is usual for a constant strength, 2 for
            an adaptive one.
        decay: None for a constant strength; a number from 0 to 1 (0.95 is usual) or a traced scalar.

    It asks for `stale`: as a rule for updates of one gradient each, as `Method(arrival=...)` for any.

    Source: S. Zheng et al., ICML 2017, arXiv 1609.08326 (DC-ASGD-c and, with decay, DC-ASGD-a). MeanSquare is one for
    the server. Others' code differs: Microsoft Multiverso keeps a MeanSquare per worker and, in DC-ASGD-c, takes |g|
    for g * g; the DCASGD of MXNet keeps one previous weight, not one per worker.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> rule = ja.rules.compensate_delay(strength=0.5)
        >>> params = jnp.array([1.0])
        >>> rule.update(jnp.array([2.0]), rule.init(params), params, stale=jnp.array([0.5]))[0].tolist()
        [3.0]
    """
    scalar("strength", strength)
    if decay is not None:
        share("decay", decay)

    def init(params):
        if decay is None:
            return optax.EmptyState()
        return jax.tree.map(lambda p: jnp.zeros(jnp.shape(p), wide(p)), params)

    def compensate(g, strength, p, s):
        dtype = wide(g)
        moved = p.astype(dtype) - s.astype(dtype)
        return (g.astype(dtype) + strength * jnp.square(g.astype(dtype)) * moved).astype(g.dtype)

    def update(updates, state, params=None, *, stale, **extra):
        present(params, "compensate_delay")
        if decay is None:
            return jax.tree.map(lambda g, p, s: compensate(g, strength, p, s), updates, params, stale), state
        state = jax.tree.map(
            lambda m, g: (decay * m + (1 - decay) * jnp.square(g.astype(m.dtype))).astype(m.dtype), state, updates
        )
        updates = jax.tree.map(
            lambda g, m, p, s: compensate(g, strength / jnp.sqrt(m + 1e-7), p, s), updates, state, params, stale
        )
        return updates, state

    return optax.GradientTransformationExtraArgs(init, update)
