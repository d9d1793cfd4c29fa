"""A lab's own generator and classifier, as the guide has them: a three from one file."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from evolver import recording

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def run(folder, *command):
    places = [str(EXAMPLES.parents[1]), ".", os.environ.get("PYTHONPATH", "")]
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder, check=True, capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(places),
             "XDG_CACHE_HOME": str(folder / "cache")},
    ).stdout  # fmt: skip


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A lab's folder with both networks trained."""
    folder = tmp_path_factory.mktemp("lab")
    for name in ("digits.py", "digits.toml"):
        shutil.copy(EXAMPLES / name, folder)
    assert "told apart" in run(folder, "digits.py")
    return folder


def test_a_three_evolves_from_one_session_file(lab):
    listed = run(lab, "-m", "evolver", "units", "classifier", "--session", "digits.toml")
    assert "input 28 x 28 grey" in listed
    assert "classifier:digits:0" in listed
    run(lab, "-m", "evolver", "simulate", "digits.toml", "--no-report")
    (file,) = lab.glob("recordings/*/session.h5")
    with recording.read(file) as opened:
        thread = opened.threads[0]
        scores = [np.nanmean(thread.score[thread.generation == g]) for g in range(40)]
        roles = {w["role"]: w["name"] for w in opened.weights}
    assert np.mean(scores[-5:]) > np.mean(scores[:5]) + 15  # spikes/s
    assert roles == {"generator:digit": "digits:Decoder", "scorer": "classifier:digits:3"}
    last = thread.codes[thread.generation == 39].mean(axis=0)
    said = run(lab, "-c", CLASSIFY, *map(str, last))
    assert said.split()[0] == "3"


CLASSIFY = """
import sys
import torch
from safetensors.torch import load_file
from digits import Classifier, Decoder
decoder, net = Decoder(), Classifier()
decoder.load_state_dict(load_file("decoder.safetensors"))
net.load_state_dict(load_file("classifier.safetensors"))
code = torch.tensor([[float(text) for text in sys.argv[1:]]])
print(int(net(decoder(code)).argmax()))
"""
