"""What a page shows of a plan for a cluster: the advice, the figure, every row with its interval, the workers."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from ..cluster import ABOUT, KINDS, ClusterPlan, Row, short
from ..reading import damaged, entry, is_number, is_whole, names_in, numbers, one_of, table, version
from .blocks import Block, Command, Prose, Table
from .pictures import drawn, picture
from .readme import parser

FORMAT = ("lines", "format")  # what is of the file, not of the plan
SOME = ("0 or more", lambda column: column >= 0)
MAYBE = ("0 or more, or nan", lambda column: (column >= 0) | np.isnan(column))
ABOVE = ("finite, above 0", lambda column: (column > 0) & (column < np.inf))
RULES = {"updates": ABOVE, "closed": SOME, "expected": MAYBE, "simulated": SOME, "error": MAYBE}


def load(folder) -> ClusterPlan:
    """Read plan.json and plan.csv again, and check all of it."""
    with damaged("results", folder):
        spec = names_in(Path(folder, "plan.json"))
        version("plan.json", spec, 1)
        said = lambda name, rule, fits, *without: entry("plan.json", spec, name, rule, fits, *without)
        q = said("noise_to_signal", "a finite number, 0 or more", lambda q: is_number(q, 0))
        above = lambda number: number is None or (is_number(number, 0) and number > 0)
        updates = said("sync_updates", "a finite number above 0, or null", above)
        said("seeds", "a whole number, 1 or more", lambda seeds: is_whole(seeds, 1))
        mean = seconds(said, "mean", -1)
        spread, rounds = seconds(said, "spread", 2, len(mean)), seconds(said, "rounds", len(mean))
        told = rows_of(Path(folder, "plan.csv"))
        if said("num_workers", "the number of workers", is_whole, len(mean)) != len(mean):
            raise ValueError(
                f"plan.json has the mean seconds of {spec['num_workers']} workers; got {len(mean)} numbers"
            )
        lines = said("lines", "the number of lines in plan.csv", is_whole, len(told))
        if len(told) != lines:
            raise ValueError(
                f"plan.csv has {lines} lines below its first, says plan.json; got {len(told)}: it is cut off"
            )
        kept = {name: value for name, value in spec.items() if name not in FORMAT}
    return ClusterPlan(told, q, mean, spread, rounds, updates, kept)


def seconds(said, name, *shape) -> np.ndarray:
    """Numbers of plan.json, 0 or more; inf, in words, for what never comes."""

    def fits(given):
        try:
            array = np.array(given, float)
        except (TypeError, ValueError):
            return False
        right = array.shape == shape or (shape == (-1,) and array.ndim == 1 and array.size > 0)
        return right and (array >= 0).all()

    wanted = " × ".join(str(size) for size in shape if size > 0)
    return np.array(said(name, f"{wanted} numbers of seconds, 0 or more, or 'inf'".lstrip(), fits), float)


def rows_of(path) -> list[Row]:
    """The rows of plan.csv: synchronous SGD first."""
    file = table(path, *Row._fields)
    methods, settings = one_of(file, "method", KINDS), numbers(file, "setting", np.int64, 0)
    known = [numbers(file, name, float) for name in Row._fields[2:]]
    if not methods or methods[0] != "synchronous":
        raise ValueError(f"{path.name}, line 2 is synchronous SGD's; got {methods[0] if methods else 'none'}")
    for row, (method, setting) in enumerate(zip(methods, settings, strict=True)):
        if (setting > 0) != bool(KINDS[method].symbol):
            told = "1 or more" if KINDS[method].symbol else "0"
            raise ValueError(f"{file.where(row)}, setting of {method} is {told}; got {setting}")
    for name, column in zip(Row._fields[2:], known, strict=True):
        rule, fits = RULES[name]
        if not fits(column).all():
            row = int(fits(column).argmin())
            raise ValueError(f"{file.where(row)}, {name} is a number, {rule}; got {column[row]}")
    columns = (column.tolist() for column in known)
    return [Row(*row) for row in zip(methods, settings.tolist(), *columns, strict=True)]


def blocks(plan, folder) -> list[Block]:
    """Advice, figure and table."""
    file = Path(folder, "plan.svg")
    alt = "The workers' seconds, and the predicted time to the target over the settings of every method"
    shown = picture(file, alt) if file.is_file() else drawn(plan.plot(), alt)
    told = parser().render(f"**{plan.sentence}**")
    return [Prose(told), Command(plan.best.call), shown, rows(plan), Prose(parser().render(ABOUT))]


def rows(plan, level=0.95) -> Table:
    """Every method with its setting; the advised one is marked."""
    from scipy import stats

    seeds = int(plan.spec["seeds"])
    times = stats.t.ppf((1 + level) / 2, seeds - 1) if seeds > 1 else math.nan
    against = "of sync" if plan.synchronous.time < math.inf else "of best"
    head = [
        "method",
        "updates",
        "fixed times",
        "expected",
        "simulated",
        "standard error",
        f"{100 * level:g} % interval",
        against,
    ]
    lines = []
    for row in plan.rows:
        told = ["" if math.isnan(value) else short(value * plan.unit) for value in row[2:6]]
        half = times * row.error
        known = math.isfinite(half) and math.isfinite(row.simulated)
        low, high = ((row.simulated + sign * half) * plan.unit for sign in (-1, 1))
        told += [short(row.error * plan.unit, 2), f"{short(low)} to {short(high)}"] if known else ["", ""]
        lines.append([row.label, *told, short(row.time / plan.reference, 3)])
    marked = next(at for at, row in enumerate(plan.rows) if row is plan.best)
    lines[marked][0] += " ← advised"
    return Table(plan.table().splitlines()[0], head, lines, marked)


def workers(plan) -> Table:
    """The seconds of each worker's steps, and of a round that closes with as many jobs."""
    head = ["worker", "mean seconds", "10 % quantile", "90 % quantile", "round of so many", "expected seconds"]
    columns = (plan.mean, *plan.spread, plan.rounds)
    lines = []
    for worker, (mean, low, high, whole) in enumerate(zip(*columns, strict=True)):
        told = [short(value) if np.isfinite(value) else str(value) for value in (mean, low, high, whole)]
        lines.append([str(worker), *told[:3], str(worker + 1), told[3]])
    return Table("The workers", head, lines, folded=True)
