"""Federated averaging: clients make steps of their own, and the server averages or mixes where they came to."""

from __future__ import annotations

import math

import optax

from .. import policies, rules
from ..checks import positive, scalar, share, whole, word
from ..work import Work, gradient, local_steps
from . import papers
from .base import Method, late
from .citations import published


def check_rate(name, value):
    """A learning rate other than the first: a number, a tracer or a schedule."""
    if not callable(value):
        scalar(name, value, "a finite number, 0 or more, or an optax schedule", lambda number: 0 <= number < math.inf)
    return value


def client(learning_rate, steps, proximal) -> Work:
    """Steps of SGD, with a proximal term; one step is a gradient, and its learning rate is the server's business."""
    positive("proximal", proximal)
    if whole("steps", steps, 1, hint=" local steps") == 1:  # the term's gradient is 0 at what was read
        return gradient()
    optimizer = optax.chain(rules.stay_near(proximal), optax.sgd(learning_rate))
    return local_steps(steps, optimizer, keep=callable(learning_rate))


def averaging(server_learning_rate, learning_rate, work):
    """The server's rule for the mean of changes, or of gradients."""
    if work.size > 1:
        return optax.sgd(server_learning_rate)
    if callable(learning_rate) or callable(server_learning_rate):
        return optax.chain(
            optax.sgd(learning_rate), optax.scale_by_learning_rate(server_learning_rate, flip_sign=False)
        )
    return optax.sgd(learning_rate * server_learning_rate)


@published(
    "FedAvg", papers.MCMAHAN_2017, papers.STICH_2019, papers.LI_2020, policy="buffered", does="blocks aggregates"
)
def fedavg(
    learning_rate: optax.ScalarOrSchedule,
    steps: int,
    clients: int | None = None,
    *,
    server_learning_rate: optax.ScalarOrSchedule = 1.0,
    proximal: float = 0.0,
) -> Method:
    """Local SGD in rounds: clients make `steps` steps from the server's model, which then moves to their mean.

        y_i = x[t] after `steps` of y <- y - learning_rate * (g_i(y) + proximal * (y - x[t]))
        x[t+1] = x[t] - server_learning_rate * (1/C) sum_{i in S_t} (x[t] - y_i),     |S_t| = C

    With one step it is synchronous SGD with learning rate learning_rate * server_learning_rate.

    Args:
        learning_rate: the clients'. A schedule counts updates with one step, else each client's own steps.
        steps: H, local steps of a job.
        clients: C, how many take part in a round, drawn uniformly; None: all (local SGD).
        server_learning_rate: 1 averages the models; a number, a traced scalar or a schedule.
        proximal: rho >= 0, mu in FedProx; 0: none.

    Source: H. B. McMahan et al., AISTATS 2017, arXiv 1602.05629; local SGD: S. Stich, ICLR 2019, arXiv 1805.09767; the
    proximal term: T. Li et al., MLSys 2020, arXiv 1812.06127. Differs from FedAvg: jobs have a number of steps, not of
    epochs, and clients count alike, not by their data.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.fixed([1.0, 1.0, 3.0])
        >>> schedule = ja.simulate(ja.methods.fedavg(0.1, steps=5), times, num_updates=2)
        >>> schedule.size.tolist(), schedule.end
        ([5, 5, 5, 5, 5, 5], 30.0)
    """
    check_rate("server_learning_rate", server_learning_rate)
    work = client(learning_rate, steps, proximal)
    server = averaging(server_learning_rate, learning_rate, work)
    if clients is None:
        policy = late(lambda num_workers, times: policies.buffered(num_workers, hold=True))
    else:
        clients = whole("clients", clients, 1, hint=" in a round")
        policy = policies.buffered(clients, hold=True, order="idle", concurrency=clients)
    return Method(policy, server, work=work)


