"""Codes about what a session evolved: shown by the next one, and analysed as its tuning."""

import csv
import json
import re

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from evolver import config, generators, metric, recording
from evolver.cli import app
from evolver.cli.analyze import PAGE
from evolver.errors import ConfigError
from evolver.experiments import read_experiments
from evolver.experiments.reading import Unread
from evolver.generators.around import principal_axes
from evolver.generators.scale import tuning_reach
from evolver.journal.records import Proposed, set_info
from evolver.journal.writer import read_journal
from evolver.live import resume_simulated, run_simulated
from evolver.report.page import write_report
from evolver.report.sphere_figure import read_spheres
from evolver.setup.simulated_rig import build_population
from tests.children import DPI
from tests.soak import further

from .sessions import UNIT
from .test_resume import cut
from .test_simulate import Watching

SESSION = """
[session]
name = "{name}"
generations = 4
folder = "{folder}"
[presentation]
on_ms = 100
off_ms = 50
set_showings = 40
[fitness]
units = ["mini:fc6:3"]
[references]
count = 2
[simulation]
units = ["mini:conv4:52", "mini:fc6:3"]
spikes = "none"
abort_rate = 0.0
speed = inf
"""
EVOLVE = (
    SESSION
    + """
[[threads]]
name = "texture"
generator = "mini-texture"
popsize = 6
[[threads]]
name = "object"
generator = "mini-object"
popsize = 8
"""
)
SET = """
[[sets]]
name = "{name}"
generator = "mini-object"
{more}
[sets.around]
recording = "{recording}"
thread = "object"
{keys}
"""
SETS = {
    "along": ("repeats = 2", "axes = [0, 4, 2]\nsteps = 5\nreach = 2.5"),
    "default": ("", "code = 'best'\nmetric = '{metric}'"),
    "rings": ("repeats = 2", "kind = 'circles'\naxes = [1, 2]\nsteps = 3\nreach = 60"),
    "ball": ("", "kind = 'sphere'\naxes = [0, 1]\nsteps = 3\nmetric = '{metric}'"),
}


def simulated(text):
    return run_simulated(config.parse_session_file(text), text, Watching().console)


@pytest.fixture(scope="module")
def generator():
    return generators.load("mini-object")


@pytest.fixture(scope="module")
def lab(tmp_path_factory, generator):
    """A folder with an evolution, a metric, and a session of sets about its code."""
    folder = tmp_path_factory.mktemp("lab")
    provenance = metric.Provenance(
        generator=generator.name,
        weights_sha256=generator.sha256,
        distance="mse",
        distance_sha256="",
        solver="dense",
        points=1,
        points_sha256="2" * 64,
        last=generator.d,
    )
    vectors = np.linalg.qr(np.random.default_rng(4).normal(size=(generator.d, 5)))[0]
    axes = metric.make_metric(np.arange(5, 0, -1), vectors, provenance=provenance)
    metric.write_metric(axes, folder / "metric.npz")
    evolution = simulated(EVOLVE.format(name="evolution", folder=folder / "recordings"))
    text = SESSION.format(name="tuning", folder=folder / "recordings")
    for name, (more, keys) in SETS.items():
        text += SET.format(
            name=name,
            more=more,
            recording=evolution.recording,
            keys=keys.format(metric=folder / "metric.npz"),
        )
    return folder, evolution, simulated(text), text


@pytest.fixture(scope="module")
def evolved(lab):
    """Its codes and scores: all of them, and of the last generation the mean."""
    with recording.read(lab[1].recording) as opened:
        thread = opened.threads["object"]
        codes = thread.codes.astype(np.float64)
        mean = codes[thread.generation == thread.generation.max()].mean(axis=0)
        return codes, mean, codes[np.argmax(thread.score)], opened.session_id


