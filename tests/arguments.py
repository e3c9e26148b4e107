"""What the arguments of public functions may not be: kinds of arguments, and for each function a call that is right.

`test_bad_arguments.py` goes through it: one argument at a time is wrong, and all others right.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import cases
import jax.numpy as jnp
import numpy as np
import optax

import jaxasgd as ja

T, P, R, W, PR, S = ja.times, ja.policies, ja.rules, ja.work, ja.problems, ja.schedules
NAN, INF = math.nan, math.inf


class Kind(NamedTuple):
    """Words that the message holds, values that are wrong, and the argument's name there, if it is another."""

    says: str
    bad: tuple
    name: str = ""

    def but(self, says):
        """The same values, and other words."""
        return self._replace(says=says)

    def called(self, name):
        """The same, where the message has another name for it."""
        return self._replace(name=name)

    def without(self, *values):
        """Without values that are right here: None, where the argument may be left out."""
        fits = lambda value: not any(value is other or (value == other) is True for other in values)
        return self._replace(bad=tuple(value for value in self.bad if fits(value)))


# numbers: where they may be traced, and where not
COUNT = Kind("whole number", (None, "x", 0, -1, 1.5, NAN, True, [2]))
COUNT0 = Kind("whole number", (None, "x", -1, 1.5, INF, True, [2], np.ones((2, 2))))
FREE = Kind("finite number", (None, "x", NAN, INF, True, [1.0], 1j))
AMOUNT = Kind("finite number, 0 or more", (*FREE.bad, -1.0))
ABOVE = Kind("finite number, above 0", (*AMOUNT.bad, 0.0))
SHARE = Kind("number from 0 to 1", (None, "x", -0.1, 1.1, NAN, True, [0.5]))
SIGNED = Kind("number between -1 and 1", (None, "x", -1.1, 1.1, NAN, True, [0.5]))
BELOW1 = Kind("from 0 to 1, less than 1", (*SHARE.bad, 1.0))
RATE = AMOUNT.but("finite number, 0 or more")
LIMIT = Kind("0 or more", (None, "x", NAN, -1.0, [1.0]))  # may be infinite
STEPS_MADE = Kind("whole number", (None, "x", 0, 1.5, [0]))
# one number, or one for each worker
SECONDS = Kind("", ("x", None, NAN, INF, -1.0, [], [1.0, -1.0], [1.0, NAN], [[1.0], [1.0, 2.0]], 1j))
POSITIVE = Kind("", (*SECONDS.bad, 0.0))
STEPS = Kind("", (None, NAN, -1.0, [], [[1.0, -1.0]], [["x"]], 1j))
CHANCE = Kind("", (*SECONDS.bad, 1.1))
COUNTS = Kind("", ("x", -1, 1.5, NAN, [1.5], [-1]))
VECTOR = Kind("", ("x", NAN, np.ones((2, 3, 4)), {}, 1j))
# words, flags, functions, objects
FLAG = Kind("is True or False", (1, "yes", None, np.ones(2)))
WORD = Kind('"', ("other", 1, ["pure"], np.ones(2)))
STRING = Kind("is a string", (None, 1, ["a"]))
FUNCTION = Kind("function", (None, "f", 1.0, [abs]))
RULE = Kind("is an optax transformation", (None, 0.1, "sgd", optax.sgd))
MAPPING = Kind("mapping", (3, "x", [1], np.ones(2)))
PLACE = Kind("a string or a pathlib.Path", (None, 3, ["a"], b"a"))
MODEL = Kind("model", (None, 1.0, "exponential", [1.0]))
SCHEDULE = Kind("Schedule", (None, 3, "schedule", P.asgd()))
POLICY = Kind("ja.Policy", (None, "asgd", P.asgd, optax.sgd(0.1)))
PROBLEM = Kind("ja.problems.Problem", (None, abs, 3))
KEY = Kind("jax.random.key(0)", (0, "key", np.zeros(2, np.uint32)))
DEVICES = Kind("devices", ([], 2, ["cpu:0"]))
SEEDS = Kind("seeds", (0, -1, 1.5, "x", [], [1, 1], [0.5]))
AXIS = Kind("is an Axes of matplotlib", (3, "x"))
RESULTS = Kind("ja.Comparison", (None, 3, "table"))
LEVEL = Kind("probability between 0 and 1", (0, 1, -1.0, NAN, None, "x", [0.5]))
ANY = Kind("", ())  # nothing is wrong by itself: pytrees of the caller's, settings that others check


