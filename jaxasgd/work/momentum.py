"""Momentum that the workers keep, and the server knows nothing of."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ..checks import share
from .base import Work
from .gradients import mean_gradient


def nesterov(momentum: float) -> Work:
    """A worker's gradient with the worker's own momentum, in Nesterov's form.

        v <- momentum * v + g;    it sends momentum * v + g

    Args:
        momentum: a number from 0 to 1, or a traced scalar.

    Source: I. Hakimi, S. Barkai, M. Gabel, A. Schuster, 2019, arXiv 1907.11612 (DANA-Slim).

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> work, samples = ja.work.nesterov(0.5), jnp.ones((1, 1))
        >>> state = jnp.zeros(1)
        >>> for _ in range(2):
        ...     sent, state = work.compute(lambda x, sample: sample, jnp.zeros(1), state, samples, 1)
        >>> sent.tolist(), state.tolist()
        ([1.75], [1.5])
    """
    share("momentum", momentum)

    def init(params, num_workers):
        wide = lambda p: jnp.promote_types(jnp.result_type(p), jnp.float32)
        return jax.tree.map(lambda p: jnp.zeros((num_workers, *jnp.shape(p)), wide(p)), params)

    def compute(gradient, stale, state, samples, size):
        g, _ = mean_gradient(gradient, stale, (), samples, size)
        state = jax.tree.map(lambda v, g: (momentum * v + g.astype(v.dtype)).astype(v.dtype), state, g)
        sent = jax.tree.map(lambda v, g: (momentum * v + g.astype(v.dtype)).astype(g.dtype), state, g)
        return sent, state

    return Work(init, compute)
