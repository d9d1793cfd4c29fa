"""The supervised session: real processes, killed one by one; an operator who speaks to it."""

import functools
import os
import re
import shutil
import signal
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evolver import config, recording
from evolver.journal.records import Committed, Event, Resumed, Sent
from evolver.journal.writer import read_journal
from evolver.live import control, run_simulated
from evolver.monitor.sources import before_first_image
from evolver.session_folder import remove_unused
from tests.children import evolver
from tests.limits import wait_until
from tests.soak import further, share

from .sessions import small, write
from .test_live import Evolver
from .test_simulate import Watching

QUIET = {"spikes": "none", "abort_rate": 0.0}


@pytest.fixture
def runtime(monkeypatch):
    """A folder of control sockets for this test alone; a socket's path must be short."""
    with tempfile.TemporaryDirectory(prefix="ev", dir="/tmp") as folder:
        Path(folder).chmod(0o700)
        monkeypatch.setenv("EVOLVER_RUNTIME", folder)
        yield Path(folder)


@pytest.fixture
def start(runtime, monkeypatch):
    from . import test_live

    monkeypatch.setattr(
        test_live, "ENVIRONMENT", {**test_live.ENVIRONMENT, "EVOLVER_RUNTIME": str(runtime)}
    )
    started = []

    def begin(*arguments):
        started.append(Evolver(*arguments))
        return started[-1]

    yield begin
    for one in started:
        one.kill()


def ctl(*arguments, expect=0):
    return evolver("ctl", *arguments, expect=expect)


def serve(start, file, *options, cold=()):
    """Start a session and a rig that has found it."""
    session = start(*cold, "serve", file, "--no-page", "--no-report", *options)
    endpoint = session.until(r"waiting for the rig: (\S+)").group(1)
    return session, start("rig", file, "--endpoint", endpoint)


def the_folder(parent):
    (found,) = [p for p in parent.iterdir() if p.is_dir()]
    return found


def status():
    """Return where the session stands, asked from this process: a command takes its time."""
    listed = control.find_session(None)
    return control.ask(listed, control.Request("status"), timeout_s=30.0).status


wait_for = functools.partial(wait_until, every_s=0.05)
"""Wait for what a session must be asked for, which takes its time, too."""


def children():
    """Return the process of each child, by name."""
    return {child.name: child.pid for child in status().children if child.state == "running"}


def shown_so_far():
    progress = status().progress
    return 0 if progress is None else progress.presentations


def nothing_comes():
    """Whether half a second passes without an answer; some ten images are shown in it."""
    before = shown_so_far()
    time.sleep(0.5)
    return shown_so_far() == before


def check_same_trajectory(folder, settings, tmp_path):
    """The session's codes and scores are those of a simulation that nothing interrupted."""
    import msgspec

    table = msgspec.structs.replace(settings.session, folder=str(tmp_path / "offline"))
    same = msgspec.structs.replace(settings, session=table)
    ended = run_simulated(same, config.commented_session_file(same), Watching().console)
    with recording.read(folder / "session.h5") as a, recording.read(ended.recording) as b:
        assert a.complete
        assert a.bit_identical
        for x, y in zip(a.threads, b.threads, strict=True):
            np.testing.assert_array_equal(x.codes, y.codes)
            np.testing.assert_array_equal(x.score, y.score)


def check_committed_once(folder):
    blocks = [r.block for _, r in read_journal(folder / "journal") if isinstance(r, Committed)]
    assert sorted(blocks) == list(range(len(blocks)))