class Row(NamedTuple):
    """A public function; argument -> what is right, and its kind; and what is done with the result."""

    function: Callable
    arguments: Mapping[str, tuple[Any, Kind]]
    then: Callable = lambda made: made


# ------------------------------------------------------------------- what is right

TIMES = T.fixed([1.0, 2.0, 3.0])
SGD, TWO = optax.sgd(0.1), [1.0, 2.0]
WORKERS = (2, COUNT.without(None).but("integer >= 1"))  # may be left out: the other arguments know it
N = (3, COUNT.but("integer >= 1"))
SCHEDULE0 = ja.simulate(P.asgd(), TIMES, num_updates=6)
QUADRATIC = PR.quadratic(dim=3)
X, Y = np.arange(12.0).reshape(6, 2), np.arange(6.0)
ones = lambda rng, worker, count: np.ones(count)
mean_square = lambda w, batch: jnp.mean((batch[0] @ w - batch[1]) ** 2)


def played(policy, times=TIMES):
    """Some things are known with the number of workers only."""
    return ja.simulate(policy, times, num_updates=4)


def clocked(times):
    return played(P.asgd(), times)


def bound(method):
    times = cases.CLOCKS["lognormal"]()
    return ja.simulate(method.bind(cases.N, times), times, num_updates=2)


# ------------------------------------------------------------------- the tables

