"""What came of a run, and how it ended."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np


class Status(enum.IntEnum):
    """How a run ended."""

    OK = 0
    TARGET = 1  # a target was reached
    DIVERGED = 2  # the loss was no finite number any more
    STOPPED = 3  # by Ctrl-C, at an evaluation


#: How a run ended, in a word: in tables and files.
WORDS = {Status.OK: "finished", Status.TARGET: "target", Status.DIVERGED: "diverged", Status.STOPPED: "stopped"}


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["time", "update", "gradients", "loss", "metrics", "params", "status", "ended"],
    meta_fields=[],
)
@dataclass(frozen=True, eq=False)
class History:
    """What came of a run: one entry per evaluation, and the final parameters.

    Attributes:
        time: seconds of the run's clock (f8 on the host; f4 where the run was traced without x64).
        update: updates so far. gradients: work units that had arrived so far, discarded ones too.
        loss: the whole objective. metrics: name -> array, what else the problem reports.
        params: final parameters.
        status: an int: `Status.OK`, `Status.TARGET`, `Status.DIVERGED` or (eager runs, by Ctrl-C) `Status.STOPPED`.
        ended: the update at whose evaluation the run ended; an eager run's entries stop there.
    """

    time: Any
    update: Any
    gradients: Any
    loss: Any
    metrics: dict[str, Any]
    params: Any
    status: Any
    ended: Any

    def to_pandas(self) -> Any:
        """A line an evaluation, with time, update, gradients, loss and the metrics, as a pandas DataFrame.

        Raises:
            ImportError: pandas is missing; it names the extra. ValueError: these are several runs.

        Example:
            >>> import jax, optax
            >>> import jaxasgd as ja
            >>> problem, times = ja.problems.quadratic(dim=3), ja.times.fixed(1.0, num_workers=2)
            >>> schedule = ja.simulate(ja.policies.asgd(), times, num_updates=4)
            >>> history = ja.run(problem, schedule, optax.sgd(0.1), key=jax.random.key(0), evaluate=2)
            >>> history.to_pandas()[["time", "update"]].values.tolist()
            [[0.0, 0.0], [1.0, 2.0], [2.0, 4.0]]
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError('a data frame needs pandas: pip install "jaxasgd[pandas]"') from error
        if np.ndim(self.status):
            raise ValueError(f"a data frame is of one run; this history holds {np.shape(self.status)} runs: take one.")
        columns = {name: getattr(self, name) for name in ("time", "update", "gradients", "loss")} | self.metrics
        return pandas.DataFrame({name: np.asarray(column) for name, column in columns.items()})

    def __str__(self):
        """The outcome in words."""
        if np.ndim(self.status):
            counts = {s: int((np.asarray(self.status) == s).sum()) for s in Status}
            names = ", ".join(f"{n} {s.name.lower()}" for s, n in counts.items() if n or s != Status.STOPPED)
            return f"{np.size(self.status)} runs: {names}"
        word = WORDS[Status(int(self.status))].replace("target", "target reached")
        return f"{word} at update {int(self.ended)}, {float(self.time[-1]):.6g} s, loss {float(self.loss[-1]):.6g}"


def judge(loss, norm, targets, xp):
    """Where a run ended, from its looks: `(status, index)`; the first look that ends it counts."""
    target_loss, target_norm = targets
    reached = xp.zeros(loss.shape, bool)
    if target_loss is not None:
        reached = reached | (loss <= target_loss)
    if target_norm is not None:
        reached = reached | (norm <= target_norm)
    bad = ~xp.isfinite(loss)
    over = bad | reached
    last = xp.where(over.any(), xp.argmax(over), len(loss) - 1)
    status = xp.where(bad[last], int(Status.DIVERGED), xp.where(reached[last], int(Status.TARGET), int(Status.OK)))
    return status, last
