"""What a recording holds: against expectations made from the records by hand."""

import json
import sys

import h5py
import numpy as np
import pytest

from evolver.errors import DataError, RecordingError
from evolver.journal.records import (
    Committed,
    ImagePixels,
    Proposed,
    Result,
)
from evolver.recording import read
from evolver.recording.fold import fold
from evolver.responses import rates_in_window
from tests.recording.sessions import (
    MISSING,
    REFERENCES,
    SCORE_WINDOW_MS,
    WINDOW_MS,
    journal,
    make_records,
    of,
)
from tests.soak import further


@pytest.fixture(scope="module", params=["spikes", further("counts"), "rates"])
def session(request, tmp_path_factory):
    """The records of a session and its recording."""
    folder = tmp_path_factory.mktemp("session")
    records = make_records(form=request.param)
    report = fold(journal(folder / "journal", records), folder / "recording.h5")
    with read(folder / "recording.h5") as recording:
        yield records, recording, report


def test_the_session_is_named(session):
    records, recording, report = session
    start = records[0]
    assert (recording.name, recording.session_id, recording.seed, recording.mode) == (
        "made up",
        "0" * 32,
        0,
        "simulate",
    )
    assert recording.created == start.created
    assert recording.config == start.config
    assert recording.versions == start.versions
    assert recording.machine == start.machine
    assert recording.weights == [
        {"role": "generator:texture", "name": "mini-texture", "sha256": "ab" * 32}
    ]
    assert recording.window_ms == WINDOW_MS
    assert recording.complete
    assert recording.end_reason == "finished"
    assert recording.warnings == []
    assert recording.units["label"].tolist() == ["unit 0", "unit 1", "unit 2", "unit 3"]
    assert recording.units["area"].tolist() == ["V4", "IT", "IT", "IT"]
    assert recording.rigs[0]["info"] == {"display": {"width_px": 1920}}
    assert recording.attrs["journal_records"] == len(records)
    assert (report.presentations, report.missing, report.complete) == (46, 1, True)
    assert report.shown == len(of(records, Result))


def test_every_code_state_and_score_is_there(session):
    records, recording, _ = session
    proposed, committed = of(records, Proposed), of(records, Committed)
    for k, thread in enumerate(recording.threads):
        codes = np.concatenate([record.threads[k].codes.numpy() for record in proposed])
        np.testing.assert_array_equal(thread.codes, codes.astype(np.float32))
        assert thread.codes.dtype == np.float32
        assert not thread.codes_exact
        assert thread.generation.tolist() == [g for g in range(3) for _ in range(6)]
        assert thread.row.tolist() == [*range(6)] * 3
        assert thread.generations == 3
        scores = np.concatenate([record.threads[k].scores.numpy() for record in committed])
        np.testing.assert_array_equal(thread.score, scores)
        digests = [sha256 for record in proposed for sha256 in record.threads[k].images]
        assert recording.image_sha256[thread.image_id].tolist() == digests
        for g, record in enumerate(proposed):
            state = thread.state(g)
            part = record.threads[k]
            mean = part.optimizer_state["mean"].numpy()
            np.testing.assert_array_equal(state.pop("mean"), mean, strict=True)
            assert state.pop("rng_state") == json.loads(part.rng_state)
            assert state == {"sigma": 3.0 / (1 + g), "n": g}
            assert {key: type(value) for key, value in state.items()} == {
                "sigma": float,
                "n": int,
            }
        with pytest.raises(RecordingError, match=r"generations \[0, 1, 2\]; got 3"):
            thread.state(3)
        assert thread.fitness["missing"] == "reshow"
        assert thread.options == {"sigma": 3.0}
    assert [thread.name for thread in recording.threads] == ["texture", "object"]
    assert (
        np.isnan(recording.threads[0].score).sum()
        + np.isnan(recording.threads[1].score).sum()
        + np.isnan(recording.reference_scores[:, 0]).sum()
        == 1
    )  # the missing one