TIMES_ROWS = {
    "bootstrap": Row(T.bootstrap, {"steps": ([TWO, TWO], STEPS)}, clocked),
    "custom": Row(
        T.custom, {"draw": (ones, FUNCTION), "num_workers": N, "mean": (1.0, SECONDS.without(None, INF)),
                   "name": ("mine", STRING)}, clocked),
    "cvb_means": Row(
        T.cvb_means, {"num_workers": N, "mean": (1.0, POSITIVE), "cv": (0.6, POSITIVE),
                      "seed": (0, COUNT0.but("integer >= 0"))}),
    "day_and_night": Row(
        T.day_and_night, {"times": (TIMES, MODEL), "period": (100.0, POSITIVE), "night": (0.5, CHANCE),
                          "power": (0.2, SECONDS), "offset": (0.0, SECONDS)}),
    "exponential": Row(T.exponential, {"mean": (TWO, POSITIVE), "num_workers": WORKERS}),
    "fixed": Row(T.fixed, {"mean": (TWO, POSITIVE), "num_workers": WORKERS}),
    "folded_normal": Row(
        T.folded_normal, {"center": (1.0, SECONDS), "scale": (TWO, POSITIVE), "shift": (0.0, SECONDS),
                          "num_workers": WORKERS}),
    "from_schedule": Row(
        T.from_schedule, {"schedule": (SCHEDULE0, SCHEDULE), "how": ("bootstrap", WORD), "of": ("jobs", WORD)}),
    "gamma": Row(T.gamma, {"mean": (TWO, POSITIVE), "cv": (0.1, POSITIVE), "num_workers": WORKERS}),
    "half_normal": Row(T.half_normal, {"shift": (TWO, SECONDS), "scale": (TWO, POSITIVE), "num_workers": WORKERS}),
    "log_cauchy": Row(
        T.log_cauchy, {"median": (TWO, POSITIVE), "scale": (0.1, POSITIVE), "shift": (0.0, SECONDS),
                       "num_workers": WORKERS}),
    "lognormal": Row(T.lognormal, {"mean": (TWO, POSITIVE), "sigma": (0.1, SECONDS), "num_workers": WORKERS}),
    "lognormal_means": Row(
        T.lognormal_means, {"num_workers": N, "median": (1.0, POSITIVE), "sigma": (1.0, SECONDS),
                            "seed": (0, COUNT0.but("integer >= 0"))}),
    "never": Row(T.never, {"times": (TIMES, MODEL), "probability": (0.1, CHANCE)}),
    "pareto": Row(
        T.pareto, {"mean": (None, SECONDS.without(None, INF)), "alpha": (1.5, POSITIVE), "minimum": (TWO, POSITIVE),
                   "num_workers": WORKERS}),
    "poisson": Row(T.poisson, {"mean": (TWO, POSITIVE), "shift": (1.0, SECONDS), "num_workers": WORKERS}),
    "power_law_means": Row(
        T.power_law_means, {"num_workers": N, "power": (0.5, FREE.but("")), "scale": (1.0, POSITIVE),
                            "shift": (0.0, SECONDS)}),
    "read_steps": Row(T.read_steps, {"path": ("none.npz", PLACE)}),
    "recorded": Row(T.recorded, {"steps": ([TWO, TWO], STEPS), "after": ("repeat", WORD)}),
    "shifted_exponential": Row(
        T.shifted_exponential, {"shift": (TWO, SECONDS), "mean": (TWO, POSITIVE), "num_workers": WORKERS}),
    "ticks": Row(T.ticks, {"times": (TIMES, MODEL), "tick": (1.0, POSITIVE)}),
    "two_group_means": Row(
        T.two_group_means, {"num_workers": N, "fast": (1.0, POSITIVE), "slow": (9.0, POSITIVE),
                            "share": (0.5, CHANCE)}),
    "uniform": Row(T.uniform, {"low": ([0.0, 1.0], SECONDS), "high": (TWO, POSITIVE), "num_workers": WORKERS}),
    "universal": Row(
        T.universal, {"power": ([TWO], VECTOR), "changes": ([0.0, 1.0], VECTOR),
                      "period": (2.0, POSITIVE.without(None)),
                      "num_workers": (1, WORKERS[1].without(True))}, clocked),
    "with_absences": Row(T.with_absences, {"times": (TIMES, MODEL),
                                           "absences": ({0: [(1.0, 2.0)]}, MAPPING.but("{worker: "))}),
    "with_failures": Row(
        T.with_failures, {"times": (TIMES, MODEL), "up": (9.0, POSITIVE), "down": (1.0, POSITIVE)}),
    "with_messages": Row(
        T.with_messages, {"times": (TIMES, MODEL), "down": (1.0, SECONDS.without(None)),
                          "up": (1.0, SECONDS.without(None))}),
    "with_outages": Row(T.with_outages, {"times": (TIMES, MODEL), "up": (9.0, POSITIVE), "down": (1.0, POSITIVE)}),
    "with_power": Row(
        T.with_power, {"times": (TIMES, MODEL), "power": ([TWO] * 3, VECTOR), "changes": ([0.0, 1.0], VECTOR),
                       "period": (2.0, POSITIVE.without(None))}, clocked),
    "with_server": Row(
        T.with_server, {"times": (TIMES, MODEL), "receive": (1.0, SECONDS.without(None)),
                        "update": (1.0, SECONDS.without(None))}),
    "with_straggler": Row(
        T.with_straggler, {"times": (TIMES, MODEL), "worker": (0, COUNT0.but("")), "factor": (9.0, POSITIVE)}),
    "Times": Row(
        T.Times, {"name": ("mine", STRING), "mean": (TWO, Kind("", ("x", -1.0, [], [-1.0], 1j))),
                  "draw": (ones, FUNCTION),
                  "args": ({}, ANY), "table": (None, FUNCTION.without(None))}
        | dict.fromkeys(("power", "absences", "down", "up", "receive", "update"), (None, ANY))),
    "Times.durations": Row(TIMES.durations, {"seed": (0, COUNT0.but("integer >= 0"))}),
}  # fmt: skip
POLICIES_ROWS = {
    "aggregated": Row(P.aggregated, {"begin": ("wait", WORD)}),
    "allocate_trials": Row(
        P.allocate_trials, {"timeouts": (TWO, SECONDS), "success": (0.5, CHANCE), "noise": (1.0, AMOUNT)}),
    "buffered": Row(
        P.buffered, {"batch": (2, COUNT), "hold": (False, FLAG), "order": ("idle", WORD),
                     "concurrency": (2, COUNT.without(None))}, played),
    "dispatched": Row(
        P.dispatched, {"order": ("random", WORD), "waiting": (1, COUNT), "concurrency": (3, COUNT.without(None))}),
    "double_buffered": Row(P.double_buffered, {"batch": (2, COUNT.without(None))}),
    "fastest": Row(P.fastest, {"seconds": ([1.0, 2.0, 3.0], SECONDS.without(INF)), "workers": (2, COUNT)}),
    "hogwild": Row(P.hogwild, {"groups": (2, COUNT), "reading": (1.0, CHANCE)}),
    "malenia": Row(P.malenia, {"batch": (4, COUNT), "stale": ("ignore", WORD), "close": ("reached", WORD)}),
    "mindflayer": Row(
        P.mindflayer, {"trials": (1, COUNTS), "timeouts": (9.0, SECONDS.without(INF)), "success": (1.0, CHANCE)},
        played),
    "pipelined": Row(
        P.pipelined, {"stages": (2, Kind("stage", (None, 0, 1.5, "x", True, [], [0.5], b"x"))),
                      "delays": ([1, 0], COUNTS), "weights": ("stashed", WORD), "batch": (1, COUNT.without(True)),
                      "warmup": (0, COUNT0)}),
    "rennala": Row(P.rennala, {"batch": (2, COUNT), "stale": ("ignore", WORD)}),
    "ringmaster": Row(P.ringmaster, {"bound": (2, COUNT), "stops": (False, FLAG)}),
    "ssp": Row(P.ssp, {"bound": (2, COUNT0.without(None))}),
    "success_within": Row(
        P.success_within, {"times": (TIMES, MODEL), "timeouts": (2.0, SECONDS.without(INF)), "draws": (16, COUNT)}),
    "synchronous": Row(P.synchronous, {"backup": (1, COUNT0), "late": ("cancel", WORD)}),
    "vectorized": Row(P.vectorized, {"on": (lambda state, event: None, FUNCTION), "pure": (abs, FUNCTION)}),
    "Policy": Row(
        P.Policy, {"init": (P.asgd().init, FUNCTION), "on": (P.asgd().on, FUNCTION), "info": ({}, MAPPING),
                   "tags": ((), Kind("names", (3, "x", [1], None)))}, played),
}  # fmt: skip
RULES_ROWS = {
    "accept_near": {"inner": (SGD, RULE), "radius": (1.0, LIMIT)},
    "anneal_by_delay": {"delays": ([1.0], Kind("", ("x", NAN, {}, 1j))), "anneal": (9.0, ABOVE),
                        "start": (0, COUNT0)},
    "average_gradients": {"alpha": (0.5, SHARE)},
    "average_latest": {"num_workers": (2, COUNT)},
    "average_rounds": {"num_workers": (2, COUNT)},
    "average_young": {"num_workers": (2, COUNT), "max_age": (3, COUNT0)},
    "closed_loop_yellowfin": {
        "learning_rate": (0.1, AMOUNT), "momentum": (0.0, SIGNED), "memory": (3, COUNT), "gain": (0.1, AMOUNT),
        "decay": (0.9, BELOW1), "window": (3, COUNT), "epsilon": (1e-6, ABOVE)},
    "compensate_delay": {"strength": (0.1, FREE), "decay": (0.9, SHARE.without(None))},
    "cycle_momentum": {
        "learning_rate": (0.1, RATE), "momentum": (0.9, SHARE), "cycle": (2, COUNT), "advanced": (True, FLAG)},
    "dana_momentum": {
        "learning_rate": (0.1, RATE), "momentum": (0.9, SHARE), "num_workers": (2, COUNT), "gap": (False, FLAG),
        "largest": (0.1, AMOUNT.without(None)), "rescale": (False, FLAG)},
    "delay_gradients": {"inner": (SGD, RULE), "delay": (2, COUNTS), "stale": (False, FLAG)},
    "delayed_nesterov": {"momentum": (0.9, SHARE), "buffer": (2, COUNT), "activation": (0.0, SHARE)},
    "discounted_nesterov": {"momentum": (0.9, SHARE)},
    "elastic_average": {"moving_rate": (0.1, AMOUNT)},
    "error_feedback": {"strength": (1.0, FREE)},
    "follow_drift": {"steps": (1.0, Kind("", ("x", NAN, {}, 1j))), "decay": (0.0, CHANCE.but("")),
                     "start": (0, COUNT0)},
    "gap_aware": {
        "learning_rate": (0.1, AMOUNT), "momentum": (0.9, SHARE.without(None)), "decay": (0.9, BELOW1),
        "epsilon": (1e-8, AMOUNT)},
    "heavy_ball": {"learning_rate": (0.1, RATE), "momentum": (0.9, SIGNED),
                   "nesterov": (False, FLAG)},
    "look_along": {"learning_rate": (0.1, RATE), "steps": (1.0, Kind("", ("x", NAN, {}, 1j)))},
    "merge_regions": {
        "regions": ([0, 1], COUNTS), "local": (SGD, RULE), "outer": (SGD, RULE), "period": (2, COUNT),
        "mixing": (0.5, SHARE)},
    "mix_models": {"mixing": (0.6, SHARE)},
    "open_loop_yellowfin": {
        "learning_rate": (0.1, AMOUNT), "momentum": (0.0, SIGNED), "decay": (0.9, BELOW1), "window": (3, COUNT),
        "epsilon": (1e-6, ABOVE)},
    "ordered_momentum": {
        "learning_rate": (0.1, RATE), "momentum": (0.9, SHARE), "group": (2, COUNT), "rounding": ("down", WORD)},
    "predict_weights": {"inner": (SGD, RULE), "horizon": (1.0, Kind("", ("x", NAN, INF, 1j)))},
    "proximal": {"inner": (SGD, RULE), "prox": (R.soft_threshold(0.1), FUNCTION)},
    "scale_by_adadelay": {"offset": (1.0, AMOUNT)},
    "scale_by_adadelay_rms": {"offset": (1.0, ABOVE), "discounted": (True, FLAG)},
    "scale_by_adaptive1": {"alpha": (0.9, BELOW1.but("share"))},
    "scale_by_adaptive2": {},
    "scale_by_concurrency": {"concurrency": (4, ABOVE)},
    "scale_by_delay": {"power": (1.0, FREE)},
    "scale_by_hinge": {"slope": (9.0, AMOUNT), "bound": (4.0, AMOUNT)},
    "scale_by_lmo": {"ball": ("spectral", WORD), "steps": (5, COUNT.without(None))},
    "scale_by_rotated_adam": {
        "b1": (0.9, BELOW1.but("")), "b2": (0.9, BELOW1.but("")), "eps": (1e-8, AMOUNT),
        "decay": (0.9, BELOW1.without(None).but("")), "period": (9, COUNT), "sides": ("both", WORD),
        "largest": (99, COUNT0)},
    "scale_by_worker": {"factors": (TWO, Kind("for each worker", (2.0, [], [NAN], "x", None, [[1.0]])))},
    "scale_late": {"concurrency": (4.0, AMOUNT), "cap": (1.0, LIMIT)},
    "soft_threshold": {"strength": (0.1, AMOUNT)},
    "spike_compensation": {"momentum": (0.9, SHARE), "delay": (1, Kind("", ("x", NAN, -1, 1j)))},
    "stay_near": {"strength": (0.1, AMOUNT)},
    "tell_delays": {"inner": (R.scale_by_delay(), RULE), "delays": ([1.0], Kind("", ("x", NAN, {}, 1j)))},
    "worker_momentum": {"momentum": (0.9, SHARE), "num_workers": (2, COUNT)},
}  # fmt: skip
for name in ("scale_by_adaptive1", "scale_by_adaptive2"):
    RULES_ROWS[name]["memory"] = (8, COUNT)
