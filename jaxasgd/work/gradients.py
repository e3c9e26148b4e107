"""Work: what a worker computes from what it read."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Work(NamedTuple):
    """Two pure functions; give the same objects again and a run does not compile again.

    init(params, num_workers) -> table
        the workers' own state, every array with a leading axis [num_workers]; () where they keep none.
    compute(gradient, stale, state, samples, size) -> (update, state)
        `gradient(params, sample)` of the problem; `stale` is what the worker was sent; `state` its row of the table;
        `samples` have a leading axis [max_size] of which the first `size` count; `update` is what arrives at the
        server: a pytree like the parameters, in the role of a gradient.
    """

    init: Callable
    compute: Callable


def no_state(params, num_workers):
    return ()


def mean_gradient(gradient, stale, state, samples, size):
    most = jax.tree.leaves(samples)[0].shape[0]
    at = lambda u: gradient(stale, jax.tree.map(lambda a: a[u], samples))
    if most == 1:
        return at(0), state
    total = jax.lax.fori_loop(1, size, lambda u, total: jax.tree.map(jnp.add, total, at(u)), at(0))
    return jax.tree.map(lambda g: g / size.astype(g.dtype), total), state


def gradient() -> Work:
    """One stochastic gradient at the parameters read, or the mean of `size` of them, each with a sample of its own.

    Example:
        >>> import jaxasgd as ja
        >>> ja.work.gradient() == ja.work.gradient()
        True
    """
    return Work(no_state, mean_gradient)
