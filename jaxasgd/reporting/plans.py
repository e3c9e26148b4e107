"""What a page shows of a plan for a cluster: the advice, the figure, every row with its interval, the workers."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np

from ..cluster import ABOUT, ClusterPlan, Row, short
from .blocks import Block, Command, Prose, Table
from .pictures import drawn, picture
from .readme import parser


def load(folder) -> ClusterPlan:
    """Read plan.json and plan.csv again."""
    spec = json.loads(Path(folder, "plan.json").read_text(encoding="utf-8"))
    with open(Path(folder, "plan.csv"), newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    rows = [
        Row(line["method"], int(line["setting"]), *(float(line[name]) for name in Row._fields[2:])) for line in lines
    ]
    mean, spread, rounds = (np.array(spec[name], float) for name in ("mean", "spread", "rounds"))
    return ClusterPlan(rows, spec["noise_to_signal"], mean, spread, rounds, spec["sync_updates"], spec)


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
