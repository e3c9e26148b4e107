"""How cells are kept: rounded, or in the host's memory."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxasgd as ja
from jaxasgd import engine, program
from jaxasgd.cells import checked

KEY = jax.random.key(0)
TIMES = ja.times.exponential(1.0, num_workers=5)


def problem(dim=300):
    return ja.problems.quadratic(dim=dim, condition=20.0, noise=0.1)


@pytest.mark.parametrize("policy", [ja.policies.asgd, ja.policies.synchronous], ids=["asgd", "synchronous"])
@pytest.mark.parametrize("dtype", [jnp.bfloat16, "float16"])
@pytest.mark.parametrize("width", [1, 4])
def test_gradients_at_rounded_parameters(x64, policy, dtype, width):
    """The server keeps its parameters as they are, a worker has them rounded: a plain loop over rows (in x64, where no
    difference in the last bit moves a number over the edge between two rounded ones)."""
    task, lr = problem(), 0.3
    schedule = ja.simulate(policy(), TIMES, num_updates=40)
    history = ja.run(task, schedule, optax.sgd(lr), key=KEY, cell_dtype=dtype, width=width)
    rows = {name: jnp.asarray(getattr(schedule, name)) for name in program.WHO}
    samples = program.draw(task, jax.random.fold_in(KEY, program.DATA_STREAM), rows, 1, 1)
    params = [np.asarray(task.init(jax.random.fold_in(KEY, program.INIT_STREAM)))]
    total = 0
    for k in range(len(schedule)):
        stale = jnp.asarray(params[schedule.read[k]]).astype(dtype).astype(jnp.float64)
        gradient = task.sample_gradient(stale, jax.tree.map(lambda a, k=k: a[k, 0], samples))
        total = total + schedule.weight[k] * np.asarray(gradient)
        if schedule.step[k]:
            params.append(params[-1] - lr * total)
            total = 0
    np.testing.assert_allclose(history.params, params[-1], rtol=1e-9)
    exact = ja.run(task, schedule, optax.sgd(lr), key=KEY).params
    assert np.abs(exact - params[-1]).max() > 1e-6, "rounding shows, or the test compares nothing"


def test_in_jit_too():
    schedule = ja.simulate(ja.policies.asgd(), TIMES, num_updates=40)
    eager = ja.run(problem(), schedule, optax.sgd(0.3), key=KEY, cell_dtype=jnp.bfloat16)
    traced = jax.jit(lambda task: ja.run(task, schedule, optax.sgd(0.3), key=KEY, cell_dtype=jnp.bfloat16))(problem())
    np.testing.assert_allclose(traced.params, eager.params, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(traced.loss, eager.loss, rtol=1e-5)


@pytest.mark.parametrize(
    "method",
    [ja.methods.asgd(0.05), ja.methods.dana_zero(0.01), ja.methods.rennala(0.05, 3)],
    ids=["asgd", "dana_zero", "rennala"],
)
def test_cells_in_the_memory_of_the_host_change_nothing(method):
    schedule = ja.simulate(method, TIMES, num_updates=30)
    here = ja.run(problem(), schedule, method, key=KEY, width=1)
    there = ja.run(problem(), schedule, method, key=KEY, cell_memory="pinned_host")
    np.testing.assert_allclose(there.params, here.params, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(there.loss, here.loss, rtol=1e-6)


def test_where_the_table_is():
    """Half the bytes; and the table on the host, where nothing of it is made on the device before."""
    schedule = ja.simulate(ja.policies.asgd(), TIMES, num_updates=30)

    def table(dtype, memory):
        cells = checked(dtype, memory, jax.devices()[0])
        made, parts, consts = engine.prepare(problem(), ja.plan(schedule), optax.sgd(0.1), cells=cells)
        carry = program.compiled_start(parts, made, problem(), KEY, consts)
        return carry.cells, parts.cells.moved(carry.cells, program.table_rows(made))

    exact, rounded = (table(dtype, None)[1] for dtype in (None, jnp.bfloat16))
    assert exact.nbytes == 5 * 300 * 4 == 2 * rounded.nbytes
    first, hosted = table("bfloat16", "pinned_host")
    assert hosted.sharding.memory_kind == "pinned_host" and hosted.shape == (5, 300) and hosted.dtype == jnp.bfloat16
    assert first.shape == (1, 300)
    np.testing.assert_array_equal(hosted[0], rounded[0])


def test_integers_are_not_rounded():
    cells = checked(jnp.bfloat16, None, jax.devices()[0])._replace(wide=("float32", "int32"))
    row = {"a": jnp.float32([1.001]), "b": jnp.int32([70_001])}
    back = cells.take(cells.table(3, row), 0)
    assert back["b"] == 70_001 and back["a"] == 1.0 and back["a"].dtype == jnp.float32


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"cell_dtype": "int8"}, "floating-point dtype, jnp.bfloat16 for example; got int8"),
        ({"cell_dtype": "half a float"}, "floating-point dtype.*got 'half a float'"),
        ({"cell_memory": "disk"}, "\"pinned_host\", where the device has it, or None.*got 'disk'"),
        ({"cell_memory": "pinned_host", "width": 4}, "read one at a time.*got width 4"),
    ],
)
def test_errors(given, words):
    schedule = ja.simulate(ja.policies.asgd(), TIMES, num_updates=10)
    with pytest.raises(ValueError, match=words):
        ja.run(problem(), schedule, optax.sgd(0.1), key=KEY, **given)


def test_another_memory_is_for_eager_runs():
    schedule = ja.simulate(ja.policies.asgd(), TIMES, num_updates=10)
    with pytest.raises(ValueError, match="outside of jit and vmap: leave cell_memory out"):
        jax.jit(lambda key: ja.run(problem(), schedule, optax.sgd(0.1), key=key, cell_memory="pinned_host"))(KEY)


@pytest.mark.parametrize("policy", [ja.policies.asgd(), ja.policies.rennala(3)], ids=["asgd", "rennala"])
def test_current_parameters_beside_the_cells_change_nothing(monkeypatch, policy):
    schedule = ja.simulate(policy, TIMES, num_updates=30)
    run = lambda: ja.run(problem(), schedule, optax.sgd(0.3, momentum=0.5), key=KEY)
    inside, known = run(), program.compiled_block._cache_size()
    monkeypatch.setattr("jaxasgd.parts.BESIDE_BYTES", 0)
    beside = run()
    assert program.compiled_block._cache_size() == known + 1, "another program"
    np.testing.assert_allclose(beside.params, inside.params, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(beside.loss, inside.loss, rtol=1e-6)


@pytest.mark.parametrize("width", [1, 8])
def test_aggregates_are_summed_in_float32(width):
    """1 024 gradients of one in bfloat16: their mean is one; summed in bfloat16 it would stop at a quarter."""
    ones = jnp.ones((1024, 1), jnp.bfloat16)
    task = ja.problems.from_loss(lambda w, batch: jnp.sum(batch @ w), jnp.zeros(1, jnp.bfloat16), ones, batch_size=None)
    schedule = ja.simulate(ja.policies.synchronous(), ja.times.fixed(1.0, num_workers=1024), num_updates=1)
    history = ja.run(task, schedule, optax.sgd(1 / 1024), key=KEY, width=width)
    assert history.params.dtype == jnp.bfloat16 and history.params.tolist() == [-1.0]
