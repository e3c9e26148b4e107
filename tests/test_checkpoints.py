"""A run that was stopped, killed or refused: it goes on bit for bit, or says why not, and never goes on wrongly."""

import os
import shutil
import signal
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxasgd as ja
from jaxasgd import checkpoints, eager

pytest.importorskip("orbax.checkpoint", reason="checkpoints are saved by Orbax")

KEY = jax.random.key(3)
NOISY = {"dim": 6, "condition": 10.0, "noise": 0.1}
METHODS = {
    "plain": ja.methods.asgd(0.1),
    "momentum": ja.Method(ja.policies.asgd(), optax.adam(0.05)),
    "aggregate": ja.methods.sync_sgd(0.2),
    "table": ja.methods.ia2sgd(0.1),
    "look-ahead": ja.methods.dana_zero(0.05),
    "local steps": ja.Method(ja.policies.asgd(), optax.sgd(0.5), work=ja.work.local_steps(3, optax.sgd(0.1))),
    "noise in the rule": ja.Method(
        ja.policies.asgd(), optax.chain(optax.add_noise(0.1, 0.5, jax.random.key(7)), optax.sgd(0.1))
    ),
}


def problem():
    return ja.problems.quadratic(**NOISY)


def schedule(method, updates=60):
    return ja.simulate(method, ja.times.exponential(1.0, num_workers=4), num_updates=updates, seed=1)


def same(one, other):
    """All leaves of two histories, to the bit."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(np.asarray(a), np.asarray(b), equal_nan=True) for a, b in pairs)


class Killed(BaseException):
    pass


def stop_after(monkeypatch, number):
    """The run dies right after the `number`th evaluation's checkpoint."""
    whole, count = checkpoints.Keeper.offer, [0]

    def offer(self, *args, **more):
        whole(self, *args, **more)
        count[0] += 1
        if count[0] == number:
            raise Killed

    monkeypatch.setattr(checkpoints.Keeper, "offer", offer)


@pytest.mark.parametrize("name", METHODS)
def test_a_stopped_run_goes_on_to_the_same_bits(name, tmp_path, monkeypatch):
    method = METHODS[name]
    table = schedule(method)
    play = lambda where=None: ja.run(problem(), table, method, key=KEY, evaluate=12, checkpoint=where)
    expected, where = play(), ja.Checkpoint(tmp_path / "deep" / "run", seconds=0)
    for number in (2, 3):
        with monkeypatch.context() as patch:
            stop_after(patch, number)
            with pytest.raises(Killed):
                play(where)
    assert same(play(where), expected)
    with monkeypatch.context() as patch:  # finished: nothing is computed any more
        patch.setattr(eager.program, "compiled_block", None)
        assert same(play(where), expected)
    assert len([p for p in (tmp_path / "deep" / "run").iterdir() if p.name.isdigit()]) == 2


def test_ends_that_are_results_are_kept(tmp_path):
    table = schedule(METHODS["plain"])
    for k, more in enumerate(({"target_loss": 0.5}, {"target_gradient_norm": 0.9})):
        play = lambda where=None, more=more: ja.run(problem(), table, optax.sgd(0.1), key=KEY, checkpoint=where, **more)
        assert same(play(tmp_path / str(k)), play()) and same(play(tmp_path / str(k)), play())
    wild = lambda where=None: ja.run(problem(), table, optax.sgd(1e30), key=KEY, checkpoint=where)
    assert same(wild(tmp_path / "wild"), wild()) and same(wild(tmp_path / "wild"), wild())
    assert wild().status == ja.Status.DIVERGED


def test_cells_in_fewer_bits_and_waves(tmp_path, monkeypatch):
    table = schedule(METHODS["aggregate"])
    for k, more in enumerate(({"cell_dtype": jnp.bfloat16}, {"width": 4})):
        play = lambda where=None, more=more: ja.run(
            problem(), table, METHODS["aggregate"], key=KEY, evaluate=12, checkpoint=where, **more
        )
        where = ja.Checkpoint(tmp_path / str(k), seconds=0)
        with monkeypatch.context() as patch:
            stop_after(patch, 3)
            with pytest.raises(Killed):
                play(where)
        assert same(play(where), play())


# --------------------------------------------------------------------------------------- other runs, damaged files


def half_done(tmp_path, monkeypatch):
    where = ja.Checkpoint(tmp_path / "run", seconds=0)
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        with pytest.raises(Killed):
            ja.run(problem(), schedule(METHODS["plain"]), optax.sgd(0.1), key=KEY, evaluate=12, checkpoint=where)
    return where


