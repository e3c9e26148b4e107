"""The README of a folder as HTML: pictures inside, links only to what the page holds or to the web, no foreign tags."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from .blocks import Picture
from .pictures import KINDS, picture

WEB = ("http", "https", "mailto")


@dataclass
class Readme:
    """What was read: `title` in words, `heading` in HTML, `html` the rest; `pictures` are the files that it shows."""

    title: str
    heading: str
    html: str
    pictures: set[Path]


def read(folder, anchor, anchors, known, level=2) -> Readme:
    """Convert README.md.

    Tables scroll by themselves; headings get ids. Links lead to the other folders of the page, to its files, or to the
    web; others are text. Of HTML inside, images are kept; links are dropped and all else is shown as it stands.

    Args:
        folder: where the README is. anchor: the section's id, with which the ids of headings begin.
        anchors: gives ids. known: resolved path -> id, of what can be linked to.
        level: of the highest heading below the title.
    """
    folder = Path(folder)
    try:
        text = (folder / "README.md").read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{str(folder / 'README.md')!r} is damaged: it is no text in UTF-8 ({error}).") from error
    markdown = parser()
    tokens, title, env = markdown.parse(text), [], {"folder": folder.resolve(), "pictures": set()}
    if tokens and tokens[0].type == "heading_open" and tokens[0].tag == "h1":
        title, tokens = tokens[1:2], tokens[3:]
    places = headings(tokens, anchor, anchors, level)
    tokens = [new for token in tokens for new in (block(token) if token.type == "html_block" else [token])]
    for at, token in enumerate(tokens):
        if token.type == "inline":
            token.children = [new for child in token.children for new in clean(child)]
            links(token.children, env["folder"], known, places)
            if tokens[at - 1].type == "paragraph_open" and alone(token.children):
                tokens[at - 1].tag = tokens[at + 1].tag = "figure"
                for child in token.children:
                    child.meta["alone"] = True
    html = markdown.renderer.render(tokens, markdown.options, env)
    for token in title:
        token.children = [new for child in token.children for new in clean(child) if new.type != "image"]
        links(token.children, env["folder"], {}, {})
    words = "".join(child.content for token in title for child in token.children)
    heading = markdown.renderer.render(title, markdown.options, env)
    return Readme(words, heading, html, env["pictures"])


def parser():
    """CommonMark with tables."""
    from markdown_it import MarkdownIt

    code = lambda self, tokens, at, *_: f'<pre tabindex="0"><code>{escape(tokens[at].content)}</code></pre>\n'
    begin = '<div class="scroll" role="region" aria-label="Table" tabindex="0">\n<table>\n'
    rules = {
        "image": lambda self, tokens, at, options, env: image(tokens[at], env),
        "fence": code,
        "code_block": code,
        "table_open": lambda *_: begin,
        "table_close": lambda *_: "</table>\n</div>\n",
        "heading_close": lambda self, tokens, at, *_: f"{mark(tokens[at])}</{tokens[at].tag}>\n",
    }
    markdown = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    for name, rule in rules.items():
        markdown.add_render_rule(name, rule)
    return markdown


# ------------------------------------------------------------------- headings and links


def mark(token) -> str:
    """The link of a heading to itself."""
    place = token.meta.get("id")
    return f' <a class="anchor" href="#{place}" aria-label="Link to this heading">#</a>' if place else ""


def headings(tokens, anchor, anchors, level) -> dict[str, str]:
    """Levels below the section's, and ids: name as on GitHub -> id."""
    places = {}
    for opened, inline, closed in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if opened.type == "heading_open":
            opened.tag = closed.tag = f"h{min(6, max(2, int(opened.tag[1])) - 2 + level)}"
            words = re.sub(r"[^\w\- ]", "", inline.content.lower()).replace(" ", "-")
            closed.meta["id"] = places[words] = anchors.new(f"{anchor} {inline.content}")
            opened.attrSet("id", places[words])
    return places


def links(children, folder, known, places) -> None:
    """Every link leads to somewhere in the page or to the web; what would lead nowhere becomes text."""
    opened = []
    for token in children:
        if token.type == "link_open":
            href = destination(token.attrGet("href") or "", folder, known, places)
            token.attrs = {"href": href} if href else {"class": "file"}
            if href and not href.startswith("#"):
                token.attrs["rel"] = "noopener noreferrer"
            token.tag = "a" if href else "span"
            opened.append(token.tag)
        elif token.type == "link_close":
            token.tag = opened.pop()


def destination(href, folder, known, places) -> str:
    """Where a link leads to in the page; "" for nowhere."""
    parts = urlsplit(href)
    if parts.scheme or parts.netloc:
        return href if parts.scheme in WEB else ""
    if not parts.path:
        place = places.get(unquote(parts.fragment).lower())
        return f"#{place}" if place else ""
    path = (folder / unquote(parts.path)).resolve()
    place = known.get(path.parent if path.name == "README.md" else path)
    return f"#{place}" if place else ""


# ------------------------------------------------------------------- images and HTML


def alone(children) -> bool:
    """Images and nothing else: a figure."""
    kinds = {child.type for child in children if child.content.strip() or child.type == "image"}
    return kinds == {"image"}


def image(token, env) -> str:
    """The picture inside the page, or a word that it is not there."""
    alt, source = token.content, token.attrGet("src") or ""
    framed = token.meta.get("alone")
    parts = urlsplit(source)
    if source.startswith("data:image/"):
        found = Picture(source, alt)
        return found.html if framed else f'<img src="{escape(source)}" alt="{escape(alt)}">'
    if parts.scheme in WEB:
        return f'<a href="{escape(source)}" rel="noopener noreferrer">{escape(alt or source)}</a>'
    path = (env["folder"] / unquote(parts.path)).resolve()
    inside = path.is_relative_to(env["folder"]) and path.suffix.lower() in KINDS and path.is_file()
    if parts.scheme or parts.netloc or not inside:
        told = f"no picture {source!r} in this folder" + (f": {alt}" if alt else "")
        return f'<span class="missing">({escape(told)})</span>'
    env["pictures"].add(path)
    found = picture(path, alt or path.stem.replace("_", " "))
    return found.html if framed else f'<img src="{escape(found.source)}" alt="{escape(found.alt)}">'


def clean(token) -> list:
    """HTML within a line as tokens of Markdown."""
    return Tags(token.content).found if token.type == "html_inline" else [token]


def block(token) -> list:
    """A block of HTML as a paragraph."""
    from markdown_it.token import Token

    found = Tags(token.content).found
    if not found:
        return []
    inline = Token("inline", "", 0, children=found)
    return [Token("paragraph_open", "p", 1, block=True), inline, Token("paragraph_close", "p", -1, block=True)]


class Tags(HTMLParser):
    """Keeps images and line breaks, drops links and comments, and makes text of all other tags."""

    def __init__(self, html):
        super().__init__()
        self.found = []
        self.feed(html)
        self.close()

    def add(self, kind, tag="", content="", **attrs):
        from markdown_it.token import Token

        self.found.append(Token(kind, tag, 0, content=content, attrs=attrs))

    def handle_starttag(self, tag, attrs):
        told = {name: value or "" for name, value in attrs}
        if tag == "img":
            self.add("image", "img", told.get("alt", ""), src=told.get("src", ""))
        elif tag == "br":
            self.add("hardbreak", "br")
        elif tag != "a":
            self.add("text", content=self.get_starttag_text())

    def handle_endtag(self, tag):
        if tag not in ("a", "img", "br"):
            self.add("text", content=f"</{tag}>")

    def handle_data(self, data):
        self.add("text", content=data)
