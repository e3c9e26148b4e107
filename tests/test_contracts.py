"""The two contracts carry what the forty methods need: test policies and rules, each against the plain replay."""

import dataclasses

import cases
import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracle
import pytest

import jaxasgd as ja
from jaxasgd import planning, recording, simulation
from jaxasgd.schedule import UNFINISHED

KEY = jax.random.key(11)
N, UPDATES = cases.N, 40


# ---------------------------------------------------------------- policies


def timeouts(limit):
    """Jobs are given up after `limit` seconds; a job that an even worker gives up is a step without a gradient."""

    def init(num_workers, rng):
        return None, [ja.Job(i, timeout=limit) for i in range(num_workers)]

    def on(state, event):
        arrived, again = event.kind == "gradient", (ja.Job(event.worker, timeout=limit),)
        return state, ja.Decision(use=arrived, step=arrived or event.worker % 2 == 0, start=again)

    return ja.Policy(init, on)


def sized(batch):
    """Worker i is asked for 1 + i % 3 gradients at a time; `batch` answers make an update."""
    job = lambda worker: ja.Job(worker, size=1 + worker % 3)

    def on(number, event):
        return number + 1, ja.Decision(True, 1 / batch, (number + 1) % batch == 0, (job(event.worker),))

    return ja.Policy(lambda num_workers, rng: (0, [job(i) for i in range(num_workers)]), on)


def random_dispatch(concurrency, batch=1):
    """A finished job is replaced by one for a worker drawn at random: busy workers queue (Koloskova et al. 2022)."""

    def init(num_workers, rng):
        return (num_workers, rng, 0), rng.integers(num_workers, size=concurrency)

    def on(state, event):
        num_workers, rng, number = state
        start = rng.integers(num_workers, size=1)
        return (num_workers, rng, number + 1), ja.Decision(True, 1 / batch, (number + 1) % batch == 0, start)

    return ja.Policy(init, on)


def restarting(batch, queued=2):
    """The first `batch` gradients at a version make an update and everybody starts afresh, `queued` jobs each."""

    def init(num_workers, rng):
        return (num_workers, 0), np.repeat(np.arange(num_workers), queued)

    def on(state, event):
        num_workers, number = state
        if number + 1 < batch:
            return (num_workers, number + 1), ja.Decision(True, 1 / batch, start=(event.worker,))
        everybody = np.arange(num_workers)
        start = np.repeat(everybody, queued)
        return (num_workers, 0), ja.Decision(True, 1 / batch, True, start, cancel=everybody)

    return ja.Policy(init, on)


def balanced(batch):
    """Every worker of the batch counts the same, 1/(m B_i): known only when it closes (as in Malenia SGD)."""

    def on(members, event):
        members = [*members, event.worker]
        if len(members) < batch:
            return members, ja.Decision(use=True, start=(event.worker,))
        counts = np.bincount(members)
        weights = 1 / (np.count_nonzero(counts) * counts[members])
        return [], ja.Decision(use=True, step=True, start=(event.worker,), weights=weights)

    return ja.Policy(lambda num_workers, rng: ([], range(num_workers)), on)


def quiet():
    """In turn: used with weight 0; an update; an update without members; thrown away."""
    turns = [{"use": True, "weight": 0.0}, {"use": True, "step": True}, {"step": True}, {}]

    def on(number, event):
        return number + 1, ja.Decision(**turns[number % 4], start=(event.worker,))

    return ja.Policy(lambda num_workers, rng: (0, range(num_workers)), on)


def bounded(bound):
    """A gradient of delay `bound` or more is thrown away (as in Ringmaster ASGD, without stops)."""

    def on(state, event):
        fresh = event.delay < bound
        return state, ja.Decision(use=fresh, step=fresh, start=(event.worker,))

    return ja.Policy(lambda num_workers, rng: (None, range(num_workers)), on)


def torn(groups):
    """Asynchronous, but what a worker reads is anything between the version it was handed and the current one."""

    def init(num_workers, rng):
        return rng, range(num_workers)

    def on(rng, event):
        read = rng.integers(event.read, event.version + 1, size=groups)
        return rng, ja.Decision(use=True, step=True, start=(event.worker,), read=read)

    return ja.Policy(init, on)


def tagged(policy):
    """Every row tells the rule which `table` it belongs to, and every third that its delay is 9."""

    def on(state, event):
        state, decision = policy.on(state, event)
        tags = {"table": event.worker % 2} | ({"delay": 9.0} if event.visit % 3 == 0 else {})
        return state, decision._replace(tags=tags)

    return ja.Policy(policy.init, on)


