"""What recorded units answered to each image of some recordings: images, and mean rates.

Knows recordings. Knows nothing of networks or fits.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evolver.errors import DataError, RecordingError
from evolver.recording.areas import named_areas
from evolver.setup.fitted_encoders import AnsweredImages
from evolver.setup.simulated_rig import GREY, on_square

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from evolver.recording import Recording
    from evolver.responses import TimeWindow
    from evolver.types import Responses, Vector


LOST_PIXELS = "of images whose pixels are lost"
"""Why showings of damaged images do not count."""


@dataclass(frozen=True, slots=True, eq=False)
class RecordedAnswers:
    """Images of recordings, each once, and what units answered.

    Attributes
    ----------
    answers : images, in squares, and the mean over showings, spikes/s
    showings : (n,) of each image
    each : (p, u) of each showing that counts, spikes/s
    image : (p,) which of the images was shown
    of_test : (n,) bool, shown by a set whose role is "test"
    labels, areas : (u,) of the units
    left_out : showings, by why they do not count
    """

    answers: AnsweredImages
    showings: NDArray[np.int64]
    each: Responses
    image: NDArray[np.int64]
    of_test: NDArray[np.bool_]
    labels: tuple[str, ...]
    areas: tuple[str, ...]
    left_out: Mapping[str, int]


def recorded_answers(
    recordings: Sequence[Recording],
    *,
    window_ms: TimeWindow,
    baseline_ms: TimeWindow | None = None,
    area_labels: Mapping[str, str] | None = None,
) -> RecordedAnswers:
    """Return what the units of recordings answered, image by image.

    Showings of a set that has its images at several places are left out.

    Parameters
    ----------
    recordings : of the same units
    window_ms : whose rate counts, ms after onset
    baseline_ms : whose rate is taken off
    area_labels : area -> how the labels of its units begin, as `named_areas` takes them; None:
        areas are the recorded ones

    Raises
    ------
    ConfigError
        No unit's label begins as `area_labels` says.
    DataError
        Recordings are of different units, no showing counts, or none of a test set does, as
        the images' pixels are lost.
    """
    first = _units(recordings[0])
    areas = named_areas(*first, area_labels or {})
    images: dict[str, NDArray[np.uint8]] = {}
    rates: dict[str, list[Vector]] = {}
    left_out: Counter[str] = Counter()
    tests: set[str] = set()
    tests_lost = 0
    for opened in recordings:
        if _units(opened) != first:
            raise DataError(
                "recordings must be of the same units, by label and area; "
                f"{opened.name!r} has others than {recordings[0].name!r}. Fit them apart"
            )
        table, sha256 = opened.presentations, opened.image_sha256
        ok = table["status"].astype(str) == "ok"
        left_out["aborted or missing"] += int((~ok).sum())
        sets = {k: t.set_info for k, t in enumerate(opened.threads) if t.is_set}
        mapped = [k for k, info in sets.items() if info is not None and len(info.places) > 1]
        elsewhere = ok & np.isin(table["thread"], mapped)
        left_out["of sets at several places"] += int(elsewhere.sum())
        ok &= ~elsewhere
        tested = [k for k, info in sets.items() if info is not None and info.role == "test"]
        of_tests = np.isin(table["thread"], tested)
        of_all = opened.rates(window_ms, baseline_ms=baseline_ms)
        for row in np.flatnonzero(ok):
            image = int(table["image_id"][row])
            name = str(sha256[image])
            if not np.isfinite(of_all[row]).all():
                left_out["not of all units"] += 1
                continue
            if name not in images:
                try:
                    images[name] = on_square(opened.images[image], GREY)
                except RecordingError:
                    left_out[LOST_PIXELS] += 1
                    tests_lost += int(of_tests[row])
                    continue
            rates.setdefault(name, []).append(of_all[row])
            if of_tests[row]:
                tests.add(name)
    counts = {why: n for why, n in left_out.items() if n}
    if not rates:
        text = ", ".join(f"{n:,} {why}" for why, n in counts.items()) or "no showing"
        raise DataError(
            "recordings must have showings of readable images with an answer of every unit; "
            f"there are {text}"
        )
    if tests_lost and not tests:
        raise DataError(
            f"the images of test sets must be readable; of all {tests_lost:,} showings of them "
            "the pixels are lost, and no fit can be tested on others in their place. 'evolver "
            "verify' says what is damaged; 'evolver fold' makes the recording anew"
        )
    names = list(rates)
    answers = AnsweredImages(
        [images[name] for name in names], np.stack([np.mean(rates[n], axis=0) for n in names])
    )
    showings = np.array([len(rates[name]) for name in names])
    return RecordedAnswers(
        answers,
        showings,
        each=np.stack([row for name in names for row in rates[name]]),
        image=np.repeat(np.arange(len(names)), showings),
        of_test=np.array([name in tests for name in names]),
        labels=first[0],
        areas=areas,
        left_out=counts,
    )


def _units(opened: Recording) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return labels and areas."""
    table = opened.units
    labels, areas = table["label"].astype(str), table["area"].astype(str)
    return tuple(labels.tolist()), tuple(areas.tolist())
