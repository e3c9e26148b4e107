"""Every experiment runs in its small version, and writes what it says."""

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import scripts

import jaxasgd as ja
from jaxasgd import reproduction

ROOT = Path(__file__).parents[1]
SCRIPTS = {  # script: what it leaves
    "softsync.py": ["delays.csv", "late.csv", "runs.csv", "curves.csv", "README.md", "softsync.svg", "tuning.svg"],
    "dana.py": ["runs.csv", "curves.csv", "README.md", "dana.svg", "tuning.svg"],
    "regression.py": ["ratios.csv", "README.md", "regression.svg", "exponential-4/spec.json"],
    "images.py": ["spec.json", "history.csv", "runs.csv", "README.md", "overview.svg"],
    "diloco.py": ["spec.json", "history.csv", "README.md", "overview.svg"],
    "pipeline.py": ["spec.json", "history.csv", "README.md", "overview.svg"],
    "recorded_delays.py": ["ratios.csv", "curves.csv", "README.md", "recorded_delays.svg"],
    "portraits.py": ["README.md", "timelines-4.svg", "staleness-4.png", "timelines-1000.png", "staleness-1000.png"],
    "cluster_plan.py": ["clusters.csv", "optimisation.csv", "README.md", "cluster_plan.svg", "example/plan.csv"],
    "hosts.py": ["hosts.json"],
    "building.py": ["building.csv", "README.md"],
    "imports.py": ["seconds.csv", "README.md"],
    "bench_events.py": ["events.json", "events.svg"],
    "bench_rates.py": ["rates.json", "rates.svg"],
    "bench_sweeps.py": ["sweeps.json", "sweeps.svg"],
    "bench_torch.py": ["torch.json", "torch.svg"],
    "bench_ray.py": ["ray.json", "ray.svg"],
    "bench_scan.py": ["scan.json", "scan.svg"],
    "bench_workers.py": ["workers.json", "workers.svg"],
    "bench_model.py": ["model.json", "model.md", "model.svg"],
    "bench_accelerator.py": ["accelerator.json", "accelerator.md"],
    "throughput.py": ["throughput.json", "README.md"],
    "reality.py": ["distances.csv", "README.md", "reality.svg"],
    "implicit_momentum.py": ["laws.csv", "delays.csv", "README.md", "implicit_momentum.svg"],
    "optimizers.py": ["map.csv", "README.md", "optimizers.svg"],
    "one_step_delay.py": ["runs.csv", "README.md", "one_step_delay.svg", "tuning.svg"],
    "dispatch.py": ["curves.csv", "floors.csv", "predicted.csv", "README.md", "dispatch.svg", "tuning.svg"],
    "heterogeneous.py": ["curves.csv", "ends.csv", "README.md", "heterogeneous.svg", "tuning.svg"],
    "backups.py": ["runs.csv", "tuning.csv", "README.md", "backups.svg", "tuning.svg"],
    "need_asynchrony.py": ["cells.csv", "tuning.csv", "README.md", "need_asynchrony.svg", "tuning.svg"],
    "least_squares.py": ["limits.csv", "tuning.csv", "curves.csv", "README.md", "least_squares.svg", "limits.svg"],
    "worst_case.py": ["ends.csv", "curves.csv", "tuning.csv", "README.md", "worst_case.svg", "tuning.svg"],
    "stability.py": ["limits.csv", "README.md", "stability.svg"],
    "cells.py": ["cells.csv", "README.md"],
    "faults.py": ["faults.csv", "README.md"],
    "bench_all.py": ["README.md", "events.json", "scan.svg"],
}
LONG = {
    "bench_events.py",
    "bench_workers.py",
    "bench_model.py",
    "cells.py",
    "faults.py",
    "throughput.py",
    "bench_accelerator.py",
    "bench_sweeps.py",
    "bench_torch.py",
    "bench_scan.py",
    "bench_all.py",
    "bench_ray.py",
    "bench_rates.py",
    "diloco.py",
    "pipeline.py",
}
SHARED = {
    "common.py",
    "bench.py",
    "bench_figure.py",
    "gallery.py",
    "need_asynchrony_page.py",
    "least_squares_limits.py",
}  # no scripts
LOOPS = ["loop_plain.py", "loop_flax.py", "loop_equinox.py"]  # they print


@pytest.mark.parametrize("script", [pytest.param(s, marks=[pytest.mark.long] * (s in LONG)) for s in SCRIPTS])
def test_quick(script, tmp_path):
    done = scripts.run(ROOT / "experiments" / script, "--quick", "--out", tmp_path / "out", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert all((tmp_path / "out" / name).stat().st_size for name in SCRIPTS[script])


@pytest.mark.parametrize("script", LOOPS)
def test_loop(script):
    """An example of staleness in somebody else's training loop: short, and it runs."""
    path = ROOT / "experiments" / script
    assert len(path.read_text().splitlines()) <= 60
    done = scripts.run(path, "--quick", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("delay") >= 3


def test_every_script_is_listed_and_has_its_header():
    scripts = {p.name for p in (ROOT / "experiments").glob("*.py")} - SHARED
    assert scripts == {*SCRIPTS, *LOOPS}
    index = (ROOT / "experiments" / "README.md").read_text()
    for name in scripts:
        text = (ROOT / "experiments" / name).read_text()
        assert f"`{name}`" in index
        assert all(f"\n{word} " in text for word in ("Claim", "Command", "Cost", "Expected"))
        told = reproduction.header(ROOT / "experiments" / name)
        assert re.search(r"(\d|half an?|an?) (more )?(minutes?|seconds?)", told.cost), (name, told.cost)
        assert re.search(r"[0-9]", told.expected) or len(told.expected.split()) > 5, (name, told.expected)
        assert not re.search(r"\b(TODO|EXPECTED|COST|XXX)\b", text), name


@pytest.mark.parametrize("made", sorted((ROOT / "results").glob("*/made.json")), ids=lambda path: path.parent.name)
def test_a_page_says_what_its_numbers_say(made, monkeypatch):
    """The committed page is the script's text with the numbers of the committed files, and nothing else."""
    monkeypatch.syspath_prepend(ROOT / "experiments")
    common, script = import_module("common"), ROOT / "experiments" / f"{made.parent.name}.py"
    text = common.page(script, made.parent, import_module(script.stem).values)
    assert (made.parent / "README.md").read_text() == text


def test_the_gallery_is_up_to_date(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "experiments")
    page = import_module("gallery").gallery()
    assert (ROOT / "results" / "README.md").read_text() == page, "make gallery"
    links = re.findall(r'(?:\]\(|href="|src=")([^)"]+)', page)
    assert len(links) > 30 and all((ROOT / "results" / link).exists() for link in links)


@pytest.mark.parametrize("folder", ja.results.listing(ROOT / "results"), ids=lambda p: str(p.relative_to(ROOT)))
def test_committed_results_can_be_read(folder):
    table = ja.results.load(folder)
    assert table.spec["versions"]["jax"] and table.methods and str(table)
    assert all(schedule.num_updates for schedule in table.schedules.values())


def test_readme(tmp_path):
    """The README's Python, top to bottom, says what the README says."""
    code = "".join(re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=tmp_path, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    said = re.findall(r"print\((?:schedule|history)\)\s+# (.*)", code)
    assert done.stdout.splitlines()[0] == said[0] and done.stdout.splitlines()[1][:38] == said[1][:38]
    assert (tmp_path / "mine.svg").stat().st_size
