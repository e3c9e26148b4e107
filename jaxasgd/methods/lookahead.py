"""Momentum that looks ahead: workers are sent where the parameters will be, and momentum does not make them stale."""

from __future__ import annotations

import optax

from .. import policies, rules, work
from ..checks import flag, positive, share
from . import papers
from .base import Method, late
from .citations import published


@published("Multi-ASGD", papers.HAKIMI_2019, policy="asgd", rule="worker_momentum, sgd")
def multi_asgd(learning_rate: optax.ScalarOrSchedule, momentum: float = 0.9) -> Method:
    """Asynchronous SGD with a momentum for every worker, at the server.

        v_i    <- momentum * v_i + g,     i the worker, g its gradient at x[t - delay_t]
        x[t+1]  = x[t] - learning_rate * v_i

    Source: I. Hakimi, S. Barkai, M. Gabel, A. Schuster, 2019, arXiv 1907.11612, where it is a baseline: it is DANA-Zero
    without looking ahead.

    Example:
        >>> import jaxasgd as ja
        >>> ja.methods.multi_asgd(0.1).info
        {'learning_rate': 0.1, 'momentum': 0.9}
    """
    share("momentum", momentum)
    rule = lambda num_workers, times: optax.chain(
        rules.worker_momentum(momentum, num_workers), optax.sgd(learning_rate)
    )
    return Method(policies.asgd(), late(rule))


@published("NAG-ASGD", papers.HAKIMI_2019, policy="asgd")
def nag_asgd(learning_rate: optax.ScalarOrSchedule, momentum: float = 0.9) -> Method:
    """Asynchronous SGD with one Nesterov momentum for the gradients of all workers; its gap grows with their number.

        v      <- momentum * v + g,     g a gradient at x[t - delay_t]
        x[t+1]  = x[t] - learning_rate * (momentum * v + g)

    Source: the baseline of I. Hakimi, S. Barkai, M. Gabel, A. Schuster, 2019, arXiv 1907.11612. It is optax's and
    PyTorch's Nesterov momentum: x is what workers are sent, learning_rate * momentum * v ahead of the parameters to
    which v itself is applied.

    Example:
        >>> import jaxasgd as ja
        >>> ja.methods.nag_asgd(0.1).name
        'NAG-ASGD'
    """
    share("momentum", momentum)
    return Method(policies.asgd(), optax.sgd(learning_rate, momentum=momentum, nesterov=True))


def dana(learning_rate, momentum, before=None, **options) -> Method:
    """A rule before the momenta of all workers, and what they will do to the parameters taken off what is sent."""
    share("momentum", momentum)
    if "rescale" in options:
        flag("rescale", options["rescale"])

    def rule(num_workers, times):
        momenta = rules.dana_momentum(learning_rate, momentum, num_workers, **options)
        return momenta if before is None else optax.chain(before, momenta)

    return Method(policies.asgd(), late(rule), send=rules.look_ahead)


@published("DANA-Zero", papers.HAKIMI_2019, policy="asgd", rule="dana_momentum", does="sends")
def dana_zero(learning_rate: optax.ScalarOrSchedule, momentum: float = 0.9, *, rescale: bool = False) -> Method:
    """Asynchronous SGD with a momentum for every worker, whose gradients are computed where all of them lead.

        v_i    <- momentum * v_i + g,     i the worker, g its gradient at what it was sent
        x[t+1]  = x[t] - learning_rate * v_i
        sent:     x[t+1] - learning_rate * momentum * sum_j v_j

    If every other worker delivers once until worker i does again, x has moved away from what i was sent by
    learning_rate times the sum of their gradients, as without momentum, and by i's own momentum, which is about to be
    applied: gradients are as stale as those of asynchronous SGD. One worker: Nesterov's method.

    Args:
        learning_rate: a number, a traced scalar or a schedule.
        momentum: a number from 0 to 1, or a traced scalar.
        rescale: momenta of steps, which keep their size when the learning rate changes (`rules.dana_momentum`).

    Source: I. Hakimi, S. Barkai, M. Gabel, A. Schuster, 2019, arXiv 1907.11612; simulation code of DANA-DC, in all
    likelihood its authors', does not rescale.

    Example:
        >>> import jax
        >>> import jaxasgd as ja
        >>> schedule = ja.simulate(ja.policies.asgd(), ja.times.gamma(1.0, num_workers=16), num_updates=4000)
        >>> loss = lambda method: ja.run(ja.problems.quadratic(10), schedule, method, key=jax.random.key(0)).loss[-1]
        >>> bool(loss(ja.methods.dana_zero(0.02)) < 1e-3), bool(loss(ja.methods.nag_asgd(0.02)) < 1e3)
        (True, False)
    """
    return dana(learning_rate, momentum, rescale=rescale)


