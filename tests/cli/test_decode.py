"""`evolver decode`: a simulated session of sets to tables, figures, a page, and a new start."""

import csv
from contextlib import suppress
from dataclasses import replace
from functools import partial

import h5py
import msgspec
import numpy as np
import pytest
from PIL import Image

from evolver import config, generators, recording
from evolver.cli import decode
from evolver.generators.decoded_codes import read_decoded
from evolver.live import run as live_run
from scorers import networks, quantiles
from scorers.encoder_file import (
    EncodedLayer,
    EncoderFacts,
    UnitEncoder,
    read_encoder,
    write_encoder,
)
from scorers.feature_pyramid import FeaturePyramid
from tests import children
from tests.browser import chromium, tab
from tests.cli.running import run_here

SESSION = """
[session]
name = "decoding"
seed = 3
folder = "."
[presentation]
on_ms = 100.0
off_ms = 50.0
[fitness]
units = [0]
[references]
count = 0
[simulation]
units = ["mini:fc5:0-7", "known:colour:0-5:2:2"]
speed = inf
[[sets]]
name = "train"
role = "train"
generator = "mini-object"
count = 60
[[sets]]
name = "test"
role = "test"
generator = "mini-object"
count = 12
repeats = 3
seed = 2
[[sets]]
name = "files"
images = "builtin"
count = 2
"""
FIGURES = ("reconstructions", "chance", "sites", "regions", "times", "attributes", "ceilings")
AREAS = ("--area", "IT=mini:", "--area", "V1=kno?n")


@pytest.fixture(scope="module", autouse=True)
def quick(tmp_path_factory):
    """Fold in a process that begins in no time; measure what scales units of few images."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setattr(live_run, "fold_in_child", children.fold)
        patch.setattr(quantiles, "IMAGES", 16)
        patch.setattr(quantiles, "user_cache_path", lambda name: folder / name)
        yield


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        settings = config.parse_session_file(SESSION)
        return folder / live_run.run_simulated(settings, SESSION).recording


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    return partial(run_here, monkeypatch, capsys)


@pytest.fixture(scope="module")
def encoder(recorded, tmp_path_factory):
    """An encoder by hand, of the recording's channels and one that it has not."""
    with recording.read(recorded) as opened:
        labels = ("another", *reversed(opened.units["label"].tolist()))
    network = networks.load("known")
    pyramid = FeaturePyramid(network, ["colour"], most=300)
    k = int(np.prod(pyramid.shapes["colour"]))
    rng, u = np.random.default_rng(1), len(labels)
    layer = EncodedLayer(
        rng.standard_normal(k, dtype=np.float32),
        rng.standard_normal((u, k), dtype=np.float32),
        np.arange(u),
    )
    facts = EncoderFacts(
        version=1,
        network="known",
        network_sha256=network.sha256,
        most_features=300,
        layers=("colour",),
        labels=labels,
        areas=("IT",) * u,
        quantity="spikes/s",
    )
    path = tmp_path_factory.mktemp("encoder") / "it.safetensors"
    zeros = np.zeros(u, dtype=np.float32)
    write_encoder(path, UnitEncoder(facts, {"colour": layer}, zeros, zeros))
    return path


@pytest.fixture(scope="module")
def decoded(recorded, encoder, tmp_path_factory):
    """Run once; what it printed, and the folder."""
    folder = tmp_path_factory.mktemp("decoded") / "out"
    options = [
        "--sets",
        "19",
        "--draws",
        "1",
        "--course",
        "0",
        "100",
        "--images",
        "8",
        "--resamplings",
        "3",
        "--walk",
        "0,5",
        "--walk",
        "7,3",
        "--encoder",
        str(encoder),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "80")
        patch.setattr("evolver.report.style.DPI", children.DPI)
        patch.setattr(
            "sys.argv",
            ["evolver", "decode", str(recorded), "--out", str(folder), *AREAS, *options],
        )
        from evolver.cli import app
        from evolver.cli.terminal import console

        with console.capture() as printed, suppress(SystemExit):
            app.main()
    return printed.get(), folder


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_everything_is_written(decoded):
    printed, folder = decoded
    assert not rows_of(folder / "absent.csv")
    assert all(decode.OF_DECODINGS.fullmatch(path.name) for path in folder.iterdir())
    for name in (*FIGURES, "walk-0", "walk-1"):
        with Image.open(folder / f"{name}.png") as figure:
            assert figure.width >= 1800 * children.DPI / 200
            assert np.asarray(figure.convert("L")).std() > 5
    measures = {row["measure"]: row for row in rows_of(folder / "measures.csv")}
    assert len(measures) == 10
    assert measures["pairs told apart"]["items"] == "12"
    assert measures["SSIM"]["items"] == "8"
    assert float(measures["luminance correlation"]["p"]) <= 1
    assert len(rows_of(folder / "items.csv")) == 12
    assert len(rows_of(folder / "attributes.csv")) == 128
    assert [row["site"] for row in rows_of(folder / "sites.csv")] == ["all", "IT", "V1"]
    windows = {row["area"]: row["from_ms"] for row in rows_of(folder / "channels.csv")}
    assert windows == {"IT": "75.0", "V1": "25.0"}
    assert "ridge fitted on 60 items of train; tested on test, 12 items" in printed
    assert all(len(line) <= 80 for line in printed.splitlines()[1:-2])


def test_true_images_are_those_that_were_shown(recorded, decoded):
    codes = read_decoded(decoded[1] / "decoded.npz")
    drawn = generators.load("mini-object").render(codes.true_codes[:3])
    with recording.read(recorded) as opened:
        for image, image_id in zip(drawn, codes.image_ids, strict=False):
            np.testing.assert_array_equal(image, opened.images[int(image_id)])
        assert codes.session_id == opened.session_id