POLICIES = {  # policy, and what simulate is told besides
    "time-outs": (timeouts(1.5), {}),
    "jobs of several gradients": (sized(3), {}),
    "random dispatch": (random_dispatch(7, batch=2), {}),
    "cancelled queues": (restarting(4), {}),
    "weights at the close": (balanced(4), {}),
    "weight 0, no members": (quiet(), {}),
    "batches read before": (sized(2), {"reads": "before"}),
}


def simulated(name, seed=4):
    policy, options = POLICIES[name]
    return ja.simulate(policy, cases.CLOCKS["exponential"](), num_updates=UPDATES, seed=seed, **options)


# ------------------------------------------------------------------- rules


def momentum(**tags):
    """Momentum with a step that depends on all that a rule of an aggregate may ask for."""

    def update(g, v, params, *, delay, version, read, step, weight, progress, **others):
        scale = (1.0 + delay) ** -0.5 + weight + 0.1 * (version - read) + jnp.where(step, progress, jnp.nan)
        scale = scale + sum(factor * others[name] for name, factor in tags.items())
        v = 0.7 * v + scale * g + 0.01 * params
        return -0.04 * v, v

    return optax.GradientTransformationExtraArgs(jnp.zeros_like, update)


def plain_momentum(num_updates, **tags):
    v = 0.0

    def rule(x, g, delay, version, weight, **others):
        nonlocal v
        scale = (1.0 + delay) ** -0.5 + weight + 0.1 * delay + np.float32(version / num_updates)
        scale += sum(factor * others[name] for name, factor in tags.items())
        v = 0.7 * v + scale * g + 0.01 * x
        return x - 0.04 * v

    return rule


def counting(**tags):
    """An arrival rule: counts the gradients it has seen, and looks at delay, worker, what was read and what is."""

    def update(g, count, params, *, delay, worker, stale, **others):
        scale = 1 / (1.0 + delay) + 0.1 * worker + 0.2 * (count % 3)
        scale = scale + sum(factor * others[name] for name, factor in tags.items())
        return scale * g + 0.05 * (params - stale), count + 1

    return optax.GradientTransformationExtraArgs(lambda params: jnp.zeros((), jnp.int32), update)


def plain_counting(**tags):
    count = -1

    def arrival(g, delay, worker, stale, x, **others):
        nonlocal count
        count += 1
        scale = 1 / (1.0 + delay) + 0.1 * worker + 0.2 * (count % 3)
        return (scale + sum(f * others[name] for name, f in tags.items())) * g + 0.05 * (x - stale)

    return arrival


def setting():
    """The problem, its start, and the gradient for the replay."""
    problem, x0, gradient, _ = cases.quadratic()
    samples = cases.Samples(problem, KEY, units=4)
    return problem, x0, lambda x, job, unit=0: gradient(x, samples(job, unit))


# ------------------------------------------------- engine and plain replay


@pytest.fixture(scope="module")
def tables():
    schedules = {name: simulated(name) for name in POLICIES}
    plans = planning.align([ja.plan(schedule, evaluate=7) for schedule in schedules.values()])  # one program for all
    return {name: (schedules[name], plan) for name, plan in zip(POLICIES, plans, strict=True)}


@pytest.mark.parametrize("name", POLICIES)
def test_aggregates(x64, tables, name):
    """Rule and arrival rule with states of their own, on everything that a policy can decide."""
    schedule, plan = tables[name]
    problem, x0, gradient = setting()
    method = ja.Method(ja.policies.asgd(), momentum(), arrival=counting())
    xs = oracle.replay(schedule, x0, gradient, plain_momentum(UPDATES), arrival=plain_counting())
    history = ja.run(problem, plan, method, key=KEY)
    np.testing.assert_allclose(history.params, xs[-1], rtol=1e-10, atol=1e-10)
    losses = [float(problem.loss(xs[update])) for update in history.update]
    np.testing.assert_allclose(history.loss, losses, rtol=1e-9, atol=1e-10)
    assert len(xs) == UPDATES + 1 and history.loss[-1] != history.loss[-2]


def test_all_policies_in_one_program(x64, tables):
    """Stacked, the same tables run side by side under vmap."""
    problem, x0, gradient = setting()
    method = ja.Method(ja.policies.asgd(), momentum(), arrival=counting())
    plans = ja.stack([ja.plan(schedule, evaluate=20) for schedule, _ in tables.values()])
    params = jax.jit(jax.vmap(lambda plan: ja.run(problem, plan, method, key=KEY).params))(plans)
    for (name, (schedule, _)), ours in zip(tables.items(), params, strict=True):
        xs = oracle.replay(schedule, x0, gradient, plain_momentum(UPDATES), arrival=plain_counting())
        np.testing.assert_allclose(ours, xs[-1], rtol=1e-10, atol=1e-10, err_msg=name)


