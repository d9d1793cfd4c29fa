"""Rotated subjects are found again; Procrustes and levels against scipy and the equations."""

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes
from scipy.spatial import procrustes

from evolver.analysis.alignment import SRM, Hyperalignment, inter_subject_correlation
from evolver.analysis.decoding import Ridge
from evolver.analysis.latent_metrics import identification
from evolver.errors import DataError

BOUNDS = [(0.0, 0.99), (0.5, 0.77), (1.0, 0.45)]


def rotated(noise, *, widths=(50, 50, 50, 50), trials=1000, seed=0):
    """Subjects that are turns of the same responses, and noise of their own."""
    rng = np.random.default_rng(seed)
    truth = rng.standard_normal((trials, max(widths)))
    return [
        truth @ np.linalg.qr(rng.standard_normal((len(truth.T), len(truth.T))))[0][:, :width]
        + noise * rng.standard_normal((trials, width))
        for width in widths
    ]


def viewers(noise, *, trials=1000):
    """Latents that are linear in shared responses, and four subjects, turned, with noise."""
    rng = np.random.default_rng(3)
    shared = rng.standard_normal((trials, 50))
    latents = shared @ rng.standard_normal((50, 4)) / np.sqrt(50)
    turns = [np.linalg.qr(rng.standard_normal((50, 50)))[0] for _ in range(4)]
    subjects = [shared @ turn + noise * rng.standard_normal((trials, 50)) for turn in turns]
    return latents, turns, subjects


def halves(subjects):
    return [s[:500] for s in subjects], [s[500:] for s in subjects]


@pytest.mark.parametrize(("noise", "bound"), BOUNDS)
def test_four_rotated_subjects_lie_on_one_another(noise, bound):
    train, test = halves(rotated(noise))
    assert abs(inter_subject_correlation(test).value) < 0.06
    fit = Hyperalignment().fit(train)
    r = inter_subject_correlation(fit.transform(test)).value
    assert bound <= r <= 1 / (1 + noise**2) + 0.02


@pytest.mark.parametrize(("noise", "bound"), BOUNDS)
def test_the_shared_response_model_does_as_well(noise, bound):
    train, test = halves(rotated(noise))
    r = inter_subject_correlation(SRM().fit(train).transform(test)).value
    assert bound <= r <= 1 / (1 + noise**2) + 0.02


@pytest.mark.parametrize("noise", [0.5, 1.0])
@pytest.mark.parametrize("method", [Hyperalignment(), SRM()], ids=["hyper", "shared"])
def test_a_decoder_of_aligned_subjects_is_near_one_of_the_space_that_they_share(method, noise):
    """Responses of four subjects, averaged: turned as fitted, by the truth, not at all."""
    latents, turns, subjects = viewers(noise)
    train, test = slice(0, 500), slice(500, None)
    truth = [s @ turn.T for s, turn in zip(subjects, turns, strict=True)]
    fit = method.fit([s[train] for s in subjects])
    identified = {}
    for name, tables in (("truth", truth), ("aligned", fit.transform(subjects)),
                         ("apart", subjects)):  # fmt: skip
        mean = np.mean(tables, axis=0)
        decoder = Ridge().fit(mean[train], latents[train])
        decoded = decoder.predict(mean[test])
        identified[name] = identification(latents[test], decoded).pairwise.value
    assert 0.9 < identified["truth"] < 0.99  # no ceiling hides a difference
    assert abs(identified["aligned"] - identified["truth"]) < 0.02
    assert identified["apart"] < identified["truth"] - 0.05


def test_noise_is_not_aligned_in_trials_that_were_not_fitted():
    train, test = halves(rotated(1.0))
    rng = np.random.default_rng(9)
    test = [s[rng.permutation(500)] for s in test]
    fit = Hyperalignment().fit(train)
    assert abs(inter_subject_correlation(fit.transform(test)).value) < 0.03
    leak = Hyperalignment().fit([np.vstack([a, b]) for a, b in zip(train, test, strict=True)])
    assert inter_subject_correlation(leak.transform(test)).value > 0.05


def zscored(table):
    return (table - table.mean(0)) / table.std(0)


def turned(source, target):
    """What scipy says of turn and scale, brought to the target's place and size."""
    s, t = source - source.mean(0), target - target.mean(0)
    turn, scale = orthogonal_procrustes(s, t)
    return s @ turn * scale / (s**2).sum() + target.mean(0)


def test_the_levels_are_as_described():
    subjects = [zscored(s) for s in rotated(0.5, widths=(6, 6, 6), trials=40)]
    common, mapped = subjects[0], [subjects[0]]
    for subject in subjects[1:]:
        mapped.append(zscored(turned(subject, common)))
        common = zscored((common + mapped[-1]) / 2)
    for i in range(3):
        mapped[i] = zscored(turned(subjects[i], zscored((3 * common - mapped[i]) / 2)))
    common = zscored(sum(mapped) / 3)
    expected = [turned(subject, common) for subject in subjects]
    fit = Hyperalignment().fit(subjects)
    np.testing.assert_allclose(fit.common, common, atol=1e-10)
    for ours, theirs in zip(fit.transform(subjects), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-10)
        assert procrustes(common, ours)[2] == pytest.approx(procrustes(common, theirs)[2])


