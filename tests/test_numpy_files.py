"""numpy's files of strangers: an array, or an error of ours, whatever the bytes are."""

import io
import random
import zipfile

import numpy as np
import pytest

from evolver import numpy_files
from evolver.errors import DataError
from evolver.numpy_files import archive_bytes, opened_archive, read_array

ARRAYS = {
    "codes": np.arange(12.0).reshape(3, 4),
    "name": np.array("a text"),
    "long": np.zeros(40_000, np.float32),
}


def everything(path):
    """Read all that an archive holds; return how many arrays."""
    read = 0
    with opened_archive(path) as archive:
        for name in () if archive is None else archive.names:
            read += archive.read(name, fits=lambda _: True, text=name == "name").size > 0
    return read


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_damaged_archives_are_read_or_refused(save, tmp_path):
    path, rng = tmp_path / "a.npz", random.Random(3)
    save(path, **ARRAYS)
    whole = path.read_bytes()
    assert everything(path) == 3
    # Most of the bytes are zeros of one array; what is around them is what a reader must parse.
    places = [*range(600), *range(len(whole) - 600, len(whole))]
    said = []
    for _ in range(400):
        changed = bytearray(whole)
        for _ in range(rng.choice((1, 2, 8))):
            changed[rng.choice(places)] = rng.randrange(256)
        if rng.random() < 0.1:
            changed = changed[: rng.randrange(len(changed))]
        path.write_bytes(changed)
        try:
            everything(path)
        except DataError as error:
            said.append(str(error))
    assert len(said) > 100
    assert all(text.startswith(str(path)) for text in said)


def test_a_shape_that_is_none_is_refused():
    file = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (-2, -3)}
    np.lib.format.write_array_header_1_0(file, header)
    file.write(bytes(48))
    size = file.tell()
    file.seek(0)
    with pytest.raises(DataError, match="codes must"):
        read_array(file, size, "codes", fits=lambda _: True)


def test_an_archive_that_is_encrypted_or_packed_in_another_way_is_refused(tmp_path):
    content = io.BytesIO()
    np.save(content, np.zeros(3))
    for name, kind in (("lzma", zipfile.ZIP_LZMA), ("plain", zipfile.ZIP_STORED)):
        with zipfile.ZipFile(tmp_path / f"{name}.npz", "w", kind) as archive:
            archive.writestr("codes.npy", content.getvalue())
    assert everything(tmp_path / "lzma.npz") == 1
    changed = bytearray((tmp_path / "plain.npz").read_bytes())
    for mark, flag in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        changed[changed.index(mark) + flag] |= 1  # encrypted
    (tmp_path / "locked.npz").write_bytes(changed)
    with pytest.raises(DataError, match="encrypted"):
        everything(tmp_path / "locked.npz")


@pytest.mark.parametrize("at_once", [1 << 20, 0])
def test_a_byte_that_is_changed_anywhere_never_gives_other_numbers(
    at_once, tmp_path, monkeypatch
):
    """Read whole into memory, as small archives are, and from the file."""
    monkeypatch.setattr(numpy_files, "_READ_AT_ONCE", at_once)
    rng = np.random.default_rng(1)
    arrays = {"small": rng.random(8), "large": rng.integers(0, 9, 5000, dtype=np.uint8)}
    whole = archive_bytes(arrays)
    path = tmp_path / "a.npz"
    path.write_bytes(whole)
    with np.load(path) as by_numpy, opened_archive(path) as archive:
        for name, array in arrays.items():
            np.testing.assert_array_equal(by_numpy[name], array)
            np.testing.assert_array_equal(archive.read(name, fits=lambda _: True), array)
    refused = 0
    for place in range(0, len(whole), 5):
        changed = bytearray(whole)
        changed[place] ^= 1 << place // 5 % 8
        path.write_bytes(changed)
        try:
            with opened_archive(path) as archive:
                for name in set(arrays) & set(archive.names if archive else ()):
                    found = archive.read(name, fits=lambda _: True)
                    np.testing.assert_array_equal(found, arrays[name])
        except DataError:
            refused += 1
    assert refused > len(whole) / 8
