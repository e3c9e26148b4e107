"""Worker-time models against the closed forms of their laws, and against themselves under other orders of calls."""

import json
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

import jaxasgd as ja

SAMPLES = 40_000

# name -> (model with 3 workers, scipy's law of worker 2, which knows nothing of the package's parametrisation)
LAWS = {
    "exponential": (ja.times.exponential([1.0, 2.0, 3.0]), stats.expon(scale=3.0)),
    "shifted_exponential": (ja.times.shifted_exponential([0, 1, 2.0], 0.5), stats.expon(loc=2.0, scale=0.5)),
    "uniform": (ja.times.uniform([0.0, 0.5, 1.0], [1.0, 0.5, 4.0]), stats.uniform(1.0, 3.0)),
    "gamma": (ja.times.gamma([1, 10, 128], cv=[0.5, 0.2, 0.1]), stats.gamma(100.0, scale=1.28)),
    "gamma_default_cv": (ja.times.gamma(2.0, num_workers=3), stats.gamma(100.0, scale=0.02)),
    "lognormal": (ja.times.lognormal([1.0, 2.0, 3.0], 0.5), stats.lognorm(0.5, scale=3.0 * np.exp(-0.125))),
    "pareto_mean": (ja.times.pareto([1, 2, 4], 6.0), stats.pareto(6.0, scale=4.0 * 5 / 6)),
    "pareto_minimum": (ja.times.pareto(minimum=[1, 2, 3], alpha=[2, 3, 0.8]), stats.pareto(0.8, scale=3.0)),
}
FINITE = [name for name in LAWS if name != "pareto_minimum"]


def sample(times, worker, count, seed=0):
    durations = times.durations(seed)
    return np.array([durations(worker, j) for j in range(count)])


# ---------------------------------------------------------------------------------------------- laws


@pytest.mark.parametrize("name", LAWS)
def test_whole_law(name):
    times, law = LAWS[name]
    assert stats.kstest(sample(times, 2, SAMPLES), law.cdf).pvalue > 1e-3


@pytest.mark.parametrize("name", FINITE)
def test_moments(name):
    times, law = LAWS[name]
    values = sample(times, 2, SAMPLES, seed=5)
    assert times.mean[2] == pytest.approx(law.mean(), rel=1e-12)
    variance, kurtosis = (float(x) for x in law.stats("vk"))
    assert abs(values.mean() - law.mean()) < 4 * np.sqrt(variance / SAMPLES)
    assert abs(values.var() - variance) < 4 * variance * np.sqrt((kurtosis + 2) / SAMPLES)


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("q", [0.01, 0.5, 0.99])
def test_quantiles(name, q):
    times, law = LAWS[name]
    below = (sample(times, 2, SAMPLES, seed=2) <= law.ppf(q)).mean()
    assert abs(below - q) < 4 * np.sqrt(q * (1 - q) / SAMPLES)


def test_every_worker_has_its_own_mean():
    mean = np.array([0.5, 1.0, 20.0])
    for times in (ja.times.gamma(mean), ja.times.lognormal(mean, 0.3), ja.times.exponential(mean)):
        drawn = np.array([sample(times, i, 5000).mean() for i in range(3)])
        np.testing.assert_array_equal(times.mean, mean)
        np.testing.assert_allclose(drawn, mean, rtol=4 / np.sqrt(5000))


@pytest.mark.parametrize(
    "times",
    [
        ja.times.fixed([1.5, 2.5]),
        ja.times.lognormal([1.5, 2.5], sigma=0),
        ja.times.uniform([1.5, 2.5], [1.5, 2.5]),
    ],
)
def test_constant_times_are_exact(times):
    assert {times.durations(0)(1, j) for j in range(200)} == {2.5}


def test_pareto_mean_is_infinite_up_to_alpha_one():
    times = ja.times.pareto(minimum=2.0, alpha=[0.5, 1.0, 2.0])
    np.testing.assert_array_equal(times.mean, [np.inf, np.inf, 4.0])
    wild = sample(ja.times.pareto(minimum=1.0, alpha=1e-3, num_workers=1), 0, 64)  # overflows to inf: never finishes
    assert np.isinf(wild).any() and not np.isnan(wild).any()


# ---------------------------------------------------------------------------------------------- oracles of the field


def test_slowest_of_n_exponential_workers_takes_the_harmonic_number():
    n, rounds = 10, 4000
    slowest = np.max([sample(ja.times.exponential(2.0, num_workers=n), i, rounds) for i in range(n)], axis=0)
    harmonic = (1 / np.arange(1, n + 1)).sum()
    assert abs(slowest.mean() - 2 * harmonic) < 4 * slowest.std() / np.sqrt(rounds)


