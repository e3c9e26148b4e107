"""`jaxasgd doctor` says what there is and how to add what is not."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from jaxasgd import cli, doctor

pytest.importorskip("tyro", reason="the command is made with tyro")
PROJECT = (Path(__file__).parents[1] / "pyproject.toml").read_text()


def said(capsys):
    assert cli.main(["doctor"]) == 0
    return capsys.readouterr().out


def test_everything_there(capsys, tmp_path, monkeypatch):
    for name in doctor.SETS:
        (tmp_path / name).mkdir()
    monkeypatch.setenv("JAXASGD_DATA", str(tmp_path))
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    text = said(capsys)
    assert "\nmiss" not in text and "Nothing is missing." in text
    assert re.search(r"jax \d+\.\d+", text) and "cpu" in text and str(tmp_path / "mnist") in text


def test_what_is_missing_is_named_with_its_remedy(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("JAXASGD_DATA", str(tmp_path))
    monkeypatch.setattr(doctor, "there", lambda module: module != "ray")
    monkeypatch.setattr(doctor.shutil, "which", lambda name: f"/usr/bin/{name}")
    text = said(capsys)
    assert 'pip install "jaxasgd[ray]"' in text and 'pip install "jaxasgd[plot]"' not in text
    assert "jaxasgd[cuda]" in text and "no such folder: make" in text
    monkeypatch.setenv("JAXASGD_DATA", str(tmp_path / "nowhere"))
    assert "JAXASGD_DATA must name a folder" in said(capsys)
    monkeypatch.delenv("JAXASGD_DATA")
    assert "export JAXASGD_DATA" in said(capsys)


def test_extras_are_those_of_the_package():
    for name in doctor.EXTRAS:
        assert re.search(rf"^{name} = \[", PROJECT, re.MULTILINE)
    assert doctor.there("numpy") and not doctor.there("no_such_package.module")


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion(shell):
    command = [sys.executable, "-m", "jaxasgd", "--tyro-print-completion", shell]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and "jaxasgd" in done.stdout and "reproduce" in done.stdout
