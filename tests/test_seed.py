"""The seed: linear regression by single samples, against a transcription into NumPy of the first script."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxasgd as ja
from jaxasgd.problems import squared_error

EPOCHS, ALPHA = 100, 0.01


def first_script(order):
    """100 samples, y = 2 x1 + 3 x2 + noise, alpha = 0.01, 100 epochs of updates by one sample; no JAX, no jaxasgd."""
    np.random.seed(0)
    X = np.random.rand(100, 2)
    y = 2 * X[:, 0] + 3 * X[:, 1] + np.random.randn(100)
    theta, used, losses = np.zeros(2), [], []
    m = len(y)
    for _ in range(EPOCHS):
        losses.append(((X @ theta - y) ** 2).sum() / (2 * m))
        epoch = {"random": lambda: np.random.randint(0, m, m), "cyclic": lambda: np.arange(m)}.get(
            order, lambda: np.random.permutation(m)
        )()
        for i in epoch:
            theta = theta - ALPHA * X[i] * (X[i] @ theta - y[i])
            used.append(i)
    losses.append(((X @ theta - y) ** 2).sum() / (2 * m))
    return theta, np.array(losses), np.array(used)


@pytest.mark.parametrize("order", ["random", "cyclic", "shuffled"])
def test_equals_the_first_script(x64, order):
    theta, losses, used = first_script(order)
    problem = ja.problems.linear(*ja.problems.toy_regression(), order="cyclic" if order == "cyclic" else used)
    schedule = ja.simulate(ja.policies.asgd(), ja.times.fixed(1.0, num_workers=1), num_updates=100 * EPOCHS)
    history = ja.run(problem, schedule, optax.sgd(ALPHA), key=jax.random.key(0), evaluate=100)
    np.testing.assert_allclose(history.params, theta, rtol=1e-12)
    np.testing.assert_allclose(history.loss, losses, rtol=1e-12)


@pytest.mark.parametrize("order", ["random", "shuffled"])
def test_own_orders_end_where_the_first_script_ends(order):
    """Drawn by JAX instead of NumPy: other samples of the same law, the same loss to the noise of 100 epochs."""
    losses = first_script(order)[1]
    problem = ja.problems.linear(*ja.problems.toy_regression(), order=order)
    schedule = ja.simulate(ja.policies.asgd(), ja.times.fixed(1.0, num_workers=1), num_updates=100 * EPOCHS)
    history = ja.run(problem, schedule, optax.sgd(ALPHA), key=jax.random.key(0))
    assert history.loss[-1] == pytest.approx(losses[-1], rel=0.02)
    assert history.loss[-1] < 1.02 * problem.loss(problem.optimum)


def test_gradient_of_the_seed(x64):
    """X'(X theta - y)/m, compiled, for m samples and for a single one whose y is a scalar."""
    X, y = ja.problems.toy_regression()
    theta = np.array([0.3, -1.2])
    gradient = jax.jit(jax.grad(squared_error))
    np.testing.assert_allclose(gradient(theta, (X, y)), X.T @ (X @ theta - y) / len(y), rtol=1e-13)
    np.testing.assert_allclose(gradient(theta, (X[7], y[7])), X[7] * (X[7] @ theta - y[7]), rtol=1e-13)
    assert jax.jit(squared_error)(theta, (X, y)) == pytest.approx(
        ((X @ theta - y) ** 2).sum() / (2 * len(y)), rel=1e-13
    )


@pytest.mark.parametrize("num_workers", [1, 4, 16])
def test_shards_on_workers_are_the_global_gradient(x64, num_workers):
    """m shards of k samples, a local gradient each on its own replica: their mean is the gradient of J."""
    X, y = ja.problems.toy_regression(96)
    shards = ja.problems.shard(96, num_workers, how="contiguous")
    problem = ja.problems.linear(X, y, batch_size=None, shards=shards)
    schedule = ja.simulate(ja.policies.synchronous(), ja.times.fixed(1.0, num_workers=num_workers), num_updates=50)
    history = ja.run(problem, schedule, optax.sgd(0.5), key=jax.random.key(0), evaluate=10)
    theta = np.zeros(2)
    for _ in range(50):
        theta = theta - 0.5 * X.T @ (X @ theta - y) / 96
    np.testing.assert_allclose(history.params, theta, rtol=1e-12)
    fanned = ja.fanout.value_and_grad(squared_error, jax.devices()[: min(8, num_workers)])
    cut = jax.tree.map(lambda a: jnp.stack([a[s] for s in shards]), (jnp.asarray(X), jnp.asarray(y)))
    loss, gradient = fanned(jnp.asarray(theta), cut)
    np.testing.assert_allclose(gradient, X.T @ (X @ theta - y) / 96, rtol=1e-10, atol=1e-13)
    assert float(loss) == pytest.approx(history.loss[-1], rel=1e-12)


@pytest.mark.parametrize("stop", ["gradient norm", "loss", "updates", "seconds"])
def test_stopping_criteria_of_the_seed(x64, stop):
    X, y = ja.problems.toy_regression()
    problem = ja.problems.linear(X, y, batch_size=None, shards=ja.problems.shard(100, 4, how="contiguous"))
    limit = {"until": 300.0} if stop == "seconds" else {"num_updates": 400}
    schedule = ja.simulate(ja.policies.synchronous(), ja.times.fixed(1.0, num_workers=4), **limit)
    target = {"gradient norm": {"target_gradient_norm": 1e-3}, "loss": {"target_loss": 0.55}}.get(stop, {})
    history = ja.run(problem, schedule, optax.sgd(0.5), key=jax.random.key(0), evaluate=1, **target)
    theta, t = np.zeros(2), 0
    while True:
        gradient, loss = X.T @ (X @ theta - y) / 100, np.mean((X @ theta - y) ** 2) / 2
        if {
            "gradient norm": np.linalg.norm(gradient) <= 1e-3,
            "loss": loss <= 0.55,
            "updates": t == 400,
            "seconds": t == 300,
        }[stop]:
            break
        theta, t = theta - 0.5 * gradient, t + 1
    assert history.ended == t == history.time[-1]
    np.testing.assert_allclose(history.params, theta, rtol=1e-10)
