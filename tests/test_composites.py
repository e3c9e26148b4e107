"""Models that are put together: absences, messages, servers; their means, specs and errors."""

import heapq
import json
import math
from itertools import count, islice, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxasgd as ja
from jaxasgd.times import pieces as module
from jaxasgd.times.clock import Clock
from jaxasgd.times.pieces import ordered, union

T = ja.times
steady = settings(max_examples=150, deadline=None, derandomize=True, database=None)


def ends(times, starts, seed=0):
    clock = Clock(times, seed)
    return [[clock.end(i, j, 1, s)[0] for j, s in enumerate(starts)] for i in range(times.num_workers)]


# ------------------------------------------------------------------- absences


@st.composite
def calendars(draw):
    """Absences of one worker, in order, some of no length, some that touch, the last perhaps for good."""
    moments = sorted(draw(st.lists(st.integers(0, 30), max_size=8)))
    pairs = [(float(a), float(b)) for a, b in zip(moments[::2], moments[1::2], strict=False)]
    return pairs + [(31.0, math.inf)] * draw(st.booleans())


@steady
@given(st.lists(calendars(), min_size=1, max_size=4))
def test_union_is_away_in_any(parts):
    found = list(union([ordered(iter(part), 0) for part in parts]))
    for t in np.arange(0, 40, 0.5):
        away = any(left <= t < back for part in parts for left, back in part)
        assert away == any(left <= t < back for left, back in found)
    assert all(a[1] < b[0] for a, b in pairwise(found)), "in order, apart"
    leaves = {left for part in parts for left, _ in part}  # also who is back at once has lost its job
    assert all(any(left <= moment <= back for left, back in found) for moment in leaves)


@steady
@given(calendars(), calendars(), st.lists(st.floats(0, 45), min_size=1, max_size=20).map(sorted))
def test_the_next_absence(first, second, moments):
    base = T.with_absences(T.fixed([1.0, 1.0]), {1: first, 0: []})
    for times, told in ((base, first), (T.with_absences(base, {1: second}), list(heapq.merge(first, second)))):
        calendar = Clock(times, 0).absences
        for t in moments:
            left, back = calendar.next(1, t)
            assert calendar.next(0, t) == (math.inf, math.inf)
            ahead = [pair for pair in told if pair[1] > t]
            assert back > t and (left, back) == (ahead[0] if ahead and times is base else (left, back))
            assert (left <= t) == any(a <= t < b for a, b in told)
            assert left == math.inf or any(a == left for a, _ in told)
            assert left == math.inf if not ahead else left <= ahead[0][0]


def test_failures_alternate():
    law = lambda seconds: T.fixed(seconds, num_workers=2)
    calendar = Clock(T.with_failures(T.fixed([1.0, 1.0]), up=law(5.0), down=law(2.0)), 0).absences
    assert [calendar.next(1, t) for t in (0.0, 5.0, 6.9, 7.0, 100.0)] == [
        (5.0, 7.0), (5.0, 7.0), (5.0, 7.0), (12.0, 14.0), (103.0, 105.0),
    ]  # fmt: skip
    dies = Clock(T.with_failures(T.fixed([1.0]), T.fixed([5.0]), T.recorded([[2.0, np.inf]])), 0).absences
    assert [dies.next(0, t) for t in (0.0, 7.0, 1e9)] == [(5.0, 7.0), (12.0, math.inf), (12.0, math.inf)]
    record = T.with_failures(T.fixed([1.0]), T.recorded([np.arange(1.0, 101)]), T.fixed([1.0]))  # longer than a block
    assert np.diff([left for left, _ in islice(Clock(record, 0).absences.make(0), 100)]).tolist() == [*range(3, 102)]
    survives = Clock(T.with_failures(T.fixed([1.0]), T.recorded([[3.0, np.inf]]), T.fixed([1.0])), 0).absences
    assert [survives.next(0, t) for t in (0.0, 4.0)] == [(3.0, 4.0), (math.inf, math.inf)]


