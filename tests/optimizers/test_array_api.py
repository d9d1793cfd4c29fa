"""The same `sample` and `update` on torch, alone and batched over populations."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from evolver.optimizers import CholeskyCMA
from evolver.optimizers.cholesky import CholeskyState, Strategy, sample, update
from tests.optimizers.conformance import hill

D, N = 5, 9
COUNTERS = {"generation", "popsize", "update_every"}
ARRAYS = [field.name for field in fields(CholeskyState) if field.name not in COUNTERS]


def on_torch(state):
    return replace(
        state,
        **{name: torch.tensor(getattr(state, name), dtype=torch.float64) for name in ARRAYS},
    )


def populations(given=0, seeds=3):
    return [
        CholeskyCMA(
            D,
            rng=np.random.default_rng(seed),
            popsize=N,
            update_every=2,
            initial=np.random.default_rng(seed).normal(size=(given, D)) if given else None,
        ).state
        for seed in range(seeds)
    ]


@pytest.mark.parametrize("given", [0, N])
def test_torch_equals_numpy(given):
    k, rng = Strategy.cholesky(D, N), np.random.default_rng(0)
    (ours,) = populations(given, seeds=1)
    theirs = on_torch(ours)
    for _ in range(46):  # 23 updates: through folding
        z = rng.standard_normal((N, D))
        x, y = sample(ours, z), sample(theirs, torch.tensor(z))
        np.testing.assert_allclose(y.numpy(), x, atol=1e-11)
        scores = np.round(hill(x), 1)  # some are tied
        ours, theirs = update(ours, x, scores, k), update(theirs, y, torch.tensor(scores), k)
    for name in ARRAYS:
        np.testing.assert_allclose(
            getattr(theirs, name).numpy(), getattr(ours, name), atol=1e-10, err_msg=name
        )


@pytest.mark.parametrize("given", [0, N])
def test_batched_equals_one_by_one(given):
    k, rng = Strategy.cholesky(D, N), np.random.default_rng(0)
    alone = [on_torch(state) for state in populations(given)]
    stacked = {n: torch.stack([getattr(s, n) for s in alone]) for n in ARRAYS}
    frame = alone[0]  # the counters follow the number of generations alone
    for _ in range(46):
        z = torch.tensor(rng.standard_normal((len(alone), N, D)))

        def generation(arrays, z, frame=frame):
            codes = sample(replace(frame, **arrays), z)
            return codes, torch.round(-((codes - 1) ** 2).sum(1), decimals=1)

        codes, scores = torch.vmap(generation)(stacked, z)
        alone = [update(s, *told, k) for s, *told in zip(alone, codes, scores, strict=True)]

        def step(arrays, codes, scores, frame=frame):
            after = update(replace(frame, **arrays), codes, scores, k)
            return {name: getattr(after, name) for name in ARRAYS}

        stacked = torch.vmap(step)(stacked, codes, scores)
        frame = alone[0]
        for i, state in enumerate(alone):
            for name in ARRAYS:
                np.testing.assert_allclose(
                    stacked[name][i].numpy(), getattr(state, name).numpy(), atol=1e-10
                )
