"""Populations: who counts, planted differences found by area, and tables that agree."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from evolver.experiments import read_experiments
from evolver.experiments.populations import (
    area_means,
    area_tests,
    attribution_courses,
    normalised_trajectories,
    population_of,
    success_shares,
    time_courses,
)
from evolver.experiments.summary import AnalysisSettings, summarise
from evolver.experiments.tables import population_tables
from tests.experiments.made import archive, lab

SETTINGS = AnalysisSettings(shuffles=199, alpha=0.02)


@pytest.fixture(scope="module")
def summaries(tmp_path_factory):
    path = tmp_path_factory.mktemp("lab") / "a.npz"
    short = {"id": "short", "area": "V1", "num_generations": 6}
    others = {"id": "others", "thread0_space": "BigGAN"}
    archive(path, [*lab(), short, others])
    return [summarise(one, SETTINGS) for one in read_experiments([path])]


@pytest.fixture(scope="module")
def population(summaries):
    return population_of(summaries, SETTINGS)


def test_who_counts_and_who_does_not(summaries, population):
    assert population.generators == ("DeePSim", "BigGAN")
    assert population.areas == ("V1", "V4", "IT")
    left = dict(population.left_out)
    assert left["short"].startswith("6 blocks; 15 are needed")
    assert left["others"].startswith("its generators are BigGAN and BigGAN, not")
    counted = {member.summary.experiment.id for member in population.members}
    assert counted | set(left) == {one.experiment.id for one in summaries}
    named = population_of(summaries, SETTINGS, generators=("no such", "BigGAN"))
    assert not named.members
    assert "not no such and BigGAN" in named.left_out[0][1]


def test_threads_are_matched_by_generator_not_by_place(summaries, population):
    turned = [
        replace(one, threads=one.threads[::-1]) if i % 2 else one
        for i, one in enumerate(summaries)
    ]
    again = population_of(turned, SETTINGS, generators=("DeePSim", "BigGAN"))
    assert area_means(again)[:8] == area_means(population)[:8]


def test_successes_are_counted(population):
    shares = {(s.area, s.what): s.share for s in success_shares(population)}
    for area in population.areas:
        members = [m for m in population.members if m.area == area]
        flags = [[t.success.success for t in m.threads] for m in members]
        assert shares[area, "DeePSim"].k == sum(f[0] for f in flags)
        assert shares[area, "any"].k == sum(any(f) for f in flags)
        assert shares[area, "both"].k == sum(all(f) for f in flags)
        assert shares[area, "any"].n == len(members) > 0
    assert shares["V1", "BigGAN"].k < shares["IT", "BigGAN"].k


def test_means_and_tests_are_those_of_the_values(population):
    means = {(m.measure, m.area, m.thread): m for m in area_means(population)}
    tests = {(t.measure, t.area): t for t in area_tests(population) if t.first != t.second}
    for area in population.areas:
        members = population.of(area)
        last = np.array([
            [t.last.value / m.summary.scale.value for t in m.threads] for m in members
        ])
        for k, name in enumerate(population.generators):
            found = means["last", area, name]
            assert found.mean == pytest.approx(last[:, k].mean())
            assert found.sem == pytest.approx(stats.sem(last[:, k]))
        expected = stats.ttest_rel(last[:, 0], last[:, 1])
        assert tests["last", area].test.p == pytest.approx(expected.pvalue)
        late = [
            [m.threads[k].late.value for m in members if m.threads[k].success.success]
            for k in (0, 1)
        ]
        if min(map(len, late)) > 1:
            expected = stats.ttest_ind(*late)
            assert tests["late_share", area].test.p == pytest.approx(expected.pvalue)
    assert tests["last", "V1"].test.difference > 0.1 < tests["last", "V4"].test.difference
    assert tests["last", "V1"].bonferroni
    assert tests["late_share", "IT"].test.difference < 0  # as planted: the second is late
    assert tests["late_share", "IT"].fdr


def test_courses_end_where_experiments_do(population):
    found = {one.area: one for one in normalised_trajectories(population)}
    one = found["V1"]
    lengths = [m.summary.experiment.blocks for m in population.of("V1")]
    assert one.values[0].shape == (len(lengths), max(lengths))
    assert [int(np.isfinite(row).sum()) for row in one.values[0]] == lengths
    block = max(lengths) - 1
    assert one.means[0].n[block] == lengths.count(max(lengths))
    assert len(one.tests) == max(lengths)


def test_bins_of_time_are_tested_block_by_block(population):
    found = {one.area: one for one in time_courses(population)}["IT"]
    members = population.of("IT")
    block, at = 5, 12
    pairs = np.array([
        [
            t.thread.psth.mean[block, 10 * at : 10 * at + 10].mean() / m.summary.scale.value
            for t in m.threads
        ]
        for m in members
    ])
    expected = stats.ttest_rel(pairs[:, 0], pairs[:, 1])
    assert found.tests[block][at].p == pytest.approx(expected.pvalue)
    assert found.left_out == 0
    courses, edges = attribution_courses(population)
    assert list(edges) == list(range(0, 201, 10))
    it = next(one for one in courses if one.area == "IT")
    np.testing.assert_allclose(np.nansum(it.values[0], axis=1), 1)
    centre = [np.nansum(mean.mean * (edges[:-1] + 5)) for mean in it.means]
    assert centre[1] - centre[0] > 20  # ms; planted 50


def test_tables_hold_what_the_population_does(population):
    tables = {table.name: table for table in population_tables(population)}
    for table in tables.values():
        assert {len(row) for row in table.rows} == {len(table.columns)}
    assert tables["left_out"].rows == population.left_out
    bins = sum(len(one.tests) * 20 for one in time_courses(population))
    assert len(tables["time_bins"].rows) == bins
    assert len(tables["means"].rows) == len(area_means(population))


def test_one_thread_alone_is_a_population_too(summaries):
    alone = [replace(one, threads=one.threads[:1]) for one in summaries[:5]]
    population = population_of(alone, SETTINGS)
    assert population.generators == ("DeePSim",)
    assert [s.what for s in success_shares(population)] == ["DeePSim"]
    assert all(t.measure == "time_constant between areas" for t in area_tests(population))
    for table in population_tables(population):
        assert {len(row) for row in table.rows} <= {len(table.columns)}
    assert population_of([], SETTINGS).areas == ()
