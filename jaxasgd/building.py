"""From the command's words to objects: a clock, a problem, methods."""

from __future__ import annotations

import ast
import difflib
import inspect
import json
import math
from pathlib import Path
from typing import Any

from . import listing
from .checks import writable

# What each problem is, and the options it takes with their defaults.
DATA = {"batch_size": 32, "shards": "none", "alpha": None}
PROBLEMS: dict[str, tuple[str, dict[str, Any]]] = {
    "quadratic": ("A quadratic with a chosen condition number.", {"dim": 100, "condition": 10.0, "noise": 0.1}),
    "tridiagonal": ("The worst-case quadratic of Nesterov.", {"dim": 1729, "noise": 0.01}),
    "toy": ("Linear regression on 100 samples with 2 features.", DATA | {"batch_size": 1}),
    "digits": ("A network on scikit-learn's 8 x 8 images of digits.", DATA | {"hidden": (128,)}),
    "breast_cancer": ("Logistic regression on 569 samples from scikit-learn.", DATA),
    "mnist": ("A network on MNIST.", DATA | {"hidden": (128,), "data": None}),
    "libsvm": ("Logistic regression on a LIBSVM file with two classes.", DATA | {"data": None}),
}
# The arguments each law of durations takes with their defaults: 1 second on average.
LAWS = {
    "fixed": {"mean": 1.0},
    "exponential": {"mean": 1.0},
    "shifted_exponential": {"shift": 0.5, "mean": 0.5},
    "uniform": {"low": 0.5, "high": 1.5},
    "gamma": {"mean": 1.0, "cv": 0.1},
    "lognormal": {"mean": 1.0, "sigma": 0.5},
    "pareto": {"mean": 1.0, "minimum": None, "tail_index": 1.5},
}
SECONDS = ("mean", "minimum", "shift", "low", "high")  # what --spread multiplies
LARGEST = 2**31 - 1  # of a number of things


def choose(what, name, names, listed=None):
    """`name`, if it is one of `names`; else an error with the nearest."""
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
    remedy = f"did you mean {' or '.join(near)}?" if near else "take one of them."
    raise ValueError(f"{what} is one of {listed or ', '.join(names)}; got {name!r}: {remedy}")


def positive(flag, number):
    if number is not None and not 0 < number < math.inf:
        raise ValueError(f"--{flag} is a finite number above 0; got {number}: give --{flag} 10, for example.")


def count(flag, number, least=1, most=LARGEST):
    """A number of things."""
    if number is not None and not least <= number <= most:
        span = f"{least} or more" if number < least else f"at most {most}"
        raise ValueError(f"--{flag} is a whole number, {span}; got {number}: give --{flag} {least + 4}, for example.")


def once(words):
    """Every option once: of two, one would be forgotten."""
    given = [word.partition("=")[0] for word in words if word.startswith("--")]
    twice = next((flag for flag in given if given.count(flag) > 1), None)
    if twice:
        several = "; several values stand behind it, with spaces between them" if twice == "--methods" else ""
        raise ValueError(
            f"an option is given once; got {twice} {given.count(twice)} times: leave all but one out{several}."
        )


def new_folder(folder, overwrite) -> Path:
    """A folder that can be written and is empty, or may be overwritten."""
    folder = Path(folder)
    held = sorted(path.name for path in folder.iterdir() if path.name[0] != ".") if folder.is_dir() else []
    if held and not overwrite:
        told = f"{str(folder)!r} holds {'results' if 'spec.json' in held else 'files'} already ({held[0]})"
        raise ValueError(f"{told}; name another folder with --out, or give --overwrite.")
    return writable("a results folder", folder)


def new_file(path, overwrite) -> Path:
    """A file that can be written and is not there, or may be overwritten."""
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"--out is a file; {str(path)!r} is a folder: name a file in it.")
    if path.exists() and not overwrite:
        raise ValueError(f"{str(path)!r} is there already; name another file with --out, or give --overwrite.")
    writable("a folder for a file", path.parent)
    return path


def flags(names) -> str:
    return ", ".join("--" + name.replace("_", "-") for name in names)


def fill(what, defaults, group, *others) -> dict:
    """The options that belong to `what`, as given or by default; giving one that does not is an error."""
    given = {name: value for name, value in vars(group).items() if value is not None and name not in others}
    wrong = [name for name in given if name not in defaults]
    if wrong:
        raise ValueError(f"{what} takes {flags(defaults)}; got {flags(wrong)}: leave it out.")
    return defaults | given


def build_times(ja, said):
    """The worker-time model."""
    import numpy as np

    law = choose("--times", said.times, LAWS)
    values = fill(f"--times {law}", LAWS[law], said, "workers", "times", "spread", "slowest")
    if law == "pareto":
        values["alpha"] = values.pop("tail_index")
        values["mean"] = said.mean if said.minimum is not None else values["mean"]
    if law == "pareto" and said.tail_index is not None:
        least = 1 if said.minimum is None else 0
        if not least < said.tail_index < math.inf:
            rule = f"--tail-index is a finite number above {least}" + " (above 0 with --minimum)" * least
            raise ValueError(f"{rule}; got {said.tail_index}: give --tail-index 1.5, for example.")
    positive("spread", said.spread)
    positive("slowest", said.slowest)
    factors = np.linspace(1, said.spread or 1, said.workers)
    values = {name: value * (factors if name in SECONDS else 1) for name, value in values.items() if value is not None}
    times = getattr(ja.times, law)(**values)
    return ja.times.with_straggler(times, said.workers - 1, said.slowest) if said.slowest else times


