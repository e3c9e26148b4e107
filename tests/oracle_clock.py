"""A slow loop for asynchronous SGD on a clock with powers, absences, messages and a busy server. No heap, no pieces."""

import math

import numpy as np

from jaxasgd.times import clock as streams
from jaxasgd.times.base import Durations


def work_done(pieces, start, work):
    """When `work` is done under a list of (seconds, power), the last of which holds for ever: a walk."""
    at, left = 0.0, work
    for k, (seconds, power) in enumerate(pieces):
        until = math.inf if k == len(pieces) - 1 else at + seconds
        begin = max(at, start)
        if until > begin and left > 0:
            possible = power * (until - begin) if power else 0.0
            if possible >= left:
                return begin + left / power
            left -= possible
        at = until
    return math.inf


def asgd(times, told, until, seed, reads):
    """(rows, workers whose jobs were lost, workers with a job at the end)."""
    n = times.num_workers
    law = lambda part, word: None if part is None else Durations(part, seed, word)
    down, up = law(times.down, streams.DOWN_STREAM), law(times.up, streams.UP_STREAM)
    receive, update = law(times.receive, streams.RECEIVE_STREAM), law(times.update, streams.UPDATE_STREAM)
    work, absences = times.durations(seed), told.get("absences", [[]] * n)
    number, handed, jobs, rows, lost = [0] * n, [[] for _ in range(n)], {}, [], []
    version, now = 0, 0.0

    def away(worker, time):
        return next(((left, back) for left, back in absences[worker] if back > time), (math.inf, math.inf))

    def give(worker, read):
        before = handed[worker]
        visit, repeat = len(set(before) - {read}), before.count(read)
        before.append(read)
        left, _ = away(worker, now)
        if left <= now:
            jobs[worker] = (now, "lost")
            return
        j = number[worker]
        number[worker] += 1
        begin = now + (down(worker, j) if down else 0.0)
        end = begin + work(worker, j)
        if "power" in told:
            end = work_done(told["power"][worker], begin, work(worker, j))
        arrival = end + (up(worker, j) if up else 0.0)
        if left < arrival:
            jobs[worker] = (left, "lost")
        else:
            jobs[worker] = (arrival, "gradient", now, read, visit, repeat, end - begin)

    for worker in range(n):
        give(worker, 0)
    while jobs:
        worker = min(jobs, key=lambda i: (jobs[i][0], i))
        time, kind, *rest = jobs[worker]
        if time > until or time == math.inf:
            break
        time = max(time, now)
        if kind == "lost":
            now = time
            del jobs[worker]
            lost.append(worker)
            left, back = away(worker, now)
            back = back if left <= now else now
            if back < math.inf:
                jobs[worker] = (back, "back")
        elif kind == "back":
            now = time
            give(worker, version)
        else:
            done = time + (receive(0, len(rows)) if receive else 0.0) + (update(0, version) if update else 0.0)
            if done > until:
                break
            now = done
            start, read, visit, repeat, busy = rest
            rows.append((now, start, worker, read, visit, repeat, busy))
            version += 1
            give(worker, version if reads == "after" else version - 1)
    return (
        rows,
        lost,
        [worker for worker, job in jobs.items() if job[1] == "gradient" or (job[1] == "lost" and job[0] > now)],
    )


def identity(run):
    """With one job a worker: sum of all delays and ages = the sum over updates of how many others are in flight."""
    steps = np.flatnonzero(run.step)
    return (run.num_workers - 1) * len(steps) if len(steps) else 0
