"""A thread that names no optimizer gets the one that was found to suit its generator."""

import msgspec
import pytest

from evolver import config, generators, optimizers
from evolver.config import usual_optimizers
from evolver.config.search_words import threads_without_optimizer
from evolver.config.usual_optimizers import COMPARED, ELSEWHERE, usual_optimizer
from evolver.errors import ConfigError
from evolver.generators.by_name import REGISTRY
from evolver.generators.deepsim import CODE_SCALE

FILE = """
[session]
name = "a"
[presentation]
on_ms = 100.0
off_ms = 100.0
[[threads]]
name = "texture"
generator = "mini-texture"
[[threads]]
name = "object"
generator = "mini-object"
[[threads]]
name = "chosen"
generator = "mini-texture"
optimizer = "sep"
[[sets]]
name = "set"
generator = "mini-object"
count = 4
"""


def named(threads):
    return [thread.optimizer for thread in threads]


def test_what_a_file_leaves_out_follows_the_generator_and_what_it_says_stays():
    assert named(config.parse_session_file(FILE).threads) == ["snes", "cholesky", "sep"]


def test_whether_it_was_named_is_known_and_no_part_of_the_table():
    texture, _, chosen = config.parse_session_file(FILE).threads
    assert [texture.names_optimizer, chosen.names_optimizer] == [False, True]
    named = config.ThreadTable("texture", "mini-texture", optimizer="snes")
    assert named.names_optimizer
    assert named == texture
    assert msgspec.json.encode(named) == msgspec.json.encode(texture)
    assert threads_without_optimizer(FILE) == {"texture", "object"}


@pytest.mark.parametrize(
    "text", ["", "threads = 3", "threads = [3, {}]", "= no TOML", "[" * 999]
)
def test_of_what_is_no_session_file_no_thread_is_said_to_name_none(text):
    assert threads_without_optimizer(text) == frozenset()


def test_the_table_names_generators_and_optimizers_that_there_are():
    assert set(COMPARED) <= set(REGISTRY.names())
    assert set(COMPARED) == {n for n in COMPARED if usual_optimizer(n) != ELSEWHERE}
    for name in {ELSEWHERE, *COMPARED.values()}:
        assert optimizers.find(name)
    assert generators.load("mini-texture").code_scale.step == 8.0
    assert usual_optimizer("deepsim-fc6") == "snes"
    assert CODE_SCALE.step == 3.0
    assert usual_optimizer("deepsim-pool5") == ELSEWHERE


def test_an_empty_name_is_refused():
    with pytest.raises(ConfigError, match=r"threads\[2\]\.optimizer"):
        config.parse_session_file(FILE.replace('"sep"', '""'))


def test_what_was_recorded_goes_before_what_suits_today(monkeypatch):
    begun = config.parse_session_file(FILE)
    recorded = {thread.name: thread.optimizer for thread in begun.all_threads}
    monkeypatch.setattr(usual_optimizers, "COMPARED", {"mini-object": "sep"})
    today = config.parse_session_file(FILE)
    assert named(today.threads) == ["cholesky", "sep", "sep"]
    again = today.as_recorded(recorded)
    assert again == begun
    assert len(again.sets) == 1


def test_of_a_thread_that_was_not_recorded_nothing_is_lost():
    """As in what was salvaged of a session before its second thread had a turn."""
    settings = config.parse_session_file(FILE)
    again = settings.as_recorded({"texture": "cholesky", "thread 1": "unknown"})
    assert named(again.threads) == ["cholesky", "cholesky", "sep"]
