"""Gradients that arrive late in a training loop of one's own, which knows nothing of delays."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from optax.tree_utils import tree_cast_like

from ..checks import flag, known, shown, transformation, whole
from ..tables import put, take
from .arrays import present


class DelayedState(NamedTuple):
    """`calls` so far; for each leaf the `queue` [delay, ...] of gradients on their way (None for a delay of 0); at
    which version each was computed, `read` [delay]; at which parameters, `stale`, if kept; the state of `inner`."""

    calls: jax.Array
    queue: Any
    read: Any
    stale: Any
    inner: Any


def delay_gradients(
    inner: optax.GradientTransformation, delay: Any, *, stale: bool = False
) -> optax.GradientTransformationExtraArgs:
    """Let every gradient reach `inner` some calls late, in any loop that calls optax.

        call j = delay, delay + 1, ...:    inner gets the gradient of call j - delay
        call j = 0 ... delay - 1:          the update is zero and the state of inner stays as it is

    The loop is then asynchronous SGD with a fixed delay: T + delay calls are T updates, of which update k has the delay
    min(k, delay) (the parameters stand still while the queue fills), as in `ja.simulate(ja.policies.asgd(),
    ja.times.fixed(1.0, num_workers=delay + 1), num_updates=T)`.

    `inner` is told, where it asks: `delay`, `version` (updates before this one) and `read` = version - delay, as rules
    are by `ja.run`, so that `optax.chain(ja.rules.scale_by_delay(0.5), optax.sgd(0.1))` works in here; and `stale`, if
    kept. Where the caller tells a delay itself (`ja.run`, another `delay_gradients`) the delays add up. Other keyword
    arguments of update go through to `inner` and are those of the call, not of the gradient: the `value=` of a line
    search belongs to other parameters than the gradient does (and its `value_fn` has to name `delay`, `version` and
    `read` among its arguments: optax hands on all or complains).

    Args:
        inner: an optax transformation; the whole optimizer, or, in a chain, what follows.
        delay: in calls; static, since it shapes arrays. One of
            - a whole number, 0 or more;
            - a pytree of them, of the structure of the parameters or the beginning of one: each leaf has a queue of its
              own length, and `inner` waits for the longest. `delay`, `read` are then arrays [leaves] in the order of
              `jax.tree.leaves`, `stale` is made of the parameters that each leaf's gradient was computed at;
            - a 1-D array of whole numbers, or a `ja.Schedule` whose every row is an update: update k applies the
              gradient that was computed delay[k] <= k calls ago, from the first call on. So two updates may apply one
              gradient, and some gradients are never applied (in a run of several workers each row has a gradient of its
              own; the two are equal where gradients have no noise). After its end it starts again.
        stale: keep the parameters of each call too, for inners that ask for `stale`: `compensate_delay`, `gap_aware`,
            `accept_near`. Needs `params` in update, and doubles the memory.

    Memory: delay x parameters, in their dtype (the sum over leaves of delay x size); the largest delay, for an array.
    Written in place if the loop is jitted and gives its old state away, `jax.jit(step, donate_argnums=...)`, or is a
    `lax.scan`; else each call copies the queue.

    `optax.apply_if_finite` and the like belong inside, around `inner`: outside, a call that is turned down is one that
    never was, for the queue as well.

    Rounding: the update is computed in a branch of its own. XLA may contract params - lr * g to one rounding where
    there is no branch; the last bit can differ from the same optimizer without wrapper.

    Example:
        >>> import jax, jax.numpy as jnp, optax
        >>> import jaxasgd as ja
        >>> optimizer = ja.rules.delay_gradients(optax.sgd(1.0), delay=2)
        >>> update, params = jax.jit(optimizer.update), jnp.zeros(())
        >>> state = optimizer.init(params)
        >>> for gradient in (1.0, 2.0, 3.0, 4.0):
        ...     updates, state = update(jnp.float32(gradient), state, params)
        ...     print(updates)
        0.0
        0.0
        -1.0
        -2.0
    """
    inner = transformation("inner, which delay_gradients wraps,", inner)
    kept, table = flag("stale", stale), row_delays(delay)
    if table is None:
        delay = jax.tree.map(
            lambda d: whole("a delay", d, hint=" of calls (it shapes arrays and can't be traced)"), delay
        )
    else:
        delay = int(table.max())
    grouped = not isinstance(delay, int)

    def lengths(tree):
        each = like_params("delay", delay, tree)
        return each, max(jax.tree.leaves(each), default=0) if grouped else delay

    def init(params):
        each, longest = lengths(params)

        def queue():
            zeros = lambda p, d: jnp.zeros((d, *jnp.shape(p)), jnp.result_type(p)) if d else None
            return jax.tree.map(zeros, params, each)

        read = jnp.zeros(longest, jnp.int32) if longest else None
        return DelayedState(jnp.zeros((), jnp.int32), queue(), read, queue() if kept else None, inner.init(params))

    def update(updates, state, params=None, **extra):
        each, longest = lengths(updates)
        calls, silent = state.calls, longest if table is None else 0
        version = jnp.asarray(extra.pop("version", jnp.maximum(calls - silent, 0)), jnp.int32)
        now = Flight(updates, read_now(extra, version), None)
        past = Flight(state.queue, state.read, None)
        if kept:
            present(params, "delay_gradients(..., stale=True)")
            now, past = now._replace(stale=extra.get("stale", params)), past._replace(stale=state.stale)
        extra.pop("stale", None)
        check_dtypes(updates, state.queue)

        def applied(late, memory):
            told = extra | {"delay": version - late.read, "version": version, "read": late.read}
            told |= {"stale": tree_cast_like(late.stale, now.stale)} if kept else {}
            try:
                return inner.update(tree_cast_like(late.updates, updates), memory, params, **told)
            except TypeError as error:
                if kept or "keyword-only argument" not in str(error) or "'stale'" not in str(error):
                    raise
                raise ValueError(
                    "the inner transformation asks for `stale`, the parameters that the gradient was computed at "
                    f"({error}): delay_gradients(inner, delay, stale=True) keeps them."
                ) from error

        if table is not None and longest:
            late, now = drawn(now, past, calls, jnp.asarray(table, jnp.int32)[calls % len(table)])
            out, memory = applied(late, state.inner)
        elif silent:
            apply = lambda memory: (*applied(arrived(now, past, each, calls, grouped), memory), held(now))
            shapes, *_ = jax.eval_shape(apply, state.inner)
            zeros = lambda: jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
            nothing = lambda memory: (zeros(), memory, held(now))
            out, memory, now = branch(calls >= silent, apply, nothing, state.inner)
        else:
            out, memory = applied(arrived(now, past, each, calls, grouped), state.inner)
        place = lambda new, q, d: put(q, calls % d, new) if d else None
        queue = jax.tree.map(place, now.updates, past.updates, each)
        stales = jax.tree.map(place, now.stale, past.stale, each) if kept else None
        return out, DelayedState(calls + 1, queue, place(now.read, past.read, longest), stales, memory)

    return optax.GradientTransformationExtraArgs(init, update)


class Flight(NamedTuple):
    """A gradient, or a queue of them; the version and the parameters that it was computed at."""

    updates: Any
    read: Any
    stale: Any


def arrived(now, past, each, calls, grouped) -> Flight:
    """What was current `each` calls ago: every leaf from its own queue, which it is about to leave."""
    leaf = lambda new, q, d: take(q, calls % d) if d else new
    reads = [take(past.read, (calls - d) % len(past.read)) if d else now.read for d in jax.tree.leaves(each)]
    read = jnp.stack(reads) if grouped and reads else (reads or [now.read])[0]
    whole_of = lambda new, q: None if new is None else jax.tree.map(leaf, new, q, each)
    return Flight(whole_of(now.updates, past.updates), read, whole_of(now.stale, past.stale))


def drawn(now, past, calls, delay) -> tuple[Flight, Flight]:
    """What was current `delay` calls ago, delay <= the length of the queue; and what is now."""
    old = lambda: (take(past, (calls - delay) % len(past.read)), held(now))
    fresh = lambda: (jax.tree.map(lambda new, q: new.astype(q.dtype), now, past), held(now))
    return branch(delay > 0, old, fresh)


def branch(yes, first, second, *args):
    """first(*args) where `yes`, else second(*args); outside of jit by a plain `if`, which compiles nothing."""
    if isinstance(yes, jax.core.Tracer):
        return jax.lax.cond(yes, first, second, *args)
    return first(*args) if yes else second(*args)


def held(now):
    """What is now, once more: it leaves the branch in which the queue is read, and can be written only after that.

    Where XLA is free to write it before, it copies the whole queue at every call.
    """
    return jax.lax.optimization_barrier(now)


def read_now(extra, version):
    """The version that this call's gradient was computed at, by what the caller tells; `extra` keeps the rest."""
    delay, read = extra.pop("delay", None), extra.pop("read", None)
    read = version if read is None and delay is None else version - delay if read is None else read
    if jnp.ndim(read):
        raise ValueError(
            "delay_gradients takes gradients with one delay; those of a schedule with grouped reads have one for each "
            f"of {jnp.shape(read)[0]} groups. Give delay_gradients the delay of every leaf, and run it with one read."
        )
    return jnp.asarray(read, jnp.int32)


