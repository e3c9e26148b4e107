"""Two processes on loopback hold what one process computes; what they cannot do is said; a dead one is noticed."""

import inspect
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxasgd as ja

ROOT = Path(__file__).parents[1]
START = """
import os, sys, signal, time
import jax
port, this, devices = int(sys.argv[1]), int(sys.argv[2]), [int(n) for n in sys.argv[3].split(",")]
jax.config.update("jax_num_cpu_devices", devices[this])
jax.distributed.initialize(f"127.0.0.1:{port}", 2, this, heartbeat_timeout_seconds=10, shutdown_timeout_seconds=10)
import jax.numpy as jnp, numpy as np, optax
import jaxasgd as ja
"""


# ----------------------------------------------------- run by both processes, and the first ones by the test too


def loss(params, shard):
    """Every leaf's gradient depends on the others."""
    return jnp.mean((jnp.tanh(shard["x"] @ params["w"]) @ params["out"] - shard["y"]) ** 2)


def problem(num_shards):
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.normal(size=shape).astype(np.float32)
    params = {"w": draw(5, 7), "out": draw(7)}
    return params, {"x": draw(num_shards, 3, 5), "y": draw(num_shards, 3)}


def descend(step, params, shards, steps=5):
    for _ in range(steps):
        value, grads = step(params, shards)
        params = jax.tree.map(lambda w, g: w - 0.1 * g, params, grads)
    return value, params


def simulated(devices):
    problem = ja.problems.quadratic(dim=10, condition=10.0)
    schedule = ja.simulate(ja.policies.synchronous(), ja.times.exponential(1.0, num_workers=12), num_updates=20)
    return ja.run(problem, schedule, optax.sgd(0.2), key=jax.random.key(0), devices=devices, width=12)


def checks(this, devices, folder):
    """Everything one process is asked, into an .npz file."""
    out = {}

    def keep(name, tree):
        for path, leaf in jax.tree.leaves_with_path(tree):
            assert isinstance(leaf, np.ndarray) or leaf.is_fully_addressable, name  # ordinary arrays of this process
            out[name + jax.tree_util.keystr(path)] = np.asarray(leaf)

    def refused(name, call):
        try:
            call()
        except ValueError as error:
            out[name] = np.array(str(error))

    first, total = 2 * sum(devices[:this]), 2 * sum(devices)  # two shards a device
    cut = slice(first, first + 2 * devices[this])
    params, shards = problem(total)
    mine = jax.tree.map(lambda x: x[cut], shards)
    with_aux = lambda params, shard: (loss(params, shard), shard["y"].sum())
    noisy = lambda w, key: jnp.sum(w * jax.random.normal(key, w.shape))
    keys = jax.random.split(jax.random.key(0), total)[cut]
    shared, whole = ja.fanout.share(mine), ja.fanout.share(params, whole=True)
    assert shared["x"].shape[0] == total and not shared["x"].is_fully_addressable
    other = {**params, "w": params["w"] + this}
    more = jax.tree.map(lambda x: np.concatenate([x] * (1 + this)), mine)
    for how in ("pmap", "shard_map"):
        make = lambda loss=loss, how=how, **kwargs: ja.fanout.value_and_grad(loss, how=how, **kwargs)
        keep(how, descend(make(), params, mine))
        keep(f"{how} shared", descend(make(), params, shared))
        keep(f"{how} aux", make(with_aux, has_aux=True)(whole, shared)[0][1])
        keep(f"{how} keys", make(noisy)(params["out"], keys)[1])
    step = make()  # shard_map, from the last turn
    refused("numbers", lambda: make()(other, mine))
    refused("shapes", lambda: make()(params, more))
    update = lambda w, shards: (descend(step, w, shards, 1)[1], None)
    looped = jax.jit(lambda w, shards: jax.lax.scan(lambda w, _: update(w, shards), w, length=5)[0])
    keep("looped", jax.tree.map(np.asarray, looped(whole, shared)))  # replicated: any process may read them
    refused("in a jit", lambda: jax.jit(ja.fanout.value_and_grad(loss))(whole, shared))
    refused("constant", lambda: jax.jit(lambda w: step(w, mine))(whole))
    refused("elsewhere", lambda: step(shared["y"], mine))
    refused("rows", lambda: ja.fanout.share(np.ones((2 * devices[this] + 1, 3))))
    if this == 1:
        refused("nothing here", lambda: ja.fanout.value_and_grad(loss, jax.local_devices(process_index=0)))
    keep("alone", ja.fanout.value_and_grad(loss, jax.local_devices())(params, mine))
    keep("spread", ja.spread(jnp.sin)(jnp.arange(3.0 + this)))
    if total == 4:
        keep("run", np.asarray(simulated(jax.devices()).params))
    np.savez(f"{folder}/{this}.npz", **out)


def wait_for_death(this):
    """Process 1 ends as if it had crashed; how long until the other knows?"""
    params, shards = problem(2 * len(jax.local_devices()))
    step = ja.fanout.value_and_grad(loss)
    step(params, shards)
    if this == 1:
        os._exit(7)
    began = time.perf_counter()
    try:
        while True:
            step(params, shards)
    except Exception as error:
        print(f"noticed after {time.perf_counter() - began} s: {error}", flush=True)
        os._exit(0)


