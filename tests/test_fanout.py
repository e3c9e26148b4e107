"""Shards and sweeps over 8 devices against one device: plain `jax.value_and_grad` of the mean, plain `jax.vmap`."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxasgd as ja

pytestmark = pytest.mark.skipif(
    len(jax.devices()) < 8,
    reason='needs 8 devices: jax.config.update("jax_num_cpu_devices", 8) before any use of JAX (tests/conftest.py)',
)
HOW = ["pmap", "shard_map"]
value_and_grad = ja.fanout.value_and_grad


def loss(params, shard):
    """Two layers, cubic in the weights, a sum that makes the gradient of every leaf depend on all the others."""
    x, y = shard["x"], shard["y"]
    hidden = jnp.tanh(x @ params["first"]["w"] + params["first"]["b"][None, :])
    return jnp.mean((hidden @ params["out"] - y) ** 2)


def problem(num_shards, dtype=jnp.float32):
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), dtype)
    params = {"first": {"w": draw(5, 7), "b": draw(7)}, "out": draw(7)}
    return params, {"x": draw(num_shards, 3, 5), "y": draw(num_shards, 3)}


def oracle(params, shards):
    """Mean loss over all samples and its gradient, by hand in NumPy float64: no shards, no devices, no JAX."""
    f8 = lambda tree: jax.tree.map(lambda x: np.asarray(x, np.float64), tree)
    params, x, y = f8(params), f8(shards["x"]).reshape(-1, 5), f8(shards["y"]).reshape(-1)
    hidden = np.tanh(x @ params["first"]["w"] + params["first"]["b"])
    residual = hidden @ params["out"] - y
    into_hidden = 2 * residual[:, None] / len(y) * params["out"] * (1 - hidden**2)
    first = {"w": x.T @ into_hidden, "b": into_hidden.sum(0)}
    return np.mean(residual**2), {"first": first, "out": 2 * residual @ hidden / len(y)}


def assert_close(left, right, **tolerance):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(np.asarray(a, np.float64), np.asarray(b, np.float64), **tolerance)


# ---------------------------------------------------------------------------------------------- gradients


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("num_devices", [1, 3, 8])
def test_any_number_of_devices_equals_plain_value_and_grad(how, num_devices):
    """In particular: no factor of the number of devices."""
    params, shards = problem(24)
    got = value_and_grad(loss, jax.devices()[:num_devices], how=how)(params, shards)
    assert_close(got, oracle(params, shards), rtol=1e-4, atol=1e-5)
    plain = jax.value_and_grad(lambda params: jnp.mean(jax.vmap(loss, (None, 0))(params, shards)))
    assert_close(got, jax.jit(plain)(params), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("how", HOW)
def test_closed_form(how):
    """The mean of (w - c_s)^2 / 2 over shards has gradient w - mean(c), exactly in these numbers."""
    value, grad = value_and_grad(lambda w, c: 0.5 * jnp.sum((w - c) ** 2), how=how)(
        jnp.array([1.0, 2.0]), jnp.arange(32.0).reshape(16, 2)
    )
    assert grad.tolist() == [1.0 - 15.0, 2.0 - 16.0]
    assert float(value) == 0.5 * np.mean([(1 - 2.0 * s) ** 2 + (2 - 2 * s - 1.0) ** 2 for s in range(16)])


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("dtype, rtol", [("float64", 1e-13), ("bfloat16", 0.05)])
def test_dtypes_are_kept(how, dtype, rtol):
    with jax.enable_x64(dtype == "float64"):
        params, shards = problem(16, dtype)
        got, expected = value_and_grad(loss, how=how)(params, shards), oracle(params, shards)
        assert {leaf.dtype.name for leaf in jax.tree.leaves(got)} == {dtype}
        assert_close(got, expected, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("how", HOW)
def test_numpy_keys_and_other_pytrees(how):
    """NumPy arrays, tuples with None, and a typed key for each shard."""

    def noisy(params, shard):
        (w, _), (x, key) = params, shard
        return jnp.sum(w * (x + jax.random.normal(key, x.shape)))

    rng = np.random.default_rng(0)
    w, x = rng.normal(size=3).astype(np.float32), rng.normal(size=(16, 3)).astype(np.float32)
    keys = jax.random.split(jax.random.key(0), 16)
    _, (grad, nothing) = value_and_grad(noisy, how=how)((w, None), (x, keys))
    expected = np.mean([x[s] + jax.random.normal(keys[s], (3,)) for s in range(16)], axis=0)
    np.testing.assert_allclose(grad, expected, rtol=1e-5, atol=1e-6)
    assert nothing is None


@pytest.mark.parametrize("how", HOW)
def test_has_aux(how):
    params, shards = problem(24)
    with_aux = lambda params, shard: (loss(params, shard), {"sum": jnp.sum(shard["x"]), "y": shard["y"]})
    (value, aux), grads = value_and_grad(with_aux, how=how, has_aux=True)(params, shards)
    assert_close((value, grads), value_and_grad(loss, how=how)(params, shards), rtol=1e-6)
    np.testing.assert_array_equal(aux["y"], shards["y"])  # [num_shards, ...], in the order of the shards
    np.testing.assert_allclose(aux["sum"], shards["x"].sum((1, 2)), rtol=1e-4, atol=1e-5)


def test_results_are_ordinary_arrays():
    """Replicated on all devices: they mix with each other (pmap and shard_map), with NumPy, with uncommitted arrays."""
    params, shards = problem(16)
    results = [value_and_grad(loss, how=how)(params, shards) for how in HOW]
    for value, grads in results:
        assert value.shape == () and value.is_fully_replicated and grads["out"].is_fully_replicated
        assert value.sharding.device_set == set(jax.devices())
        back = (params["out"] - 0.1 * grads["out"]) + 0.1 * np.asarray(grads["out"])
        np.testing.assert_allclose(back, params["out"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(results[0][1]["out"] - results[1][1]["out"], 0.0, atol=1e-6)


@pytest.mark.parametrize("how", HOW)
def test_arguments_may_lie_anywhere(how):
    params, shards = problem(16)
    expected = value_and_grad(loss, how=how)(params, shards)
    there = jax.device_put((params, shards), jax.devices()[3])
    assert_close(value_and_grad(loss, how=how)(*there), expected, rtol=1e-6)
    some = value_and_grad(loss, jax.devices()[4:6], how=how)(*there)
    assert_close(some, expected, rtol=1e-5, atol=1e-6)
    assert some[0].sharding.device_set == set(jax.devices()[4:6])


@pytest.mark.parametrize("how", HOW)
def test_a_second_call_does_not_trace(how):
    traces = itertools.count()

    def counted(params, shard):
        next(traces)
        return loss(params, shard)

    params, shards = problem(16)
    step = value_and_grad(counted, how=how)
    for _ in range(4):  # from the second on, params come from the devices
        _, grads = step(params, shards)
        params = jax.block_until_ready(jax.tree.map(lambda w, g: w - 0.1 * g, params, grads))
    assert next(traces) == 1


@pytest.mark.parametrize("how", HOW)
def test_a_loop_that_never_waits_does_not_abort(how):
    """XLA's CPU collectives deadlock after some 30-50 unfinished steps; calls wait, so the user need not."""
    step = value_and_grad(lambda w, x: jnp.mean((x @ w) ** 2), how=how)
    w, x = np.ones(3, np.float32), np.ones((8, 4, 3), np.float32)
    for _ in range(120):
        value, _ = step(w, x)
    assert float(value) == 9.0


