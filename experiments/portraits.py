"""Where the seconds of a cluster go and how late its gradients are, for 4 workers and for 1 000.

Claim     Six policies can be told apart at a glance: synchronous workers idle; asynchronous ones never do, and what
          they save comes back as delay. The mean delay of worker i is m_i times the sum over j != i of 1 / m_j, m_i
          being its mean seconds. Bounded staleness gives some delay back for idle time, Rennala and Ringmaster for
          work that is thrown away.
Command   python experiments/portraits.py
Cost      about 10 seconds on 2 CPU cores; --quick a little less. Nothing is trained.
Expected  asynchronous: mean delay 2.99 with 4 workers and 987 with 1 000 (n - 1, less the start); 9 of 10 workers
          within 4% and 12% of their predicted mean. Synchronous workers idle 48% and 82% of their time. Rennala and
          Ringmaster waste 45 to 50%.

Setting: lognormal times (sigma 0.5) with means from 1 to 4 seconds, evenly spaced on a logarithmic scale.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import tyro
from PIL import Image

import jaxasgd as ja
from jaxasgd.figures import STYLE, pyplot
from jaxasgd.schedule import CANCELLED

POLICIES = {
    "synchronous": lambda n: ja.policies.synchronous(),
    "synchronous, a quarter as backup": lambda n: ja.policies.synchronous(backup=n // 4),
    "bounded staleness (3)": lambda n: ja.policies.ssp(3),
    "asynchronous": lambda n: ja.policies.asgd(),
    "Rennala (batch n)": lambda n: ja.policies.rennala(n, stale="restart"),
    "Ringmaster (delays below n)": lambda n: ja.policies.ringmaster(n),
}
LATE = ("asynchronous", "bounded staleness (3)", "Ringmaster (delays below n)")
FILES = {4: ("timelines-4.svg", "staleness-4.png"), 1000: ("timelines-1000.png", "staleness-1000.png")}


@dataclasses.dataclass
class Options:
    """Where the seconds of a cluster go and how late its gradients are, for 4 workers and for 1 000."""

    out: Path = Path("results/portraits")
    """Folder for the figures and the README; what an earlier run wrote there is replaced."""
    seed: int = 0
    """Of the clock."""
    quick: bool = False
    """A shorter run, for tests."""


def main(options: Options):
    ja.results.prepare(options.out, overwrite=True)
    text = ["# Where the seconds go, and how late gradients are", ""]
    text += ["Nothing is trained here: a clock and a policy make the schedule, and these are its portraits. Times are"]
    text += ["lognormal (sigma 0.5); the workers' means are 1 to 4 seconds.", ""]
    for n, files in FILES.items():
        times = ja.times.lognormal(mean=np.geomspace(1, 4, n), sigma=0.5)
        seconds = (100.0 if options.quick else 400.0) if n == 4 else (60.0 if options.quick else 120.0)
        schedules = {
            name: ja.simulate(make(n), times, until=seconds, seed=options.seed) for name, make in POLICIES.items()
        }
        numbers = {name: measured(schedule, times) for name, schedule in schedules.items()}
        for name, figure in zip(files, (timelines(schedules, n), lateness(schedules, times, n)), strict=True):
            shrink(ja.plot.save(figure, options.out / name))
        text += page(n, files, numbers, seconds)
        for name, row in numbers.items():
            print(f"{n:5} {name:34}" + "  ".join(f"{key} {value:.3g}" for key, value in row.items()), flush=True)
    text += ["Made by `experiments/portraits.py`; every number is computed from the schedules."]
    (options.out / "README.md").write_text("\n".join(text) + "\n")
    print(f"\nThe figures: {options.out}")


def measured(schedule, times) -> dict:
    """Shares of the workers' seconds, gradients a second, and delays."""
    n, lost = schedule.num_workers, schedule.unfinished
    arrived, used, whole = schedule.size > 0, schedule.use, schedule.num_workers * schedule.end
    seconds = schedule.time - schedule.start
    wasted = seconds[arrived & ~used].sum() + lost["seconds"][lost["kind"] == CANCELLED].sum()
    delay = schedule.delay[used]
    number = np.bincount(schedule.worker, used, n)
    mean = np.bincount(schedule.worker, schedule.delay * used, n) / np.where(number, number, np.nan)
    exact = times.mean * (1 / times.mean).sum() - 1
    return {
        "updates": schedule.num_updates,
        "gradients a second": used.sum() / schedule.end,
        "idle": 1 - (seconds[arrived].sum() + lost["seconds"].sum()) / whole,
        "wasted": wasted / whole,
        "discarded": 1 - used[arrived].mean(),
        "mean delay": delay.mean(),
        "largest delay": delay.max(),
        "fastest": mean[0],
        "slowest": mean[-1],
        "predicted fastest": exact[0],
        "predicted slowest": exact[-1],
        "off": np.quantile(np.abs(mean / exact - 1), 0.9),  # of 9 of 10 workers, at most
    }


