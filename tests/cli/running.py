"""Commands run in the process of the tests."""

from evolver.cli import app


def run_here(monkeypatch, capsys, *arguments, expect=0):
    """Run a command in the folder that this process is in; return all it printed."""
    monkeypatch.setattr("sys.argv", ["evolver", *map(str, arguments)])
    try:
        app.main()
        status = 0
    except SystemExit as ended:
        status = ended.code or 0
    out, err = capsys.readouterr()
    assert status == expect, out + err
    return out + err
