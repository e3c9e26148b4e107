"""The columns of a table: whose arrays they are, what checks cost and that they are right; the column `busy`."""

import dataclasses
import math
from time import perf_counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_schedule import GOOD, made, schedules

import jaxasgd as ja
from jaxasgd.schedule import COLUMNS


def test_a_schedule_is_independent_of_its_arrays():
    """Whoever holds the arrays can't change the table; arrays that nobody can change are not copied."""
    mine = np.array(GOOD["time"])
    seen = mine[:]
    seen.flags.writeable = False  # but `mine` is not
    for column in (mine, seen):
        schedule = made(time=column, tags={"table": column}, busy=column / 4)
        assert not np.shares_memory(schedule.time, mine) and not np.shares_memory(schedule.tags["table"], mine)
    mine[0] = 0.5
    assert schedule.time[0] == 1.0
    mine.flags.writeable = False
    for column in (mine, mine[:], np.frombuffer(np.array(GOOD["time"]).tobytes())):
        assert np.shares_memory(made(time=column).time, column)
    groups = np.zeros((3, 2), np.int32, order="F")
    groups.flags.writeable = False
    assert made(read=groups).read.flags.c_contiguous  # so that a file's bytes do not depend on the order
    again = dataclasses.replace(schedule, end=9.0)
    assert all(np.shares_memory(getattr(again, name), getattr(schedule, name)) for name in (*COLUMNS, "busy"))


def test_a_million_rows_take_no_time():
    """Arrays of the declared dtypes: less than 60 ms, copies and checks included (10 to 30 here)."""
    rows, took = 1_000_000, []
    table = {name: np.zeros(rows, dtype) for name, dtype in COLUMNS.items()}
    table |= {"time": np.arange(rows, dtype=float), "size": np.ones(rows, np.int32), "step": np.ones(rows, bool)}
    for _ in range(10):
        begin = perf_counter()
        ja.Schedule(**table, num_workers=1, end=float(rows))
        took.append(perf_counter() - begin)
    assert min(took) < 0.06, took


# -------------------------------------------------------------------- busy


def test_busy():
    """Seconds of work are all of time - start, or those that the column says; a bare step has none."""
    assert made().busy is None and made().seconds.tolist() == [1.0, 2.0, 1.0]
    assert made().summary()["utilisation"] == 4.0 / (2 * 2.5)
    schedule = made(busy=[0.5, 0, 1.0])
    assert schedule.seconds.tolist() == [0.5, 0.0, 1.0] and schedule.summary()["utilisation"] == 1.5 / (2 * 2.5)
    assert schedule.busy.dtype == float and schedule != made() and schedule != made(busy=[0.5, 0.25, 1.0])
    assert schedule == made(busy=np.array([0.5, 0, 1])) and dataclasses.replace(schedule, busy=None) == made()
    bare = {"size": [1, 0, 1], "use": [True, False, True], "weight": [1.0, 0.0, 1.0]}
    assert made(**bare).seconds.tolist() == [1.0, 0.0, 1.0]
    assert made(**bare, busy=[1.0, 2.0, 1.0]).seconds.tolist() == [1.0, 0.0, 1.0]


def test_busy_may_exceed_its_job_by_rounding_only():
    """Sums of messages and work differ from the job by rounding: what is too much is cut off, so shares end at 1."""
    rng = np.random.default_rng(0)
    start = rng.uniform(0, 1e6, 1000)
    there, busy, back = rng.uniform(0, 1e-3, (3, 1000))
    there[::2] = back[::2] = 0
    order = np.argsort(start + there + busy + back)
    start, busy, end = start[order], busy[order], (start + there + busy + back)[order]
    table = {name: np.zeros(1000, dtype) for name, dtype in COLUMNS.items()} | {"size": np.ones(1000, np.int32)}
    schedule = ja.Schedule(**(table | {"time": end, "start": start}), num_workers=1, end=2e6, busy=busy)
    assert (busy > end - start).any() and (schedule.busy <= end - start).all()
    np.testing.assert_allclose(schedule.busy, busy, rtol=0, atol=1e-9)  # a clock at 1e6 has steps of 1.2e-10
    again = dataclasses.replace(schedule)
    assert again == schedule
    with pytest.raises(ValueError, match="a worker is busy no longer than its job lasts"):
        dataclasses.replace(schedule, busy=busy + 2e-6 * (np.arange(1000) == 500) * 2)


