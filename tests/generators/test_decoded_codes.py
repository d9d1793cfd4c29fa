"""Files of decoded codes: an evolution of the same generator and space starts from one."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolver.errors import ConfigError, DataError
from evolver.generators.decoded_codes import DecodedCodes, read_decoded
from evolver.generators.initial import initial_codes_of

RNG = np.random.default_rng
CODES = RNG(0).standard_normal((3, 5))
DECODED = DecodedCodes(
    codes=CODES,
    true_codes=CODES + 1,
    items=("0", "2", "7"),
    image_ids=np.array([4, 9, 1]),
    session_id="ab" * 16,
    generator="net",
    weights_sha256="cd" * 32,
    generator_options={"latent": "w"},
)
GENERATOR = SimpleNamespace(name="net", sha256="cd" * 32, d=5, code_space="w")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a:b.npz"
    path.write_bytes(DECODED.to_bytes())
    return path


def test_what_is_written_is_read(file):
    found = read_decoded(file)
    np.testing.assert_array_equal(found.codes, CODES)
    np.testing.assert_array_equal(found.true_codes, CODES + 1)
    np.testing.assert_array_equal(found.image_ids, [4, 9, 1])
    assert found.items == DECODED.items
    assert found.generator_options == {"latent": "w"}
    assert (found.session_id, found.generator) == ("ab" * 16, "net")


def test_an_evolution_starts_from_an_item(file):
    codes = initial_codes_of(f"decoded:{file}:2", GENERATOR, 4, rng=RNG(1))
    np.testing.assert_array_equal(codes, np.tile(CODES[1], (4, 1)))
    with pytest.raises(DataError, match=r"one of the 3 that were decoded, 0, 2, 7; got '1'"):
        initial_codes_of(f"decoded:{file}:1", GENERATOR, 4, rng=RNG(1))
    for text in ("decoded:", "decoded:file", f"decoded:{file}:"):
        with pytest.raises(ConfigError, match="decoded:FILE:ITEM"):
            initial_codes_of(text, GENERATOR, 4, rng=RNG(1))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "other"}, "mean nothing to another generator; this is other"),
        ({"sha256": "0" * 64}, "mean nothing to another generator"),
        ({"code_space": "z"}, "5 numbers of the space 'w'; net takes 5 of 'z'"),
        ({"d": 6}, "net takes 6 of 'w'"),
    ],
)
def test_codes_of_others_are_refused(change, said):
    with pytest.raises(DataError, match=said):
        DECODED.code_of("0", SimpleNamespace(**{**vars(GENERATOR), **change}))


def test_a_space_that_was_not_named_is_the_usual_one():
    usual = replace(DECODED, generator_options={})
    plain = SimpleNamespace(**{**vars(GENERATOR), "code_space": "z"})
    np.testing.assert_array_equal(usual.code_of("7", plain), CODES[2])


def test_other_files_are_refused(tmp_path):
    other = tmp_path / "other.npz"
    np.savez(other, codes=CODES)
    with pytest.raises(DataError, match="that 'evolver decode' writes"):
        read_decoded(other)
    np.savez(other, format="another 2")
    with pytest.raises(DataError, match="it is of 'another 2'"):
        read_decoded(other)
    with pytest.raises(DataError, match="that 'evolver decode' writes"):
        read_decoded(tmp_path / "none.npz")
    other.write_bytes(replace(DECODED, codes=np.full((3, 5), np.nan)).to_bytes())
    with pytest.raises(DataError, match="must hold finite codes"):
        read_decoded(other)


@given(st.binary(max_size=40), st.integers(0, 5000), st.integers(0, 40))
def test_damage_is_said(tmp_path_factory, noise, at, dropped):
    content = DECODED.to_bytes()
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    path.write_bytes(
        content[: at % len(content)] + noise + content[at % len(content) + dropped :]
    )
    try:
        found = read_decoded(path)
    except DataError:
        return
    assert np.isfinite(found.codes).all()
