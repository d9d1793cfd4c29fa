"""Bytes: golden frames of every message, and that nothing but the protocol gets through."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import msgpack
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rig_bridge import codec
from rig_bridge import messages as m
from rig_bridge.errors import ProtocolError, VersionError
from rig_bridge.trials import pack_results, unpack_results
from tests.rig_bridge.samples import FROM_ENGINE, FROM_RIG, hello, image, result, show
from tests.soak import examples

GOLDEN = Path(__file__).parents[1] / "golden" / "wire" / f"v{m.VERSION}"
EVERY = {**FROM_ENGINE, **FROM_RIG}


def decoder(name):
    return codec.decode_from_engine if name in FROM_ENGINE else codec.decode_from_rig


def read_golden(name) -> list[bytes]:
    """Frames of a golden file: one line of hexadecimal digits a frame."""
    return [bytes.fromhex(line) for line in (GOLDEN / f"{name}.hex").read_text().splitlines()]


def same(a, b) -> bool:
    """Whether two decoded messages with their arrays are equal."""
    return a[0] == b[0] and all(
        x.dtype == y.dtype and np.array_equal(x, y) for x, y in zip(a[1], b[1], strict=True)
    )


# ---------------------------------------------------------------- golden frames


@pytest.mark.parametrize("name", EVERY)
def test_golden_frames_are_what_is_sent_and_read(name):
    frames = read_golden(name)
    assert [bytes(f) for f in codec.encode_message(*EVERY[name])] == frames
    assert same(decoder(name)(frames), EVERY[name])


def test_every_message_has_a_golden_file_and_every_file_a_message():
    kinds = {type(message) for message, _ in EVERY.values()}
    assert kinds == set((m.FromEngine | m.FromRig).__args__)
    assert {path.stem for path in GOLDEN.iterdir()} == set(EVERY)


# ---------------------------------------------------------------- there and back

text = st.text(max_size=50)
index = st.integers(0, 2**53)
finite32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
finite = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def results(draw):
    form = draw(st.sampled_from(["spikes", "counts", "rates"]))
    numbers = draw(st.lists(index, min_size=1, max_size=6, unique=True))
    units, bins = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    edges = np.cumsum(np.r_[-100.0, np.full(bins, 12.5)])
    out = []
    for number in numbers:
        k = draw(st.integers(0, 5))
        arrays = {
            "spikes": {
                "units": np.array(
                    draw(st.lists(st.integers(0, 2**32 - 1), min_size=k, max_size=k)), "<u4"
                ),
                "times_ms": np.array(draw(st.lists(finite32, min_size=k, max_size=k)), "<f4"),
            },
            "counts": {
                "counts": np.full((units, bins), number % 65_521, "<u2"),
                "edges_ms": edges,
            },
            "rates": {
                "rates": np.array(draw(st.lists(finite, min_size=units, max_size=units)), "<f8")
            },
        }[form]
        onset = draw(st.integers(0, 2**62))
        out.append(
            result(
                number,
                draw(st.integers(1, 9)),
                form=form,
                ok=draw(st.booleans()),
                arrays=arrays,
                onset_ns=onset,
                offset_ns=onset + draw(st.integers(0, 2**61)),
                onset_source=draw(
                    st.sampled_from(["simulated", "command", "flip", "photodiode"])
                ),
            )
        )
    return out


@given(results(), index)
def test_results_come_back_as_they_were(given_results, block):
    message, arrays = pack_results(given_results, block=block, attempt=9)
    frames = [bytes(f) for f in codec.encode_message(message, arrays)]
    back_message, back_arrays = codec.decode_from_rig(frames)
    assert same((back_message, back_arrays), (message, arrays))
    for before, after in zip(
        given_results, unpack_results(back_message, back_arrays), strict=True
    ):
        assert (before.presentation, before.attempt, before.status, before.reason) == (
            after.presentation,
            after.attempt,
            after.status,
            after.reason,
        )
        assert before.arrays.keys() == after.arrays.keys()
        for name, array in before.arrays.items():
            np.testing.assert_array_equal(array, after.arrays[name], strict=True)


def test_images_are_neither_copied_going_out_nor_coming_in():
    message, arrays = show()
    frames = codec.encode_message(message, arrays)
    assert all(
        np.shares_memory(np.frombuffer(f, np.uint8), a)
        for f, a in zip(frames[1:], arrays, strict=True)
    )
    _, back = codec.decode_from_engine(frames)
    assert all(np.shares_memory(a, b) for a, b in zip(arrays, back, strict=True))
    assert not any(
        array.flags.writeable
        for array in codec.decode_from_engine([bytes(f) for f in frames])[1]
    )


# ---------------------------------------------------------------- what does not get through


def header(name, **changes):
    """A golden header with fields changed; ... takes one out."""
    raw = msgpack.unpackb(read_golden(name)[0])
    raw.update(changes)
    return msgpack.packb({key: value for key, value in raw.items() if value is not ...})


BROKEN = {
    "no frames": ("ping", []),
    "empty header": ("ping", [b""]),
    "not a map": ("ping", [msgpack.packb([1, 2])]),
    "bytes after the map": ("ping", [read_golden("ping")[0] + b"\x00"]),
    "unknown kind": ("ping", [header("ping", kind="pong")]),
    "no kind": ("ping", [header("ping", kind=...)]),
    "unknown field": ("ping", [header("ping", more=1)]),
    "unknown field inside": (
        "ack",
        [header("ack", presentations=[{"presentation": 1, "attempt": 1, "more": 1}])],
    ),
    "missing field": ("ping", [header("ping", session=...)]),
    "upper-case session": ("ping", [header("ping", session="AB")]),
    "newline after session": ("ping", [header("ping", session="ab\n")]),
    "a float for an integer": ("done", [header("done", block=3.5)]),
    "a boolean for an integer": ("done", [header("done", block=True)]),
    "below zero": ("done", [header("done", block=-1)]),
    "not exact in a double": ("done", [header("done", block=2**53 + 1)]),
    "attempt 0": ("done", [header("done", attempt=0)]),
    "long text": ("notice", [header("notice", text="x" * 2001)]),
    "extension type": (
        "ping",
        [msgpack.packb({"kind": "ping", "session": msgpack.ExtType(5, b"x")})],
    ),
    "empty extension type": ("ping", [b"\x81\xa4kind\xc7\x00\x05"]),
    "timestamp": ("ping", [b"\x82\xa4kind\xa4ping\xa7session\xd6\xff\x00\x00\x00\x00"]),
    "binary for text": ("ping", [header("ping", session=b"ab")]),
    "key twice": ("ping", [b"\x82\xa4kind\xa4ping\xa4kind\xa4ping"]),
    "integer key": ("ping", [b"\x81\x01\x01"]),
    "invalid UTF-8": ("ping", [b"\x81\xa4kind\xa1\xff"]),
    "array of 4 G entries": ("ping", [b"\xdd\xff\xff\xff\xff"]),
    "string of 4 GB": ("ping", [b"\xdb\xff\xff\xff\xff"]),
    "nested 10,000 deep": ("ping", [b"\x91" * 10_000 + b"\x01"]),
    "nested 900 deep": ("ping", [b"\x81\xa4kind" + b"\x91" * 900 + b"\x01"]),
    "long header": ("notice", [header("notice", text="x" * codec.MAX_HEADER_BYTES)]),
    "frame too many": ("ping", [header("ping"), b"x"]),
    "frame too few": ("show", read_golden("show")[:-1]),
    "short frame": ("show", [*read_golden("show")[:-1], b"x"]),
    "frames beyond the limit": ("show", [header("show")] + [b""] * 1025),
    "image of another dtype": (
        "show",
        [
            header("show", images=[{"sha256": "0" * 64, "dtype": "<f8", "shape": [1, 1, 3]}]),
            b"x" * 24,
        ],
    ),
    "image without pixels": (
        "show",
        [
            header("show", images=[{"sha256": "0" * 64, "dtype": "|u1", "shape": [0, 1, 3]}]),
            b"",
        ],
    ),
    "position not a number": (
        "show",
        [header("show", position_deg=[float("nan"), 0.0]), *read_golden("show")[1:]],
    ),
    "endless window": ("welcome", [header("welcome", window_ms=[float("-inf"), 1.0])]),
    "window backwards": ("welcome", [header("welcome", window_ms=[300.0, -100.0])]),
    "capability twice": ("hello", [header("hello", capabilities=["rates", "rates"])]),
    "no capability": ("hello", [header("hello", capabilities=[])]),
    "no unit": ("hello", [header("hello", units=[])]),
    "version of no number": ("hello", [header("hello", version="1")]),
    "version missing": ("hello", [header("hello", version=...)]),
    "array not on the list": (
        "response_rates",
        [
            header(
                "response_rates", arrays=[{"name": "rates", "dtype": "|O8", "shape": [2, 2]}]
            ),
            b"x" * 32,
        ],
    ),
    "array of another name": (
        "response_rates",
        [
            header(
                "response_rates", arrays=[{"name": "rate", "dtype": "<f8", "shape": [2, 2]}]
            ),
            read_golden("response_rates")[1],
        ],
    ),
    "array too large to exist": (
        "response_rates",
        [
            header(
                "response_rates",
                arrays=[{"name": "rates", "dtype": "<f8", "shape": [0, 2**53]}],
            ),
            b"",
        ],
    ),
    "shape below zero": (
        "response_rates",
        [
            header(
                "response_rates", arrays=[{"name": "rates", "dtype": "<f8", "shape": [-2, -2]}]
            ),
            read_golden("response_rates")[1],
        ],
    ),
    "rates not finite": (
        "response_rates",
        [header("response_rates"), np.full((2, 2), np.nan).tobytes()],
    ),
    "rates of fewer trials": (
        "response_rates",
        [
            header(
                "response_rates", arrays=[{"name": "rates", "dtype": "<f8", "shape": [1, 2]}]
            ),
            read_golden("response_rates")[1][:16],
        ],
    ),
    "edges that fall": (
        "response_counts",
        [*read_golden("response_counts")[:2], np.array([0.0, -1.0, 1.0, 2.0]).tobytes()],
    ),
    "time not finite": (
        "response_spikes",
        [*read_golden("response_spikes")[:2], np.full(3, np.inf, "<f4").tobytes()],
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_breaks_a_rule_is_refused(case):
    name, frames = BROKEN[case]
    with pytest.raises(ProtocolError):
        decoder(name)(frames)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"length": 9}, "units .s,. and times_ms .s,., p = 2, s = 11"),
        ({"presentation": 41}, "once"),
        ({"attempt": 3}, "at most the response's"),
        ({"offset_ns": 0}, "not be before"),
        ({"status": "lost"}, "status"),
        ({"onset_source": "guess"}, "onset_source"),
        ({"onset_ns": 2**63}, "onset_ns"),
    ],
)
def test_a_trial_that_contradicts_itself_is_refused(changes, match):
    raw = msgpack.unpackb(read_golden("response_spikes")[0])
    raw["trials"][0].update(changes)
    frames = [msgpack.packb(raw), *read_golden("response_spikes")[1:]]
    with pytest.raises(ProtocolError, match=match):
        codec.decode_from_rig(frames)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"image": 2}, "one of 2 images"),
        ({"presentation": 41}, "once"),
        ({"known_attempt": 2}, "known_attempt"),
        ({"on_ms": 0.0}, "on_ms"),
        ({"on_ms": float("nan")}, "on_ms|finite"),
        ({"off_ms": 60_001.0}, "off_ms"),
    ],
)
def test_a_show_that_contradicts_itself_is_refused(changes, match):
    raw = msgpack.unpackb(read_golden("show")[0])
    raw["presentations"][0].update(changes)
    with pytest.raises(ProtocolError, match=match):
        codec.decode_from_engine([msgpack.packb(raw), *read_golden("show")[1:]])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_no_float_of_any_header_may_be_endless(value):
    tried = 0
    for name in EVERY:
        raw = msgpack.unpackb(read_golden(name)[0])
        for place, key in floats_of(raw):
            kept, place[key] = place[key], value
            tried += 1
            with pytest.raises(ProtocolError):
                decoder(name)([msgpack.packb(raw), *read_golden(name)[1:]])
            place[key] = kept
    assert tried == 27


def floats_of(value) -> list:
    """Where the floats are: (container, key or index) pairs."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, item in items:
        if isinstance(item, float):
            found.append((value, key))
        elif isinstance(item, dict | list):
            found += floats_of(item)
    return found


