"""Guided: the blind arm goes as it does alone, and the other moves on wins alone."""

import numpy as np
import pytest

from evolver.errors import ConfigError, DataError
from evolver.optimizers import Guided, load, state_from_dict, state_to_dict
from evolver.optimizers.within_axes import make_axes
from tests.optimizers.conformance import OptimizerConformance, hill

AXES = make_axes(np.linalg.qr(np.random.default_rng(3).standard_normal((20, 6)))[0].T)


class TestGuided(OptimizerConformance):
    d = 6
    generations = 16  # the model is asked after 60 codes

    def make(self, rng, **options):
        return Guided(self.d, rng=rng, popsize=8, sigma=0.5, **options)

    test_only_ranks_matter = None  # the spacing of scores reaches the model

    def test_scale_and_offset_of_scores_do_not_matter(self):  # but for rounding
        a = self.run(self.fresh(), self.generations)
        b = self.run(self.fresh(), self.generations, lambda x: 4 * hill(x) - 16)
        assert max(map(len, a)) > 8
        for x, y in zip(a, b, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-9)


class Wrong:
    """A model that is always wrong: down the slope of the hill."""

    @classmethod
    def fit(cls, codes, scores):
        del codes, scores
        return cls()

    def uphill(self, base, distance):
        away = base - 1
        return base + distance * away / np.linalg.norm(away)


def misguided(d=6, **options):
    return Guided(d, model="tests.optimizers.test_guided:Wrong", **options)


def run(optimizer, generations=40, score=hill):
    shown = []
    for _ in range(generations):
        codes = optimizer.ask()
        shown.append(codes)
        optimizer.tell(codes, score(codes))
    return shown


@pytest.mark.parametrize("kind", [Guided, misguided])
def test_the_blind_arm_goes_as_it_does_alone_and_wrong_models_get_few_images(kind):
    guided = kind(6, rng=np.random.default_rng(1), popsize=10, sigma=0.3)
    shown = run(guided)
    alone = run(load("snes", 6, rng=np.random.default_rng(1), popsize=10, sigma=0.3))
    np.testing.assert_array_equal([codes[:10] for codes in shown], alone)
    further = [len(codes) - 10 for codes in shown]
    assert set(further[:6]) == {0}  # nothing to fit yet
    assert all(n % 2 == 0 for n in further)
    if kind is misguided:
        assert sum(further) == 2 * 2 * len(range(8, 40, 4))  # one candidate every fourth
        assert guided.state.level == 0
    else:  # of a smooth function it is right: its arm is ahead, and shows more
        assert max(further) >= 6
        ahead = max(hill(codes).max() for codes in shown[:12])
        assert ahead > 2 * max(hill(codes).max() for codes in alone[:12])


def judged(scores, rows=None):
    guided = misguided(6, rng=np.random.default_rng(1), popsize=10, sigma=0.3)
    run(guided, 8)
    codes = guided.ask()
    assert len(codes) == 14
    every = np.concatenate([hill(codes[:10]) - 1e3, scores])
    rows = np.arange(14) if rows is None else np.array([*range(10), *rows])
    guided.tell(codes[rows], every[rows])
    return guided.state, codes


def test_one_win_by_less_than_its_error_moves_nothing():
    state, codes = judged([0.0, 2.0, 0.5, 2.5])
    np.testing.assert_array_equal(state.base, codes[10])
    assert (state.level, state.base_score) == (0, 1.0)
    state, codes = judged([0.0, 0.1, 1.0, 1.1])
    np.testing.assert_array_equal(state.base, codes[12])
    assert (state.level, state.base_score) == (1, 1.05)


def test_showings_that_were_lost_decide_nothing():
    for rows in ((10, 11), (12, 13), ()):
        state, codes = judged([0.0, 0.1, 1.0, 1.1], rows)
        np.testing.assert_array_equal(state.base, codes[10])
        assert (state.level, state.reach) == (0, 0.5)
    state, codes = judged(
        [0.0, 0.1, 1.0, 1.1], (10, 11, 13)
    )  # the mean of those that are there
    np.testing.assert_array_equal(state.base, codes[12])
    state, _ = judged([0.0, 0.1, 1.0, 1.1], (10, 13))  # one each: no error to compare with
    assert state.level == 0


def test_a_generation_of_the_guided_arm_alone_teaches_nothing():
    guided = misguided(6, rng=np.random.default_rng(1), popsize=10, sigma=0.3)
    run(guided, 8)
    codes = guided.ask()
    with pytest.raises(DataError, match="at least some of the blind arm's"):
        guided.tell(codes[10:], np.zeros(4))
    guided.tell(codes, hill(codes))


class Broken(Wrong):
    def uphill(self, base, distance):
        del distance
        return base * np.nan


class Raises(Wrong):
    @classmethod
    def fit(cls, codes, scores):
        raise RuntimeError(f"out of ideas about {len(codes)} codes and {len(scores)} scores")


@pytest.mark.parametrize("model", ["Broken", "Raises"])
def test_a_model_that_fails_misses_its_turn(model, logged):
    guided = Guided(
        6,
        rng=np.random.default_rng(1),
        popsize=10,
        model=f"tests.optimizers.test_guided:{model}",
    )
    assert {len(codes) for codes in run(guided, 12)} == {10}
    assert "the guided arm misses its turn" in logged.getvalue()


def test_along_axes_it_goes_on_with_the_same_bits():
    def fresh():
        rng = np.random.default_rng(1)
        return load("guided", 20, rng=rng, axes=AXES, popsize=10, sigma=0.5), rng

    whole, _ = fresh()
    expected = run(whole, 30)
    first, rng = fresh()
    run(first, 17)
    kept, at = state_to_dict(first.state), rng.bit_generator.state
    rng = np.random.default_rng(5)
    rng.bit_generator.state = at
    again = type(first).from_state(state_from_dict(type(first.state), kept), rng=rng, axes=AXES)
    for now, then in zip(run(again, 13), expected[17:], strict=True):
        np.testing.assert_array_equal(now, then)
    assert max(map(len, expected)) > 10


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"optimizer": "guided"}, "no sphere, and none of composite, guided; got 'guided'"),
        ({"optimizer": "sphere"}, "got 'sphere'"),
        ({"optimizer": "adam"}, "got 'adam'"),
        ({"repeats": 1}, "repeats must be a whole number >= 2"),
        ({"repeats": 11}, "repeats must be at most 10"),
        ({"model": "tea"}, "model must be 'gp', or 'module:Class'"),
        ({"model": "no_such:Model"}, "must be importable, as module:attr"),
        ({"model": "tests.optimizers.test_guided:AXES"}, "must be a class with fit"),
        ({"sigmaa": 1}, "optimizer 'snes' takes the options"),
    ],
)
def test_what_it_cannot_be_made_of(options, match):
    with pytest.raises(ConfigError, match=match):
        Guided(6, rng=np.random.default_rng(1), **options)


def test_it_is_no_part_of_a_composite():
    parts = [{"slice": [0, 6], "optimizer": "guided"}]
    with pytest.raises(ConfigError, match="equally many codes in every generation"):
        load("composite", 6, rng=np.random.default_rng(1), parts=parts)
