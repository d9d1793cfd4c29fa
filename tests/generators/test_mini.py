"""The built-in generators: the same bytes alone or in company, and the right slope."""

import hashlib
import json
import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

import evolver.generators
from evolver.errors import ConfigError, DataError, WeightsError
from evolver.row_products import row_by_row
from evolver.weights import hub
from evolver.weights.read import read_weights
from tests.soak import further

NAMES = ("mini-texture", "mini-object")


@pytest.fixture(scope="module", params=NAMES)
def generator(request):
    return evolver.generators.load(request.param)


def _codes(generator, n, scale=1.0):
    return scale * np.random.default_rng(0).standard_normal((n, generator.d))


def test_it_says_what_it_is(generator):
    assert generator.d == {"mini-texture": 256, "mini-object": 128}[generator.name]
    assert generator.image_size == 64
    assert len(generator.sha256) == 64
    image = generator.render(_codes(generator, 1))
    assert image.shape == (1, 64, 64, 3)
    assert image.dtype == np.uint8


@pytest.mark.parametrize("scale", [further(1.0), 3.0, further(20.0)])
def test_a_code_gives_the_same_bytes_alone_and_among_others(generator, scale):
    codes = _codes(generator, 12, scale)
    together = generator.render(codes)
    alone = np.concatenate([generator.render(codes[k : k + 1]) for k in range(0, 12, 4)])
    np.testing.assert_array_equal(alone, together[::4])
    np.testing.assert_array_equal(generator.render(codes[::-1]), together[::-1])


def test_the_same_bytes_from_another_load_and_another_thread_count(generator):
    codes = _codes(generator, 9)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = evolver.generators.load(generator.name).render(codes)
        torch.set_num_threads(2)
        two = generator.render(codes)
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(one, two)


def test_no_codes_give_no_images(generator):
    assert generator.render(np.zeros((0, generator.d))).shape == (0, 64, 64, 3)


def test_pixels_are_rounded_half_to_even_from_what_synthesize_draws(generator):
    codes = _codes(generator, 8, 2.0)
    with torch.inference_mode(), row_by_row(torch.device("cpu"), 8):
        drawn = (
            generator.synthesize(torch.from_numpy(codes).float()).permute(0, 2, 3, 1).numpy()
        )
    np.testing.assert_array_equal(
        generator.render(codes), np.rint(drawn * 255).astype(np.uint8)
    )


def test_the_gradient_is_that_of_finite_differences(generator):
    rng = np.random.default_rng(1)
    z = torch.from_numpy(rng.standard_normal((2, generator.d))).float().requires_grad_()
    weight = torch.from_numpy(rng.standard_normal((2, 3, 64, 64))).float()
    (generator.synthesize(z) * weight).sum().backward()
    assert z.grad is not None
    # Uphill, so that what is measured is not the difference of two large sums.
    step = 0.01 * z.grad / z.grad.norm()
    with torch.no_grad():
        ahead = generator.synthesize(z + step).double()
        behind = generator.synthesize(z - step).double()
    change = float(((ahead - behind) * weight.double()).sum()) / 2
    assert change == pytest.approx(float((z.grad * step).sum()), rel=0.02)


def test_codes_far_out_are_still_told_apart(generator):
    """The squashing: at 20 times the usual length a step still changes the unrounded image."""
    z = torch.from_numpy(_codes(generator, 4, 20.0)).float()
    with torch.inference_mode():
        change = (
            (generator.synthesize(z) - generator.synthesize(1.02 * z)).abs().amax((1, 2, 3))
        )
        values = generator.synthesize(z)
    assert (change > 1e-4).all()
    assert values.min() >= 0
    assert values.max() <= 1


@pytest.mark.parametrize("scale", [1, further(3), 6])
def test_random_codes_draw_varied_images(generator, scale):
    """Not grey, not one blob, not all alike; thresholds are half of what scenes have."""
    images = generator.render(_codes(generator, 40, scale)).astype(float)
    assert np.median(images.std(axis=(1, 2)).mean(axis=1)) > 20
    apart = np.abs(images[:20] - images[20:]).mean()
    assert apart > 25


