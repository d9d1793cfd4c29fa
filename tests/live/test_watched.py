"""A live session whose processes freeze, whose folder wanders, whose terminal goes."""

import os
import shutil
import signal

import pytest

from evolver import recording
from evolver.journal.records import Event
from evolver.journal.writer import read_journal
from tests.children import evolver
from tests.limits import PATIENCE_S

from .sessions import write
from .test_serve import (
    all_running,
    check_committed_once,
    children,
    ctl,
    endless,
    runtime,
    shown_so_far,
    start,
    status,
    the_folder,
    wait_for,
)

__all__ = ["runtime", "start"]


def begin(start, tmp_path):
    """Start a session and its rig; return them once the first generation is over."""
    file = write(endless(tmp_path / "out"), tmp_path / "s.toml")
    session = start("impatient", "serve", file, "--no-page", "--no-report", "--yes")
    endpoint = session.until(r"waiting for the rig: (\S+)").group(1)
    rig = start("rig", file, "--endpoint", endpoint)
    session.until(r"generation +1/300")
    return session, rig, the_folder(tmp_path / "out")


def events_so_far():
    return "\n".join(status().events)


@pytest.mark.soak
def test_what_freezes_is_started_again_and_a_folder_that_wanders_is_noticed(tmp_path, start):
    session, rig, folder = begin(start, tmp_path)
    assert "runs it" in evolver("resume", folder, expect=2)
    session.process.stdout.close()  # nobody reads what it prints any more
    for victim in ("engine", "recorder"):  # of made-up ones: tests/live/test_supervisor.py
        os.kill(children()[victim], signal.SIGSTOP)
        wait_for(lambda v=victim: f"the {v} was ended" in events_so_far(), or_say=status)
        wait_for(all_running)
        before = shown_so_far()
        wait_for(lambda b=before: shown_so_far() not in {b, 0}, or_say=status)
    away = tmp_path / "away"
    folder.rename(away)
    wait_for(lambda: f"was moved to {away}" in events_so_far(), or_say=status)
    wait_for(lambda: status().progress.state == "paused", or_say=status)
    away.rename(folder)
    wait_for(lambda: "is in its place again" in events_so_far(), or_say=status)
    ctl("resume")
    wait_for(lambda: status().progress.state == "running", or_say=status)
    ctl("stop")
    assert session.process.wait(PATIENCE_S) == 0
    rig.end()
    check_committed_once(folder)
    names = [r.name for _, r in read_journal(folder / "journal") if isinstance(r, Event)]
    assert "pause" in names
    with recording.read(folder / "session.h5") as opened:
        assert opened.complete


@pytest.mark.soak
def test_a_session_without_a_recording_at_its_end_has_failed(tmp_path, start):
    session, rig, folder = begin(start, tmp_path)
    away = tmp_path / "away"
    folder.rename(away)
    wait_for(lambda: f"was moved to {away}" in events_so_far(), or_say=status)
    wait_for(lambda: status().progress.state == "paused", or_say=status)
    away.rename(folder)
    wait_for(lambda: "is in its place again" in events_so_far(), or_say=status)
    shutil.rmtree(folder)
    wait_for(lambda: "was deleted" in events_so_far(), or_say=status)
    ctl("stop")
    code, said = session.end()
    assert code == 2, said
    assert "the session's folder must be in its place at the end" in said
    rig.end()
