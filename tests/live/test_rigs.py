"""What a rig has to say before there is a loop to hear it is kept for the record."""

from evolver import config, recording
from evolver.clock import SYSTEM_CLOCK
from evolver.live import run_simulated
from evolver.live.console import Console, KeptCommands
from evolver.live.rigs import rig_in_process, rig_over_network
from evolver.setup.simulated_rig import LocalRig
from rig_bridge.events import RigJoined
from rig_bridge.messages import Notice
from rig_bridge.server import EngineServer

from .sessions import small


def test_what_a_rig_says_before_the_checks_are_confirmed_is_recorded(tmp_path, monkeypatch):
    said = iter([[Notice("warning", "no photodiode")], [Notice("info", "found it")]])
    poll = LocalRig.poll
    monkeypatch.setattr(
        LocalRig, "poll", lambda rig, wait_s: next(said, None) or poll(rig, wait_s)
    )
    asked, reported = iter([False] * 3), []
    console = Console(confirmed=lambda: next(asked, True), on_progress=reported.append)
    settings = small(tmp_path)
    ended = run_simulated(settings, config.commented_session_file(settings), console)
    with recording.read(ended.recording) as opened:
        events = opened.events[opened.events["name"] == "rig_notice"]
    assert events["text"].tolist() == ["no photodiode", "found it"]
    assert events["level"].tolist() == ["warning", "info"]
    assert [one.event for one in reported if one.event][:2] == ["no photodiode", "found it"]


def test_so_is_what_came_together_with_its_hello(tmp_path, monkeypatch):
    settings = small(tmp_path)
    with rig_in_process(settings, clock=SYSTEM_CLOCK) as simulated:
        hello = simulated.hello
    notice = Notice("error", "no reward")
    monkeypatch.setattr(EngineServer, "poll", lambda *_: [RigJoined(hello), notice])
    commands = KeptCommands(list)
    before = SYSTEM_CLOCK.time_ns()
    with rig_over_network(
        settings, "0" * 32, Console(), commands, clock=SYSTEM_CLOCK
    ) as joined:
        ((time_ns, kept),) = joined.notices
    assert before <= time_ns <= SYSTEM_CLOCK.time_ns()
    assert kept == notice
