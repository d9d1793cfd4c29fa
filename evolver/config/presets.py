"""Session files to start from: the demo, a new one.

Values only. The defaults of every key live in `config`; here is what a whole session of them
looks like.
"""

from __future__ import annotations

from pathlib import Path

from evolver.config.tables import (
    Config,
    FitnessTable,
    PresentationTable,
    ReferencesTable,
    RigTable,
    SessionTable,
    SimulationTable,
    ThreadTable,
)

DEMO_UNIT = "mini:conv4:52"
"""The neuron of the demo."""

_TEXTURE = ThreadTable("texture", "mini-texture", optimizer_options={"sigma": 3.0})
_OBJECT = ThreadTable("object", "mini-object", optimizer_options={"sigma": 0.5})


def new_session() -> Config:
    """Return a session as a lab would begin one: two threads, real time, one unit."""
    return Config(
        session=SessionTable("my-session"),
        presentation=PresentationTable(on_ms=100.0, off_ms=150.0),
        threads=(_TEXTURE, _OBJECT),
        fitness=FitnessTable(units=(0,), baseline_ms=(0.0, 45.0)),
        simulation=SimulationTable(units=(DEMO_UNIT,)),
    )


def demo_session(
    *, folder: Path, generations: int, speed: float, unit: str | None, seed: int
) -> Config:
    """Return the demo's session: two image spaces, one spiking neuron, a rig in a hurry."""
    return Config(
        session=SessionTable("demo", seed=seed, generations=generations, folder=str(folder)),
        presentation=PresentationTable(on_ms=100.0, off_ms=150.0),
        threads=(_TEXTURE, _OBJECT),
        fitness=FitnessTable(units=(0,), baseline_ms=(0.0, 45.0)),
        references=ReferencesTable(count=10),
        rig=RigTable(endpoint="tcp://127.0.0.1:*"),
        simulation=SimulationTable(units=(unit or DEMO_UNIT,), speed=speed),
    )
