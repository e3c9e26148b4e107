"""How fast are sweeps: one by one, on threads, or side by side, measured in turn in one run.

Claim     On a CPU `sweep` is never slower than a Python loop of `ja.run` over compiled runs, and at least 3 times as
          fast up to 1 000 parameters; by itself it takes the way that is fastest for the size.
Command   python experiments/bench_sweeps.py
Cost      about 6 minutes on 2 CPU cores; --quick about half a minute.
Expected  loop / chosen way 1.0 or more for every size, 3 or more up to 1 000 parameters. Machines are noisy: the
          quartiles of interleaved rounds are in results/bench/sweeps.json, and beside the wall's clock the seconds of
          all cores together, which others on the machine change less.

Every way runs the same members: 8 seeds x 4 learning rates of asynchronous SGD, 16 workers. All that a second sweep
costs is timed (schedules, tracing, running, looking), but not compilation. The loop simulates once a seed, too, and
its plans are aligned, so that it compiles once.
"""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import jax
import numpy as np
import optax
import tyro

import jaxasgd as ja
from jaxasgd.figures import GREY, INK, PALETTE, STYLE, pyplot, save, tidy
from jaxasgd.planning import align
from jaxasgd.results import environment
from jaxasgd.sweeps import sweep

KEY = jax.random.key(0)
TIMES = ja.times.exponential(1.0, num_workers=16)
RATES, SEEDS = [0.001, 0.002, 0.005, 0.01], 8
WAYS = {  # name: options of the sweep; None: the loop of ja.run
    "loop of run": None,
    "loop": {"how": "loop"},
    "threads": {"how": "threads"},
    "vmap": {"how": "vmap"},
    "vmap, 2 at a time": {"how": "vmap", "chunk": 2},
    "vmap, all at once": {"how": "vmap", "chunk": SEEDS * len(RATES)},
    "chosen": {},
}


@dataclasses.dataclass
class Options:
    """Seconds of a sweep, by the way it is run and by the problem's size."""

    out: Path = Path("results/bench")
    """Folder for sweeps.json and sweeps.svg."""
    rounds: int = 5
    """Interleaved measurements of every way."""
    quick: bool = False
    """Small problems, short runs and few rounds, for tests."""


def mlp(hidden):
    """784-hidden-10 on random images, batches of 32."""
    rng = np.random.default_rng(0)
    images, labels = rng.random((1000, 784), np.float32), rng.integers(0, 10, 1000)

    def init(key):
        a, b = jax.random.split(key)
        return {"a": 0.05 * jax.random.normal(a, (784, hidden)), "b": 0.1 * jax.random.normal(b, (hidden, 10))}

    def loss(params, batch):
        scores = jax.nn.relu(batch[0] @ params["a"]) @ params["b"]
        return optax.softmax_cross_entropy_with_integer_labels(scores, batch[1]).mean()

    return ja.problems.from_loss(loss, init, (images, labels), batch_size=32)


def quadratic(dim, noise=0.1):
    return ja.problems.quadratic(dim=dim, condition=10.0, noise=noise)


PROBLEMS = {  # name: (problem, parameters, updates)
    "quadratic": [(lambda d=d: quadratic(d), d, u) for d, u in ((2, 2000), (100, 2000), (1000, 1000))]
    + [(lambda d=d: quadratic(d), d, u) for d, u in ((10_000, 100), (100_000, 20))],
    "quadratic without noise": [(lambda d=d: quadratic(d, 0.0), d, u) for d, u in ((10_000, 500), (100_000, 100))],
    "perceptron": [(lambda h=h: mlp(h), 794 * h, u) for h, u in ((1, 100), (16, 60), (128, 30))],
}


def loop(problem, updates, evaluate):
    """What one would write without `sweep`: a plan a seed, then run by run."""
    method = ja.methods.asgd(RATES[0])
    runs = [ja.simulate(method, TIMES, num_updates=updates, seed=seed) for seed in range(SEEDS)]
    plans = align([ja.plan(run, evaluate=evaluate) for run in runs])
    for seed, plan in enumerate(plans):
        for rate in RATES:
            ja.run(problem, plan, ja.methods.asgd(rate), key=jax.random.fold_in(KEY, seed), progress=False)


