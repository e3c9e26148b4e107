"""A network trained with late gradients: ja.run beside a loop in PyTorch that applies each gradient tau updates later.

Claim     On a CPU an update of a small network takes a third, or less, of what it takes in PyTorch.
Command   python experiments/bench_torch.py
Cost      about 4 minutes on 2 CPU cores; --quick about 20 seconds.
Expected  PyTorch / ja.run: 3 or more (MLP 784-128-10, batch 32), with PyTorch's better number of threads.

The loop keeps a queue of tau gradients. That is what n = tau + 1 equally fast workers do, here 16: they take turns, and
from update tau on every gradient is tau late. Start, batches and order are the same, and so must be the final
parameters.
"""

from __future__ import annotations

import collections
import dataclasses
from pathlib import Path

import bench
import jax
import numpy as np
import optax
import tyro

import jaxasgd as ja
from jaxasgd import program

KEY = jax.random.key(0)
WORKERS, LR = 16, 0.01


def images():
    """MNIST, or noise of its shape: images as rows, labels, and a name."""
    if ja.problems.folder():
        found = ja.problems.mnist()
        return found.X, found.y, "MNIST"
    bench.without("MNIST", "JAXASGD_DATA names a folder with mnist/; random images took its place.")
    rng = np.random.default_rng(0)
    return rng.random((20_000, 784), np.float32), rng.integers(0, 10, 20_000), "random images"


def torch_loop(torch, params, X, y, batches, tau, lr):
    """SGD whose gradients are applied `tau` updates late."""
    cross_entropy = torch.nn.functional.cross_entropy
    params = [p.clone().requires_grad_() for p in params]
    queue = collections.deque()
    for k in range(len(batches)):
        rows = batches[k]
        W1, b1, W2, b2 = params
        loss = cross_entropy(torch.relu(X[rows] @ W1 + b1) @ W2 + b2, y[rows])
        queue.append(torch.autograd.grad(loss, params))
        if len(queue) > tau:
            with torch.no_grad():
                torch._foreach_add_(params, queue.popleft(), alpha=-lr)
    return params


def layers(params) -> list:
    """[W1, b1, W2, b2] of flax's parameters."""
    found = params["params"]
    return [np.array(found[layer][name]) for layer in sorted(found) for name in ("kernel", "bias")]


def ours(problem, updates):
    """ja.run with workers that take turns, as a function."""
    times = ja.times.fixed(1.0, num_workers=WORKERS)
    schedule = ja.simulate(ja.policies.asgd(), times, num_updates=updates)
    plan = ja.plan(schedule, evaluate=updates)
    return schedule, lambda: ja.run(problem, plan, optax.sgd(LR), key=KEY, progress=False).params


def timed(torch, size, updates, rounds, targets, counts) -> dict:
    X, y, name = images()
    case = f"MLP 784-128-10 on {name}, batch {size}"
    turns = (updates // WORKERS + 1) * size
    order = bench.samples_in_order(np.random.default_rng(1), WORKERS, turns, len(y))
    problem = ja.problems.mlp(X, y, batch_size=size, order=order, loss_samples=1)
    schedule, run = ours(problem, updates)
    assert (schedule.delay[WORKERS:] == WORKERS - 1).all()
    place = schedule.turn[:, None] * size + np.arange(size)
    batches = order[schedule.worker[:, None], place]
    told = {"workers": WORKERS, "parameters": 101_770, "batch_size": size, "left_out": {}}
    sides = {"ja.run": lambda: layers(run())}
    if torch:
        # a gradient that is still in the queue at the end is not applied: the last ones are computed in vain
        late = np.concatenate([batches, batches[: WORKERS - 1]])
        given = torch.as_tensor(X), torch.as_tensor(y).long(), torch.as_tensor(late).long()
        start = [torch.as_tensor(a) for a in layers(problem.init(jax.random.fold_in(KEY, program.INIT_STREAM)))]

        def theirs(number, most=updates + WORKERS - 1):
            torch.set_num_threads(number)
            out = torch_loop(torch, start, *given[:2], given[2][:most], WORKERS - 1, LR)
            return [p.detach().numpy() for p in out]

        probe = {n: min(bench.seconds(lambda: theirs(n, 60))[0] for _ in range(3)) for n in counts}
        for number, took in probe.items():
            name = f"PyTorch, {number} thread{'s' * (number > 1)}"
            if took < 4 * min(probe.values()):
                sides[name] = lambda number=number: theirs(number)
            else:
                told["left_out"][name] = took / 60 * 1e6  # microseconds per update
                bench.without(
                    name, f"{took / min(probe.values()):.0f} times slower than the other way in a first trial."
                )
    row = bench.measure(case, sides, updates=updates, rounds=rounds, **told)
    if targets and len(sides) > 1:
        best = min(list(sides)[1:], key=lambda side: bench.microseconds(row, side)[1])
        row["targets"] = [bench.target(row, best, "ja.run", *targets)]
    return row


def measured(options) -> list[dict]:
    few, rounds = (10, 3) if options.quick else (1, options.rounds)
    torch = bench.library("torch")
    counts = dict.fromkeys((1, torch.get_num_threads())) if torch else ()  # of threads: both are tried
    return [
        timed(torch, 32, 1500 // few, rounds, ("at least", 3), counts),
        timed(torch, 128, 600 // few, rounds, (), counts),
    ]


@dataclasses.dataclass
class Options(bench.Options):
    """ja.run beside a loop in PyTorch."""


def main(options: Options):
    bench.run("torch", Path(__file__), measured, options, __doc__)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
