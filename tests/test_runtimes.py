"""Threads: what is recorded replays to the same parameters; the table is right; nothing is left behind."""

import _thread
import json
import signal
import threading

import cases
import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracle
import pytest

import jaxasgd as ja
from jaxasgd.runtimes import parameters, working
from jaxasgd.schedule import CANCELLED, LOST, QUEUED, RUNNING, TIMEOUT

P = ja.policies
KEY = jax.random.key(3)
N = cases.N
ONE = jax.devices()[:1]
SGD = optax.sgd(0.05)


@pytest.fixture(autouse=True)
def nobody_is_left():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def threads(problem, policy, rule=None, n=N, updates=60, devices=ONE, **options):
    return ja.runtimes.threads(
        problem, policy, rule, num_workers=n, num_updates=updates, key=KEY, devices=devices, progress=False, **options
    )


def equal(params, recorded, rule, problem):
    """Largest difference to the replay, over all parameters."""
    replayed = ja.run(problem, recorded, rule, key=KEY).params
    pairs = zip(jax.tree.leaves(params), jax.tree.leaves(replayed), strict=True)
    return max(float(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)).max()) for a, b in pairs)


def data(order="shuffled"):
    """Batches of a worker's own samples, in an order that depends on how much it has delivered."""
    return cases.linear(order)[0]


# ------------------------------------------------------------------- replays

EXACT = {
    "asgd": P.asgd(),
    "ringmaster": P.ringmaster(3),
    "ringmaster, stops": P.ringmaster(2, stops=True),
    "synchronous": P.synchronous(),
    "backup": P.synchronous(backup=2),
    "rennala, restart": P.rennala(3, stale="restart"),
    "malenia": P.malenia(N + 2),
    "buffered": P.buffered(3),
    "random": P.dispatched("random"),
    "queues": P.dispatched("pure", concurrency=N + 2),
}


@pytest.mark.parametrize("name", EXACT)
def test_sgd_replays_to_the_bit(name):
    problem = data()
    params, recorded = threads(problem, EXACT[name], SGD)
    assert recorded.num_updates == 60 and recorded.status == "finished" and recorded.num_workers == N
    assert equal(params, recorded, SGD, problem) == 0.0
    assert (recorded.busy <= recorded.time - recorded.start).all() and (recorded.busy > 0).all()
    assert (recorded.start >= 0).all() and recorded.end == recorded.time[-1]


@pytest.mark.parametrize("name", ("asgd", "malenia"))
def test_on_several_devices(name):
    problem = data()
    params, recorded = threads(problem, EXACT[name], SGD, devices=None)
    assert equal(params, recorded, SGD, problem) == 0.0
    assert len(recorded.info["devices"]) == 8
    assert all(leaf.devices() == {jax.devices()[0]} for leaf in jax.tree.leaves(params))


METHODS = {
    "momentum": ja.Method(P.asgd(), optax.sgd(0.02, momentum=0.9)),
    "adam": ja.Method(P.synchronous(), optax.adam(0.02)),
    "scaled by delay": ja.methods.polynomial_asgd(0.05, power=0.5),
    "compensated": ja.methods.dc_asgd_c(0.05),
    "each before the sum": ja.methods.softsync_sgd(0.05, splits=2),
    "tags": ja.methods.ringleader(0.05),
    "what is sent": ja.methods.dana_zero(0.02),
    "local steps": ja.methods.async_diloco(0.5, 0.01, steps=3, inner="sgd"),
    "workers' states": ja.methods.dana_slim(0.02),
    "replicas, private": ja.methods.easgd(0.1),
}


@pytest.mark.parametrize("name", METHODS)
def test_methods_replay(name):
    problem = data_of(3)
    params, recorded = threads(problem, METHODS[name], devices=jax.devices()[:2], n=3)
    assert equal(params, recorded, METHODS[name], problem) < 1e-6


def test_it_is_asynchronous():
    """Delays are there, n - 1 on average; the samples of a recorded run are those of a simulated one."""
    _, recorded = threads(data(), P.asgd(), SGD, updates=200, slow=[1, 1, 1, 1, 3])
    assert recorded.delay.sum() + recorded.unfinished["age"].sum() == (N - 1) * 200
    assert recorded.delay.max() > 0 and recorded.unfinished["kind"].tolist() == [RUNNING] * N
    assert len(set(recorded.worker.tolist())) == N


# ------------------------------------------------------------------- an oracle in NumPy