def test_failures_are_exponential_and_belong_to_worker_and_seed():
    times = T.with_failures(T.fixed(1.0, num_workers=3), up=[2.0, 5.0, 5.0], down=0.5)

    def drawn(model, worker, seed, number=4000):
        made = module.Absences(model.absences.make).of(seed, 3).make(worker)
        return np.array(list(islice(made, number)))

    pairs = drawn(times, 1, 0)
    up, down = pairs[:, 0] - np.append(0.0, pairs[:-1, 1]), pairs[:, 1] - pairs[:, 0]
    for values, mean in ((up, 5.0), (down, 0.5)):
        assert abs(values.mean() - mean) < 4 * mean / np.sqrt(4000)
        assert abs(values.std() - mean) < 4 * mean * np.sqrt(8 / 4 / 4000)  # kurtosis 9: var(s) = 8 s^2 / (4 n)
    assert abs(np.corrcoef(up, down)[0, 1]) < 4 / np.sqrt(4000)
    assert not np.isin(drawn(times, 2, 0, 20), pairs).any() and not np.isin(drawn(times, 1, 1, 20), pairs).any()
    on_top = T.with_absences(times, {1: [(1e9, 2e9)]})  # the luck stays
    calendar, other = Clock(times, 0).absences, Clock(on_top, 0).absences
    assert all(calendar.next(1, t) == other.next(1, t) for t in np.linspace(0, 5000, 300))
    both = Clock(T.with_failures(times, up=5.0, down=0.5), 0).absences.make(1)  # two causes, independent
    leaves = np.array(list(islice(both, 4000)))[:, 0]
    assert not np.isin(leaves, pairs[:, 0]).all() and len(leaves) / leaves[-1] > 1.5 * 4000 / pairs[-1, 0]


def test_absences_lead_on(monkeypatch):
    monkeypatch.setattr(module, "MOST_IDLE", 1000)
    times = T.with_failures(T.fixed([1.0]), up=T.custom(lambda rng, i, n: np.zeros(n), 1), down=T.fixed([1.0]))
    assert Clock(times, 0).absences.next(0, 50.0) == (50.0, 51.0)
    for bad in (((0.0, 0.0) for _ in count()), iter([(3.0, 2.0)]), iter([(1.0, 4.0), (3.0, 5.0)]), iter([7.0])):
        with pytest.raises(ValueError, match=r"absences are seconds \(left, back\) in order.*worker 4 has"):
            list(ordered(bad, 4))


# ------------------------------------------------------------------- messages and servers


def test_messages_come_before_and_after_the_work():
    base = T.exponential([1.0, 2.0])
    down, up = T.gamma([0.1, 0.2], cv=0.5), T.recorded([[0.5, 0.0], [1.0]])
    times = T.with_messages(base, down, up)
    clock, work = Clock(times, 5), base.durations(5)
    sent = [[Clock(T.with_messages(base, down=down), 5).end(i, j, 1, 0.0) for j in range(4)] for i in range(2)]
    for i in range(2):
        for j in range(4):
            end, begin, busy = clock.end(i, j, 3, 10.0)
            assert begin - 10.0 == pytest.approx(sent[i][j][1]) and begin > 10.0
            assert busy == pytest.approx(3 * work(i, j), rel=1e-12)  # the size multiplies the work alone
            assert end == pytest.approx(begin + busy + ([0.5, 0.0] if i == 0 else [1.0])[j % (2 - i)], rel=1e-12)
    waits = np.array(
        [Clock(T.with_messages(T.fixed([1.0]), T.exponential([2.0])), s).end(0, 0, 1, 0.0)[1] for s in range(4000)]
    )
    assert abs(waits.mean() - 2.0) < 4 * 2.0 / np.sqrt(4000)
    np.testing.assert_array_equal(times.mean, base.mean + down.mean + up.mean)


def test_messages_take_no_power():
    times = T.with_power(T.with_messages(T.fixed([2.0]), down=1.0, up=[0.5]), [1.0, 0.0], [0.0, 2.0], 4.0)
    assert Clock(times, 0).end(0, 0, 1, 0.0) == (5.5, 1.0, 4.0)  # works from 1 to 2 and from 4 to 5
    assert Clock(times, 0).end(0, 0, 1, 2.5) == (6.5, 3.5, 2.5)
    lost = T.with_power(
        T.with_messages(T.fixed([1.0]), down=T.recorded([[np.inf]])), lambda rng, i: ((1, 1) for _ in count())
    )
    assert Clock(lost, 0).end(0, 0, 1, 0.0)[0] == math.inf


