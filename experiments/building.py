"""How fast are schedules built: rows a second, measured side by side in one run.

Claim     Where workers start again at once, a schedule is built over arrays: 1 000 000 rows a second or more with 1 000
          workers; any policy is played event by event at 100 000 rows a second or more; a policy that stops a thousand
          jobs at an update (Ringmaster ASGD on 6 174 workers) is as quick as one that stops none; ten million rows of a
          million workers fit into 16 GB.
Command   python experiments/building.py
Cost      about 4 minutes on 2 CPU cores; --quick about 15 seconds (without the million workers).
Expected  rows a second as in the claim; 2 000 simulated seconds of Ringmaster in 10 s or less. Machines are noisy: the
          medians and quartiles of interleaved rounds are in results/building/building.csv.

Each policy is built in turn in both ways where it has two (both give the same table, which the tests check); the bare
heap is a loop of the same arrivals that writes down nothing but time, worker and version.
"""

from __future__ import annotations

import csv
import dataclasses
import heapq
import multiprocessing
import resource
import time
from pathlib import Path

import numpy as np
import tyro

import jaxasgd as ja

P = ja.policies
WORKERS = 1000
POLICIES = {
    "asgd": P.asgd(),
    "ringmaster": P.ringmaster(WORKERS),
    "rennala": P.rennala(100),
    "buffered": P.buffered(10),
    "double_buffered": P.double_buffered(),
    "hogwild": P.hogwild(4),
    "pipelined": P.pipelined(4),
    "synchronous": P.synchronous(),
    "synchronous, 10 backups": P.synchronous(backup=10),
    "synchronous, late ignored": P.synchronous(backup=10, late="ignore"),
    "ringmaster, stops": P.ringmaster(WORKERS, stops=True),
    "rennala, restart": P.rennala(100, stale="restart"),
    "malenia": P.malenia(WORKERS),
    "ssp": P.ssp(5),
    "buffered, held": P.buffered(10, hold=True),
    "dispatched, random": P.dispatched("random"),
    "dispatched, shuffled": P.dispatched("shuffled"),
    "dispatched, idle": P.dispatched("idle", concurrency=500),
    "ringleader": P.ringleader(),
    "aggregated": P.aggregated(),
    "fastest": P.fastest(np.ones(WORKERS), workers=100),
    "mindflayer": P.mindflayer(2, 3.0, 0.95),
}


@dataclasses.dataclass
class Options:
    """Rows a second of every policy, in the event loop and over arrays."""

    out: Path = Path("results/building")
    """Folder for building.csv and README.md."""
    rounds: int = 5
    """Interleaved measurements behind each median."""
    quick: bool = False
    """Fewer rows and rounds, for tests."""


def plain(policy):
    """The policy without its form over arrays."""
    return policy._replace(on=lambda state, event: policy.on(state, event))


def built(policy, times, **ends):
    """Rows, and seconds to build them."""
    began = time.perf_counter()
    schedule = ja.simulate(policy, times, **ends)
    return len(schedule), time.perf_counter() - began


def bare_heap(rows):
    """Asynchronous arrivals of exponential workers by a heap, with a list each for time, worker and version read."""
    rng = np.random.default_rng(0)
    began = time.perf_counter()
    heap = [(seconds, i) for i, seconds in enumerate(rng.exponential(1.0, WORKERS).tolist())]
    heapq.heapify(heap)
    drawn, read = rng.exponential(1.0, rows).tolist(), [0] * WORKERS
    table = []
    for version, seconds in enumerate(drawn):
        now, i = heap[0]
        table.append((now, i, read[i]))
        read[i] = version + 1
        heapq.heapreplace(heap, (now + seconds, i))
    [np.array(column) for column in zip(*table, strict=True)]
    return rows, time.perf_counter() - began


def rates(rows, arrays, rounds) -> list[dict]:
    """A line for each policy and way."""
    times = ja.times.exponential(1.0, num_workers=WORKERS)
    ways = {("asgd", "bare heap"): lambda: bare_heap(rows)}
    for name, policy in POLICIES.items():
        ends = {"until": 1e12, "max_arrivals": rows}
        ways[name, "event loop"] = lambda policy=policy, ends=ends: built(plain(policy), times, **ends)
        if policy.pure is not None:  # as many rows, about: an arrival of each worker a second
            ends = {"until": arrays / WORKERS}
            ways[name, "arrays"] = lambda policy=policy, ends=ends: built(policy, times, **ends)
    seen = {way: [] for way in ways}
    for _ in range(rounds):
        for way, build in ways.items():
            seen[way].append(build())
    lines = []
    for (name, way), measured in seen.items():
        low, middle, high = np.quantile([number / seconds for number, seconds in measured], [0.25, 0.5, 0.75])
        told = {"policy": name, "way": way, "workers": WORKERS, "rows": measured[0][0]}
        lines.append(told | {"rows_per_second": round(middle), "low": round(low), "high": round(high)})
        print("  ".join(f"{k} {v}" for k, v in lines[-1].items()), flush=True)
    return lines


