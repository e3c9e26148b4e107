"""What `plan_cluster` found about a cluster: rows, table, advice, and a folder of files. NumPy and plain files."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

NEAR = 0.02  # what is not slower than the best by more is as good


class Kind(NamedTuple):
    """A method: the symbol of its setting, its name in a sentence, and in `ja.methods`."""

    symbol: str
    words: str
    call: str


KINDS = {  # the simplest first: what is nearest to synchronous SGD
    "synchronous": Kind("", "synchronous SGD", "sync_sgd(learning_rate)"),
    "backup": Kind("b", "synchronous SGD with {0} backup worker(s) (b = {0})", "backup_sgd(learning_rate, backup={0})"),
    "m-sync": Kind("m", "m-synchronous SGD that waits for {0} worker(s) (m = {0})", "m_sync_sgd(learning_rate, m={0})"),
    "ASGD": Kind("", "asynchronous SGD", "asgd(learning_rate)"),
    "ASGD, fastest": Kind(
        "m", "asynchronous SGD on the m = {0} fastest workers", "naive_optimal_asgd(learning_rate, workers={0})"
    ),
    "Ringmaster": Kind("R", "Ringmaster ASGD with the bound R = {0}", "ringmaster(learning_rate, bound={0})"),
    "Rennala": Kind("S", "Rennala SGD with batches of S = {0}", "rennala(learning_rate, batch={0})"),
    "Rennala, restart": Kind(
        "S",
        "Rennala SGD with batches of S = {0}, late jobs stopped",
        'rennala(learning_rate, batch={0}, stale="restart")',
    ),
}
ABOUT = """\
`updates`: K = 1 + q/B with batches of B gradients at one version, m + q for asynchronous SGD on m workers, R + q for
Ringmaster. `fixed times`: closed forms, if every worker always took its mean seconds; for Rennala and Ringmaster bounds
without their factor of 2. `expected`: the expectation for the measured times, drawn anew for every job. `simulated`: on
a clock that does so, with a standard error over seeds. The advice goes by `expected` where there is one, else by
`simulated`; of what is within 2 % or two standard errors of the fastest it takes the method nearest to synchronous SGD.
The constants of the theory are left out: they differ between methods by small factors."""


class Row(NamedTuple):
    """A method with its setting, and when it is predicted to be at the target.

    Attributes:
        method: one of `KINDS`.
        setting: b, m, R or S; 0 where there is none.
        updates: K, in units of L Delta / eps.
        closed: seconds to the target if every worker always took its mean seconds, in units of L Delta / eps.
        expected: for the measured times, the same unit; nan where there is no formula.
        simulated: K times the mean seconds of an update in simulation, the same unit; inf where it never gets there.
        error: standard error of `simulated`, over seeds.
    """

    method: str
    setting: int
    updates: float
    closed: float
    expected: float
    simulated: float
    error: float

    @property
    def time(self) -> float:
        """The prediction: `expected` where there is a formula, else `simulated`."""
        return self.simulated if math.isnan(self.expected) else self.expected

    @property
    def label(self) -> str:
        """Method and setting."""
        return f"{self.method}, {KINDS[self.method].symbol} = {self.setting}" if self.setting else self.method

    @property
    def call(self) -> str:
        """The method in code, but for the learning rate."""
        return "ja.methods." + KINDS[self.method].call.format(self.setting)


@dataclass(frozen=True, eq=False)
class ClusterPlan:
    """What `plan_cluster` found: print it for the table and the advice.

    Attributes:
        rows: every `Row`, method by method.
        noise_to_signal: q.
        mean: mean seconds of a step of every worker, [num_workers]; inf for one that never delivers.
        spread: the 10 % and 90 % quantiles of each worker's seconds, [2, num_workers].
        rounds: expected seconds until m = 1 ... num_workers jobs that begin together are done, [num_workers].
        sync_updates: updates of synchronous SGD to the target; None: unknown.
        spec: further numbers that made it (JSON).

    Example:
        >>> from jaxasgd.advice import plan_cluster
        >>> plan = plan_cluster([[1.0], [1.0], [10.0]], noise_to_signal=4.0)
        >>> plan.best.label, plan.best.call, plan.best.time / plan.synchronous.time
        ('backup, b = 1', 'ja.methods.backup_sgd(learning_rate, backup=1)', 0.1285...)
    """

    rows: list[Row]
    noise_to_signal: float
    mean: np.ndarray
    spread: np.ndarray
    rounds: np.ndarray
    sync_updates: float | None = None
    spec: dict = field(default_factory=dict)

    @property
    def num_workers(self) -> int:
        """How many workers the cluster has."""
        return len(self.mean)

    @property
    def synchronous(self) -> Row:
        """The row of synchronous SGD."""
        return self.rows[0]

    @property
    def best(self) -> Row:
        """The row to use: of the methods within 2 % or two standard errors of the fastest, the simplest."""
        least = min(self.rows, key=lambda row: row.time)
        slack = lambda row: 2 * row.error if math.isnan(row.expected) else 0.0
        near = lambda row: row.time <= least.time * (1 + NEAR) + math.hypot(slack(row), slack(least))
        return min(filter(near, self.rows), key=lambda row: (list(KINDS).index(row.method), row.time))

    @property
    def unit(self) -> float:
        """L Delta / eps, as far as `sync_updates` tells; else 1."""
        return 1.0 if self.sync_updates is None else self.sync_updates / self.synchronous.updates

    @property
    def reference(self) -> float:
        """The time of synchronous SGD, or that of the best where it is infinite."""
        return (self.synchronous if self.synchronous.time < math.inf else self.best).time

    @property
    def sentence(self) -> str:
        """What to use, and what it saves."""
        best, sync = self.best, self.synchronous
        if best is sync:
            return (
                f"Stay with synchronous SGD: nothing else is predicted to be faster by more than {NEAR:.0%} or two "
                "standard errors."
            )
        words = KINDS[best.method].words.format(best.setting)
        use = "Use " + words.replace("(s)", "s" * (best.setting > 1))
        seconds = "" if self.sync_updates is None else f" in {short(best.time * self.unit)} s"
        if sync.time == math.inf:
            dead = np.flatnonzero(np.isinf(self.mean)).tolist()
            who = f"worker{'s' * (len(dead) > 1)} {', '.join(map(str, dead))}"
            return f"{use}: it gets there{seconds}, while synchronous SGD would wait for {who} for ever."
        ratio = best.time / sync.time
        instead = f"{seconds} instead of {short(sync.time * self.unit)} s," if seconds else ""
        doubt = "" if ratio < 0.5 else "; the theory leaves a factor of 2 open, so try both"
        return (
            f"{use}: it is predicted to get there{instead} {1 / ratio:.3g} times as fast as synchronous SGD, which "
            f"saves {1 - ratio:.0%} of the time{doubt}."
        )

    def __str__(self):
        return f"{self.table()}\n\n{self.sentence}"

    def table(self) -> str:
        """All rows as text."""
        against = "of sync" if self.synchronous.time < math.inf else "of best"
        lines = [["method", "updates", "fixed times", "expected", "simulated", against]]
        for row in self.rows:
            known = (row.updates, row.closed, row.expected, row.simulated, row.error)
            cells = ["" if math.isnan(value) else short(value * self.unit) for value in known[:-1]]
            cells[-1] += f" ± {short(row.error * self.unit, 1)}" if math.isfinite(row.error) else ""
            mark = " *" if row is self.best else ""
            lines.append([row.label, *cells, short(row.time / self.reference, 3) + mark])
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines]
        finite = self.mean[np.isfinite(self.mean)]
        head = f"{self.num_workers} workers, {short(finite.min())} to {short(finite.max())} s a step on average"
        never = self.num_workers - len(finite)
        head += f", {never} with jobs that never end" * bool(never)
        unit = "for L Delta / eps = 1"
        if self.sync_updates is not None:
            unit = f"which takes synchronous SGD {short(self.sync_updates)} updates"
        head += f"; q = sigma^2 / eps = {self.noise_to_signal:g}; seconds to the target, {unit}"
        return "\n".join([head, "", text[0], "-" * max(map(len, text)), *text[1:]])

    def plot(self) -> Any:
        """A figure: the workers' seconds, and the time to the target against m, S and R (extra `plot`)."""
        from . import advice_figure

        return advice_figure.draw(self)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write plan.csv (the rows), plan.json (what made them, the advice), README.md, and plan.svg with matplotlib.

        Raises:
            ValueError: where the folder holds results already (`overwrite=True` replaces it) or can't be written.
        """
        from .results import prepare

        folder = prepare(folder, overwrite=overwrite, also=("README.md", "plan.svg"))
        (folder / "plan.json").unlink(missing_ok=True)
        with open(folder / "plan.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([*Row._fields, "time", "ratio", "advised"])
            writer.writerows([*row, row.time, row.time / self.reference, row is self.best] for row in self.rows)
        spec: dict[str, Any] = {"noise_to_signal": self.noise_to_signal, "sync_updates": self.sync_updates}
        spec |= {"num_workers": self.num_workers, **self.spec, "advice": self.sentence, "call": self.best.call}
        spec |= {name: plain(getattr(self, name)) for name in ("mean", "spread", "rounds")}
        spec |= {"lines": len(self.rows), "format": 1}
        picture = ""
        if find_spec("matplotlib"):
            from .figures import save

            save(self.plot(), folder / "plan.svg")
            picture = "![plan](plan.svg)\n\n"
        page = f"# Plan for a cluster\n\n**{self.sentence}**\n\nIn code: `{self.best.call}`.\n\n"
        text = f"{page}{picture}```\n{self.table()}\n```\n\n{ABOUT}\n"
        (folder / "README.md").write_text(text, encoding="utf-8")
        (folder / "plan.json").write_text(json.dumps(spec, indent=2) + "\n", encoding="utf-8")
        return folder


def short(value, digits=4) -> str:
    """So many digits, never with an exponent."""
    return np.format_float_positional(value, digits, fractional=False, trim="-")


def plain(array):
    """Numbers for JSON, which knows no infinity: as text."""
    return [plain(one) for one in array] if np.ndim(array) else float(array) if np.isfinite(array) else str(array)
