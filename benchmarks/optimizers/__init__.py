"""Which optimizer to trust at which noise.

Question
    Given so many images, which optimizer finds the image that drives a unit hardest, at each
    level and kind of response noise? How sure is that, and what does a generation cost?
Method
    Worlds (`worlds`): `mini-texture`, 256 dimensions, and a generator of DeePSim's architecture
    with seeded weights, 4096 dimensions, on a CPU with an eighth of its channels; both are seen
    by units of the built-in CNN at 64 pixels. Units (`worlds.draw_units`) are an equal number
    of each layer, in two sets that share none: tune on `training`, judge on `held-apart`.
    A unit's clean score is its activation, 0 at the median and 1 at the 99th percentile of
    5,000 reference images. Noise (`noise`): clean * max(0, 1 + level * N(0, 1)), as published
    (Wang & Ponce, GECCO 2022), or spikes counted in 150 ms, Poisson, of a neuron that fires
    so many spikes/s where the clean score is 1. Optimizers learn from noisy scores and are
    judged by clean ones. Runs are paired: every optimizer starts at the same code and draws its
    noise from the same numbers, by generation and row. All see the same number of images.
Measures
    The clean score of the best image (over every code evaluated) and of the mean image (of the
    last generation's mean code); both also with the code rescaled to a norm common to all, as
    norm alone raises scores. Normalised by the unit's best (the published form: the largest
    clean score of any optimizer, seed and noise), and as a ratio to Cholesky CMA-ES with a
    bootstrap interval over units, paired. Seconds and memory of ask + tell (`cost`), beside
    Cholesky's in the same process.
Repeats, cost
    Presets (`plan`): `quick`, two minutes on two cores; `standard` and `published`, hours on
    two cores, minutes on a GPU. Finished runs are kept and never run twice: a campaign of its
    own kind, by the engine of `evolver.campaign`, in processes or on a cluster.
Outputs
    In --out: plan.json and results/ (a file a run), generations.csv (one row a run and
    generation), runs.csv (one row a run), tables.md, page.html and its figures.

Run by ``python -m benchmarks.optimizers``; docs/guide-benchmarks.md shows how to enter an
optimizer, a generator and units of your own.

    plan        what is to be run              worlds, noise   what the runs are made of
    contestants optimizers by label, skipped where they are not installed
    campaign    runs as a campaign's tasks     run             one group of paired runs
    outcomes    what came of runs              statistics      outcomes to numbers
    tables, figures, page                      numbers to be looked at
"""
