"""Real workers in the place of simulated ones: what they report are the events of the same event loop.

`simulation.Server` asks the policy, stamps, queues, cancels and writes down as in a simulation; here is what differs
when workers are real: events are waited for, a job is sent instead of put on a heap, a call that is under way can't be
stopped. A crew (threads, or processes) carries the calls:

    send(call)           start a call; its worker has no other
    receive(seconds)     the next `Result`, `Failure` or `Back`, or None after so many seconds (inf: whenever it comes)
    restart(worker)      in the place of a worker that failed; `Back` is reported when there is one
    stop()               let calls end, end the workers, and give back what was reported and not received
    wake()               end a `receive` that waits; called from a signal handler
"""

from __future__ import annotations

import math
from collections import deque
from heapq import heappop, heappush
from typing import Any, NamedTuple

from ..fleet import Fleet
from ..policies.base import GRADIENT, JOINED, LOST, TIMEOUT
from ..recording import Losses
from ..schedule import LOST as GONE
from ..schedule import QUEUED, RUNNING
from .parameters import Held
from .working import Back, Call, Failure

SHOWN_EVERY = 0.1  # seconds between two pictures of the progress bar
MOST_FAILURES = 10  # of a worker in a row; then the run ends, whatever it was told


class RealClock(NamedTuple):
    """What the event loop asks of a clock, where time passes by itself."""

    num_workers: int
    plain: bool = False
    absences: Any = None
    receive: Any = None
    update: Any = None


