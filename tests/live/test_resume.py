"""A session that was interrupted anywhere goes on as if it had not been."""

from concurrent.futures import wait
from functools import partial

import msgspec
import numpy as np
import pytest

from evolver import config, recording
from evolver.config import usual_optimizers
from evolver.errors import ConfigError, RecordingError
from evolver.journal import frames
from evolver.journal.history import find_history, read_history
from evolver.journal.reader import segment_paths
from evolver.journal.records import (
    Committed,
    Event,
    PackedArray,
    Proposed,
    Result,
    Resumed,
    RigRecord,
    RunEnd,
    RunStart,
    Sent,
)
from evolver.journal.writer import JournalWriter, read_journal
from evolver.live import resume_simulated, run, run_simulated
from evolver.recording.fold import fold
from evolver.session.block import RunningBlock
from evolver.session.loop import BLOCKS_AT_ONCE, Loop
from evolver.setup import preflight
from evolver.setup.build import build_parts
from evolver.setup.resume import Restored
from evolver.setup.simulated_rig import LocalRig, build_population
from tests import children
from tests.cli.running import run_here
from tests.soak import further, share

from . import mortal
from .sessions import small, unfolded, write
from .test_simulate import Watching


def tiny(folder, schedule):
    return small(
        folder,
        session={"generations": 3},
        presentation={"schedule": schedule},
        references={"count": 2},
    )


@pytest.fixture(
    scope="module", params=["references", further("alternate"), further("together")]
)
def whole(request, tmp_path_factory):
    """An uninterrupted session's settings, folder, and records."""
    settings = tiny(tmp_path_factory.mktemp(request.param), request.param)
    ended = run_simulated(settings, config.commented_session_file(settings), Watching().console)
    return ended, [record for _, record in read_journal(ended.folder / "journal")]


def cut(records, folder):
    """Write a journal with `records` and no more."""
    with JournalWriter(folder / "journal") as journal:
        for record in records:
            journal.append(record)
        journal.sync()


