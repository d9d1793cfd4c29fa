"""Activations that a session file wants of every image: in the recording, whatever happened."""

import shutil

import h5py
import numpy as np
import pytest

import scorers
from evolver import config, recording
from evolver.errors import ConfigError, DataError, RecordingError
from evolver.live import run_simulated
from evolver.recording.fold import fold
from evolver.recording.verify import verify, verify_file
from evolver.setup.build import build_parts
from evolver.setup.recorded_activations import activations_of_text
from tests.cli.running import run_here
from tests.soak import further

from .sessions import small

UNITS = ("mini:fc5:0-9", "mini:conv4:random-20@3", "known:gabor:48")


def wanting(folder, units=UNITS, **simulation):
    return small(folder, simulation={"record": units, **simulation})


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    settings = wanting(tmp_path_factory.mktemp("session"))
    return run_simulated(settings, config.commented_session_file(settings))


def check(path):
    """Hold a recording to what the networks say of its images."""
    verify_file(path)
    scorer = scorers.load(list(UNITS))
    with recording.read(path) as opened:
        assert opened.warnings == []
        found = opened.activations
        images = np.stack([opened.images[i] for i in range(len(opened.image_sha256))])
        values = found.values[:]
        assert values.dtype == np.float32
        assert tuple(found.units) == scorer.unit_names
        np.testing.assert_array_equal(values, scorer.score(images).astype(np.float32))
        np.testing.assert_array_equal(found.of("known:gabor:48:2:2"), values[:, -1])
        with pytest.raises(DataError, match="31 whose activations"):
            found.of("mini:fc5:10")
        return len(images)


def test_every_image_has_its_activations(ended):
    assert check(ended.recording) == 3 * (6 + 5) + 4
    with recording.read(ended.recording) as opened:
        roles = {w["name"]: w["sha256"] for w in opened.weights if w["role"] == "activations"}
    assert roles == scorers.load(list(UNITS)).digests


def test_a_session_that_was_cut_off_has_them_before_and_after_it_goes_on(
    ended, tmp_path, monkeypatch, capsys
):
    folder = tmp_path / "cut"
    shutil.copytree(ended.folder, folder)
    (folder / "session.h5").unlink()
    (segment,) = sorted((folder / "journal").glob("*.evj"))[-1:]
    content = segment.read_bytes().rstrip(b"\0")
    segment.write_bytes(content[: len(content) // 2])
    run_here(monkeypatch, capsys, "fold", folder)
    shown = check(folder / "session.h5")
    (folder / "session.h5").unlink()
    run_here(monkeypatch, capsys, "resume", folder, "--no-report")
    assert check(folder / "session.h5") == 37 > shown > 4


class Other:
    units, weights = ("mini:fc5:0",), dict.fromkeys(UNITS, "0" * 64)


class Breaks:
    """Answers once."""

    def __init__(self, text):
        self.whole, self.calls = activations_of_text(text), 0
        self.units, self.weights = self.whole.units, self.whole.weights

    def __call__(self, images):
        self.calls += 1
        if self.calls == 2:
            raise ArithmeticError("broken in the middle")
        return self.whole(images)


def fails(_text):
    raise ConfigError("no such network here")


@pytest.mark.parametrize(
    ("said", "loader"),
    [
        ("broken in the middle", Breaks),
        ("no network was at hand", None),
        further("no such network here", fails),
        further("others than the session's", lambda _text: Other()),
    ],
)
def test_a_journal_is_folded_without_the_networks_and_says_so(
    ended, tmp_path, monkeypatch, said, loader
):
    monkeypatch.setattr("evolver.recording.fold_activations._SCORED_TOGETHER", 8)
    fold(ended.folder / "journal", tmp_path / "s.h5", activations=loader)
    with recording.read(tmp_path / "s.h5") as opened:
        assert opened.activations is None
        assert [said in warning for warning in opened.warnings] == [True]


def test_an_image_whose_pixels_are_lost_has_none(ended, tmp_path):
    journal, path = tmp_path / "journal", tmp_path / "s.h5"
    shutil.copytree(ended.folder / "journal", journal)
    (segment,) = journal.glob("*.evj")
    content = bytearray(segment.read_bytes())
    content[content.rindex(b"\xa6pixels") + 3000] ^= 1  # of the last image there is
    segment.write_bytes(content)
    fold(journal, path, activations=activations_of_text)
    with recording.read(path) as opened:
        lost = [opened.images.is_lost(i) for i in range(len(opened.image_sha256))]
        assert sum(lost) == 1
        assert np.isnan(opened.activations.values[:]).all(axis=1).tolist() == lost


def test_a_file_that_lost_them_is_told_from_its_journal(ended, tmp_path):
    path = tmp_path / "s.h5"
    shutil.copy(ended.recording, path)
    with h5py.File(path, "a") as file:
        del file["activations"]
    with pytest.raises(RecordingError, match="left out without a warning"):
        verify(path, ended.folder / "journal")


def test_what_a_session_file_may_not_want_is_said_at_its_check(tmp_path):
    long = {"generations": 500}
    with pytest.raises(ConfigError, match=r"simulation\.record.*512 MiB.* 32,768 units"):
        build_parts(
            small(tmp_path, session=long, simulation={"record": ("mini:conv1:all:all",)})
        )
    with pytest.raises(ConfigError, match=r"simulation\.record.*none called 'fc55'"):
        build_parts(wanting(tmp_path, ("mini:fc55:0",)))


@pytest.mark.parametrize(
    "text", ["", "[simulation]\nunits = []", "simulation = 3", "=", "[session]"]
)
def test_a_text_that_wants_nothing(text):
    assert activations_of_text(text) is None
