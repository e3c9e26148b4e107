"""The staleness figure: its dots, cells and lines are the schedule's delays; its prediction is what is measured."""

import subprocess
import sys
import time

import numpy as np
import pytest

import jaxasgd as ja
from jaxasgd import histograms, plot
from jaxasgd.schedule import RUNNING, UNFINISHED_COLUMNS, Schedule

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def table(worker, read, *, time=None, start=None, use=None, size=None, step=None, num_workers=None, **rest) -> Schedule:
    """A schedule in which every row is an update, one a second, unless told otherwise."""
    rows = len(worker)
    use = np.ones(rows, bool) if use is None else np.array(use, bool)
    time = np.arange(1.0, rows + 1) if time is None else np.array(time, float)
    zeros = np.zeros(rows, int)
    return Schedule(
        time=time,
        start=time - 1 if start is None else np.array(start, float),
        worker=np.array(worker, int),
        read=np.array(read, int) if rows else np.zeros(np.shape(read), int),
        visit=zeros,
        repeat=zeros,
        size=np.ones(rows, int) if size is None else np.array(size, int),
        use=use,
        weight=use.astype(float),
        step=np.ones(rows, bool) if step is None else np.array(step, bool),
        num_workers=num_workers or int(max(worker, default=0)) + 1,
        end=float(time[-1]) + 1 if rows else 1.0,
        **rest,
    )


def by_hand(**rest) -> Schedule:
    """Delays 0, 1, 2 (discarded), 1 and a bare step; worker 2 has a discarded gradient only, worker 3 none."""
    use, size = [True, True, False, True, False], [1, 1, 1, 1, 0]
    start = [0.0, 0.0, 0.0, 1.0, 5.0]
    return table([0, 1, 2, 0, 1], [0, 0, 0, 2, 4], use=use, size=size, start=start, num_workers=4, **rest)


def labelled(ax, label):
    return [artist for artist in ax.get_children() if artist.get_label() == label]


def points(ax, label):
    (line,) = labelled(ax, label)
    return [(float(x), float(y)) for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)]


def legend_texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def simulated(workers, updates, policy=None, times=None, **options) -> Schedule:
    times = times or ja.times.exponential(1.0, num_workers=workers)
    return ja.simulate(policy or ja.policies.asgd(), times, num_updates=updates, seed=0, **options)


def counts(ax):
    """All gradients per cell, used or not."""
    return sum(np.ma.filled(mesh.get_array(), 0) for mesh in ax.collections if hasattr(mesh, "get_coordinates"))


# ----------------------------------------------------------------------------------------------- the run


def test_dots_by_hand():
    over_run, _ = plot.staleness(by_hand()).axes
    assert points(over_run, "worker 0") == [(1, 0), (4, 1)]
    assert points(over_run, "worker 1") == [(2, 1)]
    assert points(over_run, "_discarded") == [(3, 2)]
    assert not labelled(over_run, "worker 2") and not labelled(over_run, "mean")  # too few for a mean
    assert legend_texts(over_run) == ["worker 0", "worker 1", "discarded (25%)"]
    assert (over_run.get_xlabel(), over_run.get_ylabel()) == ("Seconds", "Delay (updates)")
    assert over_run.get_xlim() == (0, 6)


def test_dots_against_updates():
    ax = plot.staleness(by_hand(), against="update").axes[0]
    assert points(ax, "worker 0") == [(0, 0), (3, 1)]
    assert ax.get_xlabel() == "Updates"
    assert plot.staleness(simulated(4, 10)).axes[0].get_xlabel() == "Simulated seconds"


def test_unfinished_jobs_have_no_dot():
    lost = {"worker": [3], "kind": [RUNNING], "read": [0], "start": [0.0], "time": [6.0], "size": [1], "age": [4]}
    lost |= {"count": [1], "seconds": [6.0]}
    some = by_hand(unfinished={name: np.array(lost[name], dtype) for name, dtype in UNFINISHED_COLUMNS.items()})
    dots = [
        [line.get_xydata().tolist() for line in ax.lines] for s in (some, by_hand()) for ax in plot.staleness(s).axes
    ]
    assert dots[:2] == dots[2:]


