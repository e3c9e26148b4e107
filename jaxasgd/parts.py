"""What shapes a compiled program: rule, arrival rule, send and work, traced and checked before compiling."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from .canonical import Traced, trace
from .cells import Cells
from .checks import shown, transformation
from .methods.base import Method
from .work import gradient

# Larger parameters are held beside the cells: to copy them from there before an update costs more than one more array
# in the loop (2 CPU cores: 3 to 8 % of a run with 100 000 parameters; small ones take up to twice as long that way).
BESIDE_BYTES = 1 << 18


class Parts(NamedTuple):
    """What shapes the program, hashable."""

    init: Traced
    update: Traced
    arrival_init: Traced | None
    arrival_update: Traced | None
    send: Traced | None
    work_init: Traced
    work: Traced | None  # None: the mean of gradients
    devices: tuple | None
    cells: Cells
    beside: bool  # the current parameters are held beside the cells, too


class Consts(NamedTuple):
    """The numbers in each part, an argument of the compiled program."""

    init: list
    update: list
    arrival_init: list
    arrival_update: list
    send: list
    work_init: list
    work: list


def sample_gradient(problem, params, sample):
    return problem.sample_gradient(params, sample)


sealed_gradient = jax.jit(sample_gradient)  # traced once for a kind of problem, whatever the work around it


def trace_parts(method: Method, plan, problem, params, sample, devices, cells: Cells) -> tuple[Parts, Consts]:
    """Trace the parts on the shapes of this run; errors in them surface here, before compiling."""
    rule = transformation("a rule", method.rule)
    init, init_consts, state = trace(rule.init, params)
    work_init, work_init_consts, workers = trace(lambda p: method.work.init(p, plan.num_workers), params)
    sent, send, send_consts = params, None, []
    if method.send is not None:
        send, send_consts, sent = trace(method.send, params, state, take_shape(workers))
    extras = extra_arguments(plan, sent)
    update, update_consts, after = traced_update(rule, "rule", params, state, extras, plan.lone)
    check_state("rule", state, after)
    arrival_init = arrival_update = None
    arrival_consts: tuple[list, list] = ([], [])
    if method.arrival is not None:
        arrival = transformation("an arrival rule", method.arrival)
        arrival_init, start_consts, arrival_state = trace(arrival.init, params)
        delay = row_shape(plan.rows["delay"])
        extras = extra_arguments(plan, sent) | {"delay": delay, "read": delay}
        arrival_update, consts, after = traced_update(arrival, "arrival rule", params, arrival_state, extras, True)
        check_state("arrival rule", arrival_state, after)
        arrival_consts = (start_consts, consts)
    work, work_consts = traced_work(method.work, problem, params, sent, take_shape(workers), sample)
    cells = cells._replace(wide=tuple(str(leaf.dtype) for leaf in jax.tree.leaves(sent)) if cells.dtype else ())
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(params))
    beside = send is not None or not cells.plain or size >= BESIDE_BYTES
    parts = Parts(init, update, arrival_init, arrival_update, send, work_init, work, devices, cells, beside)
    return parts, Consts(init_consts, update_consts, *arrival_consts, send_consts, work_init_consts, work_consts)


def traced_work(work, problem, params, sent, state, sample):
    """Trace what a worker computes; the gradient in it stays as it is."""
    if work.compute is gradient().compute:
        return None, []

    def compute(problem, stale, state, sample, size):
        at = lambda params, sample: sealed_gradient(problem, params, sample)
        out = work.compute(at, stale, state, sample, size)
        if not (isinstance(out, tuple) and len(out) == 2):
            raise ValueError(f"a work's compute returns (update, state); got {shown(out)}.")
        return out

    shapes = jax.eval_shape(lambda tree: tree, problem)
    size = jax.ShapeDtypeStruct((), jnp.int32)
    traced, consts, (update, after) = trace(compute, shapes, sent, state, sample, size)
    check_updates("work", params, update)
    check_state("work", state, after)
    return traced, consts


def row_shape(column):
    return jax.ShapeDtypeStruct(column.shape[1:], jax.dtypes.canonicalize_dtype(column.dtype))


def take_shape(table):
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), table)


def extra_arguments(plan, stale):
    """Shapes of the keyword arguments that rules are called with."""
    integer = jax.ShapeDtypeStruct((), jnp.int32)
    extras = {
        "delay": row_shape(plan.rows["age"]),
        "version": integer,
        "read": row_shape(plan.rows["age"]),
        "worker": integer,
        "stale": stale,
        "step": jax.ShapeDtypeStruct((), jnp.bool_),
        "weight": row_shape(plan.rows["weight"]),
        "progress": jax.ShapeDtypeStruct((), jnp.float32),
    }
    return extras | {name: row_shape(column) for name, column in plan.tags.items()}


def traced_update(rule, what, params, state, extras, lone):
    """Trace an update; a missing keyword argument becomes an error that names it and the remedy."""
    if not lone:
        extras = {name: value for name, value in extras.items() if name not in ("worker", "stale")}

    def update(g, state, params, extras):
        out = rule.update(g, state, params, **extras)
        if not (isinstance(out, tuple) and len(out) == 2):
            raise ValueError(f"the {what}'s update returns (updates, state); got {shown(out)}.")
        return out

    try:
        traced, consts, (updates, after) = trace(update, params, state, params, extras)
        check_updates(what, params, updates)
        return traced, consts, after
    except TypeError as error:
        if "unexpected keyword" in str(error):
            raise ValueError(
                f"the {what}'s update ends in **extra and ignores what it does not know ({error})."
            ) from error
        if "keyword-only argument" not in str(error):
            raise
        remedy = f"there are {sorted(extras)}; a policy's tags add more"
        if not lone and any(f"'{name}'" in str(error) for name in ("worker", "stale")):
            remedy = (
                "`worker` and `stale` mean nothing for an aggregate of several gradients: use the rule as "
                "Method(arrival=...), which sees every gradient alone"
            )
        raise ValueError(
            f"the {what} asks for a keyword argument that this run does not have ({error}): {remedy}."
        ) from error


def check_updates(what, params, updates):
    shapes = lambda tree: [jnp.shape(a) for a in jax.tree.leaves(tree)]
    alike = jax.tree.structure(params) == jax.tree.structure(updates)  # type: ignore[operator]  # of PyTreeDefs
    if not alike or shapes(params) != shapes(updates):
        raise ValueError(
            f"the {what} gives every parameter an update of its shape; updates have {shapes(updates)}, the parameters "
            f"{shapes(params)}."
        )


def check_state(what, before, after):
    shapes = lambda tree: [(jnp.shape(a), jnp.result_type(a)) for a in jax.tree.leaves(tree)]
    alike = jax.tree.structure(before) == jax.tree.structure(after)  # type: ignore[operator]  # of PyTreeDefs
    if not alike or shapes(before) != shapes(after):
        raise ValueError(
            f"the {what}'s state keeps its structure, shapes and dtypes over an update (cast with .astype); init gives "
            f"{shapes(before)}, update {shapes(after)}."
        )
