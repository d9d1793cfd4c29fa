"""Model neurons: a drive, as a CNN unit's activation, to spikes as recorded neurons fire them.

settings      every number that can be set, and how units differ in it
sites         what recorded sites of V1, V4 and IT are like, fitted to published experiments
population    drives to rates to spikes; `SpikingPopulation`
spike_trains  dead time, cells of a site, bursts
adaptation    what repeats of an image cost
"""

from scorers.neuron.adaptation import Adaptation
from scorers.neuron.population import Neurons, SpikingPopulation, draw_neurons
from scorers.neuron.settings import SETTINGS, NeuronConfig, Spread
from scorers.neuron.sites import AREAS, site

__all__ = [
    "AREAS",
    "SETTINGS",
    "Adaptation",
    "NeuronConfig",
    "Neurons",
    "SpikingPopulation",
    "Spread",
    "draw_neurons",
    "site",
]
