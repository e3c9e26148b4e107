"""What of a sweep runs as one program: points of the grid whose rules trace alike, on plans of one policy."""

from __future__ import annotations

import functools
import inspect
import itertools
import types
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import jax
import numpy as np

from .checks import shown
from .engine import prepare
from .methods import Method
from .parts import Parts
from .planning import Plan, align, plan, stack
from .simulation import simulate


@dataclass(frozen=True, eq=False)
class Job:
    """Members that one compiled program runs: every point on every plan.

    Attributes:
        method: its name. points: numbers of the method, one mapping a point.
        lines: (clock's name, seed, the schedule's summary), one a plan.
        plans: stacked where they run under vmap, else a list of them, aligned; own: each as it was made.
        parts: what shapes the program. consts: the rule's numbers, [plan][point].
    """

    method: str
    points: list[dict]
    lines: list[tuple]
    plans: Plan | list[Plan]
    own: list[Plan]
    parts: Parts
    consts: list[list]

    @property
    def size(self) -> int:
        return len(self.points) * len(self.lines)

    @property
    def updates(self) -> dict[tuple, int]:
        """(clock's name, seed) -> updates of a run there."""
        return {line[:2]: int(one.update[-1]) for line, one in zip(self.lines, self.own, strict=True)}


def numbers_of(name, make, grid) -> dict[str, list]:
    """The grid's numbers that a method takes, by its signature."""
    if isinstance(make, Method):
        return {}
    if not callable(make):
        raise ValueError(
            f"method {name!r} is a function of the grid's numbers -> ja.Method, or a Method; got {shown(make)}."
        )
    taken = inspect.signature(make).parameters.values()
    everything = any(p.kind == p.VAR_KEYWORD for p in taken)
    names = [p.name for p in taken if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    missing = [p.name for p in taken if p.default is p.empty and p.name in names and p.name not in grid]
    if missing or any(p.kind == p.POSITIONAL_ONLY for p in taken):
        raise ValueError(
            f"method {name!r} takes numbers by name, each in the grid or with a default; of {missing or 'one'} "
            f"there is nothing among {list(grid)}: add it to grid=, or fix it in the function."
        )
    return {key: values for key, values in grid.items() if everything or key in names}


def points_of(name, make, grid) -> list[tuple[dict, Method]]:
    """Every point of the method's grid, and the method there."""
    made = []
    for values in itertools.product(*grid.values()):
        numbers = dict(zip(grid, values, strict=True))
        method = make if isinstance(make, Method) else make(**numbers)
        if not isinstance(method, Method):
            raise ValueError(
                f"method {name!r} is a ja.Method at every point, ja.Method(ja.policies.asgd(), rule) for one; at "
                f"{numbers} got {shown(method)}."
            )
        made.append((numbers, method))
    return made


class Schedules:
    """Plans by policy, clock and seed: each schedule is simulated once, whatever the learning rates."""

    def __init__(self, clocks, seeds, evaluate, **options):
        self.clocks, self.seeds, self.evaluate, self.options = clocks, seeds, evaluate, options
        self.made, self.simulated = {}, 0
        self.kept = []  # the methods whose policies are keys: an object's id is its own only while it lives

    def of(self, clock: str, policy, method) -> list[tuple[Plan, dict]]:
        """A plan and the schedule's summary for each seed."""
        if (clock, policy) not in self.made:
            runs = [simulate(method, self.clocks[clock], seed=seed, **self.options) for seed in self.seeds]
            self.simulated += len(runs)
            self.kept.append(method)
            self.made[clock, policy] = [(plan(run, evaluate=self.evaluate), run.summary()) for run in runs]
        return self.made[clock, policy]


def jobs_of(problem, name, points, schedules: Schedules, choose):
    """The jobs of one method, with the way to run each: `choose(method, plans, how many points) -> way`."""
    groups: dict[tuple, list] = {}
    for p, (_, method) in enumerate(points):
        bound = {clock: method.bind(times.num_workers, times) for clock, times in schedules.clocks.items()}
        for workers in dict.fromkeys(times.num_workers for times in schedules.clocks.values()):
            here = {c: m for c, m in bound.items() if schedules.clocks[c].num_workers == workers}
            policies = {c: fingerprint((m.policy, m.work.size)) for c, m in here.items()}
            groups.setdefault((workers, tuple(policies.items())), []).append((p, here))
    for (_, policies), chosen in groups.items():
        made = [
            (c, s, *one)
            for c, key in policies
            for s, one in zip(schedules.seeds, schedules.of(c, key, chosen[0][1][c]), strict=True)
        ]
        own = [one for *_, one, _ in made]
        how = choose(next(iter(chosen[0][1].values())), own, len(chosen))
        plans: Any = stack(own) if how == "vmap" else align(own)
        one = first(plans) if how == "vmap" else plans[0]
        programs: dict[tuple, list] = {}  # points by program; clocks apart only where they need different ones
        for p, here in chosen:
            traced = {clock: prepare(problem, one, method) for clock, method in here.items()}
            fitted = next(iter(traced.values()))[0]
            shapes = tuple((clock, parts) for clock, (_, parts, _) in traced.items())
            programs.setdefault(shapes, []).append((p, {c: consts for c, (_, _, consts) in traced.items()}))
        block = fitted.block  # samples of a block of rows fit into a few MB
        plans = replace(plans, block=block) if how == "vmap" else [replace(one, block=block) for one in plans]
        for shapes, members in programs.items():
            for parts in dict.fromkeys(parts for _, parts in shapes):
                clocks = [clock for clock, each in shapes if each == parts]
                index = [i for i, (clock, *_) in enumerate(made) if clock in clocks]
                lines = [(made[i][0], made[i][1], made[i][3]) for i in index]
                consts = [[values[made[i][0]] for _, values in members] for i in index]
                if how == "vmap":
                    laid = plans if len(index) == len(own) else jax.tree.map(lambda a, index=index: a[index], plans)
                else:
                    laid = [plans[i] for i in index]
                numbers = [points[p][0] for p, _ in members]
                yield how, Job(name, numbers, lines, laid, [own[i] for i in index], parts, consts)


def first(plans: Plan) -> Plan:
    """One plan of those stacked, in the common layout."""
    return jax.tree.map(lambda a: a[0], plans)


# ------------------------------------------------------------ equal policies

PLAIN = (type(None), bool, int, float, complex, str, bytes, types.CodeType)


def fingerprint(value: Any, above: tuple = ()):
    """A hashable that is equal for two policies only if they decide alike: their code and all that it closes over.

    Two calls of `ja.policies.ringmaster(4)` give different functions with equal fingerprints. What is not looked into
    (a random generator, an object of a class of somebody's own) is equal only to itself.
    """
    if id(value) in above:
        return "again", len(above) - above.index(id(value))
    into = functools.partial(fingerprint, above=(*above, id(value)))
    kind = type(value)
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype != object:
        return kind, str(value.dtype), np.shape(value), np.asarray(value).tobytes()
    if isinstance(value, PLAIN):
        return kind, repr(value) if isinstance(value, (float, complex)) else value
    if isinstance(value, (tuple, list)):
        return kind, *map(into, value)
    if isinstance(value, Mapping):
        return kind, *((into(k), into(v)) for k, v in value.items())
    if isinstance(value, types.FunctionType):
        cells = [into(cell.cell_contents) if has_value(cell) else None for cell in value.__closure__ or ()]
        rest = (value.__defaults__, value.__kwdefaults__, vars(value))
        return kind, value.__code__, id(value.__globals__), *cells, into(rest)
    if isinstance(value, functools.partial):
        return kind, into(value.func), into(value.args), into(value.keywords)
    if isinstance(value, types.MethodType):
        return kind, into(value.__func__), into(value.__self__)
    if is_dataclass(value) and not isinstance(value, type):
        return kind, *(into(getattr(value, f.name)) for f in fields(value))
    return "same object", id(value)


def has_value(cell) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:  # not filled yet
        return False
