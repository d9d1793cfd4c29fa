"""Keys: who may speak to an engine that others can reach, and how they know the engine.

CURVE (Curve25519) as ZeroMQ has it: both sides prove who they are, and everything between them
is encrypted. Knows key files and ZeroMQ's authenticator. A CURVE server without an
authenticator lets in any key at all, so there is none here.

The engine's folder holds ``engine.key`` (its own, secret) and ``rigs/NAME.pub``, one file a rig
that is let in: removing the file shuts the rig out, from its next connection on. A rig has one
file, ``NAME.key``, with its own secret and the engine's public key. Secret files are for their
owner alone (0600), and are refused otherwise.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

import zmq
from zmq.auth.thread import ThreadAuthenticator

from rig_bridge.errors import KeyFileError

ENGINE_FILE = "engine.key"
RIGS_FOLDER = "rigs"
_LINE = re.compile(r"^(public|secret|engine) = ([0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40})$")
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
_LARGEST_FILE = 1000
_DOMAIN = "rig"


@dataclass(frozen=True, slots=True)
class RigKey:
    """What a rig proves itself with, and how it knows its engine; Z85, 40 characters each."""

    public: str
    secret: str
    engine: str

    @classmethod
    def load(cls, path: Path) -> RigKey:
        """Read a rig's file.

        Raises
        ------
        KeyFileError
            It cannot be read, is no rig's key, or others may read it.
        """
        values = _read(path, secret=True)
        return cls(*(_value(values, name, path) for name in ("public", "secret", "engine")))

    def protect(self, socket: zmq.Socket[bytes]) -> None:
        """Make a socket that is going to connect speak CURVE."""
        socket.curve_publickey = self.public.encode()
        socket.curve_secretkey = self.secret.encode()
        socket.curve_serverkey = self.engine.encode()


@dataclass(frozen=True, slots=True)
class EngineKeys:
    """The engine's key, and the folder of those it lets in."""

    folder: Path
    public: str
    secret: str

    @classmethod
    def load(cls, folder: Path) -> EngineKeys:
        """Read an engine's folder.

        Raises
        ------
        KeyFileError
            There is no key in it, or others may read it.
        """
        path = folder / ENGINE_FILE
        values = _read(path, secret=True)
        return cls(folder, *(_value(values, name, path) for name in ("public", "secret")))

    def allowed(self) -> dict[str, str]:
        """Return the public key of every rig that is let in, and its name, as of now."""
        rigs: dict[str, str] = {}
        for path in sorted((self.folder / RIGS_FOLDER).glob("*.pub")):
            try:
                rigs[_value(_read(path, secret=False), "public", path)] = path.stem
            except KeyFileError:
                continue  # a file that is being written, or is none of ours, lets nobody in
        return rigs

    def protect(
        self, context: zmq.Context[zmq.Socket[bytes]], socket: zmq.Socket[bytes]
    ) -> Gate:
        """Make a socket that is going to be bound let in the folder's rigs, and no others."""
        gate = Gate(self, context)
        socket.curve_server = True
        socket.curve_publickey = self.public.encode()
        socket.curve_secretkey = self.secret.encode()
        socket.zap_domain = _DOMAIN.encode()
        return gate


