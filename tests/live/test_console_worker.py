"""A console that is held up, or gone, holds nobody up."""

import threading

from evolver.live.console import Console
from evolver.live.console_worker import ConsoleWorker
from tests.limits import PATIENCE_S


def test_news_come_in_their_order_and_errors_stay_with_the_console():
    told = []

    def on_wait(text, no_rig_since_ns):
        told.append((text, no_rig_since_ns))
        if text == "b":
            raise OSError(5, "the terminal is gone")

    worker = ConsoleWorker(Console(on_wait=on_wait, on_event=told.append))
    worker.console.on_wait("a")
    worker.console.on_wait("b", 7)
    worker.console.on_event("c")
    worker.close(PATIENCE_S)
    assert told == [("a", 0), ("b", 7), "c"]


def test_a_console_that_hangs_is_left_alone():
    go_on = threading.Event()
    told = []

    def hang(text):
        go_on.wait(PATIENCE_S)
        told.append(text)

    worker = ConsoleWorker(Console(on_event=hang))
    for number in range(20_000):
        worker.console.on_event(str(number))
    worker.close(0.0)
    assert told == []
    go_on.set()
    worker.close(PATIENCE_S)
    assert told[:3] == ["0", "1", "2"]
    assert len(told) < 20_000  # what waits has a limit
