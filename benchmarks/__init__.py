"""Each file answers one question and says so at its top; ``python -m benchmarks.NAME``."""
