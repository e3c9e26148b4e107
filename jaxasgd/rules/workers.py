"""Step sizes that depend on the worker."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import ArrayLike

from ..checks import known, shown


def scale_by_worker(factors: ArrayLike) -> optax.GradientTransformationExtraArgs:
    """Scale the update by a factor of the worker whose gradient it is.

        u <- factors[worker] * u

    Args:
        factors: numbers or a traced array, [num_workers]. A worker without a factor gives nan.

    Source: A. Mahran, A. Maranjyan, P. Richtarik, NeurIPS 2026, arXiv 2605.13434 (step sizes in proportion to the
    workers' seconds).

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> rule = ja.rules.scale_by_worker([0.5, 2.0])
        >>> rule.update(jnp.ones(1), rule.init(None), worker=1)[0].item()
        2.0
    """
    told = known(factors)
    if told is not None and (told.ndim != 1 or not told.size or not np.isfinite(told).all()):
        shape = f" of shape {np.shape(factors)}" if told.size else ""
        raise ValueError(f"factors holds a finite number for each worker, [num_workers]; got {shown(factors)}{shape}.")
    factors = jnp.asarray(factors, float)

    def update(updates, state, params=None, *, worker, **extra):
        factor = jnp.take(factors, worker, mode="fill")
        return jax.tree.map(lambda u: u * factor.astype(u.dtype), updates), state

    return optax.GradientTransformationExtraArgs(optax.init_empty_state, update)
