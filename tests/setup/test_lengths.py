"""What a session file leaves open follows the generator: step sizes, spreads, radii."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from evolver import config, generators, recording
from evolver.errors import ConfigError
from evolver.generators import biggan, deepsim
from evolver.generators.scale import CodeScale, code_scale
from evolver.generators.stylegan3.convert import convert_stylegan3
from evolver.live import run_simulated
from evolver.setup import preflight
from evolver.setup.build import build_parts
from evolver.setup.lengths import with_lengths
from evolver.setup.preflight import before_the_rig
from tests.live.sessions import small
from tests.live.test_simulate import Watching
from tests.soak import further

TINY = Path(__file__).parents[1] / "golden" / "generators"
NOW = 1_800_000_000_000_000_000


def generator(d=100, norm=20.0, **attributes):
    """A generator whose codes all have one norm."""

    def initial_codes(n, *, rng):
        codes = rng.standard_normal((n, d))
        return codes * (norm / np.linalg.norm(codes, axis=1, keepdims=True))

    return SimpleNamespace(d=d, initial_codes=initial_codes, **attributes)


def test_a_step_is_a_twentieth_of_the_norm_that_codes_begin_with():
    assert code_scale(generator(norm=20.0)) == CodeScale(1.0, 20.0)
    assert code_scale(generator(norm=0.0)).norm is None


def test_what_a_generator_states_goes_before_what_it_begins_with():
    stated = CodeScale(0.2, None)
    assert code_scale(generator(code_scale=stated)) == stated
    assert code_scale(generator(code_scale=None)) == CodeScale(1.0, 20.0)


@pytest.mark.parametrize(
    ("optimizer", "lengths"),
    [
        ("cholesky", {"sigma": 1.0}),
        ("sep", {"sigma": 1.0}),
        ("snes", {"sigma": 1.0}),
        ("pycma", {"sigma": 1.0}),
        ("genetic", {"sigma": 2.0}),
        ("random", {"sigma": 2.0}),
        ("adam", {"sigma": 2.0, "lr": 0.2}),
        ("sgd", {"sigma": 2.0}),  # its step is of the slope
        ("sphere", {"radius": 20.0}),
        ("rank-sphere", {"radius": 20.0}),
        ("hessian", {}),  # its steps are along a basis of another scale
    ],
)
def test_lengths_that_were_left_out(optimizer, lengths):
    assert with_lengths(optimizer, {}, generator()) == lengths
    given = dict.fromkeys(lengths, 7.0)
    assert with_lengths(optimizer, given, generator()) == given


def test_codes_that_may_grow_leave_the_norm_to_the_optimizer():
    growing = generator(code_scale=CodeScale(3.0, None))
    assert with_lengths("cholesky", {}, growing) == {"sigma": 3.0}
    assert with_lengths("sphere", {}, growing) == {}
    assert with_lengths("genetic", {}, growing) == {}
    assert with_lengths("adam", {}, growing) == {}


def test_parts_have_the_steps_that_users_set_there():
    scale = CodeScale(0.2, 8.0, {"noise": 0.3, "class": 0.06})
    made_of = {"noise": (0, 60), "class": (60, 100)}
    given = [
        {"slice": [0, 60], "optimizer": "cholesky"},
        {"slice": [60, 90], "optimizer": "sep", "options": {"sigma": 9.0}},
        {"slice": [90, 100]},
        {"slice": "wrong", "optimizer": "sep"},
    ]
    parts = with_lengths(
        "composite", {"parts": given}, generator(parts=made_of, code_scale=scale)
    )["parts"]
    assert parts[0]["options"] == {"sigma": 0.3}
    assert parts[1]["options"] == {"sigma": 9.0}
    assert parts[2:] == given[2:]
    assert "options" not in given[0]
    (sphere,) = with_lengths(
        "composite", {"parts": [{"slice": [0, 25], "optimizer": "sphere"}]}, generator()
    )["parts"]
    assert sphere["options"] == {"radius": 10.0}  # a quarter of the dimensions, half the norm


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The weight file or folder of a generator by its name; None where it has its own."""
    folder = tmp_path_factory.mktemp("biggan")
    shutil.copy(TINY / "biggan_tiny_config.json", folder / "config.json")
    shutil.copy(TINY / "biggan_tiny.safetensors", folder / "model.safetensors")
    convert_stylegan3(TINY / "stylegan3-t-tiny.pkl", folder / "stylegan3.safetensors")
    return {
        "mini-texture": None,
        "mini-object": None,
        "biggan-deep-256": str(folder),
        "pggan": str(TINY / "pggan_hyper_tiny.params"),
        "stylegan3": str(folder / "stylegan3.safetensors"),
    }


