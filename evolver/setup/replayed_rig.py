"""A recording as a rig: its responses answer a session, here or across a socket.

Composition, as `simulated_rig` is. A showing that was recorded (this number, this image) is
what it was, with its status, attempt and times; another showing of a recorded image has one of
that image's responses, of the same place where it has one of its own; and where an image was
never shown, the nearest one answers, or an `Encoder`. Each answer says which, and a rig that
replays says so in its name. Where the recording is a replay itself, an answer that was of
another image there is so here: it keeps its word and its distance, and such an image is nearest
to nothing.

Times of what was not recorded go on from the showing before, by a rig's clock that nobody
reads: every onset of a replay counts as "simulated".
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

import msgspec
import numpy as np

from evolver import __version__
from evolver.errors import RecordingError
from evolver.journal.records import REPLAY_OF
from evolver.recording.replay import recorded_results
from evolver.recording.schema import PLACE_COLUMNS
from evolver.session.to_records import result_of
from evolver.setup.nearest_images import UNITS, AskedCode, NearestImages
from rig_bridge.forms import FORMS
from rig_bridge.messages import VERSION, Hello, Level, ScreenInfo, Unit
from rig_bridge.trials import TrialResult, empty_arrays

if TYPE_CHECKING:
    from evolver.recording import Recording
    from rig_bridge.messages import Answer
    from rig_bridge.trials import Image, Presentation

_OwnPlace: TypeAlias = tuple[float, float, float]  # size, right and up, degrees
_GAP_MS = 1000.0
"""Longer than planned by more than this, and a pause between showings is skipped."""
_NAME = 60  # letters of a session's or a file's name in the rig's
_CHAIN = 180  # of the rig's, that names what the recording was played back from too
EXACT_SHARE = 0.9
"""Below this share of recorded answers, a replay warns of what its scores are not."""


class Encoder(Protocol):
    """Answers in place of a recording for images that it does not have.

    Images to responses: a simulated population here, a model fitted to the recording elsewhere.
    """

    def prepare(self, images: dict[str, Image]) -> None:
        """Get ready to answer for these images, (h, w, 3) uint8 by digest."""
        ...

    def present(self, image: Image, request: Presentation) -> TrialResult:
        """Return the response of every unit of the recording to one image, in its form."""
        ...


@dataclass(slots=True)
class ReplaySummary:
    """Whose responses a replay has answered with.

    Attributes
    ----------
    answers : how many, by the recorded word; "recorded" are exact
    distances : of each other answer, by its word
    """

    answers: Counter[str] = field(default_factory=Counter[str])
    distances: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, result: TrialResult) -> None:
        """Take one answer."""
        self.answers[result.answer] += 1
        if result.answer in UNITS:
            self.distances[result.answer].append(result.answer_distance)

    @property
    def exact_share(self) -> float:
        """Share of answers that were recorded of these very images; NaN of none."""
        total = self.answers.total()
        return self.answers["recorded"] / total if total else math.nan

    def text(self) -> str:
        """Say whose responses they were, and how far the images of others were."""
        parts: list[str] = []
        for word, n in sorted(self.answers.items(), key=lambda item: item[0] != "recorded"):
            text = f"{n} {word}"
            if away := self.distances.get(word):
                unit = UNITS[word]  # pyright: ignore[reportArgumentType]
                text += f" (median {np.median(away):.3g}, at most {max(away):.3g} {unit})"
            parts.append(text)
        return ", ".join(parts) or "nothing was asked for"


class ReplayedRig:
    """Answers with a recording's responses; a `Presenter`.

    Parameters
    ----------
    recording : open as long as it answers
    sha256 : of its file, as `file_digest` returns it
    nearest : finds an image where one was never shown
    speed : times faster than it was recorded; `math.inf` waits for nothing
    keep_gaps : wait through pauses too
    ends : whether the session is over with the first showing that is not recorded
    code_of : what is known of an image by its digest, beside its pixels
    sleep : how to wait, seconds

    Raises
    ------
    RecordingError
        No rig answered in it, or several with different units.
    """

    def __init__(
        self,
        recording: Recording,
        *,
        sha256: str,
        nearest: NearestImages,
        speed: float = math.inf,
        keep_gaps: bool = False,
        ends: bool = False,
        code_of: Callable[[str], AskedCode | None] = lambda _: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._recording, self._nearest = recording, nearest
        self._encoder: Encoder | None = None
        self._speed, self._keep_gaps, self._ends = speed, keep_gaps, ends
        self._code_of, self._sleep = code_of, sleep
        self.hello = _hello(recording, sha256)
        self.text = f"{self.hello.name}: no animal answers. Its file is {recording.path}"
        self.inherited = inherited_text(recording)
        self.summary = ReplaySummary()
        table = recording.presentations
        self._table = table
        self._result = recorded_results(recording)
        self._rows: dict[int, list[int]] = defaultdict(list)  # of a presentation, by attempt
        self._planned: set[int] = set(table["presentation"].tolist())
        # Rows that gave a response, by image, and besides by where it was shown.
        self._of_image: dict[int, list[int]] = defaultdict(list)
        self._of_place: dict[tuple[int, _OwnPlace | None], list[int]] = defaultdict(list)
        for row in np.flatnonzero(table["attempt"] > 0).tolist():
            self._rows[int(table["presentation"][row])].append(row)
            if table["status"][row] == "ok" and table["image_id"][row] >= 0:
                image = int(table["image_id"][row])
                self._of_image[image].append(row)
                self._of_place[image, self._place(row)].append(row)
        self._ids = {str(s): i for i, s in enumerate(recording.image_sha256)}
        self._showings: dict[int, tuple[int, int]] = {}  # presentation: attempt, showing
        self._turns: Counter[int] = Counter()  # how often an image's responses were handed out
        self._now_ns, self._before = 0, -1  # rig's clock; row of the showing before, or -1
        self._block = ReplaySummary()
        self._notices: list[tuple[Level, str]] = [("warning", self.text)]
        if self.inherited:
            self._notices.append(("warning", self.inherited))
        self._shown_block: int | None = None

    def use(self, encoder: Encoder) -> None:
        """Have `encoder` answer for images that were never shown, in place of the nearest."""
        self._encoder = encoder

    # ------------------------------------------------------------------ a presenter

    def prepare(self, images: dict[str, Image]) -> None:
        """Get ready to answer for these images."""
        if self._encoder is not None:
            new = {s: i for s, i in images.items() if self._ids.get(s) not in self._of_image}
            if new:
                self._encoder.prepare(new)

    def present(self, image: Image, request: Presentation) -> TrialResult:
        """Answer for one image, after as long as it took."""
        if self._shown_block not in {None, request.block}:
            self._say_block(self._shown_block)
        self._shown_block = request.block
        result, seconds = self.answer(image, request)
        if seconds > 0:
            self._sleep(seconds)
        # Across a socket an answer is of the attempt that asked for it.
        return msgspec.structs.replace(result, attempt=request.attempt)

    def blank(self) -> None:
        """Clear a screen that is not there."""

    def _say_block(self, block: int | None) -> None:
        if block is not None and (text := self.end_block(block)):
            self._notices.append(("info", text))

    def notices(self) -> Sequence[tuple[Level, str]]:
        """Return what people at the engine should read, each once."""
        notices, self._notices = self._notices, []
        return notices

    # ------------------------------------------------------------------ answers

    def is_over(self, request: Presentation) -> bool:
        """Return whether the recorded session ended before this showing was answered."""
        rows = self._rows.get(request.presentation)
        if self._ends:
            return rows is None or self._showing(request) > len(rows)
        missing = request.presentation in self._planned and rows is None
        return missing and request.sha256 in self._ids

    def answer(self, image: Image, request: Presentation) -> tuple[TrialResult, float]:
        """Return the answer to one showing, and how many seconds it takes at this speed.

        Raises
        ------
        RecordingError
            The recording has no response that could stand for it.
        """
        row = self._exact_row(request)
        of_image = self._at_place(self._ids.get(request.sha256, -1), request)
        if row is not None:
            result = self._replayed(row)
            self._now_ns = result.offset_ns + _ns(request.off_ms)
        elif of_image:
            result = self._moved(self._next_of(of_image), request)
        elif self._encoder is not None:
            answered = self._encoder.present(image, request)
            answered = msgspec.structs.replace(answered, answer="encoder")
            result = self._timed(answered, request)
        else:
            found = self._nearest.find(image, self._code_of(request.sha256))
            if found is None:
                raise RecordingError(
                    "a recording must hold an image with a response of its own to answer with; "
                    f"{self._recording.path} holds none that can be compared"
                )
            there = self._at_place(found.image, request)
            if not there:
                raise RecordingError(
                    f"{self._recording.path} must hold a response to an image of "
                    f"{request.size_deg:g} degrees at {request.position_deg} to answer with; "
                    "its images were shown at other places"
                )
            nearest = self._next_of(there)
            result = self._moved(nearest, request, found.answer, found.distance)
        self.summary.add(result)
        self._block.add(result)
        return result, self._seconds(row, request)

    def end_block(self, block: int) -> str:
        """Return what is to be said of the answers since it was last asked; empty: nothing."""
        ended, self._block = self._block, ReplaySummary()
        exact = ended.answers.total() == ended.answers["recorded"]
        return "" if exact else f"block {block}: {ended.text()}"

    def _exact_row(self, request: Presentation) -> int | None:
        """Return the row in which this very showing is recorded; None where none is."""
        rows = self._rows.get(request.presentation)
        if not rows or self._table["image_id"][rows[0]] != self._ids.get(request.sha256, -2):
            return None
        if self._place(rows[0]) not in {None, _place_asked(request)}:
            return None
        showing = self._showing(request)
        self._showings[request.presentation] = request.attempt, showing
        return rows[showing - 1] if showing <= len(rows) else None

    def _showing(self, request: Presentation) -> int:
        """Return which showing of a presentation is asked for, from 1.

        It follows from its attempts, as of a simulated rig: they rise within a session, and a
        lower one is of another session.
        """
        attempt, showing = self._showings.get(request.presentation, (0, 0))
        if request.attempt > attempt:
            return showing + 1
        return 1 if request.attempt < attempt else showing

    def _place(self, row: int) -> _OwnPlace | None:
        """Return the place of its own that a showing had; None: that of its session."""
        size, x, y = (float(self._table[name][row]) for name in PLACE_COLUMNS)
        return (size, x, y) if size else None

    def _at_place(self, image: int, request: Presentation) -> list[int]:
        """Return an image's responses at the place that is asked for, or at its session's."""
        own = self._of_place.get((image, _place_asked(request)))
        return own or self._of_place.get((image, None), [])

    def _next_of(self, rows: Sequence[int]) -> int:
        """Return an image's next response, the first after the last."""
        image = int(self._table["image_id"][rows[0]])
        self._turns[image] += 1
        return rows[(self._turns[image] - 1) % len(rows)]

    def _replayed(self, row: int) -> TrialResult:
        """Return a recorded showing as it was."""
        result = result_of(self._result(row))
        arrays = result.arrays or empty_arrays(
            result.form, units=len(self.hello.units), window_ms=self._recording.window_ms
        )
        return msgspec.structs.replace(
            result,
            arrays=arrays,
            onset_source="simulated",
            answer=result.answer or "recorded",
            answer_of=result.presentation,
        )

    def _moved(
        self, row: int, request: Presentation, answer: Answer = "", distance: float = 0.0
    ) -> TrialResult:
        """Return a recorded showing in the place of another one; `answer`: of another image."""
        result = msgspec.structs.replace(
            self._replayed(row), presentation=request.presentation, attempt=request.attempt
        )
        if answer:
            result = msgspec.structs.replace(result, answer=answer, answer_distance=distance)
        return self._timed(result, request)

    def _timed(self, result: TrialResult, request: Presentation) -> TrialResult:
        """Return a showing as the next one by this rig's clock."""
        onset_ns = self._now_ns + max(0, result.onset_ns - result.commanded_ns)
        offset_ns = onset_ns + max(0, result.offset_ns - result.onset_ns)
        result = msgspec.structs.replace(
            result, commanded_ns=self._now_ns, onset_ns=onset_ns, offset_ns=offset_ns
        )
        self._now_ns = offset_ns + _ns(request.off_ms)
        return result

    def _seconds(self, row: int | None, request: Presentation) -> float:
        """Return how long a showing takes: as recorded after the one before, or as planned."""
        before, self._before = self._before, -1 if row is None else row
        if not math.isfinite(self._speed):
            return 0.0
        planned = step = request.on_ms + request.off_ms
        if row is not None and before >= 0:
            onsets = self._table["onset_ns"]
            step = (int(onsets[row]) - int(onsets[before])) / 1e6
            if not step > 0 or (step > planned + _GAP_MS and not self._keep_gaps):
                step = planned
        return step / 1000 / self._speed