def test_many_workers_share_a_look_and_the_mean_runs():
    schedule = simulated(30, 600)
    ax = plot.staleness(schedule).axes[0]
    (dots,) = labelled(ax, "gradients")
    assert dots.get_xdata().tolist() == schedule.time.tolist()
    assert dots.get_ydata().tolist() == schedule.delay.tolist()
    (mean,) = labelled(ax, "mean")
    chunks = schedule.delay.reshape(30, 20)
    assert mean.get_ydata() == pytest.approx(chunks.mean(axis=1))
    assert mean.get_xdata() == pytest.approx(schedule.time.reshape(30, 20).mean(axis=1))
    assert legend_texts(ax) == ["gradients", "mean"]


def test_dots_become_cells_of_counts():
    schedule = simulated(1000, 16_000)
    figure = plot.staleness(schedule)
    ax = figure.axes[0]
    assert counts(ax).sum() == len(schedule)
    (mesh,) = labelled(ax, "_gradients")
    x, up = mesh.get_coordinates()[0, :, 0], mesh.get_coordinates()[:, 0, 1]
    assert (np.diff(up) >= 1).all() and (up % 1 == 0.5).all()  # no cell between two whole numbers
    row, column = 7, 50
    inside = (schedule.time >= x[column]) & (schedule.time < x[column + 1])
    inside &= (schedule.delay > up[row]) & (schedule.delay < up[row + 1])
    assert counts(ax)[row, column] == inside.sum() > 0
    chunks = np.sort(schedule.delay.reshape(80, 200), axis=1)
    middle = labelled(ax, "median")[0].get_ydata()
    assert middle.tolist() == chunks[:, 100].tolist()  # round(0.5 * 199) is even
    assert labelled(ax, "_5%")[0].get_ydata().tolist() == chunks[:, 10].tolist()
    assert labelled(ax, "5 and 95%")[0].get_ydata().tolist() == chunks[:, 189].tolist()
    assert labelled(ax, "mean")[0].get_ydata() == pytest.approx(chunks.mean(axis=1))
    assert ax.child_axes[0].get_ylabel() == "Gradients per cell"
    assert len(figure.axes) == 2


def test_cells_of_discarded_gradients_are_apart():
    schedule = simulated(8, 3000, ja.policies.ringmaster(4), ja.times.exponential(np.geomspace(1, 10, 8)))
    assert 0.05 < 1 - schedule.use.mean() < 0.9
    for against, end in (("time", schedule.end), ("update", 3000)):
        ax = plot.staleness(schedule, against=against).axes[0]
        used, rest = (np.ma.filled(labelled(ax, name)[0].get_array(), 0) for name in ("_gradients", "_discarded"))
        assert (used.sum(), rest.sum()) == (schedule.use.sum(), (~schedule.use).sum())  # delays below 4, and others
        up = labelled(ax, "_gradients")[0].get_coordinates()[:, 0, 1]
        assert up[np.flatnonzero(used.sum(axis=1)).max() + 1] <= 4 <= up[np.flatnonzero(rest.sum(axis=1)).min() + 1]
        assert f"discarded ({1 - schedule.use.mean():.0%})" in legend_texts(ax)
        assert ax.get_xlim()[1] == end


def test_the_last_gradients_are_counted_where_there_is_no_update():
    rows = 2500
    schedule = table(np.zeros(rows), np.zeros(rows), step=np.zeros(rows, bool))
    assert counts(plot.staleness(schedule, against="update").axes[0]).sum() == rows
    step = np.arange(rows) < 2400
    schedule = table(np.zeros(rows), np.minimum(np.arange(rows), 2400), step=step)
    assert counts(plot.staleness(schedule, against="update").axes[0]).sum() == rows


def test_groups():
    times = ja.times.exponential([1.0, 2.0, 3.0])
    for updates in (600, 3000):
        schedule = simulated(3, updates, ja.policies.hogwild(4), times)
        assert schedule.delay.shape == (updates, 4)
        ax = plot.staleness(schedule).axes[0]
        for group in range(4):
            (line,) = labelled(ax, f"mean, group {group}")
            pieces = 30 if updates < 2000 else 80
            edges = np.linspace(0, updates, pieces + 1).astype(int)
            first = schedule.delay[: edges[1], group].mean()
            assert (len(line.get_ydata()), line.get_ydata()[0]) == (pieces, pytest.approx(first))
        assert not labelled(ax, "mean")
    assert counts(ax).sum() == updates
    dots = plot.staleness(simulated(3, 600, ja.policies.hogwild(4), times)).axes[0]
    largest = simulated(3, 600, ja.policies.hogwild(4), times).delay.max(axis=1)
    assert labelled(dots, "gradients")[0].get_ydata().tolist() == largest.tolist()
    many = plot.staleness(simulated(3, 600, ja.policies.hogwild(20), times)).axes[0]
    assert labelled(many, "mean") and not labelled(many, "mean, group 0")


