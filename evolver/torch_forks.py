"""Torch in processes that are forked from one that has imported it.

Torch has a pool of threads, which a forked process makes anew when it first asks for it. Two
threads that ask at once can get in each other's way, "Invalid thread pool!" (torch 2.13: once,
of some forty sessions whose threads drew on a very busy machine). So a forked process asks
before it has a second thread.
"""

# pyright: basic

from __future__ import annotations

import os

import torch


def _ask_for_threads() -> None:
    """Have the pool made, and leave the number of threads as it is."""
    torch.set_num_threads(torch.get_num_threads())


os.register_at_fork(after_in_child=_ask_for_threads)
