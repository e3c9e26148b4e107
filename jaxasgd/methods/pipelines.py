"""Pipelines: stages that hold a part of the weights each, and gradients whose delay is another in every stage."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np
import optax

from .. import policies, rules
from ..checks import many, positive, share, whole
from ..policies.pipelines import stage_delays, stage_numbers
from ..problems import Split
from ..work import both_passes
from . import papers
from .base import Method, sgd
from .citations import published


def by_stage(stages, numbers):
    """The number of each group of weights: that of its stage."""
    return np.array(numbers, np.float64)[stage_numbers(stages)[1]]


def assembled(stages, delays, weights, rule, send=None, backward=None, **options) -> Method:
    """A pipeline, whose workers are sent two halves where its passes use weights of their own."""
    policy = policies.pipelined(stages, delays=delays, weights=weights, **options)
    rule = fitted(stages, optax.with_extra_args_support(rule))
    if weights != "latest":
        return Method(policy, rule, send=send)
    at = lambda part, *states: states[0] if part is None else part(*states)
    return Method(
        policy, rule, work=both_passes(), send=lambda *states: Split(at(send, *states), at(backward, *states))
    )


def fitted(stages, rule):
    """The rule, for parameters with as many leaves as `stages` says, if it does."""
    if not many(stages):
        return rule

    def init(params):
        leaves = len(jax.tree.leaves(params))
        if leaves != len(stages):
            raise ValueError(
                f"stages is the stage of each leaf, and the parameters have {leaves} leaves, not {len(stages)}: "
                "ja.problems.stage_of_leaves(params, number) gives them."
            )
        return rule.init(params)

    return optax.GradientTransformationExtraArgs(init, rule.update)


@published("PipeDream", papers.NARAYANAN_2019, policy="pipelined")
def pipedream(
    learning_rate: optax.ScalarOrSchedule,
    stages: int | Sequence[int],
    momentum: float | None = None,
    *,
    weights: str = "stashed",
    delays: Sequence[int] | None = None,
) -> Method:
    """A pipeline that never runs empty: the earlier a stage, the older the weights that its gradients are for.

        x[t+1] = x[t] - learning_rate * g(x_0[t - d_0], ..., x_{S-1}[t - d_{S-1}]),     d_s = S - 1 - s

    The workers of the clock are the mini-batches in flight: as many as stages, and the same time for all, is a pipeline
    (`ja.times.fixed(1.0, num_workers=stages)`).

    Args:
        learning_rate: a number, a traced scalar or a schedule.
        stages: S, each a run of coordinates; or the stage of each leaf, `ja.problems.stage_of_leaves(params, S)`.
        momentum: None, or from 0 to 1.
        weights: "stashed", the paper's weight stashing: both passes of a mini-batch through a stage use the same;
            "synced", its vertical sync: all stages use the version that the first met, d_s = S - 1; "latest": none is
            kept, and the backward pass uses the current weights (for problems in stages, `ja.problems.staged`).
        delays: d_s, one for each stage, instead of those above; in mini-batches.

    Source: D. Narayanan et al., SOSP 2019, with its formula for weight stashing; "latest" is pipelined backpropagation
    without it.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.fixed(1.0, num_workers=3)
        >>> ja.simulate(ja.methods.pipedream(0.1, stages=3), times, num_updates=9).delay[-1].tolist()
        [2, 1, 0]
    """
    return assembled(stages, delays, weights, sgd(learning_rate, momentum))


@published("PipeDream-2BW", papers.NARAYANAN_2021, policy="double_buffered", does="aggregates")
def pipedream_2bw(
    learning_rate: optax.ScalarOrSchedule, batch: int | None = None, momentum: float | None = None
) -> Method:
    """A pipeline that keeps two versions of its weights, however many stages it has: every gradient is one update late.

        x[t+1] = x[t] - learning_rate * (1/batch) sum_{j=1}^batch g_j(x[t-1])

    Args:
        learning_rate: a number, a traced scalar or a schedule.
        batch: micro-batches in an update, as many as stages or more; None: as many as workers, which are the
            micro-batches in flight.
        momentum: None, or from 0 to 1.

    Source: D. Narayanan, A. Phanishayee, K. Shi, X. Chen, M. Zaharia, ICML 2021, arXiv 2006.09503.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.fixed(1.0, num_workers=4)
        >>> schedule = ja.simulate(ja.methods.pipedream_2bw(0.1, batch=8), times, num_updates=5)
        >>> schedule.delay[schedule.step].tolist()
        [0, 1, 1, 1, 1]
    """
    return Method(policies.double_buffered(batch), sgd(learning_rate, momentum))


@published("PipeMare", papers.YANG_2021, policy="pipelined", rule="sgd, anneal_by_delay, follow_drift", does="sends")
def pipemare(
    learning_rate: optax.ScalarOrSchedule,
    stages: int | Sequence[int],
    anneal: float | None = None,
    decay: float = 0.1,
    momentum: float | None = None,
    *,
    warmup: int = 0,
    batch: int = 1,
    delays: Sequence[int] | None = None,
) -> Method:
    """A pipeline that keeps no old weights: small first steps where delays are long, and corrected backward passes.

    A backward pass makes up for the weights' drift since the forward pass:

        x_s[t+1] = x_s[t] - learning_rate / tau_s^p * g_s(forward = x[t - tau], backward = u[t])
        p = 1 - min((t - warmup) / anneal, 1)
        u_s[t] = x_s[t] - tau_s * drift_s[t],     drift_s <- decay^(1 / tau_s) * drift_s
                                                          + (1 - decay^(1 / tau_s)) * (x_s[t+1] - x_s[t])
        tau_s = (2 (S - 1 - s) + 1) / batch

    It is for problems in stages: `ja.problems.staged`, `ja.problems.transformer`. There are up to 2 S mini-batches in
    flight: as many workers, and the same time for all, are a pipeline.

    Args:
        learning_rate: a number, a traced scalar or a schedule.
        stages: S, each a run of coordinates; or the stage of each leaf, `ja.problems.stage_of_leaves(params, S)`.
        anneal: updates over which the division by the delay vanishes (technique 1); None: no division.
        decay: 0 to 1 (technique 2); 0: the last update is the drift; 1, or None: no correction, u = x.
        momentum: None, or from 0 to 1.
        warmup: updates at the start that are synchronous, and neither divided nor corrected (technique 3).
        batch: micro-batches whose mean is an update.
        delays: batch * tau_s, one for each stage, in micro-batches, instead of those above.

    Source: B. Yang et al., MLSys 2021, arXiv 1910.05124; formulas from memory. Differs: the division counts delays
    below 1 as 1 and begins after the warm-up, whose updates take no longer here than others.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.fixed(1.0, num_workers=4)
        >>> schedule = ja.simulate(ja.methods.pipemare(0.1, stages=2, anneal=100), times, num_updates=9)
        >>> schedule.delay[-1].tolist()  # of the forward pass, then of the backward pass
        [3, 1, 0, 0]
    """
    delays = stage_delays(stages, delays, passes=2, ends=1)
    tau = by_stage(stages, delays) / whole("batch", batch, 1, hint=" micro-batches")
    warmup = whole("warmup", warmup, hint=" updates")
    chain = [sgd(learning_rate, momentum)]
    if anneal is not None:
        chain.append(rules.anneal_by_delay(tau, anneal, warmup))
    if decay is None:
        return assembled(stages, delays, "latest", optax.chain(*chain), batch=batch, warmup=warmup)
    share("decay", decay)
    keep = decay ** (1 / np.maximum(tau, 1e-3))  # nothing is late in a stage whose tau is 0
    chain.append(rules.follow_drift(-tau, keep, warmup))
    return assembled(
        stages, delays, "latest", optax.chain(*chain), backward=rules.look_ahead, batch=batch, warmup=warmup
    )


@published(
    "asynchronous Nesterov", papers.AJANTHAN_2025, policy="pipelined", rule="sgd, discounted_nesterov", does="sends"
)  # fmt: skip
def async_nesterov(
    learning_rate: optax.ScalarOrSchedule,
    stages: int | Sequence[int],
    momentum: float = 0.99,
    *,
    weights: str = "stashed",
    delays: Sequence[int] | None = None,
) -> Method:
    """A pipeline with Nesterov's momentum, whose gradients are made small beside the look-ahead.

        ahead_t = momentum * (x[t] - x[t-1])
        x_s[t+1] = x_s[t] + ahead_t - learning_rate * (1 - momentum) * g_s(x[t - d] + ahead_{t - d})

    and every stage is d_s = S - 1 - s updates late.

    Args:
        learning_rate: a number, a traced scalar or a schedule.
        stages, weights, delays: as in `pipedream`.
        momentum: 0 to 1, a number, a traced scalar, or a schedule.

    Source: T. Ajanthan et al., ICML 2025, arXiv 2505.01099, from memory; the paper's experiments are `async_nadam`.

    Example:
        >>> import jaxasgd as ja
        >>> ja.methods.async_nesterov(0.1, stages=4).info["momentum"]
        0.99
    """
    rule = optax.chain(optax.sgd(learning_rate), rules.discounted_nesterov(momentum))
    return assembled(stages, delays, weights, rule, rules.look_ahead)


@published("asynchronous NAdam", papers.AJANTHAN_2025, policy="pipelined", rule="")
def async_nadam(
    learning_rate: optax.ScalarOrSchedule,
    stages: int | Sequence[int],
    momentum: float = 0.99,
    decay: float = 0.999,
    *,
    weight_decay: float = 0.0,
    weights: str = "stashed",
    delays: Sequence[int] | None = None,
) -> Method:
    """A pipeline with Adam whose momentum is Nesterov's, large: what `async_nesterov` is in practice.

        m <- momentum * m + (1 - momentum) * g,     v <- decay * v + (1 - decay) * g^2
        x[t+1] = x[t] - learning_rate * (momentum * m + (1 - momentum) * g) / (sqrt(v) + 1e-8)

    with optax's bias corrections, and every stage d_s = S - 1 - s updates late. No look-ahead is sent: the parameters
    are those of after it.

    Args:
        learning_rate: a number, a traced scalar or a schedule.
        stages, weights, delays: as in `pipedream`.
        momentum, decay: 0 to 1, numbers or traced scalars.
        weight_decay: decoupled, 0 or more.

    Source: T. Ajanthan et al., ICML 2025, arXiv 2505.01099, and the script of its code (PluralisResearch/AsyncPP:
    momentum 0.99, gradients clipped to norm 10). Differs: PyTorch's NAdam lets momentum grow from half of itself.

    Example:
        >>> import jaxasgd as ja
        >>> ja.methods.async_nadam(3e-4, stages=8).policy.info["delays"]
        [7, 6, 5, 4, 3, 2, 1, 0]
    """
    share("momentum", momentum)
    share("decay", decay)
    positive("weight_decay", weight_decay)
    rule = optax.nadamw(learning_rate, momentum, decay, weight_decay=weight_decay)
    return assembled(stages, delays, weights, rule)