def test_all_policies_in_waves(x64, tables):
    """Gradients of up to four rows at a time: the same parameters."""
    problem, *_ = setting()
    method = ja.Method(ja.policies.asgd(), momentum(), arrival=counting())
    plans = planning.align([ja.plan(schedule, evaluate=7, width=4) for schedule, _ in tables.values()])
    for (name, (_, rows)), waves in zip(tables.items(), plans, strict=True):
        ours, expected = (ja.run(problem, plan, method, key=KEY) for plan in (waves, rows))
        np.testing.assert_allclose(ours.params, expected.params, rtol=1e-12, err_msg=name)
        np.testing.assert_allclose(ours.loss, expected.loss, rtol=1e-12, err_msg=name)


def test_tags_reach_the_rules(x64):
    """As keyword arguments of both; a tag `delay` replaces the delay that the rule (not the arrival rule) sees."""
    problem, x0, gradient = setting()
    schedule = ja.simulate(tagged(sized(3)), cases.CLOCKS["lognormal"](), num_updates=UPDATES, seed=1)
    told = schedule.tags["delay"][schedule.step]
    assert 0 < np.isnan(told).sum() < UPDATES and set(schedule.tags["table"]) == {0.0, 1.0}
    plain = plain_momentum(UPDATES, table=0.5)

    def rule(x, g, delay, version, **row):
        return plain(x, g, delay=delay if np.isnan(told[version]) else told[version], version=version, **row)

    untold = dataclasses.replace(schedule, tags={"table": schedule.tags["table"]})
    xs = oracle.replay(untold, x0, gradient, rule, arrival=plain_counting(table=0.25))
    method = ja.Method(ja.policies.asgd(), momentum(table=0.5), arrival=counting(table=0.25))
    history = ja.run(problem, schedule, method, key=KEY, evaluate=7)
    np.testing.assert_allclose(history.params, xs[-1], rtol=1e-10, atol=1e-10)


def test_tags_in_a_comparison():
    problem, *_ = cases.quadratic()
    method = ja.Method(tagged(sized(3)), momentum(table=0.5))
    ja.compare(problem, cases.CLOCKS["lognormal"](), {"tagged": method}, num_updates=9, seeds=1)


def compensated(strength):
    """Delay-compensated gradients with a momentum, and a step of each worker's own; `stale` is what was read."""

    def update(g, v, params, *, stale, worker, **_):
        v = 0.7 * v + (1 + 0.1 * worker) * (g + strength * g * g * (params - stale))
        return -0.04 * v, v

    return optax.GradientTransformationExtraArgs(jnp.zeros_like, update)


@pytest.mark.parametrize("ahead", [0.0, 0.03])
def test_stale_is_what_was_sent(x64, ahead):
    """A rule on single gradients, some thrown away; with `send`, workers get a look-ahead made of the rule's state."""
    problem, x0, gradient = setting()
    schedule = ja.simulate(bounded(5), cases.CLOCKS["lognormal"](), num_updates=UPDATES, seed=3)
    assert 0 < schedule.use.sum() < len(schedule) and schedule.delay[schedule.use].max() == 4
    sent = lambda pair: pair[0] - ahead * pair[1]
    pairs = [np.stack([x0, np.zeros_like(x0)])]

    def rule(pair, g, read, worker, **_):  # the replay's parameters are (params, momentum)
        x, v = pair
        v = 0.7 * v + (1 + 0.1 * worker) * (g[0] + 0.5 * g[0] ** 2 * (x - sent(pairs[read])))
        pairs.append(np.stack([x - 0.04 * v, v]))
        return pairs[-1]

    oracle.replay(schedule, pairs[0], gradient, rule, send=sent)
    send = (lambda params, state, worker_state: params - ahead * state) if ahead else None
    method = ja.Method(ja.policies.asgd(), compensated(0.5), send=send)
    history = ja.run(problem, schedule, method, key=KEY, evaluate=UPDATES)
    np.testing.assert_allclose(history.params, pairs[-1][0], rtol=1e-10, atol=1e-10)
    wide = ja.run(problem, schedule, method, key=KEY, evaluate=UPDATES, width=4)
    np.testing.assert_allclose(wide.params, history.params, rtol=1e-12)


def test_stale_of_an_aggregate_is_an_error():
    problem, *_ = cases.quadratic()
    with pytest.raises(ValueError, match=r"aggregate of several gradients: use the rule as Method\(arrival=...\)"):
        ja.run(problem, simulated("random dispatch"), compensated(0.5), key=KEY)


