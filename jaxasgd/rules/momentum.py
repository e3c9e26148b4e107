"""Momentum as the difference of the last two versions of the parameters."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ..checks import flag, scalar
from .arrays import zeros
from .lookahead import check_rate, rate_at


class HeavyBallState(NamedTuple):
    """`count` updates so far; `moved`: x[t] - x[t-1], as far as this rule moved it."""

    count: jax.Array
    moved: Any


def inertia(name, momentum):
    """A momentum between -1 and 1, or a tracer."""
    return scalar(
        name, momentum, "a number between -1 and 1 (negative ones too; 1 never stops)", lambda number: -1 < number < 1
    )


def heavy_ball(
    learning_rate: optax.ScalarOrSchedule, momentum: float, *, nesterov: bool = False
) -> optax.GradientTransformationExtraArgs:
    """Repeat a part of the last move of the parameters.

        moved <- momentum * moved - learning_rate * g;    update = moved
        nesterov:   update = momentum * moved - learning_rate * g,    moved the new one

    Without nesterov this is x[t+1] = x[t] - learning_rate * g + momentum * (x[t] - x[t-1]), which comes to a stop less
    suddenly than `optax.sgd(learning_rate, momentum)` when the learning rate falls: there the momentum is one of
    gradients (v <- momentum * v + g, x <- x - learning_rate * v), here one of moves, which keep the learning rate that
    they were made with. While the learning rate is constant the two are the same.

    Args:
        learning_rate: a number, a traced scalar or a schedule.
        momentum: a number between -1 and 1, or a traced scalar; 0 is plain SGD.
        nesterov: True looks ahead: x is then where Nesterov's method computes its gradients.

    Source: B. Polyak, 1964 (heavy ball); the form of T. Liu, S. Li, J. Shi, E. Zhou, T. Zhao, NeurIPS 2018, arXiv
    1806.01660, eq. (1.2), and of I. Mitliagkas, C. Zhang, S. Hadjis, C. Re, 2016, arXiv 1605.09774.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> rule = ja.rules.heavy_ball(learning_rate=1.0, momentum=-0.5)
        >>> updates, state = rule.update(jnp.ones(1), rule.init(jnp.zeros(1)))
        >>> rule.update(jnp.ones(1), state)[0].tolist()
        [-0.5]
    """
    check_rate("heavy_ball", learning_rate)
    inertia("momentum", momentum)
    nesterov = flag("nesterov", nesterov)

    def init(params):
        return HeavyBallState(jnp.zeros((), jnp.int32), zeros(params))

    def update(updates, state, params=None, **extra):
        rate = rate_at(learning_rate, state.count)
        move = lambda m, g: (momentum * m - rate * g.astype(m.dtype)).astype(m.dtype)
        moved = jax.tree.map(move, state.moved, updates)
        out = jax.tree.map(move, moved, updates) if nesterov else moved
        out = jax.tree.map(lambda m, g: m.astype(g.dtype), out, updates)
        return out, HeavyBallState(state.count + 1, moved)

    return optax.GradientTransformationExtraArgs(init, update)
