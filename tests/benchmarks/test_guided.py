"""The wrong model of the guided arm's trial knows all and says nothing."""

import numpy as np

from benchmarks.optimizers.guided import ShuffledScores
from evolver.optimizers.score_model import GaussianScores


def test_a_model_of_shuffled_scores_says_nothing_of_them():
    codes = np.random.default_rng(0).standard_normal((200, 3))
    scores = codes[:, 0]
    ups = {
        kind: [kind.fit(codes, scores).uphill(base, 0.5) - base for base in codes[:40]]
        for kind in (GaussianScores, ShuffledScores)
    }
    right, wrong = (np.mean(ups[kind], axis=0)[0] for kind in (GaussianScores, ShuffledScores))
    assert right > 0.4
    assert abs(wrong) < right / 1.5