def test_no_messages_and_no_server_are_a_plain_clock():
    base = T.fixed([1.0, 2.0])
    for times in (T.with_messages(base), T.with_messages(base, 0, [0.0, 0.0]), T.with_server(base, 0.0)):
        assert times.plain and times.mean.tolist() == [1.0, 2.0]
    one = T.with_messages(base, down=[0.0, 0.5])  # nothing for worker 0
    assert not one.plain and ends(one, [3.0]) == [[4.0], [5.5]]


def test_seconds_of_the_server():
    times = T.with_server(T.fixed([1.0, 2.0]), receive=0.25, update=T.exponential(3.0, num_workers=1))
    clock, other = Clock(times, 1), Clock(T.with_server(T.gamma([1.0]), update=T.exponential([3.0])), 1)
    assert [clock.receive(0, k) for k in range(3)] == [0.25] * 3
    updates = np.array([clock.update(0, k) for k in range(4000)])
    assert updates[:50].tolist() == [other.update(0, k) for k in range(50)]  # whatever the workers are
    assert abs(updates.mean() - 3.0) < 4 * 3.0 / np.sqrt(4000)
    assert other.receive is None
    in_steps = T.with_server(T.with_server(T.fixed([1.0]), receive=0.5), update=0.25)
    assert in_steps.receive.mean.tolist() == [0.5] and in_steps.update.mean.tolist() == [0.25]
    both = T.with_messages(T.with_messages(T.fixed([1.0]), down=0.5), up=0.25)
    assert both.mean.tolist() == [1.75]


# ------------------------------------------------------------------- means and specs


MEANS = {
    "a period": (lambda t: T.with_power(t, [1.0, 0.25], [0.0, 3.0], 4.0), lambda m: m / 0.8125),
    "a last piece": (lambda t: T.with_power(t, [1.0, 0.25], [0.0, 3.0]), lambda m: m / 0.25),
    "stops": (lambda t: T.with_power(t, [1.0, 0.0], [0.0, 3.0]), lambda m: m + np.inf),
    "a function": (lambda t: T.with_power(t, lambda rng, i: iter([])), lambda m: m + np.nan),
    "outages": (lambda t: T.with_outages(t, 6.0, [2.0, 6.0]), lambda m: m * [8 / 6, 2.0]),
    "outages without a mean": (
        lambda t: T.with_outages(t, 6.0, T.pareto(minimum=1.0, alpha=0.9, num_workers=2)),
        lambda m: m + np.nan,
    ),
    "constant, then a period": (
        lambda t: T.with_power(T.with_power(t, 2.0), [1.0, 0.0], [0.0, 3.0], 6.0),
        lambda m: m,
    ),
    "two periods": (
        lambda t: T.with_power(T.with_power(t, [1.0, 0.0], [0.0, 3.0], 6.0), [1.0, 0.0], [0.0, 3.0], 6.0),
        lambda m: m + np.nan,
    ),
    "messages": (lambda t: T.with_messages(t, down=[0.5, 0.0], up=0.25), lambda m: m + [0.75, 0.25]),
    "messages, then half speed": (lambda t: T.with_power(T.with_messages(t, up=0.5), 0.5), lambda m: 2 * m + 0.5),
    "half speed, then messages": (lambda t: T.with_messages(T.with_power(t, 0.5), up=0.5), lambda m: 2 * m + 0.5),
    "messages, then a period": (
        lambda t: T.day_and_night(T.with_messages(t, up=[0.5, 0.0]), night=0.5, power=0.0),
        lambda m: 2 * m + [np.nan, 0.0],
    ),
    "a period, then messages": (
        lambda t: T.with_messages(T.day_and_night(t, night=0.5, power=0.0), up=[0.5, 0.0]),
        lambda m: 2 * m + [np.nan, 0.0],
    ),
    "messages, then a straggler": (
        lambda t: T.with_straggler(T.with_messages(t, up=0.5), worker=1, factor=10.0),
        lambda m: m * [1, 10] + 0.5,
    ),
    "a period, half speed, then messages": (
        lambda t: T.with_messages(T.with_power(T.day_and_night(t, night=0.5, power=0.0), 0.5), up=[0.5, 0.0]),
        lambda m: 4 * m + [np.nan, 0.0],
    ),
    "absences": (lambda t: T.with_absences(t, {0: [(1.0, 2.0)], 1: [(5.0, math.inf)]}), lambda m: m + [0.0, np.inf]),
    "failures": (lambda t: T.with_failures(t, 5.0, 1.0), lambda m: m + np.nan),
    "a server": (lambda t: T.with_server(t, 1.0, 2.0), lambda m: m),
}


