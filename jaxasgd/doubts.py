"""Results that are finite and still doubtful: a rate above the stability limit, a loss that float32 no longer moves."""

from __future__ import annotations

import math
import warnings
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .history import Status
from .work.gradients import gradient

MOST_ROWS = 5000  # that a test of stability goes through
GROWN = 10.0  # times the start: then the rate is called unstable
FEWEST = 5  # evaluations with the same loss: then it is called frozen


class DoubtWarning(RuntimeWarning):
    """A result is finite, and yet not to be trusted as it stands."""


GATHERED: ContextVar[dict | None] = ContextVar("doubts of a run inside of a comparison", default=None)


@contextmanager
def said_once(name, said):
    """Of the runs inside, each kind of doubt is told once, for the method `name`; `said` holds what was told."""
    found: dict[str, str] = {}
    token = GATHERED.set(found)
    try:
        yield
    finally:
        GATHERED.reset(token)
    new = {kind: f"{name}: {doubt}" for kind, doubt in found.items() if (name, kind) not in said}
    said |= {(name, kind): doubt for kind, doubt in new.items()}
    tell(new, stacklevel=4)


def tell(doubts, stacklevel=2):
    """Warn in the line of the caller's caller, or leave it to `said_once`."""
    box = GATHERED.get()
    for kind, doubt in doubts.items():
        if box is None:
            warnings.warn(doubt, DoubtWarning, stacklevel=stacklevel + 1)
        else:
            box[kind] = doubt


def doubts_of(problem, plan, method, history) -> dict[str, str]:
    """What is doubtful in the result of an eager run; a diverged run says so itself."""
    if history.status == Status.DIVERGED:
        return {}
    found = {"frozen": frozen(history), "unstable": unstable(problem, plan, method)}
    return {name: doubt for name, doubt in found.items() if doubt}


# ------------------------------------------------------------------- rounding


def frozen(history) -> str | None:
    """The last third of the evaluations, five at least, found the same loss to the bit, and it is not 0."""
    loss = np.asarray(history.loss)
    same = len(loss) - np.flatnonzero(np.concatenate([[True], loss[1:] != loss[:-1]]))[-1]
    if same < max(FEWEST, len(loss) / 3) or loss[-1] == 0 or history.update[-1] == history.update[-same]:
        return None
    size = np.spacing(np.abs(loss[-1]))
    return (
        f"the loss is {loss[-1]:.6g}, to the bit, at all of the last {same} evaluations (updates "
        f"{history.update[-same]} to {history.update[-1]}): {loss.dtype} does not resolve the steps, or they are 0, or "
        f"the run has converged as far as it goes. Differences of about {size:.1g} are rounding"
        + (': jax.config.update("jax_enable_x64", True) resolves more.' if loss.dtype != np.float64 else ".")
    )


# ------------------------------------------------------------------- stability


class Response(NamedTuple):
    """A rule of the form u_t = -(first g_t + after (g_{t-1} + decay g_{t-2} + decay^2 g_{t-3} + ...))."""

    first: float
    after: float
    decay: float


def unstable(problem, plan, method) -> str | None:
    """Whether the rate is above the largest stable one: the run itself without noise, in the steepest direction."""
    plain = method.arrival is None and method.send is None and method.work == gradient()
    if not plain or np.ndim(plan.rows["delay"]) > 1 or (curvature := problem.curvature()) is None:
        return None
    response = response_of(method.rule)
    if response is None or response.first <= 0 or curvature <= 0:
        return None
    if safe(plan, curvature, response):
        return None
    rows = rows_of(plan)
    grown = growth(rows, curvature, response)
    if not grown > GROWN:
        return None
    low, high = 0.0, 1.0
    for _ in range(14):
        middle = (low + high) / 2 if low else high / 4
        stable = growth(rows, curvature * middle, response) <= 1
        low, high = (middle, high) if stable else (low, middle)
    return (
        f"the learning rate {response.first:.4g} is above the largest stable one here, about "
        f"{low * response.first:.2g}: with these delays the parameters grow {grown:.2g}-fold in the direction of the "
        f"largest curvature, {curvature:.4g}, and a finite loss only says that the run was short. Take a smaller rate."
    )


def safe(plan, curvature, response) -> bool:
    """Nothing can grow: a = first * curvature, a <= 1 and a * (largest delay) <= 1, without momentum, for means.

    Because x[t+1] = (1 - a) x[t] + a (x[t] - x[t - d]), and x changes by at most a max |x| an update.
    """
    delay, weight, total = (np.asarray(plan.rows[name]) for name in ("delay", "weight", "total"))
    a = response.first * curvature
    return not response.after and a * max(delay.max(), 1) <= 1 and weight.min() >= 0 and total.max() <= 1 + 1e-6


def rows_of(plan):
    """Per row: the version read, the weight in its aggregate, whether it is a step."""
    rows = {name: np.asarray(plan.rows[name])[:MOST_ROWS] for name in ("version", "delay", "weight", "use", "step")}
    rows = {name: column[rows["use"] | rows["step"]] for name, column in rows.items()}
    read = np.where(rows["use"], rows["version"] - rows["delay"], 0)
    return list(
        zip(read.tolist(), np.where(rows["use"], rows["weight"], 0).tolist(), rows["step"].tolist(), strict=True)
    )


def growth(rows, curvature, response) -> float:
    """max |x| over the last tenth of the updates on f(x) = curvature x^2 / 2 from x = 1."""
    first, after, decay = response
    x, past, total = [1.0], 0.0, 0.0
    for read, weight, step in rows:
        total += weight * curvature * x[read]
        if step:
            x.append(x[-1] - first * total - after * past)
            past, total = decay * past + total, 0.0
            if not abs(x[-1]) < 1e100:
                return math.inf
    return max(map(abs, x[-max(len(x) // 10, 1) :]))


PROBE = [  # gradient, parameter, delay
    (1.0, 0.0, 0),
    (0.0, 1.0, 3),
    (0.0, 0.0, 0),
    (-2.0, -1.0, 9),
    (3.0, 0.0, 1),
    (1.0, 2.0, 0),
]


def response_of(rule) -> Response | None:
    """What a rule makes of a gradient of 1 and then zeros; None if that does not tell what it makes of others.

    It does where updates are linear in the gradients, whatever the parameters and the delays, and always the same; a
    state that counts (a learning rate that changes, Adam) is taken to say that they are not.
    """
    rule = optax.with_extra_args_support(rule)
    try:
        state, updates = rule.init(jnp.zeros(())), []
        if any(not jnp.issubdtype(jnp.result_type(leaf), jnp.floating) for leaf in jax.tree.leaves(state)):
            return None
        for g, x, delay in PROBE:
            extras: dict[str, Any] = {"delay": jnp.asarray(delay), "weight": jnp.ones(()), "step": jnp.asarray(True)}
            update, state = rule.update(jnp.asarray(g), state, jnp.asarray(x), **extras)
            updates.append(-float(update))
    except Exception:  # a rule of any kind, for other parameters, or one that asks for more
        return None
    first, after, later = updates[:3]
    response = Response(first, after, later / after if after else 0.0)
    past, expected = 0.0, []
    for g, _, _ in PROBE:
        expected.append(response.first * g + response.after * past)
        past = response.decay * past + g
    return response if np.allclose(updates, expected, rtol=1e-4, atol=1e-5 * abs(first)) else None