def test_every_image_is_there_bit_for_bit(session):
    records, recording, _ = session
    pixels = {record.sha256: record.pixels.numpy() for record in of(records, ImagePixels)}
    assert len(recording.images) == len(pixels)
    for sha256, image in zip(recording.image_sha256, recording.images, strict=True):
        np.testing.assert_array_equal(image, pixels[sha256], strict=True)
    assert recording.image_labels[recording.image_is_reference].tolist() == list(REFERENCES)
    assert recording.images.stack([0, 2]).shape == (2, 32, 32, 3)
    np.testing.assert_array_equal(recording.images[-1], recording.images[38])
    with pytest.raises(IndexError, match="0 to 38"):
        recording.images[39]


def test_every_presentation_is_there_in_the_order_planned(session):
    records, recording, _ = session
    plans = {one.presentation: one for r in of(records, Proposed) for one in r.presentations}
    results = {(one.presentation, one.attempt): one for one in of(records, Result)}
    table = recording.presentations
    keys = list(zip(table["presentation"].tolist(), table["attempt"].tolist(), strict=True))
    assert keys == sorted(keys)
    assert {key for key in keys if key[1]} == set(results)
    for key, row in zip(keys, table, strict=True):
        plan = plans[key[0]]
        for name in ("thread", "row", "repeat", "on_ms", "off_ms"):
            assert row[name] == getattr(plan, name)
        assert row["is_reference"] == (plan.thread == -1)
        assert row["generation"] == (-1 if plan.thread == -1 else row["block"])
        if key[1]:
            for name in ("status", "reason", "commanded_ns", "onset_ns", "offset_ns",
                         "onset_source", "received_ns", "block", "form"):  # fmt: skip
                assert row[name] == getattr(results[key], name)
    assert table["status"].tolist().count("aborted") == 1
    assert table["attempt"][table["presentation"] == 2].tolist() == [1, 2]
    (missing,) = np.flatnonzero(table["status"] == "missing")
    assert table["presentation"][missing] == 30 + MISSING
    assert table["form"][missing] == ""
    assert recording.response(missing) == ("", {})


def test_every_response_is_there(session):
    records, recording, _ = session
    rates = recording.rates(SCORE_WINDOW_MS)
    table = recording.presentations
    results = {(one.presentation, one.attempt): one for one in of(records, Result)}
    offsets, unit, time_ms = recording.all_spikes()
    for row, one in enumerate(table):
        if one["status"] == "missing":
            assert np.isnan(rates[row]).all()
            assert not recording.psth_valid[row]
            continue
        result = results[one["presentation"], one["attempt"]]
        sent = {name: array.numpy() for name, array in result.arrays.items()}
        form, got = recording.response(row)
        assert form == result.form
        for name, array in sent.items():
            np.testing.assert_array_equal(got[name], array)
        expected = rates_in_window(form, sent, 4, SCORE_WINDOW_MS)
        np.testing.assert_allclose(rates[row], expected)
        psth = recording.psth[row]
        edges = recording.psth_edges_ms
        if form == "spikes":
            span = slice(offsets[row], offsets[row + 1])
            np.testing.assert_array_equal(unit[span], sent["units"])
            np.testing.assert_array_equal(time_ms[span], sent["times_ms"])
            for u in range(4):
                mine = sent["times_ms"][sent["units"] == u].astype(float)
                np.testing.assert_array_equal(psth[u], np.histogram(mine, edges)[0])
        elif form == "counts":
            np.testing.assert_array_equal(psth, sent["counts"])
            np.testing.assert_array_equal(edges, sent["edges_ms"])
        else:
            assert psth.shape == (4, 0)
    assert recording.psth.dtype == np.uint8
    with pytest.raises(IndexError, match="rows are from 0 to 45"):
        recording.spikes(46)


