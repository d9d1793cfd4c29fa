"""Weight files of strangers: nothing in them runs, nothing they claim takes memory."""

import io
import math
import re
import resource
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evolver.errors import WeightsError
from evolver.weights.mxnet_files import read_mxnet
from evolver.weights.read import fill, read_weights
from evolver.weights.torch_files import read_torch
from tests.generators.recipe import GOLDEN

TENSORS = {
    "a.weight": torch.arange(12.0).reshape(3, 4),
    "a.bias": torch.tensor([1, -2, 3], dtype=torch.int64),
    "b": torch.full((2, 2), 0.5, dtype=torch.float16),
}
HERE = Path("stranger.pt")


def saved(value, *, zipped=True):
    out = io.BytesIO()
    torch.save(value, out, _use_new_zipfile_serialization=zipped)
    return out.getvalue()


def rezipped(content, changes, *, compression=zipfile.ZIP_STORED):
    """Return torch's archive with the bytes of some entries replaced."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as old,
        zipfile.ZipFile(out, "w", compression) as new,
    ):
        for entry in old.infolist():
            part = entry.filename.partition("/")[2]
            changed = changes.get(part, lambda b: b)(old.read(entry))
            new.writestr(entry.filename, changed)
    return out.getvalue()


@pytest.mark.parametrize("zipped", [True, False])
def test_both_of_torchs_layouts_are_read(zipped, tmp_path):
    read = read_torch(saved(TENSORS, zipped=zipped), path=HERE)
    assert list(read) == list(TENSORS)
    for name, tensor in TENSORS.items():
        assert read[name].dtype == tensor.dtype
        torch.testing.assert_close(read[name], tensor, rtol=0, atol=0)
    path = tmp_path / "w.bin"
    path.write_bytes(saved(TENSORS, zipped=zipped))
    widened, digest = read_weights(path)
    assert widened["b"].dtype == torch.float32
    assert len(digest) == 64


@pytest.mark.parametrize("zipped", [True, False])
def test_a_modules_state_with_its_metadata_and_parameters(zipped):
    module = torch.nn.Linear(3, 2)
    assert set(read_torch(saved(module.state_dict(), zipped=zipped), path=HERE)) == {
        "weight", "bias",
    }  # fmt: skip
    read = read_torch(saved(dict(module.named_parameters()), zipped=zipped), path=HERE)
    assert not read["weight"].requires_grad


class Tripwire:
    def __reduce__(self):
        return (pytest.fail, ("code in a file of weights was run",))


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "value",
    [
        {"a": Tripwire()},
        Tripwire(),
        {"a": torch.zeros(2), "b": [Tripwire()]},
        torch.nn.Linear(2, 2),
        {"a": np.zeros(3)},
    ],
)
def test_embedded_code_is_refused_by_name(value, zipped):
    with pytest.raises(WeightsError, match=r"names '[\w.]+'.*It was not run"):
        read_torch(saved(value, zipped=zipped), path=HERE)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (b"\x80\x02cposix\nsystem\nU\x04true\x85R.", "'posix.system'"),
        (b"\x80\x02U\x05posixU\x06system\x93U\x04true\x85R.", "STACK_GLOBAL"),
        (b"\x80\x02(U\x04trueiposix\nsystem\n.", "INST"),
        (b"\x80\x02]\x82\x01.", "EXT1"),
        (b"\x80\x04}.", "protocol 2"),
        (b"\x80\x02}", "damaged or cut short"),
        (b"\x80\x02}.", "tensors by name; it holds a dict"),
        (b"\x80\x02]\x94.", "damaged"),
        (b"\x80\x02X\xff\xff\xff\x7f.", "damaged"),
        (b"\x80\x02r\xff\xff\xff\xff.", "damaged"),
    ],
)
def test_hostile_pickles(code, reason):
    good = saved(TENSORS)
    with pytest.raises(WeightsError, match=reason):
        read_torch(rezipped(good, {"data.pkl": lambda _: code}), path=HERE)


def _larger(pickled):
    """Let the (3, 4) tensor's shape say (2^40, 4)."""
    assert pickled.count(b"K\x03K\x04\x86") == 1
    return pickled.replace(b"K\x03K\x04\x86", _pickled(1 << 40) + b"K\x04\x86")


