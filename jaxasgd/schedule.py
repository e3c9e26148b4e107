"""Schedule: one row per gradient that arrived at the server, in the order the server saw them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from .checks import flag, kind, real, shown, string, whole, word
from .checks import path as path_of
from .columns import columns, fixed, infinite, outside, refuse

COLUMNS = {
    "time": np.float64,
    "start": np.float64,
    "worker": np.int32,
    "read": np.int32,
    "visit": np.int32,
    "repeat": np.int32,
    "size": np.int32,
    "use": np.bool_,
    "weight": np.float64,
    "step": np.bool_,
}

UNFINISHED_COLUMNS = {
    "worker": np.int32,
    "kind": np.int32,
    "read": np.int32,
    "start": np.float64,
    "time": np.float64,
    "size": np.int32,
    "age": np.int64,
    "count": np.int64,
    "seconds": np.float64,
}

#: How a job can end without a gradient: `UNFINISHED[kind]`.
UNFINISHED = ("running", "queued", "cancelled", "timeout", "lost")
RUNNING, QUEUED, CANCELLED, TIMEOUT, LOST = range(len(UNFINISHED))

#: Names a tag can't have, because the rule already receives them.
RESERVED = frozenset({"version", "read", "worker", "stale", "step", "weight", "progress", "updates", "state", "params"})

ROUNDING = 1e-12  # of the clock's reading: by so much may a job's parts add up to more than the job


def plain(info) -> dict:
    """What a file will give back: JSON, with NumPy's numbers as Python's."""
    try:
        found = json.loads(json.dumps(info, default=lambda value: value.tolist()))
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"info is JSON: names, numbers, lists; got {shown(info)}.") from error
    if not isinstance(found, dict):
        raise ValueError(f'info is a dict, {{"seed": 0}} for example; got {shown(info)}.')
    return found


@dataclass(frozen=True, eq=False)
class Schedule:
    """A whole run as a table: who arrived when, what it had read, and what the server did.

    Row k is one gradient that arrived at `time[k]` from `worker[k]`, which had read version `read[k]` of the
    parameters (0 = initial). With `use` it enters the current aggregate with `weight`; with `step` the server
    updates right after the row. `version = cumsum(step) - step` (the count of updates before the row) and
    `delay = version - read` are derived. A row of `size` 0 is no gradient: a bare step.

    Args:
        time, start: seconds of the run's clock at which the gradient arrived, and its worker started it; f8 [rows].
        worker: i4 [rows], `0 <= worker < num_workers`.
        read: i4 [rows], or [rows, groups] where groups of leaves or coordinates were read at versions of their own.
        visit: how many distinct versions the worker had been handed before; i4 [rows].
        repeat: how many jobs it had already been handed at this one; i4 [rows].
        size: work units in the job (1 = one gradient); i4 [rows].
        use: false where the gradient was discarded; bool [rows].
        weight: weight in the aggregate (0 where discarded); f8 [rows].
        step: bool [rows].
        num_workers: number of workers, those included that never arrived.
        end: seconds at which the run ended (>= the last `time`).
        status: "finished", or "stalled" where nothing could happen any more.
        tags: further named columns of numbers; the rule receives them as keyword arguments. A tag `delay`
            replaces the delay that the rule sees (nan: leave it).
        unfinished: the jobs without a row (see `UNFINISHED_COLUMNS`): `kind` indexes `UNFINISHED`; `count` jobs,
            `seconds` of work and `age` in versions (each a sum where `count` > 1; `start` and `time` are then nan).
        info: what made it (names and numbers, JSON).
        busy: seconds of the job that its worker computed, f8 [rows], 0 <= busy <= time - start; the rest are messages
            to and from the server, or waiting in its queue. None: all of time - start. An excess within rounding
            (1e-12 of the clock's reading) is cut off. `seconds` has the numbers either way.

    A read-only array of the declared dtype is taken as it is (as is a view of one); any other is copied.

    Raises:
        ValueError: naming the row and the rule it breaks.

    Example:
        >>> import jaxasgd as ja
        >>> schedule = ja.simulate(ja.policies.asgd(), ja.times.fixed(1.0, num_workers=3), num_updates=6)
        >>> schedule.delay.tolist()
        [0, 1, 2, 2, 2, 2]
    """

    time: np.ndarray
    start: np.ndarray
    worker: np.ndarray
    read: np.ndarray
    visit: np.ndarray
    repeat: np.ndarray
    size: np.ndarray
    use: np.ndarray
    weight: np.ndarray
    step: np.ndarray
    num_workers: int
    end: float
    status: str = "finished"
    tags: dict[str, np.ndarray] = field(default_factory=dict)
    unfinished: dict[str, np.ndarray] = field(default_factory=dict)
    info: dict = field(default_factory=dict)
    busy: np.ndarray | None = None

    def __post_init__(self):
        kinds = COLUMNS if self.busy is None else COLUMNS | {"busy": np.float64}
        table = columns({name: getattr(self, name) for name in kinds}, kinds, "a schedule")
        for name, array in table.items():
            object.__setattr__(self, name, array)
        rows = len(table["time"])
        for name in ("tags", "unfinished"):
            kind(name, getattr(self, name), Mapping, "a mapping, name -> column")
        for name in self.tags:
            string("the name of a tag", name)
        tags = columns(self.tags, dict.fromkeys(self.tags, np.float64), "tags")
        object.__setattr__(self, "tags", tags)
        lost = self.unfinished or {name: np.zeros(0, dtype) for name, dtype in UNFINISHED_COLUMNS.items()}
        object.__setattr__(self, "unfinished", columns(lost, UNFINISHED_COLUMNS, "unfinished"))
        object.__setattr__(self, "end", real("end", self.end, 0, " of seconds"))
        object.__setattr__(self, "num_workers", whole("num_workers", self.num_workers, 1))
        object.__setattr__(self, "info", plain(self.info))
        word("status", self.status, "finished", "stalled")
        for name, array in tags.items():
            if name in RESERVED or not name.isidentifier():
                raise ValueError(f"a tag is a keyword argument of the rule and can't be called {name!r}; rename it.")
            if len(array) != rows:
                raise ValueError(f"tag {name!r} has one entry per row; got {len(array)} for {rows} rows.")
        if self.read.ndim not in (1, 2) or (self.read.ndim == 2 and self.read.shape[1] < 1):
            raise ValueError(f"read has shape [rows] or [rows, groups]; got {self.read.shape}.")
        self._check_rows()
        self._check_unfinished()

    def _check_rows(self):
        refuse_row = partial(refuse, "row", partial(getattr, self))
        time, start, use, weight = self.time, self.start, self.use, self.weight
        refuse_row(infinite(time), "time is a finite number of seconds", "time")
        refuse_row(time[1:] < time[:-1], "time never decreases", "time", first=1)
        refuse_row(infinite(start), "start is a finite number of seconds", "start")
        refuse_row(start > time, "a job starts before it arrives", "start", "time")
        refuse_row(outside(self.worker, 0, self.num_workers), f"worker is 0...{self.num_workers - 1}", "worker")
        refuse_row(outside(self.read, 0), "read is a version, 0 or more", "read")
        newest = self.read if self.read.ndim == 1 else self.read.max(axis=1, initial=0)
        refuse_row(newest > self.version, "a worker can't read a version from the future", "read", "version")
        for name in ("visit", "repeat"):
            refuse_row(outside(getattr(self, name), 0), "visit and repeat count from 0", "visit", "repeat")
        refuse_row(outside(self.size, 0), "size counts work units", "size")
        refuse_row(outside(self.size, 1) & use, "a used gradient has at least one work unit", "size")
        refuse_row(infinite(weight), "weight is a finite number", "weight")
        refuse_row((weight != 0) & ~use, "a discarded gradient has weight 0", "weight")
        if len(time) and not self.end >= time[-1]:
            raise ValueError(f"end is not before the last arrival at {time[-1]}; got {self.end}.")
        if self.busy is not None:
            refuse_row(outside(self.busy, 0), "busy is a finite number of seconds, 0 or more", "busy")
            excess = self.busy - (time - start)
            slack = ROUNDING * np.maximum(abs(time), abs(start))
            refuse_row(excess > slack, "a worker is busy no longer than its job lasts", "busy", "start", "time")
            if (excess > 0).any():
                object.__setattr__(self, "busy", fixed(np.minimum(self.busy, time - start)))

    def _check_unfinished(self):
        lost = self.unfinished
        refuse_job = partial(refuse, "unfinished row", lost.get)
        refuse_job(outside(lost["worker"], 0, self.num_workers), f"worker is 0...{self.num_workers - 1}", "worker")
        refuse_job(outside(lost["kind"], 0, len(UNFINISHED)), f"kind is 0...{len(UNFINISHED) - 1}", "kind")
        refuse_job(outside(lost["size"], 0), "size counts work units", "size")
        refuse_job(outside(lost["count"], 1), "count is a number of jobs, 1 or more", "count")
        refuse_job(outside(lost["seconds"], 0), "seconds is a finite number, 0 or more", "seconds")
        unknown = np.isinf(lost["start"]) | np.isinf(lost["time"]) | (lost["start"] > lost["time"])
        refuse_job(
            unknown, "start and time are finite and in this order, or nan where jobs are merged", "start", "time"
        )

    def __len__(self):
        return len(self.time)

    def __repr__(self):
        return (
            f"Schedule({len(self)} arrivals, {self.num_updates} updates, {self.num_workers} workers, "
            f"{self.end:.6g} s, mean delay {self.mean_delay:.3g}, {self.status})"
        )

    def __eq__(self, other):
        if not isinstance(other, Schedule):
            return NotImplemented
        mine, others = self._arrays(), other._arrays()
        return (
            (self.num_workers, self.end, self.status, json.dumps(self.info, sort_keys=True))
            == (other.num_workers, other.end, other.status, json.dumps(other.info, sort_keys=True))
            and list(mine) == list(others)
            and all(np.array_equal(a, others[n], equal_nan=a.dtype.kind == "f") for n, a in mine.items())
        )

    __hash__ = None  # type: ignore[assignment]

    @cached_property
    def version(self) -> np.ndarray:
        """Number of updates before each row, i8 [rows]."""
        version = np.cumsum(self.step, dtype=np.int64)
        version -= self.step
        return fixed(version)

    @cached_property
    def delay(self) -> np.ndarray:
        """`version - read`, i8, of the shape of `read`."""
        return fixed((self.version if self.read.ndim == 1 else self.version[:, None]) - self.read)

    @cached_property
    def seconds(self) -> np.ndarray:
        """Seconds that each row's worker computed: `busy`, or time - start where that is None; 0 for a bare step."""
        return fixed(np.where(self.size > 0, self.time - self.start if self.busy is None else self.busy, 0.0))

    @cached_property
    def turn(self) -> np.ndarray:
        """Work units that the row's worker had delivered before it, i8 [rows]: where it stands in its own data."""
        order = np.argsort(self.worker, kind="stable")
        sizes = self.size[order].astype(np.int64)
        before = np.cumsum(sizes) - sizes
        first = np.searchsorted(self.worker[order], np.arange(self.num_workers))
        start = before[np.minimum(first, max(len(self) - 1, 0))] if len(self) else np.zeros(self.num_workers, int)
        turn = np.empty(len(self), np.int64)
        turn[order] = before - start[self.worker[order]]
        return fixed(turn)

    @property
    def num_updates(self) -> int:
        """How often the server steps."""
        return int(self.step.sum())

    @property
    def mean_delay(self) -> float:
        """Mean delay of the used gradients (nan without any)."""
        return float(self.delay[self.use].mean()) if self.use.any() else float("nan")

    def summary(self) -> dict:
        """The run in a dozen numbers, exact from the table.

        `utilisation` is worker-seconds spent on jobs (arrived or not) over `num_workers * end`; `wasted` the share of
        them whose gradient was discarded or never came (cancelled, timed out, lost); `discarded` the share of arrived
        gradients that were not used; `throughput` is updates per second; `concurrency` the mean number of jobs in
        flight. `ja.statistics` has distributions, and numbers of each worker.
        """
        from . import statistics

        arrived = self.size > 0
        used = self.delay[self.use]
        seconds = float(self.seconds[arrived].sum() + self.unfinished["seconds"].sum())
        return {
            "workers": self.num_workers,
            "seconds": self.end,
            "updates": self.num_updates,
            "arrivals": int(arrived.sum()),
            "discarded": float(1 - self.use[arrived].mean()) if arrived.any() else 0.0,
            "unfinished": int(self.unfinished["count"].sum()),
            "mean_delay": self.mean_delay,
            "median_delay": float(statistics.delays(self, [0.5]).quantiles[0]),
            "max_delay": int(used.max()) if used.size else 0,
            "throughput": self.num_updates / self.end if self.end else float("nan"),
            "utilisation": seconds / (self.num_workers * self.end) if self.end else float("nan"),
            "wasted": statistics.waste(self).share,
            "concurrency": statistics.mean_concurrency(self),
            "status": self.status,
        }

    def _arrays(self) -> dict[str, np.ndarray]:
        arrays = {name: getattr(self, name) for name in COLUMNS} | ({} if self.busy is None else {"busy": self.busy})
        arrays |= {f"tags/{name}": self.tags[name] for name in sorted(self.tags)}
        return arrays | {f"unfinished/{name}": self.unfinished[name] for name in UNFINISHED_COLUMNS}

    def save(self, path: str | Path) -> Path:
        """Write the table to a file, `.npz`, `.csv` or `.csv.gz`: see `formats.save`. Returns the path."""
        from . import formats

        return formats.save(self, path_of("path", path))

    @classmethod
    def load(cls, path: str | Path) -> Schedule:
        """Read a file that `save` wrote, and check it; a foreign or damaged one is a ValueError that says where."""
        from . import formats

        return formats.load(path_of("path", path), cls)

    def save_trace(self, path: str | Path, scale: float = 1.0) -> Path:
        """Write a timeline for Perfetto (ui.perfetto.dev) or chrome://tracing: see `traces.save_trace`."""
        from . import traces

        return traces.save_trace(self, path_of("path", path), scale)

    def to_pandas(self, unfinished: bool = False) -> Any:
        """The rows as a pandas DataFrame, or the unfinished jobs: see `formats.frame`."""
        from . import formats

        return formats.frame(self, flag("unfinished", unfinished))
