"""Measured times: files of steps, played again or drawn from."""

from __future__ import annotations

import csv
import gzip
import math
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from ..checks import path as path_of
from ..checks import word
from .base import Times
from .parts import MOST_NUMBERS, digest
from .parts import array as plain


def read_steps(path: str | Path) -> list[np.ndarray]:
    """Read measured seconds from a CSV file: one column per worker, one row per step; an array for each worker.

    Args:
        path: a text file, or one compressed with gzip whose name ends in `.gz`. Commas between the cells. The first
            line may hold the workers' names. A column may end early: its last cells are empty. inf is a step that
            never ended.

    Returns:
        For each column its seconds, f8 [steps of that worker].

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a word, a nan, a negative number, a line with more or fewer cells than the first, a number below an
            empty cell, a worker without steps, no text; it names the file and the line.

    Example:
        >>> import pathlib, tempfile
        >>> import jaxasgd as ja
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "steps.csv"
        ...     _ = path.write_text("gpu,cpu\\n0.5,2.0\\n0.25,\\n")
        ...     steps = ja.times.read_steps(path)
        >>> [column.tolist() for column in steps]
        [[0.5, 0.25], [2.0]]
    """
    path = path_of("path", path)
    if not path.exists():
        raise FileNotFoundError(f"no steps at {str(path)!r}.")
    try:
        with (gzip.open if path.name.endswith(".gz") else open)(path, "rt", encoding="utf-8-sig", newline="") as file:
            return columns(path.name, csv.reader(file))
    except (OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error) as error:
        told = getattr(error, "strerror", None) or error
        raise ValueError(f"{path.name!r} is no CSV file of seconds: {told}. Save it as text, UTF-8.") from error


def columns(name: str, reader) -> list[np.ndarray]:
    """The columns of a file."""
    found: list[list] = []
    ends, names = [], []
    for row in reader:
        cells, where = [cell.strip() for cell in row], f"{name!r}, line {reader.line_num}"
        if not any(cells) and not found:
            continue  # before the first line
        if not found:
            found, ends, names = [[] for _ in cells], [0] * len(cells), [""] * len(cells)
            if all(number(cell) is None for cell in cells):
                names = [f" ({cell})" if cell else "" for cell in cells]
                continue
        if not any(cells):
            cells = [""] * len(found)
        if len(cells) != len(found):
            raise ValueError(
                f"{where}: a line has a cell for each of {len(found)} workers, empty where one has no more steps; got "
                f"{len(cells)} cells. Write the commas of empty cells."
            )
        for i, cell in enumerate(cells):
            if not cell:
                ends[i] = ends[i] or reader.line_num
                continue
            seconds = number(cell)
            if seconds is None or not seconds >= 0:
                what = "nan" if seconds is not None and math.isnan(seconds) else repr(cell)
                raise ValueError(
                    f"{where}, worker {i}{names[i]}: a step is a number of seconds, 0 or more (inf: never ends); got "
                    f"{what}. Leave a cell empty where the worker has no more steps."
                )
            if ends[i]:
                raise ValueError(
                    f"{where}, worker {i}{names[i]}: its steps ended with the empty cell in line {ends[i]}; got "
                    f"{cell!r} below it. Fill the gap, or move the cells up."
                )
            found[i].append(seconds)
    for i, steps in enumerate(found):
        if not steps:
            raise ValueError(
                f"{name!r}: worker {i}{names[i]} has no steps. Delete its column, or write inf: it never delivers."
            )
    if not found:
        raise ValueError(f"{name!r} holds no steps: a row per step, a column per worker, e.g. '0.5,2.0'.")
    return [np.array(steps) for steps in found]


