"""Which optimizer to trust at which noise.

Question
    Given so many images, which optimizer finds the image that drives a unit hardest, at each
    level and kind of response noise? How sure is that, and what does a generation cost?
Method
    Worlds (`worlds`): `mini-texture`, 256 dimensions; generators of DeePSim's architecture with
    seeded weights, 4096 dimensions, on a CPU with an eighth of their channels (`upconv`, and
    `full_rank`, whose first layer has DeePSim's published spectrum); and `mini-texture` before
    neurons of networks that it was not trained on (`foreign`). The others are seen by units of
    the built-in CNN. All see 64 pixels. Units (`worlds.draw_units`) are an equal number
    of each layer, in two sets that share none: tune on `training`, judge on `held-apart`.
    A unit's clean score is its activation, 0 at the median and 1 at the 99th percentile of
    reference images. Noise (`noise`): clean * max(0, 1 + level * N(0, 1)), as published
    (Wang & Ponce, GECCO 2022), or spikes counted in 150 ms, Poisson, of a neuron that fires
    so many spikes/s where the clean score is 1. Optimizers learn from noisy scores and are
    judged by clean ones. Runs are paired: every optimizer starts at the same code and draws its
    noise from the same numbers, by generation and row. All see the same number of images.
    Of an image no more is drawn than the unit sees (`sight`): scores are those of whole images.
Measures
    The clean score of the best image (over every code evaluated), of the mean image (of the
    last generation's mean code), and of what an experimenter would pick: the image with the
    best noisy score, and the best by ten more presentations of each of ten leaders. All of
    them as they are, with the code rescaled to a norm common to all, as norm alone raises
    scores, and with the code as long as gives its image a contrast common to all. As a ratio
    to Cholesky CMA-ES, the geometric mean over pairs of a unit and a seed, or a difference
    where a score is not above 0; and normalised by the unit's best (the published form: the
    largest clean score of any optimizer, seed and noise). Presentations until Cholesky's score
    at 10, 20, 40 and 75 generations (`reach`). Beside every table the number of pairs, and the
    smallest difference that is told from none (`intervals`). Seconds and memory of ask + tell
    (`cost`), beside Cholesky's in the same process.
Repeats, cost
    Presets (`plan`): `quick`, minutes on two cores, says whether everything works; `standard`,
    60 pairs a cell, up to four looks, and `published`, 30 pairs. Each says first how long it
    will take, by a rate measured on the spot (`time_needed`). A cell that is settled stops
    (`looks`). Finished runs are kept and never run twice: a campaign of its
    own kind, by the engine of `evolver.campaign`, in processes or on a cluster.
Outputs
    In --out: plan.json and results/ (a file a run), generations.csv (one row a run and
    generation), runs.csv (one row a run), tables.md, page.html and its figures.

Run by ``python -m benchmarks.optimizers``; docs/guide-benchmarks.md shows how to enter an
optimizer, a generator and units of your own.

    plan        what is to be run              worlds, noise   what the runs are made of
    contestants optimizers by label, skipped where they are not installed; added: a user's
    campaign    runs as a campaign's tasks     run             the runs of a unit, together
    looks       what is settled, and stops     outcomes        what came of runs
    spending, guided                on trial: showing codes again, a model beside a search
    statistics  outcomes to numbers            intervals       how sure they are
    tables, pair_tables, figures, page, page_text, terminal    numbers to be looked at
"""
