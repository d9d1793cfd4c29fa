"""What a session has done in processes of its own: checking its file, folding its journal.

Weights and HDF5 take memory, and may take the process with them; neither is for one that lives
for hours. Composition only.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from evolver.errors import ConfigError, EvolverError, RecordingError

_CANNOT_BE_BUILT = 3


def fold_in_child(journal: Path, recording: Path) -> None:
    """Fold a journal in a process of its own: what HDF5 does to it cannot reach this one.

    Raises
    ------
    RecordingError
        Folding failed; the journal is untouched.
    """
    command = [sys.executable, "-m", "evolver", "fold", str(journal), "--out", str(recording)]
    done = subprocess.run(
        [*command, "--overwrite"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise RecordingError(
            f"the journal must fold into {recording}; it did not: {said}\n"
            f"Nothing is lost: mend the cause and run  evolver fold {journal}"
        )


def check_in_child(session_file: Path) -> None:
    """Build what a session file names in a process of its own, which then gives all back.

    Weights take memory, on a GPU as well, that the caller has no use for.

    Raises
    ------
    ConfigError
        The file names something that does not exist here, or cannot be loaded.
    """
    command = [sys.executable, "-m", "evolver.live.children", str(session_file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == _CANNOT_BE_BUILT:
        raise ConfigError(done.stdout.strip())
    if done.returncode:
        raise ConfigError(
            f"{session_file} must name what can be loaded here; loading it failed with status "
            f"{done.returncode}:\n{done.stderr.strip()[-4000:]}"
        )


def _check(session_file: Path) -> int:
    """Build what a session file names; say on standard output why that cannot be."""
    from evolver.clock import SYSTEM_CLOCK
    from evolver.config.tables import load_session_file
    from evolver.live.run import Job

    try:
        config, text = load_session_file(session_file)
        Job(config, text, mode="live", clock=SYSTEM_CLOCK)
    except EvolverError as exc:
        sys.stdout.write(str(exc))
        return _CANNOT_BE_BUILT
    return 0


if __name__ == "__main__":
    sys.exit(_check(Path(sys.argv[1])))
