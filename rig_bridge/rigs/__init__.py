"""Rigs that come with the project."""
