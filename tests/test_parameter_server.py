"""The parameter server by itself: rows with gradients of our own, against the same arithmetic in NumPy."""

import cases
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxasgd as ja
from jaxasgd.runtimes import parameters
from jaxasgd.runtimes.parameters import Held, ParameterServer

KEY = jax.random.key(4)
N, DIM = 3, 4
X0 = np.array([1.0, -1.0, 2.0, 0.5])


def problem():
    loss = lambda w, batch: jnp.vdot(w, w)
    return ja.problems.from_loss(loss, jnp.asarray(X0), np.zeros((8, 1)), batch_size=1)


class Told:
    """A parameter server, and rows by name."""

    def __init__(self, rule, tags=(), num_updates=100, **method):
        policy = ja.policies.asgd()._replace(tags=tags)
        self.server = ParameterServer(problem(), ja.Method(policy, rule, **method), N, [1] * N, num_updates, KEY)
        self.server.warm_up()
        self.rng, self.sent = np.random.default_rng(0), [self.server.payload]

    def row(self, worker=0, read=None, use=True, step=True, weight=1.0, weights=None, state=(), size=1, **tags):
        """Append a row; its gradient."""
        server = self.server
        read = server.version if read is None else read
        gradient = self.rng.standard_normal(DIM)
        server.arrived = Held(jnp.asarray(gradient), self.sent[read], state, -1) if size else None
        told = (weight, weights, tags, None)
        server.append(told, use, step, 1.0, 0.0, 1.0, worker, read, 0, 0, size)
        if step:
            self.sent.append(server.payload)
        return gradient

    @property
    def params(self):
        return np.asarray(self.server.params)


@pytest.fixture(autouse=True)
def wide(x64):
    """Float64 throughout."""


def test_sums_weights_and_steps():
    told, x = Told(optax.sgd(0.5)), X0.copy()
    x -= 0.5 * told.row()
    np.testing.assert_allclose(told.params, x, rtol=1e-12)
    g = 0.25 * told.row(step=False, weight=0.25)
    told.row(use=False, step=False)  # discarded
    np.testing.assert_allclose(told.params, x, rtol=1e-12)
    x -= 0.5 * (g + 0.5 * told.row(weight=0.5))
    np.testing.assert_allclose(told.params, x, rtol=1e-12)
    first, second = told.row(step=False), told.row(weights=np.array([0.9, 0.1]))  # known when the batch closes
    x -= 0.5 * (0.9 * first + 0.1 * second)
    np.testing.assert_allclose(told.params, x, rtol=1e-12)
    first = told.row(step=False, weight=0.5)
    told.row(use=False, step=True)  # a step at a gradient that is thrown away
    x -= 0.5 * 0.5 * first
    np.testing.assert_allclose(told.params, x, rtol=1e-12)
    told.row(size=0, use=False, step=True)  # a bare step, of nothing
    np.testing.assert_allclose(told.params, x, rtol=1e-12)
    assert told.server.version == 5
    for version, payload in enumerate(told.sent):  # nobody's parameters were changed or deleted meanwhile
        assert np.isfinite(np.asarray(payload)).all(), version
    np.testing.assert_array_equal(told.sent[0], X0)


def spy(wanted):
    """A rule that puts what it is told into its state."""

    def update(g, state, params, **extra):
        return jax.tree.map(jnp.zeros_like, g), {name: jnp.asarray(extra[name], jnp.float64) for name in wanted}

    init = lambda params: {name: jnp.zeros(()) for name in wanted}
    return optax.GradientTransformationExtraArgs(init, update)


def test_what_a_rule_is_told():
    names = ("delay", "version", "read", "step", "weight", "progress", "kind")
    told = Told(spy(names), tags=("kind", "delay"), num_updates=8)
    seen = lambda: {name: float(value) for name, value in told.server.rule.items()}
    told.row()
    told.row(read=0, step=False, weight=0.25, kind=7.0)
    told.row(read=1, weight=0.5, kind=3.0)
    assert seen() == {"delay": 1, "version": 1, "read": 0, "step": 1, "weight": 0.75, "progress": 0.125, "kind": 3}
    told.row(read=0, delay=5.0)  # the policy says which age counts
    assert seen() | {"kind": 0} == {
        "delay": 5, "version": 2, "read": -3, "step": 1, "weight": 1.0, "progress": 0.25, "kind": 0,
    }  # fmt: skip
    assert np.isnan(seen()["kind"])


def test_a_rule_that_compensates():
    """Of a single row it is told worker and what that had read; of an aggregate it can't be."""
    told, x, versions = Told(optax.chain(ja.rules.compensate_delay(0.3), optax.sgd(0.1))), X0.copy(), [X0.copy()]
    for read in (0, 0, 1, 3):
        g = told.row(worker=read % N, read=read)
        x = x - 0.1 * (g + 0.3 * g * g * (x - versions[read]))
        versions.append(x)
        np.testing.assert_allclose(told.params, x, rtol=1e-12)
    told.row(step=False, weight=0.5)
    with pytest.raises(ValueError, match=r"aggregate of several gradients: use the rule as Method\(arrival=...\)"):
        told.row(weight=0.5)


