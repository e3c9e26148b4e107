"""`jaxasgd report`: results folders as one HTML page that needs nothing but itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from ..checks import flag, shown, string
from ..checks import path as as_path

ENDINGS = (".html", ".htm")


def report(
    folders: str | Path | Sequence[str | Path], path: str | Path, *, title: str | None = None, overwrite: bool = False
) -> Path:
    """Write results folders as one HTML page that needs no other file and no network (extra `report`).

    It shows figures, tables with 95 % intervals, settings, the command that made them, and holds the CSV files.

    Args:
        folders: one or several: of a comparison, a plan for a cluster, or an experiment with a README.md.
        path: the page, an .html.
        title: of the page; None: that of the folder, or how many there are.
        overwrite: replace the page, if there is one.

    Raises:
        FileNotFoundError, ValueError: a folder has no results or damaged ones, or the page can't be written.

    Example:
        >>> import tempfile
        >>> import jaxasgd as ja
        >>> times, folder = ja.times.exponential(1.0, num_workers=4), tempfile.mkdtemp()
        >>> methods = {"async": ja.methods.asgd(0.1)}
        >>> table = ja.compare(ja.problems.quadratic(dim=5), times, methods, until=5.0, seeds=2)
        >>> ja.results.report(table.save(folder + "/mine"), folder + "/mine.html").name
        'mine.html'
    """
    paths, path = named(folders), target(path, overwrite)
    title = None if title is None else string("title", title)
    for module in ("jinja2", "markdown_it"):
        if not find_spec(module):
            raise ImportError('a report needs jinja2 and markdown-it-py: pip install "jaxasgd[report]"')
    from .folders import sections
    from .rendering import page

    text = page(sections(paths, titled=title is not None), title)
    draft = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8", newline="\n")
        os.replace(draft, path)
    except OSError as error:
        if draft.exists():
            draft.unlink()
        told = f"a report is written to a file; {str(path)!r} can't be ({error.strerror}): choose another place."
        raise ValueError(told) from error
    return path


def named(folders) -> list[Path]:
    """The folders, one or several, each once."""
    one = isinstance(folders, (str, os.PathLike))
    if not one and not isinstance(folders, Sequence):
        raise ValueError(f"folders is a results folder or several; got {shown(folders)}.")
    paths = [as_path("a results folder", folder) for folder in ([folders] if one else folders)]
    if not paths:
        raise ValueError("a report is of one results folder or more; got none: name one, results/mine for example.")
    seen = set()
    for path in paths:
        if not path.is_dir():
            got = "is a file" if path.exists() else "does not exist"
            raise ValueError(f"a report is of results folders; {str(path)!r} {got}: 'jaxasgd list results' shows some.")
        if path.resolve() in seen:
            raise ValueError(f"a report shows a folder once; got {str(path)!r} twice: leave one out.")
        seen.add(path.resolve())
    return paths


def target(path, overwrite) -> Path:
    """Where the page goes, checked before any work is done."""
    path = as_path("path", path)
    if path.is_dir():
        raise ValueError(f"a report is one file; {str(path)!r} is a folder: name {str(path / 'report.html')!r}, say.")
    if path.suffix.lower() not in ENDINGS:
        wanted = str(path.with_suffix(".html"))
        raise ValueError(f"a report is an .html file; got {path.name!r}: name it {wanted!r}, for example.")
    if not flag("overwrite", overwrite) and path.exists():
        raise ValueError(f"{str(path)!r} exists already; name another file, or overwrite it (--overwrite).")
    return path


def publish(said):
    """The command: write the page, and say where it is."""
    path = report(said.folders, said.out, title=said.title, overwrite=said.overwrite)
    print(f"report   {path}")
