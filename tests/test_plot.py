"""Figures: what they show is checked against numbers worked out by hand; how they look is not."""

import dataclasses
import subprocess
import sys
import time

import numpy as np
import pytest

import jaxasgd as ja
from jaxasgd import figures, histograms, plot, portrait
from jaxasgd.results import Comparison, Run
from jaxasgd.schedule import CANCELLED, RUNNING, UNFINISHED_COLUMNS, Schedule

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def by_hand() -> Schedule:
    """Two workers; worker 0 is idle from 3 to 4 and after 5.5. Used delays: 0, 1, 0."""
    lost = {"worker": [0, 1], "kind": [CANCELLED, RUNNING], "read": [3, 2], "start": [5.0, 2.0], "time": [5.5, 6.0]}
    lost |= {"size": [1, 1], "age": [0, 1], "count": [1, 1], "seconds": [0.5, 4.0]}
    return Schedule(
        time=[1.0, 2.0, 3.0, 5.0],
        start=[0.0, 0.0, 1.0, 4.0],
        worker=[0, 1, 0, 0],
        read=[0, 0, 1, 2],
        visit=[0, 0, 1, 2],
        repeat=[0, 0, 0, 0],
        size=[1, 1, 1, 1],
        use=[True, True, False, True],
        weight=[1.0, 1.0, 0.0, 1.0],
        step=[True, True, False, True],
        num_workers=2,
        end=6.0,
        unfinished={name: np.array(lost[name], dtype) for name, dtype in UNFINISHED_COLUMNS.items()},
    )


def run(method, seed, loss, status="finished", seconds=4.0):
    loss = np.array(loss)
    clock = np.arange(len(loss), dtype=float)
    columns = {
        "time": clock,
        "update": 10 * clock,
        "gradients": 20 * clock,
        "loss": loss,
        "test_accuracy": 1 - loss / 200,
    }
    return Run(method, seed, status, int(columns["update"][-1]), columns, {"seconds": seconds})


SYNC = [[100.0, 40.0, 10.0, 4.0], [100.0, 50.0, 12.0, 5.0], [100.0, 60.0, 14.0, 6.0]]
ASYNC = [[100.0, 4.0, 0.1, 0.1], [100.0, 5.0, 0.1, 0.1], [100.0, 6.0, 2.8, 0.1]]


def small(**schedules) -> Comparison:
    runs = [run("sync", seed, loss) for seed, loss in enumerate(SYNC)]
    runs += [run("async", seed, loss) for seed, loss in enumerate(ASYNC)]
    return Comparison(runs, schedules, {"until": 4.0})


def broken() -> Comparison:
    """Seed 1 of 3 of "async" diverged at second 2."""
    runs = [run("sync", seed, loss) for seed, loss in enumerate(SYNC)]
    runs += [run("async", 0, ASYNC[0]), run("async", 1, [100.0, 1e9, np.inf], "diverged"), run("async", 2, ASYNC[2])]
    return Comparison(runs, {}, {"until": 4.0})


def labelled(ax, label):
    return [artist for artist in ax.get_children() if artist.get_label() == label]


def legend_texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def exponential(workers, updates, policy=None):
    times = ja.times.exponential(1.0, num_workers=workers)
    return ja.simulate(policy or ja.policies.asgd(), times, num_updates=updates, seed=0)


# --------------------------------------------------------------------------------------- comparison


def test_means_are_held_steps():
    (ax,) = plot.comparison(small(), log=False).axes
    sync, fast = ax.lines
    assert sync.get_drawstyle() == fast.get_drawstyle() == "steps-post"
    assert sync.get_xdata().tolist() == [0, 1, 2, 3, 4]  # the run lasted until 4: the last value is held
    assert sync.get_ydata().tolist() == [100, 50, 12, 5, 5]
    assert fast.get_ydata() == pytest.approx([100, 5, 1, 0.1, 0.1])
    assert (sync.get_color(), fast.get_color()) == figures.PALETTE[:2]
    assert legend_texts(ax) == ["sync", "async"]
    assert ax.get_legend().get_title().get_text() == "Mean of 3 seeds; bands: 95% t interval"


