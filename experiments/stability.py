"""Which step sizes survive which delay: the measured map beside the closed form, with and without momentum.

Claim     On a quadratic, SGD whose gradients are all tau updates late is stable exactly for a = step x curvature below
          2 sin(pi / (4 tau + 2)). Momentum 0.9 lowers the limit at every delay from 1 on; negative momentum raises it.
Command   python experiments/stability.py
Cost      about half a minute on 2 CPU cores; --quick about 10 seconds.
Expected  measured limits within 1.5 % of the closed forms at every delay.

Reference: Y. Arjevani, O. Shamir, N. Srebro, ALT 2020, arXiv 1806.10188 (delayed SGD on quadratics); B. Yang et al.,
MLSys 2021, arXiv 1910.05124, lemma 1 (PipeMare: the limit of a delayed quadratic). With heavy ball, x' = x - a x(tau
updates ago) + beta (x - x before): the smallest w > 0 with w/2 + (tau - 1) w + arg(e^iw - beta) = pi/2 gives the limit
|e^iw - 1| |e^iw - beta|. One vmapped program for all step sizes and delays of a momentum, in float64.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import jax
import numpy as np
import optax
import tyro
from common import experiment, markdown, pick, read, write
from scipy.optimize import brentq

import jaxasgd as ja
from jaxasgd.figures import INK, STYLE, pyplot, tidy

MOMENTA = (0.0, 0.9, -0.5)


@dataclasses.dataclass
class Options:
    """Stability over delays and step sizes."""

    out: Path = Path("results/stability")
    """Folder for limits.csv, map.csv, README.md and stability.svg."""
    updates: int = 20_000
    """Of each run."""
    steps: int = 160
    """Step sizes, evenly on a logarithmic axis."""
    quick: bool = False
    """Few delays and updates, for tests."""
    redraw: bool = False
    """Only the figure and the page, from the numbers there are."""


def limit(tau: int, beta: float) -> float:
    """The largest stable step on f(x) = x^2 / 2."""
    if tau == 0:
        return 2 * (1 + beta)
    angle = lambda w: w / 2 + (tau - 1) * w + np.angle(np.exp(1j * w) - beta) - math.pi / 2
    grid = np.linspace(1e-9, math.pi, 20_000)
    values = angle(grid)
    first = int(np.argmax(np.sign(values[1:]) != np.sign(values[:-1])))
    w = brentq(angle, grid[first], grid[first + 1], xtol=1e-14)
    return float(abs(np.exp(1j * w) - 1) * abs(np.exp(1j * w) - beta))


def growth(delays, steps, beta, updates) -> np.ndarray:
    """How fast |x| grows, per update and as a logarithm: [delays, steps]."""
    problem = ja.problems.quadratic(spectrum=[1.0])
    late = lambda tau: ja.schedules.from_delays(np.minimum(np.arange(updates), tau), num_workers=max(delays) + 1)
    plans = ja.stack([ja.plan(late(tau), evaluate=updates // 100) for tau in delays])
    losses = lambda a, plan: ja.run(problem, plan, optax.sgd(a, momentum=beta or None), key=jax.random.key(0)).loss
    found = np.asarray(jax.jit(jax.vmap(jax.vmap(losses, (0, None)), (None, 0)))(steps, plans))
    with np.errstate(divide="ignore"):
        size = np.log(found) / 2  # of |x|, and a constant
    last = np.isfinite(size).cumprod(-1).sum(-1) - 1  # the last look before it overflows, or is zero
    look = np.arange(size.shape[-1])
    use = (look > last[..., None] // 3) & (look <= last[..., None])  # |x| swings: a straight line through many looks
    mean = lambda a: np.where(use, a, 0).sum(-1, keepdims=True) / np.maximum(use.sum(-1, keepdims=True), 1)
    away = np.where(use, look - mean(look), 0.0)
    slope = (away * np.where(use, size, 0)).sum(-1) / np.maximum((away**2).sum(-1), 1) / (updates // 100)
    gone = np.where(np.isfinite(found[..., -1]), -1.0, 1.0)  # before there were three looks
    return np.where(use.sum(-1) < 3, gone, slope)


def measured_limit(rate, steps) -> float:
    """The first step at which |x| grows, between steps on a straight line."""
    k = int(np.argmax(rate >= 0))
    share = -rate[k - 1] / (rate[k] - rate[k - 1])
    return float(np.exp(np.log(steps[k - 1]) + share * np.log(steps[k] / steps[k - 1])))


def measure(options: Options):
    delays = list(range(65))
    if options.quick:
        options, delays = dataclasses.replace(options, updates=1000, steps=40), [0, 1, 2, 4, 8]
    jax.config.update("jax_enable_x64", True)
    steps = np.geomspace(0.0008, 4.0, options.steps)
    rows, maps = [], []
    for beta in MOMENTA:
        for tau, line in zip(delays, growth(delays, steps, beta, options.updates), strict=True):
            found = measured_limit(line, steps)
            rows.append({"momentum": beta, "delay": tau, "measured": found, "closed_form": limit(tau, beta)})
            named = {f"{a:.5g}": r for a, r in zip(steps, line, strict=True)}
            maps.append({"momentum": beta, "delay": tau, "updates": options.updates} | named)
    write(options.out / "limits.csv", rows)
    write(options.out / "map.csv", maps, digits=3)


def figures(out: Path) -> dict:
    maps, plt = read(out / "map.csv"), pyplot()
    steps = np.array([float(name) for name in list(maps[0])[3:]])
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(MOMENTA), figsize=(7.0, 2.6), layout="constrained", sharey=True)
        for ax, beta in zip(axes, MOMENTA, strict=True):
            tidy(ax, grid=None)
            rows = pick(maps, momentum=beta)
            delays = np.array([row["delay"] for row in rows])
            rate = np.nan_to_num([list(row.values())[3:] for row in rows], posinf=1.0, neginf=-1.0)
            shown = np.clip(rate * np.maximum(delays[:, None], 1), -1, 1)
            look = {"cmap": "PuOr_r", "vmin": -1, "vmax": 1, "rasterized": True, "shading": "nearest"}
            mesh = ax.pcolormesh(delays, steps, shown.T, **look)
            ax.plot(delays, [limit(tau, beta) for tau in delays], color="black", linewidth=1.2, label="closed form")
            ax.set(yscale="log", xlabel="Delay (updates)", title=f"momentum {beta:g}" if beta else "no momentum")
            ax.set_xlim(0, max(delays))
            for place, word in ((0.9, "grows"), (0.03, "shrinks")):
                ax.text(0.95, place, word, transform=ax.transAxes, ha="right", color="white" if place > 0.5 else INK)
        axes[0].set_ylabel("Step size × curvature")
        axes[0].legend(loc="lower left")
        figure.colorbar(mesh, ax=axes, label="log growth of |x| per max(delay, 1)\nupdates, cut at ±1")
    return {"stability.svg": figure}


def values(out: Path) -> dict:
    rows, maps = read(out / "limits.csv"), read(out / "map.csv")
    table = []
    for tau in (0, 1, 2, 4, 8, 16, 32, 64):
        mine = pick(rows, delay=tau)
        table += [[tau, *(f"{row['measured']:.4g} ({row['closed_form']:.4g})" for row in mine)]] if mine else []
    far = lambda beta: max(abs(row["measured"] / row["closed_form"] - 1) for row in pick(rows, momentum=beta))
    higher = lambda beta: [
        row["delay"]
        for row, plain in zip(pick(rows, momentum=beta), pick(rows, momentum=0), strict=True)
        if row["measured"] > plain["measured"]
    ]
    span = lambda found: f"{min(found)} to {max(found)}" if len(found) > 1 else str(*found) if found else "none"
    return {
        "table": markdown(["delay", *(f"momentum {beta:g}" for beta in MOMENTA)], table),
        "far": ", ".join(f"{far(beta):.2%} at momentum {beta:g}" for beta in MOMENTA),
        "steps": len(maps[0]) - 3,
        "updates": maps[0]["updates"],
        "heavy": span(higher(0.9)),
        "negative": span(higher(-0.5)),
    }


if __name__ == "__main__":
    options = tyro.cli(Options, description=__doc__)
    experiment(__file__, options, measure, figures, values)
