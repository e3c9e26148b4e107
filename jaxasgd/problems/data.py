"""Real data sets, read strictly.

The package ships no data. It reads what scikit-learn bundles, files of the user's (LIBSVM text, IDX), and MNIST from
the folder that the environment variable JAXASGD_DATA names. A file whose damage can be seen is an error here, not a
strange curve later.
"""

from __future__ import annotations

import bisect
import gzip
import io
import math
import operator
import os
import pathlib
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..checks import flag, known, shown
from ..checks import path as path_of

_AGAIN = "fetch the file again and compare its size with the origin's"
_SETS = ("digits", "breast_cancer", "diabetes")
_IDX = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MNIST = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


class Dataset(NamedTuple):
    """Arrays to train on and, where the set is split, arrays to test on.

    `X` is [num_samples, num_features] float32. `y` is [num_samples]: int32 for classes 0, 1, ..., float32 for targets.
    `X_test` and `y_test` are alike, or None where the set has no split. `name` says which set this is.
    """

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray | None
    y_test: np.ndarray | None
    name: str


def folder() -> pathlib.Path | None:
    """The folder that the environment variable JAXASGD_DATA names; None where it is unset or empty.

    Raises FileNotFoundError where it names something else than a folder.

    Example:
        >>> import jaxasgd as ja
        >>> where = ja.problems.folder()
        >>> where is None or where.is_dir()
        True
    """
    value = os.environ.get("JAXASGD_DATA")
    if not value:
        return None
    path = pathlib.Path(value).expanduser()
    if not path.is_dir():
        raise FileNotFoundError(f"JAXASGD_DATA must name a folder, found {value!r}: create or unset it")
    return path


def sklearn_set(name: str, *, test_fraction: float = 0.2, seed: int = 0, standardize: bool = True) -> Dataset:
    """One of scikit-learn's bundled real data sets, split into training and test parts.

    `name` is "digits" (1797 x 64, 10 classes), "breast_cancer" (569 x 30, 2 classes) or "diabetes" (442 x 10, targets
    from 25 to 346). `seed` decides the split, stratified where there are classes; `test_fraction=0` keeps the whole set
    in its own order, with None for the test parts. Features get mean 0 and standard deviation 1 over the *training*
    part, unless `standardize=False`; the pixels of digits are scaled to [0, 1] instead, always.

    Raises ValueError for an unknown name or an impossible fraction, ImportError where scikit-learn is missing.

    Example:
        >>> import jaxasgd as ja
        >>> X, y, X_test, y_test, name = ja.problems.sklearn_set("digits")
        >>> X.shape, y.shape, X_test.shape, name
        ((1437, 64), (1437,), (360, 64), 'digits')
    """
    if not isinstance(name, str) or name not in _SETS:
        raise ValueError(f"name must be one of {', '.join(_SETS)}, found {name!r}: choose one of these")
    if not _within(test_fraction, lambda share: 0 <= share < 1):
        raise ValueError(f"test_fraction must be in [0, 1), found {test_fraction!r}: choose, for example, 0.2")
    _whole(seed, "seed", 0, 2**32 - 1)
    flag("standardize", standardize)
    datasets, model_selection = _sklearn()
    # scikit-learn scales diabetes by statistics of all its rows, unless asked not to: the test part would leak.
    options = {"scaled": False} if name == "diabetes" else {}
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True, **options)
    X_test = y_test = None
    if test_fraction > 0:
        strata = None if name == "diabetes" else y
        try:
            parts = model_selection.train_test_split(X, y, test_size=test_fraction, random_state=seed, stratify=strata)
        except ValueError as error:
            raise ValueError(
                f"both parts of {name} must hold samples of every class, found test_fraction={test_fraction!r}, "
                f"seed={seed!r} ({error}): choose, for example, test_fraction=0.2, seed=0"
            ) from error
        X, X_test, y, y_test = parts
    shift, scale = 0.0, 16.0 if name == "digits" else 1.0
    if standardize and name != "digits":
        shift, scale = X.mean(axis=0), X.std(axis=0)
        scale[scale == 0] = 1.0
    label = np.float32 if name == "diabetes" else np.int32
    features = lambda part: ((part - shift) / scale).astype(np.float32)
    if X_test is None or y_test is None:
        return Dataset(features(X), y.astype(label), None, None, name)
    return Dataset(features(X), y.astype(label), features(X_test), y_test.astype(label), name)


