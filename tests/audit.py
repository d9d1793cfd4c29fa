"""Whether what is installed has known vulnerabilities: `python -m tests.audit`.

Asks the public advisories by pip-audit. Where they cannot be reached, it says so and lets the
tests go on: an outage elsewhere is no fault of this code, and the next run asks again.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path


def say(text: str) -> None:
    """Write a line."""
    sys.stdout.write(f"audit: {text}\n")


def main() -> int:
    """Return 1 where something is known, and say which version mends it."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "audit.json"
        command = [sys.executable, "-m", "pip_audit", "--skip-editable", "--timeout", "10"]
        command += ["--progress-spinner", "off", "--format", "json", "--output", str(out)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if not out.is_file():
            last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            say(f"NOT DONE, the advisories cannot be reached: {last}")
            return 0
        packages = json.loads(out.read_text(encoding="utf-8"))["dependencies"]
    known = [(p, v) for p in packages for v in p.get("vulns", ())]
    for package, flaw in known:
        mended = ", ".join(flaw["fix_versions"]) or "no version yet"
        say(f"{package['name']} {package['version']}: {flaw['id']}, mended in {mended}")
    say(f"{len(packages)} packages, {len(known)} known vulnerabilities")
    return 1 if known else 0


if __name__ == "__main__":
    sys.exit(main())
