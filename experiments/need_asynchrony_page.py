"""The figures of need_asynchrony.py, and the words and numbers of its page, from its CSV files."""

from __future__ import annotations

import itertools

import numpy as np
from common import column, markdown, pick, read, seen

from jaxasgd.figures import INK, STYLE, looks, pyplot, tidy

KINDS = {"stopped": "late jobs can be stopped", "finish": "late jobs run to their end"}


def figures(out):
    return {"need_asynchrony.svg": draw(read(out / "cells.csv")), "tuning.svg": draw_rates(read(out / "tuning.csv"))}


def draw(rows):
    """Ratios over the clocks, measured and predicted."""
    plt, columns = pyplot(), list(itertools.product(seen(rows, "q"), ("ratio", "predicted")))
    with plt.rc_context(STYLE):
        grid = {"sharex": True, "sharey": True, "squeeze": False, "layout": "constrained"}
        figure, axes = plt.subplots(len(KINDS), len(columns), figsize=(7.0, 3.9), **grid)
        for line, (kind, label) in zip(axes, KINDS.items(), strict=True):
            for ax, (q, of) in zip(line, columns, strict=True):
                mesh = chart(ax, pick(rows, q=q, kind=kind), of)
            line[0].set_ylabel(label.capitalize())
        for top, below, (q, of) in zip(axes[0], axes[-1], columns, strict=True):
            top.set_title(f"q = {q:g}, {of.replace('ratio', 'measured')}")
            below.set_xlabel("Power p of the means")
        bar = figure.colorbar(mesh, ax=axes, extend="both", aspect=40, pad=0.01)
        bar.set_ticks([-2, -1, 0, 1, 2], labels=["1/4", "1/2", "1", "2", "4"])
        bar.set_label("Time of m-sync over the best asynchronous")
        bar.outline.set_linewidth(0.4)
    return figure


def chart(ax, rows, of):
    """One map: a number in each cell, with a dot where 1 is outside the interval; framed above 2."""
    laws, powers = seen(rows, "law"), seen(rows, "power")
    tidy(ax, grid="")
    ax.tick_params(length=0)
    value = {(row["power"], row["law"]): row for row in rows}
    table = np.array([[value[power, law][of] for power in powers] for law in laws], float)
    mesh = ax.pcolormesh(np.log2(table), cmap="PuOr_r", vmin=-2, vmax=2, edgecolors="white", linewidth=0.4)
    for y, law in enumerate(laws):
        for x, power in enumerate(powers):
            row, ratio = value[power, law], table[y, x]
            ink = "w" if abs(np.log2(ratio)) > 1.4 else INK
            ax.text(x + 0.5, y + 0.5, f"{ratio:.2f}", color=ink, **{"ha": "center", "va": "center", "fontsize": 5.4})
            if of == "ratio" and not row["low"] <= 1 <= row["high"]:
                ax.plot(x + 0.88, y + 0.85, "o", markersize=1.3, color=ink)
            if ratio > 2:
                ax.add_patch(pyplot().Rectangle((x + 0.04, y + 0.04), 0.92, 0.92, fill=False, edgecolor=INK))
    ax.set_xticks(np.arange(len(powers)) + 0.5, [f"{power:g}" for power in powers])
    ax.set_yticks(np.arange(len(laws)) + 0.5, laws)
    ax.spines[["left", "bottom"]].set_visible(False)
    return mesh


def draw_rates(rows):
    """Updates to the target over the learning rate, in units of theory: a line a setting, medians over clocks."""
    names = {"m-sync": "m-synchronous SGD", "ASGD": "asynchronous SGD"}
    names |= {"Ringmaster": "Ringmaster ASGD", "Ringmaster with stops": "Ringmaster ASGD"}
    noises, rates, plt = seen(rows, "q"), seen(rows, "rate_times_K"), pyplot()
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(7.0, 2.6), layout="constrained", sharey=True)
        for ax, q in zip(axes, noises, strict=False):
            tidy(ax)
            for label, look in looks(names, names).items():
                mine = pick(rows, q=q, method=label)
                for setting in seen(mine, "setting"):
                    line = [column(pick(mine, setting=setting, rate_times_K=m), "updates_over_K") for m in rates]
                    middle = np.array([np.median(one) for one in line])
                    ax.plot(rates, middle, marker=".", markersize=3, linewidth=0.9, label=label, **look)
                    at = int(middle.argmin())
                    ax.plot(rates[at], middle[at], "o", markersize=5, markerfacecolor="none", color=look["color"])
            ax.set(xscale="log", xlabel="Learning rate × K", title=f"q = {q:g}")
            ax.set_xticks(rates, [f"{m:g}" for m in rates])
            ax.minorticks_off()
        axes[0].set_ylabel("Updates to the target / K")
        handles = dict(zip(*axes[0].get_legend_handles_labels()[::-1], strict=True))
        figure.legend(handles.values(), handles, loc="outside upper left", ncols=4, borderaxespad=0.5, handlelength=3)
    return figure


