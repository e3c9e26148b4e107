"""A parameter server in several actors: each holds a part of every leaf, and of the rule's state, and updates it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import recording
from ..methods.base import Method
from ..problems.base import Problem
from ..program import initial_shapes
from .cluster_actors import take_over, thaw_run
from .cluster_crew import fetch
from .cluster_numbers import Numbers
from .cluster_parts import cut, join
from .freezing import Payload, freeze, thaw
from .parameters import Held, ParameterServer, Pending, asks

SCALES = (0.01, 3.0, 1e4)  # of the updates that a rule is tried with, whole and in parts
CLOSE = 1e-5  # how far they may be apart, relative to the largest number


@dataclass(frozen=True)
class Part:
    """The kind of a problem that has a start, and nothing else: one part of another's."""

    part: int
    parts: int

    def init(self, data, key):
        return part_of(data.init(key), self.part, self.parts)

    def draw(self, data, request):
        return jnp.zeros(())

    def gradient(self, data, params, sample):
        return jax.tree.map(jnp.zeros_like, params)


def part_of(tree, part, parts):
    """The same pytree with a part of each leaf, flat."""
    leaves, structure = jax.tree.flatten(tree)
    return jax.tree.unflatten(structure, cut(leaves, part, parts))


def numbers_of(setting, part, parts) -> Numbers:
    """A server for a part of the parameters."""
    problem, method = setting.problem, setting.method
    if parts > 1:
        problem = Problem(data=problem, start=None, kind=Part(part, parts))
    method = Method(method.policy, method.rule, method.arrival)
    units = [1] * setting.num_workers
    return Numbers(problem, method, setting.num_workers, units, setting.num_updates, setting.key)


class AsgdShard:
    """One part of the parameters, in a process of its own.

    Args:
        setup: the run: see `cluster_actors.thaw_run`.
        environment: see `cluster_actors.environment`.
        part, parts: which, of how many.
        kept: the state of a shard that was here before, as `state` gave it; None: there was none.
    """

    def __init__(self, setup, environment, part, parts, kept):
        self.error = None
        try:
            take_over(environment)
            self.numbers = numbers_of(thaw_run(setup), part, parts)
            self.stale = any(asks(self.numbers.lone.parts, "stale"))
            self.numbers.warm_up()
            if kept is not None:
                state = thaw(*kept)
                state |= {"sent": Payload(state["version"], jax.device_put(state["params"]))}
                self.numbers.resume(state)
        except Exception as error:
            self.error = error

    def ready(self):
        """Whether the rule looks at what workers were sent; once all is compiled."""
        if self.error is not None:
            raise self.error
        return self.stale

    def sent(self) -> list:
        """What is sent now."""
        return jax.device_get(jax.tree.leaves(self.numbers.params))

    def step(self, rows, weights, *held) -> list:
        """An update.

        Args:
            rows: since the last one: worker, delay, whether it is used, weight, tags.
            weights: final ones, or None.
            held: of each used row the update, and what its worker was sent, if the rule looks at it.
        """
        numbers, each = self.numbers, iter(held)
        structure = jax.tree.structure(numbers.params)
        tree = lambda leaves: jax.tree.unflatten(structure, jax.device_put(leaves, numbers.device))
        for worker, delay, use, weight, tags in rows:
            update = tree(next(each)) if use else None
            stale = Payload(0, tree(next(each)) if self.stale and use else numbers.params)
            numbers.pending.append(Pending(worker, delay, use, weight, tags, Held(update, stale) if use else None))
        numbers.update(weights)
        return self.sent()

    def state(self):
        """For a checkpoint."""
        state = self.numbers.state()
        del state["sent"]
        frozen = freeze(state | {"params": self.numbers.params}, "the state of policy and rule")
        return frozen.code, frozen.arrays


