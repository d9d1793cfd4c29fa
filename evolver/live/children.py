"""What a session has done in processes of its own: checking its file, folding its journal.

Weights and HDF5 take memory, and may take the process with them; neither is for one that lives
for hours. Each is a fresh interpreter with arguments and an exit status: nothing is pickled, no
process with threads is forked, the caller's own main module is not run again, and what a crash
printed is in the error. Composition only.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from evolver.errors import ConfigError, EvolverError, RecordingError
from evolver.garbage import collect_seldom

_CANNOT_BE_BUILT = 3
_KEPT_OUTPUT = 4000  # characters
_MEANWHILE_EVERY_S = 0.2


@dataclass(frozen=True, slots=True)
class ChildResult:
    """How a child process ended."""

    status: int  # minus the signal's number, where one ended it
    output: str
    errors: str

    @property
    def failure(self) -> str:
        """How it failed, and the end of what it printed."""
        how = f"exit status {self.status}"
        if self.status < 0:
            how = f"ended by {signal.Signals(-self.status).name}"
            if self.status == -signal.SIGKILL:
                how += ", as a system does that is out of memory"
        text = (self.errors or self.output).strip()[-_KEPT_OUTPUT:]
        return f"{how}: {text}" if text else how


def run_python(
    arguments: Sequence[str], meanwhile: Callable[[], None] | None = None
) -> ChildResult:
    """Run this Python with `arguments`, to its end.

    Parameters
    ----------
    arguments : of the command line
    meanwhile : called a few times a second while it runs; what it raises ends the process
    """
    with subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        try:
            while True:
                try:
                    within_s = None if meanwhile is None else _MEANWHILE_EVERY_S
                    output, errors = process.communicate(timeout=within_s)
                except subprocess.TimeoutExpired:
                    if meanwhile is not None:
                        meanwhile()
                else:
                    return ChildResult(process.returncode, output, errors)
        except BaseException:  # an interrupt as well: it must not outlive who waits for it
            process.kill()
            raise


def fold_in_child(
    journal: Path, recording: Path, meanwhile: Callable[[], None] | None = None
) -> None:
    """Fold a journal in a process of its own: what HDF5 does to it cannot reach this one.

    Parameters
    ----------
    journal : its folder
    recording : the file to make
    meanwhile : as `run_python` takes it

    Raises
    ------
    RecordingError
        Folding failed; the journal is untouched.
    """
    fold = ["-m", "evolver", "fold", str(journal), "--out", str(recording), "--overwrite"]
    child = run_python(fold, meanwhile)
    if child.status:
        raise RecordingError(
            f"the journal must fold into {recording}; it did not, {child.failure}\n"
            f"Nothing is lost: mend the cause and run  evolver fold {journal}"
        )


def check_in_child(session_file: Path, *, download: bool = False) -> None:
    """Look at all that a live session of this file needs, in a process that gives all back.

    Weights take memory, on a GPU as well, that the caller has no use for.

    Parameters
    ----------
    session_file : its path
    download : whether weights that are not on this machine may be fetched

    Raises
    ------
    ConfigError
        Something is wrong; all of it is said, see `evolver.live.at_start`.
    """
    options = ["--download"] if download else []
    child = run_python(["-m", "evolver.live.children", str(session_file), *options])
    if child.status == _CANNOT_BE_BUILT:
        raise ConfigError(child.output.strip())
    if child.status:
        raise ConfigError(
            f"{session_file} must name what can be loaded here; loading it failed, "
            f"{child.failure}"
        )


def _check(session_file: Path, *, download: bool) -> int:
    """Look at a session file; say on standard output what is wrong."""
    from evolver.live.at_start import check
    from rig_bridge.errors import RigBridgeError

    try:
        check(session_file, download=download)
    except (EvolverError, RigBridgeError) as exc:
        sys.stdout.write(str(exc))
        return _CANNOT_BE_BUILT
    return 0


if __name__ == "__main__":
    collect_seldom()
    sys.exit(_check(Path(sys.argv[1]), download="--download" in sys.argv[2:]))
