"""Scores of every kind, from the record alone; and of a session that was interrupted."""

import json

import msgspec
import numpy as np
import pytest

from evolver import config, recording
from evolver.config.fitness_table import FitnessTable
from evolver.errors import RecordingError
from evolver.journal import records as r
from evolver.journal.writer import read_journal
from evolver.live import resume_simulated, run_simulated
from evolver.recording.replay import replayed_records
from evolver.recording.verify import verify
from evolver.session.rescore import rescore
from tests.cli.running import run_here
from tests.soak import further

from .sessions import small, unfolded
from .test_resume import cut, same
from .test_simulate import Watching

BOTH = (0, 1)
KINDS = {
    "normal": FitnessTable(BOTH, normalise="references", reference_blocks=2),
    "image": FitnessTable(
        BOTH, kind="target", target="reference:1", normalise="references", reference_blocks=1
    ),
    "best": FitnessTable(BOTH, kind="target", distance="squared-error", target="best"),
    "late": FitnessTable((0,), kind="late-early", minimise=True),
    "contrast": FitnessTable((0,), kind="contrast", others=(1,), baseline_ms=(0.0, 45.0)),
}


def session(folder, schedule):
    """Return a session of a thread a kind; two showings an image, one in five aborted."""
    settings = small(
        folder,
        session={"generations": 2},
        presentation={"schedule": schedule, "repeats": 2},
        references={"count": 3},
        simulation={"abort_rate": 0.2},
    )
    threads = tuple(
        config.ThreadTable(name, "mini-texture", popsize=4, fitness=table)
        for name, table in KINDS.items()
    )
    settings = msgspec.structs.replace(settings, threads=threads)
    return config.parse_session_file(config.commented_session_file(settings))


@pytest.fixture(scope="module", params=["references", further("alternate")])
def whole(request, tmp_path_factory):
    """A session without an interruption, its recording open, and its records."""
    settings = session(tmp_path_factory.mktemp(request.param), request.param)
    ended = run_simulated(settings, config.commented_session_file(settings), Watching().console)
    journal = [record for _, record in read_journal(ended.folder / "journal")]
    with recording.read(ended.recording) as opened:
        yield ended, journal, opened


def test_every_score_comes_out_again_of_the_journal_bit_for_bit(whole):
    _, journal, opened = whole
    found = rescore(journal)
    assert found.exact, found
    assert found.scores > 5 * 2 * 4 * 2
    assert found.states == 3 * len(opened.blocks)  # of the threads that learn


def test_every_score_comes_out_again_of_the_recording_bit_for_bit(whole):
    _, _, opened = whole
    for in_order in (True, False):
        found = rescore(replayed_records(opened), in_order=in_order)
        assert found.exact, found
        assert found.scores > 5 * 2 * 4 * 2


def test_a_changed_response_or_state_is_found(whole):
    _, journal, _ = whole
    at = next(
        i
        for i, x in enumerate(journal)
        if isinstance(x, r.Result) and x.status == "ok" and len(x.arrays["units"].data) > 80
    )
    changed = msgspec.structs.replace(
        journal[at],
        arrays={
            name: r.PackedArray(a.dtype, (0,), b"") for name, a in journal[at].arrays.items()
        },
    )
    assert rescore([*journal[:at], changed, *journal[at + 1 :]]).differing
    at = [i for i, x in enumerate(journal) if isinstance(x, r.Committed)][-1]
    states = [
        s and msgspec.structs.replace(s, showings=s.showings + 1)
        for s in journal[at].fitness_states
    ]
    changed = msgspec.structs.replace(journal[at], fitness_states=tuple(states))
    assert rescore([*journal[:at], changed]).states_differing == 3


def test_the_file_holds_all_that_scores_were_made_with(whole):
    ended, journal, opened = whole
    verify(ended.recording, ended.folder / "journal")
    committed = {x.block: x for x in journal if isinstance(x, r.Committed)}
    for k, (name, table) in enumerate(KINDS.items()):
        thread = opened.threads[k]
        assert thread.fitness["kind"] == table.kind
        assert thread.fitness["unit"] == table.score_unit
        assert not set(thread.fitness) & (table.unused_keys() - {"weights"})
        learns = name in {"normal", "image", "best"}
        assert bool(thread.fitness_states) == learns
        for at, block in enumerate(opened.blocks["block"] if learns else ()):
            state = committed[int(block)].fitness_states[k]
            assert thread.fitness_states["blocks"][at] == state.blocks
            row = thread.fitness_states["mean"][at]
            np.testing.assert_array_equal(row, state.mean.numpy())


