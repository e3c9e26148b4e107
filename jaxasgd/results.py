"""Results: what a comparison found, in memory and in a folder. NumPy and plain files."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .checks import array, flag, metric_name, path, probability, real, shown, word, writable
from .events import TensorBoard, tensorboard
from .reporting import report
from .schedule import Schedule

__all__ = [
    "Comparison",
    "Run",
    "TensorBoard",
    "environment",
    "interval",
    "listing",
    "load",
    "prepare",
    "report",
    "tensorboard",
]

AXES = ("time", "update", "gradients")
SIGNS = ("spec.json", "history.csv", "runs.csv", "plan.json", "plan.csv", "made.json")  # of results in a folder


@dataclass(frozen=True, eq=False)
class Run:
    """One run of a comparison: `columns` has one entry per evaluation, `summary` is the schedule's in numbers."""

    method: str
    seed: int
    status: str
    ended: int
    columns: dict[str, np.ndarray]
    summary: dict


@dataclass(frozen=True, eq=False)
class Comparison:
    """Methods by seeds on one clock.

    Attributes:
        runs: every `Run`, in the order they were made.
        schedules: the first seed's schedule of every method.
        spec: every number that made it, versions and device (JSON).
    """

    runs: list[Run]
    schedules: dict[str, Schedule]
    spec: dict = field(default_factory=dict)

    @property
    def methods(self) -> list[str]:
        """Names of the methods, in the order of `runs`."""
        return list(dict.fromkeys(run.method for run in self.runs))

    @property
    def metrics(self) -> list[str]:
        """What can be plotted: "loss" and whatever else the problem reports."""
        return [name for name in self.runs[0].columns if name not in AXES]

    def of(self, method: str) -> list[Run]:
        """The runs of a method, one a seed."""
        chosen = [run for run in self.runs if isinstance(method, str) and run.method == method]
        if not chosen:
            raise ValueError(f"the methods are {self.methods}; got {shown(method)}.")
        return chosen

    def curves(
        self, method: str, of: str = "loss", against: str = "time", grid: ArrayLike | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """All seeds on one grid, each holding its last value: `(grid [points], values [seeds, points])`.

        A seed has no value (nan) beyond its end where it diverged, and keeps its last where it reached its target.
        """
        runs = self.of(method)
        word("against", against, *AXES)
        metric_name(of, self.metrics)
        if grid is None:
            end = max(run.columns[against][-1] for run in runs)
            grid = np.linspace(0, max(end, self.spec.get("until") or 0) if against == "time" else end, 101)
        grid = array("grid", grid, "numbers, [points]")
        if grid.ndim != 1:
            raise ValueError(f"grid holds numbers, [points]; got shape {grid.shape}.")
        values = []
        for run in runs:
            x, y = run.columns[against], np.asarray(run.columns[of], np.float64)
            place = np.searchsorted(x, grid, side="right") - 1
            held = np.where(place < 0, np.nan, y[np.maximum(place, 0)])
            values.append(np.where((grid > x[-1]) & (run.status == "diverged"), np.nan, held))
        return grid, np.array(values)

    def final(self, method: str, of: str = "loss") -> np.ndarray:
        """The last value of each seed."""
        metric_name(of, self.metrics)
        return np.array([run.columns[of][-1] for run in self.of(method)], np.float64)

    def reach(
        self, method: str, level: float, of: str = "loss", against: str = "time", below: bool | None = None
    ) -> np.ndarray:
        """Where each seed first passes `level` (nan: never). Losses pass it downwards, anything else upwards."""
        metric_name(of, self.metrics)
        word("against", against, *AXES)
        real("level", level)
        below = ("loss" in of or "norm" in of) if below is None else flag("below", below)
        out = []
        for run in self.of(method):
            passed = run.columns[of] <= level if below else run.columns[of] >= level
            out.append(run.columns[against][np.argmax(passed)] if passed.any() else np.nan)
        return np.array(out, np.float64)

    def plot(self, against: str = "time", of: str = "loss", **options: Any) -> Any:
        """A figure of `of` against "time", "update" or "gradients" (extra `plot`)."""
        from . import plot

        return plot.comparison(self, against=against, of=of, **options)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write spec.json, history.csv, runs.csv and one schedule per method into a folder."""
        from .result_files import save

        return save(self, folder, overwrite=overwrite)

    def __str__(self):
        return table(self)


def interval(values: ArrayLike, level: float = 0.95) -> tuple[Any, ...]:
    """Mean over the first axis with its Student-t interval: `(mean, low, high)`; nan where a value is missing.

    Example:
        >>> [round(value, 6) for value in interval([1.0, 2.0, 3.0])]
        [2.0, -0.484138, 4.484138]
    """
    from scipy import stats

    values, level = array("values", values, "numbers, [seeds, ...]"), float(probability("level", level))
    if not values.size:
        raise ValueError(f"values holds numbers, [seeds, ...], one seed at least; got shape {values.shape}.")
    values = np.atleast_1d(values)
    number = len(values)
    mean = values.mean(axis=0)
    if number < 2:
        half = np.full_like(mean, np.nan)
    else:
        half = stats.t.ppf((1 + level) / 2, number - 1) * values.std(axis=0, ddof=1) / np.sqrt(number)
    return tuple(float(a) if np.ndim(a) == 0 else a for a in (mean, mean - half, mean + half))


def table(comparison) -> str:
    """The comparison as text, a line a method, with 95 % intervals over seeds."""
    head = [
        "method",
        "seeds",
        "updates",
        "mean delay",
        "discarded",
        "busy",
        *(f"final {m}" for m in comparison.metrics),
    ]
    lines = [head]
    for method in comparison.methods:
        runs = comparison.of(method)
        mean = lambda name: np.mean([run.summary[name] for run in runs])
        line = [method, str(len(runs)), f"{mean('updates'):.0f}", f"{mean('mean_delay'):.1f}"]
        line += [f"{mean('discarded'):.0%}", f"{mean('utilisation'):.0%}"]
        for metric in comparison.metrics:
            middle, _, high = interval(comparison.final(method, metric))
            line.append(f"{middle:.4g} ± {high - middle:.1g}" if np.isfinite(high) else f"{middle:.4g}")
        diverged = sum(run.status == "diverged" for run in runs)
        lines.append(line[:-1] + [line[-1] + (f" ({diverged} diverged)" if diverged else "")])
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    doubts = [f"doubtful: {doubt}" for doubt in comparison.spec.get("doubts", ())]
    return "\n".join([text[0], "-" * max(map(len, text)), *text[1:], *doubts])


# ------------------------------------------------------------------- files


def folder_names(methods) -> dict[str, str]:
    """A name for files of each method, different for different names."""
    names: dict[str, str] = {}
    for method in methods:
        stem = re.sub(r"[^A-Za-z0-9_.]+", "-", method).strip("-") or "method"
        tries = (f"{stem}{i or ''}" for i in range(len(names) + 1))
        names[method] = next(name for name in tries if name not in names.values())
    return names


def file_names(methods) -> dict[str, str]:
    """A file for each method's schedule."""
    return {method: f"schedule-{name}.npz" for method, name in folder_names(methods).items()}


def plain(value):
    """For JSON: arrays and numbers of NumPy's kind as Python's own, anything else in words."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def prepare(folder: str | Path, *, overwrite: bool = False, also: Iterable[str] = ()) -> Path:
    """Make the folder, and see that it can be written, before any work is done.

    Args:
        folder: where results go.
        overwrite: whatever it holds may be replaced.
        also: names of further files that must not be there.

    Raises:
        ValueError: where it holds results already (unless `overwrite`), or can't be written.

    Example:
        >>> import pathlib, tempfile
        >>> import jaxasgd as ja
        >>> ja.results.prepare(pathlib.Path(tempfile.mkdtemp(), "mine")).name
        'mine'
    """
    folder = writable("a results folder", folder)
    there = [name for name in (*SIGNS, *also) if (folder / name).exists()]
    if not flag("overwrite", overwrite) and there:
        held = f"{str(folder)!r} holds results already ({there[0]})"
        raise ValueError(f"{held}; choose another folder, or overwrite=True.")
    return folder


def number(value) -> str:
    """The shortest text that reads back as the same number of the same dtype."""
    if isinstance(value, np.floating):
        return (
            np.format_float_scientific(value, trim="-")
            if not 1e-4 <= abs(value) < 1e9
            else np.format_float_positional(value, trim="-")
        )
    return str(value)


def load(folder: str | Path) -> Comparison:
    """Read a folder that `save` wrote.

    Raises:
        FileNotFoundError, ValueError: where there is none, or a file is damaged; it says which.

    Example:
        >>> import tempfile
        >>> import jaxasgd as ja
        >>> problem, times = ja.problems.quadratic(dim=3), ja.times.fixed(1.0, num_workers=2)
        >>> table = ja.compare(problem, times, {"async": ja.methods.asgd(0.1)}, until=4.0, seeds=1)
        >>> again = ja.results.load(table.save(tempfile.mkdtemp()))
        >>> again.methods, str(again) == str(table)
        (['async'], True)
    """
    from .result_files import load

    return load(path("folder", folder))


def listing(root: str | Path = "results") -> list[Path]:
    """The results folders below a folder.

    Example:
        >>> import pathlib, tempfile
        >>> import jaxasgd as ja
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for name in ("mine", "yours"):
        ...         _ = ja.results.prepare(pathlib.Path(root, name)).joinpath("spec.json").write_text("{}")
        ...     print([folder.name for folder in ja.results.listing(root)])
        ['mine', 'yours']
    """
    return sorted(spec.parent for spec in path("root", root).rglob("spec.json"))


def environment() -> dict:
    """Versions and device, for a spec.

    Example:
        >>> import jaxasgd as ja
        >>> sorted(ja.results.environment())
        ['cores', 'device', 'devices', 'platform', 'versions', 'x64']
    """
    import jax

    packages = ("jaxasgd", "jax", "jaxlib", "optax", "numpy", "flax", "scikit-learn")
    versions = {}
    for name in packages:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    device = jax.devices()[0]
    return {
        "versions": versions | {"python": platform.python_version()},
        "device": f"{device.platform}: {device.device_kind}",
        "devices": jax.device_count(),
        "cores": os.cpu_count(),
        "x64": bool(jax.config.jax_enable_x64),  # type: ignore[attr-defined]  # made at run time
        "platform": f"{sys.platform} {platform.machine()}",
    }
