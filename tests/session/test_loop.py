"""The loop alone: a rig, a recorder and a clock made of plain values."""

from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from evolver import seeds
from evolver.config.tables import FitnessTable
from evolver.errors import MissingResponseError, RecordingError
from evolver.journal.records import (
    Committed,
    CommittedThread,
    Event,
    Proposed,
    Result,
    Sent,
    TimeBudget,
)
from evolver.journal.rig_time import Missed, RecordedTime
from evolver.journal.tally import ShowingTally
from evolver.optimizers import CholeskyCMA
from evolver.session.block import HashedImage, RunningBlock
from evolver.session.fitness import Fitness
from evolver.session.loop import Loop
from evolver.session.ports import Command, Earlier
from evolver.session.schedule import Session, Thread
from rig_bridge.events import EngineWoke, Responded, RigJoined, RigLost
from rig_bridge.trials import TrialResult
from tests.live.sessions import small


class Clock:
    """Time that passes only when somebody waits for it."""

    def __init__(self):
        self.now = 0.0

    def time_ns(self):
        return int(self.now * 1e9)

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class Paint:
    """A generator whose images are its codes."""

    name, d, image_size, sha256 = "paint", 4, 2, "0" * 64

    def render(self, codes):
        return (np.resize(codes, (len(codes), 2, 2, 3)) * 10 % 256).astype(np.uint8)

    def initial_codes(self, n, *, rng):
        return rng.standard_normal((n, self.d))


@dataclass
class Rig:
    """Answers a request with the next poll; `aborts` are (presentation, attempt)."""

    clock: Clock
    aborts: set = field(default_factory=set)
    shown: list = field(default_factory=list)
    acked: list = field(default_factory=list)
    holds: list = field(default_factory=list)
    connected: bool = True
    encode_seconds: float = 0.0
    send_seconds: float = 0.0
    arrays: dict = field(default_factory=dict)  # (presentation, attempt) -> form and arrays
    waiting: list = field(default_factory=list)
    attempts: dict = field(default_factory=dict)

    def next_attempt(self, block):
        return self.attempts.get(block, 0) + 1

    def show(self, request):
        assert request.attempt == self.next_attempt(request.block)
        self.attempts[request.block] = request.attempt
        self.shown.append(request)
        self.waiting.append(request)

    def hold(self, on):
        self.holds.append(on)

    def poll(self, timeout_s):
        self.clock.now += timeout_s
        if self.holds and self.holds[-1]:
            return []
        requests, self.waiting = self.waiting, []
        return [
            Responded(r.block, tuple(self.answer(r, p) for p in r.presentations))
            for r in requests
        ]

    def answer(self, request, p):
        key = (p.presentation, request.attempt)
        aborted = key in self.aborts or (p.presentation, "always") in self.aborts
        rates = {"rates": np.array([float(p.presentation % 7)])}
        form, arrays = self.arrays.get(key, ("rates", rates))
        return TrialResult(
            presentation=p.presentation,
            attempt=request.attempt,
            status="aborted" if aborted else "ok",
            reason="fixation" if aborted else "",
            commanded_ns=0,
            onset_ns=0,
            offset_ns=0,
            onset_source="simulated",
            form=form,
            arrays=arrays,
        )

    def ack(self, block, presentations):
        self.acked += [(block, number) for number in presentations]


@dataclass
class Disk:
    """Keeps records; refuses as often as `full` says, whatever it is asked then."""

    clock: Clock
    full: int = 0
    full_at: type | None = None  # begin to refuse at the first record of this type
    records: list = field(default_factory=list)
    pending: list = field(default_factory=list)
    refused: int = 0

    def submit(self, record, on_durable=None):
        if self.full and (self.full_at is None or isinstance(record, self.full_at)):
            self.full_at = None
            self.refuse()
        self.records.append(record)
        if on_durable is not None:
            self.pending.append(on_durable)

    def refuse(self):
        if self.full:
            self.full -= 1
            self.refused += 1
            raise RecordingError("no space left on device")

    def barrier(self):
        if self.full_at is None:
            self.refuse()
        pending, self.pending = self.pending, []
        for tell in pending:
            tell()

    def retry(self):
        pass

    def take_busy_seconds(self):
        return 0.0


