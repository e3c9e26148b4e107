"""Networks through flax: a multi-layer perceptron for images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from ..checks import function, kind, shown, whole
from .base import Problem
from .finite import from_loss, numbers


@dataclass(frozen=True)
class CrossEntropy:
    """Mean cross entropy of `apply(params, X) -> logits` with integer labels."""

    module: Any

    def __call__(self, params, batch):
        import optax

        X, y = batch
        return optax.softmax_cross_entropy_with_integer_labels(self.module.apply(params, X), y).mean()


@dataclass(frozen=True)
class Accuracy:
    """Share of samples whose largest logit is the label's."""

    module: Any

    def __call__(self, params, batch):
        X, y = batch
        return jnp.mean(self.module.apply(params, X).argmax(axis=-1) == y)


@dataclass(frozen=True)
class Initialize:
    """Initial parameters of a module for inputs of a shape."""

    module: Any
    shape: tuple[int, ...]

    def __call__(self, key):
        return self.module.init(key, jnp.zeros((1, *self.shape)))


def classifier(
    module: Any,
    X: ArrayLike,
    y: ArrayLike,
    *,
    test: Any = None,
    metrics: dict[str, Callable] | None = None,
    **others: Any,
) -> Problem:
    """A flax.linen module with logits as output, trained with cross entropy; reports "accuracy" too.

    Args:
        module: `module.init(key, X)` gives the parameters and `module.apply(params, X)` the logits.
        X, y: inputs [samples, ...] and integer labels [samples].
        test: a pair (X, y) held out.
        metrics: further ones, see `from_loss`; so are the other arguments.

    Example:
        >>> import jax
        >>> from flax import linen
        >>> import jaxasgd as ja
        >>> X, y, X_test, y_test, _ = ja.problems.sklearn_set("digits")
        >>> problem = ja.problems.classifier(linen.Dense(10), X, y, test=(X_test, y_test), batch_size=32)
        >>> sorted(problem.evaluate(problem.init(jax.random.key(0))))
        ['accuracy', 'loss', 'test_accuracy', 'test_loss']
    """
    function("module.init", getattr(module, "init", None), "(key, X), as that of a flax.linen module")
    function("module.apply", getattr(module, "apply", None), "(params, X), as that of a flax.linen module")
    X, y = numbers("X", X), numbers("y", y)
    if not jnp.issubdtype(y.dtype, jnp.integer) or y.ndim != 1:
        raise ValueError(f"labels are integers, [samples]; got {y.dtype} of shape {y.shape}.")
    own = kind("metrics", {} if metrics is None else metrics, Mapping, "a mapping, name -> function of (params, batch)")
    told = {"accuracy": Accuracy(module), **own}
    start = Initialize(module, X.shape[1:])
    return from_loss(CrossEntropy(module), start, (X, y), test=test, metrics=told, **others)


def mlp(
    X: ArrayLike, y: ArrayLike, *, hidden: Sequence[int] = (128,), num_classes: int | None = None, **others: Any
) -> Problem:
    """A multi-layer perceptron with ReLUs on flattened inputs, through flax (extra `nets`).

    Args:
        X, y: inputs [samples, ...], integer labels [samples] from 0.
        hidden: widths of the hidden layers.
        num_classes: by default the largest label + 1.
        others: `test`, `batch_size`, `shards`, `order`, ... as in `from_loss`.

    Example:
        >>> import jax, numpy as np
        >>> import jaxasgd as ja
        >>> problem = ja.problems.mlp(np.zeros((4, 3), np.float32), np.array([0, 1, 0, 1]), hidden=(5,))
        >>> sum(leaf.size for leaf in jax.tree.leaves(problem.init(jax.random.key(0))))
        32
    """
    try:
        from flax import linen
    except ImportError as error:
        raise ImportError('networks need flax: pip install "jaxasgd[nets]".') from error
    if not isinstance(hidden, Iterable) or isinstance(hidden, (str, bytes)):
        raise ValueError(f"hidden holds the widths of the hidden layers, (128,) for example; got {shown(hidden)}.")
    hidden = tuple(whole(f"hidden[{i}]", width, 1, hint=": the width of a layer") for i, width in enumerate(hidden))
    labels = numbers("y", y)
    if not jnp.issubdtype(labels.dtype, jnp.integer) or labels.ndim != 1 or not labels.size:
        raise ValueError(f"y holds integer labels, [samples]; got {labels.dtype} of shape {labels.shape}.")
    classes = int(labels.max()) + 1 if num_classes is None else whole("num_classes", num_classes, 1)
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels are 0...{classes - 1}; got {labels.min()}...{labels.max()}.")
    layers: list[Callable] = []
    for width in hidden:
        layers += [linen.Dense(width), linen.relu]
    flat = np.asarray(numbers("X", X))
    if not flat.ndim:
        raise ValueError(f"X holds inputs, [samples, ...]; got {shown(X)}.")
    flat = flat.reshape(len(flat), -1)
    if others.get("test") is not None:
        test = others.pop("test")
        if not isinstance(test, (tuple, list)) or len(test) != 2 or not np.ndim(test[0]):
            raise ValueError(f"test is a pair (X, y) held out; got {shown(test)}.")
        others["test"] = (jnp.asarray(np.asarray(test[0]).reshape(len(test[0]), -1)), numbers("test", test[1]))
    return classifier(linen.Sequential([*layers, linen.Dense(classes)]), flat, y, **others)
