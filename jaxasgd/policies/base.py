"""The policy contract: who counts, when the server updates, and who starts again. NumPy, no gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..checks import function, kind, shown

GRADIENT, TIMEOUT, LOST, JOINED = "gradient", "timeout", "lost", "joined"


class Job(NamedTuple):
    """An order to a worker: compute `size` work units, and give up after `timeout` seconds."""

    worker: int
    size: int = 1
    timeout: float = math.inf


class Event(NamedTuple):
    """What the server sees.

    `kind` is "gradient"; "timeout": the job was given up; "lost": the job will never arrive, as its worker left with
    it, or was not there when it was handed out; or "joined": a worker of which a job was lost is back, with no job
    (read, visit, repeat and size mean nothing then). Who gives a job a time-out hears of its loss as a timeout only. A
    loss answered by a job for the same worker starts nothing: it will be back with "joined", or never. `version` is
    the count of updates so far and `delay = version - read`.
    """

    kind: str
    time: float
    start: float
    worker: int
    read: int
    visit: int
    repeat: int
    size: int
    version: int
    delay: int


class Decision(NamedTuple):
    """What the server does about an event.

    Attributes:
        use: whether the gradient is computed and enters the current aggregate.
        weight: its weight there; weights between two updates sum to one unless the method says otherwise.
        step: whether the server updates now.
        start: who is handed a job: workers (ints), `Job`s, or a NumPy array of workers. A busy worker queues
            first-in first-out; the version is read when the job is handed out.
        cancel: workers whose jobs, running and queued, are dropped (before `start` is looked at).
        weights: with `step`, the final weights of all used rows since the last update, this one included, in
            the order of their arrival: for methods that know them only when the batch closes.
        tags: named numbers that become columns of the schedule and keyword arguments of the rule.
        read: None (the version stamped when the job was handed out), or what the worker really saw: a version, or one
            for each group of leaves or coordinates, [groups] (Hogwild!, pipelines); the same length in every row.
    """

    use: bool | np.ndarray = False  # arrays: of many rows at once, see `vectorized`
    weight: float | np.ndarray = 1.0
    step: bool | np.ndarray = False
    start: Any = ()
    cancel: Any = ()
    weights: Any = None
    tags: Mapping[str, float] = {}
    read: Any = None


class Arrivals(NamedTuple):
    """All arrivals of a run whose workers start again at once, in order; arrays [rows].

    `before` is the row of the same worker's arrival before (-1: none), right after which it read. `reads` says
    whether that is "after" the update, if there was one, or "before" it.
    """

    time: Any
    start: Any
    worker: Any
    before: Any
    reads: str

    def version(self, step: ArrayLike) -> np.ndarray:
        """The version at each row, if the server steps after the rows where `step` is true: [rows]."""
        step = np.broadcast_to(np.asarray(step, np.int64), self.before.shape)
        return np.cumsum(step) - step

    def read(self, step: ArrayLike) -> np.ndarray:
        """The version that each gradient was computed at: what was known after the arrival before it, [rows]."""
        known = self.version(step) + (np.asarray(step) if self.reads == "after" else 0)
        return np.where(self.before < 0, 0, known[self.before]) if len(known) else known


def vectorized(on: Callable, pure: Callable) -> Callable:
    """`on` with the same decisions over arrays, of which `simulate` makes a schedule of millions of rows in seconds.

    For policies that start all workers once, and then at every arrival just the one that delivered, and that cancel
    nobody. `pure(num_workers, arrivals) -> Decision` has `use`, `weight`, `step`, `read` and `tags` of all rows of
    `Arrivals` at once (a single value holds for all); what it says of a row depends on no later one. It is used where
    jobs just take their seconds; the schedule is that of the event loop, to the bit.

    Example:
        >>> import jaxasgd as ja
        >>> def on(state, event):
        ...     return state, ja.Decision(use=True, step=True, start=(event.worker,))
        >>> def pure(num_workers, arrivals):
        ...     return ja.Decision(use=True, step=True)
        >>> policy = ja.Policy(lambda num_workers, rng: (None, range(num_workers)), ja.policies.vectorized(on, pure))
        >>> ja.simulate(policy, ja.times.fixed(1.0, num_workers=2), num_updates=4).delay.tolist()
        [0, 1, 1, 1]
    """
    function("on", on, "(state, event)").pure = function("pure", pure, "(num_workers, arrivals)")  # type: ignore[attr-defined]  # a function has attributes
    return on


def every(batch: int, arrivals: Arrivals) -> np.ndarray:
    """True at every batch-th row."""
    return np.arange(1, len(arrivals.time) + 1) % batch == 0


class Policy(NamedTuple):
    """Two functions: `init(num_workers, rng) -> (state, start)` and `on(state, event) -> (state, Decision)`.

    `start` is who begins at version 0, as in `Decision.start`. `rng` is a NumPy Generator of the policy's own
    (the clock has others), so that random dispatch is an ordinary policy; keep it in the state. `info` is what a
    spec file says of the policy; `tags` names the tags it may give, so that every schedule of it has the same columns.

    Example:
        >>> import jaxasgd as ja
        >>> def init(num_workers, rng):
        ...     return None, range(num_workers)
        >>> def on(state, event):  # a gradient older than 3 updates is thrown away
        ...     fresh = event.delay <= 3
        ...     return state, ja.Decision(use=fresh, step=fresh, start=(event.worker,))
        >>> schedule = ja.simulate(ja.Policy(init, on), ja.times.exponential(1.0, num_workers=8), num_updates=50)
        >>> int(schedule.delay[schedule.use].max()) <= 3
        True
    """

    init: Callable
    on: Callable
    info: Mapping[str, Any] = {}
    tags: tuple[str, ...] = ()

    @property
    def pure(self) -> Callable | None:
        """The decisions of `on` over arrays, see `vectorized`; None where there is no such form."""
        return getattr(self.on, "pure", None)


def check_policy(policy, or_else: str):
    """A policy, whose parts are what they should be; `or_else` says what else it could have been."""
    if not isinstance(policy, Policy):
        raise ValueError(f"a policy is a ja.Policy (ja.policies has them ready){or_else}; got {shown(policy)}.")
    function("a policy's init", policy.init, "(num_workers, rng)")
    function("a policy's on", policy.on, "(state, event)")
    kind("a policy's info", policy.info, Mapping, 'a mapping, {"batch": 8} for example')
    if not isinstance(policy.tags, (tuple, list)) or not all(isinstance(tag, str) for tag in policy.tags):
        raise ValueError(f'a policy\'s tags is a tuple of names, ("table",) for example; got {shown(policy.tags)}.')
    return policy
