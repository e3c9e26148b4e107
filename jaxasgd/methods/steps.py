"""Step sizes: asynchronous SGD whose steps depend on the delay, on the worker, or on what came before."""

from __future__ import annotations

import numpy as np
import optax
from numpy.typing import ArrayLike

from .. import policies, rules
from ..checks import flag, known, positive, shown, word
from . import papers
from .base import Late, Method
from .citations import published


@published("asynchronous SGD", papers.DEAN_2012, papers.AGARWAL_2011, policy="asgd")
def asgd(learning_rate: optax.ScalarOrSchedule) -> Method:
    """Asynchronous SGD: apply every gradient when it arrives, however stale.

        x[t+1] = x[t] - learning_rate * g(x[t - delay_t])

    Source: J. Dean et al., NIPS 2012, "Large Scale Distributed Deep Networks" (Downpour SGD, n_fetch = n_push = 1).

    Example:
        >>> import jaxasgd as ja
        >>> ja.simulate(ja.methods.asgd(0.1), ja.times.fixed(1.0, num_workers=4), num_updates=5).delay.tolist()
        [0, 1, 2, 3, 3]
    """
    return Method(policies.asgd(), optax.sgd(learning_rate))


@published(
    "asynchronous SGD, polynomial step", papers.XIE_2019, policy="asgd", rule="scale_by_delay, sgd", does="rescales"
)
def polynomial_asgd(learning_rate: optax.ScalarOrSchedule, power: float = 0.5) -> Method:
    """Asynchronous SGD whose step shrinks with a power of the delay.

        x[t+1] = x[t] - learning_rate * (1 + delay_t)^(-power) * g(x[t - delay_t])

    Source: the weight of C. Xie, S. Koyejo, I. Gupta, 2019, arXiv 1903.03934, on gradients.

    Example:
        >>> import jaxasgd as ja
        >>> ja.methods.polynomial_asgd(0.1, power=0.5).name
        'asynchronous SGD, polynomial step'
    """
    return Method(policies.asgd(), optax.chain(rules.scale_by_delay(power), optax.sgd(learning_rate)))


@published("asynchronous SGD, hinge step", papers.XIE_2019, policy="asgd", rule="scale_by_hinge, sgd", does="rescales")
def hinge_asgd(learning_rate: optax.ScalarOrSchedule, slope: float = 10.0, bound: float = 4.0) -> Method:
    """Asynchronous SGD whose step shrinks from a delay of `bound` on.

        x[t+1] = x[t] - learning_rate * min(1, 1 / (slope * (delay_t - bound) + 1)) * g(x[t - delay_t])

    (1 where delay_t <= bound.)

    Source: the hinge weight of C. Xie, S. Koyejo, I. Gupta, 2019, arXiv 1903.03934, on gradients.

    Example:
        >>> import jaxasgd as ja
        >>> ja.methods.hinge_asgd(0.1).info
        {'learning_rate': 0.1, 'slope': 10.0, 'bound': 4.0}
    """
    return Method(policies.asgd(), optax.chain(rules.scale_by_hinge(slope, bound), optax.sgd(learning_rate)))


@published(
    "delay-adaptive ASGD",
    papers.MISHCHENKO_2022,
    policy="asgd",
    rule="scale_by_concurrency, sgd",
    does="rescales",
)
def delay_adaptive_asgd(learning_rate: optax.ScalarOrSchedule, *, concurrency: int | None = None) -> Method:
    """Asynchronous SGD whose step shrinks where the delay exceeds the number of workers.

        x[t+1] = x[t] - learning_rate * n / max(n, delay_t) * g(x[t - delay_t])

    Args:
        learning_rate: a number, a traced scalar or a schedule.
        concurrency: n; None is the number of workers.

    Source: K. Mishchenko, F. Bach, M. Even, B. Woodworth, NeurIPS 2022, arXiv 2206.07638, Alg. 1.

    Example:
        >>> import jaxasgd as ja
        >>> ja.methods.delay_adaptive_asgd(0.1).name
        'delay-adaptive ASGD'
    """

    def rule(num_workers, times):
        n = num_workers if concurrency is None else concurrency
        return optax.chain(rules.scale_by_concurrency(n), optax.sgd(learning_rate))

    return Method(policies.asgd(), Late(rule))


