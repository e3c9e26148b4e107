"""Elastic forces: a pull back to what was read, and one between the workers' replicas and the server's centre."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ..checks import positive
from .arrays import present


class Replica(NamedTuple):
    """A worker's replica before it is pulled, and the pull that its next step ends in."""

    params: Any
    pull: Any


def stay_near(strength: float) -> optax.GradientTransformationExtraArgs:
    """Add the gradient of a proximal term, which pulls the parameters back to those that were read.

        g <- g + strength * (params - stale)

    As a part of the optimizer of local steps, where `params` are the worker's own: they minimise
    f_i(y) + (strength / 2) ||y - stale||^2. `ja.work.local_steps(8, optax.chain(stay_near(0.01), optax.sgd(0.1)))`.

    Args:
        strength: rho (mu in FedProx), 0 or more, a number or a traced scalar.

    Source: C. Xie, S. Koyejo, I. Gupta, 2019, arXiv 1903.03934 (FedAsync); T. Li et al., MLSys 2020, arXiv 1812.06127
    (FedProx).

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> rule = ja.rules.stay_near(strength=0.5)
        >>> y, x = jnp.array([3.0]), jnp.array([1.0])
        >>> rule.update(jnp.zeros(1), rule.init(y), y, stale=x)[0].tolist()
        [1.0]
    """
    positive("strength", strength)

    def update(updates, state, params=None, *, stale, **extra):
        present(params, "stay_near")
        pulled = lambda g, p, s: (g + strength * (p - s).astype(g.dtype)).astype(g.dtype)
        return jax.tree.map(pulled, updates, params, stale), state

    return optax.GradientTransformationExtraArgs(optax.init_empty_state, update)


def elastic_average(moving_rate: float) -> optax.GradientTransformationExtraArgs:
    """Move the centre towards the replica of the worker that delivers, and reply with a pull of the same size.

        replica = stale.params - update
        pull    = moving_rate * (replica - params)
        params <- params + pull;     the worker is sent (replica, pull)

    The parameters of the server are the centre; `update` is how far the replica has come, as `ja.work.elastic_steps`
    gives it; `stale` is what the worker was sent the time before. The state is the reply to the worker that delivered
    last: `Method(send=lambda params, state, worker_state: state, private=True)`.

    Args:
        moving_rate: alpha, 0 or more, a number or a traced scalar.

    It asks for `stale`: each update is that of one worker.

    Source: S. Zhang, A. Choromanska, Y. LeCun, NIPS 2015, arXiv 1412.6651 (asynchronous EASGD).

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> rule = ja.rules.elastic_average(moving_rate=0.5)
        >>> centre, sent = jnp.array([1.0]), (jnp.array([3.0]), jnp.array([0.0]))
        >>> updates, reply = rule.update(jnp.array([-2.0]), rule.init(centre), centre, stale=sent)  # the replica is 5
        >>> updates.tolist(), reply.params.tolist(), reply.pull.tolist()
        ([2.0], [5.0], [2.0])
    """
    positive("moving_rate", moving_rate)

    def init(params):
        return Replica(params, jax.tree.map(jnp.zeros_like, params))

    def update(updates, state, params=None, *, stale, **extra):
        present(params, "elastic_average")
        replica = jax.tree.map(lambda s, u: s - u.astype(s.dtype), stale[0], updates)
        pull = jax.tree.map(lambda r, p: (moving_rate * (r - p)).astype(p.dtype), replica, params)
        return jax.tree.map(lambda e, u: e.astype(u.dtype), pull, updates), Replica(replica, pull)

    return optax.GradientTransformationExtraArgs(init, update)
