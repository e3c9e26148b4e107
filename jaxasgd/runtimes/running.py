"""A real run from its start to its end: the clock, the event loop with real workers, Ctrl-C."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from typing import Any

import jax

from ..progress import bar
from ..schedule import Schedule
from ..simulation import Server
from .live import Interrupted, LiveFleet, WorkerFailed


class Stopwatch:
    """Seconds since `start`; 0 before. One clock for all processes of a machine."""

    def __init__(self):
        self.zero = None

    def start(self):
        self.zero = time.perf_counter()

    def __call__(self) -> float:
        return 0.0 if self.zero is None else time.perf_counter() - self.zero


def play(setting, numbers, crew, seconds, progress=None, info=None) -> tuple[Any, Schedule]:
    """Run with a crew that is ready: `(parameters, schedule)`. The clock is started here.

    Args:
        setting: the run, as told.
        numbers: a `ParameterServer`, compiled.
        crew: see live.py; the caller ends it too, whatever happens here.
        seconds: a `Stopwatch`, the same that the crew's results are measured by.
        progress: as in `ja.run`.
        info: more of it, for the schedule.

    Raises:
        WorkerFailed, Interrupted: with what the run had come to as `params` and `recorded`.
    """
    limits, info = setting.limits, setting.info | (info or {})
    endless = setting.num_updates is None
    with bar(progress, *((limits.until, "second") if endless else (setting.num_updates, "update"))) as picture:
        show = lambda version, now: picture(now if endless else version, updates=version, seconds=now)
        seconds.start()
        fleet = LiveFleet(setting, numbers, crew, seconds, show)
        with interrupts(fleet):
            server = Server(setting.method.policy, fleet, numbers, setting.seed, "after")
            try:
                schedule = server.play(limits, info)
            except (WorkerFailed, Interrupted) as error:
                why = "interrupted" if isinstance(error, Interrupted) else str(error)
                error.params = numbers.params
                error.recorded = server.written(max(fleet.now, seconds()), "finished", info | {"ended by": why})
                raise
        show(fleet.version, fleet.now)
    return jax.block_until_ready(numbers.params), schedule


@contextmanager
def interrupts(fleet):
    """Ctrl-C ends the run between two events, so that what is written down is whole; a second one at once."""
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def press(number, frame):
        if fleet.interrupted:
            raise KeyboardInterrupt
        fleet.interrupted = True
        fleet.crew.wake()

    signal.signal(signal.SIGINT, press)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
