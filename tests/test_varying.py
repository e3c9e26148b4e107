"""Powers, absences, messages and servers as functions of time, against slow versions in exact fractions."""

import math
from fractions import Fraction
from itertools import count, islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxasgd as ja
from jaxasgd.times import pieces as module
from jaxasgd.times.clock import Clock
from jaxasgd.times.pieces import Cycle, Power, moments, product

T = ja.times
steady = settings(max_examples=200, deadline=None, derandomize=True, database=None)
eighths = st.integers(1, 40).map(lambda k: k / 8)  # seconds
powers = st.sampled_from([0.0, 0.0, 0.25, 0.5, 0.75, 1.0, 2.0, 3.0])
some_pieces = st.lists(st.tuples(eighths, powers), min_size=1, max_size=7)


# ------------------------------------------------------------------- the slow version


def finished(power, start, work):
    """When `work` is done, in fractions: `power(t)` is (power at t, next moment at which it may change or None)."""
    now, left = Fraction(start), Fraction(work)
    for _ in range(100_000):
        speed, until = power(now)
        if speed and (until is None or left <= speed * (until - now)):
            return now + left / speed
        if until is None:
            return math.inf
        left, now = left - speed * (until - now), until
    return math.inf


def once(pieces):
    """Pieces one after the other, the last one for ever."""
    ends, at = [], Fraction(0)
    for seconds, _ in pieces[:-1]:
        at += Fraction(seconds)
        ends.append(at)

    def power(t):
        k = next((k for k, end in enumerate(ends) if t < end), len(ends))
        return Fraction(pieces[k][1]), ends[k] if k < len(ends) else None

    return power


def over_and_over(pieces, offset=0):
    """Pieces that repeat."""
    period = sum(Fraction(seconds) for seconds, _ in pieces)

    def power(t):
        turn, phase = divmod(t + Fraction(offset), period)
        end = Fraction(0)
        for seconds, value in pieces:
            end += Fraction(seconds)
            if phase < end:
                return Fraction(value), turn * period + end - Fraction(offset)

    return power


def times_of(*parts):
    """The product of powers."""

    def power(t):
        each = [part(t) for part in parts]
        return math.prod(p for p, _ in each), min((until for _, until in each if until is not None), default=None)

    return power


def cycle(pieces, offset=0.0):
    begins = np.cumsum([0.0] + [seconds for seconds, _ in pieces])
    return Cycle(begins[:-1], [power for _, power in pieces], begins[-1], offset)


def agree(mine, exact, scale=1.0):
    if exact == math.inf:
        return mine == math.inf
    return abs(mine - float(exact)) <= 1e-11 * max(float(exact), scale)


# ------------------------------------------------------------------- powers


@steady
@given(some_pieces, st.lists(st.tuples(st.floats(0, 60), st.floats(0, 40)), min_size=1, max_size=12))
def test_pieces_against_fractions(pieces, jobs):
    power = Power(lambda: product([moments(iter(pieces), 0)]))
    exact = once(pieces)
    for start, work in jobs:
        mine = power.finish(start, work)
        assert mine >= start
        assert agree(mine, finished(exact, start, work) if work else start)


@steady
@given(some_pieces, eighths, st.lists(st.tuples(st.floats(0, 500), st.floats(0, 80)), min_size=1, max_size=6))
def test_cycles_against_fractions_and_pieces(pieces, offset, jobs):
    mine = cycle(pieces, offset)
    streamed = Power(lambda: product([mine.moments()]))
    exact = over_and_over(pieces, offset)
    mean = sum(Fraction(s) * Fraction(p) for s, p in pieces) / sum(Fraction(s) for s, _ in pieces)
    assert mine.mean == pytest.approx(float(mean), rel=1e-12)
    for start, work in jobs:
        if not mean:
            assert mine.finish(start, work) == (math.inf if work else start)
            continue
        end = finished(exact, start, work) if work else start
        assert mine.finish(start, work) >= start
        assert agree(mine.finish(start, work), end) and agree(streamed.finish(start, work), end)


