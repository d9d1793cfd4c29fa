"""What PROTOCOL.md tells the author of a rig, held against both halves, a test a statement."""

import msgpack
import numpy as np
import pytest

from rig_bridge import codec
from rig_bridge import messages as m
from rig_bridge.errors import ProtocolError
from rig_bridge.events import Responded
from rig_bridge.rig_link import StopPresenting
from rig_bridge.trials import aborted, pack_results, unpack_results
from tests.rig_bridge.halves import (
    answer,
    ask,
    joined_engine,
    labels,
    next_shown,
    said,
    show_message,
    welcome,
    welcomed_rig,
)
from tests.rig_bridge.samples import FROM_RIG, hello, request, result


def repacked(message, change):
    """The frames of a message whose header, as a map, was changed."""
    header, *arrays = codec.encode_message(*message)
    raw = msgpack.unpackb(bytes(header))
    return [msgpack.packb(change(raw)), *arrays]


def test_a_hello_may_be_repeated():
    engine = joined_engine()
    engine.show(request(), 0.0)
    for now in (1.0, 2.0):
        actions = engine.received(b"A", hello(), (), now)
        assert len(said(actions, m.Welcome)) == 1
        (again,) = said(actions, m.Show)
        assert [p.presentation for p in again.presentations] == [0, 1, 2]


def test_every_show_is_accepted_also_one_that_repeats_what_is_known():
    rig = welcomed_rig()
    ask(rig, request())
    while (label := next_shown(rig)) is not None:
        rig.presented(result(*label[1:]))
    rig.flush()
    actions = ask(rig, request(attempt=2))
    assert [a.attempt for a in said(actions, m.Accepted)] == [2]
    assert labels(actions) == [(0, 1), (1, 1), (2, 1)]


def test_a_show_brings_every_image_that_it_names_so_one_may_be_forgotten():
    engine, rig = joined_engine(), welcomed_rig()
    (first,) = engine.show(request(), 0.0)
    answer(engine, [result(0)])
    again = said(engine.tick(1000.0), m.Show)[0]
    digests = {image.sha256 for image in first.message.images}
    assert {image.sha256 for image in again.images} <= digests
    assert len(again.images) == len({p.image for p in again.presentations})
    rig.received(first.message, first.arrays, 0.0)
    while next_shown(rig) is not None:
        rig.presented(result(rig._showing.presentation, 1))
    assert rig._images == {}
    assert len(rig.kept) == 3


def test_a_trial_without_spikes_has_its_frames():
    empty = {"units": np.zeros(0, "<u4"), "times_ms": np.zeros(0, "<f4")}
    frames = codec.encode_message(*pack_results([result(0, arrays=empty)], block=0, attempt=1))
    assert [len(bytes(frame)) for frame in frames[1:]] == [0, 0]
    message, arrays = codec.decode_from_rig(frames)
    assert [spec.shape for spec in message.arrays] == [(0,), (0,)]
    assert unpack_results(message, arrays)[0].ok
    with pytest.raises(ProtocolError, match="must have 2 frames"):
        codec.decode_from_rig(frames[:1])


@pytest.mark.parametrize(
    "given",
    [
        result(
            0,
            arrays={
                "units": np.array([1, 0, 1], "<u4"),
                "times_ms": np.array([290.0, 5000.0, -900.0], "<f4"),  # no order, no window
            },
        ),
        result(
            0,
            form="counts",
            arrays={
                "counts": np.zeros((2, 2), "<u2"),
                "edges_ms": np.array([-500.0, 0.0, 900.0]),  # wider than the window
            },
        ),
    ],
)
def test_spikes_and_edges_need_not_lie_in_the_window(given):
    engine = joined_engine()
    engine.show(request(), 0.0)
    frames = codec.encode_message(*pack_results([given], block=0, attempt=1))
    actions = engine.received(b"A", *codec.decode_from_rig(frames), 0.0)
    (handed_up,) = [a for a in actions if isinstance(a, Responded)]
    assert handed_up.trials[0].ok


def test_a_showing_without_onset_has_one_time_and_nothing_in_its_arrays():
    rig = welcomed_rig()
    ask(rig, request())
    assert next_shown(rig)
    made = aborted(rig._showing, "blinked", form="spikes", units=2, time_ns=77)
    assert (made.commanded_ns, made.onset_ns, made.offset_ns) == (77, 77, 77)
    assert made.onset_source == "command"
    frames = codec.encode_message(*pack_results([made], block=0, attempt=1))
    assert codec.decode_from_rig(frames)[0].trials[0].status == "aborted"


def test_hold_stops_the_next_image_and_nothing_else():
    rig = welcomed_rig()
    ask(rig, request())
    assert next_shown(rig) == (0, 0, 1)
    rig.received(m.Hold(welcome().session, on=True), (), 0.0)
    rig.presented(result(0))
    assert next_shown(rig) is None
    assert labels(sent := rig.flush()) == [(0, 1)]
    assert said(sent, m.Done) == []
    rig.received(m.Ack(0, (m.Acknowledged(0, 1),)), (), 0.0)
    assert rig.kept == {}
    shown, arrays = show_message(request(block=1))
    assert said(rig.received(shown, arrays, 0.0), m.Accepted)
    assert next_shown(rig) is None
    rig.received(m.Hold(welcome().session, on=False), (), 0.0)
    assert next_shown(rig) == (0, 1, 1)


def test_what_is_kept_at_the_end_is_dropped():
    rig = welcomed_rig()
    ask(rig, request())
    assert next_shown(rig)
    rig.presented(result(0))
    actions = rig.received(m.End("stopped"), (), 0.0)
    assert said(actions, m.Bye)
    assert any(isinstance(a, StopPresenting) for a in actions)
    assert rig.kept == {}


def test_the_examples_are_for_decoding_other_bytes_say_the_same():
    def other_way(raw):
        raw["window_ms"] = [int(edge) for edge in raw["window_ms"]]
        raw["display"]["refresh_hz"] = 60
        return dict(reversed(raw.items()))

    frames = repacked(FROM_RIG["hello"], other_way)
    assert codec.decode_from_rig(frames)[0] == FROM_RIG["hello"][0]

    def float_for_an_integer(raw):
        return {**raw, "block": float(raw["block"])}

    with pytest.raises(ProtocolError):
        codec.decode_from_rig(repacked(FROM_RIG["done"], float_for_an_integer))
