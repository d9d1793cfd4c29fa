"""A session with a guided arm: its generations grow, and it goes on bit for bit."""

import msgspec
import numpy as np
import pytest

from evolver import config, recording
from evolver.config.axes_table import AxesTable
from evolver.journal.records import Result
from evolver.journal.writer import read_journal
from evolver.live import run_simulated
from evolver.recording.verify import verify
from evolver.report.page import write_report
from evolver.setup import spectra
from tests.live.sessions import small
from tests.live.test_resume import check_cuts
from tests.live.test_simulate import Watching


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guided")
    thread = config.ThreadTable(
        "texture",
        "mini-texture",
        optimizer="guided",
        popsize=16,
        axes=AxesTable("first-layer", k=8),
        optimizer_options={"optimizer": "snes", "repeats": 2},
    )
    plain = small(folder, references={"count": 1}, session={"generations": 6})
    settings = msgspec.structs.replace(plain, threads=(thread,))
    settings = config.parse_session_file(config.commented_session_file(settings))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spectra, "user_cache_path", lambda _name: folder / "cache")
        yield run_simulated(
            settings, config.commented_session_file(settings), Watching().console
        )


def test_its_generations_are_larger_in_the_guided_arms_turns(ended, tmp_path):
    with recording.read(ended.recording) as read:
        (thread,) = read.threads
        assert thread.options["optimizer"]["sigma"] == 8.0  # the generator's, for the blind arm
        sizes = np.bincount(thread.generation)
        np.testing.assert_array_equal(sizes[:4], 16)
        assert sizes[4] == 20  # base and candidate, each twice
        block = thread.codes[thread.generation == 4][16:]
        np.testing.assert_array_equal(block[0], block[1])
        np.testing.assert_array_equal(block[2], block[3])
        assert len(thread.state(5)["inner_shown"]) == 16 * 4 + 20
        write_report(read, tmp_path)
    verify(ended.recording, ended.folder / "journal")


def test_cut_anywhere_it_goes_on_bit_for_bit(ended, tmp_path):
    records = [record for _, record in read_journal(ended.folder / "journal")]
    at = [i for i, record in enumerate(records) if type(record) is Result]
    check_cuts(ended, records, [at[-5] + 1, at[len(at) // 2] + 1], tmp_path)
