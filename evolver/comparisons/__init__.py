"""Published comparisons of generators: runs on images and networks, and their figures.

    sources        generators and sets of images, named by a line of text
    inversion      how well a generator can draw given images
    maximisation   how far a gradient or a search drives units of a layer, through a generator
    alignment      a toy: what of a search's success is the generator's alignment with the score
    linearity      how linear units are in a generator's code, and its code in units
    sets           how far sets of images are from natural ones, and what is seen in them
    inception      the network that Frechet distances are published with
    last_generations  low-level statistics of what evolutions ended with
    tasks          pieces of all of these as a kind of campaign: done once, and kept
    image_figures  what is drawn of sets and last generations
    figures        what is drawn of them

Statistics are in `evolver.analysis`, which knows arrays alone. Importing this loads no torch.
"""
