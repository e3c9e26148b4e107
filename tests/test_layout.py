"""The package's shape: what a folder may import, how long a file may be, what importing it drags in."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "jaxasgd"
FILES = sorted(PACKAGE.rglob("*.py"))
NUMPY, HOST = {"numpy"}, {"numpy", "scipy"}
DEVICE = {"jax", "optax", "numpy"}
ALLOWED = [  # the first that fits; standard library and the package itself always
    (r"(schedule|simulation|arrivals|fleet|recording|planning|waves)\.py|(policies|times)/.*", NUMPY),
    (r"(columns|schedules|statistics|traces|reading|result_files)\.py", NUMPY),
    (r"(advice|cluster|complexity)\.py", NUMPY),
    (r"formats\.py", NUMPY | {"pandas"}),
    (r"results\.py", HOST | {"jax"}),
    (r"(plot|portrait|histograms|lateness|figures|advice_figure)\.py", HOST | {"matplotlib"}),
    (r"progress\.py", {"tqdm"}),
    (r"events\.py", {"tensorboardX"}),
    (r"checkpoints\.py", {"jax", "numpy", "orbax"}),
    (r"history\.py", {"jax", "numpy", "pandas"}),
    (r"(cli|building|options|examples|listing|reproduction|doctor|__main__)\.py", {"tyro", "jax", "numpy"}),
    (r"reporting/.*", HOST | {"jinja2", "markdown_it"}),
    (r"(rules|work|methods)/.*", DEVICE),
    (r"problems/data\.py", {"numpy", "sklearn"}),
    (r"problems/texts\.py", NUMPY),
    (r"problems/.*", DEVICE | {"flax"}),
    (r"runtimes/(cluster_.*|freezing)\.py", DEVICE | {"ray", "psutil"}),
    (r".*", DEVICE),
]
# never imported at the top of a module
LAZY = {"matplotlib", "flax", "sklearn", "tyro", "tqdm", "ray", "psutil", "scipy", "pandas", "orbax"}
LAZY |= {"jinja2", "markdown_it", "tensorboardX"}
HOST_ONLY = re.compile(
    r"(schedule|simulation|arrivals|fleet|recording|planning|waves|columns|formats|schedules|statistics|traces|reading)\.py|"
    r"(advice|cluster|complexity)\.py|(policies|times)/.*"
)
DEVICE_MODULES = {
    "engine",
    "program",
    "parts",
    "tables",
    "groups",
    "fanout",
    "canonical",
    "problems",
    "rules",
    "work",
    "methods",
    "comparison",
    "cells",
    "runtimes",
}


def imports(tree, top_only=False):
    """Names of imported modules: absolute ones by their first word, our own as `.name` or `..name`."""
    nodes = tree.body if top_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            names = [node.module.split(".")[0]] if node.module else [alias.name for alias in node.names]
            yield from ("." * node.level + name for name in names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.split(".")[0]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_file(path):
    name, text = path.relative_to(PACKAGE).as_posix(), path.read_text()
    tree = ast.parse(text)
    assert len(text.splitlines()) <= 350, "over 350 lines: is it two things?"
    assert path.name not in ("utils.py", "misc.py", "helpers.py")
    assert ast.get_docstring(tree), "a module says in its first line what it is for"
    allowed = next(names for pattern, names in ALLOWED if re.fullmatch(pattern, name))
    foreign = {m for m in imports(tree) if not m.startswith(".")} - set(sys.stdlib_module_names) - {"jaxasgd"}
    assert foreign <= allowed
    if name != "options.py":  # which only the command imports
        assert not set(imports(tree, top_only=True)) & LAZY, "extras are imported where they are needed"
    if HOST_ONLY.fullmatch(name):
        dots = "." * (1 + name.count("/"))  # of what lies at the top of the package
        assert not {dots + m for m in DEVICE_MODULES} & set(imports(tree)), "the host knows no device"


def test_no_module_shares_its_name_with_a_public_function():
    import jaxasgd as ja

    for module in (ja, ja.policies, ja.rules, ja.work, ja.methods, ja.problems, ja.runtimes):
        folder = Path(module.__file__).parent
        modules = {path.stem for path in folder.glob("*.py")} | {
            path.parent.name for path in folder.glob("*/__init__.py")
        }
        functions = {name for name in module.__all__ if callable(getattr(module, name))}
        assert not functions & modules


def modules_after(code):
    out = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return {name.split(".")[0] for name in out.stdout.split()}


def test_import_is_light():
    """`import jaxasgd` costs nothing (jax comes with the first name that needs it), all of it needs no extra."""
    assert not modules_after("import jaxasgd") & (LAZY | DEVICE)
    assert not modules_after("from jaxasgd import simulate, policies, times, schedules") & (LAZY | {"jax", "optax"})
    assert not modules_after("from jaxasgd import *") & (LAZY - {"scipy"})  # which jax imports


def test_plans_are_pytrees_before_the_first_run():
    """A new process, in which nothing has imported the engine yet."""
    made = "ja.plan(ja.simulate(ja.policies.asgd(), ja.times.fixed(1.0, num_workers=2), num_updates=3))"
    code = f"import jax, jaxasgd as ja; assert len(jax.tree.leaves({made})) > 5"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_has_its_home():
    """What is imported at first use is what type checkers and editors see."""
    import jaxasgd as ja

    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    seen = next(node.body for node in tree.body if isinstance(node, ast.If))
    modules = {alias.name for node in seen if not node.module for alias in node.names}
    homes = {alias.name: node.module for node in seen if node.module for alias in node.names}
    assert homes == ja._HOMES
    assert sorted(modules | set(homes)) == ja.__all__ and set(ja.__all__) <= set(dir(ja))
    with pytest.raises(AttributeError, match="no attribute 'sweeep'"):
        _ = ja.sweeep


def test_public_names_are_documented():
    import jaxasgd as ja

    parts = (ja.policies, ja.rules, ja.work, ja.methods, ja.problems, ja.times, ja.runtimes)
    for module in (ja, *parts, ja.schedules, ja.statistics, ja.fanout, ja.plot):
        own = [n for n, v in vars(module).items() if getattr(v, "__module__", "").startswith("jaxasgd") and n[0] != "_"]
        names = getattr(module, "__all__", own)
        assert names
        missing = [name for name in names if not (getattr(module, name).__doc__ or "").strip()]
        assert not missing, f"{module.__name__}: {missing}"
