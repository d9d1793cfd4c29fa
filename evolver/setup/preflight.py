"""What is checked before the first image is shown.

Knows the parts of a session and the machine they run on; says in words how they are, and leaves
it to others to go on or not. Each check is a thing that labs have lost sessions to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from math import sqrt
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from msgspec import Struct

from evolver.config.search_words import search_text
from evolver.config.set_table import SetTable
from evolver.config.tables import Config, ThreadTable
from evolver.errors import DataError
from evolver.generators.scale import code_scale
from evolver.journal.records import AroundInfo
from evolver.journal.storage import disk_free_bytes
from evolver.optimizers.by_name import EXPERIMENTAL
from evolver.optimizers.fixed import FixedCodes
from evolver.optimizers.gradient import go_on
from evolver.regular_files import expanded
from evolver.session.fitness import Fitness
from evolver.setup.build import Parts
from evolver.setup.lengths import with_lengths
from evolver.setup.references import References
from evolver.setup.stimulus_sets import ImageFiles, StimulusSet
from evolver.types import Codes, Generator, Images, Optimizer
from rig_bridge.auth import EngineKeys
from rig_bridge.errors import KeyFileError
from rig_bridge.messages import Hello, ScreenInfo

_MINUTES_LEFT = 30.0
_SPIKE_BYTES = 8  # a time and a unit
_RECORD_BYTES = 400  # of one result, beside its spikes
_SPIKES_A_SECOND = 30.0  # of one unit, generously
_OLDEST_YEAR = 2025
_DARK, _BRIGHT, _MOSTLY = 2, 253, 0.5  # grey levels that are black and white; share of pixels
_LONG_GENERATION, _LONG_SESSION = 10.0, 480.0  # minutes
# Times the usual norm of a code. At 3.0, mini-texture evolves as well as at 1 (clean scores of
# 6.8 and 6.7 after 40 generations); at 3.6, mini-object stays at a third of its usual score.
_LONG = 3.2
_FAR = 10  # times the usual step, or a part of it: nobody means it
_ROUNDING = 1e-9  # of degrees that are written in decimals


class Check(Struct, frozen=True, forbid_unknown_fields=True):
    """One pre-flight check."""

    name: str
    verdict: Literal["good", "warning", "bad"]
    text: str


def before_the_rig(
    parts: Parts, recordings: Path, *, time_ns: int, monotonic: Callable[[], float]
) -> tuple[Check, ...]:
    """Check what can be checked without a rig: weights, memory and speed, clock, screen.

    Parameters
    ----------
    parts : the session's
    recordings : the folder in which the session gets a folder of its own; need not exist yet
    time_ns : ns since the unix epoch
    monotonic : seconds
    """
    return (
        *_weights(parts),
        *_searches(parts),
        *_render(parts, monotonic),
        _clock(recordings, time_ns),
        _receptive_field(parts.config, time_ns),
        _references(parts.references, evolves=bool(parts.config.threads)),
        *_schedule(parts),
        *_keys(parts.config),
        _duration(parts),
    )


def with_the_rig(parts: Parts, hello: Hello, recordings: Path) -> tuple[Check, ...]:
    """Check what the rig said: the units that scores are made of, its screen, the disk's room.

    Parameters
    ----------
    parts, recordings : as `before_the_rig` takes them; the rig has every unit of the file
    hello : what the rig said
    """
    config = parts.config
    labels = [unit.label for unit in hello.units]
    checks = [
        Check(
            "rig", "good", f"{hello.name} ({hello.software}), {_counted(len(labels), 'unit')}"
        )
    ]
    for thread, table in enumerate(config.all_threads):
        fitness = Fitness.resolve(
            config.fitness_of(thread), labels, key="fitness", target=parts.targets[thread]
        )
        checks.append(Check("score", "good", f"{table.name}: {fitness.description()}"))
        for index, aim in _aims(fitness):
            unit = hello.units[index]
            text = (
                f"{table.name} {aim}: channel {unit.channel}, unit {unit.unit}"
                f"{', ' + unit.area if unit.area else ''}, {unit.label!r}"
            )
            checks.append(Check("unit", "good", text))
    return (
        *checks,
        _screen(config, hello),
        *_places(config, hello),
        *_shapes(config, parts.references, hello),
        disk(parts, len(hello.units), recordings),
    )


def _aims(fitness: Fitness) -> Iterator[tuple[int, str]]:
    """Say, of each unit that scores are made of, what higher scores do to its response."""
    for index, weight in zip(fitness.units.tolist(), fitness.weights.tolist(), strict=True):
        if fitness.kind == "target":
            to = "brings unit {} towards" if fitness.sign > 0 else "takes unit {} away from"
            yield index, f"{to.format(index)} its target"
        else:
            pull = fitness.sign * weight
            verb = "climbs" if pull > 0 else "drives down" if pull < 0 else "does not count"
            yield index, f"{verb} unit {index}"
    for index in fitness.others.tolist():
        yield index, f"{'keeps low' if fitness.sign > 0 else 'climbs'} unit {index}"


def _weights(parts: Parts) -> Iterator[Check]:
    for table, generator in zip(parts.config.all_threads, parts.generators, strict=True):
        text = f"{table.name}: {generator.name}, sha256 {generator.sha256[:12]}…"
        yield Check("weights", "good", text)


def _searches(parts: Parts) -> Iterator[Check]:
    """Say what each search begins with, and which lengths its generator gave it.

    Of one that goes on, how far it is: what it began with is on record.
    """
    if parts.restored is not None:
        for i, table in enumerate(parts.config.all_threads):
            done, of = parts.done[i], parts.lengths[i]
            name = "search" if i < len(parts.config.threads) else "set"
            text = f"{table.name}: {table.optimizer} goes on, {done} of {of} generations done"
            yield Check(name, "good", text)
        return
    yield from map(_set, parts.config.sets, parts.sets)
    for table, generator, options, axes in zip(
        parts.config.threads,
        parts.generators,
        parts.optimizer_options,
        parts.axes,
        strict=False,
    ):
        search = search_text(
            table.optimizer,
            options,
            chosen_for="" if table.names_optimizer else table.generator,
            given=table.optimizer_options,
            source=lambda key, of=table.generator: (
                "session.generations" if key == "generations" else of
            ),
        )
        text = f"{table.name}: {search}"
        if table.optimizer in EXPERIMENTAL:
            yield Check("search", "warning", f"{text}: {table.optimizer} is experimental")
        else:
            yield Check("search", "good", text)
        yield from _steps(table, generator, options)
        for along in axes:
            yield Check(
                "axes", "good", f"{table.name} searches along {along.text(generator.d)}"
            )


def _steps(
    table: ThreadTable, generator: Generator, options: Mapping[str, Any]
) -> Iterator[Check]:
    """Warn of first steps that are many times as long as usual, or as short: a wrong unit."""
    usual = with_lengths(table.optimizer, _without_sigma(options), generator)
    for part, chosen, own in _with_parts(options, usual):
        sigma, step = chosen.get("sigma"), own.get("sigma")
        if not isinstance(sigma, int | float) or not isinstance(step, float):
            continue  # a length of another kind, or refused
        if step / _FAR <= sigma <= step * _FAR:
            continue
        than = f"more than {_FAR} times" if sigma > step else f"less than 1/{_FAR} of"
        leads = "may lead to no pictures" if sigma > step else "may change nothing that is seen"
        yield Check(
            "step",
            "warning",
            f"{table.name}{part}: sigma = {sigma:g} is {than} the usual first step of "
            f"{generator.name}, {step:g}: steps {leads}",
        )


def _without_sigma(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options without the length of a step, a composite's parts' too."""
    left = {key: value for key, value in options.items() if key != "sigma"}
    parts = options.get("parts")
    if isinstance(parts, list):
        left["parts"] = [
            {**part, "options": _without_sigma(part.get("options", {}))}
            for part in cast("list[dict[str, Any]]", parts)
        ]
    return left


