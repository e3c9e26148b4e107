"""Local steps: a worker trains on its own for a while, and sends how far it came."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import ArrayLike

from ..checks import flag, known, shown, transformation, whole
from .base import Work, no_state


def local_steps(steps: int | Sequence[int], optimizer: optax.GradientTransformation, *, keep: bool = False) -> Work:
    """Some steps of an optax optimizer from the parameters read; the worker sends the change, in a gradient's role.

        y_0 = stale,   y_{h+1} = y_h + optimizer(g(y_h; xi_h)),   h = 0 ... steps - 1
        update = y_0 - y_steps

    so that `optax.sgd(1.0)` on the server adds the change, and `optax.sgd(eta)` a share eta of it; with one step of
    `optax.sgd(lr)` the update is lr * g to the bit. A job takes `steps` times the seconds of a gradient, and each step
    has a sample of its own. The optimizer is told `stale`, the parameters that were read, if it asks.

    Args:
        steps: a number, 1 or more, or one for each worker (a tuple or a list).
        optimizer: an optax transformation; its numbers may be traced.
        keep: False: its state starts anew with each job (schedules and bias corrections too); True: every worker
            keeps its own from job to job (memory: workers x state; such runs have wave width 1).

    Source: local SGD; as the work of asynchronous methods: B. Liu et al., 2024, arXiv 2401.09135.

    Example:
        >>> import jax, optax
        >>> import jaxasgd as ja
        >>> method = ja.Method(ja.policies.asgd(), optax.sgd(1.0), work=ja.work.local_steps(8, optax.adamw(1e-2)))
        >>> schedule = ja.simulate(method, ja.times.exponential(1.0, num_workers=4), num_updates=50)
        >>> history = ja.run(ja.problems.quadratic(dim=5), schedule, method, key=jax.random.key(0))
        >>> int(history.gradients[-1])
        400
    """
    if isinstance(steps, (tuple, list)) or getattr(steps, "ndim", 0) > 0:
        steps = tuple(whole(f"steps[{i}]", each, 1, hint=" local steps") for i, each in enumerate(steps))  # type: ignore[arg-type]
        if not steps:
            raise ValueError("steps is a number, or one for each worker; got none.")
    else:
        steps = whole("steps", steps, 1, hint=", or one for each worker")
    inner, keep = transformation("optimizer", optimizer), flag("keep", keep)

    def start(params, num_workers):
        state = inner.init(params)
        return jax.tree.map(lambda a: jnp.broadcast_to(a, (num_workers, *jnp.shape(a))), state)

    def compute(gradient, stale, state, samples, size):
        nowhere = jax.tree.map(jnp.zeros_like, stale)

        def step(h, carry):
            moved, memory = carry
            local = optax.apply_updates(stale, moved)
            g = gradient(local, jax.tree.map(lambda a: a[h], samples))
            updates, memory = inner.update(g, memory, local, stale=stale)
            return jax.tree.map(lambda m, u: m + u.astype(m.dtype), moved, updates), memory

        memory = state if keep else inner.init(stale)
        moved, memory = jax.lax.fori_loop(0, size, step, (nowhere, memory))
        return jax.tree.map(jnp.negative, moved), memory if keep else state

    return Work(start if keep else no_state, compute, steps)


def steps_by_speed(steps: int, seconds: ArrayLike) -> tuple[int, ...]:
    """Local steps in proportion to the workers' speeds, so that their jobs take about as long as the fastest one's.

        steps_i = max(1, floor(steps * min_j seconds_j / seconds_i))

    Args:
        steps: H, those of the fastest worker.
        seconds: mean seconds of a step of each worker, [num_workers], finite and above 0: `times.mean`.

    Source: B. Liu et al., 2024, arXiv 2401.09135 (dynamic local updates). Theirs on a toy are at least 5; the code of
    HALoS (utnslab/halos) rounds up.

    Example:
        >>> import jaxasgd as ja
        >>> ja.work.steps_by_speed(10, ja.times.exponential([1.0, 2.0, 3.0, 60.0]).mean)
        (10, 5, 3, 1)
    """
    steps = whole("steps", steps, 1, hint=" local steps of the fastest worker")
    mean = known(seconds)
    if mean is None or mean.ndim != 1 or not mean.size or not (np.isfinite(mean) & (mean > 0)).all():
        raise ValueError(
            "seconds holds the mean seconds of a step of each worker, [num_workers], finite and above 0 (times.mean, "
            f"where the clock has it); got {shown(seconds)}."
        )
    exact = steps * (mean.min() / mean) * (1 + 1e-12)  # 3 * (0.1 / 0.3) is 1
    return tuple(np.maximum(np.floor(exact), 1).astype(int).tolist())