def test_wrong_codes_are_refused(generator):
    with pytest.raises(DataError, match="shape"):
        generator.render(np.zeros((3, generator.d + 1)))
    with pytest.raises(DataError, match="finite"):
        generator.render(np.full((1, generator.d), np.inf))


def test_initial_codes(generator):
    a, b = (generator.initial_codes(400, rng=np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    assert a.shape == (400, generator.d)
    if generator.name == "mini-texture":
        assert a.std() == pytest.approx(1, abs=0.02)
    else:
        assert a[:, 64:].std() == pytest.approx(0.7, abs=0.02)
        assert len(np.unique(a[:, :64], axis=0)) > 20  # classes
        np.testing.assert_allclose((a[:, :64] ** 2).mean(axis=1), 1, atol=0.01)


def test_unknown_names_options_and_devices_are_refused():
    with pytest.raises(ConfigError, match=r"mini-object, mini-texture.*; found 'nano'"):
        evolver.generators.load("nano")
    with pytest.raises(ConfigError, match="takes the options chunk, entry; got trunc"):
        evolver.generators.load("mini-object", trunc=1)
    with pytest.raises(ConfigError, match="device"):
        evolver.generators.load("mini-object", device="abacus")


def _shipped(name):
    filename = {"mini-texture": "texture", "mini-object": "object"}[name] + ".safetensors"
    return Path(str(resources.files("evolver.weights") / "mini" / filename))


def test_the_digest_is_that_of_the_file(generator):
    assert generator.sha256 == hashlib.sha256(_shipped(generator.name).read_bytes()).hexdigest()


def test_own_weights_are_taken_and_damaged_ones_refused(generator, tmp_path):
    content = _shipped(generator.name).read_bytes()
    own = tmp_path / "own.safetensors"
    tensors = safetensors.torch.load(content)
    last = next(k for k in ("conv1_1.bias", "ground2.bias") if k in tensors)
    tensors[last] = tensors[last] + 1
    own.write_bytes(safetensors.torch.save(tensors))
    other = evolver.generators.load(generator.name, weights=own)
    assert other.sha256 != generator.sha256
    codes = _codes(generator, 3)
    assert other.render(codes).mean() > generator.render(codes).mean()

    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(content[:-100])
    with pytest.raises(WeightsError, match="safetensors"):
        evolver.generators.load(generator.name, weights=cut)
    with pytest.raises(WeightsError, match="cut short"):
        read_weights(cut, sha256=generator.sha256)
    with pytest.raises(WeightsError, match="must be a file on this machine"):
        evolver.generators.load(generator.name, weights=tmp_path / "none")
    del tensors[last]
    cut.write_bytes(safetensors.torch.save(tensors))
    with pytest.raises(WeightsError, match=last.replace(".", r"\.")):
        evolver.generators.load(generator.name, weights=cut)


def test_the_shipped_file_is_refused_when_changed(generator, monkeypatch, tmp_path):
    changed = tmp_path / "changed"
    changed.write_bytes(_shipped(generator.name).read_bytes() + b" ")
    monkeypatch.setattr(
        hub, "find_file", lambda entry, **_: hub.WeightsLocation(changed, entry.sha256, "test")
    )
    with pytest.raises(WeightsError, match=generator.sha256):
        evolver.generators.load(generator.name)


def test_importing_the_package_loads_no_torch():
    code = "import sys, evolver.generators; print('torch' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert json.loads(run.stdout.strip().lower()) is False


@pytest.mark.soak
def test_objects_are_recognised_by_the_network():
    """A class's embedding draws that class; the network, which saw scenes alone, is judge."""
    import scorers
    from scorers.mini import scenes

    generator = evolver.generators.load("mini-object")
    tensors, _ = read_weights(_shipped("mini-object"))
    table = tensors["embeddings.weight"].double().numpy()
    n = 3
    pose = 0.7 * np.random.default_rng(2).standard_normal((len(table) * n, 64))
    codes = np.hstack([np.repeat(table, n, axis=0), pose])
    logits = scorers.load(f"mini:logits:0-{len(scenes.CLASSES) - 1}").score(
        generator.render(codes)
    )
    right = logits.argmax(axis=1) == np.repeat(np.arange(len(table)), n)
    assert right.mean() > 0.5  # chance is 1 in 62