@pytest.mark.parametrize("name", MEANS)
def test_means_of_changed_models(name):
    make, expected = MEANS[name]
    base = T.exponential([1.0, 4.0])
    times = make(base)
    np.testing.assert_allclose(times.mean, expected(base.mean), rtol=1e-12)
    assert json.loads(json.dumps(times.args))["base"]["name"]
    assert times.num_workers == 2 and not times.plain
    assert base.plain and base.power is None, "the model itself stays as it was"


def test_specs_say_everything():
    times = T.with_server(
        T.with_messages(T.with_power(T.fixed([1.0, 2.0]), [1, 0.5], [0, 3.0]), up=0.5), update=T.gamma([1.0])
    )
    said = times.args
    assert said["receive"] is None and said["update"]["name"] == "gamma" and said["base"]["args"]["up"] == 0.5
    power = said["base"]["args"]["base"]
    assert power["name"] == "with_power" and power["args"]["power"] == [1.0, 0.5] and power["args"]["period"] is None
    assert power["args"]["base"] == {"name": "fixed", "args": {"mean": [1.0, 2.0], "num_workers": 2}}
    long = T.with_power(T.fixed([1.0]), np.ones(1001), np.arange(1001.0)).args
    assert long["power"]["count"] == 1001 and "sha256" in long["changes"]
    again = T.universal(**json.loads(json.dumps(T.universal([[1.0, 0.5]], [0, 2.0], 4.0).args)))
    assert ends(again, [0.0, 1.5]) == ends(T.universal([[1.0, 0.5]], [0, 2.0], 4.0), [0.0, 1.5])
    assert T.with_failures(T.fixed([1.0]), 5.0, T.gamma([1.0])).args["down"]["name"] == "gamma"


# ------------------------------------------------------------------- errors

