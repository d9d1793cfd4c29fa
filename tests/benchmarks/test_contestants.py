"""Who takes part, and why somebody does not."""

import importlib
import linecache
import sys

import numpy as np
import pytest

from benchmarks.optimizers import contestants
from benchmarks.optimizers.added import check_added, parse_contestant, refuse_twin_labels
from benchmarks.optimizers.contestants import Contestant, find_contestants
from evolver.errors import ConfigError
from evolver.optimizers import CholeskyCMA
from evolver.optimizers.by_name import find_optimizer
from evolver.optimizers.within_axes import make_axes

SEARCH = '''"""A search."""

from a_lab.helper import half


class Mine:
    """Mine."""

    def __init__(self, d, *, rng, popsize=None, initial=None):
        self.step = half(2)
'''
HELPER = """def half(x):
    return x / 2
"""


def test_an_optimizer_is_read_as_a_user_adds_it():
    found = parse_contestant(
        "mine=my_lab.search:Mine sigma=2.5 n=3 fast=true mode=wide name='\"a b\"'"
    )
    assert (found.label, found.target) == ("mine", "my_lab.search:Mine")
    assert dict(found.options) == {
        "sigma": 2.5,
        "n": 3,
        "fast": True,
        "mode": "wide",
        "name": "a b",
    }
    assert parse_contestant("my_lab.search:Mine").label == "Mine"
    assert parse_contestant("cholesky sigma=2.0").label == "cholesky"


def test_axes_are_named_as_in_a_session_file():
    axes = make_axes(np.eye(32)[:9])
    along = parse_contestant("along=rank-sphere radius=$spread axes.source=metric axes.k=9")
    assert along.axes == {"source": "metric", "k": 9}
    settings = {"popsize": 12, "initial": np.ones(32), "norm": 6.0, "generations": 5}
    codes = along.make(32, rng=np.random.default_rng(0), axes=axes, **settings).ask()
    np.testing.assert_array_equal(codes[:, 9:], np.ones((12, 23)))  # as the start has it
    alone = find_optimizer("rank-sphere")(
        9, rng=np.random.default_rng(0), popsize=12, initial=np.ones(9), radius=2.0
    )
    np.testing.assert_array_equal(codes[:, :9], alone.ask())  # spread: of 9 dimensions
    with pytest.raises(ConfigError, match="it got none"):
        along.make(32, rng=np.random.default_rng(0), **settings)
    assert along.digest != parse_contestant("rank-sphere").digest
    own = parse_contestant("tests.benchmarks.made:Keeps axes.k=9")
    kept = own.make(32, rng=np.random.default_rng(0), axes=axes, **settings)
    assert kept.options == {"axes": axes}


@pytest.mark.parametrize(
    "text", ["", "  ", "a:b axes.2=3", "a:b c", "a:b 2=3", "a:b 'unclosed"]
)
def test_another_text_is_refused(text):
    with pytest.raises(ConfigError, match="an optimizer is added as"):
        parse_contestant(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "got '': it names no optimizer"),
        ("sep sigma=nan", "'nan' must be finite"),
        ("nan=bad:Base mode=-inf", "'-inf' must be finite"),
        ("sep many=[1.0,inf]", "must be finite"),
        ("sep when=2020-01-01", "must be a number, true, false, a text or a list of numbers"),
    ],
)
def test_a_value_that_no_result_could_hold_is_refused(text, why):
    with pytest.raises(ConfigError, match="an optimizer is added as") as raised:
        parse_contestant(text)
    assert why in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        "along=cholesky axes.k=9",
        "tests.benchmarks.made:Keeps axes.k=9",  # takes anything
        "tests.benchmarks.made:Fixed",
    ],
)
def test_axes_are_given_to_who_takes_them(text):
    check_added(parse_contestant(text))


def test_axes_are_not_given_to_who_takes_none():
    with pytest.raises(
        ConfigError, match=r"must have a parameter axes, as it is given axes\.k"
    ):
        check_added(parse_contestant("tests.benchmarks.made:Fixed axes.k=9"))


def test_settings_that_depend_on_the_world_are_filled_in():
    options = (
        ("r", "$norm"),
        ("s", "$spread"),
        ("g", "$generations"),
        ("word", "norm"),
        ("n", "$images"),
    )
    found = Contestant("k", "tests.benchmarks.made:Keeps", options).make(
        100,
        rng=np.random.default_rng(0),
        popsize=4,
        initial=None,
        norm=150.0,
        generations=75,
    )
    assert found.options == {"r": 150.0, "s": 15.0, "g": 75, "word": "norm", "n": 300}


def test_who_is_not_there_is_said_with_the_reason():
    absent = Contestant("a", "cholesky", library="no-such-distribution")
    assert absent.why_not(8) == (
        "no-such-distribution is not installed: pip install no-such-distribution"
    )
    assert "must be one of" in Contestant("b", "no-such-name").why_not(8)
    assert "importable" in Contestant("c", "no_such_module:Mine").why_not(8)
    slow = Contestant("d", "cholesky", most_d=256)
    assert slow.why_not(256) == ""
    assert "too slow beyond 256" in slow.why_not(257)


def test_everyone_in_the_field_has_a_label_of_their_own():
    refuse_twin_labels(contestants.FIELD)
    with pytest.raises(ConfigError, match="sep comes twice"):
        refuse_twin_labels([*find_contestants(["sep"]), *find_contestants(["sep"])])
    with pytest.raises(ConfigError, match="must be one of cholesky"):
        find_contestants(["no-such-label"])


def test_own_optimizers_of_the_field_do_a_generation():
    for contestant in contestants.FIELD:
        if contestant.library or contestant.why_not(32):
            continue
        optimizer = contestant.make(
            32,
            rng=np.random.default_rng(0),
            popsize=12,
            initial=np.ones(32),
            norm=150.0,
            generations=5,
        )
        for _ in range(2):
            codes = optimizer.ask()
            assert codes.shape[1] == 32
            assert np.isfinite(codes).all()
            optimizer.tell(codes, codes[:, 0])


def test_the_digest_follows_what_the_code_does(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    package = tmp_path / "a_lab"
    package.mkdir()
    (package / "__init__.py").write_text("")

    def digest(search, helper):
        (package / "search.py").write_text(search)
        (package / "helper.py").write_text(helper)
        for name in [name for name in sys.modules if name.partition(".")[0] == "a_lab"]:
            del sys.modules[name]
        importlib.invalidate_caches()
        linecache.clearcache()
        return Contestant("mine", "a_lab.search:Mine").digest

    first = digest(SEARCH, HELPER)
    assert digest("# A comment.\n" + SEARCH.replace("A search", "Search"), HELPER) == first
    assert digest(SEARCH.replace("(2)", "(3)"), HELPER) != first
    assert digest(SEARCH, HELPER.replace("/ 2", "/ 3")) != first
    assert digest(SEARCH, HELPER) == first


def test_what_is_registered_is_found():
    assert find_contestants(["cholesky"])[0].factory() is CholeskyCMA
