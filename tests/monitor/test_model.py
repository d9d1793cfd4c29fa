"""What the page knows of a session is what its records and its recording say."""

import itertools
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from msgspec import structs

from evolver import config, recording
from evolver.journal import JournalWriter
from evolver.journal import records as r
from evolver.journal.writer import read_journal
from evolver.live import run_simulated
from evolver.monitor.model import SessionModel
from evolver.monitor.pictures import KeptPictures, thumbnail
from evolver.monitor.sources import JournalSource, recorded_session
from evolver.recording.fold import fold
from tests.live.sessions import small
from tests.live.test_simulate import Watching
from tests.monitor.sessions import GENERATIONS, UNITS, ZERO_NS, make_session
from tests.recording.sessions import write_session
from tests.soak import further


@pytest.fixture(
    scope="module", params=["references", further("together"), further("alternate")]
)
def session(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    settings = small(folder, presentation={"schedule": request.param})
    ended = run_simulated(settings, config.commented_session_file(settings), Watching().console)
    model = SessionModel()
    model.feed(record for _, record in read_journal(ended.folder / "journal"))
    with recording.read(ended.recording) as opened:
        yield model, opened


def test_scores_are_the_recordings(session):
    model, opened = session
    assert model.ended == "finished"
    assert (model.done, model.generations) == (3, 3)
    for view, thread in zip(model.threads, opened.threads, strict=True):
        for g in view.scored:
            scores = thread.score[thread.generation == g.number]
            assert g.mean == pytest.approx(scores.mean())
            assert g.best == scores.max()
    assert len(model.references) == np.isfinite(opened.reference_scores[:, 0]).any(axis=1).sum()


def test_the_best_image_is_the_one_that_scored_best(session):
    model, opened = session
    for view, thread in zip(model.threads, opened.threads, strict=True):
        for g in view.scored:
            rows = np.flatnonzero(thread.generation == g.number)
            best = rows[np.argmax(thread.score[rows])]
            np.testing.assert_array_equal(
                model.pictures(g)[0], opened.images[thread.image_id[best]]
            )


def test_psths_are_those_of_the_spikes(session):
    model, opened = session
    table = opened.presentations
    for k, view in enumerate(model.threads):
        g = view.scored[-1]
        mine = np.flatnonzero(
            (table["thread"] == k)
            & (table["generation"] == g.number)
            & (table["status"] == "ok")
        )
        times = np.concatenate([opened.spikes(i)[1][opened.spikes(i)[0] == 0] for i in mine])
        counts, _ = np.histogram(times, model.edges_ms)
        np.testing.assert_allclose(model.rates(g, 0), counts / 0.01 / len(mine))


def test_counts_and_pace(session):
    model, opened = session
    assert model.presentations == (opened.presentations["attempt"] > 0).sum()
    assert model.aborted == (opened.presentations["status"] == "aborted").sum()
    assert model.unit_labels == ("mini:fc6:3", "mini:conv3:1:4:4")
    assert len(model.budgets) == len(opened.blocks)


def test_a_rig_that_was_gone_when_the_engine_fell_is_there_once_the_session_goes_on():
    model = SessionModel()
    records, _ = make_session("spikes", (-100.0, 300.0), 10.0)
    lost = r.Event(ZERO_NS, "warning", "rig_lost", "the cable")
    back = [r.Resumed(ZERO_NS + 10**9, True, "", {}, {}), records[1]]
    model.feed([*records[:2], lost])
    assert model.state(ZERO_NS + 42 * 10**9) == "no rig for 0:42"
    model.feed(back)
    assert model.state(ZERO_NS + 42 * 10**9) == "running"


def test_half_a_journal_never_breaks_it(session):
    """Any record may be the last, or the first that is seen."""
    _, opened = session
    records = [record for _, record in read_journal(opened.path.parent / "journal")]
    for skip in range(0, len(records), 7):
        model = SessionModel()
        model.feed(records[skip:])
        model.feed(records[: skip // 2])
        _ = (model.done, model.pace, model.left_s, model.idle_share, model.name)


@pytest.mark.soak
@pytest.mark.parametrize("generations", [200, 1000])
def test_six_hours_fit(generations):
    """Of 64 units, 1,000 generations in a soak: memory follows generations, by little.

    Images are few: all but a block's few best are forgotten, whatever their number.
    """
    shown = 6
    rng = np.random.default_rng(0)
    start = r.RunStart(
        2, "0" * 32, "long", "", 1, "live", "",
        (r.ThreadInfo("a", "cholesky", "g", 8, shown, 64, "0" * 64, "{}", '{"units": [0]}'),),
        (), {}, {}, (-100.0, 300.0),
    )  # fmt: skip
    units = tuple(r.UnitInfo(i, 0, "IT", f"u{i}") for i in range(64))
    spikes = {
        "units": r.PackedArray.of(rng.integers(0, 64, 200).astype("<u4")),
        "times_ms": r.PackedArray.of(rng.uniform(-100, 300, 200).astype("<f4")),
    }
    budget = r.TimeBudget(
        propose=0,
        render=0.1,
        encode=0,
        send=0,
        wait=1,
        score=0,
        journal=0,
        blocked=0,
        total=1,
        idle=0,
    )
    pixels = r.PackedArray.of(np.zeros((64, 64, 3), np.uint8))

    def block(number):
        digests = tuple(f"{number:032}{i:032}" for i in range(shown))
        yield from (r.ImagePixels(d, pixels) for d in digests)
        first = number * shown
        thread = r.ProposedThread(
            0, number, r.PackedArray.of(np.zeros((shown, 8))), digests, {}, "{}"
        )
        plan = tuple(
            r.PlannedPresentation(
                presentation=first + i,
                thread=0,
                row=i,
                repeat=0,
                on_ms=100.0,
                off_ms=100.0,
            )
            for i in range(shown)
        )
        yield r.Proposed(number, number, (thread,), (), (), plan)
        for i in range(shown):
            yield r.Result(
                block=number,
                presentation=first + i,
                attempt=1,
                status="ok",
                reason="",
                received_ns=number * 10**9 + i,
                commanded_ns=0,
                onset_ns=0,
                offset_ns=0,
                onset_source="flip",
                form="spikes",
                arrays=spikes,
            )
        scores = r.PackedArray.of(rng.normal(size=shown))
        part = r.CommittedThread(0, number, scores, scores)
        yield r.Committed(number, number, (part,), (r.PackedArray.of(np.zeros(0)),), budget)

    model = SessionModel()
    model.feed([start, r.RigRecord(0, "rig", "", units, "{}")])
    tracemalloc.start()
    used = []
    half = generations // 2
    for number in range(generations):
        model.feed(block(number))
        if number + 1 in {half, generations}:
            used.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert model.presentations == generations * shown
    view = model.threads[0]
    assert len(view.scored) == generations
    assert used[1] < 40e6
    assert used[1] - used[0] < 3e6  # scores, not pictures
    assert view.at(0).number == 0
    assert view.at(generations - 1).number == generations - 1
    assert view.at(generations - 50).number == generations - 50
    old = view.at(half)
    assert half - 20 < old.number <= half
    assert model.pictures(old)[0] is not None
    assert model.all_units(old).max() > 0
    thinned = next(g for g in view.scored if not g.in_full)
    assert np.isfinite(thinned.mean)
    assert model.all_units(thinned).size == 0
    assert model.pictures(thinned) == []
    assert np.isnan(model.rates(thinned, 3)).all()


@pytest.mark.parametrize(
    "shape", [(64, 64, 3), (256, 256, 3), (100, 70, 3), (3, 5, 3), (1, 1, 3)]
)
def test_thumbnails(shape):
    pixels = np.full(shape, 77, np.uint8)
    small_one = thumbnail(pixels)
    assert small_one.shape == (64, 64, 3)
    assert (small_one == 77).all()


def same(live, played):
    """Assert that two models show the same."""
    assert (live.name, live.ended, live.done) == (played.name, played.ended, played.done)
    assert live.unit_labels == played.unit_labels
    assert (live.presentations, live.aborted) == (played.presentations, played.aborted)
    assert (live.latest_ns, live.elapsed_s) == (played.latest_ns, played.elapsed_s)
    np.testing.assert_equal(live.pace, played.pace)
    np.testing.assert_array_equal(live.edges_ms, played.edges_ms)
    assert live.notes == played.notes
    assert len(live.threads) == len(played.threads)
    for x, y in zip(live.threads, played.threads, strict=True):
        assert (x.name, x.units) == (y.name, y.units)
        assert list(x.generations) == list(y.generations)
        for g, h in zip(x.generations.values(), y.generations.values(), strict=True):
            np.testing.assert_equal(
                (g.scored, g.mean, g.sem, g.best, g.shown, g.binned),
                (h.scored, h.mean, h.sem, h.best, h.shown, h.binned),
            )
            np.testing.assert_array_equal(g.counts, h.counts)
            assert g.best_digests == h.best_digests
            np.testing.assert_array_equal(live.pictures(g), played.pictures(h))
    for one_block, other in zip(live.references, played.references, strict=True):
        assert one_block[0] == other[0]
        np.testing.assert_array_equal(one_block[1:], other[1:])
    assert list(live.events) == list(played.events)
    np.testing.assert_equal(list(live.budgets), list(played.budgets))
    for showing, other in zip(live.responses.raster, played.responses.raster, strict=True):
        np.testing.assert_array_equal(showing[0], other[0])
        np.testing.assert_array_equal(showing[1], other[1])


def followed(journal):
    """Return what a page knows that followed a journal, and the records it took."""
    source = JournalSource(journal, clock=itertools.count().__next__)
    version = -1
    while version != source.look().version:
        version = source.model.version
    return source.model


def both(folder, records):
    """Return the model of a journal that was followed, and that of its recording."""
    with JournalWriter(folder / "journal") as journal:
        for record in records:
            journal.append(record)
    fold(folder / "journal", folder / "recording.h5")
    opened = recording.read(folder / "recording.h5")
    return followed(folder), recorded_session(opened), opened


def binned(responses, edges, units):
    """Count raw responses in bins, an event at a time."""
    total = np.zeros((units, len(edges) - 1), np.int64)
    for form, arrays in responses:
        if form == "spikes":
            events = zip(arrays["units"], arrays["times_ms"].astype(float), strict=True)
            for unit, time in events:
                for t in range(len(edges) - 1):
                    total[unit, t] += edges[t] <= time < edges[t + 1]
        else:
            for at, of_units in enumerate(arrays["counts"].T):
                inside = [
                    t
                    for t in range(len(edges) - 1)
                    if edges[t] - 1e-6 <= arrays["edges_ms"][at]
                    and arrays["edges_ms"][at + 1] <= edges[t + 1] + 1e-6
                ]
                assert len(inside) == 1
                total[:, inside[0]] += of_units
    return total


def test_a_finished_file_shows_what_its_journal_showed(session):
    model, opened = session
    same(model, recorded_session(opened))


WINDOWS_MS = [(-100.0, 300.0), (-200.0, 600.0), (0.0, 200.0)]
FORMS = [("spikes", 10), *(("counts", width) for width in (5, 10, 25, 7)), ("rates", 10)]


@pytest.mark.parametrize(
    ("form", "bin_ms", "window_ms"),
    [  # each form in every run with one window, each window with two
        (*form, window) if i % 3 == j else further(*form, window)
        for i, form in enumerate(FORMS)
        for j, window in enumerate(WINDOWS_MS)
    ],
)
def test_live_and_played_back_every_response_is_counted(tmp_path, form, window_ms, bin_ms):
    records, raw = make_session(form, window_ms, bin_ms)
    live, played, opened = both(tmp_path, records)
    with opened:
        same(live, played)
    view = live.threads[0]
    assert [view.generations[g].shown for g in range(GENERATIONS)] == [8, 8, 8]
    assert live.aborted == 3
    if form == "rates":
        assert any("mean rates" in note for note in live.notes)
        assert np.isnan(live.rates(view.scored[0], 1)).all()
        assert live.all_units(view.scored[0]).size == 0
        return
    edges = live.edges_ms
    assert edges[0] == window_ms[0]
    if form == "spikes" or bin_ms in {5, 10}:
        assert edges[-1] == window_ms[1]
        np.testing.assert_allclose(np.diff(edges), 10)
    else:
        np.testing.assert_allclose(np.diff(edges), bin_ms)
        assert any(f"{bin_ms} ms bins" in note for note in live.notes)
    assert bool(live.notes) == (form == "counts")
    seconds = np.diff(edges) / 1000
    for number, responses in raw.items():
        expected = binned(responses, edges, UNITS)
        assert expected.sum() > 0
        np.testing.assert_array_equal(view.generations[number].counts, expected)
        np.testing.assert_allclose(
            live.rates(view.generations[number], 1), expected[1] / seconds / 8
        )


def test_bins_that_change_are_left_out_and_the_page_says_so(tmp_path):
    def change(number, form, arrays):
        if number < 12:
            return form, arrays
        edges = np.arange(-100.0, 301.0, 16)
        return form, {"counts": np.ones((UNITS, len(edges) - 1), "<u2"), "edges_ms": edges}

    records, raw = make_session("counts", (-100.0, 300.0), 25, change=change)
    live, played, opened = both(tmp_path, records)
    with opened:
        same(live, played)
    (note,) = [note for note in live.notes if "other bins" in note]
    assert note.startswith("12 responses")  # of 24, none of them aborted for good
    view = live.threads[0]
    assert [(g.shown, g.binned) for g in view.scored] == [(8, 8), (8, 4), (8, 0)]
    expected = binned(raw[1][:4], live.edges_ms, UNITS)
    np.testing.assert_array_equal(view.scored[1].counts, expected)
    assert np.isnan(live.rates(view.scored[2], 0)).all()


def test_a_rig_of_other_units_and_one_that_lists_too_few(tmp_path):
    """Units are rows of the session's table, live as in the file."""

    def change(number, form, arrays):
        if number == 3:
            arrays = {"units": np.array([UNITS], "<u4"), "times_ms": np.array([7], "<f4")}
        if number == 20:
            arrays = {"units": np.array([0], "<u4"), "times_ms": np.array([np.nan], "<f4")}
        return form, arrays

    records, raw = make_session("spikes", (-100.0, 300.0), 10, change=change)
    place = next(i for i, x in enumerate(records) if isinstance(x, r.Committed)) + 1
    table = (*(r.UnitInfo(i + 10, 0, "V4", f"other {i}") for i in range(UNITS)),)
    records.insert(place, r.RigRecord(ZERO_NS + 10**10 - 1, "rig 2", "1", table, "{}"))
    live, played, opened = both(tmp_path, records)
    with opened:
        same(live, played)
        assert live.unit_labels == tuple(opened.units["label"])
    assert live.unit_labels[UNITS] == f"unlisted {UNITS}"
    view = live.threads[0]
    first = binned(raw[0], live.edges_ms, UNITS + 1)
    np.testing.assert_array_equal(view.scored[0].counts, first)
    second = binned(raw[1], live.edges_ms, UNITS)
    np.testing.assert_array_equal(view.scored[1].counts[UNITS + 1 :], second)
    assert not view.scored[1].counts[: UNITS + 1].any()
    assert live.notes == ["1 responses are malformed and not shown."]


def test_more_units_than_the_page_keeps_are_said(tmp_path):
    records, _ = make_session("spikes", (-100.0, 300.0), 10, units=300)
    live, played, opened = both(tmp_path, records)
    with opened:
        same(live, played)
    assert live.threads[0].scored[0].counts.shape == (256, 40)
    assert live.notes == ["PSTHs are kept of the first 256 of 300 units."]


@pytest.mark.parametrize(
    ("form", "interrupted"),
    [
        ("spikes", False),
        ("counts", True),
        ("rates", False),
        further("spikes", True),
        further("counts", False),
        further("rates", True),
    ],
)
def test_two_threads_references_and_reshown_presentations(tmp_path, form, interrupted):
    write_session(tmp_path / "journal", form=form, interrupted=interrupted)
    fold(tmp_path / "journal", tmp_path / "recording.h5")
    with recording.read(tmp_path / "recording.h5") as opened:
        live, played = followed(tmp_path), recorded_session(opened)
        if interrupted:
            assert (live.ended, played.ended) == (None, "cut short")
            played.ended = None
        # Its made-up clock has the presentation that is shown again long after the session.
        live.latest_ns = played.latest_ns
        live.tally = played.tally
        live.responses.raster = played.responses.raster
        same(live, played)


def test_an_image_that_is_proposed_again_is_shown_again():
    """Survivors of a genetic search: their pixels are recorded once."""
    records, _ = make_session("spikes", (-100.0, 300.0), 10)
    places = [i for i, x in enumerate(records) if isinstance(x, r.Proposed)]
    survivors = records[places[0]].threads[0].images[::-1]
    import msgspec

    later = records[places[1]]
    part = msgspec.structs.replace(later.threads[0], images=survivors)
    records[places[1]] = msgspec.structs.replace(later, threads=(part,))
    model = SessionModel()
    model.feed(records)
    assert all(p is not None for p in model.pictures(model.threads[0].scored[1]))


def test_pictures_are_kept_while_somebody_holds_them():
    kept = KeptPictures()
    for sha256 in "abc":
        kept.add(sha256, np.full((64, 64, 3), ord(sha256), np.uint8))
    kept.hold("aab")
    kept.release("ab")
    kept.forget_unheld()
    assert [kept.get(sha256) is not None for sha256 in "abc"] == [True, False, False]


def test_a_record_that_contradicts_itself_is_left_out_and_said():
    records, _ = make_session("spikes", (-100.0, 300.0), 10)
    place = next(i for i, x in enumerate(records) if isinstance(x, r.Proposed))
    bad = r.ProposedThread(7, 0, r.PackedArray.of(np.zeros((1, 3))), ("0" * 64,), {}, "{}")
    records.insert(place, r.Proposed(99, 1, (bad,), (), (), ()))
    model = SessionModel()
    model.feed(records)
    assert model.notes == ["1 records contradict themselves and were left out."]
    assert model.done == GENERATIONS


def test_the_page_loads_neither_matplotlib_nor_torch():
    code = (
        "import sys, evolver.monitor.server, evolver.monitor.sources\n"
        "print([m for m in ('matplotlib', 'torch') if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert output.stdout.strip() == "[]", output.stderr


def test_time_goes_on_inside_of_a_block():
    records, _ = make_session("rates", (-100.0, 300.0), 10)
    model, answers = SessionModel(), 0
    committed_s = 4.0 + 0.5 + 1.5 + 0.25  # of a block: shown, idle, paused, without a rig
    for made in records:
        record = made
        if isinstance(record, r.Committed):
            record = structs.replace(record, budget=structs.replace(record.budget, shown=8))
        model.feed([record])
        if isinstance(record, r.Result):
            answers += 1
            block_s = record.block * committed_s
            # The one before was committed a second before this one began.
            since_s = answers / 10 + 1.0 if record.block else (answers - 1) / 10
            assert model.elapsed_s == pytest.approx(block_s + since_s)
            if record.block:
                model.threads[0].length = 9  # generations
                left_s = (4.0 + 0.5) * (9 - record.block) - answers / 2.0  # 8 in 4 s
                assert model.left_s == pytest.approx(left_s)
        elif isinstance(record, r.Committed):
            answers = 0
            assert model.elapsed_s == pytest.approx((record.block + 1) * committed_s)


def test_time_does_not_go_on_from_an_end_to_a_resume():
    records, _ = make_session("rates", (-100.0, 300.0), 10)
    results = [k for k, record in enumerate(records) if isinstance(record, r.Result)]
    model = SessionModel()
    model.feed(records[: results[4]])
    assert model.elapsed_s == pytest.approx(0.3)
    gap_ns = 3600 * 10**9
    model.feed([r.Resumed(model.latest_ns + gap_ns, True, "", {}, {})])
    assert model.elapsed_s == pytest.approx(0.3)
    late = records[results[4]]
    model.feed([structs.replace(late, received_ns=late.received_ns + gap_ns)])
    assert model.elapsed_s == pytest.approx(0.4)
