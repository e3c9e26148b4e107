"""A crew of Ray actors, one for each worker (see live.py): calls, what comes of them, and who dies."""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress
from functools import cache

import jax

from .cluster_actors import INITIAL
from .live import MOST_FAILURES
from .working import Back, Failure, Result

LOOK = 0.2  # seconds after which a wait looks up, whether the run is interrupted
INLINE = 1_000_000  # bytes above which what is sent goes through the object store, once for all who read it
PINGS = 5  # of a worker on another machine, to compare clocks


class ServersLost(RuntimeError):
    """A shard has died: all servers begin again from the last checkpoint."""


class Actors:
    """The crew.

    Args:
        workers: their handles.
        seconds: the run's clock, a `Stopwatch`.
        shards: parts that an update comes in.
        epoch: servers before this one in this run.
    """

    def __init__(self, workers, seconds, shards, epoch):
        import ray

        number, self.ray = len(workers), ray
        self.workers, self.seconds, self.shards, self.epoch = workers, seconds, shards, epoch
        returns = 1 if shards == 1 else shards + 1
        self.methods = [worker.work.options(num_returns=returns) for worker in workers]
        self.ids = {worker._actor_id.hex() for worker in workers}
        self.waiting: dict = {}  # reference -> worker, parts of the update; None: it is to be back
        self.ready: deque = deque()  # references
        self.calls, self.since = [None] * number, [0.0] * number  # under way
        self.tags = [None] * number
        self.committed, self.after = [INITIAL] * number, [INITIAL] * number  # what workers remember
        self.sure = [False] * number  # that the worker does
        self.offsets = {ray.get_runtime_context().get_node_id(): 0.0}  # of a machine's clock from ours

    def meet(self, on_failure) -> set:
        """Wait until all workers are there; those that died before are replaced, or returned, or the run ends."""
        dead = set()
        for worker, actor in enumerate(self.workers):
            for _ in range(MOST_FAILURES if on_failure == "restart" else 1):
                try:
                    self.ray.get(actor.ready.remote())
                    break
                except self.ray.exceptions.RayActorError as error:
                    reason = error
            else:
                if on_failure != "drop":
                    raise RuntimeError(f"worker {worker} died before the run began: {reason}") from reason
                dead.add(worker)
        return dead

    def offset(self, node, worker):
        """Machines count their seconds from different moments."""
        if node not in self.offsets:
            times = []
            for _ in range(PINGS):
                begin = time.perf_counter()
                there = self.ray.get(self.workers[worker].now.remote())
                took = time.perf_counter() - begin
                times.append((took, begin + took / 2 - there))
            self.offsets[node] = min(times)[1]
        return self.offsets[node]

    # --------------------------------------------------------------- the crew's part

    def send(self, call):
        worker = call.worker
        if call.commit:
            self.committed[worker] = self.after[worker]
        self.tags[worker] = (self.epoch, call.serial)
        self.transmit(call, self.sure[worker])
        self.sure[worker] = True

    def transmit(self, call, sure=False):
        """Start a call, or, with the same tag, ask again what came of it."""
        worker, payload = call.worker, call.payload
        state = None if sure else self.committed[worker]
        self.calls[worker], self.since[worker] = call, self.seconds()
        told = (self.epoch, self.tags[worker], call._replace(payload=None), state)
        answer = self.methods[worker].remote(*told, *arguments(payload))
        first, parts = (answer, ()) if self.shards == 1 else (answer[0], answer[1:])
        self.waiting[first] = worker, parts

    def receive(self, wait):
        wait = min(max(wait, 0.0), LOOK)
        if not self.waiting:
            time.sleep(wait)
        elif not self.ready:
            self.ready.extend(self.ray.wait(list(self.waiting), timeout=wait)[0])
        return self.report(self.ready.popleft()) if self.ready else None

    def report(self, reference):
        """What a reference that is there brings."""
        worker, parts = self.waiting.pop(reference)
        if parts is None:
            return self.back(worker, reference)
        call, self.calls[worker] = self.calls[worker], None
        try:
            node, *moments, leaves, state = self.ray.get(reference)
            offset = self.offset(node, worker) - self.seconds.zero
        except Exception as error:
            self.sure[worker], now = False, self.seconds()
            return Failure(worker, call.serial, min(self.since[worker], now), now, self.cause(error))
        self.after[worker] = state
        least, now = self.since[worker], self.seconds()
        start, begin, end = (min(max(moment + offset, least), now) for moment in moments)
        return Result(worker, call.serial, start, begin, end, leaves if self.shards == 1 else parts, state)

    def cause(self, error):
        """What ended a call in its worker; a server that died is not the worker's failure."""
        errors = self.ray.exceptions
        if isinstance(error, errors.RayTaskError):
            error = error.cause or error
        dead = isinstance(error, errors.RayActorError) and error.actor_id not in self.ids
        if dead or isinstance(error, errors.OwnerDiedError):
            raise ServersLost(str(error)) from error
        return error

    def back(self, worker, reference):
        """A worker in the place of one that failed; if that died too, there will be another."""
        try:
            self.ray.get(reference)
        except self.ray.exceptions.RayActorError:
            self.restart(worker)
            return None
        return Back(worker)

    def restart(self, worker):
        """Ray makes the actor anew by itself, if it died; here we hear when."""
        self.sure[worker] = False
        self.waiting[self.workers[worker].ready.remote()] = worker, None

    def stop(self) -> list:
        """What is there; calls under way are left alone, their actors end with the run."""
        calls = [reference for reference, (_, parts) in self.waiting.items() if parts is not None]
        there = self.ray.wait(calls, num_returns=len(calls), timeout=0)[0] if calls else []
        reports = []
        for reference in there:
            with suppress(ServersLost):  # too late to matter
                reports.append(self.report(reference))
        return reports

    def wake(self):
        """A wait looks up by itself."""


def fetch(references):
    """What comes of calls to shards, and of those that take their results; ServersLost if one of them has died."""
    import ray

    try:
        return ray.get(references)
    except (ray.exceptions.RayTaskError, ray.exceptions.RayActorError) as error:
        if isinstance(error, ray.exceptions.RayActorError) or isinstance(error.cause, ray.exceptions.RayActorError):
            raise ServersLost(str(error)) from error
        raise


@cache
def most_inline() -> int:
    """Bytes that go along with a call; beyond what this Ray takes it would put each call's copy into the store."""
    try:
        from ray._raylet import Config  # type: ignore[attr-defined]  # Cython

        return min(INLINE, Config.max_direct_call_object_size())
    except (ImportError, AttributeError):
        return 100_000


def arguments(payload):
    """What a call gets of a `Payload`; made once."""
    import ray

    if payload.args is None:
        leaves = jax.device_get(jax.tree.leaves(payload.tree))
        big = sum(leaf.nbytes for leaf in leaves) > most_inline()
        payload.args = (ray.put(leaves) if big else leaves,)
    return payload.args