@pytest.fixture(scope="module")
def shown(lab):
    """Codes as the journal has them, in float64, by set and image; and what is said of them."""
    journal = [record for _, record in read_journal(lab[2].folder / "journal")]
    infos = [set_info(thread.options) for thread in journal[0].threads]
    codes = [{} for _ in infos]
    for record in journal:
        if isinstance(record, Proposed):
            for part in record.threads:
                for item, code in zip(part.items, part.codes.numpy(), strict=True):
                    codes[part.thread][item.image] = code
    stacked = [np.stack([of[i] for i in range(len(of))]) for of in codes]
    return dict(zip(SETS, zip(stacked, infos, strict=True), strict=True))


def test_steps_are_the_mean_code_and_so_much_of_each_component(evolved, shown):
    all_codes, mean, _, session_id = evolved
    codes, info = shown["along"]
    axes = principal_axes(all_codes, mean, most=5)
    around = info.around
    assert (around.session_id, around.thread, around.code) == (session_id, "object", "mean")
    assert around.axes == ("component 0", "component 4", "component 2")
    assert around.metric_sha256 == ""
    assert info.images == len(codes) == 1 + 3 * 4
    assert around.axis[0] == -1
    for code, k, s in zip(codes, around.axis, around.step, strict=True):
        expected = mean if k < 0 else mean + s * axes[around.numbers[k][0]]
        np.testing.assert_allclose(code, expected, rtol=0, atol=1e-12)
    assert set(around.step) == {-2.5, -1.25, 0, 1.25, 2.5}
    assert around.norm == pytest.approx(np.linalg.norm(mean))


def test_without_keys_steps_are_the_published_axes_as_far_as_generator_and_metric_have_them(
    evolved, shown, lab, generator
):
    _, _, best, _ = evolved
    codes, info = shown["default"]
    around = info.around
    axes = metric.read_metric(lab[0] / "metric.npz").eigenvectors.T
    assert around.axes == ("axis 0", "axis 1", "axis 2", "axis 3")
    np.testing.assert_array_equal(codes[0], best)
    reach = tuning_reach(generator, best)
    assert len(set(around.step)) == 9
    assert max(around.step) == reach == pytest.approx(0.4 * 9.8, rel=0.02)
    for code, k, s in zip(codes[1:], around.axis[1:], around.step[1:], strict=True):
        np.testing.assert_allclose(code, best + s * axes[k], rtol=0, atol=1e-12)


def test_circles_and_spheres_keep_the_norm(evolved, shown):
    norm = np.linalg.norm(evolved[1])
    for name, images in (("rings", 1 + 2 * 2), ("ball", 1 + 8)):
        codes, _ = shown[name]
        assert len(codes) == images
        np.testing.assert_allclose(np.linalg.norm(codes, axis=1), norm, rtol=1e-12)
        np.testing.assert_allclose(codes[0], evolved[1], atol=1e-12)
    ball = shown["ball"][1].around
    assert ball.axes == ("axis 0 and axis 1",)
    assert sorted(zip(ball.step, ball.second_step, strict=True)) == [
        (s, t) for s in (-90, 0, 90) for t in (-90, 0, 90)
    ]
    assert [ball.axis.count(k) for k in (-1, 0)] == [1, 8]


def test_the_options_of_other_sets_are_as_they_were(lab):
    text = lab[3].split("[[sets]]")[0] + (
        '[[sets]]\nname = "plain"\ngenerator = "mini-object"\ncount = 3\n'
    )
    with recording.read(simulated(text).recording) as opened:
        assert "around" not in opened.threads["plain"].options["set"]
        assert opened.threads["plain"].set_info.around is None


def by_hand(text, generator, codes):
    """Return the rates of the unit to images of codes, without a session."""
    settings = config.parse_session_file(text)
    population = build_population(settings)
    drives = population.respond(list(generator.render(codes)))
    window = settings.fitness.response_ms
    rates = population.neurons.expected_rates(drives, window, on_ms=100.0)
    return rates[:, population.labels.index(UNIT)]


