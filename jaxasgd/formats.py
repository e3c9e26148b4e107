"""Files of a schedule: .npz and .csv, in and out; frames of pandas, out."""

from __future__ import annotations

import gzip
import io
import json
import math
import re
import zipfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .checks import shown, whole
from .schedule import COLUMNS, UNFINISHED, UNFINISHED_COLUMNS, Schedule

FORMAT = 1  # of a table without the column `busy`; with it 2, so that an older reader says what is the matter
NEWEST = 2
META = ("num_workers", "end", "status", "info")  # what is no column
DEFLATE = 1100  # times its size: no compressed file unpacks to more (1032 is the most)
LOST = "#unfinished,"  # before the jobs without a row, in text


def save(schedule: Schedule, path) -> Path:
    """Write a schedule to a file; `load` gives back an equal one, and the same table always makes the same bytes.

    Args:
        schedule: a `Schedule`.
        path: its ending says the format: `.npz` (NumPy's arrays, no pickle; small and fast), or `.csv` or `.csv.gz`,
            text that other tools read: `pandas.read_csv(path, comment="#")`. The text has a line `# {...}` of JSON with
            all that is no column, a header, and a line for each row: groups as `read_0`, `read_1`, ..., tags as
            `tag:NAME`, flags as 0 and 1, numbers in the fewest digits that read back the same. Lines
            `#unfinished,...` with a header of their own follow for the jobs without a row.

    Returns:
        The path.

    Raises:
        ValueError: another ending.

    Example:
        >>> import pathlib, tempfile
        >>> import jaxasgd as ja
        >>> schedule = ja.simulate(ja.policies.asgd(), ja.times.fixed(1.0, num_workers=3), num_updates=2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = schedule.save(pathlib.Path(folder) / "run.csv")
        ...     text = path.read_text().splitlines()
        ...     ja.Schedule.load(path) == schedule
        True
        >>> text[1], text[2]
        ('time,start,worker,read,visit,repeat,size,use,weight,step', '1.0,0.0,0,0,0,0,1,1,1.0,1')
        >>> text[4], text[5]
        ('#unfinished,worker,kind,read,start,time,size,age,count,seconds', '#unfinished,0,running,1,1.0,1.0,1,1,1,0.0')
    """
    path = ending("a schedule", path, ".npz", ".csv", ".csv.gz")
    meta = {name: getattr(schedule, name) for name in META}
    meta["format"] = FORMAT if schedule.busy is None else NEWEST
    if path.suffix == ".npz":
        arrays: dict[str, Any] = schedule._arrays()
        np.savez_compressed(path, meta=np.array(json.dumps(meta, sort_keys=True)), **arrays)
        return path
    lost = schedule.unfinished
    meta |= {"rows": len(schedule), "unfinished": len(lost["kind"])}
    with writing(path) as file:
        file.write(f"# {json.dumps(meta, sort_keys=True)}\n")
        file.writelines(lines_of(named(schedule)))
        if meta["unfinished"]:
            file.writelines(LOST + line for line in lines_of(lost | {"kind": kinds(lost)}))
    return path


def load(path, make=Schedule) -> Schedule:
    """Read a file that `save` wrote, by its ending, and check all of it.

    Raises:
        FileNotFoundError: there is none.
        ValueError: another ending; a foreign or damaged file: it names the file, and the row (the line of a .csv).
    """
    path = Path(path)
    firsts: dict[str, int] = {}
    if not path.exists():
        raise FileNotFoundError(f"no schedule at {str(path)!r}.")
    path = ending("a schedule", path, ".npz", ".csv", ".csv.gz")
    try:
        return make(**(read_npz(path) if path.suffix == ".npz" else read_csv(path, firsts)))
    except Exception as error:  # whatever a foreign file leads to
        told = getattr(error, "strerror", None) or str(error) or type(error).__name__
        where = re.match(r"((?:unfinished )?row) (\d+): ", told)
        if where and firsts:
            told = f"line {firsts[where[1]] + int(where[2])}, {told}"
        raise ValueError(f"{path.name!r} is not a schedule that Schedule.save wrote: {told}") from error


def ending(what, path, *endings) -> Path:
    """A path whose ending says the format."""
    path = Path(path)
    if not path.name.endswith(endings):
        raise ValueError(f"{what} is saved as {', '.join(endings[:-1])} or {endings[-1]}; got {path.name!r}.")
    return path


@contextmanager
def writing(path):
    """A file of text, compressed where its name ends in .gz; the same text makes the same bytes."""
    with open(path, "wb") as raw:
        packed = gzip.GzipFile("", "wb", 6, raw, mtime=0) if path.suffix == ".gz" else raw
        with io.TextIOWrapper(packed, encoding="utf-8", newline="\n") as file:
            yield file