def test_whatever_is_killed_is_started_again_or_resumed_and_nothing_is_lost(tmp_path, start):
    """Recorder, engine and rig, one after the other; then all at once, and it is resumed."""
    settings = small(
        tmp_path / "out",
        # Spikes as well, showings that are aborted, and seconds for all that is done here.
        simulation={"speed": 1.0},
    )
    file = write(settings, tmp_path / "s.toml")
    session, rig = serve(start, file, "--yes")
    for victim in ("recorder", "engine"):
        more_is_shown()
        os.kill(children()[victim], signal.SIGKILL)
        session.until(rf"the {victim} ended with SIGKILL; it is started again")
    more_is_shown()
    rig.kill()
    endpoint = status().rig_endpoint
    second = start("rig", file, "--endpoint", endpoint)
    more_is_shown()
    pids = children()
    session.process.kill()
    wait_until(lambda: all(not Path(f"/proc/{pid}").exists() for pid in pids.values()))
    second.kill()
    folder = the_folder(tmp_path / "out")
    assert resumed_so_far(folder) == 1  # of the engine; a recorder's fall interrupts nothing
    again = start("resume", folder, "--yes", "--no-page", "--no-report")
    endpoint = again.until(r"waiting for the rig: (\S+)").group(1)
    waits = re.escape(f"waiting for the rig: {endpoint}") + r" \(no rig for \d+:(?!00\))"
    wait_for(lambda: re.match(waits, status().state))
    third = start("rig", file, "--endpoint", endpoint)
    code, said = again.end()
    assert code == 0, said
    assert "finished" in said
    assert third.end()[0] == 0
    assert resumed_so_far(folder) == 2
    check_same_trajectory(folder, settings, tmp_path)
    check_committed_once(folder)
    code, said = start("resume", folder, "--yes").end()
    assert code == 2
    assert "it is finished" in said


def more_is_shown():
    """Wait until an image more is shown than there were."""
    before = shown_so_far()
    wait_for(lambda: shown_so_far() > before, or_say=status)


def resumed_so_far(folder):
    return sum(isinstance(r, Resumed) for _, r in read_journal(folder / "journal"))


def test_an_operator_confirms_the_checks_and_speaks_to_the_session(tmp_path, start):
    file = write(endless(tmp_path / "out"), tmp_path / "s.toml")
    session, rig = serve(start, file, "--report")
    session.until("before the first image")
    session.until("confirm with  evolver ctl confirm")
    folder = the_folder(tmp_path / "out")
    assert not list((folder / "journal").glob("*.evj"))
    shown = before_first_image(folder)  # on the live page
    assert shown.to_confirm
    assert any("climbs unit 0: channel 0" in text for _, _, text in shown.checks)
    assert "confirmed" in ctl("confirm")
    session.until(r"generation +1/300")
    assert not before_first_image(folder).to_confirm
    assert "noted" in ctl("note", "the animal is awake")
    assert "paused" in ctl("pause", "--why", "a drink")
    wait_for(lambda: status().progress.state == "paused")
    wait_for(nothing_comes)  # what was under way is answered
    still = shown_so_far()
    assert nothing_comes()
    before = status().progress
    killed = children()["engine"]
    os.kill(killed, signal.SIGKILL)  # a pause outlives the engine
    # Who asks now and then may miss that it is being started again.
    wait_for(lambda: children().get("engine") not in {None, 0, killed}, or_say=status)
    wait_for(lambda: status().state == "paused", or_say=status)
    wait_for(lambda: status().progress.no_rig_s > 0)  # of the new one
    after = status().progress  # and what was paused, and passed in all, goes on
    assert after.paused_s > before.paused_s > 0.5
    assert after.elapsed_s > before.elapsed_s
    assert nothing_comes()
    assert "going on" in ctl("resume")
    wait_for(lambda: shown_so_far() > still)
    ctl("reference-only")
    wait_for(lambda: "reference-only" in status().state)
    assert "reference-only" in ctl("status")
    ctl("resume")
    assert "must say something" in ctl("note", "", expect=2)
    assert "stopping" in ctl("stop")
    code, said = session.end()
    assert code == 0, said
    assert "stopped by operator" in said
    assert "climbs unit 0: channel 0" in said
    assert "nothing to confirm" not in said
    assert (folder / "report" / "report.html").is_file()
    rig.end()
    events = [r for _, r in read_journal(folder / "journal") if isinstance(r, Event)]
    assert [e.text for e in events if e.name == "note"] == ["the animal is awake"]
    assert [e.text for e in events if e.name == "pause"] == [
        "pause by operator: a drink",
        "pause by the session: as it was before the interruption",
    ]
    assert {"resume", "reference_only", "stop"} <= {e.name for e in events}
    check_time_of_a_pause_with_a_fall(folder)
    assert "no live session" in ctl("status", expect=2)


