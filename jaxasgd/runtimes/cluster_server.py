"""The server on Ray: the actor in which the policy decides and, unless there are shards, the rule updates."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from ..simulation import Server
from .cluster_actors import take_over, thaw_run
from .cluster_checkpoints import Keeper, KeptFleet
from .cluster_crew import Actors, ServersLost
from .cluster_numbers import Numbers
from .cluster_shards import ShardedNumbers
from .live import Interrupted, WorkerFailed
from .running import Stopwatch
from .settings import pace_of


class Outcome(NamedTuple):
    """How a run ended.

    Attributes:
        leaves: the parameters'. schedule: the recording.
        kind: "done", "interrupted", "failed"; or "lost", without those: a shard has died.
        error: what has failed, with kind "failed": the message, worker, job, and what it died of.
    """

    leaves: Any = None
    schedule: Any = None
    kind: str = "done"
    error: tuple = ()


class AsgdServer:
    """The event loop with real workers, in a process of its own.

    Args:
        setup: the run: see `cluster_actors.thaw_run`.
        environment: see `cluster_actors.environment`.
        every: updates between two checkpoints.
        shards: handles of actors that hold the parameters; none: this one does.
    """

    def __init__(self, setup, environment, every, shards):
        self.fleet, self.error, self.interrupted = None, None, False
        self.numbers: Any
        self.every, self.shards, self.seconds = every, shards, Stopwatch()
        try:
            take_over(environment)
            setting = thaw_run(setup)
            slow, law = setting.pace
            pace, _ = pace_of(slow, law, setting.num_workers, setting.seed)
            self.setting = setting = setting._replace(pace=pace)
            if shards:
                self.numbers = ShardedNumbers(setting, shards)
            else:
                args = (setting.problem, setting.method, setting.num_workers, setting.units, setting.num_updates)
                self.numbers = Numbers(*args, setting.key)
                self.numbers.warm_up()
        except Exception as error:  # told by `play`: an actor whose constructor fails is one that died
            self.error = error

    def play(self, workers, vault, epoch, began) -> bytes:
        """The run, or what is left of it: its `Outcome`, pickled, since Ray's own views of memory end with Ray.

        Args:
            workers: handles.
            vault: the actor that keeps checkpoints, or None.
            epoch: servers before this one.
            began: when the run was called, `time.time()`.
        """
        from ray import cloudpickle

        try:
            if self.error is not None:
                raise self.error
            outcome = self.run(workers, vault, epoch, began)
        except ServersLost:
            outcome = Outcome(kind="lost")
        return cloudpickle.dumps(outcome)

    def run(self, workers, vault, epoch, began) -> Outcome:
        import ray

        setting, numbers, seconds = self.setting, self.numbers, self.seconds
        kept = ray.get(vault.checkpoint.remote()) if vault is not None else None
        crew = Actors(workers, seconds, numbers.shards, epoch)
        dead = crew.meet(setting.on_failure) if kept is None else set()
        seconds.start()
        fleet = KeptFleet(setting, numbers, crew, seconds, lambda version, now: None)
        fleet.keeper, fleet.shards = Keeper(vault, self.every), self.shards
        fleet.interrupted, self.fleet = self.interrupted, fleet
        fleet.keeper.began = {"compile_seconds": round(time.time() - began, 3)}
        if kept is None:
            fleet.absent |= dead
            server = Server(setting.method.policy, fleet, numbers, setting.seed, "after")
        else:
            server = fleet.keeper.resume(setting, fleet, numbers, crew, kept)
        fleet.server = server
        info = setting.info | fleet.keeper.began | {"servers_lost": epoch}
        kind: str = "done"
        error: tuple = ()
        try:
            schedule = server.play(setting.limits, info)
        except (WorkerFailed, Interrupted) as end:
            kind, why = "interrupted", "interrupted"
            if isinstance(end, WorkerFailed):
                kind, why, error = "failed", str(end), (str(end), end.worker, end.job, end.__cause__)
            schedule = server.written(max(fleet.now, seconds()), "finished", info | {"ended by": why})
        return Outcome(numbers.final(), schedule, kind, error)

    def progress(self):
        """Updates, and seconds of the run's clock."""
        return (0, 0.0) if self.fleet is None else (self.fleet.version, self.seconds())

    def interrupt(self):
        """End the run between two events."""
        self.interrupted = True
        if self.fleet is not None:
            self.fleet.interrupted = True
