"""A recording's stimulus sets as arrays: codes of the images, responses of every channel.

Knows recordings. A channel is a unit that was recorded; its response is its mean rate in its
area's window. Showings that were aborted, or that lack a channel, are left out and counted.
Repeats of an item stay apart here, for ceilings; `DecodingSet.mean` averages them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from evolver.analysis.decoding_responses import AREA_WINDOWS_MS, RepeatMeans, repeat_means
from evolver.config.set_table import IMAGE_FILES
from evolver.config.tables import parse_session_file
from evolver.errors import ConfigError, DataError
from evolver.recording.areas import named_areas
from evolver.recording.set_rows import rows_of_showings
from evolver.responses import check_window

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from evolver.recording import Recording, ThreadData
    from evolver.responses import TimeWindow
    from evolver.types import Codes, Responses, Vector

OTHER_WINDOW_MS = (50.0, 200.0)
"""Of channels whose area has no window of its own."""
LEAST_TRAINING, LEAST_TEST = 10, 3  # items
_SHOWINGS_AT_ONCE = 256
_LARGEST_PSTHS = 4 << 30  # bytes
_REASONS = ("aborted", "missing", "not of all channels")


@dataclass(frozen=True, slots=True)
class WindowChoice:
    """In which window the response of a channel is measured, and what its area is.

    Attributes
    ----------
    of_areas : area -> window, ms after onset; a recorded area has the window of the name that
        is one of its words, as "IT" of "simulated IT"
    other : of all other channels
    patterns : area -> how its labels begin (``*`` and ``?`` stand for any), for recordings
        whose areas do not say it; a channel is of the first that fits, and else of its
        recorded area
    """

    of_areas: Mapping[str, TimeWindow] = field(default_factory=lambda: dict(AREA_WINDOWS_MS))
    other: TimeWindow = OTHER_WINDOW_MS
    patterns: Mapping[str, str] = field(default_factory=dict[str, str])

    @staticmethod
    def names_of(area: str) -> tuple[str, ...]:
        """Return by which names an area's window is looked up: its own, then its words."""
        return (area, *area.replace("-", " ").replace("_", " ").split())

    def window_of(self, area: str) -> TimeWindow:
        """Return an area's window."""
        for name in self.names_of(area):
            if name in self.of_areas:
                return self.of_areas[name]
        return self.other


@dataclass(frozen=True, slots=True, eq=False)
class DecodingChannels:
    """The channels of a recording.

    Attributes
    ----------
    labels, areas : (c,) of each
    windows_ms : (c,) of each
    own_window : whether the rig sent rates, whose window was its own
    """

    labels: tuple[str, ...]
    areas: tuple[str, ...]
    windows_ms: tuple[TimeWindow, ...]
    own_window: bool = False

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.labels)


@dataclass(frozen=True, slots=True, eq=False)
class DecodingSet:
    """What the sets of one role showed, and the responses.

    Attributes
    ----------
    names : of the sets
    items : (n,) what each item is called: its number, or SET/NUMBER of several sets
    codes : (n, d) float64
    image_ids : (n,) int64, rows of the recording's images
    item : (p,) int64, which of the items each showing is of
    rows : (p,) int64, of the recording's presentations, ascending
    responses : (p, c) float64, spikes/s
    left_out : showings, by why they do not count
    prior : from what all codes were drawn, as session files say it ("generator", "normal:2");
        empty where they are of a file, or of several
    """

    names: tuple[str, ...]
    items: tuple[str, ...]
    codes: Codes
    image_ids: NDArray[np.int64]
    item: NDArray[np.int64]
    rows: NDArray[np.int64]
    responses: Responses
    left_out: Mapping[str, int]
    prior: str

    def mean(self) -> RepeatMeans:
        """Return the mean response to each item, in the order of `codes`."""
        return repeat_means(self.responses, self.item)


@dataclass(frozen=True, slots=True, eq=False)
class DecodingData:
    """The sets of a recording from which a decoder is fitted, and on which it is tested.

    Attributes
    ----------
    train : DecodingSet
    test : DecodingSet; None where no set has that role
    channels : DecodingChannels
    thread : ThreadData, one of the sets: all are of its generator
    """

    train: DecodingSet
    test: DecodingSet | None
    channels: DecodingChannels
    thread: ThreadData