def in_band(ax, which, x, y):
    """Whether the edge of a band comes through (x, y)."""
    corners = ax.collections[which].get_paths()[0].vertices
    return bool((np.isclose(corners, (x, y), rtol=1e-6)).all(axis=1).any())


def test_interval_of_the_mean():
    (ax,) = plot.comparison(small(), log=False).axes
    half = 4.302652729911275 * 10 / np.sqrt(3)  # t(0.975, 2) s / sqrt(n), values 40, 50, 60
    assert all(in_band(ax, 0, x, 50 + side * half) for x in (1, 2) for side in (-1, 1))  # held
    assert not in_band(ax, 0, 3, 50 + half)


def test_interval_on_a_logarithmic_axis_belongs_to_the_mean_and_stays_positive():
    (ax,) = plot.comparison(small(), log=True).axes
    s = np.std([0.1, 0.1, 2.8], ddof=1)
    half = 4.302652729911275 * s / np.sqrt(3)
    assert 1.0 - half < 0  # what could not be drawn
    assert in_band(ax, 1, 2, np.exp(-half)) and in_band(ax, 1, 2, np.exp(half))
    assert all((shade.get_paths()[0].vertices[:, 1] > 0).all() for shade in ax.collections)
    assert ax.get_ylim()[0] > 0


@pytest.mark.parametrize(
    ("against", "label"), [("time", "Simulated seconds"), ("update", "Updates"), ("gradients", "Gradients arrived")]
)
def test_axes_say_what_they_are(against, label):
    table = small()
    (ax,) = table.plot(against, "test_accuracy").axes
    assert (ax.get_xlabel(), ax.get_ylabel()) == (label, "Test accuracy")
    assert (ax.get_xscale(), ax.get_yscale()) == ("linear", "linear")
    assert len(ax.lines) == len(ax.collections) == 2
    factor = {"time": 1, "update": 10, "gradients": 20}[against]
    last = 4 if against == "time" else 3 * factor  # no update or gradient is made up beyond the last one
    assert ax.get_xlim() == (0, last)


def test_logarithm_is_for_losses_over_more_than_a_decade():
    assert plot.comparison(small()).axes[0].get_yscale() == "log"
    assert plot.comparison(small(), of="test_accuracy").axes[0].get_yscale() == "linear"
    flat = Comparison([run("sync", 0, [3.0, 2.0, 1.0])], {})
    figure = plot.comparison(flat)
    assert figure.axes[0].get_yscale() == "linear"
    assert figure.axes[0].get_legend().get_title().get_text() == "One seed"
    zero = Comparison([run("sync", 0, [3.0, 0.2, 0.0])], {})
    assert plot.comparison(zero).axes[0].get_yscale() == "log"


def test_updates_are_logarithmic_where_methods_differ_tenfold():
    slow, fast = run("sync", 0, SYNC[0]), run("async", 0, ASYNC[0])
    fast.columns["update"] = np.array([0.0, 200.0, 400.0, 600.0])
    ax = plot.comparison(Comparison([slow, fast], {}), "update").axes[0]
    assert ax.get_xscale() == "log"
    assert [line.get_xdata()[0] for line in ax.lines] == [10, 200]  # each from its first look after the start


def test_divergence_is_told():
    ax = plot.comparison(broken()).axes[0]
    assert legend_texts(ax) == ["sync", "async (× 1 of 3 seeds diverged)"]
    (cross,) = labelled(ax, "_diverged")
    assert (cross.get_xdata().tolist(), cross.get_ydata().tolist()) == ([2.0], [1.0])
    (rest,) = labelled(ax, "_rest")
    assert rest.get_linestyle() == ":"
    assert rest.get_ydata() == pytest.approx([np.nan, (100 + 4 + 1e9 - 98) / 3, 1.45, 0.1, 0.1], nan_ok=True, rel=1e-6)
    mean = ax.lines[1].get_ydata()
    assert np.isnan(mean[2:]).all() and not np.isnan(mean[:2]).any()
    assert ax.get_ylim()[1] < 1e5  # what explodes leaves the panel


def test_all_seeds_diverged_at_once():
    table = Comparison([run("async", seed, [1.0, np.nan], "diverged") for seed in range(2)], {})
    ax = plot.comparison(table).axes[0]
    assert legend_texts(ax) == ["async (× 2 of 2 seeds diverged)"]


