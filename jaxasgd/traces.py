"""A schedule as a timeline in Chrome's trace event format, for Perfetto (ui.perfetto.dev) and chrome://tracing."""

from __future__ import annotations

import heapq
import json
from itertools import chain
from pathlib import Path

import numpy as np

from .checks import real
from .formats import ending, writing
from .schedule import QUEUED, Schedule
from .statistics import concurrency

SERVER, WORKERS = 1, 2  # processes
GRID = 8  # ticks in a microsecond: such numbers are exact in binary and in whole nanoseconds, which viewers count in
LONGEST = 1e9  # seconds that are exact on this grid
NAMES = ("running", "queued", "cancelled", "timed out", "lost")


def save_trace(schedule: Schedule, path, scale=1.0) -> Path:
    """Write who computed when, and what the server did, as a trace that Perfetto and chrome://tracing open.

    A track for each worker has a slice for each job, from its start to its arrival, named `delay 3`, `discarded`,
    `cancelled`, `timed out`, `lost` or `running`, with the row's numbers as arguments. Where the column `busy` says
    that a worker computed for a part of that time, the rest is a slice `messages and waiting` inside of it, drawn at
    the end (the table has its length, not its place). Jobs of one worker that overlap get tracks of their own,
    `worker 3 (2)`. The server's track has an instant for each update; counters show the jobs in flight and the delay
    of each used gradient (the largest of its groups). Jobs that never began (queued), and merged ones, whose times are
    not known, are not drawn; `otherData` counts them.

    Args:
        schedule: a `Schedule`.
        path: ends in `.json` or `.json.gz`.
        scale: seconds of the trace for one of the run's clock. Times are rounded to an eighth of a microsecond.

    Returns:
        The path.

    Raises:
        ValueError: another ending; a scale that is not above 0; a trace of more than 1e9 seconds.

    Example:
        >>> import json, pathlib, tempfile
        >>> import jaxasgd as ja
        >>> schedule = ja.simulate(ja.policies.asgd(), ja.times.fixed(1.0, num_workers=2), num_updates=3)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = schedule.save_trace(pathlib.Path(folder) / "run.json")
        ...     events = json.loads(path.read_text())["traceEvents"]
        >>> [(e["name"], e["tid"], e["ts"], e["dur"]) for e in events if e["ph"] == "X"][:2]
        [('delay 0', 10, 0.0, 1000000.0), ('delay 1', 10, 1000000.0, 1000000.0)]
    """
    path = ending("a trace", path, ".json", ".json.gz")
    scale = real("scale", scale, hint=" above 0")
    if not scale > 0:
        raise ValueError(f"scale is a finite number above 0; got {scale}.")
    ticks(schedule.end, scale)  # before there is half a file
    tracks, jobs, left = job_events(schedule, scale)
    other = {"num_workers": schedule.num_workers, "end": schedule.end, "status": schedule.status, "not drawn": left}
    with writing(path) as file:
        file.write(f'{{"displayTimeUnit": "ms", "otherData": {json.dumps(other)}, "traceEvents": [')
        between = "\n"
        for event in chain(track_events(tracks), jobs, server_events(schedule, scale)):
            file.write(between + event)
            between = ",\n"
        file.write("\n]}\n")
    return path


def ticks(seconds, scale) -> np.ndarray:
    """Seconds as whole ticks of the grid, i8."""
    with np.errstate(over="ignore"):
        scaled = np.asarray(seconds) * scale
    if not (abs(scaled) <= LONGEST).all():
        longest = abs(scaled).max()
        raise ValueError(
            f"a trace has {LONGEST:g} seconds at most; got {longest:g} at scale={scale:g}: choose a smaller scale."
        )
    return np.rint(scaled * (GRID * 1e6)).astype(np.int64)


def micro(ticks) -> list:
    return (ticks / GRID).tolist()


def stride(num_workers) -> int:
    """Worker 3's tracks are 10 + 3, 20 + 3, ... (100 + 3, ... where there are more than ten): no process's number."""
    return 10 ** max(len(str(num_workers - 1)), 1)


def track_events(tracks):
    """Names and order of the processes and tracks."""
    names = {(SERVER, SERVER): "updates"}
    for worker, lane, track in tracks:
        names[WORKERS, track] = f"worker {worker}" + (f" ({lane + 1})" if lane else "")
    for order, (process, name) in enumerate(((SERVER, "server"), (WORKERS, "workers"))):
        yield meta("process_name", process, process, name=name)
        yield meta("process_sort_index", process, process, sort_index=order)
    for order, ((process, track), name) in enumerate(names.items()):
        yield meta("thread_name", process, track, name=name)
        yield meta("thread_sort_index", process, track, sort_index=order)


def meta(what, process, track, **args):
    return json.dumps({"name": what, "ph": "M", "pid": process, "tid": track, "args": args})


