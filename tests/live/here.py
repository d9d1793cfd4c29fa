"""A live session, loop and recorder in one process: ``python -m tests.live.here SESSION.toml``.

What `evolver demo` does, for any session file and without its rig.
"""

import sys
from pathlib import Path

from evolver import config
from evolver.cli.terminal import error_console, print_ended, terminal_console
from evolver.errors import EvolverError
from evolver.live import run_live
from rig_bridge.errors import RigBridgeError


def main(file: Path) -> int:
    """Run the session; return the exit status."""
    settings, text = config.load_session_file(file)
    try:
        with terminal_console(settings, f"{settings.session.name}: live session") as console:
            ended = run_live(settings, text, console)
    except (EvolverError, RigBridgeError) as exc:
        error_console.print(f"error: {exc}")
        return 2
    print_ended(ended, report_too=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
