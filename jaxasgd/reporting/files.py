"""The CSV and JSON files of a folder: short tables to read, and all of them to save from the page."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from .blocks import Block, File, Table
from .pictures import data_uri

KINDS = {".csv": "text/csv", ".json": "application/json"}
FLOAT = re.compile(r"-?\d*(\.\d*(e[-+]?\d+)?|e[-+]?\d+)")  # not a whole number
ROWS, BYTES = 60, 1_000_000  # a longer table is not shown, a larger file is only named


def found(folder) -> list[Path]:
    """The files of a folder itself, tables first."""
    return sorted((path for path in Path(folder).iterdir() if path.suffix in KINDS and path.is_file()), key=order)


def order(path):
    return (list(KINDS).index(path.suffix), path.name)


def blocks(folder) -> list[Block]:
    """Every file, and the short tables among them.

    Raises:
        ValueError: a CSV file is damaged: not text, or with lines of different lengths.
    """
    shown: list[Block] = []
    all_files: list[Block] = []
    for path in found(folder):
        size = path.stat().st_size
        about = kilobytes(size)
        if path.suffix == ".csv":
            head, rows = table(path)
            about = f"{count(len(rows), 'line')} of {count(len(head), 'column')}, {about}"
            if 0 < len(rows) <= ROWS:
                shown.append(Table(path.name, head, [[short(cell) for cell in row] for row in rows], folded=True))
        link = data_uri(path.read_bytes(), KINDS[path.suffix]) if size <= BYTES else ""
        all_files.append(File(path.name, about, link))
    return shown + all_files


def table(path) -> tuple[list[str], list[list[str]]]:
    """Head and lines of a CSV file."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            lines = list(csv.reader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{str(path)!r} is damaged: it is no CSV file ({error}).") from error
    if not lines:
        return [], []
    wrong = next((at for at, line in enumerate(lines, 1) if len(line) != len(lines[0])), None)
    if wrong:
        got = f"{len(lines[wrong - 1])} cells in line {wrong}, {len(lines[0])} in the first"
        raise ValueError(f"{str(path)!r} is damaged: all lines of a CSV file are as long; it has {got}.")
    return lines[0], lines[1:]


def short(cell: str) -> str:
    """A number to six significant digits, as whole as it was; anything else as it is.

    Example:
        >>> short("0.2566846705867591"), short("1000000"), short("0e+00"), short("cancel")
        ('0.256685', '1000000', '0', 'cancel')
    """
    return f"{float(cell):.6g}" if FLOAT.fullmatch(cell) else cell


def count(number, noun) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def kilobytes(size) -> str:
    return f"{size} bytes" if size < 1000 else f"{size / 1000:.3g} kB" if size < 1e6 else f"{size / 1e6:.3g} MB"
