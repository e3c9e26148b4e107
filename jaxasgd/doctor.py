"""`jaxasgd doctor`: what this machine has for jaxasgd, and the command that adds what is missing."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec

EXTRAS = {  # extra: what it is for, and a module of it
    "cli": ("the command, progress bars", ("tyro", "tqdm")),
    "plot": ("figures", ("matplotlib",)),
    "data": ("scikit-learn's data sets, LIBSVM files", ("sklearn",)),
    "nets": ("networks and transformers", ("flax",)),
    "checkpoint": ("runs that go on after a kill", ("orbax.checkpoint",)),
    "report": ("results as an HTML page", ("jinja2", "markdown_it")),
    "pandas": ("data frames", ("pandas",)),
    "tensorboard": ("runs in TensorBoard", ("tensorboardX",)),
    "ray": ("workers in processes of their own", ("ray",)),
}
CORE = ("jaxasgd", "jax", "jaxlib", "optax", "numpy")
SETS = {"mnist": "MNIST", "libsvm": "LIBSVM files", "text": "tiny Shakespeare", "delays": "recorded delays"}


@dataclass(frozen=True)
class Finding:
    """A line of the report: good, or what to do about it."""

    what: str
    told: str
    remedy: str = ""

    def __str__(self):
        return f"{'  ok' if not self.remedy else 'miss'}  {self.what.ljust(12)}  {self.told}" + (
            f"\n      {' ' * 12}  {self.remedy}" if self.remedy else ""
        )


def findings() -> list[Finding]:
    """Versions, devices, extras and data, in this order."""
    return [*versions(), *devices(), *extras(), *data()]


def versions():
    found = ", ".join(f"{name} {metadata.version(name)}" for name in CORE)
    yield Finding("versions", f"Python {platform.python_version()}, {found}")


def devices():
    """What JAX computes on; whether it overlooks a GPU."""
    import jax

    kinds: dict[tuple[str, str], list] = {}
    for device in jax.devices():
        kinds.setdefault((device.platform, device.device_kind), []).append(device)
    told = ", ".join(f"{len(some)} × {kind} ({name})" for (name, kind), some in kinds.items())
    x64 = "float64 on" if jax.config.jax_enable_x64 else "float32"  # type: ignore[attr-defined]  # made at run time
    gpu = shutil.which("nvidia-smi") and all(name == "cpu" for name, _ in kinds)
    remedy = 'an NVIDIA GPU is not used: pip install "jaxasgd[cuda]"' if gpu else ""
    yield Finding("devices", f"{told}; {os.cpu_count()} CPU cores; {x64}", remedy)


def extras():
    for name, (purpose, modules) in EXTRAS.items():
        missing = [module for module in modules if not there(module)]
        remedy = f'pip install "jaxasgd[{name}]"' if missing else ""
        yield Finding(name, purpose + (f": no {', '.join(missing)}" if missing else ""), remedy)


def there(module) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of a package above it
        return False


def data():
    """The folder of data sets, and which of them are in it."""
    from .problems.data import folder

    try:
        home = folder()
    except FileNotFoundError as error:
        yield Finding("data folder", str(error), "export JAXASGD_DATA=/path/to/a/folder")
        return
    if home is None:
        told = "JAXASGD_DATA is not set: scikit-learn's sets and an excerpt of tiny Shakespeare stand in"
        yield Finding("data folder", told, "export JAXASGD_DATA=FOLDER, with mnist/ in it for example")
        return
    for name, title in SETS.items():
        here = (home / name).is_dir()
        yield Finding(name, f"{title}: {home / name}", "" if here else f"no such folder: make {home / name}")


def examine(said):
    """Print what there is."""
    found = findings()
    print("\n".join(map(str, found)))
    missing = [one.what for one in found if one.remedy]
    print(f"\n{'Nothing is missing.' if not missing else 'What is missed is only needed for what stands beside it.'}")