@pytest.mark.parametrize("how", HOW)
def test_inside_the_callers_jit_and_scan(how):
    params, shards = problem(16)

    def train(gradient, params):
        def step(params, _):
            value, grads = gradient(params, shards)
            return jax.tree.map(lambda w, g: w - 0.1 * g, params, grads), value

        return lax.scan(step, params, None, length=60)

    plain = jax.value_and_grad(lambda params, shards: jnp.mean(jax.vmap(loss, (None, 0))(params, shards)))
    expected = jax.jit(partial(train, plain))(params)
    got = jax.block_until_ready(jax.jit(partial(train, value_and_grad(loss, how=how)))(params))
    assert_close(got, expected, rtol=1e-4, atol=1e-5)
    assert float(got[1][-1]) < 0.5 * float(got[1][0])


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(
    "shards, says",
    [
        (jnp.ones((12, 2)), r"got 12 shards for 8 devices.*devices=jax.devices\(\)\[:6\]"),
        (jnp.ones((7, 2)), r"got 7 shards for 8 devices.*jax.devices\(\)\[:7\]"),
        (jnp.ones((11, 2)), r"got 11 shards for 8 devices.*jax.devices\(\)\[:1\]"),
        ({"x": jnp.ones((8, 2)), "y": jnp.ones((16,))}, r"same length.*shapes \['x'\] \(8, 2\), \['y'\] \(16,\)"),
        ({"x": jnp.ones((8, 2)), "y": 1.0}, r"first axes have the same length.*'y'.*\(\)"),
        (jnp.ones((0, 2)), r"at least 1; got shapes \(0, 2\)"),
        (jnp.ones(()), r"first axes"),
        ({}, r"shards are arrays.*got shapes of none"),
    ],
)
def test_shards_that_do_not_fit(how, shards, says):
    with pytest.raises(ValueError, match=says):
        value_and_grad(lambda w, shard: w, how=how)(jnp.ones(()), shards)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(
    "bad, has_aux",
    [
        (lambda w, x: (w - x) ** 2, False),  # a vector, whose mean would be taken silently
        (lambda w, x: (jnp.sum(w - x), x), False),
        (lambda w, x: jnp.sum(w - x), True),
        (lambda w, x: (w - x, x), True),
    ],
)
def test_loss_returns_one_number(how, bad, has_aux):
    with pytest.raises(ValueError, match=rf"returns one JAX number.*has_aux={has_aux} got"):
        value_and_grad(bad, how=how, has_aux=has_aux)(jnp.ones(2), jnp.ones((8, 2)))


