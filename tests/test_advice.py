"""Plans for clusters from measured steps: predictions, edges, advice, files."""

import csv
import json
import math
import time
from dataclasses import replace

import numpy as np
import pytest

import jaxasgd as ja
from jaxasgd.advice import plan_cluster, policy
from jaxasgd.cluster import KINDS, ClusterPlan, Row

RNG = np.random.default_rng(0)
FIXED = np.array([[1.0, 1.0, 2.0, 3.0, 10.0]])  # one step of each of five workers
RANDOM = np.random.default_rng(5).lognormal(0.0, 0.6, (40, 6)) * [1.0, 1.0, 1.0, 2.0, 3.0, 8.0]


@pytest.fixture(scope="module")
def fixed():
    return plan_cluster(FIXED, 6.0)


@pytest.fixture(scope="module")
def random():
    return plan_cluster(RANDOM, 12.0)


# -------------------------------------------------------------------- plans


def numbers(plan):
    """All that its rows say, to compare."""
    return [str(row) for row in plan.rows]


def test_fixed_times(fixed):
    """Everything is then as in the closed forms, and as counted by hand."""
    rows = {row.label: row for row in fixed.rows}
    for row in fixed.rows:
        if row.method in ("Ringmaster", "Rennala", "Rennala, restart"):
            assert math.isnan(row.expected) and row.time == row.simulated
            assert 0.25 * row.closed < row.simulated < 1.001 * row.closed
            continue
        assert row.expected == row.time == pytest.approx(row.closed, rel=1e-12)
        near = 1e-12 if row.method in ("synchronous", "backup", "m-sync") else 0.02
        assert row.simulated == pytest.approx(row.closed, rel=near), row.label
        assert row.error == 0
    q, n, rate = 6.0, 5, 1 + 1 + 1 / 2 + 1 / 3 + 1 / 10
    assert rows["synchronous"].time == pytest.approx(10 * (1 + q / n))
    assert rows["backup, b = 1"].time == pytest.approx(3 * (1 + q / 4))
    assert rows["backup, b = 4"].time == pytest.approx(1 * (1 + q))
    assert rows["m-sync, m = 2"].time == pytest.approx(1 * (1 + q / 2))  # the least of all m
    assert rows["ASGD"].time == pytest.approx((n + q) / rate)
    assert rows["ASGD, fastest, m = 4"].time == pytest.approx((4 + q) / (rate - 1 / 10))
    assert {row.setting for row in fixed.rows if row.method == "Ringmaster"} == {1, 2, 4, 5}  # q = 6 is above n
    assert {row.setting for row in fixed.rows if row.method == "Rennala"} == {1, 2, 4, 5, 6}  # n and q
    assert rows["Ringmaster, R = 4"].updates == 4 + q and rows["Rennala, S = 4"].updates == 1 + q / 4
    assert rows["Rennala, S = 4"].closed == rows["Ringmaster, R = 4"].closed == pytest.approx(7 / 2.5 * (1 + q / 4))
    assert rows["Ringmaster, R = 1"].time == pytest.approx(1 + q)  # the first of the fastest, a second an update
    assert rows["Rennala, restart, S = 2"].time == pytest.approx(1 + q / 2)  # a gradient of both of the fastest
    assert rows["Rennala, S = 2"].time == pytest.approx(1.5 * (1 + q / 2), rel=1e-4)  # 1 s and 2 s in turn: one is late
    assert fixed.best.label == "ASGD, fastest, m = 4"
    assert fixed.sentence == (
        "Use asynchronous SGD on the m = 4 fastest workers: it is predicted to get there 6.23 times as fast as "
        "synchronous SGD, which saves 84% of the time."
    )


def test_random_times(random):
    """Expectations by formula and simulations agree within their standard errors; means alone do not do it."""
    known = [row for row in random.rows if not math.isnan(row.expected)]
    off = np.array([(row.simulated - row.expected) / row.error for row in known])
    assert len(known) > 6 and np.abs(off).max() < 6 and np.sqrt(np.mean(off**2)) < 2.5  # t with 4 degrees of freedom
    for row in known:
        assert row.simulated == pytest.approx(row.expected, rel=0.05)
    sync = random.synchronous
    assert sync.expected > 1.05 * sync.closed
    rounds = random.rounds * (1 + 12.0 / np.arange(1, 7))
    m_sync = next(row for row in random.rows if row.method == "m-sync")
    assert m_sync.setting == rounds.argmin() + 1 and m_sync.time == pytest.approx(rounds.min())