def libsvm(
    path: str | Path, *, num_features: int | None = None, dense: bool = True, zero_based: bool | str = "auto"
) -> tuple[Any, np.ndarray]:
    """Features and labels from a LIBSVM text file, plain or gzipped: `label index:value index:value ...` on each line.

    Returns `(X, y)`: X [num_samples, num_features] float32, an array or with `dense=False` a scipy CSR matrix, and
    y [num_samples] float32, the labels as they stand in the file (see `binary_labels`).

    `num_features` widens X to that many columns: a test file often lacks the last features of its training file.
    `zero_based="auto"` takes the indices to count from 0 if index 0 occurs, and from 1, as LIBSVM has it, otherwise.
    A zero-based file in which feature 0 happens not to occur looks one-based: for pairs of files say True or False.

    Raises FileNotFoundError, or ValueError (with the line) for a file that is empty, does not unpack, does not parse,
    does not end with the end of a line, holds a value that is no finite float32, or more features than `num_features`.

    Example:
        >>> import pathlib, tempfile
        >>> import jaxasgd as ja
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "two.txt")
        ...     _ = path.write_text("+1 1:0.5 3:2\\n-1 2:1\\n")
        ...     X, y = ja.problems.libsvm(path)
        >>> X.tolist(), y.tolist()
        ([[0.5, 0.0, 2.0], [0.0, 1.0, 0.0]], [1.0, -1.0])
    """
    flag("dense", dense)
    if num_features is not None and _whole(num_features, "num_features") < 1:
        raise ValueError(f"num_features must be at least 1, found {num_features}: give the number of columns, or None")
    if not isinstance(zero_based, bool) and not (isinstance(zero_based, str) and zero_based == "auto"):
        raise ValueError(f'zero_based must be True, False or "auto", found {zero_based!r}: choose one of these')
    datasets, _ = _sklearn()
    name, text = _read(path)

    def parse(text):
        try:
            return datasets.load_svmlight_file(io.BytesIO(text), zero_based=zero_based)
        except (ValueError, OverflowError) as error:
            return error

    parsed = parse(text)
    if isinstance(parsed, Exception):
        lines = text.split(b"\n")
        ends = range(1, len(lines) + 1)
        line = 1 + bisect.bisect_left(ends, True, key=lambda end: isinstance(parse(b"\n".join(lines[:end])), Exception))
        raise ValueError(
            f"{name}: a LIBSVM line must read 'label index:value index:value ...' with increasing indices from 0 or 1, "
            f"found {lines[line - 1][:60]!r} in line {line} ({parsed}): correct the line, or {_AGAIN}"
        ) from parsed
    if not text.endswith(b"\n"):
        found = f"{text[-30:]!r} at its end, so it may be cut"
        raise ValueError(f"{name}: a LIBSVM file must end with a newline, found {found}: {_AGAIN}, or add the newline")
    X, y = parsed
    if X.nnz == 0:
        raise ValueError(f"{name}: a LIBSVM file must hold features, found {len(y)} labels without any: {_AGAIN}")
    with np.errstate(over="ignore"):
        X, y = X.astype(np.float32), y.astype(np.float32)
    rows = np.searchsorted(X.indptr, np.flatnonzero(~np.isfinite(X.data)), side="right") - 1
    bad = np.append(rows, np.flatnonzero(~np.isfinite(y)))
    if bad.size:
        raise ValueError(
            f"{name}: labels and values must be finite in float32, found {bad.size} that are not, the first in sample "
            f"{bad.min() + 1} (of {len(y)}): correct or drop these samples"
        )
    if X.shape[1] > (num_features or math.inf):
        raise ValueError(
            f"{name}: indices must fit num_features={num_features}, found {X.shape[1]} columns with "
            f"zero_based={zero_based!r}: give more, and see whether the file counts from 0 or from 1"
        )
    X.resize(len(y), num_features or X.shape[1])
    return (X.toarray() if dense else X), y


