"""Linear weight prediction in a training loop of one's own: gradients are computed where the parameters will be."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ..checks import positive, shown, transformation
from .arrays import present, wide
from .delays import like_params


class PredictedState(NamedTuple):
    """The true `weights`, and the state of `inner`."""

    weights: Any
    inner: Any


def predict_weights(inner: optax.GradientTransformation, horizon: Any) -> optax.GradientTransformationExtraArgs:
    """Let the loop hold predicted parameters; the true ones live in the state.

        u   = inner(g) at the true weights w;     w' = w + u
        the loop's next parameters = w' + horizon * u

    The loop computes its gradients at its parameters, as ever: they are `horizon` updates ahead, if the updates go on
    as the last one did. With gradients that are `delay` calls late, `horizon=delay` predicts the parameters at which
    they will be applied: `delay_gradients(predict_weights(optax.sgd(0.1, 0.9), horizon=4), delay=4)`. That nesting is
    the one in which `stale`, if kept, is where gradients were computed; while the queue fills both are the initial
    parameters. Evaluate and save `true_weights(state, params)`.

    Args:
        inner: an optax transformation, the whole optimizer with its learning rate; it gets the true weights as params.
        horizon: in updates, 0 or more: a number or a traced scalar, or a pytree of them for each layer (of the
            structure of the parameters or the beginning of one). 0 changes nothing.

    Memory: the true weights, once the parameters. Rounding: the loop's parameters are w' + horizon * u to a rounding in
    the parameters' dtype, which does not add up: each update starts from w, and that is w + u as without prediction.

    Source: A. Kosson, V. Chiley, A. Venigalla, J. Hestness, U. Koster, MLSys 2021, arXiv 2003.11666 (linear weight
    prediction in its weight form, w + T (w_t - w_{t-1}); formula second-hand, the listing was not at hand).

    Example:
        >>> import jax.numpy as jnp, optax
        >>> import jaxasgd as ja
        >>> optimizer = ja.rules.predict_weights(optax.sgd(0.5), horizon=2.0)
        >>> params = jnp.array([1.0])
        >>> updates, state = optimizer.update(jnp.ones(1), optimizer.init(params), params)
        >>> (params + updates).tolist(), ja.rules.true_weights(state, params).tolist()
        ([-0.5], [0.5])
    """
    inner = transformation("inner, which predict_weights wraps,", inner)
    jax.tree.map(lambda number: positive("a horizon", number), horizon)

    def init(params):
        like_params("horizon", horizon, params)
        weights = jax.tree.map(lambda p: jnp.array(p, copy=True), params)  # the loop may give its own away
        return PredictedState(weights, inner.init(params))

    def update(updates, state, params=None, **extra):
        present(params, "predict_weights")
        updates, memory = inner.update(updates, state.inner, state.weights, **extra)

        def ahead(u, w, p, number):
            dtype = wide(w)
            u = u.astype(dtype)
            return ((w.astype(dtype) - p.astype(dtype)) + (u + number * u)).astype(p.dtype)

        each = like_params("horizon", horizon, updates)
        out = jax.tree.map(ahead, updates, state.weights, params, each)
        return out, PredictedState(optax.apply_updates(state.weights, updates), memory)

    return optax.GradientTransformationExtraArgs(init, update)


def true_weights(state: Any, params: Any) -> Any:
    """The parameters without prediction, for evaluation and for saving.

    Args:
        state: of an optimizer with `predict_weights` somewhere in it (chained, wrapped, for some of the leaves).
        params: the loop's parameters; leaves that are not predicted are taken from here.

    Example:
        >>> import jax.numpy as jnp, optax
        >>> import jaxasgd as ja
        >>> optimizer = optax.chain(optax.clip(1.0), ja.rules.predict_weights(optax.sgd(0.5), horizon=2.0))
        >>> params = jnp.array([1.0])
        >>> ja.rules.true_weights(optimizer.init(params), params).tolist()
        [1.0]
    """
    predicted = lambda node: isinstance(node, PredictedState)
    found = [node.weights for node in jax.tree.leaves(state, is_leaf=predicted) if predicted(node)]
    if not found:
        raise ValueError(
            f"true_weights takes the state of an optimizer with predict_weights in it; got {shown(state)}."
        )
    for weights in found:
        masked = lambda p, w: p if isinstance(w, optax.MaskedNode) else w
        params = jax.tree.map(masked, params, weights)
    return params
