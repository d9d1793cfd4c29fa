"""How long it takes is said by a rate that was measured, times what there is to do."""

import pytest

from benchmarks.optimizers import time_needed
from benchmarks.optimizers.outcomes import Spec
from benchmarks.optimizers.time_needed import expected_s, time_words
from tests.benchmarks.made import SPEC


def test_every_image_of_every_run_counts_and_each_layer_is_timed_once(monkeypatch):
    timed = []

    def seconds(stage):
        timed.append(stage.unit)
        return 0.5 if "fc5" in stage.unit else 0.25

    monkeypatch.setattr(time_needed, "seconds_an_image", seconds)
    units = ("mini:fc5:3", "mini:fc5:4", "mini:conv2:3")
    specs = [Spec(**{**SPEC, "unit": unit, "generations": 3}) for unit in units]
    assert expected_s(specs, "cpu") == pytest.approx((0.5 + 0.5 + 0.25) * 3 * (4 + 1))
    assert timed == ["mini:fc5:3", "mini:conv2:3"]


def test_a_length_is_written_as_people_read_it():
    assert time_words(7_500.0, 1).startswith("About 2 h 5 min of drawing and scoring in 1 pro")
    assert time_words(7_500.0, 2).startswith("About 1 h 2 min of drawing and scoring in 2 pro")
    assert time_words(5.0, 1).startswith("About 1 min")