def binary_labels(y: ArrayLike) -> np.ndarray:
    """Labels 0/1, 1/2 or -1/+1 as float32 -1/+1; the greater of the two becomes +1.

    `y` is [num_samples]; so is the result. Raises ValueError for anything else, also where only one of the two
    labels occurs, because a lone 1 may mean either: convert the labels of the whole set, then take parts of it.

    Example:
        >>> import jaxasgd as ja
        >>> ja.problems.binary_labels([1, 2, 2])
        array([-1.,  1.,  1.], dtype=float32)
    """
    y = np.asarray(y)
    values = np.unique(y).tolist()
    if y.ndim != 1 or values not in ([-1, 1], [0, 1], [1, 2]):
        raise ValueError(
            f"binary labels must be one axis that holds both of 0/1, 1/2 or -1/+1, found shape {y.shape} with values "
            f"{values[:5]}{'...' if len(values) > 5 else ''}: choose two classes and name them so, in the whole set"
        )
    return np.where(y == values[1], 1, -1).astype(np.float32)


def idx(path: str | Path) -> np.ndarray:
    """The array in an IDX file (the format of MNIST), plain or gzipped, in this machine's byte order.

    The header is two zero bytes, a code for the dtype, the number of dimensions and the sizes; the values follow.
    Raises FileNotFoundError, or ValueError where the header is wrong or the file not exactly as long as it says.

    Example:
        >>> import pathlib, tempfile
        >>> import jaxasgd as ja
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "three")
        ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3]) + bytes([5, 6, 7]))  # uint8, one axis, 3 values
        ...     ja.problems.idx(path)
        array([5, 6, 7], dtype=uint8)
    """
    name, raw = _read(path)
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in _IDX or not 1 <= raw[3] <= 32:
        raise ValueError(
            f"{name}: an IDX file must begin with two zero bytes, a dtype code (08, 09, 0b, 0c, 0d, 0e) and 1 to 32 "
            f"dimensions, found the bytes {raw[:4].hex(' ')}: see whether it is an IDX file, and {_AGAIN}"
        )
    dtype, start = np.dtype(_IDX[raw[2]]), 4 + 4 * raw[3]
    if len(raw) < start:
        raise ValueError(f"{name}: a header of {raw[3]} dimensions must have {start} bytes, found {len(raw)}: {_AGAIN}")
    shape = tuple(int.from_bytes(raw[at : at + 4], "big") for at in range(4, start, 4))
    promised = start + math.prod(shape) * dtype.itemsize
    if len(raw) != promised:
        raise ValueError(
            f"{name}: an IDX file of shape {shape} and {dtype.itemsize} bytes a value must have {promised} bytes, "
            f"found {len(raw)} ({'cut short' if len(raw) < promised else 'trailing bytes'}): {_AGAIN}"
        )
    return np.frombuffer(raw, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def mnist(where: str | Path | None = None) -> Dataset:
    """MNIST from its four IDX files, plain or gzipped, in the folder `where` or else in `folder() / "mnist"`.

    X [60000, 784] float32 in [0, 1], y [60000] int32 in 0..9; X_test and y_test have 10000 rows. Any set in the same
    four files (Fashion-MNIST, a selection of rows) is read alike, and called "mnist" too.

    Raises FileNotFoundError where a file is missing, ValueError where one is damaged or images and labels do not agree.

    Example:
        >>> import pathlib, tempfile
        >>> import jaxasgd as ja
        >>> with tempfile.TemporaryDirectory() as folder:  # black squares, called 0
        ...     for part, count in (("train", 2), ("t10k", 1)):
        ...         images = bytes([0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, 28, 0, 0, 0, 28]) + bytes(28 * 28 * count)
        ...         labels = bytes([0, 0, 8, 1, 0, 0, 0, count]) + bytes(count)
        ...         _ = pathlib.Path(folder, f"{part}-images-idx3-ubyte").write_bytes(images)
        ...         _ = pathlib.Path(folder, f"{part}-labels-idx1-ubyte").write_bytes(labels)
        ...     found = ja.problems.mnist(folder)
        >>> found.X.shape, found.X_test.shape, found.name
        ((2, 784), (1, 784), 'mnist')
    """
    if where is None:
        home = folder()
        if home is None:
            raise FileNotFoundError("MNIST must be in a folder, found JAXASGD_DATA unset: set it to one with mnist/")
        where = home / "mnist"
    where, paths = path_of("where", where).expanduser(), []
    for stem in _MNIST:
        found = [path for path in (where / stem, where / f"{stem}.gz") if path.is_file()]
        if not found:
            raise FileNotFoundError(
                f"MNIST must have its four IDX files in one folder, found neither {stem} nor {stem}.gz in "
                f"{str(where)!r}: put it there, set JAXASGD_DATA to a folder that has them in mnist/, or give where="
            )
        paths.append(found[0])

    def part(images_path, labels_path) -> tuple[np.ndarray, np.ndarray]:
        images, labels = idx(images_path), idx(labels_path)
        if images.dtype != np.uint8 or images.shape[1:] != (28, 28) or not len(images):
            found = f"{images.dtype} {images.shape}"
            raise ValueError(f"{images_path.name}: images must be uint8 [N, 28, 28], found {found}: {_AGAIN}")
        if labels.dtype != np.uint8 or labels.ndim != 1 or labels.max(initial=0) > 9:
            found = f"{labels.dtype} {labels.shape} up to {labels.max(initial=0)}"
            raise ValueError(f"{labels_path.name}: labels must be uint8 [N] in 0..9, found {found}: {_AGAIN}")
        if len(images) != len(labels):
            found = f"{len(images)} in {images_path.name}, {len(labels)} in {labels_path.name}"
            raise ValueError(f"images and labels must agree in number, found {found}: take both from the same origin")
        return images.reshape(len(images), 784) / np.float32(255), labels.astype(np.int32)

    return Dataset(*part(*paths[:2]), *part(*paths[2:]), "mnist")


def images(prefer: str = "mnist") -> Dataset:
    """Real images of digits on every machine: MNIST where `folder()` has it, scikit-learn's 8 x 8 digits elsewhere.

    The result's `name` tells which, "mnist" or "digits"; pixels are in [0, 1] and labels in 0..9 in both.
    `prefer="digits"` takes the small set everywhere. A folder mnist/ with a missing or damaged file is an error.

    Example:
        >>> import jaxasgd as ja
        >>> ja.problems.images(prefer="digits").name
        'digits'
    """
    if not isinstance(prefer, str) or prefer not in ("mnist", "digits"):
        raise ValueError(f'prefer must be "mnist" or "digits", found {prefer!r}: choose one of these')
    home = folder() if prefer == "mnist" else None
    return mnist() if home and (home / "mnist").is_dir() else sklearn_set("digits")


def _read(path):
    """The name and the bytes of a file, unpacked where it is gzipped."""
    path = path_of("path", path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"a data file must exist, found none at {str(path)!r}: correct the path or fetch it")
    raw = path.read_bytes()
    if path.suffix == ".gz" or raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (EOFError, OSError, zlib.error) as error:
            found = f"{len(raw)} bytes that do not unpack ({error})"
            raise ValueError(f"{path.name}: a gzip file must be whole, found {found}: {_AGAIN}") from error
    if not raw:
        raise ValueError(f"{path.name}: a data file must hold something, found 0 bytes: {_AGAIN}")
    return path.name, raw


def _whole(value, what, least=-math.inf, most=math.inf):
    try:
        number = math.nan if isinstance(value, (bool, np.bool_)) else operator.index(value)
    except TypeError:
        number = math.nan
    if not least <= number <= most:
        span = "" if least == -math.inf else f", {least} or more"
        raise ValueError(f"{what} must be a whole number{span}, found {shown(value)}: give an int")
    return int(number)


def _within(value, fits):
    """Whether this is a number, and fits."""
    number = known(value)
    return number is not None and not number.ndim and bool(fits(number))


def _sklearn():
    try:
        from sklearn import datasets, model_selection
    except ImportError as error:
        raise ImportError('reading this needs scikit-learn, found none: pip install "jaxasgd[data]"') from error
    return datasets, model_selection
