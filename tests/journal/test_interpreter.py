"""What records mean where they stand, and what follows from them for a session that goes on."""

import gc
import tracemalloc

import msgspec
import numpy as np
import pytest

from evolver.errors import DataError, RecordingError
from evolver.journal import JournalWriter
from evolver.journal import records as r
from evolver.journal.history import read_history
from evolver.journal.interpreter import Interpreter, interpret

N, D = 3, 2
BUDGET = r.TimeBudget(0, 0, 0, 0, 0, 0, 0, 0, 0)


def start(n_threads):
    threads = tuple(
        r.ThreadInfo(f"t{k}", "cholesky", "g", D, N, 8, "0" * 64, "{}", "{}")
        for k in range(n_threads)
    )
    return r.RunStart(2, "0" * 32, "s", "", 1, "live", "", threads, (), {}, {}, (-100.0, 300.0))


def proposed(block, threads, generation, *, references=0):
    """Return a plan: a generation of each thread, and references; `N` numbers a part."""
    first = block * 100
    parts = tuple(
        r.ProposedThread(
            k,
            generation,
            r.PackedArray.of(np.full((N, D), block, float)),
            tuple(f"{block}-{k}-{i}" for i in range(N)),
            {"block": block},
            "{}",
        )
        for k in threads
    )
    rows = [(k, i) for k in threads for i in range(N)]
    rows += [(-1, i) for i in range(references)]
    return r.Proposed(
        block,
        block,
        parts,
        tuple(f"ref-{i}" for i in range(references)),
        tuple(f"reference {i}" for i in range(references)),
        tuple(
            r.PlannedPresentation(first + i, k, row, 0, 100.0, 50.0)
            for i, (k, row) in enumerate(rows)
        ),
    )


def sent(block, numbers, attempt=1):
    return r.Sent(block, attempt, tuple(block * 100 + n for n in numbers), 0)


def result(block, n, attempt=1, status="ok", **arrays):
    arrays = arrays or {"units": np.zeros(1, "<u4"), "times_ms": np.zeros(1, "<f4")}
    packed = {name: r.PackedArray.of(array) for name, array in arrays.items()}
    form = "spikes" if "units" in arrays else next(iter(arrays))
    return r.Result(
        block, block * 100 + n, attempt, status, "", 0, 0, 0, 0, "flip", form, packed
    )


def committed(block, threads, generation):
    scores = r.PackedArray.of(np.arange(N, dtype=float))
    parts = tuple(r.CommittedThread(k, generation, scores, scores) for k in threads)
    return r.Committed(block, block, parts, (), BUDGET)


def history(folder, records):
    with JournalWriter(folder / "journal") as journal:
        for record in records:
            journal.append(record)
    return read_history(folder / "journal")


@pytest.mark.parametrize("n_blocks", [2, 3, 5, 6, 9])
def test_every_block_under_way_is_unfinished_however_many(tmp_path, n_blocks):
    """A thread a block; the first generation of each is committed, the second is under way."""
    threads = range(n_blocks - 1)
    records = [start(n_blocks - 1)]
    for k in threads:
        records += [proposed(k, [k], 0), committed(k, [k], 0)]
    for block in range(n_blocks - 1, 2 * (n_blocks - 1)):
        records += [proposed(block, [block - n_blocks + 1], 1), sent(block, range(N))]
    last = 2 * (n_blocks - 1)
    records += [proposed(last, [], 0, references=2), sent(last, range(2))]
    records.append(result(last, 1))
    stood = history(tmp_path, records)
    under_way = list(range(n_blocks - 1, last + 1))
    assert [u.proposed.block for u in stood.unfinished] == under_way
    assert [u.last_attempt for u in stood.unfinished] == [1] * n_blocks
    assert stood.unfinished[-1].unanswered == {1: (last * 100,)}
    assert [x.presentation for x in stood.unfinished[-1].results] == [last * 100 + 1]
    assert [t.generation for t in stood.threads] == [1] * (n_blocks - 1)
    assert [t.block for t in stood.threads] == under_way[:-1]
    assert all(t.committed is None for t in stood.threads)
    assert stood.next_block == last + 1
    assert stood.next_presentation == last * 100 + 2
    assert not stood.last_was_threads


def test_blocks_that_are_committed_out_of_order(tmp_path):
    records = [start(5), *(proposed(k, [k], 0) for k in range(5))]
    records += [committed(3, [3], 0), committed(0, [0], 0), proposed(5, [0], 1)]
    stood = history(tmp_path, records)
    assert [u.proposed.block for u in stood.unfinished] == [1, 2, 4, 5]
    assert [t.generation for t in stood.threads] == [1, 0, 0, 0, 0]
    assert [t.committed is not None for t in stood.threads] == [
        False,
        False,
        False,
        True,
        False,
    ]


def test_a_generation_that_another_followed_was_finished_even_if_its_commit_is_lost(tmp_path):
    records = [start(2), proposed(0, [0, 1], 0), result(0, 0), proposed(1, [0, 1], 1)]
    stood = history(tmp_path, records)
    assert [u.proposed.block for u in stood.unfinished] == [1]
    assert stood.answered == 1


def test_what_was_asked_again_is_waited_for_by_its_last_attempt(tmp_path):
    records = [start(1), proposed(0, [0], 0), sent(0, range(3)), result(0, 0), result(0, 1)]
    records += [sent(0, [1, 2], attempt=2), result(0, 1), result(0, 1, status="aborted")]
    stood = history(tmp_path, records)
    (unfinished,) = stood.unfinished
    assert unfinished.unanswered == {2: (1, 2)}
    assert unfinished.last_attempt == 2
    assert len(unfinished.results) == 2
    assert (stood.answered, stood.aborted) == (2, 0)


