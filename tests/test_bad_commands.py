"""Words that a command can't take: every command, every option, in one table; nothing runs, and no file is touched.

A row of `BAD` is what is said differently from `RIGHT` (`~--until` leaves an option out), and words of the error. More
rows: test_cli.py, test_recordings.py, test_report.py.
"""

import dataclasses
import sys
import typing

import pytest
from good_commands import RIGHT, files, furnish, line, needs, still

from jaxasgd import building, cli

pytest.importorskip("tyro", reason="the command is made with tyro")
import tyro

from jaxasgd import options

PROBLEM = {
    "--problem": [("--problem digitz", "did you mean digits", "'digitz'")],
    "--data": [
        ("--problem libsvm --data nowhere", "nowhere", "must exist"),
        ("--problem libsvm", "--data FILE"),
        ("--problem libsvm --data words.txt", "words.txt", "LIBSVM line", "line 1"),
        ("--problem mnist --data full", "four IDX files", "'full'"),
        ("--problem quadratic --data words.txt", "takes --dim, --condition, --noise", "--data", "leave it out"),
    ],
    "--dim": [
        ("--problem quadratic --dim 0", "--dim", "1 or more", "got 0"),
        ("--problem quadratic --dim many", "--dim", "many"),
        ("--problem quadratic --dim 1.5", "--dim", "1.5"),
        ("--problem quadratic --dim 99999999999999", "--dim", "at most 2147483647"),
    ],
    "--condition": [
        ("--problem quadratic --condition 0.5", "condition", "1 or more", "0.5"),
        ("--problem quadratic --condition nan", "condition", "nan"),
        ("--problem quadratic --condition 1e400", "condition", "inf"),
    ],
    "--noise": [("--problem quadratic --noise -1", "noise", "-1"), ("--problem quadratic --noise nan", "noise", "nan")],
    "--batch-size": [
        ("--problem toy --batch-size 0", "--batch-size", "1 or more"),
        ("--problem quadratic --batch-size 3", "--batch-size", "leave it out"),
    ],
    "--hidden": [
        ("--problem digits --hidden 8 0", "--hidden", "1 or more"),
        ("--hidden wide", "wide"),
    ],
    "--shards": [
        ("--problem toy --shards equal", "contiguous", "'equal'"),
        ("--problem toy --shards iidd", "iid"),
    ],
    "--alpha": [
        ("--problem toy --alpha 1", "--alpha and --shards dirichlet go together"),
        ("--problem digits --shards dirichlet --alpha 0", "alpha", "0"),
        ("--problem digits --shards dirichlet --alpha nan", "alpha", "nan"),
    ],
}
LESS = {option: rows[:1] for option, rows in PROBLEM.items()}  # where the same is said to another command
OVERWRITE = {"--overwrite": [("--overwrite yes", "yes")]}
QUIET = {"--quiet": [("--quiet 1", "1")]}
FULL = [("--out full", "'full' holds files already (notes.md)", "--overwrite"), ("--out full/notes.md/a", "notes.md/a")]
RATE = {"--learning-rate": [("--learning-rate nan", "--learning-rate", "0 or more"), ("--learning-rate -1", "got -1")]}
BAD = {
    "compare": PROBLEM | RATE | OVERWRITE | QUIET | {
        "--tensorboard": [("--tensorboard yes", "yes")],
        "--workers": [("--workers 0", "--workers", "1 or more"), ("--workers 1e3", "--workers", "1e3"),
                      ("--workers 99999999999", "--workers", "at most")],
        "--times": [("--times gama", "did you mean gamma"), ("--times fixed --cv 1", "takes --mean", "--cv")],
        "--mean": [("--mean 0", "mean", "positive"), ("--mean nan", "mean", "nan"), ("--mean slow", "--mean", "slow")],
        "--sigma": [("--times lognormal --sigma -1", "sigma", "-1"), ("--times lognormal --sigma inf", "sigma", "inf")],
        "--cv": [("--times gamma --cv 0", "cv", "0"), ("--times gamma --cv nan", "cv", "nan")],
        "--shift": [("--times shifted_exponential --shift -1", "shift", "-1")],
        "--low": [("--times uniform --low -1", "low", "-1"), ("--times uniform --low 2", "low", "high")],
        "--high": [("--times uniform --high 0.1", "low", "high"), ("--times uniform --high inf", "high", "inf")],
        "--minimum": [("--times pareto --minimum 0", "minimum", "0"), ("--times pareto --minimum 1 --mean 2", "mean")],
        "--tail-index": [("--times pareto --tail-index 1", "--tail-index", "above 1", "--minimum"),
                         ("--times pareto --minimum 1 --tail-index 0", "--tail-index", "above 0")],
        "--spread": [("--spread 0", "--spread", "above 0"), ("--spread nan", "--spread", "nan")],
        "--slowest": [("--slowest -2", "--slowest", "above 0"), ("--slowest inf", "--slowest", "inf")],
        "--methods": [("~--methods", "one method or more", "--methods sync_sgd asgd"), ("--methods agsd", "mean asgd"),
                      ("--methods asgd:rate=1", "learning_rate"), ("--methods asgd:learning_rate=", "NAME:ARGUMENT"),
                      ("--methods asgd:learning_rate=-1", "learning_rate", "-1"),
                      ("--methods asgd:learning_rate=1e999", "learning_rate", "inf"),
                      ("--methods asgd --methods sync_sgd", "--methods 2 times", "spaces between")],
        "--until": [("~--until", "--until SECONDS or at --updates", "neither"), ("--until 0", "--until", "above 0"),
                    ("--until soon", "--until", "soon"), ("--until 5 --until 6", "--until 2 times")],
        "--updates": [("--updates 5", "both"), ("~--until --updates -5", "--updates", "1 or more")],
        "--seeds": [("--seeds 0", "--seeds", "1 or more"), ("--seeds 99999999", "--seeds", "at most 1000000")],
        "--out": [*FULL, ("--out kept", "'kept' holds results already", "--overwrite")],
        "--unknown": [("--updatez 5", "--updatez", "--updates"), ("more", "more")],
    },
    "plan": OVERWRITE | QUIET | {
        "--step-times": [("~--step-times", "--step-times my.csv"), ("--step-times full", "full", "no CSV file"),
                         ("--step-times words.txt", "words.txt", "worker 0", "no steps")],
        "--noise-to-signal": [("~--noise-to-signal", "20"), ("--noise-to-signal -1", "--noise-to-signal", "-1"),
                              ("--noise-to-signal inf", "finite", "inf"), ("--noise-to-signal loud", "loud")],
        "--sync-updates": [("--sync-updates 0", "--sync-updates", "above 0"), ("--sync-updates nan", "nan")],
        "--seeds": [("--seeds 1", "--seeds", "2 or more"), ("--seeds 2.5", "--seeds", "2.5")],
        "--out": FULL,
    },
    "record": LESS | RATE | OVERWRITE | QUIET | {
        "--method": [("~--method", "a run has a method", "--method asgd"), ("--method asgdd", "did you mean asgd")],
        "--workers": [("--workers 0", "--workers", "1 or more"), ("--workers two", "--workers", "two")],
        "--updates": [("--updates 0", "--updates", "1 or more"), ("--updates 1e3", "--updates", "1e3")],
        "--until": [("--until -1", "--until", "above 0"), ("--until inf", "--until", "finite")],
        "--slow": [("--slow fast", "--slow", "fast")],
        "--seed": [("--seed -1", "--seed", "0 or more"), ("--seed 99999999999999999999", "--seed", "at most")],
        "--out": [("--out r.npz", "'r.npz' is there already", "--overwrite"), ("--out full", ".npz"),
                  ("--out a.txt", "'a.txt'", ".npz"), ("--out full/notes.md/a.npz", "notes.md", "can't")],
    },
    "replay": LESS | RATE | OVERWRITE | {
        "recorded": [("~", "RECORDED"), ("nowhere.npz", "nowhere.npz"), ("words.txt", "words.txt", ".csv"),
                     ("zip.npz", "zip.npz"), ("odd.npz", "odd.npz, 'replay',", "'seed'", "'now'")],
        "--method": [("--method asgd", "needs learning_rate"), ("--method agsd", "did you mean asgd")],
        "--seed": [("--seed -1", "--seed", "0 or more"), ("--seed x", "--seed", "x")],
        "--out": FULL,
    },
    "list": {
        "what": [("method", "did you mean methods"), ("methods rules", "rules")],
        "--markdown": [("rules --markdown", "goes with methods"), ("methods --markdown 3", "3")],
    },
    "plot": OVERWRITE | {
        "folder": [("~", "FOLDER"), ("nowhere", "'nowhere' holds no results"), ("full", "'full' holds no results"),
                   ("cut", "'cut' are damaged", "runs.csv is missing")],
        "--against": [("--against seconds", "--against is one of time, update, gradients")],
        "--of": [("--of los", "did you mean loss"), ("--of loss --against x", "--against")],
        "--out": [("--out there.svg", "'there.svg' is there already", "--overwrite"), ("--out full", "is a folder"),
                  ("--out a.pdf", ".svg", "a.pdf"), ("--out full/notes.md/a.svg", "notes.md", "can't")],
    },
    "report": OVERWRITE | {
        "folders": [("~", "one results folder or more"), ("nowhere", "'nowhere' does not exist"),
                    ("kept kept", "twice"), ("cut", "'cut' are damaged", "runs.csv is missing")],
        "--out": [("--out there.html", "'there.html' exists already", "--overwrite"), ("--out a.pdf", "a.html")],
        "--title": [("--title", "--title")],
    },
    "reproduce": OVERWRITE | {
        "name": [("too", "an experiment is one of two", "did you mean two")],
        "--out": [("--out full", "full' holds files already (notes.md)", "--overwrite")],
        "--quick": [("--quick 3", "3")],
    },
    "doctor": {"--unknown": [("--fix", "--fix"), ("all", "all")]},
}  # fmt: skip
ROWS = [(command, change, words) for command, told in BAD.items() for rows in told.values() for change, *words in rows]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return furnish(tmp_path_factory.mktemp("commands"))