def _longer(pickled):
    """Let its storage say that it has 2^32 numbers, not 12."""
    changed, count = re.subn(rb"K\x0c(N?tq)", lambda m: _pickled(1 << 32) + m[1], pickled)
    assert count == 1
    return changed


def _pickled(number):
    return b"\x8a\x06" + number.to_bytes(6, "little")


@pytest.mark.parametrize("zipped", [True, False])
def test_lying_shapes(zipped):
    good = saved(TENSORS, zipped=zipped)
    bad = rezipped(good, {"data.pkl": _larger}) if zipped else _larger(good)
    with pytest.raises(WeightsError, match="its shapes are not those of what is in it"):
        read_torch(bad, path=HERE)
    bad = rezipped(good, {"data.pkl": _longer}) if zipped else _longer(good)
    with pytest.raises(WeightsError, match="its shapes are not those of what is in it"):
        read_torch(bad, path=HERE)


def test_archives_that_are_not_torchs():
    good = saved(TENSORS)
    with pytest.raises(WeightsError, match="must not be compressed"):
        read_torch(rezipped(good, {}, compression=zipfile.ZIP_DEFLATED), path=HERE)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a/b", b"")
    with pytest.raises(WeightsError, match=r"data\.pkl; it holds 0"):
        read_torch(out.getvalue(), path=HERE)
    with pytest.raises(WeightsError, match="at most 4 MiB"):
        read_torch(rezipped(good, {"data.pkl": lambda b: b + bytes(5 << 20)}), path=HERE)


@pytest.mark.parametrize(
    "value",
    [{}, [torch.zeros(2)], {"a": {"b": torch.zeros(2)}}, {1: torch.zeros(2)}, {"a": 3}],
)
def test_what_is_no_table_of_tensors(value):
    with pytest.raises(WeightsError, match="tensors by name"):
        read_torch(saved(value), path=HERE)


def test_odd_tensors():
    with pytest.raises(WeightsError, match=r"plain numbers|names"):
        read_torch(saved({"a": torch.zeros(2, dtype=torch.complex64)}), path=HERE)
    with pytest.raises(WeightsError, match=r"plain numbers|names"):
        read_torch(saved({"a": torch.eye(3).to_sparse()}), path=HERE)
    many = torch.zeros(1).expand(10**6)
    with pytest.raises(WeightsError, match="its shapes are not those"):
        read_torch(saved({"a": many}), path=HERE)


MX = (GOLDEN / "pggan_hyper_tiny.params").read_bytes()


def listed(arrays, *, magic=0xF993FAC9, kinds=None):
    """Write arrays as MXNet does."""
    out = struct.pack("<QQQ", 0x112, 0, len(arrays))
    for array in arrays.values():
        kind = {"f4": 0, "f8": 1, "f2": 2, "u1": 3, "i4": 4, "i1": 5, "i8": 6}[
            array.dtype.str[1:]
        ]
        out += struct.pack("<I", magic) + (b"" if magic == 0xF993FAC8 else struct.pack("<i", 0))
        out += struct.pack(f"<I{array.ndim}q", array.ndim, *array.shape)
        out += struct.pack("<iii", 1, 0, kind if kinds is None else kinds) + array.tobytes()
    out += struct.pack("<Q", len(arrays))
    for name in arrays:
        out += struct.pack("<Q", len(name)) + name.encode()
    return out