def ringmaster(rounds, seconds) -> list[dict]:
    """6 174 workers of 1 + sqrt(i) + |N(0, i + 1)| s, R = 6, with stops (the setting of arXiv 2501.16168)."""
    n = 6174
    h, spread = 1 + np.sqrt(np.arange(n)), np.sqrt(np.arange(n) + 1.0)
    times = ja.times.half_normal(shift=h, scale=spread)
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        schedule = ja.simulate(P.ringmaster(6, stops=True), times, until=seconds)
        took.append(time.perf_counter() - began)
    low, middle, high = (round(value, 2) for value in np.quantile(took, [0.25, 0.5, 0.75]))
    jobs = len(schedule) + int(schedule.unfinished["count"].sum())
    told = {"policy": f"ringmaster, stops, R = 6, {seconds:g} simulated s", "way": "event loop", "workers": n}
    told |= {"rows": len(schedule), "rows_per_second": round(len(schedule) / middle), "jobs": jobs}
    line = told | {"seconds": middle, "seconds_low": low, "seconds_high": high}
    print("  ".join(f"{k} {v}" for k, v in line.items()), flush=True)
    return [line]


def many_workers(queue, workers, rows):
    """In a process of its own, whose memory is measured."""
    times = ja.times.exponential(1.0, num_workers=workers)
    number, seconds = built(P.asgd(), times, num_updates=rows)
    queue.put((number, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20))


def largest(workers, rows) -> list[dict]:
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=many_workers, args=(queue, workers, rows))
    process.start()
    number, seconds, memory = queue.get()
    process.join()
    line = {"policy": "asgd", "way": "arrays", "workers": workers, "rows": number}
    line |= {"rows_per_second": round(number / seconds), "seconds": round(seconds, 1), "gib": round(memory, 2)}
    print("  ".join(f"{k} {v}" for k, v in line.items()), flush=True)
    return [line]


def write_readme(out: Path, lines, here):
    """The table, from the numbers."""
    text = ["# How fast schedules are built", ""]
    text += [f"Rows a second with {WORKERS} exponential workers; medians (quartiles) of interleaved rounds on "]
    text[-1] += f"{here['cores']} cores, Python {here['versions']['python']}, NumPy {here['versions']['numpy']}."
    text += ["", "| policy | event loop | arrays |", "|---|---|---|"]
    shown = lambda line: f"{line['rows_per_second']:,} ({line['low']:,} to {line['high']:,})" if line else ""
    rates = {(line["policy"], line["way"]): line for line in lines if "low" in line}
    for name in POLICIES:
        text.append(f"| {name} | {shown(rates[name, 'event loop'])} | {shown(rates.get((name, 'arrays')))} |")
    bare, loop = (rates["asgd", way]["rows_per_second"] for way in ("bare heap", "event loop"))
    text += [
        "",
        f"A bare heap without policy, decisions or checks: {bare:,} rows a second, {bare / loop:.1f} times the",
    ]
    text += ["event loop's for asynchronous SGD.", ""]
    for line in lines:
        if "seconds" in line:
            memory = f", {line['gib']} GiB at most" if "gib" in line else ""
            jobs = f", {line['jobs']:,} jobs" if "jobs" in line else ""
            text.append(f"- {line['policy']}, {line['workers']:,} workers: {line['rows']:,} rows{jobs} in ")
            text[-1] += f"{line['seconds']} s{memory}."
    text += ["", "Made by `experiments/building.py`; all numbers are in `building.csv`."]
    (out / "README.md").write_text("\n".join(text) + "\n")


def main(options: Options):
    ja.results.prepare(options.out, overwrite=True)
    quick = options.quick
    lines = rates(4000 if quick else 100_000, 50_000 if quick else 1_000_000, 2 if quick else options.rounds)
    lines += ringmaster(1 if quick else 3, 100.0 if quick else 2000.0)
    lines += largest(10_000, 100_000) if quick else largest(1_000_000, 10_000_000)
    here = ja.results.environment()
    told = {"numpy": here["versions"]["numpy"], "python": here["versions"]["python"], "cores": here["cores"]}
    names = list(dict.fromkeys(name for line in lines for name in line))
    with open(options.out / "building.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, [*names, *told], lineterminator="\n")
        writer.writeheader()
        writer.writerows(line | told for line in lines)
    write_readme(options.out, lines, here)
    print(f"\n{options.out / 'README.md'}")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
