"""A good file of every kind that is read, and what reads it: test_bad_files.py and test_any_bytes.py spoil them."""

import gzip
import json
from pathlib import Path

import numpy as np

import jaxasgd as ja
from jaxasgd import cluster, recordings, reproduction, schedules
from jaxasgd.reporting import files, folders, plans, readme
from jaxasgd.results import Comparison, Run

PACKAGE = Path(ja.__file__).parent

# ------------------------------------------------------------------- a good one of each


def comparison() -> Comparison:
    """Two methods, two seeds, four looks at each."""
    runs, first = [], {}
    for method, bound in (("a, b", 1), ("ring", 2)):
        for seed in (0, 1):
            table = ja.simulate(
                ja.policies.ringmaster(bound=bound), ja.times.exponential([1.0, 2.0]), num_updates=8, seed=seed
            )
            first.setdefault(method, table)
            time = np.linspace(0, table.end, 4)
            update, gradients = np.array([0, 3, 5, 8], np.int32), np.array([0, 4, 7, 9])
            loss = np.float32([2.0, 0.1 + seed, 1e-5, np.nan if bound == 1 else 3e-9])
            columns = {"time": time, "update": update, "gradients": gradients, "loss": loss, "share": loss / 7}
            runs.append(Run(method, seed, "diverged" if bound == 1 else "finished", 8, columns, table.summary()))
    spec = {"until": 9.5, "num_updates": None, "num_workers": 2, "seeds": [0, 1], "methods": {"ring": {"name": "x"}}}
    return Comparison(runs, first, spec | {"doubts": ["ring: so it is."]})


def plan() -> cluster.ClusterPlan:
    rows = [
        cluster.Row("synchronous", 0, 2.5, 20.0, 19.0, 19.5, 0.1),
        cluster.Row("backup", 1, 3.0, 8.0, np.nan, 8.5, 0.25),
        cluster.Row("ASGD", 0, 32.0, np.inf, 9.0, np.inf, np.nan),
    ]
    numbers = np.array([1.0, 2.0, np.inf]), np.array([[0.5] * 3, [1.5] * 3]), np.array([1.0, 2.0, np.inf])
    return cluster.ClusterPlan(rows, 8.0, *numbers, None, {"seeds": 3})


def idx(array) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def recording(path):
    told = {"method": "asgd", "learning_rate": 0.1, "seed": 3, "params": "ab"}
    told["problem"] = {"name": "digits", "batch_size": 8, "hidden": [16], "shards": "none", "alpha": None}
    table = ja.simulate(ja.policies.asgd(), ja.times.fixed([1.0, 2.0]), num_updates=3)
    return ja.Schedule(**{name: getattr(table, name) for name in SCHEDULE} | {"info": {"replay": told}}).save(path)


SCHEDULE = [name for name in ja.Schedule.__dataclass_fields__ if name != "info"]
STEPS = "fast,slow\n0.5,2.0\n0.25,\n1.5,\n"
SCRIPT = '"""Two.\n\nClaim    x.\nCommand  python experiments/two.py\nCost     1 s\nExpected 2.\n"""\n'
MNIST = {"images": idx(np.zeros((3, 28, 28), np.uint8)), "labels": idx(np.array([0, 1, 2], np.uint8))}


def write(folder: Path):
    """A folder with all kinds of files."""
    comparison().save(folder / "results")
    plan().save(folder / "plan")
    table = ja.simulate(ja.policies.asgd(), ja.times.fixed([1.0, 2.0]), num_updates=9)
    for ending in ("npz", "csv", "csv.gz"):
        table.save(folder / f"schedule.{ending}")
    recording(folder / "recording.npz")
    (folder / "steps.csv").write_text(STEPS)
    (folder / "steps.csv.gz").write_bytes(gzip.compress(STEPS.encode()))
    (folder / "delays.csv").write_text("0\n1\n0\n3\n")
    (folder / "two.svm").write_text("+1 1:0.5 3:2\n-1 2:1\n")
    (folder / "text.txt").write_text("to be, or not to be: " * 3)
    (folder / "array.idx").write_bytes(idx(np.arange(12, dtype=np.uint8).reshape(3, 4)))
    for part in ("train", "t10k"):
        for n, kind in ((3, "images"), (1, "labels")):
            (folder / f"{part}-{kind}-idx{n}-ubyte").write_bytes(MNIST[kind])
    (folder / "script.py").write_text(SCRIPT)
    (folder / "table.csv").write_text("a,b\n1,2\n")
    (folder / "page").mkdir()
    (folder / "page/README.md").write_text("# Mine\n")
    (folder / "page/made.json").write_text('{"minutes": 1}')


def page_of(path):
    return readme.read(path.parent, "here", folders.Anchors(), {})


# file: what reads it (the function of the package), and with which function. One of a folder reads the folder.
FILES = {
    "results/spec.json": ("result_files.load", lambda path: ja.results.load(path.parent)),
    "results/history.csv": ("result_files.load", lambda path: ja.results.load(path.parent)),
    "results/runs.csv": ("result_files.load", lambda path: ja.results.load(path.parent)),
    "results/schedule-ring.npz": ("result_files.load", lambda path: ja.results.load(path.parent)),
    "plan/plan.json": ("reporting.plans.load", lambda path: plans.load(path.parent)),
    "plan/plan.csv": ("reporting.plans.load", lambda path: plans.load(path.parent)),
    "schedule.npz": ("formats.load", ja.Schedule.load),
    "schedule.csv": ("formats.load", ja.Schedule.load),
    "schedule.csv.gz": ("formats.load", ja.Schedule.load),
    "recording.npz": ("recordings.replay", lambda path: recordings.told_in(path.name, ja.Schedule.load(path).info)),
    "steps.csv": ("times.records.read_steps", ja.times.read_steps),
    "steps.csv.gz": ("times.records.read_steps", ja.times.read_steps),
    "delays.csv": ("schedules.read_delays", schedules.read_delays),
    "two.svm": ("problems.data.libsvm", ja.problems.libsvm),
    "text.txt": ("problems.texts.text", ja.problems.text),
    "array.idx": ("problems.data.idx", ja.problems.idx),
    "train-images-idx3-ubyte": ("problems.data.mnist", lambda path: ja.problems.mnist(path.parent)),
    "t10k-labels-idx1-ubyte": ("problems.data.mnist", lambda path: ja.problems.mnist(path.parent)),
    "script.py": ("reproduction.header", reproduction.header),
    "table.csv": ("reporting.files.table", files.table),
    "page/README.md": ("reporting.readme.read", page_of),
    "page/made.json": ("reporting.folders.made_of", lambda path: folders.made_of(path.parent)),
}
EXTRAS = {"two.svm": "sklearn", "page/README.md": "markdown_it"}
FREE = {"text.txt", "script.py", "table.csv", "page/README.md"}  # almost any text is one
CELLS = {"results/history.csv", "results/runs.csv", "plan/plan.csv", "schedule.csv", "delays.csv"}  # by the line


def refused(file, path) -> str | None:
    """What the loader says against a file; None where it takes it. Anything but these errors is a failure."""
    try:
        FILES[file][1](path)
    except (ValueError, FileNotFoundError) as error:
        assert path.name in str(error) or str(path.parent) in str(error), error
        assert len(str(error)) < 900 and not isinstance(error, json.JSONDecodeError)
        return str(error)
    return None
