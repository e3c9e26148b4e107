"""Clocks from schedules: the step times of a recorded run, to be simulated again."""

from __future__ import annotations

import numpy as np

from ..checks import kind, word
from ..schedule import Schedule
from .base import Times
from .laws import lognormal
from .records import bootstrap, recorded

LAWS = {"recorded": recorded, "bootstrap": bootstrap}


def from_schedule(schedule: Schedule, how: str = "bootstrap", *, of: str = "jobs") -> Times:
    """A clock whose workers take the seconds per unit of work that those of a schedule took.

    The simulation of what was measured: `ja.simulate(policy, ja.times.from_schedule(recorded), num_updates=1000)`.

    Args:
        schedule: recorded, or simulated. Its rows are the steps of each worker, in order; jobs without a row are not
            counted (where long ones were cancelled the fit is too fast).
        how: "bootstrap": draws from the worker's steps, each as likely; "recorded": plays them again, the first
            following the last; "lognormal": t = exp(mu + sigma z), mu and sigma the mean and the standard deviation of
            the worker's log t (maximum likelihood).
        of: "jobs": the seconds of a job per unit, `(time - start) / size`, messages and the queue at the server
            included; "work": those that its worker computed, `seconds / size`; "cycles": those from one arrival of its
            worker to the next, what it waits for its next job included (for policies that give it one at once).

    A worker of which nothing has arrived never delivers ("lognormal" needs a step of everyone).

    Raises:
        ValueError: for something else; for "lognormal" where a worker has no step, or one of 0 seconds.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.lognormal([1.0, 4.0], sigma=0.5)
        >>> schedule = ja.simulate(ja.policies.asgd(), times, num_updates=5000)
        >>> ja.times.from_schedule(schedule, "lognormal").mean.round(1).tolist()
        [1.0, 4.0]
        >>> again = ja.simulate(ja.policies.asgd(), ja.times.from_schedule(schedule, "recorded"), num_updates=5000)
        >>> again.worker.tolist() == schedule.worker.tolist()
        True
    """
    kind("schedule", schedule, Schedule, "a ja.Schedule, recorded by ja.runtimes.threads for example")
    word("how", how, *LAWS, "lognormal")
    word("of", of, "jobs", "work", "cycles")
    rows = np.flatnonzero(schedule.size > 0)
    rows = rows[np.argsort(schedule.worker[rows], kind="stable")]
    worker, time = schedule.worker[rows], schedule.time[rows]
    firsts = np.searchsorted(worker, np.arange(1, schedule.num_workers))
    seconds = schedule.seconds[rows] if of == "work" else time - schedule.start[rows]
    if of == "cycles":
        same = worker[1:] == worker[:-1]
        seconds[1:] = np.where(same, np.diff(time), seconds[1:])  # the first job of a worker has none before it
    steps = np.split(seconds / schedule.size[rows], firsts)
    if how in LAWS:
        return LAWS[how]([mine if len(mine) else [np.inf] for mine in steps])
    for i, mine in enumerate(steps):
        if not len(mine) or not (mine > 0).all():
            got = "a step of 0 seconds" if len(mine) else "none"
            raise ValueError(
                f"times.from_schedule: a log-normal law is fitted to one step or more above 0 seconds; worker {i} has "
                f'{got}. Take how="bootstrap".'
            )
    logs = [np.log(mine) for mine in steps]
    mu, sigma = np.array([log.mean() for log in logs]), np.array([log.std() for log in logs])
    return lognormal(np.exp(mu + sigma**2 / 2), sigma)
