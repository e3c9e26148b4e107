"""Parts of a model for several servers: every leaf is cut into as many runs of coordinates."""

from __future__ import annotations

import math

import numpy as np


def cut(leaves, part, parts):
    """One part of each leaf, flat; a view where the leaf is a NumPy array."""
    bounds = lambda size: (part * size // parts, (part + 1) * size // parts)
    return [leaf.reshape(-1)[slice(*bounds(leaf.size))] for leaf in leaves]


def join(parts, shapes) -> list:
    """The leaves again, in the shapes of `shapes`."""
    whole = []
    for i, shape in enumerate(shapes):
        pieces = [part[i] for part in parts]
        one = np.empty(math.prod(shape.shape), pieces[0].dtype)
        np.concatenate(pieces, out=one)
        whole.append(one.reshape(shape.shape))
    return whole
