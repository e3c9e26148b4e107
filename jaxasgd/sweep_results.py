"""What a sweep found: its members, their curves as arrays, and the best numbers of each method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .checks import metric_name, shown
from .history import WORDS, Status
from .results import AXES, Comparison, Run, interval


@dataclass(frozen=True, eq=False)
class Member(Run):
    """One run of a sweep: a `Run` with the method's `numbers` (name -> value) and the `clock`'s name ("" for one).

    `columns` has one entry per evaluation, up to where the run ended.
    """

    numbers: Mapping[str, Any] = field(default_factory=dict)
    clock: str = ""

    @property
    def label(self) -> str:
        """Method, numbers and clock in one line: the method's name in a `Comparison`."""
        told = [f"{name}={text(value)}" for name, value in self.numbers.items()]
        return ", ".join([self.method, *told, *([self.clock] if self.clock else [])])

    def row(self) -> dict:
        """The member as one line of a table: who it is, how it ended, and its last values."""
        last = {name: column[-1].item() for name, column in self.columns.items()}
        if self.status == "diverged":
            last |= {name: float("nan") for name in last if name not in AXES}
        who = {"method": self.method, **({"clock": self.clock} if self.clock else {}), **self.numbers}
        return who | {"seed": self.seed, "status": self.status, "ended": self.ended, **last}


def text(value) -> str:
    """A number for a label, short."""
    return f"{value:.6g}" if isinstance(value, (float, np.floating)) else str(value)


@dataclass(frozen=True, eq=False)
class Curves:
    """All runs of one method as arrays.

    Attributes:
        axes: name -> values of every axis but the last: the method's numbers, "clock" where there are several, "seed".
        time, update, gradients: of each evaluation, [*axes, evaluation]; nan or -1 beyond a run's end.
        loss: [*axes, evaluation], nan beyond the end. metrics: name -> the same of whatever else the problem reports.
        status: [*axes], a `Status`, or -1 where the run was not made (Ctrl-C). ended: [*axes], at which update.
        final_loss: [*axes], the loss at the run's end; nan where it diverged or was not made.
    """

    axes: dict[str, list]
    time: np.ndarray
    update: np.ndarray
    gradients: np.ndarray
    loss: np.ndarray
    metrics: dict[str, np.ndarray]
    status: np.ndarray
    ended: np.ndarray
    final_loss: np.ndarray


@dataclass(frozen=True)
class Best:
    """The best numbers of a method: mean of the last value over seeds, with its Student-t interval.

    `at_edge` names the numbers whose best value is the first or the last of three or more: widen the grid there.
    """

    numbers: dict
    mean: float
    low: float
    high: float
    seeds: int
    diverged: int
    at_edge: tuple[str, ...]

    def __str__(self):
        told = ", ".join(f"{name} {text(value)}" for name, value in self.numbers.items()) or "no numbers"
        half = f" ± {self.high - self.mean:.2g}" if np.isfinite(self.high) else ""
        lost = f", {self.diverged} of {self.seeds} diverged" if self.diverged else ""
        edge = f" (at the edge of the grid: {', '.join(self.at_edge)})" if self.at_edge else ""
        return f"{told}: {self.mean:.4g}{half}{lost}{edge}"


