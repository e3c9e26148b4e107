"""Columns of a table: read-only arrays of declared dtypes, and checks that name the row at fault."""

from __future__ import annotations

import numpy as np


def columns(table: dict, kinds: dict, what: str) -> dict[str, np.ndarray]:
    """Read-only arrays of the declared dtypes, all of one length."""
    missing, extra = sorted(set(kinds) - set(table)), sorted(set(table) - set(kinds))
    if missing or extra:
        raise ValueError(f"{what} has exactly the columns {list(kinds)}; missing {missing}, unknown {extra}.")
    out = {}
    for name, dtype in kinds.items():
        array, same = np.asarray(table[name]), np.dtype(dtype)
        fits = array.dtype.kind in "biuf" and (array.dtype.kind != "f" or same.kind == "f")
        if array.size and not fits:
            raise ValueError(f"{what}: column {name!r} holds {same.name}, got {array.dtype}.")
        if array.ndim not in ((1, 2) if name == "read" else (1,)):
            raise ValueError(f"{what}: column {name!r} has one entry per row; got shape {array.shape}.")
        if array.dtype == same and array.flags.c_contiguous and constant(array):
            out[name] = array
            continue
        kept = np.array(array, dtype=dtype, order="C")
        if array.dtype != same and same.kind in "ib" and not np.array_equal(kept, array):
            raise ValueError(f"{what}: a value of column {name!r} does not fit into {same.name}.")
        out[name] = fixed(kept)
    lengths = {name: len(array) for name, array in out.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{what}: all columns have one entry per row; got lengths {lengths}.")
    return out


def constant(array) -> bool:
    """Whether nobody can write into an array: neither into itself, nor through an array that it is a view of."""
    while isinstance(array, np.ndarray) and not array.flags.writeable:
        array = array.base
    return array is None or isinstance(array, bytes)


def fixed(array):
    array.flags.writeable = False
    return array


def outside(array, least, below=np.inf):
    """Where an array is nan or not within [least, below), so not infinite: a mask, or False where that is nowhere."""
    if not array.size or (array.min() >= least and array.max() < below):
        return False
    return ~((array >= least) & (array < below))


def infinite(array):
    """Where an array is infinite or nan: a mask, or False where that is nowhere."""
    return False if not array.size or np.isfinite([array.min(), array.max()]).all() else ~np.isfinite(array)


def refuse(what, column, bad, rule, *shown, first=0):
    """An error that names the first row of a mask, if there is one."""
    if bad is not False and bad.any():
        k = int(np.argmax(bad if bad.ndim == 1 else bad.any(axis=1))) + first
        raise ValueError(
            f"{what} {k}: {rule}; got {', '.join(f'{name}={column(name)[k].tolist()}' for name in shown)}."
        )
