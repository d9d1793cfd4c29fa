"""What every network is to a scorer, and how any torch module becomes one.

Knows tensors, layers and hooks. Knows nothing of files, addresses, spikes or sessions.

A layer's output is taken as the module of that name hands it on. Networks differ in whether
that is before or after a rectification; where both are modules of their own, both are layers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch

from evolver.errors import ConfigError, DataError
from evolver.lab_code import OWN_FAILURES, error_text, own_errors
from evolver.tensors import channels_last, submodules
from scorers.networks.layers import Layer, layer_of

if TYPE_CHECKING:
    from evolver.windows import Window
    from scorers.networks.preprocessing import Preprocessing

_PROBES = 2  # images


class Network(Protocol):
    """A network whose layers are read.

    Attributes
    ----------
    name : as addresses begin
    sha256 : of its weights, 64 hexadecimal digits
    layers : by name, first to last
    preprocessing : what it does to images
    device : where it runs
    """

    name: str
    sha256: str
    layers: Mapping[str, Layer]
    preprocessing: Preprocessing
    device: torch.device

    def outputs(
        self, x: torch.Tensor, places: Mapping[str, torch.Tensor | None]
    ) -> dict[str, torch.Tensor]:
        """Return what layers put out, going no deeper than they need; differentiable.

        Parameters
        ----------
        x : images, (n, 3, h, w) float32 in [0, 1], of any size, on the network's device
        places : of each wanted layer, where its units are in the flattened output, (k,) int64;
            None for all of it

        Returns
        -------
        dict of Tensor, float32: (n, k), or (n, *layer.shape) for all of a layer
        """
        ...


class Local(Protocol):
    """A network whose units see a part of the image, and are worked out from it alone."""

    def field(self, name: str, row: int, column: int) -> Window:
        """Return the part of an image, in the network's input, that units at a place see."""
        ...

    def at(self, x: torch.Tensor, name: str, row: int, column: int) -> torch.Tensor:
        """Return what all units at a place put out, (n, channels), from that part."""
        ...


