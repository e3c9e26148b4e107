"""How many gradients are computed side by side, and that nothing but rounding shows it."""

import dataclasses

import cases
import jax
import numpy as np
import optax
import pytest

import jaxasgd as ja
from jaxasgd import widths

KEY = jax.random.key(0)


def waves(policy, **changes):
    problem = cases.quadratic()[0]
    method = ja.Method(policy, optax.sgd(0.1)).bind(cases.N, cases.CLOCKS["exponential"]())
    schedule = ja.simulate(policy, cases.CLOCKS["exponential"](), num_updates=40)
    return widths.best_waves(problem, dataclasses.replace(schedule, **changes), method)


def test_on_a_cpu():
    """Batches at one version go side by side, everything else and recorded runs one by one."""
    assert waves(ja.policies.synchronous()) == {"width": 8, "one_each": False}  # 5 workers
    assert waves(ja.policies.rennala(20)) == {"width": 32, "one_each": False}
    assert waves(ja.policies.rennala(200)) == {"width": 64, "one_each": False}
    assert waves(ja.policies.asgd())["width"] == waves(ja.policies.buffered(4))["width"] == 1
    assert waves(ja.policies.synchronous(), info={})["width"] == 1


def test_elsewhere(monkeypatch):
    """On other devices: as wide as the waves are on average, within the memory."""
    schedule = ja.simulate(ja.policies.asgd(), ja.times.fixed(1.0, num_workers=50), num_updates=1000)
    assert widths.by_waves(schedule, 1024, False) == 50.0
    assert widths.by_waves(schedule, 16, False) == pytest.approx(16, rel=0.02)
    problem, method = cases.quadratic(50)[0], ja.Method(ja.policies.asgd(), optax.sgd(0.1)).bind(50, None)

    class Device:
        platform = "gpu"
        memory_stats = lambda self: {"bytes_limit": 8 * 4 * 4 * 30}  # an eighth holds 30 gradients of 4 numbers

    assert widths.best_waves(problem, schedule, method, [Device()]) == {"width": 16, "one_each": False}
    Device.memory_stats = lambda self: None
    assert widths.best_waves(problem, schedule, method, [Device()]) == {"width": 64, "one_each": False}


@pytest.mark.parametrize("policy", [ja.policies.synchronous(backup=1), ja.policies.rennala(7), ja.policies.malenia(9)])
def test_a_batch_at_once_is_the_batch_row_by_row(x64, policy):
    """With a diverging idle row or a last wave that is not full, too."""
    problem = cases.quadratic()[0]
    schedule = ja.simulate(policy, cases.CLOCKS["lognormal"](), num_updates=25)
    ends = [ja.run(problem, schedule, optax.adam(0.1), key=KEY, width=w, evaluate=6) for w in (1, 2, 3, 8, 64, None)]
    for end in ends[1:]:
        np.testing.assert_allclose(end.params, ends[0].params, rtol=1e-11)
        np.testing.assert_allclose(end.loss, ends[0].loss, rtol=1e-11)
