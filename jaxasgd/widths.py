"""How many gradients are computed side by side: what is best on a kind of device."""

from __future__ import annotations

import jax
import numpy as np

from . import program
from .planning import power_of_two
from .waves import cut_waves

WIDEST = {"cpu": 64}  # gradients side by side at most; elsewhere
ELSEWHERE = 1024
SHARE = 1 / 8  # of the device's memory, at most, for the gradients of a wave
PLENTY = 1 << 28  # bytes, where the device does not tell its memory


def best_waves(problem, schedule, method, devices=None) -> dict:
    """The arguments `width` and `one_each` of `plan` for a run.

    On a CPU gradients side by side pay where they are all of one version (synchronous rounds, batches at one version):
    their parameters are read once, and they become larger matrix products. Where every gradient has a version of its
    own they do not: there rows go one by one. Elsewhere as many as the schedule's waves hold on average. A recorded run
    is replayed row by row, to the bit.

    Args:
        problem: a `Problem`; its parameters say how much memory a gradient takes.
        schedule: a `Schedule`.
        method: a `Method`, bound.
        devices: those that share a wave, or None.
    """
    one_each = bool(jax.tree.leaves(jax.eval_shape(lambda: method.work.init(start_of(problem), schedule.num_workers))))
    device = jax.devices()[0] if devices is None else devices[0]
    number = 1 if devices is None else len(devices)
    if "times" not in schedule.info:
        return {"width": number, "one_each": one_each}
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(program.initial_shapes(problem)))
    room = int((memory(device) * SHARE) // max(size, 1)) * number
    most = max(number, min(WIDEST.get(device.platform, ELSEWHERE) * number, room))
    wanted = at_one_version(schedule) if device.platform == "cpu" else by_waves(schedule, most, one_each)
    width = min(power_of_two(max(wanted, 1)), 1 << (most.bit_length() - 1))
    return {"width": max(number, width - width % number), "one_each": one_each}


def start_of(problem):
    """Parameters of the right shapes."""
    return jax.tree.map(lambda leaf: jax.numpy.zeros(leaf.shape, leaf.dtype), program.initial_shapes(problem))


def memory(device) -> int:
    """Bytes of the device, where it tells."""
    stats = device.memory_stats() if device.platform != "cpu" else None
    return int(stats["bytes_limit"]) if stats and "bytes_limit" in stats else PLENTY


def at_one_version(schedule) -> int:
    """The most gradients at a version, if all are computed at the version that they are applied to."""
    use, delay = schedule.use, schedule.delay
    if delay.ndim > 1 or not use.any() or delay[use].any():
        return 1
    return int(np.bincount(schedule.version[use]).max())


def by_waves(schedule, most, one_each) -> float:
    """The mean length of the schedule's waves, none longer than `most`."""
    kept = np.flatnonzero(schedule.use | schedule.step)
    use, read, step = schedule.use[kept], schedule.read[kept], schedule.step[kept]
    birth = np.flatnonzero(step)
    waves, _ = cut_waves(read, use, birth, np.array([0]), most, schedule.worker[kept] if one_each else None)
    return len(kept) / max(len(waves) - 1, 1)
