"""The rig's side of the wire on a socket: `RigClient`, and what a rig must be able to do.

Knows ZeroMQ and a clock that is handed in; what to say and when is `RigLink`'s, and how an
image gets onto a screen is the presenter's.
"""

from __future__ import annotations

import contextlib
import logging
import math
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import zmq

from rig_bridge import codec
from rig_bridge.auth import RigKey
from rig_bridge.contact import REFUSALS, Contact, Happened
from rig_bridge.errors import EndpointError, ProtocolError, RefusedError
from rig_bridge.handed_over import VALUE_ERRORS
from rig_bridge.messages import Hello, Invalid, Level
from rig_bridge.rig_link import Prepare, RigAction, RigLink, SendToEngine, StopPresenting
from rig_bridge.sockets import Monitor, set_rig_options
from rig_bridge.trials import Image, Presentation, TrialResult

logger = logging.getLogger(__name__)

_WAKE_S = 0.1
_TRY_S = 2.0
_FAILED_S, _MOST_FAILED_S = 0.05, 2.0  # after a second failure, then twice as long each time
_CONNECTIONS = (Happened.MADE, Happened.LOST)
_COLLECT_S = 0.01
_BYE_LINGER_MS = 500


class Presenter(Protocol):
    """What a rig must be able to do."""

    def prepare(self, images: dict[str, Image]) -> None:
        """Get ready to show these images, (h, w, 3) uint8 by digest; the first comes next."""
        ...

    def present(self, image: Image, request: Presentation) -> TrialResult | None:
        """Show one image, wait until it is over, and return what happened.

        The result is of ``request.presentation`` and ``request.attempt``, and covers
        ``request.window_ms`` around onset. Returns early where the animal breaks fixation.
        None: the window is not over yet, and a `LatePresenter` hands the result over later.
        """
        ...

    def blank(self) -> None:
        """Clear the screen: the session is over, or the rig leaves."""
        ...


@runtime_checkable
class LatePresenter(Presenter, Protocol):
    """A presenter whose `present` may return before the response is complete."""

    def collect(self) -> Sequence[tuple[int, TrialResult]]:
        """Return the results that are complete by now, each with its block; never wait.

        Every presentation for which `present` returned None comes once, under the attempt it
        was presented for, within seconds of its window's end; an aborted one where the
        recording failed.
        """
        ...


@runtime_checkable
class Reporting(Protocol):
    """A presenter, or half of one, that has notices for the people at the engine."""

    def notices(self) -> Sequence[tuple[Level, str]]:
        """Return what people at the engine should read, each once; it goes on record."""
        ...


@dataclass(frozen=True, slots=True)
class Standing:
    """How a rig stands with its engine.

    Parameters
    ----------
    session : id of the session whose presentations it has; "" before the first welcome
    name : the session's, for people
    connected : whether an engine has this rig now
    held : whether the session pauses, and nothing more is to be shown
    """

    session: str = ""
    name: str = ""
    connected: bool = False
    held: bool = False


@runtime_checkable
class Informed(Protocol):
    """A presenter that has somebody to tell how the rig stands with its engine."""

    def stands(self, standing: Standing) -> None:
        """Take how it stands, whenever that has changed; never wait.

        Where it names another session than before, what was presented is wanted by nobody:
        `collect` returns it as aborted, and the images of the new session follow then.
        """
        ...


def _never() -> bool:
    return False


def _standing(link: RigLink) -> Standing:
    welcome = link.welcome
    if welcome is None:
        return Standing()
    return Standing(welcome.session, welcome.name, link.welcomed, link.held)


