"""plan(): what the host can know of a run before anything is compiled. NumPy.

Rows without effect are dropped; every version that somebody still needs gets a cell, and gives it back at its last
read; rows whose versions exist already are cut into waves; arrays are padded up a fixed ladder, so that another
seed does not compile again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .checks import flag, kind, shown, whole
from .schedule import Schedule
from .waves import cut_waves, wave_traits

SHORTEST = 1024  # rows; shorter plans are padded to this
MAX_BLOCK = 16384  # waves whose samples are drawn in one batch, where they are small


def ladder(number: int) -> int:
    """The smallest rung >= number, at most a quarter above: 1, 2, ..., 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, ..."""
    if number <= 8:
        return max(number, 1)
    power = 1 << (int(number - 1).bit_length() - 3)
    return -(-number // power) * power


def power_of_two(number) -> int:
    """The smallest power of two >= number."""
    return 1 << max(int(np.ceil(number)) - 1, 0).bit_length()


@dataclass(frozen=True, eq=False)
class Plan:
    """A schedule made ready to run: a pytree of arrays, an argument of the compiled run.

    Attributes:
        rows: a dict of arrays, [rows]: `read` ([rows] or [rows, groups]), `current`, `write` are cells;
            `worker`, `visit`, `repeat`, `turn`, `size`, `delay`, `version`, `weight`, `use`, `step` as in the schedule;
            `first` marks the first row of an aggregate; `age` and `total` are the delay and the weight that the
            rule sees at a step; `progress` in [0, 1) is the share of updates done.
        tags: the schedule's tags, a dict of arrays [rows].
        waves: first row of every wave, and the end; waves [bounds[e - 1], bounds[e]) come before evaluation e.
        bounds: [evaluations]; `bounds[0]` is 0.
        cells, time, update, gradients: of each evaluation, [evaluations]: the cell to look at, seconds, updates so
            far, work units arrived.
        num_cells, width, max_size: sizes that shape the program. block: waves whose samples are drawn in one
            batch, at most (fewer where a sample is large).
        every: each row is a step of its own; lone: each step aggregates just its own row; all_used: no row is idle.
        own: every version was made by a row of the workers that read it (or is the first).
        shared: the used rows of a wave have read one version. closed: a wave has no step before its last row.
        one_each: no worker has two used rows in a wave.
        chunk: waves between evaluations where that is one number for all (stacked plans), else None.
        num_workers: as in the schedule.
    """

    rows: dict[str, Any]
    tags: dict[str, Any]
    waves: Any
    bounds: Any
    cells: Any
    time: Any
    update: Any
    gradients: Any
    num_cells: int
    width: int
    max_size: int
    block: int
    every: bool
    lone: bool
    all_used: bool
    own: bool
    shared: bool
    closed: bool
    one_each: bool
    chunk: int | None
    num_workers: int

    def __repr__(self):
        return f"Plan({self.time.shape[-1]} evaluations, {self.num_cells} cells, width {self.width})"

    @property
    def num_evaluations(self) -> int:
        """How often the parameters are looked at, before the first update and at the end included."""
        return self.time.shape[-1]


ARRAYS = ("rows", "tags", "waves", "bounds", "cells", "time", "update", "gradients")
TRAITS = ("every", "lone", "all_used", "own", "shared", "closed", "one_each")  # of which a program makes use
STATIC = tuple(f.name for f in fields(Plan) if f.name not in ARRAYS)


def plan(
    schedule: Schedule, *, evaluate: int | ArrayLike | None = None, width: int = 1, one_each: bool = False
) -> Plan:
    """Compile a schedule on the host: drop, evaluate, cells, waves, pad.

    Args:
        schedule: from `simulate`, a runtime, or a file.
        evaluate: when to look at the parameters: a number (every so many updates), an array of seconds (the version
            that was current at each of them), or None for about 50 looks. The first and the last version always.
        width: the largest number of gradients computed side by side; results equal those of width 1 to rounding.
        one_each: a worker has one gradient in a wave at most, as workers with a state of their own need.

    Returns:
        A `Plan`; `run` takes it in the place of the schedule, and `stack` puts several together.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.fixed(1.0, num_workers=4)
        >>> schedule = ja.simulate(ja.policies.synchronous(), times, num_updates=100)
        >>> made = ja.plan(schedule, evaluate=10)
        >>> made.num_cells, made.num_evaluations, len(made.rows["read"])
        (1, 11, 1024)
    """
    kind("schedule", schedule, Schedule, "a ja.Schedule, from ja.simulate for example")
    width = whole("width", width, 1, hint=": gradients side by side")
    steps = np.flatnonzero(schedule.step)
    updates = len(steps)
    kept = np.flatnonzero(schedule.use | schedule.step)
    kept = kept[: np.searchsorted(kept, steps[-1]) + 1] if updates else kept[:0]
    use, step = schedule.use[kept], schedule.step[kept]
    version, read, worker = schedule.version[kept], schedule.read[kept], schedule.worker[kept]
    birth = np.flatnonzero(step)  # row (among the kept) that makes version v + 1
    cell, num_cells = assign_cells(read, use, birth)
    looks = evaluation_updates(schedule, steps, evaluate)
    row_bounds = np.concatenate([[0], birth + 1])[looks]
    waves, bounds = cut_waves(read, use, birth, row_bounds, width, worker if flag("one_each", one_each) else None)

    group = np.cumsum(step) - step
    weight, delay = schedule.weight[kept], version.reshape((-1,) + (1,) * (read.ndim - 1)) - read
    oldest = np.where(use, delay if delay.ndim == 1 else delay.max(axis=1, initial=0), 0)
    age, total = np.zeros(updates, np.int64), np.zeros(updates)
    np.maximum.at(age, group, oldest)
    np.add.at(total, group, weight)
    used = np.bincount(group[use], minlength=updates) if updates else np.zeros(0, int)
    if "delay" in schedule.tags:
        told = schedule.tags["delay"][steps]
        age = np.where(np.isnan(told), age, told)
    rows = {
        "read": np.where(use if read.ndim == 1 else use[:, None], cell[read], 0),
        "current": cell[version],
        "write": np.where(step, cell[version + step], num_cells),
        **{
            name: getattr(schedule, name)[kept]
            for name in ("worker", "visit", "repeat", "size", "weight", "use", "step")
        },
        "turn": schedule.turn[kept].astype(np.int32),
        "delay": delay.astype(np.int32),
        "version": version.astype(np.int32),
        "first": np.concatenate([[True], step[:-1]])[: len(kept)],
        "age": age[group] if age.dtype.kind == "f" else age[group].astype(np.int32),
        "total": total[group],
        "progress": (version / max(updates, 1)).astype(np.float32),
    }
    tags = {name: column[kept] for name, column in schedule.tags.items() if name != "delay"}
    length = max(power_of_two(len(kept)), SHORTEST)
    rows = {name: c.astype(np.int32) if name in ("read", "current", "write") else c for name, c in rows.items()}
    padding = {"write": num_cells}
    arrived = np.concatenate([[0], np.cumsum(schedule.size)[steps]]).astype(np.int64)
    typical = np.diff(bounds).mean() if len(bounds) > 1 else 1
    return Plan(
        rows={name: pad(column, length, padding.get(name, 0)) for name, column in rows.items()},
        tags={name: pad(column, length, np.nan) for name, column in tags.items()},
        waves=pad(waves, length + 1, len(kept)),
        bounds=bounds,
        cells=cell[looks],
        time=np.concatenate([[0.0], schedule.time[steps]])[looks],
        update=looks.astype(np.int32),
        gradients=arrived[looks],
        num_cells=num_cells,
        width=width,
        max_size=ladder(int(schedule.size[kept].max(initial=1))),
        block=min(MAX_BLOCK, power_of_two(typical)),
        every=bool(step.all()),
        lone=bool((used == 1).all() and use[birth].all()),
        all_used=bool(use.all()),
        own=bool(
            read.ndim == 1
            and (np.concatenate([[-1], worker[birth]])[read[use]] == np.where(read[use], worker[use], -1)).all()
        ),
        **wave_traits(waves, read, use, step),
        one_each=one_each or width == 1,
        chunk=None,
        num_workers=schedule.num_workers,
    )


def assign_cells(read, use, birth):
    """Give every version a cell from its birth to its last use: `(cell of each version, how many cells)`.

    Version v is needed by the used rows that read it, and as the current one until version v + 1 is born (the last
    for ever). Within a row everything is read before the new version is written, so a row may write where it read.
    """
    updates = len(birth)
    last = np.concatenate([birth, [len(use)]])
    row = np.repeat(np.flatnonzero(use), read.shape[1] if read.ndim == 2 else 1)
    np.maximum.at(last, read[use].reshape(-1), row)
    order = np.argsort(last[:updates], kind="stable")
    dead = np.searchsorted(last[order], birth, side="right")  # versions that are over when version 1, 2, ... is written
    most = np.maximum.accumulate(np.concatenate([[1], np.arange(2, updates + 2) - dead]))  # alive at once so far
    again = np.flatnonzero(np.diff(most) == 0) + 1  # versions that get a cell which another gave back, the oldest first
    source = np.arange(updates + 1)
    source[again] = order[: len(again)]
    while (source != source[source]).any():  # to the first version that had the cell
        source = source[source]
    return (most - 1)[source].astype(np.int32), int(most[-1])


def evaluation_updates(schedule, steps, evaluate) -> np.ndarray:
    """The counts of updates after which the parameters are looked at: increasing, from 0 to the last."""
    updates = len(steps)
    if evaluate is None:
        evaluate = max(1, -(-updates // 50))
    if np.ndim(evaluate) == 0:
        looks = np.arange(
            0, updates, whole("evaluate", evaluate, 1, hint=": every so many updates, or an array of seconds")
        )
    else:
        grid = np.asarray(evaluate, np.float64)
        if grid.ndim != 1 or not np.isfinite(grid).all() or (grid < 0).any():
            raise ValueError(f"evaluate holds finite seconds, 0 or more, in one dimension; got {evaluate!r}.")
        looks = np.searchsorted(schedule.time[steps], grid, side="right")
    return np.unique(np.concatenate([[0], looks, [updates]])).astype(np.int64)


def pad(column, length, value):
    out = np.full((length, *column.shape[1:]), value, column.dtype)
    out[: len(column)] = column
    return out


def stack(plans: Iterable[Plan]) -> Plan:
    """Put plans together along a new leading axis, for `vmap` over seeds, clocks or policies.

    All are laid out alike: the same number of evaluations (short ones look again at their last version) and the
    same number of rows between them, filled up with rows that do nothing.

    Raises:
        ValueError: where the plans differ in workers, groups or tags, or have waves wider than 1.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.exponential(1.0, num_workers=4)
        >>> runs = [ja.simulate(ja.policies.asgd(), times, num_updates=100, seed=s) for s in range(3)]
        >>> ja.stack([ja.plan(run, evaluate=20) for run in runs]).time.shape
        (3, 6)
    """
    plans = list(plans) if isinstance(plans, Iterable) else plans
    if not plans or not isinstance(plans, list) or not all(isinstance(p, Plan) for p in plans):
        raise ValueError(f"stack takes one or more plans, [ja.plan(schedule), ...]; got {shown(plans)}.")
    if any(p.width != 1 or p.chunk is not None for p in plans):
        raise ValueError("stack takes plans of wave width 1 that are not stacked yet; make them with width=1.")
    for what, of in {
        "num_workers": lambda p: p.num_workers,
        "tags": lambda p: sorted(p.tags),
        "read groups": lambda p: p.rows["read"].shape[1:],
    }.items():
        if len({str(of(p)) for p in plans}) > 1:
            raise ValueError(f"stacked plans agree in {what}; got {[of(p) for p in plans]}.")
    lengths = np.unique(np.concatenate([np.diff(p.bounds) for p in plans]))
    chunk = int(lengths[0]) if len(lengths) == 1 else ladder(int(lengths.max(initial=1)))
    looks = max(p.num_evaluations for p in plans)
    full = all(p.num_evaluations == looks and (np.diff(p.bounds) == chunk).all() for p in plans)
    num_cells = max(p.num_cells for p in plans)
    laid = [lay_out(p, chunk, looks, num_cells) for p in plans]
    arrays: dict[str, Any] = {
        name: {key: np.stack([p[name][key] for p in laid]) for key in laid[0][name]}
        if isinstance(laid[0][name], dict)
        else np.stack([p[name] for p in laid])
        for name in ARRAYS
    }
    return Plan(
        **arrays,
        num_cells=num_cells,
        width=1,
        max_size=max(p.max_size for p in plans),
        block=min(MAX_BLOCK, chunk),
        every=full and all(p.every for p in plans),
        lone=all(p.lone for p in plans),
        all_used=full and all(p.all_used for p in plans),
        own=all(p.own for p in plans),
        shared=False,
        closed=False,
        one_each=True,
        chunk=chunk,
        num_workers=plans[0].num_workers,
    )


def align(plans) -> list[Plan]:
    """Plans of several seeds made alike in everything that shapes the program, so that it compiles once for all.

    The numbers do not change; only padding, sizes and the choice between equivalent programs do.
    """
    plans = list(plans)
    length = max(len(p.rows["use"]) for p in plans)
    shared = {name: max(getattr(p, name) for p in plans) for name in ("num_cells", "max_size", "block")}
    shared |= {name: all(getattr(p, name) for p in plans) for name in TRAITS}
    names = dict.fromkeys(name for p in plans for name in p.tags)

    def alike(p):
        write = np.where(p.rows["step"], p.rows["write"], shared["num_cells"]).astype(np.int32)
        rows = {name: pad(column, length, 0) for name, column in (p.rows | {"write": write}).items()}
        tags = {name: pad(p.tags.get(name, np.zeros(0)), length, np.nan) for name in names}
        return replace(p, rows=rows, tags=tags, waves=pad(p.waves, length + 1, p.waves[-1]), **shared)

    return [alike(p) for p in plans]


def lay_out(p: Plan, chunk: int, looks: int, num_cells: int) -> dict:
    """The arrays of one plan with `chunk` rows before every evaluation but the first."""
    starts = [e * chunk + np.arange(n) for e, n in enumerate(np.diff(p.bounds).tolist())]
    place = np.concatenate(starts).astype(int) if starts else np.zeros(0, int)
    number, length = int(p.bounds[-1]), chunk * max(looks - 1, 1)
    idle = {"write": num_cells}

    def spread(column, value):
        out = np.full((length, *column.shape[1:]), value, column.dtype)
        out[place] = column[:number]
        return out

    rows = {name: spread(column, idle.get(name, 0)) for name, column in p.rows.items()}
    trash = ~rows["step"]
    rows["write"] = np.where(trash, num_cells, rows["write"]).astype(np.int32)
    tail = looks - p.num_evaluations
    return {
        "rows": rows,
        "tags": {name: spread(column, np.nan) for name, column in p.tags.items()},
        "waves": np.arange(length + 1, dtype=np.int32),
        "bounds": np.arange(looks, dtype=np.int32) * chunk,
        **{name: np.pad(getattr(p, name), (0, tail), mode="edge") for name in ("cells", "time", "update", "gradients")},
    }
