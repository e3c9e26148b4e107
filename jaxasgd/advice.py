"""plan_cluster(): which method a cluster should use, from the seconds that its workers' steps took."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from . import complexity, policies, times
from .checks import bar_wanted, real, whole
from .cluster import ClusterPlan, Row
from .policies import Policy
from .progress import bar
from .simulation import simulate
from .times.records import taken

ARRIVALS = 4000, 16  # gradients of a simulation: so many, and so many a worker, at least
LARGEST_BATCH = 16  # gradients a worker in a batch, at most
ROUNDS = 100  # updates of a simulation of single gradients, at least; of larger batches fewer, down to
FEWEST = 8


def plan_cluster(
    steps: str | Path | ArrayLike | Sequence[ArrayLike],
    noise_to_signal: float,
    *,
    sync_updates: float | None = None,
    seeds: int = 5,
    progress: bool | None = None,
) -> ClusterPlan:
    """Which method reaches the target first on a cluster, predicted from the seconds that its workers' steps took.

    The target is a squared norm eps of the gradient. In units of L Delta / eps (see `jaxasgd.complexity`) theory asks
    for

        K = 1 + q/B updates    with batches of B gradients at one version: synchronous SGD (B = n), with b backup
                               workers (B = n - b), m-synchronous SGD (B = m), Rennala SGD (B = S)
        K = m + q updates      of asynchronous SGD on m workers: all that deliver, or the m fastest
        K = R + q updates      of Ringmaster ASGD with the bound R

    and a method is there after K times the seconds of an update. These are predicted three ways:

        fixed times   if worker i always took its mean seconds h_i, h_1 <= h_2 <= ...: h_m (1 + q/m) for rounds that
                      close with the m-th gradient; (m + q) / sum_{i<=m} (1/h_i) for asynchronous SGD, and its minimum
                      over m is the optimum of the theory; (1 + q/S) min_m (S + m) / sum_{i<=m} (1/h_i) for
                      Rennala and, with R for S, Ringmaster: the bound of the papers without its factor of 2
        expected      if every job draws one of its worker's measured times anew: E X_(m) (1 + q/m) for rounds, X_(m)
                      the m-th smallest of one draw a worker; for asynchronous SGD as with fixed times, exactly
        simulated     on a clock that draws so

    The best m of m-synchronous and of asynchronous SGD are found among all. b, R and S are tried at 1, 2, 4, 8, ... and
    the last: b below the number of workers; R up to n, beyond which asynchronous SGD asks for less; S up to n, or to
    the theory's max(1, ceil(q)), but 16 n at most. R and S are also tried at n and at the theory's, where it is in the
    range. n counts the workers that always deliver.

    Of Rennala there are both variants: late jobs go on and are thrown away ("ignore"), or are stopped ("restart").

    What it rests on: jobs are stopped and begin again at no cost; a worker's times are independent of each other, so
    that one that was slow is as likely as ever to be fast in its next job (rounds that close early profit from this);
    messages take no time of their own; the constants of the theory are the same for all methods; learning rates are
    tuned. With SGD on a noisy quadratic (`experiments/cluster_plan.py`) measured ratios to synchronous SGD were within
    20 % of the prediction, with one exception: where noise is low and times are random, asynchronous SGD is faster than
    m + q says (for q = 0.1, down to 0.35 of it, with 32 exponential workers), because its largest stable learning rate
    falls like sqrt(2 / m) there, and like 1 / m only where times are fixed.

    Args:
        steps: seconds of each worker's steps: a CSV file with a column for each worker and a line for each step (see
            `ja.times.read_steps`); an array [steps, num_workers], with nan where a column has ended; or an array for
            each worker. inf is a step that never ends. A worker with inf alone, or in arrays without any number, never
            delivers.
        noise_to_signal: q = sigma^2 / eps, the variance of one worker's gradient (the trace of its covariance) over the
            squared norm of the gradient aimed at: the gradient noise scale, in units of one worker's batch, at the end.
        sync_updates: how many updates synchronous SGD needs on this cluster, if known: times are then seconds.
        seeds: simulations of each method, with seeds 0, 1, ...; 2 or more.
        progress: show a bar; None: if it takes long and standard error is a terminal.

    Returns:
        A `ClusterPlan`: print it for a table and one sentence of advice; `.best`, `.plot()`, `.save(folder)`.

    Raises:
        ValueError: naming the rule, the value, its worker and its line or step, and the remedy.

    Source: A. Tyurin, P. Richtarik, NeurIPS 2023, arXiv 2305.12387; A. Maranjyan, A. Tyurin, P. Richtarik, ICML 2025,
    arXiv 2501.16168; K. Mishchenko, F. Bach, M. Even, B. Woodworth, NeurIPS 2022, arXiv 2206.07638 (asynchronous SGD);
    S. Dutta, G. Joshi, S. Ghosh, P. Dube, P. Nagpurkar, AISTATS 2018, arXiv 1803.01113 (random times). How to measure
    the gradient noise scale: S. McCandlish, J. Kaplan, D. Amodei, 2018, arXiv 1812.06162.

    Example: one of eight workers is ten times as slow as the others.
        >>> import jaxasgd as ja
        >>> rng = np.random.default_rng(0)
        >>> steps = rng.gamma(25.0, 1 / 25, (100, 8)) * [1, 1, 1, 1, 1, 1, 1, 10]
        >>> plan = plan_cluster(steps, noise_to_signal=20.0, sync_updates=10_000)
        >>> print(plan.sentence)
        Use asynchronous SGD on the m = 7 fastest workers: it is predicted to get there in 10970 s instead of 100700 s,
        9.19 times as fast as synchronous SGD, which saves 89% of the time.
        >>> plan.best.call
        'ja.methods.naive_optimal_asgd(learning_rate, workers=7)'
    """
    q = real("noise_to_signal", noise_to_signal, 0, ", sigma^2 / eps")
    if sync_updates is not None and not real("sync_updates", sync_updates, 0, " of updates") > 0:
        raise ValueError(f"sync_updates is a number of updates above 0; got {sync_updates}: leave it out if unknown.")
    seeds = whole("seeds", seeds, 2, hint=": there is a standard error over them")
    bar_wanted(progress)
    laws = measured(steps)
    clock = times.bootstrap(laws)
    if not np.isfinite(clock.mean).any():
        raise ValueError("some worker always delivers; in these times every worker has jobs that never end.")
    rounds = complexity.order_statistics(laws)
    rows, found = [], {}
    chosen = list(candidates(clock.mean, rounds, q))
    with bar(progress, total=len(chosen), unit="method") as show:
        for one in chosen:
            made = policy(one.method, one.setting, clock.mean)
            told = str(made.info)
            if told not in found:  # m-synchronous SGD may be synchronous SGD with as many backup workers
                found[told] = pace(made, one, clock, seeds)
            seconds, error = found[told]
            K = one.updates
            rows.append(Row(one.method, one.setting, K, one.closed, one.seconds * K, seconds * K, error * K))
            show(len(rows))
    spread = np.stack([np.quantile(law, (0.1, 0.9), method="inverted_cdf") for law in laws], axis=1)
    info = {"seeds": seeds, "steps": [len(law) for law in laws]}
    return ClusterPlan(rows, q, clock.mean, spread, rounds, sync_updates, info)


# -------------------------------------------------------------- measured times


def measured(steps) -> list[np.ndarray]:
    """Every worker's seconds, from a file or from arrays; inf for a worker without any."""
    if isinstance(steps, np.ndarray) and steps.ndim == 2 and steps.dtype.kind == "f" and len(steps):
        first = np.where(np.isnan(steps).all(axis=0), np.inf, steps[0])
        steps = np.concatenate([first[None], steps[1:]])
    elif isinstance(steps, (list, tuple)):
        steps = [one if np.size(one) else [np.inf] for one in steps]
    laws = taken("bootstrap", steps)
    for worker, law in enumerate(laws):
        if not law.all():
            raise ValueError(
                f"a step takes more than 0 seconds; worker {worker} has {law.min()} as its step {int(law.argmin())} "
                "(the first is step 0). Drop that step, or measure with a finer clock."
            )
    return laws


