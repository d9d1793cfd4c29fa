"""Images to unit responses, without an animal. Importing this loads no torch; `load` does.

by_name, units  addresses in session files to networks and units
scorer          units of networks as neurons
networks        the networks behind one Protocol
known           functions of a code whose highest value is known
quantiles       how far units respond to reference images
neuron          a unit's activation to spikes, as sites of V1, V4 and IT fire them
receptive_field where in an image units look
layer_maps      a layer of a network as maps, of many images
feature_pyramid several layers as features, smoothed where there are too many
encoder_file    units that were fitted to features, as a file
distances       how far two images are apart, in pixels or to a network
mini            the built-in image world and its network, and how both were made
"""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from scorers import networks
from scorers.by_name import load_scorer as load
from scorers.units import UnitAddress, parse_units

if TYPE_CHECKING:
    from scorers import neuron, receptive_field

__all__ = ["UnitAddress", "load", "networks", "neuron", "parse_units", "receptive_field"]


def __getattr__(name: str) -> ModuleType:
    """Import a room that takes longer, when it is asked for."""
    if name in {"neuron", "receptive_field"}:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
