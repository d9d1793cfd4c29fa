"""What the tests need of the system: found, installed where it may be, or said."""

import subprocess

import pytest

from tests import system


class Asked(list):
    """What apt-get was asked, and what it is to answer."""

    status = ()


@pytest.fixture
def machine(monkeypatch):
    """A machine that has nothing, and keeps what is asked of its apt-get."""
    asked = Asked()
    monkeypatch.setattr(system.shutil, "which", {"apt-get": "/usr/bin/apt-get"}.get)
    monkeypatch.setattr(system.os, "geteuid", lambda: 0)

    def run(command, **options):
        asked.append(next(word for word in command[1:] if word in {"install", "update"}))
        assert options["timeout"] == system.LIMIT_S
        status = asked.status.pop(0)
        return subprocess.CompletedProcess(command, status, "", "E: no such package\n")

    monkeypatch.setattr(system.subprocess, "run", run)
    return asked


def test_nothing_is_done_where_nothing_is_missing(machine, monkeypatch, capsys):
    monkeypatch.setattr(system.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert system.main() == 0
    assert (machine, capsys.readouterr().out) == ([], "")


def test_an_old_list_of_packages_is_brought_up_to_date(machine, capsys):
    machine.status = [100, 0, 0]
    assert system.main() == 0
    assert machine == ["install", "update", "install"]
    assert "NOT DONE" not in capsys.readouterr().out


@pytest.mark.parametrize("status", [[100, 100], [100, 0, 100]])
def test_what_cannot_be_installed_is_said_and_fails_nothing(machine, capsys, status):
    machine.status = status
    assert system.main() == 0
    assert "NOT DONE, their tests are skipped: E: no such package" in capsys.readouterr().out


def test_a_mirror_that_hangs_is_given_up(machine, monkeypatch, capsys):
    def hang(command, *, timeout, **_):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(system.subprocess, "run", hang)
    assert system.main() == 0
    assert f"took more than {system.LIMIT_S} s" in capsys.readouterr().out
    assert machine == []


def test_nobody_but_root_is_served(machine, monkeypatch, capsys):
    monkeypatch.setattr(system.os, "geteuid", lambda: 1000)
    assert system.main() == 0
    assert "not found: xvfb, chromium. Install them" in capsys.readouterr().out
    assert machine == []
