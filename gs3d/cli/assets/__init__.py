"""Commands that work on splat files and meshes."""
