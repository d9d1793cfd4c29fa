"""The packages' own source, parsed once for all tests that read it.

They are of one group, `READERS`, so that one worker parses it for all of them.
"""

import ast
import functools
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("evolver", "rig_bridge", "scorers")
SOURCES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
READERS = pytest.mark.xdist_group("sources")


@functools.cache
def parsed(path):
    """Return the tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def nodes(path):
    """Return all nodes of a file's tree."""
    return list(ast.walk(parsed(path)))
