"""The wire: what the protocol costs on top of the bytes it carries.

Question: how long from `EngineServer.show` of 40 images of 256 x 256 to the rig's `accepted`,
as a ratio of one raw frame of the same size sent through bare pyzmq and answered; and how long
is a small round trip (a show of one 16 x 16 image, to its `accepted`)?

Method: TCP on the loopback, the other side a process of its own. Four sides alternate, round by
round: one raw frame; the same bytes as 41 raw frames, the least that the protocol's frames can
cost; the protocol; and the protocol with keys, that is encrypted. `accepted` says that every
image is there; the rig compares them with their digests afterwards, before it shows them, and a
round ends when that is over too. A ratio is of the medians of one run, and of its lower
quartiles, which other work on the machine disturbs less. Times depend on the machine.

Outputs: a table on standard output. Cost: about 10 s.

    python -m benchmarks.wire [--rounds 200]
"""

from __future__ import annotations

import hashlib
import multiprocessing
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
import zmq

from rig_bridge import codec
from rig_bridge.auth import EngineKeys, RigKey, new_rig
from rig_bridge.client import RigClient
from rig_bridge.events import BlockDone
from rig_bridge.messages import Accepted, Hello, PresentationRequest, ScreenInfo, Unit
from rig_bridge.server import EngineServer
from rig_bridge.trials import Image, Presentation, ShowRequest, TrialResult

_IMAGES, _SIDE = 40, 256
_WARM_UP = 10
_DEADLINE_S = 60.0


class _Blind:
    """A presenter that shows nothing and answers with no spikes."""

    def prepare(self, images: dict[str, Image]) -> None:
        """Need nothing."""

    def present(self, image: Image, request: Presentation) -> TrialResult:  # noqa: ARG002
        """Answer at once."""
        arrays = {"units": np.zeros(0, "<u4"), "times_ms": np.zeros(0, "<f4")}
        return TrialResult(
            presentation=request.presentation,
            attempt=request.attempt,
            status="ok",
            reason="",
            commanded_ns=0,
            onset_ns=0,
            offset_ns=0,
            onset_source="simulated",
            form="spikes",
            arrays=arrays,
        )

    def blank(self) -> None:
        """Clear nothing."""


def _rig(endpoint: str, file: Path | None) -> None:
    key = None if file is None else RigKey.load(file)
    hello = Hello(
        name="blind",
        software="benchmark",
        capabilities=("spikes",),
        units=(Unit(0, 0, "", ""),),
        display=ScreenInfo(1, 1, 60.0, 1.0),
        window_ms=(-100.0, 300.0),
    )
    RigClient(endpoint, hello=hello, presenter=_Blind(), identity="rig", key=key).run(
        idle_timeout_s=_DEADLINE_S
    )


def _raw(endpoint: str) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.connect(endpoint)
        socket.send(b"here")
        while len(socket.recv_multipart(copy=False)[0]):
            socket.send(b"here")


def _keyed(folder: Path) -> EngineServer:
    """Return an engine that has keys, and leave the rig's in ``rig.key``."""
    new_rig(folder / "keys", "rig", folder / "rig.key")
    keys = EngineKeys.load(folder / "keys")
    return EngineServer("tcp://127.0.0.1:*", session="be", name="benchmark", keys=keys)


def _digests(images: tuple[Image, ...]) -> tuple[str, ...]:
    return tuple(hashlib.sha256(image.data).hexdigest() for image in images)


def _request(block: int, images: tuple[Image, ...], digests: tuple[str, ...]) -> ShowRequest:
    n = len(images)
    wanted = tuple(
        PresentationRequest(
            presentation=block * n + k, image=k, on_ms=100.0, off_ms=100.0, known_attempt=0
        )
        for k in range(n)
    )
    return ShowRequest(
        block=block,
        attempt=1,
        images=images,
        sha256=digests,
        presentations=wanted,
        size_deg=3.0,
        position_deg=(0.0, 0.0),
    )


