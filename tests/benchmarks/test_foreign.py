"""Neurons that are foreign to the generator: what they say they are, and scored like others."""

import numpy as np
import pytest
import torch

from benchmarks.optimizers import foreign
from benchmarks.optimizers.worlds import FOREIGN, Stage, at_norm, layer_of, scorer_of
from evolver.errors import ConfigError
from scorers.mini import reference_images
from tests.soak import further

KINDS = ["deep", *(further(kind) for kind in foreign.KINDS if kind != "deep")]


def grating(contrast):
    along = np.arange(64) * np.ones((64, 1))
    wave = 127 + 127 * contrast * np.sin(2 * np.pi * along / 7)
    return np.repeat(wave[..., None].round().astype(np.uint8), 3, axis=2)


def test_the_two_sets_share_no_unit_and_have_all_kinds():
    a, b = foreign.units("training", 9), foreign.units("held-apart", 9)
    assert not set(a) & set(b)
    assert [layer_of(unit) for unit in a] == [*foreign.KINDS] * 3
    assert foreign.units("training", 3) == a[:3]


@pytest.mark.parametrize("kind", KINDS)
def test_units_differ_and_have_a_scale(kind):
    names = [f"benchmarks.optimizers.foreign:{kind}@{k}" for k in (0, 1)]
    stages = [Stage(FOREIGN, name, device="cpu") for name in names]
    codes = at_norm(np.random.default_rng(0).standard_normal((20, stages[0].d)), FOREIGN.norm)
    one, two = (stage.clean(codes) for stage in stages)
    assert np.ptp(one) > 0.1
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.95
    np.testing.assert_array_equal(stages[0].clean(codes[3:5]), one[3:5])
    assert stages[0].digest != stages[1].digest
    assert Stage(FOREIGN, names[0], device="cpu").digest == stages[0].digest


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.soak
def test_the_scale_is_that_of_reference_images(kind):
    unit = scorer_of(f"benchmarks.optimizers.foreign:{kind}@4", "cpu")
    told = unit.score(reference_images(400, seed=20_260_102))[:, 0]
    for q in (50, 99):
        assert unit.reference_quantiles[f"p{q}"] == pytest.approx(
            np.percentile(told, q), rel=1e-4
        )


def test_more_contrast_everywhere_says_little_to_a_normalised_unit():
    net = foreign.Surround()
    images = np.stack([grating(c) for c in (0.25, 0.5, 1.0)])
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        energies = net(x).reshape(3, 8, 8, 8)[:, :, 2:6, 2:6].amax((1, 2, 3)).numpy()
        # Sixteen times the energy, in the middle alone and all over.
        alone = x[:1] + 0
        alone[:, :, 24:40, 24:40] = x[2:, :, 24:40, 24:40]
        there = net(alone).reshape(8, 8, 8)[:, 3:5, 3:5].amax().numpy()
    assert 1.0 < energies[2] / energies[0] < 1.5
    assert there > 2 * energies[2]


@pytest.mark.parametrize("argument", ["", "-1", "x", "10000"])
def test_a_unit_without_a_number_is_refused(argument):
    with pytest.raises(ConfigError, match="have numbers 0 to 9999"):
        foreign.deep(argument, device="cpu")
