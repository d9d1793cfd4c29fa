"""`evolver keys`: who may connect to an engine that other machines can reach."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from evolver.cli.terminal import console

app = typer.Typer(
    help="Keys of rigs that may connect from other machines.", no_args_is_help=True
)

Folder = Annotated[
    Path, typer.Option(metavar="FOLDER", help="the engine's folder of keys; rig.keys names it")
]
_DEFAULT = Path("keys")


@app.command("new")
def new_key(
    rig: Annotated[str, typer.Argument(metavar="RIG", help="name of the rig")],
    folder: Folder = _DEFAULT,
    out: Annotated[
        Path | None, typer.Option(help="file for the rig; by default RIG.key here")
    ] = None,
) -> None:
    """Make a rig's key and let it in; the engine's own is made the first time."""
    from rig_bridge.auth import new_rig

    path = out or Path(f"{rig}.key")
    new_rig(folder, rig, path)
    console.print(
        f"{path} goes to the rig, by a way nobody else can read:  "
        f"evolver rig --key {path}\nthe engine's session file says  "
        f'[rig] keys = "{folder}"',
        markup=False,
    )


@app.command("list")
def list_keys(folder: Folder = _DEFAULT) -> None:
    """Name the rigs that are let in."""
    from rig_bridge.auth import EngineKeys

    keys = EngineKeys.load(folder)
    console.print(f"engine: {escape(keys.public)}")
    for public, name in sorted(keys.allowed().items(), key=lambda item: item[1]):
        console.print(f"{escape(name)}: {escape(public)}")


@app.command("revoke")
def revoke_rig(
    rig: Annotated[str, typer.Argument(metavar="RIG", help="name of the rig")],
    folder: Folder = _DEFAULT,
) -> None:
    """Let a rig in no longer, from its next connection on."""
    from rig_bridge.auth import revoke

    revoke(folder, rig)
    console.print(f"{escape(rig)} is let in no longer")
