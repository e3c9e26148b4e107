"""jaxasgd: synchronous and asynchronous SGD, simulated exactly, in JAX.

A clock and a policy make a `Schedule` (who arrives when, what it had read); a problem and a rule are run on it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for editors and type checkers; at run time a name is imported when it is first used (_HOMES)
    from . import (
        fanout,
        methods,
        plot,
        policies,
        problems,
        results,
        rules,
        runtimes,
        schedules,
        statistics,
        times,
        work,
    )
    from .advice import plan_cluster
    from .checkpoints import Checkpoint
    from .cluster import ClusterPlan
    from .comparison import Comparison, compare
    from .doubts import DoubtWarning
    from .engine import History, Status, run
    from .fanout import spread
    from .methods import Method, Paper, cite, late, published
    from .plans import Plan, plan, stack
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
    "DoubtWarning",
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

_HOMES = {
    "Checkpoint": "checkpoints",
    "ClusterPlan": "cluster",
    "Comparison": "comparison",
    "Decision": "policies",
    "DoubtWarning": "doubts",
    "Event": "policies",
    "History": "engine",
    "Job": "policies",
    "Method": "methods",
    "Paper": "methods",
    "Plan": "plans",
    "Policy": "policies",
    "Schedule": "schedule",
    "Status": "engine",
    "Sweep": "sweep_results",
    "cite": "methods",
    "compare": "comparison",
    "late": "methods",
    "plan": "plans",
    "plan_cluster": "advice",
    "published": "methods",
    "run": "engine",
    "simulate": "simulation",
    "spread": "fanout",
    "stack": "plans",
    "sweep": "sweeps",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    elif name in __all__:
        value = importlib.import_module(f".{name}", __name__)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