def test_workers_with_a_state_of_their_own(x64):
    """Each adds to its gradient half of what it sent last, and is handed the parameters plus a part of its state."""
    problem, x0, gradient = setting()
    policy = ja.policies.asgd()
    schedule = ja.simulate(policy, cases.CLOCKS["lognormal"](), num_updates=UPDATES, seed=3)
    x, state, handed = x0, np.zeros((N, 4)), [x0] * N
    for k, worker in enumerate(schedule.worker):
        if schedule.use[k]:
            job = oracle.Job(worker, 0.0, 0, schedule.visit[k], schedule.repeat[k], 0)
            g = gradient(handed[worker], job) + state[worker]
            state[worker], x = g / 2, x - 0.02 * g
        handed[worker] = x + 0.1 * state[worker]

    def compute(gradient, stale, state, samples, size):
        g = gradient(stale, jax.tree.map(lambda a: a[0], samples)) + state
        return g, g / 2

    work = ja.work.Work(lambda params, num_workers: jnp.zeros((num_workers, *params.shape)), compute)
    send = lambda params, rule_state, worker_state: params + 0.1 * worker_state
    method = ja.Method(policy, optax.sgd(0.02), work=work, send=send)
    history = ja.run(problem, schedule, method, key=KEY, evaluate=UPDATES)
    np.testing.assert_allclose(history.params, x, rtol=1e-10)
    # a version has one payload, that of the worker whose row made it: who starts at another's would get the wrong one
    others = ja.simulate(bounded(5), cases.CLOCKS["lognormal"](), num_updates=UPDATES, seed=3)
    with pytest.raises(ValueError, match="some start at a version that another's gradient made"):
        ja.run(problem, others, method, key=KEY)


