"""`evolver xdream`: what it is told of the other side."""

import pytest

from tests import children

FOLDERS = ("xdream", "images", "responses", "--px-per-deg", "40")


@pytest.mark.parametrize(
    "screen", ["1920x1080", "0x1080@60", "1920x9000@60", "1920x1080@0", "x"]
)
def test_a_screen_that_is_none_is_said_so(screen, tmp_path):
    said = children.evolver(*FOLDERS, "--screen", screen, cwd=tmp_path, expect=2)
    assert f"as 1920x1080@60; got '{screen}'" in " ".join(said.split())
    assert list(tmp_path.iterdir()) == []


def test_the_screen_must_be_told(tmp_path):
    said = children.evolver(*FOLDERS, cwd=tmp_path, expect=2)
    assert "--screen" in said