@steady
@given(some_pieces, some_pieces, some_pieces, st.tuples(st.floats(0, 60), st.floats(0.01, 40)))
def test_products_against_fractions(first, second, third, job):
    power = Power(lambda: product([moments(iter(first), 0), cycle(second).moments(), moments(iter(third), 0)]))
    exact = times_of(once(first), over_and_over(second), once(third))
    if first[-1][1] * third[-1][1] * max(p for _, p in second) == 0:
        return  # stops for good or not at all: see below
    assert agree(power.finish(*job), finished(exact, *job))


def test_an_end_is_a_function_of_start_and_work_whatever_was_asked_before():
    """Also where so many pieces are over that they are forgotten."""
    rng = np.random.default_rng(0)
    lengths, speeds = rng.exponential(1.0, 5000), rng.choice([0.0, 0.5, 1.0, 3.0], 5000)
    make = lambda: product([moments(zip(lengths, speeds, strict=True), 0)])
    jobs = [(float(s), float(w)) for s, w in zip(rng.uniform(0, 4900, 400), rng.exponential(5.0, 400), strict=True)]
    fresh = {job: Power(make).finish(*job) for job in jobs}
    kept = Power(make)
    assert [kept.finish(*job) for job in sorted(jobs)] == [fresh[job] for job in sorted(jobs)]
    assert len(kept.at) < 2000, "the past is forgotten"
    assert [kept.finish(*job) for job in jobs] == [fresh[job] for job in jobs]
    exact = once(list(zip(lengths.tolist(), speeds.tolist(), strict=True)))
    assert all(agree(fresh[job], finished(exact, *job)) for job in jobs[:40])


def test_a_run_keeps_few_pieces():
    rng, now = np.random.default_rng(1), 0.0
    power = Power(lambda: product([moments(((rng.exponential(1.0), 1.0) for _ in count()), 0)]))
    for job in range(3000):
        now = power.finish(now, 40.0)
        assert now == pytest.approx(40.0 * (job + 1)) and len(power.at) < 1000


def test_a_long_job_over_very_many_periods_is_quick_and_exact():
    power = cycle([(1.0, 1.0), (1.0, 0.5)])
    assert power.finish(0.5, 1.5e9) == 2e9 + 0.5
    assert power.finish(1e9, 0.25) == 1e9 + 0.25 and power.finish(1e9 + 1, 0.25) == 1e9 + 1.5


@pytest.mark.parametrize("speed, seconds", [(0.3, 10.0), (0.1, 70.0), (0.7, 10.0), (1 / 3, 9.0)])
def test_a_job_that_ends_with_its_piece_does_not_wait_for_the_next(speed, seconds):
    """speed x seconds is a whole number of jobs: round-off must not move the last one beyond the outage."""
    mine = cycle([(seconds, speed), (90.0, 0.0)])
    number, now = round(speed * seconds), 0.0
    streamed = Power(lambda: product([mine.moments()]))
    for turn in range(500):
        for j in range(1, number + 1):
            assert streamed.finish(now, 1.0) == pytest.approx(mine.finish(now, 1.0), rel=1e-13)
            assert streamed.finish(now, 1.0) <= turn * (seconds + 90) + seconds
            now = mine.finish(now, 1.0)
            assert now == pytest.approx(turn * (seconds + 90) + j / speed, rel=1e-11, abs=1e-11)
            assert now <= turn * (seconds + 90) + seconds


def test_no_power_no_end():
    assert cycle([(1.0, 0.0), (2.0, 0.0)]).finish(0.5, 1e-9) == math.inf
    assert Power(lambda: product([moments(iter([(4.0, 1.0), (1.0, 0.0)]), 0)])).finish(3.0, 1.5) == math.inf
    assert Power(lambda: product([moments(iter([]), 0)])).finish(3.0, 1.5) == 4.5  # no pieces: power 1
    for power in (cycle([(1.0, 1.0)]), Power(lambda: product([moments(((1.0, 1.0) for _ in count()), 0)]))):
        assert power.finish(2.0, 0.0) == 2.0 and power.finish(2.0, math.inf) == math.inf
        assert power.finish(math.inf, 1.0) == math.inf  # its parameters never came
        assert power.finish(0.0, 1e-300) == 1e-300