class Gate:
    """ZeroMQ's authenticator, asking the folder at every new connection."""

    def __init__(self, keys: EngineKeys, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self._keys = keys
        self._authenticator = ThreadAuthenticator(context)
        self._authenticator.start()
        self._authenticator.configure_curve_callback(domain=_DOMAIN, credentials_provider=self)

    def callback(self, domain: str, key: bytes) -> bool:  # noqa: ARG002  as ZeroMQ calls it
        """Return whether the rig with this public key (Z85) is let in."""
        return key.decode("ascii", "replace") in self._keys.allowed()

    def close(self) -> None:
        """End the authenticator; twice is no error."""
        if self._authenticator.is_alive():
            self._authenticator.stop()


def new_engine(folder: Path) -> EngineKeys:
    """Make an engine's folder and key; one that is there already is kept.

    Raises
    ------
    KeyFileError
        The folder cannot be written to, or what is there is no key.
    """
    try:
        (folder / RIGS_FOLDER).mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(PermissionError):  # no modes there: the key file will tell
            folder.chmod(0o700)
    except OSError as exc:
        raise KeyFileError(f"{folder} cannot be made: {exc.strerror}") from exc
    if not (folder / ENGINE_FILE).exists():
        public, secret = zmq.curve_keypair()
        _write(folder / ENGINE_FILE, public=public.decode(), secret=secret.decode())
    return EngineKeys.load(folder)


def new_rig(folder: Path, name: str, out: Path) -> RigKey:
    """Make a rig's key, let it in, and write the file that goes to the rig.

    Parameters
    ----------
    folder : the engine's
    name : of the rig
    out : file to write; must not exist

    Raises
    ------
    KeyFileError
        The name is taken or cannot be a name, or a file cannot be written.
    """
    if not _NAME.match(name):
        raise KeyFileError(f"a rig's name must be letters, digits, - and _; got {name!r}")
    engine = new_engine(folder)
    listed = folder / RIGS_FOLDER / f"{name}.pub"
    if listed.exists():
        raise KeyFileError(
            f"a rig's name must be new; {name!r} is let in already. Revoke it first"
        )
    public, secret = (key.decode() for key in zmq.curve_keypair())
    key = RigKey(public, secret, engine.public)
    _write(out, public=public, secret=secret, engine=engine.public)
    _write(listed, public=public)
    return key


def revoke(folder: Path, name: str) -> None:
    """Let a rig in no longer, from its next connection on.

    Raises
    ------
    KeyFileError
        No rig of this name is let in.
    """
    path = folder / RIGS_FOLDER / f"{name}.pub"
    if not _NAME.match(name) or not path.exists():
        known = (
            ", ".join(sorted(p.stem for p in (folder / RIGS_FOLDER).glob("*.pub"))) or "none"
        )
        raise KeyFileError(f"a rig that is let in must be named: {known}; got {name!r}")
    path.unlink()


def _write(path: Path, **keys: str) -> None:
    text = "".join(f"{name} = {key}\n" for name, key in keys.items())
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w", encoding="ascii") as file:
            with contextlib.suppress(OSError):
                os.fchmod(file.fileno(), 0o600)
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                path.unlink()
                raise KeyFileError(
                    f"a key must be where files can be for their owner alone; the file system "
                    f"of {path} keeps no modes. Choose a folder on another"
                )
            file.write(text)
    except OSError as exc:
        raise KeyFileError(f"{path} cannot be written: {exc.strerror}") from exc


def _read(path: Path, *, secret: bool) -> dict[str, str]:
    try:
        # Without waiting: a pipe that nobody writes to opens at once, and is refused.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise KeyFileError(f"the key file {path} must be a regular file; it is none")
            data = os.read(descriptor, _LARGEST_FILE + 1)
        finally:
            os.close(descriptor)
    except OSError as exc:
        raise KeyFileError(
            f"the key file {path} cannot be read: {exc.strerror}. 'evolver keys new' makes one"
        ) from exc
    mode = stat.S_IMODE(status.st_mode)
    if secret and mode & 0o077:
        raise KeyFileError(
            f"{path} is secret and must be for its owner alone (0600); it has mode "
            f"{mode:04o}. If nobody has read it:  chmod 600 {path}"
        )
    lines = data.decode("ascii", "replace").splitlines() if len(data) <= _LARGEST_FILE else []
    matches = [_LINE.match(line) for line in lines]
    return {m[1]: m[2] for m in matches if m is not None}


def _value(values: dict[str, str], name: str, path: Path) -> str:
    if name not in values:
        raise KeyFileError(
            f"{path} must be a key file with the line '{name} = …' and has none; make another "
            "with 'evolver keys new'"
        )
    return values[name]
