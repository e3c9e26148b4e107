"""Step sizes that leave room for the steps made since the read: the rules of Wu et al. (2022)."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from ..checks import scalar, whole


class WindowState(NamedTuple):
    """Sums of the first k factors, for the last `memory + 1` k: `whole` + `fraction`, each [memory + 1].

    Split so, the difference of two of them is exact to rounding however long the run; `rest` is what the last
    `fraction` was rounded by.
    """

    count: jax.Array
    whole: jax.Array
    fraction: jax.Array
    rest: jax.Array


def empty_window(memory) -> WindowState:
    whole, fraction = jnp.zeros(memory + 1, jnp.int32), jnp.zeros(memory + 1, float)
    return WindowState(jnp.zeros((), jnp.int32), whole, fraction, jnp.zeros((), float))


def window_sum(state: WindowState, delay):
    """The sum of the last `delay` factors; of all, where that is more than the ring holds."""
    slots = len(state.whole)
    delay = jnp.ceil(jnp.asarray(delay, float)).astype(jnp.int32)
    last, since = state.count % slots, jnp.maximum(state.count - delay, 0)
    remembered = state.count - since < slots
    first = since % slots
    whole = state.whole[last] - jnp.where(remembered, state.whole[first], 0)
    return whole.astype(state.fraction.dtype) + (
        state.fraction[last] - jnp.where(remembered, state.fraction[first], jnp.zeros_like(state.rest))
    )


def append(state: WindowState, factor) -> WindowState:
    """The state after one more factor, in [0, 1]."""
    slots = len(state.whole)
    last = state.count % slots
    more, before = factor + state.rest, state.fraction[last]
    total = before + more
    t = total - before
    rest = (before - (total - t)) + (more - t)  # total + rest = before + more exactly
    units = jnp.maximum(jnp.floor(total), 0)  # a fraction just below 0 stays as it is
    fraction = total - units
    at = (state.count + 1) % slots
    return WindowState(
        state.count + 1,
        jax.lax.dynamic_update_index_in_dim(state.whole, state.whole[last] + units.astype(jnp.int32), at, 0),
        jax.lax.dynamic_update_index_in_dim(state.fraction, fraction, at, 0),
        rest,
    )


def scale_by_window(factor, memory) -> optax.GradientTransformationExtraArgs:
    """Multiply by `factor(sum of the factors of the last `delay` updates, delay)`."""
    memory = whole("memory", memory, 1, hint=": the largest delay whose window is remembered")

    def update(updates, state, params=None, *, delay, **extra):
        scale = factor(window_sum(state, delay), jnp.asarray(delay, state.fraction.dtype))
        scale = scale.astype(state.fraction.dtype)
        return jax.tree.map(lambda u: u * scale.astype(u.dtype), updates), append(state, scale)

    return optax.GradientTransformationExtraArgs(lambda params: empty_window(memory), update)


def scale_by_adaptive1(alpha: float = 0.9, memory: int = 4096) -> optax.GradientTransformationExtraArgs:
    """Steps that fill a share of the room that the steps since the read have left.

        u <- u * c_k,    c_k = alpha * max(1 - sum_{t = k - delay}^{k-1} c_t, 0)

    Followed by `optax.sgd(learning_rate)`, the step sizes gamma_k = learning_rate * c_k keep to the principle
    gamma_k <= max(learning_rate - sum_{t = k - delay}^{k-1} gamma_t, 0), whatever the delays are.

    Args:
        alpha: in (0, 1). A number or a traced scalar.
        memory: the largest delay whose window is remembered (the state is 2 (memory + 1) numbers). A larger delay
            counts all steps so far: never more than the principle allows, and nothing once they fill the room.

    Source: X. Wu, S. Magnusson, H. R. Feyzmahdavian, M. Johansson, ICML 2022, arXiv 2202.08550, "Adaptive 1" (as
    commonly quoted; not checked against its text). c_k does not know the learning rate: it should be one number for the
    whole run.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> rule = ja.rules.scale_by_adaptive1(alpha=0.5)
        >>> state = rule.init(None)
        >>> for delay in [0, 1, 2, 0]:
        ...     update, state = rule.update(jnp.array([1.0]), state, delay=delay)
        ...     print(*update.tolist())
        0.5
        0.25
        0.125
        0.5
    """
    scalar("alpha", alpha, "a share of the room that is left, between 0 and 1", lambda number: 0 < number < 1)
    return scale_by_window(lambda window, delay: alpha * jnp.maximum(1 - window, 0), memory)


def scale_by_adaptive2(memory: int = 4096) -> optax.GradientTransformationExtraArgs:
    """Steps in inverse proportion to the delay, left out where there is no room for them.

        u <- u * c_k,    c_k = 1/(delay + 1) if that is at most 1 - sum_{t = k - delay}^{k-1} c_t, else 0

    Followed by `optax.sgd(learning_rate)`; the principle is that of `scale_by_adaptive1`. Equality is common (a
    constant delay) and counts as room, so rounding is allowed for: 4 units in the last place of 1.

    Args:
        memory: the largest delay whose window is remembered; a larger one counts all steps so far.

    Source: X. Wu, S. Magnusson, H. R. Feyzmahdavian, M. Johansson, ICML 2022, arXiv 2202.08550, "Adaptive 2" (as
    commonly quoted; not checked against its text).

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> rule = ja.rules.scale_by_adaptive2()
        >>> state = rule.init(None)
        >>> for delay in [0, 1, 1, 1]:
        ...     update, state = rule.update(jnp.array([1.0]), state, delay=delay)
        ...     print(*update.tolist())
        1.0
        0.0
        0.5
        0.5
    """

    def factor(window, delay):
        share = 1 / (delay + 1)
        slack = 4 * jnp.finfo(share.dtype).eps
        return jnp.where(share <= 1 - window + slack, share, jnp.zeros_like(share))

    return scale_by_window(factor, memory)
