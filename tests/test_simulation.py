"""The two ways to build a schedule are one; every schedule keeps its invariants; clocks with all their parts."""

from dataclasses import replace

import numpy as np
import optax
import oracle_clock
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxasgd as ja
from jaxasgd import simulation
from jaxasgd.schedule import CANCELLED, LOST, QUEUED, RUNNING
from jaxasgd.times.pieces import Absences, Pieces

P = ja.policies
steady = settings(max_examples=150, deadline=None, derandomize=True, database=None)


# ------------------------------------------------------------------- random clocks and policies


@st.composite
def clocks(draw, least=1, most=40):
    """Any law: ties, zeros, heavy tails, jobs that never end."""
    n = draw(st.integers(least, most))
    speeds = draw(st.sampled_from([1.0, np.arange(1.0, n + 1), 0.25 * 2.0 ** np.arange(n).clip(max=6)]))
    kind = draw(st.sampled_from(["fixed", "exponential", "lognormal", "pareto", "ticks", "never"]))
    mean = np.broadcast_to(speeds, (n,))
    if kind == "fixed":
        return ja.times.fixed(mean)
    if kind == "exponential":
        return ja.times.exponential(mean)
    if kind == "lognormal":
        return ja.times.lognormal(mean, sigma=1.0)
    if kind == "pareto":
        return ja.times.pareto(minimum=mean, alpha=0.9)
    if kind == "ticks":
        return ja.times.custom(lambda rng, i, count: rng.integers(0 if i else 1, 4, count), n)
    return ja.times.custom(lambda rng, i, count: np.where(rng.random(count) < 0.04, np.inf, rng.random(count)), n)


