"""The Ray runtime: it does what the recording says, whoever is killed on the way, and nothing is left behind."""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

import jaxasgd as ja

ray = pytest.importorskip("ray", reason='Ray is not installed: pip install "jaxasgd[ray]"', exc_type=ImportError)
# one process of xdist runs all of them (with --dist loadgroup), and Ray's own sockets and pipes are Ray's to close
pytestmark = [pytest.mark.xdist_group("ray"), pytest.mark.filterwarnings("ignore::ResourceWarning")]

KEY = jax.random.key(3)
ASGD, SGD = ja.policies.asgd(), optax.sgd(0.05)


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((64, 6), np.float32)
    y = X @ rng.standard_normal(6, np.float32) + rng.standard_normal(64, np.float32)
    return ja.problems.linear(X, y, batch_size=4, order="shuffled")


@pytest.fixture(scope="module")
def cluster():
    """A Ray of our own, that the runs of this module share."""
    from jaxasgd.runtimes.cluster_start import own

    with own({"num_cpus": 4}) as package:
        yield package


def processes(kind=""):
    """Actors that descend from this process, of a kind."""
    import psutil

    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if " ".join(process.cmdline()).startswith(f"ray::Asgd{kind}"):
                found.append(process)
        except psutil.Error:
            continue
    return found


def all_gone(seconds=5.0):
    """Whether our actors end soon: Ray kills them when it gets there."""
    end = time.monotonic() + seconds
    while processes() and time.monotonic() < end:
        time.sleep(0.05)
    return not processes()


class Killer(threading.Thread):
    """SIGKILL to actors of a kind at random moments, once they work, so many times; None: Ctrl-C to ourselves."""

    def __init__(self, kind, kills, seed=0, between=(0.2, 0.8)):
        super().__init__(daemon=True)
        self.kind, self.kills, self.between, self.random = kind, kills, between, random.Random(seed)
        self.killed, self.over = [], threading.Event()

    def run(self):
        import psutil

        while not processes("Server.play") and not self.over.wait(0.05):
            pass
        while len(self.killed) < self.kills and not self.over.wait(self.random.uniform(*self.between)):
            if self.kind is None:
                os.kill(os.getpid(), signal.SIGINT)
                return
            working = [p for p in processes(self.kind) if p.pid not in self.killed]
            try:
                victim = self.random.choice(working)
                victim.send_signal(signal.SIGKILL)
                self.killed.append(victim.pid)
            except (psutil.Error, IndexError):  # it is gone, or not there yet
                continue

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()


def check(problem, params, recorded, rule, num_updates=None):
    """What must hold of every run: nothing lost, nothing twice, and the replay lands there."""
    if num_updates is not None:
        assert recorded.num_updates == num_updates
    np.testing.assert_array_equal(recorded.version, np.cumsum(recorded.step) - recorded.step)
    assert (recorded.delay >= 0).all() and (np.diff(recorded.time) >= 0).all()
    jobs = list(zip(recorded.worker, recorded.visit, recorded.repeat, strict=True))
    assert len(set(jobs)) == len(jobs)
    replayed = ja.run(problem, recorded, rule, key=KEY, progress=False).params
    for a, b in zip(jax.tree.leaves(replayed), jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6 * float(np.abs(b).max()))


CASES = {
    "asgd": (ASGD, SGD, {}),
    "synchronous with momentum": (ja.policies.synchronous(), optax.sgd(0.02, momentum=0.9), {}),
    "what is sent": (ja.methods.dana_zero(0.01, 0.5), None, {"checkpoint_every": None}),
    "two shards": (ASGD, optax.chain(ja.rules.compensate_delay(0.1), optax.adam(0.02)), {"shards": 2}),
}


@pytest.mark.parametrize("name", CASES)
def test_replay(problem, cluster, name):
    policy, rule, options = CASES[name]
    if "shards" in options:  # several leaves, of sizes that two doesn't divide
        loss = lambda p, batch: ((batch[0] @ p["w"] + p["b"] - batch[1]) ** 2).mean()
        start = {"w": np.zeros(3, np.float32), "b": np.float32(0.0)}
        problem = ja.problems.from_loss(loss, start, (np.eye(3, dtype=np.float32), np.ones(3, np.float32)))
    told = {"num_workers": 2, "num_updates": 40, "key": KEY} | options
    params, recorded = ja.runtimes.ray(problem, policy, rule, **told)
    check(problem, params, recorded, policy if rule is None else rule, 40)
    assert recorded.info["runtime"] == "ray" and recorded.info["compile_seconds"] > 0
    assert (recorded.busy > 0).all() and all_gone()


