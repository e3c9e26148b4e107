"""Results, plans and recordings that are not what they should be: every column, every name; what is said, in one table.

Schedules, data sets and checkpoints have tables of their own: test_formats.py, test_data.py, test_checkpoints.py.
"""

import json

import numpy as np
import pytest
from good_files import EXTRAS, FILES, MNIST, SCHEDULE, comparison, idx, plan, refused

import jaxasgd as ja
from jaxasgd import history, result_files
from jaxasgd.reporting import plans


@pytest.mark.parametrize("file", FILES)
def test_the_good_ones_are_read(good, file):
    if file in EXTRAS:
        pytest.importorskip(EXTRAS[file])
    assert refused(file, good / file) is None


def test_what_is_read_is_what_was_saved(here):
    saved, found = comparison(), ja.results.load(here / "results")
    assert found.spec == saved.spec and found.schedules == saved.schedules
    for mine, other in zip(found.runs, saved.runs, strict=True):
        assert (mine.method, mine.seed, mine.status, mine.ended) == (other.method, other.seed, other.status, 8)
        assert repr(mine.summary) == repr(other.summary)
        for name, column in other.columns.items():
            np.testing.assert_array_equal(mine.columns[name], column)
            assert mine.columns[name].dtype == column.dtype
    assert repr(plans.load(here / "plan").rows) == repr(plan().rows)
    assert set(result_files.OUTCOMES) == set(history.WORDS.values())
    spec = json.loads((here / "results/spec.json").read_text())  # as older versions wrote it
    older = {name: value for name, value in spec.items() if name not in ("lines", "format")}
    (here / "results/spec.json").write_text(json.dumps(older))
    assert str(ja.results.load(here / "results")) == str(saved)


# ------------------------------------------------------------------- every field


def edit(old, new):
    return lambda path: path.write_text(swapped(path.read_text(), old, new))


def swapped(text, old, new):
    assert old in text, text
    return text.replace(old, new, 1)


def said(**values):
    """Names of a JSON file with other values; without one where it is `...`."""

    def change(path):
        told = json.loads(path.read_text()) | values
        path.write_text(json.dumps({name: value for name, value in told.items() if value is not ...}))

    return change


# file: {column or name: what it may hold besides what was written}; what is not listed is refused
ANY = {"nan", "inf", "-1", "0.5"}
COLUMNS = {
    "results/history.csv": {"time": {"0.5"}, "loss": ANY, "share": ANY},
    "results/runs.csv": dict.fromkeys(list(comparison().runs[0].summary)[:-1], ANY),
    "plan/plan.csv": {"updates": {"0.5"}, "closed": {"inf", "0.5"}, "simulated": {"inf", "0.5"}}
    | {name: {"nan", "inf", "0.5"} for name in ("expected", "error")}
    | {name: {*ANY, "x", "", "1e400", "1_0"} for name in ("time", "ratio", "advised")},  # not read: computed anew
}
WRONG = {
    "text": "x",
    "below": -1,
    "list": [],
    "names": {},
    "null": None,
    "flag": True,
    "inf": float("inf"),
    "gone": ...,
}
NAMES = {
    "results/spec.json": {"until": {"null", "gone"}, "num_updates": {"null", "gone"}, "num_workers": {"gone"}}
    | {"methods": {"names", "gone"}, "schedules": {"names"}, "columns": set(), "lines": {"names", "gone"}}
    | {"doubts": {"list", "gone"}}
    | {"format": {"gone"}, "seeds": set(WRONG)},  # which are words for a reader
    "plan/plan.json": {name: set() for name in ("noise_to_signal", "seeds", "mean", "spread", "rounds")}
    | {"sync_updates": {"null"}} | {name: {"gone"} for name in ("num_workers", "lines", "format")}
    | {name: set(WRONG) for name in ("advice", "call")},
}  # fmt: skip


