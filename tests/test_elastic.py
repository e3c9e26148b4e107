"""Elastic averaging: where it is stable, in closed form, and its limits."""

import cases
import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracle_local as local
import pytest
from test_local import KEY, TIMES, N, both, end

import jaxasgd as ja

# -------------------------------------------------------------- round-robin


def round_robin(p, h, alpha):
    """A round of EASGD on x^2 / 2 where p workers take turns, as a matrix on (x_1, ..., x_p, centre).

    Both forces act at the same point: x_i <- x_i - h x_i - alpha (x_i - c), c <- c + alpha (x_i - c).
    """
    whole = np.eye(p + 1)
    for i in range(p):
        turn = np.eye(p + 1)
        turn[i, i], turn[i, p] = 1 - h - alpha, alpha
        turn[p, i], turn[p, p] = alpha, 1 - alpha
        whole = turn @ whole
    return whole


def radius(*setting):
    return np.abs(np.linalg.eigvals(round_robin(*setting))).max()


def region(h):
    """The largest stable alpha, for any number of workers."""
    return (4 - 2 * h) / (4 - h)


def center(p, h, alpha, rounds):
    """The run's centre after every round, from 1: p equal workers take turns, in the order of their numbers."""
    times, problem = ja.times.fixed(1.0, num_workers=p), ja.problems.quadratic(spectrum=[1.0], start=[1.0])
    make = lambda h, alpha: ja.methods.easgd(h, beta=p * alpha, period=1).bind(p, times)
    plan = ja.plan(ja.simulate(make(h[0], alpha[0]), times, num_updates=p * rounds), evaluate=p)
    loss = jax.vmap(lambda h, alpha: ja.run(problem, plan, make(h, alpha), key=KEY).loss)(h, alpha)
    return np.sqrt(2 * np.asarray(loss))