class ModuleNetwork:
    """A torch module as a `Network`.

    Parameters
    ----------
    name, sha256, preprocessing : as `Network`
    module : its weights in place; taken over, frozen and moved to `device`
    device : chosen by the caller and never guessed here
    names : of the layers, names of submodules; all that put out numbers of an image when None
    run : calls the module with its input; the module itself when None
    local : the same network, where units' parts of an image can be seen alone

    Raises
    ------
    ConfigError
        The module fails on an image, or has no layer.
    """

    def __init__(
        self,
        name: str,
        module: torch.nn.Module,
        preprocessing: Preprocessing,
        *,
        sha256: str,
        device: torch.device,
        names: Collection[str] | None = None,
        run: Callable[[torch.Tensor], Any] | None = None,
        local: Local | None = None,
    ) -> None:
        self.name, self.sha256, self.device = name, sha256, device
        self.local = local
        self.preprocessing = preprocessing
        self._module = module.float().eval().requires_grad_(False).to(device)
        self._run = module if run is None else run
        self._submodules: dict[str, Any] = {
            key: part
            for key, part in submodules(module)
            if key and (names is None or key in names)
        }
        for _, part in submodules(module):
            if getattr(part, "inplace", None) is True:  # it would change what was taken before
                part.inplace = False
        self.layers: Mapping[str, Layer] = self._probed()

    def outputs(
        self, x: torch.Tensor, places: Mapping[str, torch.Tensor | None]
    ) -> dict[str, torch.Tensor]:
        """Return what layers put out; see `Network.outputs`.

        Raises
        ------
        DataError
            The module fails, or a layer puts out something else than it did at first.
        """
        check_layers(self, places)
        taken: dict[str, torch.Tensor] = {}

        def take(name: str, output: torch.Tensor) -> None:
            wanted = (len(x), *self.layers[name].shape)
            if tuple(output.shape) != wanted:
                raise DataError(
                    f"network {self.name!r} must put out {wanted} in layer {name} for "
                    f"{len(x)} images; it puts out {tuple(output.shape)}"
                )
            at = places[name]
            # A copy: what follows may write into it.
            taken[name] = output.clone() if at is None else output.flatten(1)[:, at]
            if len(taken) == len(places):
                raise _AllTakenError

        inputs = self.preprocessing(x)
        with own_errors(f"network {self.name!r} must take all images"):
            self._watch(inputs, list(places), take)
        if missing := [name for name in places if name not in taken]:
            raise DataError(
                f"network {self.name!r} must have its layer {missing[0]} put out a tensor for "
                "all images; for these it did not"
            )
        return taken

    def convert(self, dtype: torch.dtype) -> None:
        """Go over to another arithmetic, and to the layout that wide registers like.

        For whoever has this network to itself: its outputs are no longer a session's, bit for
        bit.
        """
        channels_last(self._module.to(dtype))

    def _watch(
        self,
        x: torch.Tensor,
        names: Collection[str],
        take: Callable[[str, torch.Tensor], None],
    ) -> None:
        """Run the module, and tell `take` what submodules put out."""

        def hook(name: str) -> Callable[[Any, Any, Any], None]:
            def told(_module: Any, _inputs: Any, output: Any) -> None:  # noqa: ANN401  a hook's
                tensor = _tensor_of(output)
                if tensor is not None:
                    take(name, tensor)

            return told

        handles: list[Any] = [
            self._submodules[name].register_forward_hook(hook(name)) for name in names
        ]
        try:
            self._run(x)
        except _AllTakenError:
            pass
        finally:
            for handle in handles:
                handle.remove()

    def _probed(self) -> dict[str, Layer]:
        """Show the module two grey images; return the layers it was seen to have."""
        height, width = self.preprocessing.size
        image = torch.full((_PROBES, 3, height, width), 0.5, device=self.device)
        shapes: dict[str, tuple[int, ...]] = {}
        calls: Counter[str] = Counter()

        def take(name: str, output: torch.Tensor) -> None:
            calls[name] += 1
            # One image's worth for two, as an embedding of positions, says nothing of either.
            if output.is_floating_point() and len(output) == _PROBES:
                shapes.setdefault(name, tuple(output.shape[1:]))

        try:
            with torch.inference_mode():
                self._watch(self.preprocessing(image), list(self._submodules), take)
        except OWN_FAILURES as error:
            raise ConfigError(
                f"network {self.name!r} must take images of {height} x {width} pixels, "
                f"{self.preprocessing.channels} channels; it says: {error_text(error)}"
            ) from error
        layers = {
            name: layer
            for name, shape in shapes.items()  # in the order in which they came
            # One that is called again and again has no output of its own.
            if calls[name] == 1 and (layer := layer_of(name, shape)) is not None
        }
        if not layers:
            raise ConfigError(f"network {self.name!r} must have layers that put out numbers")
        return layers


class _AllTakenError(Exception):
    """Ends a forward pass that has nothing more to tell."""


def check_layers(network: Network, names: Collection[str]) -> None:
    """Raise `ConfigError` unless a network has these layers; says the nearest that it has."""
    for name in names:
        if name not in network.layers:
            raise ConfigError(
                f"{network.name} must have the layer that is named; it has none called "
                f"{name!r}{nearest_text(name, network.layers)}"
            )


def nearest_text(name: str, names: Collection[str]) -> str:
    """Return the end of a sentence: which names are nearest, or all where they are few."""
    import difflib

    if len(names) <= 8:
        return f", but {', '.join(names)}"
    nearest = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
    if not nearest:
        listed = list(names)
        return f", but {', '.join(listed[:3])} and so on to {listed[-1]}"
    return f". The nearest are {', '.join(nearest)}"


def _tensor_of(output: Any) -> torch.Tensor | None:  # noqa: ANN401  whatever a module returns
    """Return the tensor that a module's output is, or begins with."""
    if isinstance(output, torch.Tensor):
        return output if output.dim() >= 2 else None
    if isinstance(output, Mapping):
        output = tuple(cast("Mapping[str, Any]", output).values())
    if isinstance(output, tuple | list) and output:
        return _tensor_of(cast("Sequence[Any]", output)[0])
    return None