class WorkerFailed(RuntimeError):
    """A worker's job ended in an exception, which is the cause; `worker` and `job` say whose, and which of its jobs.

    `params` and `recorded` are what the run had come to.
    """

    params: Any = None
    recorded: Any = None  # a Schedule

    def __init__(self, call: Call, error: BaseException, times: int) -> None:
        said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        remedy = 'mend it, or let the run go on with on_failure="drop" or "restart"'
        if times >= MOST_FAILURES:
            remedy = f"that is the {times}th time in a row"
        super().__init__(
            f"worker {call.worker} failed in its job {call.job}, at version {call.read} ({said}): {remedy}."
        )
        self.worker, self.job = call.worker, call.job


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, taken between two events; `params` and `recorded` are what the run had come to."""

    params: Any = None
    recorded: Any = None  # a Schedule


class Order(NamedTuple):
    """A job that is handed out: its stamp, and what its worker will be sent."""

    serial: int
    read: int
    visit: int
    repeat: int
    size: int
    timeout: float
    payload: Any
    maker: int


class LiveFleet(Fleet):
    """Real workers. Each has one call at a time; what is stamped meanwhile waits here, with what it is to be sent.

    A job that is given up (cancelled, timed out) while its call is under way is noted when the call returns, with the
    seconds that it took; its successor is sent then. A time-out counts from when the call was sent. Jobs of a worker
    that has failed are lost, until it is back.

    Args:
        setting: the run, as told (`settings.settle`).
        numbers: the `ParameterServer`.
        crew: see above.
        seconds: the run's clock, which runs already.
        show: `show(number of updates, seconds)` draws a progress bar.
    """

    def __init__(self, setting, numbers, crew, seconds, show):
        number = setting.num_workers
        super().__init__(RealClock(number), setting.units, Losses(number))
        self.numbers, self.crew, self.seconds, self.show = numbers, crew, seconds, show
        self.pace, self.on_failure, self.until = setting.pace, setting.on_failure, setting.limits.until
        self.calls: list[Call | None] = [None] * number  # under way
        self.flying = 0  # how many
        self.since = [0.0] * number  # when they were sent
        self.orders: list[Order | None] = [None] * number  # the job that is going on
        self.waits = [False] * number  # whether it is not sent yet: a call of one given up is under way
        self.ghosts: dict[int, tuple] = {}  # worker -> kind and age of a job given up whose call is under way
        self.turns = [0] * number  # units that have arrived
        self.failures = [0] * number  # in a row
        self.to_send: dict[int, list] = {}  # version -> what is sent, its maker, jobs that are still to be sent it
        self.deadlines: list[tuple] = []  # heap: second, worker, serial
        self.lost: deque = deque()  # worker, serial: jobs handed to one who is not there
        self.absent: set[int] = set()
        self.returning = 0  # workers that are being replaced
        self.interrupted, self.latest_show = False, 0.0

    # ----------------------------------------------------------------- events

    def next(self):
        """Wait for the next event."""
        while True:
            if self.interrupted:
                raise Interrupted
            while self.lost:
                worker, serial = self.lost.popleft()
                if self.serials[worker] == serial:
                    return self.seconds(), worker, LOST
            while self.deadlines and self.serials[self.deadlines[0][1]] != self.deadlines[0][2]:
                heappop(self.deadlines)
            deadline = self.deadlines[0][0] if self.deadlines else math.inf
            if deadline == math.inf and not self.flying and not self.returning:
                return None
            report = self.crew.receive(max(min(deadline, self.until) - self.seconds(), 0.0))
            now = self.seconds()
            if now > self.latest_show + SHOWN_EVERY:
                self.latest_show = now
                self.show(self.version, now)
            if report is not None:
                event = self.heard(report, now)
                if event is not None:
                    return event
            elif now >= self.until:
                return math.inf, -1, None
            elif now >= deadline:
                return now, heappop(self.deadlines)[1], TIMEOUT

    def heard(self, report, now):
        """What the event loop has to know of a report, if anything."""
        worker = report.worker
        if isinstance(report, Back):
            self.returning -= 1
            self.absent.discard(worker)
            return (now, worker, JOINED) if worker in self.announced else None
        call, order = self.calls[worker], self.orders[worker]
        self.calls[worker] = None
        self.flying -= 1
        failed = isinstance(report, Failure)
        begin = report.start if failed else report.begin
        alive = self.serials[worker] == call.serial
        if alive:
            self.starts[worker], self.begins[worker] = report.start, begin
            self.busy[worker] = report.end - begin
        else:
            self.vanish(call, report.start, begin, report.end, self.until)
        if failed:
            self.fail(call, report.error, alive, now)
        else:
            self.failures[worker] = 0
        if alive and failed:  # who gave the job a time-out hears of that only
            return (now, worker, LOST) if order.timeout == math.inf else None
        if alive:
            self.turns[worker] += call.size
            self.numbers.arrived = Held(report.update, order.payload, report.state, order.maker)
            return now, worker, GRADIENT
        if self.waits[worker]:
            self.waits[worker] = False
            self.send(worker)
        return None

    def fail(self, call, error, alive, now):
        """A worker has failed: the run ends, or goes on without it, or another takes its place."""
        worker = call.worker
        self.absent.add(worker)
        self.failures[worker] += 1
        if self.on_failure == "stop" or self.failures[worker] == MOST_FAILURES:
            if alive:
                self.now = now
                self.give_up(worker, GONE)
                self.serials[worker] = -1
            raise WorkerFailed(call, error, self.failures[worker]) from error
        if self.on_failure == "restart":
            self.returning += 1
            self.crew.restart(worker)

    def vanish(self, call, start, begin, end, most):
        """Note a job that had been given up, now that its call is back, or the run over, at `most` at the latest."""
        kind, age = self.ghosts.pop(call.worker)
        start, begin, end = (min(moment, most) for moment in (start, begin, end))
        self.losses.add(call.worker, kind, call.read, start, end, call.size, age, max(end - begin, 0.0))

    # ------------------------------------------------------------------- jobs

    def hand_out(self, worker, version, size=1, timeout=math.inf):
        if version not in self.to_send:
            self.to_send[version] = [self.numbers.payload, self.numbers.maker, 0]
        self.to_send[version][2] += 1
        super().hand_out(worker, version, size, timeout)

    def taken(self, version):
        """What a job is sent, and its maker; forgotten after the last job that reads this version."""
        entry = self.to_send[version]
        entry[2] -= 1
        if not entry[2]:
            del self.to_send[version]
        return entry[:2]

    def serve(self, worker, read, visit, repeat, size, timeout):
        self.serial = serial = self.serial + 1
        self.serials[worker] = serial
        self.starts[worker] = self.begins[worker] = self.now
        self.busy[worker] = 0.0
        self.reads[worker], self.visits[worker], self.repeats[worker] = read, visit, repeat
        self.sizes[worker] = size
        self.orders[worker] = Order(serial, read, visit, repeat, size, timeout, *self.taken(read))
        if self.calls[worker] is not None:
            self.waits[worker] = True
        else:
            self.send(worker)

    def send(self, worker):
        """Send the job that is going on to its worker."""
        order, now = self.orders[worker], self.seconds()
        if order.timeout < math.inf:
            heappush(self.deadlines, (now + order.timeout, worker, order.serial))
        if worker in self.absent:
            if order.timeout == math.inf:
                self.lost.append((worker, order.serial))
            return
        job = self.started[worker]
        self.started[worker] = job + 1
        stamp = (order.read, order.visit, order.repeat, self.turns[worker], order.size, order.payload)
        commit, self.numbers.used[worker] = self.numbers.used[worker], False
        call = Call(order.serial, worker, job, *stamp, commit, *self.pace(worker, job, order.size))
        self.calls[worker], self.since[worker] = call, now
        self.flying += 1
        self.crew.send(call)

    def announce(self, worker):
        """A job of this worker was lost: its return, if there is one, will be an event."""
        if self.on_failure == "restart":
            self.announced.add(worker)

    # -------------------------------------------------- jobs without gradient

    def give_up(self, worker, kind):
        call = self.calls[worker]
        if call is not None and call.serial == self.serials[worker]:
            self.ghosts[worker] = kind, self.version - call.read
        elif self.waits[worker]:
            self.waits[worker] = False
            order = self.orders[worker]
            age, kind = self.version - order.read, QUEUED if kind == RUNNING else kind
            self.losses.add(worker, kind, order.read, self.now, self.now, order.size, age, 0.0)
        else:
            super().give_up(worker, kind)

    def drop(self, worker, kind, job):
        self.taken(job[0])
        super().drop(worker, kind, job)

    def finish(self):
        """The run is over: end the workers, and note what was under way."""
        reports = {report.worker: report for report in self.crew.stop() if not isinstance(report, Back)}
        super().finish()
        for call in filter(None, self.calls):
            report, since = reports.get(call.worker), self.since[call.worker]
            moments = (since, since, math.inf)
            if report is not None:
                moments = report.start, getattr(report, "begin", report.start), report.end
            self.vanish(call, *moments, self.now)
