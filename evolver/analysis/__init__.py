"""Array functions over responses, scores and codes, anybody's: arrays in, values out.

    trajectories      a score's course over generations, and whether it climbed
    across_runs       what many runs say together: intervals, and levels compared in pairs
    spectra           what the eigenvalues of a metric say
    rank_tests        Wilcoxon's two tests, with their effect size; a mean with its interval
    image_statistics  luminance, contrast, spectrum over scales and angles, of images
    image_quality     Frechet distance of features, with its floor; inception score
    linear_maps       how much of one set of numbers is linear in another, held out

Nothing here opens a file, draws, or loads torch.
"""