def build(
    *,
    popsize=6,
    generations=3,
    references=3,
    schedule="references",
    commands=None,
    aborts=(),
    earlier=None,
    **fitness,
):
    """Return a loop and all it is made of."""
    clock = Clock()
    rng = seeds.stream(1, "optimizer", "a")
    table = FitnessTable((0,), **fitness)
    thread = Thread(
        "a",
        CholeskyCMA(4, rng=rng, popsize=popsize),
        Fitness.resolve(table, ("u",), key="fitness"),
        rng,
    )
    session = Session(
        [thread],
        references=references,
        repeats=1,
        generations=generations,
        on_ms=100.0,
        off_ms=50.0,
        order=partial(seeds.stream, 1, "order"),
        schedule=schedule,
    )
    rig, disk, news = Rig(clock, set(aborts)), Disk(clock), []
    loop = Loop(
        small("unused"),
        session,
        generators=[Paint()],
        references=[np.full((2, 2, 3), i, np.uint8) for i in range(references)],
        reference_labels=[f"r{i}" for i in range(references)],
        rig=rig,
        recorder=disk,
        clock=clock,
        commands=commands or (lambda: ()),
        on_progress=news.append,
        earlier=earlier,
    )
    return loop, session, rig, disk, news


def of(disk, kind):
    return [record for record in disk.records if isinstance(record, kind)]


@pytest.mark.parametrize("schedule", ["references", "together", "alternate"])
def test_every_block_is_committed_once_and_every_result_acknowledged(schedule):
    loop, session, rig, disk, _ = build(schedule=schedule)
    assert loop.run() == "finished"
    blocks = [record.block for record in of(disk, Committed)]
    assert sorted(blocks) == sorted(set(blocks)) == [p.block for p in of(disk, Proposed)]
    assert sorted(n for _, n in rig.acked) == sorted(r.presentation for r in of(disk, Result))
    assert session.finished


def test_what_an_optimizer_comes_upon_is_an_event_and_the_same_words_are_one():
    loop, session, _, disk, news = build(generations=5)
    optimizer = session.threads[0].optimizer
    ask, said = optimizer.ask, iter(["", "it is cold", "", "it is cold", "it is dark"])

    def asked():
        optimizer.notice = next(said)
        return ask()

    optimizer.ask = asked
    assert loop.run() == "finished"
    events = [e for e in of(disk, Event) if e.name == "optimizer"]
    assert [e.text for e in events] == ["a: it is cold", "a: it is dark"]
    assert {e.level for e in events} == {"warning"}
    assert [n.event for n in news if "it is" in n.event] == [e.text for e in events]


def test_references_are_with_the_rig_before_the_generation_is_answered():
    loop, _, rig, _, _ = build()
    loop.run()
    assert [r.block for r in rig.shown][:2] == [0, 1]


