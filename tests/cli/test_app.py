"""The command line, as a person meets it: what it says, what it writes, how it ends."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
from functools import partial
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from evolver import config, recording
from evolver.cli import app
from evolver.journal.reader import segment_paths
from evolver.live import run_simulated
from rig_bridge.auth import new_rig
from tests.children import Command
from tests.children import evolver as run
from tests.cli.running import run_here
from tests.journal.test_writer import damage_heads
from tests.limits import PATIENCE_S
from tests.live.sessions import small, write
from tests.live.test_simulate import Watching
from tests.soak import further

SCRIPT = str(Path(sys.executable).parent / "evolver")
COMMANDS = [
    [],
    ["demo"],
    ["simulate"],
    ["rig"],
    ["inspect"],
    ["report"],
    ["fold"],
    ["config"],
    ["config", "new"],
    ["config", "check"],
    ["serve"],
    ["resume"],
    ["monitor"],
    ["xdream"],
    ["display"],
    *(["display", name] for name in ("check", "show", "rig")),
    ["lsl"],
    ["open-ephys"],
    ["open-ephys-emulator"],
    ["weights"],
    *(["weights", name] for name in ("list", "fetch", "convert", "verify")),
    ["ctl"],
    *(["ctl", name] for name in ("status", "confirm", "pause", "resume", "stop", "abort")),
    *(["ctl", name] for name in ("reference-only", "note")),
    ["keys"],
    *(["keys", name] for name in ("new", "list", "revoke")),
]


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    settings = small(tmp_path_factory.mktemp("cli"))
    return run_simulated(settings, config.commented_session_file(settings), Watching().console)


@pytest.fixture
def here(monkeypatch, capsys):
    """Run a command in this process, one that starts none; what it printed."""
    return partial(run_here, monkeypatch, capsys)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_says_what_it_does_and_what_its_options_are(command):
    said = CliRunner().invoke(app.app, [*command, "--help"]).output
    assert "Usage:" in said
    lines = said.splitlines()
    for number, line in enumerate(lines):
        if found := re.match(r"\s+(--?[a-z-]+)", line):
            text = line + (lines[number + 1] if number + 1 < len(lines) else "")
            assert re.search(r"  \S.*[a-z]{3}", text[found.end() :]), f"no help: {line!r}"


@pytest.mark.parametrize("start", [["-m", "evolver"], [SCRIPT]], ids=["module", "script"])
def test_it_is_started_as_a_module_or_by_its_name(start):
    command = [sys.executable, *start, "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"evolver \d+\.\d+\.\d+\n", done.stdout)


def test_importing_loads_no_torch():
    heavy = {"torch", "pynwb", "hdmf", "sklearn", "joblib"}
    code = (
        f"from evolver.cli import app; import sys; sys.exit(bool({heavy} & {{*sys.modules}}))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def anywhere(file):
    """Have a session file listen at a port that is free."""
    file.write_text(file.read_text().replace("tcp://127.0.0.1:5571", "tcp://127.0.0.1:*"))


MANY = """
[session]
name = "monday"
seed = -3
folder = "{folder}"
[presentation]
on_ms = 100
mapped = 2026-11-21
[[threads]]
name = "texture"
generator = "mini-textur"
popsize = 1
[[threads]]
name = "object"
generator = "mini-object"
optimizer = "choleski"
initial = "sphere:1e300"
[[threads]]
generator = "mini-object"
optimizer_options = {{ d = 100, sgma = 2 }}
[[threads]]
name = "fourth"
generator = "mini-object"
optimizer_options = {{ name = 3 }}
generator_options = {{ name = 3 }}
device = "cud"
[[threads]]
name = "fifth"
generator = "mini-object"
optimizer = "sphere"
optimizer_options = {{ schedule = [1, 2] }}
[references]
source = "faces"
[rig]
endpoint = "{endpoint}"
keys = "{folder}/keys"
[simulation]
units = ["mini:conv4:9999", "mini:conv4:3", "mini:fc99:0"]
"""
MISTAKES = [
    "session.seed: must be a whole number at least 0",
    "presentation.off_ms: is missing",
    "threads[0].generator ('texture'): ",
    "threads[0].popsize: must be",
    "threads[1].optimizer ('object'): ",
    "threads[1].initial ('object'): norm must be",
    "threads[2].name: is missing",
    "threads[2].optimizer_options ('unnamed-2'): optimizer_options must not have d:",
    "got sgma; did you mean 'sigma'?",
    "threads[3].optimizer_options ('fourth'): ",
    "threads[3].generator_options ('fourth'): ",
    "threads[3].device ('fourth'): ",
    "threads[4].optimizer_options ('fifth'): ",
    "references.source: must be",
    "simulation.units[0]: conv4 has channels 0 to 127",
    "simulation.units[2]: mini must have the layer that is named",
    "session.folder: must be a folder that can be written to",
    "rig.keys: the key file",
]


class TestConfig:
    def test_check_and_serve_say_all_that_is_wrong_at_once(self, here, tmp_path):
        (tmp_path / "taken").write_text("a file, and no folder")
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            endpoint = f"tcp://127.0.0.1:{other.getsockname()[1]}"
            file = tmp_path / "s.toml"
            file.write_text(MANY.format(folder=tmp_path / "taken", endpoint=endpoint))
            checked = here("config", "check", file, expect=2)
            served = run("serve", file, "--yes", expect=2)
        for mistake in MISTAKES:
            assert mistake in checked, mistake
            assert mistake in served or mistake.startswith("simulation"), mistake
        count = len(MISTAKES)
        assert f"s.toml has {count} mistakes:" in checked
        assert f"s.toml has {count - 2} mistakes:" in served  # serve has no simulated rig
        assert sorted(p.name for p in tmp_path.iterdir()) == ["s.toml", "taken"]

    @pytest.mark.parametrize(
        ("rig", "said"),
        [
            further(
                {"endpoint": "tcp://198.51.100.7:5571"},
                "the engine binds loopback addresses only",
            ),
            further({"endpoint": "tcp://127.0.0.1:99999"}, "a port from 1 to 65535"),
            further({"keys": "{folder}/no-keys"}, "rig.keys: the key file"),
            (
                {"keys": "{folder}/keys", "endpoint": "tcp://198.51.100.7:5571"},
                "this machine has no such address",
            ),
        ],
    )
    def test_check_says_what_serve_would_say_of_its_address(self, here, tmp_path, rig, said):
        new_rig(tmp_path / "keys", "setup-1", tmp_path / "setup-1.key")
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            table = {k: v.format(port=port, folder=tmp_path) for k, v in rig.items()}
            file = write(small(tmp_path / "out", rig=table), tmp_path / "s.toml")
            checked = here("config", "check", file, expect=2)
            served = run("serve", file, "--yes", expect=2)
        (line,) = checked.splitlines()[1:]
        assert said in line
        assert line.strip() in served
        assert not (tmp_path / "out").exists()

    def test_a_port_that_is_taken_is_no_mistake_of_the_file(self, here, tmp_path):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            table = {"endpoint": f"tcp://127.0.0.1:{other.getsockname()[1]}"}
            file = write(small(tmp_path / "out", rig=table), tmp_path / "s.toml")
            checked = " ".join(here("config", "check", file, expect=4).split())
            served = " ".join(run("serve", file, "--yes", expect=2).split())
            wrong = tmp_path / "w.toml"
            wrong.write_text(re.sub(r"(?m)^seed = .*", "seed = -1", file.read_text(), count=1))
            both = " ".join(here("config", "check", wrong, expect=2).split())
        said = f"rig.endpoint: {table['endpoint']} must be free to listen at; it is in use."
        assert "mistake:" not in checked
        assert f"not now: {said}" in checked
        assert "before the first image" in checked  # the rest is checked as ever
        assert f"s.toml is right, and cannot be served now: {said}" in served
        assert "w.toml has 1 mistake:" in both
        assert f"not now: {said}" in both
        assert not (tmp_path / "out").exists()

    def test_a_page_at_a_port_that_is_taken_is_said_before_anything_begins(self, tmp_path):
        file = write(small(tmp_path / "out"), tmp_path / "s.toml")
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            said = run("serve", file, "--yes", "--page", port, expect=2)
        assert f"--page {port}: tcp://127.0.0.1:{port} must be free to listen at" in said
        assert not (tmp_path / "out").exists()

    @pytest.fixture
    def no_hub(self, tmp_path, monkeypatch):
        """Nothing is cached, and the Hub does not answer."""
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)

    @pytest.mark.usefixtures("no_hub")
    def test_weights_that_are_not_here_are_named_and_not_fetched(self, tmp_path):
        file = tmp_path / "s.toml"
        settings = small(tmp_path / "out")
        threads = (
            config.ThreadTable("faces", "deepsim-fc6"),
            config.ThreadTable("own", "mini-object", weights="lab/faces:face.safetensors"),
        )
        write(msgspec.structs.replace(settings, threads=threads), file)
        said = run("config", "check", file, expect=3, environment=os.environ)
        assert (
            "to fetch: threads[0].weights ('faces'): deepsim-fc6 needs the file "
            "upconvGAN_fc6.pt, which is not on this machine. It would be fetched from "
            "https://huggingface.co/binxu/DeePSim_DosovitskiyBrox2016 (about 224 MB, "
        ) in said
        assert "to fetch: threads[1].weights ('own'): " in said
        assert "of unknown size" in said
        assert "mistake" not in said
        said = run("serve", file, "--yes", expect=2, environment=os.environ)
        assert "needs weights that are not on this machine" in said
        assert "upconvGAN_fc6.pt" in said
        assert not (tmp_path / "out").exists()

    @pytest.mark.soak  # the Hub's client asks several times before it gives up
    @pytest.mark.usefixtures("no_hub")
    def test_weights_that_cannot_be_fetched_are_named(self, tmp_path):
        file = tmp_path / "s.toml"
        threads = (config.ThreadTable("faces", "deepsim-fc6"),)
        write(msgspec.structs.replace(small(tmp_path / "out"), threads=threads), file)
        said = run("config", "check", file, "--download", expect=2, environment=os.environ)
        assert "threads[0].weights ('faces'): deepsim-fc6 needs the file upconvGAN_fc6" in said
        assert "the Hub's client says" in said

    def test_new_writes_a_file_that_passes_check(self, here, tmp_path):
        file = tmp_path / "session.toml"
        assert "evolver config check" in here("config", "new", file)
        anywhere(file)
        said = here("config", "check", file)
        for word in ("weights", "search", "clock", "references", "duration", "disk"):
            assert re.search(rf"(?m)^  good +{word} ", said), said
        assert re.search(r"(?m)^  (good|warning) +render ", said), said  # machines are busy
        assert "presentation.mapped does not say when it was mapped" in " ".join(said.split())
        assert said.endswith("good\n")
        assert list(tmp_path.iterdir()) == [file]

    def test_new_replaces_nothing_unless_told(self, here, tmp_path):
        file = tmp_path / "session.toml"
        file.write_text("mine")
        assert "exists already" in here("config", "new", file, expect=2)
        assert file.read_text() == "mine"
        here("config", "new", file, "--overwrite")
        tomllib.loads(file.read_text())

    def test_check_names_every_mistake_with_what_was_found_and_what_is_allowed(
        self, here, tmp_path
    ):
        file = tmp_path / "session.toml"
        here("config", "new", file)
        text = file.read_text()
        text = text.replace("seed = 1\n", "seed = -3\n", 1)
        text = text.replace('missing = "reshow"', 'missing = "maybe"', 1)
        file.write_text(text.replace("on_ms =", "onn_ms =", 1))
        said = here("config", "check", file, expect=2)
        assert "4 mistakes" in said
        assert "session.seed: must be a whole number at least 0" in said
        assert "found -3" in said
        assert "one of 'drop', 'fail', 'reshow'; found 'maybe'" in said
        assert "presentation.onn_ms: is not a key here (did you mean on_ms?)" in said
        assert "presentation.on_ms: is missing" in said

    @pytest.mark.parametrize(
        ("key", "value", "said"),
        [
            ("generator", '"mini-textur"', "did you mean 'mini-texture'?"),
            ("optimizer", '"cma"', "optimizer must be one of"),
            ("optimizer_options", "{ sgima = 3.0 }", "takes the options"),
        ],
    )
    def test_check_finds_names_that_do_not_exist(self, here, tmp_path, key, value, said):
        file = tmp_path / "session.toml"
        here("config", "new", file)
        text = re.sub(rf"(?m)^{key} = .*$", f"{key} = {value}", file.read_text(), count=1)
        file.write_text(text)
        found = here("config", "check", file, expect=2)
        assert f"threads[0].{key} ('texture'): " in found
        assert said in found

    def test_a_file_that_is_not_there_or_not_toml(self, here, tmp_path):
        assert "cannot be read" in here("config", "check", tmp_path / "no.toml", expect=2)
        (tmp_path / "bad.toml").write_text("[session\n")
        assert "is not valid TOML" in here("config", "check", tmp_path / "bad.toml", expect=2)


class TestRecordings:
    def test_simulate_records_and_reports(self, tmp_path):
        file = write(small(tmp_path / "out", session={"generations": 2}), tmp_path / "s.toml")
        said = run("simulate", file)
        assert "generation    2/2" in said
        (folder,) = (tmp_path / "out").iterdir()
        page = (folder / "report" / "report.html").read_text()
        assert "<html" in page
        assert (folder / "report" / "scores.png").stat().st_size > 1000
        with recording.read(folder / "session.h5") as opened:
            assert opened.complete

    def test_inspect(self, here, ended):
        said = here("inspect", ended.recording)
        for word in ("texture", "mini-object", "Time budget", "finished", "mini:fc6:3"):
            assert word in said

    def test_inspect_of_what_is_no_recording(self, here, tmp_path, ended):
        assert "no.h5" in here("inspect", tmp_path / "no.h5", expect=2)
        (tmp_path / "text.h5").write_text("hello")
        assert "text.h5" in here("inspect", tmp_path / "text.h5", expect=2)
        assert "a recording is one HDF5 file" in here("inspect", ended.folder, expect=2)

    def test_report_goes_where_it_is_told(self, here, ended, tmp_path):
        said = here("report", ended.recording, "--out", tmp_path / "here")
        assert str(tmp_path / "here" / "report.html") in said.replace("\n", "")
        assert (tmp_path / "here" / "summary.png").is_file()

    def test_a_report_that_cannot_be_written_is_said_so(self, here, ended, tmp_path):
        (tmp_path / "file").touch()
        for out in (tmp_path / "file", "/proc/report"):
            said = here("report", ended.recording, "--out", out, expect=2)
            assert "--out FOLDER" in said

    def test_nor_can_a_recording(self, here, ended):
        said = here("fold", ended.folder, "--out", "/proc/s.h5", expect=2)
        assert "--out" in said

    def test_a_terminal_that_goes_ends_a_simulation_which_is_folded(self, tmp_path):
        settings = small(tmp_path / "out", session={"generations": 5000})
        file = write(settings, tmp_path / "s.toml")
        command = Command(["simulate", file, "--no-report"], os.environ)
        with command.stdout:
            for line in command.stdout:
                if "generation" in line:
                    break
            command.send_signal(signal.SIGHUP)
            said = command.stdout.read()
        assert command.wait(PATIENCE_S) == 0, said
        assert "stopped by operator" in said
        (folder,) = (tmp_path / "out").iterdir()
        with recording.read(folder / "session.h5") as opened:
            assert opened.end_reason == "stopped by operator"

    def test_fold_makes_the_recording_again(self, here, ended, tmp_path):
        copy = tmp_path / "session"
        shutil.copytree(ended.folder, copy)
        assert "exists" in here("fold", copy, expect=2)
        (copy / "session.h5").unlink()
        assert "session: finished" in here("fold", copy)
        with recording.read(ended.recording) as a, recording.read(copy / "session.h5") as b:
            assert a.attrs["journal_sha256"] == b.attrs["journal_sha256"]

    def test_fold_of_what_holds_no_journal(self, here, tmp_path):
        assert "holds none" in here("fold", tmp_path, expect=2)
        assert "does not exist" in here("fold", tmp_path / "none", expect=2)


class TestRig:
    def test_a_mistake_in_an_option_names_its_key(self, here):
        said = here("rig", "--unit", "mini:fc9:1", expect=2)
        assert "simulation.units[0]: " in said
        assert "fc9" in said

    def test_a_speed_that_cannot_be(self, here):
        assert "simulation.speed" in here("rig", "--speed", "-1", expect=2)


class TestKeys:
    def test_new_list_revoke(self, here, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        said = here("keys", "new", "setup-1").replace("\n", " ")
        assert "setup-1.key goes to the rig" in said
        assert 'the engine\'s session file says  [rig] keys = "keys"' in said
        assert (tmp_path / "setup-1.key").stat().st_mode & 0o777 == 0o600
        assert "setup-1: " in here("keys", "list")
        here("keys", "revoke", "setup-1")
        assert "setup-1" not in here("keys", "list")
        assert "none; got 'setup-1'" in here("keys", "revoke", "setup-1", expect=2)

    def test_an_address_that_others_can_reach_needs_keys(self, here, tmp_path):
        settings = small(tmp_path / "out", rig={"endpoint": "tcp://0.0.0.0:*"})
        file = write(settings, tmp_path / "s.toml")
        assert "loopback addresses only" in here("config", "check", file, expect=2)
        assert "evolver keys new" in run("serve", file, "--yes", expect=2)
        assert not (tmp_path / "out").exists()


class TestResume:
    def test_a_folder_that_is_none(self, here, tmp_path):
        said = here("resume", tmp_path, expect=2)
        assert "must be a session's folder, with its journal" in said.replace("\n", " ")

    def test_a_recording_without_its_journal_is_left_as_it_is(self, here, ended, tmp_path):
        (tmp_path / "session.toml").write_bytes((ended.folder / "session.toml").read_bytes())
        (tmp_path / "session.h5").write_bytes(b"what was recorded")
        said = here("resume", tmp_path, expect=2)
        assert "has a recording and no journal" in " ".join(said.split())
        assert (tmp_path / "session.h5").read_bytes() == b"what was recorded"

    def test_a_simulation_goes_on(self, ended, tmp_path):
        from evolver.journal.writer import JournalWriter, read_journal

        records = [r for _, r in read_journal(ended.folder / "journal")]
        with JournalWriter(tmp_path / "s" / "journal") as journal:
            for record in records[: len(records) // 2]:
                journal.append(record)
        said = run("resume", tmp_path / "s", "--no-report")
        assert "finished" in said
        with recording.read(tmp_path / "s" / "session.h5") as opened:
            assert opened.complete
            assert opened.resumed == 1

    @pytest.mark.parametrize("damage", ["cut in the first record", "a bit in every copy"])
    def test_no_session_begins_inside_an_old_journal(self, here, ended, tmp_path, damage):
        """Simulated here, so that a live session in its place would be the worst to come."""
        shutil.copytree(ended.folder, tmp_path / "s")
        (tmp_path / "s" / "session.h5").unlink()
        (segment,) = segment_paths(tmp_path / "s" / "journal")
        if damage == "cut in the first record":
            segment.write_bytes(segment.read_bytes()[:500])
        else:
            damage_heads(tmp_path / "s" / "journal")
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        said = " ".join(here("resume", tmp_path / "s", expect=2).split())
        after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert after == before
        if damage == "cut in the first record":
            assert "nothing of this one was recorded or shown" in said
            return
        assert "the journal is damaged" in said
        assert "first record" in here("fold", tmp_path / "s")
        with (
            recording.read(tmp_path / "s" / "session.h5") as left,
            recording.read(ended.recording) as whole,
        ):
            assert left.presentations.tolist() == whole.presentations.tolist()

    def test_ctl_without_a_session(self, here, tmp_path, monkeypatch):
        (tmp_path / "run").mkdir(mode=0o700)
        monkeypatch.setenv("EVOLVER_RUNTIME", str(tmp_path / "run"))
        assert "no live session" in here("ctl", "status", expect=2)
        (tmp_path / "run").chmod(0o755)
        assert "must belong to you alone" in here("ctl", "status", expect=2)
