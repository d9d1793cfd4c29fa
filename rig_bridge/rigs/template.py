"""A rig in 60 lines: copy this file, and put your own screen and your own neurons in it.

Needs pyzmq, msgpack, msgspec and numpy. Connects to an engine (`evolver serve`),
shows what it is asked to show, and answers with spikes. docs/PROTOCOL.md says everything about
the wire, for a rig in another language.

    python -m rig_bridge.rigs.template tcp://127.0.0.1:5571
"""

from __future__ import annotations

import sys
import time

import numpy as np
from numpy.typing import NDArray

from rig_bridge.client import RigClient
from rig_bridge.messages import Hello, ScreenInfo, Unit
from rig_bridge.steady import unix_ns
from rig_bridge.trials import Image, Presentation, TrialResult

UNITS = tuple(Unit(channel=c, unit=0, area="IT", label=f"IT-{c}") for c in range(4))
# With background_grey=128 the rig says that it shows images that are not square in their shape,
# with places=True that each image is as large, and where, as its own request says (`size_deg`,
# `position_deg`), not all of them alike: for receptive field mapping.
SCREEN = ScreenInfo(width_px=1920, height_px=1080, refresh_hz=60.0, px_per_deg=40.0)


class MyRig:
    """What a rig must be able to do: prepare, present, blank."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng()

    def prepare(self, images: dict[str, Image]) -> None:
        """Load (h, w, 3) uint8 images into your display, by digest; the first comes next."""

    def present(self, image: Image, request: Presentation) -> TrialResult:
        """Show one image, and return what the neurons did."""
        commanded = unix_ns()
        onset = self.flip(image)
        time.sleep(request.on_ms / 1000)  # your display's timing instead
        offset = self.flip(None)
        time.sleep(request.off_ms / 1000)
        units, times = self.spikes(onset, request.window_ms)
        # Where the animal broke fixation: "aborted", "fixation" instead of "ok", "".
        return TrialResult(
            presentation=request.presentation, attempt=request.attempt, status="ok", reason="",
            commanded_ns=commanded, onset_ns=onset, offset_ns=offset, onset_source="flip",
            form="spikes", arrays={"units": units, "times_ms": times},
        )  # fmt: skip

    def blank(self) -> None:
        """Clear the screen."""
        self.flip(None)

    def flip(self, image: Image | None) -> int:  # noqa: ARG002  yours uses it
        """Put an image, or grey, on the screen; return when it was there, ns."""
        return unix_ns()

    def spikes(
        self,
        onset_ns: int,  # noqa: ARG002  yours uses it
        window_ms: tuple[float, float],
    ) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """Return units (k,) uint32 and times (k,) float32, ms from onset, of the spikes."""
        k = int(self._rng.poisson(10))
        times = np.sort(self._rng.uniform(*window_ms, k)).astype(np.float32)
        return self._rng.integers(0, len(UNITS), k).astype(np.uint32), times


def main(endpoint: str) -> str:
    """Be a rig until the session is over; return why it is."""
    hello = Hello(
        name="my rig",
        software="template 1",
        capabilities=("spikes",),
        units=UNITS,
        display=SCREEN,
        window_ms=(-200.0, 500.0),
    )
    return RigClient(endpoint, hello=hello, presenter=MyRig(), identity="my-rig").run()


if __name__ == "__main__":
    print(main(sys.argv[1]))  # noqa: T201  a program of its own
