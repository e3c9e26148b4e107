"""The notebook runs from top to bottom, and leaves what is committed."""

import importlib.util
import json
import os
from pathlib import Path

import pytest

pytest.importorskip("nbclient", reason="the notebook is run by nbclient")
ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "experiments" / "quickstart.ipynb"


def test_the_notebook_runs(monkeypatch):
    """No cell fails or writes to standard error; figures and texts come where the committed ones are.

    Schedules and files are the same everywhere: what such cells print is compared, what training prints is not.
    """
    spec = importlib.util.spec_from_file_location("notebook", ROOT / ".docs" / "notebook.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.delenv("JAXASGD_DATA", raising=False)
    done, committed = script.execute(flags=os.environ.get("XLA_FLAGS", "")), json.loads(NOTEBOOK.read_text())
    kinds = lambda cells: [[output["output_type"] for output in cell.get("outputs", ())] for cell in cells]
    assert kinds(done.cells) == kinds(committed["cells"])
    assert sum(map(bool, kinds(done.cells))) > 10
    for cell, old in zip(done.cells, committed["cells"], strict=True):
        if cell.cell_type == "code" and not any(f"ja.{word}(" in cell.source for word in ("run", "compare", "sweep")):
            said = ["".join(output["text"]) for output in old["outputs"] if "text" in output]
            assert [output.text for output in cell.outputs if "text" in output] == said


def test_the_file_is_clean():
    text = NOTEBOOK.read_text()
    assert len(text) < 500_000 and "/home/" not in text and "/tmp/" not in text and str(ROOT) not in text
    for cell in json.loads(text)["cells"]:
        assert (
            cell["metadata"] == {}
            and ("outputs" not in cell or cell["execution_count"])
            and "stderr" not in str(cell.get("outputs", ""))
        )