@pytest.mark.parametrize("name", EVERY)
def test_headers_of_another_writer_are_read_as_well(name):
    """Keys in another order, numbers in long forms: not as this side would write them."""
    raw = msgpack.unpackb(read_golden(name)[0])

    def turned(value):
        if isinstance(value, dict):
            return {key: turned(value[key]) for key in reversed(value)}
        return [turned(v) for v in value] if isinstance(value, list) else value

    header = msgpack.packb(turned(raw)).replace(b"\xa4kind", b"\xd9\x04kind")
    assert header != read_golden(name)[0]
    frames = [header, *read_golden(name)[1:]]
    assert same(decoder(name)(frames), EVERY[name])


def test_a_hello_of_another_version_is_told_from_garbage_whatever_it_holds():
    with pytest.raises(VersionError) as caught:
        codec.decode_from_rig([msgpack.packb({"kind": "hello", "version": 7, "new": [1]})])
    assert caught.value.version == 7


def test_neither_side_reads_what_only_the_other_may_say():
    with pytest.raises(ProtocolError):
        codec.decode_from_rig(read_golden("end"))
    with pytest.raises(ProtocolError):
        codec.decode_from_engine(read_golden("bye"))


def test_what_breaks_a_rule_is_not_sent_either():
    message, arrays = show()
    for wrong in (
        (message, arrays[:1]),
        (message, (arrays[0], arrays[1].astype(np.float32))),
        (message, (arrays[0], image(0, 4, 6)[::2, ::2])),
        (msgspec.structs.replace(message, size_deg=0.0), arrays),
        (msgspec.structs.replace(message, size_deg=float("nan")), arrays),
        (hello(window_ms=(1.0, 0.0)), ()),
        (m.Notice("info", "x" * 2001), ()),
    ):
        with pytest.raises(ProtocolError):
            codec.encode_message(*wrong)