def _with_parts(
    options: Mapping[str, Any], usual: Mapping[str, Any]
) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """Yield options and the usual ones, and each part's, after what a part is called."""
    yield "", options, usual
    for i, (part, own) in enumerate(
        zip(options.get("parts", ()), usual.get("parts", ()), strict=False)
    ):
        yield f", parts[{i}]", part.get("options", {}), own["options"]


def _set(table: SetTable, made: StimulusSet) -> Check:
    plan = made.plan
    where = f", at {len(plan.places)} places and sizes" if plan.places else ""
    around = "" if made.info.around is None else f"; {_around(made.info.around)}"
    times = "once" if plan.repeats == 1 else f"{plan.repeats} times"
    text = (
        f"{table.name} ({table.role}): {_counted(plan.images, 'image')}{where}, each {times}: "
        f"{_counted(plan.showings, 'showing')} in {_counted(plan.blocks, 'block')}{around}"
    )
    return Check("set", "good", text)


def _counted(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _around(info: AroundInfo) -> str:
    """Say what a set's codes lie about, along what and how far."""
    code = "mean code" if info.code == "mean" else "best image's code"
    reach = max(info.step)
    far = f"{reach:.3g} latent units" if info.kind == "steps" else f"{reach:g}\N{DEGREE SIGN}"
    form = "a sphere" if info.kind == "sphere" else info.kind
    names = ", ".join(info.axes[:3]) + (", …" if len(info.axes) > 3 else "")
    return (
        f"{form} of \N{PLUS-MINUS SIGN}{far} about the {code} of {info.thread}, session "
        f"{info.session_id[:8]}, along {names}"
    )


def _render(parts: Parts, monotonic: Callable[[], float]) -> Iterator[Check]:
    """Render a whole generation, as the first block will: what memory lacks is missed now."""
    config = parts.config
    show = config.presentation
    hidden = config.references.count * (show.on_ms + show.off_ms) / 1000 * show.repeats
    for table, generator, optimizer in zip(
        config.all_threads, parts.generators, parts.optimizers, strict=True
    ):
        codes = _of_its_own(optimizer)
        try:
            seconds, images = _timed(generator, codes, monotonic)
            waits = show.schedule == "references" and not isinstance(optimizer, FixedCodes)
            late = waits and seconds > hidden
            if late:  # a network's first pass may be its slowest by far: the next one counts
                seconds, images = _timed(generator, codes, monotonic)
                late = seconds > hidden
        except (RuntimeError, MemoryError, DataError) as exc:  # torch's first, without memory
            reason = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
            yield Check(
                "render",
                "bad",
                f"{table.name}: {len(codes)} images cannot be rendered: {reason}",
            )
            continue
        text = f"{table.name}: {len(codes)} images in {seconds:.2f} s"
        if late:
            text += (
                f", longer than the {hidden:.1f} s in which the references are shown: the rig "
                "will wait. More references, or schedule = 'alternate', would hide it"
            )
        yield Check("render", "warning" if late else "good", text)
        # Of one that goes on these are not its codes, and a file's image is as it is.
        if parts.restored is None and not isinstance(generator, ImageFiles):
            yield _pictures(table, generator, codes, images)


def _of_its_own(optimizer: Optimizer) -> Codes:
    """Return a generation that the search draws itself: the first may be given to it.

    Its stream is left alone, and nothing has been scored: all scores are the same.
    """
    twin = go_on(optimizer, optimizer.state, rng=np.random.default_rng(0))
    first = twin.ask()
    if isinstance(twin, FixedCodes):
        return first
    twin.tell(first, np.zeros(len(first)))
    return np.resize(twin.ask(), (optimizer.popsize, optimizer.d))


def _timed(
    generator: Generator, codes: Codes, monotonic: Callable[[], float]
) -> tuple[float, Images]:
    began = monotonic()
    images = generator.render(codes)
    return monotonic() - began, images


def _pictures(
    table: ThreadTable | SetTable, generator: Generator, codes: Codes, images: Images
) -> Check:
    """Say whether a first step leads to pictures, or to what codes that are too long leave."""
    scale = code_scale(generator)
    share = float(((images <= _DARK) | (images >= _BRIGHT)).mean())
    text = f"{table.name}: {share:.0%} of pixels are black or white"
    remedy = "Look at them: shorter codes are nearer to those it begins with"
    if isinstance(table, ThreadTable):
        text += " after a first step"
        if table.optimizer_options.get("sigma", scale.step) != scale.step:
            remedy = f"Its usual first step is sigma = {scale.step:g}"
    length = 1.0
    if scale.norm is not None:
        length = float(np.linalg.norm(codes)) / sqrt(len(codes)) / scale.norm
        text += f", codes are {length:.1f} times as long as those {generator.name} begins with"
    if share <= _MOSTLY and length <= _LONG:
        return Check("images", "good", text)
    return Check("images", "warning", f"{text}: they may be no pictures. {remedy}")


def _clock(recordings: Path, time_ns: int) -> Check:
    now = datetime.fromtimestamp(time_ns / 1e9, tz=UTC)
    text = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    if now.year < _OLDEST_YEAR:
        return Check("clock", "bad", f"it is said to be {text}: set the clock")
    there = recordings.iterdir() if recordings.is_dir() else ()
    newest = max((path.stat().st_mtime for path in there), default=0.0)
    if newest > time_ns / 1e9 + 60:
        return Check(
            "clock",
            "warning",
            f"{text} is before the last recording in {recordings} was made",
        )
    return Check("clock", "good", text)


def _receptive_field(config: Config, time_ns: int) -> Check:
    show = config.presentation
    x, y = show.position_deg
    if config.sets and not config.threads and all(t.grid is not None for t in config.sets):
        names = ", ".join(table.name for table in config.sets)
        return Check("receptive field", "good", f"is mapped in this session, by {names}")
    text = f"image {show.size_deg:g}° wide, {x:+g}° right and {y:+g}° up of fixation"
    if show.mapped is None:
        return Check(
            "receptive field",
            "warning",
            f"{text}; presentation.mapped does not say when it was mapped",
        )
    today = datetime.fromtimestamp(time_ns / 1e9).astimezone().date()
    if show.mapped > today:
        return Check(
            "receptive field",
            "warning",
            f"{text}; mapped on {show.mapped}, which is still to come: today is {today}. "
            "Correct presentation.mapped, or the clock",
        )
    if show.mapped != today:
        return Check(
            "receptive field", "warning", f"{text}; mapped on {show.mapped}, today is {today}"
        )
    return Check("receptive field", "good", f"{text}; mapped today")


def _references(references: References, *, evolves: bool) -> Check:
    if not references.images and not evolves:
        return Check("references", "good", "none: drift of the recording will not be seen")
    if not references.images:
        return Check(
            "references",
            "warning",
            "none: drift of the recording cannot be told from evolution",
        )
    return Check("references", "good", _counted(len(references.images), "image"))


def _schedule(parts: Parts) -> Iterator[Check]:
    """Warn where the schedule leaves nothing to show while a generation is computed."""
    schedule, threads = parts.config.presentation.schedule, len(parts.config.threads)
    if parts.sets:
        return  # which are shown while the next generation is computed
    wait = "the rig waits while the next generation is computed"
    if schedule == "alternate" and threads == 1:
        text = f"presentation.schedule: 'alternate' needs two threads, there is one: {wait}"
        yield Check("schedule", "warning", f"{text}. 'references' shows those meanwhile")
    elif schedule == "references" and not parts.references.images:
        text = f"presentation.schedule: 'references' needs some, references.count is 0: {wait}"
        other = ". 'alternate' shows the other thread meanwhile" if threads > 1 else ""
        yield Check("schedule", "warning", f"{text}{other}")


def _keys(config: Config) -> Iterator[Check]:
    """Say which rigs may connect."""
    if config.rig.keys is None:
        return
    try:
        rigs = sorted(EngineKeys.load(expanded(config.rig.keys)).allowed().values())
    except KeyFileError as exc:
        yield Check("keys", "warning", str(exc))
        return
    if rigs:
        yield Check("keys", "good", f"{', '.join(rigs)} may connect")
    else:
        text = f"no rig is listed in {config.rig.keys}, so that none can connect"
        yield Check(
            "keys", "warning", f"{text}: 'evolver keys new NAME --folder {config.rig.keys}'"
        )


def _duration(parts: Parts) -> Check:
    """Say how long all will take; a generation that is too large for an animal's day is one."""
    config, n = parts.config, parts.presentations
    show, generations = config.presentation, parts.left
    minutes = n * (show.on_ms + show.off_ms) / 60_000
    block = "generation of every thread" if config.threads else "block of the sets"
    noun, are = "generation" if config.threads else "block", "is" if generations == 1 else "are"
    of_them = f"{_counted(generations, noun)} {are}"
    if parts.restored is not None:
        of_them = (
            f"the {generations} of {_counted(max(parts.lengths), noun)} that {are} left {are}"
        )
    references = ", with the references," if parts.references.images else ""
    text = (
        f"a {block}{references} is {_counted(n, 'presentation')}, "
        f"{_span(minutes)} of showing; {of_them} {_span(minutes * generations)}"
    )
    for table, optimizer in zip(config.threads, parts.optimizers, strict=False):
        if getattr(optimizer, "popsize_varies", False):
            text += f"; of {table.name}, {table.optimizer} adds images in some generations"
    popsizes = ", ".join(
        f"{table.name} {popsize}"
        for table, popsize in zip(config.all_threads, parts.popsizes, strict=True)
    )
    if minutes > _LONG_GENERATION:
        keys = "threads.popsize, sets.repeats, sets.count" if parts.sets else "threads.popsize"
        text += f". That is long: images a generation are {popsizes} ({keys})"
    elif minutes * generations > _LONG_SESSION:
        text += ". That is long for one session (session.generations)"
    else:
        return Check("duration", "good", text)
    return Check("duration", "warning", text)


def _span(minutes: float) -> str:
    seconds = minutes * 60
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{round(seconds, 1):g} s"
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def _is_on(screen: ScreenInfo, size_deg: float, position_deg: tuple[float, float]) -> bool:
    """Return whether all of an image is on a screen."""
    return all(
        (abs(at) + size_deg / 2) * screen.px_per_deg <= pixels / 2
        for at, pixels in zip(position_deg, (screen.width_px, screen.height_px), strict=True)
    )


def _screen(config: Config, hello: Hello) -> Check:
    screen, show = hello.display, config.presentation
    outside = not _is_on(screen, show.size_deg, show.position_deg)
    text = (
        f"{screen.width_px} x {screen.height_px} at {screen.refresh_hz:g} Hz, "
        f"{screen.px_per_deg:.1f} px/°: an image is {show.size_deg * screen.px_per_deg:.0f} px"
    )
    if outside:
        return Check("screen", "bad", f"{text}, part of it outside the screen")
    return Check("screen", "good", text)


def _places(config: Config, hello: Hello) -> Iterator[Check]:
    """Check that every place of every grid is on the screen."""
    screen, show = hello.display, config.presentation
    for table in config.sets:
        if table.grid is None:
            continue
        places = table.places(show.position_deg, show.size_deg)
        outside = [place for place in places if not _is_on(screen, place[2], place[:2])]
        text = f"{table.name}: {len(places)} places and sizes"
        if not screen.places:
            text += ", which the rig does not say that it heeds (display.places in its hello)"
        text += _outside_text(outside, "the screen")
        yield Check("places", "good" if screen.places and not outside else "bad", text)


def simulated_view(config: Config) -> Iterator[Check]:
    """Check that simulated units see every place of every grid, where they see the screen.

    Parameters
    ----------
    config : of the session; `simulation.view_deg` is the side of what they see
    """
    view, show = config.simulation.view_deg, config.presentation
    for table in config.sets:
        if table.grid is None or view is None:
            continue
        places = table.places(show.position_deg, show.size_deg)
        outside = [
            (x, y, size)
            for x, y, size in places
            if max(abs(x), abs(y)) + size / 2 > view / 2 * (1 + _ROUNDING)
        ]
        text = f"{table.name}: {len(places)} places and sizes"
        text += _outside_text(outside, f"the {view:g}° that simulated units see")
        text += (
            ", or a larger simulation.view_deg" if outside else ", all seen by simulated units"
        )
        yield Check("simulated view", "warning" if outside else "good", text)


def _outside_text(places: Sequence[tuple[float, float, float]], of: str) -> str:
    """Say which places of a grid, (x, y, size) each, are not inside of something."""
    if not places:
        return ""
    x, y, size = places[0]
    return (
        f", {len(places)} of them partly outside {of}, as {size:g}° at {x:+g}°, {y:+g}°: a "
        "smaller span_deg, or another center_deg"
    )


def _shapes(config: Config, references: References, hello: Hello) -> Iterator[Check]:
    """Check that images keep their shape on the screen, and that their greys are its own."""
    screen, size_deg = hello.display, config.presentation.size_deg
    oblong = [
        (label, image.shape)
        for label, image in zip(references.labels, references.images, strict=True)
        if image.shape[0] != image.shape[1]
    ]
    if oblong:
        label, (height, width, _) = oblong[0]
        are = f"{_counted(len(oblong), 'reference')} {'is' if len(oblong) == 1 else 'are'}"
        text = f"{are} not square ({label!r}: {width} x {height})"
        thin = [
            f"{label!r}, {shape[1]} x {shape[0]}"
            for label, shape in oblong
            if size_deg * screen.px_per_deg * min(shape[:2]) / max(shape[:2]) < 1
        ]
        if screen.background_grey is None:
            yield Check(
                "shapes",
                "bad",
                f"{text}, and the rig does not say that it keeps an image's shape, nor what is "
                "around it (display.background_grey in its hello): make them square",
            )
        elif thin:
            yield Check(
                "shapes",
                "bad",
                f"{'; '.join(thin[:5])} would be thinner than a pixel of the screen",
            )
        else:
            grey = screen.background_grey
            text += f": their longer side is {size_deg:g}°, around them is grey {grey}"
            yield Check("shapes", "good", text)
    behind, around = config.references.grey, screen.background_grey
    if config.references.source != "builtin" and around is not None and behind != around:
        yield Check(
            "background",
            "warning",
            f"transparent pixels of references have references.grey, {behind}, and the "
            f"display's background is {around}: their edges may be seen",
        )


def disk(parts: Parts, units: int, recordings: Path) -> Check:
    """Check that there is room for what a session's record has not got yet.

    Parameters
    ----------
    parts, recordings : as `before_the_rig` takes them
    units : of the rig
    """
    config = parts.config
    show, n = config.presentation, parts.presentations
    pixels = sum(
        popsize * generator.image_size**2 * 3
        for popsize, generator in zip(parts.popsizes, parts.generators, strict=True)
    )
    seconds = (config.rig.window_ms[1] - config.rig.window_ms[0]) / 1000
    spikes = units * _SPIKES_A_SECOND * seconds * _SPIKE_BYTES
    need = parts.left * (pixels + n * (spikes + _RECORD_BYTES))
    free = disk_free_bytes(recordings)
    minutes = parts.left * n * (show.on_ms + show.off_ms) / 60_000
    left = free / need * minutes if need else float("inf")
    what = "the session takes" if parts.restored is None else "the rest of the session takes"
    text = f"{free / 1e9:.1f} GB free, {what} about {need / 1e6:.0f} MB"
    if free < need:
        return Check("disk", "bad", f"{text}: it is full after {left:.0f} of {minutes:.0f} min")
    if left - minutes < _MINUTES_LEFT:
        return Check("disk", "warning", f"{text}: {left - minutes:.0f} min more than needed")
    return Check("disk", "good", text)
