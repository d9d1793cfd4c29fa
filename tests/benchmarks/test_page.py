"""What is written down: tables that agree with the runs, and a page that needs nothing else."""

import csv
import io
import re
import struct

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from scipy import stats

from benchmarks.optimizers import figures, page, plan, statistics, tables, terminal
from benchmarks.optimizers.added import parse_contestant
from benchmarks.optimizers.cost import Cost
from benchmarks.optimizers.intervals import Comparison, Estimate
from benchmarks.optimizers.worlds import MINI
from tests.benchmarks.made import outcome
from tests.browser import chromium, tab

UNITS = [f"mini:fc5:{k}" for k in range(6)]


@pytest.fixture
def made():
    """Return a plan, spelled out, and its runs: sep is 1.5 times cholesky, random failed."""
    quick = plan.preset("quick", unit_set="held-apart", device="cpu")
    chosen = plan.replace(quick, worlds=(MINI,), units=tuple(UNITS), noises=("0", "poisson-20"))
    outcomes = [
        outcome(value * (1 + k), world=MINI.name, optimizer=name, unit=unit, noise=noise)
        for noise in chosen.noises
        for k, unit in enumerate(UNITS)
        for name, value in (("cholesky", 1.0), ("sep", 1.5))
    ]
    outcomes.append(
        outcome(1.0, world=MINI.name, optimizer="random", unit=UNITS[0], failed="lost <b>")
    )
    along = parse_contestant("along=snes sigma=3.0 axes.energy=0.9")
    chosen = plan.replace(chosen, contestants=(*chosen.contestants, along))
    due = plan.Due(
        [(o.spec, chosen.contestants[0]) for o in outcomes],
        [(MINI.name, "evosax-snes", "evosax is not installed: pip install evosax")],
        {MINI.name: (256, 28)},
        {(MINI.name, "along"): 38},
    )
    return chosen, due, outcomes


COSTS = [
    Cost("cholesky", 256, 28, 0.001, 0.001, 0.00125, 0.8, 1.0, 2_000_000),
    Cost("sep", 256, 28, 0.002, 0.003, 0.001, 2.0, 3.0, None),
    Cost("slow", 256, 28, 1.2345, 0.003, 0.1, 12.345, 3.0, None),
    Cost("broken", 256, 28, 0.0, 0.0, 0.0, 0.0, 0.0, None, "lost"),
]


def test_everything_is_written_and_agrees(made, tmp_path):
    chosen, due, outcomes = made
    results = page.write_results(chosen, due, outcomes, COSTS, tmp_path, command="do <it>")
    text = results.markdown
    assert text == (tmp_path / "tables.md").read_text(encoding="utf-8")
    few = "too few units to tell"
    assert f"| no noise | sep | 1.50 (1.50 to 1.50) | {few} | 6 | 0 % |" in text
    assert "| sep | 1.50 (1.50 to 1.50) | 1.000 | 1.50 (1.50 to 1.50) | 1.000 |" in text
    assert "| (pairs) | 6 |  | 6 |  |" in text
    assert "| cholesky | 6 units | 6 units |" in text
    assert "| sep | 6 units, leads | 6 units, leads |" in text
    assert "Nothing is settled or told apart on fewer than 10 units" in text
    assert "This run has 6 units, and settles nothing." in text
    assert "| (resolves) | 0 % |  | 0 % |  |" in text
    assert "| cholesky | 1 | 1.25 | 0.80 | 1.00 | 2.0 |" in text
    assert "| sep | 2 | 1 | 2.00 | 3.00 | \N{EN DASH} |" in text
    assert "| slow | 1230 | 100 | 12.35 | 3.00 | \N{EN DASH} |" in text
    assert (
        "| along | snes | sigma = 3.0, axes.energy = 0.9 | 38 of 256 dimensions, metric (mini"
        in text
    )
    assert "| sep | sep | sigma = 3.0 | all |" in text
    assert "- evosax-snes: mini-texture: evosax is not installed" in text
    assert "- random: 1 run failed, the first on mini:fc5:0, noise 0: lost <b>" in text
    assert "`do <it>`" in text
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "there is no circle: after \N{GREEK CAPITAL LETTER DELTA}" in html
    assert "Before an arrow, a ratio beyond 3" in html
    assert "<td>38 of 256 dimensions, metric (mini-texture)</td>" in html
    assert "lost &lt;b&gt;" in html
    assert "<code>do &lt;it&gt;</code>" in html
    assert "<script" not in html
    assert not re.findall(r"(?:src|href)=\"(?!data:)", html)
    assert html.count("<img ") == 3
    assert "prefers-color-scheme: dark" in html
    for name in ("ratios", "curves", "cost"):
        head = (tmp_path / f"mini-texture-{name}.png").read_bytes()[:24]
        width, height = struct.unpack(">II", head[16:])
        assert min(width, height) > 400