class TestFullDisk:
    @pytest.mark.parametrize("at", [None, Proposed, Sent, Result, Committed, Event])
    @pytest.mark.parametrize("times", [1, 5])
    def test_it_waits_and_goes_on_and_nothing_is_lost(self, at, times):
        loop, _, rig, disk, news = build(aborts={(2, 1)})
        disk.full, disk.full_at = times, at
        assert loop.run() == "finished"
        assert disk.refused == times
        whole, _, _, untroubled, _ = build(aborts={(2, 1)})
        whole.run()
        again = [e for e in of(disk, Event) if e.name == "disk_again"]
        assert len(again) == 1
        disk.records.remove(again[0])
        assert [type(r) for r in disk.records] == [type(r) for r in untroubled.records]
        (said,) = [i for i, n in enumerate(news) if n.event == "the disk takes records again"]
        assert news[said].state == "running"
        assert not any("the disk refuses" in n.event for n in news[said:])
        told = [n.event for n in news if "the disk refuses" in n.event]
        assert len(told) == 1  # however often it is tried within a minute
        assert "no space left on device" in told[0]
        assert rig.clock.now >= 2.0 * times

    def test_nothing_is_acknowledged_or_learnt_from_before_it_is_stored(self):
        loop, session, rig, disk, _ = build()
        seen = []
        sleep = rig.clock.sleep

        def watching(seconds):
            seen.append((len(rig.acked), session.generations_done))
            sleep(seconds)

        rig.clock.sleep = watching
        disk.full, disk.full_at = 3, Result
        loop.run()
        assert seen == [(0, (0,))] * 3

    def test_an_operator_can_end_it(self):
        stop = iter([[], []])
        loop, _, _, disk, _ = build(commands=lambda: next(stop, [Command("stop")]))
        disk.full = 10**6
        with pytest.raises(RecordingError, match="no space left"):
            loop.run()


def test_a_block_of_more_than_256_presentations_is_asked_for_in_parts_and_committed_once():
    loop, _, rig, disk, _ = build(popsize=600, generations=1, references=0, aborts={(9, 1)})
    loop.run()
    sizes = [(r.attempt, len(r.presentations)) for r in rig.shown]
    assert sizes == [(1, 256), (2, 256), (3, 88), (4, 1)]
    assert len(of(disk, Committed)) == 1
    assert np.isfinite(of(disk, Committed)[0].threads[0].scores.numpy()).all()


class TestMissing:
    def test_reshow(self):
        loop, _, rig, disk, _ = build(aborts={(1, 1), (3, 1), (3, 2)}, max_attempts=3)
        loop.run()
        first = [[p.presentation for p in r.presentations] for r in rig.shown if r.block == 0]
        assert first == [[0, 1, 2, 3, 4, 5], [1, 3], [3]]
        assert all(
            np.isfinite(c.threads[0].scores.numpy()).all()
            for c in of(disk, Committed)
            if c.threads
        )

    def test_drop(self):
        loop, _, rig, disk, _ = build(aborts={(1, 1)}, missing="drop")
        loop.run()
        assert len([r for r in rig.shown if r.block == 0]) == 1
        assert np.isnan(of(disk, Committed)[0].threads[0].scores.numpy()).sum() == 1

    def test_fail(self):
        loop, _, _, disk, _ = build(aborts={(1, 1)}, missing="fail")
        with pytest.raises(MissingResponseError):
            loop.run()
        assert of(disk, Result)
        assert not of(disk, Committed)


HUGE = ("rates", {"rates": np.array([1e300])})
BINS = ("counts", {"counts": np.ones((1, 2), np.uint32), "edges_ms": np.array([0.0, 90, 210])})


