"""Questions that wait for nobody, and folders that are not where they were."""

import shutil
import socket
import threading

import pytest

from evolver.live import questions
from evolver.live.questions import Places, Repeated, ask_page, ask_recorder
from tests.limits import PATIENCE_S, wait_until


def test_each_answer_is_taken_once():
    answers = iter([None, "a", None, "b"])
    asked = Repeated("test", lambda: next(answers, None), 0.001)
    taken = []

    def take():
        if (answer := asked.take()) is not None:
            taken.append(answer)

    wait_until(lambda: "b" in taken, step=take)
    asked.close()
    assert taken in (["a", "b"], ["b"])  # the last counts
    assert asked.latest == "b"


def test_a_question_that_is_not_answered_holds_nobody_up():
    never = threading.Event()
    asked = Repeated("test", lambda: never.wait(PATIENCE_S), 0.0)
    assert asked.take() is None
    asked.close()
    never.set()


@pytest.fixture
def silent():
    """A socket that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()


def test_who_does_not_answer_is_given_up(silent, monkeypatch, tmp_path):
    monkeypatch.setattr(questions, "_WITHIN_S", 0.05)
    assert ask_page("http://{}:{}/".format(*silent)) is None
    assert ask_page("") is None
    assert ask_recorder(str(tmp_path / "none.rec")) is None


def test_a_folder_in_its_place_is_no_news(tmp_path):
    places = Places(tmp_path / "s", tmp_path / "s" / "journal")
    assert not places.look()  # not there yet
    (tmp_path / "s" / "journal").mkdir(parents=True)
    assert not places.look()
    assert not places.look()
    places.close()


@pytest.mark.parametrize("which", ["s", "s/journal"])
def test_a_folder_that_was_moved_is_named_with_where_it_is(tmp_path, which):
    (tmp_path / "s" / "journal").mkdir(parents=True)
    places = Places(tmp_path / "s", tmp_path / "s" / "journal")
    places.look()
    (tmp_path / which).rename(tmp_path / "elsewhere")
    assert f"{tmp_path / which} was moved to {tmp_path / 'elsewhere'}" in places.look()
    (tmp_path / which).mkdir()
    assert "another is in its place" in places.look()
    (tmp_path / which).rmdir()
    (tmp_path / "elsewhere").rename(tmp_path / which)
    assert not places.look()
    places.close()


def test_a_folder_that_was_deleted_is_said_so(tmp_path):
    (tmp_path / "s").mkdir()
    places = Places(tmp_path / "s")
    places.look()
    shutil.rmtree(tmp_path / "s")
    assert "was deleted" in places.look()
    places.close()
