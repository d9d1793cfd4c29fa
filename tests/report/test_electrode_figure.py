"""Arrays of electrodes: a map a quantity and array, each square in its place and colour."""

import numpy as np
from matplotlib.colors import to_rgb

from evolver.analysis.electrode_maps import ElectrodeLayout
from evolver.analysis.layer_assignment import EncodingScores, assign_layers
from evolver.colours import UNMEASURED
from evolver.report.electrode_figure import draw_electrode_values, draw_electrodes


def places(arrays, n):
    """Some units on each array, along its first row."""
    array, column = np.divmod(np.arange(arrays * n), n)
    names = tuple(f"array {k}" for k in range(arrays))
    return ElectrodeLayout(names, array, np.zeros_like(array), column)


def pictures(figure):
    """The arrays' maps, in the order in which they were drawn."""
    return [axes.images[0].get_array() for axes in figure.axes if axes.images]


def test_a_best_layer_is_as_opaque_as_it_is_sure():
    r = np.array([[0.9, 0.1, 0.2, np.nan], [0.1, 0.8, 0.1, np.nan]])
    p = np.array([[0.0, 0.5, 0.75, np.nan], [0.9, 0.0, 0.9, np.nan]])
    scores = [EncodingScores(a, a / 0.9, b, 50) for a, b in zip(r, p, strict=True)]
    assignment = assign_layers(scores, ["first", "last"], ["V1"] * 4)
    over = np.array([1.0, 0.9, np.nan, np.nan])
    figure = draw_electrodes(
        places(2, 2), assignment, title="Arrays", subtitle="4 units", over_ceiling=over
    )
    maps = pictures(figure)
    assert len(maps) == 3 * 2
    first, last, faint = maps[0][0, 0], maps[0][0, 1], maps[1][0, 0]
    assert np.abs(first - last).max() > 0.3
    np.testing.assert_allclose(faint, 1 - 0.25 * (1 - first))  # white, but for 1 - p
    for shown in (maps[1][0, 1], maps[0][5, 5], maps[5][0, 0]):
        np.testing.assert_allclose(shown, to_rgb(UNMEASURED))
    words = {text.get_text() for axes in figure.axes for text in axes.texts}
    assert {"best layer", "r", "r / ceiling", "array 0", "array 1", "first", "last"} <= words
    assert len(pictures(draw_electrodes(
        places(2, 2), assignment, title="", subtitle="", over_ceiling=np.full(4, np.nan)
    ))) == 2 * 2  # fmt: skip


def test_any_values_of_units_are_drawn_where_they_were_recorded():
    layout = places(11, 3)
    reliability = np.linspace(0, 1, 33)
    figure = draw_electrode_values(
        layout, {"reliability": reliability}, title="Reliability", subtitle="33 channels"
    )
    maps = pictures(figure)
    assert len(maps) == 11
    assert np.abs(maps[0][0, 0] - maps[10][0, 2]).max() > 0.5
    tops = {round(axes.get_position().y0, 3) for axes in figure.axes if axes.images}
    assert len(tops) == 2  # eight in a line