def test_an_arrival_rule_sees_each_gradient():
    arrival = optax.chain(ja.rules.compensate_delay(0.3), ja.rules.scale_by_delay(1.0))
    told, x = Told(optax.sgd(0.1, momentum=0.5), arrival=arrival), X0.copy()
    g = told.row()
    v = g
    x = x - 0.1 * v
    one, two = told.row(read=0, step=False, weight=0.5), told.row(worker=1, read=1, weight=0.5)
    total = 0.5 * (one + 0.3 * one**2 * (x - X0)) / 2 + 0.5 * two
    v = total + 0.5 * v
    np.testing.assert_allclose(told.params, x - 0.1 * v, rtol=1e-12)


def test_what_is_sent_depends_on_the_row():
    """The rule's state and the worker's are those after the row."""
    send = lambda params, rule_state, worker: params + 10 * worker
    work = ja.work.Work(lambda p, n: jnp.arange(float(n)), lambda g, x, s, a, size: (x, s))
    told = Told(optax.sgd(0.5), send=send, work=work)
    np.testing.assert_array_equal(told.server.payload, X0)  # of worker 0
    g = told.row(worker=2, state=jnp.asarray(5.0))
    x = X0 - 0.5 * g
    np.testing.assert_allclose(told.server.payload, x + 50, rtol=1e-12)
    assert told.server.maker == 2 and told.server.used == [False, False, True]
    told.row(worker=1, use=False, step=True, state=jnp.asarray(7.0))  # thrown away: what it remembers, too
    np.testing.assert_allclose(told.server.payload, x + 10, rtol=1e-12)
    with pytest.raises(ValueError, match="worker 0 started at version 1, which worker 2 made"):
        told.server.arrived = Held(jnp.zeros(DIM), told.sent[1], jnp.asarray(0.0), 2)
        told.server.append((1.0, None, {}, None), True, True, 1.0, 0.0, 1.0, 0, 1, 0, 0, 1)


def test_a_rule_that_keeps_the_parameters():
    """Its state is donated; the parameters, the problem's start and what was sent are not."""
    rule = optax.GradientTransformation(lambda p: p, lambda g, s, p: (jax.tree.map(lambda g: -0.5 * g, g), p))
    told, x = Told(rule), X0.copy()
    start = told.server.problem.start
    for _ in range(3):
        x = x - 0.5 * told.row()
        np.testing.assert_allclose(told.params, x, rtol=1e-12)
    np.testing.assert_array_equal(start, X0)
    assert [np.asarray(payload).shape for payload in told.sent] == [(DIM,)] * 4


def test_what_is_sent_is_not_what_is_donated():
    """A method may send a part of the rule's state."""
    rule = optax.GradientTransformation(lambda p: p, lambda g, s, p: (g, jax.tree.map(lambda s, g: s - 0.5 * g, s, g)))
    told, y = Told(rule, send=lambda params, state, worker: state), X0.copy()
    sent = [y]
    for _ in range(3):
        sent.append(sent[-1] - 0.5 * told.row())
    for mine, payload in zip(sent, told.sent, strict=True):
        np.testing.assert_allclose(payload, mine, rtol=1e-12)


def test_no_second_compilation():
    """Another learning rate, a rule made anew: the same program."""
    sizes = []
    for rate in (0.1, 0.2):
        told = Told(optax.chain(optax.trace(0.5), optax.scale(-rate)))
        told.row()
        told.row(step=False, weight=0.5)
        told.row(weight=0.5)
        told.row(use=False, step=True)
        sizes.append(parameters.serve._cache_size())
    assert sizes[0] == sizes[1]


curious = optax.GradientTransformationExtraArgs(lambda p: (), lambda g, s, p, *, nothing, **_: (g, s))
ERRORS = {
    "a rule that asks for progress": (
        lambda: Told(spy(("progress",)), num_updates=None),
        ["progress", "num_updates="],
    ),
    "tags that nobody announced": (lambda: Told(optax.sgd(0.1)).row(table=1.0), ["announces its tags", "'table'"]),
    "what nobody knows": (lambda: Told(curious), ["'nothing'", "a policy's tags add more"]),
    "a number of workers": (
        lambda: ParameterServer(
            cases.linear("cyclic")[0], ja.Method(ja.policies.asgd(), optax.sgd(0.1)), 2, [1, 1], 5, KEY
        ),
        ["2 workers", "shards"],
    ),
    "late weights": (lambda: Told(optax.sgd(0.1)).row(weights=[0.5, 0.5]), ["Decision.weights", "1 rows"]),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    call, words = ERRORS[name]
    with pytest.raises(ValueError) as caught:
        call()
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize("seen", (0, np.array([0, 0])))
def test_what_was_read_is_a_fact(seen):
    told = Told(optax.sgd(0.1))
    told.row()
    told.server.arrived = Held(jnp.zeros(DIM), told.sent[1])
    with pytest.raises(ValueError, match=r"say what was read is for simulation: .* version 1"):
        told.server.append((1.0, None, {}, seen), True, True, 1.0, 0.0, 1.0, 0, 1, 0, 0, 1)
