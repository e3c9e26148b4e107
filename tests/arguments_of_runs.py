"""As `arguments.py`: problems, schedules, statistics, pictures, files, and runs of all kinds."""

import arguments as a
import jax
import jax.numpy as jnp
import numpy as np
from arguments import ANY, COUNT, COUNT0, FLAG, FUNCTION, INF, MAPPING, NAN, PLACE, STRING, WORD, Kind, Row

import jaxasgd as ja
from jaxasgd.results import AXES

PR, S, ST, PLOT, FAN = ja.problems, ja.schedules, ja.statistics, ja.plot, ja.fanout

COLUMNS = {name: np.zeros(1, int if name in ("update", "gradients") else float) for name in (*AXES, "loss")}
RESULTS = ja.results.Comparison(
    [ja.results.Run("asgd", 0, "finished", 6, COLUMNS, a.SCHEDULE0.summary())], {"asgd": a.SCHEDULE0}
)
X, Y, LOSS = a.X, a.Y, a.mean_square
NUMBERS = Kind("", ("x", None, {}, object()))
LIKE_DATA = Kind("", ("x", object(), np.ones((2, 3, 4))))
FINITE = {
    "batch_size": (2, COUNT.without(None)),
    "shards": ([[0, 1], [2, 3]], Kind("shard", (3, 1.5, "x", [], [[0], []], [[9]], [0.5], object()), "shard")),
    "order": ("random", WORD.without(1).but("")),
    "metrics": ({"more": LOSS}, Kind("metric", (3, "x", {"more": 3}, {3: LOSS}, {"loss": LOSS}, np.ones(2)), "metric")),
    "test": ((X, Y), LIKE_DATA),
    "weigh": ("shards", Kind('"', (*WORD.bad, None))),
    "loss_samples": (None, COUNT.without(None, True)),
}
REGRESSION = {"X": (X, NUMBERS), "y": (np.sign(Y - 2.5), NUMBERS), "start": (np.zeros(2), Kind("", (3.0, "x", X)))}
QUADRATICS = {
    "noise": (0.1, a.AMOUNT.but("0 or more")),
    "start": (None, Kind("", ("x", 1.0, [1.0], [NAN] * 3, 1j, object()))),
}
layers = [lambda w, batch: batch * w, lambda w, x: w * x]


class Linear:
    """As a flax module is."""

    init = staticmethod(lambda key, X: jnp.zeros((X.shape[1], 6)))
    apply = staticmethod(lambda w, X: X @ w)


