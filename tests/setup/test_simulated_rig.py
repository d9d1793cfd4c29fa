"""What a simulated animal sees: the image alone, or a piece of the screen it is on."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolver.config import presets
from evolver.setup import simulated_rig
from evolver.setup.simulated_rig import Population, ScreenView, build_population


class Seen:
    """A scorer that keeps what it is shown."""

    unit_names = ("one",)

    def score(self, images):
        self.images = images
        return images.reshape(len(images), -1).mean(axis=1, keepdims=True)


@given(
    pixels=st.integers(1, 40),
    size=st.floats(0.5, 20),
    view=st.floats(0.5, 40),
    right=st.floats(-15, 15),
    up=st.floats(-15, 15),
)
def test_a_point_of_the_screen_is_where_its_degrees_say(pixels, size, view, right, up):
    image = np.full((pixels, pixels, 3), 255, dtype=np.uint8)
    seen = ScreenView(view, size, (right, up)).of(image, 128)
    side = len(seen)
    assert side == max(1, round(view * min(pixels / size, 2048 / view)))
    # The middle of every pixel, degrees about fixation; those near an edge may go either way.
    at = (np.arange(side) + 0.5) / side * view - view / 2
    tolerance = max(size / pixels, view / side) + view / side
    inside_x, inside_y = np.abs(at - right) - size / 2, np.abs(-at - up) - size / 2
    surely = (inside_y < -tolerance)[:, None] & (inside_x < -tolerance)[None]
    never = (inside_y > tolerance)[:, None] | (inside_x > tolerance)[None]
    assert (seen[surely] == 255).all()
    assert (seen[never] == 128).all()


def test_an_image_keeps_its_pixels_and_its_orientation():
    image = np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    seen = ScreenView(10.0, 3.0, (2.0, 1.0)).of(image, 7)  # 2 pixels a degree
    assert seen.shape == (20, 20, 3)
    np.testing.assert_array_equal(seen[5:11, 11:17], image)
    seen[5:11, 11:17] = 7
    assert (seen == 7).all()
    cut = ScreenView(3.0, 3.0, (1.5, 0.0)).of(image, 7)
    np.testing.assert_array_equal(cut[:, 3:], image[:, :3])
    assert (cut[:, :3] == 7).all()
    away = ScreenView(3.0, 3.0, (40.0, 0.0)).of(image, 7)
    assert (away == 7).all()
    wide = ScreenView(180.0, 0.5).of(np.full((512, 512, 3), 200, dtype=np.uint8), 7)
    assert len(wide) == 2048
    assert wide.max() == 200


def test_what_is_no_square_is_seen_on_its_square():
    scorer, image = Seen(), np.full((4, 2, 3), 255, dtype=np.uint8)
    Population(scorer, None, 0).respond([image])
    assert scorer.images.shape == (1, 4, 4, 3)
    Population(scorer, None, 0, ScreenView(8.0, 4.0)).respond([image])
    assert scorer.images.shape == (1, 8, 8, 3)
    np.testing.assert_array_equal(scorer.images[0, 2:6, 3:5], image)
    assert (scorer.images == 255).sum() == image.size


def test_images_at_places_of_their_own_are_seen_there(monkeypatch):
    """In fours and one by one, each as the view says that has its place."""
    monkeypatch.setattr(simulated_rig, "_PLACED_AT_ONCE", 4)
    rng = np.random.default_rng(3)
    config = presets.new_session()
    table = msgspec.structs.replace(
        config.simulation, view_deg=8.0, units=("mini:conv3:5:1:6", "mini:conv3:5:6:1")
    )
    population = build_population(msgspec.structs.replace(config, simulation=table))
    shown = [
        (rng.integers(0, 256, (16, 16, 3), dtype=np.uint8), (size, position))
        for size in (4.0, 6.5)
        for position in [(-2.0, 2.0), (2.0, 2.0), (0.0, 0.0)]
    ]
    drives = population.respond_at(shown)
    assert drives.shape == (6, 2)
    for (image, (size, position)), row in zip(shown, drives, strict=True):
        seen = ScreenView(8.0, size, position).of(image, 128)
        np.testing.assert_array_equal(row, population.scorer.score(seen[None])[0])
    np.testing.assert_array_equal(population.respond_at(shown[4:5]), drives[4:5])
    usual = [(image, (config.presentation.size_deg, (0.0, 0.0))) for image, _ in shown]
    np.testing.assert_array_equal(
        population.respond_at(usual), population.respond([image for image, _ in shown])
    )
    with pytest.raises(ValueError, match="a view of the screen"):
        build_population(config).respond_at(shown)


@pytest.mark.parametrize("view_deg", [None, 6.0])
def test_a_session_file_says_which(view_deg):
    config = presets.new_session()
    table = msgspec.structs.replace(config.simulation, view_deg=view_deg)
    config = msgspec.structs.replace(config, simulation=table)
    view = build_population(config).view
    if view_deg is None:
        assert view is None
    else:
        assert view == ScreenView(6.0, config.presentation.size_deg, (0.0, 0.0))
