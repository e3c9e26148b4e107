"""from_loss(): any loss over any pytree of parameters, on any arrays, every worker its own shard."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from ..checks import function, kind, many, shown, string, whole, word
from .base import Order, Problem

EVALUATE_AT_ONCE = 4096  # samples in one call of the loss during evaluation


@dataclass(frozen=True)
class FiniteSum:
    """f(params) = mean of `loss` over the samples (or over shards of the mean in each)."""

    loss: Callable
    order: Order
    initialize: Any = None  # key -> parameters; None where they are given
    metrics: tuple[tuple[str, Callable], ...] = ()
    keyed: bool = False  # loss takes a key
    weighed: bool = False  # samples have weights of their own

    def init(self, data, key):
        return self.initialize(key)

    def draw(self, data, request):
        index = self.order.draw(data, request)
        return (index, jax.random.fold_in(request.key, 1)) if self.keyed else (index,)

    def gradient(self, data, params, sample):
        return jax.grad(self.sample_loss)(params, data, sample)

    def batch(self, data, sample):
        return jax.tree.map(lambda a: a[sample[0]], data["samples"])

    def sample_loss(self, params, data, sample):
        return self.loss(params, self.batch(data, sample), *sample[1:])

    def describe(self, data):
        name = getattr(self.loss, "__name__", type(self.loss).__name__)
        samples = {
            part: jax.tree.leaves(data[part])[0].shape[0] for part in ("samples", "test", "monitor") if part in data
        }
        return {"loss": name, "order": self.order.how, "batch_size": self.order.batch_size} | samples

    def curvature(self, data):
        return float(data["curvature"]) if "curvature" in data else None

    def evaluate(self, data, params):
        rest = (jax.random.key(0),) if self.keyed else ()
        functions = (("loss", lambda params, batch: self.loss(params, batch, *rest)), *self.metrics)
        out: dict[str, Any] = {}
        for split, prefix in (("monitor" if "monitor" in data else "samples", ""), ("test", "test_")):
            if split in data:
                weights = data["weights"] if self.weighed and split == "samples" else None
                means = mean_over(functions, params, data[split], weights)
                out |= {prefix + name: value for (name, _), value in zip(functions, means, strict=True)}
        return out


def mean_over(functions, params, samples, weights=None):
    """Means of functions of (params, batch) over all samples, a bounded number at a time.

    Each function is a mean over the samples of its batch. With `weights` (they sum to one), every sample is
    asked for alone.
    """
    number = jax.tree.leaves(samples)[0].shape[0]
    at_once = min(number, EVALUATE_AT_ONCE)

    def sums(part, weight, length):
        if weight is None:
            return [function(params, part) * (length / number) for _, function in functions]
        one = [lambda s, f=f: f(params, jax.tree.map(lambda a: a[None], s)) for _, f in functions]
        return [jnp.sum(weight * jax.vmap(f)(part)) for f in one]

    def cut(first, length) -> tuple[Any, Any]:
        part = jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, first, length), samples)
        return part, None if weights is None else jax.lax.dynamic_slice_in_dim(weights, first, length)

    whole, rest = divmod(number, at_once)
    total = jax.lax.map(lambda i: sums(*cut(i * at_once, at_once), at_once), jnp.arange(whole))
    total = [jnp.sum(t) for t in total]
    if rest:
        total = [t + s for t, s in zip(total, sums(*cut(whole * at_once, rest), rest), strict=True)]
    return total


def from_loss(
    loss: Callable,
    init: Any,
    data: Any,
    *,
    batch_size: int | None = 1,
    shards: Sequence[ArrayLike] | None = None,
    order: str | ArrayLike = "random",
    metrics: Mapping[str, Callable] | None = None,
    test: Any = None,
    weigh: str = "shards",
    loss_samples: int | None = None,
) -> Problem:
    """Any loss over any pytree of parameters, on any arrays.

        f(params) = (1/n) sum_i f_i(params),   f_i = mean of loss over shard i   (n shards, one a worker)

    Args:
        loss: `loss(params, batch) -> scalar`, a mean over the samples of the batch, or `loss(params, batch, key)`
            where it is random (dropout); evaluated with one fixed key. Give the same function object to build
            problems that share a compiled run.
        init: initial parameters, or a function `key -> params` (seeds then vary the start).
        data: arrays with one entry per sample along the first axis (a pytree; `(X, y)` usually). `batch` has the
            same structure.
        batch_size: samples in a gradient, drawn from the worker's shard; None for the whole shard (equal sizes).
        shards: None (every worker draws from all samples), or one array of sample numbers for each worker
            (`ja.problems.shard` makes them).
        order: "random" (with replacement), "cyclic", "shuffled" (without, a new order each epoch), or an array of
            sample numbers in the order of use, [turns] or [workers, turns] (wraps around). A worker's place in its
            order is the number of gradients that it has delivered (in batches), discarded ones too.
        metrics: name -> function of (params, batch), a mean over the batch; reported at every evaluation.
        test: held-out arrays of the structure of `data`: adds "test_loss" and "test_<metric>".
        weigh: "shards" (each shard counts the same), or "samples" (each sample does). They differ where shards
            have unequal sizes; the objective does, not the gradients.

    Raises:
        ValueError: naming the rule, the value and the remedy.

    Example:
        >>> import jax, jax.numpy as jnp, numpy as np, optax
        >>> import jaxasgd as ja
        >>> X, y = np.eye(4, dtype=np.float32), np.arange(4, dtype=np.float32)
        >>> loss = lambda w, batch: jnp.mean((batch[0] @ w - batch[1]) ** 2) / 2
        >>> problem = ja.problems.from_loss(loss, jnp.zeros(4), (X, y), batch_size=2)
        >>> float(problem.loss(jnp.zeros(4)))
        1.75
    """
    samples = arrays("data", data)
    number = one_length(samples, "data")
    if not callable(loss):
        raise ValueError(f"loss is a function of (params, batch); got {loss!r}.")
    takes = positional(loss)
    if takes not in (2, 3):
        raise ValueError(f"loss takes (params, batch) or (params, batch, key); this one takes {takes} arguments.")
    word("weigh", weigh, "shards", "samples")
    metrics = kind(
        "metrics", {} if metrics is None else metrics, Mapping, "a mapping, name -> function of (params, batch)"
    )
    for name, metric in metrics.items():
        function(f"metrics[{string('the name of a metric', name)!r}]", metric, "(params, batch)")
    if shards is not None and (not many(shards) or not len(shards)):
        raise ValueError(
            f"shards holds an array of sample numbers for each worker (ja.problems.shard); got {shown(shards)}."
        )
    names = {"loss", "gradient_norm", "time", "update", "gradients"} & set(metrics)
    if names:
        raise ValueError(f"a metric has a name of its own; {sorted(names)} are taken.")
    table, lengths = shard_table(shards, number)
    if batch_size is None:
        if len(set(lengths)) > 1:
            raise ValueError(f"batch_size=None takes whole shards and needs equal sizes; they are {lengths}.")
        batch_size = lengths[0]
        order = "cyclic" if isinstance(order, str) else order
    batch_size = whole("batch_size", batch_size, 1, hint=": samples in a gradient (None: the whole shard)")
    held = {"samples": samples, "shards": table}
    if isinstance(order, str):
        if order not in ("random", "cyclic", "shuffled"):
            raise ValueError(f'order is "random", "cyclic", "shuffled", or sample numbers; got {order!r}.')
        how = order
    else:
        how, turns = "given", np.atleast_2d(np.asarray(order))
        if (
            turns.dtype.kind not in "iu"
            or turns.ndim != 2
            or turns.size == 0
            or not (0 <= turns.min() <= turns.max() < number)
        ):
            raise ValueError(
                f"order holds sample numbers 0...{number - 1}, [turns] or [workers, turns]; got {order!r}."
            )
        held["order"] = jnp.asarray(turns, jnp.int32)
        if len(turns) > 1 and shards is not None and len(turns) != len(lengths):
            raise ValueError(
                f"order has a row for each of the {len(lengths)} shards, or one for all; got {len(turns)}."
            )
    if test is not None:
        held["test"] = arrays("test", test)
        one_length(held["test"], "test")
        inner = lambda tree: (jax.tree.structure(tree), [a.shape[1:] for a in jax.tree.leaves(tree)])
        if inner(held["test"]) != inner(samples):
            shapes = lambda tree: jax.tree.map(lambda a: a.shape, tree)
            raise ValueError(
                f"test holds samples like those of data, {shapes(samples)} but for their number; got "
                f"{shapes(held['test'])}."
            )
    weighed = weigh == "shards" and shards is not None and len(set(lengths)) > 1
    if weighed:
        each = np.concatenate([np.full(n, 1 / (n * len(lengths))) for n in lengths])
        weights = np.zeros(number)
        np.add.at(weights, np.asarray(table["members"]), each)
        held["weights"] = jnp.asarray(weights)
    if loss_samples is not None:
        loss_samples = whole("loss_samples", loss_samples, 1, number, " (None: all samples)")
        if weighed:
            raise ValueError('loss_samples does not know shards of unequal sizes: leave it out, or weigh="samples".')
        chosen = np.random.default_rng(0).permutation(number)[:loss_samples]
        held["monitor"] = jax.tree.map(lambda a: a[chosen], samples)
    objective = FiniteSum(
        loss=loss,
        order=Order(how, batch_size),
        initialize=init if callable(init) else None,
        metrics=tuple(sorted(metrics.items())),
        keyed=takes == 3,
        weighed=weighed,
    )
    start = None if callable(init) else arrays("init", init)
    split = None if shards is None else len(lengths)
    if "order" in held and len(held["order"]) > 1:
        split = len(held["order"])
    problem = Problem(held, start, objective, num_shards=split)
    check_loss(problem, samples)
    return problem


def arrays(name, tree):
    """A pytree of arrays of numbers, as JAX has them."""
    if not jax.tree.leaves(tree):
        raise ValueError(f"{name} holds arrays of numbers, one or more; got {shown(tree)}.")
    return jax.tree.map(lambda leaf: numbers(name, leaf), tree)


def numbers(name, leaf) -> jax.Array:
    """One of them."""
    try:
        return jnp.asarray(leaf)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} holds arrays of numbers; got {shown(leaf)}.") from error


def check_loss(problem, samples):
    """The parameters are real numbers, and the loss of a batch is one."""
    params = jax.eval_shape(lambda problem: problem.init(jax.random.key(0)), problem)
    for leaf in jax.tree.leaves(params):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise ValueError(f"the parameters are floating-point arrays; got {leaf.dtype} of shape {leaf.shape}.")
    number = problem.kind.order.batch_size
    batch = jax.tree.map(lambda a: jax.ShapeDtypeStruct((number, *a.shape[1:]), a.dtype), samples)
    keys = (jax.eval_shape(lambda: jax.random.key(0)),) * problem.kind.keyed
    for name, told, rest in (("loss", problem.kind.loss, keys), *((*m, ()) for m in problem.kind.metrics)):
        out = jax.eval_shape(told, params, batch, *rest)
        if jnp.shape(out) != () or not jnp.issubdtype(jnp.result_type(out), jnp.floating):
            raise ValueError(f"{name} gives one real scalar for a batch, its mean; got {shown(out)}.")


def one_length(samples, what) -> int:
    """The number of samples, the same in every array; a scalar has none."""
    leaves = jax.tree.leaves(samples)
    shapes = [leaf.shape for leaf in leaves]
    if not leaves or any(len(shape) == 0 for shape in shapes) or len({shape[0] for shape in shapes}) > 1:
        raise ValueError(
            f"{what} holds arrays with one entry per sample along the first axis (a single sample is an array of "
            f"length 1); got shapes {shapes}."
        )
    if shapes[0][0] == 0:
        raise ValueError(f"{what} has at least one sample; got shapes {shapes}.")
    return shapes[0][0]


def positional(function) -> int:
    """How many arguments a function must be given."""
    try:
        kinds = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 2
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in by_place and p.default is p.empty for p in kinds)


def shard_table(shards, number):
    """All shards in one array: members, and where each shard begins and how long it is."""
    if shards is None:
        parts = [np.arange(number)]
    else:
        parts = [np.asarray(part) for part in shards]
        for i, part in enumerate(parts):
            if part.ndim != 1 or part.size == 0 or part.dtype.kind not in "iu":
                raise ValueError(f"a shard holds sample numbers, at least one; shard {i} is {part!r}.")
            if part.min() < 0 or part.max() >= number:
                raise ValueError(f"sample numbers are 0...{number - 1}; shard {i} has {part.min()}...{part.max()}.")
    lengths = [len(part) for part in parts]
    first = np.cumsum([0, *lengths[:-1]])
    if shards is None:  # every worker the same
        table = {"first": jnp.zeros(1, jnp.int32), "length": jnp.full(1, number, jnp.int32)}
    else:
        table = {"first": jnp.asarray(first, jnp.int32), "length": jnp.asarray(lengths, jnp.int32)}
    return table | {"members": jnp.asarray(np.concatenate(parts), jnp.int32)}, lengths
