"""Pipelines: what is done about stages whose delays differ, each its own number.

`delays` and `steps` hold a number for each group of coordinates, as in `jaxasgd.groups.spread`: as many as leaves, one
for a leaf; else one for each of as many runs of consecutive coordinates, as equal as can be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import ArrayLike

from ..checks import known, many, positive, scalar, share, shown, transformation, whole
from ..groups import spread
from .arrays import zeros


class DriftState(NamedTuple):
    """`drift`: the running average of updates; `ahead`: the parameters minus what is sent."""

    drift: Any
    ahead: Any


def check_groups(name, values, says="finite numbers", fits=np.isfinite):
    """Numbers, one for each group, as an array; they may be traced."""
    array = known(values)
    if array is not None and (array.dtype == object or array.ndim != 1 or not array.size or not fits(array).all()):
        raise ValueError(f"{name} holds {says}, one for each group of coordinates; got {shown(values)}.")
    return values if array is None else array


def each(values, params):
    """The number of each coordinate's group, as a list in the order of the leaves; one number is everybody's."""
    if np.ndim(values) == 0:
        return [values] * len(jax.tree.leaves(params))
    return jax.tree.leaves(spread(values, params))


def anneal_by_delay(delays: ArrayLike, anneal: float, start: int = 0) -> optax.GradientTransformationExtraArgs:
    """Divide the updates of each stage by its delay at first, and by less and less of it.

        u_s <- u_s / max(delay_s, 1)^p,     p = 1 - min((version - start) / anneal, 1)

    and nothing before version `start`. It is for steps, after the learning rate and the momentum.

    Args:
        delays: in updates, 0 or more, one for each group of coordinates.
        anneal: updates until nothing is divided any more, above 0; a number or a traced scalar.
        start: the version at which it begins.

    Source: B. Yang et al., MLSys 2021, arXiv 1910.05124 (PipeMare, technique 1). That delays below 1 count as 1 and
    that it begins after a synchronous phase is ours.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> rule = ja.rules.anneal_by_delay([4.0, 1.0, 0.0], anneal=10)
        >>> [rule.update(jnp.ones(3), (), version=t)[0].tolist() for t in (0, 5, 10)]
        [[0.25, 1.0, 1.0], [0.5, 1.0, 1.0], [1.0, 1.0, 1.0]]
    """
    late = check_groups("delays", delays)
    positive("anneal", anneal, zero=False)
    start = whole("start", start, hint=", a version")

    def update(updates, state, params=None, *, version, **extra):
        version = jnp.asarray(version)
        power = 1.0 - jnp.clip((version - start) / anneal, 0.0, 1.0)
        factor = jnp.where(version < start, 1.0, jnp.maximum(late, 1.0) ** -power)
        leaves, tree = jax.tree.flatten(updates)
        scaled = [u * f.astype(u.dtype) for u, f in zip(leaves, each(factor, updates), strict=True)]
        return jax.tree.unflatten(tree, scaled), state

    return optax.GradientTransformationExtraArgs(optax.init_empty_state, update)


def follow_drift(steps: ArrayLike, decay: ArrayLike = 0.0, start: int = 0) -> optax.GradientTransformationExtraArgs:
    """Keep the average of the updates, and send where the parameters will be, or were, at that pace.

        drift <- decay * drift + (1 - decay) * u;     `send=ja.rules.look_ahead` sends params + steps * drift

    The updates stay as they are; it is the last in a chain. While they are all c, drift = (1 - decay^t) c after t.

    Args:
        steps: updates ahead (or, negative, back), one for each group of coordinates, or one number.
        decay: 0 (the last update) to 1, one for each group of coordinates, or one number; numbers or traced.
        start: the version from which on something else than the parameters is sent.

    Source: with negative steps B. Yang et al., MLSys 2021, arXiv 1910.05124 (PipeMare, technique 2); with positive ones
    and decay 0, A. Kosson et al., MLSys 2021, arXiv 2003.11666 (linear weight prediction from weights).

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> rule = ja.rules.follow_drift(steps=3.0, decay=0.5)
        >>> updates, state = rule.update(jnp.array([2.0]), rule.init(jnp.zeros(1)), version=0)
        >>> updates.tolist(), state.drift.tolist(), ja.rules.look_ahead(jnp.zeros(1), state).tolist()
        ([2.0], [1.0], [3.0])
    """
    steps = check_groups("steps", steps) if many(steps) else scalar("steps", steps)
    shares = lambda array: (array >= 0) & (array <= 1)
    decay = check_groups("decay", decay, "numbers from 0 to 1", shares) if many(decay) else share("decay", decay)
    start = whole("start", start, hint=", a version")

    def init(params):
        return DriftState(zeros(params), zeros(params))

    def update(updates, state, params=None, *, version, **extra):
        leaves, tree = jax.tree.flatten(updates)
        moved = zip(each(jnp.asarray(decay, float), updates), jax.tree.leaves(state.drift), leaves, strict=True)
        drift = [(k * d + (1.0 - k) * u.astype(d.dtype)).astype(d.dtype) for k, d, u in moved]
        now = jnp.where(jnp.asarray(version) + 1 < start, 0.0, jnp.asarray(steps, float))
        ahead = [(-s * d).astype(d.dtype) for s, d in zip(each(now, updates), drift, strict=True)]
        return updates, DriftState(jax.tree.unflatten(tree, drift), jax.tree.unflatten(tree, ahead))

    return optax.GradientTransformationExtraArgs(init, update)


def tell_delays(inner: optax.GradientTransformation, delays: ArrayLike) -> optax.GradientTransformationExtraArgs:
    """A rule that asks for `delay`, told the delays of the stages in the place of the one of the gradient.

    Args:
        inner: an optax transformation that understands a delay for each group of coordinates: `spike_compensation`.
        delays: in updates, one for each group of coordinates.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> rule = ja.rules.tell_delays(ja.rules.spike_compensation(momentum=0.5), [2, 1, 0])
        >>> params = jnp.zeros(3)
        >>> rule.update(jnp.ones(3), rule.init(params), params)[0].tolist()
        [1.75, 1.5, 1.0]
    """
    inner = transformation("inner, which tell_delays wraps,", inner)
    delays = check_groups(
        "delays", delays, "finite numbers, 0 or more", lambda array: np.isfinite(array) & (array >= 0)
    )

    def update(updates, state, params=None, **extra):
        return inner.update(updates, state, params, **(extra | {"delay": delays}))

    return optax.GradientTransformationExtraArgs(inner.init, update)


def look_along(learning_rate: optax.ScalarOrSchedule, steps: ArrayLike) -> Callable:
    """What a worker is sent where the weights go on along their velocity: a `send` for momentum.

        sent = params - learning_rate * steps * v

    Args:
        learning_rate: that of the rule: a number, a traced scalar, or a schedule (with `optax.sgd` in the chain, whose
            count of updates it takes: the rate of the next update).
        steps: how far, in steps of that velocity: a number, or one for each group of coordinates; may be traced.

    Use it as `ja.Method(..., send=ja.rules.look_along(0.1, steps=3))` with a chain that has one `optax.trace` (as
    `optax.sgd` with momentum does) or `spike_compensation`.

    Source: A. Kosson et al., MLSys 2021, arXiv 2003.11666 (linear weight prediction from the velocity).

    Example:
        >>> import jax.numpy as jnp, optax
        >>> import jaxasgd as ja
        >>> rule = optax.sgd(0.5, momentum=0.5)
        >>> _, state = rule.update(jnp.array([4.0]), rule.init(jnp.zeros(1)))
        >>> ja.rules.look_along(0.5, steps=3)(jnp.zeros(1), state).tolist()
        [-6.0]
    """
    if not callable(learning_rate):
        positive("learning_rate", learning_rate)
    steps = check_groups("steps", steps) if many(steps) else scalar("steps", steps)

    def send(params, rule_state, worker_state=()):
        velocity = only(rule_state, optax.TraceState, "momentum, optax.trace for one").trace
        rate = learning_rate
        if callable(rate):
            schedule = only(rule_state, optax.ScaleByScheduleState, "learning-rate schedule, as optax.sgd has it")
            rate = rate(schedule.count)
        leaves, tree = jax.tree.flatten(params)
        far = each(rate * jnp.asarray(steps, float), params)
        there = [
            (p.astype(v.dtype) - s.astype(v.dtype) * v).astype(p.dtype)
            for p, v, s in zip(leaves, jax.tree.leaves(velocity), far, strict=True)
        ]
        return jax.tree.unflatten(tree, there)

    return send


def only(state, kind, what):
    """The one part of a chain's state that is of a kind."""
    fits = lambda part: isinstance(part, kind)
    found = [part for part in jax.tree.leaves(state, is_leaf=fits) if fits(part)]
    if len(found) != 1:
        raise ValueError(
            f"look_along sends for a chain with one {what}; got a state with {len(found)}: {shown(state)}."
        )
    return found[0]
