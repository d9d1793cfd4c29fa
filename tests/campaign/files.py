"""Files of a small campaign."""

from __future__ import annotations

from pathlib import Path

SESSION = """
[session]
name = "base"
generations = 2
[presentation]
on_ms = 100
off_ms = 50
schedule = "together"
[[threads]]
name = "texture"
generator = "mini-texture"
popsize = 4
[references]
count = 2
[simulation]
units = ["mini:conv3:1"]
"""

CAMPAIGN = """
[campaign]
name = "small"
session = "session.toml"

[[vary]]
key = "session.seed"
range = [1, {last}]
"""


def write(folder: Path, campaign: str, session: str = SESSION) -> Path:
    """Write both files; return the campaign's."""
    (folder / "session.toml").write_text(session, encoding="utf-8")
    path = folder / "campaign.toml"
    path.write_text(campaign, encoding="utf-8")
    return path