def test_a_session_that_went_on_has_not_ended(tmp_path):
    end, resumed = r.RunEnd(5, "stopped by operator"), r.Resumed(6, False, "", {}, {})
    stood = history(tmp_path, [start(1), end, resumed])
    assert (stood.ended, stood.resumed) == ("", 1)
    stood = history(tmp_path / "again", [start(1), end, resumed, end])
    assert stood.ended == "stopped by operator"


def readings(records):
    interpreter = Interpreter()
    return interpreter, list(interpret(enumerate(records), interpreter))


def test_an_answer_is_joined_with_its_plan_and_units_with_their_rows():
    units = tuple(r.UnitInfo(i, 0, "IT", f"u{i}") for i in range(3))
    records = [start(1), r.RigRecord(0, "a", "", units, ""), proposed(0, [0], 0, references=1)]
    records += [r.RigRecord(1, "b", "", (units[2], r.UnitInfo(9, 0, "V4", "new")), "")]
    records += [
        result(0, 2, units=np.array([1, 3], "<u4"), times_ms=np.zeros(2, "<f4")),
        result(0, 3, rates=np.zeros(2)),
        result(0, 1, rates=np.zeros(0)),
    ]
    interpreter, answers = readings(records)
    spikes, rates, nothing = answers[-3:]
    assert spikes.rows.tolist() == [2, 3, 4, 5]
    assert [unit.label for unit in interpreter.units[3:]] == ["new", "unlisted 2", "unlisted 3"]
    assert spikes.warnings == ("presentation 2 has a unit 3, which no rig listed",)
    assert (spikes.showing.generation, spikes.showing.sha256) == (0, "0-0-2")
    assert (rates.showing.generation, rates.showing.sha256) == (-1, "ref-0")
    assert rates.rows.tolist() == [2, 3]
    assert nothing.rows.size == 0
    assert nothing.form == "rates"
    assert [answer.rig for answer in answers[-3:]] == [1, 1, 1]


def test_what_is_missing_repeated_or_malformed_is_named():
    records = [start(1), result(7, 0), result(7, 0), proposed(0, [0], 0), committed(0, [0], 0)]
    records += [
        result(0, 1),
        result(0, 2, units=np.zeros(2, "<u4"), times_ms=np.zeros(1, "<f4")),
    ]
    records += [proposed(1, [0], 0)]
    interpreter, taken = readings(records)
    assert taken[1].warnings[0] == "presentation 700 was shown, its plan is lost"
    assert taken[2].repeated
    assert "more than one result" in taken[2].warnings[0]
    assert taken[5].showing is None  # late: its block is over
    assert taken[5].warnings == ()
    assert taken[6].form is None
    assert "is malformed" in taken[6].warnings[0]
    assert "proposed again in block 1" in taken[7].warnings[0]
    assert interpreter.answered == 3


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (proposed(0, [1], 0), "a thread must be from 0 to 0"),
        (
            msgspec.structs.replace(proposed(0, [], 0, references=1), reference_labels=()),
            "one label a reference",
        ),
    ],
)
def test_a_contradiction_is_refused_and_nothing_of_it_is_taken(record, text):
    interpreter = Interpreter()
    interpreter.take(0, start(1))
    with pytest.raises(DataError, match=text):
        interpreter.take(1, record)
    assert interpreter.open_blocks == {}
    assert interpreter.next_block == 0
    with pytest.raises(RecordingError, match="record 1 contradicts itself"):
        list(interpret([(1, record)], interpreter))


def test_a_later_version_is_refused(tmp_path):
    later = msgspec.structs.replace(start(1), journal_version=3, versions={"evolver": "9"})
    with pytest.raises(RecordingError, match=r"has version 3.*'evolver': '9'"):
        history(tmp_path, [later])


def test_memory_follows_the_blocks_under_way_not_the_session():
    interpreter = Interpreter()
    interpreter.take(0, start(1))
    tracemalloc.start()
    used = []
    for block in range(150):
        interpreter.take(0, proposed(block, [0], block))
        for n in range(N):
            interpreter.take(0, result(block, n))
        interpreter.take(0, committed(block, [0], block))
        if block in {49, 149}:
            gc.collect()  # what is garbage by then is nobody's memory
            used.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert interpreter.answered == 150 * N
    assert used[1] - used[0] < 150 * 100  # bytes a block: bits of its numbers


@pytest.mark.parametrize(
    ("left", "block", "presentation"),
    [
        ([], 1, N),  # nothing was shown: the same numbers, and the same plan, again
        ([sent(7, range(N))], 8, 700 + N),
        ([result(7, 2), result(7, 0)], 8, 703),
        ([committed(7, [0], 1)], 8, N),
    ],
)
def test_numbers_that_a_lost_plan_gave_are_not_given_again(tmp_path, left, block, presentation):
    stood = history(tmp_path, [start(1), proposed(0, [0], 0), committed(0, [0], 0), *left])
    assert (stood.next_block, stood.next_presentation) == (block, presentation)
    assert stood.unfinished == []


def test_an_attempt_whose_sending_was_lost_is_not_made_again(tmp_path):
    records = [start(1), proposed(0, [0], 0), sent(0, range(N)), result(0, 1, attempt=2)]
    (unfinished,) = history(tmp_path, records).unfinished
    assert unfinished.last_attempt == 2
