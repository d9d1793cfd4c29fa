"""What an NWB file's columns hold, in words: units of scores, states, two clocks of a session.

Knows a recording; knows nothing of NWB.
"""

from __future__ import annotations

from collections.abc import Collection

from evolver.config import Config
from evolver.export.session_facts import score_unit
from evolver.recording import Recording

FITNESS_STATES = {
    "blocks": "committed blocks that the fitness had learnt of, this one included; -1: none",
    "showings": "valid showings of references that mean and squares are of; -1: none",
    "target_showings": (
        "showings of the target's image, or images that a best one was among; -1: none"
    ),
    "mean": (
        "mean response to the references so far, spikes/s: of each scored unit, in the order "
        "of 'units' in the thread's fitness in scratch/threads, then of each of its 'others'"
    ),
    "squares": (
        "sum of the squared differences from that mean over showings, (spikes/s)^2; units as "
        "in mean"
    ),
    "target": (
        "what the scored units' responses were compared with, spikes/s; units in the order of "
        "'units' in the thread's fitness in scratch/threads"
    ),
}
"""Column of what a fitness had learnt with each block, a row a block, to what it holds."""

_STATES = {
    "generation": "generations learnt from",
    "popsize": "codes drawn a generation",
    "given": "first population given by the session, latent units, while it is due; else empty",
    "mean": "mean of the search distribution, latent units",
    "sigma": "step size, or spread of the first codes, latent units",
    "center": "centre of the search distribution, latent units",
    "path_s": "evolution path of the step size, without unit",
    "path_c": "evolution path of the covariance, without unit",
    "var": "diagonal of the covariance without the step size's square, without unit",
    "base": "code that samples are drawn around, latent units",
    "radius": "length of every code, latent units",
    "best": "code of the highest score so far, latent units",
    "best_score": "its score; the least number there is before any",
    "seed": "of the library's random stream",
}
_FACTORED = {  # of cholesky and what is built on it; elsewhere these names mean something else
    "update_every": "generations from one update of the covariance to the next; 0: never",
    "path_v": "evolution path of the covariance in the coordinates of the draws, without unit",
    "scale": "factor s of A = s (I + V'TV), whose A'A is the covariance; V is rows, T forward",
    "rows": "matrix V, a row an update of the covariance: A = s (I + V'TV), s is scale",
    "forward": "matrix T of A = s (I + V'TV)",
    "inverse": "matrix U of the inverse of A, (I - V'UV) / s",
}


def state_words(key: str, keys: Collection[str]) -> str:
    """Return what an optimizer's number or array is.

    Parameters
    ----------
    key : its name
    keys : of all in the state, which tell the optimizer's kind
    """
    words = _STATES | (_FACTORED if "forward" in keys else {})
    name = key.rpartition("/")[2]
    if known := words.get(name):
        return known
    return (
        f"'{key}' of the optimizer's state before the generation was asked for; what it is, "
        "its code says: evolver/optimizers"
    )


def score_units(recording: Recording) -> str:
    """Return what every thread's scores are counted in, in words."""
    units = {thread.name: score_unit(thread.fitness) for thread in recording.threads}
    if len(set(units.values())) == 1:
        return next(iter(units.values()))
    return ", ".join(f"{unit} of {name}" for name, unit in units.items())


def two_clocks(recording: Recording) -> str:
    """Return what must be known of times of a session whose rig's clock went as it liked."""
    if not (recording.presentations["onset_source"] == "simulated").any():
        return ""
    return (
        ". Onsets were simulated: trials and spikes run on the time that the images would have "
        "taken, blocks and events on the clock of the computer, which may be faster; the two "
        "begin together and do not line up"
    )


def shown_at(config: Config | None) -> str:
    """Return how large images were on the screen, and where; empty where it is not known."""
    if config is None:
        return ""
    right, up = config.presentation.position_deg
    return (
        f". Shown with the longer side {config.presentation.size_deg:g} degrees of visual "
        f"angle, the centre {right:g} right of fixation and {up:g} above, degrees"
    )


def ending(recording: Recording) -> str:
    """Return how the session ended, as a sentence."""
    if not recording.complete:
        return "The session was cut short: no end of it was recorded."
    return f"The session ended: {recording.end_reason or 'no reason is recorded'}."


ACTIVATIONS = (
    "what each of activation_units answers to each image, a row an id of stimulus/images, as "
    "the network puts it out (no unit); NaN where the image's pixels are lost"
)
SETTINGS = (
    "JSON: every setting of the session, those that its file leaves out too, as this version "
    "of evolver has them; session_file is the file as typed"
)
