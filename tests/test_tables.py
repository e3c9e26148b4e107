"""Gradient tables and step sizes over windows: equivalences, bounds on time and age, unbiased limits, exact sums."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxasgd as ja

KEY = jax.random.key(3)
EPS = np.finfo(np.float32).eps


def clocks(n, seed=0):
    mean = np.random.default_rng(seed).uniform(0.3, 4.0, n)
    return [
        ja.times.fixed(1.0, num_workers=n),
        ja.times.fixed(mean),
        ja.times.exponential(mean),
        ja.times.pareto(minimum=mean, alpha=1.1),
    ]


# ---------------------------------------------------------------- Ringleader ASGD


def test_ringleader_with_one_worker_is_sgd(x64):
    """Every arrival is an update with delay 0; the parameters are those of SGD bit for bit (noise included)."""
    problem, times = ja.problems.quadratic(dim=3, noise=0.5), ja.times.exponential(1.0, num_workers=1)
    final = {}
    for method in (ja.methods.ringleader(0.1), ja.methods.asgd(0.1)):
        schedule = ja.simulate(method, times, num_updates=40)
        assert schedule.step.all() and not schedule.delay.any()
        final[method.name] = np.asarray(ja.run(problem, schedule, method, key=KEY, evaluate=40).params)
    np.testing.assert_array_equal(*final.values())


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_ringleader_ages(n):
    """The gradients in the table are at most 2 n - 2 updates old, and that is attained; the tag tells the oldest."""
    worst = 0
    for times in clocks(n):
        schedule = ja.simulate(ja.policies.ringleader(), times, num_updates=12 * n, seed=1)
        tables = [{}, {}]
        for k in range(len(schedule)):
            entries = tables[int(schedule.tags["table"][k])]
            if schedule.tags["count"][k] == 0:
                entries[schedule.worker[k]] = []
            assert len(entries[schedule.worker[k]]) == schedule.tags["count"][k]
            entries[schedule.worker[k]].append(schedule.read[k])
            if schedule.step[k]:
                age = schedule.version[k] - min(reads[0] for reads in entries.values())  # reads only grow
                assert len(entries) == n and age == schedule.tags["delay"][k] <= 2 * n - 2
                worst = max(worst, age)
    assert worst == 2 * n - 2


@pytest.mark.parametrize("n", [2, 5, 9])
def test_ringleader_wastes_nothing(n):
    """No gradient is thrown away, nobody is ever idle, and each round has one update of every worker."""
    for times in clocks(n):
        schedule = ja.simulate(ja.policies.ringleader(), times, num_updates=12 * n, seed=2)
        assert schedule.use.all() and schedule.summary()["utilisation"] == pytest.approx(1.0, rel=1e-12)
        rounds = schedule.worker[schedule.step].reshape(-1, n)
        np.testing.assert_array_equal(np.sort(rounds, axis=1), np.broadcast_to(np.arange(n), rounds.shape))
        assert (schedule.weight == schedule.step).all()


def test_ringleader_rounds_are_short():
    """A round lasts at most 2 max_i h_i seconds; n updates that do not begin with one may last longer."""
    longest, sliding = 0.0, 0.0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(2, 9))
        seconds = rng.uniform(0.05, 1.0, n) if seed % 2 else rng.uniform(0.05, 1.0, n) ** 2
        schedule = ja.simulate(ja.policies.ringleader(), ja.times.fixed(seconds), num_updates=40 * n)
        at = np.concatenate([[0.0], schedule.time[schedule.step]]) / seconds.max()
        longest = max(longest, np.diff(at[::n]).max())
        sliding = max(sliding, (at[n:] - at[:-n]).max())
    assert 1.8 < longest <= 2 + 1e-9 < sliding - 0.2


# ---------------------------------------------------------- tables with the latest


@pytest.mark.parametrize("begin", ["wait", "refresh"])
def test_age_of_the_oldest_entry(begin):
    """The tag `delay` is max_i (version - read_i) over the table, and grows by at most one from update to update."""
    for times in clocks(7):
        schedule = ja.simulate(ja.policies.aggregated(begin=begin), times, num_updates=300, seed=3)
        entries, told = {}, schedule.tags["delay"]
        for k in range(len(schedule)):
            entries[schedule.worker[k]] = schedule.read[k]
            if schedule.step[k]:
                assert len(entries) == 7 and told[k] == schedule.version[k] - min(entries.values())
        assert (np.diff(told[schedule.step]) <= 1).all() and np.isnan(told[~schedule.step]).all()
        assert not schedule.step[: 7 - (begin == "wait")].any() and schedule.use.all()


LIMITS = {
    "asgd": (lambda: ja.methods.asgd(2e-4), 2 / 3, 1e-3),
    "ringleader": (lambda: ja.methods.ringleader(0.05), 1.5, 1e-9),
    "ia2sgd": (lambda: ja.methods.ia2sgd(0.02), 1.5, 1e-9),
    "ace": (lambda: ja.methods.ace(0.02), 1.5, 1e-9),
    "piag": (lambda: ja.methods.piag(0.9), 1.5, 1e-9),
    "piag, Adaptive 2": (lambda: ja.methods.piag(0.9, steps="adaptive2"), 1.5, 1e-9),
    "piag, l1": (lambda: ja.methods.piag(0.9, l1=0.5), 1.0, 1e-9),
    "piag, l1 wins": (lambda: ja.methods.piag(0.9, l1=2.0), 0.0, 0.0),
}


@pytest.mark.parametrize("name", LIMITS)
def test_limits_on_data_that_differ(x64, name):
    """f_i = (x - c_i)^2/2, h = 1, 2, 5, 10, c = 0...3: fast workers draw ASGD to sum_i p_i c_i, p_i ~ 1/h_i, which is
    2/3; the minimum of the mean is 3/2, and with l1 |x| it is max(3/2 - l1, 0)."""
    make, limit, close = LIMITS[name]
    problem = ja.problems.quadratic(spectrum=[1.0], centers=np.arange(4.0)[:, None], start=[2.5])
    method, times = make(), ja.times.fixed([1.0, 2.0, 5.0, 10.0])
    number = 18 * (4000 if name == "asgd" else 600)  # 18 arrivals in 10 s
    schedule = ja.simulate(method, times, num_updates=number)
    x = float(ja.run(problem, schedule, method, key=KEY, evaluate=number).params[0])
    assert abs(x - limit) <= close


# -------------------------------------------------------------------- exact sums


def shrinking(rows, dim=4):
    """Gradients that shrink by 1e9 from the first to the last row, each entry of another size."""
    rng = np.random.default_rng(5)
    size = 10 ** np.linspace(0, -9, rows)[:, None] * np.array([1.0, 30.0, 1e-3, 7.0])[:dim]
    return (rng.standard_normal((rows, dim)) * size).astype(np.float32)


def follow(rule, gradients, columns):
    """The rule over all rows, compiled: its updates, and its last state."""

    def row(state, given):
        g, known = given
        update, state = rule.update(g, state, **known)
        return state, update

    scan = jax.jit(lambda g, known: jax.lax.scan(row, rule.init(g[0]), (g, known)))
    state, updates = scan(gradients, columns)
    return np.asarray(updates), jax.tree.map(np.asarray, state)


def known(schedule, *names):
    named = {"worker": schedule.worker, "version": schedule.version, "read": schedule.read} | schedule.tags
    return {name: jnp.asarray(named[name], jnp.float32 if name in schedule.tags else jnp.int32) for name in names}


@pytest.mark.parametrize("kind", ["rounds", "latest", "young"])
def test_sums_do_not_drift(kind):
    """float32, gradients that shrink by 1e9: the running mean is the mean of the table to 2 units in the last place of
    its entries now; a plain running sum is off by thousands of them."""
    n = 16
    policy = ja.policies.ringleader() if kind == "rounds" else ja.policies.aggregated()
    schedule = ja.simulate(policy, ja.times.exponential(np.linspace(1, 5, n)), num_updates=4000, seed=4)
    gradients, workers = shrinking(len(schedule)), schedule.worker
    if kind == "rounds":
        rule, columns = ja.rules.average_rounds(n), known(schedule, "worker", "table", "count")
    elif kind == "latest":
        rule, columns = ja.rules.average_latest(n), known(schedule, "worker")
    else:
        rule, columns = ja.rules.average_young(n, max_age=20), known(schedule, "worker", "version", "read")
    updates, state = follow(rule, gradients, columns)
    table = np.asarray(state.table, np.float64)
    if kind == "rounds":
        side = int(schedule.tags["table"][-1])
        table = table[side * n : (side + 1) * n]
    elif kind == "young":
        age = schedule.version[-1] - state.read
        assert (state.counts == (age <= 20)).all() and 0 < state.counts.sum() < n
        table = table[state.counts]
    error = np.abs(updates[-1] - table.mean(axis=0)) / (EPS * np.abs(table).max(axis=0))
    assert error.max() < 2
    plain, latest = np.zeros(4, np.float32), np.zeros((n, 4), np.float32)
    for worker, g in zip(workers, gradients, strict=True):
        plain, latest[worker] = plain + (g - latest[worker]), g
    drift = np.abs(plain / n - latest.mean(axis=0)) / (EPS * np.abs(latest).max(axis=0))
    assert drift.max() > 1000


def test_means_of_several_gradients():
    """Each entry of Ringleader's table is the mean of what its worker delivered for this round, in float32."""
    schedule = ja.simulate(ja.policies.ringleader(), ja.times.fixed([1.0, 2.5, 60.0]), num_updates=30)
    gradients = np.random.default_rng(0).standard_normal((len(schedule), 2)).astype(np.float32)
    updates, _ = follow(ja.rules.average_rounds(3), gradients, known(schedule, "worker", "table", "count"))
    tables, compared = [{}, {}], 0
    for k in range(len(schedule)):
        entries, worker = tables[int(schedule.tags["table"][k])], schedule.worker[k]
        if schedule.tags["count"][k] == 0:
            entries[worker] = []
        entries[worker].append(gradients[k])
        if schedule.step[k]:
            means = np.array([np.mean(np.float64(gs), axis=0) for gs in entries.values()])
            np.testing.assert_allclose(updates[k], means.mean(axis=0), atol=2e-6)
            compared = max(compared, max(len(gs) for gs in entries.values()))
    assert compared > 50


