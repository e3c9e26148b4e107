"""Pipelines that predict: momentum says where the weights of a stage will be when its gradient is applied."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
import optax

from .. import rules
from ..checks import flag, scalar, share, shown
from ..policies.pipelines import stage_delays, stage_numbers
from . import papers
from .base import Method
from .citations import published
from .pipelines import assembled, by_stage


@published(
    "pipelined backpropagation with spike compensation and linear weight prediction",
    papers.KOSSON_2021,
    policy="pipelined",
    rule="tell_delays, spike_compensation, sgd, follow_drift",
    does="sends",
)
def pipelined_backprop(
    learning_rate: optax.ScalarOrSchedule,
    stages: int | Sequence[int],
    momentum: float = 0.9,
    *,
    spikes: bool = True,
    prediction: str = "velocity",
    horizon: float = 1.0,
    weights: str = "stashed",
    delays: Sequence[int] | None = None,
) -> Method:
    """A pipeline with momentum: gradients make up for what they missed, at weights as they are predicted to be.

        g_s    = the gradient of stage s at  x[t - D_s] - learning_rate * T_s * v[t - D_s],     T_s = horizon * D_s
        v_s    <- momentum * v_s + g_s
        x_s[t+1] = x_s[t] - learning_rate * (momentum^D_s * v_s + (1 + momentum + ... + momentum^(D_s - 1)) * g_s)
        D_s    = 2 (S - 1 - s)

    There are up to 2 S - 1 mini-batches in flight: as many workers, and the same time for all, are a pipeline.

    Args:
        learning_rate: a number, a traced scalar or a schedule.
        stages: S, each a run of coordinates; or the stage of each leaf, `ja.problems.stage_of_leaves(params, S)`.
        momentum: from 0 to 1, a number or a traced scalar.
        spikes: spike compensation, as above; False is momentum, x <- x - learning_rate * v.
        prediction: "velocity", as above; "weights": x + T_s * (x[t] - x[t-1]) is sent (the same but for a changing
            learning rate, without spike compensation); None: x itself.
        horizon: T_s / D_s, a number or a traced scalar; the paper tries 2 too.
        weights: "stashed": both passes use what was predicted for the forward pass; "latest": the backward pass uses
            the current weights, as in the paper (for problems in stages, `ja.problems.staged`).
        delays: D_s, one for each stage, in mini-batches, instead of those above.

    Source: A. Kosson, V. Chiley, A. Venigalla, J. Hestness, U. Koster, MLSys 2021, arXiv 2003.11666: both together are
    what works best there. Formulas from memory. SpecTrain (C.-C. Chen et al., 2018, arXiv 1809.02839) predicts from the
    velocity too, for the backward passes as well.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.fixed(1.0, num_workers=5)
        >>> ja.simulate(ja.methods.pipelined_backprop(0.1, stages=3), times, num_updates=9).delay[-1].tolist()
        [4, 2, 0]
    """
    if not (prediction is None or (isinstance(prediction, str) and prediction in ("velocity", "weights"))):
        raise ValueError(f'prediction is "velocity", "weights" or None; got {shown(prediction)}.')
    share("momentum", momentum)
    scalar("horizon", horizon)
    delays = stage_delays(stages, delays, passes=2)
    late = by_stage(stages, delays)
    chain = [optax.sgd(learning_rate, momentum)]
    if flag("spikes", spikes):
        compensated = rules.tell_delays(rules.spike_compensation(momentum), late)
        chain = [compensated, optax.sgd(learning_rate)]
    send = None
    if prediction == "velocity":
        send = rules.look_along(learning_rate, horizon * late)
    elif prediction == "weights":
        send = rules.look_ahead
        chain.append(rules.follow_drift(horizon * late))
    return assembled(stages, delays, weights, optax.chain(*chain), send)


@published(
    "multi-step Nesterov prediction",
    papers.ELIAD_2021,
    policy="pipelined",
    does="sends",
)
def msnag(
    learning_rate: optax.ScalarOrSchedule,
    stages: int | Sequence[int],
    momentum: float = 0.9,
    *,
    weights: str = "stashed",
    delays: Sequence[int] | None = None,
) -> Method:
    """A pipeline with momentum, whose gradients are computed where momentum alone will have taken the weights.

        sent_s = x_s - learning_rate * (momentum + momentum^2 + ... + momentum^d_s) * v_s
        v_s    <- momentum * v_s + g_s(sent[t - d]);     x_s[t+1] = x_s[t] - learning_rate * v_s
        d_s    = S - 1 - s

    It is Nesterov's look-ahead where d_s is 1, and exact where the gradients in between are 0.

    Args:
        learning_rate: a number, a traced scalar or a schedule.
        stages, weights, delays: as in `pipedream`.
        momentum: from 0 to 1, a number or a traced scalar.

    Source: S. Eliad et al., USENIX ATC 2021, after its code (saareliad/FTPipe; SGD without weight decay).

    Example:
        >>> import jaxasgd as ja
        >>> ja.methods.msnag(0.1, stages=4).policy.info["delays"]
        [3, 2, 1, 0]
    """
    share("momentum", momentum)
    delays = stage_delays(stages, delays)
    powers = momentum ** np.arange(1.0, max(delays) + 1)
    sums = jnp.concatenate([jnp.zeros(1, jnp.result_type(powers, float)), jnp.cumsum(powers)])
    steps = sums[np.array(delays)[stage_numbers(stages)[1]]]
    return assembled(
        stages, delays, weights, optax.sgd(learning_rate, momentum), rules.look_along(learning_rate, steps)
    )
