"""Checkpoints: what a run needs to go on bit for bit, saved by Orbax, and refused where it is another run's."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .checks import path, real, shown, unsaved, whole, writable
from .planning import ARRAYS, STATIC
from .results import environment

ADDRESS = re.compile(r" at 0x[0-9a-f]+")
GO_ON = "what was saved before is still there; make room, and the same call goes on from it"


@dataclass(frozen=True)
class Checkpoint:
    """Where a run saves itself, so that the same call goes on after a kill (extra `checkpoint`: Orbax).

    A checkpoint is whole or not there (Orbax writes beside it and renames). It holds the state between two evaluations
    and the history so far, with hashes of the problem, the schedule, the rule, the key and the versions of the
    packages: a run goes on only from a checkpoint of its own, and then ends at the same bits as one that was never
    stopped. A finished run leaves its last state, and the same call returns it at once.

    Args:
        folder: of this run alone; it is made. `compare` makes one for each method and seed in it.
        seconds: between two saves, at least; saves are made at evaluations. 0: at each of them.
        keep: how many of the latest are kept.

    Example:
        >>> import tempfile, jax, optax
        >>> import jaxasgd as ja
        >>> problem = ja.problems.quadratic(dim=10, condition=10.0)
        >>> schedule = ja.simulate(ja.policies.asgd(), ja.times.exponential(1.0, num_workers=4), num_updates=200)
        >>> saved = ja.Checkpoint(tempfile.mkdtemp(), seconds=0)
        >>> first = ja.run(problem, schedule, optax.sgd(0.2), key=jax.random.key(0), checkpoint=saved)
        >>> again = ja.run(problem, schedule, optax.sgd(0.2), key=jax.random.key(0), checkpoint=saved)  # nothing to do
        >>> bool((first.params == again.params).all())
        True
    """

    folder: Path | str
    seconds: float = 60.0
    keep: int = 2

    def __post_init__(self):
        path("folder", self.folder)
        real("seconds", self.seconds, 0, " between two saves")
        whole("keep", self.keep, 1, hint=": how many checkpoints are kept")

    def below(self, *names: str) -> Checkpoint:
        """A checkpoint in a folder below this one."""
        clean = [re.sub(r"[^A-Za-z0-9_.-]+", "-", str(name)) for name in names]
        return Checkpoint(Path(self.folder, *clean), self.seconds, self.keep)


def checkpoint(given) -> Checkpoint | None:
    """An argument `checkpoint=`: a `Checkpoint`, or its folder."""
    if given is None or isinstance(given, Checkpoint):
        return given
    if isinstance(given, (str, os.PathLike)):
        return Checkpoint(Path(given))
    raise ValueError(f"checkpoint is a folder, or a ja.Checkpoint; got {shown(given)}.")


# ------------------------------------------------------------------- what a run is


def digest(*leaves) -> str:
    """Of arrays: kind, shape and every bit."""
    found = hashlib.blake2b(digest_size=16)
    for leaf in leaves:
        array = plain(leaf)
        found.update(f"{array.dtype} {array.shape};".encode())
        found.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return found.hexdigest()


def plain(leaf) -> np.ndarray:
    """An array on the host; of a JAX key, its numbers."""
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf)


def words(text) -> str:
    """Of a program's text, which is the same in another process but for addresses."""
    return hashlib.blake2b(ADDRESS.sub("", str(text)).encode(), digest_size=16).hexdigest()


def described(parts, made, problem, key, consts, targets) -> dict[str, str]:
    """What has to be the same for a run to go on, each by its hash. `made`: its plan, or several of one kind."""
    plans = made if isinstance(made, list) else [made]
    arrays = jax.tree.leaves([getattr(one, name) for one in plans for name in ARRAYS])
    shape = [(name, getattr(one, name)) for one in plans for name in STATIC]
    programs = [part.text if hasattr(part, "text") else part for part in parts]
    params = jax.eval_shape(problem.init, jax.random.key(0))
    objective = jax.make_jaxpr(lambda params: (problem.evaluate(params), problem.gradient(params)))(params)
    versions = environment()
    versions = {name: versions[name] for name in ("versions", "device", "devices", "x64", "platform")}
    return {
        "problem": digest(*jax.tree.leaves(problem)) + words(objective.jaxpr),
        "schedule": digest(*arrays) + words(shape),
        "rule": digest(*jax.tree.leaves(consts)) + words("\n".join(map(str, programs))),
        "key": digest(key),
        "targets": str(targets),
        "versions": str(versions | {"XLA_FLAGS": os.environ.get("XLA_FLAGS", "")}),
    }


def refuse(where: Checkpoint, own, theirs) -> None:
    """Raise where a checkpoint is another run's, and say what differs."""
    other = [name for name in {**own, **theirs} if theirs.get(name) != own.get(name)]
    if not other:
        return
    told = f"the checkpoint in {str(where.folder)!r} is of another run: it has another {', '.join(other)}"
    if other == ["versions"]:
        told += f" ({theirs.get('versions')}, here {own['versions']})"
    raise ValueError(f"{told}. Make the same call again, or start anew in another folder.")


