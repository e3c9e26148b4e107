"""How many members of a sweep run at once, and whether side by side or one by one."""

from __future__ import annotations

import math
import os

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from . import program

VMAP_PARAMETERS = 20_000  # on a CPU members run side by side up to so many parameters, see `choose`
CACHE_BYTES = 1 << 23  # on a CPU the state of members side by side stays within about this
MOST_WASTE = 2.0  # on a CPU: the common layout of plans has at most so many times the rows that do something
MOST_COPIED = 8  # on a CPU: a state that is copied at every row is at most so many times the parameters
MEMORY_SHARE = 0.5  # of what is free


def choose(problem, sample, *, platform, points, cores, waste=1.0, copied=0) -> str:
    """Side by side ("vmap"), or one by one ("loop", on several cores "threads").

    On accelerators always "vmap". On a CPU (measured: results/bench/sweeps.json) "vmap" wins where a row is small
    beside what it costs to start it, up to `VMAP_PARAMETERS`, and where points of the grid share samples that are as
    large as the parameters (noise): they are drawn once for all points. Otherwise one core is full with one run.

    Args:
        sample: shapes of the samples of a row.
        waste: rows in the plans' common layout over rows that do something.
        copied: numbers in the rule's state where a row may leave it alone: side by side that is a copy of all of it.
    """
    parameters = count(program.initial_shapes(problem))
    small = parameters <= VMAP_PARAMETERS or (points > 1 and count(sample) >= parameters)
    if platform != "cpu" or (small and waste <= MOST_WASTE and copied <= MOST_COPIED * parameters):
        return "vmap"
    return "threads" if cores > 1 else "loop"


def wasted(own) -> float:
    """Rows in the common layout of plans (`ja.stack`), over rows that do something."""
    longest = max(int(np.diff(each.bounds).max(initial=0)) for each in own)
    looks = max(each.num_evaluations for each in own)
    return len(own) * longest * max(looks - 1, 1) / max(sum(int(each.bounds[-1]) for each in own), 1)


def count(tree) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def cores() -> int:
    """The CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def nbytes(tree) -> int:
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def member_bytes(parts, plan, problem, consts, look) -> tuple[int, int]:
    """Bytes of one member side by side with others: what goes from row to row, and all, from shapes alone.

    All = state (cells, rule, workers; twice, in and out) + plan + samples of a block (twice) + every array that is made
    on the way to one gradient or one evaluation, whichever are more. The last is more than is alive at one time.
    """
    key = jax.random.key(0)
    carry = jax.eval_shape(lambda problem, consts: program.start(parts, plan, problem, key, consts), problem, consts)
    params = program.initial_shapes(problem)
    sample = program.sample_shapes(plan, problem)
    unit = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), sample)
    gradient = intermediate_bytes(type(problem).sample_gradient, problem, params, unit) * plan.max_size
    evaluation = intermediate_bytes(look, problem, params)
    state = nbytes(carry)
    rest = nbytes(jax.tree.leaves((plan.rows, plan.tags))) + 2 * plan.block * nbytes(sample)
    return state, 2 * state + rest + max(gradient, evaluation)


def intermediate_bytes(function, *shapes) -> int:
    """Bytes of all arrays that a function makes."""
    return made_bytes(jax.make_jaxpr(function)(*shapes).jaxpr)


def made_bytes(jaxpr) -> int:
    total = 0
    for equation in jaxpr.eqns:
        total += sum(v.aval.size * jnp.dtype(v.aval.dtype).itemsize for v in equation.outvars if sized(v.aval))
        inner = jax.tree.leaves(equation.params, is_leaf=lambda v: isinstance(v, (core.ClosedJaxpr, core.Jaxpr)))
        parts = [v.jaxpr if isinstance(v, core.ClosedJaxpr) else v for v in inner]
        total += max((made_bytes(part) for part in parts if isinstance(part, core.Jaxpr)), default=0)
    return total


def sized(aval) -> bool:
    return hasattr(aval, "size") and not jnp.issubdtype(aval.dtype, jax.dtypes.extended)


def free_bytes(device) -> int:
    """Bytes that are free on a device; on a CPU its share of the host's free memory."""
    stats = (device.memory_stats() or {}) if device.platform != "cpu" else {}
    if "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    return host_bytes() // max(jax.local_device_count(device.platform), 1)


def host_bytes() -> int:
    """Free memory of the host, or 2 GB where it does not tell."""
    try:
        with open("/proc/meminfo") as file:
            told = dict(line.split(":") for line in file)
        return int(told["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return 2 << 30


def members_at_once(parts, plan, problem, consts, look, device) -> int:
    """Members that run side by side on one device."""
    state, whole = member_bytes(parts, plan, problem, consts, look)
    fits = int(MEMORY_SHARE * free_bytes(device)) // max(whole, 1)
    if device.platform == "cpu":
        fits = min(fits, max(CACHE_BYTES // max(state, 1), 8))
    return max(fits, 1)


def cut(points: int, plans: int, devices: int, at_once: int) -> tuple[int, int, str]:
    """`(points, plans, axis)` of a chunk: at most `at_once` members a device, and which axis goes over the devices.

    Whole rows of points where they fit, as points on one plan share its samples.

    Example:
        >>> cut(points=6, plans=8, devices=1, at_once=20), cut(points=64, plans=1, devices=8, at_once=4)
        ((6, 3, 'plans'), (32, 1, 'points'))
    """
    for number in range(min(plans, max(at_once * devices // points, 1)), 0, -1):
        by_plans, by_points = -(-number // devices) * points, -(-points // devices) * number
        if min(by_plans, by_points) <= at_once:
            return points, even(plans, number), "plans" if by_plans <= by_points else "points"
    return even(points, at_once * devices), 1, "points"


def even(total: int, most: int) -> int:
    """The size of a chunk, in as few chunks of about the same size as there can be: 8 in chunks of 7 at most -> 4."""
    return -(-total // -(-total // min(most, total)))
