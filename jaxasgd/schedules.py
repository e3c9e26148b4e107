"""Schedules without a clock: delays that are fixed, follow a pattern, are drawn from a law, or were measured. NumPy.

All are runs with an update a second: update t arrives at second t + 1, and version v is made at second v.
"""

from __future__ import annotations

import gzip
import hashlib
import heapq
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .checks import path as path_of
from .checks import real, shown, whole
from .schedule import Schedule

__all__ = ["fixed_delay", "from_delays", "geometric_delays", "periodic_delays", "random_delays", "read_delays"]

LARGEST = np.iinfo(np.int32).max  # a version that a schedule can hold
NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?", re.ASCII)


def fixed_delay(delay: int, num_updates: int) -> Schedule:
    """Every update uses a gradient that is `delay` updates old, from the start on as old as there is.

        x[t+1] = x[t] - lr * g(x[t - min(t, delay)])

    The rows of `ja.simulate(ja.policies.asgd(), ja.times.fixed(1.0, num_workers=delay + 1), ...)`: update t is
    worker t mod (delay + 1)'s.

    Args:
        delay: in updates, a whole number; there are `delay + 1` workers.
        num_updates: 1 or more.

    Example:
        >>> import jaxasgd as ja
        >>> from jaxasgd import schedules
        >>> schedule = schedules.fixed_delay(2, num_updates=6)
        >>> schedule.delay.tolist(), schedule.worker.tolist()
        ([0, 1, 2, 2, 2, 2], [0, 1, 2, 0, 1, 2])
    """
    delay, num_updates = whole("delay", delay), whole("num_updates", num_updates, 1)
    return one_each(np.full(num_updates, min(delay, num_updates)), delay + 1, {"delays": "fixed", "delay": delay})


def periodic_delays(pattern: ArrayLike, num_updates: int, *, num_workers: int | None = None) -> Schedule:
    """Delays that come again and again: `delay[t] = min(t, pattern[t mod len(pattern)])`.

    Args:
        pattern: whole numbers, 0 or more, [length].
        num_updates: 1 or more.
        num_workers: see `from_delays`.

    Example:
        >>> from jaxasgd import schedules
        >>> schedules.periodic_delays([0, 0, 3], num_updates=9).delay.tolist()
        [0, 0, 2, 0, 0, 3, 0, 0, 3]
    """
    pattern, num_updates = delays_in("pattern", pattern, 1), whole("num_updates", num_updates, 1)
    return one_each(np.resize(pattern, num_updates), num_workers, {"delays": "periodic", "pattern": digest(pattern)})


def random_delays(law: Any, num_updates: int, *, num_workers: int | None = None, seed: int = 0) -> Schedule:
    """Independent delays, all of one law: `delay[t] = min(t, d[t])`, d[t] drawn from `law`.

    Args:
        law: probabilities of the delays 0, 1, 2, ..., which sum to one; or a function `law(rng, count) -> d` that is
            called once, with NumPy's generator, and gives whole numbers, [count].
        num_updates: 1 or more.
        num_workers: see `from_delays`. How many are needed depends on the seed: give enough for all seeds where these
            share a plan (`ja.stack`) or a problem with shards.
        seed: of `numpy.random.default_rng`.

    Example:
        >>> from jaxasgd import schedules
        >>> schedule = schedules.random_delays([0.5, 0.0, 0.5], num_updates=1000, seed=0)
        >>> sorted(set(schedule.delay[2:].tolist())), round(schedule.mean_delay, 1)
        ([0, 2], 1.1)
        >>> schedule = schedules.random_delays(lambda rng, count: rng.poisson(7.0, count), num_updates=1000)
        >>> round(schedule.mean_delay, 1)
        6.9
    """
    num_updates, rng = whole("num_updates", num_updates, 1), np.random.default_rng(whole("seed", seed))
    if callable(law):
        drawn = delays_in("law(rng, count)", law(rng, num_updates), 1)
        if len(drawn) != num_updates:
            raise ValueError(f"law(rng, count) gives count whole numbers, {num_updates} here; got {len(drawn)}.")
        told = {"name": getattr(law, "__name__", type(law).__name__), **digest(drawn)}
    else:
        share = numbers("law", law, "probabilities of the delays 0, 1, 2, ... (or it is a function)", 1).astype(float)
        if not ((share >= 0).all() and abs(share.sum() - 1) < 1e-6):
            rule = "law: probabilities are 0 or more and sum to one"
            raise ValueError(f"{rule}; got a sum of {share.sum():.9g}, the smallest being {share.min():.6g}.")
        drawn, told = rng.choice(len(share), num_updates, p=share / share.sum()), digest(share)
    return one_each(drawn, num_workers, {"delays": "random", "law": told, "seed": int(seed)})


