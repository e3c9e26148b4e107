"""A character language model in the manner of GPT, through flax, cut into layers."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ..checks import kind, whole
from .base import Order, Problem
from .stages import Chain, Staged
from .texts import Text


@functools.cache
def modules():
    """The four layers, as classes of flax.linen modules: Embed, Attention, Dense, Head."""
    try:
        from flax import linen
    except ImportError as error:
        raise ImportError('networks need flax: pip install "jaxasgd[nets]".') from error
    small = linen.initializers.normal(0.02)
    last = lambda depth: linen.initializers.normal(0.02 / math.sqrt(2 * depth))

    class Embed(linen.Module):
        vocabulary: int
        context: int
        width: int

        @linen.compact
        def __call__(self, windows):
            place = self.param("place", small, (self.context, self.width))
            characters = linen.Embed(self.vocabulary, self.width, embedding_init=small, name="character")
            inputs = windows[:, :-1].astype(jnp.int32)
            return characters(inputs) + place[None, : inputs.shape[1]]

    class Attention(linen.Module):
        heads: int
        depth: int

        @linen.compact
        def __call__(self, a):
            split = (*a.shape[:2], self.heads, a.shape[2] // self.heads)
            normed = linen.LayerNorm(name="norm")(a)
            to = lambda name: linen.Dense(a.shape[2], name=name)(normed).reshape(split)
            mask = linen.make_causal_mask(jnp.zeros((1, a.shape[1])))
            out = linen.dot_product_attention(to("query"), to("key"), to("value"), mask=mask)
            return a + linen.Dense(a.shape[2], kernel_init=last(self.depth), name="out")(out.reshape(a.shape))

    class Dense(linen.Module):
        depth: int

        @linen.compact
        def __call__(self, a):
            inner = linen.gelu(linen.Dense(4 * a.shape[2], name="in")(linen.LayerNorm(name="norm")(a)))
            return a + linen.Dense(a.shape[2], kernel_init=last(self.depth), name="out")(inner)

    class Head(linen.Module):
        vocabulary: int

        @linen.compact
        def __call__(self, a):
            return linen.Dense(self.vocabulary, kernel_init=small, name="out")(linen.LayerNorm(name="norm")(a))

    return Embed, Attention, Dense, Head


@dataclass(frozen=True)
class Apply:
    """A flax module as a layer: (weights, activation) -> activation."""

    module: Any  # flax.linen.Module

    def __call__(self, w, a):
        return self.module.apply({"params": w}, a)


@dataclass(frozen=True)
class Initialize:
    """Initial weights of every layer, each on what the one before gives."""

    layers: tuple[Apply, ...]
    context: int

    def __call__(self, key):
        params, a = [], jnp.zeros((1, self.context + 1), jnp.uint8)
        for layer, layer_key in zip(self.layers, jax.random.split(key, len(self.layers)), strict=True):
            w = layer.module.init(layer_key, a)["params"]
            params.append(w)
            a = layer(w, a)
        return tuple(params)


def next_character(logits, windows):
    """Mean cross entropy, in nats per character."""
    following = windows[:, 1:].astype(jnp.int32)
    return optax.softmax_cross_entropy_with_integer_labels(logits, following).mean()


@dataclass(frozen=True)
class Windows(Staged):
    """Samples are windows of a text, cut out of it when they are used."""

    context: int = 0

    def batch(self, data, sample):
        cut = lambda offset: jax.lax.dynamic_slice_in_dim(data["text"], offset, self.context + 1)
        return jax.vmap(cut)(sample[0])

    def describe(self, data):
        embed, attention, *_ = (layer.module for layer in self.loss.layers)
        sizes = {"width": embed.width, "depth": attention.depth, "heads": attention.heads, "context": self.context}
        sizes |= {"vocabulary": embed.vocabulary, "batch_size": self.order.batch_size}
        return sizes | {"characters": data["text"].size, "monitor": len(data["monitor"]), "test": len(data["test"])}


def transformer(
    text: Text,
    *,
    width: int = 64,
    depth: int = 4,
    heads: int = 4,
    context: int = 64,
    batch_size: int = 8,
    shards: int | None = None,
    windows: int = 128,
) -> Problem:
    """A character language model in the manner of GPT: nats per character, through flax (extra `nets`).

        a_0 = character + place,   a <- a + attention(norm(a)),   a <- a + dense(norm(a)),   logits = out(norm(a))

    with causal attention, gelu, learned places and an untied head. A gradient is of `batch_size` windows of context + 1
    characters, at uniform offsets in the worker's piece of the text; no window is stored. "loss" and "test_loss" are
    means over fixed windows, evenly spaced in the training and the held-out text.

    The parameters are a tuple of layers in the order of depth: embedding, then attention and dense layer of each block,
    then head; the gradient takes a `Split`, as in `staged`, and `stage_of_leaves` cuts the layers into stages.

    Args:
        text: a `Text`: `ja.problems.text()`.
        width: numbers in an activation, a multiple of `heads`.
        depth: blocks, each of two layers: 2 depth + 2 layers in all.
        context: characters that a prediction may look back on.
        batch_size: windows in a gradient.
        shards: None (every worker draws from the whole text), or the number of workers: contiguous pieces of the text,
            as equal as can be, one for each.
        windows: how many fixed windows an evaluation takes of each text.

    Source: A. Radford et al., 2019, "Language Models are Unsupervised Multitask Learners" (GPT-2): the layers, and the
    initial deviation 0.02 of embeddings and head, divided by sqrt(2 depth) where a layer adds to `a`. Differs from the
    paper: characters; the other weights start as flax has them, 1 / sqrt(inputs), which learns faster at such widths;
    the head is untied (a tied one would lie in two stages).

    Example:
        >>> import jax
        >>> import jaxasgd as ja
        >>> text = ja.problems.text(prefer="excerpt")
        >>> problem = ja.problems.transformer(text, width=8, depth=1, heads=2, context=16)
        >>> params = problem.init(jax.random.key(0))
        >>> len(params), len(text.vocabulary), f"{problem.loss(params):.1f}"
        (4, 61, '4.1')
    """
    Embed, Attention, Dense, Head = modules()
    text = kind("text", text, Text, "a text, ja.problems.text() for example")
    if max(text.train.max(), text.test.max()) >= len(text.vocabulary):
        raise ValueError(f"the vocabulary has a character for every code; got {len(text.vocabulary)} characters.")
    heads, depth = whole("heads", heads, 1), whole("depth", depth, 1)
    width, context = whole("width", width, 1), whole("context", context, 1)
    if width % heads:
        raise ValueError(f"width is a multiple of heads, {heads}; got {width}.")
    pieces = 1 if shards is None else whole("shards", shards, 1, hint=" (the number of workers)")
    batch_size, windows = whole("batch_size", batch_size, 1), whole("windows", windows, 1)
    shortest = min(len(text.train) // pieces, len(text.test))
    if shortest <= context:
        raise ValueError(
            f"a window is context + 1 = {context + 1} characters, and every worker's piece and the held-out text hold "
            f"one; the shortest has {shortest}: a longer text, fewer shards or a smaller context."
        )
    parts = [Embed(len(text.vocabulary), context, width)]
    for _ in range(depth):
        parts += [Attention(heads, depth), Dense(depth)]
    layers = tuple(Apply(module) for module in [*parts, Head(len(text.vocabulary))])
    ends = np.array([i * len(text.train) // pieces for i in range(pieces + 1)])
    data = {
        "text": jnp.asarray(text.train),
        "shards": {
            "first": jnp.asarray(ends[:-1], jnp.int32),
            "length": jnp.asarray(np.diff(ends) - context, jnp.int32),  # offsets at which a window fits
        },
        "monitor": jnp.asarray(evenly(text.train, windows, context + 1)),
        "test": jnp.asarray(evenly(text.test, windows, context + 1)),
    }
    model = Windows(
        loss=Chain(layers, next_character),
        order=Order("random", batch_size),
        initialize=Initialize(layers, context),
        context=context,
    )
    return Problem(data, None, model, num_shards=None if shards is None else pieces)


def evenly(codes, number, length):
    """Windows [number, length] of a text, from its beginning to its end."""
    first = np.linspace(0, len(codes) - length, number).astype(np.int64)
    return codes[first[:, None] + np.arange(length)]
