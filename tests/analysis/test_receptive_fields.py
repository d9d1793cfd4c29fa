"""Mapped fields: planted ones are found, none are not, and each mean is what its words say."""

from __future__ import annotations

import dataclasses
from itertools import product

import numpy as np
import pytest

from evolver.analysis.receptive_fields import (
    PlaceShowings,
    place_map,
    place_p,
    receptive_fields,
    size_tuning,
)
from evolver.errors import DataError

SIZES = np.array([1.0, 2.0])
X, Y, SD = 1.3, -0.7, 1.1


def design(rows=7, columns=9, images=5, repeats=2, sizes=SIZES) -> PlaceShowings:
    """Every image and size at every place, so often."""
    items = np.array(
        list(product(range(rows), range(columns), range(images), range(len(sizes)))) * repeats
    ).T
    row, column, image, size = items
    return PlaceShowings(
        row, column, np.linspace(-3, 3, rows), np.linspace(-4, 4, columns), image, size, sizes
    )


def kept(showings: PlaceShowings, rows) -> PlaceShowings:
    changes = {n: getattr(showings, n)[rows] for n in ("row", "column", "image", "size")}
    return dataclasses.replace(showings, **changes)


def bell(showings: PlaceShowings, x=X, y=Y, sd=SD):
    right, up = showings.columns_deg[showings.column], showings.rows_deg[showings.row]
    return np.exp(-((right - x) ** 2 + (up - y) ** 2) / 2 / sd**2)


def simulated(showings, amplitudes, rng):
    """Poisson rates of units with a field of so many spikes/s, over images of two strengths."""
    strength = np.where(showings.image % 2, 1.5, 0.5) * (1 + 0.5 * showings.size)
    mean = strength[:, None] * (6 + np.array(amplitudes) * bell(showings)[:, None])
    return rng.poisson(mean * 0.15) / 0.15


@pytest.fixture(scope="module")
def mapped():
    showings = design()
    rng = np.random.default_rng(4)
    rates = simulated(showings, [30.0, 15.0, 0.0, 0.0], rng)
    fields = receptive_fields(rates, showings, rng=rng, permutations=300, bootstraps=60)
    return showings, rates, fields


def test_a_planted_field_is_found_and_none_is_none(mapped):
    _, _, fields = mapped
    for field, within in zip(fields[:2], (0.4, 0.6), strict=True):
        assert field.p < 0.01
        assert (field.reason, field.warning) == ("", "")
        assert field.x_deg.value == pytest.approx(X, abs=within)
        assert field.y_deg.value == pytest.approx(Y, abs=within)
        assert field.width_deg.value == pytest.approx(4 * SD, rel=0.3)
        assert field.width_deg.value == pytest.approx(
            4 * np.sqrt(field.gaussian.sd_row * field.gaussian.sd_column)
        )
        for truth, of in ((X, field.x_deg), (Y, field.y_deg)):
            assert of.low < of.value < of.high
            assert of.low - 0.1 < truth < of.high + 0.1
            assert of.high - of.low < 2
    for field in fields[2:]:
        assert field.p > 0.01
        assert field.reason.startswith("no field: places differ no more than by chance")
        assert field.gaussian is None
        assert np.isnan(field.x_deg.value)


def test_noise_passes_as_often_as_it_says():
    """400 units without a field, whose images differ by far more than their places could."""
    showings = design(images=3, repeats=1, sizes=SIZES[:1])
    rng = np.random.default_rng(11)
    rates = simulated(showings, [0.0] * 400, rng)
    whole = np.stack([rates[showings.image == i].mean(axis=0) for i in range(3)])
    p = place_p(rates - whole[showings.image], showings, permutations=199, rng=rng)
    for level in (0.05, 0.2, 0.5):
        assert (p <= level).mean() == pytest.approx(
            level, abs=3.3 * np.sqrt(level * (1 - level) / 400)
        )


def test_means_are_those_of_a_loop(mapped):
    showings, rates, fields = mapped
    for unit, field in enumerate(fields[:2]):
        for i, j in ((0, 0), (3, 5), (6, 8)):
            here = (showings.row == i) & (showings.column == j)
            assert field.map.mean[i, j] == pytest.approx(rates[here, unit].mean())
            assert field.map.showings[i, j] == here.sum() == 20
            left = np.concatenate([
                rates[here & own, unit] - rates[own, unit].mean()
                for own in (
                    (showings.image == image) & (showings.size == size)
                    for image in range(5)
                    for size in range(2)
                )
            ])
            assert field.map.sem[i, j] == pytest.approx(left.std(ddof=1) / np.sqrt(20))


def test_a_strong_image_that_was_aborted_somewhere_leaves_no_hole():
    showings = design(images=2, repeats=2, sizes=SIZES[:1])
    rates = np.where(showings.image == 0, 4.0, 40.0)
    left = (showings.row < 4) | (showings.image == 0)
    mapped = place_map(rates[left], kept(showings, left))
    np.testing.assert_allclose(mapped.mean, 22.0)
    gone = (showings.row != 2) | (showings.column != 3)
    mapped = place_map(rates[gone], kept(showings, gone))
    assert np.argwhere(np.isnan(mapped.mean)).tolist() == [[2, 3]]
    assert mapped.showings[2, 3] == 0


