"""Only tests that are listed may be skipped: pytest itself, on files that try."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.skips import ALLOWED, NO_GPU

ROOT = Path(__file__).parents[1]
LISTED = f"""
@pytest.mark.skipif(True, reason={NO_GPU!r})
@pytest.mark.parametrize("n", [1])
def test_on_a_gpu(n): ...
"""
EXPECTED_TO_FAIL = """
@pytest.mark.xfail
def test_on_a_gpu(): assert False
"""
UNLISTED = (
    f"def test_another(): pytest.skip({NO_GPU!r})",
    "def test_on_a_gpu(): pytest.skip('no time')",
    "@pytest.mark.skip\ndef test_on_a_gpu(): ...",
    "def test_on_a_gpu(): pytest.importorskip('no_such_library')",
    "pytest.importorskip('no_such_library')\ndef test_on_a_gpu(): ...",
    f"pytest.skip({NO_GPU!r}, allow_module_level=True)",
)


@pytest.fixture(scope="module")
def summary(tmp_path_factory):
    """The lines that pytest ends with, run once on a file of each text, in their order."""
    folder = tmp_path_factory.mktemp("made")
    for number, text in enumerate((LISTED, EXPECTED_TO_FAIL, *UNLISTED)):
        path = folder / f"test_made_{number}.py"
        path.write_text(f"import pytest\n{text}\n", encoding="utf-8")
    plugins = ("-p", "tests.conftest", "-p", "no:cacheprovider")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", *plugins, "--continue-on-collection-errors"),
            *("-rA", "-c", os.devnull, "--rootdir", str(folder), str(folder)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.partition("short test summary info")[2].splitlines()


def test_a_listed_skip_is_one_and_what_is_expected_to_fail_is_none(summary):
    (skipped,) = [line for line in summary if line.startswith("SKIPPED")]
    assert skipped.startswith("SKIPPED [1] ")
    assert "test_made_0.py" in skipped
    (expected,) = [line for line in summary if line.startswith("XFAIL")]
    assert "test_made_1.py" in expected


@pytest.mark.parametrize("number", range(2, 2 + len(UNLISTED)))
def test_a_skip_that_is_not_listed_fails(summary, number):
    (line,) = [one for one in summary if f"test_made_{number}.py" in one]
    assert line.startswith(("FAILED", "ERROR"))


def test_the_closing_line_counts_them(summary):
    assert "3 failed, 1 skipped, 1 xfailed, 3 errors" in summary[-1]


def test_every_listed_test_is_there():
    functions = {
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    }
    assert set().union(*ALLOWED.values()) <= functions
