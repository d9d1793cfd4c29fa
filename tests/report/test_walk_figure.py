"""The figure of a walk: a picture a step and row, and words at every row."""

import numpy as np
import pytest
from matplotlib.image import AxesImage

from evolver.analysis.decoding import LeastSquares
from evolver.analysis.latent_walks import interpolation_walk
from evolver.errors import DataError
from evolver.report.style import save
from evolver.report.walk_figure import WALK_LABELS, draw_walk


def test_a_walk_is_drawn_a_row_a_space(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.uniform(60, 190, (50, 3))
    y = x @ rng.standard_normal((3, 9)) + rng.standard_normal((50, 9))
    decoder = LeastSquares().fit(y, x)
    walk = interpolation_walk(decoder, x[:2], y[:2], steps=4, encode=lambda _: y[:4])
    images = {  # a latent is its image's colour
        name: [np.full((8, 8, 3), np.clip(code, 0, 255), dtype=np.uint8) for code in codes]
        for name, codes in walk.rows.items()
    }
    figure = draw_walk(
        images, walk.shares, title="Between two images", subtitle="9 channels", notes="Drawn."
    )
    axes = figure.axes[0]
    pictures = [artist for artist in axes.get_children() if isinstance(artist, AxesImage)]
    assert len(pictures) == 4 * 4
    np.testing.assert_array_equal(pictures[0].get_array(), images["true"][0])
    words = [text.get_text() for text in axes.texts]
    assert {label for label, _ in WALK_LABELS.values()} <= set(words)
    assert {"0", "0.33", "0.67", "1.0", "Between two images", "Drawn."} <= set(words)
    path = save(figure, tmp_path / "walk.png")
    assert path.stat().st_size > 1000


def test_rows_of_other_lengths_are_refused():
    image = np.zeros((4, 4, 3), dtype=np.uint8)
    with pytest.raises(DataError, match=r"2 images, one a share; got \{'true': 1\}"):
        draw_walk({"true": [image]}, [0, 1], title="", subtitle="")
    with pytest.raises(DataError, match=r"got \{\}"):
        draw_walk({}, [0, 1], title="", subtitle="")
