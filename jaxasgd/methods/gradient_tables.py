"""Gradient tables: the server keeps a gradient of every worker; unbiased where the workers' data differ."""

from __future__ import annotations

import optax

from .. import policies, rules
from . import papers
from .base import Method, late
from .citations import published


@published("Ringleader ASGD", papers.MARANJYAN_2026, policy="ringleader", arrival="average_rounds", does="aggregates")
def ringleader(learning_rate: optax.ScalarOrSchedule) -> Method:
    """Ringleader ASGD: rounds of n updates with the mean over workers of the mean of their gradients in a table.

        x[t+1] = x[t] - learning_rate * (1/n) sum_i (1/b_i) sum_{j <= b_i} g_ij

    b_i gradients of worker i are in the table, each at most 2n - 2 updates old. No worker waits, none is thrown away.

    Source: A. Maranjyan, P. Richtarik, ICLR 2026, arXiv 2509.22860.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.fixed([1.0, 1.0, 10.0])
        >>> schedule = ja.simulate(ja.methods.ringleader(0.1), times, num_updates=30)
        >>> schedule.end, float(schedule.tags["delay"][schedule.step].max())  # synchronous SGD needs 300 s
        (101.0, 4.0)
    """
    arrival = late(lambda num_workers, times: rules.average_rounds(num_workers))
    return Method(policies.ringleader(), optax.sgd(learning_rate), arrival)


@published("IA2SGD", papers.WANG_2025, policy="aggregated", arrival="average_latest", does="aggregates")
def ia2sgd(learning_rate: optax.ScalarOrSchedule) -> Method:
    """Incremental aggregated asynchronous SGD: every arrival replaces its worker's entry, and updates with the mean.

        x[t+1] = x[t] - learning_rate * (1/n) sum_i g_i(x[t - delay_i])

    Before the table is full, workers go on at x[0] and replace what they delivered; the event that fills it makes no
    update.

    Source: X. Wang, Y. Sun, H.-T. Wai, J. Zhang, 2025; how the table begins is that of the implementation that
    accompanies A. Maranjyan, P. Richtarik, ICLR 2026, arXiv 2509.22860, where it is a baseline.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.fixed([1.0, 2.5])
        >>> schedule = ja.simulate(ja.methods.ia2sgd(0.1), times, num_updates=3)
        >>> schedule.time.tolist(), schedule.step.tolist()
        ([1.0, 2.0, 2.5, 3.0, 4.0, 5.0], [False, False, False, True, True, True])
    """
    arrival = late(lambda num_workers, times: rules.average_latest(num_workers))
    return Method(policies.aggregated(begin="refresh"), optax.sgd(learning_rate), arrival)


@published("ACE", papers.CHANG_2025, policy="aggregated", arrival="average_latest", does="blocks aggregates")
def ace(learning_rate: optax.ScalarOrSchedule, *, max_age: int | None = None) -> Method:
    """All-client engagement: one synchronous round, then an update with the mean of the table at every arrival.

        x[t+1] = x[t] - learning_rate * (1/|A|) sum_{i in A} g_i(x[t - delay_i]),    A = {i : delay_i <= max_age}

    Args:
        learning_rate: a number, a traced scalar or a schedule.
        max_age: None: all workers (ACE). A whole number of updates: older entries do not count (ACED); where all are
            older, x stays.

    Differs from `ia2sgd` only in the beginning (workers wait for the first round, and its last arrival is an update)
    and in `max_age`.

    Source: X. Chang et al., 2025, arXiv 2511.19066, ACE and ACED; from the code of a draft, the published listings not
    seen. Differs from that code: an entry's age is that of the gradient in it, not of the job that runs, and ACED
    updates at every arrival.

    Example:
        >>> import jaxasgd as ja
        >>> schedule = ja.simulate(ja.methods.ace(0.1), ja.times.fixed([1.0, 2.5]), num_updates=3)
        >>> schedule.time.tolist(), schedule.step.tolist()
        ([1.0, 2.5, 3.5, 4.5], [False, True, True, True])
    """

    def arrival(num_workers, times):
        return rules.average_latest(num_workers) if max_age is None else rules.average_young(num_workers, max_age)

    return Method(policies.aggregated(), optax.sgd(learning_rate), late(arrival))
