"""The page: whole, self-contained, safe, and saying what was computed."""

from __future__ import annotations

import base64
import itertools
import json
import re
from html.parser import HTMLParser

import h5py
import msgspec
import numpy as np
import pytest
from PIL import Image

from evolver.journal import records as r
from evolver.journal.writer import JournalWriter, read_journal
from evolver.recording import read
from evolver.recording.fold import fold
from evolver.report.evolution import read_evolution
from evolver.report.page import write_report
from evolver.report.style import DPI
from evolver.report.tables import Section, describe
from tests.report import sessions
from tests.soak import further

VOID = {"meta", "img", "br", "hr", "link", "input"}
FIGURES = ["summary", "scores", "film", "finals", "psth", "budget"]


class Page(HTMLParser):
    """Collects tags, attributes and text, and insists that tags close in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.words = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


def report(folder, *, render=None, **options):
    truth = sessions.write(folder, **{"image_size": 8} | options)
    with read(truth.path) as recording:
        path = write_report(recording, folder / "out" / "report", render=render)
        return truth, path, Page(path.read_text(encoding="utf-8")), describe(recording)


@pytest.fixture(autouse=True, scope="module")
def quick():
    """Draw at a quarter of the resolution: what is tested does not depend on it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evolver.report.style.DPI", DPI // 4)
        yield


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    return report(
        tmp_path_factory.mktemp("usual"),
        name="monday",
        config="[session]\nname = 'monday'\n",
        events=[("warning", "reshow", "two again")],
        render=lambda _, codes: np.full((len(codes), 8, 8, 3), 90, dtype=np.uint8),
    )


def test_the_page_says_what_was_computed(usual):
    truth, _, page, _ = usual
    ok = sum(s.ok for s in truth.showings)
    assert f"{ok} were valid, {len(truth.showings) - ok} aborted and 0 without" in page.text
    for k, name in enumerate(("texture", "object")):
        first, last = (sessions.mean([s for s in truth.scores[k, g] if s == s]) for g in (0, 5))
        said = re.search(rf"{name} rose from ([\d.]+)[^t]* to ([\d.]+)", page.text)
        assert said is not None
        assert float(said[1]) == pytest.approx(first, rel=0.02)
        assert float(said[2]) == pytest.approx(last, rel=0.02)
    assert re.search(r"success by generations \d+\W\d+ against 0\W1, t\(\d+\) = ", page.text)
    assert "(a success is t > 0 and p < 0.01)" in page.text
    assert "times the best reference" in page.text
    assert "two again" in page.text
    assert "name = 'monday'" in page.text
    assert "0" * 64 in page.text  # the digest of the first thread's weights
    assert "Not complete" not in page.text
    assert "No mean-code images" not in page.text


def test_the_page_holds_every_figure_and_needs_nothing_else(usual):
    _, path, page, _ = usual
    sources = [value for tag, name, value in page.attributes if (tag, name) == ("img", "src")]
    assert len(sources) == len(FIGURES)
    for name, source in zip(FIGURES, sources, strict=True):
        data = base64.b64decode(source.removeprefix("data:image/png;base64,"))
        assert data == (path.parent / f"{name}.png").read_bytes()
        assert data.startswith(b"\x89PNG")
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert not [a for a in page.attributes if a[1].startswith("on")]
    without_images = re.sub(r'"data:image/png[^"]*"', "", path.read_text(encoding="utf-8"))
    assert "://" not in without_images
    assert "@import" not in without_images
    assert "url(" not in without_images


def test_every_image_has_its_size_and_words_for_those_who_cannot_see_it(usual):
    _, _, page, _ = usual
    for name in ("alt", "width", "height"):
        values = [v for tag, key, v in page.attributes if (tag, key) == ("img", name)]
        assert len(values) == len(FIGURES)
        assert all(values)


BAD = "<script>alert('$x^2$')</script>&amp;\"'"


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """The report of an interrupted session, every name of which is markup."""
    return report(
        tmp_path_factory.mktemp("interrupted"),
        interrupted=True,
        generations=3,
        name=BAD,
        thread_names=(BAD, BAD + "2"),
        config=f"# {BAD}",
        events=[("error", BAD, BAD)],
    )


