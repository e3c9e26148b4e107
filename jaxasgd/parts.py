"""What shapes a compiled program: rule, arrival rule and send, traced and checked before anything is compiled."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from .canonical import Traced, trace
from .checks import shown
from .methods.base import Method, check_rule
from .work import Work


class Parts(NamedTuple):
    """What shapes the program, hashable; the numbers in it are in `consts`, an argument."""

    init: Traced
    update: Traced
    arrival_init: Traced | None
    arrival_update: Traced | None
    send: Traced | None
    work: Work
    devices: tuple | None


def trace_parts(method: Method, plan, params, devices) -> tuple[Parts, tuple]:
    """Trace rule, arrival rule and send on the shapes of this run; errors in them surface here, before compiling."""
    rule = check_rule(method.rule)
    init, init_consts, state = trace(rule.init, params)
    sent, send, send_consts = params, None, []
    if method.send is not None:
        workers = jax.eval_shape(lambda p: method.work.init(p, plan.num_workers), params)
        send, send_consts, sent = trace(method.send, params, state, take_shape(workers))
    extras = extra_arguments(plan, sent)
    update, update_consts, after = traced_update(rule, "rule", params, state, extras, plan.lone)
    check_state("rule", state, after)
    arrival_init = arrival_update = None
    arrival_consts = ([], [])
    if method.arrival is not None:
        arrival = check_rule(method.arrival, "an arrival rule")
        arrival_init, start_consts, arrival_state = trace(arrival.init, params)
        delay = row_shape(plan.rows["delay"])
        extras = extra_arguments(plan, sent) | {"delay": delay, "read": delay}
        arrival_update, consts, after = traced_update(arrival, "arrival rule", params, arrival_state, extras, True)
        check_state("arrival rule", arrival_state, after)
        arrival_consts = (start_consts, consts)
    parts = Parts(init, update, arrival_init, arrival_update, send, method.work, devices)
    return parts, (init_consts, update_consts, *arrival_consts, send_consts)


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
    if jax.tree.structure(params) != jax.tree.structure(updates) or shapes(params) != shapes(updates):
        raise ValueError(
            f"the {what} gives every parameter an update of its shape; updates have {shapes(updates)}, the parameters "
            f"{shapes(params)}."
        )


def check_state(what, before, after):
    shapes = lambda tree: [(jnp.shape(a), jnp.result_type(a)) for a in jax.tree.leaves(tree)]
    if jax.tree.structure(before) != jax.tree.structure(after) or shapes(before) != shapes(after):
        raise ValueError(
            f"the {what}'s state keeps its structure, shapes and dtypes over an update (cast with .astype); init gives "
            f"{shapes(before)}, update {shapes(after)}."
        )
