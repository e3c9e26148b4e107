"""How the members of a sweep are run: one by one, on threads, or side by side in chunks of one program."""

from __future__ import annotations

import threading
from collections import namedtuple
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from . import program, sweep_jobs, sweep_sizes
from .engine import Status, eager_run, judge
from .fanout import AXIS, spread
from .results import AXES
from .sweep_results import Member, member

Setting = namedtuple("Setting", "problem key look targets devices chunk found tell")
# found(job, line, point): a Member that is there already; tell(job, line, point, now), or None: of every evaluation


# ------------------------------------------------------------- one by one


def one_by_one(job, setting, number=1) -> Iterator[list[Member]]:
    """Members one by one, on `number` threads (JAX gives Python's lock back while it computes)."""
    x64 = jax.config.jax_enable_x64  # type: ignore[attr-defined]  # a thread has a setting of its own
    stop = threading.Event()

    def run(place):
        i, p = place
        clock, seed, summary = job.lines[i]
        if stop.is_set():
            return []
        if (kept := setting.found(job, i, p)) is not None:
            return [kept]
        key = jax.random.fold_in(setting.key, seed)
        each = setting.tell and (lambda now: setting.tell(job, i, p, now))
        with jax.enable_x64(x64), jax.default_device(setting.devices[0]):
            history = eager_run(
                job.parts,
                job.plans[i],
                setting.problem,
                key,
                job.consts[i][p],
                setting.look,
                setting.targets,
                False,
                each=each,
            )
        columns = {axis: getattr(history, axis) for axis in AXES} | {"loss": history.loss} | history.metrics
        who = {"method": job.method, "seed": seed, "numbers": job.points[p], "clock": clock}
        return [member(who, columns, history.status, len(history.loss) - 1, summary)]

    places = [(i, p) for i in range(len(job.lines)) for p in range(len(job.points))]
    if number == 1 or len(places) == 1:
        yield from map(run, places)
        return
    yield run(places[0])  # compiles, once
    with ThreadPoolExecutor(number) as pool:
        try:
            for future in as_completed([pool.submit(run, place) for place in places[1:]]):
                yield future.result()
        finally:
            stop.set()


# ------------------------------------------------------------ side by side