@pytest.mark.parametrize(
    "kwargs, says",
    [
        ({"how": "pjit"}, r'how is "pmap" or "shard_map"; got \'pjit\''),
        ({"devices": []}, r"one or more JAX devices; got \[\]. Pass e.g. jax.devices"),
        ({"devices": 4}, r"sequence of one or more JAX devices; got 4"),
        ({"devices": ["cpu:0"]}, r"JAX devices; got \['cpu:0'\]"),
        ({"devices": jax.devices()[:1] * 2}, r"every device takes part once"),
    ],
)
def test_arguments_are_checked_before_any_call(kwargs, says):
    with pytest.raises(ValueError, match=says):
        value_and_grad(loss, **kwargs)
    if "devices" in kwargs:
        with pytest.raises(ValueError, match="fanout.spread: " + (says if "once" in says else "devices is")):
            ja.spread(loss, **kwargs)


# ---------------------------------------------------------------------------------------------- sweeps


def descend(lr, start, problem):
    """Gradient descent whose number of steps is data, with a loop in a loop."""
    steps, matrix = problem["steps"], problem["matrix"]
    body = lambda _, x: x - lr * matrix @ x
    x = lax.fori_loop(0, steps + jnp.int32(10 * jnp.abs(start[0])), body, start)
    norms = lax.scan(lambda c, row: (c + row @ x, c), 0.0, matrix)[1]
    count = lax.while_loop(lambda c: c * lr < 1.0, lambda c: c + 1.0, 0.0)
    return {"x": x, "norms": norms, "count": count}


@pytest.fixture
def sweep_problem():
    return {"steps": jnp.int32(20), "matrix": jnp.diag(jnp.arange(1.0, 5.0)) + 0.1}


@pytest.mark.parametrize("length, num_devices", [(5, 1), (13, 3), (1, 8), (13, 8), (16, 8)])
def test_spread_equals_vmap(length, num_devices, sweep_problem):
    lrs = jnp.linspace(0.01, 0.3, length)
    starts = jnp.asarray(np.random.default_rng(0).normal(size=(length, 4)))
    args, in_axes = (lrs, starts, sweep_problem), (0, 0, None)
    got = ja.spread(descend, in_axes, jax.devices()[:num_devices])(*args)
    assert_close(jax.block_until_ready(got), jax.vmap(descend, in_axes)(*args), rtol=1e-4, atol=1e-6)


