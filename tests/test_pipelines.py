"""Pipelines: reads of many ages against a plain loop, equivalences to the bit, stability limits in closed form."""

import cases
import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracle
import oracle_pipelines
import pytest
import rows_pipelines

import jaxasgd as ja

KEY = jax.random.key(7)
M, R, P = ja.methods, ja.rules, ja.policies


def equal(number):
    """A full pipeline: so many mini-batches in flight, and the same time for all."""
    return ja.times.fixed(1.0, num_workers=number)


def end(problem, method, times, num_updates=60, schedule=None):
    """The final parameters of a run of the method."""
    method = method.bind(times.num_workers, times)
    schedule = schedule or ja.simulate(method, times, num_updates=num_updates, seed=1)
    return ja.run(problem, schedule, method, key=KEY, evaluate=num_updates).params


def same(left, right, rtol=0.0):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol / 10), left, right)


def apart(left, right, least=1e-3):
    leaves = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    assert max(np.abs(np.asarray(a) - np.asarray(b)).max() for a, b in leaves) > least


def alike(left, right):
    """The same rows."""
    for name in oracle.COLUMNS:
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))


# ----------------------------------------------------------- mixed versions

LAYERS = [
    lambda w, batch: jnp.tanh(batch[0] @ w["W"] + w["b"][None]),
    lambda w, a: jnp.tanh(a @ w["W"] + w["b"][None]),
    lambda w, a: a @ w["W"],
]


def half_square(output, batch):
    return jnp.mean(jnp.sum((output - batch[1]) ** 2, axis=1)) / 2


def network():
    """Three layers, five leaves, 3 x 4 + 4 + 4 x 3 + 3 + 3 x 2 numbers, and the problem's data."""
    rng = np.random.default_rng(3)
    data = rng.normal(size=(20, 3)), rng.normal(size=(20, 2))
    of = lambda *shape: rng.normal(size=shape) / 2
    start = {"W": of(3, 4), "b": of(4)}, {"W": of(4, 3), "b": of(3)}, {"W": of(3, 2)}
    return ja.problems.staged(LAYERS, start, half_square, data, batch_size=4), start


