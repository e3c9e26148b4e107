"""What a page is made of, as plain values: the template says how they look."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import escape

ONE = r"[-+]?[\d.]+(e[-+]?\d+)?( ?%)?"
NUMBER = re.compile(rf"{ONE}( \({ONE} to {ONE}\)| to {ONE}| ± {ONE})?|-?inf|nan|—|")


class Block:
    """Anything that stands in a part of a page."""

    @property
    def kind(self) -> str:
        return type(self).__name__.lower()


@dataclass(frozen=True)
class Prose(Block):
    """HTML that is safe already."""

    html: str


@dataclass(frozen=True)
class Picture(Block):
    """An image inside the page: `source` is a data URI, sizes are CSS pixels (None: unknown)."""

    source: str
    alt: str
    width: float | None = None
    height: float | None = None
    caption: str = ""

    @property
    def html(self) -> str:
        """The image on a light card. A wide one keeps a legible width, and its card scrolls."""
        wide, size = self.width is not None and self.width > 420, ""
        if self.width is not None:
            size = f' width="{self.width:.0f}" height="{self.height:.0f}" style="--width: {self.width:.0f}px"'
        reach = f' tabindex="0" role="region" aria-label="{escape(f"Figure: {self.alt}")}"' if wide else ""
        image = f'<img src="{escape(self.source)}" alt="{escape(self.alt)}"{size}>'
        return f'<div class="card{" wide" * wide}"{reach}>{image}</div>'


@dataclass(frozen=True)
class Table(Block):
    """Text in rows. `marked` is the row to look at; a folded table opens on a click."""

    caption: str
    head: list[str]
    rows: list[list[str]]
    marked: int | None = None
    folded: bool = False

    @property
    def numeric(self) -> list[bool]:
        """Which columns hold numbers only, and stand to the right."""
        return [all(NUMBER.fullmatch(cell) for cell in column) for column in zip(*self.rows, strict=True)]


@dataclass(frozen=True)
class Facts(Block):
    """What is known, a name and its value each."""

    pairs: list[tuple[str, str]]


@dataclass(frozen=True)
class Command(Block):
    """Lines to copy."""

    text: str


@dataclass(frozen=True)
class File(Block):
    """A file that lies in the page; `link` is a data URI, empty for one that is only named."""

    name: str
    about: str
    link: str = ""


@dataclass(frozen=True)
class Part:
    """Blocks under a heading; without a title they stand alone."""

    title: str
    blocks: list[Block]
    anchor: str = ""


@dataclass(frozen=True)
class Section:
    """A results folder: `heading` is its title in HTML, `where` its path as given, `about` a line on what it is."""

    anchor: str
    title: str
    heading: str
    where: str
    about: str
    parts: list[Part] = field(default_factory=list)


class Anchors:
    """Ids, each once in a page.

    Example:
        >>> anchors = Anchors()
        >>> anchors.new("<b> & Co."), anchors.new("b co"), anchors.new("√")
        ('b-co', 'b-co-2', 'part')
    """

    def __init__(self):
        self.taken = {"top", "contents"}

    def new(self, text) -> str:
        stem = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "part"
        number, name = 1, stem
        while name in self.taken:
            number += 1
            name = f"{stem}-{number}"
        self.taken.add(name)
        return name
