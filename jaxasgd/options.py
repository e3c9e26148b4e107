"""What can be said to the `jaxasgd` command: every option with its type, its default and a sentence about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg


def shown(value, without=""):
    """How the help shows an option's value, and what holds where it is not given."""
    return arg(metavar=value, help_behavior_hint=f"({without})" if without else "")


@dataclass
class ProblemOptions:
    """What is minimised, and how the data is divided among the workers.

    Args:
        problem: quadratic; tridiagonal (the worst-case quadratic); toy (linear regression on 100 samples); digits or
            mnist (a network on images); breast_cancer (logistic regression); libsvm (logistic regression on the file
            in --data).
        data: libsvm: a LIBSVM text file with two classes, plain or gzipped. mnist: the folder with its four IDX files.
        dim: quadratic, tridiagonal: number of parameters.
        condition: quadratic: the largest eigenvalue, which is 1, over the smallest; the larger, the harder.
        noise: quadratic, tridiagonal: standard deviation of the noise in each coordinate of a gradient.
        batch_size: Problems with data: samples in one gradient.
        hidden: digits, mnist: widths of the network's hidden layers, first to last; no width makes it a linear model.
        shards: Problems with data, what each worker draws from: none (all samples), iid (a random part), contiguous (a
            part in the order of the data), dirichlet (a part unequal in its classes; needs --alpha).
        alpha: --shards dirichlet: concentration; 100 gives nearly equal parts, 0.1 gives each worker few classes.
    """

    problem: Annotated[str, shown("NAME", "default: quadratic")] = "quadratic"
    data: Annotated[Path | None, shown("PATH", "mnist: by default the folder mnist in $JAXASGD_DATA")] = None
    dim: Annotated[int | None, shown("N", "default: 100; tridiagonal: 1729")] = None
    condition: Annotated[float | None, shown("RATIO", "default: 10")] = None
    noise: Annotated[float | None, shown("STD", "default: 0.1; tridiagonal: 0.01")] = None
    batch_size: Annotated[int | None, shown("N", "default: 32; toy: 1")] = None
    hidden: Annotated[tuple[int, ...] | None, shown("WIDTH ...", "default: 128")] = None
    shards: Annotated[str | None, shown("HOW", "default: none")] = None
    alpha: Annotated[float | None, shown("ALPHA", "no default")] = None


@dataclass
class ClockOptions:
    """Who computes, and how many simulated seconds a gradient takes: 1 second on average, unless told otherwise.

    Args:
        workers: Number of workers.
        times: Law of the seconds that a gradient takes: fixed or exponential (--mean), uniform (--low, --high),
            shifted_exponential (--shift, --mean), lognormal (--mean, --sigma), gamma (--mean, --cv),
            pareto (--mean or --minimum, --tail-index).
        mean: Mean seconds of one gradient (shifted_exponential: of what comes on top of --shift).
        sigma: lognormal: standard deviation of the logarithm of the seconds; 0 is constant, 1 varies much.
        cv: gamma: coefficient of variation, the standard deviation over the mean.
        shift: shifted_exponential: the fewest seconds that a gradient takes.
        low: uniform: the fewest seconds that a gradient takes.
        high: uniform: the most seconds that a gradient takes.
        minimum: pareto: the fewest seconds that a gradient takes, instead of --mean.
        tail_index: pareto: P(T > t) falls like t^-ALPHA; the smaller, the heavier the tail (above 1 with --mean).
        spread: Seconds grow linearly over the workers: the first as above, the last FACTOR times as many.
        slowest: Make the last worker a straggler that takes FACTOR times as long as it would.
    """

    workers: Annotated[int, shown("N", "default: 8")] = 8
    times: Annotated[str, shown("LAW", "default: exponential")] = "exponential"
    mean: Annotated[float | None, shown("SECONDS", "default: 1; shifted_exponential: 0.5")] = None
    sigma: Annotated[float | None, shown("STD", "default: 0.5")] = None
    cv: Annotated[float | None, shown("RATIO", "default: 0.1")] = None
    shift: Annotated[float | None, shown("SECONDS", "default: 0.5")] = None
    low: Annotated[float | None, shown("SECONDS", "default: 0.5")] = None
    high: Annotated[float | None, shown("SECONDS", "default: 1.5")] = None
    minimum: Annotated[float | None, shown("SECONDS", "no default")] = None
    tail_index: Annotated[float | None, shown("ALPHA", "default: 1.5")] = None
    spread: Annotated[float | None, shown("FACTOR", "default: 1, all alike")] = None
    slowest: Annotated[float | None, shown("FACTOR", "default: 1, no straggler")] = None


