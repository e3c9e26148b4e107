"""Schedules without a clock: the delays asked for, the fewest workers, tables of ages replayed, files, real runs."""

import gzip
import hashlib
import itertools
import json
import os
from pathlib import Path

import cases
import jax
import numpy as np
import optax
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import jaxasgd as ja
from jaxasgd import schedules

few = settings(max_examples=60, deadline=None, derandomize=True, database=None)
DATA = Path(os.environ.get("JAXASGD_DATA") or ".") / "delays"
real = pytest.mark.skipif(not DATA.is_dir(), reason="JAXASGD_DATA names no folder with measured delays")
BCD = ("BCD_Davis_MNIST.csv", "BCD_Adaptive1_CIFAR100.csv")
PIAG = "PIAG_sun_RCV1.csv"


@st.composite
def delay_arrays(draw):
    """Any delays of one gradient an update, delay[t] <= t."""
    rng, updates = np.random.default_rng(draw(st.integers(0, 2**32))), draw(st.integers(1, 60))
    longest = draw(st.sampled_from([0, 1, 5, 100]))
    return np.minimum(np.arange(updates), rng.integers(0, longest + 1, updates))


@st.composite
def age_tables(draw):
    """Any table of ages: at each update somebody delivers, everybody a gradient younger than the last one."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    updates, workers = draw(st.integers(1, 30)), draw(st.integers(1, 5))
    busy = draw(st.sampled_from([0.0, 0.3, 1.0]))
    read, ages = [0] * workers, [[0] * workers]
    for t in range(1, updates):
        who = (rng.random(workers) < busy) & (np.array(read) < t)
        if not who.any():
            who[rng.choice(np.flatnonzero(np.array(read) < t))] = True
        read = [int(rng.integers(r + 1, t + 1)) if w else r for r, w in zip(read, who, strict=True)]
        ages.append([t - r for r in read])
    return np.array(ages)


def flying(delays, version):
    """Jobs in flight at a version: handed out by then, and not yet arrived."""
    return [t for t, delay in enumerate(delays) if t - delay <= version <= t]


def stamped(schedule):
    """(visit, repeat) of every row, as the simulator stamps the jobs of each worker in the order of their versions."""
    handed, out = {}, [None] * len(schedule)
    for row in sorted(range(len(schedule)), key=lambda k: (schedule.read[k], k)):
        last, visit, repeat = handed.get(schedule.worker[row], (-1, -1, 0))
        visit, repeat = (visit, repeat + 1) if schedule.read[row] == last else (visit + 1, 0)
        handed[schedule.worker[row]] = (schedule.read[row], visit, repeat)
        out[row] = (visit, repeat)
    return out


# ------------------------------------------------------------------ one gradient an update


@pytest.mark.parametrize("num_updates", [1, 3, 40])
@pytest.mark.parametrize("delay", [0, 1, 3, 7, 100])
def test_fixed_delay_is_equal_workers_on_a_clock(delay, num_updates):
    made = schedules.fixed_delay(delay, num_updates)
    times = ja.times.fixed(1.0, num_workers=delay + 1)
    simulated = ja.simulate(ja.policies.asgd(), times, num_updates=num_updates)
    for name in ("worker", "read", "visit", "repeat", "size", "use", "weight", "step", "version", "delay"):
        np.testing.assert_array_equal(getattr(made, name), getattr(simulated, name), err_msg=name)
    assert made.num_workers == simulated.num_workers
    assert made.worker.tolist() == [t % (delay + 1) for t in range(num_updates)]
    assert made.delay.tolist() == [min(t, delay) for t in range(num_updates)]


def test_by_hand():
    """Delays 0, 1, 0, 3, 1: the job of update 3 is in flight from the start, so others do the rest."""
    schedule = schedules.from_delays([0, 1, 0, 3, 1], num_workers=4)
    assert schedule.read.tolist() == [0, 0, 2, 0, 3] and schedule.worker.tolist() == [0, 1, 0, 2, 0]
    assert schedule.visit.tolist() == [0, 0, 1, 0, 2] and schedule.repeat.tolist() == [0] * 5
    assert schedule.time.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0] and schedule.start.tolist() == [0.0, 0.0, 2.0, 0.0, 3.0]
    assert (schedule.num_workers, schedule.end, schedule.status, schedule.tags) == (4, 5.0, "finished", {})
    assert schedule.step.all() and schedule.use.all() and (schedule.weight == 1).all() and (schedule.size == 1).all()
    assert len(schedule.unfinished["worker"]) == 0
    assert schedules.from_delays(np.array([0, 1, 0, 3, 1], np.float32), num_workers=4) == schedule


@few
@given(delay_arrays(), st.integers(0, 3))
@example(np.zeros(1, int), 0)
@example(np.arange(20), 0)  # all read version 0: a worker for each
def test_any_delays(delays, more):
    fewest = schedules.from_delays(delays)
    schedule = schedules.from_delays(delays, num_workers=fewest.num_workers + more)
    np.testing.assert_array_equal(schedule.delay, delays)
    np.testing.assert_array_equal(schedule.worker, fewest.worker)
    assert schedule.num_workers == fewest.num_workers + more and schedule.num_updates == len(delays)
    needed = max(len(flying(delays, version)) for version in range(len(delays)))  # that many at once: nobody needs less
    assert fewest.num_workers == needed == len(set(fewest.worker.tolist()))
    for version in range(len(delays)):
        workers = schedule.worker[flying(delays, version)]
        assert len(set(workers.tolist())) == len(workers), f"a worker has two jobs at version {version}"
    assert list(zip(schedule.visit.tolist(), schedule.repeat.tolist(), strict=True)) == stamped(schedule)
    keys = list(zip(schedule.worker.tolist(), schedule.visit.tolist(), schedule.repeat.tolist(), strict=True))
    assert len(set(keys)) == len(keys)
    assert schedule.time.tolist() == [t + 1.0 for t in range(len(delays))]
    assert schedule.start.tolist() == [float(t - delay) for t, delay in enumerate(delays)]


@few
@given(delay_arrays())
@example(np.arange(5))
def test_too_few_workers(delays):
    """The row that is named is one of too many in flight at once, and all before it find a worker."""
    needed = schedules.from_delays(delays).num_workers
    for number in range(1, needed):
        with pytest.raises(ValueError, match=rf"num_workers is {needed} or more; got {number}\.") as caught:
            schedules.from_delays(delays, num_workers=number)
        row, version = (int(caught.value.args[0].split(word)[1].split(end)[0]) for word, end in WHERE)
        jobs = flying(delays, version)
        assert row in jobs and len(jobs) > number and delays[row] == row - version
        assert all(len(flying(delays, earlier)) <= number for earlier in range(version))
        assert sum(t - delays[t] < version or t < row for t in jobs) == number


WHERE = [("row ", ":"), ("at version ", ",")]


@few
@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.integers(1, 40))
def test_periodic_delays(pattern, num_updates):
    expected = [min(t, pattern[t % len(pattern)]) for t in range(num_updates)]
    schedule = schedules.periodic_delays(pattern, num_updates, num_workers=10)
    assert schedule.delay.tolist() == expected and schedule.num_workers == 10
    assert schedules.periodic_delays(pattern, num_updates).worker.tolist() == schedule.worker.tolist()


def shares(schedule, most):
    """How often each delay comes, after the start."""
    delay = schedule.delay[1000:]
    return np.bincount(delay, minlength=most)[:most] / len(delay)


def test_random_delays_have_their_law():
    law, updates = np.array([0.1, 0.0, 0.6, 0.3]), 50_000
    schedule = schedules.random_delays(law, updates, seed=3)
    error = np.sqrt(law * (1 - law) / updates)
    assert (np.abs(shares(schedule, 4) - law) <= 4 * error).all() and schedule.delay.max() == 3
    later, before = schedule.delay[1001:], schedule.delay[1000:-1]
    assert abs(np.corrcoef(later, before)[0, 1]) < 4 / np.sqrt(updates)  # independent
    again, other = (schedules.random_delays(law, updates, seed=seed) for seed in (3, 4))
    assert again == schedule and not np.array_equal(other.delay, schedule.delay)
    drawn = schedules.random_delays(lambda rng, count: rng.poisson(30.0, count), 200, seed=5)
    poisson = np.random.default_rng(5).poisson(30.0, 200)
    assert drawn.delay.tolist() == [min(t, d) for t, d in enumerate(poisson.tolist())]
    assert drawn.delay.tolist() == schedules.from_delays(drawn.delay).delay.tolist()
    assert schedules.random_delays([1], 5, num_workers=3).num_workers == 3


def test_geometric_delays_are_those_of_exponential_workers():
    mean, updates = 7.0, 100_000
    schedule = schedules.geometric_delays(mean, updates, seed=1)
    law = (1 / 8) * (7 / 8) ** np.arange(40)
    assert (np.abs(shares(schedule, 40) - law) <= 4 * np.sqrt(law / updates) + 1e-9).all()
    assert schedule.mean_delay == pytest.approx(mean, abs=4 * np.sqrt(mean * (1 + mean) / updates))
    clock = ja.times.exponential(1.0, num_workers=8)
    simulated = ja.simulate(ja.policies.asgd(), clock, num_updates=updates, seed=1)
    assert (np.abs(shares(simulated, 40) - law) <= 6 * np.sqrt(law / updates)).all()
    assert (schedules.geometric_delays(0.0, 50).delay == 0).all()
    assert schedules.geometric_delays(1e300, 50).delay.tolist() == list(range(50))


# ------------------------------------------------------------------ tables of ages


def replayed(schedule):
    """The ages of all entries at every update, row by row."""
    read, ages = [None] * schedule.num_workers, []
    for row in range(len(schedule)):
        read[schedule.worker[row]] = int(schedule.read[row])
        if schedule.step[row]:
            ages.append([len(ages) - version for version in read])
    return ages


@few
@given(age_tables())
@example(np.zeros((3, 2), int))  # all deliver every time
def test_any_table_of_ages(ages):
    schedule = schedules.from_delays(ages)
    assert replayed(schedule) == ages.tolist()
    assert schedule.num_workers == ages.shape[1] and schedule.num_updates == len(ages)
    assert list(zip(schedule.visit.tolist(), schedule.repeat.tolist(), strict=True)) == stamped(schedule)
    before, delivered = None, []
    for row in range(len(schedule)):  # form: workers in order; weight, step and tag on the last row of an update
        update, last = int(schedule.version[row]), bool(schedule.step[row])
        delivered.append(int(schedule.worker[row]))
        assert schedule.time[row] == update + 1 and schedule.start[row] == schedule.read[row]
        assert schedule.use[row] and schedule.weight[row] == last and schedule.size[row] == 1
        tag = schedule.tags["delay"][row]
        assert tag == ages[update].max() if last else np.isnan(tag)
        if last:
            new = [i for i, age in enumerate(ages[update]) if before is None or age != before[i] + 1]
            assert delivered == new
            before, delivered = ages[update].tolist(), []
    assert schedules.from_delays(ages.astype(np.float32), num_workers=ages.shape[1]) == schedule


@pytest.mark.parametrize("clock", ["equal", "exponential", "pareto"])
def test_a_simulated_table_of_ages_gives_the_simulated_rows(clock):
    """One arrival an update, after the first of all: the policy's own rows, but for the order within the first."""
    simulated = ja.simulate(ja.policies.aggregated(), cases.CLOCKS[clock](), num_updates=60, seed=2)
    n = simulated.num_workers
    made = schedules.from_delays(replayed(simulated))
    assert made.worker[:n].tolist() == sorted(simulated.worker[:n].tolist()) == list(range(n))
    for name in ("worker", "read", "visit", "repeat"):
        np.testing.assert_array_equal(getattr(made, name)[n:], getattr(simulated, name)[n:], err_msg=name)
    for name in ("use", "step", "weight", "size"):
        np.testing.assert_array_equal(getattr(made, name), getattr(simulated, name), err_msg=name)
    np.testing.assert_array_equal(made.tags["delay"], simulated.tags["delay"])


