"""What a cluster should use: predicted times to the target against simulated ones, and against real optimisation.

Claim     The closed forms of the theory are within its factor of 2 of what simulation counts, but not for rounds under
          random times, which last as long as order statistics say and not as the slowest worker's mean (these mend
          it), nor for small R and S. Predicted ratios to synchronous SGD hold when SGD runs at tuned learning rates,
          but not for asynchronous SGD under random times and little noise, which is faster.
Command   python experiments/cluster_plan.py
Cost      about 4 minutes on 2 CPU cores, 7 on busy ones; --quick about 20 seconds.
Expected  simulated over predicted, median: synchronous 1.6 (at most 8.6), Ringmaster 0.6, Rennala 0.9, ASGD 1;
          measured over predicted ratios: 0.84 to 1.17 at q = 20, and down to 0.35 for ASGD at q = 0.1.

Setting 1: 26 random clusters of 4 to 200 workers. Speeds: equal; two groups, 1 and 10; a power law, i^p with p from
0.3 to 1; lognormal with sigma 0.8. Times: fixed; gamma, cv 0.3; lognormal, sigma 0.5; exponential; Pareto, tail index
1.5. 100 steps of each worker are measured, and every method of `ja.plan_cluster` is simulated on a clock that draws
from these. q is 1, 10 or 100, in turn.

Setting 2: the tridiagonal quadratic (L = 1) of dimension 64, noise with sigma^2 = q eps. eps is the squared norm of the
gradient after 150 steps of gradient descent at step 1/L. The time to the target is when the mean over seeds of the
squared norm is first below eps, at the learning rate best for it on the same seeds: of 20, from 0.7/K to 12/K.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from textwrap import fill

import jax
import numpy as np
import optax
import tyro
from common import read, write

import jaxasgd as ja
from jaxasgd import advice
from jaxasgd.advice_figure import DASHED, LOOKS, NAMES, logarithmic, mark
from jaxasgd.cluster import Row
from jaxasgd.figures import GREY, STYLE, pyplot, tidy

METHODS = tuple(NAMES)  # backups are m-sync
DIM, DESCENT, LENGTH = 64, 150, 160  # steps of gradient descent to the target; updates at most, over K
RATES = np.geomspace(0.7, 12.0, 20)  # learning rate times K


@dataclasses.dataclass
class Options:
    """What a cluster should use: predicted times to the target, simulated ones, and those of real optimisation."""

    out: Path = Path("results/cluster_plan")
    """Folder for the results; what an earlier run wrote there is replaced."""
    seeds: int = 8
    """Runs of each method in real optimisation."""
    quick: bool = False
    """A small version, for tests."""
    redraw: bool = False
    """Only the figure and the page, from the numbers there are."""


def main(options: Options):
    if not options.redraw:
        ja.results.prepare(options.out, overwrite=True)
        measured(options)
    rows, real = read(options.out / "clusters.csv"), read(options.out / "optimisation.csv")
    example(options.out)
    ja.plot.save(draw(rows, real), options.out / "cluster_plan.svg")
    (options.out / "README.md").write_text(page(rows, real))
    print(f"\nThe figure: {options.out / 'cluster_plan.svg'}")


def measured(options: Options):
    number, most = (2, 8) if options.quick else (26, 200)
    rows, real = [], []
    for i in range(number):
        rows += simulated(i, most)
        print(f"cluster {i}: {rows[-1]['workers']} workers, {rows[-1]['speeds']}, {rows[-1]['law']}", flush=True)
    write(options.out / "clusters.csv", rows, digits=5)
    for name, steps in list(fleets().items())[: 1 if options.quick else None]:
        for q in (20.0,) if options.quick else (0.1, 20.0):
            real += optimised(name, steps, q, 2 if options.quick else options.seeds)
    write(options.out / "optimisation.csv", real, digits=5)


# ------------------------------------------------------------------- clusters

SPEEDS = {
    "equal": lambda rng, n: np.ones(n),
    "two groups": lambda rng, n: np.where(np.arange(n) < max(1, n * rng.uniform(0.2, 0.8)), 1.0, 10.0),
    "power law": lambda rng, n: np.arange(1, n + 1) ** rng.uniform(0.3, 1.0),
    "lognormal": lambda rng, n: rng.lognormal(0.0, 0.8, n),
}
LAWS = {
    "fixed": lambda h: ja.times.fixed(h),
    "gamma": lambda h: ja.times.gamma(h, cv=0.3),
    "lognormal": lambda h: ja.times.lognormal(h, sigma=0.5),
    "exponential": lambda h: ja.times.exponential(h),
    "Pareto": lambda h: ja.times.pareto(h, alpha=1.5),
}


def measure(times, number=100, seed=0):
    """Seconds of so many steps of every worker, [steps, num_workers]."""
    durations = times.durations(seed)
    workers = np.arange(times.num_workers)
    return np.stack([durations.many(workers, np.full(times.num_workers, job)) for job in range(number)])


def simulated(i, most) -> list[dict]:
    """The rows of one random cluster's plan."""
    rng = np.random.default_rng(i)
    speeds, law = list(SPEEDS)[i % len(SPEEDS)], list(LAWS)[i % len(LAWS)]
    n, q = round(np.exp(rng.uniform(np.log(4), np.log(most)))), (1.0, 10.0, 100.0)[i % 3]
    plan = advice.plan_cluster(measure(LAWS[law](SPEEDS[speeds](rng, n)), seed=i), q, seeds=3, progress=False)
    told = {"cluster": i, "workers": n, "speeds": speeds, "law": law, "q": q}
    return [told | row._asdict() | {"advised": row is plan.best} for row in plan.rows]


