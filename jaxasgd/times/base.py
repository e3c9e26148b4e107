"""The contract of worker-time models: laws of durations, and what else a cluster does to them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..checks import function, string

CLOCK_STREAM = 0x71C5  # second word of every stream's seed: the clock shares no numbers with policies and samples
BLOCK = 64  # durations are drawn so many at a time
NONE = -(1 << 62)  # in the place of a job, where a worker has no block yet
Draw = Callable[[np.random.Generator, int, int], np.ndarray]


def stream(seed: int, *words: int) -> np.random.Generator:
    """The generator of one run's clock that belongs to these words: counter-based, independent of all others."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, CLOCK_STREAM, *words])))


class Durations:
    """The durations of one run: `durations(worker, job)` is a float, seconds per unit of work.

    A pure function of (model, seed, worker, job), whatever the order of the calls: worker i draws from a stream of its
    own, Philox seeded by `SeedSequence([seed, CLOCK_STREAM, i])`, in blocks of `BLOCK` jobs; going back to an earlier
    block draws the stream again. ValueError where the model draws nan or a negative number; 0 is legal, and inf.

    Args:
        times: the model.
        seed: of the run.
        words: further words of every stream's seed, after the worker, where a run has several laws.
    """

    __slots__ = (
        "_first",
        "_firsts",
        "_place",
        "_places",
        "_streams",
        "_values",
        "_view",
        "seed",
        "times",
        "used",
        "words",
    )

    def __init__(self, times: Times, seed: int, *words: int) -> None:
        self.times, self.words = times, words
        self.seed = integer(seed, 0, f"{times.name}.durations: seed", "e.g. seed=0")
        self._first = np.full(times.num_workers, NONE)  # the job that each worker's current block begins with
        self._place = np.zeros(times.num_workers, np.int32)  # the block's row in `_values`
        self._values = np.empty((0, BLOCK))
        self._firsts, self._places = self._first.data, self._place.data  # memory views: quicker, one by one
        self._view: Any = None  # of `_values`
        self._streams: dict[int, np.random.Generator] = {}  # worker -> its stream, right after that block
        self.used = 0  # rows of `_values`

    def __call__(self, worker: int, job: int) -> float:
        try:
            if 0 <= worker < len(self._first):
                offset = job - self._firsts[worker]
                if 0 <= offset < BLOCK:
                    return self._view[self._places[worker], offset]
        except (TypeError, ValueError):
            pass  # no numbers: what is wrong is said below
        return self._fetch(worker, job).item(job % BLOCK)

    def many(self, workers: np.ndarray, jobs: np.ndarray) -> np.ndarray:
        """The same numbers for many workers at once, f8, of the shape of `workers`; workers are in range."""
        offset = jobs - self._first[workers]
        for k in np.flatnonzero((offset < 0) | (offset >= BLOCK)).tolist():
            job = int(jobs[k])
            self._fetch(int(workers[k]), job)
            offset[k] = job % BLOCK
        return self._values[self._place[workers], offset]

    def blocks(self, worker: int) -> Iterator[np.ndarray]:
        """A worker's durations from its first job on, `BLOCK` at a time, without end; not checked, and not kept."""
        generator = stream(self.seed, worker, *self.words)
        if self.times.table is not None:
            return self._rows(worker, self.times.table)
        return (self.times.draw(generator, worker, BLOCK) for _ in iter(int, 1))

    def _rows(self, worker, table):
        first = 0
        while True:
            yield table(worker, first, BLOCK)
            first += BLOCK

    def _fetch(self, worker: int, job: int) -> np.ndarray:
        """The block that the job is in."""
        most = len(self._first) - 1
        if not (worker.__class__ is int and job.__class__ is int and 0 <= worker <= most and job >= 0):
            worker = integer(worker, 0, f"{self.times.name}: worker", "a worker of the model", most)
            job = integer(job, 0, f"{self.times.name}: job", "how many jobs the worker started before")
        first, current = job - job % BLOCK, int(self._first[worker])
        if current == NONE:
            if self.used == len(self._values):
                grown = np.empty((max(16, 2 * self.used), BLOCK))
                grown[: self.used] = self._values
                self._values, self._view = grown, grown.data
            self._place[worker] = self.used
            self.used += 1
        if self.times.table is not None:
            values = checked(self.times, self.times.table(worker, first, BLOCK), worker, first)
        else:
            if first < current or current == NONE:
                self._streams[worker], current = stream(self.seed, worker, *self.words), -BLOCK
            while current < first:
                current += BLOCK
                values = checked(self.times, self.times.draw(self._streams[worker], worker, BLOCK), worker, current)
        row = self._values[self._place[worker]]
        row[:] = values
        self._first[worker] = first
        return row


def checked(times, drawn, worker: int, first: int) -> np.ndarray:
    """A block as the model drew it, if these are durations."""
    values = np.asarray(drawn)
    if values.shape == (BLOCK,) and values.dtype == np.float64 and values.min() >= 0:
        return values
    if values.shape != (BLOCK,) or values.dtype.kind not in "iuf":
        raise ValueError(
            f"{times.name}: draw(rng, worker, count) returns `count` numbers; for worker {worker} and count "
            f"{BLOCK} got shape {values.shape} of {values.dtype}. Draw with size=count."
        )
    bad = ~(values >= 0)
    if bad.any():
        k = int(bad.argmax())
        raise ValueError(
            f"{times.name}: a duration is a number of seconds >= 0 (inf: never finishes); worker {worker} "
            f"drew {values[k]} for its job {first + k}. Change the law, e.g. np.maximum(values, 0.0)."
        )
    return values


