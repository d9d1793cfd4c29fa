"""A simulated session that is going to be killed, for a process of its own."""

from pathlib import Path

import torch

from evolver import config
from evolver.journal.history import find_history
from evolver.live import Console, resume_simulated, run_simulated
from evolver.live.children import fold_in_child
from tests.interpreters import begin_by_fork


def go_on(file: Path, folder: Path, progress) -> None:
    """Run the session of a file, or go on with the one that was begun in a folder.

    `progress` is sent something whenever there is news, and closed before the folding.
    """
    torch.set_num_threads(1)
    begin_by_fork()
    console = Console(
        on_wait=lambda text: progress.close() if text.startswith("folding") else None,
        on_progress=lambda _: progress.send(1),
    )
    found = [(one, find_history(one / "journal")) for one in folder.glob("*")]
    begun = [(one, history) for one, history in found if history is not None]
    if begun and begun[0][1].ended:
        progress.close()
        fold_in_child(begun[0][0] / "journal", begun[0][0] / "session.h5")
    elif begun:
        resume_simulated(begun[0][0], console)
    else:
        text = file.read_text(encoding="utf-8")
        run_simulated(config.parse_session_file(text), text, console)
