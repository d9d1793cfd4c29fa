"""A recording played back through a session: the recorded one again, or what is nearest."""

import hashlib
import shutil
import threading
from functools import partial

import h5py
import msgspec
import numpy as np
import pytest

from evolver import config, recording
from evolver.cli.replay import print_same
from evolver.colours import LIVE_LIGHT
from evolver.config import usual_optimizers
from evolver.errors import ConfigError
from evolver.experiments.recordings import read_recording
from evolver.journal import records as r
from evolver.journal.writer import JournalWriter, read_journal
from evolver.live import Console, run_live, run_simulated
from evolver.live.replayed import ReplaySettings, run_replay, run_replay_rig
from evolver.monitor.model import SessionModel
from evolver.monitor.page import header_html, tab_title
from evolver.recording.replay import replayed_records
from evolver.recording.same_session import differences
from evolver.recording.verify import verify_file
from evolver.report import tables
from evolver.session.ports import Command
from evolver.setup import simulated_rig
from evolver.setup.nearest_images import NearestImages
from evolver.setup.replay_encoders import simulated_encoder
from evolver.setup.replayed_rig import ReplayedRig, answered_images
from rig_bridge.trials import Presentation
from tests import children
from tests.cli.running import run_here as run_command

from .sessions import small

SAME = ("codes", "generation", "row", "image_id", "score", "sem", "states", "fitness")
COLUMNS = ("presentation", "block", "thread", "row", "repeat", "attempt", "status", "reason")
RESPONSES = ("spikes", "counts", "rates", "psth", "references", "images/sha256")


def session(folder, **simulation):
    """Return a session of two threads; two showings an image, one in five aborted."""
    return small(
        folder,
        session={"generations": 2},
        presentation={"repeats": 2},
        references={"count": 3},
        simulation=simulation,
    )


def simulate(settings, console=None):
    return run_simulated(settings, config.commented_session_file(settings), console).recording


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return simulate(session(tmp_path_factory.mktemp("recorded")))


@pytest.fixture(scope="module")
def clock():
    return Sleeping()


@pytest.fixture(scope="module")
def again(recorded, clock, tmp_path_factory):
    """The same once more, as a replay at ten times the speed."""
    fast = ReplaySettings(speed=10.0)
    return run_replay(
        recorded, out=tmp_path_factory.mktemp("again"), settings=fast, clock=clock
    )


def other_file(folder, settings, **changes):
    """Write the session file of another session than a recorded one."""
    text = config.commented_session_file(settings)
    raw = config.parse_session_file(text)
    table = msgspec.structs.replace(raw.session, **changes)
    path = folder / "other.toml"
    path.write_text(config.commented_session_file(msgspec.structs.replace(raw, session=table)))
    return path


def flat(group):
    """Return every dataset and attribute in a group, by its path."""
    values = dict(group.attrs) if isinstance(group, h5py.Group) else {}
    if isinstance(group, h5py.Dataset):
        return {"": group[()]}
    for name, item in group.items():
        values |= {f"{name}/{key}": value for key, value in flat(item).items()}
    return values


def assert_same(file, other):
    """Compare the files themselves, dataset by dataset."""
    with h5py.File(file) as a, h5py.File(other) as b:
        paths = [f"threads/{k}/{name}" for k in a["threads"] for name in SAME]
        paths += [f"presentations/{name}" for name in COLUMNS] + list(RESPONSES)
        for path in paths:
            ours, theirs = flat(a[path]), flat(b[path])
            assert ours.keys() == theirs.keys(), path
            for key, value in ours.items():
                np.testing.assert_array_equal(theirs[key], value, err_msg=f"{path} {key}")


def test_it_is_searched_as_recorded_where_its_file_names_no_optimizer(tmp_path, monkeypatch):
    settings = session(tmp_path)
    text = config.commented_session_file(settings).replace('optimizer = "snes"\n', "")
    assert config.parse_session_file(text) == settings
    begun = run_simulated(settings, text).recording
    monkeypatch.setattr(usual_optimizers, "COMPARED", {})
    assert config.parse_session_file(text) != settings
    assert_same(
        begun, run_replay(begun, out=tmp_path / "again", clock=Sleeping()).ended.recording
    )


