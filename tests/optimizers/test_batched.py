"""Batches: each population is what it would be alone, on the same functions."""

import numpy as np
import pytest
import torch

from evolver.errors import ConfigError, DataError, OrderError
from evolver.optimizers import batched, load
from tests.optimizers.conformance import hill
from tests.skips import NO_GPU
from tests.soak import further

D, B = 9, 3
VECTORS = np.linalg.qr(np.random.default_rng(0).normal(size=(D, D)))[0]
KINDS = {
    "cholesky": {"update_every": 2},
    "sphere": {"generations": 20},
    "sep": {},
    "snes": {},
    "hessian": {"basis": (np.geomspace(0.1, 10, D), VECTORS), "cutoff": 6, "update_every": 3},
    "genetic": {"popsize": 12},
    "random": {"sigma": 1.0},
}


def streams():
    return [np.random.default_rng(seed) for seed in range(B)]


def scores_of(codes):
    return np.round(hill(codes), 1)  # some are tied


@pytest.mark.parametrize("given", [None, further("point"), "points", "populations"])
@pytest.mark.parametrize("name", KINDS)
def test_equals_as_many_single_runs(name, given):
    setting = np.random.default_rng(5)
    initial = {
        None: None,
        "point": setting.normal(size=D),
        "points": setting.normal(size=(B, D)),
        "populations": setting.normal(size=(B, 7, D)),
    }[given]
    starts = (
        [None] * B if initial is None else np.broadcast_to(initial, (B, *initial.shape[-2:]))
    )
    if given in {"points", "populations"}:
        starts = initial
    elif given == "point":
        starts = [initial] * B
    options = KINDS[name]
    alone = [
        load(name, D, rng=rng, initial=start, **options)
        for rng, start in zip(streams(), starts, strict=True)
    ]
    together = batched(name, D, rngs=streams(), initial=initial, **options)
    for generation in range(8):
        codes = together.ask()
        scores = []
        for i, one in enumerate(alone):
            asked = one.ask()
            shows_base = len(asked) > codes.shape[1]
            samples = asked[1:] if shows_base else asked
            np.testing.assert_allclose(
                codes[i].numpy(),
                samples,
                rtol=1e-10,
                atol=1e-10 * abs(samples).max(),
                err_msg=f"{name}, generation {generation}, population {i}",
            )
            scores.append(scores_of(samples))
            one.tell(samples, scores[-1])
        together.tell(torch.tensor(np.array(scores)))


@pytest.mark.parametrize(
    ("dtype", "exact"),
    [
        ("float32", False),
        ("float64", True),
        further("float32", True),
        further("float64", False),
    ],
)
@pytest.mark.parametrize("name", KINDS)
def test_same_seeds_same_codes_and_it_climbs(name, dtype, exact):
    runs = []
    for _ in range(2):
        together = batched(name, D, rngs=streams(), dtype=dtype, exact=exact, **KINDS[name])
        best = []
        for _ in range(12):
            codes = together.ask()
            assert codes.dtype == getattr(torch, dtype)
            scores = -((codes - 1) ** 2).sum(-1)
            best.append(scores.max(-1).values)
            together.tell(scores)
        runs.append((codes, torch.stack(best)))
    assert torch.equal(runs[0][0], runs[1][0])
    assert not torch.equal(codes[0], codes[1])
    if name not in {"random", "sphere"}:  # one does not climb, the other keeps its norm
        assert (best[-1] > best[0]).all()


def test_a_sphere_of_float32_keeps_its_norm():
    together = batched("sphere", 64, rngs=streams(), dtype="float32", exact=False, radius=30)
    for _ in range(80):
        codes = together.ask()
        np.testing.assert_allclose(codes.norm(dim=-1).numpy(), 30, rtol=1e-5)
        together.tell(codes.sum(-1))
    assert (together.state.base.sum(-1) / 8 / 30 > 0.9).all()


def test_what_the_caller_does_to_its_codes_is_its_own_affair():
    a, b = (batched("sep", D, rngs=streams()) for _ in range(2))
    for together in (a, b):
        codes = together.ask()
        scores = -((codes - 1) ** 2).sum(-1)
        if together is a:
            codes[:] = 0
        together.tell(scores)
    assert torch.equal(a.ask(), b.ask())


def test_state_has_the_populations_in_front():
    together = batched("cholesky", D, rngs=streams())
    together.tell(together.ask().sum(-1))
    assert together.state.mean.shape == (B, D)
    assert together.state.generation == 1
    assert together.populations == B


def test_turns_and_shapes():
    together = batched("cholesky", D, rngs=streams())
    with pytest.raises(OrderError, match="ask"):
        together.tell(np.zeros((B, 2)))
    codes = together.ask()
    with pytest.raises(OrderError, match="tell"):
        together.ask()
    n = codes.shape[1]
    with pytest.raises(DataError, match=rf"scores must have shape \({B}, {n}\).*got \({n},\)"):
        together.tell(np.zeros(n))
    with pytest.raises(DataError, match="scores must be finite"):
        together.tell(np.full((B, n), np.nan))
    together.tell(np.zeros((B, n)))
    assert torch.isfinite(together.ask()).all()


def test_what_cannot_be_batched_is_named():
    parts = [{"slice": [0, D], "optimizer": "sep"}]
    with pytest.raises(ConfigError, match="no pure function"):
        batched("composite", D, rngs=streams(), parts=parts)
    with pytest.raises(ConfigError, match="rngs must have"):
        batched("sep", D, rngs=[])
    with pytest.raises(ConfigError, match="dtype must be one of"):
        batched("sep", D, rngs=streams(), dtype="float16")
    with pytest.raises(DataError, match="initial must have shape"):
        batched("sep", D, rngs=streams(), initial=np.zeros((B + 1, D)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason=NO_GPU)
@pytest.mark.parametrize("name", KINDS)
def test_on_a_gpu(name):
    results = []
    for device in ("cpu", "cuda"):
        together = batched(name, D, rngs=streams(), device=device, **KINDS[name])
        for _ in range(20):
            codes = together.ask()
            together.tell(-((codes - 1) ** 2).sum(-1))
        results.append(codes.cpu().numpy())
    np.testing.assert_allclose(*results, rtol=1e-6, atol=1e-6)
