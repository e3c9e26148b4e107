"""A character transformer under pipeline delays: what they cost, and what prediction and compensation give back.

Claim     In a pipeline that is never drained the gradient of an early stage is for weights that are many updates old.
          With momentum that costs a small transformer much of what it would learn in as many updates, at any learning
          rate; predicting the weights, or compensating the late gradients, gives a part of it back.
Command   python experiments/pipeline.py --tune       (tiny Shakespeare if JAXASGD_DATA has it, else an excerpt)
Cost      about 8 minutes on 2 CPU cores, fewer without --tune; --quick about 30 seconds (an excerpt, 2 seeds).
Expected  After 2000 updates: test loss 2.26 without delays, 2.58 with those of PipeDream, 2.52 with spike compensation,
          2.50 with weight prediction or both; 2.61 with asynchronous Nesterov. The best learning rates with delays
          are 10 to 30 times smaller; of still smaller ones delays cost little, and little is learnt.

Setting: a transformer of 3 blocks (width 32, context 32), 8 layers in 8 stages, each gradient through weights of 7, 6,
... 0 updates before (weight stashing), batches of 8 windows; learning rates tuned for each method on one grid (--tune
repeats that, with another seed). Time is counted in ticks: one mini-batch enters and one leaves in each.

Source: D. Narayanan et al., SOSP 2019 (PipeDream); A. Kosson et al., MLSys 2021, arXiv 2003.11666 (spike compensation,
weight prediction); T. Ajanthan et al., ICML 2025, arXiv 2505.01099 (Nesterov).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax
import tyro
from common import apart, experiment, outcomes, overviews, tuned

import jaxasgd as ja

BETA = 0.9
GRID = [0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0]


def methods_for(stages, number):
    """name -> method of a learning rate; `stages` is the stage of every leaf."""
    none, late = [0] * number, list(range(number - 1, -1, -1))
    corrected = lambda lr, **options: ja.methods.pipelined_backprop(lr, stages, BETA, delays=late, **options)
    return {
        "no delays": lambda lr: ja.methods.pipedream(lr, stages, BETA, delays=none),
        "PipeDream": lambda lr: ja.methods.pipedream(lr, stages, BETA),
        "spike compensation": lambda lr: corrected(lr, prediction=None),
        "weight prediction": lambda lr: corrected(lr, spikes=False),
        "both": lambda lr: corrected(lr),
        "asynchronous Nesterov": lambda lr: ja.methods.async_nesterov(lr / (1 - BETA), stages, BETA),
    }


RATES = (0.1, 0.003, 0.003, 0.003, 0.003, 0.01)  # found by --tune on tiny Shakespeare


@dataclasses.dataclass
class Options:
    """A character transformer under pipeline delays."""

    out: Path = Path("results/pipeline")
    """Folder for the results; what an earlier run wrote there is replaced."""
    seeds: int = 3
    """Independent repetitions; the intervals are over these."""
    quick: bool = False
    """A small version on an excerpt, for tests."""
    tune: bool = False
    """Measure the grid of learning rates first, and use the best of each method."""
    redraw: bool = False
    """Only the figures and the page, from the numbers there are."""


def measure(options: Options):
    text = ja.problems.text(prefer="excerpt") if options.quick else ja.problems.text()
    sizes = {"width": 16, "depth": 1, "context": 16} if options.quick else {"width": 32, "depth": 3, "context": 32}
    problem = ja.problems.transformer(text, heads=2, batch_size=8, **sizes)
    number = 2 * sizes["depth"] + 2
    stages = ja.problems.stage_of_leaves(problem.init(jax.random.key(0)), number)
    times = ja.times.fixed(1.0 * number, num_workers=number)  # a mini-batch needs a tick for every stage
    methods, until = methods_for(stages, number), (8.0 if options.quick else 250.0) * number
    rates = dict(zip(methods, RATES, strict=True))
    if options.tune:
        rates = tuned(problem, times, methods, GRID, "test_loss", options.out, until=until, seeds=[100])
    seeds = 2 if options.quick else options.seeds
    made = {name: make(rates[name]) for name, make in methods.items()}
    table = ja.compare(problem, times, made, until=until, seeds=seeds, points=4 if options.quick else 40)
    table.spec.update(experiment="pipeline", data=text.name, learning_rates=rates)
    table.save(options.out, overwrite=True)
    print(table)


def title(table) -> str:
    text = {"tinyshakespeare": "Tiny Shakespeare"}.get(table.spec["data"], "An excerpt of tiny Shakespeare")
    stages, seeds = table.spec["num_workers"], len(table.spec["seeds"])
    return f"{text}: character transformer in {stages} pipeline stages, {seeds} seeds"


def figures(out: Path) -> dict:
    small = ja.results.load(out).spec["until"] < 100
    return overviews(out, "test_loss", title, ("no delays", "PipeDream"), None if small else (2.1, 3.1))


def values(out: Path) -> dict:
    table = ja.results.load(out)
    against = lambda one, other: apart(table, "test_loss", one, other)
    return outcomes(out, table, "test_loss", (2.5, 2.3), title) | {
        "delays": against("PipeDream", "no delays"),
        "spikes": against("spike compensation", "PipeDream"),
        "weights": against("weight prediction", "PipeDream"),
        "both": against("both", "PipeDream"),
        "nesterov": against("asynchronous Nesterov", "PipeDream"),
    }


if __name__ == "__main__":
    options = tyro.cli(Options, description=__doc__)
    experiment(__file__, options, measure, figures, values)