def _show(server: EngineServer, request: ShowRequest) -> float:
    """Return the seconds from `show` to `accepted`; then let the block come to its end."""
    started = time.perf_counter()
    server.show(request)
    seconds, done = 0.0, False
    while not (seconds and done):
        if time.perf_counter() - started > _DEADLINE_S:
            raise TimeoutError("the rig did not answer")
        for event in server.poll(1.0):
            if isinstance(event, Accepted):
                seconds = time.perf_counter() - started
            done |= isinstance(event, BlockDone)
    return seconds


def _bare(socket: zmq.Socket[bytes], frames: Sequence[codec.FrameBytes]) -> float:
    """Return the seconds from sending frames to the answer."""
    started = time.perf_counter()
    socket.send_multipart(frames, copy=False)
    if not socket.poll(int(1000 * _DEADLINE_S)):
        raise TimeoutError("the other side did not answer")
    socket.recv()
    return time.perf_counter() - started


def main(
    *,
    rounds: Annotated[int, typer.Option(min=1, help="the sides alternate within each")] = 200,
) -> None:
    """Measure what the wire adds to bare ZeroMQ, and print the table."""
    rng = np.random.default_rng(0)
    images = tuple(
        rng.integers(0, 256, (_SIDE, _SIDE, 3), dtype=np.uint8) for _ in range(_IMAGES)
    )
    frame = np.concatenate(images)
    many = [bytes(7000), *(image.reshape(-1).data for image in images)]
    small = (images[0][:16, :16].copy(),)
    digests, small_digests = _digests(images), _digests(small)
    spawn = multiprocessing.get_context("spawn")
    times: dict[str, list[float]] = {"one": [], "many": [], "show": [], "curve": []}
    with (
        tempfile.TemporaryDirectory() as folder,
        EngineServer("tcp://127.0.0.1:*", session="be", name="benchmark") as server,
        _keyed(Path(folder)) as secret,
        zmq.Context() as context,
        context.socket(zmq.DEALER) as bare,
    ):
        port = bare.bind_to_random_port("tcp://127.0.0.1")
        others = [
            spawn.Process(target=_rig, args=(server.endpoint, None), daemon=True),
            spawn.Process(
                target=_rig, args=(secret.endpoint, Path(folder) / "rig.key"), daemon=True
            ),
            spawn.Process(target=_raw, args=(f"tcp://127.0.0.1:{port}",), daemon=True),
        ]
        for process in others:
            process.start()
        bare.recv()
        for k in range(rounds + _WARM_UP):
            times["one"].append(_bare(bare, [frame.data]))
            times["many"].append(_bare(bare, many))
            times["show"].append(_show(server, _request(k, images, digests)))
            times["curve"].append(_show(secret, _request(k, images, digests)))
            server.poll(0.0)  # neither rig may think that its engine is gone
        trips = [
            _show(server, _request(10_000 + k, small, small_digests))
            for k in range(10 * rounds)
        ]
        bare.send(b"")
        server.end("finished")
        secret.end("finished")
        for process in others:
            process.join(_DEADLINE_S)
    quartiles = {
        name: 1e3 * np.percentile(side[_WARM_UP:], [50, 25]) for name, side in times.items()
    }
    print(
        f"{_IMAGES} images of {_SIDE} x {_SIDE} px, {frame.nbytes / 1e6:.1f} MB; "
        f"{rounds} rounds, the sides alternating"
    )
    print(f"{'':40s} median, ms  ratio   lower quartile, ms  ratio")
    for name, label in (
        ("one", "one raw frame, answered"),
        ("many", f"{len(many)} raw frames, answered"),
        ("show", "show to accepted"),
        ("curve", "show to accepted, with keys (CURVE)"),
    ):
        (median, lower), (raw, raw_lower) = quartiles[name], quartiles["one"]
        print(
            f"{label:40s} {median:10.2f}  {median / raw:5.2f}   {lower:18.2f}  "
            f"{lower / raw_lower:5.2f}"
        )
    p50, p99 = (1e6 * float(x) for x in np.percentile(trips[_WARM_UP:], [50, 99]))
    print(f"small round trip: p50 {p50:.0f} us, p99 {p99:.0f} us")


if __name__ == "__main__":
    typer.run(main)
