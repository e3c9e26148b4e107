"""Batches at one version, thresholds and trials: equivalences, time bounds, order statistics, heavy tails."""

import math
from fractions import Fraction

import cases
import jax
import numpy as np
import oracle
import pytest

import jaxasgd as ja
from jaxasgd import planning
from jaxasgd.complexity import optimum
from jaxasgd.schedule import UNFINISHED

KEY = jax.random.key(3)
N, UPDATES = cases.N, 60
P = ja.policies
every_clock = pytest.mark.parametrize("clock", ["equal", "linear", "exponential", "pareto"])


def played(policy, clock="exponential", num_updates=UPDATES, seed=1):
    times = cases.CLOCKS[clock]() if isinstance(clock, str) else clock
    return ja.simulate(policy, times, num_updates=num_updates, seed=seed)


def same(ours, others):
    """Whether two schedules are the same table, bit for bit: with the same rule, the same parameters."""
    return len(ours) == len(others) and all(
        np.array_equal(getattr(ours, name), getattr(others, name)) for name in oracle.COLUMNS
    )


def groups(schedule):
    """The used rows of each update."""
    rows = np.split(np.arange(len(schedule)), np.flatnonzero(schedule.step)[:-1] + 1)
    return [mine[schedule.use[mine]] for mine in rows]


# ---------------------------------------------------------------- equivalences


@every_clock
@pytest.mark.parametrize("stops", [False, True])
def test_ringmaster_without_a_bound_is_asgd(clock, stops):
    assert same(played(P.ringmaster(10**9, stops=stops), clock), played(P.asgd(), clock))
    if clock == "exponential":
        assert not same(played(P.ringmaster(N, stops=stops), clock), played(P.asgd(), clock))


def test_equal_workers_and_the_bound():
    """Equal workers have delays up to n - 1: a bound of n lets all through, one of n - 1 (delay < bound) does not."""
    assert same(played(P.ringmaster(N), "equal"), played(P.asgd(), "equal"))
    assert not played(P.ringmaster(N - 1), "equal").use.all()
    for bound in (1, 2, 5):
        for stops in (False, True):
            schedule = played(P.ringmaster(bound, stops=stops), num_updates=500)
            assert schedule.delay[schedule.use].max() == bound - 1
            assert stops == schedule.use.all()


def test_rennala_of_n_is_synchronous_where_times_are_equal():
    """Of the restarting variant only: who is ignored has begun another gradient at the old version by then."""
    assert same(played(P.rennala(N, stale="restart"), "equal"), played(P.synchronous(), "equal"))
    assert not same(played(P.rennala(N), "equal"), played(P.synchronous(), "equal"))
    for stale in ("ignore", "restart"):
        assert not same(played(P.rennala(N, stale=stale)), played(P.synchronous()))


@every_clock
def test_ringmaster_of_one_is_rennala_of_one(clock):
    """Stops are restarts, thrown away is ignored; crosswise they differ under exponential times."""
    for stops, stale in [(True, "restart"), (False, "ignore")]:
        assert same(played(P.ringmaster(1, stops=stops), clock), played(P.rennala(1, stale=stale), clock))
        other = "ignore" if stops else "restart"
        if clock == "exponential":
            assert not same(played(P.ringmaster(1, stops=stops)), played(P.rennala(1, stale=other)))


@every_clock
def test_k_batch_sync_is_rennala_with_restarts(clock):
    ours = played(ja.methods.k_batch_sync_sgd(0.1, k=4), clock)
    assert same(ours, played(ja.methods.rennala(0.1, batch=4, stale="restart"), clock))
    if clock == "exponential":
        assert not same(ours, played(ja.methods.rennala(0.1, batch=4)))
    assert same(played(ja.methods.async_minibatch_sgd(0.1, batch=4), clock), played(P.rennala(4), clock))


@every_clock
def test_all_of_a_round_is_synchronous(clock):
    sync = played(ja.methods.sync_sgd(0.1), clock)
    for method in (
        ja.methods.backup_sgd(0.1, backup=0),
        ja.methods.k_sync_sgd(0.1, k=N),
        ja.methods.m_sync_sgd(0.1, m=N),
        ja.methods.m_sync_sgd(0.1, m=N, late="ignore"),
        ja.methods.mindflayer(0.1, trials=1, timeouts=math.inf),
    ):
        assert same(played(method, clock), sync)
    some = played(ja.methods.k_sync_sgd(0.1, k=N - 2), clock)
    assert same(some, played(ja.methods.backup_sgd(0.1, backup=2), clock)) and not same(some, sync)


