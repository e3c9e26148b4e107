"""Momentum for asynchronous SGD that knows where the parameters are going, for `send` to say so to the workers.

One momentum for all workers would go on for all of them at once: between two gradients of a worker it moves the
parameters n times. Here every worker has a momentum of its own (DANA), or the one momentum changes once in n gradients
(SMEGA2); what it will still add to the parameters by the time a worker delivers is then known when the worker starts.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ..checks import flag, positive, share, shown, whole
from ..tables import apart, put, take
from .arrays import present, zeros
from .gaps import by_gap
from .gradient_tables import add, empty_total, exact, negative


class DanaState(NamedTuple):
    """`count` updates so far; `table` [num_workers, ...] momenta; `total` their sum, in three parts; `ahead`: the
    parameters minus what a worker is sent; `average` of squared momenta, for gaps (else None)."""

    count: jax.Array
    table: Any
    total: Any
    ahead: Any
    average: Any


class CycleState(NamedTuple):
    """`count` updates so far; the momentum `buffer`; the `gathered` gradients of this cycle; `ahead` as in DANA's."""

    count: jax.Array
    buffer: Any
    gathered: Any
    ahead: Any


def check_rate(rule, learning_rate):
    """A number, a tracer, or a schedule: a function of the number of updates so far."""
    if not callable(learning_rate):
        positive(f"the learning rate of {rule}", learning_rate)


def rate_at(learning_rate, count):
    return learning_rate(count) if callable(learning_rate) else learning_rate


def look_ahead(params: Any, rule_state: Any, worker_state: Any = ()) -> Any:
    """What a worker is sent by methods that look ahead: params - ahead, the latter from the rule's state.

    Use it as `ja.Method(..., send=ja.rules.look_ahead)` with a rule, or a chain with one rule in it, that keeps `ahead`
    in its state: `dana_momentum`, `cycle_momentum`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> rule = ja.rules.dana_momentum(0.1, 0.5, num_workers=2)
        >>> params = jnp.zeros(1)
        >>> updates, state = rule.update(jnp.ones(1), rule.init(params), params, worker=0)
        >>> bool(ja.rules.look_ahead(params + updates, state)[0] == jnp.float32(-0.1 - 0.1 * 0.5))
        True
    """
    looks = lambda state: hasattr(state, "ahead")
    found = [state for state in jax.tree.leaves(rule_state, is_leaf=looks) if looks(state)]
    if len(found) != 1:
        raise ValueError(
            f"look_ahead sends for a chain with one rule that looks ahead (dana_momentum, cycle_momentum); got a state "
            f"with {len(found)}: {shown(rule_state)}."
        )
    return jax.tree.map(lambda p, a: (p.astype(a.dtype) - a).astype(p.dtype), params, found[0].ahead)


def worker_momentum(momentum: float, num_workers: int) -> optax.GradientTransformationExtraArgs:
    """A momentum for every worker, which only its own gradients enter.

        v[worker] <- momentum * v[worker] + u;    u <- v[worker]

    It asks for `worker`: each update is one gradient. A worker that the table has no row for gives nan.

    Args:
        momentum: a number from 0 to 1, or a traced scalar.
        num_workers: n; `ja.late(lambda num_workers, times: worker_momentum(0.9, num_workers))` in a method.

    Source: I. Hakimi, S. Barkai, M. Gabel, A. Schuster, 2019, arXiv 1907.11612 (Multi-ASGD).

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> rule = ja.rules.worker_momentum(0.5, num_workers=2)
        >>> state = rule.init(jnp.zeros(1))
        >>> for worker in (0, 1, 0):
        ...     updates, state = rule.update(jnp.ones(1), state, worker=worker)
        >>> updates.tolist()
        [1.5]
    """
    share("momentum", momentum)
    num_workers = whole("num_workers", num_workers, 1)

    def update(updates, state, params=None, *, worker, **extra):
        def added(updates, table):
            return jax.tree.map(lambda v, g: accumulated(v, g, momentum), take(table, worker), updates)

        new = apart(worker, num_workers, added, updates, state)
        return jax.tree.map(lambda v, g: v.astype(g.dtype), new, updates), put(state, worker, new)

    return optax.GradientTransformationExtraArgs(lambda params: zeros(params, num_workers), update)