def check_time_of_a_pause_with_a_fall(folder):
    """In the file, pause and fall are counted: by the events' own times, and once."""
    records = [record for _, record in read_journal(folder / "journal")]
    at = {r.name: r.time_ns for r in records if isinstance(r, Event)}
    begun = next(r.time_ns for r in records if isinstance(r, Event) and r.name == "pause")
    paused_until = [r.time_ns for r in records if isinstance(r, Event) and r.name == "resume"]
    joined = next(r.time_ns for r in records if isinstance(r, Resumed))
    with recording.read(folder / "session.h5") as opened:
        parts = {
            name: float(np.nansum(opened.blocks[name]))  # the last is not committed
            for name in ("wait", "idle", "paused", "no_rig")
        }
        no_rig_s = (joined - at["engine_restarted"]) / 1e9
        paused_s = (paused_until[0] - begun) / 1e9 - no_rig_s
        names = [r.name for r in records if isinstance(r, Event)]
        happened = [(r.name, r.text, r.time_ns) for r in records if isinstance(r, Event)]
        assert names.count("engine_died") == names.count("engine_restarted") == 1, happened
        assert at["engine_died"] < at["engine_restarted"] < joined, happened
        assert parts["paused"] == pytest.approx(paused_s, abs=1.0)
        assert parts["no_rig"] == pytest.approx(no_rig_s, abs=1.0)
        shown = next(r.time_ns for r in records if isinstance(r, Sent))
        last = max(r.time_ns for r in records if isinstance(r, Committed))
        assert sum(parts.values()) == pytest.approx((last - shown) / 1e9, abs=2.0)


def endless(folder):
    """A session that only an operator ends."""
    return small(folder, session={"generations": 300}, simulation={**QUIET, "speed": 5.0})


def test_a_signal_ends_the_session_and_keeps_everything(tmp_path, start):
    """Its processes begin as a user's do, in interpreters that have imported nothing."""
    file = write(endless(tmp_path / "out"), tmp_path / "s.toml")
    session, rig = serve(start, file, "--yes", cold=("cold",))
    session.until(r"generation +1/300")
    session.process.send_signal(signal.SIGHUP)  # a terminal that goes ends nothing
    more_is_shown()
    session.process.send_signal(signal.SIGTERM)
    code, said = session.end()
    assert code == 0, said
    assert "stopped by operator" in said
    rig.end()
    folder = the_folder(tmp_path / "out")
    with recording.read(folder / "session.h5") as opened:
        assert opened.complete
    assert {p.name for p in (folder / "logs").iterdir()} == {"engine.log", "recorder.log"}


def test_nothing_is_left_when_the_supervisor_is_killed(tmp_path, start):
    file = write(small(tmp_path / "out", simulation=QUIET), tmp_path / "s.toml")
    session = start("serve", file, "--no-report", "--yes")
    session.until(r"live page: http")
    listed = children()
    assert set(listed) == {"engine", "recorder", "page"}
    session.process.kill()  # no process of it is told
    wait_until(lambda: not any(alive(pid) for pid in listed.values()))


