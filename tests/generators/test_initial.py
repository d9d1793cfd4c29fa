"""Initial codes: their statistics, a user's file, and a photograph inverted."""

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import evolver.generators
from evolver.errors import ConfigError, DataError
from evolver.generators import initial
from tests.soak import examples

RNG = np.random.default_rng


@pytest.fixture(scope="module")
def texture():
    return evolver.generators.load("mini-texture")


@pytest.fixture(scope="module")
def things():
    return evolver.generators.load("mini-object")


def test_zeros_normal_and_sphere():
    assert not initial.zeros(3, 7).any()
    assert initial.zeros(3, 7).shape == (3, 7)
    drawn = initial.normal(50, 4096, rng=RNG(0), scale=2.0)
    assert drawn.std() == pytest.approx(2, rel=0.01)
    sphere = initial.on_sphere(300, 64, rng=RNG(1), norm=300.0)
    np.testing.assert_allclose(np.linalg.norm(sphere, axis=1), 300)
    # No direction is likelier than another: the mean of n has length about 1 / sqrt(n).
    assert np.linalg.norm(sphere.mean(axis=0)) < 2 * 300 / np.sqrt(300)
    for wrong in (0, -1, np.nan, np.inf):
        with pytest.raises(ConfigError, match="positive"):
            initial.normal(1, 2, rng=RNG(0), scale=wrong)
        with pytest.raises(ConfigError, match="positive"):
            initial.on_sphere(1, 2, rng=RNG(0), norm=wrong)


def test_codes_beside_a_class(things, texture):
    codes = initial.beside_class(60, things, rng=RNG(0), classes=[4, 9], noise=0.3)
    first, last = things.parts["class"]
    assert {tuple(c) for c in codes[:, first:last]} == {
        tuple(things.embeddings[k]) for k in (4, 9)
    }
    noise = codes[:, slice(*things.parts["noise"])]
    assert noise.std() == pytest.approx(0.3, rel=0.05)
    assert noise.shape[1] + last - first == things.d
    with pytest.raises(ConfigError, match="mini-texture has none"):
        initial.beside_class(1, texture, rng=RNG(0))
    for wrong in ([], [-1], [10**6], [[1]]):
        with pytest.raises(ConfigError, match="classes must be"):
            initial.beside_class(1, things, rng=RNG(0), classes=wrong)


@pytest.mark.parametrize("dtype", ["f8", "f4", ">f8", "f2", "i4"])
def test_a_users_file(tmp_path, dtype):
    codes = (10 * RNG(0).standard_normal((5, 6))).astype(dtype)
    np.savez(tmp_path / "one.npz", codes=codes)
    np.savez_compressed(tmp_path / "two.npz", codes=codes, others=codes[:, :2])
    np.save(tmp_path / "bare.npy", np.asfortranarray(codes))
    expected = codes.astype(float)
    np.testing.assert_array_equal(initial.from_npz(tmp_path / "one.npz", d=6), expected)
    np.testing.assert_array_equal(initial.from_npz(tmp_path / "bare.npy", d=6), expected)
    read = initial.from_npz(tmp_path / "two.npz", d=6, key="codes")
    np.testing.assert_array_equal(read, expected)
    assert read.dtype == np.float64
    with pytest.raises(DataError, match="it holds codes, others; key is None"):
        initial.from_npz(tmp_path / "two.npz", d=6)
    with pytest.raises(DataError, match=r"shape \(n, 6\);.* it has \(5, 2\)"):
        initial.from_npz(tmp_path / "two.npz", d=6, key="others")


def test_a_users_file_may_have_colons_in_its_path(tmp_path, things):
    folder = tmp_path / "12:30"
    folder.mkdir()
    codes = RNG(0).standard_normal((2, things.d))
    np.savez(folder / "a:b.npz", codes=codes, others=codes[:, :1])
    np.save(folder / "bare.npy", codes)
    for text in (f"{folder}/a:b.npz:codes", f"{folder}/bare.npy"):
        read = initial.initial_codes_of(f"file:{text}", things, 2, rng=RNG(1))
        np.testing.assert_array_equal(read, codes)


def test_one_code_is_a_row(tmp_path):
    np.savez(tmp_path / "one.npz", np.arange(4.0))
    assert initial.from_npz(tmp_path / "one.npz", d=4).shape == (1, 4)


class Tripwire:
    def __reduce__(self):
        return (pytest.fail, ("the file's code was run",))


def _npy(header, content=b""):
    text = str(header).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content


