"""The command: what it says, what it refuses, and that its folder holds what the library computes."""

import dataclasses
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import jaxasgd as ja
from jaxasgd import advice, building, cli

pytest.importorskip("tyro", reason="the command is made with tyro")
from jaxasgd import examples, options

TINY = "compare --dim 4 --workers 3 --seeds 2 --until 6 --learning-rate 0.2 --methods "


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Every test works in an empty folder, with no data sets in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JAXASGD_DATA", raising=False)
    return tmp_path


@pytest.fixture
def say(capsys):
    """Run the command in this process: its exit code, standard output and standard error."""

    def run(line):
        code = cli.main(shlex.split(line))
        return code, *capsys.readouterr()

    return run


def write_libsvm(path, labels=(1, 2)):
    rng = np.random.default_rng(0)
    rows = (f"{labels[k % len(labels)]} 1:{rng.normal():.3f} 2:{k % 3}" for k in range(40))
    Path(path).write_text("\n".join(rows) + "\n")


# ------------------------------------------------------------------- help, version, lists


def test_help_teaches(say):
    code, top, _ = say("--help")
    assert code == 0 and all(word in top for word in ("compare", "plan", "list", "plot", "--version"))
    assert say("")[:2] == (0, top)
    for line in ("compare --help", "plan --help", "list --help", "plot --help"):
        code, text, error = say(line)
        assert code == 0 and not error
        assert "\x1b" not in text and "None" not in text  # plain where nobody watches; every default in words
    text, plan = say("compare --help")[1], say("plan --help")[1]
    assert text.endswith(examples.EXAMPLES) and plan.endswith(examples.PLAN_EXAMPLES)
    text += plan
    groups = (options.ProblemOptions, options.ClockOptions, options.RunOptions, options.OutputOptions, options.Plan)
    for group in groups:
        for field in dataclasses.fields(group):
            flag = building.flags([field.name])
            assert flag + " " in text
            assert f"    {field.name}: " in group.__doc__


def test_every_default_belongs_to_an_option():
    names = {f.name for group in (options.ProblemOptions, options.ClockOptions) for f in dataclasses.fields(group)}
    tables = [takes for _, takes in building.PROBLEMS.values()] + list(building.LAWS.values())
    assert {name for takes in tables for name in takes} <= names


