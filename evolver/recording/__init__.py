"""The record: an append-only journal first, then the HDF5 file folded from it."""
