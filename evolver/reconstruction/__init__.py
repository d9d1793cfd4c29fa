"""Codes and images back from responses: what sets of a recording say of one another.

    sets       a recording's sets as arrays: codes, responses by channel, what was left out
    results    what is found, as values
    study      fit, decode, judge: a step after the other, each of which may fail alone
    measures   how near codes and images are, against chance
    tables     all of it as rows

Arrays and results of `evolver.analysis` in between. Knows recordings; generators and networks
are handed in, as functions. Nothing here draws or prints.
"""
