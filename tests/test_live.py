"""Live fleets: with a crew whose seconds are those of a clock, a run is the simulation; else there are invariants."""

import math
from heapq import heappop, heappush

import jax
import numpy as np
import pytest
from test_simulation import EVERY

import jaxasgd as ja
from jaxasgd import recording
from jaxasgd.arrivals import Limits
from jaxasgd.runtimes import live, settings
from jaxasgd.runtimes.working import Back, Failure, Result
from jaxasgd.schedule import CANCELLED, LOST, TIMEOUT
from jaxasgd.simulation import Server

P = ja.policies
STOPPING = {
    "backup",
    "ringmaster, stops",
    "rennala, restart",
    "malenia, restart",
    "mindflayer",
}  # calls can't be stopped


class Rows(recording.Rows):
    """A server without numbers: what is sent is the version."""

    maker, arrived = -1, None

    def __init__(self, tags, num_workers):
        super().__init__(tags)
        self.payload, self.used, self.heard = 0, [False] * num_workers, []

    def append(self, told, use, step, *row):
        super().append(told, use, step, *row)
        worker, read, size = row[3], row[4], row[7]
        if size:
            assert self.arrived.update == ("gradient", worker, read) and self.arrived.stale == read
        self.used[worker] = self.used[worker] or bool(use)
        self.payload += bool(step)


class Crew:
    """Calls take the seconds of a clock, and its time passes in no time."""

    def __init__(self, times, seed, faults=()):
        self.now, self.durations = 0.0, times.durations(seed)
        self.faults = dict(faults)  # (worker, job) -> seconds after which it fails
        self.heap, self.calls, self.busy = [], [], set()

    def __call__(self):
        return self.now

    def send(self, call):
        assert call.worker not in self.busy, "one call at a time"
        self.busy.add(call.worker)
        self.calls.append(call)
        end = self.now + call.size * self.durations(call.worker, call.job)
        report = Result(call.worker, call.serial, self.now, self.now, end, ("gradient", call.worker, call.payload))
        if (call.worker, call.job) in self.faults:
            end = self.now + self.faults[call.worker, call.job]
            report = Failure(call.worker, call.serial, self.now, end, OSError("disk"))
        heappush(self.heap, (end, call.worker, call.serial, report))

    def receive(self, wait):
        if self.heap and self.heap[0][0] <= self.now + wait and self.heap[0][0] < math.inf:
            end, worker, _, report = heappop(self.heap)
            self.now = max(self.now, end)
            self.busy.discard(worker)
            return report
        assert wait < math.inf, "waits for ever"
        self.now += wait
        return None

    def restart(self, worker):
        heappush(self.heap, (self.now, worker, -1, Back(worker)))

    def stop(self):
        return [report for *_, report in self.heap]

    def wake(self):
        pass


def play(policy, times, num_updates=math.inf, until=math.inf, seed=0, on_failure="stop", units=None, **options):
    """A live run without threads and without numbers: the schedule, the crew, the fleet."""
    n = times.num_workers
    limits = Limits(num_updates, until, 10_000, math.inf)
    pace = lambda worker, job, size: (1.0, 0.0)
    setting = settings.Setting(None, None, n, units or [1] * n, limits, None, None, seed, pace, on_failure, {})
    crew, rows = Crew(times, seed, **options), Rows(policy.tags, n)
    fleet = live.LiveFleet(setting, rows, crew, crew, lambda version, seconds: None)
    return Server(policy, fleet, rows, seed, "after").play(limits, {}), crew, fleet


def event_by_event(policy):
    return policy._replace(on=lambda state, event: policy.on(state, event))


TIMES = {
    "lognormal": lambda n: ja.times.lognormal(np.arange(1.0, n + 1), sigma=1.0),
    "equal": lambda n: ja.times.fixed(1.0, num_workers=n),
    "never": lambda n: ja.times.never(ja.times.exponential(1.0, num_workers=n), probability=0.05),
}


