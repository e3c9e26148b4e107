"""What a run needs of a problem: a start, samples by number, gradients at samples, and the whole objective."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Request(NamedTuple):
    """Which sample is asked for: all that a draw may depend on, so that equivalent methods draw the same.

    `key` belongs to (worker, visit, repeat, unit) alone, `run` to the whole run; `turn` counts the units
    that the worker has delivered, and so walks through its data in order.
    """

    key: Any
    run: Any
    worker: Any
    turn: Any


@partial(jax.tree_util.register_dataclass, data_fields=["data", "start", "optimum"], meta_fields=["kind", "num_shards"])
@dataclass(frozen=True, eq=False)
class Problem:
    """An objective f, with its data and its start: a pytree of arrays and a static `kind`.

    `kind` is a hashable object with four pure functions, traced by the engine:

        init(data, key) -> params                    where `start` is None
        draw(data, request) -> sample                indices or noise; in batches, off the row
        gradient(data, params, sample) -> gradient   at one sample (a mini-batch, usually)
        evaluate(data, params) -> {"loss": ..., ...} the whole objective and metrics, off the clock

    Attributes:
        data: arrays (a pytree), arguments of the compiled run.
        start: initial parameters, or None.
        optimum: a minimizer where it is known, or None.
        num_shards: how many workers the data is split for; None where any number will do.
    """

    data: Any
    start: Any
    kind: Any
    optimum: Any = None
    num_shards: int | None = None

    def __repr__(self):
        return f"Problem({type(self.kind).__name__}, shards={self.num_shards})"

    def init(self, key: jax.Array) -> Any:
        """Initial parameters; they depend on `key` only where the problem was given a function of it."""
        return self.kind.init(self.data, key) if self.start is None else jax.tree.map(jnp.asarray, self.start)

    def draw(self, request: Request) -> Any:
        """The sample that was asked for: indices or noise."""
        return self.kind.draw(self.data, request)

    def sample_gradient(self, params: Any, sample: Any) -> Any:
        """The stochastic gradient at one sample."""
        return self.kind.gradient(self.data, params, sample)

    def evaluate(self, params: Any) -> dict:
        """The whole objective as "loss", and the metrics, at params."""
        return self.kind.evaluate(self.data, jax.tree.map(jnp.asarray, params))

    def describe(self) -> dict:
        """What a spec file says of it: the kind's own numbers, and how many parameters there are."""
        params = jax.eval_shape(lambda problem: problem.init(jax.random.key(0)), self)
        size = sum(leaf.size for leaf in jax.tree.leaves(params))
        told = self.kind.describe(self.data) if hasattr(self.kind, "describe") else {}
        return {"kind": type(self.kind).__name__, **told, "parameters": size, "shards": self.num_shards}

    def curvature(self) -> float | None:
        """L, the largest eigenvalue of the Hessian, where it is one number everywhere; else None."""
        return self.kind.curvature(self.data) if hasattr(self.kind, "curvature") else None

    def loss(self, params: Any) -> jax.Array:
        """The whole objective f(params)."""
        return self.evaluate(params)["loss"]

    def gradient(self, params: Any) -> Any:
        """Its gradient."""
        return jax.grad(self.loss)(jax.tree.map(jnp.asarray, params))


@dataclass(frozen=True)
class Order:
    """In which order a worker goes through its shard.

    "random": with replacement; "cyclic": in the order of the shard, over and over; "shuffled": a new random order
    each epoch, without replacement; "given": `data["order"]` holds one row of sample numbers per worker.
    """

    how: str
    batch_size: int

    def draw(self, data: Any, request: Request) -> jax.Array:
        """Sample numbers, i4 [batch_size]."""
        if self.how == "given":
            order = data["order"]
            place = request.turn * self.batch_size + jnp.arange(self.batch_size)
            return order[request.worker % order.shape[0], place % order.shape[1]]
        shards = data["shards"]
        shard = request.worker % shards["first"].shape[0]
        first, length = shards["first"][shard], shards["length"][shard]
        if self.how == "random":
            place = jax.random.randint(request.key, (self.batch_size,), 0, length)
        else:
            place = request.turn * self.batch_size + jnp.arange(self.batch_size)
            epoch, place = place // length, place % length
            if self.how == "shuffled":
                stream = jax.random.bits(jax.random.fold_in(request.run, request.worker))
                place = jax.vmap(shuffle, (None, 0, 0, None))(stream, epoch, place, length)
        return shards["members"][first + place] if "members" in shards else first + place  # or runs of numbers


ROUNDS = 48


def shuffle(stream, epoch, place, length):
    """Where `place` goes in the epoch's random permutation of 0...length - 1: in O(1), with no table.

    The swap-or-not shuffle: in each round, x is paired with (k_r - x) mod length, and a keyed bit of the pair
    decides whether they swap; a bijection for every length.

    Source: V. T. Hoang, B. Morris, P. Rogaway, CRYPTO 2012, "An Enciphering Scheme Based on a Card Shuffle",
    arXiv 1208.1176. Differs from the paper: the bits come from a 32-bit integer hash, not from a cipher.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> sorted(jax.vmap(lambda i: shuffle(0, 0, i, 10))(jnp.arange(10)).tolist())
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    length = jnp.asarray(length, jnp.uint32)
    seed = mix(jnp.asarray(epoch, jnp.uint32) ^ mix(jnp.asarray(stream, jnp.uint32) + jnp.uint32(0x9E3779B9)))

    def round_(r, x):
        k = mix(seed + 2 * r)
        partner = (k % length + length - x) % length
        top = jnp.maximum(x, partner)
        swap = mix(top ^ mix(seed + 2 * r + 1)) & 1
        return jnp.where(swap == 1, partner, x)

    out = jax.lax.fori_loop(jnp.uint32(0), jnp.uint32(ROUNDS), round_, jnp.asarray(place, jnp.uint32))
    return out.astype(jnp.int32)


def mix(x):
    """A bijective 32-bit hash (the finalizer of MurmurHash3, A. Appleby)."""
    x = x ^ (x >> 16)
    x = x * jnp.uint32(0x85EBCA6B)
    x = x ^ (x >> 13)
    x = x * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
