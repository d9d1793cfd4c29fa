"""A session that is stopped while it has no rig: before it began, and after it had begun."""

from contextlib import nullcontext

import pytest

from evolver.clock import SYSTEM_CLOCK
from evolver.errors import StoppedEarlyError
from evolver.journal.history import read_history
from evolver.live.console import Console, KeptCommands
from evolver.live.rigs import rig_over_network
from evolver.live.run import Job, run_session
from evolver.session.ports import Command
from evolver.session_folder import JOURNAL
from evolver.setup.resume import Restored

from .sessions import small
from .test_simulate import Watching, simulate


def test_commands_that_come_too_early_are_kept_in_their_order():
    orders = iter([[Command("note", "a")], [Command("pause"), Command("stop", "b")], []])
    commands = KeptCommands(lambda: next(orders), [Command("resume")])
    assert commands.end_wanted() is None
    assert commands.end_wanted() == Command("stop", "b") == commands.last
    assert commands() == (Command("resume"), Command("note", "a"), Command("pause"))
    assert list(commands._kept) == []


@pytest.mark.parametrize("gone_ns", [0, 123])
def test_a_rig_is_waited_for_since_it_was_lost_or_since_it_could_join(tmp_path, gone_ns):
    said = []
    console = Console(on_wait=lambda *args: said.append(args))
    commands = KeptCommands(lambda: [Command("stop")])
    before = SYSTEM_CLOCK.time_ns()
    rig = rig_over_network(
        small(tmp_path), "0" * 32, console, commands, clock=SYSTEM_CLOCK, gone_ns=gone_ns
    )
    with pytest.raises(StoppedEarlyError), rig:
        pass
    ((text, since_ns),) = said
    assert text.startswith("waiting for the rig: tcp://")
    assert since_ns == gone_ns or (not gone_ns and before <= since_ns <= SYSTEM_CLOCK.time_ns())


class Records(list):
    """A recorder that keeps what it is handed."""

    def submit(self, record):
        self.append(record)

    def barrier(self):
        pass


def stopped_without_a_rig(job, settings):
    """Run a session that an operator stops while it waits for its rig."""
    kept, commands = Records(), KeptCommands(lambda: [Command("stop", "lunch")])
    rig = rig_over_network(
        settings, job.session_id, Console(), commands, clock=SYSTEM_CLOCK, may_restart=True
    )
    recorder = lambda wanted: nullcontext((kept, wanted))  # noqa: E731
    return run_session(job, rig, recorder, Console(), commands), kept


def test_a_session_that_goes_on_ends_as_stopped_and_one_that_begins_says_nothing_was_shown(
    tmp_path,
):
    settings = small(tmp_path)
    text = "not read"
    with pytest.raises(StoppedEarlyError, match="nothing was shown or recorded"):
        stopped_without_a_rig(Job.begin(settings, text, "live", clock=SYSTEM_CLOCK), settings)
    ended = simulate(small(tmp_path), Watching(stop_after=3))
    restored = Restored.of(read_history(ended.folder / JOURNAL))
    assert restored.earlier.answered > 0
    job = Job.resume(restored, ended.folder, clock=SYSTEM_CLOCK)
    reason, kept = stopped_without_a_rig(job, settings)
    assert reason == "stopped by operator"
    assert [type(record).__name__ for record in kept] == ["Event", "RunEnd"]
    assert kept[0].text == "stop by operator while there was no rig: lunch"
    assert kept[1].reason == reason
