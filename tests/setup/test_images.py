"""One reader of image files: upright, eight bits, nothing to see through."""

import os
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evolver.errors import DataError
from evolver.setup import colour_profiles
from evolver.setup.images import read_image


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


def png(path, width, height, depth, colour_type, rows, *chunks):
    """Write a PNG byte by byte: Pillow writes no 16-bit colour, and no chunk of ours."""

    def chunk(kind, data):
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    head = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = [(b"IHDR", head), *chunks, (b"IDAT", data), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))


GREY, COLOUR, GREY_ALPHA, COLOUR_ALPHA = 0, 2, 4, 6


def test_sixty_four_levels_of_sixteen_bits_are_sixty_four(tmp_path):
    levels = (np.arange(64, dtype=np.uint16) * 1024).reshape(8, 8)
    Image.fromarray(levels).save(tmp_path / "a.png")
    read = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(read[..., 0], levels >> 8)
    assert len(np.unique(read)) == 64


@pytest.mark.parametrize("factor", [256, 257])
@pytest.mark.parametrize("kind", [GREY, COLOUR, GREY_ALPHA, COLOUR_ALPHA])
def test_eight_bits_in_sixteen_are_those_eight(tmp_path, kind, factor):
    """Labs multiply by 256, or by 257."""
    channels = {GREY: 1, COLOUR: 3, GREY_ALPHA: 2, COLOUR_ALPHA: 4}[kind]
    levels = np.arange(256)
    pixels = np.repeat(levels[:, None] * factor, channels, axis=1)
    if kind in {GREY_ALPHA, COLOUR_ALPHA}:
        pixels[:, -1] = 65535
    png(tmp_path / "a.png", 256, 1, 16, kind, [pixels.astype(">u2").tobytes()])
    read = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(read[0], np.repeat(levels[:, None], 3, axis=1))


def test_a_transparent_level_of_sixteen_bits_is_the_grey(tmp_path):
    row = np.array([5, 6, 65535], dtype=">u2").tobytes()
    png(tmp_path / "a.png", 3, 1, 16, GREY, [row], (b"tRNS", struct.pack(">H", 6)))
    read = read_image(tmp_path / "a.png", grey=90)
    np.testing.assert_array_equal(read[0, :, 0], [0, 90, 255])


def test_half_transparent_lies_half_way_to_the_stated_grey(tmp_path):
    Image.new("RGBA", (1, 1), (255, 0, 101, 128)).save(tmp_path / "a.png")
    read = read_image(tmp_path / "a.png", grey=51)
    np.testing.assert_array_equal(read[0, 0], [153, 25, 76])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_every_way_to_hold_a_camera_is_undone(tmp_path, orientation, name):
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :16] = 255  # the upper left corner is white
    held = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright),
        7: np.rot90(upright.swapaxes(0, 1), 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(held)).save(tmp_path / name, exif=exif, quality=100)
    np.testing.assert_allclose(read_image(tmp_path / name), upright, atol=3)


def adobe_rgb():
    """A profile like Adobe RGB (1998)'s, made here: gamma 2.2 and a greener green."""

    def s15(value):
        return struct.pack(">i", round(value * 65536))

    def xyz(*values):
        return b"XYZ \0\0\0\0" + b"".join(map(s15, values))

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.19921875 * 256)) + b"\0\0"
    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"mine\0" + b"\0" * 82
    tags = {
        b"desc": text, b"cprt": b"text\0\0\0\0none\0\0\0\0", b"wtpt": xyz(0.9642, 1, 0.8249),
        b"rXYZ": xyz(0.60974, 0.31111, 0.01947), b"gXYZ": xyz(0.20528, 0.62567, 0.06087),
        b"bXYZ": xyz(0.14919, 0.06322, 0.74457), b"rTRC": curve, b"gTRC": curve, b"bTRC": curve,
    }  # fmt: skip
    body, table = b"", struct.pack(">I", len(tags))
    for tag, data in tags.items():
        table += tag + struct.pack(">II", 128 + 4 + 12 * len(tags) + len(body), len(data))
        body += data.ljust(-(-len(data) // 4) * 4, b"\0")
    size = 128 + len(table) + len(body)
    head = struct.pack(">I4sI4s4s4s12s4s", size, b"none", 0x02400000, b"mntr", b"RGB ", b"XYZ ",
                       b"\0" * 12, b"acsp").ljust(68, b"\0")  # fmt: skip
    return (head + s15(0.9642) + s15(1) + s15(0.8249)).ljust(128, b"\0") + table + body


def test_colours_of_another_profile_come_out_in_srgb(tmp_path):
    """(128, 200, 128) in Adobe RGB is (0, 203, 120) in sRGB: by the two standards' formulas."""
    pixels = np.array([[[128, 200, 128], [77, 77, 77]]], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png", icc_profile=adobe_rgb())
    read = read_image(tmp_path / "a.png").astype(int)
    light = (pixels[0] / 255) ** 2.19921875
    to_xyz = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322],
                       [0.01947, 0.06087, 0.74457]])  # fmt: skip
    srgb = np.array([[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169],
                     [0.0139322, 0.0971045, 0.7141733]])  # fmt: skip
    linear = np.clip(light @ to_xyz.T @ np.linalg.inv(srgb).T, 0, 1)
    expected = 255 * np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055
    )
    np.testing.assert_allclose(read[0], expected, atol=2)
    assert abs(read[0, 0] - pixels[0, 0]).max() > 50


