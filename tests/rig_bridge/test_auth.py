"""Keys: the right one is let in, no other is, and secrets are for their owner alone."""

import os
import stat
import threading

import pytest
import zmq

from rig_bridge.auth import EngineKeys, RigKey, new_engine, new_rig, revoke
from rig_bridge.client import RigClient
from rig_bridge.errors import EndpointError, KeyFileError
from rig_bridge.events import RigJoined
from rig_bridge.server import EngineServer
from tests.limits import PATIENCE_S
from tests.rig_bridge.samples import SESSION, hello


class Blind:
    def prepare(self, images): ...

    def present(self, image, request): ...

    def blank(self): ...


@pytest.fixture
def keys(tmp_path):
    folder = tmp_path / "keys"
    key = new_rig(folder, "setup-1", tmp_path / "setup-1.key")
    return folder, key


def joins(server, key, seconds=PATIENCE_S):
    """Whether a rig with this key is welcomed."""
    client = RigClient(server.endpoint, hello=hello(), presenter=Blind(), identity="r", key=key)
    done = threading.Event()
    thread = threading.Thread(target=client.run, kwargs={"stop": done.is_set})
    thread.start()
    try:
        for _ in range(round(seconds / 0.1)):
            if any(isinstance(event, RigJoined) for event in server.poll(0.1)):
                return True
        return False
    finally:
        done.set()
        while thread.is_alive():
            server.poll(0.01)
            thread.join(0.01)


def serve(folder):
    return EngineServer(
        "tcp://127.0.0.1:*", session=SESSION, name="s", keys=EngineKeys.load(folder)
    )


def test_the_rig_that_was_let_in_joins(keys, tmp_path):
    folder, key = keys
    assert RigKey.load(tmp_path / "setup-1.key") == key
    with serve(folder) as server:
        assert joins(server, key)


def test_nobody_else_does(keys, tmp_path):
    folder, key = keys
    stranger = new_rig(tmp_path / "other", "x", tmp_path / "x.key")
    wrong_engine = RigKey(key.public, key.secret, stranger.engine)
    unknown = RigKey(stranger.public, stranger.secret, key.engine)
    mixed = RigKey(key.public, stranger.secret, key.engine)
    with serve(folder) as server:
        for wrong in (None, wrong_engine, unknown, mixed):
            assert not joins(server, wrong, seconds=1.0), wrong
        assert joins(server, key)  # and it still lets in who may


def test_a_rig_that_was_revoked_is_shut_out_while_the_engine_runs(keys):
    folder, key = keys
    with serve(folder) as server:
        assert joins(server, key)
        revoke(folder, "setup-1")
        assert not joins(server, key, seconds=1.0)


def test_a_key_made_while_the_engine_runs_is_let_in(keys, tmp_path):
    folder, _ = keys
    with serve(folder) as server:
        key = new_rig(folder, "setup-2", tmp_path / "setup-2.key")
        assert joins(server, key)


def test_secret_files_are_for_their_owner_alone(keys, tmp_path):
    folder, _ = keys
    for path in (folder / "engine.key", tmp_path / "setup-1.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.chmod(0o640)
    with pytest.raises(KeyFileError, match="has mode 0640"):
        EngineKeys.load(folder)
    with pytest.raises(KeyFileError, match="chmod 600"):
        RigKey.load(tmp_path / "setup-1.key")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_other_addresses_are_refused_without_keys_and_bound_with_them(keys):
    folder, _ = keys
    with pytest.raises(EndpointError, match="evolver keys new"):
        EngineServer("tcp://0.0.0.0:*", session=SESSION, name="s")
    keyed = EngineKeys.load(folder)
    with EngineServer("tcp://0.0.0.0:*", session=SESSION, name="s", keys=keyed) as server:
        assert server.endpoint.startswith("tcp://0.0.0.0:")


def test_mistakes_are_said(keys, tmp_path):
    folder, _ = keys
    with pytest.raises(KeyFileError, match="Revoke it first"):
        new_rig(folder, "setup-1", tmp_path / "again.key")
    with pytest.raises(KeyFileError, match="letters, digits"):
        new_rig(folder, "../up", tmp_path / "up.key")
    with pytest.raises(KeyFileError, match="cannot be written"):
        new_rig(folder, "setup-3", tmp_path / "setup-1.key")
    with pytest.raises(KeyFileError, match="setup-1; got 'nobody'"):
        revoke(folder, "nobody")
    with pytest.raises(KeyFileError, match="'evolver keys new' makes one"):
        EngineKeys.load(tmp_path / "none")
    (tmp_path / "junk.key").write_bytes(bytes(range(256)) * 20)
    (tmp_path / "junk.key").chmod(0o600)
    with pytest.raises(KeyFileError, match="with the line 'public"):
        RigKey.load(tmp_path / "junk.key")
    assert new_engine(folder) == EngineKeys.load(folder)  # kept


def test_a_broken_file_among_the_rigs_lets_nobody_in(keys):
    folder, _ = keys
    (folder / "rigs" / "bad.pub").write_text("public = short")
    assert list(EngineKeys.load(folder).allowed().values()) == ["setup-1"]


def test_keys_are_zeromqs(keys):
    _, key = keys
    assert zmq.curve_public(key.secret.encode()).decode() == key.public


def test_where_files_have_no_modes_no_key_is_made(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "no modes here")

    real = os.open
    monkeypatch.setattr(os, "fchmod", refuse)
    monkeypatch.setattr(
        os, "open", lambda path, flags, mode=0o777: real(path, flags, mode | 0o755)
    )
    with pytest.raises(KeyFileError, match="keeps no modes"):
        new_rig(tmp_path / "keys", "setup", tmp_path / "setup.key")
    assert not (tmp_path / "keys" / "engine.key").exists()
    assert not (tmp_path / "setup.key").exists()
