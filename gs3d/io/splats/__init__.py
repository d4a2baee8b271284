"""Splat files, one module a format, and the checks that they share."""
