"""What every optimizer must do; subclass, name it `Test...`, and supply `make`."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evolver.errors import DataError, OrderError
from evolver.optimizers import state_from_dict, state_to_dict
from scorers.known import Ellipsoid
from tests.soak import examples, further


def hill(codes):
    """Score codes by their nearness to 1; no two codes drawn at random are equal."""
    return Ellipsoid(np.ones(codes.shape[1]))(codes)


ODD_SCORES = st.sampled_from([-1e308, -1.0, -0.0, 0.0, 5e-324, 1.0, 1e308])


class OptimizerConformance:
    d = 6
    learns = True
    generations = 12
    """Of a run that several are needed of: fewer where each is dear."""

    def make(self, rng, **options):
        """Return a new optimizer of `self.d` dimensions."""
        raise NotImplementedError

    def fresh(self, seed=7, **options):
        return self.make(np.random.default_rng(seed), **options)

    def run(self, optimizer, generations, score=hill):
        """Run and return the codes of every generation."""
        asked = []
        for _ in range(generations):
            codes = optimizer.ask()
            optimizer.tell(codes, score(codes))
            asked.append(codes)
        return asked

    def test_codes_have_the_shape_asked_for(self):
        optimizer = self.fresh()
        assert optimizer.d == self.d
        codes = optimizer.ask()
        assert codes.shape == (optimizer.popsize, self.d)
        assert codes.flags.writeable
        assert codes.dtype == np.float64
        assert np.isfinite(codes).all()

    def test_same_seed_same_codes(self):
        n = self.generations
        self.same(self.run(self.fresh(), n), self.run(self.fresh(), n))

    def test_another_seed_other_codes(self):
        assert not np.array_equal(self.fresh(7).ask(), self.fresh(8).ask())

    def test_learns_from_scores(self):
        up, down = self.fresh(), self.fresh()
        self.run(up, 1), self.run(down, 1, lambda x: -hill(x))
        assert np.allclose(up.ask(), down.ask()) != self.learns

    @pytest.mark.parametrize(
        "monotone", [lambda f: 1 / (1 - f), *map(further, (lambda f: 5 * f + 3, np.cbrt))]
    )
    def test_only_ranks_matter(self, monotone):
        """Of all but those that say that the spacing of scores reaches them."""
        a = self.run(self.fresh(), self.generations)
        b = self.run(self.fresh(), self.generations, lambda x: monotone(hill(x)))
        self.same(a, b)

    def test_scale_and_offset_of_scores_do_not_matter(self):
        a = self.run(self.fresh(), self.generations)
        b = self.run(self.fresh(), self.generations, lambda x: 4 * hill(x) - 16)
        self.same(a, b)

    @staticmethod
    def same(a, b):
        """Compare two lists of populations, of which those of one may differ in size."""
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)

    def test_order_of_rows_is_irrelevant(self):
        a, b = self.fresh(), self.fresh()
        shuffle = np.random.default_rng(0)
        for _ in range(self.generations):
            x, y = a.ask(), b.ask()
            np.testing.assert_array_equal(y, x)
            # A tie among the best, too: it must not be broken by where a row stands.
            f = np.floor(2 * hill(x))
            order = shuffle.permutation(len(y))
            a.tell(x, f)
            b.tell(y[order], f[order])

    def test_arguments_untouched(self):
        optimizer = self.fresh()
        for _ in range(3):
            codes = optimizer.ask()
            scores = hill(codes)
            before = codes.copy(), scores.copy()
            optimizer.tell(codes, scores)
            np.testing.assert_array_equal(codes, before[0])
            np.testing.assert_array_equal(scores, before[1])

    def test_what_the_caller_does_to_its_codes_is_its_own_affair(self):
        a, b = self.fresh(), self.fresh()
        codes = a.ask()
        kept = codes.copy()
        codes[:] = 0
        a.tell(kept, hill(kept))
        self.run(b, 1)
        np.testing.assert_array_equal(a.ask(), b.ask())

    def test_ignores_and_leaves_the_global_stream(self):
        np.random.seed(1)  # noqa: NPY002  the very thing that must not matter
        a = self.run(self.fresh(), 3)
        left = np.random.random()  # noqa: NPY002
        np.random.seed(1)  # noqa: NPY002
        assert np.random.random() == left  # noqa: NPY002
        self.same(a, self.run(self.fresh(), 3))

    def test_stream_position_follows_the_number_of_generations_alone(self):
        positions = []
        for score, drop in ((hill, 0), (lambda x: -hill(x), 0), (lambda x: 0 * x[:, 0], 3)):
            rng = np.random.default_rng(3)
            optimizer = self.make(rng)
            for _ in range(5):
                codes = optimizer.ask()[drop:]
                optimizer.tell(codes, score(codes))
            positions.append(rng.bit_generator.state)
        assert positions[0] == positions[1] == positions[2]

    @pytest.mark.parametrize("bad", [np.nan, *map(further, (np.inf, -np.inf))])
    def test_refuses_missing_score_and_can_be_told_again(self, bad):
        optimizer, other = self.fresh(), self.fresh()
        codes = optimizer.ask()
        scores = hill(codes)
        spoilt = scores.copy()
        spoilt[2] = bad
        with pytest.raises(DataError, match=r"scores must be finite; rows \[2\]"):
            optimizer.tell(codes, spoilt)
        optimizer.tell(codes, scores)
        self.run(other, 1)
        np.testing.assert_array_equal(optimizer.ask(), other.ask())

    def test_refuses_codes_that_are_not_finite(self):
        optimizer = self.fresh()
        codes = optimizer.ask()
        codes[1, 0] = np.nan
        with pytest.raises(DataError, match=r"codes must be finite; rows \[1\]"):
            optimizer.tell(codes, np.arange(len(codes)))

    def test_wrong_shapes_are_named(self):
        optimizer = self.fresh()
        codes = optimizer.ask()
        n, d = codes.shape
        with pytest.raises(DataError, match=rf"codes .*\(n, {d}\); got \({n}, {d - 1}\)"):
            optimizer.tell(codes[:, 1:], hill(codes))
        with pytest.raises(DataError, match=rf"codes .*\(n, {d}\); got \({d},\)"):
            optimizer.tell(codes[0], hill(codes)[0])
        with pytest.raises(DataError, match=rf"scores .*\({n},\).* got \({n - 1},\)"):
            optimizer.tell(codes, hill(codes)[1:])
        with pytest.raises(DataError, match=rf"scores .*\({n},\).* got \({n}, 1\)"):
            optimizer.tell(codes, hill(codes)[:, None])

    def test_any_subset_may_be_told(self):
        optimizer = self.fresh()
        picks = np.random.default_rng(1)
        for _ in range(self.generations):
            codes = optimizer.ask()
            n = len(codes)
            codes = codes[picks.permutation(n)[: picks.integers(n // 2, n + 1)]]
            optimizer.tell(codes, hill(codes))
        assert np.isfinite(optimizer.ask()).all()

    def test_too_few_codes_are_refused(self):
        optimizer = self.fresh()
        codes = optimizer.ask()
        with pytest.raises(DataError, match="at least"):
            optimizer.tell(codes[:0], np.zeros(0))

    def test_codes_not_asked_for_are_refused(self):
        optimizer = self.fresh()
        codes = optimizer.ask()
        foreign = codes.copy()
        foreign[3] += 1e-9
        with pytest.raises(DataError, match="row 3 is none of them"):
            optimizer.tell(foreign, hill(foreign))
        twice = codes[[0, 1, 2, 1]]
        with pytest.raises(DataError, match="row 3 comes again"):
            optimizer.tell(twice, hill(twice))

    def test_ask_and_tell_take_turns(self):
        optimizer = self.fresh()
        with pytest.raises(OrderError, match="ask"):
            optimizer.tell(np.zeros((4, self.d)), np.zeros(4))
        codes = optimizer.ask()
        with pytest.raises(OrderError, match="tell"):
            optimizer.ask()
        optimizer.tell(codes, hill(codes))
        with pytest.raises(OrderError, match="ask"):
            optimizer.tell(codes, hill(codes))

    @pytest.mark.parametrize("done", [0, *map(further, (1, 4, 10)), 13, further(20)])
    def test_resume_is_bit_identical(self, done):
        rng = np.random.default_rng(7)
        optimizer = self.make(rng)
        self.run(optimizer, done)
        saved, position = state_to_dict(optimizer.state), rng.bit_generator.state
        asked = optimizer.ask()  # the session dies here, in the middle of a generation
        optimizer.tell(asked, hill(asked))
        expected = [asked, *self.run(optimizer, self.generations)]

        resumed_rng = np.random.default_rng()
        resumed_rng.bit_generator.state = position
        state = state_from_dict(type(optimizer).state_type, saved)
        resumed = self.go_on(type(optimizer), state, resumed_rng)
        self.same(self.run(resumed, len(expected)), expected)

    def go_on(self, kind, state, rng):
        return kind.from_state(state, rng=rng)

    @pytest.mark.parametrize("done", [0, 3])
    def test_adopted_codes_take_the_place_of_those_asked_for(self, done):
        optimizer = self.fresh()
        with pytest.raises(OrderError, match="ask"):
            optimizer.adopt(np.zeros((4, self.d)))
        self.run(optimizer, done)
        codes = optimizer.ask()
        other = codes * (1 + 1e-9) + 1e-9
        for wrong in (other[1:], other * np.nan):
            with pytest.raises(DataError, match="finite and of shape"):
                optimizer.adopt(wrong)
        optimizer.adopt(other)
        with pytest.raises(DataError, match="row 0 is none of them"):
            optimizer.tell(codes, hill(codes))
        optimizer.tell(other, hill(other))
        close = self.fresh()
        self.run(close, done + 1)
        np.testing.assert_allclose(optimizer.ask(), close.ask(), rtol=1e-6, atol=1e-6)

    def test_a_state_kept_aside_does_not_change(self):
        optimizer = self.fresh()
        self.run(optimizer, 2)
        state = optimizer.state
        before = state_to_dict(state)
        self.run(optimizer, self.generations)
        for name, value in state_to_dict(state).items():
            np.testing.assert_array_equal(value, before[name], err_msg=name)

    def test_silent_unit(self):
        optimizer = self.fresh()
        codes = self.run(optimizer, 2 * self.generations, lambda x: np.zeros(len(x)))
        assert all(np.isfinite(population).all() for population in codes)

    @settings(examples(0.2), suppress_health_check=[HealthCheck.differing_executors])
    @given(data=st.data(), seed=st.integers(0, 99))
    def test_any_scores_of_any_subset(self, data, seed):
        """Scores tied, silent, enormous; codes lost: finite for ever, and saved exactly."""
        optimizer = self.fresh(seed)
        for _ in range(min(4, self.generations)):
            codes = optimizer.ask()
            n = len(codes)
            assert np.isfinite(codes).all()
            told = data.draw(st.permutations(range(n)))[: data.draw(st.integers(2, n))]
            scores = data.draw(st.lists(ODD_SCORES, min_size=len(told), max_size=len(told)))
            optimizer.tell(codes[told], scores)
            saved = state_to_dict(optimizer.state)
            for name, value in saved.items():
                assert np.isfinite(value).all(), name
            kind = type(optimizer)
            copy = state_from_dict(kind.state_type, saved)
            again = self.go_on(kind, copy, np.random.default_rng(1))
            other = self.go_on(kind, optimizer.state, np.random.default_rng(1))
            np.testing.assert_array_equal(again.ask(), other.ask())

    def test_a_state_with_values_that_are_not_finite_is_refused(self):
        optimizer = self.fresh()
        self.run(optimizer, 2)
        saved = state_to_dict(optimizer.state)
        names = [k for k, v in saved.items() if isinstance(v, np.ndarray) and v.size]
        assert names
        for name in names:
            spoilt = np.full_like(saved[name], np.nan)
            with pytest.raises(DataError):
                self.go_on(
                    type(optimizer),
                    state_from_dict(type(optimizer).state_type, saved | {name: spoilt}),
                    np.random.default_rng(0),
                )