class TestUnscorable:
    """What the protocol allows and no score can be made of is an aborted showing."""

    @pytest.mark.parametrize(
        ("answer", "said"), [(HUGE, "a score must be finite"), (BINS, "edges")]
    )
    def test_it_is_aborted_with_the_reason_kept_and_shown_again(self, answer, said):
        loop, _, rig, disk, news = build(references=1)
        rig.arrays = {(1, 1): answer, (3, 1): answer, (6, 1): answer}  # the last a reference
        assert loop.run() == "finished"
        first = [[p.presentation for p in r.presentations] for r in rig.shown if r.block == 0]
        assert first == [[0, 1, 2, 3, 4, 5], [1, 3]]
        unscored = [r for r in of(disk, Result) if r.status == "aborted"]
        assert [r.presentation for r in unscored] == [1, 3, 6]
        for record in unscored:
            assert record.reason.startswith("cannot be scored: ")
            assert said in record.reason
            for name, values in answer[1].items():  # what was measured is kept
                np.testing.assert_array_equal(record.arrays[name].numpy(), values)
        events = [e.text for e in of(disk, Event) if e.name == "unscorable"]
        assert len(events) == 2  # one a block
        assert events[0].startswith("block 0, presentation 1 cannot be scored: ")
        assert [n.event for n in news if "cannot be scored" in n.event] == events
        again = [e.text for e in of(disk, Event) if e.name == "reshow"]
        assert again[0] == "block 0: 2 presentations shown again"
        assert again[1].endswith(": 1 presentation shown again")

    def test_one_that_an_earlier_engine_took_ends_no_later_one(self):
        loop, session, rig, disk, _ = build(generations=1, references=0)
        block = session.propose()
        asked = SimpleNamespace(block=0, attempt=1)
        rig.arrays = {(2, 1): HUGE}
        running = RunningBlock(block, [], 0.0, 0.0)
        running.results = [rig.answer(asked, p) for p in block.presentations]
        pixels = HashedImage.of(np.zeros((2, 2, 3), np.uint8))
        running.images = {0: (pixels,) * len(block.proposals[0].codes)}
        running.shown_once = running.recorded = True
        rig.attempts = {0: 1}
        loop._running[0] = running
        assert loop.run() == "finished"
        assert [[p.presentation for p in r.presentations] for r in rig.shown] == [[2]]
        assert np.isfinite(of(disk, Committed)[0].threads[0].scores.numpy()).all()


class TestCommands:
    def run(self, *script, **options):
        """Run with commands that come at given calls: (call, Command)."""
        calls = iter(range(10**9))
        due = dict(script)

        def commands():
            call = next(calls)
            return [due.pop(call)] if call in due else []

        built = build(commands=commands, generations=options.pop("generations", 30), **options)
        return built[0].run(), *built[1:]

    def test_pause_shows_nothing_until_resume(self):
        reason, _, rig, disk, news = self.run((5, Command("pause")), (40, Command("resume")))
        assert reason == "finished"
        assert rig.holds == [True, False]
        assert {n.state for n in news} == {"running", "paused"}
        assert [e.name for e in of(disk, Event)] == ["pause", "resume"]
        whole, _, _, untroubled, _ = build(generations=30)
        whole.run()
        assert len(of(untroubled, Result)) == len(of(disk, Result))

    def test_stop_keeps_what_came(self):
        reason, session, rig, disk, _ = self.run((12, Command("stop", "lunch")))
        assert reason == "stopped by operator"
        assert not session.finished
        assert of(disk, Event)[-1].text == "stop by operator: lunch"
        assert rig.holds == [True]
        assert sorted(n for _, n in rig.acked) == sorted(
            r.presentation for r in of(disk, Result)
        )

    def test_abort_ends_at_once(self):
        reason, _, rig, _, _ = self.run((12, Command("abort")))
        assert reason == "aborted by operator"
        assert rig.holds == []

    def test_a_note_is_kept(self):
        _, _, _, disk, _ = self.run((3, Command("note", "the animal sleeps")), generations=3)
        (event,) = of(disk, Event)
        assert (event.name, event.text, event.level) == ("note", "the animal sleeps", "info")

    def test_reference_only_shows_references_until_resume(self):
        reason, session, _, disk, _ = self.run(
            (4, Command("reference-only")), (60, Command("resume")), generations=4
        )
        assert reason == "finished"
        plain, _, _, untroubled, _ = build(generations=4)
        plain.run()
        more = len(of(disk, Proposed)) - len(of(untroubled, Proposed))
        assert more > 5
        empty = [p for p in of(disk, Proposed) if not p.threads]
        assert all(p.references for p in empty)
        assert session.generations_done == (4,)

    def test_reference_only_ends_a_pause_and_shows_references(self):
        reason, session, rig, disk, news = self.run(
            (4, Command("pause")),
            (40, Command("reference-only")),
            (90, Command("resume")),
            generations=4,
        )
        assert (reason, session.generations_done) == ("finished", (4,))
        assert rig.holds == [True, False]
        states = [n.state for n in news]
        last = len(states) - 1 - states[::-1].index("paused")
        assert "reference-only" in states[last:]
        assert "reference-only" not in states[:last]
        assert sum(not p.threads for p in of(disk, Proposed)) > 5

    def test_a_pause_during_references_only_says_both(self):
        *_, news = self.run(
            (4, Command("reference-only")),
            (20, Command("pause")),
            (50, Command("resume")),
            generations=4,
        )
        assert "paused, reference-only" in {n.state for n in news}
        assert news[-1].state == "running"

    def test_reference_only_without_references_says_so(self):
        _, _, _, disk, _ = self.run((2, Command("reference-only")), references=0, generations=3)
        (event,) = of(disk, Event)
        assert event.name == "refused"  # readers of the record take it for no change
        assert "has no reference images" in event.text


