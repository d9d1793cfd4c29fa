"""Networks whose units are scored, behind one Protocol. Importing this loads no torch.

by_name        the names in addresses to networks
network        what a network is to a scorer; any torch module as one
layers         what a layer's numbers are: channels, positions, tokens
preprocessing  images of any size to a network's input
mini           the built-in network
known          units whose best image is known, for tests and demonstrations
caffenet       the network that DeePSim's generators invert
huggingface    of the package transformers, from the Hub or a folder
libraries      of torchvision and timm
own            a lab's own torch module
encoder        a fitted encoder: features of one of these, to its units
extent         how large a part of the image a unit sees
"""

from scorers.networks.by_name import BUILTIN, LIBRARIES
from scorers.networks.by_name import load_network_by_name as load

__all__ = ["BUILTIN", "LIBRARIES", "load"]
