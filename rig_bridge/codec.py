"""Messages and arrays to frames of bytes and back.

Knows bytes and values; no sockets, no clocks. Frame 0 is the header, a MessagePack map; then
one raw frame per image or array, in the order the header names them. Whatever comes in,
decoding returns a message that keeps every rule of docs/PROTOCOL.md or raises `ProtocolError`,
and allocates no more than a small multiple of what it was given.

A header is read twice as a rule, by two readers. The quick one (msgspec, straight into the
message) is believed only where writing its message again gives the same bytes: then no key was
missing, unknown or double, and nothing was of a foreign type. Any other header, valid or not,
goes to the strict one (msgpack, field by field), which knows every rule and says what is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias, TypeVar, cast

import msgpack
import msgspec
import numpy as np

from rig_bridge.errors import ProtocolError, VersionError
from rig_bridge.forms import FORMS, Form, misfit
from rig_bridge.messages import (
    VERSION,
    ArraySpec,
    FromEngine,
    FromRig,
    Hello,
    Response,
    Show,
    Welcome,
)
from rig_bridge.trials import Array

MAX_HEADER_BYTES = 2 * 2**20
MAX_FRAME_BYTES = 64 * 2**20
MAX_FRAMES = 1 + 1024
MAX_MESSAGE_BYTES = 512 * 2**20

FrameBytes: TypeAlias = bytes | memoryview
_M = TypeVar("_M", bound=msgspec.Struct)

_ENCODER = msgspec.msgpack.Encoder()
_FROM_ENGINE = msgspec.msgpack.Decoder(cast("type[FromEngine]", FromEngine))
_FROM_RIG = msgspec.msgpack.Decoder(cast("type[FromRig]", FromRig))
_DTYPES = {"|u1": np.dtype("|u1")} | {
    array.dtype: np.dtype(array.dtype) for arrays in FORMS.values() for array in arrays
}


def encode_message(
    message: FromEngine | FromRig, arrays: Sequence[Array] = ()
) -> list[FrameBytes]:
    """Return the frames of `message`; frames of arrays are views, not copies.

    Raises
    ------
    ProtocolError
        `arrays` are not what `message` names, or a limit is passed.
    """
    header = encode_header(message)
    # What goes out is checked by the same rules as what comes in.
    check_lengths(header, arrays)
    check_response_arrays(message, arrays)
    return join(header, arrays)


def join(header: bytes, arrays: Sequence[Array]) -> list[FrameBytes]:
    """Return the frames of a message whose header is made and whose arrays are checked."""
    return [header, *(_view(a) for a in arrays)]


def check_lengths(header: bytes, arrays: Sequence[Array]) -> None:
    """Raise `ProtocolError` where frames are too many or too long."""
    _check_sizes([len(header), *(a.nbytes for a in arrays)])


def encode_header(message: FromEngine | FromRig) -> bytes:
    """Return frame 0 of `message`.

    Raises
    ------
    ProtocolError
        A field breaks a rule, so that the sender learns of it, or the header is too long.
    """
    header = _quick_header(message)
    if header is None:
        raw = msgspec.to_builtins(message)
        _typed(raw, type(message))
        header = cast("bytes", msgpack.packb(raw))  # pyright: ignore[reportUnknownMemberType]
    if len(header) > MAX_HEADER_BYTES:
        raise ProtocolError(
            f"a header must have at most {MAX_HEADER_BYTES} bytes; this "
            f"{type(message).__name__.lower()} has {len(header)}: say it in several messages"
        )
    return header


def decode_from_engine(frames: Sequence[FrameBytes]) -> tuple[FromEngine, tuple[Array, ...]]:
    """Return an engine's message; raise `ProtocolError` saying what is wrong with it."""
    header, views = _split(frames)
    message = _quick_message(header, _FROM_ENGINE)
    if message is None:
        message = _typed(_read(header), cast("type[FromEngine]", FromEngine))
    return message, _arrays(message, views)


def decode_from_rig(frames: Sequence[FrameBytes]) -> tuple[FromRig, tuple[Array, ...]]:
    """Return a rig's message; raise `ProtocolError` saying what is wrong with it.

    A hello of another version raises `VersionError`, whatever else it holds.
    """
    header, views = _split(frames)
    message = _quick_message(header, _FROM_RIG)
    if message is None:
        message = _typed(_read(header), cast("type[FromRig]", FromRig))
    return message, _arrays(message, views)


def _quick_header(message: FromEngine | FromRig) -> bytes | None:
    """Return frame 0 of a message that keeps every rule of its type; else None.

    Every float of the protocol has limits, which neither infinities nor NaN keep.
    """
    try:
        header = _ENCODER.encode(message)
        read = _FROM_ENGINE if isinstance(message, FromEngine) else _FROM_RIG
        read.decode(header)
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError):
        return None
    return header


