"""Array functions over recordings, and the report."""
