"""Readers give what was written, and say of damaged files what is wrong with them."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from evolver.errors import DataError
from evolver.experiments import read_experiments, recordings
from evolver.experiments.plain_layout import read_plain
from evolver.experiments.published_archive import read_archive
from evolver.experiments.reading import Unread, find_sources
from tests.experiments.made import archive, lab, plain
from tests.report.sessions import WINDOW, mean, write
from tests.soak import further


def test_an_archive_is_its_arrays(tmp_path):
    path = tmp_path / "a.npz"
    arrays = archive(path, lab(each=2))
    found = list(read_archive(path))
    assert [one.id for one in found] == ["V1-0", "V1-1", "V4-0", "V4-1", "IT-0", "IT-1"]
    one = found[5]
    assert (one.area, one.animal, one.unit, one.date) == ("IT", "A", "Ch1U1", "2026-01-02")
    columns, rates = arrays["IT-1/trajectory"], arrays["IT-1/psth"]
    for k, (name, generator) in enumerate((("fc6", "DeePSim"), ("BigGAN_class", "BigGAN"))):
        thread = one.threads[k]
        assert (thread.name, thread.generator) == (name, generator)
        np.testing.assert_array_equal(thread.course.mean, columns[:, 3 * k])
        half = (columns[:, 3 * k + 2] - columns[:, 3 * k + 1].astype(float)) / 2
        np.testing.assert_allclose(thread.course.sem, half, rtol=1e-6)
        np.testing.assert_array_equal(thread.references.mean, columns[:, 6 + k])
        np.testing.assert_array_equal(thread.psth.mean, rates[k, :, 0])
        np.testing.assert_array_equal(thread.psth.sem, rates[k, :, 1])
        np.testing.assert_array_equal(thread.psth.edges_ms, np.arange(201))
        assert thread.single is None
        assert "not images" in thread.why_not("single")


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda _, arrays: arrays.pop("V1-0/psth"), "V1-0/psth, which meta speaks of"),
        (
            lambda _, arrays: arrays["V1-0/psth"].__setitem__((0, 3, 0, 7), np.nan),
            "V1-0 must be finite",
        ),
        (
            lambda _, arrays: arrays.update({"V1-0/psth": arrays["V1-0/psth"][:, :-1]}),
            "another shape",
        ),
        (
            lambda _, arrays: arrays.update({
                "V1-0/trajectory": arrays["V1-0/trajectory"][:, [0, 2, 1, 3, 4, 5, 6, 7]]
            }),
            "must not be below",
        ),
        (
            lambda _, arrays: arrays.update({"V1-0/psth": np.array([{"a": 1}], dtype=object)}),
            "must hold numbers; it holds object",
        ),
    ],
)
def test_one_damaged_experiment_leaves_the_others(tmp_path, damage, text):
    path = tmp_path / "a.npz"
    archive(path, lab(areas=("V1",), each=2), damage=damage)
    broken, whole = read_experiments([path])
    assert isinstance(broken, Unread)
    assert broken.where == f"{path}, V1-0"
    assert text in broken.reason
    assert whole.id == "V1-1"


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda meta, _: meta.append(meta[0]), "twice: ['V1-0']"),
        (lambda meta, _: meta[0].pop("thread0_space"), "missing required field"),
        (lambda meta, _: meta[0].update(id=3), "must be a JSON list"),
    ],
)
def test_an_archive_whose_list_is_wrong_is_refused(tmp_path, damage, text):
    path = tmp_path / "a.npz"
    archive(path, lab(areas=("V1",), each=1), damage=damage)
    (broken,) = read_experiments([path])
    assert text in broken.reason


def test_files_that_are_something_else_are_named(tmp_path):
    np.savez(tmp_path / "other.npz", a=np.arange(3))
    (tmp_path / "text.npz").write_text("no archive")
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04cut short")
    (tmp_path / "text.h5").write_text("no recording")
    paths = sorted(tmp_path.iterdir())
    found = list(read_experiments(paths))
    assert [one.where for one in found] == [str(path) for path in paths]
    assert all(isinstance(one, Unread) and one.reason for one in found)
    with pytest.raises(DataError, match="there is none of that name"):
        list(read_experiments([tmp_path / "nothing"]))


def test_folders_are_searched(tmp_path):
    (tmp_path / "b").mkdir()
    archive(tmp_path / "b" / "a.npz", lab(each=1))
    np.savez(tmp_path / "b" / "weights.npz", a=np.arange(3))
    plain(tmp_path / "c" / "mine")
    (tmp_path / "c" / "notes.txt").write_text("not looked at")
    sources = find_sources([tmp_path, tmp_path / "b"])
    assert [(one.path.name, one.experiments) for one in sources] == [("a.npz", 3), ("mine", 1)]
    assert [one.id for one in read_experiments(sources)] == ["V1-0", "V4-0", "IT-0", "mine"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"must hold recordings \(\.h5\)"):
        find_sources([tmp_path / "empty"])


def test_the_plain_layout_is_its_arrays(tmp_path):
    responses, block = plain(tmp_path / "mine", animal="B", unit="u7", date="2026-02-03")
    one = read_plain(tmp_path / "mine")
    assert (one.id, one.animal, one.unit, one.area) == ("mine", "B", "u7", "IT")
    for k, thread in enumerate(one.threads):
        np.testing.assert_array_equal(thread.single.response, responses[k])
        by_block = responses[k].reshape(20, 12)
        np.testing.assert_allclose(thread.course.mean, by_block.mean(axis=1))
        sem = by_block.std(axis=1, ddof=1) / np.sqrt(12)
        np.testing.assert_allclose(thread.course.sem, sem)
        np.testing.assert_array_equal(thread.images, np.full(20, 12))
        np.testing.assert_array_equal(thread.single.block, block)
        assert thread.pictures["best"].shape == (24, 24, 3)
        assert thread.psth.mean.shape == (20, 200)


def changed(folder, arrays=None, **said):
    """Change the description and the arrays of a plain folder."""
    path = folder / "experiment.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **said}))
    if arrays is not None:
        with np.load(folder / "arrays.npz") as file:
            there = dict(file)
        there.update(arrays)
        np.savez(folder / "arrays.npz", **{k: v for k, v in there.items() if v is not None})


@pytest.mark.parametrize(
    ("arrays", "said", "text"),
    [
        ({"0/respones": np.ones(3)}, {}, "unknown: 0/respones. Of thread 0 they are called"),
        ({"0/block": None}, {}, "0/block must be there: of every image both"),
        ({"0/block": np.arange(240) + 0.5}, {}, "0/block must be whole numbers"),
        ({"0/block": np.arange(239)}, {}, "vectors of one length"),
        (
            {"0/block": np.repeat(np.arange(20), 12) + 10},
            {},
            "must begin at 0; it begins at 10",
        ),
        ({"0/references": np.full(20, 5e300)}, {}, "must not have numbers beyond 1e+100"),
        ({"0/mean": np.ones(20)}, {}, "leave those out, or it"),
        ({"0/psth": np.ones((19, 200)), "0/psth_sem": None}, {}, "psth of thread 'thread 0'"),
        ({"0/psth_sem": -np.ones((20, 200))}, {}, "0/psth_sem must not be negative"),
        ({"psth_edges_ms": np.arange(200.0)}, {}, "needs 201 ascending edges; got 200"),
        ({"0/references": np.ones(7)}, {}, "must have its 20 blocks; it has 7"),
        ({}, {"format": "mine"}, "must have the format 'evolver experiment 1'"),
        ({}, {"areas": "IT"}, "unknown field `areas`"),
        ({}, {"threads": []}, "must have 1 to 16 threads"),
        (
            {},
            {"threads": [{"name": "a", "generator": "g", "best": "../../x.png"}]},
            "unknown: 1/block",
        ),
    ],
)
def test_a_plain_folder_says_what_is_wrong_with_it(tmp_path, arrays, said, text):
    plain(tmp_path / "mine")
    changed(tmp_path / "mine", arrays, **said)
    (broken,) = read_experiments([tmp_path / "mine"])
    assert isinstance(broken, Unread)
    assert text in broken.reason


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda text: b"\xef\xbb\xbf" + text, "it begins with a byte order mark"),
        (lambda text: text.replace(b'"area"', b'"id": "other", "area"'), "twice: 'id'"),
    ],
)
def test_a_description_that_editors_spoil_is_named(tmp_path, change, text):
    plain(tmp_path / "mine", pictures=False)
    path = tmp_path / "mine" / "experiment.json"
    path.write_bytes(change(path.read_bytes()))
    (broken,) = read_experiments([tmp_path / "mine"])
    assert text in broken.reason


def test_images_lie_in_the_folder(tmp_path):
    plain(tmp_path / "mine")
    threads = json.loads((tmp_path / "mine" / "experiment.json").read_text())["threads"]
    threads[1]["best"] = "../secret.png"
    changed(tmp_path / "mine", threads=threads)
    (broken,) = read_experiments([tmp_path / "mine"])
    assert "must name images in its folder; got '../secret.png'" in broken.reason


def test_a_recording_is_what_was_shown(tmp_path):
    truth = write(tmp_path, generations=5)
    (one,) = read_experiments([truth.path])
    assert one.id == "session 2026-01-02 03:04:05"
    assert (one.area, one.unit, one.date) == ("IT", "unit1", "2026-01-02")
    for k, thread in enumerate(one.threads):
        for g in range(5):
            scores = [s for s in truth.scores[k, g] if s == s]
            assert thread.course.mean[g] == pytest.approx(mean(scores))
            assert thread.images[g] == len(scores)
            references = [s for s in truth.reference_scores[g][k] if s == s]
            assert thread.references.mean[g] == pytest.approx(mean(references))
            shown = [
                [t for u, t in one.spikes if u == 1]
                for one in truth.showings
                if (one.block, one.thread, one.ok) == (g, k, True)
            ]
            edges = np.arange(WINDOW[0], WINDOW[1] + 1)
            rates = np.stack([np.histogram(times, edges)[0] * 1000.0 for times in shown])
            np.testing.assert_allclose(thread.psth.mean[g], rates.mean(axis=0))
            sem = rates.std(axis=0, ddof=1) / np.sqrt(len(rates))
            np.testing.assert_allclose(thread.psth.sem[g], sem, atol=1e-9)
        best = max(range(5), key=lambda g: thread.course.mean[g])
        scores = truth.scores[k, best]
        row = max(range(len(scores)), key=lambda i: -1 if scores[i] != scores[i] else scores[i])
        np.testing.assert_array_equal(thread.pictures["best"], truth.pixels[k, best, row])
        assert "need the generator" in thread.why_not("mean_code")


@pytest.mark.parametrize("form", ["counts", further("rates")])
def test_recordings_of_counts_have_psths_and_those_of_rates_say_why_not(tmp_path, form):
    truth = write(tmp_path, generations=4, form=form, abort=0.0)
    (one,) = read_experiments([truth.path])
    thread = one.threads[0]
    if form == "rates":
        assert thread.psth is None
        assert thread.why_not("psth") == "the rig sent rates, no spikes and no counts"
        return
    edges = thread.psth.edges_ms
    shown = [s for s in truth.showings if (s.block, s.thread) == (2, 0)]
    total = sum(u == 1 and edges[0] <= t < edges[-1] for s in shown for u, t in s.spikes)
    counted = (thread.psth.mean[2] * np.diff(edges) / 1000).sum() * len(shown)
    assert counted == pytest.approx(total)


def test_a_session_stopped_inside_a_generation_ends_before_it(tmp_path):
    truth = write(tmp_path, generations=4, interrupted=True)
    (one,) = read_experiments([truth.path])
    assert [len(thread.course) for thread in one.threads] == [3, 3]


def test_references_in_blocks_of_their_own_count_for_the_generation_before():
    scores = np.full((6, 1, 2), np.nan)
    scores[[1, 3, 4], 0] = [[1, 3], [4, 6], [10, 20]]
    opened = SimpleNamespace(
        reference_scores=scores,
        blocks={"block": np.arange(6)},
        presentations={"block": np.array([0, 0, 2, 2, 5])},
    )
    found = recordings._references(opened, 0, np.array([0, 0, 1, 1, 2]), 3)
    np.testing.assert_allclose(found.mean, [2, 10, np.nan])  # (4 + 6 + 10 + 20) / 4
