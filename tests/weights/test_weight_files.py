"""Weight files of strangers: nothing in them runs, nothing they claim takes memory."""

import io
import json
import math
import os
import re
import resource
import struct
import sys
import tracemalloc
import zipfile
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from evolver.errors import WeightsError
from evolver.generators.stylegan3.convert import read_converted
from evolver.weights.kinds import MOST_TENSORS, kind_of
from evolver.weights.mxnet_files import read_mxnet
from evolver.weights.read import fill, fitted, floats, read_weight_file, read_weights
from evolver.weights.safe_network import read_network
from evolver.weights.torch_files import read_torch
from tests import children
from tests.generators.recipe import GOLDEN
from tests.soak import examples

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
    read = read_torch(saved(TENSORS, zipped=zipped), path=HERE).tables[""]
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
    state = read_torch(saved(module.state_dict(), zipped=zipped), path=HERE).tables[""]
    assert set(state) == {"weight", "bias"}
    content = saved(dict(module.named_parameters()), zipped=zipped)
    read = read_torch(content, path=HERE).tables[""]
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
    ],
)
def test_embedded_code_is_refused_by_name(value, zipped):
    with pytest.raises(WeightsError, match=r"the name '[\w.]+' is refused.*It was not run"):
        read_torch(saved(value, zipped=zipped), path=HERE)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (b"\x80\x02cposix\nsystem\nU\x04true\x85R.", "'posix.system'"),
        (b"\x80\x02U\x05posixU\x06system\x93U\x04true\x85R.", "'posix.system'"),
        (b"\x80\x02(U\x04trueiposix\nsystem\n.", "0x69 is refused"),
        (b"\x80\x02]\x82\x01.", "0x82 is refused"),
        (b"\x80\x04}.", "protocol 2"),
        (b"\x80\x02}", "cut short"),
        (b"\x80\x02}.", "tensors by name; it holds an empty dict"),
        (b"\x80\x02]\x94.", "it holds a list"),
        (b"\x80\x02X\xff\xff\xff\x7f.", "too long"),
        (b"\x80\x02r\xff\xff\xff\xff.", "not there"),
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
    with pytest.raises(WeightsError, match="size must be of whole numbers, 0 to"):
        read_torch(bad, path=HERE)
    bad = rezipped(good, {"data.pkl": _longer}) if zipped else _longer(good)
    with pytest.raises(WeightsError, match=r"must hold all its tensors' numbers|announces"):
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
    with pytest.raises(WeightsError, match="at most 8 MiB"):
        read_torch(rezipped(good, {"data.pkl": lambda b: b + bytes(9 << 20)}), path=HERE)


@pytest.mark.parametrize(
    "value",
    [{}, [torch.zeros(2)], {"a": [torch.zeros(2)]}, {1: torch.zeros(2)}, {"a": np.zeros(3)}],
)
def test_what_is_no_table_of_tensors(value):
    with pytest.raises(WeightsError, match="tensors by name"):
        read_torch(saved(value), path=HERE)


def test_odd_tensors():
    with pytest.raises(WeightsError, match=r"ComplexFloatStorage' is refused"):
        read_torch(saved({"a": torch.zeros(2, dtype=torch.complex64)}), path=HERE)
    with pytest.raises(WeightsError, match=r"_rebuild_sparse_tensor' is refused"):
        read_torch(saved({"a": torch.eye(3).to_sparse()}), path=HERE)
    many = torch.zeros(1).expand(10**6)
    with pytest.raises(WeightsError, match="take no more room"):
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
@examples(1)
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
    told = int(children.evolver("python", "-c", code, tmp_path))
    kib = told if sys.platform != "darwin" else told // 1024
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
    with pytest.raises(WeightsError, match=r"shape: bias \(4,\), wanted \(3,\)"):
        fill(net, tensors | {"bias": torch.zeros(4)}, path=HERE)


# What a lab's checkpoint looks like


def _net():
    with torch.device("meta"):
        return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(3, 2))


def _state(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(3, 2)).state_dict()


def _wrapped(state, prefix):
    return {f"{prefix}{name}": value for name, value in state.items()}


def _fit(value, tmp_path, *, entry=None, zipped=True):
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(saved(value, zipped=zipped))

    def build(tensors):
        net = _net()
        fill(net, tensors, path=path)
        return net

    return fitted(read_weight_file(path), build, entry=entry).state_dict()