def test_no_bound_on_age_is_the_whole_table():
    schedule = ja.simulate(ja.policies.aggregated(), ja.times.exponential(1.0, num_workers=5), num_updates=100)
    gradients = shrinking(len(schedule))
    every, _ = follow(ja.rules.average_latest(5), gradients, known(schedule, "worker"))
    young, _ = follow(ja.rules.average_young(5, 1000), gradients, known(schedule, "worker", "version", "read"))
    np.testing.assert_allclose(every[schedule.step], young[schedule.step], rtol=1e-6, atol=1e-12)


# ----------------------------------------------------------------- windows of steps


def adversarial(kind, number, seed=0):
    """Delays that jump anywhere, or the ages of an oldest entry, which grow by at most one."""
    rng, t = np.random.default_rng(seed), np.arange(number)
    if kind == "jumps":
        return np.minimum(rng.choice([0, 1, 2, 7, 50, 400], number), t)
    resets = rng.random(number) < 0.1
    delays = np.zeros(number, int)
    for k in range(1, number):
        delays[k] = rng.integers(delays[k - 1] + 1) if resets[k] else delays[k - 1] + 1
    return delays


def factors(rule, delays):
    return follow(rule, np.ones(len(delays), np.float32), {"delay": jnp.asarray(delays, jnp.int32)})[0]


