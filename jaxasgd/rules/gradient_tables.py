"""Arrival rules that keep a gradient of every worker and give back the mean of the table.

The mean is kept up to date at a cost of O(parameters) a gradient, however many workers there are: a running sum takes
the old entry out and the new one in. What rounding loses of such a sum when gradients shrink, two further sums keep.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from optax.tree_utils import tree_cast_like

from ..checks import whole
from ..tables import apart, put, take
from .arrays import zeros


class RoundsState(NamedTuple):
    """`table` [2 * num_workers, ...]: mean gradients; `total` three of [2, ...]: the sum of each table, in parts."""

    table: Any
    total: Any


class LatestState(NamedTuple):
    """`table` [num_workers, ...]: latest gradients; `total` three of [...]: their sum, in parts."""

    table: Any
    total: Any


class YoungState(NamedTuple):
    """As `LatestState`, the sum being over the entries that count; `read` [num_workers] (version), `counts` (bool)."""

    table: Any
    total: Any
    read: jax.Array
    counts: jax.Array


def empty(params, *axes):
    return jax.tree.map(lambda p: jnp.zeros((*axes, *jnp.shape(p)), jnp.result_type(p)), params)


def empty_total(params, *axes):
    """Zeros for sums in three parts, in float32 or the parameters' dtype, whichever is wider."""
    return tuple(zeros(params, *axes) for _ in range(3))