@dataclass(frozen=True, slots=True, eq=False)
class ItemPsths:
    """Rates of items in bins of time.

    Attributes
    ----------
    train, test : (n, c, t) float32, spikes/s, mean over an item's showings; of the test None
        where there is none
    edges_ms : (t + 1,) of the bins, after onset
    """

    train: NDArray[np.float32]
    test: NDArray[np.float32] | None
    edges_ms: Vector


def read_decoding_data(
    opened: Recording,
    *,
    train: Sequence[str] = (),
    test: Sequence[str] = (),
    windows: WindowChoice | None = None,
) -> DecodingData:
    """Return the sets of a recording, as arrays.

    Parameters
    ----------
    opened : the recording
    train, test : names of the sets; those of the role if none is named
    windows : in which responses are measured

    Raises
    ------
    ConfigError
        There are no sets, or none of the training role; a set has no codes, or they are of two
        generators; or there are too few items.
    DataError
        A window does not fit what was recorded.
    """
    choice = WindowChoice() if windows is None else windows
    train_at, test_at = _sets_of(opened, "train", train), _sets_of(opened, "test", test)
    if not train_at:
        raise ConfigError(
            "decoding needs a set to fit on, of the role 'train'; the recording has "
            f"{_listed(opened)}. Name sets with --train and --test"
        )
    if shared := set(train_at) & set(test_at):
        names = ", ".join(opened.threads[k].name for k in sorted(shared))
        raise ConfigError(f"a set must be for training or for the test; {names} is for both")
    _check_one_generator(opened, [*train_at, *test_at])
    channels = _channels(opened, choice)
    responses = _responses(opened, channels)
    sets = [
        None if not at else _decoding_set(opened, at, responses) for at in (train_at, test_at)
    ]
    train_set, test_set = sets
    if train_set is None or len(train_set.items) < LEAST_TRAINING:
        n = 0 if train_set is None else len(train_set.items)
        raise ConfigError(
            f"a decoder must be fitted on {LEAST_TRAINING} items or more; {n} of the training "
            "sets have a response of all channels"
        )
    if not (np.ptp(train_set.responses, axis=0) > 0).any():
        raise ConfigError(
            "responses must differ among the training items; in these windows no channel's do "
            "(--windows, --window)"
        )
    if test_set is not None and len(test_set.items) < LEAST_TEST:
        raise ConfigError(
            f"a test must have {LEAST_TEST} items or more; {len(test_set.items)} of the test "
            "sets have a response of all channels"
        )
    return DecodingData(train_set, test_set, channels, opened.threads[train_at[0]])


def read_item_psths(
    opened: Recording, data: DecodingData, window_ms: TimeWindow, *, width_ms: float = 10.0
) -> ItemPsths:
    """Return the rates of items in bins of time.

    Parameters
    ----------
    opened : the recording that `data` is of
    data : as `read_decoding_data` gave it
    window_ms : from and to; bins lie in it whole
    width_ms : of a bin, which begins and ends where one of the recording's does

    Raises
    ------
    DataError
        The rig sent rates, which have no bins; no bin lies in the window, or they are not such
        that they can be joined to wider ones; or they do not fit into memory.
    """
    check_window(window_ms)
    if not width_ms > 0:
        raise DataError(f"bins must be wider than 0 ms; got {width_ms:g} (--width)")
    valid = opened.psth_valid
    for shown in (data.train, data.test):
        if shown is not None and not valid[shown.rows].all():
            raise DataError(
                "responses by time need spikes or counts in bins; of "
                f"{int((~valid[shown.rows]).sum()):,} showings the rig sent rates alone"
            )
    own: Vector = np.asarray(opened.psth_edges_ms, dtype=np.float64)
    inside = own[(own >= window_ms[0]) & (own <= window_ms[1])]
    count = int((inside[-1] - inside[0]) / width_ms + 1e-9) if len(inside) else 0
    if count < 1:
        raise DataError(
            f"bins of {width_ms:g} ms must lie in the window; none of the recording's, "
            f"{own[0]:g} to {own[-1]:g} ms, lies in {window_ms[0]:g} to {window_ms[1]:g} ms"
        )
    edges = inside[0] + width_ms * np.arange(count + 1)
    at = np.array([int(np.abs(own - edge).argmin()) for edge in edges])
    if not np.allclose(own[at], edges, atol=1e-6):
        raise DataError(
            f"bins of {width_ms:g} ms must begin and end where those of the recording do, "
            f"which are {float(np.median(np.diff(own))):g} ms wide (--width)"
        )
    items = sum(len(s.items) for s in (data.train, data.test) if s is not None)
    size = 4 * items * len(data.channels) * count
    if size > _LARGEST_PSTHS:
        raise DataError(
            f"responses by time of {items:,} items take {size / 2**30:.1f} GiB, and may take "
            f"{_LARGEST_PSTHS >> 30}: take a narrower --course, or wider bins (--width)"
        )
    return ItemPsths(
        train=_psths(opened, data.train, at, width_ms),
        test=None if data.test is None else _psths(opened, data.test, at, width_ms),
        edges_ms=edges,
    )


