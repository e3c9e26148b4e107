"""sweep(): numbers x seeds x methods x clocks, as few compiled programs, over all devices."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np
from numpy.typing import ArrayLike

from . import program, sweep_jobs, sweep_sizes
from .checkpoints import checkpoint as checkpoint_of
from .checks import bar_wanted, callback, real, shown, whole, word
from .engine import check_devices, check_key, check_problem, look_at, look_with_norm
from .progress import bar_of_runs, watched
from .results import environment
from .simulation import check_times
from .sweep_checkpoints import store
from .sweep_results import Sweep, ordered
from .sweep_runs import WAYS, Setting

if TYPE_CHECKING:
    from .checkpoints import Checkpoint
    from .problems import Problem
    from .times import Times


def sweep(
    problem: Problem,
    times: Times | Mapping[str, Times],
    methods: Mapping[str, Callable],
    grid: Mapping[str, list] | None = None,
    *,
    until: float | None = None,
    num_updates: int | None = None,
    seeds: int | Sequence[int] = 8,
    key: jax.Array | None = None,
    points: int = 20,
    evaluate: int | ArrayLike | None = None,
    reads: str = "after",
    target_loss: float | None = None,
    target_gradient_norm: float | None = None,
    how: str | None = None,
    chunk: int | None = None,
    devices: Sequence[jax.Device] | None = None,
    each: Callable | None = None,
    checkpoint: Checkpoint | str | Path | None = None,
    progress: bool | None = None,
) -> Sweep:
    """Run every method at every point of a grid, with every seed, on every clock.

    A member is one (method, point, clock, seed), and equals the single run

        ja.run(problem, ja.simulate(method, times, seed=seed, ...), method, key=jax.random.fold_in(key, seed))

    to rounding. A schedule is simulated once for a policy, clock and seed, whatever the learning rates; points whose
    rules trace to the same program (other numbers in it) run as one program, side by side. Numbers that change the
    policy or the program (a bound on delays, an optional momentum) make groups by themselves. A member that diverges is
    a result, and harms no other. Ctrl-C returns what is finished (`complete` is False), if anything is.

    Args:
        problem: a `Problem`.
        times: a worker-time model, or a mapping, name -> model; then the results have an axis "clock".
        methods: name -> function of numbers of the grid, by name, that returns a `Method`; or a `Method`.
        grid: name -> values. A method takes the names in its signature: {"learning_rate": [0.01, 0.1]}.
        until: simulated seconds of every run. num_updates: or updates. At least one of the two.
        seeds: how many (0, 1, ...), or the seeds themselves, as in `compare`.
        key: a JAX key; `jax.random.key(0)` by default.
        points: number of looks at each run. evaluate: or when to look, as in `plan`.
        reads, target_loss, target_gradient_norm: as in `simulate` and `run`.
        how: "vmap": members side by side; "loop": one by one; "threads": one by one on every core; None: whichever
            is fastest for this problem on this kind of device (measured: results/bench/sweeps.json).
        chunk: members at once on a device, with "vmap"; None: as many as fit into memory. Chunks share one program.
        devices: the devices that "vmap" spreads over; None: all of them.
        each: called with a list of `Member`s, whenever some are finished.
        checkpoint: a folder, or a `Checkpoint`: finished members are saved there, and the same call makes only those
            that are missing, with the same bits as if it had never been stopped.
        progress: show a bar; None: if it takes long and standard error is a terminal.

    Returns:
        A `Sweep`; `print(sweep)` for the best point of each method, `sweep["async"].loss` for an array
        [*numbers, (clock,) seed, evaluation], `sweep.rows()` for a table, `sweep.save("results/mine")` for files.

    Raises:
        ValueError: before anything is compiled; it says the rule, the value received and the remedy.

    Example:
        >>> import jaxasgd as ja
        >>> from jaxasgd.sweeps import sweep
        >>> problem = ja.problems.quadratic(dim=10, noise=0.01)
        >>> times = ja.times.exponential(1.0, num_workers=4)
        >>> rates = {"learning_rate": [0.03, 0.1, 0.3]}
        >>> methods = {"async": ja.methods.asgd}
        >>> found = ja.sweep(problem, times, methods, rates, num_updates=50, points=5, seeds=2)
        >>> found["async"].loss.shape, found.best()["async"].numbers
        ((3, 2, 6), {'learning_rate': 0.3})
    """
    check_problem(problem)
    bar_wanted(progress)
    clocks = dict(times) if isinstance(times, Mapping) else {"": times}
    if not clocks or not all(isinstance(name, str) for name in clocks):
        raise ValueError(f"times is a worker-time model or a mapping, name -> model; got {shown(times)}.")
    for model in clocks.values():
        check_times(model)
    if until is None and num_updates is None:
        raise ValueError("a sweep ends somewhere: give until= in seconds, or num_updates=.")
    if until is not None:
        real("until", until, 0, " of seconds")
    if num_updates is not None:
        whole("num_updates", num_updates)
    for name, target in (("target_loss", target_loss), ("target_gradient_norm", target_gradient_norm)):
        if target is not None:
            real(name, target)
    seeds, grid = check_seeds(seeds), check_grid(grid)
    grids, made = check_methods(methods, grid)
    whole("points", points, 1, hint=": looks at each run")
    if how is not None:
        word("how", how, "vmap", "loop", "threads")
    if chunk is not None:
        whole("chunk", chunk, 1, hint=": members at once on a device")
    callback("each", each, "a list of finished members")
    key = jax.random.key(0) if key is None else key
    check_key(key)
    devices = tuple(jax.devices()) if devices is None else check_devices(devices)
    if evaluate is None:
        evaluate = np.linspace(0, until, points + 1) if until is not None else max(1, (num_updates or 0) // points)
    schedules = sweep_jobs.Schedules(clocks, seeds, evaluate, until=until, num_updates=num_updates, reads=reads)
    look = look_at if target_gradient_norm is None else look_with_norm
    setting = Setting(problem, key, look, (target_loss, target_gradient_norm), devices, chunk, lambda *_: None, None)
    began, done, complete = time.perf_counter(), [], True
    choose = lambda method, own, number: how or chosen_way(problem, method, own, number, devices[0].platform)
    where = checkpoint_of(checkpoint)
    jobs = [job for name in made for job in sweep_jobs.jobs_of(problem, name, made[name], schedules, choose)]
    kept = store(where, jobs, setting)
    setting = setting if kept is None else setting._replace(found=kept.get)
    old = {id(member) for member in kept.found.values()} if kept is not None else set()
    total = sum(len(job.points) * sum(job.updates.values()) for _, job in jobs)
    with bar_of_runs(progress, sum(job.size for _, job in jobs), total) as bars:
        if watched(progress):
            setting = setting._replace(tell=told_to(bars))
        try:
            for way, job in jobs:
                updates = job.updates
                for finished in WAYS[way](job, setting):
                    done += finished
                    if kept is not None:
                        kept.offer(job, finished)
                    for member in finished:
                        at, new = updates[member.clock, member.seed], id(member) not in old
                        bars.end(who(member), at, computed=new and way == "vmap")
                    for member in finished[-1:]:
                        bars.picture(member.method, {name: member.columns[name][-1] for name in ("time", "loss")})
                    if each is not None:
                        each(finished)
        except KeyboardInterrupt:
            if not done:
                raise
            complete = False
        finally:
            if kept is not None:
                kept.write()
    names = tuple(clocks) if isinstance(times, Mapping) else ()
    spec = {
        "problem": problem.describe(),
        "times": {name: {"name": model.name, **model.args} for name, model in clocks.items()},
        "until": until,
        "num_updates": num_updates,
        "seeds": seeds,
        "reads": reads,
        "targets": {"loss": target_loss, "gradient_norm": target_gradient_norm},
        "programs": [{"method": job.method, "members": job.size, "how": way} for way, job in jobs],
        "simulated": schedules.simulated,
        "wall_seconds": round(time.perf_counter() - began, 1),
        **surroundings(jax.config.jax_enable_x64),  # type: ignore[attr-defined]  # made at run time
    }
    return Sweep(ordered(done, grids, names, seeds), grids, names, seeds, spec, complete)


def told_to(bars):
    """`tell` of a setting: every evaluation, for the bar."""

    def tell(job, line, point, now):
        clock, seed, _ = job.lines[line]
        bars.tell((job.method, id(job.points[point]), clock, seed), job.method, now)

    return tell


def who(member):
    """What tells a member from others."""
    return member.method, id(member.numbers), member.clock, member.seed


@cache
def surroundings(x64):
    """Versions and device, looked up once."""
    return environment()


# ------------------------------------------------------------------- checks


def check_seeds(seeds) -> list[int]:
    if np.ndim(seeds) == 0 and not isinstance(seeds, (range, Iterator)):
        seeds = range(whole("seeds", seeds, 1, hint=": how many, or the seeds themselves"))
    seeds = [whole("each of seeds", seed) for seed in seeds]
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds is a number of seeds, 1 or more, or different seeds; got {seeds}.")
    return seeds


def check_grid(grid) -> dict[str, list]:
    if not isinstance(grid, (Mapping, type(None))):
        raise ValueError(f'grid is a mapping, name -> values: {{"learning_rate": [0.01, 0.1]}}; got {shown(grid)}.')
    out = {}
    for name, values in (grid or {}).items():
        if np.ndim(values) != 1 or isinstance(values, (str, Mapping)) or not len(values):
            raise ValueError(f"grid[{name!r}] is a list of one or more values; got {shown(values)}.")
        out[name] = [v.item() if hasattr(v, "item") else v for v in values]
        if len({repr(v) for v in out[name]}) < len(out[name]):
            raise ValueError(f"grid[{name!r}] has every value once; got {shown(values)}.")
    return out


def check_methods(methods, grid):
    """`({method: its part of the grid}, {method: its points})`."""
    if not isinstance(methods, Mapping) or not methods or not all(isinstance(name, str) for name in methods):
        raise ValueError(
            f"methods is a non-empty mapping, name -> function of numbers -> ja.Method; got {shown(methods)}."
        )
    grids = {name: sweep_jobs.numbers_of(name, make, grid) for name, make in methods.items()}
    unused = [number for number in grid if not any(number in taken for taken in grids.values())]
    if unused:
        raise ValueError(
            f"every number of the grid is taken by a method, as an argument of that name; nobody takes {unused}."
        )
    return grids, {name: sweep_jobs.points_of(name, make, grids[name]) for name, make in methods.items()}


def chosen_way(problem, method, own, points, platform) -> str:
    sample = program.sample_shapes(own[0], problem)
    state = jax.eval_shape(method.rule.init, program.initial_shapes(problem))
    idle = sweep_sizes.wasted(own) > 1 or not all(each.every for each in own)
    return sweep_sizes.choose(
        problem,
        sample,
        platform=platform,
        points=points,
        cores=sweep_sizes.cores(),
        waste=sweep_sizes.wasted(own),
        copied=sweep_sizes.count(state) if idle else 0,
    )
