"""`evolver compare`: the published comparisons of generators, each a figure and a table.

A command a file: `invert`, `maximise`, `align`, `linearity`, `sets`, `statistics`; `shared` has
their options, what keeps what is done, progress, and the files that are written.
"""

from __future__ import annotations

import typer

from evolver.cli.compare import align, invert, linearity, maximise, sets, statistics

app = typer.Typer(
    no_args_is_help=True,
    help="The published comparisons of generators: inversion, maximisation, and others.",
)
app.command("invert")(invert.compare_inversions)
app.command("maximise")(maximise.compare_maximisation)
app.command("align")(align.compare_alignment)
app.command("linearity")(linearity.compare_linearity)
app.command("sets")(sets.compare_image_sets)
app.command("statistics")(statistics.compare_statistics)
