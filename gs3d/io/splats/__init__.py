"""Splat files: one module per format, and the checks they share."""
