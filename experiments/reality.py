"""Simulation against reality: real threads, a clock fitted to their step times, and the same run simulated.

Claim     A clock fitted to the step times of one real run tells the delays and the loss over time of the next one about
          as well as the first run itself does.
Command   python experiments/reality.py
Cost      about 4 minutes on 2 CPU cores; --quick about 40 seconds.
Expected  where every worker has a machine to itself: Kolmogorov-Smirnov distance of the delays below 0.1 and time to a
          loss within 10 %. Where threads share cores they are what they are: durations are not independent there.

Two kinds of cluster, each with 2, 4 and 8 workers, with and without a straggler that is four times as slow. "Own": jobs
last lognormal times (a thread computes, then sleeps for the rest), so that workers do not get into each other's way, as
on machines of their own. "Shared": no sleep; the threads share this machine's cores. Each setting is run for real
twice. The clock is fitted to the first (`ja.times.from_schedule(..., of="cycles")`); a simulation with it is compared
with the second, and so is the first: that distance is the noise that no prediction can be below.
"""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import jax
import numpy as np
import optax
import tyro
from bench_torch import images
from scipy.stats import ks_2samp

import jaxasgd as ja
from jaxasgd.figures import PALETTE, STYLE, pyplot, tidy

KEY = jax.random.key(0)
RULE = optax.sgd(0.02)
COLUMNS = ["cluster", "workers", "straggler", "who", "updates_per_second", "mean_delay", "largest_delay"]
COLUMNS += ["ks_delay", "time_to_loss"]
LOOK = {"first run": ("#999999", "-"), "second run": (PALETTE[0], "-"), "simulated": (PALETTE[1], "--")}


@dataclasses.dataclass
class Options:
    """Threads, and their simulation."""

    out: Path = Path("results/reality")
    """Folder for distances.csv, README.md and reality.svg."""
    workers: tuple[int, ...] = (2, 4, 8)
    """Numbers of workers."""
    updates: int = 800
    """Of each run."""
    quick: bool = False
    """Few updates and workers, for tests."""


def real(problem, cluster, num_workers, straggler, updates, seed):
    """One run with threads."""
    slow = np.ones(num_workers)
    slow[0] = 4.0 if straggler else 1.0
    how = {"slow": slow.tolist()}
    if cluster == "own":
        how = {"times": ja.times.lognormal(0.02 * slow, sigma=0.3)}
    _, recorded = ja.runtimes.threads(
        problem, ja.policies.asgd(), RULE, num_workers=num_workers, num_updates=updates, key=KEY, seed=seed,
        progress=False, **how,
    )  # fmt: skip
    return recorded


def simulated(recorded, updates, seed):
    times = ja.times.from_schedule(recorded, of="cycles")
    return ja.simulate(ja.policies.asgd(), times, num_updates=updates, seed=seed)


def loss_over_time(problem, schedule):
    """Seconds and losses at 60 looks, by a replay."""
    history = ja.run(problem, schedule, RULE, key=KEY, evaluate=max(schedule.num_updates // 60, 1), progress=False)
    return np.asarray(history.time), np.asarray(history.loss)


def time_to(level, seconds, loss) -> float:
    """When the loss is first at most `level` for good, between looks on a straight line."""
    best = np.minimum.accumulate(loss)
    return float(np.interp(-level, -best, seconds))


def compared(problem, cluster, num_workers, straggler, updates) -> tuple[list[dict], dict]:
    """The rows of one setting, and its runs."""
    runs = {
        name: real(problem, cluster, num_workers, straggler, updates, seed) for seed, name in enumerate(list(LOOK)[:2])
    }
    runs["simulated"] = simulated(runs["first run"], updates, seed=2)
    curves = {name: loss_over_time(problem, run) for name, run in runs.items()}
    truth = curves["second run"]
    level = float(np.minimum.accumulate(truth[1])[len(truth[1]) * 2 // 3])
    rows = []
    for name, run in runs.items():
        delay = run.delay[run.use]
        row = {"cluster": cluster, "workers": num_workers, "straggler": straggler, "who": name}
        row |= {
            "updates_per_second": run.num_updates / run.end,
            "mean_delay": delay.mean(),
            "largest_delay": delay.max(),
        }
        row["ks_delay"] = ks_2samp(delay, runs["second run"].delay, method="asymp").statistic
        row["time_to_loss"] = time_to(level, *curves[name]) / time_to(level, *truth) - 1
        rows.append(row)
        told = "  ".join(
            f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items()
        )
        print(told, flush=True)
    return rows, {"runs": runs, "curves": curves}


def draw(shown):
    """Delays, and the loss over time, of the settings with the most workers and a straggler."""
    plt = pyplot()
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(2, len(shown), figsize=(3.3 * len(shown), 4.4), layout="constrained", squeeze=False)
        for (delays, losses), (title, told) in zip(axes.T, shown.items(), strict=True):
            tidy(delays)
            tidy(losses)
            for name, (color, line) in LOOK.items():
                delay = np.sort(told["runs"][name].delay)
                share = np.arange(1, len(delay) + 1) / len(delay)
                delays.step(delay, share, color=color, linestyle=line, where="post", linewidth=1.2, label=name)
                losses.plot(*told["curves"][name], color=color, linestyle=line, linewidth=1.2, label=name)
            most = max(np.quantile(run.delay, 0.99) for run in told["runs"].values())
            delays.set(
                xlabel="Delay (updates)", ylabel="Share of updates, cumulative", xlim=(0, most * 1.2), title=title
            )
            losses.set(xlabel="Seconds", ylabel="Loss", yscale="log")
        axes[0, 0].legend(loc="lower right")
    return figure


def page(rows, updates) -> str:
    heads = ["cluster", "workers", "straggler", "updates/s", "simulated", "mean delay", "simulated"]
    heads += ["KS: first run", "simulated", "time: first run", "simulated"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for i in range(0, len(rows), 3):
        first, second, sim = rows[i : i + 3]
        cells = [second["cluster"], second["workers"], "4 ×" if second["straggler"] else "none"]
        cells += [f"{row['updates_per_second']:.0f}" for row in (second, sim)]
        cells += [f"{row['mean_delay']:.2f}" for row in (second, sim)]
        cells += [f"{row['ks_delay']:.3f}" for row in (first, sim)]
        cells += [f"{row['time_to_loss']:+.1%}" for row in (first, sim)]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    text = Path(__file__).with_suffix(".md").read_text()
    return text.format(table="\n".join(lines), updates=updates)


def main(options: Options):
    if options.quick:
        options = dataclasses.replace(options, workers=(2,), updates=60)
    X, y, _ = images()
    problem = ja.problems.mlp(X, y, batch_size=32, loss_samples=2000)
    ja.results.prepare(options.out, overwrite=True)
    rows, shown = [], {}
    for cluster in ("own",) if options.quick else ("own", "shared"):
        for n in options.workers:
            for straggler in (False, True):
                more, told = compared(problem, cluster, n, straggler, options.updates)
                rows += more
                shown[f"{cluster}: {n} workers, one 4 × as slow"] = told
        keep = list(shown)[-1]
        shown = {title: told for title, told in shown.items() if title == keep or not title.startswith(cluster)}
    with open(options.out / "distances.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    (options.out / "README.md").write_text(page(rows, options.updates))
    ja.plot.save(draw(shown), options.out / "reality.svg")
    print(f"\n{options.out / 'README.md'}")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
