"""A session runs one way, whoever shows its images: the same checks, watchdogs and records."""

import msgspec
import pytest

from evolver import config
from evolver.journal.records import Event, RigRecord, RunEnd, RunStart
from evolver.journal.writer import read_journal
from evolver.live import Console, run_live, run_simulated
from evolver.session.ports import Command
from tests.soak import further

from .sessions import small, unfolded, write
from .test_live import Evolver
from .test_serve import runtime, serve, start, the_folder  # noqa: F401  fixtures
from .test_simulate import Watching

TIMED = ("pace:", "idle:", "clock:")  # of the machine's own doing


def troubled(folder, **changes):
    """Return a session most of whose showings are aborted."""
    return small(
        folder,
        session={"generations": 2},
        presentation={"schedule": "together"},
        fitness={"missing": "drop"},
        simulation={"abort_rate": 0.87, "spikes": "poisson"},
        watchdogs={"aborts_in_a_row": 8, **changes},
    )


def records_of(folder):
    return [record for _, record in read_journal(folder / "journal")]


def watchdog_events(folder):
    """Return what the watchdogs said, in order, but for what depends on the machine's pace."""
    texts = [r.text for r in records_of(folder) if isinstance(r, Event)]
    names = ("aborts:", "dead unit:", "noisy unit:", "baseline:", "drift:", *TIMED)
    return [t for t in texts if t.startswith(names) and not t.startswith(TIMED)]


def simulated(folder):
    settings = troubled(folder)
    text = config.commented_session_file(settings)
    return run_simulated(settings, text, fold=unfolded).folder


def in_process(folder, tmp_path):
    settings = troubled(folder)
    file = write(settings, tmp_path / "live.toml")
    rigs = []

    def start_rig(endpoint):
        rigs.append(Evolver("rig", file, "--endpoint", endpoint))

    try:
        text = config.commented_session_file(settings)
        return run_live(settings, text, Console(on_endpoint=start_rig)).folder
    finally:
        for rig in rigs:
            rig.kill()


def served(folder, tmp_path, start):  # noqa: F811
    session, rig = serve(start, write(troubled(folder), tmp_path / "served.toml"), "--yes")
    status, output = session.end()
    assert status == 0, output
    rig.end()
    return the_folder(folder)


@pytest.mark.parametrize("supervised", [False, further(True)])
def test_the_same_file_raises_the_same_alarms_whoever_runs_it(tmp_path, start, supervised):  # noqa: F811
    folders = [simulated(tmp_path / "a"), in_process(tmp_path / "b", tmp_path)]
    if supervised:
        folders.append(served(tmp_path / "c", tmp_path, start))
    first, *others = [watchdog_events(folder) for folder in folders]
    assert len([text for text in first if text.startswith("aborts:")]) >= 2
    for events in others:
        assert events == first
    for folder in folders:
        start_record, joined, *_, last = records_of(folder)
        assert isinstance(start_record, RunStart)
        assert isinstance(joined, RigRecord)
        assert isinstance(last, RunEnd)


def test_where_nobody_could_resume_watchdogs_warn_and_pause_nothing(tmp_path):
    settings = troubled(tmp_path / "out", pause_on=("aborts", "disk"))
    watching = Watching()
    text = config.commented_session_file(settings)
    ended = run_simulated(settings, text, watching.console, fold=unfolded)
    assert ended.reason == "finished"
    assert {progress.state for progress in watching.news} == {"running"}
    assert any(text.startswith("aborts:") for text in watchdog_events(ended.folder))


def test_where_somebody_can_resume_they_pause(tmp_path):
    settings = troubled(tmp_path / "out", pause_on=("aborts",))
    states = []

    def commands():
        return (Command("stop"),) if states and states[-1] == "paused" else ()

    ended = run_simulated(
        settings,
        config.commented_session_file(settings),
        Console(
            on_progress=lambda progress: states.append(progress.state),
            commands=commands,
            can_resume=True,
        ),
        fold=unfolded,
    )
    assert ended.reason == "stopped by operator"
    events = [r for r in records_of(ended.folder) if isinstance(r, Event)]
    assert any(e.name == "pause" and "the watchdog 'aborts'" in e.text for e in events)


def test_a_simulation_is_checked_before_its_first_image_too(tmp_path):
    watching = Watching()
    settings = troubled(tmp_path / "out")
    text = config.commented_session_file(settings)
    run_simulated(settings, text, watching.console, fold=unfolded)
    names = {check.name for check in watching.checks}
    assert {
        "weights",
        "render",
        "clock",
        "references",
        "rig",
        "unit",
        "screen",
        "disk",
    } <= names


def test_a_bad_check_that_nobody_saw_stops_a_live_session_before_its_first_image(tmp_path):
    from evolver.errors import ConfigError

    settings = troubled(tmp_path / "out")
    show = msgspec.structs.replace(settings.presentation, size_deg=100.0)
    settings = msgspec.structs.replace(settings, presentation=show)
    file = write(settings, tmp_path / "s.toml")
    rigs = []
    console = Console(
        on_endpoint=lambda at: rigs.append(Evolver("rig", file, "--endpoint", at))
    )
    try:
        with pytest.raises(ConfigError, match=r"this must be mended:\n  screen: .*outside"):
            run_live(settings, config.commented_session_file(settings), console)
    finally:
        for rig in rigs:
            rig.kill()
    assert not (tmp_path / "out").exists()
