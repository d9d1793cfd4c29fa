"""What decoding a recording gives, as values: codes, measures with their chance, sites, times.

What could not be worked out is absent, with the reason, and the rest is there all the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import isfinite, nan
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from evolver.analysis.decoding import Dense, InvertedGLM, LeastSquares, Ridge
from evolver.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from evolver.analysis.decoding import Decoder
    from evolver.analysis.decoding_responses import Reliability, ScoreStatistics
    from evolver.analysis.latent_directions import AttributeScores
    from evolver.analysis.latent_metrics import RandomSets
    from evolver.analysis.quantities import Quantity
    from evolver.analysis.rank_tests import MeanInterval
    from evolver.analysis.site_occlusion import OccludedBy, RegionScore
    from evolver.analysis.time_resolved import SigmoidRise
    from evolver.reconstruction.sets import DecodingChannels
    from evolver.types import Codes, Images, Vector

DecoderName: TypeAlias = Literal["ridge", "least-squares", "dense", "inverted-glm"]
CORRELATION, CENTRED, PAIRS = "code correlation", "cosine about the mean", "pairs told apart"
"""Names of measures."""
DECODER_NAMES: tuple[str, ...] = get_args(DecoderName)


@dataclass(frozen=True, slots=True)
class DecodingSettings:
    """How a recording is decoded.

    Attributes
    ----------
    decoder : which of `evolver.analysis.decoding`
    epochs : of the dense layer
    folds : of items, where no set is for the test
    sets : of random codes, and of images dealt anew
    draws : of random channels, beside each site's decoder; 0 leaves these decoders out
    resamplings : of items, for the interval of when decoding begins
    images : test items whose images are drawn and measured, at most
    walks : pairs of decoded items, by what they are called, to walk between
    width_ms, course_ms : windows of the time course, and from when to when; None leaves it out
    statistics, occluded_by : the published habits of z-scores and of occlusion, if "paper"
    seed : of all that is drawn at random
    """

    decoder: DecoderName = "ridge"
    epochs: int = 1500
    folds: int = 5
    sets: int = 1000
    draws: int = 20
    resamplings: int = 200
    images: int = 100
    walks: tuple[tuple[str, str], ...] = ()
    width_ms: float = 10.0
    course_ms: tuple[float, float] | None = (-100.0, 200.0)
    statistics: ScoreStatistics = "training"
    occluded_by: OccludedBy = "training"
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise `ConfigError` where a number is out of its bounds."""
        if self.decoder not in DECODER_NAMES:
            raise ConfigError(
                f"a decoder must be one of {', '.join(DECODER_NAMES)}; got {self.decoder!r}"
            )
        for name, least in (
            ("epochs", 1), ("folds", 2), ("sets", 1), ("draws", 0), ("resamplings", 0),
            ("images", 0),
        ):  # fmt: skip
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be {least} or more; got {getattr(self, name)}")

    @property
    def as_published(self) -> DecodingSettings:
        """The same with the papers' habits, which leak the test into itself."""
        return replace(self, statistics="paper", occluded_by="paper")

    def new_decoder(self) -> Decoder:
        """Return what is fitted."""
        if self.decoder == "dense":
            return Dense(epochs=self.epochs, seed=self.seed)
        makers = {"least-squares": LeastSquares, "inverted-glm": InvertedGLM}
        return makers.get(self.decoder, Ridge)()


@dataclass(frozen=True, slots=True, eq=False)
class DecodingMeasure:
    """One measure of decoded codes or images, with its interval and its chance.

    Attributes
    ----------
    name : as "code correlation"
    kind : what is compared
    value : Quantity
    low, high : float, 95 % interval over items; NaN where there is none
    n : int, items
    each : (n,) of each item; empty where the measure is of all of them together
    floor : float, what the mean code reaches; NaN where it has none
    chance : float, mean over random sets; NaN without
    p : float, (1 + sets that are as high) / (1 + sets); NaN without
    null : (sets,) the random sets' values; empty without
    """

    name: str
    kind: Literal["codes", "images"]
    value: Quantity
    low: float
    high: float
    n: int
    each: Vector
    floor: float = nan
    chance: float = nan
    p: float = nan
    null: Vector = field(default_factory=lambda: np.zeros(0))

    @property
    def has_p(self) -> bool:
        """Whether it was compared with chance."""
        return isfinite(self.p)


@dataclass(frozen=True, slots=True, eq=False)
class DecodedSite:
    """What the channels of one site tell.

    Attributes
    ----------
    site : its name; "all" of all channels
    channels : int
    correlation : code correlation with the responses of this site alone, others at their mean
    cosine : the same of the cosine about the mean code
    decoded : (m, d) codes that these are of
    others : all other measures of these codes, and of their images, by name
    region : decoders with and without the site; None of all channels, and where left out
    """

    site: str
    channels: int
    correlation: MeanInterval
    cosine: MeanInterval
    decoded: Codes
    others: Mapping[str, MeanInterval] = field(default_factory=dict[str, "MeanInterval"])
    region: RegionScore | None = None

    @property
    def measures(self) -> dict[str, MeanInterval]:
        """All measures, by name."""
        return {CORRELATION: self.correlation, CENTRED: self.cosine, **self.others}


