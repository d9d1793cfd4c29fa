"""What every kind of fitness must do, whatever it scores."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest

from evolver.config.fitness_table import FitnessTable
from evolver.errors import ConfigError, DataError
from evolver.journal.records import PlannedPresentation
from evolver.session.fitness import Fitness, Target
from evolver.session.fitness_record import fitness_text, recorded_fitness
from evolver.session.fitness_state import FitnessState
from evolver.session.scoring import REFERENCE, answers_of, followed, score_block
from rig_bridge.forms import FORMS
from rig_bridge.trials import TrialResult
from tests.soak import further

LABELS = tuple("abcdef")
EDGES = np.arange(-100.0, 301.0, 10)
REFERENCES, IMAGES, REPEATS = 3, 5, 3


def response(form, rng, *, gain=1.0):
    """Return what a population of six units answers, in a form."""
    if form == "rates":
        return {"rates": gain * rng.gamma(2.0, 10.0, len(LABELS))}
    n = rng.poisson(gain * np.arange(4, 4 + len(LABELS)))
    units = np.repeat(np.arange(len(LABELS)), n).astype("<u4")
    # On whole milliseconds, so that no bin's edge is a matter of digits.
    times = rng.integers(-100, 300, len(units)).astype("<f4")
    if form == "spikes":
        return {"units": units, "times_ms": times}
    counts = np.zeros((len(LABELS), len(EDGES) - 1), "<u2")
    places = units * counts.shape[1] + ((times + 100) // 10).astype(int)
    counts[:] = np.bincount(places, minlength=counts.size).reshape(counts.shape)
    return {"counts": counts, "edges_ms": EDGES}


def planned_block():
    """Return the presentations of a block: references, and two threads' images, repeated."""
    groups = {REFERENCE: REFERENCES, 0: IMAGES, 1: IMAGES}
    plans = [
        (thread, row, repeat)
        for repeat in range(REPEATS)
        for thread, n in groups.items()
        for row in range(n)
    ]
    return {
        number: PlannedPresentation(number, thread, row, repeat, 100.0, 50.0)
        for number, (thread, row, repeat) in enumerate(plans)
    }


def result(number, form, arrays, *, attempt=1, ok=True):
    return TrialResult(
        presentation=number,
        attempt=attempt,
        status="ok" if ok else "aborted",
        reason="" if ok else "fixation",
        commanded_ns=0,
        onset_ns=0,
        offset_ns=0,
        onset_source="simulated",
        form=form,
        arrays=arrays,
    )


def answered(form, seed, *, gain=1.0):
    rng = np.random.default_rng(seed)
    return [result(n, form, response(form, rng, gain=gain)) for n in planned_block()]


def resolve(table, target=None):
    return Fitness.resolve(table, LABELS, key="fitness", target=target)


def commit(fitnesses, states, responses):
    """Score a block; return its scores and what is known then."""
    answers = answers_of(planned_block().get, fitnesses, responses)
    states = followed(fitnesses, states, answers)
    scores = score_block(
        fitnesses, states, answers, images={0: IMAGES, 1: IMAGES}, references=REFERENCES
    )
    return scores, states


def numbers(scores):
    """Return everything that was scored, as one list of arrays."""
    pairs = [array for pair in scores.threads.values() for array in pair]
    return [*pairs, *scores.references, *scores.levels]


def assert_same(one, other):
    for a, b in zip(numbers(one), numbers(other), strict=True):
        np.testing.assert_array_equal(a, b)


def assert_same_state(one, other):
    for name in FitnessState.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


