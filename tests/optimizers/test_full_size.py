"""Every optimizer at 4096 dimensions: what a thread keeps, and what a generation takes."""

import tracemalloc

import numpy as np
import pytest

from evolver.optimizers import load, state_to_dict

PARTS = [
    {"slice": [0, 2048], "optimizer": "sep"},
    {"slice": [2048, 4096], "optimizer": "cholesky"},
]
OPTIONS = {"composite": {"parts": PARTS}, "cholesky": {"update_every": 2}}


@pytest.mark.parametrize(
    "name", ["cholesky", "sphere", "sep", "snes", "genetic", "random", "composite"]
)
def test_state_and_peak_memory(name):
    rng = np.random.default_rng(0)
    tracemalloc.start()
    try:
        optimizer = load(name, 4096, rng=rng, popsize=40, **OPTIONS.get(name, {}))
        for _ in range(8):
            codes = optimizer.ask()
            optimizer.tell(codes, codes[:, 0])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    values = state_to_dict(optimizer.state).values()
    assert sum(v.nbytes for v in values if isinstance(v, np.ndarray)) < 4_000_000
    assert peak < 16_000_000


def test_a_hessian_basis_is_kept_out_of_the_state():
    basis = np.geomspace(1, 1e-3, 40), np.eye(4096)[:, :40]
    optimizer = load("hessian", 4096, rng=np.random.default_rng(0), popsize=40, basis=basis)
    codes = optimizer.ask()
    optimizer.tell(codes, codes[:, 0])
    values = state_to_dict(optimizer.state).values()
    assert sum(v.nbytes for v in values if isinstance(v, np.ndarray)) < 100_000