def test_the_time_the_rig_is_idle_is_counted():
    loop, _, rig, disk, news = build(schedule="together", generations=3)
    render = Paint.render

    class Slow(Paint):
        def render(self, codes):
            rig.clock.now += 4.0
            return render(self, codes)

    loop._generators = [Slow()]
    loop.run()
    idle = [c.budget.idle for c in of(disk, Committed)]
    assert idle[0] == 0.0  # nothing was on the screen yet
    assert idle[1:] == pytest.approx([4.0] * 2, abs=0.2)
    assert news[-1].idle_s == pytest.approx(sum(idle))


class Showing(Rig):
    """Shows an image for 0.1 s, in order, and answers each; may be gone for a while."""

    def __init__(self, clock, gone=(float("inf"), 0.0)):
        super().__init__(clock)
        self.gone = gone
        self.queue = []

    def show(self, request):
        super().show(request)
        self.queue += [(request, p) for p in request.presentations]

    def poll(self, timeout_s):
        begins, lasts = self.gone
        if self.connected and begins <= self.clock.now < begins + lasts:
            self.connected = False
            return [RigLost("the cable")]
        if not self.connected:
            self.clock.now += timeout_s
            if self.clock.now < begins + lasts:
                return []
            self.connected = True
            return [RigJoined(SimpleNamespace(name="b"))]
        if (self.holds and self.holds[-1]) or not self.queue:
            self.clock.now += timeout_s
            return []
        self.clock.now += 0.1
        request, p = self.queue.pop(0)
        return [Responded(request.block, (self.answer(request, p),))]


def run_in_time(schedule, *, gone=(float("inf"), 0.0), commands=lambda _: (), **options):
    """Run a session against a rig that takes its time; return records, news and the clock."""
    loop, _, rig, disk, news = build(schedule=schedule, **options)
    loop._rig = Showing(rig.clock, gone)
    loop._commands = lambda: commands(rig.clock)
    assert loop.run() == "finished"
    return [c.budget for c in of(disk, Committed)], news, rig.clock


def pause_from_to(begin, end):
    """Return commands: a pause between two times of the clock."""
    due = [(begin, Command("pause")), (end, Command("resume"))]

    def commands(clock):
        return [due.pop(0)[1]] if due and clock.now >= due[0][0] else []

    return commands


