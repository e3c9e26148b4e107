"""Faults: workers and servers die at random moments, and what has become of the run is counted.

Claim     Whoever dies, no accepted gradient is lost or applied twice, the recording replays to the same parameters,
          and no process or thread is left over.
Command   python experiments/faults.py
Cost      12 minutes on 2 CPU cores (--minutes); --quick about 30 seconds.
Expected  lost 0, doubled 0, left over 0 in every row; replays within 1e-6.

Asynchronous SGD with momentum, whose end depends on every update and on their order. Jobs last random times. Threads:
an exception is raised before a job. Ray: a worker or the server gets SIGKILL. Counted in each recording: *lost*,
updates that the parameters have and the recording has not, or the other way (versions that are missing, updates fewer
than asked for, a replay that ends elsewhere); *doubled*, a gradient (worker, visit, repeat) in two rows; *left over*,
processes or threads that were not there before.
"""

from __future__ import annotations

import csv
import dataclasses
import os
import random
import signal
import threading
import time
from pathlib import Path

import bench
import jax
import numpy as np
import optax
import tyro

import jaxasgd as ja

KEY = jax.random.key(0)
RULE = optax.sgd(0.01, momentum=0.9)
COLUMNS = ["runtime", "who", "on_failure", "workers", "updates", "kills", "failed_jobs", "lost", "doubled", "left_over"]
COLUMNS += ["replay", "seconds"]
CLOSE = 1e-6


@dataclasses.dataclass
class Options:
    """Workers and servers that die."""

    out: Path = Path("results/faults")
    """Folder for faults.csv and README.md."""
    minutes: float = 12.0
    """How long, in all."""
    workers: int = 3
    """Workers of each run."""
    seed: int = 0
    """Of the moments."""
    quick: bool = False
    """One run of each kind, for tests."""


class Reaper(threading.Thread):
    """SIGKILL at random moments to actors of a kind that belong to this process."""

    def __init__(self, kinds, seed, most, between):
        super().__init__(daemon=True)
        self.kinds, self.random, self.most, self.between = kinds, random.Random(seed), most, between
        self.kills, self.over = 0, threading.Event()

    def run(self):
        while self.kills < self.most and not self.over.wait(self.random.expovariate(1 / self.between)):
            found = actors()
            if not any("AsgdServer.play" in title for title in found.values()):
                continue  # the run has not begun
            victims = [pid for pid, title in found.items() if any(kind in title for kind in self.kinds)]
            if victims:
                try:
                    os.kill(self.random.choice(victims), signal.SIGKILL)
                    self.kills += 1
                except ProcessLookupError:
                    pass

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()


def descendants() -> list:
    import psutil  # comes with Ray

    return psutil.Process().children(recursive=True)


def actors() -> dict:
    """Actors that descend from this process: their titles by process id."""
    import psutil

    found = {}
    for process in descendants():
        try:
            title = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if title.startswith("ray::Asgd"):
            found[process.pid] = title
    return found


def counted(problem, params, recorded, num_updates) -> dict:
    """What a run must not do."""
    jobs = list(zip(recorded.worker.tolist(), recorded.visit.tolist(), recorded.repeat.tolist(), strict=True))
    lost = abs(num_updates - recorded.num_updates)
    lost += int((recorded.version != np.cumsum(recorded.step) - recorded.step).sum())
    replayed = ja.run(problem, recorded, RULE, key=KEY, progress=False).params
    far = float(abs(replayed - params).max() / abs(params).max())
    return {"lost": lost + (far > CLOSE), "doubled": len(jobs) - len(set(jobs)), "replay": far}


def with_threads(problem, times, on_failure, num_updates, seed) -> dict:
    draw, kills = random.Random(seed), []
    most = times.num_workers - 1 if on_failure == "drop" else 10**9

    def before_job(worker, job):
        if len(kills) < most and draw.random() < 0.02:
            kills.append(worker)
            raise RuntimeError("killed")

    before = threading.active_count()
    params, recorded = ja.runtimes.threads(
        problem, ja.policies.asgd(), RULE, num_updates=num_updates, key=KEY, times=times, seed=seed,
        on_failure=on_failure, before_job=before_job, progress=False,
    )  # fmt: skip
    left = threading.active_count() - before
    return {"kills": len(kills), "left_over": left} | summary(problem, params, recorded, num_updates)


