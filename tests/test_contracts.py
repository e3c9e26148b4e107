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
from jaxasgd import planning, simulation
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
        scale = (1.0 + delay) ** -0.5 + weight + (version - read) / 10 + jnp.where(step, progress, jnp.nan)
        scale = scale + sum(factor * others[name] for name, factor in tags.items())
        v = 0.7 * v + scale * g + 0.01 * params
        return -0.04 * v, v

    return optax.GradientTransformationExtraArgs(jnp.zeros_like, update)


def plain_momentum(num_updates, **tags):
    v = 0.0

    def rule(x, g, delay, version, weight, **others):
        nonlocal v
        scale = (1.0 + delay) ** -0.5 + weight + delay / 10 + np.float32(version / num_updates)
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
    return problem, x0, lambda x, *who: gradient(x, samples(*who))


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


def compensated(strength):
    """Delay-compensated gradients with a momentum, and a step of each worker's own; `stale` is what was read."""

    def update(g, v, params, *, stale, worker, **_):
        v = 0.7 * v + (1 + worker / 10) * (g + strength * g * g * (params - stale))
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
        v = 0.7 * v + (1 + worker / 10) * (g[0] + 0.5 * g[0] ** 2 * (x - sent(pairs[read])))
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
    alone = ja.run(problem, schedule, ja.Method(bounded(1), ja.late(rule)), key=jax.random.fold_in(jax.random.key(0), 0))
    assert seen[-1] == (N, None) and alone.loss[-1] == table.final("made")[0]
