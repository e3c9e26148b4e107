"""Checks of arguments: each says the rule, the value received and, where it isn't plain, the remedy."""

from __future__ import annotations

import math
import operator
import reprlib

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
    number = np.asarray(value)
    if number.dtype.kind not in "iuf" or number.ndim or not np.isfinite(number) or number < least:
        span = "" if least == -math.inf else f", {least:g} or more"
        raise ValueError(f"{name} is a finite number{unit}{span}{hint}; got {shown(value)}.")
    return float(number)


def kind(name, value, kinds, what):
    """An object of the right class, or a message that says what would be right."""
    if not isinstance(value, kinds):
        raise ValueError(f"{name} is {what}; got {shown(value)}.")
    return value
