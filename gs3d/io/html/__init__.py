"""HTML pages that show splats or compare runs, each one self-contained file."""
