"""Closed forms: what is known of delayed SGD on quadratics, measured through the whole of simulate and run."""

import jax
import numpy as np
import optax
import pytest

import jaxasgd as ja

KEY = jax.random.key(0)


@pytest.mark.parametrize("tau", range(17))
def test_threshold_of_fixed_delay(x64, tau):
    """n = tau + 1 equal workers: x[t+1] = x[t] - a x[t - tau] is stable iff a < 2 sin(pi / (2 (2 tau + 1)))."""
    threshold = 2 * np.sin(np.pi / (2 * (2 * tau + 1)))
    num_updates = 400 * (tau + 1)
    schedule = ja.simulate(ja.policies.asgd(), ja.times.fixed(1.0, num_workers=tau + 1), num_updates=num_updates)
    np.testing.assert_array_equal(schedule.delay, np.minimum(np.arange(num_updates), tau))
    plan = ja.plan(schedule, evaluate=max(1, (tau + 1) // 4))  # several looks in each swing of x
    problem = ja.problems.quadratic(spectrum=[1.0])
    rates = threshold * np.array([0.99, 1.01])
    loss = np.asarray(jax.vmap(lambda lr: ja.run(problem, plan, optax.sgd(lr), key=KEY).loss)(rates))
    swings = np.array_split(loss, 8, axis=1)
    growth = np.log(swings[7].max(axis=1) / swings[4].max(axis=1)) / (3 / 8 * num_updates) / 2
    roots = [np.abs(np.roots([1, -1, *np.zeros(tau - 1), a] if tau else [1, a - 1])).max() for a in rates]
    assert growth[0] < 0 < growth[1]
    np.testing.assert_allclose(growth, np.log(roots), rtol=0.05)  # and the rate is that of the largest root


@pytest.mark.parametrize(("tau", "a", "variance"), [(1, 0.3, 2.69151139), (4, 0.1, 7.97971456), (7, 0.15, 14.7838092)])
def test_stationary_variance_of_fixed_delay(tau, a, variance):
    """E x^2 = (1/2) [1/a + sin(w tau)/sin w] / [cos(w tau) - sin(w/2)], a = 2 sin(w/2), for s = lr * noise = 1."""
    w = 2 * np.arcsin(a / 2)
    exact = (1 / a + np.sin(w * tau) / np.sin(w)) / (np.cos(w * tau) - np.sin(w / 2)) / 2
    assert exact == pytest.approx(variance, rel=1e-8)
    dim, looks = 2000, 20  # independent coordinates; looks far apart
    schedule = ja.simulate(ja.policies.asgd(), ja.times.fixed(1.0, num_workers=tau + 1), num_updates=4000)
    problem = ja.problems.quadratic(spectrum=np.ones(dim), noise=1 / a)
    history = ja.run(problem, schedule, optax.sgd(a), key=KEY, evaluate=4000 // looks)
    measured = 2 * history.loss[1:] / dim
    error = exact * np.sqrt(2 / dim / len(measured))
    assert abs(measured.mean() - exact) < 5 * error


@pytest.mark.parametrize(("n", "a"), [(2, 0.5), (4, 0.3), (8, 0.2)])
def test_stationary_variance_of_exponential_workers(n, a):
    """E x^2 = (1 + a n) / (a (2 + a - n a^2)) for n equal exponential workers, s = 1: an average over schedules too."""
    exact = (1 + a * n) / (a * (2 + a - n * a * a))
    times = ja.times.exponential(1.0, num_workers=n)
    problem = ja.problems.quadratic(spectrum=np.ones(50), noise=1 / a)
    schedule = ja.simulate(ja.policies.asgd(), times, num_updates=60_000, seed=1)
    history = ja.run(problem, schedule, optax.sgd(a), key=KEY, evaluate=100)
    measured = 2 * history.loss[10:] / 50
    batches = measured[: len(measured) // 20 * 20].reshape(20, -1).mean(axis=1)
    assert abs(batches.mean() - exact) < 5 * batches.std(ddof=1) / np.sqrt(20)
    assert batches.std() / np.sqrt(20) < 0.05 * exact  # the test can see a wrong constant


@pytest.mark.parametrize("n", [2, 5, 16])
def test_delays_of_exponential_workers_are_geometric(n):
    """P(delay = k) = (1/n) (1 - 1/n)^k, within 5 standard errors for each k."""
    number = 40_000
    schedule = ja.simulate(ja.policies.asgd(), ja.times.exponential(1.0, num_workers=n), num_updates=number, seed=3)
    late = schedule.delay[number // 10 :]
    k = np.arange(3 * n)
    expected = (1 - 1 / n) ** k / n
    counts = np.bincount(late, minlength=3 * n)[: 3 * n] / len(late)
    assert (np.abs(counts - expected) < 5 * np.sqrt(n * expected / len(late))).all()


@pytest.mark.parametrize("n", [4, 16])
def test_seconds_per_update(n):
    """Synchronous: E max of n Exp(1) = the n-th harmonic number; with backups (H_n - H_{n-K}); asynchronous: 1/n."""
    times, number = ja.times.exponential(1.0, num_workers=n), 3000
    harmonic = lambda m: sum(1 / k for k in range(1, m + 1))
    for policy, expected in [
        (ja.policies.synchronous(), harmonic(n)),
        (ja.policies.synchronous(backup=n // 4), harmonic(n) - harmonic(n // 4)),
        (ja.policies.asgd(), 1 / n),
    ]:
        schedule = ja.simulate(policy, times, num_updates=number, seed=2)
        rounds = np.diff(schedule.time[schedule.step], prepend=0.0)
        assert abs(rounds.mean() - expected) < 5 * rounds.std() / np.sqrt(number)
