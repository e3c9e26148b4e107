"""Timelines for trace viewers: the format's rules, the table's numbers, by hand and for any legal table."""

import gzip
import json
import math

import cases
import numpy as np
import pytest
from hypothesis import given, settings
from test_columns import tables
from test_schedule import made
from test_statistics import by_hand

import jaxasgd as ja
from jaxasgd.schedule import CANCELLED, QUEUED

WAIT = "messages and waiting"
WORDS = ("running", "queued", "cancelled", "timed out", "lost")
PROCESSES = {"server": 1, "workers": 2}


def read(schedule, folder, **options):
    """The events of a trace that keeps the format's rules, without names; the name of each track."""
    path = schedule.save_trace(folder / "run.json", **options)
    whole = json.loads(path.read_text(), parse_constant=pytest.fail)  # JSON has no NaN
    assert set(whole) == {"traceEvents", "displayTimeUnit", "otherData"} and whole["displayTimeUnit"] in ("ms", "ns")
    names, events = {}, []
    for event in whole["traceEvents"]:
        kind = event["ph"]
        assert isinstance(event["name"], str) and type(event["pid"]) is type(event["tid"]) is int and event["tid"] > 0
        if kind == "M":
            assert set(event) == {"ph", "name", "pid", "tid", "args"}
            (value,) = event["args"].values()
            assert names.setdefault((event["name"], event["pid"], event["tid"]), value) == value
            continue
        assert isinstance(event["ts"], float) and math.isfinite(event["ts"])
        extra = {"X": {"dur", "args"}, "i": {"s", "args"}, "C": {"args"}}[kind]
        assert set(event) - {"ph", "name", "pid", "tid", "ts"} == extra - ({"args"} if event["name"] == WAIT else set())
        assert kind != "X" or event["dur"] >= 0
        assert kind != "i" or event["s"] == "t"
        assert kind != "C" or all(type(value) is int for value in event["args"].values())
        events.append(event)
    tracks = {key[1:]: value for key, value in names.items() if key[0] == "thread_name"}
    order = {key[1:]: value for key, value in names.items() if key[0] == "thread_sort_index"}
    processes = {value: key[1] for key, value in names.items() if key[0] == "process_name"}
    assert processes == PROCESSES and len(set(order.values())) == len(order) == len(tracks)
    assert len(set(tracks.values())) == len(tracks) == len({tid for _, tid in tracks})
    assert {(e["pid"], e["tid"]) for e in events} <= set(tracks) and set(order) == set(tracks)
    assert next(tracks[key] for key in sorted(order, key=order.get)) == "updates"
    return events, tracks, order, whole["otherData"]


def nested(events):
    """The outermost slices of each track: in a viewer's whole nanoseconds each lies within one before it, or after."""
    outer = []
    for track in {event["tid"] for event in events}:
        open_until, last = [], -math.inf
        for event in [event for event in events if event["ph"] == "X" and event["tid"] == track]:
            begin, length = event["ts"] * 1000, event["dur"] * 1000
            assert begin == int(begin) and length == int(length)  # so that cutting and rounding agree
            assert begin >= last, "in order of time"
            last = begin
            while open_until and open_until[-1] <= begin and event["name"] != WAIT:
                open_until.pop()
            assert not open_until or begin + length <= open_until[-1], event
            assert bool(open_until) == (event["name"] == WAIT), event
            outer += [event] * (not open_until)
            open_until.append(begin + length)
    return outer


def grid(seconds, scale=1.0):
    """Microseconds, to an eighth."""
    return round(seconds * scale * 8e6) / 8


