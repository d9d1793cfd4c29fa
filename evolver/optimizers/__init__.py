"""Algorithms that propose codes and learn from scores; numpy-like arrays only."""
