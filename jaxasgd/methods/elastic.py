"""Elastic averaging: workers' own replicas, tied to the server's centre."""

from __future__ import annotations

import optax

from .. import policies, rules
from ..checks import positive, whole
from ..work import elastic_rounds, elastic_steps
from . import papers
from .base import Method, late
from .citations import published


def elastic(learning_rate, beta, period, momentum) -> Method:
    positive("beta", beta)
    return Method(
        policies.asgd(),
        late(lambda num_workers, times: rules.elastic_average(beta / num_workers)),
        work=elastic_steps(whole("period", period, 1, hint=" local steps"), optax.sgd(learning_rate), momentum),
        send=send_replica,
        private=True,
    )


def send_replica(params, rule_state, worker_state):
    """The replica that was served last, and its pull."""
    return rule_state


@published("EASGD", papers.ZHANG_2015, policy="asgd", rule="elastic_average", does="compensates sends")
def easgd(learning_rate: optax.ScalarOrSchedule, beta: float = 0.9, period: int = 10) -> Method:
    """Asynchronous elastic averaging: every worker trains its own replica x_i, and now and then meets the centre x.

        before every `period`-th step of worker i:   e = alpha * (x_i - x);     x <- x + e,     alpha = beta / n
        the step:                                    x_i <- x_i - learning_rate * g(x_i) - e
        its other steps:                             x_i <- x_i - learning_rate * g(x_i)

    The gradient of the step is that at x_i before the exchange, as in the paper: gradient and exchange are two forces
    at one point. Where workers take turns, `period` is 1 and f(x) = lambda x^2 / 2, with h = learning_rate * lambda, it
    is stable for 0 <= h <= 2 and 0 <= alpha <= (4 - 2 h) / (4 - h), whatever n; for odd n for no greater alpha.

    Args:
        learning_rate: eta, a number, a traced scalar, or a schedule over each worker's own steps.
        beta: n * alpha, alpha = eta * rho being the share of the distance that replica and centre move towards each
            other. 0.9 in the paper; 0: n independent runs of SGD, and a centre that stays where it is.
        period: tau, steps of a worker between exchanges, 1 or more; 1, 4, 16, 64 in the paper.

    An update is an exchange: of a job's end and the start of the next, which take no time. A worker starts from its own
    replica: `delay` is how many exchanges other workers have had with the centre since its last.

    Source: S. Zhang, A. Choromanska, Y. LeCun, NIPS 2015, arXiv 1412.6651, Alg. 1 (from memory), in the order of the
    authors' code (sixin-zh/mpiT: fetch x, form e, send e, make the step, then subtract e).

    Example:
        >>> import jax
        >>> import jaxasgd as ja
        >>> method, times = ja.methods.easgd(0.1, period=5), ja.times.exponential(1.0, num_workers=4)
        >>> schedule = ja.simulate(method, times, num_updates=200)
        >>> history = ja.run(ja.problems.quadratic(dim=3), schedule, method, key=jax.random.key(0))
        >>> int(schedule.size[0]), bool(history.loss[-1] < 0.01 * history.loss[0])
        (5, True)
    """
    return elastic(learning_rate, beta, period, None)


@published("EAMSGD", papers.ZHANG_2015, policy="asgd", rule="elastic_average", does="compensates sends")
def eamsgd(
    learning_rate: optax.ScalarOrSchedule, momentum: float = 0.99, beta: float = 0.9, period: int = 10
) -> Method:
    """Elastic averaging with Nesterov's momentum on the workers.

        before every `period`-th step of worker i:   e = alpha * (x_i - x);     x <- x + e,     alpha = beta / n
        every step:                                  v_i <- momentum * v_i - learning_rate * g(x_i + momentum * v_i)
                                                     x_i <- x_i + v_i           (and - e, where there is one)

    Replicas and velocities never leave their workers' hands; the exchange does not touch the velocity.

    Args:
        learning_rate: eta, a number, a traced scalar, or a schedule over each worker's own steps.
        momentum: delta, 0 to 1; 0.99 in the paper (as other texts have it). 0 is `easgd`.
        beta, period: as in `easgd`.

    Source: S. Zhang, A. Choromanska, Y. LeCun, NIPS 2015, arXiv 1412.6651, Alg. 2 (from memory), after the authors'
    code (sixin-zh/mpiT).

    Example:
        >>> import jaxasgd as ja
        >>> ja.methods.eamsgd(0.01).info
        {'learning_rate': 0.01, 'momentum': 0.99, 'beta': 0.9, 'period': 10}
    """
    return elastic(learning_rate, beta, period, momentum)


@published("synchronous EASGD", papers.ZHANG_2015, policy="synchronous", does="blocks aggregates")
def sync_easgd(
    learning_rate: optax.ScalarOrSchedule, beta: float = 0.9, period: int = 1, momentum: float | None = None
) -> Method:
    """Elastic averaging in rounds: all replicas and the centre move at the same time, each by the others of before.

        x_i[t+1] = x_i[t] - learning_rate * g(x_i[t]) - alpha * (x_i[t] - x[t]),     alpha = beta / n
        x[t+1]   = (1 - beta) x[t] + beta (1/n) sum_i x_i[t]

    With `period` > 1 the pulls are those of the first step of a round, and the centre moves with them only.

    Args:
        learning_rate: eta, a number, a traced scalar, or a schedule over each worker's own steps.
        beta: n * alpha.
        period: steps in a round.
        momentum: None, or delta: v_i as in `eamsgd`.

    The centre of a round is known at its end, though only the replicas of its start enter: x lags behind by a round.

    Source: S. Zhang, A. Choromanska, Y. LeCun, NIPS 2015, arXiv 1412.6651 (synchronous EASGD; from memory).

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.fixed([1.0, 2.0])
        >>> ja.simulate(ja.methods.sync_easgd(0.1, period=5), times, num_updates=3).end
        30.0
    """
    positive("beta", beta)
    period = whole("period", period, 1, hint=" local steps")
    make = lambda n: elastic_rounds(period, optax.sgd(learning_rate), beta / n, momentum)
    make(1)  # says what is wrong before anything is bound
    return Method(policies.synchronous(), optax.sgd(beta), work=late(lambda num_workers, times: make(num_workers)))