def exact(a, b):
    """a + b rounded, and what the rounding lost."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def add(total, row):
    """total + row, entry by entry: what the first part's rounding loses goes to the second, what is lost there, to the
    third (a cascade of error-free additions), so that no error stays behind when the sum shrinks."""

    def leaf(high, middle, low, x):
        high, rest = exact(high, x.astype(high.dtype))
        middle, rest = exact(middle, rest)
        return high, middle, low + rest

    leaves = zip(*map(jax.tree.leaves, (*total, row)), strict=True)
    parts = zip(*(leaf(*parts) for parts in leaves), strict=True)
    return tuple(jax.tree.unflatten(jax.tree.structure(row), part) for part in parts)


def negative(row):
    return jax.tree.map(jnp.negative, row)


def mean(total, number, updates):
    """The sum over `number` entries, divided; in the dtypes of the updates."""

    def share(high, middle, low):
        high, rest = exact(high, middle)  # which cancel where the sum has shrunk
        return (high + (rest + low)) / jnp.asarray(number, high.dtype)

    return tree_cast_like(jax.tree.map(share, *total), updates)


def average_rounds(num_workers: int) -> optax.GradientTransformationExtraArgs:
    """Two tables with the mean of each worker's gradients; an arrival rule for `ja.policies.ringleader`.

        m[table, worker] <- m[table, worker] + (g - m[table, worker]) / (count + 1);    update = (1/n) sum_i m[table, i]

    `count` = 0 overwrites the entry. The update is the mean of the table that the gradient went to; the policy gives
    it the weight 1 where the table is full, 0 elsewhere.

    Args:
        num_workers: n; `ja.late(lambda num_workers, times: average_rounds(num_workers))` in a method.

    Source: A. Maranjyan, P. Richtarik, ICLR 2026, arXiv 2509.22860.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> rule = ja.rules.average_rounds(num_workers=2)
        >>> state = rule.init(jnp.zeros(1))
        >>> for worker, count, g in [(0, 0, 2.0), (0, 1, 4.0), (1, 0, 7.0)]:
        ...     update, state = rule.update(jnp.array([g]), state, worker=worker, table=0, count=count)
        >>> update.tolist()  # (3 + 7) / 2
        [5.0]
    """
    num_workers = whole("num_workers", num_workers, 1)

    def init(params):
        return RoundsState(empty(params, 2 * num_workers), empty_total(params, 2))

    def update(updates, state, params=None, *, worker, table, count, **extra):
        side = jnp.asarray(table).astype(jnp.int32)
        place = side * num_workers + worker

        def entry(g, m, s):
            g, before = g.astype(s.dtype), m.astype(s.dtype)
            mean = before + (g - before) / jnp.asarray(count + 1.0, s.dtype)
            return jnp.where(jnp.asarray(count) > 0, mean, g).astype(m.dtype)

        def replaced(updates, state):
            old, total = take(state.table, place), take(state.total, side)
            new = jax.tree.map(entry, updates, old, total[0])
            return new, add(add(total, negative(old)), new)

        new, total = apart(worker, num_workers, replaced, updates, state)
        state = RoundsState(put(state.table, place, new), put(state.total, side, total))
        return mean(total, num_workers, updates), state

    return optax.GradientTransformationExtraArgs(init, update)


def average_latest(num_workers: int) -> optax.GradientTransformationExtraArgs:
    """A table of each worker's latest gradient; an arrival rule for `ja.policies.aggregated`.

        m[worker] <- g;    update = (1/n) sum_i m[i]

    Entries are 0 until their worker has delivered.

    Source: PIAG (A. Aytekin et al., 2016, arXiv 1610.05507), IA2SGD (X. Wang et al., 2025), ACE (X. Chang et al., 2025,
    arXiv 2511.19066).

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> rule = ja.rules.average_latest(num_workers=2)
        >>> state = rule.init(jnp.zeros(1))
        >>> for worker, g in [(0, 2.0), (1, 7.0), (0, 4.0)]:
        ...     update, state = rule.update(jnp.array([g]), state, worker=worker)
        >>> update.tolist()
        [5.5]
    """
    num_workers = whole("num_workers", num_workers, 1)

    def init(params):
        return LatestState(empty(params, num_workers), empty_total(params))

    def update(updates, state, params=None, *, worker, **extra):
        def replaced(updates, state):
            old = take(state.table, worker)
            new = tree_cast_like(updates, old)
            return new, add(add(state.total, negative(old)), new)

        new, total = apart(worker, num_workers, replaced, updates, state)
        return mean(total, num_workers, updates), LatestState(put(state.table, worker, new), total)

    return optax.GradientTransformationExtraArgs(init, update)


def average_young(num_workers: int, max_age: int) -> optax.GradientTransformationExtraArgs:
    """As `average_latest`, over the entries that are at most `max_age` updates old; 0 where there are none.

        m[worker] <- g;    update = (1/|A|) sum_{i in A} m[i],     A = {i : version - read_i <= max_age}

    Every entry is taken out of the sum once, when it becomes too old: O(parameters) a gradient on average.

    Args:
        num_workers: n.
        max_age: in updates, a whole number.

    Source: X. Chang et al., 2025, arXiv 2511.19066 (ACED; from the code of a draft, the published listing not seen).

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> rule = ja.rules.average_young(num_workers=2, max_age=1)
        >>> state = rule.init(jnp.zeros(1))
        >>> for worker, g, version, read in [(0, 2.0, 0, 0), (1, 7.0, 0, 0), (0, 4.0, 1, 1), (0, 5.0, 2, 2)]:
        ...     update, state = rule.update(jnp.array([g]), state, worker=worker, version=version, read=read)
        ...     print(*update.tolist())
        2.0
        4.5
        5.5
        5.0
    """
    num_workers = whole("num_workers", num_workers, 1)
    max_age = whole("max_age", max_age, hint=" of updates")

    def init(params):
        read, counts = jnp.zeros(num_workers, jnp.int32), jnp.zeros(num_workers, jnp.bool_)
        return YoungState(empty(params, num_workers), empty_total(params), read, counts)

    def update(updates, state, params=None, *, worker, version, read, **extra):
        reads = state.read.at[worker].set(jnp.asarray(read).astype(jnp.int32))
        aged = jnp.asarray(version).astype(jnp.int32) - reads > max_age
        out_now = (aged & state.counts).at[worker].set(state.counts[worker])
        young = ~aged[worker]
        counts = (state.counts & ~aged).at[worker].set(young)

        def drop(carry):
            total, out = carry
            i = jnp.argmax(out)
            return add(total, negative(take(state.table, i))), out.at[i].set(False)

        def replaced(updates, state):
            total, _ = jax.lax.while_loop(lambda carry: carry[1].any(), drop, (state.total, out_now))
            new = tree_cast_like(updates, state.table)
            return new, add(total, jax.tree.map(lambda m: jnp.where(young, m, jnp.zeros_like(m)), new))

        new, total = apart(worker, num_workers, replaced, updates, state)
        state = YoungState(put(state.table, worker, new), total, reads, counts)
        return mean(total, jnp.maximum(counts.sum(), 1), updates), state

    return optax.GradientTransformationExtraArgs(init, update)
