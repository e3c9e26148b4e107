"""From sections to the text of a page, with the template and the style that lie beside this file."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .files import count

HOME = Path(__file__).parent


def page(sections, title=None) -> str:
    """The page; everything that is not HTML already is escaped.

    Args:
        sections: of `folders.sections`.
        title: of the page; None: that of the only folder, or how many there are.
    """
    import jinja2

    alone = len(sections) == 1 and title is None
    title = title or (sections[0].title if alone else f"Report on {count(len(sections), 'results folder')}")
    loader = jinja2.FileSystemLoader(HOME)
    strict: dict[str, Any] = {
        "autoescape": True,
        "undefined": jinja2.StrictUndefined,
        "trim_blocks": True,
        "lstrip_blocks": True,
    }
    template = jinja2.Environment(loader=loader, **strict).get_template("page.html")
    try:
        made = f"jaxasgd {version('jaxasgd')}"
    except PackageNotFoundError:
        made = "jaxasgd"
    style = (HOME / "page.css").read_text(encoding="utf-8")
    return template.render(title=title, sections=sections, alone=alone, made=made, style=style) + "\n"
