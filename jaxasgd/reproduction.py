"""`jaxasgd reproduce`: run an experiment of the source tree again, and set its numbers beside the published ones."""

from __future__ import annotations

import ast
import csv
import math
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .building import choose, new_folder

FIELDS = ("Claim", "Command", "Cost", "Expected")


@dataclass(frozen=True)
class Experiment:
    """A script with its header: `about` is its first line, `command` the words behind the script's name."""

    script: Path
    about: str
    claim: str
    command: tuple[str, ...]
    cost: str
    expected: str

    @property
    def name(self) -> str:
        return self.script.stem

    @property
    def published(self) -> Path:
        """The folder with the committed numbers, if it has one of its own."""
        return self.script.parents[1] / "results" / self.name


def folder() -> Path:
    """The folder of experiments: below the current one, or beside the package in a source tree.

    Raises:
        FileNotFoundError: where there is none.
    """
    for home in (Path.cwd(), Path(__file__).parents[1]):
        if (home / "experiments" / "common.py").is_file():
            return home / "experiments"
    raise FileNotFoundError(
        "experiments are part of the source tree, not of the installed package; found none here: "
        "run `jaxasgd reproduce` in a clone of jaxasgd."
    )


def experiments() -> dict[str, Experiment]:
    """name -> `Experiment`, of every script that says what it claims."""
    found = (header(script) for script in sorted(folder().glob("*.py")))
    return {one.name: one for one in found if one}


def header(script: Path) -> Experiment | None:
    """What a script says at its top; None for one that is no experiment."""
    try:
        text = ast.get_docstring(ast.parse(script.read_bytes())) or ""
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"an experiment is a script in Python; {script.name} is none: {error}.") from error
    if not all(f"\n{field} " in text for field in FIELDS):
        return None
    told = {}
    for field in FIELDS:
        blocks = re.findall(rf"^{field} +(.*?)(?=^\S|\n\n|\Z)", text, re.MULTILINE | re.DOTALL)
        told[field.lower()] = " ".join(blocks[0].split())
    words = shlex.split(re.split(r" \(|;", told.pop("command"))[0])
    return Experiment(script, text.splitlines()[0], command=tuple(words[2:]), **told)


def listed(found) -> str:
    """A line an experiment."""
    width = max(map(len, found))
    lines = [
        f"  {name.ljust(width)}  {one.about} ({one.cost.split(';')[0].rstrip('.')})" for name, one in found.items()
    ]
    return "\n".join(["experiments", *lines])


def reproduce(said):
    """List the experiments, or run one and compare."""
    found = experiments()
    if said.name is None:
        print(f"{listed(found)}\n\nOne of them:  jaxasgd reproduce NAME")
        return
    one = found[choose("an experiment", said.name, found)]
    out = new_folder((said.out or Path("reproduced", one.name)).absolute(), said.overwrite)
    if not os.environ.get("JAXASGD_DATA"):
        print("JAXASGD_DATA names no folder with data: sets that are on every machine stand in for what is not found.")
    words = [*one.command, *(["--quick"] if said.quick else [])]
    print(f"{one.about}\nclaim     {one.claim}\nexpected  {one.expected}\ncost      {one.cost}\n", flush=True)
    done = subprocess.run([sys.executable, str(one.script), *words, "--out", str(out)], cwd=one.script.parents[1])
    if done.returncode:
        raise ValueError(f"{one.script.name} ended with exit code {done.returncode}; what it wrote is in {str(out)!r}.")
    print(f"\nresults   {out}")
    if one.published.is_dir() and not said.quick:
        print(f"published {one.published}\n{beside(out, one.published)}")


# ------------------------------------------------------------------- two folders


@dataclass(frozen=True)
class Difference:
    """How the numbers of two CSV files with the same lines differ: relative to the larger of each two."""

    numbers: int
    equal: int
    near: int  # within 1 %
    largest: float
    where: str

    def __str__(self):
        if self.equal == self.numbers:
            return f"all {self.numbers} numbers equal"
        told = f"{self.equal} of {self.numbers} numbers equal, {self.near} within 1%"
        return f"{told}; the largest difference is {self.largest:.2g} of the number, at {self.where}"


def beside(new: Path, old: Path) -> str:
    """Every CSV file of `old` with that of the same name in `new`, a line each."""
    files = sorted(path.relative_to(old) for path in old.rglob("*.csv"))
    lines = [f"  {file}: {told(new / file, old / file)}" for file in files]
    return "\n".join(lines) or "  (no numbers in CSV files to compare)"


def told(new: Path, old: Path) -> str:
    if not new.is_file():
        return "not written this time"
    try:
        mine, theirs = (rows(path) for path in (new, old))
    except (ValueError, csv.Error) as error:
        return f"no table of numbers ({error})"
    if not theirs:
        return "empty" + ("" if mine else ", as published")
    if [len(line) for line in mine] != [len(line) for line in theirs] or mine[:1] != theirs[:1]:
        return f"other lines or columns ({len(mine) - 1} lines, published {len(theirs) - 1})"
    return str(difference(mine, theirs))


def rows(path: Path) -> list[list[str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def difference(mine, theirs) -> Difference:
    """Of two tables of text with the same head: words count as equal or not."""
    head, away = theirs[0], []
    for line, (left, right) in enumerate(zip(mine[1:], theirs[1:], strict=True), 2):
        for name, a, b in zip(head, left, right, strict=True):
            away.append((apart(a, b), f"line {line}, {name}: {a}, published {b}"))
    largest, where = max(away, default=(0.0, ""))
    count = lambda bound: sum(size <= bound for size, _ in away)
    return Difference(len(away), count(0), count(0.01), largest, where)


def apart(a: str, b: str) -> float:
    """|a - b| / max(|a|, |b|); infinite for different words, or where one is no number."""
    if a == b:
        return 0.0
    try:
        x, y = float(a), float(b)
    except ValueError:
        return math.inf
    if not (math.isfinite(x) and math.isfinite(y)):
        return 0.0 if str(x) == str(y) else math.inf
    return abs(x - y) / max(abs(x), abs(y))
