"""`evolver compare`: the published comparisons of generators, each a figure and a table.

codes     inversion, alignment, linearity: what a generator's codes reach, and say
drives    maximisation: how far units are driven
images    sets of images, and what evolutions ended with
shared    options, progress, and the files that are written
"""

from __future__ import annotations

import typer

from evolver.cli.compare import codes, drives, images

app = typer.Typer(
    no_args_is_help=True,
    help="The published comparisons of generators: inversion, maximisation, and others.",
)
app.command("invert")(codes.compare_inversions)
app.command("maximise")(drives.compare_maximisation)
app.command("align")(codes.compare_alignment)
app.command("linearity")(codes.compare_linearity)
app.command("sets")(images.compare_image_sets)
app.command("statistics")(images.compare_statistics)
