"""The names others rely on, and loading by name."""

import subprocess
import sys
from inspect import Parameter, signature
from pathlib import Path

import numpy as np
import pytest

import evolver.optimizers as room
from evolver import config
from evolver.config import presets
from evolver.errors import ConfigError
from tests.soak import further

GUIDE = Path(__file__).parents[2] / "docs" / "guide-optimizers.md"


def test_signature():
    parameters = signature(room.CholeskyCMA).parameters
    assert {n: p.default for n, p in parameters.items()} == {
        "d": Parameter.empty,
        "rng": Parameter.empty,
        "popsize": None,
        "sigma": 3.0,
        "initial": None,
        "update_every": 10,
    }
    assert all(p.kind is p.KEYWORD_ONLY for n, p in parameters.items() if n != "d")


NEEDED = {
    "hessian": {"basis": (np.arange(12.0), np.eye(12))},
    "composite": {"parts": [{"slice": [0, 12], "optimizer": "sep"}]},
}


@pytest.mark.parametrize(
    "name", [further(name) if name == "evosax" else name for name in sorted(room.BUILTIN)]
)  # evosax is loaded in test_libraries.py
def test_every_builtin_loads(name):
    options = NEEDED.get(name, {})
    optimizer = room.load(name, 12, rng=np.random.default_rng(0), popsize=8, **options)
    assert optimizer.ask().shape == (8, 12)


def test_every_builtin_is_in_the_session_file_and_in_the_guide():
    session_file = config.commented_session_file(presets.new_session())
    guide = GUIDE.read_text(encoding="utf-8")
    for name in room.BUILTIN:
        assert f"'{name}'" in session_file
        assert f"\n| `{name}` |" in guide


def test_options_reach_the_optimizer():
    start = np.ones(4)
    a = room.load(
        "cholesky", 4, rng=np.random.default_rng(0), initial=start, sigma=0.5, update_every=None
    )
    b = room.CholeskyCMA(
        4, rng=np.random.default_rng(0), initial=start, sigma=0.5, update_every=None
    )
    assert a.state.update_every == 0
    np.testing.assert_array_equal(a.ask(), b.ask())


def test_unknown_names_list_what_there_is():
    with pytest.raises(ConfigError, match=r"one of .*cholesky.*; found 'choleski'"):
        room.load("choleski", 4, rng=np.random.default_rng(0))
    with pytest.raises(
        ConfigError, match="options sigma, update_every; got sigm; did you mean 'sigma'"
    ):
        room.load("cholesky", 4, rng=np.random.default_rng(0), sigm=2)


def test_loads_no_torch():
    code = "import sys, evolver.optimizers; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