@pytest.mark.parametrize("p", [1, 3, 5])
def test_region_of_stability(x64, p):
    """0 <= h <= 2, 0 <= alpha <= (4 - 2 h) / (4 - h): for an odd number of workers it is lost right beyond.

    And it grows or shrinks as fast as the matrix says.
    """
    steps = np.array([0.2, 0.7, 1.2, 1.7])
    h, alpha = np.repeat(steps, 2), (region(steps)[:, None] * [0.97, 1.03]).ravel()
    rounds = 1600
    size = center(p, h, alpha, rounds)
    measured = np.log(size[:, -1] / size[:, rounds // 2]) / (rounds / 2)
    expected = np.log(radii(p, h, alpha))
    assert (measured[::2] < 0).all() and (measured[1::2] > 0).all()
    np.testing.assert_allclose(measured, expected, rtol=0.05)
    for step in np.linspace(0.05, 1.95, 20):  # and on the boundary itself it is lost
        assert radius(p, step, region(step)) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("p", [2, 4])
def test_region_is_wider_for_an_even_number_of_workers(x64, p):
    """There it is sufficient, and not necessary: stability is lost a little later."""
    h = np.array([0.2, 0.7, 1.2, 1.7])
    limit = np.array([largest(p, step) for step in h])
    assert (limit > 1.002 * region(h)).all()
    assert (radii(p, h, (limit + region(h)) / 2) < 1).all()
    size = center(p, np.repeat(h, 2), np.stack([(limit + region(h)) / 2, 1.02 * limit], axis=1).ravel(), 1600)
    growth = np.log(size[:, -1] / size[:, 800])
    assert (growth[::2] < 0).all() and (growth[1::2] > 0).all()


def radii(p, h, alpha):
    return np.array([radius(p, *setting) for setting in zip(h, alpha, strict=True)])


def largest(p, h):
    """The alpha where stability is lost, by bisection on the matrix."""
    low, high = region(h), 4.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if radius(p, h, middle) < 1 else (low, middle)
    return low


@pytest.mark.parametrize("p", [1, 2, 3, 4])
def test_runs_are_the_matrix(x64, p):
    """The order of gradient and exchange is the one that the region is stated for; the other order would differ."""
    h, alpha, rounds = 0.6, 0.35, 6
    state, expected = np.ones(p + 1), []
    for _ in range(rounds):  # replicas are all at the centre at first, where the exchange changes nothing
        state = round_robin(p, h, alpha) @ state
        expected.append(state[-1])
    # a replica's first exchange is the start of its first job; an update of the run is an exchange after it
    measured = center(p, np.array([h]), np.array([alpha]), rounds)[0]
    np.testing.assert_allclose(measured[:-1], [1.0, *expected[1:]], rtol=1e-12)


# ------------------------------------------------------------------- limits


@pytest.mark.filterwarnings("ignore:.*to the bit:jaxasgd.DoubtWarning")  # the centre stays
def test_without_force_replicas_are_independent_sgd(x64):
    """Equivalence 20: the centre stays, and the replicas are runs of SGD, each on its own samples.

    The replicas are seen through an infinitesimal force: d centre / d alpha = sum of (replica - centre) over exchanges.
    """
    problem, x0, gradient, _ = cases.quadratic()
    make = lambda beta: ja.methods.easgd(0.1, beta=beta, period=3).bind(N, TIMES)
    schedule = ja.simulate(make(0.0), TIMES, num_updates=25, seed=2)
    np.testing.assert_array_equal(
        end(make(0.0), schedule, problem), ja.run(problem, schedule, make(0.0), key=KEY).params
    )
    np.testing.assert_array_equal(end(make(0.0), schedule, problem), x0)
    samples, replica, total = cases.Samples(problem, KEY, units=3), dict.fromkeys(range(N), x0), 0.0
    for k in range(len(schedule)):
        i = int(schedule.worker[k])
        job = local.oracle.Job(i, 0.0, 0, int(schedule.visit[k]), int(schedule.repeat[k]), 0, 3)
        replica[i] = local.train(lambda x, job, u: gradient(x, samples(job, u)), replica[i], job, local.sgd(0.1))
        total = total + replica[i] - x0
    slope = (end(make(1e-6 * N), schedule, problem) - x0) / 1e-6
    np.testing.assert_allclose(slope, total, rtol=1e-3)
    assert np.linalg.norm(total) > 1


def test_force_of_one_swaps_replica_and_centre():
    """alpha = 1 and no steps: what the worker has becomes the centre, and the other way round."""
    rule, sent = ja.rules.elastic_average(1.0), (jnp.array([3.0]), jnp.array([0.0]))
    updates, (replica, pull) = rule.update(jnp.zeros(1), rule.init(jnp.ones(1)), jnp.ones(1), stale=sent)
    assert (1 + updates).item() == 3 and (replica - pull).item() == 1


def test_no_momentum_is_easgd(x64):
    m = ja.methods
    both(m.eamsgd(0.1, momentum=0.0, beta=0.8, period=3), m.easgd(0.1, beta=0.8, period=3))


def test_momentum_of_a_lone_replica_is_nesterov(x64):
    """Without force, x + momentum * v follows PyTorch's Nesterov momentum; here of one worker, seen as above."""
    times, problem = ja.times.fixed(1.0, num_workers=1), ja.problems.quadratic(spectrum=[0.5, 2.0], start=[1.0, -2.0])
    make = lambda beta: ja.methods.eamsgd(0.1, momentum=0.7, beta=beta, period=2).bind(1, times)
    schedule = ja.simulate(make(0.0), times, num_updates=6)
    start, force = np.array([1.0, -2.0]), 1e-6
    slope = (end(make(force), schedule, problem) - start) / force
    x = ahead = jnp.asarray(start)
    rule, total = optax.sgd(0.1, 0.7, nesterov=True), 0.0
    state = rule.init(x)
    for t in range(12):
        updates, state = rule.update(jnp.array([0.5, 2.0]) * ahead, state)
        ahead = ahead + updates
        if t % 2:
            total = total + ahead + 0.1 * 0.7 * state[0].trace - start  # x = ahead - momentum * v, v = -lr * trace
    np.testing.assert_allclose(slope, total, rtol=1e-4)


def test_rounds_in_closed_form(x64):
    """On x^2 / 2 the mean of the replicas and the centre follow a matrix of two by two."""
    h, beta, rounds = 0.3, 0.7, 12
    alpha, problem = beta / N, ja.problems.quadratic(spectrum=[1.0], start=[1.0])
    method = ja.methods.sync_easgd(h, beta=beta)
    history = ja.run(problem, ja.simulate(method, TIMES, num_updates=rounds), method, key=KEY, evaluate=1)
    state, expected = np.ones(2), [1.0]
    for _ in range(rounds):
        state = np.array([[1 - h - alpha, alpha], [beta, 1 - beta]]) @ state
        expected.append(state[1])
    np.testing.assert_allclose(np.sqrt(2 * history.loss), expected, rtol=1e-12)


def test_a_schedule_counts_each_workers_steps(x64):
    """Here steps of 0.3, 0.2, 0.1 of each of two workers, and none later: what follows is the exchange alone."""
    times, problem = ja.times.fixed(1.0, num_workers=2), ja.problems.quadratic(spectrum=[1.0], start=[1.0])
    method = ja.methods.easgd(lambda count: jnp.maximum(0.3 - 0.1 * count, 0.0), beta=0.5, period=2).bind(2, times)
    history = ja.run(problem, ja.simulate(method, times, num_updates=80), method, key=KEY, evaluate=40)
    x, c, pull = [1.0, 1.0], 1.0, [0.0, 0.0]
    for k in range(80):
        i, job = k % 2, k // 2
        for t in range(2):
            x[i] -= max(0.3 - 0.1 * (2 * job + t), 0.0) * x[i] + (pull[i] if t == 0 else 0.0)
        pull[i] = 0.25 * (x[i] - c)
        c += pull[i]
    np.testing.assert_allclose(history.params, [c], rtol=1e-12)
    assert abs(history.loss[-1] - history.loss[-2]) < 1e-4  # replicas and centre have met


def test_width(x64):
    """Replicas side by side give the same; with velocities, which are a memory, each worker once in a wave."""
    problem, easgd = cases.quadratic()[0], ja.methods.easgd(0.1, beta=0.8, period=3).bind(N, TIMES)
    schedule = ja.simulate(easgd, TIMES, num_updates=40)
    np.testing.assert_allclose(end(easgd, schedule, problem, width=4), end(easgd, schedule, problem), rtol=1e-12)
    for method in (ja.methods.eamsgd(0.1, period=3), ja.methods.sync_easgd(0.1, period=3)):
        method = method.bind(N, TIMES)
        schedule = ja.simulate(method, TIMES, num_updates=20)
        wide, plain = (end(method, schedule, problem, width=width) for width in (4, 1))
        np.testing.assert_allclose(wide, plain, rtol=1e-12)


def test_errors():
    m, problem = ja.methods, cases.quadratic()[0]
    for make in (m.easgd, m.eamsgd, m.sync_easgd):
        for wrong in (0, 1.5, "3"):
            with pytest.raises(ValueError, match=r"period is a whole number, 1 or more local steps; got"):
                make(0.1, period=wrong)
        with pytest.raises(ValueError, match=r"beta is a finite number, 0 or more; got -0\.1"):
            make(0.1, beta=-0.1)
    for make in (m.eamsgd, m.sync_easgd):
        with pytest.raises(ValueError, match=r"momentum is a number from 0 to 1; got 1\.5"):
            make(0.1, momentum=1.5)
    with pytest.raises(ValueError, match=r"moving_rate is a finite number, 0 or more; got -1"):
        ja.work.elastic_rounds(2, optax.sgd(0.1), moving_rate=-1)
    with pytest.raises(ValueError, match=r"optimizer is an optax transformation.*got 0\.1"):
        ja.work.elastic_steps(2, 0.1)
    foreign = ja.simulate(m.easgd(0.1, period=1), TIMES, num_updates=9, reads="before")
    with pytest.raises(ValueError, match="private=True"):
        ja.run(problem, foreign, m.easgd(0.1, period=1), key=KEY)
