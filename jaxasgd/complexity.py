"""Time to a target in closed form: how many updates a method needs, and how long they take at so many workers.

All in units of L Delta / eps, where L is the smoothness of the objective, Delta = f(x0) - min f, and eps the squared
norm of the gradient aimed at; q = sigma^2 / eps is the variance of a worker's gradient over it. A method that takes
`updates` K of these units, and `seconds` s an update, is there after K s L Delta / eps seconds. The constants of the
theory are left out (they are the same for all methods only up to small factors).

Fixed times: worker i needs h_i seconds for a gradient, h_1 <= h_2 <= ... <= h_n (`seconds`, in any order; inf is a
worker that never delivers). H_m = m / sum_{i<=m} (1/h_i) is the harmonic mean of the m smallest.
"""

from __future__ import annotations

import numpy as np

from .checks import known, real, shown, whole

MOST_WORK = 2e9  # points times workers squared up to which expected order statistics are exact
LEAST_POINTS = 512
TOGETHER = 64  # points at a time


def in_order(seconds) -> np.ndarray:
    """h_1 <= h_2 <= ..., [num_workers]."""
    h = known(seconds)
    if h is None or h.ndim != 1 or not len(h) or not (h > 0).all():
        raise ValueError(
            f"seconds has a positive number for each worker (inf: it never delivers), [num_workers]; got "
            f"{shown(seconds)}: leave out the others."
        )
    return np.sort(h)


def updates(noise, batch) -> float:
    """Updates of SGD with batches of B gradients at one version, K = 1 + q / B, in units of L Delta / eps.

    For synchronous SGD B = n, with b backup workers n - b, for m-synchronous SGD m, for Rennala SGD its batch.

    Source: A. Tyurin, P. Richtarik, NeurIPS 2023, arXiv 2305.12387.

    Example:
        >>> updates(noise=10.0, batch=5)
        3.0
    """
    return 1 + real("noise", noise, 0, ", sigma^2 / eps") / whole("batch", batch, 1)


def stale_updates(noise, bound) -> float:
    """Updates of asynchronous SGD, a gradient each, with delays of about R: K = R + q, in units of L Delta / eps.

    Asynchronous SGD has R = n, the number of workers (the mean delay is n - 1), whatever the largest delay; Ringmaster
    ASGD has its bound.

    Source: K. Mishchenko, F. Bach, M. Even, B. Woodworth, NeurIPS 2022, arXiv 2206.07638 (n, with step sizes that
    adapt to the delay); A. Maranjyan, A. Tyurin, P. Richtarik, ICML 2025, arXiv 2501.16168 (R).

    Example:
        >>> stale_updates(noise=10.0, bound=16)
        26.0
    """
    return whole("bound", bound, 1) + real("noise", noise, 0, ", sigma^2 / eps")


def rounds(seconds, noise, wait_for=None) -> float:
    """Rounds that close with the m-th gradient: h_m (1 + q / m); m = n is synchronous SGD.

    With n - m backup workers, and for m-synchronous SGD, `wait_for` is m.

    Source: J. Chen, X. Pan, R. Monga, S. Bengio, R. Jozefowicz, 2016, arXiv 1604.00981 (the methods); G. Begunov,
    A. Tyurin, 2026, arXiv 2602.03802 (the time).

    Example:
        >>> rounds([1.0, 2.0, 4.0, 100.0], noise=6.0), rounds([1.0, 2.0, 4.0, 100.0], noise=6.0, wait_for=3)
        (250.0, 12.0)
    """
    h = in_order(seconds)
    m = len(h) if wait_for is None else whole("wait_for", wait_for, 1, len(h))
    return float(h[m - 1] * updates(noise, m))


def asynchronous(seconds, noise, workers=None) -> float:
    """Asynchronous SGD on the m fastest workers: H_m (1 + q / m) = (m + q) / sum_{i<=m} (1/h_i); by default on all.

    Updates come at the rate sum_i (1/h_i) whatever the law of the times, if h_i is their mean: this is exact.

    Source: K. Mishchenko, F. Bach, M. Even, B. Woodworth, NeurIPS 2022, arXiv 2206.07638.

    Example:
        >>> asynchronous([1.0, 2.0, 4.0, 100.0], noise=6.0, workers=3) < asynchronous([1.0, 2.0, 4.0, 100.0], noise=6.0)
        True
    """
    h = in_order(seconds)
    m = len(h) if workers is None else whole("workers", workers, 1, len(h))
    rate = float((1 / h[:m]).sum())
    return stale_updates(noise, m) / rate if rate else np.inf


