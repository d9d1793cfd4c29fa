"""The engine's half of the conversation, as a state machine: events in, actions out.

Knows messages, arrays and the times it is given; no sockets, no clocks, no bytes. A method is
called for whatever happens (a message came, time passed, the rig is gone, the engine wants
images shown) and returns what is to be done, in order: messages to send, events to hand up.

What it promises, whatever the network and the rig do: a result of a presentation that was asked
for is handed up once; a result is acknowledged only after the engine said that it is safe;
what is unanswered is asked for again, with the next attempt number, until it is answered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from msgspec import structs

from rig_bridge import codec
from rig_bridge.delivery import Answers
from rig_bridge.errors import ProtocolError, RequestError, VersionError
from rig_bridge.events import (
    BlockDone,
    EngineWoke,
    Resent,
    Responded,
    RigEvent,
    RigInvalid,
    RigJoined,
    RigLost,
)
from rig_bridge.forms import FORMS
from rig_bridge.messages import (
    MAX_SHOWN_AT_ONCE,
    VERSION,
    Accepted,
    Ack,
    Acknowledged,
    Bye,
    Done,
    End,
    FromEngine,
    FromRig,
    Hello,
    Hold,
    ImageInfo,
    Invalid,
    Level,
    Notice,
    Ping,
    PresentationRequest,
    Refused,
    Response,
    Show,
    Welcome,
)
from rig_bridge.notices import NoticeLimit
from rig_bridge.trials import Array, ShowRequest, TrialResult, unpack_results


@dataclass(frozen=True, slots=True, eq=False)
class SendToRig:
    """An action: send `message` and its arrays to `peer`.

    `header` is the message's frame 0 where it was needed, for checking, before.
    """

    peer: bytes
    message: FromEngine
    arrays: tuple[Array, ...] = ()
    header: bytes | None = None


EngineAction: TypeAlias = SendToRig | RigEvent


@dataclass(slots=True, eq=False)
class _Open:
    """One request with presentations that are not answered yet."""

    request: ShowRequest
    unanswered: dict[int, PresentationRequest]
    sent: bool = False
    due: float | None = None  # resend then at the latest; None: by the answer timeout only


@dataclass(frozen=True, slots=True)
class _Rival:
    """A second rig, while it is not clear whether the first is alive."""

    peer: bytes
    hello: Hello
    now: float  # of its last hello
    since: float  # of its first


_ANOTHER = "another rig is here already, and alive; end it first"


@dataclass(frozen=True, slots=True)
class _Wrong:
    """What in a response cannot be: a field, its value, and what it must be."""

    presentations: tuple[int, ...]
    field: str
    value: str
    allowed: str

    @property
    def text(self) -> str:
        which = f" of presentation {self.presentations[0]}" if self.presentations else ""
        return f"{self.field}{which} must be {self.allowed}; got {self.value}"


class EngineLink:
    """The engine's half.

    Parameters
    ----------
    session : hexadecimal id of the session
    name : the session's, for people
    window_ms : to be recorded around each onset
    places : whether presentations have sizes and positions of their own, so that only a rig
        that states that it heeds them is taken
    answer_timeout_s : resend after so long without a word from the rig while answers are due;
        longer than the longest presentation
    ping_every_s : send a ping so often; how a rig learns that an engine is (still) there
    rival_wait_s : a second rig waits so long for the first to send something or be gone, and is
        then refused; longer than it takes the network to find out that a rig is dead
    """

    RESEND_AT_MOST_EVERY_S = 1.0
    MANY_HELLOS, MANY_HELLOS_S = 5, 5.0  # more than one rig says: every 2 s at most
    MAX_ATTEMPTS_AHEAD = 1000  # that an engine before this one may have used and not recorded
    LONGEST_RESEND_S = 64.0  # between questions that are answered by what cannot be taken
    WELCOMES, WELCOMES_S = 20, 10.0  # more of them are none, from whomever
    BACKLOG_S = 1.5  # for what came while this engine did not listen; a rig waits 2 s to repeat

    def __init__(
        self,
        *,
        session: str,
        name: str,
        window_ms: tuple[float, float],
        places: bool = False,
        answer_timeout_s: float = 30.0,
        ping_every_s: float = 1.0,
        rival_wait_s: float = 7.0,
    ) -> None:
        self.peer: bytes | None = None
        self.hello: Hello | None = None
        self.ended: str | None = None
        self.held = False
        self._welcome = Welcome(session=session, name=name, window_ms=window_ms)
        codec.encode_message(self._welcome)  # refuses an impossible window at once
        self._places = places
        self._answer_timeout_s, self._ping_every_s = answer_timeout_s, ping_every_s
        self._open: list[_Open] = []
        self._answers = Answers()
        self._rival_wait_s = rival_wait_s
        self._rival: _Rival | None = None
        self._hellos: deque[float] = deque(maxlen=self.MANY_HELLOS)
        self._welcomes: deque[float] = deque(maxlen=self.WELCOMES)
        self._notices = NoticeLimit()
        self._invalid = 0  # messages in a row that could not be taken
        self._message_at = self._pinged = 0.0
        self._backlog_until = float("-inf")
        self._welcomed_late = False  # since this engine woke

    # ------------------------------------------------------------------ commands from above

    def show(self, request: ShowRequest, now: float) -> list[EngineAction]:
        """Ask for presentations; kept until answered, sent when a rig is there.

        Raises
        ------
        RequestError
            The request contradicts itself, an earlier one, or a limit of the protocol.
        """
        if self.ended is not None:
            raise RequestError(
                f"nothing can be shown after the end of the session: {self.ended}"
            )
        used = self._answers.last_attempt(request.block)
        if request.attempt <= used:
            raise RequestError(
                f"attempt must be above {used}, the last of block {request.block}; "
                f"got {request.attempt}"
            )
        if request.places and not self._places:
            raise RequestError(
                "presentations have a size or position of their own only in a session that "
                "says so before its rig joins: make the link with places=True"
            )
        waiting = {
            p for o in self._open if o.request.block == request.block for p in o.unanswered
        }
        if twice := waiting & {p.presentation for p in request.presentations}:
            raise RequestError(
                f"presentations {sorted(twice)[:5]} of block {request.block} are asked for "
                "already and not answered yet"
            )
        wanted = tuple(self._with_known(request.block, p) for p in request.presentations)
        request = replace(request, presentations=wanted)
        try:
            message, arrays = self._message(request)
            codec.check_response_arrays(message, arrays)
            header = codec.encode_header(message)
            codec.check_lengths(header, arrays)
        except ProtocolError as exc:
            raise RequestError(str(exc)) from exc
        entry = _Open(request, {p.presentation: p for p in wanted})
        if len(entry.unanswered) != len(wanted):
            raise RequestError("a request must name each presentation once")
        self._open.append(entry)
        self._answers.use(request.block, request.attempt)
        self._answers.forget(request.block, [o.request.block for o in self._open])
        if self.peer is None:
            return []
        entry.sent, self._message_at = True, now
        return [SendToRig(self.peer, message, arrays, header)]

    def ack(self, block: int, presentations: Sequence[int]) -> list[EngineAction]:
        """Say that the last results handed up of these presentations are durable.

        Raises
        ------
        RequestError
            There is no such result: nothing may be acknowledged before it was handed up.
        """
        unknown = [p for p in presentations if not self._answers.delivered(block, p)]
        if unknown:
            raise RequestError(
                f"only results that were handed up can be acknowledged; presentations "
                f"{unknown[:5]} of block {block} were not"
            )
        safe = [(p, self._answers.acknowledge(block, p)) for p in presentations]
        return self._acks(block, safe)

    def hold(self, on: bool, now: float) -> list[EngineAction]:  # noqa: FBT001  the state wanted
        """Have nothing shown after the presentation under way, or go on."""
        self.held = on
        self._message_at = (
            now  # what is not shown cannot be answered: the timeout waits as well
        )
        if self.peer is None:
            return []
        return [SendToRig(self.peer, Hold(self._welcome.session, on))]

    def end(self, reason: str) -> list[EngineAction]:
        """End the session: the rig is to blank its screen; every later hello is answered so."""
        self.ended = reason[:2000]
        self._open.clear()
        return [] if self.peer is None else [SendToRig(self.peer, End(self.ended))]

    # ------------------------------------------------------------------ what happens

    def received(
        self, peer: bytes, message: FromRig, arrays: Sequence[Array], now: float
    ) -> list[EngineAction]:
        """Take a message that `codec` has read."""
        if isinstance(message, Hello):
            return self._received_hello(peer, message, now)
        if peer != self.peer:
            if isinstance(message, Bye) and self._rival and peer == self._rival.peer:
                self._rival = None
            return []  # of an earlier connection, or never welcomed: it will say hello
        self._message_at = now
        if isinstance(message, Bye):
            return self.lost(f"the rig said bye: {message.reason}")
        actions = self._refuse_rival(now)  # the first rig is alive
        match message:
            case Accepted():
                return [*actions, message]
            case Notice():
                return [*actions, *self._notices.admit(f"rig's {message.level}", message, now)]
            case Response():
                return actions + self._received_response(message, arrays, now)
            case Done(block, attempt):
                return actions + self._received_done(block, attempt, now)

    def misread(self, peer: bytes, error: ProtocolError, now: float) -> list[EngineAction]:
        """Take bytes that `codec` could not read."""
        if isinstance(error, VersionError):
            reason = f"this engine speaks protocol version {VERSION}, the rig {error.version}"
            return [
                SendToRig(peer, Refused(reason)),
                *self.notice("refused", "error", f"a rig was refused: {reason}", now),
            ]
        if peer != self.peer:
            return []
        wrong = _Wrong((), "", "", str(error)[:2000])
        return self._dropped(0, wrong, f"the rig sent what is no message: {error}", now)

    def notice(self, kind: str, level: Level, text: str, now: float) -> list[EngineAction]:
        """Return a notice for the session, unless there were many of its kind of late.

        Parameters
        ----------
        kind : what is limited together
        level, text, now : of the notice
        """
        return [*self._notices.admit(kind, Notice(level, text[:2000]), now)]

    def _dropped(self, block: int, wrong: _Wrong, text: str, now: float) -> list[EngineAction]:
        """Say to the rig and to the session that a message of the rig's was dropped, and why.

        The rig hears of every fifth or so of many, as the session does.
        """
        self._invalid += 1
        said = self.notice("invalid", "error", text, now)
        if said and self.peer is not None:
            message = Invalid(
                block=block,
                presentations=wrong.presentations[:MAX_SHOWN_AT_ONCE],
                field=wrong.field[:200],
                value=wrong.value[:200],
                allowed=wrong.allowed,
            )
            said = [SendToRig(self.peer, message), *said]
        return [*said, RigInvalid(text[:2000])]

    def lost(self, reason: str) -> list[EngineAction]:
        """Take the news that the rig is gone."""
        if self.peer is None:
            return []
        self.peer = self.hello = None
        rival, self._rival = self._rival, None
        if rival is None:
            return [RigLost(reason)]
        return [RigLost(reason), *self._received_hello(rival.peer, rival.hello, rival.now)]

    def tick(self, now: float) -> list[EngineAction]:
        """Take the time: ping, and ask again for what is overdue."""
        actions: list[EngineAction] = [*self._notices.due(now)]
        if self.peer is None:
            return actions
        if self._rival is not None and now - self._rival.since >= self._rival_wait_s:
            actions += self._refuse_rival(now)
        if now - self._pinged >= self._ping_every_s:
            actions += self.ping(now)
        silent = not self.held and now - self._message_at >= self._answer_timeout_s
        for entry in list(self._open):
            due = entry.due is not None and now >= entry.due and not self.held
            if silent or due:
                actions += self._send(entry, now)
        return actions

    def woke(self, seconds: float, now: float) -> list[EngineAction]:
        """Take the news that this engine did not listen for so long, and does again.

        What comes now has waited: a rig that said hello every two seconds meanwhile is welcomed
        once and blamed for nothing, and no timeout of the rig's counts what passed.
        """
        self._backlog_until, self._welcomed_late = now + self.BACKLOG_S, False
        self._hellos.clear()
        self._welcomes.clear()
        self._message_at = now
        if self._rival is not None:
            self._rival = replace(self._rival, since=now)
        return [EngineWoke(seconds)]

    def ping(self, now: float) -> list[EngineAction]:
        """Ask the network, not the rig, whether the rig can be reached."""
        if self.peer is None:
            return []
        self._pinged = now
        return [SendToRig(self.peer, Ping(self._welcome.session))]

    def next_attempt(self, block: int) -> int:
        """Return the attempt number that the next `show` of a block must have, or exceed."""
        return self._answers.last_attempt(block) + 1

    @property
    def unanswered(self) -> dict[int, tuple[int, ...]]:
        """Presentations that are asked for and not answered, by block."""
        blocks: dict[int, tuple[int, ...]] = {}
        for entry in self._open:
            block = entry.request.block
            blocks[block] = (*blocks.get(block, ()), *entry.unanswered)
        return blocks

    # ------------------------------------------------------------------ inside

    def _received_hello(self, peer: bytes, hello: Hello, now: float) -> list[EngineAction]:
        if self.ended is not None:
            return [SendToRig(peer, End(self.ended))]
        if refusal := self._unable(hello):
            return self._refuse(peer, hello, refusal, now)
        if self.peer is not None and peer != self.peer:
            if now < self._backlog_until and peer[:1] == b"\0" and hello == self.hello:
                # Said on the connection before: when a rig comes back, ZeroMQ gives what is
                # left of that one a name of its own, which begins with a zero.
                return []
            return self._received_rival(peer, hello, now)
        if now < self._backlog_until:
            if self._welcomed_late and peer == self.peer:
                return []  # it said so more than once while nobody listened
            self._welcomed_late = True
        if len(self._welcomes) == self.WELCOMES and now - self._welcomes[0] < self.WELCOMES_S:
            text = f"more than {self.WELCOMES} hellos in {self.WELCOMES_S:g} s: not answered"
            return self.notice("hellos", "error", text, now)
        self._welcomes.append(now)
        actions = self._refuse_rival(now)
        actions += self._count_hello(peer, now)
        self.peer, self.hello = peer, hello
        self._message_at = self._pinged = now
        actions += [SendToRig(peer, self._welcome), RigJoined(hello)]
        if self.held:
            actions.append(SendToRig(peer, Hold(self._welcome.session, on=True)))
        for entry in list(self._open):
            actions += self._send(entry, now)
        return actions

    def _unable(self, hello: Hello) -> str:
        """Say what the session needs that a rig cannot do; empty where it can do all."""
        pre, post = self._welcome.window_ms
        if hello.window_ms[0] > pre or hello.window_ms[1] < post:
            return (
                f"the session records from {pre} to {post} ms around onset; "
                f"this rig can from {hello.window_ms[0]} to {hello.window_ms[1]}"
            )
        if self._places and not hello.display.places:
            return (
                "the session shows images at sizes and positions of their own; this rig does "
                "not state that it heeds those of each presentation (display.places)"
            )
        return ""

    def _received_rival(self, peer: bytes, hello: Hello, now: float) -> list[EngineAction]:
        """Have a second rig wait until the first sends something, is gone, or is too late."""
        rival = self._rival
        if rival is not None and peer != rival.peer:
            return self._refuse(peer, hello, _ANOTHER, now)
        self._rival = _Rival(peer, hello, now, now if rival is None else rival.since)
        if rival is not None:
            return []
        first = "" if self.hello is None else self.hello.name
        text = f"rig {hello.name!r} wants to join while {first!r} is here; it waits for a sign"
        return [*self.notice("rival", "warning", text, now), *self.ping(now)]

    def _refuse_rival(self, now: float) -> list[EngineAction]:
        rival, self._rival = self._rival, None
        if rival is None:
            return []
        return self._refuse(rival.peer, rival.hello, _ANOTHER, now)

    def _refuse(self, peer: bytes, hello: Hello, reason: str, now: float) -> list[EngineAction]:
        text = f"rig {hello.name!r} was refused: {reason}"
        said = self.notice("refused", "warning", text, now)
        return [SendToRig(peer, Refused(reason)), *said]

    def _count_hello(self, peer: bytes, now: float) -> list[EngineAction]:
        """Notice hellos in quick succession: two programs that take one identity in turns."""
        if peer != self.peer:
            self._hellos.clear()
        self._hellos.append(now)
        often = len(self._hellos) == self.MANY_HELLOS
        if not often or now - self._hellos[0] > self.MANY_HELLOS_S:
            return []
        self._hellos.clear()
        text = (
            f"rig {peer.decode(errors='replace')!r} said hello {self.MANY_HELLOS} times in "
            f"{self.MANY_HELLOS_S:g} s: do two programs use one identity? End one of them"
        )
        return self.notice("hellos", "error", text, now)

    def _received_response(
        self, response: Response, arrays: Sequence[Array], now: float
    ) -> list[EngineAction]:
        block = response.block
        results = unpack_results(response, arrays)
        if wrong := self._contradiction(response, results):
            return self._dropped(block, wrong, f"a response was dropped: {wrong.text}", now)
        if self._answers.is_resumed(block):
            # The engine before may not have recorded its last resend; the rig knows of it.
            self._answers.use(block, response.attempt)
        fresh: list[TrialResult] = []
        again: list[tuple[int, int]] = []
        for result in results:
            key = (block, result.presentation)
            entry = self._asked(*key)
            known = self._answers.delivered(*key)
            if entry is not None:
                known = max(known, entry.unanswered[result.presentation].known_attempt)
            if entry is not None and result.attempt > known:
                del entry.unanswered[result.presentation]
                entry.due = None
                self._answers.deliver(*key, result.attempt)
                fresh.append(result)
            elif self._answers.is_safe(*key, result.attempt):
                again.append((result.presentation, result.attempt))
        actions = self._acks(block, again)
        if fresh:
            self._invalid = 0
            actions.append(Responded(block, tuple(fresh)))
            self._open = [entry for entry in self._open if entry.unanswered]
            if all(entry.request.block != block for entry in self._open):
                actions.append(BlockDone(block, self._answers.last_attempt(block)))
        return actions

    def _contradiction(
        self, response: Response, results: Sequence[TrialResult]
    ) -> _Wrong | None:
        """Return what in a response cannot be, by what the rig said or was asked."""
        every = tuple(result.presentation for result in results)
        if self.hello is None:
            return _Wrong(every, "response", "one without a hello", "after a hello")
        capabilities = self.hello.capabilities
        if response.form not in capabilities:
            allowed = f"one of {capabilities}, as said in the hello"
            return _Wrong(every, "form", repr(response.form), allowed)
        n = len(self.hello.units)
        for result in results:
            if got := _foreign_units(result, n):
                allowed = f"those of the hello, {n} of them (0 to {n - 1})"
                return _Wrong((result.presentation,), "units", got, allowed)
        return self._unasked(response, results)

    def _unasked(self, response: Response, results: Sequence[TrialResult]) -> _Wrong | None:
        """Return which attempt in a response is above every one that was asked for.

        Of a block that an engine before this one asked for, what it asked for last may not be
        on record, so that attempts a little above are no fault of the rig's.
        """
        block = response.block
        last = self._answers.last_attempt(block)
        if not last:
            return None  # of no request of this engine's: nothing of it is taken
        resumed = self._answers.is_resumed(block)
        highest = last + self.MAX_ATTEMPTS_AHEAD if resumed else last
        if response.attempt > highest:
            every = tuple(result.presentation for result in results)
            allowed = f"at most {highest}; the last of block {block} is {last}"
            return _Wrong(every, "attempt", str(response.attempt), allowed)
        for result in results if not resumed else ():
            number = result.presentation
            entry = self._asked(block, number)
            if entry is not None and result.attempt > entry.request.attempt:
                allowed = f"at most {entry.request.attempt}, under which it was asked for last"
                return _Wrong((number,), "attempt", str(result.attempt), allowed)
        return None

    def _received_done(self, block: int, attempt: int, now: float) -> list[EngineAction]:
        """Ask again, soon, for what the rig believes it has answered."""
        for entry in self._open:
            request = entry.request
            if request.block == block and request.attempt <= attempt and entry.due is None:
                # A rig that answers wrongly each time is asked less and less often.
                wait = self.RESEND_AT_MOST_EVERY_S * 2.0 ** min(self._invalid, 10)
                entry.due = now + min(wait, self.LONGEST_RESEND_S)
        return []

    def _asked(self, block: int, presentation: int) -> _Open | None:
        for entry in self._open:
            if entry.request.block == block and presentation in entry.unanswered:
                return entry
        return None

    def _with_known(self, block: int, p: PresentationRequest) -> PresentationRequest:
        known = max(p.known_attempt, self._answers.delivered(block, p.presentation))
        return p if known == p.known_attempt else structs.replace(p, known_attempt=known)

    def _send(self, entry: _Open, now: float) -> list[EngineAction]:
        """Send a request, or what is unanswered of it again under a new attempt number."""
        if self.peer is None:
            return []
        resent: list[EngineAction] = []
        if entry.sent:
            block = entry.request.block
            attempt = self._answers.last_attempt(block) + 1
            self._answers.use(block, attempt)
            entry.request = _remaining(
                entry.request, entry.unanswered.values(), attempt=attempt
            )
            resent = [Resent(block, entry.request.attempt, tuple(entry.unanswered))]
            entry.unanswered = {p.presentation: p for p in entry.request.presentations}
        entry.sent, entry.due = True, None
        self._message_at = now  # so that the answer timeout counts from here
        return [*resent, SendToRig(self.peer, *self._message(entry.request))]

    def _message(self, request: ShowRequest) -> tuple[Show, tuple[Array, ...]]:
        if len(request.images) != len(request.sha256):
            raise RequestError(
                f"sha256 must have one digest per image, {len(request.images)}; "
                f"got {len(request.sha256)}"
            )
        try:
            images = tuple(
                ImageInfo(sha256, "|u1", (image.shape[0], image.shape[1], 3))
                for image, sha256 in zip(request.images, request.sha256, strict=True)
            )
        except IndexError as exc:
            raise RequestError("images must be (h, w, 3) uint8") from exc
        message = Show(
            session=self._welcome.session,
            block=request.block,
            attempt=request.attempt,
            images=images,
            presentations=request.presentations,
            size_deg=request.size_deg,
            position_deg=request.position_deg,
        )
        return message, request.images

    def _acks(self, block: int, results: Sequence[tuple[int, int]]) -> list[EngineAction]:
        if self.peer is None or not results:
            return []
        return [SendToRig(self.peer, Ack(block, tuple(Acknowledged(*r) for r in results)))]


def _foreign_units(result: TrialResult, n: int) -> str:
    """Return which units, or how many, a response has that the hello has not; '' for none."""
    if result.form == "spikes":
        units = result.arrays["units"]
        largest = int(units.max()) if len(units) else 0
        return f"unit {largest}" if largest >= n else ""
    for array in FORMS[result.form]:
        if "u" in array.axes:
            number = result.arrays[array.name].shape[array.axes.index("u")]
            if number != n:
                return f"{number} units"
    return ""


def _remaining(
    request: ShowRequest, presentations: Iterable[PresentationRequest], *, attempt: int
) -> ShowRequest:
    """Return a request for some of the presentations, with only the images these need."""
    wanted = tuple(presentations)
    needed = sorted({p.image for p in wanted})
    return replace(
        request,
        attempt=attempt,
        images=tuple(request.images[i] for i in needed),
        sha256=tuple(request.sha256[i] for i in needed),
        presentations=tuple(structs.replace(p, image=needed.index(p.image)) for p in wanted),
    )
