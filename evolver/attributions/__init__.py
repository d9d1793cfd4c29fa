"""Where in images the units of recordings look, and what drives them farthest there.

    session_masks   a recording's images through a layer of a network, to masks
    re_evolution    the image that drives the features that go with responses, by a gradient
    drawing         a recorded thread's generator, where it can be had

It runs networks, generators and optimizers over recordings: `evolver.analysis`, which has the
arithmetic (`spatial_attribution`), knows arrays alone; `evolver.experiments`, which has what is
kept (`masks`), reads files and runs nothing. It stands above `evolver.comparisons`, whose
maximisation it uses. Importing this loads no torch.
"""
