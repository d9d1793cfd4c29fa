"""Axes of a generator: what they are, what is kept of them, and what files of them say."""

import msgspec
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch import nn

from evolver import config, metric, seeds
from evolver.campaign.task import WeightDigests
from evolver.config.axes_table import AxesTable
from evolver.errors import ConfigError, DataError
from evolver.generators.frozen import FrozenGenerator
from evolver.journal.records import AxesInfo
from evolver.metric import products
from evolver.metric.average import average
from evolver.setup import preflight, spectra
from evolver.setup.build import build_parts
from evolver.setup.search_axes import choose_axes, choose_in_parts
from evolver.setup.spectra import Spectrum, generator_spectrum, read_spectrum

D = 12


class Tiny(nn.Module):
    """12 numbers to a 4 x 4 image, by a first layer of so many outputs."""

    def __init__(self, outputs=5, inputs=D, *, says=True):
        super().__init__()
        stream = torch.Generator().manual_seed(3)
        self.first = nn.Linear(inputs, outputs)
        self.last = nn.Linear(outputs, 48)
        for layer in (self.first, self.last):
            layer.weight.data = torch.randn(layer.weight.shape, generator=stream)
            layer.bias.data = torch.randn(layer.bias.shape, generator=stream)
        if says:
            self.first_weights = lambda: [self.first.weight]

    def forward(self, z):
        x = torch.tanh(self.first(z[:, : self.first.in_features]) / 4)
        return torch.sigmoid(self.last(x) / 4).reshape(len(z), 3, 4, 4)


def generator(*, sha256="", parts=None, **options):
    return FrozenGenerator(
        "tiny",
        Tiny(**options),
        d=D,
        image_size=4,
        sha256=sha256 or f"{options.get('outputs', 5):064x}",
        device=torch.device("cpu"),
        parts=parts,
    )


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(spectra, "user_cache_path", lambda name: tmp_path / name)


def kept_file():
    (path,) = spectra.spectra_folder().iterdir()
    return path


def chosen(made=None, span=None, **keys):
    return choose_axes(
        AxesTable(**{"source": "first-layer", **keys}),
        made or generator(),
        options={},
        span=span,
    )


@pytest.mark.parametrize("outputs", [5, 30])
@pytest.mark.parametrize("span", [None, (2, 9)])
def test_the_first_layers_axes_are_its_singular_vectors(outputs, span):
    """Fewer outputs than dimensions, or more: by numpy's decomposition of the weights."""
    made = generator(outputs=outputs)
    weights = Tiny(outputs).first.weight.detach().numpy().astype(float)
    weights = weights[:, slice(*(span or (0, D)))]
    spectrum = generator_spectrum(made, "first-layer", span=span)
    _, singular, rows = np.linalg.svd(weights, full_matrices=False)
    m = len(spectrum.vectors)
    assert m == min(outputs, weights.shape[1])
    np.testing.assert_allclose(spectrum.values[:m], singular[:m] ** 2, rtol=1e-6)
    np.testing.assert_allclose(np.abs(spectrum.vectors @ rows[:m].T), np.eye(m), atol=1e-6)
    assert (spectrum.vectors[range(m), np.abs(spectrum.vectors).argmax(axis=1)] > 0).all()
    np.testing.assert_allclose(spectrum.energy[-1], 1)
    assert spectrum.whole


@pytest.mark.parametrize("span", [None, (2, 9)])
def test_the_metrics_axes_are_those_of_the_mean_over_codes(span):
    made = generator(outputs=30, parts={"noise": (2, 9)})
    points = [made.initial_codes(1, rng=seeds.stream(0, "axes", i))[0] for i in range(4)]
    mean = np.mean([products.dense(made, p, dimensions=span) for p in points], axis=0)
    values, columns = np.linalg.eigh(mean)
    spectrum = generator_spectrum(made, "metric", span=span)
    np.testing.assert_allclose(spectrum.values, values[::-1], rtol=1e-5, atol=1e-12)
    leading = spectrum.vectors[:3] @ columns[:, ::-1][:, :3]
    np.testing.assert_allclose(np.abs(leading), np.eye(3), atol=1e-4)


def test_energy_of_values_whose_sum_is_beyond_numbers():
    values = np.arange(64, 0, -1)
    usual = Spectrum(values.astype(float), np.eye(64), whole=True)
    huge = Spectrum(values * 1e306, np.eye(64), whole=True)
    np.testing.assert_allclose(huge.energy, usual.energy)


