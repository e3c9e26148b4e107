"""One update late: what AdamW and Muon lose on a small language model, and what a correction gives back.

Claim     In a pipeline with two versions of its weights (PipeDream-2BW) every gradient is one update late. AdamW loses
          by it, Muon little, and a correction in the manner of error feedback gives a part of it back.
Command   python experiments/one_step_delay.py      (tiny Shakespeare if JAXASGD_DATA has it, else an excerpt)
Cost      about 7 minutes on 2 CPU cores; --quick about a minute.
Expected  Test loss lost to delay 1, rates tuned, 5 seeds: AdamW 0.136 +- 0.024, corrected 0.049 +- 0.021; Muon
          0.054 +- 0.018, corrected 0.031 +- 0.018; AdamW's minus Muon's 0.081 +- 0.022.

Setting: a character transformer of 2 blocks (width 32, context 32), batches of 8 windows, 800 updates; the rate
rises for 80 of them and falls to 0 like a cosine. AdamW has b1 = 0.9, b2 = 0.95, weight decay 0.1; Muon takes the
matrices of the blocks (momentum 0.95, updates of AdamW's size), and AdamW what is left. Runs of one seed have the same
samples and the same start; rates are tuned for each line on one grid, with other seeds.

Reference: P. Zmushko et al., 2026, arXiv 2606.30634 (optimizers at delay 1, the correction); D. Narayanan et al.,
ICML 2021, arXiv 2006.09503 (PipeDream-2BW).
Differs from the paper: theirs are models of 360M to 10B parameters on 10^10 tokens and more, ours has 30 000 on 200 000
characters; the correction is second-hand, see `ja.rules.error_feedback`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import common
import jax
import numpy as np
import optax
import tyro
from common import pick, plus_minus, side

import jaxasgd as ja
from jaxasgd.colours import DASHES, LOOKS
from jaxasgd.figures import INK, PALETTE, STYLE, pyplot, tidy
from jaxasgd.results import interval

GRID = [2.0**k for k in range(-13, -3)]
LATE = 8  # updates, where only some layers are late
TOLD = "muon muon_kept gap adamw muon_too back momentum less layers first inside".split()  # noqa: SIM905
NONE, ONE, CORRECTED = "no delay", "delay 1", "delay 1, corrected"


@dataclasses.dataclass
class Options:
    """AdamW and Muon with gradients one update late."""

    out: Path = Path("results/one_step_delay")
    """Folder for runs.csv, tuning files, README.md and figures."""
    seeds: int = 5
    """Independent repetitions; the intervals are over these."""
    quick: bool = False
    """A small version on an excerpt, for tests."""
    redraw: bool = False
    """Only the figures and the page again, from the CSV files."""


def annealed(rate, updates):
    return optax.warmup_cosine_decay_schedule(0.0, rate, updates // 10, updates, 0.0)


def adamw(updates, b1=0.9):
    return lambda rate: optax.adamw(annealed(rate, updates), b1, 0.95, weight_decay=0.1)


def muon(updates):
    options = {"adam_b2": 0.95, "adam_weight_decay": 0.1, "weight_decay": 0.1, "consistent_rms": 0.2}
    options |= {"muon_weight_dimension_numbers": matrices}
    return lambda rate: optax.contrib.muon(annealed(rate, updates), **options)


def matrices(params):
    """The matrices of the blocks, for Muon; not embedding and head, nor vectors."""
    both = optax.contrib.MuonDimensionNumbers()
    chosen = lambda inside, layer: jax.tree.map(lambda w: both if inside and w.ndim == 2 else None, layer)
    return tuple(chosen(0 < k < len(params) - 1, layer) for k, layer in enumerate(params))


def delayed(optimizer) -> dict:
    """How late and how corrected -> method of a learning rate."""
    return {
        NONE: lambda rate: ja.Method(ja.policies.asgd(), optimizer(rate)),
        ONE: lambda rate: ja.methods.one_step_delay(rate, optimizer),
        CORRECTED: lambda rate: ja.methods.one_step_delay(rate, optimizer, strength=1.0),
    }


def groups(problem, updates, quick=False) -> dict:
    """Group -> (clock, methods): which optimizer, how much momentum, which layers are late."""
    one, many = (ja.times.fixed(1.0, num_workers=n) for n in (1, LATE + 1))
    named = lambda name, optimizer, *ways: {f"{name}, {way}": delayed(optimizer)[way] for way in ways}
    if quick:
        return {"optimizers": (one, named("AdamW", adamw(updates), NONE, ONE))}
    stages = ja.problems.stage_of_leaves(jax.jit(problem.init)(jax.random.key(0)))
    halves = [int(stage > max(stages) // 2) for stage in stages]
    late = lambda *delays: lambda rate: ja.Method(ja.policies.pipelined(halves, delays=delays), adamw(updates)(rate))
    return {
        "optimizers": (
            one,
            named("AdamW", adamw(updates), NONE, ONE, CORRECTED) | named("Muon", muon(updates), NONE, ONE, CORRECTED),
        ),
        "momentum": (
            one,
            named("AdamW b1 = 0", adamw(updates, 0.0), NONE, ONE)
            | named("AdamW b1 = 0.98", adamw(updates, 0.98), NONE, ONE),
        ),
        "layers": (
            many,
            {"none": late(0, 0), "last half": late(0, LATE), "first half": late(LATE, 0), "all": late(LATE, LATE)},
        ),
    }


def measure(options: Options):
    quick = options.quick
    text = ja.problems.text(prefer="excerpt") if quick else ja.problems.text()
    sizes = {"width": 8, "depth": 1, "context": 8} if quick else {"width": 32, "depth": 2, "context": 32}
    problem = ja.problems.transformer(text, heads=2, batch_size=8, windows=32 if quick else 256, **sizes)
    updates, seeds, rows = 20 if quick else 800, 2 if quick else options.seeds, []
    ends = {"num_updates": updates, "points": 4 if quick else 10, "how": "loop" if quick else "threads"}
    for group, (clock, methods) in groups(problem, updates, quick).items():
        folder, tuning = options.out / group, [100] if quick else [100, 101]
        folder.mkdir(exist_ok=True)
        grid = GRID[1::2] if quick else GRID
        rates = common.tuned(problem, clock, methods, grid, "test_loss", folder, seeds=tuning, **ends)
        runs = {name: make(rates[name]) for name, make in methods.items()}
        if group != "layers":
            kept = {name: name.replace(ONE, NONE) for name in methods if name.endswith(ONE)}
            runs |= {f"{name}, rate kept": methods[name](rates[without]) for name, without in kept.items()}
        found = ja.sweep(problem, clock, runs, seeds=seeds, **ends)  # the same programs again
        for run in found.members:
            rate = rates.get(run.method) or rates[kept[run.method.removesuffix(", rate kept")]]
            who = {"group": group, "method": run.method, "learning_rate": rate, "seed": run.seed}
            looks = zip(run.columns["update"].tolist(), run.columns["test_loss"].tolist(), strict=True)
            rows += [who | {"update": update, "test_loss": loss} for update, loss in looks]
        print(group, rates, flush=True)
    common.write(options.out / "runs.csv", rows)


# ------------------------------------------------------------------- from the numbers


def last(rows, group, method) -> np.ndarray:
    """The final test loss of every seed; nan where it diverged."""
    mine = pick(rows, group=group, method=method)
    end = max(row["update"] for row in rows)
    final = {row["seed"]: row["test_loss"] for row in mine if row["update"] == end}
    return np.array([final.get(seed, np.nan) for seed in common.seeds_of(rows)])


def cost(rows, group, method, without) -> np.ndarray:
    """Loss with the delay minus loss without, a number a seed."""
    return last(rows, group, method) - last(rows, group, without)


def all_costs(rows) -> list[dict]:
    """What every line loses by its delay: at its own rate, and at the rate that is best without delay."""
    pairs = [
        ("optimizers", f"{name}, {way}", f"{name}, {NONE}") for name in ("AdamW", "Muon") for way in (ONE, CORRECTED)
    ]
    pairs += [("momentum", f"{name}, {ONE}", f"{name}, {NONE}") for name in ("AdamW b1 = 0", "AdamW b1 = 0.98")]
    pairs += [("layers", name, "none") for name in ("last half", "first half", "all")]
    found = []
    for group, method, without in pairs:
        if not pick(rows, group=group, method=method):
            continue  # the small version has few
        row = {"group": group, "method": method, "tuned": cost(rows, group, method, without)}
        kept = f"{method}, rate kept"
        row["kept"] = cost(rows, group, kept, without) if pick(rows, group=group, method=kept) else None
        found.append(row | {"loss": last(rows, group, method), "without": last(rows, group, without)})
    return found


# ------------------------------------------------------------------- figures


COLOURS = {
    "AdamW": LOOKS["AdamW"][0],
    "Muon": LOOKS["Muon"][0],
    "AdamW b1 = 0": PALETTE[0],
    "AdamW b1 = 0.98": PALETTE[4],
}


def look(method) -> dict:
    name, _, way = method.partition(", ")
    if not way:  # which layers are late
        k = ("none", "last half", "first half", "all").index(name)
        return {"color": (INK, PALETTE[5], PALETTE[3], PALETTE[1])[k], "linestyle": DASHES[k]}
    return {"color": COLOURS[name], "linestyle": {NONE: DASHES[0], ONE: DASHES[1], CORRECTED: DASHES[2]}[way]}


def figures(out: Path) -> dict:
    rows, plt = common.read(out / "runs.csv"), pyplot()
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 3, figsize=(7.0, 2.8), layout="constrained", width_ratios=(1.15, 1, 0.8))
        for ax in axes:
            tidy(ax, grid="both" if ax is axes[0] else "x")
        draw_curves(axes[0], pick(rows, group="optimizers"))
        found = all_costs(rows)
        draw_costs(axes[1], [row for row in found if row["group"] != "layers"], "Cost of delay 1 (nats)")
        draw_costs(axes[2], [row for row in found if row["group"] == "layers"], f"Cost of delay {LATE} (nats)")
        figure.legend(
            handles=axes[0].get_legend_handles_labels()[0], ncols=6, loc="outside upper left", borderaxespad=0.4
        )
        tuning, more = plt.subplots(1, 3, figsize=(7.0, 2.9), layout="constrained", sharey=True)
        for ax, group in zip(more, dict.fromkeys(row["group"] for row in rows), strict=False):
            path = out / group / "tuning.csv"
            names = dict.fromkeys(row["method"] for row in common.read(path))
            common.draw_tuning(path, ax=ax, look={name: look(name) for name in names})
            ax.set(yscale="linear", ylim=limits(out), ylabel="Final test loss (nats)")
            ax.label_outer()
    return {"one_step_delay.svg": figure, "tuning.svg": tuning}


def limits(out) -> tuple[float, float]:
    """From the lowest loss on any grid to a little above where losses without delay are at the smallest rate."""
    seen = [row for path in sorted(out.glob("*/tuning.csv")) for row in common.read(path)]
    start = min(row["learning_rate"] for row in seen)
    losses = [row["final_test_loss"] for row in seen]
    high = np.nanmax([row["final_test_loss"] for row in seen if row["learning_rate"] == start])
    return np.nanmin(losses) - 0.05, high + 0.2


def draw_curves(ax, rows):
    """Test loss over updates, without bands: they would hide one another."""
    for method in [m for m in dict.fromkeys(row["method"] for row in rows) if "kept" not in m]:
        mine, mark = [row for row in pick(rows, method=method) if row["update"]], "v" if "Muon" in method else None
        updates = sorted({row["update"] for row in mine})
        mean = [np.mean([row["test_loss"] for row in pick(mine, update=update)]) for update in updates]
        ax.plot(updates, mean, linewidth=1.1, marker=mark, markersize=2.5, label=method, **look(method))
    ax.set(xlabel="Updates", ylabel="Test loss (nats per character)")


def draw_costs(ax, found, title):
    """Mean and interval of every line's cost; hollow where the rate is the best without delay."""
    for k, row in enumerate(found):
        color = look(row["method"])["color"]
        for of, up, face in (("tuned", 0.0, color), ("kept", 0.25, "white")):
            if row[of] is not None:
                mean, low, high = interval(row[of])
                ax.plot([low, high], [k + up] * 2, color=color, linewidth=1.1)
                ax.plot(mean, k + up, "o", color=color, markersize=4, markerfacecolor=face)
    ax.axvline(0, color=INK, linewidth=0.6)
    ax.set(yticks=range(len(found)), title=title, ylim=(len(found) - 0.4, -0.6))
    ax.set_yticklabels(
        [row["method"].replace(", delay 1", "").replace(", ", "\n").replace(" b1", "\nb1") for row in found]
    )