@pytest.mark.parametrize("policy", (P.asgd(), P.malenia(N + 1), P.ringmaster(2, stops=True)))
def test_against_numpy(x64, policy):
    """The recorded table, followed by a slow loop that keeps every version: the run ends where the loop does."""
    for make in (cases.quadratic, lambda: cases.linear("cyclic")):
        problem, x0, gradient, _ = make()
        params, recorded = threads(problem, policy, optax.sgd(0.1), updates=40)
        samples = cases.Samples(problem, KEY)
        xs = oracle.replay(recorded, x0, lambda x, job, unit, g=gradient, s=samples: g(x, s(job)), oracle.sgd(0.1))
        assert params.dtype == jnp.float64
        np.testing.assert_allclose(params, xs[-1], rtol=1e-10, atol=1e-12)


def test_workers_states_against_numpy(x64):
    """Each adds to its gradient half of what it sent last that was used; what was thrown away is forgotten."""
    problem, x0, gradient, _ = cases.quadratic()

    def compute(gradient, stale, state, samples, size):
        g = gradient(stale, jax.tree.map(lambda a: a[0], samples)) + state
        return g, g / 2

    work = ja.work.Work(lambda params, num_workers: jnp.zeros((num_workers, *params.shape)), compute)
    late = P.Policy(  # every third gradient is thrown away
        lambda n, rng: ([0], range(n)),
        lambda count, event: (
            [count[0] + 1],
            ja.Decision(use=count[0] % 3 != 2, step=count[0] % 3 != 2, start=(event.worker,)),
        ),
    )
    params, recorded = threads(problem, ja.Method(late, optax.sgd(0.02), work=work))
    state, xs = np.zeros((N, 4)), [x0]
    samples = cases.Samples(problem, KEY)
    for k, worker in enumerate(recorded.worker):
        if recorded.use[k]:
            job = oracle.Job(
                int(worker), 0.0, 0, int(recorded.visit[k]), int(recorded.repeat[k]), int(recorded.turn[k])
            )
            g = gradient(xs[recorded.read[k]], samples(job)) + state[worker]
            state[worker] = g / 2
            xs.append(xs[-1] - 0.02 * g)
    np.testing.assert_allclose(params, xs[-1], rtol=1e-10)


# ------------------------------------------------------------------- jobs without a gradient


def test_stopped_jobs_are_recorded():
    _, recorded = threads(data(), P.ringmaster(2, stops=True), SGD, updates=100)
    lost = recorded.unfinished
    assert recorded.delay.max() < 2 and (lost["kind"] == CANCELLED).sum() > 20
    assert recorded.delay.sum() + lost["age"].sum() == (N - 1) * 100  # exactly
    assert (lost["seconds"][lost["kind"] == CANCELLED] > 0).any(), "calls go on to their end"
    assert (lost["seconds"] <= lost["time"] - lost["start"] + 1e-9).all() and (
        lost["time"] <= recorded.end + 1e-9
    ).all()
    assert set(lost["kind"].tolist()) <= {RUNNING, QUEUED, CANCELLED}


def test_timeouts():
    """Who takes longer is given up."""
    times = ja.times.fixed([0.002, 0.002, 0.15])
    policy = P.mindflayer(trials=2, timeouts=[10.0, 10.0, 0.02], success=1.0)
    params, recorded = threads(data_of(3), policy, SGD, n=3, times=times, updates=3)
    late = recorded.unfinished["kind"] == TIMEOUT
    assert set(recorded.unfinished["worker"][late].tolist()) == {2} and 2 not in recorded.worker[recorded.size > 0]
    assert recorded.num_updates == 3 and equal(params, recorded, SGD, data_of(3)) < 1e-6


def data_of(n):
    X, y = cases.regression_data()
    return ja.problems.linear(X, y, batch_size=3, shards=ja.problems.shard(60, n, how="iid"), order="cyclic")


def test_until():
    params, recorded = ja.runtimes.threads(
        data(), P.asgd(), SGD, num_workers=N, until=0.2, key=KEY, devices=ONE, progress=False
    )
    assert recorded.end == 0.2 and recorded.time[-1] <= 0.2 and recorded.num_updates > 0
    assert equal(params, recorded, SGD, data()) == 0.0


def test_nothing_to_do():
    params, recorded = threads(data(), P.asgd(), SGD, updates=0)
    assert len(recorded) == 0 and recorded.end == 0.0 and params.shape == (4,)


# ------------------------------------------------------------------- slowness


def test_slow_workers():
    """A job lasts the factor times its computing, at least."""
    problem = data_of(2)
    _, recorded = threads(problem, P.asgd(), SGD, n=2, updates=40, times=ja.times.fixed([1.0, 3.0]), seconds=0.004)
    for worker, least in enumerate((0.004, 0.012)):
        assert recorded.seconds[recorded.worker == worker].min() >= least
    assert recorded.info["pace"]["factor"] == 0.004
    _, recorded = threads(problem, P.synchronous(), SGD, n=2, updates=20, slow=[1, 30])
    steps = [np.median(recorded.seconds[recorded.worker == worker]) for worker in range(2)]
    assert steps[1] > 3 * steps[0] and recorded.info["slow"] == [1.0, 30.0]


