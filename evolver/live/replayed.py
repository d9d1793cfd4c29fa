"""A recording played back as a session: the one way in which sessions run, with another rig.

Composition: `run_replay` in this process, `run_replay_rig` as a rig that connects to an engine.
"""

from __future__ import annotations

import math
import os
from collections import OrderedDict, deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from evolver.clock import SYSTEM_CLOCK, Clock
from evolver.config.tables import Config, load_session_file, parse_session_file
from evolver.errors import ConfigError
from evolver.journal import records
from evolver.live.console import Console, KeptCommands
from evolver.live.rigs import JoinedRig
from evolver.live.run import LOADING, Ended, Job, run_here
from evolver.recording import Recording, read
from evolver.recording.same_session import differences
from evolver.recording.strangers import said_as_recording
from evolver.session.block import HashedImage
from evolver.session.ports import Command
from evolver.setup.build import Makers, session_references, thread_generator
from evolver.setup.nearest_images import AskedCode, NearestImages, Nearness
from evolver.setup.references import References
from evolver.setup.replay_encoders import SimulatedEncoder, simulated_encoder
from evolver.setup.replayed_rig import (
    ReplayedRig,
    ReplaySummary,
    answered_images,
    file_digest,
)
from rig_bridge.client import RigClient
from rig_bridge.events import Resent, Responded, RigEvent
from rig_bridge.messages import Notice

if TYPE_CHECKING:
    from evolver.types import Codes, Images
    from evolver.types import Generator as ImageGenerator
    from rig_bridge.auth import RigKey
    from rig_bridge.trials import Image, Presentation, ShowRequest

PLAYED_BACK = "replayed recording"
"""Role of a recording among a session's files; of a replay of a replay, the last one first."""

_CODES_KEPT = 8192
_LATE_S = 0.05  # the longest by which an answer may be late before the next one waits for it


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ReplaySettings:
    """How a recording is played back.

    Attributes
    ----------
    speed : times faster than it was recorded; `math.inf` waits for nothing
    keep_gaps : wait through pauses between showings as well
    nearness : what says which image is nearest to one that was never shown
    metric_file : for "metric"
    answer : what answers for such an image: "nearest", "simulated", or addresses of units,
        separated by commas
    go_on : with the recording's own session file, go on where it ends, to all generations
    """

    speed: float = math.inf
    keep_gaps: bool = False
    nearness: Nearness = "latent"
    metric_file: Path | None = None
    answer: str = "nearest"
    go_on: bool = False

    def __post_init__(self) -> None:
        """Check what came.

        Raises
        ------
        ConfigError
            The speed is not above 0.
        """
        if not self.speed > 0:
            raise ConfigError(f"a speed must be above 0, or 'max'; got {self.speed:g}")


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """How a replay ended.

    Attributes
    ----------
    ended : the session's end, and its recording
    summary : whose responses answered
    differences : from the recorded session, where its own session file ran; None: another did
    ran_out : the recorded session had ended early, and so did this one
    inherited : where the recording is a replay, what answered in it
    """

    ended: Ended
    summary: ReplaySummary
    differences: list[str] | None
    ran_out: bool
    inherited: str

    @property
    def cut_short(self) -> bool:
        """Whether it ended before the recorded session, as by an operator."""
        return self.ended.reason != "finished" and not self.ran_out


