"""Files of any bytes: gone, cut, of another kind, changed at random. No loader runs a pickle; none is forgotten."""

import ast
import gzip
import io
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from good_files import CELLS, EXTRAS, FILES, FREE, SCHEDULE, refused
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxasgd as ja

PACKAGE = Path(ja.__file__).parent


# ------------------------------------------------------------------- any file: gone, empty, cut, of another kind


class Trap:
    """Unpickled, it leaves a file."""

    def __reduce__(self):
        return (open, ("sprung", "w"))


def trap(ending) -> bytes:
    made = io.BytesIO()
    if ending == ".npz":
        np.savez(made, time=np.array([Trap()], object), meta=np.array([Trap()], object))
    else:
        pickle.dump(Trap(), made)
    return gzip.compress(made.getvalue()) if ending == ".gz" else made.getvalue()


@pytest.mark.parametrize("file", [file for file in FILES if file not in EXTRAS])
def test_of_another_kind(here, file, monkeypatch):
    """Nowhere, a folder, no bytes, a picture, a pickle (which is never run), text in Latin-1, another format."""
    path, monkeypatch = here / file, monkeypatch.chdir(here)
    whole = path.read_bytes()
    path.unlink()
    gone = here / "page/made.json"  # which a folder may lack
    assert (refused(file, path) is None) == (path == gone) if file != "script.py" else True
    if file not in ("script.py", "table.csv"):
        path.mkdir()
        assert refused(file, path) is not None or path == gone
        path.rmdir()
    path.write_bytes(b"")
    assert refused(file, path) is not None or file in FREE
    for data in (
        b"\x89PNG\r\n\x1a\n" + bytes(40),
        trap(path.suffix),
        b"\xe9t\xe9\n",
        b"\x1f\x8b" + bytes(9),
        b"[[" * 99999,
    ):
        path.write_bytes(data)
        assert refused(file, path) is not None or (file in FREE and data[:1] == b"["), data[:9]
    assert not (here / "sprung").exists()
    path.write_bytes(whole)
    assert refused(file, path) is None


@pytest.mark.parametrize("file", [file for file in FILES if file not in FREE | set(EXTRAS)])
def test_cut_anywhere(here, file):
    """Refused at every length; a list of steps, and text without its last white space, may end early."""
    path = here / file
    whole = path.read_bytes()
    lengths = {*np.linspace(1, len(whole) - 1, 60).astype(int).tolist(), len(whole) - 1, len(whole) // 2}
    taken = []
    for length in sorted(lengths):
        path.write_bytes(whole[:length])
        if refused(file, path) is None:
            taken.append(whole[length:])
    if file == "steps.csv":
        assert len(taken) < 30
    elif file == "delays.csv":
        assert all(left.endswith(b"\n") for left in taken)
    else:
        assert all(not left.strip() for left in taken), taken


# ------------------------------------------------------------------- any byte


def cells(file, path):
    """All numbers of a file as a flat list of texts."""
    found = FILES[file][1](path)
    if file == "delays.csv":
        return list(map(str, found.tolist()))
    if file == "schedule.csv":
        return [str(cell) for name in SCHEDULE[:10] for cell in getattr(found, name)]
    if file == "plan/plan.csv":
        return [str(cell) for row in found.rows for cell in row]
    told = [str(cell) for run in found.runs for cell in (run.method, run.seed, run.status, *run.summary.values())]
    return told + [str(cell) for run in found.runs for column in run.columns.values() for cell in column]


@settings(max_examples=200, derandomize=True, database=None, deadline=None)
@given(st.sampled_from(sorted(set(FILES) - FREE - set(EXTRAS))), st.data())
def test_any_bytes_changed(good, file, data):
    """Refused with a ValueError that names it, or as many cells differ, at most, as bytes were changed."""
    path = good / file
    whole = path.read_bytes()
    byte = st.sampled_from(b'0123456789.,-+e_"\n\r {}[]:x\x00\xff') if data.draw(st.booleans()) else st.integers(0, 255)
    changes = data.draw(st.lists(st.tuples(st.integers(0, len(whole) - 1), byte), min_size=1, max_size=3))
    changed = bytearray(whole)
    for at, new in changes:
        changed[at] = new
    before = cells(file, path) if file in CELLS else None
    try:
        path.write_bytes(changed)
        if refused(file, path) is None and before is not None:
            after = cells(file, path)
            assert len(after) == len(before)
            assert sum(a != b for a, b in zip(after, before, strict=True)) <= len(changes)
    finally:
        path.write_bytes(whole)


# ------------------------------------------------------------------- none is forgotten

READS = {"open", "read_text", "read_bytes", "loadtxt", "genfromtxt", "fromfile", "ZipFile"}
# functions of the package that open a file to read it: which loader of FILES goes through them, or why none need be
OPENED = {
    "formats.read_npz": "formats.load",
    "formats.read_csv": "formats.load",
    "reading.text": "result_files.load",
    "problems.data._read": "problems.data.libsvm",
    "schedules.read_delays": "schedules.read_delays",
    "times.records.read_steps": "times.records.read_steps",
    "reporting.files.table": "reporting.files.table",
    "reporting.readme.read": "reporting.readme.read",
    "reproduction.header": "reproduction.header",
    "reproduction.rows": "said in a line of a table: test_reproduction.py",
    "reporting.files.blocks": "any bytes, shown as they are",
    "reporting.pictures.picture": "test_report.py: damaged picture",
    "reporting.rendering.page": "the package's own page.css",
    "listing.rewrite": "the README of the source tree: test_page.py",
    "listing.results_below": "damaged folders are told in a line: test_bad_commands.py",
    "sweep_checkpoints.Store.read": "test_checkpoints.py",
    "sweep_checkpoints.store": "test_checkpoints.py",
    "sweep_sizes.host_bytes": "the machine's /proc/meminfo",
}


def calls(tree, prefix=""):
    """(function, call) of all that is called in a module."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield from calls(node, f"{prefix}.{node.name}" if prefix else node.name)
        else:
            if isinstance(node, ast.Call):
                yield prefix, node
            yield from calls(node, prefix)


def test_every_reader_is_known():
    loaders, found = {loader for loader, _ in FILES.values()}, set()
    for path in PACKAGE.rglob("*.py"):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        for function, call in calls(ast.parse(path.read_text())):
            names = set(re.findall(r"\w+", ast.unparse(call.func)))
            mode = [arg.value for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
            if names == {"np", "load"}:
                assert any(word.arg == "allow_pickle" and word.value.value is False for word in call.keywords), module
            elif not names & READS or "w" in "".join(mode) or "os" in names:
                continue
            found.add(f"{module}.{function}")
    assert {name for name in found if name not in OPENED} == set()
    assert set(OPENED) - found == set(), "no longer there"
    assert {where for where in OPENED.values() if " " not in where and ".py" not in where} <= loaders


def test_nothing_loads_pickles():
    """Only messages between a Ray run's own processes are pickles."""
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        names = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
        names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        foreign = {name for name in names if name.split(".")[0] in ("pickle", "joblib", "shelve", "marshal", "dill")}
        assert not foreign or (path.parent.name == "runtimes" and path.name in ("freezing.py", "cluster_run.py")), path
        assert "allow_pickle=True" not in path.read_text()