# -------------------------------------------------------------------------- who dies

PACED = ja.times.exponential(0.02, num_workers=2)  # so that there is time to kill somebody


REMEMBERS = ja.Method(ASGD, optax.sgd(0.02, momentum=0.5), work=ja.work.nesterov(0.5))  # workers have a momentum too


def test_a_killed_worker_is_replaced(problem, cluster):
    with Killer("Worker", kills=1) as killer:
        params, recorded = ja.runtimes.ray(
            problem, REMEMBERS, num_updates=300, key=KEY, times=PACED, on_failure="restart"
        )
    assert len(killer.killed) == 1
    check(problem, params, recorded, REMEMBERS, 300)
    assert (recorded.unfinished["kind"] == ja.schedule.LOST).sum() <= 1  # 0: its result was on the way already


@pytest.mark.long
def test_a_killed_worker_is_dropped(problem, cluster):
    with Killer("Worker", kills=1) as killer:
        params, recorded = ja.runtimes.ray(problem, ASGD, SGD, num_updates=200, key=KEY, times=PACED, on_failure="drop")
    assert len(killer.killed) == 1
    check(problem, params, recorded, SGD, 200)
    assert len(set(recorded.worker[-20:])) == 1


def test_a_killed_worker_ends_the_run(problem, cluster):
    with (
        Killer("Worker", kills=1, between=(1.5, 2.5)),  # once all have met
        pytest.raises(ja.runtimes.WorkerFailed, match=r"worker . failed in its job") as caught,
    ):
        ja.runtimes.ray(problem, ASGD, SGD, num_updates=2000, key=KEY, times=PACED)
    check(problem, caught.value.params, caught.value.recorded, SGD)
    assert 0 < caught.value.recorded.num_updates < 2000


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="server"),
        pytest.param({"shards": 2, "checkpoint_every": 3}, id="shards", marks=pytest.mark.long),
    ],
)
def test_a_killed_server_is_replaced(problem, cluster, options):
    kind = "S" if options else "Server"  # any of hub and shards
    with Killer(kind, kills=1) as killer:
        params, recorded = ja.runtimes.ray(problem, REMEMBERS, num_updates=200, key=KEY, times=PACED, **options)
    assert len(killer.killed) == 1 and recorded.info["servers_lost"] == 1
    check(problem, params, recorded, REMEMBERS, 200)
    assert all_gone()


@pytest.mark.long
def test_a_killed_server_without_checkpoints_ends_the_run(problem, cluster):
    with Killer("Server", kills=1), pytest.raises(RuntimeError, match="checkpoint_every=1"):
        ja.runtimes.ray(problem, ASGD, SGD, num_updates=2000, key=KEY, times=PACED, checkpoint_every=None)


def test_ctrl_c(problem, cluster):
    with Killer(None, kills=1), pytest.raises(KeyboardInterrupt) as caught:
        ja.runtimes.ray(problem, ASGD, SGD, num_updates=100_000, key=KEY, times=PACED)
    check(problem, caught.value.params, caught.value.recorded, SGD)
    assert all_gone()


# ------------------------------------------------------------------ other processes, arguments

SCRIPT = """
import json, os, sys, threading, time
import jax, optax
import jaxasgd as ja

def look(told):
    import psutil
    while "over" not in told:
        for process in psutil.Process().children(recursive=True):
            told["pids"].add(process.pid)
            try:
                for c in process.net_connections(kind="inet"):
                    if c.status == "LISTEN":
                        told["hosts"].add(c.laddr.ip)
            except psutil.Error:
                pass
        time.sleep(0.2)

if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    problem, key = ja.problems.quadratic(dim=5, condition=3.0, noise=0.1), jax.random.key(0)
    told = {"pids": set(), "hosts": set()}
    import ray
    thread = threading.Thread(target=look, args=(told,))
    thread.start()
    try:
        params, recorded = ja.runtimes.ray(
            problem, ja.policies.asgd(), optax.sgd(0.1), num_workers=2, num_updates=30, key=key, **options)
    finally:
        told["over"] = True
        thread.join()
    import psutil
    left = [pid for pid in told["pids"] if psutil.pid_exists(pid)]
    replayed = ja.run(problem, recorded, optax.sgd(0.1), key=key, progress=False).params
    print(json.dumps({"hosts": sorted(told["hosts"]), "started": len(told["pids"]), "left": len(left),
                      "far": float(abs(replayed - params).max()), "connected": ray.is_initialized()}))
"""


