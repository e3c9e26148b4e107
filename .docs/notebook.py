"""Execute the notebook and keep it with its outputs: `make notebook`.

Only what a reader needs is kept: no times, no versions, no paths. A cell that fails, or that writes to standard error,
ends it, and the file stays as it was.
"""

import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "experiments" / "quickstart.ipynb"
FORMATS = ("image/png", "text/plain")


def execute(path=NOTEBOOK, seconds=600, flags=""):
    """The notebook, run from top to bottom in a fresh kernel with figures as PNG. `flags`: XLA_FLAGS."""
    notebook = nbformat.read(path, as_version=4)
    others = {"MPLBACKEND", "XLA_FLAGS", "JAX_ENABLE_X64"}  # of whoever calls
    env = {name: value for name, value in os.environ.items() if name not in others}
    env |= {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    where = {"metadata": {"path": path.parent}}
    waits = {"timeout": seconds, "iopub_timeout": seconds, "raise_on_iopub_timeout": True}
    quiet = {"record_timing": False, "coalesce_streams": True, "extra_arguments": ["--log-level=40"]}
    client = NotebookClient(notebook, resources=where, **waits, **quiet)
    client.execute(env=env)
    return cleaned(notebook)


def cleaned(notebook):
    """Without what depends on the machine; a figure by its picture alone."""
    language = {"language_info": {"name": "python"}}
    notebook.metadata = nbformat.from_dict({"kernelspec": dict(notebook.metadata.kernelspec), **language})
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({})
        for output in cell.get("outputs", ()):
            if output.output_type == "stream" and output.name == "stderr":
                raise RuntimeError(f"a cell writes to standard error: {output.text}")
            if "data" in output:
                kind = next(kind for kind in FORMATS if kind in output.data)
                output.data, output.metadata = nbformat.from_dict({kind: output.data[kind]}), nbformat.from_dict({})
    return notebook


if __name__ == "__main__":
    nbformat.write(execute(*map(Path, sys.argv[1:])), NOTEBOOK)
