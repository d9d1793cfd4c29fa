"""A journal and its recording, for all that spoil them."""

import shutil

import pytest

from evolver.recording.fold import fold
from evolver.recording.verify import verify
from tests.recording.sessions import SMALL, write_session


@pytest.fixture(scope="module")
def folded(tmp_path_factory):
    """A journal, its recording, and one whose images lie as they are; nobody changes them."""
    folder = tmp_path_factory.mktemp("folded")
    write_session(folder / "journal", **SMALL)
    fold(folder / "journal", folder / "recording.h5")
    fold(folder / "journal", folder / "plain.h5", compress_images="none")
    verify(folder / "plain.h5", folder / "journal")
    return folder


@pytest.fixture
def made(folded, tmp_path):
    """A journal and its recording, closed."""
    shutil.copytree(folded / "journal", tmp_path / "journal")
    shutil.copy(folded / "recording.h5", tmp_path)
    return tmp_path