class RigClient:
    """Connects a presenter to an engine, again and again until the session is over.

    Parameters
    ----------
    endpoint : the engine's address, ``tcp://127.0.0.1:5765``
    hello : who the rig is
    presenter : shows images
    identity : name of the rig on the network. Something random, drawn when the client is made,
        is added to it, so that two programs never take the place of each other
    clock : monotonic, seconds
    group_s : results are sent together so often, and at the end of a block
    late_s : a result that is later than this after its window ended is an aborted showing
    tell : told, for the people at the rig, why no engine has it: at once where it is refused,
        and now and then while there is none; and why its presenter fails, the same words
        once. A warning of this module's log by default
    key : proves who the rig is; an engine that has keys lets in no other

    Raises
    ------
    EndpointError
        The address or the identity cannot be used.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        hello: Hello,
        presenter: Presenter,
        identity: str,
        clock: Callable[[], float] = time.monotonic,
        group_s: float = 0.05,
        key: RigKey | None = None,
        late_s: float = 30.0,
        tell: Callable[[str], None] = logger.warning,
    ) -> None:
        self._key, self._late_s, self._tell = key, late_s, tell
        name = identity.encode()
        if not 1 <= len(name) <= 200 or name[0] == 0:
            raise EndpointError(
                f"an identity must be 1 to 200 bytes and not begin with a zero; "
                f"got {identity!r}"
            )
        codec.encode_message(hello)  # a hello that cannot be sent is refused here
        self.endpoint, self._identity = endpoint, name + b"/" + secrets.token_hex(8).encode()
        self._hello, self._presenter = hello, presenter
        self._late = presenter if isinstance(presenter, LatePresenter) else None
        self._reporting = presenter if isinstance(presenter, Reporting) else None
        self._informed = presenter if isinstance(presenter, Informed) else None
        self._clock, self._group_s = clock, group_s
        self._outbox: deque[list[codec.FrameBytes]] = deque()
        self._stopped: StopPresenting | None = None
        self._fault = ""  # why the presenter failed last

    def run(
        self, *, stop: Callable[[], bool] = _never, idle_timeout_s: float | None = None
    ) -> str:
        """Present what is asked for until the session is over; return why it is.

        Parameters
        ----------
        stop : asked between presentations, and ten times a second while idle; True: leave
        idle_timeout_s : leave when nothing came from an engine for so long; None: never

        Raises
        ------
        RefusedError
            The engine does not want this rig.
        EndpointError
            The address is none.
        """
        context = zmq.Context()
        socket = context.socket(zmq.DEALER)
        set_rig_options(socket, self._identity)
        if self._key is not None:
            self._key.protect(socket)
        monitor = Monitor(socket, attempts=True)
        try:
            try:
                socket.connect(self.endpoint)
            except zmq.ZMQError as exc:
                raise EndpointError(f"cannot connect to {self.endpoint!r}: {exc}") from exc
            return self._run(socket, monitor, stop, idle_timeout_s)
        finally:
            self._outbox.clear()
            self._presenter.blank()
            monitor.close()
            socket.close(linger=_BYE_LINGER_MS)  # for the bye; bounded
            context.term()

    # ------------------------------------------------------------------ inside

    def _run(
        self,
        socket: zmq.Socket[bytes],
        monitor: Monitor,
        stop: Callable[[], bool],
        idle_timeout_s: float | None,
    ) -> str:
        poller = zmq.Poller()
        poller.register(monitor.socket, zmq.POLLIN)
        link, clock = RigLink(self._hello, late_s=self._late_s), self._clock
        self._stopped = None
        message_at = flushed = clock()
        contact = Contact(self.endpoint, keyed=self._key is not None, now=message_at)
        try_at, standing = math.inf, Standing()
        failures, present_at = 0, -math.inf
        while True:
            if stop():
                self._collect(socket, link)
                self._do(socket, link.bye("stopped"))
                return "stopped"
            for happened in monitor.events():
                contact.happened(happened)
                if happened in _CONNECTIONS:
                    made = happened is Happened.MADE
                    self._outbox.clear()
                    self._do(socket, link.connected(clock()) if made else link.disconnected())
                if happened is not Happened.LOST:
                    try_at = clock() + _TRY_S if happened in REFUSALS else math.inf
            if clock() >= try_at:
                try_at = math.inf
                self._connect_again(socket)
            if news := contact.news(clock(), welcomed=link.welcomed):
                self._tell(news)
            if self._receive(socket, link):
                message_at = clock()
            if self._stopped is not None:
                if self._stopped.refused:
                    raise RefusedError(f"the engine refused this rig: {self._stopped.reason}")
                return self._stopped.reason
            if self._informed is not None and standing != (now_so := _standing(link)):
                standing = now_so
                self._informed.stands(standing)
            self._do(socket, link.tick(clock()))
            self._collect(socket, link)
            # A hash takes less than a frame; a batch of them does not.
            self._do(socket, link.verify(at_most=1 if link.is_ready else None))
            due = link.next() if clock() >= present_at else None
            if due is not None:
                result, fault = self._present(*due)
                failures = failures + 1 if fault else 0
                if fault:
                    link.not_presented(fault)
                    self._say_fault(socket, link, fault)
                    # It is asked again at once: not so often that it is all that happens.
                    wait_s = _FAILED_S * 2 ** min(failures - 2, 10) if failures > 1 else 0.0
                    present_at = clock() + min(wait_s, _MOST_FAILED_S)
                elif result is not None:
                    link.presented(result)
                elif self._late is not None:
                    link.presented_for_later(clock())
                    self._collect(socket, link)
                else:
                    raise TypeError(
                        "a presenter must return a result, or have `collect`, by which the "
                        f"result comes later; {type(self._presenter).__name__} did neither"
                    )
            if link.has_unsent and (link.is_idle or clock() - flushed >= self._group_s):
                self._do(socket, link.flush())
                flushed = clock()
            if due is not None:
                continue
            if idle_timeout_s is not None and clock() - message_at >= idle_timeout_s:
                self._do(socket, link.bye("idle"))
                return f"no engine for {idle_timeout_s:g} s"
            poller.register(socket, zmq.POLLIN | (zmq.POLLOUT if self._outbox else 0))
            wake_s = _COLLECT_S if link.is_awaiting else _WAKE_S
            poller.poll(math.ceil(wake_s * 1000))

    def _connect_again(self, socket: zmq.Socket[bytes]) -> None:
        """Try once more where ZeroMQ does not: the key may be listed by now."""
        with contextlib.suppress(zmq.ZMQError):  # not connected, which is what it is about
            socket.disconnect(self.endpoint)
        socket.connect(self.endpoint)

    def _present(self, image: Image, request: Presentation) -> tuple[TrialResult | None, str]:
        """Return what came of a showing, and why it could not be."""
        try:
            return self._presenter.present(image, request), ""
        except VALUE_ERRORS as exc:
            text = f"the presenter failed: {type(exc).__name__}: {exc}"
            text = text.encode(errors="backslashreplace").decode()  # else it cannot be sent
            if text != self._fault:  # else the log would hold little else
                logger.exception("presentation %d is aborted", request.presentation)
            return None, text

    def _say_fault(self, socket: zmq.Socket[bytes], link: RigLink, fault: str) -> None:
        """Tell people on both sides why nothing is shown; the same words once."""
        if fault != self._fault:
            self._fault = fault
            self._do(socket, link.notice("error", fault))
            self._tell(fault)

    def _collect(self, socket: zmq.Socket[bytes], link: RigLink) -> None:
        """Ask the presenter for results that came later, and for its notices."""
        if link.welcomed and self._reporting is not None:
            for level, text in self._reporting.notices():
                self._do(socket, link.notice(level, text))
        if link.is_awaiting and self._late is not None:
            try:
                results = self._late.collect()
            except VALUE_ERRORS as exc:
                logger.exception("what was recorded is lost")
                text = f"the acquisition failed: {type(exc).__name__}: {exc}"
                self._do(socket, link.notice("error", text))
                return
            for block, result in results:
                self._do(socket, link.collected(block, result))

    def _receive(self, socket: zmq.Socket[bytes], link: RigLink) -> bool:
        received = False
        while self._stopped is None:
            try:
                frames = socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                break
            received = True
            try:
                message, arrays = codec.decode_from_engine([f.buffer for f in frames])
            except ProtocolError as error:
                text = f"the engine sent what is no message: {error}"
                self._do(socket, link.notice("error", text))
                continue
            if isinstance(message, Invalid):
                logger.error(
                    "the engine could not take a message of block %d, presentations %s: %s "
                    "must be %s; got %s",
                    message.block,
                    message.presentations,
                    message.field or "it",
                    message.allowed,
                    message.value,
                )
            self._do(socket, link.received(message, arrays, self._clock()))
        return received

    def _do(self, socket: zmq.Socket[bytes], actions: Sequence[RigAction]) -> None:
        for action in actions:
            match action:
                case SendToEngine(message, arrays):
                    self._outbox.append(codec.encode_message(message, arrays))
                case Prepare(images):
                    self._send(socket)  # notices: before what may take long
                    try:
                        self._presenter.prepare(images)
                    except VALUE_ERRORS:  # `present` will say it, of each image
                        logger.exception("images could not be prepared")
                case StopPresenting():
                    self._stopped = action
        self._send(socket)

    def _send(self, socket: zmq.Socket[bytes]) -> None:
        while self._outbox:
            try:
                socket.send_multipart(self._outbox[0], zmq.NOBLOCK)
            except zmq.Again:
                return
            self._outbox.popleft()
