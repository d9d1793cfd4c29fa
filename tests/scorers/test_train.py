"""The script that makes the weights: end to end in seconds, and what it writes loads."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import evolver.generators
import scorers
from scorers.mini import reference_images
from scorers.mini.train import data


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("made")
    run = subprocess.run(
        [sys.executable, "-W", "error", "-m", "scorers.mini.train",
         "--quick", "--threads", "1", "--seed", "3", "--out", str(out)],
        check=False, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return out


@pytest.mark.soak
def test_every_file_is_there_and_loads(made):
    scorer = scorers.load("mini:fc6:0-255", weights=made / "cnn.safetensors")
    for name, file in (("mini-texture", "texture"), ("mini-object", "object")):
        generator = evolver.generators.load(name, weights=made / f"{file}.safetensors")
        codes = np.random.default_rng(0).standard_normal((3, generator.d))
        assert np.isfinite(scorer.score(generator.render(codes))).all()
    assert scorer.score(reference_images(2, seed=1)).shape == (2, 256)


@pytest.mark.soak
def test_the_figures_are_written_with_what_made_them(made):
    figures = json.loads((made / "figures.json").read_text())
    assert set(figures) == {"cnn", "texture", "object"}
    assert 0 <= figures["cnn"]["held_out_accuracy"] <= 1
    for stage in ("texture", "object"):
        assert figures[stage]["pixel_rmse"] > 0
        assert figures[stage]["seed"] == 3
    assert len(list(made.glob("mini-*.png"))) == 7


@pytest.mark.soak
def test_scenes_for_training_do_not_depend_on_the_number_of_processes():
    one = data.make(1010, seed=1, name="x", processes=1)
    two = data.make(1010, seed=1, name="x", processes=2)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