@published("DANA-Slim", papers.HAKIMI_2019, policy="asgd")
def dana_slim(learning_rate: optax.ScalarOrSchedule, momentum: float = 0.9) -> Method:
    """DANA-Zero without tables at the server: every worker has its own momentum and puts it into what it delivers.

        worker i: v_i <- momentum * v_i + g,     g its gradient at X[t - delay_t]
        X[t+1] = X[t] - learning_rate * (momentum * v_i + g)

    While the learning rate is constant, X is what DANA-Zero sends, and the workers compute the same gradients.

    Source: I. Hakimi, S. Barkai, M. Gabel, A. Schuster, 2019, arXiv 1907.11612.

    Example:
        >>> import jaxasgd as ja
        >>> ja.methods.dana_slim(0.1).send is None
        True
    """
    return Method(policies.asgd(), optax.sgd(learning_rate), work=work.nesterov(momentum))


@published(
    "DANA-DC",
    papers.HAKIMI_2019,
    papers.ZHENG_2017,
    policy="asgd",
    rule="compensate_delay, dana_momentum",
    does="compensates sends",
)
def dana_dc(
    learning_rate: optax.ScalarOrSchedule, momentum: float = 0.9, strength: float = 2.0, *, rescale: bool = False
) -> Method:
    """DANA-Zero, whose gradients are corrected for how far the parameters are from what their worker was sent.

        g      <- g + strength * g * g * (x[t] - sent_i),     i the worker, g its gradient at sent_i
        v_i    <- momentum * v_i + g
        x[t+1]  = x[t] - learning_rate * v_i
        sent:     x[t+1] - learning_rate * momentum * sum_j v_j

    Args:
        learning_rate: a number, a traced scalar or a schedule.
        momentum: a number from 0 to 1, or a traced scalar.
        strength: a number or a traced scalar; 0 is DANA-Zero.
        rescale: as in `dana_zero`.

    Source: I. Hakimi, S. Barkai, M. Gabel, A. Schuster, 2019, arXiv 1907.11612, after simulation code that in all
    likelihood is its authors'. Its strength is 2; a weight decay comes after the correction there.

    Example:
        >>> import jaxasgd as ja
        >>> ja.methods.dana_dc(0.1).info["strength"]
        2.0
    """
    return dana(learning_rate, momentum, rules.compensate_delay(strength), rescale=rescale)


@published(
    "DANA-Gap-Aware",
    papers.BARKAI_2020,
    papers.HAKIMI_2019,
    policy="asgd",
    rule="dana_momentum",
    does="compensates sends",
)
def dana_ga(learning_rate: optax.ScalarOrSchedule, momentum: float = 0.9, *, largest: float | None = None) -> Method:
    """DANA-Zero, with every coordinate of a gradient divided by how many steps it is behind.

        v_i    <- momentum * v_i + g / (1 + |x[t] - sent_i| / C),     i the worker, g its gradient at sent_i
        x[t+1]  = x[t] - learning_rate * v_i
        sent:     x[t+1] - learning_rate * momentum * sum_j v_j

    C, per coordinate, is learning_rate times the root of a running average of v_i^2, of the workers that deliver and
    before they do: see `rules.gap_aware`.

    Args:
        learning_rate: a number, a traced scalar, or a schedule together with `largest`.
        momentum: a number from 0 to 1, or a traced scalar.
        largest: the largest value of a learning-rate schedule.

    Source: S. Barkai, I. Hakimi, A. Schuster, ICLR 2020, arXiv 1909.10802, which combines the two; that C comes from
    the momenta of the workers is ours, its listing was not at hand.

    Example:
        >>> import jaxasgd as ja
        >>> ja.methods.dana_ga(0.1).name
        'DANA-Gap-Aware'
    """
    if callable(learning_rate) and largest is None:
        raise ValueError("dana_ga takes the learning rate as a number, or with largest= the largest of your schedule.")
    if largest is not None:
        positive("largest", largest)
    return dana(learning_rate, momentum, gap=True, largest=largest)


@published("SMEGA2", papers.COHEN_2022, policy="asgd", rule="cycle_momentum", does="sends")
def smega2(
    learning_rate: optax.ScalarOrSchedule, momentum: float = 0.9, *, cycle: int | None = None, advanced: bool = True
) -> Method:
    """Asynchronous SGD with one momentum, which changes once in n gradients, and looks n updates ahead.

        x[t+1] = x[t] - learning_rate * (g + momentum * m),     g a gradient at what its worker was sent
        every n gradients: m <- momentum * m + their mean
        sent:    x[t+1] - learning_rate * momentum * ((n + s * (momentum - 1)) * m + (s / n) * gathered)

    s gradients of this cycle have been gathered. One worker: Nesterov's method.

    Args:
        learning_rate: a number, a traced scalar or a schedule.
        momentum: a number from 0 to 1, or a traced scalar.
        cycle: n, a whole number; None is the number of workers.
        advanced: False looks ahead as if m stayed what it is.

    Source: R. Cohen, I. Hakimi, A. Schuster, ICPP 2022, after its code, rafi-cohen/SMEGA2.

    Example:
        >>> import jaxasgd as ja
        >>> ja.methods.smega2(0.1).info
        {'learning_rate': 0.1, 'momentum': 0.9, 'cycle': None, 'advanced': True}
    """
    make = lambda n: rules.cycle_momentum(learning_rate, momentum, n, advanced=advanced)
    make(1 if cycle is None else cycle)  # what is wrong is said at once
    rule = late(lambda num_workers, times: make(num_workers if cycle is None else cycle))
    return Method(policies.asgd(), rule, send=rules.look_ahead)
