"""The table: what it refuses, what it keeps; the plan: every row finds in its cell the version that it asks for."""

import dataclasses
import itertools
import re

import cases
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxasgd as ja
from jaxasgd import planning
from jaxasgd.schedule import COLUMNS, UNFINISHED_COLUMNS

# name -> the columns of three rows, in the order of the table: two updates, the second of two gradients
GOOD = {
    "time": [1.0, 2.0, 2.0],
    "start": [0.0, 0.0, 1.0],
    "worker": [0, 1, 0],
    "read": [0, 0, 1],
    "visit": [0, 0, 1],
    "repeat": [0, 0, 0],
    "size": [1, 1, 1],
    "use": [True, True, True],
    "weight": [1.0, 0.5, 0.5],
    "step": [True, False, True],
}


def made(**changes):
    return ja.Schedule(**({**GOOD, "num_workers": 2, "end": 2.5} | changes))


def rich():
    """Everything that a schedule can hold."""
    lost = {"worker": [1], "kind": [2], "read": [-1], "start": [np.nan], "time": [np.nan], "size": [7], "age": [3]}
    return made(
        read=[[0, 0], [0, 0], [1, 0]],
        tags={"table": [0.0, 1.0, 0.0], "delay": [np.nan, 3.5, np.nan]},
        unfinished=lost | {"count": [2], "seconds": [0.125]},
        info={"policy": "asgd", "bound": 3, "rates": [0.1, 1e-300], "nested": {"seed": 0}},
        status="stalled",
        busy=[0.5, 2.0, 0.25],
    )


def test_derived_columns():
    schedule = made()
    assert schedule.version.tolist() == [0, 1, 1] and schedule.delay.tolist() == [0, 1, 0]
    assert (schedule.num_updates, len(schedule), schedule.mean_delay) == (2, 3, 1 / 3)
    assert rich().delay.tolist() == [[0, 0], [1, 1], [0, 1]]
    assert repr(schedule) == "Schedule(3 arrivals, 2 updates, 2 workers, 2.5 s, mean delay 0.333, finished)"
    empty = ja.Schedule(**{name: [] for name in GOOD}, num_workers=1, end=0.0)
    assert np.isnan(empty.mean_delay) and empty.summary()["updates"] == 0 and "0 arrivals" in repr(empty)


