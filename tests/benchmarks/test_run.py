"""Runs: paired, indifferent to company, within their budget; who breaks, breaks alone."""

import signal

import numpy as np
import pytest

from benchmarks.optimizers import run, worlds
from benchmarks.optimizers.contestants import Contestant
from benchmarks.optimizers.noise import Noise
from benchmarks.optimizers.outcomes import FORMS, Spec
from benchmarks.optimizers.run import Group, groups, play
from benchmarks.optimizers.worlds import MINI, Stage, at_norm
from evolver import seeds
from evolver.optimizers import CholeskyCMA
from evolver.optimizers.within_axes import within_axes
from tests.benchmarks.made import SPEC, Fixed

UNIT = "mini:fc5:3"


@pytest.fixture(scope="module", autouse=True)
def coarse():
    """Find lengths of one contrast to a factor of two: a dozen images an end, not a hundred."""
    run._stage.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worlds, "_BISECTIONS", 2)
        patch.setattr(worlds, "_OF_CONTRAST", 4)
        yield
    run._stage.cache_clear()  # a stage keeps its contrast


CHOLESKY = Contestant("cholesky", "cholesky", (("sigma", 3.0),))
FIXED = Contestant("fixed", "tests.benchmarks.made:Fixed")
BREAKS = Contestant("breaks", "tests.benchmarks.made:Breaks")


def spec(contestant, **changes):
    return Spec(**{
        **SPEC,
        "world": MINI.name,
        "unit": UNIT,
        "optimizer": contestant.label,
        "options": dict(contestant.options),
        "generations": 3,
        **changes,
    })


def together(*pairs):
    specs, contestants = zip(*pairs, strict=True)
    return play(Group(specs, contestants, "cpu"))


def told(contestant, **changes):
    Fixed.told.clear()
    together((spec(contestant, **changes), contestant))
    return [scores for _, scores in Fixed.told]


def test_a_run_is_the_loop_it_says_it_is():
    (found,) = together((spec(CHOLESKY, noise="0.5"), CHOLESKY))
    stage = Stage(MINI, UNIT, device="cpu")
    rng = seeds.stream(1, "optimizer", MINI.name, UNIT)
    optimizer = CholeskyCMA(256, rng=rng, popsize=4, sigma=3.0, initial=stage.start(1))
    best, means = [], []
    for generation in range(3):
        codes = optimizer.ask()
        clean = stage.clean(codes)
        draws = seeds.stream(1, "noise", MINI.name, UNIT, generation).standard_normal(4)
        optimizer.tell(codes, Noise.parse("0.5").spoil(clean, draws))
        best.append(float(clean.max()))
        means.append(float(stage.clean(codes.mean(axis=0)[None])[0]))
    curve = found.curve
    assert curve.generation_best == best
    assert curve.best == [best[0], max(best[:2]), max(best)]
    assert curve.mean_image == means
    assert curve.evaluations == [4, 8, 12]
    assert curve.mean_norm[-1] == pytest.approx(np.linalg.norm(codes.mean(axis=0)))
    mean = at_norm(codes.mean(axis=0)[None], 150.0)
    assert found.finals["mean_image_matched"] == stage.clean(mean)[0]
    assert found.finals["mean_image"] == means[-1]
    assert found.finals["best"] == max(best)
    assert found.failed == ""


def test_a_run_along_axes_is_the_search_along_them():
    options = (("sigma", 3.0), ("axes.source", "first-layer"), ("axes.k", 16))
    along = Contestant("along", "cholesky", options)
    (outcome,) = together((spec(along), along))
    stage = Stage(MINI, UNIT, device="cpu")
    axes = stage.axes({"source": "first-layer", "k": 16})
    rng = seeds.stream(1, "optimizer", MINI.name, UNIT)
    start = stage.start(1)
    optimizer = within_axes(
        "cholesky", 256, rng=rng, axes=axes, popsize=4, sigma=3.0, initial=start
    )
    best = []
    for _ in range(3):
        codes = optimizer.ask()
        clean = stage.clean(codes)
        optimizer.tell(codes, clean)
        best.append(float(clean.max()))
    assert outcome.curve.generation_best == best
    moved = codes - start
    np.testing.assert_allclose(moved @ axes.vectors.T @ axes.vectors, moved, atol=1e-9)