@dataclass(frozen=True, eq=False)
class Sweep:
    """Every run of a sweep.

    Attributes:
        members: every finished `Member`, in the order of methods, numbers, clocks, seeds.
        grids: method -> {number: its values}. clocks: their names, () where there is one. seeds: as given.
        spec: every number that made it, versions and device (JSON).
        complete: false where Ctrl-C came before the end.
    """

    members: list[Member]
    grids: dict[str, dict[str, list]]
    clocks: tuple[str, ...]
    seeds: list[int]
    spec: dict = field(default_factory=dict)
    complete: bool = True

    @property
    def methods(self) -> list[str]:
        """Names of the methods, in order."""
        return list(self.grids)

    @property
    def metrics(self) -> list[str]:
        """What there are curves of: "loss" and whatever else the problem reports."""
        return [name for name in self.members[0].columns if name not in AXES]

    def __getitem__(self, method) -> Curves:
        """The method's runs as arrays [*numbers, (clock,) seed, evaluation]."""
        if method not in self.methods:
            raise ValueError(f"the methods are {self.methods}; got {shown(method)}.")
        grid = self.grids[method]
        axes = {**grid, **({"clock": list(self.clocks)} if self.clocks else {}), "seed": self.seeds}
        shape = tuple(map(len, axes.values()))
        chosen = [(self.place(member), member) for member in self.members if member.method == method]
        looks = max((len(member.columns["time"]) for _, member in chosen), default=0)
        kinds = {name: column.dtype for name, column in self.members[0].columns.items()}
        empty = lambda kind: np.full((*shape, looks), np.nan if kind.kind == "f" else -1, kind)
        columns = {name: empty(kind) for name, kind in kinds.items()}
        status, ended = np.full(shape, -1, np.int32), np.full(shape, -1, np.int64)
        final = np.full(shape, np.nan, kinds["loss"])
        codes = {word: int(code) for code, word in WORDS.items()}
        for place, member in chosen:
            for name, column in member.columns.items():
                columns[name][place][: len(column)] = column
            status[place], ended[place] = codes[member.status], member.ended
            final[place] = np.nan if member.status == "diverged" else member.columns["loss"][-1]
        known = {name: columns.pop(name) for name in (*AXES, "loss")}
        return Curves(axes, **known, metrics=columns, status=status, ended=ended, final_loss=final)

    def place(self, member: Member) -> tuple[int, ...]:
        """Where a member is in its method's arrays."""
        grid = self.grids[member.method]
        where = [next(i for i, v in enumerate(grid[n]) if v is member.numbers[n]) for n in grid]
        clock = [self.clocks.index(member.clock)] if self.clocks else []
        return (*where, *clock, self.seeds.index(member.seed))

    def best(self, of: str = "loss", clock: str | None = None) -> dict[str, Best]:
        """Method -> the numbers with the best mean last value over seeds; a diverged run counts as the worst.

        Losses and norms are best where small, anything else where large. With several clocks, say which.

        Raises:
            ValueError: where `of` or `clock` names nothing in this sweep.
        """
        metric_name(of, self.metrics)
        if self.clocks and clock not in self.clocks:
            raise ValueError(f"the best is looked for on one clock, clock= one of {self.clocks}; got {shown(clock)}.")
        if not self.clocks and clock is not None:
            raise ValueError(f"this sweep has one clock, without a name: leave clock= out; got {shown(clock)}.")
        sign = 1 if "loss" in of or "norm" in of else -1
        out = {}
        for method, grid in self.grids.items():
            runs: dict[tuple, list] = {}
            for member in self.members:
                if member.method == method and member.clock == (clock or ""):
                    lost = member.status == "diverged" or not np.isfinite(member.columns[of][-1])
                    value = np.inf if lost else sign * float(member.columns[of][-1])
                    runs.setdefault(self.place(member)[: len(grid)], []).append(value)
            if not runs:
                continue
            # fewest diverged first, so that of points which all lost a seed the one that lost least is told
            cost = lambda at, runs=runs: (np.isinf(runs[at]).sum() / len(runs[at]), np.mean(runs[at]))
            at = min(runs, key=cost)
            values = np.array(runs[at])
            kept = sign * values[np.isfinite(values)]
            mean, low, high = interval(kept) if len(kept) else (np.nan, np.nan, np.nan)
            edge = (
                name for name, i in zip(grid, at, strict=True) if len(grid[name]) > 2 and i in (0, len(grid[name]) - 1)
            )
            numbers = {name: grid[name][i] for name, i in zip(grid, at, strict=True)}
            out[method] = Best(numbers, mean, low, high, len(values), int(np.isinf(values).sum()), tuple(edge))
        return out

    def rows(self) -> list[dict]:
        """A line a run, `pandas.DataFrame(sweep.rows())` for example: who it is, how it ended, and its last values."""
        return [member.row() for member in self.members]

    def comparison(self) -> Comparison:
        """The same runs as a `Comparison`, in which every point of the grid is a method of its own."""
        kinds = (*AXES, *self.metrics)
        runs = [
            Run(m.label, m.seed, m.status, m.ended, {name: m.columns[name] for name in kinds}, m.summary)
            for m in self.members
        ]
        return Comparison(runs, {}, self.spec | {"grids": self.grids, "clocks": list(self.clocks)})

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write spec.json, history.csv and runs.csv into a folder; `ja.results.load` reads it as a `Comparison`."""
        return self.comparison().save(folder, overwrite=overwrite)

    def __str__(self):
        total = f"{len(self.members)} runs{'' if self.complete else ' (stopped before the end)'}"
        lines = [total]
        for clock in self.clocks or (None,):
            at = f" on {clock}" if clock else ""
            lines += [f"  {method}{at}  {best}" for method, best in self.best(clock=clock).items()]
        return "\n".join(lines)


def member(who: dict, columns: dict, status, last: int, summary: dict) -> Member:
    """A member from its curves, cut at evaluation `last`."""
    columns = {name: np.asarray(column)[: last + 1] for name, column in columns.items()}
    return Member(
        status=WORDS[Status(int(status))], ended=int(columns["update"][-1]), columns=columns, summary=summary, **who
    )


def ordered(members, grids, clocks, seeds) -> list[Member]:
    """The members in the order of methods, numbers, clocks and seeds."""
    sweep, methods = Sweep(members, grids, clocks, seeds), list(grids)
    return sorted(members, key=lambda m: (methods.index(m.method), sweep.place(m)))