def test_groups_are_read_at_versions_of_their_own(x64):
    """`read` of [rows, groups]: the two leaves of the parameters were read at different versions."""
    rng = np.random.default_rng(0)
    data, rows = rng.standard_normal((6, 3)), 30
    step = np.arange(rows) % 2 == 1
    version = np.cumsum(step) - step
    read = np.stack([np.maximum(version - rng.integers(0, 5, rows), 0) for _ in range(2)], axis=1)
    zero, one = np.zeros(rows, int), np.ones(rows, int)
    schedule = ja.Schedule(
        time=np.arange(1.0, rows + 1), start=np.zeros(rows), worker=zero, read=read, visit=np.arange(rows), repeat=zero,
        size=one, use=one > 0, weight=np.full(rows, 0.5), step=step, num_workers=1, end=float(rows),
    )  # fmt: skip
    assert (schedule.delay[:, 0] != schedule.delay[:, 1]).any()
    start = {"a": np.zeros(3), "b": np.ones(())}
    loss = lambda p, batch: jnp.mean((batch @ p["a"] * p["b"] - 1.0) ** 2)
    problem = ja.problems.from_loss(loss, start, data, order="cyclic")
    xs, total = [(start["a"], 1.0)], [0.0, 0.0]
    for k in range(rows):
        x, (a, b) = data[k % 6], (xs[read[k, 0]][0], xs[read[k, 1]][1])
        slope = 2 * ((x @ a) * b - 1)
        total = [total[0] + slope * b * x / 2, total[1] + slope * (x @ a) / 2]
        if step[k]:
            oldest = schedule.delay[k - 1 : k + 1].max()
            xs.append(tuple(p - 0.1 * (1 + oldest) ** -0.5 * g for p, g in zip(xs[-1], total, strict=True)))
            total = [0.0, 0.0]
    rule = optax.chain(ja.rules.scale_by_delay(0.5), optax.scale(-0.1))
    for width in (1, 4):
        history = ja.run(problem, schedule, rule, key=KEY, evaluate=rows, width=width)
        np.testing.assert_allclose(history.params["a"], xs[-1][0], rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(history.params["b"], xs[-1][1], rtol=1e-10)


def test_late_parts_know_workers_and_clock(x64):
    """In simulate, run and compare; a late method is the same as one made by hand."""
    times, seen = cases.CLOCKS["linear"](), []

    def rule(num_workers, clock):
        seen.append((num_workers, clock))
        return optax.sgd(0.2 / num_workers)

    policy = ja.late(lambda num_workers, clock: bounded(int(clock.mean.max()) + num_workers))
    late, made = ja.Method(policy, ja.late(rule)), ja.Method(bounded(5 + N), optax.sgd(0.2 / N))
    schedule = ja.simulate(late, times, num_updates=UPDATES)
    assert schedule == ja.simulate(made, times, num_updates=UPDATES) and seen == [(N, times)]
    problem, *_ = setting()
    table = ja.compare(problem, times, {"late": late, "made": made}, num_updates=UPDATES, seeds=1)
    np.testing.assert_array_equal(table.final("late"), table.final("made"))
    key = jax.random.fold_in(jax.random.key(0), 0)  # compare's, of seed 0
    alone = ja.run(problem, schedule, ja.Method(bounded(1), ja.late(rule)), key=key)
    assert seen[-1] == (N, None) and alone.loss[-1] == table.final("made")[0]


def test_cyclic_order_goes_on_with_every_gradient():
    """A worker's place is the number of gradients it has delivered: several at a version, or discarded ones, count."""
    problem = ja.problems.linear(np.eye(12), np.arange(12.0), order="cyclic")
    for policy in (restarting(3, queued=1), bounded(2), quiet(), sized(2)):
        schedule = ja.simulate(policy, cases.CLOCKS["linear"](), num_updates=20)
        for worker in range(N):
            mine = schedule.worker == worker
            assert schedule.turn[mine].tolist() == np.cumsum([0, *schedule.size[mine]])[:-1].tolist()
    samples = cases.Samples(problem, KEY)
    schedule = ja.simulate(restarting(3, queued=1), ja.times.fixed(1.0, num_workers=1), num_updates=5)
    jobs = [oracle.Job(0, 0.0, 0, *who) for who in zip(schedule.visit, schedule.repeat, schedule.turn, strict=True)]
    assert [int(samples(job)[0][0]) for job in jobs] == [*range(12), 0, 1, 2]
    assert schedule.repeat.tolist() == [0, 1, 2] * 5


def test_groups_of_coordinates(x64):
    """A policy says what each run of coordinates was read at; as many groups as parameters: each on its own."""
    schedule_of = lambda groups: ja.simulate(torn(groups), cases.CLOCKS["lognormal"](), num_updates=40, seed=2)
    center = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0]])
    tree = {"a": center[0], "b": center[1]}
    loss = lambda p, batch: sum(jnp.sum((p[name] - tree[name]) ** 2) / 2 for name in tree) * batch[0]
    problem = ja.problems.from_loss(loss, jax.tree.map(np.zeros_like, tree), np.ones(1))
    for groups, places in {2: [0, 0, 0, 1, 1, 1], 4: [0, 0, 1, 2, 2, 3], 6: [0, 1, 2, 3, 4, 5]}.items():
        schedule = schedule_of(groups)
        assert schedule.read.shape == (40, groups) and (np.ptp(schedule.read, axis=1) > 0).any()
        xs = [np.zeros(6)]
        for k in range(40):
            stale = np.array([xs[schedule.read[k, group]][c] for c, group in enumerate(places)])
            xs.append(xs[-1] - 0.2 * (stale - center.reshape(-1)))
        for width in (1, 3):
            history = ja.run(problem, schedule, optax.sgd(0.2), key=KEY, evaluate=40, width=width)
            ours = np.concatenate([history.params["a"], history.params["b"]])
            np.testing.assert_allclose(ours, xs[-1], rtol=1e-12)
    with pytest.raises(ValueError, match="coordinates, 6 at most; got 7"):
        ja.run(problem, schedule_of(7), optax.sgd(0.2), key=KEY)


def test_declared_tags_are_always_there():
    policy = ja.policies.asgd()._replace(tags=("table",))
    assert np.isnan(ja.simulate(policy, cases.CLOCKS["linear"](), num_updates=3).tags["table"]).all()


def test_a_late_policy_is_not_looked_at():
    problem, *_ = cases.quadratic()
    method = ja.Method(ja.late(lambda num_workers, clock: bounded(int(clock.mean.max()))), optax.sgd(0.1))
    ja.run(problem, simulated("random dispatch"), method, key=KEY)


def test_rules_with_a_function_of_the_host():
    """Two rules that differ only in what they ask the host for are two rules."""
    problem = ja.problems.quadratic(spectrum=[1.0])
    schedule = ja.simulate(ja.policies.asgd(), ja.times.fixed(1.0, num_workers=1), num_updates=1)

    def final(factor):
        host = lambda g: np.asarray(factor * g, np.float32)
        rule = optax.stateless(lambda g, params: jax.pure_callback(host, jax.ShapeDtypeStruct(g.shape, g.dtype), g))
        return float(ja.run(problem, schedule, rule, key=KEY).params[0])

    assert final(-0.5) == 0.5 and final(-1.0) == 0.0


# ------------------------------------------------------ what the table says