@dataclass
class RunOptions:
    """What is compared, and for how long.

    Args:
        methods: The methods, one or more, each with its arguments: asgd, for example, or
            backup_sgd:learning_rate=0.1,backup=2. 'jaxasgd list methods' shows them all with their arguments.
        learning_rate: Learning rate of the methods that are given none of their own.
        until: End every run after so many simulated seconds: all methods get the same time.
        updates: End every run after so many updates of the parameters.
        seeds: Runs of each method, with seeds 0, 1, ...; from two on there are 95 % intervals.
    """

    methods: Annotated[tuple[str, ...], shown("NAME[:ARGUMENT=VALUE,...] ...", "required")] = ()
    learning_rate: Annotated[float | None, shown("STEP", "no default")] = None
    until: Annotated[float | None, shown("SECONDS", "this or --updates")] = None
    updates: Annotated[int | None, shown("N", "this or --until")] = None
    seeds: Annotated[int, shown("N", "default: 5")] = 5


@dataclass
class OutputOptions:
    """Where the results go.

    Args:
        out: Folder for the numbers (spec.json, history.csv, runs.csv, schedules) and the figure (overview.svg).
        tensorboard: Write every evaluation, as it is made, into TensorBoard's event files in FOLDER/tensorboard.
        overwrite: Replace the results that the folder holds already.
        quiet: Print nothing but errors.
    """

    out: Annotated[Path | None, shown("FOLDER", "default: results/PROBLEM-LAW-WORKERS")] = None
    tensorboard: Annotated[bool, shown(None)] = False
    overwrite: Annotated[bool, shown(None)] = False
    quiet: Annotated[bool, shown(None)] = False


@dataclass
class Compare:
    """Compare methods on one problem and one clock, over several seeds.

    Prints a table, and saves the numbers and a figure in a folder.

    All input is checked before the first run. Examples are at the end.
    """

    problem: ProblemOptions
    clock: ClockOptions
    run: RunOptions
    output: OutputOptions


@dataclass
class Plan:
    """Which method suits a cluster, predicted from the measured seconds of its workers' steps.

    Prints a table and one sentence of advice, and saves the numbers and a figure in a folder.

    Examples are at the end.

    Args:
        step_times: A CSV file: a column for each worker, a line for each step, in seconds; columns may end early (empty
            cells), and a line of names may come first. inf is a step that never ends. Plain or gzipped.
        noise_to_signal: q = sigma^2 / eps: the variance of one worker's gradient over the squared norm of the gradient
            at the target (the gradient noise scale, in units of one worker's batch).
        sync_updates: Updates that synchronous SGD needs to the target on this cluster; times are then seconds.
        seeds: Simulations of each method, 2 or more.
        out: Folder for the numbers (plan.csv, plan.json, README.md) and the figure (plan.svg).
        overwrite: Replace the plan that the folder holds already.
        quiet: Print nothing but errors.
    """

    step_times: Annotated[Path | None, shown("FILE", "required")] = None
    noise_to_signal: Annotated[float | None, shown("Q", "required")] = None
    sync_updates: Annotated[float | None, shown("N", "unknown")] = None
    seeds: Annotated[int, shown("N", "default: 5")] = 5
    out: Annotated[Path | None, shown("FOLDER", "default: results/plan-FILE")] = None
    overwrite: Annotated[bool, shown(None)] = False
    quiet: Annotated[bool, shown(None)] = False


@dataclass
class LiveOptions:
    """What is run, on how many threads, and for how long.

    Args:
        method: The method with its arguments: asgd, for example, or ringmaster:bound=8.
        learning_rate: Learning rate, where the method is given none.
        workers: Number of threads that compute, in turn over all devices.
        updates: End after so many updates of the parameters.
        until: End after so many seconds, compilation not counted.
        slow: How many times as long as its computing a job takes: one number for all workers, or one for each.
        seed: Of the start, of all samples, and of the method's own randomness.
    """

    method: Annotated[str | None, shown("NAME[:ARGUMENT=VALUE,...]", "required")] = None
    learning_rate: Annotated[float | None, shown("STEP", "no default")] = None
    workers: Annotated[int, shown("N", "default: 4")] = 4
    updates: Annotated[int | None, shown("N", "this or --until")] = None
    until: Annotated[float | None, shown("SECONDS", "this or --updates")] = None
    slow: Annotated[tuple[float, ...] | None, shown("FACTOR ...", "default: 1, as fast as can be")] = None
    seed: Annotated[int, shown("N", "default: 0")] = 0


@dataclass
class RecordOutput:
    """Where the recording goes.

    Args:
        out: The recording: a .npz, or a .csv.
        overwrite: Replace the file, if there is one.
        quiet: Print nothing but errors.
    """

    out: Annotated[Path, shown("FILE", "default: recorded.npz")] = Path("recorded.npz")
    overwrite: Annotated[bool, shown(None)] = False
    quiet: Annotated[bool, shown(None)] = False


