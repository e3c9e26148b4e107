"""The slow, plain version: event loops in NumPy with the full history of parameters. No JAX, no cells, no plan.

Written from the algorithms, method by method: it knows nothing of policies, decisions or schedules.
`gradient(x, worker, visit, repeat)` is the stochastic gradient, `duration(worker, j)` the seconds of a worker's j-th
job, `rule(x, g, delay) -> x` the update.
"""

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Cluster:
    """Workers that compute one gradient at a time; the next event is found by looking at all of them."""

    num_workers: int
    duration: object
    clock: float = 0.0
    jobs: dict = field(default_factory=dict)  # worker -> (finish, start, version, visit, repeat)
    begun: dict = field(default_factory=dict)
    seen: dict = field(default_factory=dict)  # worker -> versions handed to it, in order

    def give(self, worker, version):
        j = self.begun.get(worker, 0)
        self.begun[worker] = j + 1
        versions = self.seen.setdefault(worker, [])
        visit = len(set(versions) - {version})
        repeat = versions.count(version)
        versions.append(version)
        self.jobs[worker] = (self.clock + self.duration(worker, j), self.clock, version, visit, repeat)

    def next(self):
        worker = min(self.jobs, key=lambda w: (self.jobs[w][0], w))
        finish, start, version, visit, repeat = self.jobs.pop(worker)
        self.clock = finish
        return worker, start, version, visit, repeat


@dataclass
class Trace:
    """What happened: the parameters of every version, and a line for every arrival."""

    xs: list
    lines: list = field(default_factory=list)  # (time, start, worker, read, visit, repeat, use, weight, step)

    def column(self, i):
        return np.array([line[i] for line in self.lines])


def asgd(x, gradient, duration, num_workers, num_updates, rule, reads="after"):
    cluster, trace = Cluster(num_workers, duration), Trace([x])
    for worker in range(num_workers):
        cluster.give(worker, 0)
    while len(trace.xs) - 1 < num_updates:
        worker, start, version, visit, repeat = cluster.next()
        t = len(trace.xs) - 1
        g = gradient(trace.xs[version], worker, visit, repeat)
        trace.xs.append(rule(trace.xs[-1], g, t - version))
        trace.lines.append((cluster.clock, start, worker, version, visit, repeat, True, 1.0, True))
        cluster.give(worker, t + 1 if reads == "after" else t)
    return trace


def synchronous(x, gradient, duration, num_workers, num_updates, rule, backup=0, late="cancel"):
    cluster, trace = Cluster(num_workers, duration), Trace([x])
    wanted = num_workers - backup
    for worker in range(num_workers):
        cluster.give(worker, 0)
    total, number = 0.0, 0
    while len(trace.xs) - 1 < num_updates:
        worker, start, version, visit, repeat = cluster.next()
        t = len(trace.xs) - 1
        if version < t:  # a straggler of an older round
            trace.lines.append((cluster.clock, start, worker, version, visit, repeat, False, 0.0, False))
            cluster.give(worker, t)
            continue
        total, number = total + gradient(trace.xs[t], worker, visit, repeat), number + 1
        closed = number == wanted
        trace.lines.append((cluster.clock, start, worker, version, visit, repeat, True, 1 / wanted, closed))
        if closed:
            trace.xs.append(rule(trace.xs[t], total / wanted, 0))
            total, number = 0.0, 0
            if late == "cancel":
                cluster.jobs.clear()
            for idle in sorted(set(range(num_workers)) - set(cluster.jobs)):
                cluster.give(idle, t + 1)
    return trace


def replay(schedule, x, gradient, rule, arrival=None, send=None):
    """Follow any table: keep every version for ever, look up what was read, add up, update.

    `rule(x, total, **known)` and `arrival(g, **known)` get the row's numbers by name; `send(x)` is what workers get.
    """
    send = send or (lambda x: x)
    xs, members = [x], []
    for k in range(len(schedule)):
        version = len(xs) - 1
        tags = {name: column[k] for name, column in schedule.tags.items()}
        row = {"version": version, "read": schedule.read[k], "worker": int(schedule.worker[k]), **tags}
        if schedule.use[k]:
            units = [
                gradient(
                    send(xs[schedule.read[k]]),
                    int(schedule.worker[k]),
                    int(schedule.visit[k]),
                    int(schedule.repeat[k]),
                    u,
                )
                for u in range(schedule.size[k])
            ]
            g = sum(units) / len(units)
            if arrival is not None:
                known = row | {"delay": version - schedule.read[k], "stale": send(xs[schedule.read[k]]), "x": xs[-1]}
                g = arrival(g, **known)
            members.append((schedule.weight[k] * g, version - schedule.read[k], schedule.weight[k]))
        if schedule.step[k]:
            total = sum((g for g, _, _ in members), np.zeros_like(x))
            delay = max((d for _, d, _ in members), default=0)
            if not np.isnan(tags.get("delay", np.nan)):
                delay = tags["delay"]
            xs.append(rule(xs[-1], total, **(row | {"delay": delay, "weight": sum(w for _, _, w in members)})))
            members = []
    return xs


# ------------------------------------------------------------------- rules


def sgd(lr):
    return lambda x, g, delay, **_: x - lr * g


def scaled_momentum(lr, power, beta):
    """optax.chain(scale_by_delay(power), optax.trace(beta), optax.scale(-lr)); keeps its own velocity."""
    velocity = 0.0

    def rule(x, g, delay, **_):
        nonlocal velocity
        velocity = g * (1.0 + delay) ** -power + beta * velocity
        return x - lr * velocity

    return rule
