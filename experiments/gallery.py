"""The gallery, results/README.md, from the index of experiments and the pages of their results: `make gallery`."""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
INTRO = """\
# Results

What the scripts in [experiments](../experiments/README.md) wrote: figures, the numbers behind them as CSV, and a page
each with settings, intervals and what agreed with the paper. `make results` makes all of it again (about {hours:.1f}
hours on 2 CPU cores, most of it benchmarks and tuning), `jaxasgd reproduce NAME` one, beside the numbers here. A method
looks the same in every figure. This page is made by `make gallery`.
"""
LINK = re.compile(r"\]\(\.\./results/([^)]+)\)")
IMAGE = re.compile(r"^!\[[^\]]*\]\(([^)]+)\)\s*$", re.MULTILINE)


def entries() -> dict[str, list[dict]]:
    """Section -> what the index says of each script that has a page."""
    sections, title = {}, ""
    for line in (ROOT / "experiments" / "README.md").read_text().splitlines():
        if line.startswith("## "):
            title = line[3:]
        if not line.startswith("| `"):
            continue
        script, claim, minutes, where = (cell.strip() for cell in line.strip("|").split(" | "))
        found = LINK.search(where)
        page = ROOT / "results" / found[1] if found else None
        told = {"script": script.strip("` "), "claim": claim, "minutes": minutes, "page": page}
        sections.setdefault(title, []).append(told)
    return sections


def minutes(told) -> float:
    """What the committed run took; else the largest number that the index gives."""
    made = told["page"] and told["page"].parent / "made.json"
    if made and made.exists() and made.parent.name == Path(told["script"]).stem:
        return json.loads(made.read_text())["minutes"]
    return max([float(n) for n in re.findall(r"\d+(?:\.\d+)?", told["minutes"])], default=0.0)


def caption(page: Path) -> tuple[str, list[str], str]:
    """Title, pictures and what is said right below the first of them."""
    text = page.read_text()
    title = text.splitlines()[0].lstrip("# ")
    first = IMAGE.search(text)
    below = IMAGE.sub("", text[first.end() :]).strip().split("\n\n")[0] if first else ""
    plain = below if below and not below.startswith(("|", "#")) else ""
    return title, [image[1] for image in IMAGE.finditer(text)], " ".join(plain.split()).strip("*")


def shown(told, seen) -> list[str]:
    """A script's part of the gallery; nothing where its page is shown already."""
    page = told["page"]
    if page is None or page.suffix != ".md" or page in seen:
        return []
    seen.add(page)
    title, images, text = caption(page)
    place = page.relative_to(ROOT / "results")
    lines = [f"### [{title}]({place})", ""]
    if images:
        lines += [f'<a href="{place}"><img src="{place.parent / images[0]}" alt="{title}" width="720"></a>', ""]
    lines += [f"{text or sentence(told['claim'])}", ""]
    more = f"; {minutes(told):g} minutes" if minutes(told) else ""
    return [*lines, f"[{told['script']}](../experiments/{told['script']}){more}", ""]


def sentence(claim) -> str:
    return f"{claim[0].upper()}{claim[1:]}."


def gallery() -> str:
    """The page."""
    sections, seen, lines = entries(), set(), []
    for title, scripts in sections.items():
        parts = [line for told in scripts for line in shown(told, seen)]
        lines += [f"## {title}", "", *parts] if parts else []
    apart = [told for scripts in sections.values() for told in scripts if "in all" not in told["minutes"]]
    hours = sum(map(minutes, apart)) / 60
    return INTRO.format(hours=hours) + "\n" + "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    (ROOT / "results" / "README.md").write_text(gallery())
