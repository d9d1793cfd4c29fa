"""A recording decoded: fitted on its training sets, tested on others, judged a step at a time.

Knows recordings, and arrays between them; a generator and a layer's features are handed in. A
step that fails is absent from the result with its reason, and a Ctrl-C leaves what is done.
Without a test set, items are left out in turn, and a decoder is fitted to the others: codes,
images and occlusion are of all items then, times and regions of the first fold's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from evolver import seeds
from evolver.analysis.decoding import Dense, DenseDecoder, GLMDecoder, RidgeDecoder
from evolver.analysis.decoding_responses import response_scale, split_half_reliability
from evolver.analysis.latent_directions import (
    attribute_scores,
    attribute_shuffle,
    sefa_directions,
)
from evolver.analysis.latent_metrics import identification, mean_correlation
from evolver.analysis.latent_walks import interpolation_walk
from evolver.analysis.site_occlusion import occluded, region_scores, site_members
from evolver.analysis.time_resolved import ALL_SITES, course_rise, decoded_courses
from evolver.errors import DataError, EvolverError, RecordingError
from evolver.generators.initial import initial_codes_of
from evolver.plain_text import one_line
from evolver.reconstruction.measures import (
    centred_interval,
    code_measures,
    correlation_interval,
    image_measures,
    item_ranks,
    paired_measures,
    pairs_interval,
)
from evolver.reconstruction.results import (
    PAIRS,
    DecodedAttributes,
    DecodedImages,
    DecodedSession,
    DecodedSite,
    DecodedTimes,
)
from evolver.reconstruction.sets import read_item_psths
from evolver.reconstruction.walks import drawn_walk, encoded, row_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import ArrayLike, NDArray

    from evolver.analysis.decoding import Decoder, LinearDecoder
    from evolver.analysis.quantities import Quantity
    from evolver.analysis.time_resolved import DecodedCourse
    from evolver.reconstruction.measures import ImageFeatures
    from evolver.reconstruction.results import DecodedWalk, DecodingSettings
    from evolver.reconstruction.sets import DecodingData
    from evolver.reconstruction.walks import UnitResponses
    from evolver.recording import Recording
    from evolver.types import Codes, Generator, Matrix, Vector

_LONGEST_DENSE = 1e13
"""Multiplications of dense layers that are fitted for sites or times: some ten minutes."""
_MOST_DIRECTIONS = 512
_GROUPS = 20  # of items, left out in turn of each window of time
_STOPPED = "stopped before it was done"


@dataclass(frozen=True, slots=True, eq=False)
class _Fold:
    """Items that a decoder is fitted on, and others that it is tested on; z-scores."""

    training: tuple[Matrix, Codes]  # responses (n, c), codes (n, d)
    test: tuple[Matrix, Codes]
    training_rows: NDArray[np.intp]  # of the training set's items
    test_rows: NDArray[np.intp]  # of the decoded items


def decode_session(
    opened: Recording,
    data: DecodingData,
    settings: DecodingSettings,
    *,
    generator: Generator | str,
    features: ImageFeatures | str,
    network: str = "",
    in_w: bool = False,
    encoder: UnitResponses | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> DecodedSession:
    """Decode the sets of a recording, and say what that is worth.

    Parameters
    ----------
    opened : the recording
    data : its sets
    settings : how
    generator : the sets' own, or why it cannot be had
    features : of images in a layer of a network, (n, k), or why there are none
    network : the layer's name
    in_w : whether codes z are compared as the w they are mapped to
    encoder : of the channels' responses to images, for the last row of walks
    progress : told what is being done

    Raises
    ------
    DataError
        No decoder can be fitted.
    """
    return _Study(
        opened, data, settings, generator, features, network, in_w, encoder, progress
    ).session()


class _Study:
    """One recording, open, while it is decoded."""

    def __init__(
        self,
        opened: Recording,
        data: DecodingData,
        settings: DecodingSettings,
        generator: Generator | str,
        features: ImageFeatures | str,
        network: str,
        in_w: bool,  # noqa: FBT001  as its caller has it
        encoder: UnitResponses | None,
        progress: Callable[[str], None],
    ) -> None:
        self._opened, self._data, self._settings = opened, data, settings
        self._generator, self._features, self._network = generator, features, network
        self._progress = progress
        self._in_w, self._encoder = in_w, encoder
        self._decoder = _Counted(settings.new_decoder(), progress)
        self._folds = _folds(data, settings, self._rng("folds"))
        self._fits: list[LinearDecoder] = []

    def session(self) -> DecodedSession:
        decoded = self._decode()
        done = self._begun(decoded)
        steps: dict[str, Callable[[DecodedSession], DecodedSession]] = {
            "reliability": self._reliability,
            "code measures": self._code_measures,
            "attributes": self._attributes,
            "sites": self._sites,
            "images": self._images,
            "image measures": self._image_measures,
            **({"walks": self._walks} if self._settings.walks else {}),
            "images of sites": self._site_images,
            "times": self._times,
            "regions": self._regions,
        }
        absent: dict[str, str] = {}
        damaged: list[str] = []
        for name, step in steps.items():
            if done.stopped:
                absent[name] = _STOPPED
                continue
            self._progress(name)
            try:
                done = step(done)
            except KeyboardInterrupt:
                done = replace(done, stopped=True)
                absent[name] = _STOPPED
            except (EvolverError, MemoryError, np.linalg.LinAlgError) as error:
                absent[name] = one_line(str(error)) or type(error).__name__
                damaged += [name] if isinstance(error, RecordingError) else []
        if done.images is not None and done.images.unread:
            damaged.append("shown images")
        return replace(done, absent=absent, damaged=tuple(damaged))

    # ------------------------------------------------------------------ codes

    def _decode(self) -> Codes:
        """Fit a decoder for each fold, and return the codes of all decoded items."""
        decoded = np.empty_like(self._true)
        for i, fold in enumerate(self._folds):
            fold_words = f", fold {i + 1} of {len(self._folds)}" if len(self._folds) > 1 else ""
            self._decoder.begin(f"fitting{fold_words}", 1)
            fit = self._decoder.fit(*fold.training)
            decoded[fold.test_rows] = fit.predict(fold.test[0])
            self._fits.append(fit)
        return decoded

    @property
    def _known_means(self) -> Codes:
        """The mean code that each item's decoder was fitted on, (m, d): never of the item."""
        means = np.empty_like(self._true)
        for fold in self._folds:
            means[fold.test_rows] = fold.training[1].mean(axis=0)
        return means

    def _levelled(self, decoded: Codes) -> Codes:
        """Return decoded codes about one mean, for what compares items with one another.

        Where items are left out in turn, each fold's mean code is that of the others: where
        little is told, codes of the folds would be correlated with true ones below 0. The mean
        of all takes its place, which is the same for every item. What compares an item with
        its own code alone must not have it, for the item is in it.
        """
        if len(self._folds) == 1:
            return decoded
        return decoded + self._data.train.codes.mean(axis=0) - self._known_means

    @property
    def _true(self) -> Codes:
        return (self._data.test or self._data.train).codes

    @property
    def _areas(self) -> tuple[str, ...]:
        return self._data.channels.areas

    def _begun(self, decoded: Codes) -> DecodedSession:
        data = self._data
        shown = data.test or data.train
        varies = np.ptp(data.train.responses, axis=0) > 0
        counts = [s.left_out for s in (data.train, data.test) if s is not None]
        return DecodedSession(
            name=self._opened.name,
            session_id=self._opened.session_id,
            replay=self._opened.replay_line,
            settings=self._settings,
            channels=data.channels,
            silent=int((~varies).sum()),
            generator=data.thread.generator,
            weights_sha256=data.thread.weights_sha256,
            train_names=data.train.names,
            test_names=data.test.names if data.test is not None else (),
            train_items=len(data.train.items),
            train_showings=len(data.train.rows),
            test_showings=0 if data.test is None else len(data.test.rows),
            left_out=_added(counts),
            items=shown.items,
            image_ids=shown.image_ids,
            repeats=np.bincount(shown.item, minlength=len(shown.items)).astype(np.int64),
            true=self._true,
            decoded=decoded,
            space="w" if self._maps_to_w else "",
            fit=_fit_words(self._fits),
        )

    @property
    def _maps_to_w(self) -> bool:
        return self._in_w and getattr(self._generator, "code_space", "") == "z"

    def _measured(self, codes: ArrayLike) -> Codes:
        """Return codes in the space in which they are compared."""
        table = np.asarray(codes, dtype=np.float64)
        return cast("Any", self._generator).as_w(table) if self._maps_to_w else table

    def _correlation(self, true: Codes, decoded: Codes) -> Quantity:
        return mean_correlation(self._measured(true), self._measured(decoded))

    @property
    def _mean_code(self) -> Vector:
        return self._measured(self._data.train.codes).mean(axis=0)

    def _draw(self, n: int, rng: np.random.Generator) -> Codes:
        """Return fresh codes of the training prior: the generator's, or some of the items'."""
        prior = self._data.train.prior
        if prior and not isinstance(self._generator, str):
            return self._measured(initial_codes_of(prior, self._generator, n, rng=rng))
        codes = self._data.train.codes
        return self._measured(codes[rng.integers(0, len(codes), n)])

    def _code_measures(self, done: DecodedSession) -> DecodedSession:
        true, decoded = self._measured(done.true), self._measured(done.decoded)
        levelled = None
        if len(self._folds) > 1:
            levelled = self._measured(self._levelled(done.decoded))
        measures = code_measures(
            true,
            decoded,
            self._mean_code,
            self._draw,
            rng=self._rng("random codes"),
            sets=self._settings.sets,
            levelled=levelled,
            known_means=self._measured(self._known_means),
        )
        ranks = item_ranks(true, decoded if levelled is None else levelled)
        return replace(done, measures=(*measures, *done.measures), ranks=ranks)

    def _attributes(self, done: DecodedSession) -> DecodedSession:
        generator = self._generator
        if isinstance(generator, str):
            raise DataError(generator)
        weights = cast("Any", generator).first_weights()
        if weights is None:
            raise DataError(f"{generator.name} does not say which weights a code meets first")
        as_w: Callable[[Codes], Codes] = cast("Any", generator).as_w
        k = len(weights[0])
        axes = sefa_directions(weights, most=min(k, _MOST_DIRECTIONS)).directions
        scores = attribute_scores(as_w(done.true), as_w(done.decoded), axes)
        test = attribute_shuffle(
            scores, rng=self._rng("attributes"), shuffles=self._settings.sets
        )
        return replace(done, attributes=DecodedAttributes(scores, test, generator.name))

    def _reliability(self, done: DecodedSession) -> DecodedSession:
        shown = self._data.test or self._data.train
        reliability = split_half_reliability(
            shown.responses, shown.item, rng=self._rng("reliability")
        )
        return replace(done, reliability=reliability)

    # ------------------------------------------------------------------ images

    def _images(self, done: DecodedSession) -> DecodedSession:
        if isinstance(self._generator, str):
            raise DataError(self._generator)
        if not self._settings.images:
            raise DataError("no image was asked for")
        k = min(len(done.items), self._settings.images)
        rows = np.unique(np.linspace(0, len(done.items) - 1, k).round().astype(np.int64))
        self._progress(f"drawing {2 * len(rows)} images")
        true = self._generator.render(done.true[rows])
        decoded = self._generator.render(done.decoded[rows])
        differing = unread = 0
        for image, image_id in zip(true, done.image_ids[rows], strict=True):
            if not self._opened.images.is_lost(int(image_id)):
                try:
                    shown = self._opened.images[int(image_id)]
                except RecordingError:
                    unread += 1
                    continue
                differing += not np.array_equal(shown, image)
        return replace(done, images=DecodedImages(rows, true, decoded, differing, unread))

    def _image_measures(self, done: DecodedSession) -> DecodedSession:
        if done.images is None:
            raise DataError("there are no images")
        features = None if isinstance(self._features, str) else self._features
        measures = image_measures(
            done.images,
            features,
            self._network,
            rng=self._rng("images"),
            sets=self._settings.sets,
        )
        return replace(done, measures=(*done.measures, *measures))

    def _walks(self, done: DecodedSession) -> DecodedSession:
        if isinstance(self._generator, str):
            raise DataError(self._generator)
        test = self._data.test
        if test is None:
            raise DataError(
                "a walk is between items of a test set, which one decoder has not seen; there "
                "is no test set"
            )
        encode = None
        if self._encoder is not None:
            encode = encoded(self._generator, self._encoder, self._data.train.responses)
        walks: list[DecodedWalk] = []
        for pair in self._settings.walks:
            self._progress(f"walking from {pair[0]} to {pair[1]}")
            rows = [row_of(item, test.items) for item in pair]
            walk = interpolation_walk(
                self._fits[0],
                test.codes[rows],
                self._folds[0].test[0][rows],
                encode=encode,
            )
            walks.append(drawn_walk(self._generator, pair, walk))
        return replace(done, walks=tuple(walks))

    # ------------------------------------------------------------------ sites and times

    def _sites(self, done: DecodedSession) -> DecodedSession:
        true = self._measured(done.true)
        sites = [self._site(ALL_SITES, len(self._areas), true, done.decoded)]
        members = site_members(self._areas, len(self._areas))
        for site, kept in members.items() if len(members) > 1 else ():
            decoded = np.empty_like(done.true)
            for fold, fit in zip(self._folds, self._fits, strict=True):
                seen = occluded(
                    fold.test[0], kept, np.zeros(len(kept)), by=self._settings.occluded_by
                )
                decoded[fold.test_rows] = fit.predict(seen)
            sites.append(self._site(site, int(kept.sum()), true, decoded))
        return replace(done, sites=tuple(sites))

    def _site(self, site: str, channels: int, true: Codes, codes: Codes) -> DecodedSite:
        decoded = self._measured(self._levelled(codes))
        return DecodedSite(
            site,
            channels,
            correlation_interval(true, decoded),
            centred_interval(true, decoded, self._mean_code),
            codes,
            {PAIRS: pairs_interval(true, decoded)},
        )

    def _site_images(self, done: DecodedSession) -> DecodedSession:
        """Draw what each site alone decodes, and compare it with the true images."""
        images = done.images
        if images is None or isinstance(self._generator, str):
            raise DataError("there are no images")
        features = None if isinstance(self._features, str) else self._features
        sites: list[DecodedSite] = []
        for site in done.sites:
            drawn = images.decoded
            if site.site != ALL_SITES:
                self._progress(f"drawing what {site.site} tells")
                drawn = self._generator.render(site.decoded[images.rows])
            others = paired_measures(images.true, drawn, features, self._network)
            sites.append(replace(site, others={**site.others, **others}))
        return replace(done, sites=tuple(sites))

    def _regions(self, done: DecodedSession) -> DecodedSession:
        draws, members = self._settings.draws, site_members(self._areas, len(self._areas))
        if len(members) < 2:
            raise DataError(f"all channels are of one area, {self._areas[0]}: give --area")
        if not draws:
            raise DataError("no decoders with and without a site were asked for (--draws)")
        fold, fits = self._folds[0], len(members) * (2 + 2 * draws)
        self._check_dense(fits)
        self._decoder.begin("decoders with and without each site", fits)
        scores = region_scores(
            self._decoder,
            fold.training,
            fold.test,
            self._areas,
            rng=self._rng("regions"),
            draws=draws,
            measure=self._correlation,
        )
        regions = {score.site: score for score in scores}
        sites = tuple(replace(site, region=regions.get(site.site)) for site in done.sites)
        return replace(done, sites=sites)

    def _times(self, done: DecodedSession) -> DecodedSession:
        settings, fold = self._settings, self._folds[0]
        if settings.course_ms is None:
            raise DataError("no time course was asked for")
        members = site_members(self._areas, len(self._areas))
        psths = read_item_psths(
            self._opened, self._data, settings.course_ms, width_ms=settings.width_ms
        )
        windows = len(psths.edges_ms) - 1
        fits = windows * (1 + (len(members) if len(members) > 1 else 0))
        self._check_dense(fits)
        self._decoder.begin("decoders of each window of time", fits)
        train = psths.train
        if psths.test is None:
            train, test = train[fold.training_rows], train[fold.test_rows]
        else:
            test = psths.test
        courses = decoded_courses(
            self._decoder,
            (train, fold.training[1]),
            (test, fold.test[1]),
            self._areas if len(members) > 1 else None,
            width_ms=settings.width_ms,
            edges_ms=psths.edges_ms,
        )
        return replace(
            done, times=tuple(self._course(course, fold.test[1]) for course in courses)
        )

    def _course(self, course: DecodedCourse, codes: Codes) -> DecodedTimes:
        self._progress(f"when {course.site} begins to tell")
        true = self._measured(codes)
        windows = [self._measured(decoded) for decoded in course.decoded]
        compared = replace(course, decoded=np.stack(windows))
        intervals = [correlation_interval(true, each, groups=_GROUPS) for each in windows]
        cosines = [centred_interval(true, decoded, self._mean_code) for decoded in windows]
        return DecodedTimes(
            site=course.site,
            channels=course.channels,
            centres_ms=course.centres_ms,
            correlation=np.array([interval.mean for interval in intervals]),
            low=np.array([interval.low for interval in intervals]),
            high=np.array([interval.high for interval in intervals]),
            cosine=np.array([interval.mean for interval in cosines]),
            pairwise=compared.scores(true, lambda a, b: identification(a, b).pairwise),
            rise=course_rise(
                compared,
                true,
                rng=self._rng("times", course.site),
                resamplings=self._settings.resamplings,
            ),
        )

    def _check_dense(self, fits: int) -> None:
        """Raise `DataError` where so many dense layers take too long."""
        if self._settings.decoder != "dense":
            return
        y, x = self._folds[0].training
        work = 4.0 * y.size * x.shape[1] * self._settings.epochs * fits
        if work > _LONGEST_DENSE:
            raise DataError(
                f"{fits} dense layers of {self._settings.epochs:,} epochs would take hours: "
                "take fewer --epochs, or another --decoder for this"
            )

    def _rng(self, *name: str) -> np.random.Generator:
        return seeds.stream(self._settings.seed, "decoding", self._opened.session_id, *name)