def test_its_own_session_is_the_recorded_one_bit_for_bit(recorded, again):
    with recording.read(recorded) as opened:
        table = opened.presentations
        assert (table["status"] == "aborted").sum() > 5
        assert table["attempt"].max() > 1
        assert table["repeat"].max() == 1
    assert again.differences == []
    assert_same(recorded, again.ended.recording)
    assert again.summary.exact_share == 1
    assert again.ended.reason == "finished"
    assert not again.ran_out


@pytest.mark.soak
@pytest.mark.parametrize("form", ["counts", "rates"])
def test_other_forms_too(tmp_path, monkeypatch, form):
    build = partial(simulated_rig.build_rig, form=form)
    monkeypatch.setattr(simulated_rig, "build_rig", build)
    settings = small(
        tmp_path,
        session={"generations": 1},
        references={"count": 2},
        presentation={"schedule": "together"},
        fitness={"baseline_ms": None, "normalise": "references", "reference_blocks": 1},
        simulation={"abort_rate": 0.1},
    )
    file = simulate(settings)
    with recording.read(file) as opened:
        assert set(opened.presentations["form"]) == {form}
        assert opened.threads[0].fitness_states
    replay = run_replay(file, out=tmp_path / "again")
    assert replay.differences == []
    assert_same(file, replay.ended.recording)


def test_the_record_says_what_was_played_back(recorded, again):
    with recording.read(again.ended.recording) as opened:
        digest = hashlib.sha256(recorded.read_bytes()).hexdigest()
        assert opened.mode == "replay"
        assert opened.is_replay
        assert {"role": "replayed recording", "name": "session.h5", "sha256": digest} in (
            opened.weights
        )
        (rig,) = opened.rigs
        assert rig["name"] == "replay of small"
        assert digest in rig["software"]
        table = opened.presentations
        assert set(table["answer"]) == {"recorded"}
        np.testing.assert_array_equal(table["answer_of"], table["presentation"])
        assert set(table["onset_source"]) == {"simulated"}
        assert verify_file(again.ended.recording).images
        head, text = tables.mode(opened), tables.replay_text(opened)
        assert head == "a replay of small"
        assert f"{len(table)} recorded." in text
        model = SessionModel()
        model.feed(replayed_records(opened))
    page = header_html(model, LIVE_LIGHT, trouble=False)
    assert "replay of small: recorded responses, no animal" in page
    assert tab_title(model, None) == "REPLAY: small, no animal"
    assert read_recording(again.ended.recording).area.startswith("replay of simulated IT")
    with recording.read(recorded) as opened:
        assert not opened.is_replay


def test_another_search_is_answered_by_the_nearest_codes(recorded, tmp_path):
    file = other_file(tmp_path, session(tmp_path), seed=6, generations=1)
    replay = run_replay(recorded, session_file=file)
    assert replay.differences is None
    assert replay.summary.exact_share < 0.5
    with recording.read(recorded) as old, recording.read(replay.ended.recording) as new:
        table, before = new.presentations, old.presentations
        references = table["is_reference"]
        assert set(table["answer"][references]) == {"recorded"}
        assert set(table["answer"][~references]) == {"nearest code"}
        for row in np.flatnonzero(~references)[::5]:
            k = int(table["thread"][row])
            a, b = new.threads[k], old.threads[k]
            code = a.codes[a.image_id == table["image_id"][row]][0].astype(float)
            away = np.linalg.norm(b.codes.astype(float) - code, axis=1)
            assert table["answer_distance"][row] == away.min()
            source = np.flatnonzero(
                (before["presentation"] == table["answer_of"][row]) & (before["status"] == "ok")
            )[0]
            assert before["image_id"][source] == b.image_id[away.argmin()]
            for name, values in old.response(source)[1].items():
                np.testing.assert_array_equal(new.response(row)[1][name], values)
        texts = [str(e["text"]) for e in new.events if e["name"] == "rig_notice"]
        assert any("nearest code (median" in text for text in texts)