def ages(schedule):
    """Versions since the jobs in flight at the end were handed out, in all."""
    flying = schedule.unfinished["kind"] <= UNFINISHED.index("queued")
    return int(schedule.unfinished["age"][flying].sum()), int(flying.sum())


def test_time_outs():
    """Worker 0 needs 3 s and gives up after 2: a step without a gradient; worker 1 needs 1 s."""
    schedule = ja.simulate(timeouts(2.0), ja.times.fixed([3.0, 1.0]), until=4.0)
    names = ("time", "start", "worker", "read", "visit", "size", "use", "weight", "delay")
    assert list(zip(*(getattr(schedule, name).tolist() for name in names), strict=True)) == [
        (1.0, 0.0, 1, 0, 0, 1, True, 1.0, 0),
        (2.0, 2.0, 0, 0, 0, 0, False, 0.0, 1),
        (2.0, 1.0, 1, 1, 1, 1, True, 1.0, 1),
        (3.0, 2.0, 1, 3, 2, 1, True, 1.0, 0),
        (4.0, 4.0, 0, 2, 1, 0, False, 0.0, 2),
        (4.0, 3.0, 1, 4, 3, 1, True, 1.0, 1),
    ]
    lost = schedule.unfinished
    told = list(zip(*(lost[name].tolist() for name in ("kind", "worker", "read", "seconds")), strict=True))
    running, timeout = UNFINISHED.index("running"), UNFINISHED.index("timeout")
    assert told == [(timeout, 0, 0, 2.0), (timeout, 0, 2, 2.0), (running, 0, 5, 0.0), (running, 1, 6, 0.0)]
    assert schedule.summary() == {
        "workers": 2, "seconds": 4.0, "updates": 6, "arrivals": 4, "discarded": 0.0, "unfinished": 4, "mean_delay": 0.5,
        "max_delay": 1, "throughput": 1.5, "utilisation": 1.0, "status": "finished", "median_delay": 0.0, "wasted": 0.5,
        "concurrency": 2.0,
    }  # fmt: skip


def test_a_time_out_has_no_gradient():
    greedy = ja.Policy(timeouts(2.0).init, lambda state, event: (state, ja.Decision(use=True, start=(event.worker,))))
    with pytest.raises(ValueError, match="the policy used a timeout: there is no gradient to use; decide use=False"):
        ja.simulate(greedy, ja.times.fixed([3.0, 1.0]), until=4.0)


def test_summaries_by_hand():
    """Asynchronous: six arrivals of delays 0 0 2 1 0 2. Backup: worker 2 is stopped three times after one second."""
    schedule = ja.simulate(ja.policies.asgd(), ja.times.fixed([1.0, 2.0]), until=4.5)
    assert schedule.delay.tolist() == [0, 0, 2, 1, 0, 2]
    known = {"mean_delay": 5 / 6, "max_delay": 2, "unfinished": 2, "throughput": 6 / 4.5, "utilisation": 1.0}
    assert schedule.summary().items() >= known.items() and schedule.end == 4.5
    stops = ja.policies.synchronous(backup=1)
    summary = ja.simulate(stops, ja.times.fixed([1.0, 1.0, 5.0]), num_updates=3).summary()
    known = {"seconds": 3.0, "arrivals": 6, "unfinished": 6, "discarded": 0.0, "utilisation": 1.0}
    assert summary.items() >= known.items()
    lets = ja.policies.synchronous(backup=1, late="ignore")
    summary = ja.simulate(lets, ja.times.fixed([1.0, 1.0, 5.0]), until=6.0).summary()
    assert summary["arrivals"] == 13 and summary["discarded"] == pytest.approx(1 / 13) and summary["updates"] == 6


def test_jobs_of_several_gradients_last_longer():
    schedule, duration = simulated("jobs of several gradients"), cases.CLOCKS["exponential"]().durations(4)
    assert schedule.size.tolist() == (1 + schedule.worker % 3).tolist() and schedule.size.max() == 3
    for worker in range(N):
        mine = schedule.worker == worker
        expected = [schedule.size[mine][j] * duration(worker, j) for j in range(mine.sum())]
        np.testing.assert_allclose((schedule.time - schedule.start)[mine], expected, rtol=1e-9)


