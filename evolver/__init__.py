"""The closed loop that lets a neuron draw what it wants to see.

Rooms: `evolver.optimizers` propose codes, `evolver.generators` render them, `rig_bridge` shows
them, `scorers` stand in for an animal, `evolver.session` is the loop, `evolver.journal` keeps
everything, `evolver.recording` makes one file of it, `evolver.report` draws it. Importing this
loads no torch.
"""

from importlib.metadata import version as _version

__version__ = _version("evolver")
