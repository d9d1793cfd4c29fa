"""`evolver person`: what it refuses before anything is begun, and the example it comes with."""

from pathlib import Path

import pytest

from evolver import config
from rig_bridge.rigs.person.grid import UNITS
from tests import children

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "person.toml"


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (("--screen", "wide"), "as 1920x1080@60; got 'wide'"),
        (("--question", "x" * 201), "--question must have at most 200 letters; got 201"),
        (("--mode", "guess"), "'guess' is not one of"),
        (("--address", "256.0.0.1"), "the page cannot listen on 256.0.0.1:0"),
        (("--endpoint", "x"), "x"),
        (("--key", "none.key"), "none.key"),
    ],
)
def test_mistakes_are_named(wrong, text, tmp_path):
    said = children.evolver("person", *wrong, expect=2, cwd=tmp_path)
    assert text in " ".join(said.split())
    assert "page: " not in said or wrong[0] == "--endpoint"


def test_the_example_watches_the_unit_that_the_rig_has():
    settings, _ = config.load_session_file(EXAMPLE)
    assert settings.fitness_of(0).units == (UNITS[0].label,)
    assert settings.presentation.schedule == "together"  # one page a generation
    planned = settings.presentation.on_ms + settings.presentation.off_ms
    images = settings.threads[0].popsize + settings.references.count
    slow_s = planned / 1000 * images * settings.watchdogs.slow_block
    assert slow_s > 45 * 60  # no word of a slow rig before that
    assert settings.rig.answer_timeout_s >= slow_s
