"""Policies whose workers try for a limited time: a job that takes too long is given up."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ..checks import known, real, shown, whole
from .base import GRADIENT, JOINED, LOST, Decision, Job, Policy

if TYPE_CHECKING:
    from ..times import Times

SUCCESS_STREAM = 0x7E57  # its own: neither the clock's nor a policy's
COUNT = ("a whole number, 0 or more", lambda a: (a >= 0) & (a == np.floor(a)) & (a < math.inf))
SECONDS = ("a number of seconds, 0 or more (inf: none)", lambda a: a >= 0)
CHANCE = ("a probability, 0...1", lambda a: (a >= 0) & (a <= 1))


def of_each(name, value, num_workers, rule):
    """One number for each worker, [num_workers]; `value` is one for all, or has one for each."""
    array, (says, keeps) = known(value), rule
    if array is None or array.ndim > 1 or (array.ndim and len(array) != num_workers):
        raise ValueError(f"{name} is one number, or one for each of {num_workers} workers; got {shown(value)}.")
    if not keeps(array).all():
        raise ValueError(f"{name} is {says}, for each worker; got {shown(value)}.")
    return np.broadcast_to(array, (num_workers,))


class Trials:
    """One run: what everybody does in a round, and what is left of this one."""

    def __init__(self, jobs, trials, weight):
        self.jobs, self.trials, self.weight = jobs, trials, weight
        self.begin()

    def begin(self):
        """A new round; who starts."""
        self.left, self.total = list(self.trials), sum(self.trials)
        return tuple(job for job, number in zip(self.jobs, self.trials, strict=True) if number)


def mindflayer(trials: ArrayLike, timeouts: ArrayLike, success: ArrayLike) -> Policy:
    """Every worker tries a fixed number of times at one version, each time for a limited time; then the server updates.

        x[t+1] = x[t] - lr * (1/B) sum of the gradients at x[t] that came in time,    B = sum_i success_i * trials_i

    A worker that has had its trials waits for the others; all start at x[t+1]. B is the number of gradients that is
    expected, not the number that came, so that the sum of weights is one on average only; a round in which every trial
    failed makes an update with nothing. A round takes at most max_i trials_i * timeouts_i seconds.

    Args:
        trials: how often worker i tries in a round, a whole number; 0 leaves it out. One for all or one for each.
        timeouts: seconds after which worker i gives a trial up, counted from its beginning; inf: never.
        success: the probability that worker i needs at most timeouts_i seconds.

    Source: A. Maranjyan, O. S. Omar, P. Richtarik, UAI 2025, arXiv 2410.04285 (MindFlayer SGD). Differs from the paper:
    a time-out counts all seconds of a trial; there it counts those beyond the least that the worker needs.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.fixed([1.0, 2.0, 9.0])
        >>> policy = ja.policies.mindflayer(trials=[2, 1, 1], timeouts=3.0, success=[1, 1, 0])
        >>> schedule = ja.simulate(policy, times, num_updates=1)
        >>> schedule.worker.tolist(), schedule.weight.round(3).tolist(), schedule.step.tolist(), schedule.end
        ([0, 0, 1, 2], [0.333, 0.333, 0.333, 0.0], [False, False, False, True], 3.0)
    """
    numbers = {"trials": trials, "timeouts": timeouts, "success": success}
    for name, value in numbers.items():
        array = known(value)
        if array is None or array.ndim > 1:
            raise ValueError(f"{name} is one number, or one for each worker, [num_workers]; got {shown(value)}.")
    info = {"policy": "mindflayer"} | {name: np.asarray(value).tolist() for name, value in numbers.items()}

    def init(num_workers, rng):
        numbers = of_each("trials", trials, num_workers, COUNT).astype(int).tolist()
        seconds = of_each("timeouts", timeouts, num_workers, SECONDS).tolist()
        chances = of_each("success", success, num_workers, CHANCE).tolist()
        expected = sum(p * number for p, number in zip(chances, numbers, strict=True))
        if not expected > 0:
            raise ValueError(
                f"mindflayer expects a gradient in a round, sum_i success_i * trials_i > 0; got trials "
                f"{shown(trials)} and success {shown(success)}: allow more seconds (timeouts) or more trials."
            )
        if not any(number and second > 0 for number, second in zip(numbers, seconds, strict=True)):
            raise ValueError(f"someone who tries has a time-out above 0, or no time passes; got {shown(timeouts)}.")
        jobs = [Job(worker, timeout=seconds[worker]) for worker in range(num_workers)]
        state = Trials(jobs, numbers, 1 / expected)
        return state, state.begin()

    def on(state, event):
        worker, arrived = event.worker, event.kind == GRADIENT
        if event.kind in (JOINED, LOST):  # a loss is heard of only without a time-out
            return state, Decision(start=(state.jobs[worker],) if state.left[worker] else ())
        state.left[worker] -= 1
        state.total -= 1
        if state.total:
            start = (state.jobs[worker],) if state.left[worker] else ()
            return state, Decision(use=arrived, weight=state.weight, start=start)
        return state, Decision(use=arrived, weight=state.weight, step=True, start=state.begin())

    return Policy(init, on, info)


def allocate_trials(timeouts: ArrayLike, success: ArrayLike, noise: float = 1.0) -> np.ndarray:
    """How often each worker should try in a round of `mindflayer`: whole numbers, [num_workers].

    With the workers in the order of their time-outs T_1 <= T_2 <= ..., and S = max(1, noise),

        t(m) = (S + sum_{i<=m} success_i) / sum_{i<=m} (success_i / T_i)      seconds
        trials_i = ceil(t(m*) / T_i - 1)  for i <= m* = argmin_m t(m),    0 for the others

    so that at least S gradients are expected in a round, of about t(m*) seconds.

    Args:
        timeouts: T_i, seconds after which worker i gives a trial up, positive and finite, [num_workers].
        success: the probability that worker i needs at most T_i seconds, or one for all.
        noise: sigma^2 / eps, the variance of a stochastic gradient over the squared norm of the gradient aimed at.

    Source: the code that accompanies A. Maranjyan, O. S. Omar, P. Richtarik, UAI 2025, arXiv 2410.04285. Differs from
    it: there the probabilities are not sorted along with the time-outs, which is right only where all are equal.

    Example:
        >>> import jaxasgd as ja
        >>> ja.policies.allocate_trials(timeouts=[1.0, 2.0, 100.0], success=1.0, noise=10.0).tolist()
        [7, 3, 0]
    """
    limits, noise = known(timeouts), max(1.0, real("noise", noise, 0))
    if limits is None or limits.ndim != 1 or not len(limits) or not ((limits > 0) & (limits < math.inf)).all():
        raise ValueError(f"timeouts has a positive, finite number of seconds for each worker; got {shown(timeouts)}.")
    chance = of_each("success", success, len(limits), CHANCE).astype(np.float64)
    if not chance.any():
        raise ValueError(f"some worker's success is positive; got {shown(chance)}: allow more seconds.")
    order = np.argsort(limits, kind="stable")
    p, seconds = chance[order], limits[order]
    with np.errstate(divide="ignore"):
        lengths = (noise + np.cumsum(p)) / np.cumsum(p / seconds)
    best = int(np.argmin(lengths))
    trials = np.zeros(len(limits), int)
    trials[order[: best + 1]] = np.maximum(np.ceil(lengths[best] / seconds[: best + 1] - 1), 0)
    return trials


def success_within(times: Times, timeouts: ArrayLike, *, draws: int = 16_384) -> np.ndarray:
    """The probability that a job of each worker takes at most so many seconds, from draws of its law: [num_workers].

    Every worker draws from a stream of its own, always the same and not that of any run. The standard error is
    sqrt(p (1 - p) / draws), 0.004 or less. Exact where the law is known: pass that to `mindflayer` instead.

    Args:
        times: a worker-time model.
        timeouts: seconds, one number for all or one for each.
        draws: how many for each worker.

    Example:
        >>> import numpy as np
        >>> import jaxasgd as ja
        >>> ja.policies.success_within(ja.times.fixed([1.0, 2.0, 3.0]), 2.0).tolist()
        [1.0, 1.0, 0.0]
        >>> chance = ja.policies.success_within(ja.times.exponential(1.0, num_workers=1), 2.0)
        >>> bool(abs(chance[0] - (1 - np.exp(-2.0))) < 0.02)
        True
    """
    if not hasattr(times, "draw"):
        raise ValueError(f"times is a worker-time model, ja.times.exponential(1.0, num_workers=4); got {shown(times)}.")
    draws, seconds = whole("draws", draws, 1), of_each("timeouts", timeouts, times.num_workers, SECONDS)
    drawn = lambda i: times.draw(np.random.default_rng([SUCCESS_STREAM, i]), i, draws)
    return np.array([np.mean(np.asarray(drawn(i)) <= seconds[i]) for i in range(times.num_workers)])
