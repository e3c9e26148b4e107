"""Scripts run as a shell would run them, but forked from a process that has imported what all of them need."""

import multiprocessing
import os
import runpy
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from typing import NamedTuple

NEEDED = ["jax", "optax", "tyro", "matplotlib.pyplot", "scipy.stats", "sklearn.datasets", "flax.linen"]
OURS = ["jaxasgd.comparison", "jaxasgd.sweeps", "jaxasgd.methods", "jaxasgd.plot", "jaxasgd.cli"]
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(NEEDED + OURS)  # importing starts no backend of JAX, and so no threads


class Done(NamedTuple):
    """What `subprocess.run` tells."""

    returncode: int
    stdout: str
    stderr: str


def run(script, *words, cwd) -> Done:
    """`python -W error script words...`"""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("stdout", "stderr")]
        process = FORKS.Process(target=child, args=(str(script), list(map(str, words)), str(cwd), files))
        process.start()
        process.join()
        return Done(process.exitcode, *(file.read_text() if file.exists() else "" for file in files))


def child(script, words, cwd, files):
    for number, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_CREAT | os.O_WRONLY), number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    os.chdir(cwd)
    sys.argv, sys.path[:0] = [script, *words], [str(Path(script).parent)]
    warnings.simplefilter("error")
    code = 1
    try:
        runpy.run_path(script, run_name="__main__")
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    sys.exit(code)
