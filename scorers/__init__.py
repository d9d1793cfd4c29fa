"""Images to unit responses, without an animal. Importing this loads no torch; `load` does.

by_name, units  addresses in session files to networks and units
scorer          units of networks as neurons
networks        the networks behind one Protocol
known           functions of a code whose highest value is known
quantiles       how far units respond to reference images
neuron          a unit's activation to spikes
distances       how far two images are apart, in pixels or to a network
mini            the built-in image world and its network, and how both were made
"""

from scorers.by_name import load_scorer as load
from scorers.units import UnitAddress, parse_units

__all__ = ["UnitAddress", "load", "parse_units"]