def test_no_delay_at_all():
    for updates, mesh in ((20, False), (500, True)):
        schedule = simulated(8, updates, ja.policies.synchronous())
        assert len(schedule) == 8 * updates
        over_run, workers = plot.staleness(schedule).axes
        assert over_run.get_yscale() == "linear" and over_run.get_ylim()[0] < 0 < over_run.get_ylim()[1]
        assert bool(over_run.child_axes) == mesh
        assert set(labelled(over_run, "mean")[0].get_ydata()) == {0}
        assert set(labelled(workers, "_workers")[0].get_ydata()) == {0}


@pytest.mark.parametrize("against", ["time", "update"])
def test_nothing_arrived(against):
    empty = ja.simulate(ja.policies.asgd(), ja.times.fixed(1.0, num_workers=3), until=0.5)
    bare = table([0], [0], use=[False], size=[0])
    for schedule in (empty, bare, table([], [])):
        figure = plot.staleness(schedule, against=against)
        assert [[text.get_text() for text in ax.texts] for ax in figure.axes] == 2 * [["no gradient arrived"]]
        figure.canvas.draw()


def test_one_row():
    for use in (True, False):
        schedule = table([0], [0], use=[use])
        figure = plot.staleness(schedule)
        figure.canvas.draw()
        assert points(figure.axes[0], "worker 0" if use else "_discarded") == [(1, 0)]
        assert points(figure.axes[1], "_worker 0") == [(1, 0)]


def test_a_few_delays_far_above_all_others_stretch_the_axis():
    tail = simulated(4, 3000, times=ja.times.pareto(1.0, 1.1, num_workers=4))
    assert tail.delay.max() > 100 * np.median(tail.delay)
    ax = plot.staleness(tail).axes[0]
    assert ax.get_yscale() == "function"
    ticks = ax.get_yticks()
    assert ticks[0] == 0 and ticks[-1] <= tail.delay.max() and len(ticks) <= 6
    places = ax.transData.transform([(0, tick) for tick in ticks])[:, 1]
    assert np.diff(places).min() > 0.08 * ax.bbox.height
    assert plot.staleness(table(np.arange(9), np.zeros(9))).axes[0].get_yscale() == "linear"


@pytest.mark.parametrize("largest", [0, 1, 9, 100, 12_345, 10**6])
def test_stretched_bins_hold_every_delay_once(largest):
    for typical in (1.0, 30.0):
        edges = histograms.Stretch(typical).edges(largest, 60)
        assert edges[0] == -0.5 and edges[-1] == largest + 0.5
        assert (np.diff(edges) >= 1).all() and (edges % 1 == 0.5).all() and len(edges) <= 61


# ------------------------------------------------------------------------------------------- the workers


def test_workers_by_hand():
    ax = plot.staleness(by_hand()).axes[1]
    assert points(ax, "_worker 0") == [(2.0, 0.5)]  # 1 and 3 seconds, delays 0 and 1
    assert points(ax, "_worker 1") == [(2.0, 1.0)]
    assert points(ax, "_worker 2") == [(3.0, 2.0)]
    assert labelled(ax, "_worker 2")[0].get_markerfacecolor() == "white"
    assert (
        labelled(ax, "_worker 0")[0].get_markerfacecolor()
        == labelled(plot.staleness(by_hand()).axes[0], "worker 0")[0].get_color()
    )
    assert not labelled(ax, "_worker 3")
    assert [text.get_text() for text in ax.texts] == ["0", "1", "2"]
    (ranges,) = labelled(ax, "_range")
    assert [segment[:, 1].tolist() for segment in ranges.get_segments()] == [[0, 1], [1, 1], [2, 2]]
    assert legend_texts(ax) == ["mean, 5 to 95%", "all discarded"]


