"""jaxasgd: synchronous and asynchronous SGD, simulated exactly, in JAX.

A clock and a policy make a `Schedule` (who arrives when, what it had read); a problem and a rule are run on it.
"""

from . import fanout, methods, plot, policies, problems, results, rules, runtimes, schedules, statistics, times, work
from .advice import plan_cluster
from .checkpoints import Checkpoint
from .cluster import ClusterPlan
from .comparison import Comparison, compare
from .engine import History, Status, run
from .fanout import spread
from .methods import Method, Paper, cite, late, published
from .planning import Plan, plan, stack
from .policies import Decision, Event, Job, Policy
from .schedule import Schedule
from .simulation import simulate
from .sweep_results import Sweep
from .sweeps import sweep

__version__ = "0.1.0"

__all__ = [
    "Checkpoint",
    "ClusterPlan",
    "Comparison",
    "Decision",
    "Event",
    "History",
    "Job",
    "Method",
    "Paper",
    "Plan",
    "Policy",
    "Schedule",
    "Status",
    "Sweep",
    "cite",
    "compare",
    "fanout",
    "late",
    "methods",
    "plan",
    "plan_cluster",
    "plot",
    "policies",
    "problems",
    "published",
    "results",
    "rules",
    "run",
    "runtimes",
    "schedules",
    "simulate",
    "spread",
    "stack",
    "statistics",
    "sweep",
    "times",
    "work",
]
