"""BigGAN through its package: the package's images, and none of its traps."""

import copy
import hashlib
import json
import shutil
from urllib.error import URLError

import numpy as np
import pytest
import pytorch_pretrained_biggan as package
import safetensors.torch
import torch

import evolver.generators
from evolver.errors import ConfigError, NotFetchedError, WeightsError
from evolver.generators import biggan
from evolver.weights import hub
from tests.generators.recipe import GOLDEN
from tests.soak import further


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "biggan_tiny.npz", allow_pickle=False) as opened:
        return dict(opened)


@pytest.fixture(scope="module")
def tensors():
    return safetensors.torch.load_file(GOLDEN / "biggan_tiny.safetensors")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("biggan")
    shutil.copy(GOLDEN / "biggan_tiny_config.json", made / "config.json")
    shutil.copy(GOLDEN / "biggan_tiny.safetensors", made / "model.safetensors")
    return made


@pytest.fixture
def own(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "own")
    return tmp_path / "own"


def _draw(generator, codes):
    with torch.inference_mode():
        return generator.synthesize(torch.from_numpy(codes)).numpy()


@pytest.mark.parametrize("truncation", [further(0.7), further(0.58), 0.705])
def test_the_golden_images(folder, golden, truncation):
    """On the grid, where rounding misses it, and between two of its points."""
    generator = biggan.deep_256(weights=folder, truncation=truncation)
    expected = np.clip((golden[f"img_t{truncation}"] + 1) / 2, 0, 1)
    np.testing.assert_allclose(_draw(generator, golden["code"][:2]), expected, atol=1e-4)


def test_codes_whose_class_is_none(folder, golden):
    generator = evolver.generators.load("biggan-deep-256", weights=folder)
    assert (generator.d, generator.image_size) == (32, 64)
    np.testing.assert_allclose(
        _draw(generator, golden["code_free"]),
        np.clip((golden["img_code_free_t0.7"] + 1) / 2, 0, 1),
        atol=1e-4,
    )


def test_bytes_are_the_golden_image_rounded_half_to_even(folder, golden):
    drawn = biggan.deep_256(weights=folder).render(golden["code"].astype(float))
    expected = golden["visualize_t0.7"].astype(float).transpose(0, 2, 3, 1) * 255
    sure = np.abs(expected - np.floor(expected) - 0.5) > 0.03
    np.testing.assert_array_equal(drawn[sure], np.rint(expected)[sure])
    assert np.abs(drawn - np.rint(expected)).max() <= 1


def test_images_do_not_drift_in_training_mode_or_after_a_gradient(folder, golden):
    generator = biggan.deep_256(weights=folder)
    first = _draw(generator, golden["code"])
    assert not any(module.training for module in generator._net.modules())
    generator._net.train()
    z = torch.from_numpy(golden["code"]).requires_grad_()
    generator.synthesize(z).sum().backward()
    assert z.grad.abs().sum() > 0
    np.testing.assert_array_equal(_draw(generator, golden["code"]), first)
    np.testing.assert_array_equal(
        copy.deepcopy(generator._net)(torch.from_numpy(golden["code"])).numpy(), first
    )


def test_initial_codes_are_noise_beside_a_class(folder, tensors):
    generator = biggan.deep_256(weights=folder, classes=[3, 7])
    codes = generator.initial_codes(400, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(
        codes, generator.initial_codes(400, rng=np.random.default_rng(0))
    )
    noise, classes = (codes[:, slice(*generator.parts[part])] for part in ("noise", "class"))
    assert noise.std() == pytest.approx(0.7, abs=0.02)
    assert np.abs(noise).max() > 1.4  # not truncated
    table = tensors["embeddings.weight"].T.double().numpy()
    np.testing.assert_array_equal(generator.embeddings, table)
    assert {tuple(row) for row in classes} == {tuple(table[3]), tuple(table[7])}
    one = biggan.deep_256(weights=folder, classes=5).initial_codes(
        2, rng=np.random.default_rng(0)
    )
    np.testing.assert_array_equal(one[:, 16:], table[[5, 5]])


def test_a_file_with_its_configuration_beside_it_and_torchs_own_file(
    folder, own, golden, tensors
):
    expected = biggan.deep_256(weights=folder).render(golden["code"][:1].astype(float))
    (own / "model.safetensors").unlink()
    torch.save(tensors, own / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    for weights in (own, own / "pytorch_model.bin", str(folder / "model.safetensors")):
        drawn = biggan.deep_256(weights=weights).render(golden["code"][:1].astype(float))
        np.testing.assert_array_equal(drawn, expected)


def test_the_names_that_the_bucket_published(folder, own, golden):
    expected = biggan.deep_256(weights=folder).render(golden["code"][:1].astype(float))
    (own / "model.safetensors").rename(own / "biggan-deep-256-pytorch_model.bin")
    (own / "config.json").rename(own / "biggan-deep-256-config.json")
    for weights in (own, own / "biggan-deep-256-pytorch_model.bin"):
        drawn = biggan.deep_256(weights=weights).render(golden["code"][:1].astype(float))
        np.testing.assert_array_equal(drawn, expected)
    (own / "biggan-deep-256-config.json").unlink()
    with pytest.raises(WeightsError, match=r"needed next: config\.json\."):
        biggan.deep_256(weights=own)


def test_a_file_of_an_older_torch(own, golden, tensors, folder):
    """Which had the divided weight, and not v."""
    old = {}
    for name, value in tensors.items():
        if name.endswith("weight_v"):
            stem = name.removesuffix("_v")
            original = tensors[f"{stem}_orig"].flatten(1)
            sigma = tensors[f"{stem}_u"] @ (original @ value)
            old[stem] = tensors[f"{stem}_orig"] / sigma
        else:
            old[name] = value
    safetensors.torch.save_file(old, own / "model.safetensors")
    drawn = biggan.deep_256(weights=own).render(golden["code"][:1].astype(float)).astype(int)
    same = biggan.deep_256(weights=folder).render(golden["code"][:1].astype(float))
    assert np.abs(drawn - same).max() <= 1


@pytest.mark.parametrize("drop", ["embeddings.weight", "generator.layers.4.gamma"])
def test_keys_are_compared(own, tensors, drop):
    safetensors.torch.save_file(
        {k: v for k, v in tensors.items() if k != drop}, own / "model.safetensors"
    )
    with pytest.raises(WeightsError, match=drop):
        biggan.deep_256(weights=own)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"layers": [[True, 10**9, 1]]}, "layers"),
        ({"num_classes": 10**9}, "num_classes"),
        ({"output_dim": 128}, "draw 64 pixels"),
        ({"class_embed_dim": 8}, "must be equal"),
        ({"surprise": 1}, "surprise"),
        ({"z_dim": 32, "class_embed_dim": 32}, "differs in"),
    ],
)
def test_hostile_configurations_are_refused(own, change, reason):
    text = json.loads((own / "config.json").read_text())
    (own / "config.json").write_text(json.dumps(text | change))
    with pytest.raises(WeightsError, match=reason):
        biggan.deep_256(weights=own)