def assemble(meta, table, tags, unfinished) -> dict:
    """The arguments of a Schedule."""
    if not isinstance(meta, dict):
        raise ValueError(f"its meta is a dict; got {type(meta).__name__}")
    if whole("format", meta.get("format"), 1) > NEWEST:
        raise ValueError(f"its format is {meta['format']}, this version reads up to {NEWEST}: update jaxasgd")
    missing = [name for name in META if name not in meta] + [name for name in COLUMNS if name not in table]
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}")
    return table | {"tags": tags, "unfinished": unfinished} | {name: meta[name] for name in META}


# --------------------------------------------------------------------- npz


def read_npz(path) -> dict:
    """The members of an archive of arrays, none of them larger than its file can hold."""
    size = path.stat().st_size
    table: dict[str, Any] = {}
    inner: dict[str, dict] = {"tags": {}, "unfinished": {}}
    with zipfile.ZipFile(path) as archive:
        members, names = archive.infolist(), archive.namelist()
        if len(set(names)) < len(names):
            raise ValueError(f"it holds {Counter(names).most_common(1)[0][0]} twice")
        claimed = sum(member.file_size for member in members)
        if claimed > DEFLATE * size:
            raise ValueError(f"its arrays claim {claimed} bytes, more than a file of {size} can hold")
        for member in members:
            name = member.filename.removesuffix(".npy")
            part, _, column = name.rpartition("/")
            known = part in inner if part else name in ("meta", "busy", *COLUMNS)
            if not known or name == member.filename:
                raise ValueError(f"it holds {member.filename!r}, which no schedule has")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f"{name!r} is compressed in a way that NumPy does not write")
            (inner[part] if part else table)[column] = array(name, archive.read(member))
    if "meta" not in table:
        raise ValueError("it lacks meta")
    return assemble(json.loads(str(table.pop("meta"))), table, **inner)


def array(name, data) -> np.ndarray:
    """One array in NumPy's format, over the bytes themselves; no objects (they would be pickles)."""
    stream = io.BytesIO(data)
    headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(stream)
    if version not in headers:
        raise ValueError(f"{name!r} has NumPy's format {version}; 1.0 or 2.0 is right")
    shape, by_columns, dtype = headers[version](stream)
    if dtype.kind not in ("U" if name == "meta" else "biuf"):
        raise ValueError(f"{name!r} holds {'text' if name == 'meta' else 'numbers'}, no {dtype}")
    there = len(data) - stream.tell()
    if math.prod(shape) * dtype.itemsize != there:
        raise ValueError(f"{name!r} claims shape {shape} of {dtype}, and has {there} bytes")
    found = np.ndarray(shape, dtype, data, stream.tell(), order="F" if by_columns else "C")
    if dtype.kind == "b" and found.view(np.uint8).max(initial=0) > 1:
        raise ValueError(f"{name!r} holds flags, 0 or 1")
    return found


# --------------------------------------------------------------------- csv


def named(schedule) -> dict:
    """The columns, with a name for each group of versions read and for each tag."""
    groups = schedule.read.T if schedule.read.ndim == 2 else ()
    table: dict[str, np.ndarray] = {}
    for name in COLUMNS:
        parts = {f"read_{group}": column for group, column in enumerate(groups)} if name == "read" else {}
        table |= parts or {name: getattr(schedule, name)}
    if schedule.busy is not None:
        table["busy"] = schedule.busy
    return table | {f"tag:{name}": schedule.tags[name] for name in sorted(schedule.tags)}


def kinds(lost) -> np.ndarray:
    return np.array(UNFINISHED)[lost["kind"]]


def lines_of(table):
    """The header, and a line for each row."""
    yield ",".join(table) + "\n"
    texts = []
    for column in table.values():
        values = (column.view(np.int8) if column.dtype == bool else column).tolist()
        texts.append(values if column.dtype.kind == "U" else map(repr, values))
    for row in zip(*texts, strict=True):
        yield ",".join(row) + "\n"


