"""Do we need asynchronous SGD? Time to a target of m-synchronous over asynchronous SGD, from clock to clock.

Claim     m-synchronous SGD at its best m takes at most about twice as long as the best of asynchronous and Ringmaster
          SGD on most clocks, and about as long where there is little noise, or where times are random and late jobs
          can be stopped. It takes longer than twice where noise is high, workers differ in speed and each is steady.
Command   python experiments/need_asynchrony.py
Cost      about 5 minutes on 2 CPU cores; --quick about 14 seconds.
Expected  at most twice as long in 109 of 120 cells; with q = 64, h_i = i and constant times 2.7 times (predicted 2.7);
          96 % of the ratios within a quarter of the prediction.

Setting: 32 workers, the i-th with mean seconds i^p; six laws of times from constant to Pareto. The tridiagonal
quadratic (L = 1) of dimension 64, noise with sigma^2 = q eps. eps is the squared norm of the gradient after 30 steps
of gradient descent at step 1/L; a method is there when the mean over seeds of the squared norm, averaged over five
looks in a row, is first below eps. Learning rate, m and Ringmaster's bound are the best on other seeds; learning rates
are multiples of 1/K, K = 1 + q/m, or R + q, or n + q for asynchronous SGD: the updates that theory asks for.
Predicted times are K times the seconds of an update.

Reference: G. Begunov, A. Tyurin, 2026, arXiv 2602.03802 (m-synchronous SGD is nearly optimal); A. Maranjyan,
A. Tyurin, P. Richtarik, ICML 2025, arXiv 2501.16168 (Ringmaster). Differs from the paper: ratios are measured, on one
problem, against tuned asynchronous methods and not against a lower bound.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path

import jax
import numpy as np
import tyro
from common import experiment, write
from need_asynchrony_page import KINDS, figures, values

import jaxasgd as ja
from jaxasgd.results import interval

NUM_WORKERS, DIM, DESCENT = 32, 64, 30
LENGTH, LOOKS, AVERAGED = 27, 120, 5  # updates over K; looks at a run, and how many in a row are averaged
NOISES = (1.0, 64.0)  # q
POWERS = (0.0, 0.5, 1.0, 1.5, 2.0)
WAIT_FOR = (1, 2, 4, 8, 12, 16, 24, 32)  # m
BOUNDS = (1, 4, 16)  # R
MULTIPLES = (1.0, 1.2, 1.4, 1.6, 1.9, 2.3, 2.8, 3.8, 5.0, 7.0)  # learning rate times K
LAWS = {
    "constant": ja.times.fixed,
    "gamma, cv 0.1": lambda h: ja.times.gamma(h, cv=0.1),
    "gamma, cv 0.3": lambda h: ja.times.gamma(h, cv=0.3),
    "exponential": ja.times.exponential,
    "lognormal, σ 1.5": lambda h: ja.times.lognormal(h, sigma=1.5),
    "Pareto, index 1.5": lambda h: ja.times.pareto(h, alpha=1.5),
}
RINGMASTERS = {"Ringmaster": False, "Ringmaster with stops": True}
PILOT = 300  # updates of the simulations that tell the seconds of an update


@dataclasses.dataclass
class Options:
    """m-synchronous against asynchronous SGD over a family of clocks."""

    out: Path = Path("results/need_asynchrony")
    """Folder for the CSV files, README.md and need_asynchrony.svg."""
    seeds: int = 12
    """Runs of each method on each clock; half as many others choose learning rate, m and bound."""
    quick: bool = False
    """Few clocks and seeds, for tests."""
    redraw: bool = False
    """Only the figures and the page, from the files that are there."""


def target() -> float:
    """The squared norm of the gradient after so many steps of gradient descent at 1/L, L = 1."""
    problem = ja.problems.tridiagonal(DIM, noise=0.0)
    schedule = ja.simulate(ja.policies.asgd(), ja.times.fixed(1.0, num_workers=1), num_updates=DESCENT)
    history = ja.run(problem, schedule, ja.methods.asgd(1.0), key=jax.random.key(0), target_gradient_norm=0.0)
    return float(history.metrics["gradient_norm"][-1]) ** 2


# ------------------------------------------------------------------- curves


@dataclasses.dataclass
class Curves:
    """One setting of a method: squares [rate, clock, seed, look], updates [look], seconds [clock, seed, look]."""

    label: str
    setting: int
    K: float
    squares: np.ndarray
    updates: np.ndarray
    seconds: np.ndarray


def swept(problem, clocks, label, setting, make, K, seeds) -> Curves:
    """One setting of a method at all learning rates, on all clocks."""
    number = math.ceil(LENGTH * K)
    rates = {"learning_rate": [multiple / K for multiple in MULTIPLES]}
    ends = {"num_updates": number, "evaluate": max(1, number // LOOKS), "target_gradient_norm": 1e-9, "how": "vmap"}
    found = ja.sweep(problem, clocks, {"one": make}, rates, seeds=seeds, **ends)["one"]
    squares = np.square(found.metrics["gradient_norm"].astype(np.float64))
    return Curves(label, setting, K, squares, found.update[0, 0, 0].astype(float), found.time[0])


def first(squares, along, eps) -> float:
    """Where along [look] the mean over seeds, averaged over a few looks in a row, passes eps; inf: never."""
    mean = np.nan_to_num(squares.mean(axis=0), nan=np.inf, posinf=np.inf)
    mean = np.lib.stride_tricks.sliding_window_view(mean, AVERAGED).mean(axis=-1)
    along, k = along[AVERAGED // 2 :], int((mean <= eps).argmax())
    if mean[k] > eps:
        return math.inf
    if k == 0 or not np.isfinite(mean[k - 1]):
        return float(along[k])
    share = np.log(mean[k - 1] / eps) / np.log(mean[k - 1] / mean[k])
    return float(along[k - 1] + share * (along[k] - along[k - 1]))


def choose(many, kept, place, eps, pace) -> tuple[Curves, int]:
    """The setting and learning rate with the least time to the target on the kept seeds.

    Args:
        place: of the clock among those of the curves. pace: the seconds of an update of each setting.
    """
    updates = lambda one, r: first(one.squares[r, place][kept], one.updates, eps)
    every = [(pace[i] * updates(one, r), i, r) for i, one in enumerate(many) for r in range(len(MULTIPLES))]
    _, i, r = min(every)
    return many[i], r


def jackknife(pairs, eps) -> tuple[float, float, float]:
    """The ratio of two times to the target, its 95 % interval over seeds; `pairs`: (squares, seconds) of both."""

    def ratio(keep):
        a, b = (first(squares[keep], seconds[keep].mean(axis=0), eps) for squares, seconds in pairs)
        return math.log(a / b) if math.isfinite(a) and math.isfinite(b) else math.nan

    number = len(pairs[0][0])
    every = np.arange(number)
    without = np.array([ratio(every != seed) for seed in every])
    middle, (_, low, high) = ratio(every), interval((number - 1) * without)  # as wide as that of the pseudo-values
    half = (high - low) / 2
    return tuple(float(np.exp(value)) for value in (middle, middle - half, middle + half))


# ------------------------------------------------------------------- what is measured


def ends_of(times, m, kind, number, seed) -> np.ndarray:
    """When m-synchronous SGD has made 0, 1, ... updates, in seconds."""
    rounds = ja.methods.m_sync_sgd(0.1, m=m, late="cancel" if kind == "stopped" else "ignore")
    made = ja.simulate(rounds, times, num_updates=number, seed=seed)
    return np.append(0.0, made.time[made.step])


def measure(options):
    laws, powers = list(LAWS), POWERS
    settings, bounds, noises, number = WAIT_FOR, BOUNDS, NOISES, options.seeds
    if options.quick:
        laws, powers, settings, bounds, noises, number = laws[::3], (1.0,), (1, 32), (4,), (1.0,), 4
    workers = np.arange(1.0, NUM_WORKERS + 1)
    clocks = {(power, law): LAWS[law](workers**power) for power in powers for law in laws}
    named = {f"{power} {law}": times for (power, law), times in clocks.items()}
    few = number // 2
    seeds, tune, test = [*range(100, 100 + few), *range(number)], np.arange(few), np.arange(few, few + number)
    seconds = lambda at, kind, m: ends_of(clocks[at], m, kind, PILOT, 99)[-1] / PILOT
    pace = {(at, kind): [seconds(at, kind, m) for m in settings] for at in clocks for kind in KINDS}
    eps, cells, tuning = target(), [], []
    for q in noises:
        problem = ja.problems.tridiagonal(DIM, noise=math.sqrt(q * eps / DIM))
        one = {"every": ja.times.fixed(1.0, num_workers=NUM_WORKERS)}  # m-sync's steps are the same on all, in law
        make = lambda m: lambda learning_rate: ja.methods.m_sync_sgd(learning_rate, m=m)
        sync = [swept(problem, one, "m-sync", m, make(m), 1 + q / m, seeds) for m in settings]
        late = [swept(problem, named, "ASGD", NUM_WORKERS, ja.methods.asgd, NUM_WORKERS + q, seeds)]
        for (label, stops), R in itertools.product(RINGMASTERS.items(), bounds):
            make = lambda learning_rate, R=R, stops=stops: ja.methods.ringmaster(learning_rate, bound=R, stops=stops)
            late.append(swept(problem, named, label, R, make, R + q, seeds))
        tuning += [row for curves in sync for row in told(curves, q, one, tune, eps)]
        tuning += [row for curves in late for row in told(curves, q, named, tune, eps)]
        for c, ((power, law), times) in enumerate(clocks.items()):
            for kind in KINDS:
                mine = [curves for curves in late if kind == "stopped" or "stops" not in curves.label]
                row = {"q": q, "kind": kind, "power": power, "law": law}
                paces = pace[(power, law), kind]
                cells.append(row | compared(sync, mine, times, c, kind, paces, eps, (tune, test), seeds))
        write(options.out / "cells.csv", cells)
        write(options.out / "tuning.csv", tuning)


def told(curves, q, names, tune, eps) -> list[dict]:
    """Updates to the target over K, for every learning rate and clock."""
    row = {"q": q, "method": curves.label, "setting": curves.setting}
    found = lambda line: {"updates_over_K": round(first(line[tune], curves.updates, eps) / curves.K, 2)}
    lines = zip(itertools.product(MULTIPLES, names), itertools.chain(*curves.squares), strict=True)
    return [row | {"clock": name, "rate_times_K": multiple} | found(line) for (multiple, name), line in lines]


def compared(sync, late, times, c, kind, paces, eps, seeds_of, seeds) -> dict:
    """One clock: the best of m-synchronous over the best of the asynchronous methods, measured and predicted."""
    tune, test = seeds_of
    a, ra = choose(sync, tune, 0, eps, paces)
    late_paces = [float((one.seconds[c][tune, -1] / one.updates[-1]).mean()) for one in late]
    b, rb = choose(late, tune, c, eps, late_paces)
    squares = a.squares[ra, 0][test]
    number = math.ceil(min(a.updates[-1], 1.4 * first(squares, a.updates, eps)))
    looks = a.updates[a.updates <= number].astype(int)
    seconds = np.stack([ends_of(times, a.setting, kind, number, seeds[i])[looks] for i in test])
    pairs = [(squares[:, : len(looks)], seconds), (b.squares[rb, c][test], b.seconds[c][test])]
    ratio, low, high = jackknife(pairs, eps)
    mine = [first(one, when.mean(axis=0), eps) for one, when in pairs]
    guess = [min(one.K * pace for one, pace in zip(*each, strict=True)) for each in ((sync, paces), (late, late_paces))]
    plain = min(first(sync[-1].squares[r, 0][tune], sync[-1].updates, eps) for r in range(len(MULTIPLES)))
    return {
        "m": a.setting, "m_rate_times_K": MULTIPLES[ra], "asynchronous": b.label, "setting": b.setting,
        "rate_times_K": MULTIPLES[rb], "m_sync_seconds": mine[0], "asynchronous_seconds": mine[1],
        "ratio": ratio, "low": low, "high": high, "predicted": guess[0] / guess[1],
        "all_over_asynchronous": plain * paces[-1] / mine[1],
    }  # fmt: skip


def main(options: Options):
    experiment(__file__, options, measure, figures, values)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