def test_a_header_that_is_too_long_says_what_to_do():
    many = tuple(m.Unit(i, 0, "IT", "x" * 200) for i in range(10_000))
    with pytest.raises(ProtocolError, match="several messages"):
        codec.encode_message(hello(units=many))


@pytest.mark.parametrize(
    ("mixed", "match"),
    [
        ([result(0), result(1, form="rates")], "one form"),
        ([result(0, arrays={"units": np.zeros(0, "<u4")})], "must have the arrays"),
        (
            [
                result(0, form="counts"),
                result(
                    1,
                    form="counts",
                    arrays={
                        "counts": np.zeros((2, 1), "<u2"),
                        "edges_ms": np.array([0.0, 1.0]),
                    },
                ),
            ],
            "same|share",
        ),
    ],
)
def test_results_that_cannot_share_a_message_are_refused(mixed, match):
    with pytest.raises((ProtocolError, ValueError), match=match):
        pack_results(mixed, block=0, attempt=1)


# ---------------------------------------------------------------- anything at all

frames_of = st.sampled_from(sorted(EVERY)).map(read_golden)
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | text
    | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)


def read_anything(frames) -> None:
    for decode in (codec.decode_from_engine, codec.decode_from_rig):
        try:
            message, arrays = decode(frames)
        except ProtocolError:
            continue
        # What gets through keeps every rule, so it can be said again.
        codec.encode_message(message, [np.ascontiguousarray(a) for a in arrays])