def test_kth_of_n_pareto_workers():
    """Dutta et al. 2018: minimum Gamma(n+1) Gamma(n-k+1-1/a) / (Gamma(n-k+1) Gamma(n+1-1/a))."""
    n, k, a, rounds = 8, 5, 3.0, 4000
    times = ja.times.pareto(minimum=1.5, alpha=a, num_workers=n)
    kth = np.sort([sample(times, i, rounds) for i in range(n)], axis=0)[k - 1]
    log = special.gammaln([n + 1, n - k + 1 - 1 / a, n - k + 1, n + 1 - 1 / a]) @ [1, 1, -1, -1]
    assert abs(kth.mean() - 1.5 * np.exp(log)) < 4 * kth.std() / np.sqrt(rounds)


def test_exponential_race_is_won_in_proportion_to_speed():
    mean, rounds = np.array([1.0, 2.0, 4.0]), 6000
    race = [sample(ja.times.exponential(mean), i, rounds) for i in range(3)]
    share = np.bincount(np.argmin(race, axis=0), minlength=3) / rounds
    expected = (1 / mean) / (1 / mean).sum()
    assert (np.abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / rounds)).all()


def test_late_jobs_of_the_dana_fleets():
    """A job takes over 1.25 of the mean: 0.938 % in a homogeneous fleet, 27.88 % in a heterogeneous (CVB) one."""
    n = 3000
    equal = ja.times.gamma(128.0, cv=0.1, num_workers=1)
    late = (sample(equal, 0, SAMPLES) > 160).mean()
    assert abs(late - 0.00938) < 4 * np.sqrt(0.00938 / SAMPLES)
    machines = np.random.default_rng(0).gamma(1 / 0.36, 0.36 * 128.0, n)
    durations = ja.times.gamma(machines, cv=0.1).durations(0)
    late = np.mean([durations(i, 0) > 160 for i in range(n)])
    assert abs(late - 0.27876) < 4 * np.sqrt(0.27876 * 0.72124 / n)


# ---------------------------------------------------------------------------------------------- common random numbers


@pytest.mark.parametrize("name", LAWS)
@settings(max_examples=25, deadline=None)
@given(calls=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 300)), min_size=1, max_size=40))
def test_values_do_not_depend_on_the_order_of_calls(name, calls):
    times, _ = LAWS[name]
    in_order = times.durations(7)
    table = {(i, j): in_order(i, j) for i in range(3) for j in range(301)}
    durations = times.durations(7)
    assert [durations(i, j) for i, j in calls] == [table[call] for call in calls]


def test_values_are_floats_and_numpy_indices_work():
    durations = ja.times.exponential([1.0, 2.0]).durations(np.int64(3))
    value = durations(1, 70)
    assert type(value) is float
    assert durations(np.int32(1), np.int64(70)) == value == ja.times.exponential([1.0, 2.0]).durations(3)(1, 70)


def test_streams_are_those_of_the_contract():
    stream = np.random.SeedSequence([5, ja.times.CLOCK_STREAM, 2])
    expected = 3.0 * np.random.Generator(np.random.Philox(stream)).standard_exponential(64)
    np.testing.assert_array_equal(sample(LAWS["exponential"][0], 2, 64, seed=5), expected)


def test_streams_of_workers_and_seeds_are_independent():
    times = ja.times.exponential(1.0, num_workers=40)
    values = np.array([[sample(times, i, 128, seed=s) for i in range(40)] for s in range(4)]).reshape(160, 128)
    assert len(np.unique(values)) == values.size
    across = stats.kstest(values[:, 0], stats.expon.cdf).pvalue  # first jobs, over workers and seeds
    assert across > 1e-3
    correlation = np.corrcoef(values)[np.triu_indices(160, 1)]
    assert np.abs(correlation).max() < 6 / np.sqrt(128)
    assert abs(correlation.mean()) < 4 / np.sqrt(128 * len(correlation))


def test_a_worker_draws_the_same_whoever_else_there_is():
    few, many = ja.times.gamma(1.0, num_workers=2), ja.times.gamma(1.0, num_workers=200)
    np.testing.assert_array_equal(sample(few, 1, 100), sample(many, 1, 100))


