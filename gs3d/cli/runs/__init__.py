"""Commands that start, continue or compare runs."""