def test_sizes_are_compared_within_the_field(mapped):
    showings, rates, fields = mapped
    tuning = size_tuning(rates[:, 0], showings, fields[0].gaussian)
    inside = bell(showings, fields[0].x_deg.value, fields[0].y_deg.value, SD) > 0.6
    everywhere = size_tuning(rates[:, 0], showings)
    np.testing.assert_allclose(
        everywhere.mean, [rates[showings.size == s, 0].mean() for s in (0, 1)]
    )
    assert everywhere.showings.tolist() == [630, 630]
    assert 0 < tuning.showings[0] < 200
    assert (tuning.mean > 1.5 * everywhere.mean).all()
    # 1.5 times as strong, as planted, also here.
    assert tuning.mean[1] / tuning.mean[0] == pytest.approx(1.5, rel=0.15)
    assert tuning.mean[0] == pytest.approx(
        rates[inside & (showings.size == 0), 0].mean(), rel=0.15
    )


def test_a_field_that_is_not_all_on_the_grid_says_so():
    showings, rng = design(sizes=SIZES[:1]), np.random.default_rng(2)
    at_edge = rng.poisson(2 + 20 * bell(showings, x=4.3)).astype(float)
    wide = rng.poisson(2 + 60 * bell(showings, x=-30.0, sd=16.0)).astype(float)
    rates = np.stack([at_edge, wide], axis=1)
    edge, wide = receptive_fields(rates, showings, rng=rng, permutations=200, bootstraps=0)
    assert "at the grid's edge" in edge.warning
    assert np.isnan(edge.x_deg.low)
    assert wide.p < 0.01
    assert wide.gaussian is None or "edge" in wide.warning


def test_a_field_that_is_hardly_known_says_so():
    showings, rng = design(images=2, repeats=1), np.random.default_rng(5)
    rates = rng.poisson(6 + 12 * bell(showings, sd=2.4))[:, None].astype(float)
    (field,) = receptive_fields(rates, showings, rng=rng, permutations=200, bootstraps=100)
    assert "its width is a guess" in field.warning


def test_a_field_that_suppresses_is_one_of_places_and_has_no_centre():
    showings, rng = design(), np.random.default_rng(3)
    rates = rng.poisson(20 * (1 - 0.8 * bell(showings)))[:, None] / 0.15
    (field,) = receptive_fields(rates, showings, rng=rng, permutations=200, bootstraps=0)
    assert field.p < 0.01
    assert field.gaussian is None
    assert "a field that suppresses" in field.reason


def test_a_units_field_does_not_depend_on_which_others_are_asked_of(mapped):
    showings, rates, _ = mapped
    options = {"permutations": 50, "bootstraps": 20}
    both, alone = (
        receptive_fields(part, showings, rng=np.random.default_rng(8), **options)[-1]
        for part in (rates[:, :2], rates[:, 1:2])
    )
    assert both.x_deg == alone.x_deg
    assert both.width_deg == alone.width_deg


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"rows": 1, "columns": 1, "images": 20}, "two places or more"),
        ({"rows": 2, "columns": 2, "images": 1}, "20 showings or more; there are 16"),
        ({"rows": 1}, "three rows and columns or more"),
    ],
)
def test_too_little_to_say(given, match):
    showings, rng = design(**given), np.random.default_rng(0)
    rates = 1 + 50 * bell(showings, y=0.0) + rng.random(len(showings.row))
    (field,) = receptive_fields(rates[:, None], showings, rng=rng, permutations=120)
    assert match in field.reason
    assert field.gaussian is None


def test_arrays_that_do_not_fit_are_refused():
    showings, rng = design(), np.random.default_rng(0)
    n = len(showings.row)
    with pytest.raises(DataError, match="finite"):
        receptive_fields(np.full((n, 1), np.nan), showings, rng=rng)
    with pytest.raises(DataError, match=r"row must be \(3,\)"):
        receptive_fields(np.ones((3, 1)), showings, rng=rng)
    with pytest.raises(DataError, match="there must be a showing"):
        receptive_fields(np.ones((0, 1)), kept(showings, slice(0)), rng=rng)
    beyond = dataclasses.replace(showings, column=showings.column + 1)
    with pytest.raises(DataError, match=r"column must be .* from 0 to 8"):
        receptive_fields(np.ones((n, 1)), beyond, rng=rng)


@pytest.mark.soak
@pytest.mark.parametrize(("amplitude", "rms"), [(40.0, 0.08), (10.0, 0.2)])
def test_intervals_hold_the_truth_as_often_as_they_say(amplitude, rms):
    """Of 40 units with a round field on 9 x 9 places; 6 images, 2 sizes, twice."""
    showings, rng = design(rows=9, columns=9, images=6), np.random.default_rng(7)
    rates = simulated(showings, [amplitude] * 40, rng)
    fields = receptive_fields(rates, showings, rng=rng, permutations=200, bootstraps=100)
    assert all(field.gaussian is not None for field in fields)
    for name, truth, within in (("x", X, rms), ("y", Y, rms), ("width", 4 * SD, 4 * rms)):
        numbers = [getattr(field, f"{name}_deg") for field in fields]
        error = np.array([number.value for number in numbers]) - truth
        assert np.sqrt((error**2).mean()) < within
        assert abs(error.mean()) < within / 2
        assert np.mean([number.low <= truth <= number.high for number in numbers]) >= 0.85