def test_ten_thousand_workers_are_light():
    times = ja.times.lognormal(np.linspace(1, 10, 10_000), sigma=0.5)
    tracemalloc.start()
    durations = times.durations(0)
    assert tracemalloc.get_traced_memory()[0] < 20 * 10_000  # bytes; nothing is drawn ahead
    for i in range(1000):
        durations(i, 0)
    each = tracemalloc.get_traced_memory()[0] / 1000
    tracemalloc.stop()
    assert each < 5000  # bytes a worker that has started
    durations = ja.times.lognormal(1.0, 0.5, num_workers=1000).durations(0)
    start = time.perf_counter()
    for j in range(200):
        for i in range(1000):
            durations(i, j)
    assert (time.perf_counter() - start) / 200_000 < 5e-6  # about 0.3e-6 on an idle machine


# ---------------------------------------------------------------------------------------------- models as values


@pytest.mark.parametrize(
    "times", [*(LAWS[name][0] for name in LAWS), ja.times.fixed([1, 2]), ja.times.fixed(2, num_workers=2)]
)
def test_arguments_survive_json_and_build_the_model_again(times):
    again = getattr(ja.times, times.name)(**json.loads(json.dumps(times.args)))
    np.testing.assert_array_equal(again.mean, times.mean)
    np.testing.assert_array_equal(sample(again, 1, 100), sample(times, 1, 100))


def test_a_model_is_frozen_and_keeps_its_own_numbers():
    mean = np.array([1.0, 2.0])
    times = ja.times.fixed(mean)
    mean[:] = 9.0
    assert times.mean.tolist() == [1.0, 2.0] and times.durations(0)(1, 0) == 2.0
    assert times.mean.dtype == np.float64 and times.num_workers == 2
    with pytest.raises(ValueError, match="read-only"):
        times.mean[0] = 3.0
    with pytest.raises(AttributeError):
        times.name = "other"


def test_straggler_is_the_same_luck_times_a_factor():
    times = ja.times.exponential([1.0, 2.0, 3.0])
    slow = ja.times.with_straggler(times, worker=1, factor=10.0)
    assert slow.mean.tolist() == [1.0, 20.0, 3.0] and slow.num_workers == 3
    np.testing.assert_array_equal(sample(slow, 1, 200), 10 * sample(times, 1, 200))
    for i in (0, 2):
        np.testing.assert_array_equal(sample(slow, i, 200), sample(times, i, 200))
    twice = ja.times.with_straggler(slow, worker=0, factor=0.5)
    assert twice.mean.tolist() == [0.5, 20.0, 3.0]
    assert json.loads(json.dumps(twice.args))["base"]["name"] == "with_straggler"


def test_custom():
    def draw(rng, worker, count):
        return np.where(rng.random(count) < 0.25, np.inf, worker)  # zero and inf are legal

    times = ja.times.custom(draw, 2, name="bernoulli")
    assert times.name == "bernoulli" and times.num_workers == 2 and np.isnan(times.mean).all()
    assert set(sample(times, 0, 200)) == {0.0, np.inf} and set(sample(times, 1, 200)) == {1.0, np.inf}
    assert ja.times.custom(draw, 2, mean=[np.inf, 1]).mean.tolist() == [np.inf, 1.0]
    whole = ja.times.custom(lambda rng, worker, count: rng.poisson(3.0, count), 1)  # integers become floats
    assert type(whole.durations(0)(0, 0)) is float


@pytest.mark.parametrize("bad", [np.nan, -1.0])
def test_drawn_values_are_checked(bad):
    blocks = {1: 0, 2: 0}

    def draw(rng, worker, count):  # bad in worker 2's second block
        values = rng.random(count)
        blocks[worker] += 1
        if worker == 2 and blocks[worker] == 2:
            values[3] = bad
        return values

    durations = ja.times.custom(draw, 4, name="mine").durations(0)
    durations(1, 100), durations(2, 63)
    with pytest.raises(ValueError, match=rf"mine: .*>= 0 .*worker 2 drew {bad} for its job 67\. .*np.maximum"):
        durations(2, 64)


@pytest.mark.parametrize("draw", [lambda rng, worker, count: 1.0, lambda rng, worker, count: np.array(["a"] * count)])
def test_draw_returns_count_numbers(draw):
    with pytest.raises(ValueError, match=r"returns `count` numbers; for worker 0 and count 64 got"):
        ja.times.custom(draw, 1).durations(0)(0, 0)


