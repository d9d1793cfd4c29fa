"""How long a test waits for what must happen, said once.

A limit ends a test that would hang; it is no measure of speed. On an idle machine nothing comes
near it, and a machine that runs eight other programs must not reach it either. It is less than
pytest's `timeout` in `pyproject.toml`, so that the test itself says what did not come.
"""

import threading
import time

PATIENCE_S = 300.0
PATIENCE_MS = int(PATIENCE_S * 1000)


def wait_until(condition, *, step=None, or_say=None, every_s=0.005):
    """Wait until `condition()` is true.

    Parameters
    ----------
    condition : asked again and again
    step : called between the tries, where something must be done for it to come true
    or_say : its answer is in the failure's text
    every_s : seconds between the tries; more of them where asking is dear

    Raises
    ------
    AssertionError
        It was not true within `PATIENCE_S`.
    """
    deadline, pause = time.monotonic() + PATIENCE_S, threading.Event()
    while not condition():
        said = "" if or_say is None else f": {or_say()}"
        assert time.monotonic() < deadline, f"did not happen within {PATIENCE_S:g} s{said}"
        if step is not None:
            step()
        pause.wait(every_s)
