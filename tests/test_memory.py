"""What a run holds at once: cells for the versions that somebody still needs, the rule's state, and one wave."""

import itertools
from dataclasses import replace

import jax
import numpy as np
import optax
import pytest

import jaxasgd as ja
from jaxasgd import engine, program
from jaxasgd.planning import ARRAYS, TRAITS

KEY = jax.random.key(0)
BATCH, WIDTHS = 32, (784, 128, 10)
SIZE = 4 * sum((a + 1) * b for a, b in itertools.pairwise(WIDTHS))  # bytes of the parameters
ACTIVATIONS = 4 * BATCH * sum(WIDTHS)  # of one gradient


def held(policy, num_workers, rule, width):
    """Bytes at the peak of the compiled loop, and what they are for: cells, samples with the plan, data."""
    rng = np.random.default_rng(0)
    X, y = rng.random((500, WIDTHS[0]), np.float32), rng.integers(0, WIDTHS[-1], 500)
    problem = ja.problems.mlp(X, y, hidden=WIDTHS[1:-1], batch_size=BATCH, loss_samples=1)
    schedule = ja.simulate(policy, ja.times.exponential(1.0, num_workers=num_workers), num_updates=200)
    plan, parts, consts = engine.prepare(problem, ja.plan(schedule, evaluate=200, width=width), rule)
    arrays = {name: jax.tree.map(jax.numpy.asarray, getattr(plan, name)) for name in ("rows", "tags", "waves")}
    lean = replace(plan, **(dict.fromkeys(ARRAYS) | arrays))
    carry = program.compiled_start(parts, lean, problem, KEY, consts)
    rows = {name: lean.rows[name] for name in program.WHO}
    numbers = replace(lean, rows=rows, tags={}, num_cells=0, **dict.fromkeys(TRAITS, True))
    samples = program.compiled_draw(numbers, problem, KEY, 0)
    block = program.compiled_block.lower(parts, lean, problem, consts, carry, samples, 0, plan.block).compile()
    told, size = block.memory_analysis(), lambda tree: sum(leaf.nbytes for leaf in jax.tree.leaves(tree))
    new = told.output_size_in_bytes - told.alias_size_in_bytes
    assert new < 1000, "the state is donated: nothing is held twice"
    peak = told.argument_size_in_bytes + told.temp_size_in_bytes + new
    return peak - size(problem) - size(samples) - size(arrays), plan, size(carry.cells), most_alive(schedule)


def most_alive(schedule):
    """The most versions that somebody still needs, before and after any row: read later, or current."""
    last = {int(schedule.version[-1] + schedule.step[-1]): len(schedule)}
    for row in range(len(schedule)):
        for version in (int(schedule.read[row]), int(schedule.version[row])):
            last[version] = max(last.get(version, 0), row)
    born = {v + 1: row for row, v in enumerate(schedule.version.tolist()) if schedule.step[row]} | {0: -1}
    return max(sum(born[v] <= row < last[v] for v in born if v in last) for row in range(-1, len(schedule)))


@pytest.mark.parametrize("width", [1, 8])
@pytest.mark.parametrize(
    ("policy", "num_workers", "rule", "states"),
    [
        (ja.policies.asgd(), 16, optax.sgd(0.1), 0),
        (ja.policies.asgd(), 40, optax.adam(0.1), 2),
        (ja.policies.synchronous(), 16, optax.adam(0.1), 2),
    ],
    ids=["asgd", "adam", "synchronous"],
)
def test_peak(policy, num_workers, rule, states, width):
    """At most 1.15 x (cells + rule + open aggregate + 2 x width x parameters + activations of one wave)."""
    peak, plan, cells, alive = held(policy, num_workers, rule, width)
    trash = not plan.every
    assert cells == (plan.num_cells + trash) * SIZE
    assert plan.num_cells == alive and (alive == 1 if "synchronous" in policy.info["policy"] else alive > 14)
    allowed = cells + (states + trash + 2 * width) * SIZE + width * ACTIVATIONS
    assert peak <= 1.15 * allowed
    assert peak >= cells + states * SIZE  # or the measurement is none
