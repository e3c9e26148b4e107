"""What a results folder holds, and what a page shows of it: a comparison, a plan, or the README of an experiment."""

from __future__ import annotations

from html import escape

from ..reading import damaged, names_in
from . import comparisons, files, plans, readme, settings
from .blocks import Anchors, Block, Command, Part, Prose, Section
from .pictures import KINDS, picture

SIGNS = ("spec.json", "plan.json", "README.md", "made.json")


def sections(folders, titled=False) -> list[Section]:
    """A section for each folder.

    Args:
        folders: as given; they exist.
        titled: the page has a title of its own, above those of the folders.
    """
    for folder in folders:
        holds(folder)
    anchors, known = Anchors(), {}
    ids = [anchors.new(name_of(folder)) for folder in folders]
    rests = [anchors.new(f"{name} files") for name in ids]
    for folder, name, rest in zip(folders, ids, rests, strict=True):
        known[folder.resolve()] = name
        known |= {path.resolve(): rest for path in files.found(folder)}
    level = 3 if titled or len(folders) > 1 else 2
    return [section(*each, anchors, known, level) for each in zip(folders, ids, rests, strict=True)]


def holds(folder) -> None:
    """That there are results in a folder."""
    if any((folder / sign).is_file() for sign in SIGNS):
        return
    below = sorted({path.parent for sign in SIGNS for path in folder.glob(f"*/{sign}")})
    remedy = "name one that 'jaxasgd compare' or 'jaxasgd plan' wrote, or an experiment's"
    if below:
        remedy = f"but {len(below)} below it do{'es' * (len(below) == 1)}: name {str(below[0])!r}, for example"
    wanted = ", ".join(SIGNS[:-1])
    raise FileNotFoundError(f"{str(folder)!r} holds no results, none of {wanted} or {SIGNS[-1]}; {remedy}.")


def name_of(folder) -> str:
    """The last part of its path."""
    return folder.resolve().name or "results"


def section(folder, anchor, rest, anchors, known, level) -> Section:
    """One folder; a damaged file is an error that names it."""
    try:
        told = contents(folder, anchor, anchors, known, level)
        stored = files.blocks(folder)
    except (ValueError, OSError, KeyError, TypeError, IndexError, StopIteration) as error:
        if "damaged" in str(error):
            raise
        said = str(error) if isinstance(error, OSError) else repr(error)
        raise ValueError(f"the results in {str(folder)!r} are damaged: {said}") from error
    title, heading, about, parts = told
    parts = [
        Part(title, blocks, anchors.new(f"{anchor} {title}") if title else "") for title, blocks in parts if blocks
    ]
    parts += [Part("Numbers", stored, rest)] if stored else []
    where = "" if folder.is_absolute() else folder.as_posix()
    return Section(anchor, title, heading, "" if where == title else where, about, parts)


def contents(folder, anchor, anchors, known, level):
    """Title, its HTML, a line about it, and parts as (title, blocks)."""
    title = name_of(folder)
    heading, about, parts = escape(title), "", []
    if (folder / "plan.json").is_file():
        plan = plans.load(folder)
        about = f"{files.count(plan.num_workers, 'worker')}; q = {plan.noise_to_signal:g}."
        parts = [("", plans.blocks(plan, folder)), ("Settings", [settings.facts(plan.spec), plans.workers(plan)])]
        return "Plan for a cluster", "Plan for a cluster", about, parts + again(plan.spec)
    page = None
    if (folder / "README.md").is_file():
        page = readme.read(folder, anchor, anchors, known, level)
        title, heading = page.title or title, page.heading or heading
        parts.append(("", [Prose(page.html)]))
    shown = page.pictures if page else set()
    made = made_of(folder)
    if (folder / "spec.json").is_file():
        return title, heading, *compared(folder, parts, made, shown)
    parts.append(("More figures" if shown else "Figures" if page else "", others(folder, shown)))
    if made:
        parts.append(("Settings", [settings.facts(made)]))
    return title, heading, about, parts + again(made)


def compared(folder, parts, made, shown):
    """What a comparison adds to the README, where there is one."""
    from ..results import load

    table = load(folder)
    if not table.runs or not table.metrics:
        raise ValueError("no runs, or no metrics")
    if not shown:
        parts = [*parts, ("", [comparisons.figure(table)])]
    parts = [*parts, ("Final values", [comparisons.final(table)])]
    parts.append(("More figures", others(folder, shown or {folder.resolve() / "overview.svg"})))
    told = [comparisons.methods(table), settings.facts(made | table.spec)]
    parts.append(("Settings", [block for block in told if block]))
    spec = {"command": made.get("command")} | table.spec
    parts.append(("How to make it again", [Command(comparisons.again(folder, spec))]))
    return comparisons.about(table), parts


def again(told) -> list:
    """The command, where it is on record."""
    command = told.get("command")
    return [("How to make it again", [Command(command)])] if isinstance(command, str) else []


def others(folder, shown) -> list[Block]:
    """The pictures of a folder that its README does not show; of the same in two formats, one."""
    order = list(KINDS)
    paths = [path for path in folder.iterdir() if path.suffix.lower() in KINDS and path.is_file()]
    paths = sorted(paths, key=lambda path: (path.stem, order.index(path.suffix.lower())))
    found: list[Block] = []
    seen = {path.stem for path in shown if path.parent == folder.resolve()}
    for path in paths:
        if path.stem not in seen:
            seen.add(path.stem)
            found.append(picture(path, path.stem.replace("_", " "), path.name))
    return found


def made_of(folder) -> dict:
    """What made.json says; nothing where there is none."""
    if not (folder / "made.json").is_file():
        return {}
    with damaged("results", folder):
        return names_in(folder / "made.json")
