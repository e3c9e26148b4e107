"""Sweeps: every member equals its single run; what is shared, cut, spread or stopped changes nothing."""

import functools
import re

import cases
import jax
import numpy as np
import optax
import pytest

import jaxasgd as ja
from jaxasgd import sweep_jobs, sweep_runs, sweep_sizes
from jaxasgd.sweeps import sweep

KEY = jax.random.key(5)
ONE = jax.devices()[:1]
ASYNC = {"async": ja.methods.asgd}
RATES = {"learning_rate": [0.02, 0.05, 0.1]}


def quadratic():
    return ja.problems.quadratic(dim=6, condition=5.0, noise=0.1)


def small(methods=None, grid=None, problem=None, **options):
    """A sweep that runs in no time."""
    defaults = {"num_updates": 24, "points": 3, "seeds": 2, "key": KEY, "devices": ONE}
    times = options.pop("times", cases.CLOCKS["exponential"]())
    return sweep(problem or quadratic(), times, methods or ASYNC, grid or RATES, **(defaults | options))


def same(a, b, exactly=True):
    check = np.testing.assert_array_equal if exactly else functools.partial(np.testing.assert_allclose, rtol=1e-10)
    assert a.methods == b.methods and len(a.members) == len(b.members)
    for one, other in zip(a.members, b.members, strict=True):
        assert (one.label, one.seed, one.status, one.ended) == (other.label, other.seed, other.status, other.ended)
        for name in one.columns:
            check(one.columns[name], other.columns[name], err_msg=f"{one.label}, seed {one.seed}: {name}")


@pytest.mark.parametrize("how", ["vmap", "loop", "threads"])
def test_members_equal_single_runs(x64, how):
    """Two clocks, a bound that changes the policy, a method that discards: to 1e-10, also spread over 8 devices."""
    problem, *_ = cases.PROBLEMS["linear, random"]()
    clocks = {name: cases.CLOCKS[name]() for name in ("exponential", "linear")}
    methods = {
        "ringmaster": ja.methods.ringmaster,
        "backup": lambda learning_rate: ja.methods.backup_sgd(learning_rate, backup=1),
    }
    grid = {"learning_rate": [0.02, 0.05], "bound": [2, 4]}
    options = {"until": 9.0, "num_updates": None, "seeds": [3, 7], "points": 4, "how": how}
    found = small(methods, grid, problem, times=clocks, devices=None if how == "vmap" else ONE, **options)
    assert len(found.members) == (4 + 2) * 2 * 2 and found["ringmaster"].loss.shape[:-1] == (2, 2, 2, 2)
    for member in found.members:
        method = methods[member.method](**member.numbers)
        schedule = ja.simulate(method, clocks[member.clock], until=9.0, seed=member.seed)
        key = jax.random.fold_in(KEY, member.seed)
        alone = ja.run(problem, schedule, method, key=key, evaluate=np.linspace(0, 9.0, 5))
        for name in ("time", "update", "gradients"):
            np.testing.assert_array_equal(member.columns[name], getattr(alone, name))
        np.testing.assert_allclose(member.columns["loss"], alone.loss, rtol=1e-10, err_msg=member.label)
        i, j = grid["learning_rate"].index(member.numbers["learning_rate"]), [3, 7].index(member.seed)
        k = () if member.method == "backup" else (grid["bound"].index(member.numbers["bound"]),)
        at = (i, *k, list(clocks).index(member.clock), j)
        curves = found[member.method]
        np.testing.assert_array_equal(curves.loss[at][: len(alone.loss)], member.columns["loss"])
        assert curves.final_loss[at] == member.columns["loss"][-1] and curves.ended[at] == member.ended
        assert np.isnan(curves.loss[at][len(alone.loss) :]).all() and curves.status[at] == ja.Status.OK


