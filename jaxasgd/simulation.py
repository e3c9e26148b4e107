"""simulate(): a clock and a policy become a Schedule, by a discrete-event loop on the host."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from . import recording
from .arrivals import Limits, at_once
from .checks import real, shown, whole, word
from .fleet import MANY, Fleet
from .policies.base import GRADIENT, JOINED, LOST, Decision, Event, Job, check_policy
from .schedule import LOST as GONE
from .schedule import TIMEOUT as TIMED_OUT
from .schedule import Schedule
from .times.clock import Clock

if TYPE_CHECKING:
    from .times import Times

POLICY_STREAM = 1  # the clock's streams are its own (times/base.py)
NO_UPDATE = 1_000_000  # arrivals without an update after which a run that has no other end is stalled


def simulate(
    policy: Any,
    times: Times,
    *,
    num_updates: int | None = None,
    until: float | None = None,
    seed: int = 0,
    reads: str = "after",
    max_arrivals: int = 50_000_000,
) -> Schedule:
    """Play a policy on a clock and write down every arrival.

    The next event is the job in flight with the smallest finishing time (ties: smallest worker). The policy decides;
    the server updates if it says so; then workers are cancelled, then started. The j-th job that a worker starts
    lasts the same under every policy (times its size), so that policies are compared on common random numbers.

    Args:
        policy: a `Policy`, or a `Method` (bound to the clock; its policy is used, and the size of its work).
        times: a worker-time model from `ja.times`; says how many workers there are.
        num_updates: stop after so many updates.
        until: stop at so many seconds; arrivals at exactly `until` count. At least one of the two is needed.
        seed: of the clock and of the policy's own randomness (separate streams).
        reads: "after": a worker that starts on an update's event reads the updated parameters (one worker has
            delay 0, n have mean delay n - 1). "before": it reads those of before the update (delays grow by one, and
            so do the bounds on delays that policies state; who takes fresh gradients only throws more away).
        max_arrivals: ends a run at so many, with status "stalled". Without `until` so do a million arrivals without an
            update (100 a worker, where that is more): a method that waits for a worker that never delivers.

    Returns:
        A `Schedule`; its `status` is "stalled" where no job in flight can ever finish, or `max_arrivals` came first.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.exponential(1.0, num_workers=4)
        >>> schedule = ja.simulate(ja.policies.asgd(), times, num_updates=1000, seed=0)
        >>> ages = schedule.num_updates - schedule.unfinished["read"]
        >>> int(schedule.delay.sum() + ages.sum())  # (n - 1) T, exactly
        3000
    """
    check_times(times)
    units = [1] * times.num_workers
    if hasattr(policy, "bind"):
        method = policy.bind(times.num_workers, times)
        policy, units = method.policy, method.work.sizes(times.num_workers)
    check_policy(policy, " or a ja.Method")
    if num_updates is None and until is None:
        raise ValueError("a simulation ends somewhere: give num_updates=, or until= in seconds.")
    most = math.inf if num_updates is None else whole("num_updates", num_updates)
    until = None if until is None else real("until", until, 0, " of seconds")
    max_arrivals = whole("max_arrivals", max_arrivals)
    seed = whole("seed", seed)
    word("reads", reads, "after", "before")
    patience = max(NO_UPDATE, 100 * times.num_workers) if until is None else math.inf
    info = dict(policy.info) | {"times": {"name": times.name, **times.args}, "seed": seed, "reads": reads}
    limits = Limits(most, math.inf if until is None else until, max_arrivals, patience)
    made = at_once(policy, times, units, limits, seed, reads, info)
    if made is not None:
        return made
    fleet = Fleet(Clock(times, seed), units, recording.Losses(times.num_workers))
    return Server(policy, fleet, recording.Rows(policy.tags), seed, reads).play(limits, info)


def check_times(times):
    """A clock that says how many workers there are, and how long each of their jobs takes."""
    if not hasattr(times, "durations"):
        raise ValueError(f"times is a worker-time model, ja.times.exponential(1.0, num_workers=4); got {shown(times)}.")


class Server:
    """The event loop: a policy, the workers (simulated or real), and what is written down."""

    def __init__(self, policy, fleet, rows, seed, reads):
        self.fleet, self.rows, self.clock = fleet, rows, fleet.clock
        self.num_workers, self.on, self.after = fleet.clock.num_workers, policy.on, reads == "after"
        self.gradients = 0  # that the server has taken in
        rng = np.random.default_rng(np.random.SeedSequence([seed, POLICY_STREAM]))
        begin = policy.init(self.num_workers, rng)
        if type(begin) is not tuple or len(begin) != 2:
            raise ValueError(f"a policy's `init` returns (state, start), start being who begins; got {shown(begin)}.")
        self.state, start = begin
        self.start(start, 0)

    def play(self, limits, info) -> Schedule:
        """Run events until a limit."""
        status, end = self.run(limits)
        return self.written(end, status, info)

    def written(self, end, status, info) -> Schedule:
        """What has happened until `end`, as a table; nothing more may happen after."""
        fleet = self.fleet
        fleet.now = end
        fleet.finish()
        return recording.schedule(self.rows, fleet.losses, self.num_workers, end, status, info, not fleet.simple)

    def run(self, limits) -> tuple[str, float]:
        """How it ended, and when."""
        fleet, horizon = self.fleet, limits.until
        arrivals = latest = heard = 0  # events; the latest that made an update, the latest gradient
        while fleet.version < limits.num_updates:
            if arrivals - latest > limits.patience or arrivals >= limits.max_arrivals or arrivals - heard > NO_UPDATE:
                return "stalled", fleet.now
            event = fleet.next()
            if event is None:
                return "stalled", fleet.now if horizon == math.inf else horizon
            time, worker, kind = event
            if time > horizon:
                return "finished", horizon
            before, time = fleet.version, max(time, fleet.now)  # a server that is busy keeps it waiting
            if kind is JOINED and not self.returned(worker, time):
                continue
            if kind is GRADIENT and self.clock.receive is not None:
                time += self.clock.receive(0, self.gradients)
            if not self.arrive(worker, kind, time, horizon):
                return "finished", horizon
            arrivals += 1
            if fleet.version > before:
                latest = arrivals
            if kind is GRADIENT:
                heard = arrivals
        return "finished", fleet.now

    def returned(self, worker, time) -> bool:
        """Whether the policy hears of a worker that is back: it is still there, and has nothing to do."""
        fleet = self.fleet
        fleet.announced.discard(worker)
        fleet.now = time
        return fleet.serials[worker] < 0

    def arrive(self, worker, kind, time, horizon) -> bool:
        """An event: the policy decides, and it is done; False where that takes beyond the horizon."""
        fleet = self.fleet
        version = fleet.version
        if kind is JOINED:
            start, read, visit, repeat, size = time, version, 0, 0, 0
        else:
            start, read, size = fleet.starts[worker], fleet.reads[worker], fleet.sizes[worker]
            visit, repeat = fleet.visits[worker], fleet.repeats[worker]
        event = (kind, time, start, worker, read, visit, repeat, size, version, version - read)
        answer = self.on(self.state, tuple.__new__(Event, event))
        if type(answer) is not tuple or len(answer) != 2 or not isinstance(answer[1], Decision):
            raise ValueError(f"a policy's `on` returns (state, ja.Decision); got {shown(answer)}.")
        self.state, decision = answer
        use, weight, step, starts, cancels, weights, tags, seen = decision
        if not ((use is True or use is False) and (step is True or step is False)):
            for flag in (use, step):
                if not isinstance(flag, (bool, np.bool_)):
                    raise ValueError(f"a decision's use and step are True or False; got {shown(flag)}.")
        told = (weight, weights, tags, seen)
        if step and self.clock.update is not None:
            time += self.clock.update(0, version)
        if time > horizon:
            return False
        fleet.now = time
        if kind is GRADIENT:
            self.gradients += 1
            busy = 0.0 if fleet.simple else fleet.busy[worker]
            self.rows.append(told, use, step, time, start, busy, worker, read, visit, repeat, size)
            fleet.serials[worker] = -1
        else:
            if use:
                raise ValueError(f"the policy used a {kind}: there is no gradient to use; decide use=False.")
            if kind is not JOINED:
                fleet.give_up(worker, GONE if kind is LOST else TIMED_OUT)
                fleet.serials[worker] = -1
            if kind is LOST:
                fleet.announce(worker)
            if step:  # a bare step: a row of size 0
                self.rows.append(told, False, step, time, time, 0.0, worker, read, visit, repeat, 0)
        if step:
            fleet.version = version + 1
        if cancels.__class__ is not tuple or cancels:
            self.cancel(cancels)
        if starts.__class__ is not tuple:
            self.start(starts, fleet.version if self.after else version, worker if kind is LOST else None)
        elif starts:
            reads = fleet.version if self.after else version
            if kind is not LOST and len(starts) == 1 and starts[0] is worker:  # the one that delivered goes on
                fleet.hand_out(worker, reads)
            else:
                self.start(starts, reads, worker if kind is LOST else None)
        if fleet.queues:
            fleet.go_on(worker)
        return True

    def start(self, given, version, absent=None):
        """Hand out jobs; one that was just lost is not replaced by another of the same worker, who is not there."""
        fleet = self.fleet
        workers = many(given)
        if workers is not None:
            self.check("started", workers)
            fleet.hand_out_many(workers if absent is None else workers[workers != absent], version)
            return
        for job in entries(given, "start"):
            size, timeout = 1, math.inf
            if isinstance(job, Job):
                job, size, timeout = job
                size = whole("the size of a job", size, 1)
                if not timeout >= 0:
                    raise ValueError(
                        f"a job's timeout is a number of seconds, 0 or more (inf: none); got {shown(timeout)}."
                    )
            worker = self.worker(job, "start", "started")
            if worker != absent:
                fleet.hand_out(worker, version, size, timeout)

    def cancel(self, given):
        """Drop the jobs of workers."""
        workers = many(given)
        if workers is not None:
            self.check("cancelled", workers)
            self.fleet.cancel_many(workers)
            return
        for worker in entries(given, "cancel"):
            self.fleet.cancel(self.worker(worker, "cancel", "cancelled"))

    def worker(self, given, where, did) -> int:
        if not hasattr(given, "__index__"):
            what = "a worker, or a ja.Job" if where == "start" else "a worker"
            raise ValueError(f"an entry of a decision's {where} is {what}; got {shown(given)}.")
        worker = int(given)
        if not 0 <= worker < self.num_workers:
            raise ValueError(f"the policy {did} worker {worker}; workers are 0...{self.num_workers - 1}.")
        return worker

    def check(self, did, workers):
        wrong = workers[(workers < 0) | (workers >= self.num_workers)]
        if len(wrong):
            raise ValueError(f"the policy {did} worker {wrong[0]}; workers are 0...{self.num_workers - 1}.")


def many(given):
    """Different workers as an array, where there are so many that arrays are quicker; else None."""
    if given.__class__ is range:
        return np.arange(given.start, given.stop, given.step) if len(given) >= MANY else None
    if given.__class__ is list and len(given) >= MANY and all(entry.__class__ is int for entry in given):
        given = np.array(given)
    if not (given.__class__ is np.ndarray and given.ndim == 1 and given.dtype.kind in "iu" and len(given) >= MANY):
        return None
    return given.astype(np.int64) if len(np.unique(given)) == len(given) else None


def entries(given, what):
    """Workers or jobs as a plain sequence, whatever the policy gave: ints, Jobs, a NumPy array, a range."""
    if type(given) is tuple or type(given) is range:
        return given
    if isinstance(given, Job):
        return (given,)
    if hasattr(given, "tolist"):
        given = given.tolist()
    if isinstance(given, int):
        return (given,)
    if isinstance(given, str) or not hasattr(given, "__iter__"):
        raise ValueError(f"a decision's {what} holds workers, () for none; got {shown(given)}.")
    return given
