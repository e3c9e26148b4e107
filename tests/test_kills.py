"""Work that is killed at any moment, as often as may be: the same call goes on, to the bits of one that never was."""

import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("orbax.checkpoint", reason="checkpoints are saved by Orbax")

CHILD = """
import sys, numpy as np, jax, optax
import jaxasgd as ja

folder, out, *works = sys.argv[1:]
problem = ja.problems.quadratic(dim=50, condition=10.0, noise=0.1)
times = ja.times.exponential(1.0, num_workers=8)


def play(work):
    where = ja.Checkpoint(f"{folder}/{work}", seconds=0) if folder else None
    say = lambda now: print("found" if isinstance(now, list) else "computed", flush=True)  # a sweep tells old ones too
    more = {"checkpoint": where, "each": say}
    if work == "run":
        schedule = ja.simulate(ja.policies.asgd(), times, num_updates=3000, seed=1)
        return ja.run(problem, schedule, optax.adam(0.01), key=jax.random.key(0), evaluate=60, **more)
    ends = {"num_updates": 300, "points": 10}
    if work == "compare":
        methods = {"async": ja.methods.asgd(0.1), "sync": ja.methods.sync_sgd(0.1)}
        return [run.columns for run in ja.compare(problem, times, methods, seeds=2, **ends, **more).runs]
    methods, grid = {"async": ja.methods.asgd}, {"learning_rate": [0.05, 0.1]}
    found = ja.sweep(problem, times, methods, grid, seeds=8, how=work, chunk=2, **ends, **more)
    return [member.columns for member in found.members]


np.savez(out, *map(np.asarray, jax.tree.leaves(list(map(play, works)))))
"""


def child(*arguments):
    command = [sys.executable, "-c", CHILD, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(folder, out, *works):
    """What a child found that was left alone, and what it said."""
    with child(folder, out, *works) as process:
        said, error = process.communicate()
    assert process.returncode == 0, error
    with np.load(out) as file:
        return dict(file), said.split()


def killed(number, seconds, *arguments):
    """Kill a child some seconds after it has said so much: how many evaluations it had saved; None: it was quicker."""
    with child(*arguments) as process:
        said = [process.stdout.readline().strip() for _ in range(number)]
        time.sleep(seconds)
        alive = process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
    return max(0, said.count("computed") - 1) if alive else None


def killed_at_random(works, tmp_path, kills, seed):
    """Work that is killed now and then while it computes or saves, and then left alone, beside undisturbed work."""
    rng, done = random.Random(seed), 0
    expected, parts = finished("", tmp_path / "expected.npz", *works)
    for k in range(kills):
        place = int(len(parts) * (k + rng.random()) / kills)  # further each time
        saved = killed(max(0, place - done), rng.uniform(0, 0.1), tmp_path / "work", tmp_path / "found.npz", *works)
        if saved is None:
            shutil.rmtree(tmp_path / "work")  # again from the beginning
        done = 0 if saved is None else done + saved
    found, rest = finished(tmp_path / "work", tmp_path / "found.npz", *works)
    assert rest.count("computed") <= parts.count("computed") - done, "what was saved is not computed again"
    assert expected.keys() == found.keys()
    assert all(np.array_equal(expected[name], found[name]) for name in expected)


def test_killed_three_times(tmp_path):
    killed_at_random(["run", "compare", "threads"], tmp_path, 3, seed=0)


@pytest.mark.long
@pytest.mark.parametrize("work", ["run", "compare", "loop", "threads", "vmap"])
def test_killed_twenty_times(work, tmp_path):
    killed_at_random([work], tmp_path, 20, seed=1)
