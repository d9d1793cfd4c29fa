"""How an operator reaches a live session: a socket of its own, apart from the rig's.

Knows the control socket's messages, where sessions of this user are listed, and ZeroMQ; knows
nothing of what a command does. The socket is a file in a folder that only its user can enter:
who may write there may command. Nothing listens on the network.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeAlias

import msgspec
import zmq
from msgspec import Struct

from evolver.errors import ConfigError, ControlError, EvolverError
from evolver.journal.writer import is_locked
from evolver.session.ports import CommandName, Progress
from evolver.session_folder import JOURNAL, LOGS, RECORDING, SESSION_FILE

MAX_BYTES = 64 << 10
MAX_TEXT = 2000
"""Characters of a note, or of a command's reason."""
_LONGEST_SOCKET_PATH = 100  # of the 107 bytes a socket's address has
_LISTING = re.compile(r"[0-9a-f]{12}\.json")

RequestName: TypeAlias = CommandName | Literal["status", "confirm"]


class Request(Struct, frozen=True, forbid_unknown_fields=True):
    """What an operator asks for."""

    name: RequestName
    text: str = ""


def check_text(text: str) -> None:
    """Check a note, or a command's reason.

    Raises
    ------
    ConfigError
        It is too long.
    """
    if len(text) > MAX_TEXT:
        raise ConfigError(
            f"a note or a reason must have at most {MAX_TEXT} characters; it has {len(text)}"
        )


class ChildStatus(Struct, frozen=True):
    """One of the session's processes."""

    name: str
    pid: int
    state: str  # "running", "restarting", "ended"
    restarts: int
    memory_mb: float


class SessionStatus(Struct, frozen=True):
    """Where a session stands."""

    name: str
    folder: str
    state: str  # "starting", "waiting for the rig: …", or the last progress's
    progress: Progress | None  # the last, without its block's scores; None before the first
    waiting: str
    rig_endpoint: str
    page: str
    disk_minutes: float | None
    children: tuple[ChildStatus, ...]
    events: tuple[str, ...]  # the last ones, each with its time of day


class Reply(Struct, frozen=True, forbid_unknown_fields=True):
    """What the session answers."""

    ok: bool
    text: str
    status: SessionStatus | None = None


class Listed(Struct, frozen=True):
    """A live session, as the list of this user's sessions has it."""

    pid: int
    name: str
    folder: str
    control: str


def runtime_folder() -> Path:
    """Return the folder of this user's control sockets, made so that nobody else can enter.

    Raises
    ------
    ControlError
        It cannot be made, is no folder but a link, belongs to someone else, or others may enter
        it.
    """
    folder = Path(os.environ.get("EVOLVER_RUNTIME", "") or _default_runtime())
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        entry = folder.lstat()
    except OSError as exc:
        raise ControlError(
            f"{folder} must be a folder for control sockets; it cannot be made: "
            f"{exc.strerror}. Set EVOLVER_RUNTIME to another"
        ) from exc
    if not stat.S_ISDIR(entry.st_mode):
        raise ControlError(
            f"{folder} must be a folder and not a link to one, for a link may lead anywhere; "
            "set EVOLVER_RUNTIME to the folder itself"
        )
    if entry.st_uid != os.getuid() or stat.S_IMODE(entry.st_mode) & 0o077:
        raise ControlError(
            f"{folder} must belong to you alone (mode 0700), for who can enter it commands "
            f"your sessions; it has mode {stat.S_IMODE(entry.st_mode):04o} and owner "
            f"{entry.st_uid}. Mend it with  chmod 700 {folder}"
        )
    return folder


def _default_runtime() -> Path:
    run = os.environ.get("XDG_RUNTIME_DIR", "")
    if run:
        return Path(run) / "evolver"
    return Path(tempfile.gettempdir()) / f"evolver-{os.getuid()}"


class ControlServer:
    """Answers operators; a context manager.

    Parameters
    ----------
    session_id, name, folder : of the session, for its place in the list
    """

    def __init__(self, *, session_id: str, name: str, folder: Path) -> None:
        where = runtime_folder()
        self._path = where / f"{session_id[:12]}.sock"
        self._listing = where / f"{session_id[:12]}.json"
        if len(os.fsencode(self._path)) > _LONGEST_SOCKET_PATH:
            raise ControlError(
                f"the control socket's path must be at most {_LONGEST_SOCKET_PATH} bytes; "
                f"{self._path} is longer. Set EVOLVER_RUNTIME to a shorter folder"
            )
        self._path.unlink(missing_ok=True)
        self._context = zmq.Context()
        self.socket = self._context.socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.MAXMSGSIZE, MAX_BYTES)
        self.socket.setsockopt(zmq.RCVHWM, 16)
        self.socket.bind(f"ipc://{self._path}")
        self._path.chmod(0o600)
        listed = Listed(os.getpid(), name, str(folder), str(self._path))
        self._listing.write_bytes(msgspec.json.encode(listed))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def answer(self, act: Callable[[Request], Reply]) -> None:
        """Answer every request that has come; malformed ones are told what is wrong."""
        while self.socket.poll(0):
            peer, *frames = self.socket.recv_multipart(zmq.NOBLOCK)
            if len(frames) != 1:
                continue
            try:
                request = msgspec.msgpack.decode(frames[0], type=Request)
                check_text(request.text)
            except msgspec.MsgspecError as exc:
                reply = Reply(ok=False, text=f"not a request: {exc}")
            except ConfigError as exc:
                reply = Reply(ok=False, text=str(exc))
            else:
                reply = act(request)
            self.socket.send_multipart([peer, msgspec.msgpack.encode(reply)], zmq.NOBLOCK)

    def close(self) -> None:
        """Close the socket and leave the list."""
        if not self.socket.closed:
            self.socket.close(linger=0)
            self._context.term()
            self._listing.unlink(missing_ok=True)
            self._path.unlink(missing_ok=True)