def windows(c, delays):
    """sum_{t = k - delay}^{k-1} c_t, in float64."""
    sums = np.concatenate([[0.0], np.cumsum(c, dtype=np.float64)])
    k = np.arange(len(c))
    return sums[k] - sums[k - delays]


@pytest.mark.parametrize("kind", ["jumps", "oldest"])
@pytest.mark.parametrize("rule", [ja.rules.scale_by_adaptive1(0.9), ja.rules.scale_by_adaptive2()], ids=["1", "2"])
def test_principle(rule, kind):
    """gamma_k <= max(gamma' - sum of the window, 0); where delays grow by one at most, gamma_k + sum <= gamma'."""
    delays = adversarial(kind, 20_000)
    c = factors(rule, delays)
    window = windows(c, delays)
    assert (c <= np.maximum(1 - window, 0) + 6 * EPS).all() and (c >= 0).all() and c.sum() > 100
    if kind == "oldest":
        assert (c + window).max() <= 1 + 6 * EPS
    else:
        assert window.max() > 2  # and then there is no room at all


@pytest.mark.parametrize(("alpha", "delays"), [(0.7, [0, 0, 1, 3, 8, 2]), (1e-4, [2000])], ids=["short", "long"])
def test_windows_are_exact_however_long_the_run(alpha, delays):
    """Adaptive 1 in float32 after 300 000 updates, to 2 units in the last place of 1; plain prefix sums lose more."""
    number = 300_000
    delays = np.minimum(np.resize(delays, number), np.arange(number))
    c = factors(ja.rules.scale_by_adaptive1(alpha, memory=2048), delays)
    exact = 1 - windows(c, delays)
    assert np.abs(c / alpha - np.maximum(exact, 0)).max() < 2 * EPS
    sums = np.concatenate([[0], np.cumsum(c, dtype=np.float32)])
    k = np.arange(number)
    assert np.abs(1 - (sums[k] - sums[k - delays]) - exact)[-1000:].max() > 20 * EPS


