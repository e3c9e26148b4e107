"""Policies: who counts, when the server updates, who starts again. One small file per family; NumPy only."""

from .asynchronous import asgd
from .base import GRADIENT, JOINED, LOST, TIMEOUT, Decision, Event, Job, Policy
from .rounds import synchronous

__all__ = ["GRADIENT", "JOINED", "LOST", "TIMEOUT", "Decision", "Event", "Job", "Policy", "asgd", "synchronous"]
