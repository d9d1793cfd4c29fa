"""What sessions import, imported: the processes that run tasks are forked of one with it.

Nothing is computed here, so that the process has neither threads nor a GPU when it forks.
"""

import gc
from importlib import import_module

for name in (
    "evolver.campaign.task",
    "evolver.campaign.wave",
    "evolver.generators.mini",
    "evolver.live.run",
    "evolver.recording.fold",
    "evolver.setup.preflight",
    "evolver.setup.recorded_activations",
    "evolver.setup.simulated_rig",
    "scorers.scorer",
):
    import_module(name)

gc.collect()
gc.freeze()  # a collection would write to every page that the processes share
