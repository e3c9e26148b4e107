"""Worker-time models: how many seconds each worker needs for one gradient.

A model is a law of durations for each worker. The j-th job a worker ever starts lasts the same number of seconds under
every policy (common random numbers), so a difference between two methods is never luck of the clock. Units are seconds
of the run's clock per unit of work. Every argument of a law is one number, or one number per worker; `num_workers` says
how many workers there are where all arguments are single numbers.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

CLOCK_STREAM = 0x71C5  # second word of every stream's seed: the clock shares no numbers with policies and samples
BLOCK = 64  # durations are drawn so many at a time
Draw = Callable[[np.random.Generator, int, int], np.ndarray]


class Durations:
    """The durations of one run: `durations(worker, job)` is a float, seconds per unit of work.

    A pure function of (model, seed, worker, job), whatever the order of the calls: worker i draws from a stream of its
    own, Philox seeded by `SeedSequence([seed, CLOCK_STREAM, i])`, in blocks of `BLOCK` jobs; going back to an earlier
    block draws the stream again. ValueError where the model draws nan or a negative number; 0 is legal, and inf.
    """

    __slots__ = ("_first", "_streams", "_values", "seed", "times")

    def __init__(self, times: Times, seed: int):
        self.times = times
        self.seed = _integer(seed, 0, f"{times.name}.durations: seed", "e.g. seed=0")
        self._first: dict[int, int] = {}  # worker -> the job its current block begins with
        self._values: dict[int, list[float]] = {}  # worker -> that block
        self._streams: dict[int, np.random.Generator] = {}  # worker -> its stream, right after that block

    def __call__(self, worker: int, job: int) -> float:
        try:
            offset = job - self._first[worker]
            if 0 <= offset < BLOCK:
                return self._values[worker][offset]
        except KeyError:
            pass
        return self._fetch(worker, job)

    def _fetch(self, worker: int, job: int) -> float:
        worker = _integer(worker, 0, f"{self.times.name}: worker", "a worker of the model", self.times.num_workers - 1)
        job = _integer(job, 0, f"{self.times.name}: job", "how many jobs the worker started before")
        first, current = job - job % BLOCK, self._first.get(worker)
        if current is None or first < current:
            stream = np.random.SeedSequence([self.seed, CLOCK_STREAM, worker])
            self._streams[worker], current = np.random.Generator(np.random.Philox(stream)), -BLOCK
        while current < first:
            current += BLOCK
            values = self._block(worker, current)
        self._first[worker], self._values[worker] = first, values
        return values[job - first]

    def _block(self, worker: int, first: int) -> list[float]:
        values = np.asarray(self.times.draw(self._streams[worker], worker, BLOCK))
        if values.shape != (BLOCK,) or values.dtype.kind not in "iuf":
            raise ValueError(
                f"{self.times.name}: draw(rng, worker, count) returns `count` numbers; for worker {worker} and count "
                f"{BLOCK} got shape {values.shape} of {values.dtype}. Draw with size=count."
            )
        bad = ~(values >= 0)
        if bad.any():
            k = int(bad.argmax())
            raise ValueError(
                f"{self.times.name}: a duration is a number of seconds >= 0 (inf: never finishes); worker {worker} "
                f"drew {values[k]} for its job {first + k}. Change the law, e.g. np.maximum(values, 0.0)."
            )
        return values.astype(np.float64).tolist()


@dataclass(frozen=True, eq=False, repr=False)
class Times:
    """A worker-time model: one law of durations for each worker.

    Args:
        name: the law's name, for messages and spec files.
        mean: mean seconds of one gradient of each worker, f8 [num_workers]; inf where there is none, nan where unknown.
        draw: `draw(rng, worker, count) -> [count]` seconds per unit of work, from a NumPy Generator.
        args: JSON-able numbers; for a law, `getattr(ja.times, times.name)(**times.args)` builds it again.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.gamma(mean=[1.0, 2.0, 4.0])
        >>> times
        Times(gamma, num_workers=3, mean=1..4)
        >>> times.durations(seed=0)(2, 100) == times.durations(seed=0)(2, 100)
        True
    """

    name: str
    mean: np.ndarray
    draw: Draw
    args: dict = field(default_factory=dict)

    def __post_init__(self):
        mean = _numbers(self.name, "mean", self.mean)
        if mean.ndim != 1 or (mean < 0).any():
            raise ValueError(f"times.{self.name}: mean is one number >= 0 for each worker, [num_workers]; got {mean}.")
        mean.flags.writeable = False
        object.__setattr__(self, "mean", mean)

    @property
    def num_workers(self) -> int:
        """The number of workers."""
        return len(self.mean)

    def durations(self, seed: int) -> Durations:
        """The durations of one run: `durations(worker, job)` in seconds, the same under every policy."""
        return Durations(self, seed)

    def __repr__(self):
        return f"Times({self.name}, num_workers={self.num_workers}, mean={self.mean.min():.4g}..{self.mean.max():.4g})"


def fixed(mean, *, num_workers: int | None = None) -> Times:
    """Constant times: every job of worker i takes `mean[i]` seconds.

    The fixed computation model of the theory, e.g. Mishchenko, Bach, Even and Woodworth 2022 (arXiv:2206.07638).
    ValueError unless `mean` > 0 and finite.

    Example:
        >>> import jaxasgd as ja, numpy as np
        >>> ja.times.fixed(np.sqrt(np.arange(1, 5))).durations(seed=0)(3, 17)
        2.0
    """
    (mean,), args = _arguments("fixed", num_workers, mean=(mean, POSITIVE))
    return Times("fixed", mean, lambda rng, i, n: np.full(n, mean[i]), args)


def exponential(mean, *, num_workers: int | None = None) -> Times:
    """Exponential times: density exp(-t / mean) / mean, mean in seconds.

    Memoryless: the next arrival is worker i's with probability (1 / mean_i) / sum_j (1 / mean_j), whoever came last.
    Used by Mitliagkas et al. 2016 (arXiv:1605.09774). ValueError unless `mean` > 0 and finite.

    Example:
        >>> import jaxasgd as ja
        >>> ja.times.exponential(2.0, num_workers=8)
        Times(exponential, num_workers=8, mean=2..2)
    """
    (mean,), args = _arguments("exponential", num_workers, mean=(mean, POSITIVE))
    return Times("exponential", mean, lambda rng, i, n: mean[i] * rng.standard_exponential(n), args)


def shifted_exponential(shift, mean, *, num_workers: int | None = None) -> Times:
    """A constant plus an exponential: density exp(-(t - shift) / mean) / mean for t >= shift, both in seconds.

    `mean` is that of the exponential part alone; the whole has mean shift + mean (this is `Times.mean`) and standard
    deviation mean. The law of coded computing. ValueError unless `shift` >= 0, `mean` > 0, both finite.

    Example:
        >>> import jaxasgd as ja
        >>> ja.times.shifted_exponential(shift=0.5, mean=[0.5, 1.5]).mean
        array([1., 2.])
    """
    rules = {"shift": (shift, NON_NEGATIVE), "mean": (mean, POSITIVE)}
    (shift, mean), args = _arguments("shifted_exponential", num_workers, **rules)
    return Times(
        "shifted_exponential", shift + mean, lambda rng, i, n: shift[i] + mean[i] * rng.standard_exponential(n), args
    )


def uniform(low, high, *, num_workers: int | None = None) -> Times:
    """Uniform times: density 1 / (high - low) on [low, high] seconds; constant where low = high.

    Mean (low + high) / 2, standard deviation (high - low) / sqrt(12). ValueError unless 0 <= `low` <= `high`, with
    `high` > 0 and finite.

    Example:
        >>> import jaxasgd as ja
        >>> ja.times.uniform(low=0.5, high=[1.5, 3.5]).mean
        array([1., 2.])
    """
    (low, high), args = _arguments("uniform", num_workers, low=(low, NON_NEGATIVE), high=(high, POSITIVE))
    if (low > high).any():
        i = int((low > high).argmax())
        raise ValueError(f"times.uniform: low <= high; worker {i} has low={low[i]}, high={high[i]}. Swap the two.")
    return Times("uniform", low + (high - low) / 2, lambda rng, i, n: rng.uniform(low[i], high[i], n), args)


def gamma(mean, cv=0.1, *, num_workers: int | None = None) -> Times:
    """Gamma times: density t^(k-1) exp(-t / s) / (Gamma(k) s^k), shape k = 1 / cv^2, scale s = mean cv^2 seconds.

    `cv` is the coefficient of variation: the standard deviation is cv mean; cv = 1 is exponential, a small cv nearly
    constant. The CVB model of Ali et al. 2000, as used for DANA (Hakimi, Barkai, Gabel and Schuster 2019,
    arXiv:1907.11612); their heterogeneous fleets draw the machines' means once from the same family with cv 0.6: pass
    `mean=rng.gamma(1 / 0.36, 0.36 * mu, num_workers)`. ValueError unless `mean` > 0 and `cv` > 0, both finite.

    Example:
        >>> import jaxasgd as ja
        >>> ja.times.gamma(mean=128.0, cv=0.1, num_workers=32)
        Times(gamma, num_workers=32, mean=128..128)
    """
    (mean, cv), args = _arguments("gamma", num_workers, mean=(mean, POSITIVE), cv=(cv, POSITIVE))
    shape, scale = 1 / cv**2, mean * cv**2
    return Times("gamma", mean, lambda rng, i, n: scale[i] * rng.standard_gamma(shape[i], n), args)


def lognormal(mean, sigma, *, num_workers: int | None = None) -> Times:
    """Log-normal times: t = mean exp(sigma z - sigma^2 / 2) seconds, z standard normal.

    `mean` is E[t] exactly; the median is mean exp(-sigma^2 / 2), the standard deviation mean sqrt(exp(sigma^2) - 1);
    sigma = 0 is constant. ValueError unless `mean` > 0 and `sigma` >= 0, both finite.

    Example:
        >>> import jaxasgd as ja, numpy as np
        >>> ja.times.lognormal(mean=np.linspace(1, 10, 64), sigma=0.5)
        Times(lognormal, num_workers=64, mean=1..10)
    """
    (mean, sigma), args = _arguments("lognormal", num_workers, mean=(mean, POSITIVE), sigma=(sigma, NON_NEGATIVE))
    return Times(
        "lognormal", mean, lambda rng, i, n: mean[i] * np.exp(sigma[i] * (rng.standard_normal(n) - sigma[i] / 2)), args
    )


def pareto(mean=None, alpha=None, *, minimum=None, num_workers: int | None = None) -> Times:
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
        (mean, alpha), args = _arguments("pareto", num_workers, mean=(mean, POSITIVE), alpha=(alpha, ABOVE_ONE))
        minimum = mean * ((alpha - 1) / alpha)
    else:
        (minimum, alpha), args = _arguments("pareto", num_workers, minimum=(minimum, POSITIVE), alpha=(alpha, POSITIVE))
        mean = np.divide(minimum * alpha, alpha - 1, where=alpha > 1, out=np.full(len(alpha), np.inf))
    return Times("pareto", mean, lambda rng, i, n: minimum[i] * (1 + rng.pareto(alpha[i], n)), args)


def custom(draw: Draw, num_workers: int, *, mean=None, name: str = "custom") -> Times:
    """Times of your own: `draw(rng, worker, count)` returns `count` durations in seconds of that worker.

    Each worker has a Generator of its own, asked for `BLOCK` jobs at a time; take all randomness from it. `mean` is inf
    where there is none; None: unknown, nan. Drawing nan or a negative number raises ValueError.

    Example: fixed times plus half-normal jitter, as in the experiments with Ringmaster ASGD (arXiv:2501.16168).
        >>> import jaxasgd as ja, numpy as np
        >>> h = np.sqrt(np.arange(1, 9))
        >>> def jittered(rng, worker, count):
        ...     return h[worker] * (1 + np.abs(rng.standard_normal(count)))
        >>> ja.times.custom(jittered, num_workers=8, mean=h * (1 + np.sqrt(2 / np.pi)), name="half_normal")
        Times(half_normal, num_workers=8, mean=1.798..5.085)
    """
    if not callable(draw):
        raise ValueError(f"times.custom: draw is a function draw(rng, worker, count) -> [count] seconds; got {draw!r}.")
    num_workers = _integer(num_workers, 1, "times.custom: num_workers", "e.g. num_workers=8")
    if mean is None:
        return Times(name, np.full(num_workers, np.nan), draw, {"num_workers": num_workers})
    (mean,), args = _arguments("custom", num_workers, mean=(mean, POSITIVE_OR_INF))
    return Times(name, mean, draw, args)


def with_straggler(times: Times, worker: int = 0, factor: float = 10.0) -> Times:
    """The same times on the same luck, but one worker takes `factor` times as long: t_worker -> factor t_worker.

    ValueError unless `times` is a model, `worker` one of its workers, and `factor` > 0 and finite.

    Example:
        >>> import jaxasgd as ja
        >>> ja.times.with_straggler(ja.times.fixed(1.0, num_workers=4), worker=3).mean
        array([ 1.,  1.,  1., 10.])
    """
    if not isinstance(times, Times):
        raise ValueError(f"times.with_straggler changes a model, e.g. fixed(1.0, num_workers=8); got {times!r}.")
    slow = _integer(worker, 0, "times.with_straggler: worker", "a worker of the model", times.num_workers - 1)
    factor = float(_arguments("with_straggler", 1, factor=(factor, POSITIVE))[0][0][0])
    mean = np.where(np.arange(times.num_workers) == slow, factor, 1.0) * times.mean

    def draw(rng, worker, count):
        values = times.draw(rng, worker, count)
        return factor * np.asarray(values) if worker == slow else values

    args = {"base": {"name": times.name, "args": times.args}, "worker": slow, "factor": factor}
    return Times("with_straggler", mean, draw, args)


# The rule of an argument: in words, and as a test.
POSITIVE = ("positive and finite", lambda x: (x > 0) & (x < np.inf))
NON_NEGATIVE = ("finite and >= 0", lambda x: (x >= 0) & (x < np.inf))
POSITIVE_OR_INF = ("positive (inf where there is no mean)", lambda x: x > 0)
ABOVE_ONE = ("finite and > 1, or give minimum= instead of mean=", lambda x: (x > 1) & (x < np.inf))


def _integer(value, least: int, what: str, remedy: str, most: float = np.inf) -> int:
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or not least <= value <= most:
        within = f">= {least}" if most == np.inf else f"in {least} .. {most}"
        raise ValueError(f"{what} is an integer {within}; got {value!r}. Pass {remedy}.")
    return operator.index(value)


def _numbers(law: str, name: str, value) -> np.ndarray:
    """`value` as a new, non-empty f8 array of zero or one dimension."""
    array = np.asarray(value)
    if array.dtype.kind not in "iuf" or array.ndim > 1 or not array.size:
        got = f"shape {array.shape} of {array.dtype}" if array.ndim else repr(value)
        raise ValueError(
            f"times.{law}: {name} is one number, or one number per worker in one dimension; got {got}. "
            f"Write e.g. {name}=2.0 or {name}=np.linspace(2, 10, num_workers)."
        )
    return array.astype(np.float64)


def _arguments(law: str, num_workers: int | None, **given) -> tuple[list[np.ndarray], dict]:
    """Check name=(value, rule) and broadcast to [num_workers]; with the numbers as given, for spec files."""
    arrays = {name: _numbers(law, name, value) for name, (value, _) in given.items()}
    for name, array in arrays.items():
        says, keeps = given[name][1]
        bad = np.atleast_1d(~keeps(array))
        if bad.any():
            i = int(bad.argmax())
            got = f"worker {i} has {array[i]}" if array.ndim else f"got {array} for every worker"
            raise ValueError(f"times.{law}: {name} must be {says}; {got}. Change it, or leave that worker out.")
    lengths = {name: array.size for name, array in arrays.items() if array.ndim}
    if num_workers is not None:
        lengths["num_workers"] = _integer(num_workers, 1, f"times.{law}: num_workers", "e.g. num_workers=8")
    if not lengths:
        raise ValueError(
            f"times.{law}: the number of workers is unknown, as every argument is a single number; add "
            f"num_workers=8, or give one number per worker, e.g. {next(iter(arrays))}=[2.0, 3.0]."
        )
    if len(set(lengths.values())) > 1:
        raise ValueError(
            f"times.{law}: an argument is one number, or has one for each worker; make the lengths agree: {lengths}."
        )
    (length,) = set(lengths.values())
    args = {name: array.tolist() for name, array in arrays.items()} | {"num_workers": length}
    return [np.broadcast_to(array, (length,)) for array in arrays.values()], args
