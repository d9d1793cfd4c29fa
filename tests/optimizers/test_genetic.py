"""Genetic: XDream's algorithm in a loop over children, its parts, and its borders."""

from inspect import signature

import numpy as np
import pytest

from evolver.errors import ConfigError, DataError
from evolver.optimizers import Genetic, state_from_dict, state_to_dict
from tests.optimizers.conformance import OptimizerConformance, hill


class TestGenetic(OptimizerConformance):
    test_only_ranks_matter = None  # the spacing of scores reaches it

    def make(self, rng, **options):
        return Genetic(self.d, rng=rng, popsize=12, **options)


@pytest.mark.soak  # as cholesky, of given codes
class TestGeneticFromGivenCodes(OptimizerConformance):
    test_only_ranks_matter = None  # the spacing of scores reaches it

    def make(self, rng, **options):
        given = np.random.default_rng(99).normal(size=(11, self.d))
        return Genetic(self.d, rng=rng, initial=given, popsize=11, **options)

    def test_another_seed_other_codes(self):
        a, b = self.fresh(7), self.fresh(8)
        assert not np.array_equal(self.run(a, 2)[1], self.run(b, 2)[1])


def test_settings_of_the_field():
    parameters = signature(Genetic).parameters
    assert {n: p.default for n, p in parameters.items() if n not in {"d", "rng"}} == {
        "popsize": None,
        "sigma": 1.0,
        "initial": None,
        "mutation_rate": 0.25,
        "mutation_size": 0.75,
        "kt_multiplier": 2.0,
        "conserved": None,
        "skew": 0.75,
    }
    optimizer = Genetic(4096, rng=np.random.default_rng(0))
    assert (optimizer.popsize, optimizer.state.conserved) == (40, 10)
    assert Genetic(4, rng=np.random.default_rng(0), popsize=8).state.conserved == 2


def by_hand(d, n, conserved, rng, score, first=None):
    """Yield the populations, child by child and number by number."""
    old = None
    while True:
        z = rng.standard_normal((n, d))
        pairs, mix, mutate = rng.random((2, n)), rng.random((n, d)), rng.random((n, d))
        if old is None:
            new = z if first is None else first
        else:
            order = np.argsort(-scores, kind="stable")  # noqa: F821  of the round before
            old, scores = old[order], scores[order]  # noqa: F821
            kt = max(2.0 * np.std(scores), 1e-8)
            fitness = np.exp((scores - scores[0]) / kt)
            bins = np.cumsum(fitness) / fitness.sum()
            new = [*old[:conserved]]
            for i in range(len(new), n):
                one, two = old[np.digitize(pairs[:, i], bins)]
                child = [a if u < 0.75 else b for a, b, u in zip(one, two, mix[i], strict=True)]
                for j in range(d):
                    if mutate[i, j] < 0.25:
                        child[j] += 0.75 * z[i, j]
                new.append(np.array(child))
            new = np.array(new)
        yield new
        old, scores = new, score(new)


@pytest.mark.parametrize("first", [None, 7])
@pytest.mark.parametrize(("d", "n", "conserved"), [(1, 4, 1), (20, 40, 10), (30, 11, 0)])
def test_equals_the_algorithm_by_hand(d, n, conserved, first):
    codes = None if first is None else np.random.default_rng(5).normal(size=(first, d))
    optimizer = Genetic(
        d, rng=np.random.default_rng(0), popsize=n, conserved=conserved, initial=codes
    )
    oracle = by_hand(d, n, conserved, np.random.default_rng(0), hill, codes)
    for generation in range(30):
        expected, got = next(oracle), optimizer.ask()
        np.testing.assert_allclose(got, expected, rtol=1e-13, err_msg=f"{generation}")
        optimizer.tell(got, hill(got))


def test_the_best_live_on_as_they_are():
    optimizer = Genetic(6, rng=np.random.default_rng(0), popsize=12, conserved=4)
    codes = optimizer.ask()
    optimizer.tell(codes, hill(codes))
    best = codes[np.argsort(-hill(codes))[:4]]
    np.testing.assert_array_equal(optimizer.ask()[:4], best)


def test_of_equal_scores_the_older_lives_on():
    optimizer = Genetic(6, rng=np.random.default_rng(0), popsize=12, conserved=4)
    codes = optimizer.ask()
    optimizer.tell(codes[::-1], np.zeros(12))
    np.testing.assert_array_equal(optimizer.ask()[:4], codes[:4])


def test_a_silent_generation_has_no_favourites():
    optimizer = Genetic(6, rng=np.random.default_rng(0), popsize=12)
    codes = optimizer.ask()
    optimizer.tell(codes, np.full(12, 3.7))
    np.testing.assert_array_equal(optimizer.state.fitness, np.ones(12))


def test_fewer_codes_told_than_are_conserved():
    optimizer = Genetic(6, rng=np.random.default_rng(0), popsize=12, conserved=10)
    codes = optimizer.ask()
    optimizer.tell(codes[:3], [1, 3, 2])
    nxt = optimizer.ask()
    np.testing.assert_array_equal(nxt[:3], codes[[1, 2, 0]])
    assert nxt.shape == (12, 6)


def test_climbs():
    optimizer = Genetic(20, rng=np.random.default_rng(0))
    best = [hill(codes).max() for codes in TestGenetic().run(optimizer, 200)]
    assert best[-1] > 0.2 * best[0]  # both are negative
    assert (np.diff(best) >= 0).all()  # the best is conserved, and this hill has no noise


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"popsize": 1}, "popsize must be a whole number >= 2"),
        ({"conserved": 40}, "conserved must be below popsize, 40; got 40"),
        ({"conserved": -1}, "conserved must be a whole number >= 0"),
        ({"mutation_rate": 1.1}, "mutation_rate must be a number between 0 and 1"),
        ({"mutation_size": -1}, "mutation_size must be a number"),
        ({"kt_multiplier": 0}, "kt_multiplier must be a number"),
        ({"skew": 2}, "skew must be a number between 0 and 1"),
        ({"sigma": 0}, "sigma must be a number > 0"),
    ],
)
def test_settings_out_of_range_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        Genetic(3, rng=np.random.default_rng(0), **options)


@pytest.mark.parametrize(
    ("field", "value"),
    [("fitness", np.ones(3)), ("skew", 2.0), ("conserved", 12), ("parents", np.ones(6))],
)
def test_a_state_that_does_not_fit_is_refused(field, value):
    optimizer = TestGenetic().fresh()
    TestGenetic().run(optimizer, 2)
    values = state_to_dict(optimizer.state) | {field: value}
    with pytest.raises(DataError, match="of the state"):
        Genetic.from_state(
            state_from_dict(Genetic.state_type, values), rng=np.random.default_rng(0)
        )
