"""What all runtimes are told alike: checked before anything is compiled or started."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np

from ..arrivals import Limits
from ..checks import known, real, shown, whole, word
from ..engine import check_key, check_problem
from ..methods.base import Method
from ..policies.base import check_policy
from ..results import environment
from ..simulation import NO_UPDATE
from ..times.base import Times

MOST_ARRIVALS = 50_000_000


class Setting(NamedTuple):
    """A run, as told.

    Attributes:
        problem: what is minimised. method: bound to the number of workers. num_workers: of the run.
        units: in a job of each worker, [num_workers].
        limits: where the run ends; `num_updates`: None where it is not known.
        key, seed: of the numbers (JAX), and of the policy's own randomness (NumPy).
        pace: `pace(worker, job, size) -> (factor, least)`: a call takes `factor` times as long as its computing, and
            `least` seconds at least.
        on_failure: "stop", "drop" or "restart".
        info: what the schedule says of all this.
    """

    problem: Any
    method: Method
    num_workers: int
    units: list[int]
    limits: Limits
    num_updates: int | None
    key: Any
    seed: int
    pace: Any  # on Ray `(slow, law)`, until it has come to the server
    on_failure: str
    info: dict


def settle(
    runtime, problem, policy, rule, *, num_workers, num_updates, until, key, slow, times, seconds, on_failure, seed
) -> Setting:
    """Check the arguments that all runtimes share; see `threads` for what they mean.

    Args:
        runtime: its name, for the schedule's `info`.
    """
    check_problem(problem)
    check_key(key)
    method = method_of(policy, rule)
    if times is not None:
        if not isinstance(times, Times) or not times.plain:
            raise ValueError(
                "times is a law of seconds, ja.times.exponential(1.0, num_workers=8), without powers, absences, "
                f"messages or a server of its own, which are real here; got {shown(times)}."
            )
        num_workers = times.num_workers if num_workers is None else num_workers
    if num_workers is None:
        raise ValueError("a run has num_workers workers: give num_workers=8, for example.")
    num_workers = whole("num_workers", num_workers, 1)
    if times is not None:
        if times.num_workers != num_workers:
            raise ValueError(
                f"times has {times.num_workers} workers, and the run num_workers={num_workers}: make them one."
            )
        times = scaled(times, above_zero("seconds", seconds, "seconds of the run for one of times"))
    elif above_zero("seconds", seconds, "seconds of the run for one of times") != 1.0:
        raise ValueError(f"seconds is how long one second of times takes here; got {shown(seconds)} without times=.")
    method = method.bind(num_workers, times)
    if num_updates is None and until is None:
        raise ValueError("a run ends somewhere: give num_updates=, or until= in seconds.")
    num_updates = None if num_updates is None else whole("num_updates", num_updates)
    until = None if until is None else real("until", until, 0, " of seconds")
    limits = Limits(
        math.inf if num_updates is None else num_updates,
        math.inf if until is None else until,
        MOST_ARRIVALS,
        max(NO_UPDATE, 100 * num_workers) if until is None else math.inf,
    )
    seed = whole("seed", seed)
    pace, told = pace_of(slow, times, num_workers, seed)
    info = {"method": method.name, "arguments": dict(method.info)} if method.name else {}
    info |= {**method.policy.info, "runtime": runtime, "seed": seed, "num_updates": num_updates, "until": until}
    info |= {**told, "on_failure": word("on_failure", on_failure, "stop", "drop", "restart")}
    units = method.work.sizes(num_workers)
    info |= environment()
    return Setting(problem, method, num_workers, units, limits, num_updates, key, seed, pace, on_failure, info)


def method_of(policy, rule) -> Method:
    """A policy and a rule, or a method that is both."""
    if isinstance(policy, Method):
        if rule is not None:
            raise ValueError("a Method has its rule: leave rule out, or give a policy and a rule.")
        return policy
    check_policy(policy, " or a ja.Method")
    if rule is None:
        raise ValueError("a policy goes with a rule, optax.sgd(0.1) for example; got none.")
    return Method(policy, rule)


def pace_of(slow, times, num_workers, seed):
    """Artificial slowness: a function of worker, job and size, and what `info` says of it."""
    if slow is not None and times is not None:
        raise ValueError("workers are slow by factors, slow=, or take the seconds of a law, times=; got both.")
    if times is not None:
        durations = times.durations(seed)
        law = {"law": times.name, **times.args}
        return lambda worker, job, size: (1.0, size * durations(worker, job)), {"pace": law}
    if slow is None:
        return lambda worker, job, size: (1.0, 0.0), {}
    given = known(slow)
    if given is None or given.shape not in ((), (num_workers,)) or not (np.isfinite(given) & (given >= 1)).all():
        raise ValueError(
            f"slow is how many times as long as its computing a job takes, 1 or more: a number, or one for each of "
            f"{num_workers} workers; got {shown(slow)}."
        )
    factors = np.broadcast_to(given, (num_workers,)).astype(float).tolist()
    return lambda worker, job, size: (factors[worker], 0.0), {"slow": factors}


def above_zero(name, value, says) -> float:
    number = real(name, value, 0, hint=f", above 0: {says}")
    if not number:
        raise ValueError(f"{name} is above 0: {says}; got {shown(value)}.")
    return number


def scaled(times: Times, factor: float) -> Times:
    """The same law in other seconds."""
    if factor == 1.0:
        return times
    draw = lambda rng, worker, count: factor * np.asarray(times.draw(rng, worker, count))
    rows = times.table
    table = rows and (lambda worker, first, count: factor * np.asarray(rows(worker, first, count)))
    args = {"base": {"name": times.name, "args": times.args}, "factor": factor}
    return replace(times, name="scaled", mean=factor * times.mean, draw=draw, table=table, args=args)


def local_devices(devices) -> list:
    """The devices that workers compute on, in turn: some of this process, or all of them."""
    here = jax.local_devices()
    if devices is None:
        return here
    one = isinstance(devices, jax.Device)
    chosen = [devices] if one else list(devices) if hasattr(devices, "__iter__") else []
    if not chosen or not all(isinstance(device, jax.Device) and device in here for device in chosen):
        raise ValueError(
            f"devices are devices of this process, jax.local_devices() for all of them; got {shown(devices)}."
        )
    return chosen
