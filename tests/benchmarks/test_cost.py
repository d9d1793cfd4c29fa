"""Cost: seconds beside Cholesky's, and memory, of anybody's optimizer."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

from benchmarks.optimizers.contestants import Contestant
from benchmarks.optimizers.cost import GENERATIONS, WARM_UP, measure_cost
from tests.benchmarks.made import Fixed


class Slow(Fixed):
    """Holds memory, and works for it."""

    def ask(self):
        self.held = np.ones(6_000_000)  # 48 MB: never out of memory that was freed before
        return super().ask()


def measure_slow():
    found = measure_cost(Contestant("slow", f"{__name__}:Slow"), 16, 8, 4.0)
    return found, len(Fixed.told)


@pytest.mark.soak
def test_what_is_slow_and_large_is_seen():
    # A process of its own: in this one, what earlier tests left is given back at any time.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        found, told = pool.submit(measure_slow).result()
    assert found.failed == ""
    assert found.median_ratio > 1
    if found.peak_bytes is not None:
        assert 45e6 < found.peak_bytes < 150e6  # twice while it is replaced
    assert told >= GENERATIONS + WARM_UP


def test_what_freed_memory_has_room_for_is_counted_too():
    freed = np.ones((300, 300))  # a process that has held as much grows by nothing
    del freed
    found = measure_cost(Contestant("c", "cholesky", (("sigma", 3.0),)), 256, 8, 4.0)
    if found.peak_bytes is not None:
        assert found.peak_bytes >= 2 * 8 * 256 * 8  # its codes, and the copy that it hands out


def test_who_fails_is_said():
    found = measure_cost(Contestant("breaks", "tests.benchmarks.made:Breaks"), 16, 8, 4.0)
    assert found.failed == "ArithmeticError: lost"


def test_a_search_along_axes_is_measured():
    along = Contestant("along", "cholesky", (("sigma", 3.0), ("axes.k", 5)))
    measured = measure_cost(along, 16, 8, 4.0, axes=5)
    assert measured.failed == ""
    assert measured.median_ratio == measured.median_s / measured.beside_s > 0
    assert "it got none" in measure_cost(along, 16, 8, 4.0).failed


def test_who_ends_the_program_has_no_cost_and_is_said_to():
    leaves = Contestant("leaves", "tests.benchmarks.made:Leaves", (("how", "exit"),))
    assert measure_cost(leaves, 8, 4, 1.0).failed == "SystemExit: 3"
