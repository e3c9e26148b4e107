"""Readers of data files (written whole, cut at every byte, damaged), bundled sets, and the division among workers."""

import gzip
import os
import struct
import sys
from itertools import permutations, product

import numpy as np
import pytest

import jaxasgd.problems.data as data
from jaxasgd.problems import shard

datasets = pytest.importorskip("sklearn.datasets", reason="data sets and LIBSVM files are read with scikit-learn")
real = pytest.mark.skipif(not os.environ.get("JAXASGD_DATA"), reason="JAXASGD_DATA names no folder of real data sets")
CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def raises(kind, *words):
    """An error whose message holds all these patterns: the rule, the value, the remedy."""
    return pytest.raises(kind, match="(?s)" + "".join(f"(?=.*{word})" for word in words))


def write(path, content):
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path


def idx_bytes(array):
    """IDX as its description says it, written apart from the reader."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, CODES[array.dtype.str[1:]], array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def same(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b, strict=True)


def test_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("JAXASGD_DATA", raising=False)
    assert data.folder() is None
    for value, expected in (("", None), (str(tmp_path), tmp_path)):
        monkeypatch.setenv("JAXASGD_DATA", value)
        assert data.folder() == expected
    for wrong in (tmp_path / "nowhere", write(tmp_path / "a_file", b"x")):
        monkeypatch.setenv("JAXASGD_DATA", str(wrong))
        with raises(FileNotFoundError, "must name a folder", wrong.name, "unset"):
            data.folder()


@pytest.mark.parametrize("read", [data.idx, data.libsvm])
def test_missing_file(tmp_path, read):
    for path in (tmp_path / "nowhere.gz", tmp_path):
        with raises(FileNotFoundError, "must exist", path.name, "fetch"):
            read(path)


# ---- IDX and gzip


@pytest.mark.parametrize("shape", [(1,), (5,), (3, 4), (2, 3, 4), (0, 28, 28), (2, 1, 3, 2, 1)])
@pytest.mark.parametrize("dtype", sorted(CODES))
def test_idx_round_trip(tmp_path, dtype, shape):
    rng = np.random.default_rng(0)
    raw = rng.integers(0, 256, (*shape, int(dtype[1])), dtype=np.uint8)
    array = rng.normal(size=shape).astype(dtype) if dtype[0] == "f" else raw.view(dtype).reshape(shape)
    content = idx_bytes(array)
    for name, held in (("plain", content), ("packed.gz", content), ("packed", gzip.compress(content))):
        found = data.idx(write(tmp_path / name, held))
        assert found.dtype.isnative and found.flags.writeable
        np.testing.assert_array_equal(found, array, strict=True)


def test_idx_is_big_endian(tmp_path):
    content = bytes([0, 0, 0x0B, 1, 0, 0, 0, 2, 0x01, 0x02, 0xFF, 0xFE])
    assert data.idx(write(tmp_path / "array", content)).tolist() == [258, -2]


def test_idx_cut_anywhere_or_any_other_header_is_an_error(tmp_path):
    content = idx_bytes(np.arange(24, dtype="i2").reshape(2, 3, 4))
    damaged = [content[:end] for end in range(len(content))]
    for at, mask in product(range(16), [*(1 << bit for bit in range(8)), 255]):
        damaged.append(content[:at] + bytes([content[at] ^ mask]) + content[at + 1 :])
    for case in damaged:
        with raises(ValueError, "array: ", "must", "fetch"):
            data.idx(write(tmp_path / "array", case))


IDX_DAMAGE = [
    # (damage, words of the error)
    (lambda c: c[:0], ("hold something", "0 bytes", "fetch")),
    (lambda c: c[:3], ("begin with two zero bytes", "00 00 0b:", "fetch")),
    (lambda c: b"\x01" + c[1:], ("begin with two zero bytes", "01 00 0b 03")),
    (lambda c: c[:1] + b"\x01" + c[2:], ("begin with two zero bytes", "00 01 0b 03")),
    (lambda c: c[:2] + b"\x0a" + c[3:], ("dtype code", "08, 09, 0b, 0c, 0d, 0e", "00 00 0a 03")),
    (lambda c: c[:3] + b"\x00" + c[4:], ("1 to 32 dimensions", "00 00 0b 00")),
    (lambda c: c[:3] + b"\x21" + c[4:], ("1 to 32 dimensions", "00 00 0b 21")),
    (lambda c: c[:3] + b"\x20" + c[4:], ("32 dimensions must have 132 bytes", "found 64")),
    (lambda c: c[:15], ("a header of 3 dimensions must have 16 bytes", "found 15")),
    (lambda c: c[:16], (r"shape \(2, 3, 4\)", "must have 64 bytes", "found 16", "cut short")),
    (lambda c: c[:-1], ("must have 64 bytes", "found 63", "cut short", "compare its size")),
    (lambda c: c + b"\0", ("must have 64 bytes", "found 65", "trailing bytes")),
    (lambda c: c[:4] + b"\xff" * 12 + c[16:], ("4294967295", "cut short")),
    (lambda c: b"<!DOCTYPE html><html>not found</html>", ("two zero bytes", "3c 21 44 4f")),
]


@pytest.mark.parametrize(("damage", "words"), IDX_DAMAGE)
@pytest.mark.parametrize("name", ["array", "array.gz"])
def test_idx_damage_is_named(tmp_path, damage, words, name):
    content = idx_bytes(np.arange(24, dtype="i2").reshape(2, 3, 4))
    with raises(ValueError, f"{name}: ", *words):
        data.idx(write(tmp_path / name, damage(content)))


def test_gzip_cut_or_flipped_anywhere_is_an_error_or_harmless(tmp_path):
    array = np.random.default_rng(1).integers(0, 9, (6, 7), dtype=np.uint8)
    packed, path = gzip.compress(idx_bytes(array), mtime=0), tmp_path / "array.gz"
    for damaged in [*(packed[:end] for end in range(1, len(packed))), packed + b"more", b"\x1e" + packed[1:]]:
        path.write_bytes(damaged)
        with raises(ValueError, "array.gz: a gzip file must be whole", f"found {len(damaged)} bytes", "fetch"):
            data.idx(path)
    harmless = {*range(3, 10), len(packed) - 9}  # flags, time, hints, system; the padding before the check sum
    for at, bit in product(range(len(packed)), range(8)):
        path.write_bytes(packed[:at] + bytes([packed[at] ^ (1 << bit)]) + packed[at + 1 :])
        try:
            found = data.idx(path)
        except ValueError:
            continue
        assert at in harmless
        np.testing.assert_array_equal(found, array)


# ---- MNIST


def write_mnist(folder, ending=""):
    rng = np.random.default_rng(5)
    folder.mkdir()
    for stem, size in (("train", 7), ("t10k", 3)):
        images = rng.integers(0, 256, (size, 28, 28), dtype=np.uint8)
        write(folder / f"{stem}-images-idx3-ubyte{ending}", idx_bytes(images))
        write(folder / f"{stem}-labels-idx1-ubyte{ending}", idx_bytes(rng.integers(0, 10, size, dtype=np.uint8)))
    return folder


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_mnist_from_a_folder(tmp_path, monkeypatch, ending):
    monkeypatch.setenv("JAXASGD_DATA", str(tmp_path / "nowhere"))  # plays no part where the folder is given
    X, y, X_test, y_test, name = found = data.mnist(write_mnist(tmp_path / "mnist", ending))
    assert (X.shape, y.shape, X_test.shape, y_test.shape, name) == ((7, 784), (7,), (3, 784), (3,), "mnist")
    assert X.dtype == X_test.dtype == np.float32 and y.dtype == y_test.dtype == np.int32
    pixels = np.random.default_rng(5).integers(0, 256, (7, 28, 28), dtype=np.uint8)
    np.testing.assert_allclose(X.reshape(7, 28, 28) * 255, pixels, rtol=1e-6)  # rows stay rows, in order
    assert X.max() <= 1 and X[pixels.reshape(7, 784) == 255].min() == 1
    monkeypatch.setenv("JAXASGD_DATA", str(tmp_path))
    same(data.images()[:4], found[:4])


def test_mnist_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.delenv("JAXASGD_DATA", raising=False)
    with raises(FileNotFoundError, "JAXASGD_DATA unset", "set it"):
        data.mnist()
    monkeypatch.setenv("JAXASGD_DATA", str(tmp_path))
    with raises(FileNotFoundError, "train-images-idx3-ubyte.gz", "set JAXASGD_DATA"):
        data.mnist()
    (write_mnist(tmp_path / "mnist") / "t10k-labels-idx1-ubyte").unlink()
    for read in (data.mnist, data.images):  # a folder with a hole is no reason to take other images silently
        with raises(FileNotFoundError, "t10k-labels-idx1-ubyte", "set JAXASGD_DATA"):
            read()


@pytest.mark.parametrize(
    ("stem", "array", "words"),
    [
        ("train-labels-idx1-ubyte", np.zeros(6, np.uint8), ("agree in number", "7 in", "6 in", "same origin")),
        ("t10k-images-idx3-ubyte", np.zeros((4, 28, 28), np.uint8), ("agree in number", "4 in", "3 in")),
        ("train-images-idx3-ubyte", np.zeros((7, 28, 27), np.uint8), (r"\[N, 28, 28\]", r"\(7, 28, 27\)")),
        ("train-images-idx3-ubyte", np.zeros((7, 28, 28), np.int8), ("must be uint8", "found int8")),
        ("train-images-idx3-ubyte", np.zeros(7, np.uint8), (r"\[N, 28, 28\]", r"\(7,\)")),
        ("t10k-images-idx3-ubyte", np.zeros((0, 28, 28), np.uint8), (r"\(0, 28, 28\)",)),
        ("train-labels-idx1-ubyte", np.full(7, 10, np.uint8), ("0..9", "up to 10")),
        ("train-labels-idx1-ubyte", np.zeros((7, 1), np.uint8), (r"uint8 \[N\]", r"\(7, 1\)")),
        ("train-labels-idx1-ubyte", np.zeros(7, np.int32), (r"uint8 \[N\]", "found int32")),
    ],
)
def test_mnist_damage_is_named(tmp_path, stem, array, words):
    write(write_mnist(tmp_path / "mnist") / stem, idx_bytes(array))
    with raises(ValueError, stem, *words):
        data.mnist(tmp_path / "mnist")


@real
def test_real_mnist():
    X, y, X_test, y_test, _ = data.mnist()
    assert (X.shape, X_test.shape) == ((60000, 784), (10000, 784)) and (X.min(), X.max()) == (0, 1)
    assert np.bincount(y).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert abs(X.mean() - 0.1307) < 1e-4  # the mean that everybody normalises with


# ---- LIBSVM

GOOD = b"1 1:2 3:0.5\n-1 2:1\n"


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("name", ["set", "set.gz"])
def test_libsvm_round_trip(tmp_path, first, name):
    rng = np.random.default_rng(2)
    X = np.where(rng.random((40, 9)) < 0.4, rng.normal(size=(40, 9)), 0).astype(np.float32)
    y = rng.integers(0, 3, 40).astype(np.float32)
    X[0], X[1, 0], X[2, 8] = 0, 1, 1  # a sample without features; first and last feature do occur
    text = "# a comment\n"
    for label, row in zip(y, X.tolist(), strict=True):
        text += " ".join([f"{label:g}", *(f"{j + first}:{value!r}" for j, value in enumerate(row) if value)]) + "\n"
    path = write(tmp_path / name, text.encode())
    same(data.libsvm(path), (X, y))
    wide, labels = data.libsvm(path, dense=False, num_features=11)
    assert wide.shape == (40, 11) and wide.format == "csr"
    same((wide.toarray()[:, :9], labels), (X, y))


def test_libsvm_counts_from_zero_or_one(tmp_path):
    path = write(tmp_path / "set", b"1 1:5 3:7\n")
    assert data.libsvm(path)[0].tolist() == data.libsvm(path, zero_based=False)[0].tolist() == [[5, 0, 7]]
    assert data.libsvm(path, zero_based=True, num_features=5)[0].tolist() == [[0, 5, 0, 7, 0]]
    write(path, b"1 1:5 3:7\n1 0:2\n")
    assert data.libsvm(path, num_features=4)[0].tolist() == [[0, 5, 0, 7], [2, 0, 0, 0]]
    with raises(ValueError, "num_features=3", "4 columns", "counts from 0 or from 1"):
        data.libsvm(path, num_features=3)
    with raises(ValueError, "indices from 0 or 1", "1 0:2", "line 2"):
        data.libsvm(path, zero_based=False)
    for name, value in (("num_features", 0), ("num_features", 2.5), ("zero_based", "yes"), ("zero_based", 2)):
        with raises(ValueError, name, str(value)):
            data.libsvm(path, **{name: value})


LIBSVM_DAMAGE = [
    # (content, words of the error)
    (b"", ("hold something", "0 bytes")),
    (b"\n\n", ("hold features", "0 labels")),
    (b"# only a comment\n", ("hold features", "0 labels")),
    (b"1\n2\n3\n", ("hold features", "3 labels")),
    (GOOD + b"hello world\n" + GOOD, ("must read", "hello world", "line 3 ", "correct the line")),
    (b"\xef\xbb\xbf" + GOOD, ("line 1 ",)),
    (GOOD + b"1 1:2\x00\n", ("line 3 ",)),
    (b"<!DOCTYPE html>\n<html>not found</html>\n", ("DOCTYPE", "line 1 ")),
    (b"1,2,3\n4,5,6\n", ("1,2,3", "line 1 ")),
    (b"1 2 3\n", ("line 1 ",)),
    (b"1:2 2:3\n", ("line 1 ",)),
    (GOOD + b"1 1:x\n", ("1 1:x", "line 3 ")),
    (GOOD + b"1 1.5:2\n", ("line 3 ",)),
    (GOOD + b"1 -1:2\n", ("line 3 ",)),
    (GOOD + b"1 99999999999:2\n", ("line 3 ",)),
    (GOOD + b"1 3:1 2:1\n", ("increasing", "line 3 ")),
    (GOOD + b"1 2:1 2:3\n", ("increasing", "line 3 ")),
    (GOOD + b"1,2 1:1\n", ("line 3 ",)),
    (GOOD + b"1 1:nan\n" + GOOD, ("finite", "1 that are not", r"sample 3 \(of 5\)", "drop")),
    (GOOD + b"\n# comment\n1 1:1 2:-inf\n", ("finite", r"sample 3 \(of 3\)")),
    (GOOD + b"1 1:1e39\n", ("finite in float32", "sample 3 ")),
    (b"1\n" + GOOD + b"nan 1:1\n1 2:inf\n", ("2 that are not", "sample 4 ")),
    (b"1e39 1:1\n" + GOOD, ("finite in float32", "sample 1 ")),
    (GOOD + b"-1 2:1 3:", ("line 3 ",)),
    (GOOD + b"-1 2:1 3", ("line 3 ",)),
    (GOOD + b"-1 2:1", ("end with a newline", "-1 2:1", "may be cut", "add the newline")),
]


@pytest.mark.parametrize("name", ["set", "set.gz"])
@pytest.mark.parametrize(("content", "words"), LIBSVM_DAMAGE)
def test_libsvm_damage_is_named(tmp_path, content, words, name):
    with raises(ValueError, f"{name}: ", *words):
        data.libsvm(write(tmp_path / name, content))


def test_libsvm_cut_anywhere_is_an_error_but_between_lines(tmp_path):
    content, path = GOOD * 3, tmp_path / "set"
    for end in range(len(content)):
        write(path, content[:end])
        if content[:end].endswith(b"\n"):  # a shorter, sound file
            assert len(data.libsvm(path)[1]) == content[:end].count(b"\n")
        else:
            with raises(ValueError, "set: ", "must", "fetch"):
                data.libsvm(path)


@real
@pytest.mark.parametrize(
    ("name", "shape", "labels"),
    [
        ("a9a.gz", (32561, 123), [-1, 1]),
        ("a9a.t.gz", (16281, 123), [-1, 1]),
        ("w8a.gz", (49749, 300), [-1, 1]),
        ("mushrooms.train.gz", (6513, 126), [0, 1]),
        ("mushrooms.test.gz", (1611, 126), [0, 1]),
    ],
)
def test_real_libsvm(name, shape, labels):
    X, y = data.libsvm(data.folder() / "libsvm" / name, num_features=shape[1], dense=False)
    assert X.shape == shape and X.dtype == y.dtype == np.float32
    assert np.unique(y).tolist() == labels and np.unique(X.data).tolist() == [1]
    np.testing.assert_array_equal(data.binary_labels(y), np.where(y == labels[1], 1, -1))


# ---- labels and bundled sets


@pytest.mark.parametrize("pair", [(0, 1), (1, 2), (-1, 1), (0.0, 1.0), (False, True)])
def test_binary_labels(pair):
    y = np.array([pair[0], pair[1], pair[1], pair[0]])
    np.testing.assert_array_equal(data.binary_labels(y), np.array([-1, 1, 1, -1], np.float32), strict=True)


@pytest.mark.parametrize(
    "y", [[1, 1], [0], [0, 2], [0, 1, 2], [-1, 0, 1], [0.0, 0.5], ["0", "1"], [], [0, 1, np.nan], [[0, 1], [1, 0]], 1]
)
def test_other_labels_are_not_binary(y):
    with raises(ValueError, "0/1, 1/2 or -1/", "found shape", "choose two classes"):
        data.binary_labels(y)


SETS = [("digits", 1797, 64, 10), ("breast_cancer", 569, 30, 2), ("diabetes", 442, 10, None)]


@pytest.mark.parametrize(("name", "rows", "columns", "classes"), SETS)
def test_sklearn_set(name, rows, columns, classes):
    X, y, X_test, y_test, called = found = data.sklearn_set(name, test_fraction=0.25, seed=3)
    held_out = int(np.ceil(rows / 4))
    assert called == name and X.shape == (rows - held_out, columns) and X_test.shape == (held_out, columns)
    assert X.dtype == X_test.dtype == np.float32 and y.dtype == y_test.dtype == (np.int32 if classes else np.float32)
    same(data.sklearn_set(name, test_fraction=0.25, seed=3)[:4], found[:4])
    assert not np.array_equal(X, data.sklearn_set(name, test_fraction=0.25, seed=4).X)
    if classes:  # stratified: no class is off by more than one sample
        tested, both = (np.bincount(part, minlength=classes) for part in (y_test, np.append(y, y_test)))
        assert len(both) == classes and np.abs(tested - both * held_out / rows).max() <= 1

    # together the parts are the bundled set, and the features are standardised by the training part alone
    plain = data.sklearn_set(name, test_fraction=0.25, seed=3, standardize=False)
    raw, target = getattr(datasets, f"load_{name}")(return_X_y=True, **({} if classes else {"scaled": False}))
    expected = np.column_stack([raw / (16 if name == "digits" else 1), target]).astype(np.float32)
    rejoined = np.column_stack([np.concatenate([plain.X, plain.X_test]), np.append(y, y_test)]).astype(np.float32)
    np.testing.assert_array_equal(rejoined[np.lexsort(rejoined.T)], expected[np.lexsort(expected.T)])
    if name == "digits":
        same(plain[:4], found[:4])
        assert X.min() == X_test.min() == 0 and X.max() == X_test.max() == 1
    else:
        mean, deviation = plain.X.mean(axis=0, dtype=float), plain.X.std(axis=0, dtype=float)
        np.testing.assert_allclose(X, (plain.X - mean) / deviation, atol=1e-4)
        np.testing.assert_allclose(X_test, (plain.X_test - mean) / deviation, atol=1e-4)


def test_sklearn_set_whole_and_wrong():
    whole = data.sklearn_set("digits", test_fraction=0)
    assert whole.X.shape == (1797, 64) and whole.X_test is None and whole.y_test is None
    assert whole.y[:10].tolist() == list(range(10))  # the set's own order
    with raises(ValueError, "digits, breast_cancer, diabetes", "iris", "choose"):
        data.sklearn_set("iris")
    for fraction in (-0.1, 1, 1.5, float("nan")):
        with raises(ValueError, r"must be in \[0, 1\)", f"found {fraction}", "choose"):
            data.sklearn_set("digits", test_fraction=fraction)
    with raises(ValueError, "every class", "0.001", "choose"):
        data.sklearn_set("digits", test_fraction=0.001)


def test_images_everywhere(monkeypatch, tmp_path):
    monkeypatch.delenv("JAXASGD_DATA", raising=False)
    assert data.images().name == "digits"
    monkeypatch.setenv("JAXASGD_DATA", str(tmp_path))
    assert data.images().name == "digits"
    write_mnist(tmp_path / "mnist")
    assert data.images().name == "mnist" and data.images(prefer="digits").name == "digits"
    with raises(ValueError, "prefer", "cifar", "choose"):
        data.images("cifar")


def test_without_scikit_learn(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    for call in (lambda: data.sklearn_set("digits"), lambda: data.libsvm(write(tmp_path / "set", GOOD))):
        with raises(ImportError, r'pip install "jaxasgd\[data\]"'):
            call()


# ---- shards

WAYS = [("iid", None), ("contiguous", None), *(("dirichlet", alpha) for alpha in (1e-300, 1e-3, 0.1, 1, 1e3, 1e100))]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("n", "m"), [(1, 1), (2, 2), (7, 3), (10, 10), (10, 9), (100, 1), (101, 7), (300, 299)])
@pytest.mark.parametrize(("how", "alpha"), WAYS)
def test_shards_are_a_partition(n, m, how, alpha, seed):
    for classes in (1, 3, n):
        labels = np.random.default_rng(seed).integers(0, classes, n)
        shards = shard(labels, m, how=how, alpha=alpha, seed=seed)
        assert isinstance(shards, tuple) and len(shards) == m
        assert all(part.dtype == np.int64 and part.ndim == 1 and len(part) for part in shards)
        np.testing.assert_array_equal(np.sort(np.concatenate(shards)), np.arange(n))
        same(shard(labels, m, how=how, alpha=alpha, seed=seed), shards)
        if how != "dirichlet":
            assert max(map(len, shards)) - min(map(len, shards)) <= 1
            same(shard(n, m, how=how, seed=seed), shards)  # labels count by their number alone
        if how == "contiguous":
            np.testing.assert_array_equal(np.concatenate(shards), np.arange(n))


def test_iid_shards_are_uniform():
    trials, counts = 3000, dict.fromkeys(permutations(range(3)), 0)
    for seed in range(trials):
        counts[tuple(int(part[0]) for part in shard(3, 3, seed=seed))] += 1
    error = np.sqrt(1 / 6 * 5 / 6 / trials)
    assert np.abs(np.array(list(counts.values())) / trials - 1 / 6).max() < 4.5 * error


def test_labels_of_any_kind():
    y = np.array([0, 1, 2, 1, 0, 2, 2, 1] * 5)
    reference = shard(y, 3, how="dirichlet", alpha=0.5)
    for labels in (y.tolist(), y.astype(np.uint8), y - 1.0, np.array(["a", "b", "c"])[y]):
        same(shard(labels, 3, how="dirichlet", alpha=0.5), reference)


def class_shares(num_classes, per_class, num_shards, alpha, seeds):
    """[seed, shard, class]: which part of the class lies in the shard."""
    labels = np.arange(num_classes * per_class) % num_classes
    splits = [shard(labels, num_shards, how="dirichlet", alpha=alpha, seed=seed) for seed in seeds]
    counts = [[np.bincount(labels[part], minlength=num_classes) for part in shards] for shards in splits]
    return np.array(counts) / per_class


@pytest.mark.parametrize("alpha", [0.05, 0.5, 1.0, 10.0])
def test_dirichlet_shares_have_the_moments_of_dirichlet(alpha):
    m = 4  # with 10 classes one of 4 shards is seldom empty, so filling does not blur the moments
    shares = class_shares(10, 1000, m, alpha, range(120))
    draws = np.moveaxis(shares, 1, 2).reshape(-1, m)  # independent over seeds and classes
    np.testing.assert_allclose(draws.sum(axis=1), 1)
    error = draws.std(axis=0) / np.sqrt(len(draws))
    assert (np.abs(draws.mean(axis=0) - 1 / m) < 4.5 * error).all()  # no shard is favoured
    squares = (draws**2).sum(axis=1)  # 1 where a class lies in one shard, 1/m where it is spread evenly
    error = squares.std() / np.sqrt(len(squares))
    assert abs(squares.mean() - (alpha + 1) / (m * alpha + 1)) < 4.5 * error
    products = ((shares[:, :, 0] - 1 / m) * (shares[:, :, 1] - 1 / m)).sum(axis=1)  # classes are drawn independently
    assert abs(products.mean()) < 4.5 * products.std() / np.sqrt(len(products))


def test_dirichlet_limits():
    equal = class_shares(8, 500, 5, 1e9, range(5))
    assert (equal == 100 / 500).all()  # the standard deviation of a cut is 0.004 samples, and cuts are rounded
    alone = class_shares(8, 500, 5, 1e-4, range(40))
    assert (alone.max(axis=1) > 1 - 5 / 500).mean() > 0.95  # up to 4 samples may have left to fill shards


def test_dirichlet_samples_are_drawn_at_random_from_their_class():
    n, trials = 40, 2000
    first = np.zeros(n)
    for seed in range(trials):
        first[shard(np.zeros(n, int), 2, how="dirichlet", alpha=1e6, seed=seed)[0]] += 1
    assert np.abs(first / trials - 0.5).max() < 4.5 * np.sqrt(0.25 / trials)


def test_dirichlet_fills_empty_shards_from_the_largest():
    moved = np.zeros(50)
    for seed in range(200):
        shards = sorted(shard(np.zeros(50, int), 10, how="dirichlet", alpha=1e-9, seed=seed), key=len)
        assert [len(part) for part in shards] == [*[1] * 9, 41]  # one class, in one shard: nine moves fill the others
        moved[np.concatenate(shards[:9])] += 1
        sizes = sorted(map(len, shard(np.arange(100) % 2, 6, how="dirichlet", alpha=1e-9, seed=seed)))
        assert sizes in ([1, 1, 1, 1, 48, 48], [1, 1, 1, 1, 1, 95])  # two shards of 50 give in turn
    assert np.abs(moved / 200 - 9 / 50).max() < 4.5 * np.sqrt(9 / 50 * 41 / 50 / 200)  # whom it meets is chance


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((3, 4), {}, ("must have a sample", "4 shards for 3 samples", "fewer shards")),
        (([0, 1], 3), {"how": "dirichlet", "alpha": 1.0}, ("3 shards for 2 samples",)),
        ((0, 1), {}, ("1 shards for 0 samples",)),
        (([], 1), {}, ("1 shards for 0 samples",)),
        ((-3, 1), {}, ("for -3 samples",)),
        ((3, 0), {}, ("found 0 shards", "at least 1")),
        ((3, -1), {}, ("found -1 shards",)),
        ((3, 1.5), {}, ("num_shards", "whole number", "1.5", "give an int")),
        ((3.5, 1), {}, ("number of samples", "whole number", "3.5")),
        (("ten", 1), {}, ("whole number", "ten")),
        ((np.zeros((4, 2)), 2), {}, ("one axis", r"\(4, 2\)", "every sample's class")),
        ((4, 2), {"how": "random"}, ("iid", "contiguous", "dirichlet", "found 'random'", "choose")),
        ((4, 2), {"alpha": 0.1}, ("alpha belongs", "alpha=0.1", "leave alpha out")),
        ((4, 2), {"how": "dirichlet", "alpha": 0.1}, ("class labels", "their number, 4", "give y")),
        (([0, 1], 2), {"how": "dirichlet"}, ("alpha=None", "give")),
        (([0, 1], 2), {"how": "dirichlet", "alpha": 0}, ("alpha=0",)),
        (([0, 1], 2), {"how": "dirichlet", "alpha": -1.0}, ("alpha=-1.0",)),
        (([0, 1], 2), {"how": "dirichlet", "alpha": float("inf")}, ("alpha=inf",)),
        (([0, 1], 2), {"how": "dirichlet", "alpha": float("nan")}, ("alpha=nan",)),
        (([0.5, 1.5], 2), {"how": "dirichlet", "alpha": 1.0}, ("class labels", "float values", "bins")),
        (([0, np.nan], 2), {"how": "dirichlet", "alpha": 1.0}, ("class labels", "float values")),
    ],
)
def test_shard_errors(arguments, options, words):
    with raises(ValueError, *words):
        shard(*arguments, **options)
