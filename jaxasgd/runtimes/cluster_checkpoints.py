"""A server's checkpoints: taken between two events, kept by an actor of its own, and gone on from."""

from __future__ import annotations

import time
from typing import Any

from ..simulation import Server
from .cluster_crew import arguments, fetch
from .freezing import freeze, thaw
from .live import LiveFleet

FLEET = (  # what of a fleet changes, its columns aside
    "now", "version", "serial", "queues", "announced", "calls", "flying", "since", "waits", "ghosts", "turns",
    "failures", "to_send", "deadlines", "lost", "absent", "returning",
)  # fmt: skip
CREW = ("tags", "committed", "after")


class Keeper:
    """Sends checkpoints to the vault.

    Args:
        vault: the actor; None: nothing is kept.
        every: updates between two checkpoints.
    """

    def __init__(self, vault, every):
        self.vault, self.every, self.began = vault, every, {}  # what is known of the run's beginning
        self.latest, self.sent = None, None  # version of the latest checkpoint; a reference: that it is kept
        self.lengths, self.known = [], set()  # of the logs, and versions whose payload the vault has

    def look(self, server, shards=()):
        """Between two events: take a checkpoint, if one is due."""
        version = server.fleet.version
        if self.vault is None or (self.latest is not None and version - self.latest < self.every):
            return
        self.settle()
        fleet, numbers, crew = server.fleet, server.rows, server.fleet.crew
        idle = lambda worker: fleet.serials[worker] < 0
        state = {
            "fleet": {name: getattr(fleet, name) for name in FLEET},
            "columns": {name: column.copy() for name, column in fleet.columns.items()},
            "orders": [None if idle(i) else order for i, order in enumerate(fleet.orders)],
            "losses": (fleet.losses.number, fleet.losses.merged),
            "crew": {name: getattr(crew, name) for name in CREW},
            "numbers": numbers.state(),
            "policy": (server.state, server.gradients),
            "clock": (fleet.seconds(), time.time()),
            "began": self.began,
        }
        frozen = freeze(state, "the state of policy and rule")
        logs = [*numbers.logs(), fleet.losses.bytes]
        lengths = self.lengths or [0] * len(logs)
        pieces = [log[length:] for log, length in zip(logs, lengths, strict=True)]
        pieces = [bytes(piece) if isinstance(piece, bytearray) else piece for piece in pieces]
        fresh = [version for version in frozen.payloads if version not in self.known]
        args = [arg for version in fresh for arg in arguments(frozen.payloads[version])]
        states = [shard.state.remote() for shard in shards]
        self.sent = self.vault.keep.remote(
            version, frozen.code, frozen.arrays, pieces, list(frozen.payloads), fresh, numbers.shards, *args, *states
        )
        self.lengths, self.known, self.latest = [len(log) for log in logs], set(frozen.payloads), version

    def settle(self):
        """Wait until the latest checkpoint is kept."""
        if self.sent is not None:
            reference, self.sent = self.sent, None
            fetch(reference)

    def resume(self, setting, fleet, numbers, crew, kept):
        """The server as it was at a checkpoint; what was under way then is asked for again."""
        version, code, arrays, logs, payloads = kept
        made = {}

        def payload(number):
            if number not in made:
                made[number] = numbers.thawed(number, payloads[number])
            return made[number]

        state = thaw(code, arrays, payload)
        for name, value in state["fleet"].items():
            setattr(fleet, name, value)
        for name, column in state["columns"].items():
            fleet.columns[name][:] = column
        fleet.orders = state["orders"]
        fleet.losses.number, fleet.losses.merged = state["losses"]
        for name, value in state["crew"].items():
            setattr(crew, name, value)
        numbers.resume(state["numbers"])
        mine = [*numbers.logs(), fleet.losses.bytes]
        for log, given in zip(mine, logs, strict=True):
            log[:] = given
        self.latest, self.lengths, self.known = version, [len(log) for log in mine], set(payloads)
        self.began = state["began"]
        seconds, moment = state["clock"]
        fleet.seconds.zero = time.perf_counter() - seconds - max(time.time() - moment, 0.0)
        for call in filter(None, fleet.calls):
            crew.transmit(call)
            crew.since[call.worker] = fleet.since[call.worker]
        if setting.on_failure == "restart":
            for worker in fleet.absent:
                crew.restart(worker)
        return Resumed(setting, fleet, numbers, *state["policy"])


class Resumed(Server):
    """An event loop that begins where another has ended."""

    def __init__(self, setting, fleet, rows, state, gradients):
        self.fleet, self.rows, self.clock = fleet, rows, fleet.clock
        self.num_workers, self.on, self.after = fleet.clock.num_workers, setting.method.policy.on, True
        self.state, self.gradients = state, gradients


class KeptFleet(LiveFleet):
    """A `LiveFleet` that takes checkpoints: nothing further is taken in before the latest is kept.

    `server` is to be set to the event loop; `keeper` and `shards` as above.
    """

    server: Any = None
    keeper: Any = None
    shards: Any = ()

    def next(self):
        self.keeper.look(self.server, self.shards)
        event = super().next()
        self.keeper.settle()
        return event
