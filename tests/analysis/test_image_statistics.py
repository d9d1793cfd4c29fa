"""Image statistics against loops over pixels and frequencies, and images of known spectrum."""

import numpy as np
import pytest

from evolver.analysis.image_statistics import image_statistics
from evolver.errors import DataError

RNG = np.random.default_rng(5)


def by_loops(image):
    """The same numbers, frequency by frequency, by the sum that a Fourier transform is."""
    pixels = image.astype(float) / 255
    luma = 0.299 * pixels[..., 0] + 0.587 * pixels[..., 1] + 0.114 * pixels[..., 2]
    side = min(luma.shape)
    top, left = (luma.shape[0] - side) // 2, (luma.shape[1] - side) // 2
    square = luma[top : top + side, left : left + side]
    y, x = np.mgrid[:side, :side]
    rings, angles = {}, {}
    for v in range(-(side // 2), (side + 1) // 2):
        for u in range(-(side // 2), (side + 1) // 2):
            k = int(np.floor(np.hypot(u, v) + 0.5))
            if not 1 <= k <= side // 2:
                continue
            wave = np.exp(-2j * np.pi * (u * x + v * y) / side)
            energy = abs((square * wave).sum()) ** 2
            rings.setdefault(k, []).append(energy)
            angles.setdefault(round(np.degrees(np.arctan2(-v, u))) % 180, []).append(energy)
    power = np.array([np.mean(rings[k]) for k in sorted(rings)])
    by_angle = np.full(180, np.nan)
    for angle, energies in angles.items():
        by_angle[angle] = np.mean(energies)
    slope = np.polyfit(np.log(sorted(rings)), np.log(power), 1)[0]
    contrast = np.mean([pixels[..., c].std() for c in range(3)])
    return luma.mean(), pixels.mean(axis=(0, 1)), contrast, power, slope, by_angle


@pytest.mark.parametrize("shape", [(12, 12), (13, 18)])
def test_numbers_are_those_of_loops(shape):
    images = RNG.integers(0, 256, (2, *shape, 3), dtype=np.uint8)
    found = image_statistics(images)
    for i, image in enumerate(images):
        luminance, rgb, contrast, power, slope, angles = by_loops(image)
        assert found.luminance[i] == pytest.approx(luminance)
        np.testing.assert_allclose(found.rgb[i], rgb)
        assert found.contrast[i] == pytest.approx(contrast)
        np.testing.assert_allclose(found.power[i], power)
        assert found.slope[i] == pytest.approx(slope)
        np.testing.assert_allclose(found.orientation[i], angles)
    area = [np.pi * ((k + 0.5) ** 2 - (k - 0.5) ** 2) for k in found.frequencies]
    np.testing.assert_allclose(found.total, found.power * area)


@pytest.mark.parametrize("exponent", [0, 1, 2])
def test_the_slope_of_noise_is_that_it_was_made_with(exponent):
    """Power falls as f^-2a where amplitude falls as f^-a."""
    f = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64)[None])
    f[0, 0] = 1
    rng = np.random.default_rng(5)  # its own: whatever ran before, the same images
    noise = np.fft.fft2(rng.standard_normal((16, 64, 64)))
    waves = np.fft.ifft2(noise / f**exponent).real
    waves = (waves - waves.mean()) / waves.std(axis=(1, 2), keepdims=True)
    images = np.clip(np.rint(127.5 + 28 * waves), 0, 255).astype(np.uint8)
    found = image_statistics(np.repeat(images[..., None], 3, axis=3))
    # Pixels are whole numbers, whose rounding fills up the highest frequencies a little.
    assert found.slope.mean() == pytest.approx(-2 * exponent, abs=0.2)


@pytest.mark.parametrize(("down", "right", "degrees"), [(0, 8, 0), (8, 0, 90), (-8, 8, 45)])
def test_a_grating_is_found_at_its_scale_and_angle(down, right, degrees):
    y, x = np.mgrid[:64, :64] / 64
    wave = np.cos(2 * np.pi * (down * y + right * x))
    grating = np.rint(127.5 + 100 * wave).astype(np.uint8)
    found = image_statistics(np.repeat(grating[None, ..., None], 3, axis=3))
    assert int(found.frequencies[found.power[0].argmax()]) == round(np.hypot(down, right))
    assert int(np.nanargmax(found.orientation[0])) == degrees


def test_an_image_of_one_colour_has_no_slope():
    found = image_statistics(np.full((1, 16, 16, 3), 200, np.uint8))
    assert np.isnan(found.slope[0])
    assert found.contrast[0] == pytest.approx(0, abs=1e-12)
    with pytest.raises(DataError):
        image_statistics(np.zeros((1, 16, 16), np.uint8))


def test_what_is_alike_in_all_directions_is_one_at_every_angle():
    """The grid of an image has other frequencies at other angles, which `orientation` shows."""
    rng = np.random.default_rng(2)
    f = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64)[None])
    f[0, 0] = np.inf
    waves = np.fft.ifft2(np.fft.fft2(rng.standard_normal((60, 64, 64))) / f).real
    grey = np.clip(128 + 25 * waves / waves.std(axis=(1, 2), keepdims=True), 0, 255)
    found = image_statistics(np.repeat(grey[..., None], 3, axis=3).astype(np.uint8))
    alike = np.roll(found.anisotropy, 5, axis=1).reshape(60, 18, 10)
    np.testing.assert_allclose(np.nanmean(alike, axis=(0, 2)), 1, atol=0.08)
    raw = np.nanmean(np.roll(found.orientation, 5, axis=1).reshape(60, 18, 10), axis=(0, 2))
    assert raw.max() > 2 * raw.min()
    one_colour = image_statistics(np.full((1, 16, 16, 3), 7, np.uint8))
    assert np.isnan(one_colour.anisotropy).all()
