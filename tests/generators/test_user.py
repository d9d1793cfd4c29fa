"""Any torch module as a generator, named where Python finds it."""

import hashlib

import numpy as np
import pytest
import safetensors.torch
import torch

import evolver.generators
from evolver.errors import ConfigError, DataError, WeightsError

MODULE = '''
import torch

class Decoder(torch.nn.Module):
    """Draws 8 x 8 pixels of -1 to 1."""

    def __init__(self, d=6, grey=False):
        super().__init__()
        torch.manual_seed(0)
        self.d, self.k = d, 1 if grey else 3
        self.last = torch.nn.Linear(d, self.k * 64)
        self.drop = torch.nn.Dropout(0.5)

    def forward(self, z):
        return torch.tanh(self.drop(self.last(z))).view(-1, self.k, 8, 8)

class Nameless(torch.nn.Module):
    def forward(self, z):
        return z[:, :3]

class Oblong(torch.nn.Module):
    d = 6
    def forward(self, z):
        return z.view(-1, 1, 2, 3)

class Nan(torch.nn.Module):
    d = 12
    def forward(self, z):
        return (z / z).view(-1, 3, 2, 2)

class Nets:
    ready = Decoder()

class Noisy(Decoder):
    def forward(self, z):
        return super().forward(z) + 0.01 * torch.randn(len(z), 3, 8, 8)

class Dropping(Decoder):
    def forward(self, z):
        return torch.nn.functional.dropout(super().forward(z), 0.3)

class Crowd(Decoder):
    def forward(self, z):
        return torch.tanh(super().forward(z) - super().forward(z).mean(0))

class Alone(Decoder):
    def forward(self, z):
        return super().forward(z).reshape(1, 3, 8, 8)

class Failing(Decoder):
    def forward(self, z):
        if bool((z != 0).any()):
            raise KeyError("the lab's own words")
        return super().forward(z)

class Leaving(Decoder):
    def forward(self, z):
        raise SystemExit("no licence")

def unmade():
    raise AssertionError("no such width")

def left():
    raise SystemExit("no licence")

def make(d):
    return Decoder(d).double()

def dictionary():
    return {}

number = 3
'''


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    (tmp_path / "their_nets.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "their_nets", raising=False)


def _load(attribute="Decoder", **options):
    options.setdefault("output_range", [-1, 1])
    return evolver.generators.load(f"their_nets:{attribute}", **options)


def test_a_class_with_its_weights_is_one_line_of_a_session_file(tmp_path):
    import their_nets

    net = their_nets.Decoder()
    torch.nn.init.normal_(net.last.weight)
    path = tmp_path / "decoder.safetensors"
    safetensors.torch.save_file(net.state_dict(), path)
    generator = _load(weights=str(path))
    assert generator.name == "their_nets:Decoder"
    assert (generator.d, generator.image_size) == (6, 8)
    assert generator.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    codes = np.random.default_rng(0).standard_normal((11, 6))
    with torch.no_grad():
        drawn = torch.tanh(net.last(torch.from_numpy(codes).float())).view(-1, 3, 8, 8)
    expected = np.rint(127.5 * (drawn.permute(0, 2, 3, 1).numpy() + 1)).astype(int)
    np.testing.assert_allclose(generator.render(codes), expected, atol=1)
    z = torch.from_numpy(codes).float().requires_grad_()
    generator.synthesize(z).sum().backward()
    assert z.grad.abs().min() > 0
    assert generator.initial_codes(4, rng=np.random.default_rng(0)).shape == (4, 6)


@pytest.mark.parametrize(
    ("attribute", "options"),
    [
        ("Decoder", {"arguments": {"d": 12}, "d": 12}),
        ("Decoder", {"arguments": {"d": 12}}),
        ("make", {"arguments": {"d": 12}}),
        ("Nets.ready", {}),
        ("Decoder", {"arguments": {"grey": True}}),
    ],
)
def test_classes_functions_and_modules_are_taken(attribute, options):
    generator = _load(attribute, **options)
    images = generator.render(np.ones((2, generator.d)))
    assert images.shape == (2, 8, 8, 3)
    assert images.std() > 10
    if "grey" in options.get("arguments", {}):
        assert (images[..., :1] == images).all()


def test_weights_that_come_along_have_a_digest_of_their_own():
    first, again, other = _load(), _load(), _load(arguments={"d": 7})
    assert first.sha256 == again.sha256 != other.sha256
    assert len(first.sha256) == 64


def test_codes_can_have_a_shape():
    generator = _load("Nameless", code_shape=[3, 5, 5], output_range=[0, 255])
    assert (generator.d, generator.image_size) == (75, 5)
    image = generator.render(np.arange(75.0)[None])[0]
    np.testing.assert_array_equal(image, np.arange(75).reshape(3, 5, 5).transpose(1, 2, 0))


@pytest.mark.parametrize(
    ("attribute", "options", "says"),
    [
        ("Nothing", {}, "must be importable"),
        ("", {}, "must be importable"),
        ("number", {}, "it is a int"),
        ("dictionary", {}, "returns a dict"),
        ("make", {}, "must be made of arguments"),
        ("Nets.ready", {"arguments": {"d": 3}}, "takes no arguments"),
        ("Nameless", {}, "give the option d"),
        ("Nameless", {"d": 4}, "must draw one square image"),
        ("Oblong", {}, r"it draws \(1, 1, 2, 3\)"),
        ("Decoder", {"d": 5}, "must draw an image from a code of 5 numbers"),
        ("Decoder", {"d": 6, "code_shape": [5]}, "one whole number"),
        ("Decoder", {"d": 0}, "one whole number"),
        ("Decoder", {"code_shape": [2.5]}, "code_shape must be"),
        ("Decoder", {"output_range": [1, -1]}, "black below white"),
        ("Decoder", {"output_range": "tanh"}, "black below white"),
        ("Decoder", {"output_range": [0, float("inf")]}, "black below white"),
        ("Decoder", {"scale": 2}, "got scale"),
        ("Noisy", {}, "the same image for the same code.*noise"),
        ("Dropping", {}, "the same image for the same code"),
        ("Crowd", {}, "does not depend on which others"),
        ("Alone", {}, "at once.*it says: RuntimeError: shape"),
        ("Failing", {}, 'it says: KeyError: "the lab\'s own words"'),
        ("unmade", {}, "it says: AssertionError: no such width"),
        ("Leaving", {}, "it says: SystemExit: no licence"),
        ("left", {}, "must be made of arguments .*it says: SystemExit: no licence"),
        (
            "Decoder",
            {"output_range": [0, 1]},
            r"within its output_range.*tanh has output_range",
        ),
        ("Decoder", {"chunk": 0}, "chunk"),
    ],
)
def test_what_draws_no_images_is_refused(attribute, options, says):
    with pytest.raises(ConfigError, match=says):
        _load(attribute, **options)


def test_a_module_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="PYTHONPATH"):
        evolver.generators.load("no_such_module:Net")


