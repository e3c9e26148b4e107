"""What a logger is told: every evaluation, with the numbers of the history."""

import jax
import numpy as np
import optax
import pytest

import jaxasgd as ja

KEY = jax.random.key(0)
TIMES = ja.times.exponential(1.0, num_workers=3)


def problem():
    data = ja.problems.sklearn_set("breast_cancer")
    labels = ja.problems.binary_labels(data.y)
    return ja.problems.logistic(data.X, labels, batch_size=8)


def test_each_evaluation_is_told():
    schedule, told = ja.simulate(ja.policies.asgd(), TIMES, num_updates=30, seed=1), []
    history = ja.run(problem(), schedule, optax.sgd(0.1), key=KEY, evaluate=10, each=told.append)
    assert [now["update"] for now in told] == history.update.tolist() == [0, 10, 20, 30]
    assert [now["loss"] for now in told] == history.loss.tolist()
    assert [now["accuracy"] for now in told] == history.metrics["accuracy"].tolist()
    assert all(type(value) in (int, float) for now in told for value in now.values())
    frame = history.to_pandas()
    assert frame.columns.tolist() == ["time", "update", "gradients", "loss", "accuracy"]
    assert np.array_equal(frame["loss"], history.loss) and len(frame) == 4


def test_a_comparison_says_who():
    told, methods = [], {"a": ja.methods.asgd(0.1), "b": ja.methods.sync_sgd(0.1)}
    table = ja.compare(problem(), TIMES, methods, num_updates=6, seeds=[3, 4], points=2, each=told.append)
    expected = [
        {"method": run.method, "seed": run.seed} | {name: column[e].item() for name, column in run.columns.items()}
        for run in table.runs
        for e in range(len(run.columns["loss"]))
    ]
    assert told == expected


def test_what_is_refused():
    schedule = ja.simulate(ja.policies.asgd(), TIMES, num_updates=3)
    with pytest.raises(ValueError, match="each is a function"):
        ja.run(problem(), schedule, optax.sgd(0.1), key=KEY, each=3)
    with pytest.raises(ValueError, match="each is a function"):
        ja.compare(problem(), TIMES, {"a": ja.methods.asgd(0.1)}, num_updates=3, each="print")
    plan, ready = ja.plan(schedule), problem()
    with pytest.raises(ValueError, match="outside of jit"):
        jax.jit(lambda key: ja.run(ready, plan, optax.sgd(0.1), key=key, each=print).loss)(KEY)
    several = jax.vmap(lambda key: ja.run(ready, plan, optax.sgd(0.1), key=key))(jax.random.split(KEY, 2))
    with pytest.raises(ValueError, match="one run"):
        several.to_pandas()