def build_problem(ja, said, num_workers):
    """The problem, and its numbers for the spec."""
    name = choose("--problem", said.problem, PROBLEMS)
    options = fill(f"--problem {name}", PROBLEMS[name][1], said, "problem")
    for option in ("dim", "batch_size"):
        count(option.replace("_", "-"), options.get(option))
    for width in options.get("hidden", ()):
        count("hidden", width)
    numbers = {"name": name, **options}
    if "shards" not in options:
        return getattr(ja.problems, name)(**options), numbers
    how, alpha, data = options.pop("shards"), options.pop("alpha"), options.pop("data", None)
    choose("--shards", how, ("none", "iid", "contiguous", "dirichlet"))
    if (alpha is not None) != (how == "dirichlet"):
        raise ValueError(f"--alpha and --shards dirichlet go together; got --shards {how}, --alpha {alpha}: give both.")
    X, y, X_test, y_test, make = read(ja, name, data)
    if how != "none":
        options["shards"] = ja.problems.shard(y, num_workers, how=how, alpha=alpha)
    if X_test is not None:
        options["test"] = (X_test, y_test)
    if data is not None:
        numbers["data"] = data.name
    return make(X, y, **options), numbers | {"samples": len(X)}


def read(ja, name, data):
    """X, y, X_test, y_test (None where there is no test set), and what makes a problem of them."""
    problems = ja.problems
    if name == "toy":
        return *problems.toy_regression(), None, None, problems.linear
    if name == "digits":
        return *problems.sklearn_set(name)[:4], problems.mlp
    if name == "mnist":
        return *problems.mnist(data)[:4], problems.mlp
    if name == "breast_cancer":
        X, y, X_test, y_test, _ = problems.sklearn_set(name)
        return X, problems.binary_labels(y), X_test, problems.binary_labels(y_test), problems.logistic
    if data is None:
        raise ValueError("--problem libsvm reads a file; got none: give --data FILE.")
    X, y = problems.libsvm(data)
    return X, problems.binary_labels(y), None, None, problems.logistic


def build_methods(ja, said):
    """Label -> method, and label -> what was said of it. The label is the name, or everything where names repeat."""
    if not said.methods:
        raise ValueError(
            "a comparison has one method or more; got none: give --methods sync_sgd asgd --learning-rate 0.1, "
            "for example ('jaxasgd list methods' shows them all)."
        )
    known = listing.public(ja.methods)
    names = [text.partition(":")[0] for text in said.methods]
    rate = said.learning_rate
    if rate is not None and not 0 <= rate < math.inf:
        rule = "--learning-rate is a finite number, 0 or more"
        raise ValueError(f"{rule}; got {rate}: give --learning-rate 0.1, for example.")
    methods, told = {}, {}
    for text, name in zip(said.methods, names, strict=True):
        choose("a method", name, known, "those that 'jaxasgd list methods' shows")
        label = name if names.count(name) == 1 else text
        if label in methods:
            raise ValueError(f"methods differ in name or arguments; got {text!r} twice: leave one out.")
        values = method_arguments(text, known[name], said.learning_rate)
        methods[label], told[label] = known[name](**values), {"function": name, "arguments": values}
    return methods, told


def method_arguments(text, function, learning_rate) -> dict:
    """The arguments in NAME:ARGUMENT=VALUE,...: numbers, lists, True, False, None; a bare word is text."""
    name, _, inside = text.partition(":")
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    takes = {p.name: p.default for p in inspect.signature(function).parameters.values() if p.kind in named}
    try:
        call = ast.parse(f"f({inside})", mode="eval").body
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)) or call.args:
            raise SyntaxError
        values = {str(keyword.arg): literal(keyword.value) for keyword in call.keywords}
        json.dumps(values)
    except (SyntaxError, ValueError, TypeError):
        raise ValueError(
            f"a method reads NAME:ARGUMENT=VALUE,ARGUMENT=VALUE; got {text!r}: write {name}:learning_rate=0.1, say."
        ) from None
    for argument, value in values.items():
        choose(f"an argument of {name}", argument, takes)
        if isinstance(value, str) and not (takes[argument] is None or isinstance(takes[argument], str)):
            raise ValueError(f"{argument} of {name} is no text; got {value!r}: give a number.")
    if "learning_rate" in takes and learning_rate is not None:
        values.setdefault("learning_rate", learning_rate)
    missing = [argument for argument in takes if takes[argument] is inspect.Parameter.empty and argument not in values]
    if missing:
        example = f"{name}:{','.join(f'{argument}=VALUE' for argument in missing)}"
        for_all = ", or --learning-rate 0.1 for all methods" if "learning_rate" in missing else ""
        raise ValueError(f"{name} needs {' and '.join(missing)}; got {text!r}: write {example}{for_all}.")
    return values


def literal(node):
    """A number, list, True, False or None; inf; any other bare word as text."""
    if isinstance(node, ast.Name):
        return math.inf if node.id == "inf" else node.id
    return ast.literal_eval(node)