@pytest.mark.parametrize("order", [further("folder"), "tuning first"])
def test_trials_are_the_responses_to_the_images(lab, shown, generator, order):
    folder, evolution, tuning, text = lab
    files = {
        "folder": [folder / "recordings"],
        "tuning first": [tuning.recording, evolution.recording],
    }[order]
    found = list(read_experiments(files))
    (experiment,) = [one for one in found if not isinstance(one, Unread) and one.threads[1:]]
    texture, thread = experiment.threads
    assert texture.tuning is None
    assert "no recording of steps" in texture.why_not("tuning")
    assert [axis.name for axis in thread.tuning.axes] == [
        *("component 0", "component 4", "component 2"),
        *("axis 0", "axis 1", "axis 2", "axis 3"),
        *("circle component 1", "circle component 2"),
    ]
    rates = {name: by_hand(text, generator, shown[name][0]) for name in SETS}
    for axis in thread.tuning.axes[:3]:
        k = ("component 0", "component 4", "component 2").index(axis.name)
        around = shown["along"][1].around
        expected = {
            s: rate
            for s, at, rate in zip(around.step, around.axis, rates["along"], strict=True)
            if at == k
        }
        assert sorted(axis.step) == sorted([*expected, *expected])  # twice each
        np.testing.assert_allclose(axis.response, [expected[s] for s in axis.step], rtol=1e-9)
        np.testing.assert_allclose(axis.origin, [rates["along"][0]] * 2, rtol=1e-9)
        assert (axis.family, axis.step_unit) == ("components", "latent units")
        assert axis.eigenvector == -1
    eigen = thread.tuning.axes[4]
    assert (eigen.eigenvector, eigen.family, len(eigen.step)) == (1, "", 8)
    ring = thread.tuning.axes[-1]
    assert (ring.family, ring.step_unit) == ("circles, components", "degrees")
    assert set(ring.step) == {-60.0, 60.0}
    notes = [one for one in found if isinstance(one, Unread)]
    assert all(note.harmless for note in notes)
    assert [note.where for note in notes if "is a sphere" in note.reason] == [
        str(tuning.recording)
    ]


