"""Array functions over responses, scores and codes, anybody's: arrays in, values out.

    trajectories   a score's course over generations, and whether it climbed
    comparisons    what many runs say together: intervals, and levels compared in pairs
    spectra        what the eigenvalues of a metric say

Nothing here opens a file, draws, or loads torch.
"""