def _quick_message(header: bytes, read: msgspec.msgpack.Decoder[_M]) -> _M | None:
    """Return the message of a header that is written as this side would; else None."""
    try:
        message = read.decode(header)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
    if isinstance(message, Hello) and message.version != VERSION:
        return None
    return message if _ENCODER.encode(message) == header else None


def _split(frames: Sequence[FrameBytes]) -> tuple[bytes, list[memoryview]]:
    """Return the header, and the frames after it."""
    if len(frames) > MAX_FRAMES:  # before anything is made of them
        raise ProtocolError(
            f"a message must have at most {MAX_FRAMES} frames; got {len(frames)}"
        )
    views = [memoryview(f) for f in frames]
    _check_sizes([v.nbytes for v in views])
    return bytes(views[0]), views[1:]


def _read(header: bytes) -> dict[str, object]:
    """Return the header as a map of this version."""
    raw = _unpack(header)
    if raw.get("kind") == "hello" and (version := raw.get("version")) != VERSION:
        if isinstance(version, bool) or not isinstance(version, int):
            raise ProtocolError(
                f"a hello must name its version, an integer; got {version!r:.80}"
            )
        raise VersionError(
            f"both sides must speak protocol version {VERSION}; this hello is of {version}",
            version=version,
        )
    return raw


def _typed(raw: dict[str, object], kinds: type[_M]) -> _M:
    try:
        message = msgspec.convert(raw, kinds)
    except (msgspec.ValidationError, RecursionError) as exc:
        raise ProtocolError(f"not a version {VERSION} message: {exc}") from exc
    _check_finite(raw)
    return message


def _refuse_extension(code: int, _data: bytes) -> None:
    raise ValueError(f"extension type {code} is not allowed")


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    # Of two equal keys, two readers may take different ones.
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a map must not name a key twice")
    return value


def _unpack(header: bytes) -> dict[str, object]:
    try:
        raw = cast(
            "object",
            msgpack.unpackb(  # pyright: ignore[reportUnknownMemberType]
                header,
                raw=False,
                strict_map_key=True,
                max_ext_len=0,
                max_bin_len=0,
                ext_hook=_refuse_extension,
                object_pairs_hook=_pairs,
            ),
        )
    # Nothing else is raised by msgpack for any bytes; its stack is bounded.
    except (ValueError, TypeError, msgpack.UnpackException) as exc:
        raise ProtocolError(f"a header must be one MessagePack map: {exc}") from exc
    if not isinstance(raw, dict):
        raise ProtocolError(f"a header must be a MessagePack map; got {type(raw).__name__}")
    return cast("dict[str, object]", raw)