def test_numbers_that_depend_on_the_clock(x64):
    """A rule that takes its numbers from the clock: every clock its own, in one program."""
    slow = lambda num_workers, times: optax.sgd(0.1 / times.mean[-1])
    methods = {"m": ja.Method(ja.policies.asgd(), ja.late(slow, clock="mean seconds"))}
    clocks = {"a": ja.times.fixed([1.0, 2.0]), "b": ja.times.fixed([1.0, 4.0])}
    found = sweep(quadratic(), clocks, methods, num_updates=20, points=1, seeds=1, key=KEY, devices=ONE, how="vmap")
    assert len(found.spec["programs"]) == 1
    for name, times in clocks.items():
        bound = methods["m"].bind(2, times)
        schedule = ja.simulate(bound, times, num_updates=20)
        alone = ja.run(quadratic(), schedule, bound, key=jax.random.fold_in(KEY, 0), evaluate=20)
        member = next(m for m in found.members if m.clock == name)
        np.testing.assert_allclose(member.columns["loss"], alone.loss, rtol=1e-12)
    assert found.members[0].columns["loss"][-1] != found.members[1].columns["loss"][-1]


def test_chunks_equal_the_whole():
    """Bit for bit, whichever axis is cut, also where the last chunk is filled up; finished members stream out."""
    whole = small(seeds=4, how="vmap")
    for chunk, sizes in ((6, [6, 6]), (5, [3] * 4), (2, [2, 1] * 4)):
        pieces = []
        same(small(seeds=4, how="vmap", chunk=chunk, each=pieces.append), whole)
        assert [len(piece) for piece in pieces] == sizes
        assert {m.seed for m in pieces[0]} == ({0, 1} if chunk == 6 else {0})


def test_more_than_memory(monkeypatch):
    """Where memory is short a sweep goes in chunks by itself, of one program, and gives the same."""
    whole = small(seeds=4, how="vmap")
    state, needed = 0, []
    original = sweep_sizes.member_bytes
    monkeypatch.setattr(sweep_sizes, "member_bytes", lambda *a: needed.append(original(*a)) or needed[-1])
    small(seeds=4, how="vmap")
    (state, total), pieces = needed[0], []
    assert state >= 6 * 4 * 4 and total > 2 * state  # cells of six floats, at least four
    monkeypatch.setattr(sweep_sizes, "free_bytes", lambda device: 13 * total)
    same(small(seeds=4, how="vmap", each=pieces.append), whole)
    assert [len(piece) for piece in pieces] == [6, 6]


def test_divergence_harms_nobody():
    grid = {"learning_rate": [0.05, 30.0]}
    results = {how: small(grid=grid, num_updates=200, points=10, how=how) for how in ("vmap", "loop")}
    alone = small(grid={"learning_rate": [0.05]}, num_updates=200, points=10, how="loop")
    for how, found in results.items():
        curves = found["async"]
        assert curves.status.tolist() == [[ja.Status.OK] * 2, [ja.Status.DIVERGED] * 2], how
        assert (curves.ended[1] < 200).all() and np.isnan(curves.final_loss[1]).all()
        np.testing.assert_allclose(curves.loss[0], alone["async"].loss[0], rtol=1e-5)
        best = found.best()["async"]
        assert best.numbers == {"learning_rate": 0.05} and best.diverged == 0
        assert [row["status"] for row in found.rows()] == ["finished"] * 2 + ["diverged"] * 2
    np.testing.assert_array_equal(results["vmap"]["async"].ended, results["loop"]["async"].ended)


def test_targets_end_a_member():
    found = {how: small(how=how, target_loss=0.2, num_updates=60, points=20) for how in ("vmap", "loop")}
    curves = found["vmap"]["async"]
    assert (curves.status == ja.Status.TARGET).any() and (found["vmap"].members[-1].columns["loss"][:-1] > 0.2).all()
    np.testing.assert_array_equal(curves.ended, found["loop"]["async"].ended)
    norm = small(how="vmap", target_gradient_norm=0.3, num_updates=60, points=20)
    last = norm.members[-1]
    assert (
        last.status == "target" and last.columns["gradient_norm"][-1] <= 0.3 < last.columns["gradient_norm"][:-1].min()
    )


