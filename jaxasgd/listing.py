"""What there is: the page of methods, and lists of everything else. Plain text, and Markdown for the README."""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path

LETTERS = {
    "discards": "D",
    "blocks": "B",
    "rescales": "S",
    "aggregates": "A",
    "compensates": "C",
    "sends": "P",
}
LEGEND = {
    "D": "discards gradients, or stops jobs",
    "B": "blocks: a worker may wait without a job",
    "S": "scales the step with the delay, the worker or the state",
    "A": "aggregates several gradients in an update",
    "C": "compensates: the update looks at what the worker had read",
    "P": "sends the workers something else than the parameters",
}


EACH = "each: done to every gradient before they are added; the rest to the sum"


def public(module) -> dict:
    """The functions a module offers: those in `__all__`, or its own that are not private; of `methods`, the methods."""
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
    names = [name for name in getattr(module, "__all__", own) if not name.startswith("_")]
    known = {name: getattr(module, name) for name in names if inspect.isfunction(getattr(module, name))}
    pages = {name: function for name, function in known.items() if hasattr(function, "entry")}
    return pages or known


def arguments(function) -> list[str]:
    """As in the signature, without types; a default that is a function by its name."""

    def shown(p):
        if inspect.isfunction(p.default):
            return f"{p.name}={p.default.__name__}"
        return str(p.replace(annotation=p.empty))

    return [shown(p) for p in inspect.signature(function).parameters.values()]


def functions(module) -> dict[str, str]:
    """Name -> first line of the docstring, and the arguments."""
    lines = {}
    for name, function in public(module).items():
        about = (inspect.getdoc(function) or "").split("\n")[0]
        takes = arguments(function)
        lines[name] = f"{about} ({', '.join(takes)})" if takes else about
    return lines


# ------------------------------------------------------------------ the page


def families(module) -> dict[str, list]:
    """Heading -> methods, in the order of the oldest paper; the heading begins the docstring of the family's file."""
    found: dict[str, list] = {}
    for function in public(module).values():
        told = inspect.getdoc(sys.modules[function.__module__]) or ""
        heading = told.split("\n")[0].split(":")[0].rstrip(".")
        found.setdefault(heading, []).append(function)
    age = lambda function: (function.entry.papers[0].year, function.__name__)
    ordered = sorted(found.items(), key=lambda item: min(map(age, item[1])))
    return {heading: sorted(members, key=age) for heading, members in ordered}


def composition(entry) -> str:
    """What is done with the numbers: to each gradient before it is added, and to the aggregate."""
    return f"each: {entry.arrival}; {entry.rule}" if entry.arrival else entry.rule


def cells(function, gap) -> list[str]:
    """A method's line: name, paper, policy, rule, and a letter for each thing that it does."""
    entry = function.entry
    letters = [letter if trait in entry.traits else gap for trait, letter in LETTERS.items()]
    return [function.__name__, entry.papers[0].short, entry.policy, composition(entry), *letters]


def page(module) -> str:
    """The methods as a table, by family, with their arguments below."""
    head = ["method", "paper", "policy", "rule", *LETTERS.values()]
    groups = {heading: [cells(f, "·") for f in members] for heading, members in families(module).items()}
    rows = [row for members in groups.values() for row in members]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    line = lambda row: "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
    out = ["methods", "", line(head)]
    for heading, rows in groups.items():
        out += ["", heading, *map(line, rows)]
    out += ["", *(f"{letter}  {about}" for letter, about in LEGEND.items()), EACH, "", "arguments"]
    return "\n".join(out + [f"  {name}({', '.join(arguments(f))})" for name, f in public(module).items()] + [""])


def markdown(module) -> str:
    """The methods as a Markdown table, for the README."""
    head = ["method", "paper", "policy", "rule", *LETTERS.values()]
    rows = [head, ["---"] * 4 + [":-:"] * len(LETTERS)]
    code = lambda text: ", ".join(f"`{word}`" for word in text.split(", "))
    for heading, members in families(module).items():
        rows.append([f"**{heading}**", *[""] * (len(head) - 1)])
        for function in members:
            entry = function.entry
            name, paper, policy, _, *letters = cells(function, "")
            link = f"[{paper}](https://arxiv.org/abs/{entry.papers[0].arxiv})" if entry.papers[0].arxiv else paper
            rule = f"each: {code(entry.arrival)}; {code(entry.rule)}" if entry.arrival else code(entry.rule)
            rows.append([f"`{name}`", link, f"`{policy}`", rule, *letters])
    legend = "; ".join(f"**{letter}** {about}" for letter, about in LEGEND.items())
    return "\n".join([*(f"| {' | '.join(row)} |" for row in rows), "", f"{legend}. *each*{EACH[4:]}."])


MARKS = ("<!-- methods: made by `make page` -->\n", "<!-- end of methods -->\n")


def rewrite(path, module) -> str:
    """Put the Markdown table between the marks of a file again; the file's new text."""
    text = Path(path).read_text()
    if not all(text.count(mark) == 1 for mark in MARKS):
        raise ValueError(f"{str(path)!r} has the lines {MARKS[0]!r} and {MARKS[1]!r} once each, around the table.")
    before, rest = text.split(MARKS[0])
    text = f"{before}{MARKS[0]}\n{markdown(module)}\n\n{MARKS[1]}{rest.split(MARKS[1])[1]}"
    Path(path).write_text(text)
    return text


# ------------------------------------------------------------------ results


def results_below(ja, root) -> dict[str, str]:
    """Folder -> what it holds."""
    lines = {}
    for folder in ja.results.listing(root):
        try:
            spec = json.loads((folder / "spec.json").read_text())
            lines[str(folder)] = f"{', '.join(spec['methods'])}; {len(spec['seeds'])} seeds"
        except (OSError, ValueError, KeyError, TypeError):
            lines[str(folder)] = "damaged, or no comparison's"
    return lines or {"none": f"below ./{root}"}
