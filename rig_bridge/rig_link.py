"""The rig's half of the conversation, as a state machine: events in, actions out.

Knows messages, arrays and the times it is given; no sockets, no clocks, no bytes, no screen.
A method is called for whatever happens and returns what is to be done, in order.

What it promises: blocks are shown in the order of their numbers; a presentation is shown once
for every time it is asked for and not known; its result, which may come long after the image
went, is kept until the engine acknowledges it, and a repeat of the question is answered from
what is kept; an image whose bytes are not those of its digest is never shown.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from rig_bridge.codec import MAX_FRAME_BYTES
from rig_bridge.handed_over import checked_result
from rig_bridge.messages import (
    VERSION,
    Accepted,
    Ack,
    Bye,
    Done,
    End,
    FromEngine,
    FromRig,
    Hello,
    Hold,
    Invalid,
    Level,
    Notice,
    Ping,
    Refused,
    Show,
    Welcome,
)
from rig_bridge.trials import (
    Array,
    Image,
    Presentation,
    TrialResult,
    aborted,
    may_share,
    pack_results,
)

TRIALS_A_MESSAGE = 64
"""Keeps the header of a response well below its limit."""


@dataclass(frozen=True, slots=True, eq=False)
class SendToEngine:
    """An action: send `message` and its arrays."""

    message: FromRig
    arrays: tuple[Array, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Prepare:
    """An action: these images, by digest, will be presented; get ready for all of them."""

    images: dict[str, Image]


@dataclass(frozen=True, slots=True)
class StopPresenting:
    """An action: the conversation is over. `refused`: the engine does not want this rig."""

    reason: str
    refused: bool = False


RigAction: TypeAlias = SendToEngine | Prepare | StopPresenting


@dataclass(frozen=True, slots=True)
class _Awaited:
    """A presentation that was shown; `due` is when its result must have come."""

    presentation: Presentation
    due: float


def _bytes(result: TrialResult) -> int:
    return sum(array.nbytes for array in result.arrays.values())


def _label(result: TrialResult) -> tuple[int, int]:
    return result.presentation, result.attempt


class RigLink:
    """The rig's half.

    Parameters
    ----------
    hello : what to say first
    hello_every_s : say it again so often until it is answered
    silence_s : an engine that says nothing for so long (it pings every second) is gone, or was
        restarted and does not know this rig: say hello
    late_s : a result that has not come so long after its presentation, and after the window's
        end, never will: the presentation counts as aborted
    """

    def __init__(
        self,
        hello: Hello,
        *,
        hello_every_s: float = 2.0,
        silence_s: float = 5.0,
        late_s: float = 30.0,
    ) -> None:
        self._hello = hello
        self._hello_every_s, self._silence_s, self._late_s = hello_every_s, silence_s, late_s
        self.welcome: Welcome | None = None  # of the session whose presentations are held
        self.welcomed = False  # on this connection
        self.held = False  # the session pauses
        self._queue: deque[Presentation] = deque()
        self._showing: Presentation | None = None
        self._abandoned = False  # what is on screen is of a session that is over
        self._awaited: dict[tuple[int, int], _Awaited] = {}  # (block, presentation)
        self._abandoned_awaited: dict[tuple[int, int, int], float] = {}  # of such a session
        self._last_ns = 0  # when the last presentation ended, on the rig's clock
        self._images: dict[str, Image] = {}
        self._unchecked: dict[str, Image] = {}  # of these, not compared with their digest yet
        self._unprepared: dict[str, Image] = {}  # of these, compared, not handed to prepare yet
        self._attempts: dict[int, int] = {}  # block -> highest attempt asked for
        self._kept: dict[tuple[int, int], TrialResult] = {}  # (block, presentation)
        self._safe: dict[tuple[int, int], int] = {}  # acknowledged attempt, same keys
        self._unsent: list[tuple[int, TrialResult]] = []
        self._undone: set[int] = set()  # blocks that are owed a `done`
        self._message_at = 0.0
        self._hello_at = float("inf")  # nobody to say it to until `connected`

    # ------------------------------------------------------------------ the connection

    def connected(self, now: float) -> list[RigAction]:
        """Take the news of a connection: say hello, first of all."""
        self.welcomed = False
        self._hello_at = self._message_at = now
        return [SendToEngine(self._hello)]

    def disconnected(self) -> list[RigAction]:
        """Take the news that the connection is gone; results are kept, the queue goes on."""
        self.welcomed = False
        self._unsent.clear()  # kept, and asked for again after the next hello
        self._hello_at = float("inf")
        return []

    def tick(self, now: float) -> list[RigAction]:
        """Take the time: say hello again where the engine does not seem to know this rig."""
        actions = self._give_up(now)
        if self.welcomed:
            overdue = now - self._message_at >= self._silence_s
        else:
            overdue = now - self._hello_at >= self._hello_every_s
        return [*actions, *self.connected(now)] if overdue else actions

    # ------------------------------------------------------------------ messages

    def received(
        self, message: FromEngine, arrays: Sequence[Array], now: float
    ) -> list[RigAction]:
        """Take a message that `codec` has read."""
        self._message_at = now
        match message:
            case Welcome():
                return self._received_welcome(message)
            case Refused(reason, version):
                if version != VERSION:
                    reason = f"{reason} (the engine speaks version {version})"
                return [StopPresenting(reason, refused=True)]
            case End(reason):
                self._forget()
                return [SendToEngine(Bye("the session is over")), StopPresenting(reason)]
            case Show():
                return self._received_show(message, arrays)
            case Ack(block, acknowledged):
                for a in acknowledged:
                    self._acknowledged((block, a.presentation), a.attempt)
                return []
            case Hold(session, on):
                if self.welcomed and self.welcome and session == self.welcome.session:
                    self.held = on
                return []
            case Invalid(block=block, presentations=presentations):
                for presentation in presentations:  # shown again when asked for again
                    self._kept.pop((block, presentation), None)
                return []
            case Ping(session):
                if self.welcomed and self.welcome and session != self.welcome.session:
                    return self.connected(now)
                return []

    def notice(self, level: Level, text: str) -> list[RigAction]:
        """Say something that people on the other side should read."""
        return [SendToEngine(Notice(level, text[:2000]))] if self.welcomed else []

    def bye(self, reason: str) -> list[RigAction]:
        """Leave; the engine hears of it even where its welcome is still on the way."""
        if self._hello_at == float("inf"):
            return []
        return [*self.flush(), SendToEngine(Bye(reason[:2000]))]

    # ------------------------------------------------------------------ presenting

    def verify(self, at_most: int | None = None) -> list[RigAction]:
        """Compare images with their digests, in the order in which they came.

        Hashing takes longer than sending, so `accepted` does not wait for it: it is done a
        few at a time while other images are shown, and all at once when there are none. A wrong
        image is dropped, and all that would have shown it is aborted.

        Parameters
        ----------
        at_most : so many images now; None: all

        Returns
        -------
        `Prepare`, once there is nothing left to compare; before it, notices of wrong images
        """
        actions: list[RigAction] = []
        for sha256 in list(self._unchecked)[:at_most]:
            image = self._unchecked.pop(sha256)
            digest = hashlib.sha256(image.data).hexdigest()
            if digest == sha256:
                self._unprepared[sha256] = image
            else:
                actions += self._refuse_image(sha256, digest)
        if self._unprepared and not self._unchecked:
            actions.append(Prepare(self._unprepared))
            self._unprepared = {}
        return actions

    @property
    def is_ready(self) -> bool:
        """Whether the first that waits may be shown: its image is compared and prepared."""
        return (
            bool(self._queue)
            and self._queue[0].sha256 not in self._unchecked
            and self._queue[0].sha256 not in self._unprepared
        )

    def next(self) -> tuple[Image, Presentation] | None:
        """Return what is to be presented now, or None. Until `presented`, it is on screen.

        Nothing comes before `verify` has handed its image to `Prepare`.
        """
        if self._showing is not None or not self.is_ready or self._abandoned_awaited:
            return None
        if self.held:
            return None
        self._showing = self._queue.popleft()
        return self._images[self._showing.sha256], self._showing

    def presented(self, result: TrialResult) -> None:
        """Take the result of what `next` returned; aborted where it cannot be sent.

        Raises
        ------
        ValueError
            Nothing is on the screen.
        """
        asked = self._on_screen()
        if self._leave_screen(asked):
            self._keep(asked.block, self._checked(result, asked))

    def not_presented(self, reason: str) -> None:
        """Take the news that what `next` returned could not be shown: it is aborted.

        Raises
        ------
        ValueError
            Nothing is on the screen.
        """
        asked = self._on_screen()
        if self._leave_screen(asked):
            self._keep(asked.block, self._without_response(asked, reason[:200]))

    def presented_for_later(self, now: float) -> None:
        """Take the news that what `next` returned was shown, and its result comes later.

        Raises
        ------
        ValueError
            Nothing is on the screen.
        """
        asked = self._on_screen()
        # The window may end long after the image; times of the rig's own are not known yet.
        due = now + self._late_s + max(0.0, asked.window_ms[1] / 1000)
        if self._leave_screen(asked):
            self._awaited[asked.block, asked.presentation] = _Awaited(asked, due)
        else:
            self._abandoned_awaited[asked.block, asked.presentation, asked.attempt] = due

    def collected(self, block: int, result: TrialResult) -> list[RigAction]:
        """Take a result that came later; one that nobody waits for (any more) is dropped."""
        if not isinstance(result, TrialResult):  # pyright: ignore[reportUnnecessaryIsInstance]
            text = f"block {block}: what is no TrialResult was dropped: {type(result).__name__}"
            return self.notice("error", text)
        if self._abandoned_awaited.pop((block, *_label(result)), None) is not None:
            return []
        awaited = self._awaited.get((block, result.presentation))
        if awaited is None or awaited.presentation.attempt != result.attempt:
            return self.notice(
                "warning",
                f"block {block}: a result that is not waited for was dropped, of presentation "
                f"{result.presentation}, attempt {result.attempt}",
            )
        del self._awaited[block, result.presentation]
        self._keep(block, self._checked(result, awaited.presentation))
        return []

    def flush(self) -> list[RigAction]:
        """Send the results that are not sent yet, and say which blocks are done."""
        if not self.welcomed:
            return []
        actions: list[RigAction] = []
        group: list[TrialResult] = []
        size = 0
        for i, (block, result) in enumerate(self._unsent):
            group.append(result)
            size += _bytes(result)
            following = self._unsent[i + 1] if i + 1 < len(self._unsent) else None
            if (
                following is None
                or following[0] != block
                or not may_share(result, following[1])
                or any(r.presentation == following[1].presentation for r in group)
                or len(group) == TRIALS_A_MESSAGE
                or size + _bytes(following[1]) > MAX_FRAME_BYTES
            ):
                actions.append(
                    SendToEngine(
                        *pack_results(group, block=block, attempt=self._attempts[block])
                    )
                )
                group, size = [], 0
        self._unsent.clear()
        for block in sorted(self._undone - self._busy_blocks()):
            self._undone.discard(block)
            actions.append(SendToEngine(Done(block, self._attempts[block])))
        return actions

    @property
    def has_unsent(self) -> bool:
        """Whether `flush` would send something."""
        return self.welcomed and bool(self._unsent or self._undone - self._busy_blocks())

    @property
    def is_idle(self) -> bool:
        """Whether nothing is to be presented; results may still be awaited."""
        return self._showing is None and not self._queue

    @property
    def is_awaiting(self) -> bool:
        """Whether results are still to come of what was presented."""
        return bool(self._awaited or self._abandoned_awaited)

    @property
    def kept(self) -> dict[tuple[int, int], TrialResult]:
        """Results that are not acknowledged yet, by (block, presentation)."""
        return dict(self._kept)

    # ------------------------------------------------------------------ inside

    def _acknowledged(self, key: tuple[int, int], attempt: int) -> None:
        self._safe[key] = max(self._safe.get(key, 0), attempt)
        kept = self._kept.get(key)
        if kept is not None and kept.attempt <= attempt:
            del self._kept[key]

    def _on_screen(self) -> Presentation:
        if self._showing is None:
            raise ValueError("a result must be of what is on the screen, and nothing is")
        return self._showing

    def _checked(self, result: TrialResult, asked: Presentation) -> TrialResult:
        return checked_result(
            result,
            asked,
            capabilities=self._hello.capabilities,
            units=len(self._hello.units),
            time_ns=self._last_ns,
        )

    def _leave_screen(self, asked: Presentation) -> bool:
        """Take `asked` off the screen; return whether its session still goes on."""
        self._showing = None
        if self._abandoned:
            self._abandoned = False
            return False
        if all(p.sha256 != asked.sha256 for p in self._queue):
            del self._images[asked.sha256]
        return True

    def _keep(self, block: int, result: TrialResult) -> None:
        self._last_ns = max(self._last_ns, result.offset_ns)
        self._kept[block, result.presentation] = result
        if self.welcomed:
            self._unsent.append((block, result))

    def _give_up(self, now: float) -> list[RigAction]:
        """Count as aborted what was presented too long ago for a result to come."""
        for key in [k for k, due in self._abandoned_awaited.items() if now >= due]:
            del self._abandoned_awaited[key]
        actions: list[RigAction] = []
        for key in [k for k, awaited in self._awaited.items() if now >= awaited.due]:
            asked = self._awaited.pop(key).presentation
            self._keep(asked.block, self._without_response(asked, "no result"))
            text = f"no result came of presentation {asked.presentation}, block {asked.block}"
            actions += self.notice("error", text)
        return actions

    def _refuse_image(self, sha256: str, digest: str) -> list[RigAction]:
        """Drop an image that is not what its digest says, and what would have shown it."""
        del self._images[sha256]
        affected = [p for p in self._queue if p.sha256 == sha256]
        self._queue = deque(p for p in self._queue if p.sha256 != sha256)
        for p in affected:
            self._keep(p.block, self._without_response(p, "digest"))
        blocks = sorted({p.block for p in affected})
        text = f"block {blocks}: an image must have the digest {sha256}; got {digest}"
        return self.notice("error", text)

    def _without_response(self, asked: Presentation, reason: str) -> TrialResult:
        """Return the aborted result of a presentation of which nothing is known."""
        return aborted(
            asked,
            reason,
            form=self._hello.capabilities[0],
            units=len(self._hello.units),
            time_ns=self._last_ns,
        )

    def _busy_blocks(self) -> set[int]:
        busy = {p.block for p in self._queue} | {block for block, _ in self._awaited}
        if self._showing is not None and not self._abandoned:
            busy.add(self._showing.block)
        return busy

    def _forget(self) -> None:
        """Forget everything of a session; what is on screen stays until it is presented.

        Results that are still to come carry no session's name. Nothing of the next session is
        shown before they came, so that none of them can be taken for one of its own.
        """
        for a in self._awaited.values():
            asked = a.presentation
            self._abandoned_awaited[asked.block, asked.presentation, asked.attempt] = a.due
        self._awaited.clear()
        self._queue.clear()
        self._kept.clear()
        self._safe.clear()
        self._unsent.clear()
        self._undone.clear()
        self._attempts.clear()
        self._images.clear()
        self._unchecked.clear()
        self._unprepared.clear()
        self._abandoned = self._showing is not None

    def _received_welcome(self, welcome: Welcome) -> list[RigAction]:
        if welcome.version != VERSION:
            reason = f"the engine speaks protocol version {welcome.version}, this rig {VERSION}"
            return [StopPresenting(reason, refused=True)]
        if self.welcome is not None and self.welcome.session != welcome.session:
            self._forget()
        self.welcome, self.welcomed = welcome, True
        self.held = False  # an engine that still wants it says so again
        self._unsent.clear()
        return []

    def _received_show(self, show: Show, arrays: Sequence[Array]) -> list[RigAction]:
        welcome = self.welcome
        if not self.welcomed or welcome is None or show.session != welcome.session:
            return []
        block = show.block
        kept = [
            result
            for p in show.presentations
            if (result := self._kept.get((block, p.presentation))) is not None
            and result.attempt > p.known_attempt
        ]
        answered = {result.presentation for result in kept}
        under_way = self._under_way()
        fresh = [
            Presentation.of(
                show, p, sha256=show.images[p.image].sha256, window_ms=welcome.window_ms
            )
            for p in show.presentations
            if p.presentation not in answered
            and (block, p.presentation) not in under_way
            # An old request that comes late: the engine has its answer.
            and show.attempt > self._safe.get((block, p.presentation), 0)
        ]
        pixels = {image.sha256: array for image, array in zip(show.images, arrays, strict=True)}
        images = {p.sha256: pixels[p.sha256] for p in fresh if p.sha256 not in self._images}
        asked = {p.presentation for p in show.presentations}
        for i, p in enumerate(self._queue):
            if p.block == block and p.presentation in asked and p.attempt < show.attempt:
                self._queue[i] = replace(p, attempt=show.attempt)
        for p in show.presentations:
            if p.known_attempt:
                self._acknowledged((block, p.presentation), p.known_attempt)
        self._attempts[block] = max(self._attempts.get(block, 0), show.attempt)
        self._undone.add(block)
        # Stable: in the order of blocks, and within a block in the order of asking.
        self._queue = deque(sorted([*self._queue, *fresh], key=lambda p: p.block))
        self._images.update(images)
        self._unchecked.update(images)
        unsent = {(b, r.presentation) for b, r in self._unsent}
        self._unsent += [(block, r) for r in kept if (block, r.presentation) not in unsent]
        actions: list[RigAction] = [SendToEngine(Accepted(block, show.attempt))]
        return [*actions, *self.flush()] if kept else actions

    def _under_way(self) -> set[tuple[int, int]]:
        """Return the (block, presentation) that wait, are on screen, or are awaited."""
        keys = {(p.block, p.presentation) for p in self._queue} | self._awaited.keys()
        if self._showing is not None and not self._abandoned:
            keys.add((self._showing.block, self._showing.presentation))
        return keys