def test_what_the_field_sets(weights):
    assert (deepsim.CODE_SCALE.step, deepsim.CODE_SCALE.rate) == (3.0, 0.1)
    made = generators.load("biggan-deep-256", weights=weights["biggan-deep-256"])
    scale, noise = code_scale(made), made.parts["noise"][1]
    assert (scale.step, scale.part_steps) == (0.2, {"noise": 0.3, "class": 0.06})
    assert scale.rate == 0.003
    assert with_lengths("adam", {}, made)["lr"] == 0.003
    assert scale.norm == pytest.approx(biggan.NOISE * noise**0.5)


def session(folder, **thread):
    table = config.ThreadTable("t", popsize=12, **thread)
    return msgspec.structs.replace(small(folder), threads=(table,))


@pytest.mark.parametrize(
    "name",
    [
        further("mini-texture"),
        "mini-object",
        further("biggan-deep-256"),
        "pggan",
        further("stylegan3"),
    ],
)
def test_a_session_without_options_evolves(name, weights, tmp_path):
    parts = build_parts(session(tmp_path, generator=name, weights=weights[name]))
    (optimizer,), (drawn_by,) = parts.optimizers, parts.generators
    means = []
    for _ in range(6):
        codes = optimizer.ask()
        images = drawn_by.render(codes)
        scores = images.mean(axis=(1, 2)) @ (1.0, 0.0, -1.0)  # how red they are
        optimizer.tell(codes, scores)
        means.append(scores.mean())
    assert means[-1] > means[0]


def test_the_record_and_the_checks_say_what_was_taken(tmp_path):
    settings = session(tmp_path, generator="mini-object")
    text = config.commented_session_file(settings)
    (folder,) = {run_simulated(settings, text, Watching().console).folder}
    with recording.read(folder / "session.h5") as read:
        assert read.threads[0].options["optimizer"] == {"sigma": 0.49}
    checks = before_the_rig(build_parts(settings), tmp_path, time_ns=NOW, monotonic=lambda: 0.0)
    assert (
        "t: cholesky (chosen for mini-object, as the file names no optimizer), sigma = 0.49 "
        "(from mini-object)"
    ) in [check.text for check in checks]


def test_steps_that_make_noise_of_the_images_are_warned_of(tmp_path):
    def images(**options):
        parts = build_parts(
            session(tmp_path, generator="mini-object", optimizer_options=options)
        )
        checks = before_the_rig(parts, tmp_path, time_ns=NOW, monotonic=lambda: 0.0)
        return next(check for check in checks if check.name == "images")

    assert images().verdict == "good"
    noise = images(sigma=3.0)
    assert noise.verdict == "warning"
    assert "black or white" in noise.text
    assert "3.5 times as long" in noise.text
    assert "sigma = 0.49" in noise.text


def steps_said(folder, generator="mini-texture", **thread):
    parts = build_parts(session(folder, generator=generator, **thread))
    return [(c.verdict, c.text) for c in preflight._searches(parts) if c.name == "step"]


def test_a_step_of_another_order_than_the_usual_one_is_warned_of(tmp_path):
    for sigma in (0.8, 8, 79.0):
        assert not steps_said(tmp_path, optimizer_options={"sigma": sigma})
    said = "is more than 10 times the usual first step of mini-texture, 8: steps may lead to no"
    assert steps_said(tmp_path, optimizer_options={"sigma": 800.0}) == [
        ("warning", f"t: sigma = 800 {said} pictures")
    ]
    ((_, text),) = steps_said(tmp_path, optimizer_options={"sigma": 0.01})
    assert "0.01 is less than 1/10 of the usual first step of mini-texture, 8: " in text
    parts = [
        {"slice": [0, 100], "optimizer": "snes"},
        {"slice": [100, 256], "optimizer": "cholesky", "options": {"sigma": 100}},
    ]
    ((_, text),) = steps_said(
        tmp_path, optimizer="composite", optimizer_options={"parts": parts}
    )
    assert text.startswith("t, parts[1]: sigma = 100 is more than 10 times")
    spread = {"optimizer": "genetic", "optimizer_options": {"sigma": 5.0}}
    assert not steps_said(tmp_path, generator="mini-object", **spread)
    assert not steps_said(tmp_path, optimizer="random")


def test_where_the_step_is_the_usual_one_it_is_not_named_as_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr("evolver.setup.preflight._MOSTLY", -1.0)
    parts = build_parts(session(tmp_path, generator="mini-object"))
    checks = before_the_rig(parts, tmp_path, time_ns=NOW, monotonic=lambda: 0.0)
    text = next(check.text for check in checks if check.name == "images")
    assert "of pixels are black or white after a first step" in text
    assert "sigma =" not in text
    assert "Look at them" in text


def test_a_search_that_no_memory_holds_is_a_mistake_of_the_file(tmp_path, monkeypatch):
    def full(*_, **__):
        raise MemoryError

    monkeypatch.setattr("evolver.optimizers.load", full)
    with pytest.raises(ConfigError, match=r"'t'.*hessian.*memory.*256 dimensions.*sep"):
        build_parts(session(tmp_path, generator="mini-texture", optimizer="hessian"))
