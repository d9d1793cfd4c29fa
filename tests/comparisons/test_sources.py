"""Sets of images by name: sizes, seeds, noise of a known spectrum, codes of a known spread."""

import os

import numpy as np
import pytest
from PIL import Image

from evolver.analysis.image_statistics import image_statistics
from evolver.comparisons.sources import image_batches, image_set, load_source
from evolver.errors import ConfigError


@pytest.mark.parametrize(
    "text", ["scenes", "white", "pink", "mini-object", "mini-object@zeros"]
)
def test_a_set_follows_from_its_seed(text):
    images = image_set(text, 3, size=48, seed=4)
    assert (images.shape, images.dtype) == ((3, 48, 48, 3), np.uint8)
    np.testing.assert_array_equal(images, image_set(text, 3, size=48, seed=4))
    if text != "mini-object@zeros":
        assert (images != image_set(text, 3, size=48, seed=5)).any()


@pytest.mark.parametrize(("text", "slope"), [("white", 0), ("pink", -2)])
def test_noise_has_its_spectrum(text, slope):
    found = image_statistics(image_set(text, 8, size=64, seed=1))
    assert found.slope.mean() == pytest.approx(slope, abs=0.2)
    assert found.luminance.mean() == pytest.approx(0.5, abs=0.03)


def test_a_folder_gives_centred_squares(tmp_path):
    for i in range(4):
        pixels = np.zeros((20, 30, 3), np.uint8)
        pixels[:, 5:25] = 40 * (i + 1)  # the centred square alone is not black
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    (tmp_path / "notes.txt").write_text("no image")
    images = image_set(str(tmp_path), 4, size=10, seed=2)
    assert images.min() > 0
    assert sorted(images[:, 5, 5, 0]) == [40, 80, 120, 160]
    with pytest.raises(ConfigError, match="5 PNG"):
        image_set(str(tmp_path), 5, size=10, seed=2)


def test_a_batch_is_the_same_by_itself_and_its_digest_says_what_it_is_made_of(tmp_path):
    for text, many in (("white", 600), ("mini-texture", 70)):
        first, second = image_batches(text, many, size=8, seed=3)
        assert len(first.names) + len(second.names) == many
        alone = image_batches(text, many, size=8, seed=3)[1]
        np.testing.assert_array_equal(alone.make(), second.make())
        assert second.names[-1] == str(many - 1)
        others = image_batches(text, many, size=8, seed=4)
        digests = {b.digest for b in (first, second, alone, *others)}
        assert len(digests) == 4
    for i in range(2):
        Image.fromarray(np.full((9, 9, 3), i, np.uint8)).save(tmp_path / f"{i}.png")
    (batch,) = image_batches(str(tmp_path), 2, size=8, seed=1)
    assert batch.names == ("0.png", "1.png")
    Image.fromarray(np.full((9, 9, 3), 7, np.uint8)).save(tmp_path / "1.png")
    assert image_batches(str(tmp_path), 2, size=8, seed=1)[0].digest != batch.digest


def test_what_is_called_like_an_image_and_is_no_file_is_none(tmp_path):
    (tmp_path / "a.png").mkdir()
    os.mkfifo(tmp_path / "b.png")
    with pytest.raises(ConfigError, match=r"3 PNG or JPEG files at least; it has 0$"):
        image_batches(str(tmp_path), 3, size=8, seed=1)


def test_a_generator_is_a_name_with_or_without_weights():
    with pytest.raises(ConfigError, match="NAME or NAME=WEIGHTS; got 'mini-texture='"):
        load_source("mini-texture=")


def test_truncated_codes_are_bounded(monkeypatch):
    generator = load_source("mini-object", device="cpu")
    asked = []
    monkeypatch.setattr(generator, "render", lambda codes: asked.append(codes) or _black(codes))
    image_set("mini-object@truncated", 200, size=8, seed=1)
    codes = np.concatenate(asked)
    assert codes.shape == (200, 128)
    embedding, noise = codes[:, :64], codes[:, 64:]
    assert embedding.std() == pytest.approx(0.08, rel=0.05)
    assert np.abs(noise).max() <= 1.4
    assert noise.std() == pytest.approx(0.7 * 0.8796, rel=0.02)  # of a normal within 2 sd


def _black(codes):
    return np.zeros((len(codes), 8, 8, 3), np.uint8)


def test_what_is_no_set_says_what_is():
    with pytest.raises(ConfigError, match=r"scenes.*folder.*nowhere"):
        image_set("nowhere", 2, size=8, seed=1)
    with pytest.raises(ConfigError, match="class and noise"):
        image_set("mini-texture@truncated", 2, size=8, seed=1)