def job_events(schedule, scale):
    """The tracks, (worker, lane, number) each; the events of all jobs, track by track; how many jobs are left out."""
    lost, rows = schedule.unfinished, np.flatnonzero(schedule.size > 0)
    drawn = (lost["kind"] != QUEUED) & np.isfinite(lost["start"]) & np.isfinite(lost["time"])
    jobs = np.flatnonzero(drawn)
    join = lambda name: np.concatenate([getattr(schedule, name)[rows], lost[name][jobs]])
    who, start, end = join("worker"), ticks(join("start"), scale), ticks(join("time"), scale)
    lane = lanes(who, start, end)
    step = stride(schedule.num_workers)
    track = step * (lane + 1) + who
    all_tracks = np.unique(np.stack([who, lane, track], 1), axis=0).tolist()
    found = {(worker, number) for worker, number, _ in all_tracks}
    idle = [[worker, 0, step + worker] for worker in range(schedule.num_workers) if (worker, 0) not in found]
    texts = row_texts(schedule, rows) + lost_texts(lost, jobs)
    waits = np.full(len(who), -1)
    if schedule.busy is not None:
        computed = np.clip(
            ticks(schedule.start[rows] + schedule.busy[rows], scale), start[: len(rows)], end[: len(rows)]
        )
        waits[: len(rows)] = end[: len(rows)] - computed
    order = np.lexsort((end, start, lane, who))
    numbers = (track[order].tolist(), *(micro(column[order]) for column in (start, end - start, waits)))

    def events():
        for tid, ts, dur, wait, k in zip(*numbers, order.tolist(), strict=True):
            place = f'"ph": "X", "pid": {WORKERS}, "tid": {tid}'
            yield f'{{{place}, "ts": {ts!r}, "dur": {dur!r}, {texts[k]}}}'
            if wait > 0:
                yield f'{{{place}, "ts": {ts + dur - wait!r}, "dur": {wait!r}, "name": "messages and waiting"}}'

    left = int(lost["count"][~drawn].sum())
    return sorted(all_tracks + idle), events(), left


def row_texts(schedule, rows) -> list:
    """Name and arguments of the gradients that arrived."""
    names = ["read", "visit", "repeat", "size", "weight"]
    names += [] if schedule.busy is None else ["busy"]
    columns = {"row": rows} | {name: getattr(schedule, name)[rows] for name in ("version", "delay", *names)}
    oldest = columns["delay"] if columns["delay"].ndim == 1 else columns["delay"].max(axis=1)
    form = ", ".join(f'"{name}": %s' for name in columns)
    texts = []
    lists = (column.tolist() for column in columns.values())
    for age, use, *numbers in zip(oldest.tolist(), schedule.use[rows].tolist(), *lists, strict=True):
        name, flag = (f"delay {age}", "true") if use else ("discarded", "false")
        texts.append(f'"name": "{name}", "args": {{{form % tuple(numbers)}, "use": {flag}}}')
    return texts


def lost_texts(lost, jobs) -> list:
    """Name and arguments of the jobs without a row."""
    columns = (lost[name][jobs].tolist() for name in ("kind", "read", "age", "size", "count"))
    return [
        f'"name": "{NAMES[kind]}", "args": {{"read": {read}, "age": {age}, "size": {size}, "count": {count}}}'
        for kind, read, age, size, count in zip(*columns, strict=True)
    ]


def lanes(who, start, end) -> np.ndarray:
    """For each job the first of its worker's tracks on which it overlaps no other: 0 where jobs come one by one."""
    order, lane = np.lexsort((end, start, who)), np.zeros(len(who), np.int64)
    who, start, end = who[order], start[order], end[order]
    clash = (who[1:] == who[:-1]) & (start[1:] < end[:-1])
    for worker in np.unique(who[1:][clash]):
        first, last = np.searchsorted(who, [worker, worker + 1])
        free: list[int] = []
        taken: list[tuple] = []
        number = 0
        for k in range(first, last):
            while taken and taken[0][0] <= start[k]:
                heapq.heappush(free, heapq.heappop(taken)[1])
            if not free:
                free, number = [number], number + 1
            lane[order[k]] = heapq.heappop(free)
            heapq.heappush(taken, (end[k], lane[order[k]]))
    return lane


def server_events(schedule, scale):
    """The updates, the jobs in flight, the delays."""
    place = f'"pid": {SERVER}, "tid": {SERVER}'
    steps, used = np.flatnonzero(schedule.step), np.flatnonzero(schedule.use)
    gradients = np.diff(np.cumsum(schedule.use)[steps], prepend=0)
    times = micro(ticks(schedule.time, scale))
    for version, (row, number) in enumerate(zip(steps.tolist(), gradients.tolist(), strict=True), 1):
        args = f'{{"version": {version}, "gradients": {number}, "row": {row}}}'
        yield f'{{"name": "update", "ph": "i", "s": "t", {place}, "ts": {times[row]!r}, "args": {args}}}'
    flight = concurrency(schedule)
    for ts, number in zip(micro(ticks(flight.edges[:-1], scale)), flight.jobs.tolist(), strict=True):
        yield f'{{"name": "jobs", "ph": "C", {place}, "ts": {ts!r}, "args": {{"in flight": {number}}}}}'
    delay = schedule.delay[used] if schedule.delay.ndim == 1 else schedule.delay[used].max(axis=1)
    for row, number in zip(used.tolist(), delay.tolist(), strict=True):
        yield f'{{"name": "delay", "ph": "C", {place}, "ts": {times[row]!r}, "args": {{"updates": {number}}}}}'
