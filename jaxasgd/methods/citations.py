"""Where a method comes from: papers, BibTeX, and the entry that every method has on the page."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import jax
import numpy as np

from ..checks import scalar, shown, string, whole
from .base import Method

#: What a method may do, in the order of the page's columns.
TRAITS = ("discards", "blocks", "rescales", "aggregates", "compensates", "sends")


@dataclass(frozen=True)
class Paper:
    """A publication: `authors` as in BibTeX ("Ann Ash and Bob Birch"), `venue` empty for a preprint."""

    key: str
    authors: str
    title: str
    year: int
    venue: str = ""
    arxiv: str = ""
    note: str = ""

    def __post_init__(self):
        whole("a paper's year", self.year)
        for part in fields(self):
            if part.name != "year":
                string(f"a paper's {part.name}", getattr(self, part.name))

    @property
    def short(self) -> str:
        """Authors and year, as one writes it in a text."""
        names = [name.split()[-1].replace("~", " ") for name in self.authors.split(" and ")]
        who = " and ".join(names) if len(names) < 3 else f"{names[0]} et al."
        return f"{who} {self.year}"

    @property
    def bibtex(self) -> str:
        """The BibTeX entry."""
        fields = {"author": self.authors.replace("~", " "), "title": f"{{{self.title}}}", "year": str(self.year)}
        kind = "misc"
        if self.venue:
            journal = any(word in self.venue for word in ("Journal", "Transactions", "Letters"))
            kind = "article" if journal else "inproceedings"
            fields["journal" if journal else "booktitle"] = self.venue
        if self.arxiv:
            fields |= {"eprint": self.arxiv, "archivePrefix": "arXiv"}
        if self.note:
            fields["note"] = self.note
        lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
        return "\n".join([f"@{kind}{{{self.key},", *lines, "}"])


@dataclass(frozen=True)
class Entry:
    """A method's line on the page.

    Attributes:
        name: as the field calls it.
        papers: where it comes from, the one to cite first.
        policy, rule, arrival: names of the functions it is composed of; "" where there is none.
        traits: what it does, of `TRAITS`.
    """

    name: str
    papers: tuple[Paper, ...]
    policy: str
    rule: str
    arrival: str
    traits: tuple[str, ...]


def published(name: str, *papers: Paper, policy: str, rule: str = "sgd", arrival: str = "", does: str = "") -> Callable:
    """Make a function that returns a `Method` a page entry: name, citation and numbers are filled in from here.

    `does` is words of `TRAITS`, in one string. The test of the page measures them.

    Example:
        >>> import optax
        >>> import jaxasgd as ja
        >>> paper = ja.Paper("ash1999", "Ann Ash and Bob Birch", "Slow Descent", 1999)
        >>> @ja.published("half-speed SGD", paper, policy="asgd")
        ... def half_sgd(learning_rate):
        ...     return ja.Method(ja.policies.asgd(), optax.sgd(learning_rate / 2))
        >>> half_sgd(0.1).name, half_sgd(0.1).info, half_sgd.entry.papers[0].short
        ('half-speed SGD', {'learning_rate': 0.1}, 'Ash and Birch 1999')
    """
    for part, told in (("name", name), ("policy", policy), ("rule", rule), ("arrival", arrival)):
        string(part, told)
    traits = tuple(does.split()) if isinstance(does, str) else (None,)
    if not set(traits) <= set(TRAITS):
        raise ValueError(f"what a method does is words of {', '.join(TRAITS)}; got {does!r}.")
    if not all(isinstance(paper, Paper) for paper in papers):
        raise ValueError(f"where a method comes from is ja.Paper(...); got {shown(papers)}.")
    entry = Entry(name, papers, policy, rule, arrival, tuple(trait for trait in TRAITS if trait in traits))

    def decorate(function):
        signature = inspect.signature(function)

        @functools.wraps(function)
        def make(*args, **kwargs):
            given = signature.bind(*args, **kwargs)
            given.apply_defaults()
            rate = given.arguments.get("learning_rate", 0.0)
            if not callable(rate):
                fits = lambda number: 0 <= number < math.inf
                scalar("learning_rate", rate, "a finite number, 0 or more, or an optax schedule", fits)
            method = function(*args, **kwargs)
            numbers = {name: described(value) for name, value in given.arguments.items()}
            return replace(method, name=name, info=numbers | dict(method.info), papers=papers)

        make.entry = entry  # type: ignore[attr-defined]  # a function has attributes
        return make

    return decorate


def described(value):
    """What a spec file can hold: numbers as Python's own, arrays as lists, a function (a schedule) by its name."""
    if callable(value):
        return getattr(value, "__qualname__", type(value).__name__)
    if not isinstance(value, jax.core.Tracer) and isinstance(value, (np.ndarray, np.generic, jax.Array)):
        return np.asarray(value).tolist()
    return value


def cite(method: Method) -> str:
    """BibTeX of the papers behind a method.

    Args:
        method: a `Method` of `ja.methods`, or the function that makes it.

    Example:
        >>> import jaxasgd as ja
        >>> print(ja.cite(ja.methods.backup_sgd).splitlines()[0])
        @misc{chen2016revisiting,
    """
    papers = method.entry.papers if hasattr(method, "entry") else getattr(method, "papers", None)
    if papers is None or not (isinstance(method, Method) or callable(method)):
        raise ValueError(f"cite takes a method, ja.methods.asgd or ja.methods.asgd(0.1); got {shown(method)}.")
    if not papers:
        raise ValueError(
            "this method names no paper: give Method(papers=(ja.Paper(...),)), or decorate its maker: ja.published."
        )
    return "\n\n".join(paper.bibtex for paper in papers)