def test_spread_of_a_vmap(sweep_problem):
    """The way compared runs are swept: step sizes over devices, seeds side by side on each of them."""
    starts = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4)))
    seeds, lrs = jax.vmap(descend, (None, 0, None)), jnp.linspace(0.01, 0.3, 11)
    got = ja.spread(seeds, in_axes=(0, None, None))(lrs, starts, sweep_problem)
    assert got["x"].shape == (11, 3, 4)
    assert_close(got, jax.vmap(seeds, (0, None, None))(lrs, starts, sweep_problem), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("length", [5, 8])
def test_spread_of_typed_keys(length):
    """Keys in, keys out, and an int for all arguments."""
    draw = lambda key, n: (jax.random.fold_in(key, n), jax.random.normal(key, (2,)), jnp.zeros((), bool))
    keys, numbers = jax.random.split(jax.random.key(3), length), np.arange(length)
    got, expected = ja.spread(draw)(keys, numbers), jax.vmap(draw)(keys, numbers)
    assert got[0].dtype == expected[0].dtype
    np.testing.assert_array_equal(jax.random.key_data(got[0]), jax.random.key_data(expected[0]))
    np.testing.assert_array_equal(got[1], expected[1])
    assert got[2].dtype == bool and got[2].shape == (length,)
    whole = ja.spread(lambda x, key: x + jax.random.uniform(key), (0, None))(numbers, jax.random.key(1))
    np.testing.assert_allclose(whole, numbers + jax.random.uniform(jax.random.key(1)), rtol=1e-6)


def test_spread_uses_every_device_and_takes_arguments_from_anywhere():
    there = jax.device_put(jnp.arange(16.0), jax.devices()[5])
    got = ja.spread(lambda x, y: x * y, (0, None))(there, np.float32(2.0))
    assert got.sharding.device_set == set(jax.devices()) and not got.is_fully_replicated
    np.testing.assert_array_equal(got, 2 * np.arange(16.0))
    np.testing.assert_array_equal(ja.spread(jnp.sin)(there[:13]), jnp.sin(jnp.arange(13.0)))


@pytest.mark.parametrize("length", [13, 16])
def test_spread_inside_the_callers_jit(length):
    out = jax.jit(lambda x: 2.0 * ja.spread(jnp.sin)(x))(jnp.arange(float(length)))
    np.testing.assert_allclose(out, 2 * np.sin(np.arange(float(length))), rtol=1e-5, atol=1e-6)


def test_spread_traces_once():
    traces = itertools.count()

    def counted(x):
        next(traces)
        return x + 1

    sweep = ja.spread(counted)
    for shift in range(3):
        jax.block_until_ready(sweep(jnp.arange(16.0) + shift))
    assert next(traces) == 1


def test_an_uneven_sweep_has_no_collective_in_its_program():
    """One would abort the process where a member of the sweep takes 40 s longer than another (seen on the CPU)."""
    sweep = ja.spread(lambda x: x + 1)
    program = next(c.cell_contents for c in sweep.__closure__ if hasattr(c.cell_contents, "lower"))
    text = program.lower(jnp.arange(13.0)).compile().as_text()
    assert not [op for op in ("all-gather", "all-reduce", "all-to-all", "collective-permute") if op in text]


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda: ja.spread(jnp.add, in_axes=1), r"0 \(mapped\) or None \(whole\).*got 1. Move"),
        (lambda: ja.spread(jnp.add, in_axes=(0, -1)), r"got \(0, -1\)"),
        (lambda: ja.spread(jnp.add, in_axes=(0, {"x": 0})), r"0 \(mapped\) or None"),
        (lambda: ja.spread(jnp.add, in_axes=None), r"at least one 0; got None"),
        (lambda: ja.spread(jnp.add, in_axes=(None, None)), r"at least one 0"),
        (lambda: ja.spread(jnp.add, in_axes=(0,))(1.0, 2.0), r"in_axes=\(0,\) has one entry for each argument; got 2"),
        (lambda: ja.spread(jnp.add)(jnp.ones(8), jnp.ones(9)), r"argument 0.*\(8,\).*argument 1.*\(9,\)"),
        (lambda: ja.spread(jnp.add)(jnp.ones(8), 1.0), r"first axes have the same length.*argument 1.*\(\)"),
        (lambda: ja.spread(jnp.sin)(jnp.ones((0, 3))), r"at least 1; got shapes.*\(0, 3\)"),
        (lambda: ja.spread(jnp.sin)(), r"got shapes of none"),
    ],
)
def test_spread_errors(call, says):
    with pytest.raises(ValueError, match=says):
        call()
