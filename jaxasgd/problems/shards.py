"""The division of samples among workers: one shard each."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .data import _whole, _within


def shard(
    samples: int | ArrayLike, num_shards: int, *, how: str = "iid", alpha: float | None = None, seed: int = 0
) -> tuple[np.ndarray, ...]:
    """Split samples among workers: one shard each, every sample in exactly one shard, no shard empty.

    `samples` is the number of samples, or their labels [num_samples]. A shard is an int64 array of sample indices.

    - `how="iid"`: a random permutation, cut in parts whose lengths differ by at most one.
    - `how="contiguous"`: the same cut of 0, 1, 2, ... in order (`seed` plays no part).
    - `how="dirichlet"`: by label. For every class, independently, the shares of the shards are drawn from
      Dirichlet(alpha, ..., alpha), and the class, shuffled, is cut at the rounded cumulative shares. Large alpha: equal
      shares of every class; small alpha: a class lies in few shards, and sizes differ much.

    The Dirichlet scheme is that of Yurochkin et al. (ICML 2019, arXiv 1905.12022) and Li, Diao, Chen, He (ICDE 2022,
    arXiv 2102.02079), the one in wide use. Hsu, Qi, Brown (arXiv 1909.06335), often cited for it, instead draw every
    *client's* distribution over classes from Dirichlet(alpha * prior), with equal sizes: their alpha is another number.
    A draw may leave shards empty. Each of them, in order, is then given one random sample of the shard that is largest
    at that moment (the first of equals): the fewest moves that fill all, from where they change least. Redrawing until
    none is empty, which others do, distorts the distribution and may never end.

    Raises ValueError for more shards than samples, for "dirichlet" without labels or alpha, for alpha elsewhere.

    Example:
        >>> import jaxasgd as ja
        >>> ja.problems.shard(7, 3, how="contiguous")
        (array([0, 1, 2]), array([3, 4]), array([5, 6]))
        >>> [len(part) for part in ja.problems.shard([0, 0, 1, 1, 1, 1], 2, how="dirichlet", alpha=1e9)]
        [3, 3]
    """
    labels = np.asarray(samples)
    if labels.ndim > 1:
        raise ValueError(f"labels must have one axis, found shape {labels.shape}: give every sample's class, or len(X)")
    num_samples = len(labels) if labels.ndim else _whole(samples, "the number of samples")
    num_shards = _whole(num_shards, "num_shards")
    if not 1 <= num_shards <= num_samples:
        found = f"{num_shards} shards for {num_samples} samples"
        raise ValueError(f"every shard must have a sample, found {found}: choose fewer shards, at least 1")
    if not isinstance(how, str) or how not in ("iid", "contiguous", "dirichlet"):
        raise ValueError(f'how must be "iid", "contiguous" or "dirichlet", found {how!r}: choose one of these')
    if how != "dirichlet" and alpha is not None:
        raise ValueError(f'alpha belongs to how="dirichlet", found alpha={alpha!r} with how={how!r}: leave alpha out')
    rng = np.random.default_rng(_whole(seed, "seed", 0))
    order = np.arange(num_samples, dtype=np.int64)
    if how == "iid":
        order = rng.permutation(order)
    if how != "dirichlet":
        return tuple(np.array_split(order, num_shards))
    if not _within(alpha, lambda number: 0 < number <= 1e100):
        raise ValueError(f'how="dirichlet" must have alpha in (0, 1e100], found alpha={alpha!r}: give, say, alpha=0.5')
    if not labels.ndim or (labels.dtype.kind == "f" and not np.all(labels == np.rint(labels))):
        found = "float values" if labels.ndim else f"only their number, {num_samples}"
        raise ValueError(f'how="dirichlet" must have class labels, found {found}: give y, put in bins if continuous')
    return _dirichlet(labels, num_shards, alpha, rng)


def _dirichlet(labels, num_shards, alpha, rng):
    owner = np.empty(len(labels), np.int64)
    _, counts = np.unique(labels, return_counts=True)
    for members in np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1]):
        cuts = np.rint(len(members) * np.cumsum(rng.dirichlet(np.full(num_shards, float(alpha))))[:-1])
        owner[rng.permutation(members)] = np.searchsorted(cuts, np.arange(len(members)), side="right")
    sizes = np.bincount(owner, minlength=num_shards)
    for empty in np.flatnonzero(sizes == 0):
        largest = sizes.argmax()
        owner[rng.choice(np.flatnonzero(owner == largest))] = empty
        sizes[[largest, empty]] += [-1, 1]
    order = rng.permutation(np.arange(len(labels), dtype=np.int64))
    return tuple(np.split(order[np.argsort(owner[order], kind="stable")], np.cumsum(sizes)[:-1]))
