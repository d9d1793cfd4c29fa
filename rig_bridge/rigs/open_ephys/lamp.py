"""Tells an emulator what its photodiode and its neurons see: there is no light between them.

Knows a display, pixels and the emulator's listening port. A display that is watched by a `Lamp`
says at its first frame that the image is on the screen, and what linear receptive fields make
of it. With real hardware there is no lamp.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache

import msgspec
import numpy as np
import zmq
from numpy.typing import NDArray

from rig_bridge.errors import EndpointError
from rig_bridge.messages import ScreenInfo, Showing
from rig_bridge.rigs.open_ephys.emulator import Fault
from rig_bridge.rigs.open_ephys.format import TTL
from rig_bridge.rigs.protocols import ImageDisplay
from rig_bridge.trials import Image, Presentation

_GRID = 8
_ANSWER_MS = 5000


@lru_cache(maxsize=4)
def _fields(electrodes: int) -> NDArray[np.float64]:
    """Receptive fields, (electrodes, 8 * 8 * 3), of norm 1; the same in every run."""
    rng = np.random.default_rng(20_260_101)
    fields = rng.standard_normal((electrodes, _GRID * _GRID * 3))
    return fields / np.linalg.norm(fields, axis=1, keepdims=True)


def drives(image: Image, electrodes: int) -> NDArray[np.float64]:
    """Return what each electrode's neuron makes of an image, (electrodes,), 0 to about 2.

    The image in 8 x 8 squares, by a linear receptive field, rectified.
    """
    rows = np.arange(_GRID) * image.shape[0] // _GRID
    columns = np.arange(_GRID) * image.shape[1] // _GRID
    sums = np.add.reduceat(np.add.reduceat(image.astype(np.float64), rows, 0), columns, 1)
    heights = np.diff([*rows, image.shape[0]])[:, None, None]
    widths = np.diff([*columns, image.shape[1]])[None, :, None]
    squares = sums / np.maximum(heights * widths, 1) / 255 - 0.5
    return np.maximum(0.0, 0.5 + 2 * _fields(electrodes) @ squares.ravel())


class Lamp:
    """An `ImageDisplay` around another one, whose light the emulator sees.

    Give `frame` to the display as its `breaks_off`, then the display to `watch`.

    Parameters
    ----------
    host, port : of the emulator's data
    electrodes : of the emulator
    line : of the photodiode
    """

    def __init__(self, host: str, port: int, *, electrodes: int, line: int = 0) -> None:
        self._electrodes, self._line = electrodes, line
        self._endpoint = f"tcp://{host}:{port + 1}"
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._socket: zmq.Socket[bytes] | None = None
        self._uuid = secrets.token_hex(16)
        self._display: ImageDisplay | None = None
        self._image: Image | None = None
        self._on_ms = 0.0

    def watch(self, display: ImageDisplay) -> Lamp:
        """Take the display; return what is to be used in its place.

        Raises
        ------
        EndpointError
            The emulator's address is none.
        """
        self._display = display
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        try:
            self._socket.connect(self._endpoint)
        except zmq.ZMQError as exc:
            self._disconnect()
            raise EndpointError(f"no emulator can be at {self._endpoint}: {exc}") from exc
        return self

    def frame(self) -> str:
        """Take the news of a frame; the first one of an image is its onset."""
        if self._image is not None:
            seen = drives(self._image, self._electrodes).tolist()
            self._image = None
            event = {"type": TTL, "event_channel": self._line, "event_id": 1, "sample_num": 0}
            self._send({"type": "event", "event": event, "on_ms": self._on_ms, "drives": seen})
        return ""

    @property
    def screen_info(self) -> ScreenInfo:
        """The screen."""
        return self._watched.screen_info

    def prepare(self, images: Mapping[str, Image]) -> None:
        """Get ready to show these images."""
        self._watched.prepare(images)

    def show(self, image: Image, request: Presentation) -> Showing:
        """Show one image, and let the emulator see it."""
        self._image, self._on_ms = image, request.on_ms
        return self._watched.show(image, request)

    def blank(self) -> None:
        """Clear the screen."""
        self._watched.blank()

    def close(self) -> None:
        """Close the display and the socket."""
        self._watched.close()
        self._disconnect()

    def _disconnect(self) -> None:
        if self._socket is not None and self._context is not None:
            self._socket.close(linger=0)
            self._context.term()

    @property
    def _watched(self) -> ImageDisplay:
        if self._display is None:
            raise TypeError("a lamp must have a display to watch before it is used")
        return self._display

    def _send(self, message: dict[str, object]) -> None:
        socket = self._socket
        if socket is None:
            return
        while socket.poll(0):
            socket.recv_multipart()
        content = {"application": "lamp", "uuid": self._uuid, **message}
        with suppress(zmq.Again):  # nobody there: a photodiode that sees nothing
            socket.send_multipart([b"", msgspec.json.encode(content)], zmq.NOBLOCK)


def ask_fault(host: str, port: int, fault: Fault, count: int = 1) -> str:
    """Ask a running emulator for a fault; return what it answers.

    Parameters
    ----------
    host, port : of its data
    fault : what
    count : messages; of a stall, milliseconds

    Returns
    -------
    '' where nobody answers within five seconds
    """
    with zmq.Context() as context, context.socket(zmq.REQ) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(f"tcp://{host}:{port + 1}")
        socket.send(msgspec.json.encode({"type": "fault", "fault": fault, "count": count}))
        return socket.recv().decode() if socket.poll(_ANSWER_MS) else ""
