"""What the page knows of a session is what its recording says."""

import tracemalloc

import numpy as np
import pytest

from evolver import config, recording
from evolver.journal import records as r
from evolver.journal.writer import read_journal
from evolver.live import run_simulated
from evolver.monitor.model import SessionModel, thumbnail
from tests.live.sessions import small
from tests.live.test_simulate import Watching


@pytest.fixture(scope="module", params=["references", "together", "alternate"])
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
            np.testing.assert_array_equal(g.pictures[0], opened.images[thread.image_id[best]])


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


def test_half_a_journal_never_breaks_it(session):
    """Any record may be the last, or the first that is seen."""
    _, opened = session
    found = [record for _, record in read_journal(opened.path.parent / "journal")]
    for skip in range(0, len(found), 7):
        model = SessionModel()
        model.feed(found[skip:])
        model.feed(found[: skip // 2])
        _ = (model.done, model.pace, model.minutes_left, model.idle_share, model.name)


def test_six_hours_fit():
    """1,000 generations, 60,000 presentations, 64 units: memory follows generations."""
    rng = np.random.default_rng(0)
    start = r.RunStart(
        2, "0" * 32, "long", "", 1, "live", "",
        (r.ThreadInfo("a", "cholesky", "g", 8, 30, 64, "0" * 64, "{}", '{"units": [0]}'),),
        (), {}, {}, (-100.0, 300.0),
    )  # fmt: skip
    units = tuple(r.UnitInfo(i, 0, "IT", f"u{i}") for i in range(64))
    spikes = {
        "units": r.Array.of(rng.integers(0, 64, 200).astype("<u4")),
        "times_ms": r.Array.of(rng.uniform(-100, 300, 200).astype("<f4")),
    }
    budget = r.TimeBudget(0, 0.1, 0, 0, 1, 0, 0, 0, 1, 0)
    pixels = r.Array.of(np.zeros((64, 64, 3), np.uint8))

    def block(number):
        digests = tuple(f"{number:032}{i:032}" for i in range(30))
        yield from (r.ImagePixels(d, pixels) for d in digests)
        first = number * 60
        thread = r.ProposedThread(0, number, r.Array.of(np.zeros((30, 8))), digests, {}, "{}")
        plan = tuple(
            r.PlannedPresentation(first + i, 0, i % 30, i // 30, 100.0, 100.0)
            for i in range(60)
        )
        yield r.Proposed(number, number, (thread,), (), (), plan)
        for i in range(60):
            yield r.Result(
                number,
                first + i,
                1,
                "ok",
                "",
                number * 10**9 + i,
                0,
                0,
                0,
                "flip",
                "spikes",
                spikes,
            )
        scores = r.Array.of(rng.normal(size=30))
        told = r.CommittedThread(0, number, scores, scores)
        yield r.Committed(number, number, (told,), (r.Array.of(np.zeros(0)),), budget)

    model = SessionModel()
    model.feed([start, r.RigJoined(0, "rig", "", units, "{}")])
    tracemalloc.start()
    used = []
    for number in range(1000):
        model.feed(block(number))
        if number in {499, 999}:
            used.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert model.presentations == 60_000
    view = model.threads[0]
    assert len(view.scored) == 1000
    assert used[1] < 40e6
    assert used[1] - used[0] < 3e6  # scores, not pictures
    assert view.at(0).number == 0
    assert view.at(999).number == 999
    assert view.at(950).number == 950
    old = view.at(500)
    assert 480 < old.number <= 500
    assert old.pictures[0] is not None
    assert model.all_units(0, old.number).max() > 0
    thinned = next(g for g in view.scored if not g.in_full)
    assert np.isfinite(thinned.mean)
    assert not model.all_units(0, thinned.number).any()
    assert np.isnan(model.rates(thinned, 3)).all()


@pytest.mark.parametrize(
    "shape", [(64, 64, 3), (256, 256, 3), (100, 70, 3), (3, 5, 3), (1, 1, 3)]
)
def test_thumbnails(shape):
    pixels = np.full(shape, 77, np.uint8)
    small_one = thumbnail(pixels)
    assert small_one.shape == (64, 64, 3)
    assert (small_one == 77).all()


def test_a_finished_file_shows_what_its_journal_showed(session):
    from evolver.monitor.sources import from_recording

    model, opened = session
    again = from_recording(opened)
    assert (again.name, again.ended, again.done) == (model.name, model.ended, model.done)
    for x, y in zip(model.threads, again.threads, strict=True):
        assert (x.name, x.units) == (y.name, y.units)
        for g, h in zip(x.scored, y.scored, strict=True):
            assert (g.mean, g.best, g.shown) == (h.mean, h.best, h.shown)
            np.testing.assert_array_equal(g.counts, h.counts)
            np.testing.assert_array_equal(g.pictures[0], h.pictures[0])
    assert [at for at, *_ in model.references] == [at for at, *_ in again.references]
    assert list(model.events) == list(again.events)
    assert model.idle_share == pytest.approx(again.idle_share)
