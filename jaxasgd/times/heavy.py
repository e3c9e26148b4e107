"""Laws without a mean: log-Cauchy times, and jobs that never finish."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from .base import NON_NEGATIVE, POSITIVE, SHARE, Times, arguments, model, spec


def log_cauchy(median: ArrayLike, scale: ArrayLike, shift: ArrayLike = 0.0, *, num_workers: int | None = None) -> Times:
    """Log-Cauchy times: t = shift + median exp(scale c) seconds, c standard Cauchy; P(T > t) ~ scale / (pi log t).

    A tail heavier than any Pareto law's: the mean is infinite for every `scale`, and so is every moment above 0. The
    quartiles are shift + median exp(-scale) and shift + median exp(scale). Seconds that no float64 holds are inf, a job
    that never finishes: P = scale / (710 pi) or so. Among the clocks of MindFlayer SGD (Maranjyan, Omar and Richtarik,
    UAI 2025, arXiv:2410.04285), h_i + log-Cauchy. ValueError unless `median` > 0, `scale` > 0 and `shift` >= 0, all
    finite.

    Example:
        >>> import jaxasgd as ja
        >>> ja.times.log_cauchy(median=[1.0, 2.0], scale=0.5).mean
        array([inf, inf])
    """
    rules = {"median": (median, POSITIVE), "scale": (scale, POSITIVE), "shift": (shift, NON_NEGATIVE)}
    (median, scale, shift), args = arguments("log_cauchy", num_workers, **rules)

    def draw(rng, i, n):
        with np.errstate(over="ignore", under="ignore"):
            return shift[i] + median[i] * np.exp(scale[i] * rng.standard_cauchy(n))

    return Times("log_cauchy", np.full(len(median), np.inf), draw, args)


def never(times: Times, probability: ArrayLike) -> Times:
    """The same times on the same luck, but each job never finishes with this probability: P(t = inf) = probability.

    One number, or one per worker. The mean is inf where the probability is above 0. The worker hangs until its job is
    cancelled or times out: the "infinite Bernoulli" clock of MindFlayer SGD (Maranjyan, Omar and Richtarik, UAI 2025,
    arXiv:2410.04285). A worker that fails and comes back by itself: `with_failures`. ValueError for a record, whose
    jobs know no luck: write inf into it.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.never(ja.times.fixed([1.0, 2.0]), probability=[0.0, 0.1])
        >>> times.mean
        array([ 1., inf])
        >>> durations = times.durations(seed=0)
        >>> sorted({durations(1, j) for j in range(100)})
        [2.0, inf]
    """
    model("never", times)
    (share,), args = arguments("never", times.num_workers, probability=(probability, SHARE))
    if times.table is not None:
        raise ValueError(
            f"times.never changes a law whose jobs are drawn; got {times.name!r}, a record. Write inf into its steps, "
            f"or take bootstrap(steps)."
        )

    def draw(rng, i, n):
        values = np.asarray(times.draw(rng, i, n))
        coins = rng.spawn(1)[0].random(n)  # a child: the times themselves stay as they were
        return np.where(coins < share[i], np.inf, values) if share[i] else values

    args = {"base": spec(times), "probability": args["probability"]}
    return replace(times, name="never", mean=np.where(share > 0, np.inf, times.mean), draw=draw, args=args)
