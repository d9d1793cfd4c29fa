"""What is loaded last before processes are forked, and left alone by the garbage collector.

A command imports more as it begins: the library that reads its words, formats of images,
networks. All of it is here by then, and the command line is made of its functions, so that no
forked process does so again.

A collection in a forked process writes to every object there is, so that every page of what
was imported is copied; for a process that lives a second that was a third of its time.
"""

import contextlib
import functools
import gc
import logging
import os

import PIL.Image
import typer.main

from evolver.cli.app import app
from evolver.errors import EvolverError

PIL.Image.init()
typer.main.get_command = functools.cache(typer.main.get_command)
# An address that names no network: its words are read, nothing is worked out, and nobody reads
# what is said. Python's own streams stay what they are, for loggers keep them.
kept = [os.dup(number) for number in (1, 2)]
with (
    open(os.devnull, "w", encoding="utf-8") as nowhere,
    contextlib.suppress(SystemExit, EvolverError),
):
    for number in (1, 2):
        os.dup2(nowhere.fileno(), number)
    app(["units", "no-network"])
for number, descriptor in enumerate(kept, 1):
    os.dup2(descriptor, number)
    os.close(descriptor)
logging.basicConfig(handlers=[], level=logging.WARNING, force=True)  # as if none had begun
gc.collect()
gc.freeze()
