"""A collector: what is wrong stays with its key, and checking goes on after it."""

import os
from pathlib import Path

import pytest

from evolver.config import load_session_file, parse_session_file, read_session_file
from evolver.config.mistakes import Mistakes, SeveralMistakesError
from evolver.errors import ConfigError, DataError, EvolverError, RecordingError, WeightsError
from evolver.session_folder import check_can_make
from tests.live.sessions import small

GOOD = """
[session]
name = "a"
[presentation]
on_ms = 100
off_ms = 100
[[threads]]
name = "t"
generator = "g"
"""


class TestMistakes:
    def test_one_is_raised_as_what_it_is_with_its_key(self):
        mistakes = Mistakes()
        with mistakes.at("threads[0].weights", of="t"):
            raise WeightsError("no such file")
        with pytest.raises(
            WeightsError, match=r"^threads\[0\]\.weights \('t'\): no such file$"
        ):
            mistakes.raise_any("s.toml")

    def test_data_that_a_file_names_are_the_files_mistake(self):
        mistakes = Mistakes()
        with mistakes.at("initial"):
            raise DataError("codes must be finite")
        with pytest.raises(ConfigError, match=r"^initial: codes must"):
            mistakes.raise_any("s.toml")

    def test_several_are_said_together_each_once_and_those_inside_others_flat(self):
        inner, outer = Mistakes(), Mistakes()
        inner.add("a.b", "must be 1; found 2")
        inner.add("a.c", "a.c: must be 3; found 4")
        for _ in range(2):
            with outer.at("a"):
                inner.raise_any("s.toml")
        outer.add("d", "is missing")
        with pytest.raises(SeveralMistakesError) as caught:
            outer.raise_any("s.toml")
        assert str(caught.value).splitlines() == [
            "s.toml has 3 mistakes:",
            "  a.b: must be 1; found 2",
            "  a.c: must be 3; found 4",
            "  d: is missing",
        ]

    def test_what_is_no_mistake_of_the_files_goes_on(self):
        mistakes = Mistakes()
        with pytest.raises(ZeroDivisionError), mistakes.at("a"):
            _ = 1 / 0
        with pytest.raises(EvolverError), mistakes.at("a", WeightsError):
            raise ConfigError("of another kind")
        mistakes.raise_any("s.toml")  # nothing was collected

    def test_those_of_a_table_are_said_together(self):
        mistakes = Mistakes()
        for key in ("b[0].x", "b[1].x", "a", "b[0].y", "c", "b[1].y", "a.z"):
            mistakes.add(key, "wrong")
        keys = [mistake.key for mistake in mistakes.found]
        assert keys == ["b[0].x", "b[0].y", "b[1].x", "b[1].y", "a", "a.z", "c"]

    @pytest.mark.parametrize("key", ["a", "a.b", "a[1]", "a[1].c"])
    def test_it_knows_what_is_wrong_inside_a_key(self, key):
        mistakes = Mistakes()
        mistakes.add(key, "wrong")
        assert mistakes.has("a")
        assert mistakes.has(key)
        assert not mistakes.has("ab")
        assert not mistakes.has(f"{key}.d")


class TestPartlyRead:
    def test_what_is_right_is_there_beside_what_is_wrong(self):
        text = GOOD.replace("off_ms = 100", 'off_ms = "x"\nrepeats = 7\nsize = 3')
        text += 'popsize = 1\noptimizer = "sep"\n[[threads]]\ngenerator = 5\n[nonsense]\n'
        config, mistakes = read_session_file(text, source="s")
        assert [m.key for m in mistakes.found] == [
            "nonsense",
            "presentation.size",
            "presentation.off_ms",
            "threads[0].popsize",
            "threads[1].name",
            "threads[1].generator",
        ]
        assert config.presentation.repeats == 7
        first, second = config.threads
        assert (first.optimizer, first.popsize) == ("sep", None)
        assert (second.name, second.generator) == ("unnamed-1", "unnamed-1")

    def test_contradictions_are_found_beside_other_mistakes(self):
        text = GOOD + "popsize = 1\n[fitness]\nresponse_ms = [200, 50]\n"
        _, mistakes = read_session_file(text, source="s")
        assert [m.key for m in mistakes.found] == ["threads[0].popsize", "fitness.response_ms"]

    @pytest.mark.parametrize("text", ["", "threads = 3", "[other]\nname = 2", "session = 1"])
    def test_too_little_to_go_on_with(self, text):
        config, mistakes = read_session_file(text, source="s")
        assert config is None
        assert mistakes.found

    def test_without_threads_and_sets_the_rest_is_checked(self):
        text = GOOD.replace("[[threads]]", "[other]").replace("100", "-100", 1)
        config, mistakes = read_session_file(text, source="s")
        assert config.threads == config.sets == ()
        keys = [m.key for m in mistakes.found]
        assert "threads" in keys
        assert "presentation.on_ms" in keys


@pytest.mark.parametrize(
    "text",
    ["x = " + "[" * 500_000, "x = " + "{a=" * 20_000, "[" + ".".join("a" * 3000) + "]",
     "generations = " + "9" * 5000, "\0", "[session"],
    ids=["lists", "tables", "names", "digits", "zero", "half a line"],
)  # fmt: skip
def test_a_file_that_is_none_is_one_mistake(text):
    with pytest.raises(ConfigError) as caught:
        parse_session_file(text)
    assert len(str(caught.value)) < 3000


def test_a_session_file_that_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    for path, says in ((tmp_path / "pipe.toml", "a pipe"), ("/dev/zero", "a device")):
        with pytest.raises(ConfigError, match=f"cannot be read: .*{says}"):
            load_session_file(Path(path))


def test_a_folder_with_a_name_too_long_is_said_so(tmp_path):
    settings = small(tmp_path / ("a" * 300))
    with pytest.raises(RecordingError, match=r"session\.folder: must be.*too long"):
        check_can_make(settings)
