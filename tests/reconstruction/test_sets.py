"""Sets of a recording as arrays: what was planted comes out, and what does not fit is said."""

from collections import Counter

import numpy as np
import pytest

from evolver import recording
from evolver.errors import ConfigError, DataError
from evolver.reconstruction.sets import WindowChoice, read_decoding_data, read_item_psths
from evolver.recording.fold import fold
from tests.reconstruction.made import BIN, EDGES, PlantedSet, planted
from tests.recording.sessions import write_session
from tests.soak import further

CHOICE = WindowChoice({"V1": (25.0, 125.0), "IT": (75.0, 175.0)}, other=(100.0, 200.0))
WINDOWS = {**CHOICE.of_areas, "out": CHOICE.other}


@pytest.fixture(scope="module", params=[further("counts"), "spikes", "rates"])
def shown(request, tmp_path_factory):
    sets = [
        PlantedSet("many", "train", 20),
        PlantedSet("again", "test", 5, repeats=4),
        PlantedSet("more", "test", 4, repeats=2),
        PlantedSet("unused", "probe", 3),
    ]
    folder = tmp_path_factory.mktemp(request.param)
    return request.param, planted(folder, sets, form=request.param, abort=0.1)


def rate_of(arrays, unit, window):
    """The rate of a unit in a window, from what the rig sent."""
    if "rates" in arrays:
        return arrays["rates"][unit]
    start, end = window
    if "counts" in arrays:
        inside = (EDGES[:-1] >= start) & (EDGES[1:] <= end)
        n = arrays["counts"][unit][inside].astype(int).sum()
    else:
        times = arrays["times_ms"].astype(float)
        n = ((arrays["units"] == unit) & (times >= start) & (times < end)).sum()
    return n / (end - start) * 1000


def test_what_was_planted_is_read(shown):
    form, made = shown
    with recording.read(made.path) as opened:
        data = read_decoding_data(opened, windows=CHOICE)
    assert data.channels.areas == tuple(made.areas)
    assert data.channels.own_window == (form == "rates")
    assert data.train.names == ("many",)
    assert data.test.names == ("again", "more")
    for part, names in ((data.train, ["many"]), (data.test, ["again", "more"])):
        kept = [one for one in made.showings if one[0] in names and one[2]]
        assert part.left_out == {
            "aborted": sum(one[0] in names and not one[2] for one in made.showings)
        }
        labels = [f"{name}/{i}" if len(names) > 1 else f"{i}" for name, i, *_ in kept]
        assert [part.items[i] for i in part.item] == labels
        for (name, item, _, arrays), label, row in zip(
            kept, labels, part.responses, strict=True
        ):
            at = part.items.index(label)
            np.testing.assert_array_equal(part.codes[at], made.codes[name][item])
            expected = [rate_of(arrays, u, WINDOWS[area]) for u, area in enumerate(made.areas)]
            np.testing.assert_allclose(row, expected)
        means = part.mean()
        assert means.repeats.tolist() == [Counter(labels)[item] for item in part.items]
        of_first = [row for row, label in zip(part.responses, labels, strict=True)
                    if label == part.items[0]]  # fmt: skip
        np.testing.assert_allclose(means.mean[0], np.mean(of_first, axis=0))


def test_rates_by_time_are_means_over_showings(shown):
    form, made = shown
    with recording.read(made.path) as opened:
        data = read_decoding_data(opened, windows=CHOICE)
        if form == "rates":
            with pytest.raises(DataError, match="rates alone"):
                read_item_psths(opened, data, (0.0, 100.0))
            return
        psths = read_item_psths(opened, data, (0.0, 100.0))
        with pytest.raises(DataError, match="bins of 10 ms must lie in the window"):
            read_item_psths(opened, data, (301.0, 305.0))
    assert psths.edges_ms.tolist() == list(range(0, 101, 10))
    kept = [one for one in made.showings if one[0] == "again" and one[1] == 2 and one[2]]
    at = data.test.items.index("again/2")
    for unit in (0, 5):
        expected = np.mean(
            [
                [rate_of(arrays, unit, (t, t + 10)) for t in range(0, 100, 10)]
                for *_, arrays in kept
            ],
            axis=0,
        )
        np.testing.assert_allclose(psths.test[at, unit], expected, rtol=1e-5)
    assert psths.train.shape == (len(data.train.items), len(made.areas), 10)


def test_areas_by_the_labels_of_units(shown):
    _, made = shown
    choice = WindowChoice({"mine": (50.0, 100.0)}, patterns={"mine": "net:V1"})
    with recording.read(made.path) as opened:
        data = read_decoding_data(opened, windows=choice)
        assert data.channels.areas[:5] == ("mine",) * 4 + ("IT",)
        assert data.channels.windows_ms[3:5] == ((50.0, 100.0), (50.0, 200.0))
        with pytest.raises(ConfigError, match="must be how a unit's label begins"):
            read_decoding_data(opened, windows=WindowChoice(patterns={"V4": "other*"}))
    assert WindowChoice().window_of("simulated IT") == (75.0, 175.0)
    assert WindowChoice().window_of("left_V4") == (50.0, 150.0)


def test_sets_by_name(shown):
    _, made = shown
    with recording.read(made.path) as opened:
        data = read_decoding_data(
            opened, train=["many", "more"], test=["again"], windows=CHOICE
        )
        assert data.train.names == ("many", "more")
        assert data.train.items[0].startswith("many/")
        assert data.test.names == ("again",)
        assert data.test.items[0].isdecimal()
        for names, said in (
            ({"test": ["many"]}, "many is for both"),
            ({"train": ["none"]}, r"--train must name sets .* many \(train\), again \(test\)"),
            ({"train": ["unused"]}, "10 items or more"),
        ):
            with pytest.raises(ConfigError, match=said):
                read_decoding_data(opened, **names, windows=CHOICE)


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ([PlantedSet("a", "test", 12)], r"of the role 'train'; the recording has a \(test\)"),
        (
            [PlantedSet("a", "train", 12), PlantedSet("b", "test", 5, generator="images")],
            "'b' is of image files, which have no codes",
        ),
        further(
            [PlantedSet("a", "train", 12), PlantedSet("b", "test", 5, sha256="0" * 64)],
            "must be of one generator",
        ),
        (
            [PlantedSet("a", "train", 12), PlantedSet("b", "test", 5, options={"latent": "w"})],
            "must be of one generator",
        ),
        ([PlantedSet("a", "train", 12), PlantedSet("b", "test", 2)], "3 items or more"),
    ],
)
def test_what_cannot_be_decoded_is_said(sets, said, tmp_path):
    made = planted(tmp_path, sets, d=2, each=1, abort=0)
    with recording.read(made.path) as opened, pytest.raises(ConfigError, match=said):
        read_decoding_data(opened)


def test_windows_that_do_not_fit(shown):
    form, made = shown
    with recording.read(made.path) as opened:
        with pytest.raises(DataError, match="must lie inside what was recorded"):
            read_decoding_data(opened, windows=WindowChoice(other=(50.0, 400.0)))
        if form == "counts":
            between = WindowChoice(other=(50.0, 50.0 + 1.5 * BIN))
            with pytest.raises(DataError, match=r"begin and end on bin edges.*--window"):
                read_decoding_data(opened, windows=between)


def test_a_recording_without_sets_says_so(tmp_path):
    path = tmp_path / "evolved.h5"
    fold(write_session(tmp_path / "journal", generations=1), path, compress_images="none")
    with (
        recording.read(path) as opened,
        pytest.raises(ConfigError, match="has none, its threads evolve: texture, object"),
    ):
        read_decoding_data(opened)