@pytest.mark.soak
def test_model_neurons_answer_as_in_a_simulation(recorded, tmp_path):
    """What another session would have been with the same neurons, bit for bit."""

    def settings(name):
        return small(
            tmp_path / name,
            session={"generations": 1, "seed": 6},
            references={"count": 0},
            presentation={"schedule": "together"},
            simulation={"abort_rate": 0.0, "seed": 5},  # the recorded session's
        )

    wanted = simulate(settings("wanted"))
    other = other_file(tmp_path, settings("other"))
    replay = run_replay(
        recorded, settings=ReplaySettings(answer="simulated"), session_file=other
    )
    assert set(replay.summary.answers) == {"encoder"}
    with recording.read(wanted) as a, recording.read(replay.ended.recording) as b:
        assert differences(a, b) == []
        assert {"scorer", "replayed recording"} < {w["role"] for w in b.weights}


def test_units_of_networks_stand_for_those_that_are_scored(recorded):
    with recording.read(recorded) as opened:
        rig = ReplayedRig(opened, sha256="0" * 64, nearest=NearestImages(opened, []))
        with pytest.raises(ConfigError, match="a unit for each that scores are made of, 1: "):
            simulated_encoder(opened, rig.hello, ["mini:fc6:5", "mini:fc6:3"])
        encoder = simulated_encoder(opened, rig.hello, ["mini:fc6:5"])
        image = opened.images[5]
    asked = Presentation(
        block=0,
        attempt=1,
        presentation=7,
        sha256="ab" * 32,
        on_ms=100.0,
        off_ms=50.0,
        size_deg=3.0,
        position_deg=(0.0, 0.0),
        window_ms=(-100.0, 300.0),
    )
    encoder.prepare({asked.sha256: image})
    result = encoder.present(image, asked)
    assert set(result.arrays["units"]) == {0}  # the other one is silent
    assert result.ok


