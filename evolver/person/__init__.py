"""The page on which a person is the neuron: `rig_bridge/rigs/person/` in a browser."""