def geometric_delays(mean: float, num_updates: int, *, num_workers: int | None = None, seed: int = 0) -> Schedule:
    """Independent delays with the law that n equal exponential workers have, mean = n - 1.

        P(d[t] = k) = (1 - q) q^k,    q = mean / (1 + mean);    delay[t] = min(t, d[t])

    Only the law is theirs: their delays depend on one another.

    Args:
        mean: in updates, a number, 0 or more.
        num_updates, num_workers, seed: see `random_delays`.

    Source: I. Mitliagkas, C. Zhang, S. Hadjis, C. Re, 2016, arXiv 1605.09774.

    Example:
        >>> from jaxasgd import schedules
        >>> schedule = schedules.geometric_delays(7.0, num_updates=10_000, seed=0)
        >>> round(schedule.mean_delay, 1), round(float((schedule.delay == 0).mean()), 2)
        (6.9, 0.12)
    """
    mean, num_updates = real("mean", mean, 0, " of updates"), whole("num_updates", num_updates, 1)
    drawn = np.random.default_rng(whole("seed", seed)).geometric(1 / (1 + mean), num_updates) - 1
    return one_each(drawn, num_workers, {"delays": "geometric", "mean": mean, "seed": int(seed)})


def from_delays(delays: ArrayLike, *, num_workers: int | None = None) -> Schedule:
    """A run of which only the delays are known: measured elsewhere, or made up.

    `delays` [updates]: the delay of every update, one gradient each, as in asynchronous SGD,

        x[t+1] = x[t] - lr * g(x[t - delays[t]])

    The job of update t is in flight from version t - delays[t] until then, and the free worker with the smallest number
    does it. That needs the fewest workers who can have such delays: the largest number of jobs in flight at once.

    `delays` [updates, workers]: ages of the entries of a table with everybody's latest gradient, as PIAG keeps it,

        x[t+1] = x[t] - lr * (1/n) sum_i g_i(x[t - delays[t, i]])

    For update t those workers have delivered whose entry is not just one update older than before (for the first, all).
    They are the rows of update t, in order. The last of them, of weight 1, makes the update, and the tag `delay` is the
    age of the oldest entry, as with `ja.policies.aggregated`: run it with `ja.methods.piag`, or with any
    `ja.Method(..., arrival=ja.rules.average_latest(num_workers))`.

    Args:
        delays: whole numbers, 0 or more, at most t in row t (no read is older than version 0).
        num_workers: None: the fewest. More may be given (they never arrive), but not for a table, which has a column
            for each.

    Returns:
        A `Schedule`. Jobs that never arrived are not known, so `unfinished` is empty; `start` is the second of the
        version that was read; `info` tells the SHA-256 of the numbers.

    Raises:
        ValueError: naming the row: a delay that is negative, not whole or above t; too few workers; an age that grows
            by more than one (an entry replaced by an older one); an update for which nobody has delivered (PIAG would
            step along its old mean again, and no row of a schedule says that).

    Source: of such measurements: X. Wu, S. Magnusson, H. R. Feyzmahdavian, M. Johansson, ICML 2022, arXiv 2202.08550.

    Example:
        >>> import jax
        >>> import jaxasgd as ja
        >>> from jaxasgd import schedules
        >>> schedule = schedules.from_delays([0, 1, 0, 3])
        >>> schedule.read.tolist(), schedule.worker.tolist()
        ([0, 0, 2, 0], [0, 1, 0, 2])
        >>> table = schedules.from_delays([[0, 0], [0, 1], [0, 2], [0, 1]])
        >>> table.worker.tolist(), table.read.tolist(), table.tags["delay"].tolist()
        ([0, 1, 0, 0, 0, 1], [0, 0, 1, 2, 3, 2], [nan, 0.0, 1.0, 2.0, nan, 1.0])
        >>> problem = ja.problems.quadratic(spectrum=[1.0], centers=[[0.0], [3.0]])
        >>> history = ja.run(problem, table, ja.methods.piag(0.9), key=jax.random.key(0))
        >>> int(history.update[-1])
        4
    """
    ages = delays_in("delays", delays, 1, 2)
    old = (np.arange(len(ages)) < ages.T).T
    if old.any():
        at, whose, age = place(old, ages)
        rule = f"row {at}{whose}: a delay is at most {at}, the number of updates before it (version 0 is the oldest)"
        raise ValueError(f"{rule}; got {age}.")
    info = {"delays": "given", "table": digest(ages)}
    if ages.ndim == 1:
        return one_each(ages, num_workers, info)
    if num_workers not in (None, ages.shape[1]):
        rule = f"a table has a column for each worker, {ages.shape[1]}"
        raise ValueError(f"{rule}; got num_workers={shown(num_workers)}: leave it out.")
    return from_table(ages, info)


