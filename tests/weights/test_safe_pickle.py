"""Pickles that mean harm: each is refused with a reason, and nothing of it is run."""

import itertools
import json
import os
import pickle
import pickletools
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evolver.errors import WeightsError
from evolver.generators.stylegan3 import convert_stylegan3
from evolver.weights.safe_network import Module, NumpyArray, parse_network, tensors
from evolver.weights.safe_pickle import PickleError, read_pickle
from tests.soak import examples, further, share
from tests.weights import mutants
from tests.weights.hostile import (
    ATTACKS,
    array,
    call,
    dtype,
    module,
    named,
    number,
    raw,
    stored,
    table,
    tensor,
    text,
    whole,
)

GOLDEN = Path(__file__).parent.parent / "golden" / "generators"
OFFICIAL = GOLDEN / "stylegan3-t-tiny.pkl"


class Evil:
    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


@pytest.mark.parametrize("attack", [further(a) if a == "steps" else a for a in ATTACKS])
def test_attacks_are_refused_with_a_reason(attack):
    content, says = ATTACKS[attack]
    for content_of in (whole(content), whole(table(G_ema=content))):
        ending = mutants.read(content_of)
        assert ending != "read"
    assert says in mutants.read(whole(content))


@pytest.mark.parametrize("protocol", range(6))
def test_objects_that_run_when_unpickled_do_not(protocol, tmp_path):
    canary = tmp_path / "canary"
    assert mutants.read(pickle.dumps({"G_ema": Evil(canary)}, protocol)) != "read"
    assert not canary.exists()
    pickle.loads(pickle.dumps(Evil(canary), protocol))
    assert canary.exists()


def test_the_source_in_an_official_file_is_not_run():
    assert mutants.read(OFFICIAL.read_bytes()) == "read"


def test_the_audit_hook_sees_what_is_run():
    with pytest.raises(AssertionError, match="compile"), mutants.nothing_is_run():
        compile("1", "", "eval")
    with pytest.raises(AssertionError, match="pickle"), mutants.nothing_is_run():
        pickle.loads(pickle.dumps(OrderedNothing()))


class OrderedNothing:
    pass


def test_every_shorter_file_is_refused():
    content = whole(table(G_ema=module(_parameters=table(a=tensor())), x=array()))
    assert mutants.read(content) == "read"
    for length in range(len(content)):
        assert mutants.read(content[:length]) != "read"
    assert "1 bytes follow" in mutants.read(content + b"N")
    official = OFFICIAL.read_bytes()
    for length in range(0, len(official), 9973):
        assert mutants.read(official[:length]) != "read"


# Bombs: small files that would grow


def _peak(content):
    tracemalloc.start()
    try:
        ending = mutants.read(content)
        return ending, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_what_is_deeply_nested_is_read_or_refused_without_a_crash():
    for opening, closing in ((b"]" * 100_000, b"a" * 99_999), (b")" + b"\x85" * 150_000, b"")):
        assert mutants.read(whole(opening, closing)) == "read"
    nested = module()
    for _ in range(40):
        nested = module(_modules=table(a=nested))
    assert "deep" in mutants.read(whole(table(G_ema=nested)))


def test_modules_that_are_shared_or_hold_themselves_are_refused():
    """A diamond 60 layers high has 2**60 paths through it."""
    layers = [module() + b"q\x00"]
    for level in range(60):
        both = table(a=b"h" + bytes([level]), b=b"h" + bytes([level]))
        layers.append(module(_modules=both) + b"q" + bytes([level + 1]))
    content = whole(b"}(", text("G_ema"), b"](", *layers, b"e", b"u")
    value = parse_network(content)
    with pytest.raises(PickleError, match="must be there once"):
        tensors(value["G_ema"][-1], at_most=len(content))
    endless = Module("Generator", state := {})
    state["_modules"] = {"a": endless}
    with pytest.raises(PickleError, match="must be there once"):
        tensors(endless, at_most=1000)


