"""Messages between engine and rig, version 1. docs/PROTOCOL.md is the text that rules.

Values only: no sockets, no clocks, no numpy. Pixels and spikes travel as further frames beside
the header, so headers stay small and decoding one never allocates an image.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from rig_bridge.forms import Form

VERSION = 1

MAX_SHOWN_AT_ONCE = 1024
"""Images, and presentations, in one `show`; trials in one `response`."""

Index: TypeAlias = Annotated[int, Meta(ge=0, le=2**53)]  # exact in a double, for MATLAB
Attempt: TypeAlias = Annotated[int, Meta(ge=1, le=2**31)]
Nanoseconds: TypeAlias = Annotated[int, Meta(ge=0, le=2**63 - 1)]
ShortText: TypeAlias = Annotated[str, Meta(max_length=200)]
LongText: TypeAlias = Annotated[str, Meta(max_length=2000)]
# \Z and not $: a dollar also matches before a last newline.
SessionId: TypeAlias = Annotated[str, Meta(pattern=r"\A[0-9a-f]{1,64}\Z")]
Sha256: TypeAlias = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
OnMs: TypeAlias = Annotated[float, Meta(gt=0, le=60_000)]
OffMs: TypeAlias = Annotated[float, Meta(ge=0, le=60_000)]
PositionDegrees: TypeAlias = Annotated[float, Meta(ge=-180, le=180)]
SizeDegrees: TypeAlias = Annotated[float, Meta(gt=0, le=180)]
EdgeMs: TypeAlias = Annotated[float, Meta(ge=-60_000, le=60_000)]
SidePixels: TypeAlias = Annotated[int, Meta(ge=1, le=8192)]
GreyLevel: TypeAlias = Annotated[int, Meta(ge=0, le=255)]
GunLevels: TypeAlias = Annotated[tuple[GreyLevel, ...], Meta(min_length=256, max_length=256)]
MonitorLevels: TypeAlias = tuple[GunLevels, GunLevels, GunLevels]
"""Of red, green and blue: the level a monitor is sent for each of an image's, 0 to 255."""
ShowingStatus: TypeAlias = Literal["ok", "aborted"]
OnsetSource: TypeAlias = Literal["simulated", "command", "flip", "photodiode"]
Level: TypeAlias = Literal["info", "warning", "error"]
Answer: TypeAlias = Literal[
    "", "recorded", "nearest code", "nearest metric", "nearest pixels", "encoder"
]