# ------------------------------------------------------------------- the simulation


@pytest.mark.parametrize("law", TIMES)
@pytest.mark.parametrize("name", sorted(set(EVERY) - STOPPING))
def test_with_a_clock_it_is_the_simulation(name, law):
    """Row for row, to the bit, unfinished jobs too; queues, gates, random dispatch, tags, late weights."""
    n, times = 5, TIMES[law](5)
    for limits in ({"until": 17.3}, {"num_updates": 60})[: 1 if law == "never" else 2]:
        run, crew, fleet = play(EVERY[name](2, n), times, **limits, seed=3)
        told = {"max_arrivals": 10_000} | limits
        wanted = ja.simulate(event_by_event(EVERY[name](2, n)), times, **told, seed=3)
        assert run.end == wanted.end and (run.status == wanted.status or law == "never")  # who waits can't know
        for column in (*recording.COLUMNS, "version"):
            np.testing.assert_array_equal(getattr(run, column), getattr(wanted, column), err_msg=column)
        np.testing.assert_allclose(run.seconds, wanted.seconds, rtol=1e-12)
        assert list(run.tags) == list(wanted.tags)
        for tag, column in run.tags.items():
            np.testing.assert_array_equal(column, wanted.tags[tag])
        mine, theirs = (
            np.lexsort((lost["read"], lost["kind"], lost["worker"])) for lost in (run.unfinished, wanted.unfinished)
        )
        for column, values in wanted.unfinished.items():
            np.testing.assert_allclose(
                run.unfinished[column][mine], values[theirs], rtol=1e-12, atol=1e-12, err_msg=column
            )
        assert not fleet.to_send, "what nobody will read is forgotten"
        check_calls(run, crew, fleet)


def check_calls(run, crew, fleet):
    """What workers are told: turns count units in rows, and a state is kept only after a gradient that was used."""
    rows = {
        (int(w), int(v), int(r)): k for k, (w, v, r) in enumerate(zip(run.worker, run.visit, run.repeat, strict=True))
    }
    latest = {}
    for call in crew.calls:
        row = rows.get((call.worker, call.visit, call.repeat))
        if row is not None and run.size[row]:
            assert call.turn == run.turn[row]
        before = latest.get(call.worker)
        used = before is not None and before in rows and run.use[rows[before]]
        assert call.commit == used
        latest[call.worker] = call.worker, call.visit, call.repeat
    for worker in range(run.num_workers):
        assert [call.job for call in crew.calls if call.worker == worker] == list(range(fleet.started[worker]))


def test_jobs_of_several_units():
    times = ja.times.lognormal([1.0, 2.0, 3.0], sigma=0.5)
    run, crew, _ = play(P.asgd(), times, num_updates=50, units=[1, 2, 5])
    assert run.size.tolist() == np.array([1, 2, 5])[run.worker].tolist()
    assert [call.turn for call in crew.calls if call.worker == 2] == [5 * k for k in range((run.worker == 2).sum() + 1)]


# ------------------------------------------------------------------- jobs that are given up


def spans(run, worker):
    """When a worker was at work, in order: start, end."""
    lost = run.unfinished
    rows = (run.worker == worker) & (run.size > 0)
    jobs = (lost["worker"] == worker) & (lost["seconds"] > 0)  # others were never begun
    start = np.concatenate([run.start[rows], lost["start"][jobs]])
    end = np.concatenate([run.time[rows], lost["time"][jobs]])
    order = np.lexsort((end, start))
    return start[order], end[order]


