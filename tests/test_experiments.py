"""Every experiment runs in its small version, and writes what it says."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = {  # script: what it leaves
    "regression.py": ["ratios.csv", "README.md", "regression.svg", "exponential-4/spec.json"],
    "images.py": ["spec.json", "history.csv", "runs.csv", "README.md", "overview.svg"],
    "speed.py": ["speed.csv"],
}


@pytest.mark.parametrize("script", [s if s != "speed.py" else pytest.param(s, marks=pytest.mark.long) for s in SCRIPTS])
def test_quick(script, tmp_path):
    command = [
        sys.executable,
        "-W",
        "error",
        str(ROOT / "experiments" / script),
        "--quick",
        "--out",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert all((tmp_path / "out" / name).stat().st_size for name in SCRIPTS[script])


def test_every_script_is_listed_and_has_its_header():
    scripts = {p.name for p in (ROOT / "experiments").glob("*.py")} - {"common.py"}
    assert scripts == set(SCRIPTS)
    index = (ROOT / "experiments" / "README.md").read_text()
    for name in scripts:
        text = (ROOT / "experiments" / name).read_text()
        assert f"`{name}`" in index
        assert all(f"\n{word} " in text for word in ("Claim", "Command", "Cost", "Expected"))