def _place_asked(request: Presentation) -> _OwnPlace:
    return (request.size_deg, *request.position_deg)


def file_digest(path: Path) -> str:
    """Return the sha256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def answered_images(recording: Recording) -> list[int]:
    """Return the rows of images of which a showing gave a response that is their own.

    In a replay those that were answered with another image's response, or a model's, are none.
    """
    table = recording.presentations
    ok = (table["status"] == "ok") & (table["attempt"] > 0) & (table["image_id"] >= 0)
    ok &= np.isin(table["answer"], ["", "recorded"])
    return np.unique(table["image_id"][ok]).tolist()


def inherited_text(recording: Recording) -> str:
    """Say of a recording that is a replay what answered in it; empty where it is none."""
    if not recording.is_replay:
        return ""
    parts = [
        f"{n:,} {word or 'of a rig that does not say'}" for word, n in recording.answers.items()
    ]
    names = {str(rig["name"]) for rig in recording.rigs}
    return (
        f"this recording is itself a {', '.join(sorted(names))}: its answers were "
        f"{', '.join(parts) or 'none'}, and what was not recorded of the very image there is "
        "not so here"
    )


def _hello(recording: Recording, sha256: str) -> Hello:
    """Return what the recorded rig said of itself, under another name.

    Raises
    ------
    RecordingError
        No rig answered, or several whose units differ.
    """
    table = recording.presentations
    answered = table["attempt"] > 0
    used = sorted({int(rig) for rig in table["rig"][answered] if rig >= 0})
    if not used:
        raise RecordingError(
            f"a recording must hold responses to be played back; {recording.path} holds none"
        )
    rigs = [recording.rigs[number] for number in used]
    units = [rig["units"].tolist() for rig in rigs]
    if any(own != units[0] for own in units):
        raise RecordingError(
            f"{recording.path} must have answers of one table of units to be played back; "
            f"{len(rigs)} rigs with different ones answered in it"
        )
    forms = [form for form in FORMS if form in set(table["form"][answered].tolist())]
    try:
        said = msgspec.convert({**rigs[0]["info"], "version": VERSION}, Hello)
    except msgspec.ValidationError:  # of another maker
        rows = recording.units[units[0]]
        said = Hello(
            name="",
            software="",
            capabilities=("spikes",),
            units=tuple(
                Unit(int(u["channel"]), int(u["unit"]), str(u["area"]), str(u["label"]))
                for u in rows
            ),
            display=ScreenInfo(1920, 1080, 60.0, 40.0),
            window_ms=recording.window_ms,
        )
    name = f"{REPLAY_OF}{recording.name[:_NAME]}"
    if recording.is_replay:
        name = f"{name}, itself a {said.name}"[:_CHAIN]
    return msgspec.structs.replace(
        said,
        name=name,
        software=f"evolver {__version__}, {recording.path.name[:_NAME]} sha256 {sha256}",
        capabilities=tuple(forms),
        window_ms=recording.window_ms,
    )


def _ns(ms: float) -> int:
    return round(ms * 1_000_000)
