"""Receptive fields: of units whose field is known, on frames whose rows and columns differ."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

import scorers
from evolver.errors import DataError
from scorers import receptive_field as rf
from tests.scorers import made_networks


class Linear:
    """Units that are weighted sums of an image's pixels, (u, h, w, 3) weights."""

    def __init__(self, weights, shift=0.0):
        self.weights = torch.as_tensor(weights, dtype=torch.float32)
        self.unit_names = tuple(f"linear:{k}" for k in range(len(weights)))
        self.shift = shift

    def responses(self, x):
        sums = torch.einsum("nchw,uhwc->nu", x, self.weights) + self.shift
        return torch.relu(sums)

    def score(self, images):
        x = torch.as_tensor(images).permute(0, 3, 1, 2).float() / 255
        return self.responses(x).double().numpy()


def test_a_gradients_map_is_where_the_weights_are():
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(2, 20, 30, 3))
    images = rf.uniform_noise(20, height=20, width=30, rng=rng)
    found = rf.gradient_maps(Linear(weights, shift=50.0), images)
    np.testing.assert_allclose(found, np.abs(weights).mean(axis=3), rtol=1e-5)


def test_images_that_leave_a_unit_silent_are_left_out():
    weights = np.zeros((2, 4, 6, 3))
    weights[0, 1, 2] = 1.0  # three halves on average, more than 1.5 in one image of two
    weights[1] = -1.0  # never above 0
    images = rf.uniform_noise(64, height=4, width=6, rng=np.random.default_rng(1))
    found = rf.gradient_maps(Linear(weights, shift=-1.5), images)
    assert found[0, 1, 2] == pytest.approx(1.0)
    assert found[0].sum() == pytest.approx(1.0)
    assert np.isnan(found[1]).all()


def test_a_networks_map_lies_where_its_unit_does():
    scorer = scorers.load(["mini:conv3:5:1:6", "mini:conv3:5:6:1"])
    images = rf.uniform_noise(16, height=64, width=64, rng=np.random.default_rng(2))
    upper_right, lower_left = rf.gradient_maps(scorer, images)
    box = rf.box_of(upper_right)
    assert box.side == 19  # what `extents` says
    assert abs(box.top + 9 - (1 * 8 + 1)) <= 4
    assert abs(box.left + 9 - (6 * 8 + 1)) <= 4
    other = rf.box_of(lower_left)
    assert (other.top, other.left) == (box.left, box.top)


def test_maps_without_a_field():
    assert rf.box_of(np.zeros((5, 7))) is None
    assert rf.box_of(np.full((5, 7), 1e-9)) is None
    for wrong in (np.zeros(5), np.zeros((0, 3)), np.zeros((2, 3, 4))):
        with pytest.raises(DataError, match=r"\(rows, columns\)"):
            rf.box_of(wrong)


@pytest.mark.parametrize(
    ("rows", "columns", "expected"),
    [
        (slice(5, 9), slice(10, 20), rf.Box(2, 10, 10)),  # made square about its centre
        (slice(0, 3), slice(24, 30), rf.Box(0, 24, 6)),  # moved inside, at both borders
        (slice(17, 20), slice(0, 9), rf.Box(11, 0, 9)),
        (slice(0, 20), slice(0, 30), rf.Box(0, 5, 20)),  # no longer than the shorter side
        (slice(4, 5), slice(7, 8), rf.Box(4, 7, 1)),
    ],
)
def test_boxes_on_20_by_30_pixels(rows, columns, expected):
    field = np.full((20, 30), 0.009)
    field[rows, columns] = 1.0
    assert rf.box_of(field) == expected


def test_what_is_covered_is_missed():
    """A unit that sums one place: covering it takes away all above grey, elsewhere nothing."""
    weights = np.zeros((1, 20, 30, 3))
    weights[0, 12:14, 3:5] = 1.0
    images = np.full((2, 20, 30, 3), 255, dtype=np.uint8)
    falls = rf.occlusion_maps(Linear(weights).score, images, patch=4, stride=3)
    rows = rf.occlusion_places(20, patch=4, stride=3)
    columns = rf.occlusion_places(30, patch=4, stride=3)
    assert rows.tolist() == [0, 3, 6, 9, 12, 15, 16]
    assert columns[-1] == 26
    assert falls.shape == (1, len(rows), len(columns))
    hidden = np.array([
        [
            len({12, 13} & set(range(r, r + 4))) * len({3, 4} & set(range(c, c + 4)))
            for c in columns
        ]
        for r in rows
    ])
    np.testing.assert_allclose(falls[0], hidden * 3 * (255 - 128) / 255, rtol=1e-5)
    for wrong in (
        {"patch": 21, "stride": 1},
        {"patch": 0, "stride": 1},
        {"patch": 4, "stride": 0},
    ):
        with pytest.raises(DataError, match="patch"):
            rf.occlusion_maps(Linear(weights).score, images, **wrong)


def test_a_layers_field_is_the_weighted_mean():
    maps = np.random.default_rng(4).random((3, 4, 5))
    weights = np.array([1.0, 0.0, 3.0])
    np.testing.assert_allclose(rf.layer_map(maps, weights), (maps[0] + 3 * maps[2]) / 4)
    with pytest.raises(DataError, match="not all 0"):
        rf.layer_map(maps, np.zeros(3))


def test_images_are_fitted_into_a_box():
    rng = np.random.default_rng(5)
    smooth = gaussian_filter(rng.random((2, 40, 40, 3)), (0, 4, 4, 0))
    images = (255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)
    out = rf.fitted_into(images, rf.Box(3, 7, 20), size=30)
    inside = np.zeros((30, 30), dtype=bool)
    inside[3:23, 7:27] = True
    assert (out[:, ~inside] == 128).all()
    halves = images.reshape(2, 20, 2, 20, 2, 3).mean(axis=(2, 4))
    assert np.abs(out[:, 3:23, 7:27].astype(float) - halves).max() < 6
    with pytest.raises(DataError, match="within 30 pixels"):
        rf.fitted_into(images, rf.Box(12, 7, 20), size=30)


@pytest.mark.soak
def test_gradients_and_covering_agree_on_a_network(tmp_path):
    torch.manual_seed(0)
    table = {"w": {"module": f"{made_networks.__name__}:Window", "size": 32}}
    scorer = scorers.load("w:c:0:4:11", networks=table)
    images = rf.uniform_noise(2, height=32, width=32, rng=np.random.default_rng(6))
    box = rf.box_of(rf.gradient_maps(scorer, images)[0])
    falls = np.abs(rf.occlusion_maps(scorer.score, images, patch=1, stride=1)[0])
    seen = rf.box_of(falls)
    assert box.side <= 9
    assert seen.top >= box.top - 1
    assert seen.left >= box.left - 1
    assert seen.top + seen.side <= box.top + box.side + 1
    assert not list(tmp_path.iterdir())
