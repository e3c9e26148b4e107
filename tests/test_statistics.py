"""Statistics of a schedule: a table worked out by hand, and any legal table against slow loops."""

import math
from collections import Counter
from fractions import Fraction
from itertools import pairwise

import cases
import numpy as np
import pytest
from hypothesis import given, settings
from test_columns import tables
from test_schedule import GOOD, made

import jaxasgd as ja
from jaxasgd import statistics
from jaxasgd.schedule import CANCELLED, LOST, QUEUED, RUNNING, TIMEOUT

some = settings(max_examples=150, deadline=None, derandomize=True, database=None)
QUANTILES = [0.0, 0.07, 0.25, 0.5, 0.9, 0.99, 1.0]


def by_hand(**changes):
    """Three workers; the last never delivers. A bare step, a discarded gradient, a job of each unfinished kind but two.

    Worker 0 works from 0 to 10 without a break; worker 1 from 0 to 9; three jobs of worker 2 are merged.
    """
    lost = {"worker": [0, 1, 1, 2], "kind": [RUNNING, CANCELLED, QUEUED, LOST], "read": [3, 4, 4, -1]}
    lost |= {"start": [6.0, 8.0, 10.0, np.nan], "time": [10.0, 9.0, 10.0, np.nan], "size": [1, 1, 1, 3]}
    lost |= {"age": [1, 0, 0, 5], "count": [1, 1, 1, 3], "seconds": [4.0, 1.0, 0.0, 6.0]}
    table = {
        "time": [1.0, 2.0, 3.0, 4.0, 6.0, 8.0],
        "start": [0.0, 0.0, 1.0, 4.0, 3.0, 2.0],
        "worker": [0, 1, 0, 1, 0, 1],
        "read": [0, 0, 1, 1, 2, 1],
        "visit": [0, 0, 1, 1, 2, 1],
        "repeat": [0, 0, 0, 0, 0, 0],
        "size": [1, 2, 1, 0, 1, 1],
        "use": [True, True, True, False, False, True],
        "weight": [1.0, 0.5, 0.5, 0.0, 0.0, 1.0],
        "step": [True, False, True, True, False, True],
        "busy": [0.5, 2.0, 1.5, 0.0, 3.0, 3.0],
    }
    return ja.Schedule(**({**table, "num_workers": 3, "end": 10.0, "unfinished": lost} | changes))


def test_delays_by_hand():
    found = statistics.delays(by_hand(), [0.0, 0.5, 0.75, 0.76, 1.0])  # delays 0, 1, 0, 2
    assert found.counts.tolist() == [2, 1, 1] and (found.mean, found.max) == (0.75, 2)
    assert found.quantiles.tolist() == [0, 0, 1, 2, 2]
    groups = by_hand(read=[[0, 0], [0, 1], [1, 1], [1, 0], [2, 0], [0, 3]])  # delays 0 0, 1 0, 0 0, 3 0
    found = statistics.delays(groups)
    assert found.counts.tolist() == [6, 1, 0, 1] and (found.mean, found.max) == (0.5, 3)
    assert found.quantiles.tolist() == [0, 3, 3]  # of 8: the 4th, 8th and 8th smallest
    told = by_hand(tags={"delay": [9.0] * 6})
    assert statistics.delays(told).max == 2 and told.summary()["max_delay"] == 2


def test_concurrency_by_hand():
    found = statistics.concurrency(by_hand())
    assert found.edges.tolist() == [0.0, 9.0, 10.0] and found.jobs.tolist() == [2, 1]
    assert (found.max, found.queued, found.unplaced) == (2, 1, 3)
    assert found.mean == statistics.mean_concurrency(by_hand()) == (2 * 9 + 1 + 6) / 10  # with 6 s of merged jobs
    early = statistics.concurrency(made(start=[-1.0, 0.0, 1.5]))  # from -1 to 2.5: [-1, 1), [0, 2), [1.5, 2)
    assert early.edges.tolist() == [-1.0, 0.0, 1.0, 1.5, 2.0, 2.5] and early.jobs.tolist() == [1, 2, 1, 2, 0]
    assert early.mean == 4.5 / 3.5