# -------------------------------------------------------------------------------------------- delays


def shares(ax):
    return [patch.get_data() for patch in labelled(ax, "_share")]


def test_shares_by_hand():
    ax = plot.delays({"mine": by_hand()}).axes[0]
    (steps,) = shares(ax)
    assert steps.values == pytest.approx([2 / 3, 1 / 3])
    assert steps.edges.tolist() == [-0.5, 0.5, 1.5]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Delay (updates)", "Share of gradients")
    (mean,) = labelled(ax, "mine, mean 0.333")
    assert mean.get_xdata() == pytest.approx([1 / 3])
    assert legend_texts(ax) == ["mine, mean 0.333"]


def test_the_same_distribution_twice_shows_both():
    ax = plot.delays({"one": by_hand(), "two": by_hand()}).axes[0]
    one, two = labelled(ax, "_share")
    assert one.get_edgecolor() != two.get_edgecolor()
    assert "--" in (one.get_linestyle(), two.get_linestyle()) or one.get_linestyle() != two.get_linestyle()
    marks = [labelled(ax, f"{name}, mean 0.333")[0].get_ydata()[0] for name in ("one", "two")]
    assert marks[0] != marks[1]


def test_nothing_used():
    none = ja.simulate(ja.policies.asgd(), ja.times.fixed(1.0, num_workers=2), until=0.5)
    ax = plot.delays({"none": none, "mine": by_hand()}).axes[0]
    assert legend_texts(ax)[0] == "none (no gradient used)"
    assert len(shares(ax)) == 1
    assert plot.delays({"none": none}).axes[0].get_ylabel() == "Share of gradients"


@pytest.mark.parametrize("largest", [0, 1, 7, 100, 101, 999, 10_000, 1_000_000])
@pytest.mark.parametrize("typical", [0.0, 1.0])
def test_bins_hold_every_delay_once(largest, typical):
    edges, _, widening = histograms.bins(largest, typical * largest)
    assert (edges % 1 == 0.5).all() and (np.diff(edges) > 0).all()
    assert edges[0] == -0.5 and edges[-1] > largest
    assert len(edges) <= 103
    assert widening == (largest > 100 and typical == 0)


def test_long_tails():
    times = ja.times.with_straggler(ja.times.exponential(1.0, num_workers=8), factor=100.0)
    slow = ja.simulate(ja.policies.asgd(), times, num_updates=4000, seed=0)
    ax = plot.delays({"slow": slow, "none": exponential(8, 50, ja.policies.synchronous())}).axes[0]
    assert slow.delay.max() > 300
    assert ax.get_xlabel() == "Delay (updates, widening bins)"
    assert ax.get_yscale() == "log"
    assert [steps.values.sum() for steps in shares(ax)] == pytest.approx([1, 1])
    assert shares(ax)[0].values[0] == pytest.approx((slow.delay == 0).mean())
    wide = plot.delays({"wide": exponential(100, 3000)}).axes[0]
    assert wide.get_xlabel().startswith("Delay (updates, bins of ")


# ------------------------------------------------------------------------------------------ timeline


def rectangles(ax, label):
    """(row, start, end) of the bars of a kind."""
    found = []
    for collection in labelled(ax, label):
        for path in collection.get_paths():
            (x0, y0), (x1, y1) = path.vertices.min(axis=0), path.vertices.max(axis=0)
            found.append((round((y0 + y1) / 2), x0, x1))
    return sorted(found)


def test_bars_by_hand():
    ax = plot.timeline(by_hand(), until=6.0).axes[0]
    assert rectangles(ax, "jobs") == [(0, 0, 1), (0, 4, 5), (1, 0, 2)]
    assert rectangles(ax, "discarded") == [(0, 1, 3)]
    assert rectangles(ax, "unfinished") == [(0, 5, 5.5), (1, 2, 6)]
    (ticks,) = labelled(ax, "updates")
    assert [segment[0][0] for segment in ticks.get_segments()] == [1, 2, 5]
    assert legend_texts(ax) == ["discarded", "running or cancelled"]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_xlim()) == ("Seconds", "Worker", (0, 6))
    assert [text.get_text() for text in ax.get_yticklabels()] == ["server", "0", "1"]