def test_hostile_names_are_text(interrupted):
    _, path, page, _ = interrupted
    assert "script" not in page.tags
    assert BAD in page.text
    assert "<script" not in path.read_text(encoding="utf-8")
    assert all(value is None or name != "onerror" for _, name, value in page.attributes)


def test_an_interrupted_session_is_announced(interrupted):
    _, _, page, _ = interrupted
    assert "Not complete." in page.text
    assert "ends without an end record" in page.text
    assert f"No mean-code images of {BAD}: no generator was at hand" in page.text


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        further({"form": "rates", "generations": 2}, {"psth"}),
        further({"generations": 1, "interrupted": True}, {"film", "finals"}),
        further({"references": 0, "popsizes": (4,), "generations": 2}, set()),
        further({"peak_hz": 0.0, "generations": 5}, set()),
        ({"abort": 1.0, "generations": 2}, {"film", "finals", "psth"}),
        further({"units": 96, "popsizes": (2,) * 4, "generations": 2}, set()),
    ],
    ids=["rates", "cut off at once", "no references", "silent", "aborted", "many"],
)
def test_odd_sessions_have_a_report_of_what_there_is(tmp_path, options, missing):
    _, path, page, _ = report(tmp_path, **options)
    written = {p.stem for p in path.parent.glob("*.png")}
    assert set(FIGURES) - written == missing
    assert page.tags.count("img") == len(written)
    if "popsizes" not in options:
        assert "object" in page.text


@pytest.fixture(scope="module")
def nothing(tmp_path_factory):
    return report(tmp_path_factory.mktemp("nothing"), generations=0)


def test_a_session_that_showed_nothing_has_a_report(nothing):
    _, path, page, _ = nothing
    assert {p.stem for p in path.parent.glob("*.png")} == {"summary", "scores"}
    assert page.tags.count("img") == 2
    assert "object" in page.text


def test_a_report_replaces_the_one_before(nothing):
    truth, path, _, _ = nothing
    first = path.read_bytes()
    with read(truth.path) as recording:
        assert write_report(recording, path.parent).read_bytes() == first


def section(sections, title) -> Section:
    return next(s for s in sections if s.title == title)


def test_inspect_says_what_is_in_the_file(usual):
    truth, _, _, sections = usual
    session = dict(section(sections, "Session").rows)
    assert session["name"] == "monday"
    assert session["state"] == "complete: finished"
    assert session["blocks"] == "6 committed"
    assert session["presentations"] == str(len(truth.showings))
    assert session["shown"] == "100 ms on, 50 ms off"
    assert session["took"] == "17.5 s"
    threads = section(sections, "Threads (images a generation)").rows
    assert [row[0] for row in threads] == ["texture", "object"]
    assert [row[4:] for row in threads] == [("8", "6"), ("6", "6")]
    for k, row in enumerate(section(sections, "Scores (spikes/s)").rows):
        found = {(s, g) for g in range(6) for s in truth.scores[k, g] if s == s}
        best = max(s for s, _ in found)
        assert float(row[3]) == pytest.approx(best, rel=0.02)
        assert int(row[4]) == min(g for s, g in found if s == best)
    counted = {row[0]: row[1:] for row in section(sections, "Presentations").rows}
    for k, name in ((0, "texture"), (1, "object"), (-1, "references")):
        mine = [s for s in truth.showings if s.thread == k]
        ok = sum(s.ok for s in mine)
        assert counted[name] == (str(ok), str(len(mine) - ok), "0", str(len(mine)))
    wait = next(
        r
        for r in section(
            sections, "Time budget (blocks overlap, so the parts need not add up)"
        ).rows
        if r[0].startswith("wait")
    )
    assert wait[1:] == ("15.0 s", "2.5 s", "98.2%")
    assert section(sections, "Events").rows[0][1:] == ("warning", "reshow", "two again")
    assert {row[0] for row in section(sections, "Best references").rows} == {"all"}


COMPOSITE = json.dumps({
    "optimizer": {
        "parts": [
            {"slice": [0, 2], "optimizer": "cholesky", "options": {"sigma": 5.0}},
            {"slice": [2, 4], "optimizer": "snes", "options": {"sigma": 8.0}},
            {"slice": [4, 5]},
        ]
    }
})