@published("Koloskova et al.'s ASGD", papers.KOLOSKOVA_2022, policy="asgd", rule="scale_late, sgd", does="rescales")
def koloskova_asgd(
    learning_rate: optax.ScalarOrSchedule,
    smoothness: float | None = None,
    *,
    concurrency: int | None = None,
    late: str = "scale",
) -> Method:
    """Asynchronous SGD that shortens the steps of late gradients, or drops them.

        x[t+1] = x[t] - eta_t * g(x[t - delay_t])
        eta_t  = learning_rate                                            where delay_t <= concurrency
                 min(learning_rate, 1 / (4 * smoothness * delay_t))       elsewhere (late="scale")
                 learning_rate / delay_t                                  elsewhere, where smoothness is None
                 0                                                        elsewhere (late="drop")

    A dropped gradient is still an update: version and delays count it. `ringmaster` does not count it.

    Args:
        learning_rate: the theory has 1 / (4 * smoothness) at most.
        smoothness: L, the largest eigenvalue of the Hessian; None if not known.
        concurrency: tau_C, the largest number of jobs in flight; None is the number of workers.
        late: "scale" or "drop".

    Source: A. Koloskova, S. Stich, M. Jaggi, NeurIPS 2022, arXiv 2206.08307: Alg. 1 with eq. (11), which allows any
    step below the one here; without smoothness, its "Tuning the stepsize".

    Example:
        >>> import jaxasgd as ja
        >>> ja.methods.koloskova_asgd(0.1, smoothness=1.0).info["late"]
        'scale'
    """
    word("late", late, "scale", "drop")
    if smoothness is not None:
        positive("smoothness", smoothness, zero=False)
    cap = 0.0 if late == "drop" else 1.0
    if smoothness is not None and late == "scale":
        if callable(learning_rate):
            raise ValueError("with smoothness=, learning_rate is a number; for a schedule leave smoothness out.")
        positive("with smoothness=, learning_rate", learning_rate, zero=False)
        cap = 1 / (4 * smoothness * learning_rate)

    def rule(num_workers, times):
        tau = num_workers if concurrency is None else concurrency
        return optax.chain(rules.scale_late(tau, cap), optax.sgd(learning_rate))

    return Method(policies.asgd(), Late(rule))


@published(
    "AdaDelay", papers.SRA_2016, papers.AGARWAL_2011, policy="asgd", rule="scale_by_adadelay, sgd", does="rescales"
)
def adadelay(
    learning_rate: optax.ScalarOrSchedule, offset: float = 1.0, *, per_coordinate: bool = False, discounted: bool = True
) -> Method:
    """Asynchronous SGD whose step shrinks with the square root of time and delay.

        x[t+1] = x[t] - learning_rate / (offset + c_t * sqrt(t + delay_t)) * g_t,     t = 1, 2, ...
        c_t    = 1,   or, per coordinate,   sqrt((1/t) sum_{s<=t} w_s g_s^2),   w_s = s / (s + delay_s)

    In the paper's letters the step is 1 / (L + c sqrt(t + delay_t)): c = 1 / learning_rate, L = c * offset.

    Args:
        learning_rate: a number, a traced scalar or a schedule.
        offset: a number above 0, or a traced scalar.
        per_coordinate: scale every coordinate by its own gradients (`scale_by_adadelay_rms`).
        discounted: False makes all w_s 1, as in the authors' code.

    Source: S. Sra, A. Yu, M. Li, A. Smola, AISTATS 2016, arXiv 1508.05003, on the step of A. Agarwal, J. Duchi, NIPS
    2011. The parametrisation is that of the authors' code; w_s is from other texts. There is no projection.

    Example:
        >>> import jaxasgd as ja
        >>> ja.methods.adadelay(0.1, per_coordinate=True).info["offset"]
        1.0
    """
    rule, discounted = rules.scale_by_adadelay(offset), flag("discounted", discounted)
    if flag("per_coordinate", per_coordinate):
        rule = rules.scale_by_adadelay_rms(offset, discounted=discounted)
    return Method(policies.asgd(), optax.chain(rule, optax.sgd(learning_rate)))


