"""Threads: asynchronous SGD that really happens, in one process, over the devices that it has."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import jax
from numpy.typing import ArrayLike

from ..checks import bar_wanted, shown
from .parameters import ParameterServer
from .running import Stopwatch, play
from .settings import local_devices, settle
from .working import Back, Failure, Worker

if TYPE_CHECKING:
    import optax

    from ..methods import Method
    from ..policies import Policy
    from ..problems import Problem
    from ..schedule import Schedule
    from ..times import Times

LONGEST = 3600.0  # seconds that a queue is waited for at a time
SETTINGS: dict[str, Any] = {  # of JAX, which a `with` sets for one thread
    "jax_enable_x64": jax.enable_x64,
    "jax_default_matmul_precision": jax.default_matmul_precision,
    "jax_numpy_dtype_promotion": jax.numpy_dtype_promotion,
    "jax_numpy_rank_promotion": jax.numpy_rank_promotion,
}


class Threads:
    """A crew of threads, one for each worker (see live.py).

    Args:
        workers: `Worker`s; those that stand for the same device compute by turns, as the device likes.
        seconds: the run's clock.
    """

    def __init__(self, workers, seconds):
        self.workers, self.seconds = workers, seconds
        self.settings = [(setting, getattr(jax.config, name)) for name, setting in SETTINGS.items()]  # our caller's
        self.reports: SimpleQueue = SimpleQueue()
        self.inboxes: list[SimpleQueue] = [SimpleQueue() for _ in workers]
        self.over = threading.Event()
        self.threads: dict[int, threading.Thread] = {}

    def start(self, payload, units):
        """Start all threads, each with its worker's program compiled: one after the other, but devices side by side."""
        first: dict[Any, int] = {}
        for worker in self.workers:
            first.setdefault(worker.device, worker.number)
        later = [worker.number for worker in self.workers if first[worker.device] != worker.number]
        for numbers in (list(first.values()), later):
            for number in numbers:
                self.hire(number, payload, units[number])
            for _ in numbers:
                report = self.reports.get()
                if isinstance(report, Failure):
                    raise report.error

    def hire(self, number, payload=None, units=None):
        """A thread for a worker; it reports `Back` when it is ready."""
        thread = threading.Thread(target=self.work, args=(number, payload, units), name=f"worker {number}", daemon=True)
        self.threads[number] = thread
        thread.start()

    def work(self, number, payload, units):
        """What a thread does: jobs, until there is none, or one fails."""
        worker, inbox, seconds, call = self.workers[number], self.inboxes[number], self.seconds, None
        start = 0.0
        try:
            with ExitStack() as stack:
                for setting, value in self.settings:
                    stack.enter_context(setting(value))
                if payload is not None:
                    worker.warm_up(payload, units)
                del payload
                self.reports.put(Back(number))
                while (call := inbox.get()) is not None:
                    start = seconds()
                    self.reports.put(worker.serve(call, seconds, self.pause))
        except BaseException as error:
            self.reports.put(Failure(number, -1 if call is None else call.serial, start, seconds(), error))

    def pause(self, spare):
        """Sleep, but not beyond the end of the run."""
        end = time.perf_counter() + spare
        while not self.over.is_set() and (left := end - time.perf_counter()) > 0:
            self.over.wait(min(left, LONGEST))

    # ------------------------------------------------------------- the crew's part

    def send(self, call):
        self.inboxes[call.worker].put(call)

    def receive(self, wait):
        try:
            return self.reports.get(timeout=min(wait, LONGEST)) if wait > 0 else self.reports.get_nowait()
        except Empty:
            return None

    def restart(self, worker):
        self.threads[worker].join()
        self.hire(worker)

    def wake(self):
        self.reports.put(None)

    def stop(self) -> list:
        self.over.set()
        for inbox in self.inboxes:
            inbox.put(None)
        for thread in self.threads.values():
            thread.join()
        left = []
        while True:
            try:
                left.append(self.reports.get_nowait())
            except Empty:
                return [report for report in left if report is not None]