def test_workers_by_hand():
    found = statistics.workers(by_hand())
    assert found.arrivals.tolist() == [3, 2, 0] and found.used.tolist() == [2, 2, 0]
    assert found.share.tolist() == [0.5, 0.5, 0.0] and found.weight.tolist() == [1.5, 1.5, 0.0]
    assert found.weight_share.tolist() == [0.5, 0.5, 0.0]
    np.testing.assert_array_equal(found.mean_delay, [0.0, 1.5, np.nan])
    assert found.seconds.tolist() == [9.0, 6.0, 6.0] and found.idle.tolist() == [1.0, 4.0, 4.0]
    assert found.utilisation.tolist() == [0.9, 0.6, 0.6] and by_hand().summary()["utilisation"] == 21 / 30
    found = statistics.workers(by_hand(busy=None))
    assert found.seconds.tolist() == [10.0, 9.0, 6.0] and found.idle.tolist() == [0.0, 1.0, 4.0]


def test_waste_rates_and_intervals_by_hand():
    schedule = by_hand()
    assert statistics.waste(schedule) == (1, 1 / 5, 4, 10.0, 10 / 21)
    assert statistics.rates(schedule) == (0.4, 0.5, 0.4, 0.6)
    found = statistics.intervals(schedule, [0.5, 0.9])  # updates at 1, 3, 4, 8
    assert found.seconds.tolist() == [1.0, 2.0, 1.0, 4.0] and (found.mean, found.max) == (2.0, 4.0)
    assert found.quantiles.tolist() == [1.0, 4.0]


def test_summary_by_hand():
    assert by_hand().summary() == {
        "workers": 3, "seconds": 10.0, "updates": 4, "arrivals": 5, "discarded": pytest.approx(0.2, rel=1e-15),
        "unfinished": 6, "mean_delay": 0.75, "median_delay": 0.0, "max_delay": 2, "throughput": 0.4,
        "utilisation": 0.7, "wasted": 10 / 21, "concurrency": 2.5, "status": "finished",
    }  # fmt: skip


def test_nothing_to_average():
    """No rows, no used rows, no time: nan, and no warning."""
    empty = ja.Schedule(**{name: [] for name in GOOD}, num_workers=2, end=0.0)
    unused = made(use=[False] * 3, weight=[0.0] * 3, step=[False] * 3, read=[0, 0, 0])
    for schedule in (empty, unused):
        found = statistics.delays(schedule)
        assert found.counts.tolist() == [] and found.max == 0 and np.isnan([found.mean, *found.quantiles]).all()
        found = statistics.intervals(schedule)
        assert found.seconds.tolist() == [] and np.isnan([found.mean, found.max, *found.quantiles]).all()
        found = statistics.workers(schedule)
        assert np.isnan([*found.share, *found.weight_share, *found.mean_delay]).all() and found.used.tolist() == [0, 0]
    assert statistics.waste(empty)[0] == 0 and np.isnan(statistics.waste(empty).share)
    assert np.isnan(statistics.waste(empty).discarded_share) and statistics.waste(unused) == (3, 1.0, 0, 4.0, 1.0)
    assert np.isnan(statistics.rates(empty)).all() and np.isnan(statistics.workers(empty).utilisation).all()
    found = statistics.concurrency(empty)
    assert found.edges.tolist() == [0.0] and found.jobs.tolist() == [] and math.isnan(found.mean) and found.max == 0
    assert {k for k, v in empty.summary().items() if v != v} == {
        "mean_delay", "median_delay", "throughput", "utilisation", "wasted", "concurrency",
    }  # fmt: skip


