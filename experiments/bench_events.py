"""Asynchronous SGD one event at a time: ja.run beside the loops that people write, in NumPy and in numba.

Claim     A run costs far less than the event loop that one writes in NumPy, and about as much as the same loop
          compiled with numba, whose gradient is written out by hand; ja.run takes any loss.
Command   python experiments/bench_events.py
Cost      about 3 minutes on 2 CPU cores; --quick about 15 seconds.
Expected  NumPy / ja.run: 10 or more on the regression of two features and on least squares (d = 100), 6 or more on
          the tridiagonal quadratic (d = 1729, 1 000 workers). ja.run / numba: 1.5 or less on least squares.

Both loops keep a heap of arrivals and what each worker had read. They are given the durations of ja's clock and the
sample numbers (or the table of noise) of ja's problem, and end at ja's parameters: that is checked before anything is
timed. "simulate + run" makes the schedule and the plan anew, which the loops do as they go.
"""

from __future__ import annotations

import dataclasses
import heapq
from pathlib import Path

import bench
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

import jaxasgd as ja

KEY = jax.random.key(0)
F = np.float32

# ----------------------------------------------------------- the loop in NumPy


def numpy_loop(x, durations, num_workers, updates, gradient, data, lr):
    """Asynchronous SGD with a heap: the next arrival is applied, and its worker starts again."""
    heap = [(seconds, i) for i, seconds in enumerate(durations[:num_workers].tolist())]
    heapq.heapify(heap)
    following = durations[num_workers:].tolist()
    held, turns, lr = [x] * num_workers, [0] * num_workers, F(lr)
    for version in range(updates):
        now, i = heap[0]
        g = gradient(held[i], i, turns[i], data)
        g *= lr
        x = x - g
        held[i] = x
        turns[i] += 1
        heapq.heapreplace(heap, (now + following[version], i))
    return x


def squares(x, i, turn, data):
    """One sample of least squares."""
    X, y, order = data
    s = order[i, turn]
    a = X[s]
    return (a @ x - y[s]) * a


def logits(x, i, turn, data):
    """A batch of logistic regression, labels -1 and 1."""
    X, y, order, size = data
    s = order[i, turn * size : (turn + 1) * size]
    A, b = X[s], y[s]
    return (-b / (1 + np.exp(b * (A @ x)))) @ A / F(size)


def chain(x, i, turn, data):
    """The tridiagonal quadratic, its noise from a table."""
    b, noise = data
    g = 2 * x
    g[1:] -= x[:-1]
    g[:-1] -= x[1:]
    g /= 4
    g -= b
    g += noise[(turn + 7919 * i) % len(noise)]
    return g


# ------------------------------------------- the same loop, to compile with numba


def numba_loop(start, durations, num_workers, updates, update, data, lr):
    """The same; `update` subtracts lr times the gradient at `read` from x, in place."""
    heap = [(durations[i], i) for i in range(num_workers)]
    heapq.heapify(heap)
    x, held, turns = start.copy(), np.empty((num_workers, len(start)), np.float32), np.zeros(num_workers, np.int64)
    held[:] = start
    for version in range(updates):
        now, i = heap[0]
        update(x, held[i], i, turns[i], data, lr)
        held[i] = x
        turns[i] += 1
        heapq.heapreplace(heap, (now + durations[num_workers + version], i))
    return x


def squares_update(x, read, i, turn, data, lr):
    X, y, order = data
    s = order[i, turn]
    a = X[s]
    r = -y[s]
    for j in range(len(x)):
        r += a[j] * read[j]
    r *= lr
    for j in range(len(x)):
        x[j] -= r * a[j]


def logits_update(x, read, i, turn, data, lr):
    X, y, order, size = data
    for k in range(turn * size, (turn + 1) * size):
        s = order[i, k]
        a, z = X[s], np.float32(0)
        for j in range(len(x)):
            z += a[j] * read[j]
        r = lr / size * y[s] / (1 + np.exp(y[s] * z))
        for j in range(len(x)):
            x[j] += r * a[j]


def chain_update(x, read, i, turn, data, lr):
    b, noise = data
    e, last = noise[(turn + 7919 * i) % len(noise)], len(x) - 1
    x[0] -= lr * ((2 * read[0] - read[1]) / 4 - b[0] + e[0])
    x[last] -= lr * ((2 * read[last] - read[last - 1]) / 4 - b[last] + e[last])
    for j in range(1, last):
        x[j] -= lr * ((2 * read[j] - read[j - 1] - read[j + 1]) / 4 - b[j] + e[j])


def compiled(numba, function, **options):
    """With numba; sums may be reordered, so that they use vector instructions."""
    return numba.njit(fastmath={"reassoc", "contract", "nsz"}, error_model="numpy", **options)(function)


# ------------------------------------------------------------------- the cases


