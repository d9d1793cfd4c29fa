"""What the tests need of the system, brought there: `python -m tests.system`.

A virtual screen (Xvfb) for the stimulus display and a browser (Chromium) for the live page are
no Python packages. Where they are missing, apt-get installs them, if there is one and this is
root; elsewhere this says what to install, and the tests that need it are skipped for the reason
in `tests/skips.py`. It is run once, before pytest and its workers.
"""

import os
import shutil
import subprocess
import sys

# A program, by the names it may have, and the package of Debian that brings it.
NEEDED = {("Xvfb",): "xvfb", ("chromium", "chromium-browser"): "chromium"}
# Seconds for a step; a mirror that hangs must not hold the tests up for ever.
LIMIT_S = 600
APT = (
    *("apt-get", "--quiet=2", "-o", "DPkg::Lock::Timeout=300"),
    *("-o", "Acquire::Retries=2", "-o", "Acquire::http::Timeout=30"),
)


def say(text: str) -> None:
    """Write a line."""
    sys.stdout.write(f"system: {text}\n")
    sys.stdout.flush()


def missing() -> list[str]:
    """Return the packages of which no program is found."""
    return [
        package
        for programs, package in NEEDED.items()
        if not any(shutil.which(program) for program in programs)
    ]


def apt(*arguments: str) -> str:
    """Run apt-get; return why it did not do it, or nothing."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            [*APT, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        return f"apt-get {arguments[0]} took more than {LIMIT_S} s"
    last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
    return "" if done.returncode == 0 else (last or [f"status {done.returncode}"])[0]


def main() -> int:
    """Install what is missing, where that can be done; 0 all the same where it cannot."""
    packages = missing()
    if not packages:
        return 0
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        say(f"not found: {', '.join(packages)}. Install them, or their tests are skipped")
        return 0
    say(f"installing {', '.join(packages)} …")
    install = ("install", "--yes", "--no-install-recommends", *packages)
    # The list of packages may be missing, or older than the packages themselves.
    if apt(*install):
        refused = apt("update") or apt(*install)
        if refused:
            say(f"NOT DONE, their tests are skipped: {refused}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
