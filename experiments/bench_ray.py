"""Simulated beside real: ja.run replays what a parameter server on Ray has just done.

Claim     To study asynchronous SGD, simulation is a hundred times faster, or more, than a real parameter server with
          worker processes on the same machine, and makes the same updates.
Command   python experiments/bench_ray.py
Cost      about 2 minutes on 2 CPU cores; --quick about 20 seconds.
Expected  Ray / ja.run: 100 or more (least squares, 10 000 samples, d = 400, batch 256, 4 workers).

The server and the workers are NumPy in Ray actors, arranged as in Ray's own example of an asynchronous parameter
server. The server writes down who read which version; ja.run is given that recording, and must end at the server's
parameters. Actors are started before the clock is.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import warnings
from pathlib import Path

import bench
import jax
import numpy as np
import optax
import tyro

import jaxasgd as ja

KEY = jax.random.key(0)
WORKERS, LR, DIM, SAMPLES, SIZE = 4, 0.01, 400, 10_000, 256


class Server:
    """The parameters, and what happened to them."""

    def __init__(self, dim, lr):
        self.x, self.lr, self.version = np.zeros(dim, np.float32), np.float32(lr), 0

    def apply(self, gradient):
        if gradient is not None:
            self.x = self.x - self.lr * gradient
            self.version += 1
        return self.x, self.version


class Worker:
    """A gradient of the next batch."""

    def __init__(self, X, y, batches):
        self.X, self.y, self.batches, self.turn = X, y, batches, 0

    def rewind(self):
        self.turn = 0

    def gradient(self, sent):
        x, version = sent
        rows = self.batches[self.turn]
        self.turn += 1
        A = self.X[rows]
        return (A @ x - self.y[rows]) @ A / np.float32(len(rows)), version


def ray_loop(ray, server, workers, updates):
    """An asynchronous parameter server: `(parameters, worker of each update, version that it had read)`."""
    apply = lambda gradient: server.apply.remote(gradient)
    sent, version = ray.get(apply(None))
    running = {worker.gradient.remote((sent, version)): i for i, worker in enumerate(workers)}
    who, read = [], []
    for _ in range(updates):
        (ready,), _ = ray.wait(list(running), num_returns=1)
        i = running.pop(ready)
        gradient, version = ray.get(ready)
        who.append(i)
        read.append(version)
        running[workers[i].gradient.remote(apply(gradient))] = i
    return ray.get(apply(None))[0], np.array(who), np.array(read)


def recorded(who, read) -> ja.Schedule:
    """The run as a table: every row is a step of its own; the clock counts updates."""
    rows, visit = len(who), np.zeros(len(who), int)
    for i in range(WORKERS):
        visit[who == i] = np.arange((who == i).sum())
    numbers = {"worker": who, "read": read, "visit": visit, "repeat": np.zeros(rows), "size": np.ones(rows)}
    numbers = {name: column.astype(np.int32) for name, column in numbers.items()}
    always, clock = np.ones(rows, bool), np.arange(1.0, rows + 1)
    return ja.Schedule(
        time=clock, start=read.astype(float), use=always, weight=np.ones(rows), step=always, num_workers=WORKERS,
        end=float(rows), **numbers,
    )  # fmt: skip


def measured(options) -> list[dict]:
    updates, rounds = (300, 2) if options.quick else (1500, options.rounds)
    ray = bench.library("ray")
    rng = np.random.default_rng(0)
    X = rng.standard_normal((SAMPLES, DIM), np.float32)
    y = X @ rng.standard_normal(DIM, np.float32) + rng.standard_normal(SAMPLES, np.float32)
    order = bench.samples_in_order(rng, WORKERS, (updates + WORKERS) * SIZE, SAMPLES)
    problem = ja.problems.linear(X, y, batch_size=SIZE, order=order, loss_samples=1)

    def ours(schedule):
        plan = ja.plan(schedule, evaluate=updates)
        return lambda: ja.run(problem, plan, optax.sgd(LR), key=KEY, progress=False).params

    told = {"workers": WORKERS, "parameters": DIM, "batch_size": SIZE}
    name = f"least squares, {SAMPLES:,} samples, d = {DIM}, batch {SIZE}, {WORKERS} workers"
    if not ray:
        times = ja.times.exponential(1.0, num_workers=WORKERS)
        run = ours(ja.simulate(ja.policies.asgd(), times, num_updates=updates))
        return [bench.measure(name, {"ja.run": run}, updates=updates, rounds=rounds, **told)]
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    with warnings.catch_warnings():  # JAX warns of any fork; Ray's are followed by exec
        warnings.simplefilter("ignore")
        ray.init(num_cpus=WORKERS + 1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        data = ray.put(X), ray.put(y)
        batches = order.reshape(WORKERS, -1, SIZE)
        workers = [ray.remote(Worker).remote(*data, batches[i]) for i in range(WORKERS)]
        last = {}

        def theirs():
            ray.get([worker.rewind.remote() for worker in workers])
            last["run"] = ray_loop(ray, ray.remote(Server).remote(DIM, LR), workers, updates)
            return last["run"][0]

        theirs()
        run = ours(recorded(*last["run"][1:]))
        far = bench.same(name, run(), last["run"][0])  # the first run, replayed; later ones have their own order
        sides = {"ja.run": run, "Ray": theirs}
        targets = [("Ray", "ja.run", "at least", 100)]
        told |= {"distance_of_replay": far}
        row = bench.measure(name, sides, updates=updates, rounds=rounds, targets=targets, apart={"Ray"}, **told)
    finally:
        ray.shutdown()
    return [row]


@dataclasses.dataclass
class Options(bench.Options):
    """ja.run beside a parameter server on Ray."""


def main(options: Options):
    bench.run("ray", Path(__file__), measured, options, __doc__)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
