"""A command of every kind, a folder with what it reads, in which nothing runs: for test_bad_commands.py and others."""

import dataclasses
import shlex
import subprocess
from pathlib import Path

import pytest
from good_files import SCRIPT, comparison

import jaxasgd as ja
from jaxasgd import advice

RIGHT = {  # "" is what stands behind the command without an option's name
    "compare": {"--methods": "asgd:learning_rate=0.1", "--until": "5"},
    "plan": {"--step-times": "my.csv", "--noise-to-signal": "3"},
    "record": {"--method": "asgd:learning_rate=0.1", "--updates": "3", "--out": "new.npz"},
    "replay": {"": "r.npz"},
    "list": {"": "all"},
    "plot": {"": "kept"},
    "report": {"": "kept"},
    "reproduce": {"": "two"},
    "doctor": {},
}


def furnish(folder) -> Path:
    """Something of everything in a folder."""
    comparison().save(folder / "kept")
    comparison().save(folder / "cut")
    (folder / "cut/runs.csv").unlink()
    for name in ("full", "experiments"):
        (folder / name).mkdir()
    (folder / "full/notes.md").write_text("mine")
    (folder / "words.txt").write_text("not a number\n")
    (folder / "my.csv").write_text("1.0,2.0\n1.5,2.5\n")
    (folder / "experiments/common.py").write_text("")
    (folder / "experiments/two.py").write_text(SCRIPT)
    for name in ("there.svg", "there.html", "zip.npz"):
        (folder / name).write_text("PK")
    table = ja.simulate(ja.policies.asgd(), ja.times.fixed([1.0, 2.0]), num_updates=3)
    told = {"problem": {"name": "quadratic", "dim": 3}, "method": "asgd", "learning_rate": 0.1, "seed": 0}
    for name, seed in (("r.npz", 0), ("odd.npz", "now")):
        dataclasses.replace(table, info={"replay": told | {"seed": seed}}).save(folder / name)
    return folder


def still(folder, monkeypatch) -> Path:
    """Work in a folder, without data sets; whatever would run is a failure."""
    monkeypatch.chdir(folder)
    monkeypatch.delenv("JAXASGD_DATA", raising=False)
    runs = ((ja, "compare"), (ja, "run"), (advice, "pace"), (ja.runtimes, "threads"), (subprocess, "run"))
    for module, name in runs:
        monkeypatch.setattr(module, name, lambda *a, **k: pytest.fail("it ran"))
    return folder


def line(command, change) -> list[str]:
    """The right words, but for what is changed."""
    words = shlex.split(change)
    said = {word.lstrip("~") for word in words if word.startswith(("--", "~"))}
    if words and not words[0].startswith(("--", "~--")) and command not in ("compare", "doctor"):
        said.add("")
    kept = [word for flag, value in RIGHT[command].items() if flag not in said for word in (flag, value) if word]
    mine = [word for word in words if not word.startswith("~")]
    return [command, *mine, *kept] if "" in said else [command, *kept, *mine]


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def needs(words):
    """Skip where what the line needs is not installed."""
    for word, module in (("digits", "sklearn"), ("digits", "flax"), ("libsvm", "sklearn"), ("plot", "matplotlib")):
        if word in words:
            pytest.importorskip(module)
    if words[0] == "report":
        pytest.importorskip("jinja2")
        pytest.importorskip("markdown_it")
