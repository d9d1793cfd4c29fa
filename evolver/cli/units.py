"""`evolver units`: what a network's units are called, and how much of an image they see."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from evolver.cli.terminal import console
from evolver.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scorers.networks.encoder import EncoderNetwork
    from scorers.networks.extent import Extent
    from scorers.networks.layers import Layer
    from scorers.networks.network import Network


NetworksFile = Annotated[
    Path | None,
    typer.Option(
        "--session", metavar="FILE.toml", help="session file that says what its networks are"
    ),
]


def list_units(
    network: Annotated[
        str,
        typer.Argument(
            metavar="NETWORK",
            help="mini, caffenet, known, hf:ORG/NAME, hf:FOLDER, torchvision:NAME, timm:NAME, "
            "encoder:FILE, or a name in the session file's networks",
        ),
    ],
    session_file: NetworksFile = None,
    weights: Annotated[
        str | None, typer.Option(metavar="FILE", help="weight file, instead of its own")
    ] = None,
    pattern: Annotated[
        str,
        typer.Option("--layers", metavar="TEXT", help="only layers with this in their names"),
    ] = "",
    extent: Annotated[
        bool, typer.Option(help="how much of its input a unit sees; takes a few dozen passes")
    ] = True,
) -> None:
    """List a network's layers: channels, positions, and what a unit sees of its input.

    A unit's address is NETWORK:LAYER:CHANNEL[:ROW:COLUMN]. CHANNEL may be a range (0-63), a
    set (1,4,9-12), all, or random-64@7, so many of the layer's units drawn by a seed. A
    position may be all, or cls, a class token. Without one: the class token, or else the
    centre. Of a fitted encoder, encoder:FILE:UNIT: lists its units, what they are called where
    they were recorded, the layer that predicts each, and how well.
    """
    from scorers import networks
    from scorers.networks.encoder import EncoderNetwork
    from scorers.networks.extent import extents

    name, colon, _ = network.partition(":")
    if colon and name not in networks.LIBRARIES:
        raise ConfigError(
            f"a network must be named alone, as {name}; got {network!r}. 'evolver units "
            f"{name}' lists its layers"
        )
    options = dict(networks_in(session_file).get(network, {}))
    if weights is not None:
        options["weights"] = weights
    with console.status("loading the network …"):
        loaded = networks.load(network, **options)
    if isinstance(loaded, EncoderNetwork):
        _list_encoded(loaded, pattern)
        return
    layers = [layer for layer in loaded.layers.values() if pattern in layer.name]
    if not layers:
        raise ConfigError(f"{network} must have a layer with {pattern!r} in its name; none has")
    seen: Mapping[str, Extent] = {}
    if extent and loaded.preprocessing.size[0] == loaded.preprocessing.size[1]:
        with console.status("looking at what units see …"):
            seen = extents(loaded, [layer.name for layer in layers])
    console.print(_head(loaded), highlight=False)
    console.print(_table(layers, seen))
    example = layers[-1]
    name = example.unit_name(0, example.usual_position)
    console.print(f"an address: {escape(f'{network}:{name}')}", highlight=False)


def networks_in(session_file: Path | None) -> dict[str, dict[str, Any]]:
    """Return what a session file says of networks, by their names; nothing without a file."""
    if session_file is None:
        return {}
    from evolver import config

    loaded, _ = config.load_session_file(session_file)
    return loaded.simulation.networks


def _list_encoded(network: EncoderNetwork, pattern: str) -> None:
    """Print the units of a fitted encoder."""
    encoder = network.encoder
    facts = encoder.facts
    layer_of = {int(unit): name for name, part in encoder.layers.items() for unit in part.units}
    units = [unit for unit in sorted(layer_of) if pattern in layer_of[unit]]
    if not units:
        raise ConfigError(
            f"{network.name} must have a unit of a layer with {pattern!r} in its name; it has "
            f"those of {', '.join(facts.layers)}"
        )
    console.print(
        f"[bold]{escape(network.name)}[/]: {len(facts.labels)} units, {escape(facts.quantity)} "
        f"by {escape(facts.network)}, sha256 {encoder.sha256[:12]}…",
        highlight=False,
    )
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("unit", justify="right", no_wrap=True)
    for head in ("called", "area", "layer"):
        table.add_column(head, overflow="fold")
    table.add_column("r", justify="right", no_wrap=True)
    for unit in units:
        r = float(encoder.r[unit])
        called, area = escape(facts.labels[unit]), escape(facts.areas[unit])
        shown = f"{r:.2f}" if r == r else "-"
        table.add_row(str(unit), called, area, escape(layer_of[unit]), shown)
    console.print(table)
    console.print(f"an address: {escape(f'{network.name}:{units[0]}')}", highlight=False)


def _head(network: Network) -> str:
    height, width = network.preprocessing.size
    order = network.preprocessing.order
    return (
        f"[bold]{escape(network.name)}[/]: {len(network.layers)} layers, input {height} x "
        f"{width} {order}, sha256 {network.sha256[:12]}…"
    )


def _table(layers: Sequence[Layer], seen: Mapping[str, Extent]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("layer", overflow="fold")
    for head in ("channels", "positions", "sees", "stride"):
        table.add_column(head, justify="right", no_wrap=True)
    for layer in layers:
        rows, columns = layer.grid
        positions = "-" if layer.kind == "vector" else f"{rows} x {columns}"
        if layer.tokens_before:
            positions += " + cls"
        extent = seen.get(layer.name)
        sees = stride = "-"
        if extent is not None:
            sees = "all" if extent.whole else f"{extent.size} px" if extent.size else "nothing"
            if extent.stride:
                stride = f"{extent.stride:.3g} px"
        table.add_row(escape(layer.name), str(layer.channels), positions, sees, stride)
    return table