# --------------------------------------------------------------- optimisation


def fleets() -> dict:
    """Small clusters for real optimisation: measured steps, [steps, num_workers]."""
    i = np.arange(1, 9)
    return {
        "8 equal, lognormal": measure(ja.times.lognormal(np.ones(8), 0.5)),
        "8 equal, fixed": measure(ja.times.fixed(np.ones(8)), 1),
        "32 equal, exponential": measure(ja.times.exponential(np.ones(32))),
        "8, one straggler, gamma": measure(ja.times.gamma(np.where(i == 8, 10.0, 1.0), 0.2)),
        "8 square roots, lognormal": measure(ja.times.lognormal(np.sqrt(i), 0.5)),
        "12, two groups, Pareto": measure(ja.times.pareto(np.repeat([1.0, 4.0], 6), 1.5)),
    }


def optimised(name, steps, q, seeds) -> list[dict]:
    """Predicted and measured times of the best setting of each method."""
    plan = advice.plan_cluster(steps, q, progress=False)
    rows = {}
    for row in plan.rows:
        if row.method != "backup" and row.time < getattr(rows.get(row.method), "time", np.inf):
            rows[row.method] = row
    best = plan.best
    if best.method == "backup":  # which is m-sync, too
        best = rows["m-sync"] = best._replace(method="m-sync", setting=plan.num_workers - best.setting)
    if rows["ASGD, fastest"].setting == plan.num_workers:  # the same
        rows["ASGD"] = rows.pop("ASGD, fastest")._replace(method="ASGD", setting=0)
    out = []
    for method, row in rows.items():
        policy = advice.policy(row.method, row.setting, plan.mean)
        seconds, error, updates, rate = to_target(policy, ja.times.bootstrap(steps), row.updates, q, seeds)
        told = {"cluster": name, "q": q, "method": method, "setting": row.setting, "advised": row.label == best.label}
        told |= {"K": row.updates, "predicted": row.time, "seconds": seconds, "error": error, "updates": updates}
        out.append(told | {"learning_rate": rate})
    for told in out:
        told["predicted ratio"] = told["predicted"] / out[0]["predicted"]
        told["measured ratio"] = told["seconds"] / out[0]["seconds"]
        told["over the fastest"] = told["seconds"] / min(one["seconds"] for one in out)
        errors = [one["error"] / one["seconds"] for one in (told, out[0])]
        told["ratio error"] = 0.0 if told is out[0] else told["measured ratio"] * float(np.hypot(*errors))
        print("  ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in told.items()), flush=True)
    return out


def to_target(policy, clock, K, q, seeds) -> tuple[float, float, int, float]:
    """Seconds to the target at the best learning rate, their jackknife error, the updates, and the rate."""
    eps = target()
    problem = ja.problems.tridiagonal(DIM, noise=np.sqrt(q * eps / DIM))
    number = int(np.ceil(LENGTH * K))
    made = [ja.simulate(policy, clock, num_updates=number, seed=seed) for seed in range(seeds)]
    plans = ja.stack([ja.plan(schedule, evaluate=max(1, number // 500)) for schedule in made])

    def norms(rate, plan, key):
        return ja.run(problem, plan, optax.sgd(rate), key=key, target_gradient_norm=0.0).metrics["gradient_norm"]

    over_seeds = jax.vmap(norms, (None, 0, 0))
    rates, keys = (RATES / K).astype(np.float32), jax.random.split(jax.random.key(1), seeds)
    squares = np.square(np.asarray(jax.jit(jax.vmap(over_seeds, (0, None, None)))(rates, plans, keys), np.float64))

    def first(squares, times):
        """When the mean over seeds is below eps, and at which look; inf: never."""
        below = np.nan_to_num(squares.mean(axis=0), nan=np.inf) <= eps
        return (times.mean(axis=0)[below.argmax()], int(below.argmax())) if below.any() else (np.inf, 0)

    found = [first(one, plans.time) for one in squares]
    k = min(range(len(rates)), key=lambda k: found[k][0])
    seconds, look = found[k]
    rest = [np.arange(seeds) != seed for seed in range(seeds)]
    without = np.array([first(squares[k][kept], plans.time[kept])[0] for kept in rest])
    error = np.sqrt((seeds - 1) / seeds * np.square(without - without.mean()).sum())
    return float(seconds), float(error), int(plans.update[0][look]), float(rates[k])


def target() -> float:
    """The squared norm of the gradient after so many steps of gradient descent at 1/L, L = 1."""
    off = np.ones(DIM - 1)
    A = (np.diag(np.full(DIM, 2.0)) - np.diag(off, 1) - np.diag(off, -1)) / 4
    b, x = np.zeros(DIM), np.zeros(DIM)
    b[0], x[0] = -0.25, np.sqrt(DIM)
    for _ in range(DESCENT):
        x -= A @ x - b
    return float(np.square(A @ x - b).sum())


# -------------------------------------------------------------------- results


def example(out: Path):
    """Measured steps as a file, and what the command makes of it."""
    h = np.array([1.0, 1.0, 1.0, 1.0, 1.1, 1.1, 1.2, 1.2, 1.5, 2.0, 3.0, 8.0])
    steps = measure(ja.times.lognormal(h, 0.3), 40, seed=1)
    head = ",".join(f"gpu{i}" for i in range(len(h)))
    np.savetxt(out / "steps.csv", steps, fmt="%.3f", delimiter=",", header=head, comments="")
    plan = advice.plan_cluster(out / "steps.csv", 20.0, sync_updates=10_000, progress=False)
    command = "jaxasgd plan --step-times steps.csv --noise-to-signal 20 --sync-updates 10000"
    dataclasses.replace(plan, spec=plan.spec | {"command": command}).save(out / "example", overwrite=True)


def family(row) -> str:
    return "m-sync" if row["method"] == "backup" else row["method"]


def draw(rows, real):
    plt = pyplot()
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 3, figsize=(7.2, 2.8), layout="constrained")
        rounds = [row for row in rows if family(row) in ("synchronous", "m-sync")]
        scatter(axes[0], "Closed forms for fixed times", rows, "closed", "simulated")
        scatter(axes[1], "Rounds by order statistics", rounds, "expected", "simulated")
        scatter(axes[2], "SGD, over synchronous SGD", real, "predicted ratio", "measured ratio")
        axes[0].set(xlabel="Predicted time to the target", ylabel="Simulated time to the target")
        axes[1].set(xlabel="Predicted time to the target")
        axes[2].set(xlabel="Predicted ratio", ylabel="Measured ratio (hollow: q = 0.1)")
        handles = [plt.Line2D([], [], label=NAMES[method], **mark(method)) for method in METHODS]
        handles += [plt.Line2D([], [], color=GREY, linewidth=0.8, label="equal")]
        handles += [plt.Line2D([], [], color=GREY, linewidth=0.8, linestyle=DASHED, label="factor of 2")]
        figure.legend(handles=handles, loc="outside upper left", ncols=5, borderaxespad=0.6)
    return figure


def scatter(ax, title, rows, predicted, found):
    """One point a row, the line where both are equal, and the factor of 2 around it."""
    tidy(ax)
    ends = np.array([min(row[name] for row in rows for name in (predicted, found))] * 2)
    ends[1] = max(row[name] for row in rows for name in (predicted, found) if np.isfinite(row[name]))
    ends *= (0.7, 1.4)
    ax.plot(ends, ends, color=GREY, linewidth=0.8)
    for factor in (0.5, 2.0):
        ax.plot(ends, factor * ends, color=GREY, linewidth=0.8, linestyle=DASHED)
    for method in METHODS:
        for row in (row for row in rows if family(row) == method):
            low_noise = "learning_rate" in row and row["q"] < 1
            look = {"markerfacecolor": "white", "markeredgecolor": LOOKS[method]["color"], "markeredgewidth": 0.8}
            error = row["ratio error"] if "ratio error" in row else row["error"]
            look = mark(method, markersize=3.6) | (look if low_noise else {"markeredgewidth": 0.2})
            ax.errorbar(row[predicted], row[found], 2 * error if np.isfinite(error) else None, elinewidth=0.5, **look)
    ax.set(xscale="log", yscale="log", xlim=ends, ylim=ends, title=title, aspect="equal")
    logarithmic(ax.xaxis)
    logarithmic(ax.yaxis)


def summary(rows, predicted, found) -> str:
    """Found over predicted: number of rows, median, least, largest, and the share within a factor of 2."""
    ratios = np.array([row[found] / row[predicted] for row in rows])
    within = np.mean((ratios >= 0.5) & (ratios <= 2))
    return f"{len(rows)} | {np.median(ratios):.2f} | {ratios.min():.2f} | {ratios.max():.2f} | {within:.0%}"


HEAD = " | rows | median | least | largest | within a factor of 2 |\n" + "|---" * 6 + "|"


def why(rows, rounds) -> str:
    """Where the closed forms fail."""
    over = lambda row: row["simulated"] / row["closed"]
    label = lambda row: Row(*(row[name] for name in Row._fields)).label
    told = lambda row: f"{over(row):.2g} times ({row['workers']} workers, {row['law']} times, {label(row)})"
    text = f"""Why: by the closed form a round that closes with the m-th gradient lasts h_m, the m-th smallest mean.
    Under random times it lasts as long as the m-th smallest of n draws: longer where nearly all are waited for, up to
    {told(max(rounds, key=over))}, and shorter where few are, as the lucky ones deliver first, down to
    {told(min(rounds, key=over))}. Its expectation is what is simulated. Asynchronous updates come at the rate of the
    sum of 1/h_i whatever the law."""
    for method in ("Ringmaster", "Rennala", "Rennala, restart"):
        best = {}
        for row in (row for row in rows if row["method"] == method):
            known = best.setdefault(row["cluster"], row)
            best[row["cluster"]] = min(known, row, key=lambda row: row["simulated"])
        ratios = [over(row) for row in best.values()]
        text += f""" {NAMES[method]}: the closed form is a bound; at the best setting of a cluster {min(ratios):.2f} to
        {max(ratios):.2f} of it is simulated, {np.median(ratios):.2f} in the median."""
    return fill(" ".join(text.split()), 118)


def conclusion(real) -> str:
    """Where the theory misleads, in numbers."""
    over = lambda row: row["measured ratio"] / row["predicted ratio"]
    told = lambda row: f"{NAMES[family(row)]}, q = {row['q']:g}"
    every, real = real, [row for row in real if row["method"] != "synchronous"]
    off, least = [row for row in real if abs(over(row) - 1) > 0.2], min(real, key=over)
    near = [abs(over(row) - 1) for row in real if row not in off]
    text = f"""Of {len(real)} ratios {len(near)} are within {max(near):.0%} of the prediction, and the advised method
    took at most {max(row["over the fastest"] for row in every if row["advised"]):.2f} times as long as the fastest."""
    n = 32
    exponential, fixed = (1 + np.sqrt(1 + 8 * n)) / (2 * n), 2 * np.sin(np.pi / (4 * n - 2))
    if off:
        text += f""" The others: {"; ".join(sorted(set(map(told, off))))}. The furthest is {over(least):.2f} of it:
        {least["cluster"]}, {told(least)}. With little noise and random times K = m + q asks for too much: the largest
        stable learning rate depends on the law of the times, and K does not. For {n} equal workers it is
        (1 + sqrt(1 + 8n)) / (2nL) = {exponential:.3f}/L with exponential times (in mean square) and
        2 sin(pi / (4n - 2)) / L = {fixed:.3f}/L with fixed ones. With much noise that limit does not matter."""
    return fill(" ".join(text.split()), 118)


def page(rows, real) -> str:
    sizes = [row["workers"] for row in rows]
    number = len({row["cluster"] for row in rows})
    of = lambda method, rows=rows: [row for row in rows if family(row) == method]
    rounds = of("synchronous") + of("m-sync")
    laws = {law: [row for row in rounds if row["law"] == law] for law in dict.fromkeys(row["law"] for row in rounds)}
    lines = ["# What a cluster should use", "", "![cluster_plan](cluster_plan.svg)", ""]
    lines += [f"## Predicted and simulated: {number} random clusters of {min(sizes)} to {max(sizes)} workers", ""]
    lines += ["Simulated time to the target over that of the closed form for fixed times, at each worker's mean:", ""]
    lines += ["| method" + HEAD]
    lines += [f"| {NAMES[method]} | {summary(of(method), 'closed', 'simulated')} |" for method in METHODS]
    for form, told in {"closed": "over the closed form", "expected": "over the expected order statistic"}.items():
        lines += ["", f"Rounds by the law of the times, {told}:", "", "| law" + HEAD]
        lines += [f"| {law} | {summary(some, form, 'simulated')} |" for law, some in laws.items()]
    lines += ["", why(rows, rounds), "", "## Predicted and measured: SGD on a noisy quadratic", ""]
    lines += ["Seconds to the target over those of synchronous SGD, each method at its best learning rate (± jackknife"]
    lines += ["standard error):", ""]
    lines += ["| cluster | q | method | setting | K | updates / K | predicted | measured | advised: over the least |"]
    lines += ["|---" * 9 + "|"]
    for row in real:
        cells = [row["cluster"], f"{row['q']:g}", NAMES[family(row)], str(row["setting"] or ""), f"{row['K']:.3g}"]
        cells += [f"{row['updates'] / row['K']:.0f}", f"{row['predicted ratio']:.3f}"]
        cells += [f"{row['measured ratio']:.3f} ± {row['ratio error']:.3f}"]
        cells += [f"{row['over the fastest']:.2f}" * row["advised"]]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "Measured over predicted ratios:", "", "| method and q" + HEAD]
    for q in sorted({row["q"] for row in real}):
        some = {m: [row for row in of(m, real) if row["q"] == q] for m in METHODS[1:]}
        told = {m: summary(rows, "predicted ratio", "measured ratio") for m, rows in some.items() if rows}
        lines += [f"| {NAMES[method]}, q = {q:g} | {text} |" for method, text in told.items()]
    lines += ["", conclusion(real), ""]
    lines += ["Made by `experiments/cluster_plan.py`; numbers: `clusters.csv`, `optimisation.csv`. A plan as the"]
    lines += ["command writes it: [example](example/README.md), from [steps.csv](steps.csv)."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
