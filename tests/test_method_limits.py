"""Methods at their limits: widths, devices, empty and stalled runs, both read conventions, reuse, specs."""

import dataclasses
import functools
import json

import cases
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxasgd as ja

KEY = jax.random.key(6)
N = cases.N
P, R, M = ja.policies, ja.rules, ja.methods
TIMES = ja.times.lognormal(np.linspace(1, 4, N), sigma=1.0)
every_method = pytest.mark.parametrize("name", cases.METHODS)
COLUMNS = ("time", "start", "worker", "read", "visit", "repeat", "size", "use", "weight", "step")


def make(name):
    row = cases.METHODS[name]
    return row.make(**row.numbers, **row.options)


def play(name, times=TIMES, **options):
    return ja.simulate(make(name), times, **({"num_updates": 40} | options))


# ------------------------------------------------------------------ runs


@pytest.mark.parametrize(
    "name", ["ringleader", "fedasync", "hogwild", "mindflayer", "dana_slim", "sync_sgd", "rennala", "malenia"]
)
def test_side_by_side(x64, name):
    """Gradients computed four at a time, or on eight devices: the same run. One of each mechanism."""
    problem, *_ = cases.quadratic()
    schedule, method = play(name, num_updates=30, seed=3), make(name).bind(N, TIMES)
    run = lambda **how: ja.run(problem, schedule, method, key=KEY, evaluate=10, **how)
    one = run(width=1)
    spread = [{"devices": jax.devices()}] if name == "fedasync" else []
    for how in ({"width": 4}, *spread):
        many = run(**how)
        np.testing.assert_allclose(many.params, one.params, rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(many.loss, one.loss, rtol=1e-11, atol=1e-12)
    again = run(width=1)  # bit for bit
    assert np.array_equal(again.params, one.params) and np.array_equal(again.loss, one.loss)


@every_method
def test_ends(name):
    """No updates, one update, no seconds, some seconds."""
    one = play(name, num_updates=1)
    assert one.num_updates == 1 and one.step[-1] and one.status == "finished" and one.end == one.time[-1]
    for nothing in (play(name, num_updates=0), play(name, num_updates=None, until=0.0)):
        assert len(nothing) == nothing.num_updates == 0 and nothing.end == 0 and nothing.status == "finished"
        ja.plan(nothing)
    seconds = 20.0 * cases.METHODS[name].units
    some = play(name, num_updates=None, until=seconds)
    assert some.end == seconds and some.time[-1] <= seconds and some.num_updates > 0
    rows = play(name, num_updates=some.num_updates)  # the same beginning
    for column in COLUMNS:
        np.testing.assert_array_equal(getattr(some, column)[: len(rows)], getattr(rows, column))


@pytest.mark.parametrize("name", ["ringleader", "hogwild", "piag", "fedbuff", "mindflayer"])
def test_a_run_without_updates_is_the_start(name):
    problem, x0, *_ = cases.quadratic()
    history = ja.run(problem, play(name, num_updates=0), make(name).bind(N, TIMES), key=KEY)
    np.testing.assert_allclose(history.params, x0.astype(np.float32))
    assert len(history.loss) == 1 and history.ended == 0 and history.status == ja.Status.OK


def clock(dead):
    """Workers who never deliver; their mean is not told as infinite, so that every method begins."""
    draw = lambda rng, i, count: np.full(count, np.inf) if i in dead else (1.0 + i) * rng.uniform(0.9, 1.1, count)
    return ja.times.custom(draw, N, mean=np.arange(1.0, N + 1))


@every_method
def test_dead_workers(name):
    """Nobody delivers: stalled at once. One never does: methods that need everybody, or queue at anybody, stall."""
    schedule = play(name, clock(range(N)))
    if name == "mindflayer":
        assert schedule.status == "finished" and not schedule.use.any()  # time-outs
    else:
        assert schedule.status == "stalled" and len(schedule) == schedule.num_updates == 0
    schedule = play(name, clock([3]), max_arrivals=3000)
    policy = cases.METHODS[name].make.entry.policy
    needed = policy in ("malenia", "ringleader", "aggregated", "ssp")
    needed = needed or name.startswith(("sync_", "diloco", "fedavg", "random", "shuffled"))
    assert (schedule.status == "stalled") == needed
    assert np.isfinite(schedule.time).all() and np.isfinite(schedule.end)
    schedule.summary()


# --------------------------------------------------------------- the claims


@every_method
def test_reads_before(name):
    """The other convention runs; what counts fresh gradients only still does, and bounds of delays grow by one."""
    after, before = (play(name, num_updates=100, reads=reads) for reads in ("after", "before"))
    policy = cases.METHODS[name].make.entry.policy
    largest = lambda schedule: int(schedule.delay[schedule.use].max(initial=0))
    assert before.status == "finished" and before.num_updates == 100 and (before.delay >= 0).all()
    if policy in ("rennala", "malenia"):
        assert largest(before) == largest(after) == 0
    elif policy == "ringmaster":
        bound = 10 if name.startswith("agnostic") else 3  # the square root of the version
        assert largest(before) < bound and largest(after) < bound
    elif policy in ("synchronous", "mindflayer"):
        assert largest(after) == 0 and largest(before) == 1
    elif policy == "ringleader":
        ages = [np.nanmax(schedule.tags["delay"]) for schedule in (after, before)]
        assert ages[0] <= 2 * N - 2 and ages[1] <= 2 * N - 1
    elif policy == "asgd":
        total = lambda schedule: schedule.delay.sum() + schedule.unfinished["age"].sum()
        assert total(after) == (N - 1) * 100 and total(before) == N * 100


@pytest.mark.parametrize("bound", [0, 1, 2])
def test_delays_under_a_gate(bound):
    """At most (2 bound + 1)(n - 1); with bounds of 0 and 1 some clock comes there."""
    found, most = [], (2 * bound + 1) * (N - 1)
    for seed in range(30):
        rng = np.random.default_rng(seed)
        times = ja.times.lognormal(rng.uniform(0.2, 5, N), sigma=rng.uniform(0.1, 1.5))
        found.append(int(ja.simulate(P.ssp(bound), times, num_updates=300, seed=seed).delay.max()))
    assert max(found) <= most and (bound > 1 or max(found) >= most - 1)


@every_method
def test_weights_sum_to_one(name):
    """A policy averages: of MindFlayer only on average, of SSP with every gradient in full."""
    schedule = play(name, num_updates=400)
    updates = schedule.version[schedule.use]
    sums = np.bincount(updates, schedule.weight[schedule.use], minlength=schedule.num_updates)[: schedule.num_updates]
    if name == "mindflayer":
        success = np.mean([schedule.weight.max() and (sums > 0).mean()])
        assert 0 < success <= 1 and len(set(sums.round(9))) > 1
    else:
        np.testing.assert_allclose(sums, 1.0, rtol=1e-12)


def test_mindflayer_is_right_on_average():
    """With the probabilities of the law the weights of a round sum to one, to four standard errors."""
    method = M.mindflayer(0.1, (2, 1, 3, 1, 1), (1.0, 2.0, 1.5, 5.0, 4.0)).bind(N, TIMES)
    schedule = ja.simulate(method, TIMES, num_updates=4000, seed=2)
    sums = np.bincount(schedule.version[schedule.use], schedule.weight[schedule.use], minlength=4000)
    assert abs(sums.mean() - 1) < 4 * sums.std() / np.sqrt(4000) + 0.01  # 0.01: of the probabilities
    assert np.diff(np.append(0, schedule.time[schedule.step])).max() <= 5.0 + 1e-9


def test_the_same_jobs_for_all():
    """A unit of the j-th job of a worker lasts the same under every policy that lets it end."""
    known = {}
    for name in cases.METHODS:
        schedule = play(name)
        gone = schedule.unfinished["kind"] == ja.schedule.UNFINISHED.index("cancelled")
        if gone.any() or name == "mindflayer":
            continue
        for i in range(N):
            mine = schedule.worker == i
            seconds = (schedule.time[mine] - schedule.start[mine]) / schedule.size[mine]
            more = known.setdefault(i, seconds)
            short = min(len(more), len(seconds))
            np.testing.assert_allclose(seconds[:short], more[:short], rtol=1e-9, err_msg=name)
            known[i] = max(more, seconds, key=len)


@every_method
def test_copies_of_the_parameters(name):
    """At most one for each job in flight; for each of its groups, where a read takes time."""
    jobs = cases.METHODS[name].options.get("concurrency") or N
    jobs = N if "late" in name or "of 2" in name else jobs
    assert ja.plan(play(name, num_updates=200), evaluate=1000).num_cells <= jobs * cases.METHODS[name].options.get(
        "groups", 1
    )


def scaled(rule, **known):
    return float(rule.update(jnp.ones(()), rule.init(jnp.zeros(())), jnp.zeros(()), **known)[0])


def test_step_sizes_by_formula():
    """Koloskova et al.: at most 1 / (4 L delay) where late. AdaDelay: 1 / (L + c sqrt(t + delay)), L = c * offset."""
    method = M.koloskova_asgd(0.2, smoothness=3.0).bind(4)
    for delay in range(1, 30):
        step = -scaled(method.rule, delay=delay)
        assert step == pytest.approx(0.2 if delay <= 4 else min(0.2, 1 / (12 * delay)))
    L, c = 2.0, 0.5
    method = M.adadelay(1 / c, offset=L / c)
    for t, delay in [(1, 0), (5, 3), (100, 44)]:
        step = -scaled(method.rule, version=t - 1, delay=delay)
        assert step == pytest.approx(1 / (L + c * np.sqrt(t + delay)))
    assert np.isnan(scaled(R.scale_by_worker([0.5, 2.0]), worker=2))  # no factor for this worker


@pytest.mark.filterwarnings("ignore:.*to the bit:jaxasgd.DoubtWarning")  # x stays, as it should
def test_entries_that_are_all_too_old(x64):
    """ACED with max_age 0: x stays where every entry is older. FedAsync with mixing 1: the worker's model is x."""
    problem, *_ = cases.quadratic()
    schedule = ja.simulate(M.ace(0.1), ja.times.fixed(1.0, num_workers=N), num_updates=12)
    history = ja.run(problem, schedule, M.ace(0.1, max_age=0), key=KEY, evaluate=1)
    moved = np.diff(history.loss) != 0
    fresh = schedule.delay[schedule.step] == 0
    assert not moved[~fresh].any() and moved[fresh].all() and 0 < fresh.sum() < 12
    schedule = ja.simulate(P.asgd(), TIMES, num_updates=12)
    flat = ja.problems.quadratic(spectrum=np.ones(2), centers=np.zeros((N, 2)), start=np.ones(2))
    whole = ja.run(flat, schedule, M.fedasync(0.25, 1.0, staleness="constant"), key=KEY).params
    models = [np.ones(2)]  # with `mixing` 1 the worker's model replaces the server's
    for read in schedule.read:
        models.append(0.75 * models[read])
    np.testing.assert_allclose(whole, models[-1], rtol=1e-12)


def test_lasso(x64):
    """PIAG with l1 ends at the minimum of f + l1 ||x||_1, zeros exactly zero; no worker's data is left out."""
    spectrum, centers = np.array([0.5, 1.0, 2.0]), np.array([[1.0, 3.0, -1.0], [0.0, -2.9, -3.0]])
    problem = ja.problems.quadratic(spectrum=spectrum, centers=centers)
    times, center = ja.times.exponential([1.0, 5.0]), centers.mean(axis=0)
    best = np.sign(center) * np.maximum(np.abs(center) - 0.3 / spectrum, 0)
    method = M.piag(0.4, l1=0.3)
    params = ja.run(problem, ja.simulate(method, times, num_updates=600), method, key=KEY, evaluate=600).params
    np.testing.assert_allclose(params, best, atol=1e-9)
    assert (np.asarray(params) == 0).tolist() == [True, True, False]


def test_a_group_is_a_leaf(x64):
    """As many groups as leaves: Hogwild! reads leaf by leaf, against a slow loop."""
    target = {"a": np.array([1.0, -2.0, 3.0]), "b": np.array(0.5)}
    loss = lambda p, batch: jnp.sum((p["a"] * p["b"] - target["a"]) ** 2) / 2 + 0.0 * batch.sum()
    start = {"a": np.zeros(3), "b": np.array(1.0)}
    problem = ja.problems.from_loss(loss, start, np.zeros((1, 1)))
    schedule = ja.simulate(M.hogwild(0.05, groups=2), TIMES, num_updates=40, seed=1)
    assert (schedule.read[:, 0] < schedule.read[:, 1]).any()
    versions = [(start["a"], start["b"])]
    for first, second in schedule.read:
        a, b = versions[first][0], versions[second][1]
        rest = a * b - target["a"]
        versions.append((versions[-1][0] - 0.05 * b * rest, versions[-1][1] - 0.05 * a @ rest))
    params = ja.run(problem, schedule, optax.sgd(0.05), key=KEY).params
    np.testing.assert_allclose(params["a"], versions[-1][0], rtol=1e-12)
    np.testing.assert_allclose(params["b"], versions[-1][1], rtol=1e-12)


# ------------------------------------------------------------------- reuse


@every_method
def test_objects_are_reused(name):
    """Another run of the same object in the middle of a run, or with another number of workers, leaves no trace."""
    method = make(name)
    alone, bound = play(name, seed=1), method.bind(N, TIMES)
    policy = bound.policy
    told = "told" in name or name == "mindflayer" or policy.info["policy"] == "fastest"  # of N workers
    number = N if told else 9
    other = ja.times.exponential(1.0, num_workers=number)
    seen = 0

    def on(state, event):
        nonlocal seen
        seen += 1
        if seen in (3, 17):
            ja.simulate(policy, other, num_updates=15, seed=seen)
        return policy.on(state, event)

    inside = ja.simulate(dataclasses.replace(bound, policy=policy._replace(on=on)), TIMES, num_updates=40, seed=1)
    ja.simulate(method, other, num_updates=15)
    for schedule in (inside, ja.simulate(method, TIMES, num_updates=40, seed=1)):
        for column in COLUMNS:
            np.testing.assert_array_equal(getattr(schedule, column), getattr(alone, column))
        for tag, values in alone.tags.items():
            np.testing.assert_array_equal(schedule.tags[tag], values)


# -------------------------------------------------------------------- specs


def test_compare_saves_what_it_was_told(tmp_path):
    """Numbers of NumPy's and JAX's, arrays, tuples, None, functions: a spec of JSON, read again as it was."""
    problem = ja.problems.quadratic(dim=3, noise=0.1)
    methods = {
        "schedule": M.asgd(optax.exponential_decay(0.1, 10, 0.9)),
        "NumPy's": M.asgd(np.float32(0.125)),
        "JAX's": M.asgd(jnp.bfloat16(0.125)),
        "whole": M.ringmaster(np.array(0.125), np.int64(3), stops=np.True_),
        "arrays": M.mindflayer(0.1, np.array([1, 1, 0, 2, 1]), (2.0,) * N, jnp.full(N, 0.5)),
        "None": M.random_asgd(0.125),
        "functions": M.async_minibatch_sgd(0.1, 2, base=functools.partial(optax.sgd, momentum=0.5)),
        "seconds": M.rescaled_asgd(0.1, seconds=jnp.arange(1.0, N + 1)),
        "mine": ja.Method(
            P.asgd(), optax.sgd(0.125), name="mine", info={"rate": np.float64(0.125), "of": np.arange(2)}
        ),
    }
    few = {name: methods[name] for name in ("arrays", "mine")}
    table = ja.compare(problem, TIMES, few, until=10.0, seeds=2, points=2)
    bound = {name: method.bind(N, TIMES) for name, method in methods.items()}
    told = {name: {"name": method.name, **method.info, **method.policy.info} for name, method in bound.items()}
    assert told["arrays"] == table.spec["methods"]["arrays"]
    table.spec["methods"] |= told
    table.save(tmp_path / "a")
    back = ja.results.load(tmp_path / "a")
    assert str(back) == str(table) and back.methods == list(few)
    strict = lambda word: pytest.fail(f"{word} is no JSON")
    told = json.loads((tmp_path / "a" / "spec.json").read_text(), parse_constant=strict)["methods"]
    assert told["NumPy's"]["learning_rate"] == told["JAX's"]["learning_rate"] == told["mine"]["rate"] == 0.125
    assert told["whole"] | {"bound": 3, "stops": True, "learning_rate": 0.125} == told["whole"]
    assert told["arrays"]["trials"] == [1, 1, 0, 2, 1] and told["arrays"]["success"] == [0.5] * N
    assert told["None"]["concurrency"] is None and told["seconds"]["seconds"] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert "exponential_decay" in told["schedule"]["learning_rate"] and told["functions"]["base"] == "partial"


@pytest.mark.parametrize("rule", [R.average_latest, R.average_rounds, lambda n: R.average_young(n, 9)])
def test_a_table_too_short(rule):
    """A table for two workers, and a third: nan as in scale_by_worker, or an error; not a wrong number."""
    rule = rule(2)

    def deliver(state, worker):
        update, state = rule.update(1.0 + worker, state, worker=worker, version=0, read=0, table=0, count=0)
        return state, update

    _, updates = jax.jit(lambda workers: jax.lax.scan(deliver, rule.init(jnp.zeros(())), workers))(jnp.arange(3))
    assert not np.isfinite(updates[2])
