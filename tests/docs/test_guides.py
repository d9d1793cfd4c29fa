"""The commands in README.md and in the guides, run as a reader would run them, in their order.

Commands and Python begin in a process that has imported already, and in a soak each guide's
Python does in one that has not; blocks of more than commands and a file for them are a shell's.
A comment before a block says how:
``<!-- test: skip REASON -->``, ``<!-- test: background -->`` for a command that goes on,
``<!-- test: expect 2 -->``, ``<!-- test: soak REASON -->`` for what only a soak runs to its
end; each run has the session files of its simulations checked.
``<!-- test: less 'WRITTEN' 'INSTEAD' ... -->``: each run puts the second in place of the first,
wherever that stands in the block, to have less to do; a soak runs what is written. Of all that
is written each run asks whether commands have these names, options and arguments. A TOML block
followed by "Saved as `x.toml`" is saved as that, with fewer generations.
"""

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import typer

from evolver.cli.app import app
from tests.children import Command, evolver
from tests.limits import PATIENCE_S

ROOT = Path(__file__).parents[2]
GUIDES = sorted(ROOT.glob("docs/guide-*.md"))
BLOCK = re.compile(
    r"(?:<!-- test: (?P<how>[^>]*?) -->\n)?```(?P<kind>sh|python|toml)\n(?P<text>.*?)```"
    r"(?:\n\nSaved as `(?P<file>[\w.]+)`)?",
    re.DOTALL,
)
HERE_DOCUMENT = re.compile(r"cat > (?P<file>[\w.]+) <<'EOF'\n(?P<text>.*?)^EOF\n", re.M | re.S)


@dataclass
class Block:
    kind: str
    text: str
    how: str
    file: str

    @property
    def less(self):
        """The block as each run has it, with less to do than is written."""
        if not self.how.startswith("less "):
            return self
        words, text = shlex.split(self.how)[1:], self.text
        for written, instead in zip(words[::2], words[1::2], strict=True):
            assert written in text, f"{written!r} must stand in\n{text}"
            text = text.replace(written, instead)
        return replace(self, text=text, how="")


def blocks(page):
    return [
        Block(m["kind"], m["text"], m["how"] or "", m["file"] or "")
        for m in BLOCK.finditer(page.read_text(encoding="utf-8"))
    ]


def free_port():
    """Return a port that no other test listens at."""
    with socket.socket() as anywhere:
        anywhere.bind(("127.0.0.1", 0))
        return anywhere.getsockname()[1]


def quick(folder):
    """Make the session file that `config new` wrote a short one, at an address of its own."""
    file = folder / "session.toml"
    if file.exists():
        text = file.read_text()
        text = re.sub(r"(?m)^generations = \d+", "generations = 2", text)
        text = re.sub(r"(?m)^# popsize =", "popsize = 6", text)
        text = re.sub(r"(?m)^count = \d+", "count = 3", text)
        text = re.sub(r"(?m)^speed = [\d.]+", "speed = 50.0", text)
        # A whole number: the port that was found the last time may begin with it.
        text = re.sub(r"127\.0\.0\.1:5571\b", f"127.0.0.1:{free_port()}", text)
        file.write_text(text)


def environment():
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def expanded(words, folder):
    """Return the words of a command as a shell in `folder` would: files in place of a `*`."""
    for word in words:
        if "*" not in word:
            yield word
            continue
        found = sorted(folder.glob(word))
        assert found, f"{word} names no file"
        yield from (str(path.relative_to(folder)) for path in found)


def commands_of(block, folder=None):
    """Yield the words of each of a block's commands; none where it needs a shell.

    Those of evolver without its name; as they stand, or, with a folder, expanded there. A file
    that the block writes before them is written.
    """
    text = block.text
    if block.kind == "sh" and (written := HERE_DOCUMENT.match(text)):
        text = text[written.end() :]
        if folder is not None:
            (folder / written["file"]).write_text(written["text"])
    lines = text.replace("\\\n", " ").splitlines()
    plain = r"(evolver|cp|python -m) [^;&|<>$?]*"
    if block.kind == "sh" and all(re.fullmatch(plain, line) for line in lines if line):
        for line in filter(None, lines):
            words = shlex.split(line, comments=True)
            words = words[1:] if words[0] == "evolver" else words
            yield words if folder is None else expanded(words, folder)


