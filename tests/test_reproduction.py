"""`jaxasgd reproduce`: it finds the scripts, runs one, and its comparison of numbers is right."""

import shlex
from pathlib import Path

import pytest

from jaxasgd import cli, reproduction

pytest.importorskip("tyro", reason="the command is made with tyro")
ROOT = Path(__file__).parents[1]
SCRIPT = '''"""Two numbers.

Claim     They are
          numbers.
Command   python experiments/two.py --tune       (with data, if there is some)
Cost      no time at all; --quick less.
Expected  3 and 4.

More words.
"""

import argparse, pathlib, sys

parser = argparse.ArgumentParser()
parser.add_argument("--out", type=pathlib.Path)
parser.add_argument("--tune", action="store_true")
parser.add_argument("--quick", action="store_true")
said = parser.parse_args()
sys.exit(5) if said.quick else (said.out / "two.csv").write_text(f"who,number\\na,3\\nb,{4 + 0.02 * said.tune}\\n")
'''


@pytest.fixture
def say(capfd):
    def run(line):
        code = cli.main(shlex.split(line))
        return code, *capfd.readouterr()

    return run


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A source tree with one experiment and its published numbers."""
    for name in ("experiments", "results/two"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "experiments/common.py").write_text('"""No experiment."""\n')
    (tmp_path / "experiments/two.py").write_text(SCRIPT)
    (tmp_path / "results/two/two.csv").write_text("who,number\na,3\nb,4\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_headers_are_read(tree):
    (one,) = reproduction.experiments().values()
    assert (one.name, one.about, one.claim) == ("two", "Two numbers.", "They are numbers.")
    assert (one.command, one.cost, one.expected) == (("--tune",), "no time at all; --quick less.", "3 and 4.")


def test_every_script_of_this_tree_has_a_command_of_its_own(monkeypatch):
    monkeypatch.chdir(ROOT)
    found = reproduction.experiments()
    scripts = {path.stem for path in (ROOT / "experiments").glob("*.py") if "\nClaim " in path.read_text()}
    assert set(found) == scripts and len(found) > 20
    for name, one in found.items():
        assert one.claim and one.cost and one.expected and one.script.name == f"{name}.py"


def test_reproduce(say, tree):
    code, listed, _ = say("reproduce")
    assert code == 0 and "two  Two numbers. (no time at all)" in listed
    code, text, _ = say("reproduce two")
    assert code == 0 and (tree / "reproduced/two/two.csv").is_file()
    assert "two.csv: 3 of 4 numbers equal, 4 within 1%; the largest difference is 0.005" in text
    assert "line 3, number: 4.02, published 4" in text
    for line, words in (
        ("reproduce two", "--overwrite"),
        ("reproduce three", "one of two; got 'three'"),
        ("reproduce two --quick --out q", "exit code 5"),
    ):
        code, _, error = say(line)
        assert code == 2 and words in error
    assert say("reproduce two --overwrite")[0] == 0


def test_without_a_source_tree(say, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reproduction, "__file__", str(tmp_path / "jaxasgd" / "reproduction.py"))
    code, _, error = say("reproduce")
    assert code == 2 and "clone" in error


@pytest.mark.parametrize(
    ("a", "b", "size"),
    [("1", "1", 0), ("1.0", "1", 0), ("2", "1", 0.5), ("-1", "1", 2), ("nan", "NaN", 0), ("a", "b", 9)],
)
def test_apart(a, b, size):
    assert min(reproduction.apart(a, b), 9) == size


def test_tables_that_do_not_fit(tree):
    new = tree / "new"
    new.mkdir()
    assert "not written" in reproduction.beside(new, tree / "results/two")
    (new / "two.csv").write_text("who,number\na,3\n")
    assert "other lines" in reproduction.beside(new, tree / "results/two")
    (new / "two.csv").write_text("who,number\na,3\nb,4\n")
    assert "all 4 numbers equal" in reproduction.beside(new, tree / "results/two")
