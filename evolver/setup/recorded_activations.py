"""Activations that a recording holds of every image: `record` of a session file's [simulation].

They follow from the images' pixels and the networks' weights, both of which are recorded. So
they are worked out when the recording is made, not while the session runs: nothing waits for
them, and a session that was interrupted has them of all its images, because its journal has
the images. Where a network is missing then, or is another, the recording is made without them
and says so; it can be made again where the network is.

Knows session files, scorers, and what a recording asks for. Knows nothing of HDF5. What takes
time to import is imported where something is wanted: every journal that is folded asks here.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from evolver.errors import ConfigError

if TYPE_CHECKING:
    from evolver.config.tables import Config
    from evolver.setup.simulated_rig import ScreenView
    from scorers.scorer import UnitScorer

MOST_BYTES = 512 << 20
"""Of all the activations of one session."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageActivations:
    """What units of networks answer to images: an `ActivationSource` of `evolver.recording`."""

    scorer: UnitScorer
    view: ScreenView | None  # what is seen of the screen; None: the image alone

    @property
    def units(self) -> tuple[str, ...]:
        """One address a unit."""
        return self.scorer.unit_names

    @property
    def weights(self) -> Mapping[str, str]:
        """Address, as the session file has it -> sha256 of the network's weights."""
        return self.scorer.digests

    def __call__(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Return the activations, (n, u), of images, each (h, w, 3) of any size."""
        from evolver.setup.simulated_rig import responses_of

        return responses_of(self.scorer, images, self.view).astype(np.float32)


def load_activations(config: Config) -> ImageActivations | None:
    """Return what a session file wants recorded; None where it wants nothing.

    Raises
    ------
    ConfigError, WeightsError
        An address names nothing, or a network cannot be loaded.
    """
    table = config.simulation
    if not table.record:
        return None
    import scorers
    from evolver.setup.simulated_rig import screen_view

    scorer = scorers.load(list(table.record), networks=table.networks)
    return ImageActivations(scorer, screen_view(config))


def activations_of_text(text: str) -> ImageActivations | None:
    """Return what the text of a session file, as a journal has it, wants recorded.

    Raises
    ------
    ConfigError, WeightsError
        It wants something, and that cannot be had here.
    """
    try:
        wanted = tomllib.loads(text).get("simulation", {}).get("record")
    except (tomllib.TOMLDecodeError, AttributeError):
        return None  # of a journal that lost it, or of something else than a session
    if not wanted:
        return None
    from evolver.config.tables import parse_session_file

    return load_activations(parse_session_file(text))


def check_size(units: int, *, images: int) -> None:
    """Raise `ConfigError` where so many units of so many images are more than is recorded.

    Parameters
    ----------
    units : whose activations are recorded
    images : of the whole session
    """
    size = images * units * np.dtype(np.float32).itemsize
    if size > MOST_BYTES:
        raise ConfigError(
            f"activations must take at most {MOST_BYTES >> 20} MiB of a recording; {units:,} "
            f"units of up to {images:,} images take {size / (1 << 20):,.0f}. Record fewer "
            "units, as random-1000@1 of a layer, or work them out later from the images"
        )