@pytest.mark.parametrize(
    ("what", "change"),
    {
        "problem": {"problem": ja.problems.quadratic(**NOISY | {"noise": 0.2})},
        "schedule": {"schedule": schedule(METHODS["plain"], 61)},
        "rule": {"rule": optax.sgd(0.11)},
        "rule ": {"rule": optax.sgd(0.1, momentum=0.5)},
        "key": {"key": jax.random.key(4)},
        "targets": {"target_loss": 0.1},
        "schedule ": {"evaluate": 13},
    }.items(),
)
def test_another_run_is_refused(what, change, tmp_path, monkeypatch):
    where = half_done(tmp_path, monkeypatch)
    call = {"problem": problem(), "schedule": schedule(METHODS["plain"]), "rule": optax.sgd(0.1)}
    call |= {"key": KEY, "evaluate": 12, "checkpoint": where} | change
    with pytest.raises(ValueError, match=f"another run: it has another .*{what.strip()}.*another folder"):
        ja.run(call.pop("problem"), call.pop("schedule"), call.pop("rule"), **call)


def again(where, **more):
    return ja.run(problem(), schedule(METHODS["plain"]), optax.sgd(0.1), key=KEY, evaluate=12, checkpoint=where, **more)


def test_other_versions_are_refused(tmp_path, monkeypatch):
    where = half_done(tmp_path, monkeypatch)
    monkeypatch.setenv("XLA_FLAGS", "--xla_of_another_kind")
    with pytest.raises(ValueError, match=r"another versions .*xla_of_another_kind"):
        again(where)


