"""What a run writes down while it goes on: the rows, the jobs that ended without one; at the end, a Schedule."""

from __future__ import annotations

import struct

import numpy as np

from .checks import shown
from .schedule import COLUMNS, QUEUED, RUNNING, UNFINISHED_COLUMNS, Schedule

ROW = struct.Struct("=ddddiiiii??")  # a row in bytes: ten columns and the busy seconds
FIELDS = ("time", "start", "weight", "busy", "worker", "read", "visit", "repeat", "size", "use", "step")
KINDS = np.dtype([(name, COLUMNS.get(name, np.float64)) for name in FIELDS])
JOB = struct.Struct("=iiiddiqqd")  # a job without a row
JOBS = np.dtype(list(UNFINISHED_COLUMNS.items()))
MERGE_ABOVE = 100_000  # unfinished jobs kept one by one; beyond, merged per worker and kind


class Rows:
    """The rows of a run, in bytes: appending is all that happens while it goes on."""

    def __init__(self, tags):
        self.bytes = bytearray()
        self.number = 0
        self.first = 0  # row since the last update
        self.groups = None  # how many versions a row has read, where that is more than one
        self.seen, self.rows_seen = bytearray(), []  # versions read by the groups of these rows, i8 [rows, groups]
        self.late = []  # (rows, weights) known when a batch closed
        self.tags: dict[str, tuple[list, list]] = {name: ([], []) for name in tags}  # name -> rows, values

    def append(self, told, use, step, time, start, busy, worker, read, visit, repeat, size):
        """Write a row; `told` is what the decision says further: weight, weights, tags and read."""
        weight, weights, tags, seen = told
        if seen is not None:
            read = self.versions_read(seen)
        self.bytes += ROW.pack(time, start, weight if use else 0.0, busy, worker, read, visit, repeat, size, use, step)
        k = self.number
        self.number = k + 1
        if tags:
            for name, value in tags.items():
                if value.__class__ is not int and (isinstance(value, str) or np.ndim(value)):
                    raise ValueError(f"a tag is a number; got {name!r}: {shown(value)}.")
                rows, values = self.tags.setdefault(name, ([], []))
                rows.append(k)
                values.append(float(value))
        if weights is not None:
            weights, rows = np.asarray(weights, np.float64), self.members()
            if not step or weights.shape != rows.shape:
                raise ValueError(
                    f"Decision.weights comes with step=True and has one weight for each of the {len(rows)} "
                    f"rows used since the last update; got shape {weights.shape} with step={step}."
                )
            self.late.append((rows, weights))
        if step:
            self.first = k + 1

    def members(self):
        """The rows used since the last update."""
        tail = np.frombuffer(bytes(self.bytes[self.first * ROW.size :]), KINDS)
        return self.first + np.flatnonzero(tail["use"])

    def versions_read(self, given) -> int:
        """One version for all, or one for each group of leaves or coordinates, as many in every row."""
        read = np.asarray(given)
        if read.ndim == 0 and read.dtype.kind in "iu":
            return int(read)
        self.groups = len(read) if read.ndim == 1 and self.groups is None else self.groups
        if read.shape != (self.groups,) or not self.groups or read.dtype.kind not in "iu":
            raise ValueError(
                f"Decision.read is a version, or one for each group of leaves or coordinates, [groups], as many in "
                f"every row; got {shown(given)}."
            )
        self.seen += read.astype(np.int64, copy=False).tobytes()
        self.rows_seen.append(self.number)
        return 0

    def columns(self) -> tuple[dict, dict, np.ndarray]:
        """The table, the tags, and the busy seconds."""
        rows = np.frombuffer(bytes(self.bytes), KINDS)
        table = {name: np.ascontiguousarray(rows[name]) for name in FIELDS}
        busy = table.pop("busy")
        if self.late:
            members, weights = (np.concatenate(part) for part in zip(*self.late, strict=True))
            table["weight"][members] = weights
        if self.groups is not None:  # rows that name one version have read all groups there
            table["read"] = np.repeat(table["read"][:, None], self.groups, axis=1)
            table["read"][self.rows_seen] = np.frombuffer(self.seen, np.int64).reshape(-1, self.groups)
        tags = {name: np.full(self.number, np.nan) for name in self.tags}
        for name, (at, values) in self.tags.items():
            tags[name][at] = values
        return table, tags, busy


class Losses:
    """The jobs that end without a gradient: one by one, and beyond `MERGE_ABOVE` as sums per worker and kind."""

    def __init__(self, num_workers):
        self.num_workers = num_workers
        self.bytes, self.number = bytearray(), 0
        self.merged = {}  # kind -> size, age, count, seconds of every worker

    def add(self, worker, kind, read, start, time, size, age, seconds):
        """One job."""
        if self.number < MERGE_ABOVE or kind in (RUNNING, QUEUED):
            self.bytes += JOB.pack(worker, kind, read, start, time, size, age, 1, seconds)
            self.number += 1
        else:
            self.merge(kind, worker, size, age, 1, seconds)

    def add_many(self, workers, kind, read, start, time, size, age, seconds):
        """Jobs of different workers, arrays [jobs], that end at the same `time`."""
        if self.number < MERGE_ABOVE:
            jobs = np.empty(len(workers), JOBS)
            columns = (workers, kind, read, start, time, size, age, 1, seconds)
            for name, column in zip(UNFINISHED_COLUMNS, columns, strict=True):
                jobs[name] = column
            self.bytes += jobs.tobytes()
            self.number += len(workers)
        else:
            self.merge(kind, workers, size, age, 1, seconds)

    def merge(self, kind, workers, *numbers):
        if kind not in self.merged:
            self.merged[kind] = [np.zeros(self.num_workers, t) for t in (np.int64, np.int64, np.int64, np.float64)]
        for total, number in zip(self.merged[kind], numbers, strict=True):
            total[workers] += number

    def table(self) -> dict:
        """The second table of a schedule."""
        kept = np.frombuffer(bytes(self.bytes), JOBS)
        sums = [
            (worker, kind, -1, np.nan, np.nan, sizes[worker], ages[worker], counts[worker], seconds[worker])
            for kind, (sizes, ages, counts, seconds) in self.merged.items()
            for worker in np.flatnonzero(counts).tolist()
        ]
        jobs = np.concatenate([kept, np.array(sorted(sums, key=lambda line: line[:2]), JOBS)])
        return {name: np.ascontiguousarray(jobs[name]) for name in UNFINISHED_COLUMNS}


def schedule(rows: Rows, losses: Losses, num_workers, end, status, info, exact) -> Schedule:
    """The whole run as a table; `exact`: jobs are not busy all the time."""
    table, tags, busy = rows.columns()
    return Schedule(
        **table,
        num_workers=num_workers,
        end=end,
        status=status,
        tags=tags,
        unfinished=losses.table(),
        info=info,
        **({"busy": busy} if exact else {}),
    )
