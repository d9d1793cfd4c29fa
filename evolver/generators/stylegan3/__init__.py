"""StyleGAN3 (Karras et al. 2021), configurations T and R, from official weights.

`convert` makes a weight file of an official pickle, once; `stylegan3` loads it, as
`evolver.generators.load("stylegan3", weights=...)` does; `load_network` gives the network
itself, for styles of one's own.
"""

from evolver.generators.stylegan3.config import Config
from evolver.generators.stylegan3.convert import convert
from evolver.generators.stylegan3.generator import StyleGAN3, load_network, stylegan3

__all__ = ["Config", "StyleGAN3", "convert", "load_network", "stylegan3"]