def test_a_simulated_run():
    """What is known of n workers that never rest: n - 1 updates of delay, n jobs in flight, no waste."""
    schedule = ja.simulate(ja.policies.asgd(), cases.CLOCKS["exponential"](), num_updates=3000, seed=2)
    n = schedule.num_workers
    found = statistics.concurrency(schedule)
    assert (
        found.jobs.tolist() == [n] and found.mean == pytest.approx(n, rel=1e-12) and (found.queued, found.max) == (0, n)
    )
    assert statistics.delays(schedule).counts.sum() == 3000 and statistics.waste(schedule).share == 0
    np.testing.assert_allclose(statistics.workers(schedule).utilisation, 1, rtol=1e-12)
    assert statistics.intervals(schedule).seconds.sum() == pytest.approx(schedule.end, rel=1e-12)


# ------------------------------------------------------------- slow loops


def quantile(values, q):
    """The ceil(q n)-th smallest, q as the decimal that one writes."""
    return sorted(values)[max(math.ceil(Fraction(str(q)) * len(values)), 1) - 1] if values else math.nan


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-300)


def rows(schedule):
    names = ("time", "start", "worker", "size", "use", "weight", "step", "seconds")
    columns = [getattr(schedule, name).tolist() for name in names]
    for k, values in enumerate(zip(*columns, strict=True)):
        yield k, dict(zip(names, values, strict=True))


def jobs(schedule):
    """The unfinished jobs, one dict each."""
    lost = {name: column.tolist() for name, column in schedule.unfinished.items()}
    return [dict(zip(lost, values, strict=True)) for values in zip(*lost.values(), strict=True)]


@some
@given(tables())
def test_delays_and_intervals(table):
    schedule = ja.Schedule(**table)
    version, stale, last, waits = 0, [], 0.0, []
    for k, row in rows(schedule):
        if row["use"]:
            stale += [version - int(v) for v in np.atleast_1d(schedule.read[k])]
        if row["step"]:
            version += 1
            waits.append(row["time"] - last)
            last = row["time"]
    found, counts = statistics.delays(schedule, QUANTILES), Counter(stale)
    assert {d: c for d, c in enumerate(found.counts.tolist()) if c} == counts and found.max == max(stale, default=0)
    assert len(found.counts) == (found.max + 1 if stale else 0)
    close(found.mean, np.mean(stale) if stale else np.nan)
    np.testing.assert_array_equal(found.quantiles, [quantile(stale, q) for q in QUANTILES])
    found = statistics.intervals(schedule, QUANTILES)
    assert found.seconds.tolist() == waits and len(waits) == schedule.num_updates
    np.testing.assert_array_equal(found.quantiles, [quantile(waits, q) for q in QUANTILES])
    close([found.mean, found.max], [sum(waits) / len(waits), max(waits)] if waits else [np.nan, np.nan])


@some
@given(tables())
def test_workers_waste_and_rates(table):
    schedule = ja.Schedule(**table)
    n, end = schedule.num_workers, schedule.end
    mine = [{"arrivals": 0, "used": 0, "weight": 0.0, "seconds": 0.0, "stale": []} for _ in range(n)]
    discarded, stopped, wasted, units = 0, 0, 0.0, 0
    for k, row in rows(schedule):
        one = mine[row["worker"]]
        one["arrivals"] += row["size"] > 0
        one["used"] += row["use"]
        one["weight"] += row["weight"]
        one["seconds"] += row["seconds"]
        if row["use"]:
            one["stale"] += np.atleast_1d(schedule.delay[k]).tolist()
        units += row["size"]
        if row["size"] and not row["use"]:
            discarded += 1
            wasted += row["seconds"]
    for job in jobs(schedule):
        mine[job["worker"]]["seconds"] += job["seconds"]
        if job["kind"] in (CANCELLED, TIMEOUT, LOST):
            stopped += job["count"]
            wasted += job["seconds"]
    found, divide = statistics.workers(schedule), lambda a, b: a / b if b else np.nan
    for name in ("arrivals", "used", "weight", "seconds"):
        close(getattr(found, name), [one[name] for one in mine])
    used, arrivals = sum(one["used"] for one in mine), sum(one["arrivals"] for one in mine)
    close(found.share, [divide(one["used"], used) for one in mine])
    close(found.weight_share, found.weight / found.weight.sum() if found.weight.sum() else np.nan)
    close(found.mean_delay, [np.mean(one["stale"]) if one["stale"] else np.nan for one in mine])
    close(found.utilisation, [divide(one["seconds"], end) for one in mine])
    np.testing.assert_allclose(found.idle, [end - one["seconds"] for one in mine], rtol=1e-9, atol=1e-9 * end)
    total = sum(one["seconds"] for one in mine)
    close(statistics.waste(schedule), [discarded, divide(discarded, arrivals), stopped, wasted, divide(wasted, total)])
    close(statistics.rates(schedule), [divide(x, end) for x in (schedule.num_updates, arrivals, used, units)])


