"""TensorBoard's event files: read back, they hold the history, in its own updates and simulated seconds."""

import re
import shlex
import struct
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import optax
import pytest

import jaxasgd as ja
from jaxasgd import cli, events

pytest.importorskip("tensorboardX", reason="event files are written by tensorboardX")
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import masked_crc32c

README = Path(__file__).parents[1] / "README.md"
KEY = jax.random.key(0)
TIMES = ja.times.exponential(1.0, num_workers=3)
METHODS = {"a/b c": ja.methods.asgd(0.1), "..": ja.methods.sync_sgd(0.1)}


def problem():
    data = ja.problems.sklearn_set("breast_cancer")
    return ja.problems.logistic(data.X, ja.problems.binary_labels(data.y), batch_size=8)


def compare(methods=METHODS, seeds=(3, 4), **more):
    return ja.compare(problem(), TIMES, methods, num_updates=6, seeds=seeds, points=2, **more)


def records(path):
    """The events of a file, each with the check sums of its length and of its bytes."""
    data, found = path.read_bytes(), []
    while data:
        (length,), (told,) = struct.unpack("<Q", data[:8]), struct.unpack("<I", data[8:12])
        body, (sum_of_body,) = data[12 : 12 + length], struct.unpack("<I", data[12 + length : 16 + length])
        assert (told, sum_of_body) == (masked_crc32c(data[:8]), masked_crc32c(body))
        found.append(Event.FromString(body))
        data = data[16 + length :]
    return found


def scalars(folder):
    """What a run's folder holds: `{tag: [(wall time, step, value)]}`, over all of its files."""
    found = {}
    for path in sorted(folder.glob("events.out.tfevents.*"), key=lambda path: int(path.suffix[1:])):
        first, *rest = records(path)
        assert first.file_version == "brain.Event:2"
        for event in rest:
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.wall_time, event.step, value.simple_value))
    return found


def expected(time, update, metrics):
    """The same of a history; TensorBoard's numbers are float32."""
    return {
        name: list(zip(time.tolist(), update.tolist(), np.float32(column).tolist(), strict=True))
        for name, column in metrics.items()
    }


def holds(folder, table):
    """Whether a folder holds every run of a comparison, and nothing else."""
    places = {run_folder(folder, run): run for run in table.runs}
    assert set(places) == {path.parent for path in folder.rglob("*tfevents*")} and len(places) == len(table.runs)
    for place, run in places.items():
        metrics = {name: run.columns[name] for name in table.metrics}
        assert scalars(place) == expected(run.columns["time"], run.columns["update"], metrics)


def run_folder(folder, run):
    return events.run_folder(folder, run.method, run.seed)


def test_a_run_as_it_is_made(tmp_path):
    board = ja.results.TensorBoard(tmp_path / "runs")
    schedule, seen = ja.simulate(ja.policies.asgd(), TIMES, num_updates=30, seed=1), []

    def each(now):
        board(now)
        seen.append(len(scalars(board.folder)["loss"]))  # at once: whoever looks sees the run under way

    history = ja.run(problem(), schedule, optax.sgd(0.1), key=KEY, evaluate=10, each=each)
    assert seen == [1, 2, 3, 4]
    metrics = {"loss": history.loss} | history.metrics
    assert "accuracy" in metrics and scalars(board.folder) == expected(history.time, history.update, metrics)


def test_a_comparison(tmp_path):
    """As it is made, and afterwards; a method's name becomes one folder, whatever it holds."""
    board = ja.results.TensorBoard(tmp_path / "live")
    table = compare(each=board)
    holds(board.folder, table)
    again = ja.results.load(table.save(tmp_path / "saved"))
    folder = ja.results.tensorboard(again, tmp_path / "after")
    holds(folder, table)
    assert sorted(path.name for path in folder.iterdir()) == ["%2E%2E", "a%2Fb c"]
    with pytest.raises(ValueError, match=r"holds event files already.*choose another folder, or overwrite=True"):
        ja.results.tensorboard(table, folder)
    (folder / "events.out.tfevents.of-somebody").write_text("mine")
    ja.results.tensorboard(table, folder, overwrite=True)
    assert (folder / "events.out.tfevents.of-somebody").read_text() == "mine"
    (folder / "events.out.tfevents.of-somebody").unlink()
    holds(folder, table)


