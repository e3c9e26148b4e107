"""A run evaluation by evaluation: early stops, progress, checkpoints, Ctrl-C."""

from __future__ import annotations

import math
import signal
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from . import program
from .checkpoints import keeper
from .history import History, Status, judge
from .planning import ARRAYS, TRAITS
from .progress import bar

# ------------------------------------------------------------------- looks


def look_at(problem, params):
    return problem.evaluate(params)


def look_with_norm(problem, params):
    squares = [jnp.vdot(g, g).real for g in jax.tree.leaves(problem.gradient(params))]
    return problem.evaluate(params) | {"gradient_norm": jnp.sqrt(sum(squares))}


compiled_look = jax.jit(
    lambda look, problem, cells, cell, params: look(problem, program.take(cells, cell) if params is None else params),
    static_argnums=0,
)
compiled_take = jax.jit(program.take)


def eager_run(
    parts, made, problem, key, consts, look, targets, progress, *, checkpoint=None, each=None, stoppable=False
) -> History:
    """The run, from its checkpoint if it has one. `stoppable`: Ctrl-C ends it at the next evaluation."""
    bounds, cells = np.asarray(made.bounds).tolist(), np.asarray(made.cells)
    clock = {name: np.asarray(getattr(made, name)) for name in ("time", "update", "gradients")}
    on_device = {name: jax.tree.map(jnp.asarray, getattr(made, name)) for name in ("rows", "tags", "waves")}
    lean = replace(made, **(dict.fromkeys(ARRAYS) | on_device))
    # what samples depend on, and no more: drawing them is compiled once for all rules and policies
    who = {name: lean.rows[name] for name in program.WHO}
    alike = dict.fromkeys(TRAITS, True)
    numbers = replace(lean, rows=who, tags={}, num_cells=0, **alike)
    carry = program.compiled_start(parts, lean, problem, key, consts)
    carry = carry._replace(cells=parts.cells.moved(carry.cells, program.table_rows(lean)))
    looks, status, e, number = [], Status.OK, -1, len(bounds)
    total = int(clock["update"][-1])
    kept = keeper(checkpoint, parts, made, problem, key, consts, targets)
    with kept as keep, bar(progress, total=total, unit="update") as show, interrupts(stoppable) as asked:
        if keep and (found := keep.restored(carry)):
            e, carry, looks = found
            status = ended(looks[-1], targets)
        before = int(clock["update"][e]) if e >= 0 else 0
        while e + 1 < number and status == Status.OK:
            e += 1
            for begin in range(bounds[e - 1], bounds[e], made.block) if e else ():
                samples = program.compiled_draw(numbers, problem, key, begin)
                some = min(made.block, bounds[e] - begin)
                carry = program.compiled_block(parts, lean, problem, consts, carry, samples, begin, some)
            seen = compiled_look(look, problem, carry.cells, cells[e], carry.params)
            looks.append({name: np.asarray(value) for name, value in seen.items()})
            told = {"time": float(clock["time"][e]), "loss": float(looks[-1]["loss"])}
            show(int(clock["update"][e]), skipped=before, **told)
            if each is not None:
                now = {name: column[e] for name, column in clock.items()} | looks[-1]
                each({name: value.item() for name, value in now.items()})
            status = ended(looks[-1], targets)
            if asked() and status == Status.OK and e + 1 < number:
                status = Status.STOPPED
            if keep:
                keep.offer(e, carry, looks, last=status != Status.OK or e + 1 == number)
    if status == Status.STOPPED:
        say_how(int(clock["update"][e]), total, checkpoint)
    params = compiled_take(carry.cells, cells[e]) if carry.params is None else carry.params
    stacked = {name: np.stack([look[name] for look in looks]) for name in looks[0]}
    loss = stacked.pop("loss")
    seen = {name: column[: e + 1] for name, column in clock.items()}
    return History(
        **seen, loss=loss, metrics=stacked, params=params, status=np.int32(status), ended=np.int32(made.update[e])
    )


def ended(look, targets) -> Status:
    """Whether a run ends at a look."""
    norm = look.get("gradient_norm", math.nan)
    return Status(int(judge(look["loss"][None], np.asarray(norm)[None], targets, np)[0]))


# ------------------------------------------------------------------- Ctrl-C


@contextmanager
def interrupts(wanted):
    """Yields `asked()`: whether Ctrl-C was pressed. A second one, or one outside of the main thread, raises at once."""
    pressed = threading.Event()
    if not wanted or threading.current_thread() is not threading.main_thread():
        yield pressed.is_set
        return
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:  # somebody else's: leave it
        yield pressed.is_set
        return

    def press(number, frame):
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()
        print("\njaxasgd: stops at the next evaluation (Ctrl-C again: at once)", file=sys.stderr, flush=True)

    signal.signal(signal.SIGINT, press)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def say_how(update, total, checkpoint):
    """How to go on."""
    on = f"the same call goes on from {str(checkpoint.folder)!r}" if checkpoint else "give checkpoint=folder to go on"
    print(f"jaxasgd: stopped at update {update} of {total}; {on}", file=sys.stderr, flush=True)
