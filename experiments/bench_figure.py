"""The benchmarks' figures: microseconds per update of every side of every case, on one logarithmic axis."""

from __future__ import annotations

import bench
from matplotlib import ticker
from matplotlib.lines import Line2D

from jaxasgd.figures import GREY, INK, PALETTE, SMALL, STYLE, pyplot, tidy

ABOVE = {"default": -0.12, "1": 0.12}


def ours(side) -> bool:
    return "run" in side


def sides_of(told) -> list[str]:
    """All sides in the order in which they first come."""
    return list(dict.fromkeys(side for part in told["parts"] for row in part["rows"] for side in row["seconds"]))


def looks(sides) -> dict:
    """Ours are blue circles, the others squares in other colours."""
    blues, others = iter(("#0072b2", "#56b4e9", "#08519c")), iter(PALETTE[1:5])
    return {side: (next(blues), "o") if ours(side) else (next(others), "s") for side in sides}


def draw(told):
    """A figure of one benchmark, from its JSON."""
    plt, parts = pyplot(), told["parts"]
    cases = [row["case"] for row in parts[0]["rows"]]
    sides = sides_of(told)
    look = looks(sides)
    with plt.rc_context(STYLE):
        height = 0.62 + 0.46 * len(cases)
        figure, ax = plt.subplots(figsize=(5.4, height), layout="constrained")
        tidy(ax, grid="x")
        for y, case in enumerate(cases):
            if y % 2 == 0:
                ax.axhspan(y - 0.62, y + 0.38, color="#f6f6f6", linewidth=0, zorder=0)
            for part in parts:
                row = next(row for row in part["rows"] if row["case"] == case)
                place = y + (ABOVE[part["pool"]] if len(parts) > 1 else 0) + 0.06
                for side in row["seconds"]:
                    low, middle, high = bench.microseconds(row, side)
                    colour, mark = look[side]
                    face = colour if part["pool"] == "default" else "white"
                    ax.plot([low, high], [place, place], color=colour, linewidth=1, solid_capstyle="butt", zorder=2)
                    ax.plot(middle, place, mark, color=colour, markerfacecolor=face, markersize=4, zorder=3)
            ax.text(0.006, y - 0.42, case, transform=ax.get_yaxis_transform(), size=SMALL, va="center", color=INK)
            ax.text(
                0.994, y - 0.42, said(parts[0], case), transform=ax.get_yaxis_transform(), size=SMALL, va="center",
                ha="right", color=GREY,
            )  # fmt: skip
        ax.set_xscale("log")
        ax.set(yticks=[], ylim=(len(cases) - 0.6, -0.64), xlabel="microseconds per update (median and quartiles)")
        ax.spines["left"].set_visible(False)
        spare(ax, told)
        handles = [
            Line2D([], [], color=c, marker=m, linewidth=0, markersize=4, label=side) for side, (c, m) in look.items()
        ]
        if len(parts) > 1:
            handles.append(
                Line2D([], [], color=GREY, marker="o", linewidth=0, markersize=4, label="default thread pool")
            )
            handles.append(
                Line2D([], [], color=GREY, marker="o", mfc="white", linewidth=0, markersize=4, label="PJRT_NPROC=1")
            )
        figure.legend(handles=handles, loc="outside upper left", ncols=min(len(handles), 4), borderpad=0.5)
    return figure


def said(part, case) -> str:
    """The ratios that were asked for."""
    row = next(row for row in part["rows"] if row["case"] == case)
    return ",  ".join(f"{t['slower']} / {t['faster']}  {t['median']:.3g}" for t in row["targets"])


def spare(ax, told):
    """A little room on both sides, and a decade at least."""
    every = [
        value for part in told["parts"] for row in part["rows"] for side in row["seconds"]
        for value in bench.microseconds(row, side)
    ]  # fmt: skip
    low, high = min(every), max(every)
    middle = (low * high) ** 0.5
    ax.set_xlim(min(low / 1.3, middle / 4), max(high * 1.3, middle * 4))
    left, right = ax.get_xlim()
    ax.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5) if right / left < 50 else (1,)))
    ax.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(ticker.NullFormatter())
