"""compare(): several methods on one problem and one clock, over seeds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np
from numpy.typing import ArrayLike

from .checkpoints import checkpoint as checkpoint_of
from .checks import bar_wanted, callback, real, shown, whole
from .doubts import said_once
from .engine import check_key, check_problem, prepare, run
from .history import WORDS, Status
from .methods import Method
from .planning import align, plan
from .progress import bar_of_runs
from .results import AXES, Comparison, Run, environment, folder_names
from .simulation import check_times, simulate
from .widths import best_waves

if TYPE_CHECKING:
    from .checkpoints import Checkpoint
    from .problems import Problem
    from .times import Times


def compare(
    problem: Problem,
    times: Times,
    methods: Mapping[str, Method],
    *,
    until: float | None = None,
    num_updates: int | None = None,
    seeds: int | Sequence[int] = 5,
    key: jax.Array | None = None,
    points: int = 50,
    evaluate: int | ArrayLike | None = None,
    reads: str = "after",
    target_loss: float | None = None,
    target_gradient_norm: float | None = None,
    checkpoint: Checkpoint | str | Path | None = None,
    each: Callable | None = None,
    progress: bool | None = None,
) -> Comparison:
    """Run every method with every seed on the same clock.

    Seed s gives the clock's and the policies' randomness (`simulate(seed=s)`) and, with `key`, the start and the
    samples: the same for all methods, so that differences between methods are differences between methods.
    Evaluations are made at common times (`points` of them up to `until`), off the clock.

    Args:
        problem: a `Problem`.
        times: a worker-time model.
        methods: name -> `Method`.
        until: simulated seconds of every run. num_updates: or updates. At least one of the two.
        seeds: how many (0, 1, ...), or the seeds themselves.
        key: a JAX key; `jax.random.key(0)` by default.
        points: number of looks at each run. evaluate: or when to look, as in `plan`.
        reads, target_loss, target_gradient_norm: as in `simulate` and `run`.
        checkpoint: a folder, or a `Checkpoint`: every run saves itself in a folder below, `method/seed`, and the same
            call goes on from there after it was stopped or killed; what is finished is not computed again.
        each: called at every evaluation with its numbers, as in `run`, and "method" and "seed".
        progress: show a bar; None: if it takes long and standard error is a terminal.

    Returns:
        A `Comparison`; print it for a table, `.plot("time")` it, `.save("results/mine")` it. Ctrl-C ends it at the
        next evaluation with the runs that are finished (`spec["complete"]` is False), if any is.

    Example:
        >>> import jaxasgd as ja
        >>> problem = ja.problems.quadratic(dim=10, noise=0.01)
        >>> times = ja.times.exponential(1.0, num_workers=4)
        >>> methods = {"sync": ja.methods.sync_sgd(0.3), "async": ja.methods.asgd(0.1)}
        >>> table = ja.compare(problem, times, methods, until=50.0, seeds=2)
        >>> bool(table.final("async").mean() < table.final("sync").mean())
        True
    """
    if not isinstance(methods, Mapping) or not methods:
        raise ValueError(f"methods is a non-empty mapping, name -> ja.Method; got {shown(methods)}.")
    for name, method in methods.items():
        if not isinstance(name, str):
            raise ValueError(f"a method's name is a string; got {shown(name)}.")
        if not isinstance(method, Method):
            raise ValueError(f"method {name!r} is a ja.Method (ja.methods has them ready); got {shown(method)}.")
    if np.ndim(seeds) == 0 and not isinstance(seeds, (range, Iterator)):
        seeds = range(whole("seeds", seeds, 1, hint=": how many, or the seeds themselves"))
    seeds = [whole("each of seeds", seed) for seed in seeds]  # type: ignore[union-attr]  # no number any more
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds is a number of seeds, 1 or more, or different seeds; got {seeds}.")
    if until is None and num_updates is None:
        raise ValueError("a comparison ends somewhere: give until= in seconds, or num_updates=.")
    if until is not None:
        real("until", until, 0, " of seconds")
    if num_updates is not None:
        num_updates = whole("num_updates", num_updates)
    whole("points", points, 1, hint=": looks at each run")
    key = jax.random.key(0) if key is None else key
    check_key(key)
    bar_wanted(progress)
    saved = checkpoint_of(checkpoint)
    callback("each", each, "the numbers of an evaluation")
    places = folder_names(methods) if saved else {}
    check_times(times)
    if evaluate is None:
        evaluate = np.linspace(0, until, points + 1) if until is not None else max(1, (num_updates or 0) // points)
    bound = {name: method.bind(times.num_workers, times) for name, method in methods.items()}
    began, runs = time.perf_counter(), []
    play = lambda method, seed: simulate(method, times, until=until, num_updates=num_updates, seed=seed, reads=reads)
    schedules = {name: play(method, seeds[0]) for name, method in bound.items()}
    check_problem(problem)
    waves = {name: best_waves(problem, schedules[name], method) for name, method in bound.items()}
    for name, method in bound.items():  # what is wrong with the last one is found before the first has run
        prepare(problem, plan(schedules[name], evaluate=evaluate, **waves[name]), method)
    complete, said = True, dict[tuple[str, str], str]()
    total = len(seeds) * sum(schedule.num_updates for schedule in schedules.values())
    with bar_of_runs(progress, len(methods) * len(seeds), total) as bars:
        for name, method, seed, schedule, one in members(bound, seeds, schedules, play, evaluate, waves):
            bars.total += schedule.num_updates - schedules[name].num_updates

            def told(now, name=name, seed=seed):
                bars.tell((name, seed), name, now)
                if each is not None:
                    each({"method": name, "seed": seed} | now)

            with said_once(name, said):
                history = run(
                    problem,
                    one,
                    method,
                    key=jax.random.fold_in(key, seed),
                    target_loss=target_loss,
                    target_gradient_norm=target_gradient_norm,
                    checkpoint=saved and saved.below(places[name], seed),
                    each=told,
                    progress=False,
                )
            if history.status == Status.STOPPED:
                complete = False
                break
            columns = {axis: getattr(history, axis) for axis in AXES} | {"loss": history.loss} | history.metrics
            status = WORDS[Status(int(history.status))]
            runs.append(Run(name, seed, status, int(history.ended), columns, schedule.summary()))
            bars.end((name, seed), schedule.num_updates)
            bars.picture(name, {"time": history.time[-1], "loss": history.loss[-1]})
    if not runs:
        raise KeyboardInterrupt
    spec = {
        "problem": problem.describe(),
        "methods": {name: {"name": m.name, **m.info, **m.policy.info} for name, m in bound.items()},
        "times": {"name": times.name, **times.args},
        "num_workers": times.num_workers,
        "until": until,
        "num_updates": num_updates,
        "seeds": seeds,
        "reads": reads,
        "targets": {"loss": target_loss, "gradient_norm": target_gradient_norm},
        "complete": complete,
        "doubts": list(said.values()),
        "wall_seconds": round(time.perf_counter() - began, 1),
        **environment(),
    }
    return Comparison(runs, schedules, spec)


def members(bound, seeds, schedules, play, evaluate, waves):
    """Every run that is to be made: `(name, method, seed, schedule, plan)`; the plans of a method share a program."""
    for name, method in bound.items():
        made = [schedules[name], *(play(method, seed) for seed in seeds[1:])]
        plans = align([plan(schedule, evaluate=evaluate, **waves[name]) for schedule in made])
        for seed, schedule, one in zip(seeds, made, plans, strict=True):
            yield name, method, seed, schedule, one
