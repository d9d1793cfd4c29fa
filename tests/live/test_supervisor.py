"""A supervisor whose processes hang, or say strange things: made-up ones, a line long."""

import os
import re
import shutil
import signal
import sys
from dataclasses import replace
from threading import Thread

import pytest

from evolver.config.tables import WatchdogsTable
from evolver.errors import RecordingError
from evolver.journal.recorder_protocol import DISK_WAS_FULL
from evolver.journal.records import Event
from evolver.journal.writer import JournalWriter
from evolver.live import control, pipe
from evolver.live.child_process import Patience
from evolver.live.console import Console
from evolver.live.control import sessions
from evolver.live.supervisor import Settings, Supervisor
from evolver.monitor.sources import before_first_image
from tests.limits import wait_until

PYTHON = (sys.executable, "-S", "-c")  # without the environment's packages


def frame(message):
    """Return a message's bytes on a pipe."""
    reading, writing = os.pipe()
    pipe.send(writing, message)
    os.close(writing)
    with open(reading, "rb") as end:
        return end.read()


# An engine imports nothing of evolver, which would take a second: it has its messages as bytes.
BEGINNING = f"""
import os, sys, time
from pathlib import Path
HERE, WITH_ONE_ORDER = {frame(pipe.Here(0.0))}, {frame(pipe.Here(0.0, 1))}
LATE, VERY_LATE = {frame(pipe.Here(5.0))}, {frame(pipe.Here(1e6))}
OVER = {frame(pipe.Over("finished"))}
def say(message):
    os.write(1, message)
def first(name):
    try:
        Path(sys.argv[1], name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
say({frame(pipe.Listening("tcp://127.0.0.1:1"))})
"""
HANGS = "if first('hung'): time.sleep(3600)\n"
LOOP_HANGS = """
if first('hung'):
    while True:
        say(LATE if first('busy') else VERY_LATE)
        time.sleep(0.1)
"""
DEAF = """
if first('hung'):
    while True:
        say(HERE)
        time.sleep(0.1)
"""
CLOSES = """
if first('hung'):
    os.close(0)
    os.close(1)
    time.sleep(3600)
"""
ABORTS = """
for n in range(3):
    if first(f"aborted-{n}"):
        os.abort()
"""
OVER = "say(OVER)\n"


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Make a supervisor of an engine with a text of its own, and a list of what it says."""
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("EVOLVER_RUNTIME", str(tmp_path / "run"))
    folder = tmp_path / "s"
    folder.mkdir()
    said = []

    def begin(text, *, page=None, patience=None):
        settings = Settings(
            folder,
            "small",
            confirmed=True,
            page_port=None if page is None else 0,
            watchdogs=WatchdogsTable(),
        )
        patience = patience or Patience(silent_s=3.0, closed_s=0.5, busy_s=2.0, stuck_s=4.0)
        made = Supervisor(settings, Console(on_event=said.append), patience)
        made._engine.command = [*PYTHON, BEGINNING + text, str(tmp_path)]
        made._recorder.command = [*PYTHON, "import time; time.sleep(3600)"]
        for one in made._pages:
            one.command = [*PYTHON, page, str(tmp_path)]
        return made, said

    return begin


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (HANGS, "it answered nothing for 3 s"),
        (LOOP_HANGS, "its loop asked for no orders for 4 s"),
        (CLOSES, "it answered nothing for 0.5 s"),
    ],
    ids=["hangs", "loop hangs", "closes"],
)
def test_an_engine_that_answers_nothing_is_ended_and_started_again(make, text, why):
    supervisor, said = make(text + OVER)
    with pytest.raises(RecordingError, match="must have a journal"):
        supervisor.run()
    assert f"the engine was ended, as {why}; it is started again" in said
    if text is LOOP_HANGS:
        assert any("has asked for no orders for 5 s" in one for one in said)


SILENT_FOR_A_WHILE = """
while not Path(sys.argv[1], "seen").exists():
    time.sleep(0.01)
