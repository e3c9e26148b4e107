"""Nothing that is there is overwritten without being asked; what is missing, or broken off, is said."""

import sys
from pathlib import Path

import numpy as np
import pytest
from good_commands import files, furnish, line, needs, still
from good_files import comparison

import jaxasgd as ja
from jaxasgd import cli, listing, reproduction

pytest.importorskip("tyro", reason="the command is made with tyro")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    return still(furnish(tmp_path), monkeypatch)


@pytest.mark.parametrize("command", ["compare", "plan", "record", "replay", "reproduce"])
def test_the_right_words_run(command):
    """What is varied is right."""
    with pytest.raises(pytest.fail.Exception, match="it ran"):
        cli.main(line(command, ""))


@pytest.mark.parametrize(
    "command, change, held",
    [("compare", "--out full", "full"), ("plan", "--out full", "full"), ("record", "--out r.npz", "r.npz"),
     ("replay", "--out full", "full"), ("reproduce", "--out full", "full")],
)  # fmt: skip
def test_what_is_there_may_be_asked_for(here, capsys, command, change, held):
    """Refused, and with --overwrite it goes on; until there is something to write, what was there stays."""
    before = files(here)
    assert cli.main(line(command, change)) == 2 and "--overwrite" in capsys.readouterr().err
    with pytest.raises(pytest.fail.Exception, match="it ran"):
        cli.main(line(command, change + " --overwrite"))
    assert files(here) == before and Path(held).exists()


def test_pictures_and_pages_may_be_asked_for(here, capsys):
    needs(["plot"])
    assert cli.main(line("plot", "--out there.svg --overwrite")) == 0
    assert cli.main(line("plot", "")) == cli.main(line("plot", "")) == 0  # its own picture is drawn again
    assert Path("there.svg").read_text().startswith("<?xml")
    needs(["report"])
    assert cli.main(line("report", "--out there.html --overwrite")) == 0
    assert Path("there.html").read_text().startswith("<!")


# ------------------------------------------------------------------- the library's own folders


@pytest.mark.parametrize("held", ["spec.json", "history.csv", "runs.csv", "plan.json", "plan.csv", "made.json"])
def test_results_are_never_overwritten_without_being_asked(tmp_path, held):
    (tmp_path / "kept" / "spec.json").unlink()
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / held).write_text("")
    for write in (comparison().save, ja.results.prepare):
        with pytest.raises(ValueError, match=rf"holds results already \({held}\); choose another.*overwrite=True"):
            write(folder)
    comparison().save(folder, overwrite=True)
    assert ja.results.load(folder).methods == ["a, b", "ring"]


def test_what_is_broken_off_is_whole_or_no_results_folder(tmp_path, monkeypatch):
    """What can't be written leaves what was there; broken off within, no old spec.json stands beside new numbers."""
    kept, before = tmp_path / "kept", files(tmp_path)
    fail = lambda *a: (_ for _ in ()).throw(OSError("no space left"))
    with monkeypatch.context() as broken, pytest.raises(OSError):
        broken.setattr(ja.Schedule, "save", fail)
        comparison().save(kept, overwrite=True)
    assert files(tmp_path) == before
    with monkeypatch.context() as broken, pytest.raises(OSError):
        broken.setattr(Path, "replace", lambda path, to: fail() if path.name == "runs.csv" else path.rename(to))
        comparison().save(kept, overwrite=True)
    with pytest.raises(FileNotFoundError, match="holds no results"):
        ja.results.load(kept)


def test_damaged_folders_are_listed():
    Path("results").mkdir()
    comparison().save("results/good")
    for name, text in (("a", "{"), ("b", "[]"), ("c", '{"methods": 3, "seeds": []}')):
        Path("results", name).mkdir()
        Path("results", name, "spec.json").write_text(text)
    found = listing.results_below(ja, "results")
    assert found["results/good"] == "ring; 2 seeds"
    assert [found[f"results/{name}"] for name in "abc"] == ["damaged, or no comparison's"] * 3


@pytest.mark.parametrize("text", ["", "\xff", "who\n1\n2\n", '"who,number\na,3\n'])
def test_published_numbers_that_can_not_be_read(tmp_path, text):
    for name in ("new", "old"):
        Path(name).mkdir()
        Path(name, "n.csv").write_bytes(text.encode("latin-1"))
    assert "n.csv" in reproduction.beside(Path("new"), Path("old"))


# ------------------------------------------------------------------- what is missing

MISSING = {
    "plot": (["plot", "kept"], "matplotlib.pyplot", "jaxasgd[plot]"),
    "data": (["compare", "--problem", "digits"], "sklearn", "jaxasgd[data]"),
    "nets": (["compare", "--problem", "digits"], "flax", "jaxasgd[nets]"),
    "cli": (["list"], "tyro", "jaxasgd[cli]"),
}


@pytest.mark.parametrize("words, module, says", MISSING.values(), ids=MISSING)
def test_missing_extras(capsys, monkeypatch, words, module, says):
    if module != "sklearn":
        needs(words)
    for name in [module, *(name for name in sys.modules if name.startswith(module + "."))]:
        monkeypatch.setitem(sys.modules, name, None)
    right = line("compare", "")[1:] if words[0] == "compare" else []
    assert cli.main([*words, *right]) == 2
    error = capsys.readouterr().err
    assert f'pip install "{says}"' in error and error.count("\n") == 1


def test_too_little_memory(capsys, monkeypatch):
    monkeypatch.setattr(ja, "compare", lambda *a, **k: np.zeros(2**50))
    assert cli.main(line("compare", "")) == 2 and "too little memory" in capsys.readouterr().err
