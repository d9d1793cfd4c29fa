"""Evolutions of many sources as one type, and what each and all of them together say.

Files to values, arrays in between; nothing here draws or prints.

    experiment            an experiment, its threads, and why something of them is absent
    reading               files and folders to experiments, each by its reader:
    recordings            our recordings
    published_archive     the archive of published experiments
    plain_layout          any laboratory's, as JSON and arrays
    copies                which of them are one session under several names
    summary               what `evolver.analysis` says of one experiment
    axis_summaries        of its tuning along latent axes
    populations           what it says of many, by area
    tuning_populations    shapes and peaks of their tuning, by success
    tables, tuning_tables all of it as rows

Everything is from files of strangers: sizes are bounded, nothing is unpickled, and what cannot
be read is named and left out.
"""

from evolver.experiments.experiment import Experiment, ExperimentThread
from evolver.experiments.reading import read_experiments

__all__ = ["Experiment", "ExperimentThread", "read_experiments"]
