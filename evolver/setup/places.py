"""Whether a session shows images at places of their own, and whether its rig can.

Knows session files and hellos. A session without such places has any rig.
"""

from __future__ import annotations

from evolver.config.tables import Config
from evolver.errors import ConfigError
from rig_bridge.messages import Hello


def needs_places(config: Config) -> bool:
    """Return whether a session shows images at sizes and positions of their own."""
    return bool(_gridded(config))


def check_heeds_places(config: Config, hello: Hello) -> None:
    """Raise `ConfigError` where a session needs places and its rig does not heed them.

    An engine refuses such a rig at its hello; this is for those that no network is between.
    """
    if needs_places(config) and not hello.display.places:
        raise ConfigError(
            f"sets with a grid of places ({_gridded(config)}) need a rig that shows each image "
            f"at its own, and says so; {hello.name!r} does not (display.places in its hello)"
        )


def check_sees_places(config: Config) -> None:
    """Raise `ConfigError` where a session needs places and simulated units see none."""
    if needs_places(config) and config.simulation.view_deg is None:
        raise ConfigError(
            "simulation.view_deg: must say how many degrees of the screen simulated units see, "
            f"where sets have a grid of places ({_gridded(config)}); without it they see an "
            "image alone, and nothing would depend on where it is"
        )


def _gridded(config: Config) -> str:
    return ", ".join(table.name for table in config.sets if table.grid is not None)
