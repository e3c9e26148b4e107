"""Messages between workers and server, and a server whose own work takes time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from .base import Times, model, spec
from .parts import messages, seconds


def with_messages(times: Times, down: ArrayLike | Times | None = None, up: ArrayLike | Times | None = None) -> Times:
    """The same work on the same luck, but every job's parameters travel `down` to its worker, and its gradient `up`.

    A job handed out at s that computes for w seconds reaches the server at s + down + w + up; its worker gets the next
    one then. The parameters are those of second s. Messages take the same seconds whatever the size of the job and the
    power of the worker, and never wait for each other. Seconds of both kinds, h_i and tau_i, are those of Shadowheart
    SGD (Tyurin, Pozzi, Ilin and Richtarik, NeurIPS 2024, arXiv:2402.04785).

    The mean is mean + down + up with the means of the two (exact); nan where the power changes (`with_power`).

    Args:
        times: a model.
        down, up: seconds, finite, 0 or more: one number, or one per worker; or a model with as many workers, drawn for
            every job. None: no time.

    Raises:
        ValueError: other numbers, a model with another number of workers, or one that has such messages already.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.with_messages(ja.times.fixed([1.0, 1.0]), down=0.5, up=[0.25, 1.0])
        >>> times.mean
        array([1.75, 2.5 ])
        >>> run = ja.simulate(ja.policies.asgd(), times, until=3.5)
        >>> run.time.tolist(), run.seconds.tolist()
        ([1.75, 2.5, 3.5], [1.0, 1.0, 1.0])
    """
    model("with_messages", times)
    parts, args = given("with_messages", times, times.num_workers, "one model of their sum", down=down, up=up)
    made = replace(times, name="with_messages", **parts)
    extra = messages(made) - messages(times)
    varies = times.power is not None and not times.power.constant
    mean = np.where((extra > 0) & varies, np.nan, times.mean + extra)
    return replace(made, mean=mean, args={"base": spec(times)} | args)


def with_server(times: Times, receive: float | Times | None = None, update: float | Times | None = None) -> Times:
    """A server that takes `receive` seconds for every gradient that arrives, and `update` seconds for every update.

    Meanwhile later gradients wait, first come first served. A gradient's time in the schedule is when the server is
    done with it; then its worker starts again. The k-th gradient and the k-th update take the same seconds under every
    policy. With n workers of exponential times (rate l each) and updates of exponential times (rate m), asynchronous
    SGD makes m (1 - p) updates a second, 1 / p = sum_k n! / (n - k)! (l / m)^k, k = 0, ..., n: the machine-repairman
    model (e.g. L. Kleinrock, Queueing Systems I, 1975).

    The mean is that of the model: a worker's own seconds, without those at the server.

    Args:
        times: a model.
        receive, update: seconds, finite, 0 or more; or a model of one worker, drawn each time. None: no time.

    Raises:
        ValueError: other numbers, a model of more workers, or a model whose server has such seconds already.

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.with_server(ja.times.fixed(1.0, num_workers=2), receive=0.25, update=0.5)
        >>> ja.simulate(ja.policies.asgd(), times, until=4.0).time.tolist()
        [1.75, 2.5, 3.5]
    """
    model("with_server", times)
    parts, args = given("with_server", times, 1, "one model of their sum", receive=receive, update=update)
    return replace(times, name="with_server", args={"base": spec(times)} | args, **parts)


def given(function: str, times: Times, num_workers: int, remedy: str, **values) -> tuple[dict, dict]:
    """The parts that are given, none of which the model has; with what a spec file says of them."""
    parts, args = {}, {}
    for name, value in values.items():
        part, args[name] = seconds(function, name, value, num_workers)
        if part is not None and getattr(times, name) is not None:
            raise ValueError(
                f"times.{function}: {times.name!r} has {name} already, of {getattr(times, name).mean.tolist()} seconds "
                f"in the mean; give it once, {remedy}."
            )
        if part is not None:
            parts[name] = part
    return parts, args
