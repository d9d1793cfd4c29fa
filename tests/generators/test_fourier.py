"""Pixels by their spectrum: the gratings that a code says, their slope, the mask, the bytes."""

import numpy as np
import pytest
import torch

from evolver import generators
from evolver.errors import ConfigError, DataError, WeightsError
from evolver.generators.scale import code_scale
from evolver.metric.products import directions
from evolver.row_products import row_by_row

KINDS = {
    "small": {"size": 16},
    "odd": {"size": 15, "decay": 0.5},
    "mask": {"size": 16, "alpha": True},
    "mask over noise": {"size": 16, "alpha": True, "background": "noise", "noise_seed": 3},
}


@pytest.fixture(scope="module", params=KINDS)
def generator(request):
    made = generators.load("fourier", **KINDS[request.param])
    return made, KINDS[request.param]


def codes_of(generator, n, scale=1.0):
    return scale * np.random.default_rng(0).standard_normal((n, generator.d))


def drawn_by_hand(code, *, size, decay=1.0, alpha=False):
    """Colours and opacity, (4, size, size) float64, from one grating after the other."""
    y, x = np.mgrid[:size, :size] / size
    spectra = code.reshape(-1, size, size)
    planes = np.zeros_like(spectra)
    waves = [k if k <= (size - 1) // 2 else k - size for k in range(size)]
    gains = np.array([[max(1.0, np.hypot(u, v)) ** -decay for v in waves] for u in waves])
    gains /= np.sqrt((gains**2).mean())
    for row, u in enumerate(waves):
        for column, v in enumerate(waves):
            angle = 2 * np.pi * (u * y + v * x)
            grating = (np.cos(angle) + np.sin(angle)) / size
            planes += spectra[:, row, column, None, None] * gains[row, column] * grating
    mix = np.array([[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]])
    mix /= np.sqrt((mix**2).sum(axis=0).max())
    logits = np.concatenate([np.tensordot(mix, planes[:3], 1), planes[3:]])
    return 1 / (1 + np.exp(-logits)) if alpha else 1 / (1 + np.exp(-logits[:3]))


def test_it_says_what_it_is():
    usual = generators.load("fourier")
    assert (usual.name, usual.d, usual.image_size) == ("fourier", 12_288, 64)
    assert generators.load("fourier", alpha=True).d == 16_384
    assert usual.parts == {"image": (0, 12_288)}
    scale = code_scale(usual)
    assert (scale.step, scale.norm, scale.rate) == (0.1, None, 0.05)


def test_it_draws_the_gratings_of_its_code(generator):
    made, options = generator
    known = {key: options[key] for key in ("size", "decay", "alpha") if key in options}
    z = codes_of(made, 2)
    with torch.inference_mode():
        images = made.synthesize(torch.from_numpy(z).float()).double().numpy()
    for code, image in zip(z, images, strict=True):
        planes = drawn_by_hand(code, **known)
        behind = np.full_like(planes[:3], 0.5)
        if options.get("background") == "noise":
            # Where nothing is opaque the background is seen.
            clear = np.zeros(made.d)
            first = made.parts["mask"][0]
            clear[first] = -40.0 * options["size"]
            with torch.inference_mode():
                behind = made.synthesize(torch.tensor(clear[None]).float())[0].double().numpy()
            assert 0.15 < behind.std() < 0.25
        expected = planes[:3]
        if options.get("alpha"):
            expected = expected * planes[3] + behind * (1 - planes[3])
        np.testing.assert_allclose(image, expected, atol=2e-6)


def test_codes_of_zeros_are_grey_and_normal_ones_have_natural_spectra():
    made = generators.load("fourier")
    assert (made.render(np.zeros((1, made.d))) == 128).all()
    images = made.render(codes_of(made, 12)).astype(float) / 255
    assert 0.1 < images.std() < 0.25
    luminance = images.mean(axis=3)
    power = np.abs(np.fft.fft2(luminance - luminance.mean(axis=(1, 2), keepdims=True))) ** 2
    cycles = np.hypot(*np.meshgrid(np.fft.fftfreq(64, 1 / 64), np.fft.fftfreq(64, 1 / 64)))
    rings = [power.mean(axis=0)[(cycles >= k - 0.5) & (cycles < k + 0.5)].mean() for k in
             range(2, 30)]  # fmt: skip
    slope = np.polyfit(np.log(np.arange(2, 30)), np.log(rings), 1)[0]
    assert slope == pytest.approx(-2, abs=0.3)  # of power, where amplitudes fall by 1
    red, green, blue = images.reshape(-1, 3).T
    assert np.corrcoef(red, green)[0, 1] > 0.85
    assert np.corrcoef(red, blue)[0, 1] > 0.6


@pytest.mark.parametrize("scale", [0.1, 1.0, 20.0])
def test_a_code_gives_the_same_bytes_alone_and_among_others(generator, scale):
    made, _ = generator
    codes = codes_of(made, 21, scale)
    together = made.render(codes)
    alone = np.concatenate([made.render(codes[k : k + 1]) for k in range(0, 21, 5)])
    np.testing.assert_array_equal(alone, together[::5])
    np.testing.assert_array_equal(made.render(codes[::-1]), together[::-1])
    assert made.render(codes[:0]).shape == (0, made.image_size, made.image_size, 3)


def test_pixels_are_rounded_from_what_synthesize_draws(generator):
    made, _ = generator
    codes = codes_of(made, 8)
    with torch.inference_mode(), row_by_row(torch.device("cpu"), 8):
        drawn = made.synthesize(torch.from_numpy(codes).float()).permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(made.render(codes), np.rint(drawn * 255).astype(np.uint8))


def test_the_gradient_is_that_of_finite_differences(generator):
    made, _ = generator
    rng = np.random.default_rng(1)
    z = torch.from_numpy(rng.standard_normal((2, made.d))).float().requires_grad_()
    size = made.image_size
    weight = torch.from_numpy(rng.standard_normal((2, 3, size, size))).float()
    (made.synthesize(z) * weight).sum().backward()
    step = 0.05 * z.grad / z.grad.norm()
    with torch.no_grad():
        apart = (made.synthesize(z + step).double() - made.synthesize(z - step).double()) / 2
    change = float((apart * weight.double()).sum())
    assert change == pytest.approx(float((z.grad * step).sum()), rel=1e-3)


def test_it_has_a_metric():
    """Of grey: the leading axes are the means of the planes, whose gain is the largest."""
    made = generators.load("fourier", size=8)
    values, vectors = directions(made, np.zeros(made.d), k=1)
    # Luminance, alone in the first plane, and with it all waves of up to one cycle.
    low = [row * 8 + column for row in (0, 1, 7) for column in (0, 1, 7)]
    first = vectors[:, 0].reshape(3, 64)
    assert (first[0, low] ** 2).sum() > 0.95
    assert values[0] > 0


def test_initial_codes_are_nearly_grey_and_follow_their_stream():
    made = generators.load("fourier", size=16)
    a, b = (made.initial_codes(50, rng=np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    assert a.std() == pytest.approx(0.1, abs=0.005)
    assert made.render(a).std() < 10


def test_the_digest_is_that_of_the_settings():
    def digest(**options):
        return generators.load("fourier", **options).sha256

    others = [
        digest(),
        digest(size=32),
        digest(decay=0.5),
        digest(alpha=True),
        digest(alpha=True, background="noise"),
        digest(alpha=True, background="noise", noise_seed=1),
    ]
    assert len(set(others)) == len(others)
    assert digest(chunk=2) == others[0] == digest(decay=1)
    # Without a mask nothing is behind the image.
    assert digest(background="noise") == others[0]
    assert all(len(one) == 64 for one in others)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": 4}, "size must be pixels a side, 8 to 512; got 4"),
        ({"size": 64.0}, "size must be"),
        ({"decay": -1}, "decay must be an exponent"),
        ({"alpha": 1}, "alpha must be true or false"),
        ({"background": "blue"}, "background must be one of grey, noise; got 'blue'"),
        ({"noise_seed": -1}, "noise_seed must be a whole number"),
        ({"chunk": 0}, "chunk"),
        ({"device": "abacus"}, "device"),
        ({"truncation": 1}, "takes the options size, decay, alpha"),
    ],
)
def test_options_out_of_range_are_named(options, said):
    with pytest.raises(ConfigError, match=said):
        generators.load("fourier", **options)


def test_it_takes_no_weights_and_no_wrong_codes(tmp_path):
    with pytest.raises(WeightsError, match="'fourier' has no weights"):
        generators.load("fourier", weights=tmp_path / "x.safetensors")
    made = generators.load("fourier", size=8)
    with pytest.raises(DataError, match="shape"):
        made.render(np.zeros((1, made.d + 1)))
    with pytest.raises(DataError, match="finite"):
        made.render(np.full((1, made.d), np.nan))