def sessions() -> list[Listed]:
    """Return this user's live sessions; those whose process is gone are taken off the list.

    Files that no `ControlServer` can have written are neither read nor touched.
    """
    live: list[Listed] = []
    for path in sorted(runtime_folder().iterdir()):
        listed = _read_listing(path)
        if listed is None:
            continue
        try:
            os.kill(listed.pid, 0)
        except ProcessLookupError:
            path.unlink(missing_ok=True)
            continue
        except OSError:
            continue  # the number is another user's process by now
        live.append(listed)
    return live


def _read_listing(path: Path) -> Listed | None:
    """Return what a `ControlServer` wrote into a file; None where it wrote none."""
    if not _LISTING.fullmatch(path.name):
        return None
    try:
        entry = path.lstat()
        if not stat.S_ISREG(entry.st_mode) or entry.st_uid != os.getuid():
            return None
        with path.open("rb") as file:
            listed = msgspec.json.decode(file.read(MAX_BYTES), type=Listed)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    own = path.with_suffix(".sock")
    return listed if listed.pid > 0 and listed.control == str(own) else None


def check_not_running(folder: Path) -> None:
    """Check that no process runs the session of a folder.

    Raises
    ------
    ControlError
        One does.
    """
    for listed in sessions():
        if Path(listed.folder).resolve() == folder.resolve():
            raise ControlError(
                f"the session in {folder} must have ended before it is resumed; process "
                f"{listed.pid} runs it. 'evolver ctl status' says where it stands, and "
                "'evolver ctl resume' ends a pause"
            )
    if is_locked(folder / JOURNAL):
        raise ControlError(
            f"the session in {folder} must have ended before it is resumed; another process "
            "writes its journal. End that one first"
        )


def find_session(folder: Path | None) -> Listed:
    """Return the live session in `folder`, or the only one there is.

    Raises
    ------
    ConfigError
        There is none, or several and `folder` does not say which. Of none, the message names
        the newest session in the usual folder of recordings here, where that can go on.
    """
    live = sessions()
    if folder is not None:
        live = [s for s in live if Path(s.folder).resolve() == folder.resolve()]
    if len(live) == 1:
        return live[0]
    if not live:
        where = "" if folder is None else f" in {folder}"
        if folder is not None and _can_go_on(folder):
            raise ConfigError(
                f"no live session{where}; the session there has not finished: "
                f"'evolver resume {folder}' goes on with it"
            )
        text = f"no live session{where}; 'evolver serve SESSION.toml' starts one"
        if folder is None and (newest := _newest_unfinished()) is not None:
            text += f", 'evolver resume {newest}' goes on with the one that was interrupted"
        raise ConfigError(text)
    names = "\n".join(f"  {listed.folder}" for listed in live)
    raise ConfigError(f"{len(live)} sessions are live; say which with --session:\n{names}")


def _newest_unfinished() -> Path | None:
    """Return the newest session's folder in the usual one for recordings, if it can go on.

    One with a recording was brought to an end; of others none but the newest is read.
    """
    from evolver.config import SessionTable

    recordings = Path(SessionTable("any").folder)
    try:
        folders = [path for path in recordings.iterdir() if (path / JOURNAL).is_dir()]
        newest = max(folders, key=lambda path: path.stat().st_mtime, default=None)
    except OSError:
        return None
    if newest is None or (newest / RECORDING).exists() or is_locked(newest / JOURNAL):
        return None
    return newest if _can_go_on(newest) else None


def _can_go_on(folder: Path) -> bool:
    """Whether 'evolver resume' goes on with the session of a folder, as far as is readable."""
    from evolver.journal.history import find_history

    try:
        history = find_history(folder / JOURNAL)
    except (EvolverError, OSError):
        return False  # 'evolver resume' says what is wrong with it
    if history is not None:
        return history.ended != "finished"
    nothing_recorded = (folder / SESSION_FILE).is_file() and (folder / LOGS).is_dir()
    return nothing_recorded and not (folder / RECORDING).exists()


def ask(listed: Listed, request: Request, *, timeout_s: float = 5.0) -> Reply:
    """Ask a live session; return its answer.

    Raises
    ------
    ControlError
        It does not answer in time, or not as this version does.
    ConfigError
        The text is too long.
    """
    check_text(request.text)
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.MAXMSGSIZE, 1 << 20)
    try:
        socket.connect(f"ipc://{listed.control}")
        socket.send(msgspec.msgpack.encode(request))
        deadline = time.monotonic() + timeout_s
        while not socket.poll(max(0, round((deadline - time.monotonic()) * 1000))):
            if time.monotonic() >= deadline:
                raise ControlError(
                    f"the session in {listed.folder} (process {listed.pid}) must answer within "
                    f"{timeout_s:g} s and does not. Ask again; if it answers nothing for a "
                    f"minute, end it with  kill -9 {listed.pid}  and go on with  "
                    f"evolver resume {listed.folder}"
                )
        return msgspec.msgpack.decode(socket.recv(), type=Reply)
    except msgspec.MsgspecError as exc:
        raise ControlError(
            f"the session in {listed.folder} must answer as this version does; {exc}"
        ) from exc
    finally:
        socket.close(linger=0)
        context.term()