def test_a_profile_that_is_srgb_changes_no_level(tmp_path, pixels):
    profile = colour_profiles.ImageCms.ImageCmsProfile(
        colour_profiles.ImageCms.createProfile("sRGB")
    ).tobytes()
    for name, kept in (("a.png", pixels), ("b.png", pixels[..., 0])):
        Image.fromarray(kept).save(tmp_path / name, icc_profile=profile)
        read = read_image(tmp_path / name)
        np.testing.assert_array_equal(
            read, pixels if kept.ndim == 3 else kept[..., None] + 0 * read
        )


def test_the_gamma_of_a_png_is_heeded(tmp_path):
    row = bytes([0, 55, 255])
    for gamma, expected in ((100_000, [0, 128, 255]), (45_455, [0, 55, 255])):
        chunk = (b"gAMA", struct.pack(">I", gamma))
        png(tmp_path / "a.png", 3, 1, 8, GREY, [row], chunk)
        np.testing.assert_array_equal(read_image(tmp_path / "a.png")[0, :, 1], expected)
    srgb = (b"sRGB", b"\0")
    png(tmp_path / "a.png", 3, 1, 8, GREY, [row], srgb, (b"gAMA", struct.pack(">I", 100_000)))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[0, :, 1], [0, 55, 255])


def test_what_a_file_leaves_open_is_refused(tmp_path):
    Image.new("CMYK", (2, 2), (10, 20, 30, 0)).save(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="a CMYK image needs its profile"):
        read_image(tmp_path / "a.jpg")
    Image.new("RGB", (2, 2)).save(tmp_path / "b.png", icc_profile=b"nonsense" * 20)
    with pytest.raises(DataError, match="a colour profile that fits"):
        read_image(tmp_path / "b.png")
    frames = [Image.new("RGB", (2, 2), (k, 0, 0)) for k in (1, 200)]
    frames[0].save(tmp_path / "c.png", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match="a film of several"):
        read_image(tmp_path / "c.png")
    Image.new("RGB", (2, 2)).save(tmp_path / "d.png", format="GIF")
    with pytest.raises(DataError, match="must be a PNG or JPEG image; it begins with b'GIF"):
        read_image(tmp_path / "d.png")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\x00\x05\x16\x07" + b"\0" * 100, "macOS' note beside a file"),
    ],
)
def test_what_is_often_found_in_place_of_an_image_is_named(tmp_path, content, said):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_image(tmp_path / "a.png")


def test_a_pipe_and_a_device_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to("/dev/zero")
    for name in ("a.png", "b.png"):
        with pytest.raises(DataError, match="must be a regular file"):
            read_image(tmp_path / name)
    with pytest.raises(DataError, match="No such file"):
        read_image(tmp_path / "none.png")


def test_changed_bytes_end_in_pixels_or_in_our_error(tmp_path, pixels):
    sources = []
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("a.png", "a.jpg"):
        Image.fromarray(pixels).save(tmp_path / name, exif=exif, icc_profile=adobe_rgb())
        sources.append((tmp_path / name).read_bytes())
    rng = np.random.default_rng(1)
    refused = 0
    for i in range(300):
        content = bytearray(sources[i % 2])
        for _ in range(rng.integers(1, 6)):
            content[rng.integers(0, len(content))] = rng.integers(0, 256)
        whole = len(content) if rng.random() < 0.8 else rng.integers(1, len(content))
        (tmp_path / "x").write_bytes(content[:whole])
        try:
            read = read_image(tmp_path / "x")
        except DataError:
            refused += 1
        else:
            assert (read.dtype, read.shape[2:]) == (np.uint8, (3,))
    assert 50 < refused < 300


def test_nothing_else_reads_image_files():
    """References, displays and whatever comes have their pixels from one loader."""
    root = Path(__file__).parents[2]
    reading = re.compile(r"\bImage\.open\(|\bimread\(|\bread_file\(|\bpygame\.image\.load\(")
    found = {
        str(path.relative_to(root))
        for package in ("evolver", "rig_bridge", "scorers")
        for path in (root / package).rglob("*.py")
        if reading.search(path.read_text(encoding="utf-8"))
    }
    # The second reads no file: WebP, out of a recording that is of our own making.
    assert found == {"evolver/setup/images.py", "evolver/recording/thread_data.py"}


def test_what_is_no_picture_or_too_large_is_named(tmp_path):
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(DataError, match=r"a\.png must be a PNG or JPEG image"):
        read_image(tmp_path / "a.png")
    Image.new("L", (3000, 1)).save(tmp_path / "b.png")
    with pytest.raises(DataError, match="at most 2048 pixels a side; it is 3000 x 1"):
        read_image(tmp_path / "b.png")
