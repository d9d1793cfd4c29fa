"""The person as the neuron: whoever looks at a generation's images and says which are liked.

`grid` is what a person is asked at once and how that is answered, `rig` gathers an engine's
presentations into such grids, `orders` is what a page may ask for. No page is in here, and no
browser: that is the engine's package, `evolver/person/`.
"""
