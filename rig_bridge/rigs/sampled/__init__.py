"""Acquisitions that count samples: edges of the photodiode, and sample time in display time."""
