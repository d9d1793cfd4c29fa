"""RandomSearch: the same distribution whatever is scored, and the best code kept."""

import numpy as np
import pytest

from evolver.errors import ConfigError
from evolver.optimizers import RandomSearch
from tests.optimizers.conformance import OptimizerConformance, hill


class TestRandomSearch(OptimizerConformance):
    learns = False

    def make(self, rng, **options):
        return RandomSearch(self.d, rng=rng, **options)


def test_draws_from_one_distribution():
    given = np.random.default_rng(1).normal(size=(5, 7)) + 4
    optimizer = RandomSearch(
        7, rng=np.random.default_rng(0), initial=given, popsize=9, sigma=0.5
    )
    rng = np.random.default_rng(0)
    for generation in range(5):
        expected = given.mean(axis=0) + 0.5 * rng.standard_normal((9, 7))
        codes = optimizer.ask()
        np.testing.assert_allclose(codes, expected if generation else given, rtol=1e-14)
        optimizer.tell(codes, hill(codes))


def test_keeps_the_best():
    optimizer = TestRandomSearch().fresh()
    codes = np.concatenate(TestRandomSearch().run(optimizer, 6))
    best = np.argmax(hill(codes))
    np.testing.assert_array_equal(optimizer.state.best, codes[best])
    assert optimizer.state.best_score == hill(codes)[best]


@pytest.mark.parametrize("options", [{"d": 0}, {"popsize": 1}, {"sigma": -1}])
def test_settings_out_of_range_are_named(options):
    with pytest.raises(ConfigError, match=f"{next(iter(options))} must be"):
        RandomSearch(**({"d": 3, "rng": np.random.default_rng(0)} | options))
