"""Self-contained HTML pages that show splats or meshes, or compare runs."""
