"""Measured times: files, records that are played again, and draws from them."""

import gzip
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import jaxasgd as ja

T = ja.times
SAMPLES = 40_000
steady = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def sample(times, worker, count, seed=0):
    durations = times.durations(seed)
    return np.array([durations(worker, j) for j in range(count)])


# ---------------------------------------------------------------------------------------------- files


def write(folder, text, name="steps.csv"):
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize(
    "text, expected",
    [
        ("0.5,2\n0.25,\n", [[0.5, 0.25], [2.0]]),
        ("a,b\n0.5,2\n0.25,\n", [[0.5, 0.25], [2.0]]),
        ("\ufeff\n a , b \r\n 0.5 , 2 \r\n0.25, \r\n\r\n\r\n", [[0.5, 0.25], [2.0]]),
        ('"gpu, fast",b\n1e-3,inf\n.5,Infinity', [[0.001, 0.5], [np.inf, np.inf]]),
        ("1\n2\n\n", [[1.0, 2.0]]),
        ("a,\n1,2\n", [[1.0], [2.0]]),
        ("0,1\n3,4\n", [[0.0, 3.0], [1.0, 4.0]]),  # names that are numbers are seconds
    ],
)
@pytest.mark.parametrize("name", ["steps.csv", "steps.csv.gz", "steps.txt"])
def test_files_are_read(tmp_path, text, expected, name):
    found = T.read_steps(write(tmp_path, text, name))
    assert [column.tolist() for column in found] == expected
    assert all(column.dtype == np.float64 for column in found)


@pytest.mark.parametrize(
    "text, says",
    [
        ("1,2\n3,fast\n", r"'steps.csv', line 2, worker 1: .*seconds.*got 'fast'"),
        ("1,b\n3,4\n", r"line 1, worker 1: .*got 'b'"),
        ("a,b\n1,2\nc,4\n", r"line 3, worker 0 \(a\): .*got 'c'"),
        ("a,b\n1,-2\n", r"line 2, worker 1 \(b\): .*0 or more .*got '-2'"),
        ("1,-inf\n", r"line 1, worker 1: .*got '-inf'"),
        ("1,2\n1,nan\n", r"line 2, worker 1: .*got nan\. Leave a cell empty"),
        ("nan,nan\n", r"line 1, worker 0: .*got nan"),
        ("1,2\n1,2,3\n", r"line 2: .*each of 2 workers.*got 3 cells"),
        ("1,2\n1\n", r"line 2: .*got 1 cells"),
        ("1,2\n,3\n4,5\n", r"line 3, worker 0: .*ended with the empty cell in line 2; got '4'"),
        ("1,2\n\n4,5\n", r"line 3, worker 0: .*empty cell in line 2"),
        ("a,b\n1,\n", r"worker 1 \(b\) has no steps\. Delete"),
        ("a,b\n", r"worker 0 \(a\) has no steps"),
        ("", r"'steps.csv' holds no steps"),
        ("\n\n", r"holds no steps"),
        ("1;2\n3;4\n", r"worker 0 \(1;2\): .*got '3;4'"),
        ("1_0,2\n", r"got '1_0'"),
        ("\x00\x01", r"no steps|no CSV"),
    ],
)
def test_files_are_checked(tmp_path, text, says):
    with pytest.raises(ValueError, match=says):
        T.read_steps(write(tmp_path, text))


def test_foreign_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="no steps at"):
        T.read_steps(tmp_path / "none.csv")
    (tmp_path / "plain.csv.gz").write_text("1,2\n")
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(b"1,2\n" * 10_000)[:60])
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)))
    for name in ("plain.csv.gz", "cut.csv.gz", "binary.csv"):
        with pytest.raises(ValueError, match=rf"'{name}' is no CSV file of seconds: .*UTF-8"):
            T.read_steps(tmp_path / name)


@steady
@given(st.lists(st.lists(st.floats(0, 1e300), min_size=1, max_size=8), min_size=1, max_size=5), st.booleans())
def test_a_written_file_is_read_back_to_the_bit(tmp_path_factory, steps, header):
    rows = [[repr(s[k]) if k < len(s) else "" for s in steps] for k in range(max(map(len, steps)))]
    head = [[f"w{i}" for i in range(len(steps))]] if header else []
    text = "\n".join(",".join(row) for row in head + rows)
    found = T.read_steps(write(tmp_path_factory.mktemp("steps"), text))
    assert [column.tolist() for column in found] == steps


def test_the_three_forms_of_a_record_are_one(tmp_path):
    path = write(tmp_path, "a,b\n0.5,2\n0.25,\n1,\n")
    table = np.array([[0.5, 2.0], [0.25, np.nan], [1.0, np.nan]])
    for make in (T.recorded, T.bootstrap):
        models = [make(form) for form in (path, str(path), table, [[0.5, 0.25, 1.0], np.array([2])])]
        for times in models:
            assert times.args == models[0].args and "path" not in str(times.args) and times.num_workers == 2
            np.testing.assert_array_equal(times.mean, [1.75 / 3, 2.0])
            assert all((sample(times, i, 200) == sample(models[0], i, 200)).all() for i in range(2))


