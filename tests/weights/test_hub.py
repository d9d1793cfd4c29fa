"""Fetching weights from a server that speaks as the Hub does, and without one."""

import re
import sys

import numpy as np
import pytest
import torch

import evolver.generators
import scorers.networks
from evolver.errors import WeightsError
from evolver.weights import hub
from evolver.weights.catalogue import CALIBRATION, CNN, KNOWN
from tests.generators import recipe
from tests.weights.hub_server import COMMIT, ask, serving

REPO, FILE = "binxu/DeePSim_DosovitskiyBrox2016", "upconvGAN_norm1.pt"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / FILE
    torch.save(recipe.weights("norm1")[0], path)
    return path.read_bytes()


@pytest.fixture
def server(monkeypatch, tmp_path, weights):
    """A Hub with one file; the client's cache and the folder of files are the test's own."""
    with serving() as made:
        made.files[f"{REPO}/{FILE}"] = weights
        ask(monkeypatch, made.endpoint, tmp_path)
        yield made


def test_a_generator_is_loaded_from_the_hub_and_then_from_the_cache(
    server, weights, monkeypatch, tmp_path
):
    generator = evolver.generators.load("deepsim-norm1")
    image = generator.render(recipe.codes("norm1").astype(float))
    assert len(server.gets()) == 1
    ask(monkeypatch, "http://127.0.0.1:9", tmp_path, offline=True)
    again = evolver.generators.load("deepsim-norm1")
    assert again.sha256 == generator.sha256
    np.testing.assert_array_equal(again.render(recipe.codes("norm1").astype(float)), image)
    assert len(server.gets()) == 1
    assert hub.local_weights(hub.known_files("deepsim-norm1")[0]).path.read_bytes() == weights


def test_a_connection_that_breaks_is_taken_up_where_it_broke(server, weights):
    server.break_after = 1_000_000
    told = []
    found = hub.find_weights("deepsim-norm1", progress=lambda *said: told.append(said))
    assert found.path.read_bytes() == weights
    (_, _, first), (_, _, second) = server.gets()
    assert first is None
    resumed = int(re.fullmatch(r"bytes=(\d+)-", second)[1])
    assert 900_000 < resumed <= 1_000_000
    assert told[-1] == (len(weights), len(weights))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert hub.check_digest(found) == found.sha256


def test_a_revision_and_another_repository_are_what_is_asked_for(server, weights):
    server.files["somebody/nets/deep/own.bin"] = weights
    generator = evolver.generators.load(
        "deepsim-norm1", weights="somebody/nets:deep/own.bin", revision=COMMIT
    )
    assert generator.d == 96 * 27 * 27
    assert {path for _, path, _ in server.asked if "resolve" in path} == {
        f"/somebody/nets/resolve/{COMMIT}/deep/own.bin"
    }
    with pytest.raises(WeightsError, match="absent"):
        hub.find_weights("deepsim-norm1", revision="absent")


def test_what_is_not_as_the_hub_said_is_refused_and_removed(server):
    server.said_digest[FILE] = "ab" * 32
    with pytest.raises(WeightsError, match="must have sha256 " + "ab" * 32):
        evolver.generators.load("deepsim-norm1")
    found = hub.find_weights("deepsim-norm1")
    with pytest.raises(WeightsError, match="It was removed: fetch it again"):
        hub.check_digest(found)
    assert not found.path.exists()
    server.said_digest.clear()
    assert hub.check_digest(hub.find_weights("deepsim-norm1"))


@pytest.mark.parametrize("how", ["offline", "gone", "no such file", "failing", "forbidden"])
def test_a_file_that_cannot_be_had_is_named_with_its_places(server, monkeypatch, tmp_path, how):
    if how in {"offline", "gone"}:
        ask(monkeypatch, "http://127.0.0.1:9", tmp_path, offline=how == "offline")
    elif how == "no such file":
        server.files.clear()
    else:
        server.status = 500 if how == "failing" else 403
    with pytest.raises(WeightsError) as caught:
        evolver.generators.load("deepsim-norm1")
    assert len(str(caught.value)) < 900
    for part in (
        FILE,
        f"https://huggingface.co/{REPO}",
        "research only",
        "about 4 MB",
        "evolver weights fetch deepsim-norm1",
        str(tmp_path / "data" / "evolver" / "weights" / FILE),
    ):
        assert part in str(caught.value)
    assert hub.local_weights(hub.known_files("deepsim-norm1")[0]) is None
    if how == "offline":
        assert not server.asked


def test_a_file_put_there_by_hand_is_used_without_asking(server, weights, tmp_path):
    there = tmp_path / "data" / "evolver" / "weights" / FILE
    there.parent.mkdir(parents=True)
    there.write_bytes(weights)
    assert evolver.generators.load("deepsim-norm1").image_size == 240
    assert hub.find_weights("deepsim-norm1").source == "put there by hand"
    assert not server.asked


def test_odd_places_are_refused(server, tmp_path):
    for odd in ("nowhere.pt", "a/b", "a/b:c:d", "a/../b:c d", str(tmp_path / "x.pt")):
        with pytest.raises(WeightsError, match="is neither"):
            hub.find_weights("deepsim-norm1", odd)
    with pytest.raises(WeightsError, match="no weights of its own"):
        hub.find_weights("somebodys")
    assert not server.asked


def test_the_catalogue_names_every_built_in_generator_and_what_is_shipped():
    named = {*evolver.generators.BUILTIN, *scorers.networks.BUILTIN} - {
        "mini",
        "known",
        "fourier",
    }  # `CNN`; no weights
    assert {entry.network for entry in KNOWN} == named
    shipped = [entry for entry in (*KNOWN, CNN, CALIBRATION) if entry.shipped]
    paths = set()
    for entry in shipped:
        location = hub.find_file(entry)
        assert location.path.name == entry.filename
        assert hub.check_digest(location) == entry.sha256
        assert location.path.stat().st_size == entry.size
        paths.add(location.path)
    assert paths == set(location.path.parent.iterdir())


def test_without_the_hubs_client_the_message_says_so(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.setattr(hub, "user_data_path", lambda name: tmp_path / name)
    with pytest.raises(WeightsError, match="the package huggingface_hub is needed"):
        hub.find_weights("deepsim-norm1")
    assert not hub.offline()
    assert hub.find_weights("mini-object").path.is_file()