@dataclass(frozen=True, eq=False, repr=False)
class Times:
    """A worker-time model: one law of durations for each worker, and what else the cluster does to its jobs.

    Args:
        name: the law's name, for messages and spec files.
        mean: mean seconds of one gradient of each worker, f8 [num_workers]; inf where there is none, nan where unknown.
        draw: `draw(rng, worker, count) -> [count]` seconds per unit of work, from a NumPy Generator.
        args: JSON-able numbers; for a law, `getattr(ja.times, times.name)(**times.args)` builds it again.
        table: None, or `table(worker, first, count) -> [count]`, the seconds of the worker's jobs first, first + 1,
            ... instead of `draw`: a record.
        power: None, or how fast each worker is at each moment (`with_power`): a `Pieces`; seconds are then those of
            work at power 1.
        absences: None, or when each worker is not there (`with_absences`): an `Absences`.
        down, up: None, or the seconds that a job's parameters take to the worker, and its gradient to the server
            (`with_messages`): models of as many workers.
        receive, update: None, or the seconds that the server spends on a gradient that arrives, and on an update
            (`with_server`): models of one worker.

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
    table: Callable | None = None
    power: Any = None
    absences: Any = None
    down: Times | None = None
    up: Times | None = None
    receive: Times | None = None
    update: Times | None = None

    def __post_init__(self):
        string("a worker-time model's name", self.name)
        for part, takes in (("draw", "(rng, worker, count)"), ("table", "(worker, first, count)")):
            if part == "draw" or self.table is not None:
                function(f"times.{self.name}: {part}", getattr(self, part), takes)
        mean = numbers(self.name, "mean", self.mean)
        if mean.ndim != 1 or (mean < 0).any():
            raise ValueError(f"times.{self.name}: mean is one number >= 0 for each worker, [num_workers]; got {mean}.")
        mean.flags.writeable = False
        object.__setattr__(self, "mean", mean)

    @property
    def num_workers(self) -> int:
        """The number of workers."""
        return len(self.mean)

    @property
    def plain(self) -> bool:
        """Whether a job of so many units just takes so many times its duration, and the server takes no time."""
        parts = (self.power, self.absences, self.down, self.up, self.receive, self.update)
        return all(part is None for part in parts)

    def durations(self, seed: int) -> Durations:
        """The durations of one run: `durations(worker, job)` in seconds, the same under every policy."""
        return Durations(self, seed)

    def __repr__(self):
        return f"Times({self.name}, num_workers={self.num_workers}, mean={self.mean.min():.4g}..{self.mean.max():.4g})"


# The rule of an argument: in words, and as a test.
POSITIVE = ("positive and finite", lambda x: (x > 0) & (x < np.inf))
NON_NEGATIVE = ("finite and >= 0", lambda x: (x >= 0) & (x < np.inf))
POSITIVE_OR_INF = ("positive (inf where there is no mean)", lambda x: x > 0)
ABOVE_ONE = ("finite and > 1, or give minimum= instead of mean=", lambda x: (x > 1) & (x < np.inf))
SHARE = ("a probability, 0 to 1", lambda x: (x >= 0) & (x <= 1))


def integer(value, least: int, what: str, remedy: str, most: float = np.inf) -> int:
    """A whole number from `least` to `most`."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or not least <= value <= most:
        within = f">= {least}" if most == np.inf else f"in {least} .. {most}"
        raise ValueError(f"{what} is an integer {within}; got {value!r}. Pass {remedy}.")
    return operator.index(value)


def numbers(law: str, name: str, value) -> np.ndarray:
    """`value` as a new, non-empty f8 array of zero or one dimension."""
    try:
        array = np.asarray(value)
    except ValueError:  # rows of several lengths
        array = np.empty((0, 0))
    if array.dtype.kind not in "iuf" or array.ndim > 1 or not array.size:
        got = f"shape {array.shape} of {array.dtype}" if array.ndim else repr(value)
        raise ValueError(
            f"times.{law}: {name} is one number, or one number per worker in one dimension; got {got}. "
            f"Write e.g. {name}=2.0 or {name}=np.linspace(2, 10, num_workers)."
        )
    return array.astype(np.float64)


def arguments(law: str, num_workers: int | None, **given) -> tuple[list[np.ndarray], dict]:
    """Check name=(value, rule) and broadcast to [num_workers]; with the numbers as given, for spec files."""
    arrays = {name: numbers(law, name, value) for name, (value, _) in given.items()}
    for name, array in arrays.items():
        says, keeps = given[name][1]
        bad = np.atleast_1d(~keeps(array))
        if bad.any():
            i = int(bad.argmax())
            got = f"worker {i} has {array[i]}" if array.ndim else f"got {array} for every worker"
            raise ValueError(f"times.{law}: {name} must be {says}; {got}. Change it, or leave that worker out.")
    lengths = {name: array.size for name, array in arrays.items() if array.ndim}
    if num_workers is not None:
        lengths["num_workers"] = integer(num_workers, 1, f"times.{law}: num_workers", "e.g. num_workers=8")
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


def model(law: str, times) -> Times:
    """A worker-time model, or an error: what every function that changes one begins with."""
    if not isinstance(times, Times):
        raise ValueError(f"times.{law} changes a model, e.g. fixed(1.0, num_workers=8); got {times!r}.")
    return times


def spec(times: Times) -> dict:
    """What a spec file says of a model that another is made of."""
    return {"name": times.name, "args": times.args}
