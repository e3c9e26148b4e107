"""Policies: who counts, when the server updates, who starts again. One small file per family; NumPy only."""

from .asynchronous import asgd
from .base import GRADIENT, JOINED, LOST, TIMEOUT, Arrivals, Decision, Event, Job, Policy, vectorized
from .batches import malenia, rennala
from .buffers import buffered
from .dispatching import dispatched
from .gates import ssp
from .gradient_tables import aggregated, ringleader
from .inconsistent import hogwild
from .pipelines import double_buffered, pipelined
from .rounds import synchronous
from .thresholds import fastest, ringmaster
from .trials import allocate_trials, mindflayer, success_within

__all__ = [
    "GRADIENT",
    "JOINED",
    "LOST",
    "TIMEOUT",
    "Arrivals",
    "Decision",
    "Event",
    "Job",
    "Policy",
    "aggregated",
    "allocate_trials",
    "asgd",
    "buffered",
    "dispatched",
    "double_buffered",
    "fastest",
    "hogwild",
    "malenia",
    "mindflayer",
    "pipelined",
    "rennala",
    "ringleader",
    "ringmaster",
    "ssp",
    "success_within",
    "synchronous",
    "vectorized",
]