def test_every_truncated_file_is_noticed(tmp_path, monkeypatch):
    where = half_done(tmp_path, monkeypatch)
    expected = again(None)
    (tmp_path / "copy").mkdir()
    latest = max(int(p.name) for p in where.folder.iterdir() if p.name.isdigit())
    files = sorted(p.relative_to(where.folder) for p in (where.folder / str(latest)).rglob("*") if p.is_file())
    assert len(files) > 5
    refused = 0
    for k, file in enumerate(files):
        for size in ("half", "none"):
            other = tmp_path / f"copy/{k}{size}"
            shutil.copytree(where.folder, other)
            data = (other / file).read_bytes()
            (other / file).write_bytes(data[: len(data) // 2 if size == "half" else 0])
            try:
                history = again(ja.Checkpoint(other, seconds=0))
            except ValueError as error:
                assert "damaged" in str(error) and "delete" in str(error), str(error)
                refused += 1
            else:
                assert same(history, expected), file  # what Orbax does not need
    assert refused >= 8


def test_other_bits_are_noticed(tmp_path, monkeypatch):
    where = half_done(tmp_path, monkeypatch)
    whole = checkpoints.orbax().CheckpointManager.restore
    skew = lambda tree: {k: np.asarray(v) + (k == "00000") for k, v in tree.items()}

    def restore(self, *args, **more):
        found = whole(self, *args, **more)
        return found if "state" not in found else {"state": skew(found["state"]), "looks": found["looks"]}

    monkeypatch.setattr(checkpoints.orbax().CheckpointManager, "restore", restore)
    with pytest.raises(ValueError, match="other bits"):
        again(where)


def test_a_damaged_latest_can_be_deleted(tmp_path, monkeypatch):
    where = half_done(tmp_path, monkeypatch)
    shutil.rmtree(where.folder / "2")
    assert same(again(where), again(None))


def test_folders_that_will_not_do(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("precious")
    with pytest.raises(ValueError, match=r"holds nothing else; .*thesis\.tex"):
        again(tmp_path / "mine")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="can be written"):
        again(tmp_path / "file")
    with pytest.raises(ValueError, match="checkpoint is a folder"):
        again(3)
    with pytest.raises(ValueError, match="seconds is a finite number"):
        ja.Checkpoint(tmp_path, seconds=-1)
    with pytest.raises(ValueError, match="keep is a whole number"):
        ja.Checkpoint(tmp_path, keep=0)
    with pytest.raises(ValueError, match="outside of jit"):
        jax.jit(
            lambda lr: ja.run(problem(), schedule(METHODS["plain"]), optax.sgd(lr), key=KEY, checkpoint=tmp_path).loss
        )(0.1)


def test_a_full_disk(tmp_path, monkeypatch):
    where = half_done(tmp_path, monkeypatch)

    def save(*args, **more):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.orbax().CheckpointManager, "save", save)
        with pytest.raises(OSError, match=r"could not be saved.*No space left.*make room"):
            again(where)
    assert same(again(where), again(None))


# --------------------------------------------------------------------------------------- Ctrl-C


def press_at(monkeypatch, number):
    """Ctrl-C while the `number`th evaluation is computed."""
    whole, count = eager.compiled_look, [0]

    def look(*args):
        count[0] += 1
        if count[0] == number:
            os.kill(os.getpid(), signal.SIGINT)
        return whole(*args)

    monkeypatch.setattr(eager, "compiled_look", look)


def test_ctrl_c_leaves_a_usable_result(tmp_path, monkeypatch, capsys):
    expected = again(None)
    with monkeypatch.context() as patch:
        press_at(patch, 3)
        history = again(None)
    told = capsys.readouterr().err
    assert history.status == ja.Status.STOPPED and str(history).startswith("stopped at update 24")
    assert history.loss.tolist() == expected.loss[:3].tolist() and "give checkpoint=folder" in told
    where = ja.Checkpoint(tmp_path / "run")
    with monkeypatch.context() as patch:
        press_at(patch, 3)
        again(where)
    assert f"the same call goes on from {str(where.folder)!r}" in capsys.readouterr().err
    assert same(again(where), expected)


def test_a_comparison_goes_on(tmp_path, monkeypatch, capsys):
    times, methods = ja.times.exponential(1.0, num_workers=4), {"a b": METHODS["plain"], "a/b": METHODS["momentum"]}
    play = lambda **more: ja.compare(problem(), times, methods, num_updates=40, seeds=2, points=4, **more)
    expected, where = play(), ja.Checkpoint(tmp_path / "all", seconds=0)
    for number in (8, 4):  # looks: within the second run, and within the third
        with monkeypatch.context() as patch:
            press_at(patch, number)
            part = play(checkpoint=where)
    assert not part.spec["complete"] and expected.spec["complete"]
    assert [(run.method, run.seed) for run in part.runs] == [("a b", 0), ("a b", 1)]
    assert "the same call goes on" in capsys.readouterr().err
    whole = play(checkpoint=where)
    for one, other in zip(whole.runs, expected.runs, strict=True):
        assert one.status == other.status and one.summary == other.summary
        assert all(np.array_equal(one.columns[name], other.columns[name]) for name in other.columns)
    with monkeypatch.context() as patch:
        press_at(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            play()


def test_a_second_ctrl_c_raises(monkeypatch):
    def press(*args):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    monkeypatch.setattr(eager, "compiled_look", press)
    with pytest.raises(KeyboardInterrupt):
        again(None)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_orbax(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "orbax.checkpoint", None)
    with pytest.raises(ImportError, match=r"jaxasgd\[checkpoint\]"):
        again(tmp_path / "run")


# --------------------------------------------------------------------------------------- sweeps

GRID = {"learning_rate": [0.05, 0.1, 1e30], "bound": [2, 4]}


def sweep(**more):
    times = ja.times.exponential(1.0, num_workers=4)
    methods = {"async": ja.methods.asgd, "ringmaster": ja.methods.ringmaster}
    return ja.sweep(problem(), times, methods, GRID | more.pop("grid", {}), num_updates=40, points=4, seeds=2, **more)


def same_members(one, other):
    who = lambda m: (m.method, tuple(m.numbers.items()), m.seed, m.status, m.ended, m.summary)
    alike = [who(a) == who(b) and same(a.columns, b.columns) for a, b in zip(one.members, other.members, strict=True)]
    return all(alike)


@pytest.mark.parametrize("how", ["loop", "threads", "vmap"])
def test_a_sweep_goes_on(how, tmp_path):
    expected, where = sweep(how=how, chunk=2), ja.Checkpoint(tmp_path / "sweep", seconds=0)
    counted = []

    def stop(members):
        counted.extend(members)
        if len(counted) >= 5:
            raise KeyboardInterrupt

    part = sweep(how=how, chunk=2, checkpoint=where, each=stop)
    assert not part.complete and 5 <= len(part.members) < len(expected.members)
    again = sweep(how=how, chunk=2, checkpoint=where)
    assert again.complete and same_members(again, expected)
    files = sorted(where.folder.glob("members-*.npz"))
    assert len(files) > 1
    assert same_members(sweep(how=how, chunk=2, checkpoint=where), expected)  # all from files
    assert sorted(where.folder.glob("members-*.npz")) == files
    files[0].unlink()
    assert same_members(sweep(how=how, chunk=2, checkpoint=where), expected)
    files[-1].write_bytes(files[-1].read_bytes()[:200])
    with pytest.raises(ValueError, match=r"members-.*damaged: delete it"):
        sweep(how=how, chunk=2, checkpoint=where)


def test_another_sweep_is_refused(tmp_path):
    sweep(how="loop", checkpoint=tmp_path / "a")
    for more, what in (
        ({"grid": {"learning_rate": [0.05, 0.2, 1e30]}}, "rule of async"),
        ({"how": "vmap"}, "sweep"),
        ({"key": KEY}, "key"),
        ({"target_loss": 0.1}, "targets"),
    ):
        with pytest.raises(ValueError, match=f"another run: it has another .*{what}"):
            sweep(**{"how": "loop", "checkpoint": tmp_path / "a"} | more)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.tex").write_text("precious")
    with pytest.raises(ValueError, match="holds nothing else"):
        sweep(how="loop", checkpoint=tmp_path / "b")
