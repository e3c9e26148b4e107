"""Problems cut into stages: pipelines whose forward and backward passes see different weights."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..checks import shown, whole
from .base import Problem
from .finite import FiniteSum, from_loss, positional


class Split(NamedTuple):
    """Two parameter pytrees: activations are computed with `forward`, Jacobians are taken at `backward`."""

    forward: Any
    backward: Any


@dataclass(frozen=True)
class Chain:
    """The loss of layers one after the other: a_0 = batch, a_s = f_s(w_s, a_{s-1}), loss(a_S, batch)."""

    layers: tuple
    loss: Any

    @property
    def __name__(self):
        return getattr(self.loss, "__name__", type(self.loss).__name__)

    def __call__(self, params, batch):
        return self.loss(self.output(params, batch), batch)

    def output(self, params, batch):
        """What the last layer gives."""
        a = batch
        for layer, w in zip(self.layers, params, strict=True):
            a = layer(w, a)
        return a

    def split_gradient(self, params: Split, batch):
        """The gradient of the layers' weights, as in `staged`."""
        inputs, a = [], batch
        for layer, w in zip(self.layers, params.forward, strict=True):
            inputs.append(a)
            a = layer(w, a)
        da = jax.grad(self.loss)(a, batch)
        dw = [None] * len(self.layers)
        for s in reversed(range(1, len(self.layers))):
            _, pull = jax.vjp(self.layers[s], params.backward[s], inputs[s])
            dw[s], da = pull(da)
        _, pull = jax.vjp(lambda w: self.layers[0](w, batch), params.backward[0])
        (dw[0],) = pull(da)
        return tuple(dw)


@dataclass(frozen=True)
class Staged(FiniteSum):
    """A finite sum whose `loss` is a `Chain`, and whose gradient takes a `Split` too."""

    loss: Chain

    def gradient(self, data, params, sample):
        if isinstance(params, Split):
            return self.loss.split_gradient(params, self.batch(data, sample))
        return super().gradient(data, params, sample)


def staged(layers: Sequence[Callable], init: Any, loss: Callable, data: Any, **others: Any) -> Problem:
    """A problem cut into stages, for pipelines whose forward and backward passes use different weights.

        a_0 = batch,   a_s = f_s(w_s, a_{s-1}),   s = 1 ... S,   F(w) = loss(a_S, batch)

    Its gradient takes parameters w, or `Split(forward=w, backward=u)`, and then is

        da_S = grad loss(a_S),   (dw_s, da_{s-1}) = vjp of f_s at (u_s, a_{s-1}), applied to da_s

    with the activations a of the forward pass. With u = w this is the gradient. Inside a layer everything is taken at
    (u_s, a_{s-1}); where the backward pass of a nonlinearity should keep what the forward pass had, make it a layer of
    its own, without weights: `lambda w, a: jnp.tanh(a)` with `()` as its w.

    Args:
        layers: functions f_s(w_s, a) -> a, in order; the first is given the batch. Give the same function objects to
            build problems that share a compiled run.
        init: a tuple of the layers' weights (pytrees), or a function key -> such a tuple.
        loss: `loss(output, batch) -> scalar`, a mean over the samples of the batch.
        data: arrays with one entry per sample; these and the others (batch_size, shards, ...) are as in `from_loss`.

    Source: the gradient with weights of its own for each pass: B. Yang et al., MLSys 2021, "PipeMare: Asynchronous
    Pipeline Parallel DNN Training", arXiv 1910.05124, section 3.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxasgd as ja
        >>> layers = [lambda w, batch: w * batch, lambda w, a: w * a]
        >>> one, two = (jnp.array(1.0), jnp.array(1.0)), (jnp.array(2.0), jnp.array(3.0))
        >>> problem = ja.problems.staged(layers, one, lambda a, batch: jnp.mean(a), jnp.array([5.0]))
        >>> [float(g) for g in problem.sample_gradient(ja.problems.Split(one, two), (jnp.array([0]),))]
        [15.0, 5.0]
    """
    layers = tuple(layers) if isinstance(layers, Iterable) else (layers,)
    if not layers or not all(callable(layer) for layer in layers):
        raise ValueError(
            f"layers holds functions (weights, activation) -> activation, one or more; got {shown(layers)}."
        )
    if not callable(loss) or positional(loss) != 2:
        raise ValueError(f"loss is a function of (output, batch); got {shown(loss)}.")
    params = jax.eval_shape(init, jax.random.key(0)) if callable(init) else init
    if type(params) is not tuple or len(params) != len(layers):
        size = f" of {len(params)}" if isinstance(params, (tuple, list, dict)) else ""
        raise ValueError(
            f"the parameters are a tuple with the weights of each of the {len(layers)} layers (() for a layer without "
            f"weights); got {type(params).__name__}{size}."
        )
    return with_stages(from_loss(Chain(layers, loss), init, data, **others))


