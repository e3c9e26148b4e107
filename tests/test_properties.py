"""Anything that may be asked for: junk as an argument, any table, any method on any clock, any pytree of parameters."""

import warnings

import cases
import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_bad_arguments import QUICK, ROWS
from test_method_errors import RULES
from test_schedule import schedules
from test_simulation import clocks

import jaxasgd as ja
from jaxasgd import planning

KEY = jax.random.key(5)
some = settings(max_examples=200, deadline=None, derandomize=True, database=None)

# ------------------------------------------------------------------- junk


FLOATS = st.sampled_from([-1.5, -0.0, 0.25, 1.0, 2.0, 3.5, np.nan, np.inf, -np.inf])  # 1e9 workers would be taken
NUMBERS = st.one_of(st.integers(-3, 6), FLOATS, st.booleans(), st.complex_numbers(max_magnitude=2))
JUNK = st.one_of(
    NUMBERS,
    st.none(),
    st.text(max_size=3),
    st.binary(max_size=2),
    st.lists(st.one_of(st.integers(-3, 6), st.floats(-3, 6), st.text(max_size=2)), max_size=4),
    st.lists(st.lists(st.integers(0, 3), max_size=3), max_size=3),
    st.dictionaries(st.one_of(st.integers(0, 3), st.text(max_size=2)), st.floats(-3, 6), max_size=2),
    st.builds(np.zeros, st.sampled_from([(), (1,), (3,), (2, 2), (0,)]), st.sampled_from([float, int, bool, "U1"])),
    st.builds(object),
    st.just(np.float32(0.5)),
)
#: arguments that say what is wrong when they are used, or that are functions and pytrees of the caller's
LATER = {"init", "data", "loss", "draw", "table", "pure", "on", "layers", "module", "args", "prox"}
JUNK_ROWS = [
    (name, argument)
    for name, row in ROWS.items()
    for argument, (_, kind) in row.arguments.items()
    if name.split(".")[0] in QUICK and kind.bad and argument not in LATER
]


@some
@given(st.sampled_from(JUNK_ROWS), JUNK)
def test_junk_is_taken_or_refused(place, value):
    """Nothing but a ValueError, or a file that is not there: no message from the inside of NumPy or JAX."""
    name, argument = place
    function, told, then = ROWS[name]
    right = {one: value for one, (value, _) in told.items()}
    try:
        then(function(**(right | {argument: value})))
    except (ValueError, FileNotFoundError) as error:
        assert "ambiguous" not in str(error) and "inhomogeneous" not in str(error), (name, argument, value)


# ------------------------------------------------------------------- tables


SPECTRUM, CENTER = np.array([0.2, 1.0]), np.array([1.0, -2.0])
LARGE = ja.Schedule(
    time=np.arange(80.0), start=np.zeros(80), worker=np.arange(80) % 3, read=np.r_[0, np.zeros(79, int)],
    visit=np.arange(80), repeat=np.zeros(80, int), size=np.full(80, 3), use=np.arange(80) % 3 < 2,
    weight=0.5 * (np.arange(80) % 3 < 2), step=np.arange(80) % 2 > 0, num_workers=3, end=80.0,
    tags={"number": np.arange(80.0)},
)  # fmt: skip
OTHER = ja.simulate(ja.policies.asgd(), ja.times.fixed(np.geomspace(1, 900, 48)), num_updates=60)  # many cells


@settings(some, max_examples=10)
@given(st.lists(schedules(0), min_size=2, max_size=4))
def test_any_table_is_replayed(tables):
    """The engine on any legal table, whatever it read in whatever order, against following it by hand."""
    problem = ja.problems.quadratic(spectrum=SPECTRUM, optimum=CENTER)
    gradient = lambda x, job, unit=0: SPECTRUM * (x - CENTER)
    most = ja.plan(OTHER, evaluate=1000)
    for table in tables:
        one = planning.align([ja.plan(table, evaluate=1000), ja.plan(LARGE, evaluate=1000), most])[0]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ja.DoubtWarning)
            history = ja.run(problem, one, optax.sgd(0.1), key=KEY)
        xs = oracle.replay(table, CENTER + 1.0, gradient, oracle.sgd(0.1))
        np.testing.assert_allclose(history.params, xs[-1], rtol=2e-4, atol=2e-5)


# ------------------------------------------------------------------- methods


@settings(some, max_examples=80)
@given(st.sampled_from(sorted(cases.METHODS)), clocks(5, 5), st.integers(0, 25), st.integers(0, 3))
def test_methods_on_any_clock(name, times, updates, seed):
    """The same table twice, as many units as the work says, and every update of something that was there."""
    row = cases.METHODS[name]
    method = row.make(**row.numbers, **row.options)
    try:
        method = method.bind(5, times)
        run = ja.simulate(method, times, num_updates=updates, seed=seed, max_arrivals=400)
    except ValueError as error:  # what it takes from the clock is not there
        assert "seconds" in str(error) or "law" in str(error)
        return
    assert run == ja.simulate(method, times, num_updates=updates, seed=seed, max_arrivals=400)
    assert run.num_updates == updates or run.status == "stalled"
    units = np.array(method.work.sizes(5))
    arrived = run.size > 0
    assert (run.size[arrived] % units[run.worker[arrived]] == 0).all()
    assert (run.delay >= 0).all() and (run.delay <= run.version.reshape(len(run), *[1] * (run.delay.ndim - 1))).all()
    assert set(run.tags) == set(method.policy.tags)


# ------------------------------------------------------------------- rules


LEAVES = st.sampled_from([((), "float32"), ((3,), "float32"), ((2, 3), "bfloat16"), ((1, 2), "float32")])
TREES = st.recursive(
    LEAVES,
    lambda below: st.one_of(
        st.lists(below, min_size=1, max_size=3),
        st.tuples(below, st.none()).map(list),
        st.dictionaries(st.sampled_from("abc"), below, min_size=1, max_size=3),
    ),
    max_leaves=4,
)
is_leaf = lambda node: isinstance(node, tuple)


@pytest.mark.parametrize("name", RULES)
@settings(some, max_examples=2)
@given(tree=TREES, number=st.sampled_from([0.1, 0.5, 0.9]), delays=st.lists(st.integers(0, 7), min_size=1, max_size=2))
def test_rules_on_any_pytree(name, tree, number, delays):
    """Shapes, dtypes and structure stay, of updates and of the state, and finite numbers are finite numbers."""
    value = number if name != "scale_by_worker" else jnp.float32(number)
    rule = RULES[name](value)
    filled = lambda with_: jax.tree.map(lambda leaf: jnp.full(leaf[0], with_, leaf[1]), tree, is_leaf=is_leaf)
    params, grads, stale = filled(1.0), filled(-0.25), filled(0.75)
    kinds = lambda tree: (jax.tree.structure(tree), [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree)])
    state = rule.init(params)
    before = kinds(jax.tree.map(jnp.asarray, state))
    for version, delay in enumerate(delays):
        known = {"delay": delay, "version": version, "worker": version % 2, "stale": stale}
        updates, state = rule.update(grads, state, params, **known)
        assert kinds(updates) == kinds(params) and kinds(state) == before
        assert all(np.isfinite(np.float32(leaf)).all() for leaf in jax.tree.leaves(updates))
