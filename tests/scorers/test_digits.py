"""What the guide does with files of docs/examples: a lab's own networks, and ten addresses."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import scorers
from evolver import config, recording
from tests.children import evolver
from tests.docs.test_guides import blocks

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def run(folder, *words):
    """Run `evolver WORDS`, or `python WORDS` where the first is `python`, in a lab's folder."""
    return evolver(
        *words,
        cwd=folder,
        environment={**os.environ, "PYTHONPATH": ".", "XDG_CACHE_HOME": str(folder / "cache")},
    )


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A lab's folder with both networks trained."""
    folder = tmp_path_factory.mktemp("lab")
    for name in ("digits.py", "digits.toml", "ten-units.toml"):
        shutil.copy(EXAMPLES / name, folder)
    assert "told apart" in run(folder, "python", "digits.py")
    return folder


def test_a_labs_networks_are_trained_and_listed(lab):
    listed = run(lab, "units", "classifier", "--session", "digits.toml")
    assert "input 28 x 28 grey" in listed
    assert "classifier:digits:0" in listed


@pytest.mark.soak
def test_a_three_evolves_from_one_session_file(lab):
    run(lab, "simulate", "digits.toml", "--no-report")
    (file,) = lab.glob("recordings/*/session.h5")
    with recording.read(file) as opened:
        thread = opened.threads[0]
        scores = [np.nanmean(thread.score[thread.generation == g]) for g in range(40)]
        roles = {w["role"]: w["name"] for w in opened.weights}
    assert np.mean(scores[-5:]) > np.mean(scores[:5]) + 15  # spikes/s
    assert roles == {"generator:digit": "digits:Decoder", "scorer": "classifier:digits:3"}
    last = thread.codes[thread.generation == 39].mean(axis=0)
    said = run(lab, "python", "-c", CLASSIFY, *map(str, last))
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


@pytest.mark.soak
def test_ten_addresses_over_four_networks_run_from_the_guide(lab):
    """Its own blocks, but for the training that the lab has behind it, and the report."""
    pytest.importorskip("transformers")
    page = EXAMPLES.parent / "guide-simulation.md"
    found = [b for b in blocks(page) if "tiny-vit" in b.text]
    script, commands = (block.text for block in found)
    run(lab, "python", "-c", script)
    lines = [line for line in commands.splitlines() if line.startswith("evolver ")]
    for line in lines[:-1]:
        words = line.split()[1:]
        said = run(lab, *words)
        assert f"an address: {words[1]}:" in said
    assert [line.split()[1] for line in lines] == ["units"] * 4 + ["simulate"]
    run(lab, *lines[-1].split()[1:], "--no-report")

    settings, _ = config.load_session_file(lab / "ten-units.toml")
    table = settings.simulation
    assert len({scorers.parse_units(text).network for text in table.units}) == 4
    (file,) = lab.glob("recordings/*ten-units*/session.h5")
    with recording.read(file) as opened:
        labels = [unit["label"] for unit in opened.units]
        assert opened.complete
        assert {w["name"] for w in opened.weights if w["role"] == "scorer"} == set(table.units)
    # In the order of the addresses, one a unit.
    counts = [1, 8, 6, 1, 16, 1, 25, 10, 1, 1]
    networks = [text.rpartition(":vit.")[0] or text.split(":")[0] for text in table.units]
    expected = [name for name, n in zip(networks, counts, strict=True) for _ in range(n)]
    assert len(labels) == len(set(labels)) == len(expected)
    for label, network in zip(labels, expected, strict=True):
        assert label.startswith(f"{network}:")
