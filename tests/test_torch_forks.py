"""Forked processes have torch's threads as the process had that they are forked from."""

import os
import threading

import torch
from torch.nn.functional import conv_transpose2d

from evolver import row_products
from tests.children import child


def drawn_by_threads(folder):
    """In a process of its own: fork another, whose threads all begin to draw at once."""
    assert row_products.torch_forks
    torch.set_num_threads(3)  # has the pool made
    weights, images = torch.ones(4, 4, 3, 3), torch.ones(2, 4, 8, 8)
    forked = os.fork()
    if forked:
        _, status = os.waitpid(forked, 0)
        os._exit(os.waitstatus_to_exitcode(status))
    sums, ready = [], threading.Barrier(6)

    def draw():
        ready.wait()
        sums.append(float(conv_transpose2d(images, weights).sum()))

    threads = [threading.Thread(target=draw) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    right = sums == [2 * 4 * 4 * 9 * 64.0] * 6 and torch.get_num_threads() == 3
    (folder / "said").write_text(f"{right} {sums} {torch.get_num_threads()}")
    os._exit(0)


def test_threads_of_a_forked_process_draw_as_soon_as_it_begins(tmp_path):
    process = child(drawn_by_threads, tmp_path)
    process.join()
    assert process.exitcode == 0
    assert (tmp_path / "said").read_text().startswith("True")
