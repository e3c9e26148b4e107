"""The engine equals the oracle; what a run promises holds."""

import cases
import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracle
import pytest

import jaxasgd as ja
from jaxasgd import program

KEY = jax.random.key(3)
UPDATES = 60


@pytest.mark.parametrize("problem_name", cases.PROBLEMS)
@pytest.mark.parametrize("policy_name", cases.POLICIES)
def test_engine_equals_oracle(x64, problem_name, policy_name):
    """Every policy x clock x two rules, on several problems: the table exactly, the parameters to 1e-10."""
    problem, x0, gradient, value = cases.PROBLEMS[problem_name]()
    policy, loop, options = cases.POLICIES[policy_name]
    samples = cases.Samples(problem, KEY)
    at = lambda x, job: gradient(x, samples(job))
    for clock_name, clock in cases.CLOCKS.items():
        times = clock()
        schedule = ja.simulate(policy(), times, num_updates=UPDATES, seed=7)
        for rule_name, (rule, plain) in cases.RULES.items():
            trace = loop(x0, at, times.durations(7), cases.N, UPDATES, plain(), **options)
            for i, name in enumerate(oracle.COLUMNS):
                np.testing.assert_array_equal(getattr(schedule, name), trace.column(i), err_msg=f"{clock_name}: {name}")
            history = ja.run(problem, schedule, rule(), key=KEY, evaluate=7)
            case = f"{clock_name}, {rule_name}"
            np.testing.assert_allclose(history.params, trace.xs[-1], rtol=1e-10, atol=1e-10, err_msg=case)
            values = [value(trace.xs[u]) for u in history.update]
            np.testing.assert_allclose(history.loss, values, rtol=1e-9, atol=1e-10, err_msg=case)


def test_reads_before(x64):
    problem, x0, gradient, _ = cases.quadratic()
    samples, times = cases.Samples(problem, KEY), cases.CLOCKS["exponential"]()
    schedule = ja.simulate(ja.policies.asgd(), times, num_updates=UPDATES, seed=1, reads="before")
    at = lambda x, job: gradient(x, samples(job))
    trace = oracle.asgd(x0, at, times.durations(1), cases.N, UPDATES, oracle.sgd(0.05), reads="before")
    np.testing.assert_array_equal(schedule.read, trace.column(3))
    history = ja.run(problem, schedule, optax.sgd(0.05), key=KEY)
    np.testing.assert_allclose(history.params, trace.xs[-1], rtol=1e-10)


@pytest.mark.parametrize("order", ["random", "cyclic", "shuffled"])
def test_one_worker_is_plain_sgd(x64, order):
    """Delay 0, and the trajectory of a loop of optax updates on the same samples."""
    X, y = ja.problems.toy_regression()
    problem = ja.problems.linear(X, y, order=order)
    schedule = ja.simulate(ja.policies.asgd(), ja.times.fixed(1.0, num_workers=1), num_updates=200)
    assert not schedule.delay.any()
    history = ja.run(problem, schedule, optax.sgd(0.01), key=KEY, evaluate=1)
    samples, theta = cases.Samples(problem, KEY), np.zeros(2)
    for t in range(200):
        assert history.loss[t] == pytest.approx(np.mean((X @ theta - y) ** 2) / 2, rel=1e-12)
        i = int(samples(oracle.Job(0, 0.0, t, t, 0, t))[0][0])
        theta = theta - 0.01 * X[i] * (X[i] @ theta - y[i])
    np.testing.assert_allclose(history.params, theta, rtol=1e-12)