def test_idle_time_is_blank():
    figure = plot.timeline(by_hand(), until=6.0)
    figure.canvas.draw()
    ax, pixels = figure.axes[0], np.asarray(figure.canvas.buffer_rgba())

    def colour(time, row):
        x, y = ax.transData.transform((time, row))
        return tuple(pixels[pixels.shape[0] - 1 - round(y), round(x), :3])

    white = (255, 255, 255)
    assert colour(3.5, 0) == colour(5.8, 0) == white
    assert white not in (colour(0.5, 0), colour(4.5, 0), colour(5.25, 0), colour(1.0, 1), colour(4.0, 1))
    assert colour(0.5, 0) == colour(4.5, 0) != colour(1.0, 1)  # delays 0, 0 and 1


def test_window_cuts_bars_off():
    ax = plot.timeline(by_hand(), until=1.5).axes[0]
    assert rectangles(ax, "jobs") == [(0, 0, 1), (1, 0, 1.5)]
    assert rectangles(ax, "discarded") == [(0, 1, 1.5)]
    assert not labelled(ax, "unfinished")


def test_default_window_is_ten_jobs_of_the_median_worker():
    fixed = ja.simulate(ja.policies.asgd(), ja.times.fixed([1.0, 2.0, 300.0]), until=500.0)
    assert plot.timeline(fixed).axes[0].get_xlim() == (0, 20)
    assert plot.timeline(by_hand()).axes[0].get_xlim() == (0, 6)


def test_many_workers_are_sampled_by_speed():
    n = 1000
    schedule = ja.simulate(ja.policies.asgd(), ja.times.fixed(np.arange(n, 0, -1.0)), until=1500.0)
    ax = plot.timeline(schedule, max_workers=5, until=100.0).axes[0]
    assert ax.get_ylabel() == "Worker (5 of 1000)"
    assert [text.get_text() for text in ax.get_yticklabels()] == ["server", "fastest", "median", "slowest"]
    assert portrait.choose(schedule, 5).tolist() == [999, 749, 499, 250, 0]
    assert len([bar for bar in rectangles(ax, "jobs") if bar[0] == 0]) == 100
    assert any("updates" in text.get_text() for text in ax.texts)  # too many to tick
    assert not labelled(ax, "updates")


LIGHT = (portrait.WASTE, portrait.PALE)


def pixel(colour) -> list:
    return [round(255 * part) for part in matplotlib.colors.to_rgba(colour)]


def test_image_by_hand():
    ax = plot.timeline(by_hand(), until=6.0, how="image").axes[0]
    (image,) = ax.images
    pixels = image.get_array()
    assert pixels.shape == (2, portrait.COLUMNS, 4)
    assert image.get_extent() == [0, 6, 1.5, -0.5]
    white, waste, pale = (pixel(colour) for colour in ("white", *LIGHT))
    zero, one = (pixel(colour) for colour in portrait.colours(np.array([0, 1])).to_rgba([0, 1]))
    assert len({tuple(colour) for colour in (white, waste, pale, zero, one)}) == 5
    moments = np.array([0.5, 2.1, 3.5, 4.5, 5.25, 5.8])
    shown = pixels[:, (moments / 6 * portrait.COLUMNS).astype(int)].tolist()
    assert shown[0] == [zero, waste, white, zero, pale, white]
    assert shown[1] == [one, pale, pale, pale, pale, pale]  # from 2 on: running
    jobs = portrait.find_jobs(by_hand(), 6.0, np.arange(2))
    found = portrait.cells(jobs, columns=12)  # half a second each
    seen = np.where(found < 0, 9, jobs.delay[found])
    running, cancelled = portrait.LOST - RUNNING, portrait.LOST - CANCELLED
    assert seen.tolist() == [
        [0, 0, -1, -1, -1, -1, 9, 9, 0, 0, cancelled, 9],
        [1, 1, 1, 1] + 8 * [running],
    ]
    assert legend_texts(ax) == ["discarded 17%", "running 33%", "cancelled 4%", "idle 12%"]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["server", "fastest", "slowest"]


def test_where_jobs_overlap_the_later_one_is_seen():
    start, end = np.array([2.0, 0.0]), np.array([4.0, 3.0])
    jobs = portrait.Jobs(np.zeros(2, int), start, end, end, np.zeros(2, int), np.array([0]), 5.0)
    assert portrait.cells(jobs, columns=5).tolist() == [[1, 1, 0, 0, -1]]