# ------------------------------------------------------------------ runs


def test_a_run_is_the_plain_loop(x64):
    """x[t+1] = x[t] - lr * A (x[t - d_t] - c_i), each worker with a centre of its own."""
    rng = np.random.default_rng(0)
    delays = np.minimum(np.arange(300), rng.integers(0, 9, 300))
    schedule = schedules.from_delays(delays)
    centers, spectrum = rng.normal(size=(schedule.num_workers, 4)), np.array([0.1, 0.3, 0.7, 1.0])
    problem = ja.problems.quadratic(spectrum=spectrum, centers=centers)
    xs = [np.asarray(problem.start)]
    for t, delay in enumerate(delays):
        xs.append(xs[t] - 0.05 * spectrum * (xs[t - delay] - centers[schedule.worker[t]]))
    history = ja.run(problem, schedule, optax.sgd(0.05), key=jax.random.key(0))
    np.testing.assert_allclose(history.params, xs[-1], rtol=0, atol=1e-12)
    assert np.abs(xs[-1] - xs[0]).min() > 1e-2 and history.update[-1] == history.time[-1] == 300


@pytest.mark.parametrize("of", ["method", "parts"])
def test_a_table_runs_as_piag(x64, of):
    """x[t+1] = x[t] - gamma_t * (1/n) sum_i A (x[t - age_ti] - c_i), gamma_t constant, or of Adaptive 1."""
    rng, n, lr, alpha = np.random.default_rng(1), 3, 0.2, 0.9
    read, ages = np.zeros(n, int), [np.zeros(n, int)]
    for t in range(1, 200):
        who = np.flatnonzero((rng.random(n) < 0.4) & (read < t))
        who = who if len(who) else np.array([np.argmin(read)])
        read[who] = rng.integers(read[who] + 1, t + 1)
        ages.append(t - read)
    ages = np.array(ages)
    centers, spectrum = rng.normal(size=(n, 4)), np.array([0.1, 0.3, 0.7, 1.0])
    problem = ja.problems.quadratic(spectrum=spectrum, centers=centers)
    method = ja.methods.piag(lr, alpha=alpha)
    if of == "parts":
        method = ja.Method(ja.policies.aggregated(), optax.sgd(lr), arrival=ja.rules.average_latest(n))
    xs, gammas = [np.asarray(problem.start)], []
    for t, row in enumerate(ages):
        gammas.append(lr if of == "parts" else alpha * max(lr - sum(gammas[t - row.max() : t]), 0))
        mean = sum(spectrum * (xs[t - age] - center) for age, center in zip(row, centers, strict=True)) / n
        xs.append(xs[t] - gammas[t] * mean)
    history = ja.run(problem, schedules.from_delays(ages), method, key=jax.random.key(0))
    np.testing.assert_allclose(history.params, xs[-1], rtol=0, atol=1e-12)
    assert np.abs(xs[-1] - xs[0]).min() > 1e-2 and history.update[-1] == 200


