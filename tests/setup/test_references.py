"""One reader of image files: upright, eight bits, nothing to see through."""

import numpy as np
import pytest
from PIL import Image

from evolver.errors import DataError
from evolver.setup.references import read_image


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (6, 4, 3), dtype=np.uint8)


def test_a_picture_is_what_it_is(tmp_path, pixels):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), pixels)


def test_a_camera_that_was_turned_is_turned_back(tmp_path, pixels):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees, clockwise
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.rot90(pixels, -1))


def test_sixteen_bits_become_eight(tmp_path):
    levels = np.array([[0, 255, 256, 65535]], dtype=np.uint16)
    Image.fromarray(levels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[0, :, 0], [0, 0, 1, 255])


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_can_be_seen_through_is_grey(tmp_path, mode):
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    image.putpixel((1, 0), (255, 255, 255, 255))
    image.convert(mode).save(tmp_path / "a.png")
    read = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(read[0], [[128] * 3, [255] * 3])


def test_what_is_no_picture_or_too_large_is_named(tmp_path):
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(DataError, match=r"a\.png must be a PNG or JPEG image"):
        read_image(tmp_path / "a.png")
    Image.new("L", (3000, 1)).save(tmp_path / "b.png")
    with pytest.raises(DataError, match="at most 2048 pixels a side; it is 3000 x 1"):
        read_image(tmp_path / "b.png")
