"""Every benchmark says how it is run."""

import importlib
import inspect
import pkgutil

import pytest
import typer
from typer.testing import CliRunner

import benchmarks

NAMES = sorted(
    module.name
    for module in pkgutil.iter_modules(benchmarks.__path__)
    # packages, which have tests of their own below; no command
    if module.name not in {"neurons", "optimizers", "stylegan3_reference"}
)
NEEDS = {
    "campaign_store": ("playwright",),
    "display": ("pygame",),
    "endurance": ("playwright", "psutil"),
    "monitor": ("playwright", "psutil"),
}


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    # Benchmarks set the number of threads when they are imported.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("COLUMNS", "100")


@pytest.mark.parametrize("name", NAMES)
def test_help_says_what_is_measured_and_names_every_option(name):
    for library in NEEDS.get(name, ()):
        pytest.importorskip(library)
    module = importlib.import_module(f"benchmarks.{name}")
    app = typer.Typer()
    app.command()(module.main)
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0, result.output
    assert (inspect.getdoc(module.main) or "").split(",")[0] in " ".join(result.output.split())
    assert "--help" in result.output


def test_the_comparison_of_optimizers_has_a_help_too(capsys):
    main = importlib.import_module("benchmarks.optimizers.__main__").main
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    for option in ("--units", "--per-layer", "--add", "--noise", "--at-norm", "--no-cost"):
        assert option in printed


@pytest.mark.parametrize("command", ["compare", "fit"])
def test_the_comparison_of_neurons_has_a_help_too(command):
    app = importlib.import_module("benchmarks.neurons.__main__").app
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0, result.output
    for option in ("data", "--sessions", "--workers"):
        assert option in result.output