def freeze(this):
    """Process 1 stops and stays."""
    params, shards = problem(1)
    step = ja.fanout.value_and_grad(loss)
    step(params, shards)
    print("ready", flush=True)
    if this == 1:
        os.kill(os.getpid(), signal.SIGSTOP)
    while True:
        step(params, shards)


# ------------------------------------------------------------------------------------------------ the tests


def start(calls, devices):
    """Two processes of the same program."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    functions = (loss, problem, descend, simulated, checks, wait_for_death, freeze)
    code = START + "\n".join(inspect.getsource(function) for function in functions) + calls
    words = lambda i: [sys.executable, "-W", "error", "-c", code, str(port), str(i), ",".join(map(str, devices))]
    env = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": env}
    return [subprocess.Popen(words(i), **pipes) for i in range(2)]


def finish(processes, timeout):
    """(exit status, stdout, stderr) of each; none is left behind."""
    try:
        until = time.monotonic() + timeout
        said = [process.communicate(timeout=max(1.0, until - time.monotonic())) for process in processes]
        return [(process.returncode, *texts) for process, texts in zip(processes, said, strict=True)]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def assert_close(got, name, tree):
    leaves = jax.tree.leaves_with_path(tree)
    assert leaves
    for path, leaf in leaves:
        np.testing.assert_allclose(got[name + jax.tree_util.keystr(path)], leaf, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("devices", [(1, 1), (2, 2), pytest.param((1, 2), marks=pytest.mark.long)], ids=str)
def test_two_processes_equal_one(devices, tmp_path):
    """Both mappings, on hosts with the same and with different numbers of devices; then process 1 dies."""
    calls = f"checks(this, devices, {str(tmp_path)!r})\nwait_for_death(this)\n"
    (status, said, wrong), (status_of_dead, _, wrong_there) = finish(start(calls, devices), timeout=120)
    assert status_of_dead == 7, wrong_there
    assert status == 0, wrong
    assert float(said.split("noticed after ")[1].split(" s")[0]) < 15.0  # the heartbeat is 10 s

    total = 2 * sum(devices)
    params, shards = problem(total)
    plain = jax.jit(jax.value_and_grad(lambda w, s: jnp.mean(jax.vmap(loss, (None, 0))(w, s))))
    expected, first, second = descend(plain, params, shards), np.load(tmp_path / "0.npz"), np.load(tmp_path / "1.npz")
    draws = jax.vmap(lambda key: jax.random.normal(key, (7,)))(jax.random.split(jax.random.key(0), total))
    for own, got, cut in ((0, first, slice(2 * devices[0])), (1, second, slice(2 * devices[0], None))):
        for how in ("pmap", "shard_map"):
            assert_close(got, how, expected)
            assert_close(got, f"{how} shared", expected)
            assert_close(got, f"{how} aux", shards["y"][cut].sum(1))
            assert_close(got, f"{how} keys", draws.mean(0))
        assert f"other numbers than those on process {own}: params ['out'] (7,)" in str(got["numbers"])
        assert f"others than this on process {own}: params ['out'] (7,)" in str(got["shapes"])
        assert_close(got, "looped", expected[1])
        assert_close(got, "alone", plain(params, jax.tree.map(lambda x: x[cut], shards)))
        assert_close(got, "spread", jnp.sin(jnp.arange(3.0 + own)))
        if total == 4:
            assert_close(got, "run", simulated(None).params)
        assert 'how is "shard_map"; got "pmap"' in str(got["in a jit"])
        assert "got a constant of shape" in str(got["constant"])
        assert f"whole on each; got shape ({total}, 3)" in str(got["elsewhere"])
        if devices[own] > 1:
            assert f"got {2 * devices[own] + 1} rows for {devices[own]} devices" in str(got["rows"])
    assert "got none of process 1" in str(second["nothing here"])
    same = [name for name in first.files if name.split("[")[0] in ("pmap", "shard_map", "looped", "run", "pmap shared")]
    assert len(same) >= 10
    for name in same:  # to the bit
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


@pytest.mark.long
def test_a_frozen_process_ends_the_other():
    """No connection breaks: only the heartbeat, 10 s here, tells."""
    alive, frozen = start("freeze(this)", (1, 1))
    try:
        assert "ready\n" in iter(alive.stdout.readline, "")  # reads as far as that line
        began = time.monotonic()
        alive.communicate(timeout=60)
        assert alive.returncode != 0 and time.monotonic() - began < 30
    finally:
        for process in (alive, frozen):
            process.kill()
            process.communicate()


def test_the_script_for_hosts_ends_all_processes_when_one_dies(tmp_path):
    words = [sys.executable, str(ROOT / "experiments" / "hosts.py"), "--steps", "1000000", "--out", str(tmp_path)]
    script = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    pids = [int(word.strip(",")) for word in script.stdout.readline().split()[1:]]
    assert len(pids) == 2
    os.kill(pids[1], signal.SIGKILL)
    ((status, _, wrong),) = finish([script], timeout=30)
    assert status == 1 and "process 1 ended with -9" in wrong
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