HELD = (
    "composite of cholesky, dimensions 0 to 2, sigma = 5.0; snes, dimensions 2 to 4, "
    "sigma = 8.0; dimensions 4 to 5 held where they begin"
)


@pytest.mark.parametrize(
    ("options", "config", "said"),
    [
        ('{"optimizer": {"sigma": 8.0}}', 'optimizer = "snes"', "snes, sigma = 8.0"),
        (
            '{"optimizer": {"sigma": 8.0}}',
            "",
            "snes (chosen for mini-0, as the file names no optimizer), sigma = 8.0",
        ),
        (
            COMPOSITE,
            'optimizer = "composite"',
            HELD,
        ),
        ("{}", 'optimizer = "snes"', "snes"),
    ],
)
def test_inspect_says_how_each_thread_searches(tmp_path, options, config, said):
    truth = sessions.write(
        tmp_path,
        popsizes=(2,),
        generations=1,
        image_size=8,
        optimizer=said.partition(" ")[0].strip(","),
        options=options,
        config=f'[[threads]]\nname = "texture"\n{config}\n',
    )
    with read(truth.path) as recording:
        rows = section(describe(recording), "Session").rows
    assert ("search", f"texture: {said}") in rows


@pytest.mark.parametrize(
    ("optimizer", "more", "said"),
    [
        ("guided", {(0, 2): 4, (0, 3): 6}, "4, in the guided arm's turns 8\N{EN DASH}10"),
        ("guided", {(0, 1): 4, (0, 2): 4, (0, 3): 4}, "4, in the guided arm's turns 8"),
        ("guided", {}, "4"),
        ("sphere", {(0, 1): 1, (0, 2): 1, (0, 3): 1}, "4, from generation 1 on 5"),
        ("sphere", {(0, 1): 1, (0, 2): 1}, "4, from generation 1 on 5"),
        ("own", {(0, 2): 3}, "4, in some generations 7"),
        ("own", {(0, 2): -1}, "4"),
    ],
)
def test_generations_of_more_images_are_said(tmp_path, optimizer, more, said):
    truth = sessions.write(
        tmp_path, popsizes=(4,), generations=4, image_size=8, optimizer=optimizer, more=more
    )
    with read(truth.path) as recording:
        (row,) = section(describe(recording), "Threads (images a generation)").rows
    assert row[4] == said


def test_of_a_guided_thread_the_page_says_whose_images_a_mean_is_of(tmp_path):
    _, _, page, _ = report(tmp_path, popsizes=(4,), generations=4, optimizer="guided")
    assert "A generation's mean of texture is of all images shown in it: in " in page.text


def test_every_row_of_every_section_has_a_cell_for_every_column(usual):
    _, _, _, sections = usual
    for s in sections:
        assert all(len(row) == len(s.columns) for row in s.rows), s.title
        assert all(isinstance(cell, str) for row in s.rows for cell in row), s.title


def test_many_units_are_counted_not_listed(tmp_path):
    truth = sessions.write(tmp_path, units=30, generations=1, popsizes=(2,), image_size=8)
    with read(truth.path) as recording:
        rows = section(describe(recording), "Units").rows
    assert len(rows) == 25
    assert rows[-1][4] == "and 6 more, scored by none"


def test_scored_units_are_listed_and_marked_wherever_they_stand(tmp_path):
    far = sessions.FITNESS | {"units": [1, 28], "weights": [1.0, -0.5]}
    truth = sessions.write(
        tmp_path,
        units=30,
        generations=1,
        popsizes=(2, 2),
        image_size=8,
        fitnesses=[sessions.FITNESS, far],
    )
    with read(truth.path) as recording:
        rows = section(describe(recording), "Units").rows
    marked = {int(row[0]): row[5] for row in rows[:-1]}
    assert set(marked) == {*range(24), 28}
    assert marked[1] == "texture and object (\N{MULTIPLICATION SIGN} 1)"
    assert marked[28] == "object (\N{MULTIPLICATION SIGN} -0.5)"
    assert {marked[unit] for unit in marked if unit not in {1, 28}} == {"\N{EN DASH}"}
    assert rows[-1][4] == "and 5 more, scored by none"


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """A session whose images are damaged, with the text of its report by the papers' rule."""
    folder = tmp_path_factory.mktemp("damaged")
    truth = sessions.write(folder, generations=6, popsizes=(6,), references=0, image_size=8)
    with h5py.File(truth.path, "r+") as file:
        file["images/pixels"][:] = 0
    with read(truth.path) as recording:
        path = write_report(recording, folder / "report", rule="maxinit", alpha=1e-30)
    return truth, path.read_text(encoding="utf-8")


