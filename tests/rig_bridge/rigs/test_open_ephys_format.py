"""The bytes of Open Ephys' ZMQ Interface: as the plugin sends them, and as nobody should."""

import contextlib
import json
import random
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rig_bridge.errors import EndpointError, ProtocolError
from rig_bridge.rigs.open_ephys.format import (
    Data,
    Other,
    Spike,
    Ttl,
    decode_plugin,
    encode_plugin,
    heartbeat,
)
from rig_bridge.rigs.open_ephys.units import UnitTable

# As the plugin's JSON writer lays a header out: several lines, ended by carriage returns.
DATA = (
    b"DATA\0",
    (
        b'{\r\n  "message_num": 12,\r\n  "type": "data",\r\n  "content": {\r\n'
        b'    "stream": "example_data",\r\n    "channel_num": 3,\r\n    "num_samples": 4,\r\n'
        b'    "sample_num": 4294967296,\r\n    "sample_rate": 30000.0\r\n  },\r\n'
        b'  "data_size": 16,\r\n  "timestamp": 1790000000000\r\n}'
    ),
    struct.pack("<4f", 1.0, -2.0, 3.5, float("nan")),
)
SPIKE = (
    b"EVENT\0",
    (
        b'{\r\n  "message_num": 13,\r\n  "type": "spike",\r\n  "spike": {\r\n'
        b'    "stream": "example_data",\r\n    "source_node": 107,\r\n'
        b'    "electrode": "Electrode 7",\r\n    "sample_num": 4294967300,\r\n'
        b'    "num_channels": 1,\r\n    "num_samples": 40,\r\n    "sorted_id": 2,\r\n'
        b'    "threshold": [\r\n      -50.0\r\n    ]\r\n  },\r\n'
        b'  "timestamp": 1790000000000\r\n}'
    ),
    bytes(160),
)
TTL_UP = (
    b"EVENT\0",
    (
        b'{\r\n  "message_num": 14,\r\n  "type": "event",\r\n  "content": {\r\n'
        b'    "stream": "example_data",\r\n    "source_node": 100,\r\n    "type": 3,\r\n'
        b'    "sample_num": 4294967400\r\n  },\r\n  "data_size": 10,\r\n'
        b'  "timestamp": 1790000000000\r\n}'
    ),
    bytes.fromhex("05 01 20 00 00 00 00 00 00 00"),
)
GOLDEN = [
    (DATA, Data(12, "example_data", 3, 4294967296, 4, 30000.0)),
    (SPIKE, Spike(13, "example_data", "Electrode 7", 2, 4294967300)),
    (TTL_UP, Ttl(14, "example_data", 5, True, 4294967400)),
]
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
counts = st.integers(0, 2**53)


@pytest.mark.parametrize(("frames", "message"), GOLDEN, ids=["data", "spike", "ttl"])
def test_golden_bytes(frames, message):
    assert decode_plugin(frames) == message
    assert decode_plugin([memoryview(f) for f in frames]) == message


@pytest.mark.parametrize(("frames", "message"), GOLDEN, ids=["data", "spike", "ttl"])
def test_the_emulator_sends_what_the_plugin_sends(frames, message):
    node = 100 if isinstance(message, Ttl) else 107
    payload = frames[2][2:] if isinstance(message, Ttl) else frames[2]
    sent = encode_plugin(message, payload, node=node, now_ms=1_790_000_000_000)
    expected = json.loads(frames[1])
    if isinstance(message, Data):
        expected["content"]["channel_name"] = "CH4"  # newer versions name it
    assert (sent[0], json.loads(sent[1]), sent[2]) == (frames[0], expected, frames[2])


@given(counts, names, st.integers(0, 1000), counts, st.integers(0, 100), st.floats(1, 1e6))
def test_data_survive_the_wire(number, stream, channel, sample, samples, rate):
    sent = Data(number, stream, channel, sample, samples, rate)
    frames = encode_plugin(sent, np.zeros(samples, "<f4").tobytes(), node=1, now_ms=0)
    assert decode_plugin(frames) == sent


@given(counts, names, names, st.integers(0, 2**32 - 1), counts)
def test_spikes_survive_the_wire(number, stream, electrode, sorted_id, sample):
    sent = Spike(number, stream, electrode, sorted_id, sample)
    assert decode_plugin(encode_plugin(sent, bytes(160), node=1, now_ms=0)) == sent


@given(counts, names, st.integers(0, 255), st.booleans(), counts)
def test_edges_survive_the_wire(number, stream, line, state, sample):
    sent = Ttl(number, stream, line, state, sample)
    assert decode_plugin(encode_plugin(sent, bytes(8), node=1, now_ms=0)) == sent