@pytest.mark.soak
def test_analyze_has_the_tuning_in_its_tables(lab, tmp_path, monkeypatch):
    monkeypatch.setattr("evolver.report.style.DPI", DPI)
    _, evolution, tuning, _ = lab
    run = CliRunner().invoke(
        app.app,
        [
            *("analyze", str(tuning.recording), str(evolution.recording)),
            *("--out", str(tmp_path), "--no-experiment-figures"),
        ],
    )
    assert run.exit_code == 0, run.output
    with (tmp_path / "tuning.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["axis"] for row in rows][:2] == ["component 0", "component 4"]
    assert {row["thread"] for row in rows} == {"object"}
    assert [rows[0][name] for name in ("steps", "trials", "borrowed")] == ["5", "10", "2"]
    assert {row["step_unit"] for row in rows if "circle" in row["axis"]} == {"degrees"}
    page = (tmp_path / PAGE).read_text(encoding="utf-8")
    where = f"{tuning.recording.parent.name}/{tuning.recording.name}"
    assert f"tuning is from 1 recording of steps beside them, {where}" in page


def test_without_its_evolution_a_recording_of_sets_is_noted(lab, tmp_path):
    run = CliRunner().invoke(
        app.app, ["analyze", str(lab[2].recording), "--out", str(tmp_path / "out")]
    )
    assert isinstance(run.exception, ConfigError)
    text = " ".join(run.output.split())
    assert "set 'along' shows steps about the code of thread 'object' of session" in text
    assert "none of these files holds an evolution" in str(run.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.soak
def test_the_responses_of_other_units_are_not_taken_for_its_tuning(lab):
    other = SESSION.format(name="other", folder=lab[0] / "elsewhere").replace(
        'units = ["mini:fc6:3"]', 'units = ["mini:conv4:52:4:4"]'
    ) + SET.format(
        name="along", more="", recording=lab[1].recording, keys="axes = [0]\nsteps = 3"
    )
    found = list(read_experiments([lab[1].recording, simulated(other).recording]))
    assert found[0].threads[1].tuning is None
    assert "mini:conv4:52:4:4. fitness.units" in found[1].reason
    assert found[1].harmless


def test_a_report_maps_the_sphere(lab, shown, generator, tmp_path, monkeypatch):
    monkeypatch.setattr("evolver.report.style.DPI", DPI)
    with recording.read(lab[2].recording) as opened:
        (sphere,) = read_spheres(opened)
        page = write_report(opened, tmp_path).read_text(encoding="utf-8")
    assert "Around an evolved image" in page
    assert "Report of stimulus sets" in page
    assert (tmp_path / "spheres.png").stat().st_size > 2_500
    codes, info = shown["ball"]
    rates = by_hand(lab[3], generator, codes)
    assert sphere.steps.tolist() == [-90, 0, 90]
    for rate, s, t in zip(rates, info.around.step, info.around.second_step, strict=True):
        row, column = (sphere.steps.tolist().index(x) for x in (t, s))
        assert sphere.mean[row, column] == pytest.approx(rate)
    middle = generator.render(codes[:1])[0]
    np.testing.assert_array_equal(sphere.images[1][1], middle)


def test_it_goes_on_about_the_same_code_or_not_at_all(lab, tmp_path):
    records = [record for _, record in read_journal(lab[2].folder / "journal")]
    cut(records[: len(records) // 2], tmp_path / "cut")
    again = resume_simulated(tmp_path / "cut", Watching().console)
    with recording.read(again.recording) as ours, recording.read(lab[2].recording) as whole:
        assert ours.bit_identical
        np.testing.assert_array_equal(ours.threads["ball"].score, whole.threads["ball"].score)
    start = records[0]
    options = json.loads(start.threads[0].options)
    options["set"]["around"]["step"][1] += 1
    changed = msgspec.structs.replace(start.threads[0], options=json.dumps(options))
    start = msgspec.structs.replace(start, threads=(changed, *start.threads[1:]))
    cut([start, *records[1 : len(records) // 2]], tmp_path / "changed")
    with pytest.raises(ConfigError, match="'along' must go on with the images"):
        resume_simulated(tmp_path / "changed", Watching().console)


WRONG = [
    (
        'thread = "object"',
        'thread = "animal"',
        "thread must be one that evolves .*texture, obj",
    ),
    ('thread = "object"', "", "what drew the codes of thread 'texture'.*mini-texture"),
    ("axes = [0]", "axes = [0, 31]", r"among the 31 that there are, 0 to 30; found 31"),
    ("axes = [0]", "axes = [0, 0]", r"around\.axes: must differ; found \[0, 0\]"),
    ("steps = 3", "steps = 4", r"around\.steps: must be an odd number.*found 4"),
    ("steps = 3", "kind = 'sphere'", r"around\.axes: must be pairs"),
    ("steps = 3", "kind = 'circles'\nreach = 190", r"around\.reach: must be at most 180"),
    ("steps = 3", "part = 'class'", r"around\.part: must be left out without a metric"),
    ("steps = 3", "metric = '{other}'", "must be of the generator that draws"),
    ("{recording}", "{folder}/nowhere.h5", "nowhere.h5"),
    ("{recording}", "{sets}", "has the sets along, default, rings, ball alone"),
    ("[sets.around]", "count = 3\n[sets.around]", r"around: must stand without count"),
]


@pytest.mark.parametrize(("old", "new", "message"), WRONG)
def test_what_is_wrong_is_said_with_its_key(lab, tmp_path, old, new, message):
    folder, evolution, tuning, _ = lab
    axes = metric.read_metric(folder / "metric.npz")
    other = msgspec.structs.replace(axes.provenance, weights_sha256="1" * 64)
    metric.write_metric(
        metric.make_metric(axes.eigenvalues, axes.eigenvectors, provenance=other),
        tmp_path / "other.npz",
    )
    text = SESSION + SET.replace("{keys}", "axes = [0]\nsteps = 3")
    text = text.replace(old, new, 1).format(
        name="along",
        more="",
        recording=evolution.recording,
        folder=tmp_path,
        sets=tuning.recording,
        other=tmp_path / "other.npz",
    )
    file = tmp_path / "s.toml"
    file.write_text(text, encoding="utf-8")
    result = CliRunner().invoke(app.app, ["config", "check", str(file)], env={"COLUMNS": "400"})
    assert result.exit_code == 2, result.output
    assert re.search(message, " ".join(result.output.split())), result.output
