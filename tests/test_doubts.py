"""Warnings where a finite result is doubtful: rates above the stability limit, losses that float32 does not move."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxasgd as ja
from jaxasgd.doubts import Response, growth, response_of, rows_of, safe

KEY = jax.random.key(0)
STEEP = ja.problems.quadratic(spectrum=[0.01, 2.0])  # L = 2


def late(delay, num_updates=600):
    """Every gradient so many updates late: the limit is 2 sin(pi / (4 delay + 2)) / L."""
    return ja.schedules.fixed_delay(delay, num_updates)


def limit(delay):
    return 2 * np.sin(np.pi / (4 * delay + 2)) / 2


def run(rate, delay=4, num_updates=600, problem=STEEP, rule=optax.sgd):
    return ja.run(problem, late(delay, num_updates), rule(rate), key=KEY)


@pytest.mark.parametrize("delay", [0, 1, 4, 16])
def test_the_limit_is_the_closed_form(delay):
    """Just below nothing is said; just above the limit is told, to its two digits."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(0.97 * limit(delay), delay)
    with pytest.warns(ja.DoubtWarning, match="above the largest stable one") as told:
        history = run(1.06 * limit(delay), delay, {0: 60, 16: 3000}.get(delay, 600))
    assert history.status == ja.Status.OK and told[0].filename == __file__
    said = float(str(told[0].message).split("about ")[1].split(":")[0])
    assert said == pytest.approx(limit(delay), rel=0.06)


def test_a_diverged_run_says_so_itself():
    assert run(1.5, num_updates=2000).status == ja.Status.DIVERGED


RULES = {  # rule -> (first, after, decay), or None where it is no such rule
    "sgd": (optax.sgd(0.1), (0.1, 0.0, 0.0)),
    "momentum": (optax.sgd(0.1, 0.9), (0.1, 0.09, 0.9)),
    "nesterov": (optax.sgd(0.1, 0.9, nesterov=True), (0.19, 0.081, 0.9)),
    "average": (optax.chain(optax.ema(0.9, debias=False), optax.scale(-0.5)), None),  # it counts
    "clipped": (optax.chain(optax.clip(1.5), optax.scale(-0.1)), None),
    "decay": (optax.chain(optax.add_decayed_weights(0.1), optax.scale(-0.1)), None),
    "adam": (optax.adam(0.1), None),
    "schedule": (optax.sgd(optax.cosine_decay_schedule(0.1, 10)), None),
    "by delay": (optax.chain(ja.rules.scale_by_delay(power=1.0), optax.sgd(0.1)), None),
    "of matrices": (optax.GradientTransformation(lambda p: p["w"], lambda g, s, p=None: (g, s)), None),
}


@pytest.mark.parametrize("name", RULES)
def test_response(name):
    rule, expected = RULES[name]
    found = response_of(rule)
    if expected is None:
        assert found is None
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("policy", ["asgd", "synchronous", "rennala", "ringmaster"])
@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov"])
def test_growth_is_the_run_without_noise(x64, policy, name):
    """As the engine computes it, in one dimension, inside jit (where nothing is said)."""
    policies = {"rennala": ja.policies.rennala(batch=3), "ringmaster": ja.policies.ringmaster(bound=3)}
    policy = policies[policy] if policy in policies else getattr(ja.policies, policy)()
    schedule = ja.simulate(policy, ja.times.exponential(1.0, num_workers=4), num_updates=50, seed=3)
    problem = ja.problems.quadratic(spectrum=[4.0])
    plan = ja.plan(schedule, evaluate=1)
    loss = jax.jit(lambda plan: ja.run(problem, plan, RULES[name][0], key=KEY).loss)(plan)
    found = growth(rows_of(plan), problem.curvature(), response_of(RULES[name][0]))
    assert found == pytest.approx(np.sqrt(np.max(loss[-5:]) / 2), rel=1e-6)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("policy", [ja.policies.asgd(), ja.policies.rennala(batch=3), ja.policies.synchronous()])
def test_what_is_called_safe_does_not_grow(policy, seed):
    """At the largest rate of which it is said; and it is not said of twice that rate, nor of momentum."""
    times = ja.times.pareto(1.0, alpha=1.2, num_workers=6)
    plan = ja.plan(ja.simulate(policy, times, num_updates=400, seed=seed))
    rate = 0.999 / max(plan.rows["delay"].max(), 1)
    assert safe(plan, 1.0, Response(rate, 0.0, 0.0)) and growth(rows_of(plan), 1.0, Response(rate, 0.0, 0.0)) <= 1
    assert not safe(plan, 2.0, Response(rate, 0.0, 0.0)) and not safe(plan, 1.0, Response(rate, rate / 2, 0.5))


def test_curvature():
    X = np.random.default_rng(0).uniform(size=(200, 7)) @ np.diag(np.arange(1, 8))
    shards = [np.arange(0, 20), np.arange(20, 200)]
    exact = lambda X, weights: np.linalg.eigvalsh(X.T @ (weights[:, None] * X))[-1]
    linear, weights = ja.problems.linear(X, X[:, 0]), np.repeat([0.5 / 20, 0.5 / 180], [20, 180])
    assert linear.curvature() == pytest.approx(exact(X, np.full(200, 1 / 200)), rel=1e-3)
    assert ja.problems.linear(X, X[:, 0], shards=shards).curvature() == pytest.approx(exact(X, weights), rel=1e-3)
    hessian = jax.hessian(ja.problems.tridiagonal(dim=9).loss)(jnp.zeros(9))
    assert ja.problems.tridiagonal(dim=9).curvature() == pytest.approx(np.linalg.eigvalsh(hessian)[-1], rel=1e-5)
    assert STEEP.curvature() == 2.0
    assert ja.problems.logistic(X, np.sign(X[:, 0] - 0.5)).curvature() is None


def test_a_frozen_loss():
    """Steps of 1e-9 do not move a parameter of 1 in float32; in float64 they do; at the optimum there is none."""
    says = r"to the bit, at all of the last 51 .*float32 does not resolve.*x64"
    with pytest.warns(ja.DoubtWarning, match=says) as told:
        run(1e-9)
    assert len(told) == 1
    with jax.enable_x64(True):
        run(1e-9, problem=ja.problems.quadratic(spectrum=[0.01, 2.0]))
    run(0.0, problem=ja.problems.quadratic(spectrum=[0.01, 2.0], start=[0.0, 0.0]))


def test_a_comparison_says_it_once_a_method(tmp_path):
    methods = {"fast": ja.methods.asgd(1.3), "good": ja.methods.asgd(0.1)}
    times = ja.times.fixed(1.0, num_workers=2)
    with pytest.warns(ja.DoubtWarning, match="^fast: the learning rate 1.3 is above") as told:
        table = ja.compare(STEEP, times, methods, num_updates=60, seeds=3)
    assert len(told) == 1 and told[0].filename == __file__
    assert str(table).splitlines()[-1] == f"doubtful: {told[0].message}"
    assert str(ja.results.load(table.save(tmp_path))) == str(table)
    page = ja.results.report(tmp_path, tmp_path / "page.html").read_text()
    assert page.count("Doubtful: fast: the learning rate 1.3 is above") == 1 and "good: " not in page
