"""Worker-time models: how many seconds each worker needs for one gradient.

A model is a law of durations for each worker. The j-th job a worker ever starts lasts the same number of seconds under
every policy (common random numbers), so a difference between two methods is never luck of the clock. Units are seconds
of the run's clock per unit of work. Every argument of a law is one number, or one number per worker; `num_workers` says
how many workers there are where all arguments are single numbers.
"""

from .base import BLOCK, CLOCK_STREAM, Durations, Times
from .laws import (
    custom,
    exponential,
    fixed,
    gamma,
    lognormal,
    pareto,
    shifted_exponential,
    uniform,
    with_straggler,
)

__all__ = [
    "BLOCK",
    "CLOCK_STREAM",
    "Durations",
    "Times",
    "custom",
    "exponential",
    "fixed",
    "gamma",
    "lognormal",
    "pareto",
    "shifted_exponential",
    "uniform",
    "with_straggler",
]
