"""A progress bar on long work: tqdm, where it is installed and somebody is watching."""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager

from .checks import flag

DELAY = 2.0  # seconds that work takes before it is long
TICK = 1.0  # seconds between two pictures where nothing is done, or where it is no terminal
MANY = 10_000  # are shown as 10.0k


def watched(wanted) -> bool:
    """Whether a bar is shown. `wanted`: True, False, or None for "if standard error is a terminal"."""
    if wanted is not None:
        return flag("progress", wanted)
    return sys.stderr is not None and sys.stderr.isatty()


@contextmanager
def bar(wanted, total, unit, counted=False):
    """Yields `show(done, *words, skipped=0, total=None, count="", **numbers)`.

    Args:
        wanted: as in `watched`. total, unit: what is to be done.
        counted: `count` is what stands beside the bar, instead of what is done of the total.

    `skipped`: so much of what is done was done before, and says nothing of the speed.
    """
    if not watched(wanted):
        yield lambda done, *words, **numbers: None
        return
    try:
        from tqdm import tqdm
    except ImportError as error:
        if wanted:
            raise ImportError('a progress bar needs tqdm: pip install "jaxasgd[cli]", or progress=False.') from error
        yield lambda done, *words, **numbers: None
        return
    seen = sys.stderr.isatty()
    options = {"delay": 0 if wanted else DELAY, "leave": bool(wanted), "file": sys.stderr, "dynamic_ncols": seen}
    options |= {"miniters": 1, "mininterval": 0.1 if seen else TICK, "unit_scale": counted or total >= MANY}
    if counted:
        options["bar_format"] = "{percentage:3.0f}%|{bar}| {desc} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"
    with tqdm(total=total, unit=f" {unit}s", **options) as shown, ticking(shown, seen):

        def show(done, *words, skipped=0, total=None, count="", **numbers):
            more = skipped - shown.initial
            shown.initial, shown.n, shown.last_print_n = skipped, shown.n + more, shown.last_print_n + more
            shown.total = shown.total if total is None else total
            shown.set_description_str(count, refresh=False)
            shown.set_postfix_str(", ".join([*map(said, numbers, numbers.values()), *words]), refresh=False)
            shown.update(done - shown.n)

        yield show


def said(name, value) -> str:
    """A number in few letters: four digits, or all before the point."""
    short = f"{value:.0f}" if 1e4 <= abs(value) < 1e8 else f"{value:.4g}"
    return f"{name}={short}" + (" s" if name == "time" else "")


@contextmanager
def ticking(shown, wanted):
    """Inside, the time goes on where nothing else does: while a program is compiled, or a long one runs."""
    stop = threading.Event()

    def tick():
        wait = shown.delay or TICK
        while not stop.wait(wait):
            shown.delay, wait = 0, TICK  # from now on there is something to clear
            shown.refresh()

    thread = threading.Thread(target=tick, daemon=True)
    if wanted:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if wanted:
            thread.join()


class Runs:
    """Several runs on one bar: what is done of all their updates, and of how many runs."""

    def __init__(self, show, number, total):
        self.show, self.number, self.total = show, number, total
        self.done = self.updates = self.skipped = 0
        self.at: dict = {}  # run under way -> its updates so far
        self.lock = threading.Lock()

    def tell(self, run, name, now) -> None:
        """An evaluation of a run under way; what lies before its first was done before, and saved."""
        with self.lock:
            self.move(now["update"] - self.at.get(run, 0), run in self.at)
            self.at[run] = now["update"]
            self.picture(name, now)

    def end(self, run, updates, computed=False) -> None:
        """A run is finished. `computed`: all at once, without telling; else what it did not tell was not computed."""
        with self.lock:
            self.move(updates - self.at.pop(run, 0), computed)
            self.done += 1

    def move(self, updates, computed):
        self.updates += updates
        self.skipped += 0 if computed else updates

    def picture(self, name, now):
        """Show it all, and where the run `name` is now."""
        count = {"total": self.total, "count": f"{self.done}/{self.number} runs", "skipped": self.skipped}
        self.show(self.updates, name, **count, time=now["time"], loss=now["loss"])


@contextmanager
def bar_of_runs(wanted, number, total):
    """Yields a `Runs`: so many runs, of so many updates together."""
    with bar(wanted, total, "update", counted=True) as show:
        runs = Runs(show, number, total)
        if total:
            show(0, count=f"0/{number} runs")
        yield runs
