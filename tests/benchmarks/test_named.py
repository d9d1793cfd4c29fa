"""What a user wrote: whatever it raises is its own, and Ctrl-C is nobody's."""

import signal
import sys
import threading

import pytest

from benchmarks.optimizers.added import check_added, parse_contestant
from benchmarks.optimizers.named import attribute, made, own_failures
from evolver.errors import ConfigError, DataError


@pytest.fixture(autouse=True)
def usual():
    """Have Python's own handler of Ctrl-C, which a runner of tests may not have."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def failures(raised):
    kept = []
    with own_failures(kept.append):
        raise raised
    return kept


@pytest.mark.parametrize(
    "raised", [ValueError("a"), SystemExit(3), GeneratorExit(), KeyboardInterrupt()]
)
def test_whatever_is_raised_is_handed_over(raised):
    assert failures(raised) == [raised]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_is_no_failure_also_within_another_block():
    kept = []
    with pytest.raises(KeyboardInterrupt), own_failures(kept.append):  # noqa: SIM117
        with own_failures(kept.append):
            signal.raise_signal(signal.SIGINT)
    assert not kept
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_who_handles_ctrl_c_in_another_way_gets_every_one():
    signal.signal(signal.SIGINT, lambda *_: None)
    with pytest.raises(KeyboardInterrupt):
        failures(KeyboardInterrupt())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert len(failures(KeyboardInterrupt())) == 1


def test_a_thread_is_never_interrupted_from_outside():
    kept = []
    thread = threading.Thread(target=lambda: kept.extend(failures(KeyboardInterrupt())))
    thread.start()
    thread.join()
    assert len(kept) == 1


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("import sys; sys.exit(4)", "SystemExit: 4"),
        ("raise RuntimeError('boom\\nat import')", "RuntimeError: boom at import"),
        ("import no_such_module_at_all", "No module named 'no_such_module_at_all'"),
        ("x = 1", "has no attribute 'Mine'"),
        ("x = (", "SyntaxError: '(' was never closed"),
    ],
)
def test_a_module_that_fails_is_said_to_as_one_that_is_missing(
    content, why, tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "a_bad_module.py").write_text(content)
    monkeypatch.delitem(sys.modules, "a_bad_module", raising=False)
    with pytest.raises(ConfigError) as raised:
        check_added(parse_contestant("x=a_bad_module:Mine"))
    message = str(raised.value)
    assert message.startswith("x: 'a_bad_module:Mine' must be importable here; it is not: ")
    assert why in message
    assert "\n" not in message


def test_what_makes_a_thing_is_said_to_fail_and_says_so_itself_where_it_means_to():
    make = attribute("tests.benchmarks.made:odd")
    with pytest.raises(ConfigError, match="'a unit' must be made; it is not: SystemExit: 4"):
        made("a unit", lambda: make("quits", device="cpu"))

    def on_purpose():
        raise DataError("as it is")

    with pytest.raises(DataError, match=r"^as it is$"):
        made("a unit", on_purpose)
