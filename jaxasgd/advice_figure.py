"""The figure of a plan for a cluster: how fast its workers are, and what each method makes of it."""

from __future__ import annotations

import numpy as np

from . import complexity
from .figures import GREY, INK, STYLE, looks, numbers, pyplot, tidy

NAMES = {
    "synchronous": "synchronous",
    "m-sync": "m-sync: n − m backups",
    "ASGD": "ASGD",
    "ASGD, fastest": "ASGD on the m fastest",
    "Ringmaster": "Ringmaster",
    "Rennala": "Rennala",
    "Rennala, restart": "Rennala, late jobs stopped",
}
PUBLISHED = {
    "synchronous": "synchronous SGD",
    "m-sync": "m-synchronous SGD",
    "ASGD": "asynchronous SGD",
    "ASGD, fastest": "Naive Optimal ASGD",
    "Ringmaster": "Ringmaster ASGD",
    "Rennala": "Rennala SGD",
}
LOOKS = looks(PUBLISHED, PUBLISHED)
LOOKS["Rennala, restart"] = LOOKS["Rennala"]  # a variant
MARKS = dict(zip(NAMES, "Dosv^XP", strict=True))
DASHED = (0, (3, 2))


def mark(method, **more) -> dict:
    """How a method's points look: everywhere the same."""
    edge = {"markeredgecolor": "white", "markeredgewidth": 0.4, "markersize": 4.5, "linestyle": "none"}
    return {"color": LOOKS[method]["color"], "marker": MARKS[method]} | edge | more


def logarithmic(axis):
    """Plain numbers along a logarithmic axis: 0.2, 0.5, 1, 2, 5, 10, and more where it is short."""
    from matplotlib import ticker

    low, high = axis.get_view_interval()
    subs = {1000: (1,), 100: (1, 3), 12: (1, 2, 5), 0: (1, 1.5, 2, 3, 4, 5, 7)}  # by how far it reaches
    axis.set_major_locator(ticker.LogLocator(10, next(some for span, some in subs.items() if high > span * low)))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(ticker.NullFormatter())


def draw(plan):
    """Both panels of a `ClusterPlan`, 7 inches wide."""
    plt = pyplot()
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(7.0, 2.8), width_ratios=(1, 1.9), layout="constrained")
        workers(left, plan)
        methods(right, plan)
        handles, _ = right.get_legend_handles_labels()
        handles.sort(key=lambda handle: bool(handle.get_label() in NOTES))  # methods, then lines and rings
        figure.legend(handles=handles, loc="outside upper left", ncols=5, borderaxespad=0.6)
    return figure


def workers(ax, plan):
    """Mean seconds of a step, from the fastest worker to the slowest, and the middle 80 % of its steps."""
    tidy(ax)
    alive = int(np.isfinite(plan.mean).sum())
    order = np.argsort(plan.mean, kind="stable")[:alive]
    rank = np.arange(1, alive + 1)
    width = min(4.0, 110 / plan.num_workers)
    ax.vlines(rank, *plan.spread[:, order], color="#c4c4c4", linewidth=width)
    ax.plot(rank, plan.mean[order], color=INK, marker="_", markersize=1.5 * width, linestyle="none")
    numbers(ax.xaxis, plan.num_workers)
    ax.set(yscale="log", xlim=(0.3, plan.num_workers + 0.7), xlabel="Workers, the fastest first")
    ax.set(ylabel="Seconds of a step", title="Means, and 10 % to 90 % of the steps")
    logarithmic(ax.yaxis)
    if alive < plan.num_workers:
        ax.axvspan(alive + 0.5, plan.num_workers + 0.5, color="#f0f0f0", linewidth=0)
        place = {"transform": ax.get_xaxis_transform(), "ha": "right", "color": GREY}
        never = plan.num_workers - alive
        ax.text(plan.num_workers + 0.5, 0.03, f"{never} never end{'s' * (never == 1)}", **place)


NOTES = ("bound, fixed times", "advised")


def methods(ax, plan):
    """Time to the target against m, S or R: simulated (points, ± two standard errors), expected, and by the bound."""
    tidy(ax)
    q, against, n = plan.noise_to_signal, plan.reference, plan.num_workers
    m = np.arange(1, n + 1)
    alive = int(np.isfinite(plan.mean).sum())
    curves = {"m-sync": plan.rounds * (1 + q / m)}
    curves["ASGD, fastest"] = ((m + q) / np.cumsum(1 / complexity.in_order(plan.mean)))[:alive]
    for method, curve in curves.items():
        ax.plot(m[: len(curve)], curve / against, color=LOOKS[method]["color"], linewidth=1.0)
    bound: dict[float, float] = {}
    for method in ("Ringmaster", "Rennala", "Rennala, restart"):
        rows = [row for row in plan.rows if row.method == method]
        bound |= {row.setting: row.closed / against for row in rows}
        times = [row.time / against for row in rows]
        ax.plot([row.setting for row in rows], times, color=LOOKS[method]["color"], linewidth=1.0)
    ax.plot(*zip(*sorted(bound.items()), strict=True), color=GREY, linewidth=0.8, linestyle=DASHED, label=NOTES[0])
    seen = set()
    for row in plan.rows:
        method = "m-sync" if row.method == "backup" else row.method
        never = " (never)" if row.time == np.inf else ""
        label = {} if method in seen else {"label": NAMES[method] + never * (row is plan.synchronous)}
        seen.add(method)
        ax.errorbar(
            place(row, plan), row.simulated / against, 2 * row.error / against, elinewidth=0.8, **mark(method), **label
        )
    ring = {"markersize": 9, "markeredgecolor": INK, "markerfacecolor": "none", "markeredgewidth": 0.8}
    ax.plot(place(plan.best, plan), plan.best.time / against, "o", label=NOTES[1], **ring)
    ax.axhline(1.0, color=GREY, linewidth=0.6, linestyle=(0, (1, 2)))
    ax.set(xscale="log", yscale="log", xlabel="m: gradients or workers; S: gradients; R: bound on the delay")
    ax.set_ylabel(f"Time ({'synchronous' if plan.synchronous.time < np.inf else 'advised'} = 1)")
    ax.set_title(f"Time to the target, q = {q:g}")
    logarithmic(ax.xaxis)
    logarithmic(ax.yaxis)


def place(row, plan) -> int:
    """Where on the horizontal axis a row is: how many gradients are in an update, or how late they may be."""
    n = plan.num_workers
    alive = int(np.isfinite(plan.mean).sum())
    return {"synchronous": n, "backup": n - row.setting, "ASGD": alive}.get(row.method, row.setting)