def test_pixels_that_are_no_numbers_are_refused():
    with pytest.raises(DataError, match="finite"):
        _load("Nan").render(np.zeros((1, 12)))


def leaves(_z):
    raise SystemExit


def short(_z):
    raise MemoryError


def says_odd(_z):
    raise ValueError("lost \x1b[31m \ud800\nand gone")


@pytest.mark.parametrize(
    ("late", "says"),
    [
        (short, "it fails: MemoryError$"),
        (leaves, "generator 'their_nets:Decoder' must draw an .*; it fails: SystemExit$"),
        (says_odd, r"it fails: ValueError: lost ·\[31m · and gone$"),
        (lambda _: None, "from every code, a tensor; it returns a NoneType"),
        (lambda z: z[:1].new_zeros(1, 3, 8, 8), r"from each of 8 codes, \(8, 3, 8, 8\)"),
        (lambda z: z.new_zeros(len(z), 3, 1, 8), r"it draws \(8, 3, 1, 8\)"),
        (lambda z: z.new_zeros(len(z), 2, 8, 8), r"it draws \(8, 2, 8, 8\)"),
    ],
)
def test_what_was_a_generator_and_is_none_any_more_draws_nothing(late, says):
    generator = _load()
    generator.render(np.ones((2, 6)))
    generator._net.net.forward = late
    with pytest.raises(DataError, match=says):
        generator.render(np.ones((2, 6)))


def test_weights_of_another_module_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(3)}, path)
    with pytest.raises(WeightsError, match="tensors of Decoder"):
        _load(weights=path)
