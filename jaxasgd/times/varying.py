"""Workers whose speed changes: powers, day and night, outages; the universal computation model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from .base import NON_NEGATIVE, POSITIVE, SHARE, Times, arguments, integer, model, spec
from .parts import array, endless, messages, random_seconds, slower, told
from .pieces import Cycle, Pieces


def with_power(
    times: Times, power: ArrayLike | Callable, changes: ArrayLike | None = None, period: float | None = None
) -> Times:
    """The same work on the same luck at a power that changes: a job ends when the integral of the power is its work.

    A job that worker i starts at s and that takes w seconds at power 1 ends at the first t with
    integral_s^t power_i(u) du = w. Power 1 is the model's own speed, 0 an outage: work waits and goes on later.
    Messages and the server are not slowed. On a model that has a power already, the powers multiply.

    The mean is the mean seconds of a gradient in the long run, for a worker that is never idle: mean / (mean power over
    a period), inf at power 0 for ever; nan for a function, and where messages let a power that changes go by.

    Args:
        times: a model.
        power: a number; an array [pieces], the same for all workers, or [workers, pieces]; finite, 0 or more. Or a
            function `power(rng, worker)` that yields (seconds, power) for one worker, piece by piece from second 0; rng
            is a NumPy Generator of the worker's own. After its last piece that power holds for ever.
        changes: [pieces] seconds at which the pieces begin, growing, changes[0] = 0; not needed for one piece.
        period: seconds after which the pieces begin again; None: the last one holds for ever.

    Raises:
        ValueError: other numbers or shapes, or what a function yields, when it is asked.

    Example: everyone at half speed from 10 s on; a GPU that throttles every minute.
        >>> import jaxasgd as ja
        >>> times = ja.times.with_power(ja.times.fixed(4.0, num_workers=2), power=[1.0, 0.5], changes=[0.0, 10.0])
        >>> ja.simulate(ja.policies.asgd(), times, until=30.0).time.tolist()
        [4.0, 4.0, 8.0, 8.0, 14.0, 14.0, 22.0, 22.0, 30.0, 30.0]
        >>> ja.times.with_power(ja.times.fixed([4.0, 4.0]), [1.0, 0.6], changes=[0.0, 45.0], period=60.0).mean.round(3)
        array([4.444, 4.444])
    """
    model("with_power", times)
    make, mean, constant, args = made("with_power", times.num_workers, power, changes, period)
    return changed(times, "with_power", make, mean, constant, {"base": spec(times)} | args)


def universal(
    power: ArrayLike | Callable,
    changes: ArrayLike | None = None,
    period: float | None = None,
    *,
    num_workers: int | None = None,
) -> Times:
    """The universal computation model: from 0 to T worker i finishes floor(integral_0^T power_i(t) dt) gradients.

    `power` is gradients a second as a function of time, any at all; 0 is an outage. The same as
    `with_power(fixed(1.0), power, changes, period)`; power = 1 / h for ever is `fixed(h)`. Arguments, mean and errors
    as there; `num_workers` says how many workers there are where `power` does not. A. Tyurin, "Tight time complexities
    in parallel stochastic optimization with arbitrary computation dynamics", ICLR 2025, arXiv:2408.04929.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.universal([[1.0, 0.0], [0.25, 0.5]], changes=[0.0, 8.0], period=16.0)
        >>> times.mean.round(4)
        array([2.    , 2.6667])
        >>> run = ja.simulate(ja.policies.asgd(), times, until=20.0)
        >>> [(run.worker == i).sum().item() for i in range(2)]  # 8 + 4 and 2 + 4 + 1
        [12, 7]
    """
    if num_workers is None:
        shape: tuple[int, ...] = () if callable(power) else np.shape(power)
        if len(shape) != 2:
            raise ValueError(
                "times.universal: the number of workers is unknown, as power has no row for each; add num_workers=8, "
                "or give power as [workers, pieces]."
            )
        num_workers = shape[0]
    num_workers = integer(num_workers, 1, "times.universal: num_workers", "e.g. num_workers=8")
    base = Times("fixed", np.ones(num_workers), lambda rng, i, n: np.ones(n))
    make, mean, constant, args = made("universal", num_workers, power, changes, period)
    return changed(base, "universal", make, mean, constant, args | {"num_workers": num_workers})


def day_and_night(
    times: Times, period: float = 86_400.0, night: ArrayLike = 0.5, power: ArrayLike = 0.2, offset: ArrayLike = 0.0
) -> Times:
    """Workers that others use too: power 1 by day, `power` by night, over and over.

    At second t it is day for worker i where (t + offset_i) mod period < (1 - night_i) period. The mean is
    mean / (1 - night (1 - power)); else as in `with_power`.

    Args:
        times: a model.
        period: seconds of a day and its night.
        night: the night's share of the period, 0 to 1; one number, or one per worker.
        power: of the night, finite, 0 or more (above 1: faster); one number, or one per worker.
        offset: seconds of the first period that are over when the run begins, 0 or more: time zones; one number, or one
            per worker.

    Raises:
        ValueError: other numbers.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.day_and_night(ja.times.fixed([1.0, 1.0]), period=10.0, power=0.0, offset=[0.0, 5.0])
        >>> times.mean
        array([2., 2.])
        >>> run = ja.simulate(ja.policies.asgd(), times, until=20.0)
        >>> run.time[run.worker == 1].tolist()
        [6.0, 7.0, 8.0, 9.0, 10.0, 16.0, 17.0, 18.0, 19.0, 20.0]
    """
    model("day_and_night", times)
    period = float(arguments("day_and_night", 1, period=(period, POSITIVE))[0][0][0])
    rules = {"night": (night, SHARE), "power": (power, NON_NEGATIVE), "offset": (offset, NON_NEGATIVE)}
    (night, power, offset), args = arguments("day_and_night", times.num_workers, **rules)

    def cycle(share, low, over):
        dusk = (1 - share) * period
        if dusk in (0.0, period):
            return Cycle([0.0], [1.0 if dusk else low])
        return Cycle([0.0, dusk], [1.0, low], period, over)

    cycles = [cycle(*each) for each in zip(night.tolist(), power.tolist(), offset.tolist(), strict=True)]
    args = {"base": spec(times), "period": period} | {name: args[name] for name in rules}
    make, mean = lambda rng, worker: cycles[worker], 1 - night * (1 - power)
    return changed(times, "day_and_night", make, mean, all(len(cycle.power) == 1 for cycle in cycles), args)


def with_outages(times: Times, up: ArrayLike, down: ArrayLike) -> Times:
    """Outages at random: a worker works for some seconds, stands still for some, and so on; its job waits and goes on.

    The seconds of work and of outage alternate from second 0 on, all independent. (A worker that loses its job is in
    `with_failures`.) The mean is mean (up + down) / up with the means of the two, exact in the long run where they are
    finite; else as in `with_power`, and with another power already there nan.

    Args:
        times: a model.
        up: seconds between two outages: the mean of an exponential law, one number or one per worker; or a model with
            as many workers.
        down: seconds of an outage, likewise.

    Raises:
        ValueError: other numbers, or a model with another number of workers.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.with_outages(ja.times.fixed([2.0, 4.0]), up=30.0, down=[10.0, 30.0])
        >>> times.mean.round(3)
        array([2.667, 8.   ])
    """
    model("with_outages", times)
    works, told_up = random_seconds("with_outages", "up", up, times.num_workers)
    rests, told_down = random_seconds("with_outages", "down", down, times.num_workers)

    def make(rng, worker):
        for work, outage in zip(endless(works, rng, worker), endless(rests, rng, worker), strict=True):
            yield work, 1.0
            yield outage, 0.0

    with np.errstate(invalid="ignore"):
        mean = works.mean / (works.mean + rests.mean)
    mean = np.where(np.isfinite(works.mean + rests.mean), mean, np.nan)
    args = {"base": spec(times), "up": told_up, "down": told_down}
    return changed(times, "with_outages", make, mean, False, args)


def made(function: str, num_workers: int, power, changes, period):
    """A power as it is given: its make, its mean in the long run, whether it is constant, and what a spec says."""
    if callable(power):
        if changes is not None or period is not None:
            raise ValueError(
                f"times.{function}: a function yields (seconds, power) itself; leave out changes and period, and have "
                f"it yield its pieces again and again."
            )
        return power, np.full(num_workers, np.nan), False, {"power": getattr(power, "__name__", "a function")}
    cycles, args = pieces(function, power, changes, period, num_workers)
    mean, constant = np.array([cycle.mean for cycle in cycles]), all(len(cycle.power) == 1 for cycle in cycles)
    return lambda rng, worker: cycles[worker], mean, constant, args


def pieces(function: str, power, changes, period, num_workers: int) -> tuple[list[Cycle], dict]:
    """Each worker's power, and the numbers for a spec file."""
    power = array(power)
    shown = f"shape {power.shape} of {power.dtype}" if power.ndim else repr(power.item())
    rows = num_workers if power.ndim < 2 else len(power)
    if power.dtype.kind not in "iuf" or power.ndim > 2 or not power.size or rows != num_workers:
        raise ValueError(
            f"times.{function}: power is a number, [pieces], or [workers, pieces] with a row for each of {num_workers} "
            f"workers; got {shown}. A power of each worker for ever is power[:, None]."
        )
    power = power.astype(np.float64)
    good = (power >= 0) & np.isfinite(power)
    if not good.all():
        at = np.argwhere(~good)[0]
        whose = (
            f"worker {at[0]} has {power[tuple(at)]} in piece {at[1]}" if power.ndim == 2 else f"got {power[~good][0]}"
        )
        raise ValueError(f"times.{function}: a power is finite and 0 or more; {whose}. Write 0.0 for an outage.")
    count = power.shape[-1] if power.ndim else 1
    begins = np.zeros(1) if changes is None and count == 1 else array(changes)
    if begins.dtype.kind not in "iuf" or begins.shape != (count,):
        raise ValueError(
            f"times.{function}: changes says at which second each of the {count} pieces begins, [pieces]; got "
            f"{changes!r}. Write e.g. changes=[0.0, 60.0] for two pieces, and power[:, None] for one of each worker."
        )
    begins = begins.astype(np.float64)
    if begins[0] != 0 or not np.isfinite(begins).all() or (np.diff(begins) <= 0).any():
        raise ValueError(
            f"times.{function}: changes are finite seconds that grow from 0; got {begins.tolist()}. Sort them, and "
            f"begin with 0.0."
        )
    args = {"power": told(power), "changes": None if changes is None else told(begins), "period": None}
    if period is not None:
        args["period"] = period = float(arguments(function, 1, period=(period, POSITIVE))[0][0][0])
        if period <= begins[-1]:
            raise ValueError(
                f"times.{function}: a period ends after its last piece has begun at {begins[-1]} seconds; got "
                f"period={period}. Make it longer."
            )
    end = math.inf if period is None or count == 1 else period
    if power.ndim < 2:
        return [Cycle(begins, power.reshape(-1), end)] * num_workers, args
    return [Cycle(begins, row, end) for row in power], args


def changed(times: Times, name: str, make, mean: np.ndarray, constant: bool, args: dict) -> Times:
    """The model with one more power, `mean` in the long run."""
    with np.errstate(divide="ignore", invalid="ignore"):
        long_run = slower(times, 1 / mean)
    before = times.power
    if not constant:
        unknown = messages(times) > 0 if before is None or before.constant else True
        long_run = np.where(unknown, np.nan, long_run)
    if before is None:
        power = Pieces(make, constant=constant)
    else:
        power = before._replace(also=(*before.also, make), constant=before.constant and constant)
    return replace(times, name=name, mean=long_run, power=power, args=args)