def timed(problem, updates, options) -> tuple[float, float]:
    """Seconds of a sweep on the wall's clock, and of all cores."""
    evaluate, began, busy = max(1, updates // 5), time.perf_counter(), time.process_time()
    if options is None:
        loop(problem, updates, evaluate)
    else:
        methods, grid = {"async": ja.methods.asgd}, {"learning_rate": RATES}
        sweep(problem, TIMES, methods, grid, num_updates=updates, seeds=SEEDS, evaluate=evaluate, **options)
    return time.perf_counter() - began, time.process_time() - busy


def measure(name, make, parameters, updates, rounds) -> dict:
    """All ways in turn; their seconds, and how many times as fast as the loop of `run` each is."""
    problem = make()
    first = {way: timed(problem, updates, options) for way, options in WAYS.items()}  # compiles
    seconds = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way, options in WAYS.items():
            seconds[way].append(timed(problem, updates, options))
    seconds = {way: np.array(values) for way, values in seconds.items()}  # [rounds, (wall, cores)]
    base = seconds["loop of run"]
    row = {"problem": name, "parameters": parameters, "updates": updates, "members": SEEDS * len(RATES), "ways": {}}
    for way, values in seconds.items():
        low, middle, high = np.quantile(base[:, 0] / values[:, 0], [0.25, 0.5, 0.75])
        row["ways"][way] = {
            "seconds": round(float(np.median(values[:, 0])), 4),
            "seconds_of_cores": round(float(np.median(values[:, 1])), 4),
            "first_call_seconds": round(first[way][0], 2),
            "times_as_fast": round(float(middle), 2),
            "quartiles": [round(float(low), 2), round(float(high), 2)],
            "fewer_seconds_of_cores": round(float(np.median(base[:, 1] / values[:, 1])), 2),
        }
    told = "  ".join(
        f"{way} {each['times_as_fast']:.2f}x ({each['fewer_seconds_of_cores']:.2f})"
        for way, each in row["ways"].items()
    )
    print(f"{name}, {parameters} parameters: loop {row['ways']['loop of run']['seconds']:.2f} s  {told}", flush=True)
    return row


def figure(rows, path) -> None:
    """Times as fast as the loop against the number of parameters, a panel for each kind of problem."""
    from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

    plt = pyplot()
    names = list(dict.fromkeys(row["problem"] for row in rows))
    styles = dict(zip(list(WAYS)[1:], "ovs^Dx", strict=True))
    colours = dict(zip(styles, (*PALETTE[:5], INK), strict=True))
    with plt.rc_context(STYLE):
        drawn, panels = plt.subplots(
            1, len(names), figsize=(7.0, 2.5), sharey=True, squeeze=False, layout="constrained"
        )
        for ax, name in zip(panels[0], names, strict=True):
            tidy(ax)
            here = [row for row in rows if row["problem"] == name]
            for way, marker in styles.items():
                y = [row["ways"][way]["times_as_fast"] for row in here]
                look = {"marker": marker, "markersize": 4, "linewidth": 1.0, "color": colours[way], "label": way}
                ax.plot([row["parameters"] for row in here], y, ls="--" if way == "chosen" else "-", **look)
            ax.axhline(1.0, color=GREY, linewidth=0.6)
            ax.set(xscale="log", yscale="log", xlabel="Parameters", title=name.capitalize())
            ax.yaxis.set_major_locator(FixedLocator([0.5, 1, 2, 4, 8]))
            ax.yaxis.set_minor_locator(NullLocator())
            ax.yaxis.set_major_formatter(ScalarFormatter())
        panels[0][0].set_ylabel("Speed (loop of ja.run = 1)")
        place = {"loc": "outside upper left", "ncols": len(styles), "borderaxespad": 0.4}
        drawn.legend(*panels[0][0].get_legend_handles_labels(), **place)
    save(drawn, path)


def main(options: Options) -> None:
    options.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, cases in PROBLEMS.items():
        for make, parameters, updates in cases[:1] if options.quick else cases:
            updates = max(20, updates // 20) if options.quick else updates
            if not (options.quick and parameters > 1000):
                rows.append(measure(name, make, parameters, updates, 1 if options.quick else options.rounds))
    told = {"experiment": "bench_sweeps", "rows": rows, "spec": environment()}
    (options.out / "sweeps.json").write_text(json.dumps(told, indent=1) + "\n")
    figure(rows, options.out / "sweeps.svg")


if __name__ == "__main__":
    main(tyro.cli(Options))