# ------------------------------------------------------------------ checks

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def tables(draw):
    """The arguments of any legal schedule: groups, bare steps, busy, nan tags, merged jobs, clocks large and small."""
    plain = draw(schedules())
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows, scale = len(plain), draw(st.sampled_from([1.0, 1 / 3, 1e-300, 1e150]))
    table = {name: getattr(plain, name) for name in COLUMNS}
    table["time"] = scale * (plain.time + rng.random(rows) * draw(st.booleans())).cumsum()
    table["start"] = table["time"] * rng.random(rows)
    bare = plain.size == 0
    table["start"][bare] = table["time"][bare]
    table["weight"] = np.where(plain.use, rng.standard_normal(rows), draw(st.sampled_from([0.0, -0.0])))
    end = float(table["time"].max(initial=0)) * draw(st.sampled_from([1, 2])) + scale * draw(st.sampled_from([0, 1]))
    if draw(st.booleans()):
        table["busy"] = rng.choice([0.0, 0.3, 1.0], rows) * (table["time"] - table["start"])
    values = [0.0, 0.1, -2.5e-8, np.nan, np.inf, -np.inf]
    names = draw(st.lists(st.sampled_from(["delay", "table", "é", "read_0"]), unique=True))
    jobs = draw(st.sampled_from([0, 1, 7]))
    known = rng.random(jobs) < 0.7
    times = np.sort(rng.random((2, jobs)) * end, axis=0)
    lost = {
        "worker": rng.integers(0, 4, jobs), "kind": rng.integers(0, 5, jobs), "read": rng.integers(-1, 5, jobs),
        "start": np.where(known, times[0], np.nan), "time": np.where(known, times[1], np.nan),
        "size": rng.integers(0, 9, jobs), "age": rng.integers(0, 2**60, jobs),
        "count": np.where(known, 1, rng.integers(1, 2**40, jobs)), "seconds": scale * rng.exponential(1, jobs),
    }  # fmt: skip
    return table | {
        "num_workers": 4,
        "end": end,
        "status": draw(st.sampled_from(["finished", "stalled"])),
        "tags": {name: rng.choice(values, rows) for name in names},
        "unfinished": lost if jobs else {},
        "info": draw(st.dictionaries(st.text(max_size=4), JSON, max_size=3)),
    }


def legal(table):
    """The rules of a table, one row at a time."""
    version = last = 0
    for k in range(len(table["time"])):
        time, start, weight, use = (table[name][k].item() for name in ("time", "start", "weight", "use"))
        read = np.atleast_1d(table["read"][k])
        good = math.isfinite(time) and math.isfinite(start) and math.isfinite(weight)
        good = good and start <= time and (k == 0 or last <= time) and all(0 <= v <= version for v in read)
        good = good and 0 <= table["worker"][k] < table["num_workers"]
        good = good and all(table[name][k] >= 0 for name in ("visit", "repeat", "size"))
        good = good and (table["size"][k] > 0 if use else weight == 0)
        if "busy" in table:
            good = good and 0 <= table["busy"][k] <= time - start + 1e-12 * max(abs(time), abs(start))
        if not good:
            return False
        last, version = time, version + bool(table["step"][k])
    lost = table["unfinished"]
    for worker, kind, _, start, time, size, _, count, seconds in zip(*(lost[n] for n in lost), strict=True):
        known = not (math.isinf(start) or math.isinf(time) or start > time)
        if not (known and 0 <= worker < 4 and 0 <= kind < 5 and size >= 0 and count >= 1 and 0 <= seconds < np.inf):
            return False
    return len(table["time"]) == 0 or table["end"] >= last


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(tables(), st.data())
def test_checks_are_those_of_a_slow_loop(table, data):
    """One cell of a legal table is changed: it is refused exactly where the rules, one row at a time, say so."""
    assert legal(table) and ja.Schedule(**table).num_workers == 4
    lost = table["unfinished"]
    cells = {name: table[name] for name in (*COLUMNS, "busy") if len(table.get(name, ()))}
    cells |= {f"lost {name}": column for name, column in lost.items()}
    name = data.draw(st.sampled_from(sorted(cells) or ["end"]))
    if name == "end":
        return
    column = np.array(cells[name])
    place = data.draw(st.integers(0, column.size - 1))
    if column.dtype == bool:
        column.flat[place] ^= True
    elif column.dtype.kind == "i":
        column.flat[place] = data.draw(st.sampled_from([-1, 0, 1, 2, 4, 5, 1000]))
    else:
        value = column.flat[place]
        near = [0.0, -1.0, 1.0, np.nan, np.inf, -np.inf, np.nextafter(value, np.inf), 2 * value + 1, value / 2]
        column.flat[place] = data.draw(st.sampled_from(near))
    part = {name: column}
    changed = table | ({"unfinished": lost | {name[5:]: column}} if name.startswith("lost ") else part)
    if legal(changed):
        ja.Schedule(**changed)
    else:
        with pytest.raises(ValueError, match=r"row \d+: |^end is not before"):
            ja.Schedule(**changed)
