"""Commands that make or compare runs."""