@published(
    "FedBuff", papers.NGUYEN_2022, policy="buffered", rule="sgd", arrival="scale_by_delay", does="rescales aggregates"
)
def fedbuff(
    learning_rate: optax.ScalarOrSchedule,
    batch: int = 10,
    power: float = 0.5,
    steps: int = 1,
    *,
    server_learning_rate: optax.ScalarOrSchedule = 1.0,
    proximal: float = 0.0,
    concurrency: int | None = None,
    order: str = "idle",
) -> Method:
    """FedBuff: an update of the changes of `batch` clients, each scaled down by its delay.

        y_k = x[t - delay_k] after `steps` of y <- y - learning_rate * g(y)
        x[t+1] = x[t] - server_learning_rate * (1/batch) sum_{k=1}^batch (1 + delay_k)^(-power) (x[t - delay_k] - y_k)

    The sum is divided by `batch`, not by the sum of the weights: old changes make the step smaller. With one step a
    change is learning_rate * g(x[t - delay_k]).

    Args:
        learning_rate: the clients', eta_l in the paper; a schedule as in `fedavg`.
        batch: clients in an update, K in the paper.
        power: of the delay; 0 weighs all alike.
        steps: local steps of a job, Q in the paper.
        server_learning_rate: eta_g in the paper; a number, a traced scalar or a schedule.
        proximal: as in `fedavg`.
        concurrency: clients at work at a time; None: all, who then go on at once.
        order: with concurrency, who gets the next job: "idle", a random one of those who do nothing; "random", anyone.

    Source: J. Nguyen et al., AISTATS 2022, arXiv 2106.06639, Alg. 1. Differs from the authors' code (FLSim), which
    divides by the weight of an average delay, so that its fresh changes weigh more than 1, and leaves 1/batch to the
    server's learning rate.

    Example:
        >>> import jaxasgd as ja
        >>> method, times = ja.methods.fedbuff(0.1, concurrency=50), ja.times.exponential(1.0, num_workers=1000)
        >>> round(ja.simulate(method, times, num_updates=2000).mean_delay, 1)  # (50 - 1) / 10
        4.9
    """
    check_rate("server_learning_rate", server_learning_rate)
    work = client(learning_rate, steps, proximal)
    server = averaging(server_learning_rate, learning_rate, work)
    policy = policies.buffered(batch, order=order, concurrency=concurrency)
    return Method(policy, server, arrival=rules.scale_by_delay(power), work=work)


@published(
    "FedAsync", papers.XIE_2019, policy="asgd", rule="sgd, mix_models, scale_by_delay", does="rescales compensates"
)
def fedasync(
    learning_rate: optax.ScalarOrSchedule,
    mixing: float = 0.6,
    power: float = 0.5,
    slope: float = 10.0,
    bound: float = 4.0,
    steps: int = 1,
    *,
    staleness: str = "polynomial",
    form: str = "mixing",
    proximal: float = 0.0,
) -> Method:
    """FedAsync: the server's model is mixed with every worker's, the less the older that is.

        y = x[read] after `steps` of y <- y - learning_rate * (g(y) + proximal * (y - x[read]))
        x[t+1] = (1 - a) x[t] + a y,     a = mixing * s(delay_t)

    Args:
        learning_rate: of the worker's steps; a schedule as in `fedavg`.
        mixing: the share of a fresh model.
        power: of the polynomial s, (1 + delay)^(-power).
        slope, bound: of the hinge s: 1 up to a delay of `bound`, then 1 / (slope * (delay - bound) + 1).
        steps: local steps of a job.
        staleness: "polynomial", "hinge", or "constant" (s = 1).
        form: "mixing", the paper's, which also undoes a share of what others did since the read; "delta" adds the
            worker's change only, x[t+1] = x[t] + a * (y - x[read]), and is asynchronous SGD with learning rate
            a * learning_rate where steps = 1.
        proximal: rho >= 0, that keeps the worker near what it read; of no effect on one step. 0.005 in the paper's
            experiments (as other texts have it).

    Source: C. Xie, S. Koyejo, I. Gupta, 2019, arXiv 1903.03934, Alg. 1. Differs from the paper: every worker goes on at
    once, and makes as many steps as all others.

    Example:
        >>> import jaxasgd as ja
        >>> ja.methods.fedasync(0.1, staleness="constant", form="delta").info["form"]
        'delta'
    """
    word("form", form, "mixing", "delta")
    share("mixing", mixing)
    work = client(learning_rate, steps, proximal)
    change = optax.sgd(learning_rate) if work.size == 1 else optax.scale(-1.0)
    move = rules.mix_models(mixing) if form == "mixing" else optax.scale(mixing)
    scales = {
        "constant": optax.identity(),
        "polynomial": rules.scale_by_delay(power),
        "hinge": rules.scale_by_hinge(slope, bound),
    }
    scale = scales[word("staleness", staleness, *scales)]
    return Method(policies.asgd(), optax.chain(change, move, scale), work=work)
