"""Array functions over responses, scores and codes, anybody's: arrays in, values out.

Of one evolution:

    success               did responses rise: images dealt anew, or the paper's t-tests
    trajectory            a score's course over blocks, with its error
    time_constant         how many blocks until the highest response is near
    attribution           which part of the response rose
    feature_attribution   where in images a unit looks, through a network's features
    tuning                how a unit is tuned along one latent axis

The files that hold them, and more:

    trajectories          courses, best rows, PSTHs from spikes and from counts
    success_tests         success, of images or of published means
    thread_tests          two threads of a session, at the start, the end and their highest
    block_pairs           what these two share: pairs of blocks of many sessions at once
    gaussian_process      a smooth course; any curve of few points
    time_constants        all variants in use, as a table
    time_bins, latencies  rates of windows and bins; when a response begins, peaks, lies
    temporal_attribution  shares of bins of time in an evolution's rise
    psth_differences      how far apart two threads drive their unit
    image_similarity      prototypes of two evolutions, compared by measures handed in
    spatial_attribution   responses correlated with features, and the mask that is left
    nonnegative_factors   a nonnegative matrix as a sum of few products
    axis_tuning           trials along an axis: analysis of variance and three fits
    tuning_shapes         monotonic, unimodal, a bell
    score_agreement       two scores of the same images: ranks, parents, directions

Of responses to images of known codes:

    decoding_responses    windows by area, z-scores, repeats averaged, ceilings
    decoding              four maps from responses to codes, one interface, `linear_decoders`;
                          two have files of their own, `inverted_glm` and `dense_decoder`
    channel_choice        channels chosen by F on training trials; decoding in folds
    latent_metrics        decoded codes beside true ones: cosine, r, which image, chance
    latent_directions     attributes of codes: SeFa's directions, boundaries, groups
    pixel_components      components of pixels, the baseline of latents
    latent_spaces         two latent spaces of a generator decoded, compared in one
    latent_walks          paths between images, in latents, responses and encodings
    imagery               imagined images: which one, by a decoder of what was seen
    site_occlusion        which site a decoder decodes from
    time_resolved         decoders of each window of time, and when they rise
    alignment             subjects in one space: hyperalignment, shared responses

Of many sessions:

    populations           which count, one length with its mask, one scale, mean and error
    success_rates         shares with their intervals, and two of them compared
    t_tests               over experiments, with raw, FDR and Bonferroni marks
    dependent_correlations  two correlations that share a variable
    across_runs           what many runs say together: intervals, and levels compared in pairs
    rank_tests            Wilcoxon's two tests, with their effect size; a mean with its interval
    jackknife             intervals of what is no mean, by leaving images out

Of metrics, images and codes:

    spectra               what the eigenvalues of a metric say
    image_statistics      luminance, contrast, spectrum over scales and angles, of images
    image_quality         Frechet distance of features, with its floor; inception score
    linear_maps           how much of one set of numbers is linear in another, held out

Of responses to many images:

    encoding              kernel ridge on features, penalties by degrees of freedom
    layer_assignment      how well features predict units, which layer each is most like
    electrode_maps        values of units where they lie on their arrays

Of responses to images at places:

    receptive_fields      maps over places, whether there is a field, its Gaussian, sizes

What is undefined is a value with its reason (`quantities`). A setting is the paper's, and its
habit a mode named "paper" where it is not right. Nothing here opens a file, draws, or loads
torch; scikit-learn is loaded by what is fitted, when it is.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evolver.analysis.axis_tuning import tuning
    from evolver.analysis.spatial_attribution import feature_attribution
    from evolver.analysis.success_tests import success
    from evolver.analysis.temporal_attribution import attribution
    from evolver.analysis.time_constants import time_constant
    from evolver.analysis.trajectories import trajectory

__all__ = [
    "attribution",
    "feature_attribution",
    "success",
    "time_constant",
    "trajectory",
    "tuning",
]

_FILES = {
    "attribution": "temporal_attribution",
    "feature_attribution": "spatial_attribution",
    "success": "success_tests",
    "time_constant": "time_constants",
    "trajectory": "trajectories",
    "tuning": "axis_tuning",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  whatever the file holds
    """Load a function's file when it is asked for; those of fits load slowly."""
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_FILES[name]}"), name)
