"""The compiled program: one loop over the rows of a plan, in JAX."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, Mesh, PartitionSpec

from . import groups, planning, plans  # noqa: F401  # plans are pytrees
from .parts import Parts
from .problems.base import Request
from .tables import apart, put, take
from .work.gradients import mean_gradient

INIT_STREAM, DATA_STREAM = 0, 1
BLOCK_BYTES = 1 << 22  # samples drawn ahead take no more than this, or one wave
SPARE_BYTES = 1 << 20  # cells above what is needed, so that another seed has the same program, take no more than this
WHO = ("worker", "visit", "repeat", "turn")  # the columns that samples depend on


class Carry(NamedTuple):
    """What goes from row to row. Cells hold what workers were sent; the parameters too where that is the same."""

    cells: Any
    params: Any  # None where the cells alone hold them
    rule: Any
    arrival: Any
    workers: Any
    total: Any  # the open aggregate, in float32 or wider; None where each row is a step of its own


# ----------------------------------------------------------------- program


def start(parts: Parts, plan, problem, key, consts) -> Carry:
    """The state before the first row: version 0 in cell 0."""
    params = jax.tree.map(jnp.asarray, problem.init(jax.random.fold_in(key, INIT_STREAM)))
    rule = jax.tree.map(jnp.asarray, parts.init(consts.init, params))
    workers = parts.work_init(consts.work_init, params)
    if not plan.all_used or plan.width > 1:  # a row more, which idle rows write to
        workers = jax.tree.map(lambda a: jnp.concatenate([a, a[:1]]), workers)
    payload = params
    if parts.send is not None:
        payload = parts.send(consts.send, params, rule, take(workers, 0))
    return Carry(
        cells=parts.cells.table(table_rows(plan), payload),
        params=params if parts.beside else None,
        rule=rule,
        arrival=None if parts.arrival_init is None else parts.arrival_init(consts.arrival_init, params),
        workers=workers,
        total=None if plan.every else jax.tree.map(lambda p: jnp.zeros(p.shape, wide(p.dtype)), params),
    )


def wide(dtype):
    """What gradients are summed in: float32, or the dtype itself where that is wider."""
    return jnp.promote_types(dtype, jnp.float32)


def table_rows(plan) -> int:
    """Cells, and one that rows without a step write to."""
    return plan.num_cells + (not plan.every)


def params_at(carry: Carry, cell):
    """The current parameters, which live in `cell`."""
    return take(carry.cells, cell) if carry.params is None else carry.params


def advance(parts: Parts, plan, problem, key, consts, carry: Carry, first, last) -> Carry:
    """Run waves [first, last): samples in blocks, then the rows of each block in order."""

    def block(b, carry):
        begin = first + b * plan.block
        samples = draw_block(plan, problem, key, begin)
        return run_block(parts, plan, problem, consts, carry, samples, begin, jnp.minimum(plan.block, last - begin))

    return jax.lax.fori_loop(0, (last - first + plan.block - 1) // plan.block, block, carry)


def fit(plan, params, sample):
    """The plan with blocks whose samples fit into `BLOCK_BYTES`; its cells go up the ladder where spare ones are small.

    Args:
        params, sample: their shapes.
    """
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(sample)) * plan.width
    fits = 1 << max(BLOCK_BYTES // max(size, 1), 1).bit_length() - 1
    cell = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(params))
    roomy = planning.ladder(plan.num_cells)
    number = roomy if (roomy - plan.num_cells) * cell <= SPARE_BYTES else plan.num_cells
    return replace(plan, block=min(plan.block, fits), num_cells=number)


def sample_shapes(plan, problem):
    """The shapes of the samples of a row."""
    one = {name: jax.ShapeDtypeStruct((), jnp.int32) for name in WHO}
    return draw_one.eval_shape(problem, one, plan.max_size)


def block_rows(plan, begin):
    """The numbers of the rows in a block of waves: [block], or [block, width]."""
    index = begin + jnp.arange(plan.block)
    if plan.width > 1:
        index = plan.waves[jnp.minimum(index, plan.waves.shape[0] - 1)][:, None] + jnp.arange(plan.width)[None]
    return jnp.minimum(index, plan.rows["worker"].shape[0] - 1)


def draw_block(plan, problem, key, begin):
    """The samples of a block, all at once (inside the loop over rows they would cost more than small gradients)."""
    index = block_rows(plan, begin)
    rows = {name: plan.rows[name][index] for name in WHO}
    return draw(problem, jax.random.fold_in(key, DATA_STREAM), rows, plan.max_size, index.ndim)


def run_block(parts: Parts, plan, problem, consts, carry: Carry, samples, begin, number) -> Carry:
    """Run `number` waves from `begin`, in order."""
    index = block_rows(plan, begin)
    rows = {name: column[index] for name, column in (plan.rows | plan.tags).items()}

    def wave(i, carry):
        row, sample = take((rows, samples), i)
        if plan.width == 1:
            return one_row(parts, plan, problem, consts, carry, row, sample)
        length = plan.waves[begin + i + 1] - plan.waves[begin + i]
        return one_wave(parts, plan, problem, consts, carry, row, sample, length)

    return jax.lax.fori_loop(0, number, wave, carry)


def draw(problem, key, rows, units, axes):
    """Samples of many rows at once: keys by (worker, visit, repeat, unit), places in the data by turn."""

    def of(worker, visit, repeat, turn):
        row_key = jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(key, worker), visit), repeat)
        unit = jnp.arange(units)
        request = lambda u: Request(jax.random.fold_in(row_key, u), key, worker, turn + u)
        return jax.vmap(lambda u: problem.draw(request(u)))(unit)

    for _ in range(axes):
        of = jax.vmap(of)
    return of(*(rows[name] for name in WHO))


def read(parts, cells, i):
    """What the worker was sent; with groups, each from the version that it was read at."""
    return parts.cells.take(cells, i) if i.ndim == 0 else parts.cells.widen(groups.gather(cells, i))


def compute(parts, problem, consts, carry, row, sample):
    """What one worker sends back, its own state after, and what it had been sent."""
    stale = read(parts, carry.cells, row["read"])
    update, state = work_on(parts, problem, consts, carry.workers, row, sample, stale)
    return update, state, stale


def work_on(parts, problem, consts, workers, row, sample, stale):
    """What one worker sends back, and its own state after."""
    state, size = take(workers, row["worker"]), row["size"]
    if parts.work is None:
        return mean_gradient(problem.sample_gradient, stale, state, sample, size)
    return parts.work(consts.work, problem, stale, state, sample, size)


def kept_apart(workers, sample) -> bool:
    """Whether a row's gradient is compiled as a branch of its own.

    With workers' states, or their table would be copied at every row. With batches of sample numbers it is as fast or
    faster on a CPU (least squares, d = 1000, batch 4: 1.4 against 1.9 to 2.4 us a row). Otherwise it is fused with the
    update: 1.1 to 2.8 times as fast for single samples and for noise of up to 2 000 coordinates.
    """
    batches = any(jnp.issubdtype(a.dtype, jnp.integer) and a[0].size > 1 for a in jax.tree.leaves(sample))
    return batches or bool(jax.tree.leaves(workers))


def one_row(parts, plan, problem, consts, carry, row, sample):
    def alone(cells, workers):
        return compute(parts, problem, consts, carry._replace(cells=cells, workers=workers), row, sample)

    if kept_apart(carry.workers, sample):
        update, state, stale = apart(row["worker"], plan.num_workers, alone, carry.cells, carry.workers)
    else:
        update, state, stale = alone(carry.cells, carry.workers)
    if jax.tree.leaves(carry.workers):
        worker = row["worker"] if plan.all_used else jnp.where(row["use"], row["worker"], plan.num_workers)
        carry = carry._replace(workers=put(carry.workers, worker, state))
    return serve(parts, plan, consts, carry, row, update, stale)


def one_wave(parts, plan, problem, consts, carry, rows, samples, length):
    """Gradients side by side (on several devices, if asked), then the server, row by row or all rows at once."""
    used = (jnp.arange(plan.width) < length) & rows["use"]

    def side_by_side(cells, workers, rows, samples, used, problem, consts):
        on = lambda row, sample, stale: work_on(parts, problem, consts, workers, row, sample, stale)
        if plan.shared:  # one version for all: what they have read is there once
            stale = read(parts, cells, jnp.max(jnp.where(used, rows["read"], 0)))
            return jax.vmap(on, (0, 0, None))(rows, samples, stale)
        return jax.vmap(lambda row, sample: on(row, sample, read(parts, cells, row["read"])))(rows, samples)

    if parts.devices is not None:
        mesh = Mesh(np.array(parts.devices), ("device",), axis_types=(AxisType.Auto,))
        spread, whole = PartitionSpec("device"), PartitionSpec()
        specs = (whole, whole, spread, spread, spread, whole, whole)
        side_by_side = jax.shard_map(side_by_side, mesh=mesh, in_specs=specs, out_specs=spread, check_vma=False)
    updates, states = side_by_side(carry.cells, carry.workers, rows, samples, used, problem, consts)
    if jax.tree.leaves(carry.workers):
        worker = jnp.where(used, rows["worker"], plan.num_workers)
        carry = carry._replace(workers=jax.tree.map(lambda t, s: t.at[worker].set(s), carry.workers, states))
    if plan.closed and not plan.lone and parts.arrival_update is None and carry.total is not None:
        return serve_together(parts, plan, consts, carry, rows, updates, used, length)

    def one(j, carry):
        row = take(rows, j)
        return serve(parts, plan, consts, carry, row, take(updates, j), None)

    return jax.lax.fori_loop(0, length, one, carry)


def serve_together(parts, plan, consts, carry, rows, updates, used, length):
    """The server's part of a wave whose last row alone may be a step: one weighted sum."""

    def total(u, before):
        mask = used.reshape(-1, *[1] * (u.ndim - 1))  # what idle rows hold may be no number
        added = jnp.tensordot(rows["weight"].astype(before.dtype), jnp.where(mask, u, 0).astype(before.dtype), 1)
        return jnp.where(rows["first"][0], added, before + added)

    total = jax.tree.map(total, updates, carry.total)
    row = take(rows, length - 1)
    return update_by(parts, plan, consts, carry._replace(total=total), row, total, params_at(carry, row["current"]))


