"""Images to unit responses, without an animal."""