FIXED = T.fixed([1.0, 2.0])


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda: T.with_power(1.0, 2.0), r"times.with_power changes a model.*got 1.0"),
        (lambda: T.with_power(FIXED, [1.0, 2.0]), r"which second each of the 2 pieces begins.*got None"),
        (lambda: T.with_power(FIXED, [1.0, 2.0], [0.0]), r"each of the 2 pieces.*got \[0.0\]"),
        (lambda: T.with_power(FIXED, 2.0, [0.0, 1.0]), r"each of the 1 pieces"),
        (lambda: T.with_power(FIXED, [1.0, 2.0], [1.0, 2.0]), r"grow from 0; got \[1.0, 2.0\]"),
        (lambda: T.with_power(FIXED, [1.0, 2.0], [0.0, 0.0]), r"grow from 0"),
        (lambda: T.with_power(FIXED, [1.0, 2.0], [0.0, np.nan]), r"grow from 0"),
        (lambda: T.with_power(FIXED, [1.0, 2.0], [0.0, 5.0], 5.0), r"has begun at 5.0 seconds; got period=5.0"),
        (lambda: T.with_power(FIXED, [1.0, 2.0], [0.0, 5.0], -1.0), r"period must be positive"),
        (lambda: T.with_power(FIXED, -1.0), r"a power is finite and 0 or more; got -1.0"),
        (lambda: T.with_power(FIXED, [[1.0], [np.inf]]), r"worker 1 has inf in piece 0"),
        (lambda: T.with_power(FIXED, np.ones((3, 1))), r"each of 2 workers; got shape \(3, 1\)"),
        (lambda: T.with_power(FIXED, [[1.0], [1.0, 2.0]]), r"\[workers, pieces\]"),
        (lambda: T.with_power(FIXED, "fast"), r"power is a number.*got 'fast'"),
        (lambda: T.with_power(FIXED, []), r"got shape \(0,\)"),
        (lambda: T.with_power(FIXED, lambda rng, i: [], [0.0]), r"leave out changes and period"),
        (lambda: T.universal(1.0), r"times.universal: the number of workers is unknown"),
        (lambda: T.universal(lambda rng, i: []), r"number of workers is unknown"),
        (lambda: T.universal(1.0, num_workers=0), r"num_workers is an integer >= 1; got 0"),
        (lambda: T.universal(np.ones((2, 1)), num_workers=3), r"times.universal: .*each of 3 workers"),
        (lambda: T.day_and_night(FIXED, period=0.0), r"day_and_night: period must be positive"),
        (lambda: T.day_and_night(FIXED, night=1.5), r"night must be a probability"),
        (lambda: T.day_and_night(FIXED, power=[1.0, -1.0]), r"power must be finite and >= 0; worker 1 has -1.0"),
        (lambda: T.day_and_night(FIXED, offset=[1.0, 2.0, 3.0]), r"lengths agree"),
        (lambda: T.with_outages(FIXED, 0.0, 1.0), r"with_outages: up must be positive"),
        (
            lambda: T.with_outages(FIXED, 1.0, T.fixed([1.0])),
            r"down is a number, or a model of 2 workers; got one of 1",
        ),
        (lambda: T.with_failures(FIXED, T.with_power(FIXED, 2.0), 1.0), r"up is a law of seconds, without powers"),
        (lambda: T.with_failures(FIXED, 1.0, [1.0, 2.0, 3.0]), r"lengths agree"),
        (lambda: T.with_absences(FIXED, [(1, 2)]), r"absences is \{worker: .*got \[\(1, 2\)\]"),
        (lambda: T.with_absences(FIXED, {2: []}), r"worker is an integer in 0 .. 1; got 2"),
        (lambda: T.with_absences(FIXED, {0: (1.0, 2.0)}), r"worker 0 has \(1.0, 2.0\)\. Write e.g."),
        (lambda: T.with_absences(FIXED, {0: [(1.0, 2.0, 3.0)]}), r"worker 0 has"),
        (lambda: T.with_absences(FIXED, {1: [(2.0, 1.0)]}), r"worker 1 has \(2.0, 1.0\)"),
        (lambda: T.with_absences(FIXED, {1: [(-2.0, 1.0)]}), r"worker 1 has \(-2.0, 1.0\)"),
        (lambda: T.with_absences(FIXED, {1: [(4.0, 6.0), (1.0, 5.0)]}), r"has \(4.0, 6.0\) after one until 5.0"),
        (lambda: T.with_absences(FIXED, {1: [(np.nan, 1.0)]}), r"worker 1 has \(nan, 1.0\)"),
        (lambda: T.with_absences(FIXED, {1: [(math.inf, math.inf)]}), r"worker 1 has \(inf, inf\)"),
        (lambda: T.with_messages(FIXED, down=-1.0), r"with_messages: down must be finite and >= 0"),
        (lambda: T.with_messages(FIXED, up=[1.0, np.inf]), r"up must be finite and >= 0; worker 1 has inf"),
        (lambda: T.with_messages(FIXED, up=T.fixed([1.0])), r"up is a number, or a model of 2 workers; got one of 1"),
        (lambda: T.with_messages(T.with_messages(FIXED, up=0.5), up=1.0), r"has up already, of \[0.5, 0.5\] seconds"),
        (lambda: T.with_server(FIXED, update=FIXED), r"update is a number, or a model of 1 worker; got one of 2"),
        (lambda: T.with_server(FIXED, update=[1.0, 2.0]), r"lengths agree"),
        (lambda: T.with_server(T.with_server(FIXED, 1.0), 2.0), r"'with_server' has receive already"),
        (lambda: T.with_server(3.0), r"changes a model"),
    ],
)
def test_errors_say_rule_value_and_remedy(call, says):
    with pytest.raises(ValueError, match=says):
        call()
