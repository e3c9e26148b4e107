"""Momentum: asynchronous SGD with a momentum at the server, to which asynchrony adds one of its own."""

from __future__ import annotations

import optax

from .. import policies, rules
from ..checks import flag, positive, scalar, whole
from . import papers
from .base import Method, late
from .citations import published


@published("asynchronous SGD with momentum", papers.LIU_2018, papers.MITLIAGKAS_2016, policy="asgd", rule="heavy_ball")
def momentum_asgd(learning_rate: optax.ScalarOrSchedule, momentum: float, *, nesterov: bool = False) -> Method:
    """Asynchronous SGD with a momentum at the server, which may be negative.

        x[t+1] = x[t] - learning_rate * g(x[t - delay_t]) + momentum * (x[t] - x[t-1])

    Under delay, momentum shrinks what is stable. On the quadratic f = x^2 / 2 with a constant delay d it is stable iff

        learning_rate < |e^(iw) - 1| * |e^(iw) - momentum|,
        w > 0 the smallest with (d - 1/2) * w + arg(e^(iw) - momentum) = pi/2

    (d = 0: 2 * (1 + momentum)). For d = 8 that is 0.185 without momentum, 0.0139 with 0.9, and 0.287 with -0.5.

    Args:
        learning_rate: a number, a traced scalar or a schedule. Moves keep the learning rate that they were made with,
            as in the paper; `optax.sgd(learning_rate, momentum)` does otherwise (see `rules.heavy_ball`).
        momentum: a number between -1 and 1, or a traced scalar; 0 is asynchronous SGD.
        nesterov: True looks ahead; `nag_asgd` is that, in the form of optax.

    Source: T. Liu, S. Li, J. Shi, E. Zhou, T. Zhao, NeurIPS 2018, arXiv 1806.01660 (Async-MSGD): delays up to the order
    of (1 - momentum)^2 / learning_rate^(1 - c), c in (0, 1/2], are permitted there. Negative momentum: I. Mitliagkas,
    C. Zhang, S. Hadjis, C. Re, Allerton 2016, arXiv 1605.09774.

    Example:
        >>> import jax
        >>> import jaxasgd as ja
        >>> schedule = ja.simulate(ja.policies.asgd(), ja.times.fixed(1.0, num_workers=9), num_updates=800)
        >>> problem, key = ja.problems.quadratic(spectrum=[1.0]), jax.random.key(0)
        >>> loss = lambda beta: ja.run(problem, schedule, ja.methods.momentum_asgd(0.2, beta), key=key).loss[-1]
        >>> bool(loss(-0.5) < 1e-3), bool(loss(0.0) > 1.0)  # 0.2 is more than 0.185
        (True, True)
    """
    return Method(policies.asgd(), rules.heavy_ball(learning_rate, momentum, nesterov=nesterov))


@published("asynchronous SGD, total momentum", papers.MITLIAGKAS_2016, policy="asgd", rule="heavy_ball")
def total_momentum_asgd(
    learning_rate: optax.ScalarOrSchedule, total: float = 0.9, *, implicit: float | None = None
) -> Method:
    """Asynchronous SGD whose momentum and that of asynchrony together are what is wanted.

        x[t+1] = x[t] - learning_rate * g(x[t - delay_t]) + momentum * (x[t] - x[t-1]),     momentum = total - implicit

    n workers alike that take exponential times beget implicit = 1 - 1/n: on a quadratic f with Hessian H, exactly,

        E x[t+1] - E x[t] = (momentum + implicit) * (E x[t] - E x[t-1])
                            - momentum * implicit * (E x[t-1] - E x[t-2]) - learning_rate / n * H E x[t]

    For the mean h of what a worker holds is h[t] = implicit * h[t-1] + E x[t] / n, and the mean of an update less
    `implicit` times that of the update before has no h left. So `total` is how much of the last move is repeated, and
    the step is 1/n of the learning rate; of the move before, momentum * implicit is taken back (or, for a negative
    momentum, added). Many workers ask for a negative momentum: total = 0.9 does from n = 11 on.

    Args:
        learning_rate: a number, a traced scalar or a schedule.
        total: the momentum that would be best without asynchrony, a number from 0 to 1, less than 1; or a traced
            scalar.
        implicit: what asynchrony adds, a number from 0 to 1, less than 1, or a traced scalar; None is 1 - 1/n. That
            holds for equal exponential times; a constant delay, as of n equal workers, begets something else.

    Source: I. Mitliagkas, C. Zhang, S. Hadjis, C. Re, Allerton 2016, arXiv 1605.09774, who tune the momentum down as n
    grows, to negative ones; that it is the difference is how others sum it up, the listing was not at hand. The
    recursion with both was derived, and is tested, here.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> rule = ja.methods.total_momentum_asgd(1.0, total=0.5).bind(4, None).rule
        >>> _, state = rule.update(jnp.ones(1), rule.init(jnp.zeros(1)))
        >>> rule.update(jnp.zeros(1), state)[0].tolist()  # 0.5 - (1 - 1/4) = -0.25 of the last move
        [0.25]
    """
    says, fits = "a number from 0 to 1, less than 1", lambda number: 0 <= number < 1
    scalar("total", total, says, fits)
    if implicit is not None:
        scalar("implicit", implicit, says, fits)
        return Method(policies.asgd(), rules.heavy_ball(learning_rate, total - implicit))
    rule = lambda num_workers, times: rules.heavy_ball(learning_rate, total - (1 - 1 / num_workers))
    return Method(policies.asgd(), late(rule))