def test_queues_are_first_in_first_out():
    """`read` is stamped when a job is handed out, `start` when it is served, and no worker with a queue is idle."""
    jobs = 3 * N
    schedule = ja.simulate(random_dispatch(jobs), cases.CLOCKS["exponential"](), num_updates=400, seed=2)
    handed = np.concatenate([[0.0], schedule.time])[schedule.read]  # version v is made, and handed out, by row v - 1
    waited = 0
    for worker in range(N):
        mine = np.flatnonzero(schedule.worker == worker)
        assert (np.diff(schedule.read[mine]) >= 0).all()
        free = np.concatenate([[0.0], schedule.time[mine[:-1]]])
        np.testing.assert_array_equal(schedule.start[mine], np.maximum(handed[mine], free))
        waited += (handed[mine] < free).sum()
    total, flying = ages(schedule)
    assert flying == jobs and waited > 200
    assert schedule.delay.sum() + total == (jobs - 1) * 400  # constant concurrency


def test_cancelled_queues():
    """Everybody always has two jobs: when a batch closes, all but the one that arrived are cancelled, unpaid."""
    schedule = simulated("cancelled queues")
    cancelled = schedule.unfinished["kind"] == UNFINISHED.index("cancelled")
    assert cancelled.sum() == (2 * N - 1) * UPDATES and not schedule.delay.any()
    unserved = (schedule.unfinished["seconds"][cancelled] == 0).sum()
    assert unserved == (N - 1) * UPDATES + UPDATES  # the queued ones of the others, and what just began on the worker
    assert schedule.summary()["utilisation"] == pytest.approx(1.0, rel=1e-12)


def test_millions_of_cancelled_jobs_are_counted(monkeypatch):
    """Beyond a limit they are merged by worker; the sums stay the same."""
    full = simulated("cancelled queues")
    monkeypatch.setattr(recording, "MERGE_ABOVE", 20)
    short = simulated("cancelled queues")
    assert len(short.unfinished["count"]) < 50 < len(full.unfinished["count"])
    for name in ("count", "age", "size"):
        assert short.unfinished[name].sum() == full.unfinished[name].sum()
    mine, others = short.summary(), full.summary()
    for name in ("utilisation", "wasted"):
        assert mine.pop(name) == pytest.approx(others.pop(name), rel=1e-12)
    assert mine == others


def test_weights_of_a_closed_batch():
    schedule = simulated("weights at the close")
    for rows in np.split(np.arange(len(schedule)), np.flatnonzero(schedule.step)[:-1] + 1):
        workers = schedule.worker[rows].tolist()
        expected = [1 / (len(set(workers)) * workers.count(worker)) for worker in workers]
        np.testing.assert_array_equal(schedule.weight[rows], expected)
    assert len(set(schedule.weight.tolist())) > 2


def test_luck_belongs_to_the_clock():
    """Job j of worker i lasts the same under every policy; a policy's own random numbers don't move the clock."""
    for clock in ("exponential", "pareto"):
        times, lasted = cases.CLOCKS[clock](), {}
        for name, policy in {"asgd": ja.policies.asgd(), "bounded": bounded(2), "random": random_dispatch(3)}.items():
            schedule = ja.simulate(policy, times, num_updates=100, seed=8)
            lasted[name] = [(schedule.time - schedule.start)[schedule.worker == i] for i in range(N)]
        for name in ("bounded", "random"):
            for mine, others in zip(lasted["asgd"], lasted[name], strict=True):
                common = min(len(mine), len(others))
                np.testing.assert_allclose(mine[:common], others[:common], rtol=1e-9)

    def drawing(rng, event):
        rng.random(17)
        return rng, ja.policies.asgd().on(None, event)[1]

    noisy = ja.Policy(lambda num_workers, rng: (rng, range(num_workers)), drawing, ja.policies.asgd().info)
    runs = [ja.simulate(policy, times, num_updates=100, seed=8) for policy in (noisy, ja.policies.asgd())]
    assert runs[0] == runs[1] and runs[0] != ja.simulate(noisy, times, num_updates=100, seed=9)


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_equal_workers_are_a_fixed_delay(workers):
    """Ties go to the smallest worker: the delay of update t is min(t, n - 1)."""
    schedule = ja.simulate(ja.policies.asgd(), ja.times.fixed(2.0, num_workers=workers), num_updates=50)
    assert schedule.worker.tolist() == [t % workers for t in range(50)]
    assert schedule.delay.tolist() == [min(t, workers - 1) for t in range(50)]


def times_of(clock, workers):
    mean = np.linspace(1, 3, workers)
    return {
        "fixed": ja.times.fixed(mean),
        "exponential": ja.times.exponential(mean),
        "heavy tail": ja.times.pareto(minimum=mean, alpha=0.9),
    }[clock]