def expected(schedule, scale=1.0):
    """The slices that a table asks for, by a slow loop: (worker, begin, length, name, arguments)."""
    found = []
    names = (
        "read",
        "version",
        "delay",
        "visit",
        "repeat",
        "size",
        "weight",
        "use",
        *["busy"] * (schedule.busy is not None),
    )
    for k in range(len(schedule)):
        if schedule.size[k]:
            args = {name: getattr(schedule, name)[k].tolist() for name in names} | {"row": k}
            name = f"delay {int(np.max(schedule.delay[k]))}" if schedule.use[k] else "discarded"
            found.append((int(schedule.worker[k]), schedule.start[k], schedule.time[k], name, args))
    lost = {name: column.tolist() for name, column in schedule.unfinished.items()}
    for k, kind in enumerate(lost["kind"]):
        if kind != QUEUED and lost["time"][k] == lost["time"][k]:
            args = {name: lost[name][k] for name in ("read", "age", "size", "count")}
            found.append((lost["worker"][k], lost["start"][k], lost["time"][k], WORDS[kind], args))
    begin = lambda job: grid(job[1], scale)
    return [(job[0], begin(job), grid(job[2], scale) - begin(job), *job[3:]) for job in found]


def check(schedule, folder, scale=1.0):
    events, tracks, order, other = read(schedule, folder, scale=scale)
    key = lambda job: (*job[:4], json.dumps(job[4], sort_keys=True))
    worker = {tid: int(name.split()[1]) for (pid, tid), name in tracks.items() if pid == 2}
    assert set(worker.values()) == set(range(schedule.num_workers))  # the idle ones too
    ranks = [worker[tid] for pid, tid in sorted(order, key=order.get) if pid == 2]
    assert ranks == sorted(ranks)
    slices = [(worker[e["tid"]], e["ts"], e["dur"], e["name"], e["args"]) for e in nested(events)]
    assert sorted(map(key, slices)) == sorted(map(key, expected(schedule, scale)))
    instants = [event for event in events if event["ph"] == "i"]
    steps = np.flatnonzero(schedule.step).tolist()
    uses, used = np.add.accumulate([0, *schedule.use]), [0, *(k + 1 for k in steps)]
    assert [(e["name"], e["ts"], e["args"]["version"], e["args"]["gradients"], e["args"]["row"]) for e in instants] == [
        ("update", grid(schedule.time[k], scale), v + 1, uses[used[v + 1]] - uses[used[v]], k)
        for v, k in enumerate(steps)
    ]
    delays = [(e["ts"], e["args"]["updates"]) for e in events if e["ph"] == "C" and e["name"] == "delay"]
    rows = np.flatnonzero(schedule.use)
    assert delays == [(grid(schedule.time[k], scale), int(np.max(schedule.delay[k]))) for k in rows]
    flight = ja.statistics.concurrency(schedule)
    flying = [(e["ts"], e["args"]["in flight"]) for e in events if e["ph"] == "C" and e["name"] == "jobs"]
    assert flying == [(grid(t, scale), n) for t, n in zip(flight.edges, flight.jobs.tolist(), strict=False)]
    lost = schedule.unfinished
    left = sum(lost["count"].tolist()) - sum(
        lost["count"][np.isfinite(lost["time"]) & (lost["kind"] != QUEUED)].tolist()
    )
    assert other == {
        "num_workers": schedule.num_workers,
        "end": schedule.end,
        "status": schedule.status,
        "not drawn": left,
    }
    return events, tracks


def test_by_hand(tmp_path):
    """Three workers, six rows, four unfinished jobs: the whole picture."""
    events, tracks = check(by_hand(), tmp_path)
    assert tracks == {(1, 1): "updates", (2, 10): "worker 0", (2, 11): "worker 1", (2, 12): "worker 2"}
    second = 1e6
    assert [(e["tid"], e["ts"] / second, e["dur"] / second, e["name"]) for e in events if e["ph"] == "X"] == [
        (10, 0.0, 1.0, "delay 0"),
        (10, 0.5, 0.5, WAIT),
        (10, 1.0, 2.0, "delay 0"),
        (10, 2.5, 0.5, WAIT),
        (10, 3.0, 3.0, "discarded"),
        (10, 6.0, 4.0, "running"),
        (11, 0.0, 2.0, "delay 1"),
        (11, 2.0, 6.0, "delay 2"),
        (11, 5.0, 3.0, WAIT),
        (11, 8.0, 1.0, "cancelled"),
    ]
    assert [e["args"] for e in events if e["name"] == "delay 2"] == [
        {"row": 5, "version": 3, "delay": 2, "read": 1, "visit": 1, "repeat": 0, "size": 1, "weight": 1.0}
        | {"busy": 3.0, "use": True}
    ]
    updates = [(e["ts"] / second, e["args"]) for e in events if e["name"] == "update"]
    assert [(t, a["version"], a["gradients"]) for t, a in updates] == [
        (1.0, 1, 1),
        (3.0, 2, 2),
        (4.0, 3, 0),
        (8.0, 4, 1),
    ]
    counts = [(e["name"], e["ts"] / second, *e["args"].values()) for e in events if e["ph"] == "C"]
    assert counts[:2] == [("jobs", 0.0, 2), ("jobs", 9.0, 1)]
    assert counts[2:] == [("delay", 1.0, 0), ("delay", 2.0, 1), ("delay", 3.0, 0), ("delay", 8.0, 2)]


