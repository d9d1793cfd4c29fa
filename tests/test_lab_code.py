"""A lab's own code, found by name."""

import pytest

from evolver.errors import ConfigError, DataError
from evolver.lab_code import error_text, find_attribute, own_errors

MODULES = {
    "of_syntax": ("def f(:\n", "SyntaxError: .*. Mend it, or the name$"),
    "of_needs": ("import no_such_library", "'no_such_library'. Install the module"),
    "of_exit": ("import sys; sys.exit('bye')", "SystemExit: bye. Mend it"),
    "of_error": ("raise ValueError('a\\x1b[1mb\\nc')", r"ValueError: a·\[1mb c. Mend it"),
    "of_other": ("there = 1", "has no attribute 'attr'. Mend it, or the name$"),
}


@pytest.mark.parametrize("name", [*MODULES, "of_nowhere"])
def test_what_cannot_be_imported_says_why_and_what_to_do(name, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    words = "No module named 'of_nowhere'. Install the module, or put its folder on PYTHONPATH"
    if name in MODULES:
        text, words = MODULES[name]
        (tmp_path / f"{name}.py").write_text(text)
    with pytest.raises(ConfigError, match=words) as caught:
        find_attribute("model", f"{name}:attr")
    assert str(caught.value).startswith(f"model '{name}:attr' must be importable")


def test_an_operators_interrupt_is_passed_on(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "of_interrupts.py").write_text("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        find_attribute("model", "of_interrupts:attr")


def test_dotted_attributes_are_found():
    assert find_attribute("a", "os:path.join") is __import__("os").path.join


class NoWordsError(Exception):
    def __str__(self):
        raise ValueError


class SpeechlessError(Exception):
    def __str__(self):
        raise GeneratorExit


def test_an_error_without_words_is_its_kind():
    assert error_text(NoWordsError()) == "NoWordsError"
    assert error_text(SpeechlessError()) == "SpeechlessError"


@pytest.mark.parametrize(
    "error", [ValueError("a"), SystemExit(), GeneratorExit(), NoWordsError()]
)
def test_what_code_raises_while_it_runs_is_an_error_of_ours(error):
    says = f"^it must work; it fails: {type(error).__name__}"
    with pytest.raises(DataError, match=says), own_errors("it must work"):
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ConfigError("well said")])
def test_what_is_no_failure_or_said_already_is_passed_on(error):
    with pytest.raises(type(error)) as caught, own_errors("it must work"):
        raise error
    assert caught.value is error


def test_long_errors_are_cut():
    assert error_text(ValueError("x" * 5_000)) == "ValueError: " + "x" * 300
    assert error_text(ValueError()) == "ValueError"


def test_words_are_one_line_that_a_file_can_hold():
    assert error_text(ValueError("two\n lines\t \ud800")) == "ValueError: two lines ·"
    assert error_text(KeyboardInterrupt()) == "KeyboardInterrupt"
