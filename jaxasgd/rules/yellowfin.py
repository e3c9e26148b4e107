"""YellowFin: a momentum and a learning rate tuned to the gradients seen, and to the momentum that comes out."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ..checks import positive, scalar, whole
from ..tables import apart, put, take
from .arrays import zeros
from .medians import median
from .momentum import inertia

MOST = 0.999  # momentum that the loop may ask for, either way


class Tuner(NamedTuple):
    """What is known of the gradients, and the numbers that it comes to.

    `count` gradients that were not 0; their `logs` of squared norms [window], a ring; running averages of `low` and
    `high` (the least and the largest of the ring), `square` (squared norms), `norm`, `distance` and `mean` (gradients).
    """

    count: jax.Array
    logs: jax.Array
    low: jax.Array
    high: jax.Array
    square: jax.Array
    norm: jax.Array
    distance: jax.Array
    mean: Any
    learning_rate: jax.Array
    momentum: jax.Array


class YellowFinState(NamedTuple):
    """The tuner, and x[t] - x[t-1]."""

    tuner: Tuner
    moved: Any


class ClosedLoopState(NamedTuple):
    """The tuner, whose momentum is the target; the `momentum` in use and the `total` measured last; a ring of the last
    `moves` [memory, ...], and the learning `rates` that they were made with; `count` updates so far."""

    tuner: Tuner
    moved: Any
    momentum: jax.Array
    total: jax.Array
    moves: Any
    rates: jax.Array
    count: jax.Array


def begin(params, learning_rate, momentum, window) -> Tuner:
    zero = jnp.zeros((), float)
    start = lambda number: jnp.asarray(number, float)
    return Tuner(
        jnp.zeros((), jnp.int32),
        jnp.zeros(window, float),
        *(zero, zero, zero, zero, zero),
        zeros(params),
        start(learning_rate),
        start(momentum),
    )


def squares(tree):
    return sum(jnp.sum(jnp.square(leaf.astype(jnp.promote_types(leaf.dtype, float)))) for leaf in jax.tree.leaves(tree))


def single_step(distance, variance, low, high):
    """The (momentum, learning rate) of SingleStep: `low` and `high` are logarithms of the curvatures' range.

    The momentum minimises momentum * distance^2 + learning_rate^2 * variance, learning_rate being
    (1 - sqrt(momentum))^2 / exp(low), and is at least ((sqrt(k) - 1) / (sqrt(k) + 1))^2, k = exp(high - low). The
    root x of the one that minimises solves (1 - x)^3 = p x. In y = 1 - x that is y^3 + p y = p, whose one real root is
    a hyperbolic sine.
    """
    tiny = jnp.finfo(low.dtype).tiny
    p = jnp.clip(jnp.square(distance * jnp.exp(low)) / (2 * variance), tiny**0.5, tiny**-0.5)
    y = 2 * jnp.sqrt(p / 3) * jnp.sinh(jnp.arcsinh(1.5 * jnp.sqrt(3 / p)) / 3)
    root = jnp.minimum(jnp.maximum(y**3 / p, jnp.tanh((high - low) / 4)), 1.0)
    return jnp.square(root), jnp.square(1 - root) * jnp.exp(-low)


def tuned(tuner: Tuner, g, decay, epsilon) -> Tuner:
    """The tuner after one more gradient; as it was, if that is 0."""
    window = len(tuner.logs)
    square = squares(g).astype(tuner.square.dtype)
    count = tuner.count + 1
    share = 1.0 - decay
    weight = share / -jnp.expm1(count * jnp.log1p(-share))  # of a running average that starts at its first number
    average = lambda before, new: (before + weight * (new - before)).astype(before.dtype)
    logs = jax.lax.dynamic_update_index_in_dim(
        tuner.logs, jnp.log(jnp.maximum(square, jnp.finfo(square.dtype).tiny)), tuner.count % window, 0
    )
    known = jnp.arange(window) < count
    low = average(tuner.low, jnp.min(jnp.where(known, logs, jnp.inf)))
    high = average(tuner.high, jnp.max(jnp.where(known, logs, -jnp.inf)))
    mean_square, norm = average(tuner.square, square), average(tuner.norm, jnp.sqrt(square))
    distance = average(tuner.distance, norm / jnp.where(mean_square > 0, mean_square, 1.0))
    mean = jax.tree.map(lambda m, g: average(m, g.astype(m.dtype)), tuner.mean, g)
    variance = jnp.maximum(epsilon, mean_square - squares(mean).astype(square.dtype))
    momentum, rate = single_step(distance, variance, low, high)
    follow = lambda before, new: jnp.where(count > 1, decay * before + share * new, before).astype(before.dtype)
    after = Tuner(
        count, logs, low, high, mean_square, norm, distance, mean,
        follow(tuner.learning_rate, rate), follow(tuner.momentum, momentum),
    )  # fmt: skip
    return jax.tree.map(lambda new, before: jnp.where(square > 0, new, before), after, tuner)


def stepped(moved, g, momentum, rate):
    return jax.tree.map(lambda m, g: (momentum * m - rate * g.astype(m.dtype)).astype(m.dtype), moved, g)


def check_tuner(learning_rate, momentum, decay, window, epsilon):
    if callable(learning_rate):
        raise ValueError("YellowFin tunes the learning rate itself: give the first one, a number; got a schedule.")
    positive("learning_rate", learning_rate)
    inertia("momentum", momentum)
    scalar("decay", decay, "a number from 0 to 1, less than 1", lambda number: 0 <= number < 1)
    positive("epsilon", epsilon, zero=False)
    return whole("window", window, 1, hint=" gradients")


def open_loop_yellowfin(
    learning_rate: optax.ScalarOrSchedule,
    momentum: float = 0.0,
    *,
    decay: float = 0.999,
    window: int = 20,
    epsilon: float = 1e-6,
) -> optax.GradientTransformationExtraArgs:
    """Heavy ball whose momentum and learning rate are tuned to the gradients seen so far.

        moved <- momentum * moved - learning_rate * g;    update = moved
        h_min, h_max = exp E log of the least and the largest ||g||^2 of the last `window` gradients
        C = E||g||^2 - ||E g||^2, at least epsilon;    D = E(E||g|| / E||g||^2)
        m, a = argmin m D^2 + a^2 C,    a = (1 - sqrt(m))^2 / h_min,
               sqrt(m) >= (sqrt(k) - 1) / (sqrt(k) + 1),    k = h_max / h_min
        momentum <- decay * momentum + (1 - decay) * m;    learning_rate <- decay * learning_rate + (1 - decay) * a

    E are running averages that forget with `decay` and start at their first number. ||g||^2 stands for the curvature, C
    for the variance, D for the distance to the optimum. The first two updates are made with the numbers given. A
    gradient of 0 tells the tuner nothing.

    Args:
        learning_rate, momentum: to begin with; numbers or traced scalars. They stay about as they are for 1 / (1 -
            decay) updates: the learning rate has to be one that works.
        decay: a number from 0 to 1, less than 1, or a traced scalar.
        window: gradients, a whole number.
        epsilon: a number above 0, or a traced scalar.

    Source: J. Zhang, I. Mitliagkas, MLSys 2019, arXiv 1706.03471, with the constants, the averages and the order of the
    authors' code (JianGoForIt/YellowFin). There x <- x - learning_rate * v, v <- momentum * v + g, a momentum of
    gradients; here, as in the paper, of moves. Left out: its clipping, and its corrections for sparse gradients.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> rule = ja.rules.open_loop_yellowfin(learning_rate=0.1, decay=0.5)
        >>> state = rule.init(jnp.zeros(2))
        >>> for _ in range(20):
        ...     updates, state = rule.update(jnp.array([3.0, 4.0]), state)
        >>> bool(state.tuner.momentum < 1e-3), round(float(state.tuner.learning_rate), 3)  # no noise: (1 - 0) / 5^2
        (True, 0.04)
    """
    window = check_tuner(learning_rate, momentum, decay, window, epsilon)

    def init(params):
        return YellowFinState(begin(params, learning_rate, momentum, window), zeros(params))

    def update(updates, state, params=None, **extra):
        tuner, moved = state
        moved = stepped(moved, updates, tuner.momentum, tuner.learning_rate)
        return optax.tree_utils.tree_cast_like(moved, updates), YellowFinState(
            tuned(tuner, updates, decay, epsilon), moved
        )

    return optax.GradientTransformationExtraArgs(init, update)


def closed_loop_yellowfin(
    learning_rate: optax.ScalarOrSchedule,
    momentum: float = 0.0,
    *,
    memory: int,
    gain: float = 0.01,
    decay: float = 0.999,
    window: int = 20,
    epsilon: float = 1e-6,
) -> optax.GradientTransformationExtraArgs:
    """YellowFin for asynchronous SGD: it asks for less momentum than it wants, until what comes out is what it wants.

        moved <- momentum * moved - learning_rate * g,     g a gradient at x[r], r = t - delay
        total    = median over coordinates j of (x[r+1] - x[r] + learning_rate * g)_j / (x[r] - x[r-1])_j
        momentum <- momentum + gain * (target - total)

    target and learning_rate are those of `open_loop_yellowfin`. Without delay the total is the momentum itself. With
    delay it is as a rule larger: where the coordinates are Gaussian around 0, as near the optimum of a quadratic, the
    median is the coefficient of a regression of what is above the line on what is below it.

    The moves around x[r] come from a ring of the last `memory` moves. Where they are not known (r = 0; a delay of
    `memory` or more; coordinates that had not moved) there is no measurement, and the momentum stays. `target - total`
    counts as 1 at most, and the momentum stays within 0.999: of few coordinates the median can be anything.

    Args:
        learning_rate, momentum: to begin with, as in `open_loop_yellowfin`.
        memory: moves that are kept, 2 or more; the state is `memory` times the parameters.
        gain: of the loop, a number, 0 or more, or a traced scalar; 0 keeps the momentum.
        decay, window, epsilon: as in `open_loop_yellowfin`.

    Source: J. Zhang, I. Mitliagkas, MLSys 2019, arXiv 1706.03471, "Closed-loop YellowFin", from memory: the authors'
    code has no such loop, and its earlier versions measured with running averages above and below the line. There
    learning_rate is one number, here that of update r; the two limits are ours.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> rule = ja.rules.closed_loop_yellowfin(learning_rate=0.1, momentum=0.5, memory=4)
        >>> state = rule.init(jnp.zeros(2))
        >>> for _ in range(3):
        ...     updates, state = rule.update(jnp.array([3.0, 4.0]), state, delay=0)
        >>> round(float(state.total), 3), bool(state.momentum < 0.5)  # without delay it is what was asked for
        (0.5, True)
    """
    window = check_tuner(learning_rate, momentum, decay, window, epsilon)
    memory = whole("memory", memory, 2, hint=" moves")
    positive("gain", gain)

    def init(params):
        tuner = begin(params, learning_rate, momentum, window)
        rates = jnp.zeros(memory, tuner.learning_rate.dtype)
        return ClosedLoopState(
            tuner, zeros(params), tuner.momentum, tuner.momentum, zeros(params, memory), rates, jnp.zeros((), jnp.int32)
        )

    def update(updates, state, params=None, *, delay, **extra):
        if jnp.ndim(delay):
            raise ValueError(f"closed_loop_yellowfin takes one delay an update; got {jnp.shape(delay)}, one per group.")
        t, rate = state.count, state.tuner.learning_rate
        delay = jnp.ceil(jnp.asarray(delay, float)).astype(jnp.int32)
        read = t - delay

        def measured(updates, moved, moves, rates):
            new = stepped(moved, updates, state.momentum, rate)
            here = lambda after, now: jnp.where(delay > 0, after, now)
            after = jax.tree.map(here, take(moves, read % memory), new)
            alpha = here(rates[read % memory], rate)
            return new, total_momentum(after, take(moves, (read - 1) % memory), updates, alpha)

        new, total = apart(read % memory, memory, measured, updates, state.moved, state.moves, state.rates)
        total = jnp.where((read > 0) & (delay < memory), total, jnp.nan)
        tuner = tuned(state.tuner, updates, decay, epsilon)
        error = jnp.clip(tuner.momentum - total, -1.0, 1.0)
        moved = jnp.clip(state.momentum + gain * error, -MOST, MOST).astype(state.momentum.dtype)
        keep = jnp.isnan(total)
        state = ClosedLoopState(
            tuner,
            new,
            jnp.where(keep, state.momentum, moved),
            jnp.where(keep, state.total, total.astype(state.total.dtype)),
            put(state.moves, t % memory, new),
            jax.lax.dynamic_update_index_in_dim(state.rates, rate, t % memory, 0),
            t + 1,
        )
        return optax.tree_utils.tree_cast_like(new, updates), state

    return optax.GradientTransformationExtraArgs(init, update)


def total_momentum(after, before, g, learning_rate):
    """The median over coordinates of (after + learning_rate * g) / before; nan where `before` is 0 everywhere."""

    def ratio(after, before, g):
        still = before == 0
        part = (after + learning_rate * g.astype(after.dtype)) / jnp.where(still, 1.0, before)
        return jnp.where(still, jnp.nan, part).ravel().astype(jnp.promote_types(after.dtype, float))

    return median(jnp.concatenate(jax.tree.leaves(jax.tree.map(ratio, after, before, g))))
