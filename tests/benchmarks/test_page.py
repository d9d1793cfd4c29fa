"""What is written down: tables that agree with the runs, and a page that needs nothing else."""

import re
import struct

import numpy as np
import pytest

from benchmarks.optimizers import figures, page, plan, tables
from benchmarks.optimizers.cost import Cost
from benchmarks.optimizers.intervals import Comparison, Estimate
from benchmarks.optimizers.worlds import MINI
from tests.benchmarks.made import outcome

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
    due = plan.Due(
        [(o.spec, chosen.contestants[0]) for o in outcomes],
        [(MINI.name, "evosax-snes", "evosax is not installed: pip install evosax")],
        {MINI.name: (256, 28)},
        {},
    )
    return chosen, due, outcomes


COSTS = [
    Cost("cholesky", 256, 28, 0.001, 0.001, 1.0, 1.0, 2_000_000),
    Cost("sep", 256, 28, 0.002, 0.003, 2.0, 3.0, None),
    Cost("broken", 256, 28, 0.0, 0.0, 0.0, 0.0, None, "lost"),
]


def test_everything_is_written_and_agrees(made, tmp_path):
    chosen, due, outcomes = made
    text = page.write_results(chosen, due, outcomes, COSTS, tmp_path, command="do <it>")
    assert text == (tmp_path / "tables.md").read_text(encoding="utf-8")
    assert "| no noise | sep | 1.50 (1.50 to 1.50) | none | 6 | 0 % |" in text
    assert "| sep | 1.50 (1.50 to 1.50) | 1.000 | 1.50 (1.50 to 1.50) | 1.000 |" in text
    assert "| (pairs) | 6 |  | 6 |  |" in text
    assert "| sep | open, leads (6) | open, leads (6) |" in text
    assert "| (resolves) | 0 % |  | 0 % |  |" in text
    assert "| cholesky | 1.00 | 1.00 | 1.00 | 2.0 |" in text
    assert "| sep | 2.00 | 2.00 | 3.00 | \N{EN DASH} |" in text
    assert "- evosax-snes: mini-texture: evosax is not installed" in text
    assert "- random: 1 run failed, the first on mini:fc5:0, noise 0: lost <b>" in text
    assert "`do <it>`" in text
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
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
    from benchmarks.optimizers.statistics import tabulate

    rows = tables.trust(tabulate(outcomes)["w"], "best")
    assert rows == [["no noise", "sep", "1.50", "too few units to tell", "2", "\N{EN DASH}"]]


def test_looks_differ_for_two_dozen_optimizers():
    names = ["cholesky", *(f"o{k}" for k in range(23))]
    found = figures.looks(names)
    assert len({(look["color"], str(look["ls"])) for look in found.values()}) == 24


@pytest.mark.soak
def test_a_page_is_written_where_nothing_succeeded(made, tmp_path):
    chosen, due, outcomes = made
    failed = [outcome(1.0, world=MINI.name, failed="lost", seed=k) for k in range(3)]
    text = page.write_results(chosen, due, failed, [], tmp_path, command="again")
    assert "- cholesky: 3 runs failed" in text
    assert "<img" not in (tmp_path / "page.html").read_text(encoding="utf-8")
    only_sep = [o for o in outcomes if o.spec.optimizer == "sep"]
    text = page.write_results(chosen, due, only_sep, [], tmp_path, command="again")
    assert "| no noise | sep | \N{EN DASH} | none | \N{EN DASH} | \N{EN DASH} |" in text
