"""What a parameter server costs: updates a second of the real runtimes beside the same work without a server.

Claim     Threads reach at least 0.8 of what the same devices reach in a loop each that knows no server, on a network
          with 100 000 parameters and gradients that take a millisecond. Ray is bound by moving parameters and
          gradients between processes.
Command   python experiments/throughput.py
Cost      about 3 minutes on 2 CPU cores; --quick about 40 seconds.
Expected  threads / a loop a device: 0.8 or more at batch 128 with 2 workers and more. Less at batch 32, where an update
          is a larger part, and beside as many loops as workers, which share this machine's cores with no server.

Loops without a server: as many threads, each with its own copy of the parameters, each computing a gradient and
applying it, one compiled call each; nobody waits for anybody. Ray: beside what it costs to put the parameters into its
object store once and to get a gradient back, which is the least that an update can do. All are run in turn, in rounds,
and ratios are taken within a round. Parameters are those of the replay, or the script ends (to the bit
with XLA's default options; to rounding without its optimizations, as in the tests).
"""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from pathlib import Path

import bench
import jax
import numpy as np
import optax
import tyro
from bench_torch import images

import jaxasgd as ja
from jaxasgd.runtimes.cluster_start import own

KEY, LR = jax.random.key(0), 0.01
RATIOS = (("threads", "a loop a device"), ("threads", "a loop a worker"), ("ray", "put and get"))


@dataclasses.dataclass
class Options:
    """Updates a second with a server, and without."""

    out: Path = Path("results/throughput")
    """Folder for throughput.json and README.md."""
    rounds: int = 5
    """How often each is run."""
    updates: int = 2000
    """Of each run with threads; a quarter of that with Ray."""
    workers: tuple[int, ...] = (1, 2, 4)
    """Numbers of workers."""
    quick: bool = False
    """Few updates and rounds, for tests."""


@jax.jit
def alone(problem, params, number):
    """One update without a server: a batch, a gradient, a step."""
    key = jax.random.fold_in(KEY, number)
    sample = problem.draw(ja.problems.base.Request(key, KEY, 0, number))
    gradient = problem.sample_gradient(params, sample)
    return jax.tree.map(lambda p, g: p - LR * g, params, gradient)


def without_server(problem, num_workers, updates) -> float:
    """Updates a second of loops side by side."""
    gate, devices = threading.Barrier(num_workers + 1), jax.local_devices()

    def work(worker):
        device = devices[worker % len(devices)]
        mine, params = jax.device_put((problem, problem.init(KEY)), device)
        jax.block_until_ready(alone(mine, params, 0))
        gate.wait()
        for k in range(updates // num_workers):
            params = jax.block_until_ready(alone(mine, params, k))
        gate.wait()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(num_workers)]
    for thread in threads:
        thread.start()
    gate.wait()
    began = time.perf_counter()
    gate.wait()
    took = time.perf_counter() - began
    for thread in threads:
        thread.join()
    return updates // num_workers * num_workers / took


def with_server(runtime, problem, num_workers, updates) -> float:
    """Updates a second of `ja.runtimes.threads` or `ja.runtimes.ray`; its replay must end at the same parameters."""
    told = {"num_workers": num_workers, "num_updates": updates, "key": KEY, "progress": False}
    params, recorded = runtime(problem, ja.policies.asgd(), optax.sgd(LR), **told)
    replayed = ja.run(problem, recorded, optax.sgd(LR), key=KEY, evaluate=updates, progress=False).params
    bench.same("the replay of the recording", params, replayed, 1e-4)
    return recorded.num_updates / recorded.end


def moving(ray, size, updates) -> float:
    """Updates a second that do nothing: parameters into the store, a worker reads them and returns as many numbers."""

    @ray.remote
    class Echo:
        def back(self, given):
            return given + 1

    echo, params = Echo.remote(), np.zeros(size, np.float32)
    ray.get(echo.back.remote(ray.put(params)))
    began = time.perf_counter()
    for _ in range(updates):
        params = ray.get(echo.back.remote(ray.put(params)))
    took = time.perf_counter() - began
    ray.kill(echo)
    return updates / took


def rates_of(problem, num_workers, updates, rounds, with_processes) -> dict:
    """Updates a second of every side, round by round."""
    rates = {"threads": [], "a loop a device": [], "a loop a worker": []}
    for _ in range(rounds):
        rates["threads"].append(with_server(ja.runtimes.threads, problem, num_workers, updates))
        rates["a loop a device"].append(without_server(problem, min(num_workers, jax.local_device_count()), updates))
        rates["a loop a worker"].append(without_server(problem, num_workers, updates))
        if with_processes:
            rates.setdefault("ray", []).append(with_server(ja.runtimes.ray, problem, num_workers, updates // 4))
            size = sum(leaf.size for leaf in jax.tree.leaves(problem.init(KEY)))
            with own({"num_cpus": 2}) as started:
                rates.setdefault("put and get", []).append(moving(started, size, updates // 4))
    return rates


def measured(options) -> dict:
    X, y, name = images()
    told = {"problem": f"MLP on {name}", "rows": []}
    ray = bench.library("ray")
    for batch in (32, 128):
        problem = ja.problems.mlp(X, y, batch_size=batch, loss_samples=1)
        told["parameters"] = sum(leaf.size for leaf in jax.tree.leaves(problem.init(KEY)))
        for n in options.workers:
            rates = rates_of(problem, n, options.updates, options.rounds, ray is not None and batch == 32)
            told["rows"].append({"batch": batch, "workers": n, "rates": rates})
            print(batch, n, {side: round(float(np.median(values)), 1) for side, values in rates.items()}, flush=True)
    return told | {"machine": bench.machine("default"), "missing": bench.MISSING, "quick": options.quick}


def page(told) -> str:
    sides = list(told["rows"][0]["rates"])
    lines = [
        f"| batch | workers | {' | '.join([*sides, *(f'{a} / {b}' for a, b in RATIOS if a in sides)])} |",
        "|---" * (2 + len(sides) + sum(a in sides for a, _ in RATIOS)) + "|",
    ]
    for row in told["rows"]:
        rates = row["rates"]
        cells = [str(row["batch"]), str(row["workers"])]
        cells += [f"{np.median(rates[side]):.0f}" if side in rates else "" for side in sides]
        for a, b in (pair for pair in RATIOS if pair[0] in sides):
            if a not in rates:
                cells.append("")
            else:
                low, middle, high = bench.quartiles(np.divide(rates[a], rates[b]))
                cells.append(f"{middle:.2f} ({low:.2f} to {high:.2f})")
        lines.append(f"| {' | '.join(cells)} |")
    machine, text = told["machine"], Path(__file__).with_suffix(".md").read_text()
    here = f"{machine['processor']}, {machine['usable_cores']} cores, jax {machine['versions']['jax']}"
    here += f", {machine['when']} UTC"
    missing = "\n".join(["", *told["missing"], ""]) if told["missing"] else ""
    rounds = len(rates["threads"])
    return text.format(
        table="\n".join(lines),
        machine=here,
        missing=missing,
        rounds=rounds,
        **{name: told[name] for name in ("problem", "parameters")},
    )


def main(options: Options):
    if options.quick:
        options = dataclasses.replace(options, rounds=1, updates=80, workers=(2,))
    ja.results.prepare(options.out, overwrite=True)
    told = measured(options)
    (options.out / "throughput.json").write_text(json.dumps(told, indent=1) + "\n")
    (options.out / "README.md").write_text(page(told))
    print(f"\n{options.out / 'README.md'}")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
