"""A recorded session by another fitness, against one that was scored by it at once."""

import csv

import msgspec
import numpy as np
import pytest

from evolver import config, recording
from evolver.config.fitness_table import FitnessTable
from evolver.errors import ConfigError
from evolver.experiments.directions import OWN_UPDATE, PARENTS_MEAN
from evolver.experiments.rescored import rescored_session
from evolver.live import run as live_run
from evolver.live import run_simulated
from evolver.optimizers.ranks import log_weights
from evolver.recording.fold import fold
from evolver.report.rescore_figures import draw_agreement
from evolver.setup.other_fitness import other_fitness, read_changes
from tests import children
from tests.cli.running import run_here
from tests.live.sessions import small
from tests.recording.sessions import write_session
from tests.soak import further

BOTH = (0, 1)
KINDS = {
    "rate": FitnessTable(BOTH),
    "late": FitnessTable((1,), kind="late-early", minimise=True),
    "contrast": FitnessTable((0,), kind="contrast", others=(1,), baseline_ms=(0.0, 45.0)),
    "normal": FitnessTable(BOTH, normalise="references", reference_blocks=1),
    "image": FitnessTable(
        BOTH, kind="target", target="reference:1", normalise="references", reference_blocks=1
    ),
    "best": FitnessTable(BOTH, kind="target", distance="squared-error", target="best"),
}


def run(folder, threads):
    """Return the recording of a session; one showing in ten is aborted."""
    settings = small(
        folder,
        session={"generations": 3},
        presentation={"repeats": 2, "schedule": "together"},
        references={"count": 2},
        simulation={"abort_rate": 0.1},
    )
    settings = msgspec.structs.replace(settings, threads=tuple(threads))
    text = config.commented_session_file(settings)
    return run_simulated(config.parse_session_file(text), text).recording


