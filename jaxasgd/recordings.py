"""The commands `jaxasgd record` and `jaxasgd replay`: a real run, and the same updates again."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import fields, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from .building import PROBLEMS, build_methods, build_problem, choose, count, new_file, new_folder, positive
from .reading import entry, is_number, is_whole
from .results import number

LINES = 10  # of the history that are printed
LARGEST_SEED = 2**63 - 1
TOLD = {  # of a recorded problem: what each option is
    "name": ("a word", lambda value: isinstance(value, str)),
    "shards": ("a word", lambda value: isinstance(value, str)),
    "hidden": ("[width, ...]", lambda value: isinstance(value, list) and all(map(is_whole, value))),
    **dict.fromkeys(("dim", "batch_size"), ("a whole number", is_whole)),
    **dict.fromkeys(("condition", "noise"), ("a finite number", is_number)),
    "alpha": ("a finite number, or null", lambda value: value is None or is_number(value)),
}


def record(said):
    """Check everything, run, save the recording with what it takes to replay it."""
    import jax

    import jaxasgd as ja

    run, out = said.run, said.output
    method = one_method(ja, run.method, run.learning_rate)
    positive("until", run.until)
    count("workers", run.workers)
    count("updates", run.updates)
    count("seed", run.seed, 0, LARGEST_SEED)
    if not out.out.name.endswith((".npz", ".csv", ".csv.gz")):
        raise ValueError(f"a recording is a .npz, .csv or .csv.gz file; got {str(out.out)!r}: give --out recorded.npz.")
    problem, numbers = build_problem(ja, said.problem, run.workers)
    new_file(out.out, out.overwrite)
    ends = {"num_updates": run.updates, "until": run.until, "num_workers": run.workers}
    slow = run.slow and (run.slow if len(run.slow) > 1 else run.slow[0])
    options = ends | {"slow": slow, "seed": run.seed, "progress": False if out.quiet else None}
    stopped = None
    try:
        params, recorded = ja.runtimes.threads(problem, method, key=jax.random.key(run.seed), **options)
    except ja.runtimes.Interrupted as error:  # what there is, is saved
        params, recorded, stopped = error.params, error.recorded, error
    told = {"problem": numbers, "method": run.method, "learning_rate": run.learning_rate, "seed": run.seed}
    info = recorded.info | {"replay": told | {"params": digest(params)}}
    recorded = replace(recorded, info=info)
    recorded.save(out.out)
    if not out.quiet:
        print(f"{recorded}\n{recorded.num_updates / max(recorded.end, 1e-9):.0f} updates a second, ", end="")
        print(f"after {recorded.info['compile_seconds']:.1f} s of compiling\n\nrecorded {out.out}")
        print(f"again    jaxasgd replay {out.out}")
    if stopped is not None:
        raise stopped


def replay(said):
    """Make the updates again; print the losses and the run in numbers; save both, and a timeline, where asked."""
    import jax

    import jaxasgd as ja

    recorded = ja.Schedule.load(said.recorded)
    count("seed", said.seed, 0, LARGEST_SEED)
    told = told_in(said.recorded.name, recorded.info)
    same = {"method": said.method is None, "problem": said.problem.problem is None, "seed": said.seed is None}
    text = said.method or told.get("method")
    rate = told.get("learning_rate") if said.learning_rate is None and same["method"] else said.learning_rate
    if text is None:
        raise ValueError("the recording does not say its method: give --method asgd:learning_rate=0.1, for example.")
    method = one_method(ja, text, rate)
    problem, _ = build_problem(ja, problem_options(said.problem, told.get("problem")), recorded.num_workers)
    seed = told.get("seed", 0) if same["seed"] else said.seed
    if said.out is not None:
        new_folder(said.out, said.overwrite)
    history = ja.run(problem, recorded, method, key=jax.random.key(seed))
    columns = {name: getattr(history, name) for name in ("time", "update", "gradients", "loss")} | history.metrics
    print(table(columns))
    numbers = recorded.summary()
    names = ("mean_delay", "max_delay", "discarded", "unfinished", "utilisation", "throughput")
    print(f"\n{recorded}\n" + ", ".join(f"{name.replace('_', ' ')} {numbers[name]:.4g}" for name in names))
    if "params" in told:
        equal = told["params"] == digest(history.params)
        print("parameters: those of the run, to the bit" if equal else "parameters: not those of the run to the bit")
    if said.out is not None:
        save(said.out, recorded, columns)


def told_in(file, info) -> dict:
    """What a recording says of its run: what is not there is not known; what is there is checked."""
    told = entry(file, info, "replay", "{what: ...}, as 'jaxasgd record' wrote it", lambda v: isinstance(v, dict), {})
    said = lambda name, rule, fits: entry(f"{file}, 'replay',", told, name, rule, fits, None)
    said("method", "NAME:ARGUMENT=VALUE,...", lambda value: value is None or isinstance(value, str))
    said("learning_rate", "a finite number, or null", lambda value: value is None or is_number(value, 0))
    said("seed", "a whole number, 0 or more", lambda value: is_whole(value) and value <= LARGEST_SEED)
    said("params", "a SHA-256 digest", lambda value: isinstance(value, str))
    problem = said("problem", "{name: ..., option: value}", lambda value: isinstance(value, dict)) or {}
    for option, (rule, fits) in TOLD.items():
        entry(f"{file}, 'replay', 'problem',", problem, option, rule, fits, None)
    return told


def one_method(ja, text, learning_rate):
    """The method of NAME:ARGUMENT=VALUE,..."""
    from .options import RunOptions

    if text is None:
        raise ValueError("a run has a method; got none: give --method asgd --learning-rate 0.1, for example.")
    methods, _ = build_methods(ja, RunOptions(methods=(text,), learning_rate=learning_rate))
    return methods[text.partition(":")[0]]


def problem_options(said, told):
    """The options of the problem: as recorded, but for what is said."""
    from .options import ProblemOptions

    given = {name: value for name, value in vars(said).items() if value is not None}
    if "problem" in given or not told:
        if "problem" not in given:
            raise ValueError("the recording does not say its problem: give --problem quadratic, for example.")
        return ProblemOptions(**given)
    known = {field.name for field in fields(ProblemOptions)}
    kept = {name: value for name, value in told.items() if name in known and value is not None and name != "data"}
    kept = {name: tuple(value) if isinstance(value, list) else value for name, value in kept.items()}
    if "shards" in PROBLEMS[choose("the recorded problem", told.get("name"), PROBLEMS)][1]:
        kept.setdefault("shards", "none")
    return ProblemOptions(**{"problem": told["name"]} | kept | given)


def digest(params) -> str:
    """SHA-256 of all numbers."""
    import jax

    made = hashlib.sha256()
    for leaf in jax.tree.leaves(params):
        made.update(np.ascontiguousarray(leaf).tobytes())
    return made.hexdigest()


def table(columns) -> str:
    """Some lines of a history, the first and the last among them."""
    length = len(columns["loss"])
    chosen = np.unique(np.linspace(0, length - 1, min(LINES, length)).round().astype(int))
    lines = [list(columns), *([f"{float(column[k]):.6g}" for column in columns.values()] for k in chosen)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def save(folder: Path, recorded, columns):
    """history.csv and, with matplotlib, timeline.svg."""
    from . import plot

    with open(folder / "history.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([number(value) for value in row] for row in zip(*columns.values(), strict=True))
    print(f"\nhistory  {folder / 'history.csv'}")
    if find_spec("matplotlib"):
        print(f"figure   {plot.save(plot.timeline(recorded), folder / 'timeline.svg')}")
    else:
        print('figure   none; it needs matplotlib: pip install "jaxasgd[plot]"')
