"""Linearity of responses that were made of a known part of the code."""

import numpy as np
import pytest

from evolver import generators
from evolver.comparisons.linearity import code_parts, linearity

RNG = np.random.default_rng(4)


def test_responses_made_of_one_part_are_linear_in_that_alone():
    codes = RNG.standard_normal((400, 12))
    parts = {"first": np.eye(12)[:, :4], "others": np.eye(12)[:, 4:]}
    responses = codes[:, :4] @ RNG.standard_normal((4, 6))
    first, others = linearity(codes, responses, parts)
    assert first.to_units.r2.min() > 0.999
    assert first.to_codes.r2.min() > 0.99  # six responses say all of four dimensions
    assert others.to_units.r2.max() < 0.1
    assert others.to_codes.r2.max() < 0.1
    assert (first.k, others.k, first.to_units.n_test) == (4, 8, 80)


def test_parts_are_the_generators_and_the_metrics():
    generator = generators.load("mini-object")
    axes = np.linalg.qr(RNG.standard_normal((128, 128)))[0]
    parts = code_parts(generator, metric=np.column_stack([axes]), seed=1)
    # Too few dimensions for the published ones: half of them.
    assert set(parts) == {"all", "class", "noise", "first 64", "last 64", "random 64"}
    np.testing.assert_array_equal(parts["class"].sum(axis=1), np.arange(128) < 64)
    texture = generators.load("mini-texture")
    axes = np.linalg.qr(RNG.standard_normal((256, 256)))[0]
    parts = code_parts(texture, metric=axes, seed=1)
    assert set(parts) == {"all", "first 128", "last 128", "random 128"}
    np.testing.assert_array_equal(parts["last 128"], axes[:, 128:])
    few = code_parts(texture, metric=axes[:, :32], seed=1)
    assert set(few) == {"all", "first 32", "random 128", "random 32"}
    assert parts["random 128"].T @ parts["random 128"] == pytest.approx(np.eye(128), abs=1e-12)
