"""What any local user can run against an engine, as a process of its own, for tests.

    python intruder.py ENDPOINT SECONDS SEED

Two ways in turns. A socket of ZeroMQ that sends what nobody reads in time, and leaves. And ZMTP
by hand: messages with a ping (RFC 37) behind each, all of it at once, and gone, so that there
is a ping to answer when nobody is there any more; now and then under another's identity.
"""

from __future__ import annotations

import os
import random
import socket
import struct
import sys
import time

import zmq


def frame(body: bytes, flags: int = 0) -> bytes:
    """A frame of ZMTP 3 (RFC 23)."""
    if len(body) < 256:
        return bytes([flags, len(body)]) + body
    return struct.pack(">BQ", 2 | flags, len(body)) + body


PING = frame(b"\x04PING\x00\x32context", 4)


def fill_and_leave(endpoint: str, rng: random.Random) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.connect(endpoint)
        for _ in range(rng.randint(1, 400)):
            body = os.urandom(rng.randint(10, 5000))
            try:
                dealer.send_multipart([body] + [b""] * rng.choice((0, 1, 3000)), zmq.NOBLOCK)
            except zmq.Again:
                continue


def ping_and_leave(endpoint: str, rng: random.Random) -> None:
    host, port = endpoint.removeprefix("tcp://").split(":")
    try:
        with socket.create_connection((host, int(port)), timeout=5) as raw:
            greeting = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"NULL".ljust(20, b"\0")
            raw.sendall(greeting.ljust(64, b"\0"))
            ready = b"\x05READY\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER"
            if rng.random() < 0.5:
                ready += b"\x08Identity" + struct.pack(">I", 1) + b"x"
            raw.sendall(frame(ready, 4))
            raw.recv(4096)
            raw.sendall((frame(b"x" * 20) + PING) * rng.randint(60, 3000))
    except OSError:
        return  # ended by the engine, as it should


def main() -> None:
    endpoint, seconds, seed = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    rng, end = random.Random(seed), time.monotonic() + seconds
    while time.monotonic() < end:
        fill_and_leave(endpoint, rng)
        for _ in range(20):
            ping_and_leave(endpoint, rng)


if __name__ == "__main__":
    main()