def counted(rows) -> list:
    """One line of the table: what the cells of one noise and kind say."""
    low, high, ratio = (column(rows, name) for name in ("low", "high", "ratio"))
    over, plain = ratio / column(rows, "predicted"), column(rows, "all_over_asynchronous")
    where = lambda row: f"{spanned(row)}: {row['law']}, p = {row['power']:g}"
    most, least = (pick_by(rows, key=lambda row: row["ratio"]) for pick_by in (max, min))
    counts = [sum(high < 1), sum((low <= 1) & (high >= 1)), sum(low > 1), sum(ratio > 2), sum(low > 2)]
    spread = f"{np.median(over):.2f} ({over.min():.2f} to {over.max():.2f})"
    return [len(rows), *counts, where(most), where(least), int(sum(plain <= 2)), spread]


HEADS = ["q", "late jobs", "clocks", "m-sync faster", "not told apart", "slower", "ratio above 2", "surely"]
HEADS += ["largest ratio (95 %)", "least", "waiting for all within 2", "measured / predicted"]


RANDOM = ("exponential", "lognormal, σ 1.5", "Pareto, index 1.5")


def values(out):
    rows, tuning = read(out / "cells.csv"), read(out / "tuning.csv")
    groups = {(q, kind): pick(rows, q=q, kind=kind) for q in seen(rows, "q") for kind in seen(rows, "kind")}
    lines = [[f"{q:g}", KINDS[kind].removeprefix("late jobs "), *counted(some)] for (q, kind), some in groups.items()]
    over, most = [row for row in rows if row["ratio"] > 2], max(rows, key=lambda row: row["ratio"])
    far = np.exp(np.abs(np.log(column(rows, "ratio") / column(rows, "predicted"))))
    furthest, noisy = rows[int(far.argmax())], pick(rows, q=max(seen(rows, "q")))
    steady = pick(noisy, kind="stopped", law="constant", power=1.0)[0]
    return {
        "table": markdown(HEADS, lines),
        "within": len(rows) - len(over),
        "cells": len(rows),
        "surely": sum(row["low"] > 2 for row in over),
        "over": named(over),
        "most": spanned(most),
        "most_at": placed(most),
        "q": f"{steady['q']:g}",
        "steady": spanned(steady),
        "steady_predicted": f"{steady['predicted']:.2f}",
        "stopped": told([row for row in rows if row["kind"] == "stopped" and row["law"] in RANDOM]),
        "finish": told([row for row in rows if row["kind"] == "finish" and row["law"] in RANDOM]),
        "same": told([row for row in rows if row["law"] == "constant" and row["power"] == 0]),
        "plain": int(sum(column(rows, "all_over_asynchronous") <= 2)),
        "plain_steady": sum(row["all_over_asynchronous"] <= 2 for row in rows if row["power"] == 0),
        "steadily": len(pick(rows, power=0.0)),
        "near": f"{np.mean(far <= 1.25):.0%}",
        "far": f"{far.max():.2f} ({placed(furthest)})",
        "bias": ", ".join(f"{np.median(ratio_of(pick(rows, q=q))):.2f} at q = {q:g}" for q in seen(rows, "q")),
        "notice": "; ".join(noticed(pick(rows, q=q)) for q in seen(rows, "q")),
        "pareto": "; ".join(f"{row['law']} {spanned(row)}" for row in pick(noisy, kind="stopped", power=1.0)),
        "edges": edges(rows, seen(tuning, "rate_times_K")),
    }


def noticed(rows) -> str:
    """The ratios at one noise, over the power of the means."""
    powers, ratio = seen(rows, "power"), column(rows, "ratio")
    middle = ", ".join(f"{np.median(column(pick(rows, power=p), 'ratio')):.2f}" for p in powers)
    told = f"with q = {rows[0]['q']:g} the ratios lie between {ratio.min():.2f} and {ratio.max():.2f}"
    return f"{told}, their median being {middle} for p = {', '.join(f'{p:g}' for p in powers)}"


def ratio_of(rows):
    return column(rows, "ratio") / column(rows, "predicted")


def spanned(row) -> str:
    return f"{row['ratio']:.2f} ({row['low']:.2f} to {row['high']:.2f})"


def placed(row) -> str:
    return f"q = {row['q']:g}, {KINDS[row['kind']]}, {row['law']}, p = {row['power']:g}"


def told(rows) -> str:
    """How many cells say what, in words."""
    faster, slower = sum(row["high"] < 1 for row in rows), sum(row["low"] > 1 for row in rows)
    if not rows:
        return "not tried"
    ratio, rest = column(rows, "ratio"), len(rows) - faster - slower
    text = f"faster in {faster}, slower in {slower} and not told apart in {rest} of {len(rows)} cells"
    return f"{text} (ratios {ratio.min():.2f} to {ratio.max():.2f}, median {np.median(ratio):.2f})"


def edges(rows, grid) -> str:
    """How often a learning rate that was taken is the least or the largest of the grid."""
    found = [row[name] in (min(grid), max(grid)) for row in rows for name in ("m_rate_times_K", "rate_times_K")]
    return f"{sum(found)} of {len(found)}"


def named(rows) -> str:
    """Where these cells are."""
    every = []
    for q, kind in dict.fromkeys((row["q"], row["kind"]) for row in rows):
        some = pick(rows, q=q, kind=kind)
        places = (f"p = {p:g} ({', '.join(seen(pick(some, power=p), 'law'))})" for p in sorted(seen(some, "power")))
        every.append(f"q = {q:g}, {KINDS[kind]}: {', '.join(places)}")
    return "; ".join(every) or "none"
