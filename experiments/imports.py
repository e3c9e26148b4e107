"""What `import jaxasgd` costs beside the imports of JAX and optax.

Claim     A script pays for what it uses: `import jaxasgd` imports nothing, schedules need NumPy alone, and even all of
          the package costs about half of what JAX costs. The bound of `import jaxasgd`: 1.15 times `import jax, optax`.
Command   python experiments/imports.py
Cost      about a minute on 2 CPU cores; --quick about 10 seconds.
Expected  `import jaxasgd` 0.02 of `import jax, optax`; what builds schedules 0.2; what runs them 1.4; all of it 1.5.

Each row is a fresh interpreter, in turn; medians, and ratios of medians, so that a busy machine hurts all rows alike.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import tyro
from common import column, experiment, markdown, pick, read, seen, write

BASE = "import jax, optax"
CODES = {
    "nothing": "",
    "NumPy": "import numpy",
    BASE: BASE,
    "import jaxasgd": "import jaxasgd",
    "what builds a schedule": "import jaxasgd as ja; ja.simulate, ja.policies, ja.times",
    "what runs it": "import jaxasgd as ja; ja.simulate, ja.policies, ja.times, ja.run, ja.problems, ja.methods",
    "every public name": "from jaxasgd import *",
}


@dataclasses.dataclass
class Options:
    """Seconds of imports, each in a fresh interpreter."""

    out: Path = Path("results/imports")
    """Folder for seconds.csv and README.md."""
    rounds: int = 11
    """Interpreters started for each row."""
    quick: bool = False
    """One round, for tests."""
    redraw: bool = False
    """Only the page, from the numbers there are."""


def seconds(code) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - began


def measure(options: Options):
    for code in CODES.values():
        seconds(code)  # compiles the bytecode
    rows = []
    for turn in range(1 if options.quick else options.rounds):
        rows += [{"round": turn, "what": what, "seconds": seconds(code)} for what, code in CODES.items()]
    write(options.out / "seconds.csv", rows)


def values(out: Path) -> dict:
    rows = read(out / "seconds.csv")
    middle = {what: float(np.median(column(pick(rows, what=what), "seconds"))) for what in seen(rows, "what")}
    empty = middle["nothing"]
    ratio = {what: (seconds - empty) / (middle[BASE] - empty) for what, seconds in middle.items()}
    code = lambda what: f"`{CODES[what]}`" if CODES[what] else ""
    lines = [[what, code(what), f"{middle[what]:.3f}", f"{ratio[what]:.2f}"] for what in middle]
    return {
        "table": markdown(["what", "code", "seconds", "over JAX and optax"], lines),
        "rounds": len(rows) // len(middle),
        "bare": f"{ratio['import jaxasgd']:.2f}",
        "schedule": f"{ratio['what builds a schedule']:.2f}",
        "all": f"{ratio['every public name']:.2f}",
    }


if __name__ == "__main__":
    experiment(__file__, tyro.cli(Options, description=__doc__), measure, lambda out: {}, values)