def serve(parts, plan, consts, carry, row, update, stale):
    """The server's part of a row: arrival rule, aggregate, and an update where the row is a step."""
    params = params_at(carry, row["current"])
    tags = {name: row[name] for name in plan.tags}
    if stale is None and (plan.lone or parts.arrival_update is not None):
        stale = read(parts, carry.cells, row["read"])
    if parts.arrival_update is not None:
        extras = {name: row[name] for name in ("delay", "version", "worker", "step", "weight", "progress")}
        extras |= {"read": row["version"] - row["delay"], "stale": stale}

        def arrive(update, state):
            return parts.arrival_update(consts.arrival_update, update, state, params, extras | tags)

        if plan.all_used:
            update, state = arrive(update, carry.arrival)
        else:
            update, state = jax.lax.cond(row["use"], arrive, lambda u, s: (u, s), update, carry.arrival)
        carry = carry._replace(arrival=state)
    if carry.total is not None:
        update = jax.tree.map(lambda u, t: u.astype(t.dtype), update, carry.total)
    update = jax.tree.map(lambda u: row["weight"].astype(u.dtype) * u, update)
    if not plan.all_used:
        update = jax.tree.map(lambda u: jnp.where(row["use"], u, jnp.zeros_like(u)), update)
    if carry.total is not None:
        update = jax.tree.map(lambda t, u: jnp.where(row["first"], u, t + u), carry.total, update)
        carry = carry._replace(total=update)
    return update_by(parts, plan, consts, carry, row, update, params, stale)


