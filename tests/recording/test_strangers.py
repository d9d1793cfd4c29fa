"""Recordings of strangers: what leads out of the file, or speaks of terabytes, is refused."""

import os
import random
import shutil

import h5py
import numpy as np
import pytest

from evolver import recording
from evolver.errors import EvolverError, RecordingError
from evolver.monitor.sources import FileSource
from evolver.recording.fold import fold
from evolver.recording.strangers import said_as_recording
from tests.cli.running import run_here
from tests.soak import further, share

from .sessions import write_session


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("strangers")
    write_session(folder / "journal")
    fold(folder / "journal", folder / "recording.h5")
    return folder / "recording.h5"


@pytest.fixture
def stranger(good, tmp_path):
    return shutil.copy(good, tmp_path / "stranger.h5")


def everything(path):
    """Read as `monitor` does, and all pixels and spikes; return the error, or None."""
    try:
        FileSource(path).close()
        with recording.read(path) as opened, said_as_recording(path):
            opened.all_spikes()
            list(opened.images)
    except EvolverError as error:
        return str(error)
    return None


def instead(name, make):
    def do(file, folder):
        del file[name]
        make(file, name, folder)

    return do


def _external_link(file, name, folder):
    with h5py.File(folder / "other.h5", "w") as other:
        other["x"] = np.arange(3)
    file[name] = h5py.ExternalLink("other.h5", "/x")


def _soft_link(file, name, _):
    file[name] = h5py.SoftLink("/units/channel")


def _virtual(file, name, folder):
    layout = h5py.VirtualLayout(shape=(3,), dtype="i8")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "x", shape=(3,))
    file.create_virtual_dataset(name, layout)


def _external(file, name, folder):
    (folder / "secret").write_bytes(bytes(100))
    file.create_dataset(name, (3,), "i8", external=[(str(folder / "secret"), 0, 24)])


def _bomb(file, name, _):
    file.create_dataset(name, (1 << 40,), "i8", chunks=(1 << 16,), compression="gzip")


def _unwritten(file, name, _):
    file.create_dataset(name, (1 << 36,), "i8")


def _texts(file, name, _):
    file[name] = np.array([b"a", b"b"])


def _objects(file, name, _):
    file.create_dataset(name, (2,), h5py.ref_dtype)


def _empty(file, name, _):
    file[name] = h5py.Empty("i8")


NAMES = ("presentations/block", "events/time_ns", "threads/0/codes")
STRANGE = [
    (_external_link, "a link"),
    (_virtual, "other files"),
    (_bomb, "bytes, of which 0 are stored"),
    (_soft_link, "a link"),
    (_texts, "not numbers"),
    (_unwritten, "bytes, of which 0 are stored"),
    (_external, "other files"),
    (_objects, "not numbers"),
    (_empty, "it is empty"),
]


@pytest.mark.parametrize(
    ("make", "says", "name"),
    [
        (*strange, name) if i % 3 == j else further(*strange, name)
        for i, strange in enumerate(STRANGE)
        for j, name in enumerate(NAMES)
    ],
)
def test_what_leads_out_or_is_too_large_is_refused(stranger, tmp_path, make, says, name):
    with h5py.File(stranger, "a") as file:
        instead(name, make)(file, tmp_path)
    assert says in everything(stranger)


def test_a_group_behind_a_link_is_refused(stranger, tmp_path):
    with h5py.File(stranger, "a") as file:
        file.move("spikes", "elsewhere")
        file["spikes"] = h5py.SoftLink("/elsewhere")
    with recording.read(stranger) as opened, pytest.raises(RecordingError, match="a link"):
        opened.all_spikes()
    assert tmp_path.exists()


def test_one_long_text_that_many_rows_name_is_read_to_its_limit(stranger):
    with h5py.File(stranger, "a") as file:
        rows = len(file["presentations/block"])
        del file["presentations/reason"]
        kind = h5py.string_dtype("utf-8")
        file.create_dataset("presentations/reason", (rows,), kind, data=["x"] * rows)
        file["presentations/reason"].attrs["meaning"] = "x" * 1000
        file.attrs["note"] = np.zeros(200_000)
    assert "attribute 'note'" in everything(stranger)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.h5")
    with pytest.raises(RecordingError, match="a pipe"):
        recording.read(tmp_path / "pipe.h5")


def test_inspect_and_report_print_no_traceback(stranger, tmp_path, monkeypatch, capsys):
    with h5py.File(stranger, "a") as file:
        del file["threads/0"].attrs["d"]
        del file["attributes"]  # it was made so, not damaged later
    with pytest.raises(RecordingError, match=r"must hold what a recording holds.*KeyError"):
        FileSource(stranger)
    for command in (["inspect", stranger], ["report", stranger, "--out", tmp_path / "out"]):
        said = run_here(monkeypatch, capsys, *command, expect=2)
        assert "error: " in said
        assert "Traceback" not in said


def test_damaged_recordings_are_read_or_refused(good, tmp_path):
    """Bytes of the file's structure changed at random: an error of ours, or none."""
    whole, rng = good.read_bytes(), random.Random(5)
    refused = 0
    for _ in range(share(600, 8)):
        changed = bytearray(whole)
        for _ in range(rng.choice((1, 4, 16))):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        path = tmp_path / "damaged.h5"
        path.write_bytes(changed)
        refused += everything(path) is not None
    assert refused
