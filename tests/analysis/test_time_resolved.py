"""Planted latencies are found in their sites; what does not rise has no t0, and says why."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolver.analysis.decoding import LeastSquares, Ridge
from evolver.analysis.decoding_responses import response_scale
from evolver.analysis.latent_metrics import mean_correlation
from evolver.analysis.time_resolved import course_rise, decoded_courses, fit_rise
from evolver.errors import DataError
from tests.soak import examples, further

EDGES = np.arange(-100, 201, 10.0)
LATENCIES = {"V1": 42.0, "IT": 95.0}
SITES = ["V1"] * 8 + ["IT"] * 8 + ["out"] * 4


def recording(n, seed):
    """Responses that begin to tell latents at each site's latency, in 10-ms bins."""
    w = np.random.default_rng(60).standard_normal((4, 20))
    rng = np.random.default_rng(seed)
    latents = rng.standard_normal((n, 4))
    told = np.zeros((20, 30))
    for site, latency in LATENCIES.items():
        share = np.clip((EDGES[1:] - latency) / 10, 0, 1)
        told[np.array(SITES) == site] = share
    psths = (latents @ w)[..., None] * told + 2 * rng.standard_normal((n, 20, 30)) + 5
    return psths, latents


@pytest.fixture(scope="module")
def courses():
    test = recording(150, 2)
    training = recording(600, 1)
    return (
        {
            course.site: course
            for course in decoded_courses(LeastSquares(), training, test, SITES, edges_ms=EDGES)
        },
        training,
        test,
    )


@pytest.mark.parametrize("site", [further("V1"), "IT"])
def test_a_planted_latency_is_found(courses, site):
    by_site, _, test = courses
    rise = course_rise(by_site[site], test[1], rng=np.random.default_rng(0), resamplings=30)
    assert not rise.reason
    assert abs(rise.t0_ms - LATENCIES[site]) <= 4
    assert rise.low_ms <= rise.t0_ms <= rise.high_ms
    assert rise.high_ms - rise.low_ms < 15
    assert rise.explained > 0.9
    assert rise.low == pytest.approx(0, abs=0.05)
    assert rise.height > 0.4
    assert (rise.resamplings, rise.failed) == (30, 0)


def test_a_site_without_information_does_not_rise(courses):
    by_site, _, test = courses
    rise = course_rise(by_site["out"], test[1], rng=np.random.default_rng(0))
    assert np.isnan(rise.t0_ms)
    assert rise.reason.startswith("no rise: a sigmoid explains")
    assert list(by_site) == ["V1", "IT", "out", "all"]
    assert by_site["all"].channels == 20


def test_a_window_is_a_decoder_of_its_own(courses):
    by_site, training, test = courses
    y, shown = training[0][:, :8, 20], test[0][:, :8, 20]
    scale = response_scale(y)
    fit = LeastSquares().fit(scale.scores(y), training[1])
    expected = fit.predict(scale.scores(shown))
    np.testing.assert_allclose(by_site["V1"].decoded[20], expected, atol=1e-9)
    assert by_site["V1"].centres_ms[20] == 105
    score = by_site["V1"].scores(test[1])[20]
    assert score == pytest.approx(mean_correlation(test[1], expected).value)
    wide = decoded_courses(LeastSquares(), training, test, width_ms=20, edges_ms=EDGES)[0]
    y, shown = training[0][..., 20:22].mean(-1), test[0][..., 20:22].mean(-1)
    scale = response_scale(y)
    fit = LeastSquares().fit(scale.scores(y), training[1])
    np.testing.assert_allclose(wide.decoded[10], fit.predict(scale.scores(shown)), atol=1e-9)
    assert len(wide.decoded) == 15


@examples(0.4)
@given(
    st.floats(-60, 160),
    st.floats(0.02, 1.0),
    st.floats(-2, 2),
    st.floats(0.01, 100),
)
def test_a_sigmoid_without_noise_is_found(t0, k, low, height):
    times = EDGES[:-1] + 5
    rise = fit_rise(times, low + height / (1 + np.exp(-k * (times - t0))))
    assert not rise.reason
    assert rise.t0_ms == pytest.approx(t0, abs=1 if k < 0.5 else 5)


def test_noise_rarely_rises():
    rng = np.random.default_rng(0)
    rises = [fit_rise(EDGES[:-1], rng.standard_normal(30)).reason for _ in range(40)]
    assert sum(not reason for reason in rises) <= 10
    assert all(r.startswith(("no rise", "the rise is at the end")) for r in rises if r)


def test_what_does_not_rise_says_why():
    times = EDGES[:-1]
    assert fit_rise(times, np.full(30, 0.1)).reason == "the course is flat"
    assert fit_rise(times, np.where(times < 50, np.nan, 1)[::-1]).reason == "the course is flat"
    few = fit_rise(times, np.where(times < -50, 1, np.nan))
    assert few.reason == "5 windows have a score; 6 are needed"
    falling = fit_rise(times, -np.tanh(times / 30))
    assert falling.reason.startswith("no rise")
    early = fit_rise(times, np.where(times > -99, 1.0, 0.0))
    assert early.reason.startswith("the rise is at the end")


def test_a_rise_of_few_images_has_no_interval():
    """With three images a resampling is often one image thrice, which has no correlation."""
    training, test = recording(300, 1), recording(3, 4)
    course = decoded_courses(Ridge((1.0,)), training, test, edges_ms=EDGES)[0]
    rise = course_rise(
        course, test[1], rng=np.random.default_rng(1), resamplings=20, least_explained=0.3
    )
    assert rise.failed > 0
    none = course_rise(course, test[1], rng=np.random.default_rng(1), resamplings=0)
    assert np.isnan(none.low_ms)


def test_what_does_not_fit_is_refused(courses):
    _, (psths, latents), _ = courses
    rng = np.random.default_rng(0)
    short = (psths[:50], latents[:50])
    with pytest.raises(DataError, match="each of 20 channels"):
        decoded_courses(LeastSquares(), short, short, SITES[1:], edges_ms=EDGES)
    with pytest.raises(DataError, match="named 'all'"):
        decoded_courses(LeastSquares(), short, short, ["all"] * 20, edges_ms=EDGES)
    with pytest.raises(DataError, match="31 ascending times"):
        decoded_courses(LeastSquares(), short, short, edges_ms=EDGES[1:])
    with pytest.raises(DataError, match="once; got 500"):
        decoded_courses(LeastSquares(), short, short, edges_ms=EDGES, width_ms=500)
    with pytest.raises(DataError, match=r"test must be \(m, 20, 30\)"):
        decoded_courses(LeastSquares(), short, (psths[:9, 1:], latents[:9]), edges_ms=EDGES)
    with pytest.raises(DataError, match="presentations, channels, bins"):
        decoded_courses(LeastSquares(), (psths[..., 0], latents), short)
    with pytest.raises(DataError, match="must ascend"):
        fit_rise([1, 0], [1, 2])
    course = decoded_courses(LeastSquares(), short, short, edges_ms=EDGES)[0]
    with pytest.raises(DataError, match="level in"):
        course_rise(course, latents[:50], rng=rng, level=1)
