"""The wire between engine and rig; imports nothing of evolver or scorers."""