def test_the_image_that_is_picked_is_the_best_by_what_was_seen():
    (found,) = together((spec(CHOLESKY, noise="0.5"), CHOLESKY))
    stage = Stage(MINI, UNIT, device="cpu")
    rng = seeds.stream(1, "optimizer", MINI.name, UNIT)
    optimizer = CholeskyCMA(256, rng=rng, popsize=4, sigma=3.0, initial=stage.start(1))
    clean, noisy, noise = [], [], Noise.parse("0.5")
    for generation in range(3):
        codes = optimizer.ask()
        clean += list(stage.clean(codes))
        draws = seeds.stream(1, "noise", MINI.name, UNIT, generation).standard_normal(4)
        told = noise.spoil(np.array(clean[-4:]), draws)
        noisy += list(told)
        optimizer.tell(codes, told)
    assert found.finals["pick"] == clean[int(np.argmax(noisy))]
    leaders = np.argsort(-np.array(noisy), kind="stable")[: run.LEADERS]
    draws = seeds.stream(1, "repeats", MINI.name, UNIT).standard_normal((
        run.REPEATS,
        run.LEADERS,
    ))
    shown = np.mean([noise.spoil(np.array(clean)[leaders], draw) for draw in draws], axis=0)
    assert found.finals["repeats"] == clean[leaders[int(np.argmax(shown))]]
    assert found.finals["pick"] < found.finals["best"]  # or this test shows nothing
    (sure,) = together((spec(CHOLESKY), CHOLESKY))
    for form in FORMS:
        assert len({sure.finals[code + form] for code in ("best", "pick", "repeats")}) == 1


def test_what_a_run_finds_does_not_depend_on_who_is_beside_it():
    (alone,) = together((spec(CHOLESKY), CHOLESKY))
    pairs = [(spec(c, noise=n), c) for c in (FIXED, CHOLESKY, BREAKS) for n in ("0.5", "0")]
    among = together(*pairs)
    found = next(o for o in among if o.key == alone.key)
    assert found.curve.generation_best == alone.curve.generation_best
    assert found.finals == alone.finals


@pytest.mark.soak
def test_equal_codes_get_equal_noise_whoever_asks():
    twin = Contestant("twin", "tests.benchmarks.made:Fixed")
    np.testing.assert_array_equal(told(FIXED, noise="0.5"), told(twin, noise="0.5"))
    first, second = told(FIXED, noise="0.5")[:2]
    assert (first != second).any()  # and other noise in the next generation
    assert (told(FIXED, noise="0.5", seed=2)[0] != first).any()


@pytest.mark.soak
def test_the_same_draws_serve_every_noise():
    clean = told(FIXED, noise="0")[0]
    draws = seeds.stream(1, "noise", MINI.name, UNIT, 0).standard_normal(4)
    for noise in ("0.2", "0.5", "poisson-100"):
        expected = Noise.parse(noise).spoil(clean, draws)
        np.testing.assert_array_equal(told(FIXED, noise=noise)[0], expected)


def test_all_see_the_same_number_of_images():
    greedy = Contestant("greedy", "tests.benchmarks.made:Fixed", (("extra", 1),))
    Fixed.told.clear()
    (found,) = together((spec(greedy), greedy))
    assert found.curve.evaluations == [5, 10, 12]
    assert len(Fixed.told) == 2  # two codes of five would be no generation to learn from


def test_who_breaks_breaks_alone():
    nothing = Contestant("nothing", "tests.benchmarks.made:Nothing")
    wrong = Contestant("wrong", "cholesky", (("sigma", -1.0),))
    runs = [(spec(c), c) for c in (BREAKS, nothing, wrong, CHOLESKY)]
    breaks, nan, made, fine = together(*runs)
    assert breaks.failed == "tell(), generation 1: ArithmeticError: lost"
    assert "codes must be finite" in nan.failed
    assert made.failed.startswith("being made, generation 0: ConfigError: sigma must be")
    assert fine.failed == ""
    assert len(fine.curve.best) == 3


FLAT = {"world": "flat", "generator": "tests.benchmarks.made:flat", "norm": 1.0}
RED = "tests.benchmarks.made:brightness@red"


def flat(contestant, unit=RED, **changes):
    return spec(contestant, unit=unit, **{**FLAT, **changes}), contestant