@pytest.mark.parametrize("law", ("lognormal", "equal"))
@pytest.mark.parametrize("name", sorted(STOPPING))
def test_a_call_under_way_is_not_stopped(name, law):
    """The next job is stamped at once and begins when the call is over, whose seconds are noted; nothing overlaps."""
    n, times = 5, TIMES[law](5)
    run, crew, fleet = play(EVERY[name](2, n), times, num_updates=40, seed=1)
    assert run.num_updates == 40 and run.status == "finished"
    kinds = run.unfinished["kind"]
    assert name == "mindflayer" or law == "equal" or (kinds == CANCELLED).any()
    for worker in range(n):
        start, end = spans(run, worker)
        assert (start[1:] >= end[:-1] - 1e-9).all()
    check_calls(run, crew, fleet)
    ghosts = kinds == CANCELLED
    worked = run.unfinished["time"] - run.unfinished["start"]
    np.testing.assert_allclose(run.unfinished["seconds"][ghosts], worked[ghosts], rtol=1e-9)
    for worker in range(n):  # each call but the last has the whole of its seconds, whoever waits for it
        start, end = spans(run, worker)
        calls = [call for call in crew.calls if call.worker == worker]
        lengths = [call.size * times.durations(1)(worker, call.job) for call in calls]
        np.testing.assert_allclose((end - start)[: len(calls) - 1], lengths[:-1], rtol=1e-9)


@pytest.mark.parametrize("policy", (P.ringmaster(3, stops=True), P.ringmaster(2, stops=True)))
def test_the_delay_identity(policy):
    """sum of delays + sum of ages of jobs that were given up = (n - 1) T, exactly, whatever the calls do."""
    n, times = 6, TIMES["lognormal"](6)
    run, *_ = play(policy, times, num_updates=100, seed=2)
    assert run.delay.sum() + run.unfinished["age"].sum() == (n - 1) * 100
    assert run.delay.max() < policy.info["bound"] and (run.unfinished["kind"] == CANCELLED).sum() > 20


def test_timeouts():
    """A job that takes longer is given up after its seconds; its successor begins when the call is over."""
    policy = P.Policy(
        lambda n, rng: (None, [ja.Job(i, timeout=2.0) for i in range(n)]),
        lambda state, event: (
            state,
            ja.Decision(
                use=event.kind == "gradient", step=event.kind == "gradient", start=ja.Job(event.worker, timeout=2.0)
            ),
        ),
    )
    run, crew, _ = play(policy, ja.times.recorded([[1.0], [5.0, 1.5, 1.5]]), until=9.0)
    mine = run.worker == 1
    assert run.start[mine].tolist() == [5.0, 6.5] and run.time[mine].tolist() == [6.5, 8.0]
    lost = run.unfinished
    late = lost["kind"] == TIMEOUT
    # handed out at 0 with version 0, given up at 2; its successor of that moment waits until 5 and is in time then
    assert lost["worker"][late].tolist() == [1] and lost["start"][late] == 0.0 and lost["time"][late] == 5.0
    assert lost["seconds"][late] == 5.0 and lost["age"][late] == 2
    assert run.read[mine][0] == 2, "stamped when the job before was given up"
    assert crew.calls[-1].worker in (0, 1)


# ------------------------------------------------------------------- workers that fail


def test_dropped():
    times = ja.times.fixed([1.0, 1.0, 1.0])
    run, _, fleet = play(P.asgd(), times, until=8.1, on_failure="drop", faults={(1, 2): 0.25})
    assert np.bincount(run.worker).tolist() == [8, 2, 8] and fleet.absent == {1}
    lost = run.unfinished["kind"] == LOST
    assert run.unfinished["worker"][lost].tolist() == [1]
    assert (run.unfinished["start"][lost], run.unfinished["time"][lost]) == (2.0, 2.25)
    assert run.unfinished["seconds"][lost] == 0.25


def test_restarted():
    times = ja.times.fixed([1.0, 1.0, 1.0])
    run, crew, fleet = play(P.asgd(), times, until=8.1, on_failure="restart", faults={(1, 2): 0.25})
    assert np.bincount(run.worker).tolist() == [8, 7, 8] and not fleet.absent
    assert run.start[run.worker == 1].tolist() == [0.0, 1.0, 2.25, 3.25, 4.25, 5.25, 6.25]
    assert [call.job for call in crew.calls if call.worker == 1] == list(range(9))