@pytest.mark.parametrize(
    "times",
    [
        ja.times.exponential([1.0, 2.0, 4.0, 8.0]),
        ja.times.fixed([1.0, 1.7, 3.1, 9.2]),
        ja.times.lognormal([1.0, 1.0, 3.0, 10.0], 0.8),
        ja.times.with_straggler(ja.times.uniform(0.5, 1.5, num_workers=4)),
    ],
    ids=lambda times: times.name,
)
def test_measured_means_agree_with_the_prediction(times):
    """Asynchronous SGD: worker i waits m_i seconds, in which the others deliver m_i * sum of 1 / m_j."""
    ax = plot.staleness(simulated(4, 8000, times=times), times=times).axes[1]
    (line,) = labelled(ax, "mᵢ Σ 1/mⱼ, j ≠ i")
    assert line.get_linestyle() == "--"
    for i, mean in enumerate(times.mean):
        exact = mean * sum(1 / other for j, other in enumerate(times.mean) if j != i)
        drawn = np.interp(mean, line.get_xdata(), line.get_ydata())
        assert drawn == pytest.approx(exact)
        ((seconds, measured),) = points(ax, f"_worker {i}")
        assert seconds == pytest.approx(mean, rel=0.1)
        assert measured == pytest.approx(exact, rel=0.1)
        assert measured == pytest.approx(np.interp(seconds, line.get_xdata(), line.get_ydata()), rel=0.04)


def test_a_thousand_workers():
    times = ja.times.exponential(np.geomspace(1, 10, 1000))
    schedule = simulated(1000, 40_000, times=times)
    ax = plot.staleness(schedule, times=times).axes[1]
    (dots,) = labelled(ax, "_workers")
    assert len(dots.get_xdata()) == len(set(schedule.worker.tolist()))
    worker = 123
    mine = schedule.worker == worker
    at = np.flatnonzero(np.isclose(dots.get_ydata(), schedule.delay[mine].mean()))
    assert np.isclose(dots.get_xdata()[at], (schedule.time - schedule.start)[mine].mean()).any()
    (line,) = labelled(ax, "mᵢ Σ 1/mⱼ, j ≠ i")
    expected = np.interp(dots.get_xdata(), line.get_xdata(), line.get_ydata())
    error = dots.get_ydata() / expected - 1
    assert np.abs(np.median(error)) < 0.05 and np.quantile(np.abs(error), 0.9) < 0.15
    (band,) = labelled(ax, "_range")
    corners = band.get_paths()[0].vertices
    assert corners[:, 0].min() >= dots.get_xdata().min() and corners[:, 0].max() <= dots.get_xdata().max()
    slow = np.argsort(times.mean)[-25:]  # about the last fortieth
    assert corners[:, 1].max() == pytest.approx(
        np.quantile(schedule.delay[np.isin(schedule.worker, slow)], 0.95), rel=0.5
    )


def test_a_worker_counts_by_its_used_gradients():
    ax = plot.staleness(table([0, 0, 0], [0, 0, 2], use=[True, False, True])).axes[1]
    assert points(ax, "_worker 0") == [(1, 0)]


@pytest.mark.parametrize("workers", [5, 50, 500])
def test_all_workers_discarded(workers):
    schedule = table(np.arange(workers), np.zeros(workers), use=np.zeros(workers), step=np.arange(workers) == 0)
    over_run, ax = plot.staleness(schedule).axes
    assert legend_texts(over_run) == ["discarded (100%)"] and legend_texts(ax) == ["all discarded"]
    if workers > 6:
        assert labelled(ax, "_all discarded")[0].get_ydata().tolist() == [0] + [1] * (workers - 1)
        assert not labelled(ax, "_workers")
    ax.figure.canvas.draw()


def test_workers_without_a_mean_have_no_place_on_the_line():
    times = ja.times.custom(lambda rng, worker, count: np.full(count, 1.0 + worker), 3, mean=[1.0, 2.0, np.inf])
    ax = plot.staleness(simulated(3, 100, times=times), times=times).axes[1]
    (line,) = labelled(ax, "mᵢ Σ 1/mⱼ, j ≠ i")
    assert np.interp([1.0, 2.0], line.get_xdata(), line.get_ydata()).tolist() == [0.5, 2.0]


def test_groups_count_by_their_largest_delay():
    schedule = table([0, 1, 0], [[0, 0], [0, 1], [0, 1]])
    ax = plot.staleness(schedule).axes[1]
    assert (points(ax, "_worker 0"), points(ax, "_worker 1")) == ([(1, 1)], [(1, 1)])