@pytest.mark.parametrize("file", COLUMNS)
def test_every_column(here, file):
    path = here / file
    head, *rows = (line.replace('"a, b"', "@").split(",") for line in path.read_text().splitlines())
    assert set(COLUMNS[file]) < set(head)
    write = lambda lines: path.write_text("".join(",".join(line).replace("@", '"a, b"') + "\n" for line in lines))
    for at, name in enumerate(head):
        without = [line[:at] + line[at + 1 :] for line in (head, *rows)]
        write(without)
        needed = name not in ("time", "ratio", "advised") or file != "plan/plan.csv"
        optional = file == "results/runs.csv" and name not in result_files.NEEDED and at > 3
        assert (refused(file, path) is not None) == (needed and not optional), name
        for cell in ("x", "", "nan", "inf", "-1", "1e400", "1_0", "0.5", "@,@"):
            write([head, rows[0], [*rows[1][:at], cell, *rows[1][at + 1 :]], *rows[2:]])
            told = refused(file, path)
            assert (told is None) == (cell in COLUMNS[file].get(name, ())), (name, cell, told)
            assert told is None or "line " in told or name in ("method", "seed"), told


@pytest.mark.parametrize("file", NAMES)
def test_every_name(here, file):
    path = here / file
    whole = path.read_text()
    assert set(NAMES[file]) == set(json.loads(whole))
    for name, may in NAMES[file].items():
        for what, value in WRONG.items():
            said(**{name: value})(path)
            told = refused(file, path)
            assert (told is None) == (what in may), (name, what, told)
            assert told is None or name in told, told
            path.write_text(whole)


def test_every_name_of_a_recording(here):
    path = here / "recording.npz"
    whole = ja.Schedule.load(path)
    may = {
        "method": {"text", "null"},
        "learning_rate": {"null"},
        "seed": set(),
        "problem": {"names"},
        "params": {"text"},
    }
    may |= {"name": {"text"}, "shards": {"text"}, "hidden": {"list"}, "batch_size": set(), "alpha": {"null", "below"}}
    replay = whole.info["replay"]
    assert set(may) == {*replay, *replay["problem"]}
    for name, fine in may.items():
        for what, value in WRONG.items():
            if what in ("gone", "inf"):  # what is not told is not known; JSON of a schedule knows no inf
                continue
            told = replay | ({name: value} if name in replay else {"problem": replay["problem"] | {name: value}})
            ja.Schedule(**{field: getattr(whole, field) for field in SCHEDULE} | {"info": {"replay": told}}).save(path)
            found = refused("recording.npz", path)
            assert (found is None) == (what in fine), (name, what, found)
            assert found is None or (name in found and "recording.npz" in found)


# ------------------------------------------------------------------- what is said