@pytest.mark.parametrize("how", ["vmap", "loop"])
def test_other_numbers_do_not_compile_again(how):
    compiled = []
    listen = lambda event, *_, **__: compiled.append(event) if event.endswith("backend_compile_duration") else None
    small(grid={"learning_rate": [0.011, 0.012, 0.013]}, how=how)
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        small(grid={"learning_rate": [0.021, 0.022, 0.023]}, how=how)
        assert compiled == []
        small({"m": lambda rate: ja.Method(ja.policies.asgd(), optax.sgd(rate, 0.9))}, {"rate": [0.02, 0.03]}, how=how)
        assert compiled  # the listener hears
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def test_schedules_are_simulated_once_a_policy(monkeypatch):
    calls, original = [], ja.simulate
    monkeypatch.setattr(sweep_jobs, "simulate", lambda *a, **k: calls.append(k["seed"]) or original(*a, **k))
    methods = ASYNC | {"ringmaster": ja.methods.ringmaster, "again": ja.methods.polynomial_asgd}
    found = small(methods, RATES | {"bound": [2, 5]}, how="loop", num_updates=4, points=1)
    assert sorted(calls) == [0] * 3 + [1] * 3 and found.spec["simulated"] == 6  # asgd, and two bounds
    assert len(found.members) == 2 * (3 + 6 + 3)


def test_equal_policies():
    """By what they decide; what can't be looked into is equal only to itself."""
    look = sweep_jobs.fingerprint
    p = ja.policies
    assert look(p.ringmaster(4)) == look(p.ringmaster(4)) != look(p.ringmaster(5))
    assert look(p.fastest([1.0, 2.0], 1)) == look(p.fastest([1.0, 2.0], 1)) != look(p.fastest([2.0, 1.0], 1))
    assert look(p.ringmaster(4)) != look(p.rennala(4)) and look(p.asgd()) == look(p.asgd())
    rng = np.random.default_rng(0)
    drawing = lambda rng: lambda state, event: rng.random()
    assert look(drawing(rng)) == look(drawing(rng)) != look(drawing(np.random.default_rng(0)))
    assert look(1) != look(True) and look(1.0) != look(1) and look(float("nan")) == look(float("nan"))

    def endless(n):
        return endless(n - 1)

    assert look(endless) == look(endless)
    assert look(functools.partial(p.ringmaster, 4)) != look(functools.partial(p.ringmaster, 5))


def test_ctrl_c_leaves_what_is_finished(monkeypatch):
    def stop(finished):
        raise KeyboardInterrupt

    for how in ("vmap", "threads"):
        found = small(seeds=4, how=how, chunk=3, each=stop)
        assert not found.complete and 0 < len(found.members) < 12 and "stopped before the end" in str(found)
        curves = found["async"]
        assert (curves.status == -1).sum() == 12 - len(found.members)
        assert np.isnan(curves.final_loss[curves.status == -1]).all()
    monkeypatch.setitem(sweep_runs.WAYS, "loop", lambda job, setting: map(stop, range(1)))
    with pytest.raises(KeyboardInterrupt):  # nothing is finished
        small(how="loop")


def test_best_and_tables(tmp_path):
    found = small(how="loop", num_updates=60, seeds=3)
    finals = found["async"].final_loss
    best = found.best()["async"]
    assert best.mean == pytest.approx(finals.mean(axis=1).min(), rel=1e-6)
    assert best.numbers["learning_rate"] == RATES["learning_rate"][int(finals.mean(axis=1).argmin())]
    assert best.low < best.mean < best.high and best.seeds == 3 and best.at_edge == ("learning_rate",)
    assert "at the edge of the grid: learning_rate" in str(found)
    loaded = ja.results.load(found.save(tmp_path / "sweep"))
    assert loaded.methods == [f"async, learning_rate={rate}" for rate in RATES["learning_rate"]]
    for i, name in enumerate(loaded.methods):
        np.testing.assert_array_equal(loaded.final(name), finals[i])
    assert loaded.spec["grids"] == {"async": RATES} and "async, learning_rate=0.05" in str(loaded)
    assert list(found.rows()[0])[:4] == ["method", "learning_rate", "seed", "status"]