def test_runs_that_take_turns(tmp_path):
    """Told in any order, by a board or by another one after a stop, each evaluation is in its run's folder."""
    now = lambda seed, update: {"method": "m", "seed": seed, "time": update / 2, "update": update, "loss": 1e300}
    for updates in ((0, 1), (2, 3)):
        board = ja.results.TensorBoard(tmp_path)
        for update in updates:
            for seed in (0, 1):
                board(now(seed, update))
        board.close()
    steps = [(update / 2, update, np.inf) for update in range(4)]  # more than float32 holds
    assert all(scalars(tmp_path / "m" / f"seed-{seed}") == {"loss": steps} for seed in (0, 1))


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a%2Fb", "a b", "lr=0.1, m", "ä", "%", "%2E"])
def test_a_folder_for_every_name(name, tmp_path):
    names = ["", ".", "..", "a/b", "a%2Fb", "a b", "lr=0.1, m", "ä", "%", "%2E"]
    place = events.run_folder(tmp_path, name, 0)
    assert place.resolve().parent.parent == tmp_path.resolve()
    assert [other for other in names if events.run_folder(tmp_path, other, 0) == place] == [name]


def test_the_command(tmp_path, monkeypatch, capsys):
    pytest.importorskip("tyro", reason="the command is made with tyro")
    monkeypatch.chdir(tmp_path)
    line = "compare --dim 3 --workers 2 --seeds 1 --updates 4 --learning-rate 0.2 --out x --methods asgd --tensorboard"
    assert cli.main(shlex.split(line)) == 0
    assert "watch    tensorboard --logdir x/tensorboard\n" in capsys.readouterr().out
    holds(Path("x/tensorboard"), ja.results.load("x"))
    assert cli.main(shlex.split(line.replace("asgd", "sync_sgd") + " --overwrite --quiet")) == 0
    assert capsys.readouterr().out == ""
    holds(Path("x/tensorboard"), ja.results.load("x"))
    assert cli.main(shlex.split(line.replace("--tensorboard", "--overwrite"))) == 0
    assert not list(Path("x").rglob("*tfevents*")), "of another comparison than the folder's"


def test_what_is_refused(tmp_path, monkeypatch):
    table = compare({"m": METHODS["a/b c"]}, seeds=[0])
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="TensorBoard folder can be written"):
        ja.results.TensorBoard(tmp_path / "file")
    with pytest.raises(ValueError, match=r"comparison is what ja\.compare .* returns; got 3"):
        ja.results.tensorboard(3, tmp_path)
    board = ja.results.TensorBoard(tmp_path)
    with pytest.raises(ValueError, match="one evaluation at a time, by each="):
        board(table.runs)
    monkeypatch.setitem(sys.modules, "tensorboardX.record_writer", None)
    for write in (ja.results.TensorBoard, lambda folder: ja.results.tensorboard(table, folder)):
        with pytest.raises(ImportError, match=r'pip install "jaxasgd\[tensorboard\]"'):
            write(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_loggers_of_the_readme():
    """Weights & Biases and MLflow, as the README calls them, are told every evaluation."""
    (block,) = (code for code in re.findall(r"```py\n(.*?)```", README.read_text(), re.DOTALL) if "wandb" in code)
    told = []

    class Open:
        __enter__ = __exit__ = lambda self, *_: None

    log = lambda now, step: told.append((step, now["update"], now["loss"]))
    names = {
        "wandb": SimpleNamespace(init=lambda project: Open(), log=log),
        "mlflow": SimpleNamespace(start_run=Open, log_metrics=log),
        "ja": ja,
        "problem": ja.problems.quadratic(dim=3),
        "schedule": ja.simulate(ja.policies.asgd(), TIMES, num_updates=3),
        "rule": optax.sgd(0.1),
        "key": KEY,
    }
    exec(block, names)
    assert [step for step, *_ in told] == [update for _, update, _ in told] and len(told) == 2 * len(set(told))
