"""JSON and CSV files, read strictly: an error names the file, the place in it, the rule and what was found.

Of a folder's file it says the name, and whoever reads the folder says the folder and the remedy (`damaged`).
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .checks import shown

MISSING = object()
NUMBER = re.compile(r"[-+]?(nan|inf|(\d+\.?\d*|\.\d+)(e[-+]?\d+)?)", re.ASCII | re.IGNORECASE)
WHOLE = re.compile(r"[-+]?\d+", re.ASCII)


@contextmanager
def damaged(what: str, folder):
    """Inside, what is wrong with a file is told with the folder, and what to do about it."""
    try:
        yield
    except ValueError as error:
        told = str(error).removesuffix(".")
        remedy = "copy the folder again from where it was made, or make it anew"
        raise ValueError(f"the {what} in {str(folder)!r} are damaged: {told}; {remedy}.") from error


def text(path: Path) -> str:
    """A file of text, UTF-8."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ValueError(f"{path.name} is missing") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name} is text in UTF-8; got the byte {error.object[error.start]:#04x}") from error
    except OSError as error:
        raise ValueError(f"{path.name} is a file that can be read; it can't be ({error.strerror})") from error


# ------------------------------------------------------------------- JSON


def names_in(path: Path) -> dict[str, Any]:
    """The names and values of a JSON file, each name once."""

    def once(pairs):
        told = dict(pairs)
        if len(told) < len(pairs):
            twice = next(name for at, (name, _) in enumerate(pairs) if name in dict(pairs[:at]))
            raise ValueError(f"it says {twice!r} twice")
        return told

    try:
        told = json.loads(text(path), object_pairs_hook=once)
    except RecursionError as error:
        raise ValueError(f"{path.name} is JSON; got brackets within brackets without end") from error
    except ValueError as error:
        said = str(error)
        raise ValueError(said if said.startswith(path.name) else f"{path.name} is JSON; but {said}") from error
    if not isinstance(told, dict):
        raise ValueError(f"{path.name} holds names and values, {{...}}; got {shown(told)}")
    return told


def entry(file: str, told: dict, name: str, rule: str, fits: Callable[[Any], Any], without: Any = MISSING) -> Any:
    """The value of a name, if it `fits`; `without`: what holds where the name is not there."""
    if name not in told:
        if without is MISSING:
            raise ValueError(f"{file} lacks {name!r}, {rule}")
        return without
    if not fits(told[name]):
        raise ValueError(f"{name!r} in {file} is {rule}; got {shown(told[name])}")
    return told[name]


def version(file: str, told: dict, newest: int) -> int:
    """The number of the format, 1 where a file does not say it."""
    number = entry(file, told, "format", "a whole number, 1 or more", lambda n: is_whole(n, 1), 1)
    if number > newest:
        raise ValueError(f"{file} has format {number}, this version reads up to {newest}: update jaxasgd")
    return number


def is_whole(value, least=0) -> bool:
    return type(value) is int and value >= least


def is_number(value, least=-np.inf) -> bool:
    """A finite number."""
    return type(value) in (int, float) and least <= value < np.inf


# ------------------------------------------------------------------- CSV


class Table(NamedTuple):
    """A CSV file: its name, the names of its columns, its rows, and the line at which each row ends."""

    file: str
    head: list[str]
    rows: list[list[str]]
    lines: list[int]

    def texts(self, name) -> list[str]:
        """A column as it stands."""
        at = self.head.index(name)
        return [row[at] for row in self.rows]

    def where(self, row) -> str:
        return f"{self.file}, line {self.lines[row]}"


def table(path: Path, *wanted: str) -> Table:
    """A CSV file whose header begins with the wanted names, with as many cells in each line."""
    told = text(path)
    try:
        reader = csv.reader(io.StringIO(told, newline=""), strict=True)
        head = next(reader, [])
        body = [(row, reader.line_num) for row in reader]
    except csv.Error as error:
        raise ValueError(f"{path.name}, line {reader.line_num} is CSV; but {error}") from error
    found = Table(path.name, head, [row for row, _ in body], [line for _, line in body])
    if tuple(head[: len(wanted)]) != wanted or len(set(head)) < len(head):
        raise ValueError(f"{path.name}, line 1 is {','.join(wanted)},... each once; got {shown(','.join(head))}")
    for at, row in enumerate(found.rows):
        if len(row) != len(head):
            raise ValueError(f"{found.where(at)} has {len(head)} cells, as the first; got {len(row)}")
    if not told.endswith("\n"):
        raise ValueError(f"{path.name} ends with the end of a line: it is cut off")
    return found


def numbers(table: Table, name: str, dtype: Any, least: float | None = None) -> np.ndarray:
    """A column of numbers; where there is a `least`, they are finite and not below it."""
    dtype, out = np.dtype(dtype), []
    with np.errstate(over="ignore"):
        for row, cell in enumerate(table.texts(name)):
            value = number(cell, dtype)
            if value is None or (least is not None and not least <= value < np.inf):
                rule = f"{'a whole number' if dtype.kind in 'iu' else 'a number'}, {dtype}"
                rule += "" if least is None else f", {least} or more"
                raise ValueError(f"{table.where(row)}, {name} is {rule}; got {shown(cell)}")
            out.append(value)
    return np.array(out, dtype)


def number(cell: str, dtype) -> Any:
    """A cell as a number of a dtype, or None."""
    whole = dtype.kind in "iu"
    if not (WHOLE if whole else NUMBER).fullmatch(cell):
        return None
    try:
        value = dtype.type(int(cell) if whole else float(cell))
    except (OverflowError, ValueError):  # more than the dtype holds; thousands of digits
        return None
    return None if "inf" not in cell.lower() and not whole and np.isinf(value) else value


def one_of(table: Table, name: str, words) -> list[str]:
    """A column of words."""
    cells = table.texts(name)
    for row, cell in enumerate(cells):
        if cell not in words:
            raise ValueError(f"{table.where(row)}, {name} is one of {', '.join(words)}; got {shown(cell)}")
    return cells