def thread_of(name, table, optimizer="random", popsize=3):
    return config.ThreadTable(name, "mini-texture", optimizer, popsize=popsize, fitness=table)


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Fold in a process that begins in no time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live_run, "fold_in_child", children.fold)
        yield


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two sessions of optimizers that learn nothing, so that codes are the same in both.

    Each thread of the second is scored as the next one of the first.
    """
    tables = [*KINDS.values()]
    return [
        run(tmp_path_factory.mktemp("kinds"), map(thread_of, KINDS, by))
        for by in (tables, [*tables[1:], tables[0]])
    ]


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    table = FitnessTable(BOTH)
    folder = tmp_path_factory.mktemp("search")
    return run(folder, [thread_of("texture", table, "cholesky", popsize=8)])


def keys_of(table):
    said = msgspec.to_builtins(table)
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in said.items()
        if value is not None and key not in table.unused_keys()
    }


@pytest.mark.parametrize("way", [1, further(-1)])
def test_scores_are_those_of_a_session_that_was_scored_so(two, way):
    """Bit for bit, also where the fitness learns from every block before."""
    files = two[::way]
    tables = [*KINDS.values()]
    if way == 1:
        tables = [*tables[1:], tables[0]]
    with recording.read(files[0]) as opened, recording.read(files[1]) as other:
        by_name = dict(zip(KINDS, map(keys_of, tables), strict=True))
        session = rescored_session(opened, other_fitness(opened, {}, tables=by_name))
        assert session.check.exact
        for a, b, table, thread in zip(
            opened.threads, other.threads, tables, session.threads, strict=True
        ):
            np.testing.assert_array_equal(a.codes, b.codes)
            scores = np.concatenate([row.after for row in thread.generations])
            np.testing.assert_array_equal(scores, b.score)
            assert thread.after_unit == table.score_unit


def test_the_same_fitness_changes_nothing(searched):
    with recording.read(searched) as opened:
        session = rescored_session(opened, other_fitness(opened, {"response_ms": [50, 200]}))
    (thread,) = session.threads
    assert thread.agreement.spearman.value == pytest.approx(1)
    assert thread.parents[0] == 0
    assert thread.turned.value == 0
    for row in thread.generations:
        np.testing.assert_array_equal(row.before, row.after)
        assert row.by == OWN_UPDATE
        assert row.turned.value == 0
        assert not len(row.agreement.movers)
    assert [row.repeats for row in thread.generations] == [True, True, None]


def test_the_turn_is_that_of_the_means_of_the_better_halves(searched):
    """CMA-ES goes to their mean, by logarithmic weights."""
    with recording.read(searched) as opened:
        session = rescored_session(opened, other_fitness(opened, {"response_ms": [130, 250]}))
        (thread,) = session.threads
        row = thread.generations[2]
        recorded = opened.threads[0]
        codes = recorded.codes[recorded.generation == 2].astype(float)
        start = recorded.state(2)["mean"]
    ways = []
    for scores in (row.before, row.after):
        places = log_weights(len(scores))[np.argsort(np.argsort(-scores))]
        shared = [places[scores == score].mean() for score in scores]  # equal scores, alike
        ways.append(np.array(shared) @ codes - start)
    a, b = ways
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    assert row.turned.value == pytest.approx(np.degrees(np.arccos(cosine)), abs=1e-3)
    assert 1 < row.turned.value < 179


def test_without_its_optimizer_the_better_half_says_where_to(tmp_path):
    fold(write_session(tmp_path / "journal"), tmp_path / "made-up.h5")
    with recording.read(tmp_path / "made-up.h5") as opened:
        fitness = other_fitness(opened, {"response_ms": [60, 160]}, threads=["object"])
        session = rescored_session(opened, fitness)
    assert [thread.name for thread in session.threads] == ["object"]
    assert session.threads[0].before_text == "the record does not say how"
    assert {row.by for row in session.threads[0].generations} == {PARENTS_MEAN}
    assert session.check.unknown


def test_counts_are_scored_in_windows_that_begin_and_end_on_their_bins(tmp_path):
    fold(write_session(tmp_path / "journal", form="counts"), tmp_path / "made-up.h5")
    with recording.read(tmp_path / "made-up.h5") as opened:
        edges = opened.own_counts[0][2]
        whole = [float(edges[1]), float(edges[-1])]
        session = rescored_session(opened, other_fitness(opened, {"response_ms": whole}))
        assert session.threads[0].agreement.n > 5
        between = [whole[0] + 1, whole[1]]
        with pytest.raises(ConfigError, match=r"no image of this recording has a score.*edges"):
            rescored_session(opened, other_fitness(opened, {"response_ms": between}))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "say what is to be scored otherwise"),
        (("--response", 50, 500), "must lie inside rig.window_ms"),
        (("--response", 200, 50), "must start before it ends"),
        (("--units", "7"), "must be 0 to 1, a row of the rig's unit table; found 7"),
        (("--units", "mini:fc6:33"), "did you mean 'mini:fc6:3'?"),
        (("--fitness", "knd=late-early"), "is not a key here (did you mean kind?)"),
        (("--fitness", "kind"), "--fitness must be KEY=VALUE"),
        (("--fitness", "late_ms=[150,250]"), "kind = 'late-early' does"),
        (("--fitness", "kind=target", "--fitness", "target=no.npy"), "no.npy cannot be read"),
        (("--fitness", "no.toml"), "the fitness file no.toml cannot be read"),
        (("--response", 60, 160, "--thread", "other"), "a thread must be one of texture"),
    ],
)
def test_what_cannot_be_is_said(searched, monkeypatch, capsys, arguments, message):
    said = run_here(monkeypatch, capsys, "rescore", searched, *arguments, expect=2)
    assert message in " ".join(said.split())


@pytest.mark.soak
def test_rates_have_no_other_window(tmp_path):
    fold(write_session(tmp_path / "journal", form="rates"), tmp_path / "made-up.h5")
    with recording.read(tmp_path / "made-up.h5") as opened:
        for changes in ({"response_ms": [60, 160]}, {"kind": "late-early"}):
            with pytest.raises(ConfigError, match=r"the rig sent rates"):
                other_fitness(opened, changes)
        session = rescored_session(opened, other_fitness(opened, {"units": [1, 2]}))
        assert session.threads[0].agreement.n > 5


def test_the_command_writes_tables_and_pictures(searched, tmp_path, monkeypatch, capsys):
    file = tmp_path / "fitness.toml"
    file.write_text("[fitness]\nunits = [0, 1]\nresponse_ms = [60.0, 160.0]\n")
    out = tmp_path / "out"
    arguments = ("--fitness", file, "--fitness", "minimise=true", "--out", out)
    said = run_here(monkeypatch, capsys, "rescore", searched, *arguments)
    assert "recorded scores are, bit for bit, what the responses give" in said
    assert "now: rate of 2 units in 60 to 160 ms; in spikes/s, minimised" in said
    assert "bit for bit, in 2 of 2" in said
    with recording.read(searched) as opened:
        scores = opened.threads[0].score
    with (out / "images.csv").open(newline="") as content:
        rows = list(csv.DictReader(content))
    assert [float(row["score"]) for row in rows] == scores.tolist()
    assert {path.name for path in out.iterdir()} == {
        "threads.csv",
        "generations.csv",
        "images.csv",
        "agreement.png",
        "movers.png",
    }


def test_values_of_keys_are_as_in_a_session_file():
    assert read_changes([
        "kind=late-early",
        "late_ms=[150, 250]",
        "units=3",
        "minimise=true",
    ]) == {
        "kind": "late-early",
        "late_ms": [150, 250],
        "units": [3],
        "minimise": True,
    }


def test_units_are_named_and_the_best_rank_is_said(searched, tmp_path, monkeypatch, capsys):
    said = run_here(
        monkeypatch, capsys, "rescore", searched, "--units", "1", "--out", tmp_path / "out"
    )
    said = " ".join(said.split())
    assert "; units 0 (mini:fc6:" in said
    with recording.read(searched) as opened:
        label = str(opened.units["label"][1])
    assert f"; unit 1 ({label})" in said
    assert "(1: best)" in said
    with (tmp_path / "out" / "threads.csv").open(newline="") as content:
        (row,) = csv.DictReader(content)
    assert row["recorded"] != row["other"]
    assert "unit 1 (" in row["other"]


def test_ties_alone_say_nothing_of_parents_or_turns(searched, tmp_path, monkeypatch, capsys):
    """A window before any spike can be: every image has the same score."""
    out = tmp_path / "out"
    window = ("--response", -100, -99.99)
    said = run_here(monkeypatch, capsys, "rescore", searched, *window, "--out", out)
    said = " ".join(said.split())
    assert "every image has the same other score, 0" in said
    with (out / "generations.csv").open(newline="") as content:
        rows = list(csv.DictReader(content))
    for row in rows:
        assert (row["parents_differing"], row["turned_deg"]) == ("", "")
        assert "every image has the same other score" in row["reason"]


@pytest.mark.soak
def test_legends_and_the_line_of_all_moves_lie_in_no_curve(searched):
    with recording.read(searched) as opened:
        session = rescored_session(opened, other_fitness(opened, {"minimise": True}))
    figure = draw_agreement(session, title="a session")
    figure.canvas.draw()
    for axes in figure.axes[1:3]:
        legend, inside = axes.get_legend().get_window_extent(), axes.get_window_extent()
        assert legend.y0 >= inside.y1
        assert axes.get_xlim()[1] > 2
    whole = session.threads[0].turned.value
    assert whole > 90
    assert figure.axes[2].get_ylim()[1] > whole
