"""Integer clocks: Poisson times, and any law rounded up to whole ticks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from . import laws
from .base import NON_NEGATIVE, POSITIVE, Times, arguments, model, spec


def poisson(mean: ArrayLike, shift: ArrayLike = 0.0, *, num_workers: int | None = None) -> Times:
    """Poisson times: t = shift + k seconds, P(k) = exp(-mean) mean^k / k!.

    `mean` is that of the Poisson part alone; the whole has mean shift + mean (this is `Times.mean`) and variance mean.
    With shift 0 a job takes no time at all with probability exp(-mean), as in the code of AsGrad (Islamov, Safaryan
    and Alistarh, AISTATS 2024, arXiv:2310.20452): `poisson(h)`, h = 1, ..., n. ValueError unless `mean` > 0 and
    `shift` >= 0, both finite.

    Example:
        >>> import jaxasgd as ja
        >>> durations = ja.times.poisson(mean=[1.0, 5.0], shift=1.0).durations(seed=0)
        >>> [durations(1, j) for j in range(5)]
        [7.0, 4.0, 8.0, 5.0, 5.0]
    """
    (mean, shift), args = arguments("poisson", num_workers, mean=(mean, BELOW), shift=(shift, NON_NEGATIVE))
    return Times("poisson", shift + mean, lambda rng, i, n: shift[i] + rng.poisson(mean[i], n), args)


BELOW = ("positive and below 1e15", lambda x: (x > 0) & (x < 1e15))


def ticks(times: Times, tick: float = 1.0) -> Times:
    """The same luck on a clock of whole ticks: t -> tick ceil(t / tick) seconds of work.

    A server that looks once a tick. The mean is exact for constant, uniform, exponential and shifted exponential times
    (for the exponential law: tick / (1 - exp(-tick / mean)), ticks of a geometric law), nan for all others. The clocks
    of AsGrad (Islamov, Safaryan and Alistarh, AISTATS 2024, arXiv:2310.20452) with h = 1, ..., n: `poisson(h)`,
    `ticks(folded_normal(h, h))`, `ticks(uniform(1, h + 1))`, `fixed(h)`. ValueError unless `times` is a model and
    `tick` > 0 and finite.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.ticks(ja.times.exponential([1.0, 2.0]), tick=0.5)
        >>> times.mean.round(4)
        array([1.2707, 2.2604])
        >>> durations = times.durations(seed=0)
        >>> [durations(0, j) for j in range(4)]
        [1.5, 1.5, 2.0, 0.5]
    """
    model("ticks", times)
    tick = float(arguments("ticks", 1, tick=(tick, POSITIVE))[0][0][0])
    up = lambda values: tick * ceil(np.asarray(values) / tick)
    draw = lambda rng, i, n: up(times.draw(rng, i, n))
    rows = times.table
    table = rows and (lambda worker, first, count: up(rows(worker, first, count)))
    mean = np.full(times.num_workers, np.nan)
    own = getattr(times.draw, "__module__", "") == laws.__name__  # not one of the user's with the same name
    if times.plain and own and times.name in MEANS:
        numbers = {name: value for name, value in times.args.items() if name != "num_workers"}
        each = np.broadcast_arrays(mean, *(np.asarray(value) / tick for value in numbers.values()))[1:]
        mean = tick * MEANS[times.name](**dict(zip(numbers, each, strict=True)))
    args = {"base": spec(times), "tick": tick}
    return replace(times, name="ticks", mean=mean, draw=draw, table=table, args=args)


def ceil(x):
    """Rounded up; what is above a whole number by round-off alone is that number."""
    return np.ceil(x * (1 - 1e-12))


def exponential(mean, shift=0.0):
    """E ceil(shift + X), X exponential: sum over k = 0, 1, ... of P(shift + X > k)."""
    whole = ceil(shift)
    return whole + np.exp(-np.maximum(whole - shift, 0.0) / mean) / -np.expm1(-1 / mean)


def uniform(low, high):
    """E ceil(X), X uniform on [low, high]: the mean of the steps of ceil."""
    steps = lambda x: (c := np.ceil(x)) * x - c * (c - 1) / 2  # integral of ceil from 0 to x
    width = high - low
    return np.where(width > 0, (steps(high) - steps(low)) / np.where(width > 0, width, 1.0), ceil(low))


MEANS: dict[str, Callable] = {
    "fixed": lambda mean: ceil(mean),
    "exponential": exponential,
    "shifted_exponential": lambda shift, mean: exponential(mean, shift),
    "uniform": uniform,
}