def test_constant_delays():
    """Delay 0: gamma = alpha gamma' (Adaptive 1) or gamma' (Adaptive 2). Delay d: Adaptive 2 is gamma'/(d + 1) at every
    update, though there is no room to spare; Adaptive 1 tends to gamma' alpha/(1 + alpha d)."""
    none = np.zeros(50, int)
    assert (factors(ja.rules.scale_by_adaptive1(0.9), none) == np.float32(0.9)).all()
    assert (factors(ja.rules.scale_by_adaptive2(), none) == 1).all()
    for d in (1, 2, 6, 40, 300):
        delays = np.full(4000, d)
        np.testing.assert_array_equal(factors(ja.rules.scale_by_adaptive2(), delays)[d:], np.float32(1 / (d + 1)))
    settled = factors(ja.rules.scale_by_adaptive1(0.2), np.full(4000, 3))[-1]
    assert settled == pytest.approx(0.2 / 1.6, rel=1e-6)


def test_a_delay_beyond_the_memory_counts_all_steps():
    delays = np.array([0, 0, 0, 1, 2, 3, 4, 4, 3, 9, 0])
    c = factors(ja.rules.scale_by_adaptive1(0.1, memory=3), delays)
    expected = []
    for k, delay in enumerate(delays):
        expected.append(0.1 * max(1 - sum(expected[max(k - delay, 0) if delay <= 3 else 0 :]), 0))
    np.testing.assert_allclose(c, expected, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:.*largest stable one:jaxasgd.DoubtWarning")  # of the last line
@pytest.mark.parametrize("method", [ja.methods.adaptive1_asgd, ja.methods.adaptive2_asgd])
def test_quadratics_shrink_whatever_the_delays(x64, method):
    """The loss never rises, and no coordinate leaves [-1, 1]; constant steps of the same size explode."""
    number = 400
    problem = ja.problems.quadratic(spectrum=[1.0, 0.3, 0.01])  # starts one away from 0
    zeros, ones, t = np.zeros(number, int), np.ones(number), np.arange(number)
    for kind in ("jumps", "oldest"):
        read = t - np.minimum(adversarial(kind, number, seed=7), 60)
        schedule = ja.Schedule(
            t + 1.0, t + 0.0, zeros, read, t, zeros, zeros + 1, ones > 0, ones, ones > 0, num_workers=1, end=number
        )
        plan = ja.plan(schedule, evaluate=1)
        history = ja.run(problem, plan, method(0.99), key=KEY)
        assert (np.diff(history.loss) <= 0).all() and history.loss[-1] < history.loss[0] / 4
        assert (np.abs(history.params) < 1).all()
        assert ja.run(problem, plan, optax.sgd(0.99), key=KEY).loss.max() > 100 * history.loss[0]


# ---------------------------------------------------------------------- errors


def test_errors():
    with pytest.raises(ValueError, match='begin is "wait" or "refresh"; got \'now\''):
        ja.policies.aggregated(begin="now")
    with pytest.raises(ValueError, match='steps is "adaptive1", "adaptive2" or "constant"; got \'adam\''):
        ja.methods.piag(0.1, steps="adam")
    with pytest.raises(ValueError, match="alpha is a share of the room that is left, between 0 and 1; got 1"):
        ja.methods.adaptive1_asgd(0.1, alpha=1.5)
    with pytest.raises(ValueError, match="memory is a whole number, 1 or more: the largest delay"):
        ja.rules.scale_by_adaptive2(memory=0)
    with pytest.raises(ValueError, match="max_age is a whole number, 0 or more of updates; got -1"):
        ja.methods.ace(0.1, max_age=-1).bind(3)
    with pytest.raises(ValueError, match="inner is an optax transformation"):
        ja.rules.proximal(0.1, ja.rules.soft_threshold(1.0))
    with pytest.raises(ValueError, match="prox is a function"):
        ja.rules.proximal(optax.sgd(0.1), 0.5)
