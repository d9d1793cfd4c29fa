"""The figure of mapped fields: what is drawn is where its numbers say."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from matplotlib.patches import Ellipse

from evolver.analysis.receptive_fields import receptive_fields, size_tuning
from evolver.report.mapping_figure import MappedUnit, draw_mapping
from tests.analysis.test_receptive_fields import SIZES, X, Y, design, simulated


@pytest.fixture(scope="module")
def units():
    showings, rng = design(images=3), np.random.default_rng(1)
    rates = simulated(showings, [40.0, 0.0], rng)
    fields = receptive_fields(rates, showings, rng=rng, permutations=150, bootstraps=0)
    return showings, [
        MappedUnit(name, "IT", field, size_tuning(column, showings, field.gaussian))
        for name, field, column in zip(
            ("a name that is much too long for its map", "b"), fields, rates.T, strict=True
        )
    ]


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_maps_ellipses_and_words(units):
    showings, mapped = units
    figure = draw_mapping(
        mapped, showings, title="Receptive fields", subtitle="s", overview=mapped
    )
    maps = [axes for axes in figure.axes if axes.images]
    assert len(maps) == 2
    for axes, unit in zip(maps, mapped, strict=True):
        (drawn,) = axes.images
        np.testing.assert_array_equal(drawn.get_array(), unit.field.map.mean)
        assert drawn.origin == "lower"  # the first row is the lowest on the screen
        assert tuple(drawn.get_extent()) == (-4.5, 4.5, -3.5, 3.5)
    (ellipse,) = [p for p in maps[0].patches if isinstance(p, Ellipse)]
    assert ellipse.center == pytest.approx((X, Y), abs=0.5)
    assert np.sqrt(ellipse.width * ellipse.height) == pytest.approx(
        mapped[0].field.width_deg.value
    )
    assert not [p for p in maps[1].patches if isinstance(p, Ellipse)]
    words = texts(figure)
    assert any(text.startswith("no field, p = ") for text in words)
    assert any("wide, p = " in text for text in words)
    assert max(len(text) for text in words if text.startswith("…")) <= 26
    width, height = figure.get_size_inches()
    for axes in figure.axes[1:]:
        box = axes.get_position()
        assert 0 <= box.x0 * width <= box.x1 * width <= width
        assert 0.3 <= box.y0 * height <= box.y1 * height <= height - 0.7


def test_one_size_has_no_tuning_and_a_place_that_was_not_shown_is_grey(units):
    showings, mapped = units
    holes = mapped[0].field.map.mean.copy()
    holes[2, 3] = np.nan
    field = dataclasses.replace(
        mapped[0].field, map=dataclasses.replace(mapped[0].field.map, mean=holes)
    )
    figure = draw_mapping(
        [MappedUnit("a", "", field)],
        dataclasses.replace(showings, sizes_deg=SIZES[:1]),
        title="t",
        subtitle="s",
    )
    assert len(figure.axes) == 2  # the sheet, and the map
    drawn = figure.axes[1].images[0].get_array()
    assert np.argwhere(drawn.mask).tolist() == [[2, 3]]