def test_an_evolution_starts_at_a_decoded_code(decoded, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = decoded[1] / "decoded.npz"
    begin = SESSION.index("[[sets]]")
    text = SESSION[:begin].replace("seed = 3", "seed = 3\ngenerations = 1") + (
        f'[[threads]]\nname = "again"\ngenerator = "mini-object"\npopsize = 4\n'
        f'initial = "decoded:{file}:5"\n'
    )
    ended = live_run.run_simulated(config.parse_session_file(text), text)
    codes = read_decoded(file)
    with recording.read(ended.recording) as opened:
        mean = opened.threads[0].state(0)["mean"]
    np.testing.assert_array_equal(mean, codes.codes[codes.items.index("5")])
    other = text.replace("mini-object", "mini-texture")
    with pytest.raises(Exception, match="mean nothing to another generator"):
        live_run.run_simulated(config.parse_session_file(other), other)


def test_the_page_shows_every_item(decoded):
    with chromium() as browser, tab(browser, viewport={"width": 1200, "height": 900}) as page:
        page.goto((decoded[1] / "decoding.html").as_uri())
        assert page.locator("#table tbody tr").count() == 12
        assert page.locator("#table .thumbs img").count() == 16
        assert page.locator("img.whole").count() == len(FIGURES) + 2  # walks
        page.get_by_role("button", name="cosine about the mean").click()
        values = page.locator("#table tbody tr td:nth-child(6)").all_text_contents()
        numbers = [float(v.replace("\u2212", "-")) for v in values]
        assert numbers == sorted(numbers, reverse=True)
        assert page.evaluate("document.body.scrollWidth <= window.innerWidth")


@pytest.mark.soak
def test_the_default_folder_is_beside_the_recording(recorded, run):
    printed = run("decode", recorded, "--images", "0", "--draws", "0", "--no-times",
                  "--sets", "9", *AREAS, "--window", "60", "160",
                  "--windows", "V1=30:120")  # fmt: skip
    folder = recorded.parent / "decoded"
    windows = {row["area"]: row["from_ms"] for row in rows_of(folder / "channels.csv")}
    assert windows == {"IT": "60.0", "V1": "30.0"}  # --window stands over IT's usual one
    assert "responses: IT 60 to 160 ms and V1 30 to 120 ms" in printed
    assert (folder / "decoding.html").exists()
    assert "no images: no image was asked for" in " ".join(printed.split())
    reasons = {row["what"]: row["reason"] for row in rows_of(folder / "absent.csv")}
    assert set(reasons) == {"images", "image measures", "images of sites", "times", "regions"}


def test_a_damaged_recording_is_decoded_as_far_as_it_can_be(recorded, run, tmp_path):
    whole = tmp_path / "damaged.h5"
    with h5py.File(recorded) as file:
        pixels = file["images/pixels"].id
        chunks = [pixels.get_chunk_info(k) for k in range(pixels.get_num_chunks())]
    content = bytearray(recorded.read_bytes())
    for chunk in chunks:
        content[chunk.byte_offset + chunk.size // 2] ^= 1
    whole.write_bytes(content)
    options = ("--draws", "0", "--no-times", "--sets", "9", "--images", "4")
    printed = " ".join(run("decode", whole, *options, expect=1).split())
    assert "is damaged, so that shown images could not be had; all else is there" in printed
    folder = tmp_path / "decoded"
    assert len(rows_of(folder / "measures.csv")) == 10
    assert "shown images are damaged in the recording" in (folder / "decoding.html").read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--area", "V1"), "--area must be NAME=LABEL"),
        (("--windows", "V1=5"), "--windows must be AREA=START:END"),
        (("--network", "mini"), "--network must be NETWORK:LAYER"),
        (("--test", "files"), "is of image files, which have no codes"),
        (("--train", "none"), "train (train), test (test), files (probe)"),
        (("--space", "w"), "mini-object has none"),
        (("--windows", "V9=25:125"), "--windows must be of areas here, simulated IT; got 'V9'"),
        (("--window", "50", "900"), "ms; choose a narrower one (--windows, --window)"),
        (("--window", "200", "50"), "--window must begin before it ends; got 200 50"),
        (("--area", "all=mini"), "--area must name each area once, and none 'all'"),
        (("--width", "0"), "--width must be 0.1 to 10000 ms; got 0"),
        (("--width", "nan"), "--width must be 0.1 to 10000 ms; got nan"),
        (("--course", "200", "-100"), "--course must begin before it ends"),
        (("--walk", "0,1", "--walk", "0,99"), "a walk must be between two of the test items"),
        (("--walk", "3"), "--walk must be two items, as 3,17; got '3'"),
        (("--encoder", "nowhere.safetensors"), "is none. A relative path"),
        (
            ("--windows", "V1=25:125", "--windows", "V1=30:120"),
            "--windows must name an area once; got 'V1=30:120' again",
        ),
    ],
)
def test_what_cannot_be_done_is_said(recorded, run, options, said):
    printed = run("decode", recorded, *options, expect=2)
    assert said in " ".join(printed.split())


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"window_ms": (50.0, 200.0)}, "Decode with --window 50 200, or fit it"),
        ({"baseline_ms": (0.0, 40.0)}, "was fitted with a baseline"),
    ],
)
def test_an_encoder_of_other_responses_is_refused(
    recorded, encoder, run, tmp_path, facts, said
):
    given = read_encoder(encoder)
    other = replace(given, facts=msgspec.structs.replace(given.facts, **facts))
    path = tmp_path / "other.safetensors"
    write_encoder(path, other)
    printed = run("decode", recorded, "--walk", "0,5", "--encoder", path, expect=2)
    assert said in " ".join(printed.split())