def test_all_gone_is_stalled():
    times = ja.times.fixed([1.0, 2.0])
    run, *_ = play(P.asgd(), times, num_updates=50, on_failure="drop", faults={(0, 3): 0.25, (1, 1): 0.25})
    assert run.status == "stalled" and run.worker.tolist() == [0, 0, 1, 0]
    assert (run.unfinished["kind"] == LOST).sum() == 2


@pytest.mark.parametrize("name", sorted(set(EVERY) - {"queues"}))
@pytest.mark.parametrize("on_failure", ("drop", "restart"))
def test_policies_when_workers_fail(name, on_failure):
    """Nobody works while away; whoever is back works again; who waits for the dead for ever stalls."""
    n, times = 5, ja.times.exponential(1.0, num_workers=5)
    faults = dict.fromkeys([(1, 2), (3, 0), (3, 1), (4, 5)], 0.25)
    run, _, fleet = play(EVERY[name](2, n), times, until=60.0, seed=3, on_failure=on_failure, faults=faults)
    assert (run.unfinished["kind"] == LOST).sum() > 0 or name == "mindflayer"
    for worker in range(n):
        start, end = spans(run, worker)
        assert (start[1:] >= end[:-1] - 1e-9).all()
    if on_failure == "restart":
        assert not fleet.absent and run.status == "finished"
        assert len(set(run.worker[run.time > 30.0].tolist())) > (0 if name == "queues" else 3)
    else:
        assert fleet.absent <= {1, 3, 4}
        assert not set(run.worker[(run.time > 40.0) & (run.size > 0)].tolist()) & fleet.absent


def test_a_failure_ends_the_run():
    times = ja.times.fixed([1.0, 1.5])
    with pytest.raises(
        live.WorkerFailed, match=r"worker 1 failed in its job 2, at version 5 \(OSError: disk\)"
    ) as caught:
        play(P.asgd(), times, num_updates=50, faults={(1, 2): 0.25})
    assert isinstance(caught.value, RuntimeError) and isinstance(caught.value.__cause__, OSError)
    assert (caught.value.worker, caught.value.job) == (1, 2)
    with pytest.raises(live.WorkerFailed, match="that is the 10th time in a row"):
        play(P.asgd(), times, num_updates=500, on_failure="restart", faults={(1, job): 0.25 for job in range(10)})


def test_a_worker_that_fails_in_a_job_that_was_given_up():
    """Its successor is lost with it, and it comes back."""
    times = ja.times.recorded([[1.0], [10.0, 0.5]])
    run, crew, _ = play(P.ringmaster(2, stops=True), times, until=6.1, on_failure="restart", faults={(1, 0): 3.5})
    mine = run.unfinished["worker"] == 1
    ghost = np.flatnonzero(mine & (run.unfinished["seconds"] > 0))
    assert run.unfinished["kind"][ghost[0]] == CANCELLED
    assert (run.unfinished["start"][ghost[0]], run.unfinished["time"][ghost[0]]) == (0.0, 3.5)
    assert (run.unfinished["kind"][mine] == LOST).sum() == 1  # the successor, never begun
    assert [call.job for call in crew.calls if call.worker == 1][:2] == [0, 1] and (run.worker == 1).sum() == 1


def test_settings_say_what_is_wrong():
    assert settings.scaled(ja.times.fixed([1.0, 2.0]), 0.5).mean.tolist() == [0.5, 1.0]
    times = settings.scaled(ja.times.recorded([[1.0, 3.0]]), 0.1)
    assert [round(times.durations(0)(0, j), 9) for j in range(3)] == [0.1, 0.3, 0.1]
    assert settings.local_devices(jax.devices()[2]) == [jax.devices()[2]]