def test_hostile_files_are_refused(tmp_path):
    def refused(content, reason):
        path = tmp_path / "hostile.npz"
        path.write_bytes(content)
        with pytest.raises(DataError, match=reason):
            initial.from_npz(path, d=4)

    pickled = io.BytesIO()
    np.savez(pickled, codes=np.array([Tripwire()], dtype=object))
    refused(pickled.getvalue(), "must hold numbers; it holds object")
    huge = {"descr": "<f8", "fortran_order": False, "shape": (10**12, 4)}
    refused(_npy(huge, b"0" * 64), "there are 64")
    refused(_npy(huge | {"shape": (-2, -4)}, b"0" * 64), "shape")
    refused(_npy(huge | {"descr": "O"}, b"0" * 64), "must hold numbers")
    refused(_npy(huge | {"shape": (0, 4)}), "shape")
    refused(_npy(huge | {"shape": (1, 4)}, np.full(4, np.nan).tobytes()), "finite")
    refused(b"", "as numpy writes it")
    refused(b"PK\x03\x04 nothing", "as numpy writes it")
    bomb = io.BytesIO()
    with (
        zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("codes.npy", "w", force_zip64=True) as entry,
    ):
        for _ in range(257):
            entry.write(bytes(1 << 20))
    assert len(bomb.getvalue()) < 2 << 20
    refused(bomb.getvalue(), "at most 256 MiB")


GOOD = io.BytesIO()
np.savez_compressed(GOOD, codes=np.ones((3, 4)))


@examples(1)
@given(st.data())
def test_damaged_files_are_refused_or_read_whole(tmp_path_factory, data):
    content = bytearray(GOOD.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    path.write_bytes(content[: cut if data.draw(st.booleans()) else None])
    try:
        codes = initial.from_npz(path, d=4)
    except DataError:
        return
    assert codes.shape[1] == 4
    assert np.isfinite(codes).all()


def test_inverting_a_generated_image_comes_near_it(texture):
    target = texture.render(RNG(3).standard_normal((1, texture.d)))
    told = []
    found = initial.invert(
        texture, target, rng=RNG(0), steps=30, progress=lambda *said: told.append(said)
    )
    assert [step for step, _ in told] == list(range(31))
    assert told[-1][1] < 0.7 * told[0][1]
    drawn = texture.render(found.codes).astype(float) / 255
    distance = np.sqrt(((drawn - target / 255) ** 2).mean(axis=(1, 2, 3)))
    np.testing.assert_allclose(found.distances, distance, atol=0.003)  # rounding of pixels
    again, same = (initial.invert(texture, target, rng=RNG(0), steps=2) for _ in range(2))
    np.testing.assert_array_equal(again.codes, same.codes)


def test_inversion_resizes_and_never_ends_worse_than_it_began(texture):
    code = RNG(3).standard_normal((1, texture.d))
    large = texture.render(code).repeat(3, axis=1).repeat(3, axis=2)
    kept = initial.invert(texture, large, rng=RNG(0), steps=3, rate=50.0, start=code)
    np.testing.assert_allclose(kept.codes, code, atol=1e-6)
    assert kept.distances[0] < 0.05
    with pytest.raises(DataError, match="uint8"):
        initial.invert(texture, large / 255, rng=RNG(0))
    with pytest.raises(DataError, match="start must have shape"):
        initial.invert(texture, large, rng=RNG(0), start=code[:, :5])


def test_a_line_of_text_says_where_to_start(texture, things, tmp_path):
    np.savez(tmp_path / "c.npz", mine=np.arange(3 * 256.0).reshape(3, 256))

    def start(text, generator=texture, n=5):
        return initial.initial_codes_of(text, generator, n, rng=RNG(2))

    np.testing.assert_array_equal(start("generator"), texture.initial_codes(5, rng=RNG(2)))
    np.testing.assert_array_equal(start("zeros"), np.zeros((5, 256)))
    np.testing.assert_array_equal(start("normal"), RNG(2).standard_normal((5, 256)))
    np.testing.assert_array_equal(start("normal:0.5"), 0.5 * RNG(2).standard_normal((5, 256)))
    np.testing.assert_allclose(np.linalg.norm(start("sphere:300"), axis=1), 300)
    # The word that session files of version 0.1 have, in recordings that may be resumed.
    np.testing.assert_allclose(np.linalg.norm(start("shell:300"), axis=1), 300)
    np.testing.assert_array_equal(
        start("class:1,2", things), initial.beside_class(5, things, rng=RNG(2), classes=[1, 2])
    )
    read = start(f"file:{tmp_path / 'c.npz'}:mine")
    np.testing.assert_array_equal(read[:, 0], [0, 256, 512, 0, 256])
    for wrong in (
        "",
        "nonsense",
        "zeros:1",
        "sphere",
        "sphere:x",
        "class:",
        "file:",
        "generator:1",
    ):
        with pytest.raises(ConfigError, match=r"initial codes must be|a number must follow"):
            start(wrong)
