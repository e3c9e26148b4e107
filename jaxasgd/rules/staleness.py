"""Step sizes that depend on the delay."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax


def scale_by_delay(power=1.0) -> optax.GradientTransformationExtraArgs:
    """Scale the update down by a power of the delay.

        u <- u * (1 + delay)^(-power)

    Args:
        power: 0 changes nothing; 0.5 and 1 are the usual ones. A number or a traced scalar.

    Source: C. Xie, S. Koyejo, I. Gupta, 2019, arXiv 1903.03934 (the polynomial s(t - r) = (t - r + 1)^(-a) of FedAsync,
    section 5.2). Differs from the paper: scales a gradient; there it scales the mixing weight of a model.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> rule = ja.rules.scale_by_delay(power=0.5)
        >>> updates, _ = rule.update(jnp.array([2.0]), rule.init(None), delay=3)
        >>> updates.tolist()
        [1.0]
    """

    def update(updates, state, params=None, *, delay, **extra):
        factor = (1.0 + jnp.asarray(delay)) ** -power
        return jax.tree.map(lambda u: u * factor.astype(u.dtype), updates), state

    return optax.GradientTransformationExtraArgs(optax.init_empty_state, update)