def _sets_of(
    opened: Recording, role: Literal["train", "test"], names: Sequence[str]
) -> list[int]:
    """Return which threads are the sets that are named, or of a role."""
    sets = {thread.name: k for k, thread in enumerate(opened.threads) if thread.is_set}
    if not sets:
        evolving = ", ".join(thread.name for thread in opened.threads)
        raise ConfigError(
            "decoding needs stimulus sets ([[sets]] in the session file), images of known "
            f"codes; the recording has none, its threads evolve: {evolving}"
        )
    for name in names:
        if name not in sets:
            raise ConfigError(
                f"--{role} must name sets of the recording, which has {_listed(opened)}; got "
                f"{name!r}"
            )
    if names:
        return sorted({sets[name] for name in names})
    return [k for k in sets.values() if _role(opened.threads[k]) == role]


def _listed(opened: Recording) -> str:
    """Name the recording's sets, with their roles."""
    return ", ".join(f"{thread.name} ({_role(thread)})" for thread in opened.threads.sets)


def _role(thread: ThreadData) -> str:
    info = thread.set_info
    return "" if info is None else info.role


def _prior(opened: Recording, at: Sequence[int]) -> str:
    """Return from what the codes of sets were drawn; empty where that is not one thing."""
    try:
        tables = {table.name: table for table in parse_session_file(opened.config).sets}
    except ConfigError:
        return ""
    names = {opened.threads[k].name for k in at}
    texts = {tables[name].codes if name in tables else "" for name in names}
    text = texts.pop() if len(texts) == 1 else ""
    return "" if text.startswith(("file:", "decoded:")) else text


def _check_one_generator(opened: Recording, at: Sequence[int]) -> None:
    threads = [opened.threads[k] for k in at]
    for thread in threads:
        if thread.generator == IMAGE_FILES:
            raise ConfigError(
                f"the set {thread.name!r} is of image files, which have no codes to decode; "
                "'evolver encode' fits responses to any images"
            )
    generators = {
        (thread.generator, thread.weights_sha256, repr(thread.options.get("generator")))
        for thread in threads
    }
    if len(generators) > 1:
        named = ", ".join(f"{thread.name} of {thread.generator}" for thread in threads)
        raise ConfigError(
            "codes must be of one generator, with the same weights and options; the sets are "
            f"{named}. Name sets of one with --train and --test"
        )


def _channels(opened: Recording, choice: WindowChoice) -> DecodingChannels:
    table = opened.units
    labels = tuple(table["label"].astype(str).tolist())
    recorded = table["area"].astype(str).tolist()
    named = named_areas(labels, recorded, choice.patterns)
    areas = tuple(area or "no area" for area in named)
    form = opened.presentations["form"].astype(str)
    return DecodingChannels(
        labels=labels,
        areas=areas,
        windows_ms=tuple(choice.window_of(area) for area in areas),
        own_window=bool((form == "rates").any()),
    )


def _responses(opened: Recording, channels: DecodingChannels) -> Responses:
    """Return the rate of each channel in its window, of all presentations, (p, c)."""
    responses = np.full((len(opened.presentations), len(channels)), np.nan)
    windows = np.array(channels.windows_ms, dtype=np.float64)
    for window in dict.fromkeys(channels.windows_ms):
        try:
            check_window(window, recorded_ms=opened.window_ms)
            rates = opened.rates(window)
        except DataError as error:
            raise DataError(f"{error} (--windows, --window)") from error
        own = (windows == window).all(axis=1)
        responses[:, own] = rates[:, own]
    return responses


