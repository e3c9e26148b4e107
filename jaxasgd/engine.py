"""run(): a problem, a schedule and a rule become a History."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from . import program
from .cells import AS_SENT
from .cells import checked as cells_as
from .checkpoints import checkpoint as checkpoint_of
from .checks import bar_wanted, callback, real, shown
from .doubts import doubts_of, tell
from .eager import eager_run, look_at, look_with_norm
from .history import History, Status, judge
from .methods.base import Method
from .parts import trace_parts
from .planning import Plan, plan
from .policies import asgd
from .problems.base import Problem
from .schedule import Schedule
from .widths import best_waves

if TYPE_CHECKING:
    import optax

    from .checkpoints import Checkpoint

__all__ = ["History", "Status", "eager_run", "judge", "look_at", "look_with_norm", "run"]


def run(
    problem: Problem,
    schedule: Schedule | Plan,
    rule: optax.GradientTransformation | Method,
    *,
    key: jax.Array,
    evaluate: int | ArrayLike | None = None,
    target_loss: float | None = None,
    target_gradient_norm: float | None = None,
    width: int | None = None,
    devices: Sequence[jax.Device] | None = None,
    cell_dtype: Any = None,
    cell_memory: str | None = None,
    checkpoint: Checkpoint | str | Path | None = None,
    each: Callable | None = None,
    progress: bool | None = None,
) -> History:
    """Train on a schedule: every row's gradient at the version its worker had read, every update by the rule.

    A pure function of its numbers and the key. With concrete arguments it goes evaluation by evaluation and stops
    early at a target or when the loss is no finite number; inside `jit` or `vmap` it is one scan over all rows, and
    `status` is computed from the whole history. The same shapes compile once, whatever the numbers, also for a
    freshly built rule.

    Args:
        problem: what is minimised.
        schedule: a `Schedule`, or a `Plan` (`ja.plan(schedule)`).
        rule: an optax transformation, or a `Method` (its policy is not looked at; late parts are bound to the
            schedule's number of workers, without a clock).
        key: a JAX key, `jax.random.key(0)`: of the start and of all samples.
        evaluate: see `plan`; not together with a `Plan`.
        target_loss, target_gradient_norm: stop at the first evaluation where the loss, or the norm of the whole
            gradient, is not above it (the latter adds the metric "gradient_norm").
        width: gradients computed side by side; None: what is best on this kind of device (`widths.best_waves`: on a CPU
            1 unless all gradients of a wave are of one version; 1 for a recorded run). 1 is the plain scan.
        devices: spread the gradients of a wave over these; results equal those on one device to rounding.
        cell_dtype: keep what workers were sent rounded to this, `jnp.bfloat16` for example; half the memory, and
            gradients at rounded parameters (the server's own are not). None: as it is, which is exact.
        cell_memory: "pinned_host" keeps it in the host's memory, where the device has that; with width 1 and outside of
            `jit` and `vmap`. None: in the device's.
        checkpoint: a folder, or a `Checkpoint`: the run saves itself there, and the same call goes on from it, bit for
            bit, after it was stopped or killed. Outside of `jit` and `vmap`.
        each: called at every evaluation with its numbers, `{"time": ..., "update": ..., "gradients": ..., "loss": ...}`
            and the metrics: for a logger. Outside of `jit` and `vmap`.
        progress: show a progress bar; None: if the run is long and standard error is a terminal.

    Returns:
        A `History`. A diverged run is a result: `status` says so, and `ended` at which update. So is one that was
        stopped: Ctrl-C ends an eager run at its next evaluation (a second one raises at once).

    Warns:
        DoubtWarning: an eager run ended with a finite loss, and the rate is above the largest stable one (problems
            that know their `curvature`, rules linear in the gradients), or rounding hides what its last steps did.

    Raises:
        ValueError: before anything is compiled; it says the rule, the value received and the remedy.

    Example:
        >>> import jax, optax
        >>> import jaxasgd as ja
        >>> problem = ja.problems.quadratic(dim=10, condition=10.0)
        >>> schedule = ja.simulate(ja.policies.asgd(), ja.times.exponential(1.0, num_workers=4), num_updates=200)
        >>> history = ja.run(problem, schedule, optax.sgd(0.2), key=jax.random.key(0))
        >>> bool(history.loss[-1] < 1e-3 * history.loss[0]), str(history)[:22]
        (True, 'finished at update 200')
    """
    check_key(key)
    bar_wanted(progress)
    checkpoint = checkpoint_of(checkpoint)
    callback("each", each, "the numbers of an evaluation")
    devices = None if devices is None else check_devices(devices)
    cells = cells_as(cell_dtype, cell_memory, (devices or jax.devices())[0])
    if cells.memory:
        width = 1 if width is None and isinstance(schedule, Schedule) else width
    if isinstance(schedule, Schedule):
        check_problem(problem)
        waves = best_waves(problem, schedule, as_method(rule, schedule.num_workers), devices)
        made = plan(schedule, evaluate=evaluate, **(waves if width is None else waves | {"width": width}))
    elif isinstance(schedule, Plan):
        if evaluate is not None or width not in (None, schedule.width):
            raise ValueError("a plan has its evaluations and its width already: give evaluate= and width= to ja.plan.")
        made = schedule
        if np.ndim(made.time) > 1:
            raise ValueError(
                "stacked plans (ja.stack) run under vmap: jax.vmap(lambda plan: ja.run(problem, plan, ...))."
            )
    else:
        raise ValueError(f"a run follows a ja.Schedule or a ja.Plan; got {shown(schedule)}.")
    made, parts, consts = prepare(problem, made, rule, devices, cells)
    for name, target in (("target_loss", target_loss), ("target_gradient_norm", target_gradient_norm)):
        if target is not None and not isinstance(target, jax.core.Tracer):
            real(name, target)
    look = look_with_norm if target_gradient_norm is not None else look_at
    targets = (target_loss, target_gradient_norm)
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((made, problem, key, consts))):
        if cells.memory:
            raise ValueError("cells in another memory are for a run outside of jit and vmap: leave cell_memory out.")
        if checkpoint is not None or each is not None:
            raise ValueError("a run saves and tells outside of jit and vmap only: leave checkpoint and each out.")
        return traced_run(parts, made, problem, key, consts, look, targets)
    how = {"checkpoint": checkpoint, "each": each, "stoppable": True}
    history = eager_run(parts, made, problem, key, consts, look, targets, progress, **how)
    tell(doubts_of(problem, made, as_method(rule, made.num_workers), history))
    return history


def prepare(problem, made: Plan, rule, devices=None, cells=AS_SENT):
    """Check that problem, plan and rule go together, and trace the rule; nothing is compiled."""
    check_problem(problem)
    if devices is not None and made.width % len(devices):
        raise ValueError(f"the width is a multiple of the number of devices, {len(devices)}; got {made.width}.")
    if problem.num_shards is not None and problem.num_shards != made.num_workers:
        raise ValueError(
            f"the problem has shards, or an order, for {problem.num_shards} workers, and the schedule has "
            f"{made.num_workers} workers: make as many shards as workers."
        )
    params, sample = program.initial_shapes(problem), program.sample_shapes(made, problem)
    made = program.fit(made, params, sample)
    method = as_method(rule, made.num_workers)
    check_sizes(method.work, made)
    parts, consts = trace_parts(method, made, problem, params, sample, devices, cells)
    groups = made.rows["read"].shape[1:]
    if groups and method.send is None:  # as many as there are coordinates, at most
        table = jax.tree.map(lambda p: jax.ShapeDtypeStruct((1, *p.shape), p.dtype), params)
        jax.eval_shape(partial(program.read, parts), table, jax.ShapeDtypeStruct(groups, np.int32))
    if cells.memory and (made.width > 1 or groups):
        raise ValueError(
            f"cells in another memory are read one at a time: with a schedule without groups and width 1; got "
            f"{f'{groups[0]} groups' if groups else f'width {made.width}'}."
        )
    state = parts.work_init.out_tree.num_leaves > 0
    if state and not made.one_each:
        raise ValueError(
            "workers with a state of their own have one gradient in a wave at most: make the plan with "
            f"ja.plan(schedule, width={made.width}, one_each=True)."
        )
    if method.send is not None and (state or method.private) and not made.own:
        raise ValueError(
            "what workers with a state of their own are sent, or a method with private=True sends, belongs to them "
            "alone, and here some start at a version that another's gradient made: let each start at its own."
        )
    return made, parts, consts


def check_problem(problem):
    if not isinstance(problem, Problem):
        raise ValueError(f"a problem is a ja.problems.Problem (ja.problems.from_loss makes one); got {shown(problem)}.")


def check_sizes(work, made: Plan):
    """The jobs of the schedule are as large as the work says (where the numbers are known)."""
    rows = made.rows
    if work.size == 1 or not isinstance(rows["size"], np.ndarray):
        return
    units = np.array(work.sizes(made.num_workers))[rows["worker"]]
    wrong = np.flatnonzero(rows["use"] & (rows["size"] % units != 0))
    if len(wrong):
        raise ValueError(
            f"a job of this method is {units[wrong[0]]} units of work (or a multiple), and the schedule has one of "
            f"{rows['size'][wrong[0]]}: simulate the method, not its policy alone: ja.simulate(method, times, ...)."
        )


def as_method(rule, num_workers) -> Method:
    method = replace(rule, policy=asgd()) if isinstance(rule, Method) else Method(asgd(), rule)
    return method.bind(num_workers, None)


def check_key(key):
    if not (isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.shape == ()):
        kind = f"{key.dtype} of shape {key.shape}" if hasattr(key, "dtype") else shown(key)
        raise ValueError(f"key is one typed JAX key: jax.random.key(0); got {kind}.")
    if "fry" not in str(key.dtype):
        raise ValueError(
            f'key is a threefry key, jax.random.key(0, impl="threefry2x32"): under vmap the numbers of the other kinds '
            f"depend on how many are drawn at once; got {key.dtype}."
        )


def check_devices(devices) -> tuple:
    devices = tuple(devices) if isinstance(devices, Iterable) else devices
    if (
        not devices
        or not isinstance(devices, tuple)
        or not all(isinstance(device, jax.Device) for device in devices)
        or len(set(devices)) < len(devices)
    ):
        raise ValueError(f"devices holds different JAX devices, jax.devices() for all of them; got {devices!r}.")
    return devices


def traced_run(parts, made, problem, key, consts, look, targets) -> History:
    params, looks = program.compiled_whole(parts, made, problem, key, consts, look)
    status, last = judge(looks["loss"], looks.get("gradient_norm"), targets, jnp)
    time, update, gradients = (jnp.asarray(getattr(made, name)) for name in ("time", "update", "gradients"))
    loss = looks.pop("loss")
    return History(time, update, gradients, loss, looks, params, status, update[last])