def side_by_side(job, setting) -> Iterator[list[Member]]:
    """Members side by side, chunk by chunk: points within plans, so that points share a plan's samples."""
    devices, num_points, num_plans = setting.devices, len(job.points), len(job.lines)
    if setting.chunk is None:
        one = sweep_jobs.first(job.plans)
        at_once = sweep_sizes.members_at_once(
            job.parts, one, setting.problem, job.consts[0][0], setting.look, devices[0]
        )
    else:
        at_once = setting.chunk
    points, plans, axis = sweep_sizes.cut(num_points, num_plans, len(devices), at_once)
    if axis == "plans":
        plans = -(-plans // len(devices)) * len(devices)
    else:
        points = -(-points // len(devices)) * len(devices)
    mesh = Mesh(np.array(devices), (AXIS,), axis_types=(AxisType.Auto,))
    problem = jax.device_put(setting.problem, NamedSharding(mesh, PartitionSpec()))
    levels, numbers = sort_numbers(job.consts)
    function = compiled(job.parts, setting.look, levels, axis, devices)
    clocks = {name: np.asarray(getattr(job.plans, name)) for name in AXES}
    lean = replace(job.plans, waves=None, gradients=None, update=None)
    keys = jnp.stack([jax.random.fold_in(setting.key, seed) for _, seed, _ in job.lines])
    for i in range(0, num_plans, plans):
        at_plan = np.minimum(np.arange(i, i + plans), num_plans - 1)  # the last chunk is filled up
        line = jax.tree.map(lambda a, at=at_plan: a[at], (lean, keys))
        for p in range(0, num_points, points):
            chunk = range(i, min(i + plans, num_plans)), range(p, min(p + points, num_points))
            kept = [setting.found(job, a, b) for a in chunk[0] for b in chunk[1]]
            if None not in kept:
                yield kept
                continue
            at_point = np.minimum(np.arange(p, p + points), num_points - 1)
            both = [a[at_plan][:, at_point] for a, level in zip(numbers, levels.kinds, strict=True) if level == "both"]
            point = [a[at_point] for a, level in zip(numbers, levels.kinds, strict=True) if level == "point"]
            same = [a for a, level in zip(numbers, levels.kinds, strict=True) if level == "same"]
            if axis == "points":
                both = [np.moveaxis(a, 1, 0) for a in both]
            looks = jax.device_get(function(*line, both, point, np.arange(points), same, problem))
            if axis == "points":
                looks = {name: np.moveaxis(look, 1, 0) for name, look in looks.items()}
            yield list(members_of(job, setting, looks, clocks, *chunk))


def members_of(job, setting, looks, clocks, lines, points) -> Iterator[Member]:
    """The members of a chunk, each cut where it ended."""
    for a, i in enumerate(lines):
        clock, seed, summary = job.lines[i]
        number = job.own[i].num_evaluations  # the common layout may have more
        for b, p in enumerate(points):
            own = {name: look[a, b, :number] for name, look in looks.items()}
            status, last = judge(own["loss"], own.get("gradient_norm"), setting.targets, np)
            columns = {name: column[i, :number] for name, column in clocks.items()} | {"loss": own.pop("loss")} | own
            who = {"method": job.method, "seed": seed, "numbers": job.points[p], "clock": clock}
            yield member(who, columns, Status(int(status)), int(last), summary)


def sort_numbers(consts):
    """The rules' numbers, [plan][point] -> how they vary ("both", "point", "same"), and arrays with just those axes."""
    leaves = [[list(map(np.asarray, jax.tree.leaves(one))) for one in line] for line in consts]
    levels, arrays = [], []
    equal = lambda a, b: a is b or np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    for n in range(len(leaves[0][0])):
        table = [[one[n] for one in line] for line in leaves]
        if not all(equal(line[p], table[0][p]) for line in table[1:] for p in range(len(line))):
            levels.append("both")
            arrays.append(np.array(table))
        elif not all(equal(one, table[0][0]) for one in table[0]):
            levels.append("point")
            arrays.append(np.array(table[0]))
        else:
            levels.append("same")
            arrays.append(table[0][0])
    return Levels(tuple(levels), jax.tree.structure(consts[0][0])), arrays


@dataclass(frozen=True)
class Levels:
    """How each number of a rule varies, and the tree that the numbers make."""

    kinds: tuple[str, ...]
    tree: Any

    def join(self, both, point, same):
        sources = {"both": iter(both), "point": iter(point), "same": iter(same)}
        return jax.tree.unflatten(self.tree, [next(sources[kind]) for kind in self.kinds])


@lru_cache(maxsize=64)
def compiled(parts, look, levels, axis, devices):
    """The program of a chunk: `(plans, keys, both, point, index, same, problem) -> looks [plans, points, evaluation]`
    (or [points, plans, evaluation], where points go over the devices)."""

    def one(plan, key, both, point, same, problem):
        _, looks = program.whole(parts, plan, problem, key, levels.join(both, point, same), look)
        return looks

    if axis == "plans":

        def line(plan, key, both, point, index, same, problem):
            return jax.vmap(lambda b, p, _: one(plan, key, b, p, same, problem))(both, point, index)

        return spread(line, devices=devices, in_axes=(0, 0, 0, None, None, None, None))

    def column(plans, keys, both, point, index, same, problem):
        return jax.vmap(lambda plan, key, b: one(plan, key, b, point, same, problem))(plans, keys, both)

    return spread(column, devices=devices, in_axes=(None, None, 0, 0, 0, None, None))


WAYS = {
    "vmap": side_by_side,
    "loop": one_by_one,
    "threads": lambda job, setting: one_by_one(job, setting, sweep_sizes.cores()),
}
