"""Linear and logistic regression, and the data of the first experiment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from ..checks import whole
from .base import Problem
from .finite import from_loss, numbers


def squared_error(theta: jax.Array, batch: tuple[jax.Array, jax.Array]) -> jax.Array:
    """J(theta) = ||X theta - y||^2 / (2m), gradient X'(X theta - y)/m; a single sample, x [d] and y [], is m = 1.

    Example:
        >>> import jax.numpy as jnp
        >>> float(squared_error(jnp.array([1.0, 1.0]), (jnp.array([1.0, 2.0]), jnp.array(5.0))))
        2.0
    """
    X, y = batch
    return jnp.mean((X @ theta - y) ** 2) / 2


def logistic_error(theta, batch):
    """mean log(1 + exp(-y x'theta)), labels y in {-1, +1}."""
    X, y = batch
    return jnp.mean(jax.nn.softplus(-y * (X @ theta)))


def sign_accuracy(theta, batch):
    """Share of samples with the right sign."""
    X, y = batch
    return jnp.mean((X @ theta) * y > 0)


def linear(
    X: ArrayLike,
    y: ArrayLike,
    *,
    batch_size: int | None = 1,
    shards: Sequence[ArrayLike] | None = None,
    order: str | ArrayLike = "random",
    start: ArrayLike | None = None,
    **others: Any,
) -> Problem:
    """Least squares: J(theta) = ||X theta - y||^2 / (2m), m samples; `theta` starts at 0.

    `optimum` is the least-squares solution of smallest norm. Other arguments go to `from_loss`.

    Example:
        >>> import jaxasgd as ja
        >>> problem = ja.problems.linear(*ja.problems.toy_regression())
        >>> [round(float(value), 2) for value in problem.optimum]
        [1.68, 3.13]
    """
    X, y = matrix(X, y)
    exact = np.asarray(X, np.float64)
    optimum, _, _, singular = np.linalg.lstsq(exact, np.asarray(y, np.float64), rcond=None)
    theta = first_guess(X, start)
    problem = from_loss(squared_error, theta, (X, y), batch_size=batch_size, shards=shards, order=order, **others)
    if problem.kind.weighed:  # X'WX in the place of X'X / m
        weights = np.asarray(problem.data["weights"], np.float64)
        curvature = np.linalg.norm(np.sqrt(weights)[:, None] * exact, 2) ** 2
    else:
        curvature = singular[0] ** 2 / len(exact)
    data = problem.data | {"curvature": jnp.asarray(curvature)}
    return Problem(data, problem.start, problem.kind, jnp.asarray(optimum), problem.num_shards)


def logistic(
    X: ArrayLike,
    y: ArrayLike,
    *,
    batch_size: int | None = 1,
    shards: Sequence[ArrayLike] | None = None,
    order: str | ArrayLike = "random",
    start: ArrayLike | None = None,
    test: Any = None,
    **others: Any,
) -> Problem:
    """Logistic regression with labels -1 and +1; reports "accuracy" too. Other arguments go to `from_loss`.

    Example:
        >>> import numpy as np
        >>> import jaxasgd as ja
        >>> problem = ja.problems.logistic(np.eye(2), np.array([-1.0, 1.0]))
        >>> round(float(problem.loss(np.zeros(2))), 4)
        0.6931
    """
    X, y = matrix(X, y)
    values = np.unique(np.asarray(y))
    if not set(values.tolist()) <= {-1, 1}:
        raise ValueError(f"labels are -1 and +1 (ja.problems.binary_labels turns others); got {values[:5].tolist()}.")
    theta = first_guess(X, start)
    others.setdefault("metrics", {"accuracy": sign_accuracy})
    return from_loss(
        logistic_error, theta, (X, y), batch_size=batch_size, shards=shards, order=order, test=test, **others
    )


def toy_regression(num_samples: int = 100, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """y = 2 x_1 + 3 x_2 + N(0, 1), x uniform in [0, 1)^2: the 100 samples of the first experiment.

    Drawn with NumPy's legacy generator (`np.random.seed(seed)`): first all of X, row by row, then the noise.

    Example:
        >>> X, y = toy_regression()
        >>> X.shape, y.shape, X[0].round(3).tolist()
        ((100, 2), (100,), [0.549, 0.715])
    """
    num_samples = whole("num_samples", num_samples, 1)
    generator = np.random.RandomState(whole("seed", seed, 0, 2**32 - 1))
    X = generator.rand(num_samples, 2)
    return X, 2 * X[:, 0] + 3 * X[:, 1] + generator.randn(num_samples)


def matrix(X, y):
    """Features [m, d] and labels [m] as floats, finite."""
    X, y = numbers("X", X), numbers("y", y)
    if X.ndim != 2 or y.shape != X.shape[:1]:
        raise ValueError(f"X has shape [samples, features] and y [samples]; got {X.shape} and {y.shape}.")
    X, y = (a if jnp.issubdtype(a.dtype, jnp.floating) else a.astype(jnp.result_type(float)) for a in (X, y))
    for name, a in (("X", X), ("y", y)):
        if not bool(jnp.isfinite(a).all()):
            raise ValueError(f"{name} is finite; it has nan or inf: clean the data first.")
    return X, y


def first_guess(X, start):
    """Where theta starts: `start`, or 0."""
    if start is None:
        return jnp.zeros(X.shape[1], X.dtype)
    if np.shape(start) != (X.shape[1],):
        raise ValueError(f"start has one entry per feature, {(X.shape[1],)}; got shape {np.shape(start)}.")
    return start