def flip(folder, number):
    """Flip one bit in the middle of a record."""
    (path,) = segment_paths(folder / "journal")
    data = bytearray(path.read_bytes())
    frame = next(f for f in frames.scan(bytes(data)).frames if f.sequence == number)
    data[frame.offset + frame.length // 2] ^= 1
    path.write_bytes(data)


def same(one, other):
    """Whether two recordings hold the same session."""
    with recording.read(one) as a, recording.read(other) as b:
        for x, y in zip(a.threads, b.threads, strict=True):
            np.testing.assert_array_equal(x.codes, y.codes)
            np.testing.assert_array_equal(x.score, y.score)
            np.testing.assert_array_equal(x.image_id, y.image_id)
        np.testing.assert_array_equal(a.reference_scores, b.reference_scores)
        assert len(a.presentations) == len(b.presentations)
        for name in ("presentation", "attempt", "block", "thread", "row", "status"):
            np.testing.assert_array_equal(a.presentations[name], b.presentations[name])
        for row in range(len(a.presentations)):
            for s, t in zip(a.spikes(row), b.spikes(row), strict=True):
                np.testing.assert_array_equal(s, t)
        return b.resumed, b.bit_identical


def places(records):
    """Return a cut after each sort of record of a block, early, in the middle, or late."""
    rng = np.random.default_rng(7)
    kinds = {type(r) for r in records} - {RunStart, RigRecord, RunEnd}
    return [
        int(rng.choice([i for i, r in enumerate(records) if type(r) is kind])) + 1
        for kind in sorted(kinds, key=lambda kind: kind.__name__)
    ]


@pytest.mark.parametrize("whole", ["references", "together"], indirect=True)
def test_cut_anywhere_it_goes_on_bit_for_bit(whole, tmp_path):
    """After every fourth sort of record; each schedule begins with another one."""
    ended, records = whole
    settings = config.parse_session_file(records[0].config)
    first = 1 + (settings.presentation.schedule == "together")
    check_cuts(ended, records, places(records)[first::4], tmp_path)


@pytest.mark.soak
def test_cut_after_every_sort_of_record_it_goes_on_bit_for_bit(whole, tmp_path):
    ended, records = whole
    check_cuts(ended, records, places(records), tmp_path)


def go_on(folder, console):
    """Go on with a session, and leave it its journal alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "fold_in_child", unfolded)
        return resume_simulated(folder, console)


@pytest.fixture(scope="module")
def gone_on(whole, tmp_path_factory):
    """A session that went on after its fourth result: how many records were left, and all."""
    folder = tmp_path_factory.mktemp("gone-on")
    at = [i for i, r in enumerate(whole[1]) if isinstance(r, Result)][3]
    cut(whole[1][: at + 1], folder)
    go_on(folder, Watching().console)
    return at + 1, [r for _, r in read_journal(folder / "journal")]


@pytest.mark.soak
@pytest.mark.parametrize("whole", ["references"], indirect=True)
def test_cut_before_its_first_block_it_is_the_same_session(whole, tmp_path):
    """How blocks follow one another is all to come."""
    ended, records = whole
    assert [type(record) for record in records[:2]] == [RunStart, RigRecord]
    check_cuts(ended, records, (2,), tmp_path)


def check_cuts(ended, records, places_of_cuts, tmp_path):
    for n in places_of_cuts:
        folder = tmp_path / f"cut-{n}"
        cut(records[:n], folder)
        again = resume_simulated(folder, Watching().console)
        assert again.reason == "finished"
        assert same(ended.recording, again.recording) == (1, True), f"cut after {n} records"


@pytest.fixture
def five_at_once(monkeypatch):
    """Five blocks overlap: all of them are with the rig before the first is answered."""
    monkeypatch.setattr(run, "Loop", partial(Loop, blocks_at_once=5))
    rendered = property(lambda block: not wait(block.rendering).not_done)
    monkeypatch.setattr(RunningBlock, "is_rendered", rendered)
    return monkeypatch


@pytest.mark.parametrize(
    ("last", "then_at_once"),
    [("second", BLOCKS_AT_ONCE), ("second", 5), ("fifth", BLOCKS_AT_ONCE)],
)
@pytest.mark.soak
def test_as_many_blocks_as_overlapped_go_on(tmp_path, five_at_once, last, then_at_once):
    """How many were open follows from the records, whatever the loop that goes on would do."""
    threads = tuple(
        config.ThreadTable(f"texture-{k}", "mini-texture", popsize=4) for k in range(5)
    )
    settings = tiny(tmp_path / "whole", "alternate")
    session = msgspec.structs.replace(settings.session, generations=2)
    settings = msgspec.structs.replace(settings, session=session, threads=threads)
    settings = config.parse_session_file(config.commented_session_file(settings))
    ended = run_simulated(settings, config.commented_session_file(settings), Watching().console)
    records = [record for _, record in read_journal(ended.folder / "journal")]
    # After the fifth block was sent, and in the middle of what came of the second.
    kind, block = (Sent, 4) if last == "fifth" else (Result, 1)
    at = next(i for i, r in enumerate(records) if isinstance(r, kind) and r.block == block)
    five_at_once.setattr(run, "Loop", partial(Loop, blocks_at_once=then_at_once))
    cut(records[: at + 1], tmp_path / "cut")
    unfinished = read_history(tmp_path / "cut" / "journal").unfinished
    assert len({u.proposed.block for u in unfinished}) >= 4
    again = resume_simulated(tmp_path / "cut", Watching().console)
    assert again.reason == "finished"
    assert same(ended.recording, again.recording) == (1, True)


def test_cut_again_and_again(whole, tmp_path):
    ended, records = whole
    first = len(records) // 3
    cut(records[:first], tmp_path)
    reason, resumed = "", 0
    while reason != "finished":
        again = go_on(tmp_path, Watching(stop_after=16).console)
        reason, resumed = again.reason, resumed + 1
        assert resumed < 50
    assert resumed > 1
    fold(tmp_path / "journal", again.recording)
    assert same(ended.recording, again.recording) == (resumed, True)


def test_what_came_and_was_not_learnt_from_is_not_shown_again(gone_on):
    left, records = gone_on
    before, again = (
        [(r.presentation, r.attempt) for r in part if isinstance(r, Result)]
        for part in (records[:left], records[left:])
    )
    assert len(before) == 4
    assert again
    assert set(before).isdisjoint(again)


def last_generation_with_two_results(records):
    """Return where the last generation was proposed, and where its second result came."""
    lost = max(i for i, r in enumerate(records) if isinstance(r, Proposed) and r.threads)
    block = records[lost].block
    answers = [i for i, r in enumerate(records) if isinstance(r, Result) and r.block == block]
    return lost, answers[1]


@pytest.mark.soak
def test_where_a_plan_is_lost_its_numbers_are_not_given_again(
    whole, tmp_path, monkeypatch, capsys
):
    """What was measured under them stays as it is, and all that comes is kept beside it.

    The damage is said on the terminal, in the record and by `verify`.
    """
    _, records = whole
    lost, second = last_generation_with_two_results(records)
    cut(records[: second + 1], tmp_path)
    flip(tmp_path, lost)
    named = records[: second + 1]
    shown = {(r.presentation, r.attempt) for r in named if isinstance(r, Result)}
    planned = {n for r in named if isinstance(r, Sent) for n in r.presentations}
    blocks = {r.block for r in named if isinstance(r, Proposed)}
    loss = f"records {lost} to {lost} of the journal cannot be read; what they held is missing"

    said = run_here(monkeypatch, capsys, "resume", tmp_path, "--no-report")

    assert f"the journal is damaged: {loss}" in " ".join(said.split())
    after = [r for n, r in read_journal(tmp_path / "journal") if n > second]
    (event,) = [r for r in after if isinstance(r, Event) and r.name == "journal_damaged"]
    assert event.level == "warning"
    assert loss in event.text
    proposed = [r for r in after if isinstance(r, Proposed)]
    assert proposed[0].threads == records[lost].threads  # asked for as before, bit for bit
    assert blocks.isdisjoint(r.block for r in proposed)
    assert planned.isdisjoint(p.presentation for r in proposed for p in r.presentations)
    came = {(r.presentation, r.attempt) for r in after if isinstance(r, Result)}
    with recording.read(tmp_path / "session.h5") as opened:
        assert opened.end_reason == "finished"
        assert not opened.bit_identical
        assert "journal_damaged" in opened.events["name"].astype(str)
        table = opened.presentations
        rows = zip(table["presentation"].tolist(), table["attempt"].tolist(), strict=True)
        assert {row for row in rows if row[1]} == shown | came
        assert not any("more than one result" in line for line in opened.warnings)
    said = " ".join(run_here(monkeypatch, capsys, "verify", tmp_path / "session.h5").split())
    assert "1 records of its journal could not be read" in said
    assert f"records {lost} to {lost} are missing" in said
    assert said.endswith("good")


@pytest.mark.parametrize("whole", ["references"], indirect=True)
def test_damage_at_the_end_of_a_journal_is_said_too(whole, tmp_path):
    """No later record tells by its number that one is missing."""
    _, records = whole
    cut(records[:6], tmp_path)
    assert not read_history(tmp_path / "journal").index.summary.loss
    flip(tmp_path, 5)
    loss = read_history(tmp_path / "journal").index.summary.loss
    assert loss.startswith("segment-000000.evj from byte ")
    report = fold(tmp_path / "journal", tmp_path / "cut.h5")
    assert any("cannot be read from byte" in line for line in report.warnings)


def test_other_codes_than_recorded_go_on_from_the_recorded_ones_and_are_marked(whole, tmp_path):
    """A machine on which the same draw comes out otherwise, as far as the journal can tell."""
    records = [*whole[1]]
    at = max(i for i, r in enumerate(records) if isinstance(r, Proposed) and r.threads)
    proposed = records[at]
    first = proposed.threads[0]
    moved = first.codes.numpy() + 1e-9
    changed = msgspec.structs.replace(first, codes=PackedArray.of(moved))
    records[at] = msgspec.structs.replace(proposed, threads=(changed, *proposed.threads[1:]))
    cut(records[: at + 2], tmp_path)
    again = resume_simulated(tmp_path, Watching().console)
    with recording.read(again.recording) as opened:
        assert not opened.bit_identical
        thread = opened.threads[first.thread]  # one of a block may hold one thread alone
        codes = thread.codes[thread.generation == first.generation]
        np.testing.assert_array_equal(codes, moved.astype(np.float32))
        names = opened.events["name"].astype(str).tolist()
        texts = opened.events["text"].astype(str)
        assert f"codes of {thread.name} came out otherwise" in texts[names.index("resumed")]


def test_it_goes_on_with_the_optimizer_it_was_begun_with(whole, tmp_path, monkeypatch):
    """Where its file names none, and another suits its generator by now."""
    ended, (start, *rest) = whole
    named = 'optimizer = "snes"\n'
    assert named in start.config
    silent = msgspec.structs.replace(start, config=start.config.replace(named, ""))
    monkeypatch.setattr(usual_optimizers, "COMPARED", {})
    cut([silent, *rest[: len(rest) // 2]], tmp_path)
    again = resume_simulated(tmp_path, Watching().console)
    assert same(ended.recording, again.recording) == (1, True)


def test_a_finished_session_does_not_go_on(whole):
    ended, _ = whole
    with pytest.raises(RecordingError, match="it is finished"):
        resume_simulated(ended.folder, Watching().console)


def test_other_weights_are_refused(whole, tmp_path):
    _, records = whole
    start = records[0]
    other = msgspec.structs.replace(start.threads[0], weights_sha256="0" * 64)
    start = msgspec.structs.replace(start, threads=(other, *start.threads[1:]))
    cut([start, *records[1:9]], tmp_path)
    with pytest.raises(ConfigError, match="must go on with the weights it began with"):
        resume_simulated(tmp_path, Watching().console)


def test_another_scorer_network_is_refused(whole, tmp_path):
    """Every digest on record is compared, not the generators' alone."""
    _, records = whole
    start = records[0]
    scorers = [file for file in start.weights if file.role == "scorer"]
    assert scorers
    other = [
        msgspec.structs.replace(file, sha256="0" * 64) if file.role == "scorer" else file
        for file in start.weights
    ]
    cut([msgspec.structs.replace(start, weights=tuple(other)), *records[1:-1]], tmp_path)
    with pytest.raises(ConfigError, match=r"scorer .* must go on with the weights it began"):
        resume_simulated(tmp_path, Watching().console)


def test_history_says_where_a_session_stood(whole, tmp_path):
    _, records = whole
    at = [i for i, r in enumerate(records) if isinstance(r, Committed)][1]
    cut(records[: at + 1], tmp_path)
    history = read_history(tmp_path / "journal")
    proposed = [r for r in records[: at + 1] if isinstance(r, Proposed)]
    committed = {r.block for r in records[: at + 1] if isinstance(r, Committed)}
    assert history.next_block == len(proposed)
    assert [u.proposed.block for u in history.unfinished] == [
        p.block for p in proposed if p.block not in committed
    ]
    assert history.ended == ""
    assert history.answered == sum(isinstance(r, Result) for r in records[: at + 1])


@pytest.mark.parametrize(
    ("reason", "held"), [("stopped by operator", ""), ("error: MemoryError", "pause")]
)
def test_a_pause_outlives_an_error_and_no_end_by_the_operator(whole, tmp_path, reason, held):
    _, records = whole
    ending = [Event(1, "info", "pause", ""), RunEnd(2, reason)]
    cut([*records[:20], *ending], tmp_path)
    assert read_history(tmp_path / "journal").held == held


def test_the_record_says_that_it_went_on(gone_on):
    (resumed,) = [r for r in gone_on[1] if isinstance(r, Resumed)]
    assert resumed.bit_identical
    assert resumed.machine


def test_no_watchdog_blames_the_rig_for_an_engine_that_was_ended_as_it_stood_still(
    whole, tmp_path
):
    """The block under way has the time in its budget all the same."""
    _, records = whole
    sent = [r for r in records if isinstance(r, Sent) and len(r.presentations) > 1][-1]
    at = next(
        i for i, r in enumerate(records) if isinstance(r, Result) and r.block == sent.block
    )
    died = Event(records[at].received_ns + 60 * 10**9, "error", "engine_died", "")
    cut([*records[: at + 1], died], tmp_path)
    go_on(tmp_path, Watching().console)
    after = [r for _, r in read_journal(tmp_path / "journal")][at + 1 :]
    (block,) = [r for r in after if isinstance(r, Committed) and r.block == sent.block]
    assert block.budget.wait > 60
    assert not [r.text for r in after if isinstance(r, Event) and "on the rig" in r.text]


def run_and_kill(file, folder, rng, generations):
    """Go on with a session, kill it somewhere; return whether it was killed, not finished."""
    receive, send = children.pipe()
    process = children.child(mortal.go_on, file, folder, send)
    send.close()
    if rng.random() < 0.2:
        process.join(float(rng.random()) / 2)  # while it starts
        return children.kill(process)
    try:
        for _ in range(int(rng.integers(5, 4 * generations))):
            receive.recv()
        for _ in range(int(rng.integers(0, 200_000))):
            pass  # some moment between two
        return children.kill(process)
    except EOFError:
        process.join()
        assert process.exitcode == 0
        return False
    finally:
        receive.close()


def check_trajectory(tmp_path, parent, session):
    """Compare a session that was killed with one that was not; return how often it went on."""
    (folder,) = [f for f in parent.iterdir() if find_history(f / "journal")]
    offline = small(tmp_path / f"whole-{parent.name}", session=session)
    whole = run_simulated(offline, config.commented_session_file(offline), Watching().console)
    resumed, identical = same(whole.recording, folder / "session.h5")
    assert identical
    return resumed


def check_kills(tmp_path, wanted, rng, generations):
    """Kill sessions at random moments, again and again; compare them with unkilled ones."""
    kills = gone_on = 0
    while kills < wanted:
        seed = int(rng.integers(1, 10_000))
        session = {"generations": generations, "seed": seed}
        settings = small(tmp_path / str(seed), session=session)
        file = write(settings, tmp_path / f"{seed}.toml")
        before = kills
        while run_and_kill(file, tmp_path / str(seed), rng, generations):
            kills += 1
        resumed = check_trajectory(tmp_path, tmp_path / str(seed), session)
        assert resumed <= kills - before
        gone_on += resumed
    assert gone_on >= wanted / 2  # others were killed before they had begun, or in the fold


def test_a_kill_leaves_the_trajectory_as_it_was(tmp_path):
    """In the middle of the session; a soak has two hundred, anywhere."""
    session = {"generations": 2, "seed": 7}
    folder = tmp_path / "killed"
    file = write(small(folder, session=session), tmp_path / "s.toml")
    for is_killed in (True, False):
        receive, send = children.pipe()
        process = children.child(mortal.go_on, file, folder, send)
        send.close()
        if is_killed:
            for _ in range(5):
                receive.recv()
            assert children.kill(process)
        else:
            process.join()
            assert process.exitcode == 0
        receive.close()
    assert check_trajectory(tmp_path, folder, session) == 1


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_two_hundred_kills_leave_the_trajectory_as_it_was(tmp_path):
    check_kills(tmp_path, share(200, 60), np.random.default_rng(20261121), generations=40)


def test_its_checks_say_how_far_it_is_and_speak_of_no_beginning(whole, tmp_path):
    _, records = whole
    at = [i for i, r in enumerate(records) if isinstance(r, Committed) and r.threads]
    cut(records[: at[-2] + 1], tmp_path)
    restored = Restored.of(read_history(tmp_path / "journal"))
    settings = config.parse_session_file(restored.config_text)
    parts = build_parts(settings, restored=restored)
    rig = LocalRig(build_population(settings), settings, clock=None)
    checks = preflight.before_the_rig(parts, tmp_path, time_ns=1, monotonic=lambda: 0.0)
    checks += preflight.with_the_rig(parts, rig.hello, tmp_path)
    done, of = parts.done, settings.session.generations
    assert 0 < min(done) < of
    searches = [check.text for check in checks if check.name == "search"]
    assert searches == [
        f"{table.name}: {table.optimizer} goes on, {n} of {of} generations done"
        for table, n in zip(settings.threads, done, strict=True)
    ]
    said = {check.name: check.text for check in checks}
    assert "images" not in said  # those that a search begins with
    left = of - min(done)
    are = "is" if left == 1 else "are"
    assert f"the {left} of {of} generations that {are} left {are} " in said["duration"]
    assert "the rest of the session takes about" in said["disk"]
    assert not any("begin" in check.text or "first" in check.text for check in checks)
