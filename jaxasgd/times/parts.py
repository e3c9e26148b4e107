"""What the functions that change a model have in common: parts given as numbers or models, and what a spec says."""

from __future__ import annotations

import hashlib
import math

import numpy as np

from .base import BLOCK, NON_NEGATIVE, POSITIVE, Times, arguments, checked, spec

MOST_NUMBERS = 1000  # in a spec file; of more it has a digest


def seconds(function: str, name: str, value, num_workers: int) -> tuple[Times | None, object]:
    """Seconds that are the same every time (a number, or one per worker) or a model; with what a spec says of them."""
    if value is None or isinstance(value, Times):
        return law(function, name, value, num_workers)
    (each,), args = arguments(function, num_workers, **{name: (value, NON_NEGATIVE)})
    if not each.any():
        return None, args[name]
    return Times("fixed", each, lambda rng, i, n: np.full(n, each[i]), {"mean": args[name]}), args[name]


def random_seconds(function: str, name: str, value, num_workers: int) -> tuple[Times, object]:
    """Exponential seconds with this mean (a number, or one per worker), or a model; with what a spec says of them."""
    if isinstance(value, Times):
        return law(function, name, value, num_workers)
    (mean,), args = arguments(function, num_workers, **{name: (value, POSITIVE)})
    return Times("exponential", mean, lambda rng, i, n: mean[i] * rng.standard_exponential(n), {}), args[name]


def law(function: str, name: str, value: Times | None, num_workers: int):
    """A model that is nothing but a law, with the right number of workers."""
    if value is None:
        return None, None
    if value.num_workers != num_workers:
        raise ValueError(
            f"times.{function}: {name} is a number, or a model of {num_workers} worker{'s' * (num_workers > 1)}; got "
            f"one of {value.num_workers}. Give it num_workers={num_workers}."
        )
    if not value.plain:
        raise ValueError(
            f"times.{function}: {name} is a law of seconds, without powers, absences, messages or a server of its own; "
            f"got {value!r}. Take e.g. exponential({float(value.mean[0]):.3g}, num_workers={num_workers})."
        )
    return value, spec(value)


def endless(times: Times, rng: np.random.Generator, worker: int):
    """A worker's durations one after the other, checked."""
    first = 0
    while True:
        block = times.draw(rng, worker, BLOCK) if times.table is None else times.table(worker, first, BLOCK)
        yield from checked(times, block, worker, first).tolist()
        first += BLOCK


def messages(times: Times) -> np.ndarray:
    """Mean seconds of a job's messages, [num_workers]."""
    parts = [part.mean for part in (times.down, times.up) if part is not None]
    return sum(parts, np.zeros(times.num_workers))


def slower(times: Times, factor) -> np.ndarray:
    """The mean seconds of a gradient whose work takes `factor` times as long, [num_workers]; messages do not change."""
    factor, extra = np.broadcast_to(np.asarray(factor, np.float64), (times.num_workers,)), messages(times)
    with np.errstate(invalid="ignore"):
        changed = factor * (times.mean - extra) + extra if extra.any() else factor * times.mean
    return np.where(factor == 1, times.mean, np.where(times.mean == math.inf, math.inf, changed))


def array(value) -> np.ndarray:
    """An array; of dtype object if it has no shape."""
    try:
        return np.asarray(value)
    except ValueError:  # rows of different lengths
        return np.asarray(None)


def told(values: np.ndarray) -> object:
    """Numbers for a spec file: themselves, or of many how many they are and a digest."""
    return values.tolist() if values.size <= MOST_NUMBERS else digest([values])


def digest(arrays: list[np.ndarray]) -> dict:
    """How many numbers there are, and a digest of them and of their shapes."""
    made = hashlib.sha256()
    for each in arrays:
        made.update(repr(each.shape).encode())
        made.update(np.ascontiguousarray(each, "<f8").tobytes())
    return {"count": sum(each.size for each in arrays), "sha256": made.hexdigest()}
