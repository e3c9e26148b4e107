"""Elastic averaging: workers train replicas of their own, which a force ties to the server's parameters."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from ..checks import positive, share, transformation, whole
from .base import Work


def elastic_steps(steps: int, optimizer: optax.GradientTransformation, momentum: float | None = None) -> Work:
    """Some steps from a worker's own replica, the first of which ends in the pull that it was sent.

        x_0 = replica, pull    of (replica, pull), what was sent
        v <- momentum * v + optimizer(g(x_h + momentum * v; xi_h))           (momentum * v being that of before)
        x_{h+1} = x_h + v - (pull if h = 0)
        update = x_0 - x_steps

    The pull was taken from the replica that it is subtracted from only after a step: the gradient of the step is that
    of before the exchange, as in the paper. For `ja.rules.elastic_average`.

    Args:
        steps: the communication period, 1 or more; a job takes `steps` times the seconds of a gradient.
        optimizer: an optax transformation, `optax.sgd(learning_rate)`; every worker keeps its state.
        momentum: None, or delta from 0 to 1, a number or a traced scalar: every worker keeps its v (EAMSGD).

    Source: S. Zhang, A. Choromanska, Y. LeCun, NIPS 2015, arXiv 1412.6651, Alg. 1 and 2, and their code (mpiT).

    Example:
        >>> import jax, jax.numpy as jnp, optax
        >>> import jaxasgd as ja
        >>> work = ja.work.elastic_steps(2, optax.sgd(0.5))
        >>> sent, samples = (jnp.array([8.0]), jnp.array([1.0])), jnp.zeros((2, 0))
        >>> state = jax.tree.map(lambda a: a[0], work.init(jnp.zeros(1), 1))
        >>> update, _ = work.compute(lambda x, sample: x, sent, state, samples, 2)
        >>> (sent[0] - update).tolist()  # 8 - 4 - 1, then half of 3
        [1.5]
    """
    steps, inner = check(steps, optimizer, momentum)

    def init(params, num_workers):
        return table(start(inner, momentum, params), num_workers)

    def compute(gradient, stale, state, samples, size):
        replica, pull = stale
        moved, state = descend(gradient, inner, momentum, replica, pull, state, samples, size)
        return jax.tree.map(jnp.negative, moved), state

    return Work(init, compute, steps)


def elastic_rounds(
    steps: int, optimizer: optax.GradientTransformation, moving_rate: float, momentum: float | None = None
) -> Work:
    """As `elastic_steps`, for synchronous rounds: every worker keeps its replica, and is sent the centre.

        update = centre - replica,    pull = moving_rate * (replica - centre),    both at the start of the round;
        then `steps` steps of the replica, the first of which ends in the pull

    On the server `optax.sgd(beta)` of the mean of the updates moves the centre by beta * (mean replica - centre).

    Args:
        steps, optimizer, momentum: as in `elastic_steps`.
        moving_rate: alpha, 0 or more, a number or a traced scalar.

    Source: S. Zhang, A. Choromanska, Y. LeCun, NIPS 2015, arXiv 1412.6651 (synchronous EASGD: replicas and centre are
    moved at the same time, each by the others of before).

    Example:
        >>> import jax, jax.numpy as jnp, optax
        >>> import jaxasgd as ja
        >>> work = ja.work.elastic_rounds(1, optax.sgd(0.5), moving_rate=0.25)
        >>> state = jax.tree.map(lambda a: a[0], work.init(jnp.array([8.0]), 1))
        >>> update, state = work.compute(lambda x, sample: x, jnp.array([4.0]), state, jnp.zeros((1, 0)), 1)
        >>> update.tolist(), state[0].tolist()  # 4 - 8; 8 - 4 - 1
        ([-4.0], [3.0])
    """
    steps, inner = check(steps, optimizer, momentum)
    positive("moving_rate", moving_rate)

    def init(params, num_workers):
        return table((jax.tree.map(jnp.asarray, params), start(inner, momentum, params)), num_workers)

    def compute(gradient, stale, state, samples, size):
        replica, memory = state
        pull = jax.tree.map(lambda x, c: (moving_rate * (x - c)).astype(x.dtype), replica, stale)
        moved, memory = descend(gradient, inner, momentum, replica, pull, memory, samples, size)
        return jax.tree.map(jnp.subtract, stale, replica), (optax.apply_updates(replica, moved), memory)

    return Work(init, compute, steps)


def check(steps, optimizer, momentum):
    steps = whole("steps", steps, 1, hint=" local steps")
    if momentum is not None:
        share("momentum", momentum)
    return steps, transformation("optimizer", optimizer)


def start(inner, momentum, params):
    """What a worker remembers beside its replica: the optimizer's state, and a velocity."""
    return inner.init(params), None if momentum is None else jax.tree.map(jnp.zeros_like, params)


def table(tree, num_workers):
    return jax.tree.map(lambda a: jnp.broadcast_to(a, (num_workers, *jnp.shape(a))), tree)


def descend(gradient, inner, momentum, replica, pull, memory, samples, size):
    """How far `size` steps go from the replica, the first of them with the pull."""

    def step(h, carry):
        moved, (memory, velocity) = carry
        at = optax.apply_updates(replica, moved)
        if momentum is not None:
            velocity = jax.tree.map(lambda v: (momentum * v).astype(v.dtype), velocity)
            at = optax.apply_updates(at, velocity)
        updates, memory = inner.update(gradient(at, jax.tree.map(lambda a: a[h], samples)), memory, at)
        if momentum is not None:
            updates = velocity = jax.tree.map(lambda v, u: v + u.astype(v.dtype), velocity, updates)
        pulled = lambda m, u, e: m + u.astype(m.dtype) - jnp.where(h == 0, e, jnp.zeros_like(e)).astype(m.dtype)
        return jax.tree.map(pulled, moved, updates, pull), (memory, velocity)

    nowhere = jax.tree.map(jnp.zeros_like, replica)
    return jax.lax.fori_loop(0, size, step, (nowhere, memory))
