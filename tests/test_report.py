"""The report: one page with everything in it, nothing from elsewhere, whatever the names are."""

import base64
import csv
import dataclasses
import re
import shlex
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import jaxasgd as ja
from jaxasgd import advice, cli

pytest.importorskip("jinja2", reason="a report is a template of jinja2")
pytest.importorskip("markdown_it", reason="a README is read by markdown-it-py")
pytest.importorskip("matplotlib", reason="a report has figures")
from jaxasgd import reporting
from jaxasgd.reporting import comparisons, files

RESULTS = Path(__file__).parents[1] / "results"
VOID = {"meta", "link", "img", "br", "hr"}
NASTY = "<b> & \"quotes\" '{{ 7 * 7 }}'"


class Page(HTMLParser):
    """What a page holds; tags that do not close in order are an error."""

    def __init__(self, path):
        super().__init__()
        self.text, self.open, self.tags, self.words, self.cells = Path(path).read_text("utf-8"), [], [], [], []
        self.feed(self.text)
        self.close()
        assert not self.open

    def handle_startendtag(self, tag, attrs):
        assert tag in VOID
        self.handle_starttag(tag, attrs)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("td", "th", "dd"):
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)
        if {"td", "th", "dd"} & set(self.open):
            self.cells[-1] += data

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def shown(self):
        return " ".join(" ".join(self.words).split())


def check(path) -> Page:
    """Self-contained, every image inside with words for it, ids unique, every link inside leads somewhere."""
    page = Page(path)
    names = {name for name, _ in page.tags}
    assert not names & {"script", "iframe", "object", "embed", "form", "base", "audio", "video", "source"}
    assert not re.search(r"url\(|@import", page.text) and "default-src 'none'" in page.text
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(set(ids)) == len(ids)
    for tag, attrs in page.tags:
        assert not [name for name in attrs if name.startswith("on")]
        source = attrs.get("src") or (attrs.get("href") if tag == "link" else None)
        assert source is None or source.startswith("data:")
    for attrs in page.all("img"):
        kind, _, data = attrs["src"].partition(";base64,")
        assert kind in ("data:image/svg+xml", "data:image/png") and attrs["alt"].strip()
        assert base64.b64decode(data, validate=True).startswith((b"<?xml", b"<svg", b"\x89PNG"))
    for attrs in page.all("a"):
        href = attrs["href"]
        assert href.startswith(("https://", "http://", "data:text/csv;", "data:application/json;")) or href[1:] in ids
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert {"main", "header", "footer", "article", "title"} <= names and page.all("html") == [{"lang": "en"}]
    return page


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def table():
    problem, times = ja.problems.quadratic(dim=4, noise=0.1), ja.times.exponential(1.0, num_workers=3)
    methods = {"sync": ja.methods.sync_sgd(0.3), NASTY: ja.methods.asgd(0.1)}
    table = ja.compare(problem, times, methods, until=8.0, seeds=3)
    return dataclasses.replace(table, spec=table.spec | {"problem": {"name": "quadratic", "dim": 4, "note": NASTY}})


@pytest.fixture(scope="module")
def kept(table, tmp_path_factory):
    """A saved comparison, in a folder whose name is as bad as that of a method."""
    return table.save(tmp_path_factory.mktemp("saved") / 'it\'s "<i>" & co')


@pytest.fixture(scope="module")
def written(kept):
    return ja.results.report(kept, kept.parent / "page.html")


@pytest.fixture
def say(capsys):
    def run(line):
        code = cli.main(shlex.split(line) if isinstance(line, str) else line)
        return code, *capsys.readouterr()

    return run


# ------------------------------------------------------------------- what is in it


def test_a_comparison(table, kept, written):
    page = check(written)
    final = comparisons.final(table)
    assert {*final.head, *(cell for row in final.rows for cell in row)} <= set(page.cells)
    for row, method in zip(final.rows, table.methods, strict=True):
        mean, low, high = ja.results.interval(table.final(method))
        told = [float(number) for number in re.findall(r"-?[\d.]+(?:e-?\d+)?", row[-1])]
        np.testing.assert_allclose(told, (mean, low, high), atol=0.06 * (high - low))
    with open(kept / "runs.csv", newline="") as file:
        assert {files.short(cell) for row in csv.reader(file) for cell in row} <= set(page.cells)
    links = {attrs["download"]: attrs["href"] for attrs in page.all("a") if "download" in attrs}
    assert set(links) == {"history.csv", "runs.csv", "spec.json"}
    assert base64.b64decode(links["history.csv"].split(",")[1]) == (kept / "history.csv").read_bytes()
    assert (
        len(page.all("img")) == 1 and "2 methods on quadratic, 3 workers, 3 seeds, 8 simulated seconds." in page.shown
    )
    for words in ("dim = 4", "0 to 2", f"jax {table.spec['versions']['jax']}", "95 % Student t intervals", "asgd"):
        assert words in page.shown
    assert "ja.results.load" in page.shown  # no command is on record