@pytest.mark.parametrize("which", ("fixed", "random"))
def test_rows_are_methods(which, request):
    """What a row names in `ja.methods` has the policy that was simulated."""
    plan = request.getfixturevalue(which)
    clock = ja.times.bootstrap(FIXED if which == "fixed" else RANDOM)
    for row in plan.rows:
        method = eval(row.call, {"ja": ja, "learning_rate": 0.1}).bind(plan.num_workers, clock)
        assert method.policy.info == policy(row.method, row.setting, plan.mean).info, row.call
    assert [row.method for row in plan.rows if row.method in KINDS] and plan.rows[0] is plan.synchronous


def test_seconds(random):
    """`sync_updates` fixes the unit: so many rounds of all workers."""
    plan = plan_cluster(RANDOM, 12.0, sync_updates=5000)
    assert plan.synchronous.time * plan.unit == pytest.approx(5000 * plan.rounds[-1])
    assert numbers(plan) == numbers(random) and random.unit == 1.0
    best = plan.best
    assert f"in {best.time * plan.unit:.4g}"[:6] in plan.sentence and "synchronous SGD 5000 updates" in str(plan)


def test_deterministic(random, tmp_path):
    again = plan_cluster(RANDOM, 12.0)
    assert str(again) == str(random) and numbers(again) == numbers(random)
    one, other = random.save(tmp_path / "one"), again.save(tmp_path / "other")
    assert sorted(path.name for path in one.iterdir()) == sorted(path.name for path in other.iterdir())
    assert all((other / path.name).read_bytes() == path.read_bytes() for path in one.iterdir())
    assert numbers(plan_cluster(RANDOM, 12.0, seeds=2)) != numbers(random)


def test_ways_to_give_steps(tmp_path):
    """A file, an array and lists; columns may end early."""
    lists = [[1.0, 2.0, 1.5], [4.0], [2.0, 2.5]]
    array = np.array([[1.0, 4.0, 2.0], [2.0, np.nan, 2.5], [1.5, np.nan, np.nan]])
    path = tmp_path / "steps.csv"
    path.write_text("a,b,c\n1.0,4.0,2.0\n2.0,,2.5\n1.5,,\n")
    plans = [plan_cluster(steps, 3.0, seeds=2) for steps in (lists, array, path, str(path))]
    assert all(numbers(plan) == numbers(plans[0]) for plan in plans) and plans[0].spec["steps"] == [3, 1, 2]
    np.testing.assert_allclose(plans[0].mean, [1.5, 4.0, 2.25])


# ---------------------------------------------------------------- edges


def test_one_worker():
    plan = plan_cluster([[1.0, 2.0]], 5.0)
    assert plan.best is plan.synchronous and plan.sentence.startswith("Stay with synchronous SGD")
    labels = [row.label for row in plan.rows if "Rennala" not in row.method]
    assert labels == ["synchronous", "m-sync, m = 1", "ASGD", "ASGD, fastest, m = 1", "Ringmaster, R = 1"]
    assert all(row.time >= 0.99 * 1.5 * 6 for row in plan.rows)


@pytest.mark.parametrize("q", (0.0, 5.0, 1e9))
def test_equal_workers(q):
    """Nothing is faster than synchronous SGD where all take the same time."""
    plan = plan_cluster(np.ones((1, 8)), q, seeds=2)
    assert plan.best is plan.synchronous
    assert min(row.time for row in plan.rows) == pytest.approx(plan.synchronous.time)


def test_no_noise():
    """One gradient is as good as many: who is fastest is enough."""
    plan = plan_cluster(FIXED[:, [4, 2, 3]], 0.0)
    assert plan.best.time == pytest.approx(2.0) and plan.best.label == "backup, b = 2"
    assert {row.updates for row in plan.rows if row.method in ("synchronous", "backup", "Rennala")} == {1.0}


def test_much_noise():
    """The rate of gradients alone counts; batches and bounds stay within reach of the workers."""
    plan = plan_cluster(RANDOM, 1e9, seeds=2)
    rate = (1 / RANDOM.mean(axis=0)).sum()
    settings = {name: [row.setting for row in plan.rows if row.method == name] for name in ("Rennala", "Ringmaster")}
    assert max(settings["Rennala"]) <= 16 * 6 and max(settings["Ringmaster"]) == 6
    assert plan.best.method == "ASGD" and plan.best.time == pytest.approx(1e9 / rate, rel=1e-6)


DEAD = {
    "inf": [[1.0, 1.2], [2.0, 2.5], [np.inf, np.inf], [1.0, 1.5]],
    "missing": [[1.0, 1.2], [2.0, 2.5], [], [1.0, 1.5]],
    "nan": np.array([[1.0, 2.0, np.nan, 1.0], [1.2, 2.5, np.nan, 1.5]]),
}


