"""Splat editing and coordinate transforms, and statistics of splats and meshes."""
