"""Bad input: an error that says the rule and the value received, before anything is compiled. One table."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxasgd as ja
from jaxasgd import program

KEY = jax.random.key(0)
TIMES = ja.times.fixed(1.0, num_workers=3)
ASGD = ja.policies.asgd()
SCHEDULE = ja.simulate(ASGD, TIMES, num_updates=6)
ROUNDS = ja.simulate(ja.policies.synchronous(), TIMES, num_updates=2)
PLAN = ja.plan(SCHEDULE)
PROBLEM = ja.problems.quadratic(dim=3)
FIVE = ja.problems.quadratic(dim=2, centers=np.ones((5, 2)))  # five workers
X, Y = np.arange(12.0).reshape(6, 2), np.arange(6.0)
RULE = optax.sgd(0.1)
METHOD = ja.methods.asgd(0.1)
NAN, INF = float("nan"), float("inf")

fixed, exponential, uniform = ja.times.fixed, ja.times.exponential, ja.times.uniform
linear, quadratic, from_loss = ja.problems.linear, ja.problems.quadratic, ja.problems.from_loss


def simulate(policy=ASGD, times=TIMES, **options):
    limit = {} if {"num_updates", "until"} & set(options) else {"num_updates": 5}
    return ja.simulate(policy, times, **limit, **options)


def on(answer):
    """A simulation under a policy that answers this to every event."""
    return simulate(ja.Policy(ASGD.init, lambda state, event: answer))


def decide(**decision):
    """A simulation under a policy that always decides this."""
    return on((None, ja.Decision(**({"use": True, "step": True, "start": (0,)} | decision))))


def start(answer):
    """A simulation under a policy whose init returns this."""
    return simulate(ja.Policy(lambda num_workers, rng: answer, ASGD.on))


def run(problem=PROBLEM, schedule=SCHEDULE, rule=RULE, key=KEY, **options):
    return ja.run(problem, schedule, rule, key=key, **options)


def compare(problem=PROBLEM, times=TIMES, methods=None, **options):
    methods = {"asgd": METHOD} if methods is None else methods
    return ja.compare(problem, times, methods, **({"num_updates": 5, "seeds": 1} | options))


def rule(update, init=lambda params: ()):
    return optax.GradientTransformationExtraArgs(init, update)


def mean_square(w, batch):
    return jnp.mean((batch[0] @ w - batch[1]) ** 2)


def squares(w, batch):
    return (batch[0] @ w - batch[1]) ** 2


def wants_age(g, state, params=None, *, age, **others):
    return g, state


def wants_stale(g, state, params=None, *, stale, **others):
    return g, state


def only_delay(g, state, params=None, *, delay):
    return g, state


# call, and words that its message holds, in this order
TABLE = {
    # clocks
    "negative time": (lambda: fixed(-1.0, num_workers=3), ["times.fixed", "mean", "positive and finite", "-1.0"]),
    "nan time": (lambda: exponential([1.0, NAN]), ["times.exponential", "mean", "worker 1 has nan"]),
    "infinite time": (lambda: fixed([INF, 1.0]), ["positive and finite", "worker 0 has inf"]),
    "times in words": (lambda: fixed("slow", num_workers=3), ["one number", "'slow'"]),
    "a table of times": (lambda: fixed(np.ones((2, 3))), ["one number per worker", "(2, 3)"]),
    "no times": (lambda: fixed([]), ["one number per worker", "(0,)"]),
    "unknown number of workers": (lambda: fixed(1.0), ["number of workers is unknown", "num_workers=8"]),
    "no workers": (lambda: fixed(1.0, num_workers=0), ["num_workers", "integer >= 1", "0"]),
    "half a worker": (lambda: fixed(1.0, num_workers=2.5), ["num_workers", "2.5"]),
    "lengths of times": (lambda: uniform([0.0, 1.0], [2.0, 3.0, 4.0]), ["lengths agree", "'low': 2", "'high': 3"]),
    "low above high": (lambda: uniform(3.0, [4.0, 2.0]), ["low <= high", "worker 1", "3.0", "2.0"]),
    "draws nan": (lambda: simulate(times=ja.times.custom(lambda r, i, n: np.full(n, NAN), 2)), [">= 0", "drew nan"]),
    # simulate
    "no limit": (lambda: ja.simulate(ASGD, TIMES), ["num_updates=", "until="]),
    "negative updates": (lambda: simulate(num_updates=-1), ["num_updates", "0 or more", "-1"]),
    "half an update": (lambda: simulate(num_updates=2.5), ["num_updates", "whole number", "2.5"]),
    "updates in words": (lambda: simulate(num_updates="10"), ["num_updates", "whole number", "'10'"]),
    "updates: yes": (lambda: simulate(num_updates=True), ["num_updates", "True"]),
    "negative seconds": (lambda: simulate(until=-1.0), ["until", "0 or more", "-1.0"]),
    "nan seconds": (lambda: simulate(until=NAN), ["until", "finite", "nan"]),
    "infinite seconds": (lambda: simulate(until=INF), ["until", "finite", "inf"]),
    "negative seed": (lambda: simulate(seed=-1), ["seed", "0 or more", "-1"]),
    "real seed": (lambda: simulate(seed=0.5), ["seed", "whole number", "0.5"]),
    "key as seed": (lambda: simulate(seed=KEY), ["seed", "whole number", "key"]),
    "reads": (lambda: simulate(reads="during"), ["reads", '"after" or "before"', "'during'"]),
    "no policy": (lambda: simulate("asgd"), ["ja.Policy", "ja.policies", "'asgd'"]),
    "policy not called": (lambda: simulate(ja.policies.asgd), ["ja.Policy", "function asgd"]),
    "a rule as policy": (lambda: simulate(RULE), ["ja.Policy", "ja.Method", "GradientTransformation"]),
    # policies
    "backup workers": (lambda: simulate(ja.policies.synchronous(backup=3)), ["backup", "less than", "(3)", "got 3"]),
    "negative backup": (lambda: ja.policies.synchronous(backup=-1), ["backup", "0 or more", "-1"]),
    "late": (lambda: ja.policies.synchronous(late="wait"), ["late", '"cancel" or "ignore"', "'wait'"]),
    "no decision": (lambda: on((None, None)), ["`on` returns (state, ja.Decision)", "None"]),
    "starts unknown": (lambda: decide(start=(7,)), ["started worker 7", "0...2"]),
    "starts unknown job": (lambda: decide(start=ja.Job(-1)), ["started worker -1", "0...2"]),
    "begins with unknown": (lambda: start((None, [0, 3])), ["started worker 3", "0...2"]),
    "cancels unknown": (lambda: decide(cancel=np.array([5])), ["cancelled worker 5", "0...2"]),
    "empty job": (lambda: decide(start=ja.Job(0, size=0)), ["size", "1 or more", "0"]),
    "negative time-out": (lambda: decide(start=ja.Job(0, timeout=-1)), ["timeout", "0 or more", "-1"]),
    "nan time-out": (lambda: decide(start=ja.Job(0, timeout=NAN)), ["timeout", "0 or more", "nan"]),
    "too many weights": (lambda: decide(weights=[0.5, 0.5]), ["one weight for each of the 1 rows", "(2,)"]),
    "weights too early": (lambda: decide(weights=[1.0], step=False), ["comes with step=True", "step=False"]),
    "nan weight": (lambda: decide(weight=NAN), ["row 0", "weight is a finite number", "nan"]),
    "reserved tag": (lambda: decide(tags={"stale": 1.0}), ["keyword argument of the rule", "'stale'", "rename"]),
    # problems
    "X and y": (lambda: linear(X, Y[:5]), ["[samples, features]", "(6, 2) and (5,)"]),
    "X of one axis": (lambda: linear(Y, Y), ["[samples, features]", "(6,) and (6,)"]),
    "nan data": (lambda: linear(X * NAN, Y), ["X is finite", "clean the data"]),
    "labels": (lambda: ja.problems.logistic(X, Y), ["labels are -1 and +1", "binary_labels", "0.0, 1.0, 2.0"]),
    "order in words": (lambda: linear(X, Y, order="sorted"), ["order", '"shuffled"', "'sorted'"]),
    "order out of range": (lambda: linear(X, Y, order=[0, 6]), ["order", "0...5", "[0, 6]"]),
    "empty batch": (lambda: linear(X, Y, batch_size=0), ["batch_size", "1 or more", "0"]),
    "shard out of range": (lambda: linear(X, Y, shards=[[0], [9]]), ["0...5", "shard 1", "9...9"]),
    "empty shard": (lambda: linear(X, Y, shards=[[0], []]), ["at least one", "shard 1"]),
    "unequal shards": (lambda: linear(X, Y, shards=[[0, 1], [2]], batch_size=None), ["equal sizes", "[2, 1]"]),
    "weigh": (lambda: linear(X, Y, weigh="workers"), ["weigh", '"shards" or "samples"', "'workers'"]),
    "test of another kind": (lambda: linear(X, Y, test=X), ["test", "like those of data", "(6, 2)"]),
    "test lengths": (lambda: linear(X, Y, test=(X, Y[:2])), ["test holds arrays", "(6, 2), (2,)"]),
    "a single sample": (lambda: from_loss(mean_square, np.zeros(2), (X, 1.0)), ["array of length 1", "(6, 2), ()"]),
    "no samples": (lambda: from_loss(mean_square, np.zeros(2), (X[:0], Y[:0])), ["at least one sample", "(0, 2)"]),
    "loss of one argument": (lambda: from_loss(lambda w: 0.0, np.zeros(2), (X, Y)), ["(params, batch)", "takes 1"]),
    "loss of four": (lambda: from_loss(lambda a, b, c, d: 0.0, np.zeros(2), (X, Y)), ["key)", "takes 4"]),
    "loss is no function": (lambda: from_loss(0.5, np.zeros(2), (X, Y)), ["function of (params, batch)", "0.5"]),
    "no dimensions": (lambda: quadratic(dim=0), ["dim", "1 or more", "0"]),
    "condition": (lambda: quadratic(dim=3, condition=0.5), ["condition", "1 or more", "0.5"]),
    "negative noise": (lambda: quadratic(dim=3, noise=-0.1), ["noise", "0 or more", "-0.1"]),
    "negative eigenvalue": (lambda: quadratic(spectrum=[1.0, -1.0]), ["spectrum", "0 or more", "-1."]),
    "centers": (lambda: quadratic(dim=3, centers=np.ones((5, 2))), ["[num_workers, 3]", "(5, 2)"]),
    "start": (lambda: quadratic(dim=3, start=np.ones(2)), ["start", "[3]", "(2,)"]),
    "two optima": (lambda: quadratic(dim=1, centers=[[1.0]], optimum=[1.0]), ["centers= or optimum=, not both"]),
    # run
    "key of another kind": (lambda: run(key=jax.random.key(0, impl="rbg")), ["threefry", "vmap", "key<rbg>"]),
    "integer key": (lambda: run(key=0), ["typed JAX key", "jax.random.key(0)", "got 0"]),
    "legacy key": (lambda: run(key=jax.random.PRNGKey(0)), ["jax.random.key(0)", "uint32 of shape (2,)"]),
    "many keys": (lambda: run(key=jax.random.split(KEY, 3)), ["one typed JAX key", "shape (3,)"]),
    "no problem": (lambda: run(problem=mean_square), ["ja.problems.Problem", "from_loss", "mean_square"]),
    "no schedule": (lambda: run(schedule=TIMES), ["ja.Schedule or a ja.Plan", "Times(fixed"]),
    "no rule": (lambda: run(rule=0.1), ["optax transformation", "optax.sgd(0.1)", "got 0.1"]),
    "rule not called": (lambda: run(rule=optax.sgd), ["optax transformation", "function sgd"]),
    "a policy as rule": (lambda: run(rule=ASGD), ["optax transformation", "Policy"]),
    "keyword missing": (lambda: run(rule=rule(wants_age)), ["'age'", "'delay'", "'stale'", "tags add more"]),
    "stale of many": (lambda: run(schedule=ROUNDS, rule=rule(wants_stale)), ["'stale'", "Method(arrival=...)"]),
    "state changes dtype": (
        lambda: run(rule=rule(lambda g, s, p=None, **_: (g, s + 0.5), lambda p: jnp.zeros((), jnp.int32))),
        ["rule's state", "dtypes", "int32", "float32"],
    ),
    "state grows": (
        lambda: run(rule=rule(lambda g, s, p=None, **_: (g, jnp.append(s, 1.0)), lambda p: jnp.zeros(1))),
        ["rule's state", "shapes", "(1,)", "(2,)"],
    ),
    "shards and workers": (lambda: run(problem=FIVE), ["shards", "5 workers", "3 workers", "as many"]),
    "evaluate never": (lambda: run(evaluate=0), ["evaluate", "1 or more", "0"]),
    "evaluate at nan": (lambda: run(evaluate=[1.0, NAN]), ["evaluate", "finite seconds", "nan"]),
    "evaluate in a table": (lambda: run(evaluate=[[1.0]]), ["evaluate", "one dimension", "[[1.0]]"]),
    "no width": (lambda: run(width=0), ["width", "1 or more", "0"]),
    "half a width": (lambda: run(width=1.5), ["width", "1 or more", "1.5"]),
    "no devices": (lambda: run(devices=[]), ["devices", "jax.devices()", "()"]),
    "names of devices": (lambda: run(devices=["cpu:0"]), ["devices", "jax.devices()", "'cpu:0'"]),
    "a device twice": (lambda: run(devices=jax.devices()[:1] * 2), ["different JAX devices"]),
    "width and devices": (lambda: run(devices=jax.devices()[:2], width=3), ["multiple", "2", "3"]),
    "plan and evaluate": (lambda: run(schedule=PLAN, evaluate=2), ["evaluate= and width= to ja.plan"]),
    "plan and width": (lambda: run(schedule=PLAN, width=2), ["evaluate= and width= to ja.plan"]),
    # methods
    "method without policy": (lambda: ja.Method(RULE, RULE), ["ja.Policy", "late", "GradientTransformation"]),
    "method without rule": (lambda: ja.Method(ASGD, ASGD), ["optax transformation", "Policy"]),
    "arrival is no rule": (lambda: ja.Method(ASGD, RULE, arrival=3), ["arrival", "optax transformation", "3"]),
    "late makes nothing": (lambda: ja.Method(ASGD, ja.late(lambda n, times: None)).bind(3), ["optax", "None"]),
    # compare
    "no methods": (lambda: compare(methods={}), ["name -> ja.Method", "{}"]),
    "methods without names": (lambda: compare(methods=[METHOD]), ["name -> ja.Method", "[Method"]),
    "a rule as method": (lambda: compare(methods={"mine": RULE}), ["'mine'", "ja.Method", "GradientTransformation"]),
    "no seeds": (lambda: compare(seeds=0), ["seeds", "1 or more", "0"]),
    "a seed twice": (lambda: compare(seeds=[3, 3]), ["different seeds", "[3, 3]"]),
    "comparison of nothing": (lambda: compare(problem=mean_square), ["ja.problems.Problem", "mean_square"]),
    "comparison reads": (lambda: compare(reads="never"), ["reads", "'never'"]),
    "comparison without end": (lambda: compare(num_updates=None), ["until=", "num_updates="]),
    "comparison points": (lambda: compare(points=0), ["points", "1 or more", "0"]),
    "comparison legacy key": (lambda: compare(key=jax.random.PRNGKey(0)), ["jax.random.key(0)", "uint32"]),
    "comparison shards": (lambda: compare(problem=FIVE), ["shards", "5 workers", "3 workers"]),
    # plans
    "nothing to stack": (lambda: ja.stack([]), ["one or more plans", "[]"]),
    "schedules to stack": (lambda: ja.stack([SCHEDULE]), ["ja.plan(schedule)", "Schedule("]),
    "clock in words": (lambda: simulate(times=[1.0, 2.0]), ["times", "ja.times", "[1.0, 2.0]"]),
    "nan updates": (lambda: simulate(num_updates=NAN), ["num_updates", "whole number", "nan"]),
    "infinite updates": (lambda: simulate(num_updates=INF), ["num_updates", "whole number", "inf"]),
    "until in words": (lambda: simulate(until="10"), ["until", "seconds", "'10'"]),
    "arrivals": (lambda: simulate(max_arrivals=-1), ["max_arrivals", "-1"]),
    "decision alone": (lambda: on(ja.Decision()), ["(state, ja.Decision)"]),
    "answer of nothing": (lambda: on(None), ["(state, ja.Decision)", "None"]),
    "init of one part": (lambda: start(range(3)), ["init", "(state, start)"]),
    "starts nobody": (lambda: decide(start=None), ["start", "None"]),
    "starts by name": (lambda: decide(start=("w0",)), ["start", "'w0'"]),
    "starts a real number": (lambda: decide(start=np.array([0.0])), ["start", "0.0"]),
    "size of a job": (lambda: decide(start=ja.Job(0, size=2.5)), ["size", "2.5"]),
    "cancels a job": (lambda: decide(cancel=(ja.Job(1),)), ["cancel", "worker"]),
    "flag in words": (lambda: decide(use="no"), ["use", "'no'"]),
    "tag of words": (lambda: decide(tags={"table": "x"}), ["tag", "'table'", "'x'"]),
    "start of regression": (lambda: run(problem=linear(X, Y, start=np.zeros(5))), ["start", "(2,)", "(5,)"]),
    "start with an axis": (lambda: linear(X, Y, start=np.zeros((2, 1))), ["start", "(2,)", "(2, 1)"]),
    "test features": (lambda: linear(X, Y, test=(X[:, :1], Y)), ["test", "(6, 1)"]),
    "loss of many": (lambda: run(problem=from_loss(squares, np.zeros(2), (X, Y))), ["loss", "scalar"]),
    "whole parameters": (lambda: from_loss(mean_square, np.zeros(2, int), (X, Y)), ["parameters", "int"]),
    "metric called loss": (lambda: linear(X, Y, metrics={"loss": mean_square}), ["metric", "'loss'"]),
    "no shards": (lambda: linear(X, Y, shards=[]), ["shards", "[]"]),
    "number of shards": (lambda: linear(X, Y, shards=3), ["shards", "3"]),
    "orders and workers": (lambda: run(problem=linear(X, Y, order=[[0, 1], [2, 3]])), ["order", "2", "3 workers"]),
    "optimum of workers": (lambda: quadratic(dim=2, optimum=np.eye(2)), ["optimum", "[2]", "(2, 2)"]),
    "dim and spectrum": (lambda: quadratic(dim=7, spectrum=[1.0, 2.0]), ["dim", "spectrum", "7"]),
    "rule of one keyword": (lambda: run(rule=rule(only_delay)), ["**"]),
    "rule of one result": (lambda: run(rule=rule(lambda g, s, p=None, **_: g)), ["(updates, state)"]),
    "update of another shape": (
        lambda: run(rule=optax.stateless(lambda g, p: jnp.zeros(7))),
        ["update", "(7,)", "(3,)"],
    ),
    "update broadcasts": (lambda: run(rule=optax.stateless(lambda g, p: jnp.sum(g))), ["update", "()", "(3,)"]),
    "evaluate in words": (lambda: run(evaluate="often"), ["evaluate", "'often'"]),
    "evaluate nan": (lambda: run(evaluate=NAN), ["evaluate", "1 or more", "nan"]),
    "arguments swapped": (
        lambda: run(SCHEDULE, linear(np.eye(60), np.ones(60))),
        ["ja.Schedule or a ja.Plan", "Problem"],
    ),
    "number of devices": (lambda: run(devices=2), ["devices", "jax.devices()", "2"]),
    "target in words": (lambda: run(target_loss="low"), ["target_loss", "'low'"]),
    "nan target": (lambda: run(target_loss=NAN), ["target_loss", "nan"]),
    "stacked plan alone": (lambda: run(schedule=ja.stack([PLAN, PLAN])), ["stack", "vmap"]),
    "a plan to stack": (lambda: ja.stack(PLAN), ["one or more plans", "Plan"]),
    "stack of stacks": (lambda: ja.stack([PLAN, ja.stack([PLAN])]), ["not stacked yet"]),
    "plan of nothing": (lambda: ja.plan(TIMES), ["ja.Schedule", "Times(fixed"]),
    "late without a function": (lambda: ja.late(3), ["num_workers, times", "3"]),
    "work is no work": (lambda: ja.Method(ASGD, RULE, work=3), ["work", "3"]),
    "send is no function": (lambda: ja.Method(ASGD, RULE, send=3), ["send", "(params, rule_state, worker_state)", "3"]),
    "comparison until": (lambda: compare(until=-1.0), ["until", "-1.0"]),
    "comparison seeds": (lambda: compare(seeds=2.5), ["seeds", "2.5"]),
    "comparison half seeds": (lambda: compare(seeds=[0.5]), ["seeds", "0.5"]),
    "comparison key": (lambda: compare(key=0), ["jax.random.key(0)", "got 0"]),
    "comparison clock": (lambda: compare(times=1.0), ["times", "ja.times", "1.0"]),
    "method without a name": (lambda: compare(methods={1: METHOD}), ["name", "1"]),
}

# As it should be; today another error, a later one, or none


def compiled():
    return [getattr(program, f"compiled_{part}")._cache_size() for part in ("start", "draw", "block", "whole")]


def check(call, words):
    before = compiled()
    with pytest.raises(ValueError) as caught:
        call()
    message, place = str(caught.value), 0
    for word in words:
        assert word in message[place:], f"{word!r} in {message!r}"
        place = message.index(word, place)
    assert message[0].islower() or not message[0].isalpha() or message.startswith(("X", "Decision"))
    assert len(message) < 700
    assert compiled() == before, "compiled before it failed"


@pytest.mark.parametrize("case", TABLE)
def test_bad_input(case):
    check(*TABLE[case])


def test_results_folders(tmp_path):
    """A folder that can't be written, or holds results, is refused before the work and at the save."""
    columns = {name: np.zeros(1) for name in ("time", "update", "gradients", "loss")}
    table = ja.results.Comparison(
        [ja.results.Run("asgd", 0, "finished", 6, columns, SCHEDULE.summary())],
        {"asgd": SCHEDULE},
    )
    (tmp_path / "file").write_text("in the way")
    table.save(tmp_path / "mine")
    for make in (table.save, ja.results.prepare):
        for folder, words in [("file", "can be written"), ("file/below", "can be written"), ("mine", "overwrite=True")]:
            with pytest.raises(ValueError, match=words) as caught:
                make(tmp_path / folder)
            assert str(tmp_path / folder) in str(caught.value) and "choose another folder" in str(caught.value)
    table.save(tmp_path / "mine", overwrite=True)
    with pytest.raises(FileNotFoundError, match=r"holds no results: a results folder has a spec.json"):
        ja.results.load(tmp_path / "nowhere")
    (tmp_path / "mine" / "spec.json").write_text("{")
    with pytest.raises(ValueError, match=r"the results in .* are damaged"):
        ja.results.load(tmp_path / "mine")
