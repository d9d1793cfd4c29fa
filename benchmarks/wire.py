"""The wire: what the protocol costs on top of the bytes it carries.

Question: how long from `EngineServer.show` of 40 images of 256 x 256 to the rig's `accepted`,
as a ratio of one raw frame of the same size sent through bare pyzmq and answered; and how long
is a small round trip (a show of one 16 x 16 image, to its `accepted`)?

Method: TCP on the loopback, the other side a process of its own. `accepted` says that every
image is there and has its digest; hashing alone is timed too, so that what is left is the
protocol's. Rounds of raw and protocol alternate. Ratios are of medians of one run; times depend
on the machine.

Outputs: a table on standard output. Cost: about 20 s.

    python -m benchmarks.wire [--rounds 60]
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import time

import numpy as np
import zmq

from rig_bridge.client import RigClient
from rig_bridge.events import BlockDone
from rig_bridge.messages import Accepted, Display, Hello, Unit
from rig_bridge.server import EngineServer
from rig_bridge.trials import Image, Presentation, PresentationRequest, ShowRequest, TrialResult

_IMAGES, _SIDE = 40, 256
_DEADLINE_S = 60.0


class _Blind:
    """A presenter that shows nothing and answers with no spikes."""

    def prepare(self, images: dict[str, Image]) -> None:
        """Need nothing."""

    def present(self, image: Image, request: Presentation) -> TrialResult:  # noqa: ARG002
        """Answer at once."""
        arrays = {"units": np.zeros(0, "<u4"), "times_ms": np.zeros(0, "<f4")}
        return TrialResult(
            request.presentation,
            request.attempt,
            "ok",
            "",
            0,
            0,
            0,
            "simulated",
            "spikes",
            arrays,
        )

    def blank(self) -> None:
        """Clear nothing."""


def _rig(endpoint: str) -> None:
    hello = Hello(
        name="blind",
        software="benchmark",
        capabilities=("spikes",),
        units=(Unit(0, 0, "", ""),),
        display=Display(1, 1, 60.0, 1.0),
        window_ms=(-100.0, 300.0),
    )
    RigClient(endpoint, hello=hello, presenter=_Blind(), identity="rig").run(
        idle_timeout_s=_DEADLINE_S
    )


def _raw(endpoint: str) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.connect(endpoint)
        while len(socket.recv_multipart(copy=False)[0]):
            socket.send(b"here")


def _request(block: int, images: tuple[Image, ...]) -> ShowRequest:
    digests = tuple(hashlib.sha256(image.data).hexdigest() for image in images)
    n = len(images)
    wanted = tuple(PresentationRequest(block * n + k, k, 100.0, 100.0) for k in range(n))
    return ShowRequest(block, 1, images, digests, wanted, 3.0, (0.0, 0.0))


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


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    rounds: int = parser.parse_args().rounds
    rng = np.random.default_rng(0)
    images = tuple(
        rng.integers(0, 256, (_SIDE, _SIDE, 3), dtype=np.uint8) for _ in range(_IMAGES)
    )
    frame = np.concatenate(images)
    small = (images[0][:16, :16].copy(),)
    spawn = multiprocessing.get_context("spawn")
    raw: list[float] = []
    shown: list[float] = []
    hashing: list[float] = []
    with (
        EngineServer("tcp://127.0.0.1:*", session="be", name="benchmark") as server,
        zmq.Context() as context,
        context.socket(zmq.DEALER) as bare,
    ):
        port = bare.bind_to_random_port("tcp://127.0.0.1")
        others = [
            spawn.Process(target=_rig, args=(server.endpoint,)),
            spawn.Process(target=_raw, args=(f"tcp://127.0.0.1:{port}",)),
        ]
        for process in others:
            process.start()
        for k in range(rounds + 5):  # the first five warm up
            started = time.perf_counter()
            bare.send(frame.data, copy=False)
            bare.recv()
            raw.append(time.perf_counter() - started)
            shown.append(_show(server, _request(k, images)))
            started = time.perf_counter()
            for image in images:
                hashlib.sha256(image.data).hexdigest()
            hashing.append(time.perf_counter() - started)
        trips = [_show(server, _request(10_000 + k, small)) for k in range(20 * rounds)]
        bare.send(b"")
        server.end("finished")
        for process in others:
            process.join(_DEADLINE_S)
    raw_s, shown_s, hash_s = (float(np.median(x[5:])) for x in (raw, shown, hashing))
    p50, p99 = (1e6 * float(x) for x in np.percentile(trips[20:], [50, 99]))
    print(
        f"{_IMAGES} images of {_SIDE} x {_SIDE} px, {frame.nbytes / 1e6:.1f} MB; "
        f"{rounds} rounds"
    )
    print(f"one raw frame, answered        {1e3 * raw_s:7.2f} ms")
    print(
        f"show to accepted               {1e3 * shown_s:7.2f} ms   {shown_s / raw_s:.2f} x raw"
    )
    print(f"  of it SHA-256 of the images  {1e3 * hash_s:7.2f} ms")
    print(
        f"  without it                   {1e3 * (shown_s - hash_s):7.2f} ms   "
        f"{(shown_s - hash_s) / raw_s:.2f} x raw"
    )
    print(f"small round trip               p50 {p50:.0f} us, p99 {p99:.0f} us")


if __name__ == "__main__":
    main()
