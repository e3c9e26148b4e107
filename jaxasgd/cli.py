"""The `jaxasgd` command. Its options are in options.py; JAX and tyro come when needed."""

from __future__ import annotations

import math
import os
import shlex
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from . import listing
from .building import (
    PROBLEMS,
    build_methods,
    build_problem,
    build_times,
    choose,
    count,
    flags,
    new_file,
    new_folder,
    once,
    positive,
)


def main(argv=None) -> int:
    """Run the command; the exit code: 0, 2 for bad input, 130 for Ctrl-C."""
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        return dispatch(argv or ["--help"])
    except KeyboardInterrupt:
        print("jaxasgd: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader had enough: jaxasgd list | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError as error:
        print(f"jaxasgd: this machine has too little memory ({error}): ask for less.", file=sys.stderr)
        return 2
    except (ValueError, OSError, ImportError) as error:
        told = str(error)
        if isinstance(error, OSError) and error.strerror and error.filename:
            told = f"{str(error.filename)!r}: {error.strerror}"
        print("jaxasgd:", " ".join(told.split()), file=sys.stderr)
        return 2


def dispatch(argv) -> int:
    if argv == ["--version"]:
        from . import __version__

        print("jaxasgd", __version__)
        return 0
    try:
        import tyro
    except ImportError as error:
        raise ImportError('the command needs tyro: pip install "jaxasgd[cli]"') from error
    from . import doctor, recordings, reporting, reproduction
    from .examples import EXAMPLES, PLAN_EXAMPLES, RECORD_EXAMPLES
    from .options import Compare, Doctor, List, Plan, Plot, Record, Replay, Report, Reproduce

    told = {Compare: compare, Plan: advise}
    commands: dict[type, Callable] = {
        command: lambda said, does=does: does(said, argv) for command, does in told.items()
    }
    commands |= {Record: recordings.record, Replay: recordings.replay, List: show, Plot: draw}
    commands |= {Report: reporting.publish}
    commands |= {Reproduce: reproduction.reproduce, Doctor: doctor.examine}
    examples = {"compare": EXAMPLES, "plan": PLAN_EXAMPLES, "record": RECORD_EXAMPLES}
    once(argv)
    try:
        said = tyro.extras.subcommand_cli_from_dict(
            {command.__name__.lower(): command for command in commands},
            prog="jaxasgd",
            description="Synchronous and asynchronous SGD, simulated exactly. "
            "'jaxasgd COMMAND --help' explains a command, 'jaxasgd --version' prints the version, and "
            "'jaxasgd --tyro-print-completion bash' (zsh, tcsh) what a shell needs to complete it.",
            args=argv,
            config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
        )
    except SystemExit as stop:  # after help, or after an error that tyro has explained
        if not stop.code:
            print(examples.get(argv[0], ""), end="")
        return stop.code or 0  # type: ignore[return-value]  # tyro's is a number
    commands[type(said)](said)
    return 0


# ------------------------------------------------------------------- commands


def compare(said, argv):
    """Check everything, run, print the table, save the numbers and the figure."""
    import jaxasgd as ja

    run, out = said.run, said.output
    methods, arguments = build_methods(ja, run)
    for flag, number in (("workers", said.clock.workers), ("updates", run.updates)):
        count(flag, number)
    count("seeds", run.seeds, most=10**6)
    if (run.until is None) == (run.updates is None):
        got = "neither" if run.until is None else "both"
        raise ValueError(f"a run ends at --until SECONDS or at --updates N; got {got}: give --until 200, for example.")
    positive("until", run.until)
    times = build_times(ja, said.clock)
    for method in methods.values():
        ja.simulate(method, times, num_updates=0)  # a method that does not suit the workers says so now
    problem, numbers = build_problem(ja, said.problem, times.num_workers)
    folder = out.out or Path("results", f"{said.problem.problem}-{said.clock.times}-{times.num_workers}")
    new_folder(folder, out.overwrite)

    say = (lambda text: None) if out.quiet else print
    ends = {"until": run.until, "num_updates": run.updates}
    board = watched(folder / "tensorboard", out.tensorboard)
    if board is not None:
        say(f"watch    tensorboard --logdir {shlex.quote(str(board.folder))}\n")
    progress = False if out.quiet else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ja.DoubtWarning)  # the table says it
        table = ja.compare(problem, times, methods, **ends, seeds=run.seeds, each=board, progress=progress)
    info = {name: table.spec["methods"][name] | arguments[name] for name in methods}
    command = command_line(argv, said.problem.data, out.out)
    table = replace(table, spec=table.spec | {"problem": numbers, "methods": info, "command": command})
    say(f"{table}\n")  # first: whatever happens to the files, the numbers were not for nothing
    table.save(folder, overwrite=True)
    say(f"results  {folder}")
    if find_spec("matplotlib"):
        say(f"figure   {draw_overview(ja.results.load(folder), folder / 'overview.svg')}")
        say(f"again    jaxasgd plot {shlex.quote(str(folder))}")
    else:
        say('figure   none; it needs matplotlib: pip install "jaxasgd[plot]"')


