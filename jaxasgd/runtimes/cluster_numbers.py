"""A server's numbers on Ray: those of `parameters.ParameterServer`, into a checkpoint and out of it."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from .freezing import Payload
from .parameters import Held, ParameterServer

copied = jax.jit(lambda tree: jax.tree.map(jnp.copy, tree))
KEPT = ("number", "first", "version", "maker", "used", "states")  # there are no pending rows right after an update


class Numbers(ParameterServer):
    """A `ParameterServer` whose `payload` is a `Payload`, one object for each version."""

    shards = 1
    sent = None

    @property
    def payload(self):
        return self.sent

    @payload.setter
    def payload(self, tree):
        self.sent = Payload(0 if self.sent is None else self.version + 1, tree)

    def call(self, variant, memory, row, first, step, total, age):
        held = row.held or Held(self.nothing, self.sent)
        row = row._replace(held=held._replace(stale=held.stale.tree))
        return super().call(variant, memory, row, first, step, total, age)

    def append(self, told, use, *row):
        if use:
            held = self.arrived
            update = jax.tree.unflatten(jax.tree.structure(self.params), held.update)
            update, state = jax.device_put((update, held.state if self.tell else ()), self.device)
            self.arrived = held._replace(update=update, state=state)
        super().append(told, use, *row)

    # -------------------------------------------------------------------- checkpoints

    def logs(self) -> list:
        """What only grows."""
        return [self.bytes, self.late, *(part for pair in self.tags.values() for part in pair)]

    def state(self) -> dict:
        """All else; copied, where it is donated at the next row."""
        memory = copied((self.rule, self.arrival, self.total))
        params = None if self.method.send is None else self.params
        return {name: getattr(self, name) for name in KEPT} | {"memory": memory, "params": params, "sent": self.sent}

    def resume(self, state):
        """As it was; arrays are copied, since what comes from elsewhere can't be donated."""
        for name in KEPT:
            setattr(self, name, state[name])
        put = lambda tree: jax.device_put(tree, self.device)
        self.rule, self.arrival, self.total = copied(put(state["memory"]))
        self.sent = state["sent"]
        self.params = self.sent.tree if state["params"] is None else copied(put(state["params"]))

    def thawed(self, version, args) -> Payload:
        """What was sent at a version, from a checkpoint."""
        leaves = jax.device_put(list(args[0]), self.device)
        return Payload(version, jax.tree.unflatten(jax.tree.structure(self.sent.tree), leaves))

    def final(self) -> list:
        """The parameters, as leaves."""
        return jax.device_get(jax.tree.leaves(self.params))
