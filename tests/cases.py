"""The tables: problems, clocks, policies and rules that the tests go through."""

import jax
import numpy as np
import optax
import oracle
import rows_gradients
import rows_local
import rows_lookahead
import rows_matrices
import rows_momentum
import rows_pipelines

import jaxasgd as ja
from jaxasgd import program

N = 5  # workers

CLOCKS = {
    "equal": lambda: ja.times.fixed(1.0, num_workers=N),
    "linear": lambda: ja.times.fixed(np.arange(1.0, N + 1)),
    "exponential": lambda: ja.times.exponential(1.0, num_workers=N),
    "lognormal": lambda: ja.times.lognormal(np.linspace(1, 4, N), sigma=1.0),
    "pareto": lambda: ja.times.pareto(minimum=1.0, alpha=1.1, num_workers=N),
}

POLICIES = {  # ours, and the loop of the oracle that does the same
    "asgd": (lambda: ja.policies.asgd(), oracle.asgd, {}),
    "synchronous": (lambda: ja.policies.synchronous(), oracle.synchronous, {}),
    "backup": (lambda: ja.policies.synchronous(backup=2), oracle.synchronous, {"backup": 2}),
    "backup, late ignored": (
        lambda: ja.policies.synchronous(backup=2, late="ignore"),
        oracle.synchronous,
        {"backup": 2, "late": "ignore"},
    ),
}


METHODS = (
    rows_gradients.METHODS
    | rows_local.METHODS
    | rows_lookahead.METHODS
    | rows_matrices.METHODS
    | rows_pipelines.METHODS
    | rows_momentum.METHODS
)

RULES = {
    "sgd": (lambda: optax.sgd(0.05), lambda: oracle.sgd(0.05)),
    "delay-scaled momentum": (
        lambda: optax.chain(ja.rules.scale_by_delay(0.5), optax.trace(0.7), optax.scale(-0.04)),
        lambda: oracle.scaled_momentum(0.04, 0.5, 0.7),
    ),
}


def regression_data():
    rng = np.random.default_rng(5)
    X = rng.standard_normal((60, 4))
    return X, X @ np.array([1.0, -2.0, 0.5, 3.0]) + 0.1 * rng.standard_normal(60)


def linear(order):
    X, y = regression_data()
    shards = ja.problems.shard(60, N, how="iid", seed=1)
    problem = ja.problems.linear(X, y, batch_size=3, shards=shards, order=order)

    def gradient(x, sample):
        (index,) = sample
        return X[index].T @ (X[index] @ x - y[index]) / len(index)

    return problem, np.zeros(4), gradient, lambda x: float(np.mean((X @ x - y) ** 2) / 2)


def logistic():
    X, y = regression_data()
    y = np.sign(y)
    problem = ja.problems.logistic(X, y, batch_size=2)

    def gradient(x, sample):
        (index,) = sample
        margin = y[index] * (X[index] @ x)
        return -(X[index] * (y[index] / (1 + np.exp(margin)))[:, None]).mean(axis=0)

    return problem, np.zeros(4), gradient, lambda x: float(np.mean(np.log1p(np.exp(-y * (X @ x)))))


def quadratic(num_workers=N):
    spectrum = np.array([0.1, 0.5, 1.0, 2.0])
    centers = np.random.default_rng(2).standard_normal((num_workers, 4))
    problem = ja.problems.quadratic(spectrum=spectrum, centers=centers, noise=0.3)

    def gradient(x, sample):
        return spectrum * (x - centers[sample["worker"]]) + 0.3 * sample["xi"]

    center = centers.mean(axis=0)
    return problem, center + 1.0, gradient, lambda x: float((x - center) @ (spectrum * (x - center)) / 2)


def tridiagonal(shared=False):
    dim = 12
    problem = ja.problems.tridiagonal(dim, noise=0.05, shared=shared)
    A = (2 * np.eye(dim) - np.eye(dim, k=1) - np.eye(dim, k=-1)) / 4
    b = np.zeros(dim)
    b[0] = -0.25
    best = np.linalg.solve(A, b)
    start = np.zeros(dim)
    start[0] = np.sqrt(dim)
    value = lambda x: float(x @ A @ x / 2 - b @ x)
    return problem, start, lambda x, sample: A @ x - b + 0.05 * sample["xi"], lambda x: value(x) - value(best)


PROBLEMS = {
    "linear, random": lambda: linear("random"),
    "linear, cyclic": lambda: linear("cyclic"),
    "linear, shuffled": lambda: linear("shuffled"),
    "logistic": logistic,
    "quadratic": quadratic,
    "tridiagonal": tridiagonal,
    "tridiagonal, shared noise": lambda: tridiagonal(shared=True),
}


class Samples:
    """What the engine draws for a job and a unit of it, for the oracle to draw the same."""

    def __init__(self, problem, key, units=1):
        self.key, self.problem, self.units = jax.random.fold_in(key, program.DATA_STREAM), problem, units
        self.known = {}

    def __call__(self, job, unit=0):
        who = job.worker, job.visit, job.repeat, job.turn
        if who not in self.known:
            span, fill = np.arange(64), np.full(64, 1)  # a batch of visits at once: much faster, the same numbers
            visits, turns = job.visit + span, job.turn + span
            rows = {"worker": job.worker * fill, "visit": visits, "repeat": job.repeat * fill, "turn": turns}
            out = jax.tree.map(np.asarray, DRAW(self.problem, self.key, rows, self.units, 1))
            for i in span.tolist():
                at = job.worker, job.visit + i, job.repeat, job.turn + i
                self.known[at] = jax.tree.map(lambda a, i=i: a[i], out)
        return jax.tree.map(lambda a: a[unit], self.known[who])


DRAW = jax.jit(program.draw, static_argnums=(3, 4))