@given(st.lists(st.binary(max_size=200), max_size=4))
def test_random_bytes_raise_nothing_but_protocol_errors(frames):
    read_anything(frames)


@given(frames_of, st.data())
def test_damaged_frames_raise_nothing_but_protocol_errors(frames, data):
    frames = [bytearray(f) for f in frames]
    for _ in range(data.draw(st.integers(1, 4))):
        frame = frames[data.draw(st.integers(0, len(frames) - 1))]
        where = data.draw(st.integers(0, max(0, len(frame) - 1)))
        frame[where : where + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    read_anything([bytes(f) for f in frames])


@examples(2)
@given(frames_of, st.data())
def test_wrong_values_raise_nothing_but_protocol_errors(frames, data):
    raw = msgpack.unpackb(frames[0])
    spot = raw
    while True:
        key = data.draw(
            st.sampled_from(sorted(spot) if isinstance(spot, dict) else range(len(spot)))
        )
        inner = spot[key]
        if isinstance(inner, dict | list) and len(inner) and data.draw(st.booleans()):
            spot = inner
            continue
        spot[key] = data.draw(plain)
        break
    read_anything([msgpack.packb(raw), *frames[1:]])


@pytest.mark.parametrize("case", BROKEN)
def test_memory_stays_in_proportion(case):
    name, frames = BROKEN[case]
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError):
            decoder(name)(frames)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 200_000 + 100 * sum(map(len, frames))


@pytest.mark.parametrize("text", ["x" * 75, "é" * 37, "中" * 25], ids=["1", "2", "3"])
def test_as_many_units_as_promised_fit_into_a_header(text):
    most = 2**53
    units = tuple(m.Unit(most, most, text, text) for _ in range(10_000))
    sent = hello(units=units)
    message, _ = codec.decode_from_rig(codec.encode_message(sent))
    assert message.units == units


def test_as_many_images_as_promised_fit_into_a_header():
    info = m.ImageInfo("f" * 64, "|u1", (8192, 8192, 3))
    asked = m.PresentationRequest(
        presentation=0,
        image=1023,
        on_ms=60_000.0,
        off_ms=60_000.0,
        known_attempt=2**31 - 1,
        size_deg=179.5,
        position_deg=(-179.5, 179.5),
    )
    sent = msgspec.structs.replace(
        FROM_ENGINE["show"][0],
        images=(info,) * 1024,
        presentations=tuple(
            msgspec.structs.replace(asked, presentation=2**53 - k) for k in range(1024)
        ),
    )
    assert 65_536 < len(codec.encode_header(sent)) < codec.MAX_HEADER_BYTES