def _optimizer():
    net = torch.nn.Linear(4, 3)
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    return optimizer.state_dict()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "made",
    [
        lambda s: {"state_dict": s, "epoch": 5},
        lambda s: {"model": s, "optimizer": _optimizer(), "args": Namespace(lr=0.1)},
        lambda s: {"g_ema": s, "latent_avg": torch.zeros(3), "best": np.float64(0.5)},
        lambda s: _wrapped(s, "module."),
        lambda s: _wrapped(s, "_orig_mod."),
        lambda s: {"state_dict": _wrapped(s, "_orig_mod.module.")},
        lambda s: {k.replace(".", "._orig_mod."): v for k, v in s.items()},
        lambda s: {"n_averaged": torch.tensor(3), **_wrapped(s, "module.")},
        lambda s: _wrapped(s, "generator.") | {"critic.weight": torch.zeros(1, 2)},
        lambda s: {"nets": {"G": s, "D": {"weight": torch.zeros(2)}}},
        lambda s: {"a": s, "b": s},
    ],
)
def test_the_weights_of_a_checkpoint_are_found(made, zipped, tmp_path):
    state = _state()
    read = _fit(made(state), tmp_path, zipped=zipped)
    assert list(read) == list(state)
    for name, value in state.items():
        torch.testing.assert_close(read[name], value, rtol=0, atol=0)


def test_of_two_networks_that_fit_one_is_named(tmp_path):
    one, other = _state(1), _state(2)
    for value, first, second in (
        ({"G": one, "g_ema": other}, "G", "g_ema"),
        (_wrapped(one, "G.") | _wrapped(other, "g_ema."), "G", "g_ema"),
        ({"nets": {"G": one, "g_ema": other}}, "nets.G", "nets.g_ema"),
    ):
        with pytest.raises(WeightsError, match=f"{first}, {second} fit alike.*entry"):
            _fit(value, tmp_path)
        torch.testing.assert_close(
            _fit(value, tmp_path, entry=second)["0.bias"], other["0.bias"], rtol=0, atol=0
        )
        with pytest.raises(WeightsError, match=f"entry 'nowhere'.*{first.partition('.')[0]}"):
            _fit(value, tmp_path, entry="nowhere")


def test_what_was_found_is_said_beside_what_was_wanted(tmp_path):
    state = _state()
    with pytest.raises(WeightsError) as caught:
        _fit({"ema": {**state, "0.bias": torch.zeros(5)}, "epoch": 3}, tmp_path)
    for part in ("0.bias (5,), wanted (3,)", "ema (4 tensors", "epoch"):
        assert part in str(caught.value)
    del state["1.weight"]
    state["odd"] = torch.zeros(2)
    with pytest.raises(
        WeightsError, match=r"missing: 1.weight \(2, 3\); not wanted: odd \(2,\)"
    ):
        _fit(state, tmp_path)


@pytest.mark.parametrize("zipped", [True, False])
def test_bfloat16_is_widened(zipped, tmp_path):
    value = torch.randn(5, 3).to(torch.bfloat16)
    path = tmp_path / "w.pt"
    path.write_bytes(saved({"a": value[1:, ::2]}, zipped=zipped))
    tensors, _ = read_weights(path)
    torch.testing.assert_close(tensors["a"], value[1:, ::2].float(), rtol=0, atol=0)


@pytest.mark.parametrize(
    "kind", [torch.int8, torch.int64, torch.bool, torch.complex64, torch.uint8]
)
def test_whole_numbers_truths_and_complex_ones_are_no_weights(kind, tmp_path):
    state = _state()
    path = tmp_path / "w.safetensors"
    path.write_bytes(safetensors.torch.save(state | {"0.bias": torch.ones(3).to(kind)}))
    tensors, _ = read_weights(path)
    said = str(kind).removeprefix("torch.")
    with pytest.raises(WeightsError, match=f"0.bias {said}, wanted float32"):
        fill(_net(), tensors, path=path)
    with pytest.raises(WeightsError, match=rf"0.bias \({said}\)"):
        floats(tensors, path=path)


# What a file is