def test_names_are_text(kept, written):
    page = check(written)
    assert not {"b", "i"} & {tag for tag, _ in page.tags}
    assert page.shown.count(NASTY) >= 3 and any(NASTY in attrs["alt"] for attrs in page.all("img"))
    assert kept.name in page.shown and str(kept) not in page.text
    page = check(ja.results.report(experiment("# Mine"), "out.html", title=NASTY))
    assert page.shown.count(NASTY) == 2  # above the page and in its head


def test_runs_that_diverge():
    problem, times = ja.problems.quadratic(dim=2, noise=0.1), ja.times.fixed(1.0, num_workers=2)
    methods = {"good": ja.methods.asgd(0.1), "bad": ja.methods.asgd(1e9)}
    broken = ja.compare(problem, times, methods, num_updates=30, seeds=2)
    rows = {row[0]: row for row in comparisons.final(broken).rows}
    assert rows["bad"][2] == "2 diverged" and rows["bad"][-1] == "—" and rows["good"][2] == "2 finished"
    assert int(rows["bad"][4]) < int(rows["good"][4]) == 30  # updates: until the end of the run, not of the schedule
    page = check(ja.results.report(experiment("# Mine\n\n![mine](a.svg)", broken.save("kept")), "out.html"))
    assert "2 diverged" in page.cells and "30 updates." in page.shown
    assert [attrs["alt"] for attrs in page.all("img")] == ["mine"]  # the README has a figure: none is drawn

    one = dataclasses.replace(broken, runs=broken.runs[:1])
    final = comparisons.final(one)
    assert "no intervals" in final.caption and float(final.rows[0][-1]) == pytest.approx(one.final("good")[0], rel=1e-3)


def test_a_plan(tmp_path):
    steps = np.random.default_rng(0).gamma(9.0, 1 / 9, (20, 4)) * [1.0, 1.0, 1.0, 4.0]
    plan = advice.plan_cluster(steps, 8.0, sync_updates=300, seeds=2)
    page = check(ja.results.report(plan.save("mine"), "out.html"))
    assert plan.sentence in page.shown and plan.best.call in page.shown
    head, lines = plan.table().splitlines()[0], plan.table().splitlines()[4:]
    assert head in page.shown and len(page.all("img")) == 1
    for line in lines:  # every number of the printed table, but for the digits of the error
        for cell in re.split(r"\s{2,}", line):
            assert cell.removesuffix(" *").split(" ± ")[0] in {c.removesuffix(" ← advised") for c in page.cells}
    Path("mine/plan.svg").unlink()
    assert len(check(ja.results.report("mine", "again.html")).all("img")) == 1


PUBLISHED = [
    name
    for name in ("implicit_momentum", "images", "cluster_plan", "cluster_plan/example")
    if (RESULTS / name).is_dir()
]


def test_published_results():
    folders = [RESULTS / name for name in PUBLISHED]
    page = check(ja.results.report(folders, "out.html"))
    nav = page.text[page.text.index("<nav") : page.text.index("</nav>")]
    assert nav.count("<li>") == len(folders)
    for one in folders:
        text = (one / "README.md").read_text()
        if not (one / "plan.json").exists():
            for row in re.findall(r"^\|(.*)\|$", text, re.MULTILINE):
                cells = {re.sub(r"[`*]|\[|\]\(.*?\)", "", cell).strip() for cell in row.split("|")}
                assert set(filter(re.compile(r"[^-:]").search, cells)) <= {cell.strip() for cell in page.cells}
    assert "python experiments/images.py --tune" in page.shown
    assert 'href="#example"' in page.text  # a link between READMEs became one within the page
    assert str(RESULTS) not in page.text


# ------------------------------------------------------------------- READMEs


def experiment(text, name="mine", **more):
    place = Path(name)
    place.mkdir(exist_ok=True)
    (place / "README.md").write_text(text, "utf-8")
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="72pt" height="36pt"><script>alert(1)</script></svg>'
    (place / "a.svg").write_text(svg)
    for file, content in more.items():
        (place / file.replace("_", ".")).write_text(content)
    return place


README = """\
# Title with `code` & <b>

![a "picture"](a.svg)

<a href="elsewhere"><img src="a.svg" alt="another" width="3"></a>

![gone](gone.svg) and ![far](https://example.com/x.png) and ![outside](../secret.svg)

## Twice

## Twice

<script>alert(2)</script>

A [paper](https://arxiv.org/abs/1), [numbers](n.csv), [down](#twice), [bad](javascript:alert(3)), [file](x.py), a<br>b.

| method | value |
| --- | --: |
| `<b>` | 1.5 |
"""


