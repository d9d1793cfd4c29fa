"""What is loaded last before processes are forked, and left alone by the garbage collector.

A command imports more as it begins: the library that reads its words, formats of images,
networks. All of it is here by then, and the command line is made of its functions, so that no
forked process does so again.

A collection in a forked process writes to every object there is, so that every page of what
was imported is copied; for a process that lives a second that was a third of its time.
"""

import functools
import gc

import PIL.Image
import typer.main
from typer.testing import CliRunner

from evolver.cli.app import app

PIL.Image.init()
# An address that names no network: its words are read, and nothing is worked out.
CliRunner().invoke(app, ["units", "no-network"])
typer.main.get_command = functools.cache(typer.main.get_command)
typer.main.get_command(app)
gc.collect()
gc.freeze()