def read_csv(path, firsts) -> dict:
    """The lines of a text; `firsts` is told the numbers of the lines that hold the first row of either table."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    lines = text.replace("\r\n", "\n").split("\n")
    if lines.pop() or len(lines) < 2:
        raise ValueError(f"line {len(lines) + 1} has no end: the file is cut off")
    if not lines[0].startswith("# {"):
        raise ValueError(f'line 1 is "# {{...}}" with what is no column; got {shown(lines[0])}')
    rows = next((k for k, line in enumerate(lines[2:]) if line.startswith("#")), len(lines) - 2)
    firsts |= {"row": 3, "unfinished row": 4 + rows}
    meta, head, body, lost = json.loads(lines[0][2:]), lines[1].split(","), lines[2 : 2 + rows], lines[2 + rows :]
    groups = sum(name.startswith("read_") for name in head)
    read = [f"read_{group}" for group in range(groups)] or ["read"]
    extra = [name for name in head if name == "busy" or name.startswith("tag:")]
    types = {name: dtype for name, dtype in COLUMNS.items() if name != "read"}
    types |= dict.fromkeys(read, np.int32) | dict.fromkeys(extra, np.float64)
    if sorted(types) != sorted(head):
        raise ValueError(f"line 2 names {','.join(types)}, each once; got {shown(lines[1])}")
    table = parse(body, {name: types[name] for name in head}, firsts["row"])
    for number, line in enumerate(lost, 3 + rows):
        if not line.startswith(LOST):
            raise ValueError(f"line {number} begins with {LOST} as all do after the rows; got {shown(line)}")
    lost, names = [line.removeprefix(LOST) for line in lost], ",".join(UNFINISHED_COLUMNS)
    if lost and lost[0] != names:
        raise ValueError(f"line {3 + rows} is {LOST}{names}; got {shown(lost[0])}")
    unfinished = parse(lost[1:], UNFINISHED_COLUMNS | {"kind": str}, firsts["unfinished row"])
    for name, found in (("rows", rows), ("unfinished", len(lost[1:]))):
        if isinstance(meta, dict) and meta.get(name, found) != found:
            raise ValueError(f"line 1 promises {meta[name]} {name}, found {found}: the file is cut off")
    tags = {name[4:]: table.pop(name) for name in extra if name != "busy"}
    if groups:
        table["read"] = np.stack([table.pop(name) for name in read], axis=1)
    return assemble(meta, table, tags, unfinished)


def parse(lines, types, first) -> dict:
    """Columns from lines of text, the first of which has the number `first`."""
    for number, line in enumerate(lines, first):
        if line.count(",") != len(types) - 1:
            raise ValueError(f"line {number} has {len(types)} fields, {','.join(types)}; got {shown(line)}")
        if "_" in line:  # Python reads 1_0 as 10
            raise ValueError(f"line {number} has plain numbers, no '_'; got {shown(line)}")
    texts = ",".join(lines).split(",") if lines else []
    return {name: convert(texts[k :: len(types)], name, types[name], first) for k, name in enumerate(types)}


def convert(texts, name, dtype, first) -> np.ndarray:
    """A column of numbers, flags or kinds from their texts."""
    kind = np.dtype(dtype).kind
    words = {"f": "a number", "i": f"a whole number, {dtype.__name__}", "b": "0 or 1", "U": ", ".join(UNFINISHED)}[kind]
    kinds: dict[str, dict] = {"b": {"0": False, "1": True}, "U": {word: n for n, word in enumerate(UNFINISHED)}}
    choices = kinds.get(kind)
    reader = choices.__getitem__ if choices else float if kind == "f" else int
    dtype = np.int32 if kind == "U" else dtype
    try:
        return np.array([reader(text) for text in texts], dtype)
    except (ValueError, KeyError, OverflowError):
        for number, text in enumerate(texts, first):
            try:
                np.array(reader(text), dtype)
            except (ValueError, KeyError, OverflowError):
                raise ValueError(f"line {number}: {name} is {words}; got {text!r}") from None
        raise


# ------------------------------------------------------------------ pandas


def frame(schedule: Schedule, unfinished=False):
    """The rows as a pandas DataFrame with `version`, `delay` and `seconds`, or the jobs that have no row.

    Groups are columns of their own, `read_0`, `delay_0`, ...; tags are `tag:NAME`. What is no column (workers, end,
    status, info) is in the frame's `attrs`.

    Args:
        schedule: a `Schedule`.
        unfinished: the frame of the unfinished jobs instead, with `kind` in words.

    Raises:
        ImportError: pandas is missing; it names the extra.

    Example:
        >>> import jaxasgd as ja
        >>> schedule = ja.simulate(ja.policies.asgd(), ja.times.fixed([1.0, 3.0], num_workers=2), num_updates=5)
        >>> schedule.to_pandas().groupby("worker")["delay"].mean().to_dict()
        {0: 0.25, 1: 3.0}
    """
    try:
        import pandas
    except ImportError as error:
        raise ImportError('a data frame needs pandas: pip install "jaxasgd[pandas]"') from error
    lost = schedule.unfinished
    table = lost | {"kind": kinds(lost)} if unfinished else named(schedule)
    if not unfinished:
        delay = schedule.delay
        aged = {"delay": delay} if delay.ndim == 1 else {f"delay_{group}": one for group, one in enumerate(delay.T)}
        table |= {"version": schedule.version, **aged, "seconds": schedule.seconds}
    made = pandas.DataFrame(table)
    made.attrs.update({name: getattr(schedule, name) for name in META})
    return made
