"""docs/PROTOCOL.md and the code say the same."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from rig_bridge import codec, flood, sockets
from rig_bridge import messages as m
from rig_bridge.forms import FORMS
from tests.rig_bridge.samples import FROM_ENGINE, FROM_RIG

TEXT = (Path(__file__).parents[2] / "docs" / "PROTOCOL.md").read_text(encoding="utf-8")
EVERY = {**FROM_ENGINE, **FROM_RIG}
KINDS = {kind.__struct_config__.tag: kind for kind in (m.FromEngine | m.FromRig).__args__}


def section(kind: str) -> str:
    """The part of the text about one message."""
    found = re.search(rf"^### {kind} \(.*?(?=^##)", TEXT, re.MULTILINE | re.DOTALL)
    assert found, f"no section on {kind}"
    return found[0]


def test_the_version_is_the_codes():
    assert re.findall(r"^Protocol version: (\d+)$", TEXT, re.MULTILINE) == [str(m.VERSION)]


def test_the_limits_are_the_codes():
    for number in (
        codec.MAX_HEADER_BYTES,
        codec.MAX_FRAME_BYTES,
        sockets.HEARTBEAT_MS,
        sockets.HEARTBEAT_TIMEOUT_MS,
        sockets.HIGH_WATER_MARK,
        codec.MAX_FRAMES,
        m.MAX_SHOWN_AT_ONCE,
    ):
        assert f"{number:,}" in TEXT or str(number) in TEXT
    for size in (codec.MAX_MESSAGE_BYTES, flood.RIG_BYTES, flood.STRANGERS_BYTES):
        assert f"{size // 2**20} MiB" in TEXT
    assert f"{flood.CONNECTIONS}\nconnections" in TEXT


@pytest.mark.parametrize("kind", KINDS)
def test_every_message_and_every_field_is_described(kind):
    text = section(kind)
    keys = re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)))
    fields = [field.encode_name for field in msgspec.structs.fields(KINDS[kind])]
    trial = [field.name for field in msgspec.structs.fields(m.Trial)]
    forms = ["spikes", "counts", "rates"]
    assert keys == ["kind", *fields, *(trial + forms if kind == "response" else [])]
    direction = "engine → rig" if KINDS[kind] in m.FromEngine.__args__ else "rig → engine"
    assert text.startswith(f"### {kind} ({direction})")


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        (m.Unit, "hello"),
        (m.ScreenInfo, "hello"),
        (m.ImageInfo, "show"),
        (m.PresentationRequest, "show"),
        (m.Acknowledged, "ack"),
        (m.ArraySpec, "response"),
    ],
)
def test_every_part_is_described(part, kind):
    for field in msgspec.structs.fields(part):
        assert re.search(rf"\b{field.name}\b", section(kind)), field.name


def test_every_array_is_described():
    for form, arrays in FORMS.items():
        row = re.search(rf"^\| `{form}` \| (.*)$", section("response"), re.MULTILINE)[1]
        described = re.findall(r"`(\w+)` `(<\w+)` \(([^)]*)\)", row)
        assert [
            (name, dtype, tuple(axis.strip() for axis in axes.split(",") if axis.strip()))
            for name, dtype, axes in described
        ] == [(array.name, array.dtype, array.message_axes) for array in arrays]


def test_the_bytes_are_what_the_code_sends_and_reads():
    examples = dict(
        re.findall(r"^`(\w+)`\n\n```hex\n(.*?)```$", TEXT, re.MULTILINE | re.DOTALL)
    )
    assert set(examples) == set(EVERY)
    for name, lines in examples.items():
        frames = [bytes.fromhex(line) for line in lines.splitlines()]
        assert [bytes(frame) for frame in codec.encode_message(*EVERY[name])] == frames
        decode = codec.decode_from_engine if name in FROM_ENGINE else codec.decode_from_rig
        assert decode(frames)[0] == EVERY[name][0]