def _decoding_set(opened: Recording, at: Sequence[int], responses: Responses) -> DecodingSet:
    table = opened.presentations
    status: NDArray[np.str_] = np.asarray(table["status"].astype(str))
    whole = np.asarray(np.isfinite(responses).all(axis=1), dtype=np.bool_)
    left_out: Counter[str] = Counter()
    rows: list[NDArray[np.intp]] = []
    which: list[tuple[int, int]] = []  # set and item of each showing
    for k in at:
        mine = np.flatnonzero(table["thread"] == k)
        ok = (status[mine] == "ok") & (table["item"][mine] >= 0)
        left_out["missing"] += int((status[mine] == "missing").sum())
        left_out["aborted"] += int((~ok & (status[mine] != "missing")).sum())
        left_out["not of all channels"] += int((ok & ~whole[mine]).sum())
        kept = mine[ok & whole[mine]]
        rows.append(kept)
        which += [(k, int(item)) for item in table["item"][kept]]
    shown = np.concatenate(rows).astype(np.int64)
    order = np.argsort(shown, kind="stable")
    names = sorted(set(which))
    number = {name: i for i, name in enumerate(names)}
    item = np.array([number[name] for name in which], dtype=np.int64)
    codes, image_ids = _codes_of(opened, names)
    several = len(at) > 1
    return DecodingSet(
        names=tuple(opened.threads[k].name for k in at),
        items=tuple(f"{opened.threads[k].name}/{i}" if several else f"{i}" for k, i in names),
        codes=codes,
        image_ids=image_ids,
        item=item[order],
        rows=shown[order],
        responses=responses[shown[order]],
        left_out={why: left_out[why] for why in _REASONS if left_out[why]},
        prior=_prior(opened, at),
    )


def _codes_of(
    opened: Recording, names: Sequence[tuple[int, int]]
) -> tuple[Codes, NDArray[np.int64]]:
    """Return code, (n, d), and image, (n,), of each item, given as its set and number.

    Raises
    ------
    DataError
        Showings of one item have different codes.
    """
    if not names:
        return np.zeros((0, 1)), np.zeros(0, dtype=np.int64)
    table = opened.presentations
    codes: list[Codes] = []
    image_ids: list[NDArray[np.int64]] = []
    for k in dict.fromkeys(k for k, _ in names):
        thread, at = opened.threads[k], rows_of_showings(opened, k)
        shown = (at >= 0) & (table["item"] >= 0)
        rows = at[shown]
        items, first, of = np.unique(
            table["item"][shown], return_index=True, return_inverse=True
        )
        differing = (thread.codes[rows] != thread.codes[rows[first][of]]).any(axis=1)
        if differing.any():
            raise DataError(
                f"showings of an item must have one code; item {items[of[differing][0]]} of "
                f"{thread.name} has several. The recording was changed"
            )
        wanted = [item for of_set, item in names if of_set == k]
        if lost := sorted(set(wanted) - set(items.tolist())):
            raise DataError(f"the codes of items {lost[:5]} of {thread.name} are lost")
        row = rows[first][np.searchsorted(items, wanted)]
        codes.append(thread.codes[row].astype(np.float64))
        image_ids.append(thread.image_id[row])
    return np.concatenate(codes), np.concatenate(image_ids)


def _psths(
    opened: Recording, shown: DecodingSet, at: NDArray[np.intp], width_ms: float
) -> NDArray[np.float32]:
    """Return the mean rate of each item in bins that begin and end at edges `at`, (n, c, t)."""
    n, span = len(shown.items), slice(int(at[0]), int(at[-1]))
    psth: Any = cast("Any", opened.psth)
    sums = np.zeros((n, psth.shape[1], len(at) - 1), dtype=np.float32)
    for begin in range(0, psth.shape[0], _SHOWINGS_AT_ONCE):
        end = min(begin + _SHOWINGS_AT_ONCE, psth.shape[0])
        mine = slice(*np.searchsorted(shown.rows, [begin, end]))
        if mine.start == mine.stop:
            continue
        counts = psth[begin:end, :, span][shown.rows[mine] - begin].astype(np.float32)
        joined = np.add.reduceat(counts, at[:-1] - at[0], axis=2)
        np.add.at(sums, shown.item[mine], joined)
    repeats = np.bincount(shown.item, minlength=n).astype(np.float32)
    sums /= repeats[:, None, None] * np.float32(width_ms / 1000)
    return sums
