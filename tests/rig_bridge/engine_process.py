"""An engine's side of the wire as a process of its own, for tests that might end it.

    python engine_process.py

Says its address on the first line, and what happened, by kind, when its input is closed.
"""

from __future__ import annotations

import select
import sys
from collections import Counter

from rig_bridge.messages import Notice
from rig_bridge.server import EngineServer
from tests.rig_bridge.samples import SESSION


def main() -> None:
    happened: Counter[str] = Counter()
    with EngineServer("tcp://127.0.0.1:*", session=SESSION, name="test") as engine:
        sys.stdout.write(engine.endpoint + "\n")
        sys.stdout.flush()
        while not select.select([sys.stdin], [], [], 0.0)[0]:
            for event in engine.poll(0.1):
                name = event.text if isinstance(event, Notice) else type(event).__name__
                happened[name] += 1
    sys.stdout.write(f"{dict(happened)}\n")


if __name__ == "__main__":
    main()