class FitnessConformance:
    """Give it a `table`, and a `target` where the table names one from outside."""

    table: FitnessTable
    target: Target | None = None
    in_each_form = False  # in every run; forms are the same code's for all kinds

    @property
    def fitness(self):
        return resolve(self.table, self.target)

    def run(self, blocks):
        """Score blocks of responses one after the other; return all scores, all states."""
        fitnesses = [self.fitness, resolve(FitnessTable((0,)))]
        states, scores, known = [FitnessState(), FitnessState()], [], []
        for responses in blocks:
            block, states = commit(fitnesses, states, responses)
            scores.append(block)
            known.append(states[0])
        return scores, known

    def pytest_generate_tests(self, metafunc):
        """Try every form of response that the kind can use; of most kinds, in a soak."""
        if "form" in metafunc.fixturenames:
            first, *others = metafunc.cls().fitness.forms
            if not metafunc.cls.in_each_form:
                others = map(further, others)
            metafunc.parametrize("form", [first, *others])

    def test_scores_are_finite_numbers_one_an_image(self, form):
        (scores, *_), _ = self.run([answered(form, 1)])
        mean, sem = scores.threads[0]
        assert mean.shape == sem.shape == (IMAGES,)
        assert mean.dtype == sem.dtype == np.float64
        assert np.isfinite(mean).all()
        assert np.isfinite(sem).all()
        assert len(set(mean.tolist())) > 1

    def test_silence_and_a_storm_have_scores_too(self, form):
        for gain in (0.0, 1000.0):
            (scores, *_), _ = self.run([answered(form, 1, gain=gain)])
            assert np.isfinite(scores.threads[0][0]).all()

    def test_the_same_responses_give_the_same_scores_in_whatever_order(self, form):
        blocks = [answered(form, seed) for seed in (1, 2, 3)]
        first, known = self.run(blocks)
        rng = np.random.default_rng(0)
        shuffled = [[block[i] for i in rng.permutation(len(block))] for block in blocks]
        again, known_again = self.run(shuffled)
        for a, b in zip(first, again, strict=True):
            assert_same(a, b)
        for a, b in zip(known, known_again, strict=True):
            assert_same_state(a, b)

    def test_an_aborted_showing_counts_for_nothing(self, form):
        block = answered(form, 1)
        lost = [n for n, p in planned_block().items() if (p.thread, p.row) == (0, 2)]
        without = [r for r in block if r.presentation not in lost[:1]]
        aborted = [
            *without,
            result(lost[0], form, response(form, np.random.default_rng(9)), ok=False),
        ]
        (a, *_), _ = self.run([without])
        (b, *_), _ = self.run([aborted])
        assert_same(a, b)
        (whole, *_), _ = self.run([[r for r in block if r.presentation not in lost]])
        mean, sem = whole.threads[0]
        assert np.isnan(mean[2])
        assert np.isnan(sem[2])
        assert np.isfinite(np.delete(mean, 2)).all()

    def test_no_generation_is_scored_with_what_came_after_it(self, form):
        blocks = [answered(form, seed) for seed in (1, 2, 3)]
        short, _ = self.run(blocks[:2])
        whole, _ = self.run(blocks)
        for a, b in zip(short, whole[:2], strict=True):
            assert_same(a, b)

    def test_responses_are_left_as_they_were(self, form):
        block = answered(form, 1)
        before = [{k: v.copy() for k, v in r.arrays.items()} for r in block]
        self.run([block])
        for r, arrays in zip(block, before, strict=True):
            for name, array in arrays.items():
                np.testing.assert_array_equal(r.arrays[name], array)

    def test_minimising_turns_the_sign_and_nothing_else(self, form):
        blocks = [answered(form, seed) for seed in (1, 2)]
        up, _ = self.run(blocks)
        turned = type("Turned", (type(self),), {})()
        turned.table = msgspec.structs.replace(self.table, minimise=not self.table.minimise)
        down, _ = turned.run(blocks)
        for a, b in zip(up, down, strict=True):
            np.testing.assert_array_equal(a.threads[0][0], -b.threads[0][0])
            np.testing.assert_array_equal(a.threads[0][1], b.threads[0][1])
        assert turned.fitness.unit != self.fitness.unit

    def test_spikes_and_their_counts_agree(self):
        rng = np.random.default_rng(4)
        spikes = response("spikes", rng)
        counts = response("counts", np.random.default_rng(4))
        a, b = (
            self.fitness.response(f, r) for f, r in (("spikes", spikes), ("counts", counts))
        )
        np.testing.assert_allclose(a, b)

    def test_the_record_says_all_that_a_score_is_made_with(self, form):
        """A fitness made of its record alone gives the same scores and learns the same."""
        text = fitness_text(self.table, self.fitness)
        again = recorded_fitness(text, len(LABELS))
        assert json.loads(text)["unit"] == self.fitness.unit == again.unit
        blocks = [answered(form, seed) for seed in (1, 2)]
        expected, known = self.run(blocks)
        states = [FitnessState(), FitnessState()]
        for responses, scores, state in zip(blocks, expected, known, strict=True):
            got, states = commit([again, resolve(FitnessTable((0,)))], states, responses)
            assert_same(got, scores)
            assert_same_state(states[0], state)

    def test_a_form_without_time_is_refused_where_time_is_needed(self):
        fitness = self.fitness
        refused = [form for form in FORMS if form not in fitness.forms]
        for form in refused:
            with pytest.raises(ConfigError, match=r"fitness\.kind: .* spikes or counts"):
                fitness.check_forms([form], "fitness")
            with pytest.raises(DataError, match="time in them"):
                fitness.response(form, response(form, np.random.default_rng(1)))
            assert fitness.fault(form, response(form, np.random.default_rng(1)))
        fitness.check_forms(["spikes", *refused], "fitness")

    def test_a_response_that_cannot_be_scored_has_a_fault_in_words(self):
        fitness = self.fitness
        good = response("counts", np.random.default_rng(1))
        assert not fitness.fault("counts", good)
        assert "bin edges" in fitness.fault("counts", {**good, "edges_ms": EDGES + 3.0})
        if "rates" in fitness.forms:
            vast = {"rates": np.full(len(LABELS), 1e150)}
            assert "at most" in fitness.fault("rates", vast)

    def test_it_says_in_words_what_it_is(self):
        assert self.fitness.description().endswith(f"in {self.fitness.unit}")