RULES_ROWS = {name: Row(getattr(R, name), arguments) for name, arguments in RULES_ROWS.items()}

#: methods say the same of an argument of the same name; right are the numbers of `cases.METHODS`
METHOD_ARGUMENTS = {
    "learning_rate": RATE, "inner_learning_rate": RATE, "server_learning_rate": RATE, "local_learning_rate": RATE,
    "momentum": SHARE, "local_momentum": SHARE, "total": SHARE.but(""), "implicit": SHARE.without(None).but(""),
    "beta": AMOUNT.but(""), "mixing": SHARE, "activation": SHARE, "alpha": SHARE.but(""), "decay": SHARE.but(""),
    "b1": SHARE.but(""), "b2": SHARE.but(""), "eps": AMOUNT, "power": FREE, "slope": AMOUNT, "bound": COUNT,
    "strength": FREE, "horizon": FREE, "gain": AMOUNT, "proximal": AMOUNT, "weight_decay": AMOUNT, "l1": AMOUNT,
    "offset": AMOUNT, "radius": LIMIT, "largest": AMOUNT.without(None), "smoothness": ABOVE.without(None),
    "noise": AMOUNT.without(None), "anneal": ABOVE.without(None), "batch": COUNT.without(True), "buffer": COUNT,
    "local_buffer": COUNT, "clients": COUNT, "concurrency": COUNT.without(None, 1.5, True).but(""), "cycle": COUNT,
    "group": COUNT, "groups": COUNT, "k": COUNT.without(True), "m": COUNT, "max_age": COUNT0, "memory": COUNT,
    "period": COUNT, "regions": COUNT.but(""), "splits": COUNT, "steps": COUNT.but(""), "waiting": COUNT,
    "warmup": COUNT0, "window": COUNT, "workers": COUNT, "backup": COUNT0, "reading": CHANCE,
    "stages": Kind("stage", (None, 0, 1.5, "x", True, [], [0.5])), "delays": COUNTS, "trials": COUNTS,
    "timeouts": SECONDS.without(INF), "success": CHANCE.without(None), "seconds": POSITIVE.without(None),
    "inner": WORD, "outer": WORD, "order": WORD, "late": WORD, "stale": WORD, "close": WORD, "staleness": WORD,
    "form": WORD, "rounding": WORD, "weights": WORD, "prediction": WORD, "ball": WORD, "sides": WORD,
    "base": FUNCTION, "optimizer": FUNCTION,
    **dict.fromkeys(("advanced", "closed", "discounted", "dylu", "keep", "nesterov", "per_coordinate", "rescale",
                     "reshuffle", "spikes", "stops"), FLAG),
}  # fmt: skip


