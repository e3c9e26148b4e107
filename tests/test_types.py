"""Types: every public name says what it takes and what it returns."""

import inspect

import pytest

import jaxasgd as ja

MODULES = (
    *(ja, ja.times, ja.policies, ja.methods, ja.rules, ja.problems, ja.work, ja.schedules, ja.statistics),
    *(ja.plot, ja.results, ja.fanout, ja.runtimes),
)


def names(module):
    """What is public in a module: `__all__`, or what is written there."""
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
    return [name for name in getattr(module, "__all__", own) if name[0] != "_"]


def functions(module):
    """Name -> function, of the public functions and of the public methods and properties of classes."""
    for name in names(module):
        value = getattr(module, name)
        if inspect.isclass(value) and value.__module__.startswith("jaxasgd"):
            for part, member in vars(value).items():
                for wrapper in ("fget", "func", "__func__"):  # of properties, cached ones and class methods
                    member = getattr(member, wrapper, member)
                if part[0] != "_" and inspect.isfunction(member):
                    yield f"{name}.{part}", member
        elif inspect.isfunction(inspect.unwrap(value) if callable(value) else value):
            yield name, inspect.unwrap(value)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_public_names_have_types(module):
    found = {name: f for name, f in functions(module) if f.__module__.startswith("jaxasgd")}
    bare = [name for name, function in found.items() if "return" not in function.__annotations__]
    assert not bare, "say what they return"
    missing = {
        name: [p for p in inspect.signature(function).parameters if p not in (*function.__annotations__, "self", "cls")]
        for name, function in found.items()
    }
    assert not {name: arguments for name, arguments in missing.items() if arguments}, "say what they take"
