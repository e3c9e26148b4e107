"""The numbers of a real run: parameters, the state of the rules, and gradients that wait for their update.

The programs are those of `ja.run`, row by row at wave width 1, so that a replay of what is recorded computes the same.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .. import program, recording
from ..checks import shown
from ..engine import prepare
from ..planning import ladder, plan
from ..schedule import COLUMNS, Schedule

WHOLE = ("worker", "version", "delay", "use", "step", "first", "age")  # of a row, in one array of i4
REAL = ("weight", "total", "progress")  # in another, followed by tags


class Traits(NamedTuple):
    """What the compiled program asks of a plan, for rows that come one at a time; hashable.

    Attributes:
        every, lone, all_used: of each row, as in `Plan`: it is a step; of itself alone; it is used.
        tags: their names. told: the policy tells the delay that the rule sees at a step.
    """

    every: bool
    lone: bool
    all_used: bool
    tags: tuple[str, ...]
    told: bool
    num_workers: int
    num_cells: int = 1
    width: int = 1


class Sent(NamedTuple):
    """In the place of a table of cells: what the newest version sends, and no other; others hold what they need."""

    def table(self, number, row):
        return row

    def put(self, table, i, row):
        return row


class Held(NamedTuple):
    """What comes with a result beside the row: the gradient, what its worker had been sent, and what it remembers.

    `maker` is the worker whose row made the version that was sent (-1: nobody's).
    """

    update: Any
    stale: Any
    state: Any = ()
    maker: int = -1


class Pending(NamedTuple):
    """A row that waits for its update."""

    worker: int
    delay: int
    use: bool
    weight: float
    tags: dict
    held: Held | None


class Variant(NamedTuple):
    """A traced program for rows of some traits."""

    parts: program.Parts
    consts: Any
    traits: Traits


def traced(problem, method, num_workers, units, lone=True) -> Variant:
    """Check that problem and method go together, and trace the method, as `ja.run` does for a schedule.

    Args:
        problem: a `Problem`.
        method: a bound `Method`.
        num_workers: of the run.
        units: in a job of each worker, [num_workers].
        lone: for steps of one used row each (the rule may ask for `worker` and `stale`); else for any used rows.
    """
    tags = method.policy.tags
    one: dict[str, Any] = {name: np.zeros(1, dtype) for name, dtype in COLUMNS.items()}
    one |= {"size": np.full(1, units[0], np.int32), "use": np.ones(1, bool), "step": np.ones(1, bool)}
    schedule = Schedule(**one, num_workers=num_workers, end=0.0, tags={name: np.zeros(1) for name in tags})
    made = replace(plan(schedule), every=lone, lone=lone, max_size=ladder(max(units)))
    made, parts, consts = prepare(problem, made, method)
    traits = Traits(lone, lone, True, tuple(made.tags), "delay" in tags, num_workers)
    return Variant(parts._replace(cells=Sent(), beside=True), consts, traits)


class ParameterServer(recording.Rows):
    """The rows of a real run; what is written is done to the parameters.

    A used gradient is held until its update (final weights may come with that), then all that belong to it pass through
    arrival rule, aggregate and rule in the order of their arrival. Parameters are never updated in place: workers hold
    them. For each result set `arrived`, before `append` is told what the policy decided about it.

    Args:
        problem, method: what is minimised, and how; the method is bound.
        num_workers, units: see `traced`.
        num_updates: of the whole run; None: unknown, then no rule may ask for `progress`.
        key: a JAX key: of the start and of all samples.
        device: where the parameters are; None: JAX's first.

    Attributes:
        params: the current parameters.
        payload, maker: what a worker that starts now is sent, and whose row made it (-1: the initial parameters).
        version: updates so far.
        states: what each worker remembers: initially, and (where `tell`) after its last used gradient, [num_workers].
        tell: results are to bring the workers' states along.
        arrived: `Held`, of the result that `append` will be about.
        used: whether each worker's latest gradient was used, [num_workers].

    Raises:
        ValueError: as `ja.run` does; where the rule asks for `progress` and nobody knows it; later, at the row that
            is at fault: for `worker` or `stale` of an aggregate, a version that is another worker's, a tag that
            the policy did not announce, or a `Decision.read` (what was read is a fact here).
    """

    def __init__(self, problem, method, num_workers, units, num_updates, key, device=None):
        super().__init__(method.policy.tags)
        self.device = jax.devices()[0] if device is None else device
        self.method, self.num_updates = method, num_updates
        self.lone: Any = traced(problem, method, num_workers, units)
        self.any: Any = None
        self.error: Any = None
        try:
            self.any = traced(problem, method, num_workers, units, lone=False)
        except ValueError as error:  # the rule is for steps of one gradient; raised if there comes another
            self.error = error
        if num_updates is None and any(asks(self.lone.parts, "progress")):
            raise ValueError("the rule asks for progress, the share of updates done: give num_updates=.")
        self.key, self.problem = jax.device_put((key, problem), self.device)
        put = lambda made: None if made is None else made._replace(consts=jax.device_put(made.consts, self.device))
        self.lone, self.any = put(self.lone), put(self.any)
        self.gaps = self.any and self.any._replace(traits=self.any.traits._replace(all_used=False))
        made = self.any or self.lone
        carry = begin(made.parts, made.traits, self.problem, self.key, made.consts)
        self.params, self.payload, self.maker = carry.params, carry.cells, -1
        # donated later, so nothing of the caller's, or of what workers hold, may be in it
        self.rule, self.arrival, self.total = jax.tree.map(jnp.copy, (carry.rule, carry.arrival, carry.total))
        remembers = bool(jax.tree.leaves(carry.workers))
        self.tell = remembers and method.send is not None
        self.owned = method.private or self.tell
        self.states = [jax.tree.map(lambda a, i=i: a[i], carry.workers) for i in range(num_workers)]
        self.nothing = jax.device_put(jax.tree.map(jnp.zeros_like, self.params), self.device)
        self.real = jax.dtypes.canonicalize_dtype(np.float64)
        self.pending: list[Pending] = []
        self.version = 0
        self.arrived: Any = None
        self.used = [False] * num_workers

    def warm_up(self):
        """Compile; the numbers stay as they are."""
        row = Pending(0, 0, True, 1.0, {}, Held(self.nothing, self.payload, self.states[0]))
        for variant in filter(None, (self.lone, self.any, self.gaps)):
            memory = jax.tree.map(jnp.copy, self.memory(variant))
            jax.block_until_ready(self.call(variant, memory, row, True, True, 1.0, 0))

    # ------------------------------------------------------------------- rows

    def append(self, told, use, step, time, start, busy, worker, read, visit, repeat, size):
        weight, weights, tags, seen = told
        if seen is not None and not (np.ndim(seen) == 0 and seen == read):
            raise ValueError(
                f"a policy whose decisions say what was read is for simulation: here workers read what they were sent, "
                f"version {read}; got Decision.read {shown(seen)}."
            )
        unknown = sorted(set(tags) - set(self.tags))
        super().append(told, use, step, time, start, busy, worker, read, visit, repeat, size)
        if unknown:
            raise ValueError(
                f"a policy announces its tags, Policy(..., tags={tuple(unknown)}); got a decision with them."
            )
        held, self.arrived = self.arrived, None
        if use:
            if self.owned and held.maker not in (-1, worker):
                raise ValueError(
                    "what workers with a state of their own are sent, or a method with private=True sends, belongs to "
                    f"them alone, and here worker {worker} started at version {read}, which worker {held.maker} made: "
                    "let each start at its own."
                )
            self.used[worker] = True
            if self.tell:
                self.states[worker] = held.state
        if use or step:
            weight = float(weight) if use else 0.0
            self.pending.append(Pending(worker, self.version - read, bool(use), weight, tags, held if use else None))
        if step:
            self.update(weights)

    def update(self, weights):
        """A step: all rows since the last one, in order."""
        rows, self.pending = self.pending, []
        if weights is not None:
            final = iter(np.asarray(weights, np.float64).tolist())
            rows = [row._replace(weight=next(final)) if row.use else row for row in rows]
        total = 0.0
        for row in rows:
            total += row.weight
        age = max((row.delay for row in rows if row.use), default=0)
        variant = self.gaps if not rows[-1].use else self.any if len(rows) > 1 else self.lone
        if variant is None:
            raise self.error
        for k, row in enumerate(rows):
            last = k == len(rows) - 1
            params, payload, memory = self.call(variant, self.memory(variant), row, k == 0, last, total, age)
            self.rule, self.arrival = memory[:2]
            self.total = self.total if variant.traits.every else memory[2]
        self.params, self.payload = params, params if self.method.send is None else payload
        self.maker = rows[-1].worker
        self.version += 1

    def memory(self, variant):
        """What the programs remember from row to row."""
        return self.rule, self.arrival, None if variant.traits.every else self.total

    def call(self, variant, memory, row, first, step, total, age):
        """Run the program on a row: `(parameters, what is sent, memory)`."""
        held = row.held or Held(self.nothing, self.payload)
        traits = variant.traits
        progress = self.version / max(self.num_updates, 1) if self.num_updates is not None else np.nan
        ints = np.array((row.worker, self.version, row.delay, row.use, step, first, age), np.int32)
        floats = [row.weight, total, progress, *(row.tags.get(name, np.nan) for name in traits.tags)]
        if traits.told:
            told = row.tags.get("delay", np.nan)
            floats.append(age if np.isnan(told) else told)
        state = () if self.method.send is None else self.states[row.worker]
        parts, consts, real = variant.parts, variant.consts, np.array(floats, self.real)
        return serve(parts, traits, consts, memory, self.params, held.update, held.stale, state, ints, real)


def asks(parts, name):
    """Whether rule and arrival rule make use of a keyword argument, as traced."""
    for traced in filter(None, (parts.update, parts.arrival_update)):
        number = traced.in_tree.num_leaves
        extras = jax.tree.unflatten(traced.in_tree, range(number))[3]
        first = len(traced.jaxpr.invars) - number
        variables = [traced.jaxpr.invars[first + i] for i in jax.tree.leaves(extras[name])]
        yield any(used is variable for each in traced.jaxpr.eqns for used in each.invars for variable in variables)


@partial(jax.jit, static_argnums=(0, 1))
def begin(parts, traits, problem, key, consts):
    """Version 0."""
    return program.start(parts, traits, problem, key, consts)


@partial(jax.jit, static_argnums=(0, 1), donate_argnums=3)
def serve(parts, traits, consts, memory, params, update, stale, state, ints, floats):
    """The server's part of a row, as in `program.one_row`."""
    row = dict(zip(WHOLE, ints, strict=True))
    row |= {name: row[name] != 0 for name in ("use", "step", "first")}
    row |= dict(zip((*REAL, *traits.tags), floats, strict=False))
    row |= {"progress": row["progress"].astype(jnp.float32)}
    if traits.told:
        row["age"] = floats[-1]
    cell = jnp.int32(0)
    row |= {"read": cell, "current": cell, "write": cell}
    table = jax.tree.map(lambda a: a[None], state)  # of one row, which is taken whatever the worker's number
    rule, arrival, total = memory
    carry = program.Carry((), params, rule, arrival, table, total)
    carry = program.serve(parts, traits, consts, carry, row, update, stale)
    sent = None if parts.send is None else carry.cells
    return carry.params, sent, (carry.rule, carry.arrival, carry.total)
