"""All benchmarks, and their page: what people use today, beside ja.run, in one command.

Claim     ja.run is at least as fast as what people use today for asynchronous SGD on one machine: event loops in
          NumPy and numba, late gradients in PyTorch, a parameter server on Ray; and near the floor, a scan without
          staleness.
Command   python experiments/bench_all.py
Cost      about 12 minutes on 2 quiet CPU cores, 25 on busy ones; --quick about 2; --page only writes README.md
          anew from the JSONs.
Expected  the targets in the first table of results/bench/README.md, which says of each whether it was met.

What is behind the numbers, found with profilers and compiled programs, is prose, in bench_findings.md beside this
script.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import bench
import tyro

HERE = Path(__file__).parent
SUBJECTS = ("events", "rates", "torch", "ray", "scan", "workers")
POOL = {"default": "default thread pool", "1": "PJRT_NPROC=1"}


@dataclasses.dataclass
class Options:
    """All benchmarks, and their page."""

    out: Path = Path("results/bench")
    """Folder for everything."""
    rounds: int = 9
    """Interleaved rounds behind each median."""
    quick: bool = False
    """Few updates and rounds, for tests."""
    page: bool = False
    """Measure nothing; write README.md from the JSONs."""


def main(options: Options):
    for subject in () if options.page else SUBJECTS:
        command = [sys.executable, str(HERE / f"bench_{subject}.py"), "--out", str(options.out)]
        subprocess.run([*command, "--rounds", str(options.rounds), *["--quick"] * options.quick], check=True)
    found = [options.out / f"{subject}.json" for subject in SUBJECTS]
    write_page([json.loads(path.read_text()) for path in found if path.is_file()], options.out / "README.md")
    print(f"\n{options.out / 'README.md'}")


def write_page(told, path):
    """README.md: targets, figures and costs, machine, and what was found."""
    text = ["# Benchmarks: beside what people use today", "", *introduction(told), "", "## Targets", "", *targets(told)]
    for one in told:
        text += ["", f"## {one['title'].rstrip('.')}", "", f"![{one['name']}]({one['name']}.svg)", "", *costs(one)]
    text += ["", (HERE / "bench_findings.md").read_text().strip(), "", "## Machine", "", *machines(told), ""]
    text += ["Made by `experiments/bench_all.py` (its numbers: the JSON files beside this page; its prose: "]
    text[-1] += "`experiments/bench_findings.md`)."
    path.write_text("\n".join(text) + "\n")


def introduction(told) -> list[str]:
    rounds = {len(next(iter(row["seconds"].values()))) for _, _, row in rows(told)}
    far = max((d for _, _, row in rows(told) for d in distances(row)), default=0)
    load = [value for _, _, row in rows(told) for value in row["load"]]
    text = "Every case gives all its sides the same start, samples, noise and durations. Their first calls (with "
    text += (
        f"compilation, told apart in the JSONs) end at the same parameters, within a relative {far:.0e}, and then they "
    )
    text += f"are timed in turn, {' or '.join(map(str, sorted(rounds)))} rounds; a ratio is of two times in one round, "
    text += (
        "and its median and quartiles over rounds are shown. `ja.run` is timed whole, with its tracing and its looks. "
    )
    text += f"The load average of the machine, this work included, was {min(load):.1f} to {max(load):.1f} on "
    text += (
        f"{told[0]['parts'][0]['machine']['usable_cores']} cores. The ratio of CPU seconds of the measuring process "
    )
    text += "depends less on that than the ratio of seconds: where the two disagree, believe it, or measure alone."
    if any(one["quick"] for one in told):
        text += " **These are quick runs, for tests: too short to say anything.**"
    return [text]


def rows(told):
    for one in told:
        for part in one["parts"]:
            for row in part["rows"]:
                yield one, part, row


def distances(row):
    yield from row["distance"].values()
    yield from (row[name] for name in ("distance_of_replay", "distance_without_staleness") if name in row)


def targets(told) -> list[str]:
    """One line for each target, under each thread pool."""
    pools = list(dict.fromkeys(part["pool"] for _, part, _ in rows(told)))
    lines = ["| case | ratio of seconds | target | " + " | ".join(POOL[pool] for pool in pools) + " | of CPU seconds |"]
    lines.append("|---" * (4 + len(pools)) + "|")
    asked = {}
    for _, part, row in rows(told):
        for t in row["targets"]:
            slower = t["slower"].split(",")[0] if t["slower"].startswith("PyTorch") else t["slower"]
            key = (row["case"], f"{slower} / {t['faster']}", f"{t['bound']} {t['number']:g}")
            asked.setdefault(key, {})[part["pool"]] = t
    for key, found in asked.items():
        cells = [shown(found[pool]) if pool in found else "" for pool in pools]
        busy = [judged(found[pool]) for pool in pools if pool in found and "Ray" not in key[1]]
        lines.append("| " + " | ".join([*key, *cells, " and ".join(busy)]) + " |")
    every = [t for found in asked.values() for t in found.values()]
    busy = [t for t in every if t["slower"] != "Ray"]
    text = (
        f"Of {len(every)} comparisons {sum(t['met'] for t in every)} meet their target in seconds; of the {len(busy)} "
    )
    text += (
        f"within one process, {sum(held(t, t['of_cpu_seconds']) for t in busy)} do in CPU seconds (bold: they do not)."
    )
    return [*lines, "", text] if every else ["Nothing was measured against a target."]


def held(t, value) -> bool:
    return value >= t["number"] if t["bound"] == "at least" else value <= t["number"]


def judged(t) -> str:
    value = t["of_cpu_seconds"]
    return f"{value:.3g}" if held(t, value) else f"**{value:.3g}**"


def shown(t) -> str:
    text = f"{t['median']:.3g} ({t['low']:.3g} to {t['high']:.3g})"
    return f"{text} met" if t["met"] else f"**{text} missed**"


def costs(one) -> list[str]:
    """Microseconds per update of every side; missing sides in words."""
    pools = [part["pool"] for part in one["parts"]]
    lines = ["| case | side | " + " | ".join(f"microseconds per update, {POOL[pool]}" for pool in pools)]
    lines[0] += " | first call, seconds |"
    lines.append("|---" * (3 + len(pools)) + "|")
    for index, row in enumerate(one["parts"][0]["rows"]):
        for number, side in enumerate(row["seconds"]):
            parts = [part["rows"][index] for part in one["parts"]]
            cells = ["{1:.3g} ({0:.3g} to {2:.3g})".format(*bench.microseconds(r, side)) for r in parts]
            first = f"{row['first_call_seconds'][side]:.2g}"
            lines.append("| " + " | ".join(["" if number else row["case"], side, *cells, first]) + " |")
    missing = dict.fromkeys(sentence for part in one["parts"] for sentence in part["missing"])
    return [*lines, *(f"\n{sentence}" for sentence in missing)]


def machines(told) -> list[str]:
    """Where and with what; once for all parts that agree."""
    seen = {}
    for one in told:
        for part in one["parts"]:
            m = part["machine"]
            versions = ", ".join(f"{name} {number}" for name, number in m["versions"].items())
            seen.setdefault(f"{m['processor']}, {m['usable_cores']} cores, {m['platform']}; {versions}.", []).append(
                m["when"]
            )
    return [f"{text} Measured {min(when)} to {max(when)} (UTC)." for text, when in seen.items()]


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
