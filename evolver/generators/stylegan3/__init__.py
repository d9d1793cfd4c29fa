"""StyleGAN3 (Karras et al. 2021), configurations T and R, from official weights.

`convert_stylegan3` makes a weight file of an official pickle, once; `stylegan3` loads it, as
`evolver.generators.load("stylegan3", weights=...)` does; `load_network` gives the network
itself, for styles of one's own.
"""

from evolver.generators.stylegan3.convert import convert_stylegan3
from evolver.generators.stylegan3.generator import StyleGAN3, load_network, stylegan3
from evolver.generators.stylegan3.settings import StyleGAN3Settings

__all__ = ["StyleGAN3", "StyleGAN3Settings", "convert_stylegan3", "load_network", "stylegan3"]
