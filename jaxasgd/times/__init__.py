"""Worker-time models: how many seconds each worker needs for one gradient, and what else a cluster does to its jobs.

A model begins with a law of durations for each worker. The j-th job a worker ever starts lasts the same number of
seconds under every policy (common random numbers), so a difference between two methods is never luck of the clock.
Units are seconds of the run's clock per unit of work. Every argument of a law is one number, or one number per worker;
`num_workers` says how many workers there are where all arguments are single numbers.

Functions that begin with a model give back a changed one, and so put together any cluster:

    laws        fixed, exponential, gamma, ..., poisson, custom;  ticks, never and with_straggler change one
    records     recorded, bootstrap (read_steps); from_schedule: those of a run
    speed       universal, with_power, day_and_night, with_outages: work goes slower, or waits
    presence    with_absences, with_failures: who leaves loses its job
    network     with_messages, with_server

`..._means` are seconds of whole fleets, for a law's `mean`.
"""

from .base import BLOCK, CLOCK_STREAM, Durations, Times
from .fitted import from_schedule
from .folded import folded_normal, half_normal
from .heavy import log_cauchy, never
from .integers import poisson, ticks
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
from .means import cvb_means, lognormal_means, power_law_means, two_group_means
from .network import with_messages, with_server
from .presence import with_absences, with_failures
from .records import bootstrap, read_steps, recorded
from .varying import day_and_night, universal, with_outages, with_power

__all__ = [
    "BLOCK",
    "CLOCK_STREAM",
    "Durations",
    "Times",
    "bootstrap",
    "custom",
    "cvb_means",
    "day_and_night",
    "exponential",
    "fixed",
    "folded_normal",
    "from_schedule",
    "gamma",
    "half_normal",
    "log_cauchy",
    "lognormal",
    "lognormal_means",
    "never",
    "pareto",
    "poisson",
    "power_law_means",
    "read_steps",
    "recorded",
    "shifted_exponential",
    "ticks",
    "two_group_means",
    "uniform",
    "universal",
    "with_absences",
    "with_failures",
    "with_messages",
    "with_outages",
    "with_power",
    "with_server",
    "with_straggler",
]
