"""Guided: the blind arm goes as it does alone, and the other moves on wins alone."""

import asyncio
import re

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


class Late(Wrong):
    """One that is well until it has seen more than it is tried on."""

    m = 0

    @classmethod
    def fit(cls, codes, scores):
        self = cls()
        self.m = min(len(codes), len(scores))
        return self

    def uphill(self, base, distance):
        return super().uphill(base, distance) if self.m <= 60 else self.late(base, distance)


class NotANumber(Late):
    def late(self, base, _distance):
        return base * np.nan


class TooFar(Late):
    def late(self, base, distance):
        return base + 2 * distance


class Huge(Late):
    def late(self, base, _distance):
        return base + 1e300


class OtherShape(Late):
    def late(self, base, _distance):
        return np.concatenate([base, base])


class Complex(Late):
    def late(self, base, _distance):
        return base + 1j


class Nothing(Late):
    def late(self, _base, _distance):
        return None


class Exits(Late):
    def late(self, _base, _distance):
        raise SystemExit(3)


class Raises(Late):
    def late(self, _base, _distance):
        raise RuntimeError("out of \x1b[31mideas\nand of lines")


class NoWordsError(Exception):
    def __str__(self):
        raise ValueError


class Speechless(Late):
    def late(self, _base, _distance):
        raise NoWordsError


class Cancelled(Late):
    def late(self, _base, _distance):
        raise asyncio.CancelledError


FAILURES = {
    "Speechless": "fails, NoWordsError$",
    "Cancelled": "fails, CancelledError$",
    "NotANumber": "at most .* from base; its is nan away",
    "TooFar": "at most .* from base; its is",
    "Huge": r"its is (inf|\S+e\+300) away",
    "OtherShape": r"numbers of shape \(6,\); it returns float64 of shape \(12,\)",
    "Complex": "it returns complex128",
    "Nothing": "it returns object",
    "Exits": "SystemExit: 3",
    "Raises": r"RuntimeError: out of ·\[31mideas and of lines$",
}


def own(model):
    return f"tests.optimizers.test_guided:{model}"


@pytest.mark.parametrize(("model", "words"), FAILURES.items())
@pytest.mark.parametrize("axes", [None, AXES])
def test_a_model_that_fails_misses_its_turns_and_says_so(model, words, axes):
    d = 6 if axes is None else 20
    rng = np.random.default_rng(1)
    guided = load("guided", d, rng=rng, popsize=10, sigma=0.5, axes=axes, model=own(model))
    said = []
    for _ in range(14):
        codes = guided.ask()
        assert len(codes) == 10
        said.append(guided.notice)
        guided.tell(codes, hill(codes))
    assert [bool(text) for text in said] == [i in {8, 12} for i in range(14)]
    assert said[8].startswith("the guided arm misses its turns: model 'tests.optimizers")
    assert re.search(words, said[8])


class Ordinary:
    def fit(self, codes, scores):
        del codes, scores
        return self

    def uphill(self, base, distance):
        return base + distance


class FitsNothing(Wrong):
    @classmethod
    def fit(cls, codes, scores):
        del codes, scores


class NoFit:
    def uphill(self, base, distance):
        return base + distance


an_instance = Wrong()


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
        ({"optimizer": 3}, "optimizer must be a name, which is a text; got 3"),
        ({"repeats": 1}, "repeats must be a whole number from 2 to 10; got 1"),
        ({"repeats": 11}, "repeats must be a whole number from 2 to 10; got 11"),
        ({"model": "tea"}, "model must be 'gp', or 'module:Class'"),
        ({"model": "no_such:Model"}, "must be importable, as module:attr"),
        ({"model": own("AXES")}, "must be a class .* no fit and no uphill"),
        ({"model": own("NoFit")}, "must be a class .*; it has no fit$"),
        ({"model": own("an_instance")}, "must be a class with the methods .*; it is none"),
        ({"model": own("Ordinary")}, "tried on 60 random codes, .* it fails: TypeError"),
        (
            {"model": own("FitsNothing")},
            "tried on 60 random codes, .*: AttributeError",
        ),
        ({"sigmaa": 1}, "'guided' takes the options .*repeats.*; did you mean 'sigma'"),
        ({"repeets": 3}, "'guided' takes the options .*; did you mean 'repeats'"),
    ],
)
def test_what_it_cannot_be_made_of(options, match):
    with pytest.raises(ConfigError, match=match):
        Guided(6, rng=np.random.default_rng(1), **options)


def test_it_is_no_part_of_a_composite():
    parts = [{"slice": [0, 6], "optimizer": "guided"}]
    with pytest.raises(ConfigError, match="equally many codes in every generation"):
        load("composite", 6, rng=np.random.default_rng(1), parts=parts)
