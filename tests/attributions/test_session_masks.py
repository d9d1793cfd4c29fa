"""A session whose unit's extent is known, and its masks; recordings that lack something."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from evolver import config, generators, recording
from evolver.analysis import feature_attribution
from evolver.analysis.image_similarity import (
    centre_mask,
    feature_cosine,
    masked_features,
    pixel_correlation,
    zoomed_mask,
)
from evolver.analysis.spatial_attribution import mass_inside
from evolver.attributions import session_masks
from evolver.attributions.drawing import RecordedGenerators
from evolver.attributions.re_evolution import pixel_generator, re_evolve
from evolver.attributions.session_masks import LookSettings, look
from evolver.live import run_simulated
from scorers.layer_maps import load_layer_maps
from tests.report.sessions import FITNESS, write

SESSION = """
[session]
name = "corner"
seed = 1
generations = 7
folder = "{folder}"
[presentation]
on_ms = 100
off_ms = 150
[[threads]]
name = "texture"
generator = "mini-texture"
popsize = 16
[[threads]]
name = "object"
generator = "mini-object"
popsize = 16
[references]
count = 1
[simulation]
units = ["mini:conv3:52:2:5"]
"""


@pytest.fixture(scope="module")
def maps():
    return load_layer_maps("mini:conv3")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    text = SESSION.format(folder=tmp_path_factory.mktemp("session"))
    return run_simulated(config.parse_session_file(text), text).recording


@pytest.fixture(scope="module")
def seen(path, maps):
    told = []
    settings = LookSettings(maps, steps=3)
    result = look(path, settings, progress=lambda *now: told.append(now))
    return SimpleNamespace(look=result, told=told)


def by_hand(path, maps):
    """Return features and scores of each thread, all images at once."""
    with recording.read(path) as opened:
        for thread in opened.threads:
            x = torch.as_tensor(opened.images.stack(thread.image_id)).permute(0, 3, 1, 2)
            outputs = maps.network.outputs(x.float() / 255, {"conv3": None})
            yield outputs["conv3"].numpy(), thread.score


def test_masks_are_of_the_threads_images_and_scores(path, maps, seen):
    pairs = list(by_hand(path, maps))
    for (features, score), thread in zip(pairs, seen.look.threads, strict=True):
        expected = feature_attribution(features, score, shuffles=0)
        np.testing.assert_allclose(thread.mask.mask, expected.mask, atol=1e-3)
        assert (thread.mask.n, thread.mask.reason) == (112, "")
    pooled = feature_attribution(
        np.concatenate([f for f, _ in pairs]), np.concatenate([y for _, y in pairs])
    )
    np.testing.assert_allclose(seen.look.pooled.mask, pooled.mask, atol=1e-3)
    assert seen.look.pooled.n == 224
    a, b = (thread.mask.mask for thread in seen.look.threads)
    assert seen.look.iou.value == pytest.approx(np.minimum(a, b).sum() / np.maximum(a, b).sum())
    done = [now for now, _ in seen.told]
    assert done == sorted(done)
    assert seen.told[-1] == (448 + 6, 448 + 6)  # each image alone and pooled, steps of two


def test_the_mask_lies_on_what_the_unit_sees(maps, seen):
    """More of it than of the image, which a mask of noise has there."""
    field = maps.network.local.field("conv3", 2, 5)
    region = np.zeros((64, 64))
    region[field.top : field.bottom, field.left : field.right] = 1
    chance = region.mean()
    for mask in (seen.look.threads[0].mask, seen.look.pooled):
        assert mask.p.value <= 0.05
        assert mass_inside(seen.look.grid.at_size(mask.mask, 64, 64), region).value > 2 * chance


def test_prototypes_are_compared_in_pixels_and_in_the_layer(path, maps, seen):
    values = {(one.prototype, one.measure): one.value.value for one in seen.look.similarity}
    measures = ("pixel_r", "ssim", "cnn_cosine", "cnn_mse")
    names = ("best", "mean_code", "re_evolved")
    assert set(values) == {(name, measure) for name in names for measure in measures}
    first, second = seen.look.threads
    with recording.read(path) as opened:
        for thread, drawn in zip(opened.threads, (first, second), strict=True):
            course = [thread.score[thread.generation == g].mean() for g in range(7)]
            mine = thread.generation == np.argmax(course)
            code = thread.codes[mine].mean(axis=0, dtype=np.float64)
            image = generators.load(thread.generator).render(code[None])[0]
            np.testing.assert_array_equal(drawn.mean_code, image)
            best = np.flatnonzero(mine)[np.argmax(thread.score[mine])]
            np.testing.assert_array_equal(drawn.best, opened.images[int(thread.image_id[best])])
    r = pixel_correlation(first.re_evolved, second.re_evolved).value
    assert values["re_evolved", "pixel_r"] == r
    mask = zoomed_mask(centre_mask(7, 7), 8, 8)
    pooled = [masked_features(maps.of_image(one.best), mask) for one in (first, second)]
    assert values["best", "cnn_cosine"] == pytest.approx(feature_cosine(*pooled).value)


def test_a_re_evolution_climbs_to_the_image_it_returns(maps):
    weights = np.zeros(maps.shape)
    weights[52, 2, 5] = 40.0
    for generator in (generators.load("mini-object"), pixel_generator(maps)):
        climbed = re_evolve(generator, maps, weights, seed=1, steps=4, batch=2)
        assert (np.diff(climbed.curve) >= 0).all()
        assert climbed.curve[-1] == climbed.drive > climbed.curve[0]
        measured = 40 * maps.of_image(climbed.image)[52, 2, 5]
        assert measured == pytest.approx(climbed.drive, rel=0.05)
    assert generator.image_size == 64


def test_what_cannot_be_drawn_says_why(path, maps, seen):
    with recording.read(path) as opened:
        thread = opened.threads[0]
        drawings = RecordedGenerators()
        assert drawings.of(opened, thread) is drawings.of(opened, thread)
        theirs = replace(thread, generator="os:system")
        assert "program of a lab's own" in drawings.of(opened, theirs)
        other = replace(thread, weights_sha256="f" * 64)
        assert "had other weights" in drawings.of(opened, other)
        assert "no thread 'third'" in drawings.of(opened, replace(thread, name="third"))
    bare = look(path, LookSettings(maps, re_evolution="none", shuffles=0))
    assert {one.re_evolved for one in bare.threads} == {None}
    assert "was not asked for" in bare.threads[0].no_drawing
    assert "dealt anew" in bare.threads[0].mask.p.reason
    np.testing.assert_array_equal(bare.threads[0].mask.mask, seen.look.threads[0].mask.mask)


def test_a_recording_without_its_generators_has_masks(tmp_path, maps):
    other = {**FITNESS, "units": [2]}
    truth = write(tmp_path, generations=4, fitnesses=[FITNESS, other])
    result = look(truth.path, LookSettings(maps, steps=3))
    assert result.no_pooled == "the threads' fitness is not the same"
    assert result.pooled is None
    assert "session file" in result.threads[0].no_drawing
    assert result.threads[0].mean_code is None
    assert {one.prototype for one in result.similarity} == {"best"}
    assert result.threads[0].mask.n == np.isfinite(np.concatenate([
        truth.scores[0, block] for block in range(4)
    ])).sum()  # fmt: skip


def test_a_recording_whose_pixels_are_lost_has_none(path, maps, monkeypatch):
    monkeypatch.setattr(session_masks, "_shown", lambda *_: np.zeros(0, dtype=np.intp))
    result = look(path, LookSettings(maps, steps=3))
    assert "has its pixels" in result.threads[0].reason
    assert "has its pixels" in result.cosine.reason
    assert result.threads[0].re_evolved is None
