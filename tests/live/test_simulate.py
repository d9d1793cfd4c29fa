"""A whole session in this process: what was recorded is what happened."""

import errno
import hashlib
import json
import os
import pathlib
from functools import partial

import msgspec
import numpy as np
import pytest

from evolver import config, generators, optimizers, recording, seeds
from evolver.errors import ConfigError, DataError, MissingResponseError, RecordingError
from evolver.journal.records import Committed, Proposed, Result, RunEnd, Sent
from evolver.journal.writer import read_journal
from evolver.live import Console, run_simulated
from evolver.optimizers.snes import SNES
from evolver.report.tables import describe
from evolver.session.ports import Command, Progress
from evolver.session_folder import new_folder
from evolver.setup.references import build_references

from .sessions import small


class Watching:
    """Watches a session: keeps what it is told, and may stop it."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.news: list[Progress] = []
        self.checks = []
        self.stop_after = stop_after

    def commands(self):
        stops = self.stop_after is not None and len(self.news) >= self.stop_after
        return (Command("stop"),) if stops else ()

    @property
    def console(self) -> Console:
        return Console(
            on_checks=lambda checks, _: self.checks.extend(checks),
            on_progress=self.news.append,
            commands=self.commands,
        )


def simulate(settings, watching=None):
    watching = watching or Watching()
    return run_simulated(settings, config.commented_session_file(settings), watching.console)


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    return simulate(small(tmp_path_factory.mktemp("session")))


@pytest.fixture(scope="module")
def again(tmp_path_factory):
    """The same session once more, watched: how it ended, and what was told."""
    watching = Watching()
    return simulate(small(tmp_path_factory.mktemp("again")), watching), watching.news


@pytest.fixture(scope="module")
def opened(ended):
    with recording.read(ended.recording) as opened:
        yield opened


def test_code_that_ends_the_program_ends_the_session_with_an_error(tmp_path, monkeypatch):
    tell = SNES.tell

    def leave(self, codes, scores):
        if np.any(scores):  # the checks' first step has none
            raise SystemExit
        tell(self, codes, scores)

    monkeypatch.setattr(SNES, "tell", leave)
    settings = small(tmp_path)
    says = "may end the program; some did, with SystemExit"
    with pytest.raises(DataError, match=says) as caught:
        simulate(settings)
    (folder,) = tmp_path.iterdir()
    (note,) = caught.value.__notes__
    assert note == f"What was recorded is kept; 'evolver resume {folder}' goes on"
    *_, (_, failed), (_, end) = read_journal(folder / "journal")
    assert (failed.name, failed.text, end.reason) == (
        "failed", "SystemExit", "error: SystemExit"
    )  # fmt: skip


def test_a_disk_without_room_for_a_session_file_has_no_folder_of_it(tmp_path, monkeypatch):
    def full(_path, *_args, **_options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pathlib.Path, "write_text", full)
    with pytest.raises(RecordingError, match=r"must have room for a session; .*No space left"):
        new_folder(small(tmp_path), "text", 0)
    assert not list(tmp_path.iterdir())


def test_it_ends_finished_and_complete(ended, opened):
    assert ended.reason == "finished"
    assert opened.complete
    assert opened.end_reason == "finished"
    assert [len(t.codes) for t in opened.threads] == [18, 15]
    assert [unit["label"] for unit in opened.units] == ["mini:fc6:3", "mini:conv3:1:4:4"]


def test_scores_can_be_recomputed_from_the_recorded_spikes(opened):
    rates = opened.rates((50.0, 200.0)) - opened.rates((0.0, 45.0))
    shown = opened.presentations
    for index, thread in enumerate(opened.threads):
        for row in range(len(thread.codes)):
            mine = (
                (shown["thread"] == index)
                & (shown["block"] == 2 * thread.generation[row])
                & (shown["row"] == row % thread.popsize)
                & (shown["status"].astype(str) == "ok")
            )
            assert mine.sum() == 1
            assert thread.score[row] == pytest.approx(rates[mine, 0].mean(), abs=1e-9)


def test_aborted_showings_were_shown_again_and_kept(opened):
    status = opened.presentations["status"].astype(str)
    assert (status == "aborted").sum() > 3  # one in five, by its seed
    again = opened.presentations[opened.presentations["attempt"] > 1]
    assert len(again) > 0
    first = opened.presentations["presentation"][status == "aborted"]
    assert set(again["presentation"]) <= set(first)


def test_every_image_is_that_of_its_code(opened):
    for thread in opened.threads:
        rendered = generators.load(thread.generator).render(thread.codes.astype(np.float64))
        for image, number in zip(rendered, thread.image_id, strict=True):
            np.testing.assert_array_equal(opened.images[number], image)
            digest = hashlib.sha256(image.tobytes()).hexdigest()
            assert opened.image_sha256[number] in {digest, digest.encode()}


def test_the_optimizers_trajectory_replays_from_the_recorded_scores(ended, opened):
    settings = small(ended.folder)
    for index, thread in enumerate(opened.threads):
        table = settings.threads[index]
        generator = generators.load(table.generator)
        start = seeds.stream(settings.session.seed, "initial", table.name)
        optimizer = optimizers.find(thread.optimizer)(
            generator.d,
            rng=seeds.stream(settings.session.seed, "optimizer", table.name),
            popsize=table.popsize,
            initial=generator.initial_codes(table.popsize, rng=start),
            **thread.options["optimizer"],
        )
        for generation in range(thread.generations):
            mine = thread.generation == generation
            codes = optimizer.ask()
            np.testing.assert_array_equal(codes.astype(np.float32), thread.codes[mine])
            valid = np.isfinite(thread.score[mine])
            optimizer.tell(codes[valid], thread.score[mine][valid])


def test_a_block_is_on_disk_before_it_is_sent_and_learnt_from_after_its_results(ended):
    planned: dict[int, set[int]] = {}
    sent: dict[int, set[int]] = {}
    results: dict[int, set[int]] = {}
    committed: list[int] = []
    for _, record in read_journal(ended.folder / "journal"):
        match record:
            case Proposed():
                assert record.block == len(planned)
                planned[record.block] = {p.presentation for p in record.presentations}
                sent[record.block], results[record.block] = set(), set()
                waiting = set(planned) - set(committed)
                assert len(waiting) <= 3
            case Sent():
                assert set(record.presentations) <= planned[record.block]
                sent[record.block] |= set(record.presentations)
            case Result():
                assert record.presentation in sent[record.block]
                results[record.block].add(record.presentation)
            case Committed():
                assert results[record.block] == planned[record.block]
                committed.append(record.block)
            case _:
                pass


def test_the_time_budget_adds_up(opened):
    blocks = opened.blocks
    assert (blocks["total"] > 0).all()
    for name in ("propose", "render", "encode", "send", "wait", "score", "blocked", "idle"):
        assert (blocks[name] >= 0).all()
        if name != "idle":  # the time before a block, as a rig sees it, is no part of it
            assert (blocks[name] <= blocks["total"] * 1.001).all()


def test_the_same_seed_gives_the_same_session(opened, again):
    with recording.read(again[0].recording) as other:
        for x, y in zip(opened.threads, other.threads, strict=True):
            np.testing.assert_array_equal(x.codes, y.codes)
            np.testing.assert_array_equal(x.score, y.score)


def test_stopping_keeps_what_was_shown_and_another_seed_gives_another_session(tmp_path, opened):
    watching = Watching(stop_after=3)  # in the second block
    ended = simulate(small(tmp_path, session={"seed": 6}), watching)
    assert ended.reason == "stopped by operator"
    with recording.read(ended.recording) as other:
        assert other.complete
        assert other.end_reason == "stopped by operator"
        assert len(other.presentations) > 0
        for x, y in zip(opened.threads, other.threads, strict=True):
            first = [t.codes[t.generation == 0] for t in (x, y)]
            assert first[0].shape == first[1].shape
            assert not np.array_equal(*first)
    *_, (_, last) = read_journal(ended.folder / "journal")
    assert isinstance(last, RunEnd)


def test_a_failing_session_says_why_in_its_record(tmp_path):
    settings = small(tmp_path, fitness={"missing": "fail"})
    with pytest.raises(MissingResponseError, match="was aborted"):
        simulate(settings)
    (folder,) = tmp_path.iterdir()
    *_, (_, event), (_, last) = read_journal(folder / "journal")
    assert event.name == "failed"
    assert last.reason.startswith("error: MissingResponseError")


def test_without_noise_the_scores_follow_the_units_own_activation(tmp_path):
    import scorers

    settings = small(
        tmp_path,
        session={"generations": 1},
        simulation={"spikes": "none", "abort_rate": 0.0},
    )
    with recording.read(simulate(settings).recording) as opened:
        thread = opened.threads[0]
        images = np.stack([opened.images[i] for i in thread.image_id])
        drive = scorers.load("mini:fc6:3").score(images)[:, 0]
        order = np.argsort(drive)
        assert (np.diff(thread.score[order]) >= 0).all()


def test_progress_is_told_block_by_block(again):
    _, news = again
    committed = [n for n in news if n.committed is not None]
    assert [bool(n.committed.threads) for n in committed] == [True, False] * 3
    assert [n.generation for n in committed] == [1, 1, 2, 2, 3, 3]
    assert {n.generations for n in committed} == {3}
    assert committed[-1].presentations == 45 + committed[-1].aborted
    assert {n.state for n in news} == {"running"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"simulation": {"units": ("mini:fc99:0",)}}, r"simulation\.units\[0\]: .*fc99"),
        ({"fitness": {"units": (7,)}}, r"fitness\.units\[0\]: must be 0 to 1"),
        ({"references": {"source": "/no/such/folder"}}, r"references\.source"),
    ],
)
def test_a_mistake_found_while_building_leaves_no_folder(tmp_path, changes, said):
    with pytest.raises(ConfigError, match=said):
        simulate(small(tmp_path / "out", **changes))
    assert not (tmp_path / "out").exists()


def test_references_come_from_a_folder_of_images(tmp_path):
    from PIL import Image

    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i, (mode, size) in enumerate([("RGB", (40, 30)), ("L", (64, 64)), ("RGBA", (9, 9))]):
        bands = {"RGB": 3, "L": 1, "RGBA": 4}[mode]
        pixels = rng.integers(0, 256, (*size[::-1], bands), dtype=np.uint8)
        Image.fromarray(pixels.squeeze()).save(folder / f"photo{i}.png")
    table = config.ReferencesTable(count=3, source=str(folder))
    found = build_references(table, seed=1)
    assert found.labels == ("photo0", "photo1", "photo2")
    assert [i.shape for i in found.images] == [(30, 40, 3), (64, 64, 3), (9, 9, 3)]
    settings = small(
        tmp_path / "out",
        session={"generations": 1},
        references={"count": 3, "source": str(folder)},
    )
    with recording.read(simulate(settings).recording) as opened:
        assert np.isfinite(opened.reference_scores).any()
    with pytest.raises(ConfigError, match="at most the number of PNG and JPEG files"):
        build_references(config.ReferencesTable(count=4, source=str(folder)), seed=1)


def test_the_order_of_every_block_is_its_own_stream(opened):
    order = partial(seeds.stream, 5, "order")
    assert order(0).random() != order(1).random()
    blocks = opened.presentations["block"]
    kinds = [opened.presentations["thread"][blocks == b].tolist() for b in range(3)]
    assert kinds[0] != kinds[1]


def test_settings_are_in_the_file(ended, opened):
    assert (
        config.parse_session_file(opened.config)
        == config.load_session_file(ended.folder / "session.toml")[0]
    )
    assert json.loads(json.dumps(opened.threads[1].options))["optimizer"] == {"sigma": 0.5}


@pytest.mark.soak
def test_a_base_that_is_shown_again_is_counted_among_the_images_of_a_generation(tmp_path):
    settings = small(tmp_path, session={"generations": 2}, references={"count": 0})
    thread = config.ThreadTable("texture", "mini-texture", "sphere", popsize=6)
    file = simulate(msgspec.structs.replace(settings, threads=(thread,))).recording
    with recording.read(file) as opened:
        shown = np.bincount(opened.threads[0].generation)
        (threads,) = (s for s in describe(opened) if s.title.startswith("Threads"))
    assert shown.tolist() == [6, 7]
    assert threads.rows[0][4] == "6, from generation 1 on 7"