def row_delays(delay):
    """The delay of every update, [updates], if that is what was given; else None."""
    if (isinstance(delay, (np.ndarray, jax.Array)) and delay.ndim) or hasattr(delay, "delay"):
        says = "the delays of updates are whole numbers, 0 or more, an array [rows] that is not traced"
        numbers = known(getattr(delay, "delay", delay))
        if numbers is None or numbers.dtype == object or not (numbers == np.floor(numbers)).all():
            raise ValueError(f"{says}; got {shown(delay)}.")
        if numbers.ndim == 2 and hasattr(delay, "delay"):
            raise ValueError(
                "delay_gradients takes a schedule whose every row is an update, computed at one version; this one has "
                f"{numbers.shape[1]} groups with their own. Give fixed delays of layers as a pytree of whole numbers."
            )
        if numbers.ndim != 1 or not len(numbers) or numbers.min() < 0:
            raise ValueError(f"{says}; got {shown(delay)}.")
        if not (np.all(getattr(delay, "use", True)) and np.all(getattr(delay, "step", True))):
            raise ValueError(
                "delay_gradients takes a schedule whose every row is an update, ja.policies.asgd()'s for one; in this "
                "one gradients are dropped or aggregated."
            )
        early = np.flatnonzero(numbers > np.arange(len(numbers)))
        if len(early):
            raise ValueError(
                f"update k can apply a gradient that is k calls old at most; delay[{early[0]}] is "
                f"{numbers[early[0]]:.0f}. np.minimum(delay, np.arange(len(delay))) clips."
            )
        return numbers.astype(np.int32)
    return None


def like_params(name, value, params):
    """A number for each leaf: `value` is one for all, or a pytree like the parameters or the beginning of it."""
    try:
        return jax.tree.map(lambda number, part: jax.tree.map(lambda leaf: number, part), value, params)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{name} is one number, or a pytree of numbers with the structure of the parameters or the beginning of "
            f"it; got {jax.tree.structure(value)} for parameters {shown(jax.tree.structure(params))}."
        ) from error


def check_dtypes(updates, queue):
    """The queue, in the parameters' dtype, holds the gradients without rounding."""

    def check(g, q):
        if q is not None and jnp.promote_types(g.dtype, q.dtype) != q.dtype:
            raise ValueError(
                f"delay_gradients keeps gradients in the parameters' dtype; a gradient of {g.dtype} does not fit into "
                f"{q.dtype}: cast it first."
            )

    jax.tree.map(check, updates, queue)
