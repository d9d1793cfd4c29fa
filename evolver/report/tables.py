"""What is in a recording, as tables of words: for the terminal and for the report.

Knows the recording's reader. Prints nothing, and loads neither matplotlib nor any generator.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from evolver.analysis.trajectories import trajectory
from evolver.config.search_words import GUIDED, search_text, threads_without_optimizer
from evolver.recording.schema import BUDGET_NAMES
from evolver.report import words
from evolver.report.evolution import best_references, fitness_of, one_fitness, unit_label

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evolver.recording import Recording, ThreadData

MOST_UNITS = 24
"""Units listed one by one, beside those that are scored; arrays of hundreds are counted."""


@dataclass(frozen=True, slots=True)
class Section:
    """A table: every cell is text, as it should be read."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def describe(recording: Recording) -> list[Section]:
    """Say what `recording` holds, most important first.

    Raises
    ------
    RecordingError
        Where the file's tables contradict each other.
    """
    evolved = [_threads(recording), _scores(recording)] if recording.threads.evolving else []
    sections = [
        _session(recording),
        *evolved,
        *([_sets(recording)] if recording.threads.sets else []),
        _fitness(recording),
        *([_references(recording)] if recording.presentations["is_reference"].any() else []),
        _presentations(recording),
        _units(recording),
        _budget(recording),
        _events(recording),
        _weights(recording),
        Section("Rigs", ("name", "software", "joined (UTC)", "units"), _rigs(recording)),
        Section("Machine", ("what", "value"), tuple(sorted(recording.machine.items()))),
        Section("Versions", ("package", "version"), tuple(sorted(recording.versions.items()))),
    ]
    if recording.warnings:
        warnings = tuple((text,) for text in recording.warnings)
        sections.insert(1, Section("Warnings of the fold", ("what",), warnings))
    return sections


def session_state(recording: Recording) -> str:
    """Say whether the session came to its end: 'complete: finished', 'interrupted: …'."""
    if recording.complete:
        return f"complete: {recording.end_reason or 'finished'}"
    reason = recording.end_reason or "the journal ends without an end record"
    return f"interrupted: {reason}"


def elapsed_s(recording: Recording) -> float:
    """Seconds from the first image on, as the terminal counts them; NaN without blocks.

    What passed between an end and `evolver resume` is not in them. Of files whose blocks do not
    say what the rig did: from the first block's proposal to the last thing heard.
    """
    blocks, presentations = recording.blocks, recording.presentations
    if not len(blocks):
        return float("nan")
    if (blocks["shown"] > 0).any():
        names = ("wait", "idle", "paused", "no_rig", "frozen")
        return float(sum(np.nansum(blocks[name]) for name in names))
    last = max(
        int(blocks["committed_ns"].max()), int(presentations["received_ns"].max(initial=0))
    )
    return max(last - int(blocks["time_ns"].min()), 0) / 1e9


def mode(recording: Recording) -> str:
    """Say who showed the images: 'live, shown by NAME', 'simulated in one process'.

    Of a replay, whose responses they are.
    """
    if recording.mode == "simulate":
        return "simulated in one process"
    if recording.is_replay:
        return f"a {words.joined(sorted({str(rig['name']) for rig in recording.rigs}))}"
    rigs = sorted({str(rig["name"]) for rig in recording.rigs})
    return f"{recording.mode}, shown by {words.joined(rigs)}" if rigs else recording.mode


def replay_text(recording: Recording) -> str:
    """Say of a replay whose responses it has, and how far the images of others were."""
    table = recording.presentations
    of = words.joined(sorted({str(rig["name"]) for rig in recording.rigs}))
    file = words.joined(sorted({str(rig["software"]) for rig in recording.rigs}))
    text = f"A {of} ({file}): recorded responses, played back as if by a rig."
    parts: list[str] = []
    for word, times in recording.answers.items():
        away = table["answer_distance"][table["answer"] == word]
        far = f" (median distance {np.median(away):.3g})" if word.startswith("nearest") else ""
        parts.append(f"{times:,} {word or 'of a rig that does not say'}{far}")
    text += f" Answers: {', '.join(parts) or 'none'}."
    if recording.is_inexact:
        text += " Where they are not of the very image, scores are no test of an optimizer."
    return text


def when(created: str) -> str:
    """Write an ISO 8601 time, UTC, for people; as it stands where it is not one."""
    try:
        time = datetime.fromisoformat(created)
    except ValueError:
        return created
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"


def counts(recording: Recording) -> dict[str, int]:
    """Count the rows of the presentation table by status: ok, aborted, missing."""
    status = recording.presentations["status"]
    return {name: int((status == name).sum()) for name in ("ok", "aborted", "missing")}


def _session(recording: Recording) -> Section:
    rows = (
        ("name", recording.name),
        ("state", session_state(recording)),
        ("created", when(recording.created)),
        ("took", words.duration(elapsed_s(recording))),
        ("mode", mode(recording)),
        *([("answers", replay_text(recording))] if recording.is_replay else []),
        ("seed", str(recording.seed)),
        ("blocks", _blocks(recording)),
        ("images", f"{len(recording.images):,}"),
        ("presentations", f"{len(recording.presentations):,}"),
        ("units", str(len(recording.units))),
        ("spikes recorded", words.window(recording.window_ms)),
        ("shown", _pace(recording)),
        *_searches(recording),
        ("session id", recording.session_id),
    )
    return Section("Session", ("what", "value"), rows)


