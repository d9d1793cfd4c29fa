"""What came of runs: kept number for number, found by what they depend on."""

import msgspec
import pytest

from benchmarks.optimizers.outcomes import (
    Curve,
    RunFacts,
    RunOutcome,
    Spec,
    as_outcome,
    as_result,
)
from evolver.campaign.store import Store
from tests.benchmarks.made import SPEC, outcome


def test_what_is_kept_is_read_again_number_for_number(tmp_path):
    spec = Spec(**{**SPEC, "seed": 4})
    found = [
        outcome(1 / 3, seed=2),
        outcome(0.1, seed=3, failed="ask(): lost"),
        RunOutcome(spec.key, spec, "being made: lost", Curve(), {}),
    ]
    store = Store(tmp_path, make=True)
    for one in found:
        store.keep(as_result(one))
    assert store.sound() == {one.key for one in found}
    assert [as_outcome(store.read(one.key, RunFacts)) for one in found] == found


@pytest.mark.parametrize("name", sorted(SPEC))
def test_a_run_is_another_run_when_anything_it_depends_on_is(name):
    value = SPEC[name]
    other = {
        str: f"{value}x",
        bool: value is False,
        int: 7,
        float: 1.25,
        dict: {"sigma": 3.5},
    }[type(value)]
    assert Spec(**SPEC).key != Spec(**{**SPEC, name: other}).key
    assert set(SPEC) == set(Spec.__struct_fields__)


def test_a_key_does_not_depend_on_the_order_of_options():
    one = Spec(**{**SPEC, "options": {"a": 1, "b": 2}})
    other = Spec(**{**SPEC, "options": {"b": 2, "a": 1}})
    assert one.key == other.key
    assert msgspec.json.decode(msgspec.json.encode(one), type=Spec).key == one.key