def test_the_way_is_chosen_by_size(monkeypatch):
    monkeypatch.setattr(sweep_sizes, "cores", lambda: 2)
    choose = functools.partial(sweep_sizes.choose, cores=2)
    index = jax.ShapeDtypeStruct((1, 8), np.int32)
    tiny, large = quadratic(), ja.problems.quadratic(dim=100_000)
    noise = jax.ShapeDtypeStruct((1, 100_000), np.float32)
    assert choose(tiny, index, platform="cpu", points=4) == "vmap"
    assert choose(large, index, platform="cpu", points=4) == "threads"
    assert sweep_sizes.choose(large, index, platform="cpu", points=4, cores=1) == "loop"
    assert choose(large, noise, platform="cpu", points=4) == "vmap"  # drawn once for the four
    assert choose(large, noise, platform="cpu", points=1) == "threads"
    assert choose(large, index, platform="gpu", points=4) == "vmap"
    assert choose(tiny, index, platform="cpu", points=4, waste=3.0) == "threads"  # rows that do nothing cost as much
    assert choose(tiny, index, platform="cpu", points=4, copied=100) == "threads"  # a table, copied at every row
    assert [p["how"] for p in small().spec["programs"]] == ["vmap"]
    tables = small({"m": ja.methods.ia2sgd}, times=ja.times.exponential(1.0, num_workers=40))
    assert [p["how"] for p in tables.spec["programs"]] == ["threads"]


@pytest.mark.parametrize("points", [1, 3, 16])
@pytest.mark.parametrize("plans", [1, 5, 8])
@pytest.mark.parametrize("devices", [1, 8])
@pytest.mark.parametrize("at_once", [1, 2, 7, 1000])
def test_cuts_keep_to_the_limit(points, plans, devices, at_once):
    p, s, axis = sweep_sizes.cut(points, plans, devices, at_once)
    load = -(-s // devices) * p if axis == "plans" else -(-p // devices) * s
    assert 1 <= p <= points and 1 <= s <= plans and load <= at_once
    assert s == 1 or p == points  # whole rows of points
    if at_once == 1000:
        assert (p, s) == (points, plans)


def test_progress(capsys):
    small(how="loop", num_updates=4, points=1, progress=True)
    assert "6/6" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": {}}, "methods is a non-empty mapping"),
        ({"methods": {"m": optax.sgd(0.1)}}, "method 'm' is a function of the grid's numbers"),
        ({"methods": {"m": lambda learning_rate: optax.sgd(learning_rate)}}, "is a ja.Method at every point"),
        ({"methods": {"m": ja.methods.ringmaster}}, "of ['bound'] there is nothing among ['learning_rate']"),
        ({"methods": {"m": ja.methods.asgd(0.1)}}, "nobody takes ['learning_rate']"),
        ({"grid": [0.1]}, "grid is a mapping"),
        ({"grid": {"learning_rate": 0.1}}, "grid['learning_rate'] is a list of one or more values"),
        ({"grid": {"learning_rate": [0.1, 0.1]}}, "has every value once"),
        ({"times": {}}, "times is a worker-time model or a mapping"),
        ({"times": {"a": 3}}, "times is a worker-time model"),
        ({"num_updates": None}, "a sweep ends somewhere"),
        ({"seeds": 0}, "seeds is a whole number"),
        ({"seeds": [1, 1]}, "different seeds"),
        ({"how": "fast"}, 'how is "vmap", "loop" or "threads"'),
        ({"chunk": 0}, "chunk is a whole number"),
        ({"each": 3}, "each is a function"),
        ({"points": 0}, "points is a whole number"),
        ({"key": 3}, "key is one typed JAX key"),
        ({"devices": []}, "devices holds different JAX devices"),
    ],
)
def test_errors(change, message):
    options = {
        "problem": quadratic(),
        "times": cases.CLOCKS["equal"](),
        "methods": ASYNC,
        "grid": RATES,
        "num_updates": 5,
    }
    with pytest.raises(ValueError, match=re.escape(message)):
        sweep(**(options | change))


def test_questions_about_a_sweep():
    clocks = {"a": ja.times.fixed([1.0, 2.0]), "b": ja.times.fixed([1.0, 1.0])}
    found = small(times=clocks, how="loop", num_updates=4, points=1, seeds=1)
    with pytest.raises(ValueError, match="one clock"):
        found.best()
    with pytest.raises(ValueError, match="the methods are"):
        found["sync"]
    with pytest.raises(ValueError, match="of is one of"):
        found.best(of="accuracy", clock="a")
    assert "async on b" in str(found) and found.best(clock="b")["async"].seeds == 1