def test_orders_go_through_the_data():
    data = ja.problems.toy_regression()

    def drawn(order, key, turns):
        samples = cases.Samples(ja.problems.linear(*data, order=order), key)
        return [int(samples(oracle.Job(0, 0.0, t, t, 0, t))[0][0]) for t in range(turns)]

    assert drawn("cyclic", KEY, 200) == [*range(100), *range(100)]
    assert drawn(np.array([5, 7, 5]), KEY, 7) == [5, 7, 5, 5, 7, 5, 5]
    shuffled = drawn("shuffled", KEY, 300)
    epochs = [shuffled[:100], shuffled[100:200], shuffled[200:]]
    assert all(sorted(epoch) == list(range(100)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != list(range(100))
    assert drawn("shuffled", jax.random.key(4), 100) != epochs[0]


def test_shuffle_is_close_to_uniform():
    """Place of each element over 2000 epochs: chi-squared within 5 standard deviations, for lengths of all kinds."""
    from jaxasgd.problems.base import shuffle

    for length in (2, 3, 7, 10, 33):
        epochs = jnp.arange(2000)
        places = jax.vmap(lambda e: jax.vmap(lambda i: shuffle(5, e, i, length))(jnp.arange(length)))(epochs)
        assert (np.sort(places, axis=1) == np.arange(length)).all()
        counts = np.stack([np.bincount(column, minlength=length) for column in np.asarray(places).T])
        expected = 2000 / length
        chi = ((counts - expected) ** 2 / expected).sum()
        free = (length - 1) ** 2
        assert abs(chi - free) < 5 * np.sqrt(2 * free) + 5


def test_bit_equal_when_repeated():
    problem, *_ = cases.PROBLEMS["quadratic"]()
    schedule = ja.simulate(ja.policies.asgd(), cases.CLOCKS["exponential"](), num_updates=300, seed=0)
    a, b = (ja.run(problem, schedule, optax.adam(1e-2), key=KEY) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, (a.params, a.loss), (b.params, b.loss))
    c = ja.run(problem, schedule, optax.adam(1e-2), key=jax.random.key(4))
    assert not np.array_equal(a.loss, c.loss)


@pytest.mark.filterwarnings("ignore::jaxasgd.DoubtWarning")  # the last rate is too large on purpose
def test_vmap_over_learning_rates_equals_the_loop(x64):
    problem, *_ = cases.PROBLEMS["linear, random"]()
    schedule = ja.simulate(ja.policies.asgd(), cases.CLOCKS["lognormal"](), num_updates=100, seed=0)
    plan = ja.plan(schedule, evaluate=20)
    rates = jnp.array([0.01, 0.03, 0.1, 3.0])
    final = lambda lr: ja.run(problem, plan, optax.sgd(lr, momentum=0.5), key=KEY)
    swept = jax.jit(jax.vmap(final))(rates)
    for i, lr in enumerate(rates.tolist()):
        alone = ja.run(problem, plan, optax.sgd(lr, momentum=0.5), key=KEY)
        np.testing.assert_allclose(swept.params[i], alone.params, rtol=1e-12)
        np.testing.assert_allclose(swept.loss[i], alone.loss, rtol=1e-12)
        assert int(swept.status[i]) == int(alone.status)


@pytest.mark.parametrize("policy", ["asgd", "backup, late ignored"])
@pytest.mark.parametrize("until", [True, False])
def test_stacked_plans_equal_single_runs(x64, policy, until):
    """vmap over plans of different lengths, and over learning rates; also spread over 8 devices."""
    problem, *_ = cases.PROBLEMS["linear, random"]()
    limit = {"until": 30.0} if until else {"num_updates": 70}
    look = np.linspace(0, 30, 7) if until else 20
    runs = [ja.simulate(cases.POLICIES[policy][0](), cases.CLOCKS["exponential"](), seed=s, **limit) for s in range(3)]
    rule = lambda lr: optax.chain(ja.rules.scale_by_delay(0.5), optax.sgd(lr, momentum=0.5))
    plans = ja.stack([ja.plan(run, evaluate=look) for run in runs])
    final = lambda lr, plan, problem: ja.run(problem, plan, rule(lr), key=KEY).params
    rates = jnp.array([0.02, 0.05])
    swept = jax.jit(jax.vmap(jax.vmap(final, (None, 0, None)), (0, None, None)))(rates, plans, problem)
    fanned = ja.spread(jax.vmap(final, (None, 0, None)), in_axes=(0, None, None))(rates, plans, problem)
    for i, lr in enumerate(rates.tolist()):
        for s, run in enumerate(runs):
            alone = ja.run(problem, run, rule(lr), key=KEY)
            np.testing.assert_allclose(swept[i, s], alone.params, rtol=1e-11)
            np.testing.assert_allclose(fanned[i, s], alone.params, rtol=1e-11)


def test_compiles_once():
    """Another schedule of about the same length, another learning rate, a freshly built rule: the same program."""
    problem, *_ = cases.PROBLEMS["quadratic"]()
    simulate = lambda seed: ja.simulate(ja.policies.asgd(), cases.CLOCKS["exponential"](), num_updates=400, seed=seed)
    ja.run(problem, simulate(0), optax.sgd(0.01, momentum=0.9), key=KEY)
    known = program.compiled_block._cache_size()
    sizes = {ja.plan(simulate(seed)).num_cells for seed in range(6)}
    for seed in range(6):
        ja.run(problem, simulate(seed), optax.sgd(0.01, momentum=0.9), key=jax.random.key(seed))
    assert program.compiled_block._cache_size() - known == len(sizes) - 1
    known = program.compiled_block._cache_size()
    ja.run(problem, simulate(0), optax.sgd(0.02, momentum=0.8), key=KEY)
    rebuilt, *_ = cases.PROBLEMS["quadratic"]()
    ja.run(rebuilt, simulate(0), optax.sgd(0.01, momentum=0.9), key=KEY)
    assert program.compiled_block._cache_size() == known
    ja.run(problem, simulate(0), optax.sgd(0.01, momentum=0.9, nesterov=True), key=KEY)
    assert program.compiled_block._cache_size() == known + 1


@pytest.mark.parametrize("policy", cases.POLICIES)
@pytest.mark.parametrize("width", [2, 3, 16])
def test_waves_equal_rows(x64, policy, width):
    problem, *_ = cases.PROBLEMS["linear, shuffled"]()
    schedule = ja.simulate(cases.POLICIES[policy][0](), cases.CLOCKS["lognormal"](), num_updates=50, seed=2)
    rule = cases.RULES["delay-scaled momentum"][0]
    rows = ja.run(problem, schedule, rule(), key=KEY)
    waves = ja.run(problem, schedule, rule(), key=KEY, width=width)
    np.testing.assert_allclose(waves.params, rows.params, rtol=1e-12)
    np.testing.assert_allclose(waves.loss, rows.loss, rtol=1e-12)


@pytest.mark.parametrize("policy", ["asgd", "synchronous"])
def test_several_devices_equal_one(x64, policy):
    assert len(jax.devices()) >= 8, "the suite forces 8 host devices"
    problem, *_ = cases.PROBLEMS["linear, random"]()
    schedule = ja.simulate(cases.POLICIES[policy][0](), cases.CLOCKS["equal"](), num_updates=40)
    one = ja.run(problem, schedule, optax.sgd(0.05), key=KEY)
    for number in (1, 2, 8):
        many = ja.run(problem, schedule, optax.sgd(0.05), key=KEY, devices=jax.devices()[:number])
        np.testing.assert_allclose(many.params, one.params, rtol=1e-12)


def test_divergence_is_data():
    problem = ja.problems.quadratic(spectrum=[1.0])
    schedule = ja.simulate(ja.policies.asgd(), ja.times.fixed(1.0, num_workers=4), num_updates=2000)
    history = ja.run(problem, schedule, optax.sgd(1.5), key=KEY, evaluate=10)
    assert history.status == ja.Status.DIVERGED and str(history).startswith(f"diverged at update {history.ended}")
    assert history.update[-1] == history.ended < 2000 and not np.isfinite(history.loss[-1])
    assert np.isfinite(history.loss[:-1]).all()
    rates = jnp.array([0.1, 1.5])
    both = jax.vmap(lambda lr: ja.run(problem, ja.plan(schedule, evaluate=10), optax.sgd(lr), key=KEY))(rates)
    assert both.status.tolist() == [ja.Status.OK, ja.Status.DIVERGED]
    assert both.ended.tolist() == [2000, history.ended] and both.loss[0, -1] < 1e-6
    assert str(both) == "2 runs: 1 ok, 0 target, 1 diverged"


def test_stopping_criteria():
    problem = ja.problems.quadratic(dim=5, condition=10.0)
    schedule = ja.simulate(ja.policies.synchronous(), ja.times.fixed(1.0, num_workers=4), num_updates=500)
    full = ja.run(problem, schedule, optax.sgd(0.5), key=KEY, evaluate=1)
    history = ja.run(problem, schedule, optax.sgd(0.5), key=KEY, evaluate=1, target_loss=1e-3)
    first = int(np.argmax(full.loss <= 1e-3))
    assert history.status == ja.Status.TARGET and history.ended == first == history.update[-1]
    np.testing.assert_array_equal(history.loss, full.loss[: first + 1])
    history = ja.run(problem, schedule, optax.sgd(0.5), key=KEY, evaluate=1, target_gradient_norm=1e-2)
    norms = history.metrics["gradient_norm"]
    assert history.status == ja.Status.TARGET and norms[-1] <= 1e-2 < norms[:-1].min()
    expected = np.linalg.norm(problem.data["spectrum"] * (history.params - problem.optimum))
    assert norms[-1] == pytest.approx(expected, rel=1e-5)
    traced = jax.jit(lambda p: ja.run(p, schedule, optax.sgd(0.5), key=KEY, evaluate=1, target_loss=1e-3))(problem)
    assert int(traced.status) == ja.Status.TARGET and int(traced.ended) == first


def test_history_tells_time_and_work():
    schedule = ja.simulate(ja.policies.synchronous(backup=1, late="ignore"), cases.CLOCKS["linear"](), until=20.0)
    problem, *_ = cases.PROBLEMS["quadratic"]()
    history = ja.run(problem, schedule, optax.sgd(0.1), key=KEY, evaluate=[0.0, 3.9, 4.0, 10.0, 19.0])
    steps = np.flatnonzero(schedule.step)
    assert history.update.tolist() == sorted(
        {0, *(int((schedule.time[steps] <= t).sum()) for t in (3.9, 4, 10, 19, 20))}
    )
    for time, update, work in zip(history.time, history.update, history.gradients, strict=True):
        row = steps[update - 1] if update else -1
        assert time == (schedule.time[row] if update else 0.0) and work == row + 1
    assert history.time.dtype == np.float64


def test_the_callers_arrays_survive():
    """Carries are donated: the problem's start, and a rule state that holds it, must not be."""
    start = jnp.ones(3)
    problem = ja.problems.from_loss(lambda w, batch: jnp.mean((w[None] - batch) ** 2), start, jnp.ones((4, 3)))
    keep = optax.GradientTransformation(lambda params: params, lambda g, state, params=None: (g, state))
    schedule = ja.simulate(ja.policies.asgd(), cases.CLOCKS["equal"](), num_updates=5)
    for _ in range(2):
        ja.run(problem, schedule, optax.chain(keep, optax.sgd(0.1)), key=KEY)
    assert start.sum() == 3 and problem.start.sum() == 3


def test_losses_that_draw():
    """`loss(params, batch, key)`: another key for every gradient, one fixed key in evaluations."""
    X, y = cases.regression_data()

    def loss(theta, batch, key):
        keep = jax.random.bernoulli(key, 0.5, theta.shape)
        return jnp.mean((batch[0] @ jnp.where(keep, theta, 0.0) - batch[1]) ** 2)

    problem = ja.problems.from_loss(loss, jnp.ones(4), (X, y), batch_size=60, order="cyclic")
    schedule = ja.simulate(ja.policies.asgd(), ja.times.fixed(1.0, num_workers=1), num_updates=40)
    run = lambda seed: ja.run(problem, schedule, optax.sgd(1e-6), key=jax.random.key(seed), evaluate=1)
    one, again, other = run(0), run(0), run(1)
    np.testing.assert_array_equal(one.params, again.params)
    assert not np.array_equal(one.params, other.params)
    moved = np.abs(np.asarray(one.params) - 1) > 0
    assert moved.all()  # each coordinate was kept at least once in 40 draws


def test_progress_bar(capsys):
    """Shown when asked for, silent when standard error is no terminal."""
    problem, *_ = cases.PROBLEMS["quadratic"]()
    schedule = ja.simulate(ja.policies.asgd(), cases.CLOCKS["equal"](), num_updates=100)
    ja.run(problem, schedule, optax.sgd(0.1), key=KEY)
    assert capsys.readouterr().err == ""
    ja.run(problem, schedule, optax.sgd(0.1), key=KEY, progress=True)
    said = capsys.readouterr().err
    assert "100/100" in said and "loss=" in said and "time=" in said