# ----------------------------------------------------------------- candidates


class Candidate(NamedTuple):
    """A method that may be advised.

    `seconds` are those of an update where there is a formula for random times, else nan; `size` is the number of
    gradients in an update, `arrivals` about how many arrive for it, and `period` how many updates belong together.
    """

    method: str
    setting: int
    updates: float
    closed: float
    seconds: float
    size: int
    arrivals: float
    period: int


def policy(method, setting, mean) -> Policy:
    """The policy of a row, for workers with these mean seconds."""
    if method in ("synchronous", "backup", "m-sync"):
        return policies.synchronous(backup=len(mean) - setting if method == "m-sync" else setting)
    if method == "ASGD":
        return policies.asgd()
    if method == "ASGD, fastest":
        return policies.fastest(mean, setting)
    if method == "Ringmaster":
        return policies.ringmaster(setting)
    return policies.rennala(setting, stale="restart" if method == "Rennala, restart" else "ignore")


def candidates(mean, rounds, q):
    """Every method with the settings that are tried."""
    n, alive = len(mean), int(np.isfinite(mean).sum())
    rate = float((1 / mean).sum())

    def closing(method, setting, m):
        K, closed = complexity.updates(q, m), complexity.rounds(mean, q, m)
        return Candidate(method, setting, K, closed, float(rounds[m - 1]), m, n, 1)

    def free(method, setting, m):
        K, closed = complexity.stale_updates(q, m), complexity.asynchronous(mean, q, m)
        return Candidate(method, setting, K, closed, closed / K, 1, 1, m)

    yield closing("synchronous", 0, n)
    yield from (closing("backup", b, n - b) for b in doubling(n - 1))
    m = int(np.argmin(rounds * (1 + q / np.arange(1, n + 1)))) + 1
    yield closing("m-sync", m, m)
    yield free("ASGD", 0, alive)
    m = complexity.optimum(mean, q)[1]
    yield free("ASGD, fastest", m, m)
    theory = max(1, math.ceil(q))
    for R in doubling(alive, theory):
        arrivals = complexity.batch_seconds(mean, R) / R * rate
        K, closed = complexity.stale_updates(q, R), complexity.batches(mean, q, R)
        yield Candidate("Ringmaster", R, K, closed, math.nan, 1, arrivals, R)
    for method in ("Rennala", "Rennala, restart"):
        for S in doubling(max(alive, min(theory, LARGEST_BATCH * alive)), alive, theory):
            arrivals = complexity.batch_seconds(mean, S) * rate
            K, closed = complexity.updates(q, S), complexity.batches(mean, q, S)
            yield Candidate(method, S, K, closed, math.nan, S, arrivals, 1)


def doubling(most, *others) -> list[int]:
    """1, 2, 4, 8, ... and `most`, and what of the others is between."""
    return sorted({k for k in (*(2**i for i in range(64)), most, *others) if 1 <= k <= most})


def pace(policy, one: Candidate, clock, seeds) -> tuple[float, float]:
    """Seconds of an update in simulation, and their standard error over seeds; inf where updates cease.

    By the mean times of the second and of the first half of the updates: what is peculiar to the start cancels.
    """
    gradients = max(ARRIVALS[0], ARRIVALS[1] * clock.num_workers)
    half = max(gradients / one.arrivals, ROUNDS / math.sqrt(one.size), FEWEST) / 2
    half = one.period * math.ceil(half / one.period)
    found = []
    for seed in range(seeds):
        schedule = simulate(policy, clock, num_updates=2 * half, seed=seed)
        if schedule.num_updates < 2 * half:
            return math.inf, math.nan
        ends = schedule.time[schedule.step]
        found.append((ends[half:].mean() - ends[:half].mean()) / half)
    return float(np.mean(found)), float(np.std(found, ddof=1) / math.sqrt(seeds))