def alive(pid):
    """Whether a process runs; one that ended and that nobody has asked after does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_a_mistake_that_only_the_rig_shows_ends_it_without_trying_again(tmp_path, start):
    settings = small(tmp_path / "out", fitness={"units": (99, 1, "z")})
    session, rig = serve(start, write(settings, tmp_path / "s.toml"), "--yes")
    code, said = session.end()
    assert code == 2
    assert "the session did not begin: the session file has 2 mistakes:" in said
    assert "  fitness.units[0]: must be 0 to 1" in said
    assert "  fitness.units[2]: must name one of the rig's 2 units" in said
    assert "started again" not in said
    assert "resume" not in said
    assert list((tmp_path / "out").iterdir()) == []  # no empty folder of a session
    rig.kill()


@pytest.mark.parametrize("how", ["signal", further("references")])
def test_a_start_that_fails_leaves_no_folder_and_says_nothing_of_resuming(tmp_path, start, how):
    source = tmp_path / "faces"
    source.mkdir()
    for name in ("a", "b", "c", "d"):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(source / f"{name}.png")
    settings = small(tmp_path / "out", references={"source": str(source)})
    session = start("serve", write(settings, tmp_path / "s.toml"), "--no-page", "--yes")
    if how == "references":  # they go after the check
        session.until("session folder: ")
        shutil.rmtree(source)
    else:
        session.until("waiting for the rig: ")
        session.process.send_signal(signal.SIGINT)
    code, said = session.end()
    assert code == 2
    assert "the session did not begin: " in said
    if how == "signal":
        assert "stopped before a rig joined: nothing was shown or recorded" in said
    else:
        assert "references.source: must be" in said
    assert "resume" not in said
    assert list((tmp_path / "out").iterdir()) == []


def test_what_is_no_part_of_an_unused_folder_is_left(tmp_path):
    def made(name):
        folder = tmp_path / name
        (folder / "journal").mkdir(parents=True)
        (folder / "logs").mkdir()
        for path in (
            "session.toml",
            "waiting.json",
            "silent.json",
            "logs/engine.log",
            "journal/journal.lock",
        ):
            (folder / path).touch()
        return folder

    unused, recorded, noted = made("unused"), made("recorded"), made("noted")
    (recorded / "journal" / "00000.evj").touch()
    (noted / "notes.txt").touch()
    for folder in (unused, recorded, noted):
        remove_unused(folder)
    assert not unused.exists()
    assert len(list(recorded.rglob("*"))) == 8  # with a record, nothing is touched
    assert [path.name for path in noted.iterdir()] == ["notes.txt"]


@pytest.mark.soak
def test_sixty_mixed_kills_commit_every_generation_once(tmp_path, start):
    """Engine, recorder and rig killed at random moments; and a rig away for a minute."""
    rng = np.random.default_rng(20261121)
    for number in range(share(6, 1)):
        settings = small(
            tmp_path / f"out-{number}",
            session={"generations": 60, "seed": 100 + number},
            simulation={**QUIET, "speed": 4.0},
        )
        file = write(settings, tmp_path / f"{number}.toml")
        session = start("serve", file, "--no-page", "--no-report", "--yes")
        endpoint = session.until(r"waiting for the rig: (\S+)").group(1)
        rig = start("rig", file, "--endpoint", endpoint)
        victims = rng.permutation(["engine"] * 4 + ["recorder"] * 4 + ["rig"] * 2).tolist()
        for victim in victims:
            time.sleep(1.0 + 1.5 * float(rng.random()))
            if victim == "rig":
                rig.process.kill()
                if number == 0:
                    time.sleep(60.0)
                rig = start("rig", file, "--endpoint", endpoint)
                continue
            wait_for(lambda: all_running())
            os.kill(children()[victim], signal.SIGKILL)
        code, said = session.end()
        assert code == 0, said
        assert rig.end()[0] == 0
        folder = the_folder(tmp_path / f"out-{number}")
        check_committed_once(folder)
        with recording.read(folder / "session.h5") as opened:
            assert opened.complete
            assert opened.bit_identical
            assert [t.generations for t in opened.threads] == [60, 60]
        check_same_trajectory(folder, settings, tmp_path / f"offline-{number}")


def all_running():
    """Whether engine and recorder run, as far as the session says."""
    return {"engine", "recorder"} <= children().keys()
