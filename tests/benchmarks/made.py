"""Outcomes made up for the tests of what is said of them, and optimizers to run."""

import signal
import sys
from typing import ClassVar

import numpy as np

from benchmarks.optimizers.outcomes import MEASURES, Curve, RunOutcome, Spec

SPEC = {
    "world": "w",
    "generator": "mini-texture",
    "norm": 150.0,
    "unit": "mini:fc5:3",
    "networks": "n",
    "noise": "0",
    "seed": 1,
    "optimizer": "cholesky",
    "target": "cholesky",
    "options": {"sigma": 3.0},
    "code": "c",
    "generations": 2,
    "popsize": 4,
    "start": "drawn",
    "at_norm": False,
    "device": "cpu",
}


def outcome(best, *, failed="", mean_image=0.5, **changes):
    spec = Spec(**{**SPEC, **changes})
    curve = Curve(
        evaluations=[4, 8],
        best=[best / 2, best],
        generation_best=[best / 2, best],
        generation_mean=[0.0, 0.1],
        mean_image=[0.0, mean_image],
        norm=[10.0, 11.0],
        mean_norm=[9.0, 10.0],
        seconds=[0.001, 0.002],
    )
    finals = {m: mean_image if m.startswith("mean_image") else best for m in MEASURES}
    return RunOutcome(spec.key, spec, failed, curve, {} if failed else finals)


class Fixed:
    """Asks for the same codes again and again, and keeps what it is told."""

    told: ClassVar = []

    def __init__(self, d, *, rng, popsize=None, initial=None, extra=0, scale=1.0):
        del rng, initial
        self.codes = scale * np.random.default_rng(0).standard_normal((popsize + extra, d))

    def ask(self):
        return self.codes

    def tell(self, codes, scores):
        Fixed.told.append((codes, scores))


class Breaks(Fixed):
    """Raises when it is told for the second time."""

    def __init__(self, d, **options):
        super().__init__(d, **options)
        self.times = 0

    def tell(self, codes, scores):
        del codes, scores
        self.times += 1
        if self.times == 2:
            raise ArithmeticError("lost")


class Nothing(Fixed):
    """Asks for codes that are no numbers."""

    def ask(self):
        return np.full_like(self.codes, np.nan)


class Keeps(Fixed):
    """Keeps what it was made with."""

    def __init__(self, d, *, rng, popsize, initial, **options):
        del d, rng, popsize, initial
        self.options = options


class Flat:
    """A generator that paints the whole image in one colour."""

    name, d, image_size, sha256 = "flat", 2, 64, "0" * 64

    def render(self, codes):
        grey = np.clip(128 + 40 * codes.sum(axis=1), 0, 255).astype(np.uint8)
        return np.broadcast_to(grey[:, None, None, None], (len(codes), 64, 64, 3)).copy()

    def synthesize(self, z):
        grey = ((128 + 40 * z.sum(dim=1)) / 255).clamp(0, 1)
        return grey[:, None, None, None].expand(-1, 3, 64, 64)

    def initial_codes(self, n, *, rng):
        return rng.standard_normal((n, 2))


def flat(*, device):
    assert device == "cpu"
    return Flat()


class Rough:
    """Paints as `Flat`, and no more than images."""

    name, d, image_size, sha256 = "rough", 2, 64, "2" * 64
    render, initial_codes = Flat.render, Flat.initial_codes


def rough(*, device):
    del device
    return Rough()


class Broken(Flat):
    """Has no images in torch after all."""

    name, sha256 = "broken", "3" * 64

    def synthesize(self, z):
        del z
        raise KeyError("lost")


def broken(*, device):
    del device
    return Broken()


class Brightness:
    """A unit that likes one colour."""

    sha256 = "1" * 64
    reference_quantiles: ClassVar = {"p50": np.array([100.0]), "p99": np.array([150.0])}

    def __init__(self, channel):
        self.channel = channel
        self.unit_names = (f"brightness of {channel}",)

    def score(self, images):
        channel = ("red", "green", "blue").index(self.channel)
        return images[..., channel].mean(axis=(1, 2))[:, None]


def brightness(argument, *, device):
    assert device == "cpu"
    return Brightness(argument)


class Leaves(Fixed):
    """Ends the program when it is asked for the second time, or pretends that somebody did."""

    def __init__(self, d, *, how, **options):
        super().__init__(d, **options)
        self.how, self.times = how, 0

    def ask(self):
        self.times += 1
        if self.times == 2:
            if how := {"exit": SystemExit, "interrupt": KeyboardInterrupt}.get(self.how):
                raise how(3)
            signal.raise_signal(signal.SIGINT)
        return self.codes


class Imaginary(Fixed):
    """Asks for complex codes."""

    def __init__(self, d, *, part, **options):
        super().__init__(d, **options)
        self.codes = self.codes + 1j * part


class Brittle(Flat):
    """A generator that cannot draw large codes."""

    def render(self, codes):
        if np.abs(codes).max() > 1e6:
            raise ArithmeticError("too large")
        return super().render(codes)


def brittle(*, device):
    assert device == "cpu"
    return Brittle()


class Odd(Brightness):
    """A unit that answers as it is named, where an image is brighter than some level."""

    answers: ClassVar = {"nan": np.nan, "inf": np.inf, "less": 0.0}

    def __init__(self, name):
        super().__init__("red")
        self.answer, _, level = name.partition("-")
        self.level = float(level)

    def score(self, images):
        if self.answer == "quit":
            sys.exit(4)
        if self.answer == "raise":
            raise ArithmeticError("too bright")
        clean = super().score(images)
        if self.answer == "wide":
            return np.tile(clean, (1, 2))
        return np.where(clean >= self.level, self.answers[self.answer], clean)


def odd(argument, *, device):
    assert device == "cpu"
    if argument == "quits":
        sys.exit(4)
    return Odd(argument)
