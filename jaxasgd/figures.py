"""What all figures share: matplotlib on demand, one style, one palette, files that come out the same twice."""

from __future__ import annotations

import math
from contextlib import contextmanager
from pathlib import Path
from textwrap import fill
from typing import Any

from .checks import path as path_of
from .checks import shown
from .colours import DASHES, GREY, INK, PALETTE, looks

__all__ = ["DASHES", "GREY", "INK", "PALETTE", "STYLE", "looks", "pyplot", "save"]
SMALL, TEXT = 6.5, 7.5  # points
STYLE = {
    "font.size": TEXT,
    "axes.labelsize": TEXT,
    "axes.titlesize": TEXT,
    "axes.titlelocation": "left",
    "axes.titlepad": 4.0,
    "axes.labelpad": 2.5,
    "axes.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "legend.title_fontsize": SMALL,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "legend.handletextpad": 0.5,
    "legend.columnspacing": 1.2,
    "legend.labelspacing": 0.3,
    "legend.borderaxespad": 0.0,
    "legend.borderpad": 0.0,
    "hatch.linewidth": 0.5,
    "figure.dpi": 150,
}
LARGEST = 1_000_000  # bytes
FORMATS = {".svg": {"Date": None, "Creator": None}, ".png": {"Software": None}}


def pyplot():
    """matplotlib.pyplot, on first need."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError('figures need matplotlib: pip install "jaxasgd[plot]"') from error
    plt.draw_if_interactive()  # the backend sets itself up now: inside of an rc_context its settings would be undone
    return plt


def check_axes(ax):
    """An Axes of matplotlib."""
    if not hasattr(ax, "spines"):
        raise ValueError(f"ax is an Axes of matplotlib, plt.subplots()[1], or None; got {shown(ax)}.")


@contextmanager
def panel(ax=None, size=(3.4, 2.4)):
    """Inside, the style holds and there is an Axes: `ax`, or that of a new figure of `size` inches."""
    plt = pyplot()
    if ax is not None:
        check_axes(ax)
    with plt.rc_context(STYLE):
        drawn = plt.subplots(figsize=size, layout="constrained")[1] if ax is None else ax
        tidy(drawn)
        try:
            yield drawn
        except Exception:
            if ax is None:
                plt.close(drawn.figure)
            raise


def tidy(ax, grid="both"):
    """Two thin spines, short ticks, and a light grid along `grid` ("x", "y", "both"; "" for none)."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_linewidth(0.6)
    ax.tick_params(which="both", width=0.6, length=2.5, pad=2, color=INK)
    ax.tick_params(which="minor", width=0.4, length=1.5)
    ax.grid(False, which="both")
    if grid:
        ax.grid(True, axis=grid, color="#ebebeb", linewidth=0.5)


def legend(ax, title=None, handles=None, **options):
    """A legend above the panel, left-aligned, in as many columns as the panel is wide; it never covers data."""
    handles = ax.get_legend_handles_labels()[0] if handles is None else handles
    width = ax.get_position().width * ax.get_figure(root=True).get_figwidth()
    labels = [wrap(handle.get_label(), width) for handle in handles]
    place = {"loc": "lower left", "bbox_to_anchor": (0, 1.03), "title": title, "alignment": "left"}
    made = ax.legend(handles, labels, ncols=columns(labels, width), **(place | options))
    made.get_title().set_color(GREY)
    return made


def wrap(label, inches) -> str:
    """The label in lines that fit, what stands in brackets at its end on a line of its own."""
    most = max(12, int((inches * 72 / SMALL - 3.2) / 0.56))
    name, bracket, rest = label.rpartition(" (")
    if len(label) <= most or not bracket:
        return fill(label, most)
    return f"{fill(name, most)}\n{fill('(' + rest, most)}"


def columns(labels, inches) -> int:
    """How many columns of a legend fit."""
    widest = (0.56 * max(map(len, labels), default=1) + 3.2) * SMALL / 72
    return max(1, min(len(labels), int(inches / widest)))


def numbers(axis, largest, *, whole=True):
    """A few round numbers along an axis from 0; 20k for 20000."""
    from matplotlib import ticker

    axis.set_major_locator(ticker.MaxNLocator(5, integer=whole, steps=[1, 2, 2.5, 5, 10]))
    if largest >= 10_000:
        axis.set_major_formatter(ticker.EngFormatter(sep=""))


def save(figure: Any, path: str | Path) -> Path:
    """Write a figure as .svg or .png, the same bytes every time, and close it.

    No date goes into the file and the ids within an SVG are fixed, so that a picture under version control changes
    only where it looks different. An SVG above 1 MB gets its areas, and if need be its lines, as pixels.

    Args:
        figure: what the functions of this module return, a Figure or an Axes.
        path: where to; folders are made.

    Raises:
        ValueError: for any other extension.

    Example:
        >>> import tempfile
        >>> import jaxasgd as ja
        >>> from jaxasgd import plot
        >>> schedule = ja.simulate(ja.policies.asgd(), ja.times.exponential(1.0, num_workers=4), until=20.0)
        >>> plot.save(plot.timeline(schedule), tempfile.mkdtemp() + "/timeline.svg").name
        'timeline.svg'
    """
    plt, path = pyplot(), path_of("path", path)
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"a figure is saved as one of {list(FORMATS)}; got {path.name!r}: change the extension.")
    figure = getattr(figure, "figure", None)
    if not hasattr(figure, "savefig"):
        raise ValueError("figure is a Figure or an Axes of matplotlib, as ja.plot makes them: nothing else is saved.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with plt.rc_context(STYLE | {"svg.hashsalt": "jaxasgd", "svg.fonttype": "path"}):
        for below in (1.5, 2.2):  # areas become pixels, then lines, until the file is small
            figure.savefig(path, dpi=220, metadata=FORMATS[path.suffix.lower()])
            if path.stat().st_size < LARGEST:
                break
            for ax in figure.axes:
                ax.set_rasterization_zorder(below)
        else:
            figure.savefig(path, dpi=220, metadata=FORMATS[path.suffix.lower()])
    plt.close(figure)
    return path


def nice(least: float) -> int:
    """The smallest of 1, 2, 5, 10, 20, ... that is not below `least`."""
    power = 10 ** max(0, math.floor(math.log10(max(least, 1))))
    return next(int(m * power) for m in (1, 2, 5, 10) if m * power >= least)