def run_replay(
    path: Path,
    console: Console | None = None,
    *,
    settings: ReplaySettings | None = None,
    session_file: Path | None = None,
    out: Path | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> Replay:
    """Run a session whose rig is a recording.

    Parameters
    ----------
    path : of the recording
    console : told how it goes; commands it
    settings : how it is played back
    session_file : of the session; without it, the recording's own
    out : folder of the new recording, in place of the session file's
    clock : the machine's, if not given

    Raises
    ------
    ConfigError
        The session asks for what the recording has not, or names what is not here.
    RecordingError
        The recording cannot be played back, or the new one not be written.
    """
    settings, console = settings or ReplaySettings(), console or Console()
    console.on_wait(LOADING)
    with read(path) as recording, said_as_recording(path):
        config, text = _session_of(recording, session_file, out)
        makers = Makers(thread_generator, _references_of(recording))
        job = Job.begin(config, text, "replay", clock=clock, makers=makers)
        codes = RememberedCodes()
        drawing = tuple(
            codes.remembering(table.name, generator)
            for table, generator in zip(config.all_threads, job.parts.generators, strict=True)
        )
        job = replace(job, parts=replace(job.parts, generators=drawing))
        ends = session_file is None and not settings.go_on
        rig, encoder, digest = _rig(
            recording, settings, code_of=codes.of, clock=clock, ends=ends
        )
        port = ReplayPort(rig, recording.window_ms, clock=clock)
        _check_window(config, recording)

        def commands() -> Sequence[Command]:
            over = (Command("stop", "the recorded session ended here", "the replay"),)
            return (*console.commands(), *(over if port.take_end() else ()))

        joined = _joined(port, rig, recording, digest, encoder, clock)
        ended = run_here(job, joined, console, KeptCommands(commands))
        different = None
        if session_file is None:
            with read(ended.recording) as again:
                different = differences(recording, again)
    return Replay(ended, rig.summary, different, port.ran_out, rig.inherited)


def run_replay_rig(
    path: Path,
    *,
    settings: ReplaySettings,
    endpoint: str,
    stop: Callable[[], bool],
    tell: Callable[[str], None],
    key: RigKey | None = None,
) -> tuple[str, ReplaySummary, str]:
    """Be a rig that answers with a recording, until the engine's session ends.

    Across a socket there are no codes: the nearest image is found by pixels.

    Parameters
    ----------
    path, settings : what is played back, and how
    endpoint, stop, tell, key : as `run_rig` takes them

    Returns
    -------
    why it ended, whose responses answered, and where the recording is a replay, what answered
    in it
    """
    with read(path) as recording, said_as_recording(path):
        rig, _, _ = _rig(recording, settings, code_of=lambda _: None, clock=SYSTEM_CLOCK)
        client = RigClient(
            endpoint,
            hello=rig.hello,
            presenter=rig,
            identity=f"replay-{os.getpid()}",
            key=key,
            tell=tell,
        )
        return client.run(stop=stop), rig.summary, rig.inherited


class ReplayPort:
    """A `RigPort` that answers in this process, with a recording.

    Parameters
    ----------
    rig : ReplayedRig
    window_ms : in which responses are asked for
    clock : says when an answer is due

    Attributes
    ----------
    ran_out : a showing was asked for at which the recorded session had ended
    """

    def __init__(
        self, rig: ReplayedRig, window_ms: tuple[float, float], *, clock: Clock
    ) -> None:
        self._rig, self._window_ms, self._clock = rig, window_ms, clock
        self._asked: deque[tuple[Image, Presentation, bool]] = deque()  # True: ends its request
        self._ready: list[RigEvent] = []  # the next answer, and what is said with it
        self._due = 0.0  # when
        self._held = False
        self._attempts: dict[int, int] = {}
        self._stop = False
        self.ran_out = False
        self.connected = True
        self.encode_seconds = self.send_seconds = 0.0

    def next_attempt(self, block: int) -> int:
        """Return the attempt number that the next `show` of this block must have."""
        return self._attempts.get(block, 0) + 1

    def hold(self, on: bool) -> None:  # noqa: FBT001  as the port's
        """Answer nothing more, until told to go on."""
        self._held = on

    def show(self, request: ShowRequest) -> None:
        """Ask for presentations; `poll` answers them when each is due."""
        self._attempts[request.block] = request.attempt
        self._rig.prepare(dict(zip(request.sha256, request.images, strict=True)))
        last = len(request.presentations) - 1
        for i, p in enumerate(request.presentations):
            asked = request.for_presenter(p, window_ms=self._window_ms)
            self._asked.append((request.images[p.image], asked, i == last))

    def poll(self, timeout_s: float) -> list[RigEvent]:
        """Return the answers that are due by now; wait at most `timeout_s` for one."""
        until = self._clock.monotonic() + timeout_s
        events: list[RigEvent] = []
        while not self._held and (self._ready or self._answer_next()):
            left = self._due - self._clock.monotonic()
            if left > 0 and (events or self._due > until):
                break
            if left > 0:
                self._clock.sleep(left)
            events += self._ready
            self._ready = []
        left = until - self._clock.monotonic()
        if not events and left > 0 and (self._held or self._ready):
            self._clock.sleep(left)
        return events

    def _answer_next(self) -> bool:
        """Make the next answer ready; return whether there is one."""
        if not self._asked:
            return False
        image, asked, is_last = self._asked.popleft()
        if self._rig.is_over(asked):
            self._asked.clear()
            self._stop = self.ran_out = True
            return False
        result, seconds = self._rig.answer(image, asked)
        if result.attempt > self._attempts[asked.block]:
            # The recorded engine asked again of its own accord, after a rig was gone.
            left = [p.presentation for _, p, _ in self._asked if p.block == asked.block]
            again = (asked.presentation, *left)
            self._ready.append(Resent(asked.block, result.attempt, again))
            self._attempts[asked.block] = result.attempt
        self._ready.append(Responded(asked.block, (result,)))
        if is_last and (text := self._rig.end_block(asked.block)):
            self._ready.append(Notice("info", text))
        self._due = max(self._due, self._clock.monotonic() - _LATE_S) + seconds
        return True

    def ack(self, block: int, presentations: Sequence[int]) -> None:
        """Nothing is kept here, so nothing is forgotten."""

    def take_end(self) -> bool:
        """Return, once, whether the recorded session has ended."""
        stop, self._stop = self._stop, False
        return stop


class RememberedCodes:
    """Codes by the digest of the image that was drawn of them; the last few thousand."""

    def __init__(self) -> None:
        self._codes: OrderedDict[str, AskedCode] = OrderedDict()

    def of(self, sha256: str) -> AskedCode | None:
        """Return what is known of an image beside its pixels."""
        return self._codes.get(sha256)

    def remembering(self, thread: str, generator: ImageGenerator) -> ImageGenerator:
        """Return a generator of which each image's code is kept."""
        return _Remembering(self, thread, generator)

    def keep(
        self, thread: str, generator: ImageGenerator, codes: Codes, images: Images
    ) -> None:
        """Keep the codes of images."""
        narrow = np.asarray(codes, dtype=np.float32)
        for code, pixels in zip(narrow, images, strict=True):
            asked = AskedCode(thread, generator.name, generator.sha256, code)
            self._codes[HashedImage.of(pixels).sha256] = asked
        while len(self._codes) > _CODES_KEPT:
            self._codes.popitem(last=False)


class _Remembering:
    """A generator whose codes are kept."""

    def __init__(self, kept: RememberedCodes, thread: str, generator: ImageGenerator) -> None:
        self._kept, self._thread, self._generator = kept, thread, generator

        self.name, self.d = generator.name, generator.d
        self.image_size, self.sha256 = generator.image_size, generator.sha256
        self.synthesize = generator.synthesize
        self.initial_codes = generator.initial_codes

    def render(self, codes: Codes) -> Images:
        """Turn codes into images, as the generator does."""
        images = self._generator.render(codes)
        self._kept.keep(self._thread, self._generator, codes, images)
        return images


def _session_of(
    recording: Recording, session_file: Path | None, out: Path | None
) -> tuple[Config, str]:
    """Return the values and the text of the session file that is run."""
    if session_file is None:
        text = recording.config
        config = parse_session_file(text, source="the recording's session file")
        config = config.as_recorded({t.name: t.optimizer for t in recording.threads})
    else:
        config, text = load_session_file(session_file)
    if out is not None:
        table = msgspec.structs.replace(config.session, folder=str(out))
        config = msgspec.structs.replace(config, session=table)
    return config, text


def _references_of(recording: Recording) -> Callable[[Config], References]:
    """Return what gives a session the recorded references, if it asks for the same ones."""
    recorded = parse_session_file(recording.config, source="the recording's session file")

    def references(config: Config) -> References:
        ids = recording.reference_image_id
        rows = ids[(ids >= 0).all(axis=1)] if ids.size else ids
        shown: list[int] = rows[0].tolist() if len(rows) else []
        same = config.references == recorded.references
        if not same or not shown or any(map(recording.images.is_lost, shown)):
            return session_references(config)
        pixels = tuple(recording.images[i] for i in shown)
        return References(pixels, tuple(str(recording.image_labels[i]) for i in shown))

    return references


def _check_window(config: Config, recording: Recording) -> None:
    """Raise `ConfigError` where a session asks for times that were not recorded."""
    asked, held = config.rig.window_ms, recording.window_ms
    if asked[0] < held[0] or asked[1] > held[1]:
        raise ConfigError(
            f"rig.window_ms: must lie inside what was recorded, {list(held)}, where a "
            f"recording answers; found {list(asked)}"
        )


def _rig(
    recording: Recording,
    settings: ReplaySettings,
    *,
    code_of: Callable[[str], AskedCode | None],
    clock: Clock,
    ends: bool = False,
) -> tuple[ReplayedRig, SimulatedEncoder | None, str]:
    """Return the recording as a rig, what answers for other images, and the file's digest."""
    digest = file_digest(recording.path)
    nearest = NearestImages(
        recording,
        answered_images(recording),
        nearness=settings.nearness,
        metric_file=settings.metric_file,
    )
    rig = ReplayedRig(
        recording,
        sha256=digest,
        nearest=nearest,
        speed=settings.speed,
        keep_gaps=settings.keep_gaps,
        ends=ends,
        code_of=code_of,
        sleep=clock.sleep,
    )
    encoder = None
    if settings.answer != "nearest":
        units = [] if settings.answer == "simulated" else settings.answer.split(",")
        encoder = simulated_encoder(recording, rig.hello, units)
        rig.use(encoder)
    return rig, encoder, digest


@contextmanager
def _joined(
    port: ReplayPort,
    rig: ReplayedRig,
    recording: Recording,
    digest: str,
    encoder: SimulatedEncoder | None,
    clock: Clock,
) -> Generator[JoinedRig, None, None]:
    scorers = {} if encoder is None else encoder.digests
    before = (
        records.WeightFile(PLAYED_BACK, file["name"], file["sha256"])
        for file in recording.weights
        if file["role"] == PLAYED_BACK
    )
    weights = (
        records.WeightFile(PLAYED_BACK, recording.path.name, digest),
        *before,
        *(records.WeightFile("scorer", name, sha256) for name, sha256 in scorers.items()),
    )
    joined = JoinedRig(port, rig.hello, lambda _: None, weights)
    for level, text in rig.notices():
        joined.notices.append((clock.time_ns(), Notice(level, text)))
    yield joined