def test_a_header_of_any_length_is_a_safetensors_file(tmp_path):
    """0x80 and 0x02 begin a pickle, and 274 is MXNet's number, in the same eight bytes."""
    seen = set()
    for extra in range(0, 700, 2):
        content = safetensors.torch.save({"a": torch.ones(2)}, metadata={"m": "x" * extra})
        assert kind_of(content) == "safetensors"
        seen.add(struct.unpack("<Q", content[:8])[0])
    assert {0x80, 0x180, 0x280} <= seen
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    content = struct.pack("<Q", 274) + header.ljust(274) + bytes(4)
    assert content[:8] == struct.pack("<Q", 0x112)
    path = tmp_path / "w"
    path.write_bytes(content)
    assert read_weights(path)[0]["a"].shape == (1,)


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (LFS, "Git LFS pointer.*git lfs pull"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"", "empty"),
        (b"\x80\x04}.", "pickle, which would run.*--as stylegan3"),
        (b'{"output_dim": 128}', "JSON"),
        (b"\x89HDF\r\n\x1a\n" + bytes(20), "HDF5"),
        (b"\x93NUMPY\x01\x00", "numpy array"),
        (b"anything", "no kind that is known"),
    ],
)
def test_what_is_no_weight_file_is_called_what_it_is(content, says, tmp_path):
    path = tmp_path / "w"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=says):
        read_weights(path)
    with pytest.raises(WeightsError, match=says.partition(".*")[0]):
        read_converted(path)


def test_a_file_of_torch_is_no_pickle_of_networks(tmp_path):
    path = tmp_path / "stylegan3.pt"
    path.write_bytes(saved(TENSORS))
    with pytest.raises(WeightsError, match=r"must be a pickle of networks.*file of torch.save"):
        read_network(path)


# Hostile files


def _script(pickled):
    return rezipped(saved(TENSORS), {"data.pkl": lambda _: pickled})


def test_files_that_end_torchs_reader_are_refused():
    """A byte order of its own, and a key of tuples in tuples: segmentation faults there."""
    with pytest.raises(WeightsError, match="little-endian"):
        read_torch(rezipped(saved(TENSORS), {"byteorder": lambda _: b"big"}), path=HERE)
    deep = b"\x80\x02})" + b"\x85" * 300_000 + b"K\x01s."
    with pytest.raises(WeightsError, match="keys and members must be texts"):
        read_torch(_script(deep), path=HERE)
    with pytest.raises(WeightsError, match="fewer instructions"):
        read_torch(_script(b"\x80\x02" + b"}" * 1_100_000 + b"."), path=HERE)


@pytest.mark.soak
def test_a_small_table_stays_small():
    """The largest values that a byte of a pickle makes; 3 MB once became 150."""
    content = _script(b"\x80\x02" + b"}" * 790_000 + b".")
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError, match="one value"):
            read_torch(content, path=HERE)
        assert tracemalloc.get_traced_memory()[1] < 80 << 20
    finally:
        tracemalloc.stop()


def test_a_storage_of_many_names_counts_as_often_as_it_is_copied():
    data = torch.zeros(1 << 16)
    with pytest.raises(WeightsError, match="more than the file has"):
        read_torch(saved({f"t{k}": data[k:] for k in range(64)}), path=HERE)
    tied = {f"t{k}": data for k in range(64)}
    assert len(read_torch(saved(tied), path=HERE).tables[""]) == 64


@pytest.mark.soak
def test_there_is_one_limit_on_entries(tmp_path):
    many = MOST_TENSORS + 200
    path = tmp_path / "w"
    names = [f"t{k}" for k in range(many)]
    empty = {name: np.zeros(1, "f4") for name in names}
    header = json.dumps({
        name: {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for name in names
    }).encode()
    one = torch.zeros(1)
    for content in (
        struct.pack("<Q", len(header)) + header,
        listed(empty),
        saved(dict.fromkeys(names, one)),
    ):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=f"{MOST_TENSORS}|too long|instructions"):
            read_weights(path)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in ("a/data.pkl", *names):
            archive.writestr(name, b"")
    path.write_bytes(out.getvalue())
    with pytest.raises(WeightsError, match=f"at most {MOST_TENSORS}"):
        read_weights(path)


def test_what_is_no_regular_file_is_neither_waited_for_nor_read_without_end(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, says in (
        (pipe, "a pipe"),
        (Path("/dev/zero"), "a device"),
        (tmp_path, "a folder"),
        (tmp_path / "none", "No such file"),
    ):
        for reader in (read_weights, read_network, read_converted):
            with pytest.raises(WeightsError, match=says):
                reader(path)


def test_a_tilde_is_the_users_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "w.pt").write_bytes(saved(TENSORS))
    assert set(read_weights("~/w.pt")[0]) == set(TENSORS)