def _check_finite(value: object) -> None:
    """Raise `ProtocolError` where a number anywhere in a header is not finite."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ProtocolError(f"numbers in a header must be finite; got {value}")
    elif isinstance(value, dict):
        for item in cast("dict[str, object]", value).values():
            _check_finite(item)
    elif isinstance(value, list | tuple):
        for item in cast("list[object] | tuple[object, ...]", value):
            _check_finite(item)


def _check_sizes(lengths: Sequence[int]) -> None:
    if not 1 <= len(lengths) <= MAX_FRAMES:
        raise ProtocolError(f"a message must have 1 to {MAX_FRAMES} frames; got {len(lengths)}")
    if lengths[0] > MAX_HEADER_BYTES:
        raise ProtocolError(
            f"a header must have at most {MAX_HEADER_BYTES} bytes; got {lengths[0]}"
        )
    if max(lengths) > MAX_FRAME_BYTES:
        raise ProtocolError(
            f"a frame must have at most {MAX_FRAME_BYTES} bytes; got {max(lengths)}"
        )
    if sum(lengths) > MAX_MESSAGE_BYTES:
        raise ProtocolError(
            f"a message must have at most {MAX_MESSAGE_BYTES} bytes; got {sum(lengths)}"
        )


def _view(array: Array) -> memoryview:
    # A flat view of bytes: an array with an axis of length 0 has no other cast.
    return array.reshape(-1).view(np.uint8).data if array.size else memoryview(b"")


def _specs(message: FromEngine | FromRig) -> list[tuple[str, tuple[int, ...]]]:
    if isinstance(message, Show):
        return [(image.dtype, image.shape) for image in message.images]
    if isinstance(message, Response):
        return [(spec.dtype, spec.shape) for spec in message.arrays]
    return []


def _arrays(message: FromEngine | FromRig, frames: Sequence[memoryview]) -> tuple[Array, ...]:
    specs = _specs(message)
    if isinstance(message, Response):
        _check_response_specs(message.form, message.arrays)
    if len(specs) != len(frames):
        raise ProtocolError(
            f"this {type(message).__name__.lower()} must have {len(specs)} frames after its "
            f"header; got {len(frames)}"
        )
    arrays: list[Array] = []
    for (dtype, shape), frame in zip(specs, frames, strict=True):
        kind = _DTYPES[dtype]
        expected = math.prod(shape) * kind.itemsize
        if frame.nbytes != expected:
            raise ProtocolError(
                f"an array of {dtype} and shape {shape} must have {expected} bytes; "
                f"its frame has {frame.nbytes}"
            )
        try:
            array = np.frombuffer(frame, dtype=kind) if expected else np.empty(0, kind)
            arrays.append(array.reshape(shape))
        except (ValueError, OverflowError) as exc:  # (0, 2**40, 2**40): no such array
            raise ProtocolError(f"an array cannot have the shape {shape}: {exc}") from exc
    _check_contents(message, arrays)
    return tuple(arrays)


def _check_response_specs(form: Form, specs: Sequence[ArraySpec]) -> None:
    expected = tuple((a.name, a.dtype, len(a.message_axes)) for a in FORMS[form])
    got = tuple((spec.name, spec.dtype, len(spec.shape)) for spec in specs)
    if got != expected:
        raise ProtocolError(
            f"a response of form {form} must have the arrays (name, dtype, axes) "
            f"{expected}; got {got}"
        )


def check_response_arrays(message: FromEngine | FromRig, arrays: Sequence[Array]) -> None:
    """Raise `ProtocolError` unless message and arrays keep every rule of PROTOCOL.md.

    Rules that need several fields at once are here; those of one field are its type's.
    """
    if not all(a.flags.c_contiguous for a in arrays):
        raise ProtocolError("an array on the wire must be C-contiguous; copy it first")
    specs = _specs(message)
    if [(a.dtype.str, a.shape) for a in arrays] != specs:
        raise ProtocolError(
            f"array frames must be (dtype, shape) {specs}; "
            f"got {[(a.dtype.str, a.shape) for a in arrays]}"
        )
    _check_contents(message, arrays)


def _check_contents(message: FromEngine | FromRig, arrays: Sequence[Array]) -> None:
    """Raise `ProtocolError` unless what the fields and arrays say fits together."""
    if isinstance(message, Hello | Welcome):
        pre, post = message.window_ms
        if pre >= post:
            raise ProtocolError(f"a window must begin before it ends; got {message.window_ms}")
        if isinstance(message, Hello) and len(set(message.capabilities)) != len(
            message.capabilities
        ):
            raise ProtocolError(
                f"capabilities must differ from each other; got {message.capabilities}"
            )
    elif isinstance(message, Show):
        _check_show(message)
    elif isinstance(message, Response):
        _check_response(message, arrays)


def _check_show(show: Show) -> None:
    seen: set[int] = set()
    for p in show.presentations:
        if p.image >= len(show.images):
            raise ProtocolError(
                f"presentation {p.presentation} must name one of {len(show.images)} images; "
                f"got {p.image}"
            )
        if p.presentation in seen:
            raise ProtocolError(f"presentation {p.presentation} must be named once in a show")
        if p.known_attempt >= show.attempt:
            raise ProtocolError(
                f"known_attempt of presentation {p.presentation} must be below the show's "
                f"attempt, {show.attempt}; got {p.known_attempt}"
            )
        seen.add(p.presentation)


def _check_response(response: Response, arrays: Sequence[Array]) -> None:
    _check_response_specs(response.form, response.arrays)
    trials = response.trials
    if len({t.presentation for t in trials}) != len(trials):
        raise ProtocolError("a response must name each presentation once")
    for t in trials:
        if t.attempt > response.attempt:
            raise ProtocolError(
                f"a trial's attempt must be at most the response's, {response.attempt}; "
                f"got {t.attempt}"
            )
        if t.offset_ns < t.onset_ns:
            raise ProtocolError(
                f"offset_ns must not be before onset_ns; got {t.offset_ns} < {t.onset_ns} "
                f"for presentation {t.presentation}"
            )
        if response.form != "spikes" and t.length:
            raise ProtocolError(f"length must be 0 in form {response.form}; got {t.length}")
    sizes = {"p": len(trials), "s": sum(t.length for t in trials)}
    shapes = {
        spec.name: array.shape for spec, array in zip(response.arrays, arrays, strict=True)
    }
    if wrong := misfit(response.form, shapes, sizes, message=True):
        raise ProtocolError(wrong)
    for spec, array in zip(response.arrays, arrays, strict=True):
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ProtocolError(f"times, edges and rates must be finite; {spec.name} is not")
        if spec.name == "edges_ms" and not (np.diff(array) > 0).all():
            raise ProtocolError("edges_ms must increase")