def test_who_stands_still_for_a_million_pieces_has_stopped(monkeypatch):
    monkeypatch.setattr(module, "MOST_IDLE", 1000)
    still = Power(lambda: product([moments(((1.0, 0.0) for _ in count()), 0)]))
    assert still.finish(0.0, 1.0) == math.inf and len(still.at) == 2
    nearly = Power(lambda: product([moments(iter([(1.0, 0.0)] * 900 + [(1.0, 1.0)]), 0)]))
    assert nearly.finish(0.0, 1.0) == 901.0
    day, night = cycle([(1.0, 1.0), (1.0, 0.0)]), cycle([(1.0, 0.0), (1.0, 1.0)])
    assert Power(lambda: product([day.moments(), night.moments()])).finish(0.0, 1.0) == math.inf
    stuck = Power(lambda: product([moments(((2.0**-k, 1.0) for k in count()), 3)]))
    with pytest.raises(ValueError, match=r"lead on; worker 3 is still at 2.0 seconds after 1001 pieces"):
        stuck.finish(0.0, 5.0)


@pytest.mark.parametrize(
    "bad", [(-1.0, 1.0), (1.0, -0.5), (1.0, math.inf), (math.nan, 1.0), (1.0, math.nan), 3.0, "ab"]
)
def test_what_a_function_yields_is_checked(bad):
    times = T.with_power(T.fixed([1.0, 1.0]), lambda rng, i: iter([(2.0, 1.0), bad]) if i else iter([]))
    clock = Clock(times, 0)
    assert clock.end(0, 0, 1, 0.0)[0] == 1.0 and clock.end(1, 0, 1, 0.5)[0] == 1.5
    with pytest.raises(ValueError, match=r"worker 1 has .* as its piece 1\. Clip it"):
        clock.end(1, 0, 1, 2.0)


# ------------------------------------------------------------------- models with a power


def ends(times, starts, seed=0):
    clock = Clock(times, seed)
    return [[clock.end(i, j, 1, s)[0] for j, s in enumerate(starts)] for i in range(times.num_workers)]


def test_forms_of_a_power():
    base, starts = T.exponential([1.0, 2.0]), [0.0, 1.0, 5.0, 30.0]
    plain = ends(base, starts)
    for one in (1.0, 1, [1.0], [[1.0], [1.0]], lambda rng, i: iter([]), lambda rng, i: ((0.5, 1) for _ in count())):
        np.testing.assert_allclose(ends(T.with_power(base, one), starts), plain, rtol=1e-12)
    twice = T.with_power(base, [[2.0], [0.5]])
    expected = [
        [s + (e - s) * f for s, e in zip(starts, row, strict=True)] for row, f in zip(plain, (0.5, 2), strict=True)
    ]
    np.testing.assert_allclose(ends(twice, starts), expected, rtol=1e-12)
    np.testing.assert_array_equal(twice.mean, [0.5, 4.0])


@settings(steady, max_examples=80)
@given(some_pieces, some_pieces, st.booleans(), st.integers(0, 9))
def test_models_against_fractions(first, second, repeats, job):
    """One power for all, then one for each, multiplied; on a law with randomness."""
    base = T.exponential([1.0, 3.0])
    begins = lambda pieces: np.cumsum([0.0] + [seconds for seconds, _ in pieces])
    speed = lambda pieces: [power for _, power in pieces]
    shared = T.with_power(base, speed(first), begins(first)[:-1], period=begins(first)[-1] if repeats else None)
    rows = np.array([speed(second), [1.0] * len(second)])
    both = T.with_power(shared, rows, begins(second)[:-1])
    shape = over_and_over if repeats else once
    for worker, others in ((0, [once(second)]), (1, [])):
        start, work = 1.7 * job, base.durations(3)(worker, job)
        for times, exact in ((shared, shape(first)), (both, times_of(shape(first), *others))):
            last = [p for _, p in first] if repeats else [first[-1][1]]
            if max(last) * (second[-1][1] if times is both and not worker else 1):
                assert agree(Clock(times, 3).end(worker, job, 1, start)[0], finished(exact, start, work))


