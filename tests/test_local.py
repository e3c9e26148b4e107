"""Local steps against plain loops, and federated averaging: what its special cases are."""

import dataclasses

import cases
import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracle_local as local
import pytest

import jaxasgd as ja

KEY, N = jax.random.key(3), cases.N
TIMES = cases.CLOCKS["lognormal"]()
INNER = {  # ours, and the oracle's
    "SGD": (lambda lr: optax.sgd(lr), local.sgd),
    "momentum": (lambda lr: optax.sgd(lr, 0.7), lambda lr: local.momentum_sgd(lr, 0.7)),
    "Adam": (lambda lr: optax.adam(lr), lambda lr: local.adamw(lr, decay=0.0)),
    "AdamW": (lambda lr: optax.adamw(lr, weight_decay=0.1), lambda lr: local.adamw(lr, decay=0.1)),
}


def method_of(work, server=1.0):
    return ja.Method(ja.policies.asgd(), optax.sgd(server), work=work)


def end(method, schedule, problem, **options):
    return np.asarray(ja.run(problem, schedule, method, key=KEY, evaluate=10, **options).params)


def both(one, other, problem=None, times=TIMES, updates=40, rtol=1e-11):
    """Two methods come to the same parameters, each on its own schedule; these are given back."""
    problem = cases.quadratic()[0] if problem is None else problem
    schedules = [ja.simulate(m, times, num_updates=updates, seed=2) for m in (one, other)]
    ends = [end(m.bind(N, times), s, problem) for m, s in zip((one, other), schedules, strict=True)]
    np.testing.assert_allclose(*ends, rtol=rtol)
    assert np.abs(ends[0] - cases.quadratic()[1]).max() > 1e-2
    return schedules


# -------------------------------------------------------------- local steps