@dataclasses.dataclass
class Case:
    """A problem for ja.run, and the same for the loops."""

    name: str
    start: np.ndarray
    num_workers: int
    updates: int
    lr: float
    problem: object  # of a table of sample numbers
    numpy: object
    numba: object
    data: object  # of the same
    samples: int = 1
    batch_size: int = 1
    targets: tuple = ()

    def made(self):
        """Schedule, problem and the loops' arguments but for the gradient, on one table of sample numbers."""
        schedule = self.schedule()
        turns = (int(np.bincount(schedule.worker).max()) + 1) * self.batch_size
        order = bench.samples_in_order(np.random.default_rng(1), self.num_workers, turns, self.samples)
        loops = (self.start, bench.durations_of(schedule), self.num_workers, self.updates)
        return schedule, self.problem(order), loops, self.data(order)

    def schedule(self):
        times = ja.times.exponential(1.0, num_workers=self.num_workers)
        return ja.simulate(ja.policies.asgd(), times, num_updates=self.updates)


@dataclasses.dataclass(frozen=True)
class TabledNoise:
    """The tridiagonal quadratic with its noise read from a table: row (visit + 7919 worker) mod length."""

    def init(self, data, key):
        return data["start"]

    def draw(self, data, request):
        return (request.turn + 7919 * request.worker) % data["noise"].shape[0]

    def gradient(self, data, x, row):
        zero = jnp.zeros(1, x.dtype)
        left, right = jnp.concatenate([zero, x[:-1]]), jnp.concatenate([x[1:], zero])
        return (2 * x - left - right) / 4 - data["b"] + data["noise"][row]

    def evaluate(self, data, x):
        return {"loss": jnp.vdot(x, x)}


def least_squares(name, X, y, num_workers, updates, lr, targets=()):
    X, y = F(X), F(y)
    problem = lambda order: ja.problems.linear(X, y, order=order, loss_samples=1)
    data = lambda order: (X, y, order)
    start = np.zeros(X.shape[1], F)
    return Case(name, start, num_workers, updates, lr, problem, squares, squares_update, data, len(y), 1, targets)


def random_least_squares(updates, targets=(), dim=100):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((10_000, dim), F)
    y = X @ rng.standard_normal(dim, F) / F(np.sqrt(dim)) + rng.standard_normal(10_000, F)
    return least_squares(f"least squares, d = {dim}, batch 1", X, y, 16, updates, 2e-4, targets)


def adult(updates, size=16):
    X, y = ja.problems.libsvm(ja.problems.folder() / "libsvm" / "a9a.gz", num_features=123)[:2]
    X, y = F(X), F(y)
    problem = lambda order: ja.problems.logistic(X, y, batch_size=size, order=order, loss_samples=1)
    name, data = f"logistic regression on a9a, d = 123, batch {size}", lambda order: (X, y, order, size)
    start = np.zeros(123, F)
    return Case(name, start, 16, updates, 0.02, problem, logits, logits_update, data, len(y), size)


def tridiagonal(updates, targets=(), dim=1729):
    noise = (0.01 * np.random.default_rng(0).standard_normal((2048, dim))).astype(F)
    b, start = np.zeros(dim, F), np.zeros(dim, F)
    b[0], start[0] = -0.25, np.sqrt(dim)
    held = jax.tree.map(jnp.asarray, {"noise": noise, "b": b, "start": start})
    problem = lambda order: ja.problems.Problem(held, None, TabledNoise())
    name, data = f"tridiagonal quadratic, d = {dim}", lambda order: (b, noise)
    return Case(name, start, 1000, updates, 5e-4, problem, chain, chain_update, data, targets=targets)


def timed(case: Case, rounds, numba) -> dict:
    """One row: ja.run, ja.run with its simulation, and the two loops."""
    schedule, problem, loops, data = case.made()
    made = ja.plan(schedule, evaluate=case.updates)
    go = lambda plan: ja.run(problem, plan, optax.sgd(case.lr), key=KEY, progress=False).params
    sides = {
        "ja.run": lambda: go(made),
        "simulate + run": lambda: go(ja.plan(case.schedule(), evaluate=case.updates)),
        "NumPy": lambda: numpy_loop(*loops, case.numpy, data, case.lr),
    }
    if numba:
        loop, update = compiled(numba, numba_loop), compiled(numba, case.numba)
        sides["numba"] = lambda: loop(*loops, update, data, F(case.lr))
    told = {"workers": case.num_workers, "parameters": len(case.start), "batch_size": case.batch_size}
    return bench.measure(case.name, sides, updates=case.updates, rounds=rounds, targets=case.targets, **told)


def measured(options) -> list[dict]:
    few, rounds = (20, 3) if options.quick else (1, options.rounds)
    faster = lambda number: ("NumPy", "ja.run", "at least", number)
    X, y = ja.problems.toy_regression()
    name = "the seed's regression, d = 2, batch 1"
    cases = [
        least_squares(name, X, y, 4, 200_000 // few, 0.01, (faster(10),)),
        random_least_squares(200_000 // few, (faster(10), ("ja.run", "numba", "at most", 1.5))),
        tridiagonal(30_000 // few, (faster(6),)),
    ]
    if ja.problems.folder():
        cases.append(adult(30_000 // few))
    else:
        bench.without("logistic regression on a9a", "JAXASGD_DATA names a folder with libsvm/a9a.gz.")
    numba = bench.library("numba")
    return [timed(case, rounds, numba) for case in cases]


@dataclasses.dataclass
class Options(bench.Options):
    """ja.run beside event loops in NumPy and in numba."""


def main(options: Options):
    bench.run("events", Path(__file__), measured, options, __doc__)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
