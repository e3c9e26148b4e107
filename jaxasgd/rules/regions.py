"""Two levels of servers: one for every region, and one for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from optax.tree_utils import tree_cast_like

from ..checks import many, share, shown, transformation, whole
from ..tables import apart, put, take


class RegionsState(NamedTuple):
    """Tables [regions]: model, the model of the last merge, the local rule's state, arrivals since; the outer rule's
    state; the model of the region that was served last, which its worker is sent."""

    model: Any
    merged: Any
    local: Any
    count: jax.Array
    outer: Any
    reply: Any


def merge_regions(
    regions: Sequence[int],
    local: optax.GradientTransformation,
    outer: optax.GradientTransformation,
    *,
    period: int,
    mixing: float,
) -> optax.GradientTransformationExtraArgs:
    """A model for every region, which takes the updates of its workers, and from time to time meets the global one.

        model[r] <- model[r] + local(u)                                     r the region of the worker that delivers
        and after every `period` of them:
        params   <- params + outer(merged[r] - model[r])                    the push, in a gradient's role
        model[r] <- (1 - mixing) * model[r] + mixing * params               the merge
        merged[r] <- model[r]

    The parameters of the server are the global model, which changes with pushes only. `state.reply` is the region's
    model, for the worker: `Method(send=lambda params, state, worker_state: state.reply, private=True)`.

    Args:
        regions: the region of each worker, [num_workers], numbered from 0.
        local: an optax transformation for the regions' models, with a state of its own in each.
        outer: an optax transformation for the global model.
        period: K, updates of a region between its pushes.
        mixing: alpha, 0 to 1, the share of the global model in a merge; a number or a traced scalar.

    It asks for `worker`: each update is that of one worker.

    Source: G.-W. Kim et al., ICML 2025, arXiv 2506.04531 (HALoS), as in the authors' code (utnslab/halos). Differs:
    push and merge take no time; there both travel, and the region goes on meanwhile.

    Example:
        >>> import jax.numpy as jnp
        >>> import optax
        >>> import jaxasgd as ja
        >>> rule = ja.rules.merge_regions((0, 1), optax.sgd(1.0), optax.sgd(0.5), period=2, mixing=0.25)
        >>> x, state = jnp.zeros(1), rule.init(jnp.zeros(1))
        >>> for worker in (0, 1, 0):
        ...     updates, state = rule.update(jnp.array([-2.0]), state, x, worker=worker)
        >>> updates.tolist(), state.reply.tolist()  # region 0 is at 4: half of it, and 0.75 * 4 + 0.25 * 2
        ([2.0], [3.5])
    """
    if not many(regions) or any(many(each) for each in regions):
        raise ValueError(f"regions holds the region of each worker, [num_workers]; got {shown(regions)}.")
    regions = tuple(whole(f"regions[{i}]", each, hint=", the region of a worker") for i, each in enumerate(regions))
    if not regions or set(regions) != set(range(max(regions) + 1)):
        raise ValueError(f"regions are numbered from 0, and each has a worker; got {shown(regions)}.")
    rows = max(regions) + 1
    period = whole("period", period, 1, hint=" updates of a region between its pushes")
    share("mixing", mixing)
    local, outer = transformation("local", local), transformation("outer", outer)

    def init(params):
        table = lambda tree: jax.tree.map(lambda a: jnp.broadcast_to(a, (rows, *jnp.shape(a))), tree)
        params = jax.tree.map(jnp.asarray, params)
        count = jnp.zeros(rows, jnp.int32)
        return RegionsState(table(params), table(params), table(local.init(params)), count, outer.init(params), params)

    def update(updates, state, params=None, *, worker, **extra):
        if params is None:
            raise ValueError("merge_regions needs the parameters: update(updates, state, params, worker=...).")
        extra = extra | {"worker": worker}
        region = jnp.take(jnp.array(regions, jnp.int32), worker, mode="fill", fill_value=rows)

        def push(model, merged, memory):
            change = jax.tree.map(jnp.subtract, merged, model)
            step, memory = outer.update(change, memory, params, **extra)
            step = tree_cast_like(step, params)
            mix = lambda m, p: ((1.0 - mixing) * m + mixing * p).astype(m.dtype)
            return step, jax.tree.map(mix, model, optax.apply_updates(params, step)), memory

        def stay(model, merged, memory):
            return jax.tree.map(jnp.zeros_like, params), model, memory

        def served(updates, state):
            model, merged, memory, count = take((state.model, state.merged, state.local, state.count), region)
            step, memory = local.update(updates, memory, model, **extra)
            model = optax.apply_updates(model, step)
            full = count + 1 == period
            step, model, far = jax.lax.cond(full, push, stay, model, merged, state.outer)
            merged = jax.tree.map(lambda a, b: jnp.where(full, a, b), model, merged)
            return step, (model, merged, memory, jnp.where(full, 0, count + 1)), far

        step, row, far = apart(region, rows, served, updates, state)
        model, merged, memory, count = put((state.model, state.merged, state.local, state.count), region, row)
        return tree_cast_like(step, updates), RegionsState(model, merged, memory, count, far, row[0])

    return optax.GradientTransformationExtraArgs(init, update)