def test_all_of_many_workers_are_an_image_from_fastest_to_slowest():
    n = 1000
    schedule = ja.simulate(ja.policies.asgd(), ja.times.fixed(np.linspace(10, 1, n)), until=40.0)
    ax = plot.timeline(schedule, until=30.0).axes[0]
    (image,) = ax.images
    assert image.get_array().shape == (n, portrait.COLUMNS, 4)
    assert ax.get_ylabel() == "1000 workers, by speed"
    (rate,) = labelled(ax, "rate")
    values, edges, base = rate.get_data()
    total = (schedule.time[schedule.step] <= 30).sum()
    assert len(values) == 100 and edges[-1] == 30
    assert (base - values).argmin() == 0  # nothing arrives in the first 0.3 seconds
    assert f"{total:,} updates" in [text.get_text() for text in ax.texts]
    at = 500
    moment = (at + 0.5) / portrait.COLUMNS * 30
    now = (schedule.start <= moment) & (schedule.time > moment)
    delay = np.full(n, -1)  # of the job that each worker does then
    delay[schedule.worker[now]] = schedule.delay[now]
    assert (delay >= 0).all()
    scale = portrait.colours(schedule.delay[schedule.start < 30])
    column = image.get_array()[::-1, at].tolist()  # worker 999 is the fastest
    assert column == [pixel(colour) for colour in scale.to_rgba(delay)]


def test_workers_are_sorted_by_all_their_work():
    """One quick gradient, and then a job that doesn't end: not a fast worker."""
    lost = {
        "worker": [0, 1, 2],
        "kind": 3 * [RUNNING],
        "read": 3 * [0],
        "start": [0.1, 90.0, 99.0],
        "time": 3 * [100.0],
    }
    lost |= {"size": [1, 1, 1], "age": [0, 0, 0], "count": [1, 1, 1], "seconds": [99.9, 10.0, 1.0]}
    row = np.array([0.1, 45.0, 90.0, 99.0])
    zeros, ones = np.zeros(4, int), np.ones(4, int)
    schedule = Schedule(
        time=row,
        start=[0.0, 0.0, 45.0, 50.0],
        worker=[0, 1, 1, 2],
        read=zeros,
        visit=zeros,
        repeat=zeros,
        size=ones,
        use=ones.astype(bool),
        weight=ones.astype(float),
        step=zeros.astype(bool),
        num_workers=3,
        end=100.0,
        unfinished={name: np.array(lost[name], dtype) for name, dtype in UNFINISHED_COLUMNS.items()},
    )
    assert portrait.choose(schedule, 3, by_speed=True).tolist() == [1, 2, 0]
    assert portrait.choose(schedule, 2).tolist() == [1, 0]
    assert portrait.choose(schedule, 3).tolist() == [0, 1, 2]


@pytest.mark.parametrize(("workers", "image"), [(4, False), (40, False), (41, True)])
def test_bars_for_few_an_image_for_many(workers, image):
    schedule = exponential(workers, 3 * workers)
    drawn = lambda **options: bool(plot.timeline(schedule, **options).axes[0].images)
    assert drawn() == image
    assert drawn(how="image") and not drawn(how="bars") and not drawn(max_workers=8)
    (all_of_it,) = plot.timeline(schedule, how="image", max_workers=3).axes[0].images
    assert len(all_of_it.get_array()) == 3


def test_waiting_is_the_thin_end_of_a_bar():
    schedule = dataclasses.replace(by_hand(), busy=[0.25, 2.0, 0.5, 1.0])
    ax = plot.timeline(schedule, until=6.0).axes[0]
    assert rectangles(ax, "jobs") == [(0, 0, 0.25), (0, 4, 5), (1, 0, 2)]
    assert rectangles(ax, "discarded") == [(0, 1, 1.5)]
    assert rectangles(ax, "waiting") == [(0, 0.25, 1), (0, 1.5, 3)]
    assert rectangles(ax, "unfinished") == [(0, 5, 5.5), (1, 2, 6)]
    heights = {name: np.ptp(labelled(ax, name)[0].get_paths()[0].vertices[:, 1]) for name in ("jobs", "waiting")}
    assert heights["waiting"] < heights["jobs"] / 3
    assert legend_texts(ax) == ["discarded", "running or cancelled", "messages, waiting"]
    assert not labelled(plot.timeline(by_hand(), until=6.0).axes[0], "waiting")