say(HERE)
while not Path(sys.argv[1], "over").exists():
    say(HERE)
    time.sleep(0.01)
"""


def test_who_answers_nothing_is_said_so_for_as_long_as_it_does_not(make, tmp_path):
    """Long before it is ended: on the terminal, on the page and in `ctl status`."""
    supervisor, said = make(SILENT_FOR_A_WHILE + OVER, patience=Patience(noticed_s=0.3))
    told = []

    def on_wait(text, _=0):
        told.append((text, supervisor.status().state, before_first_image(tmp_path / "s")))
        (tmp_path / ("seen" if "engine has answered" in text else "over")).touch()

    supervisor._console = replace(supervisor._console, on_wait=on_wait)
    with pytest.raises(RecordingError, match="must have a journal"):
        supervisor.run()
    (silent, state, page), (again, state_again, page_again) = told
    match = re.fullmatch(
        r"the engine has answered nothing since \d\d:\d\d:\d\d; after 30 s of that it is "
        "started again",
        silent,
    )
    assert match
    assert state == page.waiting == silent
    assert (again, state_again, page_again.waiting) == ("starting", "starting", "")
    assert not said  # nothing happened that is to be kept
    assert not (tmp_path / "s" / "silent.json").exists()


def test_an_engine_that_is_aborted_from_outside_is_started_again_each_time(make, monkeypatch):
    monkeypatch.setattr("evolver.live.child_process._BACKOFF_S", (0.0,) * 5)
    supervisor, said = make(ABORTS + OVER)
    with pytest.raises(RecordingError, match="must have a journal"):
        supervisor.run()
    assert said.count("the engine ended with SIGABRT; it is started again") == 3


def test_an_engine_that_does_not_read_holds_nobody_up(make):
    """Notes without end are refused, and a signal still ends the session."""
    supervisor, _ = make(DEAF + OVER, patience=Patience())
    sent = []

    def flood():
        while supervisor.command("note", "x" * 2000, "operator"):
            sent.append(2000)
        supervisor._on_signal(signal.SIGTERM, None)
        supervisor._on_signal(signal.SIGTERM, None)
        supervisor._on_signal(signal.SIGTERM, None)

    apply = supervisor._apply

    def apply_and_flood(message):
        apply(message)
        if not sent and not supervisor.command("note", "first", "operator"):
            return
        flood()

    supervisor._apply = apply_and_flood
    assert "ended by a signal" in supervisor.run()
    assert 100 < len(sent) < 2000


PAGE = """
import sys, time
from pathlib import Path
while not Path(sys.argv[1], "engine").exists():
    time.sleep(0.01)
print("live page: http://127.0.0.1:1/", flush=True)
print("x" * 1_000_000, flush=True)
Path(sys.argv[1], "printed").touch()
time.sleep(3600)
"""
WAITS_FOR_PAGE = """
Path(sys.argv[1], "engine").touch()
while not Path(sys.argv[1], "printed").exists():
    say(HERE)
    time.sleep(0.01)
"""


def test_a_page_may_take_its_time_and_print_what_it_likes(make):
    """It says where it is once the engine runs, and prints more than a pipe holds."""
    supervisor, said = make(WAITS_FOR_PAGE + OVER, page=PAGE)
    with pytest.raises(RecordingError, match="must have a journal"):
        supervisor.run()
    assert "live page: http://127.0.0.1:1/" in said
    assert supervisor.status().page == "http://127.0.0.1:1/"


def test_a_page_that_answers_nothing_is_started_again(make):
    page = """
import sys, time
from pathlib import Path
one = Path(sys.argv[1], "page")
Path(sys.argv[1], "again" if one.exists() else "page").touch()
time.sleep(3600)
"""
    text = """
while not Path(sys.argv[1], "again").exists():
    say(HERE)
    time.sleep(0.01)
