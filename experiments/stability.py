"""Which step sizes survive which delay: the measured map beside the closed form, with and without momentum.

Claim     On a quadratic, SGD whose gradients are all tau updates late is stable exactly for a = step x curvature below
          2 sin(pi / (4 tau + 2)). Momentum 0.9 lowers the limit at every delay; negative momentum raises it.
Command   python experiments/stability.py
Cost      about half a minute on 2 CPU cores; --quick about 10 seconds.
Expected  measured limits within 1.5 % of the closed forms at every delay.

Reference: Y. Arjevani, O. Shamir, N. Srebro, ALT 2020, arXiv 1806.10188 (delayed SGD on quadratics); B. Yang et al.,
MLSys 2021, arXiv 1910.05124, lemma 1 (PipeMare: the limit of a delayed quadratic). With heavy ball, x' = x - a x(tau
updates ago) + beta (x - x before): the smallest w > 0 with w/2 + (tau - 1) w + arg(e^iw - beta) = pi/2 gives the limit
|e^iw - 1| |e^iw - beta|. One vmapped program for all step sizes and delays of a momentum, in float64.
"""

from __future__ import annotations

import csv
import dataclasses
import math
from pathlib import Path

import jax
import numpy as np
import optax
import tyro
from scipy.optimize import brentq

import jaxasgd as ja
from jaxasgd.figures import STYLE, pyplot, tidy

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


def draw(delays, steps, rates):
    plt = pyplot()
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(rates), figsize=(7.0, 2.6), layout="constrained", sharey=True)
        for ax, (beta, rate) in zip(axes, rates.items(), strict=True):
            tidy(ax, grid=None)
            shown = np.clip(
                np.nan_to_num(rate, posinf=1.0, neginf=-1.0) * np.maximum(np.array(delays)[:, None], 1), -1, 1
            )
            mesh = ax.pcolormesh(
                delays, steps, shown.T, cmap="PuOr_r", vmin=-1, vmax=1, rasterized=True, shading="nearest"
            )
            ax.plot(delays, [limit(tau, beta) for tau in delays], color="black", linewidth=1.2, label="closed form")
            ax.set(yscale="log", xlabel="Delay (updates)", title=f"momentum {beta:g}" if beta else "no momentum")
            ax.set_xlim(0, max(delays))
        axes[0].set_ylabel("Step size × curvature")
        axes[0].legend(loc="lower left")
        figure.colorbar(mesh, ax=axes, label="log growth of |x| per max(delay, 1)\nupdates, cut at ±1")
    return figure


def write(out: Path, delays, steps, rates, options):
    rows = []
    for beta, rate in rates.items():
        for tau, line in zip(delays, rate, strict=True):
            exact, found = limit(tau, beta), measured_limit(line, steps)
            rows.append({"momentum": beta, "delay": tau, "closed_form": exact, "measured": found})
    with open(out / "limits.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: f"{v:.6g}" for k, v in row.items()} for row in rows)
    with open(out / "map.csv", "w", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(["momentum", "delay", "step", "growth"])
        for beta, rate in rates.items():
            for tau, line in zip(delays, rate, strict=True):
                if tau in (0, 1, 2, 4, 8, 16, 32, 64):
                    lines.writerows([beta, tau, f"{a:.5g}", f"{r:.4g}"] for a, r in zip(steps, line, strict=True))
    far = {
        beta: max(abs(r["measured"] / r["closed_form"] - 1) for r in rows if r["momentum"] == beta) for beta in rates
    }
    text = ["# Which step sizes survive which delay", "", "![stability](stability.svg)", ""]
    text += ["Largest stable step x curvature, measured (closed form):", ""]
    text += ["| delay | " + " | ".join(f"momentum {beta:g}" for beta in rates) + " |", "|---" * (1 + len(rates)) + "|"]
    for tau in (t for t in (0, 1, 2, 4, 8, 16, 32, 64) if t in delays):
        cells = [f"{r['measured']:.4g} ({r['closed_form']:.4g})" for r in rows if r["delay"] == tau]
        text.append(f"| {tau} | {' | '.join(cells)} |")
    text += ["", "Largest relative difference over all delays: "]
    text[-1] += ", ".join(f"{value:.2%} at momentum {beta:g}" for beta, value in far.items())
    text[-1] += f". {options.steps} steps on a logarithmic grid, {options.updates} updates each."
    text += ["", "Orange grows, violet shrinks; the black line is the closed form, which falls like pi / (2 tau + 1)."]
    text += ["", "Made by `experiments/stability.py`; numbers: `limits.csv`, and `map.csv` for eight of the delays."]
    (out / "README.md").write_text("\n".join(text) + "\n")
    print("\n".join(text))


def main(options: Options):
    delays = list(range(65))
    if options.quick:
        options, delays = dataclasses.replace(options, updates=1000, steps=40), [0, 1, 2, 4, 8]
    jax.config.update("jax_enable_x64", True)
    ja.results.prepare(options.out, overwrite=True)
    steps = np.geomspace(0.0008, 4.0, options.steps)
    rates = {beta: growth(delays, steps, beta, options.updates) for beta in MOMENTA}
    write(options.out, delays, steps, rates, options)
    ja.plot.save(draw(delays, steps, rates), options.out / "stability.svg")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
