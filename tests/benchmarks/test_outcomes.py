"""Results on disk: kept whole, found by what they depend on, never half a line."""

import msgspec
import pytest

from benchmarks.optimizers.outcomes import Spec, Store
from evolver.errors import RecordingError
from tests.benchmarks.made import SPEC, outcome


def test_what_is_added_is_read_again(tmp_path):
    path = tmp_path / "deep" / "runs.jsonl"
    added = [outcome(1.5), outcome(2.5, seed=2)]
    Store(path).append(added)
    Store(path).append([outcome(0.1, seed=3, failed="ask(): lost")])
    found = Store(path).outcomes
    assert list(found.values())[:2] == added
    assert [o.failed for o in found.values()] == ["", "", "ask(): lost"]


@pytest.mark.parametrize("cut", [1, 10, 200])
def test_a_line_that_was_cut_short_is_taken_away(tmp_path, cut):
    path = tmp_path / "runs.jsonl"
    store = Store(path)
    store.append([outcome(1.0)])
    whole = path.read_bytes()
    store.append([outcome(2.0, seed=2)])
    path.write_bytes(path.read_bytes()[:-cut])
    again = Store(path)
    assert [o.best for o in again.outcomes.values()] == [1.0]
    assert path.read_bytes() == whole
    again.append([outcome(2.0, seed=2)])
    assert [o.best for o in Store(path).outcomes.values()] == [1.0, 2.0]


def test_a_line_that_is_no_run_is_refused(tmp_path):
    path = tmp_path / "runs.jsonl"
    Store(path).append([outcome(1.0)])
    path.write_bytes(b'{"key": 3}\n' + path.read_bytes())
    with pytest.raises(RecordingError, match="line 1 is not"):
        Store(path)


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
