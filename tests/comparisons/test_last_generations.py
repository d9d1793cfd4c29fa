"""Statistics of last generations against the images themselves, sessions in pairs and apart."""

import shutil

import numpy as np
import pytest

from evolver.analysis.image_statistics import image_statistics
from evolver.analysis.rank_tests import rank_sum, signed_rank
from evolver.comparisons.last_generations import (
    MEASURES,
    compare_measures,
    find_recordings,
    read_last_generations,
)
from evolver.errors import ConfigError, RecordingError
from evolver.recording import read
from evolver.recording.fold import fold
from evolver.session_folder import RECORDING
from tests.recording.sessions import write_session


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three sessions, each with a thread of either generator."""
    made = tmp_path_factory.mktemp("sessions")
    for seed in range(3):
        journal = write_session(
            made / f"s{seed}" / "journal", generations=2, popsize=4, seed=seed
        )
        fold(journal, journal.parent / RECORDING)
    return made


@pytest.fixture(scope="module")
def found(folder):
    return read_last_generations(find_recordings([folder]))


def last_images(path, thread):
    with read(path) as opened:
        data = opened.threads[thread]
        last = data.generation == data.generation[np.isfinite(data.score)].max()
        best = np.nanargmax(np.where(last, data.score, np.nan))
        images = opened.images.stack(data.image_id[last])
        return images, opened.images[int(data.image_id[best])], data.generator


def test_each_generator_has_the_images_of_its_last_generations(folder, found):
    for k, one in enumerate(found):
        paths = sorted(folder.rglob(RECORDING))
        parts = [last_images(path, k) for path in paths]
        assert {generator for *_, generator in parts} == {one.generator}
        expected = image_statistics(np.concatenate([images for images, *_ in parts]))
        np.testing.assert_array_equal(one.statistics.luminance, expected.luminance)
        np.testing.assert_array_equal(one.statistics.power, expected.power)
        np.testing.assert_array_equal(one.session, np.repeat([0, 1, 2], len(parts[0][0])))
        np.testing.assert_array_equal(one.examples, np.stack([best for _, best, _ in parts]))
        assert list(one.means("contrast").values()) == [
            pytest.approx(image_statistics(images).contrast.mean()) for images, *_ in parts
        ]


def test_sessions_with_both_are_pairs_and_others_are_apart(folder, found):
    first, second = found
    a, b = ([*one.means("luminance").values()] for one in found)
    (paired, *_) = compare_measures(first, second)
    assert paired.paired
    assert paired.test == signed_rank(a, b)
    assert [each.measure for each in compare_measures(first, second)] == list(MEASURES)
    (one_pair, *_) = compare_measures(*read_last_generations([folder / "s0" / RECORDING]))
    assert one_pair.paired
    assert one_pair.test.reason == "one pair"
    paths = sorted(folder.rglob(RECORDING))
    alone = [read_last_generations([path])[k] for path, k in zip(paths, (0, 1), strict=False)]
    (apart, *_) = compare_measures(*alone)
    assert not apart.paired
    assert apart.test == rank_sum(a[:1], b[1:2])


def test_images_are_brought_to_one_size(folder):
    (path, *_) = find_recordings([folder])
    (one, _) = read_last_generations([path], size=16)
    assert one.examples.shape[1:] == (16, 16, 3)
    assert one.statistics.frequencies[-1] == 8
    with pytest.raises(ConfigError, match="32 pixels a side at most"):
        read_last_generations([path], size=33)


def test_a_session_that_is_there_twice_counts_once(folder, tmp_path):
    (path, *_) = find_recordings([folder])
    shutil.copy(path, tmp_path / RECORDING)
    (one, _) = read_last_generations(find_recordings([folder, tmp_path]))
    assert len(one.sessions) == 3


def test_places_without_recordings_are_named(folder, tmp_path):
    path = folder / "s0" / RECORDING
    assert find_recordings([path, folder])[0] == path
    assert len(find_recordings([path, folder])) == 3  # each once
    with pytest.raises(ConfigError, match="--keep-recordings"):
        find_recordings([tmp_path])
    with pytest.raises(ConfigError, match="there is none"):
        find_recordings([tmp_path / "nowhere"])
    (tmp_path / "x.h5").write_bytes(b"no recording")
    with pytest.raises(RecordingError):
        read_last_generations([tmp_path / "x.h5"])
