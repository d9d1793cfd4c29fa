"""`evolver export`: what it says, and what it refuses."""

import sys

import h5py
import pytest

from tests.cli.running import run_here
from tests.export import recordings as r


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return r.made(tmp_path_factory.mktemp("session"), r.lost_images, lab="x")


def flat(text):
    return " ".join(text.split())


def test_every_format_is_written_and_said(monkeypatch, capsys, session, tmp_path):
    def export(*words, expect=0):
        return flat(run_here(monkeypatch, capsys, "export", *words, expect=expect))

    said = export("nwb", session, "--out", tmp_path / "x.nwb")
    assert "[subject] needs id, species, sex, age or date_of_birth" in said
    assert "MAT-file" in export("mat", session, "--out", tmp_path / "x.mat")
    assert "presentations.parquet: 46 rows" in export("parquet", session, tmp_path / "p")
    said = export("images", session, tmp_path / "i")
    assert "27 images" in said
    assert "pixels of 12 images are lost" in said
    said = export("video", session, tmp_path / "x.gif", "--thread", "object")
    assert "3 images of object" in said
    assert (tmp_path / "x.nwb").stat().st_mode & 0o777 == (session.stat().st_mode & 0o777)
    for words in (
        ("nwb", session, "--out", tmp_path / "x.nwb"),
        ("mat", session, "--out", tmp_path / "x.mat"),
        ("video", session, tmp_path / "x.gif", "--thread", "object"),
    ):
        assert "with --overwrite" in export(*words, expect=2)
        export(*words, "--overwrite")
    assert "--overwrite" in export("images", session, tmp_path / "i", expect=2)
    assert "--overwrite" in export("parquet", session, tmp_path / "p", expect=2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nwb", "S", "--out", "x.h5"), "must be called *.nwb; got x.h5"),
        (("video", "S", "x.mp4"), "must be called *.webp; got x.mp4"),
        (("video", "S", "x.png"), "must be named with --thread; one of ('texture', 'object')"),
        (("video", "S", "x.png", "--thread", "a"), "--thread must be one of"),
        (("mat", "none.h5"), "there is no file none.h5"),
    ],
)
def test_what_cannot_be_done_is_said(monkeypatch, capsys, session, tmp_path, words, said):
    monkeypatch.chdir(tmp_path)
    words = [session if word == "S" else word for word in words]
    assert said in flat(run_here(monkeypatch, capsys, "export", *words, expect=2))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "package", "extra"), [("nwb", "pynwb", "nwb"), ("parquet", "pyarrow", "parquet")]
)
def test_a_missing_package_is_named_with_its_extra(
    monkeypatch, capsys, session, tmp_path, kind, package, extra
):
    for name in [name for name in sys.modules if name.startswith("evolver.export.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    if kind == "nwb":
        monkeypatch.setitem(sys.modules, "hdmf", None)
    words = ("--out", tmp_path / "x.nwb") if kind == "nwb" else (tmp_path / "x",)
    said = run_here(monkeypatch, capsys, "export", kind, session, *words, expect=2)
    assert f"pip install 'evolver[{extra}]'" in flat(said)


@pytest.mark.parametrize("kind", ["nwb", "mat", "images", "parquet"])
def test_a_damaged_recording_is_refused_and_nothing_is_written(
    monkeypatch, capsys, session, tmp_path, kind
):
    damaged = tmp_path / "damaged.h5"
    content = bytearray(session.read_bytes())
    name = "spikes/time_ms" if kind == "parquet" else "images/pixels"
    with h5py.File(session) as file:
        dataset = file[name]
        at = (
            dataset.id.get_chunk_info(0).byte_offset
            if dataset.chunks
            else dataset.id.get_offset()
        )
    content[at + 40 : at + 60] = bytes(20)
    damaged.write_bytes(content)
    out = tmp_path / "out"
    words = (out,) if kind in {"images", "parquet"} else ("--out", f"{out}.{kind}")
    said = run_here(monkeypatch, capsys, "export", kind, damaged, *words, expect=2)
    assert "damaged" in said
    left = [path for path in tmp_path.rglob("*") if path.is_file() and path != damaged]
    assert not [path for path in left if path.name in {"index.csv", "spikes.parquet"}]
    assert not [path for path in left if "nwb" in path.name or "mat" in path.suffix]