def test_as_many_axes_as_have_the_energy_or_as_were_asked_for():
    spectrum = generator_spectrum(generator(outputs=30), "first-layer")
    for energy in (0.5, 0.9, 0.999):
        got = chosen(generator(outputs=30), energy=energy)
        assert spectrum.energy[got.axes.k - 1] >= energy
        assert got.axes.k == 1 or spectrum.energy[got.axes.k - 2] < energy
        assert got.info.energy == spectrum.energy[got.axes.k - 1]
    assert chosen(energy=1.0).axes.k == chosen().axes.k == 5  # of which there are no more
    got = chosen(k=3, scale=0.4, outside="drop")
    assert got.axes.vectors.shape == (3, D)
    assert got.axes.scales[0] < got.axes.scales[2]
    assert not got.axes.keeps_outside
    assert got.info.text(D).startswith("3 axes of 12 (first-layer, ")
    assert got.info.text(D).endswith("% of the energy; scale 0.4; nothing outside of them)")


def test_what_was_computed_is_kept_and_read_to_the_bit(monkeypatch):
    first = chosen(k=3)
    monkeypatch.setattr(spectra, "_first_layer", None)  # and cannot be computed again
    again = chosen(k=3)
    assert again.info == first.info
    np.testing.assert_array_equal(again.axes.vectors, first.axes.vectors)
    assert chosen(k=3).axes is again.axes  # tasks of a campaign share them
    with pytest.raises(TypeError):  # of other weights it is none
        chosen(generator(sha256="b" * 64))


def test_a_kept_file_that_is_damaged_is_computed_anew(logged):
    first = chosen(k=3)
    path = kept_file()
    whole = path.read_bytes()
    spoilt = bytearray(whole)
    spoilt[-1] ^= 1  # the last bit of a number
    for content in (bytes(spoilt), whole[:-5], b""):
        path.write_bytes(content)
        assert chosen(k=3).info == first.info
        assert "computed anew" in logged.getvalue()
        logged.truncate(logged.seek(0))
        assert path.read_bytes() == whole
    chosen(generator(sha256="b" * 64))
    (renamed,) = set(spectra.spectra_folder().iterdir()) - {path}
    path.write_bytes(renamed.read_bytes())
    chosen(k=3)
    assert "is not of what its name says" in logged.getvalue()


def test_more_axes_than_were_kept_are_computed(monkeypatch):
    monkeypatch.setattr(spectra, "_KEPT", 0.5)
    few = generator_spectrum(generator(outputs=30), "first-layer")
    more = generator_spectrum(generator(outputs=30), "first-layer", k=10)
    assert len(few.vectors) < len(more.vectors) == 10
    np.testing.assert_array_equal(more.vectors[: len(few.vectors)], few.vectors)


def test_a_cache_that_cannot_be_written_costs_no_more_than_time(tmp_path, logged):
    (tmp_path / "evolver").write_text("a file", encoding="utf-8")
    assert chosen(k=2).axes.k == 2
    assert "not kept for the next time" in logged.getvalue()


@pytest.mark.parametrize(
    ("made", "keys", "match"),
    [
        ({"says": False}, {}, "has no first linear layer that its code meets"),
        ({"inputs": 7}, {}, "meet 7 numbers that are made of its code, not the 12"),
        ({}, {"k": 6}, "k must be at most 5, the directions that first-layer has"),
        ({}, {"k": 99}, "k must be at most 5"),
        (
            {},
            {"source": "firstlayer"},
            "'first-layer', 'metric', or a file; .* 'firstlayer' in",
        ),
        ({}, {"source": "none.safetensors"}, "there is none called 'none.safetensors' in"),
    ],
)
def test_axes_that_there_are_not(made, keys, match):
    with pytest.raises(ConfigError, match=match):
        chosen(generator(**made), **keys)


def test_a_large_metric_needs_k_and_has_the_energy_that_is_known(monkeypatch):
    monkeypatch.setattr(spectra, "_DENSE", 8)
    with pytest.raises(ConfigError, match="k must be given for a metric of 12 dimensions"):
        chosen(source="metric")
    with pytest.raises(ConfigError, match="all of the code, or of a part with a name"):
        chosen(source="metric", k=2, span=(0, 4))
    with pytest.raises(ConfigError, match=r"tiny has none; got \[0, 4\]"):
        chosen(source="metric", k=2, span=(0, 4))
    got = chosen(source="metric", k=3)
    assert (got.axes.k, got.info.energy, got.info.whole) == (3, 1.0, False)
    assert "100 % of the known energy" in got.info.text(D)


