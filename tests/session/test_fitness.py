"""Responses to scores."""

import numpy as np
import pytest

from evolver.config.tables import FitnessTable
from evolver.errors import ConfigError, DataError
from evolver.session.fitness import Fitness, mean_and_sem

LABELS = ("a", "b", "c")


def spikes(*pairs):
    units, times = zip(*pairs, strict=True) if pairs else ((), ())
    return {"units": np.array(units, "<u4"), "times_ms": np.array(times, "<f4")}


def test_score_is_the_weighted_rate_less_the_baseline():
    table = FitnessTable(
        ("c", 0), weights=(2.0, -1.0), response_ms=(50.0, 150.0), baseline_ms=(0.0, 50.0)
    )
    fitness = Fitness.resolve(table, LABELS, key="fitness")
    arrays = spikes((2, 50.0), (2, 149.9), (2, 150.0), (0, 60.0), (2, 10.0), (1, 70.0))
    # unit c: 2 in 100 ms less 1 in 50 ms = 20 - 20; unit a: 1 in 100 ms = 10
    assert fitness.score("spikes", arrays) == pytest.approx(2 * (20 - 20) - 10)


def test_units_are_averaged_without_weights():
    fitness = Fitness.resolve(FitnessTable((0, 1)), LABELS, key="fitness")
    assert fitness.score("rates", {"rates": np.array([2.0, 4.0, 100.0])}) == 3.0


def test_counts_and_spikes_agree():
    fitness = Fitness.resolve(FitnessTable((1,)), LABELS, key="fitness")
    arrays = spikes((1, 55.0), (1, 120.0), (1, 199.0), (1, 201.0))
    edges = np.arange(-100.0, 301.0, 10)
    counts = np.zeros((3, 40), "<u2")
    counts[1] = np.histogram(arrays["times_ms"], edges)[0]
    by_counts = fitness.score("counts", {"counts": counts, "edges_ms": edges})
    assert by_counts == pytest.approx(fitness.score("spikes", arrays))


@pytest.mark.parametrize(
    ("units", "labels", "said"),
    [
        ((3,), LABELS, "must be 0 to 2, a row of the rig's unit table; found 3"),
        (("z",), LABELS, "found 'z', which names no unit"),
        (("a",), ("a", "a"), "found 'a', which names several units"),
        ((0, "a"), LABELS, "must name each unit once"),
        (("z",), [str(i) for i in range(64)], "and 56 more"),
    ],
)
def test_a_unit_that_is_not_the_rigs_is_refused(units, labels, said):
    with pytest.raises(ConfigError, match=r"threads\[1\].fitness") as caught:
        Fitness.resolve(FitnessTable(units), labels, key="threads[1].fitness")
    assert said in str(caught.value)


def test_a_spike_of_an_unknown_unit_is_refused():
    fitness = Fitness.resolve(FitnessTable(), LABELS, key="fitness")
    with pytest.raises(DataError, match="0 to 2"):
        fitness.score("spikes", spikes((3, 100.0)))


def test_mean_and_sem_over_valid_showings():
    mean, sem = mean_and_sem([[1.0, 3.0], [5.0], []])
    np.testing.assert_array_equal(mean, [2.0, 5.0, np.nan])
    np.testing.assert_allclose(sem, [1.0, np.nan, np.nan])