@pytest.mark.parametrize("each", [1, 2, 3, 7])
def test_malenia_with_equal_counts_is_rennala(each):
    """Equal times, both with restarts, closing where the harmonic mean is reached; `each` gradients of everybody."""
    batch = N * each
    ours = played(P.malenia(batch, stale="restart"), "equal", 10)
    assert same(ours, played(P.rennala(batch, stale="restart"), "equal", 10)) and len(ours) == 10 * batch
    longer = played(P.malenia(batch, stale="restart", close="exceeded"), "equal", 10)
    assert len(longer) == 10 * (batch + 1)  # the mean is more than `each` as soon as one has given one more
    assert not same(played(P.malenia(batch, stale="restart"), num_updates=10), played(P.rennala(batch), num_updates=10))


@pytest.mark.parametrize("stale", ["ignore", "restart"])
@pytest.mark.parametrize("close", ["reached", "exceeded"])
@pytest.mark.parametrize("batch", [1, 5, 12, 31])
def test_malenia_closes_as_soon_as_it_may(batch, close, stale):
    """In fractions: enough with the last gradient, not without it; every worker counts 1/n."""
    schedule = played(P.malenia(batch, stale=stale, close=close), "lognormal", 40)
    enough = lambda mean: mean > Fraction(batch, N) or (close == "reached" and mean == Fraction(batch, N))
    mean = lambda counts: 0 if 0 in counts else N / sum(Fraction(1, count) for count in counts)
    assert len({tuple(np.bincount(schedule.worker[rows])) for rows in groups(schedule)}) > 5
    for rows in groups(schedule):
        counts = np.bincount(schedule.worker[rows], minlength=N).tolist()
        shares = np.bincount(schedule.worker[rows], schedule.weight[rows])
        np.testing.assert_allclose(shares, 1 / N, rtol=1e-14)
        assert enough(mean(counts))
        counts[schedule.worker[rows[-1]]] -= 1
        assert not enough(mean(counts))
        if batch <= N and close == "reached":  # the published code's rule: everybody has given one
            assert 0 in counts


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_mindflayer_without_time_outs_is_rennala_of_fixed_numbers(seed):
    """Fixed times: the numbers that Rennala's batch has of every worker, in every round the same."""
    times = ja.times.fixed(np.random.default_rng(seed).uniform(1, 4, N))
    schedule = played(P.rennala(13, stale="restart"), times)
    trials = np.bincount(schedule.worker[:13], minlength=N)
    assert trials.min() < trials.max()
    for timeouts in (math.inf, 4.0):
        assert same(played(P.mindflayer(trials, timeouts, success=1.0), times), schedule)
    assert not same(played(P.mindflayer(trials, 2.0, success=1.0), times), schedule)


# -------------------------------------------------------- jobs, delays, seconds


@pytest.mark.parametrize("clock", ["linear", "exponential", "pareto"])
def test_delays_add_up_with_discards(clock):
    """Applied + discarded + stopped + in flight = (n - 1) K, in integers."""
    for policy in (
        P.ringmaster(3),
        P.ringmaster(3, stops=True),
        P.rennala(4),
        P.rennala(4, stale="restart"),
        P.malenia(9),
        P.malenia(9, stale="restart"),
    ):
        schedule = played(policy, clock, 300)
        assert schedule.delay.sum() + schedule.unfinished["age"].sum() == (N - 1) * 300
        stopped = (schedule.unfinished["kind"] == UNFINISHED.index("cancelled")).sum()
        kept = policy.info.get("stops") or policy.info.get("stale") == "restart"
        assert bool(stopped) == bool(kept) and schedule.use.all() == bool(kept)
        assert schedule.summary()["utilisation"] == pytest.approx(1.0, rel=1e-9)


def seconds_of(policy, times, number=2000):
    """Mean seconds of an update, and its standard error."""
    schedule = ja.simulate(policy, times, num_updates=number, seed=7)
    rounds = np.diff(schedule.time[schedule.step], prepend=0.0)
    return rounds.mean(), rounds.std() / np.sqrt(number)