def test_files_of_axes_are_read_and_checked(tmp_path):
    first = chosen(k=3)
    kept = str(kept_file())
    of_file = chosen(source=kept, k=3)
    np.testing.assert_array_equal(of_file.axes.vectors, first.axes.vectors)
    assert of_file.info.sha256 == first.info.sha256
    assert first.axes.computed
    assert not of_file.axes.computed
    with pytest.raises(
        ConfigError, match="must be of the generator that draws, and of the dim"
    ):
        chosen(generator(sha256="b" * 64), source=kept)
    with pytest.raises(ConfigError, match=r"it is of tiny .*, dimensions 0 to 12, and this is"):
        chosen(source=kept, span=(0, 6))

    bare = tmp_path / "bare.safetensors"
    save_file({"vectors": first.axes.vectors.astype(np.float32)}, bare)
    got = chosen(source=str(bare))
    np.testing.assert_allclose(got.axes.vectors, first.axes.vectors, atol=1e-6)
    with pytest.raises(DataError, match=r"must be \(m, 6\), one a row; got \(3, 12\)"):
        read_spectrum(bare, generator(), span=(0, 6))
    for tensors, match in (
        ({"axes": np.eye(3)}, "must hold axes, 'vectors'"),
        ({"vectors": np.eye(3, 12), "values": np.ones(2)}, "with v >= m, descending"),
        ({"vectors": np.eye(3, 12), "values": np.arange(3.0)}, "descending"),
        ({"vectors": np.eye(3, 12), "values": np.array([2.0, 1, -1])}, "none of them negative"),
        ({"vectors": np.eye(3, 12) * np.nan}, "must hold finite vectors"),
        ({"vectors": np.eye(3, 12) * 2}, "must be orthonormal"),
    ):
        save_file(tensors, bare)
        with pytest.raises((ConfigError, DataError), match=match):
            chosen(source=str(bare))


def test_metric_files_are_read_as_hessian_reads_them(tmp_path):
    made = generator(outputs=30, parts={"noise": (0, 4), "class": (4, 12)})
    points = made.initial_codes(1, rng=np.random.default_rng(0))
    for part, span in (("", None), ("class", (4, 12))):
        computed = average(made, points, k=3, part=part)
        path = tmp_path / "m.npz"
        metric.write_metric(computed, path)
        got = chosen(made, span=span, source=str(path), k=3)
        np.testing.assert_array_equal(got.axes.vectors, computed.eigenvectors.T)
    with pytest.raises(ConfigError, match="must be of the generator that draws"):
        chosen(
            generator(sha256="b" * 64, parts=made.parts),
            span=(4, 12),
            source=str(path),
        )
    with pytest.raises(ConfigError, match="must be of the generator that draws"):
        chosen(generator(sha256="b" * 64), source=str(path))  # of other dimensions, too
    with pytest.raises(ConfigError, match=r"must be of the dimensions searched, \[0, 8\]"):
        chosen(made, span=(0, 8), source=str(path))
    public = tmp_path / "public.npz"
    vectors = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0]
    np.savez(public, eigvals_clas_avg=np.arange(8.0), eigvects_clas_avg=vectors)
    got = chosen(made, span=(4, 12), source=str(public), k=2)
    np.testing.assert_allclose(got.axes.vectors, vectors[:, [7, 6]].T)


def test_axes_of_a_composites_parts():
    made = generator(outputs=30)
    table = {"source": "first-layer", "k": 2}
    parts = [
        {"slice": [0, 4]},
        {"slice": [4, 12], "optimizer": "sep", "axes": table},
    ]
    options, axes = choose_in_parts({"parts": parts}, made, generator_options={})
    assert parts[1]["axes"] is table  # as the session file has it, for the record
    assert options["parts"][1]["axes"] is axes[0].axes
    assert axes[0].info.first == 4
    assert axes[0].info.text(12).startswith("2 axes of 8, dimensions 4 to 12 (")
    for wrong, match in (
        ({"source": "first-layer", "k": 99}, r"^parts\[1\]\.axes: k must be at most 8"),
        ({"source": "first-layer", "m": 1}, r"^parts\[1\]\.axes\.m: is not a key here"),
        ({"k": 1}, r"^parts\[1\]\.axes\.source: is missing"),
        ({"source": "metric", "k": 1, "energy": 0.5}, "must be left out where k says"),
    ):
        parts[1]["axes"] = wrong
        with pytest.raises(ConfigError, match=match):
            choose_in_parts({"parts": parts}, made, generator_options={})


