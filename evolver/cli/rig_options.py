"""Options that every command which is a rig has, said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

ENGINE = "tcp://127.0.0.1:5571"
"""Where an engine of this machine listens, unless its session file says otherwise."""

Endpoint: TypeAlias = Annotated[str, typer.Option(help="the engine's address")]
KeyFile: TypeAlias = Annotated[
    Path | None, typer.Option(help="key file, for an engine that has keys")
]
