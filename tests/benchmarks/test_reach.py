"""Presentations until the baseline's score: counted by hand, and open where none gets there."""

import msgspec
import numpy as np
import pytest

from benchmarks.optimizers import pair_tables
from benchmarks.optimizers.reach import presentations
from tests.benchmarks.made import outcome

UNITS = [f"mini:fc5:{k}" for k in range(6)]


def run(name, unit, best, **changes):
    made = outcome(best[-1], optimizer=name, unit=unit, generations=len(best), **changes)
    n = range(4, 4 * len(best) + 1, 4)
    return msgspec.structs.replace(
        made, curve=msgspec.structs.replace(made.curve, best=best, evaluations=list(n))
    )


@pytest.fixture
def runs():
    base = [run("cholesky", unit, [0.1, 0.5, 0.5, 0.9]) for unit in UNITS]
    quick = [run("sep", unit, [0.6, 0.7, 0.8, 1.0]) for unit in UNITS]
    slow = [
        run("snes", unit, [0.0, 0.1, 0.2, 0.6 if k < 2 else 0.3])
        for k, unit in enumerate(UNITS)
    ]
    return [*base, *quick, *slow]


def test_images_are_counted_until_the_score_is_there(runs):
    reaches = presentations(runs, 3)
    assert reaches["cholesky"].presentations.value == 8.0  # it had it a generation before
    assert reaches["sep"].presentations.value == 4.0
    assert (reaches["sep"].never, reaches["snes"].never) == (0.0, pytest.approx(4 / 6))
    assert np.isinf(reaches["snes"].presentations.value)
    assert reaches["snes"].presentations.low == 16.0
    assert presentations(runs, 4)["sep"].presentations.value == 16.0


def test_what_cannot_be_asked_has_no_answer(runs):
    assert presentations(runs, 5) == {}  # runs were shorter
    assert presentations([o for o in runs if o.spec.optimizer != "cholesky"], 2) == {}
    broken = [*runs, run("sep", UNITS[0], [0.1], seed=2, failed="lost")]
    assert "sep" not in presentations(broken, 2)


def test_a_table_says_who_does_not_get_there(runs):
    head, rows = pair_tables.reach(runs, "w", 3, level=0.95)
    assert head == ["optimizer", "no noise: median", "never"]
    assert rows[:2] == [["cholesky", "8 (8 to 8)", "0 %"], ["sep", "4 (4 to 4)", "0 %"]]
    assert rows[2] == ["snes", "not reached (16 to > 16)", "67 %"]
