"""Runtimes: asynchronous SGD that really happens. The same policies, rules and methods; a Schedule comes out.

`threads` has a thread for each worker, in one process; `ray` an actor for each, on one machine or many.
`simulation.Server` runs the policy, `live.LiveFleet` stands for the workers, `parameters.ParameterServer` computes,
`working.Worker` is a worker's side.
"""

from .cluster_run import ray
from .live import Interrupted, WorkerFailed
from .local import threads

__all__ = ["Interrupted", "WorkerFailed", "ray", "threads"]