@pytest.mark.parametrize("k", [2, 5, 8])
def test_seconds_of_exponential_rounds(k):
    """n workers of mean 1: K-sync and K-async wait for the k-th of n, the batch variants for k of a Poisson stream."""
    n, M = 8, ja.methods
    times = ja.times.exponential(1.0, num_workers=n)
    ordered, stream = sum(1 / j for j in range(n - k + 1, n + 1)), k / n
    for method, expected in [
        (M.k_sync_sgd(0.1, k), ordered),
        (M.k_async_sgd(0.1, k), ordered),
        (M.k_batch_sync_sgd(0.1, k), stream),
        (M.k_batch_async_sgd(0.1, k), stream),
    ]:
        mean, error = seconds_of(method, times)
        assert abs(mean - expected) < 5 * error < 0.12 * expected


@pytest.mark.parametrize("k", [1, 4, 7])
def test_seconds_of_heavy_tailed_rounds(k):
    """The k-th of n Pareto times: x_m G(n+1) G(n-k+1-1/a) / (G(n-k+1) G(n+1-1/a)), G the gamma function."""
    n, minimum, alpha = 8, 2.0, 2.5
    log = math.lgamma
    expected = minimum * math.exp(log(n + 1) + log(n - k + 1 - 1 / alpha) - log(n - k + 1) - log(n + 1 - 1 / alpha))
    times = ja.times.pareto(minimum=minimum, alpha=alpha, num_workers=n)
    mean, error = seconds_of(ja.methods.k_sync_sgd(0.1, k), times, 4000)
    assert abs(mean - expected) < 5 * error < 0.1 * expected


def test_late_workers_of_m_sync():
    """Fixed times: rounds end alike, stopped or not. Otherwise one who is ignored may miss a round: never sooner."""
    ends = lambda late, clock: played(ja.methods.m_sync_sgd(0.1, 3, late=late), clock, 400).end
    assert ends("cancel", "linear") == ends("ignore", "linear") == 3 * 400
    assert ends("ignore", "lognormal") > 1.02 * ends("cancel", "lognormal")


def fleets():
    rng = np.random.default_rng(0)
    for n in (1, 3, 20):
        yield np.sort(rng.uniform(0.5, 5, n))
        yield np.sort(rng.pareto(0.7, n) + 0.1)
    yield np.sqrt(np.arange(1.0, 51))


def t_opt(h, number):
    """min_m H_m (1 + number / m), H_m the harmonic mean of the m fastest."""
    m = np.arange(1, len(h) + 1)
    return ((m + number) / np.cumsum(1 / np.sort(h))).min()


@pytest.mark.parametrize("number", [1, 4, 23])
def test_bounds_in_seconds(number):
    """Fixed times: a batch of Rennala's and any R updates of Ringmaster's take 2 t_opt or less; and hence K updates."""
    worst, above = 0.0, 1e-9
    for h in fleets():
        times, limit = ja.times.fixed(h), t_opt(h, number)
        for stale in ("ignore", "restart"):
            schedule = ja.simulate(P.rennala(number, stale=stale), times, num_updates=100)
            lengths = np.diff(schedule.time[schedule.step], prepend=0.0)
            assert (lengths >= number / (1 / h).sum() - above).all()
            assert (lengths <= (1 if stale == "restart" else 2) * limit + above).all()
            worst = max(worst, (lengths / limit).max())
        for stops in (False, True):
            K = 40 * number
            schedule = ja.simulate(P.ringmaster(number, stops=stops), times, num_updates=K)
            at = np.concatenate([[0.0], schedule.time[schedule.step]])
            assert (at[number:] - at[:-number] <= 2 * limit + above).all()
            assert (at[1:] <= np.ceil(np.arange(1, K + 1) / number) * 2 * limit + above).all()
            worst = max(worst, (at[number:] - at[:-number]).max() / limit)
    assert worst > 0.6  # the bounds are not for nothing


@pytest.mark.parametrize("batch", [1, 20, 150])
def test_bounds_in_seconds_of_malenia(batch):
    """Fixed times, restarts: between max(h_n, S mean(h) / n) and twice that, as B_i = floor(T / h_i) >= T / (2 h_i)."""
    for h in fleets():
        schedule = ja.simulate(P.malenia(batch, stale="restart"), ja.times.fixed(h), num_updates=5)
        lengths = np.diff(schedule.time[schedule.step], prepend=0.0)
        least = max(h[-1], batch * h.mean() / len(h))
        assert (lengths >= least * (1 - 1e-9)).all() and (lengths <= 2 * least * (1 + 1e-9)).all()