@pytest.mark.parametrize("weights", ["stashed", "latest"])
@pytest.mark.parametrize("stages", [3, (0, 0, 1, 1, 2)], ids=["runs", "leaves"])
@pytest.mark.parametrize("clock", ["equal", "exponential"])
def test_a_gradient_of_many_ages(x64, clock, stages, weights):
    """The engine's grouped read is a gradient at weights put together from versions that a plain loop kept."""
    problem, start = network()
    times = equal(3) if clock == "equal" else ja.times.exponential(1.0, num_workers=3)
    schedule = ja.simulate(M.pipedream(0.1, stages, weights=weights), times, num_updates=25, seed=2)
    history = ja.run(problem, schedule, M.pipedream(0.1, stages, weights=weights), key=KEY)
    samples, versions = cases.Samples(problem, KEY), [start]
    of = np.arange(3) if stages == 3 else np.array(stages)
    sizes = [leaf.size for leaf in jax.tree.leaves(start)]
    tree = jax.tree.structure(start)
    gradient = jax.jit(problem.sample_gradient)

    def cut(versions, reads):
        """Leaves, or runs of coordinates, each from its version."""
        if stages != 3:
            return jax.tree.unflatten(
                tree, [jax.tree.leaves(versions[read])[i] for i, read in enumerate(reads)]
            )  # fmt: skip
        flat = [np.concatenate([np.ravel(a) for a in jax.tree.leaves(version)]) for version in versions]
        ends = [-(-s * sum(sizes) // 3) for s in range(4)]
        mixed = np.concatenate([flat[read][a:b] for read, a, b in zip(reads, ends[:-1], ends[1:], strict=True)])
        parts = np.split(mixed, np.cumsum(sizes)[:-1])
        return jax.tree.unflatten(
            tree, [part.reshape(a.shape) for part, a in zip(parts, jax.tree.leaves(start), strict=True)]
        )

    entered, oldest = ja.simulate(P.asgd(), times, num_updates=25, seed=2).read, 0
    for k in range(len(schedule)):
        job = oracle.Job(schedule.worker[k], 0.0, 0, schedule.visit[k], schedule.repeat[k], schedule.turn[k])
        expected = np.maximum(k - (2 - of), entered[k])
        np.testing.assert_array_equal(schedule.read[k][: len(of)], expected)
        oldest = max(oldest, np.ptp(expected))
        at = cut(versions, expected)
        if weights == "latest":
            np.testing.assert_array_equal(schedule.read[k][len(of) :], k)
            at = ja.problems.Split(at, versions[-1])
        versions.append(jax.tree.map(lambda w, g: w - 0.1 * g, versions[-1], gradient(at, samples(job))))
    assert oldest == 2
    same(history.params, versions[-1], rtol=1e-12)


def test_reads_are_never_older_than_the_mini_batch():
    """On random clocks: stage s is d_s late, or as late as the mini-batch, whose samples are those of plain asgd."""
    times = ja.times.exponential(np.linspace(1, 3, 6))
    plain = ja.simulate(P.asgd(), times, num_updates=400, seed=3)
    delays = np.array([5, 3, 1, 0])
    schedule = ja.simulate(P.pipelined(4, delays=delays), times, num_updates=400, seed=3)
    np.testing.assert_array_equal(schedule.delay, np.minimum(plain.delay[:, None], delays))
    for name in ("time", "worker", "visit", "repeat", "turn"):
        np.testing.assert_array_equal(getattr(schedule, name), getattr(plain, name))
    both = ja.simulate(P.pipelined(4, delays=delays, weights="latest"), times, num_updates=400, seed=3)
    np.testing.assert_array_equal(both.delay, np.hstack([schedule.delay, np.zeros((400, 4), int)]))


def test_micro_batches():
    """Delays are counted in micro-batches: over an update their mean is d_s / batch, whole versions each."""
    schedule = ja.simulate(P.pipelined(3, delays=(5, 3, 0), batch=4), equal(6), num_updates=30)
    assert schedule.num_updates == 30 and len(schedule) == 120 and (schedule.weight == 0.25).all()
    settled = schedule.delay[40:].reshape(-1, 4, 3)
    np.testing.assert_array_equal(settled[0], [[2, 1, 0], [1, 1, 0], [1, 1, 0], [1, 0, 0]])
    np.testing.assert_array_equal(settled.mean(axis=(0, 1)), [5 / 4, 3 / 4, 0])


def test_a_synchronous_start():
    """After it the pipeline fills anew, as it did at version 0."""
    cold = ja.simulate(P.pipelined(3), equal(3), num_updates=20)
    warm = ja.simulate(P.pipelined(3, warmup=7), equal(3), num_updates=27)
    assert not warm.delay[:7].any()
    np.testing.assert_array_equal(warm.delay[7:], cold.delay)


# ------------------------------------------------------------- equivalences


def test_vertical_sync_is_asynchronous_sgd(x64):
    """To the bit, rows and parameters: a fixed delay of S - 1 (equivalence 30), also where the stages are leaves."""
    for problem, stages, number in ((cases.quadratic(4)[0], 4, 4), (network()[0], (0, 0, 1, 1, 2), 3)):
        method, times = M.pipedream(0.1, stages, weights="synced"), equal(number)
        made, plain = (ja.simulate(each, times, num_updates=60) for each in (method, P.asgd()))
        alike(made, plain)
        assert made.delay[-1] == number - 1
        same(end(problem, method, times), end(problem, M.asgd(0.1), times))
        apart(end(problem, method, times), end(problem, M.pipedream(0.1, stages), times))


def test_two_versions_are_a_delay_of_one(x64):
    """To the bit: one mini-batch an update is asgd on two equal workers. More: their mean, one update late."""
    problem, *_ = cases.quadratic(2)
    alike(*(ja.simulate(policy, equal(2), num_updates=40) for policy in (P.double_buffered(1), P.asgd())))
    same(end(problem, M.pipedream_2bw(0.05, batch=1), equal(2)), end(problem, M.asgd(0.05), equal(2)))
    problem = ja.problems.quadratic(spectrum=np.array([0.1, 1.0, 2.0]))
    same(end(problem, M.pipedream_2bw(0.3), equal(5)), end(problem, M.asgd(0.3), equal(2)), rtol=1e-12)
    x = before = np.ones(3)
    for _ in range(60):
        x, before = x - 0.3 * np.array([0.1, 1.0, 2.0]) * before, x
    same(
        end(problem, M.pipedream_2bw(0.3, batch=8), ja.times.exponential(1.0, num_workers=5)), jnp.array(x), rtol=1e-12
    )


ONE_STAGE = {
    "pipedream": lambda: M.pipedream(0.05, 1),
    "pipedream, latest": lambda: M.pipedream(0.05, 1, weights="latest"),
    "pipemare": lambda: M.pipemare(0.05, 1, anneal=10, delays=(0,)),
    "pipemare, always warm": lambda: M.pipemare(0.05, 2, anneal=10, warmup=60),
    "pipelined_backprop": lambda: M.pipelined_backprop(0.05, 1, momentum=0.0),
    "msnag": lambda: M.msnag(0.05, 1, momentum=0.0),
    "async_nesterov": lambda: M.async_nesterov(0.05, 1, momentum=0.0),
}


@pytest.mark.parametrize("name", ONE_STAGE)
def test_one_stage_is_sequential(x64, name):
    """However many mini-batches wait in front of it; its samples are those of the places in the pipeline."""
    problem, *_ = rows_pipelines.staged(None)
    method = ONE_STAGE[name]()
    schedule = ja.simulate(method, equal(4), num_updates=60, seed=1)
    x, samples = problem.init(KEY), cases.Samples(problem, KEY)
    gradient = jax.jit(problem.sample_gradient)
    for k in range(60):
        job = oracle.Job(k % 4, 0.0, 0, schedule.visit[k], schedule.repeat[k], schedule.turn[k])
        x = jax.tree.map(lambda x, g: x - 0.05 * g, x, gradient(x, samples(job)))
    assert not schedule.delay.any()
    same(end(problem, method, equal(4), schedule=schedule), x, rtol=1e-12)


def test_momentum_without_help_is_momentum(x64):
    """No compensation and no prediction: pipedream's momentum; no delay: optax's, whatever else is asked for."""
    problem, *_ = cases.quadratic()
    plain = lambda delays, **options: M.pipelined_backprop(0.03, 2, 0.7, delays=delays, **options)
    expected = end(problem, M.pipedream(0.03, 2, 0.7, delays=(3, 1)), equal(5))
    for options in ({"prediction": None}, {"horizon": 0.0}, {"horizon": 0.0, "prediction": "weights"}):
        same(end(problem, plain((3, 1), spikes=False, **options), equal(5)), expected, rtol=1e-12)
    for options in ({}, {"prediction": "weights"}, {"spikes": False}):
        apart(end(problem, plain((3, 1), **options), equal(5)), expected)
        same(end(problem, plain((0, 0), **options), equal(5)), end(problem, M.pipedream(0.03, 1, 0.7), equal(5)), 1e-12)


def test_two_ways_to_predict(x64):
    """Momentum's last update is its velocity; multi-step prediction of one step goes `momentum` of it."""
    problem, *_ = cases.quadratic()
    method = lambda **options: M.pipelined_backprop(0.03, 3, 0.7, delays=(4, 2, 1), spikes=False, **options)
    velocity = end(problem, method(), equal(5))
    same(end(problem, method(prediction="weights"), equal(5)), velocity, rtol=1e-11)
    once = M.pipelined_backprop(0.03, 2, 0.7, delays=(1, 1), spikes=False, horizon=0.7)
    same(end(problem, M.msnag(0.03, 2, 0.7, delays=(1, 1)), equal(5)), end(problem, once, equal(5)), rtol=1e-12)
    apart(velocity, end(problem, M.msnag(0.03, 3, 0.7, delays=(4, 2, 1)), equal(5)))


def test_compensated_momentum():
    """Delay 0: momentum; 1: Nesterov's; whatever it is, a gradient counts 1 / (1 - m) times (equivalence 17)."""
    params, m = {"a": jnp.zeros(3), "b": jnp.zeros(2)}, 0.8
    for delay, expected in ((0, optax.trace(m)), (1, optax.trace(m, nesterov=True))):
        rule = R.spike_compensation(m, delay)
        state, other = rule.init(params), expected.init(params)
        for t in range(6):
            g = jax.tree.map(lambda p, t=t: jnp.sin(t + jnp.arange(1.0, p.size + 1)), params)
            out, state = rule.update(g, state)
            also, other = expected.update(g, other)
            same(out, also, rtol=1e-6)
    rule = R.tell_delays(R.spike_compensation(m), [7, 3, 2, 1, 0])
    state, total, g = rule.init(params), 0.0, jax.tree.map(jnp.ones_like, params)
    for _ in range(90):
        out, state = rule.update(g, state)
        total = total + np.concatenate(jax.tree.leaves(out))
        g = jax.tree.map(jnp.zeros_like, g)
    np.testing.assert_allclose(total, 1 / (1 - m), rtol=1e-5)


def test_nesterov_in_time_is_nesterov(x64):
    """One stage: what is sent are the parameters of optax's Nesterov momentum with lr * (1 - momentum)."""
    problem = ja.problems.quadratic(spectrum=np.array([0.1, 1.0, 2.0]))
    sent = []
    rule = optax.chain(optax.sgd(0.4), R.discounted_nesterov(0.7))
    params, state = problem.init(KEY), rule.init(problem.init(KEY))
    for _ in range(30):
        sent.append(R.look_ahead(params, state))
        updates, state = rule.update(problem.gradient(sent[-1]), state)
        params = params + updates
    nesterov = optax.sgd(0.4 * 0.3, 0.7, nesterov=True)
    at, state = problem.init(KEY), nesterov.init(problem.init(KEY))
    for there in sent:
        same(at, there, rtol=1e-12)
        updates, state = nesterov.update(problem.gradient(at), state)
        at = at + updates
    method = M.async_nesterov(0.4, 1, 0.7)
    same(end(problem, method, equal(2), 30), params, rtol=1e-12)


def test_limits_of_pipemare(x64):
    """decay 1 corrects nothing; 0 goes back along the last update; a huge `anneal` divides by the delay for ever."""
    problem, *_ = rows_pipelines.staged(None)
    mare = lambda **options: end(problem, M.pipemare(0.1, 2, delays=(3, 1), **options), equal(4))
    plain = end(problem, M.pipedream(0.1, 2, weights="latest", delays=(3, 1)), equal(4))
    same(mare(decay=None), plain, rtol=1e-12)
    same(mare(decay=1.0), plain, rtol=1e-12)
    for other in (mare(), mare(decay=0.0), mare(decay=None, anneal=1e12)):
        apart(other, plain)
    same(mare(decay=1.0, anneal=1e-12), plain, rtol=0.2)  # but for the first update
    tau = optax.partition({"first": optax.sgd(0.1 / 3), "last": optax.sgd(0.1)}, ("first", "last"))
    method = M.pipedream(0.1, 2, weights="latest", delays=(3, 1))
    same(
        mare(decay=None, anneal=1e12),
        end(problem, ja.Method(method.policy, tau, work=method.work, send=method.send), equal(4)),
        1e-9,
    )


# ------------------------------------------------------------ closed forms


def test_stable_up_to_the_limit_of_each_stage(x64):
    """Every coordinate has its own delay, and so its own limit, alpha <= (2 / lambda) sin(pi / (4 tau + 2))."""
    delays = np.array([7, 6, 5, 4, 3, 2, 1, 0])
    limit = 2 * np.sin(np.pi / (4 * delays + 2))
    share = np.array([0.99, 1.01, 1.01, 0.99, 0.99, 1.01, 0.99, 1.01])
    for beyond in (share, 2 - share):
        problem = ja.problems.quadratic(spectrum=beyond * limit)
        size = np.abs(end(problem, M.pipedream(1.0, stages=8), equal(8), 8000))
        np.testing.assert_array_equal(size > 10, beyond > 1)
        np.testing.assert_array_equal(size < 0.1, beyond < 1)


HELP = [(spikes, prediction) for spikes in (False, True) for prediction in (None, "velocity", "weights")]


@pytest.mark.filterwarnings("ignore:.*largest stable one:jaxasgd.DoubtWarning")  # so it says
@pytest.mark.parametrize(("spikes", "prediction"), HELP)
def test_rate_on_a_quadratic(x64, spikes, prediction):
    """Each stage converges, or not, as the largest eigenvalue of its recurrence says."""
    lr, m, horizon, spectrum = 0.3, 0.8, 0.8, np.array([0.03, 0.1, 0.4, 1.0])
    delays = (6, 4, 2, 0)
    rates = []
    for D, h in zip(delays, lr * spectrum, strict=True):
        a, b = (m**D, sum(m**k for k in range(D))) if spikes else (1.0, 0.0)
        T = horizon * D if prediction else 0.0
        n = D + 2  # w[t] ... w[t - D - 1], then lr * v[t] ... lr * v[t - D - 1]
        A = np.zeros((2 * n, 2 * n))
        sent = np.zeros(2 * n)
        sent[D] = 1.0
        if prediction == "velocity":
            sent[n + D] = -T
        elif prediction == "weights":
            sent[D : D + 2] += T, -T
        A[n, n], A[n] = m, A[n] + h * sent + m * np.eye(2 * n)[n]
        A[0] = np.eye(2 * n)[0] - a * A[n] - b * h * sent
        A[1:n, : n - 1] += np.eye(n - 1)
        A[n + 1 :, n:-1] += np.eye(n - 1)
        rates.append(np.abs(np.linalg.eigvals(A)).max())
    for D, curvature, rate in zip(delays, spectrum, rates, strict=True):
        method = M.pipelined_backprop(lr, 1, m, spikes=spikes, prediction=prediction, horizon=horizon, delays=(D,))
        schedule = ja.simulate(method, equal(7), num_updates=1300)
        problem = ja.problems.quadratic(spectrum=np.array([curvature]))
        size = np.sqrt(ja.run(problem, schedule, method, key=KEY, evaluate=1).loss)
        early, late = size[300:400].max(), size[1200:1300].max()
        np.testing.assert_allclose(np.log(late / early) / 900, np.log(rate), atol=2e-3)


def test_drift_on_a_straight_path(x64):
    """All updates are c: drift = (1 - decay^t) c; without memory, or in the end, what is sent is the past, exactly."""
    c, params = jnp.array([1.0, -2.0, 0.5]), jnp.zeros(3)
    tau = np.array([5.0, 2.0, 0.0])
    for decay, exact in ((0.3, False), (0.0, True)):
        rule = R.follow_drift(-tau, decay)
        state, past = rule.init(params), [params]
        for t in range(1, 12):
            updates, state = rule.update(c, state, past[-1], version=t - 1)
            past.append(past[-1] + updates)
            np.testing.assert_allclose(state.drift, (1 - decay**t) * c, rtol=1e-12)
            sent = R.look_ahead(past[-1], state)
            np.testing.assert_allclose(sent, past[-1] - tau * (1 - decay**t) * c, rtol=1e-12, atol=1e-12)
            if exact and t >= 5:
                np.testing.assert_allclose(sent, [past[t - 5][0], past[t - 2][1], past[t][2]], rtol=1e-12)


def test_pipemare_goes_back_to_the_forward_pass(x64):
    """Where the drift is straight, both passes see the same weights: PipeMare is then PipeDream, which keeps them."""
    layers = [lambda w, batch: w * batch[0], lambda w, a: w * a]
    loss = lambda a, batch: jnp.mean(a)  # with tiny steps its gradients hardly change
    problem = ja.problems.staged(layers, (jnp.array(1.0), jnp.array(2.0)), loss, (jnp.ones(1),))
    plan = {"delays": (6, 2)}
    kept, none, back = (
        jax.tree.map(lambda x, x0: (x - x0) / 1e-4, end(problem, method, equal(7), 200), problem.init(KEY))
        for method in (
            M.pipedream(1e-4, 2, **plan),
            M.pipedream(1e-4, 2, weights="latest", **plan),
            M.pipemare(1e-4, 2, decay=0.0, **plan),
        )
    )
    error = lambda x: max(np.abs(a - b) for a, b in zip(x, kept, strict=True))
    assert error(back) < 0.02 * error(none)


# --------------------------------------------------------------- schedules


@pytest.mark.parametrize("prediction", ["velocity", "weights"])
def test_learning_rate_schedules(x64, prediction):
    """A prediction from the velocity takes the rate of the update to come, one from the weights what was made of it."""
    problem, x0, gradient, _ = cases.quadratic()
    rates = optax.piecewise_constant_schedule(0.04, {20: 0.5, 40: 3.0})
    m, delays, samples = 0.6, np.array([4, 2, 1, 0]), cases.Samples(problem, KEY)
    method = M.pipelined_backprop(rates, 4, m, spikes=False, prediction=prediction, delays=delays)
    schedule = ja.simulate(method, equal(5), num_updates=60)
    xs, sent, v = [x0], [x0], np.zeros(4)
    for t in range(60):
        at = np.array([sent[max(t - d, 0)][c] for c, d in enumerate(delays)])
        job = oracle.Job(t % 5, 0.0, 0, schedule.visit[t], schedule.repeat[t], schedule.turn[t])
        v = m * v + gradient(at, samples(job))
        xs.append(xs[-1] - float(rates(t)) * v)
        step = -float(rates(t + 1)) * v if prediction == "velocity" else xs[-1] - xs[-2]
        sent.append(xs[-1] + delays * step)
    same(end(problem, method, equal(5), schedule=schedule), jnp.array(xs[-1]), rtol=1e-11)


def test_momentum_schedule(x64):
    problem, x0, gradient, _ = cases.quadratic()
    times, samples = equal(5), cases.Samples(problem, KEY)
    grows = lambda t: 1 - 3 / (t + 6.0)
    at = lambda x, job: gradient(x, samples(job))
    trace = oracle_pipelines.async_nesterov(
        x0, at, times.durations(1), 5, 60, learning_rate=0.2, stages=4, momentum=grows
    )
    same(end(problem, M.async_nesterov(0.2, 4, grows), times), jnp.array(trace.xs[-1]), rtol=1e-11)


# ------------------------------------------------------------------ errors

ERRORS = [
    (lambda: P.pipelined(0), r"stages is a whole number, 1 or more, or the stage of each leaf; got 0"),
    (lambda: P.pipelined(()), r"the stage of each leaf, one leaf or more; got \(\)"),
    (lambda: P.pipelined((0, -1)), r"stages\[1\] is a whole number, 0 or more: the stage of a leaf; got -1"),
    (lambda: P.pipelined(3, delays=(1, 0)), r"a delay for each of the 3 stages; got \(1, 0\)"),
    (lambda: P.pipelined(2, delays=(1.5, 0)), r"delays\[0\] is a whole number, 0 or more mini-batches; got 1.5"),
    (lambda: P.pipelined(2, delays=4), r"a delay for each of the 2 stages; got 4"),
    (lambda: P.pipelined(2, weights="old"), r'weights is "stashed", "synced" or "latest"; got \'old\''),
    (lambda: P.pipelined(2, batch=0), r"batch is a whole number, 1 or more"),
    (lambda: P.pipelined(2, warmup=-1), r"warmup is a whole number, 0 or more updates; got -1"),
    (lambda: P.double_buffered(0), r"batch is a whole number, 1 or more micro-batches"),
    (lambda: R.anneal_by_delay([1.0, np.nan], 5), r"delays holds finite numbers, one for each group"),
    (lambda: R.anneal_by_delay(3.0, 5), r"delays holds finite numbers, one for each group of coordinates; got 3.0"),
    (lambda: R.anneal_by_delay([1.0], 0), r"anneal is a finite number, above 0; got 0"),
    (lambda: R.follow_drift([[1.0]]), r"steps holds finite numbers"),
    (lambda: R.follow_drift(1.0, decay=1.5), r"decay is a number from 0 to 1; got 1.5"),
    (lambda: R.follow_drift([1.0], decay=[1.5]), r"decay holds numbers from 0 to 1, one for each group"),
    (lambda: R.tell_delays(3, [1.0]), r"tell_delays wraps, is an optax transformation.* got 3"),
    (lambda: R.look_along(-0.1, 1.0), r"learning_rate is a finite number, 0 or more; got -0.1"),
    (lambda: R.look_along(0.1, "far"), r"steps is a finite number; got 'far'"),
    (lambda: R.look_along(0.1, 1.0)(jnp.zeros(2), ()), r"a chain with one momentum, .* got a state with 0"),
    (lambda: R.discounted_nesterov(2.0), r"momentum is a number from 0 to 1; got 2.0"),
    (lambda: M.pipelined_backprop(0.1, 3, prediction="both"), r'"velocity", "weights" or None; got \'both\''),
    (lambda: M.pipelined_backprop(0.1, 3, spikes=1), r"spikes is True or False; got 1"),
    (lambda: M.pipemare(0.1, 3, decay=2.0), r"decay is a number from 0 to 1; got 2.0"),
    (lambda: M.async_nadam(0.1, 3, decay=2.0), r"decay is a number from 0 to 1; got 2.0"),
]


@pytest.mark.parametrize(("make", "message"), ERRORS)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_what_does_not_fit_together_is_an_error():
    """Too few places; a stage for each leaf of other parameters; more stages than coordinates; no stages at all."""
    with pytest.raises(ValueError, match="a delay of 4 has 5 mini-batches in flight, and this clock has 4 workers"):
        ja.simulate(M.pipedream(0.1, 5), equal(4), num_updates=3)
    problem, _ = network()
    for stages, message in (
        ((0, 0, 1), "the parameters have 5 leaves, not 3: ja.problems.stage_of_leaves"),
        (40, "got 40 groups"),
    ):
        with pytest.raises(ValueError, match=message):
            end(problem, M.pipedream(0.1, stages), equal(40), 3)
    with pytest.raises(ValueError, match=r"a problem that is cut into stages: ja\.problems\.staged"):
        end(ja.problems.quadratic(4), M.pipemare(0.1, 2), equal(4), 3)
    anything = ja.problems.from_loss(lambda p, batch: sum(a.sum() for a in jax.tree.leaves(p)), np.ones(4), np.ones(5))
    with pytest.raises(ValueError, match="at a Split, is not like its parameters"):
        end(anything, M.pipemare(0.1, 2), equal(4), 3)


def test_what_is_lost_is_begun_again():
    """A job that gives no gradient is no mini-batch of the count."""
    for policy in (P.pipelined(2), P.double_buffered(2)):
        state, _ = policy.init(3, np.random.default_rng(0))
        event = ja.policies.Event("lost", 1.0, 0.0, 1, 0, 0, 0, 1, 0, 0)
        after, decision = policy.on(state, event)
        assert after == state and not decision.use and decision.start == (1,)


def test_specs_hold_the_pipeline():
    """What a spec says of a schedule: plain numbers."""
    schedule = ja.simulate(M.pipemare(0.1, np.array([0, 0, 1]), batch=2), equal(4), num_updates=4)
    info = schedule.info
    assert (info["policy"], info["stages"], info["delays"]) == ("pipelined", [0, 0, 1], [3, 1])
    assert (info["weights"], info["batch"], info["warmup"]) == ("latest", 2, 0)