def timelines(schedules, n):
    """All policies on one window of time."""
    plt = pyplot()
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(3, 2, figsize=(7.2, 5.2 if n < 40 else 6.2), layout="constrained")
        for (name, schedule), ax in zip(schedules.items(), axes.flat, strict=True):
            ja.plot.timeline(schedule, until=30.0, ax=ax)
            entries = len(ax.get_legend().get_texts()) if ax.get_legend() else 0
            ax.set_title(name, pad=4 + 9 * -(-entries // 2))
            ax.set_xlabel(ax.get_xlabel() if ax in axes[-1] else "")
    return figure


def lateness(schedules, times, n):
    """The policies with delays: over the run, and from worker to worker; one legend for all."""
    plt = pyplot()
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(2, 3, figsize=(7.2, 3.9), layout="constrained")
        found = {}
        for name, pair in zip(LATE, axes.T, strict=True):
            ja.plot.staleness(schedules[name], times=times if name == "asynchronous" else None, ax=pair)
            pair[0].set_title(name)
            for ax in pair:
                found |= {handle.get_label(): handle for handle in ax.get_legend_handles_labels()[0]}
                ax.get_legend().remove()
        for ax in axes[:, 1:].flat:
            ax.set_ylabel("")
        found = {label.replace("mean, 5", "mean of a worker, 5"): handle for label, handle in found.items()}
        figure.legend(
            found.values(), found.keys(), loc="outside upper left", ncols=5 if n < 40 else 6, borderaxespad=0.4
        )
    return figure


def shrink(path):
    """A PNG of noise in 256 colours takes a third of the bytes."""
    if path.suffix == ".png":
        Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)


def page(n, files, numbers, seconds) -> list[str]:
    """Two captions and a table."""
    sync, backup, bounded, free, rennala, ringmaster = numbers.values()
    rows = "a row per worker" if n < 40 else "every worker is a row of pixels, the fastest on top"
    lines = [f"## {n:,} workers".replace(",", " "), "", f"![timelines]({files[0]})", ""]
    lines += [
        f"*The first 30 of {seconds:g} seconds, {rows}: white is idle ({sync['idle']:.0%} of all synchronous time, "
        f"{bounded['idle']:.0%} with bounded staleness, none of the asynchronous), and grey is work for nothing: "
        f"{backup['wasted']:.0%} of the time with backup workers, {rennala['wasted']:.0%} with Rennala, "
        f"{ringmaster['wasted']:.0%} with Ringmaster; the darker a bar, the later its gradient.*",
        "",
        f"![staleness]({files[1]})",
        "",
    ]
    lines += [
        f"*Asynchronous delays have mean {free['mean delay']:.4g} (n − 1 = {n - 1}), but the slowest worker's "
        f"{free['slowest']:.4g} is {free['slowest'] / free['fastest']:.3g} times the fastest one's "
        f"{free['fastest']:.3g}, as mᵢ Σ 1/mⱼ says ({free['predicted slowest']:.4g} and "
        f"{free['predicted fastest']:.3g}); bounded staleness brings the mean to {bounded['mean delay']:.4g} by "
        f"waiting, and Ringmaster to {ringmaster['mean delay']:.4g} by discarding {ringmaster['discarded']:.0%} of the "
        f"gradients.*",
        "",
    ]
    lines += ["| policy | updates | used gradients a second | idle | wasted | mean delay | largest |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for name, row in numbers.items():
        cells = [name, f"{row['updates']}", f"{row['gradients a second']:.3g}", f"{row['idle']:.0%}"]
        cells += [f"{row['wasted']:.0%}", f"{row['mean delay']:.3g}", f"{row['largest delay']}"]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
