"""Latent codes to images; torch lives here."""
