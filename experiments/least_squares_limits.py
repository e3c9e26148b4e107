"""Largest stable steps of asynchronous SGD: told by closed forms and by the law of the delays, and measured.

Used by least_squares.py. On f(x) = x^2 / 2, in units of 1/L elsewhere; n workers, each starting again at once.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from common import pick
from scipy.optimize import brentq

import jaxasgd as ja

LATE = {"asynchronous SGD": ja.methods.asgd, "delay-adaptive ASGD": ja.methods.delay_adaptive_asgd}


# ------------------------------------------------------------------- predictions, in units of 1/L


def fixed_delay(tau) -> float:
    """The limit where every gradient is tau updates late."""
    return 2 * np.sin(np.pi / (4 * tau + 2))


def closed_form(clock, n) -> float:
    if clock == "exponential":
        return (1 + np.sqrt(1 + 8 * n)) / (2 * n)
    return fixed_delay(n - 2 if clock == "straggler" else n - 1)


def factor(method, n):
    """What a method multiplies a step by, as a function of the delay."""
    return (lambda k: np.ones(len(k))) if method == "asynchronous SGD" else (lambda k: n / np.maximum(n, k))


def mean_limit(delay, scale) -> float:
    """Largest stable step of the mean iterate, delays drawn from those given, independently."""
    k = np.unique(delay)
    weight = np.bincount(delay)[k] / len(delay) * scale(k)
    law = lambda w: np.exp(-1j * np.outer(w, k)) @ weight
    side = lambda w: (np.exp(1j * np.asarray(w)) - 1) * -law(w).conj()  # at a root z = e^iw it is a |law|^2, and real
    grid = np.linspace(1e-3, 1.5, 3000)
    turned = np.flatnonzero(np.diff(np.sign(side(grid).imag)))
    roots = [brentq(lambda w: side([w]).imag[0], grid[i], grid[i + 1]) for i in turned]
    return min(a for a in (side([w]).real[0] / abs(law([w])[0]) ** 2 for w in roots) if a > 0)


def second_moment_growth(a, n, scale, steps) -> float:
    """Growth of E x^2 an update, n exponential workers. both[k, l] = E[x(t-k) x(t-l); both are held by a worker]."""
    size = 10 * n
    s = scale(np.arange(size))
    both, new, logs = np.zeros((size, size)), np.eye(1, size)[0], []  # new[k] = E[x(t) x(t-k); t-k is held]
    both[0, 0] = 1.0
    old = np.arange(1, size)
    for _ in range(steps):
        held, late = np.diag(both), both @ s
        square = new[0] - 2 * a / n * (s @ new) + a * a / n * (s * s @ held)
        kept = (1 - 1 / n) * new - a / n * (late - s * held)
        moved = np.empty_like(both)
        moved[1:, 1:] = (1 - 2 / n) * both[:-1, :-1]
        moved[old, old] = (1 - 1 / n) * held[:-1]
        new = np.concatenate([[square], kept[:-1]])
        moved[0], moved[:, 0] = new, new
        both, new = moved / square, new / square
        logs.append(np.log(square))
    return float(np.mean(logs[steps // 2 :]))


def mean_square_limit(n, scale) -> float:
    """The step at which E x^2 neither grows nor shrinks."""
    middle = closed_form("exponential", n)
    return brentq(lambda a: second_moment_growth(a, n, scale, 20 * n), 0.7 * middle, 1.6 * middle, xtol=1e-3 * middle)


def predictions(clocks, n, updates) -> list[dict]:
    rows = []
    for clock, times in clocks.items():
        delay = ja.simulate(ja.policies.asgd(), times, num_updates=updates, seed=1000).delay[updates // 10 :]
        told = {"mean_delay": delay.mean(), "spread": delay.std(), "largest": int(delay.max())}
        for method in LATE:
            scale = factor(method, n)
            law = mean_square_limit(n, scale) if clock == "exponential" else mean_limit(delay, scale)
            closed = closed_form(clock, n) if method == "asynchronous SGD" else np.nan
            rows.append({"clock": clock, "method": method, "closed_form": closed, "law": law} | told)
    return rows


# ------------------------------------------------------------------- measurements


def path_limits(A, clocks, predicted, seeds, updates) -> list[dict]:
    """Steps x L at which a run that starts along the largest eigenvector begins to grow; labels and x* are 0."""
    values, vectors = np.linalg.eigh(A.T @ A / len(A))
    settings = {"batch_size": 32, "start": single(vectors[:, -1]), "loss_samples": min(512, len(A))}
    problem = ja.problems.linear(*single(A, np.zeros(len(A))), **settings)
    keys = jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(0), seed))(np.array(seeds))
    rows = []
    for method in LATE:
        mine = pick(predicted, method=method)
        play = lambda clock, seed: ja.simulate(ja.policies.asgd(), clocks[clock], num_updates=updates, seed=seed)
        plans = ja.stack([ja.plan(play(r["clock"], s), evaluate=updates // 200) for r in mine for s in seeds])
        steps = np.array([row["law"] * np.geomspace(0.85, 1.6, 20) for row in mine for _ in seeds])
        one = lambda a, key, plan, data, make=LATE[method]: ja.run(data, plan, make(a), key=key).loss
        every = jax.jit(jax.vmap(jax.vmap(one, (0, None, None, None)), (0, 0, 0, None)))
        found = np.asarray(every(steps / values[-1], jnp.tile(keys, len(mine)), plans, problem))
        who = [{"clock": row["clock"], "method": method, "seed": seed} for row in mine for seed in seeds]
        for at, loss, tried in zip(who, found, steps, strict=True):
            rate = [growth(np.arange(len(line)) * (updates // 200), line) for line in loss]
            rows.append(at | {"limit": crossing(rate, tried)})
    return rows


def single(*arrays):
    """In single precision."""
    made = [array.astype(np.float32) for array in arrays]
    return made if len(made) > 1 else made[0]


def growth(update, loss) -> float:
    """Growth of |x| an update: a straight line through its logarithm, without the first third of what is finite."""
    keep = np.isfinite(loss) & (loss > 0)
    update, size = update[keep].astype(float), np.log(loss[keep]) / 2
    first = len(size) // 3
    return np.polyfit(update[first:], size[first:], 1)[0]


def crossing(rate, steps) -> float:
    """The first step at which |x| grows, between steps on a straight line."""
    k = int(np.argmax(np.array(rate) > 0))
    return float(np.exp(np.interp(0, rate[k - 1 : k + 1], np.log(steps[k - 1 : k + 1]))))


def square_limits(n, runs, groups) -> list[dict]:
    """Steps at which the mean of x^2 over many short runs begins to grow, exponential times, for each group of runs."""
    updates, problem = 15 * n, ja.problems.quadratic(spectrum=[1.0])
    times, middle = ja.times.exponential(1.0, num_workers=n), closed_form("exponential", n)
    play = lambda seed: ja.simulate(ja.policies.asgd(), times, num_updates=updates, seed=seed)
    plans = ja.stack([ja.plan(play(seed), evaluate=5 * n) for seed in range(2000, 2000 + runs)])
    steps, rows = middle * np.linspace(0.85, 1.3, 10), []
    for method, make in LATE.items():
        one = lambda a, plan, make=make: ja.run(problem, plan, make(a), key=jax.random.key(0)).loss
        loss = np.asarray(jax.jit(jax.vmap(jax.vmap(one, (None, 0)), (0, None)))(steps, plans))
        for group, part in enumerate(np.split(loss, groups, axis=1)):
            mean = part.mean(axis=1)
            rows.append({"method": method, "group": group, "limit": crossing(np.log(mean[:, 3] / mean[:, 1]), steps)})
    return rows
