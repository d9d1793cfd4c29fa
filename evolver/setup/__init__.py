"""From a session file to the parts of a session, once; what is checked before the first image.

build           generators, optimizers, references, and the session they make
references      the reference images; the one reader of image files
provenance      machine and versions; the records a session begins with
simulated_rig   CNN units as spiking neurons, here or across a socket
preflight       what is checked before the first image is shown
resume          from a journal to a session that goes on
"""