FLEETS = {  # optimal, of how many workers; asynchronous; synchronous: for noise q = 10, in units of L Delta / eps
    "10 square roots": (np.sqrt(np.arange(1, 11)), (3.98, 10, 3.98, 6.32)),
    "100 square roots": (np.sqrt(np.arange(1, 101)), (3.90, 15, 5.92, 11.00)),
    "1000 square roots": (np.sqrt(np.arange(1, 1001)), (3.90, 15, 16.34, 31.94)),
    "5 fast, 95 slow": (np.repeat([1.0, 1000.0], [5, 95]), (3.00, 5, 21.59, 1100)),
}


@pytest.mark.parametrize("name", FLEETS)
def test_time_complexities(name):
    """Seconds, counted, of the updates that the theory asks for in `units`: the formulas, and their order."""
    (h, (best, number, asynchronous, synchronous)), q = FLEETS[name], 10
    n, times = len(h), ja.times.fixed(h)
    harmonic = n / (1 / h).sum()
    assert t_opt(h, q) == pytest.approx(best, abs=0.005) and optimum(h, q)[1] == number
    assert harmonic * (1 + q / n) == pytest.approx(asynchronous, abs=0.005)
    assert h[-1] * (1 + q / n) == pytest.approx(synchronous, rel=1e-3)
    m_sync = h * (1 + q / np.arange(1, n + 1))
    m = int(m_sync.argmin()) + 1
    M, units = ja.methods, 50 if n < 1000 else 20

    def seconds(method, updates):
        number = math.ceil(updates * units)
        return ja.simulate(method, times, num_updates=number).end * updates / number

    measured = {
        "sync": seconds(M.sync_sgd(0.1), 1 + q / n),
        "m-sync": seconds(M.m_sync_sgd(0.1, m), 1 + q / m),
        "async": seconds(M.asgd(0.1), n + q),
        "naive": seconds(M.naive_optimal_asgd(0.1, noise=q), number + q),
        "rennala": seconds(M.rennala(0.1, batch=q), 2),
        "ringmaster": seconds(M.ringmaster(0.1, bound=q), 2 * q),
        "stops": seconds(M.ringmaster(0.1, bound=q, stops=True), 2 * q),
    }
    exact = {"sync": h[-1] * (1 + q / n), "m-sync": m_sync.min(), "async": harmonic * (1 + q / n), "naive": best}
    for key, expected in exact.items():
        assert measured[key] == pytest.approx(expected, rel=0.02 if n < 1000 else 0.03), key
    for key in ("rennala", "ringmaster", "stops"):
        assert best / 2 < measured[key] < 4 * best, key
        if best < 0.3 * asynchronous:
            assert measured[key] < measured["async"] < measured["sync"], key


# ------------------------------------------------------------ what is computed


