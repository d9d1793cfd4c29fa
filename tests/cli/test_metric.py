"""`evolver metric`, as a person meets it, and a session that searches along its result."""

import os
from functools import partial

import numpy as np
import pytest
from PIL import Image

from evolver import generators, metric, optimizers, recording
from evolver.cli import metric as command
from evolver.errors import ConfigError
from tests.cli.running import run_here

POINTS, K = 2, 6

SESSION = """
[session]
name = "along"
generations = 4
folder = "recordings"

[presentation]
on_ms = 100
off_ms = 50

[[threads]]
name = "texture"
generator = "mini-texture"
optimizer = "hessian"
optimizer_options = { basis = "texture.npz", cutoff = 4, exponent = 0.4, sigma = 0.3 }
popsize = 5

[references]
count = 2

[rig]
endpoint = "tcp://127.0.0.1:*"

[simulation]
units = ["mini:conv4:52"]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("metric")


@pytest.fixture
def run(monkeypatch, capsys, folder):
    monkeypatch.chdir(folder)
    return partial(run_here, monkeypatch, capsys)


@pytest.fixture(scope="module")
def texture(folder):
    """The metric that the other tests read."""
    here = os.getcwd()
    os.chdir(folder)
    try:
        command.compute_metric(
            "mini-texture", folder / "texture.npz", points=POINTS, directions=K
        )
    finally:
        os.chdir(here)
    return folder / "texture.npz"


def test_compute_writes_a_metric_and_says_of_what(run, folder):
    said = run("metric", "compute", "mini-object", "o.npz", "--points", 1, "-k", 3,
               "--part", "noise", "--norm", 9, "--distance", "mini:conv2",
               "--option", "chunk=4")  # fmt: skip
    assert "distance:  mini:conv2" in said
    assert "points:    1, of length 9, seed 0 (lanczos)" in said
    found = metric.read_metric(folder / "o.npz")
    generator = generators.load("mini-object")
    first, last = generator.parts["noise"]
    assert found.eigenvectors.shape == (last - first, 3)
    assert found.provenance.weights_sha256 == generator.sha256
    assert found.provenance.options == {"chunk": 4}
    assert "texture" not in said
    assert "exists already" in run("metric", "compute", "mini-object", "o.npz", expect=2)


def test_more_points_go_on_from_those_that_are_there(run, folder, texture):
    kept = folder / "texture.npz.points"
    before = {p.name: p.stat().st_mtime_ns for p in kept.iterdir()}
    assert len(before) == POINTS
    run("metric", "compute", "mini-texture", "more.npz", "--points", POINTS + 1, "-k", K,
        "--folder", kept)  # fmt: skip
    after = {p.name: p.stat().st_mtime_ns for p in kept.iterdir()}
    assert len(after) == POINTS + 1
    assert before.items() <= after.items()
    both = metric.read_metric(folder / "more.npz"), metric.read_metric(texture)
    assert [one.provenance.points for one in both] == [POINTS + 1, POINTS]
    assert not np.array_equal(both[0].eigenvalues, both[1].eigenvalues)


def test_show_says_which_sigma_makes_steps_as_long_as_others(run, texture):
    said = run("metric", "show", texture, "--cutoff", 4, "--exponent", 0.3)
    assert "generator: mini-texture" in said
    assert "axes:      4 of 256" in said
    sigma = float(said.split("sigma = ")[1].split()[0])
    optimizer = optimizers.load(
        "hessian", 256, rng=np.random.default_rng(0), basis=str(texture), cutoff=4,
        exponent=0.3, sigma=sigma, popsize=20_000,
    )  # fmt: skip
    squares = (optimizer.ask() ** 2).sum(axis=1).mean()
    assert squares == pytest.approx(9 * 256, rel=0.05)
    of_eight = run("metric", "show", texture, "--cutoff", 4, "--exponent", 0.3, "--step", 8)
    assert f"sigma = {sigma * 8 / 3:.3g} makes" in of_eight


def test_plot_draws_images_that_change_most_along_the_first_axis(run, folder, texture):
    run("metric", "plot", texture, "--axes", 3, "--images", 3, "--out", "figure.png")
    with Image.open(folder / "figure.png") as opened:
        drawn = np.asarray(opened.convert("RGB"), float)
    assert drawn.shape[0] > 125
    assert (drawn < 250).any(axis=2).mean() > 0.05
    found, generator = metric.read_metric(texture), generators.load("mini-texture")
    code = command.draw_points(generator, 1, seed=0, norm=None)
    moved = [
        np.square(
            generator.render(code + 2 * axis).astype(float) - generator.render(code)
        ).mean()
        for axis in found.eigenvectors.T
    ]
    assert moved[0] > 2 * moved[-1]


def test_a_public_file_is_drawn_where_the_generator_is_named(run, folder, texture):
    found = metric.read_metric(texture)
    np.savez(folder / "public.npz", eva_avg=found.eigenvalues, evc_avg=found.eigenvectors)
    assert "add --generator" in run("metric", "plot", "public.npz", expect=2)
    assert "does not name" in run("metric", "show", "public.npz")
    wrong = run("metric", "plot", "public.npz", "--generator", "mini-object", expect=2)
    assert "128 dimensions; it is of 256" in wrong
    run("metric", "plot", "public.npz", "--generator", "mini-texture", "--axes", 1,
        "--images", 1)  # fmt: skip
    assert (folder / "public.png").stat().st_size > 2_000


def test_another_generator_does_not_draw_it(run, texture):
    said = run("metric", "plot", texture, "--generator", "mini-object", expect=2)
    assert "must be of the generator that draws" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mini-texture", "x.npz", "--option", "chunk"), "must be NAME=VALUE"),
        (("mini-texture", "x.npz", "--option", "hue=red"), "takes the options chunk"),
        (("mini-texture", "no/x.npz"), "must be in a folder that is there"),
        (("mini-texture", "x.npz", "-k", "300"), "k must be a number of directions, 1 to 256"),
        (("mini-object", "x.npz", "--part", "hue"), "must be one of (class, noise)"),
        (("mini-texture", "x.npz", "--distance", "ssim"), "distance must be mse"),
    ],
)
def test_a_mistake_is_named_and_nothing_is_written(run, folder, arguments, message):
    assert message in run("metric", "compute", *arguments, expect=2)
    assert not (folder / "x.npz").exists()


def test_a_session_searches_along_a_metric(run, folder, texture):
    (folder / "along.toml").write_text(SESSION)
    run("config", "check", "along.toml")
    run("simulate", "along.toml", "--no-report")
    (file,) = (folder / "recordings").rglob("session.h5")
    with recording.read(file) as opened:
        thread = opened.threads[0]
        codes, generation = thread.codes, thread.generation
        assert opened.complete
    axes = metric.read_metric(texture, leading=4).eigenvectors
    assert set(generation) == {0, 1, 2, 3}
    first = codes[generation == 0]
    assert np.linalg.matrix_rank(first - first[0]) == 4  # as the generator's users start: free
    for g in (1, 2, 3):
        apart = np.diff(codes[generation == g].astype(float), axis=0)
        assert np.abs(apart).max() > 0.1
        np.testing.assert_allclose(apart @ axes @ axes.T, apart, atol=1e-4)


@pytest.mark.usefixtures("texture")
def test_a_session_whose_metric_is_missing_or_of_another_generator_says_so(run, folder):
    for change, message in (
        (('"texture.npz"', '"gone.npz"'), "there is none at gone.npz"),
        (("cutoff = 4", "cutoff = 7"), f"at most the {K} directions"),
        (("mini-texture", "mini-object"), "of the generator that draws; it is of mini-texture"),
    ):
        (folder / "wrong.toml").write_text(SESSION.replace(*change))
        assert message in run("config", "check", "wrong.toml", expect=2)


def test_codes_at_zero_have_no_length_to_scale():
    class Still:
        name, d = "still", 3

        def initial_codes(self, n, *, rng):  # noqa: ARG002
            return np.zeros((n, 3))

    with pytest.raises(ConfigError, match="still starts at zero"):
        command.draw_points(Still(), 2, seed=0, norm=1.0)


@pytest.mark.usefixtures("texture")
def test_a_composite_refuses_the_metric_of_another_generator_too(run, folder):
    composite = """optimizer = "composite"
optimizer_options.parts.noise = { optimizer = "hessian", basis = "texture.npz", cutoff = 4 }
optimizer_options.parts.class = { optimizer = "cholesky" }
"""
    lines = SESSION.replace("mini-texture", "mini-object").splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith("optimizer")]
    at = next(i for i, line in enumerate(kept) if line.startswith("generator"))
    (folder / "parts.toml").write_text("".join([*kept[: at + 1], composite, *kept[at + 1 :]]))

    said = " ".join(run("simulate", "parts.toml", expect=2).split())

    assert "texture.npz must be of the generator that draws" in said
