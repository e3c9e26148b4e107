"""Every argument of every public function, wrong in every way that its kind can be: a ValueError that names it."""

import inspect
from contextlib import suppress

import arguments
import arguments_of_runs as runs
import pytest
from test_errors import compiled

import jaxasgd as ja

TABLES = {
    ja.times: arguments.TIMES_ROWS,
    ja.policies: arguments.POLICIES_ROWS,
    ja.rules: arguments.RULES_ROWS,
    ja.methods: arguments.METHODS_ROWS,
    ja.problems: runs.PROBLEMS_ROWS,
    ja.schedules: runs.SCHEDULES_ROWS,
    ja.statistics: runs.STATISTICS_ROWS,
    ja.plot: runs.PLOT_ROWS,
    ja.results: runs.RESULTS_ROWS,
    ja.work: runs.WORK_ROWS,
    ja.fanout: runs.FANOUT_ROWS,
    ja.runtimes: runs.RUNTIMES_ROWS,
    ja: runs.RUNS_ROWS,
}
ROWS = {f"{part.__name__[8:] or 'ja'}.{name}": row for part, rows in TABLES.items() for name, row in rows.items()}

ELSEWHERE = {  # public, and not in the table: why
    "given to others, who check them: test_errors": [
        "Decision",
        "Job",
        "Event",
        "Arrivals",
        "Order",
        "Request",
        "Split",
    ],
    "made by functions": [
        *("Plan", "History", "Status", "Comparison", "Sweep", "ClusterPlan", "DoubtWarning", "Durations", "Problem"),
        *("Dataset", "Text", "Concurrency", "Delays", "Intervals", "Rates", "Waste", "Workers", "Entry", "Late"),
        *("Interrupted", "WorkerFailed", "Run"),
    ],
    "columns: test_schedule, test_columns": ["Schedule"],
    "test_checkpoints": ["Checkpoint"],
    "test_ray, and what it shares with threads": ["ray"],
    "functions of pytrees, which `send` and losses are made of": ["look_ahead", "true_weights", "squared_error"],
}


QUICK = ("times", "policies", "rules", "methods", "schedules", "statistics", "work", "problems")


def shown(value):
    return " ".join(repr(value).split())[:60]


@pytest.mark.parametrize("name", ROWS)
def test_one_wrong_argument(name, tmp_path, monkeypatch):
    """The message names the argument and says its rule, before anything is compiled."""
    function, told, then = ROWS[name]
    monkeypatch.chdir(tmp_path)
    right = {argument: value for argument, (value, _) in told.items() if argument != "papers" or name == "ja.Method"}
    before, wrong = compiled(), []
    if name.split(".")[0] in QUICK:
        with suppress(FileNotFoundError):
            then(function(**right))  # or all would be wrong
    for argument, (_, kind) in told.items():
        for value in kind.bad:
            try:
                then(function(**(right | {argument: value})))
            except ValueError as error:
                message = str(error)
                called = kind.name or argument
                named = called in message or called.replace("_", " ") in message
                if not named or kind.says not in message:
                    wrong.append(f"{argument}={shown(value)}: {message[:150]}")
            except Exception as error:
                wrong.append(f"{argument}={shown(value)}: {type(error).__name__} {str(error)[:150]}")
            else:
                wrong.append(f"{argument}={shown(value)} is taken")
    assert not wrong, "\n".join(["", *wrong])
    assert compiled() == before


def public(module):
    own = [n for n, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__ and n[0] != "_"]
    return {name: getattr(module, name) for name in getattr(module, "__all__", own) if callable(getattr(module, name))}


def test_nothing_is_forgotten():
    """A new function, or a new argument, comes with its row."""
    known = {name for names in ELSEWHERE.values() for name in names}
    missing = []
    for module, rows in TABLES.items():
        for name, function in public(module).items():
            takes = (
                [one.name for one in inspect.signature(function).parameters.values() if one.kind is not one.VAR_KEYWORD]
                if name not in known
                else []
            )
            here = rows.get(name) or runs.RUNS_ROWS.get(name) or arguments.POLICIES_ROWS.get(name)
            if takes and (here is None or not set(takes) <= set(here.arguments)):
                missing.append(f"{module.__name__}.{name}: {set(takes) - set(here.arguments if here else ())}")
    assert not missing, missing
    assert known <= {name for module in TABLES for name in public(module)}