def test_a_reflection_and_other_sizes_are_undone():
    subject = rotated(0, widths=(5, 5), trials=30)[0]
    mirror = subject * [-3.0, 1, 1, 1, 100] + 7
    aligned = Hyperalignment().fit([subject, mirror]).transform([subject, mirror])
    np.testing.assert_allclose(aligned[0], aligned[1], atol=1e-9)


def test_narrow_subjects_are_padded_and_the_widest_begins():
    train, test = halves(rotated(0.1, widths=(12, 20, 15)))
    fit = Hyperalignment(repeats=0).fit(train)
    aligned = fit.transform(test)
    assert [a.shape for a in aligned] == [(500, 20)] * 3
    alone = Hyperalignment(repeats=0).fit([train[1], train[0], train[2]])
    np.testing.assert_allclose(fit.common, alone.common, atol=1e-9)
    assert inter_subject_correlation(aligned).value > 0.6


def test_fewer_dimensions_hold_what_is_shared():
    rng = np.random.default_rng(4)
    shared = rng.standard_normal((1000, 3))
    subjects = [
        shared @ rng.standard_normal((3, 30)) + rng.standard_normal((1000, 30))
        for _ in range(4)
    ]
    train, test = halves(subjects)
    for method in (Hyperalignment(dimensions=3), SRM(dimensions=3)):
        aligned = method.fit(train).transform(test)
        assert aligned[0].shape == (500, 3)
        assert inter_subject_correlation(aligned).value > 0.9
    all_ = inter_subject_correlation(Hyperalignment().fit(train).transform(test)).value
    assert all_ < 0.9


def test_whitening_is_canonical_correlation_at_its_end():
    """With alpha 0 each subject's training responses have no correlations of their own."""
    train, test = halves(rotated(0.5, widths=(8, 8)))
    train[1] = train[1] @ np.diag(np.geomspace(0.1, 10, 8)) @ np.ones((8, 8)) + train[1]
    fit = Hyperalignment(regularisation=0.0).fit(train)
    white = fit.transform(train)
    covariance = np.cov(white[1].T)
    np.testing.assert_allclose(covariance, covariance[0, 0] * np.eye(8), atol=1e-9)
    between = Hyperalignment(regularisation=0.5).fit(train).transform(test)
    assert np.isfinite(between[0]).all()
    dead = [train[0], np.column_stack([train[1], np.full(500, 3.0)])]
    assert np.isfinite(Hyperalignment(regularisation=0.0).fit(dead).common).all()


def test_the_shared_model_is_orthonormal_and_its_loss_never_rises():
    train, _ = halves(rotated(1.0, widths=(10, 14, 9)))
    z = [zscored(s) for s in train]
    losses = []
    for iterations in range(1, 8):
        fit = SRM(dimensions=5, iterations=iterations).fit(train)
        losses.append(
            sum(
                ((s - fit.common @ way.turn.T) ** 2).sum()
                for s, way in zip(z, fit.maps, strict=True)
            )
        )
        for way in fit.maps:
            np.testing.assert_allclose(way.turn.T @ way.turn, np.eye(5), atol=1e-10)
    assert (np.diff(losses) <= 1e-6).all()
    assert losses[-1] < losses[0]


def test_scores_are_of_the_training_trials_or_in_paper_mode_of_their_own():
    train, test = halves(rotated(0.5, widths=(6, 6)))
    shifted = [s + 5 for s in test]
    fit = SRM(dimensions=6).fit(train)
    for way, ours, trained in zip(fit.maps, fit.transform(shifted), train, strict=True):
        assert np.abs(ours.mean(0)).max() > 1
        np.testing.assert_allclose(way.scale.mean, trained.mean(0))
    for ours in fit.transform(shifted, statistics="paper"):
        np.testing.assert_allclose(ours.mean(0), 0, atol=1e-10)


def test_what_cannot_be_aligned_is_refused():
    a = np.random.default_rng(0).standard_normal((9, 4))
    for method in (Hyperalignment(), SRM(dimensions=2)):
        with pytest.raises(DataError, match="two or more, with the same trials"):
            method.fit([a])
        with pytest.raises(DataError, match=r"\(9, 4\), \(8, 4\)"):
            method.fit([a, a[1:]])
        with pytest.raises(DataError, match="subject 1 must be finite"):
            method.fit([a, a * np.nan])
        with pytest.raises(DataError, match="the 2 that were fitted; got 1"):
            method.fit([a, a]).transform([a])
        with pytest.raises(DataError, match="4 channels of the scale; got 3"):
            method.fit([a, a]).transform([a, a[:, 1:]])
    with pytest.raises(DataError, match="4 at most"):
        SRM().fit([a, a])
    with pytest.raises(DataError, match="1 to 4"):
        Hyperalignment(dimensions=5).fit([a, a])
    with pytest.raises(DataError, match="nothing to align"):
        Hyperalignment().fit([a, np.ones((9, 4))])
    with pytest.raises(DataError, match="0 to 1"):
        Hyperalignment(regularisation=1.5)
    with pytest.raises(DataError, match="align them first"):
        inter_subject_correlation([a, a[:, 1:]])
    assert "no dimension varies" in inter_subject_correlation([a, np.ones((9, 4))]).reason
