"""Progress bars: what they say on a terminal, and that nobody else is told anything."""

import io
import os
import re
import struct
import sys
import time

import jax
import optax
import pytest

import jaxasgd as ja
from jaxasgd import progress

pytest.importorskip("tqdm", reason="bars are drawn by tqdm")
fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")

KEY = jax.random.key(0)
TIMES = ja.times.exponential(1.0, num_workers=3)
METHODS = {"sync": ja.methods.sync_sgd(0.1), "async": ja.methods.asgd(0.1)}
PROBLEM = ja.problems.quadratic(dim=3, noise=0.1)


class Stream(io.StringIO):
    """Standard error: a pipe, or a terminal, whose number says how wide it is."""

    def __init__(self, number=None):
        super().__init__()
        self.isatty = lambda: number is not None
        if number is not None:
            self.fileno = lambda: number

    def pictures(self):
        return [picture for picture in re.split(r"[\r\n]", self.getvalue()) if picture.strip()]


@pytest.fixture
def stderr(monkeypatch):
    """Standard error as a stream of a kind; a terminal has 80 columns, and all work is long."""
    monkeypatch.setattr(progress, "DELAY", 0.0)
    ends = os.openpty()
    fcntl.ioctl(ends[1], termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

    def made(terminal):
        monkeypatch.setattr(sys, "stderr", Stream(ends[1] if terminal else None))
        return sys.stderr

    yield made
    for end in ends:
        os.close(end)


def run(**more):
    schedule = ja.simulate(ja.policies.asgd(), TIMES, num_updates=60)
    return ja.run(PROBLEM, schedule, optax.sgd(0.1), key=KEY, evaluate=20, **more)


def compare(**more):
    return ja.compare(PROBLEM, TIMES, METHODS, until=6.0, seeds=2, points=3, **more)


def sweep(how, **more):
    rates = {"learning_rate": [0.1, 0.2]}
    return ja.sweep(
        PROBLEM, TIMES, {"async": ja.methods.asgd}, rates, num_updates=40, points=2, seeds=2, how=how, **more
    )


WORK = {
    "run": (run, r"100%.*60/60 \["),
    "compare": (compare, r"100%.*4/4 runs \["),
    "loop": (lambda **more: sweep("loop", **more), r"100%.*4/4 runs \["),
    "threads": (lambda **more: sweep("threads", **more), r"100%.*4/4 runs \["),
    "vmap": (lambda **more: sweep("vmap", **more), r"100%.*4/4 runs \["),
}
WORDS = r"\[\d\d:\d\d<\d\d:\d\d, +[\d.]+k? updates/s, time=[\d.]+ s, loss=[\d.]+(, [async]+)?\]?$"


@pytest.mark.parametrize("name", WORK)
def test_on_a_terminal(name, stderr):
    """What is done of all, time left, updates a second, simulated time and loss, within 80 columns."""
    work, whole = WORK[name]
    shown = stderr(terminal=True)
    work(progress=True)
    last = shown.pictures()[-1]
    assert re.search(whole, last) and re.search(WORDS, last), last
    assert all(len(picture) <= 80 for picture in shown.pictures())
    assert shown.getvalue().count("\n") == 1
    shown = stderr(terminal=True)
    work(progress=None)
    assert shown.pictures() and "\n" not in shown.getvalue(), "it is gone at the end"
    assert shown.getvalue().rstrip("\r").endswith(" " * 79)
    shown = stderr(terminal=True)
    work(progress=False)
    assert shown.getvalue() == ""


def test_short_work_is_quiet(stderr, monkeypatch):
    monkeypatch.setattr(progress, "DELAY", 60.0)
    shown = stderr(terminal=True)
    run()
    assert shown.getvalue() == ""


@pytest.mark.parametrize("name", ["run", "compare", "vmap"])
def test_elsewhere(name, stderr):
    """Nothing in a pipe or a notebook, unless it is asked for; then one line."""
    work, whole = WORK[name]
    shown = stderr(terminal=False)
    work(progress=None)
    work(progress=False)
    assert shown.getvalue() == ""
    work(progress=True)
    assert re.search(whole, shown.pictures()[-1]) and shown.getvalue().count("\n") == 1


def test_many_evaluations_are_few_pictures(stderr):
    shown = stderr(terminal=False)
    with progress.bar(True, 10_000, "update") as show:
        for done in range(1, 10_001):
            show(done, time=1e5 * done, loss=1 / done)
    assert len(shown.pictures()) <= 5 and shown.getvalue().count("\n") == 1
    assert re.search(r"10\.0k/10\.0k .*, time=1e\+09 s, loss=0\.0001\]$", shown.pictures()[-1])


def test_the_time_goes_on(stderr, monkeypatch):
    """While nothing is done, on a terminal; and what was drawn so is cleared."""
    monkeypatch.setattr(progress, "TICK", 0.01)
    shown = stderr(terminal=True)
    with progress.bar(None, 10, "update"):
        time.sleep(0.3)
    assert len(shown.pictures()) > 3 and "0/10" in shown.pictures()[-1]
    assert shown.getvalue().endswith(" " * 79 + "\r")


def test_without_a_stream(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert run().status == ja.Status.OK


def test_without_tqdm(stderr, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    shown = stderr(terminal=True)
    run()
    assert shown.getvalue() == ""
    with pytest.raises(ImportError, match=r'pip install "jaxasgd\[cli\]"'):
        run(progress=True)


def test_what_is_no_answer(stderr):
    for work, _ in WORK.values():
        with pytest.raises(ValueError, match="progress is True or False; got 'yes'"):
            work(progress="yes")


# --------------------------------------------------------------------------------------- several runs


@pytest.fixture
def told(monkeypatch):
    """What bars are told: a list of `(done, skipped, total, count)`."""
    calls = []

    class Bar:
        def __init__(self, *args, **more):
            self.total = args[1]

        def __enter__(self):
            return lambda done, *words, skipped=0, total=None, count="", **numbers: calls.append(
                (done, skipped, self.total if total is None else total, count)
            )

        def __exit__(self, *error):
            pass

    monkeypatch.setattr(progress, "bar", Bar)
    return calls


@pytest.mark.parametrize("name", ["compare", "loop", "threads", "vmap"])
def test_what_was_saved_says_nothing_of_the_speed(name, told, tmp_path):
    """A first call computes all of it, a second one nothing; both come to all updates of all runs."""
    pytest.importorskip("orbax.checkpoint")
    work, _ = WORK[name]
    work(checkpoint=ja.Checkpoint(tmp_path, seconds=0), progress=True)
    first, end = list(told), told[-1]
    assert end[0] == end[2] > 0 and end[1] == 0 and end[3] == "4/4 runs"
    assert [call[0] for call in first] == sorted(call[0] for call in first)
    told.clear()
    work(checkpoint=ja.Checkpoint(tmp_path, seconds=0), progress=True)
    assert told[-1] == (end[0], end[0], *end[2:])


def test_a_run_goes_on(told, tmp_path):
    runs = progress.Runs(lambda done, *words, skipped, **numbers: told.append((done, skipped)), 2, 100)
    now = lambda update: {"update": update, "time": 1.0, "loss": 1.0}
    runs.tell("a", "m", now(20))  # from a checkpoint, somewhere before its twentieth update
    runs.tell("b", "m", now(0))
    runs.tell("a", "m", now(40))
    runs.tell("b", "m", now(10))
    runs.end("b", 50)  # its target was reached
    runs.tell("a", "m", now(50))
    runs.end("a", 50)
    runs.picture("m", now(50))
    assert told == [(20, 20), (20, 20), (40, 20), (50, 20), (100, 60), (100, 60)]