class Part(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Base of what messages are made of; holds no cycles, so no garbage to look for."""


class Message(Struct, frozen=True, forbid_unknown_fields=True, gc=False, tag_field="kind"):
    """Base of every message; `kind` is the struct's tag."""


class Unit(Part, frozen=True):
    """One recorded unit; its index, used everywhere else, is its place in `Hello.units`."""

    channel: Index
    unit: Index
    area: ShortText
    label: ShortText


class ScreenInfo(Part, frozen=True, omit_defaults=True):
    """The screen images are shown on. What has a default may be left out.

    A rig that states `background_grey` keeps the shape of every image: its longer side is
    `Show.size_deg`, and around it is that grey. One that states `places` shows each image at
    the size and position of its own presentation, where that has them.
    """

    width_px: SidePixels
    height_px: SidePixels
    refresh_hz: Annotated[float, Meta(gt=0, le=1000)]
    px_per_deg: Annotated[float, Meta(gt=0, le=10_000)]
    background_grey: GreyLevel | None = None
    monitor: ShortText = ""  # which one, for people
    calibration: ShortText = ""  # how `levels` came about, for people
    levels: MonitorLevels | None = None  # sent to the monitor; None: those of the images
    places: bool = False  # heeds `PresentationRequest.size_deg` and `position_deg`


class Hello(Message, frozen=True, kw_only=True, tag="hello"):
    """Rig to engine, first on every connection: who will answer, and in which forms."""

    name: ShortText
    software: ShortText
    capabilities: Annotated[tuple[Form, ...], Meta(min_length=1, max_length=3)]
    units: Annotated[tuple[Unit, ...], Meta(min_length=1, max_length=10_000)]
    display: ScreenInfo
    window_ms: tuple[EdgeMs, EdgeMs]  # the widest it can record, relative to onset
    version: int = VERSION


class Welcome(Message, frozen=True, tag="welcome"):
    """Engine to rig: the hello is accepted; requests may follow."""

    session: SessionId
    name: ShortText
    window_ms: tuple[EdgeMs, EdgeMs]  # to be recorded, relative to onset
    version: int = VERSION


class Refused(Message, frozen=True, tag="refused"):
    """Engine to rig: the hello is not accepted; nothing will follow. Fixed for all versions."""

    reason: LongText
    version: int = VERSION  # the engine's


class ImageInfo(Part, frozen=True):
    """One image of a `show`; its pixels are a frame of their own, in the same order."""

    sha256: Sha256  # of the frame
    dtype: Literal["|u1"]
    shape: tuple[SidePixels, SidePixels, Literal[3]]  # height, width, sRGB


class PresentationRequest(Part, frozen=True, kw_only=True, omit_defaults=True):
    """One showing that the engine asks for.

    `known_attempt` matters for one that is to be shown again: from what it kept, a rig answers
    with later attempts only. What came through the same `EngineLink` need not be named.

    A size or a position of its own is for rigs that state `ScreenInfo.places`: others are asked
    for none. They are left out where those of the `Show` count, so that a rig of before takes
    what an engine of before could have said.
    """

    presentation: Index  # unique in the session
    image: Annotated[int, Meta(ge=0, lt=MAX_SHOWN_AT_ONCE)]  # index into `Show.images`
    on_ms: OnMs
    off_ms: OffMs
    known_attempt: Index  # the last attempt whose result the engine has; 0 if none
    size_deg: SizeDegrees | None = None  # None: the show's
    position_deg: tuple[PositionDegrees, PositionDegrees] | None = None  # None: the show's


class Show(Message, frozen=True, kw_only=True, tag="show"):
    """Engine to rig: present these, in this order. One raw frame an image follows."""

    session: SessionId
    block: Index
    attempt: Attempt
    images: Annotated[tuple[ImageInfo, ...], Meta(min_length=1, max_length=MAX_SHOWN_AT_ONCE)]
    presentations: Annotated[
        tuple[PresentationRequest, ...], Meta(min_length=1, max_length=MAX_SHOWN_AT_ONCE)
    ]
    size_deg: SizeDegrees
    position_deg: tuple[
        PositionDegrees, PositionDegrees
    ]  # of the image's centre: right, up, from fixation


class Acknowledged(Part, frozen=True):
    """One result that is safe on the engine."""

    presentation: Index
    attempt: Attempt


class Ack(Message, frozen=True, tag="ack"):
    """Engine to rig: these results are durable; the rig may forget them."""

    block: Index
    presentations: Annotated[
        tuple[Acknowledged, ...], Meta(min_length=1, max_length=MAX_SHOWN_AT_ONCE)
    ]


class Ping(Message, frozen=True, tag="ping"):
    """Engine to rig, about once a second: the engine is there. Not answered."""

    session: SessionId


class Hold(Message, frozen=True, tag="hold"):
    """Engine to rig: show nothing after the presentation under way; or go on."""

    session: SessionId
    on: bool


class End(Message, frozen=True, tag="end"):
    """Engine to rig: the session is over; blank the screen and say bye."""

    reason: LongText


class Invalid(Message, frozen=True, kw_only=True, tag="invalid"):
    """Engine to rig: a message of the rig's could not be taken, and why; for its author.

    The results in it are none: a rig forgets what it keeps of these presentations, and shows
    them again when it is asked to.
    """

    block: Index  # of the response; 0 where the message could not be read
    presentations: Annotated[tuple[Index, ...], Meta(max_length=MAX_SHOWN_AT_ONCE)]
    field: ShortText  # what was wrong; empty where the message could not be read
    value: ShortText  # what it was
    allowed: LongText  # what it must be


class Accepted(Message, frozen=True, tag="accepted"):
    """Rig to engine: a `show` is here, complete; digests are compared before showing."""

    block: Index
    attempt: Attempt


class Showing(Part, frozen=True, kw_only=True, omit_defaults=True):
    """One showing as it happened, rather than as it was asked for; all but its response.

    What a display returns, and what `Trial` on the wire and `TrialResult` beside it begin with:
    a field that is added here travels with both. What has a default is left out where it stands
    at it, so that an engine of before takes what a rig of before could have said.
    """

    presentation: Index  # its number in the session
    attempt: Attempt  # of the show it was presented for
    status: ShowingStatus  # ok, or aborted
    reason: ShortText  # of an aborted one; else empty
    commanded_ns: (
        Nanoseconds  # when the image was asked of the screen; rig clock, as the next two
    )
    onset_ns: Nanoseconds  # when it appeared
    offset_ns: Nanoseconds  # when it was gone
    onset_source: OnsetSource  # how the onset is known
    answer: Answer = ""  # where a recording is played back: whose response it is
    answer_of: Index = 0  # that presentation's; 0 where there is no answer
    answer_distance: Annotated[float, Meta(ge=0)] = 0.0  # of its image from the one asked for


class Trial(Showing, frozen=True, kw_only=True):
    """One showing in a `Response`, whose arrays hold what the units did."""

    length: Index  # spikes of this trial; 0 in the other forms


class ArraySpec(Part, frozen=True):
    """What one array frame holds."""

    name: Annotated[str, Meta(max_length=32)]
    dtype: Annotated[str, Meta(max_length=8)]
    shape: Annotated[tuple[Index, ...], Meta(max_length=4)]


class Response(Message, frozen=True, kw_only=True, tag="response"):
    """Rig to engine: results. One raw frame an array follows."""

    block: Index
    attempt: Attempt  # of the last show the rig has of this block
    form: Form
    trials: Annotated[tuple[Trial, ...], Meta(min_length=1, max_length=MAX_SHOWN_AT_ONCE)]
    arrays: Annotated[tuple[ArraySpec, ...], Meta(min_length=1, max_length=2)]


class Done(Message, frozen=True, tag="done"):
    """Rig to engine: everything asked of this block, up to this attempt, is answered."""

    block: Index
    attempt: Attempt


class Notice(Message, frozen=True, tag="notice"):
    """Rig to engine: something people should read. Also a sign of life in a long pause."""

    level: Level
    text: LongText


class Bye(Message, frozen=True, tag="bye"):
    """Rig to engine: the rig leaves."""

    reason: LongText


FromEngine: TypeAlias = Welcome | Refused | Show | Ack | Ping | Hold | Invalid | End
FromRig: TypeAlias = Hello | Accepted | Response | Done | Notice | Bye