def test_a_random_power_belongs_to_the_worker_and_the_seed():
    def power(rng, worker):
        while True:
            yield rng.exponential(2.0), rng.uniform(0.0, 2.0)

    times = T.with_power(T.fixed(3.0, num_workers=3), power)
    one = ends(times, [0.0, 4.0, 9.0])
    assert len({row[0] for row in one}) == 3 and one == ends(times, [0.0, 4.0, 9.0]) != ends(times, [0.0, 4.0, 9.0], 1)
    clock, late = Clock(times, 0), 10.0 + 3.0  # on a fine grid
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([0, T.CLOCK_STREAM, 1, 1])))
    drawn = list(islice(power(rng, 1), 60))
    grid = np.arange(0, 60, 1e-4)
    at = np.searchsorted(np.cumsum([s for s, _ in drawn]), grid, "right")
    integral = np.cumsum(np.array([p for _, p in drawn])[at]) * 1e-4
    found = clock.end(1, 0, 1, late)[0]
    assert integral[round(found * 1e4)] - integral[round(late * 1e4)] == pytest.approx(3.0, abs=1e-3)


def test_the_luck_of_a_power_does_not_change_with_what_comes_on_top():
    base = T.with_outages(T.exponential([1.0, 2.0]), up=2.0, down=1.0)
    starts = list(np.linspace(0, 50, 30))
    np.testing.assert_allclose(ends(T.with_power(base, 1.0), starts, 4), ends(base, starts, 4), rtol=1e-12)
    np.testing.assert_allclose(
        ends(T.with_power(T.with_power(base, 4.0), 0.25), starts), ends(base, starts), rtol=1e-12
    )
    again = T.with_outages(base, up=2.0, down=1.0)  # outages of their own
    assert ends(again, starts) != ends(base, starts)
    assert (np.array(ends(again, starts)) >= np.array(ends(base, starts)) - 1e-9).all()


def test_day_and_night():
    times = T.day_and_night(
        T.fixed([1.0, 1.0, 1.0]), period=24.0, night=[0.5, 0.25, 1.0], power=[0.0, 0.5, 0.2], offset=6.0
    )
    exact = [
        over_and_over([(12.0, 1.0), (12.0, 0.0)], 6),
        over_and_over([(18.0, 1.0), (6.0, 0.5)], 6),
        once([(1.0, 0.2)]),
    ]
    starts = [0.0, 5.5, 6.0, 11.9, 12.0, 17.5, 18.0, 41.7, 24_005.5]
    for i in range(3):
        for start, mine in zip(starts, ends(times, starts)[i], strict=True):
            assert agree(mine, finished(exact[i], start, 1))
    np.testing.assert_allclose(times.mean, [2.0, 1 / 0.875, 5.0])
    always = T.day_and_night(T.fixed([1.0]), night=0.0)
    assert always.power.constant and always.mean.tolist() == [1.0] and ends(always, [7.0]) == [[8.0]]


def test_outages_from_models():
    """2 s of work, 3 s of outage, over and over; then a record of outages."""
    law = lambda seconds: T.fixed(seconds, num_workers=2)
    times = T.with_outages(T.fixed([1.5, 4.0]), up=law(2.0), down=law(3.0))
    assert ends(times, [0.0, 1.0, 2.0, 6.0]) == [[1.5, 5.5, 6.5, 10.5], [7.0, 11.0, 12.0, 16.0]]
    np.testing.assert_allclose(times.mean, [3.75, 10.0])
    record = T.with_outages(
        T.fixed([1.5, 4.0]), T.recorded([[2.0, 0.0, 1.0], [np.inf]]), T.recorded([[1.0, 4.0, np.inf], [1]])
    )
    assert ends(record, [0.0, 1.5, 7.0]) == [[1.5, 8.0, math.inf], [4.0, 5.5, 11.0]]  # up to 2, 7 to 8, then never