def from_table(ages, info) -> Schedule:
    """Rows for the entries that are new: those that are not just one update older."""
    before = np.vstack([ages[:1], ages[:-1]])  # the first entries are all new
    older = ages > before + 1
    if older.any():
        at, whose, age = place(older, ages)
        rule = f"row {at}{whose}: an age grows by 1 from one update to the next, or is a newer gradient's"
        raise ValueError(f"{rule}; got {age} after {before[older][0]}: are rows missing?")
    new = ages != before + 1
    if not new.any(axis=1).all():
        at = int(np.argmin(new.any(axis=1)))
        rule = f"row {at}: for every update somebody has delivered, whose age is not one more than before"
        raise ValueError(f"{rule}; got {shown(ages[at].tolist())}: no row says that a table is used again as it was.")
    update, worker = np.nonzero(new)
    step = np.append(update[1:] != update[:-1], True)
    delay = np.where(step, ages.max(axis=1)[update], np.nan)
    return assembled(update, worker, ages[new], step, ages.shape[1], info, {"delay": delay})


def one_each(delays, num_workers, info) -> Schedule:
    """One row an update; delays of more updates than there were are of all."""
    delays = np.minimum(np.arange(len(delays)), delays)
    worker, num_workers = share_out(delays, num_workers)
    return assembled(np.arange(len(delays)), worker, delays, np.ones(len(delays), bool), num_workers, info, {})


def share_out(delays, num_workers):
    """The worker of every row, and how many there are: greedy interval colouring, which needs the fewest.

    Jobs are handed out in the order of what they read (then of arrival), each to the free worker with the smallest
    number; after update v its worker is free.
    """
    updates = len(delays)
    read = np.arange(updates) - delays
    order = np.argsort(read, kind="stable")
    flying = np.cumsum(np.bincount(read, minlength=updates)) - np.arange(updates)  # handed out less arrived, by version
    needed = int(flying.max())
    if num_workers is not None and whole("num_workers", num_workers, 1) < needed:
        version = int(np.argmax(flying > num_workers))
        raise ValueError(
            f"row {order[num_workers + version]}: its job is in flight with {num_workers} others at version {version}, "
            f"and there is no worker for it; with these delays num_workers is {needed} or more; got {num_workers}."
        )
    worker, free, done = [0] * updates, list(range(needed)), 0
    for row, version in zip(order.tolist(), read[order].tolist(), strict=True):
        while done < version:
            heapq.heappush(free, worker[done])
            done += 1
        worker[row] = heapq.heappop(free)
    return np.array(worker), needed if num_workers is None else int(num_workers)


