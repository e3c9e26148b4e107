"""Method: a policy and a rule, and for some what the workers compute and what the server sends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import optax

from ..checks import flag, kind, share, shown, string, transformation, whole
from ..policies import Policy
from ..policies.base import check_policy
from ..times import Times
from ..work import Work, gradient


@dataclass(frozen=True)
class Late:
    """A part of a method that is made when the number of workers and the clock are known."""

    make: Callable
    clock: str = ""  # what it takes from the clock; "" where it can do without

    def bind(self, num_workers: int, times: Times | None) -> Any:
        """The part itself, for so many workers and this clock (None: it is not known)."""
        if self.clock and times is None:
            raise ValueError(
                f"this method takes {self.clock} from the clock, and here is none: bind it first, "
                "method.bind(times.num_workers, times)."
            )
        return self.make(num_workers, times)


def late(make: Callable, *, clock: str = "") -> Any:
    """Bind a part late: `make(num_workers, times) -> part`; `times` is None where no clock is known.

    Args:
        make: a function of the number of workers and the clock.
        clock: what it takes from the clock, in words, if it can't do without: "the workers' mean seconds".

    Example:
        >>> import optax
        >>> import jaxasgd as ja
        >>> rule = ja.late(lambda num_workers, times: optax.sgd(0.1 / num_workers))
        >>> method = ja.Method(ja.policies.asgd(), rule)
        >>> bound = method.bind(num_workers=4, times=None)
        >>> bound.rule.update(1.0, bound.rule.init(0.0))[0]
        -0.025
    """
    if not callable(make):
        raise ValueError(f"a late part is a function (num_workers, times) -> part; got {shown(make)}.")
    return Late(make, string("clock", clock))


@dataclass(frozen=True)
class Method:
    """A published method: who counts and when (policy), what is done with the numbers (rule).

    Any part may be `late(make)`.

    Attributes:
        policy: a `Policy`.
        rule: an optax transformation, applied at every update to the aggregate; may ask for `delay`, `version`,
            `read`, `worker`, `stale`, `step`, `weight`, `progress` and the policy's tags as keyword arguments.
        arrival: None, or an optax transformation applied to every used gradient before it is aggregated, with the
            same keyword arguments (and a state of its own).
        work: what a worker computes.
        send: None (the parameters), or `send(params, rule_state, worker_state) -> pytree` that a worker is handed,
            evaluated after every update.
        private: what is sent is for the worker whose gradient made the version, and for nobody else (a replica of its
            own); `run` checks that each starts only there.
        name: as in the paper.
        info: its numbers, for a spec.
        papers: where it comes from, for `ja.cite`.
    """

    policy: Policy
    rule: Any
    arrival: Any = None
    work: Work = field(default_factory=gradient)
    send: Callable | None = None
    private: bool = False
    name: str = ""
    info: Mapping[str, Any] = field(default_factory=dict)
    papers: tuple = ()

    def __post_init__(self):
        if not isinstance(self.policy, Late):
            check_policy(self.policy, ", or late")
        kind("a method's work", self.work, (Work, Late), "a ja.work.Work, ja.work.gradient() for one")
        if isinstance(self.work, Work):
            self.work.checked()
        if not (self.send is None or isinstance(self.send, Late) or callable(self.send)):
            raise ValueError(
                f"a method's send is a function (params, rule_state, worker_state); got {shown(self.send)}."
            )
        if not isinstance(self.rule, Late):
            transformation("a method's rule", self.rule)
        if not (self.arrival is None or isinstance(self.arrival, Late)):
            transformation("a method's arrival", self.arrival)
        flag("a method's private", self.private)
        string("a method's name", self.name)
        kind("a method's info", self.info, Mapping, 'a mapping, {"learning_rate": 0.1} for example')
        if not isinstance(self.papers, tuple) or not all(hasattr(paper, "bibtex") for paper in self.papers):
            raise ValueError(f"a method's papers is a tuple of ja.Paper(...); got {shown(self.papers)}.")

    def bind(self, num_workers: int, times: Times | None = None) -> Method:
        """The method for so many workers and this clock, with no late part left."""
        num_workers = whole("num_workers", num_workers, 1)
        if not (times is None or hasattr(times, "durations")):
            raise ValueError(f"times is a worker-time model of ja.times, or None; got {shown(times)}.")
        made = {
            part.name: getattr(self, part.name).bind(num_workers, times)
            for part in fields(self)
            if isinstance(getattr(self, part.name), Late)
        }
        return replace(self, **made)


def sgd(learning_rate, momentum=None, *, nesterov=False):
    """`optax.sgd`, whose momentum is None, a number from 0 to 1, or a tracer."""
    if momentum is not None:
        share("momentum", momentum)
    return optax.sgd(learning_rate, momentum, nesterov=nesterov)
