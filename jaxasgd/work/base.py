"""The work contract: what a worker computes from what it read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..checks import function, whole


class Work(NamedTuple):
    """Two pure functions, and the size of a job.

    init(params, num_workers) -> table
        the workers' own state, every array with a leading axis [num_workers]; () where they keep none.
    compute(gradient, stale, state, samples, size) -> (update, state)
        `gradient(params, sample)` of the problem; `stale` is what the worker was sent; `state` its row of the table;
        `samples` have a leading axis [max_size] of which the first `size` count; `update` is what arrives at the
        server: a pytree like the parameters, in the role of a gradient.
    size
        units in a job: a number, or a tuple of one for each worker; `simulate` multiplies what the policy asks for.

    Numbers in the functions (learning rates, momenta) may be traced: they become arguments of the compiled run.
    """

    init: Callable
    compute: Callable
    size: Any = 1

    def sizes(self, num_workers: int) -> list[int]:
        """The units in a job of each worker."""
        num_workers = whole("num_workers", num_workers, 1)
        if isinstance(self.size, tuple):
            if len(self.size) != num_workers:
                raise ValueError(
                    f"the work says how large the jobs of {len(self.size)} workers are, and there are {num_workers}."
                )
            return [whole(f"size[{i}]", size, 1, hint=" units in a job") for i, size in enumerate(self.size)]
        return [whole("size", self.size, 1, hint=" units in a job, or a tuple of one for each worker")] * num_workers

    def checked(self) -> Work:
        """The same, once its functions are functions."""
        function("the init of a work", self.init, "(params, num_workers)")
        function("the compute of a work", self.compute, "(gradient, stale, state, samples, size)")
        return self


def no_state(params, num_workers):
    """The table of workers that remember nothing."""
    return ()
