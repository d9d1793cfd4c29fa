"""`evolver weights`, as a person meets it, with the environment variables they would set."""

import hashlib
import os

import numpy as np
import pytest
import torch

import evolver.generators
from evolver.cli import app
from evolver.weights.read import read_weights
from tests.children import evolver as run_alone
from tests.generators import recipe
from tests.weights.hub_server import ask, serving

REPO, FILE = "binxu/DeePSim_DosovitskiyBrox2016", "upconvGAN_norm1.pt"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / FILE
    torch.save(recipe.weights("norm1")[0], path)
    return path


@pytest.fixture
def server(monkeypatch, tmp_path, weights):
    with serving() as made:
        made.files[f"{REPO}/{FILE}"] = weights.read_bytes()
        ask(monkeypatch, made.endpoint, tmp_path)
        monkeypatch.setenv("HOME", str(tmp_path))
        yield made


@pytest.fixture
def run(monkeypatch, capsys, server):  # noqa: ARG001  nobody else is asked
    def run(*arguments, expect=0):
        """Run a command; return all it printed."""
        monkeypatch.setattr("sys.argv", ["evolver", "weights", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            app.main()
        out, err = capsys.readouterr()
        assert (ended.value.code or 0) == expect, out + err
        return out + err

    return run


def test_the_environment_says_where_the_hub_is_and_whether_to_ask(server, tmp_path):
    def run(expect=0, **environment):
        own = {
            "HF_HOME": str(tmp_path / "hf"),
            "XDG_DATA_HOME": str(tmp_path / "data"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_ENDPOINT": server.endpoint,
        }
        return run_alone(
            "weights",
            "fetch",
            "deepsim-norm1",
            expect=expect,
            environment=os.environ | own | environment,
        )

    refused = run(expect=2, HF_HUB_OFFLINE="1")
    assert refused.startswith("error: deepsim-norm1 needs the file upconvGAN_norm1.pt")
    assert not server.asked
    fetched = run()
    assert str(tmp_path / "hf") in fetched
    assert len(server.gets()) == 1
    again = run(HF_HUB_OFFLINE="1")
    assert again == fetched[-len(again) :]
    assert len(server.gets()) == 1


def test_fetched_listed_and_verified(run, server, weights, tmp_path):
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    said = run("fetch", "deepsim-norm1")
    assert f"sha256 {digest}, as the Hub says" in said
    assert "licence: research only" in said
    assert len(server.gets()) == 1
    listed = run("list")
    block = listed[listed.index(FILE) :].splitlines()
    assert block[0].endswith("4.1 MB")
    assert str(tmp_path / "cache") in block[2]
    assert digest in block[3]
    assert listed.count("not here; from") >= 10
    assert str(tmp_path / "data" / "evolver" / "weights") in listed
    said = run("verify", "deepsim-norm1")
    assert f"sha256 {digest}, as it must be" in said
    assert "deepsim-norm1 loads: 69984 dimensions, 240 pixels" in said
    (blob,) = (tmp_path / "cache").rglob(digest)
    blob.write_bytes(weights.read_bytes()[:-1] + b"x")
    said = run("verify", expect=2)
    assert "bad" in said
    assert f"must have sha256 {digest}" in said


def test_what_cannot_be_fetched_is_said_in_one_message(run):
    said = run("fetch", "deepsim-fc6", expect=2)
    assert said.startswith("error: deepsim-fc6 needs the file upconvGAN_fc6.pt")
    assert "put it by hand as" in said
    assert "by hand" in run("fetch", "stylegan3", expect=2)
    assert "must be one of mini-texture" in run("fetch", "deepsim-fc9", expect=2)
    assert "nothing to verify" in run("verify", "deepsim-fc6", expect=2)


@pytest.mark.parametrize("generator", ["deepsim-norm1", "pggan"])
def test_converted_files_draw_the_same(run, weights, tmp_path, generator):
    source = weights if generator != "pggan" else recipe.GOLDEN / "pggan_hyper_tiny.params"
    out = tmp_path / "own.safetensors"
    said = run("convert", source, out, "--as", generator)
    tensors, digest = read_weights(out)
    assert digest in said
    assert tensors
    before, after = (evolver.generators.load(generator, weights=w) for w in (source, out))
    codes = before.initial_codes(2, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(before.render(codes), after.render(codes))
    assert "exists already" in run("convert", source, out, "--as", generator, expect=2)


def test_files_are_verified_by_their_place(run, weights, tmp_path):
    out = run("verify", weights)
    assert "torch zip, sha256" in out
    assert "it holds its outermost table" in out
    assert "deepsim-norm1 loads" in run("verify", weights, "--as", "deepsim-norm1")
    assert "differs in" in run("verify", weights, "--as", "deepsim-norm2", expect=2)
    pickled = recipe.GOLDEN / "stylegan3-t-tiny.pkl"
    assert "a pickle of networks" in run("verify", pickled)
    checkpoint = tmp_path / "checkpoint.pt"
    torch.save({"g_ema": torch.load(weights), "epoch": 5}, checkpoint)
    out = run("verify", "~/checkpoint.pt", "--as", "deepsim-norm1")
    assert "g_ema (" in out
    assert "epoch" in out
    (tmp_path / "pointer.pt").write_text("version https://git-lfs.github.com/spec/v1\n")
    assert "git lfs pull" in run("verify", tmp_path / "pointer.pt", expect=2)
    assert "must be a file that can be read" in run("verify", tmp_path / "none.pt", expect=2)


def test_what_cannot_be_converted_is_refused(run, weights, tmp_path):
    out = tmp_path / "out.safetensors"
    assert "differs in" in run("convert", weights, out, "--as", "deepsim-norm2", expect=2)
    assert "generator must be" in run("convert", weights, out, "--as", "deepsim-fc9", expect=2)
    official = recipe.GOLDEN.parent / "generators" / "README.md"
    assert "safetensors file" in run("convert", official, out, "--as", "pggan", expect=2)
    (tmp_path / "x.pkl").write_bytes(b"\x80\x04}.")
    assert "would run" in run("convert", tmp_path / "x.pkl", out, "--as", "pggan", expect=2)
    assert not out.exists()
