"""Quadratics with a chosen spectrum and an exact optimum, and the worst-case tridiagonal one."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from ..checks import array, flag, real, scalar, whole
from .base import Problem


@dataclass(frozen=True)
class Quadratic:
    """Gradient A (x - c_i) + noise * xi, with A diagonal ("diagonal") or tridiag(-1, 2, -1)/4 ("tridiagonal")."""

    matrix: str
    noisy: bool
    shared: bool = False  # one number of noise for all coordinates

    def apply(self, data, z):
        if self.matrix == "diagonal":
            return data["spectrum"] * z
        ends = jnp.zeros_like(z[:1])
        return (2 * z - jnp.concatenate([ends, z[:-1]]) - jnp.concatenate([z[1:], ends])) / 4

    def draw(self, data, request):
        sample = {"worker": request.worker}
        if self.noisy:
            shape = () if self.shared else data["mean"].shape
            sample["xi"] = jax.random.normal(request.key, shape, data["mean"].dtype)
        return sample

    def gradient(self, data, params, sample):
        center = data["centers"][sample["worker"] % data["centers"].shape[0]]
        gradient = self.apply(data, params - center)
        return gradient + data["noise"] * sample["xi"] if self.noisy else gradient

    def describe(self, data):
        return {"matrix": self.matrix, "noise": float(data["noise"])} | ({"shared": True} if self.shared else {})

    def curvature(self, data):
        size = data["mean"].shape[0]
        return float(np.max(data["spectrum"])) if self.matrix == "diagonal" else steepest(size)

    def evaluate(self, data, params):
        z = params - data["mean"]
        return {"loss": jnp.vdot(z, self.apply(data, z)) / 2}


def steepest(dim) -> float:
    """The largest eigenvalue of tridiag(-1, 2, -1) / 4."""
    return float(np.sin(np.pi * dim / (2 * (dim + 1))) ** 2)


def quadratic(
    dim: int | None = None,
    condition: float = 10.0,
    *,
    noise: float = 0.0,
    spectrum: ArrayLike | None = None,
    centers: ArrayLike | None = None,
    optimum: ArrayLike | None = None,
    start: ArrayLike | None = None,
) -> Problem:
    """f(x) = (1/2) (x - x*)' A (x - x*), A diagonal, with gradients A (x - x*) + noise * xi, xi ~ N(0, I).

    The loss is f(x) - f(x*): zero at the optimum. Every worker may have a centre of its own,
    f_i(x) = (1/2) (x - c_i)' A (x - c_i), and then x* = mean of the c_i and f = (1/n) sum_i f_i up to a constant.

    Args:
        dim: number of parameters.
        condition: eigenvalues run from 1/condition to 1, evenly on a logarithmic scale.
        noise: standard deviation of each coordinate of the gradient noise (sigma^2 = dim * noise^2).
        spectrum: the eigenvalues themselves, [dim], instead of `dim` and `condition`.
        centers: [num_workers, dim], the workers' own optima.
        optimum: x*, [dim] (0 by default); not together with `centers`.
        start: x^0, [dim]; by default every coordinate is 1 away from x*.

    Raises:
        ValueError: naming the rule, the value and the remedy.

    Example:
        >>> import jaxasgd as ja
        >>> problem = ja.problems.quadratic(dim=3, condition=100.0)
        >>> problem.data["spectrum"].tolist(), float(problem.loss(problem.optimum))
        ([0.009999999776482582, 0.10000000149011612, 1.0], 0.0)
    """
    if spectrum is None:
        dim = whole("dim", dim, 1, hint=": the number of parameters (or give spectrum=)")
        fits = lambda number: 1 <= number < np.inf
        scalar("condition", condition, "the ratio of the extreme eigenvalues, a number, 1 or more", fits)
        spectrum = np.logspace(-np.log10(condition), 0, dim) if dim > 1 else np.ones(1)
    spectrum = array("spectrum", spectrum, "eigenvalues, 0 or more")
    if spectrum.ndim != 1 or not spectrum.size or not np.isfinite(spectrum).all() or (spectrum < 0).any():
        raise ValueError(f"spectrum holds finite eigenvalues, 0 or more, in one dimension; got {spectrum!r}.")
    if dim not in (None, len(spectrum)):
        raise ValueError(f"dim is the length of spectrum, {len(spectrum)}, and may be left out; got {dim!r}.")
    return build("diagonal", {"spectrum": jnp.asarray(spectrum)}, len(spectrum), noise, centers, optimum, start, 1.0)


def tridiagonal(
    dim: int = 1729, *, noise: float = 0.01, shared: bool = False, start: ArrayLike | None = None
) -> Problem:
    """The worst-case quadratic f(x) = x'Ax/2 - b'x, A = tridiag(-1, 2, -1)/4, b = (-1, 0, ..., 0)/4.

    Gradients are A x - b + noise * xi, xi ~ N(0, I); the loss is f(x) - f(x*), with x* = A^-1 b; by default
    x^0 = (sqrt(dim), 0, ..., 0).

    Source: Y. Nesterov, 2004, "Introductory Lectures on Convex Optimization", section 2.1.2 (the function);
    A. Maranjyan, A. Tyurin, P. Richtarik, ICML 2025, arXiv 2501.16168 (dim = 1729, noise = 0.01 in all experiments).

    Args:
        dim: number of parameters.
        noise: standard deviation of each coordinate of the gradient noise, sigma^2 = dim * noise^2.
        shared: False: a number is drawn for each coordinate. True: one number is added to all coordinates, as in
            their code. sigma^2 is the same; the noise lies in directions of little curvature then, and the loss
            hardly feels it.
        start: x^0, [dim].

    Example:
        >>> import jaxasgd as ja
        >>> problem = ja.problems.tridiagonal(dim=5, noise=0.0)
        >>> float(problem.loss(problem.optimum))
        0.0
    """
    dim = whole("dim", dim, 1, hint=": the number of parameters")
    i = np.arange(1, dim + 1)
    optimum = i / (dim + 1) - 1.0  # (A x)_i = b_i, x_0 = -1, x_{dim+1} = 0
    if start is None:
        start = np.zeros(dim)
        start[0] = np.sqrt(dim)
    return build("tridiagonal", {}, dim, noise, None, optimum, start, None, shared=flag("shared", shared))


def build(matrix, data, dim, noise, centers, optimum, start, away, *, shared=False) -> Problem:
    noise = real("noise", noise, 0, ", a standard deviation")
    if centers is not None and optimum is not None:
        raise ValueError("give centers= or optimum=, not both: the optimum is the mean of the centers.")
    base = (
        np.zeros((1, dim))
        if centers is None and optimum is None
        else np.atleast_2d(
            array("centers", centers, f"finite numbers, [num_workers, {dim}]")
            if optimum is None
            else array("optimum", optimum, f"finite numbers, [{dim}]")
        )
    )
    if optimum is not None and np.shape(optimum) != (dim,):
        raise ValueError(f"optimum is finite, [{dim}]; got shape {np.shape(optimum)}.")
    if base.ndim != 2 or base.shape[1] != dim or not np.isfinite(base).all():
        raise ValueError(f"centers are finite, [num_workers, {dim}], and optimum is [{dim}]; got shape {base.shape}.")
    mean = base.mean(axis=0)
    start = mean + away if start is None else array("start", start, f"finite numbers, [{dim}]")
    if start.shape != (dim,) or not np.isfinite(start).all():
        raise ValueError(f"start is finite, [{dim}]; got shape {np.shape(start)}.")
    data = data | {"centers": jnp.asarray(base), "mean": jnp.asarray(mean), "noise": jnp.asarray(np.float64(noise))}
    kind = Quadratic(matrix, noise > 0, shared)
    shards = None if centers is None else len(base)
    return Problem(data, jnp.asarray(start), kind, optimum=jnp.asarray(mean), num_shards=shards)
