"""Disks that are full and folders that are not ours, for real: an error that says what to do, and nothing is lost."""

import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import jax
import pytest

import jaxasgd as ja
from jaxasgd import cli

pytest.importorskip("orbax.checkpoint", reason="checkpoints are saved by Orbax")
pytest.importorskip("tensorboardX", reason="event files are written by tensorboardX")

# --------------------------------------------------------------------------------------- full

CHILD = """
import json, resource, sys
from contextlib import contextmanager
from pathlib import Path
import jax, numpy as np, optax
import jaxasgd as ja

home, how = Path(sys.argv[1]), sys.argv[2]


@contextmanager
def full(room):
    "A disk with so many bytes left, or files that can't be longer."
    if how == "disk":
        with open(home / "filler", "wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(4096))
            except OSError:
                filler.truncate(max(0, filler.tell() - room))
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        (home / "filler").unlink(missing_ok=True)


def same(one, other):
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(np.asarray(a), np.asarray(b), equal_nan=True) for a, b in pairs)


def run(where=None, each=None):
    schedule = ja.simulate(ja.policies.asgd(), times, num_updates=60, seed=1)
    return ja.run(problem, schedule, optax.adam(0.05), key=jax.random.key(0), evaluate=12, checkpoint=where, each=each)


def sweep(where=None, each=None):
    rates = {"learning_rate": [0.05, 0.1]}
    ends = {"num_updates": 600, "points": 300, "seeds": 2, "how": "loop"}
    found = ja.sweep(problem, times, {"async": ja.methods.asgd}, rates, **ends, checkpoint=where, each=each)
    return [(member.columns, member.summary["mean_delay"]) for member in found.members]


def compare(rate):
    return ja.compare(problem, times, {"async": ja.methods.asgd(rate)}, num_updates=60, points=30, seeds=2)


def stop(now, count=[]):
    count.append(now)
    if len(count) == 3:
        count.clear()
        raise SystemExit


def attempts(work):
    "What is said where there is no room at all, or little."
    told = []
    for room in (0, 4096):
        try:
            with full(room):
                work()
        except OSError as error:
            told.append(str(error))
    return told


problem = ja.problems.quadratic(dim=2000, condition=10.0, noise=0.1)
times = ja.times.exponential(1.0, num_workers=4)
told = {}
for work in (run, sweep):
    where = ja.Checkpoint(home / work.__name__, seconds=0)
    expected = work()
    said = attempts(lambda: work(where))  # from the beginning
    try:
        work(where, each=stop)
    except SystemExit:
        pass
    before = sorted(path.name for path in where.folder.iterdir())
    said += attempts(lambda: work(where))  # in the middle
    kept = {path.name for path in where.folder.iterdir()}.issuperset(before)
    told[work.__name__] = (said, len(before) > 1, kept, same(work(where), expected))
old, new = compare(0.1), compare(0.05)
folder = old.save(home / "table")
for name, save in (
    ("save", lambda: new.save(folder, overwrite=True)),
    ("tensorboard", lambda: ja.results.tensorboard(new, home / "board", overwrite=True)),
):
    said = attempts(save)
    held = ja.results.load(folder)
    told[name] = (said, sorted(path.suffix for path in folder.iterdir()), str(held) == str(old), bool(save()))
told["at last"] = str(ja.results.load(folder)) == str(new)
print(json.dumps(told))
"""


@pytest.fixture
def disk(tmp_path):
    """A disk of 2 MB, where this process may mount one."""
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)], capture_output=True)
    if made.returncode:
        pytest.skip("this process may not mount a disk")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.parametrize("how", [pytest.param("limit", marks=pytest.mark.long), "disk"])
