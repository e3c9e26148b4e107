"""Local steps: workers run an optimizer of their own, and the server's takes how far they came for a gradient."""

from __future__ import annotations

from collections.abc import Sequence

import optax

from .. import policies, rules
from ..checks import flag, many, share, shown, whole, word
from ..work import local_steps, steps_by_speed
from . import papers
from .base import Late, Method, late, sgd
from .citations import published
from .federated import check_rate

INNER = {"adamw": optax.adamw, "sgd": optax.sgd}


def jobs(inner_learning_rate, steps, inner, keep, dylu=False):
    """What a worker computes: steps of the inner optimizer, fewer of them on slow workers with `dylu`."""
    check_rate("inner_learning_rate", inner_learning_rate)
    if not (callable(inner) or (isinstance(inner, str) and inner in INNER)):
        raise ValueError(
            f'inner is "adamw", "sgd", or a function of the learning rate that makes an optax transformation, '
            f"optax.lion for one; got {shown(inner)}."
        )
    optimizer = INNER.get(inner, inner)(inner_learning_rate)
    keep = flag("keep", keep)
    if flag("dylu", dylu):
        work = lambda num_workers, times: local_steps(steps_by_speed(steps, times.mean), optimizer, keep=keep)
        return Late(work, "the workers' mean seconds")
    return local_steps(steps, optimizer, keep=keep)


@published("DiLoCo", papers.DOUILLARD_2023, policy="synchronous", does="blocks aggregates")
def diloco(
    learning_rate: optax.ScalarOrSchedule,
    inner_learning_rate: optax.ScalarOrSchedule,
    steps: int,
    momentum: float = 0.9,
    *,
    inner: str = "adamw",
    keep: bool = True,
) -> Method:
    """Rounds of many local steps of AdamW, whose mean change is the gradient of Nesterov's momentum.

        y_i = x[t] after `steps` steps of the inner optimizer,     d = (1/n) sum_i (x[t] - y_i)
        v <- momentum * v + d;     x[t+1] = x[t] - learning_rate * (momentum * v + d)

    Args:
        learning_rate: the outer one; 0.7 in the paper.
        inner_learning_rate: the workers', a number or a traced scalar, or a schedule (over each worker's steps with
            `keep`; anew with each job without).
        steps: H, local steps of a round; 500 in the paper.
        momentum: the outer one; 0 is FedAvg with an inner optimizer.
        inner: "adamw", "sgd", or a function of the learning rate that makes an optax transformation.
        keep: workers keep the state of their inner optimizer from round to round.

    Source: A. Douillard et al., 2023, arXiv 2311.08105, Alg. 1 (from memory, as is that workers keep their state).

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.fixed([1.0, 2.0])
        >>> ja.simulate(ja.methods.diloco(0.7, 1e-3, steps=50), times, num_updates=3).end
        300.0
    """
    work = jobs(inner_learning_rate, steps, inner, keep)
    return Method(policies.synchronous(), sgd(learning_rate, momentum, nesterov=True), work=work)


@published("asynchronous DiLoCo", papers.LIU_2024, policy="asgd", rule="delayed_nesterov, sgd")
def async_diloco(
    learning_rate: optax.ScalarOrSchedule,
    inner_learning_rate: optax.ScalarOrSchedule,
    steps: int,
    momentum: float = 0.9,
    buffer: int | None = None,
    activation: float = 0.0,
    *,
    outer: str = "delayed_nesterov",
    inner: str = "adamw",
    keep: bool = False,
    dylu: bool = False,
) -> Method:
    """Asynchronous local SGD: every worker's change is an update when it arrives, with delayed Nesterov momentum.

        d = x[read] - y,     y = x[read] after steps_i steps of the inner optimizer
        total <- total + d
        at every `buffer`-th update:  v <- momentum * v + total / buffer;   total <- 0
                                      x <- x - learning_rate * (momentum * v + d / buffer)
        at the others:                x <- x - learning_rate * d / buffer

    (with `activation` c = 0; see `ja.rules.delayed_nesterov`.)

    Args:
        learning_rate: the outer one. A change moves the parameters by learning_rate / buffer of itself at once, and by
            learning_rate / (buffer * (1 - momentum)) in the end; with outer="sgd" by learning_rate.
        inner_learning_rate, inner, keep: as in `diloco`. The authors' toy makes a new inner optimizer for each job, and
            lets its learning rate go on with the shard of data.
        steps: H, local steps of a job; with `dylu` those of the fastest worker.
        momentum: the outer one.
        buffer: N, updates in a velocity; None: as many as workers.
        activation: c, 0 to 1 / buffer.
        outer: "delayed_nesterov"; or, as baselines, "nesterov" at every arrival, or "sgd".
        dylu: dynamic local updates, steps_i = max(1, floor(steps * v_i / max_j v_j)), v the speeds by the clock's
            means: all jobs take about as long.

    Source: B. Liu et al., 2024, arXiv 2401.09135; delayed Nesterov in the form of the code of HALoS. Differs from the
    paper: shards of data belong to workers; and what arrives within half a second is not treated as one.

    Example:
        >>> import jaxasgd as ja
        >>> method, times = ja.methods.async_diloco(0.7, 1e-3, steps=60, dylu=True), ja.times.fixed([1.0, 2.0, 5.0])
        >>> schedule = ja.simulate(method, times, num_updates=6)
        >>> schedule.worker.tolist(), schedule.size.tolist()
        ([0, 1, 2, 0, 1, 2], [60, 30, 12, 60, 30, 12])
    """
    buffer = None if buffer is None else whole("buffer", buffer, 1, hint=" updates in a velocity")
    share("momentum", momentum)
    share("activation", activation)
    outers = {
        "delayed_nesterov": lambda n: optax.chain(
            rules.delayed_nesterov(momentum, n if buffer is None else buffer, activation), optax.sgd(learning_rate)
        ),
        "nesterov": lambda n: sgd(learning_rate, momentum, nesterov=True),
        "sgd": lambda n: optax.sgd(learning_rate),
    }
    make = outers[word("outer", outer, *outers)]
    make(1)  # says what is wrong before anything is bound
    work = jobs(inner_learning_rate, steps, inner, keep, dylu)
    return Method(policies.asgd(), late(lambda num_workers, times: make(num_workers)), work=work)


