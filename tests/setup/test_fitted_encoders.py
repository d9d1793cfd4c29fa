"""Encoders that are fitted, written, and evolved: in a session, a campaign, and by a slope."""

import hashlib

import msgspec
import numpy as np
import pytest

import scorers
from evolver import config, generators
from evolver.campaign.plan import read_campaign
from evolver.campaign.store import Store
from evolver.campaign.task import WeightDigests, run_task
from evolver.campaign.wave import Together, Waves
from evolver.errors import DataError
from evolver.live.run import run_simulated
from evolver.recording import read
from evolver.setup.fitted_encoders import AnsweredImages, fit_encoder
from evolver.setup.objective import build_objective
from scorers import networks, quantiles
from scorers.encoder_file import write_encoder
from scorers.feature_pyramid import FeaturePyramid
from tests.campaign.files import SESSION, write
from tests.live.sessions import small

LAYERS = ("gabor", "energy", "colour")
UNITS = ("known:energy:4", "known:colour:2", "known:energy:9", "known:colour:5")
BEST = [1, 2, 1, 2]


@pytest.fixture(scope="module")
def fitted():
    """Units that are one number of a layer each, and one that never answers."""
    rng = np.random.default_rng(3)
    generator = generators.load("mini-texture")
    images = generator.render(generator.initial_codes(240, rng=rng))
    answers = scorers.load(list(UNITS)).score(images)
    answers = np.column_stack([answers / answers.std(axis=0), np.ones(240)])
    answers[:, :4] += 0.2 * rng.standard_normal((240, 4))
    whole, told = AnsweredImages(images, answers), []
    fit = fit_encoder(
        FeaturePyramid(networks.load("known"), LAYERS),
        whole.rows(np.arange(200)),
        whole.rows(np.arange(200, 240)),
        labels=["a", "b", "c", "d", "silent"],
        areas=["IT", "V4", "IT", "V4", "IT"],
        rng=rng,
        progress=told.append,
    )
    assert told[1:] == [f"fitting known:{layer}" for layer in LAYERS]
    return fit, images, answers


@pytest.fixture(scope="module")
def file(fitted, tmp_path_factory):
    path = tmp_path_factory.mktemp("encoders") / "it.safetensors"
    write_encoder(path, fitted[0].encoder)
    return path


@pytest.fixture
def quickly(monkeypatch, tmp_path):
    """What scales responses to spikes is measured of few images, and kept here."""
    monkeypatch.setattr(quantiles, "IMAGES", 16)
    monkeypatch.setattr(quantiles, "user_cache_path", lambda name: tmp_path / name)


def test_each_unit_is_found_in_its_layer_and_predicted(fitted, file):
    fit, images, _ = fitted
    assert fit.assignment.best.tolist() == [*BEST, -1]
    assert (fit.assignment.r[:4] > 0.8).all()
    assert [share.k for share in fit.assignment.shares["IT"]] == [0, 2, 0]
    assert fit.penalties.keys() == set(LAYERS)
    assert all(of.keys() == {"IT", "V4"} for of in fit.penalties.values())
    guesses = scorers.load(f"encoder:{file}:all").score(images[200:])
    truth = scorers.load(list(UNITS)).score(images[200:])
    for unit in range(4):
        r = np.corrcoef(guesses[:, unit], truth[:, unit])[0, 1]
        assert r > fit.assignment.r[unit] - 0.02  # of truth without noise: better, if anything
    np.testing.assert_allclose(guesses[:, 4], 1)


def test_a_file_predicts_what_its_scores_are_of(fitted, file):
    """Through the network, in float32, an image at a time: the fit's own correlations."""
    fit, images, answers = fitted
    guesses = scorers.load(f"encoder:{file}:0-3").score(images[200:])
    for unit, layer in enumerate(BEST):
        r = np.corrcoef(guesses[:, unit], answers[200:, unit])[0, 1]
        assert fit.scores[LAYERS[layer]].r[unit] == pytest.approx(r, abs=1e-4)
        assert fit.encoder.r[unit] == pytest.approx(r, abs=1e-4)


def test_responses_of_other_units_are_refused():
    images = np.zeros((12, 8, 8, 3), dtype=np.uint8)
    with pytest.raises(DataError, match="row of responses"):
        AnsweredImages(images, np.zeros((11, 2)))
    some = AnsweredImages(images, np.zeros((12, 2)))
    with pytest.raises(DataError, match="same units; got 2, 2, 1 and 1"):
        fit_encoder(
            FeaturePyramid(networks.load("known"), ["colour"]),
            some,
            some,
            labels=["a"],
            areas=["IT"],
            rng=np.random.default_rng(0),
        )


@pytest.mark.usefixtures("quickly")
def test_a_session_evolves_through_an_encoder(tmp_path, file):
    address = f"encoder:{file}"
    settings = small(
        tmp_path,
        session={"generations": 2},
        simulation={"units": (f"{address}:0-1",), "record": (f"{address}:3",)},
        fitness={"units": (f"{address}:1",)},
    )
    thread = config.ThreadTable("texture", "mini-texture", popsize=4)
    settings = msgspec.structs.replace(settings, threads=(thread,))
    ended = run_simulated(settings, config.commented_session_file(settings))
    recording = read(ended.recording)
    assert recording.units["label"].astype(str).tolist() == [f"{address}:0", f"{address}:1"]
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    kept = [(w["role"], w["sha256"]) for w in recording.weights]
    assert ("scorer", digest) in kept
    assert ("activations", digest) in kept


def test_a_slope_through_an_encoder_climbs(tmp_path, file):
    settings = small(tmp_path, simulation={"units": (f"encoder:{file}:0",)})
    generator = generators.load("mini-texture")
    objective = build_objective(settings, 0, generator)
    codes = objective.start(1, rng=np.random.default_rng(0))
    values, slopes = objective.climb(codes)
    higher, _ = objective.climb(codes + 0.1 * slopes / np.linalg.norm(slopes))
    assert higher[0] > values[0]


@pytest.mark.usefixtures("quickly")
@pytest.mark.soak  # as other units in tests/campaign
def test_tasks_together_are_each_by_itself_bit_for_bit(tmp_path, file):
    """Two tasks with a unit of one encoder each: one scorer has both."""
    campaign = f"""
[campaign]
name = "encoded"
session = "session.toml"
[[vary]]
key = "simulation.units"
values = [["encoder:{file}:0"], ["encoder:{file}:1", "encoder:{file}:3"]]
labels = ["one", "two"]
"""
    path = write(tmp_path, campaign, SESSION)
    plan = read_campaign(path, weights=WeightDigests())
    store = Store(tmp_path / "out", make=True)
    tasks = [(task.digest, plan.config(task)) for task in plan.tasks]
    ends = Waves(Together("session", images=9)).run(tasks, store)
    assert ends == {task.digest: "" for task in plan.tasks}
    for task in plan.tasks:
        alone, together = run_task(plan.config(task), task.digest), store.result(task.digest)
        for name, values in together.arrays.items():
            np.testing.assert_array_equal(values, alone.arrays[name], err_msg=name)
        assert msgspec.structs.replace(alone.meta, seconds=0) == msgspec.structs.replace(
            together.meta, seconds=0
        )
