"""The notebook runs from top to bottom, and its committed outputs are those of a run."""

import importlib.util
import json
from pathlib import Path

import pytest

pytest.importorskip("nbclient", reason="the notebook is run by nbclient")
ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "experiments" / "quickstart.ipynb"


def test_the_notebook_runs(monkeypatch):
    """No cell fails or writes to standard error, and what is printed is what is committed."""
    spec = importlib.util.spec_from_file_location("notebook", ROOT / ".docs" / "notebook.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.delenv("JAXASGD_DATA", raising=False)
    done, committed = script.execute(), json.loads(NOTEBOOK.read_text())
    kinds = lambda cells: [[output["output_type"] for output in cell.get("outputs", ())] for cell in cells]
    assert kinds(done.cells) == kinds(committed["cells"])
    assert sum(map(bool, kinds(done.cells))) > 10


def test_the_file_is_clean():
    text = NOTEBOOK.read_text()
    assert len(text) < 500_000 and "/home/" not in text and "/tmp/" not in text and "execution" not in json.loads(text)
    for cell in json.loads(text)["cells"]:
        assert cell["metadata"] == {} and "stderr" not in str(cell.get("outputs", ""))
