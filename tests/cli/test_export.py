"""`evolver export`: what it says, and what it refuses."""

import sys

import h5py
import pytest

from tests.cli.running import run_here
from tests.export import recordings as r
from tests.export.test_hdf5_file import disk_of


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
    assert "note: the pixels of image" in said
    assert "and 7 more; the export has all of them" in said
    said = export("mat", session, "--out", tmp_path / "x.mat")
    assert "MAT-file" in said
    assert "note: the pixels of image" in said
    assert "presentations.parquet: 46 rows" in export("parquet", session, tmp_path / "p")
    said = export("images", session, tmp_path / "i")
    assert "27 images" in said
    assert "pixels of 12 images are lost" in said
    said = export("video", session, tmp_path / "x.gif", "--thread", "object")
    assert "3 images of object" in said
    assert "note: generations 1 show the best image whose pixels are not lost" in said
    rights = {path.stat().st_mode for path in tmp_path.rglob("*") if path.is_file()}
    (tmp_path / "any").write_bytes(b"")
    assert rights == {(tmp_path / "any").stat().st_mode}
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
        (("video", "S", "x.mp4"), "must be called *.webp or *.png or *.gif; got x.mp4"),
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
    assert not out.exists()


FULL = [
    ("nwb", 100_000),
    ("nwb", 30),
    ("mat", 50_000),
    ("mat", 30),
    ("parquet", 3),
    ("images", 3),
]


@pytest.mark.parametrize(("kind", "n_bytes"), FULL)
def test_a_full_disk_is_said_and_nothing_is_left(
    monkeypatch, capsys, session, tmp_path, kind, n_bytes
):
    out = tmp_path / (kind if kind in {"images", "parquet"} else f"x.{kind}")
    words = (out,) if kind in {"images", "parquet"} else ("--out", out)
    with disk_of(n_bytes):
        said = flat(run_here(monkeypatch, capsys, "export", kind, session, *words, expect=2))
    assert said.endswith(f"{out} cannot be written: File too large")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["mat", "parquet"])
def test_of_two_exports_to_one_place_the_second_says_so(
    monkeypatch, capsys, session, tmp_path, kind
):
    """Another is quicker, between the first look at the place and the end."""
    from evolver.export import matlab, parquet

    out = tmp_path / "x.mat"
    module, name = (matlab, "export_matlab") if kind == "mat" else (parquet, "export_parquet")
    real = getattr(module, name)

    def slow(*args, **kwargs):
        if kind == "mat":
            out.write_text("of the other")
        else:
            out.mkdir()
            (out / "units.parquet").write_text("of the other")
        return real(*args, **kwargs)

    monkeypatch.setattr(module, name, slow)
    words = (out,) if kind == "parquet" else ("--out", out)
    said = flat(run_here(monkeypatch, capsys, "export", kind, session, *words, expect=2))
    assert "with --overwrite" in said
    file = out if kind == "mat" else out / "units.parquet"
    assert file.read_text() == "of the other"
    assert list(tmp_path.iterdir()) == [out]