class _Counted:
    """A decoder that says how many of its fits are done."""

    def __init__(self, decoder: Decoder, progress: Callable[[str], None]) -> None:
        self._decoder, self._progress = decoder, progress
        self._what, self._done, self._total = "", 0, 1

    def begin(self, what: str, total: int) -> None:
        """Say what the next fits are for, and how many they are."""
        self._what, self._done, self._total = what, 0, total

    def fit(self, responses: ArrayLike, latents: ArrayLike) -> LinearDecoder:
        """Fit as the decoder does."""
        self._done += 1
        words = self._what
        if self._total > 1:
            words = f"{words}: {self._done} of {self._total}"
        self._progress(words)
        if not isinstance(self._decoder, Dense):
            return self._decoder.fit(responses, latents)
        epochs = self._decoder.epochs

        def told(epoch: int) -> None:
            if epoch % 10 == 0:
                self._progress(f"{words}, epoch {epoch} of {epochs}")

        return self._decoder.fit(responses, latents, each_epoch=told)


def _folds(
    data: DecodingData, settings: DecodingSettings, rng: np.random.Generator
) -> list[_Fold]:
    """Return what is fitted on what, with z-scores of the training showings."""
    train, codes = data.train.mean().mean, data.train.codes
    statistics = settings.statistics
    if data.test is not None:
        scale = response_scale(data.train.responses)
        test = data.test.mean().mean
        return [
            _Fold(
                (scale.scores(train), codes),
                (scale.scores(test, statistics=statistics), data.test.codes),
                np.arange(len(train)),
                np.arange(len(test)),
            )
        ]
    fold_of = rng.permutation(np.arange(len(train)) % settings.folds)
    folds: list[_Fold] = []
    for i in range(settings.folds):
        fitted, left = np.flatnonzero(fold_of != i), np.flatnonzero(fold_of == i)
        scale = response_scale(data.train.responses[np.isin(data.train.item, fitted)])
        folds.append(
            _Fold(
                (scale.scores(train[fitted]), codes[fitted]),
                (scale.scores(train[left], statistics=statistics), codes[left]),
                fitted,
                left,
            )
        )
    return folds


def _fit_words(fits: list[LinearDecoder]) -> str:
    """Say what is worth knowing of fits."""
    first = fits[0]
    if isinstance(first, RidgeDecoder):
        penalties = sorted({f.penalty for f in fits if isinstance(f, RidgeDecoder)})
        return f"penalty {' and '.join(f'{penalty:g}' for penalty in penalties)}"
    if isinstance(first, GLMDecoder):
        if not first.ridge:
            return f"W W' inverted as it is, condition {first.condition:.2g}"
        return f"W W' with a ridge of {first.ridge:.3g}, condition {first.condition:.2g}"
    if isinstance(first, DenseDecoder):
        return f"loss of the last epoch {first.losses[-1]:.4g}"
    return ""


def _added(counts: list[Mapping[str, int]]) -> dict[str, int]:
    names = dict.fromkeys(name for count in counts for name in count)
    return {name: sum(count.get(name, 0) for count in counts) for name in names}