def optimum(seconds, noise) -> tuple[float, int]:
    """The least time of all methods, min_m H_m (1 + q / m), and the (smallest) m where it is.

    No method that takes gradients of one noisy oracle a worker is faster by more than a constant; asynchronous SGD on
    the m fastest workers takes this time, Rennala SGD and Ringmaster ASGD no more than a constant times it.

    Source: A. Tyurin, P. Richtarik, NeurIPS 2023, arXiv 2305.12387 (the bound).

    Example: 100 workers, worker i takes sqrt(i) seconds.
        >>> time, m = optimum([i**0.5 for i in range(1, 101)], noise=10.0)
        >>> round(time, 2), m
        (3.9, 15)
    """
    h = in_order(seconds)
    q = real("noise", noise, 0, ", sigma^2 / eps")
    with np.errstate(divide="ignore"):
        times = (np.arange(1, len(h) + 1) + q) / np.cumsum(1 / h)
    m = int(np.flatnonzero(times <= times.min() * (1 + 1e-12))[0])
    return float(times[m]), m + 1


def batch_seconds(seconds, number) -> float:
    """What `number` gradients that count take: min_m (S + m) / sum_{i<=m} (1/h_i) seconds, up to a factor of 2.

    A batch of S of Rennala SGD, and any S updates in a row of Ringmaster ASGD with bound S, take at most twice this,
    and a batch at least S / sum_i (1/h_i).

    Source: A. Tyurin, P. Richtarik, NeurIPS 2023, arXiv 2305.12387; A. Maranjyan, A. Tyurin, P. Richtarik, ICML 2025,
    arXiv 2501.16168.

    Example:
        >>> batch_seconds([1.0, 1.0, 1000.0], number=4)
        3.0
    """
    return optimum(seconds, whole("number", number, 1))[0]


def batches(seconds, noise, size) -> float:
    """Rennala SGD with batches of S, or Ringmaster ASGD with the bound S, up to a factor of 2.

        (1 + q / S) min_m (S + m) / sum_{i<=m} (1/h_i),

    the bound of the papers without its factor of 2.

    Source: A. Tyurin, P. Richtarik, NeurIPS 2023, arXiv 2305.12387 (Rennala); A. Maranjyan, A. Tyurin, P. Richtarik,
    ICML 2025, arXiv 2501.16168 (Ringmaster: K = S + q updates, of which S take the minimum).

    Example:
        >>> batches([1.0, 1.0, 1000.0], noise=8.0, size=4)
        9.0
    """
    return updates(noise, size) * batch_seconds(seconds, size)


# ------------------------------------------------------------------ random times


def order_statistics(steps, *, most_points=None) -> np.ndarray:
    """Expected seconds until m of n jobs are done that begin together, for m = 1 ... n: those of a round.

        E X_(m) = integral of P(N(t) < m) dt,     N(t) = number of i with X_i <= t

    where X_i is one of worker i's measured times, each as likely, independent of the others: N(t) is Poisson-binomial.
    Its law is computed at every measured time by convolution, which costs (number of times) n^2 operations. It is
    exact up to 2e9 of them; beyond, it is computed at fewer points (all of the smallest and the largest times among
    them), and the integral between two of them is the middle of its bounds: the error is then about 0.1 % or less.

    Args:
        steps: for each worker its measured seconds, an array; inf is a job that never ends.
        most_points: compute at so many points at most.

    Returns:
        [n]; inf where with some probability m jobs never end.

    Example: two workers that take 1 or 3 seconds; both take 1 with probability 1/4.
        >>> order_statistics([[1.0, 3.0], [1.0, 3.0]])
        array([1.5, 2.5])
    """
    laws = [np.sort(np.asarray(one, np.float64)) for one in steps]
    n = len(laws)
    points = np.unique(np.concatenate(laws))
    points = points[np.isfinite(points)]
    if not len(points):
        return np.full(n, np.inf)
    most = max(LEAST_POINTS, int(MOST_WORK / n**2)) if most_points is None else whole("most_points", most_points, 2)
    place = np.arange(len(points)) if len(points) <= most else thinned(len(points), most)
    chosen = points[place]
    fewer = np.concatenate([fewer_than(laws, chosen[i : i + TOGETHER]) for i in range(0, len(chosen), TOGETHER)])
    step = np.diff(place)[:, None] == 1  # no point between: the law is constant there
    between = np.where(step, fewer[:-1], (fewer[:-1] + fewer[1:]) / 2)
    expected = chosen[0] + (np.diff(chosen)[:, None] * between).sum(axis=0)
    return np.where(fewer[-1] > 0, np.inf, expected)


def thinned(number, most) -> np.ndarray:
    """About `most` of `number` places in order: a quarter of them at either end, the others evenly."""
    quarter = most // 4
    evenly = np.linspace(0, number - 1, most - 2 * quarter).round().astype(int)
    return np.unique(np.concatenate([np.arange(quarter), evenly, np.arange(number - quarter, number)]))


def fewer_than(laws, points) -> np.ndarray:
    """P(fewer than m jobs are done at t) for every t of `points` and m = 1 ... n, [points, n]."""
    n = len(laws)
    count = np.zeros((len(points), n + 1))  # the probability that so many are done
    count[:, 0] = 1.0
    for i, law in enumerate(laws):
        done = np.searchsorted(law, points, side="right")[:, None] / len(law)
        count[:, 1 : i + 2] = count[:, 1 : i + 2] * (1 - done) + count[:, : i + 1] * done
        count[:, 0] *= 1 - done[:, 0]
    return np.cumsum(count, axis=1)[:, :n]
