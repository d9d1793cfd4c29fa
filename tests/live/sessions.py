"""Small sessions for the tests of this folder, and what they read out of recordings."""

from __future__ import annotations

from pathlib import Path

import msgspec

from evolver import config

UNIT = "mini:fc6:3"


def small(folder: Path, **changes) -> config.Config:
    """Return a session of 3 generations; `changes` replace keys of tables."""
    settings = config.Config(
        session=config.SessionTable("small", seed=5, generations=3, folder=str(folder)),
        presentation=config.PresentationTable(on_ms=100.0, off_ms=50.0),
        threads=(
            config.ThreadTable("texture", "mini-texture", popsize=6),
            config.ThreadTable(
                "object", "mini-object", popsize=5, optimizer_options={"sigma": 0.5}
            ),
        ),
        fitness=config.FitnessTable(baseline_ms=(0.0, 45.0), max_attempts=50),
        references=config.ReferencesTable(count=4),
        rig=config.RigTable(endpoint="tcp://127.0.0.1:*"),
        simulation=config.SimulationTable(
            units=(UNIT, "mini:conv3:1:4:4"), speed=float("inf"), abort_rate=0.2
        ),
    )
    for key, values in changes.items():
        table = msgspec.structs.replace(getattr(settings, key), **values)
        settings = msgspec.structs.replace(settings, **{key: table})
    return config.parse_session_file(config.commented_session_file(settings))


def unfolded(_journal: Path, _recording: Path) -> None:
    """Fold nothing, in the place of who folds, where a test reads the journal alone."""


def write(settings: config.Config, path: Path) -> Path:
    """Write the session file."""
    path.write_text(config.commented_session_file(settings), encoding="utf-8")
    return path