@pytest.mark.soak
def test_a_session_that_was_stopped_ends_where_it_was(recorded, tmp_path):
    """In the middle of its third block."""
    journal = [record for _, record in read_journal(recorded.parent / "journal")]
    answers = [i for i, x in enumerate(journal) if isinstance(x, r.Result) and x.block == 2]
    last = answers[len(answers) // 2]
    with JournalWriter(tmp_path / "journal") as writer:
        for record in journal[:last]:
            writer.append(record)
        writer.append(r.RunEnd(journal[last].received_ns, "stopped by operator"))
    children.fold(tmp_path / "journal", tmp_path / "session.h5")
    with recording.read(tmp_path / "session.h5") as opened:
        assert (opened.presentations["status"] == "missing").any()
    replay = run_replay(tmp_path / "session.h5", out=tmp_path / "again")
    assert replay.ran_out
    assert replay.differences == []
    assert replay.summary.exact_share == 1


@pytest.mark.soak
def test_attempts_of_a_rig_that_was_gone_come_again(recorded, tmp_path):
    """Of a block, the last answers came under the attempt after; the engine had asked again."""
    journal = [record for _, record in read_journal(recorded.parent / "journal")]
    block = max(x.block for x in journal if isinstance(x, r.Result))
    mine = [x for x in journal if isinstance(x, r.Result) and x.block == block]
    late = {x.presentation for x in mine[len(mine) // 2 :]}
    with JournalWriter(tmp_path / "journal") as writer:
        for record in journal:
            if isinstance(record, r.Result) and record.presentation in late:
                record = msgspec.structs.replace(record, attempt=record.attempt + 1)
            writer.append(record)
    children.fold(tmp_path / "journal", tmp_path / "session.h5")
    replay = run_replay(tmp_path / "session.h5", out=tmp_path / "again")
    assert replay.differences == []
    with recording.read(replay.ended.recording) as opened:
        assert "resent" in opened.events["name"]
        sent = opened.sent[opened.sent["block"] == block]
        assert sent["attempt"].tolist()[:2] == [1, 2]


@pytest.mark.soak
def test_across_a_socket_it_is_the_recorded_session_too(recorded, tmp_path):
    with recording.read(recorded) as opened:
        settings = config.parse_session_file(opened.config)
    table = msgspec.structs.replace(settings.session, folder=str(tmp_path))
    settings = msgspec.structs.replace(settings, session=table)
    workers = []

    def start_rig(endpoint):
        def run():
            run_replay_rig(
                recorded,
                settings=ReplaySettings(nearness="pixels"),
                endpoint=endpoint,
                stop=lambda: False,
                tell=lambda _: None,
            )

        workers.append(threading.Thread(target=run))
        workers[0].start()

    ended = run_live(
        settings, config.commented_session_file(settings), Console(on_endpoint=start_rig)
    )
    workers[0].join()
    with recording.read(recorded) as a, recording.read(ended.recording) as b:
        assert differences(a, b) == []
        assert b.mode == "live"
        assert b.is_replay
        assert set(b.presentations["answer"]) == {"recorded"}
        texts = [str(e["text"]) for e in b.events if e["name"] == "rig_notice"]
    assert any("replay of small: no animal answers" in text for text in texts)


def test_what_differs_is_named(recorded, again, tmp_path):
    shutil.copy(again.ended.recording, tmp_path / "copy.h5")
    with h5py.File(tmp_path / "copy.h5", "r+") as file:
        file["threads/0/score"][3] += 1
        file["threads/1/states/000001"].attrs["sigma"] = 9.0
        file["presentations/onset_ns"][4] += 1
        file["spikes/time_ms"][0] += 1
        for path in ("threads/0/score", "presentations/onset_ns", "spikes/time_ms"):
            del file[path].attrs["crc32"]
        del file["attributes"]
    with recording.read(recorded) as a, recording.read(tmp_path / "copy.h5") as b:
        found = differences(a, b)
    assert found[:2] == [
        "score of texture, generation 0",
        "the optimizer's state of object, generation 1",
    ]
    assert [text.split(" of ")[0] for text in found[2:]] == ["the response", "onset_ns"]


def test_pauses_are_skipped_and_time_runs_as_fast_as_asked(recorded, again, clock):
    """By a clock that is moved on by whoever sleeps."""
    assert again.ended.reason == "finished"
    with recording.read(recorded) as opened:
        table = opened.presentations
        planned = table["on_ms"] + table["off_ms"]
        total = planned[table["attempt"] > 0].sum() / 1000
    assert clock.slept == pytest.approx(total / 10, rel=0.25)


class Sleeping:
    """A clock that stands, but for what is slept."""

    def __init__(self):
        self.slept = 0.0

    def monotonic(self):
        return self.slept

    def time_ns(self):
        return 1_800_000_000_000_000_000 + int(self.slept * 1e9)

    def sleep(self, seconds):
        self.slept += seconds


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--speed", "fast"), "--speed must be a number above 0, or max; got 'fast'"),
        (("--speed", "0"), "--speed must be a number above 0, or max; got '0'"),
        (("--metric", "m.npz"), "--metric goes with --nearest metric"),
        (("--nearest", "metric"), "needs the image metric of mini-texture"),
        (("--answer", "mini:fc9:1"), "mini"),
    ],
)
def test_what_cannot_be_is_said(recorded, tmp_path, monkeypatch, capsys, arguments, message):
    said = run_command(
        monkeypatch, capsys, "replay", recorded, "--out", tmp_path, *arguments, expect=2
    )
    assert message in " ".join(said.split())


def test_a_wider_window_than_was_recorded_is_refused(recorded, tmp_path):
    settings = session(tmp_path)
    table = msgspec.structs.replace(settings.rig, window_ms=(-200.0, 300.0))
    file = other_file(tmp_path, msgspec.structs.replace(settings, rig=table))
    with pytest.raises(ConfigError, match="must lie inside what was recorded"):
        run_replay(recorded, session_file=file)


def test_the_command_says_whose_answers_they_were(
    recorded, again, tmp_path, monkeypatch, capsys
):
    out = ("--out", tmp_path, "--no-report")
    file = other_file(tmp_path, session(tmp_path), seed=6, generations=1)
    options = (*out, "--config", file, "--nearest", "pixels")
    said = " ".join(run_command(monkeypatch, capsys, "replay", recorded, *options).split())
    assert "nearest pixels (median" in said
    assert "no test of an optimizer" in said
    print_same(again, recorded)
    said = " ".join(capsys.readouterr().out.split())
    assert "session of session.h5 again, bit for bit" in said


def test_a_replay_that_was_cut_is_begun_again(again, tmp_path, monkeypatch, capsys):
    journal = [record for _, record in read_journal(again.ended.folder / "journal")]
    with JournalWriter(tmp_path / "cut" / "journal") as writer:
        for record in journal[: len(journal) // 2]:
            writer.append(record)
    said = run_command(monkeypatch, capsys, "resume", tmp_path / "cut", expect=2)
    assert "it is a replay of a recording" in " ".join(said.split())


@pytest.fixture(scope="module")
def nearest(recorded, tmp_path_factory):
    """Another search of two generations, answered with the responses of nearest images."""
    folder = tmp_path_factory.mktemp("nearest")
    file = other_file(folder, session(folder), seed=6)
    return run_replay(recorded, session_file=file).ended.recording


@pytest.mark.soak
def test_a_replay_of_a_replay_keeps_whose_the_answers_were(nearest, tmp_path):
    replay = run_replay(nearest, out=tmp_path)
    assert replay.differences == []
    assert "replay of small" in replay.inherited
    with recording.read(nearest) as old, recording.read(replay.ended.recording) as new:
        before, table = old.presentations, new.presentations
        assert (before["answer"] == "nearest code").sum() > 20
        for name in ("answer", "answer_distance"):
            np.testing.assert_array_equal(table[name], before[name])
        (rig,) = new.rigs
        assert rig["name"] == "replay of small, itself a replay of small"
        files = [w for w in new.weights if w["role"] == "replayed recording"]
        digests = [hashlib.sha256(nearest.read_bytes()).hexdigest()]
        digests += [w["sha256"] for w in old.weights if w["role"] == "replayed recording"]
        assert [w["sha256"] for w in files] == digests
        texts = [str(e["text"]) for e in new.events if e["name"] == "rig_notice"]
        assert any("this recording is itself a replay of small" in text for text in texts)


def test_what_only_seemed_to_answer_is_nearest_to_nothing(nearest):
    """Of a replay, only images that were answered with their own responses are candidates."""
    with recording.read(nearest) as opened:
        table = opened.presentations
        own = table["image_id"][(table["answer"] == "recorded") & (table["status"] == "ok")]
        assert answered_images(opened) == np.unique(own).tolist()
        assert len(own) < len(table)


def test_a_session_that_was_killed_ends_where_its_record_does(recorded, tmp_path):
    """Between two generations, of which the second was never planned; or goes on, if asked."""
    journal = [record for _, record in read_journal(recorded.parent / "journal")]
    kept = []
    for record in journal:
        if isinstance(record, r.Proposed) and record.block > 1:
            break
        kept.append(record)
    with JournalWriter(tmp_path / "journal") as writer:
        for record in kept:
            writer.append(record)
    children.fold(tmp_path / "journal", tmp_path / "session.h5")
    replay = run_replay(tmp_path / "session.h5", out=tmp_path / "again")
    assert replay.ran_out
    assert replay.differences == []
    assert set(replay.summary.answers) == {"recorded"}
    settings = ReplaySettings(go_on=True)
    longer = run_replay(tmp_path / "session.h5", out=tmp_path / "longer", settings=settings)
    assert longer.ended.reason == "finished"
    assert longer.summary.answers["nearest code"] > 5


def test_a_replay_that_was_interrupted_says_so_and_is_no_failed_comparison(
    recorded, tmp_path, capsys
):
    def commands():
        return (Command("stop", "stopped by operator", "somebody"),)

    replay = run_replay(recorded, Console(commands=commands), out=tmp_path)
    print_same(replay, recorded)
    said = " ".join(capsys.readouterr().out.split())
    assert "this replay was interrupted (" in said
    assert "bit for bit" not in said


def test_verify_says_that_it_is_a_replay(nearest, monkeypatch, capsys):
    said = " ".join(run_command(monkeypatch, capsys, "verify", nearest).split())
    assert "no animal: it is a replay of small" in said
    assert "nearest code" in said
