"""Checks of arguments: each says the rule, the value received and, where it isn't plain, the remedy."""

from __future__ import annotations

import math
import operator
import os
import re
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeGuard

import numpy as np


def shown(value) -> str:
    """A value for a message, cut to a line."""
    short = reprlib.Repr()
    short.maxother = short.maxstring = 80
    short.maxlevel = 2
    return " ".join(short.repr(value).split())


def whole(name, value, least=0, most=None, hint="") -> int:
    """A whole number from `least` to `most`."""
    try:
        number = operator.index(value) if not isinstance(value, float) else int(value)
        fits = not isinstance(value, (bool, np.bool_)) and number == value and number >= least
    except (TypeError, ValueError, OverflowError):
        fits = False
    if not fits or (most is not None and number > most):
        span = f"{least} or more" if most is None else f"{least}...{most}"
        raise ValueError(f"{name} is a whole number, {span}{hint}; got {shown(value)}.")
    return number


def real(name, value, least=-math.inf, unit="", hint="") -> float:
    """A finite number, at least `least`."""
    number = known(value)
    if number is None or number.ndim or not np.isfinite(number) or number < least:
        span = "" if least == -math.inf else f", {least:g} or more"
        raise ValueError(f"{name} is a finite number{unit}{span}{hint}; got {shown(value)}.")
    return float(number)


def known(value):
    """Numbers as an array of float64; an empty table if it is no numbers; None for a JAX tracer: not known yet."""
    try:
        array = np.asarray(value)
        return array.astype(np.float64) if array.dtype.kind in "iufV" else np.empty((0, 0), object)  # V: bfloat16
    except (TypeError, ValueError) as error:
        return None if type(error).__name__ == "TracerArrayConversionError" else np.empty((0, 0), object)


def many(value) -> TypeGuard[Sequence]:
    """Whether this is a sequence of entries: no single value, string or mapping."""
    return hasattr(value, "__len__") and not isinstance(value, (str, bytes, Mapping)) and getattr(value, "ndim", 1) > 0


def array(name, value, says) -> np.ndarray:
    """Numbers as a new array of float64."""
    told = known(value)
    if told is None or told.dtype == object:
        raise ValueError(f"{name} holds {says}; got {shown(value)}.")
    return told


def scalar(name, value, says="a finite number", fits=math.isfinite):
    """The value as it is, if it is a number that `fits`, or a JAX tracer."""
    number = known(value)
    if number is not None and (number.ndim or not fits(float(number))):
        raise ValueError(f"{name} is {says}; got {shown(value)}.")
    return value


def positive(name, value, zero=True):
    """A finite number, 0 or more (or above 0), or a tracer."""
    says = f"a finite number, {'0 or more' if zero else 'above 0'}"
    return scalar(name, value, says, lambda number: (number > 0 or (zero and number == 0)) and number < math.inf)


def share(name, value):
    """A number from 0 to 1, or a tracer."""
    return scalar(name, value, "a number from 0 to 1", lambda number: 0 <= number <= 1)


def probability(name, value):
    """A level of intervals."""
    says = "a probability between 0 and 1, 0.95 for example"
    return scalar(name, value, says, lambda share: 0 < share < 1)


def word(name, value, *words) -> str:
    """One of several words."""
    if not (isinstance(value, str) and value in words):
        *most, last = (f'"{each}"' for each in words)
        raise ValueError(f"{name} is {', '.join(most)} or {last}; got {shown(value)}.")
    return value


def metric_name(of, metrics) -> str:
    """A name among the metrics."""
    if not (isinstance(of, str) and of in metrics):
        raise ValueError(f"of is one of {metrics}; got {shown(of)}.")
    return of


def writable(what: str, folder: str | Path) -> Path:
    """The folder, made, once a file could be written in it."""
    folder = path("folder", folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        told = f"{what} can be written; {str(folder)!r} can't ({error.strerror}): choose another folder."
        raise ValueError(told) from error
    return folder


def unsaved(what: str, folder, error, remedy: str) -> OSError:
    """To be raised: what could not be saved, where, why, and what to do about it."""
    number = re.search(r"os_error_code='(\d+)'", str(error))  # tensorstore's, at the end of a page of settings
    why = os.strerror(int(number[1])) if number else getattr(error, "strerror", None) or shown(str(error))
    return OSError(f"{what} could not be saved in {str(folder)!r} ({why}): {remedy}.")


def function(name, value, takes):
    """A function."""
    if not callable(value):
        raise ValueError(f"{name} is a function of {takes}; got {shown(value)}.")
    return value


def callback(name, value, takes):
    """A function, or None."""
    return None if value is None else function(name, value, takes)


def flag(name, value) -> bool:
    """True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name} is True or False; got {shown(value)}.")
    return bool(value)


def bar_wanted(value) -> None:
    """An argument `progress`."""
    if value is not None:
        flag("progress", value)


def path(name, value) -> Path:
    """Where a file or a folder is."""
    if not isinstance(value, (str, os.PathLike)) or not isinstance(os.fspath(value), str):
        raise ValueError(f"{name} says where a file or folder is, a string or a pathlib.Path; got {shown(value)}.")
    return Path(value)


def string(name, value) -> str:
    """A string."""
    return kind(name, value, str, "a string")


def transformation(what, rule):
    """An optax transformation, with extra arguments supported."""
    import optax

    if not (callable(getattr(rule, "init", None)) and callable(getattr(rule, "update", None))):
        raise ValueError(f"{what} is an optax transformation, optax.sgd(0.1) for example; got {shown(rule)}.")
    return optax.with_extra_args_support(rule)


def kind(name, value, kinds, what):
    """An object of the right class, or a message that says what would be right."""
    if not isinstance(value, kinds):
        raise ValueError(f"{name} is {what}; got {shown(value)}.")
    return value
