"""The list of live sessions holds its own files only, and touches no other."""

import fcntl
import os
import subprocess
from pathlib import Path

import msgspec
import pytest

from evolver.errors import ConfigError, ControlError
from evolver.journal.records import Event, RunEnd, RunStart
from evolver.journal.writer import JournalWriter
from evolver.live import control
from tests.limits import PATIENCE_S

NAME = "0123456789ab"
START = RunStart(1, "0" * 32, "s", "", 1, "live", "", (), (), {}, {}, (-100.0, 300.0))


@pytest.fixture
def runtime(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("EVOLVER_RUNTIME", str(folder))
    return folder


def listing(runtime, name=NAME, **changes):
    """Write a listing as a server does, with changes."""
    made = control.Listed(os.getpid(), "small", "/somewhere", str(runtime / f"{name}.sock"))
    path = runtime / f"{name}.json"
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(made, **changes)))
    return path


def ended_process():
    process = subprocess.Popen(["true"])
    process.wait(PATIENCE_S)
    return process.pid


def test_a_session_whose_process_is_gone_is_taken_off_the_list(runtime):
    gone = listing(runtime, "fedcba987654", pid=ended_process())
    kept = listing(runtime)
    assert [one.control for one in control.sessions()] == [str(runtime / f"{NAME}.sock")]
    assert not gone.exists()
    assert kept.exists()


@pytest.mark.parametrize("name", ["settings.json", f"{NAME}.json", f"{NAME}0.json"])
@pytest.mark.parametrize("content", [b"{}", b"\xff\xfe", b"[" * 70_000, b""])
def test_a_file_that_no_server_wrote_stays(runtime, name, content):
    path = runtime / name
    path.write_bytes(content)
    assert control.sessions() == []
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "changes", [{"control": "/elsewhere.sock"}, {"pid": -1}, {"pid": 0}], ids=str
)
def test_a_listing_of_another_socket_or_of_no_process_stays(runtime, changes):
    path = listing(runtime, **{"pid": ended_process(), **changes})
    assert control.sessions() == []
    assert path.exists()


def test_links_and_pipes_are_not_followed(runtime, tmp_path):
    target = listing(runtime, pid=ended_process()).rename(tmp_path / "elsewhere.json")
    (runtime / f"{NAME}.json").symlink_to(target)
    os.mkfifo(runtime / "fedcba987654.json")
    assert control.sessions() == []
    assert target.exists()
    assert (runtime / f"{NAME}.json").is_symlink()


def test_a_runtime_folder_that_is_a_link_is_refused(runtime, tmp_path, monkeypatch):
    link = tmp_path / "link"
    link.symlink_to(runtime)
    monkeypatch.setenv("EVOLVER_RUNTIME", str(link))
    with pytest.raises(ControlError, match="not a link"):
        control.sessions()


def test_a_runtime_folder_that_cannot_be_made_is_said(monkeypatch):
    monkeypatch.setenv("EVOLVER_RUNTIME", "/proc/evolver")
    with pytest.raises(ControlError, match="EVOLVER_RUNTIME"):
        control.sessions()


def test_a_session_that_runs_is_not_resumed(runtime, tmp_path):
    control.check_not_running(tmp_path)
    listing(runtime, folder=str(tmp_path))
    with pytest.raises(ControlError, match=f"process {os.getpid()} runs it"):
        control.check_not_running(tmp_path)


@pytest.mark.usefixtures("runtime")
def test_nor_is_one_whose_journal_another_process_writes(tmp_path):
    lock = tmp_path / "journal" / "journal.lock"
    lock.parent.mkdir()
    with lock.open("w") as held:
        control.check_not_running(tmp_path)
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ControlError, match="another process writes its journal"):
            control.check_not_running(tmp_path)


@pytest.mark.usefixtures("runtime")
@pytest.mark.parametrize(
    ("recorded", "wanted"),
    [
        ((), "'evolver serve SESSION.toml' starts one"),
        ((START,), "'evolver resume {}' goes on with it"),
        ((START, RunEnd(2, "aborted by operator")), "'evolver resume {}' goes on with it"),
        ((START, RunEnd(2, "finished")), "'evolver serve SESSION.toml' starts one"),
        ((Event(1, "info", "note", "no start"),), "'evolver serve SESSION.toml' starts one"),
    ],
    ids=["nothing", "interrupted", "aborted", "finished", "damaged"],
)
def test_who_asks_for_a_session_that_is_not_live_is_told_how_it_goes_on(
    tmp_path, recorded, wanted
):
    (tmp_path / "session.toml").touch()
    if recorded:
        with JournalWriter(tmp_path / "journal") as journal:
            for record in recorded:
                journal.append(record)
            journal.sync()
    with pytest.raises(ConfigError) as caught:
        control.find_session(tmp_path)
    assert str(caught.value).startswith(f"no live session in {tmp_path}; ")
    assert str(caught.value).endswith(wanted.format(tmp_path))


@pytest.mark.usefixtures("runtime")
def test_one_that_was_killed_before_its_first_record_goes_on_too(tmp_path):
    (tmp_path / "session.toml").touch()
    (tmp_path / "logs").mkdir()
    with pytest.raises(ConfigError, match=f"'evolver resume {tmp_path}' goes on with it"):
        control.find_session(tmp_path)


@pytest.mark.usefixtures("runtime")
def test_who_names_no_folder_is_told_of_the_newest_session_here_if_it_can_go_on(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"'evolver serve SESSION.toml' starts one$"):
        control.find_session(None)
    for k, name in enumerate(("old", "new")):
        with JournalWriter(Path("recordings", name, "journal")) as journal:
            journal.append(START)
            journal.sync()
        Path("recordings", name, "session.toml").touch()
        os.utime(Path("recordings", name), (k, k))
    with pytest.raises(ConfigError, match=r"'evolver resume recordings/new' goes on with"):
        control.find_session(None)
    Path("recordings", "new", "session.h5").touch()
    os.utime(Path("recordings", "new"), (5, 5))
    with pytest.raises(ConfigError, match=r"'evolver serve SESSION.toml' starts one$"):
        control.find_session(None)


def test_a_note_has_a_limit(runtime):
    listed = control.Listed(os.getpid(), "small", "/somewhere", str(runtime / "no.sock"))
    with pytest.raises(ConfigError, match="at most 2000 characters; it has 60000"):
        control.ask(listed, control.Request("note", "x" * 60_000))


@pytest.mark.usefixtures("runtime")
def test_a_server_holds_to_the_limit_too(tmp_path):
    asked = []

    def act(request):
        asked.append(request)
        return control.Reply(ok=True, text="noted")

    import zmq

    with control.ControlServer(session_id="ab" * 16, name="small", folder=tmp_path) as server:
        (listed,) = control.sessions()
        with zmq.Context() as context, context.socket(zmq.DEALER) as client:
            client.connect(f"ipc://{listed.control}")
            for text in ("x" * 2001, "x" * 2000):
                client.send(msgspec.msgpack.encode(control.Request("note", text)))
                while not client.poll(10):
                    server.answer(act)
                reply = msgspec.msgpack.decode(client.recv(), type=control.Reply)
                assert reply.ok == (len(text) == 2000)
    assert [len(request.text) for request in asked] == [2000]
