"""Files of a schedule: what is written is the table, whoever reads it; what is damaged is refused, and says where."""

import dataclasses
import gc
import gzip
import io
import json
import re
import struct
import sys
import tracemalloc
import warnings
import zipfile
from time import perf_counter

import cases
import numpy as np
import pytest
from hypothesis import given, settings
from test_columns import tables
from test_schedule import GOOD, made, rich

import jaxasgd as ja
from jaxasgd.schedule import COLUMNS, UNFINISHED, UNFINISHED_COLUMNS

DIRECTORY = b"PK\x01\x02"  # where a zip archive's list of contents begins
WRITTEN = "is not a schedule that Schedule.save wrote"
ENDINGS = ("npz", "csv", "csv.gz")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


# -------------------------------------------------------------- round trip


def again(schedule, folder):
    """Saved, loaded and saved again in each format: the same table and the same bytes."""
    for old in folder.iterdir():
        old.unlink()
    for kind in ENDINGS:
        first = schedule.save(folder / f"first.{kind}")
        loaded = ja.Schedule.load(first)
        assert loaded == schedule and repr(loaded) == repr(schedule), kind
        assert (
            json.dumps(loaded.info) == json.dumps(schedule.info, sort_keys=True)
            and loaded.read.shape == schedule.read.shape
        )
        assert list(loaded.tags) == sorted(schedule.tags) and (loaded.busy is None) == (schedule.busy is None)
        assert loaded.save(folder / f"second.{kind}").read_bytes() == first.read_bytes(), kind
    assert gzip.decompress(first.read_bytes()) == (folder / "first.csv").read_bytes()


def test_files_are_the_table(tmp_path):
    simulated = ja.simulate(ja.policies.synchronous(backup=2), cases.CLOCKS["pareto"](), num_updates=50, seed=3)
    empty = ja.Schedule(**{name: [] for name in GOOD}, num_workers=1, end=0.0)
    for schedule in (made(), rich(), simulated, empty, dataclasses.replace(empty, read=np.zeros((0, 3), int))):
        again(schedule, tmp_path)
    with np.load(simulated.save(tmp_path / "one.npz"), allow_pickle=False) as file:
        assert all(file[name].dtype != object for name in file.files) and "busy" not in file.files
        assert json.loads(str(file["meta"]))["format"] == 1
    with np.load(rich().save(tmp_path / "one.npz"), allow_pickle=False) as file:
        assert file["busy"].tolist() == [0.5, 2.0, 0.25] and json.loads(str(file["meta"]))["format"] == 2


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(tables())
def test_any_legal_table_survives(folder, table):
    again(ja.Schedule(**table), folder)


def test_text_by_hand(tmp_path):
    """What rich() looks like, in full."""
    text = rich().save(tmp_path / "one.csv").read_text()
    meta = {"policy": "asgd", "bound": 3, "rates": [0.1, 1e-300], "nested": {"seed": 0}}
    first, rest = text.split("\n", 1)
    assert json.loads(first.removeprefix("# ")) == {
        "format": 2, "num_workers": 2, "end": 2.5, "status": "stalled", "info": meta, "rows": 3, "unfinished": 1,
    }  # fmt: skip
    assert rest == (
        "time,start,worker,read_0,read_1,visit,repeat,size,use,weight,step,busy,tag:delay,tag:table\n"
        "1.0,0.0,0,0,0,0,0,1,1,1.0,1,0.5,nan,0.0\n"
        "2.0,0.0,1,0,0,0,0,1,1,0.5,0,2.0,3.5,1.0\n"
        "2.0,1.0,0,1,0,1,0,1,1,0.5,1,0.25,nan,0.0\n"
        "#unfinished,worker,kind,read,start,time,size,age,count,seconds\n"
        "#unfinished,1,cancelled,-1,nan,nan,7,3,2,0.125\n"
    )
    shuffled = made().save(tmp_path / "one.csv").read_text().replace("\n", "\r\n").split("\r\n")
    shuffled[1:5] = [",".join(reversed(line.split(","))) for line in shuffled[1:5]]  # as another tool may leave it
    (tmp_path / "one.csv").write_bytes("\r\n".join(shuffled).encode())
    assert ja.Schedule.load(tmp_path / "one.csv") == made()


@pytest.mark.parametrize("info", [{"seed": np.int64(3)}, {"grid": (1, 2)}, {"rate": float("nan")}, {1: 2}], ids=str)
def test_info_survives_a_file(tmp_path, info):
    schedule = made(info=info)
    for kind in ENDINGS:
        assert ja.Schedule.load(schedule.save(tmp_path / f"one.{kind}")) == schedule


