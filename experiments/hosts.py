"""Synchronous data-parallel SGD on several hosts: one program, started once on each of them.

Claim     `ja.fanout.value_and_grad` over the devices of several processes (jax.distributed) trains what one process
          trains, to rounding, through pmap and through shard_map; every process holds the same bits.
Command   python experiments/hosts.py                   (2 processes on this machine, over loopback)
          python experiments/hosts.py --coordinator HOST:PORT --num-processes 2 --process-id 0    (on each host: its id)
Cost      about 1 minute on 2 CPU cores; --quick about 30 seconds.
Expected  "equal to one process to rounding". On the devices of one CPU, forced or as processes, more devices are slower
          than one: they share its cores, and the all-reduce (101 770 floats) comes on top. In updates of one device, on
          2 busy cores: with 8 forced devices 6 by one call an update (pmap and shard_map alike), 2 in a scan inside one
          jit; with 2 processes 10 and 14, 3 ms of an update the all-reduce. All in results/bench/hosts.json.

Synchronous only: an update needs every process, and when one dies the others end with an error (their heartbeat,
--patience, bounds the wait). Asynchronous runs that outlive failures are not for jax.distributed but for the runtimes
to come. A program for hosts of your own is `train` below: the same params everywhere, shards of its own on each host.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax.experimental import multihost_utils

import jaxasgd as ja

SHARDS, BATCH, WIDTHS, RATE = 8, 16, (784, 128, 10), 0.1  # shards over all hosts; 101 770 parameters
HOW = ("pmap", "shard_map")


@dataclasses.dataclass
class Options:
    """Synchronous SGD on several hosts: checked against one process, and timed."""

    coordinator: str | None = None
    """HOST:PORT of process 0, the same on every host; left out: processes on this machine."""
    num_processes: int = 1
    """How many hosts take part; 1 needs no coordinator."""
    process_id: int = 0
    """Which of them this is; 0 prints and writes."""
    local: int | None = None
    """Start this many processes here, over loopback; 2 if neither this nor a coordinator is given."""
    devices: int | None = None
    """Forced CPU devices of a process; left out: those there are (1 with --local)."""
    steps: int = 100
    """Updates of the training that is checked."""
    rounds: int = 7
    """Interleaved measurements behind each ratio."""
    patience: int = 20
    """Seconds without a sign of life after which a process counts as dead."""
    out: Path = Path("results/bench")
    """Folder for hosts.json."""
    quick: bool = False
    """Fewer steps and rounds, for tests."""
    supervised: bool = False
    """End when standard input closes (what --local passes to its processes)."""


# ------------------------------------------------------------------------------------------- the program


def loss(params, shard):
    """Cross-entropy of a network with one hidden layer."""
    hidden = jnp.tanh(shard["x"] @ params["w1"] + params["b1"][None, :])
    scores = jax.nn.log_softmax(hidden @ params["w2"] + params["b2"][None, :])
    return -jnp.mean(jnp.take_along_axis(scores, shard["y"][:, None], 1))


def problem():
    """Parameters and all shards, the same on every process; on a cluster each would read its own shards only."""
    rng = np.random.default_rng(0)
    inputs, hidden, classes = WIDTHS
    draw = lambda *shape: (rng.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)
    params = {"w1": draw(inputs, hidden), "b1": np.zeros(hidden, np.float32)}
    params |= {"w2": draw(hidden, classes), "b2": np.zeros(classes, np.float32)}
    x = rng.standard_normal((SHARDS, BATCH, inputs)).astype(np.float32)
    return params, {"x": x, "y": np.argmax(x @ draw(inputs, classes), -1).astype(np.int32)}


@jax.jit
def descend(params, grads):
    return jax.tree.map(lambda w, g: w - RATE * g, params, grads)


def train(step, params, shards, steps):
    """One call an update."""
    for _ in range(steps):
        _, grads = step(params, shards)
        params = descend(params, grads)
    return jax.block_until_ready(params)


def scanned(step, steps):
    """All updates in one program."""
    return jax.jit(
        lambda params, shards: jax.lax.scan(lambda w, _: (descend(w, step(w, shards)[1]), None), params, length=steps)[
            0
        ]
    )


# ------------------------------------------------------------------------------------- check and measure


def checked(got, expected, what):
    """The largest difference, relative to the largest parameter of its leaf."""
    error = max(
        float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(leaves(got), leaves(expected), strict=True)
    )
    if not error < 1e-3:
        raise ValueError(f"{what}: parameters equal those of one process to rounding, 1e-3; got a difference {error}.")
    return error


def leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def ratios(ways, baselines, steps, rounds):
    """Seconds an update of every way, measured in turn, and the ratio to its baseline, which process 0 runs alone."""
    first = jax.process_index() == 0
    seen = {name: [] for name in (*ways, *baselines)}
    for turn in range(rounds + 1):
        for name, run in (baselines | ways).items():
            if name in ways:
                multihost_utils.sync_global_devices(f"{name} {turn}")
            elif not first:
                continue
            began = time.perf_counter()
            jax.block_until_ready(run())
            if turn:  # the first compiles
                seen[name].append((time.perf_counter() - began) / steps)
    lines = []
    for name in ways if first else ():
        base = np.array(seen["scan" if "scan" in name else "call"])
        low, middle, high = np.quantile(np.array(seen[name]) / base, [0.25, 0.5, 0.75])
        line = {"way": name, "seconds_per_update": np.median(seen[name]), "one_device_seconds": np.median(base)}
        lines.append(line | {"ratio": middle, "ratio_low": low, "ratio_high": high})
    return lines


def work(options: Options):
    """What one process does, whatever their number."""
    if options.devices is not None:
        jax.config.update("jax_num_cpu_devices", options.devices)
    if options.num_processes > 1:
        waits = {"heartbeat_timeout_seconds": options.patience, "shutdown_timeout_seconds": options.patience}
        jax.distributed.initialize(options.coordinator, options.num_processes, options.process_id, **waits)
    number, this, own = jax.process_count(), jax.process_index(), len(jax.local_devices())
    say = print if this == 0 else lambda *_, **__: None
    if SHARDS % jax.device_count() or own * number != jax.device_count():
        raise ValueError(
            f"{SHARDS} shards go evenly over all devices, as many on each host; got {own} of {jax.device_count()} "
            f"devices on process {this}: choose 1, 2, 4 or 8 in all with --devices."
        )
    setting = f"{number} process{'es' * (number > 1)} x {own} device{'s' * (own > 1)}"
    params, everything = problem()
    mine = jax.tree.map(lambda x: x[this * SHARDS // number : (this + 1) * SHARDS // number], everything)
    plain = jax.jit(jax.value_and_grad(lambda w, shards: jnp.mean(jax.vmap(loss, (None, 0))(w, shards))))
    steps = {how: ja.fanout.value_and_grad(loss, how=how) for how in HOW}
    expected = train(plain, params, everything, options.steps)

    errors = {}
    for how in HOW:
        got = train(steps[how], params, mine, options.steps)
        multihost_utils.assert_equal(jax.tree.map(np.asarray, got), f"{how}: processes hold different parameters.")
        errors[how] = checked(got, expected, how)
        say(
            f"{setting}, {how}: {options.steps} updates equal to one process to rounding ({errors[how]:.1e})",
            flush=True,
        )

    count, shared, whole = (10 if options.quick else 50), ja.fanout.share(mine), ja.fanout.share(params, whole=True)
    placed = jax.device_put((params, everything), jax.local_devices()[0])
    free = lambda w, shard: sum(jnp.vdot(leaf, leaf) for leaf in jax.tree.leaves(w)) * 1e-6  # costs nothing
    scan, bare = scanned(steps["shard_map"], count), scanned(ja.fanout.value_and_grad(free, how="shard_map"), count)
    one = scanned(plain, count)
    ways = {f"{how}, one call an update": lambda how=how: train(steps[how], params, mine, count) for how in HOW}
    ways |= {"shard_map, scan in one jit": lambda: scan(whole, shared)}
    ways |= {"all-reduce alone, scan in one jit": lambda: bare(whole, shared)}
    baselines = {"call": lambda: train(plain, *placed, count), "scan": lambda: one(*placed)}
    lines = ratios(ways, baselines, count, 2 if options.quick else options.rounds)
    for line in lines:
        line |= {name: float(f"{value:.4g}") for name, value in line.items() if name != "way"}
        line |= {"processes": number, "devices_each": own, "difference": max(errors.values())}
        say(
            f"{setting}, {line['way']}: {1 / line['seconds_per_update']:.0f} updates a second, "
            f"{1e3 * line['seconds_per_update']:.2f} ms each, {line['ratio']:.2f} ({line['ratio_low']:.2f} to "
            f"{line['ratio_high']:.2f}) times one device",
            flush=True,
        )
    if this == 0:
        told = {"made_by": "experiments/hosts.py", "shards": SHARDS, "batch": BATCH, "widths": WIDTHS}
        ja.results.prepare(options.out, overwrite=True)
        text = json.dumps(told | {"environment": ja.results.environment(), "lines": lines}, indent=1)
        (options.out / "hosts.json").write_text(text + "\n")
    if number > 1:
        jax.distributed.shutdown()


def guarded(options: Options):
    """`work`, but an error ends the process at once: at exit it would wait for the others, and they for it."""
    if options.supervised:
        threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start()
    try:
        work(options)
    except BaseException:
        traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


# ------------------------------------------------------------------------------- processes on this machine


def local(number, options: Options, **changed):
    """Start `number` processes, wait for all; when one fails, end the others and say what it said."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    chosen = dataclasses.replace(options, coordinator=f"127.0.0.1:{port}", num_processes=number, **changed)
    names = ("coordinator", "num_processes", "devices", "steps", "rounds", "patience", "out")
    command = [sys.executable, str(Path(__file__).resolve()), "--supervised", *["--quick"] * chosen.quick]
    command += [str(word) for name in names for word in ("--" + name.replace("_", "-"), getattr(chosen, name))]
    running, said = [], []
    try:
        for i in range(number):
            said.append(tempfile.TemporaryFile("w+"))  # noqa: SIM115
            running.append(
                subprocess.Popen(
                    [*command, "--process-id", str(i)],
                    stdin=subprocess.PIPE,
                    stderr=said[i],
                    env=os.environ | {"JAX_PLATFORMS": "cpu"},
                )
            )
        print(f"processes {', '.join(str(process.pid) for process in running)}", flush=True)
        status = [None] * number
        while None in status and not any(status):
            time.sleep(0.05)
            status = [process.poll() for process in running]
        if any(status):
            time.sleep(0.5)  # who fails first is told first; others may have failed for it
            failed = [i for i, process in enumerate(running) if process.poll()]
            raise SystemExit(
                "\n".join(f"process {i} ended with {running[i].returncode}:\n{last(said[i])}" for i in failed)
            )
    finally:
        for process in running:
            process.kill()
            process.wait()
            process.stdin.close()
        for file in said:
            file.close()


def last(file, lines=12):
    """The end of what a process said, without the stack and log of XLA's threads."""
    file.seek(0)
    said = [line for line in file.read().splitlines() if not re.match(r"    @ |\*\*\* |[EF]\d{4} ", line)]
    return "\n".join(said[-lines:])


def main(options: Options):
    if options.quick:
        options = dataclasses.replace(options, steps=10)
    if options.coordinator is not None:
        return guarded(options)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the processes end too
    number = 2 if options.local is None else options.local
    devices = options.devices or 1
    ja.results.prepare(options.out, overwrite=True)
    with tempfile.TemporaryDirectory() as folder:
        several, forced = Path(folder) / "several", Path(folder) / "forced"
        local(number, options, devices=devices, out=several)
        local(1, options, devices=4 if options.quick else 8, out=forced)
        told, more = (json.loads((part / "hosts.json").read_text()) for part in (several, forced))
    del told["environment"]["devices"]  # each line has its own
    told["lines"] += more["lines"]
    (options.out / "hosts.json").write_text(json.dumps(told, indent=1) + "\n")
    print(f"\n{options.out / 'hosts.json'}")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