def test_a_readme(tmp_path):
    (tmp_path / "secret.svg").write_text("<svg></svg>")
    page = check(ja.results.report(experiment(README, n_csv="a,b\n1,2.50\n"), "out.html"))
    assert [attrs["alt"] for attrs in page.all("img")] == ['a "picture"', "another"]
    assert [attrs.get("width") for attrs in page.all("img")] == ["96", "96"]
    assert "Title with code & <b>" in page.shown and "<script>alert(2)</script>" in page.shown
    assert page.shown.count("(no picture") == 2 and "../secret.svg" in page.shown
    hrefs = [attrs["href"] for attrs in page.all("a")]
    assert {"https://arxiv.org/abs/1", "https://example.com/x.png", "#mine-files", "#mine-twice"} <= set(hrefs)
    assert "#mine-twice-2" in hrefs and not [href for href in hrefs if "script" in href.split(",")[0]]
    assert {"<b>", "1.5", "2.5"} <= set(page.cells) and 'class="file"' in page.text
    assert page.text.count("<h1>") == 1 and [tag for tag, _ in page.tags].count("h2") == 3


def test_pictures_that_the_readme_does_not_show():
    page = check(ja.results.report(experiment("# Mine\n"), "out.html"))
    assert [attrs["alt"] for attrs in page.all("img")] == ["a"] and "a.svg" in page.shown


def test_folders_of_one_name():
    for name in ("one", "two"):
        experiment("# Mine\n\n## Part\n", f"{name}/same") if Path(name).mkdir() is None else None
    page = check(ja.results.report(["one/same", "two/same"], "out.html"))
    assert {"same", "same-2"} <= {attrs.get("id") for attrs in page.all("article")}
    assert "Report on 2 results folders" in page.shown and "one/same" in page.shown


# ------------------------------------------------------------------- the command, and what it refuses


def test_the_command(say):
    experiment("# Kept", "kept")
    assert say("report kept --out new/page.html --title Mine") == (0, "report   new/page.html\n", "")
    assert "<title>Mine</title>" in Path("new/page.html").read_text()
    code, out, error = say("report kept --out new/page.html")
    assert (code, out) == (2, "") and "exists already" in error and "--overwrite" in error
    assert "<title>Mine</title>" in Path("new/page.html").read_text()
    assert say("report kept --out new/page.html --overwrite")[0] == 0
    first = Path("new/page.html").read_bytes()
    assert say("report kept --out new/page.html --overwrite")[0] == 0 and Path("new/page.html").read_bytes() == first
    assert "<title>Kept</title>" in Path("new/page.html").read_text()
    assert [path.name for path in Path("new").iterdir()] == ["page.html"]
    assert "jaxasgd report" in say("report --help")[1] and say("report kept")[1] == "report   report.html\n"


ERRORS = {
    "none": ("report", "one results folder or more", "results/mine"),
    "missing": ("report nowhere", "'nowhere' does not exist", "list results"),
    "a file": ("report file.txt", "'file.txt' is a file"),
    "twice": ("report good ./good", "'good' twice", "leave one out"),
    "empty": ("report empty", "'empty' holds no results", "spec.json", "jaxasgd compare"),
    "above": ("report above", "'above' holds no results", "name 'above/good'"),
    "out is a folder": ("report good --out empty", "'empty' is a folder", "empty/report.html"),
    "another ending": ("report good --out page.pdf", ".html", "page.html"),
    "below a file": ("report good --out file.txt/page.html", "file.txt/page.html", "choose another place"),
    "damaged spec": ("report damaged", "'damaged' are damaged"),
    "damaged schedule": ("report cut", "schedule-sync.npz", "damaged"),
    "damaged plan": ("report plan", "'plan' are damaged"),
    "damaged picture": ("report picture", "a.svg", "damaged", "draw it again"),
    "damaged text": ("report text", "README.md", "damaged", "UTF-8"),
    "damaged table": ("report ragged", "n.csv", "3 cells in line 2"),
    "damaged record": ("report made", "made.json", "damaged"),
}


@pytest.mark.parametrize("line, words", [(line, words) for line, *words in ERRORS.values()], ids=ERRORS)
def test_errors(say, kept, line, words):
    experiment("# Good\n", "good")
    for name in ("empty", "above", "plan", "damaged"):
        Path(name).mkdir()
    experiment("# Good\n", "above/good")
    Path("file.txt").write_text("")
    Path("damaged/spec.json").write_text("{}")
    Path("plan/plan.json").write_text('{"advice": 1}')
    shutil.copytree(kept, "cut")
    schedule = Path("cut/schedule-sync.npz")
    schedule.write_bytes(schedule.read_bytes()[:100])
    experiment("![x](a.svg)", "picture", a_svg="not a picture")
    experiment("", "text").joinpath("README.md").write_bytes(b"\xff\xfe\xfa")
    experiment("# Mine", "ragged", n_csv="a,b\n1,2,3\n")
    experiment("# Mine", "made", made_json="[1]")
    code, out, error = say(line)
    assert (code, out) == (2, "") and error.count("\n") == 1 and error.startswith("jaxasgd: ")
    assert all(word in error for word in words), error
    assert not list(Path().glob("*.html")) and not list(Path().rglob("*.part"))


def test_without_the_extra(monkeypatch):
    experiment("# Mine")
    monkeypatch.setattr(reporting, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'pip install "jaxasgd\[report\]"'):
        ja.results.report("mine", "out.html")