LIMITS = st.one_of(
    st.builds(lambda k: {"num_updates": k}, st.integers(0, 120)),
    st.builds(lambda t: {"until": t}, st.sampled_from([0.0, 0.3, 5.0, 12.0])),
    st.builds(lambda k, t: {"num_updates": k, "until": t}, st.integers(1, 60), st.sampled_from([2.0, 9.0])),
)
PURE = {
    "asgd": lambda size, n: P.asgd(),
    "ringmaster": lambda size, n: P.ringmaster(size),
    "ringmaster, growing": lambda size, n: P.ringmaster(lambda version: 1 + version // size),
    "rennala": lambda size, n: P.rennala(size),
    "buffered": lambda size, n: P.buffered(size),
    "double-buffered": lambda size, n: P.double_buffered(None if size % 2 else size),
    "hogwild": lambda size, n: P.hogwild(size, reading=1 / size),
    "pipelined": lambda size, n: P.pipelined(min(size, n), batch=1 + size % 3, warmup=size % 4),
    "pipelined, latest": lambda size, n: P.pipelined(min(size, n), weights="latest"),
    "pipelined, synced": lambda size, n: P.pipelined(min(size, n), weights="synced"),
}
OTHERS = {
    "synchronous": lambda size, n: P.synchronous(),
    "backup": lambda size, n: P.synchronous(backup=min(size, n - 1)),
    "backup, late ignored": lambda size, n: P.synchronous(backup=min(size, n - 1), late="ignore"),
    "ringmaster, stops": lambda size, n: P.ringmaster(size, stops=True),
    "rennala, restart": lambda size, n: P.rennala(size, stale="restart"),
    "malenia": lambda size, n: P.malenia(n + size),
    "malenia, restart": lambda size, n: P.malenia(n + size, stale="restart"),
    "ssp": lambda size, n: P.ssp(size),
    "held": lambda size, n: P.buffered(min(size, n), hold=True),
    "random": lambda size, n: P.dispatched("random"),
    "shuffled": lambda size, n: P.dispatched("shuffled", waiting=min(size, n)),
    "idle": lambda size, n: P.dispatched("idle", concurrency=-(-n // 2)),
    "queues": lambda size, n: P.dispatched("pure", concurrency=n + size),
    "ringleader": lambda size, n: P.ringleader(),
    "aggregated": lambda size, n: P.aggregated(),
    "refreshed": lambda size, n: P.aggregated(begin="refresh"),
    "mindflayer": lambda size, n: P.mindflayer(1 + size % 3, 2.5, 0.9),
}
EVERY = PURE | OTHERS
FEW = {"max_arrivals": 3000}


def event_by_event(policy):
    """The same policy without its form over arrays."""
    return policy._replace(on=lambda state, event: policy.on(state, event))


# ------------------------------------------------------------------- one mechanism, twice


@steady
@given(
    clocks(), st.sampled_from(sorted(PURE)), st.integers(1, 9), LIMITS, st.sampled_from(["after", "before"]), st.data()
)
def test_arrays_equal_the_event_loop(times, name, size, limits, reads, data):
    """Row for row, to the bit: also the jobs in flight, the end and the status."""
    policy = PURE[name](size, times.num_workers)
    assert policy.pure is not None
    arguments = {"seed": data.draw(st.integers(0, 5)), "reads": reads, **limits, **FEW}
    slow = ja.simulate(event_by_event(policy), times, **arguments)
    fast = ja.simulate(policy, times, **arguments)
    assert fast == slow
    assert fast.unfinished["kind"].tolist() == [RUNNING] * times.num_workers


def test_arrays_are_used(monkeypatch):
    """The quick way is taken where it can be, and not elsewhere."""
    played = []
    play = simulation.Server.play
    monkeypatch.setattr(simulation.Server, "play", lambda self, *a: played.append(1) or play(self, *a))
    times = ja.times.exponential(1.0, num_workers=5)
    for build in PURE.values():
        ja.simulate(build(3, 5), times, num_updates=20)
    assert not played
    for build in OTHERS.values():
        ja.simulate(build(3, 5), times, until=5.0)
    assert len(played) == len(OTHERS)
    ja.simulate(P.asgd(), replace(times, up=ja.times.fixed(0.1, num_workers=5)), num_updates=20)
    assert len(played) == len(OTHERS) + 1


@pytest.mark.parametrize("reads", ["after", "before"])
def test_jobs_of_several_units(reads):
    """Sizes by worker multiply the clock in both ways."""
    method = ja.Method(P.asgd(), optax.sgd(0.1), work=ja.work.local_steps((1, 2, 5), optax.sgd(0.1)))
    times = ja.times.lognormal([1.0, 2.0, 3.0], sigma=0.5)
    fast = ja.simulate(method, times, num_updates=200, reads=reads)
    slow = ja.simulate(replace(method, policy=event_by_event(P.asgd())), times, num_updates=200, reads=reads)
    assert fast == slow and fast.size.tolist() == np.array([1, 2, 5])[fast.worker].tolist()
    first = fast.worker.tolist().index(2)
    assert fast.time[first] == 5 * times.durations(0)(2, 0)


def test_a_run_without_updates_is_stalled_either_way(monkeypatch):
    """A batch that is never full in so many arrivals."""
    monkeypatch.setattr(simulation, "NO_UPDATE", 1000)
    policy, times = P.buffered(2000), ja.times.fixed([1.0, 1.0])
    runs = [ja.simulate(one, times, num_updates=1) for one in (policy, event_by_event(policy))]
    assert runs[0] == runs[1] and runs[0].status == "stalled"
    assert not runs[0].num_updates and 1000 < len(runs[0]) <= 1002


def test_many_workers_at_once_equal_one_by_one(monkeypatch):
    """Restarts by the thousand are arrays; the schedule does not show it."""
    for n, name, clock in [
        (60, "ringmaster, stops", "exponential"), (60, "rennala, restart", "pareto"), (60, "synchronous", "fixed"),
        (45, "backup", "exponential"), (45, "malenia, restart", "fixed"), (60, "ringmaster, stops", "fixed"),
    ]:  # fmt: skip
        times = getattr(ja.times, clock)(
            **{"pareto": {"minimum": 1.0, "alpha": 1.1}}.get(clock, {"mean": 1.0}), num_workers=n
        )
        for units in (1, tuple(range(1, n + 1))):
            method = ja.Method(OTHERS[name](4, n), optax.sgd(0.1), work=ja.work.local_steps(units, optax.sgd(0.1)))
            runs = []
            for most in (2, 10**9):
                monkeypatch.setattr(simulation, "MANY", most)
                runs.append(ja.simulate(method, times, num_updates=60, seed=1))
            kinds = lambda run: sorted(zip(*run.unfinished.values(), strict=True))
            assert replace(runs[0], unfinished={}) == replace(runs[1], unfinished={}), name
            assert kinds(runs[0]) == kinds(runs[1]), name  # of one moment, in any order


# ------------------------------------------------------------------- invariants


@settings(steady, max_examples=300)
@given(clocks(), st.sampled_from(sorted(EVERY)), st.integers(1, 9), LIMITS, st.sampled_from(["after", "before"]))
def test_invariants_of_every_schedule(times, name, size, limits, reads):
    policy = EVERY[name](size, times.num_workers)
    run = ja.simulate(policy, times, seed=1, reads=reads, **limits, **FEW)
    durations, lost = times.durations(1), run.unfinished
    assert run.status in ("finished", "stalled") and (np.diff(run.time) >= 0).all()
    if "num_updates" in limits:
        assert run.num_updates <= limits["num_updates"]
        finished = run.num_updates == limits["num_updates"]
        assert run.status == ("finished" if finished or "until" in limits else "stalled") or "until" in limits
        if finished and len(run):
            assert run.step[-1] and run.end == run.time[-1]
    if "until" in limits and len(run):
        assert run.end <= limits["until"] and run.time[-1] <= limits["until"]
    assert ((run.delay >= 0) | (run.size == 0).reshape(-1, *[1] * (run.delay.ndim - 1))).all()
    assert lost["count"].tolist() == [1] * len(lost["count"])
    for worker in range(times.num_workers):
        mine, gone = (run.worker == worker) & (run.size > 0), lost["worker"] == worker
        served = gone & (lost["kind"] != QUEUED) & ~((lost["kind"] == CANCELLED) & (lost["start"] == lost["time"]))
        start = np.concatenate([run.start[mine], lost["start"][served]])
        ends = np.concatenate([run.time[mine], lost["time"][served]])
        order = np.lexsort((ends, start))
        assert (start[order][1:] >= ends[order][:-1]).all(), "one job at a time"
        jobs = list(zip(run.visit[mine].tolist(), run.repeat[mine].tolist(), strict=True))
        assert len(set(jobs)) == len(jobs), "samples are keyed by worker, visit and repeat"
        assert (lost["kind"][gone] == RUNNING).sum() <= 1
        if run.read.ndim == 1 and name not in ("double-buffered",) and "pipelined" not in name:
            reads_of = run.read[mine][np.argsort(run.start[mine], kind="stable")]
            assert (np.diff(reads_of) >= 0).all(), "a worker reads newer and newer versions"
        if name in ("asgd", "buffered", "rennala", "ringmaster"):  # the j-th job of a worker lasts what the clock says
            seconds = [durations(worker, j) for j in range(mine.sum() + 1)]
            assert np.array_equal(run.time[mine], np.cumsum(seconds)[: mine.sum()])
    if name in (
        "asgd",
        "hogwild",
        "ssp",
        "random",
        "shuffled",
        "idle",
        "synchronous",
        "buffered",
        "rennala",
        "malenia",
        "held",
    ):
        total = np.bincount(run.version, run.weight, run.num_updates + 1)
        np.testing.assert_allclose(total[: run.num_updates], 1.0, rtol=1e-9)
    assert (run.weight[~run.use] == 0).all()
    if name in ("ringmaster, growing", "asgd", "ringmaster", "buffered") and reads == "after":
        ages = lost["age"].sum()
        assert run.delay.sum() + ages == oracle_clock.identity(run)


# ------------------------------------------------------------------- clocks with all their parts


@st.composite
def clusters(draw):
    """A clock with any of: powers, absences, messages, a server that takes time."""
    n, seed = draw(st.integers(1, 6)), draw(st.integers(0, 2**20))
    rng = np.random.default_rng(seed)
    times = ja.times.exponential(rng.uniform(0.5, 2.0, n))
    parts = {}
    if draw(st.booleans()):
        pieces = [
            [(float(s), float(p)) for s, p in zip(rng.exponential(1.0, 8), rng.choice([0, 0.5, 1, 2], 8), strict=True)]
            for _ in range(n)
        ]
        pieces = [mine + [(1.0, 1.0)] for mine in pieces]
        parts["power"] = (Pieces(lambda rng, i: iter(pieces[i])), pieces)
    if draw(st.booleans()):
        gone = [np.sort(rng.uniform(0, 15, 2 * rng.integers(0, 3))).reshape(-1, 2).tolist() for _ in range(n)]
        if draw(st.booleans()):
            gone[0].append([16.0, np.inf])
        parts["absences"] = (Absences(lambda rng, i: iter([tuple(a) for a in gone[i]])), gone)
    if draw(st.booleans()):
        parts["down"] = (ja.times.fixed(rng.uniform(0.0, 0.3, n) + 0.01), None)
    if draw(st.booleans()):
        parts["up"] = (ja.times.exponential(0.2, num_workers=n), None)
    if draw(st.booleans()):
        parts["receive"] = (ja.times.exponential([0.05]), None)
    if draw(st.booleans()):
        parts["update"] = (ja.times.exponential([0.3]), None)
    return replace(times, **{name: part for name, (part, _) in parts.items()}), {
        name: told for name, (_, told) in parts.items()
    }


@settings(steady, max_examples=200)
@given(clusters(), st.sampled_from(["after", "before"]))
def test_every_part_of_a_clock_against_a_slow_loop(cluster, reads):
    times, told = cluster
    run = ja.simulate(P.asgd(), times, until=20.0, seed=2, reads=reads)
    rows, lost, in_flight = oracle_clock.asgd(times, told, 20.0, seed=2, reads=reads)
    assert len(run) == len(rows)
    for k, name in enumerate(("time", "start", "worker", "read", "visit", "repeat", "seconds")):
        mine = (run.time - run.start if run.busy is None else run.busy) if name == "seconds" else getattr(run, name)
        np.testing.assert_allclose(mine, [row[k] for row in rows], rtol=1e-9, atol=1e-9, err_msg=name)
    assert sorted(run.unfinished["worker"][run.unfinished["kind"] == LOST].tolist()) == sorted(lost)
    assert sorted(run.unfinished["worker"][run.unfinished["kind"] == RUNNING].tolist()) == sorted(in_flight)


@pytest.mark.parametrize("name", sorted(set(EVERY) - {"queues"}))
def test_policies_when_workers_come_and_go(name):
    """Whoever is back works again, nobody who is away has a job, and who must wait for the dead stalls."""
    n = 5
    gone = {1: [(3.0, 4.0), (9.0, 9.5)], 2: [(0.0, 6.0)], 3: [(5.0, 5.0), (12.0, 30.0)], 4: [(14.0, np.inf)]}
    times = replace(ja.times.exponential(1.0, num_workers=n), absences=Absences(lambda rng, i: iter(gone.get(i, []))))
    run = ja.simulate(EVERY[name](2, n), times, until=60.0, seed=3)
    ends = np.concatenate([run.time, run.unfinished["time"]])
    start = np.concatenate([run.start, run.unfinished["start"]])
    worker = np.concatenate([run.worker, run.unfinished["worker"]])
    held = np.isin(run.unfinished["kind"], (RUNNING, CANCELLED) if name != "mindflayer" else ())  # its time-outs go on
    real = np.concatenate([run.size > 0, held])
    for i, absences in gone.items():
        for left, back in absences:
            mine = real & (worker == i)
            assert not (mine & (start < back) & (ends > left)).any(), (i, left)
    waits = {"synchronous", "malenia", "malenia, restart", "ringleader", "ssp"}  # for every worker, also for a dead one
    if name in waits:
        assert run.num_updates and run.time[-1] < 60.0
    else:
        late = run.worker[(run.time > 31.0) & (run.size > 0)]
        expected = {0, 1, 2, 3} if "random" not in name else set(late.tolist())
        assert set(late.tolist()) == expected and run.status == "finished"
        assert len(late) > 40, "the others go on"
    if name in ("random", "shuffled"):  # the number of jobs stays the same
        assert np.isin(run.unfinished["kind"], (RUNNING, QUEUED)).sum() == n


@pytest.mark.parametrize("name", sorted(EVERY))
def test_all_dead_is_stalled(name):
    times = replace(ja.times.exponential(1.0, num_workers=4), absences=Absences(lambda rng, i: iter([(2.0, np.inf)])))
    run = ja.simulate(EVERY[name](2, 4), times, until=50.0)
    assert len(run) == 0 or run.time[run.size > 0].max(initial=0) <= 2.0
    assert run.status == "stalled" or name == "mindflayer"  # whose time-outs go on


def test_a_loss_has_a_message():
    """A policy that takes a lost job for a gradient is told so."""
    times = replace(ja.times.fixed([1.0, 2.0]), absences=Absences(lambda rng, i: iter([(1.5, 3.0)] if i else [])))
    naive = P.asgd()._replace(on=lambda state, event: (state, ja.Decision(use=True, step=True, start=(event.worker,))))
    with pytest.raises(ValueError, match=r"the policy used a lost: there is no gradient to use"):
        ja.simulate(naive, times, until=5.0)


def test_a_busy_server_is_a_queue():
    """Two workers of 1 s, an update takes 2 s: the server is never idle, and an update arrives every 2 s."""
    times = replace(ja.times.fixed([1.0, 1.0]), update=ja.times.fixed([2.0]))
    run = ja.simulate(P.asgd(), times, num_updates=5)
    assert run.time.tolist() == [3.0, 5.0, 7.0, 9.0, 11.0]
    assert run.start.tolist() == [0.0, 0.0, 3.0, 5.0, 7.0] and run.busy.tolist() == [1.0] * 5
    assert run.worker.tolist() == [0, 1, 0, 1, 0] and run.delay.tolist() == [0, 1, 1, 1, 1]
    held = ja.simulate(P.asgd(), times, until=8.0)
    assert held.time.tolist() == [3.0, 5.0, 7.0] and held.end == 8.0
    assert held.unfinished["seconds"].tolist() == [1.0, 1.0]  # one waits at the server, one has worked from 7 to 8
