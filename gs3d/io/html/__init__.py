"""Self-contained HTML pages that show splats or compare runs."""
