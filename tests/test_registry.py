"""Names to factories."""

import sys

import pytest

from evolver.errors import ConfigError
from evolver.registry import Registry

OPTIMIZERS = Registry("optimizer", {"cholesky": "evolver.optimizers.cholesky:CholeskyCMA"})


def test_a_name_is_imported_when_asked_for():
    from evolver.optimizers import CholeskyCMA

    assert OPTIMIZERS.find("cholesky") is CholeskyCMA


def test_an_unknown_name_says_what_there_is():
    with pytest.raises(ConfigError, match=r"one of .*cholesky.*did you mean 'cholesky'\?"):
        OPTIMIZERS.find("cholesk")
    with pytest.raises(ConfigError, match=r"did you mean 'cholesky'\?"):
        OPTIMIZERS.find("CHOLESKY")


def _optimizers():
    from evolver import optimizers

    return optimizers


def _generators():
    from evolver import generators

    return generators


def _networks():
    from scorers import networks

    return networks


def install(tmp_path, monkeypatch, target):
    """Put a distribution on the path that adds an optimizer by entry point."""
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[evolver.optimizers]\ntheirs = {target}\n")
    (tmp_path / "their_module.py").write_text("class Theirs:\n    d = 3\n")
    monkeypatch.syspath_prepend(str(tmp_path))


def test_an_installed_distribution_adds_a_name(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, "their_module:Theirs")
    assert OPTIMIZERS.names() == ("cholesky", "theirs")
    assert OPTIMIZERS.find("theirs").d == 3


def test_an_installed_distribution_adds_a_generator_and_a_network(tmp_path, monkeypatch):
    from evolver import generators
    from scorers import networks

    install(tmp_path, monkeypatch, "their_parts:Theirs")
    (tmp_path / "theirs-1.0.dist-info" / "entry_points.txt").write_text(
        "[evolver.generators]\ntheirs = their_parts:generator\n"
        "[evolver.networks]\ntheirs = their_parts:network\n"
    )
    (tmp_path / "their_parts.py").write_text(
        "def generator(*, weights, device, shade=1): return (weights, device, shade)\n"
        "def network(name, *, weights, device, depth=1): return name, weights, device, depth\n"
    )
    assert generators.load("theirs", weights="w", shade=2) == ("w", "cpu", 2)
    assert networks.load("theirs", depth=2) == ("theirs", None, "cpu", 2)
    with pytest.raises(ConfigError, match=r"network must be one of .*mini, theirs"):
        networks.load("vgg")


@pytest.mark.parametrize(
    ("role", "load", "message"),
    [
        (
            "optimizer",
            lambda: _optimizers().load("cholesky", 4, rng=None, sgima=1.0),
            "'cholesky' takes the options sigma, .*; got sgima; did you mean 'sigma'",
        ),
        (
            "generator",
            lambda: _generators().load("mini-object", chnk=1),
            "'mini-object' takes the options chunk, entry; got chnk; did you mean 'chunk'",
        ),
        (
            "network",
            lambda: _networks().load("mini", size=3),
            "'mini' takes no options; got size. Remove it",
        ),
    ],
)
def test_each_role_refuses_an_unknown_option_in_the_same_words(role, load, message):
    with pytest.raises(ConfigError, match=f"^{role} {message}"):
        load()


def test_options_that_every_factory_takes_are_not_listed():
    registry = Registry("scorer", {}, ("weights", "device"))

    def factory(*, weights, device, layer):
        return weights, device, layer

    registry.check_options("theirs", factory, ["layer"])
    registry.check_options("theirs", lambda **options: options, ["anything"])
    with pytest.raises(ConfigError, match="takes the options layer; got weights"):
        registry.check_options("theirs", factory, ["weights"])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "No module named 'their_broken_module'"),
        ("x = 1", "AttributeError: .*has no attribute 'Nothing'"),
        ("raise SystemExit('no licence')", "SystemExit: no licence"),
    ],
)
def test_a_broken_installed_name_says_why(text, why, tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, "their_broken_module:Nothing")
    monkeypatch.delitem(sys.modules, "their_broken_module", raising=False)
    if text is not None:
        (tmp_path / "their_broken_module.py").write_text(text)
    with pytest.raises(ConfigError, match=f"must be importable; it is not: .*{why}"):
        OPTIMIZERS.find("theirs")
