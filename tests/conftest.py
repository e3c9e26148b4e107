"""The suite runs strict: 8 CPU devices, rank promotion raises, warnings are errors."""

import gc
import os
import shutil
from importlib import metadata
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")
# most of the time goes into compiling: in the quickest way it is a third as long (`make test-all` has XLA's own)
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_parallel_codegen_split_count=1"
    # later ones know no other way than the new one, and not the word
    + " --xla_cpu_use_fusion_emitters=false"
    * metadata.version("jaxlib").startswith("0.10."),
)

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")


FIRST = {"test_ray", "test_kills", "test_disk", "test_distributed", "test_notebook", "test_experiments"}


def pytest_collection_modifyitems(items):
    """What takes long and waits much begins first: while it waits others work, and none is left alone with it."""
    items.sort(key=lambda item: item.path.stem not in FIRST)


def pytest_collection_finish(session):
    """What is there now stays: Python's collector need not go through it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def x64():
    """Float64 where exactness is meant."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def good(tmp_path_factory):
    """A folder with a good file of each kind."""
    import good_files

    folder = tmp_path_factory.mktemp("good")
    good_files.write(folder)
    return folder


@pytest.fixture
def here(good, tmp_path):
    """A copy of it, to be spoiled."""
    return Path(shutil.copytree(good, tmp_path / "here"))
