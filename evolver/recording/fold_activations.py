"""Activations of networks' units to every image, for the recording, where a session wants them.

They are worked out by whoever folds, and are no part of the journal. What was measured comes
first: where a network cannot be had, is another than the session's, or breaks, the recording is
made without them, and a warning in it says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeAlias

import h5py
import numpy as np
from numpy.typing import NDArray

from evolver.journal.survey import Survey
from evolver.recording import schema as s
from evolver.recording.hdf5 import Growing, new_group, write_texts

ACTIVATIONS_ROLE = "activations"
"""Of the networks, among a session's weights, whose activations are recorded."""
_SCORED_TOGETHER = 64  # images


class ActivationSource(Protocol):
    """What units of networks answer to images."""

    @property
    def units(self) -> Sequence[str]:
        """One address a unit."""
        ...

    @property
    def weights(self) -> Mapping[str, str]:
        """Address, as the session file has it -> sha256 of the network's weights."""
        ...

    def __call__(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Return the activations, (n, a), of images, each (h, w, 3) of any size."""
        ...


ActivationLoader: TypeAlias = Callable[[str], "ActivationSource | None"]
"""A session file's text to what it wants recorded of every image."""


def activation_source(
    content: Survey, loader: ActivationLoader | None
) -> ActivationSource | None:
    """Return what gives the activations that the session recorded; None where nothing does.

    Where there should be some, a warning says why there are none.
    """
    recorded = {w.name: w.sha256 for w in content.start.weights if w.role == ACTIVATIONS_ROLE}
    if not recorded:
        return None
    try:
        source = None if loader is None else loader(content.start.config)
    except Exception as exc:  # noqa: BLE001  a lab's network, which may raise anything
        content.warnings.append(f"activations are left out: {exc}")
        return None
    if source is None:
        content.warnings.append("activations are left out: no network was at hand")
    elif dict(source.weights) != recorded:
        content.warnings.append(
            "activations are left out: the networks' weights are others than the session's"
        )
        return None
    return source


def write_activations(
    file: h5py.File,
    content: Survey,
    source: ActivationSource,
    *,
    pixels: Callable[[int], NDArray[np.uint8] | None],
) -> None:
    """Write what a source gives for every image; a warning where it fails, and nothing then.

    Parameters
    ----------
    file, content : of the fold
    source : of the activations
    pixels : of an image, by the sequence of its record; None where they are lost
    """
    group = new_group(file, s.ACTIVATIONS)
    write_texts(group, s.ACT_UNITS, source.units)
    values = Growing(group, s.ACT_VALUES, (len(source.units),), "<f4")
    images = list(content.images.values())
    for start in range(0, len(images), _SCORED_TOGETHER):
        part = [pixels(image.sequence) for image in images[start:][:_SCORED_TOGETHER]]
        rows = np.full((len(part), len(source.units)), np.nan, dtype=np.float32)
        here = [k for k, array in enumerate(part) if array is not None]
        if here:
            try:
                rows[here] = source([array for array in part if array is not None])
            except Exception as exc:  # noqa: BLE001  as above; what was measured comes first
                content.warnings.append(f"activations are left out: {exc}")
                values.close()
                del file[s.ACTIVATIONS]
                return
        values.add(rows)
    values.close()
