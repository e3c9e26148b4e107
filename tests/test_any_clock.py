"""Whole runs on clocks of every kind against closed forms of queueing and of the theory."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxasgd as ja
from jaxasgd.schedule import LOST, RUNNING, TIMEOUT

T, P = ja.times, ja.policies
steady = settings(max_examples=100, deadline=None, derandomize=True, database=None)


def rates(times, policy, until, seeds, warm=0.0):
    """Updates a second over several seeds: mean and its standard error."""
    runs = [ja.simulate(policy(), times, until=until, seed=seed) for seed in range(seeds)]
    each = np.array([(run.time[run.step] > warm).sum() / (until - warm) for run in runs])
    return each.mean(), each.std(ddof=1) / np.sqrt(seeds)


def near(found, expected, edge=0.0):
    """Within four standard errors, and `edge` for the jobs at the two ends."""
    mean, error = found
    assert abs(mean - expected) < 4 * error + edge and error < 0.02 * expected, (mean, error, expected)


# ------------------------------------------------------------------- the universal computation model


def work_until(power, changes, period, time):
    """The integral of a piecewise-constant power from 0 to `time`, in fractions."""
    ends = [*map(Fraction, changes[1:]), None if period is None else Fraction(period)]
    total, first, time = Fraction(0), Fraction(0), Fraction(time)
    while True:
        for p, begin, end in zip(power, changes, ends, strict=True):
            begin = first + Fraction(begin)
            if time <= begin:
                return total
            until = time if end is None else min(time, first + end)
            total += Fraction(p) * (until - begin)
            if end is None or until == time:
                return total
        first += Fraction(period)


@st.composite
def universes(draw, values):
    """(power [workers, pieces], changes, period)."""
    workers, count = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    lengths = [draw(st.integers(1, 24)) / 4 for _ in range(count)]
    power = [[draw(st.sampled_from(values)) for _ in range(count)] for _ in range(workers)]
    begins = [sum(lengths[:k]) for k in range(count)]
    return power, begins, sum(lengths) if draw(st.booleans()) else None


@steady
@given(universes([0.0, 0.25, 0.5, 1.0, 2.0, 4.0]), st.integers(0, 200))
def test_universal_counts_are_exact(universe, quarters):
    """floor(integral_0^T power_i), to the last one, where no number is rounded; also where T is an end."""
    power, changes, period = universe
    until = quarters / 4
    run = ja.simulate(P.asgd(), T.universal(power, changes, period), until=until)
    for i, row in enumerate(power):
        assert (run.worker == i).sum() == math.floor(work_until(row, changes, period, until))


@steady
@given(universes([0.0, 0.1, 1 / 3, 0.7, 1.0, 2.3]), st.floats(0.0, 60.0))
def test_universal_counts_with_any_power(universe, until):
    power, changes, period = universe
    run = ja.simulate(P.asgd(), T.universal(power, changes, period), until=until)
    for i, row in enumerate(power):
        work = work_until(row, changes, period, until)
        if abs(work - round(work)) > Fraction(1, 10**9):
            assert (run.worker == i).sum() == math.floor(work)


def test_universal_counts_by_the_end_of_a_piece_with_any_power():
    """0.3 x 10 s, 0.1 x 10 s and (1/3) x 9 s are whole numbers of gradients; then an outage; 200 times."""
    for speed, seconds, number in ((0.3, 10.0, 3), (0.1, 10.0, 1), (1 / 3, 9.0, 3)):
        times = T.universal([[speed, 0.0]], [0.0, seconds], 100.0)
        run = ja.simulate(P.asgd(), times, until=20_000.0)
        assert len(run) == 200 * number
        assert (np.mod(run.time, 100.0) <= seconds).all()


def test_a_constant_power_is_the_fixed_model():
    h = T.power_law_means(8, power=0.5)
    for make in (lambda: T.universal((1 / h)[:, None]), lambda: T.with_power(T.fixed(h), 1.0)):
        run, plain = (ja.simulate(P.ringmaster(3), times, num_updates=300) for times in (make(), T.fixed(h)))
        np.testing.assert_allclose(run.time, plain.time, rtol=1e-12)
        assert all((getattr(run, name) == getattr(plain, name)).all() for name in ("worker", "read", "use", "step"))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("bound", [1, 3, 8])
def test_ringmaster_takes_no_longer_than_its_bound_in_the_universal_model(bound, seed):
    """R updates in a row take at most t(R; T0) = min{t: sum_i floor((1/4) int_{T0}^{T0 + t} p_i) >= R} seconds."""
    rng = np.random.default_rng(seed)
    workers, count, period = 6, 5, 40.0
    power = rng.choice([0.0, 0.0, 0.1, 0.5, 1.0, 3.0], (workers, count))
    power[0, 0] = 0.5  # somebody works at some time
    changes = np.append(0.0, np.sort(rng.uniform(1, 39, count - 1)))
    times = T.universal(power, changes, period)
    run = ja.simulate(P.ringmaster(bound), times, num_updates=20 * bound)
    ends = run.time[run.step][bound - 1 :: bound]
    grid = np.arange(0.0, 4 * ends[-1] + 1000, 0.01)
    at = np.searchsorted(changes, np.mod(grid, period), "right") - 1
    integral = np.concatenate([np.zeros((workers, 1)), np.cumsum(power[:, at] * 0.01, axis=1)], axis=1)
    begin, ratios = 0.0, []
    for end in ends:
        first = math.ceil(begin / 0.01)
        done = np.floor((integral[:, first:] - integral[:, [first]]) / 4).sum(0)
        limit = 0.01 * (int((done >= bound).argmax()) + 1)
        assert done[-1] >= bound
        ratios.append((end - begin) / limit)
        begin = end
    assert max(ratios) <= 1.0


# ------------------------------------------------------------------- a server that takes time


def repairman(n, rate, service):
    """Updates a second of n machines that fail at `rate` and are repaired one by one at `service`."""
    terms = [math.factorial(n) // math.factorial(n - k) * (rate / service) ** k for k in range(n + 1)]
    return service * (1 - 1 / sum(terms))


@pytest.mark.parametrize("n, rate, service", [(1, 1.0, 2.0), (5, 1.0, 2.0), (8, 1.0, 8.0), (3, 2.0, 1.0)])
def test_an_exponential_server_is_the_machine_repairman(n, rate, service):
    base = T.exponential(1 / rate, num_workers=n)
    law = T.exponential([1 / service])
    near(rates(T.with_server(base, update=law), P.asgd, 1500.0, 12, warm=20.0), repairman(n, rate, service))
    near(rates(T.with_server(base, receive=law), P.asgd, 1500.0, 12, warm=20.0), repairman(n, rate, service))


def test_a_cycle_of_one_worker_is_the_sum_of_its_parts():
    times = T.with_server(T.with_messages(T.fixed([2.0]), down=0.5, up=0.25), receive=0.125, update=1.0)
    run = ja.simulate(P.asgd(), times, num_updates=50)
    np.testing.assert_array_equal(run.time, 3.875 * np.arange(1, 51))
    np.testing.assert_array_equal(run.start, 3.875 * np.arange(50))
    assert set(run.seconds) == {2.0} and run.summary()["utilisation"] == pytest.approx(2 / 3.875, rel=1e-3)


def test_a_server_that_is_slower_than_all_workers_sets_the_pace():
    """8 workers make 8 gradients a second, too many for it: it is never idle."""
    base = T.exponential(1.0, num_workers=8)
    run = ja.simulate(P.asgd(), T.with_server(base, update=1.0), until=400.0)
    assert 380 <= run.num_updates <= 400 and np.diff(run.time).min() >= 1.0 - 1e-9
    batches = ja.simulate(P.rennala(4), T.with_server(base, receive=0.5, update=1.0), until=400.0)
    assert np.diff(batches.time[batches.step]).min() >= 3.0 - 1e-9
    busy = 0.5 * len(batches) + 1.0 * batches.num_updates  # gradients that it throws away are received too
    assert 395 < busy <= 400 and (~batches.use).sum() > 100


# ------------------------------------------------------------------- messages


def test_throughput_with_messages_is_the_sum_of_rates():
    """Workers never wait for each other: sum_i 1 / (mean_i + down_i + up_i), any law."""
    base = T.gamma([1.0, 2.0, 4.0], cv=0.5)
    times = T.with_messages(base, down=T.exponential([0.5, 0.5, 1.0]), up=[0.0, 1.0, 0.25])
    near(rates(times, P.asgd, 1500.0, 12, warm=20.0), (1 / times.mean).sum())


@pytest.mark.parametrize("reads", ["after", "before"])
def test_the_delay_identity_holds_on_every_clock_without_losses(reads):
    """sum of delays + ages in flight = (n - 1) T, exactly; n T where workers read before the update."""
    n = 6
    base = T.lognormal(np.linspace(1, 3, n), sigma=0.5)
    clocks = {
        "messages": T.with_messages(base, T.exponential(0.5, num_workers=n), 0.25),
        "server": T.with_server(base, 0.1, T.exponential([0.5])),
        "outages": T.with_outages(base, 5.0, 3.0),
        "all": T.with_server(T.with_messages(T.day_and_night(base, 20.0), 0.5, 0.5), 0.1, 0.2),
        "record": T.bootstrap(np.random.default_rng(0).gamma(4.0, 0.25, (50, n))),
    }
    for name, times in clocks.items():
        run = ja.simulate(P.asgd(), times, num_updates=400, reads=reads)
        ages = run.num_updates - run.unfinished["read"]
        others = n if reads == "before" else n - 1  # who reads before misses its own update too
        assert run.num_updates == 400 and run.delay.sum() + ages.sum() == others * 400, name
        assert (run.unfinished["kind"] == RUNNING).all() and len(ages) == n


def test_what_was_read_is_the_version_of_the_hand_out():
    """A message that takes 10 s on the way down does not bring newer parameters."""
    times = T.with_messages(T.fixed([1.0, 1.0]), down=[0.0, 10.0])
    run = ja.simulate(P.asgd(), times, until=12.0)
    late = run.worker == 1
    assert run.time[late].tolist() == [11.0] and run.read[late].tolist() == [0] and run.delay[late].tolist() == [11]
    assert run.start[late].tolist() == [0.0] and run.seconds[late].tolist() == [1.0]


# ------------------------------------------------------------------- outages, days and nights


def test_an_outage_of_everybody_is_a_pause():
    """Nothing arrives from 10 to 20 s; what comes later comes 10 s later than without, and is the same."""
    base = T.exponential([1.0, 2.0, 3.0])
    times = T.with_power(base, [1.0, 0.0, 1.0], [0.0, 10.0, 20.0])
    run, plain = (ja.simulate(P.rennala(4), clock, num_updates=50, seed=3) for clock in (times, base))
    np.testing.assert_allclose(run.time, plain.time + 10.0 * (plain.time > 10.0), rtol=1e-12)
    assert all((getattr(run, name) == getattr(plain, name)).all() for name in ("worker", "read", "use", "weight"))


@pytest.mark.parametrize(
    "make",
    [
        lambda base: T.with_outages(base, up=5.0, down=[1.0, 5.0, 10.0]),
        lambda base: T.with_outages(base, T.gamma(4.0, num_workers=3), T.fixed(2.0, num_workers=3)),
        lambda base: T.day_and_night(base, period=7.0, power=[0.1, 0.5, 2.0], night=0.3),
        lambda base: T.with_power(base, [0.0, 1.0, 3.0], [0.0, 1.5, 2.0], 4.0),
        lambda base: T.with_power(T.with_outages(base, up=5.0, down=2.0), [[0.5], [1.0], [2.0]]),
    ],
)
def test_throughput_is_that_of_the_mean(make):
    """`Times.mean` is exact in the long run: sum_i 1 / mean_i updates a second."""
    times = make(T.exponential([0.5, 1.0, 1.5]))
    near(rates(times, P.asgd, 3000.0, 12, warm=30.0), (1 / times.mean).sum())
    fixed = make(T.fixed([0.7, 1.0, 1.5]))
    near(rates(fixed, P.asgd, 3000.0, 4, warm=30.0), (1 / fixed.mean).sum(), edge=3 * 5 / 2970)


# ------------------------------------------------------------------- who comes and goes


@pytest.mark.parametrize("policy", [P.asgd, lambda: P.rennala(3), lambda: P.ringmaster(4), lambda: P.buffered(2)])
def test_a_worker_dies_and_the_run_goes_on(policy):
    base = T.lognormal([1.0, 1.2, 1.4, 1.6], sigma=0.3)
    run = ja.simulate(policy(), T.with_absences(base, {2: [(20.0, math.inf)]}), until=60.0)
    plain = ja.simulate(policy(), base, until=20.0)
    mine = run.time[run.worker == 2]
    assert mine.max() <= 20.0 and mine.tolist() == plain.time[plain.worker == 2].tolist()
    lost = run.unfinished["kind"] == LOST
    assert run.unfinished["worker"][lost].tolist() == [2]
    assert run.unfinished["time"][lost] == 20.0 and run.unfinished["start"][lost] == mine.max()
    assert run.unfinished["seconds"][lost] == 20.0 - mine.max()
    others = run.worker[run.time > 25.0]
    assert set(others.tolist()) == {0, 1, 3} and run.status == "finished"
    assert run.time[run.step].max() > 55.0


def test_a_worker_joins_late():
    times = T.with_absences(T.exponential([1.0, 1.0, 0.1]), {2: [(0.0, 30.0)]})
    run = ja.simulate(P.asgd(), times, until=60.0)
    mine = run.worker == 2
    assert run.start[mine][0] == 30.0 and run.time[mine][0] == 30.0 + times.durations(0)(2, 0)
    before = run.step[run.time < 30.0].sum()
    assert run.read[mine][0] == before > 20, "it is handed the parameters of its day"
    assert mine.sum() > 200


def test_who_comes_back_has_lost_its_job_alone():
    """Worker 1 is away from 2.5 to 4 s: the job of 2 to 3 s is lost; the next one begins at 4."""
    run = ja.simulate(P.asgd(), T.with_absences(T.fixed([1.0, 1.0]), {1: [(2.5, 4.0)]}), until=7.0)
    mine = run.worker == 1
    assert run.time[mine].tolist() == [1.0, 2.0, 5.0, 6.0, 7.0] and run.start[mine].tolist() == [
        0.0,
        1.0,
        4.0,
        5.0,
        6.0,
    ]
    assert run.time[~mine].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]


def test_nobody_left_is_stalled():
    times = T.with_absences(T.exponential(1.0, num_workers=3), {i: [(5.0 + i, math.inf)] for i in range(3)})
    run = ja.simulate(P.asgd(), times, num_updates=10_000)
    assert run.status == "stalled" and run.time.max() <= 7.0 and 0 < run.num_updates < 40
    assert sorted(run.unfinished["worker"][run.unfinished["kind"] == LOST].tolist()) == [0, 1, 2]


@pytest.mark.parametrize("up, down", [(4.0, 1.0), (1.0, 3.0)])
def test_throughput_with_failures(up, down):
    """(u + d) (1 - L) / L seconds a gradient, L = E exp(-work / u): fixed, exponential and uniform work."""
    laws = {
        "fixed": (T.fixed(0.8, num_workers=4), math.exp(-0.8 / up)),
        "exponential": (T.exponential(0.8, num_workers=4), 1 / (1 + 0.8 / up)),
        "uniform": (T.uniform(0.5, 1.5, num_workers=4), up * (math.exp(-0.5 / up) - math.exp(-1.5 / up))),
    }
    for base, laplace in laws.values():
        seconds = (up + down) * (1 - laplace) / laplace
        near(rates(T.with_failures(base, up, down), P.asgd, 2000.0, 12, warm=20.0), 4 / seconds)


def test_jobs_that_never_end_need_a_time_out():
    """A worker hangs for ever with probability 0.1; who gives up after 3 s goes on: a trial takes 0.9 + 0.1 x 3 s."""
    times = T.never(T.fixed(1.0, num_workers=4), 0.1)
    hung = ja.simulate(P.asgd(), times, num_updates=10_000)
    assert hung.status == "stalled" and len(hung) < 400
    policy = lambda: P.mindflayer(1, 3.0, 0.9)
    run = ja.simulate(policy(), times, until=3000.0, seed=1)
    assert run.status == "finished" and run.num_updates > 500
    assert (run.unfinished["kind"] != LOST).all()
    given_up = run.unfinished["count"][run.unfinished["kind"] == TIMEOUT].sum()
    trials = given_up + (run.size > 0).sum()
    assert abs(given_up / trials - 0.1) < 4 * np.sqrt(0.1 * 0.9 / trials)
