"""What the rules keep: arrays like the parameters, wide enough to be summed in."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def present(params, rule):
    """The parameters, or an error: optax allows None where a rule can do without."""
    if params is None:
        raise ValueError(f"{rule} needs the parameters, update(updates, state, params, ...); got None.")


def wide(array):
    """The array's dtype, float32 at least: what is squared and summed in."""
    return jnp.promote_types(jnp.result_type(array), jnp.float32)


def zeros(params, *axes):
    """Zeros like the parameters, float32 at least; with `axes`, tables of so many rows."""
    return jax.tree.map(lambda p: jnp.zeros((*axes, *jnp.shape(p)), wide(p)), params)