@pytest.mark.parametrize(
    ("delays", "steps", "stretched"),
    [([0, 1, 8], True, False), ([10, 20, 39], False, False), ([1, 1, 1, 1, 50], False, True), ([], True, False)],
)
def test_colours_fit_the_delays(delays, steps, stretched):
    scale = portrait.colours(np.array([*delays, -1, -3], int))
    assert isinstance(scale.norm, matplotlib.colors.BoundaryNorm) == steps
    assert isinstance(scale.norm, matplotlib.colors.FuncNorm) == stretched
    light = scale.to_rgba(np.unique(delays).astype(int))[:, :3] @ [0.21, 0.72, 0.07]
    assert (np.diff(light) < 0).all()  # darker with every delay: readable in grey
    assert light.max(initial=0) < matplotlib.colors.to_rgb(portrait.WASTE)[0] - 0.08


def test_one_delay_needs_no_colour_bar():
    figure = plot.timeline(exponential(4, 10, ja.policies.synchronous()))
    assert len(figure.axes) == 1
    assert legend_texts(figure.axes[0])[0] == "delay 0"
    assert figure.axes[0].get_xlabel() == "Simulated seconds"
    figure = plot.timeline(exponential(4, 100))
    assert figure.axes[0].child_axes[0].get_ylabel() == "Delay (updates)"


def test_large_schedules_are_quick():
    rows, n = 1_000_000, 1000
    arrivals = np.arange(1, rows + 1) / n
    rounds = np.arange(rows) // n
    schedule = Schedule(
        time=arrivals,
        start=np.maximum(arrivals - 1, 0),
        worker=np.arange(rows) % n,
        read=np.maximum(np.arange(rows) - n + 1, 0),
        visit=rounds,
        repeat=np.zeros(rows, int),
        size=np.ones(rows, int),
        use=np.ones(rows, bool),
        weight=np.ones(rows),
        step=np.ones(rows, bool),
        num_workers=n,
        end=1000.0,
    )
    began = time.perf_counter()
    plot.timeline(schedule)
    plot.delays({"large": schedule})
    assert time.perf_counter() - began < 5


# ------------------------------------------------------------------------------------------ overview


def panels(figure):
    return [ax for ax in figure.axes if ax.get_subplotspec() is not None]


@pytest.mark.parametrize("workers", [2, 300])
def test_overview(workers):
    sync, fast = exponential(workers, 20, ja.policies.synchronous()), exponential(workers, 20 * workers)
    figure = plot.overview(small(sync=sync, **{"async": fast}), ("loss", "test_accuracy"), title="All of it")
    axes = panels(figure)
    assert [ax.get_xlabel() for ax in axes[:6]] == 2 * ["Simulated seconds", "Updates", "Gradients arrived"]
    assert [ax.get_ylabel() for ax in axes[:6]] == ["Loss", "", "", "Test accuracy", "", ""]
    assert [ax.get_title(loc="left") for ax in axes[6:]] == [
        "Delays (triangles: means)",
        "Workers: sync",
        "Workers: async",
    ]
    assert axes[0].get_ylim() == axes[1].get_ylim() == axes[2].get_ylim()
    assert axes[7].get_xlim() == axes[8].get_xlim()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["sync", "async"]
    assert legend.get_title().get_text() == "All of it"
    figure.canvas.draw()
    boxes = [ax.get_tightbbox().padded(-1) for ax in axes] + [legend.get_window_extent().padded(-1)]
    assert not [(i, j) for i, a in enumerate(boxes) for j, b in enumerate(boxes[:i]) if a.overlaps(b)]
    whole = figure.bbox.padded(1)
    assert all(whole.x0 <= box.x0 and box.x1 <= whole.x1 and whole.y0 <= box.y0 for box in boxes)


