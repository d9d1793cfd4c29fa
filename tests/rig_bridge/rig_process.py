"""A simulated rig as a process of its own, for tests: two units, drives that are pixel means.

    python rig_process.py ENDPOINT IDENTITY PATIENCE_S [--speed S] [--abort-rate A] …

Says how the session ended on its last line.
"""

from __future__ import annotations

import argparse
import functools
import sys
import warnings

import msgspec
import numpy as np

from evolver.seeds import stream
from rig_bridge.client import RigClient
from rig_bridge.errors import RefusedError
from rig_bridge.rigs.simulated import SimulatedRig
from scorers.neuron import NeuronConfig, SpikingPopulation

QUANTILES = {"p50": np.array([0.0, 0.0]), "p99": np.array([1.0, 1.0])}


def respond(images):
    """Mean and spread of the pixels, as fractions: (n, 2)."""
    return np.array([[image.mean() / 255, image.std() / 255] for image in images])


def make_rig(seed: int = 0, **options) -> SimulatedRig:
    streams = functools.partial(stream, seed)
    neurons = SpikingPopulation(QUANTILES, NeuronConfig(), streams)
    return SimulatedRig(respond, neurons, labels=("mean", "sd"), stream=streams, **options)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("endpoint")
    parser.add_argument("identity")
    parser.add_argument("patience_s", type=float)
    parser.add_argument("--speed", type=float, default=float("inf"))
    parser.add_argument("--abort-rate", type=float, default=0.0)
    parser.add_argument("--version", type=int, default=1)
    given = parser.parse_args()
    warnings.simplefilter("error")
    rig = make_rig(speed=given.speed, abort_rate=given.abort_rate)
    hello = rig.hello("test rig", software="tests")
    client = RigClient(given.endpoint, hello=hello, presenter=rig, identity=given.identity)
    if given.version != 1:
        client._hello = msgspec.structs.replace(hello, version=given.version)
    try:
        say(f"ended: {client.run(idle_timeout_s=given.patience_s)}")
    except RefusedError as exc:
        say(f"refused: {exc}")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
