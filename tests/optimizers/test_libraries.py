"""Other libraries' optimizers: the same conformance, replayed states, the libraries' codes."""

from dataclasses import replace

import cma
import cmaes
import numpy as np
import pytest

from evolver.errors import ConfigError, DataError
from evolver.optimizers import load, state_from_dict, state_to_dict
from evolver.optimizers.libraries.cmaes import Cmaes
from evolver.optimizers.libraries.engine import (
    complete,
    ranked_losses,
)
from evolver.optimizers.libraries.nevergrad import Nevergrad
from evolver.optimizers.libraries.pycma import PyCMA
from tests.optimizers.conformance import OptimizerConformance, hill
from tests.soak import further


class TestPyCMA(OptimizerConformance):
    generations = 6

    def make(self, rng, **options):
        return load("pycma", self.d, rng=rng, **options)


@pytest.mark.soak  # as pycma itself
class TestPyCMADiagonal(TestPyCMA):
    def make(self, rng, **options):
        given = np.random.default_rng(99).normal(size=(11, self.d))
        return load(
            "pycma", self.d, rng=rng, initial=given, popsize=11, diagonal=True, **options
        )

    def test_another_seed_other_codes(self):
        a, b = self.fresh(7), self.fresh(8)
        assert not np.array_equal(self.run(a, 2)[1], self.run(b, 2)[1])


class TestCmaes(OptimizerConformance):
    algorithm = "SepCMA"

    def make(self, rng, **options):
        return load("cmaes", self.d, rng=rng, popsize=12, algorithm=self.algorithm, **options)


@pytest.mark.soak  # as its diagonal
class TestCmaesFull(TestCmaes):
    algorithm = "CMA"


@pytest.mark.soak  # as its diagonal
class TestCmaesNatural(TestCmaes):
    algorithm = "XNES"


@pytest.mark.soak  # see test_goes_on_bit_for_bit
class TestNevergrad(OptimizerConformance):
    test_only_ranks_matter = None  # the spacing of scores reaches it
    generations = 3
    algorithm = "DiagonalCMA"

    def make(self, rng, **options):
        return load("nevergrad", self.d, rng=rng, algorithm=self.algorithm, **options)


class TestNevergradEvolution(TestNevergrad):
    algorithm = "OnePlusOne"


@pytest.mark.soak  # see test_goes_on_bit_for_bit
class TestEvosax(OptimizerConformance):
    test_only_ranks_matter = None  # the spacing of scores reaches it
    generations = 5
    algorithm = "SNES"  # as in `test_climbs`: of one size, it is compiled once

    def make(self, rng, **options):
        return load("evosax", self.d, rng=rng, algorithm=self.algorithm, **options)


class TestEvosaxCMA(TestEvosax):
    algorithm = "Sep_CMA_ES"


@pytest.mark.parametrize("tests", [TestNevergrad, TestEvosax])
def test_goes_on_bit_for_bit(tests):
    tests().test_resume_is_bit_identical(4)


def test_cmaes_is_the_library_itself():
    ours = Cmaes(6, rng=np.random.default_rng(0), popsize=12, sigma=0.7, initial=np.ones(6))
    theirs = cmaes.SepCMA(mean=np.ones(6), sigma=0.7, population_size=12, seed=ours.state.seed)
    for _ in range(15):
        codes = np.array([theirs.ask() for _ in range(12)])
        np.testing.assert_array_equal(ours.ask(), codes)
        ours.tell(codes, hill(codes))
        theirs.tell([(x, -y) for x, y in zip(codes, hill(codes), strict=True)])


def test_pycma_is_the_library_itself():
    ours = PyCMA(6, rng=np.random.default_rng(0), popsize=12, sigma=0.7, initial=np.ones(6))
    options = {"popsize": 12, "seed": ours.state.seed, "verbose": -9}
    theirs = cma.CMAEvolutionStrategy(np.ones(6), 0.7, options)
    for _ in range(15):
        codes = np.array(theirs.ask())
        np.testing.assert_array_equal(ours.ask(), codes)
        ours.tell(codes, hill(codes))
        theirs.tell(list(codes), list(-hill(codes)))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        further("pycma", {}),
        ("pycma", {"diagonal": True, "options": {"CMA_active": False}}),
        ("cmaes", {}),
        further("nevergrad", {}),
        further("evosax", {"algorithm": "SNES"}),
    ],
)
def test_climbs(name, options):
    optimizer = load(name, 6, rng=np.random.default_rng(0), sigma=0.5, **options)
    for _ in range(60):
        codes = optimizer.ask()
        optimizer.tell(codes, hill(codes))
    assert hill(codes).max() > -0.05


