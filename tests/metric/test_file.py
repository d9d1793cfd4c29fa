"""A metric's file: read as it was written, the same bytes every time, refused when damaged."""

import os
import tracemalloc
import zipfile

import numpy as np
import pytest

from evolver import metric
from evolver.errors import ConfigError, DataError

D, K = 30, 6


def made_metric():
    rng = np.random.default_rng(0)
    return metric.make_metric(
        rng.exponential(size=K),
        np.linalg.qr(rng.standard_normal((D, K)))[0],
        provenance=metric.Provenance(
            generator="bent",
            weights_sha256="1" * 64,
            distance="mse",
            distance_sha256="",
            solver="lanczos",
            points=2,
            points_sha256="2" * 64,
            last=D,
            seed=4,
            norm=2.0,
            options={"chunk": 3},
        ),
    )


def test_a_metric_is_read_as_it_was_written(tmp_path):
    found = made_metric()
    metric.write_metric(found, tmp_path / "a.npz")
    metric.write_metric(found, tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:  # nor does it tell the time
        assert {entry.date_time[0] for entry in archive.infolist()} == {1980}
    again = metric.read_metric(tmp_path / "a.npz", d=30)
    np.testing.assert_array_equal(again.eigenvalues, found.eigenvalues)
    np.testing.assert_array_equal(again.eigenvectors, found.eigenvectors)
    assert again.provenance == found.provenance
    assert again.provenance.options == {"chunk": 3}
    with np.load(tmp_path / "a.npz") as plain:  # nothing but numpy is needed
        assert int(plain["schema_version"]) == 1
        assert (np.diff(plain["eigenvalues"]) <= 0).all()
        assert plain["eigenvectors"].shape == (30, 6)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npz", "b.npz"]


def test_a_metric_says_where_it_comes_from(tmp_path):
    with pytest.raises(DataError, match="must say where it comes from"):
        metric.write_metric(metric.make_metric(np.ones(2), np.eye(2)), tmp_path / "a.npz")
    with pytest.raises(ConfigError, match="cannot be written"):
        metric.write_metric(made_metric(), tmp_path / "nowhere" / "a.npz")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, "must be of schema version 1; it is of 2"),
        ({"schema_version": "one"}, "schema_version must hold numbers; it holds <U3"),
        ({"provenance": "{}"}, "must say where its metric comes from"),
        ({"provenance": None}, "must be whole; it lacks provenance"),
        ({"eigenvalues": None}, "must be whole; it lacks eigenvalues"),
        ({"eigenvalues": "text"}, "eigenvalues must hold numbers; it holds <U4"),
        ({"eigenvectors": np.ones((30, 2))}, "eigenvectors"),
    ],
)
def test_a_file_that_was_tampered_with_is_refused(tmp_path, change, message):
    metric.write_metric(made_metric(), tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as plain:
        arrays = dict(plain)
    kept = {key: value for key, value in (arrays | change).items() if value is not None}
    np.savez(tmp_path / "a.npz", **kept)
    with pytest.raises((ConfigError, DataError), match=message):
        metric.read_metric(tmp_path / "a.npz")


def test_damaged_bytes_are_refused_or_harmless(tmp_path):
    metric.write_metric(made_metric(), tmp_path / "a.npz")
    whole = (tmp_path / "a.npz").read_bytes()
    known = metric.read_metric(tmp_path / "a.npz")
    rng = np.random.default_rng(0)
    refused = 0
    for trial in range(150):
        torn = bytearray(whole)
        if trial % 3 == 0:
            torn = torn[: rng.integers(len(whole))]
        else:
            at = rng.integers(len(whole) - 500 if trial % 3 == 1 else 0, len(whole), 4)
            for place in at:
                torn[place] ^= 1 << rng.integers(8)
        (tmp_path / "a.npz").write_bytes(torn)
        try:
            got = metric.read_metric(tmp_path / "a.npz")
        except (ConfigError, DataError):
            refused += 1
        else:
            np.testing.assert_array_equal(got.eigenvectors, known.eigenvectors)
    assert refused > 100


def test_negative_eigenvalues_become_zero():
    made = metric.make_metric([-0.5, 2.0, 1.0], np.eye(3))
    assert made.eigenvalues.tolist() == [2.0, 1.0, 0.0]
    assert made.eigenvectors[:, 0].tolist() == [0, 1, 0]


def test_a_small_file_that_stands_for_a_gigabyte_is_refused_by_its_header(tmp_path):
    """380 kB once became 766 MB before anybody looked at the shape."""
    path = tmp_path / "bomb.npz"
    size = 6000
    np.savez_compressed(
        path, eigvals=np.ones(size, "u1"), eigvects=np.zeros((size, size), "u1")
    )
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="must have another shape"):
            metric.read_metric(path, d=30)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(ConfigError, match="a pipe"):
        metric.read_metric(tmp_path / "pipe.npz")
