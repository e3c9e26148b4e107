"""A comparison in a folder: spec.json, history.csv, runs.csv and a schedule a method; written, and read strictly."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from .checks import unsaved
from .reading import damaged, entry, is_number, is_whole, names_in, numbers, one_of, table, version
from .results import AXES, Comparison, Run, file_names, number, plain, prepare
from .schedule import Schedule

NEWEST = 1
OUTCOMES = ("finished", "target", "diverged", "stopped")
KINDS = {"time": "f", "update": "iu", "gradients": "iu"}  # of the axes; whatever else is a number
NEEDED = ("seconds", "updates", "mean_delay", "discarded", "utilisation")  # of a summary, for tables
PLAIN = re.compile(r"[^/\\:]+\.npz")


# ------------------------------------------------------------------- written


def save(comparison: Comparison, folder, *, overwrite=False) -> Path:
    """Write a comparison into a folder.

    All is written beside, then renamed, spec.json last: what is broken off is no results folder, and what the folder
    holds is replaced only by something whole.

    Raises:
        ValueError: where the folder holds results already (`overwrite=True` replaces them) or can't be written.
        OSError: where the disk is full.
    """
    folder = prepare(folder, overwrite=overwrite)
    beside = folder / ".saving"
    shutil.rmtree(beside, ignore_errors=True)  # of a save that was killed
    try:
        beside.mkdir()
        write_all(comparison, beside)
        (folder / "spec.json").unlink(missing_ok=True)
        for old in folder.glob("schedule-*.npz"):
            old.unlink()
        for new in sorted(beside.iterdir(), key=lambda path: path.name == "spec.json"):
            new.replace(folder / new.name)
    except OSError as error:
        remedy = "make room and save again, or save in another folder"
        raise unsaved("results", folder, error, remedy) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def write_all(comparison: Comparison, folder: Path) -> None:
    """The files of a comparison, into an empty folder."""
    columns = (*AXES, *comparison.metrics)
    history = [
        [run.method, run.seed, *map(number, row)]
        for run in comparison.runs
        for row in zip(*(run.columns[name] for name in columns), strict=True)
    ]
    names = list(comparison.runs[0].summary)
    runs = [
        [run.method, run.seed, run.status, run.ended, *(number(run.summary[name]) for name in names)]
        for run in comparison.runs
    ]
    write(folder / "history.csv", ["method", "seed", *columns], history)
    write(folder / "runs.csv", ["method", "seed", "outcome", "ended", *names], runs)
    files = file_names(comparison.schedules)
    for method, schedule in comparison.schedules.items():
        schedule.save(folder / files[method])
    told = comparison.spec | {
        "schedules": files,
        "columns": {name: str(np.result_type(comparison.runs[0].columns[name])) for name in columns},
        "lines": {"history.csv": len(history), "runs.csv": len(runs)},
        "format": NEWEST,
    }
    (folder / "spec.json").write_text(json.dumps(told, indent=2, default=plain) + "\n", encoding="utf-8")


def write(path, head, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(rows)


# ------------------------------------------------------------------- read


def load(folder) -> Comparison:
    """Read a folder that `save` wrote, all of it checked."""
    folder = Path(folder)
    if not (folder / "spec.json").is_file():
        raise FileNotFoundError(f"{str(folder)!r} holds no results: a results folder has a spec.json.")
    with damaged("results", folder):
        spec = names_in(folder / "spec.json")
        version("spec.json", spec, NEWEST)
        files, kinds, lines = checked(spec)
        spec = {name: value for name, value in spec.items() if name not in ("schedules", "columns", "lines", "format")}
        runs = runs_of(folder, kinds, lines)
        schedules = {}
        for method, file in files.items():
            if not (folder / file).is_file():
                raise ValueError(f"{file} is missing, the schedule of {method!r}")
            schedules[method] = Schedule.load(folder / file)
    return Comparison(runs, schedules, spec)


def checked(spec) -> tuple[dict, dict, dict]:
    """Files of the schedules, dtypes of the columns, promised lines; and that known names hold what they should."""
    said = lambda name, rule, fits, *without: entry("spec.json", spec, name, rule, fits, *without)
    each = lambda fits: lambda told: isinstance(told, dict) and all(map(fits, told.values()))
    said("until", "a finite number of seconds, or null", lambda end: end is None or is_number(end, 0), None)
    said("num_updates", "a whole number, or null", lambda end: end is None or is_whole(end), None)
    said("num_workers", "a whole number, 1 or more", lambda n: is_whole(n, 1), 1)
    said("methods", "{method: {...}}", each(lambda info: isinstance(info, dict)), {})
    said("doubts", "a list of sentences", lambda told: isinstance(told, list) and set(map(type, told)) <= {str}, [])
    files = said("schedules", "{method: a .npz file in the folder}", each(is_file))
    kinds = said("columns", "{column: its dtype, float32 for example}", each(is_numeric))
    for name in AXES:
        says = f"{name!r} among its columns, {'a float' if KINDS[name] == 'f' else 'an integer'}"
        if np.dtype(kinds.get(name, "bool")).kind not in KINDS[name]:
            raise ValueError(f"spec.json has {says}; got {kinds.get(name)!r}")
    if len(kinds) == len(AXES):
        raise ValueError("spec.json has one metric or more among its columns, loss for example; got none")
    return files, kinds, said("lines", "{file: number of lines}", each(is_whole), {})


def is_file(name) -> bool:
    return isinstance(name, str) and PLAIN.fullmatch(name) is not None


def is_numeric(name) -> bool:
    """The name of a dtype of real numbers."""
    try:
        dtype = np.dtype(name) if isinstance(name, str) else np.dtype("O")
    except (TypeError, ValueError, SyntaxError):
        return False
    return dtype.kind in "iuf" or dtype.name == "bfloat16"


def runs_of(folder, kinds, lines) -> list[Run]:
    """The runs: what runs.csv says of each, and its curves in history.csv."""
    history = table(folder / "history.csv", "method", "seed", *AXES)
    told = table(folder / "runs.csv", "method", "seed", "outcome", "ended")
    for file in (history, told):
        if len(file.rows) != lines.get(file.file, len(file.rows)):
            promised = f"{lines[file.file]} lines below its first, says spec.json"
            raise ValueError(f"{file.file} has {promised}; got {len(file.rows)}: it is cut off")
    if set(history.head[2:]) != set(kinds):
        raise ValueError(f"{history.file}, line 1 has the columns of spec.json, {', '.join(kinds)}; got {history.head}")
    curves = curves_of(history, {name: kinds[name] for name in history.head[2:]})
    outcomes, ended, summaries = one_of(told, "outcome", OUTCOMES), numbers(told, "ended", np.int64, 0), summed(told)
    runs: dict[tuple, Run] = {}
    for row, key in enumerate(keys(told)):
        where = f"{told.where(row)}, {key[0]}, seed {key[1]}"
        if key in runs:
            raise ValueError(f"{where}: a run has one line; got a second")
        if key not in curves:
            raise ValueError(f"{where}: a run has its curves in history.csv; got none")
        last = curves[key]["update"][-1]
        if last != ended[row]:
            raise ValueError(f"{where} ended at update {ended[row]}; got curves in history.csv that end at {last}")
        runs[key] = Run(*key, outcomes[row], int(ended[row]), curves[key], summaries[row])
    missing = [key for key in curves if key not in runs]
    if missing or not runs:
        which = "{}, seed {}".format(*missing[0]) if missing else "no run"
        raise ValueError(f"{told.file} has a line for each run of history.csv, one or more; {which} has none")
    return list(runs.values())


def keys(file) -> list[tuple[str, int]]:
    """Method and seed of every row."""
    return list(zip(file.texts("method"), map(int, numbers(file, "seed", np.int64, 0)), strict=True))


def curves_of(history, kinds) -> dict[tuple, dict[str, np.ndarray]]:
    """(method, seed) -> its columns; along the axes they never go back."""
    columns = {name: numbers(history, name, kind, 0 if name in AXES else None) for name, kind in kinds.items()}
    rows: dict[tuple, list] = {}
    for row, key in enumerate(keys(history)):
        rows.setdefault(key, []).append(row)
    for key, mine in rows.items():
        for name in AXES:
            back = np.flatnonzero(np.diff(columns[name][mine]) < 0)
            if back.size:
                row = mine[back[0] + 1]
                got = f"{columns[name][row]} after {columns[name][mine[back[0]]]}"
                rule = f"{name} never decreases along a run, {key[0]}, seed {key[1]}"
                raise ValueError(f"{history.where(row)}, {rule}; got {got}")
    return {key: {name: column[mine] for name, column in columns.items()} for key, mine in rows.items()}


def summed(told) -> list[dict[str, Any]]:
    """The summary in each row: numbers, whole where they are written so, and the status in a word."""
    names = told.head[4:]
    missing = [name for name in NEEDED if name not in names]
    if missing:
        raise ValueError(f"{told.file}, line 1 lacks {', '.join(missing)}")
    columns: dict[str, list] = {}
    for name in names:
        if name == "status":
            columns[name] = one_of(told, name, ("finished", "stalled"))
        else:
            found = numbers(told, name, np.float64)
            whole = [text.removeprefix("-").isdigit() for text in told.texts(name)]
            texts = zip(told.texts(name), found.tolist(), whole, strict=True)
            columns[name] = [int(text) if exact else value for text, value, exact in texts]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]
