"""Laws of durations: what a worker needs for one gradient, in seconds, drawn anew for every job."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from .base import ABOVE_ONE, NON_NEGATIVE, POSITIVE, POSITIVE_OR_INF, Draw, Times, arguments, integer, model, spec
from .parts import slower


def fixed(mean: ArrayLike, *, num_workers: int | None = None) -> Times:
    """Constant times: every job of worker i takes `mean[i]` seconds.

    The fixed computation model of the theory, e.g. Mishchenko, Bach, Even and Woodworth 2022 (arXiv:2206.07638). The
    four workers of DeepMind's asynchronous local SGD (Liu et al. 2024, arXiv:2401.09135): fixed([0.58, 0.75, 1.51,
    3.33]) seconds a step. ValueError unless `mean` > 0 and finite.

    Example:
        >>> import jaxasgd as ja, numpy as np
        >>> ja.times.fixed(np.sqrt(np.arange(1, 5))).durations(seed=0)(3, 17)
        2.0
    """
    (mean,), args = arguments("fixed", num_workers, mean=(mean, POSITIVE))
    return Times("fixed", mean, lambda rng, i, n: np.full(n, mean[i]), args)


def exponential(mean: ArrayLike, *, num_workers: int | None = None) -> Times:
    """Exponential times: density exp(-t / mean) / mean, mean in seconds.

    Memoryless: the next arrival is worker i's with probability (1 / mean_i) / sum_j (1 / mean_j), whoever came last.
    Used by Mitliagkas et al. 2016 (arXiv:1605.09774). ValueError unless `mean` > 0 and finite.

    Example:
        >>> import jaxasgd as ja
        >>> ja.times.exponential(2.0, num_workers=8)
        Times(exponential, num_workers=8, mean=2..2)
    """
    (mean,), args = arguments("exponential", num_workers, mean=(mean, POSITIVE))
    return Times("exponential", mean, lambda rng, i, n: mean[i] * rng.standard_exponential(n), args)


def shifted_exponential(shift: ArrayLike, mean: ArrayLike, *, num_workers: int | None = None) -> Times:
    """A constant plus an exponential: density exp(-(t - shift) / mean) / mean for t >= shift, both in seconds.

    `mean` is that of the exponential part alone; the whole has mean shift + mean (this is `Times.mean`) and standard
    deviation mean. The law of coded computing; the clock of ATA (Maranjyan et al., ICML 2025, arXiv:2502.00775) is
    shifted_exponential(m / 2, m / 2). ValueError unless `shift` >= 0, `mean` > 0, both finite.

    Example:
        >>> import jaxasgd as ja
        >>> ja.times.shifted_exponential(shift=0.5, mean=[0.5, 1.5]).mean
        array([1., 2.])
    """
    rules = {"shift": (shift, NON_NEGATIVE), "mean": (mean, POSITIVE)}
    (shift, mean), args = arguments("shifted_exponential", num_workers, **rules)
    return Times(
        "shifted_exponential", shift + mean, lambda rng, i, n: shift[i] + mean[i] * rng.standard_exponential(n), args
    )


def uniform(low: ArrayLike, high: ArrayLike, *, num_workers: int | None = None) -> Times:
    """Uniform times: density 1 / (high - low) on [low, high] seconds; constant where low = high.

    Mean (low + high) / 2, standard deviation (high - low) / sqrt(12). ValueError unless 0 <= `low` <= `high`, with
    `high` > 0 and finite.

    Example:
        >>> import jaxasgd as ja
        >>> ja.times.uniform(low=0.5, high=[1.5, 3.5]).mean
        array([1., 2.])
    """
    (low, high), args = arguments("uniform", num_workers, low=(low, NON_NEGATIVE), high=(high, POSITIVE))
    if (low > high).any():
        i = int((low > high).argmax())
        raise ValueError(f"times.uniform: low <= high; worker {i} has low={low[i]}, high={high[i]}. Swap the two.")
    return Times("uniform", low + (high - low) / 2, lambda rng, i, n: rng.uniform(low[i], high[i], n), args)


def gamma(mean: ArrayLike, cv: ArrayLike = 0.1, *, num_workers: int | None = None) -> Times:
    """Gamma times: density t^(k-1) exp(-t / s) / (Gamma(k) s^k), shape k = 1 / cv^2, scale s = mean cv^2 seconds.

    `cv` is the coefficient of variation: the standard deviation is cv mean; cv = 1 is exponential, a small cv nearly
    constant. The CVB model of Ali et al. 2000, as used for DANA (Hakimi, Barkai, Gabel and Schuster 2019,
    arXiv:1907.11612); their heterogeneous fleets draw the machines' means once from the same family with cv 0.6: pass
    `mean=cvb_means(num_workers, mu)`. ValueError unless `mean` > 0 and `cv` > 0, both finite.

    Example:
        >>> import jaxasgd as ja
        >>> ja.times.gamma(mean=128.0, cv=0.1, num_workers=32)
        Times(gamma, num_workers=32, mean=128..128)
    """
    (mean, cv), args = arguments("gamma", num_workers, mean=(mean, POSITIVE), cv=(cv, POSITIVE))
    shape, scale = 1 / cv**2, mean * cv**2
    return Times("gamma", mean, lambda rng, i, n: scale[i] * rng.standard_gamma(shape[i], n), args)


def lognormal(mean: ArrayLike, sigma: ArrayLike, *, num_workers: int | None = None) -> Times:
    """Log-normal times: t = mean exp(sigma z - sigma^2 / 2) seconds, z standard normal.

    `mean` is E[t] exactly; the median is mean exp(-sigma^2 / 2), the standard deviation mean sqrt(exp(sigma^2) - 1);
    sigma = 0 is constant. ValueError unless `mean` > 0 and `sigma` >= 0, both finite.

    Example:
        >>> import jaxasgd as ja, numpy as np
        >>> ja.times.lognormal(mean=np.linspace(1, 10, 64), sigma=0.5)
        Times(lognormal, num_workers=64, mean=1..10)
    """
    (mean, sigma), args = arguments("lognormal", num_workers, mean=(mean, POSITIVE), sigma=(sigma, NON_NEGATIVE))
    return Times(
        "lognormal", mean, lambda rng, i, n: mean[i] * np.exp(sigma[i] * (rng.standard_normal(n) - sigma[i] / 2)), args
    )


def pareto(
    mean: ArrayLike | None = None,
    alpha: ArrayLike | None = None,
    *,
    minimum: ArrayLike | None = None,
    num_workers: int | None = None,
) -> Times:
    """Pareto times, a heavy tail: P(T > t) = (minimum / t)^alpha for t >= minimum seconds.

    The mean is minimum alpha / (alpha - 1), infinite for alpha <= 1; the variance is infinite for alpha <= 2. Give
    `mean` (then alpha > 1 and minimum = mean (alpha - 1) / alpha) or `minimum`, not both. Used by Dutta et al. 2018
    (arXiv:1803.01113). ValueError unless exactly one of them is given, and all are > 0 and finite.

    Example:
        >>> import jaxasgd as ja
        >>> ja.times.pareto(mean=[1.0, 10.0], alpha=1.5).mean
        array([ 1., 10.])
        >>> ja.times.pareto(minimum=1.0, alpha=[0.9, 2.0]).mean
        array([inf,  2.])
    """
    if (mean is None) == (minimum is None):
        raise ValueError(
            f"times.pareto takes exactly one of mean and minimum; got {'neither' if mean is None else 'both'}. "
            f"Write pareto(mean=1.0, alpha=1.5, ...), or pareto(minimum=1.0, alpha=0.9, ...) for an infinite mean."
        )
    if minimum is None:
        (average, tail), args = arguments("pareto", num_workers, mean=(mean, POSITIVE), alpha=(alpha, ABOVE_ONE))
        least = average * ((tail - 1) / tail)
    else:
        (least, tail), args = arguments("pareto", num_workers, minimum=(minimum, POSITIVE), alpha=(alpha, POSITIVE))
        average = np.divide(least * tail, tail - 1, where=tail > 1, out=np.full(len(tail), np.inf))
    return Times("pareto", average, lambda rng, i, n: least[i] * (1 + rng.pareto(tail[i], n)), args)


def custom(draw: Draw, num_workers: int, *, mean: ArrayLike | None = None, name: str = "custom") -> Times:
    """Times of your own: `draw(rng, worker, count)` returns `count` durations in seconds of that worker.

    Each worker has a Generator of its own, asked for `BLOCK` jobs at a time; take all randomness from it. `mean` is inf
    where there is none; None: unknown, nan. Drawing nan or a negative number raises ValueError.

    Example: every tenth job or so takes five times as long.
        >>> import jaxasgd as ja, numpy as np
        >>> def hiccups(rng, worker, count):
        ...     return np.where(rng.random(count) < 0.1, 5.0, 1.0)
        >>> ja.times.custom(hiccups, num_workers=8, mean=1.4, name="hiccups")
        Times(hiccups, num_workers=8, mean=1.4..1.4)
    """
    if not callable(draw):
        raise ValueError(f"times.custom: draw is a function draw(rng, worker, count) -> [count] seconds; got {draw!r}.")
    num_workers = integer(num_workers, 1, "times.custom: num_workers", "e.g. num_workers=8")
    if mean is None:
        return Times(name, np.full(num_workers, np.nan), draw, {"num_workers": num_workers})
    (mean,), args = arguments("custom", num_workers, mean=(mean, POSITIVE_OR_INF))
    return Times(name, mean, draw, args)


def with_straggler(times: Times, worker: int = 0, factor: float = 10.0) -> Times:
    """The same times on the same luck, but one worker takes `factor` times as long: t_worker -> factor t_worker.

    Its work does; its messages do not. ValueError unless `times` is a model, `worker` one of its workers, and `factor`
    > 0 and finite.

    Example:
        >>> import jaxasgd as ja
        >>> ja.times.with_straggler(ja.times.fixed(1.0, num_workers=4), worker=3).mean
        array([ 1.,  1.,  1., 10.])
    """
    model("with_straggler", times)
    slow = integer(worker, 0, "times.with_straggler: worker", "a worker of the model", times.num_workers - 1)
    factor = float(arguments("with_straggler", 1, factor=(factor, POSITIVE))[0][0][0])
    mean = slower(times, np.where(np.arange(times.num_workers) == slow, factor, 1.0))

    slowed = lambda values, worker: factor * np.asarray(values) if worker == slow else values
    draw = lambda rng, worker, count: slowed(times.draw(rng, worker, count), worker)
    rows = times.table
    table = rows and (lambda worker, first, count: slowed(rows(worker, first, count), worker))
    args = {"base": spec(times), "worker": slow, "factor": factor}
    return replace(times, name="with_straggler", mean=mean, draw=draw, table=table, args=args)