@pytest.fixture
def undrawn(monkeypatch):
    """Draw no figures, which take seconds."""
    monkeypatch.setattr(page, "_figures", lambda *_: [])


@pytest.mark.usefixtures("undrawn")
def test_a_terminal_of_80_columns_shows_it_whole(made, tmp_path):
    chosen, due, _ = made
    labels = ("cholesky", "sep", "a-name-of-some-length", "o3", "o4", "o5", "o6", "o7")
    outcomes = [
        outcome(1.0 + k, world=MINI.name, optimizer=label, unit=unit, noise=noise)
        for k, label in enumerate(labels)
        for noise in ("0", "0.2", "0.5", "poisson-20", "poisson-100")
        for unit in UNITS[:5]
    ]
    results = page.write_results(chosen, due, outcomes, COSTS, tmp_path, command="again")
    console = Console(file=io.StringIO(), width=80)
    terminal.print_results(results, console)
    printed = console.file.getvalue()
    lines = printed.splitlines()
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines if line.startswith("|")]
    words = re.sub(r"\s+", " ", printed)
    for table in results.worlds[0].shortest:
        assert table.title in lines
        assert table.note in words
        for cell in (cell for row in table.rows for cell in row):
            assert cell in printed if len(cell) <= 30 else cell[:20] in printed
    assert "evosax-snes: mini-texture: evosax is not installed" in printed


@pytest.mark.usefixtures("undrawn")
def test_a_table_cut_at_an_edge_has_a_shadow_there(made, tmp_path):
    chosen, due, outcomes = made
    page.write_results(chosen, due, outcomes, [], tmp_path, command="again")
    with chromium() as browser, tab(browser, viewport={"width": 400, "height": 700}) as narrow:
        narrow.goto((tmp_path / "page.html").as_uri())
        region = narrow.get_by_role("region", name="Best image", exact=True)
        assert region.get_attribute("tabindex") == "0"  # for those who scroll by keys

        def edges():
            """Return how much darker than the paper the left and the right edge are."""
            grey = np.asarray(Image.open(io.BytesIO(region.screenshot())).convert("L"), float)
            # Of each column what lies beside letters.
            columns = np.quantile(grey, 0.8, axis=0)
            return (columns[50:-50].max() - columns[[1, -2]]) > 20

        assert edges().tolist() == [False, True]
        region.evaluate("it => { it.scrollLeft = 40 }")
        assert edges().tolist() == [True, True]
        region.evaluate("it => { it.scrollLeft = it.scrollWidth }")
        assert edges().tolist() == [True, False]