@published("HALoS", papers.KIM_2025, policy="asgd", rule="merge_regions, delayed_nesterov, sgd", does="sends")
def halos(
    learning_rate: optax.ScalarOrSchedule,
    inner_learning_rate: optax.ScalarOrSchedule,
    steps: int,
    regions: int | Sequence[int] = 4,
    period: int = 32,
    mixing: float = 0.25,
    momentum: float = 0.5,
    buffer: int = 2,
    local_learning_rate: optax.ScalarOrSchedule = 3.2,
    local_momentum: float = 0.9,
    local_buffer: int = 16,
    *,
    inner: str = "adamw",
    keep: bool = True,
    dylu: bool = False,
) -> Method:
    """HALoS: asynchronous DiLoCo around a server in each region, and around a global one for the regions.

        d = m[read] - y,     y = m[read] after steps_i steps of the inner optimizer, m the model of the worker's region
        m <- m - local_learning_rate * (delayed Nesterov of the region's d)
        and after every `period` of them, x being the global model, p the region's model after the merge before:
        x <- x - learning_rate * (delayed Nesterov of the pushes p - m);     m <- (1 - mixing) * m + mixing * x

    The parameters of a run are x, and every worker's arrival is an update: most leave x as it is. Delays count all.

    Args:
        learning_rate, momentum, buffer: of the global server. A push moves x by learning_rate / buffer at once.
        inner_learning_rate, steps, inner, dylu: as in `async_diloco`.
        regions: how many, workers being dealt to them in order and as evenly as can be; or the region of each worker.
        period: K, arrivals at a region between its pushes.
        mixing: alpha, 0 to 1, the share of the global model in a merge.
        local_learning_rate, local_momentum, local_buffer: of the regions' servers.
        keep: workers keep the state of their inner optimizer, as in the authors' code.

    Source: G.-W. Kim et al., ICML 2025, arXiv 2506.04531. The formulas and defaults are those of the authors' code
    (utnslab/halos: its scripts give learning rates per change, 0.15 and 0.2, and multiply them by the buffer; a global
    learning rate of 0.3 is theirs). Differs: messages between servers take no time, so that push and merge are one
    event with the arrival, and the worker is handed the merged model; the code rounds local steps up.

    Example:
        >>> import jax
        >>> import jaxasgd as ja
        >>> method = ja.methods.halos(0.3, 1e-2, steps=8, regions=2, period=4)
        >>> schedule = ja.simulate(method, ja.times.exponential(1.0, num_workers=4), num_updates=100)
        >>> history = ja.run(ja.problems.quadratic(dim=3), schedule, method, key=jax.random.key(0), evaluate=1)
        >>> len(set(history.loss.tolist()))  # 1 + a push for every fourth arrival at a region
        26
    """
    nesterov = lambda rate, beta, number: optax.chain(rules.delayed_nesterov(beta, number), optax.sgd(rate))
    check_rate("local_learning_rate", local_learning_rate)
    share("local_momentum", local_momentum)
    local = nesterov(local_learning_rate, local_momentum, whole("local_buffer", local_buffer, 1))
    outer = nesterov(learning_rate, momentum, whole("buffer", buffer, 1))
    make = lambda places: rules.merge_regions(places, local, outer, period=period, mixing=mixing)
    if many(regions):
        regions = tuple(regions)
        make(regions)  # says what is wrong before anything is bound
    else:
        regions = whole("regions", regions, 1, hint=", or the region of each worker")
        make((0,))

    def rule(num_workers, times):
        number = len(regions) if isinstance(regions, tuple) else regions
        if number > num_workers if isinstance(regions, int) else number != num_workers:
            raise ValueError(
                f"regions is the region of each of the {num_workers} workers, or a number, {num_workers} at most; got "
                f"{shown(regions)}."
            )
        return make(regions if isinstance(regions, tuple) else [i * number // num_workers for i in range(num_workers)])

    work = jobs(inner_learning_rate, steps, inner, keep, dylu)
    return Method(policies.asgd(), late(rule), work=work, send=send_reply, private=True)


def send_reply(params, rule_state, worker_state):
    """The model of the region that was served last."""
    return rule_state.reply