@published("Rescaled ASGD", papers.MAHRAN_2026, policy="asgd", rule="scale_by_worker, sgd", does="rescales")
def rescaled_asgd(learning_rate: optax.ScalarOrSchedule, *, seconds: ArrayLike | None = None) -> Method:
    """Asynchronous SGD in which slow workers make longer steps, so that all data count alike.

        x[t+1] = x[t] - gamma_i * g_i(x[t - delay_t]),     i the worker
        gamma_i = learning_rate * h_i * (1/n) sum_j 1/h_j

    h_i is the mean seconds of worker i; the mean step of an update is then learning_rate. Asynchronous SGD itself goes
    to a minimum of sum_i p_i f_i with p_i in proportion to 1/h_i; with these steps it is (1/n) sum_i f_i.

    Args:
        learning_rate: a number, a traced scalar or a schedule.
        seconds: h, [num_workers], above 0; None takes the mean seconds of the clock.

    Source: A. Mahran, A. Maranjyan, P. Richtarik, NeurIPS 2026, arXiv 2605.13434 (gamma_i in proportion to h_i, under
    fixed computation times). The normalisation here is ours.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> method = ja.methods.rescaled_asgd(0.1).bind(2, ja.times.fixed([1.0, 3.0]))
        >>> [method.rule.update(jnp.ones(1), method.rule.init(None), worker=i)[0].round(3).tolist() for i in (0, 1)]
        [[-0.06700000166893005], [-0.20000000298023224]]
    """

    def rule(num_workers, times):
        h = known(times.mean if seconds is None else seconds)
        if h is None or h.shape != (num_workers,) or not (np.isfinite(h) & (h > 0)).all():
            raise ValueError(
                f"rescaled_asgd takes the mean seconds of each of the {num_workers} workers, finite and above 0 "
                f"(seconds=, or the clock's); got {shown(times.mean if seconds is None else seconds)}."
            )
        return optax.chain(rules.scale_by_worker(h * np.mean(1 / h)), optax.sgd(learning_rate))

    info = {} if seconds is None else {"seconds": np.asarray(known(seconds)).tolist()}
    return Method(policies.asgd(), Late(rule, "" if seconds is not None else "the workers' mean seconds"), info=info)


@published("Picky SGD", papers.COHEN_2021, policy="asgd", rule="accept_near, sgd", does="discards")
def picky_sgd(learning_rate: optax.ScalarOrSchedule, radius: float) -> Method:
    """Asynchronous SGD that applies a gradient only if the parameters are still near those it was computed at.

        x[t+1] = x[t] - learning_rate * g(x[r])    if ||x[t] - x[r]|| <= radius, r = t - delay_t
                 x[t]                              else

    Delays count attempts: a rejected gradient is an update that changes nothing.

    Args:
        learning_rate: a number, a traced scalar or a schedule (of accepted gradients).
        radius: a number or a traced scalar; in the paper about epsilon / (2 L), with epsilon the gradient norm that
            is aimed at and L the smoothness (as other texts have it).

    Source: A. Cohen, A. Daniely, Y. Drori, T. Koren, M. Schain, NeurIPS 2021, arXiv 2106.11879. The paper's restarts,
    which make its guarantee likely, are several runs with several keys.

    Example:
        >>> import jaxasgd as ja
        >>> ja.methods.picky_sgd(0.1, radius=0.5).info
        {'learning_rate': 0.1, 'radius': 0.5}
    """
    return Method(policies.asgd(), rules.accept_near(optax.sgd(learning_rate), radius))