HISTORY, RUNS, SPEC, PLAN = "results/history.csv", "results/runs.csv", "results/spec.json", "plan/plan.csv"
lines = lambda change: lambda path: path.write_text("".join(change(path.read_text().splitlines(keepends=True))))
BAD = {
    "no JSON": (SPEC, edit("{", "["), "spec.json is JSON", "line 2"),
    "a name twice": (SPEC, edit('"until"', '"seeds"'), "'seeds' twice"),
    "a list": (SPEC, lambda path: path.write_text("[1]"), "names and values", "[1]"),
    "from the future": (SPEC, said(format=7), "format 7", "reads up to 1", "update jaxasgd"),
    "another folder's file": (SPEC, said(schedules={"ring": "../schedule.npz"}), "'schedules'", "in the folder"),
    "no file of a schedule": (SPEC, said(schedules={"ring": "x.npz"}), "x.npz is missing", "'ring'"),
    "a dtype": (SPEC, said(columns={"time": "object"}), "'columns'", "its dtype", "object"),
    "whole seconds": (SPEC, edit('"float64"', '"int64"'), "'time' among its columns, a float", "int64"),
    "no metric": (SPEC, said(columns={"time": "f8", "update": "i4", "gradients": "i8"}), "one metric or more"),
    "a damaged schedule": ("results/schedule-ring.npz", lambda path: path.write_bytes(b"PK"), "schedule-ring.npz"),
    "a word": (HISTORY, edit(",0.1,", ",often,"), "history.csv, line 3, loss", "a number, float32", "'often'"),
    "a number too many": (HISTORY, edit(",0.1,", ",0,1,"), "history.csv, line 3 has 7 cells", "got 8"),
    "no float32": (HISTORY, edit(",0.1,", ",1e39,"), "line 3, loss", "float32", "1e39"),
    "time goes back": (HISTORY, lines(lambda all: [*all[:2], all[3], all[2], *all[4:]]), "line 4, time never"),
    "a look is lost": (HISTORY, lines(lambda all: all[:-1]), "history.csv has 16 lines", "got 15", "cut off"),
    "a run is lost": (RUNS, lines(lambda all: all[:-1]), "runs.csv has 4 lines", "got 3"),
    "a run twice": (RUNS, lines(lambda all: [*all[:-1], all[1]]), "line 5, a, b, seed 0", "one line"),
    "a run of another": (RUNS, edit("ring,1", "king,1"), "line 5, king, seed 1", "in history.csv"),
    "an outcome": (RUNS, edit("diverged", "lost"), "line 2, outcome", "finished, target, diverged, stopped", "'lost'"),
    "another end": (RUNS, edit("diverged,8", "diverged,9"), "ended at update 9", "end at 8"),
    "a column of another": (HISTORY, edit("share", "shore"), "line 1 has the columns of spec.json", "shore"),
    "no quotation's end": (HISTORY, edit("ring", '"ring'), "history.csv, line 17 is CSV"),
    "no method": (PLAN, edit("backup", "backups"), "plan.csv, line 3, method is one of synchronous", "'backups'"),
    "a setting": (PLAN, edit("ASGD,0", "ASGD,3"), "plan.csv, line 4, setting of ASGD is 0", "got 3"),
    "no setting": (PLAN, edit("backup,1", "backup,0"), "line 3, setting of backup is 1 or more"),
    "another's first": (PLAN, lines(lambda all: [all[0], *all[2:], all[1]]), "line 2 is synchronous SGD's"),
    "a row is lost": (PLAN, lines(lambda all: all[:-1]), "plan.csv has 3 lines", "got 2", "cut off"),
    "workers": ("plan/plan.json", said(num_workers=2), "2 workers", "3 numbers"),
    "rounds": ("plan/plan.json", said(rounds=[1, 2]), "'rounds' in plan.json is 3 numbers of seconds", "[1, 2]"),
    "spread": ("plan/plan.json", said(spread=[[1, 2, 3]]), "'spread' in plan.json is 2 × 3 numbers"),
    "a nan": ("plan/plan.json", said(mean=["nan", 1, 2]), "'mean' in plan.json", "0 or more"),
    "steps in words": ("steps.csv", edit("2.0", "two"), "'steps.csv', line 2, worker 1 (slow)", "got 'two'"),
    "steps below 0": ("steps.csv", edit("1.5", "-1.5"), "line 4, worker 0 (fast)", "0 or more", "'-1.5'"),
    "a delay's half": ("delays.csv", edit("3", "2.5"), "'delays.csv', line 4", "whole numbers", "'2.5'"),
    "a delay's end": ("delays.csv", edit("3\n", "3"), "'delays.csv', line 4", "cut"),
    "a schedule's cell": ("schedule.csv", edit("\n1.0,", "\nsoon,"), "schedule.csv", "line 3: time", "'soon'"),
    "an array": ("array.idx", lambda path: path.write_bytes(path.read_bytes()[:-1]), "array.idx", "24 bytes", "fetch"),
    "a digit": ("t10k-labels-idx1-ubyte", lambda path: path.write_bytes(idx(np.uint8([0, 1, 77]))), "0..9", "77"),
    "a picture": ("train-images-idx3-ubyte", lambda path: path.write_bytes(MNIST["labels"]), "[N, 28, 28]", "(3,)"),
    "a script": ("script.py", edit("Two", '"""'), "script.py", "a script in Python"),
    "a long line": ("table.csv", edit("2", "2,3"), "table.csv", "3 cells in line 2"),
    "a record": ("page/made.json", edit("{", "[{"), "made.json is JSON", "damaged", "copy the folder again"),
}  # fmt: skip


@pytest.mark.parametrize("file, change, words", [(file, how, words) for file, how, *words in BAD.values()], ids=BAD)
def test_what_is_said(here, file, change, words):
    change(here / file)
    told = refused(file, here / file)
    assert told is not None and all(word in told for word in words), told
    if file.startswith(("results", "plan")):
        assert f"{str((here / file).parent)!r} are damaged" in told and "copy the folder again" in told
