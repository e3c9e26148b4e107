"""What the benchmarks share: sides timed in turn, the proof that they do the same work, files and figures.

A case is one task with several sides, ja.run among them. All sides get the same start, samples, noise and durations,
and their first calls must end at the same parameters; only then are they timed, in rounds, each side once a round. A
ratio is taken within a round; its median over rounds is the headline, and its quartiles say how far it can be trusted.
A script runs its cases in a process of its own for each setting of XLA's thread pool.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import platform
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import numpy as np

POOLS = {"default": None, "1": "1"}  # of PJRT_NPROC: threads of XLA's pool
EXTRA = 'pip install "jaxasgd[bench]"'
MISSING = []  # what this process could not measure, in sentences


@dataclasses.dataclass
class Options:
    """What every benchmark can be told."""

    out: Path = Path("results/bench")
    """Folder for NAME.json and NAME.svg."""
    rounds: int = 9
    """Interleaved rounds behind each median."""
    quick: bool = False
    """Few updates and rounds, and XLA's default thread pool only: for tests."""
    pool: str = ""
    """Measure in this process, under this thread pool (the script starts itself so)."""


# ------------------------------------------------------------------ measuring


def seconds(function) -> tuple[float, float, object]:
    """How long a call takes until its numbers are there, how long this process computed, and the numbers."""
    import jax

    began, busy = time.perf_counter(), time.process_time()
    out = jax.block_until_ready(function())
    return time.perf_counter() - began, time.process_time() - busy, out


def measure(case, sides, *, updates, rounds, targets=(), apart=(), runs=1, tolerance=1e-3, **told) -> dict:
    """One row: the seconds of every side in every round.

    Args:
        case: its name.
        sides: name -> function without arguments that returns the final parameters; the first is the reference.
        updates: how many each side makes, in each of `runs` runs.
        targets: (slower, faster, "at least" or "at most", number): what the ratio of seconds slower / faster is to be.
        apart: sides that are not compared with the first (they have no staleness, and are checked elsewhere).
        tolerance: of the relative distance between final parameters.
    """
    first, ends = {}, {}
    for name, side in sides.items():
        first[name], _, out = seconds(side)
        ends[name] = flat(out)
    reference = next(iter(sides))
    distance = {name: relative(end, ends[reference]) for name, end in ends.items() if name not in {reference, *apart}}
    for name, far in distance.items():
        if not far <= tolerance:  # nan is not
            raise ValueError(f"{case}: {name} ends at other parameters than {reference}, {far:.2g} away.")
    took, busy, load = {name: [] for name in sides}, {name: [] for name in sides}, [os.getloadavg()[0]]
    for turn in range(rounds):
        for name in list(sides)[:: 1 if turn % 2 else -1]:  # there and back: a slow drift cancels
            for table, spent in zip((took, busy), seconds(sides[name]), strict=False):
                table[name].append(spent)
    load.append(os.getloadavg()[0])
    row = {"case": case, **told, "updates": updates, "runs": runs, "seconds": took, "cpu_seconds": busy}
    row |= {"first_call_seconds": first, "distance": distance, "load": load, "targets": []}
    for slower, faster, bound, number in targets:
        if slower in sides and faster in sides:
            row["targets"].append(target(row, slower, faster, bound, number))
    costs = "  ".join(f"{name} {microseconds(row, name)[1]:.3g}" for name in sides)
    print(f"{case}: microseconds an update: {costs}", flush=True)
    return row


def target(row, slower, faster, bound, number) -> dict:
    """What the ratio of seconds slower / faster is to be, and what it is."""
    low, middle, high = ratio(row, slower, faster)
    met = bool(middle >= number if bound == "at least" else middle <= number)
    found = f"{middle:.3g} ({low:.3g} to {high:.3g}), {bound} {number}: {'met' if met else 'missed'}"
    print(f"    {row['case']}: {slower} / {faster} {found}", flush=True)
    asked = {"slower": slower, "faster": faster, "bound": bound, "number": number}
    busy = ratio(row, slower, faster, "cpu_seconds")[1]
    return asked | {"low": low, "median": middle, "high": high, "met": met, "of_cpu_seconds": busy}


def flat(tree) -> np.ndarray:
    import jax

    return np.concatenate([np.ravel(np.asarray(leaf, np.float64)) for leaf in jax.tree.leaves(tree)])


