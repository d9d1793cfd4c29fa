"""Images to unit responses, without an animal. Importing this loads no torch; `load` does.

by_name, units  names in session files to networks and units
cnn             units of the built-in network as neurons
neuron          a unit's activation to spikes
distances       how far two images are apart, in pixels or to a network
preprocess      images of any size to a network's input
mini            the built-in image world and its network, and how both were made
"""

from scorers.by_name import BUILTIN
from scorers.by_name import load_scorer as load
from scorers.units import UnitSpec, parse_units

__all__ = ["BUILTIN", "UnitSpec", "load", "parse_units"]
