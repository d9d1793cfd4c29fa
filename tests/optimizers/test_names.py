"""The names others rely on, and loading by name."""

import subprocess
import sys
from inspect import Parameter, signature

import numpy as np
import pytest

import evolver.optimizers as room
from evolver.errors import ConfigError


def test_public_names():
    assert sorted(room.__all__) == [
        "BUILTIN",
        "CholeskyCMA",
        "Composite",
        "Genetic",
        "HessianCMA",
        "RandomSearch",
        "RankSphere",
        "SepCMA",
        "SphereCMA",
        "batched",
        "default_popsize",
        "find",
        "load",
        "state_from_dict",
        "state_to_dict",
    ]


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


LIBRARIES = {"pycma": "cma", "cmaes": "cmaes", "nevergrad": "nevergrad", "evosax": "evosax"}
NEEDED = {
    "hessian": {"basis": (np.arange(12.0), np.eye(12))},
    "composite": {"parts": [{"slice": [0, 12], "optimizer": "sep"}]},
}


@pytest.mark.parametrize("name", sorted(room.BUILTIN))
def test_every_builtin_loads(name):
    if name in LIBRARIES:
        pytest.importorskip(LIBRARIES[name])
    options = NEEDED.get(name, {})
    optimizer = room.load(name, 12, rng=np.random.default_rng(0), popsize=8, **options)
    assert optimizer.ask().shape == (8, 12)


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
    with pytest.raises(ConfigError, match="options sigma, update_every; got sigm"):
        room.load("cholesky", 4, rng=np.random.default_rng(0), sigm=2)


def test_loads_no_torch():
    code = "import sys, evolver.optimizers; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
