"""Planted truth is found: how well, where, when; noise is not, and what fails is absent."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evolver import generators, recording
from evolver.analysis.decoding import LeastSquares
from evolver.analysis.decoding_responses import response_scale
from evolver.errors import DataError
from evolver.generators.stylegan3 import convert_stylegan3
from evolver.reconstruction import measures, study
from evolver.reconstruction.measures import code_measures, image_measures
from evolver.reconstruction.results import DecodedImages, DecodingSettings
from evolver.reconstruction.sets import WindowChoice, read_decoding_data
from evolver.reconstruction.study import decode_session
from evolver.reconstruction.tables import TABLE_NAMES, decoding_tables
from tests.reconstruction.made import LATENCIES, PlantedSet, optimum, planted
from tests.soak import further

D, TOLD = 64, {"V1": (50.0, 150.0), "IT": (100.0, 200.0)}
CHOICE = WindowChoice(TOLD, other=(50.0, 150.0))
QUICK = DecodingSettings(sets=20, draws=0, resamplings=0, course_ms=None, folds=4)
GOLDEN = Path(__file__).parent.parent / "golden" / "generators"
NO_GENERATOR = "the session's lab:net is a program"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    sets = [PlantedSet("train", "train", 400), PlantedSet("test", "test", 60, repeats=2)]
    return planted(
        tmp_path_factory.mktemp("told"), sets, d=D, each=12, noise=60, abort=0.02, weights=1.0
    )


def decoded(made, settings, *, generator=NO_GENERATOR, without_test=False):
    with recording.read(made.path) as opened:
        data = read_decoding_data(opened, windows=CHOICE)
        if without_test:
            data = replace(data, test=None)
        return decode_session(
            opened, data, settings, generator=generator, features="no network"
        )


@pytest.fixture(scope="module")
def session(made):
    settings = DecodingSettings(sets=199, draws=4, resamplings=10, course_ms=(0.0, 150.0))
    return decoded(made, settings)


@pytest.fixture(scope="module")
def quick(made):
    return decoded(made, QUICK)


def of(session, name):
    return next(one for one in session.measures if one.name == name)


def test_codes_are_decoded_nearly_as_well_as_can_be(session, made):
    best = optimum(made, 20, 2).mean()  # windows of 100 ms are 20 bins
    found = of(session, "code correlation")
    assert best - 0.08 < found.value.value < best + 0.03
    assert found.low < found.value.value < found.high
    assert found.high - found.low < 0.1
    assert found.n == 60


def test_information_is_significant_and_has_its_chance(session):
    for one in session.measures:
        assert one.p == 1 / 200
        assert len(one.null) == 199
        assert one.chance == pytest.approx(one.null.mean())
    assert of(session, "pairs told apart").chance == pytest.approx(0.5, abs=0.02)
    assert of(session, "first of all").chance == pytest.approx(1 / 60, abs=0.005)
    assert of(session, "cosine about the mean").chance == pytest.approx(0, abs=0.01)
    assert np.median(session.ranks) == 1


def test_sites_are_told_apart(session):
    sites = {site.site: site for site in session.sites}
    assert list(sites) == ["all", "V1", "IT", "out"]
    r = {name: site.correlation.mean for name, site in sites.items()}
    assert r["all"] > max(r["V1"], r["IT"]) > min(r["V1"], r["IT"]) > 0.25
    assert abs(r["out"]) <= 0.02
    assert abs(sites["out"].cosine.mean) <= 0.02
    for name in ("V1", "IT"):
        assert sites[name].region.p_outside == 1 / 5  # each is missed
    assert sites["out"].region.p_inside == 1
    assert abs(sites["out"].region.inside.value) < 0.06


def test_onsets_are_found(session):
    rises = {one.site: one.rise for one in session.times}
    for area in ("V1", "IT"):
        assert abs(rises[area].t0_ms - LATENCIES[area]) <= 10
        assert rises[area].low_ms <= rises[area].t0_ms <= rises[area].high_ms
    assert rises["out"].reason.startswith("no rise")
    before = {one.site: one.correlation[one.centres_ms < 30] for one in session.times}
    assert all(np.abs(r).mean() < 0.06 for r in before.values())


class Codes:
    """A generator whose images are its codes."""

    name = "codes"

    def render(self, codes):
        return np.asarray(codes)

    def first_weights(self):
        return None


class TestWalks:
    """From one item to another, in three spaces, or four."""

    def walked(self, made, *, encoder=None, walks=(("3", "17"),), without_test=False):
        with recording.read(made.path) as opened:
            data = read_decoding_data(opened, windows=CHOICE)
            scale = response_scale(data.train.responses)
            if without_test:
                data = replace(data, test=None)
            session = decode_session(
                opened,
                data,
                replace(QUICK, images=0, walks=walks),
                generator=Codes(),
                features="no network",
                encoder=encoder,
            )
        return session, scale

    def test_rows_begin_and_end_at_the_items(self, made):
        session, _ = self.walked(made)
        (walk,) = session.walks
        assert (walk.first, walk.second) == ("3", "17")
        np.testing.assert_allclose(walk.images["true"][[0, -1]], session.true[[3, 17]])
        for row in ("decoded", "responses"):
            np.testing.assert_allclose(walk.images[row][[0, -1]], session.decoded[[3, 17]])
        # On the way, a path of responses is no path of codes.
        middle = len(walk.shares) // 2
        assert not np.allclose(walk.images["decoded"][middle], walk.images["responses"][middle])
        lengths = np.linalg.norm(walk.images["true"], axis=1)
        straight = np.linspace(lengths[0], lengths[-1], len(lengths))
        np.testing.assert_allclose(lengths, straight)

    @pytest.mark.soak
    def test_an_encoder_that_says_nothing_is_decoded_as_the_mean_response(self, made):
        c = 36

        def silent(images):
            return np.broadcast_to(scale.mean, (len(images), c))

        with recording.read(made.path) as opened:
            scale = response_scale(read_decoding_data(opened, windows=CHOICE).train.responses)
        session, _ = self.walked(made, encoder=silent)
        row = session.walks[0].images["encodings"]
        np.testing.assert_allclose(row, np.broadcast_to(row[0], row.shape), atol=1e-9)

    @pytest.mark.soak
    def test_what_cannot_be_walked_is_absent_with_its_reason(self, made, quick, monkeypatch):
        monkeypatch.setattr(measures, "MOST_IDENTIFIED", 50)
        session, _ = self.walked(made, walks=(("3", "x"),))
        assert "between two of the test items 0, 1" in session.absent["walks"]
        session, _ = self.walked(made, without_test=True)
        assert "there is no test set" in session.absent["walks"]
        assert "walks" not in quick.absent


def test_the_decoder_is_what_it_says(made):
    """z-scores of the training showings, repeats averaged, one least-squares map."""
    found = decoded(made, replace(QUICK, decoder="least-squares"))
    with recording.read(made.path) as opened:
        data = read_decoding_data(opened, windows=CHOICE)
    scale = response_scale(data.train.responses)
    fit = LeastSquares().fit(
        scale.scores(data.train.responses), data.train.codes[data.train.item]
    )
    means = [data.test.responses[data.test.item == i].mean(axis=0) for i in range(60)]
    np.testing.assert_allclose(found.decoded, fit.predict(scale.scores(np.array(means))))
    # 960 channels of 3 areas: occluded by zeros, the training mean of a z-score
    only = np.where(np.array(made.areas) == "IT", scale.scores(np.array(means)), 0)
    r = [
        np.corrcoef(a, b)[0, 1] for a, b in zip(found.true.T, fit.predict(only).T, strict=True)
    ]
    site = next(site for site in found.sites if site.site == "IT")
    assert site.correlation.mean == pytest.approx(np.mean(r))


@pytest.mark.soak
def test_published_habits_are_a_mode(made, quick):
    paper = decoded(made, QUICK.as_published)
    assert not np.allclose(quick.decoded, paper.decoded)
    out = next(site for site in paper.sites if site.site == "out")
    honest = next(site for site in quick.sites if site.site == "out")
    assert out.correlation.mean < honest.correlation.mean - 0.03  # it carries -x / (n - 1)


@pytest.mark.parametrize("decoder", ["inverted-glm", further("dense")])
def test_other_decoders(made, decoder):
    found = decoded(made, replace(QUICK, decoder=decoder, epochs=60))
    assert found.fit
    if decoder == "inverted-glm":
        assert of(found, "code correlation").value.value > 0.2
    else:
        assert of(found, "pairs told apart").value.value > 0.5


def test_a_dense_layer_is_not_fitted_for_hours(made, monkeypatch):
    monkeypatch.setattr(study, "_LONGEST_DENSE", 1.0)
    settings = replace(QUICK, decoder="dense", epochs=1, draws=1, course_ms=(0.0, 100.0))
    absent = decoded(made, settings).absent
    assert "would take hours" in absent["times"]
    assert "would take hours" in absent["regions"]


def test_without_a_test_set_items_are_left_out_in_turn(made, monkeypatch):
    monkeypatch.setattr(measures, "MOST_IDENTIFIED", 50)
    found = decoded(made, replace(QUICK, course_ms=(60.0, 110.0)), without_test=True)
    assert found.held_out == "no test set: items left out in turn, 4 folds"
    assert len(found.items) == found.train_items == len(found.decoded)
    assert 0.35 < of(found, "code correlation").value.value < 0.6
    assert of(found, "pairs told apart").n == 50
    out = next(site for site in found.sites if site.site == "out")
    assert abs(out.correlation.mean) <= 0.02
    assert found.times
    assert found.reliability.reason.startswith("0 of")


@pytest.mark.soak
@pytest.mark.parametrize("seed", [0, 1])
def test_left_out_items_of_noise_have_no_code_in_their_own_decoded_one(made, monkeypatch, seed):
    """Each decoded code is near the mean of the other folds' codes, and that has no p."""
    monkeypatch.setattr(measures, "MOST_IDENTIFIED", 50)
    rng = np.random.default_rng(seed)
    with recording.read(made.path) as opened:
        data = read_decoding_data(opened, windows=CHOICE)
        noise = rng.normal(size=data.train.responses.shape)
        data = replace(data, train=replace(data.train, responses=noise), test=None)
        found = decode_session(
            opened, data, replace(QUICK, sets=120), generator=NO_GENERATOR, features="none"
        )
    cosine = of(found, "code cosine")
    assert cosine.value.value < cosine.floor + 0.03
    assert cosine.value.value < cosine.chance + 0.02  # whose codes are the items, here
    for name in ("code cosine", "code similarity", "code correlation"):
        assert of(found, name).p > 0.01
    all_items = np.linalg.norm(found.decoded - found.true.mean(axis=0), axis=1).mean()
    assert all_items > 0.2  # what is left out moves the mean so far at least