# ---------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda t: t.fixed(1.0), r"number of workers is unknown.*num_workers=8.*mean=\[2.0, 3.0\]"),
        (lambda t: t.gamma(1.0, 0.1), r"number of workers is unknown"),
        (lambda t: t.fixed([1.0, -2.0]), r"times.fixed: mean must be positive and finite; worker 1 has -2.0"),
        (lambda t: t.fixed(0.0, num_workers=2), r"positive and finite; got 0.0 for every worker"),
        (lambda t: t.exponential([1.0, np.nan]), r"worker 1 has nan"),
        (lambda t: t.lognormal([np.inf, 1.0], 0.5), r"times.lognormal: mean must be .* worker 0 has inf"),
        (lambda t: t.lognormal(1.0, [0.5, -0.5]), r"sigma must be finite and >= 0; worker 1 has -0.5"),
        (lambda t: t.gamma([1.0, 1.0], cv=0.0), r"cv must be positive"),
        (lambda t: t.shifted_exponential([-1.0, 0.0], 1.0), r"shift must be finite and >= 0; worker 0 has -1.0"),
        (lambda t: t.shifted_exponential([0.0], 0.0), r"mean must be positive"),
        (lambda t: t.uniform([1.0, 3.0], 2.0), r"low <= high; worker 1 has low=3.0, high=2.0"),
        (lambda t: t.uniform([0.0], 0.0), r"high must be positive"),
        (lambda t: t.uniform([0.0], np.inf), r"high must be positive and finite"),
        (lambda t: t.pareto([1.0], alpha=1.0), r"alpha must be finite and > 1, or give minimum="),
        (lambda t: t.pareto(minimum=[1.0], alpha=0.0), r"alpha must be positive"),
        (lambda t: t.pareto(alpha=2.0), r"exactly one of mean and minimum; got neither"),
        (lambda t: t.pareto([1.0], 2.0, minimum=1.0), r"exactly one of mean and minimum; got both"),
        (lambda t: t.pareto([1.0]), r"alpha is one number.*got None"),
        (lambda t: t.fixed([]), r"one number per worker in one dimension.*shape \(0,\)"),
        (lambda t: t.fixed(np.ones((2, 3))), r"in one dimension.*shape \(2, 3\)"),
        (lambda t: t.fixed("fast"), r"one number.*'fast'"),
        (lambda t: t.fixed(["1.0"]), r"one number"),
        (lambda t: t.fixed(None), r"one number.*None"),
        (lambda t: t.fixed(True, num_workers=2), r"one number.*True"),
        (lambda t: t.fixed([1.0, 2.0], num_workers=3), r"lengths agree.*'mean': 2, 'num_workers': 3"),
        (lambda t: t.lognormal([1.0, 2.0], [0.1, 0.2, 0.3]), r"lengths agree.*'mean': 2, 'sigma': 3"),
        (lambda t: t.lognormal([1.0], [0.1, 0.2]), r"lengths agree"),
        (lambda t: t.fixed(1.0, num_workers=0), r"num_workers is an integer >= 1; got 0"),
        (lambda t: t.fixed(1.0, num_workers=2.5), r"num_workers is an integer >= 1; got 2.5"),
        (lambda t: t.fixed(1.0, num_workers=True), r"num_workers is an integer >= 1; got True"),
        (lambda t: t.custom(1.0, 2), r"draw is a function"),
        (lambda t: t.custom(np.ones, None), r"num_workers is an integer"),
        (lambda t: t.custom(np.ones, 2, mean=[1.0]), r"lengths agree"),
        (lambda t: t.custom(np.ones, 2, mean=-1.0), r"mean must be positive \(inf where"),
        (lambda t: t.Times("mine", 1.0, np.ones), r"times.mine: mean is one number >= 0 for each worker"),
        (lambda t: t.Times("mine", [-1.0], np.ones), r"times.mine: mean is one number >= 0 for each worker"),
        (lambda t: t.with_straggler(1.0), r"changes a model.*got 1.0"),
        (lambda t: t.with_straggler(t.fixed([1.0]), worker=1), r"worker is an integer in 0 .. 0; got 1"),
        (lambda t: t.with_straggler(t.fixed([1.0]), factor=0.0), r"factor must be positive and finite"),
        (lambda t: t.fixed([1.0]).durations(-1), r"fixed.durations: seed is an integer >= 0; got -1"),
        (lambda t: t.fixed([1.0]).durations(None), r"seed is an integer >= 0; got None"),
        (lambda t: t.fixed([1.0]).durations(0)(1, 0), r"worker is an integer in 0 .. 0; got 1"),
        (lambda t: t.fixed([1.0]).durations(0)(-1, 0), r"worker is an integer in 0 .. 0; got -1"),
        (lambda t: t.fixed([1.0]).durations(0)(0, -1), r"job is an integer >= 0; got -1"),
    ],
)
def test_errors_say_rule_value_and_remedy(call, says):
    with pytest.raises(ValueError, match=says):
        call(ja.times)