def test_overview_takes_what_there_is():
    assert len(panels(plot.overview(small()))) == 3  # no schedules: no second row
    one = small(sync=by_hand(), **{"async": by_hand()})
    assert [ax.get_title(loc="left") for ax in panels(plot.overview(one, "loss"))[3:]][1:] == ["Workers: sync"]
    chosen = plot.overview(one, "loss", timelines=("async", "sync"))
    assert [ax.get_title(loc="left") for ax in panels(chosen)[4:]] == ["Workers: async", "Workers: sync"]


def test_seven_methods_can_be_told_apart():
    looks = figures.looks(f"method {i}" for i in range(14)).values()
    assert len({(look["color"], str(look["linestyle"])) for look in looks}) == 14


# --------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_the_same_bytes_twice(tmp_path, ending):
    written = []
    for k in range(2):
        figure = plot.timeline(by_hand()) if ending == "png" else plot.overview(small(sync=by_hand()))
        path = plot.save(figure, tmp_path / f"deep/{k}.{ending}")
        assert not plt.fignum_exists(figure.number)
        written.append(path.read_bytes())
    assert written[0] == written[1]
    assert b"dc:date" not in written[0]


def test_dense_timelines_stay_small(tmp_path):
    path = plot.save(plot.timeline(exponential(32, 6_000), until=200.0), tmp_path / "dense.svg")
    assert path.stat().st_size < 1_000_000


def test_an_axes_can_be_given_and_saved(tmp_path):
    figure, axes = plt.subplots(3)
    assert plot.comparison(small(), ax=axes[0]) is axes[0]
    assert plot.delays({"mine": by_hand()}, ax=axes[1]) is axes[1]
    assert plot.timeline(by_hand(), ax=axes[2]) is axes[2]
    assert plt.get_fignums() == [figure.number]
    assert plot.save(axes[0], tmp_path / "all.png").exists()


def test_settings_are_left_alone(tmp_path):
    before = dict(matplotlib.rcParams)
    plot.comparison(small())
    plot.delays({"mine": by_hand()})
    plot.timeline(by_hand())
    plot.overview(small(sync=by_hand()))
    plot.save(plot.timeline(by_hand()), tmp_path / "x.svg")
    with pytest.raises(ValueError):
        plot.comparison(small(), of="nothing")
    assert dict(matplotlib.rcParams) == before


def test_matplotlib_is_asked_for_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    for draw in (
        lambda: plot.comparison(small()),
        lambda: plot.overview(small()),
        lambda: plot.delays({"mine": by_hand()}),
        lambda: plot.timeline(by_hand()),
        lambda: plot.save(None, "x.svg"),
    ):
        with pytest.raises(ImportError, match=r'figures need matplotlib: pip install "jaxasgd\[plot\]"'):
            draw()


def test_importing_loads_no_matplotlib():
    code = "import sys, jaxasgd.plot; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# -------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("draw", "says"),
    [
        (lambda: plot.comparison(small(), "epoch"), 'against is "time", "update" or "gradients"'),
        (lambda: plot.comparison(small(), of="nothing"), "of is one of"),
        (lambda: plot.comparison(small(), level=95), "level is a probability .* got 95"),
        (lambda: plot.comparison(Comparison([run("a", 0, [-1.0, -2.0])], {}), log=True), "needs positive values"),
        (lambda: plot.delays(by_hand()), "schedules is a non-empty mapping"),
        (lambda: plot.delays({}), "schedules is a non-empty mapping"),
        (lambda: plot.timeline({"mine": by_hand()}), "a timeline shows a ja.Schedule"),
        (lambda: plot.timeline(by_hand(), until=0), "until is a number of seconds above 0"),
        (lambda: plot.timeline(by_hand(), how="bar"), 'how is "bars" or "image", or None'),
        (lambda: plot.timeline(by_hand(), max_workers=1), "max_workers is a whole number, 2 or more rows; got 1"),
        (lambda: plot.overview(small(sync=by_hand()), timelines=["async"]), "of methods with a schedule"),
        (lambda: plot.overview(small(), ()), "one metric or more"),
        (lambda: plot.save(None, "x.jpeg"), "saved as one of .* 'x.jpeg'"),
    ],
)
def test_errors_say_what_to_do(draw, says):
    with pytest.raises(ValueError, match=says):
        draw()
    assert not plt.get_fignums()  # nothing half drawn is left open
