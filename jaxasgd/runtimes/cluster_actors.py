"""Workers on Ray: the actor that a worker is, and what actors take over from the process that starts them."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict

import jax
import jax.numpy as jnp
import numpy as np

from ..program import initial_shapes
from .cluster_parts import cut, join
from .freezing import thaw
from .parameters import begin, traced
from .working import Worker

INITIAL = "initial"  # what a worker remembers before its first job
KEPT = 2  # results that a worker keeps, for a server that has to ask again
# settings of JAX that change numbers, or what is an error
SETTINGS = (
    "jax_enable_x64", "jax_numpy_rank_promotion", "jax_numpy_dtype_promotion", "jax_default_matmul_precision",
    "jax_default_prng_impl", "jax_threefry_partitionable",
)  # fmt: skip


def environment(resources) -> dict:
    """What an actor with these resources is to be like."""
    gpus = resources.get("num_gpus", 0)
    settings = {name: getattr(jax.config, name) for name in SETTINGS}
    if not gpus and "TPU" not in resources:
        settings["jax_platforms"] = "cpu"  # else JAX takes what Ray has not given
    elif os.environ.get("JAX_PLATFORMS"):
        settings["jax_platforms"] = os.environ["JAX_PLATFORMS"]
    variables = {"PJRT_NPROC": str(max(int(resources.get("num_cpus", 1)), 1))}  # XLA's threads
    if 0 < gpus < 1:
        variables["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{0.9 * gpus:.3f}"
    return {"settings": settings, "variables": variables}


def take_over(environment):
    """Be like that; before JAX is used in this process."""
    os.environ.update(environment["variables"])
    for name, value in environment["settings"].items():
        jax.config.update(name, value)


def thaw_run(setup):
    """A `Setting`, from it as `Frozen`, or from a list with a reference to that."""
    import ray

    frozen = ray.get(setup[0]) if len(setup) == 1 else setup
    return thaw(*frozen[:2])


class AsgdWorker:
    """A worker in a process of its own. A job has a tag: one that was done is not done again, but answered again.

    Args:
        setup: the run: see `thaw_run`.
        number: which worker, 0...num_workers - 1.
        environment: see above.
        shards: into how many parts gradients are cut.
        before: None, or a function `(worker, job)`, called before each job.
    """

    def __init__(self, setup, number, environment, shards, before):
        import ray

        self.lock, self.done, self.error = threading.Lock(), OrderedDict(), None
        self.epoch, self.shards, self.node = 0, shards, ray.get_runtime_context().get_node_id()
        try:
            take_over(environment)
            self.make(thaw_run(setup), number, None if before is None else thaw(*before[:2]))
        except Exception as error:  # told by `ready`: an actor whose constructor fails is one that died
            self.error = error

    def make(self, setting, number, before):
        """The worker itself, compiled."""
        method, units = setting.method, setting.units
        problem = jax.device_put(setting.problem)
        variant = traced(problem, method, setting.num_workers, units)
        params = initial_shapes(problem)
        work_init = variant.parts.work_init
        nothing = lambda shape: jnp.zeros(shape.shape, shape.dtype)
        memory = jax.eval_shape(lambda p: work_init(variant.consts.work_init, p), params)
        sent = params
        if (send := variant.parts.send) is not None:
            state = jax.eval_shape(lambda p: variant.parts.init(variant.consts.init, p), params)
            row = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), memory)
            sent = jax.eval_shape(lambda *args: send(variant.consts.send, *args), params, state, row)
        self.shapes, self.sent = jax.tree.leaves(sent), jax.tree.structure(sent)
        tell, self.initial = bool(jax.tree.leaves(memory)), ()
        if tell:
            table = begin(variant.parts, variant.traits, problem, setting.key, variant.consts).workers
            self.initial = jax.tree.map(lambda a: a[number], table)
        parts = {"parts": variant.parts, "consts": variant.consts, "key": setting.key}
        self.worker = Worker(number, problem, state=self.initial, tell=tell, before=before, **parts)
        self.worker.warm_up(jax.tree.map(nothing, sent), units[number])

    def ready(self):
        """Returns once all is compiled."""
        if self.error is not None:
            raise self.error

    def now(self) -> float:
        """The seconds of this machine's clock."""
        return time.perf_counter()

    def work(self, epoch, tag, call, state, *payload):
        """Do a job, or say again what came of it.

        Args:
            epoch: servers before the one that asks; one that is dead is not listened to.
            tag: of the job: it is the same job if the tag is.
            call: a `Call` without payload.
            state: what the worker remembers, where the server can't be sure that it does; else None.
            payload: leaves of what was sent, from each shard.

        Returns:
            `(machine, start, begin, end, update, state)`, seconds of this machine's clock, the update as leaves; or,
            with shards, the same without update, and the parts of the update.
        """
        with self.lock:
            if epoch < self.epoch:
                raise RuntimeError("this server has been replaced.")
            self.epoch = epoch
            if tag not in self.done:
                if state is not None:
                    state = self.initial if isinstance(state, str) else state
                    self.worker.state = self.worker.after = jax.device_put(state)
                leaves = payload[0] if len(payload) == 1 else join(payload, self.shapes)
                call = call._replace(payload=jax.tree.unflatten(self.sent, leaves))
                result = self.worker.serve(call, time.perf_counter, time.sleep)
                self.done[tag] = result
                if len(self.done) > KEPT:
                    self.done.popitem(last=False)
            result = self.done[tag]
        leaves = jax.tree.leaves(result.update)
        moments = (self.node, result.start, result.begin, result.end)
        if self.shards == 1:
            return *moments, leaves, result.state
        parts = [[np.asarray(leaf) for leaf in cut(leaves, s, self.shards)] for s in range(self.shards)]
        return (*moments, None, result.state), *parts


def vault_class():
    """The class of the actor that keeps checkpoints: made here so that its process needs no JAX."""

    class AsgdVault:
        """The latest checkpoint of a server: what grows is sent in pieces, what is sent to workers once a version."""

        def __init__(self):
            self.number, self.logs, self.payloads, self.latest, self.states = -1, [], {}, None, ()

        def keep(self, number, code, arrays, pieces, needed, fresh, parts, *args):
            """Take a checkpoint.

            Args:
                number: of updates. code, arrays: of `Frozen`. pieces: what each log has grown by.
                needed: versions that jobs still need. fresh: those of them that are sent along.
                parts: args for each version; what is left of them are the shards' states.
            """
            for i, piece in enumerate(pieces):
                if i == len(self.logs):
                    self.logs.append(bytearray() if isinstance(piece, bytes) else [])
                self.logs[i].extend(piece)
            for k, version in enumerate(fresh):
                self.payloads[version] = args[k * parts : (k + 1) * parts]
            self.payloads = {version: self.payloads[version] for version in needed}
            self.states = args[len(fresh) * parts :]
            self.number, self.latest = number, (code, arrays)

        def checkpoint(self):
            """All of it; None where there is none. Shards' states are asked for one by one."""
            if self.latest is None:
                return None
            logs = [bytes(log) if isinstance(log, bytearray) else log for log in self.logs]
            return self.number, *self.latest, logs, self.payloads

        def state(self, shard):
            return self.states[shard]

        def updates(self):
            """Of the latest checkpoint; -1 where there is none."""
            return self.number

    return AsgdVault
