"""The API reference, from the docstrings: `make docs` writes build/docs/index.html.

Warnings are errors, so that what can't be imported or rendered fails. Named tuples are put right first: their
constructors don't know the names in their annotations, and their fields say nothing but their number.
"""

import sys
import typing
import warnings
from pathlib import Path

import pdoc
import pdoc.render

import jaxasgd

PAGES = ["jaxasgd", "jaxasgd.cluster", "jaxasgd.sweep_results"]  # the last two: what others return


def named_tuples():
    """Every named tuple of the package."""
    modules = [module for name, module in sys.modules.items() if name.split(".")[0] == jaxasgd.__name__]
    found = {value for module in modules for value in vars(module).values() if isinstance(value, type)}
    return [value for value in found if issubclass(value, tuple) and hasattr(value, "_fields")]


def main(folder):
    warnings.simplefilter("error")
    for name in jaxasgd.__all__:  # imports its module
        getattr(jaxasgd, name)
    for kind in named_tuples():
        kind.__new__.__annotations__ = typing.get_type_hints(kind)
        kind.__new__.__doc__ = ""
        for name in kind._fields:
            getattr(kind, name).__doc__ = ""
    pdoc.render.configure(docformat="google", template_directory=Path(__file__).parent)
    pdoc.pdoc(*PAGES, output_directory=Path(folder))
    print(f"{folder}/index.html: {len(list(Path(folder).rglob('*.html')))} pages")


if __name__ == "__main__":
    main(*sys.argv[1:])
