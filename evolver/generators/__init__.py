"""Latent codes to images; torch lives here, and is loaded by `load`, not by importing this.

    mini, mini_texture, mini_object    the built-in ones, which come with their weights
    deepsim, biggan, pggan, stylegan3  the field's, one network a file or folder
    fourier        an image without a network, by its spectrum
    user           any torch module of a lab's own, by where Python finds it
    frozen         the face that all of them share: codes in, bytes out, a slope under it
    by_name        names in session files to the above
    initial        codes to start an evolution from, made for a generator
    around         codes about an evolved one: along axes, on circles and spheres
    scale          how long codes are, and how far steps reach
    decoded_codes  codes that were decoded from responses, as a file
    conversion     weight files to safetensors, with the names each network gives its tensors

`initial` and `conversion` stay in this room because they ask a generator what it is: its parts
and classes, or its tensors' names. `evolver.weights` knows files, and nothing of networks.
"""

from evolver.generators.by_name import BUILTIN
from evolver.generators.by_name import load_generator as load

__all__ = ["BUILTIN", "load"]
