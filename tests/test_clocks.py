"""Further laws and whole fleets against closed forms; measured times against their own numbers."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

import jaxasgd as ja
from jaxasgd.times.base import BLOCK

T = ja.times
SAMPLES = 40_000
steady = settings(max_examples=60, deadline=None, derandomize=True, database=None)

# name -> (model with 3 workers, scipy's law of worker 2)
LAWS = {
    "half_normal": (T.half_normal([0, 1, 2.0], [1.0, 1.0, 0.5]), stats.halfnorm(loc=2.0, scale=0.5)),
    "folded_normal": (T.folded_normal([0, 1, 2.0], 1.5, [0.0, 0.0, 1.0]), stats.foldnorm(2 / 1.5, loc=1.0, scale=1.5)),
    "poisson": (T.poisson([1.0, 2.0, 3.5], shift=[0, 0, 2.0]), stats.poisson(3.5, loc=2)),
}
MODELS = {name: times for name, (times, _) in LAWS.items()} | {
    "log_cauchy": T.log_cauchy([1.0, 2.0, 3.0], scale=0.5, shift=[0.0, 0.0, 1.0]),
    "never": T.never(T.exponential([1.0, 2.0, 3.0]), [0.0, 0.2, 0.5]),
    "ticks": T.ticks(T.gamma([1.0, 2.0, 3.0], cv=0.5), tick=0.25),
    "recorded": T.recorded([[0.5], [1.0, 2.0], [1.0, 2.0, 4.0]]),
    "stopped": T.recorded([[0.5], np.arange(70.0), np.arange(200.0)], after="stop"),
    "bootstrap": T.bootstrap([[0.5], [1.0, 2.0], [1.0, 2.0, 4.0]]),
    "slow record": T.with_straggler(T.recorded([[0.5], [1.0, 2.0], [1.0, 2.0, 4.0]]), worker=2, factor=3.0),
}


def sample(times, worker, count, seed=0):
    durations = times.durations(seed)
    return np.array([durations(worker, j) for j in range(count)])


# ---------------------------------------------------------------------------------------------- laws


@pytest.mark.parametrize("name", LAWS)
def test_moments_and_mean(name):
    times, law = LAWS[name]
    values = sample(times, 2, SAMPLES, seed=5)
    assert times.mean[2] == pytest.approx(law.mean(), rel=1e-12)
    variance, kurtosis = (float(x) for x in law.stats("vk"))
    assert abs(values.mean() - law.mean()) < 4 * np.sqrt(variance / SAMPLES)
    assert abs(values.var() - variance) < 4 * variance * np.sqrt((kurtosis + 2) / SAMPLES)


@pytest.mark.parametrize("name", ["half_normal", "folded_normal"])
def test_whole_law(name):
    times, law = LAWS[name]
    assert stats.kstest(sample(times, 2, SAMPLES), law.cdf).pvalue > 1e-3


def test_whole_poisson_law():
    values = sample(LAWS["poisson"][0], 2, SAMPLES) - 2
    counts = np.bincount(values.astype(int), minlength=11)
    assert (values == values.astype(int)).all()
    expected = SAMPLES * np.append(stats.poisson(3.5).pmf(np.arange(10)), stats.poisson(3.5).sf(9))
    assert stats.chisquare(np.append(counts[:10], counts[10:].sum()), expected).pvalue > 1e-3


def test_log_cauchy():
    values = sample(T.log_cauchy(3.0, 0.5, num_workers=1), 0, SAMPLES)
    with np.errstate(divide="ignore"):  # one in ten thousand is 0
        logs = np.log(values / 3.0) / 0.5
    assert stats.kstest(logs, stats.cauchy.cdf).pvalue > 1e-3
    for q, quantile in ((0.25, 3 * np.exp(-0.5)), (0.5, 3.0), (0.75, 3 * np.exp(0.5))):
        assert abs((values <= quantile).mean() - q) < 4 * np.sqrt(q * (1 - q) / SAMPLES)
    later = sample(T.log_cauchy([3.0], 0.5, shift=2.0), 0, 500)
    np.testing.assert_allclose(later, values[:500] + 2.0, rtol=1e-15)
    wild = sample(T.log_cauchy(1.0, 30.0, num_workers=1), 0, SAMPLES)  # P(inf) = P(c > 709.8 / 30)
    share = stats.cauchy.sf(np.log(np.finfo(float).max) / 30)
    assert abs(np.isinf(wild).mean() - share) < 4 * np.sqrt(share / SAMPLES) and not np.isnan(wild).any()


def test_never_is_the_same_luck_with_some_jobs_that_hang():
    base = T.exponential([1.0, 2.0, 3.0])
    times = T.never(base, [0.0, 0.2, 1.0])
    assert times.mean.tolist() == [1.0, math.inf, math.inf]
    np.testing.assert_array_equal(sample(times, 0, 300), sample(base, 0, 300))
    values, before = sample(times, 1, SAMPLES), sample(base, 1, SAMPLES)
    hangs = np.isinf(values)
    assert abs(hangs.mean() - 0.2) < 4 * np.sqrt(0.2 * 0.8 / SAMPLES)
    np.testing.assert_array_equal(values[~hangs], before[~hangs])
    correlation = np.corrcoef(hangs[1:], hangs[:-1])[0, 1]  # jobs hang independently of each other, over blocks too
    assert abs(correlation) < 4 / np.sqrt(SAMPLES)
    by_place = hangs[: SAMPLES // BLOCK * BLOCK].reshape(-1, BLOCK).mean(0)
    assert np.abs(by_place - 0.2).max() < 5 * np.sqrt(0.16 / (SAMPLES // BLOCK))
    assert np.isinf(sample(times, 2, 100)).all()


def test_never_of_a_law_without_randomness():
    hangs = np.isinf(sample(T.never(T.fixed([1.0]), 0.5), 0, 64 * 40)).reshape(40, 64)
    assert len(np.unique(hangs, axis=0)) == 40


TICKED = {
    "fixed": (T.fixed([1.3, 2.0]), 0.5),
    "exponential": (T.exponential([1.3, 2.0]), 1.5),
    "quick exponential": (T.exponential([0.05, 0.5]), 1.0),
    "shifted_exponential": (T.shifted_exponential([1.3, 2.0], [0.4, 3.0]), 1.0),
    "uniform": (T.uniform([0.2, 1.0], [3.1, 1.0]), 0.4),
    "zero uniform": (T.uniform([0.0, 0.0], [0.3, 7.0]), 1.0),
}


@pytest.mark.parametrize("name", TICKED)
def test_ticks_round_up_and_their_mean_is_exact(name):
    base, tick = TICKED[name]
    low, high = base.args.get("low"), base.args.get("high")
    times = T.ticks(base, tick)
    law = {
        "fixed": lambda i: lambda t: base.mean[i] > t,
        "exponential": lambda i: stats.expon(scale=base.mean[i]).sf,
        "shifted_exponential": lambda i: stats.expon(base.args["shift"][i], base.args["mean"][i]).sf,
        "uniform": lambda i: stats.uniform(low[i], high[i] - low[i]).sf if high[i] > low[i] else lambda t: low[i] > t,
    }[base.name]
    for i in range(2):
        before, values = sample(base, i, 3000), sample(times, i, 3000)
        whole = np.rint(values / tick)
        np.testing.assert_allclose(values, tick * whole, rtol=1e-12)
        assert (values >= before - 1e-9).all() and (values - before < tick).all()
        above = law(i)(tick * np.arange(2000))  # E ceil(T) = sum over k of P(T > k)
        assert times.mean[i] == pytest.approx(tick * above.sum(), rel=1e-12)


def test_ticks_know_whole_numbers_and_say_what_they_do_not_know():
    assert T.ticks(T.fixed([0.28, 0.3, 0.281]), 0.01).durations(0)(0, 0) == pytest.approx(0.28)
    assert sample(T.ticks(T.fixed([0.281])), 0, 2).tolist() == [1.0, 1.0]
    assert sample(T.ticks(T.recorded([[0.0, 0.2, 1.0, np.inf]])), 0, 5).tolist() == [0.0, 1.0, 1.0, np.inf, 0.0]
    assert np.isnan(T.ticks(T.gamma([1.0])).mean).all()
    assert np.isnan(T.ticks(T.with_straggler(T.fixed([1.0]))).mean).all()
    mine = T.custom(lambda rng, i, n: rng.random(n), 1, mean=0.5, name="exponential")
    assert np.isnan(T.ticks(mine).mean).all()  # the name alone is not the law


def test_clocks_of_asgrad():
    """Poisson(h); |N(h, h)| and U(0, h) + 1 counted in whole ticks; constant."""
    h = T.power_law_means(4, power=1.0)
    for times in (T.poisson(h), T.ticks(T.folded_normal(h, h)), T.ticks(T.uniform(1.0, h + 1)), T.fixed(h)):
        values = np.array([sample(times, i, 4000) for i in range(4)])
        assert (values == np.rint(values)).all()
        assert (np.diff(values.mean(1)) > 0.3).all()
    first = np.array([sample(T.ticks(T.uniform(1.0, h + 1)), i, 4000) for i in range(4)])
    for i in range(4):  # U(0, h) + 1 rounded up: 2, ..., h + 1, each as likely
        counts = np.bincount(first[i].astype(int), minlength=i + 3)
        assert counts[:2].sum() == 0 and stats.chisquare(counts[2:]).pvalue > 1e-3 if i else (first[i] == 2).all()


@pytest.mark.parametrize("name", MODELS)
@settings(steady, max_examples=25)
@given(calls=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 300)), min_size=1, max_size=40))
def test_values_do_not_depend_on_the_order_of_calls(name, calls):
    times = MODELS[name]
    in_order = times.durations(7)
    table = {(i, j): in_order(i, j) for i in range(3) for j in range(301)}
    durations = times.durations(7)
    assert [durations(i, j) for i, j in calls] == [table[call] for call in calls]


@pytest.mark.parametrize("name", ["half_normal", "folded_normal", "poisson", "log_cauchy", "recorded", "bootstrap"])
def test_arguments_survive_json_and_build_the_model_again(name):
    times = MODELS[name]
    again = getattr(T, times.name)(**json.loads(json.dumps(times.args)))
    np.testing.assert_array_equal(again.mean, times.mean)
    np.testing.assert_array_equal(sample(again, 1, 100), sample(times, 1, 100))


@pytest.mark.parametrize("name", ["recorded", "stopped", "bootstrap", "never", "ticks", "slow record"])
def test_arrays_and_the_event_loop_agree(name, monkeypatch):
    from jaxasgd import simulation

    fast = ja.simulate(ja.policies.asgd(), MODELS[name], until=40.0, seed=2)
    monkeypatch.setattr(simulation, "at_once", lambda *args: None)
    slow = ja.simulate(ja.policies.asgd(), MODELS[name], until=40.0, seed=2)
    assert len(fast) > 5 and fast == slow


# ---------------------------------------------------------------------------------------------- fleets


def test_power_law_means():
    i = np.arange(1, 6)
    for power, expected in ((1.0, i), (0.5, np.sqrt(i)), (2.0, i**2), (0.0, i**0), (-1.0, 1 / i)):
        np.testing.assert_allclose(T.power_law_means(5, power), expected, rtol=1e-15)
    np.testing.assert_allclose(T.power_law_means(5, 0.5, scale=2.0, shift=1.0), 1 + 2 * np.sqrt(i), rtol=1e-15)
    n, h = 6, T.power_law_means(6, power=1.0)
    half_fast = np.concatenate([h[1 : n // 2 + 1], h[n // 2 :] ** 3])  # as the docstring says
    assert half_fast.tolist() == [2, 3, 4, 64, 125, 216]


def test_two_group_means():
    assert T.two_group_means(4).tolist() == [1, 1, 10, 10]
    assert T.two_group_means(3, fast=2.0, slow=5.0, share=0.0).tolist() == [2, 2, 2]
    assert T.two_group_means(3, share=1.0).tolist() == [10, 10, 10]
    assert T.two_group_means(100, share=0.05).tolist() == [1] * 95 + [10] * 5


def test_late_jobs_of_the_cvb_fleet():
    """A job takes over 1.25 of the mean: 27.88 % in a fleet of cv 0.6, 0.94 % with equal machines ("27.9 %", "1 %")."""
    machines, job = stats.gamma(1 / 0.36, scale=0.36), stats.gamma(100.0, scale=0.01)
    late, _ = integrate.quad(lambda q: machines.pdf(q) * job.sf(1.25 / q), 0, 12, limit=200)
    assert late == pytest.approx(0.27876, abs=5e-6) and job.sf(1.25) == pytest.approx(0.00938, abs=5e-6)
    n = 4000
    means = T.cvb_means(n, mean=128.0, seed=2)
    durations = T.gamma(means, cv=0.1).durations(0)
    share = np.mean([durations(i, 0) > 160 for i in range(n)])
    assert abs(share - late) < 4 * np.sqrt(late * (1 - late) / n)
    assert stats.kstest(means, stats.gamma(1 / 0.36, scale=0.36 * 128).cdf).pvalue > 1e-3


def test_lognormal_means_are_rates_of_clients():
    means = T.lognormal_means(5000, median=2.0, sigma=0.7, seed=4)
    assert stats.kstest(np.log(1 / means), stats.norm(-np.log(2.0), 0.7).cdf).pvalue > 1e-3
    assert set(T.lognormal_means(5, sigma=0.0, median=3.0).tolist()) == {3.0}


@pytest.mark.parametrize("fleet", [T.cvb_means, T.lognormal_means])
def test_fleets_are_functions_of_their_seed(fleet):
    np.testing.assert_array_equal(fleet(100, seed=1)[:10], fleet(10, seed=1))
    assert (fleet(10, seed=1) != fleet(10, seed=2)).all()
    assert (T.cvb_means(1000, cv=100.0) > 0).all()


# ---------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda t: t.half_normal([1.0, -1.0], 1.0), r"half_normal: shift must be finite and >= 0; worker 1 has -1.0"),
        (lambda t: t.half_normal([1.0], 0.0), r"scale must be positive"),
        (lambda t: t.folded_normal(-1.0, 1.0, num_workers=2), r"folded_normal: center must be finite and >= 0"),
        (lambda t: t.folded_normal([1.0], [1.0, 2.0]), r"lengths agree"),
        (lambda t: t.log_cauchy(0.0, 1.0, num_workers=2), r"log_cauchy: median must be positive"),
        (lambda t: t.log_cauchy([1.0], np.inf), r"scale must be positive and finite"),
        (lambda t: t.poisson([0.0]), r"poisson: mean must be positive and below 1e15"),
        (lambda t: t.poisson([1e16]), r"positive and below 1e15; worker 0 has 1e\+16"),
        (lambda t: t.poisson(1.0), r"number of workers is unknown"),
        (lambda t: t.never(1.0, 0.5), r"times.never changes a model.*got 1.0"),
        (lambda t: t.never(t.fixed([1.0]), 1.5), r"probability must be a probability, 0 to 1; got 1.5"),
        (lambda t: t.never(t.fixed([1.0]), [0.1, 0.2]), r"lengths agree"),
        (lambda t: t.never(t.recorded([[1.0]]), 0.5), r"'recorded', a record\. Write inf into its steps"),
        (lambda t: t.ticks(3.0), r"times.ticks changes a model"),
        (lambda t: t.ticks(t.fixed([1.0]), 0.0), r"tick must be positive"),
        (lambda t: t.power_law_means(0), r"power_law_means: num_workers is an integer >= 1; got 0"),
        (lambda t: t.power_law_means(3, power=np.nan), r"power must be finite"),
        (lambda t: t.power_law_means(3, power=[1.0, 2.0]), r"power is one number"),
        (lambda t: t.power_law_means(3, scale=0.0), r"scale must be positive"),
        (lambda t: t.power_law_means(3, power=1e9), r"positive and finite; worker 1 would have inf\. Take a smaller"),
        (lambda t: t.two_group_means(3, share=2.0), r"share must be a probability"),
        (lambda t: t.two_group_means(3, fast=-1.0), r"fast must be positive"),
        (lambda t: t.cvb_means(3, cv=0.0), r"cvb_means: cv must be positive"),
        (lambda t: t.cvb_means(3, seed=-1), r"seed is an integer >= 0; got -1"),
        (lambda t: t.lognormal_means(3, sigma=-1.0), r"sigma must be finite and >= 0"),
        (lambda t: t.lognormal_means(30, sigma=1e5), r"lognormal_means: seconds are positive and finite"),
    ],
)
def test_errors_say_rule_value_and_remedy(call, says):
    with pytest.raises(ValueError, match=says):
        call(T)