def assembled(update, worker, delay, step, num_workers, info, tags) -> Schedule:
    """The table: every worker reads newer versions as it goes on, so its n-th job has visit n and repeat 0."""
    rows, read = len(update), update - delay
    order = np.argsort(worker, kind="stable")
    visit = np.empty(rows, np.int64)
    visit[order] = np.arange(rows) - np.searchsorted(worker[order], worker[order])
    return Schedule(
        time=update + 1.0,
        start=read.astype(np.float64),
        worker=worker,
        read=read,
        visit=visit,
        repeat=np.zeros(rows, np.int64),
        size=np.ones(rows, np.int64),
        use=np.ones(rows, bool),
        weight=step.astype(np.float64),
        step=step,
        num_workers=num_workers,
        end=float(update[-1] + 1),
        tags=tags,
        info=info,
    )


def numbers(name, given, what, *dimensions):
    """An array of numbers with so many dimensions, not empty."""
    try:
        array = np.asarray(given)
    except ValueError:  # ragged
        array = np.empty(0)
    if array.dtype.kind not in "iuf" or array.ndim not in dimensions or not array.size:
        raise ValueError(f"{name} holds {what}; got {shown(given)}.")
    return array


def delays_in(name, given, *dimensions):
    """Whole numbers, 0 or more, i8."""
    shapes = "[updates] or [updates, workers]" if 2 in dimensions else "in one dimension"
    array = numbers(name, given, f"whole numbers, 0 or more, {shapes}, at least one", *dimensions)
    bad = ~((array >= 0) & (array <= LARGEST) & (array == np.floor(array)))
    if bad.any():
        at, whose, number = place(bad, array)
        raise ValueError(f"{name}, row {at}{whose}: a delay is a whole number, 0...{LARGEST}; got {number}.")
    return array.astype(np.int64)


def place(bad, array):
    """The first row that is bad; in a table, whose entry; and the entry."""
    row, *column = np.argwhere(bad)[0]
    return row, f", worker {column[0]}" if column else "", array[bad][0]


def digest(array) -> dict:
    """What `info` says of an array: which it was, not what is in it."""
    plain = np.ascontiguousarray(array, "<i8" if array.dtype.kind == "i" else "<f8")
    return {"shape": list(array.shape), "sha256": hashlib.sha256(plain.tobytes()).hexdigest()}


def read_delays(path: str | Path) -> np.ndarray:
    """Delays from a CSV file, plain or gzipped: a line for every update, one number or as many as there are workers.

    Returns:
        i8, [updates] where lines hold one number, else [updates, workers], for `from_delays`. 7.0e+00 is 7.

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: naming the line: words, numbers that are no delays, lines of several lengths, an end within a line.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp(), "ages.csv")
        >>> _ = path.write_text("0.0e+00,0.0e+00\\n0.0e+00,1.0e+00\\n")
        >>> read_delays(path).tolist()
        [[0, 0], [0, 1]]
    """
    path = path_of("path", path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"no table of delays at {str(path)!r}.")
    raw = path.read_bytes()
    if path.suffix == ".gz" or raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{path.name!r} does not unpack ({error}): fetch the file again.") from error
    *lines, rest = raw.decode("latin-1").split("\n")
    table: list[list[int]] = []
    seen: dict[str, int] = {}

    def refuse(rule, line):
        raise ValueError(f"{path.name!r}, line {len(table) + 1}: {rule}; got {line[:60]!r}.")

    for line in lines:
        cells = line.removesuffix("\r").split(",")
        for cell in cells:
            if cell not in seen:
                number = float(cell) if NUMBER.fullmatch(cell.strip(" ")) else -1.0
                if not (0 <= number <= LARGEST and number.is_integer()):
                    refuse("delays are whole numbers, 0 or more, with commas between them", line)
                seen[cell] = int(number)
        if table and len(cells) != len(table[0]):
            refuse(f"all lines hold as many numbers as the first, {len(table[0])}", line)
        table.append([seen[cell] for cell in cells])
    if rest or not table:
        refuse("there is a line for every update, with an end: the file may be cut, fetch it again", rest)
    array = np.array(table, np.int64)
    return array[:, 0] if array.shape[1] == 1 else array