SESSION = """
session = {{ name = "s" }}
presentation = {{ on_ms = 100, off_ms = 50 }}
[[threads]]
name = "t"
generator = "mini-texture"
axes = {}
"""


@pytest.mark.parametrize(
    ("axes", "match"),
    [
        ("{}", r"threads\[0\]\.axes\.source: is missing"),
        ('{ source = "metric", k = 0 }', r"axes\.k: must be a whole number at least 1"),
        ('{ source = "metric", energy = 0 }', r"axes\.energy: must be a number above 0"),
        ('{ source = "metric", energy = 1.5 }', r"axes\.energy: .* at most 1; found 1\.5"),
        ('{ source = "metric", scale = -1 }', r"axes\.scale: must be a number at least 0"),
        (
            '{ source = "metric", outside = "x" }',
            r"axes\.outside: must be one of 'drop', 'keep'",
        ),
        (
            '{ source = "metric", k = 3, energy = 0.5 }',
            r"axes\.energy: must be left out where k",
        ),
        ('{ source = "metric", kk = 3 }', r"axes\.kk: "),
    ],
)
def test_what_is_wrong_with_a_table_is_said_at_its_key(axes, match):
    with pytest.raises(ConfigError, match=match):
        config.parse_session_file(SESSION.format(axes))


def test_the_checks_and_a_campaigns_digests_know_of_axes(tmp_path):
    path = tmp_path / "axes.safetensors"
    save_file({"vectors": np.eye(7, 256), "values": np.arange(7.0, 0, -1)}, path)
    table = f'{{ source = "{path}", k = 4 }}'
    settings = config.parse_session_file(SESSION.format(table))
    parts = build_parts(settings)
    ((info,),) = parts.axes
    checks = [check.text for check in preflight._searches(parts) if check.name == "axes"]
    assert checks == [f"t searches along {info.text(256)}"]
    assert info.text(256) == f"4 axes of 256 ({path}, 78.57 % of the known energy)"
    before = WeightDigests()(settings)["axes t"]
    save_file({"vectors": np.eye(7, 256)[::-1].copy()}, path)
    assert WeightDigests()(settings)["axes t"] != before
    broken = SESSION.format('{ source = "first-layer" }').replace("axes", f"{HESSIAN}\naxes")
    with pytest.raises(ConfigError, match=r"threads\[0\]\.axes \('t'\): axes must not come wi"):
        build_parts(config.parse_session_file(broken))


def test_axes_of_a_part_say_which_part_also_of_the_first():
    whole = AxesInfo(
        source="metric", k=1, d=64, energy=0.5, whole=True, scale=0.0, outside="keep", sha256=""
    )
    later = msgspec.structs.replace(whole, first=64)
    assert whole.text(64) == "1 axis of 64 (metric, 50 % of the energy)"
    assert whole.text(128) == "1 axis of 64, dimensions 0 to 64 (metric, 50 % of the energy)"
    assert later.text(128) == "1 axis of 64, dimensions 64 to 128 (metric, 50 % of the energy)"


def test_axes_of_a_part_that_are_no_table_get_an_example():
    parts = {"parts": [{"slice": [0, D], "optimizer": "snes", "axes": "metric"}]}
    with pytest.raises(ConfigError, match=r"table, as { source = .metric., k = 40 }; found 'm"):
        choose_in_parts(parts, generator(), generator_options={})


HESSIAN = 'optimizer = "hessian"'


def test_a_table_is_written_as_it_is_read():
    table = '{ source = "first-layer", energy = 0.9, scale = 0.2, outside = "drop" }'
    read = config.parse_session_file(SESSION.format(table))
    written = config.parse_session_file(config.commented_session_file(read))
    assert written == read
    assert read.threads[0].axes == AxesTable("first-layer", None, 0.9, 0.2, "drop")