@pytest.mark.parametrize("magic", [0xF993FAC8, 0xF993FAC9, 0xF993FACA])
def test_mxnets_lists_are_read(magic):
    arrays = {
        "arg:w": np.arange(6, dtype="f4").reshape(2, 3),
        "aux:m": np.arange(4, dtype="f8"),
        "h": np.ones((1, 2, 1), "f2"),
        "i": np.array([[7]], "i8"),
    }
    read = read_mxnet(listed(arrays, magic=magic), path=HERE)
    assert list(read) == ["w", "m", "h", "i"]
    for one, other in zip(read.values(), arrays.values(), strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (MX[:-1], "needs"),
        (MX[:30], "lists 18 arrays"),
        (MX + b"\0", "1 bytes follow"),
        (MX[:16] + struct.pack("<Q", 1 << 60) + MX[24:], "lists 1152921504606846976 arrays"),
        (MX[:24] + b"\0\0\0\0" + MX[28:], "begins with 0x0"),
        (MX[:28] + struct.pack("<i", 1) + MX[32:], "sparse"),
        (MX[:32] + struct.pack("<I", 9) + MX[36:], "9 dimensions"),
        (MX[:32] + struct.pack("<I", 0) + MX[36:], "0 dimensions"),
        (MX[:36] + struct.pack("<q", 1 << 50) + MX[44:], "an array of shape"),
        (MX[:36] + struct.pack("<q", -384) + MX[44:], "an array of shape"),
        (listed({"a": np.ones(2, "f4")}, kinds=12), "type 12"),
        (listed({"a": np.ones(2, "f4")})[:-9] + struct.pack("<Q", 1 << 40), "a name of"),
        (listed({"a": np.ones(2, "f4"), "arg:a": np.ones(2, "f4")}), "twice"),
    ],
)
def test_hostile_lists(content, reason):
    with pytest.raises(WeightsError, match=reason):
        read_mxnet(content, path=HERE)


GOOD = {
    "zip": saved(TENSORS),
    "row": saved(TENSORS, zipped=False),
    "params": listed({k: v.numpy() for k, v in TENSORS.items()}),
    "safetensors": safetensors.torch.save(TENSORS),
}


@pytest.mark.parametrize("kind", GOOD)
@settings(max_examples=120)
@given(data=st.data())
def test_a_damaged_file_is_refused_or_has_all_its_numbers(kind, data, tmp_path_factory):
    """Bytes changed, dropped or put in anywhere, and the end cut off."""
    content = bytearray(GOOD[kind])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        new = data.draw(st.binary(max_size=9))
        content[at : at + data.draw(st.integers(0, 9))] = new
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    path = tmp_path_factory.getbasetemp() / f"damaged-{kind}"
    path.write_bytes(content)
    try:
        tensors, _ = read_weights(path)
    except WeightsError:
        return
    numbers = sum(math.prod(t.shape) for t in tensors.values())
    assert numbers <= len(content)


def test_a_claim_of_terabytes_takes_no_memory(tmp_path):
    """Each kind of lie, read in a process that may have little more than torch needs."""
    header = b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}'
    huge = MX[:36] + struct.pack("<q", 1 << 50) + MX[44:]
    zipped = rezipped(GOOD["zip"], {"data.pkl": _larger})
    for name, content in {
        "zip": zipped,
        "row": _larger(GOOD["row"]),
        "numbers": _longer(GOOD["row"]),
        "params": huge,
        "safetensors": struct.pack("<Q", len(header)) + header,
    }.items():
        (tmp_path / name).write_bytes(content)
    code = """
import resource, sys
from pathlib import Path
from evolver.errors import WeightsError
from evolver.weights.read import read_weights
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        read_weights(path)
    except WeightsError:
        continue
    sys.exit(f"{path} was read")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, text=True
    )
    kib = int(run.stdout) if sys.platform != "darwin" else int(run.stdout) // 1024
    assert kib < 64 * 1024, "most of it torch's own, read on first use"


def test_a_file_too_large_is_not_read(tmp_path):
    path = tmp_path / "large.pt"
    with path.open("wb") as file:
        file.truncate((4 << 30) + 1)  # a hole: it takes no room
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(WeightsError, match="at most 4 GiB"):
        read_weights(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


def test_filling_a_network_of_shapes_alone():
    with torch.device("meta"):
        net = torch.nn.Linear(4, 3)
    tensors = {"weight": torch.ones(3, 4), "bias": torch.zeros(3)}
    fill(net, tensors, path=HERE)
    torch.testing.assert_close(net(torch.ones(1, 4)), torch.full((1, 3), 4.0))
    with pytest.raises(WeightsError, match="differs in"):
        fill(net, tensors | {"bias": torch.zeros(4)}, path=HERE)