@published("YellowFin", papers.ZHANG_2019, policy="synchronous", rule="open_loop_yellowfin", does="blocks aggregates")
def sync_yellowfin(
    learning_rate: optax.ScalarOrSchedule, momentum: float = 0.0, *, decay: float = 0.999, window: int = 20
) -> Method:
    """Synchronous SGD that tunes its momentum and learning rate.

        x[t+1] = x[t] - learning_rate_t * mean of all workers' g(x[t]) + momentum_t * (x[t] - x[t-1])

    `rules.open_loop_yellowfin` says how they are tuned, to the gradients that were seen.

    Args:
        learning_rate, momentum: to begin with; numbers or traced scalars. They hold for about 1 / (1 - decay) updates.
        decay: of the averages, a number from 0 to 1, less than 1, or a traced scalar.
        window: gradients that the range of curvatures is taken from, a whole number.

    Source: J. Zhang, I. Mitliagkas, MLSys 2019, arXiv 1706.03471, after its code (JianGoForIt/YellowFin).

    Example:
        >>> import jaxasgd as ja
        >>> ja.methods.sync_yellowfin(0.1).info
        {'learning_rate': 0.1, 'momentum': 0.0, 'decay': 0.999, 'window': 20}
    """
    return Method(
        policies.synchronous(), rules.open_loop_yellowfin(learning_rate, momentum, decay=decay, window=window)
    )


@published("closed-loop YellowFin", papers.ZHANG_2019, policy="asgd", rule="closed_loop_yellowfin", does="rescales")
def async_yellowfin(
    learning_rate: optax.ScalarOrSchedule,
    momentum: float = 0.0,
    *,
    closed: bool = True,
    gain: float = 0.01,
    memory: int | None = None,
    decay: float = 0.999,
    window: int = 20,
) -> Method:
    """Asynchronous SGD that tunes its learning rate, and its momentum until the one that comes out is the one it wants.

        x[t+1]       = x[t] - learning_rate_t * g(x[t - delay_t]) + momentum_t * (x[t] - x[t-1])
        momentum[t+1] = momentum[t] + gain * (target_t - total_t)

    target and learning_rate are YellowFin's, the total is measured: see `rules.closed_loop_yellowfin`. It does not need
    the number of workers or their times to know what asynchrony adds.

    Args:
        learning_rate, momentum, decay, window: as in `sync_yellowfin`.
        closed: False leaves the loop open: momentum_t = target_t, and what asynchrony adds comes on top.
        gain: of the loop, a number, 0 or more, or a traced scalar.
        memory: moves that the rule keeps, 2 or more; None is 4 for each worker. Gradients with a delay of `memory` or
            more are applied, but measure nothing.

    Source: J. Zhang, I. Mitliagkas, MLSys 2019, arXiv 1706.03471 (the loop from memory; see the rule).

    Example:
        >>> import jaxasgd as ja
        >>> ja.methods.async_yellowfin(0.1).bind(4, None).rule.init(0.0).moves.shape
        (16,)
    """
    memory = None if memory is None else whole("memory", memory, 2, hint=" moves")
    positive("gain", gain)
    if not flag("closed", closed):
        tuner = rules.open_loop_yellowfin(learning_rate, momentum, decay=decay, window=window)
        return Method(policies.asgd(), tuner)

    def make(memory) -> optax.GradientTransformationExtraArgs:
        return rules.closed_loop_yellowfin(
            learning_rate, momentum, memory=memory, gain=gain, decay=decay, window=window
        )

    make(2 if memory is None else memory)  # what is wrong is said at once
    return Method(policies.asgd(), late(lambda num_workers, times: make(4 * num_workers if memory is None else memory)))
