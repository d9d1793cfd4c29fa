"""DeePSim: pixel for pixel what the original implementation draws, from files as they come."""

import numpy as np
import pytest
import safetensors.torch
import torch

import evolver.generators
from evolver.errors import ConfigError, DataError, WeightsError
from evolver.generators import deepsim
from tests.generators import recipe
from tests.soak import further


@pytest.fixture(scope="module")
def norm1(tmp_path_factory):
    """The cheapest of the nine, as its file comes: keys with `.1.`, written by torch."""
    path = tmp_path_factory.mktemp("deepsim") / "upconvGAN_norm1.pt"
    tensors, _ = recipe.weights("norm1")
    torch.save({k.replace(".", ".1.", 1): v for k, v in tensors.items()}, path)
    return path


def _assert_golden(variant, raw, image):
    golden, entry = recipe.golden(), recipe.RECIPE[variant]
    rows, columns = golden[f"{variant}_px_rc"].T
    np.testing.assert_allclose(raw[:, :, rows, columns], golden[f"{variant}_px_raw"], atol=0.02)
    np.testing.assert_allclose(
        image[:, :, rows, columns], golden[f"{variant}_px_img"], atol=1e-4
    )
    block = image.shape[-1] // 16
    blocks = image.reshape(2, 3, 16, block, 16, block).mean((3, 5))
    np.testing.assert_allclose(blocks, golden[f"{variant}_img16"], atol=1e-4)
    ramp = np.arange(image[0].size).reshape(image[0].shape) / image[0].size
    np.testing.assert_allclose(
        (image * ramp).mean((1, 2, 3)), entry["img"]["ramp_dot"], atol=1e-4
    )
    assert raw.min() == pytest.approx(entry["raw"]["min"], abs=0.02)
    assert raw.max() == pytest.approx(entry["raw"]["max"], abs=0.02)


# Others differ in their first layers, and take a second or more to make up.
@pytest.mark.parametrize(
    "variant", [v if v == "norm1" else further(v) for v in recipe.VARIANTS]
)
def test_every_variant_draws_the_golden_images(variant):
    tensors, digest = recipe.weights(variant)
    entry = recipe.RECIPE[variant]
    assert digest == entry["weights_sha256"]  # the recipe was followed
    with torch.device("meta"):
        net = deepsim.DeepSimNet(variant)
    net.load_state_dict(tensors, assign=True)
    net.to(memory_format=torch.channels_last)
    assert sum(p.numel() for p in net.parameters()) == entry["n_params"]
    z = torch.from_numpy(recipe.codes(variant))
    with torch.inference_mode():
        raw, image = net.raw(z).numpy(), net(z).numpy()
    _assert_golden(variant, raw, image)


@pytest.mark.parametrize("variant", ["fc7", "fc6_eucl"])
def test_variants_of_one_architecture(variant):
    with torch.device("meta"):
        one, other = deepsim.DeepSimNet(variant), deepsim.DeepSimNet("fc6")
    assert str(one) == str(other)
    assert one.image_size == other.image_size == 256


def test_bytes_are_the_golden_image_rounded_half_to_even(norm1):
    generator = deepsim.norm1(weights=norm1)
    golden = recipe.golden()
    rows, columns = golden["norm1_px_rc"].T
    drawn = generator.render(recipe.codes("norm1").astype(float))
    assert drawn.shape == (2, 240, 240, 3)
    expected = golden["norm1_px_img"].astype(np.float64) * 255
    found = drawn.transpose(0, 3, 1, 2)[:, :, rows, columns]
    # Where the golden value is so near a half that 1e-4 decides, either neighbour is right.
    sure = np.abs(expected - np.floor(expected) - 0.5) > 0.03
    assert sure.mean() > 0.9
    np.testing.assert_array_equal(found[sure], np.rint(expected[sure]).astype(np.uint8))
    assert np.abs(found.astype(int) - np.rint(expected)).max() <= 1


def test_a_code_gives_the_same_bytes_alone_and_among_others(norm1):
    generator = deepsim.norm1(weights=norm1, chunk=3)
    codes = np.random.default_rng(0).standard_normal((4, generator.d))
    together = generator.render(codes)
    np.testing.assert_array_equal(generator.render(codes[3:]), together[3:])
    np.testing.assert_array_equal(generator.render(codes[::-1]), together[::-1])


