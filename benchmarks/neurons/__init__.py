"""Whether the model neurons of V1, V4 and IT fire like recorded ones.

Question
    For sites of each area: do rates, their rise over an evolution, their scatter within a
    generation, baselines, and the peak and width of PSTHs lie within the 10 to 90 % of the
    published experiments?
Method
    Published: 86 evolutions in two macaques (Wang & Ponce, Nature Neuroscience 2026), each with
    a DeePSim and a BigGAN thread, as an npz of trajectories and PSTHs (the file is not part of
    this project; give its path). Simulated: whole sessions through `evolver`'s own loop, one
    unit of the built-in network each (V1: conv1, conv2; V4: conv3, conv4; IT: fc5, fc6), with a
    `mini-texture` thread (40 images a generation) beside a `mini-object` one (27), 20
    references a block, 100 ms on and 150 off, for as many generations as the area's median
    experiment. Both are measured by the same functions, on PSTHs of 1 ms smoothed by a Gaussian
    of 2 ms.
    `fit` finds the numbers of `scorers/neuron/sites.py`: the time course by least squares on
    each published site's last PSTHs; latency against contrast from the difference between
    threads; adaptation from the references' decline over blocks; drift from their
    autocovariance; dead time from the PSTHs' scatter at the peak against that before the
    response; rates, the untuned part, saturation and gain by matching 10, 50 and 90 % of what
    is measured, with CholeskyCMA over the drives of simulated sessions.
Repeats
    16 simulated sessions an area by default, each its own unit and seed.
Cost
    compare: about 8 minutes on 2 cores; fit: about 20 more.
Outputs
    A Markdown section for RESULTS.md on standard output; with --figure, a PNG.

Run by ``python -m benchmarks.neurons compare DATA.npz`` and ``... fit DATA.npz``.
"""