EXCEPTIONS = {
    ("hinge_asgd", "bound"): AMOUNT, ("fedasync", "bound"): AMOUNT, ("ssp_sgd", "bound"): COUNT0.without(None),
    ("diloco", "steps"): STEPS_MADE, ("async_diloco", "steps"): STEPS_MADE, ("halos", "steps"): STEPS_MADE,
    ("momentum_asgd", "momentum"): SIGNED, ("sync_yellowfin", "momentum"): SIGNED,
    ("async_yellowfin", "momentum"): SIGNED, ("koloskova_asgd", "concurrency"): AMOUNT.without(None),
    ("naive_optimal_asgd", "noise"): ANY,  # with workers, that is: test_method_errors
}  # fmt: skip


def of_methods():
    """A row for each method, from the first of `cases.METHODS`."""
    rows = {}
    for row in cases.METHODS.values():
        told = dict(row.numbers) | dict(row.options)
        arguments = {}
        for name, parameter in inspect.signature(row.make).parameters.items():
            right = told.get(name, parameter.default)
            kind = EXCEPTIONS.get((row.make.__name__, name), METHOD_ARGUMENTS[name])
            left_out = {parameter.default, True if isinstance(right, bool) else None}
            arguments[name] = right, kind.without(None) if None in left_out else kind
        rows.setdefault(row.make.__name__, Row(row.make, arguments, bound))
    return rows


METHODS_ROWS = of_methods()