def test_chunk_and_precision_move_no_pixel_by_more_than_one_level(norm1):
    codes = np.random.default_rng(1).standard_normal((3, 96 * 27 * 27)) * [[1], [3], [9]]
    drawn = deepsim.norm1(weights=norm1, chunk=3).render(codes).astype(int)
    assert np.abs(deepsim.norm1(weights=norm1, chunk=2).render(codes) - drawn).max() <= 1
    tensors, _ = recipe.weights("norm1")
    plain = deepsim.DeepSimNet("norm1")
    plain.load_state_dict(tensors)
    plain.double()
    with torch.inference_mode():
        image = plain(torch.from_numpy(codes)).permute(0, 2, 3, 1).numpy()
    assert np.abs(np.rint(image * 255) - drawn).max() <= 1
    assert (np.rint(image * 255) != drawn).mean() < 1e-3


def test_the_gradient_reaches_the_code(norm1):
    generator = deepsim.norm1(weights=norm1)
    z = torch.from_numpy(recipe.codes("norm1")).requires_grad_()
    image = generator.synthesize(z)
    weight = torch.from_numpy(np.random.default_rng(2).standard_normal(image.shape)).float()
    (image * weight).sum().backward()
    step = 0.01 * z.grad / z.grad.norm()
    with torch.no_grad():
        ahead, behind = (
            generator.synthesize(z + s).double() * weight.double() for s in (step, -step)
        )
    change = float((ahead - behind).sum()) / 2
    assert change == pytest.approx(float((z.grad * step).sum()), rel=0.02)


def test_it_is_loaded_by_name_and_says_what_it_is(norm1):
    generator = evolver.generators.load("deepsim-norm1", weights=norm1)
    assert (generator.name, generator.d, generator.image_size) == (
        "deepsim-norm1", 96 * 27 * 27, 240,
    )  # fmt: skip
    codes = generator.initial_codes(3, rng=np.random.default_rng(0))
    assert codes.shape == (3, generator.d)
    assert codes.std() == pytest.approx(1, abs=0.01)
    assert {f"deepsim-{v}" for v in deepsim.VARIANTS} <= set(evolver.generators.BUILTIN)
    with pytest.raises(DataError, match="shape"):
        generator.render(np.zeros((1, 4096)))


@pytest.mark.soak
def test_keys_with_and_without_the_one_and_safetensors_give_the_same_images(norm1, tmp_path):
    tensors, _ = recipe.weights("norm1")
    plain, safe = tmp_path / "plain.pt", tmp_path / "norm1.safetensors"
    torch.save(tensors, plain, _use_new_zipfile_serialization=False)
    safetensors.torch.save_file(tensors, safe)
    codes = recipe.codes("norm1").astype(float)
    drawn = [deepsim.norm1(weights=p) for p in (norm1, plain, safe)]
    assert len({g.sha256 for g in drawn}) == 3
    first, *others = (g.render(codes) for g in drawn)
    for other in others:
        np.testing.assert_array_equal(other, first)


def test_the_wrong_file_and_wrong_options_are_refused(norm1, tmp_path):
    with pytest.raises(WeightsError, match="DeepSimNet, by name, shape and kind; it"):
        deepsim.norm2(weights=norm1)
    tensors, _ = recipe.weights("norm1")
    both = tmp_path / "both.pt"
    torch.save(tensors | {"conv4_1.1.bias": tensors["conv4_1.bias"]}, both)
    with pytest.raises(WeightsError, match="with and without"):
        deepsim.norm1(weights=both)
    with pytest.raises(WeightsError, match="sha256 " + "0" * 64):
        deepsim.norm1(weights=norm1, sha256="0" * 64)
    for chunk in (0, True, 2.0, "8", 10**9):
        with pytest.raises(ConfigError, match="chunk must be"):
            deepsim.norm1(weights=norm1, chunk=chunk)
    with pytest.raises(ConfigError, match="revision must be text"):
        deepsim.norm1(revision=3)
