"""A rig without an animal that has a real screen: images are shown, model neurons answer.

For trying a set-up before the animal comes: the screen, its timing, the photodiode, the
network and the engine are those of the experiment; only the responses are made up. Knows a
display and a simulated rig, each handed in.
"""

from __future__ import annotations

from msgspec.structs import replace

from rig_bridge.errors import RequestError
from rig_bridge.messages import Hello
from rig_bridge.rigs.protocols import ImageDisplay
from rig_bridge.rigs.simulated import SimulatedRig
from rig_bridge.trials import Image, Presentation, TrialResult, aborted


class Rehearsal:
    """A `Presenter`: `display` shows, `neurons` answer.

    Parameters
    ----------
    display : shows the images; its times are the results'
    neurons : answers at once; at speed `math.inf`, since it is the display that takes time
    """

    def __init__(self, display: ImageDisplay, neurons: SimulatedRig) -> None:
        self._display, self._neurons = display, neurons
        self._last_ns = 0  # when the last presentation was over, display's clock

    def hello(self, name: str, *, software: str) -> Hello:
        """Return what this rig says of itself."""
        return self._neurons.hello(name, software=software, display=self._display.screen_info)

    def prepare(self, images: dict[str, Image]) -> None:
        """Get both ready."""
        self._display.prepare(images)
        self._neurons.prepare(images)

    def present(self, image: Image, request: Presentation) -> TrialResult:
        """Show one image, and return what the neurons would have said.

        Where the display broke off, they saw the image for so long: later spikes are left out.
        An image that cannot be shown, such as one beyond the screen's edge, is aborted.
        """
        answered = self._neurons.present(image, request)
        try:
            showing = self._display.show(image, request)
        except RequestError as exc:
            hello = self.hello("", software="")
            return aborted(
                request,
                str(exc)[:200],
                form=hello.capabilities[0],
                units=len(hello.units),
                time_ns=self._last_ns,
            )
        self._last_ns = showing.offset_ns
        arrays = answered.arrays
        if showing.status == "ok":
            showing = replace(showing, status=answered.status, reason=answered.reason)
        elif "times_ms" in arrays:
            before = arrays["times_ms"] < (showing.offset_ns - showing.onset_ns) / 1e6
            arrays = {name: array[before] for name, array in arrays.items()}
        return TrialResult.of(showing, answered.form, arrays)

    def blank(self) -> None:
        """Clear the screen."""
        self._display.blank()