def test_a_worker_that_never_ends_is_not_waited_for():
    times = ja.times.fixed([0.001, 0.001, 1e6])
    _, recorded = threads(data_of(3), P.asgd(), SGD, n=3, times=times, updates=20)
    assert 2 not in recorded.worker and recorded.end < 60


# ------------------------------------------------------------------- workers that fail


def fault(worker, job):
    if (worker, job) == (2, 3):
        raise OSError("disk")


@pytest.mark.parametrize("on_failure", ("drop", "restart"))
def test_a_worker_fails_and_the_run_goes_on(on_failure):
    """With the state of its own that it had, where another takes its place."""
    method = ja.methods.dana_slim(0.02)
    params, recorded = threads(data(), method, updates=100, before_job=fault, on_failure=on_failure)
    lost = recorded.unfinished["kind"] == LOST
    assert recorded.unfinished["worker"][lost].tolist() == [2] and recorded.num_updates == 100
    number = (recorded.worker == 2).sum()
    assert number == 3 if on_failure == "drop" else number > 3
    assert equal(params, recorded, method, data()) < 1e-6


def test_a_worker_fails_and_the_run_ends():
    with pytest.raises(RuntimeError, match=r"worker 2 failed in its job 3, at version \d+ \(OSError: disk\)") as caught:
        threads(data(), P.asgd(), SGD, updates=100_000, before_job=fault)
    assert isinstance(caught.value, ja.runtimes.WorkerFailed) and isinstance(caught.value.__cause__, OSError)
    recorded = caught.value.recorded
    assert 0 < recorded.num_updates < 100_000 and "OSError" in recorded.info["ended by"]
    assert equal(caught.value.params, recorded, SGD, data()) == 0.0


def test_all_workers_fail():
    def broken(worker, job):
        if job == 2:
            raise OSError("disk")

    _, recorded = threads(data(), P.asgd(), SGD, before_job=broken, on_failure="drop")
    assert recorded.status == "stalled" and recorded.num_updates == 2 * N
    assert (recorded.unfinished["kind"] == LOST).sum() == N
    with pytest.raises(ja.runtimes.WorkerFailed, match="the 10th time in a row"):
        threads(data(), P.asgd(), SGD, updates=100_000, before_job=lambda w, j: 1 / (w - 2), on_failure="restart")


def test_errors_while_compiling_are_the_users_own():
    checked = []

    def loss(w, batch):
        if checked:
            raise TypeError("my own")
        return jnp.vdot(w, w)

    problem = ja.problems.from_loss(loss, jnp.zeros(2), np.zeros((4, 2)))
    checked.append(True)
    with pytest.raises(TypeError, match="my own"):
        threads(problem, P.asgd(), SGD)


def test_a_policy_that_fails():
    wrong = P.asgd()._replace(on=lambda state, event: (state, ja.Decision(use=True, step=True, start=(99,))))
    with pytest.raises(ValueError, match=r"the policy started worker 99; workers are 0\.\.\.4"):
        threads(data(), wrong, SGD)


def test_rules_that_want_one_gradient():
    """`stale` is told of steps of one row; of others it is an error, at the first of them."""
    rule = optax.chain(ja.rules.compensate_delay(0.04), SGD)
    with pytest.raises(ValueError, match=r"use the rule as Method\(arrival=...\)"):
        threads(data(), P.synchronous(), rule)


def test_policies_that_say_what_was_read():
    with pytest.raises(ValueError, match="is for simulation: here workers read what they were sent"):
        threads(data(), P.hogwild(2), SGD)


