"""Room for a step: sizes that leave room for the steps made since the read (Wu et al. 2022), and PIAG."""

from __future__ import annotations

import optax

from .. import policies, rules
from ..checks import positive, word
from . import papers
from .base import Method, late
from .citations import published


@published(
    "PIAG with adaptive steps",
    papers.WU_2022,
    papers.AYTEKIN_2016,
    policy="aggregated",
    rule="scale_by_adaptive1, sgd, proximal",
    arrival="average_latest",
    does="blocks rescales aggregates",
)
def piag(
    learning_rate: optax.ScalarOrSchedule, *, steps: str = "adaptive1", alpha: float = 0.9, l1: float = 0.0
) -> Method:
    """Proximal incremental aggregated gradient, with steps that adapt to the age of the oldest entry.

        x[t+1] = prox(x[t] - gamma_t * (1/n) sum_i g_i(x[t - delay_it]), gamma_t),    delay_t = max_i delay_it

    prox is that of l1 * ||x||_1. The step size gamma_t is at most learning_rate - sum_{s = t - delay_t}^{t-1} gamma_s:
    "adaptive1" takes the share `alpha` of it, "adaptive2" learning_rate / (delay_t + 1) where that is no more, else 0.

    Args:
        learning_rate: h / L with h in (0, 1), L^2 the mean of the squared smoothness constants of the workers'
            functions; one number for the whole run.
        steps: "adaptive1", "adaptive2", or "constant": gamma_t = learning_rate, h / (L (largest delay + 1/2)) then.
        alpha: in (0, 1), of "adaptive1".
        l1: the loss that a run reports has no l1 term.

    Source: X. Wu, S. Magnusson, H. R. Feyzmahdavian, M. Johansson, ICML 2022, arXiv 2202.08550 (step sizes; not checked
    against its text); A. Aytekin, H. R. Feyzmahdavian, M. Johansson, 2016, arXiv 1610.05507 (the method). Differs from
    the papers: gradients arrive one at a time.

    Example:
        >>> import jax
        >>> import jaxasgd as ja
        >>> problem = ja.problems.quadratic(spectrum=[1.0], centers=[[0.0], [3.0]])
        >>> schedule = ja.simulate(ja.methods.piag(0.9), ja.times.fixed([1.0, 10.0]), num_updates=200)
        >>> history = ja.run(problem, schedule, ja.methods.piag(0.9), key=jax.random.key(0))
        >>> round(float(history.params[0]), 4)
        1.5
    """
    sizes = {
        "adaptive1": rules.scale_by_adaptive1(alpha),
        "adaptive2": rules.scale_by_adaptive2(),
        "constant": optax.identity(),
    }
    positive("l1", l1)
    rule = rules.proximal(
        optax.chain(sizes[word("steps", steps, *sizes)], optax.sgd(learning_rate)), rules.soft_threshold(l1)
    )
    return Method(policies.aggregated(), rule, late(lambda num_workers, times: rules.average_latest(num_workers)))


@published(
    "asynchronous SGD, Adaptive 1",
    papers.WU_2022,
    policy="asgd",
    rule="scale_by_adaptive1, sgd",
    does="discards rescales",
)
def adaptive1_asgd(learning_rate: optax.ScalarOrSchedule, alpha: float = 0.9) -> Method:
    """Asynchronous SGD whose steps fill a share of the room that the steps since the read have left.

        x[t+1] = x[t] - gamma_t * g(x[t - delay_t]),
        gamma_t = alpha * max(learning_rate - sum_{s = t - delay_t}^{t-1} gamma_s, 0)

    Where the room is full the gradient is as good as thrown away (it counts as an update).

    Source: the step sizes of X. Wu, S. Magnusson, H. R. Feyzmahdavian, M. Johansson, ICML 2022, arXiv 2202.08550
    ("Adaptive 1"; not checked against the paper's text). Differs from the paper: on stochastic gradients of single
    workers; there on PIAG and on asynchronous block-coordinate descent.

    Example:
        >>> import jaxasgd as ja
        >>> ja.methods.adaptive1_asgd(0.1).info
        {'learning_rate': 0.1, 'alpha': 0.9}
    """
    return Method(policies.asgd(), optax.chain(rules.scale_by_adaptive1(alpha), optax.sgd(learning_rate)))


@published(
    "asynchronous SGD, Adaptive 2",
    papers.WU_2022,
    policy="asgd",
    rule="scale_by_adaptive2, sgd",
    does="discards rescales",
)
def adaptive2_asgd(learning_rate: optax.ScalarOrSchedule) -> Method:
    """Asynchronous SGD with steps in inverse proportion to the delay, where the steps since the read leave room.

        x[t+1] = x[t] - gamma_t * g(x[t - delay_t]),    gamma_t = learning_rate / (delay_t + 1)
        if that is at most learning_rate - sum_{s = t - delay_t}^{t-1} gamma_s, else 0

    Source: the step sizes of X. Wu, S. Magnusson, H. R. Feyzmahdavian, M. Johansson, ICML 2022, arXiv 2202.08550
    ("Adaptive 2"; not checked against the paper's text). Differs from the paper as `adaptive1_asgd` does.

    Example:
        >>> import jaxasgd as ja
        >>> ja.methods.adaptive2_asgd(0.1).name
        'asynchronous SGD, Adaptive 2'
    """
    return Method(policies.asgd(), optax.chain(rules.scale_by_adaptive2(), optax.sgd(learning_rate)))
