"""Policies of showing codes again: which, how often, and what the optimizer is told."""

import numpy as np
import pytest

from benchmarks.optimizers.spending import First, Growing, Leaders, Once, Racing, Spending
from evolver.errors import ConfigError
from evolver.optimizers.by_name import find_optimizer


def rows(policy, *scores):
    return sorted(policy.again(scores))


def test_leaders_are_shown_again_once():
    first = [(1.0,), (4.0,), (2.0,), (3.0,)]
    assert rows(Leaders(share=0.5, times=2), *first) == [1, 1, 3, 3]
    assert rows(Leaders(share=0.5), (1.0,), (4.0, 0.0), (2.0,), (3.0, 1.0)) == []
    assert rows(Leaders(share=0.01), *first) == [1]
    assert rows(Once(), *first) == []


def test_a_race_halves_by_means_until_its_rounds_are_over():
    policy = Racing(rounds=2)
    assert rows(policy, (1.0,), (4.0,), (2.0,), (3.0,)) == [1, 3]
    assert rows(policy, (1.0,), (4.0, 0.0), (2.0,), (3.0, 3.0)) == [3]
    assert rows(policy, (1.0,), (4.0, 0.0), (2.0,), (3.0, 3.0, 3.0)) == []


def test_the_base_is_shown_twice():
    assert rows(First(), (1.0,), (2.0,)) == [0]
    assert rows(First(), (1.0, 1.5), (2.0,)) == []


@pytest.mark.parametrize(("noise", "expected"), [(0.0, 1), (1.0, 1), (2.0, 3), (20.0, 4)])
def test_repeats_follow_what_pairs_of_showings_share(noise, expected):
    """Scores of variance 1 and noise of variance v: rho = 1 / (1 + v), r = 2 v / 3 of 0.4."""
    policy, rng = Growing(pairs=400), np.random.default_rng(0)
    for _ in range(3):
        clean = rng.standard_normal(400)
        shown = [[] for _ in clean]
        due = range(400)
        while due:
            for row in due:
                shown[row].append(clean[row] + noise * rng.standard_normal())
            due = policy.again(shown)
        assert {len(scores) for scores in shown} <= {2, 3, 4}
    assert policy.repeats == expected


def test_the_optimizer_is_told_means_and_every_showing_is_paid_for():
    spending = Spending(
        8, rng=np.random.default_rng(0), popsize=4, optimizer="cholesky", sigma=2.0,
        policy="leaders", share=0.5,
    )  # fmt: skip
    inner = find_optimizer("cholesky")(8, rng=np.random.default_rng(0), popsize=4, sigma=2.0)
    for _ in range(3):
        codes, expected = spending.ask(), inner.ask()
        np.testing.assert_array_equal(codes, expected)
        first = np.array([0.0, 3.0, 1.0, 2.0])
        spending.tell(codes, first)
        again = spending.ask()
        np.testing.assert_array_equal(again, codes[[1, 3]])
        spending.tell(again, np.array([-1.0, 4.0]))
        inner.tell(codes, np.array([0.0, 1.0, 1.0, 3.0]))


def test_what_there_is_not_is_refused():
    with pytest.raises(ConfigError, match="policy must be one of once, leaders"):
        Spending(8, rng=np.random.default_rng(0), popsize=4, policy="twice")
    with pytest.raises(ConfigError, match="optimizer must be one of"):
        Spending(8, rng=np.random.default_rng(0), popsize=4, optimizer="nobody")
