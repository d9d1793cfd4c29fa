"""Session files to start from: the demo, a new one.

Values only. The defaults of every key live in `config`; here is what a whole session of them
looks like.
"""

from __future__ import annotations

from pathlib import Path

from evolver.config.set_table import GridTable, SetTable
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

_TEXTURE = ThreadTable("texture", "mini-texture")
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


def decoding_session() -> Config:
    """Return a session of fixed images as Brain2GAN's: 4,000 once, and 100 twenty times.

    Dado et al., PLoS Computational Biology 2024.
    """
    drawn_by = "mini-object"
    return Config(
        session=SessionTable("decoding"),
        presentation=PresentationTable(on_ms=200.0, off_ms=200.0, schedule="together"),
        sets=(
            SetTable("train", role="train", generator=drawn_by, count=4000),
            SetTable("test", role="test", generator=drawn_by, count=100, repeats=20),
        ),
        fitness=FitnessTable(units=(0,), baseline_ms=(0.0, 45.0)),
        simulation=SimulationTable(units=("mini:conv4:random-64@1",)),
    )


def field_session() -> Config:
    """Return a session that maps receptive fields: small images on a grid of places."""
    return Config(
        session=SessionTable("field"),
        presentation=PresentationTable(on_ms=100.0, off_ms=100.0, schedule="together"),
        sets=(
            SetTable(
                "field",
                images="builtin",
                count=8,
                repeats=2,
                grid=GridTable(columns=9, rows=9, span_deg=(8.0, 8.0), sizes_deg=(2.0,)),
            ),
        ),
        fitness=FitnessTable(units=(0,), baseline_ms=(0.0, 45.0)),
        simulation=SimulationTable(units=(DEMO_UNIT,), view_deg=16.0),
    )


PRESETS = {
    "evolution": new_session,
    "decoding": decoding_session,
    "field": field_session,
}
"""Session files to start from, by the name that `evolver config new` knows them by."""


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
