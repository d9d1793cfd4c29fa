"""A rig that is refused, or finds nobody, says why after seconds: over real sockets."""

import contextlib
import re
import socket
import threading
import time

import pytest

from rig_bridge.auth import EngineKeys, RigKey, new_rig
from rig_bridge.client import RigClient
from rig_bridge.contact import Contact, Happened
from rig_bridge.errors import RefusedError
from rig_bridge.server import EngineServer
from tests.limits import wait_until
from tests.rig_bridge.samples import SESSION, hello
from tests.rig_bridge.test_auth import Blind


def in_a_hurry():
    """A rig's clock, ten times as fast as ours."""
    return time.monotonic() * 10


@contextlib.contextmanager
def rig(endpoint, key=None):
    """A rig of a thread; yields what it tells its people."""
    told, done = [], threading.Event()
    client = RigClient(
        endpoint,
        hello=hello(),
        presenter=Blind(),
        identity="r",
        key=key,
        clock=in_a_hurry,
        tell=told.append,
    )
    thread = threading.Thread(target=client.run, kwargs={"stop": done.is_set})
    thread.start()
    try:
        yield told
    finally:
        done.set()
        thread.join()


@contextlib.contextmanager
def engine(folder=None, endpoint="tcp://127.0.0.1:*"):
    keys = None if folder is None else EngineKeys.load(folder)
    with EngineServer(endpoint, session=SESSION, name="s", keys=keys) as server:
        yield server


def hears(told, said, server=None):
    """Wait until the rig's people are told something."""
    step = None if server is None else lambda: server.poll(0.01)
    wait_until(lambda: any(said in text for text in told), step=step, or_say=lambda: told)


@pytest.fixture
def keys(tmp_path):
    folder = tmp_path / "keys"
    return folder, new_rig(folder, "setup-1", tmp_path / "setup-1.key")


@pytest.fixture
def nobody():
    """An address at which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"tcp://127.0.0.1:{taken.getsockname()[1]}"


class TestSockets:
    def test_nobody_is_there_for_a_while(self, nobody):
        with rig(nobody.replace("127.0.0.1", "localhost")) as told:
            wait_until(lambda: len(told) > 1, or_say=lambda: told)
            for text in told:
                assert re.match(r"still no engine at tcp://localhost:\d+, \d+ s: nothing", text)

    def test_an_engine_that_comes_later_is_said(self):
        with engine() as server:
            endpoint = server.endpoint
        with rig(endpoint) as told:
            hears(told, "nothing listens there")
            with engine(endpoint=endpoint) as server:
                hears(told, "is there, and has this rig", server)

    def test_a_name_that_no_machine_has(self):
        with rig("tcp://no-such-machine.invalid:5571") as told:
            hears(told, "no machine of this name is known here")

    def test_a_key_that_is_not_listed_and_then_is(self, keys):
        folder, key = keys
        listed = folder / "rigs" / "setup-1.pub"
        listed.rename(folder / "setup-1.pub")
        with engine(folder) as server, rig(server.endpoint, key) as told:
            hears(told, "the key is not listed there", server)
            (folder / "setup-1.pub").rename(listed)
            hears(told, "is there, and has this rig", server)

    def test_a_key_of_another_engine(self, keys, tmp_path):
        folder, key = keys
        other = new_rig(tmp_path / "other", "x", tmp_path / "x.key")
        with (
            engine(folder) as server,
            rig(server.endpoint, RigKey(key.public, key.secret, other.engine)) as told,
        ):
            hears(told, "The key file is of another engine", server)

    def test_a_key_where_the_engine_has_none(self, keys):
        with engine() as server, rig(server.endpoint, keys[1]) as told:
            hears(told, "the engine has no keys", server)

    def test_no_key_where_the_engine_has_some(self, keys):
        with engine(keys[0]) as server, rig(server.endpoint) as told:
            hears(told, "The engine wants a key (--key FILE)", server)

    def test_what_listens_and_says_nothing(self):
        with socket.socket() as deaf:
            deaf.bind(("127.0.0.1", 0))
            deaf.listen()
            with rig(f"tcp://127.0.0.1:{deaf.getsockname()[1]}") as told:
                hears(told, "s: nobody answers")

    def test_another_rig_is_connected(self):
        with engine() as server, rig(server.endpoint) as told:
            wait_until(lambda: server.connected, step=lambda: server.poll(0.01))
            second = RigClient(
                server.endpoint, hello=hello(name="second"), presenter=Blind(), identity="s"
            )
            refused = []

            def run():
                with pytest.raises(RefusedError) as caught:
                    second.run()
                refused.append(str(caught.value))

            thread = threading.Thread(target=run)
            thread.start()
            wait_until(lambda: not thread.is_alive(), step=lambda: server.poll(0.01))
            assert "another rig is here already, and alive; end it first" in refused[0]
            assert told == []  # the first is not concerned


def times(contact, seconds):
    """Return the times, of so many seconds, at which something is said."""
    return [now for now in range(seconds) if contact.news(float(now), welcomed=False)]


class TestTimes:
    def test_it_is_said_ever_more_seldom(self):
        assert times(Contact("e", keyed=False, now=0.0), 200) == [5, 20, 60, 120, 180]

    def test_a_refusal_is_said_at_once_and_each_once(self):
        contact = Contact("e", keyed=True, now=0.0)
        contact.happened(Happened.KEY_REFUSED)
        contact.happened(Happened.LOST)
        assert times(contact, 10) == [1, 5]
        contact.happened(Happened.NO_HANDSHAKE)
        assert "does not take this key" in contact.news(11.0, welcomed=False)
        contact.happened(Happened.KEY_REFUSED)
        assert contact.news(12.0, welcomed=False) == ""

    def test_an_engine_that_goes_is_waited_for_anew(self):
        contact = Contact("e", keyed=False, now=0.0)
        contact.happened(Happened.MADE)
        assert contact.news(1.0, welcomed=True) == ""
        assert contact.news(1000.0, welcomed=True) == ""
        contact.happened(Happened.LOST)
        assert contact.news(1004.0, welcomed=False) == ""
        assert contact.news(1005.0, welcomed=False) == (
            "still no engine at e, 5 s: nobody answers. Is the address right, and no firewall "
            "between?"
        )
        assert (
            contact.news(1006.0, welcomed=True) == "the engine at e is there, and has this rig"
        )

    def test_a_connection_without_a_welcome(self):
        contact = Contact("e", keyed=False, now=0.0)
        contact.happened(Happened.MADE)
        assert contact.news(5.0, welcomed=False).startswith(
            "connected to e, and no welcome for 5 s: another rig may be connected"
        )
