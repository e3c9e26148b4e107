"""How much delay an optimizer survives: SGD, momentum, Adam, AdamW and Muon, over learning rates and delays.

Claim     The best learning rate of SGD, momentum, Adam and AdamW falls about like 1 / delay, that of Muon more slowly;
          at the best rate a long delay costs Muon least, and SGD most.
Command   python experiments/optimizers.py
Cost      about 4 minutes on 2 CPU cores; --quick about 15 seconds.
Expected  slopes of the best rate over delays 4 to 64: SGD -1.07 +- 0.02, Adam -0.95 +- 0.08, Muon -0.50 +- 0.05; test
          loss at delay 64 over that without delay: SGD 5.4 +- 0.3, momentum 4.7 +- 0.2, Adam 3.8 +- 0.8, AdamW
          3.5 +- 0.3, Muon 2.8 +- 0.2. At delay 1 no optimizer loses more than the intervals allow.

Setting: MNIST averaged over 2 x 2 pixels, an MLP 196-32-10, batches of 32, 1000 updates, every gradient exactly `delay`
updates late. The samples of update k are the same for all optimizers, rates and delays. The figure of merit is the
test loss, a mean over the last five looks; rates are chosen on other seeds than those that are reported.

Reference: P. Zmushko et al., 2026, arXiv 2606.30634 (one update late: AdamW degrades, Muon does not); T. Liu et al.,
NeurIPS 2018, arXiv 1806.01660 (with delays, momentum has to be reduced); the limit of SGD as in stability.py.
Differs from the paper: theirs is of language models, up to 10B parameters, at delay 1; here are a small network and
delays up to 64.
"""

from __future__ import annotations

import dataclasses
import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import common
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from common import plus_minus

import jaxasgd as ja
from jaxasgd.figures import GREY, INK, STYLE, looks, pyplot, tidy
from jaxasgd.results import interval

RULES = {
    "SGD": optax.sgd,
    "SGD, momentum 0.9": lambda rate: optax.sgd(rate, momentum=0.9),
    "Adam": optax.adam,
    "AdamW": lambda rate: optax.adamw(rate, b2=0.95, weight_decay=0.1),
    "Muon": lambda rate: optax.contrib.muon(rate, consistent_rms=0.2),
}
RATES = [2.0**k for k in range(-13, 3)]
DELAYS = (0, 1, 2, 4, 8, 16, 32, 64)
TOLD = ("pairs", "order", "one", "early", "late", "worse", "better", "eighth", "reason", "faster", "left")
LOST = 2.0  # nats; guessing is ln 10 = 2.3


@dataclasses.dataclass
class Options:
    """Optimizers, learning rates and delays."""

    out: Path = Path("results/optimizers")
    """Folder for map.csv, README.md and optimizers.svg."""
    seeds: int = 5
    """Runs behind the intervals."""
    tuning: int = 2
    """Other runs, on which the learning rates are chosen."""
    quick: bool = False
    """A small version on digits, for tests."""
    redraw: bool = False
    """Only the figure and the page again, from map.csv."""


def late(delay: int) -> ja.Policy:
    """Every gradient is for the parameters of `delay` updates before: a pipeline, seen as one worker."""

    def on(state, event):
        read = max(event.version - delay, 0)
        return state, ja.Decision(use=True, step=True, start=(event.worker,), read=read)

    return ja.Policy(lambda num_workers, rng: (None, range(num_workers)), on, {"policy": "late", "delay": delay})


def network(quick: bool):
    data = common.small_images(quick)
    test = (data.X_test[::5], data.y_test[::5])
    return ja.problems.mlp(data.X, data.y, hidden=(32,), test=test, batch_size=32, loss_samples=256)


