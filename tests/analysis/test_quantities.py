"""Values that may not exist, and words that no function knows."""

from math import isnan

import numpy as np
import pytest

from evolver import analysis
from evolver.analysis.dependent_correlations import compare_r
from evolver.analysis.gaussian_process import smooth_course
from evolver.analysis.populations import population_mean
from evolver.analysis.quantities import Quantity, values_of
from evolver.analysis.success_rates import share
from evolver.analysis.success_tests import success, success_of_means
from evolver.analysis.temporal_attribution import attribution
from evolver.analysis.time_constants import time_constant
from evolver.analysis.tuning_shapes import shape_of
from evolver.errors import DataError


def test_a_quantity_is_a_number_or_a_reason():
    found, none = Quantity(2.5), Quantity.undefined("no block has a mean")
    assert (float(found), found.defined, str(found)) == (2.5, True, "2.5")
    assert isnan(float(none))
    assert (none.defined, str(none)) == (False, "undefined: no block has a mean")
    np.testing.assert_array_equal(values_of([found, none]), [2.5, np.nan])
    assert values_of([]).shape == (0,)


@pytest.mark.parametrize(
    "call",
    [
        lambda: success(np.ones(9), np.arange(9), rule="t"),
        lambda: success(np.ones(9), np.arange(9), pairs="t"),
        lambda: success(np.ones(9), np.arange(9), last_pair="t"),
        lambda: success_of_means(np.ones(9), np.ones(9), rule="t"),
        lambda: time_constant([1.0, 2.0], base="t"),
        lambda: time_constant([1.0, 2.0], statistic="t"),
        lambda: attribution(np.ones((2, 200)), error="t"),
        lambda: compare_r(0.1, 0.2, between=0.0, n=9, method="t"),
        lambda: share(1, 2, interval="t"),
        lambda: population_mean(np.ones((2, 2)), error="t"),
        lambda: shape_of(np.arange(9.0), rule="t"),
        lambda: smooth_course([1.0, 2.0], [1.0, 1.0], noise_units="t"),
    ],
)
def test_a_word_that_is_none_is_refused_with_those_that_are(call):
    with pytest.raises(DataError, match=r"must be one of '\w+', '\w+'.*; got 't'"):
        call()


def test_public_functions_are_those_of_their_files():
    assert analysis.success is success
    assert analysis.attribution is attribution
    assert analysis.time_constant is time_constant
    with pytest.raises(AttributeError, match="no attribute 'feature'"):
        _ = analysis.feature