def run(block, folder, *, cold=False):
    """Run a block to its end, in a folder; Python in an interpreter of its own where `cold`."""
    expected = int(block.how.split()[1]) if block.how.startswith("expect") else 0
    commands = commands_of(block, folder)
    if block.kind == "python" and not cold:
        commands = iter([("python", "-c", block.text)])
    there_are = False
    for words in map(list, commands):
        there_are = True
        if words[0] == "cp":
            shutil.copy(folder / words[1], folder / words[2])
            continue
        evolver(*words, expect=expected, cwd=folder, environment=environment())
        quick(folder)
    if there_are:
        return
    command = [sys.executable, "-c"] if block.kind == "python" else ["sh", "-ec"]
    done = subprocess.run(
        [*command, block.text],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == expected, f"{block.text}\n{done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr


def parse(words):
    """Have the command line read a command, of which nothing is run."""
    group, context = typer.main.get_command(app), None
    while words and hasattr(group, "commands"):
        name, *words = words
        assert name in group.commands, f"there is no command {name}"
        context = typer.Context(group, parent=context, info_name=name)
        group = group.commands[name]
    group.make_parser(typer.Context(group, parent=context)).parse_args(list(words))


def check_names(block):
    """Check that a block's commands have these names, options and arguments."""
    for words in commands_of(block):
        if words[0] not in {"cp", "python"}:
            parse(words)


def check_sessions(block, folder):
    """Check the session files of a block's simulations, which are not run."""
    for words in commands_of(block):
        if words[0] == "simulate" and (folder / words[1]).exists():
            evolver("config", "check", words[1], cwd=folder, environment=environment())


def test_a_misspelt_command_or_option_is_no_command():
    parse(["compare", "invert", "-n", "3"])
    for wrong in (
        ["compare", "invert", "--no-such"],
        ["simulate", "-n"],
        ["rig", "--endpoint"],
    ):
        with pytest.raises(Exception, match=r"(?i)no such option|requires an argument"):
            parse(wrong)


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_the_commands_of_a_guide_run(page, tmp_path):
    run_all(page, tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_the_python_of_a_guide_imports_what_it_uses(page, tmp_path):
    run_all(page, tmp_path, cold=True)


def run_all(page, tmp_path, *, cold=False):
    running = []
    try:
        for written in blocks(page):
            block = written if cold else written.less
            check_names(written)
            if block.how.startswith("skip") or (block.how.startswith("soak") and not cold):
                check_sessions(block, tmp_path)
                continue
            if block.kind == "toml":
                if block.file:
                    text = re.sub(r"(?m)^generations = \d+", "generations = 2", block.text)
                    (tmp_path / block.file).write_text(text)
                continue
            if block.how == "background":
                (words,) = commands_of(block, tmp_path)
                running.append(Command(words, environment(), tmp_path))
                continue
            run(block, tmp_path, cold=cold)
            quick(tmp_path)
            while running and "rig" in block.text:
                process = running.pop()
                with process.stdout:
                    said = process.stdout.read()
                assert process.wait(PATIENCE_S) == 0, said
    finally:
        for process in running:
            process.kill()
            process.wait(PATIENCE_S)
            process.stdout.close()


def commands():
    """Return every sub-command that the help lists, with the groups' own."""
    listed = evolver("--help").partition("Commands")[2]
    return re.findall(r"(?m)^\W*([a-z][a-z-]+)  ", listed)


def test_every_command_is_in_the_readme_or_a_guide():
    text = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "README.md", *GUIDES))
    found = commands()
    assert {"demo", "simulate", "rig"} <= set(found)
    missing = [name for name in found if f"evolver {name}" not in text]
    assert missing in ([], ["demo"])  # `make demo` runs it


def test_less_is_put_in_place_of_what_is_written():
    block = Block("toml", "count = 12\nseed = 1\ncount = 12\n", "less 'count = 12' 'n = 3'", "")
    assert block.less == Block("toml", "n = 3\nseed = 1\nn = 3\n", "", "")
    elsewhere = replace(block, how="less 'size = 2' 'size = 1'")
    with pytest.raises(AssertionError, match="'size = 2' must stand in"):
        assert elsewhere.less


def test_the_readmes_commands_exist():
    makefile = (ROOT / "Makefile").read_text()
    names = set(commands())
    for block in blocks(ROOT / "README.md"):
        for line in block.text.splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["make"]:
                assert f"\n{words[1]}:" in makefile
            elif words[:1] == ["evolver"]:
                assert words[1] in names