@pytest.mark.parametrize("kind", DEAD)
def test_a_worker_that_never_delivers(kind, tmp_path):
    plan = plan_cluster(DEAD[kind], 4.0, seeds=2)
    sync = plan.synchronous
    assert sync.time == sync.simulated == sync.closed == np.inf and math.isfinite(plan.best.time)
    assert plan.sentence.endswith("while synchronous SGD would wait for worker 2 for ever.")
    alive = plan_cluster([DEAD["inf"][i] for i in (0, 1, 3)], 4.0, seeds=2)
    asgd = lambda plan: next(row for row in plan.rows if row.method == "ASGD")
    assert asgd(plan).time == pytest.approx(asgd(alive).time)  # it is as if that worker were not there
    assert plan.best.time == pytest.approx(alive.best.time)
    assert "of best" in str(plan) and "1 with jobs that never end" in str(plan)
    folder = plan.save(tmp_path / "kept")
    kept = json.loads((folder / "plan.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert kept["mean"][2] == "inf"


def test_a_worker_that_sometimes_never_delivers():
    plan = plan_cluster([[1.0, 1.0], [1.0, 1.0], [1.0, np.inf], [2.0, np.inf]], 4.0, sync_updates=10)
    assert "would wait for workers 2, 3 for ever" in plan.sentence and " in " in plan.sentence
    backup = next(row for row in plan.rows if row.label == "backup, b = 2")
    assert backup.time == pytest.approx(1 + 4 / 2)


def test_nobody_delivers():
    with pytest.raises(ValueError, match="every worker has jobs that never end"):
        plan_cluster([[np.inf], [1.0, np.inf]], 4.0)


@pytest.mark.parametrize(
    "steps, words",
    (
        ([[1.0, 2.0], [1.0, np.nan]], ("worker 1", "nan", "step 1")),
        (np.array([[1.0, np.nan], [1.0, 2.0]]), ("worker 1", "nan", "step 0")),
        ([[1.0, -2.0], [1.0]], ("worker 0", "-2.0", "step 1")),
        ([[1.0, 2.0], [1.0, 0.0]], ("worker 1", "0.0", "step 1", "finer clock")),
        (np.ones(3), ("[steps, workers]", "(3,)")),
        (7.0, ("a list with the steps of each worker", "float")),
        ([], ("a list with the steps of each worker",)),
    ),
)
def test_bad_steps(steps, words):
    with pytest.raises(ValueError) as error:
        plan_cluster(steps, 3.0)
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize(
    "text, words",
    (
        ("1,2\n1,nan\n", ("line 2", "worker 1", "nan")),
        ("a,b\n1,2\n1,-3\n", ("line 3", "worker 1 (b)", "-3")),
        ("1,2\n1,0\n", ("worker 1", "step 1", "0.0")),
        ("1,2\nslow,2\n", ("line 2", "worker 0", "slow")),
        ("\0\1\2\377", ("steps.csv",)),
        ("", ("steps.csv", "no steps")),
    ),
)
def test_bad_files(text, words, tmp_path):
    path = tmp_path / "steps.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError) as error:
        plan_cluster(path, 3.0)
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize(
    "arguments, words",
    (
        ({"noise_to_signal": -1.0}, ("noise_to_signal", "0 or more", "-1.0")),
        ({"noise_to_signal": np.nan}, ("noise_to_signal", "finite", "nan")),
        ({"noise_to_signal": 1.0, "sync_updates": 0}, ("sync_updates", "above 0", "0")),
        ({"noise_to_signal": 1.0, "seeds": 1}, ("seeds", "2 or more", "1")),
    ),
)
def test_bad_numbers(arguments, words):
    with pytest.raises(ValueError) as error:
        plan_cluster(FIXED, **arguments)
    assert all(word in str(error.value) for word in words)


@pytest.mark.long
def test_a_thousand_workers():
    steps = RNG.lognormal(0.0, 0.5, (50, 1000)) * np.sqrt(np.arange(1, 1001))
    began = time.process_time()
    plan = plan_cluster(steps, 30.0)
    assert time.process_time() - began < 60 and len(plan.rows) < 60
    assert {30, 1000} <= {row.setting for row in plan.rows if row.method == "Rennala"}
    for row in plan.rows:
        assert math.isnan(row.expected) or row.simulated == pytest.approx(row.expected, rel=0.1), row.label


# ------------------------------------------------------------------- advice


def made(*rows, mean=(1.0, 1.0)):
    """A plan with such rows: (method, setting, expected or nan, simulated, error)."""
    rows = [
        Row(method, setting, 1.0, 1.0, expected, simulated, error)
        for method, setting, expected, simulated, error in rows
    ]
    mean = np.array(mean)
    return ClusterPlan(rows, 1.0, mean, np.stack([mean, mean]), np.ones(len(mean)))


NAN = math.nan


@pytest.mark.parametrize(
    "rows, best",
    (
        ([("ASGD", 0, 0.97, 0.97, 0.0)], "ASGD"),
        ([("ASGD", 0, 0.99, 0.5, 0.0)], "synchronous"),  # within 2 %, by what is expected
        ([("Rennala", 4, NAN, 0.9, 0.01)], "Rennala, S = 4"),
        ([("Rennala", 4, NAN, 0.9, 0.06)], "synchronous"),  # within two standard errors
        ([("Rennala", 4, NAN, 0.5, 0.01), ("Ringmaster", 2, NAN, 0.51, 0.01)], "Ringmaster, R = 2"),
        ([("Rennala", 4, NAN, 0.5, 0.01), ("Rennala", 2, NAN, 0.505, 0.01)], "Rennala, S = 4"),
        ([("ASGD", 0, 0.5, 0.5, 0.0), ("backup", 1, 0.509, 0.5, 0.0)], "backup, b = 1"),
        ([("ASGD", 0, np.inf, np.inf, NAN)], "synchronous"),
    ),
)
def test_the_simplest_of_the_fastest_is_advised(rows, best):
    assert made(("synchronous", 0, 1.0, 1.0, 0.0), *rows).best.label == best


def test_sentences():
    sync = ("synchronous", 0, 1.0, 1.0, 0.0)
    say = lambda *row, updates=None: replace(made(sync, row), sync_updates=updates).sentence
    assert say("backup", 1, 0.8, 0.8, 0.0) == (
        "Use synchronous SGD with 1 backup worker (b = 1): it is predicted to get there 1.25 times as fast as "
        "synchronous SGD, which saves 20% of the time; the theory leaves a factor of 2 open, so try both."
    )
    assert "2 backup workers (b = 2)" in say("backup", 2, 0.8, 0.8, 0.0)
    assert "in 2500 s instead of 10000 s, 4 times as fast" in say("ASGD", 0, 0.25, 0.25, 0.0, updates=10_000)
    assert "the bound R = 7" in say("Ringmaster", 7, NAN, 0.25, 0.0) and "S = 7" in say("Rennala", 7, NAN, 0.25, 0.0)
    assert "try both" not in say("ASGD", 0, 0.25, 0.25, 0.0)
    assert "1 worker (m = 1)" in say("m-sync", 1, 0.25, 0.25, 0.0)
    assert all(text.count(". ") == 0 and text.endswith(".") for text in (say("ASGD", 0, 0.25, 0.25, 0.0), say(*sync)))


# -------------------------------------------------------------------- files


def test_folder(random, tmp_path):
    folder = random.save(tmp_path / "deep" / "plan")
    with open(folder / "plan.csv", newline="") as file:
        kept = list(csv.DictReader(file))
    for line, row in zip(kept, random.rows, strict=True):
        assert line["method"] == row.method and int(line["setting"]) == row.setting
        assert float(line["time"]) == row.time and float(line["ratio"]) == row.time / random.synchronous.time
        assert line["advised"] == str(row is random.best)
    spec = json.loads((folder / "plan.json").read_text())
    assert spec["noise_to_signal"] == 12.0 and spec["advice"] == random.sentence and spec["seeds"] == 5
    page = (folder / "README.md").read_text()
    assert random.sentence in page and random.table() in page and random.best.call in page
    with pytest.raises(ValueError, match="overwrite=True"):
        random.save(folder)
    random.save(folder, overwrite=True)


def test_figure(random, tmp_path):
    pytest.importorskip("matplotlib")
    paths = [ja.plot.save(random.plot(), tmp_path / name) for name in ("a.svg", "b.svg")]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    figure = random.plot()
    _, right = figure.axes
    assert right.get_title(loc="left") == "Time to the target, q = 12"
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[0] == "synchronous" and labels[-1] == "advised" and len(labels) == 9
    lowest = min(np.min(line.get_ydata()) for line in right.lines if len(line.get_ydata()))
    assert lowest == pytest.approx(min(row.time for row in random.rows) / random.reference, rel=0.05)
    dead = plan_cluster(DEAD["inf"], 4.0, seeds=2).plot()
    assert "synchronous (never)" in [text.get_text() for text in dead.legends[0].get_texts()]
    assert [text.get_text() for text in dead.axes[0].texts] == ["1 never ends"]
    for one in (figure, dead):
        ja.plot.save(one, tmp_path / "c.png")


def test_without_matplotlib(random, tmp_path, monkeypatch):
    from jaxasgd import cluster

    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    folder = random.save(tmp_path / "plain")
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "plan.csv", "plan.json"]
    assert "plan.svg" not in (folder / "README.md").read_text()
