"""Networks are made without numbers, and without what says that there are none."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from evolver.errors import WeightsError
from evolver.weights.outlines import without_numbers
from evolver.weights.read import fill

GOLDEN = Path(__file__).parents[1] / "golden" / "generators"


def test_a_network_takes_the_tensors_that_it_is_filled_with(tmp_path):
    with without_numbers():
        net = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.Embedding(5, 2), nn.utils.spectral_norm(nn.Linear(2, 2))
        )
    assert all(value.is_meta for value in net.state_dict().values())
    given = {name: torch.rand(value.shape) for name, value in net.state_dict().items()}
    with pytest.raises(WeightsError):
        fill(net, {name: value[:1] for name, value in given.items()}, path=tmp_path)
    fill(net, given, path=tmp_path)
    for name, value in net.state_dict().items():
        torch.testing.assert_close(value, given[name], rtol=0, atol=0)


@pytest.mark.soak
def test_no_built_in_network_loads_a_compiler():
    """Some of torch's functions of the `meta` device import sympy and more: two seconds."""
    code = f"""
import json, sys
import msgspec
from evolver import generators
from evolver.generators import biggan
from scorers import networks
for name in ("mini-texture", "mini-object"):
    generators.load(name)
networks.load("mini")
with open({str(GOLDEN / "biggan_tiny_config.json")!r}) as file:
    biggan._made(msgspec.json.encode(json.load(file)))
sys.exit("sympy" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