# ------------------------------------------------------------------- the page


def values(out: Path) -> dict:
    rows = common.read(out / "runs.csv")
    found = all_costs(rows)
    lines = []
    for row in found:
        kept = "" if row["kept"] is None else plus_minus(row["kept"])
        lines.append(
            [row["method"], plus_minus(row["without"]), plus_minus(row["loss"]), plus_minus(row["tuned"]), kept]
        )
    heads = ["", "loss without delay", "with", "cost, rates tuned", "cost, rate kept"]
    table = {"table": common.markdown(heads, lines), "seeds": len(common.seeds_of(rows)), "late": LATE}
    if len(found) < 9:  # the small version
        return table | dict.fromkeys(TOLD, "")
    costs = {row["method"]: row["tuned"] for row in found}
    kept = {row["method"]: row["kept"] for row in found}
    one = {name: costs[f"{name}, {ONE}"] for name in ("AdamW b1 = 0", "AdamW", "AdamW b1 = 0.98", "Muon")}
    back = {name: one[name] - costs[f"{name}, {CORRECTED}"] for name in ("AdamW", "Muon")}
    word = lambda a, b: ["less than", "neither more nor less, beyond the interval, than", "more than"][1 + side(a - b)]
    rates = [row for path in sorted(out.glob("*/tuning.csv")) for row in common.read(path)]
    best = [common.best_rate(pick(rates, method=m), "final_test_loss") for m in {row["method"] for row in rates}]
    grid = sorted({row["learning_rate"] for row in rates})
    return table | {
        "muon": word(one["Muon"], one["AdamW"]),
        "muon_kept": word(kept[f"Muon, {ONE}"], kept[f"AdamW, {ONE}"]),
        "gap": plus_minus(one["AdamW"] - one["Muon"]),
        "adamw": ["no loss beyond the interval", "a loss"][side(one["AdamW"]) > 0],
        "muon_too": ["no loss beyond the interval", "a loss"][side(one["Muon"]) > 0],
        "back": ", ".join(
            f"{plus_minus(v)} for {n} ({v.mean() / one[n].mean():.0%} of its cost)" for n, v in back.items()
        ),
        "momentum": common.ranking({name: interval(one[name]) for name in list(one)[:3]}),
        "less": word(one["AdamW b1 = 0.98"], one["AdamW b1 = 0"]),
        "layers": common.ranking({name: interval(costs[name]) for name in ("last half", "first half", "all")}),
        "first": word(costs["first half"], costs["last half"]),
        "inside": "A" if {grid[0], grid[-1]} & set(best) else "No",
    }


def main(options: Options):
    common.experiment(__file__, options, measure, figures, values)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