def relative(a, b) -> float:
    return float(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-30))


def same(case, a, b, tolerance=1e-3) -> float:
    """The distance of two ends that have to be one."""
    far = relative(flat(a), flat(b))
    if not far <= tolerance:
        raise ValueError(f"{case}: the two sides end at different parameters, {far:.2g} apart.")
    return far


def quartiles(values) -> tuple[float, float, float]:
    return tuple(float(value) for value in np.quantile(values, [0.25, 0.5, 0.75]))


def ratio(row, slower, faster, clock="seconds"):
    """Quartiles of the ratio of seconds, round by round."""
    return quartiles(np.divide(row[clock][slower], row[clock][faster]))


def microseconds(row, side):
    """Quartiles of microseconds per update."""
    return quartiles(np.divide(row["seconds"][side], row["updates"] * row["runs"]) * 1e6)


def library(name):
    """A module of the extra `bench`, or None, and a sentence about it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        MISSING.append(f"{name} is not installed, so nothing was measured against it: {EXTRA}.")
        print(MISSING[-1], flush=True)
        return None


def without(what, error):
    """Note that there is no data for a case."""
    MISSING.append(f"{what} was left out: {error}")
    print(MISSING[-1], flush=True)


# ------------------------------------------------------- the problems' input


def samples_in_order(rng, num_workers, turns, number) -> np.ndarray:
    """Sample numbers [workers, turns] in the order of use."""
    return rng.integers(0, number, (num_workers, turns), dtype=np.int32)


def durations_of(schedule) -> np.ndarray:
    """Seconds of every job in the order in which jobs start: first one a worker, then one after each arrival."""
    rows, n = len(schedule), schedule.num_workers
    following, first = np.full(rows, np.inf), np.full(n, np.inf)
    order = np.argsort(schedule.worker, kind="stable")
    worker, time = schedule.worker[order], schedule.time[order]
    again = worker[1:] == worker[:-1]
    following[order[:-1][again]] = np.diff(time)[again]
    heads = np.concatenate([[True], ~again])
    first[worker[heads]] = time[heads]
    return np.concatenate([first, following])


# ------------------------------------------------------------- files, figures


def run(name, script, measured, options, document) -> None:
    """Measure under each thread pool in a process of its own, and write NAME.json and NAME.svg."""
    import jaxasgd as ja

    ja.results.prepare(options.out, overwrite=True)
    part = lambda pool: options.out / f".{name}-{pool}.json"
    if options.pool or options.quick:
        pool = options.pool or "default"
        load = os.getloadavg()
        rows = measured(options)
        here = machine(pool) | {"load_before": load, "load_after": os.getloadavg()}
        part(pool).write_text(json.dumps({"pool": pool, "machine": here, "missing": MISSING, "rows": rows}))
    if options.pool:
        return
    pools = ["default"] if options.quick else list(POOLS)
    for pool in pools if not options.quick else ():
        environment = {key: value for key, value in os.environ.items() if key != "PJRT_NPROC"}
        if POOLS[pool]:
            environment["PJRT_NPROC"] = POOLS[pool]
        print(f"--- {name}, XLA's thread pool: {pool}", flush=True)
        command = [sys.executable, str(script), "--out", str(options.out), "--rounds", str(options.rounds)]
        subprocess.run([*command, "--pool", pool], env=environment, check=True)
    parts = [json.loads(part(pool).read_text()) for pool in pools]
    for pool in pools:
        part(pool).unlink()
    told = {"name": name, "title": document.split("\n")[0], "quick": options.quick, "parts": parts}
    (options.out / f"{name}.json").write_text(json.dumps(told, indent=1) + "\n")
    import bench_figure

    ja.plot.save(bench_figure.draw(told), options.out / f"{name}.svg")
    print(options.out / f"{name}.json")


def machine(pool) -> dict:
    """Machine, versions and threads."""
    import jaxasgd as ja

    here = ja.results.environment() | {"pool": pool, "PJRT_NPROC": os.environ.get("PJRT_NPROC", "")}
    here |= {"usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()}
    here |= {"processor": processor(), "when": time.strftime("%Y-%m-%d %H:%M", time.gmtime())}
    for name in ("numba", "torch", "ray"):
        try:
            here["versions"][name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return here


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
