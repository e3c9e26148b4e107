"""TensorBoard: runs as event files, while they are made (`TensorBoard`) or afterwards (`tensorboard`)."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import gethostname
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from .checks import flag, kind, shown, unsaved, writable

if TYPE_CHECKING:
    from .results import Comparison

NO_SCALARS = ("method", "seed", "time", "update", "gradients")  # who it is, and axes
OURS = "*/seed-*/events.out.tfevents.*"  # of a comparison's folder
NUMBERS = itertools.count()  # a file's name says the second: two of one second differ by this


class TensorBoard:
    """A function for `each=`: every evaluation goes into TensorBoard's event files as it is made.

    A run by itself is one run of TensorBoard, in the folder; each run of a comparison has a folder of its own,
    `method/seed-0`. Loss and metrics are scalars (float32) over updates, TensorBoard's "Step"; their wall time is the
    simulated seconds, so that its axis "Relative" is the simulated clock. A run that goes on from a checkpoint goes
    on in the same folder.

    Args:
        folder: what `tensorboard --logdir` is told; it is made.

    Raises:
        ImportError: tensorboardX is missing; it names the extra. ValueError: the folder can't be written. OSError: the
            disk is full.

    Example:
        >>> import tempfile
        >>> import jaxasgd as ja
        >>> problem, times = ja.problems.quadratic(dim=3), ja.times.fixed(1.0, num_workers=2)
        >>> board = ja.results.TensorBoard(tempfile.mkdtemp())  # tensorboard --logdir ...
        >>> methods = {"async": ja.methods.asgd(0.1)}
        >>> table = ja.compare(problem, times, methods, until=4.0, seeds=1, each=board)
        >>> [path.name for path in board.folder.glob("*/*")]
        ['seed-0']
    """

    def __init__(self, folder: str | Path):
        library()
        self.folder = writable("a TensorBoard folder", folder)
        self._place: Path | None = None
        self._file: Any = None

    def __call__(self, now: Mapping[str, Any]) -> None:
        """Write down an evaluation: its numbers as `ja.run` and `ja.compare` tell them."""
        if not isinstance(now, Mapping) or "update" not in now:
            raise ValueError(
                f"TensorBoard is told one evaluation at a time, by each= of ja.run or ja.compare; got {shown(now)}."
            )
        place = run_folder(self.folder, now["method"], now["seed"]) if "method" in now else self.folder
        with saying_how(self.folder):
            if place != self._place:
                self.close()
                self._place, self._file = place, opened(place)
            self._file.write(record(now))
            self._file.flush()

    def close(self) -> None:
        """Close the file that is open; whatever is told afterwards goes into a new one."""
        file, self._place, self._file = self._file, None, None
        if file is not None:
            file.close()

    def __del__(self):
        if hasattr(self, "_file"):
            with suppress(OSError):  # which was told when the file was written
                self.close()


def tensorboard(comparison: Comparison, folder: str | Path, *, overwrite: bool = False) -> Path:
    """Write every run of a comparison as TensorBoard's event files, as `TensorBoard` does while it is made.

    Args:
        comparison: from `ja.compare`, or `ja.results.load`.
        folder: what `tensorboard --logdir` is told; each run has a folder `method/seed-0` there.
        overwrite: event files of comparisons that the folder holds already are deleted first.

    Raises:
        ImportError: tensorboardX is missing; it names the extra. ValueError: the folder holds event files already, or
            can't be written. OSError: the disk is full.

    Example:
        >>> import tempfile
        >>> import jaxasgd as ja
        >>> problem, times = ja.problems.quadratic(dim=3), ja.times.fixed(1.0, num_workers=2)
        >>> table = ja.compare(problem, times, {"async": ja.methods.asgd(0.1)}, until=4.0, seeds=2)
        >>> folder = ja.results.tensorboard(table, tempfile.mkdtemp())  # tensorboard --logdir ...
        >>> sorted(path.name for path in folder.glob("async/*"))
        ['seed-0', 'seed-1']
    """
    from .results import Comparison

    kind("comparison", comparison, Comparison, "what ja.compare or ja.results.load returns")
    library()
    folder = writable("a TensorBoard folder", folder)
    there = sorted(folder.glob(OURS))
    if not flag("overwrite", overwrite) and there:
        held = f"{str(folder)!r} holds event files already ({there[0].relative_to(folder).parent})"
        raise ValueError(f"{held}; choose another folder, or overwrite=True.")
    clear(folder)
    with saying_how(folder):
        try:
            for run in comparison.runs:
                write(run, run_folder(folder, run.method, run.seed))
        except OSError:
            clear(folder)  # which is of no use in parts
            raise
    return folder


def write(run, place: Path) -> None:
    """A run that is finished."""
    file = opened(place)
    try:
        for e in range(len(run.columns["loss"])):
            file.write(record({name: column[e].item() for name, column in run.columns.items()}))
    finally:
        file.close()


def clear(folder: Path) -> None:
    """Delete the event files of comparisons."""
    for path in folder.glob(OURS):
        path.unlink()


# ------------------------------------------------------------------- the library


def library() -> tuple[Any, Any, Any]:
    """Of tensorboardX, on first need: what writes records, an event, what it says."""
    try:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary
        from tensorboardX.record_writer import RecordWriter
    except ImportError as error:
        raise ImportError('TensorBoard\'s files need tensorboardX: pip install "jaxasgd[tensorboard]"') from error
    return RecordWriter, Event, Summary


def opened(place: Path) -> Any:
    """A new event file: its records are written here and now, not by a thread that can't say that the disk is full."""
    record_writer, event, _ = library()
    place.mkdir(parents=True, exist_ok=True)
    now = time.time()
    file = record_writer(str(place / f"events.out.tfevents.{int(now)}.{gethostname()}.{os.getpid()}.{next(NUMBERS)}"))
    file.write(event(wall_time=now, file_version="brain.Event:2").SerializeToString())
    return file


def record(now: Mapping[str, Any]) -> bytes:
    """An evaluation as an event."""
    _, event, summary = library()
    scalars = {name: value for name, value in now.items() if name not in NO_SCALARS}
    told = summary(value=[summary.Value(tag=name, simple_value=value) for name, value in scalars.items()])
    return event(wall_time=now["time"], step=now["update"], summary=told).SerializeToString()


def run_folder(folder: Path, method: str, seed: int) -> Path:
    """The folder of a run: `method/seed-0`; different names of methods have different folders."""
    name = quote(method, safe=" !()+,=@")
    if not name.strip("."):  # no folder's name
        name = name.replace(".", "%2E") or "%"
    return folder / name / f"seed-{seed}"


@contextmanager
def saying_how(folder) -> Iterator[None]:
    """Inside, a file that can't be written is told with the folder, and what to do about it."""
    try:
        yield
    except OSError as error:
        raise unsaved("event files", folder, error, "make room, or choose another folder") from error
