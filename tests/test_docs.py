"""The API reference: every public name says what it is, and every public function shows how it is called."""

import inspect
import subprocess
import sys
import types
from pathlib import Path

import pytest

import jaxasgd as ja

PARTS = (ja.times, ja.policies, ja.methods, ja.rules, ja.problems, ja.work, ja.schedules, ja.statistics)
MODULES = (ja, *PARTS, ja.plot, ja.results, ja.fanout, ja.runtimes)
DOCS = Path(__file__).parents[1] / ".docs" / "reference.py"
WITHOUT_EXAMPLE = {"ray": "needs the extra `ray` and several seconds; its docstring has one as text"}


def public():
    """Every public class and function, once: name -> object."""
    found = {}
    for module in MODULES:
        for name in module.__all__:
            value = getattr(module, name)
            if isinstance(value, (type, types.FunctionType)) and value not in found.values():
                found[f"{module.__name__}.{name}"] = value
    return found


def members(kind):
    """The public methods and properties that a class defines itself: name -> function."""
    for name, value in vars(kind).items():
        value = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if not name.startswith("_") and isinstance(value, types.FunctionType):
            yield name, value


def complaint(doc, name=""):
    """What is wrong with a docstring; None: nothing. `Name(x, y)` is what Python itself says of a named tuple."""
    first, _, rest = (doc or "").partition("\n")
    if not first.strip():
        return "has no docstring"
    if not first.endswith((".", ":")) or (name and first.startswith(f"{name}(")):
        return f"begins with no sentence on one line: {first!r}"
    return "has no empty line after the first" if rest and rest[0] != "\n" else None


NAMES = public()


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_modules(module):
    assert complaint(module.__doc__) is None
    assert len(set(module.__all__)) == len(module.__all__) and all(hasattr(module, name) for name in module.__all__)


@pytest.mark.parametrize("name", NAMES)
def test_public_name(name):
    value = NAMES[name]
    own = inspect.cleandoc(value.__doc__ or "")  # not that of a base class
    wrong = {name: complaint(own, value.__name__)}
    if isinstance(value, type):
        wrong |= {f"{name}.{part}": complaint(inspect.getdoc(each)) for part, each in members(value)}
    elif ">>>" not in (value.__doc__ or "") and name.split(".")[-1] not in WITHOUT_EXAMPLE:
        wrong[name] = wrong[name] or "has no example"
    assert not {where: said for where, said in wrong.items() if said}


def test_exceptions_are_still_needed():
    left = {name.split(".")[-1] for name, value in NAMES.items() if ">>>" not in (value.__doc__ or "")}
    assert set(WITHOUT_EXAMPLE) <= left


def test_examples_stand_under_their_heading():
    """As the pages need them: indented below `Example:`, not in the middle of the prose."""
    for name, value in NAMES.items():
        lines = inspect.cleandoc(value.__doc__ or "").splitlines()
        first = next((i for i, line in enumerate(lines) if line.lstrip().startswith(">>>")), None)
        assert first is None or (lines[first - 1].startswith("Example") and lines[first].startswith("    ")), name


def test_make_docs(tmp_path):
    """All is imported and rendered, without a warning, and no page is missing."""
    done = subprocess.run([sys.executable, DOCS, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    pages = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.html")}
    assert {module.__name__.replace(".", "/") + ".html" for module in MODULES} | {"index.html"} <= pages
    text = (tmp_path / "jaxasgd" / "policies.html").read_text()
    assert "Alias for field" not in text and "ForwardRef" not in text
