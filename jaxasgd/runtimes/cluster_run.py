"""Ray: asynchronous SGD that really happens, in processes of their own, on one machine or on many."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from ..checks import bar_wanted, shown, whole
from ..program import initial_shapes
from ..progress import bar, watched
from .cluster_actors import AsgdWorker, environment, vault_class
from .cluster_server import AsgdServer
from .cluster_shards import AsgdShard, check_parts
from .cluster_start import connected, load, options_of, remote_options, strategy_of
from .freezing import freeze
from .live import MOST_FAILURES, Interrupted, WorkerFailed
from .parameters import traced
from .settings import scaled, settle

if TYPE_CHECKING:
    import optax

    from ..methods import Method
    from ..policies import Policy
    from ..problems import Problem
    from ..schedule import Schedule
    from ..times import Times

LOOK = 0.5  # seconds between two looks, for Ctrl-C and the progress bar
SMALL = 64_000  # bytes of a run that each actor gets a copy of
LAST = 60.0  # seconds that a run which was interrupted has to come to its end


def ray(
    problem: Problem,
    policy: Policy | Method,
    rule: optax.GradientTransformation | None = None,
    *,
    num_workers: int | None = None,
    num_updates: int | None = None,
    until: float | None = None,
    key: jax.Array,
    address: str | None = None,
    resources: dict[str, float] | None = None,
    server_resources: dict[str, float] | None = None,
    placement: Any = None,
    shards: int = 1,
    checkpoint_every: int | None = 1,
    slow: ArrayLike | None = None,
    times: Times | None = None,
    seconds: float = 1.0,
    on_failure: str = "stop",
    seed: int = 0,
    progress: bool | None = None,
    before_job: Callable | None = None,
) -> tuple[Any, Schedule]:
    """Train with real asynchrony on Ray: workers and server are processes of their own, on one machine or on many.

    As `ja.runtimes.threads`: the same policies, rules and methods, the same arguments, a recording that replays (to
    rounding; to 1e-6 relative). What workers are sent goes once a version through Ray's object store, or along with
    the calls where it is small; gradients come back as results. XLA has as many threads in an actor as `num_cpus` says.

    Processes may be killed. A worker's death is a failed job: `on_failure` says what happens. A server that dies is
    replaced, and goes on from its latest checkpoint: jobs that were under way then are not lost (workers keep their
    last results, and do again what they have not done), and what had been taken in after it is taken in again, once.
    The clock goes on meanwhile.

    Args:
        problem, policy, rule, num_workers, num_updates, until, key: as in `ja.runtimes.threads`. All must be
            picklable (closures are); the policy's state too, unless checkpoint_every=None.
        address: None: the Ray that this process is connected to; if there is none, one is started on this machine,
            which only listens to this machine, and is gone at the end. "auto" or "host:port": a cluster that is there.
        resources: of each worker; {"num_cpus": 1} unless said otherwise; {"num_gpus": 1}, or a share of one. Workers
            without a GPU (or "TPU") compute on the CPU.
        server_resources: of the server, or of each shard; {"num_cpus": 0} unless said otherwise.
        placement: of the workers: "SPREAD", a scheduling strategy of Ray, or the name of a placement group.
        shards: actors that the parameters, and the rule's state, are spread over, where one server is the
            bottleneck. For rules that treat each coordinate by itself; that is tried out.
        checkpoint_every: the server's state is kept after so many updates, by an actor of its own; None: never, and
            a server that dies ends the run.
        slow, times, seconds, on_failure, seed, progress: as in `ja.runtimes.threads`.
        before_job: too; it is called in the worker's process.

    Returns:
        `(params, recorded)`: the parameters, and a `Schedule` with measured times, from when all was compiled.

    Raises:
        ImportError: without Ray; `pip install "jaxasgd[ray]"`.
        ValueError: for arguments, before anything starts; in the run, for what only a simulation can do.
        WorkerFailed: a RuntimeError that names worker and job; `recorded` and `params` are what the run had come to.
        RuntimeError: servers die again and again, or one did and there are no checkpoints.
        KeyboardInterrupt: after Ctrl-C, with the same two.

    Example, with Ray installed:

        problem, rule, key = ja.problems.quadratic(dim=10, condition=10.0), optax.sgd(0.1), jax.random.key(0)
        policy = ja.policies.asgd()
        params, recorded = ja.runtimes.ray(problem, policy, rule, num_workers=4, num_updates=200, key=key)
        replayed = ja.run(problem, recorded, rule, key=key)  # abs(replayed.params - params).max() is 1e-7 or so
    """
    began = time.time()
    load()
    shared: dict[str, Any] = {"num_workers": num_workers, "num_updates": num_updates, "until": until, "key": key}
    shared |= {"slow": slow, "times": times, "seconds": seconds, "on_failure": on_failure, "seed": seed}
    if before_job is not None and not callable(before_job):
        raise ValueError(f"before_job is a function (worker, job), or None; got {shown(before_job)}.")
    bar_wanted(progress)
    setting = settle("ray", problem, policy, rule, **shared)
    shards = whole("shards", shards, 1)
    if checkpoint_every is not None:
        checkpoint_every = whole("checkpoint_every", checkpoint_every, 1, hint=", or None")
    workers_have = options_of("resources", resources, {"num_cpus": 1})
    server_has = options_of("server_resources", server_resources, {"num_cpus": 0})
    traced(setting.problem, setting.method, setting.num_workers, setting.units)
    if shards > 1:
        check_parts(setting, shards)
    demand = {name: setting.num_workers * value for name, value in workers_have.items()}
    for name, value in server_has.items():
        demand[name] = demand.get(name, 0) + value * (shards if shards > 1 else 1)
    law = None if times is None else scaled(times, float(seconds))  # drawn from in the server
    info = setting.info | {"shards": shards, "checkpoint_every": checkpoint_every}
    setting = setting._replace(pace=(slow, law), info=info)
    setup = freeze(setting, "a run (problem, method, clock)")
    before = None if before_job is None else tuple(freeze(before_job, "before_job"))
    with connected(address, {name: value for name, value in demand.items() if value}) as package:
        actors = Cast(package, setting, tuple(setup), before, workers_have, server_has, placement, shards)
        try:
            outcome = actors.play(checkpoint_every, began, progress)
        finally:
            actors.dismiss()
    structure = jax.tree.structure(initial_shapes(setting.problem))
    params = jax.tree.unflatten(structure, [jnp.asarray(leaf) for leaf in outcome.leaves])
    if outcome.kind == "done":
        return params, outcome.schedule
    error: Interrupted | WorkerFailed = Interrupted()
    if outcome.kind == "failed":
        said, worker, job, cause = outcome.error
        error = WorkerFailed.__new__(WorkerFailed, said)
        error.args, error.worker, error.job, error.__cause__ = (said,), worker, job, cause
    error.params, error.recorded = params, outcome.schedule
    raise error


class Cast:
    """All actors of a run, which belong to this process: they end with it."""

    def __init__(self, package, setting, setup, before, workers_have, server_has, placement, shards):
        self.ray, self.setting, self.number_of_shards = package, setting, shards
        # fetched by the actor itself, where it is large; else sent along
        small = len(setup[0]) + sum(array.nbytes for array in setup[1]) <= SMALL
        self.server_has, self.setup = server_has, setup if small else [package.put(setup)]
        self.vault: Any = None
        self.servers: list = []
        restarts = -1 if setting.on_failure == "restart" else 0
        options = remote_options(workers_have) | {"max_concurrency": 4, "max_restarts": restarts}
        options["scheduling_strategy"] = strategy_of(placement)
        hire = package.remote(AsgdWorker).options(**options)
        like = environment(workers_have)
        self.workers = [hire.remote(self.setup, i, like, shards, before) for i in range(setting.num_workers)]

    def play(self, every, began, progress):
        """Until a server has come to an end."""
        errors = self.ray.exceptions
        if every is not None:
            self.vault = self.ray.remote(vault_class()).options(num_cpus=0).remote()
        deaths, latest, epoch = 0, -1, 0
        endless = self.setting.num_updates is None
        of = (self.setting.limits.until, "second") if endless else (self.setting.num_updates, "update")
        seen = watched(progress)
        with bar(progress, *of) as show:
            while True:
                try:
                    outcome = self.watch(self.begin(every, epoch, began), show if seen else None, endless)
                    if outcome.kind != "lost":
                        return outcome
                    error = None
                except errors.RayTaskError as failed:
                    raise failed.cause or failed from failed
                except errors.RayActorError as died:
                    error = died
                self.end_servers()
                if self.vault is None:
                    raise RuntimeError(
                        "the server died, and there are no checkpoints: with checkpoint_every=1 it would go on."
                    ) from error
                try:
                    version = self.ray.get(self.vault.updates.remote())
                except errors.RayActorError as died:
                    raise RuntimeError("the actor that keeps checkpoints died, and what it kept is lost.") from died
                deaths = 1 if version > latest else deaths + 1
                latest, epoch = version, epoch + 1
                if deaths == MOST_FAILURES:
                    raise RuntimeError(
                        f"servers have died {deaths} times in a row at update {max(version, 0)}: is there enough "
                        f"memory? The last one: {error}"
                    ) from error

    def begin(self, every, epoch, began):
        """New servers; the first one plays, and its outcome is what is returned a reference to."""
        like, options = environment(self.server_has), remote_options(self.server_has)
        shards = []
        if (parts := self.number_of_shards) > 1:
            kept = self.vault is not None and self.ray.get(self.vault.updates.remote()) >= 0
            hire = self.ray.remote(AsgdShard).options(**options)
            for s in range(parts):
                state = self.vault.state.remote(s) if kept else None
                shards.append(hire.remote(self.setup, like, s, parts, state))
            options = {"num_cpus": 0}
        hire = self.ray.remote(AsgdServer).options(**options, max_concurrency=4)
        server = hire.remote(self.setup, like, every or 0, shards)
        self.servers = [server, *shards]
        return server.play.remote(self.workers, self.vault, epoch, began)

    def watch(self, reference, show, endless):
        """Wait, with a look at the progress now and then; after Ctrl-C ask for an end."""
        server = self.servers[0]
        try:
            while not self.ray.wait([reference], timeout=LOOK)[0]:
                if show is not None:
                    version, now = self.ray.get(server.progress.remote())
                    show(now if endless else version, updates=version, seconds=now)
        except KeyboardInterrupt:
            server.interrupt.remote()
            if not self.ray.wait([reference], timeout=LAST)[0]:
                raise
        outcome = pickle.loads(self.ray.get(reference))
        if show is not None and outcome.schedule is not None:
            version, now = outcome.schedule.num_updates, outcome.schedule.end
            show(now if endless else version, updates=version, seconds=now)
        return outcome

    def end_servers(self):
        for actor in self.servers:
            self.ray.kill(actor)
        self.servers = []

    def dismiss(self):
        """End all actors."""
        for actor in [*self.workers, *self.servers, *([self.vault] if self.vault is not None else [])]:
            with suppress(Exception):  # it may be gone, or Ray itself
                self.ray.kill(actor, no_restart=True)