def test_endings(tmp_path):
    for save in (made().save, ja.Schedule.load):
        for name in ("table.txt", "table", "npz", "table.csv.npy", "table.gz"):
            (tmp_path / name).touch()
            with pytest.raises(ValueError, match=rf"a schedule is saved as .npz, .csv or .csv.gz; got '{name}'"):
                save(tmp_path / name)
    for kind in ENDINGS:
        with pytest.raises(FileNotFoundError, match=rf"no schedule at .*none\.{kind}"):
            ja.Schedule.load(tmp_path / f"none.{kind}")


def test_text_is_fast_enough(tmp_path):
    """A hundred thousand rows: well below a second each way; the bound leaves room for a loaded machine."""
    schedule = ja.simulate(ja.policies.asgd(), cases.CLOCKS["exponential"](), num_updates=100_000)
    begin = perf_counter()
    path = schedule.save(tmp_path / "one.csv")
    middle = perf_counter()
    assert ja.Schedule.load(path) == schedule
    assert middle - begin < 5 and perf_counter() - middle < 5


# ------------------------------------------------------------------ pandas


def test_frames():
    pandas = pytest.importorskip("pandas")
    schedule = rich()
    frame, lost = schedule.to_pandas(), schedule.to_pandas(unfinished=True)
    flat = [name for name in COLUMNS if name != "read"]
    for name in (*flat, "busy", "version", "seconds"):
        assert (
            frame[name].tolist() == getattr(schedule, name).tolist()
            and frame[name].dtype == getattr(schedule, name).dtype
        )
    for group in (0, 1):
        assert frame[f"read_{group}"].tolist() == schedule.read[:, group].tolist()
        assert frame[f"delay_{group}"].tolist() == schedule.delay[:, group].tolist()
    np.testing.assert_array_equal(frame["tag:delay"], [np.nan, 3.5, np.nan])
    assert set(frame) == {
        *flat,
        "busy",
        "version",
        "seconds",
        "read_0",
        "read_1",
        "delay_0",
        "delay_1",
        "tag:delay",
        "tag:table",
    }
    assert frame.attrs == {"num_workers": 2, "end": 2.5, "status": "stalled", "info": schedule.info} == lost.attrs
    assert list(lost) == list(UNFINISHED_COLUMNS) and lost["kind"].tolist() == ["cancelled"]
    assert lost["count"].tolist() == [2] and lost["seconds"].tolist() == [0.125] and len(lost) == 1
    plain = made().to_pandas()
    assert plain["delay"].tolist() == [0, 1, 0] and "busy" not in plain and not any(":" in name for name in plain)
    plain.loc[0, "time"] = 7.0  # a frame of one's own
    assert isinstance(plain, pandas.DataFrame) and made().time[0] == 1.0


def test_pandas_reads_the_text(tmp_path):
    pandas = pytest.importorskip("pandas")
    times = cases.CLOCKS["lognormal"]()
    for schedule in (rich(), made(), ja.simulate(ja.policies.synchronous(backup=2), times, num_updates=50)):
        for kind in ("csv", "csv.gz"):
            read = pandas.read_csv(schedule.save(tmp_path / f"one.{kind}"), comment="#")
            frame = schedule.to_pandas()
            assert set(frame) - set(read) == {name for name in frame if re.match("version|delay|seconds", name)}
            for name in read:
                np.testing.assert_allclose(read[name].to_numpy(float), frame[name].to_numpy(float), rtol=1e-15)


def test_pandas_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r'a data frame needs pandas: pip install "jaxasgd\[pandas\]"'):
        made().to_pandas()


# ------------------------------------------------------------------ damage


def outcome(path):
    """A checked schedule, or a ValueError that names the file: its message."""
    try:
        loaded = ja.Schedule.load(path)
    except ValueError as error:
        assert f"{path.name!r} {WRITTEN}: " in str(error), error
        return str(error)
    assert ja.Schedule(**{field.name: getattr(loaded, field.name) for field in dataclasses.fields(loaded)}) == loaded
    loaded.summary()
    return loaded


def put(path, data):
    """Write over a file; where one is cut first, some systems take milliseconds."""
    with open(path, "r+b" if path.exists() else "wb") as file:
        file.write(data)
        file.truncate()