def with_ray(problem, times, on_failure, kinds, num_updates, seed) -> dict:
    most = times.num_workers - 1 if on_failure == "drop" else 10**9
    before = {process.pid for process in descendants()}
    with Reaper(kinds, seed, most, between=2.0) as reaper:
        params, recorded = ja.runtimes.ray(
            problem, ja.policies.asgd(), RULE, num_updates=num_updates, key=KEY, times=times, seed=seed,
            on_failure=on_failure, progress=False,
        )  # fmt: skip
    left = len({process.pid for process in descendants()} - before)
    return {"kills": reaper.kills, "left_over": left} | summary(problem, params, recorded, num_updates)


def summary(problem, params, recorded, num_updates) -> dict:
    failed = int((recorded.unfinished["kind"] == ja.schedule.LOST).sum())
    told = {"updates": recorded.num_updates, "failed_jobs": failed}
    return told | counted(problem, params, recorded, num_updates)


def runs(options):
    """Runs of each kind in turn, until the time is over."""
    problem = ja.problems.quadratic(dim=50, condition=10.0, noise=0.1)
    n, updates = options.workers, 60 if options.quick else 1200
    times = ja.times.exponential(0.02, num_workers=n)
    kinds = [("threads", "worker", "restart"), ("threads", "worker", "drop")]
    if bench.library("ray"):
        kinds += [("ray", "Worker", "restart"), ("ray", "Worker", "drop"), ("ray", "Server", "stop")]
        kinds += [("ray", "Worker, Server", "restart")]
    end, seed = time.monotonic() + 60 * options.minutes, options.seed
    while True:
        for runtime, who, on_failure in kinds:
            begun, seed = time.monotonic(), seed + 1
            if runtime == "threads":
                told = with_threads(problem, times, on_failure, updates, seed)
            else:
                told = with_ray(problem, times, on_failure, tuple(who.split(", ")), updates, seed)
            row = {"runtime": runtime, "who": who.lower(), "on_failure": on_failure, "workers": n} | told
            row["seconds"] = round(time.monotonic() - begun, 1)
            print(row, flush=True)
            yield row
            if time.monotonic() > end and not options.quick:
                return
        if options.quick:
            return


def page(rows) -> str:
    heads = ["runtime", "who dies", "on failure", "runs", "updates", "kills", "lost", "doubled", "left over"]
    lines = [f"| {' | '.join(heads)} | largest distance of a replay |", "|---" * (len(heads) + 1) + "|"]
    for kind in dict.fromkeys((row["runtime"], row["who"], row["on_failure"]) for row in rows):
        these = [row for row in rows if (row["runtime"], row["who"], row["on_failure"]) == kind]
        total = [sum(row[name] for row in these) for name in ("updates", "kills", "lost", "doubled", "left_over")]
        far = max(row["replay"] for row in these)
        lines.append(f"| {' | '.join(map(str, [*kind, len(these), *total]))} | {far:.1g} |")
    minutes = sum(row["seconds"] for row in rows) / 60
    missing = "\n".join(["", *bench.MISSING, ""]) if bench.MISSING else ""
    return (
        Path(__file__)
        .with_suffix(".md")
        .read_text()
        .format(table="\n".join(lines), minutes=f"{minutes:.1f}", workers=rows[0]["workers"], missing=missing)
    )


def main(options: Options):
    ja.results.prepare(options.out, overwrite=True)
    rows = []
    for row in runs(options):
        rows.append(row)
        with open(options.out / "faults.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    (options.out / "README.md").write_text(page(rows))
    print(f"\n{options.out / 'README.md'}")
    if any(row[name] for row in rows for name in ("lost", "doubled", "left_over")):
        raise SystemExit("something was lost, doubled or left over: see the table.")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
