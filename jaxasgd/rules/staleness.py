"""Step sizes that depend on the delay."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from ..checks import flag, positive, scalar
from .arrays import wide


def scaled(factor) -> optax.GradientTransformationExtraArgs:
    """The rule without state u <- factor(delay) * u."""

    def update(updates, state, params=None, *, delay, **extra):
        number = factor(jnp.asarray(delay))
        return jax.tree.map(lambda u: u * number.astype(u.dtype), updates), state

    return optax.GradientTransformationExtraArgs(optax.init_empty_state, update)


def scale_by_delay(power: float = 1.0) -> optax.GradientTransformationExtraArgs:
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
    scalar("power", power)
    return scaled(lambda delay: (1.0 + delay) ** -power)


def scale_by_hinge(slope: float = 10.0, bound: float = 4.0) -> optax.GradientTransformationExtraArgs:
    """Leave the update alone up to a delay of `bound`, then scale it down.

        u <- u                                       where delay <= bound
        u <- u / (slope * (delay - bound) + 1)       elsewhere

    Args:
        slope, bound: numbers, 0 or more, or traced scalars.

    Source: C. Xie, S. Koyejo, I. Gupta, 2019, arXiv 1903.03934 (the hinge of FedAsync, a = slope, b = bound).
    Differs from the paper: scales a gradient; there it scales the mixing weight of a model.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> rule = ja.rules.scale_by_hinge(slope=0.5, bound=4)
        >>> [rule.update(jnp.ones(1), rule.init(None), delay=delay)[0].item() for delay in (0, 4, 6)]
        [1.0, 1.0, 0.5]
    """
    positive("slope", slope)
    positive("bound", bound)
    return scaled(lambda delay: 1.0 / (slope * jnp.maximum(delay - bound, 0.0) + 1.0))


def divide_by_delay() -> optax.GradientTransformationExtraArgs:
    """Divide the update by its delay, from a delay of 1 on.

        u <- u / max(delay, 1)

    A fresh gradient (delay 0) counts as much as one of delay 1.

    Source: W. Zhang, S. Gupta, X. Lian, J. Liu, IJCAI 2016, arXiv 1511.05950 (staleness-aware step sizes).

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> rule = ja.rules.divide_by_delay()
        >>> [rule.update(jnp.ones(1), rule.init(None), delay=delay)[0].item() for delay in (0, 1, 2, 4)]
        [1.0, 1.0, 0.5, 0.25]
    """
    return scaled(lambda delay: 1.0 / jnp.maximum(delay, 1))


def scale_by_concurrency(concurrency: int) -> optax.GradientTransformationExtraArgs:
    """Scale the update down where its delay exceeds the number of jobs in flight, which is the mean delay.

        u <- u * min(1, concurrency / delay) = u * concurrency / max(concurrency, delay)

    Args:
        concurrency: how many jobs are in flight at a time: the number of workers, where all are busy.

    Source: K. Mishchenko, F. Bach, M. Even, B. Woodworth, NeurIPS 2022, arXiv 2206.07638 (delay-adaptive step sizes).

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> rule = ja.rules.scale_by_concurrency(4)
        >>> [rule.update(jnp.ones(1), rule.init(None), delay=delay)[0].item() for delay in (0, 4, 8)]
        [1.0, 1.0, 0.5]
    """
    positive("concurrency", concurrency, zero=False)
    return scaled(lambda delay: concurrency / jnp.maximum(1.0 * delay, concurrency))


def scale_late(concurrency: float, cap: float = 1.0) -> optax.GradientTransformationExtraArgs:
    """Leave the update alone up to a delay of `concurrency`; beyond, scale it down at once, or drop it.

        u <- u                          where delay <= concurrency
        u <- u * min(1, cap / delay)    elsewhere

    Args:
        concurrency: the largest delay that changes nothing, 0 or more.
        cap: a number, or a traced scalar. 1 divides a late update by its delay, 0 drops it, and
            1 / (4 * smoothness * learning_rate) keeps the step within 1 / (4 * smoothness * delay).

    Source: A. Koloskova, S. Stich, M. Jaggi, NeurIPS 2022, arXiv 2206.08307, eq. (11), for which concurrency is the
    largest number of jobs in flight; cap = 1 is its "Tuning the stepsize".

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> rule = ja.rules.scale_late(concurrency=4, cap=2.0)
        >>> [rule.update(jnp.ones(1), rule.init(None), delay=delay)[0].item() for delay in (0, 4, 8)]
        [1.0, 1.0, 0.25]
    """
    positive("concurrency", concurrency)
    scalar("cap", cap, "a number, 0 or more", lambda number: number >= 0)

    def factor(delay):
        late = jnp.minimum(1.0, cap / jnp.maximum(1.0 * delay, 1.0))
        return jnp.where(1.0 * delay <= concurrency, 1.0, late)

    return scaled(factor)


def scale_by_adadelay(offset: float = 1.0) -> optax.GradientTransformationExtraArgs:
    """Scale the update down with the square root of time and delay.

        u <- u / (offset + sqrt(t + delay)),     t = version + 1 = 1, 2, ...

    Followed by a learning rate 1/c it is the step 1 / (L + c sqrt(t + delay)) with L = c * offset.

    Args:
        offset: a number, 0 or more, or a traced scalar.

    Source: S. Sra, A. Yu, M. Li, A. Smola, AISTATS 2016, arXiv 1508.05003, after A. Agarwal, J. Duchi, NIPS 2011, arXiv
    1104.5525. That t is 1 at the first gradient is as in the former's code.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> rule = ja.rules.scale_by_adadelay(offset=1.0)
        >>> rule.update(jnp.ones(1), rule.init(None), version=3, delay=5)[0].item()
        0.25
    """
    positive("offset", offset)

    def update(updates, state, params=None, *, delay, version, **extra):
        factor = 1.0 / (offset + jnp.sqrt(jnp.asarray(version) + 1.0 + delay))
        return jax.tree.map(lambda u: u * factor.astype(u.dtype), updates), state

    return optax.GradientTransformationExtraArgs(optax.init_empty_state, update)


def scale_by_adadelay_rms(offset: float = 1.0, *, discounted: bool = True) -> optax.GradientTransformationExtraArgs:
    """Scale every coordinate down with time, delay, and the size of its gradients so far.

        w_s = s / (s + delay_s)  (discounted)  or  1,     s = 1, 2, ..., t = version + 1
        c_t = sqrt((1/t) sum_{s<=t} w_s u_s^2)
        u   <- u / (offset + c_t * sqrt(t + delay))

    Args:
        offset: a number above 0, or a traced scalar; it is what a coordinate whose gradients are all 0 is divided by.
        discounted: old gradients weigh less in the sum.

    Source: S. Sra, A. Yu, M. Li, A. Smola, AISTATS 2016, arXiv 1508.05003. Discounted is the paper's as other texts
    have it (its listing was not at hand); not discounted is its authors' code (dmlc/wormhole, delay_tol_handle.h).

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> rule = ja.rules.scale_by_adadelay_rms(offset=1.0)
        >>> params = jnp.zeros(2)
        >>> rule.update(jnp.array([3.0, 0.0]), rule.init(params), params, version=0, delay=0)[0].tolist()
        [0.75, 0.0]
    """
    positive("offset", offset, zero=False)
    discounted = flag("discounted", discounted)

    def init(params):
        return jax.tree.map(lambda p: jnp.zeros(jnp.shape(p), wide(p)), params)

    def update(updates, state, params=None, *, delay, version, **extra):
        t = jnp.asarray(version) + 1.0
        weight = t / (t + delay) if discounted else jnp.ones_like(t)
        state = jax.tree.map(lambda s, u: s + weight.astype(s.dtype) * u.astype(s.dtype) ** 2, state, updates)
        ratio = (t + delay) / t
        updates = jax.tree.map(
            lambda s, u: (u.astype(s.dtype) / (offset + jnp.sqrt(ratio.astype(s.dtype) * s))).astype(u.dtype),
            state,
            updates,
        )
        return updates, state

    return optax.GradientTransformationExtraArgs(init, update)
