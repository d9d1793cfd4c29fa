"""Commands run in the process of the tests."""

from evolver.cli import app
from tests.children import DPI


def run_here(monkeypatch, capsys, *arguments, expect=0):
    """Run a command in the folder that this process is in; return all it printed.

    Figures are as those of `tests.children.Command`.
    """
    monkeypatch.setattr("sys.argv", ["evolver", *map(str, arguments)])
    monkeypatch.setattr("evolver.report.style.DPI", DPI)
    try:
        app.main()
        status = 0
    except SystemExit as ended:
        status = ended.code or 0
    out, err = capsys.readouterr()
    assert status == expect, out + err
    return out + err