@pytest.mark.parametrize(
    ("inner", "keep", "steps"),
    [
        ("SGD", False, 1),
        ("SGD", False, 3),
        ("SGD", False, (2, 3, 1, 4, 2)),
        ("momentum", False, (2, 3, 1, 4, 2)),
        ("momentum", True, (2, 3, 1, 4, 2)),
        ("Adam", True, (2, 3, 1, 4, 2)),
        ("AdamW", False, (2, 3, 1, 4, 2)),
        ("AdamW", True, 3),
    ],
)
def test_local_steps_are_a_plain_loop(x64, inner, keep, steps):
    """Also with numbers of steps of each worker's own; every step has the sample of its unit."""
    problem, x0, gradient, _ = cases.quadratic()
    make, slow = INNER[inner]
    method = method_of(ja.work.local_steps(steps, make(0.04), keep=keep), server=0.8)
    schedule = ja.simulate(method, TIMES, num_updates=30, seed=1)
    sizes = [steps] * N if isinstance(steps, int) else list(steps)
    samples = cases.Samples(problem, KEY, units=max(sizes))
    at = lambda x, job, unit: gradient(x, samples(job, unit))
    server = lambda xs, job, stale, y: xs[-1] - 0.8 * (stale - y)
    trace = local.asynchronous(x0, at, TIMES.durations(1), N, 30, sizes, local.Inner(lambda: slow(0.04), keep), server)
    np.testing.assert_array_equal(schedule.size, trace.column(6))
    np.testing.assert_allclose(end(method, schedule, problem), trace.xs[-1], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_one_step_is_a_gradient_to_the_bit(dtype):
    work, stale = ja.work.local_steps(1, optax.sgd(0.3)), jnp.linspace(-1, 1, 9).astype(dtype)
    gradient = lambda x, sample: jnp.sin(x) + sample.astype(x.dtype)
    samples = jnp.linspace(2, 3, 9)[None]
    update, state = work.compute(gradient, stale, (), samples, jnp.int32(1))
    np.testing.assert_array_equal(
        update, -optax.sgd(0.3).update(gradient(stale, samples[0]), optax.sgd(0.3).init(0))[0]
    )
    assert state == () and update.dtype == stale.dtype


def test_a_schedule_of_the_learning_rate_starts_anew_or_goes_on(x64):
    """It counts steps of the job, or, with keep, of the worker."""
    rate = lambda count: 0.1 / (1.0 + count)
    work = lambda keep: ja.work.local_steps(3, optax.sgd(rate), keep=keep)
    schedule = ja.simulate(method_of(work(False)), ja.times.fixed(1.0, num_workers=1), num_updates=4)
    problem = ja.problems.quadratic(spectrum=[1.0], start=[1.0])
    factor = lambda first: np.prod([1 - rate(first + h) for h in range(3)])
    afresh, kept = (end(method_of(work(keep)), schedule, problem) for keep in (False, True))
    np.testing.assert_allclose(afresh, factor(0) ** 4, rtol=1e-12)
    np.testing.assert_allclose(kept, np.prod([factor(3 * k) for k in range(4)]), rtol=1e-12)


def test_width(x64):
    """Jobs of several sizes side by side give what they give one by one; a worker with a memory once in a wave."""
    problem = cases.quadratic()[0]
    method = method_of(ja.work.local_steps((2, 3, 1, 4, 2), optax.adamw(0.05)))
    schedule = ja.simulate(method, TIMES, num_updates=40)
    plain = end(method, schedule, problem)
    np.testing.assert_allclose(end(method, schedule, problem, width=4), plain, rtol=1e-12)
    kept = method_of(ja.work.local_steps((2, 3, 1, 4, 2), optax.adamw(0.05), keep=True))
    np.testing.assert_allclose(end(kept, schedule, problem, width=4), end(kept, schedule, problem), rtol=1e-12)
    with pytest.raises(
        ValueError, match=r"one gradient in a wave at most: .* ja.plan\(schedule, width=2, one_each=True"
    ):
        ja.run(problem, ja.plan(schedule, width=2), kept, key=KEY)


def test_bfloat16():
    """Changes have the parameters' dtype, and are those in float32 to its precision."""
    work, samples = ja.work.local_steps(8, optax.adamw(0.05)), jnp.zeros((8, 1))
    gradient = lambda x, sample: (jnp.sin(x) + sample.astype(x.dtype)).astype(x.dtype)
    run = jax.jit(lambda x: work.compute(gradient, x, (), samples, jnp.int32(8))[0])
    x = jnp.linspace(0.5, 1, 9)
    exact, rough = run(x), run(x.astype(jnp.bfloat16))
    assert rough.dtype == jnp.bfloat16 and np.abs(exact).min() > 0.3
    np.testing.assert_allclose(rough.astype(float), exact, rtol=0.03)


@pytest.mark.parametrize("steps", [0, -1, 2.5, "3", None, True, (1, 0), [2, "x"], np.zeros(2, int)], ids=repr)
def test_bad_numbers_of_steps(steps):
    with pytest.raises(ValueError, match=r"steps.* is a whole number, 1 or more.*got"):
        ja.work.local_steps(steps, optax.sgd(0.1))


def test_errors():
    with pytest.raises(ValueError, match=r"optimizer is an optax transformation.*got 0\.1"):
        ja.work.local_steps(2, 0.1)
    with pytest.raises(ValueError, match="jobs of 2 workers are, and there are 5"):
        ja.simulate(method_of(ja.work.local_steps((2, 3), optax.sgd(0.1))), TIMES, num_updates=1)
    method = method_of(ja.work.local_steps(3, optax.sgd(0.1)))
    with pytest.raises(ValueError, match="simulate the method, not its policy"):
        ja.run(cases.quadratic()[0], ja.simulate(ja.policies.asgd(), TIMES, num_updates=9), method, key=KEY)
    with pytest.raises(ValueError, match=r"strength is a finite number, 0 or more; got -1"):
        ja.rules.stay_near(-1)


# ---------------------------------------------------------------- federated


def test_one_local_step_is_a_gradient_method(x64):
    """Equivalence 33: learning rates of worker and server multiply."""
    m, one = ja.methods, lambda lr: ja.work.local_steps(1, optax.sgd(lr))
    both(m.fedavg(0.1, 1, server_learning_rate=0.4), m.sync_sgd(0.04))
    halving = lambda count: 0.4 / (1.0 + count)
    both(m.fedbuff(0.1, 3, 0.0, server_learning_rate=halving), m.k_batch_async_sgd(lambda t: 0.1 * halving(t), k=3))
    both(dataclasses.replace(m.k_batch_async_sgd(0.4, k=3), work=one(0.1)), m.k_batch_async_sgd(0.04, k=3))


def test_fedasync_delta_is_asgd(x64):
    """Equivalence 25; and the mixing form is not."""
    make = lambda form: ja.methods.fedasync(0.1, mixing=0.6, staleness="constant", form=form)
    both(make("delta"), ja.methods.asgd(0.06))
    with pytest.raises(AssertionError, match="tolerance"):
        both(make("mixing"), ja.methods.asgd(0.06))


def test_fedbuff_between_fedasync_and_fedavg(x64):
    """A buffer of one is FedAsync's delta form; of all, who wait, FedAvg, whatever the delay's power."""
    m, steps = ja.methods, 4
    both(
        m.fedbuff(0.05, batch=1, power=0.7, steps=steps, server_learning_rate=0.6, proximal=0.2),
        m.fedasync(0.05, mixing=0.6, power=0.7, steps=steps, form="delta", proximal=0.2),
    )
    waiting = dataclasses.replace(
        m.fedbuff(0.05, batch=N, power=0.7, steps=steps, server_learning_rate=0.6),
        policy=ja.policies.buffered(N, hold=True),
    )
    fedavg = m.fedavg(0.05, steps, server_learning_rate=0.6)
    one, other = both(waiting, fedavg)
    np.testing.assert_array_equal(one.time, other.time)


def test_many_local_steps_solve_the_local_problem(x64):
    """A round of FedAvg ends at the mean of the workers' minima; with a proximal term, of their proximal points."""
    spectrum, centers = np.array([0.5, 1.0, 2.0]), np.random.default_rng(0).standard_normal((N, 3))
    start, rho = np.array([3.0, -2.0, 1.0]), 0.7
    problem = ja.problems.quadratic(spectrum=spectrum, centers=centers, start=start)
    for proximal in (0.0, rho):
        method = ja.methods.fedavg(0.3, 200, proximal=proximal)
        schedule = ja.simulate(method, TIMES, num_updates=1)
        points = (spectrum * centers + proximal * start) / (spectrum + proximal)
        np.testing.assert_allclose(end(method, schedule, problem), points.mean(axis=0), rtol=1e-10)


def test_clients_are_drawn_uniformly():
    """Each round has different ones; each client's share of the jobs is clients / n, within 5 standard errors."""
    number, clients = 2000, 3
    schedule = ja.simulate(ja.methods.fedavg(0.1, 2, clients=clients), TIMES, num_updates=number, seed=5)
    who = schedule.worker.reshape(number, clients)
    assert all(len(set(row)) == clients for row in who.tolist())
    assert (schedule.delay == 0).all() and (schedule.size == 2).all()
    share, p = np.bincount(schedule.worker, minlength=N) / number, clients / N
    assert (np.abs(share - p) < 5 * np.sqrt(p * (1 - p) / number)).all()
    together = (who == 0).any(axis=1) & (who == 1).any(axis=1)
    p = p * (clients - 1) / (N - 1)
    assert abs(together.mean() - p) < 5 * np.sqrt(p * (1 - p) / number)


def test_a_clients_schedule_counts_its_steps(x64):
    """Of several; with one step it counts updates."""
    rate, times = lambda count: 0.2 / (1.0 + count), ja.times.fixed([1.0, 3.0])
    problem = ja.problems.quadratic(spectrum=[1.0], start=[1.0])
    for steps in (1, 3):
        method = ja.methods.fedasync(rate, 0.5, staleness="constant", steps=steps, form="delta").bind(2, times)
        schedule = ja.simulate(method, times, num_updates=12)
        xs, made = [1.0], [0, 0]
        for t, (worker, read) in enumerate(zip(schedule.worker, schedule.read, strict=True)):
            first = t if steps == 1 else made[worker]
            y = xs[read] * np.prod([1 - rate(first + h) for h in range(steps)])
            made[worker] += steps
            xs.append(xs[-1] + 0.5 * (y - xs[read]))
        np.testing.assert_allclose(end(method, schedule, problem), xs[-1:], rtol=1e-12)


def test_federated_errors():
    m = ja.methods
    for make in (m.fedbuff, m.fedasync, m.fedavg):
        with pytest.raises(ValueError, match=r"steps is a whole number, 1 or more.*got 0"):
            make(0.1, steps=0)
        with pytest.raises(ValueError, match=r"(proximal|strength) is a finite number, 0 or more; got -0\.1"):
            make(0.1, steps=2, proximal=-0.1)
    for make in (m.fedbuff, m.fedavg):
        with pytest.raises(ValueError, match=r"server_learning_rate is a finite number, 0 or more.*got -1"):
            make(0.1, steps=2, server_learning_rate=-1)
    with pytest.raises(ValueError, match="clients is a whole number, 1 or more"):
        m.fedavg(0.1, 2, clients=0)
    with pytest.raises(ValueError, match="at most the number of workers"):
        ja.simulate(m.fedavg(0.1, 2, clients=6), TIMES, num_updates=1)
