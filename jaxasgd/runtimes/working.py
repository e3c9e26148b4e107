"""The worker's side of a real run: from a job to what is sent back. The same in a thread and in another process."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from ..parts import Consts, Parts
from ..planning import ladder
from ..program import DATA_STREAM, WHO, draw, work_on


class Call(NamedTuple):
    """A job as it is sent to its worker.

    `job` counts the worker's calls from 0; `read`, `visit`, `repeat`, `size` are those of the schedule, `turn` the
    units that the worker has delivered in rows so far. `payload` is what the server sends. `commit`: the gradient of
    the worker's call before was used, so that what it remembered then counts. The call takes `least` seconds at least,
    and `factor` times as long as its computing.
    """

    serial: int
    worker: int
    job: int
    read: int
    visit: int
    repeat: int
    turn: int
    size: int
    payload: Any
    commit: bool = False
    factor: float = 1.0
    least: float = 0.0


class Result(NamedTuple):
    """What came of a call: taken up at `start`, computed from `begin` to `end`, in seconds of the run's clock.

    `update` arrives at the server in the role of a gradient; `state` is what the worker remembers if it is used, where
    the server wants to know it, else ().
    """

    worker: int
    serial: int
    start: float
    begin: float
    end: float
    update: Any
    state: Any = ()


class Failure(NamedTuple):
    """A call that ended in an exception; its worker does not go on."""

    worker: int
    serial: int
    start: float
    end: float
    error: BaseException


class Back(NamedTuple):
    """A worker in the place of one that failed is ready."""

    worker: int


class Worker:
    """One worker: its data, its memory, its device.

    Args:
        number: which, 0...num_workers - 1.
        problem: what is minimised.
        parts, consts: the method, traced (`parameters.traced`); of these the work alone is used.
        key: of the run.
        state: what the worker remembers: its row of the work's table, () where there is none.
        device: where it computes; None: JAX's default.
        home: the server's device, which gradients are sent to; None: NumPy arrays, for a server in another process.
        tell: send the state after each job along.
        before: None, or a function `before(worker, job)` that is called before each job; it may wait, or raise.
    """

    def __init__(
        self, number, problem, parts: Parts, consts: Consts, key, state=(), *, device=None, home=None, tell=False,
        before=None,
    ):  # fmt: skip
        self.number, self.device, self.home, self.tell, self.before = number, device, home, tell, before
        nothing: list[Any] = [None] * len(Parts._fields)
        self.parts = Parts(*nothing)._replace(work=parts.work)  # the same program for every rule
        self.near = device is not None and device == home
        consts = Consts(*[[]] * len(Consts._fields))._replace(work=consts.work)
        self.fixed = jax.device_put((problem, key, consts), device)
        self.state = self.after = jax.device_put(state, device)

    def warm_up(self, payload, units):
        """Compile for jobs of up to so many units."""
        call = Call(0, self.number, 0, 0, 0, 0, 0, units, payload)
        jax.block_until_ready(self.compute(jax.device_put(payload, self.device), call))

    def compute(self, payload, call: Call):
        """What is sent back, and what the worker remembers if it is used."""
        who = np.array((self.number, call.visit, call.repeat, call.turn, call.size), np.int32)
        problem, key, consts = self.fixed
        return compiled_job(self.parts, ladder(call.size), problem, key, consts, self.state, payload, who)

    def serve(self, call: Call, seconds, wait) -> Result:
        """Do a job.

        Args:
            call: the job.
            seconds: the run's clock, `seconds() -> float`.
            wait: `wait(seconds)` sleeps, where the call is to take longer than its computing.
        """
        start = seconds()
        if call.commit:
            self.state = self.after
        if self.before is not None:
            self.before(call.worker, call.job)
        payload = call.payload if self.near else jax.device_put(call.payload, self.device)
        jax.block_until_ready(payload)
        begin = seconds()
        update, after = jax.block_until_ready(self.compute(payload, call))
        spent = seconds() - begin
        spare = max(call.factor * spent, call.least) - spent
        if spare > 0:
            wait(spare)
        end = seconds()
        self.after = after
        sent = (update, after if self.tell else ())
        if not self.near:
            sent = jax.device_get(sent) if self.home is None else jax.device_put(sent, self.home)
        return Result(call.worker, call.serial, start, begin, end, *sent)


@partial(jax.jit, static_argnums=(0, 1))
def compiled_job(parts, most, problem, key, consts, state, payload, who):
    """What one worker sends back, and its state after.

    Args:
        parts: of which `work` is used.
        most: units that there is room for.
        problem, key, consts, state, payload: see `Worker`.
        who: i4 [5]: worker, visit, repeat, turn, size.
    """
    row = dict(zip((*WHO, "size"), who, strict=True))
    sample = draw(problem, jax.random.fold_in(key, DATA_STREAM), row, most, 0)
    sample = jax.lax.optimization_barrier(sample)  # as in a replay, where samples are drawn before: the same rounding
    table = jax.tree.map(lambda a: a[None], state)  # of one row, which is taken whatever the worker's number
    return work_on(parts, problem, consts, table, row, sample, payload)