def watched(folder, wanted):
    """What writes TensorBoard's files into the folder, if it is wanted; those of an earlier comparison are deleted."""
    from .events import TensorBoard, clear

    board = TensorBoard(folder) if wanted else None
    clear(folder)
    return board


def advise(said, argv):
    """Check everything, predict, print table and advice, save the numbers and the figure."""
    from .advice import measured, plan_cluster

    if said.step_times is None:
        raise ValueError("a plan reads the seconds of the workers' steps; got no file: give --step-times my.csv.")
    if said.noise_to_signal is None:
        raise ValueError("a plan needs q = sigma^2 / eps; got none: give --noise-to-signal 20, for example.")
    if not 0 <= said.noise_to_signal < math.inf:
        got = said.noise_to_signal
        raise ValueError(f"--noise-to-signal is a finite number, 0 or more; got {got}: give --noise-to-signal 20, say.")
    positive("sync-updates", said.sync_updates)
    count("seeds", said.seeds, 2, most=10**6)
    steps = measured(said.step_times)
    folder = said.out or Path("results", f"plan-{said.step_times.name.partition('.')[0]}")
    new_folder(folder, said.overwrite)
    numbers = {"sync_updates": said.sync_updates, "seeds": said.seeds}
    plan = plan_cluster(steps, said.noise_to_signal, **numbers, progress=False if said.quiet else None)
    told = {"step_times": said.step_times.name, "command": command_line(argv, said.step_times, said.out)}
    replace(plan, spec=plan.spec | told).save(folder, overwrite=True)
    if not said.quiet:
        print(f"{plan}\n\nresults  {folder}")
        none = 'none; it needs matplotlib: pip install "jaxasgd[plot]"'
        print(f"figure   {folder / 'plan.svg' if find_spec('matplotlib') else none}")


def command_line(argv, data, out) -> str:
    """The command as typed, without folders of this machine: of the data file, and of an absolute path, the name."""
    names = {path: path.name for path in (data, out) if path is not None and (path == data or path.is_absolute())}
    words = ["jaxasgd"]
    for word in argv:
        flag, equals, value = word.rpartition("=")
        words.append(flag + equals + names.get(Path(value), value))
    return shlex.join(words)


def draw(said):
    """A picture of a results folder; one in the folder is drawn again, a file elsewhere is not lost."""
    from . import plot, results

    table = results.load(said.folder)
    if said.out is not None:
        new_file(said.out, said.overwrite)
    if said.against is None and said.of is None:
        path = draw_overview(table, said.out or said.folder / "overview.svg")
    else:
        against = choose("--against", said.against or "time", results.AXES)
        of = choose("--of", said.of or "loss", table.metrics)
        path = plot.save(plot.comparison(table, against, of), said.out or said.folder / f"{of}-{against}.svg")
    print(f"figure   {path}")


def draw_overview(table, path) -> Path:
    """The losses and, where there is one, an accuracy: the test set's if it has one."""
    from . import plot

    accuracy = [metric for metric in ("test_accuracy", "accuracy") if metric in table.metrics]
    return plot.save(plot.overview(table, of=("loss", *accuracy[:1])), path)


def show(said):
    """The page of methods; names, first lines of docstrings and arguments of the rest."""
    import jaxasgd as ja

    kinds = ("methods", "policies", "rules", "times", "problems", "results")
    choose("what to list", said.what, (*kinds, "all"))
    if said.markdown:
        if said.what != "methods":
            raise ValueError(f"--markdown goes with methods; got {said.what}: jaxasgd list methods --markdown.")
        print(listing.markdown(ja.methods))
        return
    for kind in kinds if said.what == "all" else (said.what,):
        if kind == "methods":
            print(listing.page(ja.methods))
            continue
        lines = listing.results_below(ja, "results") if kind == "results" else listing.functions(getattr(ja, kind))
        if kind == "problems":
            takes = {f"--problem {name}": f"{about} ({flags(takes)})" for name, (about, takes) in PROBLEMS.items()}
            lines = takes | lines
        width = max(map(len, lines), default=0)
        print("\n".join([kind, *(f"  {name.ljust(width)}  {about}" for name, about in lines.items()), ""]))