@pytest.mark.parametrize(
    ("how", "why"), [("exit", "SystemExit: 3"), ("interrupt", "KeyboardInterrupt: 3")]
)
def test_who_would_end_the_program_fails_alone(how, why):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        leaves = Contestant("leaves", "tests.benchmarks.made:Leaves", (("how", how),))
        left, fine = together(flat(leaves), flat(FIXED))
        assert left.failed == f"ask(), generation 1: {why}"
        assert (fine.failed, len(fine.curve.best)) == ("", 3)
        stopped = Contestant("stopped", "tests.benchmarks.made:Leaves", (("how", "Ctrl-C"),))
        with pytest.raises(KeyboardInterrupt):
            together(flat(stopped), flat(FIXED))
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.filterwarnings("error")
def test_who_asks_for_what_cannot_be_drawn_fails_alone_and_without_a_warning():
    huge = Contestant("huge", "tests.benchmarks.made:Fixed", (("scale", 1e300),))
    brittle = {"generator": "tests.benchmarks.made:brittle"}
    lost, fine = together(flat(huge, **brittle), flat(FIXED, **brittle))
    assert lost.failed == "drawing and scoring, generation 0: ArithmeticError: too large"
    (alone,) = together(flat(FIXED, **brittle))
    assert fine.finals == alone.finals
    assert fine.curve.generation_best == alone.curve.generation_best
    with pytest.raises(ArithmeticError, match="too large"):  # it may be the generator's fault
        together(flat(huge, **brittle))
    network, fine = together((spec(huge), huge), (spec(CHOLESKY), CHOLESKY))
    assert "+300" in network.failed
    assert fine.failed == ""


@pytest.mark.filterwarnings("error")
def test_numbers_too_large_for_a_norm_are_no_result():
    huge = Contestant("huge", "tests.benchmarks.made:Fixed", (("scale", 1e300),))
    (drawn,) = together(flat(huge))
    assert drawn.failed.startswith(
        "final scores, generation 3: DataError: norm of the best code"
    )


@pytest.mark.filterwarnings("error")
def test_complex_codes_are_real_ones_or_none():
    some, none = (
        Contestant("c", "tests.benchmarks.made:Imaginary", (("part", part),))
        for part in (0.5, 0.0)
    )
    refused, real, fixed = together(flat(some), flat(none), flat(FIXED))
    assert refused.failed == (
        "ask(), generation 0: DataError: codes must be real numbers; these have imaginary parts"
    )
    assert real.finals == fixed.finals


@pytest.mark.parametrize("answer", ["nan", "inf"])
def test_a_unit_that_gives_no_number_is_said_to_and_no_optimizer_is_blamed(answer):
    (at_once,) = together(flat(FIXED, unit=f"tests.benchmarks.made:odd@{answer}-0"))
    assert at_once.failed.startswith(
        f"clean scores, generation 0: DataError: they must be finite; the unit gave {answer} to"
    )
    unit = f"tests.benchmarks.made:odd@{answer}-255"
    (late,) = together(flat(FIXED, unit=unit, norm=1e4))  # bright enough at that norm alone
    assert late.failed == (
        f"final scores, generation 3: DataError: best_matched must be finite; got {answer}"
    )
    assert late.finals == {}


def test_at_one_norm_the_length_of_codes_does_not_count():
    large = Contestant("large", "tests.benchmarks.made:Fixed", (("scale", 7.0),))
    (a,) = together((spec(FIXED, at_norm=True), FIXED))
    (b,) = together((spec(large, at_norm=True), large))
    assert b.curve.best == pytest.approx(a.curve.best, abs=1e-5)
    (c,) = together((spec(large), large))
    assert c.curve.best != pytest.approx(a.curve.best, abs=1e-3)


def test_groups_hold_what_is_paired_and_fill_passes(monkeypatch):
    due = [
        (spec(c, noise=noise, unit=unit, seed=seed), c)
        for unit in (UNIT, "mini:fc5:4")
        for seed in (1, 2)
        for noise in ("0", "0.5")
        for c in (CHOLESKY, FIXED)
    ]
    (one, other) = groups(due, "cpu")
    assert {s.unit for s in one.specs} != {s.unit for s in other.specs}
    assert (len(one.specs), len(other.specs)) == (8, 8)
    monkeypatch.setattr(run, "RUNS_TOGETHER", 3)
    few = groups(due, "cpu")
    assert [len(g.specs) for g in few] == [2] * 8
    for group in few:
        assert len({(s.unit, s.seed, s.noise) for s in group.specs}) == 1
    assert sorted(s.key for g in few for s in g.specs) == sorted(s.key for s, _ in due)
