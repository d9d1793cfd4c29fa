"""How alike two scores rank images, against scipy's own and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evolver.analysis.score_agreement import angle_between, rank_agreement
from evolver.errors import DataError


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=40))
def test_correlations_are_scipys_also_with_ties(pairs):
    a, b = np.array(pairs, dtype=float).T
    agreement = rank_agreement(a, b)
    assert agreement.n == len(a)
    if len(set(a)) == 1 or len(set(b)) == 1:
        assert agreement.spearman.reason == "every image has the same score"
        return
    assert agreement.spearman.value == pytest.approx(stats.spearmanr(a, b).statistic)
    assert agreement.kendall.value == pytest.approx(stats.kendalltau(a, b).statistic)


def test_an_image_without_a_score_is_in_no_rank():
    nan = float("nan")
    agreement = rank_agreement([4, nan, 3, 2, 1, 9], [1, 5, 3, 2, 4, nan])
    assert agreement.n == 4
    np.testing.assert_equal(agreement.before, [1, nan, 2, 3, 4, nan])
    np.testing.assert_equal(agreement.after, [4, nan, 2, 3, 1, nan])
    assert agreement.parents == 2
    assert agreement.parents_differing == 1  # rows 0 and 2, and then 4 and 2
    assert agreement.movers.tolist() == [0, 4]


def test_too_few_images_have_no_correlation_and_say_so():
    agreement = rank_agreement([1, 2], [2, 1])
    assert agreement.spearman.reason == "2 images have both scores; a rank correlation takes 3"
    with pytest.raises(DataError, match="of the same images; got 3 and 2"):
        rank_agreement([1, 2, 3], [1, 2])


@pytest.mark.parametrize("degrees", [0.0, 1e-7, 30.0, 90.0, 179.9999999, 180.0])
def test_angles_are_exact_also_where_directions_hardly_differ(degrees):
    t = np.radians(degrees)
    a, b = np.array([3.0, 0, 0]), 7 * np.array([np.cos(t), 0, np.sin(t)])
    assert angle_between(a, b).value == pytest.approx(degrees, rel=1e-9, abs=1e-9)


def test_what_does_not_move_has_no_direction():
    assert angle_between([0, 0], [1, 0]).reason == "there was no move"
