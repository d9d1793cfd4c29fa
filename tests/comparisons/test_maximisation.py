"""Maximisation against torch's own optimizers, and drives of images as they are shown."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812

import scorers
from evolver import generators, metric, seeds
from evolver.comparisons import maximisation as room
from evolver.comparisons.maximisation import maximise, parse_method
from evolver.errors import ConfigError, DataError
from scorers.receptive_field import Box
from tests.soak import further

UNITS = ["mini:conv2:3", "mini:conv2:8"]


@pytest.fixture(scope="module")
def generator():
    return generators.load("mini-object")


@pytest.fixture(scope="module")
def scorer():
    return scorers.load(UNITS)


@pytest.mark.parametrize(
    ("text", "torchs"),
    [
        further("adam:0.05", lambda z: torch.optim.Adam([z], lr=0.05, maximize=True)),
        ("sgd:0.3", lambda z: torch.optim.SGD([z], lr=0.3, maximize=True)),
    ],
)
def test_a_gradient_goes_where_torchs_does(generator, scorer, text, torchs):
    found = maximise(
        generator,
        scorer,
        parse_method(text),
        layer="conv2",
        seed=5,
        steps=4,
        repeats=2,
        batch=2,
    )
    for u, name in enumerate(UNITS):
        own = scorers.load([name])
        for r in range(2):
            rng = seeds.stream(5, "maximise", scorer.unit_names[u], r)
            start = generator.initial_codes(2, rng=rng)
            z = torch.tensor(start, dtype=torch.float32, requires_grad=True)
            optimizer = torchs(z)
            highest = []
            for _ in range(4):
                values = own.responses(generator.synthesize(z))[:, 0]
                highest.append(values.detach().max().item())
                optimizer.zero_grad()
                values.sum().backward()
                optimizer.step()
            expected = np.maximum.accumulate(highest)
            np.testing.assert_allclose(found.curve[:, u, r], expected, rtol=2e-3, atol=2e-3)
            assert found.best[u, r] == found.curve[-1, u, r]
    assert found.images == 8
    drives = scorer.score(generator.render(found.codes.reshape(-1, generator.d)))
    np.testing.assert_allclose(drives[[0, 1], 0], found.best[0], atol=0.05)
    np.testing.assert_allclose(drives[[2, 3], 1], found.best[1], atol=0.05)


def test_a_confined_image_is_seen_whole_by_its_unit(generator, scorer):
    network = scorer.networks["mini"]
    confinement = room.confinement_of(network, "conv2")
    field = network.local.field("conv2", *network.layers["conv2"].usual_position)
    assert (confinement.size, confinement.box) == (64, Box(field.top, field.left, 11))
    assert room.confinement_of(network, "fc6") is None
    found = maximise(
        generator, scorer, parse_method("sgd:0.3"), layer="conv2", seed=5, steps=3, repeats=1,
        batch=1, confinement=confinement,
    )  # fmt: skip
    margins = (field.left, 64 - field.right, field.top, 64 - field.bottom)
    for u, name in enumerate(UNITS):
        rng = seeds.stream(5, "maximise", scorer.unit_names[u], 0)
        z = torch.tensor(
            generator.initial_codes(1, rng=rng), dtype=torch.float32, requires_grad=True
        )
        drives = []
        for _ in range(3):
            small = F.interpolate(
                generator.synthesize(z), (11, 11), mode="bilinear", antialias=True
            )
            image = F.pad(small - 128 / 255, margins) + 128 / 255
            value = scorers.load([name]).responses(image).sum()
            drives.append(value.item())
            (slope,) = torch.autograd.grad(value, z)
            z = (z + 0.3 * slope).detach().requires_grad_()
        np.testing.assert_allclose(
            found.curve[:, u, 0], np.maximum.accumulate(drives), rtol=2e-3, atol=2e-3
        )
    assert found.confinement == confinement


@pytest.mark.soak
def test_a_search_sees_values_alone_and_starts_where_the_gradient_does(generator, scorer):
    found = maximise(
        generator, scorer, parse_method("cholesky"), layer="conv2", seed=5, steps=4, repeats=1
    )
    assert (np.diff(found.curve, axis=0) >= 0).all()
    assert (found.curve[-1] > found.curve[0]).all()
    start = generator.initial_codes(4, rng=seeds.stream(5, "maximise", scorer.unit_names[0], 0))
    # The first population is drawn about the start, a twentieth of its length wide.
    assert np.linalg.norm(found.codes[0, 0] - start[0]) < np.linalg.norm(start[0])


def test_a_basis_needs_its_metric(generator, scorer, tmp_path):
    with pytest.raises(ConfigError, match="--metric mini-object"):
        maximise(generator, scorer, parse_method("adam+scaled"), layer="l", seed=1, steps=1)
    axes = np.linalg.qr(np.random.default_rng(0).standard_normal((128, 128)))[0]
    file = tmp_path / "m.npz"
    np.savez(file, H_avg=np.eye(128), eigv_avg=np.arange(128.0) + 1, eigvect_avg=axes)
    assert metric.read_metric(file).d == 128
    turned, plain = (
        maximise(
            generator,
            scorer,
            parse_method(text),
            layer="l",
            seed=1,
            steps=3,
            repeats=1,
            batch=1,
            metric=str(file),
        )
        for text in ("sgd+rotation:0.3", "sgd:0.3")
    )
    # Published as a method of its own; a rotation leaves plain ascent as it is.
    np.testing.assert_allclose(turned.best, plain.best, rtol=1e-4)


def test_rows_are_scored_by_their_own_units(generator, scorer):
    objective = room.RowObjective(generator, scorer, np.array([1, 0, 1]))
    codes = generator.initial_codes(3, rng=np.random.default_rng(1))
    values, slopes = objective.climb(codes)
    drives = scorer.score(generator.render(codes))
    np.testing.assert_allclose(values, drives[[0, 1, 2], [1, 0, 1]], atol=0.03)
    step = 1e-2 * slopes / np.linalg.norm(slopes, axis=1, keepdims=True)
    rise = (objective.values(codes + step) - objective.values(codes - step)) / 2e-2
    np.testing.assert_allclose(rise, np.linalg.norm(slopes, axis=1), rtol=0.05)
    with pytest.raises(DataError, match="row for each unit"):
        objective.values(codes[:2])


@pytest.mark.parametrize(
    "text", ["sgd", "adam+half", "cholesky+scaled", "adam:fast", "adam:1.2.3"]
)
def test_what_is_no_method_says_what_is(text):
    with pytest.raises(ConfigError, match=r"sgd:0\.01"):
        parse_method(text)


def test_methods_are_said_as_they_are_read():
    for text in ("adam", "adam:0.05", "sgd+rotation:0.01", "adam+scaled", "cholesky:0.3"):
        assert str(parse_method(text)) == text


def test_scores_are_shares_of_what_drove_a_unit_most():
    def run(best):
        best = np.array(best)
        return room.Maximised("g", "m", "l", (), best, np.zeros(0), np.zeros(0), 1)

    first, second = room.relative_scores([run([[1.0, 2], [-1, -2]]), run([[4.0, 1], [-3, -3]])])
    np.testing.assert_array_equal(first, [[0.25, 0.5], [np.nan, np.nan]])
    np.testing.assert_array_equal(second, [[1, 0.25], [np.nan, np.nan]])


def test_units_are_drawn_from_the_layer(scorer):
    network = scorer.networks["mini"]
    drawn = room.drawn_units(network, "conv3", 5, name="mini", seed=2)
    assert len(set(drawn)) == 5
    assert drawn == room.drawn_units(network, "conv3", 5, name="mini", seed=2)
    assert len(room.drawn_units(network, "logits", 99, name="mini", seed=2)) == 62