def test_malenia_hears_everybody(x64):
    """f_i(x) = |x - c_i|^2 / 2, fixed times: Malenia ends at the mean of the c_i, Rennala at one by its counts."""
    centers = np.random.default_rng(3).standard_normal((N, 3))
    problem = ja.problems.quadratic(spectrum=np.ones(3), centers=centers)
    times = ja.times.fixed(np.arange(1.0, N + 1))
    made = [ja.simulate(policy, times, num_updates=60) for policy in (P.malenia(9), P.rennala(9, stale="restart"))]
    counts = np.bincount(made[1].worker[:9], minlength=N)
    plans = planning.align([ja.plan(schedule, evaluate=60) for schedule in made])
    heard, counted = (ja.run(problem, plan, ja.methods.rennala(0.5, 9), key=KEY).params for plan in plans)
    np.testing.assert_allclose(heard, centers.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(counted, counts @ centers / 9, atol=1e-12)
    assert np.abs(heard - counted).max() > 0.1


# --------------------------------------------------------------------- trials


def sometimes_slow(chance, slow, n):
    """A second, but `slow` seconds with the chance."""
    return ja.times.custom(lambda rng, worker, count: np.where(rng.random(count) < chance, slow, 1.0), num_workers=n)


def test_jobs_that_never_end():
    """3 of 10 jobs never end. Rounds of 2 trials of a second last 2 seconds; Rennala stalls when all are stuck."""
    n, lost, K = 8, 0.3, 400
    times = sometimes_slow(lost, np.inf, n)
    schedule = ja.simulate(P.mindflayer(2, timeouts=1.0, success=1 - lost), times, num_updates=K, seed=2)
    assert schedule.status == "finished"
    assert schedule.time[schedule.step].tolist() == [2.0 * k for k in range(1, K + 1)]
    sums = np.add.reduceat(schedule.weight, np.concatenate([[0], np.flatnonzero(schedule.step)[:-1] + 1]))
    spread = np.sqrt(lost / (1 - lost) / (2 * n))  # of a binomial over its mean
    assert abs(sums.mean() - 1) < 5 * spread / np.sqrt(K)
    assert sums.std() == pytest.approx(spread, rel=0.2)
    duration = times.durations(2)
    delivered = [next(j for j in range(1000) if duration(worker, j) == np.inf) for worker in range(n)]
    for policy in (P.rennala(4), P.asgd(), P.ringmaster(3)):
        stuck = ja.simulate(policy, times, num_updates=K, seed=2)
        assert stuck.status == "stalled"
        assert np.bincount(stuck.worker, minlength=n).tolist() == delivered
    assert sum(delivered) < K


def test_mindflayer_is_faster_under_a_heavy_tail():
    """A second, or 1000 with chance 0.3: n (1 - 0.3) gradients a second; Rennala has n / (0.7 + 300) of any kind."""
    n, lost, until = 8, 0.3, 15_000.0
    times = sometimes_slow(lost, 1000.0, n)
    ours = ja.simulate(P.mindflayer(5, timeouts=1.0, success=1 - lost), times, until=until, seed=2)
    assert ours.num_updates == until / 5
    trials = n * until
    assert abs(len(ours) - (ours.size == 0).sum() - trials * (1 - lost)) < 5 * np.sqrt(trials * lost * (1 - lost))
    theirs = ja.simulate(P.rennala(28), times, until=until, seed=2)  # as many gradients in an update
    mean, std = 1 + lost * 999, 999 * np.sqrt(lost * (1 - lost))
    renewals = n * until / mean
    assert abs(len(theirs) - renewals) < 5 * std / mean * np.sqrt(renewals) + n
    assert theirs.num_updates <= len(theirs) / 28
    assert ours.num_updates > 0.7 * mean * 0.8 * theirs.num_updates > 0  # 28 / 5 against n / mean / 28 an update


def test_rounds_without_a_gradient_count():
    """A worker that succeeds once in four tries: the others are updates with nothing, rows of size 0."""
    schedule = ja.simulate(
        P.mindflayer(1, timeouts=1.0, success=0.25), sometimes_slow(0.75, 2.0, 1), num_updates=200, seed=0
    )
    assert schedule.end == 200.0 and schedule.step.all() and len(schedule) == 200
    assert (schedule.size == schedule.use).all() and 30 < schedule.use.sum() < 70
    assert set(schedule.weight) == {0.0, 4.0} and schedule.delay.max() == 0


@pytest.mark.parametrize("seed", range(6))
def test_allocation_of_trials(seed):
    """By trying all m; `noise` gradients or more are expected in less than t(m*) seconds; the order is no matter."""
    rng = np.random.default_rng(seed)
    seconds, chance, noise = np.exp(rng.uniform(0, 5, 12)), rng.uniform(0.1, 1, 12), rng.uniform(0, 9)
    trials = P.allocate_trials(seconds, chance, noise)
    S, order, best = max(1.0, noise), np.argsort(seconds), (math.inf, 0)
    for m in range(1, 13):
        first = order[:m]
        best = min(best, ((S + chance[first].sum()) / (chance[first] / seconds[first]).sum(), m))
    length, m = best
    assert 1 < m < 12
    expected = [math.ceil(length / seconds[i] - 1) if i in order[:m] else 0 for i in range(12)]
    assert trials.tolist() == expected and (trials * seconds < length).all() and trials @ chance >= S
    some = rng.permutation(12)
    assert P.allocate_trials(seconds[some], chance[some], noise).tolist() == trials[some].tolist()
    clock = ja.times.custom(lambda rng, i, count: np.where(rng.random(count) < chance[i], 1.0, np.inf), num_workers=12)
    schedule = ja.simulate(P.mindflayer(trials, seconds, chance), clock, num_updates=50)
    assert schedule.status == "finished" and schedule.end < 50 * length


def test_chances_from_the_clock():
    """Drawn from the law, not from the run's stream; exact for fixed times; the method uses them."""
    mean = np.array([0.5, 1.0, 2.0, 8.0])
    times = ja.times.exponential(mean)
    chance, exact = P.success_within(times, [1.0, 1.0, 1.0, 30.0]), 1 - np.exp(-np.array([1, 1, 1, 30.0]) / mean)
    assert (np.abs(chance - exact) < 5 * np.sqrt(exact * (1 - exact) / 16_384)).all()
    assert P.success_within(ja.times.fixed(mean), 2.0).tolist() == [1.0, 1.0, 1.0, 0.0]
    method = ja.methods.mindflayer(0.1, trials=3, timeouts=1.0)
    bound = method.bind(4, times).policy.info["success"]
    assert bound == P.success_within(times, 1.0).tolist() == method.bind(4, times).policy.info["success"]
    with pytest.raises(ValueError, match="takes the law of the workers' seconds from the clock"):
        method.bind(4)
    assert ja.methods.mindflayer(0.1, 3, 1.0, success=0.5).bind(4).policy.info["success"] == 0.5


# --------------------------------------------------------------------- errors


ERRORS = {
    "an empty batch": (lambda: P.rennala(0), "batch is a whole number, 1 or more"),
    "stale": (lambda: P.rennala(3, stale="cancel"), 'stale is "ignore" or "restart"; got \'cancel\''),
    "Malenia's stale": (lambda: P.malenia(3, stale=None), 'stale is "ignore" or "restart"'),
    "close": (lambda: P.malenia(3, close="more"), 'close is "reached" or "exceeded"; got \'more\''),
    "bound": (lambda: P.ringmaster(0), "bound is a whole number, 1 or more: the first delay that is too large"),
    "stops": (lambda: P.ringmaster(3, stops="yes"), "stops is True or False; got 'yes'"),
    "too many": (lambda: played(ja.methods.k_sync_sgd(0.1, 6)), r"k is a whole number, 1\.\.\.5: not more than"),
    "nobody": (lambda: ja.methods.m_sync_sgd(0.1, 0), "m is a whole number, 1 or more"),
    "late": (lambda: ja.methods.m_sync_sgd(0.1, 2, late="never"), 'late is "cancel" or "ignore"'),
    "half a trial": (lambda: played(P.mindflayer(1.5, 1.0, 1.0)), "trials is a whole number, 0 or more, for each"),
    "other fleet": (lambda: played(P.mindflayer([1, 2], 1.0, 1.0)), "trials is one number, or one for each of 5"),
    "time-out": (lambda: played(P.mindflayer(1, math.nan, 1.0)), "timeouts is a number of seconds, 0 or more"),
    "chance": (lambda: played(P.mindflayer(1, 1.0, 1.5)), r"success is a probability, 0\.\.\.1"),
    "no chance": (lambda: played(P.mindflayer(1, 1.0, 0.0)), "expects a gradient in a round"),
    "endless trials": (lambda: P.allocate_trials([1.0, math.inf], 1.0), "timeouts has a positive, finite number"),
    "no trial succeeds": (lambda: P.allocate_trials([1.0, 2.0], 0.0), "some worker's success is positive"),
    "of what": (lambda: ja.methods.naive_optimal_asgd(0.1), "takes either workers, .* or noise"),
    "of both": (lambda: ja.methods.naive_optimal_asgd(0.1, 3, noise=1.0), "takes either workers, .* or noise"),
    "more than all": (lambda: played(ja.methods.naive_optimal_asgd(0.1, 6)), r"workers is a whole number, 1\.\.\.5"),
    "unknown": (
        lambda: played(ja.methods.naive_optimal_asgd(0.1, 1), sometimes_slow(0.5, 2.0, 2)),
        "seconds has a positive number for each worker",
    ),
    "another fleet": (lambda: played(P.fastest([1.0, 2.0], 1)), "one number for each of 5 workers; got 2"),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    act, says = ERRORS[name]
    with pytest.raises(ValueError, match=says):
        act()