def _searches(recording: Recording) -> Iterator[tuple[str, str]]:
    """Yield how each thread searches, and along which axes, if along some alone."""
    unnamed = threads_without_optimizer(recording.config)
    for thread in recording.threads.evolving:
        chosen_for = thread.generator if thread.name in unnamed else ""
        search = search_text(thread.optimizer, _options(thread), chosen_for=chosen_for)
        yield "search", f"{thread.name}: {search}"
        for axes in thread.axes:
            yield "axes", f"{thread.name}: {axes.text(thread.d)}"


def _options(thread: ThreadData) -> dict[str, Any]:
    """Return the options on record of a thread's optimizer; none where there is no table."""
    options = thread.options.get("optimizer")
    return cast("dict[str, Any]", options) if isinstance(options, dict) else {}


def _blocks(recording: Recording) -> str:
    committed = int((recording.blocks["committed_ns"] > 0).sum())
    begun = len(recording.blocks) - committed
    return f"{committed} committed" + (f", {begun} begun" if begun else "")


def _pace(recording: Recording) -> str:
    presentations = recording.presentations
    times = np.unique(presentations[["on_ms", "off_ms"]][presentations["on_ms"] > 0])
    if len(times) != 1:
        return "at varying times" if len(times) else words.NONE
    return f"{times[0]['on_ms']:g} ms on, {times[0]['off_ms']:g} ms off"


def _threads(recording: Recording) -> Section:
    columns = ("thread", "optimizer", "generator", "d", "images", "generations")
    rows = tuple(
        (t.name, t.optimizer, t.generator, str(t.d), _images_shown(t), _complete(t))
        for t in recording.threads.evolving
    )
    return Section("Threads (images a generation)", columns, rows)


def _sets(recording: Recording) -> Section:
    """Say what each set is, and how much of it was shown."""
    columns = ("set", "role", "drawn by", "images", "places, sizes", "each", "showings")
    rows: list[tuple[str, ...]] = []
    for thread in recording.threads.sets:
        info = thread.set_info
        if info is None:
            continue
        shown = int(np.isfinite(thread.score).sum())
        rows.append((
            thread.name,
            info.role,
            thread.generator,
            f"{info.images:,}",
            str(max(1, len(info.places))),
            "once" if info.repeats == 1 else f"{info.repeats} times",
            f"{shown:,} of {info.items * info.repeats:,}",
        ))
    return Section("Sets of fixed images", columns, tuple(rows))


def _images_shown(thread: ThreadData) -> str:
    """Write how many images a generation has, and what others some have.

    An optimizer that shows its base again has one more from its second generation on; a guided
    one has more in its arm's turns.
    """
    shown = np.bincount(thread.generation[thread.generation >= 0])
    first, later = shown[0] if len(shown) else 0, shown[1:]
    larger = later[later > first]  # smaller ones are what is left of damaged ones
    if not len(larger):
        return str(thread.popsize)
    most = words.span(int(larger.min()), int(larger.max()))
    if thread.optimizer == GUIDED:
        return f"{first}, in the guided arm's turns {most}"
    if later[0] == larger.min() == larger.max():
        return f"{first}, from generation 1 on {most}"
    return f"{first}, in some generations {most}"


def _complete(thread: ThreadData) -> str:
    """Write how many generations are complete, and how many the session was stopped inside."""
    stopped = f", and {thread.stopped} stopped inside" if thread.stopped else ""
    return f"{thread.generations}{stopped}"


def _scores(recording: Recording) -> Section:
    columns = ("thread", "first mean", "last mean", "best image", "in generation")
    threads = recording.threads.evolving
    units = [fitness_of(thread).unit for thread in threads]
    rows = tuple(
        (t.name, *_first_last_best(t, with_error=not recording.is_inexact)) for t in threads
    )
    if len(set(units)) == 1:
        return Section(f"Scores ({units[0]})", columns, rows)
    rows = tuple((*row, unit) for row, unit in zip(rows, units, strict=True))
    return Section("Scores", (*columns, "in"), rows)


def _first_last_best(thread: ThreadData, *, with_error: bool) -> tuple[str, str, str, str]:
    scores = np.asarray(thread.score, dtype=np.float64)
    generation = np.asarray(thread.generation, dtype=np.int64)
    means = trajectory(scores, generation, groups=int(generation.max(initial=-1)) + 1)
    filled = means.filled
    if not len(filled):
        return words.NONE, words.NONE, words.NONE, words.NONE
    first, last = (
        words.with_sem(float(means.mean[g]), float(means.sem[g]) if with_error else np.nan)
        for g in (filled[0], filled[-1])
    )
    row = int(np.nanargmax(scores))
    return first, last, words.number(float(scores[row])), str(generation[row])