@dataclass(frozen=True, slots=True, eq=False)
class DecodedTimes:
    """When one site's channels tell.

    Attributes
    ----------
    site : its name; "all" of all channels
    channels : int
    centres_ms : (w,) of the windows
    correlation : (w,) code correlation; NaN where undefined
    low, high : (w,) its 95 % interval over items
    cosine : (w,) about the mean code
    pairwise : (w,) share of pairs of items that are told apart
    rise : of the correlation
    """

    site: str
    channels: int
    centres_ms: Vector
    correlation: Vector
    low: Vector
    high: Vector
    cosine: Vector
    pairwise: Vector
    rise: SigmoidRise


@dataclass(frozen=True, slots=True, eq=False)
class DecodedAttributes:
    """Scores of codes along the directions of a generator's first weights.

    Attributes
    ----------
    scores : AttributeScores
    test : RandomSets, decoded codes dealt anew to items
    source : whose directions they are
    """

    scores: AttributeScores
    test: RandomSets
    source: str


@dataclass(frozen=True, slots=True, eq=False)
class DecodedImages:
    """Images of some of the items.

    Attributes
    ----------
    rows : (k,) which of the decoded items
    true, decoded : (k, h, w, 3) uint8, drawn by the recorded generator
    differing : how many of the true ones are not, pixel by pixel, what was shown
    unread : how many could not be compared: what was shown is damaged in the file
    """

    rows: NDArray[np.int64]
    true: Images
    decoded: Images
    differing: int
    unread: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class DecodedWalk:
    """A path between two items, drawn: in latents, in responses, in encodings.

    Attributes
    ----------
    first, second : the items
    shares : (s,) of the way, 0 to 1
    images : by row, as `evolver.analysis.latent_walks.Walk` names them: (s, h, w, 3) uint8
    """

    first: str
    second: str
    shares: Vector
    images: Mapping[str, Images]


@dataclass(frozen=True, slots=True, eq=False)
class DecodedSession:
    """What the sets of a recording say.

    Attributes
    ----------
    name, session_id : of the recording
    replay : what it says of a replay; else empty
    settings : DecodingSettings
    channels : DecodingChannels
    silent : channels that never vary over the training items
    generator, weights_sha256 : of the images
    train_names, test_names : of the sets; no test means that items were left out in turn
    train_items, train_showings, test_showings : int
    left_out : showings, by why they do not count
    items : (m,) what the decoded items are called
    image_ids : (m,) rows of the recording's images
    repeats : (m,) showings of each
    true, decoded : (m, d) codes
    ranks : (m,) of the true code among all by its correlation with the decoded one, 1 is best;
        NaN of items that were not among those compared
    space : of codes in measures and attributes: "w" where z was mapped to it; else empty
    fit : what is said of the fit, as its penalty
    measures : of codes and images
    images : None where there is no generator
    attributes, reliability : None where absent
    walks : between two items each; empty where none was asked for
    sites, times : a site each, "all" among them; empty where absent
    absent : what was not worked out, and why
    damaged : what of that because the recording cannot be read; "shown images", where those
        could not be compared with drawn ones
    stopped : whether it was stopped before its end
    """

    name: str
    session_id: str
    replay: str
    settings: DecodingSettings
    channels: DecodingChannels
    silent: int
    generator: str
    weights_sha256: str
    train_names: tuple[str, ...]
    test_names: tuple[str, ...]
    train_items: int
    train_showings: int
    test_showings: int
    left_out: Mapping[str, int]
    items: tuple[str, ...]
    image_ids: NDArray[np.int64]
    repeats: NDArray[np.int64]
    true: Codes
    decoded: Codes
    ranks: Vector = field(default_factory=lambda: np.zeros(0))
    space: str = ""
    fit: str = ""
    measures: tuple[DecodingMeasure, ...] = ()
    images: DecodedImages | None = None
    attributes: DecodedAttributes | None = None
    reliability: Reliability | None = None
    walks: tuple[DecodedWalk, ...] = ()
    sites: tuple[DecodedSite, ...] = ()
    times: tuple[DecodedTimes, ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict[str, str])
    damaged: tuple[str, ...] = ()
    stopped: bool = False

    @property
    def held_out(self) -> str:
        """Say which items were decoded by a decoder that had not seen them."""
        if self.test_names:
            return f"tested on {', '.join(self.test_names)}"
        return f"no test set: items left out in turn, {self.settings.folds} folds"