@pytest.mark.skipif(threading.current_thread() is not threading.main_thread(), reason="signals are for the main thread")
def test_interrupted():
    """Ctrl-C ends the run between two updates; what it had come to is there, and whole."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def press(worker, job):
        if (worker, job) == (1, 10):
            _thread.interrupt_main()

    try:
        with pytest.raises(KeyboardInterrupt) as caught:
            threads(data(), P.asgd(), SGD, updates=100_000, before_job=press)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    recorded = caught.value.recorded
    assert recorded.num_updates >= 10 and recorded.info["ended by"] == "interrupted"
    assert equal(caught.value.params, recorded, SGD, data()) == 0.0


# ------------------------------------------------------------------- the rest


def test_what_is_recorded_is_told(tmp_path):
    _, recorded = threads(data(), ja.methods.ringmaster(0.05, bound=3))
    info = recorded.info
    assert info["runtime"] == "threads" and info["policy"] == "ringmaster" and info["bound"] == 3
    assert {"versions", "devices", "compile_seconds", "seed"} <= set(info) and "times" not in info
    assert ja.Schedule.load(recorded.save(tmp_path / "recorded.npz")) == recorded
    assert str(tmp_path) not in json.dumps(info)


def test_the_second_run_does_not_compile():
    """Another learning rate, problem and rule made anew."""
    sizes = []
    for rate in (0.05, 0.1):
        threads(data(), P.asgd(), optax.sgd(rate))
        sizes.append((working.compiled_job._cache_size(), parameters.serve._cache_size()))
    assert sizes[0] == sizes[1]


def test_threads_have_the_callers_settings():
    seen = []
    with jax.default_matmul_precision("float32"), jax.enable_x64(True):
        look = lambda worker, job: seen.append((jax.config.jax_default_matmul_precision, jax.config.jax_enable_x64))
        threads(data(), P.asgd(), SGD, updates=5, before_job=look)
    assert set(seen) == {("float32", True)}


def test_the_callers_arrays_are_left_alone():
    """Also by a rule whose state is the parameters: states are donated."""
    problem = data()
    rule = optax.GradientTransformation(lambda p: p, lambda g, s, p: (jax.tree.map(lambda g: -0.1 * g, g), p))
    for _ in range(2):
        params, recorded = threads(problem, P.asgd(), rule)
        assert equal(params, recorded, rule, problem) == 0.0


def test_public_names_are_documented():
    assert all((getattr(ja.runtimes, name).__doc__ or "").strip() for name in ja.runtimes.__all__)


def bad(**options):
    given = {"num_workers": 2, "num_updates": 5, "key": KEY} | options
    problem, policy, rule = (given.pop(k, v) for k, v in (("problem", data_of(2)), ("policy", P.asgd()), ("rule", SGD)))
    return lambda: ja.runtimes.threads(problem, policy, rule, **given)


ERRORS = {
    "no problem": (bad(problem=3), ["a problem is a ja.problems.Problem", "3"]),
    "no policy": (bad(policy=SGD), ["a policy is a ja.Policy", "ja.Method"]),
    "no rule": (bad(rule=None), ["a policy goes with a rule", "none"]),
    "a rule that is none": (bad(rule=3), ["rule", "optax"]),
    "two rules": (bad(policy=ja.methods.asgd(0.1)), ["a Method has its rule", "leave rule out"]),
    "no key": (bad(key=0), ["key is one typed JAX key"]),
    "no end": (bad(num_updates=None), ["num_updates=", "until="]),
    "a bad end": (bad(until=-1.0), ["until", "0 or more", "-1"]),
    "half an update": (bad(num_updates=1.5), ["num_updates", "1.5"]),
    "no workers": (bad(num_workers=None), ["num_workers=8"]),
    "zero workers": (bad(num_workers=0), ["num_workers", "1 or more"]),
    "shards of others": (bad(num_workers=3), ["2 workers", "3 workers"]),
    "a device that is none": (bad(devices=["cpu"]), ["jax.local_devices()", "cpu"]),
    "no devices": (bad(devices=[]), ["jax.local_devices()"]),
    "too fast": (bad(slow=0.5), ["slow", "1 or more", "0.5"]),
    "slowness of others": (bad(slow=[1, 2, 3]), ["slow", "each of 2 workers", "[1, 2, 3]"]),
    "slowness that is none": (bad(slow="very"), ["slow", "'very'"]),
    "slow twice": (bad(slow=2.0, times=ja.times.fixed([0.1, 0.1])), ["slow=", "times=", "both"]),
    "times that are none": (bad(times=0.1), ["times is a law of seconds", "0.1"]),
    "times of others": (bad(times=ja.times.fixed([0.1])), ["1 workers", "num_workers=2"]),
    "times with messages": (
        bad(times=ja.times.with_messages(ja.times.fixed([1.0, 1.0]), up=0.1)),
        ["messages", "real here"],
    ),
    "seconds of nothing": (bad(seconds=2.0), ["seconds", "times="]),
    "no seconds": (bad(times=ja.times.fixed([1.0, 1.0]), seconds=0.0), ["seconds", "above 0"]),
    "what happens then": (bad(on_failure="retry"), ['"stop"', '"drop"', '"restart"', "'retry'"]),
    "a seed": (bad(seed=-1), ["seed", "0 or more"]),
    "no function": (bad(before_job=3), ["before_job", "(worker, job)", "3"]),
    "a method that needs a clock": (
        bad(policy=ja.methods.mindflayer(0.1, trials=2, timeouts=1.0), rule=None),
        ["from the clock", "here is none"],
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    call, words = ERRORS[name]
    with pytest.raises(ValueError) as caught:
        call()
    assert all(word in str(caught.value) for word in words), str(caught.value)