@pytest.mark.usefixtures("undrawn")
def test_an_interval_can_be_had_again_from_what_is_written(made, tmp_path):
    chosen, due, _ = made
    rng = np.random.default_rng(7)
    outcomes = [
        outcome(float(np.exp(rng.normal(mean, 0.3))), world=MINI.name, optimizer=label,
                unit=f"mini:fc5:{unit}", seed=seed)
        for unit in range(11) for seed in (1, 2)
        for label, mean in (("cholesky", 0.0), ("sep", 0.2))
        if (unit, seed) != (3, 2)
    ]  # fmt: skip
    text = page.write_results(chosen, due, outcomes, [], tmp_path, command="again").markdown
    with (tmp_path / "runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    logs: dict[str, list[float]] = {}
    for a in rows:
        for b in rows:
            pair = all(a[key] == b[key] for key in ("world", "noise", "unit", "seed"))
            if pair and (a["optimizer"], b["optimizer"]) == ("sep", "cholesky"):
                logs.setdefault(a["unit"], []).append(
                    np.log(float(a["best"]) / float(b["best"]))
                )
    units = list(logs.values())
    u = len(units)
    assert (u, sum(map(len, units))) == (11, 21)
    # As the page says it, with random numbers of its own.
    means = [
        np.mean(np.concatenate([units[k] for k in rng.integers(0, u, u)]))
        for _ in range(10_000)
    ]
    q = stats.norm.cdf(-stats.t.ppf(0.975, u - 1) * np.sqrt(u / (u - 1)))
    low, high = np.exp(np.quantile(means, [q, 1 - q]))
    row = next(line for line in text.splitlines() if line.startswith("| no noise | sep |"))
    found = re.search(r"(\S+) \((\S+) to (\S+)\) .* \| 21 \| (\d+) % \|", row)
    value, printed_low, printed_high, resolves = map(float, found.groups())
    assert value == pytest.approx(np.exp(np.mean(np.concatenate(units))), abs=0.006)
    assert printed_low == pytest.approx(low, abs=0.02)
    assert printed_high == pytest.approx(high, abs=0.02)
    assert resolves == pytest.approx(100 * (np.sqrt(printed_high / printed_low) - 1), abs=1.5)


def test_what_has_no_circle_in_the_figure_is_written_there(made):
    *_, outcomes = made
    worse = [outcome(-0.5 * o.best if o.spec.optimizer == "sep" else o.best, world=MINI.name,
                     optimizer=o.spec.optimizer, unit=o.spec.unit)
             for o in outcomes if o.spec.noise == "0" and not o.failed]  # fmt: skip
    better = [outcome(o.best * (8.0 if o.spec.optimizer == "sep" else 1.0), world=MINI.name,
                      optimizer=o.spec.optimizer, unit=o.spec.unit)
              for o in outcomes if o.spec.noise == "0" and not o.failed]  # fmt: skip
    written = []
    for runs in (worse, better):
        scores = statistics.tabulate(runs)[MINI.name]
        figure = figures.ratios(scores, figures.looks(["cholesky", "sep"]))
        written.append({text.get_text() for axes in figure.axes for text in axes.texts})
    assert written[0] == {"\N{GREEK CAPITAL LETTER DELTA} \N{MINUS SIGN}6.12"}
    assert written[1] == {"12.0 \N{RIGHTWARDS ARROW}"}


@pytest.mark.parametrize("dearest", [1.1, 1.4, 4.0, 30.0, 2000.0])
def test_an_axis_of_costs_has_ticks_to_read_it_by(made, dearest):
    *_, outcomes = made
    scores = statistics.tabulate(outcomes)[MINI.name]
    costs = [Cost(name, 256, 28, 0.1, 0.1, 0.1, 1.0, ratio, None)
             for name, ratio in (("cholesky", 0.93), ("sep", dearest))]  # fmt: skip
    figure = figures.cost(scores, costs, 256, figures.looks(["cholesky", "sep"]))
    (axes,) = figure.axes
    figure.canvas.draw()
    low, high = axes.get_xlim()
    ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
    assert 3 <= len(ticks) <= 11


def test_curves_are_means_in_parts_of_the_units_largest():
    runs = [outcome(2.0, unit=UNITS[0]), outcome(3.0, unit=UNITS[1])]
    grid, line = figures.mean_curve(runs, "best", {UNITS[0]: 4.0, UNITS[1]: 3.0})
    np.testing.assert_array_equal(grid, [4, 8])
    np.testing.assert_allclose(line, [(0.25 + 0.5) / 2, (0.5 + 1.0) / 2])
    _, norms = figures.mean_curve(runs, "mean_norm", {})
    np.testing.assert_allclose(norms, [9.0, 10.0])


def estimate(value, low=np.nan, high=np.nan, resolves=np.nan, pairs=6):
    return Estimate(value, low, high, resolves, pairs, pairs)


def test_numbers_are_written_as_people_read_them():
    minus = "\N{MINUS SIGN}"
    assert tables.interval(estimate(-0.001, -0.2, 1.234)) == f"0.00 ({minus}0.20 to 1.23)"
    assert tables.interval(estimate(1.5)) == "1.50"
    assert tables.interval(estimate(np.nan)) == "\N{EN DASH}"
    assert tables.interval(None) == "\N{EN DASH}"
    below = Comparison("difference", estimate(-0.42, -0.8, -0.05, 0.37))
    delta = "\N{GREEK CAPITAL LETTER DELTA}"
    assert tables.compared(below) == f"{delta} {minus}0.42 ({minus}0.80 to {minus}0.05)"
    ratios = [
        Comparison("ratio", estimate(1.2, 1.1, 1.3, r, n)) for r, n in ((1.04, 9), (1.09, 60))
    ]
    assert tables.resolved([*ratios, below]) == f"4 to 9 %; {delta} 0.37"
    assert tables.resolved(ratios[:1]) == "4 %"
    wide = [Comparison("ratio", estimate(1.2, 0.5, 3.0, r)) for r in (1.49, 2.01, 3.44)]
    assert tables.resolved(wide) == "49 % to over a doubling"
    assert tables.resolved(wide[1:]) == "nothing below a doubling"
    assert tables.pairs_of(ratios) == "9 to 60"
    assert tables.pairs_of([]) == tables.resolved([]) == "\N{EN DASH}"


def test_a_reason_of_several_lines_is_one_item():
    lines = outcome(1.0, failed="lost\n\n| here <b>\r\n# and there")
    ((label, why),) = tables.apart([], [lines])
    assert label == "cholesky"
    assert why.endswith("noise 0: lost | here <b> # and there")


def test_few_units_give_no_verdict():
    outcomes = [
        outcome(v, optimizer=name, unit=unit)
        for unit in UNITS[:2]
        for name, v in (("cholesky", 1.0), ("sep", 1.5))
    ]
    rows = tables.trust(statistics.tabulate(outcomes)["w"], "best")
    assert rows == [["no noise", "sep", "1.50", "too few units to tell", "2", "\N{EN DASH}"]]


def test_looks_differ_for_two_dozen_optimizers():
    names = ["cholesky", *(f"o{k}" for k in range(23))]
    found = figures.looks(names)
    assert len({(look["color"], str(look["ls"])) for look in found.values()}) == 24


@pytest.mark.soak
def test_a_page_is_written_where_nothing_succeeded(made, tmp_path):
    chosen, due, outcomes = made
    failed = [outcome(1.0, world=MINI.name, failed="lost", seed=k) for k in range(3)]
    text = page.write_results(chosen, due, failed, [], tmp_path, command="again").markdown
    assert "- cholesky: 3 runs failed" in text
    assert "<img" not in (tmp_path / "page.html").read_text(encoding="utf-8")
    only_sep = [o for o in outcomes if o.spec.optimizer == "sep"]
    text = page.write_results(chosen, due, only_sep, [], tmp_path, command="again").markdown
    assert "| no noise | sep | \N{EN DASH} | none | \N{EN DASH} | \N{EN DASH} |" in text