def number(cell: str) -> float | None:
    """A cell as a number, or None."""
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def recorded(steps: str | Path | ArrayLike | Sequence[ArrayLike], after: str = "repeat") -> Times:
    """Measured times, played again: the j-th job of worker i takes steps[i][j] seconds, on every seed.

    The mean is that of the record (exact; inf where it holds an inf). A job of several units takes its step so many
    times. A spec file says the numbers themselves where they are at most 1 000, else how many they are and a SHA-256
    digest; never a path. (A policy that asks for the law of the times is told that of the record: `bootstrap`.)

    Args:
        steps: seconds, 0 or more, inf: never ends. A path (`read_steps`), an array [steps, workers] (nan where a column
            has ended), or a list with the steps of each worker.
        after: what follows a worker's last step: "repeat": its first one; "stop": nothing, its next job never ends.

    Raises:
        ValueError: other numbers or shapes; it names the worker and the step. For a path see `read_steps`.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.recorded([[0.5, 0.25], [2.0]])
        >>> times.mean
        array([0.375, 2.   ])
        >>> durations = times.durations(seed=0)
        >>> [durations(0, j) for j in range(4)]
        [0.5, 0.25, 0.5, 0.25]
    """
    steps = taken("recorded", steps)
    word("times.recorded: after", after, "repeat", "stop")

    def table(worker, first, count):
        mine, at = steps[worker], first + np.arange(count)
        if after == "repeat":
            return mine[at % len(mine)]
        return np.where(at < len(mine), mine[np.minimum(at, len(mine) - 1)], np.inf)

    return Times("recorded", means(steps), resampled(steps), said(steps) | {"after": after}, table=table)


def bootstrap(steps: str | Path | ArrayLike | Sequence[ArrayLike]) -> Times:
    """Measured times, drawn from: every job of worker i takes one of steps[i], each as likely, with replacement.

    The law of the record without its order, as long as wanted and another on every seed; the mean is that of the
    record. The bootstrap of Efron (Annals of Statistics 7(1), 1979).

    Args:
        steps: as in `recorded`.

    Example:
        >>> import jaxasgd as ja, numpy as np
        >>> times = ja.times.bootstrap(np.array([[0.5, 2.0], [0.25, np.nan]]))
        >>> times.mean
        array([0.375, 2.   ])
        >>> durations = times.durations(seed=0)
        >>> sorted({durations(0, j) for j in range(100)})
        [0.25, 0.5]
    """
    steps = taken("bootstrap", steps)
    return Times("bootstrap", means(steps), resampled(steps), said(steps))


def resampled(steps):
    """Draws from a record."""
    return lambda rng, worker, count: steps[worker][rng.integers(len(steps[worker]), size=count)]


def taken(function: str, steps) -> list[np.ndarray]:
    """The steps of each worker, checked; arrays of our own."""
    if isinstance(steps, (str, Path)):
        return read_steps(steps)
    if isinstance(steps, np.ndarray) and steps.dtype != object:
        if steps.ndim != 2 or not steps.size:
            raise ValueError(
                f"times.{function}: an array of steps is [steps, workers]; got shape {steps.shape}. Of one worker it "
                f"is steps[:, None]."
            )
        given = list(steps.T)
        over = steps.dtype.kind == "f"
    else:
        given, over = list(steps) if hasattr(steps, "__iter__") and not isinstance(steps, dict) else [], False
    if not given:
        raise ValueError(
            f"times.{function}: steps is a path, an array [steps, workers], or a list with the steps of each worker; "
            f"got {type(steps).__name__}. Write e.g. {function}([[0.5, 0.25], [2.0]])."
        )
    return [column(function, worker, each, over) for worker, each in enumerate(given)]


def column(function: str, worker: int, steps, over: bool) -> np.ndarray:
    """The steps of a worker; `over`: nan at the end is no step."""
    array = plain(steps)
    if array.ndim != 1 or not array.size or array.dtype.kind not in "iuf":
        raise ValueError(
            f"times.{function}: the steps of a worker are one or more numbers; worker {worker} has shape {array.shape} "
            f"of {array.dtype}. Write e.g. {function}([[0.5, 0.25], [2.0]])."
        )
    array = array.astype(np.float64)
    if over:
        real = np.flatnonzero(~np.isnan(array))
        array = array[: real[-1] + 1 if len(real) else 0]
    bad = ~(array >= 0)
    if bad.any() or not array.size:
        what = f"has {array[bad.argmax()]} as its step {int(bad.argmax())}" if array.size else "has none"
        raise ValueError(
            f"times.{function}: steps are seconds, 0 or more (inf: never ends; nan: only after a column's last step); "
            f"worker {worker} {what}. Drop that step, or that worker."
        )
    return array


def means(steps) -> np.ndarray:
    """The exact mean of each worker's steps."""
    return np.array([math.fsum(each) / len(each) if np.isfinite(each).all() else np.inf for each in steps])


def said(steps) -> dict:
    """What a spec file says."""
    short = sum(map(len, steps)) <= MOST_NUMBERS
    return {"steps": [each.tolist() for each in steps] if short else digest(steps)}
