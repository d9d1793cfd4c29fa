"""A folder of references: what is taken from it, what it is called, what is left alone."""

import os

import msgspec
import numpy as np
import pytest
from PIL import Image

from evolver.config import ReferencesTable
from evolver.errors import ConfigError, DataError
from evolver.setup.references import build_references


def save(folder, name, level=0):
    Image.new("RGB", (4, 4), (level,) * 3).save(os.path.join(os.fsencode(folder), name), "PNG")


def taken(folder, count=1):
    return build_references(ReferencesTable(count=count, source=str(folder)), seed=1)


def test_what_systems_leave_beside_images_is_not_taken(tmp_path):
    save(tmp_path, b"a.png", 7)
    (tmp_path / "._a.png").write_bytes(b"\x00\x05\x16\x07" + b"\0" * 100)
    (tmp_path / "x.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "Thumbs.db").touch()
    found = taken(tmp_path)
    assert found.labels == ("a",)
    assert (found.images[0] == 7).all()
    with pytest.raises(
        ConfigError, match=r"at most the number of PNG and JPEG files .* 1; found 2"
    ):
        taken(tmp_path, 2)
    (tmp_path / "a.png").unlink()
    with pytest.raises(ConfigError, match="must hold PNG or JPEG files; none is there"):
        taken(tmp_path)


def test_names_that_differ_in_their_ending_only_are_told_apart(tmp_path):
    for name in (b"face.png", b"face.jpg", b"hand.PNG"):
        save(tmp_path, name)
    assert taken(tmp_path, 3).labels == ("face.jpg", "face.png", "hand")


def test_a_name_that_is_no_text_is_written_by_its_bytes(tmp_path):
    try:
        save(tmp_path, b"caf\xe9.png")
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    save(tmp_path, "caf\u00e9 2.png".encode())
    save(tmp_path, b"line\nbreak.png")
    labels = taken(tmp_path, 3).labels
    assert labels == ("caf\u00e9 2", "caf\\xe9", "line\\nbreak")
    assert msgspec.json.decode(msgspec.json.encode(labels)) == list(labels)


def test_every_file_that_cannot_be_read_is_named_at_once(tmp_path):
    save(tmp_path, b"a.png")
    for name in ("b.png", "c.png"):
        (tmp_path / name).write_text("no image")
    with pytest.raises(DataError) as caught:
        taken(tmp_path, 3)
    assert "b.png" in str(caught.value)
    assert "c.png" in str(caught.value)


def test_transparent_pixels_have_the_tables_grey(tmp_path):
    Image.new("RGBA", (2, 2), (0, 0, 0, 0)).save(tmp_path / "a.png")
    table = ReferencesTable(count=1, source=str(tmp_path), grey=90)
    np.testing.assert_array_equal(build_references(table, seed=1).images[0], 90)


def test_a_home_of_nobody_is_a_mistake_in_the_file():
    with pytest.raises(ConfigError, match=r"references\.source"):
        taken("~nobody-of-this-name/images")