def test_full(how, request, tmp_path):
    """Every save fails with an error that says where and what to do; what was there is whole, and work goes on."""
    if how == "disk":
        request.getfixturevalue("disk")
    done = subprocess.run([sys.executable, "-c", CHILD, str(tmp_path), how], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told, why = json.loads(done.stdout), {"limit": "File too large", "disk": "No space left on device"}[how]
    rooms = {"run": 4, "sweep": 4, "save": 1, "tensorboard": 1}  # some fit into little room
    folders = {"run": "run", "sweep": "sweep", "save": "table", "tensorboard": "board"}
    for name, number in rooms.items():
        said = told[name][0]
        assert number <= len(said)
        for text in said:
            assert f"could not be saved in {str(tmp_path / folders[name])!r} ({why}): " in text and "make room" in text
    for name in ("run", "sweep"):
        assert told[name][1:] == [True, True, True], name  # saved before; still there; the same bits
    files = [".csv", ".csv", ".json", ".npz"]
    assert told["save"][1:] == [files, True, True] and told["at last"]
    assert "_SignalingThread" not in done.stderr  # Orbax says nothing of its own


def test_the_command_prints_before_it_saves(tmp_path, monkeypatch, capsys):
    pytest.importorskip("tyro", reason="the command is made with tyro")

    def save(*args, **more):
        raise OSError("results could not be saved")

    monkeypatch.setattr(ja.Comparison, "save", save)
    line = f"compare --dim 3 --workers 2 --seeds 1 --updates 4 --methods asgd:learning_rate=0.2 --out {tmp_path}/x"
    assert cli.main(line.split()) == 2
    told = capsys.readouterr()
    assert "final loss" in told.out and "results" not in told.out
    assert told.err == "jaxasgd: results could not be saved\n"


# --------------------------------------------------------------------------------------- not ours


@contextmanager
def nobody():
    """Somebody who may do less than root may."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def folders():
    """A folder that can be read only, and one that can't even be looked into."""
    with tempfile.TemporaryDirectory() as home:
        home = Path(home)
        for name in ("read only", "shut"):
            (home / name).mkdir()
        home.chmod(0o755)
        (home / "read only").chmod(0o555)
        (home / "shut").chmod(0o000)
        with nobody():
            try:
                (home / "read only" / "x").touch()
            except OSError:
                pass
            else:
                pytest.skip("this process may write everywhere")
        yield home / "read only", home / "shut"
        for path in home.iterdir():
            path.chmod(0o755)


PROBLEM, TIMES = ja.problems.quadratic(dim=3), ja.times.fixed(1.0, num_workers=2)
METHODS = {"async": ja.methods.asgd(0.1)}
ENDS = {"num_updates": 4, "seeds": 1}
SCHEDULE = ja.simulate(ja.policies.asgd(), TIMES, num_updates=4)
WORK = {
    "run": lambda place, table: ja.run(PROBLEM, SCHEDULE, METHODS["async"], key=jax.random.key(0), checkpoint=place),
    "sweep": lambda place, table: ja.sweep(PROBLEM, TIMES, METHODS, **ENDS, how="loop", checkpoint=place),
    "compare": lambda place, table: ja.compare(PROBLEM, TIMES, METHODS, **ENDS, checkpoint=place),
    "save": lambda place, table: table.save(place),
    "tensorboard": lambda place, table: ja.results.tensorboard(table, place),
    "board": lambda place, table: ja.results.TensorBoard(place),
}


@pytest.mark.parametrize("name", WORK)
def test_not_ours(name, folders, tmp_path):
    """The error comes before any work, and says which folder."""
    table = ja.compare(PROBLEM, TIMES, METHODS, **ENDS)
    WORK[name](tmp_path / "fine", table)  # what is imported when it is needed may be somebody else's too
    for folder in folders:
        for place in (folder, folder / "new" / "one"):
            with nobody(), pytest.raises(ValueError) as caught:
                WORK[name](place, table)
            told = str(caught.value)
            assert f"can be written; {str(place)!r}" in told or f"can be written; '{place}/async/0'" in told
            assert told.endswith("can't (Permission denied): choose another folder.")
