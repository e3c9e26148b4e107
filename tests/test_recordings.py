"""The commands record and replay: a run on threads from the shell, and the same updates again."""

import csv
import dataclasses
import json
import shlex
from pathlib import Path

import jax
import numpy as np
import pytest

import jaxasgd as ja
from jaxasgd import building, cli, recordings

pytest.importorskip("tyro", reason="the command is made with tyro")
from jaxasgd import examples, options

RECORD = "record --dim 4 --workers 3 --updates 40 --method asgd --learning-rate 0.1"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JAXASGD_DATA", raising=False)
    return tmp_path


@pytest.fixture
def say(capsys):
    def run(line):
        code = cli.main(shlex.split(line))
        return code, *capsys.readouterr()

    return run


def test_record_and_replay(say):
    code, out, error = say(RECORD + " --seed 5")
    assert (code, error) == (0, "")
    assert "updates a second" in out and "again    jaxasgd replay recorded.npz" in out
    recorded = ja.Schedule.load("recorded.npz")
    assert recorded.num_updates == 40 and recorded.num_workers == 3 and recorded.info["runtime"] == "threads"
    replay = recorded.info["replay"]
    assert replay["problem"] == {"name": "quadratic", "dim": 4, "condition": 10.0, "noise": 0.1}
    assert (replay["method"], replay["learning_rate"], replay["seed"]) == ("asgd", 0.1, 5)
    code, out, error = say("replay recorded.npz --out kept")
    assert (code, error) == (0, "") and "parameters: those of the run, to the bit" in out
    assert "mean delay" in out and "3 workers" in out
    history = ja.run(ja.problems.quadratic(4, 10.0, noise=0.1), recorded, ja.methods.asgd(0.1), key=jax.random.key(5))
    with open("kept/history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    np.testing.assert_array_equal(np.array([row["loss"] for row in rows], np.float32), history.loss)
    np.testing.assert_array_equal(np.array([row["time"] for row in rows], np.float64), history.time)
    assert rows[0]["loss"] not in ("", "nan") and out.splitlines()[0].split() == list(rows[0])
    assert "kept" not in json.dumps(recorded.info)


def test_a_timeline_is_drawn(say):
    pytest.importorskip("matplotlib")
    say(RECORD)
    assert "figure   kept/timeline.svg" in say("replay recorded.npz --out kept")[1]
    assert Path("kept/timeline.svg").stat().st_size > 1000


def test_without_matplotlib_there_is_a_hint(say, monkeypatch):
    say(RECORD)
    monkeypatch.setattr(recordings, "find_spec", lambda name: None)
    assert 'pip install "jaxasgd[plot]"' in say("replay recorded.npz --out kept")[1]


def test_what_is_said_counts_more_than_the_recording(say):
    say(RECORD + " --quiet")
    assert say(RECORD + " --quiet --overwrite") == (0, "", "")
    for other in ("--seed 1", "--noise 0.5", "--learning-rate 0.05", "--method nag_asgd:learning_rate=0.01"):
        code, out, _ = say("replay recorded.npz " + other)
        assert code == 0 and "not those of the run to the bit" in out
    code, out, _ = say("replay recorded.npz --problem toy --batch-size 2")
    assert code == 0 and "not those" in out


def test_shards_and_a_slow_worker(say):
    line = "record --problem toy --shards iid --batch-size 4 --workers 2 --method ringmaster:learning_rate=0.1,bound=2"
    assert say(line + " --slow 1 20 --updates 20 --out slow.csv")[0] == 0
    recorded = ja.Schedule.load("slow.csv")
    assert recorded.info["slow"] == [1.0, 20.0] and recorded.info["bound"] == 2
    assert "those of the run, to the bit" in say("replay slow.csv")[1]


def test_any_schedule_is_replayed(say):
    """One that says nothing of problem and method, a simulated one for example."""
    ja.simulate(ja.policies.asgd(), ja.times.fixed([1.0, 2.0]), num_updates=30).save("mine.npz")
    line = "replay mine.npz --problem quadratic --dim 3 --method asgd:learning_rate=0.1"
    code, out, _ = say(line)
    assert code == 0 and "parameters" not in out and "30 updates" in out


def test_interrupted(say, monkeypatch):
    """What there is, is saved."""
    whole = ja.runtimes.threads

    def stop(*args, **options):
        error = ja.runtimes.Interrupted()
        error.params, error.recorded = whole(*args, **options)
        raise error

    monkeypatch.setattr(ja.runtimes, "threads", stop)
    code, out, error = say(RECORD)
    assert (code, error) == (130, "jaxasgd: interrupted\n") and "recorded recorded.npz" in out
    assert "those of the run, to the bit" in say("replay recorded.npz")[1]


def test_help_teaches(say):
    code, record, error = say("record --help")
    assert code == 0 and not error and record.endswith(examples.RECORD_EXAMPLES)
    replay = say("replay --help")[1]
    assert all(word in say("--help")[1] for word in ("record", "replay"))
    told = {record: (options.LiveOptions, options.RecordOutput), replay: (options.ReplayProblem, options.Replay)}
    for text, groups in told.items():
        assert "None" not in text and "\x1b" not in text
        for group in groups:
            for field in dataclasses.fields(group):
                if field.name not in ("recorded", "problem"):
                    assert building.flags([field.name]) + " " in text
                    assert f"    {field.name}: " in group.__doc__


@pytest.mark.parametrize("line", examples.RECORD_EXAMPLES.split("\n    ")[1:])
def test_examples_of_the_help(say, line):
    if "replay" in line:
        say(RECORD)
    line = line.split("\n")[0].removeprefix("jaxasgd ").replace("1000", "50")
    assert say(line)[::2] == (0, "")


ERRORS = {
    "no method": ("record --updates 3", "a run has a method", "--method asgd"),
    "unknown method": ("record --updates 3 --method asgdd", "did you mean"),
    "no learning rate": ("record --updates 3 --method asgd", "needs learning_rate"),
    "no end": ("record --method asgd --learning-rate 0.1", "num_updates", "until"),
    "endless": ("record --method asgd --learning-rate 0.1 --until inf", "--until", "finite"),
    "too fast": (RECORD + " --slow 0.5", "slow", "1 or more"),
    "slowness of others": (RECORD + " --slow 1 2", "slow", "3 workers"),
    "another file": (RECORD + " --out mine.txt", "'mine.txt'", ".npz"),
    "a file already": (RECORD + " --out there.npz", "'there.npz'", "--overwrite"),
    "nothing to replay": ("replay nowhere.npz", "nowhere.npz"),
    "a recording without method": ("replay there.npz", "does not say its method", "--method"),
    "a recording without problem": ("replay there.npz --method asgd:learning_rate=1", "does not say its problem"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(say, name):
    line, *words = ERRORS[name]
    ja.simulate(ja.policies.asgd(), ja.times.fixed([1.0, 2.0]), num_updates=3).save("there.npz")
    code, _, error = say(line)
    assert code == 2 and all(word in error for word in words), error
    assert error.startswith("jaxasgd: ") and len(error.splitlines()) == 1