def test_widely_spread_speeds_are_logarithmic():
    schedule = simulated(8, 4000, times=ja.times.fixed(np.geomspace(1, 100, 8)))
    ax = plot.staleness(schedule).axes[1]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert plot.staleness(simulated(8, 400)).axes[1].get_xscale() == "linear"


# ----------------------------------------------------------------------------------------------- all of it


def test_axes_can_be_given():
    figure, axes = plt.subplots(3)
    assert plot.staleness(by_hand(), ax=axes[0]) is axes[0]
    assert list(plot.staleness(by_hand(), ax=(axes[1], axes[2]))) == [axes[1], axes[2]]
    assert plt.get_fignums() == [figure.number]
    assert points(axes[0], "worker 1") == points(axes[1], "worker 1")
    assert points(axes[2], "_worker 0") == [(2.0, 0.5)]
    assert len(plot.staleness(by_hand()).axes) == 2


@pytest.mark.parametrize("workers", [4, 1000])
def test_the_same_small_file_twice(tmp_path, workers):
    schedule = simulated(workers, 400 if workers == 4 else 20_000)
    for draw in (plot.staleness, plot.timeline):
        for ending in ("svg", "png"):
            first, second = (plot.save(draw(schedule), tmp_path / f"{k}.{ending}").read_bytes() for k in range(2))
            assert first == second
            assert len(first) < 300_000


def test_a_million_gradients_are_quick(tmp_path):
    n, rows = 1000, 1_000_000
    rng = np.random.default_rng(0)
    number = np.arange(rows)
    schedule = table(
        number % n, np.maximum(number - rng.geometric(1 / n, rows), 0), use=rng.random(rows) < 0.9, step=np.ones(rows)
    )
    began = time.perf_counter()
    plot.save(plot.staleness(schedule, times=ja.times.fixed(1.0, num_workers=n)), tmp_path / "large.svg")
    plot.save(plot.timeline(schedule, until=20_000.0), tmp_path / "timeline.svg")
    assert time.perf_counter() - began < 10  # 2.5 on one core
    assert max(path.stat().st_size for path in tmp_path.iterdir()) < 1_000_000


def test_nothing_is_printed_too_small_or_outside():
    for schedule in (by_hand(), simulated(1000, 5000)):
        figure = plot.staleness(schedule)
        figure.canvas.draw()
        for ax in figure.axes:
            texts = [*ax.get_xticklabels(), *ax.get_yticklabels(), *ax.texts, *ax.get_legend().get_texts()]
            assert min(text.get_fontsize() for text in texts) >= 6.5
            box = ax.get_tightbbox()
            assert figure.bbox.x0 - 1 <= box.x0 and box.x1 <= figure.bbox.x1 + 1
        assert not figure.axes[0].get_tightbbox().padded(-1).overlaps(figure.axes[1].get_tightbbox().padded(-1))


def test_settings_are_left_alone_and_matplotlib_is_lazy():
    before = dict(matplotlib.rcParams)
    plot.staleness(by_hand())
    assert dict(matplotlib.rcParams) == before
    code = "import sys, jaxasgd.lateness, jaxasgd.histograms; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("draw", "says"),
    [
        (lambda: plot.staleness({"mine": by_hand()}), "staleness is that of a ja.Schedule .* got {'mine'"),
        (lambda: plot.staleness(by_hand(), against="updates"), 'against is "time" or "update"; got \'updates\''),
        (lambda: plot.staleness(by_hand(), times=ja.times.fixed([1.0, 2.0])), "of the schedule's 4 workers; got Times"),
        (lambda: plot.staleness(by_hand(), times=[1, 2, 3, 4]), "times is the worker-time model"),
        (
            lambda: plot.staleness(by_hand(), times=ja.times.custom(lambda rng, i, n: np.ones(n), 4)),
            "mean seconds above 0; got .*nan.* its mean=",
        ),
        (lambda: plot.staleness(by_hand(), ax=[1, 2, 3]), "one Axes .* or two .* got 3"),
    ],
)
def test_errors_say_what_to_do(draw, says):
    with pytest.raises(ValueError, match=says):
        draw()
    assert not plt.get_fignums()