def test_plans_of_seeds_stack():
    """With one number of workers for all seeds they share a plan."""
    made = [schedules.geometric_delays(3.0, 50, num_workers=20, seed=seed) for seed in range(3)]
    assert ja.stack([ja.plan(schedule, evaluate=10) for schedule in made]).time.shape == (3, 6)


# ------------------------------------------------------------------ what is refused, and what is told


TABLE = [[0, 0], [0, 1], [1, 0], [0, 1]]


def table(**entries):
    """TABLE with rows replaced: r2=[...]."""
    return [entries.get(f"r{t}", row) for t, row in enumerate(TABLE)]


REFUSED = {
    "negative delay": (lambda: schedules.fixed_delay(-1, 5), "delay is a whole number, 0 or more; got -1"),
    "fractional delay": (lambda: schedules.fixed_delay(1.5, 5), "delay is a whole number, 0 or more; got 1.5"),
    "no updates": (lambda: schedules.fixed_delay(1, 0), "num_updates is a whole number, 1 or more; got 0"),
    "word for updates": (lambda: schedules.geometric_delays(1.0, "9"), "num_updates is a whole number"),
    "empty pattern": (lambda: schedules.periodic_delays([], 5), "pattern holds whole numbers, 0 or more, in one dim"),
    "word in pattern": (lambda: schedules.periodic_delays(["a"], 5), "pattern holds whole numbers"),
    "negative in pattern": (lambda: schedules.periodic_delays([0, -2], 5), "pattern, row 1: a delay is a .*; got -2"),
    "pattern of tables": (lambda: schedules.periodic_delays([[1, 2]], 5), r"pattern holds .*; got \[\[1, 2\]\]"),
    "pattern needs workers": (lambda: schedules.periodic_delays([2], 5, num_workers=2), "row 2: .* 3 or more; got 2"),
    "law sums to less": (lambda: schedules.random_delays([0.5, 0.4], 5), "sum to one; got a sum of 0.9, the smallest"),
    "law is negative": (lambda: schedules.random_delays([1.5, -0.5], 5), "are 0 or more .* the smallest being -0.5"),
    "law is nan": (lambda: schedules.random_delays([np.nan, 1.0], 5), "0 or more and sum to one; got a sum of nan"),
    "law is a word": (lambda: schedules.random_delays("geometric", 5), "law holds probabilities .*; got 'geometric'"),
    "law is a number": (lambda: schedules.random_delays(7.0, 5), r"law holds probabilities .*function\); got 7.0"),
    "law draws too few": (lambda: schedules.random_delays(lambda rng, n: [1, 2], 5), "count whole .*, 5 here; got 2"),
    "law draws one": (lambda: schedules.random_delays(lambda rng, n: 3, 5), r"law\(rng, count\) holds .*; got 3"),
    "law draws halves": (
        lambda: schedules.random_delays(lambda rng, n: np.full(n, 0.5), 5),
        r"law\(rng, count\), row 0: a delay is a whole number, .*; got 0.5",
    ),
    "negative seed": (lambda: schedules.random_delays([1.0], 5, seed=-1), "seed is a whole number, 0 or more; got -1"),
    "negative mean": (lambda: schedules.geometric_delays(-1.0, 5), "mean is a finite number of updates, 0 or more"),
    "infinite mean": (lambda: schedules.geometric_delays(np.inf, 5), "mean is a finite number of updates"),
    "nothing": (
        lambda: schedules.from_delays([]),
        r"delays holds whole .*, \[updates\] or \[updates, workers\], ",
    ),
    "no workers": (lambda: schedules.from_delays(np.zeros((4, 0))), "delays holds whole numbers"),
    "three dimensions": (lambda: schedules.from_delays(np.zeros((2, 2, 2))), "delays holds whole numbers"),
    "one number": (lambda: schedules.from_delays(3), r"delays holds whole numbers.*; got 3\."),
    "ragged": (lambda: schedules.from_delays([[0, 0], [0]]), r"delays holds whole numbers.*; got \[\[0, 0\], \[0\]\]"),
    "booleans": (lambda: schedules.from_delays([False, True]), "delays holds whole numbers"),
    "words": (lambda: schedules.from_delays(["0", "1"]), "delays holds whole numbers"),
    "nan": (lambda: schedules.from_delays([0, np.nan]), "delays, row 1: a delay is a whole number, 0.*; got nan"),
    "infinite": (lambda: schedules.from_delays([0, np.inf]), "delays, row 1: a delay is a whole number, 0.*; got inf"),
    "half": (lambda: schedules.from_delays([0, 0.5]), "delays, row 1: a delay is a whole number, 0.*; got 0.5"),
    "negative": (lambda: schedules.from_delays([0, -1]), "delays, row 1: a delay is a whole number, 0.*; got -1"),
    "huge": (lambda: schedules.from_delays(np.array([0, 2**63], np.uint64)), "row 1: .*; got 9223372036854775808"),
    "older than the run": (lambda: schedules.from_delays([0, 1, 3]), "row 2: a delay is at most 2, the .*; got 3"),
    "not at the start": (lambda: schedules.from_delays([1, 0]), "row 0: a delay is at most 0, the .*; got 1"),
    "too few workers": (
        lambda: schedules.from_delays([0, 1, 2, 0], num_workers=2),
        "row 2: its job is in flight with 2 others at version 0, .* num_workers is 3 or more; got 2",
    ),
    "no worker": (lambda: schedules.from_delays([0], num_workers=0), "num_workers is a whole number, 1 or more; got 0"),
    "half in a table": (lambda: schedules.from_delays(table(r1=[0, 0.5])), "row 1, worker 1: a delay is .*; got 0.5"),
    "older than the run in a table": (lambda: schedules.from_delays(table(r1=[2, 0])), "row 1, worker 0: .* most 1,"),
    "an older gradient": (
        lambda: schedules.from_delays(table(r3=[3, 0])),
        "row 3, worker 0: an age grows by 1 from one update to the next, or is a newer gradient's; got 3 after 1: are",
    ),
    "nobody delivers": (
        lambda: schedules.from_delays(table(r3=[2, 1])),
        r"row 3: for every update somebody has delivered, .* got \[2, 1\]: no row says",
    ),
    "more workers than columns": (
        lambda: schedules.from_delays(TABLE, num_workers=3),
        "a table has a column for each worker, 2; got num_workers=3: leave it out",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    make, words = REFUSED[case]
    with pytest.raises(ValueError, match=words):
        make()


def test_the_tables_of_the_errors_are_right_but_for_them():
    assert schedules.from_delays(TABLE).num_updates == 4
    assert schedules.from_delays([0, 1, 2, 0], num_workers=3).num_workers == 3


def test_info_names_the_numbers_and_does_not_hold_them(tmp_path):
    rng = np.random.default_rng(0)
    law = rng.dirichlet(np.ones(500))
    made = {
        "fixed": schedules.fixed_delay(3, 400),
        "periodic": schedules.periodic_delays(rng.integers(0, 9, 500), 400),
        "random": schedules.random_delays(law, 400, seed=7),
        "geometric": schedules.geometric_delays(2.5, 400, seed=7),
        "given": schedules.from_delays(np.minimum(np.arange(400), rng.integers(0, 9, 400))),
    }
    for name, schedule in made.items():
        assert schedule.info["delays"] == name and len(json.dumps(schedule.info)) < 250
        assert ja.Schedule.load(schedule.save(tmp_path / "one.npz")) == schedule
    assert made["fixed"].info == {"delays": "fixed", "delay": 3}
    assert made["geometric"].info == {"delays": "geometric", "mean": 2.5, "seed": 7}
    assert made["random"].info["law"]["shape"] == [500] and made["random"].info["seed"] == 7
    assert schedules.random_delays(np.random.Generator.permutation, 5).info["law"]["name"] == "permutation"
    tables = ([0, 1], [0.0, 1.0], [0, 0], [[0], [0]])
    told = [schedules.from_delays(delays).info["table"] for delays in tables]
    assert told[0] == told[1] and len({str(one) for one in told}) == 3
    assert told[0] == {"shape": [2], "sha256": hashlib.sha256(bytes(8) + b"\1" + bytes(7)).hexdigest()}


# ------------------------------------------------------------------ files


def written(tmp_path, text, name="delays.csv"):
    path, content = tmp_path / name, text.encode("latin-1")
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


@pytest.mark.parametrize("name", ["delays.csv", "delays.csv.gz"])
def test_read_delays(tmp_path, name):
    read = lambda text: schedules.read_delays(written(tmp_path, text, name))
    assert read("0\n1\n2.0\n3.000e+00\n").tolist() == [0, 1, 2, 3] and read("0\n").dtype == np.int64
    assert read("0.0e+00, 0\r\n1,0\r\n").tolist() == [[0, 0], [1, 0]]
    assert read("12\n").shape == (1,) and read("1,2\n").shape == (1, 2)
    path = tmp_path / "plain.csv"
    path.write_bytes(gzip.compress(b"0\n1\n"))  # gzipped, whatever its name
    assert schedules.read_delays(str(path)).tolist() == [0, 1]


def test_what_numpy_writes(tmp_path):
    rng = np.random.default_rng(0)
    for array in (rng.integers(0, 10**6, 50), rng.integers(0, 30, (50, 8))):
        np.savetxt(tmp_path / "delays.csv", array, delimiter=",")  # 1.0e+00 and so on
        np.testing.assert_array_equal(schedules.read_delays(tmp_path / "delays.csv"), array)


WHOLE = "delays are whole numbers, 0 or more, with commas between them"
DAMAGED = {
    "empty": ("", r"line 1: there is a line for every update, .* cut, fetch it again; got ''"),
    "header": ("delay\n0\n", f"line 1: {WHOLE}; got 'delay'"),
    "word": ("0\n1\nthree\n", f"line 3: {WHOLE}; got 'three'"),
    "blank line": ("0\n\n1\n", f"line 2: {WHOLE}; got ''"),
    "negative": ("0\n-1\n", f"line 2: {WHOLE}; got '-1'"),
    "half": ("0\n1.5\n", f"line 2: {WHOLE}; got '1.5'"),
    "nan": ("0\nnan\n", f"line 2: {WHOLE}"),
    "inf": ("0\n1e999\n", f"line 2: {WHOLE}"),
    "huge": ("0\n1e10\n", f"line 2: {WHOLE}"),
    "underscore": ("0\n1_0\n", f"line 2: {WHOLE}"),
    "other digits": ("0\n\xb2\n", f"line 2: {WHOLE}"),
    "spaces between": ("0 0\n", f"line 1: {WHOLE}"),
    "ragged": ("0,0\n0,1\n1\n", "line 3: all lines hold as many numbers as the first, 2; got '1'"),
    "comma at the end": ("0,0\n0,1,\n", f"line 2: {WHOLE}; got '0,1,'"),
    "cut": ("0,0\n0,1", "line 2: there is a line for every update, with an end: .*; got '0,1'"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_files(tmp_path, case):
    text, words = DAMAGED[case]
    with pytest.raises(ValueError, match=rf"^'delays.csv', {words}"):
        schedules.read_delays(written(tmp_path, text))


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no table of delays at .*nothing.csv"):
        schedules.read_delays(tmp_path / "nothing.csv")
    with pytest.raises(FileNotFoundError, match="no table of delays"):
        schedules.read_delays(tmp_path)
    whole = gzip.compress(b"0\n1\n2\n")
    for content in (whole[:10], whole[:-3], whole[:15] + b"?" + whole[16:], b"no gzip", b""):
        (tmp_path / "delays.csv.gz").write_bytes(content)
        with pytest.raises(ValueError, match=r"'delays.csv.gz'(, line 1: there is a line| does not unpack)"):
            schedules.read_delays(tmp_path / "delays.csv.gz")


def test_fuzzed_files(tmp_path):
    """A file that was cut or altered is refused by its line, or is another table of delays; nothing else happens."""
    rng = np.random.default_rng(0)
    lines = [",".join(f"{age:.18e}" for age in row) for row in TABLE]
    text, refused = "\n".join(lines) + "\n", 0
    for _ in range(400):
        place, kind = int(rng.integers(len(text))), rng.integers(3)
        byte = chr(rng.integers(256))
        changed = (text[:place], text[:place] + byte + text[place + 1 :], text[:place] + byte + text[place:])[kind]
        try:
            array = schedules.read_delays(written(tmp_path, changed))
        except ValueError as error:
            refused += 1
            line = int(str(error).split("line ")[1].split(":")[0])
            assert str(error).startswith("'delays.csv', line") and 1 <= line <= changed.count("\n") + 1
        else:
            assert array.dtype == np.int64 and (array >= 0).all() and len(array) == changed.count("\n")
    assert refused > 200


# ------------------------------------------------------------------ measured delays


@real
@pytest.mark.parametrize("name", BCD)
def test_measured_delays_fit_into_eight_workers(name):
    delays = schedules.read_delays(DATA / name)
    schedule = schedules.from_delays(delays)
    assert schedule.num_workers == 8  # that is how many the run had
    np.testing.assert_array_equal(schedule.delay, delays)
    with pytest.raises(ValueError, match="num_workers is 8 or more; got 7"):
        schedules.from_delays(delays, num_workers=7)
    waited = 7 * len(delays) - delays.sum()  # 8 workers' seconds less those of the jobs that arrived
    assert 0 <= waited <= 8 * delays.max()  # the jobs in flight at the end: nobody waits, the mean delay is n - 1


@real
def test_measured_ages_are_those_of_workers_who_never_wait():
    """The table is replayed, and every worker's next read is the update that its gradient went into."""
    ages = schedules.read_delays(DATA / PIAG)
    schedule = schedules.from_delays(ages)
    assert schedule.num_workers == 8 and schedule.num_updates == len(ages) and replayed(schedule) == ages.tolist()
    for worker in range(8):
        rows = np.flatnonzero(schedule.worker == worker)
        for one, following in itertools.pairwise(rows):
            assert schedule.read[following] == schedule.version[one] + 1
    assert len(schedule) > 2 * len(ages)  # several arrive at once
    problem = ja.problems.quadratic(dim=5, centers=np.eye(8, 5))
    history = ja.run(problem, schedule, ja.methods.piag(0.9), key=jax.random.key(0))
    assert history.loss[-1] < 1e-3 * history.loss[0]
