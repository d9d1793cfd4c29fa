"""Calls in processes that may die: a pool that is made anew, and what was lost is told.

They are forked of a process that has imported what sessions import, and does nothing else: that
takes seconds once, in place of once a process, and the memory of it is shared.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from threading import Thread
from typing import TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

_IMPORTED = "evolver.campaign.imported"


def in_processes(
    items: Sequence[ItemT],
    call: Callable[[ItemT], Callable[[], ResultT]],
    *,
    n: int,
    ahead: int,
    fresh: bool = False,
) -> Iterator[tuple[ItemT, ResultT | None]]:
    """Yield items with their results, as they end; None: the process died with it, or before.

    Parameters
    ----------
    items : what there is to do
    call : makes, of an item, what a process is to call; asked when its turn is near
    n : processes
    ahead : items handed over and not ended, at most
    fresh : whether each item has a process that did nothing before, and imports for itself
    """
    context = get_context("spawn" if fresh else "forkserver")
    context.set_forkserver_preload([_IMPORTED])  # of no effect where the process is there
    position = 0
    while position < len(items):
        pool = ProcessPoolExecutor(
            n,
            mp_context=context,
            initializer=_end_with_parent,
            max_tasks_per_child=1 if fresh else None,
        )
        pending: dict[Future[ResultT], ItemT] = {}
        broken = False
        try:
            while pending or (position < len(items) and not broken):
                while not broken and position < len(items) and len(pending) < ahead:
                    try:
                        future = pool.submit(call(items[position]))
                    except BrokenProcessPool:
                        broken = True  # this item was not begun
                        break
                    pending[future] = items[position]
                    position += 1
                if not pending:
                    break
                future = next(as_completed(pending))
                item = pending.pop(future)
                result: ResultT | None = None
                try:
                    result = future.result()
                except BrokenProcessPool:
                    broken = True
                yield item, result
        finally:
            pool.shutdown(wait=not broken, cancel_futures=True)


def _end_with_parent() -> None:
    """End this process when the one that began it has ended, however that came."""
    parent = parent_process()
    if parent is not None:
        Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()


def _end_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
