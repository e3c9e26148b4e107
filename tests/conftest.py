"""The suite runs strict: 8 CPU devices, rank promotion raises, warnings are errors."""

import os

os.environ.setdefault("MPLBACKEND", "Agg")
# most of the time goes into compiling: without LLVM's optimizations it is half as long (`make test-all` has them)
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def x64():
    """Float64 where exactness is meant."""
    with jax.enable_x64(True):
        yield
