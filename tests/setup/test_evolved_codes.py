"""Axes of a metric of half a code, and which axes are shown where none are named."""

from types import SimpleNamespace

import numpy as np
import pytest

from evolver import metric
from evolver.config.set_table import AroundTable
from evolver.errors import ConfigError
from evolver.setup.evolved_codes import metric_axes, shown_axes

HALVES = SimpleNamespace(
    name="halved", sha256="1" * 64, d=10, parts={"noise": (0, 6), "class": (6, 10)}
)
"""The face of a generator with two halves; nothing is drawn here."""
VECTORS = {n: np.linalg.qr(np.random.default_rng(n).normal(size=(n, 3)))[0] for n in (4, 6)}
VALUES = np.array([3.0, 2.0, 1.0])


def ours(path, *, part="class", first=6, last=10, sha256="1" * 64):
    provenance = metric.Provenance(
        generator="halved",
        weights_sha256=sha256,
        distance="mse",
        distance_sha256="",
        solver="dense",
        points=1,
        points_sha256="2" * 64,
        first=first,
        last=last,
        part=part,
    )
    found = metric.make_metric(VALUES, VECTORS[last - first], provenance=provenance)
    metric.write_metric(found, path)
    return str(path)


def published(path):
    np.savez(
        path,
        eigvals_nois_avg=VALUES[::-1],
        eigvects_nois_avg=VECTORS[6][:, ::-1],
        eigvals_clas_avg=VALUES,
        eigvects_clas_avg=VECTORS[4],
    )
    return str(path)


def test_axes_of_a_half_are_axes_of_the_whole_code(tmp_path):
    axes = metric_axes(ours(tmp_path / "class.npz"), None, HALVES)
    assert (axes.word, axes.part, axes.rows.shape) == ("class", "class", (3, 10))
    assert not axes.rows[:, :6].any()
    np.testing.assert_array_equal(axes.rows[:, 6:], VECTORS[4].T)
    theirs = metric_axes(published(tmp_path / "both.npz"), "class", HALVES)
    np.testing.assert_array_equal(theirs.rows, axes.rows)
    assert theirs.metric_sha256 == axes.metric_sha256
    noise = metric_axes(str(tmp_path / "both.npz"), "noise", HALVES)
    np.testing.assert_array_equal(noise.rows[:, :6], VECTORS[6].T)  # the largest value first
    assert (noise.word, noise.part) == ("noise", "noise")


def test_a_part_that_a_file_or_a_generator_has_not_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="holds one metric, of class; found 'noise'"):
        metric_axes(ours(tmp_path / "class.npz"), "noise", HALVES)
    whole = SimpleNamespace(name="whole", sha256="1" * 64, d=10)
    with pytest.raises(ConfigError, match="whole's code has no 'noise'"):
        metric_axes(published(tmp_path / "both.npz"), "noise", whole)
    with pytest.raises(ConfigError, match="must be of the generator that draws"):
        metric_axes(ours(tmp_path / "other.npz", sha256="3" * 64), None, HALVES)


@pytest.mark.parametrize(
    ("kind", "components", "available", "shown"),
    [
        ("steps", True, 99, (0, 1, 2, 3, 6, 9, 13, 21, 30, 60)),
        ("steps", False, 9, (0, 1, 2, 3, 6)),
        ("circles", True, 9, (1, 2, 3, 6)),
        ("circles", False, 9, (0, 1, 2, 3, 6)),
        ("sphere", True, 99, (1, 2, 48, 49)),
        ("sphere", True, 49, (1, 2)),
    ],
)
def test_without_axes_the_published_ones_are_shown_as_far_as_there_are_so_many(
    kind, components, available, shown
):
    table = AroundTable("a.h5", kind=kind, metric=None if components else "b.npz")
    assert shown_axes(table, available, "axis") == shown


def test_where_none_of_those_is_there_axes_must_be_named():
    table = AroundTable("a.h5", kind="sphere")
    with pytest.raises(ConfigError, match="axes must be named: there are 2 components"):
        shown_axes(table, 2, "component")
