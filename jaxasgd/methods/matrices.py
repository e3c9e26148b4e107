"""Matrix optimizers: steps that see a parameter as a matrix, or an optimizer of your own, with stale gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import optax

from .. import policies, rules
from ..checks import positive, shown, transformation
from . import papers
from .base import Method
from .citations import published


@published(
    "Ringmaster LMO",
    papers.SADIEV_2026,
    policy="ringmaster",
    rule="average_gradients, scale_by_lmo, sgd",
    does="discards",
)
def ringmaster_lmo(
    learning_rate: optax.ScalarOrSchedule,
    alpha: float,
    bound: int | Callable,
    *,
    ball: str = "spectral",
    steps: int = 5,
    stops: bool = False,
) -> Method:
    """Ringmaster with steps of a fixed size, in the direction in a ball that goes down most along the momentum.

        m[t+1] = alpha * g(x[t - delay_t]) + (1 - alpha) * m[t],     delay_t < bound;     m[1] is the first gradient
        x[t+1] = x[t] + learning_rate * lmo(m[t+1]),                 lmo(m) = argmin_{||v|| <= 1} <m, v>

    With the spectral ball this is Muon, with the Euclidean one normalised SGD with momentum.

    Args:
        learning_rate: the length of a step in the ball's norm, a number, a traced scalar or a schedule.
        alpha: the share of the new gradient, 0 to 1, or a traced scalar.
        bound: the first delay that is too large; the theory takes 1 / alpha.
        ball: "spectral", "euclidean" or "sign", see `rules.scale_by_lmo`.
        steps: of Newton and Schulz's iteration in the spectral ball; None is exact.
        stops: as in `ringmaster`.

    Source: A. Sadiev, A. Maranjyan, I. Ilin, P. Richtarik, 2026, arXiv 2605.18174 (both variants; from a draft in the
    authors' code). The Muon of their experiments has Nesterov's form of momentum too, and a factor for shapes.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.exponential(1.0, num_workers=16)
        >>> schedule = ja.simulate(ja.methods.ringmaster_lmo(0.1, alpha=0.25, bound=4), times, num_updates=100)
        >>> int(schedule.delay[schedule.use].max())
        3
    """
    rule = optax.chain(
        rules.average_gradients(alpha), rules.scale_by_lmo(ball, steps=steps), optax.sgd(learning_rate)
    )  # fmt: skip
    return Method(policies.ringmaster(bound, stops=stops), rule)


def square_root(version) -> int:
    """The largest whole number whose square is at most the version, 1 or more: 1 / alpha_k, rounded down."""
    return max(1, math.isqrt(version))


@published(
    "Ringmaster LMO, parameter-agnostic",
    papers.SADIEV_2026,
    policy="ringmaster",
    rule="average_gradients, scale_by_lmo, sgd",
    does="discards",
)
def agnostic_ringmaster_lmo(
    learning_rate: optax.ScalarOrSchedule, *, ball: str = "spectral", steps: int = 5, stops: bool = False
) -> Method:
    """Ringmaster LMO whose momentum, bound and steps change in a way that needs no constants of the problem.

        m[k+1] = alpha_k * g(x[k - delay_k]) + (1 - alpha_k) * m[k],     delay_k < R_k
        x[k+1] = x[k] + eta_k * lmo(m[k+1])

        alpha_0 = 1, alpha_k = k^(-1/2);     R_k = floor(1 / alpha_k), R_0 = 1;     eta_k = learning_rate (k+1)^(-3/4)

    The later, the more of the stale gradients count, and each of them less.

    Args:
        learning_rate: eta, the length of the first step in the ball's norm, a number or a traced scalar.
        ball, steps, stops: as in `ringmaster_lmo`.

    Source: A. Sadiev, A. Maranjyan, I. Ilin, P. Richtarik, 2026, arXiv 2605.18174 (the schedule from a draft in the
    authors' code, Theorem 1).

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.exponential(1.0, num_workers=16)
        >>> schedule = ja.simulate(ja.methods.agnostic_ringmaster_lmo(0.1), times, num_updates=101)
        >>> late = schedule.use & (schedule.delay > 0)  # none before version 4, where the bound becomes 2
        >>> bool(schedule.version[late].min() >= 4), bool(schedule.delay[late].max() < 10)
        (True, True)
    """
    if callable(learning_rate):
        raise ValueError(
            "agnostic_ringmaster_lmo makes its own schedule: learning_rate is the length of the first step."
        )
    positive("learning_rate", learning_rate)
    rule = optax.chain(
        rules.average_gradients(lambda k: k**-0.5),
        rules.scale_by_lmo(ball, steps=steps),
        optax.sgd(lambda k: learning_rate * (k + 1.0) ** -0.75),
    )
    return Method(policies.ringmaster(square_root, stops=stops), rule)


@published(
    "one-step delay",
    papers.ZMUSHKO_2026,
    papers.NARAYANAN_2021,
    policy="double_buffered",
    rule="error_feedback",
    does="aggregates",
)
def one_step_delay(
    learning_rate: optax.ScalarOrSchedule, optimizer: Callable, *, strength: float = 0.0, batch: int | None = None
) -> Method:
    """Any optimizer whose gradients are one update late, as those of PipeDream-2BW are, with a correction if asked.

        x[t+1] = x[t] - u_t - strength * (u_t - u_{t-1}),     x[t] - u_t: what the optimizer would do with g(x[t-1])

    g is the mean of `batch` gradients. The first gradient is not late, and has no correction.

    How much the delay costs depends on the optimizer. In the paper's language models AdamW loses much, Muon (and other
    optimizers with much momentum) little; the correction brings most of it back.

    Args:
        learning_rate: a number, a traced scalar or a schedule.
        optimizer: a function learning_rate -> optax transformation: `optax.adamw`, `optax.contrib.muon`,
            `lambda lr: optax.adamw(lr, b1=0.95)`.
        strength: of the correction, `rules.error_feedback`: 0 without, 1 as in the paper; a number or a traced scalar.
        batch: micro-batches in an update; None: as many as workers, which are the places in the pipeline.

    Source: P. Zmushko, E. Petrov, N. Abdullaev, M. Khrushchev, S. Horvath, 2026, arXiv 2606.30634; the correction
    second-hand, see `rules.error_feedback`. D. Narayanan et al., ICML 2021, arXiv 2006.09503 (PipeDream-2BW).

    Example:
        >>> import optax
        >>> import jaxasgd as ja
        >>> method = ja.methods.one_step_delay(0.02, optax.contrib.muon, strength=1.0)
        >>> schedule = ja.simulate(method, ja.times.fixed(1.0, num_workers=1), num_updates=4)
        >>> schedule.read.tolist(), method.info["optimizer"]
        ([0, 0, 1, 2], 'muon')
    """
    if not callable(optimizer):
        raise ValueError(
            f"one_step_delay takes an optimizer as a function of the learning rate, optax.adamw or "
            f"lambda lr: optax.adamw(lr, b1=0.95); got {shown(optimizer)}."
        )
    inner = transformation("what one_step_delay's optimizer makes of a learning rate", optimizer(learning_rate))
    return Method(policies.double_buffered(batch), optax.chain(inner, rules.error_feedback(strength)))


@published(
    "basis rotation",
    papers.JUNG_2026,
    papers.VYAS_2025,
    policy="pipelined",
    rule="scale_by_rotated_adam, sgd",
)
def basis_rotation(
    learning_rate: optax.ScalarOrSchedule,
    stages: int | Sequence[int],
    b1: float = 0.95,
    b2: float = 0.95,
    eps: float = 1e-8,
    *,
    weight_decay: float = 0.0,
    period: int = 10,
    sides: str = "both",
) -> Method:
    """Adam in the eigenvectors of the mean products of gradients, for the stale gradients of a pipeline.

        x[t+1] = x[t] - learning_rate * (P Adam(P^T g Q) Q^T + weight_decay * x[t]),     for each matrix of parameters
        g = g(x_0[t - d_0], ..., x_{S-1}[t - d_{S-1}]),     d_s = S - 1 - s

    In the standard basis Adam swings where the Hessian is not diagonal, so that a stale gradient points elsewhere than
    a fresh one; in the basis of P and Q, which stands for that of the Hessian, it loses little to the delay.

    Args:
        learning_rate: a number, a traced scalar or a schedule.
        stages: S, or the stage of each leaf, as in `policies.pipelined`. The clock has S workers or more.
        b1, b2, eps, weight_decay: as in AdamW; numbers or traced scalars. The defaults are those of the authors' code.
        period, sides: of the rotation, see `rules.scale_by_rotated_adam`.

    Source: H. Jung, S. Shin, N. Lee, ICML 2026, arXiv 2602.03515; N. Vyas et al., ICLR 2025, arXiv 2409.11321 (SOAP).

    Example:
        >>> import jaxasgd as ja
        >>> method = ja.methods.basis_rotation(0.01, stages=4)
        >>> ja.simulate(method, ja.times.fixed(1.0, num_workers=4), num_updates=50).delay[-1].tolist()
        [3, 2, 1, 0]
    """
    positive("weight_decay", weight_decay)
    rotated = rules.scale_by_rotated_adam(b1, b2, eps, period=period, sides=sides)
    rule = optax.chain(rotated, optax.add_decayed_weights(weight_decay), optax.sgd(learning_rate))
    return Method(policies.pipelined(stages), rule)
