"""What a disk refuses is an error, and HDF5 is never told."""

import io
import resource
from contextlib import contextmanager

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolver.export.hdf5_file import DiskFile, new_hdf5_file

LIMIT = 4096


@contextmanager
def disk_of(n_bytes):
    """Let no file grow beyond some bytes, as a full disk does not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


PLACES = st.integers(0, 2 * LIMIT)
STEPS = st.one_of(
    st.tuples(st.just("write"), PLACES, st.integers(0, LIMIT)),
    st.tuples(st.just("read"), PLACES, st.integers(0, LIMIT)),
    st.tuples(st.just("truncate"), PLACES, st.just(0)),
)


@given(steps=st.lists(STEPS, max_size=12))
def test_all_is_read_as_it_was_written_whatever_the_disk_took(tmp_path_factory, steps):
    path = tmp_path_factory.mktemp("disk") / "x"
    model, largest = io.BytesIO(), 0
    with DiskFile(path) as file, disk_of(LIMIT):
        for number, (what, place, length) in enumerate(steps):
            file.seek(place)
            model.seek(place)
            if what == "write":
                data = bytes([number + 1]) * length
                assert file.write(data) == length
                if length:
                    largest = max(largest, place + length)
                    model.write(data)
            elif what == "read":
                assert file.read(length) == model.read(length)
            else:
                largest = max(largest, place)
                file.truncate(place)
                model.write(b"") if place <= len(model.getvalue()) else model.seek(place - 1)
                if place > len(model.getvalue()):
                    model.write(b"\0")
                model.truncate(place)
        if largest > LIMIT:
            with pytest.raises(OSError, match="too large"):
                file.check()
        else:
            file.check()
            assert path.read_bytes() == model.getvalue()


@pytest.mark.parametrize("n_bytes", [0, 600, 3000, 100_000])
def test_a_full_disk_is_an_error_and_leaves_what_was_there(tmp_path, n_bytes):
    path = tmp_path / "x.h5"
    path.write_bytes(b"precious")

    def write():
        with new_hdf5_file(path, overwrite=True, userblock=bytes(512)) as (file, disk):
            for number in range(100):
                values = np.random.default_rng(number).random((100, 20))
                file.create_dataset(f"d{number}", data=values, chunks=(10, 20), shuffle=True)
                file.attrs[f"a{number}"] = "x" * 100
                disk.check()

    with disk_of(n_bytes), pytest.raises(OSError, match="too large"):
        write()
    assert path.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_hdf5s_own_behind_its_header(tmp_path):
    header = b"header".ljust(512, b"-")
    with new_hdf5_file(tmp_path / "x.h5", overwrite=False, userblock=header) as (file, _):
        file["x"] = np.arange(10)
    assert (tmp_path / "x.h5").read_bytes()[:512] == header
    with h5py.File(tmp_path / "x.h5") as file:
        np.testing.assert_array_equal(file["x"], np.arange(10))
