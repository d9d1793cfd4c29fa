"""What the figures are drawn from, against the showings it was recorded from."""

from __future__ import annotations

import json

import numpy as np
import pytest

from evolver.errors import RecordingError, WeightsError
from evolver.recording import read
from evolver.report import tables
from evolver.report.evolution import fitness_of, read_evolution, unit_label
from tests.report import sessions
from tests.report.sessions import FITNESS, mean, sem

WEIGHTED = {**FITNESS, "units": [2, 0, 1], "weights": [0.5, -0.25, 1.0]}
BASELINE = {**FITNESS, "baseline_ms": [-100.0, 0.0]}


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two threads with fitnesses of their own, two showings each, a tenth of them aborted."""
    folder = tmp_path_factory.mktemp("two")
    truth = sessions.write(folder, repeats=2, fitnesses=[BASELINE, WEIGHTED], image_size=8)
    with read(truth.path) as recording:
        yield truth, read_evolution(recording, render=grey)


def grey(name, codes):
    """Render a code as the grey level of its first number, so that it can be told."""
    assert name in {"texture", "object"}
    level = np.clip(codes[:, 0] * 20 + 120, 0, 255).astype(np.uint8)
    return np.repeat(level, 4 * 4 * 3).reshape(-1, 4, 4, 3)


def test_scores_are_the_mean_over_images_of_each_generation(two):
    truth, evolution = two
    for k, thread in enumerate(evolution.threads):
        for g in range(6):
            scores = [s for s in truth.scores[k, g] if s == s]
            assert thread.scores.mean[g] == pytest.approx(mean(scores))
            assert thread.scores.sem[g] == pytest.approx(sem(scores))
            assert thread.best_score[g] == pytest.approx(max(scores))
        np.testing.assert_array_equal(thread.block, np.arange(6))
        assert thread.last == 5


def test_references_are_scored_by_each_threads_fitness(two):
    truth, evolution = two
    assert not evolution.one_fitness
    for k, thread in enumerate(evolution.threads):
        for b in range(6):
            values = [v for v in truth.reference_scores[b][k] if v == v]
            assert thread.references.mean[b] == pytest.approx(mean(values))
        over_blocks = {
            i: [row[k][i] for row in truth.reference_scores if row[k][i] == row[k][i]]
            for i in range(3)
        }
        order = sorted(over_blocks, key=lambda i: -mean(over_blocks[i]))
        assert [p.label for p in thread.best_references] == [f"reference {i}" for i in order]
        for picture, i in zip(thread.best_references, order, strict=True):
            assert picture.score == pytest.approx(mean(over_blocks[i]))
            assert picture.sem == pytest.approx(sem(over_blocks[i]))
            assert picture.n == len(over_blocks[i])
            np.testing.assert_array_equal(picture.pixels, truth.reference_pixels[i])
        best = mean(over_blocks[order[0]])
        assert thread.gain == pytest.approx(thread.scores.mean[5] / best)


@pytest.mark.parametrize("k", [0, 1])
def test_psths_count_the_valid_showings_spikes(two, k):
    truth, evolution = two
    edges = evolution.edges_ms
    np.testing.assert_allclose(edges, np.arange(-100, 301, 10))
    fitness = (BASELINE, WEIGHTED)[k]
    weights = dict(zip(fitness["units"], fitness["weights"], strict=True))
    thread = evolution.threads[k]
    for g in range(7):  # the seventh stands for the references
        if g < 6:
            mine = [s for s in truth.showings if s.ok and s.thread == k and s.block == g]
            found = thread.psth[g]
        else:
            mine = [s for s in truth.showings if s.ok and s.thread < 0]
            found = thread.reference_psth
        for b in range(len(edges) - 1):
            total = sum(
                weights.get(u, 0)
                for s in mine
                for u, t in s.spikes
                if edges[b] <= t < edges[b + 1]
            )
            assert found[b] == pytest.approx(total / len(mine) / 0.010, abs=1e-9)


def test_the_film_shows_the_best_image_and_the_mean_codes(two):
    truth, evolution = two
    for k, thread in enumerate(evolution.threads):
        np.testing.assert_array_equal(thread.film, np.arange(6))
        for g, best, image in zip(thread.film, thread.best, thread.means, strict=True):
            row = int(np.nanargmax(truth.scores[k, g]))
            np.testing.assert_array_equal(best.pixels, truth.pixels[k, g, row])
            codes = truth.codes[k, g].astype(np.float64).mean(axis=0, keepdims=True)
            np.testing.assert_array_equal(image, grey(thread.name, codes)[0])
        last = truth.scores[k, 5]
        order = sorted(
            (i for i in range(len(last)) if last[i] == last[i]), key=lambda i: -last[i]
        )
        assert [p.score for p in thread.top] == pytest.approx([last[i] for i in order[:5]])


@pytest.mark.soak
def test_a_film_of_a_long_session_has_twelve_frames_and_the_last(tmp_path):
    truth = sessions.write(tmp_path, generations=20, popsizes=(3,), references=1, image_size=8)
    with read(truth.path) as recording:
        thread = read_evolution(recording).threads[0]
    assert len(thread.film) == len(thread.best) == 12
    assert thread.film[-1] == thread.scores.filled[-1]
    assert thread.means == ()
    assert "no generator" in thread.no_means


def test_a_generator_that_cannot_be_loaded_is_said_and_hides_nothing_else(tmp_path):
    truth = sessions.write(tmp_path, generations=2, image_size=8)

    def refuse(name, _codes):
        raise WeightsError(f"the weights of {name} are another file")

    with read(truth.path) as recording:
        evolution = read_evolution(recording, render=refuse)
    assert [t.no_means for t in evolution.threads] == [
        "the weights of texture are another file",
        "the weights of object are another file",
    ]
    assert all(len(t.best) == 2 for t in evolution.threads)


def test_an_interrupted_session_ends_with_its_last_scored_generation(tmp_path):
    truth = sessions.write(tmp_path, interrupted=True, abort=0.0, image_size=8)
    with read(truth.path) as recording:
        thread = read_evolution(recording).threads[0]
        recorded = recording.threads[0]
        assert (recorded.generations, recorded.stopped) == (5, 1)
        assert "5 generations, 1 without scores" in repr(recorded)
        (table,) = (s for s in tables.describe(recording) if s.title.startswith("Threads"))
        assert table.rows[0][-1] == "5, and 1 stopped inside"
    assert thread.last == 4
    assert thread.film[-1] == 4
    assert np.isnan(thread.scores.mean[5])
    mine = [s for s in truth.showings if s.thread == 0 and s.block == 5]
    spikes = sum(u == 1 for s in mine for u, _ in s.spikes)
    assert thread.psth[5].sum() * 0.010 == pytest.approx(spikes / len(mine))  # nothing is lost


def test_counts_give_psths_in_the_rigs_own_bins(tmp_path):
    truth = sessions.write(tmp_path, form="counts", generations=3, units=5, image_size=8)
    with read(truth.path) as recording:
        evolution = read_evolution(recording)
    edges = evolution.edges_ms
    np.testing.assert_allclose(edges, sessions.EDGES)
    mine = [s for s in truth.showings if s.ok and s.thread == 0 and s.block == 2]
    times = [t for s in mine for u, t in s.spikes if u == 1]
    expected = np.histogram(times, edges)[0] / len(mine) / 0.025
    np.testing.assert_allclose(evolution.threads[0].psth[2], expected)


@pytest.mark.soak
def test_rates_have_no_psth(tmp_path):
    truth = sessions.write(tmp_path, form="rates", generations=2, image_size=8)
    with read(truth.path) as recording:
        evolution = read_evolution(recording)
    assert all(t.psth is None and t.reference_psth is None for t in evolution.threads)
    assert all(np.isfinite(t.scores.mean).all() for t in evolution.threads)


def test_units_are_named_by_label_area_and_number(two):
    truth, evolution = two
    assert [t.unit_label for t in evolution.threads] == [
        "unit1 (IT, channel 1)",
        "3 units, weighted",
    ]
    with read(truth.path) as recording:
        fitness = fitness_of(recording.threads[0])
        assert unit_label(fitness, recording.units[:0]) == "unit 1"


@pytest.mark.parametrize(
    ("fitness", "words"),
    [
        ({"units": "all"}, "must say its units"),
        ({"units": [1, 2], "weights": [1.0]}, "a weight for each of its 2 units; it has 1"),
    ],
)
def test_a_fitness_that_cannot_be_read_is_named(tmp_path, fitness, words):
    recorded = {**FITNESS, **fitness}
    truth = sessions.write(
        tmp_path, generations=0, popsizes=(2,), fitnesses=[json.loads(json.dumps(recorded))]
    )
    with read(truth.path) as recording, pytest.raises(RecordingError, match=words):
        read_evolution(recording)
