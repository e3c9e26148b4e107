"""Waves: rows whose versions exist already when the wave begins, so that their gradients can be computed side by side.

The greedy cut gives the fewest waves possible: as many as the longest chain of rows that need each other. NumPy.
"""

from __future__ import annotations

import numpy as np


def wave_traits(waves, read, use, step) -> dict[str, bool]:
    """Whether each wave has read one version, and steps at its last row or not at all."""
    starts, wave = waves[:-1], np.repeat(np.arange(len(waves) - 1), np.diff(waves))
    ends = np.zeros(len(use), bool)
    ends[waves[1:] - 1] = True
    if read.ndim > 1 or not len(starts):
        return {"shared": read.ndim == 1, "closed": bool((ends | ~step).all())}
    low = np.minimum.reduceat(np.where(use, read, np.iinfo(read.dtype).max), starts)
    return {"shared": bool((~use | (read == low[wave])).all()), "closed": bool((ends | ~step).all())}


def cut_waves(read, use, birth, row_bounds, width, worker=None):
    """Cut the rows greedily into waves whose versions exist when they begin; evaluations cut too.

    With `worker`, a wave also ends before a worker's second row that is used.

    Returns the first row of each wave (and the end), and the evaluations' bounds counted in waves.
    """
    rows = len(use)
    if width == 1:
        return np.arange(rows + 1, dtype=np.int32), row_bounds.astype(np.int32)
    newest = read if read.ndim == 1 else read.max(axis=1, initial=0)
    born = np.concatenate([[-1], birth])[newest]  # row after which the version exists
    born = np.where(use, born, -1).tolist()
    stops = iter(row_bounds.tolist())
    stop, waves, bounds, start = next(stops), [], [], 0
    latest = np.full(rows, -1) if worker is None else previous_of(worker, use)  # used row of the same worker
    latest = latest.tolist()
    for row in range(rows + 1):
        cut = row in (rows, stop) or born[row] >= start or row - start == width or latest[row] >= start
        if cut and row > start:
            waves.append(start)
            start = row
        while stop == row:
            bounds.append(len(waves))
            stop = next(stops, None)
    return np.array([*waves, rows], np.int32), np.array(bounds, np.int32)


def previous_of(worker, use):
    """For each used row the used row of the same worker before it, -1 elsewhere."""
    rows = np.flatnonzero(use)
    order = rows[np.argsort(worker[rows], kind="stable")]
    before = np.full(len(worker), -1)
    same = worker[order[1:]] == worker[order[:-1]]
    before[order[1:][same]] = order[:-1][same]
    return before