def made_folder(where: Checkpoint, mine) -> Path:
    """The folder, made; raises where it can't be written or holds what is not `mine(name)`."""
    folder = writable("a folder of checkpoints", Path(where.folder).absolute())
    strange = sorted(path.name for path in folder.iterdir() if not mine(path.name))
    if strange:
        raise ValueError(
            f"a folder of checkpoints holds nothing else; {str(where.folder)!r} has {shown(strange[0])}: choose "
            "another folder."
        )
    return folder


# ------------------------------------------------------------------- saving and loading


@dataclass
class Keeper:
    """Saves a run and finds it again."""

    where: Checkpoint
    own: dict[str, str]
    manager: Any  # orbax.checkpoint.CheckpointManager
    latest: float = field(default_factory=time.monotonic)

    def offer(self, e, carry, looks, last=False) -> None:
        """Save the state after evaluation `e` where it is time, or the run ends here."""
        if not last and time.monotonic() - self.latest < self.where.seconds:
            return
        ocp = orbax()
        state = {f"{i:05}": plain(leaf) for i, leaf in enumerate(jax.tree.leaves(carry))}
        seen = {name: np.stack([look[name] for look in looks]) for name in looks[0]}
        about = {"run": self.own, "state": digest(*state.values()), "looks": digest(*seen.values())}
        args = ocp.args.Composite(
            state=ocp.args.StandardSave(state), looks=ocp.args.StandardSave(seen), about=ocp.args.JsonSave(about)
        )
        try:
            self.manager.save(e, args=args, force=True)
            self.manager.wait_until_finished()
        except (OSError, ValueError) as error:
            raise unsaved("a checkpoint", self.where.folder, error, GO_ON) from None
        self.latest = time.monotonic()

    def restored(self, carry):
        """`(e, carry, looks)` of the latest checkpoint; None where there is none yet.

        Args:
            carry: the state at the start, whose shapes and places it takes.
        """
        e = self.manager.latest_step()
        if e is None:
            return None
        ocp, place = orbax(), Path(self.where.folder, str(e))
        mend = f"delete {str(place)!r} to go on from the one before, or start anew in another folder."
        try:
            about = self.manager.restore(e, args=ocp.args.Composite(about=ocp.args.JsonRestore()))["about"]
            theirs = about["run"]
        except Exception as error:  # whatever a damaged file leads to
            raise ValueError(
                f"{str(place)!r} is damaged, or no checkpoint of a run: {mend} ({first(error)})"
            ) from error
        refuse(self.where, self.own, theirs)
        leaves, tree = jax.tree.flatten(carry)
        try:
            args = ocp.args.Composite(state=ocp.args.StandardRestore(), looks=ocp.args.StandardRestore())
            found = self.manager.restore(e, args=args)
            state = [np.asarray(found["state"][f"{i:05}"]) for i in range(len(leaves))]
            seen = {name: np.asarray(column) for name, column in found["looks"].items()}
            whole = (digest(*state), digest(*seen.values())) == (about["state"], about["looks"])
        except Exception as error:
            raise ValueError(f"the checkpoint {str(place)!r} is damaged: {mend} ({first(error)})") from error
        if not whole:
            raise ValueError(f"the checkpoint {str(place)!r} is damaged (other bits than were saved): {mend}")
        carry = jax.tree.unflatten(tree, [put_like(new, old) for new, old in zip(state, leaves, strict=True)])
        looks = [{name: column[i] for name, column in seen.items()} for i in range(e + 1)]
        return e, carry, looks


def put_like(new, old):
    """The saved numbers as an array like `old`, in its place."""
    if jnp.issubdtype(old.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(new, impl=jax.random.key_impl(old))
    return jax.device_put(new.astype(old.dtype), old.sharding)


def first(error) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__


@contextmanager
def keeper(where: Checkpoint | None, *run) -> Iterator[Keeper | None]:
    """The keeper of a run (see `described`); checks that the folder can be written, and can hold checkpoints."""
    if where is None:
        yield None
        return
    if jax.process_count() > 1:
        raise ValueError("a run on several hosts can't be saved yet: leave checkpoint out.")
    ocp, folder = orbax(), made_folder(where, mine)
    for rest in folder.glob("*.orbax-checkpoint-tmp*"):  # of a save that was killed
        shutil.rmtree(rest, ignore_errors=True)
    options = ocp.CheckpointManagerOptions(max_to_keep=where.keep, enable_async_checkpointing=False)
    with closing(ocp.CheckpointManager(folder, options=options)) as manager:
        yield Keeper(where, described(*run), manager)


def mine(name: str) -> bool:
    """Whether a file's name is one of a checkpoint."""
    return name.isdigit() or "orbax" in name or name.startswith(("_", "."))


def orbax():
    """Orbax, on first need, quiet."""
    try:
        import orbax.checkpoint as ocp
    except ImportError as error:
        raise ImportError('checkpoints need Orbax: pip install "jaxasgd[checkpoint]"') from error
    logging.getLogger("absl").addFilter(of_others)
    return ocp


def of_others(record) -> bool:
    """Whether a record of the log is not Orbax's: what goes wrong there is raised, and told once."""
    return "orbax" not in record.pathname