def test_a_file_that_lacks_what_was_learnt_is_not_its_journal(whole, tmp_path):
    ended, journal, _ = whole
    at = next(i for i, x in enumerate(journal) if isinstance(x, r.Committed))
    first = journal[at].fitness_states[0]
    more = msgspec.structs.replace(first, mean=r.PackedArray.of(first.mean.numpy() + 1.0))
    changed = msgspec.structs.replace(
        journal[at], fitness_states=(more, *journal[at].fitness_states[1:])
    )
    cut([*journal[:at], changed, *journal[at + 1 :]], tmp_path)
    with pytest.raises(RecordingError, match="what fitness 0 had learnt with block"):
        verify(ended.recording, tmp_path / "journal")


def test_references_come_first_and_an_event_says_from_when_they_count(whole):
    _, journal, opened = whole
    plans = [x for x in journal if isinstance(x, r.Proposed)]
    assert [len(plan.threads) > 0 for plan in plans[:3]] == [False, False, True]
    assert all(np.isfinite(thread.score).all() for thread in opened.threads)
    said = [str(e["text"]) for e in opened.events if e["name"] == "fitness"]
    assert [text.partition(":")[0] for text in said] == ["normal", "image", "best"]
    known = opened.threads[1].fitness_states
    at = int(np.flatnonzero(known["blocks"] == 2)[0])
    n, of_image = known["showings"][at], known["target_showings"][at]
    assert f"normalised by the references, {n} showings so far" in said[0]
    assert f"reference 1, {of_image} showings" in said[1]
    assert "each unit's best response so far" in said[2]


def test_z_scores_of_references_are_about_zero_and_one_apart(whole):
    _, _, opened = whole
    thread = opened.threads[0]
    n = thread.fitness_states["showings"]
    assert (np.diff(np.sort(n)) >= 0).all()
    last = int(np.argmax(thread.fitness_states["blocks"]))
    sd = np.sqrt(thread.fitness_states["squares"][last] / (n[last] - 1))
    shown = (opened.presentations["is_reference"]) & (opened.presentations["status"] == "ok")
    raw = opened.rates((50.0, 200.0))[shown]
    assert n[last] == len(raw)
    np.testing.assert_allclose(thread.fitness_states["mean"][last], raw.mean(axis=0))
    np.testing.assert_allclose(sd, raw.std(axis=0, ddof=1))


@pytest.mark.parametrize(
    "at", ["before any generation", further("half way"), further("at the end")]
)
def test_cut_anywhere_it_scores_as_if_it_had_not_been(whole, tmp_path, at):
    ended, journal, opened = whole
    kinds = [type(x) for x in journal]
    n = {
        "before any generation": kinds.index(r.Committed),  # of references alone
        "half way": len(kinds) // 2,
        "at the end": len(kinds) - 1 - kinds[::-1].index(r.Result),
    }[at]
    cut(journal[:n], tmp_path)
    again = resume_simulated(tmp_path, Watching().console)
    assert again.reason == "finished"
    assert same(ended.recording, again.recording) == (1, True), f"cut after {n} records"
    found = rescore(x for _, x in read_journal(tmp_path / "journal"))
    assert found.exact, found
    with recording.read(again.recording) as other:
        for a, b in zip(opened.threads, other.threads, strict=True):
            assert a.fitness_states.keys() == b.fitness_states.keys()
            for name, array in a.fitness_states.items():
                np.testing.assert_array_equal(array, b.fitness_states[name])
        said = [str(e["text"]) for e in other.events if e["name"] == "fitness"]
        assert len(said) == 3  # once, by whichever process it was


def test_the_command_that_verifies_makes_every_score_again(whole, monkeypatch, capsys):
    ended, _, opened = whole
    n = rescore(replayed_records(opened)).scores
    said = run_here(monkeypatch, capsys, "verify", ended.recording)
    assert f"{n} scores are, bit for bit, what the recorded responses give" in said


def test_a_session_of_rates_is_recorded_as_ever(tmp_path):
    """No state, no key of another kind: a file without `kind` is what it was."""
    settings = small(tmp_path, session={"generations": 1}, references={"count": 2})
    text = config.commented_session_file(settings)
    ended = run_simulated(settings, text, Watching().console, fold=unfolded)
    journal = [record for _, record in read_journal(ended.folder / "journal")]
    assert all(b"fitness_states" not in r.encode_record(x) for x in journal)
    said = json.loads(journal[0].threads[0].fitness)
    old = {"units", "weights", "response_ms", "baseline_ms", "missing", "max_attempts"}
    assert set(said) == old | {"kind", "normalise", "minimise", "unit", "response_unit"}
    found = rescore(journal)
    assert found.exact
    assert found.states == 0
