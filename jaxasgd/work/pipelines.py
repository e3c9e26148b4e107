"""Pipelines: a gradient whose forward and backward passes use weights of their own."""

from __future__ import annotations

import jax

from .base import Work, no_state
from .gradients import mean_gradient


def both_passes() -> Work:
    """One stochastic gradient at a `ja.problems.Split`: activations at `forward`, Jacobians at `backward`.

    What workers are sent is a `Split`, and the problem is one whose gradient takes it: `ja.problems.staged`. As
    `gradient`, a job of several units is the mean of as many gradients.

    Source: B. Yang et al., MLSys 2021, arXiv 1910.05124 (PipeMare).

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> layers = [lambda w, batch: w * batch, lambda w, a: w * a]
        >>> one, two = (jnp.array(1.0), jnp.array(1.0)), (jnp.array(2.0), jnp.array(3.0))
        >>> problem = ja.problems.staged(layers, one, lambda a, batch: jnp.mean(a), jnp.array([5.0]))
        >>> sent, samples = ja.problems.Split(one, two), (jnp.array([[0]]),)
        >>> [float(g) for g in ja.work.both_passes().compute(problem.sample_gradient, sent, (), samples, 1)[0]]
        [15.0, 5.0]
    """

    def compute(gradient, stale, state, samples, size):
        sample = jax.tree.map(lambda a: a[0], samples)
        rule = "forward and backward passes with weights of their own need a problem that is cut into stages: "
        rule += "ja.problems.staged, ja.problems.transformer; "
        try:
            like = jax.eval_shape(gradient, stale, sample)
        except Exception as error:
            raise ValueError(f"{rule}the gradient of this one, at a Split, fails: {error}") from error
        if jax.tree.structure(like) != jax.tree.structure(stale.forward):  # type: ignore[operator]  # mypy knows no PyTreeDef
            raise ValueError(f"{rule}the gradient of this one, at a Split, is not like its parameters.")
        return mean_gradient(gradient, stale, state, samples, size)

    return Work(no_state, compute)