def accumulated(v, g, momentum, factor=1.0):
    return (momentum * v + factor * g.astype(v.dtype)).astype(v.dtype)


def dana_momentum(
    learning_rate: optax.ScalarOrSchedule,
    momentum: float,
    num_workers: int,
    *,
    gap: bool = False,
    largest: float | None = None,
    rescale: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """A momentum for every worker, and what all of them together will still do to the parameters.

        v[worker] <- momentum * v[worker] + g;    update = -learning_rate * v[worker]
        ahead = learning_rate * momentum * sum_j v[j]

    `send=look_ahead` gives workers params - ahead: where the parameters will be after the next gradient of every
    worker, less these gradients. The sum is kept up to date (the old momentum is taken out, the new one put in, and
    what rounding loses is kept too): O(parameters) a gradient, however many workers there are.

    Args:
        learning_rate: a number, a traced scalar or a schedule. `ahead` has the learning rate of the update before.
        momentum: a number from 0 to 1, or a traced scalar.
        num_workers: n; `ja.late(...)` in a method.
        gap: divide every coordinate of a gradient by its gap before it enters the momentum (`gap_aware`; its v is that
            of the worker). It then asks for `stale` too.
        largest: with `gap`, the largest value of a learning-rate schedule.
        rescale: momenta of steps, v <- momentum * v + learning_rate * g, so that they do not change in size with the
            learning rate (momentum correction); nothing changes while it is constant.

    It asks for `worker`: each update is one gradient. A worker that the table has no row for gives nan.

    Source: I. Hakimi, S. Barkai, M. Gabel, A. Schuster, 2019, arXiv 1907.11612 (DANA-Zero; simulation code that in all
    likelihood is its authors' sends with the learning rate of the update that was just made, as here, and does not
    rescale); S. Barkai, I. Hakimi, A. Schuster, ICLR 2020, arXiv 1909.10802 (the gap).

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> rule = ja.rules.dana_momentum(learning_rate=1.0, momentum=0.5, num_workers=2)
        >>> state = rule.init(jnp.zeros(1))
        >>> for worker in (0, 1, 0):
        ...     updates, state = rule.update(jnp.ones(1), state, worker=worker)
        >>> updates.tolist(), state.ahead.tolist()  # 0.5 * (1.5 + 1.0)
        ([-1.5], [1.25])
    """
    check_rate("dana_momentum", learning_rate)
    share("momentum", momentum)
    num_workers = whole("num_workers", num_workers, 1)
    gap, rescale = flag("gap", gap), flag("rescale", rescale)
    if largest is not None:
        positive("largest", largest)
    typical_rate = 1.0 if rescale else learning_rate if largest is None else largest
    if gap and callable(typical_rate):
        raise ValueError("with gap=True and a schedule, largest= is the largest learning rate; got largest=None.")

    def init(params):
        average = zeros(params) if gap else None
        return DanaState(
            jnp.zeros((), jnp.int32), zeros(params, num_workers), empty_total(params), zeros(params), average
        )

    def change(updates, state, params, worker, stale):
        rate, count = rate_at(learning_rate, state.count), state.count + 1
        inside, outside = (rate, 1.0) if rescale else (1.0, rate)

        def replaced(updates, table, total, average, params, stale):
            old = take(table, worker)
            if gap:
                updates, average = by_gap(updates, old, average, count, params, stale, typical_rate)
            new = jax.tree.map(lambda v, g: accumulated(v, g, momentum, inside), old, updates)
            return new, add(add(total, negative(old)), new), average

        given = (updates, state.table, state.total, state.average, params, stale)
        new, total, average = apart(worker, num_workers, replaced, *given)
        out = jax.tree.map(lambda v, g: (-outside * v).astype(g.dtype), new, updates)
        ahead = jax.tree.map(lambda *parts: (outside * (momentum * whole_sum(*parts))).astype(parts[0].dtype), *total)
        return out, DanaState(count, put(state.table, worker, new), total, ahead, average)

    def update(updates, state, params=None, *, worker, **extra):
        return change(updates, state, None, worker, None)

    def update_by_gap(updates, state, params=None, *, worker, stale, **extra):
        present(params, "dana_momentum")
        return change(updates, state, params, worker, stale)

    return optax.GradientTransformationExtraArgs(init, update_by_gap if gap else update)


def whole_sum(high, middle, low):
    high, rest = exact(high, middle)
    return high + (rest + low)


def cycle_momentum(
    learning_rate: optax.ScalarOrSchedule, momentum: float, cycle: int, *, advanced: bool = True
) -> optax.GradientTransformationExtraArgs:
    """One momentum that changes once in `cycle` gradients, and what it will do to the parameters in as many updates.

        gathered <- gathered + g;    update = -learning_rate * (g + momentum * m)
        after every `cycle` gradients: m <- momentum * m + gathered / cycle, gathered <- 0
        ahead = learning_rate * momentum * ((cycle + s * (momentum - 1)) * m + (s / cycle) * gathered)

    s is the number of gradients gathered. In the next `cycle` updates m counts cycle - s times, and then s times
    what it will be if the cycle closed now. `send=look_ahead` gives workers params - ahead.

    Args:
        learning_rate: a number, a traced scalar or a schedule. `ahead` has the learning rate of the update before.
        momentum: a number from 0 to 1, or a traced scalar.
        cycle: n, a whole number: of workers, or any other.
        advanced: False looks ahead with cycle * m alone.

    Source: R. Cohen, I. Hakimi, A. Schuster, ICPP 2022 (SMEGA2), after its code, rafi-cohen/SMEGA2. Dampening and
    weight decay, which the code has too, are other rules.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> rule = ja.rules.cycle_momentum(learning_rate=1.0, momentum=0.5, cycle=2)
        >>> state = rule.init(jnp.zeros(1))
        >>> for _ in range(3):
        ...     updates, state = rule.update(jnp.ones(1), state)
        >>> updates.tolist(), state.ahead.tolist()  # 0.5 * ((2 - 0.5) * 1 + 0.5 * 1)
        ([-1.5], [1.0])
    """
    check_rate("cycle_momentum", learning_rate)
    share("momentum", momentum)
    cycle = whole("cycle", cycle, 1, hint=" gradients")
    advanced = flag("advanced", advanced)

    def init(params):
        return CycleState(jnp.zeros((), jnp.int32), zeros(params), zeros(params), zeros(params))

    def update(updates, state, params=None, **extra):
        rate, count = rate_at(learning_rate, state.count), state.count + 1
        s = count % cycle
        closes = s == 0
        out = jax.tree.map(lambda g, m: (-rate * (g + momentum * m)).astype(g.dtype), updates, state.buffer)
        gathered = jax.tree.map(lambda a, g: a + g.astype(a.dtype), state.gathered, updates)
        buffer = jax.tree.map(
            lambda m, a: jnp.where(closes, (momentum * m + a / cycle).astype(m.dtype), m), state.buffer, gathered
        )
        gathered = jax.tree.map(lambda a: jnp.where(closes, jnp.zeros_like(a), a), gathered)
        of_buffer, of_gathered = cycle, 0.0
        if advanced:
            of_buffer, of_gathered = cycle + s * (momentum - 1.0), (1.0 * s) / cycle
        ahead = jax.tree.map(
            lambda m, a: (rate * (momentum * (of_buffer * m + of_gathered * a))).astype(m.dtype), buffer, gathered
        )
        return out, CycleState(count, buffer, gathered, ahead)

    return optax.GradientTransformationExtraArgs(init, update)