@pytest.mark.parametrize("arguments", (["--version"], ["list", "methods"]))
def test_as_a_module(arguments):
    environment = os.environ | {"PYTHONPATH": str(Path(ja.__file__).parents[1])}
    command = [sys.executable, "-W", "error", "-m", "jaxasgd", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert done.stdout.strip() == f"jaxasgd {ja.__version__}" if arguments == ["--version"] else "asgd" in done.stdout


def test_list_shows_what_there_is(say):
    code, text, _ = say("list")
    lines = [line.split() for line in text.splitlines()]
    shown = {line[0] for line in lines if line}
    assert code == 0
    assert {name for name in ja.methods.__all__ if hasattr(getattr(ja.methods, name), "entry")} <= shown
    assert {"asgd", "synchronous", "scale_by_delay", "lognormal", "with_straggler", "from_loss"} <= shown
    assert not {"Method", "late", "Policy", "GRADIENT", "Dataset"} & shown
    assert "A quadratic with a chosen condition number. (--dim, --condition, --noise)" in text
    _, text, _ = say("list methods")
    assert "\n  backup_sgd(learning_rate, backup=1, late='cancel')\n" in text and "Chen et al. 2016" in text
    _, table, _ = say("list methods --markdown")
    assert "| `backup_sgd` | [Chen et al. 2016](https://arxiv.org/abs/1604.00981) | `synchronous` | `sgd` |" in table
    assert "lognormal" not in text
    assert "below ./results" in say("list results")[1]


# ------------------------------------------------------------------- compare


def test_compare_is_the_library(say, folder):
    line = TINY + "sync_sgd backup_sgd:backup=1,late=ignore asgd:learning_rate=0.05 asgd:learning_rate=0.1"
    line += " --condition 5 --times lognormal --sigma 0.3 --spread 2 --slowest 4"
    line += f" --out {folder}/kept/tiny"
    code, out, error = say(line)
    assert (code, error) == (0, "")
    kept = ja.results.load("kept/tiny")
    times = ja.times.with_straggler(ja.times.lognormal([1.0, 1.5, 2.0], 0.3), 2, 4.0)
    methods = {
        "sync_sgd": ja.methods.sync_sgd(0.2),
        "backup_sgd": ja.methods.backup_sgd(0.2, backup=1, late="ignore"),
        "asgd:learning_rate=0.05": ja.methods.asgd(0.05),
        "asgd:learning_rate=0.1": ja.methods.asgd(0.1),
    }
    table = ja.compare(ja.problems.quadratic(4, 5.0, noise=0.1), times, methods, until=6.0, seeds=2)
    assert kept.methods == list(methods)
    for mine, other in zip(kept.runs, table.runs, strict=True):
        assert (mine.method, mine.seed, mine.status) == (other.method, other.seed, other.status)
        for name, values in other.columns.items():
            np.testing.assert_array_equal(mine.columns[name].astype(values.dtype), values)
    assert all(kept.schedules[name] == schedule for name, schedule in table.schedules.items())

    assert str(table) in out and "jaxasgd plot" in out
    spec = json.loads(Path("kept/tiny/spec.json").read_text())
    assert spec["problem"] == {"name": "quadratic", "dim": 4, "condition": 5.0, "noise": 0.1}
    assert spec["methods"]["backup_sgd"]["arguments"] == {"backup": 1, "late": "ignore", "learning_rate": 0.2}
    assert spec["command"] == f"jaxasgd {line}".replace(str(folder / "kept" / "tiny"), "tiny")
    assert str(folder) not in Path("kept/tiny/spec.json").read_text()


def test_folder_by_default_and_quiet(say):
    assert say(TINY + "asgd --quiet") == (0, "", "")
    assert Path("results/quadratic-exponential-3/spec.json").is_file()
    assert "results/quadratic-exponential-3  asgd; 2 seeds" in say("list results")[1]
    assert say(TINY + "asgd --quiet --overwrite") == (0, "", "")


@pytest.mark.parametrize("line", examples.EXAMPLES.replace("\\\n", " ").split("\n    ")[1:])
def test_examples_of_the_help(say, monkeypatch, line):
    """As they stand in the help, but run on two samples, for 3 updates."""
    whole, line = ja.compare, line.split("\n")[0].removeprefix("jaxasgd ")
    small = ja.problems.logistic(np.eye(2, dtype=np.float32), np.array([-1.0, 1.0], np.float32))
    short = lambda problem, *rest, **ends: whole(small, *rest, num_updates=3, seeds=1)
    monkeypatch.setattr(ja, "compare", short)
    write_libsvm("train.txt")
    if "--problem" in line:
        pytest.importorskip("sklearn")
        pytest.importorskip("flax")
    if line.startswith(("plot", "report")):
        pytest.importorskip("matplotlib")
        pytest.importorskip("jinja2")
        pytest.importorskip("markdown_it")
        say("compare --out results/mine --methods asgd:learning_rate=1 --updates 3")
    assert say(line)[::2] == (0, "")


def test_without_matplotlib_there_is_a_hint(say, monkeypatch):
    monkeypatch.setattr(cli, "find_spec", lambda name: None)
    code, out, _ = say(TINY + "asgd")
    assert code == 0 and 'pip install "jaxasgd[plot]"' in out
    assert not list(Path("results").rglob("*.svg"))


def test_interrupted(say, monkeypatch):
    def interrupt(*a, **k):
        raise KeyboardInterrupt

    monkeypatch.setattr(ja, "compare", interrupt)
    assert say(TINY + "asgd") == (130, "", "jaxasgd: interrupted\n")


def test_without_tyro(say, monkeypatch):
    monkeypatch.setitem(sys.modules, "tyro", None)
    assert say("list") == (2, "", 'jaxasgd: the command needs tyro: pip install "jaxasgd[cli]"\n')


# ------------------------------------------------------------------- plan


def write_steps(path="my.csv"):
    steps = np.random.default_rng(0).gamma(9.0, 1 / 9, (20, 4)) * [1.0, 1.0, 1.0, 4.0]
    np.savetxt(path, steps, fmt="%.4f", delimiter=",", header="a,b,c,d", comments="")


def test_plan_is_the_library(say, folder):
    write_steps()
    line = (
        f"plan --step-times {folder}/my.csv --noise-to-signal 8 --sync-updates 300 --seeds 2 --out {folder}/kept/mine"
    )
    code, out, error = say(line)
    assert (code, error) == (0, "")
    plan = advice.plan_cluster("my.csv", 8.0, sync_updates=300, seeds=2)
    assert str(plan) in out and out.count(plan.sentence) == 1
    assert {"plan.csv", "plan.json", "README.md"} <= {path.name for path in Path("kept/mine").iterdir()}
    spec = json.loads(Path("kept/mine/plan.json").read_text())
    assert spec["advice"] == plan.sentence and spec["step_times"] == "my.csv"
    command = "jaxasgd plan --step-times my.csv --noise-to-signal 8 --sync-updates 300 --seeds 2 --out mine"
    assert spec["command"] == command and str(folder) not in Path("kept/mine/README.md").read_text()


def test_plan_by_default_and_quiet(say):
    write_steps()
    line = "plan --step-times my.csv --noise-to-signal 0 --seeds 2 --quiet"
    assert say(line) == (0, "", "") and Path("results/plan-my/plan.csv").is_file()
    assert say(line)[0] == 2 and say(line + " --overwrite") == (0, "", "")


def test_plan_without_matplotlib(say, monkeypatch):
    from jaxasgd import cluster

    write_steps()
    for module in (cli, cluster):
        monkeypatch.setattr(module, "find_spec", lambda name: None)
    code, out, _ = say("plan --step-times my.csv --noise-to-signal 8 --seeds 2")
    assert code == 0 and 'pip install "jaxasgd[plot]"' in out and not list(Path("results").rglob("*.svg"))


@pytest.mark.parametrize("line", examples.PLAN_EXAMPLES.split("\n    ")[1:])
def test_examples_of_plan(say, line):
    write_steps()
    assert say(line.split("\n")[0].removeprefix("jaxasgd "))[::2] == (0, "")


# ------------------------------------------------------------------- what options become


@pytest.mark.parametrize("law", building.LAWS)
def test_laws_take_one_second_on_average(law):
    mean = lambda **said: building.build_times(ja, options.ClockOptions(times=law, workers=3, **said)).mean
    np.testing.assert_allclose(mean(), 1)
    np.testing.assert_allclose(mean(spread=3.0), [1, 2, 3])
    np.testing.assert_allclose(mean(spread=3.0, slowest=10.0), [1, 2, 30])


def test_pareto_by_its_minimum():
    said = options.ClockOptions(times="pareto", workers=2, minimum=1.0, tail_index=0.9)
    assert np.isinf(building.build_times(ja, said).mean).all()


@pytest.mark.parametrize(
    "said, numbers, metrics",
    (
        ({"problem": "quadratic"}, {"dim": 100, "condition": 10.0, "noise": 0.1}, {"loss"}),
        ({"problem": "tridiagonal", "dim": 9}, {"dim": 9, "noise": 0.01}, {"loss"}),
        ({"problem": "toy", "shards": "iid"}, {"batch_size": 1, "samples": 100, "shards": "iid"}, {"loss"}),
        ({"problem": "libsvm", "data": Path("deep/f.txt")}, {"data": "f.txt", "samples": 40}, {"loss", "accuracy"}),
        ({"problem": "breast_cancer"}, {"batch_size": 32, "samples": 455}, {"loss", "accuracy", "test_accuracy"}),
        (
            {"problem": "digits", "hidden": (), "shards": "dirichlet", "alpha": 1.0},
            {"hidden": (), "alpha": 1.0, "samples": 1437},
            {"loss", "accuracy", "test_loss", "test_accuracy"},
        ),
    ),
    ids=lambda value: value.get("problem") if isinstance(value, dict) else None,
)
def test_problems(said, numbers, metrics):
    import jax

    if said["problem"] in ("libsvm", "digits", "breast_cancer"):
        pytest.importorskip("sklearn")
    if said["problem"] == "digits":
        pytest.importorskip("flax")
    Path("deep").mkdir()
    write_libsvm("deep/f.txt")
    problem, told = building.build_problem(ja, options.ProblemOptions(**said), 4)
    assert told["name"] == said["problem"] and numbers.items() <= told.items()
    assert problem.num_shards == (4 if "shards" in said else None)
    assert metrics <= jax.eval_shape(lambda: problem.evaluate(problem.init(jax.random.key(0)))).keys()
    json.dumps(told)


def with_types(values, *rest, late="cancel", bound=None):
    """A method with all kinds of arguments."""


@pytest.mark.parametrize(
    "text, values",
    (
        ("m:values=1", {"values": 1}),
        ("m:values=-1e-3,late=ignore", {"values": -1e-3, "late": "ignore"}),
        ("m:values=[1,2.5],bound=inf", {"values": [1, 2.5], "bound": np.inf}),
        ("m:values=None,late='a, b',bound=True", {"values": None, "late": "a, b", "bound": True}),
    ),
)
def test_arguments_of_methods(text, values):
    assert building.method_arguments(text, with_types, learning_rate=0.1) == values


# ------------------------------------------------------------------- plot


def test_plot_again(say):
    pytest.importorskip("matplotlib")
    say(TINY + "sync_sgd asgd --out kept")
    drawn = Path("kept/overview.svg").read_bytes()
    Path("kept/overview.svg").unlink()
    assert say("plot kept") == (0, "figure   kept/overview.svg\n", "")
    assert Path("kept/overview.svg").read_bytes() == drawn
    assert say("plot kept --against update")[0] == 0 and Path("kept/loss-update.svg").is_file()
    assert say("plot kept --of loss --out a.png")[0] == 0 and Path("a.png").is_file()


# ------------------------------------------------------------------- errors

GOOD = "compare --methods asgd:learning_rate=0.1 --until 5 "
PLAN = "plan --step-times my.csv --noise-to-signal 3 "
ERRORS = {
    "unknown method": ("compare --methods sync_sgdd --until 5", "did you mean sync_sgd", "jaxasgd list methods"),
    "no method": ("compare --until 5", "--methods sync_sgd", "jaxasgd list methods"),
    "the same method twice": ("compare --methods asgd asgd --learning-rate 1 --until 5", "'asgd' twice"),
    "no learning rate": ("compare --methods asgd --until 5", "needs learning_rate", "--learning-rate 0.1"),
    "unknown argument": ("compare --methods asgd:lerning_rate=1 --until 5", "did you mean learning_rate"),
    "text for a number": ("compare --methods asgd:learning_rate=fast --until 5", "learning_rate", "'fast'", "number"),
    "argument without name": ("compare --methods asgd:0.1 --until 5", "NAME:ARGUMENT=VALUE", "asgd:learning_rate=0.1"),
    "argument that is code": ("compare --methods 'asgd:learning_rate=f()' --until 5", "NAME:ARGUMENT=VALUE"),
    "unpacked argument": ("compare --methods 'asgd:**{}' --until 5", "an argument of asgd is one of learning_rate"),
    "method against workers": ("compare --methods backup_sgd:learning_rate=1,backup=8 --until 5", "backup", "8"),
    "negative workers": (GOOD + "--workers -3", "--workers", "1 or more", "-3"),
    "words for workers": (GOOD + "--workers many", "--workers", "many"),
    "unknown option": (GOOD + "--worker 3", "--worker"),
    "no seeds": (GOOD + "--seeds 0", "--seeds", "1 or more"),
    "no updates": ("compare --methods asgd:learning_rate=1 --updates 0", "--updates", "1 or more"),
    "both ends": (GOOD + "--updates 5", "--until", "--updates", "both"),
    "no end": ("compare --methods asgd:learning_rate=1", "--until", "--updates", "neither"),
    "endless": ("compare --methods asgd:learning_rate=1 --until inf", "--until", "finite", "inf"),
    "unknown times": (GOOD + "--times lognorml", "exponential", "'lognorml'", "did you mean lognormal"),
    "number of another law": (GOOD + "--times fixed --sigma 1", "takes --mean", "--sigma", "leave it out"),
    "bad number of a law": (GOOD + "--times lognormal --sigma -1", "sigma", ">= 0", "-1"),
    "bad factor": (GOOD + "--slowest 0", "--slowest", "above 0"),
    "unknown problem": (GOOD + "--problem quadratics", "tridiagonal", "did you mean quadratic"),
    "option of another problem": (GOOD + "--hidden 3", "--dim, --condition, --noise", "--hidden", "leave it out"),
    "bad number of a problem": (GOOD + "--condition 0.5", "condition", "1 or more", "0.5"),
    "unknown shards": (GOOD + "--problem toy --shards equal", "contiguous", "'equal'"),
    "alpha without dirichlet": (GOOD + "--problem toy --alpha 1", "--alpha", "--shards none"),
    "dirichlet without alpha": (GOOD + "--problem toy --shards dirichlet", "--alpha", "--shards dirichlet"),
    "more workers than samples": (GOOD + "--problem toy --shards iid --workers 101", "101 shards", "100 samples"),
    "no data file": (GOOD + "--problem libsvm", "--data FILE"),
    "missing data file": (GOOD + "--problem libsvm --data nowhere.txt", "nowhere.txt", "must exist"),
    "data of three classes": (GOOD + "--problem libsvm --data three.txt", "binary labels", "[1.0, 2.0, 3.0]"),
    "data set that is not here": (GOOD + "--problem mnist", "JAXASGD_DATA"),
    "a file in the way": (GOOD + "--out three.txt", "three.txt", "choose another folder"),
    "results already": (GOOD + "--out kept", "'kept'", "--out", "--overwrite"),
    "no step times": ("plan --noise-to-signal 3", "no file", "--step-times my.csv"),
    "no noise": ("plan --step-times my.csv", "sigma^2 / eps", "--noise-to-signal 20"),
    "negative noise": ("plan --step-times my.csv --noise-to-signal -1", "--noise-to-signal", "0 or more", "-1"),
    "endless noise": ("plan --step-times my.csv --noise-to-signal nan", "--noise-to-signal", "finite", "nan"),
    "no synchronous updates": (PLAN + "--sync-updates 0", "--sync-updates", "above 0"),
    "one seed of a plan": (PLAN + "--seeds 1", "--seeds", "2 or more", "1"),
    "missing step times": ("plan --step-times nowhere.csv --noise-to-signal 3", "nowhere.csv"),
    "step times in words": ("plan --step-times three.txt --noise-to-signal 3", "three.txt", "line 2", "worker 0"),
    "a step that is nan": ("plan --step-times bad.csv --noise-to-signal 3", "bad.csv", "line 2", "worker 1", "nan"),
    "a step of no time": ("plan --step-times zero.csv --noise-to-signal 3", "worker 0", "step 1", "more than 0"),
    "a folder of step times": ("plan --step-times kept --noise-to-signal 3", "kept"),
    "a plan already": (PLAN + "--out planned", "'planned'", "--out", "--overwrite"),
    "a file in the way of a plan": (PLAN + "--out three.txt", "three.txt", "choose another folder"),
    "markdown of rules": ("list rules --markdown", "goes with methods", "list methods --markdown"),
    "unknown list": ("list method", "policies", "did you mean methods"),
    "unknown command": ("comparison", "compare"),
    "no results": ("plot nowhere", "'nowhere'", "spec.json"),
    "damaged results": ("plot kept", "'kept'", "damaged"),
}


@pytest.mark.parametrize("line, words", [(line, words) for line, *words in ERRORS.values()], ids=ERRORS)
def test_errors(say, monkeypatch, line, words):
    """One line, exit code 2, and before anything is simulated."""
    if "--data" in line:
        pytest.importorskip("sklearn")
    monkeypatch.setattr(ja, "compare", lambda *a, **k: pytest.fail("it ran"))
    monkeypatch.setattr(advice, "pace", lambda *a, **k: pytest.fail("it ran"))
    write_steps()
    Path("bad.csv").write_text("1,2\n1,nan\n")
    Path("zero.csv").write_text("1,2\n0,2\n")
    Path("planned").mkdir()
    Path("planned/plan.json").write_text("{}")
    write_libsvm("three.txt", labels=(1, 2, 3))
    Path("kept").mkdir()
    Path("kept/spec.json").write_text("{}")
    code, out, error = say(line)
    assert (code, out) == (2, "")
    assert all(word in error for word in words)
    assert "\x1b" not in error and "Traceback" not in error
    if error.startswith("jaxasgd: "):  # ours; unknown options and words for numbers are explained by tyro
        assert error.count("\n") == 1
    assert not Path("results").exists()
