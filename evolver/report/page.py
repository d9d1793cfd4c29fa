"""The report: one HTML page that holds everything it shows, and its figures as PNG beside it.

Knows the recording's reader, the figures and the template. Knows nothing of generators: who
calls hands in what renders mean codes. The page loads nothing and runs no script.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from evolver import __version__
from evolver.analysis.block_pairs import MIN_BLOCKS
from evolver.analysis.success_tests import ALPHA
from evolver.colours import PAGE_DARK, PAGE_LIGHT, css_variables, thread_colour
from evolver.config.search_words import GUIDED
from evolver.report import figures, pictures, shown_sets, sphere_figure, tables, words
from evolver.report.evolution import LOST, NO_VERDICT, read_evolution
from evolver.report.style import banner, save

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from evolver.analysis.success_tests import Success, SuccessRule
    from evolver.recording import Recording
    from evolver.report.evolution import Evolution, Render, ThreadEvolution
    from evolver.report.shown_sets import ShownSet
    from evolver.report.sphere_figure import SphereMap


@dataclass(frozen=True, slots=True)
class _PageFigure:
    """One figure on the page."""

    title: str
    caption: str
    alt: str
    base64: str
    width: int
    height: int


def write_report(
    recording: Recording,
    out_folder: Path,
    *,
    render: Render | None = None,
    rule: SuccessRule = "shuffle",
    alpha: float = ALPHA,
) -> Path:
    """Write ``report.html`` and the figures it holds into `out_folder`; return the page's path.

    Parameters
    ----------
    recording : an open recording; complete or not
    out_folder : made where it is missing; files of the same names are replaced
    render : turns the mean codes of a thread into images. Without one, or where it raises
        `EvolverError`, the page says so and shows the best images only
    rule, alpha : what a success is judged by, as `evolver.analysis.success_tests.success`
        takes them

    Raises
    ------
    RecordingError
        Where the file's tables contradict each other.
    OSError
        Where `out_folder` cannot be written.
    """
    evolution = read_evolution(recording, render=render, rule=rule, alpha=alpha)
    sets = shown_sets.read_sets(recording)
    spheres = sphere_figure.read_spheres(recording)
    out_folder.mkdir(parents=True, exist_ok=True)
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            title=recording.name,
            head=f"{recording.name}, a replay" if recording.is_replay else recording.name,
            kicker="Evolution report"
            if recording.threads.evolving
            else "Report of stimulus sets",
            byline=_byline(recording),
            banners=_banners(recording, evolution),
            lead=_lead(recording, evolution, sets),
            outcomes=[
                (thread.name, thread_colour(k), _outcome(evolution, thread))
                for k, thread in enumerate(evolution.threads)
            ],
            tiles=_tiles(recording),
            figures=_figures(evolution, sets, spheres, out_folder),
            sections=tables.describe(recording),
            config=recording.config,
            session_id=recording.session_id,
            version=__version__,
            light=css_variables(PAGE_LIGHT),
            dark=css_variables(PAGE_DARK),
        )
    )
    path = out_folder / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("evolver.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )


def _byline(recording: Recording) -> str:
    mode = tables.mode(recording)
    return f"{tables.when(recording.created)}, {mode}, seed {recording.seed}"


def _banners(recording: Recording, evolution: Evolution) -> list[tuple[str, str]]:
    """Return what must be known before anything else is read: heads and texts."""
    banners: list[tuple[str, str]] = []
    if recording.is_replay:
        banners.append(("No animal.", tables.replay_text(recording)))
    if not recording.complete:
        reason = recording.end_reason or "its journal ends without an end record"
        text = (
            f"This session was interrupted: {reason}. Everything acknowledged before that is "
            "in the recording, and in this report."
        )
        banners.append(("Not complete.", text))
    shown = [
        image for t in evolution.threads for image in (*t.best, *t.top, *t.best_references)
    ]
    lost = sum(image.label == LOST for image in shown)
    if lost:
        text = (
            f"{lost} of the {len(shown)} images drawn here could not be read and are grey; "
            "evolver verify FILE says what is damaged."
        )
        banners.append(("Damaged.", text))
    return banners


def _lead(recording: Recording, evolution: Evolution, sets: Sequence[ShownSet]) -> str:
    """Say in plain words what was done."""
    counts = tables.counts(recording)
    committed = int((recording.blocks["committed_ns"] > 0).sum())
    threads = words.joined([t.name for t in evolution.threads])
    took = words.duration(tables.elapsed_s(recording))
    parts: list[str] = []
    if evolution.threads:
        parts.append(
            f"the {'thread' if len(evolution.threads) == 1 else 'threads'} {threads} evolved "
            f"images for {_watched(evolution)}"
        )
    if sets:
        names = words.joined([s.name for s in sets])
        was = "set {} of fixed images was" if len(sets) == 1 else "sets {} of fixed images were"
        parts.append(f"the {was.format(names)} shown")
    shown = (recording.presentations["is_reference"]).any()
    there_were = "With references, there were" if shown else "There were"
    return (
        f"In {words.count(committed, 'block')} and {took}, {', and '.join(parts)}. "
        f"{there_were} {words.count(len(recording.images), 'image')} in "
        f"{words.count(sum(counts.values()), 'presentation')}, of which {counts['ok']:,} were "
        f"valid, {counts['aborted']:,} aborted and {counts['missing']:,} without a result."
    )


def _watched(evolution: Evolution) -> str:
    """Say for what images were evolved: units, and what is made of them beside a rate."""
    return words.joined(
        sorted({
            t.unit_label if t.fitness == "rate" else f"{t.unit_label} ({t.fitness})"
            for t in evolution.threads
        })
    )


def _outcome(evolution: Evolution, thread: ThreadEvolution) -> str:
    """Say what came of one thread, after its name."""
    last = thread.last
    if last is None:
        return "has no scored image."
    scores = thread.scores
    first = int(scores.filled[0])
    a, b = (words.with_sem(float(scores.mean[g]), float(scores.sem[g])) for g in (first, last))
    if first == last:
        text = f"has one scored generation, with a mean of {a} {thread.score_unit}"
    else:
        verb = "rose" if scores.mean[last] > scores.mean[first] else "did not rise, but went"
        text = f"{verb} from {a} to {b} {thread.score_unit}"
    if evolution.inexact:
        return (
            f"{text}, in a replay: no verdict, as {NO_VERDICT}, of which few are repeated many "
            "times; so there are no errors either."
        )
    if thread.gain is not None:
        text += f", {words.number(thread.gain)} times the best reference"
    if not thread.verdict.defined:
        return (
            f"{text}: no verdict, which takes {MIN_BLOCKS} scored generations and scores "
            "that differ."
        )
    return f"{text}: {_verdict(thread.verdict)}."


def _verdict(verdict: Success) -> str:
    """Say whether there is a success, from which test, and below which p it would be."""
    text = "a success" if verdict.success else "no success"
    test = f"t({verdict.dof}) = {words.number(verdict.t)}, {words.p_value(verdict.p)}"
    needed = f"a success is t > 0 and p < {verdict.alpha:g}"
    late = words.span(verdict.first_late, verdict.first_late + 1)
    pairs = f"generations {late} against 0\N{EN DASH}1"
    if verdict.rule != "shuffle":
        return f"{text} by the published t-test of {pairs}, {test} ({needed})"
    return (
        f"{text} by {pairs}, {test} among sessions with its images dealt anew to generations "
        f"({needed})"
    )


def _tiles(recording: Recording) -> list[tuple[str, str]]:
    counts = tables.counts(recording)
    committed = int((recording.blocks["committed_ns"] > 0).sum())
    return [
        (f"{committed:,}", "blocks"),
        (f"{len(recording.images):,}", "images"),
        (f"{counts['ok']:,}", "valid presentations"),
        (f"{counts['aborted'] + counts['missing']:,}", "aborted or missing"),
        (words.duration(tables.elapsed_s(recording)), "from first block to last answer"),
    ]


def _figures(
    evolution: Evolution,
    sets: tuple[ShownSet, ...],
    spheres: tuple[SphereMap, ...],
    out_folder: Path,
) -> list[_PageFigure]:
    """Draw every figure that has something to show, write it, and read it back for the page."""
    drawn: list[tuple[str, str, str, Figure]] = []
    if evolution.threads:
        drawn += [
            (
                "summary",
                "At a glance",
                "Scores, final images and responses on one slide; each is explained below.",
                pictures.summary(evolution, subtitle=_subtitle(evolution)),
            ),
            ("scores", "Scores", _scores_caption(evolution), figures.scores(evolution)),
        ]
    if any(shown.strongest for shown in sets):
        images_of = pictures.set_images(sets)
        drawn.append(("sets", "Images of the sets", shown_sets.caption(sets), images_of))
    if spheres:
        caption = sphere_figure.spheres_caption(spheres)
        drawn.append((
            "spheres",
            "Around an evolved image",
            caption,
            sphere_figure.draw_spheres(spheres),
        ))
    if any(len(t.film) for t in evolution.threads):
        drawn += [
            (
                "film",
                "Images over generations",
                _film_caption(evolution),
                pictures.film(evolution),
            ),
            (
                "finals",
                "Final images and best references",
                _finals_caption(evolution),
                pictures.finals(evolution),
            ),
        ]
    if figures.has_psth(evolution):
        drawn.append((
            "psth",
            "Responses in time",
            _psth_caption(evolution),
            figures.psth(evolution),
        ))
    if len(evolution.blocks):
        drawn.append(("budget", "Time budget", _BUDGET_CAPTION, figures.budget(evolution)))
    images: list[_PageFigure] = []
    for name, title, caption, figure in drawn:
        if evolution.inexact:  # there are no errors
            caption = _ERRORS.sub("", caption)
        if evolution.replay:
            banner(figure, evolution.replay)
        path = save(figure, out_folder / f"{name}.png")
        width, height = (round(inch * figure.dpi) for inch in figure.get_size_inches())
        data = base64.b64encode(path.read_bytes()).decode("ascii")
        images.append(_PageFigure(title, caption, f"{title}: {caption}", data, width, height))
    return images


def _subtitle(evolution: Evolution) -> str:
    gains = [
        f"{t.name} {words.number(t.gain)}\N{MULTIPLICATION SIGN}"
        for t in evolution.threads
        if t.gain is not None and not evolution.inexact
    ]
    watched = _watched(evolution)
    if not gains:
        return watched
    return f"{watched}: last generation's mean, {words.joined(gains)} the best reference"


_ERRORS = re.compile(r" \(± sem[^)]*\)| ± sem")
_BUDGET_CAPTION = (
    "Where each block's time went. Left, the rig's: while it shows one block, the engine makes "
    "the next, and red is time in which it was idle; a pause, time without a rig, and time "
    "in which the engine stood still are marked where there were any. Right, what the engine "
    "did meanwhile. The journal is written beside the rest: only what the loop had to wait for "
    "it counts."
)


def _scores_caption(evolution: Evolution) -> str:
    text = (
        "Mean score of each generation's images; the band is the standard error over images. "
    )
    if evolution.inexact:
        text = f"Mean score of each generation's images; without errors, as {NO_VERDICT}. "
    if all(t.fitness == "rate" for t in evolution.threads):
        text += "The score is the response in the fitness's window, weighted over its units"
        if any(t.baseline_ms is not None for t in evolution.threads):
            text += ", less the baseline"
    else:
        kinds = [f"{t.fitness} (in {t.score_unit}) for {t.name}" for t in evolution.threads]
        text += f"The score is: {words.joined(kinds)}"
        if len(evolution.score_units) > 1:
            text += ", each unit on axes of its own"
    text += "."
    guided = [t.name for t in evolution.threads if t.optimizer == GUIDED]
    if guided:
        text += (
            f" A generation's mean of {words.joined(guided)} is of all images shown in it: in "
            "the guided arm's turns also of the arm's candidates and of its base."
        )
    if not any(t.best_references for t in evolution.threads):
        return f"{text} No reference image was scored."
    if evolution.one_fitness:
        return (
            f"{text} Grey: the same reference images in every block, mean ± sem over them; "
            "dashed, the reference with the highest mean over blocks."
        )
    return (
        f"{text} The threads have fitnesses of their own; dotted, the reference images by "
        "each thread's; dashed, the reference with the highest mean over blocks."
    )


def _film_caption(evolution: Evolution) -> str:
    text = (
        "For up to 12 generations, evenly spaced and always with the last, the image with the "
        f"highest score, its score in {_units(evolution)} below it and as the colour of its "
        "frame. The best of many noisy scores is flattered by the noise."
    )
    if any(t.means for t in evolution.threads):
        text += (
            " The mean code's image is not: it is rendered from the mean of all the "
            "generation's codes, and was itself not shown."
        )
    return text + "".join(
        f" No mean-code images of {t.name}: {t.no_means}."
        for t in evolution.threads
        if t.no_means
    )


def _units(evolution: Evolution) -> str:
    """Say what scores are counted in, of which threads where it is not the same."""
    units = evolution.score_units
    if len(units) < 2:
        return next(iter(units), "spikes/s")
    return words.joined([
        f"{unit} ({words.joined([evolution.threads[k].name for k in threads])})"
        for unit, threads in units.items()
    ])


def _finals_caption(evolution: Evolution) -> str:
    text = (
        "The images with the highest scores of each thread's last scored generation, with "
        f"their scores in {_units(evolution)} (± sem over showings, where an image was shown "
        "repeatedly)."
    )
    if any(t.best_references for t in evolution.threads):
        text += (
            " Below, the reference images with the highest scores, mean ± sem over blocks. "
            "An evolved image's score was picked as the largest of its generation; the mean "
            "of all its images, at the left, is what compares fairly with a reference."
        )
    return text


def _psth_caption(evolution: Evolution) -> str:
    baseline = any(t.baseline_ms is not None for t in evolution.threads)
    paler = ", paler its baseline" if baseline else ""
    width = float(np.diff(evolution.edges_ms).mean())
    return (
        f"Spikes/s in bins of {width:g} ms after image onset, mean over each generation's "
        "valid presentations, weighted over units as the fitness does. Above, every "
        "generation, not smoothed, one colour scale for all threads; the bar is the time the "
        f"image was on. Below, averages over up to {figures.LINES} runs of generations from "
        f"early (pale) to late, smoothed by a Gaussian of {figures.SMOOTH_MS:g} ms standard "
        f"deviation; dashed, all references; shaded, the window that is scored{paler}."
    )
