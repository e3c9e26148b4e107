"""The workers of a simulation: what each of them does, which jobs wait for it, and when the next one is done."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush, heapreplace
from typing import Any

import numpy as np

from .policies.base import GRADIENT, JOINED, LOST, TIMEOUT
from .schedule import CANCELLED, QUEUED, RUNNING

MANY = 24  # workers from which on they are started and cancelled together, in arrays
INTEGERS = ("serial", "read", "visit", "repeat", "size", "started", "last", "last_visit", "again")
SECONDS = ("start", "begin", "busy")


class Series:
    """Events of workers that were started together, in order; the heap holds the first that is left."""

    def __init__(self, times, workers, serial):
        ascending = (workers[1:] > workers[:-1]).all()
        order = times.argsort(kind="stable") if ascending else np.lexsort((workers, times))  # ties: the smaller worker
        order = order[: np.searchsorted(times[order], math.inf)]
        self.times, self.workers = memoryview(times[order]), memoryview(workers[order])  # few of them will be asked for
        self.serial, self.at, self.number = serial, 0, len(order)

    def next(self, serials):
        """The next entry of the heap, or None; cancelled ones are passed over."""
        at, workers, serial = self.at, self.workers, self.serial
        while at < self.number:
            worker = workers[at]
            at += 1
            if serials[worker] == serial:
                self.at = at
                return self.times[at - 1], worker, serial, self
        return None


class Fleet:
    """All workers. A job has a serial number; an event whose serial is not that of its worker's job is void.

    The columns of every worker: `serial` of its job (-1: idle), its `start`, `read`, `visit`, `repeat` and `size`; when
    its computing begins and how long it takes (`begin`, `busy`; where that is not all of its time); how many jobs the
    worker has `started`; which version it was handed `last`, at which visit, and how many jobs it had been handed there
    (`last_visit`, `again`). Views of the same numbers (`serials`, ...) are quicker one by one.
    """

    def __init__(self, clock, units, losses):
        n = clock.num_workers
        self.clock, self.losses, self.units, self.units_of = clock, losses, units, np.array(units)
        self.simple = clock.plain  # a job just takes its seconds
        self.heap, self.spent = [], False  # spent: the first entry is the event that is being dealt with
        self.now, self.version, self.serial = 0.0, 0, 0
        self.queues: dict[int, deque] = {}  # worker -> (read, visit, repeat, size, timeout) in waiting
        self.announced = set()  # workers whose return has an event
        self.columns = {name: np.zeros(n, np.int64) for name in INTEGERS} | {name: np.zeros(n) for name in SECONDS}
        for name in ("serial", "last", "last_visit"):
            self.columns[name][:] = -1
        view: Callable[[str], Any] = lambda name: self.columns[name].data
        self.serials, self.starts, self.reads, self.sizes = view("serial"), view("start"), view("read"), view("size")
        self.visits, self.repeats, self.begins, self.busy = view("visit"), view("repeat"), view("begin"), view("busy")
        self.started, self.lasts, self.again = view("started"), view("last"), view("again")
        self.last_visits = view("last_visit")

    # ----------------------------------------------------------------- events

    def next(self):
        """The next event, (time, worker, kind); None where nothing will happen any more."""
        heap, serials = self.heap, self.serials
        if self.spent:
            heappop(heap)
            self.spent = False
        while heap:
            time, worker, serial, what = heap[0]
            if what.__class__ is Series:
                following = what.next(serials)
                if following is None:
                    heappop(heap)
                else:
                    heapreplace(heap, following)
                if serials[worker] == serial:
                    return time, worker, GRADIENT
            elif serials[worker] == serial or what is JOINED:
                self.spent = True
                return time, worker, what
            else:
                heappop(heap)  # cancelled since
        return None

    def push(self, time, worker, serial, what):
        if self.spent:
            heapreplace(self.heap, (time, worker, serial, what))
            self.spent = False
        else:
            heappush(self.heap, (time, worker, serial, what))

    # ------------------------------------------------------------------- jobs

    def hand_out(self, worker, version, size=1, timeout=math.inf):
        """Stamp a job with the version it reads; the worker serves it at once if idle."""
        if version == self.lasts[worker]:
            visit, repeat = self.last_visits[worker], self.again[worker]
        else:
            self.lasts[worker] = version
            visit, repeat = self.last_visits[worker] + 1, 0
            self.last_visits[worker] = visit
        self.again[worker] = repeat + 1
        size *= self.units[worker]
        queue = self.queues.get(worker)
        if queue:
            queue.append((version, visit, repeat, size, timeout))
            if self.serials[worker] < 0:
                self.serve(worker, *queue.popleft())
        elif self.serials[worker] < 0:
            self.serve(worker, version, visit, repeat, size, timeout)
        else:
            self.queues[worker] = deque([(version, visit, repeat, size, timeout)])

    def serve(self, worker, read, visit, repeat, size, timeout):
        """Begin a job."""
        now = self.now
        self.serial = serial = self.serial + 1
        self.serials[worker] = serial
        self.starts[worker] = now
        self.reads[worker] = read
        self.visits[worker] = visit
        self.repeats[worker] = repeat
        self.sizes[worker] = size
        kind = GRADIENT
        if self.simple:
            job = self.started[worker]
            self.started[worker] = job + 1
            seconds = size * self.clock.work(worker, job)
            if seconds > timeout:
                seconds, kind = timeout, TIMEOUT
            finish = now + seconds
        else:
            finish, kind = self.fate(worker, size, timeout)
        if finish < math.inf:
            self.push(finish, worker, serial, kind)

    def fate(self, worker, size, timeout):
        """When a job that begins now ends, and how, on a clock where not all of its time is work."""
        now, clock = self.now, self.clock
        left, _ = (math.inf, math.inf) if clock.absences is None else clock.absences.next(worker, now)
        if left <= now:  # not there: who gave it a time-out hears nothing before
            self.begins[worker], self.busy[worker] = now, 0.0
            return (now, LOST) if timeout == math.inf else (now + timeout, TIMEOUT)
        job = self.started[worker]
        self.started[worker] = job + 1
        finish, begin, busy = clock.end(worker, job, size, now)
        self.begins[worker], self.busy[worker] = begin, min(busy, max(left - begin, 0.0))
        if left < finish:
            return (left, LOST) if timeout == math.inf else (now + timeout, TIMEOUT)
        return (finish, GRADIENT) if finish <= now + timeout else (now + timeout, TIMEOUT)

    def go_on(self, worker):
        """Serve what waits, if the worker has nothing to do."""
        queue = self.queues.get(worker)
        if queue and self.serials[worker] < 0:
            self.serve(worker, *queue.popleft())

    def announce(self, worker):
        """A job of this worker was lost: its return will be an event."""
        left, back = self.clock.absences.next(worker, self.now)
        back = back if left <= self.now else self.now
        if back < math.inf and worker not in self.announced:
            self.announced.add(worker)
            self.serial += 1
            self.push(back, worker, self.serial, JOINED)

    # -------------------------------------------------- jobs without gradient

    def give_up(self, worker, kind):
        """Note that the worker's job ends without a gradient."""
        start, read = self.starts[worker], self.reads[worker]
        seconds = self.now - start
        if not self.simple:
            seconds = max(min(self.now - self.begins[worker], self.busy[worker]), 0.0)
        self.losses.add(worker, kind, read, start, self.now, self.sizes[worker], self.version - read, seconds)

    def cancel(self, worker):
        """Drop what a worker is doing and all that waits for it."""
        if self.serials[worker] >= 0:
            self.give_up(worker, CANCELLED)
            self.serials[worker] = -1
        for job in self.queues.pop(worker, ()):
            self.drop(worker, CANCELLED, job)

    def drop(self, worker, kind, job):
        """Note a job that was never begun."""
        read, _, _, size, _ = job
        self.losses.add(worker, kind, read, self.now, self.now, size, self.version - read, 0.0)

    def finish(self):
        """The run is over: what is going on, and what waits."""
        for worker in range(self.clock.num_workers):
            if self.serials[worker] >= 0:
                self.give_up(worker, RUNNING)
            for job in self.queues.get(worker, ()):
                self.drop(worker, QUEUED, job)

    # ---------------------------------------------------- many workers at once

    def cancel_many(self, workers):
        """`cancel` for an array of different workers."""
        if not self.simple or any(self.queues.values()):
            for worker in workers.tolist():
                self.cancel(worker)
            return
        column = self.columns
        workers = workers[column["serial"][workers] >= 0]
        start, read = column["start"][workers], column["read"][workers]
        args = (workers, CANCELLED, read, start, self.now, column["size"][workers], self.version - read)
        self.losses.add_many(*args, self.now - start)
        column["serial"][workers] = -1

    def hand_out_many(self, workers, version):
        """`hand_out` for an array of different workers: jobs of one unit, without time-out."""
        column = self.columns
        if not self.simple or (column["serial"][workers] >= 0).any() or any(self.queues.values()):
            for worker in workers.tolist():
                self.hand_out(worker, version)
            return
        new = column["last"][workers] != version
        visit = column["last_visit"][workers] + new
        repeat = np.where(new, 0, column["again"][workers])
        column["last"][workers], column["last_visit"][workers], column["again"][workers] = version, visit, repeat + 1
        size = self.units_of[workers]
        jobs = column["started"][workers]
        column["started"][workers] = jobs + 1
        self.serial += 1
        stamp = {"serial": self.serial, "start": self.now, "read": version, "visit": visit, "repeat": repeat}
        for name, values in (stamp | {"size": size}).items():
            column[name][workers] = values
        series = Series(self.now + size * self.clock.work.many(workers, jobs), workers, self.serial)
        first = series.next(self.serials)
        if first is not None:
            self.push(*first)