def test_a_verdict_may_be_the_papers_and_says_where_its_threshold_is(damaged):
    truth, text = damaged
    with read(truth.path) as recording:
        usual, published = (
            read_evolution(recording, rule=rule) for rule in ("shuffle", "maxinit")
        )
    assert "no success by the published t-test" in text
    assert "p &lt; 1e-30" in text
    assert "dealt anew" not in text
    mine, theirs = usual.threads[0].verdict, published.threads[0].verdict
    assert (mine.rule, theirs.rule) == ("shuffle", "maxinit")
    assert mine.p_t == theirs.p_t == theirs.p != mine.p
    assert mine.success
    assert theirs.success


def test_images_that_cannot_be_read_are_announced(damaged):
    text = Page(damaged[1]).text
    found = re.search(r"Damaged. (\d+) of the (\d+) images drawn here could not be read", text)
    assert found is not None
    assert found[1] == found[2] != "0"
    assert "Not complete." not in text


def replay_of(journal, folder, answers):
    """Return a recording as a replay whose answers are these in turn."""
    words = itertools.cycle(answers)
    with JournalWriter(folder / "journal") as out:
        for _, record in read_journal(journal):
            match record:
                case r.RunStart():
                    record = msgspec.structs.replace(record, mode="replay")
                case r.RigRecord():
                    record = msgspec.structs.replace(record, name="replay of monday")
                case r.Result():
                    record = msgspec.structs.replace(record, answer=next(words))
                case _:
                    pass
            out.append(record)
    fold(folder / "journal", folder / "session.h5")
    return folder / "session.h5"


@pytest.mark.parametrize("exact", [further(True), False])
def test_a_replay_says_so_on_every_figure_and_has_no_verdict_of_other_images(
    usual, tmp_path, exact
):
    """Every figure's corner is the banner's red; one figure less is one that passes as any."""
    words = ["recorded"] if exact else ["recorded", "nearest code", "nearest code"]
    file = replay_of(usual[0].path.parent / "journal", tmp_path, words)
    with read(file) as recording:
        path = write_report(recording, tmp_path / "report")
        line = read_evolution(recording).replay
        sections = {section.title: section for section in describe(recording)}
    page = Page(path.read_text(encoding="utf-8"))
    assert "replay of monday: no animal answered" in line
    assert ("33.3 % of the answers recorded" in line) is not exact
    for name in FIGURES:
        with Image.open(path.parent / f"{name}.png") as image:
            assert image.getpixel((1, 1)) == (0xCC, 0x33, 0x11), name
    assert "monday, a replay" in page.text
    assert ("success by generations" in page.text) is exact
    assert ("no verdict, as its scores are of responses to other images" in page.text) is (
        not exact
    )
    assert ("±" in page.text) is exact
    assert all(("±" in row[1]) is exact for row in sections["Scores (spikes/s)"].rows)


def test_a_replay_of_the_very_images_has_errors_and_a_verdict(usual, tmp_path):
    file = replay_of(usual[0].path.parent / "journal", tmp_path, ["recorded"])
    with read(file) as recording:
        evolution = read_evolution(recording)
        rows = section(describe(recording), "Scores (spikes/s)").rows
    assert "replay of monday: no animal answered" in evolution.replay
    assert not evolution.inexact
    assert all(thread.verdict.defined for thread in evolution.threads)
    assert all("±" in row[1] for row in rows)


def test_what_is_no_replay_has_no_banner(usual):
    _, path, page, _ = usual
    with Image.open(path.parent / "scores.png") as image:
        assert image.getpixel((1, 1)) == (255, 255, 255)
    assert "replay" not in page.text