@pytest.fixture(autouse=True)
def here(folder, monkeypatch):
    """One folder for all rows: none may change it."""
    return still(folder, monkeypatch)


@pytest.mark.parametrize("command, change, words", ROWS, ids=[f"{command} {change}" for command, change, _ in ROWS])
def test_what_is_said(here, capsys, command, change, words):
    """Exit code 2, one readable message with its rule, nothing on standard output, and every file as it was."""
    said, before = line(command, change), files(here)
    needs(said)
    code = cli.main(said)
    out, error = capsys.readouterr()
    assert (code, out) == (2, ""), error
    assert all(word in " ".join(error.split()) for word in words), error
    assert "Traceback" not in error and "\x1b" not in error and "Errno" not in error
    if error.startswith("jaxasgd: "):  # ours; tyro's are in a box
        assert error.count("\n") == 1 and len(error) < 1000
    assert files(here) == before


# ------------------------------------------------------------------- none is forgotten


def flags_of(command) -> set:
    """All options of a command, those of its groups among them; what has no flag by its name."""
    hints = typing.get_type_hints(command, include_extras=True)
    words = {name: word for base in command.__mro__ for name, word in vars(base).get("__annotations__", {}).items()}
    found = set()
    for field in dataclasses.fields(command):
        if dataclasses.is_dataclass(hints[field.name]):
            found |= flags_of(hints[field.name])
        else:
            found.add(field.name if "Positional" in words[field.name] else building.flags([field.name]))
    return found


def test_no_option_is_forgotten(monkeypatch):
    told = {}
    monkeypatch.setattr(tyro.extras, "subcommand_cli_from_dict", lambda found, **_: told.update(found) or sys.exit(3))
    assert cli.main(["list"]) == 3
    assert set(told) == set(BAD) == set(RIGHT)
    assert {value.__name__ for value in vars(options).values() if dataclasses.is_dataclass(value)} > {
        command.__name__ for command in told.values()
    }
    for name, command in told.items():
        assert flags_of(command) == set(BAD[name]) - {"--unknown"}, name
