"""Clocks from schedules: the steps of each worker, as they were, drawn from, or by a law."""

import dataclasses

import numpy as np
import optax
import pytest

import jaxasgd as ja

T = ja.times


def test_the_steps_are_those_of_the_rows():
    """Per unit of work, in order, of each worker; with a server that takes time, with and without it."""
    told = T.with_server(T.lognormal([1.0, 2.0, 5.0], sigma=0.5), update=0.2)
    work = ja.work.local_steps((1, 2, 1), optax.sgd(0.1))
    method = ja.Method(ja.policies.asgd(), optax.sgd(0.1), work=work)
    run = ja.simulate(method, told, num_updates=60)
    for of, seconds in (("jobs", run.time - run.start), ("work", run.seconds)):
        durations = T.from_schedule(run, "recorded", of=of).durations(0)
        drawn = T.from_schedule(run, of=of)
        for worker in range(3):
            mine = run.worker == worker
            steps = (seconds / run.size)[mine]
            assert [durations(worker, j) for j in range(len(steps))] == steps.tolist()
            assert drawn.mean[worker] == pytest.approx(steps.mean(), rel=1e-12)
            assert {drawn.durations(1)(worker, j) for j in range(50)} <= set(steps.tolist())


def test_cycles_hold_what_a_worker_waits_for():
    """Where the next job is taken up late, jobs are too quick, and cycles tell the pace that there was."""
    run = ja.simulate(ja.policies.asgd(), T.lognormal([1.0, 2.0], sigma=0.5), num_updates=50)
    late = dataclasses.replace(run, start=run.start + np.where(run.start > 0, 0.5 * (run.time - run.start), 0.0))
    for times, same in (
        (T.from_schedule(late, "recorded", of="cycles"), True),
        (T.from_schedule(late, "recorded"), False),
    ):
        again = ja.simulate(ja.policies.asgd(), times, num_updates=50)
        assert np.allclose(again.time, run.time) == same and (again.end < 0.7 * run.end) != same


def test_a_run_again():
    """What asynchronous SGD recorded makes the same run again; drawn from, one as fast."""
    times = T.gamma([1.0, 2.0, 4.0, 4.0], cv=0.5)
    run = ja.simulate(ja.policies.asgd(), times, num_updates=400)
    again = ja.simulate(ja.policies.asgd(), T.from_schedule(run, "recorded"), num_updates=400)
    assert again.worker.tolist() == run.worker.tolist() and again.delay.tolist() == run.delay.tolist()
    drawn = ja.simulate(ja.policies.asgd(), T.from_schedule(run), num_updates=4000)
    assert drawn.end / 4000 == pytest.approx(run.end / 400, rel=0.1)
    assert drawn.mean_delay == pytest.approx(run.mean_delay, rel=0.05)


def test_a_law():
    times = T.lognormal([1.0, 3.0], sigma=[0.2, 0.8])
    fitted = T.from_schedule(ja.simulate(ja.policies.asgd(), times, num_updates=8000), "lognormal")
    np.testing.assert_allclose(fitted.mean, [1.0, 3.0], rtol=0.06)
    np.testing.assert_allclose(fitted.args["sigma"], [0.2, 0.8], rtol=0.06)


def test_who_never_delivers():
    run = ja.simulate(ja.policies.asgd(), T.fixed([1.0, 1000.0]), num_updates=5)
    assert T.from_schedule(run).mean.tolist() == [1.0, np.inf]
    run = ja.simulate(ja.policies.rennala(2), T.fixed([1.0, 2.5]), num_updates=4)  # discarded ones are steps, too
    assert T.from_schedule(run).mean.tolist() == [1.0, 2.5]


ERRORS = {
    "no schedule": (lambda run: T.from_schedule(3), ["a ja.Schedule", "3"]),
    "another law": (lambda run: T.from_schedule(run, "gamma"), ['"bootstrap"', '"lognormal"', "'gamma'"]),
    "other seconds": (lambda run: T.from_schedule(run, of="idle"), ['"jobs"', '"work"', "'idle'"]),
    "no step": (lambda run: T.from_schedule(run, "lognormal"), ["worker 1 has none", 'how="bootstrap"']),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    call, words = ERRORS[name]
    run = ja.simulate(ja.policies.asgd(), T.fixed([1.0, 1000.0]), num_updates=5)
    with pytest.raises(ValueError) as caught:
        call(run)
    assert all(word in str(caught.value) for word in words), str(caught.value)
