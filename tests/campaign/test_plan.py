"""A campaign's tasks: each combination once, each digest of what its numbers depend on."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolver import config
from evolver.campaign.plan import read_campaign, task_digest
from evolver.errors import ConfigError
from tests.campaign.files import SESSION, write
from tests.soak import examples

WEIGHTS = {"thread texture": "a" * 64}


def plan_of(folder, text, session=SESSION, **options):
    return read_campaign(write(folder, text, session), weights=lambda _: WEIGHTS, **options)


GRID = """
[campaign]
name = "c"
session = "session.toml"

[[vary]]
key = "session.seed"
range = [3, 5]

[[vary]]
name = "search"
keys = ["threads.texture.optimizer", "threads.0.optimizer_options"]
values = [["cholesky", { sigma = 2.0 }], ["sep", {}]]
labels = ["cholesky", "diagonal"]
"""


def test_a_grid_has_every_combination_once(tmp_path):
    plan = plan_of(tmp_path, GRID)
    levels = [tuple(task.levels.items()) for task in plan.tasks]
    assert levels == [
        (("seed", seed), ("search", search))
        for seed, search in itertools.product("345", ("cholesky", "diagonal"))
    ]
    settings = [plan.config(task) for task in plan.tasks]
    assert [s.session.seed for s in settings] == [3, 3, 4, 4, 5, 5]
    assert settings[0].threads[0].optimizer_options == {"sigma": 2.0}
    assert settings[1].threads[0].optimizer == "sep"
    assert len({task.digest for task in plan.tasks}) == 6


def test_without_anything_varied_there_is_one_task(tmp_path):
    plan = plan_of(tmp_path, GRID.partition("[[vary]]")[0])
    assert len(plan.tasks) == 1
    assert plan.tasks[0].levels == {}


def test_a_random_design_draws_different_combinations_by_its_seed(tmp_path):
    text = GRID.replace('session = "session.toml"', DRAW.format(4, 1))
    drawn = [task.levels for task in plan_of(tmp_path, text).tasks]
    assert len(drawn) == 4
    assert drawn == [task.levels for task in plan_of(tmp_path, text).tasks]
    other = GRID.replace('session = "session.toml"', DRAW.format(4, 2))
    assert drawn != [task.levels for task in plan_of(tmp_path, other).tasks]
    every = GRID.replace('session = "session.toml"', DRAW.format(6, 1))
    assert len(plan_of(tmp_path, every).tasks) == 6


DRAW = 'session = "session.toml"\ndesign = "random"\ntasks = {}\nseed = {}'


def test_a_digest_is_of_what_numbers_depend_on():
    base = config.parse_session_file(SESSION)

    def digest(weights=WEIGHTS, **changes):
        settings = base
        for key, values in changes.items():
            table = msgspec.structs.replace(getattr(settings, key), **values)
            settings = msgspec.structs.replace(settings, **{key: table})
        return task_digest(settings, weights)

    same = digest()
    assert digest(session={"name": "other", "folder": "elsewhere"}) == same
    assert digest(watchdogs={"idle_s": 7.0}) == same
    assert digest(rig={"endpoint": "tcp://127.0.0.1:9"}) == same
    assert digest(subject={"id": "M12"}, experimenter={"names": ("Wiesel, Torsten",)}) == same
    assert digest(device={"name": "array PIT"}) == same
    changed = [
        digest(session={"seed": 99}),
        digest(session={"generations": 9}),
        digest(presentation={"on_ms": 50.0}),
        digest(rig={"window_ms": (-50.0, 300.0)}),
        digest(simulation={"area": "V1"}),
        digest({"thread texture": "b" * 64}),
    ]
    assert len({same, *changed}) == 7


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x", "not valid TOML"),
        (f"x = {'[' * 5000}{']' * 5000}", r"campaign\.toml: its values lie too deep"),
        (GRID.replace("range = [3, 5]", "values = [nan, 1]"), r"values: must be without nan"),
        (GRID.replace("range = [3, 5]", "values = 3"), r"a list of \(any value\)"),
        (GRID.replace('"session.toml"', '"campaign.toml"'), "is not a key here"),
        ('[campaign]\nname = "c"', "campaign.session: is missing"),
        (GRID.replace("range = [3, 5]", ""), r"vary\[0\].*must have values, or a range"),
        (GRID.replace("range = [3, 5]", "range = [5, 3]"), "must run upwards"),
        (GRID.replace('key = "session.seed"', ""), "must have a key, or keys"),
        (GRID.replace('["sep", {}]', '["sep"]'), "must be a list of 2"),
        (GRID.replace('"diagonal"]', '"cholesky"]'), "a label of its own"),
        (GRID.replace('name = "search"', 'name = "seed"'), "two .* are called 'seed'"),
        (GRID.replace("threads.0.optim", "threads.other.optim"), "one 'other' in the session"),
        (GRID.replace("session.seed", "session.sead"), r"(?s)no session can .* mean seed"),
        (GRID.replace("session.seed", "session..seed"), "a key must be dotted"),
        (GRID.replace("session.seed", "session.name"), "changes no number of a session"),
        (GRID.replace("range = [3, 5]", "range = [1, 2000000]"), "at most 1,000,000 numbers"),
        (GRID.replace("range = [3, 5]", "values = [0, 0.0]"), "two are equal"),
        (GRID.replace("sigma = 2.0", "sigma = nan"), "must be finite"),
        (GRID.replace('"diagonal"]', '"\\u001b[31m"]'), "letters that are printed"),
        (GRID.replace('"diagonal"]', '"\\u202ediagonal"]'), "letters that are printed"),
        (GRID.replace('"session.toml"', '"\\u001b.toml"'), "the path of a session file"),
        (GRID.replace('"session.toml"', '"none.toml"'), "cannot be read"),
        (GRID.replace('session = "s', 'tasks = 3\nsession = "s'), "a grid has them all"),
        (GRID.replace('session = "session.toml"', DRAW.format(7, 1)), "must be 1 to 6"),
    ],
)
def test_what_no_campaign_can_be_is_refused_with_its_key(tmp_path, text, said):
    with pytest.raises(ConfigError, match=said):
        plan_of(tmp_path, text)


def test_a_session_file_that_is_no_toml_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"session\.toml is not valid TOML"):
        plan_of(tmp_path, GRID, session="root:x:0")


def test_a_session_file_is_told_from_a_campaigns(tmp_path):
    with pytest.raises(ConfigError, match="must be a campaign's file; it is a session file"):
        plan_of(tmp_path, '[session]\nname = "a"\n')


def test_a_factor_is_not_called_as_a_column(tmp_path):
    with pytest.raises(ConfigError, match="must not be called 'seed'"):
        plan_of(tmp_path, GRID, taken=("seed",))


@examples(0.25)
@given(values=st.lists(st.integers(0, 2**40), min_size=1, max_size=5, unique=True))
def test_values_reach_their_key_and_nothing_else(tmp_path_factory, values):
    text = GRID.partition("[[vary]]")[0]
    text += f'[[vary]]\nkey = "simulation.seed"\nvalues = {values}\n'
    plan = plan_of(tmp_path_factory.mktemp("plan"), text)
    for task, value in zip(plan.tasks, values, strict=True):
        session = plan.config(task)
        assert session.simulation.seed == value
        base = config.parse_session_file(SESSION)
        simulation = msgspec.structs.replace(session.simulation, seed=None)
        assert msgspec.structs.replace(session, simulation=simulation) == base
