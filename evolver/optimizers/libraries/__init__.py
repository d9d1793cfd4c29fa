"""Optimizers of other libraries as a thread's optimizer."""
