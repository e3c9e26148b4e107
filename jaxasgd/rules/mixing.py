"""Mixing: the server moves towards the model that a worker sends."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from ..checks import share
from .arrays import present


def mix_models(mixing: float = 0.6) -> optax.GradientTransformationExtraArgs:
    """Move the parameters towards the worker's: what it had read, changed by the update so far.

        u <- mixing * (stale + u - x),     so that  x + u = (1 - mixing) x + mixing (stale + u_before)

    To be put after what the worker does (`optax.sgd`) and before rules that scale `mixing` by the delay. All that
    happened since the read is undone by the same share: with `mixing` 1 the worker's model replaces the server's.

    Args:
        mixing: 0 to 1. A number or a traced scalar.

    Source: C. Xie, S. Koyejo, I. Gupta, 2019, arXiv 1903.03934 (FedAsync).

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> rule = ja.rules.mix_models(mixing=0.5)
        >>> x, stale, u = jnp.array([3.0]), jnp.array([1.0]), jnp.array([-0.5])
        >>> (x + rule.update(u, rule.init(x), x, stale=stale)[0]).tolist()  # half of 3, half of 1 - 0.5
        [1.75]
    """
    share("mixing", mixing)

    def update(updates, state, params=None, *, stale, **extra):
        present(params, "mix_models")
        share = jnp.asarray(mixing)
        move = lambda u, x, y: share.astype(u.dtype) * (y.astype(u.dtype) + u - x.astype(u.dtype))
        return jax.tree.map(move, updates, params, stale), state

    return optax.GradientTransformationExtraArgs(optax.init_empty_state, update)