def header(**changes):
    content = {
        "stream": "s", "channel_num": 0, "num_samples": 1, "sample_num": 5, "sample_rate": 1e4,
        "type": 3,
    }  # fmt: skip
    made = {"message_num": 1, "type": "data", "content": content}
    for key, value in changes.items():
        place = content if key in content and key != "type" else made
        place[key] = value
    return json.dumps(made).encode()


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        ([], "2 or 3 frames"),
        ([b"DATA\0"], "2 or 3 frames"),
        ([b"DATA\0", b"{}", b"", b""], "2 or 3 frames"),
        ([b"DATAX", b"{}", b""], "DATA or EVENT"),
        ([b"DATA" + bytes(100), header(), bytes(4)], "DATA or EVENT"),
        ([b"DATA\0", b"", b""], "not a header"),
        ([b"DATA\0", b"\xff\xfe", b""], "not a header"),
        ([b"DATA\0", b"[" * 60_000, b""], "not a header"),
        ([b"DATA\0", b" " * 70_000, b""], "at most 65536 bytes"),
        ([b"DATA\0", header(message_num=-1), bytes(4)], "message_num"),
        ([b"DATA\0", header(message_num=2**60), bytes(4)], "message_num"),
        ([b"DATA\0", header(sample_num=-5), bytes(4)], "sample_num"),
        ([b"DATA\0", header(sample_num="5"), bytes(4)], "sample_num"),
        ([b"DATA\0", header(sample_rate=0), bytes(4)], "sample_rate"),
        ([b"DATA\0", header(num_samples=2**40), bytes(4)], "num_samples"),
        ([b"DATA\0", header(num_samples=2), bytes(4)], "8 bytes of float32; got 4"),
        ([b"DATA\0", header(stream="x" * 300), bytes(4)], "stream"),
        ([b"EVENT\0", header(type="spike"), bytes(4)], "not a header"),
        ([b"EVENT\0", header(type="event"), bytes(4)], "10 bytes; got 4"),
        ([b"EVENT\0", header(type="event")], "10 bytes; got 0"),
        ([b"EVENT\0", header(type="event"), b"\x00\x02" + bytes(8)], "must be 0 or 1; got 2"),
    ],
)
def test_what_is_no_message_is_named(frames, said):
    with pytest.raises(ProtocolError, match=said):
        decode_plugin(frames)


def test_messages_of_no_use_keep_their_number():
    assert decode_plugin([b"EVENT\0", header(type="param", message_num=9)]) == Other(9)
    content = {"stream": "s", "sample_num": 5, "type": 5}
    text = json.dumps({"message_num": 4, "type": "event", "content": content}).encode()
    assert decode_plugin([b"EVENT\0", text, b"hello"]) == Other(4)


@given(st.lists(st.binary(max_size=300), max_size=4))
def test_any_bytes_are_a_message_or_a_protocol_error(frames):
    with contextlib.suppress(ProtocolError):
        decode_plugin(frames)


def test_damaged_messages_are_messages_or_protocol_errors():
    rng = random.Random(11)
    refused = 0
    for _ in range(20_000):
        frames = [bytearray(f) for f in rng.choice(GOLDEN)[0]]
        for _ in range(rng.randint(1, 4)):
            frame = rng.choice(frames)
            match rng.randrange(3):
                case 0 if frame:
                    frame[rng.randrange(len(frame))] ^= 1 << rng.randrange(8)
                case 1:
                    del frame[rng.randrange(len(frame) + 1) :]
                case _:
                    frame += bytes(rng.randrange(256) for _ in range(rng.randrange(4)))
        try:
            decode_plugin([bytes(f) for f in frames])
        except ProtocolError:
            refused += 1
    assert 5_000 < refused < 20_000


def test_a_heartbeat():
    assert json.loads(heartbeat("evolver", "ab")) == {
        "application": "evolver",
        "uuid": "ab",
        "type": "heartbeat",
    }


class TestUnits:
    def write(self, tmp_path, text):
        path = tmp_path / "units.csv"
        path.write_text(text, encoding="utf-8")
        return path

    def test_a_cluster_before_its_electrode(self, tmp_path):
        table = UnitTable.load(
            self.write(
                tmp_path,
                "electrode,sorted_id,channel,area,label\n"
                "Electrode 1,,17,IT,multi\nElectrode 1,2,17,IT,\nElectrode 2,1,,V4,b\n",
            )
        )
        assert [(u.channel, u.unit, u.area, u.label) for u in table.units] == [
            (17, 0, "IT", "multi"),
            (17, 2, "IT", "Electrode 1:2"),
            (2, 1, "V4", "b"),
        ]
        found = [
            table.find(*spike)
            for spike in (
                ("Electrode 1", 0),
                ("Electrode 1", 2),
                ("Electrode 1", 9),
                ("Electrode 2", 1),
                ("Electrode 2", 0),
                ("?", 0),
            )
        ]
        assert found == [0, 1, 0, 2, None, None]

    def test_electrodes(self):
        table = UnitTable.electrodes(3, "Tetrode {}")
        assert [u.label for u in table.units] == ["Tetrode 1", "Tetrode 2", "Tetrode 3"]
        assert table.find("Tetrode 3", 7) == 2

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "column 'electrode'"),
            ("electrode,colour\na,b\n", "colour"),
            ("electrode\n", "1 to 1000 units"),
            ("electrode,sorted_id\na,x\n", "line 2: numbers must be whole"),
            ("electrode\n \n", "must have a name"),
            ("electrode,sorted_id\na,-1\n", "below 0"),
            ("electrode\na\na\n", "there twice"),
        ],
    )
    def test_a_table_that_is_wrong_is_named(self, tmp_path, text, said):
        with pytest.raises(EndpointError, match=said):
            UnitTable.load(self.write(tmp_path, text))

    def test_a_table_that_is_not_there(self, tmp_path):
        with pytest.raises(EndpointError, match="No such file"):
            UnitTable.load(tmp_path / "none.csv")
        with pytest.raises(EndpointError, match="an electrode's name must have"):
            UnitTable.electrodes(2, "E")