def test_simulated(tmp_path):
    """Policies that cancel, discard and aggregate; a hundred workers have numbers of three digits."""
    clock = cases.CLOCKS["pareto"]()
    for policy in (ja.policies.synchronous(backup=2), ja.policies.ringmaster(bound=3), ja.policies.asgd()):
        for scale in (1.0, 1e-3):
            _, tracks = check(ja.simulate(policy, clock, num_updates=100, seed=1), tmp_path, scale)
            assert sorted(tracks) == [(1, 1), *((2, 10 + worker) for worker in range(5))]
    many = ja.simulate(ja.policies.asgd(), ja.times.exponential(1.0, num_workers=101), until=3.0)
    assert check(many, tmp_path)[1][2, 1003] == "worker 3"


def test_jobs_at_once_get_tracks_of_their_own(tmp_path):
    """A worker with three jobs at once: as few tracks as do, nothing on top of anything else."""
    schedule = made(start=[0.0, 0.0, 0.5], worker=[0, 0, 0])  # [0, 1), [0, 2), [0.5, 2)
    _, tracks = check(schedule, tmp_path)
    assert tracks == {
        (1, 1): "updates", (2, 10): "worker 0", (2, 20): "worker 0 (2)", (2, 30): "worker 0 (3)", (2, 11): "worker 1",
    }  # fmt: skip
    later = made(start=[0.0, 0.0, 1.0], worker=[0, 0, 0])  # the third begins where the first ends
    assert len(check(later, tmp_path)[1]) == 4


def test_a_job_without_a_length_comes_before_one_that_begins_then(tmp_path):
    """Or a viewer would take it for a part of that one."""
    lost = {"worker": [0], "kind": [CANCELLED], "read": [0], "start": [1.0], "time": [1.0], "size": [1], "age": [1]}
    schedule = made(unfinished=lost | {"count": [1], "seconds": [0.0]})
    events, tracks = check(schedule, tmp_path)
    assert [e["name"] for e in events if e["tid"] == 10] == ["delay 0", "cancelled", "delay 0"] and len(tracks) == 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("traces")


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(tables())
def test_any_legal_table(folder, table):
    (folder / "run.json").unlink(missing_ok=True)
    schedule = ja.Schedule(**table)
    longest = max(schedule.end, 1e-290)
    check(schedule, folder, scale=1.0 if longest < 1e9 else 100 / longest)


def test_compressed_and_repeatable(tmp_path):
    one, two = (by_hand().save_trace(tmp_path / f"{name}.json.gz") for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    assert gzip.decompress(one.read_bytes()) == by_hand().save_trace(tmp_path / "run.json").read_bytes()


def test_what_a_trace_can_not_be(tmp_path):
    for name in ("run.txt", "run", "run.json.zip", "run.csv"):
        with pytest.raises(ValueError, match=rf"a trace is saved as \.json or \.json\.gz; got '{name}'"):
            made().save_trace(tmp_path / name)
    for scale in (0.0, -1.0, np.nan, np.inf, "1"):
        with pytest.raises(ValueError, match="scale is a finite number above 0; got"):
            made().save_trace(tmp_path / "run.json", scale)
    for schedule, scale in ((made(end=1e12), 1.0), (made(), 1e9), (made(end=1e300), 1e300)):
        with pytest.raises(ValueError, match=r"a trace has 1e\+09 seconds at most; got .*: choose a smaller scale"):
            schedule.save_trace(tmp_path / "run.json", scale)
    assert not list(tmp_path.iterdir())  # no half a file