def npy(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def claimed(descr, shape, data=b"", order=False):
    """An array's header that says anything, and these bytes."""
    header = f"{{'descr': {descr!r}, 'fortran_order': {order}, 'shape': {shape!r}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data


def members(schedule, folder):
    with zipfile.ZipFile(schedule.save(folder / "whole.npz")) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(path, *parts):
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")  # the same name twice
        for part in parts:
            for name, data in part.items():
                archive.writestr(name, data)
    put(path, file.getvalue())
    return path


def test_damaged_arrays(tmp_path):
    """Each array of a file removed, twice, cut, flipped, of another type or shape: refused, or the change is legal."""
    path, parts, rng = tmp_path / "one.npz", members(rich(), tmp_path), np.random.default_rng(0)
    assert ja.Schedule.load(pack(path, parts)) == rich()
    number, legal = 0, 0
    for name, data in parts.items():
        array = np.load(io.BytesIO(data))
        pickle = npy(np.array([{}] * 3, object), allow_pickle=True)
        refused = {
            "removed": {k: v for k, v in parts.items() if k != name},
            "renamed": {k + "x" * (k == name): v for k, v in parts.items()},
            "empty": parts | {name: b""},
            "objects": parts | {name: pickle},
            "claims objects": parts | {name: claimed("|O", array.shape, data[-8 * array.size :])},
            "voids": parts | {name: claimed("|V8", (3,), bytes(24))},
            "structured": parts | {name: claimed([("a", "<f8")], (3,), bytes(24))},
            "bytes": parts | {name: npy(np.array([b"1", b"2", b"3"]))},
            "complex": parts | {name: npy(np.ones(3, complex))},
            "huge": parts | {name: claimed("<f8", (10**15,), data[-24:])},
            "huge groups": parts | {name: claimed("<i4", (3, 2**60), data[-24:])},
            "overflowing": parts | {name: claimed("<i4", (2**33, 2**33), data[-24:])},
            "negative": parts | {name: claimed("<f8", (-1,), data[-24:])},
            "twice negative": parts | {name: claimed("<f8", (-1, -3), data[-24:])},
            "no numbers": parts | {name: claimed("<f8", ("3",), data[-24:])},
            "too few": parts | {name: data[:-1]},
            "too many": parts | {name: data + b"\0"},
            "four axes": parts | {name: npy(np.zeros((3, 1, 1, 1)))},
            "longer": parts | {name: npy(np.zeros(7, array.dtype if name != "meta.npy" else int))},
            "another version": parts | {name: data[:6] + b"\x07" + data[7:]},
        }
        if name.startswith("tags/") or name == "busy.npy":  # which a table may lack
            assert isinstance(outcome(pack(path, refused.pop("removed"))), ja.Schedule)
        for what, changed in refused.items():
            assert isinstance(outcome(pack(path, changed)), str), (name, what)
        assert "twice" in outcome(pack(path, parts, {name: data})), name
        for kind in ("i8", "f4", "?", "U1", ">f8", "u8"):
            if name != "meta.npy":
                with np.errstate(invalid="ignore"):
                    other = npy(array.astype(kind))
                legal += isinstance(outcome(pack(path, parts | {name: other})), ja.Schedule)
        for place in rng.integers(0, len(data), 20):
            flipped = data[:place] + bytes([data[place] ^ (1 << rng.integers(8))]) + data[place + 1 :]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of NumPy, about headers of Python 2
                legal += isinstance(outcome(pack(path, parts | {name: flipped})), ja.Schedule)
        number += len(refused) + 27
    assert number > 900 and 50 < legal < number / 2


def test_arrays_by_columns(tmp_path):
    """An array that another tool wrote column by column is read as it was meant."""
    path, parts = tmp_path / "one.npz", members(rich(), tmp_path)
    parts["read.npy"] = npy(np.asfortranarray(rich().read, np.int64))
    assert b"'fortran_order': True" in parts["read.npy"] and outcome(pack(path, parts)) == rich()


def test_flags_are_flags(tmp_path):
    """A byte that is neither 0 nor 1 would count as several updates."""
    parts = members(made(), tmp_path)
    data = parts["step.npy"]
    assert "'step' holds flags, 0 or 1" in outcome(pack(tmp_path / "one.npz", parts | {"step.npy": data[:-1] + b"\2"}))


def test_claims_cost_no_memory(tmp_path):
    """Neither a header nor the archive's list makes the loader take more memory than the file can hold."""
    path, parts = tmp_path / "one.npz", members(made(), tmp_path)
    pack(path, parts | {"time.npy": claimed("<f8", (2**34,), bytes(1000))})
    data = pack(tmp_path / "two.npz", parts).read_bytes()
    place = data.index(DIRECTORY)
    listed = data[:place] + data[place : place + 24] + struct.pack("<I", 2**32 - 2) + data[place + 28 :]
    (tmp_path / "two.npz").write_bytes(listed)
    tracemalloc.start()
    try:
        assert "'time' claims shape (17179869184,) of float64, and has 1000 bytes" in outcome(path)
        assert re.search(
            r"its arrays claim \d{10} bytes, more than a file of \d+ can hold", outcome(tmp_path / "two.npz")
        )
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("time.npy", npy(np.zeros(10)))
    assert "'time' is compressed in a way that NumPy does not write" in outcome(path)


def test_damaged_archives(tmp_path):
    """Any byte flipped, any end cut off: refused, or the very same table."""
    path, rng = tmp_path / "one.npz", np.random.default_rng(0)
    whole = rich().save(tmp_path / "whole.npz").read_bytes()
    refused = 0
    for place in rng.integers(0, len(whole), 300):
        put(path, whole[:place] + bytes([whole[place] ^ (1 << rng.integers(8))]) + whole[place + 1 :])
        found = outcome(path)
        refused += isinstance(found, str)
        assert isinstance(found, str) or found == rich(), place
    assert refused > 150
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for length in (0, 10, *rng.integers(10, len(whole), 100).tolist(), len(whole) - 1):
            put(path, whole[:length])
            assert isinstance(outcome(path), str), length
        gc.collect()
    assert not [str(warning.message) for warning in seen]  # no file left open


def test_foreign_archives(tmp_path):
    path, parts = tmp_path / "one.npz", members(made(), tmp_path)
    said = {"": "", "{}": "format is a whole number, 1 or more; got None", "[1]": "its meta is a dict; got list"}
    said |= {
        "no json": "Expecting value",
        "[" * 100_000: "",
        '{"format": 1}': "it lacks num_workers, end, status, info",
    }
    meta = str(np.load(io.BytesIO(parts["meta.npy"])))
    said |= {
        meta.replace('"format": 1', '"format": 99'): "its format is 99, this version reads up to 2: update jaxasgd",
        meta.replace('"format": 1', '"format": true'): "format is a whole number, 1 or more; got True",
        meta.replace('"end": 2.5', '"end": NaN'): "end is a finite number of seconds",
        meta.replace('"info": {}', '"info": 3'): "info is a dict",
    }
    for text, words in said.items():
        assert words in outcome(pack(path, parts | {"meta.npy": npy(np.array(text))})), text[:50]
    assert "'meta' holds text, no int64" in outcome(pack(path, parts | {"meta.npy": npy(np.int64(1))}))
    assert "it holds 'extra.npy', which no schedule has" in outcome(pack(path, parts | {"extra.npy": npy(np.ones(3))}))
    assert "it holds 'a/b.npy', which no schedule has" in outcome(pack(path, parts | {"a/b.npy": npy(np.ones(3))}))
    assert "it holds 'end.npy', which no schedule has" in outcome(pack(path, parts | {"end.npy": npy(np.ones(3))}))
    assert "row 2: a worker can't read" in outcome(pack(path, parts | {"read.npy": npy(np.array([0, 0, 9]))}))
    assert "it lacks weight" in outcome(pack(path, {k: v for k, v in parts.items() if k != "weight.npy"}))
    for content in (b"", b"time,worker\n1,0\n", np.random.default_rng(0).bytes(500), npy(np.ones(3))):
        path.write_bytes(content)
        assert isinstance(outcome(path), str)
    for kind in ("csv", "csv.gz"):
        other = tmp_path / f"one.{kind}"
        for content in (b"", b"\n\n\n", b"time,worker\n1,0\n", gzip.compress(b"# {}\n"), bytes(500), b"# {\xff}\n\n"):
            other.write_bytes(content)
            assert isinstance(outcome(other), str)


def test_damaged_text(tmp_path):
    """Each line and each field changed: refused with the number of the line, or the change is legal."""
    path, number, legal = tmp_path / "one.csv", 0, 0
    lines = rich().save(path).read_text().splitlines()
    head, rows, lost = 1, range(2, 5), 6
    bad = ["", "x", "1.5x", "1e", "0x1", "1_0", "--1", "1;0", "½", "None"]
    odd = ["nan", "inf", "-inf", "-1", "0", "1", "2", "1e999", "9" * 30, "-0.0", "1.5", " 1", "+1", "3", "lost"]

    def load(changed):
        put(path, ("\n".join(changed) + "\n").encode())
        return outcome(path)

    for k, line in enumerate(lines):
        fields = line.split(",")
        for changed in ([], [line, line], [line + ","], [""], ["#"], ["#unfinished"], [line, ""]):
            found = load(lines[:k] + changed + lines[k + 1 :])
            assert isinstance(found, str) and (k == 0 or re.search(r"line \d+\b", found)), (k, changed, found)
            number += 1
        legal += isinstance(load(lines[:k] + [line[:-1]] + lines[k + 1 :]), ja.Schedule)
        if k == 0:
            continue
        for i in range(len(fields)):
            with_field = lambda *new: lines[:k] + [",".join(fields[:i] + list(new) + fields[i + 1 :])] + lines[k + 1 :]
            for new in ([], [fields[i]] * 2, *([one] for one in bad)):
                found = load(with_field(*new))
                line_at_fault = (
                    "line [23]\\b" if k == head else rf"line {k + 1}\b"
                )  # a shorter header fits its rows no more
                assert isinstance(found, str) and re.search(line_at_fault, found), (k, i, new, found)
                number += 1
            for new in odd:
                found = load(with_field(new))
                number, legal = number + 1, legal + isinstance(found, ja.Schedule)
                if isinstance(found, str):  # the line, or a later one that it makes illegal
                    told = re.search(r"line (\d+)", found)
                    assert told is None or int(told[1]) >= k + 1, (k, i, new, found)
                    assert told or "end is not before" in found, found
    assert (
        number > 1500
        and 100 < legal < number / 3
        and lines[head].startswith("time")
        and lines[lost - 1].startswith("#")
    )
    assert all(not lines[k].startswith("#") for k in rows)


@pytest.mark.parametrize("line, old, new, words", [
    (3, "1.0,0.0", "1.0,2.0", "line 3, row 0: a job starts before it arrives; got start=2.0, time=1.0"),
    (5, "2.0,1.0", "1.5,1.0", "line 5, row 2: time never decreases; got time=1.5"),
    (4, "2.0,0.0", "2.0,zero", "line 4: start is a number; got 'zero'"),
    (4, ",1,1,0.5,0", ",1,yes,0.5,0", "line 4: use is 0 or 1; got 'yes'"),
    (4, "2.0,0.0,1", "2.0,0.0,1.0", "line 4: worker is a whole number, int32; got '1.0'"),
    (4, "2.0,0.0,1", "2.0,0.0,9999999999", "line 4: worker is a whole number, int32; got '9999999999'"),
    (4, "2.0,0.0,1", "2.0,0.0", "line 4 has 14 fields, time,start,worker,read_0,"),
    (2, "time,", "clock,", "line 2 names time,start,worker,visit"),
    (7, "cancelled", "gone", "line 7: kind is running, queued, cancelled, timeout, lost; got 'gone'"),
    (7, ",1,canc", ",5,canc", "line 7, unfinished row 0: worker is 0...1; got worker=5"),
    (1, '"rows": 3', '"rows": 4', "line 1 promises 4 rows, found 3: the file is cut off"),
    (1, '"unfinished": 1', '"unfinished": 2', "line 1 promises 2 unfinished, found 1: the file is cut off"),
])  # fmt: skip
def test_a_line_is_named(tmp_path, line, old, new, words):
    path = rich().save(tmp_path / "one.csv")
    lines = path.read_text().split("\n")
    assert old in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(old, new, 1)
    path.write_text("\n".join(lines))
    assert words in outcome(path)


def test_cut_text(tmp_path):
    """However much of the end is missing, it is noticed: no number is mistaken for a shorter one."""
    for kind in ("csv", "csv.gz"):
        path = tmp_path / f"one.{kind}"
        whole = rich().save(path).read_bytes()
        for length in range(len(whole)):
            put(path, whole[:length])
            assert isinstance(outcome(path), str), (kind, length)
    rng, refused = np.random.default_rng(0), 0
    for place in rng.integers(0, len(whole), 100):  # of the compressed one, which has a sum of its own
        put(path, whole[:place] + bytes([whole[place] ^ (1 << rng.integers(8))]) + whole[place + 1 :])
        found = outcome(path)
        refused += isinstance(found, str)
        assert isinstance(found, str) or found == rich()
    assert refused > 80


def test_kinds_of_jobs(tmp_path):
    """Every way to end without a gradient has its word in the text."""
    jobs = len(UNFINISHED)
    lost = {name: np.ones(jobs, dtype) for name, dtype in UNFINISHED_COLUMNS.items()} | {"kind": np.arange(jobs)}
    path = made(unfinished=lost).save(tmp_path / "one.csv")
    assert [line.split(",")[2] for line in path.read_text().splitlines()[-jobs:]] == list(UNFINISHED)
    assert ja.Schedule.load(path).unfinished["kind"].tolist() == list(range(jobs))