def test_a_share_of_items_has_an_interval(session):
    first = of(session, "first of all")
    assert first.low < first.value.value
    assert first.low < first.high <= 1


def test_what_fails_is_absent_and_the_rest_is_there(made, quick, monkeypatch):
    assert quick.absent == {
        "attributes": NO_GENERATOR,
        "images": NO_GENERATOR,
        "image measures": "there are no images",
        "images of sites": "there are no images",
        "times": "no time course was asked for",
        "regions": "no decoders with and without a site were asked for (--draws)",
    }

    def failing(*_args, **_options):
        raise DataError("it <failed>")

    monkeypatch.setattr(study, "code_measures", failing)
    found = decoded(made, QUICK)
    assert found.absent["code measures"] == "it <failed>"
    assert found.sites

    def stopped(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(study, "code_measures", stopped)
    found = decoded(made, QUICK)
    assert found.stopped
    assert not found.sites
    assert found.absent["code measures"] == found.absent["regions"] == study._STOPPED
    assert found.reliability is not None


def test_tables_hold_what_was_found(session):
    tables = {table.name: table for table in decoding_tables(session)}
    assert tuple(tables) == TABLE_NAMES
    for table in tables.values():
        assert all(len(row) == len(table.columns) for row in table.rows)
    rows = {row[0]: dict(zip(tables["measures"].columns, row, strict=True))
            for row in tables["measures"].rows}  # fmt: skip
    assert rows["code correlation"]["value"] == of(session, "code correlation").value.value
    assert rows["code correlation"]["floor"] is None
    assert rows["code cosine"]["floor"] is not None
    assert len(tables["items"].rows) == 60
    assert [row[0] for row in tables["rises"].rows] == ["V1", "IT", "out", "all"]
    channels = tables["channels"].rows
    assert [row[2] for row in channels] == list(session.channels.areas)
    ceilings = np.array([row[-1] or 0 for row in channels[:24]])
    assert np.median(ceilings) > 0.8


@pytest.mark.soak
def test_chance_is_at_its_level():
    """Of codes and images that tell nothing, p is at most 0.05 in one session of twenty."""
    rng = np.random.default_rng(3)
    below = {}
    for _ in range(25):
        true, found = rng.standard_normal((2, 12, 4))
        pixels = rng.integers(0, 255, (2, 6, 16, 16, 3), dtype=np.uint8)
        images = DecodedImages(np.arange(6), *pixels, 0)
        judged = [
            *code_measures(
                true, found, np.zeros(4), lambda n, rng: rng.standard_normal((n, 4)),
                rng=rng, sets=19,
            ),
            *image_measures(
                images, lambda images: images.reshape(len(images), -1)[:, ::40] - 127.0, "net",
                rng=rng, sets=19,
            ),
        ]  # fmt: skip
        for one in judged:
            below[one.name] = below.get(one.name, 0) + (one.p <= 0.05)
    assert len(below) == 10
    assert max(below.values()) <= 5  # of 25, where 1.25 are expected


def test_images_that_are_the_same_are_told():
    rng = np.random.default_rng(4)
    pixels = rng.integers(0, 255, (9, 24, 24, 3), dtype=np.uint8)
    images = DecodedImages(np.arange(9), pixels, pixels, 0)
    found = image_measures(
        images, lambda images: images.reshape(len(images), -1) / 255.0, "net", rng=rng, sets=99
    )
    assert [one.name for one in found] == [
        "luminance correlation", "SSIM", "feature cosine, net", "feature similarity, net",
    ]  # fmt: skip
    for one in found:
        assert one.value.value == pytest.approx(1)
        assert one.p <= 0.03
    grey = replace(images, decoded=np.full_like(pixels, 9))
    undefined = image_measures(grey, None, "", rng=rng, sets=9)[0]
    assert not undefined.value.defined
    assert not undefined.has_p


@pytest.fixture(scope="module")
def style_nets(tmp_path_factory):
    """A small network in the official format, its code z or w."""
    out = tmp_path_factory.mktemp("stylegan3") / "t.safetensors"
    convert_stylegan3(GOLDEN / "stylegan3-t-tiny.pkl", out)
    return [
        generators.load("stylegan3", weights=out, latent=latent, truncation=1.0)
        for latent in ("z", "w")
    ]


@pytest.mark.soak
def test_codes_of_two_spaces_are_compared_in_one(style_nets, tmp_path):
    """Decoded z is mapped to w; of a random network, w decoded itself comes as near."""
    of_z, of_w = style_nets
    rng = np.random.default_rng(5)
    z = {"train": rng.standard_normal((120, of_z.d)), "test": rng.standard_normal((30, of_z.d))}
    w = {name: of_z.as_w(codes) for name, codes in z.items()}
    spread = w["train"].std(axis=0)
    found = {}
    for space, codes, generator in (("z", z, of_z), ("w", w, of_w)):
        folder = tmp_path / space
        folder.mkdir()
        sets = [
            PlantedSet(name, name, len(codes[name]), codes=codes[name], told=w[name] / spread)
            for name in ("train", "test")
        ]
        made = planted(folder, sets, d=generator.d, each=8, noise=20, abort=0, seed=6)
        with recording.read(made.path) as opened:
            data = read_decoding_data(opened, windows=CHOICE)
            found[space] = decode_session(
                opened,
                data,
                replace(QUICK, images=4),
                generator=generator,
                features="none",
                in_w=True,
            )
    assert [one.space for one in found.values()] == ["w", ""]
    r = {space: of(one, "code correlation").value.value for space, one in found.items()}
    assert min(r.values()) > 0.7
    assert r["w"] == pytest.approx(r["z"], abs=0.05)
    mapped = of_z.as_w(found["z"].true).T, of_z.as_w(found["z"].decoded).T
    expected = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(*mapped, strict=True)])
    assert r["z"] == pytest.approx(expected)
    for one in found.values():
        assert of(one, "pairs told apart").p < 0.05
        assert one.attributes.scores.true.shape[1] == of_w.d
        assert one.images.true.shape[0] == 4