def update_by(parts, plan, consts, carry, row, update, params, stale=None):
    """The server updates with what has come together, where the row is a step; then it sends."""
    tags = {name: row[name] for name in plan.tags}
    extras = {"delay": row["age"], "read": row["version"] - row["age"], "step": row["step"], "weight": row["total"]}
    extras |= {"version": row["version"], "progress": row["progress"]} | tags
    if plan.lone:
        extras |= {"worker": row["worker"], "stale": stale}

    def step(update, state):
        update = jax.tree.map(lambda u, p: u.astype(p.dtype), update, params)
        updates, state = parts.update(consts.update, update, state, params, extras)
        return optax.apply_updates(params, updates), state

    if plan.every:
        params, state = step(update, carry.rule)
    else:
        params, state = jax.lax.cond(row["step"], step, lambda _, state: (params, state), update, carry.rule)
    payload = params
    if parts.send is not None:
        payload = parts.send(consts.send, params, state, take(carry.workers, row["worker"]))
    if carry.params is not None:
        carry = carry._replace(params=params)
    return carry._replace(cells=parts.cells.put(carry.cells, row["write"], payload), rule=state)


def whole(parts: Parts, plan, problem, key, consts, look):
    """A run as one pure function: `(params, looks)`, with what `look(params)` returns stacked over evaluations."""
    carry = start(parts, plan, problem, key, consts)
    before = look(problem, params_at(carry, plan.cells[0]))

    def between(carry, e):
        first, last = plan.bounds[e], plan.bounds[e + 1]
        if plan.chunk is not None:
            first, last = e * plan.chunk, (e + 1) * plan.chunk
        carry = advance(parts, plan, problem, key, consts, carry, first, last)
        return carry, look(problem, params_at(carry, plan.cells[e + 1]))

    carry, after = jax.lax.scan(between, carry, jnp.arange(plan.num_evaluations - 1))
    looks = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), before, after)
    return params_at(carry, plan.cells[-1]), looks


initial_shapes = jax.jit(lambda problem: problem.init(jax.random.key(0))).eval_shape  # traced once for a kind
draw_one = jax.jit(lambda problem, one, units: draw(problem, jax.random.key(0), one, units, 0), static_argnums=2)
compiled_start = jax.jit(lambda *args: jax.lax.optimization_barrier(start(*args)), static_argnums=0)  # nothing of the
# caller's is in what it returns, which is donated later
compiled_whole = jax.jit(whole, static_argnums=(0, 5))
compiled_draw = jax.jit(draw_block)
compiled_block = jax.jit(run_block, static_argnums=0, donate_argnums=4)
