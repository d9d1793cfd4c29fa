"""Sessions that climb a slope: they ascend, and go on after an interruption bit for bit."""

import json

import msgspec
import numpy as np
import pytest

from evolver import config, generators, metric, recording
from evolver.errors import ConfigError
from evolver.journal.records import Committed, Proposed, Result
from evolver.journal.writer import read_journal
from evolver.live import run_live, run_simulated
from evolver.live.at_start import look_at
from evolver.setup.build import build_parts
from evolver.setup.objective import UnitObjective
from tests.children import evolver
from tests.cli.running import run_here

from .sessions import small, write
from .test_resume import check_cuts
from .test_simulate import Watching

GENERATIONS = 3


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """Two threads, one along the basis of its generator's metric; showings are lost."""
    folder = tmp_path_factory.mktemp("climbing")
    generator = generators.load("mini-texture")
    vectors = np.linalg.qr(np.random.default_rng(0).normal(size=(generator.d, 40)))[0]
    provenance = metric.Provenance(
        generator=generator.name,
        weights_sha256=generator.sha256,
        distance="none",
        distance_sha256="",
        solver="dense",
        points=1,
        points_sha256="",
    )
    made = metric.make_metric(np.geomspace(1, 1e-3, 40), vectors, provenance=provenance)
    metric.write_metric(made, folder / "metric.npz")
    along = {"basis": "scaled", "metric": str(folder / "metric.npz"), "cutoff": 30}
    threads = (
        config.ThreadTable(
            "texture",
            "mini-texture",
            optimizer="adam",
            popsize=5,
            optimizer_options=along | {"lr": 0.2},
        ),
        config.ThreadTable(
            "object",
            "mini-object",
            optimizer="sgd",
            popsize=4,
            optimizer_options={"momentum": 0.5, "lr": 0.1, "steps": 2},
        ),
    )
    file = small(
        folder,
        session={"generations": GENERATIONS},
        references={"count": 2},
        fitness={"missing": "drop"},
    )
    file = msgspec.structs.replace(file, threads=threads)
    return config.parse_session_file(config.commented_session_file(file))


@pytest.fixture(scope="module")
def ended(settings):
    return run_simulated(settings, config.commented_session_file(settings), Watching().console)


def objectives(settings):
    return [optimizer.objective for optimizer in build_parts(settings).optimizers]


def test_every_start_ascends_and_one_that_was_not_scored_stays(ended, settings):
    with recording.read(ended.recording) as read:
        lost = 0
        for thread, objective in zip(read.threads, objectives(settings), strict=True):
            codes = thread.codes.reshape(GENERATIONS, -1, thread.codes.shape[-1])
            scored = np.isfinite(thread.score).reshape(GENERATIONS, -1)
            for before, after, learnt in zip(codes, codes[1:], scored, strict=False):
                np.testing.assert_array_equal(before[~learnt], after[~learnt])
                assert (before[learnt] != after[learnt]).any(axis=1).all()
            lost += (~scored[:-1]).sum()
            assert isinstance(objective, UnitObjective)
            first, last = (objective.climb(codes[k].astype(float))[0] for k in (0, -1))
            moved = scored[:-1].any(axis=0)
            assert moved.sum() >= 3
            assert (last > first)[moved].all()
        assert lost


@pytest.mark.soak
def test_cut_anywhere_it_goes_on_bit_for_bit(ended, tmp_path):
    records = [record for _, record in read_journal(ended.folder / "journal")]
    cuts = [
        max(i for i, r in enumerate(records[: 2 * len(records) // 3]) if isinstance(r, kind))
        for kind in (Proposed, Result, Committed)
    ]
    check_cuts(ended, records, [cut + 1 for cut in cuts], tmp_path)


def test_the_record_says_what_was_climbed_with(ended, settings, monkeypatch, capsys):
    with recording.read(ended.recording) as read:
        texture, objects = (thread.options["optimizer"] for thread in read.threads)
    assert (texture["basis"], texture["lr"], texture["cutoff"]) == ("scaled", 0.2, 30)
    assert (objects["steps"], objects["sigma"]) == (2, 0.866)
    assert run_here(monkeypatch, capsys, "verify", ended.recording)
    assert "adam" in run_here(monkeypatch, capsys, "inspect", ended.recording)
    assert json.dumps(texture)
    assert settings.threads[0].optimizer == "adam"


def test_a_live_session_is_refused_and_a_check_says_so(settings, tmp_path, monkeypatch, capsys):
    file = write(settings, tmp_path / "s.toml")
    found = look_at(file, download=False).wrong
    assert [mistake.key for mistake in found] == [
        "threads[0].optimizer",
        "threads[1].optimizer",
    ]
    assert "must run in 'evolver simulate'" in found[0].text
    with pytest.raises(ConfigError, match="what a rig answers has none"):
        run_live(settings, config.commented_session_file(settings))
    said = " ".join(run_here(monkeypatch, capsys, "config", "check", file).split())
    assert "it runs in 'evolver simulate' alone" in said
    assert "climbed by texture (adam), object (sgd)" in said


@pytest.mark.soak
def test_serve_refuses_it(settings, tmp_path):
    file = write(settings, tmp_path / "s.toml")
    said = " ".join(evolver("serve", file, "--yes", expect=2, cwd=tmp_path).split())
    assert "'adam' must run in 'evolver simulate'" in said


def test_a_metric_of_another_generator_is_refused(settings):
    other = msgspec.structs.replace(settings.threads[0], generator="mini-object")
    with pytest.raises(
        ConfigError, match=r"optimizer_options\.metric .*must be of the generator that draws"
    ):
        build_parts(msgspec.structs.replace(settings, threads=(other,)))