"""
    supervisor, said = make(
        text + OVER, page=page, patience=Patience(silent_s=60.0, starting_s=15.0)
    )
    with pytest.raises(RecordingError, match="must have a journal"):
        supervisor.run()
    assert "the page was ended, as it answered nothing for 15 s; it is started again" in said


def test_an_engine_that_cannot_be_started_is_said_so(make):
    supervisor, _ = make(OVER)
    supervisor._engine.command = ["/nowhere/python"]
    for _ in range(4):
        supervisor._again(supervisor._engine, 0.0, "fell")
    supervisor._start(supervisor._engine, 0.0)
    last = supervisor.status().events[-1]
    assert "cannot be started: " in last
    assert "fell 5 times" in last
    assert "fell 5 times" in supervisor.run()


STOPPED_WHILE_LOADING = """
if not first('started'):
    Path(sys.argv[1], 'again').touch()
    say(OVER)
    sys.exit(0)
time.sleep(3600)
"""


def order_once(supervisor, *names):
    """Order as soon as the engine has spoken, before it is heard on."""
    apply, confirmed = supervisor._apply, []

    def apply_and_order(message):
        apply(message)
        while len(confirmed) < len(names):
            confirmed.append(supervisor.command(names[len(confirmed)], "", "operator"))

    supervisor._apply = apply_and_order
    return confirmed


def begun(folder):
    """Make the journal of a session that has recorded something."""
    with JournalWriter(folder / "journal") as journal:
        journal.append(Event(1, "info", "first", ""))


@pytest.mark.parametrize("recorded", [False, True])
def test_an_abort_ends_an_engine_at_once_that_does_not_take_it(
    make, tmp_path, monkeypatch, recorded
):
    """It is frozen, and a stop was confirmed before; what is recorded is folded."""
    supervisor, said = make(
        STOPPED_WHILE_LOADING, patience=Patience(silent_s=3600.0, abort_s=0.5)
    )
    folded = []
    monkeypatch.setattr("evolver.live.supervisor.fold_in_child", lambda *of: folded.append(of))
    if recorded:
        begun(tmp_path / "s")
    confirmed = order_once(supervisor, "stop", "abort")
    reason = supervisor.run()
    assert confirmed == [True, True]
    assert not (tmp_path / "again").exists()
    why = "the engine was ended, as it did not take the abort within 0.5 s"
    assert sum(why in one and "'abort' was ordered" in one for one in said) == 1
    if recorded:
        assert reason == "aborted by operator"
        assert len(folded) == 1
    else:
        assert reason == "failed: aborted by operator before the first image"


def test_who_asks_while_the_recording_is_made_is_told_so(make, tmp_path, monkeypatch):
    supervisor, _ = make(OVER)
    begun(tmp_path / "s")
    answers = []

    def ask(name):
        (listed,) = sessions()
        answers.append(control.ask(listed, control.Request(name)))

    def fold(_journal, _recording, meanwhile):
        for name in ("status", "pause"):
            operator = Thread(target=ask, args=(name,))
            operator.start()
            while operator.is_alive():
                meanwhile()

    monkeypatch.setattr("evolver.live.supervisor.fold_in_child", fold)
    assert supervisor.run() == "finished"
    status, pause = answers
    assert status.status.state == "ended (finished); its recording is being written"
    assert [child.state for child in status.status.children] == ["ended", "ended"]
    assert not pause.ok
    assert pause.text == ("the session has ended (finished); its recording is being written")
    assert sessions() == []


def test_a_stop_outlives_the_engine_that_was_to_obey_it(make, tmp_path, monkeypatch):
    supervisor, said = make(
        STOPPED_WHILE_LOADING, patience=Patience(silent_s=6.0, starting_s=6.0)
    )  # no less: a process takes as long to begin where others are busy
    monkeypatch.setattr("evolver.live.supervisor.fold_in_child", lambda *_: None)
    begun(tmp_path / "s")
    order_once(supervisor, "stop")
    assert supervisor.run() == "stopped by operator"
    assert not (tmp_path / "again").exists()
    assert any("answered nothing for 6 s; the session ends, as 'stop'" in one for one in said)


def test_a_stop_between_two_engines_ends_the_session(make, tmp_path, monkeypatch):
    monkeypatch.setattr("evolver.live.child_process._BACKOFF_S", (3600.0,) * 5)
    supervisor, said = make("os.kill(os.getpid(), 9)\n")
    monkeypatch.setattr("evolver.live.supervisor.fold_in_child", lambda *_: None)
    begun(tmp_path / "s")
    start_later, confirmed = supervisor._restart_later, []

    def restart_later_and_stop(child, now):
        start_later(child, now)
        child.close_pipes()
        child.process = None
        confirmed.append(supervisor.command("stop", "", "operator"))

    supervisor._restart_later = restart_later_and_stop
    assert supervisor.run() == "stopped by operator"
    assert confirmed == [True]
    assert any("there is no engine for now; the session ends" in one for one in said)


def test_an_abort_that_was_taken_is_waited_for(make):
    text = """