@dataclass
class Record:
    """Train with real asynchrony, on threads of this machine, and record who delivered when and what had been read.

    The recording is a schedule: 'jaxasgd replay' makes the same updates again, and draws it.

    Examples are at the end.
    """

    problem: ProblemOptions
    run: LiveOptions
    output: RecordOutput


@dataclass
class ReplayProblem(ProblemOptions):
    """What is minimised, where the recording does not say it; given options count more than the recording.

    Args:
        problem: As in 'jaxasgd record --help', as are the other options.
        data: The file or folder that the problem was read from, which a recording does not name in full.
        dim: See problem.
        condition: See problem.
        noise: See problem.
        batch_size: See problem.
        hidden: See problem.
        shards: See problem.
        alpha: See problem.
    """

    problem: Annotated[str | None, shown("NAME", "default: as recorded")] = None  # type: ignore[assignment]  # None too


@dataclass
class Replay:
    """Make the updates of a recorded run again, and see how the loss went and who computed when.

    A recording of 'jaxasgd record' knows what to run; for another, say problem and method.

    Args:
        recorded: The recording: a .npz or .csv file that a run wrote.
        method: The method with its arguments.
        learning_rate: Learning rate, where the method is given none.
        seed: Of the start and of all samples.
        out: Folder for the losses (history.csv) and the figure (timeline.svg); none: nothing is saved.
        overwrite: Replace what the folder holds already.
    """

    recorded: Annotated[Positional[Path], shown("RECORDED", "required")]
    problem: ReplayProblem
    method: Annotated[str | None, shown("NAME[:ARGUMENT=VALUE,...]", "default: as recorded")] = None
    learning_rate: Annotated[float | None, shown("STEP", "default: as recorded")] = None
    seed: Annotated[int | None, shown("N", "default: as recorded")] = None
    out: Annotated[Path | None, shown("FOLDER", "default: none")] = None
    overwrite: Annotated[bool, shown(None)] = False


@dataclass
class List:
    """Show what there is, one line each, with arguments in brackets.

    Args:
        what: methods (the field as a table), policies, rules, times, problems, results (folders below ./results), or
            all.
        markdown: Methods: the table in Markdown.
    """

    what: Annotated[Positional[str], shown("[WHAT]", "default: all")] = "all"
    markdown: Annotated[bool, shown(None)] = False


@dataclass
class Plot:
    """Draw from a results folder, without training.

    Without --against and --of it draws the overview again.

    Args:
        folder: A folder that 'jaxasgd compare' wrote, or table.save in Python.
        against: Horizontal axis: time (simulated seconds), update, or gradients (arrived so far).
        of: Vertical axis: loss, or what else the problem reports, accuracy for example.
        out: The picture, a .svg or a .png.
        overwrite: Replace the file named by --out, if there is one.
    """

    folder: Annotated[Positional[Path], shown("FOLDER", "required")]
    against: Annotated[str | None, shown("AXIS", "default: time")] = None
    of: Annotated[str | None, shown("METRIC", "default: loss")] = None
    out: Annotated[Path | None, shown("FILE", "default: an .svg in the folder")] = None
    overwrite: Annotated[bool, shown(None)] = False


@dataclass
class Report:
    """Write results folders as one HTML page, figures and all, that needs no other file and no network.

    Args:
        folders: Folders that 'jaxasgd compare', 'jaxasgd plan' or an experiment wrote.
        out: The page, an .html.
        title: Title of the page.
        overwrite: Replace the page, if there is one.
    """

    folders: Annotated[Positional[tuple[Path, ...]], shown("FOLDER ...", "required")] = ()
    out: Annotated[Path, shown("FILE", "default: report.html")] = Path("report.html")
    title: Annotated[str | None, shown("TEXT", "default: what the folder says")] = None
    overwrite: Annotated[bool, shown(None)] = False


@dataclass
class Reproduce:
    """Run a published experiment again, and set its numbers beside the published ones.

    Without a name: which there are, and how long each takes. Needs the source tree, where the scripts are.

    Args:
        name: The experiment.
        out: Folder for what it writes.
        quick: Its small version, in seconds; nothing to compare with.
        overwrite: Replace what the folder holds already.
    """

    name: Annotated[Positional[str | None], shown("[NAME]", "default: list them")] = None
    out: Annotated[Path | None, shown("FOLDER", "default: reproduced/NAME")] = None
    quick: Annotated[bool, shown(None)] = False
    overwrite: Annotated[bool, shown(None)] = False


@dataclass
class Doctor:
    """See what this machine has: versions, devices, optional parts, data; and the command that adds what is missing."""