def test_a_replay_goes_through_adopted_codes():
    tests = TestCmaes()
    optimizer = tests.fresh()
    tests.run(optimizer, 2)
    other = optimizer.ask() + 0.5
    optimizer.adopt(other)
    optimizer.tell(other[2:], hill(other)[2:])
    tests.run(optimizer, 2)
    saved = state_to_dict(optimizer.state)
    assert saved["adopted"].shape == (12, 6)
    again = Cmaes.from_state(
        state_from_dict(Cmaes.state_type, saved), rng=np.random.default_rng()
    )
    tests.same(tests.run(again, 5), tests.run(optimizer, 5))


def test_nevergrad_takes_no_codes_but_its_own():
    optimizer = Nevergrad(6, rng=np.random.default_rng(0))
    other = optimizer.ask() + 1
    optimizer.adopt(other)
    with pytest.raises(DataError, match="of its own codes alone"):
        optimizer.tell(other, hill(other))


def test_the_state_is_small():
    optimizer = Cmaes(4096, rng=np.random.default_rng(0), popsize=20)
    for _ in range(20):
        codes = optimizer.ask()
        optimizer.tell(codes, codes[:, 0])
    held = sum(np.asarray(v).nbytes for v in state_to_dict(optimizer.state).values())
    assert held < 60_000  # of which 33 kB are where it began


def test_ranks_share_among_ties():
    np.testing.assert_array_equal(
        ranked_losses(np.array([1.0, 3, 3, -9, 7])), [3, 1.5, 1.5, 4, 0]
    )


@pytest.mark.parametrize("told", [2, 5, 7, 8])
def test_lost_codes_are_made_up_for_evenly(told):
    rows = np.arange(told)
    losses = np.arange(float(told))[::-1]
    filled, values = complete(rows, losses, 8)
    assert len(filled) == len(values) == 8
    np.testing.assert_array_equal(filled[:told], rows)
    np.testing.assert_array_equal(values, losses[filled])
    counts = np.bincount(filled, minlength=told)
    assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("pycma", "cma", "pycma"),
        ("cmaes", "cmaes", "cmaes"),
        ("nevergrad", "nevergrad", "nevergrad"),
        ("evosax", "jax", "evosax"),
    ],
)
def test_a_missing_library_is_named(monkeypatch, name, module, extra):
    import sys

    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=rf"needs {module}.*pip install 'evolver\[{extra}\]'"):
        load(name, 6, rng=np.random.default_rng(0))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("pycma", {"options": {"popsize": 3}}, "no option popsize that may be set"),
        ("pycma", {"options": {"spam": 3}}, "no option spam"),
        ("pycma", {"options": {"tolx": {1, 2}}}, "numbers, texts and lists"),
        ("cmaes", {"algorithm": "DE"}, "algorithm must be one of CMA, .* got 'DE'"),
        ("nevergrad", {"algorithm": "spam"}, "registry; got 'spam'"),
        ("nevergrad", {"budget": 0}, "budget must be a whole number"),
        ("evosax", {"algorithm": "spam"}, "algorithm must be one of .*got 'spam'"),
        ("cmaes", {"popsize": 3}, "popsize must be a whole number >= 4"),
        ("cmaes", {"sigma": -1}, "sigma must be a number > 0"),
    ],
)
def test_settings_out_of_range_are_named(name, options, message):
    with pytest.raises(ConfigError, match=message):
        load(name, 6, rng=np.random.default_rng(0), **options)


@pytest.mark.parametrize(
    "change",
    [
        {"counts": np.array([3.0])},
        {"rows": np.array([0.5])},
        {"popsize": 1},
        {"scores": np.zeros((2, 2))},
    ],
)
def test_a_state_that_does_not_fit_is_refused(change):
    state = replace(TestCmaes().fresh().state, **change)
    with pytest.raises(DataError, match="of the state"):
        Cmaes.from_state(state, rng=np.random.default_rng(0))