def script(options, **variables):
    """What a program of its own says, that runs with these options."""
    told = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(options)], capture_output=True, text=True, timeout=240,
        env=os.environ | variables,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr[-3000:]
    return json.loads(told.stdout.splitlines()[-1])


def test_a_ray_of_our_own_listens_to_nobody_else_and_leaves_nothing():
    with tempfile.TemporaryDirectory() as folder:  # a short path, for sockets
        told = script({}, TMPDIR=folder, HOME=folder)
        assert not [path for path in Path(folder).rglob("*") if path.is_file()], "files are left"
    assert {host.removeprefix("::ffff:") for host in told["hosts"]} <= {"127.0.0.1", "::1"} and told["started"] >= 5
    assert told["left"] == 0 and not told["connected"] and told["far"] < 1e-6


def test_a_cluster_that_is_there_stays(cluster):
    address = cluster.get_runtime_context().gcs_address
    told = script({"address": "auto", "resources": {"num_cpus": 0.5}}, RAY_ADDRESS=address)
    assert told["far"] < 1e-6 and not told["connected"] and all_gone()
    assert cluster.cluster_resources()["CPU"] > 0


@pytest.mark.parametrize(
    "options, says",
    [
        ({"shards": 0}, "shards is a whole number"),
        ({"checkpoint_every": 0}, "checkpoint_every is a whole number"),
        ({"resources": 2}, "resources is a dict of resources"),
        ({"resources": {"num_cpus": 1000}}, "the run asks for 2000 CPU in all"),
        ({"server_resources": {"mine": 1}}, "the run asks for 1 mine in all"),
        ({"placement": "nowhere"}, "placement is"),
        ({"before_job": 3}, "before_job is a function"),
        ({"on_failure": "never"}, "on_failure is"),
        ({"num_updates": None}, "a run ends somewhere"),
        ({"shards": 2, "rule": optax.chain(optax.clip_by_global_norm(1.0), SGD)}, "each coordinate by itself"),
        ({"shards": 2, "policy": ja.methods.dana_zero(0.1), "rule": None}, "made of the whole"),
    ],
)
def test_arguments(problem, cluster, options, says):
    told = {"policy": ASGD, "rule": SGD, "num_workers": 2, "num_updates": 5, "key": KEY} | options
    with pytest.raises(ValueError, match=says):
        ja.runtimes.ray(problem, **told)
    assert all_gone()


def test_what_cannot_be_sent(problem, cluster):
    lock = threading.Lock()
    policy = ASGD._replace(on=lambda state, event: lock and ASGD.on(state, event))
    with pytest.raises(ValueError, match="can be pickled"):
        ja.runtimes.ray(problem, policy, SGD, num_workers=2, num_updates=5, key=KEY)


def test_a_policy_that_fails_says_so(problem, cluster):
    policy = ASGD._replace(on=lambda state, event: (state, ja.Decision(use=True, step=True, read=-1)))
    with pytest.raises(ValueError, match="workers read what they were sent"):
        ja.runtimes.ray(problem, policy, SGD, num_workers=1, num_updates=5, key=KEY)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5))
def test_soak(problem, cluster, seed):
    """Workers and servers are killed, a dozen of them."""
    begun = time.monotonic()
    with Killer("Worker", 8, seed) as first, Killer("Server", 4, seed + 100, (2.0, 4.0)) as second:
        told = {"num_updates": 2000, "key": KEY, "times": PACED, "on_failure": "restart"}
        params, recorded = ja.runtimes.ray(problem, REMEMBERS, **told)
    assert first.killed and second.killed and time.monotonic() - begun < 300
    check(problem, params, recorded, REMEMBERS, 2000)
