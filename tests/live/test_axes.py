"""Sessions that search along axes: what they record, and how they go on."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from safetensors.numpy import save_file

from evolver import config, generators, recording
from evolver.config.axes_table import AxesTable
from evolver.errors import ConfigError, DataError
from evolver.journal.records import Proposed, Result, axes_info
from evolver.journal.writer import read_journal
from evolver.live import resume_simulated, run_simulated
from evolver.recording.verify import verify
from evolver.report.tables import describe
from evolver.setup import spectra
from tests.live.sessions import small
from tests.live.test_resume import check_cuts, cut
from tests.live.test_simulate import Watching

K = 40


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spectra, "user_cache_path", lambda _name: folder)
        yield folder


@pytest.fixture(scope="module")
def settings(cache, tmp_path_factory):
    """Two threads: along axes that are computed; along those of a file, in a part."""
    folder = tmp_path_factory.mktemp("along")
    noise = generators.load("mini-object").parts["noise"]
    file = folder / "noise.safetensors"
    made = spectra.generator_spectrum(
        generators.load("mini-object"), "first-layer", span=noise, k=30
    )
    (kept,) = (cache / "axes").iterdir()
    file.write_bytes(kept.read_bytes())
    assert len(made.vectors) >= 30
    part = {"source": str(file), "k": 30}
    parts = [
        {"slice": [0, noise[0]], "optimizer": "cholesky", "options": {"sigma": 0.1}},
        {"slice": list(noise), "optimizer": "rank-sphere", "axes": part},
    ]
    threads = (
        config.ThreadTable(
            "texture", "mini-texture", popsize=6, axes=AxesTable("first-layer", k=K)
        ),
        config.ThreadTable(
            "object",
            "mini-object",
            optimizer="composite",
            popsize=5,
            optimizer_options={"parts": parts},
        ),
    )
    plain = small(folder, references={"count": 2}, session={"generations": 3})
    plain = msgspec.structs.replace(plain, threads=threads)
    return config.parse_session_file(config.commented_session_file(plain))


@pytest.fixture(scope="module")
def ended(settings):
    return run_simulated(settings, config.commented_session_file(settings), Watching().console)


@pytest.fixture(scope="module")
def records(ended):
    return [record for _, record in read_journal(ended.folder / "journal")]


def last(records, kind):
    return [i for i, record in enumerate(records) if type(record) is kind][-3] + 1


def test_cut_anywhere_it_goes_on_bit_for_bit(ended, records, tmp_path, monkeypatch):
    """Its axes are computed again, as the cache of the first time is not there."""
    monkeypatch.setattr(spectra, "user_cache_path", lambda _name: tmp_path / "cache")
    check_cuts(ended, records, [last(records, Result)], tmp_path)


def test_a_recording_says_which_axes_and_its_codes_lie_along_them(ended, records):
    axes = spectra.generator_spectrum(generators.load("mini-texture"), "first-layer", k=K)
    rows = axes.vectors[:K]
    with recording.read(ended.recording) as read:
        texture, other = read.threads
        (info,), (of_part,) = texture.axes, other.axes
        assert (info.k, info.d, info.source, info.outside) == (K, 256, "first-layer", "keep")
        assert info.energy == axes.energy[K - 1]
        assert (of_part.k, of_part.d, of_part.first) == (30, 64, 64)
        codes = texture.codes.astype(float)
        across = codes - codes @ rows.T @ rows
        np.testing.assert_allclose(across, np.tile(across[0], (len(codes), 1)), atol=1e-5)
        state = texture.state(2)
        assert max(np.size(value) for value in state.values()) < K * 256  # and not the axes
        assert state["inner_mean"].shape == (K,)
        lines = [row for section in describe(read) for row in section.rows if row[0] == "axes"]
        assert lines == [
            ("axes", f"texture: {info.text(256)}"),
            ("axes", f"object: {of_part.text(other.d)}"),
        ]
        assert "dimensions 64 to 128" in lines[1][1]
        searches = [s for sec in describe(read) for s in sec.rows if s[0] == "search"]
        assert searches[0][1] == "texture: snes, sigma = 8.0"
        assert searches[1][1] == (
            "object: composite of cholesky, dimensions 0 to 64, sigma = 0.1; rank-sphere, "
            "dimensions 64 to 128, along axes, radius = 6.93"
        )
    assert axes_info(records[0].threads[0].options) == (info,)
    verify(ended.recording, ended.folder / "journal")


def test_a_file_of_axes_that_has_changed_is_refused(settings, records, tmp_path):
    part = settings.threads[1].optimizer_options["parts"][1]["axes"]["source"]
    content = Path(part).read_bytes()
    cut(records[: len(records) // 2], tmp_path)
    vectors = np.linalg.qr(np.random.default_rng(0).normal(size=(64, 64)))[0]
    save_file({"vectors": np.ascontiguousarray(vectors)}, part)
    try:
        with pytest.raises(
            ConfigError, match="'object' must go on with the axes it began with"
        ):
            resume_simulated(tmp_path, Watching().console)
    finally:
        Path(part).write_bytes(content)


def test_axes_that_are_computed_again_may_be_those_but_for_rounding(
    records, tmp_path, monkeypatch
):
    """On another machine, or by another library, without the cache of the first one."""
    monkeypatch.setattr(spectra, "user_cache_path", lambda _name: tmp_path / "cache")
    first_layer = spectra._first_layer

    def turned(angle):
        def compute(generator, span):
            values, rows = first_layer(generator, span)
            if generator.name == "mini-texture":
                a, b = rows[0].copy(), rows[1].copy()
                rows[0] = np.cos(angle) * a + np.sin(angle) * b
                rows[1] = np.cos(angle) * b - np.sin(angle) * a
            return values, rows

        return compute

    monkeypatch.setattr(spectra, "_first_layer", turned(1e-9))
    cut(records[: last(records, Proposed)], tmp_path / "close")
    again = resume_simulated(tmp_path / "close", Watching().console)
    assert again.reason == "finished"
    with recording.read(again.recording) as read:
        assert not read.bit_identical
    monkeypatch.setattr(spectra, "user_cache_path", lambda _name: tmp_path / "other")
    monkeypatch.setattr(spectra, "_first_layer", turned(0.3))
    cut(records[: last(records, Proposed)], tmp_path / "far")
    with pytest.raises(DataError, match="must be those that the search began with"):
        resume_simulated(tmp_path / "far", Watching().console)