if first('started'):
    for _ in range(15):
        say(WITH_ONE_ORDER)
        time.sleep(0.1)
"""
    supervisor, said = make(text + OVER, patience=Patience(abort_s=0.5))
    order_once(supervisor, "abort")
    with pytest.raises(RecordingError, match="must have a journal"):
        supervisor.run()
    assert not any("did not take the abort" in one for one in said)


def test_a_recorder_that_finds_the_disk_full_is_started_until_it_does_not(
    make, tmp_path, monkeypatch
):
    """However often: it is no verdict on the process. It is said once a minute."""
    monkeypatch.setattr("evolver.live.child_process._BACKOFF_S", (0.0,) * 5)
    waits = """
while not Path(sys.argv[1], "full-7").exists():
    say(HERE)
    time.sleep(0.01)
"""
    recorder = f"""
import sys, time
from pathlib import Path
for n in range(8):
    try:
        Path({str(tmp_path)!r}, f"full-{{n}}").touch(exist_ok=False)
    except FileExistsError:
        continue
    sys.exit({DISK_WAS_FULL})
time.sleep(3600)
"""
    supervisor, said = make(waits + OVER)
    supervisor._recorder.command = [*PYTHON, recorder]
    with pytest.raises(RecordingError, match="must have a journal"):
        supervisor.run()
    assert supervisor.failed is None
    assert said.count("the recorder found the disk full; it is started again") == 1


WANDERS = """
os.set_blocking(0, False)
folder = Path(sys.argv[1], "s")
folder.rename(folder.with_name("away"))
while not Path(sys.argv[1], "over").exists():
    try:
        if b"pause" in os.read(0, 65536):
            Path(sys.argv[1], "paused").touch()
    except BlockingIOError:
        pass
    say(HERE)
    time.sleep(0.05)
"""


def test_a_session_whose_folder_wanders_pauses_and_has_failed_without_it(make, tmp_path):
    supervisor, said = make(WANDERS + OVER)
    folder = tmp_path / "s"
    begun(folder)

    def put_back():
        wait_until((tmp_path / "paused").exists)
        (tmp_path / "away").rename(folder)

    def on_event(text):
        said.append(text)
        if "was moved to" in text:
            Thread(target=put_back).start()
        elif "is in its place again" in text:
            shutil.rmtree(folder)
        elif "was deleted" in text:
            (tmp_path / "over").touch()

    supervisor._console = replace(supervisor._console, on_event=on_event)
    with pytest.raises(RecordingError, match=r"in its place at the end.* deleted"):
        supervisor.run()
    moved, back, deleted = said
    assert f"{folder} was moved to {tmp_path / 'away'}" in moved
    assert "the session pauses" in moved
    assert f"{folder} is in its place again" in back
    assert "was deleted" in deleted