def test_a_baseline_is_taken_away_where_there_is_one(session):
    _, recording, _ = session
    if "rates" in recording.presentations["form"]:
        with pytest.raises(DataError, match="baseline needs spikes or counts"):
            recording.rates((50.0, 250.0), baseline_ms=(-100.0, 0.0))
        return
    net = recording.rates((50.0, 250.0), baseline_ms=(-100.0, 0.0))
    np.testing.assert_allclose(
        net, recording.rates((50.0, 250.0)) - recording.rates((-100.0, 0.0))
    )
    with pytest.raises(DataError):
        recording.rates((50.0, 350.0))


def test_blocks_references_and_events_are_there(session):
    records, recording, _ = session
    committed = of(records, Committed)
    blocks = recording.blocks
    assert blocks["block"].tolist() == [0, 1, 2]
    assert blocks["time_ns"].tolist() == [one.time_ns for one in of(records, Proposed)]
    assert blocks["committed_ns"].tolist() == [one.time_ns for one in committed]
    assert blocks["attempts"].tolist() == [2, 1, 1]
    assert blocks["wait"].tolist() == [8.0] * 3
    for b, one in enumerate(committed):
        for k, scores in enumerate(one.reference_scores):
            np.testing.assert_array_equal(recording.reference_scores[b, k], scores.numpy())
    labels = recording.image_labels[recording.reference_image_id]
    assert labels.tolist() == [list(REFERENCES)] * 3
    assert recording.events["name"].tolist() == ["note", "reshow"]
    assert recording.sent["presentations"].tolist() == [15, 1, 15, 15]


def test_what_is_read_is_named_in_a_line(session):
    _, recording, _ = session
    for thing in (recording, recording.threads, recording.threads[0], recording.images):
        assert len(repr(thing)) < 300
        assert "\n" not in repr(thing)
    assert "'texture'" in repr(recording.threads)


def test_threads_are_found_by_number_and_by_name(session):
    _, recording, _ = session
    threads = recording.threads
    assert threads["object"] is threads[1] is threads[-1]
    assert [thread.name for thread in threads] == list(threads.names) == ["texture", "object"]
    assert threads[:1] == (threads[0],)
    with pytest.raises(KeyError, match="'texture', 'object'"):
        threads["face"]


def test_rates_are_those_of_any_window(session):
    records, recording, _ = session
    np.testing.assert_array_equal(recording.rates(), recording.rates(WINDOW_MS))
    if "spikes" not in recording.presentations["form"]:
        return
    odd = (37.3, 111.9)
    got = recording.rates(odd)
    first = of(records, Result)[0]
    sent = {name: array.numpy() for name, array in first.arrays.items()}
    row = recording.presentations["presentation"].tolist().index(first.presentation)
    np.testing.assert_allclose(got[row], rates_in_window("spikes", sent, 4, odd))


def test_tables_are_dataframes_where_there_is_pandas(session, monkeypatch):
    _, recording, _ = session
    for name in ("presentations", "units", "blocks", "sent", "events"):
        frame, table = recording.dataframe(name), getattr(recording, name)
        assert list(frame.columns) == list(table.dtype.names)
        for column in frame.columns:
            assert frame[column].tolist() == pytest.approx(table[column].tolist(), nan_ok=True)
    assert (recording.dataframe().status == "ok").sum() == 44
    with pytest.raises(DataError, match="'presentations', 'blocks'"):
        recording.dataframe("images")
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(DataError, match=r"evolver\[pandas\]"):
        recording.dataframe()


def test_every_dataset_says_what_it_is_and_in_which_unit(session):
    _, recording, _ = session
    said = {}
    with h5py.File(recording.path) as file:
        file.visititems(
            lambda name, part: (
                said.update({name: (part.attrs["meaning"], part.attrs["unit"])})
                if isinstance(part, h5py.Dataset)
                else None
            )
        )
        assert len(said) > 80
    assert all(meaning for meaning, _ in said.values())
    assert said["presentations/onset_ns"] == (b"rig clock, ns; 0 where no result came", b"ns")
    assert said["spikes/time_ms"][1] == b"ms"
    assert said["blocks/idle"][1] == b"s"