def threads(
    problem: Problem,
    policy: Policy | Method,
    rule: optax.GradientTransformation | None = None,
    *,
    num_workers: int | None = None,
    num_updates: int | None = None,
    until: float | None = None,
    key: jax.Array,
    devices: Sequence[jax.Device] | None = None,
    slow: ArrayLike | None = None,
    times: Times | None = None,
    seconds: float = 1.0,
    on_failure: str = "stop",
    seed: int = 0,
    progress: bool | None = None,
    before_job: Callable | None = None,
) -> tuple[Any, Schedule]:
    """Train with real asynchrony: a thread for each worker, a server that runs the policy, and a recording of it all.

    Workers compute whenever they have a job and the server takes in what is there: delays are what they happen to be.
    Policies, rules and methods are those of the simulation. A worker's samples depend on (worker, visit, repeat, unit),
    and on how much it has delivered, as everywhere; so `ja.run(problem, recorded, rule, key=key)` makes the same
    updates again on the same kind of device: to the bit with SGD in float32 on mini-batches of data, and on the
    quadratics where every gradient is an update of its own; else to rounding (compilers round sums of weighted
    gradients once or twice). A rule that asks for `progress` is told version / num_updates: a replay needs a run that
    got there.

    A call that is under way can't be stopped. Where a policy cancels a job, or its time is out, the next one is stamped
    at once, and starts when the call has returned; what that gives is thrown away, and recorded as unfinished.

    Args:
        problem: a `Problem`.
        policy: a `Policy`, or a `Method` (then without `rule`).
        rule: an optax transformation.
        num_workers: threads that compute; None: as many as `times` has.
        num_updates: the run ends after so many updates.
        until: and at so many seconds at the latest. At least one of the two is needed.
        key: a JAX key: of the start and of all samples.
        devices: where workers compute, in turn; None: all local devices. The first one is the server's, too.
        slow: artificial slowness: a job takes so many times as long as its computing; a number, or one for each worker.
        times: or so many seconds (at least): a law of durations, `ja.times.exponential(...)`, of the j-th job that a
            worker begins.
        seconds: of the run, for one of `times`.
        on_failure: what happens when a job raises. "stop": the run ends with `WorkerFailed`. "drop": its worker is
            gone, the others go on. "restart": a new thread joins in its place, with the state that the worker had. A
            worker that fails 10 times in a row ends the run.
        seed: of the policy's own randomness, and of `times`.
        progress: show a progress bar; None: if the run is long and standard error is a terminal.
        before_job: a function `before_job(worker, job)`, called in the worker's thread before each of its jobs (0, 1,
            ...): for experiments with faults. It may wait, or raise.

    Returns:
        `(params, recorded)`: the parameters, and a `Schedule` with measured times, from when everything was compiled.
        `start` is when the worker took the job up, `busy` how long it computed, `time` when the server took it in.
        `recorded.info` has what it was made with, and the seconds of compilation.

    Raises:
        ValueError: before anything starts, for arguments; in the run, for what only a simulation can do.
        WorkerFailed: a RuntimeError that names worker and job, its cause the exception; its `params` and `recorded` are
            what the run had come to.
        KeyboardInterrupt: after Ctrl-C, with the same two, once the workers' calls are over.

    Example:
        >>> import jax, optax
        >>> import jaxasgd as ja
        >>> problem, rule, key = ja.problems.quadratic(dim=10, condition=10.0), optax.sgd(0.1), jax.random.key(0)
        >>> ends = {"num_workers": 4, "num_updates": 200}
        >>> params, recorded = ja.runtimes.threads(problem, ja.policies.asgd(), rule, key=key, **ends)
        >>> replayed = ja.run(problem, recorded, rule, key=key)
        >>> bool((replayed.params == params).all()), recorded.num_updates
        (True, 200)
    """
    shared: dict[str, Any] = {"num_workers": num_workers, "num_updates": num_updates, "until": until, "key": key}
    shared |= {"slow": slow, "times": times, "seconds": seconds, "on_failure": on_failure, "seed": seed}
    if before_job is not None and not callable(before_job):
        raise ValueError(f"before_job is a function (worker, job), or None; got {shown(before_job)}.")
    bar_wanted(progress)
    setting = settle("threads", problem, policy, rule, **shared)
    devices = local_devices(devices)
    begun = time.perf_counter()
    numbers = ParameterServer(
        problem, setting.method, setting.num_workers, setting.units, num_updates, key, device=devices[0]
    )
    numbers.warm_up()
    parts = {"parts": numbers.lone.parts, "consts": numbers.lone.consts, "key": key}
    held: dict[Any, Any] = {}  # the data, once on each device
    workers = []
    for i in range(setting.num_workers):
        device = devices[i % len(devices)]
        here = held.setdefault(device, jax.device_put(problem, device))
        workers.append(
            Worker(
                i,
                here,
                state=numbers.states[i],
                device=device,
                home=devices[0],
                tell=numbers.tell,
                before=before_job,
                **parts,
            )
        )
    clock = Stopwatch()
    crew = Threads(workers, clock)
    try:
        crew.start(numbers.payload, setting.units)
        info = {
            "devices": [f"{device.platform}: {device.device_kind}" for device in devices],
            "compile_seconds": round(time.perf_counter() - begun, 3),
        }
        return play(setting, numbers, crew, clock, progress, info)
    finally:
        crew.stop()