class TestTime:
    @pytest.mark.parametrize("schedule", ["references", "together", "alternate"])
    def test_no_second_is_counted_twice(self, schedule):
        """Blocks that overlap, a pause of 60 s and a rig that is gone for 42."""
        budgets, news, clock = run_in_time(
            schedule, gone=(4.0, 42.0), commands=pause_from_to(50.0, 110.0), generations=40
        )
        last = news[-1]
        for part, total in (
            ("idle", last.idle_s),
            ("paused", last.paused_s),
            ("no_rig", last.no_rig_s),
        ):
            assert sum(getattr(b, part) for b in budgets) == pytest.approx(total)
        assert last.no_rig_s == pytest.approx(42.0, abs=0.2)
        assert last.paused_s == pytest.approx(60.0, abs=0.2)
        on_screen = sum(b.wait for b in budgets)
        assert on_screen == pytest.approx(0.1 * last.presentations, rel=0.02)
        assert last.elapsed_s == pytest.approx(clock.now, rel=0.02)
        assert last.pace == pytest.approx(10.0, rel=0.02)

    def test_a_block_that_waited_behind_another_is_not_slow(self):
        """Under `references` and `alternate` two blocks are asked for at once."""
        for schedule in ("references", "alternate"):
            budgets, *_ = run_in_time(schedule, generations=20)
            for budget in budgets:
                assert budget.wait == pytest.approx(0.1 * budget.shown, abs=0.06)

    def test_a_rig_that_is_gone_is_said_every_second_and_never_called_running(self):
        _, news, _ = run_in_time("references", gone=(2.0, 43.0), generations=20)
        states = [n.state for n in news if n.state != "running"]
        said = dict.fromkeys(states)
        assert {f"no rig for 0:{s:02}" for s in range(43)} <= said.keys()
        lost = [n for n in news if n.event == "the cable"]
        assert [n.event_ns for n in lost] == [2_000_000_000]

    def test_a_rig_that_goes_before_the_first_image_is_no_running_session(self):
        loop, _, rig, disk, news = build(generations=3)
        loop._rig = Showing(rig.clock, (0.0, 10.0))
        loop._rig.connected = False
        assert loop.run() == "finished"
        assert of(disk, Event)[0].name == "rig_lost"
        assert news[0].state == "no rig for 0:00"

    def test_a_rig_that_does_not_answer_is_not_called_running(self):
        loop, _, rig, _, news = build(generations=3)
        deaf = Showing(rig.clock)
        loop._rig = deaf
        answers = deaf.poll

        def poll(timeout_s):
            if 2.0 < rig.clock.now < 62.0:
                rig.clock.now += timeout_s
                return []
            return answers(timeout_s)

        deaf.poll = poll
        loop.run()
        assert "no answer for 0:45" in {n.state for n in news}

    def test_what_is_left_is_known_to_the_second_with_threads_that_take_turns(self):
        """Pauses are not expected to come again."""
        tally = ShowingTally()
        budget = TimeBudget(*([0.0] * 9))
        for block in range(7):
            thread = CommittedThread(block % 2, block // 2, None, None)
            times = msgspec.structs.replace(budget, wait=9.0, idle=1.0, paused=500.0, shown=90)
            tally.add(Committed(block, 0, (thread,), (), times))
            assert tally.left_s(2 * 10) == pytest.approx(10.0 * (20 - block - 1))
        assert tally.pace == pytest.approx(10.0)

    def test_a_session_that_goes_on_counts_on(self):
        whole, _, rig, disk, news = build(generations=10)
        whole._rig = Showing(rig.clock)
        whole.run()
        tally = ShowingTally()
        for committed in of(disk, Committed):
            tally.add(committed)
        loop, _, rig, _, later = build(generations=10, earlier=Earlier(tally, 90, 7))
        loop._rig = Showing(rig.clock)
        loop.run()
        assert later[-1].presentations == 90 + news[-1].presentations
        assert later[-1].aborted == 7
        assert later[-1].elapsed_s == pytest.approx(2 * news[-1].elapsed_s, rel=0.02)
        assert later[0].pace == pytest.approx(10.0, rel=0.05)

    @pytest.mark.parametrize("schedule", ["references", "together", "alternate"])
    def test_the_records_have_the_same_account_of_time_at_every_moment(self, schedule):
        """Wherever the engine falls, the next one knows what was shown, idle or paused."""
        loop, _, rig, disk, _ = build(schedule=schedule, generations=25)
        loop._rig = Showing(rig.clock, (4.0, 42.0))
        pause = pause_from_to(50.0, 110.0)
        loop._commands = lambda: pause(rig.clock)
        told = loop._on_progress
        checked = []

        def compare(progress):
            told(progress)
            if not progress.event and progress.committed is None:
                return
            tally, time = ShowingTally(), RecordedTime()
            for record in disk.records:
                time.take(record)
                if isinstance(record, Committed):
                    tally.add(record)
            time.fall()
            blocks, missed = time.blocks.values(), time.missed
            checked.append(progress)
            assert tally.paused_s + missed.paused_s == pytest.approx(progress.paused_s, abs=0.1)
            assert tally.no_rig_s + missed.no_rig_s == pytest.approx(progress.no_rig_s, abs=0.1)
            idle_s = tally.idle_s + missed.idle_s + sum(b.idle_s for b in blocks)
            assert idle_s == pytest.approx(progress.idle_s, abs=0.2)
            shown_s = tally.on_screen_s + sum(b.wait_s for b in blocks)
            all_s = shown_s + idle_s + progress.paused_s + progress.no_rig_s
            assert all_s == pytest.approx(progress.elapsed_s, abs=0.3)

        loop._on_progress = compare
        assert loop.run() == "finished"
        assert checked[-1].paused_s > 59.0
        assert checked[-1].no_rig_s > 41.0

    def test_what_an_engine_before_left_is_the_next_commits_and_told_at_once(self):
        earlier = Earlier(missed=Missed(idle_s=5.0, paused_s=600.0, no_rig_s=3.0), begun=True)
        loop, _, rig, disk, news = build(generations=3, earlier=earlier)
        loop._rig = Showing(rig.clock)
        idle_s = []  # as watchdogs are told: it says nothing of this engine's rendering
        loop._watchdogs = SimpleNamespace(
            answered=lambda *_: [],
            committed=lambda *args: idle_s.append(args[2].idle) or [],
            summary=list,
        )
        loop.run()
        first, *others = [c.budget for c in of(disk, Committed)]
        assert (first.paused, first.no_rig) == (600.0, 3.0)
        assert first.idle == pytest.approx(5.0, abs=0.2)
        assert all(b.paused == b.no_rig == 0.0 for b in others)
        assert max(idle_s) < 0.2
        assert news[0].elapsed_s == pytest.approx(608.0, abs=0.2)
        assert news[0].state == "running"
        assert news[0].event == "the session goes on, the rig is there"
        elapsed = [n.elapsed_s for n in news]
        assert elapsed == sorted(elapsed)
        total = sum(b.wait + b.idle + b.paused + b.no_rig for b in [first, *others])
        assert total == pytest.approx(news[-1].elapsed_s, abs=0.2)

    def test_a_pause_that_outlives_an_engine_is_counted_before_anything_is_shown_again(self):
        earlier = Earlier(begun=True)
        held = pause_from_to(0.0, 60.0)
        loop, _, rig, disk, news = build(generations=3, earlier=earlier)
        loop._commands = lambda: held(rig.clock)
        loop.run()
        assert news[-1].paused_s == pytest.approx(60.0, abs=0.2)
        assert sum(c.budget.paused for c in of(disk, Committed)) == pytest.approx(60.0, abs=0.2)

    def test_what_was_kept_from_before_says_nothing_of_the_pace(self):
        """A rig hands over in a moment what it showed while the engine was gone."""
        block = RunningBlock(None, [], 0.0, 0.0, last_attempt=2)
        answer = Rig(None).answer
        request = SimpleNamespace(attempt=1)
        for number, attempt in ((0, 1), (1, 2), (2, 3)):
            request.attempt = attempt
            block.take(answer(request, SimpleNamespace(presentation=number)))
        block.resent[3] = 5
        for attempt in (4, 5):
            request.attempt = attempt
            block.take(answer(request, SimpleNamespace(presentation=3)))
        assert (len(block.results), block.timed) == (5, 2)


class Frozen(Showing):
    """Its engine stands still for 42 s, at 2 s; what was shown meanwhile comes at once."""

    froze = False

    def poll(self, timeout_s):
        if self.froze or self.clock.now < 2.0:
            return super().poll(timeout_s)
        self.froze = True
        self.clock.now += 42.0
        return [EngineWoke(42.0), *super().poll(0.0)]


def test_an_engine_that_stood_still_says_so_and_blames_nobody_else():
    loop, _, rig, disk, news = build(generations=10)
    loop._rig = Frozen(rig.clock)
    told = []
    loop._watchdogs = SimpleNamespace(
        answered=lambda *_: [],
        committed=lambda *args: told.append(args[2].wait) or [],
        woke=lambda: told.append("woke"),
        summary=list,
    )
    loop.run()
    (event,) = of(disk, Event)
    assert (event.level, event.name) == ("warning", "frozen")
    assert event.text.startswith("this engine stood still for 42 s: ")
    assert told.count("woke") == 1
    assert max(wait for wait in told if wait != "woke") < 1.0  # no block was slow
    budgets = [c.budget for c in of(disk, Committed)]
    assert sum(b.frozen for b in budgets) == pytest.approx(42.0, abs=0.2)
    assert sum(b.idle for b in budgets) < 0.5
    shown_s = sum(b.wait + b.idle for b in budgets)
    assert shown_s + 42.0 == pytest.approx(rig.clock.now, abs=0.5)
    assert news[-1].frozen_s == pytest.approx(42.0, abs=0.2)
    assert news[-1].elapsed_s == pytest.approx(rig.clock.now, abs=0.5)
    time = RecordedTime()  # a session that went on would know it too
    for record in disk.records[: disk.records.index(event) + 1]:
        time.take(record)
    assert time.missed.frozen_s == pytest.approx(42.0, abs=0.3)
    for b in budgets:  # what was shown meanwhile says nothing of the pace
        assert b.shown == pytest.approx(10 * b.wait, abs=1.1)
    assert not any("no answer" in n.state for n in news)


def test_a_disk_that_was_waited_for_is_no_engine_that_stood_still():
    loop, _, rig, disk, _ = build(generations=10)
    loop._rig = Showing(rig.clock)
    disk.full, disk.full_at = 5, Result
    poll = loop._rig.poll

    def late(timeout_s):
        """As the server does: nobody listened while the disk was waited for."""
        woke = [EngineWoke(10.0)] if disk.refused == 5 and not late.said else []
        late.said = late.said or bool(woke)
        return [*woke, *poll(timeout_s)]

    late.said = False
    loop._rig.poll = late
    loop.run()
    assert late.said
    assert [e.name for e in of(disk, Event)] == ["disk_again"]


def test_a_full_disk_is_no_running_session_and_swallows_no_command():
    orders = iter([[], [Command("note", "made room")]])
    loop, _, _, disk, news = build(commands=lambda: next(orders, []))
    disk.full, disk.full_at = 5, Result
    loop.run()
    assert {n.state for n in news if "the disk refuses" in n.event} == {"waiting for the disk"}
    assert "made room" in [e.text for e in of(disk, Event)]
    assert news[-1].paused_s == pytest.approx(10.0, abs=0.2)


def test_a_disk_that_is_full_for_minutes_is_said_once_a_minute():
    loop, _, _, disk, news = build()
    disk.full, disk.full_at = 75, Result  # two minutes and a half
    loop.run()
    refusals = [n.event for n in news if "the disk refuses" in n.event]
    assert [text.partition(";")[0].partition(":")[0] for text in refusals] == [
        "paused, the disk refuses",
        "and 29 more in 60 s",
        "paused, the disk refuses",
        "and 29 more in 60 s",
        "paused, the disk refuses",
    ]
    waiting = [n for n in news if n.state == "waiting for the disk"]
    assert len(waiting) >= 75  # who looks at the state sees that it goes on


def test_a_generator_that_fails_ends_the_session_with_its_error():
    loop, *_ = build()

    class Broken(Paint):
        def render(self, codes):
            raise RuntimeError(f"out of memory for {len(codes)} images")

    loop._generators = [Broken()]
    with pytest.raises(RuntimeError, match="out of memory"):
        loop.run()
