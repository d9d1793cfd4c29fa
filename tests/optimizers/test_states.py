"""States as plain dictionaries: complete, exact, and refused when they are not."""

import io

import numpy as np
import pytest

from evolver.errors import DataError
from evolver.optimizers import CholeskyCMA, state_from_dict, state_to_dict
from tests.optimizers.conformance import hill


@pytest.fixture
def state():
    optimizer = CholeskyCMA(6, rng=np.random.default_rng(0), update_every=2)
    for _ in range(5):
        codes = optimizer.ask()
        optimizer.tell(codes, hill(codes))
    return optimizer.state


def test_only_float64_arrays_and_numbers(state):
    for name, value in state_to_dict(state).items():
        assert type(value) in {int, float} or value.dtype == np.float64, name


def test_arrays_are_copies(state):
    state_to_dict(state)["mean"][:] = 99
    assert not (state.mean == 99).any()


def test_through_a_file(state):
    # Files give numbers back as 0-d arrays.
    file = io.BytesIO()
    np.savez(file, **state_to_dict(state))
    file.seek(0)
    with np.load(file) as stored:
        again = state_from_dict(type(state), {name: stored[name] for name in stored})
    values = state_to_dict(again)
    for name, value in state_to_dict(state).items():
        assert type(values[name]) is type(value)
        np.testing.assert_array_equal(values[name], value)


def test_missing_and_unknown_names_are_listed(state):
    values = state_to_dict(state)
    del values["sigma"]
    values["spare"] = 1
    with pytest.raises(DataError, match=r"missing \['sigma'\], unknown \['spare'\]"):
        state_from_dict(type(state), values)


@pytest.mark.parametrize("value", [2.5, "two", None])
def test_a_value_of_another_kind_is_refused(state, value):
    with pytest.raises(DataError, match="values of a CholeskyState"):
        state_from_dict(type(state), state_to_dict(state) | {"generation": value})


def test_only_states_have_a_dictionary():
    with pytest.raises(DataError, match="got dict"):
        state_to_dict({})