class ShardedNumbers(ParameterServer):
    """What `Numbers` is, where shards hold the parameters: this tells them what to do, and hands on references."""

    device = None

    def __init__(self, setting, actors):
        import ray

        recording.Rows.__init__(self, setting.method.policy.tags)
        self.ray, self.actors, self.shards, self.method = ray, actors, len(actors), setting.method
        self.shapes = jax.tree.leaves(initial_shapes(setting.problem))
        self.owned = self.tell = False
        self.maker, self.pending, self.version, self.arrived = -1, [], 0, None
        self.used = [False] * setting.num_workers
        self.stale = any(fetch([actor.ready.remote() for actor in actors]))
        self.payload = Payload(0, args=tuple(actor.sent.remote() for actor in actors))

    def update(self, weights):
        rows, self.pending = self.pending, []
        told = [row[:5] for row in rows]
        used: list[Any] = [row.held for row in rows if row.use]
        sent = []
        for s, actor in enumerate(self.actors):
            held = []
            for each in used:
                held += [each.update[s], each.stale.args[s]] if self.stale else [each.update[s]]
            sent.append(actor.step.remote(told, weights, *held))
        self.maker, self.version = rows[-1].worker, self.version + 1
        self.payload = Payload(self.version, args=tuple(sent))

    logs = Numbers.logs

    def state(self) -> dict:
        return {name: getattr(self, name) for name in KEPT} | {"sent": self.payload}

    def resume(self, state):
        for name in KEPT:
            setattr(self, name, state[name])
        self.payload = state["sent"]

    def thawed(self, version, args) -> Payload:
        return Payload(version, args=tuple(self.ray.put(leaves) for leaves in args))

    def final(self) -> list:
        return join(fetch(list(self.payload.args)), self.shapes)


KEPT = ("number", "first", "version", "maker", "used")


def check_parts(setting, parts):
    """Whether the rule does to a part what it does to it within the whole: tried out on random numbers.

    Raises:
        ValueError: it doesn't, or the method sends something else than the parameters.
    """
    method = setting.method
    if method.send is not None:
        raise ValueError(
            f"shards={parts}: each shard knows a part of the parameters, and this method sends workers something that "
            "is made of the whole (send): use shards=1."
        )
    rng = np.random.default_rng(0)
    shapes = initial_shapes(setting.problem)
    draw = lambda scale: jax.tree.map(lambda a: (scale * rng.standard_normal(a.shape)).astype(a.dtype), shapes)
    trial = setting._replace(problem=replace(setting.problem, start=draw(1.0)), num_updates=setting.num_updates or 1)
    updates, stales = [draw(scale) for scale in SCALES], [draw(1.0) for _ in SCALES]

    def after(part, parts):
        numbers = numbers_of(trial, part, parts)
        take = lambda tree: tree if parts == 1 else part_of(tree, part, parts)
        tags = dict.fromkeys(method.policy.tags, 1.0)
        for k in range(len(SCALES)):
            held = Held(take(updates[k]), Payload(0, take(stales[k])))
            numbers.pending.append(Pending(k % setting.num_workers, k, True, 1.0, tags, held))
            numbers.update(None)
        return [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(numbers.params)]

    whole = after(0, 1)
    try:
        pieces = [after(s, parts) for s in range(parts)]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{UNFIT.format(parts)} ({type(error).__name__}: {error}).") from error
    again = join(pieces, jax.tree.leaves(shapes))
    far = max((np.abs(a - b).max(initial=0.0) for a, b in zip(whole, again, strict=True)), default=0.0)
    size = max((np.abs(a).max(initial=0.0) for a in whole), default=0.0)
    if not far <= CLOSE * max(size, 1.0):
        raise ValueError(f"{UNFIT.format(parts)}: on random numbers the parts differ from the whole by {far:.2g}.")


UNFIT = (
    "shards={} cuts every leaf into parts that are updated apart, so the rule has to treat each coordinate by itself; "
    "this one does not (norms, clipping by them, matrices, noise): use shards=1"
)
