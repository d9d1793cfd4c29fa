"""A stimulus display in an SDL window: degrees to pixels, flips to frames, timing."""