def with_stages(problem: Problem) -> Problem:
    """The same problem; its gradient takes a `Split` too."""
    kind = problem.kind
    return replace(problem, kind=Staged(**{field.name: getattr(kind, field.name) for field in fields(kind)}))


def stage_of_leaves(params: Any, number: int | None = None) -> tuple[int, ...]:
    """The pipeline stage of every leaf, in the order of `jax.tree.leaves`: 0 is the first, number - 1 the last.

    Layers are never cut; consecutive ones form a stage, such that the largest stage has as few parameters as it can
    (of several such cuts, the one with the shortest first stage).

    Args:
        params: a tuple or list of the layers' weights in the order of depth (as `staged` and `transformer` have them),
            or a dict whose keys differ in a number only, as flax has them ("layers_0", "layers_2"); a dict with a
            single entry is looked into. Layers without weights belong to no stage.
        number: stages, 1 to the number of layers; None: each layer is a stage.

    Example:
        >>> import numpy as np
        >>> import jaxasgd as ja
        >>> params = ({"w": np.zeros(5), "b": np.zeros(1)}, np.zeros(2), np.zeros(4))
        >>> ja.problems.stage_of_leaves(params), ja.problems.stage_of_leaves(params, 2)
        ((0, 0, 1, 2), (0, 0, 1, 1))
    """
    rank, layers = by_depth(params)
    sizes = [sum(int(np.prod(jnp.shape(leaf))) for leaf in jax.tree.leaves(layer)) for layer in layers]
    counts = [len(jax.tree.leaves(layer)) for layer in layers]
    held = [i for i in range(len(layers)) if counts[i]]
    number = len(held) if number is None else whole("number", number, 1, len(held), " (the number of layers)")
    stage = dict(zip(held, balanced([sizes[i] for i in held], number), strict=True))
    return tuple(stage[i] for i in rank for _ in range(counts[i]))


def by_depth(params):
    """The layers in the order of depth, and which of them comes first, second ... among the leaves."""
    while isinstance(params, dict) and len(params) == 1:
        (params,) = params.values()
    if isinstance(params, (tuple, list)):
        return list(range(len(params))), list(params)
    if isinstance(params, dict):
        keys = [re.fullmatch(r"(\D*)(\d+)(\D*)", str(key)) for key in params]
        around = {key and key.group(1, 3) for key in keys}
        if len(around) == 1 and None not in around:
            depth = sorted(params, key=lambda key: int(re.sub(r"\D", "", str(key))))
            return [depth.index(key) for key in sorted(params)], [params[key] for key in depth]
    raise ValueError(
        "the layers are a tuple in the order of depth, or a dict whose keys differ in a number only; got "
        f"{type(params).__name__}{f' with keys {sorted(params, key=str)}' if isinstance(params, dict) else ''}."
    )


def balanced(sizes, number) -> list[int]:
    """Consecutive parts, none empty, with the smallest largest sum: the part of each entry."""
    total = np.cumsum([0, *sizes]).tolist()

    @functools.cache
    def best(i, parts):
        """The largest sum, and the ends, of the best cut of the entries from i on."""
        if parts == 1:
            return total[-1] - total[i], (len(sizes),)
        tails = ((j, best(j, parts - 1)) for j in range(i + 1, len(sizes) - parts + 2))
        return min((max(total[j] - total[i], largest), (j, *ends)) for j, (largest, ends) in tails)

    ends = best(0, number)[1]
    return np.searchsorted(ends, np.arange(len(sizes)), side="right").tolist()