def test_one_storage_many_times_is_refused_before_it_is_copied():
    data = bytes(1 << 20)
    first = tensor(stored(data), size=(len(data) // 4,)) + b"q\x00"
    again = {f"p{k}": b"h\x00" for k in range(1000)}
    content = whole(table(a=first, G_ema=module(_parameters=table(**again))))
    ending, peak = _peak(content)
    assert "at most" in ending
    assert peak < 10 << 20


@pytest.mark.parametrize("attack", ["long text", "expanded", "longer than it is", "marks"])
def test_bombs_cost_no_memory(attack):
    content = whole(ATTACKS[attack][0])
    ending, peak = _peak(content)
    assert ending != "read"
    assert peak < 20 * len(content) + (1 << 20)


def test_sets_stay_within_the_stated_memory():
    """The largest value that one byte makes; a million instructions are 300 MB of them."""
    ending, peak = _peak(whole(b"\x8f" * 40_000))
    assert ending != "read"
    assert peak < 12 << 20


def test_no_bytes_are_copied():
    data = bytes(8 << 20)
    content = whole(tensor(stored(data), size=(len(data) // 4,)))
    assert _peak(content)[1] < 1 << 20


# What is right is read right


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**100), 2**100) | st.floats(allow_nan=False)
    | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    | st.lists(inner, max_size=5).map(tuple),
    max_leaves=30,
)  # fmt: skip


@examples(2)
@given(plain, st.sampled_from([2, 3, 4, 5]))
def test_plain_values_are_those_that_were_pickled(value, protocol):
    content = pickle.dumps(value, protocol)
    found, end = read_pickle(memoryview(content), {})
    assert found == value
    assert end == len(content)


@examples(0.7)
@given(
    st.sampled_from([
        torch.float32,
        torch.float64,
        torch.float16,
        torch.int64,
        torch.uint8,
        torch.bool,
    ]),
    st.lists(st.integers(1, 5), max_size=4),
    st.randoms(use_true_random=False),
    st.integers(0, 3),
)
def test_tensors_are_those_that_were_pickled(kind, shape, rng, offset):
    flat = torch.tensor([rng.randrange(2) for _ in range(offset + int(np.prod(shape)))])
    whole_tensor = flat.to(kind)[offset:].view(shape)
    axes = list(range(len(shape)))
    rng.shuffle(axes)
    moved = whole_tensor.permute(axes)
    found = parse_network(pickle.dumps(torch.nn.Parameter(moved, requires_grad=False), 4))
    np.testing.assert_array_equal(found, moved.numpy())
    assert found.dtype == moved.numpy().dtype
    assert not found.flags.writeable


def test_arrays_and_numbers_of_numpy_are_those_that_were_pickled():
    content = pickle.dumps([np.arange(6.0).reshape(2, 3).T, np.float64(0.1), np.bool_(1)], 4)
    table_, a_number, truth = parse_network(content)
    assert isinstance(table_, NumpyArray)
    np.testing.assert_array_equal(table_.array, np.arange(6.0).reshape(2, 3).T)
    assert a_number == 0.1
    assert truth is True


# Anything at all


steps = st.sampled_from([op.code.encode("latin1") for op in pickletools.opcodes])
words = st.sampled_from([
    named("torch._utils", "_rebuild_tensor_v2"), named("collections", "OrderedDict"),
    named("numpy", "dtype"), named("builtins", "set"), raw(stored()), text("f4"), number(1),
    tensor(), dtype(), array(), module(), b"h\x00", b"q\x00", b"(", b"t", b"R", b"b", b"}",
    b"]",
])  # fmt: skip


@examples(3)
@given(st.lists(words | steps | st.binary(max_size=6), max_size=40))
def test_any_bytes_are_read_or_refused(parts):
    mutants.read(whole(*parts))
    mutants.read(b"".join(parts))


@examples(1)
@given(st.lists(words | steps | st.binary(max_size=6), max_size=20))
def test_any_bytes_inside_a_storage_are_read_or_refused(parts):
    mutants.read(whole(tensor(b"".join(parts))))


def _mutants(count, seed):
    """Read so many damaged files in a process of its own."""
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.weights.mutants",
            str(OFFICIAL),
            str(count),
            str(seed),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    endings = json.loads(run.stdout)
    assert endings["read"] + endings["refused"] == count
    # Most bytes of the file are weights: to change them is not to damage it.
    assert endings["refused"] > count / 4
    assert endings["peak_kb"] < 200_000


def test_damaged_official_files_are_read_or_refused():
    _mutants(50, seed=1)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_ten_thousand_damaged_official_files_are_read_or_refused():
    _mutants(share(10_000, 1_500), seed=2)


def test_what_cannot_be_converted_leaves_no_file(tmp_path):
    source, out = tmp_path / "a.pkl", tmp_path / "a.safetensors"
    good = {"_init_args": b")", "_init_kwargs": table(img_resolution=number(32))}
    for content, says in (
        (whole(table(G=b"N")), "Generator called G_ema"),
        (whole(b"N"), "Generator called G_ema"),
        (whole(table(G_ema=module("Discriminator"))), "Generator called G_ema"),
        (whole(table(G_ema=module())), "settings by name"),
        (whole(table(G_ema=module(_init_args=b")"))), "settings"),
        (whole(table(G_ema=module(_init_args=tensor()))), "settings by name"),
        (whole(table(G_ema=module(_init_args=b")", _init_kwargs=tensor()))), "settings"),
        (
            whole(table(G_ema=module(_init_args=b")", _init_kwargs=table(z_dim=tensor())))),
            "settings",
        ),
        (whole(table(G_ema=module(**good))), "by name and shape"),
        (whole(table(G_ema=module(**good, _modules=table(a=b"]")))), "must be a module"),
        (whole(table(G_ema=module(**good, _parameters=table(a=b"]")))), "must be a tensor"),
        (whole(table(G_ema=module(**good, _parameters=b"]"))), "must be a dict"),
        (
            whole(table(G_ema=module(**good, _buffers=table(**{"a.b": tensor()})))),
            "have a name",
        ),
        (whole(call("os", "system", text("true"))), r"a\.pkl must be a network .*os\.system"),
    ):
        source.write_bytes(content)
        with pytest.raises(WeightsError, match=says):
            convert_stylegan3(source, out)
    with pytest.raises(WeightsError, match="can be read"):
        convert_stylegan3(tmp_path / "none.pkl", out)
    assert [p.name for p in tmp_path.iterdir()] == ["a.pkl"]


def test_settings_that_grow_are_refused(tmp_path):
    """A list that holds another ten times, twenty levels deep, has 10**20 leaves."""
    grown = b"]" + b"q\x00"
    for _ in range(20):
        grown = b"](" + grown + b"h\x00" * 9 + b"e" + b"q\x00"
    source = tmp_path / "a.pkl"
    kwargs = table(img_resolution=grown)
    source.write_bytes(whole(table(G_ema=module(_init_args=b")", _init_kwargs=kwargs))))
    with pytest.raises(WeightsError, match="settings"):
        convert_stylegan3(source, tmp_path / "a.safetensors")


def test_pairs_of_attacks_are_refused():
    for a, b in itertools.islice(itertools.permutations(ATTACKS, 2), 0, None, 97):
        assert mutants.read(whole(b"](", ATTACKS[a][0], ATTACKS[b][0], b"e")) != "read"