def measure(options: Options):
    problem, updates = network(options.quick), 100 if options.quick else 1000
    rules, delays, rates = RULES, DELAYS, np.array(RATES, np.float32)
    if options.quick:
        options = dataclasses.replace(options, seeds=2, tuning=1)
        rules, delays, rates = {name: RULES[name] for name in ("SGD", "AdamW")}, (0, 1, 8), rates[::3]
    runs = [ja.simulate(late(delay), ja.times.fixed(1.0, num_workers=1), num_updates=updates) for delay in delays]
    plans = ja.stack([ja.plan(run, evaluate=updates // 20) for run in runs])  # one layout: one program an optimizer
    seeds, rows = [*range(options.seeds), *range(100, 100 + options.tuning)], []
    for name, rule in rules.items():

        def final(rate, plan, problem, key, rule=rule):
            metrics = ja.run(problem, plan, rule(rate), key=key).metrics
            return jnp.array([metrics["test_loss"][-5:].mean(), 1 - metrics["test_accuracy"][-5:].mean()])

        sweep, key = jax.jit(jax.vmap(final, (0, None, None, None))), jax.random.key(0)

        def found(who, sweep=sweep):
            delay, seed = who
            plan = jax.tree.map(lambda a: a[delays.index(delay)], plans)
            return who, np.asarray(sweep(rates, plan, problem, jax.random.fold_in(key, seed))).tolist()

        with ThreadPoolExecutor(2) as pool:  # JAX gives Python's lock back while it computes
            for (delay, seed), numbers in pool.map(found, itertools.product(delays, seeds)):
                who = {"optimizer": name, "delay": delay, "seed": seed}
                pairs = zip(rates.tolist(), numbers, strict=True)
                rows += [who | {"learning_rate": a, "test_loss": b, "test_error": c} for a, (b, c) in pairs]
        print(name, flush=True)
    common.write(options.out / "map.csv", rows, digits=5)


# ------------------------------------------------------------------- from the numbers


class Map:
    """map.csv as arrays: loss and error [optimizer, delay, rate, seed], a loss that is no number being infinite."""

    def __init__(self, path: Path):
        rows = common.read(path)
        column = lambda name: list(dict.fromkeys(row[name] for row in rows))
        self.names, self.delays, self.rates = column("optimizer"), column("delay"), column("learning_rate")
        seeds = column("seed")
        at = {(row["optimizer"], row["delay"], row["learning_rate"], row["seed"]): row for row in rows}
        cube = lambda of: np.array(
            [[[[at[n, d, a, s][of] for s in seeds] for a in self.rates] for d in self.delays] for n in self.names],
            np.float64,
        )
        loss, error = cube("test_loss"), cube("test_error")
        loss = np.where(np.isfinite(loss), loss, np.inf)
        tuning = np.array(seeds) >= 100
        self.tuning, self.loss, self.error = loss[..., tuning], loss[..., ~tuning], error[..., ~tuning]
        self.chosen = self.tuning.mean(-1).argmin(-1)  # [optimizer, delay]

    def at_best(self, name: str, of="loss") -> np.ndarray:
        """[delay, seed], at the rate that was chosen for the delay."""
        n = self.names.index(name)
        return np.array([getattr(self, of)[n, d, self.chosen[n, d]] for d in range(len(self.delays))])

    def best_rates(self, name: str) -> np.ndarray:
        """[delay, seed]: the lowest point of a parabola in logarithms through the best rate and its neighbours."""
        return np.apply_along_axis(lambda y: lowest(self.rates, y), 1, self.loss[self.names.index(name)])

    def edges(self, name: str) -> np.ndarray:
        """[delay, seed]: the rate above the best at which the loss passes `LOST`; nan if none does."""
        return np.apply_along_axis(lambda y: crossing(self.rates, y), 1, self.loss[self.names.index(name)])


def lowest(rates, losses) -> float:
    k = int(np.argmin(losses))
    if not 0 < k < len(rates) - 1 or not np.isfinite(losses[k + 1]):
        return rates[k]
    left, mid, right = np.log(losses[k - 1 : k + 2])
    shift = 0.5 * (left - right) / max(left - 2 * mid + right, 1e-12)
    return float(rates[k] * (rates[k + 1] / rates[k]) ** np.clip(shift, -0.5, 0.5))


def crossing(rates, losses) -> float:
    best = int(np.argmin(losses))
    above = np.flatnonzero(losses[best:] > LOST)
    if not len(above) or not above[0]:
        return np.nan
    k = best + above[0]
    low, high = np.log(losses[k - 1]), np.log(min(losses[k], 1e6))
    share = (np.log(LOST) - low) / (high - low)
    return float(rates[k - 1] * (rates[k] / rates[k - 1]) ** share)


def limit(delay):
    """The largest stable step x curvature of SGD on a quadratic."""
    return 2 * np.sin(np.pi / (4 * np.asarray(delay) + 2))


def slopes(delays, values) -> np.ndarray:
    """Slopes on logarithmic axes over the delays from 4 on, one a seed; `values` is [delay, seed]."""
    far = np.array(delays) >= min(4, sorted(delays)[-2])
    x = np.log(np.maximum(np.array(delays)[far], 1))
    return np.polyfit(x, np.log(np.array(values)[far]), 1)[0]


# ------------------------------------------------------------------- the figure


def figures(out: Path) -> dict:
    found, plt = Map(out / "map.csv"), pyplot()
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(7.0, 4.5), layout="constrained")
        top, bottom = figure.subfigures(2, 1, height_ratios=(1, 1.05), hspace=0.04)
        draw_maps(found, top)
        draw_lines(found, bottom)
    return {"optimizers.svg": figure}


def draw_maps(found, figure):
    """The loss over rates and delays, one panel an optimizer."""
    plt = pyplot()
    shown = found.tuning.mean(-1)
    norm = plt.matplotlib.colors.LogNorm(np.floor(20 * shown.min()) / 20, LOST)
    half = np.sqrt(found.rates[1] / found.rates[0])
    places, edges = np.arange(len(found.delays)), np.append(np.array(found.rates) / half, found.rates[-1] * half)
    axes = np.atleast_1d(figure.subplots(1, len(found.names), sharey=True))
    for n, (ax, name) in enumerate(zip(axes, found.names, strict=True)):
        tidy(ax, grid=None)
        lost = shown[n] >= LOST
        loss = np.ma.array(shown[n], mask=lost).T
        mesh = ax.pcolormesh(np.arange(len(places) + 1) - 0.5, edges, loss, cmap="cividis", norm=norm, rasterized=True)
        for d, k in zip(*np.nonzero(lost), strict=True):
            box = (d - 0.5, edges[k]), 1, edges[k + 1] - edges[k]
            ax.add_patch(plt.Rectangle(*box, facecolor="#f4f4f4", edgecolor="#b8b8b8", hatch="////", linewidth=0))
        chosen = [found.rates[k] for k in found.chosen[n]]
        ax.plot(places, chosen, "o", markersize=4.5, markerfacecolor="white", markeredgecolor=INK, markeredgewidth=0.8)
        if name == "SGD":
            with np.errstate(invalid="ignore"):
                fit = np.exp(np.nanmean(np.log(found.edges(name) / limit(found.delays)[:, None])))
            ax.plot(places, fit * limit(found.delays), color=INK, linewidth=1, linestyle=(0, (4, 1.5)))
        ax.set(yscale="log", title=name, xticks=places, ylim=(edges[0], edges[-1]), xlim=(-0.5, len(places) - 0.5))
        ax.set_xticklabels([d if k == 0 or (len(places) - k) % 2 else "" for k, d in enumerate(found.delays)])
    axes[0].set_ylabel("Learning rate")
    figure.supxlabel("Delay (updates)", fontsize=STYLE["font.size"])
    bar = figure.colorbar(mesh, ax=axes, label="Test loss (nats)", aspect=30, pad=0.01)
    ticks = [t for t in (0.1, 0.2, 0.5, 1.0, 2.0) if norm.vmin <= t <= LOST]
    bar.set_ticks(ticks, labels=[f"{t:g}" for t in ticks])
    bar.ax.minorticks_off()


def draw_lines(found, figure):
    """Best rates, what is left at them, and that over what there is without delay."""
    axes = figure.subplots(1, 3)
    places = np.arange(len(found.delays))
    for ax, title in zip(
        axes, ("Best learning rate", "Test loss at it (nats)", "Times the loss without delay"), strict=True
    ):
        tidy(ax)
        ax.set(yscale="log", title=title, xticks=places, xticklabels=found.delays, xlabel="Delay (updates)")
    for (name, look), marker in zip(looks(found.names).items(), "osD^v", strict=False):
        best = found.at_best(name)
        for ax, numbers in zip(axes, (found.best_rates(name), best, best / best[0]), strict=True):
            logs = interval(np.log(numbers.T))
            mean, low, high = np.exp(logs)
            ax.plot(places, mean, marker=marker, markersize=2.5, linewidth=1.1, label=name, **look)
            ax.fill_between(places, low, high, color=look["color"], alpha=0.15, linewidth=0)
    far = places[np.array(found.delays) >= min(4, found.delays[-1])]
    start = 1.6 * max(found.best_rates(name)[far[0]].mean() for name in found.names)
    law = start * np.array([found.delays[far[0]] / found.delays[k] for k in far])
    axes[0].plot(far, law, color=GREY, linewidth=1, linestyle=(0, (4, 1.5)), label="1 / delay")
    for ax, ticks in ((axes[1], (0.1, 0.2, 0.5, 1, 2)), (axes[2], (1, 2, 5, 10))):
        ax.set_yticks(ticks, labels=[f"{t:g}" for t in ticks])
        ax.minorticks_off()
    handles = axes[0].get_legend_handles_labels()[0]
    axes[1].margins(y=0.08)
    figure.legend(handles=handles, ncols=len(handles), loc="outside upper left", borderaxespad=0.4)


# ------------------------------------------------------------------- the page


def values(out: Path) -> dict:
    found = Map(out / "map.csv")
    longest = found.delays[-1]
    shown = [d for d in (1, 8, longest) if d in found.delays]
    rows, steep, ratio, at = [], [], {}, found.delays.index
    for name, chosen in zip(found.names, found.chosen, strict=True):
        best, kept = found.at_best(name), found.loss[found.names.index(name), :, chosen[0]]
        ratio[name] = {d: best[at(d)] / best[0] for d in found.delays}
        times = [*(ratio[name][d] for d in shown), kept[at(1)] / best[0]]
        last = 100 * found.at_best(name, "error")[-1]
        rows.append([name, *map(plus_minus, [best[0], *times, best[-1], last])])
        best, edge = slopes(found.delays, found.best_rates(name)), slopes(found.delays, found.edges(name))
        ends = [f"{found.rates[chosen[k]]:.2g}" for k in (0, -1)]
        far = plus_minus(edge) if np.isfinite(edge).all() else "not on the grid"
        steep.append([name, *ends, plus_minus(best), far])
    heads = ["optimizer", "loss, no delay", *(f"× at delay {d}" for d in shown), "× at delay 1, rate kept"]
    table = common.markdown([*heads, f"loss, delay {longest}", f"error, delay {longest} (%)"], rows)
    heads = ["optimizer", "best rate, no delay", f"best rate, delay {longest}", "slope of the best", "of the largest"]
    slope_of = lambda told: float(told.split()[0])
    edge = found.chosen.min() == 0 or found.chosen.max() == len(found.rates) - 1
    return {
        "table": table,
        "steep": common.markdown(heads, steep),
        "law": float(slopes(found.delays, limit(found.delays)[:, None])[0]),
        "longest": longest,
        "seeds": found.loss.shape[-1],
        "tuning": found.tuning.shape[-1],
        "lost": LOST,
        "sgd": steep[0][3],
        "muon": steep[-1][3],
        "others": " and ".join(sorted((row[3] for row in steep[1:-1]), key=slope_of)[:: max(1, len(steep) - 3)]),
        "inside": "A best rate sits at the edge of the grid." if edge else "No best rate sits at the edge of the grid.",
    } | told(found, ratio, longest)


def told(found, ratio, longest) -> dict:
    """What is said only where the numbers say it."""
    if len(found.names) < len(RULES):  # the small version
        return dict.fromkeys(TOLD, "")
    heads = ["", *(f"delay {d}" for d in found.delays[1:])]
    pairs = [("Muon", "AdamW"), ("Muon", "SGD"), ("Adam", "SGD"), ("SGD, momentum 0.9", "SGD")]
    over = lambda a, b, d: ratio[a][d] / ratio[b][d]
    rows = [[f"{a} / {b}", *(plus_minus(over(a, b, d)) for d in found.delays[1:])] for a, b in pairs]
    order = {name: interval(ratio[name][longest]) for name in found.names}
    beyond = lambda pair, way: ", ".join(str(d) for d in found.delays[1:] if side(over(*pair, d), 1) == way) or "none"
    slow, first = {name: slowness(found, name) for name in found.names}, side(over("Muon", "AdamW", 1), 1)
    share = found.chosen[found.names.index("SGD, momentum 0.9")] - found.chosen[found.names.index("SGD")]
    early = [interval(ratio[name][1])[2] for name in ("AdamW", "Muon")]
    return {
        "pairs": common.markdown(heads, rows),
        "order": common.ranking(order),
        "one": ["less than", "neither more nor less, beyond the interval, than", "more than"][first + 1],
        "early": f"{max(early) - 1:.0%}",
        "late": beyond(pairs[0], -1),
        "worse": beyond(pairs[-1], 1),
        "better": beyond(pairs[-1], -1),
        "faster": ", ".join(name for name in found.names if steeper(found, name)) or "none",
        "left": f"{found.at_best('SGD')[-1].mean():.2g}",
        "eighth": f"1/{2.0 ** -share[0]:g} without delay and 1/{2.0 ** -share[-1]:g} at delay {longest}",
        "reason": ", ".join(f"{name} {part:.0%}" for name, part in slow.items()),
    }


def slowness(found, name) -> float:
    """How much of what the longest delay costs its small rate costs without any delay."""
    best, n = found.at_best(name), found.names.index(name)
    small = found.loss[n, 0, found.chosen[n, -1]]
    return float(np.mean(small - best[0]) / np.mean(best[-1] - best[0]))


def steeper(found, name) -> bool:
    """Whether the largest rate falls faster than the closed form, beyond the interval."""
    return side(slopes(found.delays, found.edges(name)), slopes(found.delays, limit(found.delays)[:, None])[0]) < 0


def side(numbers, of) -> int:
    """-1 or 1 where the interval lies below or above `of`, else 0."""
    return common.side(np.asarray(numbers) - of)


def main(options: Options):
    common.experiment(__file__, options, measure, figures, values)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