IMPOSSIBLE = {  # what is changed, and what the message must say
    "time is nan": ({"time": [1.0, np.nan, 2.0]}, "row 1: time is a finite number of seconds; got time=nan"),
    "time is infinite": ({"time": [1.0, 2.0, np.inf]}, "row 2: time is a finite number of seconds; got time=inf"),
    "time decreases": ({"time": [1.0, 2.0, 1.5]}, "row 2: time never decreases; got time=1.5"),
    "ends before it starts": ({"start": [0, 3.0, 1]}, "row 1: a job starts before it arrives; got start=3.0, time=2.0"),
    "start is nan": ({"start": [np.nan, 0, 1.0]}, "row 0: start is a finite number of seconds; got start=nan"),
    "no such worker": ({"worker": [0, 2, 0]}, "row 1: worker is 0...1; got worker=2"),
    "negative worker": ({"worker": [-1, 1, 0]}, "row 0: worker is 0...1; got worker=-1"),
    "read in the future": ({"read": [0, 0, 2]}, "row 2: a worker can't read a version from the future; got read=2"),
    "a group in the future": (
        {"read": [[0, 0], [0, 2], [0, 0]]},
        "row 1: a worker can't read a version from the future; got read=[0, 2], version=1",
    ),
    "negative read": ({"read": [0, -1, 0]}, "row 1: read is a version, 0 or more; got read=-1"),
    "negative visit": ({"visit": [0, 0, -1]}, "row 2: visit and repeat count from 0; got visit=-1, repeat=0"),
    "negative repeat": ({"repeat": [-1, 0, 0]}, "row 0: visit and repeat count from 0; got visit=0, repeat=-1"),
    "negative size": ({"size": [1, -1, 1]}, "row 1: size counts work units; got size=-1"),
    "used without work": ({"size": [1, 1, 0]}, "row 2: a used gradient has at least one work unit; got size=0"),
    "weight is nan": ({"weight": [1.0, np.nan, 0.5]}, "row 1: weight is a finite number; got weight=nan"),
    "a weight for nothing": ({"use": [True, False, True]}, "row 1: a discarded gradient has weight 0; got weight=0.5"),
    "ends early": ({"end": 1.0}, "end is not before the last arrival at 2.0; got 1.0"),
    "end is nan": ({"end": np.nan}, "end is a finite number of seconds, 0 or more; got nan"),
    "no workers": ({"num_workers": 0}, "num_workers is a whole number, 1 or more; got 0"),
    "unknown status": ({"status": "done"}, 'status is "finished" or "stalled"; got \'done\''),
    "lengths differ": ({"visit": [0, 0]}, "all columns have one entry per row; got lengths"),
    "real numbers as workers": ({"worker": [0.0, 1.0, 0.0]}, "column 'worker' holds int32, got float64"),
    "words": ({"time": ["a", "b", "c"]}, "column 'time' holds float64, got <U1"),
    "too large": ({"visit": [0, 0, 2**31]}, "a value of column 'visit' does not fit into int32"),
    "three axes": ({"read": np.zeros((3, 1, 1), int)}, "column 'read' has one entry per row; got shape (3, 1, 1)"),
    "no groups": ({"read": np.zeros((3, 0), int)}, "read has shape [rows] or [rows, groups]; got (3, 0)"),
    "tag too short": ({"tags": {"table": [1.0]}}, "tag 'table' has one entry per row; got 1 for 3 rows"),
    "tag is taken": ({"tags": {"stale": [1, 2, 3]}}, "can't be called 'stale'; rename it"),
    "tag is no word": ({"tags": {"a b": [1, 2, 3]}}, "can't be called 'a b'; rename it"),
    "tag of words": ({"tags": {"table": ["a", "b", "c"]}}, "column 'table' holds float64, got <U1"),
    "unfinished lacks": ({"unfinished": {"worker": [0]}}, "unfinished has exactly the columns"),
    "two axes": ({"worker": [[0], [1], [0]]}, "worker"),
    "tag of two axes": ({"tags": {"table": np.ones((3, 2))}}, "table"),
    "no column": ({"time": 1.0}, "time"),
    "half a worker": ({"num_workers": 2.5}, "num_workers"),
    "flags that are none": ({"use": [2, 1, 1]}, "use"),
    "began before time": ({"start": [-np.inf, 0.0, 1.0]}, "start"),
    "ends never": ({"end": np.inf}, "end"),
    "lost by nobody": ({"unfinished": rich().unfinished | {"worker": [5]}}, "worker"),
    "lost in no way": ({"unfinished": rich().unfinished | {"kind": [9]}}, "kind"),
    "a job before its start": (
        {"unfinished": rich().unfinished | {"start": [2.0], "time": [1.0]}},
        "unfinished row 0: start and time are finite and in this order, or nan where jobs are merged; got start=2.0",
    ),
    "no job": (
        {"unfinished": rich().unfinished | {"count": [0]}},
        "unfinished row 0: count is a number of jobs, 1 or more; got count=0",
    ),
    "negative work": ({"unfinished": rich().unfinished | {"seconds": [-1.0]}}, "unfinished row 0: seconds is a finite"),
    "half lost": ({"unfinished": rich().unfinished | {"size": [-7]}}, "unfinished row 0: size counts work units"),
    "busy is nan": ({"busy": [1, np.nan, 1]}, "row 1: busy is a finite number of seconds, 0 or more; got busy=nan"),
    "busy is infinite": (
        {"busy": [1, 1, np.inf]},
        "row 2: busy is a finite number of seconds, 0 or more; got busy=inf",
    ),
    "busy below 0": ({"busy": [1, 1, -0.5]}, "row 2: busy is a finite number of seconds, 0 or more; got busy=-0.5"),
    "busy too long": (
        {"busy": [1.0, 2.0, 1.001]},
        "row 2: a worker is busy no longer than its job lasts; got busy=1.001, start=1.0, time=2.0",
    ),
    "busy too short a column": ({"busy": [1.0]}, "all columns have one entry per row; got lengths"),
    "info is a list": ({"info": [1]}, 'info is a dict, {"seed": 0} for example; got [1]'),
    "info is no JSON": ({"info": {"seed": np.int64(1), "at": {1, 2}}}, "info"),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_impossible_tables_are_refused(name):
    changes, words = IMPOSSIBLE[name]
    with pytest.raises(ValueError, match=re.escape(words)):
        made(**changes)


def test_columns_are_read_only():
    schedule = rich()
    for table in ({name: getattr(schedule, name) for name in COLUMNS}, schedule.tags, schedule.unfinished):
        for name, column in table.items():
            with pytest.raises(ValueError, match="read-only"):
                column[0] = column[0]
            assert column.dtype == {**COLUMNS, **UNFINISHED_COLUMNS, "table": float, "delay": float}[name], name
    for column in (schedule.busy, schedule.seconds):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 0.0


def test_derived_columns_are_read_only():
    schedule = made()
    for column in (schedule.version, schedule.delay):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 7


def test_equality():
    assert made() == made() and rich() == rich() and made() != rich() and made() != 3
    for changes in (
        {"time": [1.0, 2.0, 2.0 + 1e-15]}, {"num_workers": 3}, {"end": 3.0}, {"status": "stalled"}, {"info": {"a": 1}},
        {"tags": {"table": [0.0, 0.0, 0.0]}}, {"unfinished": rich().unfinished}, {"repeat": [0, 0, 1]},
        {"busy": [1.0, 2.0, 1.0]},
    ):  # fmt: skip
        assert made(**changes) != made(), changes
    with pytest.raises(TypeError, match="unhashable"):
        hash(made())


# -------------------------------------------------------------------- plan


@st.composite
def schedules(draw, groups=None):
    """Any legal table: what was read is any version of the past, however old, in no order."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows, groups = draw(st.integers(0, 60)), draw(st.sampled_from([0, 0, 1, 3])) if groups is None else groups
    use = rng.random(rows) < draw(st.sampled_from([0.3, 0.8, 1.0]))
    step = rng.random(rows) < draw(st.sampled_from([0.1, 0.5, 1.0]))
    version = np.cumsum(step) - step
    oldest = draw(st.sampled_from([1, 4, 100]))
    ages = rng.integers(0, oldest, (rows, groups) if groups else rows)
    read = np.maximum((version[:, None] if groups else version) - ages, 0)
    time = np.sort(rng.integers(0, 30, rows)).astype(float)
    return ja.Schedule(
        time=time, start=np.zeros(rows), worker=rng.integers(0, 3, rows), read=read, visit=np.arange(rows),
        repeat=np.zeros(rows, int), size=rng.integers(use, 4), use=use, weight=0.5 * use,
        step=step, num_workers=3, end=30.0, tags={"number": np.arange(rows)},
    )  # fmt: skip


LOOKS = st.sampled_from([None, 1, 3, 1000, [0.0, 7.0, 7.5, 29.0]])
few = settings(max_examples=40, deadline=None, derandomize=True, database=None)


def rehearse(plan, schedule):
    """Go through a plan as the engine does, with version numbers in the place of parameters."""
    last = np.flatnonzero(schedule.step)[-1] if schedule.num_updates else -1
    expected = [k for k in np.flatnonzero(schedule.use | schedule.step) if k <= last]
    cells = np.full(plan.num_cells + (not plan.every), -1)
    cells[0], version, rows = 0, 0, plan.rows
    todo, widths = iter(expected), []
    assert plan.bounds[0] == 0 and cells[plan.cells[0]] == plan.update[0] == 0
    for e in range(1, plan.num_evaluations):
        for wave in range(plan.bounds[e - 1], plan.bounds[e]):
            inside = range(plan.waves[wave], plan.waves[wave + 1])
            widths.append(len(inside))
            seen = {r: cells[rows["read"][r]].copy() for r in inside}  # read when the wave begins
            for r in inside:
                assert cells[rows["current"][r]] == version or not (rows["use"][r] or rows["step"][r])
                if rows["use"][r] or rows["step"][r]:
                    k = next(todo)
                    assert plan.tags["number"][r] == k and rows["version"][r] == schedule.version[k] == version
                    assert all(rows[name][r] == getattr(schedule, name)[k] for name in ("use", "step", "size"))
                if rows["use"][r]:
                    np.testing.assert_array_equal(seen[r], schedule.read[k])
                    np.testing.assert_array_equal(cells[rows["read"][r]], schedule.read[k])  # the rule reads it again
                version += int(rows["step"][r])
                cells[rows["write"][r]] = version if rows["step"][r] else -1
        assert cells[plan.cells[e]] == plan.update[e] == version
    assert next(todo, None) is None and version == schedule.num_updates
    return widths


@few
@given(schedules(), LOOKS, st.sampled_from([1, 2, 5, 64]))
def test_every_row_finds_its_version(schedule, looks, width):
    plan = ja.plan(schedule, evaluate=looks, width=width)
    widths = rehearse(plan, schedule)
    assert max(widths, default=1) <= width and all(widths)
    assert plan.every == all(plan.rows["step"][: sum(widths)]) and plan.all_used == all(plan.rows["use"][: sum(widths)])
    aligned = planning.align([plan, ja.plan(OTHER, evaluate=looks, width=width)])
    for ours, whose in zip(aligned, (schedule, OTHER), strict=True):
        rehearse(ours, whose)
    shape = lambda p: (p.num_cells, p.block, p.max_size, p.every, p.all_used, len(p.rows["read"]), p.waves.shape)
    assert shape(aligned[0]) == shape(aligned[1])


@few
@given(schedules(), LOOKS, st.sampled_from([1, 2, 5, 64]), st.booleans())
def test_traits_of_waves(schedule, looks, width, one_each):
    """What the program makes use of, wave by wave."""
    plan = ja.plan(schedule, evaluate=looks, width=width, one_each=one_each)
    number = int(plan.bounds[-1])
    waves = [slice(a, b) for a, b in itertools.pairwise(plan.waves[: number + 1].tolist())]
    rows = plan.rows
    read = [{tuple(np.atleast_1d(r)) for r in rows["read"][w][rows["use"][w]]} for w in waves]
    if rows["read"].ndim == 1:
        assert plan.shared == all(len(versions) <= 1 for versions in read)
    assert plan.closed == (not any(rows["step"][w][:-1].any() for w in waves))
    who = [rows["worker"][w][rows["use"][w]].tolist() for w in waves]
    if plan.one_each:
        assert one_each or width == 1
        assert all(len(set(workers)) == len(workers) for workers in who)


@few
@given(st.sampled_from([0, 2]).flatmap(lambda g: st.lists(schedules(g), min_size=1, max_size=3)), LOOKS)
def test_stacked_plans_find_their_versions(runs, looks):
    stacked = ja.stack([ja.plan(run, evaluate=looks) for run in runs])
    for i, run in enumerate(runs):
        slices = {
            name: {key: column[i] for key, column in value.items()} if isinstance(value, dict) else value[i]
            for name, value in ((name, getattr(stacked, name)) for name in planning.ARRAYS)
        }
        one = dataclasses.replace(stacked, **slices)
        assert one.bounds.tolist() == [e * stacked.chunk for e in range(one.num_evaluations)]
        rehearse(one, run)


OTHER = ja.simulate(cases.POLICIES["backup"][0](), cases.CLOCKS["exponential"](), num_updates=30, seed=1)
OTHER = dataclasses.replace(OTHER, tags={"number": np.arange(len(OTHER))})


def longest_path(schedule):
    """Rows on the longest chain in which each needs a version that the one before it, or an earlier row, made."""
    made, level, levels = [0], 0, [0]
    last = np.flatnonzero(schedule.step)[-1] if schedule.num_updates else -1
    for k in range(last + 1):
        if schedule.use[k]:
            level = 1 + max(made[v] for v in np.atleast_1d(schedule.read[k]))
            levels.append(level)
        if schedule.step[k]:
            made.append(max(*levels, 1))
    return max(made)


@few
@given(schedules())
def test_greedy_waves_are_fewest(schedule):
    """With no limit to their width, as many as the longest chain of rows that need each other."""
    plan = ja.plan(schedule, evaluate=1000, width=1000)
    assert plan.bounds[-1] == longest_path(schedule)


@few
@given(schedules(), LOOKS)
def test_totals_and_ages(schedule, looks):
    """What the rule is told at a step: the largest delay among the used rows, the sum of weights, the work so far."""
    plan, row = ja.plan(schedule, evaluate=looks), 0
    for members, weight in aggregates(schedule):
        kept = [k for k in members if schedule.use[k] or schedule.step[k]]
        delay = max((int(np.max(schedule.delay[k])) for k in kept if schedule.use[k]), default=0)
        row += len(kept)
        assert plan.rows["age"][row - 1] == delay and plan.rows["total"][row - 1] == pytest.approx(weight)
        assert plan.rows["first"][row - len(kept) : row].tolist() == [True] + [False] * (len(kept) - 1)
    steps = np.flatnonzero(schedule.step)
    for time, update, gradients in zip(plan.time, plan.update, plan.gradients, strict=True):
        last = steps[update - 1] if update else -1
        assert gradients == schedule.size[: last + 1].sum() and time == (schedule.time[last] if update else 0.0)


def aggregates(schedule):
    ends = np.flatnonzero(schedule.step) + 1
    for first, last in itertools.pairwise([0, *ends]):
        yield range(first, last), schedule.weight[first:last].sum()


def test_ladder():
    rungs = [planning.ladder(number) for number in range(1, 5000)]
    assert all(number <= rung <= 1.25 * number for number, rung in enumerate(rungs, start=1))
    assert rungs == sorted(rungs) and all(planning.ladder(rung) == rung for rung in set(rungs))
    assert sorted(set(rungs))[:14] == [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24]
    assert len(set(rungs)) == 8 + 9 * 4 + 1
    assert [planning.power_of_two(n) for n in (0, 1, 2, 3, 1024, 1025, 2.5)] == [1, 1, 2, 4, 1024, 2048, 4]


def test_plans_that_differ_do_not_stack():
    times = cases.CLOCKS["equal"]()
    one = ja.plan(ja.simulate(ja.policies.asgd(), times, num_updates=8))
    two = ja.simulate(ja.policies.asgd(), ja.times.fixed(1.0, num_workers=2), num_updates=8)
    for others, words in [
        (ja.plan(two), r"agree in num_workers; got \[5, 2\]"),
        (ja.plan(OTHER), r"agree in tags; got \[\[\], \['number'\]\]"),
        (ja.plan(two, width=2), "width 1 that are not stacked yet"),
        (dataclasses.replace(one, width=2), "width 1 that are not stacked yet; make them with width=1"),
    ]:
        with pytest.raises(ValueError, match=words):
            ja.stack([one, others])