def test_a_record_is_played_job_by_job():
    steps = [np.arange(1.0, 4.0), np.arange(100.0)]
    again, once = T.recorded(steps), T.recorded(steps, after="stop")
    for seed in (0, 5):
        assert sample(again, 0, 300, seed).tolist() == [1.0, 2.0, 3.0] * 100
        assert sample(again, 1, 300, seed).tolist() == [float(j % 100) for j in range(300)]
        assert sample(once, 0, 300, seed).tolist() == [1.0, 2.0, 3.0] + [np.inf] * 297
        assert sample(once, 1, 300, seed).tolist() == [*range(100)] + [np.inf] * 200
    durations = again.durations(0)
    assert [durations(1, j) for j in (10**12 + 7, 63, 64, 0)] == [7.0, 63.0, 64.0, 0.0]


def test_a_record_that_stops_ends_the_run():
    times = T.recorded([[1.0, 2.0], [4.0]], after="stop")
    run = ja.simulate(ja.policies.asgd(), times, num_updates=100)
    assert run.status == "stalled" and run.time.tolist() == [1.0, 3.0, 4.0] and run.worker.tolist() == [0, 0, 1]


def test_the_mean_of_a_record_is_exact():
    awkward = [1e16, 1.0, -0.0, 1.0] * 3
    assert T.recorded([awkward]).mean[0] == math.fsum(awkward) / 12
    assert T.bootstrap([[1.0, np.inf], [2.0, 4.0]]).mean.tolist() == [math.inf, 3.0]


def test_bootstrap_draws_each_step_as_often():
    steps = [1.0, 2.0, 2.0, 5.0]
    values = sample(T.bootstrap([steps, [7.0]]), 0, SAMPLES)
    counts = np.array([(values == v).sum() for v in (1.0, 2.0, 5.0)])
    assert counts.sum() == SAMPLES and stats.chisquare(counts, SAMPLES * np.array([0.25, 0.5, 0.25])).pvalue > 1e-3
    assert abs(np.corrcoef(values[1:], values[:-1])[0, 1]) < 4 / np.sqrt(SAMPLES)


def test_a_policy_that_asks_for_the_law_of_a_record_is_told_it():
    chance = ja.policies.success_within(T.recorded([[1.0, 2.0, 3.0, 4.0]]), 2.5)
    assert abs(chance[0] - 0.5) < 4 * np.sqrt(0.25 / 16_384)


def test_long_records_have_a_digest():
    short, long = np.ones((500, 2)), np.ones((501, 2))
    assert T.recorded(short).args == {"steps": [[1.0] * 500] * 2, "after": "repeat"}
    said = T.recorded(long).args["steps"]
    assert said["count"] == 1002 and len(said["sha256"]) == 64
    changed = long.copy()
    changed[300, 1] = 1.0 + 1e-15
    digests = {T.bootstrap(x).args["steps"]["sha256"] for x in (long, changed, np.ones((334, 3)), long.astype(int))}
    assert len(digests) == 3  # of numbers and shapes, not of dtypes
    with pytest.raises(ValueError, match="steps is a path, an array"):
        T.recorded(said)


def test_a_record_keeps_its_own_numbers():
    steps = np.ones((3, 2))
    times = T.recorded(steps)
    steps[:] = 9.0
    assert sample(times, 1, 5).tolist() == [1.0] * 5


# ---------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda t: t.recorded([]), r"steps is a path, an array .* got list"),
        (lambda t: t.recorded(3.0), r"got float"),
        (lambda t: t.recorded([0.5, 0.25]), r"one or more numbers; worker 0 has shape \(\)"),
        (lambda t: t.recorded([[1.0], []]), r"worker 1 has shape \(0,\)"),
        (lambda t: t.recorded([[1.0], ["a"]]), r"one or more numbers; worker 1"),
        (lambda t: t.recorded([[1.0], [[1.0], [1.0, 2.0]]]), r"worker 1 has shape"),
        (
            lambda t: t.recorded(np.ones(3)),
            r"\[steps, workers\]; got shape \(3,\)\. Of one worker it is steps\[:, None\]",
        ),
        (lambda t: t.recorded(np.ones((0, 3))), r"got shape \(0, 3\)"),
        (lambda t: t.recorded(np.array([[1.0, np.nan]])), r"worker 1 has none"),
        (lambda t: t.recorded(np.array([[1.0], [np.nan], [1.0]])), r"nan: only after.*worker 0 has nan as its step 1"),
        (lambda t: t.recorded([[1.0, np.nan]]), r"worker 0 has nan as its step 1"),
        (lambda t: t.bootstrap([[1.0], [1.0, -2.0]]), r"times.bootstrap: .*worker 1 has -2.0 as its step 1"),
        (lambda t: t.recorded([[1.0]], after="begin"), r'after is "repeat" or "stop"; got \'begin\''),
    ],
)
def test_errors_say_rule_value_and_remedy(call, says):
    with pytest.raises(ValueError, match=says):
        call(T)