PROBLEMS_ROWS = {
    "binary_labels": Row(PR.binary_labels, {"y": ([0, 1], Kind("", (3, [0, 2], [[0, 1]], None)).but("labels"))}),
    "classifier": Row(
        PR.classifier, {"module": (Linear(), Kind("", (None, 3, "mlp"))), "X": (X, NUMBERS),
                        "y": (Y.astype(int), Kind("", ("x", None, {}))),
                        "test": ((X, Y.astype(int)), LIKE_DATA), "metrics": ({}, FINITE["metrics"][1])}),
    "from_loss": Row(
        PR.from_loss, {"loss": (LOSS, FUNCTION), "init": (np.zeros(2), Kind("", (None, "x", object(), {}))),
                       "data": ((X, Y), Kind("", ("x", None, {}, object(), (X, Y[:2]))))} | FINITE),
    "idx": Row(PR.idx, {"path": ("none", PLACE)}),
    "images": Row(PR.images, {"prefer": ("digits", WORD)}),
    "libsvm": Row(
        PR.libsvm, {"path": ("none", PLACE), "num_features": (3, COUNT.without(None).but("")),
                    "dense": (True, FLAG), "zero_based": ("auto", WORD.without(1))}),
    "linear": Row(PR.linear, REGRESSION | {n: FINITE[n] for n in ("batch_size", "shards", "order")}),
    "logistic": Row(PR.logistic, REGRESSION | {n: FINITE[n] for n in ("batch_size", "shards", "order", "test")}),
    "mlp": Row(
        PR.mlp, {"X": (X, NUMBERS), "y": (Y.astype(int), Kind("", ("x", None, {}, Y))),
                 "hidden": ((4,), Kind("", (None, 3, "x", (0,), (1.5,), (True,)))),
                 "num_classes": (6, COUNT.without(None))}),
    "mnist": Row(PR.mnist, {"where": (None, PLACE._replace(bad=(3, ["a"], b"a")))}),
    "quadratic": Row(
        PR.quadratic, {"dim": (3, COUNT),
                       "condition": (9.0, Kind("1 or more", (None, "x", 0.5, NAN, INF, True, [2.0]))),
                       "spectrum": (None, Kind("", ("x", 1.0, [], [-1.0], [NAN], 1j, object()))),
                       "centers": (None, Kind("", ("x", 1.0, [[1.0]], [[NAN] * 3], object()))),
                       "optimum": (None, Kind("", ("x", 1.0, [1.0], [NAN] * 3, object())))} | QUADRATICS),
    "shard": Row(
        PR.shard, {"samples": ([0, 1, 0, 1], Kind("", (None, "x", 1.5))),
                   "num_shards": (2, COUNT.but("").called("shard")),
                   "how": ("dirichlet", WORD), "alpha": (0.5, a.ABOVE.but("alpha").without(1)), "seed": (0, COUNT0)}),
    "sklearn_set": Row(
        PR.sklearn_set, {"name": ("digits", Kind("one of", WORD.bad)),
                         "test_fraction": (0.2, a.LEVEL.but("").without(0)),
                         "seed": (0, COUNT0), "standardize": (True, FLAG)}),
    "stage_of_leaves": Row(
        PR.stage_of_leaves, {"params": ((X, Y), Kind("layers", (None, 3), "layers")),
                             "number": (2, COUNT.without(None, True))}),
    "staged": Row(
        PR.staged, {"layers": (layers, Kind("layers", (None, 3, [], [3], "x"))),
                    "loss": (lambda x, batch: x.mean(), FUNCTION),
                    "init": ((jnp.ones(()), jnp.ones(())), Kind("tuple", (None, 3, [1.0, 1.0]), "parameters")),
                    "data": (Y, Kind("", ("x", None, {}, 3.0)))}),
    "text": Row(
        PR.text, {"path": (None, PLACE._replace(bad=(3, ["a"], b"a"))), "prefer": ("excerpt", WORD),
                  "test_fraction": (0.1, a.LEVEL.but("test_fraction"))}),
    "toy_regression": Row(PR.toy_regression, {"num_samples": (9, COUNT), "seed": (0, COUNT0.without(INF))}),
    "transformer": Row(
        PR.transformer, {"text": (PR.text(prefer="excerpt"), Kind("text", (None, "abc", 3)))}
        | {name: (value, COUNT.without(None) if name == "shards" else COUNT)
           for name, value in (("width", 8), ("depth", 1), ("heads", 1), ("context", 4), ("batch_size", 2),
                               ("shards", 1), ("windows", 4))}),
    "tridiagonal": Row(PR.tridiagonal, {"dim": (3, COUNT), "shared": (False, FLAG)} | QUADRATICS),
}  # fmt: skip
UPDATES, MANY, SEED = (5, COUNT), (None, COUNT.without(None, True)), (0, COUNT0)
SCHEDULES_ROWS = {
    "fixed_delay": Row(S.fixed_delay, {"delay": (2, COUNT0), "num_updates": UPDATES}),
    "from_delays": Row(
        S.from_delays, {"delays": ([0, 1], Kind("", (None, "x", [], [1], [-1], [0.5], [[0], [0, 1]]), "delay")),
                        "num_workers": MANY}),
    "geometric_delays": Row(
        S.geometric_delays, {"mean": (2.0, a.AMOUNT.but("finite number")), "num_updates": UPDATES,
                             "num_workers": MANY,
                             "seed": SEED}),
    "periodic_delays": Row(
        S.periodic_delays, {"pattern": ([0, 1], Kind("", (None, "x", [], [-1], [0.5], X))), "num_updates": UPDATES,
                            "num_workers": MANY}),
    "random_delays": Row(
        S.random_delays, {"law": ([0.5, 0.5], Kind("", (None, "x", [], [0.5], [-1.0, 2.0], lambda rng, n: [0.5] * n))),
                          "num_updates": UPDATES, "num_workers": MANY, "seed": SEED}),
    "read_delays": Row(S.read_delays, {"path": ("none", PLACE)}),
}  # fmt: skip
ONE = {"schedule": (a.SCHEDULE0, a.SCHEDULE.called("ja.Schedule"))}
QUANTILES = {"quantiles": ((0.5,), Kind("", ("x", 1.5, [2.0], [NAN], [[0.5]], None)))}
STATISTICS_ROWS = {
    name: Row(getattr(ST, name), ONE) for name in ("concurrency", "mean_concurrency", "rates", "waste", "workers")
}
STATISTICS_ROWS |= {name: Row(getattr(ST, name), ONE | QUANTILES) for name in ("delays", "intervals")}
AGAINST, AX = ("time", WORD.but("")), (None, a.AXIS)
PLOT_ROWS = {
    "comparison": Row(
        PLOT.comparison, {"table": (RESULTS, a.RESULTS), "against": AGAINST, "of": ("loss", WORD.but("")), "ax": AX,
                          "level": (0.9, a.LEVEL), "log": (None, Kind("is True or False", (1, "yes")))}),
    "delays": Row(PLOT.delays, {"schedules": ({"asgd": a.SCHEDULE0}, MAPPING), "ax": AX}),
    "overview": Row(
        PLOT.overview, {"table": (RESULTS, a.RESULTS), "of": ("loss", Kind("of", (None, 3, [3], "other"))),
                        "title": (None, Kind("is a string", (3,))), "level": (0.9, a.LEVEL),
                        "timelines": (None, Kind("timelines", (3, [3], "other")))}),
    "save": Row(PLOT.save, {"figure": (None, Kind("figure", (3, "x"))), "path": ("none.png", PLACE)}),
    "staleness": Row(
        PLOT.staleness, ONE | {"against": AGAINST, "times": (None, Kind("times", (3, X, ja.times.fixed([1.0])))),
                               "ax": AX}),
    "timeline": Row(
        PLOT.timeline, ONE | {"until": (9.0, a.ABOVE.but("").without(None)), "how": (None, WORD), "ax": AX,
                              "max_workers": (2, COUNT.without(None))}),
}  # fmt: skip
OF = ("loss", Kind("of is one of", (None, 3, [3], "other")))
SWEEP = ja.sweep(a.QUADRATIC, a.TIMES, {"asgd": ja.methods.asgd}, {"learning_rate": [0.1]}, num_updates=3, seeds=1)
RESULTS_ROWS = {
    "Comparison.curves": Row(RESULTS.curves, {"method": ("asgd", Kind("methods", (None, "x", [3], X[0]))), "of": OF,
                                              "against": AGAINST, "grid": (None, Kind("grid", ("x", 3, X)))}),
    "Comparison.final": Row(RESULTS.final, {"method": ("asgd", Kind("methods", (None, "x", [3]))), "of": OF}),
    "Comparison.reach": Row(RESULTS.reach, {"method": ("asgd", Kind("methods", (None, "x"))), "level": (1.0, a.FREE),
                                            "of": OF, "against": AGAINST, "below": (None, FLAG.without(None))}),
    "Comparison.save": Row(RESULTS.save, {"folder": ("none", PLACE), "overwrite": (False, FLAG)}),
    "Sweep.best": Row(SWEEP.best, {"of": OF, "clock": (None, Kind("clock", ("x", 3, X)))}),
    "Sweep.save": Row(SWEEP.save, {"folder": ("none", PLACE), "overwrite": (False, FLAG)}),
    "interval": Row(ja.results.interval, {"values": (a.TWO, Kind("values", (None, "x", [], {}))),
                                          "level": (0.9, a.LEVEL)}),
    "listing": Row(ja.results.listing, {"root": (".", PLACE)}),
    "load": Row(ja.results.load, {"folder": ("none", PLACE)}),
    "prepare": Row(ja.results.prepare, {"folder": ("none", PLACE), "overwrite": (False, FLAG), "also": ((), ANY)}),
    "report": Row(ja.results.report, {"folders": (".", Kind("folder", (None, 3, [], [3]), "folder")),
                                      "path": ("none.html", PLACE), "title": (None, STRING.without(None)),
                                      "overwrite": (False, FLAG)}),
    "TensorBoard": Row(ja.results.TensorBoard, {"folder": ("none", PLACE)}),
    "tensorboard": Row(ja.results.tensorboard, {"comparison": (RESULTS, a.RESULTS.but("ja.compare")),
                                                "folder": ("none", PLACE), "overwrite": (False, FLAG)}),
}  # fmt: skip
method = ja.methods.asgd(0.1)
PROGRESS = FLAG.without(None)
CHECKS = {
    "points": (5, COUNT), "key": (None, a.KEY), "seeds": (1, a.SEEDS),
    "evaluate": (None, Kind("evaluate", (0, -1, NAN, "x", X))),
    "reads": ("after", WORD), "until": (None, a.AMOUNT.without(None).but("finite number")),
    "num_updates": (5, COUNT0.without(None)),
    "target_loss": (None, a.FREE.without(None)), "target_gradient_norm": (None, a.FREE.without(None)),
    "each": (None, FUNCTION.without(None)), "checkpoint": (None, a.PLACE.but("").without(None)),
    "progress": (None, PROGRESS),
}  # fmt: skip
of = lambda *names: {name: CHECKS[name] for name in names}
RUNS_ROWS = {
    "simulate": Row(
        ja.simulate, {"policy": (ja.policies.asgd(), a.POLICY), "times": (a.TIMES, a.MODEL), "seed": SEED,
                      "max_arrivals": (9, COUNT0)} | of("num_updates", "until", "reads")),
    "plan": Row(ja.plan, ONE | of("evaluate") | {"width": (1, COUNT), "one_each": (False, FLAG)}),
    "stack": Row(ja.stack, {"plans": ([ja.plan(a.SCHEDULE0)], Kind("plan", ([], 3, None, [3])))}),
    "run": Row(
        ja.run, {"problem": (a.QUADRATIC, a.PROBLEM), "schedule": (a.SCHEDULE0, a.SCHEDULE.called("ja.Schedule")),
                 "rule": (a.SGD, a.RULE),
                 "width": (None, COUNT.without(None, True)), "devices": (None, a.DEVICES),
                 "cell_dtype": (None, Kind("", ("int32", int, "x"))), "cell_memory": (None, WORD)}
        | of("evaluate", "target_loss", "target_gradient_norm", "each", "checkpoint", "progress")
        | {"key": (jax.random.key(0), a.KEY)}),
    "compare": Row(
        ja.compare, {"problem": (a.QUADRATIC, a.PROBLEM), "times": (a.TIMES, a.MODEL),
                     "methods": ({"asgd": method}, Kind("ja.Method", (None, {}, [method], {"a": 3}, X)))} | CHECKS),
    "sweep": Row(
        ja.sweep, {"problem": (a.QUADRATIC, a.PROBLEM), "times": (a.TIMES, a.MODEL),
                   "methods": ({"asgd": method}, Kind("methods", (None, {}, [3], X))),
                   "grid": (None, Kind("grid", (3, [0.1], {"learning_rate": []}, {"learning_rate": 0.1}))),
                   "how": (None, WORD), "chunk": (None, COUNT.without(None, True)),
                   "devices": (None, a.DEVICES)} | CHECKS),
    "spread": Row(FAN.spread, {"fn": (abs, FUNCTION), "in_axes": (0, Kind("in_axes", (1, None, "x", True, [1], X))),
                               "devices": (None, a.DEVICES)}),
    "plan_cluster": Row(
        ja.plan_cluster, {"steps": (np.ones((9, 2)), Kind("", (None, 3, -np.ones((9, 2)), []))), "seeds": (2, COUNT),
                          "noise_to_signal": (1.0, a.AMOUNT.but("finite number")), "progress": (False, PROGRESS),
                          "sync_updates": (None, a.ABOVE.but("").without(None))}),
    "cite": Row(ja.cite, {"method": (method, Kind("method", (None, "asgd", 3)))}),
    "late": Row(ja.late, {"make": (abs, FUNCTION.called("late part")), "clock": ("", STRING)}),
    "published": Row(
        ja.published, {"papers": ((), ANY), "does": ("", Kind("words of", ("wins", 3, None)))}
        | dict.fromkeys(("name", "policy", "rule", "arrival"), ("x", STRING))),
    "Paper": Row(
        ja.Paper, {"year": (1999, COUNT0)}
        | dict.fromkeys(("key", "authors", "title", "venue", "arxiv", "note"), ("x", STRING))),
    "Method": Row(
        ja.Method, {"policy": (ja.policies.asgd(), a.POLICY), "rule": (a.SGD, a.RULE),
                    "arrival": (None, Kind("optax", (3, "sgd"))),
                    "work": (ja.work.gradient(), Kind("ja.work.Work", (None, 3, abs))),
                    "send": (None, FUNCTION.without(None)),
                    "private": (False, FLAG), "name": ("", STRING), "info": ({}, MAPPING),
                    "papers": ((), Kind("ja.Paper", (3, "x", [1])))}),
    "Method.bind": Row(method.bind, {"num_workers": (3, COUNT), "times": (None, Kind("model", (1.0, "x")))}),
    "Schedule.save": Row(a.SCHEDULE0.save, {"path": ("none.npz", PLACE)}),
    "Schedule.load": Row(ja.Schedule.load, {"path": ("none.npz", PLACE)}),
    "Schedule.save_trace": Row(a.SCHEDULE0.save_trace, {"path": ("none.json", PLACE),
                                                        "scale": (1.0, a.ABOVE.but(""))}),
    "Schedule.to_pandas": Row(a.SCHEDULE0.to_pandas, {"unfinished": (False, FLAG)}),
}  # fmt: skip
STEPS = {"steps": (2, COUNT), "optimizer": (a.SGD, a.RULE), "momentum": (0.9, a.SHARE.without(None))}
WORK_ROWS = {
    "elastic_rounds": Row(ja.work.elastic_rounds, STEPS | {"moving_rate": (0.1, a.AMOUNT)}),
    "elastic_steps": Row(ja.work.elastic_steps, STEPS),
    "local_steps": Row(ja.work.local_steps, {"steps": (2, Kind("steps", (None, "x", 0, 1.5, [], [0]))),
                                             "optimizer": (a.SGD, a.RULE), "keep": (False, FLAG)}),
    "nesterov": Row(ja.work.nesterov, {"momentum": (0.9, a.SHARE)}),
    "steps_by_speed": Row(
        ja.work.steps_by_speed, {"steps": (2, COUNT),
                                 "seconds": (a.TWO, Kind("seconds", (1.0, [], [0.0], [NAN], "x", None)))}),
    "Work": Row(
        ja.work.Work, {"init": (abs, FUNCTION), "compute": (abs, FUNCTION),
                       "size": (1, Kind("whole number", (None, "x", 0, 1.5, (0, 1, 1))))},
        lambda made: made.checked().sizes(3)),
    "Work.sizes": Row(ja.work.gradient().sizes, {"num_workers": (2, COUNT)}),
}  # fmt: skip
FANOUT_ROWS = {
    "share": Row(FAN.share, {"tree": ({"a": np.ones(8)}, Kind("rows", (3.0, {}, np.ones(7)), "rows")),
                             "devices": (None, a.DEVICES), "whole": (False, FLAG)}),
    "value_and_grad": Row(
        FAN.value_and_grad, {"loss": (abs, FUNCTION), "devices": (None, a.DEVICES), "how": ("pmap", WORD),
                             "has_aux": (False, FLAG)}),
}  # fmt: skip
SHARED = {
    "problem": (a.QUADRATIC, a.PROBLEM), "policy": (ja.policies.asgd(), a.POLICY),
    "rule": (a.SGD, a.RULE.without(None)),
    "num_workers": (2, COUNT.without(None)), "num_updates": (3, COUNT0.without(None)),
    "until": (None, a.AMOUNT.without(None).but("finite number")),
    "key": (jax.random.key(0), a.KEY), "slow": (None, Kind("slow", (0.5, NAN, "x", [2.0], [[1.0], [1.0, 2.0]]))),
    "times": (None, Kind("times", (1.0, "x", a.TIMES))), "seconds": (1.0, a.ABOVE.but("").without(1, True)),
    "on_failure": ("stop", WORD), "seed": SEED, "progress": (None, PROGRESS), "devices": (None, a.DEVICES),
    "before_job": (None, FUNCTION.without(None)),
}  # fmt: skip
RUNTIMES_ROWS = {"threads": Row(ja.runtimes.threads, SHARED)}