def test_options_are_checked(folder):
    for truncation in (0, 1.01, "0.7", True, float("nan")):
        with pytest.raises(ConfigError, match="truncation must be"):
            biggan.deep_256(weights=folder, truncation=truncation)
    for classes in (12, [-1], "dog"):
        with pytest.raises(
            ConfigError, match="classes must be one or more class numbers, 0 to 11"
        ):
            biggan.deep_256(weights=folder, classes=classes)


def test_missing_files_are_named(own, tmp_path):
    (own / "model.safetensors").rename(own / "weights.safetensors")
    with pytest.raises(
        WeightsError, match=r"must hold config.json and model.safetensors or py"
    ):
        biggan.deep_256(weights=own)
    (own / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"config.json must lie beside"):
        biggan.deep_256(weights=own / "weights.safetensors")
    with pytest.raises(WeightsError, match="neither"):
        biggan.deep_256(weights=tmp_path / "nowhere")


class TestByName:
    @pytest.fixture(autouse=True)
    def _alone(self, monkeypatch, tmp_path):
        """No network, no cache, no folder of files but the test's own."""
        monkeypatch.setattr(hub, "user_data_path", lambda _: tmp_path / "data")
        monkeypatch.setattr(package, "PYTORCH_PRETRAINED_BIGGAN_CACHE", tmp_path / "cache")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    def test_what_is_wanted_and_where_it_may_be_put(self, tmp_path):
        with pytest.raises(WeightsError, match=r"pytorch_model\.bin") as caught:
            biggan.deep_256()
        for part in ("biggan-deep-256", "s3.amazonaws.com", "OFFLINE", "Put it by hand"):
            assert part in str(caught.value)
        assert str(tmp_path / "data" / "weights" / "biggan-deep-256") in str(caught.value)

    def test_files_put_there_by_hand(self, tmp_path, golden, folder):
        there = tmp_path / "data" / "weights" / "biggan-deep-256"
        shutil.copytree(folder, there)
        (there / "model.safetensors").rename(there / "pytorch_model.bin")
        drawn = biggan.deep_256().render(golden["code"].astype(float))
        np.testing.assert_array_equal(
            drawn, biggan.deep_256(weights=folder).render(golden["code"].astype(float))
        )

    def test_the_packages_own_cache(self, tmp_path, golden, folder):
        (tmp_path / "cache").mkdir()
        for wanted, name in zip(
            hub.known_files("biggan-deep-256"),
            ("model.safetensors", "config.json"),
            strict=True,
        ):
            cached = (
                tmp_path / "cache" / (hashlib.sha256(wanted.page.encode()).hexdigest() + ".e")
            )
            shutil.copy(folder / name, cached)
            (tmp_path / "cache" / f"{cached.name}.json").write_text("{}")
        assert biggan.deep_256().render(golden["code"].astype(float)).shape == (3, 64, 64, 3)

    def test_a_bucket_that_is_gone(self, monkeypatch):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)

        def gone(*_, timeout, **__):
            assert timeout > 0
            raise URLError("no such bucket")

        monkeypatch.setattr(biggan, "urlopen", gone)
        with pytest.raises(WeightsError, match="no such bucket"):
            biggan.deep_256()

    def test_a_check_asks_no_bucket(self, monkeypatch):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr(biggan, "urlopen", lambda *_, **__: pytest.fail("asked"))
        with (
            hub.nothing_fetched(),
            pytest.raises(NotFetchedError, match=r"pytorch_model.bin, .* \(about 224 MB"),
        ):
            biggan.deep_256()