@some
@given(tables())
def test_concurrency(table):
    schedule, found = ja.Schedule(**table), statistics.concurrency(ja.Schedule(**table))
    flights = [(row["start"], row["time"], 1) for _, row in rows(schedule) if row["size"]]
    lost = [job for job in jobs(schedule) if job["kind"] != QUEUED]
    flights += [(job["start"], job["time"], job["count"]) for job in lost if job["time"] == job["time"]]
    merged = [job for job in lost if job["time"] != job["time"]]
    edges, levels = found.edges.tolist(), found.jobs.tolist()
    assert edges == sorted(set(edges)) and len(edges) == len(levels) + 1
    assert edges[0] == min([0.0, *(f[0] for f in flights)]) and edges[-1] == max(
        [schedule.end, *(f[1] for f in flights)]
    )
    assert all(a != b for a, b in pairwise(levels))  # no edge without a change
    moments = sorted({edges[0], *(t for flight in flights for t in flight[:2])} - {edges[-1]})
    for moment in moments:
        there = sum(number for start, end, number in flights if start <= moment < end)
        assert levels[np.searchsorted(edges, moment, side="right") - 1] == there
    assert found.max == max(levels, default=0) and found.unplaced == sum(job["count"] for job in merged)
    assert found.queued == sum(job["count"] for job in jobs(schedule) if job["kind"] == QUEUED)
    area = sum((b - a) * level for (a, b), level in zip(pairwise(edges), levels, strict=True))
    span = edges[-1] - edges[0]
    close(found.mean, (area + sum(job["seconds"] for job in merged)) / span if span else np.nan)


@pytest.mark.parametrize("bad", [[1.5], [-0.1], [np.nan], ["a"], 0.5, [[0.5]]], ids=str)
def test_quantiles_are_shares(bad):
    for ask in (statistics.delays, statistics.intervals):
        with pytest.raises(ValueError, match=r"quantiles are numbers from 0 to 1, \[0\.5, 0\.99\] for example; got"):
            ask(made(), bad)
        assert len(ask(made(), []).quantiles) == 0


@pytest.mark.parametrize("ask", [
    statistics.delays, statistics.concurrency, statistics.mean_concurrency, statistics.workers, statistics.waste,
    statistics.rates, statistics.intervals,
])  # fmt: skip
def test_a_schedule_is_asked(ask):
    with pytest.raises(ValueError, match=r"schedule is a ja\.Schedule, from ja\.simulate for example; got 'run\.npz'"):
        ask("run.npz")


def test_ranks_are_those_of_decimals():
    """0.07 of 100 values is the 7th, though 0.07 * 100 is a little more than 7."""
    percents = np.arange(101)
    for number in (*range(1, 200), 1_000, 65_536, 1_000_000, 10**9):
        expected = np.maximum(-(-percents * number // 100), 1)
        assert statistics.ranks(percents / 100, number).tolist() == expected.tolist(), number