@pytest.mark.parametrize("workers", [1, 2, 9])
@pytest.mark.parametrize("clock", ["fixed", "exponential", "heavy tail"])
def test_delays_add_up(clock, workers):
    """In integers: sum of delays + ages in flight = (jobs in flight - 1) x updates; reads before: jobs x updates."""
    for policy, jobs in [
        (ja.policies.asgd(), workers),
        (bounded(3), workers),  # applied and discarded
        (sized(4), workers),
        (random_dispatch(2 * workers + 1, batch=3), 2 * workers + 1),
    ]:
        for reads, each in (("after", jobs - 1), ("before", jobs)):
            schedule = ja.simulate(policy, times_of(clock, workers), num_updates=300, seed=5, reads=reads)
            total, flying = ages(schedule)
            assert (schedule.delay.sum() + total, flying) == (each * 300, jobs)


@pytest.mark.parametrize("clock", ["fixed", "exponential", "heavy tail"])
def test_jobs_without_a_gradient_age_too(clock):
    """The same sum with the ages of what was given up or cancelled: every update ages all other jobs by one."""
    for policy, jobs in [(timeouts(1.5), 6), (restarting(5), 12), (restarting(3, queued=1), 6)]:
        schedule = ja.simulate(policy, times_of(clock, 6), num_updates=200, seed=5)
        lost = schedule.unfinished["age"].sum()
        assert lost > 0 and schedule.delay[schedule.size > 0].sum() + lost == (jobs - 1) * 200


@pytest.mark.parametrize("clock", ["fixed", "exponential", "heavy tail"])
def test_no_more_cells_than_jobs(clock):
    """Whatever the largest delay; synchronous methods need one."""
    times = times_of(clock, 7)
    for policy, jobs in [(ja.policies.asgd(), 7), (bounded(3), 7), (random_dispatch(4), 4), (random_dispatch(8, 2), 8)]:
        schedule = ja.simulate(policy, times, num_updates=300, seed=5)
        assert 1 < ja.plan(schedule).num_cells <= jobs and schedule.delay.max() > 2
    for policy in (ja.policies.synchronous(), ja.policies.synchronous(backup=3), restarting(5)):
        assert ja.plan(ja.simulate(policy, times, num_updates=60)).num_cells == 1


def test_what_never_ends_is_stalled():
    """Infinite durations end a run at once, where nobody else can go on."""
    times = ja.times.custom(lambda rng, worker, count: np.full(count, np.inf if worker else 1.0), num_workers=3)
    schedule = ja.simulate(ja.policies.synchronous(), times, num_updates=5)
    assert (schedule.status, schedule.end, len(schedule)) == ("stalled", 1.0, 1)
    assert ja.simulate(ja.policies.synchronous(), times, until=7.0).end == 7.0
    assert ja.simulate(ja.policies.asgd(), times, num_updates=5).end == 5.0
    assert ja.simulate(timeouts(1.5), times, num_updates=5).status == "finished"
    idle = ja.Policy(lambda num_workers, rng: (None, ()), ja.policies.asgd().on)
    assert ja.simulate(idle, times, num_updates=5).status == "stalled"
    schedule = ja.simulate(bounded(0), times, num_updates=5, max_arrivals=30)
    assert (schedule.status, schedule.num_updates, len(schedule)) == ("stalled", 0, 30)


def test_a_run_without_updates_is_stalled(monkeypatch):
    """One of three workers never delivers, and the policy waits for all; seconds, where given, are the end."""
    monkeypatch.setattr(simulation, "NO_UPDATE", 400)
    times = ja.times.custom(lambda rng, worker, count: np.full(count, np.inf if worker == 2 else 1.0), num_workers=3)
    schedule = ja.simulate(ja.policies.ringleader(), times, num_updates=5)
    assert (schedule.status, schedule.num_updates, len(schedule)) == ("stalled", 0, 401)
    schedule = ja.simulate(ja.policies.ringleader(), times, until=600.0)
    assert (schedule.status, len(schedule)) == ("finished", 1200)


def test_equivalent_methods_draw_the_same_samples():
    """Equal workers that go on at once and are stopped when n gradients are in are the synchronous method."""
    times = ja.times.fixed(1.0, num_workers=N)
    batches, rounds = (ja.simulate(p, times, num_updates=30) for p in (restarting(N), ja.policies.synchronous()))
    for name in ("worker", "visit", "repeat", "read", "weight", "step"):
        np.testing.assert_array_equal(getattr(batches, name), getattr(rounds, name))
    double = ja.simulate(restarting(2 * N), times, num_updates=30)  # twice the batch: the same draws and others
    who = lambda schedule: set(zip(schedule.worker, schedule.visit, schedule.repeat, strict=True))
    assert who(rounds) < who(double) and len(who(double)) == len(double) == 2 * len(rounds)