def _fitness(recording: Recording) -> Section:
    rows: list[tuple[str, ...]] = []
    for thread in recording.threads:
        fitness = fitness_of(thread)
        rows.append((
            thread.name,
            fitness.words,
            unit_label(fitness, recording.units),
            words.window(fitness.scored_ms),
            words.window(fitness.less_ms),
            str(thread.fitness.get("missing", words.NONE)),
        ))
    columns = ("thread", "kind", "watches", "window", "less that of", "missing trials")
    return Section("Fitness", columns, tuple(rows))


def _references(recording: Recording) -> Section:
    rows: list[tuple[str, ...]] = []
    threads = recording.threads.evolving or recording.threads
    alike = one_fitness(threads)
    for k, thread in enumerate(threads[:1] if alike else threads):
        by = "all" if alike and len(threads) > 1 else thread.name
        for r in best_references(recording, k):
            name = r.label or f"image {r.image_id}"
            sem = float("nan") if recording.is_inexact else r.sem  # of a few trials, repeated
            rows.append((by, name, words.with_sem(r.score, sem), str(r.n)))
    return Section("Best references", ("by thread", "image", "mean", "blocks"), tuple(rows))


def _presentations(recording: Recording) -> Section:
    presentations = recording.presentations
    rows: list[tuple[str, ...]] = []
    names = [(k, t.name) for k, t in enumerate(recording.threads)] + [(-1, "references")]
    for k, name in names:
        status = presentations["status"][presentations["thread"] == k]
        by = [int((status == s).sum()) for s in ("ok", "aborted", "missing")]
        rows.append((name, *(f"{n:,}" for n in by), f"{len(status):,}"))
    total = counts(recording)
    rows.append(("all", *(f"{n:,}" for n in total.values()), f"{len(presentations):,}"))
    return Section("Presentations", ("of", "ok", "aborted", "missing", "all"), tuple(rows))


def _units(recording: Recording) -> Section:
    units = recording.units
    scored = _scored_by(recording)
    listed = sorted(set(range(min(len(units), MOST_UNITS))) | scored.keys() & range(len(units)))
    rows = [
        (
            str(i),
            str(units[i]["channel"]),
            str(units[i]["unit"]),
            str(units[i]["area"]),
            str(units[i]["label"]),
            words.joined(scored.get(i, [])) or words.NONE,
        )
        for i in listed
    ]
    if len(units) > len(listed):
        more = f"and {len(units) - len(listed)} more, scored by none"
        rows.append(("\N{HORIZONTAL ELLIPSIS}", "", "", "", more, ""))
    columns = ("index", "channel", "unit", "area", "label", "scored by")
    return Section("Units", columns, tuple(rows))


def _scored_by(recording: Recording) -> dict[int, list[str]]:
    """Return whose scores each unit is in, by its row; with its weight, where these differ."""
    scored: dict[int, list[str]] = {}
    for thread in recording.threads:
        fitness = fitness_of(thread)
        alike = len(set(fitness.weights)) == 1
        for unit, weight in zip(fitness.units, fitness.weights, strict=True):
            if weight:
                text = (
                    thread.name
                    if alike
                    else f"{thread.name} (\N{MULTIPLICATION SIGN} {weight:g})"
                )
                scored.setdefault(unit, []).append(text)
        for unit in fitness.others:
            scored.setdefault(unit, []).append(f"{thread.name} (kept low)")
    return scored


def _budget(recording: Recording) -> Section:
    blocks = recording.blocks
    done = blocks[blocks["committed_ns"] > 0]
    total = float(done["total"].sum())
    notes = {
        "wait": "while the rig shows it",
        "journal": "beside the rest",
        "idle": "the rig has nothing to show",
        "blocked": "waiting for the journal",
        "frozen": "the engine stood still",
    }
    rows: list[tuple[str, ...]] = []
    for name in BUDGET_NAMES:
        seconds = float(done[name].sum())
        share = f"{seconds / total:.1%}" if total > 0 else words.NONE
        part = f"{name} ({notes[name]})" if name in notes else name
        each = words.duration(seconds / len(done)) if len(done) else words.NONE
        rows.append((part, words.duration(seconds), each, share))
    title = "Time budget (blocks overlap, so the parts need not add up)"
    return Section(title, ("part", "all blocks", "a block", "share"), tuple(rows))


def _events(recording: Recording) -> Section:
    rows = tuple(
        (_time(int(e["time_ns"])), str(e["level"]), str(e["name"]), str(e["text"]))
        for e in recording.events
    )
    return Section("Events", ("time (UTC)", "level", "event", "what happened"), rows)


def _weights(recording: Recording) -> Section:
    rows = tuple((w["role"], w["name"], w["sha256"]) for w in recording.weights)
    return Section("Weights", ("role", "name", "sha256"), rows)


def _rigs(recording: Recording) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (str(r["name"]), str(r["software"]), _time(r["time_ns"]), str(len(r["units"])))
        for r in recording.rigs
    )


def _time(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns / 1e9, UTC):%Y-%m-%d %H:%M:%S}" if ns else words.NONE
