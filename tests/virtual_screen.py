"""A screen that nobody sees (Xvfb), for tests of windows."""

import shutil
import subprocess
from contextlib import contextmanager

import pytest

from tests.limits import PATIENCE_S
from tests.skips import NO_XVFB

XVFB = shutil.which("Xvfb")
_TRIES = 20


@contextmanager
def virtual_screen():
    """Have an 800 x 600 screen; give its name, as DISPLAY takes it, or skip the test."""
    if XVFB is None:
        pytest.skip(NO_XVFB)
    # A server that resets when its last client leaves refuses the client that comes meanwhile.
    options = ["-screen", "0", "800x600x24", "-nolisten", "tcp", "-noreset"]
    command = [XVFB, "-displayfd", "1", *options]
    for _ in range(_TRIES):
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as server:
            number = server.stdout.readline().decode().strip()
            if not number:  # two that began at once wanted the same, and this one ended
                continue
            try:
                yield f":{number}"
            finally:
                server.terminate()
                server.wait(PATIENCE_S)
            return
    raise AssertionError(f"no Xvfb began, in {_TRIES} tries")
