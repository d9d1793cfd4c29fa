"""Sequential plans: batches that are alike, cells that stop when they are settled."""

import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from benchmarks.optimizers import campaign, page, plan
from benchmarks.optimizers.contestants import Contestant
from benchmarks.optimizers.intervals import Comparison, Estimate
from benchmarks.optimizers.looks import FEWEST_UNITS, batches, open_cells, verdict
from benchmarks.optimizers.outcomes import Spec
from benchmarks.optimizers.worlds import FOREIGN, own_world
from evolver.campaign.run import done_here
from evolver.campaign.store import Store
from tests.benchmarks.made import SPEC, outcome


def spec(layer, k, seed, world="w"):
    return Spec(**{**SPEC, "world": world, "unit": f"mini:{layer}:{k}", "seed": seed})


def test_batches_have_all_layers_and_every_run_once():
    specs = [
        spec(layer, k, seed, world)
        for world in ("w", "v")
        for seed in (1, 2)
        for layer in ("conv2", "fc5", "logits")
        for k in range(4)
    ]
    parts = batches(specs, 4)
    assert [len(part) for part in parts] == [12] * 4
    assert sorted(s.key for part in parts for s in part) == sorted(s.key for s in specs)
    for part in parts:
        for world in ("w", "v"):
            layers = [s.unit.split(":")[1] for s in part if s.world == world]
            assert sorted(layers) == sorted(["conv2", "fc5", "logits"] * 2)
    assert {s.seed for part in parts[:2] for s in part} == {1}
    assert [len(part) for part in batches(specs[:2], 4)] == [1, 1]


@pytest.mark.parametrize(
    ("kind", "low", "high", "said"),
    [
        ("ratio", 1.06, 1.2, "ahead"),
        ("ratio", 1.04, 1.2, "open"),
        ("ratio", 0.97, 1.04, "alike"),
        ("ratio", 0.94, 1.04, "open"),
        ("ratio", 0.8, 0.94, "behind"),
        ("ratio", np.nan, np.nan, "open"),
        ("difference", 0.2, 0.4, "ahead"),
        ("difference", 0.05, 0.4, "open"),
        ("difference", -0.05, 0.05, "alike"),
        ("difference", -9.0, -0.2, "behind"),
    ],
)
def test_a_verdict_is_where_the_interval_lies(kind, low, high, said):
    estimate = Estimate(1.0, low, high, 0.1, 30, 30)
    assert verdict(Comparison(kind, estimate), 0.05, 2.0) == said
    few = replace(estimate, units=FEWEST_UNITS - 1)
    assert verdict(Comparison(kind, few), 0.05, 2.0) == "too few units"


def test_open_cells_go_on_with_what_they_are_compared_with():
    rng = np.random.default_rng(0)
    ratios = {
        "cholesky": np.zeros(12),
        "sep": rng.normal(0.3, 0.01, 12),  # leads, and is settled
        "snes": rng.normal(0.28, 0.2, 12),  # open against the leader
        "genetic": rng.normal(-0.5, 0.01, 12),
    }
    outcomes = [
        outcome(float(np.exp(value)), optimizer=name, unit=f"mini:fc5:{k}", noise=noise)
        for noise in ("0", "0.2")
        for name, values in ratios.items()
        for k, value in enumerate(values)
        if noise == "0" or name != "snes"
    ]
    still = set(open_cells(outcomes, level=0.9875, within=0.05))
    assert still == {("w", "0", name) for name in ("cholesky", "sep", "snes")}


def test_a_settled_plan_stops_and_says_so(tmp_path):
    """Twins of the baseline are alike at the first look; the second is not made."""
    fixed = "tests.benchmarks.made:Fixed"
    chosen = replace(
        plan.preset("quick", unit_set="training", device="cpu"),
        worlds=(own_world("tests.benchmarks.made:flat", norm=2.0),),
        units=tuple(f"mini:fc5:{k}" for k in range(24)), unit_set="named", noises=("0",),
        contestants=(Contestant("cholesky", fixed), Contestant("twin", fixed)),
        generations=1, popsize=4, looks=2,
    )  # fmt: skip
    due, store = plan.spell_out(chosen), Store(tmp_path, make=True)

    def run(chosen, due):
        said, looks = io.StringIO(), {}
        console = Console(file=said, width=100)
        outcomes = campaign.run_plan(
            chosen, due, store, workers=1, console=console, cluster=done_here,
            so_far=looks.__setitem__,
        )  # fmt: skip
        return outcomes, said.getvalue(), looks

    outcomes, said, looks = run(chosen, due)
    assert not looks
    assert (len(outcomes), len(due.runs)) == (24, 48)
    assert "Look 1 of 2" in said
    assert "0 of 2 cells are open" in said
    assert "Look 2" not in said
    assert len(store.plan().tasks) == 24

    other = Contestant("random", "random", (("sigma", 1.0),))
    more = replace(chosen, contestants=(*chosen.contestants, other))
    outcomes, said, looks = run(more, plan.spell_out(more))
    assert {look: len(there) for look, there in looks.items()} == {1: 36}
    due = plan.spell_out(more)
    text = page.write_results(
        more, due, looks[1], [], tmp_path, command="again", after_look=1
    ).markdown
    assert "After look 1 of 2; the others are to come. 36 runs" in text
    assert "36 runs, 24 done before" in said
    assert " of 3 cells are open" in said
    assert "Look 2 of 2" in said
    assert {o.spec.optimizer for o in outcomes[36:]} >= {"cholesky", "random"}
    assert store.done() == {o.key for o in outcomes}


def test_a_level_is_divided_among_looks_and_foreign_units_are_as_many():
    standard = plan.preset("standard", unit_set="held-apart", device="cpu")
    assert standard.looks == plan.LOOKS
    assert standard.level == pytest.approx(1 - 0.05 / plan.LOOKS)
    assert len(standard.units) * standard.seeds >= 60
    foreign = standard.units_of(FOREIGN)
    assert len(foreign) == len(standard.units)
    assert not set(foreign) & set(standard.units)
    quick = plan.preset("quick", unit_set="held-apart", device="cpu")
    assert (quick.looks, quick.level) == (1, 0.95)
