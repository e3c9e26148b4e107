"""A plan as JAX knows it, a pytree: whoever has one from here can give it to `jit`, `vmap` and `scan`."""

from __future__ import annotations

import jax

from .planning import ARRAYS, STATIC, Plan, plan, stack

__all__ = ["Plan", "plan", "stack"]

jax.tree_util.register_dataclass(Plan, ARRAYS, STATIC)
