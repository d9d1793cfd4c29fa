"""FID's Inception against the library that it is of, where that loads; else what is said."""

import importlib

import numpy as np
import pytest
import torch

from evolver.analysis.image_quality import frechet_distance
from evolver.comparisons import inception
from evolver.errors import ConfigError, WeightsError
from tests.skips import NO_TORCHVISION


@pytest.fixture
def weights(tmp_path):
    """Random weights in a file of the true format; torchvision's network has the same names."""
    try:
        importlib.import_module("torch_fidelity")
    except (ImportError, RuntimeError):
        pytest.skip(NO_TORCHVISION)
    models = importlib.import_module("torchvision.models")
    torch.manual_seed(3)
    net = models.inception_v3(
        weights=None, num_classes=1008, aux_logits=False, init_weights=False
    )
    torch.save(net.state_dict(), tmp_path / "inception.pth")
    return tmp_path / "inception.pth"


def test_features_and_distances_are_the_librarys(weights):
    module = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
    own = module.FeatureExtractorInceptionV3(
        "own", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(weights)
    )
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (18, 64, 64, 3), dtype=np.uint8)  # more than one pass
    pooled, logits = inception.load_inception(weights=weights).measure(images)
    with torch.inference_mode():
        expected = own(torch.from_numpy(images).permute(0, 3, 1, 2))
    np.testing.assert_allclose(pooled, expected[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(logits, expected[1], rtol=1e-4, atol=1e-5)
    first, second = rng.standard_normal((40, 6)), rng.standard_normal((50, 6)) + 1
    metric = importlib.import_module("torch_fidelity.metric_fid")
    halves = [
        metric.fid_features_to_statistics(torch.from_numpy(part)) for part in (first, second)
    ]
    theirs = metric.fid_statistics_to_metric(*halves, verbose=False)
    assert frechet_distance(first, second).value == pytest.approx(*theirs.values(), rel=1e-3)


def test_a_file_that_is_another_is_refused(weights, tmp_path, monkeypatch):
    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="tensors of FID's Inception"):
        inception.load_inception(weights=tmp_path / "other.pth")
    monkeypatch.setattr(inception, "weights_folder", lambda: tmp_path)
    with pytest.raises(WeightsError, match="releases/download"):
        inception.load_inception()
    weights.rename(tmp_path / inception.FILE)
    with pytest.raises(WeightsError, match="begins with 6726825d"):
        inception.load_inception()


def test_without_the_library_it_says_what_to_install(monkeypatch):
    def missing(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(inception, "import_module", missing)
    with pytest.raises(ConfigError, match=r"evolver\[fid\]"):
        inception.load_inception()
