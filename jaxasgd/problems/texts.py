"""Texts as numbered characters: tiny Shakespeare, an excerpt of it on every machine, or a file of the user's."""

from __future__ import annotations

import hashlib
import pathlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .data import _AGAIN, _read, _within, folder

_TINY = "tinyshakespeare"
_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
_EXCERPT = pathlib.Path(__file__).with_name("shakespeare.txt.gz")


class Text(NamedTuple):
    """Characters by number, to train on and to test on.

    `train` and `test` are [length]: uint8, or int32 where there are more than 256 distinct characters. `vocabulary`
    holds the characters of both parts, sorted: number i is `vocabulary[i]`. `name` says which text this is.
    """

    train: np.ndarray
    test: np.ndarray
    vocabulary: str
    name: str


def text(path: str | Path | None = None, *, prefer: str = _TINY, test_fraction: float = 0.1) -> Text:
    """A text as numbered characters: the first part to train on, the rest, 10 % by default, to test on.

    `path` names a UTF-8 file of yours, plain or gzipped. Without it, this is tiny Shakespeare (1 115 394 characters, 65
    distinct) where `folder()` has text/tinyshakespeare.txt.gz (or .txt), and elsewhere, or with `prefer="excerpt"`, the
    first 100 000 characters of it, which the package holds. The result's `name` tells which: the file's name without
    suffixes, "tinyshakespeare" or "excerpt".

    Tiny Shakespeare: parts of Shakespeare's plays, in the public domain, selected by A. Karpathy for char-rnn (2015).

    Raises FileNotFoundError for a missing file, ValueError for one that is damaged, not UTF-8, or too short to split.

    Example:
        >>> import jaxasgd as ja
        >>> train, test, vocabulary, name = ja.problems.text(prefer="excerpt")
        >>> "".join(vocabulary[code] for code in train[:14]), len(train), len(test), name
        ('First Citizen:', 90000, 10000, 'excerpt')
    """
    if not isinstance(prefer, str) or prefer not in (_TINY, "excerpt"):
        raise ValueError(f'prefer must be "{_TINY}" or "excerpt", found {prefer!r}: choose one of these')
    if not _within(test_fraction, lambda share: 0 < share < 1):
        raise ValueError(
            f"test_fraction must be above 0 and below 1, found {test_fraction!r}: choose, for example, 0.1"
        )
    if path is not None:
        file, characters = _characters(path)
        name = file.split(".")[0] or file
    else:
        found = _tiny() if prefer == _TINY else None
        name = "excerpt" if found is None else _TINY
        file, characters = name, _characters(_EXCERPT)[1] if found is None else _checked(found)
    cut = len(characters) - round(test_fraction * len(characters))
    points = np.frombuffer(characters.encode("utf-32-le"), np.uint32)
    distinct, codes = np.unique(points, return_inverse=True)
    if not 0 < cut < len(characters) or len(distinct) < 2:
        raise ValueError(
            f"{file}: a text must have two distinct characters and fill both parts, found {len(characters)} "
            f"characters, {len(distinct)} distinct, with test_fraction={test_fraction!r}: give a longer one"
        )
    codes = codes.astype(np.uint8 if len(distinct) <= 256 else np.int32)
    return Text(codes[:cut], codes[cut:], "".join(map(chr, distinct)), name)


def _tiny():
    """Where tiny Shakespeare is, or None."""
    home = folder()
    paths = [home / "text" / f"{_TINY}{suffix}" for suffix in (".txt.gz", ".txt")] if home else []
    return next((path for path in paths if path.is_file()), None)


def _checked(path) -> str:
    name, characters = _characters(path)
    if hashlib.sha256(characters.encode()).hexdigest() != _SHA256:
        raise ValueError(
            f"{name}: tiny Shakespeare must have its 1115394 characters, 65 distinct, found {len(characters)}, "
            f"{len(set(characters))} distinct, or others: {_AGAIN}, or give another text as path="
        )
    return characters


def _characters(path) -> tuple[str, str]:
    name, raw = _read(path)
    try:
        return name, raw.decode("utf-8")
    except UnicodeDecodeError as error:
        found = f"the byte {raw[error.start]:#04x} at {error.start}"
        raise ValueError(f"{name}: a text must be UTF-8, found {found}: convert it, or {_AGAIN}") from error
